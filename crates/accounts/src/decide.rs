//! What a wish adds to the log: an event, nothing, or a refusal. Pure.
//!
//! A wish says what shall be so; if it is so already it adds nothing, so that repeating one is
//! harmless. Records are taken as valid: [`crate::validate`] comes before.

use casement_event::convert::{instant, timestamp};
use casement_event::{Event, v1};
use jiff::Timestamp;

/// Who wishes it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stands on the event.
    pub time: Timestamp,
    /// Name of the token, or of the part of Casement that did it.
    pub caller: String,
}

/// Whose records may be touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Everybody's.
    Every,
    /// Those of one brand.
    Brand(String),
}

impl Authority {
    /// Returns whether a brand's records may be touched.
    pub fn covers(&self, brand_id: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Brand(own) => own == brand_id,
        }
    }
}

/// Why a wish is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A number needs its brand first.
    #[error("brand is not on record")]
    BrandUnknown,
    /// The record belongs to another brand than the caller acts for, or would.
    #[error("record is another brand's")]
    AnotherBrand,
    /// The number is not on record, or not the caller's.
    #[error("number is not on record")]
    NumberUnknown,
    /// Webhooks could not be told apart.
    #[error("phone_number_id is another number's")]
    PhoneNumberIdTaken,
    /// Nothing could open a window before then.
    #[error("onboard_time lies ahead")]
    OnboardTimeAhead,
    /// It is about an application.
    #[error(transparent)]
    Application(#[from] casement_domain::application::Refusal),
    /// Somebody else was faster.
    #[error("record has changed since its etag was read: read it again")]
    EtagMismatch,
    /// What limits a brand is set by whoever answers for all.
    #[error(
        "quota, cap and templates of a brand are changed with a token that acts for every brand"
    )]
    LimitsOfBrand,
    /// The platform gives a number another id for each move.
    #[error("phone_number_id is one that the number had before it moved")]
    PhoneNumberIdRetired,
    /// Its migration says where it is, and where it goes.
    #[error("number is on its way to another business account: see its migration")]
    NumberMoves,
    /// It is about a migration.
    #[error(transparent)]
    Migration(#[from] crate::migration::Refused),
    /// It is about an onboarding.
    #[error(transparent)]
    Onboarding(#[from] crate::onboarding::Refused),
}

/// A decision.
pub type Decision = Result<Option<Event>, Refusal>;

/// Where a recorded template's status comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFrom {
    /// The wish knows it.
    Wish,
    /// What is on record stands; the wish tells only a new template's.
    Record,
}

/// Records a brand.
pub fn brand(
    present: Option<&v1::Brand>,
    wanted: v1::Brand,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    if !authority.covers(&wanted.brand_id) {
        return Err(Refusal::AnotherBrand);
    }
    if present == Some(&wanted) {
        return Ok(None);
    }
    Ok(Some(
        v1::BrandRecorded {
            brand: Some(wanted),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

/// What a number's record depends on.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The number as it is on record.
    pub present: Option<&'a v1::Number>,
    /// The number that has the wanted `phone_number_id` now.
    pub holder: Option<&'a v1::Number>,
    /// Whether the wanted brand is on record.
    pub is_brand_known: bool,
}

/// Records a number. Whether it is paused stays as it is, and when it moved is nobody's to say. It
/// may change its brand, if the caller may touch both.
pub fn number(
    around: Surroundings<'_>,
    wanted: v1::Number,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    let is_present_covered = around
        .present
        .is_none_or(|present| authority.covers(&present.brand_id));
    if !authority.covers(&wanted.brand_id) || !is_present_covered {
        return Err(Refusal::AnotherBrand);
    }
    if !around.is_brand_known {
        return Err(Refusal::BrandUnknown);
    }
    if around
        .holder
        .is_some_and(|holder| holder.number != wanted.number)
    {
        return Err(Refusal::PhoneNumberIdTaken);
    }
    if time(wanted.onboard_time.as_ref()) > Some(cause.time) {
        return Err(Refusal::OnboardTimeAhead);
    }
    let migrated_at = migrated_at(around.present, &wanted, cause.time);
    let past = past(around.present, &wanted)?;
    let wanted = v1::Number {
        migrate_time: migrated_at.map(timestamp),
        previous_phone_number_ids: past.previous_phone_number_ids,
        moving: past.moving,
        migrate_away_time: past.migrate_away_time,
        migrate_away_reason: past.migrate_away_reason,
        paused: around.present.is_some_and(|present| present.paused),
        pause_reason: around
            .present
            .map(|present| present.pause_reason.clone())
            .unwrap_or_default(),
        drain_time: around.present.and_then(|present| present.drain_time),
        drain_reason: around
            .present
            .map(|present| present.drain_reason.clone())
            .unwrap_or_default(),
        ..wanted
    };
    if around.present == Some(&wanted) {
        return Ok(None);
    }
    Ok(Some(recorded(wanted, cause)))
}

/// Returns what stays of a number's moves, whatever is wanted. Who records it at another place says
/// that it is ours there; where it is while it migrates is the migration's to say.
fn past(present: Option<&v1::Number>, wanted: &v1::Number) -> Result<v1::Number, Refusal> {
    let Some(present) = present else {
        return Ok(v1::Number::default());
    };
    if present.waba_id == wanted.waba_id && present.phone_number_id == wanted.phone_number_id {
        return Ok(present.clone());
    }
    if present.moving.is_some() {
        return Err(Refusal::NumberMoves);
    }
    let mut previous = present.previous_phone_number_ids.clone();
    if previous.contains(&wanted.phone_number_id) {
        return Err(Refusal::PhoneNumberIdRetired);
    }
    if present.phone_number_id != wanted.phone_number_id && !present.phone_number_id.is_empty() {
        previous.push(present.phone_number_id.clone());
    }
    Ok(v1::Number {
        previous_phone_number_ids: previous,
        ..v1::Number::default()
    })
}

/// Returns when a number last moved to another business account or provider, if it is recorded so
/// now: the platform then gives it another id, another WABA, or both.
fn migrated_at(
    present: Option<&v1::Number>,
    wanted: &v1::Number,
    now: Timestamp,
) -> Option<Timestamp> {
    let present = present?;
    let before = time(present.migrate_time.as_ref());
    let moves =
        present.waba_id != wanted.waba_id || present.phone_number_id != wanted.phone_number_id;
    // Never back, also if the clock went.
    if moves { before.max(Some(now)) } else { before }
}

/// Reads a time of a record, which has been checked.
fn time(stored: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    instant("time", stored).ok().flatten()
}

/// Pauses a number, or gives its pause another reason.
pub fn pause(
    present: Option<&v1::Number>,
    reason: &str,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    let present = own(present, authority)?;
    if present.paused && present.pause_reason == reason {
        return Ok(None);
    }
    Ok(Some(
        v1::NumberPaused {
            number: Some(v1::Number {
                paused: true,
                pause_reason: reason.to_owned(),
                ..present.clone()
            }),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

/// Ends a number's pause.
pub fn resume(present: Option<&v1::Number>, authority: &Authority, cause: &Cause) -> Decision {
    let present = own(present, authority)?;
    if !present.paused {
        return Ok(None);
    }
    Ok(Some(
        v1::NumberResumed {
            number: Some(v1::Number {
                paused: false,
                pause_reason: String::new(),
                ..present.clone()
            }),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

/// Takes no new messages for a number from now on, or gives that another reason. Since when stays.
pub fn drain(
    present: Option<&v1::Number>,
    reason: &str,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    let present = own(present, authority)?;
    if present.drain_time.is_some() && present.drain_reason == reason {
        return Ok(None);
    }
    let since = present.drain_time.unwrap_or_else(|| timestamp(cause.time));
    let drained = v1::Number {
        drain_time: Some(since),
        drain_reason: reason.to_owned(),
        ..present.clone()
    };
    Ok(Some(recorded(drained, cause)))
}

/// Takes messages for a number again.
pub fn reopen(present: Option<&v1::Number>, authority: &Authority, cause: &Cause) -> Decision {
    let present = own(present, authority)?;
    if present.drain_time.is_none() {
        return Ok(None);
    }
    let reopened = v1::Number {
        drain_time: None,
        drain_reason: String::new(),
        ..present.clone()
    };
    Ok(Some(recorded(reopened, cause)))
}

fn recorded(number: v1::Number, cause: &Cause) -> Event {
    v1::NumberRecorded {
        number: Some(number),
        time: Some(timestamp(cause.time)),
        caller: cause.caller.clone(),
    }
    .into()
}

/// Another brand's number is as unknown as one that is not on record.
fn own<'a>(
    present: Option<&'a v1::Number>,
    authority: &Authority,
) -> Result<&'a v1::Number, Refusal> {
    present
        .filter(|present| authority.covers(&present.brand_id))
        .ok_or(Refusal::NumberUnknown)
}

/// Records a template. `is_covered` says whether the caller may touch its WABA.
pub fn template(
    present: Option<&v1::Template>,
    wanted: v1::Template,
    status_from: StatusFrom,
    is_covered: bool,
    cause: &Cause,
) -> Decision {
    if !is_covered {
        return Err(Refusal::AnotherBrand);
    }
    let mut wanted = crate::templates::merged(present, wanted);
    if let (StatusFrom::Record, Some(present)) = (status_from, present) {
        wanted.status = present.status;
    }
    if present == Some(&wanted) {
        return Ok(None);
    }
    Ok(Some(template_recorded(wanted, cause)))
}

/// Takes up what the platform reports of a template.
///
/// Templates nobody recorded are left alone until they are read: their category and parameters are
/// not known. A report from before what was last told or read (`known_at`) is late, and changes
/// nothing. Reports have whole seconds: one of the second in which the template was last read is
/// from after that as likely as not, so it counts, and the reading that follows each report puts
/// right what it gets wrong.
pub(crate) fn template_told(
    present: Option<&v1::Template>,
    known_at: Option<Timestamp>,
    told: &crate::templates::Told,
    cause: &Cause,
) -> Option<Event> {
    let present = present?;
    let is_late = known_at.is_some_and(|last| cause.time.as_second() < last.as_second());
    let wanted = if is_late {
        // A reading does not say which pause it is.
        told.completed(present)
    } else {
        told.applied(present)
    };
    let cause = Cause {
        time: known_at.map_or(cause.time, |last| last.max(cause.time)),
        ..cause.clone()
    };
    (*present != wanted).then(|| template_recorded(wanted, &cause))
}

/// The event that makes a template's record so.
pub(crate) fn template_recorded(wanted: v1::Template, cause: &Cause) -> Event {
    v1::TemplateRecorded {
        template: Some(wanted),
        time: Some(timestamp(cause.time)),
        caller: cause.caller.clone(),
    }
    .into()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
