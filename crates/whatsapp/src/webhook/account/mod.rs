//! News about accounts, numbers and templates: the fields that describe what a business owns.
//!
//! Words stay the platform's own. What to do about the news is not decided here.

mod facts;
mod template;

use serde_json::Value;

pub use facts::{
    AccountUpdate, Alert, CallSettings, Capability, Flow, NumberName, NumberQuality,
    PartnerSolution, Payment, Restriction, Security, UsernameUpdate,
};
pub use template::{
    TemplateButton, TemplateCategory, TemplateComponents, TemplateName, TemplateQuality,
    TemplateStatus,
};

use super::{ReportedError, read, status};

/// News about what the business owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The webhook field, such as `message_template_status_update`.
    pub field: String,
    /// What the news is about, from the field's name.
    pub scope: AccountScope,
    /// `event` (or `decision`) of the value, such as `APPROVED`.
    pub event: Option<String>,
    /// What it says; `None` for a field that nobody reads yet.
    pub facts: Option<AccountFacts>,
    /// What went wrong, if it tells of that.
    pub errors: Vec<ReportedError>,
}

/// What an [`Account`] update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountScope {
    /// A message template.
    Template,
    /// A business phone number.
    Number,
    /// The WhatsApp business account, the portfolio, or the app.
    Account,
}

/// What an [`Account`] update says.
#[derive(Debug, Clone, PartialEq)]
pub enum AccountFacts {
    /// A template may be sent, or may not.
    TemplateStatus(TemplateStatus),
    /// Customers like a template better or less.
    TemplateQuality(TemplateQuality),
    /// A template is, or is to be, billed otherwise.
    TemplateCategory(TemplateCategory),
    /// A template says something else.
    TemplateComponents(TemplateComponents),
    /// A number may send more or less.
    NumberQuality(NumberQuality),
    /// A number's display name was judged.
    NumberName(NumberName),
    /// The account is restricted, disabled, shared, priced otherwise, ….
    Update(Box<AccountUpdate>),
    /// The account was reviewed: the decision.
    Review(String),
    /// Something that a person at the business should see.
    Alert(Alert),
    /// What the business may have and do.
    Capability(Capability),
    /// Somebody touched a number's PIN.
    Security(Security),
    /// A way to be paid.
    Payment(Payment),
    /// The business's own username.
    Username(UsernameUpdate),
    /// A partner's solution.
    PartnerSolution(PartnerSolution),
    /// A form's state.
    Flow(Flow),
    /// How the number may be called.
    CallSettings(CallSettings),
}

/// Returns what an account field is about, or `None` if it is no account field.
pub(super) fn scope(field: &str) -> Option<AccountScope> {
    if field.starts_with("message_template_") || field.starts_with("template_") {
        return Some(AccountScope::Template);
    }
    if field.starts_with("phone_number_") || field == "business_username_updates" {
        return Some(AccountScope::Number);
    }
    let account = field.starts_with("account_")
        || field.starts_with("business_")
        || field.starts_with("partner_")
        || field.starts_with("tracking_")
        || matches!(
            field,
            "security" | "payment_configuration_update" | "flows" | "automatic_events"
        );
    account.then_some(AccountScope::Account)
}

/// Reads an account field's value.
///
/// Meta's own sample of a template's quality comes under another template field: what the value
/// holds decides between them.
pub(super) fn parse(field: &str, scope: AccountScope, value: &Value) -> Account {
    let has = |key: &str| value.get(key).is_some();
    let facts = match field {
        _ if scope == AccountScope::Template && has("new_quality_score") => {
            Some(AccountFacts::TemplateQuality(template::quality(value)))
        }
        "message_template_status_update" => {
            Some(AccountFacts::TemplateStatus(template::status(value)))
        }
        "message_template_quality_update" => {
            Some(AccountFacts::TemplateQuality(template::quality(value)))
        }
        "template_category_update" | "template_correct_category_detection" => {
            Some(AccountFacts::TemplateCategory(template::category(value)))
        }
        "message_template_components_update" => Some(AccountFacts::TemplateComponents(
            template::components(value),
        )),
        _ => facts::parse(field, value),
    };
    Account {
        field: field.to_owned(),
        scope,
        event: read::any_text(value, &["event", "decision"]),
        facts,
        errors: status::errors(value),
    }
}
