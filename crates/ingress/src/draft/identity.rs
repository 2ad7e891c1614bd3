//! Changes of a customer's identifiers, and whether they are such that a window may not outlive.

use casement_domain::inbound::{Addresses, Kind, Marks};
use casement_event::{Uuid, v1};
use casement_whatsapp::webhook::{IdentityChange, InboundMessage, Item, UserIdUpdate};
use jiff::Timestamp;

use super::{Draft, addresses, item_id};
use crate::stored;

/// What the platform's own message says about a customer's identifiers.
pub(super) fn change(
    id: Uuid,
    item: &Item,
    message: &InboundMessage,
    change: &IdentityChange,
) -> Draft {
    let previous = addresses(
        change.previous_phone.as_deref(),
        change.previous_user_id.as_deref(),
        change.previous_parent_user_id.as_deref(),
    );
    let current = addresses(
        change.new_phone.as_deref(),
        change.new_user_id.as_deref(),
        change.new_parent_user_id.as_deref(),
    );
    let event = v1::CustomerIdentityChanged {
        cause: change.cause.clone(),
        detail: stored::text(&change.detail),
        content_json: item.raw.to_string(),
        ..v1::CustomerIdentityChanged::default()
    };
    Draft {
        provider_id: message.wamid.clone(),
        ..identity(id, message.at, previous, current, event)
    }
}

fn identity(
    id: Uuid,
    at: Timestamp,
    previous: Addresses,
    current: Addresses,
    told: v1::CustomerIdentityChanged,
) -> Draft {
    use casement_event::convert::inbound::addresses as stored;
    let event = v1::CustomerIdentityChanged {
        previous: Some(stored(&previous)),
        current: Some(stored(&current)),
        ..told
    };
    Draft {
        marks: Marks {
            changes_user_id: changes_user_id(&previous, &current),
            ..Marks::default()
        },
        addresses: current,
        previous: Some(previous).filter(|previous| !previous.is_empty()),
        ..Draft::new(id, at, Kind::System, event)
    }
}

/// Returns whether a change of identifiers gave the customer another user id.
///
/// WhatsApp Cloud API: a user id is made anew when its owner changes their phone number (Meta:
/// business-scoped user ids). So a change that does not name both ids is taken for one, unless the
/// two that it names are the same; what only concerns the parent id is none.
fn changes_user_id(previous: &Addresses, current: &Addresses) -> bool {
    match (&previous.user_id, &current.user_id) {
        (Some(before), Some(now)) => before != now,
        _ => true,
    }
}

/// A changed user id. The phone is the present one: a new phone brings a new user id.
pub(crate) fn user_id_update(item: &Item, update: &UserIdUpdate) -> Draft {
    let previous = addresses(
        None,
        update.previous_user_id.as_deref(),
        update.previous_parent_user_id.as_deref(),
    );
    let current = addresses(
        update.phone.as_deref(),
        Some(&update.current_user_id),
        update.current_parent_user_id.as_deref(),
    );
    let event = v1::CustomerIdentityChanged {
        cause: "user_id_update".to_owned(),
        detail: stored::text(&update.detail),
        content_json: item.raw.to_string(),
        ..v1::CustomerIdentityChanged::default()
    };
    identity(item_id(item), update.at, previous, current, event)
}
