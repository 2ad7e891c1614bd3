//! Draining a number: no new messages are taken for it, what is in hand ends as it would have, and
//! what is left is counted.
//!
//! The record says since when; dispatchers refuse by it. It is counted on the log, from the newest
//! event of each message, so that no archive that lags behind makes a number look empty. Nothing is
//! ended here: who does not want to wait for what is held cancels it.

use std::time::Duration;

use casement_domain::id::BusinessNumber;
use casement_event::Extension;
use casement_event::convert::instant;
use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::{Followed, Log, Start};
use casement_proto::account::v1 as api;
use casement_shell::grpc::refuse;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::api::{digits, invalid, status};
use crate::decide::{self, Authority};
use crate::grpc::Accounts;
use crate::numbers::shown_with_etag;
use crate::validate;

/// How long after its record a dispatcher may still take a message: it hears of the record within
/// a second, and an append that was under way by then takes at most ten.
const LAST_TAKEN: SignedDuration = SignedDuration::from_secs(11);

/// How long it may take to count what is in hand.
const COUNTING_MAX: Duration = Duration::from_secs(20);

/// What is in hand of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct InHand {
    waiting: u64,
    held: u64,
    called: u64,
    accepted: u64,
}

impl InHand {
    /// Counts a message by the state that its newest event tells. A state of a newer version is in
    /// hand, too.
    fn count(&mut self, state: &str) {
        match state {
            "ENDED" => {}
            "HELD" => self.held += 1,
            "ATTEMPTING" | "UNKNOWN" => self.called += 1,
            "ACCEPTED" | "HELD_FOR_QUALITY_ASSESSMENT" | "PAUSED" => self.accepted += 1,
            _ => self.waiting += 1,
        }
    }

    fn is_empty(self) -> bool {
        self.waiting + self.held + self.called == 0
    }
}

impl Accounts {
    pub(crate) async fn drained(
        &self,
        request: api::DrainNumberRequest,
        authority: &Authority,
        caller: &str,
    ) -> Result<api::DrainNumberResponse, Status> {
        let digits = digits("number", &request.number)?;
        validate::reason("", &request.reason).map_err(invalid)?;
        let cause = self.book().cause(caller);
        let entry = {
            let mut desk = self.desk().await?;
            desk.settle(&cause, |ledger| {
                decide::drain(ledger.number(&digits), &request.reason, authority, &cause)
            })
            .await
            .map_err(status)?;
            let entry = desk.ledger().numbers.get(&digits).cloned();
            entry.ok_or_else(|| Status::internal("record is not there after its write"))?
        };
        // Only what is counted after the last that can have been taken says that nothing is left.
        let now = self.book().cause(caller).time;
        let in_hand = timeout(COUNTING_MAX, count(self.log(), &digits)).await;
        let in_hand = in_hand.map_err(|_| {
            let text = "what is in hand could not be counted in time: ask again";
            refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
        })?;
        Ok(api::DrainNumberResponse {
            waiting_count: in_hand.waiting,
            held_count: in_hand.held,
            called_count: in_hand.called,
            accepted_count: in_hand.accepted,
            drained: in_hand.is_empty() && is_shut(&entry.record, now),
            number: Some(shown_with_etag(&entry)),
            position: entry.position.to_string(),
        })
    }

    pub(crate) async fn reopened(
        &self,
        number: &str,
        authority: &Authority,
        caller: &str,
    ) -> Result<api::ReopenNumberResponse, Status> {
        let digits = digits("number", number)?;
        let cause = self.book().cause(caller);
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            decide::reopen(ledger.number(&digits), authority, &cause)
        })
        .await
        .map_err(status)?;
        let entry = desk.ledger().numbers.get(&digits);
        let entry = entry.ok_or_else(|| Status::internal("record is not there after its write"))?;
        Ok(api::ReopenNumberResponse {
            number: Some(shown_with_etag(entry)),
            position: entry.position.to_string(),
        })
    }
}

/// Whether what was taken last before the drain is on the log by now.
fn is_shut(number: &v1::Number, now: Timestamp) -> bool {
    let since = instant("drain_time", number.drain_time.as_ref());
    let shut_at = since
        .ok()
        .flatten()
        .and_then(|since| since.checked_add(LAST_TAKEN).ok());
    shut_at.is_some_and(|shut_at| shut_at <= now)
}

async fn count(log: &Log, digits: &str) -> InHand {
    let mut in_hand = InHand::default();
    let Ok(number) = BusinessNumber::parse(digits) else {
        return in_hand;
    };
    let messages = format!("casement.events.message.{}.{number}.*", number.partition());
    let mut follower = log.follow(stream::MESSAGES, vec![messages], Start::LastPerSubject);
    while let Followed::Event(stored) = follower.next().await {
        in_hand.count(stored.extension(Extension::State).unwrap_or_default());
    }
    in_hand
}

#[cfg(test)]
mod tests {
    use casement_event::convert::timestamp;

    use super::*;

    #[test]
    fn all_but_what_ended_and_what_a_provider_took_keeps_a_number_from_being_drained() {
        for (state, is_in_hand) in [
            ("ENDED", false),
            ("ACCEPTED", false),
            ("PAUSED", false),
            ("PENDING", true),
            ("DEFERRED", true),
            ("HELD", true),
            ("ATTEMPTING", true),
            ("UNKNOWN", true),
            ("OF_ANOTHER_DAY", true),
        ] {
            let mut in_hand = InHand::default();
            in_hand.count(state);
            assert_eq!(!in_hand.is_empty(), is_in_hand, "{state}");
        }
    }

    #[test]
    fn a_number_is_shut_once_the_last_append_that_can_have_been_under_way_is_over() {
        let second = |second| Timestamp::from_second(second).expect("a time");
        let number = |since: Option<i64>| v1::Number {
            drain_time: since.map(|since| timestamp(second(since))),
            ..v1::Number::default()
        };
        assert!(!is_shut(&number(Some(100)), second(110)));
        assert!(is_shut(&number(Some(100)), second(111)));
        assert!(!is_shut(&number(None), second(1_000)));
    }
}
