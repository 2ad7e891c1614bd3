//! The directory: numbers, templates and brands, as every role needs them at hand.
//!
//! A cache of the ACCOUNTS stream, rebuilt at each start from the newest record of each
//! subject and kept up by following it. Small, since accounts are few.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use casement_domain::id::BusinessNumber;
use casement_event::subject::{stream, template_token};
use casement_event::{Event, Stored, v1};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connect::Log;
use crate::{Followed, Follower, Start};

/// Numbers, templates and brands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directory {
    entries: Arc<RwLock<Entries>>,
    changed: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    brands: HashMap<String, v1::Brand>,
    numbers: HashMap<String, v1::Number>,
    templates: HashMap<String, v1::Template>,
}

impl Directory {
    /// Starts following the accounts, and returns once all that stood there is known.
    ///
    /// Waits for a broker that is away; ends early, with what it has, if `stopping` is cancelled.
    pub async fn start(log: &Log, stopping: CancellationToken) -> Self {
        let filters = ["brand", "number", "template"]
            .map(|kind| format!("casement.accounts.{kind}.>"))
            .to_vec();
        let mut follower = log.follow(stream::ACCOUNTS, filters, Start::LastPerSubject);
        let entries = Arc::new(RwLock::new(Entries::default()));
        let (change, changed) = watch::channel(0);
        let directory = Self {
            entries: Arc::clone(&entries),
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
                .cloned()
        })
    }

    /// Returns a brand.
    pub fn brand(&self, brand: &str) -> Option<v1::Brand> {
        self.read(|entries| entries.brands.get(brand).cloned())
    }

    /// Returns all numbers, in no order.
    pub fn numbers(&self) -> Vec<v1::Number> {
        self.read(|entries| entries.numbers.values().cloned().collect())
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

async fn keep_up(
    mut follower: Follower,
    entries: Arc<RwLock<Entries>>,
    change: watch::Sender<u64>,
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
        entries.apply(event);
    }
    change.send_modify(|count| *count += 1);
}

impl Entries {
    fn apply(&mut self, event: Event) {
        match event {
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
                self.templates.insert(token, template);
            }
            _ => {}
        }
    }
}
