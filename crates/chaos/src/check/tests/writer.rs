//! Writes histories as they should be, and as they should not.

use casement_event::{Event, v1};
use jiff::{SignedDuration, Timestamp};

use super::super::{Claim, check};
use crate::history::{Call, Chain, Entry, History, Said, Told};

/// How long a window lasts, in seconds.
const WINDOW: i64 = 10;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time of this century")
}

#[expect(clippy::unnecessary_wraps, reason = "fields of events are optional")]
pub(super) fn stored(second: i64) -> Option<prost_types::Timestamp> {
    let at = at(second);
    Some(prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: 0,
    })
}

/// A history that grows in the order of its log.
pub(super) struct Writer {
    pub(super) history: History,
    sequences: [u64; 2],
}

impl Writer {
    pub(super) fn new() -> Self {
        let history = History {
            window: SignedDuration::from_secs(WINDOW),
            ..History::default()
        };
        Self {
            history,
            sequences: [0, 0],
        }
    }

    pub(super) fn put(
        &mut self,
        second: i64,
        stream: &str,
        subject: &str,
        event: impl Into<Event>,
    ) {
        let sequence = &mut self.sequences[usize::from(stream == "MESSAGES")];
        *sequence += 1;
        self.history.log.push(Entry {
            stream: stream.to_owned(),
            sequence: *sequence,
            stored_at: at(second),
            subject: subject.to_owned(),
            id: String::new(),
            event: event.into(),
        });
    }

    /// A customer writes at a time, and it is stored at another.
    pub(super) fn says(&mut self, id: &str, written: i64, second: i64) {
        let fact = v1::InboundMessageReceived {
            provider_message_id: id.to_owned(),
            times: Some(v1::Times {
                event_time: stored(written),
                received_time: stored(second),
                stated_time: None,
            }),
            ..Default::default()
        };
        self.put(
            second,
            "EVENTS",
            "casement.events.inbound.0.1555.anna",
            fact,
        );
        self.history.told.push(Told::Said(id.to_owned()));
        self.history.said.push(Said {
            id: id.to_owned(),
            at: at(written),
        });
    }

    pub(super) fn window(&mut self, second: i64, event: impl Into<Event>) {
        self.put(
            second,
            "EVENTS",
            "casement.events.window.0.1555.anna",
            event,
        );
    }

    pub(super) fn opened(&mut self, second: i64, id: &str, from: i64) {
        let event = v1::WindowOpened {
            window: Some(window(id, from, from + WINDOW)),
            ..Default::default()
        };
        self.window(second, event);
    }

    pub(super) fn expired(&mut self, second: i64, id: &str, from: i64, until: i64) {
        let event = v1::WindowExpired {
            window: Some(window(id, from, until)),
        };
        self.window(second, event);
    }

    pub(super) fn message(&mut self, second: i64, id: &str, event: impl Into<Event>) {
        let subject = format!("casement.events.message.0.1555.{id}");
        self.put(second, "MESSAGES", &subject, event);
    }

    pub(super) fn requested(&mut self, second: i64, id: &str) {
        let event = v1::MessageRequested {
            message_id: id.to_owned(),
            conversation: Some(v1::Conversation {
                customer_id: "anna".to_owned(),
                ..Default::default()
            }),
            request_time: stored(second),
            ..Default::default()
        };
        self.message(second, id, event);
        self.history.confirmed.push(id.to_owned());
    }

    pub(super) fn claimed(&mut self, second: i64, id: &str, attempt: u32) {
        let decision = v1::Decision {
            candidates: vec![v1::Candidate::default()],
            ..Default::default()
        };
        let event = v1::AttemptStarted {
            message_id: id.to_owned(),
            attempt,
            decision: Some(decision),
            ..Default::default()
        };
        self.message(second, id, event);
    }

    pub(super) fn called(&mut self, second: i64, id: &str, attempt: u32) {
        self.history.calls.push(Call {
            attempt: format!("{id}.{attempt}"),
            at: at(second),
            is_accepted: true,
            is_delivered: true,
            is_failed: false,
        });
    }

    pub(super) fn accepted(&mut self, second: i64, id: &str, attempt: u32) {
        let event = v1::AttemptAccepted {
            message_id: id.to_owned(),
            attempt,
            ..Default::default()
        };
        self.message(second, id, event);
    }

    pub(super) fn ended(&mut self, second: i64, id: &str, outcome: v1::MessageOutcome) {
        let event = v1::MessageEnded {
            message_id: id.to_owned(),
            outcome: outcome.into(),
            reason: "REASON".to_owned(),
            ..Default::default()
        };
        self.message(second, id, event);
    }

    /// A message that goes its way.
    pub(super) fn sent(&mut self, second: i64, id: &str) {
        self.requested(second, id);
        self.claimed(second + 1, id, 1);
        self.called(second + 1, id, 1);
        self.accepted(second + 2, id, 1);
        self.ended(second + 3, id, v1::MessageOutcome::Delivered);
    }

    /// Archives all of it, and returns what is broken.
    pub(super) fn broken(mut self) -> Vec<Claim> {
        self.archive();
        let mut claims: Vec<_> = check(&self.history)
            .into_iter()
            .map(|one| one.claim)
            .collect();
        claims.sort();
        claims.dedup();
        claims
    }

    pub(super) fn archive(&mut self) {
        for (stream, last_sequence) in ["EVENTS", "MESSAGES"].into_iter().zip(self.sequences) {
            self.history.chains.push(Chain {
                stream: stream.to_owned(),
                is_intact: true,
                last_sequence,
                explanation: String::new(),
            });
        }
    }
}

pub(super) fn window(id: &str, from: i64, until: i64) -> v1::PublishedWindow {
    v1::PublishedWindow {
        window_id: id.to_owned(),
        open_time: stored(from),
        expire_time: stored(until),
        ..Default::default()
    }
}
