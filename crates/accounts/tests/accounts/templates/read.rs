//! Templates read from the platform, for every reason there is.

use casement_event::convert::timestamp;
use casement_event::subject::{account, halt, template_token};
use casement_event::{Event, v1};
use casement_proto::account::v1 as api;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ForTests as _, ORDER, Stage, WABA, of_platform};

#[tokio::test]
async fn every_page_is_read_and_what_is_the_same_writes_nothing() {
    let many = (0..120).map(|index| of_platform(&format!("order_{index}"), "en"));
    let stage = Stage::set(many.collect()).await;
    let components = vec![
        json!({"type": "HEADER", "format": "IMAGE"}),
        json!({"type": "BODY", "text": "Order {{1}} is ready."}),
        json!({"type": "SOMETHING_NEWER", "with": ["all", "it", "has"]}),
    ];
    let handle = stage.platform.handle();
    handle
        .set_template_components((WABA, "order_7", "en"), "POSITIONAL", components)
        .unwrap();

    let first = stage.sync().await;
    assert_eq!(
        (first.error.as_str(), first.found_count, first.changed_count),
        ("", 120, 120)
    );
    assert_eq!(stage.calls("GET"), 2, "a page has a hundred");
    let read = stage.recorded("order_7", "en").await.unwrap();
    assert_eq!(read.status(), v1::TemplateStatus::Approved);
    let made_of = read.definition.unwrap();
    assert_eq!(
        made_of.header.unwrap().format(),
        v1::TemplateHeaderFormat::Image
    );
    assert_eq!(made_of.other_json.len(), 1, "what is newer is kept");

    let before = stage.events_count().await;
    let again = stage.sync().await;
    assert_eq!((again.found_count, again.changed_count), (120, 0));
    assert_eq!(
        stage.events_count().await,
        before + 1,
        "that it was read, and nothing else"
    );
}

#[tokio::test]
async fn what_is_gone_at_the_platform_is_deleted_on_record_and_what_nobody_read_stands() {
    let stage = Stage::set(vec![of_platform("order", "en"), of_platform("gone", "en")]).await;
    let by_hand = v1::Template {
        waba_id: WABA.to_owned(),
        name: "by_hand".to_owned(),
        language: "en".to_owned(),
        category: v1::TemplateCategory::Utility.into(),
        status: v1::TemplateStatus::Approved.into(),
        ..v1::Template::default()
    };
    let request = api::PutTemplateRequest {
        template: Some(by_hand),
    };
    stage.accounts.clone().put_template(request).await.unwrap();
    stage.sync().await;
    let mut templates = stage.templates.clone();
    let request = api::DeleteTemplateRequest {
        waba_id: WABA.to_owned(),
        name: "gone".to_owned(),
        language: String::new(),
    };
    templates.delete_template(request.clone()).await.unwrap();
    templates.delete_template(request).await.unwrap();
    assert_eq!(
        stage.calls("DELETE"),
        1,
        "what is deleted is not deleted again"
    );
    assert_eq!(stage.sync().await.found_count, 1);
    let status = async |name: &str| stage.recorded(name, "en").await.unwrap().status();
    assert_eq!(status("gone").await, v1::TemplateStatus::Deleted);
    assert_eq!(status("order").await, v1::TemplateStatus::Approved);
    assert_eq!(status("by_hand").await, v1::TemplateStatus::Approved);
}

#[tokio::test]
async fn a_webhook_about_a_template_nobody_knew_has_it_read() {
    let stage = Stage::set(vec![of_platform("order", "en_US")]).await;
    let content = json!({
        "event": "APPROVED",
        "message_template_name": "order",
        "message_template_language": "en-US",
    });
    stage
        .report("message_template_status_update", &content)
        .await;
    eventually("the template is on record", async || {
        stage.recorded("order", "en_US").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_refused_send_has_the_template_read_at_once() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    stage.platform.handle().pause_template(ORDER).unwrap();
    let halted = v1::SendsHalted {
        halt: Some(v1::Halt {
            halt_id: "h1".to_owned(),
            scope: v1::HaltScope::Template.into(),
            key: "800/order/en".to_owned(),
            error: Some(v1::ProviderError {
                code: 132_001,
                ..v1::ProviderError::default()
            }),
            ..v1::Halt::default()
        }),
        ..v1::SendsHalted::default()
    };
    stage.append(halt("TEMPLATE", "h1"), halted).await;
    eventually("the record says what the platform says", async || {
        let known = stage.recorded("order", "en").await.unwrap();
        known.status() == v1::TemplateStatus::Paused
    })
    .await;
}

#[tokio::test]
async fn that_messages_are_held_back_stands_on_the_record() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let held = v1::TemplateHeld {
        waba_id: WABA.to_owned(),
        name: "order".to_owned(),
        language: "en".to_owned(),
        time: Some(timestamp(Timestamp::now_for_tests())),
        message_id: "15550001111-1".to_owned(),
    };
    stage.append(account("pacing", "800-order-en"), held).await;
    eventually("the record says so", async || {
        let known = stage.recorded("order", "en").await.unwrap();
        known.held_for_quality_time.is_some()
    })
    .await;
}

#[tokio::test]
async fn templates_are_read_on_schedule() {
    let every = SignedDuration::from_hours(6);
    let stage = Stage::set_with(vec![of_platform("order", "en")], every).await;
    eventually("a new account's templates are read", async || {
        stage.recorded("order", "en").await.is_some()
    })
    .await;
    stage
        .platform
        .handle()
        .add_template(of_platform("later", "en"));
    eventually("templates are read again when it is time", async || {
        stage.clock.advance(SignedDuration::from_hours(1));
        stage.recorded("later", "en").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_pause_ends_on_record_when_it_should_be_over() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let content = json!({
        "event": "PAUSED",
        "message_template_name": "order",
        "message_template_language": "en",
        "other_info": {"title": "FIRST_PAUSE"},
    });
    let handle = stage.platform.handle();
    handle.pause_template(ORDER).unwrap();
    stage
        .report("message_template_status_update", &content)
        .await;
    eventually("the pause is on record, with its end", async || {
        let known = stage.recorded("order", "en").await.unwrap();
        known
            .pause
            .is_some_and(|pause| pause.expected_end_time.is_some())
    })
    .await;
    // The platform lifts it, and its webhook is lost.
    handle.unpause_template(ORDER).unwrap();
    stage.clock.advance(SignedDuration::from_mins(181));
    eventually("the pause is over", async || {
        let known = stage.recorded("order", "en").await.unwrap();
        known.status() == v1::TemplateStatus::Approved && known.pause.is_none()
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_before_a_report_does_not_undo_it() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let asked = stage.calls("GET");
    stage.line.hold_replies();
    let reading = stage.sync();
    let meanwhile = async {
        eventually("the platform has answered", async || {
            stage.calls("GET") > asked
        })
        .await;
        stage.platform.handle().pause_template(ORDER).unwrap();
        let content = json!({
            "event": "PAUSED",
            "message_template_name": "order",
            "message_template_language": "en",
            "other_info": {"title": "FIRST_PAUSE"},
        });
        stage
            .report("message_template_status_update", &content)
            .await;
        eventually("the pause is on record", async || {
            let known = stage.recorded("order", "en").await.unwrap();
            known.pause.is_some()
        })
        .await;
        stage.line.forward();
    };
    let (read, ()) = tokio::join!(reading, meanwhile);
    assert_eq!(read.error, "");
    let subject = account("template", &template_token(WABA, "order", "en"));
    let records = stage.log.read_subject("ACCOUNTS", &subject).await.unwrap();
    let paused = records.iter().filter_map(|stored| match stored.event() {
        Ok(Event::TemplateRecorded(recorded)) => recorded.template,
        _ => None,
    });
    let statuses: Vec<_> = paused.map(|template| template.status()).collect();
    let first = statuses
        .iter()
        .position(|status| *status == v1::TemplateStatus::Paused);
    let since = &statuses[first.expect("it was paused on record")..];
    assert!(
        since.iter().all(|it| *it == v1::TemplateStatus::Paused),
        "{statuses:?}"
    );
    let known = stage.recorded("order", "en").await.unwrap();
    assert_eq!(known.pause.unwrap().kind, "FIRST_PAUSE");
}

#[tokio::test]
async fn a_reading_that_fails_changes_nothing_and_says_why() {
    let stage = Stage::set(vec![of_platform("order", "en")]).await;
    stage.sync().await;
    let token = stage.folder.path().join("token");
    std::fs::write(&token, "another-token").unwrap();
    let failed = stage.sync().await;
    assert!(failed.error.contains("190"), "{failed:?}");
    assert!(!failed.error.contains("another-token"), "{failed:?}");
    assert_eq!(failed.failure_count, 1);
    let known = stage.recorded("order", "en").await.unwrap();
    assert_eq!(known.status(), v1::TemplateStatus::Approved);
}
