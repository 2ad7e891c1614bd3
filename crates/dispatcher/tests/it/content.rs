//! What messages can say, as it reaches the platform; and what is refused before it is stored.

use casement_event::subject::stream;
use casement_event::v1;
use casement_event::v1::free_form::Content as Said;
use casement_proto::message::v1 as api;
use casement_shell::grpc::reason;
use casement_simulator::Outcome;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{ANA, NUMBER, Stage, TEMPLATE, WABA, in_template, text};

/// A free-form message that is no text.
fn saying(content: Said) -> api::SendMessageRequest {
    api::SendMessageRequest {
        content: Some(v1::Content {
            free_form: Some(v1::FreeForm {
                content: Some(content),
                ..v1::FreeForm::default()
            }),
            ..v1::Content::default()
        }),
        ..text(ANA, "")
    }
}

fn buttons(titles: &[&str]) -> Said {
    let button = |title: &&str| v1::ReplyButton {
        id: (*title).to_owned(),
        title: (*title).to_owned(),
    };
    Said::Interactive(Box::new(v1::Interactive {
        body: "Well?".to_owned(),
        action: Some(v1::interactive::Action::Reply(v1::ReplyButtons {
            buttons: titles.iter().map(button).collect(),
        })),
        ..v1::Interactive::default()
    }))
}

fn link(to: &str) -> v1::Attachment {
    v1::Attachment {
        source: Some(v1::attachment::Source::Link(to.to_owned())),
        ..v1::Attachment::default()
    }
}

fn reaction(message_id: &str) -> Said {
    Said::Reaction(v1::Reaction {
        message_id: message_id.to_owned(),
        emoji: "👍".to_owned(),
    })
}

/// The body of the newest call that wanted to send, without what every body has.
fn posted(stage: &Stage) -> Value {
    let newest = stage.calls().pop().expect("a call");
    assert_eq!(newest.outcome, Outcome::Accepted);
    let mut body = stage.platform.posted(newest.seq).expect("a body");
    let fields = body.as_object_mut().expect("an object");
    assert_eq!(fields.remove("messaging_product"), Some(json!("whatsapp")));
    assert_eq!(fields.remove("recipient_type"), Some(json!("individual")));
    assert!(fields.remove("biz_opaque_callback_data").is_some());
    body
}

fn fields(refusal: &tonic::Status) -> Vec<String> {
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal:?}");
    let details = refusal.get_error_details();
    let violations = details
        .bad_request()
        .expect("fields")
        .field_violations
        .iter();
    violations
        .map(|violation| violation.field.clone())
        .collect()
}

#[tokio::test]
async fn each_kind_reaches_the_platform_as_it_was_said() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let card = v1::ContactCard {
        formatted_name: "Bo".to_owned(),
        vcard: "not sent".to_owned(),
        ..v1::ContactCard::default()
    };
    let place = v1::LocationContent {
        latitude: Some(1.5),
        longitude: Some(-2.5),
        ..v1::LocationContent::default()
    };
    for (content, expected) in [
        (
            Said::Image(link("https://example.com/a.jpg")),
            json!({"type": "image", "image": {"link": "https://example.com/a.jpg"}}),
        ),
        (
            Said::Location(place),
            json!({"type": "location", "location": {"latitude": "1.5", "longitude": "-2.5"}}),
        ),
        (
            Said::Contacts(v1::ContactCards { cards: vec![card] }),
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Bo"}}]}),
        ),
        (
            reaction("wamid.theirs"),
            json!({"type": "reaction", "reaction": {"message_id": "wamid.theirs", "emoji": "👍"}}),
        ),
        (
            buttons(&["Yes"]),
            json!({"type": "interactive", "interactive": {
                "type": "button", "body": {"text": "Well?"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "Yes", "title": "Yes"}}]},
            }}),
        ),
        (
            Said::RawJson(r#"{"type": "text", "text": {"body": "raw"}}"#.to_owned()),
            json!({"type": "text", "text": {"body": "raw"}}),
        ),
    ] {
        let sent = dispatcher.send(saying(content)).await;
        dispatcher.until_accepted(&sent.message_id).await;
        let mut body = posted(&stage);
        assert_eq!(body.as_object_mut().unwrap().remove("to"), Some(json!(ANA)));
        assert_eq!(body, expected);
    }
    stage.assert_no_attempt_was_called_twice();
}

#[tokio::test]
async fn what_breaks_a_limit_is_named_and_nothing_is_stored() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let before = stage.count(stream::MESSAGES).await;
    let mut request = in_template(
        saying(buttons(&["A", "B", "C", "a title of far too many letters"])),
        TEMPLATE,
    );
    request
        .content
        .as_mut()
        .unwrap()
        .template
        .as_mut()
        .unwrap()
        .language = String::new();
    request.reply_to_message_id = "7".to_owned();
    request.messaging_account_id = "se ven".to_owned();
    let expected = [
        "content.free_form.interactive.reply.buttons",
        "content.free_form.interactive.reply.buttons[3].title",
        "content.template.language",
        "reply_to_message_id",
        "messaging_account_id",
    ];
    let refusal = dispatcher.try_send(request.clone()).await.unwrap_err();
    assert_eq!(fields(&refusal), expected);
    let preview = api::PreviewRouteRequest {
        request: Some(request),
        evaluate_time: None,
    };
    let refusal = dispatcher.try_preview(preview).await.unwrap_err();
    assert_eq!(fields(&refusal), expected);
    assert_eq!(stage.count(stream::MESSAGES).await, before);
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn who_has_shown_phone_and_user_id_is_addressed_by_both_whichever_was_asked_for() {
    const USER_ID: &str = "US.22";
    let stage = Stage::set().await;
    let both = stage.platform.customer(Some(ANA), Some(USER_ID), "Ana");
    both.expect("a customer");
    let known = stage.shows(ANA, USER_ID).await;
    stage.writes(ANA).await;
    stage.writes(USER_ID).await;
    let dispatcher = stage.dispatcher().await;
    for to in [ANA, USER_ID] {
        let sent = dispatcher.send(text(to, "Hi")).await;
        assert_eq!(sent.customer_id, known.as_str());
        dispatcher.until_accepted(&sent.message_id).await;
        let body = posted(&stage);
        assert_eq!(
            (&body["to"], &body["recipient"]),
            (&json!(ANA), &json!(USER_ID)),
            "asked for {to}"
        );
        // Of both, the phone counts.
        let call = stage.calls().pop().expect("a call");
        assert_eq!(call.to.as_deref(), Some(&ANA[1..]));
        assert_eq!(call.user_id.as_deref(), Some(USER_ID));
    }
}

#[tokio::test]
async fn a_message_of_ours_is_answered_and_reacted_to_by_its_own_id() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let first = dispatcher.send(text(ANA, "Hi")).await;
    let first = dispatcher.until_accepted(&first.message_id).await;
    let wamid = first.attempts[0].provider_message_id.clone();
    assert!(wamid.starts_with("wamid."), "{wamid}");

    for to in [&first.message_id, &wamid] {
        let reply = api::SendMessageRequest {
            reply_to_message_id: to.clone(),
            ..text(ANA, "As I said")
        };
        let sent = dispatcher.send(reply).await;
        dispatcher.until_accepted(&sent.message_id).await;
        assert_eq!(posted(&stage)["context"], json!({"message_id": wamid}));
        let sent = dispatcher.send(saying(reaction(to))).await;
        dispatcher.until_accepted(&sent.message_id).await;
        assert_eq!(posted(&stage)["reaction"]["message_id"], json!(wamid));
    }

    let stranger = format!(
        "{}{:032x}",
        &first.message_id[..first.message_id.len() - 32],
        7
    );
    for (request, field) in [
        (
            api::SendMessageRequest {
                reply_to_message_id: stranger.clone(),
                ..text(ANA, "As who said?")
            },
            "reply_to_message_id",
        ),
        (
            saying(reaction(&stranger)),
            "content.free_form.reaction.message_id",
        ),
    ] {
        let refusal = dispatcher.try_send(request).await.unwrap_err();
        assert_eq!(fields(&refusal), [field]);
    }
}

#[tokio::test]
async fn a_number_goes_by_its_apps_version_and_its_messaging_account() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let version_of_old = ("old".to_owned(), "v24.0".to_owned());
    let dispatcher = stage
        .dispatcher_with(|config| config.providers.graph_versions = [version_of_old].into())
        .await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(posted(&stage).get("messaging_account_id"), None);
    let path = |stage: &Stage| stage.platform.calls().pop().expect("a call").path;
    assert!(path(&stage).starts_with("/v26.0/"), "{}", path(&stage));

    let number = v1::Number {
        app: "old".to_owned(),
        messaging_account_id: WABA.to_owned(),
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(number).await;
    // The record takes a moment to be known; every message until then goes the former way.
    let body = casement_testkit::eventually("the record is known", async || {
        let sent = dispatcher.send(text(ANA, "Hi")).await;
        dispatcher.until_accepted(&sent.message_id).await;
        let body = posted(&stage);
        if body["messaging_account_id"] == WABA {
            Ok(body)
        } else {
            Err(body.to_string())
        }
    })
    .await;
    assert_eq!(body["text"]["body"], "Hi");
    assert!(path(&stage).starts_with("/v24.0/"), "{}", path(&stage));

    // The request's own goes first; the platform knows no such account of this number.
    let other = api::SendMessageRequest {
        messaging_account_id: "4711".to_owned(),
        ..text(ANA, "Hi")
    };
    let sent = dispatcher.send(other).await;
    let failed = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(failed.attempts[0].error.as_ref().unwrap().code, 100);
}

#[tokio::test]
async fn a_message_is_marked_as_read_at_once_and_nothing_is_stored() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let before = stage.count(stream::MESSAGES).await;
    let mark = |typing| api::MarkAsReadRequest {
        number: NUMBER.to_owned(),
        provider_message_id: "wamid.theirs".to_owned(),
        typing,
    };
    dispatcher.try_mark("default", mark(false)).await.unwrap();
    dispatcher.try_mark("default", mark(true)).await.unwrap();
    let marks: Vec<_> = stage
        .platform
        .read_marks()
        .into_iter()
        .map(|mark| (mark.message_id, mark.typing))
        .collect();
    let theirs = || "wamid.theirs".to_owned();
    assert_eq!(marks, [(theirs(), false), (theirs(), true)]);
    assert_eq!(stage.count(stream::MESSAGES).await, before);

    let nonsense = api::MarkAsReadRequest {
        number: "hello".to_owned(),
        provider_message_id: "7".to_owned(),
        typing: false,
    };
    let refusal = dispatcher.try_mark("default", nonsense).await.unwrap_err();
    assert_eq!(fields(&refusal), ["provider_message_id", "number"]);
    let refusal = dispatcher
        .try_mark("reader", mark(false))
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    let refusal = dispatcher.try_mark("other", mark(false)).await.unwrap_err();
    assert_eq!(reason(&refusal).as_deref(), Some("NUMBER_UNKNOWN"));

    std::fs::write(stage.folder.path().join("meta"), "revoked").unwrap();
    let refusal = dispatcher
        .try_mark("default", mark(false))
        .await
        .unwrap_err();
    assert_eq!(reason(&refusal).as_deref(), Some("PROVIDER_REFUSED"));
    std::fs::remove_file(stage.folder.path().join("meta")).unwrap();
    let refusal = dispatcher
        .try_mark("default", mark(false))
        .await
        .unwrap_err();
    assert_eq!(reason(&refusal).as_deref(), Some("NUMBER_TOKEN_MISSING"));
    assert_eq!(stage.platform.read_marks().len(), 2);
}

#[tokio::test]
async fn an_uploaded_file_is_sent_by_its_number() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let bytes = vec![7; 3_000_000];
    let uploaded = dispatcher.try_upload(NUMBER, "image/jpeg", &bytes, 0).await;
    let uploaded = uploaded.unwrap();
    let by_id = |id: &str| {
        saying(Said::Image(v1::Attachment {
            source: Some(v1::attachment::Source::UploadId(id.to_owned())),
            caption: "Aloe".to_owned(),
            ..v1::Attachment::default()
        }))
    };
    let sent = dispatcher.send(by_id(&uploaded.upload_id)).await;
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(
        posted(&stage)["image"],
        json!({"id": uploaded.provider_media_id, "caption": "Aloe"})
    );

    let foreign = uploaded.upload_id.replacen("up-", "up-9", 1);
    let mut late = by_id(&uploaded.upload_id);
    let in_29_days = stage.now() + jiff::SignedDuration::from_hours(29 * 24);
    late.send_time = Some(casement_event::convert::timestamp(in_29_days));
    dispatcher.send(late.clone()).await;
    let stale = uploaded.upload_id.split('-').collect::<Vec<_>>();
    let stale = format!("up-{}-{}-{}", stale[1], in_29_days.as_second(), stale[3]);
    late.content = by_id(&stale).content;
    for request in [by_id(&foreign), by_id("4711"), late] {
        let refusal = dispatcher.try_send(request).await.unwrap_err();
        assert_eq!(fields(&refusal), ["content.free_form.image.upload_id"]);
    }
}

#[tokio::test]
async fn a_file_that_the_platform_would_not_take_is_refused_before_its_first_byte() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let upload = |mime_type: &'static str, bytes: &'static [u8], more: i64| {
        dispatcher.try_upload(NUMBER, mime_type, bytes, more)
    };
    for (mime_type, more, field) in [
        ("image/gif", 0, "file.mime_type"),
        ("image/webp", 500 * 1024, "file.size_bytes"),
        ("image/jpeg", -5, "file.size_bytes"),
        // Only then it is read.
        ("image/jpeg", 1, "chunk"),
        ("image/jpeg", -1, "chunk"),
    ] {
        let refusal = upload(mime_type, b"hello", more).await.unwrap_err();
        assert_eq!(fields(&refusal), [field], "{mime_type} {more}");
    }
    let refusal = dispatcher
        .try_upload("hello", "image/jpeg", b"hello", 0)
        .await;
    assert_eq!(fields(&refusal.unwrap_err()), ["file.number"]);
    std::fs::write(stage.folder.path().join("meta"), "revoked").unwrap();
    let refusal = upload("image/jpeg", b"hello", 0).await.unwrap_err();
    assert_eq!(reason(&refusal).as_deref(), Some("PROVIDER_REFUSED"));
}
