//! Vonage's look-alike over HTTP: the Messages API for SMS, its rules and its webhooks.
//!
//! Only SMS of text; the other channels of that API are absent.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::books::{Books, Route, Sent};
use crate::codes::Refusal;
use crate::handle::Handle;
use crate::jwt;
use crate::outbox::Parcel;
use crate::records::{Channel, MessageKind, Outcome, Report, SentMessage, Status};
use crate::rules::digits;
use crate::serving;
use crate::shared::Shared;

/// The private key that belongs to [`VonageConfig`]'s own public key; everybody knows it.
pub const VONAGE_PRIVATE_KEY: &str = include_str!("vonage_demo_key.pem");

/// Longest text and longest client reference, in characters (Vonage: Messages API, SMS).
const TEXT_CHARS_MAX: usize = 1_000;
const REFERENCE_CHARS_MAX: usize = 100;
/// How long a token may be good for, and how far ahead its maker's clock may be (Vonage:
/// authentication, JSON web tokens).
const TOKEN_LIFE_MAX: SignedDuration = SignedDuration::from_hours(24);
const TOKEN_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(1);

/// The application and its account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VonageConfig {
    /// The application's id.
    pub application_id: String,
    /// The application's public key, as PEM.
    pub public_key: String,
    /// The account's API key, which webhooks name.
    pub api_key: String,
    /// Signs webhooks.
    pub signature_secret: SecretString,
    /// Where statuses go for messages that name no `webhook_url`.
    pub status_url: Option<String>,
    /// Where SMS that customers send are posted.
    pub inbound_url: Option<String>,
    /// The senders that the account may use; with none, any.
    pub senders: Vec<String>,
}

impl Default for VonageConfig {
    fn default() -> Self {
        Self {
            application_id: "7c0a5a39-0000-4000-8000-000000000000".to_owned(),
            public_key: include_str!("vonage_demo_public_key.pem").to_owned(),
            api_key: "a1b2c3d4".to_owned(),
            signature_secret: SecretString::from("demo-vonage-signature-secret"),
            status_url: None,
            inbound_url: None,
            senders: Vec::new(),
        }
    }
}

/// Returns Vonage's routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new().route("/v1/messages", post(post_message))
}

async fn post_message(
    State(handle): State<Handle>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shared = handle.shared();
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let permitted = allowed(&shared.vonage, &headers, shared.now());
    let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let sent = Sent {
        message: SentMessage {
            seq: 0,
            id: None,
            channel: Channel::Vonage,
            from: text("from"),
            to: Some(digits(&text("to"))),
            user_id: None,
            customer: None,
            kind: MessageKind::Sms,
            text: text("text"),
            callback_data: Some(text("client_ref")).filter(|reference| !reference.is_empty()),
            at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::NotProcessed,
            http_answered: false,
            reports: Vec::new(),
        },
        route: Route {
            input: text("to"),
            status_callback: Some(text("webhook_url")).filter(|url| !url.is_empty()),
            ..Route::default()
        },
    };
    let senders = shared.vonage.senders.clone();
    let rule = |books: &mut Books, sent: &mut Sent, _now: Timestamp| {
        permitted?;
        let to = sent.message.to.clone().unwrap_or_default();
        sent.message.customer = books.customer(&to).map(|customer| customer.id.clone());
        check(&call, &senders)?;
        if books.has_stopped(&sent.message.from, &to) {
            return Err(Refusal::new(1_240, "the recipient has opted out"));
        }
        Ok(None)
    };
    let accept = |sent: &Sent| (202, json!({ "message_uuid": sent.message.id }));
    serving::send(shared, uri.path().to_owned(), sent, rule, accept).await
}

fn allowed(account: &VonageConfig, headers: &HeaderMap, now: Timestamp) -> Result<(), Refusal> {
    let token = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let claims = token.and_then(|token| jwt::verify_rs256(token, &account.public_key));
    let is_good = claims.is_some_and(|claims| {
        let time = |name: &str| Timestamp::from_second(claims[name].as_i64()?).ok();
        let is_timely = match (time("iat"), time("exp")) {
            (Some(issued), Some(expires)) => {
                issued.duration_since(now) <= TOKEN_AHEAD_MAX
                    && now < expires
                    && expires.duration_since(issued) <= TOKEN_LIFE_MAX
            }
            _ => false,
        };
        let has_id = claims["jti"].as_str().is_some_and(|id| !id.is_empty());
        is_timely && has_id && claims["application_id"] == account.application_id.as_str()
    });
    if is_good {
        Ok(())
    } else {
        Err(Refusal::new(
            1_110,
            "You did not provide correct credentials.",
        ))
    }
}

/// What Vonage makes of a body.
fn check(call: &Value, senders: &[String]) -> Result<(), Refusal> {
    let refuse = |code, details: &str| Err(Refusal::new(code, details));
    let text = |key: &str| call[key].as_str().unwrap_or_default();
    if text("channel") != "sms" {
        return refuse(1_400, "this channel is not supported here");
    }
    if text("message_type") != "text" {
        return refuse(1_440, "this message type is not supported");
    }
    // Without a plus, unlike elsewhere.
    let to = text("to");
    let is_phone = (7..=15).contains(&to.len())
        && !to.starts_with('0')
        && to.bytes().all(|byte| byte.is_ascii_digit());
    if !is_phone {
        return refuse(1_170, "`to` is no valid phone number");
    }
    let from = text("from");
    if from.is_empty() || from.starts_with('+') {
        return refuse(1_020, "`from` is not valid");
    }
    if !senders.is_empty()
        && !senders
            .iter()
            .any(|sender| sender.trim_start_matches('+') == from)
    {
        return refuse(1_120, "`from` is not permitted");
    }
    let body = text("text");
    if body.is_empty() {
        return refuse(1_010, "`text` is missing");
    }
    if body.chars().count() > TEXT_CHARS_MAX {
        return refuse(1_090, "`text` is too long");
    }
    if text("client_ref").chars().count() > REFERENCE_CHARS_MAX {
        return refuse(1_450, "`client_ref` is too long");
    }
    let encoding = &call["sms"]["encoding_type"];
    if !encoding.is_null()
        && !["text", "unicode", "auto"]
            .iter()
            .any(|known| encoding == known)
    {
        return refuse(1_410, "`sms.encoding_type` is not valid");
    }
    Ok(())
}

/// Returns the HTTP status and body of a refusal.
pub(crate) fn refused(refusal: &Refusal) -> (u16, Value) {
    let (status, title) = match refusal.code {
        1_000 => (429, "Rate Limit Hit"),
        1_030 => (500, "Internal error"),
        1_070 => (402, "Low balance"),
        1_060 | 1_080 | 1_140 => (403, "Forbidden"),
        1_110 => (401, "Unauthorized"),
        _ => (422, "Unprocessable entity"),
    };
    let address = format!(
        "https://developer.vonage.com/api-errors/messages#{}",
        refusal.code
    );
    let body = json!({
        "type": address,
        "title": title,
        "detail": refusal.details,
        "instance": Uuid::new_v4().simple().to_string(),
    });
    (status, body)
}

/// Returns the webhook that tells a status.
pub(crate) fn status(shared: &Shared, sent: &Sent, report: Report) -> Option<Parcel> {
    let url = sent
        .route
        .status_callback
        .clone()
        .or_else(|| shared.vonage.status_url.clone())?;
    let id = sent.message.id.clone()?;
    let word = match report.status {
        Status::Sent => "submitted",
        Status::Delivered => "delivered",
        Status::Read | Status::Played => "read",
        Status::Failed => "rejected",
    };
    let mut body = json!({
        "message_uuid": id,
        "to": sent.message.to,
        "from": sent.message.from,
        "timestamp": report.at.to_string(),
        "status": word,
        "channel": "sms",
        "usage": { "currency": "EUR", "price": "0.0333" },
    });
    if let Some(reference) = &sent.message.callback_data {
        body["client_ref"] = json!(reference);
    }
    if report.status == Status::Failed {
        let code = report.code.unwrap_or(1_330).to_string();
        body["error"] = json!({
            "type": format!("https://developer.vonage.com/api-errors/messages#{code}"),
            "title": code,
            "detail": "The message could not be delivered.",
            "instance": Uuid::new_v4().simple().to_string(),
        });
    }
    Some(Parcel::Json {
        channel: Channel::Vonage,
        url,
        body: body.to_string().into(),
        lane: id,
    })
}

/// Returns the webhook that tells a customer's SMS.
pub(crate) fn inbound(
    shared: &Shared,
    id: &str,
    phone: &str,
    sender: &str,
    text: &str,
) -> Option<Parcel> {
    let body = json!({
        "message_uuid": id,
        "to": digits(sender),
        "from": digits(phone),
        "timestamp": shared.now().to_string(),
        "channel": "sms",
        "message_type": "text",
        "text": text,
        "sms": { "num_messages": "1" },
    });
    Some(Parcel::Json {
        channel: Channel::Vonage,
        url: shared.vonage.inbound_url.clone()?,
        body: body.to_string().into(),
        lane: digits(phone),
    })
}

/// Returns the headers that sign a webhook (Vonage: signed webhooks).
pub(crate) fn sign(shared: &Shared, body: &Bytes) -> Vec<(&'static str, String)> {
    let account = &shared.vonage;
    let claims = json!({
        "iat": shared.now().as_second(),
        "jti": Uuid::new_v4().to_string(),
        "iss": "Vonage",
        "payload_hash": hex::encode(Sha256::digest(body)),
        "api_key": account.api_key,
        "application_id": account.application_id,
    });
    let token = jwt::sign_hs256(account.signature_secret.expose_secret(), &claims);
    vec![("authorization", format!("Bearer {token}"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Value {
        json!({
            "channel": "sms",
            "message_type": "text",
            "to": "4915550001",
            "from": "49305550100",
            "text": "hi",
            "client_ref": "m.1",
        })
    }

    #[test]
    fn bodies_are_refused_by_vonages_own_rules() {
        let senders = ["+49305550100".to_owned()];
        assert_eq!(check(&sound(), &senders), Ok(()));
        for (key, value, code) in [
            ("channel", json!("whatsapp"), 1_400),
            ("message_type", json!("image"), 1_440),
            ("to", json!("+4915550001"), 1_170),
            ("to", json!("0049155500"), 1_170),
            ("from", json!("+49305550100"), 1_020),
            ("from", json!(""), 1_020),
            ("from", json!("ACME"), 1_120),
            ("text", json!(""), 1_010),
            ("text", json!("x".repeat(1_001)), 1_090),
            ("client_ref", json!("x".repeat(101)), 1_450),
            ("sms", json!({ "encoding_type": "gsm" }), 1_410),
        ] {
            let mut call = sound();
            call[key] = value;
            let refused = check(&call, &senders).expect_err("not sound");
            assert_eq!(refused.code, code, "{call}");
        }
    }

    #[test]
    fn a_call_without_a_token_of_the_application_is_refused() {
        let account = VonageConfig::default();
        let now = Timestamp::UNIX_EPOCH;
        for value in [
            None,
            Some("Bearer x"),
            Some("Bearer a.b.c"),
            Some("Basic eA=="),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("authorization", value.parse().expect("a header"));
            }
            let refused = allowed(&account, &headers, now).expect_err("nobody's");
            assert_eq!(refused.code, 1_110, "{value:?}");
        }
        assert_eq!(refused(&Refusal::new(1_110, "no")).0, 401);
    }
}
