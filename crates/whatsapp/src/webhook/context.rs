//! What a message answers, passes on, or was brought by.

use serde_json::Value;

use super::read;

/// `context` of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageContext {
    /// `id`: the message that this one answers.
    pub wamid: Option<String>,
    /// `from`: who wrote that message; a phone's digits or a user id.
    pub from: Option<String>,
    /// Passed on by the customer.
    pub forwarded: bool,
    /// Passed on more than five times.
    pub frequently_forwarded: bool,
    /// The product that the customer asks about.
    pub referred_product: Option<ReferredProduct>,
}

/// A product out of a catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferredProduct {
    /// Meta's id of the catalogue.
    pub catalog_id: Option<String>,
    /// The seller's own id.
    pub product_retailer_id: Option<String>,
}

/// The ad or post that brought the customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referral {
    /// The ad's or post's page.
    pub source_url: Option<String>,
    /// Its id.
    pub source_id: Option<String>,
    /// `ad` or `post`.
    pub source_type: Option<String>,
    /// Its headline.
    pub headline: Option<String>,
    /// Its text.
    pub body: Option<String>,
    /// `image` or `video`.
    pub media_type: Option<String>,
    /// Its picture.
    pub image_url: Option<String>,
    /// Its film.
    pub video_url: Option<String>,
    /// A small picture of the film.
    pub thumbnail_url: Option<String>,
    /// Id of the click; absent for ads in WhatsApp's own places.
    pub ctwa_clid: Option<String>,
    /// `welcome_message.text`.
    pub welcome_text: Option<String>,
    /// `ref`, as the link carried it.
    pub reference: Option<String>,
}

/// Reads `context`; `None` if there is none.
pub(super) fn parse(raw: &Value) -> Option<MessageContext> {
    let context = read::object(raw, "context")?;
    let product = read::object(context, "referred_product");
    Some(MessageContext {
        wamid: read::any_text(context, &["id", "message_id"]),
        from: read::any_text(context, &["from", "from_user_id"]),
        forwarded: read::flag(context, "forwarded"),
        frequently_forwarded: read::flag(context, "frequently_forwarded"),
        referred_product: product.map(|product| ReferredProduct {
            catalog_id: read::text(product, "catalog_id"),
            product_retailer_id: read::text(product, "product_retailer_id"),
        }),
    })
}

/// Reads `referral`; `None` if there is none.
pub(super) fn referral(raw: &Value) -> Option<Referral> {
    let referral = read::object(raw, "referral")?;
    Some(Referral {
        source_url: read::text(referral, "source_url"),
        source_id: read::text(referral, "source_id"),
        source_type: read::text(referral, "source_type"),
        headline: read::text(referral, "headline"),
        body: read::text(referral, "body"),
        media_type: read::text(referral, "media_type"),
        image_url: read::text(referral, "image_url"),
        video_url: read::text(referral, "video_url"),
        thumbnail_url: read::text(referral, "thumbnail_url"),
        ctwa_clid: read::text(referral, "ctwa_clid"),
        welcome_text: read::object(referral, "welcome_message")
            .and_then(|welcome| read::text(welcome, "text")),
        reference: read::text(referral, "ref"),
    })
}
