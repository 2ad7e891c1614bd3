//! How a number leaves the platform: the ways back to the app, and deregistration, which is
//! planned, confirmed and then done in durable steps.
//!
//! A wish for the app changes nothing here: Casement puts no number back. Deregistration is
//! begun with what it does listed before the caller, and the record of it says how far it is; the
//! call itself is made by whoever takes the record up when it comes due.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use casement_domain::id::BusinessNumber;
use casement_domain::number_health::{Connection, Health};
use casement_domain::registration::{Act, Tally};
use casement_event::Extension;
use casement_event::convert::timestamp;
use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::{Followed, Log, Start};
use casement_proto::account::v1 as api;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::ledger::{Entry, Ledger};
use crate::{health, registration};

/// How long a plan is good.
const PLAN_KEPT: SignedDuration = SignedDuration::from_mins(15);

/// How long what waits for a number is counted before the count is given up.
const COUNTING_MAX: Duration = Duration::from_secs(10);

/// Returns the ways that a number has to the app (WhatsApp Cloud API: phone numbers; Meta:
/// onboarding business app users). None of them is Casement's to take, but for the first.
pub(crate) fn ways(health: &Health) -> Vec<api::DowngradeWay> {
    let is_on_the_app = health.is_on_the_app();
    let way = |way: &str, open: bool, text: &str| api::DowngradeWay {
        way: way.to_owned(),
        text: text.to_owned(),
        open,
    };
    vec![
        way(
            "DEREGISTRATION",
            !is_on_the_app && !matches!(health.connection(), Connection::Deregistered { .. }),
            "Deregister the number (PlanDeregistration, DeregisterNumber). It sends nothing on \
             WhatsApp from then on, and what waits for it ends; after that the app can take it. \
             Chats do not move along.",
        ),
        way(
            "SUPPORT",
            true,
            "Ask the platform's support. It promises nothing, and the number stays as it is until \
             it answers.",
        ),
        way(
            "COEXISTENCE",
            !is_on_the_app,
            "Onboard the number again with coexistence, by Embedded Signup, so that the app and \
             the API share it. Not in every country; 20 messages a second, and no groups or calls \
             here.",
        ),
    ]
}

/// What waits for a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) held: u64,
    pub(crate) pending: u64,
    pub(crate) open_windows: u64,
    /// It was not counted to the end.
    pub(crate) is_more: bool,
}

/// Counts what waits for a number, on the log.
pub(crate) async fn waiting(log: &Log, digits: &str) -> Waiting {
    let Ok(number) = BusinessNumber::parse(digits) else {
        return Waiting::default();
    };
    let partition = number.partition();
    let messages = format!("casement.events.message.{partition}.{number}.*");
    let windows = format!("casement.events.window.{partition}.{number}.*");
    let mut waiting = Waiting::default();
    let counting = async {
        for_each(log, stream::MESSAGES, messages, |state| match state {
            "HELD" => waiting.held += 1,
            "PENDING" => waiting.pending += 1,
            _ => {}
        })
        .await;
        for_each(log, stream::EVENTS, windows, |state| {
            waiting.open_windows += u64::from(state == "OPEN");
        })
        .await;
    };
    let is_counted = timeout(COUNTING_MAX, counting).await.is_ok();
    waiting.is_more = !is_counted;
    waiting
}

async fn for_each(log: &Log, stream: &str, filter: String, mut count: impl FnMut(&str)) {
    let mut follower = log.follow(stream, vec![filter], Start::LastPerSubject);
    while let Followed::Event(stored) = follower.next().await {
        count(stored.extension(Extension::State).unwrap_or_default());
    }
}

/// Returns what deregistering a number would do now.
pub(crate) fn consequences(
    entry: &Entry<v1::Number>,
    health: &Health,
    tally: &Tally,
    waiting: Waiting,
    now: Timestamp,
) -> Vec<api::DeregistrationConsequence> {
    let mut all = vec![
        told(
            "SENDS_STOP",
            "Nothing is sent from the number on WhatsApp any more; SMS goes on.",
            0,
        ),
        told(
            "HELD_MESSAGES",
            "Messages that wait for their customers end with NUMBER_DEREGISTERED, unless SMS can take them.",
            waiting.held,
        ),
        told(
            "PENDING_MESSAGES",
            "Messages that wait to be sent end, or take SMS.",
            waiting.pending,
        ),
        told(
            "OPEN_WINDOWS",
            "Customers who may be answered now no longer can be.",
            waiting.open_windows,
        ),
    ];
    if waiting.is_more {
        let text = "Not all could be counted: there is more of the above.";
        all.push(told("NOT_COUNTED", text, 0));
    }
    let left = tally.left(Act::Deregister, now);
    match tally.claim(Act::Deregister, now) {
        Ok(_) => all.push(told(
            "BUDGET",
            "Deregistrations left of ten in 72 hours.",
            u64::try_from(left).unwrap_or(u64::MAX),
        )),
        Err(refusal) => all.push(prevents("BUDGET", &refusal.to_string())),
    }
    if health.is_on_the_app() {
        let text = "A number that the app uses, too, is disconnected in the app, not here.";
        all.push(prevents("COEXISTENCE", text));
    }
    if matches!(health.connection(), Connection::Deregistered { .. }) {
        all.push(prevents(
            "DEREGISTERED",
            "The number is deregistered already.",
        ));
    }
    if entry.record.moving.is_some() {
        let text = "The number is on its way to another business account.";
        all.push(prevents("MOVING", text));
    }
    if entry.record.migrate_away_time.is_some() {
        all.push(prevents(
            "MIGRATED_AWAY",
            "The number is somebody else's now.",
        ));
    }
    all
}

fn told(kind: &str, text: &str, count: u64) -> api::DeregistrationConsequence {
    api::DeregistrationConsequence {
        kind: kind.to_owned(),
        text: text.to_owned(),
        count,
        prevents: false,
    }
}

fn prevents(kind: &str, text: &str) -> api::DeregistrationConsequence {
    api::DeregistrationConsequence {
        prevents: true,
        ..told(kind, text, 0)
    }
}

/// Returns what names a plan: the state of the records that it was made on, and when it ends.
pub(crate) fn plan_token(ledger: &Ledger, digits: &str, now: Timestamp) -> (String, Timestamp) {
    let ends = now.checked_add(PLAN_KEPT).unwrap_or(Timestamp::MAX);
    (token(ledger, digits, ends), ends)
}

/// Whether a plan is still good.
pub(crate) fn is_plan_good(ledger: &Ledger, digits: &str, wanted: &str, now: Timestamp) -> bool {
    let ends = URL_SAFE_NO_PAD
        .decode(wanted)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.split_once(' ')?.0.parse::<i64>().ok())
        .and_then(|second| Timestamp::from_second(second).ok());
    ends.is_some_and(|ends| now < ends && token(ledger, digits, ends) == wanted)
}

fn token(ledger: &Ledger, digits: &str, ends: Timestamp) -> String {
    let number = ledger.numbers.get(digits).map(|entry| &entry.position);
    let health = ledger.health.get(digits).map(|entry| &entry.position);
    let state = format!("{digits} {number:?} {health:?} {}", ends.as_second());
    let hash = hex::encode(Sha256::digest(state));
    URL_SAFE_NO_PAD.encode(format!("{} {}", ends.as_second(), &hash[..32]))
}

/// Returns the event that begins a deregistration.
pub(crate) fn begun(
    number: &v1::Number,
    caller: &str,
    reason: &str,
    now: Timestamp,
) -> v1::DeregistrationAdvanced {
    v1::DeregistrationAdvanced {
        deregistration: Some(v1::Deregistration {
            number: number.number.clone(),
            phone_number_id: number.phone_number_id.clone(),
            state: v1::DeregistrationState::Started.into(),
            caller: caller.to_owned(),
            reason: reason.to_owned(),
            start_time: Some(timestamp(now)),
            ..v1::Deregistration::default()
        }),
        time: Some(timestamp(now)),
    }
}

/// Returns what a number's deregistration would rest on.
pub(crate) fn grounds(ledger: &Ledger, number: &v1::Number) -> (Health, Tally) {
    let health = health::on_record(ledger, number);
    (health, registration::tally(ledger, &number.number))
}
