//! Halts of SMS gateways: an account that is refused or has no money stops nobody but itself.

use casement_domain::halt::{Cause, Channels, Halt, Scope, Target, Traffic};
use casement_event::convert::halt::{self as stored, Details};
use casement_event::subject::{self, stream};
use casement_event::{Event, v1};
use casement_event_log::Expect;
use casement_proto::message::v1::resume_sends_request::What;
use casement_simulator::{Channel, Fault, FaultSpec};
use casement_testkit::eventually;
use jiff::SignedDuration;

use super::{TOKEN, deferred, standing, the_halt, try_resume, until_none_stands};
use crate::gateways::{EVA, IAN, asked, dispatcher, report};
use crate::stage::{ANA, Dispatcher, Stage, sms};

fn refused_with(code: i64) -> FaultSpec {
    let fault = FaultSpec::from(Fault::GraphError { code });
    fault.on(Channel::Sms).times(1)
}

/// Sends an SMS and tells through which gateways it went.
async fn by(dispatcher: &Dispatcher, to: &str) -> Vec<String> {
    let sent = dispatcher.send(sms(to, "Hi")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let asked = asked(&message).into_iter();
    asked.map(|(gateway, _)| gateway.to_owned()).collect()
}

async fn until_one_stands(dispatcher: &Dispatcher) -> v1::Halt {
    eventually("a halt stands", async || {
        let all = standing(dispatcher, TOKEN).await;
        (all.len() == 1).then_some(()).ok_or(format!("{all:?}"))
    })
    .await;
    the_halt(dispatcher).await
}

/// A halt of the gateway `main` that is to be probed since a while.
async fn halted_to_be_probed(stage: &Stage) -> v1::Halt {
    let past = stage.ago(SignedDuration::from_mins(1));
    let halt = Halt {
        target: Target::new(Scope::Gateway, "main"),
        traffic: Traffic::Everything,
        channels: Channels::Every,
        may_go_elsewhere: true,
        cause: Cause::Code {
            code: 30_002,
            meaning: "account is suspended".to_owned(),
        },
        since: past,
        until: None,
        probe_at: Some(past),
        renewals: 0,
    };
    let token = std::fs::read_to_string(stage.folder.path().join("twilio"));
    let token = token.expect("a file");
    let details = Details {
        brand: "default".to_owned(),
        // Those that are in use: no others lift it.
        token_fingerprint: fingerprint(&token),
        ..Details::default()
    };
    let halt = stored::stored(&halt, &details);
    let record = stored::halted(&halt, stage.now());
    let appended = stage.log.append(record, Expect::Anything).await;
    appended.expect("an append");
    halt
}

/// The first digits of a hash, as halts have them.
fn fingerprint(token: &str) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(token);
    let head = hash.first_chunk::<8>().expect("it has 32");
    format!("{:016x}", u64::from_be_bytes(*head))
}

#[tokio::test]
async fn a_gateway_whose_account_is_refused_is_asked_no_more_and_the_others_go_on() {
    let stage = Stage::set().await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    stage.platform.inject(refused_with(20_003));
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(asked(&message), [("main", 20_003), ("spare", 0)]);
    let halt = the_halt(&dispatcher).await;
    assert_eq!(
        (halt.scope(), halt.key.as_str()),
        (v1::HaltScope::Gateway, "main")
    );
    assert_eq!((&halt.message_id, halt.attempt), (&sent.message_id, 1));
    assert!(halt.probe_time.is_some(), "{halt:?}");
    assert!(!halt.token_fingerprint.is_empty());

    assert_eq!(by(&dispatcher, ANA).await, ["spare"]);
    assert_eq!(by(&dispatcher, EVA).await, ["acme"]);
    assert_eq!(by(&dispatcher, IAN).await, ["number"]);
    let decision = dispatcher.decision(sms(ANA, "Hi")).await;
    assert_eq!(decision.sms_gateways, ["spare"]);
}

#[tokio::test]
async fn who_has_no_other_gateway_waits_and_goes_once_somebody_resumes() {
    let stage = Stage::set().await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    stage.platform.inject(refused_with(20_005));
    // The account in the number's own record.
    let first = dispatcher.send(sms(IAN, "one")).await;
    let deferral = deferred(&dispatcher, &first).await;
    let halt = the_halt(&dispatcher).await;
    assert_eq!(
        (deferral.cause.as_str(), &deferral.halt_id),
        ("GATEWAY_HALTED", &halt.halt_id)
    );
    assert!(halt.key.starts_with("number/AC"), "{}", halt.key);
    let second = dispatcher.send(sms(IAN, "two")).await;
    deferred(&dispatcher, &second).await;
    assert_eq!(by(&dispatcher, ANA).await, ["main"]);
    let decision = dispatcher.decision(sms(IAN, "Hi")).await;
    let verdict = decision.candidates.iter();
    let mut verdict = verdict.filter(|one| one.route() == v1::Route::Sms);
    let verdict = verdict.next().unwrap();
    assert_eq!(verdict.reason, "HALTED");
    assert_eq!(
        verdict.text,
        "Sending is halted for the SMS gateway since error 20005: account is not active."
    );

    // Others have the same account.
    let lift = What::HaltId(halt.halt_id);
    let lifted = try_resume(&dispatcher, "token-all", lift).await.unwrap();
    assert_eq!(lifted.halts.len(), 1);
    for sent in [first, second] {
        dispatcher.until_accepted(&sent.message_id).await;
    }
}

#[tokio::test]
async fn other_credentials_lift_the_halt_of_a_gateway() {
    let stage = Stage::set().await;
    let file = stage.folder.path().join("twilio");
    let right = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "old-token").unwrap();
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    assert_eq!(by(&dispatcher, ANA).await, ["main", "spare"]);
    let halt = the_halt(&dispatcher).await;
    assert!(!format!("{halt:?}").contains("old-token"), "{halt:?}");
    std::fs::write(&file, right).unwrap();
    until_none_stands(&dispatcher).await;
    assert_eq!(by(&dispatcher, ANA).await, ["main"]);
}

#[tokio::test]
async fn credentials_that_cannot_be_read_halt_their_gateway_until_they_can() {
    let stage = Stage::set().await;
    let file = stage.folder.path().join("twilio");
    let right = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    assert_eq!(by(&dispatcher, ANA).await, ["main", "spare"]);
    let waits = dispatcher.send(sms(IAN, "Hi")).await;
    assert_eq!(deferred(&dispatcher, &waits).await.cause, "GATEWAY_HALTED");
    std::fs::write(&file, right).unwrap();
    dispatcher.until_accepted(&waits.message_id).await;
    until_none_stands(&dispatcher).await;
}

#[tokio::test]
async fn one_sms_shows_that_a_gateway_is_back_although_another_would_do() {
    let stage = Stage::set().await;
    let halt = halted_to_be_probed(&stage).await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    assert_eq!(by(&dispatcher, ANA).await, ["main"]);
    until_none_stands(&dispatcher).await;
    let subject = subject::halt("GATEWAY", &halt.halt_id);
    let last = stage.log.last(stream::ACCOUNTS, &subject).await.unwrap();
    let Ok(Event::SendsResumed(resumed)) = last.unwrap().event() else {
        panic!("not lifted")
    };
    assert_eq!(resumed.lift(), v1::HaltLift::CallAccepted);
}

#[tokio::test]
async fn one_sms_shows_that_a_gateway_is_not_back_and_goes_by_another() {
    let stage = Stage::set().await;
    halted_to_be_probed(&stage).await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    // Another reason by now: it is the same halt.
    stage.platform.inject(refused_with(20_003));
    assert_eq!(by(&dispatcher, ANA).await, ["main", "spare"]);
    let halt = the_halt(&dispatcher).await;
    assert_eq!((halt.renewals, halt.error.unwrap().code), (1, 20_003));
    assert_eq!(by(&dispatcher, ANA).await, ["spare"]);
}

#[tokio::test]
async fn a_gateway_that_reports_its_account_suspended_is_halted_too() {
    let stage = Stage::set().await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    report(&stage, &sent.message_id, 1, "twilio", Err(30_002)).await;
    let halt = until_one_stands(&dispatcher).await;
    assert_eq!(halt.key, "main");
    let message = dispatcher.until(&sent.message_id, "accepted again", |message| {
        asked(message).len() == 2 && message.outcome() == v1::MessageOutcome::Unspecified
    });
    assert_eq!(asked(&message.await), [("main", 30_002), ("spare", 0)]);
}
