//! A number's standing at the platform: while it is not connected its messages wait or go as SMS,
//! and once it is gone they end.

use casement_event::convert::timestamp;
use casement_event::{Event, Record, Uuid, subject, v1};
use casement_event_log::Expect;
use casement_proto::message::v1 as api;
use casement_testkit::eventually;

use crate::stage::{ANA, BEA, NUMBER, Stage, digits, phone_number_id, text};

impl Stage {
    /// The platform says one thing of [`NUMBER`], and nothing else.
    async fn stands(&self, kind: v1::HealthKind, value: &str) {
        let fact = v1::HealthFact {
            kind: kind.into(),
            value: value.to_owned(),
            time: Some(timestamp(self.now())),
            source: v1::HealthSource::Poll.into(),
            ..v1::HealthFact::default()
        };
        let event = v1::NumberHealthChanged {
            health: Some(v1::NumberHealth {
                number: digits(NUMBER).to_owned(),
                phone_number_id: phone_number_id(NUMBER),
                facts: vec![fact],
            }),
            ..v1::NumberHealthChanged::default()
        };
        let subject = subject::account("health", digits(NUMBER));
        let event = Event::from(event);
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", self.now(), event);
        let stored = self.log.append(record, Expect::Anything).await;
        stored.expect("an append");
    }
}

#[tokio::test]
async fn a_number_that_the_platform_has_not_connected_sends_again_once_it_is() {
    let stage = Stage::set().await;
    stage.writes(BEA).await;
    let dispatcher = stage.dispatcher().await;
    stage.stands(v1::HealthKind::Status, "BANNED").await;
    eventually("the dispatcher has heard of it", async || {
        let decision = dispatcher.decision(text(BEA, "one")).await;
        decision.candidates[0].reason == "PLATFORM_STATUS"
    })
    .await;
    let sent = dispatcher.send(text(BEA, "one")).await;
    dispatcher
        .until_state(&sent.message_id, api::MessageState::Deferred)
        .await;
    assert!(stage.calls().is_empty(), "nobody was called");

    stage.stands(v1::HealthKind::Status, "CONNECTED").await;
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(stage.taken(), ["one"]);
}

#[tokio::test]
async fn a_number_whose_status_nobody_knows_sends() {
    let stage = Stage::set().await;
    stage.writes(BEA).await;
    let dispatcher = stage.dispatcher().await;
    stage.stands(v1::HealthKind::Status, "UNKNOWN").await;
    let sent = dispatcher.send(text(BEA, "one")).await;
    dispatcher.until_accepted(&sent.message_id).await;
}

#[tokio::test]
async fn what_waits_at_a_number_that_is_deregistered_ends_with_the_reason() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let held = dispatcher.send(text(BEA, "one")).await;
    dispatcher
        .until_state(&held.message_id, api::MessageState::Held)
        .await;
    stage
        .stands(v1::HealthKind::Registration, "DEREGISTERED")
        .await;
    let ended = dispatcher.until_ended(&held.message_id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(ended.outcome_reason, "NUMBER_DEREGISTERED");

    stage.writes(ANA).await;
    let decision = dispatcher.decision(text(ANA, "two")).await;
    assert_eq!(decision.candidates[0].reason, "NUMBER_DEREGISTERED");
    assert!(stage.calls().is_empty(), "nobody was called");
}
