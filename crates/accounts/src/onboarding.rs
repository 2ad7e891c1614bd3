//! Numbers on their way onto the platform after a sign-up: a saga on the book.
//!
//! Each step is claimed on the log, made, and ended there. Whoever is killed in between leaves a
//! claim whose lease ends; the next one looks at the platform before it repeats anything. The order
//! of the steps and what becomes of a failure is the domain's ([`casement_domain::onboarding`]).

mod access;
mod config;
mod grpc;
mod steps;
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use casement_domain::application::Durations;
use casement_domain::onboarding::{self as rules, Course, Trouble};
use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_secrets::Secrets;
use jiff::Timestamp;
use tonic::Code;

use crate::book::{Book, BookError};
use crate::decide::Cause;
use crate::ledger::Ledger;
use crate::platform::Platform;
use crate::runner::{Next, Ripe};
use crate::templates::Syncer;
use steps::{Done, Hitch};
use stored::Problem;

pub use config::App;
pub use grpc::Onboardings;

/// The kind of their records, as it stands in subjects.
pub(crate) const KIND: &str = "onboarding";

/// Stands on events that nobody asked for.
const CALLER: &str = "onboarding";

/// Why a wish about an onboarding is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or it is not the caller's.
    #[error("onboarding is not on record")]
    Unknown,
    /// Its course does not allow it.
    #[error(transparent)]
    Course(#[from] rules::Refusal),
    /// Somebody else has the number.
    #[error("phone_number_id is another brand's")]
    NumberTaken,
}

impl Refused {
    /// Returns the status code and the reason that it is answered with.
    pub(crate) fn code(&self) -> (Code, &'static str) {
        match self {
            Self::Unknown => (Code::NotFound, "ONBOARDING_UNKNOWN"),
            Self::Course(rules::Refusal::Over) => (Code::FailedPrecondition, "ONBOARDING_OVER"),
            Self::Course(rules::Refusal::Busy) => (Code::FailedPrecondition, "ONBOARDING_BUSY"),
            Self::NumberTaken => (Code::AlreadyExists, "PHONE_NUMBER_ID_TAKEN"),
        }
    }
}

/// What the steps need.
pub(crate) struct Saga {
    book: Arc<Book>,
    platform: Arc<Platform>,
    syncer: Syncer,
    secrets: Secrets,
    /// Meta's apps by the names of the configuration.
    apps: BTreeMap<String, App>,
    /// Of the steps of applications, which are told how their business's verification stands.
    durations: Durations,
}

/// A step that is ours to make.
struct Claimed {
    onboarding: v1::Onboarding,
    course: Course,
    /// Where the claim stands.
    sequence: u64,
}

/// Returns when the runner takes an onboarding up.
pub(crate) fn deadline(onboarding: Option<&v1::Onboarding>) -> Option<Timestamp> {
    stored::course(onboarding?).next_at
}

/// Brand, number and state, for those who read headers alone.
pub(crate) fn marks(onboarding: &v1::Onboarding) -> (String, String, &'static str) {
    let name = onboarding.state().as_str_name();
    let state = name.strip_prefix("ONBOARDING_STATE_").unwrap_or(name);
    (
        onboarding.brand_id.clone(),
        onboarding.number.clone(),
        state,
    )
}

/// Whether an onboarding has brought its number onto the platform.
pub(crate) fn is_done(ledger: &Ledger, id: &str) -> bool {
    let entry = ledger.onboardings.get(id);
    entry.is_some_and(|entry| entry.record.state() == v1::OnboardingState::Done)
}

fn advanced(onboarding: v1::Onboarding, cause: &Cause) -> Event {
    v1::OnboardingAdvanced {
        onboarding: Some(onboarding),
        time: Some(timestamp(cause.time)),
        caller: cause.caller.clone(),
    }
    .into()
}

impl Saga {
    pub(crate) fn new(
        book: Arc<Book>,
        platform: Arc<Platform>,
        syncer: Syncer,
        secrets: Secrets,
        apps: BTreeMap<String, App>,
        durations: Durations,
    ) -> Self {
        Self {
            book,
            platform,
            syncer,
            secrets,
            apps,
            durations,
        }
    }

    /// Makes the steps of an onboarding that are due, one after the other.
    pub(crate) async fn take(self: Arc<Self>, ripe: Ripe) -> anyhow::Result<Next> {
        while let Some(claimed) = self.claim(&ripe.key).await? {
            let made = self.make(&claimed.onboarding, claimed.course.step).await;
            if !self.conclude(&claimed, made).await? {
                break;
            }
        }
        // What is left to do stands on the log, with its time.
        Ok(Next::Done)
    }

    /// Begins the step that is due, on the log; `None` if none is, or another process has it.
    async fn claim(&self, id: &str) -> Result<Option<Claimed>, BookError> {
        let cause = self.book.cause(CALLER);
        let mut desk = self.book.desk().await?;
        let is_written = desk
            .settle(&cause, |ledger| {
                let entry = ledger.onboardings.get(id);
                let present = entry.map(|entry| &entry.record);
                Ok(present.and_then(|present| {
                    let begun = stored::course(present).begin(cause.time)?;
                    let after = stored::with(present, &begun, Problem::Keep, cause.time);
                    Some(advanced(after, &cause))
                }))
            })
            .await?;
        let entry = desk.ledger().onboardings.get(id).filter(|_| is_written);
        Ok(entry.map(|entry| Claimed {
            course: stored::course(&entry.record),
            onboarding: entry.record.clone(),
            sequence: entry.position.sequence,
        }))
    }

    /// Ends a step on the log. Returns whether another one may be due; what somebody has cancelled
    /// or taken over meanwhile stays as it is.
    async fn conclude(
        &self,
        claimed: &Claimed,
        made: Result<Done, Hitch>,
    ) -> Result<bool, BookError> {
        let cause = self.book.cause(CALLER);
        let id = &claimed.onboarding.onboarding_id;
        if let Err(hitch) = &made {
            tracing::warn!(
                onboarding = %id, step = ?claimed.course.step, reason = hitch.trouble.reason(),
                code = hitch.code, "a step of an onboarding came to nothing"
            );
        }
        let (course, problem) = match &made {
            Ok(_) => (claimed.course.done(cause.time), Problem::Clear),
            Err(hitch) => (
                claimed.course.failed(hitch.trouble, cause.time),
                Problem::Set(hitch.trouble, hitch.code),
            ),
        };
        let mut after = stored::with(&claimed.onboarding, &course, problem, cause.time);
        if let Ok(Done::Found(found)) = made {
            after.number = found.number;
            after.display_name = found.display_name;
            after.portfolio_id = found.portfolio_id;
        }
        let mut desk = self.book.desk().await?;
        let is_written = desk
            .settle(&cause, |ledger| {
                let entry = ledger.onboardings.get(id);
                let is_ours =
                    entry.is_some_and(|entry| entry.position.sequence == claimed.sequence);
                Ok(is_ours.then(|| advanced(after.clone(), &cause)))
            })
            .await?;
        Ok(is_written)
    }
}

impl From<Trouble> for Hitch {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, code: 0 }
    }
}
