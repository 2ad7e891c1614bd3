//! What the Graph API's answers say, read tolerantly: ids as text or number, absent and empty the
//! same. Words of Meta's enums stay as they came: new ones appear without notice.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::Value;

use crate::errors::NO_CODE;
use crate::send::GraphError;

/// A Meta app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its id.
    pub id: String,
    /// Its name; empty if Meta did not tell.
    pub name: String,
}

/// What Meta knows of an access token (Meta: debug token).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenInfo {
    /// Whether it can be used at all.
    pub is_valid: bool,
    /// The app it was made for.
    pub app_id: String,
    /// That app's name; may be empty.
    pub application: String,
    /// `SYSTEM_USER`, `USER`, …; may be empty.
    pub kind: String,
    /// When it ends; `None` if it never does.
    pub expires_at: Option<Timestamp>,
    /// When it no longer gives access to data, for tokens of people; `None` if never.
    pub data_access_expires_at: Option<Timestamp>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// On which objects, where that was narrowed.
    pub grants: Vec<Grant>,
    /// Why it is not valid. Meta's text may quote the token.
    pub error: Option<GraphError>,
}

impl TokenInfo {
    /// Returns true if the token has a scope, and has it on this object or on all.
    pub fn covers(&self, scope: &str, object_id: &str) -> bool {
        self.scopes.iter().any(|known| known == scope)
            && self.grants.iter().all(|grant| {
                grant.scope != scope
                    || grant.target_ids.is_empty()
                    || grant.target_ids.iter().any(|id| id == object_id)
            })
    }
}

/// What a sign-up's code was exchanged for.
#[derive(Debug, Clone)]
pub struct BusinessToken {
    /// The token, good for the business's own accounts.
    pub token: SecretString,
    /// How long it lives; `None` if for ever, as those of tech providers' sign-ups do.
    pub expires_in: Option<Duration>,
}

/// A scope that was given on some objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub scope: String,
    /// The objects; all if empty.
    pub target_ids: Vec<String>,
}

/// A business number on the platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Number {
    /// Meta's id of it.
    pub id: String,
    /// The number as Meta writes it, with spaces and dashes.
    pub display_phone_number: String,
    /// The approved display name; may be empty.
    pub verified_name: String,
    /// `CONNECTED`, `PENDING`, `BANNED`, …; may be empty.
    pub status: String,
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN` (or `NA`); may be empty.
    pub quality_rating: String,
    /// `VERIFIED`, `NOT_VERIFIED`, `EXPIRED`, …; may be empty.
    pub code_verification_status: String,
    /// `APPROVED`, `DECLINED`, `PENDING_REVIEW`, …; may be empty.
    pub name_status: String,
    /// `CLOUD_API`, `ON_PREMISE`, `NOT_APPLICABLE`; may be empty.
    pub platform_type: String,
    /// `STANDARD`, `HIGH`, `NOT_APPLICABLE`; may be empty.
    pub throughput_level: String,
    /// `LIVE`, or `SANDBOX` for a test number; may be empty.
    pub account_mode: String,
    /// A display name that was asked for and is not the number's yet; may be empty.
    pub new_display_name: String,
    /// How far its review is, in the words of `name_status`; may be empty.
    pub new_name_status: String,
    /// How many customers a day the portfolio may write to first, such as `TIER_2K`; may be empty.
    pub messaging_limit: String,
    /// Whether it is an official business account; `None` if Meta did not tell.
    pub is_official: Option<bool>,
    /// Whether it is used in the phone app too (coexistence); `None` if Meta did not tell.
    pub is_on_app: Option<bool>,
    /// Whether two-step verification is on; `None` if Meta did not tell.
    pub is_pin_enabled: Option<bool>,
    /// Whether it can send, and what stands in the way.
    pub health: Option<Health>,
}

/// Whether messages can be sent, and what stands in the way (Meta: messaging health status).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// `AVAILABLE`, `LIMITED` or `BLOCKED`.
    pub can_send: String,
    /// The same for the number, its account, the business and the app.
    pub entities: Vec<EntityHealth>,
}

/// The health of one of the nodes that a message takes part in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityHealth {
    /// `PHONE_NUMBER`, `WABA`, `BUSINESS`, `APP`, `MESSAGE_TEMPLATE`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// `AVAILABLE`, `LIMITED` or `BLOCKED`.
    pub can_send: String,
    /// What is wrong.
    pub errors: Vec<HealthError>,
    /// What else Meta says, in words.
    pub notes: Vec<String>,
}

/// Something that keeps messages from being sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthError {
    /// Meta's code.
    pub code: i64,
    /// What it is, in Meta's words.
    pub description: String,
    /// What helps, in Meta's words.
    pub solution: String,
}

impl Number {
    /// Returns the number as E.164 with plus.
    pub fn e164(&self) -> String {
        let digits = self
            .display_phone_number
            .chars()
            .filter(char::is_ascii_digit);
        std::iter::once('+').chain(digits).collect()
    }

    /// Returns true if it can send and receive (Meta: phone numbers, status).
    pub fn is_connected(&self) -> bool {
        self.status == "CONNECTED"
    }

    /// Returns true if it is a test number, which may write to its own few recipients only.
    pub fn is_test(&self) -> bool {
        self.account_mode == "SANDBOX"
    }
}

/// A WhatsApp business account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// The business portfolio that owns it, or on whose behalf it is owned.
    pub portfolio_id: Option<String>,
    /// That portfolio's name; may be empty.
    pub portfolio_name: String,
    /// `APPROVED`, `PENDING`, `REJECTED`, `RESTRICTED`; may be empty.
    pub review_status: String,
    /// `VERIFIED`, `PENDING`, `UNVERIFIED` (or `NOT_VERIFIED`), `REJECTED`, …, in capitals; may be
    /// empty.
    pub business_verification: String,
    /// `SELF_OWNED`, `CLIENT_OWNED`, …; may be empty.
    pub ownership_type: String,
    /// Where it is registered, as two letters; may be empty.
    pub country: String,
    /// Meta's number of its time zone; may be empty.
    pub timezone_id: String,
    /// The payment method it is charged to; `None` if there is none, or if the token's owner may
    /// not see it.
    pub funding_id: Option<String>,
    /// Whether it can send, and what stands in the way.
    pub health: Option<Health>,
}

impl Account {
    /// Returns true if Meta approved the account.
    pub fn is_approved(&self) -> bool {
        self.review_status == "APPROVED"
    }

    /// Returns true if the business that owns it is verified.
    pub fn is_business_verified(&self) -> bool {
        self.business_verification == "VERIFIED"
    }
}

/// A business portfolio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Business {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// `VERIFIED`, `NOT_VERIFIED`, `PENDING`, `REJECTED`, `FAILED`, `REVOKED`, …, in capitals; may
    /// be empty.
    pub verification: String,
}

impl Business {
    /// Returns true if Meta verified it.
    pub fn is_verified(&self) -> bool {
        self.verification == "VERIFIED"
    }
}

/// A template in one language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Meta's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language code.
    pub language: String,
    /// `UTILITY`, `AUTHENTICATION`, `MARKETING`.
    pub category: String,
    /// `APPROVED`, `PENDING`, `REJECTED`, `PAUSED`, `DISABLED`, ….
    pub status: String,
    /// The body's text with its placeholders; empty if there is none.
    pub body: String,
}

pub(super) fn app(node: &Value) -> Option<App> {
    Some(App {
        id: required(node, "id")?,
        name: text(node, "name"),
    })
}

pub(super) fn token(body: &Value) -> Option<TokenInfo> {
    let data = body.get("data").filter(|data| data.is_object())?;
    let grants = list(data, "granular_scopes").iter().filter_map(|grant| {
        Some(Grant {
            scope: required(grant, "scope")?,
            target_ids: texts(grant, "target_ids"),
        })
    });
    Some(TokenInfo {
        is_valid: data
            .get("is_valid")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        app_id: text(data, "app_id"),
        application: text(data, "application"),
        kind: text(data, "type"),
        expires_at: time(data, "expires_at"),
        data_access_expires_at: time(data, "data_access_expires_at"),
        scopes: texts(data, "scopes"),
        grants: grants.collect(),
        error: data
            .get("error")
            .map(|error| GraphError::read(StatusCode::OK, None, error)),
    })
}

pub(super) fn number(node: &Value) -> Option<Number> {
    Some(Number {
        id: required(node, "id")?,
        display_phone_number: required(node, "display_phone_number")?,
        verified_name: text(node, "verified_name"),
        status: text(node, "status"),
        quality_rating: required(node, "quality_rating")
            .or_else(|| required(node.get("quality_score")?, "score"))
            .unwrap_or_default(),
        code_verification_status: text(node, "code_verification_status"),
        name_status: text(node, "name_status"),
        platform_type: text(node, "platform_type"),
        throughput_level: node
            .get("throughput")
            .map(|throughput| text(throughput, "level"))
            .unwrap_or_default(),
        account_mode: text(node, "account_mode"),
        new_display_name: text(node, "new_display_name"),
        new_name_status: text(node, "new_name_status"),
        messaging_limit: text(node, "whatsapp_business_manager_messaging_limit"),
        is_official: flag(node, "is_official_business_account"),
        is_on_app: flag(node, "is_on_biz_app"),
        is_pin_enabled: flag(node, "is_pin_enabled"),
        health: health(node),
    })
}

fn health(node: &Value) -> Option<Health> {
    let status = node.get("health_status").filter(|it| it.is_object())?;
    let entities = list(status, "entities").iter().map(|entity| EntityHealth {
        kind: text(entity, "entity_type"),
        id: text(entity, "id"),
        can_send: text(entity, "can_send_message"),
        errors: list(entity, "errors").iter().map(health_error).collect(),
        notes: texts(entity, "additional_info"),
    });
    Some(Health {
        can_send: text(status, "can_send_message"),
        entities: entities.collect(),
    })
}

fn health_error(error: &Value) -> HealthError {
    HealthError {
        code: required(error, "error_code")
            .and_then(|code| code.parse().ok())
            .unwrap_or(NO_CODE),
        description: text(error, "error_description"),
        solution: text(error, "possible_solution"),
    }
}

pub(super) fn account(node: &Value) -> Option<Account> {
    let portfolio = ["owner_business_info", "on_behalf_of_business_info"]
        .into_iter()
        .filter_map(|key| node.get(key))
        .find(|info| required(info, "id").is_some());
    Some(Account {
        id: required(node, "id")?,
        name: text(node, "name"),
        portfolio_id: portfolio.and_then(|info| required(info, "id")),
        portfolio_name: portfolio.map(|info| text(info, "name")).unwrap_or_default(),
        review_status: text(node, "account_review_status").to_ascii_uppercase(),
        business_verification: text(node, "business_verification_status").to_ascii_uppercase(),
        ownership_type: text(node, "ownership_type"),
        country: text(node, "country"),
        timezone_id: text(node, "timezone_id"),
        funding_id: required(node, "primary_funding_id").filter(|id| id != "0"),
        health: health(node),
    })
}

pub(super) fn business(node: &Value) -> Option<Business> {
    Some(Business {
        id: required(node, "id")?,
        name: text(node, "name"),
        verification: text(node, "verification_status").to_ascii_uppercase(),
    })
}

pub(super) fn business_token(body: &Value) -> Option<BusinessToken> {
    let seconds: Option<u64> = required(body, "expires_in").and_then(|text| text.parse().ok());
    Some(BusinessToken {
        token: SecretString::from(required(body, "access_token")?),
        expires_in: seconds
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
    })
}

pub(super) fn id(node: &Value) -> Option<String> {
    required(node, "id")
}

pub(super) fn template(node: &Value) -> Option<Template> {
    let body = list(node, "components")
        .iter()
        .find(|component| text(component, "type").eq_ignore_ascii_case("BODY"))
        .map(|component| text(component, "text"));
    Some(Template {
        id: text(node, "id"),
        name: required(node, "name")?,
        language: required(node, "language")?,
        category: text(node, "category").to_ascii_uppercase(),
        status: text(node, "status").to_ascii_uppercase(),
        body: body.unwrap_or_default(),
    })
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn required(node: &Value, key: &str) -> Option<String> {
    as_text(node.get(key)?)
}

pub(super) fn text(node: &Value, key: &str) -> String {
    required(node, key).unwrap_or_default()
}

fn flag(node: &Value, key: &str) -> Option<bool> {
    node.get(key).and_then(Value::as_bool)
}

pub(super) fn list<'a>(node: &'a Value, key: &str) -> &'a [Value] {
    node.get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn texts(node: &Value, key: &str) -> Vec<String> {
    list(node, key).iter().filter_map(as_text).collect()
}

/// Returns a Unix time in seconds; Meta writes 0 for never.
fn time(node: &Value, key: &str) -> Option<Timestamp> {
    let seconds: i64 = required(node, key)?.parse().ok()?;
    Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)
}
