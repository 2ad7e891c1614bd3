//! What stands in a customer's summary besides when they wrote: that they were answered, came from
//! an ad, got another user id.

use casement_domain::inbound::Summary;
use serde_json::{Value, json};

use crate::stage::{ONE, Stage, at, known, one_text, text, types, value, webhook};

const PHONE: &str = "15550009999";
const USER: &str = "US.1";

fn second(second: i64) -> String {
    at(second).as_second().to_string()
}

fn written(at: i64) -> Value {
    one_text(ONE, &text(&format!("wamid.{at}"), PHONE, USER, at))
}

fn written_from_ad(at: i64) -> Value {
    let mut message = text(&format!("wamid.{at}"), PHONE, USER, at);
    // An ad among WhatsApp statuses: the click has no id.
    message["referral"] = json!({"source_type": "ad", "source_id": "7", "headline": "Shoes"});
    one_text(ONE, &message)
}

fn echo(at: i64) -> Value {
    json!({"id": format!("wamid.echo.{at}"), "timestamp": second(at), "type": "text",
        "from": ONE.0, "to": PHONE, "to_user_id": USER, "text": {"body": "yes"}})
}

/// The business wrote from its phone.
fn answered_by_phone(at: i64) -> Value {
    webhook(&[(
        "smb_message_echoes",
        value(ONE, "message_echoes", json!([echo(at)])),
    )])
}

/// Another responder of a shared thread wrote.
fn answered_by_another(at: i64) -> Value {
    let nested = json!({"message_echoes": [echo(at)]});
    webhook(&[("standby", value(ONE, "standby", nested))])
}

/// The customer called at `at`, and who was there spoke with them for a minute.
fn called(at: i64, was_taken: bool) -> Value {
    let mut call = json!({"id": format!("wacid.{at}"), "event": "terminate",
        "timestamp": second(at + 70), "direction": "USER_INITIATED", "from": PHONE, "to": ONE.0,
        "status": "COMPLETED"});
    if was_taken {
        call["start_time"] = json!(second(at + 10));
        call["end_time"] = json!(second(at + 70));
    }
    webhook(&[("calls", value(ONE, "calls", json!([call])))])
}

async fn summary_of(posts: &[Value]) -> Summary {
    let stage = Stage::start().await;
    for post in posts {
        stage.take(post).await;
    }
    assert_eq!(stage.dead().await, []);
    let stored = stage.inbound(ONE.0).await;
    known(stored.last().unwrap()).summary
}

#[tokio::test]
async fn whoever_answers_elsewhere_answers_at_its_own_time() {
    for (post, answered) in [
        (answered_by_phone(20), Some(20)),
        (answered_by_another(30), Some(30)),
        (called(40, true), Some(110)),
        (called(40, false), None),
        (written(50), None),
    ] {
        let summary = summary_of(&[written(10), post.clone()]).await;
        assert_eq!(summary.answered_at, answered.map(at), "{post}");
        assert_eq!(summary.referred_at, None);
        assert_eq!(summary.user_id_changed_at, None);
    }
}

#[tokio::test]
async fn marks_stand_in_the_summary_alike_in_whatever_order_and_however_often_posts_come() {
    let posts = [
        written(10),
        answered_by_phone(20),
        written_from_ad(30),
        called(40, true),
        answered_by_another(60),
        written(200),
    ];
    let expected = summary_of(&posts).await;
    assert_eq!(expected.answered_at, Some(at(110)));
    assert_eq!(expected.referred_at, Some(at(30)));
    // The call counts from when it was taken.
    assert_eq!(expected.recent.times(), [10, 30, 50, 200].map(at));
    assert_eq!(expected.recent.since(), None);

    let without_receipt = |mut summary: Summary| {
        if let Some(last) = &mut summary.last_qualifying {
            last.received_at = last.at;
        }
        summary
    };
    let mut backwards = posts.to_vec();
    backwards.reverse();
    let mut twice = posts.to_vec();
    twice.rotate_left(3);
    twice.extend(posts.clone());
    for posts in [backwards, twice] {
        let found = summary_of(&posts).await;
        assert_eq!(
            without_receipt(found),
            without_receipt(expected.clone()),
            "{posts:?}"
        );
    }
}

#[tokio::test]
async fn a_changed_user_id_is_marked_and_a_number_that_kept_it_is_not() {
    let system = |now: &str| {
        let mut message = text("wamid.change", PHONE, USER, 20);
        message["type"] = json!("system");
        message["system"] =
            json!({"type": "user_changed_number", "wa_id": "15550008888", "user_id": now});
        one_text(ONE, &message)
    };
    let update = json!([{"user_id": {"previous": USER, "current": "US.2"},
        "timestamp": second(20)}]);
    let update = webhook(&[("user_id_update", value(ONE, "user_id_update", update))]);
    for (post, changed) in [
        (update, Some(at(20))),
        (system("US.2"), Some(at(20))),
        (system(USER), None),
    ] {
        let stage = Stage::start().await;
        stage.take(&written(10)).await;
        stage.take(&post).await;
        let stored = stage.inbound(ONE.0).await;
        assert_eq!(
            types(&stored),
            ["InboundMessageReceived", "CustomerIdentityChanged"]
        );
        let summary = known(&stored[1]).summary;
        assert_eq!(summary.user_id_changed_at, changed, "{post}");
        // Whatever follows from it, the customer did write.
        assert_eq!(summary.last_qualifying.unwrap().at, at(10));
    }
}

#[tokio::test]
async fn the_newest_times_are_kept_and_the_rest_is_known_to_be_missing() {
    let messages: Vec<Value> = (0..12)
        .map(|index| text(&format!("wamid.{index}"), PHONE, USER, index * 10))
        .collect();
    let post = webhook(&[("messages", value(ONE, "messages", json!(messages)))]);
    let summary = summary_of(&[post]).await;
    let newest: Vec<_> = (4..12).map(|index| at(index * 10)).collect();
    assert_eq!(summary.recent.times(), newest);
    assert_eq!(summary.recent.since(), Some(at(30)));
}
