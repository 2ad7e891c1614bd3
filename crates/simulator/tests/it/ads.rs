//! What is billed after a customer came from an ad.

use casement_simulator::{Device, FREE_ENTRY_POINT};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::{ANA, NUMBER, Stage, items, template_to, text};

/// The statuses of a message that is sent now, `sent` first.
async fn statuses_of(stage: &Stage, body: &Value) -> Vec<Value> {
    let before = stage.inbox.received().len();
    let (status, answer) = stage.send(body).await;
    assert_eq!(status, 200, "{answer}");
    let received = stage.received(before + 2).await;
    let statuses: Vec<Value> = received[before..]
        .iter()
        .flat_map(|post| items(&post.json(), "statuses"))
        .collect();
    assert_eq!(statuses[0]["status"], "sent");
    statuses
}

#[tokio::test]
async fn a_reply_to_a_customer_from_an_ad_makes_three_days_free() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage
        .handle
        .clicks(&ana, NUMBER, "Is this still to be had?", Device::Phone)
        .unwrap();
    let click = stage.received(1).await.remove(0);
    let message = items(&click.json(), "messages").remove(0);
    assert_eq!(message["referral"]["source_type"], "ad");
    assert_eq!(
        stage.handle.entry_point_ends_at(&ana, NUMBER).unwrap(),
        None
    );

    let replied_at = stage.clock.now();
    let statuses = statuses_of(&stage, &text(ANA, "It is")).await;

    let ends_at = stage.handle.entry_point_ends_at(&ana, NUMBER).unwrap();
    let ends_at = ends_at.unwrap();
    assert_eq!(
        ends_at.as_second(),
        (replied_at + FREE_ENTRY_POINT).as_second()
    );
    let (sent, delivered) = (&statuses[0], &statuses[1]);
    for status in [sent, delivered] {
        assert_eq!(
            status["pricing"],
            json!({
                "billable": false,
                "pricing_model": "PMP",
                "type": "free_entry_point",
                "category": "referral_conversion",
            })
        );
        assert_eq!(
            status["conversation"]["origin"]["type"],
            "referral_conversion"
        );
        assert_eq!(status["conversation"]["id"], sent["conversation"]["id"]);
    }
    let expires = &sent["conversation"]["expiration_timestamp"];
    assert_eq!(*expires, json!(ends_at.as_second().to_string()));
    assert!(
        delivered["conversation"]
            .get("expiration_timestamp")
            .is_none()
    );

    // The window has closed; what still may go out is free.
    stage.clock.advance(SignedDuration::from_hours(30));
    assert_eq!(stage.send(&text(ANA, "Still there?")).await.0, 400);
    let statuses = statuses_of(&stage, &template_to(ANA, "order_update", &["7"])).await;
    assert_eq!(statuses[0]["pricing"]["type"], "free_entry_point");

    stage.clock.advance(SignedDuration::from_hours(43));
    let statuses = statuses_of(&stage, &template_to(ANA, "order_update", &["7"])).await;
    assert_eq!(statuses[0]["pricing"]["type"], "regular");
}

#[tokio::test]
async fn a_customer_from_an_ad_at_a_desktop_is_billed_as_any() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage
        .handle
        .clicks(&ana, NUMBER, "Hello", Device::Desktop)
        .unwrap();
    stage.received(1).await;
    let statuses = statuses_of(&stage, &template_to(ANA, "order_update", &["7"])).await;
    assert_eq!(statuses[0]["pricing"]["type"], "regular");
    assert_eq!(statuses[0]["pricing"]["category"], "utility");
    assert!(statuses[0].get("conversation").is_none());
    assert_eq!(
        stage.handle.entry_point_ends_at(&ana, NUMBER).unwrap(),
        None
    );
}

#[tokio::test]
async fn a_reply_that_fails_makes_nothing_free() {
    let stage = Stage::set_with(|config| {
        config.refusal = casement_simulator::RefusalStyle::Async;
        config.window = SignedDuration::from_secs(1);
    })
    .await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage
        .handle
        .clicks(&ana, NUMBER, "Hello", Device::Phone)
        .unwrap();
    stage.clock.advance(SignedDuration::from_secs(2));
    assert_eq!(stage.send(&text(ANA, "Too late")).await.0, 200);
    stage.received(2).await;
    assert_eq!(
        stage.handle.entry_point_ends_at(&ana, NUMBER).unwrap(),
        None
    );
}
