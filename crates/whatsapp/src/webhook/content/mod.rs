//! What a message holds, by its type.
//!
//! The object that the type names is kept beside it as received, so that nothing depends on
//! what is not read here. What a person would read is told, too; what a window makes of a message
//! is not decided here.

mod card;
mod reply;

use jiff::Timestamp;
use serde_json::Value;

pub use card::{CardAddress, CardEmail, CardPhone, CardUrl, ContactCard};
pub use reply::{AddressReply, ButtonReply, CallPermissionReply, FlowReply, ListReply};

use super::MessageKind;
use super::read;

/// The content of a message of a type that we know.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Plain text.
    Text {
        /// The text.
        body: String,
    },
    /// A file: picture, film, sound, document or sticker.
    Media(Box<Media>),
    /// A place.
    Location(Box<Location>),
    /// Contact cards.
    Contacts(Vec<ContactCard>),
    /// A tap on a button of an interactive message.
    ButtonReply(ButtonReply),
    /// A row chosen from a list.
    ListReply(ListReply),
    /// A form that was filled in.
    FlowReply(FlowReply),
    /// The answer to the question whether the business may call.
    CallPermissionReply(CallPermissionReply),
    /// An address that was asked for.
    AddressReply(AddressReply),
    /// An interactive reply of a kind that we do not know, by its own name.
    OtherReply {
        /// `interactive.type`, if there is one.
        kind: Option<String>,
    },
    /// A tap on a template's quick-reply button.
    TemplateButton {
        /// As the sender of the template gave it.
        payload: Option<String>,
        /// What stands on the button.
        text: Option<String>,
    },
    /// An emoji on a message.
    Reaction {
        /// The message that was reacted to.
        wamid: Option<String>,
        /// Absent when the reaction was taken back.
        emoji: Option<String>,
    },
    /// A basket from a catalogue.
    Order(Box<Order>),
    /// Written by Meta, not by the customer.
    System(Box<SystemNotice>),
    /// The customer wrote something that the platform does not pass on.
    Unsupported {
        /// `unsupported.type`, such as `poll`.
        kind: Option<String>,
    },
    /// An earlier message was changed.
    Edit(Box<Edit>),
    /// An earlier message was withdrawn.
    Revoke {
        /// The message withdrawn.
        original_wamid: Option<String>,
    },
    /// Stands for a file in a shared history.
    MediaPlaceholder,
    /// The customer opened the chat and wrote nothing yet.
    RequestWelcome,
}

/// A file at Meta's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Which sort.
    pub kind: MediaKind,
    /// Meta's id of the file.
    pub id: Option<String>,
    /// Where it can be fetched for some minutes; not sent before November 2025, nor always since.
    pub url: Option<String>,
    /// Such as `audio/ogg; codecs=opus`.
    pub mime_type: Option<String>,
    /// SHA-256 of the file, in base64.
    pub sha256: Option<String>,
    /// Documents only.
    pub filename: Option<String>,
    /// Text beneath it.
    pub caption: Option<String>,
    /// Sound recorded in the chat.
    pub voice: bool,
    /// A moving sticker.
    pub animated: bool,
}

/// The sort of a [`Media`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// Sound.
    Audio,
    /// A file.
    Document,
    /// A sticker.
    Sticker,
}

/// A place.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// Degrees.
    pub latitude: Option<f64>,
    /// Degrees.
    pub longitude: Option<f64>,
    /// What it is called.
    pub name: Option<String>,
    /// Where it is.
    pub address: Option<String>,
    /// Its page.
    pub url: Option<String>,
}

/// A basket from a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Meta's id of the catalogue.
    pub catalog_id: Option<String>,
    /// What the customer wrote with it.
    pub text: Option<String>,
    /// What is in it.
    pub items: Vec<OrderItem>,
}

/// One product of an [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderItem {
    /// The seller's own id.
    pub product_retailer_id: Option<String>,
    /// How many.
    pub quantity: Option<i64>,
    /// Price of one, decimal, as sent.
    pub item_price: Option<String>,
    /// Such as `EUR`.
    pub currency: Option<String>,
}

/// A message of Meta's own about a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemNotice {
    /// Such as `user_changed_number`.
    pub kind: Option<String>,
    /// Text for people.
    pub body: Option<String>,
    /// The phone now, as digits.
    pub phone: Option<String>,
    /// The user id now.
    pub user_id: Option<String>,
    /// The parent user id now.
    pub parent_user_id: Option<String>,
    /// `identity.hash` beside it: the customer's new device key.
    pub identity_hash: Option<String>,
    /// Whether the business has acknowledged the key.
    pub identity_acknowledged: bool,
    /// Since when the key is in use.
    pub identity_at: Option<Timestamp>,
}

/// An earlier message as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The message that was changed.
    pub original_wamid: Option<String>,
    /// Its type.
    pub kind: MessageKind,
    /// What it holds now; never an edit.
    pub content: Option<Content>,
}

impl Content {
    /// Returns what a person would read: body, caption, the tapped button's or row's text, emoji.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { body } => Some(body.as_str()).filter(|body| !body.is_empty()),
            Self::Media(media) => media.caption.as_deref(),
            Self::ButtonReply(reply) => reply.title.as_deref(),
            Self::ListReply(reply) => reply.title.as_deref(),
            Self::FlowReply(reply) => reply.body.as_deref(),
            Self::AddressReply(reply) => reply.body.as_deref(),
            Self::TemplateButton { text, .. } => text.as_deref(),
            Self::Reaction { emoji, .. } => emoji.as_deref(),
            Self::Order(order) => order.text.as_deref(),
            Self::System(notice) => notice.body.as_deref(),
            Self::Edit(edit) => edit.content.as_ref().and_then(Self::text),
            Self::Location(_)
            | Self::Contacts(_)
            | Self::CallPermissionReply(_)
            | Self::OtherReply { .. }
            | Self::Unsupported { .. }
            | Self::Revoke { .. }
            | Self::MediaPlaceholder
            | Self::RequestWelcome => None,
        }
    }
}

/// Reads the content of a message: of one object of `messages[]`, or of what else has a type and
/// an object by its name. `object` is that object.
pub(super) fn parse(raw: &Value, kind: &MessageKind, object: Option<&Value>) -> Option<Content> {
    Some(match kind {
        MessageKind::Text => Content::Text {
            body: read::text(object?, "body").unwrap_or_default(),
        },
        MessageKind::Image => media(MediaKind::Image, object?),
        MessageKind::Video => media(MediaKind::Video, object?),
        MessageKind::Audio => media(MediaKind::Audio, object?),
        MessageKind::Document => media(MediaKind::Document, object?),
        MessageKind::Sticker => media(MediaKind::Sticker, object?),
        MessageKind::Location => location(object?),
        MessageKind::Contacts => Content::Contacts(card::cards(object?)),
        MessageKind::Interactive => reply::parse(object?)?,
        MessageKind::Button => Content::TemplateButton {
            payload: read::text(object?, "payload"),
            text: read::text(object?, "text"),
        },
        MessageKind::Reaction => Content::Reaction {
            wamid: read::text(object?, "message_id"),
            emoji: read::text(object?, "emoji"),
        },
        MessageKind::Order => order(object?),
        MessageKind::System => system(raw, object),
        MessageKind::Unsupported => Content::Unsupported {
            kind: object.and_then(|object| read::text(object, "type")),
        },
        MessageKind::Edit => edit(object?),
        MessageKind::Revoke => Content::Revoke {
            original_wamid: read::text(object?, "original_message_id"),
        },
        MessageKind::MediaPlaceholder => Content::MediaPlaceholder,
        MessageKind::RequestWelcome => Content::RequestWelcome,
        MessageKind::Other(_) => return None,
    })
}

/// Returns the object (or array) that a message's type names; of Meta's older names, too.
pub(super) fn object_of<'a>(raw: &'a Value, name: &str, kind: &MessageKind) -> Option<&'a Value> {
    raw.get(name)
        .or_else(|| raw.get(kind.as_str()))
        .filter(|object| !object.is_null())
}

fn media(kind: MediaKind, object: &Value) -> Content {
    Content::Media(Box::new(Media {
        kind,
        id: read::text(object, "id"),
        url: read::any_text(object, &["url", "link"]),
        mime_type: read::text(object, "mime_type"),
        sha256: read::text(object, "sha256"),
        filename: read::text(object, "filename"),
        caption: read::text(object, "caption"),
        voice: read::flag(object, "voice"),
        animated: read::flag(object, "animated"),
    }))
}

fn location(object: &Value) -> Content {
    Content::Location(Box::new(Location {
        latitude: read::number(object, "latitude"),
        longitude: read::number(object, "longitude"),
        name: read::text(object, "name"),
        address: read::text(object, "address"),
        url: read::text(object, "url"),
    }))
}

fn order(object: &Value) -> Content {
    let items = read::objects(object, "product_items");
    Content::Order(Box::new(Order {
        catalog_id: read::text(object, "catalog_id"),
        text: read::text(object, "text"),
        items: items
            .into_iter()
            .map(|item| OrderItem {
                product_retailer_id: read::text(item, "product_retailer_id"),
                quantity: read::integer(item, "quantity"),
                item_price: read::text(item, "item_price"),
                currency: read::text(item, "currency"),
            })
            .collect(),
    }))
}

/// The changed device key stands beside the `system` object, not in it.
fn system(raw: &Value, object: Option<&Value>) -> Content {
    let system = object.unwrap_or(&Value::Null);
    let identity = read::object(raw, "identity")
        .or_else(|| read::object(system, "identity"))
        .unwrap_or(&Value::Null);
    Content::System(Box::new(SystemNotice {
        kind: read::text(system, "type"),
        body: read::text(system, "body"),
        phone: read::phone(system, "wa_id").or_else(|| read::phone(system, "new_wa_id")),
        user_id: read::text(system, "user_id"),
        parent_user_id: read::text(system, "parent_user_id"),
        identity_hash: read::text(identity, "hash"),
        identity_acknowledged: read::flag(identity, "acknowledged"),
        identity_at: read::time(identity, "created_timestamp"),
    }))
}

fn edit(object: &Value) -> Content {
    let inner = object.get("message").unwrap_or(&Value::Null);
    let name = read::text(inner, "type").unwrap_or_default();
    let kind = MessageKind::parse(&name);
    // An edit of an edit is nothing the platform sends; it is not followed down.
    let content = (kind != MessageKind::Edit)
        .then(|| parse(inner, &kind, object_of(inner, &name, &kind)))
        .flatten();
    Content::Edit(Box::new(Edit {
        original_wamid: read::text(object, "original_message_id"),
        kind,
        content,
    }))
}
