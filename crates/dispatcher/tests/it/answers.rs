//! What the reports about our messages tell of a conversation: who was answered, and what is free.

use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_testkit::eventually;
use jiff::SignedDuration;
use v1::DeliveryStatus::{Delivered, Sent};

use crate::stage::{ANA, BEA, Dispatcher, NUMBER, Stage, TEMPLATE, in_template, sms, text};

async fn accepted(dispatcher: &Dispatcher, request: api::SendMessageRequest) -> String {
    let sent = dispatcher.send(request).await;
    dispatcher.until_accepted(&sent.message_id).await;
    sent.message_id
}

/// A report of a status, folded in.
async fn reported(
    stage: &Stage,
    dispatcher: &Dispatcher,
    id: &str,
    attempt: u32,
    status: v1::DeliveryStatus,
) {
    stage.report(id, attempt, Ok(status)).await;
    until_told(dispatcher, id, status).await;
}

async fn until_told(dispatcher: &Dispatcher, id: &str, status: v1::DeliveryStatus) {
    dispatcher
        .until(id, status.as_str_name(), |message| {
            message.delivery_status() == status
        })
        .await;
}

async fn names(stage: &Stage) -> Vec<String> {
    let evidence = stage.evidence(ANA).await;
    let name = |event: &Event| event.event_type().rsplit('.').next().map(str::to_owned);
    evidence.iter().filter_map(name).collect()
}

async fn answers(stage: &Stage) -> Vec<v1::CustomerAnswered> {
    let evidence = stage.evidence(ANA).await;
    let answered = evidence.into_iter().filter_map(|event| match event {
        Event::CustomerAnswered(event) => Some(event),
        _ => None,
    });
    answered.collect()
}

/// What is known of the entry point after all that was found.
async fn entry_point(stage: &Stage) -> v1::EntryPointEvidence {
    let last = stage.evidence(ANA).await.pop().expect("evidence");
    let summary = match last {
        Event::CustomerAnswered(event) => event.summary,
        Event::FreeEntryPointStarted(event) => event.summary,
        Event::FreeEntryPointReported(event) => event.summary,
        other => panic!("{other:?}"),
    };
    let known = summary.and_then(|summary| summary.entry_point);
    known.expect("an entry point")
}

#[tokio::test]
async fn a_customer_is_answered_once_a_turn() {
    let stage = Stage::set().await;
    let wrote_at = stage.ago(SignedDuration::from_mins(3));
    stage.wrote(NUMBER, ANA, wrote_at).await;
    let dispatcher = stage.dispatcher().await;
    // Both were claimed while the customer waited, and a third after the answer.
    let first = accepted(&dispatcher, text(ANA, "Hi")).await;
    let second = accepted(&dispatcher, text(ANA, "How can I help?")).await;
    assert_eq!(names(&stage).await, [""; 0], "accepted is not sent");
    reported(&stage, &dispatcher, &first, 1, Sent).await;
    reported(&stage, &dispatcher, &second, 1, Sent).await;
    let third = accepted(&dispatcher, text(ANA, "Still there?")).await;
    reported(&stage, &dispatcher, &third, 1, Sent).await;

    let told = answers(&stage).await;
    let [answered] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(answered.message_id, first);
    assert_eq!(answered.waiting_since_time, Some(timestamp(wrote_at)));
    let message = dispatcher.try_get(&first).await.unwrap();
    assert_eq!(answered.answered_time, message.attempts[0].start_time);
    let claims = stage.life(&third).await;
    let Event::AttemptStarted(claim) = &claims[1] else {
        panic!("{claims:?}")
    };
    assert_eq!(claim.answers, None, "nobody waited any more");

    // The customer's turn.
    stage.writes(ANA).await;
    let fourth = accepted(&dispatcher, text(ANA, "Good")).await;
    reported(&stage, &dispatcher, &fourth, 1, Sent).await;
    let told = answers(&stage).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1].message_id, fourth);
}

#[tokio::test]
async fn what_came_between_two_answers_is_answered_by_the_second() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let first = accepted(&dispatcher, text(ANA, "Hi")).await;
    let wrote_again = stage.now();
    stage.wrote(NUMBER, ANA, wrote_again).await;
    let second = accepted(&dispatcher, text(ANA, "Hi again")).await;

    reported(&stage, &dispatcher, &first, 1, Sent).await;
    reported(&stage, &dispatcher, &second, 1, Sent).await;

    let told = answers(&stage).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1].message_id, second);
    assert_eq!(told[1].waiting_since_time, Some(timestamp(wrote_again)));
}

#[tokio::test]
async fn marketing_and_codes_answer_nobody() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    for purpose in [v1::Purpose::Marketing, v1::Purpose::Authentication] {
        let request = api::SendMessageRequest {
            purpose: purpose.into(),
            ..text(ANA, "Not about that")
        };
        let id = accepted(&dispatcher, request).await;
        reported(&stage, &dispatcher, &id, 1, Sent).await;
    }
    assert_eq!(names(&stage).await, [""; 0]);
    let id = accepted(&dispatcher, text(ANA, "About that")).await;
    reported(&stage, &dispatcher, &id, 1, Sent).await;
    assert_eq!(names(&stage).await, ["CustomerAnswered"]);
}

#[tokio::test]
async fn what_never_left_answers_nobody_and_the_sms_in_its_place_does() {
    let stage = Stage::set().await;
    stage.comes_from_ad(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let request = api::SendMessageRequest {
        content: Some(v1::Content {
            sms: sms(ANA, "Hi").content.unwrap().sms,
            ..text(ANA, "Hi").content.unwrap()
        }),
        ..text(ANA, "Hi")
    };
    let id = accepted(&dispatcher, request).await;
    stage.report(&id, 1, Err(131_026)).await;
    dispatcher
        .until(&id, "an SMS", |message| {
            message.attempts.len() == 2 && message.state() == api::MessageState::Accepted
        })
        .await;
    assert_eq!(names(&stage).await, [""; 0]);

    let sent = v1::StatusReported {
        channel: v1::Channel::Sms.into(),
        ..stage.status_report(&id, 2, Ok(Sent))
    };
    stage.append_report(&id, sent).await;
    until_told(&dispatcher, &id, Sent).await;
    // To Meta that is no reply.
    assert_eq!(names(&stage).await, ["CustomerAnswered"]);
    assert_eq!(answers(&stage).await[0].attempt, 2);
}

#[tokio::test]
async fn a_reply_to_a_customer_from_an_ad_starts_what_meta_then_confirms() {
    let stage = Stage::set().await;
    stage.comes_from_ad(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, text(ANA, "It is still to be had")).await;
    let claim = &stage.life(&id).await[1];
    let Event::AttemptStarted(claim) = claim else {
        panic!("{claim:?}")
    };
    let stake = claim.entry_point.expect("an entry point at stake");
    assert_eq!(stake.reply_time, None);

    reported(&stage, &dispatcher, &id, 1, Sent).await;
    assert_eq!(
        names(&stage).await,
        ["CustomerAnswered", "FreeEntryPointStarted"]
    );
    let started = entry_point(&stage).await;
    assert_eq!(started.referred_time, stake.referred_time);
    assert_eq!(started.reply_time, claim.start_time);
    assert_eq!(started.confirmed, None);

    let free = ("free_entry_point", None);
    stage.report_bill(&id, 1, Delivered, free).await;
    until_told(&dispatcher, &id, Delivered).await;
    assert_eq!(entry_point(&stage).await.confirmed, Some(true));

    // Only `sent` says until when, and it may come again, or late.
    let until = stage.now() + SignedDuration::from_hours(72);
    let ending = ("free_entry_point", Some(until));
    stage.report_bill(&id, 1, Sent, ending).await;
    eventually("the end is told", async || {
        let known = entry_point(&stage).await;
        if known.told_end_time == Some(timestamp(until)) {
            Ok(())
        } else {
            Err(format!("{known:?}"))
        }
    })
    .await;

    // What is known is not told again.
    let next = accepted(&dispatcher, text(ANA, "Shall I keep it?")).await;
    stage.report_bill(&next, 1, Sent, ending).await;
    until_told(&dispatcher, &next, Sent).await;
    assert_eq!(
        names(&stage).await,
        [
            "CustomerAnswered",
            "FreeEntryPointStarted",
            "WindowProven",
            "FreeEntryPointReported",
            "FreeEntryPointReported",
        ]
    );
}

#[tokio::test]
async fn a_first_reply_that_is_billed_as_any_denies_the_entry_point() {
    let stage = Stage::set().await;
    stage.comes_from_ad(ANA).await;
    let dispatcher = stage.dispatcher().await;
    // A reply of any type, though it answers nobody.
    let request = api::SendMessageRequest {
        purpose: v1::Purpose::Authentication.into(),
        ..in_template(text(ANA, "Your code"), TEMPLATE)
    };
    let id = accepted(&dispatcher, request).await;
    let regular = ("regular", None);
    stage.report_bill(&id, 1, Sent, regular).await;
    until_told(&dispatcher, &id, Sent).await;
    let told = ["FreeEntryPointStarted", "FreeEntryPointReported"];
    assert_eq!(names(&stage).await, told);
    assert_eq!(entry_point(&stage).await.confirmed, Some(false));

    let next = accepted(&dispatcher, text(ANA, "Hi")).await;
    stage.report_bill(&next, 1, Sent, regular).await;
    until_told(&dispatcher, &next, Sent).await;
    assert_eq!(
        names(&stage).await,
        [told[0], told[1], "CustomerAnswered"],
        "denied once"
    );
}

#[tokio::test]
async fn meta_is_believed_of_a_customer_of_whose_coming_nobody_heard() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, text(ANA, "Hi")).await;
    let until = stage.now() + SignedDuration::from_hours(48);
    let free = ("free_entry_point", Some(until));
    stage.report_bill(&id, 1, Sent, free).await;
    until_told(&dispatcher, &id, Sent).await;
    let known = entry_point(&stage).await;
    assert_eq!((known.referred_time, known.confirmed), (None, Some(true)));
    assert_eq!(known.told_end_time, Some(timestamp(until)));
}

#[tokio::test]
async fn what_is_told_of_an_ended_id_stands_with_who_carries_on() {
    let stage = Stage::set().await;
    stage.customer(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, in_template(text(BEA, "Hi"), TEMPLATE)).await;
    let (ended, survivor) = stage.prove_same(ANA, BEA).await;
    let message = dispatcher.try_get(&id).await.unwrap();
    assert_eq!(message.customer_id, ended.as_str());

    stage
        .report_bill(&id, 1, Sent, ("free_entry_point", None))
        .await;
    until_told(&dispatcher, &id, Sent).await;

    let evidence = stage.evidence(ANA).await;
    let [Event::FreeEntryPointReported(told)] = evidence.as_slice() else {
        panic!("{evidence:?}")
    };
    let conversation = told.conversation.as_ref().unwrap();
    assert_eq!(conversation.customer_id, survivor.as_str());
}
