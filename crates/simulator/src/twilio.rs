//! Twilio's look-alike over HTTP.
//!
//! Who calls, what is asked, how the answer looks. What is allowed is `rules` and the books.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::books::{Books, Route, Sent};
use crate::codes::Refusal;
use crate::config::TwilioConfig;
use crate::handle::Handle;
use crate::records::{Channel, MessageKind, Outcome, SentMessage, Status};
use crate::rules::{SmsCall, digits};
use crate::serving;

/// Returns Twilio's routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route(
            "/2010-04-01/Accounts/{sid}/Messages.json",
            post(post_message),
        )
        .route(
            "/2010-04-01/Accounts/{sid}/Messages/{file}",
            get(get_message),
        )
        .route("/2010-04-01/Accounts/{file}", get(get_account))
}

async fn post_message(
    State(handle): State<Handle>,
    Path(sid): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shared = handle.shared();
    let call = read_form(&body);
    let permitted = allowed(&shared.twilio, &sid, &headers);
    let to_digits = call.to.as_deref().map(digits);
    let sent = Sent {
        message: SentMessage {
            seq: 0,
            id: None,
            channel: Channel::Sms,
            from: call
                .from
                .clone()
                .or_else(|| call.messaging_service.clone())
                .unwrap_or_default(),
            to: to_digits,
            user_id: None,
            customer: None,
            kind: MessageKind::Sms,
            text: call.body.clone().unwrap_or_default(),
            callback_data: None,
            at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::NotProcessed,
            http_answered: false,
            reports: Vec::new(),
        },
        route: Route {
            input: call.to.clone().unwrap_or_default(),
            status_callback: call.status_callback.clone(),
            messaging_service: call.messaging_service.clone(),
            ..Route::default()
        },
    };
    let rule = |books: &mut Books, sent: &mut Sent, _now: Timestamp| {
        permitted?;
        sent.message.customer = sent
            .message
            .to
            .as_deref()
            .and_then(|phone| books.customer(phone))
            .map(|customer| customer.id.clone());
        books.rule_sms(&call)
    };
    let account_sid = shared.twilio.account_sid.clone();
    let accept = move |sent: &Sent| (201, message_node(&account_sid, sent));
    serving::send(shared, uri.path().to_owned(), sent, rule, accept).await
}

async fn get_message(
    State(handle): State<Handle>,
    Path((sid, file)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let shared = handle.shared();
    let found = allowed(&shared.twilio, &sid, &headers).and_then(|()| {
        let id = file.strip_suffix(".json").unwrap_or(&file);
        shared
            .look(|state| {
                let seq = state.books.sent_seq(id)?;
                Some(message_node(&sid, state.books.sent(seq)?))
            })
            .ok_or_else(|| Refusal::new(20_404, "the requested resource was not found"))
    });
    let answer = match found {
        Ok(node) => (200, node),
        Err(refusal) => refusal.as_twilio(),
    };
    serving::respond(shared, Channel::Sms, "GET", uri.path().to_owned(), answer)
}

async fn get_account(
    State(handle): State<Handle>,
    Path(file): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let shared = handle.shared();
    let sid = file.strip_suffix(".json").unwrap_or(&file);
    let answer = match allowed(&shared.twilio, sid, &headers) {
        Ok(()) => (
            200,
            json!({
                "sid": sid,
                "friendly_name": "Simulated account",
                "status": "active",
                "type": "Full",
                "uri": format!("/2010-04-01/Accounts/{sid}.json"),
            }),
        ),
        Err(refusal) => refusal.as_twilio(),
    };
    serving::respond(shared, Channel::Sms, "GET", uri.path().to_owned(), answer)
}

fn read_form(body: &[u8]) -> SmsCall {
    let params: Vec<(String, String)> = serde_urlencoded::from_bytes(body).unwrap_or_default();
    let mut call = SmsCall::default();
    for (key, value) in params {
        match key.as_str() {
            "To" => call.to = Some(value),
            "From" => call.from = Some(value),
            "MessagingServiceSid" => call.messaging_service = Some(value),
            "Body" => call.body = Some(value),
            "StatusCallback" => call.status_callback = Some(value),
            _ => {}
        }
    }
    call
}

fn allowed(account: &TwilioConfig, sid: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| {
            base64::engine::general_purpose::STANDARD
                .decode(value.trim())
                .ok()
        });
    let expected = format!(
        "{}:{}",
        account.account_sid,
        account.auth_token.expose_secret()
    );
    if sid == account.account_sid && given.is_some_and(|given| given == expected.as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::new(20_003, "Authenticate"))
    }
}

fn message_node(account_sid: &str, sent: &Sent) -> Value {
    let message = &sent.message;
    let last = message.reports.last();
    let status = match last.map(|report| report.status) {
        None if sent.route.messaging_service.is_some() => "accepted",
        None => "queued",
        Some(Status::Failed) => "undelivered",
        Some(status) => status.as_str(),
    };
    let id = message.id.as_deref().unwrap_or_default();
    json!({
        "sid": id,
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "status": status,
        "direction": "outbound-api",
        "to": sent.route.input,
        "from": message.from,
        "messaging_service_sid": sent.route.messaging_service,
        "body": message.text,
        "num_segments": if sent.route.messaging_service.is_some() { "0" } else { "1" },
        "num_media": "0",
        "price": null,
        "price_unit": "USD",
        "error_code": last.and_then(|report| report.code),
        "error_message": null,
        "date_created": message.at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
        "uri": format!("/2010-04-01/Accounts/{account_sid}/Messages/{id}.json"),
    })
}
