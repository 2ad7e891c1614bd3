//! Templates as forms.

use casement_proto::events::v1::{
    TemplateBody, TemplateButton, TemplateDefinition, TemplateHeader,
};

use super::*;

fn template(definition: Option<TemplateDefinition>) -> Template {
    let mut template = Template {
        name: "order_update".to_owned(),
        language: "en_US".to_owned(),
        body: "Order {{1}} comes {{2}}.".to_owned(),
        body_parameter_count: 2,
        definition,
        ..Template::default()
    };
    template.set_status(TemplateStatus::Approved);
    template
}

fn rich() -> TemplateDefinition {
    let mut header = TemplateHeader::default();
    header.set_format(TemplateHeaderFormat::Image);
    let mut button = TemplateButton {
        text: "Track".to_owned(),
        url: "https://shop.example/{{1}}".to_owned(),
        example: "a7".to_owned(),
        ..TemplateButton::default()
    };
    button.set_kind(TemplateButtonKind::Url);
    let mut reply = TemplateButton::default();
    reply.set_kind(TemplateButtonKind::QuickReply);
    TemplateDefinition {
        header: Some(header),
        body: Some(TemplateBody {
            text: "Hi {{name}}, order {{order_id}}.".to_owned(),
            examples: vec![TemplateExample {
                name: "order_id".to_owned(),
                text: "7".to_owned(),
            }],
            ..TemplateBody::default()
        }),
        buttons: vec![reply, button],
        ..TemplateDefinition::default()
    }
}

fn values(of: &[(&str, &str)]) -> Values {
    of.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn each_place_of_a_template_is_a_field() {
    let names = |template: &Template| {
        let fields = fields(template, &Values::new(), &[]);
        fields
            .into_iter()
            .map(|field| (field.name, field.input, field.hint))
            .collect::<Vec<_>>()
    };
    let field = |name: &str, input, hint: &str| (name.to_owned(), input, hint.to_owned());
    assert_eq!(
        names(&template(None)),
        [field("body.1", "text", ""), field("body.2", "text", "")]
    );
    assert_eq!(
        names(&template(Some(rich()))),
        [
            field("header", "url", "https://…"),
            field("body.name", "text", ""),
            field("body.order_id", "text", "7"),
            field("button.1", "text", "a7"),
        ]
    );
    let unread = Template {
        body: String::new(),
        ..template(None)
    };
    assert_eq!(names(&unread).len(), 2);
}

#[test]
fn what_was_typed_becomes_components_in_their_places() {
    let typed = values(&[
        ("header", "https://shop.example/a.png"),
        ("body.name", "Ana"),
        ("body.order_id", "7"),
        ("button.1", "a7"),
    ]);
    let content = content(&template(Some(rich())), &typed);
    let kinds: Vec<_> = content
        .components
        .iter()
        .map(|one| {
            (
                one.r#type.as_str(),
                one.sub_type.as_str(),
                one.index.as_str(),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [("header", "", ""), ("body", "", ""), ("button", "url", "1")]
    );
    assert_eq!(content.components[1].parameters[1].name, "order_id");
    assert_eq!(
        content.components[2].parameters[0].value,
        Some(Value::Text("a7".to_owned()))
    );
}

#[test]
fn what_the_api_says_finds_its_field() {
    for (told, marked) in [
        (
            "content.template.components[1].parameters[1].text",
            vec!["body.order_id"],
        ),
        (
            "content.template.components[1].parameters[0]",
            vec!["body.name"],
        ),
        (
            "content.template.components[1].parameters",
            vec!["body.name", "body.order_id"],
        ),
        ("components[2].parameters[0]", vec!["button.1"]),
        ("content.template.name", vec![]),
        ("content.template.components[11].parameters", vec![]),
    ] {
        let problems = [(told.to_owned(), "is wrong".to_owned())];
        let fields = fields(&template(Some(rich())), &Values::new(), &problems);
        let found: Vec<_> = fields
            .iter()
            .filter(|field| field.problem == "is wrong")
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(found, marked, "{told}");
    }
}

#[test]
fn what_cannot_be_filled_in_by_hand_or_sent_is_offered_with_the_reason() {
    assert_eq!(choice(&template(Some(rich()))).why_not, "");
    let mut paused = template(None);
    paused.set_status(TemplateStatus::Paused);
    assert_eq!(choice(&paused).why_not, "paused");
    let mut flow = TemplateButton::default();
    flow.set_kind(TemplateButtonKind::Flow);
    let with_flow = TemplateDefinition {
        buttons: vec![flow],
        ..rich()
    };
    assert_eq!(choice(&template(Some(with_flow))).why_not, "opens a flow");
    let with_cards = TemplateDefinition {
        cards: vec![casement_proto::events::v1::TemplateCardDefinition::default()],
        ..rich()
    };
    assert_eq!(choice(&template(Some(with_cards))).why_not, "has cards");
}
