//! Group chats: their beginning, end, members and settings (Meta: Groups API, webhooks).
//!
//! Messages in groups are messages, and statuses of messages to groups are statuses.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    ReportedError,
    read::{self, Missing},
    status,
};

/// A group began, ended, was blocked, or changed its members or settings.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupChange {
    /// The group.
    pub group_id: String,
    /// Such as `group_create` or `group_participants_add`.
    pub kind: Option<String>,
    /// `timestamp`: when it happened.
    pub at: Timestamp,
    /// Of our request that led to it.
    pub request_id: Option<String>,
    /// The group's name.
    pub subject: Option<String>,
    /// The group's text about itself.
    pub description: Option<String>,
    /// By which people join.
    pub invite_link: Option<String>,
    /// Such as `approval_required`.
    pub join_approval_mode: Option<String>,
    /// Such as `invite_link`.
    pub reason: Option<String>,
    /// `business` or `participant`.
    pub initiated_by: Option<String>,
    /// Of somebody's request to be let in.
    pub join_request_id: Option<String>,
    /// Whom it concerns.
    pub participants: Vec<GroupParticipant>,
    /// What went wrong, if anything did.
    pub errors: Vec<ReportedError>,
}

/// A member, or somebody who was or wants to be one.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupParticipant {
    /// What happened to them.
    pub change: ParticipantChange,
    /// Phone as digits.
    pub phone: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
    /// Parent user id.
    pub parent_user_id: Option<String>,
    /// As the business had named them.
    pub input: Option<String>,
    /// Why they could not be added or removed.
    pub errors: Vec<ReportedError>,
}

/// What happened to a [`GroupParticipant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParticipantChange {
    /// Is a member now.
    Added,
    /// Is none any more.
    Removed,
    /// Could not be added or removed.
    Failed,
    /// Asked to be let in, or took that back.
    Requested,
}

/// Reads one element of `groups[]`.
pub(super) fn parse(raw: &Value) -> Result<GroupChange, Missing> {
    let group_id = read::required_text(raw, "group_id")?;
    let at = read::required_time(raw, "timestamp")?;
    // A setting is an object with its outcome, or plain text where the group was just made.
    let setting = |keys: [&str; 2]| {
        keys.iter().find_map(|key| match raw.get(key)? {
            Value::Object(_) => read::text(raw.get(key)?, "text"),
            _ => read::text(raw, key),
        })
    };
    let mut participants = Vec::new();
    for (key, change) in [
        ("added_participants", ParticipantChange::Added),
        ("removed_participants", ParticipantChange::Removed),
        ("failed_participants", ParticipantChange::Failed),
    ] {
        let found = read::objects(raw, key).into_iter();
        participants.extend(found.map(|it| participant(it, change)));
    }
    let join_request_id = read::text(raw, "join_request_id");
    if join_request_id.is_some() {
        participants.push(participant(raw, ParticipantChange::Requested));
    }
    let mut errors = status::errors(raw);
    for key in ["profile_picture", "group_subject", "group_description"] {
        errors.extend(raw.get(key).map(status::errors).unwrap_or_default());
    }
    // Of a request to join, the errors are the group's.
    if let Some(asking) = participants.last_mut()
        && asking.change == ParticipantChange::Requested
    {
        asking.errors = Vec::new();
    }
    Ok(GroupChange {
        group_id,
        at,
        kind: read::text(raw, "type"),
        request_id: read::text(raw, "request_id"),
        subject: setting(["subject", "group_subject"]),
        description: setting(["description", "group_description"]),
        invite_link: read::text(raw, "invite_link"),
        join_approval_mode: read::text(raw, "join_approval_mode"),
        reason: read::text(raw, "reason"),
        initiated_by: read::text(raw, "initiated_by"),
        join_request_id,
        participants,
        errors,
    })
}

fn participant(raw: &Value, change: ParticipantChange) -> GroupParticipant {
    GroupParticipant {
        change,
        phone: read::phone(raw, "wa_id"),
        user_id: read::text(raw, "user_id"),
        parent_user_id: read::text(raw, "parent_user_id"),
        input: read::text(raw, "input"),
        errors: status::errors(raw),
    }
}
