//! The calls that create, edit and delete templates.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::fit::placeholders;
use super::{Key, TemplateReview, key_of};
use crate::books::Books;
use crate::codes::Refusal;
use crate::config::{TemplateCategory, TemplateConfig, TemplateStatus};
use crate::payload::{Change, category_word, template_status_word};

/// How many templates an account creates in an hour at most.
const CREATIONS_MAX: usize = 100;
/// For how long the name of an approved template that was deleted is taken.
const NAME_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Longest body.
const BODY_CHARS_MAX: usize = 1_024;

type Outcome = Result<(Value, Vec<Change>), Refusal>;

fn wrong(subcode: i64, told: impl Into<String>) -> Refusal {
    Refusal::new(100, told).subcode(subcode)
}

/// Creates a template.
pub(crate) fn create(
    books: &mut Books,
    waba_id: &str,
    given: &Map<String, Value>,
    now: Timestamp,
) -> Outcome {
    let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, language) = (text("name"), text("language"));
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    if name.is_empty() || name.len() > 512 || !is_name(name) {
        return Err(wrong(2_388_019, "name is not valid"));
    }
    if language.is_empty() {
        return Err(Refusal::new(100, "the parameter language is required"));
    }
    let category = category(text("category"))?;
    let format = match text("parameter_format").to_uppercase().as_str() {
        "" => "POSITIONAL".to_owned(),
        word => word.to_owned(),
    };
    let components = components_of(given).unwrap_or_default();
    let body = check_components(&components, category)?;
    let key: Key = (waba_id.to_owned(), name.to_owned(), language.to_owned());
    if books.template_at(&key).is_some() {
        let told = "there is already content in this language for this template";
        return Err(wrong(2_388_024, told));
    }
    let named = (waba_id.to_owned(), name.to_owned());
    let gone_at = books.catalog.gone.get(&named);
    if gone_at.is_some_and(|at| now.duration_since(*at) < NAME_KEPT) {
        let told = "this name is being deleted and cannot be used for 30 days";
        return Err(wrong(2_388_023, told));
    }
    let is_recent = |(waba, at): &&(String, Timestamp)| {
        waba == waba_id && now.duration_since(*at) < SignedDuration::from_hours(1)
    };
    let created = &mut books.catalog.created;
    if created.iter().filter(is_recent).count() >= CREATIONS_MAX {
        return Err(Refusal::new(80_008, "too many templates were created"));
    }
    created.push((waba_id.to_owned(), now));
    let template = TemplateConfig {
        waba_id: waba_id.to_owned(),
        name: name.to_owned(),
        language: language.to_owned(),
        category,
        parameter_count: placeholders(&body).len(),
        body,
        status: TemplateStatus::Pending,
    };
    books.templates.push(template);
    let details = books.catalog.of(&key);
    details.components = Some(components);
    details.parameter_format = format;
    details.ttl_seconds = given
        .get("message_send_ttl_seconds")
        .and_then(Value::as_i64);
    let answer = json!({
        "id": details.id.to_string(),
        "status": template_status_word(TemplateStatus::Pending),
        "category": category_word(Some(category)).to_uppercase(),
    });
    Ok((answer, reviewed(books, &key)))
}

/// Edits a template.
pub(crate) fn edit(
    books: &mut Books,
    key: &Key,
    given: &Map<String, Value>,
    now: Timestamp,
) -> Outcome {
    let template = books.template_at(key).cloned();
    let template = template.ok_or_else(|| wrong(33, "the template does not exist"))?;
    let is_approved = template.status == TemplateStatus::Approved;
    if matches!(
        template.status,
        TemplateStatus::Pending | TemplateStatus::Disabled
    ) {
        return Err(wrong(
            2_388_025,
            "a template in this state cannot be edited",
        ));
    }
    let wanted = match given.get("category").and_then(Value::as_str) {
        Some(word) => category(word)?,
        None => template.category,
    };
    if is_approved && wanted != template.category {
        let told = "the category of an approved template cannot be edited";
        return Err(wrong(2_388_025, told));
    }
    let edited = &mut books.catalog.of(key).edited;
    let within = |hours: i64| {
        let length = SignedDuration::from_hours(hours);
        let is_recent = |at: &&Timestamp| now.duration_since(**at) < length;
        edited.iter().filter(is_recent).count()
    };
    if is_approved && (within(24) >= 1 || within(30 * 24) >= 10) {
        let told = "an approved template is edited once in 24 hours, and ten times in 30 days";
        return Err(wrong(2_388_026, told));
    }
    let components = components_of(given);
    let body = components
        .as_ref()
        .map(|components| check_components(components, wanted))
        .transpose()?;
    edited.push(now);
    let details = books.catalog.of(key);
    if components.is_some() {
        details.components = components;
    }
    if let Some(ttl) = given
        .get("message_send_ttl_seconds")
        .and_then(Value::as_i64)
    {
        details.ttl_seconds = Some(ttl);
    }
    let Some(template) = books.template_at(key) else {
        return Err(wrong(33, "the template does not exist"));
    };
    template.category = wanted;
    template.status = TemplateStatus::Pending;
    if let Some(body) = body {
        template.parameter_count = placeholders(&body).len();
        template.body = body;
    }
    Ok((json!({"success": true}), reviewed(books, key)))
}

/// Deletes a template by its name in all languages, or the one with an id.
pub(crate) fn delete(
    books: &mut Books,
    waba_id: &str,
    name: &str,
    id: Option<&str>,
    now: Timestamp,
) -> Outcome {
    let only = match id {
        Some(id) => Some(books.catalog.by_id(id).ok_or_else(|| not_found(name))?),
        None => None,
    };
    let is_meant = |it: &TemplateConfig| {
        it.waba_id == waba_id
            && it.name == name
            && only.as_ref().is_none_or(|key| key_of(it) == *key)
    };
    let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut books.templates)
        .into_iter()
        .partition(is_meant);
    books.templates = kept;
    if gone.is_empty() {
        return Err(not_found(name));
    }
    let mut changes = Vec::new();
    for template in gone {
        if template.status == TemplateStatus::Approved {
            let named = (template.waba_id.clone(), template.name.clone());
            books.catalog.gone.insert(named, now);
        }
        changes.push(books.template_change(&template, "DELETED", &Value::Null));
        books.catalog.details.remove(&key_of(&template));
    }
    Ok((json!({"success": true}), changes))
}

fn not_found(name: &str) -> Refusal {
    let told = format!("message template \"{name}\" not found");
    Refusal::new(100, told).subcode(2_593_002)
}

/// What becomes of what was submitted, if it is not left to somebody.
fn reviewed(books: &mut Books, key: &Key) -> Vec<Change> {
    let review = books.catalog.review.clone();
    let change = match review {
        TemplateReview::Hold => None,
        TemplateReview::Approve => books.turn_template(key, TemplateStatus::Approved, &Value::Null),
        TemplateReview::Reject(reason) => {
            books.catalog.of(key).rejected_reason.clone_from(&reason);
            books.turn_template(key, TemplateStatus::Rejected, &json!({"reason": reason}))
        }
    };
    change.into_iter().collect()
}

fn components_of(given: &Map<String, Value>) -> Option<Vec<Value>> {
    given.get("components")?.as_array().cloned()
}

/// Checks what a template is made of, and returns its body.
fn check_components(components: &[Value], category: TemplateCategory) -> Result<String, Refusal> {
    let find = |kind: &str| {
        let is_meant = |it: &&Value| {
            let word = it.get("type").and_then(Value::as_str).unwrap_or_default();
            word.eq_ignore_ascii_case(kind)
        };
        components.iter().find(is_meant)
    };
    let body = find("BODY");
    let text = body.and_then(|it| it.get("text")).and_then(Value::as_str);
    let is_code = category == TemplateCategory::Authentication;
    let text = match text {
        // The platform's own words.
        None if is_code && body.is_some() => "{{1}} is your verification code.",
        Some(_) if is_code => {
            return Err(wrong(
                2_388_042,
                "an authentication template has no text of its own",
            ));
        }
        Some(text) if !text.trim().is_empty() => text,
        _ => return Err(wrong(2_388_042, "component of type BODY is missing")),
    };
    if text.chars().count() > BODY_CHARS_MAX {
        return Err(wrong(2_388_040, "the body has too many characters"));
    }
    let count = placeholders(text).len();
    if count > 0 && !is_code {
        let example = body.and_then(|it| it.get("example"));
        let of = |pointer: &str| {
            let found = example.and_then(|it| it.pointer(pointer));
            found.and_then(Value::as_array).map(Vec::len)
        };
        let given = of("/body_text/0").or_else(|| of("/body_text_named_params"));
        if given != Some(count) {
            let told = "component of type BODY is missing expected fields: example";
            return Err(wrong(2_388_043, told));
        }
        if text.trim().starts_with("{{") || text.trim().ends_with("}}") {
            let told = "variables can't be at the start or end of the template";
            return Err(wrong(2_388_299, told));
        }
    }
    Ok(text.to_owned())
}

fn category(word: &str) -> Result<TemplateCategory, Refusal> {
    match word.to_uppercase().as_str() {
        "UTILITY" => Ok(TemplateCategory::Utility),
        "MARKETING" => Ok(TemplateCategory::Marketing),
        "AUTHENTICATION" => Ok(TemplateCategory::Authentication),
        _ => Err(Refusal::new(
            100,
            "param category must be one of AUTHENTICATION, MARKETING, UTILITY",
        )),
    }
}
