//! A customer's fact as it will be stored, before anybody knows whose it is and what stands
//! before it. Pure: what an item becomes, and whether it counts, is decided here.

use casement_domain::id::{BusinessNumber, Phone};
use casement_domain::inbound::{
    self, Addresses, Fact, Kind, Placed, QualifyingPolicy, Summary, ThreadOwner,
};
use casement_event::{Event, Uuid, convert, id, v1};
use casement_whatsapp::webhook::{
    CallDirection, CallReport, CallStatus, Channel, Content, Echo, Handover, IdentityChange,
    InboundMessage, Item, MessageKind, UserIdUpdate, UserPreference, value_hash,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::stored;

mod history;

pub(crate) use history::history;

/// A fact on its way to a customer's inbound subject.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) id: Uuid,
    /// When it happened, as far as windows care.
    pub(crate) at: Timestamp,
    /// The time that the provider gave, if it lay too far ahead to be true.
    pub(crate) stated_at: Option<Timestamp>,
    pub(crate) kind: Kind,
    pub(crate) provider_id: String,
    /// The customer's identifiers, as they are now.
    pub(crate) addresses: Addresses,
    /// The identifiers before, if the fact says that they changed.
    pub(crate) previous: Option<Addresses>,
    pub(crate) thread_owner: Option<ThreadOwner>,
    /// By how much repeats of the fact may differ in time: not at all, unless the provider gives
    /// no time and the post's own is taken.
    pub(crate) repeats_within: SignedDuration,
    /// The event, but for what only the log can tell.
    pub(crate) event: Event,
}

impl Draft {
    pub(crate) fn new(id: Uuid, at: Timestamp, kind: Kind, event: impl Into<Event>) -> Self {
        Self {
            id,
            at,
            stated_at: None,
            kind,
            provider_id: String::new(),
            addresses: Addresses::default(),
            previous: None,
            thread_owner: None,
            repeats_within: SignedDuration::ZERO,
            event: event.into(),
        }
    }

    /// Puts what is said to have happened after it was heard of back to when that was.
    pub(crate) fn placed(&self, received: Timestamp, tolerance: SignedDuration) -> Self {
        let placed = inbound::placed(self.at, received, tolerance);
        let mut draft = self.clone();
        draft.at = placed.at;
        draft.stated_at = placed.stated;
        if placed.stated.is_some() {
            draft.repeats_within = draft.repeats_within.max(inbound::REPEATS_FOR);
        }
        draft
    }

    /// Returns what the fact alone amounts to.
    pub(crate) fn summary(&self, received: Timestamp, policy: &QualifyingPolicy) -> Summary {
        let placed = Placed {
            at: self.at,
            stated: self.stated_at,
        };
        Summary {
            stated_until: placed.repeats_until(received),
            ..self.fact(received).summary(policy)
        }
    }

    /// Returns the fact as the domain sees it.
    pub(crate) fn fact(&self, received_at: Timestamp) -> Fact {
        Fact {
            id: id::fact(self.id),
            at: self.at,
            received_at,
            kind: self.kind,
            provider_id: self.provider_id.clone(),
            addresses: self.addresses.clone(),
            thread_owner: self.thread_owner,
        }
    }

    /// Returns the event with what the log tells.
    pub(crate) fn stamped(&self, stamp: &Stamp) -> Event {
        let mut event = self.event.clone();
        macro_rules! stamp {
            ($fact:expr) => {{
                $fact.conversation = Some(stamp.conversation.clone());
                $fact.times = Some(stamp.times.clone());
                $fact.origin = Some(stamp.origin.clone());
                $fact.summary = Some(stamp.summary.clone());
            }};
        }
        match &mut event {
            Event::InboundMessageReceived(fact) => {
                stamp!(fact);
                fact.qualifies = stamp.qualifies;
            }
            Event::InboundCallReceived(fact) => {
                stamp!(fact);
                fact.qualifies = stamp.qualifies;
            }
            Event::InboundSmsReceived(fact) => stamp!(fact),
            Event::CustomerIdentityChanged(fact) => stamp!(fact),
            Event::CustomerPreferenceReported(fact) => stamp!(fact),
            Event::ThreadOwnerChanged(fact) => stamp!(fact),
            Event::EchoReceived(fact) => stamp!(fact),
            Event::HistoryImported(fact) => stamp!(fact),
            // Drafts are made below, and of nothing else.
            _ => {}
        }
        event
    }
}

/// What only the log can tell about a fact.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) conversation: v1::Conversation,
    pub(crate) times: v1::Times,
    pub(crate) origin: v1::RawOrigin,
    pub(crate) summary: v1::InboundSummary,
    pub(crate) qualifies: bool,
}

/// Returns what sort of customer event a message is, as far as the window cares.
pub(crate) fn kind_of(message: &InboundMessage) -> Kind {
    if message.group_id.is_some() {
        return Kind::Group;
    }
    if message.automatic {
        return Kind::Automatic;
    }
    match &message.kind {
        MessageKind::Text
        | MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Document
        | MessageKind::Sticker
        | MessageKind::Location
        | MessageKind::Contacts
        | MessageKind::Interactive
        | MessageKind::Button
        | MessageKind::Order => Kind::Content,
        MessageKind::Reaction => Kind::Reaction,
        MessageKind::Edit => Kind::Edit,
        MessageKind::Revoke => Kind::Revoke,
        MessageKind::System => Kind::System,
        // An edit that the platform does not pass on is an edit all the same.
        MessageKind::Unsupported if is_unsupported_edit(message) => Kind::Edit,
        // A type that we do not know yet: the customer did something.
        MessageKind::Unsupported | MessageKind::Other(_) => Kind::Unsupported,
        MessageKind::MediaPlaceholder => Kind::History,
        // The chat was opened, nothing was written.
        MessageKind::RequestWelcome => Kind::Automatic,
    }
}

/// Returns the name of the policy's row for a message of this kind.
fn rule_of(message: &InboundMessage, kind: Kind) -> &'static str {
    if kind == Kind::Content && message.channel == Channel::Standby {
        return "standby";
    }
    let named = inbound::rule(message.kind.as_str()).filter(|rule| rule.kind == kind);
    named.unwrap_or_else(|| inbound::rule_of(kind)).name
}

fn is_unsupported_edit(message: &InboundMessage) -> bool {
    matches!(&message.content, Some(Content::Unsupported { kind: Some(kind) }) if kind == "edit")
}

/// Returns the identifiers that are usable.
pub(crate) fn addresses(
    phone: Option<&str>,
    user_id: Option<&str>,
    parent_user_id: Option<&str>,
) -> Addresses {
    Addresses {
        phone: phone.and_then(|digits| Phone::parse(digits).ok()),
        user_id: user_id.map(str::to_owned),
        parent_user_id: parent_user_id.map(str::to_owned),
    }
}

/// Returns the id of an item that the platform gives none.
///
/// The number stands in it, too: one change of a customer's id is told for each number. Its index
/// does not: the platform may send the same item again in other company.
pub(crate) fn item_id(item: &Item) -> Uuid {
    id_of(item, &item.raw)
}

/// Returns the id of what a part of an item says.
fn id_of(item: &Item, part: &Value) -> Uuid {
    let origin = &item.origin;
    id::webhook_item(
        &origin.field,
        origin.entry_id.as_deref().unwrap_or_default(),
        &origin
            .entry_time
            .map(|time| time.to_string())
            .unwrap_or_default(),
        &value_hash(part),
        item.phone_number_id.as_deref().unwrap_or_default(),
    )
}

/// A customer's message.
pub(crate) fn message(number: &BusinessNumber, item: &Item, message: &InboundMessage) -> Draft {
    if let Some(change) = &message.identity_change {
        let id = id::inbound(number, &message.wamid);
        return identity_change(id, item, message, change);
    }
    let kind = kind_of(message);
    let object = match &message.object {
        Value::Null => &item.raw,
        object => object,
    };
    let context = message.context.as_ref().map(stored::context);
    let answered = context.as_ref().map(|it| it.provider_message_id.clone());
    let extra = message.extra.clone().map(Value::Object);
    let event = v1::InboundMessageReceived {
        provider_message_id: message.wamid.clone(),
        field: stored::field(message.channel).into(),
        kind: message.kind.as_str().to_owned(),
        text: stored::text(&message.text),
        content_json: object.to_string(),
        context_provider_message_id: answered.unwrap_or_default(),
        profile_name: stored::text(&message.profile_name),
        has_referral: message.referral.is_some(),
        content: stored::content(message.content.as_ref()),
        context,
        referral: message.referral.as_ref().map(stored::referral),
        errors: stored::errors(&message.errors),
        username: stored::text(&message.username),
        identity_hash: stored::text(&message.identity_hash),
        extra_json: extra.map(|extra| extra.to_string()).unwrap_or_default(),
        policy_rule: rule_of(message, kind).to_owned(),
        ..v1::InboundMessageReceived::default()
    };
    // The platform's own messages say nothing about who may answer.
    let thread_owner = match message.channel {
        _ if kind == Kind::System => None,
        Channel::Messages => Some(ThreadOwner::Us),
        Channel::Standby => Some(ThreadOwner::Other),
        Channel::PhoneApp => None,
    };
    Draft {
        provider_id: message.wamid.clone(),
        addresses: addresses(
            message.from_phone.as_deref(),
            message.user_id.as_deref(),
            message.parent_user_id.as_deref(),
        ),
        thread_owner,
        ..Draft::new(id::inbound(number, &message.wamid), message.at, kind, event)
    }
}

fn identity_change(
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
        addresses: current,
        previous: Some(previous).filter(|previous| !previous.is_empty()),
        ..Draft::new(id, at, Kind::System, event)
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
    says: v1::InboundCallReceived,
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
        ..Draft::new(id, told.at, kind, event)
    }
}

/// A message that the business wrote elsewhere.
pub(crate) fn echo(number: &BusinessNumber, item: &Item, echo: &Echo) -> Draft {
    let said = echo.content.as_ref().and_then(Content::text);
    let event = v1::EchoReceived {
        provider_message_id: echo.wamid.clone(),
        kind: echo.kind.as_str().to_owned(),
        content_json: item.raw.to_string(),
        field: stored::field(echo.channel).into(),
        text: said.unwrap_or_default().to_owned(),
        content: stored::content(echo.content.as_ref()),
        context: echo.context.as_ref().map(stored::context),
        errors: stored::errors(&echo.errors),
        ..v1::EchoReceived::default()
    };
    Draft {
        provider_id: echo.wamid.clone(),
        addresses: addresses(
            echo.to_phone.as_deref(),
            echo.user_id.as_deref(),
            echo.parent_user_id.as_deref(),
        ),
        // Another responder wrote, and may.
        thread_owner: (echo.channel == Channel::Standby).then_some(ThreadOwner::Other),
        ..Draft::new(id::inbound(number, &echo.wamid), echo.at, Kind::Echo, event)
    }
}

/// A customer's choice about what the business may send.
pub(crate) fn preference(item: &Item, preference: &UserPreference) -> Draft {
    let event = v1::CustomerPreferenceReported {
        category: preference.category.clone(),
        value: preference.preference.as_str().to_owned(),
        detail: stored::text(&preference.detail),
        content_json: item.raw.to_string(),
        ..v1::CustomerPreferenceReported::default()
    };
    Draft {
        addresses: addresses(
            preference.phone.as_deref(),
            preference.user_id.as_deref(),
            preference.parent_user_id.as_deref(),
        ),
        ..Draft::new(item_id(item), preference.at, Kind::Preference, event)
    }
}

/// A thread that passed from one responder to another.
pub(crate) fn handover(item: &Item, handover: &Handover) -> Draft {
    let event = v1::ThreadOwnerChanged {
        content_json: item.raw.to_string(),
        kind: handover.kind.clone(),
        previous_owner_role: stored::text(&handover.previous_owner_role),
        new_owner_role: stored::text(&handover.new_owner_role),
        metadata: stored::text(&handover.metadata),
        ..v1::ThreadOwnerChanged::default()
    };
    Draft {
        addresses: addresses(handover.phone.as_deref(), None, None),
        thread_owner: owner_of(handover.new_owner_role.as_deref()),
        ..Draft::new(item_id(item), handover.at, Kind::ThreadHandover, event)
    }
}

/// Returns whom a role means to us. Meta documents no closed list of roles: an unknown one says
/// nothing, since a wrong guess would refuse messages that are permitted.
pub(crate) fn owner_of(new_owner_role: Option<&str>) -> Option<ThreadOwner> {
    match new_owner_role {
        None => Some(ThreadOwner::Idle),
        Some("partner") => Some(ThreadOwner::Us),
        Some("meta_business_agent") => Some(ThreadOwner::Other),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
