//! Gateways that can be told, and those that can not.

use super::*;

const ACME: &str = r#"{"secrets": ["s"], "header": "X-Acme-Signature",
    "status": {"id": "/id", "status": "/state"},
    "inbound": {"id": "/id", "from": "/from", "to": "/to", "text": "/text"},
    "words": {"delivered": ["DELIVRD"], "failed": ["UNDELIV"]}}"#;

fn acme(change: impl FnOnce(&mut GenericSms)) -> BTreeMap<String, GenericSms> {
    let mut acme: GenericSms = serde_json::from_str(ACME).unwrap();
    change(&mut acme);
    BTreeMap::from([("acme".to_owned(), acme)])
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "where secrets are fetched, it may fail"
)]
fn fetch(_: &str, secrets: &[Secret]) -> Result<Vec<SecretString>, ConfigError> {
    Ok(secrets
        .iter()
        .filter_map(|secret| secret.resolve().ok())
        .collect())
}

#[test]
fn a_gateway_is_told_in_a_few_lines() {
    let all = acme(|_| {});
    let keys = keys(&Vonage::default(), &all, fetch).unwrap();
    let signing = &keys.generic["acme"];
    assert_eq!(signing.header, "x-acme-signature");
    assert_eq!(signing.secrets.len(), 1);
    assert!(signing.stamp.is_none());
    let layout = &layouts(&all).unwrap()["acme"];
    assert_eq!(layout.words["delivrd"], Delivery::Delivered);
    assert_eq!(layout.report.as_ref().unwrap().status, "/state");

    let timed = acme(|acme| acme.timestamp_header = Some("X-Time".to_owned()));
    let keys = super::keys(&Vonage::default(), &timed, fetch).unwrap();
    let stamp = keys.generic["acme"].stamp.clone().unwrap();
    assert_eq!(
        (stamp.header.as_str(), stamp.separator.as_str()),
        ("x-time", ".")
    );
    assert_eq!(stamp.tolerance, SignedDuration::from_mins(5));
}

#[test]
fn what_could_never_be_read_is_refused_by_name() {
    for (all, named) in [
        (acme(|acme| acme.header.clear()), "`header`"),
        (
            acme(|acme| acme.tolerance = SignedDuration::ZERO),
            "`tolerance`",
        ),
        (
            acme(|acme| (acme.status, acme.inbound) = (None, None)),
            "neither `status` nor `inbound`",
        ),
        (
            acme(|acme| acme.status.as_mut().unwrap().id.clear()),
            "`status.id` is needed",
        ),
        (
            acme(|acme| acme.inbound.as_mut().unwrap().text = "text".to_owned()),
            "`inbound.text` is no JSON pointer",
        ),
        (
            acme(|acme| acme.words.sent = vec!["delivrd".to_owned()]),
            "`DELIVRD` stands for two things",
        ),
    ] {
        let error = layouts(&all).unwrap_err().to_string();
        assert!(
            error.contains("ingress.generic_sms.acme") && error.contains(named),
            "{error}"
        );
    }
    for name in [
        "",
        "Acme",
        "a.b",
        "twilio",
        "vonage",
        "whatsapp",
        "a b",
        &"x".repeat(33),
    ] {
        let gateway = acme(|_| {}).remove("acme").unwrap();
        let all = BTreeMap::from([(name.to_owned(), gateway)]);
        assert!(layouts(&all).is_err(), "{name}");
    }
    let unknown = ACME.replace("\"header\"", "\"colour\": 1, \"header\"");
    assert!(serde_json::from_str::<GenericSms>(&unknown).is_err());
    let never = Vonage {
        tolerance: SignedDuration::ZERO,
        ..Vonage::default()
    };
    assert!(super::keys(&never, &BTreeMap::new(), fetch).is_err());
}
