//! What the providers' own refusals lead to.

use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::{Channel, CustomerSpec, Fault, FaultSpec, MessageKind};
use casement_testkit::free_port;
use jiff::SignedDuration;

use crate::stage::{
    ANA, FOREIGN_TEMPLATE, NEWLY_PAUSED_TEMPLATE, NUMBER, SILENT_NUMBER, Stage, TEMPLATE,
    in_template, sms, text,
};

/// What was tried, by which channel, with which code.
fn tried(message: &api::Message) -> Vec<(v1::Route, i64)> {
    let attempts = message.attempts.iter();
    attempts
        .map(|attempt| {
            let code = attempt.error.as_ref().map(|error| error.code);
            (attempt.route(), code.unwrap_or_default())
        })
        .collect()
}

#[tokio::test]
async fn a_refusal_as_outside_the_window_is_evidence_and_leads_to_a_template() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    stage.heard(NUMBER, ANA, stage.now()).await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(
        tried(&message),
        [(v1::Route::FreeForm, 131_047), (v1::Route::Template, 0)]
    );
    let evidence = stage.evidence(ANA).await;
    let [Event::WindowRefused(refused)] = evidence.as_slice() else {
        panic!("{evidence:?}")
    };
    assert_eq!(refused.message_id, sent.message_id);
    assert_eq!(refused.refused_time, message.attempts[0].start_time);

    // The next message knows.
    let decision = dispatcher
        .decision(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    assert_eq!(decision.chosen_route(), v1::Route::Template);
    stage.writes(ANA).await;
    let decision = dispatcher
        .decision(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);
}

#[tokio::test]
async fn a_customer_without_whatsapp_gets_an_sms() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let gone = CustomerSpec {
        on_whatsapp: false,
        ..CustomerSpec::with_phone(ANA, "Ana")
    };
    stage.platform.put_customer(gone).unwrap();
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(
        tried(&message),
        [(v1::Route::FreeForm, 131_026), (v1::Route::Sms, 0)]
    );
    assert_eq!(stage.taken(), ["Hi"]);
    assert_eq!(stage.calls()[1].channel, Channel::Sms);
}

#[tokio::test]
async fn a_template_that_the_platform_does_not_take_leads_to_an_sms() {
    for (template, code) in [
        (FOREIGN_TEMPLATE, 132_001),
        (NEWLY_PAUSED_TEMPLATE, 132_015),
    ] {
        let stage = Stage::set().await;
        let dispatcher = stage.dispatcher().await;
        let sent = dispatcher
            .send(in_template(text(ANA, "Hi"), template))
            .await;
        let message = dispatcher.until_accepted(&sent.message_id).await;
        assert_eq!(
            tried(&message),
            [(v1::Route::Template, code), (v1::Route::Sms, 0)]
        );
    }
}

#[tokio::test]
async fn rates_of_the_platform_are_waited_for_and_the_order_is_kept() {
    for code in [131_056, 130_429] {
        let stage = Stage::set().await;
        stage.writes(ANA).await;
        let fault = FaultSpec::from(Fault::GraphError { code }).times(1);
        stage.platform.inject(fault);
        let dispatcher = stage.dispatcher().await;
        let first = dispatcher.send(text(ANA, "one")).await;
        let second = dispatcher.send(text(ANA, "two")).await;
        dispatcher.until_accepted(&second.message_id).await;
        let message = dispatcher.try_get(&first.message_id).await.unwrap();
        assert_eq!(
            tried(&message),
            [(v1::Route::FreeForm, code), (v1::Route::FreeForm, 0)]
        );
        assert_eq!(stage.taken(), ["one", "two"]);
        let calls = stage.calls();
        let waited = calls[1].at.duration_since(calls[0].at);
        assert!(waited >= SignedDuration::from_millis(950), "{waited:#}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken_leads_to_an_sms_if_there_is_a_sender() {
    let stage = Stage::set().await;
    std::fs::write(stage.folder.path().join("meta"), "not the token").unwrap();
    let dispatcher = stage.dispatcher().await;
    for (number, state, routes) in [
        (
            NUMBER,
            api::MessageState::Accepted,
            vec![(v1::Route::FreeForm, 190), (v1::Route::Sms, 0)],
        ),
        // It waits for another token, and the platform is not asked again.
        (SILENT_NUMBER, api::MessageState::Deferred, vec![]),
    ] {
        stage.wrote(number, ANA, stage.now()).await;
        let request = api::SendMessageRequest {
            number: number.to_owned(),
            ..text(ANA, "Hi")
        };
        let sent = dispatcher.send(request).await;
        let message = dispatcher.until_state(&sent.message_id, state).await;
        assert_eq!(tried(&message), routes);
    }
}

#[tokio::test]
async fn a_token_is_read_anew_for_each_call() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let token = stage.folder.path().join("meta");
    let kept = std::fs::read_to_string(&token).unwrap();
    std::fs::remove_file(&token).unwrap();
    let dispatcher = stage
        .dispatcher_with(|config| {
            config.retry_schedule = vec![SignedDuration::from_millis(100); 8];
        })
        .await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    dispatcher
        .until(&sent.message_id, "a first attempt", |message| {
            !message.attempts.is_empty()
        })
        .await;
    std::fs::write(&token, kept).unwrap();
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(stage.calls().len(), 1, "without a token there is no call");
}

#[tokio::test]
async fn a_platform_that_cannot_be_reached_is_tried_by_the_schedule_and_then_left() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage
        .dispatcher_with(|config| {
            config.providers.graph_url = format!("http://127.0.0.1:{}", free_port());
        })
        .await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let routes: Vec<_> = tried(&message).iter().map(|(route, _)| *route).collect();
    let (whatsapp, sms) = (v1::Route::FreeForm, v1::Route::Sms);
    assert_eq!(routes, [whatsapp, whatsapp, whatsapp, whatsapp, sms]);
    let starts: Vec<_> = message
        .attempts
        .iter()
        .map(|attempt| {
            let start = attempt.start_time.expect("a time");
            start.seconds * 1_000 + i64::from(start.nanos / 1_000_000)
        })
        .collect();
    for (pair, pause) in starts.windows(2).zip([50, 100, 200]) {
        assert!(pair[1] - pair[0] >= pause, "{starts:?}");
    }

    // Without another channel it is over.
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let request = api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..text(ANA, "Hi")
    };
    let sent = dispatcher.send(request).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(message.outcome_reason, "ROUTES_EXHAUSTED");
    assert_eq!(message.attempts.len(), 4);
    assert_eq!(stage.taken(), ["Hi"], "the SMS and nothing else");
}

#[tokio::test]
async fn a_broken_request_fails_the_message_and_a_broken_service_is_tried_again() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let fault = |code| FaultSpec::from(Fault::GraphError { code }).times(1);
    stage.platform.inject(fault(100));
    let sent = dispatcher.send(text(ANA, "one")).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(tried(&message), [(v1::Route::FreeForm, 100)]);

    stage.platform.inject(fault(131_016));
    let sent = dispatcher.send(text(ANA, "two")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(
        tried(&message),
        [(v1::Route::FreeForm, 131_016), (v1::Route::FreeForm, 0)]
    );
}

#[tokio::test]
async fn a_phone_that_stopped_sms_gets_none() {
    let stage = Stage::set().await;
    stage
        .platform
        .texts(ANA, crate::stage::SMS_SENDER, "STOP")
        .unwrap();
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(tried(&message), [(v1::Route::Sms, 21_610)]);
    assert!(
        stage
            .calls()
            .iter()
            .all(|call| call.kind == MessageKind::Sms)
    );
}
