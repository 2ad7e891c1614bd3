//! How businesses, accounts and numbers look when they are read.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::records::Quality;
use crate::books::Books;
use crate::config::NumberConfig;
use crate::rules::digits;

/// A payment method's id, where there is one.
const FUNDING_ID: &str = "5100200300400";

/// Returns a number with all its fields.
pub(crate) fn number_node(books: &Books, config: &NumberConfig, now: Timestamp) -> Value {
    let id = &config.phone_number_id;
    let number = books.estate.number(id);
    let is_test = books.assets.is_test_number(id);
    let phone = books
        .estate
        .phones
        .get(&digits(&config.display_phone_number));
    let is_connected = number.status == "CONNECTED";
    json!({
        "id": id,
        "display_phone_number": config.display_phone_number,
        "verified_name": number.verified_name,
        "status": number.status,
        "code_verification_status": number.code_verification,
        "name_status": number.name_status,
        "new_display_name": number.new_name,
        "new_name_status": number.new_name_status,
        "quality_rating": number.quality.as_str(),
        "quality_score": {"score": number.quality.as_str()},
        "platform_type": if is_connected { "CLOUD_API" } else { "NOT_APPLICABLE" },
        "throughput": {"level": if is_connected { number.throughput } else { "NOT_APPLICABLE" }},
        "account_mode": if is_test { "SANDBOX" } else { "LIVE" },
        "is_official_business_account": number.is_official,
        "is_on_biz_app": number.is_on_app,
        "is_pin_enabled": phone.is_some_and(|phone| phone.pin.is_some()),
        "whatsapp_business_manager_messaging_limit": books.messaging_limit(&config.waba_id),
        "health_status": books.health_status(Some(config), &config.waba_id, now),
    })
}

/// Returns an account with all its fields.
pub(crate) fn account_node(books: &Books, waba_id: &str, now: Timestamp) -> Value {
    let account = books.account(waba_id);
    let business = books.business(&account.business_id);
    let owner = business
        .as_ref()
        .map(|business| json!({"id": account.business_id, "name": business.name}));
    let verification = business.map(|business| business.verification.as_str());
    json!({
        "id": waba_id,
        "name": account.name,
        "timezone_id": "1",
        "currency": "USD",
        "country": "US",
        "ownership_type": "CLIENT_OWNED",
        "message_template_namespace": "ba30dd89_2ebd_41e4_b805_000000000000",
        "account_review_status": account.review.as_str(),
        "business_verification_status": verification,
        "primary_funding_id": account.has_payment.then_some(FUNDING_ID),
        "owner_business_info": owner,
        "on_behalf_of_business_info": null,
        "whatsapp_business_manager_messaging_limit": books.messaging_limit(waba_id),
        "health_status": books.health_status(None, waba_id, now),
    })
}

/// Returns a business with all its fields, if there is one.
pub(crate) fn business_node(books: &Books, business_id: &str, token: &str) -> Option<Value> {
    let business = books.business(business_id)?;
    books.may_see_business(token, business_id).then(|| {
        json!({
            "id": business_id,
            "name": business.name,
            "timezone_id": 1,
            "verification_status": business.verification.as_str(),
            "whatsapp_business_manager_messaging_limit": business.messaging_limit,
        })
    })
}

/// Returns which event tells of a change of quality, if one does.
pub(super) fn quality_event(before: Quality, now: Quality) -> Option<&'static str> {
    match (before == Quality::Red, now == Quality::Red) {
        (false, true) => Some("FLAGGED"),
        (true, false) => Some("UNFLAGGED"),
        _ => None,
    }
}
