//! Customers' messages: `messages[]` of the `messages` and `standby` fields.
//!
//! Every type keeps its content, as read and as received. Whether a message opens the window is
//! not decided here.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Channel, Content, MessageContext, Referral, ReportedError,
    contact::Contacts,
    content, context,
    extra::{self, Known},
    read::{self, Missing},
    status,
};

/// A message from a customer to a business number.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundMessage {
    /// The message's id (`wamid.…`).
    pub wamid: String,
    /// `timestamp`: when Meta says the customer acted; the anchor of the window.
    pub at: Timestamp,
    /// Which field carried it.
    pub channel: Channel,
    /// The customer's phone as digits. Absent for customers who go by a username.
    pub from_phone: Option<String>,
    /// The business-scoped user id (BSUID), such as `US.1349…`.
    pub user_id: Option<String>,
    /// The user id at the level of the parent portfolio, such as `US.ENT.1181…`.
    pub parent_user_id: Option<String>,
    /// The name the customer chose to show.
    pub profile_name: Option<String>,
    /// The customer's username.
    pub username: Option<String>,
    /// Set if the message was written in a group; then it concerns no customer window.
    pub group_id: Option<String>,
    /// What sort of message.
    pub kind: MessageKind,
    /// What a person would read: body, caption, the tapped button's or row's text, emoji.
    pub text: Option<String>,
    /// `identity_key_hash` of the customer: changes with their device key.
    pub identity_hash: Option<String>,
    /// What the message answers or passes on.
    pub context: Option<MessageContext>,
    /// Set if the customer came from an ad or post; a free entry point may follow.
    pub referral: Option<Referral>,
    /// True if the customer's app answered by itself (`response_source: automatic`).
    pub automatic: bool,
    /// Set on system messages about a changed phone or user id.
    pub identity_change: Option<IdentityChange>,
    /// `errors[]` of the message, as unsupported messages carry them.
    pub errors: Vec<ReportedError>,
    /// What the message holds; `None` for a type that we do not know, or without its object.
    pub content: Option<Content>,
    /// The object (or array) named by the type, whole; `Null` if there is none.
    pub object: Value,
    /// What else the message says: fields that are in none of ours, in their places; what the
    /// customer's contact says beyond ours stands in `contact`.
    pub extra: Option<Map<String, Value>>,
}

/// What is read of a message, beside the object that its type names.
const KNOWN: &[(&str, Known)] = &[
    ("id", Known::Whole),
    ("timestamp", Known::Whole),
    ("type", Known::Whole),
    ("from", Known::Whole),
    ("from_user_id", Known::Whole),
    ("from_parent_user_id", Known::Whole),
    ("group_id", Known::Whole),
    ("errors", status::KNOWN_ERRORS),
    (
        "context",
        Known::Fields(&[
            ("id", Known::Whole),
            ("message_id", Known::Whole),
            ("from", Known::Whole),
            ("from_user_id", Known::Whole),
            ("forwarded", Known::Whole),
            ("frequently_forwarded", Known::Whole),
            (
                "referred_product",
                Known::Fields(&[
                    ("catalog_id", Known::Whole),
                    ("product_retailer_id", Known::Whole),
                ]),
            ),
        ]),
    ),
    (
        "referral",
        Known::Fields(&[
            ("source_url", Known::Whole),
            ("source_id", Known::Whole),
            ("source_type", Known::Whole),
            ("headline", Known::Whole),
            ("body", Known::Whole),
            ("media_type", Known::Whole),
            ("image_url", Known::Whole),
            ("video_url", Known::Whole),
            ("thumbnail_url", Known::Whole),
            ("ctwa_clid", Known::Whole),
            ("welcome_message", Known::Fields(&[("text", Known::Whole)])),
            ("ref", Known::Whole),
        ]),
    ),
    (
        "identity",
        Known::Fields(&[
            ("hash", Known::Whole),
            ("acknowledged", Known::Whole),
            ("created_timestamp", Known::Whole),
        ]),
    ),
];

/// The sort of a message, from its `type`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Plain text.
    Text,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// Sound; a voice note has `voice: true` in its content.
    Audio,
    /// A file.
    Document,
    /// A sticker.
    Sticker,
    /// A place.
    Location,
    /// Contact cards.
    Contacts,
    /// The answer to an interactive message: button, list row, flow, call permission.
    Interactive,
    /// A tap on a template's quick-reply button.
    Button,
    /// An emoji on a message; without emoji it was taken back.
    Reaction,
    /// A basket from a catalogue.
    Order,
    /// Written by Meta, not by the customer: a number or user id changed.
    System,
    /// The customer wrote something that the platform does not pass on.
    Unsupported,
    /// An earlier message was edited (numbers shared with the phone app).
    Edit,
    /// An earlier message was withdrawn (numbers shared with the phone app).
    Revoke,
    /// Stands for a media file in a shared history.
    MediaPlaceholder,
    /// The customer opened the chat for the first time and wrote nothing yet.
    RequestWelcome,
    /// A type that we do not know, by its own name; empty if the message had none.
    Other(String),
}

impl MessageKind {
    /// Returns the kind for a `type` string.
    pub fn parse(name: &str) -> Self {
        match name {
            "text" => Self::Text,
            "image" => Self::Image,
            "video" => Self::Video,
            "audio" | "voice" => Self::Audio,
            "document" => Self::Document,
            "sticker" => Self::Sticker,
            "location" => Self::Location,
            "contacts" => Self::Contacts,
            "interactive" => Self::Interactive,
            "button" => Self::Button,
            "reaction" => Self::Reaction,
            "order" => Self::Order,
            "system" => Self::System,
            "unsupported" | "unknown" => Self::Unsupported,
            "edit" => Self::Edit,
            "revoke" => Self::Revoke,
            "media_placeholder" => Self::MediaPlaceholder,
            "request_welcome" => Self::RequestWelcome,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Returns the `type` string.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
            Self::Location => "location",
            Self::Contacts => "contacts",
            Self::Interactive => "interactive",
            Self::Button => "button",
            Self::Reaction => "reaction",
            Self::Order => "order",
            Self::System => "system",
            Self::Unsupported => "unsupported",
            Self::Edit => "edit",
            Self::Revoke => "revoke",
            Self::MediaPlaceholder => "media_placeholder",
            Self::RequestWelcome => "request_welcome",
            Self::Other(name) => name,
        }
    }
}

/// What a system message says about a customer's identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityChange {
    /// `system.type`: such as `user_changed_number`.
    pub cause: String,
    /// Text for people.
    pub detail: Option<String>,
    /// The phone before, as digits.
    pub previous_phone: Option<String>,
    /// The phone now, as digits.
    pub new_phone: Option<String>,
    /// The user id before.
    pub previous_user_id: Option<String>,
    /// The user id now.
    pub new_user_id: Option<String>,
    /// The parent user id before.
    pub previous_parent_user_id: Option<String>,
    /// The parent user id now.
    pub new_parent_user_id: Option<String>,
}

/// Reads one element of `messages[]`.
pub(super) fn parse(
    raw: &Value,
    channel: Channel,
    contacts: &Contacts,
) -> Result<InboundMessage, Missing> {
    let wamid = read::required_text(raw, "id")?;
    let at = read::required_time(raw, "timestamp")?;
    let (name, kind) = kind_of(raw);
    let object = content::object_of(raw, &name, &kind);
    let content = content::parse(raw, &kind, object);
    let from_phone = read::phone(raw, "from");
    let from_user_id = read::text(raw, "from_user_id").or_else(|| read::user_id(raw, "from"));
    let contact = contacts.find(from_phone.as_deref(), from_user_id.as_deref());
    let identity_change = (kind == MessageKind::System)
        .then(|| identity_change(raw, from_phone.as_deref(), from_user_id.as_deref()))
        .flatten();
    Ok(InboundMessage {
        wamid,
        at,
        channel,
        from_phone: from_phone.or(contact.phone),
        user_id: from_user_id.or(contact.user_id),
        parent_user_id: read::text(raw, "from_parent_user_id").or(contact.parent_user_id),
        profile_name: contact.profile_name,
        username: contact.username,
        group_id: read::text(raw, "group_id"),
        identity_hash: contact.identity_hash,
        text: content.as_ref().and_then(Content::text).map(str::to_owned),
        context: context::parse(raw),
        referral: context::referral(raw),
        automatic: is_automatic(content.as_ref()),
        identity_change,
        errors: status::errors(raw),
        // Without its object nothing is kept apart, and the whole message stands for it.
        extra: object.and_then(|_| extra_of(raw, &name, contact.extra)),
        object: object.cloned().unwrap_or(Value::Null),
        content,
        kind,
    })
}

/// Returns the type's name and the type. Where the platform left the type out, the object that
/// is there tells it.
pub(super) fn kind_of(raw: &Value) -> (String, MessageKind) {
    let name = read::text(raw, "type").or_else(|| {
        let known = |name: &&String| !matches!(MessageKind::parse(name), MessageKind::Other(_));
        raw.as_object()?.keys().find(known).cloned()
    });
    let name = name.unwrap_or_default();
    let kind = MessageKind::parse(&name);
    (name, kind)
}

fn extra_of(
    raw: &Value,
    name: &str,
    contact: Option<Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let mut extra = extra::of(raw, KNOWN, Some(name)).unwrap_or_default();
    extra.extend(contact.map(|contact| ("contact".to_owned(), Value::Object(contact))));
    (!extra.is_empty()).then_some(extra)
}

fn is_automatic(content: Option<&Content>) -> bool {
    let Some(Content::CallPermissionReply(reply)) = content else {
        return false;
    };
    let source = reply.response_source.as_deref();
    source.is_some_and(|source| source.eq_ignore_ascii_case("automatic"))
}

/// System messages name the identifiers before in the message itself (`from…`), those after in
/// the `system` object. Other system messages (a changed device key) change no identifier.
fn identity_change(
    raw: &Value,
    from_phone: Option<&str>,
    from_user_id: Option<&str>,
) -> Option<IdentityChange> {
    let system = raw.get("system")?;
    let name = read::text(system, "type")?;
    if !matches!(
        name.as_str(),
        "user_changed_number" | "user_changed_user_id" | "customer_changed_number"
    ) {
        return None;
    }
    Some(IdentityChange {
        cause: name,
        detail: read::text(system, "body"),
        previous_phone: from_phone.map(str::to_owned),
        new_phone: read::phone(system, "wa_id").or_else(|| read::phone(system, "new_wa_id")),
        previous_user_id: from_user_id.map(str::to_owned),
        new_user_id: read::text(system, "user_id"),
        previous_parent_user_id: read::text(raw, "from_parent_user_id"),
        new_parent_user_id: read::text(system, "parent_user_id"),
    })
}
