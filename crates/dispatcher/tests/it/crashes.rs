//! Dispatchers and brokers that are killed, and dispatchers that race.

use std::collections::HashSet;
use std::time::Duration;

use casement_domain::id::MessageId;
use casement_domain::message::{Event as MessageEvent, evolve};
use casement_domain::routing::Route;
use casement_event::convert::message::{Context, Details, read, record};
use casement_event::convert::window::Conversation;
use casement_event::subject::{self, stream};
use casement_event::{Event, v1};
use casement_event_log::Expect;
use casement_proto::message::v1 as api;
use casement_simulator::{Fault, FaultSpec};
use casement_testkit::{Proxy, eventually};
use jiff::SignedDuration;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{ANA, Dispatcher, Stage, TEMPLATE, in_template, text};

/// A message to one of many customers, each of whom may be written to as often as one likes.
fn to_customer(count: usize) -> api::SendMessageRequest {
    let request = in_template(text(&format!("+1555010{count:04}"), "Hi"), TEMPLATE);
    api::SendMessageRequest {
        request_id: format!("order-{count}"),
        ..request
    }
}

fn is_settled(message: &api::Message) -> bool {
    message.state() == api::MessageState::Accepted || message.end_time.is_some()
}

/// Waits until each message was taken by the platform or is over, and compares with its books.
async fn settled(stage: &Stage, dispatcher: &Dispatcher, ids: &[String]) {
    for id in ids {
        let message = dispatcher.until(id, "accepted or over", is_settled).await;
        let calls = stage.calls().into_iter();
        let calls = calls.filter(|call| {
            let named = call.callback_data.as_deref().unwrap_or_default();
            named.starts_with(id.as_str())
        });
        let is_accepted = message.state() == api::MessageState::Accepted;
        match calls.count() {
            0 => assert_eq!(message.outcome(), v1::MessageOutcome::Unknown),
            count => assert_eq!(count, 1, "{message:#?}"),
        }
        assert!(
            is_accepted || message.outcome() == v1::MessageOutcome::Unknown,
            "{message:#?}"
        );
    }
    stage.assert_no_attempt_was_called_twice();
}

#[tokio::test]
async fn a_dispatcher_killed_before_the_claim_is_taken_over_and_one_call_is_made() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    stage.pause(true).await;
    let first = stage.dispatcher().await;
    let sent = first.send(text(ANA, "Hi")).await;
    first.kill();
    stage.pause(false).await;
    let second = stage.dispatcher().await;
    let message = second.until_accepted(&sent.message_id).await;
    assert_eq!(message.attempts.len(), 1);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_dispatcher_killed_after_the_claim_is_not_stood_in_for() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    stage.pause(true).await;
    let first = stage.dispatcher().await;
    let sent = first.send(text(ANA, "Hi")).await;
    let waits = api::MessageState::Deferred;
    first.until_state(&sent.message_id, waits).await;
    first.kill();
    claim(&stage, &sent.message_id).await;
    stage.pause(false).await;
    let second = stage
        .dispatcher_with(|config| config.reconcile_after = SignedDuration::from_millis(300))
        .await;
    let message = second.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Unknown);
    assert_eq!(
        stage.life_names(&sent.message_id).await,
        [
            "MessageRequested",
            "MessageDeferred",
            "AttemptStarted",
            "AttemptUnknown",
            "AttemptAbandoned",
            "MessageEnded"
        ]
    );
    assert_eq!(stage.calls(), []);
}

/// Claims the first attempt as a dispatcher would that is gone before it calls.
async fn claim(stage: &Stage, message_id: &str) {
    let id = MessageId::parse(message_id).expect("a message id");
    let life = stage.life(message_id).await;
    let [Event::MessageRequested(request), ..] = life.as_slice() else {
        panic!("{life:?}")
    };
    let happened = life.iter().map(|event| {
        let happened = read(event).expect("readable");
        happened.expect("an event of a message")
    });
    let before = happened.fold(None, |message, event| evolve(message, &event));
    let now = stage.now();
    let started = MessageEvent::AttemptStarted {
        attempt: 1,
        route: Route::FreeForm,
        gateway: String::new(),
        other_gateways: Vec::new(),
        at: now,
        call_by: now,
        outcome_by: now + SignedDuration::from_millis(300),
    };
    let after = evolve(before, &started).expect("a message");
    let context = Context {
        id: id.clone(),
        conversation: Conversation::read(request.conversation.as_ref()).expect("a conversation"),
        client_reference: String::new(),
        requested_at: casement_event::convert::required_instant(
            "request_time",
            request.request_time.as_ref(),
        )
        .expect("a time"),
        priority: casement_domain::turns::Priority::Reply,
        quota_at: None,
    };
    let details = Details {
        claimant: "gone".to_owned(),
        ..Details::default()
    };
    let subject = subject::message(&id);
    let stored = stage
        .log
        .last(stream::MESSAGES, &subject)
        .await
        .expect("a read");
    let sequence = stored.expect("a request").sequence;
    let record = record(&started, &after, &context, details, sequence, now).expect("no request");
    stage
        .log
        .append(record, Expect::last(subject, sequence))
        .await
        .expect("an append");
}

#[tokio::test]
async fn a_dispatcher_killed_during_the_call_leaves_it_to_the_reports() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    stage
        .platform
        .inject(FaultSpec::from(Fault::TimeoutAfterAcceptance));
    let quick = |config: &mut casement_dispatcher::Config| {
        config.call_by = SignedDuration::from_millis(500);
        config.call_timeout = SignedDuration::from_millis(500);
    };
    let first = stage.dispatcher_with(quick).await;
    let sent = first.send(text(ANA, "Hi")).await;
    stage.until_called(1).await;
    first.kill();
    let second = stage.dispatcher_with(quick).await;
    second
        .until_state(&sent.message_id, api::MessageState::Unknown)
        .await;
    stage
        .report(&sent.message_id, 1, Ok(v1::DeliveryStatus::Delivered))
        .await;
    let message = second.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_dispatcher_that_is_stopped_ends_its_call_and_begins_no_other() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let late = Fault::DelayResponse {
        by: SignedDuration::from_millis(500),
    };
    stage.platform.inject(FaultSpec::from(late).times(1));
    let first = stage.dispatcher().await;
    let one = first.send(text(ANA, "one")).await;
    let two = first.send(text(ANA, "two")).await;
    stage.until_called(1).await;
    first.stop().await;
    let life = stage.life_names(&one.message_id).await;
    assert_eq!(life.last().map(String::as_str), Some("AttemptAccepted"));
    assert_eq!(
        stage.life_names(&two.message_id).await,
        ["MessageRequested"]
    );
    let second = stage.dispatcher().await;
    second.until_accepted(&two.message_id).await;
    assert_eq!(stage.taken(), ["one", "two"]);
}

#[tokio::test]
async fn a_claim_that_the_log_did_not_confirm_is_not_called_for() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let proxy = Proxy::start(stage.nats.addr()).await;
    let over = casement_event_log::Config {
        servers: proxy.url("nats"),
        accept_unsafe_broker: true,
        append_deadline: Duration::from_millis(80),
        ..casement_event_log::Config::default()
    };
    let dispatcher = stage
        .dispatcher_over(over, |config| {
            config.retry_schedule = vec![SignedDuration::from_millis(100); 100];
            config.attempts_max = 100;
        })
        .await;
    // What is appended arrives, and its caller has left by then.
    proxy.delay(Duration::from_millis(60));
    let refusal = dispatcher.try_send(text(ANA, "Hi")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    let info = refusal.get_details_error_info().expect("an error info");
    assert_eq!(info.reason, "OUTCOME_UNKNOWN");
    let id = info.metadata["message_id"].as_str();
    eventually("the claim is disowned", async || {
        let names = stage.life_names(id).await;
        names.iter().any(|name| name == "AttemptRejected")
    })
    .await;
    assert_eq!(stage.calls(), []);
    proxy.forward();
    let message = dispatcher.until_accepted(id).await;
    assert_eq!(message.attempts[0].state, "REJECTED");
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_claim_that_took_too_long_is_not_called_for() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let proxy = Proxy::start(stage.nats.addr()).await;
    let over = casement_event_log::Config {
        servers: proxy.url("nats"),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    let dispatcher = stage
        .dispatcher_over(over, |config| {
            config.call_by = SignedDuration::from_millis(150);
            config.retry_schedule = vec![SignedDuration::from_millis(100); 100];
            config.attempts_max = 100;
        })
        .await;
    proxy.delay(Duration::from_millis(80));
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let id = sent.message_id.as_str();
    eventually("the claim is not used", async || {
        let names = stage.life_names(id).await;
        names.iter().any(|name| name == "AttemptRejected")
    })
    .await;
    assert_eq!(stage.calls(), []);
    proxy.forward();
    dispatcher.until_accepted(id).await;
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn two_dispatchers_race_and_each_attempt_is_called_once() {
    let stage = Stage::set_with(|platform| platform.limits.messages_per_second = None).await;
    let mut fast = stage.number(crate::stage::NUMBER, "default");
    fast.throughput = 10_000;
    stage.record_number(fast).await;
    let (one, two) = (stage.dispatcher().await, stage.dispatcher().await);
    let sends = (0..60).map(|count| {
        let dispatcher = if count % 2 == 0 { &one } else { &two };
        dispatcher.send(to_customer(count))
    });
    let sent = futures::future::join_all(sends).await;
    for message in &sent {
        let message = one.until_accepted(&message.message_id).await;
        assert_eq!(message.attempts.len(), 1);
    }
    assert_eq!(stage.calls().len(), 60);
    stage.assert_no_attempt_was_called_twice();
    let mut claimants = HashSet::new();
    for message in &sent {
        for event in stage.life(&message.message_id).await {
            if let Event::AttemptStarted(claim) = event {
                let process = claim.claimant.split('.').next().map(str::to_owned);
                claimants.extend(process);
            }
        }
    }
    assert_eq!(claimants.len(), 2, "both were at it");
}

#[tokio::test]
async fn of_two_dispatchers_with_a_lease_the_other_one_takes_over() {
    let stage = Stage::set().await;
    let leased = |config: &mut casement_dispatcher::Config| {
        config.lease = SignedDuration::from_secs(1);
    };
    let one = stage.dispatcher_with(leased).await;
    let sent = one.send(to_customer(0)).await;
    one.until_accepted(&sent.message_id).await;
    let two = stage.dispatcher_with(leased).await;
    let sent = two.send(to_customer(1)).await;
    two.until_accepted(&sent.message_id).await;
    one.kill();
    let sent = two.send(to_customer(2)).await;
    two.until_accepted(&sent.message_id).await;
    assert_eq!(stage.calls().len(), 3);
    stage.assert_no_attempt_was_called_twice();
}

#[tokio::test]
async fn dispatchers_killed_again_and_again_lose_nothing_and_repeat_nothing() {
    let stage = Stage::set().await;
    let quick = |config: &mut casement_dispatcher::Config| {
        config.call_by = SignedDuration::from_millis(500);
        config.call_timeout = SignedDuration::from_millis(500);
        config.reconcile_after = SignedDuration::from_millis(500);
    };
    let first = stage.dispatcher_with(quick).await;
    let sends = (0..60).map(|count| first.send(to_customer(count)));
    let sent = futures::future::join_all(sends).await;
    let ids: Vec<String> = sent.into_iter().map(|sent| sent.message_id).collect();
    first.kill();
    for killed_at in [10, 25, 40] {
        let one = stage.dispatcher_with(quick).await;
        stage.until_called(killed_at).await;
        one.kill();
    }
    let last = stage.dispatcher_with(quick).await;
    settled(&stage, &last, &ids).await;
}

#[tokio::test]
async fn a_broker_killed_in_the_middle_of_sends_loses_nothing_that_was_accepted() {
    let mut stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| config.reconcile_after = SignedDuration::from_secs(1))
        .await;
    let dispatcher = &dispatcher;
    let sends = (0..50).map(|count| {
        // A caller who hears nothing asks again, under the same id.
        eventually("the message is accepted", async move || {
            match dispatcher.try_send(to_customer(count)).await {
                Ok(message) => Ok(message.message_id),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    Err(status.to_string())
                }
            }
        })
    });
    let sends = futures::future::join_all(sends);
    let killing = async {
        stage.until_called(10).await;
        stage.nats.restart().await;
    };
    let (ids, ()) = tokio::join!(sends, killing);
    settled(&stage, dispatcher, &ids).await;
    let calls = stage.calls().len();
    assert!(calls >= 45, "only {calls} of 50 went out");
}
