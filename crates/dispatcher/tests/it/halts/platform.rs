//! Halts that the platform's own errors set, and the facts that end them.

use casement_domain::halt::{Cause, Channels, Halt, Scope, Target, Traffic};
use casement_event::convert::halt::{self as stored, Details};
use casement_event::convert::instant;
use casement_event::subject::{self, stream};
use casement_event::{Event, v1};
use casement_event_log::Expect;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::resume_sends_request::What;
use casement_simulator::Channel;
use casement_testkit::eventually;
use jiff::SignedDuration;
use tonic::Code;

use super::{
    ANA_TOO, TOKEN, deferred, fault, silent, standing, the_halt, try_resume, until_none_stands,
};
use crate::stage::{
    ANA, NEWLY_PAUSED_TEMPLATE, SILENT_NUMBER, Stage, TEMPLATE, WABA, digits, in_template, text,
};

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
    let appended = stage.log.append(record, Expect::Anything).await;
    appended.expect("an append");
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
