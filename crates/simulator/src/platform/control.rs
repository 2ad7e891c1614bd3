//! Meta's side over HTTP, under `/_sim/platform`: what [`Handle`] offers of it, as JSON.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{
    AccountSpec, BanState, BusinessSpec, NumberSpec, Quality, Restriction, Review, SignUpSpec,
    Verification,
};
use super::upsets::Upset;
use crate::error::Error;
use crate::handle::Handle;

/// What there is, for whoever asks for `/_sim`.
pub(crate) const INDEX: &str = "\
POST   /_sim/platform/sign-ups                      {phone, verified_name?, business_id?, business_name?, waba_id?, is_on_app?}
PUT    /_sim/platform/businesses                    {id?, name, verification?}
POST   /_sim/platform/businesses/{id}/verification  {verification, reasons?}
POST   /_sim/platform/businesses/{id}/limit         {tier}
PUT    /_sim/platform/accounts                      {waba_id?, business_id?, name?, review?, has_payment?, is_subscribed?}
POST   /_sim/platform/accounts/{id}/tokens          {token}
POST   /_sim/platform/accounts/{id}/payment         {has_payment}
POST   /_sim/platform/accounts/{id}/review          {review}
POST   /_sim/platform/accounts/{id}/restrictions    {restrictions: [{kind, until?}], violation?}
POST   /_sim/platform/accounts/{id}/ban             {state}
PUT    /_sim/platform/numbers/{id}                  {is_official?, is_on_app?, pin?, code_verification?, verified_name?, name_status?}
DELETE /_sim/platform/numbers/{id}
GET    /_sim/platform/numbers/{id}/code
POST   /_sim/platform/numbers/{id}/name             {approved, reason?}
POST   /_sim/platform/numbers/{id}/quality          {quality}
POST   /_sim/platform/numbers/{id}/throughput       {maintenance?}
POST   /_sim/platform/numbers/{id}/two-step/disable
POST   /_sim/platform/numbers/{id}/disconnect       {reason, initiated_by?}
POST   /_sim/platform/upsets                        {call, kind, times?}
DELETE /_sim/platform/upsets
";

/// Returns the control routes.
pub(crate) fn routes() -> Router<Handle> {
    let routes = Router::new()
        .route("/sign-ups", post(sign_up))
        .route("/businesses", put(put_business))
        .route("/businesses/{id}/verification", post(verify))
        .route("/businesses/{id}/limit", post(limit))
        .route("/accounts", put(put_account))
        .route("/accounts/{id}/tokens", post(share))
        .route("/accounts/{id}/payment", post(payment))
        .route("/accounts/{id}/review", post(review))
        .route("/accounts/{id}/restrictions", post(restrict))
        .route("/accounts/{id}/ban", post(ban))
        .route("/numbers/{id}", put(set_number).delete(delete_number))
        .route("/numbers/{id}/code", get(code))
        .route("/numbers/{id}/name", post(name))
        .route("/numbers/{id}/quality", post(quality))
        .route("/numbers/{id}/throughput", post(throughput))
        .route("/numbers/{id}/two-step/disable", post(disable_two_step))
        .route("/numbers/{id}/disconnect", post(disconnect))
        .route("/upsets", delete(clear_upsets).post(upset));
    Router::new().nest("/_sim/platform", routes)
}

type Answer = Result<Json<Value>, Error>;

fn done() -> Json<Value> {
    Json(json!({"done": true}))
}

async fn sign_up(State(handle): State<Handle>, Json(spec): Json<SignUpSpec>) -> Answer {
    Ok(Json(json!(handle.sign_up(spec)?)))
}

async fn put_business(State(handle): State<Handle>, Json(spec): Json<BusinessSpec>) -> Json<Value> {
    Json(json!({"id": handle.put_business(spec)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    verification: Verification,
    #[serde(default)]
    reasons: Vec<String>,
}

async fn verify(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(verify): Json<Verify>,
) -> Answer {
    handle.verify_business(&id, verify.verification, &verify.reasons)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    tier: String,
}

async fn limit(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(limit): Json<Limit>,
) -> Answer {
    handle.set_messaging_limit(&id, &limit.tier)?;
    Ok(done())
}

async fn put_account(State(handle): State<Handle>, Json(spec): Json<AccountSpec>) -> Answer {
    Ok(Json(json!({"waba_id": handle.put_account(spec)?})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    token: String,
}

async fn share(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(share): Json<Share>,
) -> Answer {
    handle.share_account(&share.token, &id)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    has_payment: bool,
}

async fn payment(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(payment): Json<Payment>,
) -> Answer {
    handle.set_payment(&id, payment.has_payment)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reviewed {
    review: Review,
}

async fn review(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(reviewed): Json<Reviewed>,
) -> Answer {
    handle.review_account(&id, reviewed.review)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restrict {
    restrictions: Vec<Restriction>,
    #[serde(default)]
    violation: Option<String>,
}

async fn restrict(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(restrict): Json<Restrict>,
) -> Answer {
    let violation = restrict.violation.as_deref();
    handle.restrict_account(&id, restrict.restrictions, violation)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    state: BanState,
}

async fn ban(State(handle): State<Handle>, Path(id): Path<String>, Json(ban): Json<Ban>) -> Answer {
    handle.ban_account(&id, ban.state)?;
    Ok(done())
}

async fn set_number(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(spec): Json<NumberSpec>,
) -> Answer {
    handle.set_number(&id, spec)?;
    Ok(done())
}

async fn delete_number(State(handle): State<Handle>, Path(id): Path<String>) -> Answer {
    handle.delete_number(&id)?;
    Ok(done())
}

async fn code(State(handle): State<Handle>, Path(id): Path<String>) -> Json<Value> {
    Json(json!({"code": handle.verification_code(&id)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    approved: bool,
    #[serde(default)]
    reason: Option<String>,
}

async fn name(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(name): Json<Name>,
) -> Answer {
    if name.approved {
        handle.approve_name(&id)?;
    } else {
        let reason = name.reason.as_deref().unwrap_or("NAME_OTHER");
        handle.reject_name(&id, reason)?;
    }
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QualityIs {
    quality: Quality,
}

async fn quality(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(change): Json<QualityIs>,
) -> Answer {
    handle.set_quality(&id, change.quality)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throughput {
    #[serde(default)]
    maintenance: SignedDuration,
}

async fn throughput(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(upgrade): Json<Throughput>,
) -> Answer {
    handle.upgrade_throughput(&id, upgrade.maintenance)?;
    Ok(done())
}

async fn disable_two_step(State(handle): State<Handle>, Path(id): Path<String>) -> Answer {
    handle.disable_two_step(&id)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    reason: String,
    #[serde(default = "business")]
    initiated_by: String,
}

fn business() -> String {
    "BUSINESS".to_owned()
}

async fn disconnect(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    Json(change): Json<Disconnect>,
) -> Answer {
    handle.disconnect_app(&id, &change.reason, &change.initiated_by)?;
    Ok(done())
}

async fn upset(State(handle): State<Handle>, Json(upset): Json<Upset>) -> Json<Value> {
    handle.upset(upset);
    done()
}

async fn clear_upsets(State(handle): State<Handle>) -> Json<Value> {
    handle.clear_upsets();
    done()
}
