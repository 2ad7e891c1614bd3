//! Applications on the book: what is wished of them is decided by the domain, and what falls due is
//! looked after here.
//!
//! An application does not register its number: it waits for the onboarding that it was handed over
//! to, and ends when the number is there.

mod api;
mod config;
mod grpc;
pub(crate) mod reports;

use std::sync::Arc;

use casement_domain::application::{
    self as rules, Application, Command, Durations, decide, evolve,
};
use casement_event::convert::application as convert;
use casement_event::convert::instant;
use casement_event::{Event, v1};
use jiff::{SignedDuration, Timestamp};
use tonic::Code;

use crate::api::etag;
use crate::book::{Book, BookError, Desk};
use crate::decide::{Authority, Cause, Decision, Refusal};
use crate::ledger::{Entry, Ledger};
use crate::runner::{Next, Ripe};

pub use config::Config;
pub use grpc::Applications;

/// The kind of their records, as it stands in subjects.
pub(crate) const KIND: &str = "application";

/// Matches every application's subject: that a number has one open application is a claim about all
/// of them.
pub(crate) const ALL: &str = "casement.accounts.application.*";

/// Stands on events that nobody asked for.
const CALLER: &str = "accounts";

/// How often an application that was handed over asks whether the number is connected.
const POLL_PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// An application as the ledger keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) stored: v1::Application,
    pub(crate) known: Application,
}

/// Reads an event of an application; `None` if it is of none, or not readable.
pub(crate) fn kept(event: &Event) -> Option<(Kept, Option<prost_types::Timestamp>, String)> {
    let told = convert::told(event)?;
    let known = convert::read(told.application)
        .inspect_err(|error| tracing::error!(error = %error, "application is not readable"))
        .ok()?;
    let kept = Kept {
        stored: told.application.clone(),
        known,
    };
    Some((kept, told.time, told.caller.to_owned()))
}

/// Returns when somebody has to look after an application: when a step will be overdue, and at
/// once when it was handed over.
pub(crate) fn deadline(stored: &v1::Application) -> Option<Timestamp> {
    let known = convert::read(stored).ok()?;
    let overdue = known.next_overdue().map(|(at, _)| at);
    let handed_over = instant("hand_over_time", stored.hand_over_time.as_ref());
    let handed_over = handed_over.ok().flatten().filter(|_| known.is_open());
    overdue.into_iter().chain(handed_over).min()
}

/// Brand, number and state, for those who read headers alone.
pub(crate) fn marks(stored: &v1::Application) -> (String, String, &'static str) {
    let name = stored.state().as_str_name();
    let state = name.strip_prefix("APPLICATION_STATE_").unwrap_or(name);
    (stored.brand_id.clone(), stored.number.clone(), state)
}

/// Who may change which application, and how they have seen it.
#[derive(Debug, Clone, Copy)]
struct Wish<'a> {
    id: &'a str,
    authority: &'a Authority,
    /// Empty if they do not care.
    etag: &'a str,
}

/// Returns the status code that a refusal is answered with.
pub(crate) fn code(refusal: rules::Refusal) -> Code {
    match refusal {
        rules::Refusal::Unknown | rules::Refusal::OnboardingUnknown => Code::NotFound,
        rules::Refusal::NumberHasOpenApplication => Code::AlreadyExists,
        rules::Refusal::ReportAhead => Code::InvalidArgument,
        rules::Refusal::BusinessIdFixed
        | rules::Refusal::NumberFixed
        | rules::Refusal::Ended
        | rules::Refusal::InviteNotAccepted
        | rules::Refusal::TermsNotSigned
        | rules::Refusal::BusinessNotVerified
        | rules::Refusal::FeeNotRefundable
        | rules::Refusal::AnotherOnboarding
        | rules::Refusal::OnboardingOfAnotherNumber => Code::FailedPrecondition,
    }
}

/// Carries out a command on the book, until it is so.
async fn carry_out(
    desk: &mut Desk<'_>,
    wish: Wish<'_>,
    durations: &Durations,
    cause: &Cause,
    command: impl Fn(&Ledger) -> Result<Command, rules::Refusal> + Send + Sync,
) -> Result<bool, BookError> {
    desk.settle(cause, |ledger| {
        let entry = ledger.applications.get(wish.id);
        if let Some(entry) = entry {
            // Another brand's application is as unknown as one that never was.
            if !wish.authority.covers(&entry.record.stored.brand_id) {
                return Err(rules::Refusal::Unknown.into());
            }
            if !wish.etag.is_empty() && wish.etag != etag(&entry.position) {
                return Err(Refusal::EtagMismatch);
            }
        }
        let present = entry.map(|entry| &entry.record.known);
        decided(wish.id, present, command(ledger)?, durations, cause)
    })
    .await
}

fn decided(
    id: &str,
    present: Option<&Application>,
    command: Command,
    durations: &Durations,
    cause: &Cause,
) -> Decision {
    let Some(happened) = decide(present, command, durations, cause.time)? else {
        return Ok(None);
    };
    let after = evolve(present.cloned(), &happened);
    let event =
        |after: &Application| convert::event(id, &happened.kind, after, happened.at, &cause.caller);
    Ok(after.as_ref().map(event))
}

/// Whether another open application has the number.
fn is_number_taken(ledger: &Ledger, id: &str, number: &str) -> bool {
    let others = ledger.applications.iter().filter(|(other, _)| *other != id);
    others
        .map(|(_, entry)| &entry.record)
        .any(|other| other.known.is_open() && other.stored.number == number)
}

/// Looks after an application whose time has come: tells what is overdue, and ends one whose number
/// is connected.
pub(crate) async fn look(
    book: Arc<Book>,
    durations: Durations,
    ripe: Ripe,
) -> anyhow::Result<Next> {
    let id = ripe.key.as_str();
    let cause = book.cause(CALLER);
    let wish = Wish {
        id,
        authority: &Authority::Every,
        etag: "",
    };
    let mut desk = book.desk().await?;
    carry_out(&mut desk, wish, &durations, &cause, |_| Ok(Command::Look)).await?;
    let Some(handed_to) = waits_for(desk.ledger(), id) else {
        return Ok(Next::Done);
    };
    if !is_connected(desk.ledger(), id, &handed_to) {
        let again = cause.time.checked_add(POLL_PAUSE);
        return Ok(Next::Later(again.unwrap_or(Timestamp::MAX)));
    }
    carry_out(&mut desk, wish, &durations, &cause, |_| {
        let onboarding = handed_to.clone();
        Ok(Command::Connected { onboarding })
    })
    .await?;
    Ok(Next::Done)
}

/// The onboarding that an open application waits for.
fn waits_for(ledger: &Ledger, id: &str) -> Option<String> {
    let entry: &Entry<Kept> = ledger.applications.get(id)?;
    let known = &entry.record.known;
    let hand_over = known.hand_over.as_ref().filter(|_| known.is_open())?;
    Some(hand_over.onboarding.clone())
}

/// Whether the number of an application is registered and connected, by the onboarding that it was
/// handed over to.
fn is_connected(ledger: &Ledger, id: &str, onboarding: &str) -> bool {
    let number = |id: &str| {
        ledger
            .applications
            .get(id)
            .map(|it| &it.record.stored.number)
    };
    let connected = ledger.onboardings.get(onboarding);
    crate::onboarding::is_done(ledger, onboarding)
        && connected.map(|entry| &entry.record.number) == number(id)
}

/// Checks that an application may be handed over to an onboarding. Which number that is of may not
/// be known before the platform told.
fn fits(ledger: &Ledger, id: &str, onboarding: &str) -> Result<(), rules::Refusal> {
    let Some(application) = ledger.applications.get(id) else {
        return Ok(());
    };
    let stored = &application.record.stored;
    let found = ledger
        .onboardings
        .get(onboarding)
        .map(|entry| &entry.record);
    let found = found.filter(|found| {
        found.brand_id == stored.brand_id && found.state() != v1::OnboardingState::Cancelled
    });
    match found {
        None => Err(rules::Refusal::OnboardingUnknown),
        Some(found) if !found.number.is_empty() && found.number != stored.number => {
            Err(rules::Refusal::OnboardingOfAnotherNumber)
        }
        Some(_) => Ok(()),
    }
}
