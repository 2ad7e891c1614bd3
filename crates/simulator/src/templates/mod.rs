//! Meta's side of templates: what is submitted, reviewed, edited, paused, switched off, changed in
//! category, deleted; and whether a send fits one.
//!
//! The calls are `calls`; what Meta does of its own accord is `acts`. What a template has beyond
//! its body and its status is kept here; those stand in the books.

mod acts;
mod calls;
mod fit;

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::books::Books;
use crate::config::{TemplateCategory, TemplateConfig, TemplateStatus};
use crate::payload::{Change, category_word, template_status_word};

pub(crate) use acts::routes;
pub(crate) use calls::{create, delete, edit};
pub(crate) use fit::check as check_fit;

/// The id of the first template; the others count on.
const FIRST_ID: u64 = 9_000_000_000_000_001;

/// What becomes of what is submitted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum TemplateReview {
    /// It waits until somebody says.
    #[default]
    Hold,
    /// It is approved right after the answer.
    Approve,
    /// It is rejected right after the answer, for this reason.
    Reject(String),
}

/// A template by account, name and language.
pub(crate) type Key = (String, String, String);

/// What a template has beyond its body and status.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) id: u64,
    /// `None` for a body alone, with its parameters by number.
    pub(crate) components: Option<Vec<Value>>,
    pub(crate) parameter_format: String,
    pub(crate) quality: String,
    pub(crate) previous_category: Option<TemplateCategory>,
    pub(crate) correct_category: Option<TemplateCategory>,
    pub(crate) rejected_reason: String,
    pub(crate) ttl_seconds: Option<i64>,
    pub(crate) pause_count: u32,
    pub(crate) edited: Vec<Timestamp>,
}

/// What is kept of all templates.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    details: HashMap<Key, Details>,
    created_count: u64,
    created: Vec<(String, Timestamp)>,
    /// Names of approved templates that were deleted, and when.
    gone: HashMap<(String, String), Timestamp>,
    pub(crate) review: TemplateReview,
}

impl Catalog {
    /// Returns a template's details, with an id from now on.
    pub(crate) fn of(&mut self, key: &Key) -> &mut Details {
        let count = &mut self.created_count;
        self.details.entry(key.clone()).or_insert_with(|| {
            let id = FIRST_ID + *count;
            *count += 1;
            Details {
                id,
                components: None,
                parameter_format: "POSITIONAL".to_owned(),
                quality: "UNKNOWN".to_owned(),
                previous_category: None,
                correct_category: None,
                rejected_reason: "NONE".to_owned(),
                ttl_seconds: None,
                pause_count: 0,
                edited: Vec::new(),
            }
        })
    }

    pub(crate) fn known(&self, key: &Key) -> Option<&Details> {
        self.details.get(key)
    }

    /// Returns whose template an id is.
    pub(crate) fn by_id(&self, id: &str) -> Option<Key> {
        let mut all = self.details.iter();
        all.find(|(_, details)| details.id.to_string() == id)
            .map(|(key, _)| key.clone())
    }
}

/// Returns the key of a template.
pub(crate) fn key_of(template: &TemplateConfig) -> Key {
    (
        template.waba_id.clone(),
        template.name.clone(),
        template.language.clone(),
    )
}

impl Books {
    /// Gives every template its id, in the order in which they came.
    fn number_templates(&mut self) {
        for key in self.templates.iter().map(key_of) {
            self.catalog.of(&key);
        }
    }

    /// Returns an account's templates as the Graph API shows them; those of one name, if one is
    /// given.
    pub(crate) fn template_nodes(&mut self, waba_id: &str, name: Option<&str>) -> Vec<Value> {
        self.number_templates();
        let of_account = self.templates.iter().filter(|it| it.waba_id == waba_id);
        of_account
            .filter(|it| name.is_none_or(|name| it.name == name))
            .map(|it| self.template_node(it))
            .collect()
    }

    fn template_node(&self, template: &TemplateConfig) -> Value {
        let details = self.catalog.known(&key_of(template));
        let category = |category: TemplateCategory| category_word(Some(category)).to_uppercase();
        let mut node = json!({
            "name": template.name,
            "language": template.language,
            "status": template_status_word(template.status),
            "category": category(template.category),
            "sub_category": null,
            "previous_category": null,
            "correct_category": null,
            "message_send_ttl_seconds": null,
            "cta_url_link_tracking_opted_out": false,
        });
        if let Some(details) = details {
            node["id"] = json!(details.id.to_string());
            node["components"] = json!(
                details
                    .components
                    .clone()
                    .unwrap_or_else(|| { vec![json!({"type": "BODY", "text": template.body})] })
            );
            node["parameter_format"] = json!(details.parameter_format);
            node["quality_score"] = json!({"score": details.quality});
            node["rejected_reason"] = json!(details.rejected_reason);
            node["previous_category"] = json!(details.previous_category.map(category));
            node["correct_category"] = json!(details.correct_category.map(category));
            node["message_send_ttl_seconds"] = json!(details.ttl_seconds);
        }
        node
    }

    pub(crate) fn template_at(&mut self, key: &Key) -> Option<&mut TemplateConfig> {
        self.templates.iter_mut().find(|it| key_of(it) == *key)
    }

    /// Leaves a template in a state, and returns what tells of it.
    pub(crate) fn turn_template(
        &mut self,
        key: &Key,
        status: TemplateStatus,
        more: &Value,
    ) -> Option<Change> {
        self.number_templates();
        let template = self.template_at(key)?;
        template.status = status;
        let template = template.clone();
        let word = template_status_word(status);
        Some(self.template_change(&template, word, more))
    }

    /// Builds the change for a template whose state changed.
    fn template_change(&mut self, template: &TemplateConfig, event: &str, more: &Value) -> Change {
        let mut value = self.named(template);
        value["event"] = json!(event);
        value["message_template_category"] =
            json!(category_word(Some(template.category)).to_uppercase());
        value["reason"] = json!("NONE");
        for (key, told) in more.as_object().into_iter().flatten() {
            value[key] = told.clone();
        }
        Change {
            waba_id: template.waba_id.clone(),
            field: "message_template_status_update",
            value,
        }
    }

    fn named(&mut self, template: &TemplateConfig) -> Value {
        json!({
            "message_template_id": self.catalog.of(&key_of(template)).id,
            "message_template_name": template.name,
            // Meta writes it so in webhooks, and with an underscore elsewhere.
            "message_template_language": template.language.replace('_', "-"),
        })
    }
}
