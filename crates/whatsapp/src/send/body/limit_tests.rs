//! Each limit at its boundary, and each rule broken once.

use super::limits::*;
use super::samples::{self, buttons, link, plain, products, rows};
use super::*;

fn chars(count: usize) -> String {
    "ä".repeat(count)
}

fn fields(content: &OutgoingContent) -> Vec<String> {
    let problems = content.problems();
    problems.into_iter().map(|problem| problem.field).collect()
}

/// What is one more than allowed is named, and what is exactly as much is not.
fn boundary(field: &str, max: usize, content: impl Fn(usize) -> OutgoingContent) {
    assert_eq!(fields(&content(max)), [""; 0], "{field} at {max}");
    assert_eq!(fields(&content(max + 1)), [field], "{field} above {max}");
}

fn interactive(it: Interactive) -> OutgoingContent {
    OutgoingContent::Interactive(Box::new(it))
}

fn image(file: Attachment) -> OutgoingContent {
    OutgoingContent::Media(MediaKind::Image, file)
}

fn reply(change: impl FnOnce(&mut Vec<ReplyButton>)) -> OutgoingContent {
    let mut all = buttons(2);
    change(&mut all);
    interactive(plain(Action::Reply(all)))
}

fn list(change: impl FnOnce(&mut ListMenu)) -> OutgoingContent {
    let mut list = samples::list();
    change(&mut list);
    interactive(plain(Action::List(list)))
}

fn flow(change: impl FnOnce(&mut Flow)) -> OutgoingContent {
    let mut flow = samples::flow();
    change(&mut flow);
    interactive(plain(Action::Flow(flow)))
}

fn with_header(header: Header, action: Action) -> OutgoingContent {
    interactive(Interactive {
        header: Some(header),
        ..plain(action)
    })
}

fn product_list(sections: Vec<ProductSection>) -> OutgoingContent {
    let catalog_id = "900".to_owned();
    let list = ProductList {
        catalog_id,
        sections,
    };
    with_header(Header::Text("Plants".to_owned()), Action::ProductList(list))
}

fn call_button(change: impl FnOnce(&mut CallButton)) -> OutgoingContent {
    let mut button = CallButton::default();
    change(&mut button);
    interactive(plain(Action::VoiceCall(button)))
}

fn card(change: impl FnOnce(&mut Card)) -> OutgoingContent {
    let mut card = samples::card();
    change(&mut card);
    OutgoingContent::Contacts(vec![card])
}

fn reaction(message_id: &str, emoji: &str) -> OutgoingContent {
    OutgoingContent::Reaction {
        message_id: message_id.to_owned(),
        emoji: emoji.to_owned(),
    }
}

fn raw(json: &str) -> OutgoingContent {
    OutgoingContent::Raw(json.to_owned())
}

#[test]
fn every_limit_holds_exactly() {
    boundary("text", TEXT_CHARS_MAX, |n| OutgoingContent::Text {
        body: chars(n),
        preview_url: false,
    });
    boundary("image.caption", CAPTION_CHARS_MAX, |n| {
        image(Attachment {
            caption: chars(n),
            ..link("https://example.com/a.jpg")
        })
    });
    boundary("contacts.cards", CONTACTS_MAX, |n| {
        OutgoingContent::Contacts(vec![samples::card(); n])
    });
    boundary("reaction.emoji", EMOJI_CHARS_MAX, |n| {
        reaction("wamid.a", &"👍".repeat(n))
    });
    boundary("interactive.body", INTERACTIVE_BODY_CHARS_MAX, |n| {
        interactive(Interactive {
            body: chars(n),
            ..plain(Action::Reply(buttons(1)))
        })
    });
    boundary("interactive.body", LIST_BODY_CHARS_MAX, |n| {
        interactive(Interactive {
            body: chars(n),
            ..plain(Action::List(samples::list()))
        })
    });
    boundary("interactive.header.text", HEADER_CHARS_MAX, |n| {
        with_header(Header::Text(chars(n)), Action::Reply(buttons(1)))
    });
    boundary("interactive.footer", FOOTER_CHARS_MAX, |n| {
        interactive(Interactive {
            footer: chars(n),
            ..plain(Action::Reply(buttons(1)))
        })
    });
    boundary("interactive.reply.buttons", BUTTONS_MAX, |n| {
        interactive(plain(Action::Reply(buttons(n))))
    });
    boundary(
        "interactive.reply.buttons[1].id",
        BUTTON_ID_CHARS_MAX,
        |n| reply(|all| all[1].id = chars(n)),
    );
    boundary(
        "interactive.reply.buttons[1].title",
        BUTTON_TITLE_CHARS_MAX,
        |n| reply(|all| all[1].title = chars(n)),
    );
    boundary("interactive.list.button", BUTTON_TITLE_CHARS_MAX, |n| {
        list(|it| it.button = chars(n))
    });
    boundary("interactive.list.sections", SECTIONS_MAX, |n| {
        list(|it| {
            let section = |(index, row)| ListSection {
                title: format!("Part {index}"),
                rows: vec![row],
            };
            it.sections = rows(n).into_iter().enumerate().map(section).collect();
        })
    });
    boundary(
        "interactive.list.sections[0].title",
        SECTION_TITLE_CHARS_MAX,
        |n| list(|it| it.sections[0].title = chars(n)),
    );
    boundary("interactive.list.sections", ROWS_MAX, |n| {
        list(|it| {
            it.sections.truncate(1);
            it.sections[0].rows = rows(n);
        })
    });
    let row = "interactive.list.sections[1].rows[0]";
    boundary(&format!("{row}.id"), ROW_ID_CHARS_MAX, |n| {
        list(|it| it.sections[1].rows[0].id = chars(n))
    });
    boundary(&format!("{row}.title"), ROW_TITLE_CHARS_MAX, |n| {
        list(|it| it.sections[1].rows[0].title = chars(n))
    });
    boundary(
        &format!("{row}.description"),
        ROW_DESCRIPTION_CHARS_MAX,
        |n| list(|it| it.sections[1].rows[0].description = chars(n)),
    );
    boundary(
        "interactive.cta_url.display_text",
        BUTTON_TITLE_CHARS_MAX,
        |n| {
            interactive(plain(Action::CtaUrl(CtaUrl {
                display_text: chars(n),
                url: "https://example.com".to_owned(),
            })))
        },
    );
    boundary("interactive.flow.cta", FLOW_CTA_CHARS_MAX, |n| {
        flow(|it| it.cta = chars(n))
    });
    boundary("interactive.product_list.sections", PRODUCTS_MAX, |n| {
        product_list(vec![products("", n)])
    });
    boundary("interactive.product_list.sections", SECTIONS_MAX, |n| {
        product_list((0..n).map(|_| products("Green", 1)).collect())
    });
    boundary(
        "interactive.voice_call.display_text",
        BUTTON_TITLE_CHARS_MAX,
        |n| call_button(|it| it.display_text = chars(n)),
    );
    boundary(
        "interactive.voice_call.ttl_minutes",
        CALL_BUTTON_MINUTES_MAX as usize,
        |n| call_button(|it| it.ttl_minutes = u32::try_from(n).unwrap()),
    );
    boundary(
        "interactive.voice_call.payload",
        CALL_PAYLOAD_CHARS_MAX,
        |n| call_button(|it| it.payload = chars(n)),
    );
    boundary("raw_json", RAW_BYTES_MAX, |n| {
        let frame = r#"{"type":"x","x":""}"#.len();
        raw(&format!(
            r#"{{"type":"x","x":"{}"}}"#,
            "a".repeat(n - frame)
        ))
    });
}

#[test]
fn what_breaks_a_rule_is_named_by_its_field() {
    let place = |latitude: f64, longitude: f64| {
        OutgoingContent::Location(Location {
            latitude: Some(latitude),
            longitude: Some(longitude),
            ..Location::default()
        })
    };
    let text = |body: &str| OutgoingContent::Text {
        body: body.to_owned(),
        preview_url: false,
    };
    let media = OutgoingContent::Media;
    let file = || link("https://example.com/a");
    let captioned = || Attachment {
        caption: "Look".to_owned(),
        ..file()
    };
    let header = || Header::Text("Hi".to_owned());
    let media_header = |kind| Header::Media(kind, file());
    let footed = |action| {
        interactive(Interactive {
            footer: "The Shop".to_owned(),
            ..plain(action)
        })
    };
    let silent = |action| {
        interactive(Interactive {
            body: String::new(),
            ..plain(action)
        })
    };
    let address = |change: &dyn Fn(&mut Address)| {
        let mut address = samples::address();
        change(&mut address);
        interactive(plain(Action::Address(address)))
    };
    let table: Vec<(OutgoingContent, &[&str])> = vec![
        (text(""), &["text"]),
        (text(" \n"), &["text"]),
        (image(Attachment::default()), &["image"]),
        (image(link("ftp://example.com/a")), &["image.link"]),
        (image(link("https://")), &["image.link"]),
        (image(link("https://a b")), &["image.link"]),
        (
            image(Attachment {
                source: Some(Source::Id(String::new())),
                ..Attachment::default()
            }),
            &["image.id"],
        ),
        (media(MediaKind::Audio, captioned()), &["audio.caption"]),
        (media(MediaKind::Sticker, captioned()), &["sticker.caption"]),
        (media(MediaKind::Document, captioned()), &[]),
        (
            media(
                MediaKind::Video,
                Attachment {
                    filename: "a.mp4".to_owned(),
                    voice: true,
                    ..file()
                },
            ),
            &["video.filename", "video.voice"],
        ),
        (place(90.0, -180.0), &[]),
        (
            place(90.1, -180.1),
            &["location.latitude", "location.longitude"],
        ),
        (
            place(f64::NAN, f64::INFINITY),
            &["location.latitude", "location.longitude"],
        ),
        (
            OutgoingContent::Location(Location::default()),
            &["location.latitude", "location.longitude"],
        ),
        (OutgoingContent::Contacts(Vec::new()), &["contacts.cards"]),
        (
            card(|it| it.formatted_name.clear()),
            &["contacts.cards[0].formatted_name"],
        ),
        (
            card(|it| it.phones[0].0.value.clear()),
            &["contacts.cards[0].phones[0].phone"],
        ),
        (
            card(|it| it.emails[0].value.clear()),
            &["contacts.cards[0].emails[0].email"],
        ),
        (
            card(|it| it.urls[0].value.clear()),
            &["contacts.cards[0].urls[0].url"],
        ),
        (
            card(|it| it.birthday = "28.2.1990".to_owned()),
            &["contacts.cards[0].birthday"],
        ),
        (
            card(|it| it.birthday = "1990-02-29".to_owned()),
            &["contacts.cards[0].birthday"],
        ),
        (reaction("wamid.", "👍"), &["reaction.message_id"]),
        (reaction("15550001111-1", "👍"), &["reaction.message_id"]),
        (reaction("wamid.a", "ok"), &["reaction.emoji"]),
        (reaction("wamid.a", "👍 "), &["reaction.emoji"]),
        (interactive(Interactive::default()), &["interactive"]),
        (silent(Action::Reply(buttons(1))), &["interactive.body"]),
        (silent(Action::CallPermission), &[]),
        (silent(Action::ContactRequest), &["interactive.body"]),
        (footed(Action::LocationRequest), &["interactive.footer"]),
        (footed(Action::CallPermission), &["interactive.footer"]),
        (
            with_header(header(), Action::LocationRequest),
            &["interactive.header"],
        ),
        (
            with_header(header(), Action::ContactRequest),
            &["interactive.header"],
        ),
        (
            with_header(header(), Action::VoiceCall(CallButton::default())),
            &[],
        ),
        (
            with_header(
                media_header(MediaKind::Image),
                Action::List(samples::list()),
            ),
            &["interactive.header"],
        ),
        (
            with_header(media_header(MediaKind::Sticker), Action::Reply(buttons(1))),
            &["interactive.header"],
        ),
        (
            with_header(
                Header::Media(MediaKind::Image, captioned()),
                Action::Reply(buttons(1)),
            ),
            &["interactive.header.image.caption"],
        ),
        (
            interactive(plain(Action::ProductList(ProductList {
                catalog_id: "900".to_owned(),
                sections: vec![products("", 1)],
            }))),
            &["interactive.header.text"],
        ),
        (reply(Vec::clear), &["interactive.reply.buttons"]),
        (
            reply(|all| all[1].id.clear()),
            &["interactive.reply.buttons[1].id"],
        ),
        (
            reply(|all| all[1].id = "b1".to_owned()),
            &["interactive.reply.buttons[1].id"],
        ),
        (
            reply(|all| all[0].title.clear()),
            &["interactive.reply.buttons[0].title"],
        ),
        (list(|it| it.button.clear()), &["interactive.list.button"]),
        (
            list(|it| it.sections.clear()),
            &["interactive.list.sections"],
        ),
        (
            list(|it| it.sections[1].title.clear()),
            &["interactive.list.sections[1].title"],
        ),
        (
            list(|it| {
                it.sections.truncate(1);
                it.sections[0].title.clear();
            }),
            &[],
        ),
        (
            list(|it| it.sections[0].rows.clear()),
            &["interactive.list.sections[0].rows"],
        ),
        (
            list(|it| it.sections[1].rows[0].id = "r1".to_owned()),
            &["interactive.list.sections[1].rows[0].id"],
        ),
        (
            interactive(plain(Action::CtaUrl(CtaUrl::default()))),
            &[
                "interactive.cta_url.display_text",
                "interactive.cta_url.url",
            ],
        ),
        (flow(|it| it.flow = None), &["interactive.flow"]),
        (
            flow(|it| it.flow = Some(FlowRef::Name(String::new()))),
            &["interactive.flow.flow_name"],
        ),
        (flow(|it| it.cta.clear()), &["interactive.flow.cta"]),
        (
            flow(|it| it.data_json = "[]".to_owned()),
            &["interactive.flow.data_json"],
        ),
        (
            flow(|it| it.data_json = "{}".to_owned()),
            &["interactive.flow.data_json"],
        ),
        (flow(|it| it.screen.clear()), &["interactive.flow.screen"]),
        (
            flow(|it| it.data_exchange = true),
            &["interactive.flow.screen", "interactive.flow.data_json"],
        ),
        (
            interactive(plain(Action::Product(Product::default()))),
            &[
                "interactive.product.catalog_id",
                "interactive.product.product_retailer_id",
            ],
        ),
        (
            product_list(vec![products("Green", 1), products("", 0)]),
            &[
                "interactive.product_list.sections[1].title",
                "interactive.product_list.sections[1].product_retailer_ids",
            ],
        ),
        (
            address(&|it| it.country = "India".to_owned()),
            &["interactive.address.country"],
        ),
        (
            address(&|it| it.values[1].0 = "name".to_owned()),
            &["interactive.address.values[1].key"],
        ),
        (
            address(&|it| it.saved_addresses[0].id.clear()),
            &["interactive.address.saved_addresses[0].id"],
        ),
        (raw("[]"), &["raw_json"]),
        (raw("nonsense"), &["raw_json"]),
        (raw(r#"{"poll": {}}"#), &["raw_json"]),
        (raw(r#"{"type": "poll"}"#), &["raw_json"]),
        (
            raw(r#"{"type": "template", "template": {}}"#),
            &["raw_json"],
        ),
        (
            raw(r#"{"type": "poll", "poll": {}, "to": "+1555"}"#),
            &["raw_json"],
        ),
        (
            raw(r#"{"type": "x", "x": {}, "status": "read", "message_id": "y"}"#),
            &["raw_json"; 2],
        ),
    ];
    for (content, expected) in table {
        assert_eq!(fields(&content), expected, "{content:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_quotes_nothing() {
    let secret = "hush".repeat(20);
    let content = reply(|all| {
        all[0].title.clone_from(&secret);
        all[1].id = String::new();
        all[1].title.clone_from(&secret);
    });
    let problems = content.problems();
    assert_eq!(
        problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "interactive.reply.buttons[0].title: has 80 characters, at most 20 are allowed",
            "interactive.reply.buttons[1].id: must not be empty",
            "interactive.reply.buttons[1].title: has 80 characters, at most 20 are allowed",
        ]
    );
}
