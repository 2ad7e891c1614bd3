//! What customers do that the account cannot make use of: told with its reason, and windows follow
//! what happened all the same.

use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::Expect;
use casement_testkit::eventually;
use serde_json::{Value, json};

use crate::stage::{ONE, Stage, at, known, text, types, value, webhook};

/// The business app uses the number, too: neither groups nor calls are for the API.
async fn shares_with_the_app(stage: &Stage) {
    let fact = v1::HealthFact {
        kind: v1::HealthKind::Coexistence.into(),
        value: "TRUE".to_owned(),
        time: Some(timestamp(at(0))),
        source: v1::HealthSource::Poll.into(),
        ..v1::HealthFact::default()
    };
    let event = v1::NumberHealthChanged {
        health: Some(v1::NumberHealth {
            number: ONE.0.to_owned(),
            phone_number_id: ONE.1.to_owned(),
            facts: vec![fact],
        }),
        ..v1::NumberHealthChanged::default()
    };
    let subject = subject::account("health", ONE.0);
    let record = Record::new(subject, Uuid::new_v4(), "casement/test", at(0), event);
    stage.log.append(record, Expect::Anything).await.unwrap();
}

fn call(id: &str, event: &str) -> Value {
    let second = at(5).as_second().to_string();
    let call = json!([{"id": id, "event": event, "timestamp": second,
        "direction": "USER_INITIATED", "from": "15550009999", "to": ONE.0}]);
    webhook(&[("calls", value(ONE, "calls", call))])
}

async fn refused(stage: &Stage, prefix: &str) -> Vec<v1::InteractionNotSupported> {
    let stored = stage.all(stream::EVENTS, prefix).await;
    let told = stored.iter().filter_map(|stored| match stored.event() {
        Ok(Event::InteractionNotSupported(event)) => Some(event),
        _ => None,
    });
    told.collect()
}

#[tokio::test]
async fn a_call_and_a_group_message_that_cannot_be_used_are_told_and_the_call_opens_the_window() {
    let stage = Stage::start().await;
    shares_with_the_app(&stage).await;
    let group = "casement.events.group.";
    let mut count = 0;
    let told = eventually("ingress has heard of it", async || {
        let mut in_group = text(&format!("wamid.g{count}"), "15550009999", "US.1", 1);
        in_group["group_id"] = json!("group-7");
        count += 1;
        let post = webhook(&[("messages", value(ONE, "messages", json!([in_group])))]);
        stage.take(&post).await;
        stage.settled().await;
        refused(&stage, group).await.pop()
    })
    .await;
    assert_eq!(told.capability, "GROUP_MESSAGES");
    assert_eq!(told.reason, "COEXISTENCE");
    assert_eq!(told.group_id, "group-7");

    stage.take(&call("wacid.1", "connect")).await;
    stage.take(&call("wacid.1", "terminate")).await;
    stage.settled().await;
    let told = refused(&stage, "casement.events.foreign.").await;
    let [told] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(told.capability, "CUSTOMER_CALLS");
    assert_eq!(told.reason, "COEXISTENCE");
    assert_eq!(told.provider_id, "wacid.1");
    let facts = stage.inbound(ONE.0).await;
    assert_eq!(types(&facts)[0], "InboundCallReceived");
    let summary = known(&facts[0]).summary;
    assert_eq!(summary.last_qualifying.unwrap().at, at(5));
    assert_eq!(told.fact_id, facts[0].id().unwrap().to_string());
    assert!(stage.dead().await.is_empty(), "nothing is a dead letter");
}

#[tokio::test]
async fn an_account_that_nobody_told_of_is_not_said_to_lack_anything() {
    let stage = Stage::start().await;
    stage.take(&call("wacid.1", "connect")).await;
    stage.settled().await;
    assert_eq!(stage.inbound(ONE.0).await.len(), 1);
    assert!(refused(&stage, "casement.events.").await.is_empty());
}
