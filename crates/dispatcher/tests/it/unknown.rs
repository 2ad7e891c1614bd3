//! Attempts of which nobody knows what became.

use casement_dispatcher::Config;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::{Channel, Fault, FaultSpec, MessageKind};
use jiff::SignedDuration;
use v1::DeliveryStatus::{Delivered, Sent};

use crate::stage::{ANA, Stage, text};

/// The platform's answers are soon given up, and so are reports.
fn impatient(config: &mut Config) {
    config.call_timeout = SignedDuration::from_millis(400);
    config.reconcile_after = SignedDuration::from_millis(400);
}

fn patient(config: &mut Config) {
    config.call_timeout = SignedDuration::from_millis(400);
}

fn policy(name: &str) -> impl Fn(&mut Config) {
    let text = format!("on_unknown = '{name}'");
    let named: Config = toml::from_str(&text).expect("a configuration");
    move |config| {
        impatient(config);
        config.on_unknown = named.on_unknown;
    }
}

async fn stage_with(fault: Fault) -> Stage {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    stage.platform.inject(FaultSpec::from(fault).times(1));
    stage
}

#[tokio::test]
async fn a_time_out_after_acceptance_is_reconciled_by_a_report_and_sent_once() {
    let stage = stage_with(Fault::TimeoutAfterAcceptance).await;
    let dispatcher = stage.dispatcher_with(patient).await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let id = sent.message_id.as_str();
    dispatcher.until_state(id, api::MessageState::Unknown).await;
    stage.report(id, 1, Ok(Sent)).await;
    let message = dispatcher
        .until(id, "sent", |message| message.delivery_status() == Sent)
        .await;
    assert_eq!(message.state(), api::MessageState::Accepted);
    stage.report(id, 1, Ok(Delivered)).await;
    let message = dispatcher.until_ended(id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(
        message.attempts[0].provider_message_id,
        format!("wamid.of.{id}.1")
    );
    assert_eq!(
        stage.life_names(id).await,
        [
            "MessageRequested",
            "AttemptStarted",
            "AttemptUnknown",
            "AttemptAccepted",
            "DeliveryAdvanced",
            "DeliveryAdvanced",
            "MessageEnded"
        ]
    );
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn without_a_report_it_is_given_up_and_a_late_report_is_recorded() {
    let stage = stage_with(Fault::TimeoutAfterAcceptance).await;
    let dispatcher = stage.dispatcher_with(impatient).await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let id = sent.message_id.as_str();
    let message = dispatcher.until_ended(id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Unknown);
    assert_eq!(message.outcome_reason, "OUTCOME_UNKNOWN");
    assert_eq!(message.attempts[0].state, "ABANDONED");

    stage.report(id, 1, Ok(Delivered)).await;
    let message = dispatcher
        .until(id, "the delivery is recorded", |message| {
            message.delivery_status() == Delivered
        })
        .await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Unknown);
    assert_eq!(message.attempts[0].state, "ACCEPTED");
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn the_retry_policy_repeats_and_records_the_risk_that_it_takes() {
    let stage = stage_with(Fault::TimeoutAfterAcceptance).await;
    let dispatcher = stage.dispatcher_with(policy("retry")).await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let id = sent.message_id.as_str();
    let message = dispatcher.until_accepted(id).await;
    let named: Vec<_> = stage
        .calls()
        .into_iter()
        .map(|call| call.callback_data.unwrap_or_default())
        .collect();
    assert_eq!(named, [format!("{id}.1"), format!("{id}.2")]);
    let risks: Vec<_> = message
        .attempts
        .iter()
        .map(|attempt| attempt.duplicate_risk)
        .collect();
    assert_eq!(risks, [false, true]);
    let life = stage.life(id).await;
    let abandoned = life.iter().find_map(|event| match event {
        Event::AttemptAbandoned(abandoned) => Some(abandoned),
        _ => None,
    });
    let abandoned = abandoned.expect("the first attempt was abandoned");
    assert_eq!(
        (abandoned.policy.as_str(), abandoned.duplicate_risk),
        ("RETRY", true)
    );
}

#[tokio::test]
async fn the_next_route_policy_takes_another_channel() {
    let stage = stage_with(Fault::TimeoutAfterAcceptance).await;
    let dispatcher = stage.dispatcher_with(policy("next_route")).await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let message = dispatcher
        .until(&sent.message_id, "an SMS", |message| {
            message.state() == api::MessageState::Accepted && message.attempts.len() == 2
        })
        .await;
    assert!(message.attempts[1].duplicate_risk);
    let calls = stage.calls();
    assert_eq!(calls[0].kind, MessageKind::Text);
    assert_eq!(calls[1].channel, Channel::Sms);
}

#[tokio::test]
async fn an_answer_that_is_not_the_platforms_own_says_nothing_and_is_not_repeated() {
    for fault in [
        Fault::ServerError {
            status: 502,
            accepts: true,
        },
        Fault::ServerError {
            status: 503,
            accepts: false,
        },
        Fault::DropConnection,
        // "Unknown error": the platform's own word for not knowing.
        Fault::GraphError { code: 1 },
    ] {
        let stage = stage_with(fault.clone()).await;
        let dispatcher = stage.dispatcher_with(impatient).await;
        let sent = dispatcher.send(text(ANA, "Hi")).await;
        let message = dispatcher.until_ended(&sent.message_id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Unknown, "{fault:?}");
        assert_eq!(stage.calls().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_unknown_attempt_does_not_hold_up_what_comes_after_it() {
    let stage = stage_with(Fault::TimeoutAfterAcceptance).await;
    let dispatcher = stage.dispatcher_with(patient).await;
    let first = dispatcher.send(text(ANA, "one")).await;
    let second = dispatcher.send(text(ANA, "two")).await;
    dispatcher.until_accepted(&second.message_id).await;
    let first = dispatcher.try_get(&first.message_id).await.unwrap();
    assert_eq!(first.state(), api::MessageState::Unknown);
    assert_eq!(stage.taken(), ["one", "two"], "and the order is kept");
}
