//! A gateway of no name over HTTP, of the kind that many countries have: an API key, JSON or a
//! form, an idempotency key, numbered errors, callbacks with an HMAC.
//!
//! It takes `recipient`, `originator`, `content` and `ref`.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::books::{Books, Route, Sent};
use crate::codes::Refusal;
use crate::handle::Handle;
use crate::outbox::Parcel;
use crate::records::{Channel, MessageKind, Outcome, Report, SentMessage, Status};
use crate::rules::{digits, is_e164};
use crate::serving;
use crate::shared::Shared;

/// Where it is called.
pub const GENERIC_PATH: &str = "/generic/v2/sms";

/// Longest text, in characters.
const TEXT_CHARS_MAX: usize = 765;

/// The account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenericConfig {
    /// What calls bring in `x-api-key`.
    pub api_key: SecretString,
    /// Signs callbacks.
    pub signing_key: SecretString,
    /// Where statuses go.
    pub status_url: Option<String>,
    /// Where SMS that customers send are posted.
    pub inbound_url: Option<String>,
    /// The senders that the account may use; with none, any.
    pub senders: Vec<String>,
    /// How often a callback is tried.
    pub callback_attempts: u32,
}

impl Default for GenericConfig {
    fn default() -> Self {
        Self {
            api_key: SecretString::from("demo-gateway-key"),
            signing_key: SecretString::from("demo-gateway-signing-key"),
            status_url: None,
            inbound_url: None,
            senders: Vec::new(),
            callback_attempts: 10,
        }
    }
}

/// Returns its routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new().route(GENERIC_PATH, post(post_message))
}

async fn post_message(
    State(handle): State<Handle>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shared = handle.shared();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let call = read(header("content-type").unwrap_or_default(), &body);
    let is_allowed = header("x-api-key") == Some(shared.generic.api_key.expose_secret());
    // A repeat under a key that was accepted is answered as before, and sends nothing.
    let before = header("idempotency-key")
        .filter(|_| is_allowed)
        .and_then(|key| {
            shared.look(|state| {
                let mut sent = state.books.sent_since(0);
                let same = sent.find(|sent| {
                    sent.channel == Channel::Generic
                        && sent.is_accepted()
                        && sent.callback_data.as_deref() == Some(key)
                });
                same.and_then(|same| same.id.clone())
            })
        });
    if let Some(id) = before {
        let answer = (200, taken(&id));
        return serving::respond(
            shared,
            Channel::Generic,
            "POST",
            uri.path().to_owned(),
            answer,
        );
    }
    let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let sent = Sent {
        message: SentMessage {
            seq: 0,
            id: None,
            channel: Channel::Generic,
            from: text("originator"),
            to: Some(digits(&text("recipient"))),
            user_id: None,
            customer: None,
            kind: MessageKind::Sms,
            text: text("content"),
            callback_data: Some(text("ref")).filter(|reference| !reference.is_empty()),
            at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::NotProcessed,
            http_answered: false,
            reports: Vec::new(),
        },
        route: Route {
            input: text("recipient"),
            ..Route::default()
        },
    };
    let senders = shared.generic.senders.clone();
    let rule = |books: &mut Books, sent: &mut Sent, _now: Timestamp| {
        if !is_allowed {
            return Err(Refusal::new(1, "the API key is wrong"));
        }
        let to = sent.message.to.clone().unwrap_or_default();
        sent.message.customer = books.customer(&to).map(|customer| customer.id.clone());
        check(&sent.message, &sent.route.input, &senders)?;
        if books.has_stopped(&sent.message.from, &to) {
            return Err(Refusal::new(14, "the recipient has opted out"));
        }
        Ok(None)
    };
    let accept = |sent: &Sent| (200, taken(sent.message.id.as_deref().unwrap_or_default()));
    serving::send(shared, uri.path().to_owned(), sent, rule, accept).await
}

fn read(content_type: &str, body: &[u8]) -> Value {
    if content_type.starts_with("application/json") {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).unwrap_or_default();
    pairs
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect()
}

fn taken(id: &str) -> Value {
    json!({ "result": { "id": id, "state": "ACCEPTD" } })
}

fn check(message: &SentMessage, to: &str, senders: &[String]) -> Result<(), Refusal> {
    let refuse = |code, details: &str| Err(Refusal::new(code, details));
    if !is_e164(to) {
        return refuse(11, "the recipient is no valid phone number");
    }
    let from = &message.from;
    if from.is_empty() || (!senders.is_empty() && !senders.contains(from)) {
        return refuse(12, "the originator is not permitted");
    }
    match message.text.chars().count() {
        0 => refuse(13, "the content is missing"),
        count if count > TEXT_CHARS_MAX => refuse(13, "the content is too long"),
        _ => Ok(()),
    }
}

/// Returns the HTTP status and body of a refusal.
pub(crate) fn refused(refusal: &Refusal) -> (u16, Value) {
    let status = match refusal.code {
        1 => 401,
        20 => 429,
        21 => 503,
        _ => 400,
    };
    let body = json!({ "fault": { "code": refusal.code, "text": refusal.details } });
    (status, body)
}

/// Returns the callback that tells a status.
pub(crate) fn status(shared: &Shared, sent: &Sent, report: Report) -> Option<Parcel> {
    let id = sent.message.id.clone()?;
    let state = match report.status {
        Status::Sent => "ENROUTE",
        Status::Delivered | Status::Read | Status::Played => "DELIVRD",
        Status::Failed => "UNDELIV",
    };
    let mut body = json!({
        "type": "dlr",
        "id": id,
        "state": state,
        "ref": sent.message.callback_data,
        "recipient": sent.message.to,
        "at": report.at.to_string(),
    });
    if report.status == Status::Failed {
        body["code"] = json!(report.code.unwrap_or(30));
    }
    Some(Parcel::Json {
        channel: Channel::Generic,
        url: shared.generic.status_url.clone()?,
        body: body.to_string().into(),
        lane: id,
    })
}

/// Returns the callback that tells a customer's SMS.
pub(crate) fn inbound(
    shared: &Shared,
    id: &str,
    phone: &str,
    sender: &str,
    text: &str,
) -> Option<Parcel> {
    let body = json!({
        "type": "mo",
        "id": id,
        "from": format!("+{}", digits(phone)),
        "to": sender,
        "text": text,
        "at": shared.now().to_string(),
    });
    Some(Parcel::Json {
        channel: Channel::Generic,
        url: shared.generic.inbound_url.clone()?,
        body: body.to_string().into(),
        lane: digits(phone),
    })
}

/// Returns the headers that sign a callback: the time, and the HMAC of time, dot and body.
pub(crate) fn sign(shared: &Shared, body: &Bytes) -> Vec<(&'static str, String)> {
    let time = shared.now().as_second().to_string();
    let key = shared.generic.signing_key.expose_secret();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("an HMAC key may have any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    vec![("x-gateway-time", time), ("x-gateway-signature", signature)]
}
