//! Pauses and rates: what waits, and that it goes on.

use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_simulator::Outcome;
use jiff::{SignedDuration, Timestamp};

use crate::stage::{ANA, Dispatcher, NUMBER, SILENT_NUMBER, Stage, TEMPLATE, in_template, text};

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
async fn a_number_never_sends_faster_than_it_may() {
    let allowed = 10;
    let stage = Stage::set().await;
    slow(&stage, allowed).await;
    let dispatcher = stage.dispatcher().await;
    for id in campaign(&dispatcher, 25).await {
        let message = dispatcher.until_accepted(&id).await;
        assert_eq!(message.attempts.len(), 1);
    }
    assert!(highest(&stage) <= allowed as usize, "{}", highest(&stage));
}

/// The most calls that came in any second, by the platform's own books.
fn highest(stage: &Stage) -> usize {
    let calls: Vec<_> = stage.calls().iter().map(|call| call.at).collect();
    let until = |first: Timestamp| first + SignedDuration::from_secs(1);
    let within = |first: Timestamp| {
        let those = calls
            .iter()
            .filter(|at| **at >= first && **at < until(first));
        those.count()
    };
    calls.iter().map(|first| within(*first)).max().unwrap_or(0)
}

/// Messages of a campaign, each to another customer.
async fn campaign(dispatcher: &Dispatcher, count: u32) -> Vec<String> {
    let mut ids = Vec::new();
    for customer in 0..count {
        let customer = format!("+1555000{:04}", 4_000 + customer);
        let request = api::SendMessageRequest {
            priority: v1::Priority::Bulk.into(),
            ..in_template(text(&customer, "Sale"), TEMPLATE)
        };
        ids.push(dispatcher.send(request).await.message_id);
    }
    ids
}

async fn slow(stage: &Stage, allowed: u32) {
    let slow = v1::Number {
        throughput: allowed,
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(slow).await;
}

#[tokio::test]
async fn an_answer_goes_before_a_campaign_that_waits_for_the_rate() {
    let stage = Stage::set().await;
    slow(&stage, 5).await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let campaign = campaign(&dispatcher, 40).await;
    stage.until_called(3).await;
    let before = stage.calls().len();
    let decision = dispatcher.decision(text(ANA, "Hello Ana")).await;
    let earliest = decision.earliest_send_time.expect("a time");
    let answer = dispatcher.send(text(ANA, "Hello Ana")).await;
    dispatcher.until_accepted(&answer.message_id).await;
    let taken = stage.taken();
    let place = taken.iter().position(|text| text == "Hello Ana");
    let place = place.expect("the answer was sent");
    // What was granted when it came may be on its way yet.
    assert!(place <= before + 10, "{place}th, and {before} were before");
    assert!(taken.len() < 40, "the campaign waits");
    let soon = stage.now().as_second() + 3;
    assert!(
        earliest.seconds <= soon,
        "{earliest:?}, not the end of the campaign"
    );
    let last = campaign.last().expect("many");
    let waits = dispatcher.try_get(last).await.expect("a message");
    assert_eq!(waits.state(), api::MessageState::Pending);
}

#[tokio::test]
async fn never_more_than_the_platform_allows_also_after_a_takeover() {
    let allowed = 10;
    let stage =
        Stage::set_with(|platform| platform.limits.messages_per_second = Some(allowed)).await;
    slow(&stage, allowed).await;
    let first = stage.dispatcher().await;
    let ids = campaign(&first, 40).await;
    stage.until_called(15).await;
    first.kill();
    let second = stage.dispatcher().await;
    stage.until_called(25).await;
    second.stop().await;
    let third = stage.dispatcher().await;
    // What was being called for when the first one was killed waits for a report.
    stage.until_called(38).await;
    assert!(
        highest(&stage) <= allowed as usize,
        "{} a second",
        highest(&stage)
    );
    let refused = stage
        .calls()
        .into_iter()
        .filter(|call| call.outcome != Outcome::Accepted);
    assert_eq!(refused.count(), 0, "130429");
    stage.assert_no_attempt_was_called_twice();
    drop((third, ids));
}

#[tokio::test]
async fn what_customers_write_counts_towards_the_rate() {
    let allowed = 5;
    let stage =
        Stage::set_with(|platform| platform.limits.messages_per_second = Some(allowed)).await;
    slow(&stage, allowed).await;
    let dispatcher = stage.dispatcher().await;
    for customer in 0..10 {
        stage
            .writes(&format!("+1555000{:04}", 5_000 + customer))
            .await;
    }
    let ids = campaign(&dispatcher, 8).await;
    for id in &ids {
        dispatcher.until_accepted(id).await;
    }
    let refused = stage
        .calls()
        .into_iter()
        .filter(|call| call.outcome != Outcome::Accepted);
    assert_eq!(refused.count(), 0, "130429");
}

#[tokio::test]
async fn a_portfolio_writes_first_to_no_more_customers_in_a_day_than_it_may() {
    let stage = Stage::set().await;
    let limited = v1::Number {
        messaging_limit: 3,
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(limited).await;
    let dispatcher = stage.dispatcher().await;
    let ids = campaign(&dispatcher, 3).await;
    for id in &ids {
        dispatcher.until_accepted(id).await;
    }
    // Another customer is one too many; those who were written to are not.
    let again = dispatcher
        .send(in_template(text("+15550004000", "Again"), TEMPLATE))
        .await;
    dispatcher.until_accepted(&again.message_id).await;
    let template_only = |who: &str| {
        let mut request = in_template(text(who, ""), TEMPLATE);
        request.content.get_or_insert_default().free_form = None;
        request
    };
    let request = || api::SendMessageRequest {
        ttl: Some(prost_types::Duration {
            seconds: 2 * 24 * 3600,
            nanos: 0,
        }),
        number: SILENT_NUMBER.to_owned(),
        ..template_only("+15550004999")
    };
    let decision = dispatcher.decision(request()).await;
    let template = decision
        .candidates
        .iter()
        .find(|one| one.route() == v1::Route::Template);
    assert_eq!(template.expect("considered").reason, "PORTFOLIO_LIMIT");
    let earliest = decision.earliest_send_time.expect("a time").seconds;
    let wait = earliest - stage.now().as_second();
    assert!((24 * 3600 - 60..=24 * 3600).contains(&wait), "{wait} s");
    let waits = dispatcher.send(request()).await;
    let deferred = api::MessageState::Deferred;
    let waits = dispatcher.until_state(&waits.message_id, deferred).await;
    let deferral = waits.deferral.expect("a reason");
    assert_eq!(deferral.cause, "PORTFOLIO_LIMIT");
    // Whoever writes is answered all the same.
    stage.writes(ANA).await;
    let answer = dispatcher.send(text(ANA, "Hello")).await;
    dispatcher.until_accepted(&answer.message_id).await;

    // Whoever takes over knows it from the log.
    dispatcher.stop().await;
    let next = stage.dispatcher().await;
    let decision = next.decision(request()).await;
    assert_eq!(
        decision.earliest_send_time.expect("a time").seconds / 60,
        earliest / 60
    );
}
