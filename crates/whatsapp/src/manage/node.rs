//! What the Graph API's answers say, read tolerantly: ids as text or number, absent and empty the
//! same. Words of Meta's enums stay as they came: new ones appear without notice.

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

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
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`; may be empty.
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
        quality_rating: text(node, "quality_rating"),
        code_verification_status: text(node, "code_verification_status"),
        name_status: text(node, "name_status"),
        platform_type: text(node, "platform_type"),
        throughput_level: node
            .get("throughput")
            .map(|throughput| text(throughput, "level"))
            .unwrap_or_default(),
        account_mode: text(node, "account_mode"),
    })
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
    })
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

fn required(node: &Value, key: &str) -> Option<String> {
    as_text(node.get(key)?)
}

fn text(node: &Value, key: &str) -> String {
    required(node, key).unwrap_or_default()
}

fn list<'a>(node: &'a Value, key: &str) -> &'a [Value] {
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
