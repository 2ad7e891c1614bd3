//! What the platform tells of accounts and numbers (Meta: webhooks, account and number fields).

use jiff::Timestamp;
use serde_json::Value;

use super::AccountFacts;
use crate::webhook::read;

/// A number may send more or less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberQuality {
    /// Such as `ONBOARDING` or `THROUGHPUT_UPGRADE`.
    pub event: Option<String>,
    /// Customers a day: `max_daily_conversations_per_business`, or the older `current_limit`.
    pub limit: Option<String>,
    /// The same before.
    pub previous_limit: Option<String>,
}

/// A number's display name was judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberName {
    /// `APPROVED`, `DEFERRED`, `PENDING` or `REJECTED`.
    pub decision: Option<String>,
    /// The name asked for.
    pub requested_name: Option<String>,
    /// Such as `NAME_EMPLOYEE_ENTITY_INVALID`.
    pub rejection_reason: Option<String>,
}

/// The account is restricted, disabled, shared, priced otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountUpdate {
    /// Such as `ACCOUNT_RESTRICTION`.
    pub event: Option<String>,
    /// The account that it is about, if the value names one: partners' events come from the
    /// portfolio.
    pub waba_id: Option<String>,
    /// The portfolio that owns the account.
    pub owner_business_id: Option<String>,
    /// What may not be done, and until when.
    pub restrictions: Vec<Restriction>,
    /// Such as `SPAM`.
    pub violation_type: Option<String>,
    /// `DISABLE`, `REINSTATE` or `SCHEDULE_FOR_DISABLE`.
    pub ban_state: Option<String>,
    /// As sent, in words.
    pub ban_date: Option<String>,
    /// Why a number shared with the phone app was disconnected.
    pub disconnection_reason: Option<String>,
    /// Who disconnected it.
    pub disconnection_initiated_by: Option<String>,
    /// The business's main place, or a country whose prices change.
    pub country: Option<String>,
    /// The partner's app.
    pub partner_app_id: Option<String>,
    /// The partners' solution.
    pub solution_id: Option<String>,
    /// The ad account linked.
    pub ad_account_id: Option<String>,
    /// The client whose business a partner verifies.
    pub client_business_id: Option<String>,
    /// How far that is.
    pub verification_status: Option<String>,
    /// Why it failed; `NONE` counts as none.
    pub rejection_reasons: Vec<String>,
    /// The price tier reached, such as `25000001:50000000`.
    pub tier: Option<String>,
    /// What it is the price of.
    pub tier_category: Option<String>,
    /// Where.
    pub tier_region: Option<String>,
    /// From which month.
    pub tier_month: Option<String>,
    /// Since when.
    pub tier_updated_at: Option<Timestamp>,
    /// A number, where the value names one.
    pub phone_number: Option<String>,
}

/// What an account may not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restriction {
    /// Such as `RESTRICTED_BIZ_INITIATED_MESSAGING`.
    pub kind: Option<String>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// Something that a person at the business should see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alert {
    /// Such as `BUSINESS` or `PHONE_NUMBER`.
    pub entity_type: Option<String>,
    /// Whose.
    pub entity_id: Option<String>,
    /// Such as `INFORMATIONAL`.
    pub severity: Option<String>,
    /// Such as `NONE`.
    pub status: Option<String>,
    /// Such as `OBA_APPROVED`.
    pub kind: Option<String>,
    /// Text for people.
    pub description: Option<String>,
}

/// What the business may have and do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capability {
    /// Customers a day: a tier's name, or a number, `-1` without limit. Meta's documents say the
    /// one and its samples the other.
    pub daily_customers_limit: Option<String>,
    /// How many numbers the portfolio may have.
    pub numbers_per_business_limit: Option<i64>,
    /// How many numbers the account may have.
    pub numbers_per_waba_limit: Option<i64>,
}

/// Somebody touched a number's PIN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Such as `PIN_CHANGED`.
    pub event: Option<String>,
    /// Who.
    pub requester: Option<String>,
}

/// A way to be paid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payment {
    /// Its name.
    pub configuration_name: Option<String>,
    /// The provider.
    pub provider_name: Option<String>,
    /// The business at the provider.
    pub provider_merchant_id: Option<String>,
    /// Whether it works.
    pub status: Option<String>,
}

/// The business's own username.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsernameUpdate {
    /// The username.
    pub username: Option<String>,
    /// Such as `approved`.
    pub status: Option<String>,
}

/// A partner's solution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartnerSolution {
    /// Such as `SOLUTION_CREATED`.
    pub event: Option<String>,
    /// Which.
    pub solution_id: Option<String>,
    /// Such as `INITIATED`.
    pub status: Option<String>,
}

/// A form's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Such as `FLOW_STATUS_CHANGE`.
    pub event: Option<String>,
    /// Which.
    pub flow_id: Option<String>,
    /// Text for people.
    pub message: Option<String>,
    /// Such as `DRAFT`.
    pub previous_status: Option<String>,
    /// Such as `PUBLISHED`.
    pub new_status: Option<String>,
}

/// How a number may be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallSettings {
    /// `ENABLED` or `DISABLED`.
    pub calling_status: Option<String>,
    /// The settings as received.
    pub settings: Option<Value>,
}

/// Reads a field that is not about a template; `None` if nobody reads it yet.
pub(super) fn parse(field: &str, value: &Value) -> Option<AccountFacts> {
    let text = |key: &str| read::text(value, key);
    Some(match field {
        "phone_number_quality_update" => AccountFacts::NumberQuality(NumberQuality {
            event: text("event"),
            limit: read::any_text(
                value,
                &["max_daily_conversations_per_business", "current_limit"],
            ),
            previous_limit: text("old_limit"),
        }),
        "phone_number_name_update" => AccountFacts::NumberName(NumberName {
            decision: text("decision"),
            requested_name: text("requested_verified_name"),
            rejection_reason: text("rejection_reason").filter(|reason| reason != "NONE"),
        }),
        "account_update" => AccountFacts::Update(Box::new(update(value))),
        "account_review_update" => AccountFacts::Review(text("decision")?),
        "account_alerts" => AccountFacts::Alert(alert(value)),
        "business_capability_update" => AccountFacts::Capability(Capability {
            daily_customers_limit: read::any_text(
                value,
                &[
                    "max_daily_conversations_per_business",
                    "max_daily_conversation_per_phone",
                ],
            ),
            numbers_per_business_limit: read::integer(value, "max_phone_numbers_per_business"),
            numbers_per_waba_limit: read::integer(value, "max_phone_numbers_per_waba"),
        }),
        "security" => AccountFacts::Security(Security {
            event: text("event"),
            requester: text("requester"),
        }),
        "payment_configuration_update" => AccountFacts::Payment(Payment {
            configuration_name: text("configuration_name"),
            provider_name: text("provider_name"),
            provider_merchant_id: read::any_text(value, &["provider_mid", "provider_merchant_id"]),
            status: text("status"),
        }),
        "business_username_updates" => AccountFacts::Username(UsernameUpdate {
            username: text("username"),
            status: text("status"),
        }),
        "partner_solutions" => AccountFacts::PartnerSolution(PartnerSolution {
            event: text("event"),
            solution_id: text("solution_id"),
            status: read::any_text(value, &["solution_status", "status"]),
        }),
        "flows" => AccountFacts::Flow(Flow {
            event: text("event"),
            flow_id: text("flow_id"),
            message: text("message"),
            previous_status: text("old_status"),
            new_status: text("new_status"),
        }),
        "account_settings_update" => AccountFacts::CallSettings(call_settings(value)),
        _ => return None,
    })
}

fn update(value: &Value) -> AccountUpdate {
    let part = |key: &str| value.get(key).unwrap_or(&Value::Null);
    let waba = part("waba_info");
    let (ban, disconnection) = (part("ban_info"), part("disconnection_info"));
    let (client, tier) = (
        part("partner_client_certification_info"),
        part("volume_tier_info"),
    );
    let restrictions = read::objects(value, "restriction_info");
    let rejection_reasons = read::texts(client, "rejection_reasons");
    AccountUpdate {
        event: read::text(value, "event"),
        waba_id: read::text(waba, "waba_id"),
        owner_business_id: read::text(waba, "owner_business_id"),
        restrictions: restrictions
            .into_iter()
            .map(|it| Restriction {
                kind: read::text(it, "restriction_type"),
                expires_at: read::time(it, "expiration"),
            })
            .collect(),
        violation_type: read::text(part("violation_info"), "violation_type"),
        ban_state: read::any_text(ban, &["waba_ban_state", "ban_state"]),
        ban_date: read::any_text(ban, &["waba_ban_date", "ban_date"]),
        disconnection_reason: read::text(disconnection, "reason"),
        disconnection_initiated_by: read::text(disconnection, "initiated_by"),
        country: read::text(value, "country"),
        partner_app_id: read::text(waba, "partner_app_id"),
        solution_id: read::text(waba, "solution_id"),
        ad_account_id: read::any_text(waba, &["ad_account_linked", "ad_account_id"]),
        client_business_id: read::text(client, "client_business_id"),
        verification_status: read::text(client, "status"),
        rejection_reasons: rejection_reasons
            .into_iter()
            .filter(|reason| reason != "NONE")
            .collect(),
        tier: read::text(tier, "tier"),
        tier_category: read::text(tier, "pricing_category"),
        tier_region: read::text(tier, "region"),
        tier_month: read::text(tier, "effective_month"),
        tier_updated_at: read::time(tier, "tier_update_time"),
        phone_number: read::text(value, "phone_number"),
    }
}

/// The details stand in `alert_info`; older posts have them at the top.
fn alert(value: &Value) -> Alert {
    let info = read::object(value, "alert_info").unwrap_or(value);
    let told = |keys: &[&str]| read::any_text(info, keys);
    Alert {
        entity_type: read::text(value, "entity_type"),
        entity_id: read::text(value, "entity_id"),
        severity: told(&["alert_severity", "severity"]),
        status: told(&["alert_status", "status"]),
        kind: told(&["alert_type", "type"]),
        description: told(&["alert_description", "description"]),
    }
}

fn call_settings(value: &Value) -> CallSettings {
    let settings = read::object(value, "phone_number_settings").unwrap_or(value);
    let calling = read::object(settings, "calling");
    CallSettings {
        calling_status: calling.and_then(|calling| read::text(calling, "status")),
        settings: Some(settings.clone()),
    }
}
