//! A customer's fact as it will be stored, before anybody knows whose it is and what stands
//! before it. Pure: what an item becomes, and whether it counts, is decided here.

use casement_domain::id::{BusinessNumber, Phone};
use casement_domain::inbound::{
    self, Addresses, Fact, Kind, Marks, Placed, QualifyingPolicy, Summary, ThreadOwner,
};
use casement_event::{Event, Uuid, id, v1};
use casement_whatsapp::webhook::{
    Channel, Content, Echo, Handover, InboundMessage, Item, MessageKind, Referral, UserPreference,
    value_hash,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::stored;

mod call;
mod history;
mod identity;
mod onboarding;

pub(crate) use call::{call, call_status};
pub(crate) use history::history;
pub(crate) use identity::user_id_update;

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
    /// What else follows from it.
    pub(crate) marks: Marks,
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
            marks: Marks::default(),
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
        let answered = draft.marks.answered_at;
        draft.marks.answered_at = answered.map(|at| inbound::placed(at, received, tolerance).at);
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
            marks: self.marks,
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
        return identity::change(id, item, message, change);
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
        referral: message
            .referral
            .as_ref()
            .map(stored::referral)
            .map(Box::new),
        errors: stored::errors(&message.errors),
        username: stored::text(&message.username),
        identity_hash: stored::text(&message.identity_hash),
        extra_json: extra.map(|extra| extra.to_string()).unwrap_or_default(),
        policy_rule: rule_of(message, kind).to_owned(),
        ..v1::InboundMessageReceived::default()
    };
    let marks = Marks {
        is_referral: matches!(kind, Kind::Content | Kind::Unsupported)
            && message.referral.as_ref().is_some_and(is_entry_point),
        ..Marks::default()
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
        marks,
        ..Draft::new(id::inbound(number, &message.wamid), message.at, kind, event)
    }
}

/// Returns whether a customer who came this way may be in a free entry point. WhatsApp Cloud API:
/// ads that click to WhatsApp and buttons of a Facebook page begin one (Meta: pricing, free entry
/// point windows); the id of the click is missing for ads among WhatsApp statuses, so it is not
/// asked for.
fn is_entry_point(referral: &Referral) -> bool {
    matches!(referral.source_type.as_deref(), Some("ad" | "post"))
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
        marks: Marks {
            answered_at: is_answer(&echo.kind).then_some(echo.at),
            ..Marks::default()
        },
        ..Draft::new(id::inbound(number, &echo.wamid), echo.at, Kind::Echo, event)
    }
}

/// Returns whether a customer to whom the business wrote this elsewhere is answered, whoever wrote
/// it: staff on the phone, or another responder in a shared thread. A reaction is no reply, and
/// what changes or takes back an older message says nothing new; greetings of the phone app cannot
/// be told from what people write.
fn is_answer(kind: &MessageKind) -> bool {
    match kind {
        MessageKind::Reaction
        | MessageKind::Edit
        | MessageKind::Revoke
        | MessageKind::System
        | MessageKind::MediaPlaceholder
        | MessageKind::RequestWelcome => false,
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
        | MessageKind::Order
        | MessageKind::Unsupported
        | MessageKind::Other(_) => true,
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
