//! What the platform tells of templates (Meta: webhooks, message templates).

use jiff::Timestamp;
use serde_json::Value;

use crate::webhook::read;

/// Which template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateName {
    /// Meta's id, digits; it may exceed what a double counts.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its language, in the form in which templates are sent: `en_US`, also where the webhook
    /// writes `en-US`.
    pub language: Option<String>,
}

/// A template may be sent, or may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateStatus {
    /// Which.
    pub template: TemplateName,
    /// Such as `APPROVED`.
    pub event: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Such as `INVALID_FORMAT`; `NONE` counts as none.
    pub reason: Option<String>,
    /// `disable_info.disable_date`, as sent.
    pub disable_date: Option<String>,
    /// `other_info.title`, such as `FIRST_PAUSE`.
    pub title: Option<String>,
    /// `other_info.description`.
    pub description: Option<String>,
    /// `rejection_info.reason`.
    pub rejection_reason: Option<String>,
    /// `rejection_info.recommendation`.
    pub recommendation: Option<String>,
}

/// Customers like a template better or less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateQuality {
    /// Which.
    pub template: TemplateName,
    /// `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    pub previous: Option<String>,
    /// The same, from now on.
    pub new: Option<String>,
}

/// A template is, or is to be, billed otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateCategory {
    /// Which.
    pub template: TemplateName,
    /// Before, once it is done.
    pub previous: Option<String>,
    /// Now; still the old one while the change is pending.
    pub new: Option<String>,
    /// What the platform holds for right, while the change is pending.
    pub correct: Option<String>,
    /// When the change is made.
    pub update_at: Option<Timestamp>,
}

/// A template says something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateComponents {
    /// Which.
    pub template: TemplateName,
    /// The body.
    pub element: Option<String>,
    /// The header.
    pub title: Option<String>,
    /// The footer.
    pub footer: Option<String>,
    /// The buttons.
    pub buttons: Vec<TemplateButton>,
}

/// A button of [`TemplateComponents`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateButton {
    /// Such as `URL`.
    pub kind: Option<String>,
    /// What stands on it.
    pub text: Option<String>,
    /// Where it leads.
    pub url: Option<String>,
    /// Whom it calls.
    pub phone_number: Option<String>,
}

fn name(value: &Value) -> TemplateName {
    TemplateName {
        id: read::text(value, "message_template_id"),
        name: read::text(value, "message_template_name"),
        language: read::text(value, "message_template_language")
            .map(|language| language.replace('-', "_")),
    }
}

pub(super) fn status(value: &Value) -> TemplateStatus {
    let part = |key: &str| value.get(key).unwrap_or(&Value::Null);
    let (other, rejection) = (part("other_info"), part("rejection_info"));
    TemplateStatus {
        template: name(value),
        event: read::text(value, "event"),
        category: read::text(value, "message_template_category"),
        reason: read::text(value, "reason").filter(|reason| reason != "NONE"),
        disable_date: read::text(part("disable_info"), "disable_date"),
        title: read::text(other, "title"),
        description: read::text(other, "description"),
        rejection_reason: read::text(rejection, "reason"),
        recommendation: read::text(rejection, "recommendation"),
    }
}

pub(super) fn quality(value: &Value) -> TemplateQuality {
    TemplateQuality {
        template: name(value),
        previous: read::text(value, "previous_quality_score"),
        new: read::text(value, "new_quality_score"),
    }
}

pub(super) fn category(value: &Value) -> TemplateCategory {
    TemplateCategory {
        template: name(value),
        previous: read::text(value, "previous_category"),
        new: read::text(value, "new_category"),
        correct: read::text(value, "correct_category"),
        update_at: read::time(value, "category_update_timestamp"),
    }
}

pub(super) fn components(value: &Value) -> TemplateComponents {
    let buttons = read::objects(value, "message_template_buttons");
    TemplateComponents {
        template: name(value),
        element: read::text(value, "message_template_element"),
        title: read::text(value, "message_template_title"),
        footer: read::text(value, "message_template_footer"),
        buttons: buttons
            .into_iter()
            .map(|button| TemplateButton {
                kind: read::text(button, "message_template_button_type"),
                text: read::text(button, "message_template_button_text"),
                url: read::text(button, "message_template_button_url"),
                phone_number: read::text(button, "message_template_button_phone_number"),
            })
            .collect(),
    }
}
