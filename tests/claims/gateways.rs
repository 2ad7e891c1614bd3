//! SMS through several gateways: each country has its own, and one that is away is stood in for.

use std::fs;

use casement_event::v1;
use casement_simulator::{Channel, GENERIC_PATH, VONAGE_PRIVATE_KEY, VonageConfig};
use casement_testkit::free_port;
use casement_tests::{Options, Role, Stack};

const AMERICAN: &str = "+15550002222";
const GERMAN: &str = "+4915112345678";
const SPARE_SENDER: &str = "+15550008888";

/// Twilio, which is away, and Vonage behind it for North America; another gateway for Germany.
async fn stack() -> Stack {
    let mut stack = Stack::without_roles(&Options::default()).await;
    let key = stack.path("vonage.pem");
    fs::write(&key, VONAGE_PRIVATE_KEY).expect("the key is written");
    let vonage = VonageConfig::default();
    let signature_secret = "demo-vonage-signature-secret";
    let section = format!(
        r#"
[sms.gateways.main]
kind = "twilio"
account_sid = "AC1"
auth_token = "token-of-the-main-gateway"
url = "http://127.0.0.1:{away}"
[sms.gateways.spare]
kind = "vonage"
application_id = "{application}"
private_key = {{ file = "{key}" }}
url = "{simulator}"
callback_url = "{webhooks}/webhooks/vonage"
[sms.gateways.acme]
kind = "generic"
url = "{simulator}{GENERIC_PATH}"
headers = {{ x-api-key = "demo-gateway-key" }}
idempotency_header = "Idempotency-Key"
format = "form"
body = "recipient={{{{to}}}}&originator={{{{from}}}}&content={{{{text}}}}&ref={{{{reference}}}}"
id = "/result/id"
error_code = "/fault/code"
[sms.senders]
1 = [{{ gateway = "main", sender = "+15550007777" }}, {{ gateway = "spare", sender = "{SPARE_SENDER}" }}]
49 = [{{ gateway = "acme", sender = "ACME" }}]
[ingress.vonage.accounts.default]
signature_secrets = ["{signature_secret}"]
application_id = "{application}"
[ingress.generic_sms.acme]
secrets = ["demo-gateway-signing-key"]
header = "x-gateway-signature"
prefix = "sha256="
timestamp_header = "x-gateway-time"
status = {{ id = "/id", status = "/state", reference = "/ref", error_code = "/code", time = "/at" }}
words = {{ sent = ["ENROUTE"], delivered = ["DELIVRD"], failed = ["UNDELIV"] }}
"#,
        away = free_port(),
        application = vonage.application_id,
        key = key.display(),
        simulator = stack.simulator_url(),
        webhooks = stack.webhooks_url(),
    );
    let path = stack.path("casement.toml");
    let text = fs::read_to_string(&path).expect("the stack has a configuration");
    fs::write(&path, text + &section).expect("the configuration is written");
    for role in Role::ALL {
        stack.start_role(role, 0).await;
    }
    stack
}

fn by_sms(text: &str) -> v1::Content {
    v1::Content {
        sms: Some(v1::SmsContent {
            text: text.to_owned(),
            sender: String::new(),
        }),
        ..v1::Content::default()
    }
}

#[tokio::test]
async fn when_the_first_gateway_is_away_the_second_carries_it_once_and_its_report_ends_it() {
    let stack = stack().await;
    let clients = stack.clients();
    for (to, channel, gateways) in [
        (AMERICAN, Channel::Vonage, &["main", "spare"][..]),
        (GERMAN, Channel::Generic, &["acme"]),
    ] {
        let before = stack.simulator.sent_count();
        let sent = clients
            .send(to, by_sms("Your order is ready"))
            .await
            .unwrap();
        let message = clients.ended(&sent.message_id).await;
        assert_eq!(
            message.outcome(),
            v1::MessageOutcome::Delivered,
            "by a signed report"
        );
        let asked: Vec<&str> = message
            .attempts
            .iter()
            .map(|attempt| attempt.sms_gateway.as_str())
            .collect();
        assert_eq!(asked, gateways);
        let calls = stack.simulator.sent_since(before);
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!(calls[0].channel, channel);
        let reference = format!("{}.{}", sent.message_id, asked.len());
        assert_eq!(calls[0].callback_data, Some(reference));
    }

    // A word to a sender of the configuration is heard.
    let events = stack.events().await;
    stack
        .simulator
        .texts_by(Channel::Vonage, AMERICAN, SPARE_SENDER, "STOP")
        .unwrap();
    events.wait("InboundSmsReceived", 1).await;
    let refused = clients.send(AMERICAN, by_sms("And another")).await;
    let told = refused.expect_err("no SMS any more").message().to_owned();
    assert!(told.contains("stopped SMS"), "{told}");
    stack.stop().await;
}
