//! What a webhook about a template changes on its record. Pure.
//!
//! A webhook is not the whole truth, and may be late: the template is read from the platform after
//! each. What it says is taken up at once all the same, so that no send leaves in between that the
//! platform would refuse.

use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use casement_event::v1::account_facts::Facts;
use jiff::Timestamp;
use serde_json::Value;

use super::read;
use crate::template::language;

/// The webhook fields about templates (Meta: webhooks).
const STATUS: &str = "message_template_status_update";
const FIELDS: [&str; 5] = [
    STATUS,
    "message_template_quality_update",
    "template_category_update",
    "template_correct_category_detection",
    "message_template_components_update",
];

/// A webhook about one template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) waba_id: String,
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) time: Timestamp,
    facts: Facts,
}

/// Reads a report, if it is about a template that can be named. One without its own time counts
/// from when it was stored.
pub(crate) fn read(reported: &v1::AccountReported, stored_at: Timestamp) -> Option<Told> {
    if !FIELDS.contains(&reported.field.as_str()) {
        return None;
    }
    let mut facts = match reported.facts.clone().and_then(|facts| facts.facts) {
        Some(facts) => facts,
        // From before facts were stored as such.
        None => Facts::TemplateStatus(from_json(reported)?),
    };
    if let Facts::TemplateStatus(status) = &mut facts
        && !reported.event.is_empty()
    {
        status.event.clone_from(&reported.event);
    }
    let template = template_of(&facts)?;
    if template.name.is_empty() {
        return None;
    }
    let time = reported.times.as_ref().and_then(|times| {
        let time = times.event_time.as_ref().or(times.received_time.as_ref());
        instant("times", time).ok().flatten()
    });
    Some(Told {
        waba_id: reported.entry_id.clone(),
        name: template.name.clone(),
        language: language(&template.language)?,
        time: time.unwrap_or(stored_at),
        facts,
    })
}

fn template_of(facts: &Facts) -> Option<&v1::TemplateName> {
    match facts {
        Facts::TemplateStatus(it) => it.template.as_ref(),
        Facts::TemplateQuality(it) => it.template.as_ref(),
        Facts::TemplateCategory(it) => it.template.as_ref(),
        Facts::TemplateComponents(it) => it.template.as_ref(),
        _ => None,
    }
}

fn from_json(reported: &v1::AccountReported) -> Option<v1::TemplateStatusFacts> {
    if reported.field != STATUS {
        return None;
    }
    let value: Value = serde_json::from_str(&reported.content_json).ok()?;
    let text = |pointer: &str| {
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Some(v1::TemplateStatusFacts {
        template: Some(v1::TemplateName {
            name: text("/message_template_name"),
            language: text("/message_template_language"),
            ..v1::TemplateName::default()
        }),
        event: text("/event"),
        title: text("/other_info/title"),
        ..v1::TemplateStatusFacts::default()
    })
}

impl Told {
    /// Names the template; its other fields are empty.
    pub(crate) fn template(&self) -> v1::Template {
        v1::Template {
            waba_id: self.waba_id.clone(),
            name: self.name.clone(),
            language: self.language.clone(),
            ..v1::Template::default()
        }
    }

    /// Returns the record as it is from now on.
    pub(crate) fn applied(&self, present: &v1::Template) -> v1::Template {
        let mut record = present.clone();
        match &self.facts {
            Facts::TemplateStatus(facts) => self.status(facts, &mut record),
            Facts::TemplateQuality(facts) => {
                record.quality = read::quality(&facts.new_score).into();
            }
            Facts::TemplateCategory(facts) => self.category(facts, &mut record),
            // What it says is a part only: the whole is read from the platform.
            _ => {}
        }
        record
    }

    /// Returns a record that knows later things, with what only reports tell: which pause it is
    /// that the template is in.
    pub(crate) fn completed(&self, present: &v1::Template) -> v1::Template {
        let mut record = present.clone();
        if let Facts::TemplateStatus(facts) = &self.facts
            && read::status(&facts.event.to_ascii_uppercase()) == Some(v1::TemplateStatus::Paused)
            && present.status() == v1::TemplateStatus::Paused
            && present
                .pause
                .as_ref()
                .is_none_or(|pause| pause.kind.is_empty())
        {
            record.pause = Some(read::pause(&facts.title.to_ascii_uppercase(), self.time));
        }
        record
    }

    fn status(&self, facts: &v1::TemplateStatusFacts, record: &mut v1::Template) {
        let event = facts.event.to_ascii_uppercase();
        let Some(status) = read::status(&event) else {
            return;
        };
        let is_paused = status == v1::TemplateStatus::Paused;
        let kind = facts.title.to_ascii_uppercase();
        let is_known = record.pause.as_ref().is_some_and(|known| {
            record.status() == status && (kind.is_empty() || known.kind == kind)
        });
        match (is_paused, is_known) {
            (true, false) => record.pause = Some(read::pause(&kind, self.time)),
            (true, true) => {}
            (false, _) => record.pause = None,
        }
        record.status = status.into();
        if !record.template_id.is_empty() {
            record.platform_status = event;
        }
        if status == v1::TemplateStatus::Rejected {
            let told = [&facts.reason, &facts.rejection_reason];
            let reason = told.into_iter().find(|it| !it.is_empty() && *it != "NONE");
            record.rejected_reason = reason.cloned().unwrap_or_default();
        } else if status == v1::TemplateStatus::Approved {
            record.rejected_reason.clear();
        }
    }

    fn category(&self, facts: &v1::TemplateCategoryFacts, record: &mut v1::Template) {
        let pending = !facts.correct_category.is_empty() && facts.previous_category.is_empty();
        let (from, to) = if pending {
            (&facts.new_category, &facts.correct_category)
        } else {
            (&facts.previous_category, &facts.new_category)
        };
        if !pending {
            record.category = read::category(to, record.category()).into();
        }
        let time = match (&facts.update_time, pending) {
            (Some(time), true) => *time,
            _ => timestamp(self.time),
        };
        record.category_change = Some(v1::TemplateCategoryChange {
            from_category: from.to_ascii_uppercase(),
            to_category: to.to_ascii_uppercase(),
            time: Some(time),
            is_done: !pending,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED_AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn reported(field: &str, event: &str, content: &Value) -> v1::AccountReported {
        v1::AccountReported {
            entry_id: "800".to_owned(),
            field: field.to_owned(),
            event: event.to_owned(),
            content_json: content.to_string(),
            ..v1::AccountReported::default()
        }
    }

    fn content() -> Value {
        serde_json::json!({
            "event": "PAUSED",
            "message_template_id": 1_689_556_908_129_832_u64,
            "message_template_name": "order_ready",
            "message_template_language": "en-US",
            "reason": null,
            "other_info": {"title": "FIRST_PAUSE"},
        })
    }

    fn name() -> v1::TemplateName {
        v1::TemplateName {
            id: "1".to_owned(),
            name: "order_ready".to_owned(),
            language: "en_US".to_owned(),
        }
    }

    fn with(field: &str, facts: Facts) -> v1::AccountReported {
        v1::AccountReported {
            facts: Some(v1::AccountFacts { facts: Some(facts) }),
            ..reported(field, "", &Value::Null)
        }
    }

    fn approved() -> v1::Template {
        v1::Template {
            category: v1::TemplateCategory::Utility.into(),
            status: v1::TemplateStatus::Approved.into(),
            ..v1::Template::default()
        }
    }

    #[test]
    fn a_report_names_the_template_as_it_is_on_record() {
        let told = read(&reported(STATUS, "", &content()), STORED_AT).unwrap();
        let named = told.template();
        assert_eq!(
            (
                named.waba_id.as_str(),
                named.name.as_str(),
                named.language.as_str()
            ),
            ("800", "order_ready", "en_US")
        );
        assert_eq!(told.time, STORED_AT);
        let nameless = serde_json::json!({ "event": "APPROVED" });
        assert_eq!(
            read(&reported(STATUS, "APPROVED", &nameless), STORED_AT),
            None
        );
        let other = reported("account_update", "DISABLED", &content());
        assert_eq!(read(&other, STORED_AT), None);
    }

    #[test]
    fn a_report_counts_from_its_own_time() {
        let at = Timestamp::from_second(1_751_247_548).unwrap();
        let timed = v1::AccountReported {
            times: Some(v1::Times {
                event_time: Some(timestamp(at)),
                ..v1::Times::default()
            }),
            ..reported(STATUS, "APPROVED", &content())
        };
        assert_eq!(read(&timed, STORED_AT).unwrap().time, at);
    }

    #[test]
    fn which_pause_it_is_is_told_also_where_a_reading_was_faster() {
        let told = read(&reported(STATUS, "", &content()), STORED_AT).unwrap();
        let seen = v1::Template {
            status: v1::TemplateStatus::Paused.into(),
            pause: Some(read::pause("", STORED_AT)),
            ..approved()
        };
        let completed = told.completed(&seen);
        let pause = completed.pause.clone().unwrap();
        assert_eq!(pause.kind, "FIRST_PAUSE");
        assert!(pause.expected_end_time.is_some());
        assert_eq!(told.completed(&completed), completed, "told again");
        let over = approved();
        assert_eq!(
            told.completed(&over),
            over,
            "a pause that is over stays over"
        );
    }

    #[test]
    fn a_pause_says_when_it_ends() {
        let told = read(&reported(STATUS, "", &content()), STORED_AT).unwrap();
        let paused = told.applied(&approved());
        assert_eq!(paused.status(), v1::TemplateStatus::Paused);
        let pause = paused.pause.clone().unwrap();
        assert_eq!(pause.kind, "FIRST_PAUSE");
        assert_eq!(pause.expected_end_time.unwrap().seconds, 3 * 3_600);
        assert_eq!(told.applied(&paused), paused, "told again");
        let over = read(&reported(STATUS, "APPROVED", &content()), STORED_AT).unwrap();
        let over = over.applied(&paused);
        assert_eq!(
            (over.status(), over.pause),
            (v1::TemplateStatus::Approved, None)
        );
    }

    #[test]
    fn what_does_not_change_whether_a_template_can_be_sent_changes_nothing() {
        for event in [
            "FLAGGED",
            "LOCKED",
            "IN_APPEAL",
            "LIMIT_EXCEEDED",
            "SOMETHING_NEW",
        ] {
            let told = read(&reported(STATUS, event, &content()), STORED_AT).unwrap();
            assert_eq!(told.applied(&approved()), approved(), "{event}");
        }
    }

    #[test]
    fn a_rejection_says_why() {
        let facts = Facts::TemplateStatus(v1::TemplateStatusFacts {
            template: Some(name()),
            event: "REJECTED".to_owned(),
            reason: "INVALID_FORMAT".to_owned(),
            ..v1::TemplateStatusFacts::default()
        });
        let told = read(&with(STATUS, facts), STORED_AT).unwrap();
        let rejected = told.applied(&approved());
        assert_eq!(rejected.status(), v1::TemplateStatus::Rejected);
        assert_eq!(rejected.rejected_reason, "INVALID_FORMAT");
    }

    #[test]
    fn a_category_changes_when_it_is_changed_and_not_when_that_is_announced() {
        let at = timestamp(Timestamp::from_second(86_400).unwrap());
        let facts = |previous: &str, new: &str, correct: &str| {
            Facts::TemplateCategory(v1::TemplateCategoryFacts {
                template: Some(name()),
                previous_category: previous.to_owned(),
                new_category: new.to_owned(),
                correct_category: correct.to_owned(),
                update_time: Some(at),
            })
        };
        let field = "template_category_update";
        let pending = with(field, facts("", "UTILITY", "MARKETING"));
        let announced = read(&pending, STORED_AT).unwrap().applied(&approved());
        assert_eq!(announced.category(), v1::TemplateCategory::Utility);
        let change = announced.category_change.clone().unwrap();
        assert_eq!(
            (change.to_category.as_str(), change.time, change.is_done),
            ("MARKETING", Some(at), false)
        );
        let done = with(field, facts("UTILITY", "MARKETING", ""));
        let changed = read(&done, STORED_AT).unwrap().applied(&announced);
        assert_eq!(changed.category(), v1::TemplateCategory::Marketing);
        assert!(changed.category_change.unwrap().is_done);
    }

    #[test]
    fn quality_is_what_was_told_last() {
        let facts = Facts::TemplateQuality(v1::TemplateQualityFacts {
            template: Some(name()),
            previous_score: "GREEN".to_owned(),
            new_score: "RED".to_owned(),
        });
        let told = read(&with("message_template_quality_update", facts), STORED_AT).unwrap();
        assert_eq!(
            told.applied(&approved()).quality(),
            v1::TemplateQuality::Red
        );
    }
}
