//! Another route although the first one was open: after errors, and after silence.

use casement_dispatcher::Config;
use casement_event::convert::duration;
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::{Channel, Fault, FaultSpec, MessageKind};
use jiff::SignedDuration;
use tonic::Code;
use tonic_types::StatusExt as _;
use v1::DeliveryStatus::{Delivered, Sent};

use crate::stage::{ANA, BEA, Dispatcher, Stage, TEMPLATE, in_template, text};

const SOON: SignedDuration = SignedDuration::from_millis(800);

/// Asks for another channel after a silence.
fn impatient(request: api::SendMessageRequest, risks: bool) -> api::SendMessageRequest {
    api::SendMessageRequest {
        failover_after: Some(duration(SOON)),
        accept_duplicate_risk: risks,
        ..request
    }
}

/// No free-form words, for a customer who has not written.
fn only_template(name: &str) -> api::SendMessageRequest {
    let mut request = in_template(text(ANA, ""), name);
    request.content.get_or_insert_default().free_form = None;
    request.purpose = v1::Purpose::Utility.into();
    request
}

async fn until_sms(dispatcher: &Dispatcher, id: &str) -> api::Message {
    dispatcher
        .until(id, "an SMS was accepted", |message| {
            message.state() == api::MessageState::Accepted && message.attempts.len() == 2
        })
        .await
}

fn overdue(life: &[Event]) -> Vec<v1::DeliveryOverdue> {
    let all = life.iter().filter_map(|event| match event {
        Event::DeliveryOverdue(overdue) => Some(overdue.clone()),
        _ => None,
    });
    all.collect()
}

/// A configuration of these policies.
fn policies(toml: &str) -> impl FnOnce(&mut Config) {
    let named: Config = toml::from_str(toml).expect("a configuration");
    move |config| config.policies = named.policies
}

#[tokio::test]
async fn after_silence_an_sms_goes_and_the_risk_is_on_record() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(impatient(text(ANA, "Hi"), true)).await;
    let id = sent.message_id.as_str();
    let waiting = dispatcher.until_accepted(id).await;
    assert!(waiting.overdue_time.is_some());
    // Having left is no arrival.
    stage.report(id, 1, Ok(Sent)).await;
    let message = until_sms(&dispatcher, id).await;
    let calls = stage.calls();
    assert_eq!(calls[0].kind, MessageKind::Text);
    assert_eq!(calls[1].channel, Channel::Sms);
    assert!(calls[1].at.duration_since(calls[0].at) >= SOON);
    assert!(message.attempts[0].may_still_arrive && message.attempts[1].duplicate_risk);
    assert!(message.overdue_time.is_none(), "once in its life");
    let told = overdue(&stage.life(id).await);
    assert_eq!(told.len(), 1);
    assert!(told[0].moves_on && told[0].duplicate_risk && told[0].decision.is_some());

    stage.report(id, 2, Ok(Delivered)).await;
    stage.report(id, 1, Ok(Delivered)).await;
    let message = dispatcher
        .until(id, "both arrivals are told", |message| {
            message.double_exposure == [1, 2]
        })
        .await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(stage.calls().len(), 2);
}

#[tokio::test]
async fn a_timer_that_may_send_twice_is_refused_by_its_field_and_nothing_is_stored() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let refused = async |request| {
        let refusal = dispatcher.try_send(request).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
        let fields = refusal.get_details_bad_request().expect("fields");
        let found = fields.field_violations.into_iter().next().expect("one");
        (found.field, found.description)
    };
    let (field, why) = refused(impatient(text(ANA, "Hi"), false)).await;
    assert_eq!(field, "failover_after");
    assert!(why.contains("720h"), "{why}");
    // A utility template without a time to live of its own is tried for 30 days, too.
    let (field, _) = refused(impatient(only_template(TEMPLATE), false)).await;
    assert_eq!(field, "failover_after");
    assert_eq!(stage.count(stream::MESSAGES).await, 0);
}

#[tokio::test]
async fn a_template_that_is_dead_by_then_needs_nobody_to_accept_a_risk() {
    let stage = Stage::set().await;
    stage.record_template_for(TEMPLATE, SOON).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher
        .send(impatient(only_template(TEMPLATE), false))
        .await;
    let message = until_sms(&dispatcher, &sent.message_id).await;
    let calls = stage.calls();
    assert!(matches!(calls[0].kind, MessageKind::Template { .. }));
    assert_eq!(calls[1].text, "Order 7 is ready", "as the template says it");
    assert!(!message.attempts[1].duplicate_risk);
    let told = overdue(&stage.life(&sent.message_id).await);
    assert!(told[0].moves_on && !told[0].duplicate_risk);
}

#[tokio::test]
async fn a_delivery_in_time_stops_the_timer() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let first = dispatcher.send(impatient(text(ANA, "one"), true)).await;
    dispatcher.until_accepted(&first.message_id).await;
    stage.report(&first.message_id, 1, Ok(Delivered)).await;
    dispatcher.until_ended(&first.message_id).await;
    // Whose timer comes later than the first one's would have.
    let second = dispatcher.send(impatient(text(ANA, "two"), true)).await;
    until_sms(&dispatcher, &second.message_id).await;
    let life = stage.life(&first.message_id).await;
    assert_eq!(overdue(&life), []);
    assert_eq!(stage.calls().len(), 3);
}

#[tokio::test]
async fn the_timer_outlives_the_dispatcher_and_each_call_is_made_once() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let first = stage.dispatcher().await;
    let sent = first.send(impatient(text(ANA, "Hi"), true)).await;
    first.until_accepted(&sent.message_id).await;
    first.kill();
    let (one, two) = (stage.dispatcher().await, stage.dispatcher().await);
    until_sms(&one, &sent.message_id).await;
    until_sms(&two, &sent.message_id).await;
    let channels: Vec<_> = stage.calls().iter().map(|call| call.channel).collect();
    assert_eq!(channels, [Channel::Whatsapp, Channel::Sms]);
    assert_eq!(overdue(&stage.life(&sent.message_id).await).len(), 1);
}

#[tokio::test]
async fn with_no_other_channel_open_the_delivery_is_awaited() {
    let stage = Stage::set().await;
    stage.writes(BEA).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(impatient(text(BEA, "Hi"), true)).await;
    let id = sent.message_id.as_str();
    let message = dispatcher
        .until(id, "its delivery is overdue", |message| {
            message.reason == "DELIVERY_OVERDUE"
        })
        .await;
    assert_eq!(message.state(), api::MessageState::Accepted);
    let decision = message.decision.expect("why there is no other route");
    assert_eq!(decision.chosen_route(), v1::Route::Unspecified);
    stage.report(id, 1, Ok(Delivered)).await;
    let message = dispatcher.until_ended(id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_policy_says_after_which_errors_and_after_how_long_another_route_is_taken() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage
        .dispatcher_with(policies(
            "[policies.default]
             routes = ['free_form', 'template', 'sms', 'hold']
             failover = { on = ['window_closed', 'template_unusable'] }
             [policies.patient]
             routes = ['free_form', 'sms']
             [policies.hasty]
             routes = ['free_form', 'sms']
             failover = { after = '800ms', accept_duplicate_risk = true }
             [policies.careless]
             routes = ['free_form', 'sms']
             failover = { after = '800ms' }",
        ))
        .await;
    let under = |policy: &str| api::SendMessageRequest {
        policy: policy.to_owned(),
        ..text(ANA, "Hi")
    };
    let undeliverable = || {
        let fault = Fault::GraphError { code: 131_026 };
        stage.platform.inject(FaultSpec::from(fault).times(1));
    };
    // By default an undeliverable message goes as SMS; here the default policy ends it.
    undeliverable();
    let sent = dispatcher.send(under("")).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(stage.calls().len(), 1);
    undeliverable();
    let sent = dispatcher.send(under("patient")).await;
    until_sms(&dispatcher, &sent.message_id).await;

    let sent = dispatcher.send(under("hasty")).await;
    let message = until_sms(&dispatcher, &sent.message_id).await;
    assert!(message.attempts[1].duplicate_risk);
    let refusal = dispatcher.try_send(under("careless")).await.unwrap_err();
    assert!(refusal.message().contains("policy:"), "{refusal}");
    let accepted = api::SendMessageRequest {
        accept_duplicate_risk: true,
        ..under("careless")
    };
    let sent = dispatcher.send(accepted).await;
    until_sms(&dispatcher, &sent.message_id).await;
}
