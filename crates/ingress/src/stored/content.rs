//! What a message holds.

use casement_event::v1;
use casement_event::v1::contact_card::{Address, Email, Phone, Url};
use casement_event::v1::message_content::Content as Stored;
use casement_event::v1::{address_reply, order_content};
use casement_whatsapp::webhook::{
    ContactCard, Content, Edit, Location, Media, MediaKind, Order, SystemNotice,
};

use super::{text, time};

/// Returns the content of a message as stored; `None` if it has none that we know.
pub(crate) fn content(content: Option<&Content>) -> Option<v1::MessageContent> {
    let content = content.map(of)?;
    Some(v1::MessageContent {
        content: Some(content),
    })
}

fn of(content: &Content) -> Stored {
    match content {
        Content::Text { body } => Stored::Text(v1::TextContent { body: body.clone() }),
        Content::Media(file) => Stored::Media(media(file)),
        Content::Location(place) => Stored::Location(location(place)),
        Content::Contacts(cards) => Stored::Contacts(v1::ContactsContent {
            cards: cards.iter().map(card).collect(),
        }),
        Content::ButtonReply(reply) => Stored::ButtonReply(v1::ButtonReply {
            id: text(&reply.id),
            title: text(&reply.title),
        }),
        Content::ListReply(reply) => Stored::ListReply(v1::ListReply {
            id: text(&reply.id),
            title: text(&reply.title),
            description: text(&reply.description),
        }),
        Content::FlowReply(reply) => Stored::FlowReply(v1::FlowReply {
            name: text(&reply.name),
            body: text(&reply.body),
            response_json: text(&reply.response_json),
            flow_token: text(&reply.flow_token),
        }),
        Content::CallPermissionReply(reply) => {
            let response = text(&reply.response);
            Stored::CallPermissionReply(v1::CallPermissionReply {
                accepted: response.eq_ignore_ascii_case("accept"),
                permanent: reply.permanent,
                expire_time: time(reply.expires_at),
                response_source: text(&reply.response_source),
                response,
            })
        }
        Content::AddressReply(reply) => {
            let values = reply.values.iter();
            Stored::AddressReply(v1::AddressReply {
                body: text(&reply.body),
                values: values
                    .map(|(key, value)| address_reply::Value {
                        key: key.clone(),
                        value: value.clone(),
                    })
                    .collect(),
                saved_address_id: text(&reply.saved_address_id),
                response_json: text(&reply.response_json),
            })
        }
        Content::OtherReply { kind } => Stored::OtherReply(v1::OtherReply { r#type: text(kind) }),
        Content::TemplateButton {
            payload,
            text: label,
        } => Stored::TemplateButtonReply(v1::TemplateButtonReply {
            payload: text(payload),
            text: text(label),
        }),
        Content::Reaction { wamid, emoji } => Stored::Reaction(v1::ReactionContent {
            provider_message_id: text(wamid),
            emoji: text(emoji),
            removed: emoji.is_none(),
        }),
        Content::Order(basket) => Stored::Order(order(basket)),
        Content::System(notice) => Stored::System(system(notice)),
        Content::Unsupported { kind } => {
            Stored::Unsupported(v1::UnsupportedContent { r#type: text(kind) })
        }
        Content::Edit(change) => Stored::Edit(edit(change)),
        Content::Revoke { original_wamid } => Stored::Revoke(v1::RevokeContent {
            original_provider_message_id: text(original_wamid),
        }),
        Content::MediaPlaceholder => Stored::MediaPlaceholder(v1::MediaPlaceholderContent {}),
        Content::RequestWelcome => Stored::RequestWelcome(v1::RequestWelcomeContent {}),
    }
}

fn media(file: &Media) -> v1::MediaContent {
    let kind = match file.kind {
        MediaKind::Image => v1::MediaKind::Image,
        MediaKind::Video => v1::MediaKind::Video,
        MediaKind::Audio => v1::MediaKind::Audio,
        MediaKind::Document => v1::MediaKind::Document,
        MediaKind::Sticker => v1::MediaKind::Sticker,
    };
    v1::MediaContent {
        kind: kind.into(),
        media_id: text(&file.id),
        url: text(&file.url),
        mime_type: text(&file.mime_type),
        sha256: text(&file.sha256),
        filename: text(&file.filename),
        caption: text(&file.caption),
        voice: file.voice,
        animated: file.animated,
    }
}

fn location(place: &Location) -> v1::LocationContent {
    v1::LocationContent {
        latitude: place.latitude,
        longitude: place.longitude,
        name: text(&place.name),
        address: text(&place.address),
        url: text(&place.url),
    }
}

fn card(card: &ContactCard) -> v1::ContactCard {
    v1::ContactCard {
        formatted_name: text(&card.formatted_name),
        first_name: text(&card.first_name),
        middle_name: text(&card.middle_name),
        last_name: text(&card.last_name),
        prefix: text(&card.prefix),
        suffix: text(&card.suffix),
        phones: each(&card.phones, |it| Phone {
            phone: text(&it.phone),
            wa_id: text(&it.wa_id),
            r#type: text(&it.kind),
            user_id: text(&it.user_id),
        }),
        emails: each(&card.emails, |it| Email {
            email: text(&it.email),
            r#type: text(&it.kind),
        }),
        addresses: each(&card.addresses, |it| Address {
            street: text(&it.street),
            city: text(&it.city),
            state: text(&it.state),
            zip: text(&it.zip),
            country: text(&it.country),
            country_code: text(&it.country_code),
            r#type: text(&it.kind),
        }),
        urls: each(&card.urls, |it| Url {
            url: text(&it.url),
            r#type: text(&it.kind),
        }),
        company: text(&card.company),
        department: text(&card.department),
        title: text(&card.title),
        birthday: text(&card.birthday),
        vcard: text(&card.vcard),
        origin: text(&card.origin),
    }
}

fn each<T, S>(values: &[T], stored: impl Fn(&T) -> S) -> Vec<S> {
    values.iter().map(stored).collect()
}

fn order(basket: &Order) -> v1::OrderContent {
    v1::OrderContent {
        catalog_id: text(&basket.catalog_id),
        text: text(&basket.text),
        items: each(&basket.items, |item| order_content::Item {
            product_retailer_id: text(&item.product_retailer_id),
            quantity: item.quantity.unwrap_or_default(),
            item_price: text(&item.item_price),
            currency: text(&item.currency),
        }),
    }
}

fn system(notice: &SystemNotice) -> v1::SystemContent {
    v1::SystemContent {
        r#type: text(&notice.kind),
        body: text(&notice.body),
        current: Some(super::addresses(
            &notice.phone,
            &notice.user_id,
            &notice.parent_user_id,
        )),
        identity_hash: text(&notice.identity_hash),
        identity_acknowledged: notice.identity_acknowledged,
        identity_time: time(notice.identity_at),
    }
}

fn edit(change: &Edit) -> v1::EditContent {
    let now = change.content.as_ref();
    v1::EditContent {
        original_provider_message_id: text(&change.original_wamid),
        kind: change.kind.as_str().to_owned(),
        text: now.and_then(Content::text).unwrap_or_default().to_owned(),
        media: match now {
            Some(Content::Media(file)) => Some(media(file)),
            _ => None,
        },
    }
}
