//! What customers say about what they allow becomes consent, once, and whatever goes wrong.

use std::time::Duration;

use casement_domain::id::PortfolioId;
use casement_event::subject::{self, stream};
use casement_event::{Event, Stored, v1};
use casement_event_log::consent::{self, Known};
use casement_shell::SystemClock;
use casement_testkit::eventually;
use serde_json::json;

use crate::sms::{from_vonage, start};
use crate::stage::{ONE, PORTFOLIO, Stage, at, from_twilio, one_text, text, types, value, webhook};

const CUSTOMER: &str = "+15550009999";

fn texted<'a>(sid: &'a str, body: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("MessageSid", sid),
        ("From", CUSTOMER),
        ("To", "+15550001111"),
        ("Body", body),
        ("AccountSid", "AC1"),
    ]
}

async fn take_sms(stage: &Stage, pairs: &[(&str, &str)]) {
    let request = from_twilio("/webhooks/twilio", pairs);
    assert_eq!(stage.send(request).await.0, 200);
    stage.settled().await;
}

/// What the customer of an inbound fact allows.
async fn allowed(stage: &Stage, fact: &Stored) -> Known {
    let (_, _, customer) = subject::parse_conversation(&fact.subject).unwrap();
    let portfolio = PortfolioId::parse(PORTFOLIO).unwrap();
    consent::read(&stage.log, &portfolio, &customer)
        .await
        .unwrap()
}

async fn records(stage: &Stage) -> Vec<Stored> {
    stage
        .all(stream::CUSTOMERS, "casement.customers.consent.")
        .await
}

fn keyword(fact: &Stored) -> v1::SmsKeyword {
    match fact.event().unwrap() {
        Event::InboundSmsReceived(sms) => sms.keyword(),
        other => panic!("{}", other.event_type()),
    }
}

#[tokio::test]
async fn stop_and_start_by_sms_become_consent_of_the_same_customer() {
    let stage = Stage::start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    let refuses = async |stage: &Stage| {
        let facts = stage.inbound(ONE.0).await;
        allowed(stage, facts.last().unwrap()).await.refusals().sms
    };
    for (sid, body, expected, is_refused) in [
        (
            "SM1",
            "please stop calling",
            v1::SmsKeyword::Unspecified,
            false,
        ),
        ("SM2", " Stop! ", v1::SmsKeyword::Stop, true),
        ("SM3", "HELP", v1::SmsKeyword::Help, true),
        ("SM4", "unstop", v1::SmsKeyword::Start, false),
        ("SM5", "ARRÊT", v1::SmsKeyword::Stop, true),
    ] {
        take_sms(&stage, &texted(sid, body)).await;
        let facts = stage.inbound(ONE.0).await;
        assert_eq!(keyword(facts.last().unwrap()), expected, "{body}");
        assert_eq!(refuses(&stage).await, is_refused, "{body}");
    }
    let records = records(&stage).await;
    assert_eq!(
        records.len(),
        3,
        "only STOP, START and STOP again say something"
    );
    let Ok(Event::ConsentRecorded(event)) = records[0].event() else {
        panic!("{}", records[0].event_type())
    };
    let said = &event.consents[0];
    assert_eq!(
        (
            said.provenance.as_str(),
            said.wording.as_str(),
            said.allowed
        ),
        ("SMS_KEYWORD", "Stop!", false)
    );
    assert_eq!(said.provider_message_hash, consent::cause("SM2"));
    assert_eq!(records[0].header("ce-source"), Some("casement/ingress"));
    let told = format!("{} {:?}", records[0].subject, records[0].headers);
    assert!(!told.contains("15550009999"), "{told}");
    assert!(records[0].header("traceparent").is_some());
}

#[tokio::test]
async fn twilios_own_reading_goes_before_ours_and_a_late_repeat_takes_nothing_back() {
    let stage = Stage::start().await;
    let mut no_more = texted("SM1", "no more of this");
    no_more.push(("OptOutType", "STOP"));
    take_sms(&stage, &no_more).await;
    let facts = stage.inbound(ONE.0).await;
    let known = allowed(&stage, &facts[0]).await;
    assert!(known.refusals().sms);
    let (_, choice) = known.consent.choices().next().unwrap();
    assert_eq!(choice.provenance.source, "PROVIDER_OPT_OUT");

    take_sms(&stage, &texted("SM2", "START")).await;
    assert!(!allowed(&stage, &facts[0]).await.refusals().sms);
    // Twilio tells no times, and repeats what it got no answer to.
    take_sms(&stage, &no_more).await;
    assert!(!allowed(&stage, &facts[0]).await.refusals().sms);
    assert_eq!(records(&stage).await.len(), 2);
    assert_eq!(stage.inbound(ONE.0).await.len(), 2);
}

#[tokio::test]
async fn a_stop_by_any_gateway_counts_for_every_number_of_the_portfolio() {
    let stage = start().await;
    let stop = json!({"channel": "sms", "message_uuid": "v1", "from": "15550009999",
        "to": "15550002222", "timestamp": "2026-11-22T10:00:00Z", "message_type": "text",
        "text": "STOP"});
    assert_eq!(
        stage.send(from_vonage("/webhooks/vonage", &stop)).await.0,
        200
    );
    stage.settled().await;
    // The customer writes to another number on WhatsApp: one customer, one consent.
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    let known = allowed(&stage, &stage.inbound(ONE.0).await[0]).await;
    assert!(known.refusals().sms && !known.refusals().marketing);
    let (_, choice) = known.consent.choices().next().unwrap();
    assert_eq!(choice.at, "2026-11-22T10:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn a_stop_to_a_sender_that_only_the_configuration_names_counts() {
    let mut config = crate::sms::config();
    config.sms = serde_json::from_value(json!({ "numbers": { "15550001111": { "senders": {
        "49": [{ "gateway": "spare", "sender": "+49305550100" }],
    } } } }))
    .unwrap();
    let stage = Stage::start_as(config, SystemClock::shared(), Duration::from_secs(10)).await;
    let stop = |id: &str, to: &str| {
        json!({"channel": "sms", "message_uuid": id, "from": "15550009999", "to": to,
            "timestamp": "2026-11-22T10:00:00Z", "message_type": "text", "text": "STOP"})
    };
    // Nobody's is kept aside; the configured one is a word to that number.
    for (id, to, known) in [("v1", "49305550199", 0), ("v2", "49305550100", 1)] {
        let request = from_vonage("/webhooks/vonage", &stop(id, to));
        assert_eq!(stage.send(request).await.0, 200);
        stage.settled().await;
        assert_eq!(stage.inbound(ONE.0).await.len(), known, "{to}");
    }
    let facts = stage.inbound(ONE.0).await;
    assert!(allowed(&stage, &facts[0]).await.refusals().sms);
}

#[tokio::test]
async fn a_choice_on_whatsapp_stops_marketing_until_it_is_resumed_in_whatever_order() {
    let stage = Stage::start().await;
    let chose = |word: &str, category: &str, second: i64| {
        let preference = json!([{"wa_id": "15550009999", "user_id": "US.1", "category": category,
            "value": word, "timestamp": at(second).as_second()}]);
        webhook(&[(
            "user_preferences",
            value(ONE, "user_preferences", preference),
        )])
    };
    let refuses = async || {
        let facts = stage.inbound(ONE.0).await;
        allowed(&stage, &facts[0]).await.refusals().marketing
    };
    let marketing = "marketing_messages";
    stage.take(&chose("stop", marketing, 10)).await;
    assert!(refuses().await);
    stage.take(&chose("resume", marketing, 20)).await;
    assert!(!refuses().await);
    // What comes late or again changes nothing, nor does what nobody knows.
    for (word, category, second) in [
        ("stop", marketing, 10),
        ("stop", marketing, 15),
        ("signup", marketing, 30),
        ("stop", "newsletters", 30),
    ] {
        stage.take(&chose(word, category, second)).await;
        assert!(!refuses().await, "{word} {category} {second}");
    }
    // The stop at 15 is new in the ledger, and was taken back before it was heard of.
    assert_eq!(records(&stage).await.len(), 3);
    let stored = stage.inbound(ONE.0).await;
    assert!(
        types(&stored)
            .iter()
            .all(|name| *name == "CustomerPreferenceReported")
    );
    stage.take(&chose("stop", marketing, 20)).await;
    assert!(refuses().await, "at the same time the refusal counts");
}

#[tokio::test]
async fn a_stop_survives_the_merge_of_two_customers() {
    let stage = Stage::start().await;
    // One is known by a user id, the other by a phone that says STOP.
    stage
        .take(&one_text(ONE, &text("wamid.1", "", "US.1", 0)))
        .await;
    take_sms(&stage, &texted("SM1", "STOP")).await;
    stage
        .take(&one_text(ONE, &text("wamid.2", "15550009999", "US.1", 5)))
        .await;
    let facts = stage.inbound(ONE.0).await;
    let survivor = facts
        .iter()
        .find(|one| one.event_type().ends_with("CustomerMerged"));
    let survivor = survivor.expect("the phone proved them to be one");
    assert!(allowed(&stage, survivor).await.refusals().sms);
}

#[tokio::test]
async fn a_broker_that_dies_in_between_loses_no_stop() {
    let mut stage = Stage::start().await;
    for round in 0..6 {
        let (sid, phone) = (format!("SM{round}"), format!("+1555000{round:04}"));
        let mut pairs = texted(&sid, "STOP");
        pairs[1] = ("From", &phone);
        let request = from_twilio("/webhooks/twilio", &pairs);
        assert_eq!(stage.send(request).await.0, 200);
        if round % 2 == 0 {
            stage.nats.restart().await;
            eventually("the broker answers", async || stage.log.state("RAW").await).await;
        }
    }
    stage.settled().await;
    let facts = stage.inbound(ONE.0).await;
    assert_eq!(facts.len(), 6, "each message once");
    for fact in &facts {
        assert!(
            allowed(&stage, fact).await.refusals().sms,
            "{}",
            fact.subject
        );
    }
    assert_eq!(records(&stage).await.len(), 6, "each word once");
}

#[tokio::test]
async fn a_word_that_is_a_whole_whatsapp_message_stops_marketing_and_no_other_does() {
    let stage = Stage::start().await;
    let says = |wamid: &str, body: &str, second: i64| {
        let mut message = text(wamid, "15550009999", "US.1", second);
        message["text"]["body"] = json!(body);
        one_text(ONE, &message)
    };
    for (wamid, body, second, is_stopped) in [
        ("wamid.1", "please stop by tomorrow", 1, false),
        ("wamid.2", "Yes", 2, false),
        ("wamid.3", "Stop!", 3, true),
        // An answer to a question, which takes nothing back.
        ("wamid.4", "yes", 4, true),
        ("wamid.5", "UNSTOP", 5, false),
        ("wamid.6", "Abbestellen", 6, true),
    ] {
        stage.take(&says(wamid, body, second)).await;
        let facts = stage.inbound(ONE.0).await;
        let known = allowed(&stage, facts.last().unwrap()).await;
        assert_eq!(known.refusals().marketing, is_stopped, "{body}");
        assert!(!known.refusals().sms, "{body}");
    }
    // Posted again, the first one takes nothing back.
    stage.take(&says("wamid.5", "UNSTOP", 5)).await;
    let records = records(&stage).await;
    assert_eq!(records.len(), 3);
    let Ok(Event::ConsentRecorded(event)) = records[0].event() else {
        panic!("{}", records[0].event_type())
    };
    let said = &event.changes[0];
    assert_eq!(said.provenance, "WHATSAPP_KEYWORD");
    assert_eq!(said.provider_message_hash, consent::cause("wamid.3"));
}
