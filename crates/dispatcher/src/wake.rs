//! Wakes conversations whose customer did something or allows something else, so that what is held
//! can go, and counts what customers write towards their number's rate.
//!
//! A notice and no more: a held message is also looked at again on its own, so one that is
//! missed costs time and nothing else.

use casement_domain::id::BusinessNumber;
use casement_event::Stored;
use casement_event::subject::{self, Family, stream};
use casement_event_log::conversation::Key;
use casement_event_log::{Followed, Log, Start};
use tokio_util::sync::CancellationToken;

use crate::lanes::Lanes;

/// Follows customers, windows and consent until stopped.
pub(crate) async fn run(log: Log, lanes: Lanes, stopping: CancellationToken) -> anyhow::Result<()> {
    let consents = vec![subject::ALL_CONSENTS.to_owned()];
    let mut consents = log.follow(stream::CUSTOMERS, consents, Start::New);
    let filters = vec![Family::Inbound.filter(), Family::Window.filter()];
    let mut follower = log.follow(stream::EVENTS, filters, Start::New);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            followed = consents.next() => {
                if let Followed::Event(stored) = followed {
                    wake_everywhere(&stored.subject, &lanes);
                }
            }
            followed = follower.next() => {
                if let Followed::Event(stored) = followed
                    && let Some((_, number, customer)) = subject::parse_conversation(&stored.subject)
                {
                    count(&stored, &number, &lanes);
                    lanes.wake(Key { number, customer });
                }
            }
        }
    }
}

/// Wakes the conversations that a customer has with the numbers of a portfolio: consent is for all
/// of them.
fn wake_everywhere(consent: &str, lanes: &Lanes) {
    let Some((portfolio, customer)) = subject::parse_consent(consent) else {
        return;
    };
    let numbers = lanes.engine.directory.numbers().into_iter();
    for number in numbers.filter(|number| number.portfolio_id == portfolio.as_str()) {
        if let Ok(number) = BusinessNumber::parse(&number.number) {
            let customer = customer.clone();
            lanes.wake(Key { number, customer });
        }
    }
}

/// Counts what a customer wrote towards the number's rate.
fn count(stored: &Stored, number: &BusinessNumber, lanes: &Lanes) {
    if !stored.event_type().ends_with(".InboundMessageReceived") {
        return;
    }
    let engine = &lanes.engine;
    if let Some(account) = engine.directory.number(number) {
        let now = engine.clock.now();
        engine.rates.written(number, account.throughput, now);
    }
}
