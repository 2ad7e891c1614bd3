//! Pauses and rates: what waits, and that it goes on.

use casement_event::convert::instant;
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_simulator::Outcome;
use jiff::SignedDuration;

use crate::stage::{ANA, NUMBER, SILENT_NUMBER, Stage, TEMPLATE, in_template, text};

#[tokio::test]
async fn a_paused_number_keeps_its_messages_and_goes_on_in_their_order() {
    let stage = Stage::set().await;
    stage.pause(true).await;
    stage.writes(ANA).await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let dispatcher = stage.dispatcher().await;
    let first = dispatcher.send(text(ANA, "one")).await;
    let second = dispatcher.send(text(ANA, "two")).await;
    let other = api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..text(ANA, "of another number")
    };
    let other = dispatcher.send(other).await;
    dispatcher.until_accepted(&other.message_id).await;
    for sent in [&first, &second] {
        let state = api::MessageState::Deferred;
        let message = dispatcher.until_state(&sent.message_id, state).await;
        let deferral = message.deferral.expect("a reason");
        assert_eq!(deferral.cause, "NUMBER_PAUSED");
    }
    stage.pause(false).await;
    dispatcher.until_accepted(&second.message_id).await;
    assert_eq!(stage.taken(), ["of another number", "one", "two"]);
}

#[tokio::test]
async fn a_pair_may_burst_and_then_waits_while_others_go_on() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let mut last = String::new();
    for count in 0..46 {
        let sent = dispatcher.send(text(ANA, &count.to_string())).await;
        last = sent.message_id;
    }
    stage.until_called(45).await;
    let began_at = stage.calls()[0].at;
    let decision = dispatcher.decision(text(ANA, "one too many")).await;
    let earliest = decision.earliest_send_time.expect("a time");
    let wait = earliest.seconds - began_at.as_second();
    assert!(
        (268..=272).contains(&wait),
        "45 times 6 s, and it is {wait} s"
    );

    let other = dispatcher
        .send(in_template(text("+15550003333", "Hi"), TEMPLATE))
        .await;
    dispatcher.until_accepted(&other.message_id).await;
    let waits = dispatcher.try_get(&last).await.unwrap();
    assert_eq!(waits.state(), api::MessageState::Pending);
    let calls = stage.calls();
    assert_eq!(calls.len(), 46);
    assert!(calls.iter().all(|call| call.outcome == Outcome::Accepted));
    let expected: Vec<_> = (0..45).map(|count| count.to_string()).collect();
    assert_eq!(stage.taken()[..45], expected);
}

#[tokio::test]
async fn a_number_never_claims_faster_than_it_may_send() {
    let allowed = 10;
    let stage = Stage::set().await;
    let slow = v1::Number {
        throughput: allowed,
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(slow).await;
    let dispatcher = stage.dispatcher().await;
    let mut ids = Vec::new();
    for count in 0..25 {
        let customer = format!("+1555000{:04}", 4_000 + count);
        let request = in_template(text(&customer, "Hi"), TEMPLATE);
        ids.push(dispatcher.send(request).await.message_id);
    }
    let mut starts = Vec::new();
    for id in &ids {
        let message = dispatcher.until_accepted(id).await;
        assert_eq!(message.attempts.len(), 1);
        let start = message.attempts[0].start_time;
        starts.push(instant("start_time", start.as_ref()).unwrap().unwrap());
    }
    starts.sort();
    // Nine a second flow; one may go at once.
    let pause = SignedDuration::from_millis(111);
    for (count, start) in (0..).zip(&starts) {
        let earliest = starts[0] + pause * count;
        assert!(
            *start >= earliest,
            "{count}: {start}, not before {earliest}"
        );
    }
}
