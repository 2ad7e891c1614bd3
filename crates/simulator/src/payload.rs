//! The webhooks' JSON, as Meta documents it.
//!
//! Builds values; what they say was decided elsewhere, and who sends them is `outbox`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::books::Sent;
use crate::codes::graph_title;
use crate::config::{NumberConfig, TemplateCategory, TemplateStatus};
use crate::records::{Customer, InboundContent, InboundSpec, InboundVia, Report, Status};
use crate::rules::digits;

/// The first Graph version whose statuses carry a conversation for free entry points only.
const CONVERSATION_FREE_VERSION: u32 = 24;

/// One element of `entry[].changes[]`, with the account it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) waba_id: String,
    pub(crate) field: &'static str,
    pub(crate) value: Value,
}

/// A customer as one number's webhooks show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) customer: &'a Customer,
    pub(crate) shows_phone: bool,
}

impl Shown<'_> {
    fn phone(&self) -> Option<&str> {
        self.customer.phone.as_deref().filter(|_| self.shows_phone)
    }

    fn contact(&self) -> Value {
        let mut contact = json!({
            "profile": {"name": self.customer.name},
            "user_id": self.customer.user_id,
        });
        if let Some(phone) = self.phone() {
            contact["wa_id"] = json!(phone);
        }
        contact
    }
}

/// Builds the change for a customer's message.
pub(crate) fn inbound(
    number: &NumberConfig,
    who: Shown<'_>,
    spec: &InboundSpec,
    wamid: &str,
    at: Timestamp,
) -> Change {
    let (kind, object) = match &spec.content {
        InboundContent::Text(text) => ("text", json!({"body": text})),
        InboundContent::Reaction { message_id, emoji } => {
            let mut reaction = json!({"message_id": message_id});
            if let Some(emoji) = emoji {
                reaction["emoji"] = json!(emoji);
            }
            ("reaction", reaction)
        }
        InboundContent::Other { kind, object } => (kind.as_str(), object.clone()),
    };
    let mut message = json!({
        "from_user_id": who.customer.user_id,
        "id": wamid,
        "timestamp": seconds(at),
        "type": kind,
    });
    if let Some(phone) = who.phone() {
        message["from"] = json!(phone);
    }
    message[kind] = object;
    if let Some(reply_to) = &spec.reply_to {
        message["context"] = json!({
            "from": digits(&number.display_phone_number),
            "id": reply_to,
        });
    }
    if let Some(referral) = &spec.referral {
        message["referral"] = referral.clone();
    }
    let items = json!({"contacts": [who.contact()], "messages": [message]});
    let mut value = base(number);
    match spec.via {
        InboundVia::Messages => merge(&mut value, items),
        InboundVia::Standby => value["standby"] = items,
    }
    change(
        number,
        match spec.via {
            InboundVia::Messages => "messages",
            InboundVia::Standby => "standby",
        },
        value,
    )
}

/// Builds the change for a customer's call to the business.
pub(crate) fn call(number: &NumberConfig, who: Shown<'_>, call_id: &str, at: Timestamp) -> Change {
    let mut call = json!({
        "id": call_id,
        "to": digits(&number.display_phone_number),
        "from_user_id": who.customer.user_id,
        "event": "connect",
        "timestamp": seconds(at),
        "direction": "USER_INITIATED",
        "session": {"sdp_type": "offer", "sdp": "v=0\r\n"},
    });
    if let Some(phone) = who.phone() {
        call["from"] = json!(phone);
    }
    let mut value = base(number);
    merge(
        &mut value,
        json!({"contacts": [who.contact()], "calls": [call]}),
    );
    change(number, "calls", value)
}

/// Builds the change for a customer who stops or resumes marketing messages.
pub(crate) fn preference(
    number: &NumberConfig,
    who: Shown<'_>,
    stopped: bool,
    at: Timestamp,
) -> Change {
    let mut preference = json!({
        "user_id": who.customer.user_id,
        "category": "marketing_messages",
        "value": if stopped { "stop" } else { "resume" },
        "detail": if stopped {
            "User requested to stop marketing messages"
        } else {
            "User requested to resume marketing messages"
        },
        "timestamp": at.as_second(),
    });
    if let Some(phone) = who.phone() {
        preference["wa_id"] = json!(phone);
    }
    let mut value = base(number);
    merge(
        &mut value,
        json!({"contacts": [who.contact()], "user_preferences": [preference]}),
    );
    change(number, "user_preferences", value)
}

/// Builds the change for a report about a message.
pub(crate) fn status(
    number: &NumberConfig,
    who: Shown<'_>,
    sent: &Sent,
    report: Report,
    window: SignedDuration,
) -> Change {
    let failed = report.status == Status::Failed;
    let mut status = json!({
        "id": sent.message.id,
        "status": report.status.as_str(),
        "timestamp": seconds(report.at),
    });
    let phone = if sent.route.is_by_phone {
        who.customer.phone.as_deref()
    } else {
        who.phone()
    };
    if let Some(phone) = phone {
        status["recipient_id"] = json!(phone);
    }
    if !(failed && sent.route.is_by_phone) {
        status["recipient_user_id"] = json!(who.customer.user_id);
    }
    if let Some(data) = &sent.message.callback_data {
        status["biz_opaque_callback_data"] = json!(data);
    }
    if failed {
        let code = report.code.unwrap_or(131_000);
        let title = graph_title(code);
        status["errors"] = json!([{
            "code": code,
            "title": title,
            "message": title,
            "error_data": {"details": title},
            "href": "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes",
        }]);
    } else if matches!(report.status, Status::Sent | Status::Delivered) {
        bill(&mut status, sent, report.status, window);
    }
    let mut value = base(number);
    value["statuses"] = json!([status]);
    if !failed {
        value["contacts"] = json!([who.contact()]);
    }
    change(number, "messages", value)
}

/// Says what a message costs, and the conversation that it is billed in where there is one.
fn bill(status: &mut Value, sent: &Sent, reported: Status, window: SignedDuration) {
    let free = sent.route.free.as_ref();
    let is_template = sent.route.category.is_some();
    let (kind, category) = match free {
        Some(_) => ("free_entry_point", "referral_conversion"),
        None if is_template => ("regular", category_word(sent.route.category)),
        None => ("free_customer_service", category_word(None)),
    };
    status["pricing"] = json!({
        "billable": free.is_none() && is_template,
        "pricing_model": "PMP",
        "type": kind,
        "category": category,
    });
    let (id, ends_at) = match free {
        Some(free) => (free.conversation_id.clone(), Some(free.ends_at)),
        None if sent.route.version < CONVERSATION_FREE_VERSION => {
            let id = format!("conversation-{}", sent.message.seq);
            (id, sent.message.at.checked_add(window).ok())
        }
        None => return,
    };
    status["conversation"] = json!({"id": id, "origin": {"type": category}});
    if let Some(ends_at) = ends_at.filter(|_| reported == Status::Sent) {
        status["conversation"]["expiration_timestamp"] = json!(seconds(ends_at));
    }
}

/// Puts changes into one body. Changes of one number and field share a value, as Meta's batches
/// do; so contacts and messages of several customers stand side by side.
pub(crate) fn compose(changes: Vec<Change>, now: Timestamp) -> Value {
    let mut entries: Vec<(String, Vec<Change>)> = Vec::new();
    for change in changes {
        let known = entries.iter().position(|(id, _)| *id == change.waba_id);
        let index = known.unwrap_or(entries.len());
        if known.is_none() {
            entries.push((change.waba_id.clone(), Vec::new()));
        }
        let group = &mut entries[index].1;
        match group.iter_mut().find(|known| {
            known.field == change.field
                && change.field == "messages"
                && known.value["metadata"] == change.value["metadata"]
        }) {
            Some(known) => append(&mut known.value, change.value),
            None => group.push(change),
        }
    }
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(id, changes)| {
            let timed = changes.iter().any(|change| change.field != "messages");
            let changes: Vec<Value> = changes
                .into_iter()
                .map(|change| json!({"field": change.field, "value": change.value}))
                .collect();
            let mut entry = json!({"id": id, "changes": changes});
            if timed {
                entry["time"] = json!(now.as_second());
            }
            entry
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": entries})
}

fn append(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    for (key, items) in from {
        let Value::Array(items) = items else { continue };
        if !into[key.as_str()].is_array() {
            into[key.as_str()] = json!([]);
        }
        if let Some(known) = into[key.as_str()].as_array_mut() {
            for item in items {
                if key != "contacts" || !known.contains(&item) {
                    known.push(item);
                }
            }
        }
    }
}

fn change(number: &NumberConfig, field: &'static str, value: Value) -> Change {
    Change {
        waba_id: number.waba_id.clone(),
        field,
        value,
    }
}

fn base(number: &NumberConfig) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "metadata": {
            "display_phone_number": digits(&number.display_phone_number),
            "phone_number_id": number.phone_number_id,
        },
    })
}

fn merge(into: &mut Value, from: Value) {
    let from = match from {
        Value::Object(from) => from,
        _ => Map::new(),
    };
    for (key, value) in from {
        into[key] = value;
    }
}

fn seconds(at: Timestamp) -> String {
    at.as_second().to_string()
}

/// Returns the pricing category's word.
pub(crate) fn category_word(category: Option<TemplateCategory>) -> &'static str {
    match category {
        None => "service",
        Some(TemplateCategory::Authentication) => "authentication",
        Some(TemplateCategory::Marketing) => "marketing",
        Some(TemplateCategory::Utility) => "utility",
    }
}

/// Returns the review state's word.
pub(crate) fn template_status_word(status: TemplateStatus) -> &'static str {
    match status {
        TemplateStatus::Approved => "APPROVED",
        TemplateStatus::Pending => "PENDING",
        TemplateStatus::Rejected => "REJECTED",
        TemplateStatus::Paused => "PAUSED",
        TemplateStatus::Disabled => "DISABLED",
    }
}
