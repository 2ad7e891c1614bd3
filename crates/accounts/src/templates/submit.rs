//! Templates created, edited and deleted at the platform.
//!
//! What is asked for is recorded before the call: a repeat under the same request id finds it, looks
//! at the platform, and calls again only if nothing is there. What the platform said is recorded
//! after it.

use casement_domain::template::{self as rules, OverBudget};
use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use casement_shell::grpc::{bad_fields, refuse};
use casement_whatsapp::errors::Refused;
use casement_whatsapp::manage::{CallError, Submitted};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::read;
use super::sync::{Syncer, Why, refusal};
use super::{form, wire};
use crate::api::{invalid, status};
use crate::decide::{Cause, template_recorded};
use crate::ledger::Ledger;
use crate::platform::Leave;
use crate::template;

/// Stands as the platform's word on a template that was asked for, as long as nothing is known of
/// what became of it.
const SUBMITTING: &str = "SUBMITTING";

/// On one that the platform did not take.
const NOT_CREATED: &str = "NOT_CREATED";

/// Longest request id, in characters.
const REQUEST_ID_LEN_MAX: usize = 128;

/// For how long edits are remembered: as long as any limit looks back.
const EDITS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Checks a template that is to be created, or what it is to be edited to.
pub(super) fn checked(
    wanted: &v1::Template,
    request_id: &str,
    definition: Option<&v1::TemplateDefinition>,
) -> Result<v1::Template, Status> {
    // What it is made of says all about its parameters.
    let base = v1::Template {
        waba_id: wanted.waba_id.clone(),
        name: wanted.name.clone(),
        language: wanted.language.clone(),
        category: wanted.category,
        message_send_ttl: wanted.message_send_ttl,
        status: v1::TemplateStatus::Pending.into(),
        ..v1::Template::default()
    };
    let (base, mut problems) = match template::template("template", base.clone()) {
        Ok(base) => (base, Vec::new()),
        Err(problems) => (base, problems),
    };
    if let Some(definition) = definition {
        let at = "template.definition";
        problems.extend(form::problems(at, definition, base.category()));
    }
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    if request_id.chars().count() > REQUEST_ID_LEN_MAX {
        let problem = format!("has more than {REQUEST_ID_LEN_MAX} characters");
        return Err(bad_fields([("request_id", problem)]));
    }
    Ok(base)
}

impl Syncer {
    /// Creates a template, or finds what an earlier call under the same request id left.
    pub(super) async fn create(
        &self,
        wanted: v1::Template,
        definition: v1::TemplateDefinition,
        request_id: &str,
        allow_category_change: bool,
        caller: &str,
    ) -> Result<v1::Template, Status> {
        match self.known(&wanted).await? {
            Some(known) if is_repeat(&known, request_id) && !is_open(&known) => return Ok(known),
            Some(known) if is_open(&known) && is_repeat(&known, request_id) => {
                if let Some(found) = self.looked_up(&wanted, caller).await? {
                    return Ok(found);
                }
            }
            Some(known) if known.status() != v1::TemplateStatus::Deleted => {
                let text = "the account has a template of this name in this language";
                return Err(refuse(Code::AlreadyExists, "TEMPLATE_EXISTS", text));
            }
            _ => {}
        }
        let leave = self.allowed(&wanted.waba_id).await?;
        let cause = self.book.cause(caller);
        let mut asked = v1::Template {
            status: v1::TemplateStatus::Pending.into(),
            platform_status: SUBMITTING.to_owned(),
            create_time: Some(timestamp(cause.time)),
            request_id: request_id.to_owned(),
            ..wanted
        };
        read::define(&mut asked, definition.clone());
        {
            let mut desk = self.book.desk().await.map_err(status)?;
            within_budget(desk.ledger(), &asked, cause.time)?;
            let event = template_recorded(asked.clone(), &cause);
            desk.settle(&cause, |_| Ok(Some(event.clone())))
                .await
                .map_err(status)?;
        }
        let mut body = json!({
            "name": asked.name,
            "language": asked.language,
            "category": word(asked.category()),
            "components": wire::write(&definition),
            "parameter_format": match form::parameter_format(&definition) {
                v1::TemplateParameterFormat::Named => "NAMED",
                _ => "POSITIONAL",
            },
        });
        if allow_category_change {
            body["allow_category_change"] = true.into();
        }
        put_ttl(&mut body, &asked);
        let called = self.platform.manager();
        let answer = called.create_template(leave.token(), &asked.waba_id, body);
        match answer.await {
            Ok(submitted) => {
                let created = v1::Template {
                    template_id: submitted.id.clone(),
                    ..taken(asked, &submitted)
                };
                self.put(created, &cause).await
            }
            Err(error) if error.is_ambiguous() => match self.looked_up(&asked, caller).await? {
                Some(found) => Ok(found),
                None => Err(unknown()),
            },
            Err(error) => {
                let refused = v1::Template {
                    status: v1::TemplateStatus::Deleted.into(),
                    platform_status: NOT_CREATED.to_owned(),
                    rejected_reason: refusal(&error),
                    create_time: None,
                    request_id: String::new(),
                    ..asked
                };
                self.put(refused, &cause).await?;
                Err(refused_by_platform(&error))
            }
        }
    }

    /// Edits a template.
    pub(super) async fn edit(
        &self,
        wanted: v1::Template,
        definition: Option<v1::TemplateDefinition>,
        request_id: &str,
        caller: &str,
    ) -> Result<v1::Template, Status> {
        let Some(known) = self.known(&wanted).await? else {
            return Err(not_there());
        };
        if is_repeat(&known, request_id) {
            return Ok(known);
        }
        editable(&known, wanted.category())?;
        let edits = edit_times(&known);
        let cause = self.book.cause(caller);
        let now = cause.time;
        if known.status() == v1::TemplateStatus::Approved {
            rules::edit(&edits, now).map_err(|over| over_budget(&over))?;
        }
        let leave = self.allowed(&known.waba_id).await?;
        let kept = edits
            .into_iter()
            .filter(|at| now.duration_since(*at) < EDITS_KEPT);
        let asked = v1::Template {
            edit_times: kept.chain([now]).map(timestamp).collect(),
            request_id: request_id.to_owned(),
            ..known.clone()
        };
        let asked = self.put(asked, &cause).await?;
        let mut body = json!({});
        if let Some(definition) = &definition {
            body["components"] = Value::Array(wire::write(definition));
        }
        if wanted.category() != known.category() {
            body["category"] = word(wanted.category()).into();
        }
        put_ttl(&mut body, &wanted);
        let called = self.platform.manager();
        let answer = called.edit_template(leave.token(), &known.template_id, body);
        match answer.await {
            Ok(submitted) => {
                let edited = v1::Template {
                    category: wanted.category().into(),
                    message_send_ttl: wanted.message_send_ttl.or(asked.message_send_ttl),
                    ..taken(asked, &submitted)
                };
                let edited = match definition {
                    Some(definition) => {
                        let mut edited = edited;
                        read::define(&mut edited, definition);
                        edited
                    }
                    None => edited,
                };
                let edited = self.put(edited, &cause).await?;
                // What the platform says of it now; if it cannot be asked, a webhook will tell.
                Ok(self.looked_up(&edited, caller).await?.unwrap_or(edited))
            }
            Err(error) if error.is_ambiguous() => {
                self.looked_up(&asked, caller).await?;
                Err(unknown())
            }
            Err(error) => {
                let before = v1::Template {
                    edit_times: known.edit_times.clone(),
                    request_id: known.request_id.clone(),
                    ..asked
                };
                self.put(before, &cause).await?;
                Err(refused_by_platform(&error))
            }
        }
    }

    /// Deletes a template in one language, or in all.
    pub(super) async fn delete(
        &self,
        waba_id: &str,
        name: &str,
        language: Option<&str>,
        caller: &str,
    ) -> Result<Vec<v1::Template>, Status> {
        let meant: Vec<v1::Template> = {
            let desk = self.book.desk().await.map_err(status)?;
            let records = desk.ledger().templates.values().map(|entry| &entry.record);
            let is_meant = |known: &&v1::Template| {
                known.waba_id == waba_id
                    && known.name == name
                    && language.is_none_or(|language| known.language == language)
            };
            records.filter(is_meant).cloned().collect()
        };
        if meant.is_empty() {
            return Err(not_there());
        }
        let is_gone = |known: &v1::Template| known.status() == v1::TemplateStatus::Deleted;
        if meant.iter().all(is_gone) {
            return Ok(meant);
        }
        let id = match (language, meant.as_slice()) {
            (Some(_), [one]) if one.template_id.is_empty() => return Err(unread()),
            (Some(_), [one]) => Some(one.template_id.as_str()),
            _ => None,
        };
        let leave = self.allowed(waba_id).await?;
        let called = self.platform.manager();
        let answer = called.delete_template(leave.token(), waba_id, name, id);
        match answer.await {
            Ok(()) => {}
            Err(error) if error.refused() == Some(Refused::NotThere) => {}
            Err(error) if error.is_ambiguous() => return Err(unknown()),
            Err(error) => return Err(refused_by_platform(&error)),
        }
        let cause = self.book.cause(caller);
        let mut gone = Vec::with_capacity(meant.len());
        for known in meant {
            let deleted = v1::Template {
                status: v1::TemplateStatus::Deleted.into(),
                platform_status: "DELETED".to_owned(),
                pause: None,
                request_id: String::new(),
                ..known
            };
            gone.push(self.put(deleted, &cause).await?);
        }
        Ok(gone)
    }

    pub(super) async fn known(&self, of: &v1::Template) -> Result<Option<v1::Template>, Status> {
        let desk = self.book.desk().await.map_err(status)?;
        Ok(desk.ledger().template(of).map(|entry| entry.record.clone()))
    }

    /// Reads a template from the platform, and returns its record if it is there.
    async fn looked_up(
        &self,
        of: &v1::Template,
        caller: &str,
    ) -> Result<Option<v1::Template>, Status> {
        let (waba_id, name) = (&of.waba_id, Some(of.name.as_str()));
        let read = self.read(waba_id, name, Why::Demand, caller).await;
        let synced = read.map_err(status)?;
        if !synced.error.is_empty() {
            return Ok(None);
        }
        let known = self.known(of).await?;
        let is_there = |known: &v1::Template| {
            !known.template_id.is_empty() && known.status() != v1::TemplateStatus::Deleted
        };
        Ok(known.filter(is_there))
    }

    async fn allowed(&self, waba_id: &str) -> Result<Leave, Status> {
        let leave = self.leave(waba_id).await.map_err(status)?;
        leave.map_err(|why| refuse(Code::FailedPrecondition, "PLATFORM_NOT_REACHED", why))
    }

    /// Records a template as it is now, and returns it.
    async fn put(&self, record: v1::Template, cause: &Cause) -> Result<v1::Template, Status> {
        let mut desk = self.book.desk().await.map_err(status)?;
        desk.settle(cause, |ledger| {
            let present = ledger.template(&record).map(|entry| &entry.record);
            let is_so = present == Some(&record);
            Ok((!is_so).then(|| template_recorded(record.clone(), cause)))
        })
        .await
        .map_err(status)?;
        Ok(record)
    }
}

fn is_repeat(known: &v1::Template, request_id: &str) -> bool {
    !request_id.is_empty() && known.request_id == request_id
}

fn is_open(known: &v1::Template) -> bool {
    known.platform_status == SUBMITTING
}

/// Puts in what the platform said to it.
fn taken(asked: v1::Template, submitted: &Submitted) -> v1::Template {
    let status = match submitted.status.as_str() {
        "" => v1::TemplateStatus::Pending,
        word => read::status(word).unwrap_or(v1::TemplateStatus::Pending),
    };
    v1::Template {
        status: status.into(),
        platform_status: match submitted.status.as_str() {
            "" => "PENDING".to_owned(),
            word => word.to_owned(),
        },
        category: read::category(&submitted.category, asked.category()).into(),
        rejected_reason: String::new(),
        pause: None,
        ..asked
    }
}

/// Checks that the platform would take an edit of a template as it stands there.
///
/// WhatsApp Cloud API: edit templates. Approved, rejected and paused ones can be edited; the
/// category of an approved one cannot.
fn editable(known: &v1::Template, category: v1::TemplateCategory) -> Result<(), Status> {
    use v1::TemplateStatus::{Approved, Deleted, Paused, Rejected};
    if known.status() == Deleted {
        return Err(not_there());
    }
    if known.template_id.is_empty() {
        return Err(unread());
    }
    if !matches!(known.status(), Approved | Rejected | Paused) {
        let word = known.status().as_str_name();
        let word = word.trim_start_matches("TEMPLATE_STATUS_");
        let text = format!("the template is {word}; one that is APPROVED, REJECTED or PAUSED is");
        let text = format!("{text} edited");
        return Err(refuse(Code::FailedPrecondition, "NOT_EDITABLE", text));
    }
    if known.status() == Approved && category != known.category() {
        let text = "the category of an approved template cannot be changed";
        return Err(refuse(Code::FailedPrecondition, "CATEGORY_FIXED", text));
    }
    Ok(())
}

fn within_budget(ledger: &Ledger, asked: &v1::Template, now: Timestamp) -> Result<(), Status> {
    let records = ledger.templates.values().map(|entry| &entry.record);
    let of_account: Vec<_> = records
        .filter(|known| known.waba_id == asked.waba_id)
        .collect();
    let created = of_account
        .iter()
        .filter_map(|known| time("create_time", known.create_time.as_ref()));
    let is_there = |known: &&&v1::Template| known.status() != v1::TemplateStatus::Deleted;
    let count = of_account.iter().filter(is_there).count();
    rules::creation(created, count, None, now).map_err(|over| over_budget(&over))
}

fn edit_times(known: &v1::Template) -> Vec<Timestamp> {
    let times = known.edit_times.iter();
    times
        .filter_map(|at| time("edit_times", Some(at)))
        .collect()
}

fn time(field: &'static str, stored: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    instant(field, stored).ok().flatten()
}

fn word(category: v1::TemplateCategory) -> &'static str {
    let name = category.as_str_name();
    name.strip_prefix("TEMPLATE_CATEGORY_").unwrap_or(name)
}

fn put_ttl(body: &mut Value, of: &v1::Template) {
    if let Some(ttl) = &of.message_send_ttl {
        body["message_send_ttl_seconds"] = ttl.seconds.into();
    }
}

fn over_budget(over: &OverBudget) -> Status {
    let reason = match over {
        OverBudget::Creations { .. } => "TOO_MANY_CREATIONS",
        OverBudget::Templates { .. } => "TOO_MANY_TEMPLATES",
        OverBudget::Edits { .. } => "TOO_MANY_EDITS",
    };
    refuse(Code::ResourceExhausted, reason, over.to_string())
}

pub(super) fn not_there() -> Status {
    let text = "template is not on record";
    refuse(Code::NotFound, "TEMPLATE_UNKNOWN", text)
}

fn unread() -> Status {
    let text = "the template was never read from the platform; sync the account's templates first";
    refuse(Code::FailedPrecondition, "TEMPLATE_NOT_READ", text)
}

fn unknown() -> Status {
    let text = "the platform did not answer; repeating it under the same request_id is safe";
    refuse(Code::Unavailable, "OUTCOME_UNKNOWN", text)
}

fn refused_by_platform(error: &CallError) -> Status {
    let code = match error.refused() {
        Some(Refused::TooManyCalls) => Code::ResourceExhausted,
        Some(Refused::Token | Refused::Permission | Refused::App) => Code::FailedPrecondition,
        _ => Code::InvalidArgument,
    };
    refuse(code, "REFUSED_BY_PLATFORM", refusal(error))
}
