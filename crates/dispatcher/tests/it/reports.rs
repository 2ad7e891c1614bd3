//! What providers report after they have taken a message.

use casement_dispatcher::Config;
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::Channel;
use casement_testkit::eventually;
use v1::DeliveryStatus::{Delivered, Read, Sent};

use crate::stage::{ANA, Dispatcher, NUMBER, SILENT_NUMBER, Stage, TEMPLATE, in_template, text};

async fn accepted(dispatcher: &Dispatcher, request: api::SendMessageRequest) -> String {
    let sent = dispatcher.send(request).await;
    dispatcher.until_accepted(&sent.message_id).await;
    sent.message_id
}

/// Reports are folded in one by one, so what is asked for after a later one has been heard.
async fn heard(stage: &Stage, dispatcher: &Dispatcher, id: &str) {
    stage.report(id, 1, Ok(Read)).await;
    dispatcher
        .until(id, "read", |message| message.delivery_status() == Read)
        .await;
}

#[tokio::test]
async fn a_failure_reported_after_acceptance_leads_to_an_sms() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, in_template(text(ANA, "Hi"), TEMPLATE)).await;
    stage.report(&id, 1, Err(131_026)).await;
    let message = dispatcher
        .until(&id, "an SMS", |message| {
            message.attempts.len() == 2 && message.state() == api::MessageState::Accepted
        })
        .await;
    assert_eq!(message.attempts[0].state, "REJECTED");
    assert_eq!(message.attempts[1].route(), v1::Route::Sms);
    assert_eq!(stage.calls()[1].channel, Channel::Sms);
}

#[tokio::test]
async fn a_failure_reported_as_outside_the_window_is_evidence_and_leads_to_a_template() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, in_template(text(ANA, "Hi"), TEMPLATE)).await;
    stage.report(&id, 1, Err(131_047)).await;
    let message = dispatcher
        .until(&id, "a template", |message| {
            message.attempts.len() == 2 && message.state() == api::MessageState::Accepted
        })
        .await;
    assert_eq!(message.attempts[1].route(), v1::Route::Template);
    let evidence = stage.evidence(ANA).await;
    assert!(
        matches!(evidence.as_slice(), [Event::WindowRefused(_)]),
        "{evidence:?}"
    );
}

#[tokio::test]
async fn a_late_sent_and_a_failure_after_the_arrival_change_nothing() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, text(ANA, "Hi")).await;
    stage.report(&id, 1, Ok(Delivered)).await;
    dispatcher.until_ended(&id).await;
    for said in [Ok(Sent), Ok(Delivered), Err(131_026), Err(131_026)] {
        stage.report(&id, 1, said).await;
    }
    heard(&stage, &dispatcher, &id).await;
    eventually("the contradiction is recorded", async || {
        let names = stage.life_names(&id).await;
        names.iter().any(|name| name == "DeliveryContradicted")
    })
    .await;
    let mut names = stage.life_names(&id).await;
    // The two last ones may change places: reports are worked on side by side.
    names[5..].sort();
    assert_eq!(
        names,
        [
            "MessageRequested",
            "AttemptStarted",
            "AttemptAccepted",
            "DeliveryAdvanced",
            "MessageEnded",
            "DeliveryAdvanced",
            "DeliveryContradicted"
        ]
    );
    let message = dispatcher.try_get(&id).await.unwrap();
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn an_arrival_reported_after_the_failure_is_recorded() {
    let stage = Stage::set().await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let dispatcher = stage.dispatcher().await;
    let request = api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..text(ANA, "Hi")
    };
    let id = accepted(&dispatcher, request).await;
    stage.report(&id, 1, Err(131_026)).await;
    let message = dispatcher.until_ended(&id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    stage.report(&id, 1, Ok(Delivered)).await;
    let message = dispatcher
        .until(&id, "the arrival is recorded", |message| {
            message.delivery_status() == Delivered
        })
        .await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_delivered_free_form_proves_that_the_window_was_open() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, text(ANA, "Hi")).await;
    stage.report(&id, 1, Ok(Delivered)).await;
    dispatcher.until_ended(&id).await;
    let evidence = stage.evidence(ANA).await;
    let [Event::WindowProven(proven), Event::CustomerAnswered(_)] = evidence.as_slice() else {
        panic!("{evidence:?}")
    };
    assert_eq!(proven.message_id, id);

    // A second one so soon after proves nothing new.
    let id = accepted(&dispatcher, text(ANA, "Hi again")).await;
    stage.report(&id, 1, Ok(Delivered)).await;
    dispatcher.until_ended(&id).await;
    assert_eq!(stage.evidence(ANA).await.len(), 2);
}

#[tokio::test]
async fn a_delivered_template_proves_nothing() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, in_template(text(ANA, "Hi"), TEMPLATE)).await;
    stage.report(&id, 1, Ok(Delivered)).await;
    dispatcher.until_ended(&id).await;
    assert_eq!(stage.evidence(ANA).await, []);
}

#[tokio::test]
async fn a_message_that_nobody_reports_on_ends_unconfirmed() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let soon = |config: &mut Config| {
        config.report_within = jiff::SignedDuration::from_millis(300);
    };
    let dispatcher = stage.dispatcher_with(soon).await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Unconfirmed);
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_put_aside_and_holds_up_nobody() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let id = accepted(&dispatcher, text(ANA, "Hi")).await;
    let broken = v1::StatusReported {
        times: None,
        ..stage.status_report(&id, 1, Ok(Sent))
    };
    stage.append_report(&id, broken).await;
    // Of a message that nobody knows, and of an attempt that there never was.
    let stranger = format!("{}-{:032x}", &NUMBER[1..], 7);
    stage.report(&stranger, 1, Ok(Sent)).await;
    stage.report(&id, 9, Ok(Delivered)).await;
    stage.report(&id, 1, Ok(Sent)).await;
    let message = dispatcher
        .until(&id, "sent", |message| message.delivery_status() == Sent)
        .await;
    assert_eq!(message.attempts.len(), 1);
    eventually("a dead letter", async || {
        stage.count(stream::DEAD).await == 1
    })
    .await;
}
