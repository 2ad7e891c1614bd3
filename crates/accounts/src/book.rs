//! The ledger and the log together: read what is new, decide, append, and again on conflict.
//!
//! One wish at a time in a process, which is plenty for accounts; other processes are met by
//! expectations. Nothing is cached that was not compared with the stream's leader just before.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event::{Event, Extension, Record, id, v1};
use casement_event_log::{AppendError, Followed, Log, ReadError, Start};
use casement_shell::SharedClock;
use casement_shell::telemetry::current_traceparent;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::decide::{Cause, Decision, Refusal};
use crate::ledger::{self, Ledger, Place, place};

/// The role, as it stands on its events.
pub(crate) const SOURCE: &str = "casement/accounts";

/// Matches every brand, number and template, and other kinds that are not the ledger's; but not
/// what webhooks say of them, which has one token more.
const ALL_RECORDS: &str = "casement.accounts.*.*";

/// How often a wish that others overtook is decided anew.
const DECISION_COUNT_MAX: u32 = 16;

/// How long the first reading of all records may take.
const FIRST_READING_MAX: Duration = Duration::from_secs(30);

/// Why a wish was not granted, or nothing could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    /// The wish itself is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The event could not be stored, or nobody knows whether it was.
    #[error("account record was not appended")]
    Append(#[source] AppendError),
    /// The records could not be read.
    #[error("account records were not read")]
    Read(#[from] ReadError),
    /// The records were not read in time.
    #[error("account records were not read within {FIRST_READING_MAX:?}")]
    Slow,
    /// What stands on the log is from a newer version, or broken. Nothing is decided on half the
    /// records.
    #[error("account record at sequence {sequence} is not readable")]
    Unreadable {
        /// Its place.
        sequence: u64,
    },
    /// Others kept overtaking.
    #[error("account record kept changing for {DECISION_COUNT_MAX} decisions")]
    Contended,
}

/// The records, and the way to change them.
pub(crate) struct Book {
    log: Log,
    clock: SharedClock,
    page: Mutex<Page>,
}

/// The ledger, and how far on the log it reaches.
#[derive(Default)]
struct Page {
    ledger: Ledger,
    /// Everything up to this sequence was taken up; `None` before the first reading is over.
    seen: Option<u64>,
}

/// The book in one caller's hands, up to date.
pub(crate) struct Desk<'a> {
    book: &'a Book,
    page: MutexGuard<'a, Page>,
}

impl Book {
    pub(crate) fn new(log: Log, clock: SharedClock) -> Self {
        Self {
            log,
            clock,
            page: Mutex::default(),
        }
    }

    /// Takes the book, with everything in it that is on the log by now.
    pub(crate) async fn desk(&self) -> Result<Desk<'_>, BookError> {
        let page = self.page.lock().await;
        let mut desk = Desk { book: self, page };
        desk.refresh().await?;
        Ok(desk)
    }

    /// Somebody's wish, as of now.
    pub(crate) fn cause(&self, caller: &str) -> Cause {
        Cause {
            time: self.clock.now(),
            caller: caller.to_owned(),
        }
    }
}

impl Desk<'_> {
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.page.ledger
    }

    /// Returns the sequence up to which everything on the log is in the ledger.
    pub(crate) fn seen(&self) -> u64 {
        let newest = self.page.seen;
        newest.expect("a desk is refreshed before it is handed out")
    }

    /// Decides and appends until it is so. Returns whether anything was written.
    pub(crate) async fn settle(
        &mut self,
        cause: &Cause,
        decide: impl Fn(&Ledger) -> Decision + Send + Sync,
    ) -> Result<bool, BookError> {
        for _ in 0..DECISION_COUNT_MAX {
            let Some(event) = decide(self.ledger())? else {
                return Ok(false);
            };
            let place = place(&event).expect("deciders make events of ours, with their record");
            let expect = self.ledger().expectation(&place);
            let record = record(&place, event.clone(), cause);
            match self.book.log.append(record, expect).await {
                Ok(position) => {
                    crate::metrics::changed(place.kind);
                    self.page.ledger.take(position, event);
                    return Ok(true);
                }
                Err(AppendError::Conflict { .. }) => self.refresh().await?,
                Err(error) => return Err(BookError::Append(error)),
            }
        }
        Err(BookError::Contended)
    }

    /// Takes up what is new, from the stream's leader.
    async fn refresh(&mut self) -> Result<(), BookError> {
        let Some(mut seen) = self.page.seen else {
            return timeout(FIRST_READING_MAX, self.read_all())
                .await
                .unwrap_or(Err(BookError::Slow));
        };
        let log = &self.book.log;
        while let Some(stored) = log.next(stream::ACCOUNTS, ALL_RECORDS, seen + 1).await? {
            self.page.take_up(&stored)?;
            seen = stored.sequence;
            self.page.seen = Some(seen);
        }
        Ok(())
    }

    async fn read_all(&mut self) -> Result<(), BookError> {
        let filters = vec![ALL_RECORDS.to_owned()];
        let mut records = self
            .book
            .log
            .follow(stream::ACCOUNTS, filters, Start::LastPerSubject);
        loop {
            match records.next().await {
                Followed::Event(stored) => self.page.take_up(&stored)?,
                Followed::CaughtUp { sequence } => {
                    self.page.seen = Some(sequence);
                    return Ok(());
                }
            }
        }
    }
}

impl Page {
    fn take_up(&mut self, stored: &casement_event::Stored) -> Result<(), BookError> {
        let sequence = stored.sequence;
        if !ledger::is_kept(&stored.subject) {
            return Ok(());
        }
        let event = stored.event().map_err(|error| {
            tracing::error!(sequence, error = %error, "account record is not readable");
            BookError::Unreadable { sequence }
        })?;
        if self.ledger.apply(stored, event) {
            Ok(())
        } else {
            Err(BookError::Unreadable { sequence })
        }
    }
}

fn record(place: &Place, event: Event, cause: &Cause) -> Record {
    let subject = place.subject();
    let payload_hash = hex::encode(Sha256::digest(event.encode()));
    let id = id::account(&subject, &payload_hash, cause.time);
    let (brand, number, state) = marks(&event);
    let deadline = deadline(&event);
    Record::new(subject, id, SOURCE, cause.time, event)
        .about(place.key.clone())
        .with(Extension::Brand, brand)
        .with(Extension::Number, number)
        .with(Extension::State, state)
        .with_deadline(deadline)
        .caused_by(current_traceparent())
}

/// When the runner takes the record up, for the kinds that have a duty there; `None` for never.
fn deadline(event: &Event) -> Option<Timestamp> {
    if let Some(told) = casement_event::convert::application::told(event) {
        return crate::application::deadline(told.application);
    }
    match event {
        // One line for each kind that comes due.
        Event::OnboardingAdvanced(event) => crate::onboarding::deadline(event.onboarding.as_ref()),
        Event::DeregistrationAdvanced(_) => crate::numbers::deregister::deadline(event),
        Event::TemplatesSynced(_) | Event::TemplateRecorded(_) => crate::templates::deadline(event),
        event => crate::migration::deadline(event),
    }
}

/// Brand, number and state, for those who read headers alone.
fn marks(event: &Event) -> (String, String, &'static str) {
    let of_number = |number: &Option<v1::Number>| {
        let number = number.clone().unwrap_or_default();
        let state = if number.paused { "PAUSED" } else { "ACTIVE" };
        (number.brand_id, number.number, state)
    };
    if let Some(marks) = crate::migration::marks(event) {
        return marks;
    }
    if let Some(told) = casement_event::convert::application::told(event) {
        return crate::application::marks(told.application);
    }
    match event {
        Event::OnboardingAdvanced(v1::OnboardingAdvanced {
            onboarding: Some(of),
            ..
        }) => crate::onboarding::marks(of),
        Event::NumberRecorded(event) => of_number(&event.number),
        Event::NumberPaused(event) => of_number(&event.number),
        Event::NumberResumed(event) => of_number(&event.number),
        Event::NumberMigratedAway(event) => of_number(&event.number),
        Event::NumberReturned(event) => of_number(&event.number),
        Event::NumberHealthChanged(event) => {
            let health = event.health.clone().unwrap_or_default();
            (String::new(), health.number, "")
        }
        Event::DowngradeRequested(event) => (String::new(), event.number.clone(), ""),
        Event::DeregistrationAdvanced(event) => {
            let record = event.deregistration.clone().unwrap_or_default();
            let state = match record.state() {
                v1::DeregistrationState::Unspecified => "",
                v1::DeregistrationState::Started => "STARTED",
                v1::DeregistrationState::Done => "DONE",
                v1::DeregistrationState::Refused => "REFUSED",
            };
            (String::new(), record.number, state)
        }
        Event::BrandRecorded(event) => {
            let brand = event.brand.clone().unwrap_or_default();
            (brand.brand_id, String::new(), "")
        }
        Event::TemplateRecorded(event) => {
            let status = event.template.as_ref().map(v1::Template::status);
            let name = status.unwrap_or_default().as_str_name();
            let state = name.strip_prefix("TEMPLATE_STATUS_").unwrap_or(name);
            (String::new(), String::new(), state)
        }
        _ => (String::new(), String::new(), ""),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use casement_event_log::Expect;
    use casement_shell::ManualClock;
    use casement_testkit::NatsServer;

    use super::*;
    use crate::decide::{self, Authority, Surroundings};

    async fn book(server: &NatsServer) -> Book {
        let config = casement_event_log::Config {
            servers: server.url(),
            accept_unsafe_broker: true,
            ..casement_event_log::Config::default()
        };
        let log = Log::connect(&config).await.unwrap();
        Book::new(log, Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)))
    }

    /// Decides on a number of its own with a `phone_number_id` that is everybody's.
    async fn record(desk: &mut Desk<'_>, book: &Book, digits: &str) -> Result<bool, BookError> {
        let cause = book.cause(digits);
        let wanted = v1::Number {
            number: digits.to_owned(),
            phone_number_id: "700".to_owned(),
            ..v1::Number::default()
        };
        desk.settle(&cause, |ledger| {
            let around = Surroundings {
                present: ledger.number(digits),
                holder: ledger.holder_of("700"),
                is_brand_known: true,
            };
            decide::number(around, wanted.clone(), &Authority::Every, &cause)
        })
        .await
    }

    #[tokio::test]
    async fn a_record_of_another_kind_beside_ours_is_passed_by() {
        let server = NatsServer::start().await;
        let book = book(&server).await;
        drop(book.desk().await.unwrap());

        let subject = casement_event::subject::spend("all");
        let time = jiff::Timestamp::UNIX_EPOCH;
        let id = id::account(&subject, "", time);
        let event = Event::from(v1::MessageCancelled::default());
        let spent = Record::new(subject, id, SOURCE, time, event);
        book.log.append(spent, Expect::Anything).await.unwrap();

        let mut desk = book.desk().await.unwrap();
        let is_written = record(&mut desk, &book, "1").await.unwrap();
        assert!(is_written, "the ledger was readable");
    }

    #[tokio::test]
    async fn a_writer_that_was_overtaken_decides_anew() {
        let server = NatsServer::start().await;
        let (ours, theirs) = (book(&server).await, book(&server).await);
        let mut our_desk = ours.desk().await.unwrap();
        let mut their_desk = theirs.desk().await.unwrap();

        assert!(record(&mut our_desk, &ours, "1").await.unwrap());
        // Their ledger is as it was before ours wrote, and would grant it.
        let refused = record(&mut their_desk, &theirs, "2").await;
        assert!(
            matches!(
                refused,
                Err(BookError::Refused(Refusal::PhoneNumberIdTaken))
            ),
            "{refused:?}"
        );
        assert!(!record(&mut their_desk, &theirs, "1").await.unwrap());
    }
}
