//! Halts: who waits, who goes another way, what is told, and what ends them.

use std::net::SocketAddr;

use axum::{Json, Router, routing::post};
use casement_domain::halt::{Cause, Channels, Halt, Scope, Target, Traffic};
use casement_event::convert::halt::{self as stored, Details};
use casement_event::convert::{instant, timestamp};
use casement_event::subject::{self, stream};
use casement_event::{Event, v1};
use casement_event_log::Expect;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::halt_target::Target as Asked;
use casement_proto::message::v1::resume_sends_request::What;
use casement_simulator::{Channel, Fault, FaultSpec};
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::stage::{
    ANA, BEA, Dispatcher, FOREIGN_TEMPLATE, NEWLY_PAUSED_TEMPLATE, NUMBER, SILENT_NUMBER, Stage,
    TEMPLATE, WABA, digits, in_template, text, with_token,
};

const TOKEN: &str = "token-default";

/// Another customer with a phone.
const ANA_TOO: &str = "+15550002223";

async fn try_pause(
    dispatcher: &Dispatcher,
    token: &str,
    target: Asked,
    until: Option<Timestamp>,
) -> Result<api::PauseSendsResponse, Status> {
    let request = api::PauseSendsRequest {
        target: Some(api::HaltTarget {
            target: Some(target),
        }),
        reason: "wrong prices".to_owned(),
        until_time: until.map(timestamp),
    };
    let answer = dispatcher
        .client()
        .pause_sends(with_token(token, request))
        .await;
    answer.map(tonic::Response::into_inner)
}

async fn pause(dispatcher: &Dispatcher, target: Asked) -> api::StandingHalt {
    let answer = try_pause(dispatcher, TOKEN, target, None).await;
    answer.expect("a pause").halt.expect("a halt")
}

async fn try_resume(
    dispatcher: &Dispatcher,
    token: &str,
    what: What,
) -> Result<api::ResumeSendsResponse, Status> {
    let request = api::ResumeSendsRequest {
        what: Some(what),
        reason: String::new(),
    };
    let answer = dispatcher
        .client()
        .resume_sends(with_token(token, request))
        .await;
    answer.map(tonic::Response::into_inner)
}

async fn resume(dispatcher: &Dispatcher, target: Asked) -> usize {
    let what = What::Target(api::HaltTarget {
        target: Some(target),
    });
    let answer = try_resume(dispatcher, TOKEN, what).await;
    answer.expect("an answer").halts.len()
}

async fn standing(dispatcher: &Dispatcher, token: &str) -> Vec<api::StandingHalt> {
    let answer = dispatcher
        .client()
        .list_halts(with_token(token, api::ListHaltsRequest {}))
        .await;
    answer.expect("a list").into_inner().halts
}

/// The only halt that stands.
async fn the_halt(dispatcher: &Dispatcher) -> v1::Halt {
    let mut all = standing(dispatcher, TOKEN).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).halt.expect("a halt")
}

async fn until_none_stands(dispatcher: &Dispatcher) {
    eventually("no halt stands", async || {
        let all = standing(dispatcher, TOKEN).await;
        if all.is_empty() {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await;
}

async fn deferred(dispatcher: &Dispatcher, message: &api::Message) -> api::Deferral {
    let state = api::MessageState::Deferred;
    let message = dispatcher.until_state(&message.message_id, state).await;
    message.deferral.expect("a reason")
}

fn number(number: &str) -> Asked {
    Asked::Number(number.to_owned())
}

fn template(name: &str) -> Asked {
    Asked::Template(api::TemplateTarget {
        waba_id: WABA.to_owned(),
        name: name.to_owned(),
        language: String::new(),
    })
}

fn label(key: &str, value: &str) -> Asked {
    Asked::Label(api::LabelTarget {
        brand_id: String::new(),
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

fn labelled(key: &str, value: &str, request: api::SendMessageRequest) -> api::SendMessageRequest {
    let label = v1::Label {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    api::SendMessageRequest {
        labels: vec![label],
        ..request
    }
}

/// A text from the number that has no SMS sender.
fn silent(to: &str, body: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..text(to, body)
    }
}

fn fault(code: i64) -> FaultSpec {
    FaultSpec::from(Fault::GraphError { code }).times(1)
}

#[tokio::test]
async fn what_is_paused_waits_says_so_and_goes_once_it_is_resumed() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let brand = Asked::BrandId("default".to_owned());
    for (target, cause) in [
        (number(NUMBER), "NUMBER_PAUSED"),
        (brand, "BRAND_PAUSED"),
        (label("campaign", "spring"), "LABEL_PAUSED"),
    ] {
        let before = stage.calls().len();
        let halt = pause(&dispatcher, target.clone()).await.halt.unwrap();
        assert_eq!(
            (halt.reason.as_str(), halt.caller.as_str()),
            ("wrong prices", "default")
        );
        let request = labelled("campaign", "spring", in_template(text(ANA, "Hi"), TEMPLATE));
        let sent = dispatcher.send(request).await;
        let deferral = deferred(&dispatcher, &sent).await;
        assert_eq!(
            (deferral.cause.as_str(), &deferral.halt_id),
            (cause, &halt.halt_id)
        );
        assert_eq!(
            deferral.until_time, sent.expire_time,
            "as long as it is worth sending"
        );
        eventually("the list counts it", async || {
            let listed = standing(&dispatcher, TOKEN).await;
            let counts = (
                listed[0].deferred_message_count,
                listed[0].waiting_message_count,
            );
            if counts == (1, 1) {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            }
        })
        .await;
        assert_eq!(stage.calls().len(), before, "nothing goes, by no channel");

        assert_eq!(resume(&dispatcher, target.clone()).await, 1);
        dispatcher.until_accepted(&sent.message_id).await;
        assert_eq!(
            resume(&dispatcher, target).await,
            0,
            "there is nothing to lift"
        );
        assert_eq!(standing(&dispatcher, TOKEN).await, []);
    }
}

#[tokio::test]
async fn a_preview_tells_what_is_paused() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    pause(&dispatcher, number(NUMBER)).await;
    let decision = dispatcher.decision(text(ANA, "Hi")).await;
    assert_eq!(decision.chosen_route(), v1::Route::Unspecified);
    assert_eq!(decision.candidates[0].reason, "HALTED");
    let told = &decision.candidates[0].text;
    assert_eq!(told, "Sending is paused for the number: wrong prices.");
}

#[tokio::test]
async fn a_paused_label_holds_up_no_other_message_of_the_conversation() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    pause(&dispatcher, label("campaign", "spring")).await;
    let campaign = labelled("campaign", "spring", text(ANA, "Buy!"));
    let campaign = dispatcher.send(campaign).await;
    deferred(&dispatcher, &campaign).await;
    let other = labelled("campaign", "autumn", text(ANA, "Not yet"));
    for request in [other, text(ANA, "How can I help?")] {
        let sent = dispatcher.send(request).await;
        dispatcher.until_accepted(&sent.message_id).await;
    }
    assert_eq!(stage.taken(), ["Not yet", "How can I help?"]);
}

#[tokio::test]
async fn a_paused_template_leaves_the_other_routes() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    // The account has numbers of another brand, too.
    let all = "token-all";
    let paused = try_pause(&dispatcher, all, template(TEMPLATE), None).await;
    let halt = paused.unwrap().halt.unwrap().halt.unwrap();
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::Sms);
    stage.writes(ANA).await;
    let decision = dispatcher
        .decision(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);
    // Who has nothing else waits.
    let mut alone = in_template(silent(BEA, ""), TEMPLATE);
    alone.content.as_mut().unwrap().free_form = None;
    let sent = dispatcher.send(alone).await;
    assert_eq!(deferred(&dispatcher, &sent).await.cause, "TEMPLATE_PAUSED");
    let lift = What::HaltId(halt.halt_id);
    try_resume(&dispatcher, all, lift).await.unwrap();
    dispatcher.until_accepted(&sent.message_id).await;
}

#[tokio::test]
async fn a_pause_ends_by_itself_if_it_was_given_an_end() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let until = stage.now() + SignedDuration::from_secs(2);
    let paused = try_pause(&dispatcher, TOKEN, number(NUMBER), Some(until)).await;
    let halt = paused.unwrap().halt.unwrap().halt.unwrap();
    assert_eq!(halt.until_time, Some(timestamp(until)));
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    assert_eq!(
        deferred(&dispatcher, &sent).await.until_time,
        Some(timestamp(until))
    );
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let started = instant("start_time", message.attempts[0].start_time.as_ref());
    assert!(started.unwrap().unwrap() >= until);
}

#[tokio::test]
async fn no_call_begins_a_second_after_the_pause_whichever_process_was_asked() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let sending = stage.dispatcher().await;
    let asked = stage.dispatcher().await;
    sending
        .until_accepted(&sending.send(text(ANA, "before")).await.message_id)
        .await;
    pause(&asked, number(NUMBER)).await;
    let paused_at = stage.now();
    // Some of them may go while the pause is on its way; then none.
    let mut last = sending.send(text(ANA, "after")).await;
    eventually("a message waits", async || {
        let message = sending.try_get(&last.message_id).await.unwrap();
        match message.state() {
            api::MessageState::Deferred => Ok(()),
            api::MessageState::Accepted => {
                last = sending.send(text(ANA, "after")).await;
                Err("it went".to_owned())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for call in stage.calls() {
        let late = call.at.duration_since(paused_at);
        assert!(
            late < SignedDuration::from_secs(1),
            "{late:#} after the pause"
        );
    }
}

#[tokio::test]
async fn a_halt_that_was_lifted_while_nobody_ran_is_not_waited_for() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let first = stage.dispatcher().await;
    let halt = pause(&first, number(NUMBER)).await.halt.unwrap();
    let sent = first.send(text(ANA, "Hi")).await;
    deferred(&first, &sent).await;
    first.kill();
    let resumed = v1::SendsResumed {
        halt: Some(halt),
        time: Some(timestamp(stage.now())),
        ..v1::SendsResumed::default()
    };
    let resumed = stored::resumed(resumed, stage.now());
    stage.log.append(resumed, Expect::Anything).await.unwrap();
    let second = stage.dispatcher().await;
    second.until_accepted(&sent.message_id).await;
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn an_error_of_the_account_halts_all_its_numbers_and_sms_goes_meanwhile() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let dispatcher = stage.dispatcher().await;
    stage.platform.inject(fault(131_042));
    let sent = dispatcher.send(text(ANA, "one")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let routes: Vec<_> = message.attempts.iter().map(api::Attempt::route).collect();
    assert_eq!(routes, [v1::Route::FreeForm, v1::Route::Sms]);
    let halt = the_halt(&dispatcher).await;
    assert_eq!(
        (halt.scope(), halt.key.as_str()),
        (v1::HaltScope::Waba, WABA)
    );
    assert_eq!(halt.error.as_ref().unwrap().code, 131_042);
    assert_eq!((&halt.message_id, halt.attempt), (&sent.message_id, 1));
    assert!(halt.probe_time.is_some(), "{halt:?}");

    // Nobody asks Meta any more.
    let sent = dispatcher.send(text(ANA, "two")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(message.attempts.len(), 1);
    assert_eq!(message.attempts[0].route(), v1::Route::Sms);
    // Who has no other channel waits, also from another number.
    let sent = dispatcher.send(silent(ANA, "three")).await;
    let deferral = deferred(&dispatcher, &sent).await;
    assert_eq!(
        (deferral.cause.as_str(), &deferral.halt_id),
        ("WABA_HALTED", &halt.halt_id)
    );
    let by_channel = |channel| {
        stage
            .calls()
            .iter()
            .filter(|call| call.channel == channel)
            .count()
    };
    assert_eq!(
        (by_channel(Channel::Whatsapp), by_channel(Channel::Sms)),
        (1, 2)
    );

    // The account has numbers of another brand, too.
    let lift = || What::HaltId(halt.halt_id.clone());
    let refused = try_resume(&dispatcher, TOKEN, lift()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = try_resume(&dispatcher, "token-reader", lift()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let listed = standing(&dispatcher, "token-other").await;
    let seen = listed[0].halt.as_ref().unwrap();
    assert_eq!(
        (seen.scope(), seen.message_id.as_str()),
        (v1::HaltScope::Waba, "")
    );
    let lifted = try_resume(&dispatcher, "token-all", lift()).await.unwrap();
    assert_eq!(lifted.halts.len(), 1);
    dispatcher.until_accepted(&sent.message_id).await;
    let subject = subject::halt("WABA", &halt.halt_id);
    let told = stage.log.read_subject(stream::ACCOUNTS, &subject).await;
    let told = told.unwrap();
    let types: Vec<&str> = told
        .iter()
        .map(casement_event::Stored::event_type)
        .collect();
    assert_eq!(
        types,
        [
            "casement.events.v1.SendsHalted",
            "casement.events.v1.SendsResumed"
        ]
    );
}

#[tokio::test]
async fn another_token_lifts_the_halt_of_the_one_that_was_refused() {
    let stage = Stage::set().await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let token = stage.folder.path().join("meta");
    let right = std::fs::read_to_string(&token).unwrap();
    std::fs::write(&token, "old-token").unwrap();
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(silent(ANA, "Hi")).await;
    assert_eq!(deferred(&dispatcher, &sent).await.cause, "TOKEN_HALTED");
    let halt = the_halt(&dispatcher).await;
    assert!(!halt.token_fingerprint.is_empty());
    assert!(
        !format!("{halt:?}").contains("old-token"),
        "no token is told: {halt:?}"
    );
    std::fs::write(&token, right).unwrap();
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(message.attempts.len(), 2);
    until_none_stands(&dispatcher).await;
}

#[tokio::test]
async fn a_template_that_the_platform_paused_is_left_alone_until_it_is_approved() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let request = || in_template(text(ANA, "Hi"), NEWLY_PAUSED_TEMPLATE);
    let first = dispatcher.send(request()).await;
    let message = dispatcher.until_accepted(&first.message_id).await;
    let routes: Vec<_> = message.attempts.iter().map(api::Attempt::route).collect();
    assert_eq!(routes, [v1::Route::Template, v1::Route::Sms]);
    let halt = the_halt(&dispatcher).await;
    assert_eq!(halt.key, format!("{WABA}/{NEWLY_PAUSED_TEMPLATE}/en"));
    let second = dispatcher.send(request()).await;
    let message = dispatcher.until_accepted(&second.message_id).await;
    assert_eq!(message.attempts.len(), 1, "the platform is not asked again");
    // Another template goes.
    let other = in_template(text(ANA, "Hi"), TEMPLATE);
    let decision = dispatcher.decision(other).await;
    assert_eq!(decision.chosen_route(), v1::Route::Template);

    stage.record_template(NEWLY_PAUSED_TEMPLATE, true).await;
    until_none_stands(&dispatcher).await;
}

#[tokio::test]
async fn a_wait_that_the_platform_names_halts_its_number_and_no_other() {
    let stage = Stage::set().await;
    stage.platform.customer(Some(ANA_TOO), None, "Ana").unwrap();
    stage.writes(ANA).await;
    stage.writes(ANA_TOO).await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let dispatcher = stage.dispatcher().await;
    // Maintenance, about a minute.
    stage.platform.inject(fault(131_057));
    let sent = dispatcher.send(text(ANA, "one")).await;
    eventually("a halt", async || {
        let all = standing(&dispatcher, TOKEN).await;
        if all.len() == 1 {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await;
    let halt = the_halt(&dispatcher).await;
    let since = instant("since_time", halt.since_time.as_ref())
        .unwrap()
        .unwrap();
    let until = instant("until_time", halt.until_time.as_ref())
        .unwrap()
        .unwrap();
    assert!(until.duration_since(since) >= SignedDuration::from_secs(60));
    // SMS does not stand in for a minute.
    let next = dispatcher.send(text(ANA_TOO, "two")).await;
    let deferral = deferred(&dispatcher, &next).await;
    assert_eq!(deferral.cause, "NUMBER_HALTED");
    assert_eq!(deferral.until_time, halt.until_time);
    let other = dispatcher.send(silent(ANA, "three")).await;
    dispatcher.until_accepted(&other.message_id).await;
    let waits = dispatcher.try_get(&sent.message_id).await.unwrap();
    assert_eq!(waits.attempts.len(), 1, "{waits:#?}");
    assert_eq!(stage.taken(), ["three"]);
}

/// A halt of [`SILENT_NUMBER`] as the platform would have set it, to be probed since a while.
async fn halted_to_be_probed(stage: &Stage) -> v1::Halt {
    let past = stage.ago(SignedDuration::from_mins(1));
    let halt = Halt {
        target: Target::new(Scope::Number, digits(SILENT_NUMBER)),
        traffic: Traffic::Everything,
        channels: Channels::Whatsapp,
        may_go_elsewhere: false,
        cause: Cause::Code {
            code: 133_010,
            meaning: "not registered".to_owned(),
        },
        since: past,
        until: None,
        probe_at: Some(past),
        renewals: 0,
    };
    let details = Details {
        brand: "default".to_owned(),
        ..Details::default()
    };
    let halt = stored::stored(&halt, &details);
    let record = stored::halted(&halt, stage.now());
    stage.log.append(record, Expect::Anything).await.unwrap();
    halt
}

#[tokio::test]
async fn one_message_shows_that_a_halt_is_over() {
    let stage = Stage::set().await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let halt = halted_to_be_probed(&stage).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(silent(ANA, "Hi")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    until_none_stands(&dispatcher).await;
    let subject = subject::halt("NUMBER", &halt.halt_id);
    let last = stage.log.last(stream::ACCOUNTS, &subject).await.unwrap();
    let Ok(Event::SendsResumed(resumed)) = last.unwrap().event() else {
        panic!("not lifted")
    };
    assert_eq!(resumed.lift(), v1::HaltLift::CallAccepted);
}

#[tokio::test]
async fn one_message_shows_that_a_halt_is_not_over_and_all_wait_on() {
    let stage = Stage::set().await;
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    halted_to_be_probed(&stage).await;
    stage.platform.inject(fault(133_010));
    let dispatcher = stage.dispatcher().await;
    let first = dispatcher.send(silent(ANA, "one")).await;
    let second = dispatcher.send(silent(ANA, "two")).await;
    for sent in [&first, &second] {
        assert_eq!(deferred(&dispatcher, sent).await.cause, "NUMBER_HALTED");
    }
    let halt = the_halt(&dispatcher).await;
    assert_eq!(halt.renewals, 1);
    let probe = instant("probe_time", halt.probe_time.as_ref())
        .unwrap()
        .unwrap();
    assert!(
        probe > stage.now() + SignedDuration::from_mins(25),
        "{probe}"
    );
    assert_eq!(stage.calls().len(), 1, "one call showed it");
}

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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
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

#[tokio::test]
async fn nobody_pauses_what_is_not_theirs() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let brand = Asked::BrandId("default".to_owned());
    let foreign = Asked::Label(api::LabelTarget {
        brand_id: "default".to_owned(),
        key: "campaign".to_owned(),
        value: "spring".to_owned(),
    });
    for (token, target, code) in [
        ("token-other", number(NUMBER), Code::NotFound),
        ("token-other", brand, Code::NotFound),
        ("token-other", foreign, Code::NotFound),
        // The account has numbers of both brands.
        (
            "token-other",
            template(FOREIGN_TEMPLATE),
            Code::PermissionDenied,
        ),
        ("token-reader", number(NUMBER), Code::PermissionDenied),
        (
            "token-all",
            label("campaign", "spring"),
            Code::InvalidArgument,
        ),
        ("token-all", number("nonsense"), Code::InvalidArgument),
    ] {
        let refused = try_pause(&dispatcher, token, target.clone(), None).await;
        assert_eq!(refused.unwrap_err().code(), code, "{token} {target:?}");
    }
    let past = stage.ago(SignedDuration::from_secs(1));
    let refused = try_pause(&dispatcher, TOKEN, number(NUMBER), Some(past)).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(standing(&dispatcher, "token-all").await, []);
    // A pause of the other brand is none of ours.
    let theirs = try_pause(
        &dispatcher,
        "token-other",
        number(crate::stage::OTHER_NUMBER),
        None,
    );
    let halt = theirs.await.unwrap().halt.unwrap().halt.unwrap();
    assert_eq!(standing(&dispatcher, TOKEN).await, []);
    let refused = try_resume(&dispatcher, TOKEN, What::HaltId(halt.halt_id)).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}
