//! The webhooks that tell of accounts and numbers, as Meta documents them.
//!
//! Events about partners come from the partner's portfolio; all others from the account.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::records::{BanState, Restriction, Review};
use crate::config::NumberConfig;
use crate::payload::Change;
use crate::rules::digits;

fn of_number(number: &NumberConfig, field: &'static str, mut value: Value) -> Change {
    value["display_phone_number"] = json!(digits(&number.display_phone_number));
    Change {
        waba_id: number.waba_id.clone(),
        field,
        value,
    }
}

fn account_update(from: &str, value: Value) -> Change {
    Change {
        waba_id: from.to_owned(),
        field: "account_update",
        value,
    }
}

/// A number may send more or less, or was onboarded.
pub(super) fn quality(
    number: &NumberConfig,
    event: &str,
    limit: &str,
    before: Option<&str>,
) -> Change {
    let mut value = json!({
        "event": event,
        "current_limit": limit,
        "max_daily_conversations_per_business": limit,
    });
    if let Some(before) = before {
        value["old_limit"] = json!(before);
    }
    of_number(number, "phone_number_quality_update", value)
}

/// A display name was decided on.
pub(super) fn name(number: &NumberConfig, name: &str, reason: Option<&str>) -> Change {
    let value = json!({
        "decision": if reason.is_some() { "REJECTED" } else { "APPROVED" },
        "requested_verified_name": name,
        "rejection_reason": reason.unwrap_or("NONE"),
    });
    of_number(number, "phone_number_name_update", value)
}

/// Somebody touched a number's PIN.
pub(super) fn security(number: &NumberConfig, event: &str) -> Change {
    of_number(
        number,
        "security",
        json!({"event": event, "requester": "0"}),
    )
}

/// An account was reviewed.
pub(super) fn review(waba_id: &str, decision: Review) -> Change {
    Change {
        waba_id: waba_id.to_owned(),
        field: "account_review_update",
        value: json!({"decision": decision.as_str()}),
    }
}

/// A portfolio may do more or less.
pub(super) fn capability(waba_id: &str, tier: &str, numbers_max: usize) -> Change {
    Change {
        waba_id: waba_id.to_owned(),
        field: "business_capability_update",
        value: json!({
            // Documented as a tier, sent as a number.
            "max_daily_conversations_per_business": customers_a_day(tier),
            "max_phone_numbers_per_business": numbers_max,
            "max_phone_numbers_per_waba": numbers_max,
        }),
    }
}

fn customers_a_day(tier: &str) -> Value {
    match tier {
        "TIER_50" => json!(50),
        "TIER_250" => json!(250),
        "TIER_1K" => json!(1_000),
        "TIER_2K" => json!(2_000),
        "TIER_10K" => json!(10_000),
        "TIER_100K" => json!(100_000),
        "TIER_UNLIMITED" => json!(-1),
        other => json!(other),
    }
}

/// A business shared an account with the partner.
pub(super) fn partner_added(partner: &str, waba_id: &str, business_id: &str) -> Change {
    let value = json!({
        "event": "PARTNER_ADDED",
        "waba_info": {"waba_id": waba_id, "owner_business_id": business_id},
    });
    account_update(partner, value)
}

/// A business that a partner had verified was decided on.
pub(super) fn certification(
    partner: &str,
    business_id: &str,
    status: &str,
    reasons: &[String],
) -> Change {
    let reasons = if reasons.is_empty() {
        json!(["NONE"])
    } else {
        json!(reasons)
    };
    let value = json!({
        "event": "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE",
        "partner_client_certification_info": {
            "client_business_id": business_id,
            "status": status,
            "rejection_reasons": reasons,
        },
    });
    account_update(partner, value)
}

/// An account's business is verified.
pub(super) fn verified(waba_id: &str) -> Change {
    account_update(waba_id, json!({"event": "VERIFIED_ACCOUNT"}))
}

/// An account may not do some things.
pub(super) fn restricted(waba_id: &str, restrictions: &[Restriction]) -> Change {
    let told: Vec<Value> = restrictions
        .iter()
        .map(|it| {
            let mut told = json!({"restriction_type": it.kind});
            if let Some(until) = it.until {
                told["expiration"] = json!(until.as_second());
            }
            told
        })
        .collect();
    let value = json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": told});
    account_update(waba_id, value)
}

/// An account broke a policy.
pub(super) fn violated(waba_id: &str, violation: &str) -> Change {
    let value = json!({
        "event": "ACCOUNT_VIOLATION",
        "violation_info": {"violation_type": violation},
    });
    account_update(waba_id, value)
}

/// An account is switched off or on.
pub(super) fn banned(waba_id: &str, state: BanState, at: Timestamp) -> Change {
    let value = json!({
        "event": "DISABLED_UPDATE",
        "ban_info": {
            "waba_ban_state": state.as_str(),
            "waba_ban_date": at.strftime("%B %-d, %Y").to_string(),
        },
    });
    account_update(waba_id, value)
}

/// A number that was shared with the phone app is no longer on the API.
pub(super) fn offboarded(number: &NumberConfig, reason: &str, by: &str) -> Change {
    let value = json!({
        "event": "PARTNER_REMOVED",
        "phone_number": digits(&number.display_phone_number),
        "waba_info": {"waba_id": number.waba_id},
        "disconnection_info": {"reason": reason, "initiated_by": by},
    });
    account_update(&number.waba_id, value)
}
