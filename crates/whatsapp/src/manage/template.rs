//! Templates: read in pages, created, edited, deleted.
//!
//! What they are made of comes and goes as the platform's own JSON (WhatsApp Cloud API: message
//! templates): whoever keeps them types it, and loses nothing that is newer than they are.

use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::client::{Call, CallError, Manager, unreadable};
use super::node::{list, required, text};
use crate::errors::Refused;

/// What is read of a template.
const FIELDS: &str = "id,name,language,category,status,components";

/// What is read of it, too, where the version of the Graph API has it.
const NEWER_FIELDS: &str = "sub_category,previous_category,correct_category,quality_score,\
                            rejected_reason,message_send_ttl_seconds,parameter_format,\
                            cta_url_link_tracking_opted_out";

/// A template on the platform, in one of its languages. Words of Meta's enums stay as they came,
/// in upper case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FullTemplate {
    /// Meta's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language, as approved.
    pub language: String,
    /// `UTILITY`, `AUTHENTICATION`, `MARKETING`.
    pub category: String,
    /// `APPROVED`, `PENDING`, `PAUSED`, …
    pub status: String,
    /// Such as `ORDER_STATUS`; may be empty.
    pub sub_category: String,
    /// What the platform had it as before; empty if it never changed.
    pub previous_category: String,
    /// What the platform holds for right and will change it to; empty if it will not.
    pub correct_category: String,
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`; may be empty.
    pub quality: String,
    /// When the quality was found so.
    pub quality_at: Option<Timestamp>,
    /// `NONE`, or why it was rejected; may be empty.
    pub rejected_reason: String,
    /// How long the platform tries to deliver it, in seconds; -1 for 30 days.
    pub ttl_seconds: Option<i64>,
    /// `POSITIONAL` or `NAMED`; may be empty.
    pub parameter_format: String,
    /// Links are not tracked.
    pub link_tracking_opted_out: bool,
    /// What it is made of, as the platform wrote it.
    pub components: Vec<Value>,
}

/// What the platform said to a template that was created or edited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Meta's id of it; empty if it was not told.
    pub id: String,
    /// `PENDING`, `APPROVED`, …; empty if it was not told.
    pub status: String,
    /// The category that the platform gave it; empty if it was not told.
    pub category: String,
}

impl Manager {
    /// Returns the templates of a business account, in each of their languages: all, or those of
    /// one name. Pages are followed to their end.
    pub async fn full_templates(
        &self,
        token: &SecretString,
        waba_id: &str,
        name: Option<&str>,
    ) -> Result<Vec<FullTemplate>, CallError> {
        let path = [waba_id, "message_templates"];
        let with: Vec<_> = name.map(|name| ("name", name)).into_iter().collect();
        let all = format!("{FIELDS},{NEWER_FIELDS}");
        let items = match self.list_with(&path, &all, &with, token).await {
            // One unknown field is a refusal of all.
            Err(error) if error.refused() == Some(Refused::Invalid) => {
                self.list_with(&path, FIELDS, &with, token).await?
            }
            answer => answer?,
        };
        // The name is compared anew: the platform may take it for the beginning of one.
        let is_meant = |one: &FullTemplate| name.is_none_or(|name| one.name == name);
        Ok(items.iter().filter_map(read).filter(is_meant).collect())
    }

    /// Creates a template. `body` has `name`, `language`, `category`, `components` and what else
    /// the platform takes.
    pub async fn create_template(
        &self,
        token: &SecretString,
        waba_id: &str,
        body: Value,
    ) -> Result<Submitted, CallError> {
        let path = [waba_id, "message_templates"];
        let call = Call {
            body: Some(body),
            ..Call::post(&path, token)
        };
        let answer = self.call(call).await?;
        let submitted = submitted(&answer);
        if submitted.id.is_empty() {
            return Err(unreadable("a created template without an id"));
        }
        Ok(submitted)
    }

    /// Edits a template, by Meta's id of it. `body` has what changes.
    pub async fn edit_template(
        &self,
        token: &SecretString,
        template_id: &str,
        body: Value,
    ) -> Result<Submitted, CallError> {
        let path = [template_id];
        let call = Call {
            body: Some(body),
            ..Call::post(&path, token)
        };
        let answer = self.call(call).await?;
        if answer.get("success").and_then(Value::as_bool) == Some(false) {
            return Err(unreadable("no success"));
        }
        Ok(submitted(&answer))
    }

    /// Deletes a template: in all its languages, or the one with an id.
    pub async fn delete_template(
        &self,
        token: &SecretString,
        waba_id: &str,
        name: &str,
        template_id: Option<&str>,
    ) -> Result<(), CallError> {
        let path = [waba_id, "message_templates"];
        let mut query = vec![("name", name)];
        query.extend(template_id.map(|id| ("hsm_id", id)));
        let call = Call {
            method: Method::DELETE,
            query: &query,
            ..Call::get(&path, token)
        };
        self.done(call).await
    }
}

fn read(node: &Value) -> Option<FullTemplate> {
    let upper = |key: &str| text(node, key).to_ascii_uppercase();
    let quality = node.get("quality_score").unwrap_or(&Value::Null);
    let quality_at = quality.get("date").and_then(Value::as_i64);
    Some(FullTemplate {
        id: text(node, "id"),
        name: required(node, "name")?,
        language: required(node, "language")?,
        category: upper("category"),
        status: upper("status"),
        sub_category: upper("sub_category"),
        previous_category: upper("previous_category"),
        correct_category: upper("correct_category"),
        quality: text(quality, "score").to_ascii_uppercase(),
        quality_at: quality_at.and_then(|at| Timestamp::from_second(at).ok()),
        rejected_reason: upper("rejected_reason"),
        ttl_seconds: text(node, "message_send_ttl_seconds").parse().ok(),
        parameter_format: upper("parameter_format"),
        link_tracking_opted_out: node["cta_url_link_tracking_opted_out"] == json!(true),
        components: list(node, "components").to_vec(),
    })
}

fn submitted(answer: &Value) -> Submitted {
    Submitted {
        id: text(answer, "id"),
        status: text(answer, "status").to_ascii_uppercase(),
        category: text(answer, "category").to_ascii_uppercase(),
    }
}
