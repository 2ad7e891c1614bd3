//! Problems by the names of the request's fields. The limits themselves are tried out where they
//! stand.

use super::*;
use v1::free_form::Content as Said;

fn fields(content: &v1::Content) -> Vec<String> {
    let mut found = Vec::new();
    check(content, &mut |field, _| found.push(field.to_owned()));
    found
}

fn said(content: Said) -> v1::Content {
    of(v1::FreeForm {
        content: Some(content),
        ..v1::FreeForm::default()
    })
}

fn of(free_form: v1::FreeForm) -> v1::Content {
    v1::Content {
        free_form: Some(free_form),
        ..v1::Content::default()
    }
}

fn uploaded(id: &str) -> v1::Attachment {
    v1::Attachment {
        source: Some(v1::attachment::Source::UploadId(id.to_owned())),
        ..v1::Attachment::default()
    }
}

fn in_template(parameter: v1::template_parameter::Value) -> v1::TemplateComponent {
    v1::TemplateComponent {
        r#type: "header".to_owned(),
        parameters: vec![v1::TemplateParameter {
            value: Some(parameter),
            ..v1::TemplateParameter::default()
        }],
        ..v1::TemplateComponent::default()
    }
}

/// A message with an uploaded file wherever one may stand.
fn everywhere(id: &str) -> Vec<(&'static str, v1::Content)> {
    use v1::interactive_header::Content as Header;
    use v1::template_parameter::Value;
    let file = || uploaded(id);
    let header = |header| {
        said(Said::Interactive(Box::new(v1::Interactive {
            header: Some(v1::InteractiveHeader {
                content: Some(header),
            }),
            body: "Well?".to_owned(),
            action: Some(v1::interactive::Action::Reply(v1::ReplyButtons {
                buttons: vec![v1::ReplyButton {
                    id: "y".to_owned(),
                    title: "Yes".to_owned(),
                }],
            })),
            ..v1::Interactive::default()
        })))
    };
    let template = |components, cards| v1::Content {
        template: Some(v1::TemplateContent {
            name: "t".to_owned(),
            language: "en".to_owned(),
            components,
            cards,
        }),
        ..v1::Content::default()
    };
    let card = v1::TemplateCard {
        components: vec![in_template(Value::Video(file()))],
    };
    vec![
        ("content.free_form.image", said(Said::Image(file()))),
        ("content.free_form.video", said(Said::Video(file()))),
        ("content.free_form.audio", said(Said::Audio(file()))),
        ("content.free_form.document", said(Said::Document(file()))),
        ("content.free_form.sticker", said(Said::Sticker(file()))),
        (
            "content.free_form.interactive.header.image",
            header(Header::Image(file())),
        ),
        (
            "content.free_form.interactive.header.video",
            header(Header::Video(file())),
        ),
        (
            "content.free_form.interactive.header.document",
            header(Header::Document(file())),
        ),
        (
            "content.template.components[0].parameters[0].image",
            template(vec![in_template(Value::Image(file()))], Vec::new()),
        ),
        (
            "content.template.components[0].parameters[0].document",
            template(vec![in_template(Value::Document(file()))], Vec::new()),
        ),
        (
            "content.template.cards[0].components[0].parameters[0].video",
            template(Vec::new(), vec![card]),
        ),
    ]
}

#[test]
fn an_uploaded_file_has_to_be_of_this_number_and_still_there() {
    let account = v1::Number {
        phone_number_id: "700".to_owned(),
        ..v1::Number::default()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    for (field, content) in everywhere("up-700-1000-9") {
        assert_eq!(fields(&content), [""; 0], "{field}");
        assert_eq!(check_uploads(&content, &account, at(999)), [], "{field}");
        let stale = check_uploads(&content, &account, at(1000));
        assert_eq!(stale[0].0, format!("{field}.upload_id"));
        assert!(stale[0].1.contains("upload the file again"), "{stale:?}");
    }
    for (field, content) in everywhere("up-701-1000-9") {
        let foreign = check_uploads(&content, &account, at(999));
        assert_eq!(foreign[0].0, format!("{field}.upload_id"));
    }
    for (field, content) in everywhere("4711") {
        assert_eq!(fields(&content), [format!("{field}.upload_id")]);
    }
}

#[test]
fn text_and_something_else_are_two_messages() {
    let both = of(v1::FreeForm {
        text: "Hi".to_owned(),
        preview_url: true,
        content: Some(Said::Image(uploaded("up-700-1000-9"))),
    });
    assert_eq!(
        fields(&both),
        ["content.free_form.text", "content.free_form.preview_url"]
    );
}

#[test]
fn what_the_platform_does_not_take_is_named_by_the_requests_fields() {
    let button = |title: &str| v1::ReplyButton {
        id: title.to_owned(),
        title: title.to_owned(),
    };
    let content = v1::Content {
        template: Some(v1::TemplateContent {
            name: String::new(),
            language: "en".to_owned(),
            components: vec![v1::TemplateComponent {
                r#type: "body".to_owned(),
                parameters: vec![v1::TemplateParameter::default()],
                ..v1::TemplateComponent::default()
            }],
            ..v1::TemplateContent::default()
        }),
        ..said(Said::Interactive(Box::new(v1::Interactive {
            action: Some(v1::interactive::Action::Reply(v1::ReplyButtons {
                buttons: vec![
                    button("a"),
                    button("b"),
                    button("c"),
                    button(&"x".repeat(21)),
                ],
            })),
            ..v1::Interactive::default()
        })))
    };
    assert_eq!(
        fields(&content),
        [
            "content.free_form.interactive.body",
            "content.free_form.interactive.reply.buttons",
            "content.free_form.interactive.reply.buttons[3].title",
            "content.template.name",
            "content.template.components[0].parameters[0]",
        ]
    );
}

#[test]
fn a_reaction_goes_to_a_message_of_theirs_or_of_ours() {
    let reaction = |message_id: &str| {
        said(Said::Reaction(v1::Reaction {
            message_id: message_id.to_owned(),
            emoji: "👍".to_owned(),
        }))
    };
    let number = casement_domain::id::BusinessNumber::parse("+15550001111").unwrap();
    let ours = MessageId::new(&number, 7).to_string();
    for (id, is_fine) in [
        ("wamid.a", true),
        (ours.as_str(), true),
        ("wamid.", false),
        ("7", false),
        ("", false),
    ] {
        let expected: &[&str] = if is_fine {
            &[]
        } else {
            &["content.free_form.reaction.message_id"]
        };
        assert_eq!(fields(&reaction(id)), expected, "{id}");
    }
}

#[test]
fn an_sms_without_text_needs_a_text_beside_it() {
    let sms = Some(v1::SmsContent::default());
    let text = of(v1::FreeForm {
        text: "Hi".to_owned(),
        ..v1::FreeForm::default()
    });
    let with_text = v1::Content {
        sms: sms.clone(),
        ..text
    };
    assert_eq!(fields(&with_text), [""; 0]);
    let with_image = v1::Content {
        sms,
        ..said(Said::Image(uploaded("up-700-1000-9")))
    };
    assert_eq!(fields(&with_image), ["content.sms.text"]);
}
