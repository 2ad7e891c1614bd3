//! Calls, the customer's and ours: when they open the window, and whether they answered anyone.

use casement_domain::id::BusinessNumber;
use casement_domain::inbound::{Kind, Marks};
use casement_event::{convert, id, v1};
use casement_whatsapp::webhook::{CallDirection, CallReport, CallStatus, Item};
use jiff::{SignedDuration, Timestamp};

use super::{Draft, addresses};
use crate::stored;

/// A call, or its end.
pub(crate) fn call(number: &BusinessNumber, item: &Item, call: &CallReport) -> Draft {
    let opens_at = call.opens_window_at();
    let direction = match call.direction {
        CallDirection::UserInitiated => "USER_INITIATED",
        CallDirection::BusinessInitiated => "BUSINESS_INITIATED",
        CallDirection::Unknown => "",
    };
    let told = Told {
        id: &call.id,
        event: &call.event,
        direction,
        at: opens_at.unwrap_or(call.at),
        opens: opens_at.is_some(),
        answered_at: taken_until(call),
        says: v1::InboundCallReceived {
            status: stored::text(&call.status),
            start_time: call.start_at.map(convert::timestamp),
            end_time: call.end_at.map(convert::timestamp),
            duration_seconds: call.duration_seconds.unwrap_or_default(),
            errors: stored::errors(&call.errors),
            callback_data: stored::text(&call.callback_data),
            cta_payload: stored::text(&call.cta_payload),
            deeplink_payload: stored::text(&call.deeplink_payload),
            profile_name: stored::text(&call.profile_name),
            username: stored::text(&call.username),
            ..v1::InboundCallReceived::default()
        },
    };
    Draft {
        addresses: addresses(
            call.customer_phone.as_deref(),
            call.user_id.as_deref(),
            call.parent_user_id.as_deref(),
        ),
        ..call_event(number, item, told)
    }
}

/// How a call of the business fares.
pub(crate) fn call_status(number: &BusinessNumber, item: &Item, call: &CallStatus) -> Draft {
    let told = Told {
        id: &call.id,
        event: call.state.as_str(),
        direction: "BUSINESS_INITIATED",
        at: call.opens_window_at().unwrap_or(call.at),
        opens: call.opens_window_at().is_some(),
        // They speak from now on.
        answered_at: call.opens_window_at(),
        says: v1::InboundCallReceived {
            errors: stored::errors(&call.errors),
            callback_data: stored::text(&call.callback_data),
            profile_name: stored::text(&call.profile_name),
            username: stored::text(&call.username),
            ..v1::InboundCallReceived::default()
        },
    };
    Draft {
        addresses: addresses(
            call.customer_phone.as_deref(),
            call.user_id.as_deref(),
            call.parent_user_id.as_deref(),
        ),
        ..call_event(number, item, told)
    }
}

/// What a webhook tells about a call.
struct Told<'a> {
    id: &'a str,
    event: &'a str,
    direction: &'a str,
    at: Timestamp,
    opens: bool,
    answered_at: Option<Timestamp>,
    says: v1::InboundCallReceived,
}

/// Returns until when both sides spoke, if they did.
///
/// Its start tells, not its status: WhatsApp Cloud API: the report of a call's end names a start
/// only if somebody took the call, while `COMPLETED` also ends calls that only rang (Meta: calling,
/// call terminate webhook). Who was not spoken to still waits.
fn taken_until(call: &CallReport) -> Option<Timestamp> {
    if call.event != "terminate" {
        return None;
    }
    let start = call.start_at?;
    let spoken = SignedDuration::from_secs(call.duration_seconds.unwrap_or_default());
    let end = call.end_at.or_else(|| start.checked_add(spoken).ok());
    Some(end.map_or(start, |end| end.max(start)))
}

fn call_event(number: &BusinessNumber, item: &Item, told: Told<'_>) -> Draft {
    let (kind, rule) = match (told.opens, told.event) {
        (false, _) => (Kind::CallProgress, "call_progress"),
        (true, "terminate") => (Kind::Call, "call_terminate"),
        (true, "ACCEPTED") => (Kind::Call, "call_accepted"),
        (true, _) => (Kind::Call, "call_connect"),
    };
    let event = v1::InboundCallReceived {
        provider_call_id: told.id.to_owned(),
        event: told.event.to_owned(),
        direction: told.direction.to_owned(),
        content_json: item.raw.to_string(),
        policy_rule: rule.to_owned(),
        ..told.says
    };
    let id = id::inbound(number, &format!("{}:{}", told.id, told.event));
    Draft {
        provider_id: told.id.to_owned(),
        marks: Marks {
            answered_at: told.answered_at,
            ..Marks::default()
        },
        ..Draft::new(id, told.at, kind, event)
    }
}
