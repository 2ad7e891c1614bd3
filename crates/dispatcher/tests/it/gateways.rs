//! Several SMS gateways: who is asked, who is asked next, and who never is.

use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::{
    Channel, Fault, FaultSpec, GENERIC_PATH, TwilioConfig, VONAGE_PRIVATE_KEY, VonageConfig,
};
use casement_sms::config::Config as SmsConfig;
use casement_testkit::free_port;
use jiff::SignedDuration;
use serde_json::json;

use crate::stage::{ANA, Dispatcher, NUMBER, SILENT_NUMBER, SMS_SENDER, Stage, sms};

/// A customer in Germany, and one in the United Kingdom.
pub(crate) const EVA: &str = "+4915112345678";
pub(crate) const IAN: &str = "+447700900123";
const SPARE_SENDER: &str = "+15550008888";

/// Twilio at an address, then Vonage, for North America; a gateway of no name for Germany.
fn gateways(stage: &Stage, main_url: &str) -> SmsConfig {
    let key = stage.folder.path().join("vonage");
    std::fs::write(&key, VONAGE_PRIVATE_KEY).expect("a file");
    let auth_token = stage.folder.path().join("twilio");
    let config = json!({
        "gateways": {
            "main": {
                "kind": "twilio",
                "account_sid": TwilioConfig::default().account_sid,
                "auth_token": { "file": auth_token },
                "url": main_url,
            },
            "spare": {
                "kind": "vonage",
                "application_id": VonageConfig::default().application_id,
                "private_key": { "file": key },
                "url": stage.platform_url,
            },
            "acme": {
                "kind": "generic",
                "url": format!("{}{GENERIC_PATH}", stage.platform_url),
                "headers": { "x-api-key": "demo-gateway-key" },
                "body": json!({
                    "recipient": "{{to}}",
                    "originator": "{{from}}",
                    "content": "{{text}}",
                    "ref": "{{reference}}",
                }).to_string(),
                "id": "/result/id",
                "error_code": "/fault/code",
                "codes": { "unreachable": [11] },
            },
        },
        "senders": {
            "1": [
                { "gateway": "main", "sender": SMS_SENDER },
                { "gateway": "spare", "sender": SPARE_SENDER },
            ],
            "49": [{ "gateway": "acme", "sender": "ACME" }],
        },
    });
    serde_json::from_value(config).expect("a configuration")
}

pub(crate) async fn dispatcher(stage: &Stage, main_url: &str) -> Dispatcher {
    let sms = gateways(stage, main_url);
    stage.dispatcher_with(|config| config.sms = sms).await
}

/// Which gateways were asked, each with the code of its refusal.
pub(crate) fn asked(message: &api::Message) -> Vec<(&str, i64)> {
    let attempts = message.attempts.iter();
    attempts
        .map(|attempt| {
            let code = attempt.error.as_ref().map(|error| error.code);
            (attempt.sms_gateway.as_str(), code.unwrap_or_default())
        })
        .collect()
}

#[tokio::test]
async fn when_the_first_gateway_is_away_the_second_carries_it_once() {
    let stage = Stage::set().await;
    let away = format!("http://127.0.0.1:{}", free_port());
    let dispatcher = dispatcher(&stage, &away).await;
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(asked(&message), [("main", 0), ("spare", 0)]);
    let calls = stage.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].channel, Channel::Vonage);
    assert_eq!(calls[0].from, SPARE_SENDER.trim_start_matches('+'));
    let reference = format!("{}.2", sent.message_id);
    assert_eq!(calls[0].callback_data, Some(reference));
    // The claims say whom they are for, and who else there was.
    let life = stage.life(&sent.message_id).await;
    let claims: Vec<(&str, &[String])> = life
        .iter()
        .filter_map(|event| match event {
            Event::AttemptStarted(started) => Some((
                started.sms_gateway.as_str(),
                started.other_sms_gateways.as_slice(),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        claims,
        [("main", &["spare".to_owned()][..]), ("spare", &[])]
    );
}

#[tokio::test]
async fn a_gateway_that_cannot_is_passed_over_and_what_is_said_of_the_customer_is_not() {
    for (code, expected) in [
        // Its account, its load, its routes.
        (20_003, vec![("main", 20_003), ("spare", 0)]),
        (20_429, vec![("main", 20_429), ("spare", 0)]),
        (21_612, vec![("main", 21_612), ("spare", 0)]),
        // The customer has stopped; nobody goes around that.
        (21_610, vec![("main", 21_610)]),
        // The carrier took it for spam.
        (30_007, vec![("main", 30_007)]),
    ] {
        let stage = Stage::set().await;
        let dispatcher = dispatcher(&stage, &stage.platform_url).await;
        let fault = FaultSpec::from(Fault::GraphError { code });
        stage.platform.inject(fault.on(Channel::Sms).times(1));
        let sent = dispatcher.send(sms(ANA, "Hi")).await;
        let message = dispatcher
            .until(&sent.message_id, "accepted or over", |message| {
                message.state() == api::MessageState::Accepted || message.end_time.is_some()
            })
            .await;
        assert_eq!(asked(&message), expected, "{code}");
        let is_over = message.end_time.is_some();
        assert_eq!(is_over, expected.len() == 1, "{code}");
    }
}

#[tokio::test]
async fn what_a_gateway_may_have_taken_is_never_given_to_another() {
    let stage = Stage::set().await;
    let sms_config = gateways(&stage, &stage.platform_url);
    let dispatcher = stage
        .dispatcher_with(|config| {
            config.sms = sms_config;
            config.call_timeout = SignedDuration::from_millis(300);
            config.reconcile_after = SignedDuration::from_millis(300);
        })
        .await;
    let fault = FaultSpec::from(Fault::TimeoutAfterAcceptance);
    stage.platform.inject(fault.on(Channel::Sms).times(1));
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Unknown);
    assert_eq!(asked(&message), [("main", 0)]);
    assert_eq!(stage.taken(), ["Hi"], "it went out once");
}

#[tokio::test]
async fn the_country_decides_and_one_without_a_sender_is_a_reason_of_its_own() {
    let stage = Stage::set().await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    let text = "Grüße, it’s ready";
    let of_sms = |decision: &v1::Decision| {
        let mut candidates = decision.candidates.iter();
        let found = candidates.find(|one| one.route() == v1::Route::Sms);
        found.expect("a verdict").reason.clone()
    };
    let ask = |number: &str, to: &str| api::SendMessageRequest {
        number: number.to_owned(),
        ..sms(to, text)
    };
    for (number, to, reason, gateways, code) in [
        (NUMBER, ANA, "SMS_POSSIBLE", &["main", "spare"][..], "1"),
        (NUMBER, EVA, "SMS_POSSIBLE", &["acme"], "49"),
        // The number's own account, where no row says otherwise.
        (NUMBER, IAN, "SMS_POSSIBLE", &["number"], "44"),
        (SILENT_NUMBER, EVA, "SMS_POSSIBLE", &["acme"], "49"),
        (SILENT_NUMBER, IAN, "NO_SMS_SENDER_FOR_COUNTRY", &[], "44"),
    ] {
        let decision = dispatcher.decision(ask(number, to)).await;
        assert_eq!(of_sms(&decision), reason, "{number} {to}");
        assert_eq!(decision.sms_gateways, gateways, "{number} {to}");
        // What it will cost is asked by these two.
        assert_eq!(decision.sms_calling_code, code);
        assert_eq!(decision.sms_segments, 1);
        assert_eq!(
            (decision.sms_encoding.as_str(), decision.sms_units),
            ("UCS-2", 17)
        );
    }
    let refused = dispatcher.try_send(ask(SILENT_NUMBER, IAN)).await;
    let told = refused.expect_err("no route").message().to_owned();
    assert!(
        told.contains("no SMS sender for the customer's country"),
        "{told}"
    );

    let sent = dispatcher.send(ask(NUMBER, EVA)).await;
    dispatcher.until_accepted(&sent.message_id).await;
    let calls = stage.calls();
    assert_eq!(
        (calls[0].channel, calls[0].from.as_str()),
        (Channel::Generic, "ACME")
    );
    assert_eq!(calls[0].text, text);
    assert_eq!(
        calls[0].callback_data,
        Some(format!("{}.1", sent.message_id))
    );
}

#[tokio::test]
async fn reports_of_every_gateway_climb_the_same_lattice() {
    let stage = Stage::set().await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    for (to, provider, delivered) in [
        (ANA, "twilio", v1::DeliveryStatus::Delivered),
        (EVA, "acme", v1::DeliveryStatus::Delivered),
    ] {
        let sent = dispatcher.send(sms(to, "Hi")).await;
        dispatcher.until_accepted(&sent.message_id).await;
        report(&stage, &sent.message_id, 1, provider, Ok(delivered)).await;
        let late = Ok(v1::DeliveryStatus::Sent);
        report(&stage, &sent.message_id, 1, provider, late).await;
        let message = dispatcher.until_ended(&sent.message_id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
        assert_eq!(message.delivery_status(), v1::DeliveryStatus::Delivered);
    }
}

#[tokio::test]
async fn a_phone_that_no_sms_reaches_is_an_outcome_of_its_own() {
    for (to, provider, code) in [
        (ANA, "twilio", 30_005),
        (ANA, "twilio", 30_006),
        (ANA, "vonage", 1_190),
        (EVA, "acme", 11),
    ] {
        let stage = Stage::set().await;
        let dispatcher = dispatcher(&stage, &stage.platform_url).await;
        let sent = dispatcher.send(sms(to, "Hi")).await;
        dispatcher.until_accepted(&sent.message_id).await;
        report(&stage, &sent.message_id, 1, provider, Err(code)).await;
        let message = dispatcher.until_ended(&sent.message_id).await;
        assert_eq!(
            message.outcome(),
            v1::MessageOutcome::UnreachableBySms,
            "{provider} {code}"
        );
        assert_eq!(message.outcome_reason, "PHONE_TAKES_NO_SMS");
        assert_eq!(message.attempts.len(), 1, "no other gateway is asked");
    }
}

#[tokio::test]
async fn a_handset_that_is_away_is_tried_once_more_by_another_gateway() {
    let stage = Stage::set().await;
    let dispatcher = dispatcher(&stage, &stage.platform_url).await;
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    report(&stage, &sent.message_id, 1, "twilio", Err(30_003)).await;
    stage.until_called(2).await;
    let second = dispatcher.until(&sent.message_id, "accepted again", |message| {
        message.attempts.len() == 2 && message.state() == api::MessageState::Accepted
    });
    assert_eq!(asked(&second.await), [("main", 30_003), ("spare", 0)]);
    report(&stage, &sent.message_id, 2, "vonage", Err(1_180)).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::UnreachableBySms);
    assert_eq!(message.attempts.len(), 2);
}

pub(crate) async fn report(
    stage: &Stage,
    message_id: &str,
    attempt: u32,
    provider: &str,
    said: Result<v1::DeliveryStatus, i64>,
) {
    let report = v1::StatusReported {
        channel: v1::Channel::Sms.into(),
        sms_provider: provider.to_owned(),
        ..stage.status_report(message_id, attempt, said)
    };
    stage.append_report(message_id, report).await;
}
