//! How many messages wait for a customer, and in which order they go.

use std::time::Duration;

use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_shell::grpc::reason;
use casement_simulator::{Fault, FaultSpec};
use casement_testkit::Proxy;
use futures::future::join_all;
use jiff::SignedDuration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::stage::{BEA, Dispatcher, NUMBER, Stage, text};

/// Another who has hidden the phone.
const CLEO: &str = "US.13491208655302741919";

const FULL: &str = "HOLD_QUEUE_FULL";

/// A message whose id says nothing about when it was asked for.
fn named(to: &str, words: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        request_id: format!("{to} {words}"),
        ..text(to, words)
    }
}

async fn held(dispatcher: &Dispatcher, to: &str, words: &str) -> String {
    let sent = dispatcher.send(named(to, words)).await;
    dispatcher
        .until_state(&sent.message_id, api::MessageState::Held)
        .await;
    sent.message_id
}

fn assert_full(refusal: &Status) {
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    assert_eq!(reason(refusal).as_deref(), Some(FULL));
    let info = refusal.get_details_error_info().expect("an error info");
    assert_eq!(info.metadata["hold"], FULL);
    assert_eq!(info.metadata["sms"], "NO_PHONE", "why not the others");
}

#[tokio::test]
async fn one_more_than_may_be_held_is_refused_until_there_is_a_place_again() {
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| config.hold.messages_max = 2)
        .await;
    let one = held(&dispatcher, BEA, "one").await;
    held(&dispatcher, BEA, "two").await;
    let refusal = dispatcher.try_send(named(BEA, "three")).await.unwrap_err();
    assert_full(&refusal);
    let decision = dispatcher.decision(named(BEA, "three")).await;
    assert_eq!(decision.chosen_route(), v1::Route::Unspecified);
    let candidate = decision.candidates.last().expect("hold");
    assert_eq!(candidate.reason, FULL);
    assert_eq!(candidate.facts[1..], ["held=2", "held_max=2"]);

    // Who is held is none of another's concern.
    held(&dispatcher, CLEO, "one").await;
    // Whoever asked for one that is held is told of it, full or not.
    let again = dispatcher.send(named(BEA, "one")).await;
    assert_eq!(again.message_id, one);

    dispatcher.try_cancel(&one).await.expect("it is held");
    dispatcher.until_state(&one, api::MessageState::Ended).await;
    casement_testkit::eventually("the place is free", async || {
        dispatcher
            .try_send(named(BEA, "three"))
            .await
            .map_err(|status| status.to_string())
    })
    .await;
    stage.writes(BEA).await;
    stage.until_called(2).await;
    assert_eq!(stage.taken(), ["two", "three"]);
}

#[tokio::test]
async fn requests_at_once_get_as_many_places_as_there_are() {
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| config.hold.messages_max = 3)
        .await;
    let dispatcher = &dispatcher;
    let sends = (0..12).map(|count| async move {
        let words = format!("message {count}");
        dispatcher.try_send(named(BEA, &words)).await
    });
    let (sent, refused): (Vec<_>, Vec<_>) =
        join_all(sends).await.into_iter().partition(Result::is_ok);
    assert_eq!((sent.len(), refused.len()), (3, 9));
    for refusal in refused {
        assert_full(&refusal.unwrap_err());
    }
    for message in sent {
        let id = message.unwrap().message_id;
        dispatcher.until_state(&id, api::MessageState::Held).await;
    }
}

#[tokio::test]
async fn where_several_accept_the_one_that_sends_holds_no_more_than_may_be() {
    let stage = Stage::set().await;
    let few = |config: &mut casement_dispatcher::Config| {
        config.hold.messages_max = 3;
        config.lease = SignedDuration::from_secs(1);
    };
    let (one, two) = (
        stage.dispatcher_with(few).await,
        stage.dispatcher_with(few).await,
    );
    let sends = (0..12).map(|count| {
        let dispatcher = if count % 2 == 0 { &one } else { &two };
        let words = format!("message {count}");
        async move { dispatcher.try_send(named(BEA, &words)).await }
    });
    let mut held_count = 0;
    for answer in join_all(sends).await {
        let message = match answer {
            Ok(message) => message,
            Err(refusal) => {
                assert_full(&refusal);
                continue;
            }
        };
        let message = one
            .until(&message.message_id, "held or over", |message| {
                message.state() == api::MessageState::Held || message.end_time.is_some()
            })
            .await;
        if message.state() == api::MessageState::Held {
            held_count += 1;
        } else {
            assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
            assert_eq!(message.outcome_reason, FULL);
            let decision = message.decision.expect("it says why");
            assert_eq!(decision.candidates.last().expect("hold").reason, FULL);
        }
    }
    assert_eq!(held_count, 3);
}

#[tokio::test]
async fn a_release_that_breaks_off_goes_on_in_its_order_before_later_requests() {
    let stage = Stage::set().await;
    let quick = |config: &mut casement_dispatcher::Config| {
        config.call_by = SignedDuration::from_millis(500);
        config.call_timeout = SignedDuration::from_millis(500);
    };
    let first = stage.dispatcher_with(quick).await;
    for words in ["one", "two", "three"] {
        held(&first, BEA, words).await;
    }
    // The dispatcher is gone while the first one is called for, which the platform takes.
    let silent = FaultSpec::from(Fault::TimeoutAfterAcceptance);
    stage.platform.inject(silent.times(1));
    stage.writes(BEA).await;
    stage.until_called(1).await;
    first.kill();
    let second = stage.dispatcher_with(quick).await;
    let later = second.send(named(BEA, "four")).await;
    second.until_accepted(&later.message_id).await;
    assert_eq!(stage.taken(), ["one", "two", "three", "four"]);
    stage.assert_no_attempt_was_called_twice();
}

#[tokio::test]
async fn what_was_held_goes_before_what_was_asked_for_after_the_customer_wrote() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    for words in ["one", "two"] {
        held(&dispatcher, BEA, words).await;
    }
    stage.pause(true).await;
    let customer = stage.customer(BEA).await;
    stage.writes(BEA).await;
    let by_id = api::SendMessageRequest {
        customer: Some(api::send_message_request::Customer::CustomerId(
            customer.to_string(),
        )),
        ..named(BEA, "three")
    };
    let later = dispatcher.send(by_id).await;
    dispatcher
        .until_state(&later.message_id, api::MessageState::Deferred)
        .await;
    assert_eq!(stage.calls(), []);
    stage.pause(false).await;
    dispatcher.until_accepted(&later.message_id).await;
    assert_eq!(stage.taken(), ["one", "two", "three"]);
}

#[tokio::test]
async fn who_writes_while_their_queue_is_looked_at_gets_it_in_order() {
    let stage = Stage::set().await;
    let proxy = Proxy::start(stage.nats.addr()).await;
    let over = casement_event_log::Config {
        servers: proxy.url("nats"),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    // Looked at all the time, and slowly, so that customers write in the middle of it.
    let dispatcher = stage
        .dispatcher_over(over, |config| {
            config.recheck_after = SignedDuration::from_millis(20);
            config.call_by = SignedDuration::from_secs(20);
        })
        .await;
    let customers: Vec<String> = (0..10).map(|count| format!("{BEA}{count}")).collect();
    for customer in &customers {
        for words in ["one", "two", "three"] {
            held(&dispatcher, customer, words).await;
        }
    }
    proxy.delay(Duration::from_millis(15));
    // One after another, which takes them through all of it.
    for customer in &customers {
        stage.wrote(NUMBER, customer, stage.now()).await;
    }
    let calls = stage.until_called(30).await;
    proxy.forward();
    for customer in &customers {
        let theirs = calls
            .iter()
            .filter(|call| call.user_id.as_ref() == Some(customer));
        let said: Vec<_> = theirs.map(|call| call.text.as_str()).collect();
        assert_eq!(said, ["one", "two", "three"], "{customer}");
    }
}
