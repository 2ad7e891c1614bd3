//! Between templates as stored and as the rules see them.
//!
//! Reading never fails: what is not known of a template is nothing that a send could be held to.

use casement_domain::template::{
    Button, ButtonKind, Component, Definition, Filling, Header, Kind, Parameter, Part, Place,
};
use casement_proto::events::v1;
use serde_json::Value;

/// Returns what a template is made of.
pub fn definition(of: &v1::TemplateDefinition) -> Definition {
    Definition {
        part: Part {
            header: of.header.as_ref().map(header),
            body: of
                .body
                .as_ref()
                .map(|body| body.text.clone())
                .unwrap_or_default(),
            buttons: of.buttons.iter().map(button).collect(),
        },
        footer: of
            .footer
            .as_ref()
            .map(|footer| footer.text.clone())
            .unwrap_or_default(),
        cards: of.cards.iter().map(card).collect(),
        offer: of.offer.as_ref().map(|offer| offer.has_expiration),
        has_more: !of.other_json.is_empty(),
    }
}

fn card(of: &v1::TemplateCardDefinition) -> Part {
    Part {
        header: of.header.as_ref().map(header),
        body: of
            .body
            .as_ref()
            .map(|body| body.text.clone())
            .unwrap_or_default(),
        buttons: of.buttons.iter().map(button).collect(),
    }
}

fn header(of: &v1::TemplateHeader) -> Header {
    use v1::TemplateHeaderFormat as Is;
    match of.format() {
        Is::Text => Header::Text(of.text.clone()),
        Is::Image => Header::Image,
        Is::Video => Header::Video,
        Is::Document => Header::Document,
        Is::Location => Header::Location,
        Is::Product => Header::Product,
        Is::Unspecified => Header::Other,
    }
}

fn button(of: &v1::TemplateButton) -> Button {
    let target = if of.url.is_empty() {
        &of.phone_number
    } else {
        &of.url
    };
    Button {
        kind: button_kind(of.kind()),
        text: of.text.clone(),
        target: target.clone(),
    }
}

fn button_kind(of: v1::TemplateButtonKind) -> ButtonKind {
    use v1::TemplateButtonKind as Is;
    match of {
        Is::QuickReply => ButtonKind::QuickReply,
        Is::Url => ButtonKind::Url,
        Is::PhoneNumber => ButtonKind::PhoneNumber,
        Is::CopyCode => ButtonKind::CopyCode,
        Is::Otp => ButtonKind::Otp,
        Is::Flow => ButtonKind::Flow,
        Is::Catalog => ButtonKind::Catalog,
        Is::Mpm => ButtonKind::Products,
        Is::Spm => ButtonKind::Product,
        Is::VoiceCall => ButtonKind::VoiceCall,
        Is::RequestContactInfo => ButtonKind::RequestContactInfo,
        Is::Unspecified => ButtonKind::Other,
    }
}

/// Returns a button's kind as it is stored and answered.
pub fn write_button_kind(of: ButtonKind) -> v1::TemplateButtonKind {
    use v1::TemplateButtonKind as Is;
    match of {
        ButtonKind::QuickReply => Is::QuickReply,
        ButtonKind::Url => Is::Url,
        ButtonKind::PhoneNumber => Is::PhoneNumber,
        ButtonKind::CopyCode => Is::CopyCode,
        ButtonKind::Otp => Is::Otp,
        ButtonKind::Flow => Is::Flow,
        ButtonKind::Catalog => Is::Catalog,
        ButtonKind::Products => Is::Mpm,
        ButtonKind::Product => Is::Spm,
        ButtonKind::VoiceCall => Is::VoiceCall,
        ButtonKind::RequestContactInfo => Is::RequestContactInfo,
        ButtonKind::Other => Is::Unspecified,
    }
}

/// Returns what a template is filled in with.
pub fn filling(components: &[v1::TemplateComponent], cards: &[v1::TemplateCard]) -> Filling {
    let all = |of: &[v1::TemplateComponent]| of.iter().map(component).collect();
    Filling {
        components: all(components),
        cards: cards.iter().map(|card| all(&card.components)).collect(),
    }
}

fn component(of: &v1::TemplateComponent) -> Component {
    let place = match of.r#type.to_ascii_lowercase().as_str() {
        "header" => Place::Header,
        "body" => Place::Body,
        "limited_time_offer" => Place::Offer,
        "button" => Place::Button {
            index: of.index.parse().ok(),
            sub_type: of.sub_type.to_ascii_lowercase(),
        },
        _ => Place::Other,
    };
    Component {
        place,
        parameters: of.parameters.iter().map(parameter).collect(),
    }
}

fn parameter(of: &v1::TemplateParameter) -> Parameter {
    use v1::template_parameter::Value as Is;
    let file = |kind, file: &v1::Attachment| (kind, found(file));
    let (kind, text) = match &of.value {
        Some(Is::Text(text) | Is::DateTime(text)) => (Kind::Text, Some(text.clone())),
        Some(Is::Currency(money)) => (Kind::Text, Some(money.fallback_value.clone())),
        Some(Is::Payload(payload)) => (Kind::Payload, Some(payload.clone())),
        Some(Is::Json(json)) => from_json(json),
        Some(Is::Image(it)) => file(Kind::Image, it),
        Some(Is::Video(it)) => file(Kind::Video, it),
        Some(Is::Document(it)) => file(Kind::Document, it),
        Some(Is::Location(place)) => {
            let text = match place.name.as_str() {
                "" => format!("{}, {}", place.latitude, place.longitude),
                name => name.to_owned(),
            };
            (Kind::Location, Some(text))
        }
        Some(Is::CouponCode(code)) => (Kind::CouponCode, Some(code.clone())),
        Some(Is::Flow(_) | Is::Catalog(_) | Is::Products(_)) => (Kind::Action, None),
        Some(Is::Product(product)) => (Kind::Product, Some(product.product_retailer_id.clone())),
        Some(Is::OfferExpireTimeMs(_)) => (Kind::OfferEnd, None),
        Some(Is::TtlMinutes(_)) => (Kind::TtlMinutes, None),
        None => (Kind::Other, None),
    };
    Parameter {
        name: of.name.clone(),
        kind,
        text,
    }
}

/// Returns where a file is found.
fn found(file: &v1::Attachment) -> Option<String> {
    use v1::attachment::Source as Is;
    match file.source.as_ref()? {
        Is::Id(id) | Is::UploadId(id) => Some(id.clone()),
        Is::Link(link) => Some(link.clone()),
    }
}

/// Reads a parameter that was given as the platform's JSON.
fn from_json(json: &str) -> (Kind, Option<String>) {
    let object: Value = serde_json::from_str(json).unwrap_or_default();
    let word = object["type"].as_str().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match word {
        "text" => (Kind::Text, text(&object["text"])),
        "currency" | "date_time" => (Kind::Text, text(&object[word]["fallback_value"])),
        "payload" => (Kind::Payload, text(&object["payload"])),
        "coupon_code" => (Kind::CouponCode, text(&object["coupon_code"])),
        "image" => (Kind::Image, None),
        "video" => (Kind::Video, None),
        "document" => (Kind::Document, None),
        "location" => (Kind::Location, None),
        "product" => (Kind::Product, None),
        "action" => (Kind::Action, None),
        "limited_time_offer" => (Kind::OfferEnd, None),
        "ttl_minutes" => (Kind::TtlMinutes, None),
        _ => (Kind::Other, None),
    }
}

/// Returns what a parameter says, if it can stand in a text.
pub fn parameter_text(of: &v1::TemplateParameter) -> Option<String> {
    let read = parameter(of);
    read.text.filter(|_| read.kind == Kind::Text)
}

#[cfg(test)]
mod tests {
    use casement_domain::template::check;

    use super::*;

    fn given(value: v1::template_parameter::Value) -> v1::TemplateParameter {
        v1::TemplateParameter {
            name: String::new(),
            value: Some(value),
        }
    }

    #[test]
    fn a_parameter_in_the_platforms_own_words_fits_like_any_other() {
        use v1::template_parameter::Value as Is;
        let stored = v1::TemplateDefinition {
            header: Some(v1::TemplateHeader {
                format: v1::TemplateHeaderFormat::Image.into(),
                ..v1::TemplateHeader::default()
            }),
            body: Some(v1::TemplateBody {
                text: "Order {{1}} costs {{2}}".to_owned(),
                ..v1::TemplateBody::default()
            }),
            ..v1::TemplateDefinition::default()
        };
        let image = r#"{"type":"image","image":{"id":"1"}}"#.to_owned();
        let money = r#"{"type":"currency","currency":{"fallback_value":"3 EUR"}}"#.to_owned();
        let component = |kind: &str, parameters| v1::TemplateComponent {
            r#type: kind.to_owned(),
            parameters,
            ..v1::TemplateComponent::default()
        };
        let components = vec![
            component("HEADER", vec![given(Is::Json(image))]),
            component(
                "body",
                vec![
                    given(Is::Text("7".to_owned())),
                    given(Is::Json(money.clone())),
                ],
            ),
        ];
        let found = check(&definition(&stored), &filling(&components, &[]));
        assert_eq!(found, []);
        assert_eq!(
            parameter_text(&given(Is::Json(money))).as_deref(),
            Some("3 EUR")
        );
        assert_eq!(parameter_text(&given(Is::Payload("p".to_owned()))), None);
    }
}
