//! The simulator's own books: customers, windows, rates, and every message that was asked for.
//!
//! What the rules decide on, and what they decided. It schedules nothing and sends nothing.

mod ruling;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ads::{Device, EntryPoint, Free};
use crate::assets::Assets;
use crate::config::{Config, Limits, NumberConfig, RefusalStyle, TemplateCategory, TemplateConfig};
use crate::error::Error;
use crate::graph_body::is_user_id;
use crate::platform::Estate;
use crate::records::{ApiCall, Customer, CustomerId, CustomerSpec, ReadMark, SentMessage};
use crate::ring::Ring;
use crate::rules::{self, PairRate, Throughput};
use crate::templates::Catalog;

/// How many sends the books keep.
pub const SENT_KEPT_MAX: usize = 100_000;
/// How many HTTP calls the books keep.
pub const CALLS_KEPT_MAX: usize = 100_000;
/// How many customers the books take.
pub const CUSTOMERS_MAX: usize = 1_000_000;

/// A message in the books, with what reports about it need.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) message: SentMessage,
    pub(crate) route: Route,
}

/// What a call said beyond the message itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    /// The recipient as the call spelled it.
    pub(crate) input: String,
    /// Whether it was addressed by phone.
    pub(crate) is_by_phone: bool,
    /// The Graph API's major version.
    pub(crate) version: u32,
    /// The template's category; `None` for a service message.
    pub(crate) category: Option<TemplateCategory>,
    /// Where Twilio reports.
    pub(crate) status_callback: Option<String>,
    /// Twilio's messaging service, if the call named one.
    pub(crate) messaging_service: Option<String>,
    /// The body of the call, for WhatsApp.
    pub(crate) posted: Bytes,
    /// What it is not billed in, if the customer came from an ad.
    pub(crate) free: Option<Free>,
}

/// What stands between a number and a customer.
#[derive(Debug, Default)]
struct Tie {
    last_qualifying_at: Option<Timestamp>,
    entry_point: EntryPoint,
    pair: PairRate,
    knows_phone: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct TieKey {
    phone_number_id: String,
    customer: CustomerId,
}

/// The books.
pub(crate) struct Books {
    pub(crate) window: SignedDuration,
    pub(crate) free_entry_point: SignedDuration,
    pub(crate) refusal: RefusalStyle,
    pub(crate) reactions_open_window: bool,
    pub(crate) numbers: Vec<NumberConfig>,
    pub(crate) templates: Vec<TemplateConfig>,
    pub(crate) catalog: Catalog,
    pub(crate) assets: Assets,
    pub(crate) estate: Estate,
    pub(crate) calls: Ring<ApiCall>,
    pub(crate) read_marks: Ring<ReadMark>,
    migration_keeps_windows: bool,
    limits: Limits,
    strangers_on_whatsapp: bool,
    sms_senders: Vec<String>,
    customers: HashMap<CustomerId, Customer>,
    names: HashMap<String, CustomerId>,
    ties: HashMap<TieKey, Tie>,
    throughput: HashMap<String, Throughput>,
    sent: Ring<Sent>,
    sent_by_id: HashMap<String, u64>,
    sms_stopped: HashSet<(String, String)>,
}

impl Books {
    /// Opens empty books.
    pub(crate) fn new(config: &Config) -> Self {
        let mut assets = Assets::new(
            config.app.clone(),
            config.app_secret.clone(),
            config.portfolio_id.clone(),
        );
        for token in &config.tokens {
            assets.put_token(token.clone());
        }
        Self {
            assets,
            estate: Estate::default(),
            window: config.window,
            free_entry_point: config.free_entry_point,
            refusal: config.refusal,
            reactions_open_window: config.reactions_open_window,
            numbers: config.numbers.clone(),
            templates: config.templates.clone(),
            catalog: Catalog::default(),
            calls: Ring::new(CALLS_KEPT_MAX),
            read_marks: Ring::new(CALLS_KEPT_MAX),
            migration_keeps_windows: config.migration_keeps_windows,
            limits: config.limits,
            strangers_on_whatsapp: config.strangers_on_whatsapp,
            sms_senders: config.twilio.senders.clone(),
            customers: HashMap::new(),
            names: HashMap::new(),
            ties: HashMap::new(),
            throughput: HashMap::new(),
            sent: Ring::new(SENT_KEPT_MAX),
            sent_by_id: HashMap::new(),
            sms_stopped: HashSet::new(),
        }
    }

    /// Finds a business number.
    pub(crate) fn number(&self, phone_number_id: &str) -> Option<&NumberConfig> {
        self.numbers
            .iter()
            .find(|number| number.phone_number_id == phone_number_id)
    }

    /// Finds a customer by id, phone or BSUID.
    pub(crate) fn customer(&self, name: &str) -> Option<&Customer> {
        let id = self
            .names
            .get(name)
            .or_else(|| self.names.get(&rules::digits(name.strip_prefix('+')?)))?;
        self.customers.get(id)
    }

    /// Returns all customers, in no order.
    pub(crate) fn customers(&self) -> impl Iterator<Item = &Customer> {
        self.customers.values()
    }

    /// Finds a customer to change.
    pub(crate) fn customer_mut(&mut self, name: &str) -> Option<&mut Customer> {
        let id = self.customer(name)?.id.clone();
        self.customers.get_mut(&id)
    }

    /// Puts a customer into the books, or changes the one with that phone or BSUID.
    pub(crate) fn put_customer(&mut self, spec: CustomerSpec) -> Result<CustomerId, Error> {
        let phone = spec.phone.as_deref().map(rules::digits);
        if phone
            .as_ref()
            .is_some_and(|phone| !(5..=15).contains(&phone.len()))
        {
            return Err(Error::InvalidCustomer("the phone is not a phone"));
        }
        if spec.user_id.as_ref().is_some_and(|id| !is_user_id(id)) {
            return Err(Error::InvalidCustomer(
                "the user id is not a business-scoped user id",
            ));
        }
        if phone.is_none() && spec.user_id.is_none() {
            return Err(Error::InvalidCustomer("a phone or a user id is needed"));
        }
        let known = [&phone, &spec.user_id]
            .into_iter()
            .flatten()
            .find_map(|name| self.names.get(name).cloned());
        let id = match known {
            Some(id) => id,
            None if self.customers.len() >= CUSTOMERS_MAX => {
                return Err(Error::TooMany {
                    what: "customers",
                    limit: CUSTOMERS_MAX,
                });
            }
            None => CustomerId::named(format!("customer-{}", self.customers.len() + 1)),
        };
        let before = self.customers.get(&id);
        let phone = phone.or_else(|| before.and_then(|customer| customer.phone.clone()));
        let user_id = spec
            .user_id
            .or_else(|| before.map(|customer| customer.user_id.clone()))
            .unwrap_or_else(|| mint_user_id(phone.as_deref().unwrap_or_default()));
        let customer = Customer {
            id: id.clone(),
            phone,
            user_id,
            name: spec.name,
            on_whatsapp: spec.on_whatsapp,
            shares_phone: spec.shares_phone,
            marketing_stopped: before.is_some_and(|customer| customer.marketing_stopped),
        };
        self.names.insert(id.as_str().to_owned(), id.clone());
        self.names.insert(customer.user_id.clone(), id.clone());
        if let Some(phone) = &customer.phone {
            self.names.insert(phone.clone(), id.clone());
        }
        self.customers.insert(id.clone(), customer);
        Ok(id)
    }

    /// Notes something a customer did towards a number at `at`, received `now`.
    pub(crate) fn note_inbound(
        &mut self,
        phone_number_id: &str,
        customer: &CustomerId,
        at: Timestamp,
        opens: bool,
    ) {
        let tie = self.tie(phone_number_id, customer);
        if opens {
            tie.last_qualifying_at = tie.last_qualifying_at.max(Some(rules::anchor(at)));
        }
    }

    /// Notes that a customer wrote to a number from an ad.
    pub(crate) fn note_referral(
        &mut self,
        phone_number_id: &str,
        customer: &CustomerId,
        device: Device,
        at: Timestamp,
    ) {
        let tie = self.tie(phone_number_id, customer);
        tie.entry_point.came(device, at);
    }

    /// Returns when the free entry point ends or ended; `None` if there never was one.
    pub(crate) fn entry_point_ends_at(
        &self,
        phone_number_id: &str,
        customer: &CustomerId,
    ) -> Option<Timestamp> {
        let tie = self.ties.get(&tie_key(phone_number_id, customer))?;
        tie.entry_point.ends_at()
    }

    /// Counts an inbound message towards the number's throughput.
    pub(crate) fn count_inbound(&mut self, phone_number_id: &str, now: Timestamp) {
        if let Some(limit) = self.limits.messages_per_second {
            self.throughput
                .entry(phone_number_id.to_owned())
                .or_default()
                .admit(now, limit, true);
        }
    }

    /// Returns when the window ends or ended, by these books; `None` if it never was open.
    pub(crate) fn window_ends_at(
        &self,
        phone_number_id: &str,
        customer: &CustomerId,
    ) -> Option<Timestamp> {
        self.ties
            .get(&tie_key(phone_number_id, customer))?
            .last_qualifying_at?
            .checked_add(self.window)
            .ok()
    }

    /// Returns true if webhooks of this number show the customer's phone.
    pub(crate) fn shows_phone(&self, phone_number_id: &str, customer: &Customer) -> bool {
        customer.phone.is_some()
            && (customer.shares_phone
                || self
                    .ties
                    .get(&tie_key(phone_number_id, &customer.id))
                    .is_some_and(|tie| tie.knows_phone))
    }

    /// Returns whether a phone has sent STOP to a sender.
    pub(crate) fn has_stopped(&self, sender: &str, phone: &str) -> bool {
        let pair = (sender_key(sender), rules::digits(phone));
        self.sms_stopped.contains(&pair)
    }

    /// Notes an SMS from a phone to one of the account's senders, with its STOP or START.
    pub(crate) fn note_sms(&mut self, phone: &str, sender: &str, text: &str) {
        let pair = (sender_key(sender), rules::digits(phone));
        if rules::is_stop(text) {
            self.sms_stopped.insert(pair);
        } else if rules::is_start(text) {
            self.sms_stopped.remove(&pair);
        }
    }

    /// Keeps a send, whatever became of it, and returns its number.
    pub(crate) fn keep(&mut self, mut sent: Sent) -> u64 {
        let seq = self.sent.next_seq();
        sent.message.seq = seq;
        if let Some(id) = &sent.message.id {
            self.sent_by_id.insert(id.clone(), seq);
        }
        if let Some(id) = self.sent.push(sent).and_then(|old| old.message.id) {
            self.sent_by_id.remove(&id);
        }
        seq
    }

    /// Returns a send.
    pub(crate) fn sent(&self, seq: u64) -> Option<&Sent> {
        self.sent.get(seq)
    }

    /// Returns a send to change.
    pub(crate) fn sent_mut(&mut self, seq: u64) -> Option<&mut Sent> {
        self.sent.get_mut(seq)
    }

    /// Returns the sends from `seq` on.
    pub(crate) fn sent_since(&self, seq: u64) -> impl Iterator<Item = &SentMessage> {
        self.sent.since(seq).map(|sent| &sent.message)
    }

    /// Returns how many sends there ever were.
    pub(crate) fn sent_count(&self) -> u64 {
        self.sent.next_seq()
    }

    /// Finds a send by the id the platform gave it.
    pub(crate) fn sent_seq(&self, message_id: &str) -> Option<u64> {
        self.sent_by_id.get(message_id).copied()
    }

    /// Ties a number's customers to the id that it has now. Whether an open window goes along,
    /// Meta's pages do not say.
    pub(crate) fn move_ties(&mut self, from: &str, to: &str) {
        let (moving, staying) = std::mem::take(&mut self.ties)
            .into_iter()
            .partition::<HashMap<_, _>, _>(|(key, _)| key.phone_number_id == from);
        self.ties = staying;
        for (key, mut tie) in moving {
            if !self.migration_keeps_windows {
                tie.last_qualifying_at = None;
                tie.entry_point = EntryPoint::default();
            }
            self.ties.insert(tie_key(to, &key.customer), tie);
        }
    }

    fn tie(&mut self, phone_number_id: &str, customer: &CustomerId) -> &mut Tie {
        self.ties
            .entry(tie_key(phone_number_id, customer))
            .or_default()
    }
}

/// A sender's digits; a name is itself.
fn sender_key(sender: &str) -> String {
    let digits = rules::digits(sender);
    if digits.is_empty() {
        sender.to_owned()
    } else {
        digits
    }
}

fn tie_key(phone_number_id: &str, customer: &CustomerId) -> TieKey {
    TieKey {
        phone_number_id: phone_number_id.to_owned(),
        customer: customer.clone(),
    }
}

/// Mints a BSUID: the same for a phone in every run, so that a restarted simulator knows its
/// customers again; a new one for a customer without.
fn mint_user_id(phone: &str) -> String {
    let seed = if phone.is_empty() {
        Uuid::new_v4().simple().to_string()
    } else {
        phone.to_owned()
    };
    let digest = Sha256::digest(seed.as_bytes());
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("US.{number:020}")
}

/// Mints a WhatsApp message id.
pub(crate) fn mint_wamid() -> String {
    use base64::Engine as _;
    let mut bytes = b"HBgL".to_vec();
    bytes.extend_from_slice(Uuid::new_v4().as_bytes());
    bytes.extend_from_slice(Uuid::new_v4().as_bytes());
    format!(
        "wamid.{}",
        base64::engine::general_purpose::STANDARD.encode(bytes)
    )
}

/// Mints an SMS id.
pub(crate) fn mint_sms_sid() -> String {
    format!("SM{}", Uuid::new_v4().simple())
}
