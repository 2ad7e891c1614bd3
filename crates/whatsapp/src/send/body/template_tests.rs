//! What a template may be filled in with, and where.

use super::limits::*;
use super::samples::{button, link, parameter, part, template, text};
use super::*;
use ParameterValue as Is;

fn fields(template: Template) -> Vec<String> {
    let problems = OutgoingContent::Template(template).problems();
    problems.into_iter().map(|problem| problem.field).collect()
}

fn one(kind: &str, value: ParameterValue) -> Template {
    template(vec![part(kind, vec![parameter(value)])])
}

fn s(text: &str) -> String {
    text.to_owned()
}

fn money(code: &str, shown: &str) -> ParameterValue {
    Is::Currency {
        code: s(code),
        amount_1000: 1_000,
        fallback_value: s(shown),
    }
}

fn named(name: &str) -> Parameter {
    Parameter {
        name: s(name),
        ..text("x")
    }
}

#[test]
fn name_language_and_counts_have_limits() {
    let name = |count| Template {
        name: "n".repeat(count),
        ..template(Vec::new())
    };
    let language = |count| Template {
        language: "l".repeat(count),
        ..template(Vec::new())
    };
    let cards = |count| Template {
        cards: vec![vec![part("body", vec![text("x")])]; count],
        ..template(Vec::new())
    };
    for (template, expected) in [
        (name(0), Some("name")),
        (name(TEMPLATE_NAME_CHARS_MAX), None),
        (name(TEMPLATE_NAME_CHARS_MAX + 1), Some("name")),
        (language(0), Some("language")),
        (language(LANGUAGE_CHARS_MAX), None),
        (language(LANGUAGE_CHARS_MAX + 1), Some("language")),
        (cards(TEMPLATE_CARDS_MAX), None),
        (cards(TEMPLATE_CARDS_MAX + 1), Some("cards")),
    ] {
        assert_eq!(fields(template), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_breaks_a_rule_is_named_by_its_place() {
    let place = || Location {
        latitude: Some(1.0),
        longitude: Some(2.0),
        ..Location::default()
    };
    let file = || link("https://example.com/a");
    let products = |thumbnail: &str, sections| Is::Products {
        thumbnail_product_retailer_id: s(thumbnail),
        sections,
    };
    let at = |place: &str| Component {
        index: s(place),
        ..button("url", 0, Is::Text(s("x")))
    };
    let of = |component: Component| template(vec![component]);
    let table: Vec<(Template, &[&str])> = vec![
        (one("HEADER", Is::Text(s("x"))), &[]),
        (one("footer", Is::Text(s("x"))), &["components[0].type"]),
        (
            one("", Is::Json(s(r#"{"type": "x"}"#))),
            &["components[0].type"],
        ),
        (
            one("carousel", Is::Json(s(r#"{"type": "x"}"#))),
            &["components[0].type"],
        ),
        (one("newer", Is::Json(s(r#"{"type": "x"}"#))), &[]),
        (of(part("newer", Vec::new())), &["components[0].type"]),
        (
            one("body", Is::Text(s(" "))),
            &["components[0].parameters[0].text"],
        ),
        (
            one("body", Is::DateTime(s(""))),
            &["components[0].parameters[0].date_time"],
        ),
        (
            one("body", Is::Json(s("[]"))),
            &["components[0].parameters[0].json"],
        ),
        (
            one("body", Is::Json(s("{}"))),
            &["components[0].parameters[0].json"],
        ),
        (
            of(part("body", vec![Parameter::default()])),
            &["components[0].parameters[0]"],
        ),
        (one("body", money("EUR", "1 €")), &[]),
        (
            one("body", money("euro", "")),
            &[
                "components[0].parameters[0].currency.code",
                "components[0].parameters[0].currency.fallback_value",
            ],
        ),
        (
            one("body", Is::Payload(s("x"))),
            &["components[0].parameters[0]"],
        ),
        (
            one("header", money("EUR", "1 €")),
            &["components[0].parameters[0]"],
        ),
        (
            one("header", Is::Media(MediaKind::Audio, file())),
            &["components[0].parameters[0]"],
        ),
        (
            one("header", Is::Media(MediaKind::Image, Attachment::default())),
            &["components[0].parameters[0].image"],
        ),
        (one("header", Is::Location(place())), &[]),
        (
            one("header", Is::Location(Location::default())),
            &[
                "components[0].parameters[0].location.latitude",
                "components[0].parameters[0].location.longitude",
            ],
        ),
        (
            one("header", Is::Product(Product::default())),
            &[
                "components[0].parameters[0].product.catalog_id",
                "components[0].parameters[0].product.product_retailer_id",
            ],
        ),
        (
            of(part("header", vec![text("a"), text("b")])),
            &["components[0].parameters"],
        ),
        (
            one("limited_time_offer", Is::OfferExpires(0)),
            &["components[0].parameters[0].offer_expire_time_ms"],
        ),
        (
            template(vec![part("body", vec![]), part("Body", vec![])]),
            &["components[1]"],
        ),
        (
            of(part("body", vec![named("a"), text("x")])),
            &["components[0].parameters"],
        ),
        (
            of(part("body", vec![named("a"), named("a")])),
            &["components[0].parameters"],
        ),
        (of(at("9")), &[]),
        (of(at("10")), &["components[0].index"]),
        (of(at("+1")), &["components[0].index"]),
        (of(at("")), &["components[0].index"]),
        (
            of(Component {
                sub_type: String::new(),
                ..at("0")
            }),
            &["components[0].sub_type"],
        ),
        (
            of(Component {
                sub_type: s("url"),
                index: s("0"),
                ..part("body", vec![text("x")])
            }),
            &["components[0].sub_type", "components[0].index"],
        ),
        (
            of(Component {
                parameters: vec![text("a"), text("b")],
                ..button("url", 0, Is::Text(s("x")))
            }),
            &["components[0].parameters"],
        ),
        (
            of(Component {
                parameters: Vec::new(),
                ..button("newer", 0, Is::Text(s("x")))
            }),
            &["components[0].parameters"],
        ),
        (
            template(vec![
                button("url", 0, Is::Text(s("x"))),
                button("url", 0, Is::Text(s("y"))),
            ]),
            &["components[1]"],
        ),
        (of(button("newer", 0, Is::Text(s("x")))), &[]),
        (of(button("QUICK_REPLY", 0, Is::Payload(s("x")))), &[]),
        (
            of(button("quick_reply", 0, Is::Text(s("x")))),
            &["components[0].parameters[0]"],
        ),
        (
            of(button("url", 0, Is::Payload(s("x")))),
            &["components[0].parameters[0]"],
        ),
        (
            of(button("copy_code", 0, Is::CouponCode(s("")))),
            &["components[0].parameters[0].coupon_code"],
        ),
        (
            of(button(
                "flow",
                0,
                Is::Flow {
                    token: s(""),
                    data_json: s("{}"),
                },
            )),
            &["components[0].parameters[0].flow.data_json"],
        ),
        (
            of(button("mpm", 0, products("", Vec::new()))),
            &[
                "components[0].parameters[0].products.thumbnail_product_retailer_id",
                "components[0].parameters[0].products.sections",
            ],
        ),
        (
            of(button("voice_call", 0, Is::TtlMinutes(0))),
            &["components[0].parameters[0].ttl_minutes"],
        ),
        (
            of(button(
                "voice_call",
                0,
                Is::TtlMinutes(CALL_BUTTON_MINUTES_MAX),
            )),
            &[],
        ),
        (
            of(button(
                "voice_call",
                0,
                Is::TtlMinutes(CALL_BUTTON_MINUTES_MAX + 1),
            )),
            &["components[0].parameters[0].ttl_minutes"],
        ),
        (
            Template {
                cards: vec![vec![part("body", vec![text("")])]],
                ..template(Vec::new())
            },
            &["cards[0].components[0].parameters[0].text"],
        ),
    ];
    for (template, expected) in table {
        let told = format!("{template:?}");
        assert_eq!(fields(template), expected, "{told}");
    }
}
