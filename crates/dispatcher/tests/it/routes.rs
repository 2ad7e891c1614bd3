//! Which way a message goes, and that it says why.

use casement_event::convert::timestamp;
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_shell::grpc::reason;
use casement_simulator::{Channel, MessageKind, Status};
use casement_testkit::eventually;
use jiff::SignedDuration;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{
    ANA, BEA, NUMBER, PAUSED_TEMPLATE, SILENT_NUMBER, SMS_SENDER, Stage, TEMPLATE, digits,
    in_template, sms, text,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What became of each route, in the order they were considered.
fn reasons(decision: &v1::Decision) -> Vec<&str> {
    let candidates = decision.candidates.iter();
    candidates
        .map(|candidate| candidate.reason.as_str())
        .collect()
}

#[tokio::test]
async fn inside_the_window_free_form_goes_out_once_and_says_why() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Your order is ready."), TEMPLATE))
        .await;
    let id = sent.message_id.as_str();
    let message = dispatcher.until_accepted(id).await;

    let calls = stage.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].kind, MessageKind::Text);
    assert_eq!(calls[0].text, "Your order is ready.");
    assert_eq!(calls[0].to.as_deref(), Some(digits(ANA)));
    assert_eq!(calls[0].callback_data, Some(format!("{id}.1")));

    let attempt = &message.attempts[0];
    assert_eq!(Some(&attempt.provider_message_id), calls[0].id.as_ref());
    let decision = attempt.decision.as_ref().expect("the attempt says why");
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);
    assert_eq!(
        reasons(decision),
        ["WINDOW_OPEN", "TEMPLATE_USABLE", "SMS_POSSIBLE", "CAN_WAIT"]
    );
    let life = stage.life(id).await;
    let claim = life.iter().find_map(|event| match event {
        Event::AttemptStarted(claim) => Some(claim),
        _ => None,
    });
    assert_eq!(
        claim.and_then(|claim| claim.decision.as_ref()),
        Some(decision)
    );
    assert_eq!(
        stage.life_names(id).await,
        ["MessageRequested", "AttemptStarted", "AttemptAccepted"]
    );
    assert_eq!(
        stage.log.state(stream::EVENTS).await.unwrap().messages,
        1,
        "only the customer's own message: nobody tracks windows here"
    );
}

#[tokio::test]
async fn outside_the_window_a_template_goes_out() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let stranger = "+15550003333";
    stage.wrote(crate::stage::NUMBER, ANA, stage.ago(DAY)).await;
    for (to, why) in [(ANA, "WINDOW_CLOSED"), (stranger, "WINDOW_CLOSED")] {
        let sent = dispatcher.send(in_template(text(to, "Hi"), TEMPLATE)).await;
        let message = dispatcher.until_accepted(&sent.message_id).await;
        let decision = message.decision.expect("a decision");
        assert_eq!(decision.chosen_route(), v1::Route::Template);
        assert_eq!(reasons(&decision)[0], why);
        assert_eq!(decision.template_category, "UTILITY");
        let calls = stage.calls();
        let call = calls.last().expect("a call");
        assert!(matches!(&call.kind, MessageKind::Template { name, .. } if name == TEMPLATE));
        assert_eq!(call.text, "Order 7 is ready");
        assert_eq!(call.to.as_deref(), Some(digits(to)));
    }
}

#[tokio::test]
async fn without_a_usable_template_an_sms_goes_out_whose_callback_names_the_attempt() {
    let stage = Stage::set().await;
    let (hook, mut called) = hook().await;
    let dispatcher = stage
        .dispatcher_with(|config| {
            config.providers.twilio_callback_url = format!("{hook}/webhooks/twilio");
        })
        .await;
    let sent = dispatcher
        .send(in_template(
            text(ANA, "Your order is ready."),
            PAUSED_TEMPLATE,
        ))
        .await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(
        reasons(&message.decision.expect("a decision")),
        [
            "WINDOW_CLOSED",
            "TEMPLATE_NOT_USABLE",
            "SMS_POSSIBLE",
            "CAN_WAIT"
        ]
    );
    let calls = stage.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].channel, Channel::Sms);
    assert_eq!(calls[0].from, SMS_SENDER);
    assert_eq!(calls[0].text, "Your order is ready.");

    let sid = calls[0].id.as_deref().expect("a sid");
    stage.platform.report(sid, Status::Sent).unwrap();
    let query = called.recv().await.expect("a status callback");
    assert_eq!(query, format!("m={}&a=1", sent.message_id));
}

#[tokio::test]
async fn what_no_route_can_take_is_refused_with_a_reason_for_each_and_nothing_is_stored() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let mut request = sms(ANA, "Your order is ready.");
    request.number = SILENT_NUMBER.to_owned();
    let refusal = dispatcher.try_send(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refusal).as_deref(), Some("NO_ROUTE"));
    let info = refusal.get_details_error_info().expect("an error info");
    for (route, why) in [
        ("free_form", "NO_FREE_FORM_CONTENT"),
        ("template", "NO_TEMPLATE_CONTENT"),
        ("sms", "NO_SMS_SENDER"),
        ("hold", "NO_FREE_FORM_CONTENT"),
    ] {
        assert_eq!(info.metadata[route], why);
    }
    for stream in [stream::MESSAGES, stream::CUSTOMERS, stream::EVENTS] {
        assert_eq!(stage.count(stream).await, 0, "{stream}");
    }
    assert_eq!(stage.calls(), []);
}

#[tokio::test]
async fn a_preview_decides_as_a_send_would_and_leaves_nothing_behind() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let request = || in_template(text(ANA, "Ça va? 👋"), TEMPLATE);

    let closed = dispatcher.decision(request()).await;
    assert_eq!(closed.chosen_route(), v1::Route::Template);
    assert_eq!(
        (closed.sms_encoding.as_str(), closed.sms_segments),
        ("UCS-2", 1)
    );
    assert_eq!(closed.candidates.len(), 4);
    for stream in [stream::MESSAGES, stream::CUSTOMERS] {
        assert_eq!(stage.count(stream).await, 0, "{stream}");
    }

    stage.writes(ANA).await;
    let open = dispatcher.decision(request()).await;
    assert_eq!(open.chosen_route(), v1::Route::FreeForm);
    assert!(open.window_open && open.next_change_time.is_some());
    let tomorrow = dispatcher
        .preview(api::PreviewRouteRequest {
            request: Some(request()),
            evaluate_time: Some(timestamp(stage.now() + DAY)),
        })
        .await;
    assert_eq!(tomorrow.chosen_route(), v1::Route::Template);
    assert_eq!(stage.count(stream::MESSAGES).await, 0);

    let sent = dispatcher.send(request()).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let decision = message.decision.expect("a decision");
    assert_eq!(decision.chosen_route, open.chosen_route);
    assert_eq!(reasons(&decision), reasons(&open));
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_scheduled_message_is_decided_on_when_its_time_has_come() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let send_at = stage.now() + SignedDuration::from_millis(1_500);
    let mut request = text(ANA, "Good morning");
    request.send_time = Some(timestamp(send_at));
    let sent = dispatcher.send(request).await;
    assert_eq!(sent.state(), api::MessageState::Pending);
    assert_eq!(stage.calls(), []);
    // By now it could only have been an SMS; then it is a reply.
    stage.writes(ANA).await;
    dispatcher.until_accepted(&sent.message_id).await;
    let calls = stage.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].kind, MessageKind::Text);
    assert!(calls[0].at >= send_at);
}

/// A webhook that only notes what it was asked for.
async fn hook() -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    use axum::extract::RawQuery;
    let (note, noted) = tokio::sync::mpsc::unbounded_channel();
    let take = move |RawQuery(query): RawQuery| {
        let _ = note.send(query.unwrap_or_default());
        std::future::ready(())
    };
    let router = axum::Router::new().route("/webhooks/twilio", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), noted)
}

#[tokio::test]
async fn a_sender_of_the_callers_own_goes_before_the_numbers() {
    let stage = Stage::set_with(|platform| platform.twilio.senders.clear()).await;
    let dispatcher = stage.dispatcher().await;
    let mut request = sms(ANA, "Your order is ready.");
    if let Some(sms) = request.content.as_mut().and_then(|it| it.sms.as_mut()) {
        sms.sender = "CASEMENT".to_owned();
    }
    let sent = dispatcher.send(request).await;
    dispatcher.until_accepted(&sent.message_id).await;
    eventually("the SMS", async || stage.calls().len() == 1).await;
    assert_eq!(stage.calls()[0].from, "CASEMENT");
}

#[tokio::test]
async fn a_phone_that_passed_to_somebody_else_is_not_written_to_for_its_former_owner() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let former = stage.shows(ANA, BEA).await;
    stage.heard(NUMBER, ANA, stage.now()).await;
    let verdict = async || {
        let decision = dispatcher.decision(sms(BEA, "Your code is 123.")).await;
        let mut all = decision.candidates.into_iter();
        let sms = all.find(|one| one.route() == v1::Route::Sms);
        sms.expect("every route has a verdict")
    };
    assert_eq!(verdict().await.verdict(), v1::Verdict::Chosen);
    // Asked for by the phone, and held until the next owner has it.
    stage.pause(true).await;
    let waiting = dispatcher.send(sms(ANA, "Your code is 456.")).await;
    assert_eq!(waiting.customer_id, former.as_str());

    let next = stage.shows(ANA, "US.22").await;
    assert_ne!(next, former);
    let ruled_out = verdict().await;
    assert_eq!(
        (ruled_out.verdict(), ruled_out.reason.as_str()),
        (v1::Verdict::RuledOut, "NO_PHONE")
    );
    stage.pause(false).await;
    dispatcher.until_ended(&waiting.message_id).await;
    assert_eq!(stage.calls(), [], "nothing for the one reaches the other");

    // The next owner is reached.
    let sent = dispatcher.send(sms(ANA, "Welcome.")).await;
    assert_eq!(sent.customer_id, next.as_str());
    dispatcher.until_accepted(&sent.message_id).await;
}
