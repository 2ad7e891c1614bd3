//! Templates: what one is made of, what it is filled in with, and whether the two fit.
//!
//! WhatsApp Cloud API: template components. A template is a header, a body, a footer and buttons,
//! or cards that are made so. What has placeholders, or a file, is filled in by the send; each
//! misfit is refused by the platform (132000, 132012) after the send left, so it is found here
//! before. Whether a template may be used at all is routing's; how long it may be is for whoever
//! has it made.

mod budget;
mod check;
mod pause;
mod placeholders;
mod render;

pub use budget::{
    CREATIONS_MAX, CREATIONS_WITHIN, EDITS_A_DAY_MAX, EDITS_A_MONTH_MAX, OverBudget, TEMPLATES_MAX,
    TEMPLATES_OF_UNVERIFIED_MAX, creation, edit,
};
pub use check::check;
pub use pause::{PauseKind, expected_end};
pub use placeholders::{Placeholders, placeholders};
pub use render::{Rendered, RenderedButton, render};

/// What a template is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// The message itself; of a carousel, what stands above its cards.
    pub part: Part,
    /// What stands below the body.
    pub footer: String,
    /// The cards of a carousel, in their order.
    pub cards: Vec<Part>,
    /// A limited-time offer; `Some(true)` if it ends.
    pub offer: Option<bool>,
    /// It has components that are not known here: what is filled in may be theirs.
    pub has_more: bool,
}

/// A message, or one card of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// What stands above the body.
    pub header: Option<Header>,
    /// The text, with its placeholders; empty if it is not known.
    pub body: String,
    /// In their order.
    pub buttons: Vec<Button>,
}

/// What stands above the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// A text, with a placeholder at most.
    Text(String),
    /// A picture.
    Image,
    /// A video.
    Video,
    /// A document.
    Document,
    /// A place.
    Location,
    /// A product of the catalogue.
    Product,
    /// What is not known here.
    Other,
}

/// A button of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it does.
    pub kind: ButtonKind,
    /// What it says.
    pub text: String,
    /// What it opens or calls: an address, with its placeholder, or a phone.
    pub target: String,
}

/// What a button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ButtonKind {
    /// Answers.
    QuickReply,
    /// Opens an address.
    Url,
    /// Calls a phone.
    PhoneNumber,
    /// Copies a coupon.
    CopyCode,
    /// Copies a one-time code, or hands it to an app (one-tap, zero-tap).
    Otp,
    /// Opens a flow.
    Flow,
    /// Shows the catalogue.
    Catalog,
    /// Shows several products.
    Products,
    /// Shows a product.
    Product,
    /// Calls the business on WhatsApp.
    VoiceCall,
    /// Asks for the customer's phone.
    RequestContactInfo,
    /// What is not known here.
    Other,
}

impl Definition {
    /// Returns whether it hands out a one-time code, which needs the customer's phone.
    ///
    /// WhatsApp Cloud API: one-tap, zero-tap and copy-code authentication templates cannot be sent
    /// to a business-scoped user id (131062).
    pub fn has_code(&self) -> bool {
        let buttons = &self.part.buttons;
        buttons.iter().any(|button| button.kind == ButtonKind::Otp)
    }
}

/// What a template is filled in with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filling {
    /// Of the message itself.
    pub components: Vec<Component>,
    /// Of a carousel's cards.
    pub cards: Vec<Vec<Component>>,
}

/// What one place is filled in with.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Which place.
    pub place: Place,
    /// In the order of the placeholders, or by name.
    pub parameters: Vec<Parameter>,
}

/// A place that can be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Above the body.
    Header,
    /// The body.
    Body,
    /// A button.
    Button {
        /// From 0; `None` if it is no number.
        index: Option<usize>,
        /// The platform's word, in lower case: `url`, `quick_reply`, ….
        sub_type: String,
    },
    /// The end of a limited-time offer.
    Offer,
    /// A word of the platform's that is not known here.
    Other,
}

/// What a placeholder is filled in with.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Of a named placeholder; else empty.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it says, if that can be said in text: of a file where it is found, for a look at it.
    pub text: Option<String>,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text, money or a date: what can stand in a text.
    Text,
    /// What comes back from a quick-reply button.
    Payload,
    /// A picture.
    Image,
    /// A video.
    Video,
    /// A document.
    Document,
    /// A place.
    Location,
    /// A product.
    Product,
    /// A code to copy.
    CouponCode,
    /// What a flow, a catalogue or products are opened with.
    Action,
    /// When an offer ends.
    OfferEnd,
    /// How long a call button works.
    TtlMinutes,
    /// A word of the platform's that is not known here, or nothing.
    Other,
}

impl Kind {
    /// Returns the platform's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Payload => "payload",
            Self::Image => "image",
            Self::Video => "video",
            Self::Document => "document",
            Self::Location => "location",
            Self::Product => "product",
            Self::CouponCode => "coupon_code",
            Self::Action => "action",
            Self::OfferEnd => "limited_time_offer",
            Self::TtlMinutes => "ttl_minutes",
            Self::Other => "another kind",
        }
    }
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Path of the field within what fills a template in, such as `components[0].parameters`.
    pub field: String,
    /// What is wrong with it, for people. Never what was filled in.
    pub reason: String,
}

#[cfg(test)]
mod tests;
