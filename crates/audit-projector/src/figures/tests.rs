//! Laws: figures are a function of the set of facts.

use std::collections::BTreeMap;

use casement_event::convert::timestamp;
use casement_event::{Event, Stored, v1};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Measure, Read, Thing};
use crate::batch::Batch;
use crate::chain::Head;
use crate::fixture;
use crate::model::Row;
use crate::store::SumKey;

/// A database that holds what counting writes.
#[derive(Debug, Default, PartialEq)]
struct Kept {
    things: BTreeMap<String, Thing>,
    sums: BTreeMap<SumKey, i64>,
    minutes: BTreeMap<(String, i64, &'static str), i64>,
}

impl Kept {
    fn count(&mut self, rows: &[Row]) {
        let figured = Read::rows(rows).figured(&self.things);
        for (name, known) in figured.things {
            self.things.insert(name, Thing::from_json(&known).unwrap());
        }
        for (key, value) in figured.sums {
            *self.sums.entry(key).or_default() += value;
        }
        for (key, value) in figured.minutes {
            *self.minutes.entry(key).or_default() += value;
        }
        self.sums.retain(|_, value| *value != 0);
        self.minutes.retain(|_, value| *value != 0);
    }

    fn sum(&self, label: &str, measure: Measure, detail: &str) -> i64 {
        let of = self.sums.iter().filter(|(key, _)| {
            key.label == label && key.measure == measure.as_str() && key.detail == detail
        });
        of.map(|(_, value)| value).sum()
    }
}

fn rows(events: impl IntoIterator<Item = Stored>) -> Vec<Row> {
    let events = events.into_iter().collect();
    let batch = Batch::seal(Head::start("MESSAGES", "1a"), events, || [7; 16]);
    batch.entries.into_iter().map(|entry| entry.row).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "fields of events are optional")]
fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    let at: Timestamp = fixture::start() + SignedDuration::from_secs(seconds);
    Some(timestamp(at))
}

fn requested(message_id: &str, seconds: i64) -> Event {
    v1::MessageRequested {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        request_time: at(seconds),
        labels: vec![v1::Label {
            key: "team".to_owned(),
            value: "sales".to_owned(),
        }],
        content: Some(v1::Content {
            template: Some(v1::TemplateContent {
                name: "order".to_owned(),
                language: "en".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
    .into()
}

fn started(message_id: &str, attempt: u32, route: v1::Route, seconds: i64) -> Event {
    let mut event = v1::AttemptStarted {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt,
        start_time: at(seconds),
        cost: Some(cost(v1::CostBasis::Estimated, 70)),
        ..Default::default()
    };
    event.set_route(route);
    event.into()
}

fn cost(basis: v1::CostBasis, micros: u64) -> v1::Cost {
    let mut cost = v1::Cost {
        category: "utility".to_owned(),
        amount: Some(v1::Money {
            currency: "EUR".to_owned(),
            micros,
        }),
        ..Default::default()
    };
    cost.set_basis(basis);
    cost
}

fn accepted(message_id: &str, attempt: u32, seconds: i64) -> Event {
    v1::AttemptAccepted {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt,
        accept_time: at(seconds),
        ..Default::default()
    }
    .into()
}

fn rejected(message_id: &str, attempt: u32, action: &str, seconds: i64) -> Event {
    v1::AttemptRejected {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt,
        action: action.to_owned(),
        reject_time: at(seconds),
        cost: Some(cost(v1::CostBasis::NotDelivered, 0)),
        ..Default::default()
    }
    .into()
}

fn advanced(message_id: &str, attempt: u32, status: v1::DeliveryStatus, seconds: i64) -> Event {
    let mut event = v1::DeliveryAdvanced {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt,
        event_time: at(seconds),
        cost: Some(cost(v1::CostBasis::Reported, 50)),
        ..Default::default()
    };
    event.set_status(status);
    event.into()
}

fn answered(waited: i64, seconds: i64) -> Event {
    v1::CustomerAnswered {
        conversation: Some(fixture::conversation()),
        answered_time: at(seconds),
        waiting_since_time: at(seconds - waited),
        ..Default::default()
    }
    .into()
}

fn expired(window_id: &str, is_waiting: bool, seconds: i64) -> Event {
    v1::WindowExpired {
        window: Some(v1::PublishedWindow {
            window_id: window_id.to_owned(),
            conversation: Some(fixture::conversation()),
            expire_time: at(seconds),
            waiting_since_time: at(0).filter(|_| is_waiting),
            ..Default::default()
        }),
    }
    .into()
}

fn held(message_id: &str, seconds: i64) -> Event {
    v1::MessageHeld {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        hold_time: at(seconds),
        ..Default::default()
    }
    .into()
}

fn ended(message_id: &str, outcome: v1::MessageOutcome, seconds: i64) -> Event {
    let mut event = v1::MessageEnded {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        end_time: at(seconds),
        ..Default::default()
    };
    event.set_outcome(outcome);
    event.into()
}

/// Each with a place on the log of its own.
fn placed(events: Vec<Event>) -> Vec<Stored> {
    let numbered = events.into_iter().zip(1..);
    let place = |(event, sequence)| fixture::record("MESSAGES", sequence, &event);
    numbered.map(place).collect()
}

/// A day with all that happens on one.
fn told() -> Vec<Stored> {
    use v1::DeliveryStatus as D;
    let mut events = vec![
        requested("m1", 0),
        started("m1", 1, v1::Route::FreeForm, 1),
        rejected("m1", 1, "SWITCH_TO_TEMPLATE", 2),
        started("m1", 2, v1::Route::Template, 3),
        accepted("m1", 2, 4),
        advanced("m1", 2, D::Delivered, 70),
        advanced("m1", 2, D::Read, 4_000),
        ended("m1", v1::MessageOutcome::Delivered, 4_001),
        requested("m2", 10),
        held("m2", 11),
        held("m2", 5_000),
        started("m2", 1, v1::Route::FreeForm, 90_000),
        accepted("m2", 1, 90_001),
        // Delivery was never told of, and it was read.
        advanced("m2", 1, D::Read, 90_002),
        answered(30, 60),
        answered(90_000, 90_001),
        expired("w1", true, 86_400),
        expired("w2", false, 86_400),
    ];
    let received = |sequence| fixture::stored("EVENTS", sequence).event().unwrap();
    events.extend((1..=3).map(received));
    placed(events)
}

#[test]
fn a_told_day_comes_to_what_was_told() {
    let mut kept = Kept::default();
    kept.count(&rows(told()));
    for label in ["", "team=sales"] {
        assert_eq!(kept.sum(label, Measure::Requested, ""), 2);
        assert_eq!(kept.sum(label, Measure::Sent, "TEMPLATE"), 1);
        assert_eq!(kept.sum(label, Measure::Sent, "FREE_FORM"), 1);
        assert_eq!(kept.sum(label, Measure::Failed, "FREE_FORM"), 1);
        assert_eq!(kept.sum(label, Measure::FailedByClass, "window_closed"), 1);
        assert_eq!(kept.sum(label, Measure::Failovers, "FREE_FORM>TEMPLATE"), 1);
        assert_eq!(kept.sum(label, Measure::Delivered, "TEMPLATE"), 1);
        assert_eq!(
            kept.sum(label, Measure::Delivered, "FREE_FORM"),
            1,
            "it was read"
        );
        assert_eq!(kept.sum(label, Measure::TemplateRead, "order/en"), 1);
        assert_eq!(kept.sum(label, Measure::Held, ""), 1, "however often");
        assert_eq!(kept.sum(label, Measure::Ended, "DELIVERED"), 1);
        // One was refused, which costs nothing; of two a bill is known.
        assert_eq!(kept.sum(label, Measure::CostReported, "utility/EUR"), 100);
        assert_eq!(kept.sum(label, Measure::CostEstimated, "utility/EUR"), 0);
        assert_eq!(kept.sum(label, Measure::CostAttempts, "utility/EUR"), 2);
    }
    assert_eq!(kept.sum("", Measure::Received, "WHATSAPP"), 3);
    assert_eq!(kept.sum("", Measure::ExpiredUnanswered, ""), 1);
    assert_eq!(kept.sum("", Measure::Responses, ""), 2);
    assert_eq!(kept.sum("", Measure::ResponseMillis, ""), 90_030_000);
    assert_eq!(kept.sum("team=sales", Measure::Received, "WHATSAPP"), 0);
}

#[test]
fn a_late_fact_goes_to_its_own_quarter() {
    let mut kept = Kept::default();
    kept.count(&rows(told()));
    let quarters = |kept: &Kept, measure: Measure| -> Vec<i64> {
        let of = kept
            .sums
            .keys()
            .filter(|key| key.measure == measure.as_str() && key.label.is_empty());
        of.map(|key| key.quarter).collect()
    };
    let start = fixture::start().as_second();
    let delivered = quarters(&kept, Measure::Delivered);
    assert_eq!(delivered[0], (start + 70).div_euclid(900));
    assert_eq!(
        quarters(&kept, Measure::Read)[0],
        (start + 4_000).div_euclid(900)
    );
    // It is told later that it was delivered earlier.
    let earlier = advanced("m1", 2, v1::DeliveryStatus::Delivered, -3_600);
    kept.count(&rows([fixture::record("MESSAGES", 99, &earlier)]));
    assert_eq!(
        quarters(&kept, Measure::Delivered)[0],
        (start - 3_600).div_euclid(900)
    );
    assert_eq!(
        kept.sum("", Measure::Delivered, "TEMPLATE"),
        1,
        "and counts once"
    );
}

#[test]
fn what_is_not_known_yet_counts_once_it_is() {
    let mut kept = Kept::default();
    kept.count(&rows(placed(vec![accepted("m1", 1, 4)])));
    assert!(
        kept.sums.is_empty(),
        "whose it is and which way it went is not known"
    );
    kept.count(&rows(placed(vec![requested("m1", 0)])));
    assert_eq!(kept.sum("", Measure::Sent, "SMS"), 0);
    kept.count(&rows(placed(vec![started("m1", 1, v1::Route::Sms, 1)])));
    assert_eq!(kept.sum("", Measure::Sent, "SMS"), 1);
    assert_eq!(kept.sum("", Measure::CostEstimated, "utility/EUR"), 70);
    kept.count(&rows(placed(vec![rejected("m1", 1, "FAIL", 5)])));
    assert_eq!(kept.sum("", Measure::CostEstimated, "utility/EUR"), 0);
    assert_eq!(kept.sum("", Measure::FailedByClass, "refused"), 1);
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_the_same_facts_gives_the_same_figures(
        order in Just((0..told().len()).collect::<Vec<_>>()).prop_shuffle(),
        again in proptest::collection::vec(0..told().len(), 0..20),
        cut in 1_usize..8,
    ) {
        let facts = told();
        let mut expected = Kept::default();
        expected.count(&rows(facts.clone()));
        let mut kept = Kept::default();
        let all: Vec<_> = order.iter().chain(&again).map(|place| facts[*place].clone()).collect();
        for part in all.chunks(cut) {
            kept.count(&rows(part.to_vec()));
        }
        // Parts of it, once more from the beginning.
        kept.count(&rows(facts));
        prop_assert_eq!(kept, expected);
    }
}
