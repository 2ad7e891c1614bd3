//! Named policies: whose is which, what their conditions do, and quiet hours waited for.

use std::sync::LazyLock;

use casement_dispatcher::{Config, PolicyConfig, PolicyOf, StepConfig};
use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_result::Result as Told;
use casement_shell::SystemClock;
use casement_shell::clock::{Clock as _, ManualClock};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{
    ANA, BEA, NUMBER, SILENT_NUMBER, Stage, TEMPLATE, in_template, text, with_token,
};

/// A customer in Germany, who has never written.
const CARLA: &str = "+4915112345678";

/// Before and at eight in the morning in Berlin, on the day that is nearest: the provider goes by
/// the time that it is.
static NIGHT: LazyLock<Timestamp> = LazyLock::new(|| berlin(6));
static MORNING: LazyLock<Timestamp> = LazyLock::new(|| berlin(8));

fn berlin(hour: i8) -> Timestamp {
    let near = SystemClock::new().now() + SignedDuration::from_hours(6);
    let near = near.in_tz("Europe/Berlin").expect("a zone that is known");
    let at = near
        .date()
        .at(hour, 0, 0, 0)
        .to_zoned(near.time_zone().clone());
    at.expect("an hour of every day").timestamp()
}

fn plain(route: &str) -> StepConfig {
    StepConfig {
        route: route.to_owned(),
        ..StepConfig::default()
    }
}

fn routes(routes: &[&str]) -> PolicyConfig {
    PolicyConfig {
        routes: routes.iter().map(|route| plain(route)).collect(),
        ..PolicyConfig::default()
    }
}

/// Templates by day alone, in the customer's zone.
fn courteous() -> PolicyConfig {
    let template = StepConfig {
        quiet_hours: "21:00-08:00".to_owned(),
        ..plain("template")
    };
    PolicyConfig {
        routes: vec![plain("free_form"), template, plain("hold")],
        ..PolicyConfig::default()
    }
}

fn with_policies(config: &mut Config) {
    config.policies = [
        ("courteous".to_owned(), courteous()),
        ("whatsapp".to_owned(), routes(&["free_form", "template"])),
        ("texts".to_owned(), routes(&["sms"])),
    ]
    .into();
    config.policy_of = PolicyOf {
        numbers: [("15550001112".to_owned(), "texts".to_owned())].into(),
        brands: [("default".to_owned(), "whatsapp".to_owned())].into(),
    };
}

fn under(policy: &str, request: api::SendMessageRequest) -> api::SendMessageRequest {
    api::SendMessageRequest {
        policy: policy.to_owned(),
        ..request
    }
}

/// A stage whose time stands still.
async fn stage_at(now: Timestamp) -> (Stage, ManualClock) {
    let mut stage = Stage::set().await;
    let clock = ManualClock::new(now);
    stage.clock = clock.shared();
    (stage, clock)
}

fn reasons(decision: &v1::Decision) -> Vec<&str> {
    let candidates = decision.candidates.iter();
    candidates.map(|one| one.reason.as_str()).collect()
}

#[tokio::test]
async fn a_message_goes_by_the_policy_of_its_request_its_number_or_its_brand() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let request = || in_template(text(ANA, "Hi"), TEMPLATE);
    let silent = || api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..request()
    };
    for (request, policy, count) in [
        (under("courteous", request()), "courteous", 3),
        (under("default", request()), "default", 4),
        (request(), "whatsapp", 2),
        (silent(), "texts", 1),
        (under("whatsapp", silent()), "whatsapp", 2),
    ] {
        let decision = dispatcher.decision(request).await;
        assert_eq!(decision.policy, policy);
        assert_eq!(decision.candidates.len(), count);
    }
    let sent = dispatcher.send(request()).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let decision = message.attempts[0].decision.as_ref().expect("a decision");
    assert_eq!(decision.policy, "whatsapp");
    let life = stage.life(&sent.message_id).await;
    assert!(matches!(&life[0], Event::MessageRequested(asked) if asked.policy == "whatsapp"));
    // No route of it and no hold: nothing is queued.
    let refused = dispatcher.try_send(text(CARLA, "Hi")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

fn fields(status: &tonic::Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details
        .bad_request()
        .expect("fields")
        .field_violations
        .iter();
    violations.map(|one| one.field.clone()).collect()
}

#[tokio::test]
async fn an_unknown_policy_and_an_unknown_zone_are_refused_on_every_interface() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let bad = || api::SendMessageRequest {
        policy: "reckless".to_owned(),
        time_zone: "Europe/Atlantis".to_owned(),
        request_id: "bad".to_owned(),
        ..text(ANA, "Hi")
    };
    let expected = ["policy", "time_zone"];
    let sent = dispatcher.try_send(bad()).await.unwrap_err();
    assert_eq!(
        (sent.code(), fields(&sent)),
        (Code::InvalidArgument, expected.map(str::to_owned).to_vec())
    );
    let preview = api::PreviewRouteRequest {
        request: Some(bad()),
        evaluate_time: None,
    };
    let previewed = dispatcher.try_preview(preview).await.unwrap_err();
    assert_eq!(fields(&previewed), expected);
    let names = |refused: api::Refusal| {
        let fields = refused.fields.into_iter();
        fields.map(|one| one.field).collect::<Vec<_>>()
    };
    let refused = |told: Option<Told>| match told {
        Some(Told::Refused(refused)) => refused,
        other => panic!("not refused: {other:?}"),
    };
    let batch = api::BatchSendMessagesRequest {
        requests: vec![bad()],
    };
    let batch = dispatcher
        .client()
        .batch_send_messages(with_token("token-default", batch))
        .await
        .expect("an answer");
    let mut results = batch.into_inner().results;
    assert_eq!(names(refused(results.remove(0).result)), expected);

    let client = stage.nats.client().await;
    let answers = "casement.answers.default.crm.1";
    let mut told = client.subscribe(answers).await.expect("a subscription");
    client.publish(answers, "".into()).await.expect("an echo");
    futures::StreamExt::next(&mut told).await;
    let subject = "casement.commands.send.default.15550001111.crm";
    let headers = [("casement-answer-to", answers)];
    stage
        .nats
        .publish(subject, &headers, bad().encode_to_vec())
        .await;
    let answer = futures::StreamExt::next(&mut told)
        .await
        .expect("an answer");
    let answer = api::SendResult::decode(answer.payload).expect("a result");
    assert_eq!(names(refused(answer.result)), expected);
}

#[tokio::test]
async fn a_template_waits_for_the_end_of_the_customers_night_and_says_so() {
    let (stage, clock) = stage_at(*NIGHT).await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let request = || under("courteous", in_template(text(CARLA, "Hi"), TEMPLATE));

    let decision = dispatcher.decision(request()).await;
    assert_eq!(
        reasons(&decision),
        ["WINDOW_CLOSED", "QUIET_HOURS", "WAITS_FOR_QUIET_HOURS"]
    );
    assert_eq!(decision.chosen_route(), v1::Route::Unspecified);
    assert_eq!(decision.earliest_send_time, Some(timestamp(*MORNING)));
    assert_eq!(decision.next_change_time, Some(timestamp(*MORNING)));
    let facts = &decision.candidates[1].facts;
    assert!(
        facts.contains(&"time_zones=Europe/Berlin".to_owned()),
        "{facts:?}"
    );
    let by_day = api::PreviewRouteRequest {
        request: Some(request()),
        evaluate_time: Some(timestamp(*MORNING)),
    };
    assert_eq!(
        dispatcher.preview(by_day).await.chosen_route(),
        v1::Route::Template
    );
    // Somewhere else it is day already.
    let there = api::SendMessageRequest {
        time_zone: "Asia/Tokyo".to_owned(),
        ..request()
    };
    assert_eq!(
        dispatcher.decision(there).await.chosen_route(),
        v1::Route::Template
    );

    let sent = dispatcher.send(request()).await;
    let id = sent.message_id.as_str();
    let waits = dispatcher
        .until_state(id, api::MessageState::Deferred)
        .await;
    let deferral = waits.deferral.expect("what it waits for");
    assert_eq!(
        (deferral.cause.as_str(), deferral.halt_id.as_str()),
        ("QUIET_HOURS", "")
    );
    assert_eq!(deferral.until_time, Some(timestamp(*MORNING)));
    assert_eq!(waits.reason, "QUIET_HOURS");
    assert!(stage.calls().is_empty());
    assert_eq!(
        stage.life_names(id).await,
        ["MessageRequested", "MessageDeferred"]
    );

    clock.set(*MORNING);
    let message = dispatcher.until_accepted(id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::Template);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn who_writes_at_night_is_answered_before_the_morning() {
    let (stage, clock) = stage_at(*NIGHT).await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let sent = dispatcher
        .send(under("courteous", in_template(text(CARLA, "Hi"), TEMPLATE)))
        .await;
    let id = sent.message_id.as_str();
    dispatcher
        .until_state(id, api::MessageState::Deferred)
        .await;
    stage
        .platform
        .customer(Some(CARLA), None, "Carla")
        .expect("a customer");
    clock.advance(SignedDuration::from_secs(60));
    stage.writes(CARLA).await;
    let message = dispatcher.until_accepted(id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::FreeForm);
}

#[tokio::test]
async fn quiet_hours_are_not_waited_for_past_the_messages_end() {
    let (stage, clock) = stage_at(*NIGHT).await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let short = api::SendMessageRequest {
        ttl: Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        }),
        ..under("courteous", in_template(text(CARLA, "Hi"), TEMPLATE))
    };
    let sent = dispatcher.send(short).await;
    let id = sent.message_id.as_str();
    dispatcher.until_state(id, api::MessageState::Held).await;
    clock.advance(SignedDuration::from_secs(3600));
    let ended = dispatcher.until_ended(id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Expired);
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn a_restart_under_another_configuration_leaves_no_message_without_a_policy() {
    let (stage, clock) = stage_at(*NIGHT).await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let sent = dispatcher
        .send(under("courteous", in_template(text(CARLA, "Hi"), TEMPLATE)))
        .await;
    let id = sent.message_id.as_str();
    dispatcher
        .until_state(id, api::MessageState::Deferred)
        .await;
    dispatcher.stop().await;

    let dispatcher = stage.dispatcher().await;
    clock.set(*MORNING);
    let message = dispatcher.until_accepted(id).await;
    let decision = message.attempts[0].decision.as_ref().expect("a decision");
    assert_eq!(decision.policy, "default");
}

#[tokio::test]
async fn the_zone_of_a_user_id_is_its_countrys() {
    let (stage, _clock) = stage_at(*NIGHT).await;
    let dispatcher = stage.dispatcher_with(with_policies).await;
    let request = under("courteous", in_template(text(BEA, "Hi"), TEMPLATE));
    assert_eq!(request.number, NUMBER);
    let decision = dispatcher.decision(request).await;
    let facts = &decision.candidates[1].facts;
    assert!(
        facts.contains(&"time_zones_by=user_id".to_owned()),
        "{facts:?}"
    );
    assert_eq!(decision.candidates[1].reason, "QUIET_HOURS");
}
