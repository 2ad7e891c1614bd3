//! What Meta does to templates of its own accord: reviews, pauses, quality, categories. Each change
//! goes out as the webhook that Meta would send.

use axum::extract::State as Extracted;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Key, TemplateReview};
use crate::books::Books;
use crate::config::{TemplateCategory, TemplateStatus};
use crate::error::Error;
use crate::handle::Handle;
use crate::outbox::{self, Parcel};
use crate::payload::{Change, category_word};

/// Returns the control routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route("/_sim/templates/review", post(review))
        .route("/_sim/templates/act", post(act))
}

impl Handle {
    /// Says what becomes of templates that are submitted from now on.
    pub fn set_template_review(&self, review: TemplateReview) {
        self.shared()
            .change(|state| state.books.catalog.review = review);
    }

    /// Says what a template is made of, as the Graph API has it, without telling anybody.
    pub fn set_template_components(
        &self,
        template: (&str, &str, &str),
        parameter_format: &str,
        components: Vec<Value>,
    ) -> Result<(), Error> {
        self.turn(template, |books, key| {
            let details = books.catalog.of(key);
            details.components = Some(components);
            parameter_format.clone_into(&mut details.parameter_format);
            Ok(None)
        })
    }

    /// Approves a template.
    pub fn approve_template(&self, template: (&str, &str, &str)) -> Result<(), Error> {
        self.turn(template, |books, key| {
            "NONE".clone_into(&mut books.catalog.of(key).rejected_reason);
            Ok(books.turn_template(key, TemplateStatus::Approved, &Value::Null))
        })
    }

    /// Rejects a template, for one of Meta's reasons.
    pub fn reject_template(&self, template: (&str, &str, &str), reason: &str) -> Result<(), Error> {
        self.turn(template, |books, key| {
            reason.clone_into(&mut books.catalog.of(key).rejected_reason);
            let more = json!({"reason": reason});
            Ok(books.turn_template(key, TemplateStatus::Rejected, &more))
        })
    }

    /// Pauses a template for its quality; the third time switches it off.
    pub fn pause_template(&self, template: (&str, &str, &str)) -> Result<(), Error> {
        self.turn(template, |books, key| {
            let details = books.catalog.of(key);
            details.pause_count += 1;
            "RED".clone_into(&mut details.quality);
            let (status, title) = match details.pause_count {
                1 => (TemplateStatus::Paused, "FIRST_PAUSE"),
                2 => (TemplateStatus::Paused, "SECOND_PAUSE"),
                _ => (TemplateStatus::Disabled, "DISABLED"),
            };
            let description = "The template was paused for its low quality.";
            let more = json!({"other_info": {"title": title, "description": description}});
            Ok(books.turn_template(key, status, &more))
        })
    }

    /// Ends a template's pause.
    pub fn unpause_template(&self, template: (&str, &str, &str)) -> Result<(), Error> {
        self.turn(template, |books, key| {
            let more = json!({"other_info": {"title": "UNPAUSE"}});
            Ok(books.turn_template(key, TemplateStatus::Approved, &more))
        })
    }

    /// Finds a template's quality to be so: GREEN, YELLOW or RED.
    pub fn set_template_quality(
        &self,
        template: (&str, &str, &str),
        quality: &str,
    ) -> Result<(), Error> {
        self.turn(template, |books, key| {
            let details = books.catalog.of(key);
            let before = std::mem::replace(&mut details.quality, quality.to_owned());
            Ok(books.told(key, "message_template_quality_update", |value| {
                value["previous_quality_score"] = json!(before);
                value["new_quality_score"] = json!(quality);
            }))
        })
    }

    /// Announces that a template's category will be another in a day.
    pub fn announce_template_category(
        &self,
        template: (&str, &str, &str),
        category: TemplateCategory,
    ) -> Result<(), Error> {
        let in_a_day = self.shared().now().as_second() + 24 * 3_600;
        self.turn(template, |books, key| {
            let present = books.template_at(key).map(|it| it.category);
            books.catalog.of(key).correct_category = Some(category);
            Ok(books.told(key, "template_category_update", |value| {
                value["new_category"] = json!(category_word(present).to_uppercase());
                value["correct_category"] = json!(category_word(Some(category)).to_uppercase());
                value["category_update_timestamp"] = json!(in_a_day);
            }))
        })
    }

    /// Changes a template's category.
    pub fn change_template_category(
        &self,
        template: (&str, &str, &str),
        category: TemplateCategory,
    ) -> Result<(), Error> {
        self.turn(template, |books, key| {
            let Some(found) = books.template_at(key) else {
                return Err(Error::UnknownTemplate);
            };
            let before = std::mem::replace(&mut found.category, category);
            let details = books.catalog.of(key);
            details.previous_category = Some(before);
            details.correct_category = None;
            Ok(books.told(key, "template_category_update", |value| {
                value["previous_category"] = json!(category_word(Some(before)).to_uppercase());
                value["new_category"] = json!(category_word(Some(category)).to_uppercase());
            }))
        })
    }

    fn turn(
        &self,
        (waba_id, name, language): (&str, &str, &str),
        act: impl FnOnce(&mut Books, &Key) -> Result<Option<Change>, Error>,
    ) -> Result<(), Error> {
        let key = (waba_id.to_owned(), name.to_owned(), language.to_owned());
        self.shared().change(|state| {
            state.books.number_templates();
            if state.books.template_at(&key).is_none() {
                return Err(Error::UnknownTemplate);
            }
            let Some(change) = act(&mut state.books, &key)? else {
                return Ok(());
            };
            let lane = format!("templates/{waba_id}");
            outbox::publish(self.shared(), state, Parcel::Change { change, lane }, false)
        })
    }
}

impl Books {
    /// Builds a change about a template.
    fn told(
        &mut self,
        key: &Key,
        field: &'static str,
        fill: impl FnOnce(&mut Value),
    ) -> Option<Change> {
        let template = self.template_at(key)?.clone();
        let mut value = self.named(&template);
        fill(&mut value);
        Some(Change {
            waba_id: template.waba_id,
            field,
            value,
        })
    }
}

async fn review(
    Extracted(handle): Extracted<Handle>,
    Json(review): Json<TemplateReview>,
) -> Json<Value> {
    handle.set_template_review(review);
    Json(json!({"done": true}))
}

/// What Meta is to do to a template.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acted {
    waba_id: String,
    name: String,
    language: String,
    act: Act,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    Approve,
    Reject(String),
    Pause,
    Unpause,
    Quality(String),
    AnnounceCategory(TemplateCategory),
    ChangeCategory(TemplateCategory),
    Components(Vec<Value>),
}

async fn act(
    Extracted(handle): Extracted<Handle>,
    Json(acted): Json<Acted>,
) -> Result<Json<Value>, Error> {
    let template = (
        acted.waba_id.as_str(),
        acted.name.as_str(),
        acted.language.as_str(),
    );
    match acted.act {
        Act::Approve => handle.approve_template(template)?,
        Act::Reject(reason) => handle.reject_template(template, &reason)?,
        Act::Pause => handle.pause_template(template)?,
        Act::Unpause => handle.unpause_template(template)?,
        Act::Quality(quality) => handle.set_template_quality(template, &quality)?,
        Act::AnnounceCategory(category) => {
            handle.announce_template_category(template, category)?;
        }
        Act::ChangeCategory(category) => handle.change_template_category(template, category)?,
        Act::Components(components) => {
            handle.set_template_components(template, "POSITIONAL", components)?;
        }
    }
    Ok(Json(json!({"done": true})))
}
