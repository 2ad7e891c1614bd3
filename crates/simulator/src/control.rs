//! Drives a running simulator over HTTP, under `/_sim`: what [`Handle`] offers, as JSON.
//!
//! Meant for a shell and for other processes on the same machine; it asks nobody who they are.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ads::Device;
use crate::assets::TokenConfig;
use crate::config::{AutoStatus, NumberConfig, RefusalStyle, TemplateConfig, TemplateStatus};
use crate::error::Error;
use crate::faults::{FaultId, FaultSpec};
use crate::handle::Handle;
use crate::media::MediaSpec;
use crate::platform::control as platform;
use crate::records::{CustomerId, CustomerSpec, InboundContent, InboundSpec, InboundVia, Status};
use crate::script::Script;

/// What there is, for whoever asks for `/_sim`.
const INDEX: &str = "\
GET    /_sim/customers
POST   /_sim/customers          {name, phone?, user_id?, on_whatsapp?, shares_phone?}
POST   /_sim/says               {customer, phone_number_id, text, at?, via?}
POST   /_sim/clicks             {customer, phone_number_id, text, device?}
POST   /_sim/reacts             {customer, phone_number_id, message_id, emoji?}
POST   /_sim/rings              {customer, phone_number_id}
POST   /_sim/inbound            {customer, phone_number_id, content, at?, via?, reply_to?, referral?, device?}
POST   /_sim/media              {customer, phone_number_id, kind, mime_type, base64? | size_bytes?, filename?, caption?, with_link?}
POST   /_sim/marketing          {customer, phone_number_id, wanted}
POST   /_sim/texts              {phone, sender, text}
POST   /_sim/report             {message_id, status, code?}
POST   /_sim/raw                any body; posted to the webhook as it is, signed
GET    /_sim/window             ?customer=&phone_number_id=
GET    /_sim/entry-point        ?customer=&phone_number_id=
GET    /_sim/sent               ?since=
GET    /_sim/calls
GET    /_sim/webhooks
GET    /_sim/faults
POST   /_sim/faults             {fault, times?, channel?}
DELETE /_sim/faults
DELETE /_sim/faults/{id}
POST   /_sim/statuses/release
PUT    /_sim/webhook            {url}
POST   /_sim/webhook/verify
PUT    /_sim/settings           {window?, free_entry_point?, refusal?, auto_status?}
POST   /_sim/numbers            {phone_number_id, display_phone_number, waba_id, token}
POST   /_sim/numbers/test       {phone_number_id, recipients}
POST   /_sim/numbers/status     {phone_number_id, status}
POST   /_sim/tokens             {token, scopes?, expires_at?, revoked?, app_id?}
DELETE /_sim/subscriptions/{waba_id}
POST   /_sim/templates          {waba_id, name, language, category, body, parameter_count}
POST   /_sim/templates/status   {waba_id, name, language, status}
POST   /_sim/templates/review   \"hold\" | \"approve\" | {reject: REASON}; what becomes of new ones
POST   /_sim/templates/act      {waba_id, name, language, act: \"pause\" | \"unpause\" | \"approve\" | {reject | quality | announce_category | change_category | components}}
POST   /_sim/script             {customers, steps}
";

/// Returns the control routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route(
            "/_sim",
            get(|| async { format!("{INDEX}{}", platform::INDEX) }),
        )
        .route("/_sim/customers", get(customers).post(put_customer))
        .route("/_sim/says", post(says))
        .route("/_sim/clicks", post(clicks))
        .route("/_sim/reacts", post(reacts))
        .route("/_sim/rings", post(rings))
        .route("/_sim/inbound", post(inbound))
        .route("/_sim/media", post(media))
        .route("/_sim/marketing", post(marketing))
        .route("/_sim/texts", post(texts))
        .route("/_sim/report", post(report))
        .route("/_sim/raw", post(raw))
        .route("/_sim/window", get(window))
        .route("/_sim/entry-point", get(entry_point))
        .route("/_sim/sent", get(sent))
        .route("/_sim/calls", get(calls))
        .route("/_sim/webhooks", get(webhooks))
        .route(
            "/_sim/faults",
            get(faults).post(inject).delete(clear_faults),
        )
        .route("/_sim/faults/{id}", delete(clear_fault))
        .route("/_sim/statuses/release", post(release_statuses))
        .route("/_sim/webhook", put(set_webhook))
        .route("/_sim/webhook/verify", post(verify_webhook))
        .route("/_sim/settings", put(settings))
        .route("/_sim/numbers", post(put_number))
        .route("/_sim/numbers/test", post(test_number))
        .route("/_sim/numbers/status", post(number_status))
        .route("/_sim/tokens", post(put_token))
        .route("/_sim/subscriptions/{waba_id}", delete(unsubscribe))
        .route("/_sim/templates", post(add_template))
        .route("/_sim/templates/status", post(template_status))
        .route("/_sim/script", post(script))
        .merge(platform::routes())
}

type Answer = Result<Json<Value>, Error>;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::UnknownCustomer
            | Self::UnknownBusiness
            | Self::UnknownAccount
            | Self::UnknownNumber
            | Self::UnknownMessage
            | Self::UnknownTemplate => StatusCode::NOT_FOUND,
            Self::InvalidCustomer(_) | Self::InvalidMedia(_) | Self::InvalidPlatform(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoWebhook => StatusCode::CONFLICT,
            Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

fn done() -> Json<Value> {
    Json(json!({"done": true}))
}

async fn customers(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({"customers": handle.customers()}))
}

async fn put_customer(State(handle): State<Handle>, Json(spec): Json<CustomerSpec>) -> Answer {
    let customer = handle.put_customer(spec)?;
    Ok(Json(json!({"customer": customer})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Says {
    customer: CustomerId,
    phone_number_id: String,
    text: String,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    via: InboundVia,
}

async fn says(State(handle): State<Handle>, Json(says): Json<Says>) -> Answer {
    let id = handle.inbound(&InboundSpec {
        customer: says.customer,
        phone_number_id: says.phone_number_id,
        content: InboundContent::Text(says.text),
        at: says.at,
        via: says.via,
        reply_to: None,
        referral: None,
        device: Device::default(),
    })?;
    Ok(Json(json!({"id": id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clicks {
    customer: CustomerId,
    phone_number_id: String,
    text: String,
    #[serde(default)]
    device: Device,
}

async fn clicks(State(handle): State<Handle>, Json(clicks): Json<Clicks>) -> Answer {
    let Clicks {
        customer,
        phone_number_id,
        text,
        device,
    } = clicks;
    let id = handle.clicks(&customer, &phone_number_id, &text, device)?;
    Ok(Json(json!({"id": id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reacts {
    customer: CustomerId,
    phone_number_id: String,
    message_id: String,
    #[serde(default)]
    emoji: Option<String>,
}

async fn reacts(State(handle): State<Handle>, Json(reacts): Json<Reacts>) -> Answer {
    let id = handle.reacts(
        &reacts.customer,
        &reacts.phone_number_id,
        &reacts.message_id,
        reacts.emoji.as_deref(),
    )?;
    Ok(Json(json!({"id": id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    customer: CustomerId,
    phone_number_id: String,
}

async fn rings(State(handle): State<Handle>, Json(pair): Json<Pair>) -> Answer {
    let id = handle.rings(&pair.customer, &pair.phone_number_id)?;
    Ok(Json(json!({"id": id})))
}

async fn inbound(State(handle): State<Handle>, Json(spec): Json<InboundSpec>) -> Answer {
    let id = handle.inbound(&spec)?;
    Ok(Json(json!({"id": id})))
}

async fn media(State(handle): State<Handle>, Json(spec): Json<MediaSpec>) -> Answer {
    let sent = handle.sends_media(&spec)?;
    Ok(Json(
        json!({"id": sent.wamid, "media_id": sent.media_id, "sha256": sent.sha256}),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marketing {
    customer: CustomerId,
    phone_number_id: String,
    wanted: bool,
}

async fn marketing(State(handle): State<Handle>, Json(wish): Json<Marketing>) -> Answer {
    handle.prefers_marketing(&wish.customer, &wish.phone_number_id, wish.wanted)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    phone: String,
    sender: String,
    text: String,
}

async fn texts(State(handle): State<Handle>, Json(texts): Json<Texts>) -> Answer {
    let id = handle.texts(&texts.phone, &texts.sender, &texts.text)?;
    Ok(Json(json!({"id": id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportOf {
    message_id: String,
    status: Status,
    #[serde(default)]
    code: Option<i64>,
}

async fn report(State(handle): State<Handle>, Json(report): Json<ReportOf>) -> Answer {
    match (report.status, report.code) {
        (Status::Failed, Some(code)) => handle.report_failed(&report.message_id, code)?,
        (status, _) => handle.report(&report.message_id, status)?,
    }
    Ok(done())
}

async fn raw(State(handle): State<Handle>, body: Bytes) -> Answer {
    handle.raw_body(body)?;
    Ok(done())
}

async fn window(State(handle): State<Handle>, Query(pair): Query<Pair>) -> Answer {
    let ends_at = handle.window_ends_at(&pair.customer, &pair.phone_number_id)?;
    Ok(Json(json!({"ends_at": ends_at})))
}

async fn entry_point(State(handle): State<Handle>, Query(pair): Query<Pair>) -> Answer {
    let ends_at = handle.entry_point_ends_at(&pair.customer, &pair.phone_number_id)?;
    Ok(Json(json!({"ends_at": ends_at})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn sent(State(handle): State<Handle>, Query(from): Query<Since>) -> Json<Value> {
    Json(json!({"sent": handle.sent_since(from.since)}))
}

async fn calls(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({"calls": handle.calls()}))
}

async fn webhooks(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({"webhooks": handle.webhooks(), "pending": handle.pending_webhooks()}))
}

async fn faults(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({"faults": handle.faults()}))
}

async fn inject(State(handle): State<Handle>, Json(spec): Json<FaultSpec>) -> Json<Value> {
    Json(json!({"id": handle.inject(spec)}))
}

async fn clear_faults(State(handle): State<Handle>) -> Json<Value> {
    handle.clear_faults();
    done()
}

async fn clear_fault(State(handle): State<Handle>, Path(id): Path<u64>) -> Json<Value> {
    Json(json!({"done": handle.clear_fault(FaultId(id))}))
}

async fn release_statuses(State(handle): State<Handle>) -> Json<Value> {
    handle.release_statuses();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: Option<String>,
}

async fn set_webhook(State(handle): State<Handle>, Json(webhook): Json<Webhook>) -> Json<Value> {
    handle.set_webhook_url(webhook.url);
    done()
}

async fn verify_webhook(State(handle): State<Handle>) -> Answer {
    Ok(Json(json!({"verified": handle.verify_webhook().await?})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    window: Option<SignedDuration>,
    #[serde(default)]
    free_entry_point: Option<SignedDuration>,
    #[serde(default)]
    refusal: Option<RefusalStyle>,
    #[serde(default)]
    auto_status: Option<AutoStatus>,
}

async fn settings(State(handle): State<Handle>, Json(settings): Json<Settings>) -> Json<Value> {
    if let Some(window) = settings.window {
        handle.set_window(window);
    }
    if let Some(length) = settings.free_entry_point {
        handle.set_free_entry_point(length);
    }
    if let Some(refusal) = settings.refusal {
        handle.set_refusal(refusal);
    }
    if let Some(auto_status) = settings.auto_status {
        handle.set_auto_status(auto_status);
    }
    done()
}

async fn put_number(State(handle): State<Handle>, Json(number): Json<NumberConfig>) -> Json<Value> {
    handle.put_number(number);
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestNumber {
    phone_number_id: String,
    recipients: Vec<String>,
}

async fn test_number(State(handle): State<Handle>, Json(number): Json<TestNumber>) -> Json<Value> {
    handle.put_test_number(&number.phone_number_id, &number.recipients);
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberStatusOf {
    phone_number_id: String,
    status: String,
}

async fn number_status(
    State(handle): State<Handle>,
    Json(change): Json<NumberStatusOf>,
) -> Json<Value> {
    handle.set_number_status(&change.phone_number_id, &change.status);
    done()
}

async fn put_token(State(handle): State<Handle>, Json(token): Json<TokenConfig>) -> Json<Value> {
    handle.put_token(token);
    done()
}

async fn unsubscribe(State(handle): State<Handle>, Path(waba_id): Path<String>) -> Json<Value> {
    handle.unsubscribe(&waba_id);
    done()
}

async fn add_template(
    State(handle): State<Handle>,
    Json(template): Json<TemplateConfig>,
) -> Json<Value> {
    handle.add_template(template);
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateStatusOf {
    waba_id: String,
    name: String,
    language: String,
    status: TemplateStatus,
}

async fn template_status(
    State(handle): State<Handle>,
    Json(change): Json<TemplateStatusOf>,
) -> Answer {
    handle.set_template_status(
        &change.waba_id,
        &change.name,
        &change.language,
        change.status,
    )?;
    Ok(done())
}

async fn script(State(handle): State<Handle>, Json(script): Json<Script>) -> Response {
    match script.run(&handle, |_| {}).await {
        Ok(()) => done().into_response(),
        Err(error) => {
            let body = json!({"error": error.to_string()});
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
    }
}
