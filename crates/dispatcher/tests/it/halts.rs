//! Halts: who waits, who goes another way, what is told, and what ends them. Here those by hand.

mod gateways;
mod outcomes;
mod platform;

use casement_event::convert::halt as stored;
use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use casement_event_log::Expect;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::halt_target::Target as Asked;
use casement_proto::message::v1::resume_sends_request::What;
use casement_simulator::{Fault, FaultSpec};
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Status};

use crate::stage::{
    ANA, BEA, Dispatcher, FOREIGN_TEMPLATE, NUMBER, SILENT_NUMBER, Stage, TEMPLATE, WABA,
    in_template, text, with_token,
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
