//! Each thing that the platform would refuse, and what it takes.

use super::*;

fn body(text: &str, examples: &[&str]) -> v1::TemplateBody {
    let examples = examples.iter().map(|text| v1::TemplateExample {
        name: String::new(),
        text: (*text).to_owned(),
    });
    v1::TemplateBody {
        text: text.to_owned(),
        examples: examples.collect(),
        ..v1::TemplateBody::default()
    }
}

fn good() -> v1::TemplateDefinition {
    v1::TemplateDefinition {
        body: Some(body("Order {{1}} is ready.", &["7"])),
        ..v1::TemplateDefinition::default()
    }
}

fn fields(of: &v1::TemplateDefinition, category: v1::TemplateCategory) -> Vec<String> {
    let found = problems("d", of, category);
    found.into_iter().map(|problem| problem.field).collect()
}

fn button(kind: Kind, text: &str) -> v1::TemplateButton {
    v1::TemplateButton {
        kind: kind.into(),
        text: text.to_owned(),
        ..v1::TemplateButton::default()
    }
}

#[test]
fn each_thing_that_the_platform_would_refuse_is_named() {
    let utility = v1::TemplateCategory::Utility;
    assert!(fields(&good(), utility).is_empty());
    let with_buttons = |buttons| v1::TemplateDefinition { buttons, ..good() };
    let url = |url: &str| v1::TemplateButton {
        url: url.to_owned(),
        ..button(Kind::Url, "Go")
    };
    let reply = || button(Kind::QuickReply, "Yes");
    let table: Vec<(v1::TemplateDefinition, &str)> = vec![
        (v1::TemplateDefinition::default(), "d.body.text"),
        (
            v1::TemplateDefinition {
                body: Some(body("Order {{1}}.", &[])),
                ..good()
            },
            "d.body.examples",
        ),
        (
            v1::TemplateDefinition {
                body: Some(body("{{1}} is ready.", &["7"])),
                ..good()
            },
            "d.body.text",
        ),
        (
            v1::TemplateDefinition {
                body: Some(body("Hi {{1}} {{3}}.", &["7"])),
                ..good()
            },
            "d.body.text",
        ),
        (
            v1::TemplateDefinition {
                header: Some(v1::TemplateHeader {
                    format: Format::Image.into(),
                    ..v1::TemplateHeader::default()
                }),
                ..good()
            },
            "d.header.example_handles",
        ),
        (
            v1::TemplateDefinition {
                footer: Some(v1::TemplateFooter {
                    text: "x".repeat(61),
                    ..v1::TemplateFooter::default()
                }),
                ..good()
            },
            "d.footer.text",
        ),
        (with_buttons(vec![url("ftp://x")]), "d.buttons[0].url"),
        (
            with_buttons(vec![url("https://x/{{1}}")]),
            "d.buttons[0].example",
        ),
        (
            with_buttons(vec![url("https://x/{{1}}/y")]),
            "d.buttons[0].url",
        ),
        (
            with_buttons(vec![button(Kind::PhoneNumber, "Call")]),
            "d.buttons[0].phone_number",
        ),
        (
            with_buttons(vec![button(Kind::Otp, "Copy")]),
            "d.buttons[0].kind",
        ),
        (
            with_buttons(vec![reply(), url("https://x"), reply()]),
            "d.buttons",
        ),
        (with_buttons(vec![reply(); 11]), "d.buttons"),
        (
            v1::TemplateDefinition {
                offer: Some(v1::TemplateOffer {
                    text: "Now".to_owned(),
                    has_expiration: true,
                }),
                ..good()
            },
            "d.offer",
        ),
        (
            v1::TemplateDefinition {
                parameter_format: v1::TemplateParameterFormat::Named.into(),
                ..good()
            },
            "d.parameter_format",
        ),
    ];
    for (definition, field) in table {
        assert_eq!(fields(&definition, utility), [field], "{definition:?}");
    }
}

#[test]
fn a_code_has_the_platforms_text_and_one_button() {
    let category = v1::TemplateCategory::Authentication;
    let otp = |kind: v1::TemplateOtpKind| v1::TemplateButton {
        otp_kind: kind.into(),
        ..button(Kind::Otp, "Copy")
    };
    let code = |otp| v1::TemplateDefinition {
        body: Some(v1::TemplateBody::default()),
        buttons: vec![otp],
        ..v1::TemplateDefinition::default()
    };
    assert!(fields(&code(otp(v1::TemplateOtpKind::CopyCode)), category).is_empty());
    let one_tap = fields(&code(otp(v1::TemplateOtpKind::OneTap)), category);
    assert_eq!(one_tap, ["d.buttons[0].apps"]);
    assert_eq!(fields(&good(), category), ["d.body.text", "d.buttons"]);
}

#[test]
fn cards_are_made_alike() {
    let card = |format: Format| v1::TemplateCardDefinition {
        header: Some(v1::TemplateHeader {
            format: format.into(),
            example_handles: vec!["4::x".to_owned()],
            ..v1::TemplateHeader::default()
        }),
        buttons: vec![button(Kind::QuickReply, "Buy")],
        ..v1::TemplateCardDefinition::default()
    };
    let carousel = |cards| v1::TemplateDefinition { cards, ..good() };
    let marketing = v1::TemplateCategory::Marketing;
    let alike = carousel(vec![card(Format::Image), card(Format::Image)]);
    assert!(fields(&alike, marketing).is_empty());
    let mixed = carousel(vec![card(Format::Image), card(Format::Video)]);
    assert_eq!(fields(&mixed, marketing), ["d.cards"]);
}
