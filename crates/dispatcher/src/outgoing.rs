//! From what the caller wrote to what WhatsApp is told.
//!
//! It carries over and judges nothing: what is missing or too long is found in what comes out
//! (`content`). What a caller cannot mean, such as the link of a received place, is left out.

use casement_event::v1;
use casement_whatsapp::send::{
    Action, Address, Attachment, CallButton, Card, CardAddress, Catalog, Component, CtaUrl, Flow,
    FlowRef, Header, Interactive, Labelled, ListMenu, ListSection, Location, MediaKind,
    OutgoingContent, Parameter, ParameterValue, Product, ProductList, ProductSection, ReplyButton,
    Row, SavedAddress, Source, Template,
};

use crate::uploads::UploadId;

/// Returns what is said in an open window.
pub(crate) fn free_form(of: &v1::FreeForm) -> OutgoingContent {
    use v1::free_form::Content as Is;
    let media = |kind, file| OutgoingContent::Media(kind, attachment(file));
    match &of.content {
        None => OutgoingContent::Text {
            body: of.text.clone(),
            preview_url: of.preview_url,
        },
        Some(Is::Image(file)) => media(MediaKind::Image, file),
        Some(Is::Video(file)) => media(MediaKind::Video, file),
        Some(Is::Audio(file)) => media(MediaKind::Audio, file),
        Some(Is::Document(file)) => media(MediaKind::Document, file),
        Some(Is::Sticker(file)) => media(MediaKind::Sticker, file),
        Some(Is::Location(place)) => OutgoingContent::Location(Location {
            latitude: place.latitude,
            longitude: place.longitude,
            name: place.name.clone(),
            address: place.address.clone(),
        }),
        Some(Is::Contacts(contacts)) => {
            OutgoingContent::Contacts(contacts.cards.iter().map(card).collect())
        }
        Some(Is::Reaction(reaction)) => OutgoingContent::Reaction {
            message_id: reaction.message_id.clone(),
            emoji: reaction.emoji.clone(),
        },
        Some(Is::Interactive(message)) => {
            OutgoingContent::Interactive(Box::new(interactive(message)))
        }
        Some(Is::RawJson(json)) => OutgoingContent::Raw(json.clone()),
    }
}

/// Returns a template and what it is filled in with.
pub(crate) fn template(of: &v1::TemplateContent) -> OutgoingContent {
    let components = |all: &[v1::TemplateComponent]| all.iter().map(component).collect();
    let cards = of.cards.iter();
    OutgoingContent::Template(Template {
        name: of.name.clone(),
        language: of.language.clone(),
        components: components(&of.components),
        cards: cards.map(|card| components(&card.components)).collect(),
    })
}

fn attachment(of: &v1::Attachment) -> Attachment {
    use v1::attachment::Source as Is;
    let source = of.source.as_ref().map(|source| match source {
        Is::Id(id) => Source::Id(id.clone()),
        Is::Link(link) => Source::Link(link.clone()),
        // One that cannot be read is told of by `content`.
        Is::UploadId(text) => Source::Id(
            UploadId::parse(text).map_or_else(|| text.clone(), |upload| upload.provider_media_id),
        ),
    });
    Attachment {
        source,
        caption: of.caption.clone(),
        filename: of.filename.clone(),
        voice: of.voice,
    }
}

fn card(of: &v1::ContactCard) -> Card {
    let labelled = |value: &str, kind: &str| Labelled {
        value: value.to_owned(),
        kind: kind.to_owned(),
    };
    let phones = of.phones.iter();
    let emails = of.emails.iter();
    let urls = of.urls.iter();
    let addresses = of.addresses.iter().map(|of| CardAddress {
        street: of.street.clone(),
        city: of.city.clone(),
        state: of.state.clone(),
        zip: of.zip.clone(),
        country: of.country.clone(),
        country_code: of.country_code.clone(),
        kind: of.r#type.clone(),
    });
    Card {
        formatted_name: of.formatted_name.clone(),
        first_name: of.first_name.clone(),
        middle_name: of.middle_name.clone(),
        last_name: of.last_name.clone(),
        prefix: of.prefix.clone(),
        suffix: of.suffix.clone(),
        phones: phones
            .map(|of| (labelled(&of.phone, &of.r#type), of.wa_id.clone()))
            .collect(),
        emails: emails.map(|of| labelled(&of.email, &of.r#type)).collect(),
        addresses: addresses.collect(),
        urls: urls.map(|of| labelled(&of.url, &of.r#type)).collect(),
        company: of.company.clone(),
        department: of.department.clone(),
        title: of.title.clone(),
        birthday: of.birthday.clone(),
    }
}

fn interactive(of: &v1::Interactive) -> Interactive {
    use v1::interactive_header::Content as Is;
    let media = |kind, file| Header::Media(kind, attachment(file));
    let header = of
        .header
        .as_ref()
        .and_then(|header| header.content.as_ref());
    let header = header.map(|header| match header {
        Is::Text(text) => Header::Text(text.clone()),
        Is::Image(file) => media(MediaKind::Image, file),
        Is::Video(file) => media(MediaKind::Video, file),
        Is::Document(file) => media(MediaKind::Document, file),
    });
    Interactive {
        header,
        body: of.body.clone(),
        footer: of.footer.clone(),
        action: of.action.as_ref().map(action),
    }
}

fn action(of: &v1::interactive::Action) -> Action {
    use v1::interactive::Action as Is;
    match of {
        Is::Reply(reply) => {
            let button = |of: &v1::ReplyButton| ReplyButton {
                id: of.id.clone(),
                title: of.title.clone(),
            };
            Action::Reply(reply.buttons.iter().map(button).collect())
        }
        Is::List(list) => Action::List(ListMenu {
            button: list.button.clone(),
            sections: list.sections.iter().map(list_section).collect(),
        }),
        Is::CtaUrl(button) => Action::CtaUrl(CtaUrl {
            display_text: button.display_text.clone(),
            url: button.url.clone(),
        }),
        Is::LocationRequest(_) => Action::LocationRequest,
        Is::Flow(launch) => Action::Flow(flow(launch)),
        Is::Product(product) => Action::Product(Product {
            catalog_id: product.catalog_id.clone(),
            product_retailer_id: product.product_retailer_id.clone(),
        }),
        Is::ProductList(list) => Action::ProductList(ProductList {
            catalog_id: list.catalog_id.clone(),
            sections: product_sections(&list.sections),
        }),
        Is::Catalog(offer) => Action::Catalog(catalog(offer)),
        Is::Address(request) => Action::Address(Address {
            country: request.country.clone(),
            values: fields(&request.values),
            saved_addresses: request.saved_addresses.iter().map(saved).collect(),
            validation_errors: fields(&request.validation_errors),
        }),
        Is::CallPermission(_) => Action::CallPermission,
        Is::VoiceCall(button) => Action::VoiceCall(CallButton {
            display_text: button.display_text.clone(),
            ttl_minutes: button.ttl_minutes,
            payload: button.payload.clone(),
        }),
        Is::ContactRequest(_) => Action::ContactRequest,
    }
}

fn list_section(of: &v1::ListSection) -> ListSection {
    let row = |of: &v1::ListRow| Row {
        id: of.id.clone(),
        title: of.title.clone(),
        description: of.description.clone(),
    };
    ListSection {
        title: of.title.clone(),
        rows: of.rows.iter().map(row).collect(),
    }
}

fn flow(of: &v1::FlowLaunch) -> Flow {
    use v1::flow_launch::Flow as Is;
    Flow {
        flow: of.flow.as_ref().map(|flow| match flow {
            Is::FlowId(id) => FlowRef::Id(id.clone()),
            Is::FlowName(name) => FlowRef::Name(name.clone()),
        }),
        cta: of.cta.clone(),
        token: of.token.clone(),
        draft: of.draft,
        data_exchange: of.data_exchange,
        screen: of.screen.clone(),
        data_json: of.data_json.clone(),
    }
}

fn product_sections(of: &[v1::ProductSection]) -> Vec<ProductSection> {
    let section = |of: &v1::ProductSection| ProductSection {
        title: of.title.clone(),
        product_retailer_ids: of.product_retailer_ids.clone(),
    };
    of.iter().map(section).collect()
}

fn catalog(of: &v1::CatalogOffer) -> Catalog {
    Catalog {
        thumbnail_product_retailer_id: of.thumbnail_product_retailer_id.clone(),
    }
}

fn saved(of: &v1::address_request::Saved) -> SavedAddress {
    SavedAddress {
        id: of.id.clone(),
        values: fields(&of.values),
    }
}

fn fields(of: &[v1::address_request::Field]) -> Vec<(String, String)> {
    let pair = |of: &v1::address_request::Field| (of.key.clone(), of.value.clone());
    of.iter().map(pair).collect()
}

fn component(of: &v1::TemplateComponent) -> Component {
    Component {
        kind: of.r#type.clone(),
        sub_type: of.sub_type.clone(),
        index: of.index.clone(),
        parameters: of.parameters.iter().map(parameter).collect(),
    }
}

fn parameter(of: &v1::TemplateParameter) -> Parameter {
    use v1::template_parameter::Value as Is;
    let media = |kind, file| ParameterValue::Media(kind, attachment(file));
    let value = of.value.as_ref().map(|value| match value {
        Is::Text(text) => ParameterValue::Text(text.clone()),
        Is::Payload(payload) => ParameterValue::Payload(payload.clone()),
        Is::Json(json) => ParameterValue::Json(json.clone()),
        Is::Currency(money) => ParameterValue::Currency {
            code: money.code.clone(),
            amount_1000: money.amount_1000,
            fallback_value: money.fallback_value.clone(),
        },
        Is::DateTime(text) => ParameterValue::DateTime(text.clone()),
        Is::Image(file) => media(MediaKind::Image, file),
        Is::Video(file) => media(MediaKind::Video, file),
        Is::Document(file) => media(MediaKind::Document, file),
        Is::Location(place) => ParameterValue::Location(Location {
            latitude: Some(place.latitude),
            longitude: Some(place.longitude),
            name: place.name.clone(),
            address: place.address.clone(),
        }),
        Is::CouponCode(code) => ParameterValue::CouponCode(code.clone()),
        Is::Flow(action) => ParameterValue::Flow {
            token: action.token.clone(),
            data_json: action.data_json.clone(),
        },
        Is::Catalog(offer) => ParameterValue::Catalog(catalog(offer)),
        Is::Products(action) => ParameterValue::Products {
            thumbnail_product_retailer_id: action.thumbnail_product_retailer_id.clone(),
            sections: product_sections(&action.sections),
        },
        Is::Product(product) => ParameterValue::Product(Product {
            catalog_id: product.catalog_id.clone(),
            product_retailer_id: product.product_retailer_id.clone(),
        }),
        Is::OfferExpireTimeMs(at) => ParameterValue::OfferExpires(*at),
        Is::TtlMinutes(minutes) => ParameterValue::TtlMinutes(*minutes),
    });
    Parameter {
        name: of.name.clone(),
        value,
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
