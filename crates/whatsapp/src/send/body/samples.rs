//! One of each kind of content, as full as it gets.

use super::*;

fn s(text: &str) -> String {
    text.to_owned()
}

pub(super) fn link(to: &str) -> Attachment {
    Attachment {
        source: Some(Source::Link(s(to))),
        ..Attachment::default()
    }
}

fn id(id: &str) -> Attachment {
    Attachment {
        source: Some(Source::Id(s(id))),
        ..Attachment::default()
    }
}

/// An interactive message with an action that takes no header and no footer.
pub(super) fn plain(action: Action) -> Interactive {
    Interactive {
        body: s("Please choose"),
        action: Some(action),
        ..Interactive::default()
    }
}

fn full(header: Header, action: Action) -> Interactive {
    Interactive {
        header: Some(header),
        footer: s("The Shop"),
        ..plain(action)
    }
}

pub(super) fn buttons(count: usize) -> Vec<ReplyButton> {
    let button = |index| ReplyButton {
        id: format!("b{index}"),
        title: format!("Button {index}"),
    };
    (1..=count).map(button).collect()
}

pub(super) fn rows(count: usize) -> Vec<Row> {
    let row = |index| Row {
        id: format!("r{index}"),
        title: format!("Row {index}"),
        description: s("what it is"),
    };
    (1..=count).map(row).collect()
}

pub(super) fn list() -> ListMenu {
    let mut rows = rows(3);
    let last = rows.split_off(2);
    let section = |title: &str, rows| ListSection {
        title: s(title),
        rows,
    };
    ListMenu {
        button: s("Show"),
        sections: vec![section("First", rows), section("Second", last)],
    }
}

pub(super) fn flow() -> Flow {
    Flow {
        flow: Some(FlowRef::Id(s("4711"))),
        cta: s("Book"),
        token: s("t-1"),
        draft: true,
        data_exchange: false,
        screen: s("START"),
        data_json: s(r#"{"name": "Ana"}"#),
    }
}

fn product(id: &str) -> Product {
    Product {
        catalog_id: s("900"),
        product_retailer_id: s(id),
    }
}

pub(super) fn products(title: &str, count: usize) -> ProductSection {
    ProductSection {
        title: s(title),
        product_retailer_ids: (1..=count).map(|index| format!("sku-{index}")).collect(),
    }
}

pub(super) fn address() -> Address {
    let field = |key: &str, value: &str| (s(key), s(value));
    Address {
        country: s("IN"),
        values: vec![field("name", "Ana"), field("city", "Delhi")],
        saved_addresses: vec![SavedAddress {
            id: s("home"),
            values: vec![field("city", "Pune")],
        }],
        validation_errors: vec![field("city", "We do not deliver there")],
    }
}

pub(super) fn card() -> Card {
    let labelled = |value: &str, kind: &str| Labelled {
        value: s(value),
        kind: s(kind),
    };
    Card {
        formatted_name: s("Dr Ana M. Silva Jr"),
        first_name: s("Ana"),
        middle_name: s("M."),
        last_name: s("Silva"),
        prefix: s("Dr"),
        suffix: s("Jr"),
        phones: vec![(labelled("+1 555 000 2222", "HOME"), s("15550002222"))],
        emails: vec![labelled("ana@example.com", "WORK")],
        addresses: vec![CardAddress {
            street: s("1 Main St"),
            city: s("Springfield"),
            state: s("OR"),
            zip: s("97477"),
            country: s("United States"),
            country_code: s("us"),
            kind: s("HOME"),
        }],
        urls: vec![labelled("https://example.com", "WORK")],
        company: s("The Shop"),
        department: s("Sales"),
        title: s("Head"),
        birthday: s("1990-02-28"),
    }
}

pub(super) fn parameter(value: ParameterValue) -> Parameter {
    Parameter {
        name: String::new(),
        value: Some(value),
    }
}

pub(super) fn text(text: &str) -> Parameter {
    parameter(ParameterValue::Text(s(text)))
}

pub(super) fn part(kind: &str, parameters: Vec<Parameter>) -> Component {
    Component {
        kind: s(kind),
        parameters,
        ..Component::default()
    }
}

pub(super) fn button(sub_type: &str, index: usize, value: ParameterValue) -> Component {
    Component {
        sub_type: s(sub_type),
        index: index.to_string(),
        ..part("button", vec![parameter(value)])
    }
}

pub(super) fn template(components: Vec<Component>) -> Template {
    Template {
        name: s("order_ready"),
        language: s("en_US"),
        components,
        cards: Vec::new(),
    }
}

fn header(value: ParameterValue) -> OutgoingContent {
    OutgoingContent::Template(template(vec![part("header", vec![parameter(value)])]))
}

/// Every kind, by name.
pub(super) fn all() -> Vec<(&'static str, OutgoingContent)> {
    let interactive = |it| OutgoingContent::Interactive(Box::new(it));
    let of = |components| OutgoingContent::Template(template(components));
    let media = OutgoingContent::Media;
    let captioned = |file: Attachment| Attachment {
        caption: s("Look"),
        ..file
    };
    let place = Location {
        latitude: Some(38.7223),
        longitude: Some(-9.1393),
        name: s("Head office"),
        address: s("Rua Augusta 1, Lisboa"),
    };
    let named = |name: &str, value: &str| Parameter {
        name: s(name),
        ..text(value)
    };
    let money = ParameterValue::Currency {
        code: s("EUR"),
        amount_1000: 12_990,
        fallback_value: s("12.99 €"),
    };
    vec![
        (
            "text",
            OutgoingContent::Text {
                body: s("See https://example.com"),
                preview_url: true,
            },
        ),
        (
            "image_by_link",
            media(
                MediaKind::Image,
                captioned(link("https://example.com/a.jpg")),
            ),
        ),
        ("image_by_id", media(MediaKind::Image, captioned(id("77")))),
        ("video", media(MediaKind::Video, captioned(id("78")))),
        (
            "audio",
            media(MediaKind::Audio, link("https://example.com/a.ogg")),
        ),
        (
            "voice_note",
            media(
                MediaKind::Audio,
                Attachment {
                    voice: true,
                    ..id("79")
                },
            ),
        ),
        (
            "document",
            media(
                MediaKind::Document,
                Attachment {
                    filename: s("invoice.pdf"),
                    ..captioned(id("80"))
                },
            ),
        ),
        ("sticker", media(MediaKind::Sticker, id("81"))),
        ("location", OutgoingContent::Location(place.clone())),
        (
            "contacts",
            OutgoingContent::Contacts(vec![
                card(),
                Card {
                    formatted_name: s("Bo"),
                    ..Card::default()
                },
            ]),
        ),
        (
            "reaction",
            OutgoingContent::Reaction {
                message_id: s("wamid.a"),
                emoji: s("👍🏽"),
            },
        ),
        (
            "reaction_taken_back",
            OutgoingContent::Reaction {
                message_id: s("wamid.a"),
                emoji: String::new(),
            },
        ),
        (
            "reply_buttons",
            interactive(full(
                Header::Media(MediaKind::Image, id("77")),
                Action::Reply(buttons(3)),
            )),
        ),
        (
            "list",
            interactive(full(Header::Text(s("Choose")), Action::List(list()))),
        ),
        (
            "cta_url",
            interactive(full(
                Header::Media(MediaKind::Document, link("https://example.com/a.pdf")),
                Action::CtaUrl(CtaUrl {
                    display_text: s("Open"),
                    url: s("https://example.com/orders/7"),
                }),
            )),
        ),
        (
            "location_request",
            interactive(plain(Action::LocationRequest)),
        ),
        (
            "flow_by_id",
            interactive(full(Header::Text(s("Book")), Action::Flow(flow()))),
        ),
        (
            "flow_by_name",
            interactive(full(
                Header::Media(MediaKind::Video, id("78")),
                Action::Flow(Flow {
                    flow: Some(FlowRef::Name(s("booking"))),
                    cta: s("Book"),
                    data_exchange: true,
                    ..Flow::default()
                }),
            )),
        ),
        (
            "product",
            interactive(plain(Action::Product(product("sku-1")))),
        ),
        (
            "product_list",
            interactive(full(
                Header::Text(s("Plants")),
                Action::ProductList(ProductList {
                    catalog_id: s("900"),
                    sections: vec![products("Green", 2), products("Blue", 1)],
                }),
            )),
        ),
        (
            "catalog",
            interactive(plain(Action::Catalog(Catalog {
                thumbnail_product_retailer_id: s("sku-1"),
            }))),
        ),
        ("address", interactive(plain(Action::Address(address())))),
        (
            "call_permission",
            interactive(plain(Action::CallPermission)),
        ),
        (
            "voice_call",
            interactive(plain(Action::VoiceCall(CallButton {
                display_text: s("Call us"),
                ttl_minutes: 60,
                payload: s("order 7"),
            }))),
        ),
        (
            "contact_request",
            interactive(plain(Action::ContactRequest)),
        ),
        (
            "raw",
            OutgoingContent::Raw(s(
                r#"{"type": "poll", "poll": {"question": "Tea?"}, "category": "utility"}"#,
            )),
        ),
        ("template_bare", of(Vec::new())),
        (
            "template_positional",
            of(vec![
                part("header", vec![text("Ana")]),
                part(
                    "body",
                    vec![
                        text("7"),
                        parameter(money),
                        parameter(ParameterValue::DateTime(s("24 December"))),
                    ],
                ),
                button("quick_reply", 0, ParameterValue::Payload(s("yes"))),
                button("url", 1, ParameterValue::Text(s("orders/7"))),
                button("copy_code", 2, ParameterValue::CouponCode(s("SAVE10"))),
            ]),
        ),
        (
            "template_named",
            of(vec![part(
                "body",
                vec![named("who", "Ana"), named("order", "7")],
            )]),
        ),
        (
            "template_header_image",
            header(ParameterValue::Media(
                MediaKind::Image,
                link("https://example.com/a.jpg"),
            )),
        ),
        (
            "template_header_video",
            header(ParameterValue::Media(MediaKind::Video, id("78"))),
        ),
        (
            "template_header_document",
            header(ParameterValue::Media(
                MediaKind::Document,
                Attachment {
                    filename: s("invoice.pdf"),
                    ..id("80")
                },
            )),
        ),
        (
            "template_header_location",
            header(ParameterValue::Location(place)),
        ),
        (
            "template_header_product",
            header(ParameterValue::Product(product("sku-1"))),
        ),
        (
            "template_actions",
            of(vec![
                button(
                    "flow",
                    0,
                    ParameterValue::Flow {
                        token: s("t-1"),
                        data_json: s(r#"{"name": "Ana"}"#),
                    },
                ),
                button(
                    "catalog",
                    1,
                    ParameterValue::Catalog(Catalog {
                        thumbnail_product_retailer_id: s("sku-1"),
                    }),
                ),
                button(
                    "mpm",
                    2,
                    ParameterValue::Products {
                        thumbnail_product_retailer_id: s("sku-1"),
                        sections: vec![products("Green", 2)],
                    },
                ),
                button("voice_call", 3, ParameterValue::TtlMinutes(60)),
            ]),
        ),
        (
            "template_offer",
            of(vec![
                part(
                    "limited_time_offer",
                    vec![parameter(ParameterValue::OfferExpires(1_800_000_000_000))],
                ),
                button("copy_code", 0, ParameterValue::CouponCode(s("SAVE10"))),
            ]),
        ),
        (
            "template_carousel",
            OutgoingContent::Template(Template {
                cards: vec![
                    vec![
                        part(
                            "header",
                            vec![parameter(ParameterValue::Media(MediaKind::Image, id("77")))],
                        ),
                        part("body", vec![text("Aloe")]),
                        button("quick_reply", 0, ParameterValue::Payload(s("aloe"))),
                    ],
                    vec![part("body", vec![text("Fern")])],
                ],
                ..template(vec![part("body", vec![text("Ana")])])
            }),
        ),
        (
            "template_json",
            of(vec![
                part(
                    "body",
                    vec![parameter(ParameterValue::Json(s(
                        r#"{"type": "text", "text": "7"}"#,
                    )))],
                ),
                part(
                    "tap_target_configuration",
                    vec![parameter(ParameterValue::Json(s(
                        r#"{"type": "tap_target_configuration", "tap_target_configuration": []}"#,
                    )))],
                ),
            ]),
        ),
    ]
}
