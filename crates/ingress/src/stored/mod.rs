//! What the platform says, as it is stored.
//!
//! From the parser's types to the payloads of events, field by field. Nothing is decided here,
//! and nothing is looked up.

mod account;
mod content;
mod group;
mod history;
mod status;

use casement_event::{convert, v1};
use casement_whatsapp::webhook::{Channel, MessageContext, Referral, ReportedError};
use serde_json::Value;

pub(crate) use account::account;
pub(crate) use content::content;
pub(crate) use group::{change, message};
pub(crate) use history::thread;
#[cfg(test)]
pub(crate) use status::of_meta;
pub(crate) use status::{details, reported};

/// Absent text is empty text, as protobuf has it.
#[expect(clippy::ref_option, reason = "fields are read as they stand")]
pub(crate) fn text(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

fn time(at: Option<jiff::Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(convert::timestamp)
}

/// Which field brought a message.
pub(crate) fn field(channel: Channel) -> v1::InboundField {
    match channel {
        Channel::Messages => v1::InboundField::Messages,
        Channel::Standby => v1::InboundField::Standby,
        Channel::PhoneApp => v1::InboundField::SmbMessageEchoes,
    }
}

/// Identifiers as received: nothing is looked up under them.
#[expect(clippy::ref_option, reason = "fields are read as they stand")]
pub(crate) fn addresses(
    phone: &Option<String>,
    user_id: &Option<String>,
    parent_user_id: &Option<String>,
) -> v1::Addresses {
    v1::Addresses {
        phone: text(phone),
        user_id: text(user_id),
        parent_user_id: text(parent_user_id),
    }
}

pub(crate) fn errors(errors: &[ReportedError]) -> Vec<v1::ProviderError> {
    errors.iter().map(error).collect()
}

fn error(error: &ReportedError) -> v1::ProviderError {
    v1::ProviderError {
        code: error.code,
        title: text(&error.title),
        message: text(&error.message),
        details: text(&error.details),
        href: text(&error.href),
        data_json: error
            .data
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default(),
    }
}

pub(crate) fn context(context: &MessageContext) -> v1::MessageContext {
    let product = context.referred_product.as_ref();
    v1::MessageContext {
        provider_message_id: text(&context.wamid),
        from: text(&context.from),
        forwarded: context.forwarded,
        frequently_forwarded: context.frequently_forwarded,
        referred_product: product.map(|product| v1::ReferredProduct {
            catalog_id: text(&product.catalog_id),
            product_retailer_id: text(&product.product_retailer_id),
        }),
    }
}

pub(crate) fn referral(referral: &Referral) -> v1::Referral {
    v1::Referral {
        source_url: text(&referral.source_url),
        source_id: text(&referral.source_id),
        source_type: text(&referral.source_type),
        headline: text(&referral.headline),
        body: text(&referral.body),
        media_type: text(&referral.media_type),
        image_url: text(&referral.image_url),
        video_url: text(&referral.video_url),
        thumbnail_url: text(&referral.thumbnail_url),
        ctwa_clid: text(&referral.ctwa_clid),
        welcome_text: text(&referral.welcome_text),
        r#ref: text(&referral.reference),
    }
}
