//! What refusals and reports of single messages lead to that are no halts.

use std::net::SocketAddr;

use axum::{Json, Router, routing::post};
use casement_event::convert::instant;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use jiff::SignedDuration;
use serde_json::json;
use tokio::net::TcpListener;

use super::{TOKEN, fault, standing};
use crate::stage::{ANA, BEA, Stage, TEMPLATE, digits, in_template, text};

#[tokio::test]
async fn a_thread_that_somebody_else_has_is_written_to_by_template() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    stage.platform.inject(fault(2_494_191));
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let routes: Vec<_> = message.attempts.iter().map(api::Attempt::route).collect();
    assert_eq!(routes, [v1::Route::FreeForm, v1::Route::Template]);
    assert_eq!(
        standing(&dispatcher, TOKEN).await,
        [],
        "it concerns one conversation"
    );
}

#[tokio::test]
async fn a_customer_who_has_had_enough_marketing_gets_none_for_a_day_and_answers_all_the_same() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let marketing = |body: &str, days: i64| api::SendMessageRequest {
        purpose: v1::Purpose::Marketing.into(),
        ttl: Some(prost_types::Duration {
            seconds: days * 86_400,
            nanos: 0,
        }),
        ..text(ANA, body)
    };
    stage.platform.inject(fault(131_049));
    let first = dispatcher.send(marketing("one", 3)).await;
    let message = dispatcher
        .until(&first.message_id, "a refusal", |message| {
            message
                .attempts
                .first()
                .is_some_and(|one| one.state == "REJECTED")
        })
        .await;
    assert_eq!(message.state(), api::MessageState::Pending);
    let life = stage.life(&first.message_id).await;
    let Some(Event::AttemptRejected(rejected)) = life.last() else {
        panic!("{life:?}")
    };
    let retry = instant("retry_time", rejected.retry_time.as_ref())
        .unwrap()
        .unwrap();
    assert!(
        retry >= stage.now() + SignedDuration::from_hours(23),
        "{retry}"
    );
    // The next one is not even tried; it waits for the day to end.
    let decision = dispatcher.decision(marketing("two", 3)).await;
    assert_eq!(decision.candidates[0].reason, "HALTED");
    let answer = dispatcher.decision(text(ANA, "How can I help?")).await;
    assert_eq!(answer.chosen_route(), v1::Route::FreeForm);

    // Who does not live that long ends.
    stage.writes(BEA).await;
    stage.platform.inject(fault(131_049));
    let short = api::SendMessageRequest {
        purpose: v1::Purpose::Marketing.into(),
        ..text(BEA, "three")
    };
    let short = dispatcher.send(short).await;
    let message = dispatcher.until_ended(&short.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(message.attempts.len(), 1, "SMS does not stand in");
}

#[tokio::test]
async fn a_late_report_after_a_fallback_is_a_double_exposure() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let id = &sent.message_id;
    dispatcher.until_accepted(id).await;
    stage.report(id, 1, Err(131_026)).await;
    dispatcher
        .until(id, "an SMS", |message| {
            message.attempts.len() == 2 && message.state() == api::MessageState::Accepted
        })
        .await;
    let arrived = v1::DeliveryStatus::Delivered;
    stage.report(id, 2, Ok(arrived)).await;
    dispatcher.until_ended(id).await;
    for _ in 0..3 {
        stage.report(id, 1, Ok(arrived)).await;
    }
    let message = dispatcher
        .until(id, "it is recorded", |message| {
            !message.double_exposure.is_empty()
        })
        .await;
    assert_eq!(message.double_exposure, [1, 2]);
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    // Read comes after the repeats were heard: it was told once.
    stage.report(id, 1, Ok(v1::DeliveryStatus::Read)).await;
    dispatcher
        .until(id, "read", |message| {
            message.delivery_status() == v1::DeliveryStatus::Read
        })
        .await;
    let names = stage.life_names(id).await;
    let count = names
        .iter()
        .filter(|name| *name == "DoubleExposure")
        .count();
    assert_eq!(count, 1, "{names:?}");
}

/// A Graph API that takes everything and keeps it back.
async fn platform_that_keeps_back(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = move || async move {
        Json(json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": ANA, "wa_id": digits(ANA) }],
            "messages": [{ "id": "wamid.kept", "message_status": status }],
        }))
    };
    let router = Router::new().fallback(post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn what_the_platform_keeps_back_is_a_state_of_its_own() {
    for (word, state) in [
        (
            "held_for_quality_assessment",
            api::MessageState::HeldForQualityAssessment,
        ),
        ("paused", api::MessageState::Paused),
    ] {
        let stage = Stage::set().await;
        let address = platform_that_keeps_back(word).await;
        let dispatcher = stage
            .dispatcher_with(|config| config.providers.graph_url = format!("http://{address}"))
            .await;
        let sent = dispatcher
            .send(in_template(text(ANA, "Hi"), TEMPLATE))
            .await;
        let message = dispatcher.until_state(&sent.message_id, state).await;
        assert_eq!(message.attempts[0].state.to_lowercase(), word);
        stage
            .report(&sent.message_id, 1, Ok(v1::DeliveryStatus::Sent))
            .await;
        dispatcher.until_accepted(&sent.message_id).await;
    }
}
