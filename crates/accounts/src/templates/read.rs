//! From what the platform tells of a template to the record. Pure.

use casement_domain::template::{PauseKind, Placeholders, expected_end, placeholders};
use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use casement_whatsapp::manage::FullTemplate;
use jiff::Timestamp;

use super::wire;
use crate::template::language;

/// How long the platform tries, if a template says -1 (WhatsApp Cloud API: time to live).
const LONGEST_TTL_SECONDS: i64 = 30 * 24 * 3_600;

/// Returns the record of a template as the platform has it now; `None` if its name or language is
/// none that a record can have. What the platform does not tell stays as it is on record.
pub(super) fn record(
    waba_id: &str,
    told: &FullTemplate,
    present: Option<&v1::Template>,
    now: Timestamp,
) -> Option<v1::Template> {
    let before = present.cloned().unwrap_or_default();
    let definition = wire::read(&told.components, &told.parameter_format);
    let status = status(&told.status).unwrap_or_else(|| match before.status() {
        v1::TemplateStatus::Unspecified => v1::TemplateStatus::Pending,
        known => known,
    });
    let mut record = v1::Template {
        waba_id: waba_id.to_owned(),
        name: told.name.clone(),
        language: language(&told.language)?,
        category: category(&told.category, before.category()).into(),
        status: status.into(),
        template_id: told.id.clone(),
        quality: quality(&told.quality).into(),
        rejected_reason: told.rejected_reason.clone(),
        sub_category: told.sub_category.clone(),
        link_tracking_opted_out: told.link_tracking_opted_out,
        message_send_ttl: told.ttl_seconds.and_then(ttl),
        platform_status: told.status.clone(),
        category_change: category_change(told, &before),
        ..before
    };
    if record.rejected_reason == "NONE" {
        record.rejected_reason.clear();
    }
    match (status, &record.pause) {
        (v1::TemplateStatus::Paused, None) => record.pause = Some(pause("", now)),
        (v1::TemplateStatus::Paused, Some(_)) | (_, None) => {}
        (_, Some(_)) => record.pause = None,
    }
    define(&mut record, definition);
    Some(record)
}

/// Puts in what a template is made of, and what follows for its body.
pub(super) fn define(record: &mut v1::Template, definition: v1::TemplateDefinition) {
    let body = definition.body.as_ref().map(|body| body.text.clone());
    record.body = body.unwrap_or_default();
    let is_code = record.category() == v1::TemplateCategory::Authentication;
    let (count, names) = match placeholders(&record.body) {
        // The platform's own text, with the code in it.
        Ok(Placeholders::Numbered(_)) if record.body.is_empty() && is_code => (1, Vec::new()),
        Ok(Placeholders::Numbered(count)) => (count, Vec::new()),
        Ok(Placeholders::Named(names)) => (u32::try_from(names.len()).unwrap_or(u32::MAX), names),
        Err(_) => (
            record.body_parameter_count,
            record.body_parameter_names.clone(),
        ),
    };
    record.body_parameter_count = count;
    record.body_parameter_names = names;
    record.definition = Some(definition);
}

/// Returns the status that the platform's word leaves a template in; `None` if it changes nothing
/// about whether it can be sent, or nobody knows the word.
///
/// A warning (FLAGGED), a lock against edits (LOCKED) and an appeal (IN_APPEAL) change nothing
/// yet. A template that is to be deleted, or archived, takes no new messages. One that is brought
/// back from the archive counts as approved: if it is not, the first send says so.
pub(crate) fn status(word: &str) -> Option<v1::TemplateStatus> {
    match word.to_ascii_uppercase().as_str() {
        "APPROVED" | "REINSTATED" | "UNARCHIVED" => Some(v1::TemplateStatus::Approved),
        "PENDING" => Some(v1::TemplateStatus::Pending),
        "REJECTED" => Some(v1::TemplateStatus::Rejected),
        "PAUSED" => Some(v1::TemplateStatus::Paused),
        "DISABLED" | "ARCHIVED" => Some(v1::TemplateStatus::Disabled),
        "DELETED" | "PENDING_DELETION" => Some(v1::TemplateStatus::Deleted),
        _ => None,
    }
}

/// Reads a category; an unknown word leaves what is on record.
pub(super) fn category(word: &str, before: v1::TemplateCategory) -> v1::TemplateCategory {
    match word.to_ascii_uppercase().as_str() {
        "UTILITY" => v1::TemplateCategory::Utility,
        "AUTHENTICATION" => v1::TemplateCategory::Authentication,
        "MARKETING" => v1::TemplateCategory::Marketing,
        _ => before,
    }
}

/// Reads a quality.
pub(super) fn quality(word: &str) -> v1::TemplateQuality {
    match word.to_ascii_uppercase().as_str() {
        "GREEN" => v1::TemplateQuality::Green,
        "YELLOW" => v1::TemplateQuality::Yellow,
        "RED" => v1::TemplateQuality::Red,
        "UNKNOWN" => v1::TemplateQuality::Unknown,
        _ => v1::TemplateQuality::Unspecified,
    }
}

/// Returns a pause that begins now.
pub(super) fn pause(kind: &str, now: Timestamp) -> v1::TemplatePause {
    v1::TemplatePause {
        kind: kind.to_owned(),
        time: Some(timestamp(now)),
        expected_end_time: expected_end(PauseKind::parse(kind), now).map(timestamp),
    }
}

/// Returns when a template's pause is expected to end, if it is in one.
pub(crate) fn pause_ends_at(of: &v1::Template) -> Option<Timestamp> {
    if of.status() != v1::TemplateStatus::Paused {
        return None;
    }
    let end = of.pause.as_ref()?.expected_end_time.as_ref();
    instant("expected_end_time", end).ok().flatten()
}

fn ttl(seconds: i64) -> Option<prost_types::Duration> {
    let seconds = match seconds {
        -1 => LONGEST_TTL_SECONDS,
        seconds if seconds > 0 => seconds,
        _ => return None,
    };
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// What is on record says when, which the platform's list does not; so it stays as long as it is
/// about the same change.
fn category_change(
    told: &FullTemplate,
    before: &v1::Template,
) -> Option<v1::TemplateCategoryChange> {
    let (from, to, is_done) =
        if !told.correct_category.is_empty() && told.correct_category != told.category {
            (&told.category, &told.correct_category, false)
        } else if !told.previous_category.is_empty() && told.previous_category != told.category {
            (&told.previous_category, &told.category, true)
        } else {
            return before.category_change.clone().filter(|it| it.is_done);
        };
    let known = before.category_change.as_ref();
    let is_known = known.is_some_and(|known| {
        known.from_category == *from && known.to_category == *to && known.is_done == is_done
    });
    if is_known {
        return known.cloned();
    }
    Some(v1::TemplateCategoryChange {
        from_category: from.clone(),
        to_category: to.clone(),
        time: None,
        is_done,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-22T10:00:00Z")
    }

    fn told() -> FullTemplate {
        FullTemplate {
            id: "1".to_owned(),
            name: "order".to_owned(),
            language: "en-US".to_owned(),
            category: "UTILITY".to_owned(),
            status: "APPROVED".to_owned(),
            quality: "GREEN".to_owned(),
            rejected_reason: "NONE".to_owned(),
            ttl_seconds: Some(-1),
            parameter_format: "POSITIONAL".to_owned(),
            components: vec![json!({"type": "BODY", "text": "Order {{1}}"})],
            ..FullTemplate::default()
        }
    }

    #[test]
    fn a_record_says_what_the_platform_says() {
        let record = record("8", &told(), None, now()).unwrap();
        assert_eq!(record.language, "en_US");
        assert_eq!(record.status(), v1::TemplateStatus::Approved);
        assert_eq!(record.category(), v1::TemplateCategory::Utility);
        assert_eq!(record.quality(), v1::TemplateQuality::Green);
        assert_eq!(
            (record.body.as_str(), record.body_parameter_count),
            ("Order {{1}}", 1)
        );
        assert_eq!(record.rejected_reason, "");
        assert_eq!(record.message_send_ttl.unwrap().seconds, 2_592_000);
        let odd = FullTemplate {
            language: "?".to_owned(),
            ..told()
        };
        assert_eq!(super::record("8", &odd, None, now()), None);
    }

    #[test]
    fn what_was_read_before_changes_nothing() {
        let once = record("8", &told(), None, now()).unwrap();
        let again = record("8", &told(), Some(&once), at("2026-11-23T10:00:00Z"));
        assert_eq!(again, Some(once));
    }

    #[test]
    fn what_only_we_know_stays() {
        let mut before = record("8", &told(), None, now()).unwrap();
        before.request_id = "r".to_owned();
        before.edit_times = vec![timestamp(now())];
        before.status = v1::TemplateStatus::Paused.into();
        before.pause = Some(pause("FIRST_PAUSE", now()));
        let paused = FullTemplate {
            status: "PAUSED".to_owned(),
            ..told()
        };
        let still = record("8", &paused, Some(&before), at("2026-11-22T12:00:00Z")).unwrap();
        assert_eq!(still.pause, before.pause);
        assert_eq!(pause_ends_at(&still), Some(at("2026-11-22T13:00:00Z")));
        let over = record("8", &told(), Some(&still), at("2026-11-22T13:00:00Z")).unwrap();
        assert_eq!((over.pause.clone(), pause_ends_at(&over)), (None, None));
        assert_eq!(over.request_id, "r");
        assert_eq!(over.edit_times.len(), 1);
    }

    #[test]
    fn a_word_that_nobody_knows_leaves_the_status_as_it_was() {
        let before = record("8", &told(), None, now()).unwrap();
        let odd = FullTemplate {
            status: "IN_APPEAL".to_owned(),
            ..told()
        };
        let after = record("8", &odd, Some(&before), now()).unwrap();
        assert_eq!(after.status(), v1::TemplateStatus::Approved);
        assert_eq!(after.platform_status, "IN_APPEAL");
        let new = record("8", &odd, None, now()).unwrap();
        assert_eq!(new.status(), v1::TemplateStatus::Pending);
    }

    #[test]
    fn a_change_of_category_is_known_before_and_after_it_is_made() {
        let pending = FullTemplate {
            correct_category: "MARKETING".to_owned(),
            ..told()
        };
        let record_of = |told: &FullTemplate, before: Option<&v1::Template>| {
            record("8", told, before, now()).unwrap()
        };
        let announced = record_of(&pending, None);
        let change = announced.category_change.clone().unwrap();
        assert_eq!(
            (change.to_category.as_str(), change.is_done),
            ("MARKETING", false)
        );
        let made = FullTemplate {
            category: "MARKETING".to_owned(),
            previous_category: "UTILITY".to_owned(),
            ..told()
        };
        let after = record_of(&made, Some(&announced));
        let change = after.category_change.clone().unwrap();
        assert_eq!(
            (change.from_category.as_str(), change.is_done),
            ("UTILITY", true)
        );
        assert_eq!(after.category(), v1::TemplateCategory::Marketing);
        // Taken back: nothing is announced any more.
        assert_eq!(record_of(&told(), Some(&announced)).category_change, None);
    }

    #[test]
    fn a_codes_text_is_the_platforms_and_takes_the_code() {
        let code = FullTemplate {
            category: "AUTHENTICATION".to_owned(),
            components: vec![
                json!({"type": "BODY", "add_security_recommendation": true}),
                json!({"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}),
            ],
            ..told()
        };
        let record = record("8", &code, None, now()).unwrap();
        assert_eq!((record.body.as_str(), record.body_parameter_count), ("", 1));
    }
}
