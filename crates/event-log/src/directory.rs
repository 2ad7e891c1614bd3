//! The directory: numbers, templates, brands and halts, as every role needs them at hand.
//!
//! A cache of the ACCOUNTS stream, rebuilt at each start from the newest record of each
//! subject and kept up by following it. Small, since accounts are few.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use casement_domain::halt::Known;
use casement_domain::id::BusinessNumber;
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
    templates: HashMap<String, (u64, v1::Template)>,
    /// Handed out as a whole, since every message asks for them.
    halts: Arc<Halts>,
    /// The newest event about any halt.
    halts_sequence: u64,
}

impl Directory {
    /// Starts following the accounts, and returns once all that stood there is known.
    ///
    /// Waits for a broker that is away; ends early, with what it has, if `stopping` is cancelled.
    pub async fn start(log: &Log, stopping: CancellationToken) -> Self {
        let mut filters = ["brand", "number", "template"]
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

    /// Returns a number's account.
    pub fn number(&self, number: &BusinessNumber) -> Option<v1::Number> {
        self.read(|entries| entries.numbers.get(number.digits()).cloned())
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

    /// Returns the account that Meta's id of a number belongs to.
    pub fn by_phone_number_id(&self, phone_number_id: &str) -> Option<v1::Number> {
        self.read(|entries| {
            entries
                .numbers
                .values()
                .find(|number| number.phone_number_id == phone_number_id)
                .cloned()
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

    /// Takes up an event about a halt that somebody has read who could not wait for the follower.
    pub fn hear(&self, stored: &Stored) {
        take(&self.entries, &self.change, stored);
    }

    /// Returns a brand.
    pub fn brand(&self, brand: &str) -> Option<v1::Brand> {
        self.read(|entries| entries.brands.get(brand).cloned())
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
            let limits = of_portfolio.map(|number| number.messaging_limit);
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
            }) => {
                self.numbers.insert(number.number.clone(), number);
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
