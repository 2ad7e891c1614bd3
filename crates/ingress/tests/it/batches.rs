//! The largest posts that Meta announces: a thousand updates, three megabytes.

use std::collections::BTreeSet;

use casement_event::Event;
use serde_json::{Value, json};

use crate::stage::{ONE, Stage, TWO, at, message, types, value};

/// Meta: up to 1,000 updates in a post, of up to 3 MB.
const UPDATES: usize = 1_000;
const BYTES: usize = 3_000_000;

/// A number of another account, and of nobody yet.
const NOBODYS: (&str, &str) = ("15550003333", "333");

fn number_of(index: usize) -> (&'static str, &'static str) {
    [ONE, TWO, NOBODYS][index % 3]
}

/// The text is as long as it takes to fill the post.
fn update(index: usize, filling: &str) -> Value {
    json!({"id": format!("wamid.{index}"), "timestamp": at(i64::try_from(index).unwrap()).as_second().to_string(),
        "from": format!("49155{:07}", index % 40), "type": "text", "text": {"body": filling}})
}

/// Entries of several accounts, each with changes for several numbers, each with several updates.
fn post(filling: &str) -> Value {
    let updates: Vec<usize> = (0..UPDATES).collect();
    let entries: Vec<Value> = updates
        .chunks(90)
        .enumerate()
        .map(|(entry, updates)| {
            let changes: Vec<Value> = updates
                .chunk_by(|a, b| a / 7 == b / 7)
                .flat_map(|updates| (0..3).map(move |rest| (updates, rest)))
                .map(|(updates, rest)| {
                    let of_number = updates.iter().copied().filter(|index| index % 3 == rest);
                    let messages: Vec<Value> =
                        of_number.map(|index| update(index, filling)).collect();
                    json!({"field": "messages",
                        "value": value(number_of(rest), "messages", Value::Array(messages))})
                })
                .collect();
            json!({"id": format!("waba{}", entry % 4), "changes": changes})
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": entries})
}

#[tokio::test]
async fn a_thousand_updates_of_three_megabytes_each_land_on_the_number_of_their_own() {
    let stage = Stage::start().await;
    let room = BYTES - post("").to_string().len();
    let body = post(&"x".repeat(room / UPDATES));
    let len = body.to_string().len();
    assert!((BYTES - UPDATES..=BYTES).contains(&len), "{len} bytes");
    stage.take(&body).await;

    assert_eq!(stage.dead().await, []);
    let ids = |number: usize| -> BTreeSet<String> {
        let of_number = (0..UPDATES).filter(|index| index % 3 == number);
        of_number.map(|index| format!("wamid.{index}")).collect()
    };
    for (number, (digits, _)) in [ONE, TWO].into_iter().enumerate() {
        let stored = stage.inbound(digits).await;
        let found: BTreeSet<String> = stored
            .iter()
            .map(|one| message(one).provider_message_id)
            .collect();
        assert_eq!(found, ids(number), "{digits}");
        assert_eq!(stored.len(), found.len(), "each once");
    }
    let parked = stage
        .all("ACCOUNTS", "casement.accounts.reported.parked.333")
        .await;
    assert_eq!(parked.len(), ids(2).len(), "{:?}", types(&parked).first());
    for one in &parked {
        let Event::WebhookParked(event) = one.event().unwrap() else {
            panic!("{}", one.event_type())
        };
        assert_eq!(event.phone_number_id, NOBODYS.1);
    }
}
