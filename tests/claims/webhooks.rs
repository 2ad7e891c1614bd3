//! Webhooks: duplicate, late, reordered, and never lost once answered.

use std::collections::BTreeSet;

use casement_simulator::{Fault, FaultSpec, Reordering};
use casement_testkit::eventually;
use casement_tests::{PHONE_NUMBER_ID, Stack, WABA};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const CUSTOMER: &str = "+15550002222";

fn post(wamid: &str, second: i64) -> Vec<u8> {
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": WABA, "changes": [{ "field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550001111", "phone_number_id": PHONE_NUMBER_ID },
            "contacts": [{ "profile": { "name": "Customer" }, "wa_id": "15550002222" }],
            "messages": [{
                "from": "15550002222", "id": wamid, "timestamp": second.to_string(),
                "type": "text", "text": { "body": "Hello" },
            }],
        }}]}],
    });
    serde_json::to_vec(&body).expect("JSON made of text")
}

fn now() -> Timestamp {
    use casement_shell::clock::Clock as _;
    casement_shell::SystemClock::new().now()
}

#[tokio::test]
async fn duplicate_late_and_reordered_webhooks_change_nothing() {
    let stack = Stack::start().await;
    let (events, clients) = (stack.events().await, stack.clients());
    let start = now().as_second();
    // In order, then again from the last to the first, then each twice more.
    let seconds: Vec<i64> = (0..6).map(|step| start - 600 + step * 100).collect();
    let bodies: Vec<_> = seconds
        .iter()
        .map(|second| post(&format!("wamid.{second}"), *second))
        .collect();
    for body in bodies
        .iter()
        .chain(bodies.iter().rev())
        .chain(&bodies)
        .chain(&bodies)
    {
        assert_eq!(stack.post(body).await, Some(200));
    }
    // A last one of another customer marks the end.
    let marker = stack.customer("+15550003333");
    stack.says(&marker, "done");
    eventually("the last one is in", async || {
        events.all("InboundMessageReceived").len() >= 7
    })
    .await;

    let facts = events.all("InboundMessageReceived");
    let ids: BTreeSet<_> = facts.iter().map(|fact| fact.id.clone()).collect();
    assert_eq!((facts.len(), ids.len()), (7, 7), "each message is one fact");
    let window = clients.open_window(CUSTOMER).await;
    let last = seconds.last().unwrap();
    assert_eq!(window.last_inbound_time.unwrap().seconds, *last);
    assert_eq!(window.expire_time.unwrap().seconds, last + 3600);
    assert_eq!(events.all("WindowOpened").len(), 2, "one for each customer");
    stack.stop().await;
}

#[tokio::test]
async fn the_window_is_the_same_whatever_the_order_of_the_webhooks() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    stack
        .simulator
        .inject(FaultSpec::from(Fault::ReorderWebhooks {
            hold: 5,
            order: Reordering::Reversed,
        }));
    stack
        .simulator
        .inject(FaultSpec::from(Fault::DuplicateWebhooks { copies: 1 }));
    let customer = stack.customer(CUSTOMER);
    let at = now();
    for step in 0..5 {
        let when = at - SignedDuration::from_secs(500 - step * 100);
        stack
            .simulator
            .says_at(&customer, PHONE_NUMBER_ID, "Hello", when)
            .unwrap();
    }

    let last = (at - SignedDuration::from_secs(100)).as_second();
    eventually(
        "the window ends an hour after the last message",
        async || {
            let window = clients
                .window(CUSTOMER)
                .await
                .map_err(|status| status.to_string())?;
            let end = window.expire_time.map(|end| end.seconds);
            if end == Some(last + 3600) {
                Ok(())
            } else {
                Err(format!("it ends at {end:?}"))
            }
        },
    )
    .await;
    stack.stop().await;
}

#[tokio::test]
async fn a_killed_broker_loses_nothing_that_got_its_200() {
    let mut stack = Stack::start().await;
    let start = now().as_second();
    let mut answered = BTreeSet::new();
    for batch in 0..12 {
        let posts = (0..10).map(|one| {
            let step = batch * 10 + one;
            let (poster, wamid) = (stack.poster(), format!("wamid.{step}"));
            let body = post(&wamid, start - 1000 + step);
            tokio::spawn(async move { (wamid, poster.post(&body).await) })
        });
        let posts: Vec<_> = posts.collect();
        // In the middle the broker dies with posts on their way, and comes back.
        if batch == 5 {
            stack.restart_broker().await;
        }
        for outcome in futures::future::join_all(posts).await {
            match outcome.unwrap() {
                (wamid, Some(200)) => assert!(answered.insert(wamid)),
                (_, Some(503)) => {}
                (_, other) => panic!("answered {other:?}"),
            }
        }
    }
    assert!(answered.len() >= 100, "only {} answered", answered.len());

    let client = stack.nats.client().await;
    let facts = eventually("every answered post is a fact", async || {
        let facts = wamids(&client).await.map_err(|error| error.to_string())?;
        let missing = answered.difference(&facts).count();
        if missing == 0 {
            Ok(facts)
        } else {
            Err(format!("{missing} of {} missing", answered.len()))
        }
    })
    .await;
    assert!(facts.len() <= 120);
    stack.stop().await;
}

/// Returns the ids of all messages on the log, and fails if one stands there twice.
async fn wamids(client: &async_nats::Client) -> anyhow::Result<BTreeSet<String>> {
    use futures::StreamExt as _;
    let context = async_nats::jetstream::new(client.clone());
    let stream = context.get_stream("EVENTS").await?;
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config {
            filter_subject: "casement.events.inbound.>".to_owned(),
            ack_policy: async_nats::jetstream::consumer::AckPolicy::None,
            ..Default::default()
        })
        .await?;
    let mut messages = consumer.fetch().max_messages(1_000).messages().await?;
    let mut seen = BTreeSet::new();
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| anyhow::anyhow!(error))?;
        let event_type = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("ce-type"));
        let event = casement_event::Event::decode(
            event_type.map_or("", |value| value.as_str()),
            &message.payload,
        )?;
        if let casement_event::Event::InboundMessageReceived(fact) = event {
            let id = fact.provider_message_id;
            anyhow::ensure!(seen.insert(id.clone()), "{id} stands on the log twice");
        }
    }
    Ok(seen)
}
