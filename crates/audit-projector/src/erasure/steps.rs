//! What each step of an erasure does, and whether it is over.

use std::collections::BTreeSet;

use casement_domain::erasure;
use casement_domain::id::{BusinessNumber, CustomerId, MediaId, MessageId};
use casement_event::subject::{self, Family, stream};
use casement_event::v1::{self, ErasureState};
use casement_event::{Event, convert};
use casement_event_log::Position;
use casement_event_log::erasure::{Tombstone, entomb};
use casement_proto::message::v1::MessageState;

use super::{EraseError, Eraser, SOURCE, customers, erased_at, portfolio};
use crate::customer_export::without_number;
use crate::model::{ConversationKey, Message};
use crate::store::{Erased, EventFilter, EventKey, Limit, MessageFilter, RequestKey};

/// Messages read at once.
const MESSAGES_MAX: usize = 256;

/// Kind of the link from a customer who proved to be another.
const MERGED: &str = "customer";

/// How many rows are looked through at once for those that name a customer.
const STRANGERS: Limit = Limit {
    rows_max: 256,
    bytes_max: 4 * 1024 * 1024,
};

/// The shortest identifier that rows of nobody are looked through for: anything shorter would be
/// found where it means something else.
const NEEDLE_LEN_MIN: usize = 7;

/// Who a customer is: ids, tokens of identifiers, and the identifiers themselves.
#[derive(Debug, Default)]
pub(crate) struct Who {
    pub(crate) customers: Vec<CustomerId>,
    pub(crate) tokens: BTreeSet<String>,
    /// Not to be written anywhere.
    identifiers: BTreeSet<String>,
}

/// What there is of a customer at business numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) numbers: BTreeSet<String>,
    pub(crate) brands: BTreeSet<String>,
    pub(crate) media: BTreeSet<String>,
    pub(crate) open_messages: BTreeSet<String>,
    pub(crate) conversation_count: u64,
    pub(crate) message_count: u64,
}

impl Eraser {
    /// Does what an erasure needs next. Returns how it stands then; `None` if something has to be
    /// waited for, or nothing is left to do.
    pub(super) async fn step(
        &self,
        erasure: &v1::Erasure,
    ) -> Result<Option<v1::Erasure>, EraseError> {
        match erasure.state() {
            ErasureState::Entombing => self.bury(erasure).await,
            ErasureState::Stopping => self.stop(erasure).await,
            ErasureState::Purging => self.purge(erasure).await,
            ErasureState::Destroying => self.destroy(erasure).await,
            ErasureState::DoneButRaw => self.age(erasure).await,
            ErasureState::Done | ErasureState::Unspecified => Ok(None),
        }
    }

    /// Finds out who a customer is. What the archive does not have yet is not known.
    pub(crate) async fn who(
        &self,
        portfolio_id: &str,
        customer: CustomerId,
    ) -> Result<Who, EraseError> {
        let walk = self.walk();
        let customers = walk.customers(customer).await?;
        let mut links = Vec::new();
        for customer in &customers {
            walk.rows(&without_number(customer), |row| {
                if let Some(Event::CustomerLinked(link)) = row.event()
                    && link.kind != MERGED
                    && link.portfolio_id == portfolio_id
                {
                    links.push((row.stored.subject.clone(), link.identifier));
                }
            })
            .await?;
        }
        let mut who = Who {
            customers,
            ..Who::default()
        };
        for (subject, identifier) in links {
            // A phone may be somebody else's by now: then it is theirs.
            let stored = self.log.last(stream::CUSTOMERS, &subject).await?;
            let holder = stored.and_then(|stored| match stored.event().ok()? {
                Event::CustomerLinked(link) => CustomerId::parse(&link.customer_id).ok(),
                _ => None,
            });
            if holder.is_some_and(|holder| who.customers.contains(&holder)) {
                let token = subject.rsplit('.').next().unwrap_or_default();
                who.tokens.insert(token.to_owned());
                who.identifiers.insert(identifier);
            }
        }
        Ok(who)
    }

    /// Finds out what there is of customers. What the archive does not have yet is not known.
    pub(crate) async fn held(&self, customers: &[CustomerId]) -> Result<Held, EraseError> {
        let walk = self.walk();
        let mut held = Held::default();
        let mut number = String::new();
        while let Some(next) = self.store.number_after(&number).await? {
            number = next;
            for customer in customers {
                let key = ConversationKey {
                    number: number.clone(),
                    customer_id: customer.as_str().to_owned(),
                };
                if let Some(found) = self.store.conversation(&key).await? {
                    held.conversation_count += 1;
                    held.numbers.insert(number.clone());
                    held.brands.insert(found.brand_id);
                }
                let media = &mut held.media;
                walk.rows(&key, |row| {
                    let id = subject::parse_media(&row.stored.subject);
                    media.extend(id.map(|id| id.to_string()));
                })
                .await?;
            }
        }
        for customer in customers {
            self.each_message(customer, |message| {
                held.message_count += 1;
                held.numbers.insert(message.key.number.clone());
                held.brands.insert(message.brand_id.clone());
                if message.state != MessageState::Ended {
                    held.open_messages.insert(message.id.clone());
                }
            })
            .await?;
        }
        held.brands.remove("");
        held.numbers.remove("");
        Ok(held)
    }

    async fn each_message(
        &self,
        customer: &CustomerId,
        mut show: impl FnMut(&Message) + Send,
    ) -> Result<(), EraseError> {
        let filter = MessageFilter {
            customer_id: Some(customer.as_str().to_owned()),
            ..MessageFilter::default()
        };
        let mut before: Option<RequestKey> = None;
        loop {
            let messages = self.store.messages(&filter, before.as_ref(), MESSAGES_MAX);
            let messages = messages.await?;
            messages.iter().for_each(&mut show);
            before = messages.last().and_then(RequestKey::of).or(before);
            if messages.len() < MESSAGES_MAX {
                return Ok(());
            }
        }
    }

    /// Returns the ids of a customer's messages.
    pub(super) async fn message_ids(
        &self,
        customer: &CustomerId,
    ) -> Result<Vec<String>, EraseError> {
        let mut ids = Vec::new();
        self.each_message(customer, |message| ids.push(message.id.clone()))
            .await?;
        Ok(ids)
    }

    /// Waits until the archive has all that a stream holds now. Returns whether it has.
    pub(crate) async fn has_reached(&self, stream: &str) -> Result<bool, EraseError> {
        let state = self.log.state(stream).await?;
        let position = Position {
            stream: stream.to_owned(),
            incarnation: state.incarnation,
            sequence: state.last_sequence,
        };
        if position.sequence == 0 {
            return Ok(true);
        }
        Ok(self.progress.reach(&position.to_string()).await.is_ok())
    }

    /// Writes the tombstones, until no identifier is left that has none.
    async fn bury(&self, erasure: &v1::Erasure) -> Result<Option<v1::Erasure>, EraseError> {
        let (portfolio, at) = (portfolio(erasure)?, erased_at(erasure)?);
        for token in erasure.tokens.iter().chain(&erasure.customer_ids) {
            let tombstone = Tombstone {
                portfolio: portfolio.clone(),
                token: token.clone(),
                erasure_id: erasure.erasure_id.clone(),
                at,
            };
            entomb(&self.log, SOURCE, &tombstone, self.clock.now()).await?;
        }
        // What was linked before the tombstones stood is archived by then, and found.
        if !self.has_reached(stream::CUSTOMERS).await? {
            return Ok(None);
        }
        let (mut next, is_known) = self.with_more(erasure).await?;
        if is_known {
            next.set_state(ErasureState::Stopping);
        }
        Ok(Some(next))
    }

    /// Adds who else proved to be the same customer, and what else they are known by. Returns whether
    /// that was nothing.
    async fn with_more(&self, erasure: &v1::Erasure) -> Result<(v1::Erasure, bool), EraseError> {
        let mut next = erasure.clone();
        let mut customers: BTreeSet<String> = next.customer_ids.iter().cloned().collect();
        let mut tokens: BTreeSet<String> = next.tokens.iter().cloned().collect();
        let before = (customers.len(), tokens.len());
        for customer in self::customers(erasure)? {
            let who = self.who(&erasure.portfolio_id, customer).await?;
            for customer in who.customers {
                if customers.insert(customer.as_str().to_owned()) {
                    next.customer_ids.push(customer.as_str().to_owned());
                }
            }
            tokens.extend(who.tokens);
        }
        let is_known = before == (customers.len(), tokens.len());
        next.tokens = tokens.into_iter().collect();
        Ok((next, is_known))
    }

    /// Tells the other roles what to end, and waits until they have.
    async fn stop(&self, erasure: &v1::Erasure) -> Result<Option<v1::Erasure>, EraseError> {
        for stream in [stream::EVENTS, stream::MESSAGES, stream::CUSTOMERS] {
            if !self.has_reached(stream).await? {
                return Ok(None);
            }
        }
        let customers = customers(erasure)?;
        let held = self.held(&customers).await?;
        let told = |known: &[String], found: &BTreeSet<String>| {
            let known: BTreeSet<&String> = known.iter().collect();
            found.iter().all(|one| known.contains(one))
        };
        let is_told = told(&erasure.numbers, &held.numbers)
            && told(&erasure.media_ids, &held.media)
            && told(&erasure.open_message_ids, &held.open_messages);
        let mut next = erasure.clone();
        next.brand_ids = held.brands.into_iter().collect();
        next.conversation_count = next.conversation_count.max(held.conversation_count);
        next.message_count = next.message_count.max(held.message_count);
        next.media_count = next.media_count.max(held.media.len() as u64);
        if !is_told {
            let joined = |known: &[String], found: BTreeSet<String>| {
                let all: BTreeSet<String> = known.iter().cloned().chain(found).collect();
                all.into_iter().collect::<Vec<_>>()
            };
            next.numbers = joined(&erasure.numbers, held.numbers);
            next.media_ids = joined(&erasure.media_ids, held.media);
            next.open_message_ids = joined(&erasure.open_message_ids, held.open_messages);
            return Ok(Some(next));
        }
        if !held.open_messages.is_empty()
            || !self.has_closed(erasure, &customers).await?
            || !self.has_no_files(erasure).await?
        {
            return Ok(None);
        }
        next.set_state(ErasureState::Purging);
        Ok(Some(next))
    }

    /// Whether no window of the customer is told as open.
    async fn has_closed(
        &self,
        erasure: &v1::Erasure,
        customers: &[CustomerId],
    ) -> Result<bool, EraseError> {
        for number in &erasure.numbers {
            let Ok(number) = BusinessNumber::parse(number) else {
                continue;
            };
            for customer in customers {
                let subject = subject::conversation(Family::Window, &number, customer);
                let Some(stored) = self.log.last(stream::EVENTS, &subject).await? else {
                    continue;
                };
                let event = stored.event().ok();
                let window = event.and_then(|event| convert::window::read(&event).ok().flatten());
                if window.is_some_and(|window| window.closed.is_none()) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether ingress has removed all files.
    async fn has_no_files(&self, erasure: &v1::Erasure) -> Result<bool, EraseError> {
        for id in &erasure.media_ids {
            let Ok(id) = MediaId::parse(id) else {
                continue;
            };
            let stored = self.log.last(stream::EVENTS, &subject::media(&id)).await?;
            let event = stored.as_ref().and_then(|stored| stored.event().ok());
            if !matches!(event, Some(Event::MediaErased(_))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the customer's subjects from the log, as soon as the archive has them.
    async fn purge(&self, erasure: &v1::Erasure) -> Result<Option<v1::Erasure>, EraseError> {
        let Some(purged_count) = self.purge_all(erasure).await? else {
            return Ok(None);
        };
        let mut next = erasure.clone();
        next.purged_count += purged_count;
        next.set_state(ErasureState::Destroying);
        Ok(Some(next))
    }

    /// Destroys the keys, with all that is looked up by and not sealed.
    async fn destroy(&self, erasure: &v1::Erasure) -> Result<Option<v1::Erasure>, EraseError> {
        for stream in [stream::EVENTS, stream::DEAD, stream::ACCOUNTS] {
            if !self.has_reached(stream).await? {
                return Ok(None);
            }
        }
        let strangers = self.strangers(erasure).await?;
        let now = self.clock.now();
        let mut next = erasure.clone();
        next.stranger_count += strangers.len() as u64;
        let erased = Erased {
            customers: erasure.customer_ids.clone(),
            strangers,
            at: now,
        };
        self.store.erase(&erased).await?;
        next.set_state(ErasureState::DoneButRaw);
        next.destroy_time = Some(convert::timestamp(now));
        let last_copy_at = erasure::last_copy_at(erased_at(erasure)?, self.ages);
        next.last_copy_time = Some(convert::timestamp(last_copy_at));
        Ok(Some(next))
    }

    /// Finds the rows of no customer that name this one. Whoever comes after the keys were destroyed
    /// knows no identifiers any more, and does not need to: both are one transaction.
    async fn strangers(&self, erasure: &v1::Erasure) -> Result<Vec<EventKey>, EraseError> {
        let identifiers = self.identifiers(erasure).await?;
        let needles: Vec<String> = identifiers
            .iter()
            .map(|one| needle(one).to_owned())
            .collect();
        let needles: Vec<&[u8]> = needles
            .iter()
            .filter(|needle| needle.len() >= NEEDLE_LEN_MIN)
            .map(String::as_bytes)
            .collect();
        let mut found = Vec::new();
        if needles.is_empty() {
            return Ok(found);
        }
        for (stream, prefix) in [
            (stream::EVENTS, None),
            (stream::MESSAGES, None),
            (stream::DEAD, None),
            (stream::ACCOUNTS, Some("casement.accounts.reported.")),
        ] {
            let filter = EventFilter {
                stream: Some(stream.to_owned()),
                customer_id: Some(String::new()),
                subject_prefix: prefix.map(str::to_owned),
                ..EventFilter::default()
            };
            let mut after: Option<EventKey> = None;
            loop {
                let page = self
                    .store
                    .events(&filter, after.as_ref(), STRANGERS)
                    .await?;
                for row in &page.rows {
                    let payload = &row.stored.payload[..];
                    let names =
                        |needle: &&[u8]| payload.windows(needle.len()).any(|part| part == *needle);
                    if needles.iter().any(names) {
                        found.push(EventKey::of(row));
                    }
                }
                after = page.rows.last().map(EventKey::of).or(after);
                if !page.has_more {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Returns what the customer is known by, as the archived links say: those of a phone, too, that
    /// is somebody else's by now, are not among them.
    async fn identifiers(&self, erasure: &v1::Erasure) -> Result<BTreeSet<String>, EraseError> {
        let walk = self.walk();
        let tokens: BTreeSet<&str> = erasure.tokens.iter().map(String::as_str).collect();
        let mut found = BTreeSet::new();
        for customer in customers(erasure)? {
            walk.rows(&without_number(&customer), |row| {
                let token = row.stored.subject.rsplit('.').next().unwrap_or_default();
                if tokens.contains(token)
                    && let Some(Event::CustomerLinked(link)) = row.event()
                {
                    found.insert(link.identifier);
                }
            })
            .await?;
        }
        Ok(found)
    }

    /// Removes what came in by a hair's breadth, and looks whether the last copy has left.
    async fn age(&self, erasure: &v1::Erasure) -> Result<Option<v1::Erasure>, EraseError> {
        let at = erased_at(erasure)?;
        let mut next = erasure.clone();
        if self
            .purge_all(erasure)
            .await?
            .is_some_and(|purged| purged > 0)
        {
            let erased = Erased {
                customers: erasure.customer_ids.clone(),
                strangers: Vec::new(),
                at: self.clock.now(),
            };
            self.store.erase(&erased).await?;
        }
        let last_copy_at = erasure::last_copy_at(at, self.ages);
        let now = self.clock.now();
        if now < last_copy_at {
            return Ok(None);
        }
        // What is kept longer than by its age is kept, whatever the clock says.
        let last_stored = at.saturating_add(self.ages.repeated_for.max(jiff::SignedDuration::ZERO));
        let last_stored = last_stored.unwrap_or(at);
        for stream in [stream::RAW, stream::DEAD] {
            let oldest = self.log.next(stream, ">", 1).await?;
            if oldest.is_some_and(|oldest| oldest.stored_at <= last_stored) {
                return Ok(None);
            }
        }
        next.last_copy_time = Some(convert::timestamp(now));
        next.set_state(ErasureState::Done);
        Ok(Some(next))
    }
}

/// Returns the part of an identifier that is the same in all ways to write it: of phones in Brazil
/// and Mexico, which have two, what stands after the digit that one of them leaves out.
fn needle(identifier: &str) -> &str {
    let is_phone = identifier.bytes().all(|byte| byte.is_ascii_digit());
    let last = match identifier.get(..2) {
        Some("55") if is_phone => 8,
        Some("52") if is_phone => 10,
        _ => return identifier,
    };
    let from = identifier.len().saturating_sub(last);
    identifier.get(from..).unwrap_or(identifier)
}

/// Returns whether a message id is one that can stand on the log.
pub(super) fn message_id(text: &str) -> Option<MessageId> {
    MessageId::parse(text).ok()
}
