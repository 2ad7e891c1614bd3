//! Templates created, edited, shown; and whose they are.

use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_shell::grpc::reason;
use casement_simulator::{TemplateReview, Upset, UpsetKind};
use jiff::SignedDuration;
use tonic::Code;
use tonic_types::StatusExt as _;
use v1::template_parameter::Value as Is;

use super::{Stage, WABA, of_platform};

fn parcel(request_id: &str) -> api::CreateTemplateRequest {
    api::CreateTemplateRequest {
        template: Some(v1::Template {
            waba_id: WABA.to_owned(),
            name: "parcel".to_owned(),
            language: "en-US".to_owned(),
            category: v1::TemplateCategory::Utility.into(),
            definition: Some(definition("Parcel {{1}} is here.")),
            ..v1::Template::default()
        }),
        request_id: request_id.to_owned(),
        allow_category_change: false,
    }
}

fn definition(body: &str) -> v1::TemplateDefinition {
    v1::TemplateDefinition {
        body: Some(v1::TemplateBody {
            text: body.to_owned(),
            examples: vec![v1::TemplateExample {
                name: String::new(),
                text: "7".to_owned(),
            }],
            ..v1::TemplateBody::default()
        }),
        ..v1::TemplateDefinition::default()
    }
}

#[tokio::test]
async fn a_template_is_created_once_whatever_is_repeated_or_lost() {
    let stage = Stage::set(vec![]).await;
    let handle = stage.platform.handle();
    handle.upset(Upset {
        call: "message_templates".to_owned(),
        kind: UpsetKind::LoseAnswer,
        times: 1,
    });
    let mut templates = stage.templates.clone();
    let created = templates.create_template(parcel("r1")).await.unwrap();
    let created = created.into_inner().template.unwrap();
    assert_eq!(created.status(), v1::TemplateStatus::Pending);
    assert!(!created.template_id.is_empty());
    assert_eq!(created.language, "en_US");
    assert_eq!(stage.calls("POST"), 1);

    let again = templates.create_template(parcel("r1")).await.unwrap();
    assert_eq!(
        again.into_inner().template.unwrap().template_id,
        created.template_id
    );
    assert_eq!(stage.calls("POST"), 1);
    let other = templates.create_template(parcel("r2")).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);

    handle.approve_template((WABA, "parcel", "en_US")).unwrap();
    stage.sync().await;
    let known = stage.recorded("parcel", "en_US").await.unwrap();
    assert_eq!(known.status(), v1::TemplateStatus::Approved);
}

#[tokio::test]
async fn what_the_platform_would_refuse_for_its_form_never_gets_there() {
    let stage = Stage::set(vec![]).await;
    let mut wrong = parcel("");
    wrong.template.as_mut().unwrap().definition = Some(definition("{{1}} is here."));
    let mut templates = stage.templates.clone();
    let refused = templates.create_template(wrong).await.unwrap_err();
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "template.definition.body.text");
    assert_eq!(stage.calls("POST"), 0);
    assert_eq!(stage.recorded("parcel", "en_US").await, None);
}

#[tokio::test]
async fn what_the_platform_refuses_is_told_and_may_be_asked_for_again() {
    let stage = Stage::set(vec![]).await;
    stage.platform.handle().upset(Upset {
        call: "message_templates".to_owned(),
        kind: UpsetKind::Refuse(100),
        times: 1,
    });
    let mut templates = stage.templates.clone();
    let refused = templates.create_template(parcel("r")).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("REFUSED_BY_PLATFORM"));
    let handle = stage.platform.handle();
    handle.set_template_review(TemplateReview::Approve);
    let created = templates.create_template(parcel("r")).await.unwrap();
    assert!(
        !created
            .into_inner()
            .template
            .unwrap()
            .template_id
            .is_empty()
    );
}

#[tokio::test]
async fn an_approved_template_is_edited_once_a_day() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let handle = stage.platform.handle();
    handle.set_template_review(TemplateReview::Approve);
    let edit = |request_id: &str, body: &str| api::UpdateTemplateRequest {
        template: Some(v1::Template {
            waba_id: WABA.to_owned(),
            name: "order".to_owned(),
            language: "en".to_owned(),
            definition: Some(definition(body)),
            ..v1::Template::default()
        }),
        request_id: request_id.to_owned(),
    };
    let mut templates = stage.templates.clone();
    let edited = templates
        .update_template(edit("e1", "Your order {{1}} is here."))
        .await;
    let edited = edited.unwrap().into_inner().template.unwrap();
    assert_eq!(edited.body, "Your order {{1}} is here.");
    assert_eq!(edited.status(), v1::TemplateStatus::Approved);
    assert_eq!(edited.edit_times.len(), 1);
    let repeated = templates
        .update_template(edit("e1", "Your order {{1}} is here."))
        .await;
    assert_eq!(repeated.unwrap().into_inner().template.unwrap(), edited);

    let refused = templates
        .update_template(edit("e2", "Order {{1}}, again."))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("TOO_MANY_EDITS"));
    stage.clock.advance(SignedDuration::from_hours(24));
    templates
        .update_template(edit("e2", "Order {{1}}, again."))
        .await
        .unwrap();
}

#[tokio::test]
async fn another_brands_templates_are_nobodys_business() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let mut others = stage.others.clone();
    let request = api::SyncTemplatesRequest {
        waba_id: WABA.to_owned(),
        name: String::new(),
    };
    let refused = others.sync_templates(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = others.create_template(parcel("r")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let request = api::GetTemplateRequest {
        waba_id: WABA.to_owned(),
        name: "order".to_owned(),
        language: "en".to_owned(),
    };
    let refused = others.get_template(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let found = stage.templates.clone().get_template(request).await.unwrap();
    assert!(found.into_inner().sync.is_some());
}

#[tokio::test]
async fn a_look_at_a_template_says_what_is_read_and_what_is_wrong() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let render = |texts: &[&str]| api::RenderTemplateRequest {
        waba_id: WABA.to_owned(),
        name: "order".to_owned(),
        language: "en".to_owned(),
        components: vec![v1::TemplateComponent {
            r#type: "body".to_owned(),
            parameters: texts
                .iter()
                .map(|text| v1::TemplateParameter {
                    name: String::new(),
                    value: Some(Is::Text((*text).to_owned())),
                })
                .collect(),
            ..v1::TemplateComponent::default()
        }],
        cards: Vec::new(),
    };
    let mut templates = stage.templates.clone();
    let shown = templates
        .render_template(render(&["42"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.message.unwrap().body, "Order 42 is ready.");
    assert!(shown.problems.is_empty());
    let shown = templates
        .render_template(render(&[]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.message.unwrap().body, "Order {{1}} is ready.");
    assert_eq!(shown.problems[0].field, "components[0].parameters");
}
