//! Messages that go at a time of their own.

use casement_event::convert::{duration, instant, timestamp};
use casement_event::subject::stream;
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_simulator::MessageKind;
use jiff::{SignedDuration, Timestamp};
use tonic::Code;

use crate::stage::{ANA, Stage, text};

fn at(time: Timestamp, words: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        send_time: Some(timestamp(time)),
        ..text(ANA, words)
    }
}

#[tokio::test]
async fn a_scheduled_message_outlives_the_dispatcher_and_goes_once_at_its_time() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let first = stage.dispatcher().await;
    let send_at = stage.now() + SignedDuration::from_secs(2);
    let sent = first.send(at(send_at, "Good morning")).await;
    assert_eq!(sent.send_time, Some(timestamp(send_at)));
    first.kill();
    let (one, two) = (stage.dispatcher().await, stage.dispatcher().await);
    let message = one.until_accepted(&sent.message_id).await;
    two.until_accepted(&sent.message_id).await;
    assert_eq!(message.send_time, Some(timestamp(send_at)));
    let calls = stage.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].kind, MessageKind::Text);
    assert!(calls[0].at >= send_at, "{} before {send_at}", calls[0].at);
}

#[tokio::test]
async fn one_that_was_taken_back_never_goes() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let soon = stage.now() + SignedDuration::from_secs(1);
    let sent = dispatcher.send(at(soon, "one")).await;
    let later = soon + SignedDuration::from_millis(300);
    let other = dispatcher.send(at(later, "two")).await;
    let message = dispatcher.try_cancel(&sent.message_id).await.unwrap();
    assert_eq!(message.outcome(), v1::MessageOutcome::Cancelled);
    dispatcher.until_accepted(&other.message_id).await;
    assert_eq!(stage.taken(), ["two"]);
}

#[tokio::test]
async fn a_preview_decides_as_of_its_time() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let now = dispatcher.decision(text(ANA, "Hi")).await;
    assert_eq!(now.chosen_route(), v1::Route::FreeForm);
    // The window is over by then, unless they write again.
    let tomorrow = stage.now() + SignedDuration::from_hours(25);
    let then = dispatcher.decision(at(tomorrow, "Hi")).await;
    assert_eq!(then.chosen_route(), v1::Route::Sms);
    assert!(!then.window_open);
    let time = |stored: &Option<prost_types::Timestamp>| {
        instant("time", stored.as_ref()).unwrap().unwrap()
    };
    assert_eq!(time(&then.decide_time), tomorrow);
    assert_eq!(time(&then.earliest_send_time), tomorrow);
    // Whoever asks as of another time is told that, and still when it goes.
    let asked = api::PreviewRouteRequest {
        request: Some(at(tomorrow, "Hi")),
        evaluate_time: Some(timestamp(stage.now())),
    };
    let today = dispatcher.preview(asked).await;
    assert_eq!(today.chosen_route(), v1::Route::FreeForm);
    assert_eq!(time(&today.earliest_send_time), tomorrow);
}

#[tokio::test]
async fn more_than_thirty_days_ahead_is_refused() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let day = SignedDuration::from_hours(24);
    let with = |days: i32, ttl: i32| api::SendMessageRequest {
        ttl: Some(duration(day * ttl)),
        ..at(stage.now() + day * days, "Hi")
    };
    for (days, ttl) in [(29, 2), (1, 30), (31, 1)] {
        let refusal = dispatcher.try_send(with(days, ttl)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        let text = refusal.message();
        assert!(text.contains("send_time and ttl together"), "{text}");
    }
    assert_eq!(stage.count(stream::MESSAGES).await, 0);
    let sent = dispatcher.send(with(28, 1)).await;
    assert_eq!(sent.state(), api::MessageState::Pending);
}
