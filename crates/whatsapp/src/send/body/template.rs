//! Templates: what they are filled in with. Whether a template exists, and takes as many
//! parameters, is not known here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::actions::check_data;
use super::commerce::{Catalog, Product, ProductSection, check_products, product_sections};
use super::limits::{
    CALL_BUTTON_MINUTES_MAX, LANGUAGE_CHARS_MAX, TEMPLATE_BUTTONS_MAX, TEMPLATE_CARDS_MAX,
    TEMPLATE_NAME_CHARS_MAX,
};
use super::media::{Attachment, MediaKind};
use super::{Location, put_texts};
use crate::send::problem::{Check, object};

/// Buttons that take one parameter.
const SINGLE: [&str; 6] = ["quick_reply", "url", "copy_code", "flow", "catalog", "mpm"];

/// An approved template, and what it is filled in with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its language code, exactly as approved (`en_US`).
    pub language: String,
    /// What its parts are filled in with.
    pub components: Vec<Component>,
    /// Of a carousel: what each card's parts are filled in with.
    pub cards: Vec<Vec<Component>>,
}

/// What a part of a template is filled in with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Component {
    /// `header`, `body`, `button`, `limited_time_offer`, or a word that is newer than this.
    pub kind: String,
    /// Of a button: `quick_reply`, `url`, …
    pub sub_type: String,
    /// Of a button: its place, from 0.
    pub index: String,
    /// In the order of the placeholders, or by name.
    pub parameters: Vec<Parameter>,
}

/// What a placeholder is filled in with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameter {
    /// Of a template with named parameters.
    pub name: String,
    /// Has to be there.
    pub value: Option<ParameterValue>,
}

/// What a placeholder is filled in with.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    /// Text.
    Text(String),
    /// What comes back when a quick-reply button is tapped.
    Payload(String),
    /// Any other parameter: a JSON object.
    Json(String),
    /// Money.
    Currency {
        /// ISO 4217.
        code: String,
        /// A thousand times the amount.
        amount_1000: i64,
        /// As it is shown where it cannot be written otherwise.
        fallback_value: String,
    },
    /// A date as it is shown.
    DateTime(String),
    /// A file in a header.
    Media(MediaKind, Attachment),
    /// A place in a header.
    Location(Location),
    /// The code that a button copies.
    CouponCode(String),
    /// What a flow button opens.
    Flow {
        /// Comes back with the answers; may be empty.
        token: String,
        /// What the first screen is given: a JSON object, or empty.
        data_json: String,
    },
    /// The catalogue, behind a button.
    Catalog(Catalog),
    /// Several products, behind a button.
    Products {
        /// The product whose picture stands for them.
        thumbnail_product_retailer_id: String,
        /// The parts.
        sections: Vec<ProductSection>,
    },
    /// A product in a header.
    Product(Product),
    /// When an offer ends, in milliseconds since 1970.
    OfferExpires(i64),
    /// How long a call button works.
    TtlMinutes(u32),
}

impl Template {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.text("name", &self.name, TEMPLATE_NAME_CHARS_MAX);
        check.text("language", &self.language, LANGUAGE_CHARS_MAX);
        check_components(&self.components, check);
        if self.cards.len() > TEMPLATE_CARDS_MAX {
            check.count("cards", self.cards.len(), 1..=TEMPLATE_CARDS_MAX);
        }
        for (index, card) in self.cards.iter().enumerate() {
            check_components(card, &mut check.item("cards", index));
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut template = json!({
            "name": self.name,
            // `deterministic` is the one policy there is (Meta: message templates, language).
            "language": { "policy": "deterministic", "code": self.language },
        });
        let mut components: Vec<_> = self.components.iter().map(Component::json).collect();
        if !self.cards.is_empty() {
            let cards = self.cards.iter().enumerate().map(|(index, card)| {
                let components: Vec<_> = card.iter().map(Component::json).collect();
                json!({ "card_index": index, "components": components })
            });
            components.push(json!({ "type": "carousel", "cards": cards.collect::<Vec<_>>() }));
        }
        if !components.is_empty() {
            template["components"] = Value::Array(components);
        }
        template
    }
}

fn check_components(components: &[Component], check: &mut Check<'_>) {
    let mut places = BTreeSet::new();
    for (index, component) in components.iter().enumerate() {
        let mut check = check.item("components", index);
        component.check(&mut check);
        let place = match component.kind().as_str() {
            "button" => format!("button {}", component.index),
            kind => kind.to_owned(),
        };
        if !places.insert(place) {
            check.problem("", "is filled in twice");
        }
    }
}

impl Component {
    /// The platform's word, in its own spelling.
    fn kind(&self) -> String {
        self.kind.to_lowercase()
    }

    fn check(&self, check: &mut Check<'_>) {
        let kind = self.kind();
        let is_known = ["header", "body", "button", "limited_time_offer"].contains(&kind.as_str());
        let is_raw =
            |parameter: &Parameter| matches!(parameter.value, Some(ParameterValue::Json(_)));
        let is_newer = !kind.is_empty()
            && kind != "carousel"
            && !self.parameters.is_empty()
            && self.parameters.iter().all(is_raw);
        if kind == "carousel" {
            check.problem("type", "a carousel is filled in by cards");
        } else if !is_known && !is_newer {
            let reason = "must be header, body, button or limited_time_offer; with json \
                          parameters, any other word of the platform's";
            check.problem("type", reason);
        }
        if kind == "button" {
            self.check_button(check);
        } else {
            check.absent("sub_type", &self.sub_type, "only buttons have one");
            check.absent("index", &self.index, "only buttons have one");
        }
        if kind == "header" && self.parameters.len() > 1 {
            check.problem("parameters", "must be one at most in a header");
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            let mut check = check.item("parameters", index);
            parameter.check(&mut check);
            let fits = parameter
                .value
                .as_ref()
                .is_none_or(|it| it.fits(&kind, &self.sub_type));
            if !fits {
                check.problem("", "is of a kind that has no place here");
            }
        }
        self.check_names(check);
    }

    fn check_button(&self, check: &mut Check<'_>) {
        check.filled("sub_type", &self.sub_type);
        let place = self.index.parse::<usize>();
        let is_place = place.is_ok_and(|place| place < TEMPLATE_BUTTONS_MAX)
            && self.index.bytes().all(|byte| byte.is_ascii_digit());
        if !is_place {
            let last = TEMPLATE_BUTTONS_MAX - 1;
            check.problem("index", format!("must be 0 to {last}"));
        }
        let takes_one = SINGLE.contains(&self.sub_type.to_lowercase().as_str());
        let most = if takes_one { 1 } else { usize::MAX };
        if !(1..=most).contains(&self.parameters.len()) {
            let reason = if takes_one {
                "must be one"
            } else {
                "must not be empty"
            };
            check.problem("parameters", reason);
        }
    }

    /// Parameters go by place or by name, never both (132000, 132012).
    fn check_names(&self, check: &mut Check<'_>) {
        let named = self.parameters.iter().filter(|it| !it.name.is_empty());
        let names: BTreeSet<_> = named.clone().map(|it| &it.name).collect();
        let named = named.count();
        if named > 0 && named < self.parameters.len() {
            check.problem("parameters", "must all have a name, or none");
        }
        if names.len() < named {
            check.problem("parameters", "must have names of their own each");
        }
    }

    fn json(&self) -> Value {
        let parameters: Vec<_> = self.parameters.iter().map(Parameter::json).collect();
        let mut component = json!({ "type": self.kind(), "parameters": parameters });
        put_texts(
            &mut component,
            &[("sub_type", &self.sub_type), ("index", &self.index)],
        );
        component
    }
}

impl Parameter {
    fn check(&self, check: &mut Check<'_>) {
        use ParameterValue as Is;
        let Some(value) = &self.value else {
            check.problem("", "give a value: text, payload, currency, …");
            return;
        };
        match value {
            Is::Text(text) => check.filled("text", text),
            Is::Payload(text) => check.filled("payload", text),
            Is::DateTime(text) => check.filled("date_time", text),
            Is::CouponCode(text) => check.filled("coupon_code", text),
            Is::Json(text) => {
                let object = check.object("json", text);
                if object.is_some_and(|it| !it.get("type").is_some_and(Value::is_string)) {
                    check.problem("json", "must have a `type`");
                }
            }
            Is::Currency {
                code,
                fallback_value,
                ..
            } => {
                let mut check = check.within("currency");
                if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    check.problem("code", "must be three letters, such as EUR");
                }
                check.filled("fallback_value", fallback_value);
            }
            Is::Media(kind, file) => file.check_bare(*kind, &mut check.within(kind.as_str())),
            Is::Location(location) => location.check(&mut check.within("location")),
            Is::Flow { data_json, .. } => {
                if !data_json.is_empty() {
                    check_data(data_json, &mut check.within("flow"));
                }
            }
            Is::Catalog(_) => {}
            Is::Products {
                thumbnail_product_retailer_id,
                sections,
            } => {
                let mut check = check.within("products");
                check.filled(
                    "thumbnail_product_retailer_id",
                    thumbnail_product_retailer_id,
                );
                check_products(sections, &mut check);
            }
            Is::Product(product) => product.check(&mut check.within("product")),
            Is::OfferExpires(at) => {
                if *at <= 0 {
                    check.problem("offer_expire_time_ms", "must be milliseconds since 1970");
                }
            }
            Is::TtlMinutes(minutes) => {
                if !(1..=CALL_BUTTON_MINUTES_MAX).contains(minutes) {
                    let reason = format!("must be 1 to {CALL_BUTTON_MINUTES_MAX} minutes");
                    check.problem("ttl_minutes", reason);
                }
            }
        }
    }

    fn json(&self) -> Value {
        let mut parameter = self
            .value
            .as_ref()
            .map_or_else(|| json!({}), ParameterValue::json);
        put_texts(&mut parameter, &[("parameter_name", &self.name)]);
        parameter
    }
}

impl ParameterValue {
    /// Whether it has a place in such a component (WhatsApp Cloud API: message templates,
    /// components). Of buttons that are newer than this nothing is known.
    fn fits(&self, kind: &str, sub_type: &str) -> bool {
        match (kind, self) {
            (_, Self::Json(_)) => true,
            ("header", value) => matches!(
                value,
                Self::Text(_)
                    | Self::Media(MediaKind::Image | MediaKind::Video | MediaKind::Document, _)
                    | Self::Location(_)
                    | Self::Product(_)
            ),
            ("body", value) => {
                matches!(
                    value,
                    Self::Text(_) | Self::Currency { .. } | Self::DateTime(_)
                )
            }
            ("limited_time_offer", value) => matches!(value, Self::OfferExpires(_)),
            ("button", value) => match sub_type.to_lowercase().as_str() {
                "quick_reply" => matches!(value, Self::Payload(_)),
                "url" => matches!(value, Self::Text(_)),
                "copy_code" => matches!(value, Self::CouponCode(_)),
                "flow" => matches!(value, Self::Flow { .. }),
                "catalog" => matches!(value, Self::Catalog(_)),
                "mpm" => matches!(value, Self::Products { .. }),
                "voice_call" => matches!(value, Self::TtlMinutes(_) | Self::Payload(_)),
                _ => true,
            },
            // Which parameters these take has been said already.
            _ => true,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!({ "type": "text", "text": text }),
            Self::Payload(payload) => json!({ "type": "payload", "payload": payload }),
            Self::Json(text) => object(text).map_or_else(|| json!({}), Value::Object),
            Self::Currency {
                code,
                amount_1000,
                fallback_value,
            } => json!({
                "type": "currency",
                "currency": {
                    "code": code,
                    "amount_1000": amount_1000,
                    "fallback_value": fallback_value,
                },
            }),
            Self::DateTime(text) => json!({
                "type": "date_time",
                "date_time": { "fallback_value": text },
            }),
            Self::Media(kind, file) => {
                let kind = kind.as_str();
                json!({ "type": kind, kind: file.json() })
            }
            Self::Location(location) => json!({ "type": "location", "location": location.json() }),
            Self::CouponCode(code) => json!({ "type": "coupon_code", "coupon_code": code }),
            Self::Flow { token, data_json } => {
                let mut action = json!({});
                put_texts(&mut action, &[("flow_token", token)]);
                if let Some(data) = object(data_json) {
                    action["flow_action_data"] = Value::Object(data);
                }
                json!({ "type": "action", "action": action })
            }
            Self::Catalog(catalog) => json!({ "type": "action", "action": catalog.json() }),
            Self::Products {
                thumbnail_product_retailer_id,
                sections,
            } => json!({
                "type": "action",
                "action": {
                    "thumbnail_product_retailer_id": thumbnail_product_retailer_id,
                    "sections": product_sections(sections),
                },
            }),
            Self::Product(product) => json!({ "type": "product", "product": product.json() }),
            Self::OfferExpires(at) => json!({
                "type": "limited_time_offer",
                "limited_time_offer": { "expiration_time_ms": at },
            }),
            Self::TtlMinutes(minutes) => json!({ "type": "ttl_minutes", "ttl_minutes": minutes }),
        }
    }
}
