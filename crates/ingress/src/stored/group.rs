//! What happens in and to a group.

use casement_event::v1;
use casement_whatsapp::webhook::{
    GroupChange, GroupParticipant, InboundMessage, ParticipantChange,
};

use super::{addresses, content, context, errors, field, text};

/// Returns a member's message.
pub(crate) fn message(message: &InboundMessage) -> v1::GroupMessage {
    v1::GroupMessage {
        sender: Some(addresses(
            &message.from_phone,
            &message.user_id,
            &message.parent_user_id,
        )),
        profile_name: text(&message.profile_name),
        username: text(&message.username),
        field: field(message.channel).into(),
        text: text(&message.text),
        content: content(message.content.as_ref()),
        context: message.context.as_ref().map(context),
        errors: errors(&message.errors),
    }
}

/// Returns a change to a group.
pub(crate) fn change(change: &GroupChange) -> v1::GroupChange {
    v1::GroupChange {
        r#type: text(&change.kind),
        request_id: text(&change.request_id),
        subject: text(&change.subject),
        description: text(&change.description),
        invite_link: text(&change.invite_link),
        join_approval_mode: text(&change.join_approval_mode),
        reason: text(&change.reason),
        initiated_by: text(&change.initiated_by),
        join_request_id: text(&change.join_request_id),
        participants: change.participants.iter().map(participant).collect(),
        errors: errors(&change.errors),
    }
}

fn participant(participant: &GroupParticipant) -> v1::GroupParticipant {
    let change = match participant.change {
        ParticipantChange::Added => v1::GroupParticipantChange::Added,
        ParticipantChange::Removed => v1::GroupParticipantChange::Removed,
        ParticipantChange::Failed => v1::GroupParticipantChange::Failed,
        ParticipantChange::Requested => v1::GroupParticipantChange::Requested,
    };
    v1::GroupParticipant {
        change: change.into(),
        addresses: Some(addresses(
            &participant.phone,
            &participant.user_id,
            &participant.parent_user_id,
        )),
        input: text(&participant.input),
        errors: errors(&participant.errors),
    }
}
