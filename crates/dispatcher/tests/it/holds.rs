//! Messages that wait for the customer.

use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_message_request::Customer;
use casement_shell::grpc::reason;
use jiff::SignedDuration;
use prost_types::Duration;
use tonic::Code;

use crate::stage::{ANA, BEA, NUMBER, SILENT_NUMBER, Stage, text};

/// A message whose id says nothing about when it was asked for.
fn named(words: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        request_id: words.to_owned(),
        ..text(BEA, words)
    }
}

#[tokio::test]
async fn without_a_phone_messages_are_held_and_released_in_order_when_the_customer_writes() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let mut ids = Vec::new();
    for words in ["one", "two", "three"] {
        let sent = dispatcher.send(named(words)).await;
        let held = dispatcher
            .until_state(&sent.message_id, api::MessageState::Held)
            .await;
        let decision = held.decision.expect("a decision");
        assert_eq!(decision.chosen_route(), v1::Route::Hold);
        assert_eq!(decision.candidates[2].reason, "NO_PHONE");
        ids.push(sent.message_id);
    }
    assert_eq!(stage.calls(), []);

    stage.writes(BEA).await;
    for id in &ids {
        dispatcher.until_accepted(id).await;
        assert_eq!(
            stage.life_names(id).await,
            [
                "MessageRequested",
                "MessageHeld",
                "MessageReleased",
                "AttemptStarted",
                "AttemptAccepted"
            ]
        );
    }
    assert_eq!(stage.taken(), ["one", "two", "three"]);
    let named: Vec<_> = stage
        .calls()
        .into_iter()
        .map(|call| call.callback_data)
        .collect();
    let expected: Vec<_> = ids.iter().map(|id| Some(format!("{id}.1"))).collect();
    assert_eq!(named, expected);
}

#[tokio::test]
async fn held_messages_survive_a_killed_dispatcher_in_their_order() {
    let stage = Stage::set().await;
    let soon = |config: &mut casement_dispatcher::Config| {
        config.recheck_after = SignedDuration::from_secs(1);
    };
    let first = stage.dispatcher_with(soon).await;
    let mut ids = Vec::new();
    for words in ["one", "two", "three"] {
        let sent = first.send(named(words)).await;
        first
            .until_state(&sent.message_id, api::MessageState::Held)
            .await;
        ids.push(sent.message_id);
    }
    first.kill();
    // Nobody hears it.
    stage.writes(BEA).await;
    let second = stage.dispatcher_with(soon).await;
    for id in &ids {
        second.until_accepted(id).await;
    }
    assert_eq!(stage.taken(), ["one", "two", "three"]);
}

#[tokio::test]
async fn what_is_held_under_an_ended_id_goes_at_the_next_look_after_who_carries_on_has_written() {
    let stage = Stage::set().await;
    stage.customer(ANA).await;
    // A minute, unless configured otherwise: nothing wakes who waits under another id.
    let dispatcher = stage
        .dispatcher_with(|config| config.recheck_after = SignedDuration::from_millis(300))
        .await;
    let sent = dispatcher.send(named("one")).await;
    dispatcher
        .until_state(&sent.message_id, api::MessageState::Held)
        .await;
    let (ended, survivor) = stage.prove_same(ANA, BEA).await;
    assert_eq!(sent.customer_id, ended.as_str());

    stage.writes(BEA).await;
    dispatcher.until_accepted(&sent.message_id).await;

    // Who still goes by the ended id writes to the one who carries on, too.
    let by_id = dispatcher
        .send(api::SendMessageRequest {
            customer: Some(Customer::CustomerId(ended.to_string())),
            ..text(BEA, "two")
        })
        .await;
    assert_eq!(by_id.customer_id, survivor.as_str());
    dispatcher.until_accepted(&by_id.message_id).await;
    assert_eq!(stage.taken(), ["one", "two"]);
}

#[tokio::test]
async fn what_is_held_is_looked_at_again_without_a_reason() {
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| config.recheck_after = SignedDuration::from_millis(300))
        .await;
    let request = api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..text(ANA, "one")
    };
    let sent = dispatcher.send(request).await;
    let id = sent.message_id.as_str();
    dispatcher.until_state(id, api::MessageState::Held).await;
    // A number that learns to send SMS wakes nobody.
    let talking = v1::Number {
        sms: stage.number(NUMBER, "default").sms,
        ..stage.number(SILENT_NUMBER, "default")
    };
    stage.record_number(talking).await;
    let message = dispatcher.until_accepted(id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::Sms);
    assert_eq!(
        stage.life_names(id).await,
        [
            "MessageRequested",
            "MessageHeld",
            "MessageReleased",
            "AttemptStarted",
            "AttemptAccepted"
        ],
        "a re-check writes nothing"
    );
}

#[tokio::test]
async fn a_held_message_expires_when_nobody_writes() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let mut request = text(BEA, "one");
    request.ttl = Some(Duration {
        seconds: 1,
        nanos: 0,
    });
    let sent = dispatcher.send(request).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Expired);
    assert_eq!(message.outcome_reason, "TTL_PASSED");
    let (end, expire) = (message.end_time.unwrap(), message.expire_time.unwrap());
    assert!((end.seconds, end.nanos) >= (expire.seconds, expire.nanos));
    assert_eq!(
        stage.life_names(&sent.message_id).await,
        ["MessageRequested", "MessageHeld", "MessageExpired"]
    );
    stage.writes(BEA).await;
    let later = dispatcher.send(text(BEA, "two")).await;
    dispatcher.until_accepted(&later.message_id).await;
    assert_eq!(stage.taken(), ["two"]);
}

#[tokio::test]
async fn a_held_message_can_be_withdrawn_and_an_attempted_one_cannot() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let held = dispatcher.send(text(BEA, "one")).await;
    dispatcher
        .until_state(&held.message_id, api::MessageState::Held)
        .await;
    let cancelled = dispatcher.try_cancel(&held.message_id).await.unwrap();
    assert_eq!(cancelled.state(), api::MessageState::Ended);
    assert_eq!(cancelled.outcome(), v1::MessageOutcome::Cancelled);
    let again = dispatcher.try_cancel(&held.message_id).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert_eq!(reason(&again).as_deref(), Some("MESSAGE_ALREADY_ENDED"));

    stage.writes(BEA).await;
    let sent = dispatcher.send(text(BEA, "two")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    let refusal = dispatcher.try_cancel(&sent.message_id).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(
        reason(&refusal).as_deref(),
        Some("MESSAGE_ALREADY_ATTEMPTED")
    );
    assert_eq!(stage.taken(), ["two"]);
}

#[tokio::test]
async fn a_window_that_we_take_for_open_and_meta_does_not_holds_the_message() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    stage.heard(NUMBER, BEA, stage.now()).await;
    let sent = dispatcher.send(text(BEA, "one")).await;
    let held = dispatcher
        .until_state(&sent.message_id, api::MessageState::Held)
        .await;
    assert_eq!(held.attempts.len(), 1);
    assert_eq!(
        held.attempts[0].error.as_ref().map(|it| it.code),
        Some(131_047)
    );
    stage.writes(BEA).await;
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(stage.taken(), ["one"]);
}
