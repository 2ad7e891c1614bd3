//! The directory: numbers, templates, brands and halts, as every role needs them at hand.
//!
//! A cache of the ACCOUNTS stream, rebuilt at each start from the newest record of each
//! subject and kept up by following it. Small, since accounts are few.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use casement_domain::halt::Known;
use casement_domain::id::BusinessNumber;
use casement_domain::number_health::{Health, Limit};
use casement_event::convert::{self, instant};
use casement_event::subject::{ALL_HALTS, stream, template_token};
use casement_event::{Event, Stored, v1};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connect::Log;
use crate::{Followed, Follower, Start};

/// Numbers, templates, brands and halts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directory {
    entries: Arc<RwLock<Entries>>,
    change: Arc<watch::Sender<u64>>,
    changed: watch::Receiver<u64>,
}

/// A halt as the log has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Halt {
    /// Its place on the log.
    pub sequence: u64,
    /// What last happened to it.
    pub known: Known,
    /// As it was when that happened.
    pub stored: v1::Halt,
}

/// All halts, lifted ones, too, by id.
pub type Halts = BTreeMap<String, Halt>;

#[derive(Debug, Default)]
struct Entries {
    brands: HashMap<String, v1::Brand>,
    numbers: HashMap<String, v1::Number>,
    /// What the platform says of each number, and under which of its ids.
    health: HashMap<String, (String, Arc<Health>)>,
    templates: HashMap<String, (u64, v1::Template)>,
    /// Handed out as a whole, since every message asks for them.
    halts: Arc<Halts>,
    /// The newest event about any halt.
    halts_sequence: u64,
    /// The newest event about each number, and about any.
    number_sequences: HashMap<String, u64>,
    numbers_sequence: u64,
}

impl Directory {
    /// Starts following the accounts, and returns once all that stood there is known.
    ///
    /// Waits for a broker that is away; ends early, with what it has, if `stopping` is cancelled.
    pub async fn start(log: &Log, stopping: CancellationToken) -> Self {
        let mut filters = ["brand", "number", "health", "template"]
            .map(|kind| format!("casement.accounts.{kind}.>"))
            .to_vec();
        filters.push(ALL_HALTS.to_owned());
        let mut follower = log.follow(stream::ACCOUNTS, filters, Start::LastPerSubject);
        let entries = Arc::new(RwLock::new(Entries::default()));
        let (change, changed) = watch::channel(0);
        let change = Arc::new(change);
        let directory = Self {
            entries: Arc::clone(&entries),
            change: Arc::clone(&change),
            changed,
        };

        let caught_up = async {
            loop {
                match follower.next().await {
                    Followed::Event(stored) => take(&entries, &change, &stored),
                    Followed::CaughtUp { .. } => return,
                }
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return directory,
            () = caught_up => {}
        }
        tokio::spawn(keep_up(follower, entries, change, stopping));
        directory
    }

    /// Returns a number's account. What it leaves open of rates and limits is as the platform told.
    pub fn number(&self, number: &BusinessNumber) -> Option<v1::Number> {
        self.read(|entries| entries.filled(number.digits()))
    }

    /// Returns what the platform says of a number; nothing if it never said anything.
    pub fn health(&self, number: &str) -> Arc<Health> {
        self.read(|entries| entries.health_of(number))
    }

    /// Returns when a number last moved to another business account or provider; `None` if it never
    /// did as far as the account knows.
    pub fn migrated_at(&self, number: &BusinessNumber) -> Option<Timestamp> {
        self.read(|entries| migrated_at(entries.numbers.get(number.digits())?))
    }

    /// Returns the numbers that ever moved, and when each last did; in no order.
    pub fn migrated(&self) -> Vec<(BusinessNumber, Timestamp)> {
        let moved = |account: &v1::Number| {
            Some((
                BusinessNumber::parse(&account.number).ok()?,
                migrated_at(account)?,
            ))
        };
        self.read(|entries| entries.numbers.values().filter_map(moved).collect())
    }

    /// Returns the account that Meta's id of a number belongs to: its own, one that it had before it
    /// moved, or the one that it is about to have.
    pub fn by_phone_number_id(&self, phone_number_id: &str) -> Option<v1::Number> {
        self.read(|entries| {
            let all = || entries.numbers.values();
            let by_own = || all().find(|number| number.phone_number_id == phone_number_id);
            let by_another = || all().find(|number| has_another_id(number, phone_number_id));
            by_own().or_else(by_another).cloned()
        })
    }

    /// Returns a template in exactly this language.
    pub fn template(&self, waba: &str, name: &str, language: &str) -> Option<v1::Template> {
        self.read(|entries| {
            entries
                .templates
                .get(&template_token(waba, name, language))
                .map(|(_, template)| template.clone())
        })
    }

    /// Returns where on the log a template was recorded last.
    pub fn template_sequence(&self, waba: &str, name: &str, language: &str) -> Option<u64> {
        self.read(|entries| {
            let token = template_token(waba, name, language);
            entries.templates.get(&token).map(|(sequence, _)| *sequence)
        })
    }

    /// Returns all halts.
    pub fn halts(&self) -> Arc<Halts> {
        self.read(|entries| Arc::clone(&entries.halts))
    }

    /// Returns the sequence of the newest event about a halt that is known here.
    pub fn halts_sequence(&self) -> u64 {
        self.read(|entries| entries.halts_sequence)
    }

    /// Returns the sequence of the newest event about a number that is known here.
    pub fn numbers_sequence(&self) -> u64 {
        self.read(|entries| entries.numbers_sequence)
    }

    /// Takes up an event about a halt or a number that somebody has read who could not wait for the follower.
    pub fn hear(&self, stored: &Stored) {
        take(&self.entries, &self.change, stored);
    }

    /// Returns a brand.
    pub fn brand(&self, brand: &str) -> Option<v1::Brand> {
        self.read(|entries| entries.brands.get(brand).cloned())
    }

    /// Returns whether a number's brand may use a template of its WABA, by the brand's record.
    pub fn may_use(&self, account: &v1::Number, template: &str) -> bool {
        self.read(|entries| {
            let brand = entries.brands.get(&account.brand_id);
            let access = brand.and_then(|brand| brand.templates.as_ref());
            access.is_none_or(|stored| {
                convert::brand::access(stored).allows(&account.waba_id, template)
            })
        })
    }

    /// Returns all numbers, in no order.
    pub fn numbers(&self) -> Vec<v1::Number> {
        self.read(|entries| entries.numbers.values().cloned().collect())
    }

    /// Returns to how many customers a portfolio may write first in a day: the lowest limit that
    /// its numbers tell, `None` if none does.
    pub fn messaging_limit(&self, portfolio: &str) -> Option<u32> {
        self.read(|entries| {
            let all = entries.numbers.values();
            let of_portfolio = all.filter(|number| number.portfolio_id == portfolio);
            let limits = of_portfolio.map(|number| entries.messaging_limit(number));
            limits.filter(|limit| *limit > 0).min()
        })
    }

    /// Returns a counter that moves with each change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(
            &self
                .entries
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

/// Whether an id was a number's before it moved, or will be once it has.
fn has_another_id(number: &v1::Number, phone_number_id: &str) -> bool {
    let mut before = number.previous_phone_number_ids.iter();
    let next = number.moving.as_ref().map(|moving| &moving.phone_number_id);
    !phone_number_id.is_empty()
        && (before.any(|id| id == phone_number_id) || next.is_some_and(|id| id == phone_number_id))
}

fn migrated_at(account: &v1::Number) -> Option<Timestamp> {
    // Accounts writes no time that cannot be; another version's would have no meaning here.
    instant("migrate_time", account.migrate_time.as_ref())
        .ok()
        .flatten()
}

async fn keep_up(
    mut follower: Follower,
    entries: Arc<RwLock<Entries>>,
    change: Arc<watch::Sender<u64>>,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            followed = follower.next() => {
                if let Followed::Event(stored) = followed {
                    take(&entries, &change, &stored);
                }
            }
        }
    }
}

fn take(entries: &RwLock<Entries>, change: &watch::Sender<u64>, stored: &Stored) {
    let event = match stored.event() {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(sequence = stored.sequence, error = %error, "account record skipped");
            return;
        }
    };
    {
        let mut entries = entries
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.apply(stored.sequence, event);
    }
    change.send_modify(|count| *count += 1);
}

impl Entries {
    /// A number's account, with what the platform told where the record leaves it open.
    fn filled(&self, digits: &str) -> Option<v1::Number> {
        let mut number = self.numbers.get(digits)?.clone();
        number.messaging_limit = self.messaging_limit(&number);
        if number.throughput == 0 {
            let told = self.health_of(digits).throughput();
            number.throughput = told.unwrap_or_default();
        }
        Some(number)
    }

    fn messaging_limit(&self, number: &v1::Number) -> u32 {
        if number.messaging_limit > 0 {
            return number.messaging_limit;
        }
        match self.health_of(&number.number).messaging_limit() {
            Limit::Customers(limit) => limit,
            Limit::Unlimited | Limit::Unknown => 0,
        }
    }

    /// What was said under an id that the number has no longer counts as far as it moves along.
    fn health_of(&self, digits: &str) -> Arc<Health> {
        let Some((phone_number_id, health)) = self.health.get(digits) else {
            return Arc::default();
        };
        let number = self.numbers.get(digits);
        if number.is_none_or(|number| number.phone_number_id == *phone_number_id) {
            Arc::clone(health)
        } else {
            Arc::new(health.as_ref().clone().moved())
        }
    }

    fn apply(&mut self, sequence: u64, event: Event) {
        match event {
            event @ (Event::SendsHalted(_) | Event::SendsResumed(_)) => {
                self.apply_halt(sequence, &event);
            }
            Event::BrandRecorded(v1::BrandRecorded {
                brand: Some(brand), ..
            }) => {
                self.brands.insert(brand.brand_id.clone(), brand);
            }
            Event::NumberRecorded(v1::NumberRecorded {
                number: Some(number),
                ..
            })
            | Event::NumberPaused(v1::NumberPaused {
                number: Some(number),
                ..
            })
            | Event::NumberResumed(v1::NumberResumed {
                number: Some(number),
                ..
            })
            | Event::NumberMigratedAway(v1::NumberMigratedAway {
                number: Some(number),
                ..
            })
            | Event::NumberReturned(v1::NumberReturned {
                number: Some(number),
                ..
            }) => {
                self.apply_number(sequence, number);
            }
            Event::NumberHealthChanged(v1::NumberHealthChanged {
                health: Some(stored),
                ..
            }) => {
                let health = convert::number_health::read(&stored);
                let entry = (stored.phone_number_id, Arc::new(health));
                self.health.insert(stored.number, entry);
            }
            Event::TemplateRecorded(v1::TemplateRecorded {
                template: Some(template),
                ..
            }) => {
                let token = template_token(&template.waba_id, &template.name, &template.language);
                self.templates.insert(token, (sequence, template));
            }
            _ => {}
        }
    }

    /// Numbers come by two ways, as halts do.
    fn apply_number(&mut self, sequence: u64, number: v1::Number) {
        self.numbers_sequence = self.numbers_sequence.max(sequence);
        let known = self
            .number_sequences
            .entry(number.number.clone())
            .or_default();
        if *known < sequence {
            *known = sequence;
            self.numbers.insert(number.number.clone(), number);
        }
    }

    /// Halts come by two ways, so what is older than what is known is nothing new.
    fn apply_halt(&mut self, sequence: u64, event: &Event) {
        self.halts_sequence = self.halts_sequence.max(sequence);
        let stored = match event {
            Event::SendsHalted(event) => event.halt.clone(),
            Event::SendsResumed(event) => event.halt.clone(),
            _ => None,
        };
        let (Some(stored), Ok(Some(known))) = (stored, convert::halt::read_event(event)) else {
            tracing::error!(
                sequence,
                "a halt is of a newer version or broken: it is not kept to"
            );
            return;
        };
        let is_newer = self
            .halts
            .get(&stored.halt_id)
            .is_none_or(|before| before.sequence < sequence);
        if is_newer {
            let halt = Halt {
                sequence,
                known,
                stored,
            };
            Arc::make_mut(&mut self.halts).insert(halt.stored.halt_id.clone(), halt);
        }
    }
}
