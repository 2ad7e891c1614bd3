//! Items for numbers that no account knows yet.

use casement_event::Event;
use casement_testkit::eventually;
use serde_json::json;

use crate::stage::{ONE, Stage, at, known, message, text, types, value, webhook};

const LATER: (&str, &str) = ("15550003333", "333");

#[tokio::test]
async fn an_item_for_an_unknown_number_is_parked_alone_and_replayed_when_the_account_comes() {
    let stage = Stage::start().await;
    let mut later = value(
        LATER,
        "messages",
        json!([
            text("wamid.1", "", "US.1", 0),
            text("wamid.2", "", "US.2", 1)
        ]),
    );
    later["contacts"] = json!([
        {"user_id": "US.1", "wa_id": "15550009999", "profile": {"name": "Ada"}},
        {"user_id": "US.2", "profile": {"name": "Bea"}},
    ]);
    let known_now = value(ONE, "messages", json!([text("wamid.3", "", "US.1", 2)]));
    let post = webhook(&[("messages", later), ("messages", known_now)]);
    stage.take(&post).await;

    assert_eq!(stage.inbound(ONE.0).await.len(), 1, "the sibling went on");
    assert!(stage.inbound(LATER.0).await.is_empty());
    assert!(stage.dead().await.is_empty());
    let parked = stage
        .all("ACCOUNTS", "casement.accounts.reported.parked.333")
        .await;
    assert_eq!(types(&parked), ["WebhookParked", "WebhookParked"]);
    let Event::WebhookParked(event) = parked[0].event().unwrap() else {
        panic!("{}", parked[0].event_type())
    };
    assert_eq!(event.phone_number_id, "333");
    assert_eq!(event.app, "default");

    stage.add_number(LATER.0, LATER.1).await;
    eventually("both are replayed", async || {
        stage.inbound(LATER.0).await.len() == 2
    })
    .await;
    let stored = stage.inbound(LATER.0).await;
    let first = message(&stored[0]);
    assert_eq!(first.profile_name, "Ada");
    assert_eq!(
        known(&stored[0])
            .summary
            .addresses()
            .phone
            .unwrap()
            .digits(),
        "15550009999",
        "what the contacts said was kept"
    );
    let origin = first.origin.unwrap();
    assert_eq!(
        (origin.sequence, origin.path.as_str()),
        (1, "entry[0].changes[0].value.messages[0]")
    );

    // The platform repeats the post after the account has come.
    stage.take(&post).await;
    assert_eq!(stage.inbound(LATER.0).await.len(), 2);
    let times: Vec<_> = stored.iter().map(casement_event::Stored::time).collect();
    assert_eq!(times, [Some(at(0)), Some(at(1))]);
}

#[tokio::test]
async fn an_odd_number_id_is_parked_under_a_safe_token() {
    let stage = Stage::start().await;
    let odd = ("15550003333", "<BUSINESS_PHONE_NUMBER_ID>");
    let content = value(odd, "messages", json!([text("wamid.1", "", "US.1", 0)]));
    stage.take(&webhook(&[("messages", content)])).await;
    let parked = stage
        .all("ACCOUNTS", "casement.accounts.reported.parked.h")
        .await;
    assert_eq!(parked.len(), 1);
    stage.add_number(odd.0, odd.1).await;
    eventually("it is replayed", async || {
        stage.inbound(odd.0).await.len() == 1
    })
    .await;
}
