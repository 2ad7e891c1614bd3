//! Takes a number off the platform, step by step: what was begun is done however often the process
//! dies, and at most as often as the platform allows.
//!
//! Sends stop first. Whether a call had its effect that nobody answered is looked up before it is
//! made again; to make it again would harm nothing but the budget.

use std::sync::Arc;

use casement_domain::number_health::{DEREGISTERED, DEREGISTERING, Fact, Kind, REGISTERED, Source};
use casement_domain::registration::Act;
use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_shell::SharedClock;
use casement_whatsapp::errors::Refused;
use casement_whatsapp::manage::CallError;
use jiff::Timestamp;

use crate::book::Book;
use crate::health::{Keeper, News};
use crate::platform::{Platform, PlatformError};
use crate::registration::{self, ClaimError};
use crate::runner::{Next, Ripe};

/// The kind of records that the steps stand on.
pub(crate) const KIND: &str = "deregistration";

/// All that the steps need.
#[derive(Clone)]
pub(crate) struct Deregistrar {
    pub(crate) book: Arc<Book>,
    pub(crate) clock: SharedClock,
    pub(crate) platform: Arc<Platform>,
    pub(crate) keeper: Arc<Keeper>,
}

/// When a record's next step is due.
pub(crate) fn deadline(event: &Event) -> Option<Timestamp> {
    let Event::DeregistrationAdvanced(event) = event else {
        return None;
    };
    let record = event.deregistration.as_ref()?;
    let is_begun = record.state() == v1::DeregistrationState::Started;
    let time = casement_event::convert::instant("time", event.time.as_ref());
    is_begun.then(|| time.ok().flatten())?
}

/// What a call came to.
enum Called {
    Done,
    Refused(v1::ProviderError),
}

impl Deregistrar {
    /// Takes a deregistration to its end, or fails to be called again.
    pub(crate) async fn step(self, ripe: Ripe) -> anyhow::Result<Next> {
        let (record, number) = {
            let desk = self.book.desk().await?;
            let ledger = desk.ledger();
            let Some(entry) = ledger.deregistrations.get(&ripe.key) else {
                return Ok(Next::Done);
            };
            if entry.record.state() != v1::DeregistrationState::Started {
                return Ok(Next::Done);
            }
            let number = ledger.number(&ripe.key).cloned();
            (entry.record.clone(), number)
        };
        let is_same = |number: &v1::Number| number.phone_number_id == record.phone_number_id;
        let Some(number) = number.filter(is_same) else {
            let error = v1::ProviderError {
                title: "the number has moved since".to_owned(),
                ..v1::ProviderError::default()
            };
            self.end(record, Some(error)).await?;
            return Ok(Next::Done);
        };
        self.tell(&record, DEREGISTERING).await?;
        match self.call(&number, &record).await {
            Ok(Called::Done) => {
                self.tell(&record, DEREGISTERED).await?;
                self.end(record, None).await?;
            }
            Ok(Called::Refused(error)) => {
                self.tell(&record, REGISTERED).await?;
                self.end(record, Some(error)).await?;
            }
            Err(Put::Off(until)) => return Ok(Next::Later(until)),
            Err(Put::Failed(error)) => return Err(error),
        }
        Ok(Next::Done)
    }

    /// Looks whether it is done already, and does it if not.
    async fn call(&self, number: &v1::Number, record: &v1::Deregistration) -> Result<Called, Put> {
        let now = self.clock.now();
        let leave = || self.platform.leave(number, true, now);
        if self.was_called(record).await? {
            let seen = self.platform.number(&leave()?).await?;
            if !seen.is_connected() {
                return Ok(Called::Done);
            }
        }
        let leave = leave()?;
        {
            let mut desk = self.book.desk().await.map_err(anyhow::Error::from)?;
            let claimed = registration::claim(
                &mut desk,
                &number.number,
                Act::Deregister,
                &record.caller,
                now,
            );
            match claimed.await {
                Ok(()) => {}
                Err(ClaimError::Spent(refusal)) => {
                    let error = v1::ProviderError {
                        title: refusal.to_string(),
                        ..v1::ProviderError::default()
                    };
                    return Ok(Called::Refused(error));
                }
                Err(ClaimError::Book(error)) => return Err(Put::Failed(error.into())),
            }
        }
        let refused = match self.platform.deregister(&leave).await {
            Ok(()) => return Ok(Called::Done),
            Err(PlatformError::Call(CallError::Refused(error))) => error,
            Err(error) => return Err(error.into()),
        };
        match casement_whatsapp::errors::refused(refused.code, refused.subcode) {
            Refused::NotRegistered => Ok(Called::Done),
            Refused::RegistrationLocked => {
                let mut desk = self.book.desk().await.map_err(anyhow::Error::from)?;
                let now = self.clock.now();
                registration::locked(&mut desk, &number.number, &record.caller, now)
                    .await
                    .map_err(anyhow::Error::from)?;
                Ok(Called::Refused(stored(&refused)))
            }
            Refused::Unavailable
            | Refused::TooManyCalls
            | Refused::Maintenance
            | Refused::HalfDeregistered => {
                let call = CallError::Refused(refused);
                Err(PlatformError::Call(call).into())
            }
            _ => Ok(Called::Refused(stored(&refused))),
        }
    }

    /// Whether the call may have been made since the record was begun.
    async fn was_called(&self, record: &v1::Deregistration) -> Result<bool, Put> {
        let desk = self.book.desk().await.map_err(anyhow::Error::from)?;
        let tally = registration::tally(desk.ledger(), &record.number);
        let begun = casement_event::convert::instant("start_time", record.start_time.as_ref());
        let begun = begun.ok().flatten().unwrap_or(Timestamp::MIN);
        Ok(tally.deregisters.iter().any(|call| *call >= begun))
    }

    async fn tell(&self, record: &v1::Deregistration, word: &str) -> anyhow::Result<()> {
        let fact = Fact::new(self.clock.now(), Source::Act, word).because(&record.reason);
        let news = News {
            number: record.number.clone(),
            phone_number_id: record.phone_number_id.clone(),
            facts: vec![(Kind::Registration, fact)],
        };
        self.keeper.hear(news, &record.caller).await?;
        Ok(())
    }

    async fn end(
        &self,
        record: v1::Deregistration,
        error: Option<v1::ProviderError>,
    ) -> anyhow::Result<()> {
        let state = match &error {
            None => v1::DeregistrationState::Done,
            Some(_) => v1::DeregistrationState::Refused,
        };
        let cause = self.book.cause(&record.caller);
        let ended = v1::Deregistration {
            state: state.into(),
            end_time: Some(timestamp(cause.time)),
            error,
            ..record.clone()
        };
        let mut desk = self.book.desk().await?;
        desk.settle(&cause, |ledger| {
            let present = ledger.deregistrations.get(&record.number);
            let is_ours = present.is_some_and(|entry| entry.record == record);
            let event = v1::DeregistrationAdvanced {
                deregistration: Some(ended.clone()),
                time: Some(timestamp(cause.time)),
            };
            Ok(is_ours.then(|| event.into()))
        })
        .await?;
        Ok(())
    }
}

/// Why a step is not over.
enum Put {
    /// There is no call left before then.
    Off(Timestamp),
    /// It is tried again.
    Failed(anyhow::Error),
}

impl From<PlatformError> for Put {
    fn from(error: PlatformError) -> Self {
        match error {
            PlatformError::Spent { until } => Self::Off(until),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<anyhow::Error> for Put {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// What the platform said, as it is kept.
fn stored(error: &casement_whatsapp::send::GraphError) -> v1::ProviderError {
    v1::ProviderError {
        code: error.code,
        title: error.message.clone(),
        details: error.details.clone().unwrap_or_default(),
        ..v1::ProviderError::default()
    }
}
