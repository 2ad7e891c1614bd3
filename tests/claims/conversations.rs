//! Conversations are listed, searched and watched, and read models are made anew, beside traffic.

use std::collections::BTreeSet;

use casement_proto::audit::v1 as audit;
use casement_proto::conversation::v1 as proto;
use casement_proto::message::v1 as message;
use casement_testkit::eventually;
use casement_tests::{Clients, Role, Stack, free_form};

const CUSTOMER: &str = "+15550002222";

async fn found(clients: &Clients, query: &str) -> Vec<proto::SearchResult> {
    let request = proto::SearchRequest {
        query: query.to_owned(),
        ..Default::default()
    };
    let answer = clients.conversations.clone().search(request).await;
    answer.expect("a search is answered").into_inner().results
}

/// Waits until a search finds so many.
async fn until_found(clients: &Clients, query: &str, count: usize) -> Vec<proto::SearchResult> {
    eventually(&format!("{query} is found {count} times"), async || {
        let results = found(clients, query).await;
        if results.len() == count {
            Ok(results)
        } else {
            Err(format!("{results:?}"))
        }
    })
    .await
}

async fn state(clients: &Clients) -> audit::ReadModels {
    let request = audit::GetReadModelsRequest {};
    let answer = clients.audit.clone().get_read_models(request).await;
    let answer = answer.expect("read models are told of").into_inner();
    answer.read_models.expect("an answer has them")
}

#[tokio::test]
async fn what_is_said_is_found_shown_and_told_of_and_outlives_a_rebuild_that_is_killed() {
    let mut stack = Stack::start().await;
    let clients = stack.clients();
    let watch = proto::WatchConversationsRequest::default();
    let mut conversations = clients.conversations.clone();
    let watch = conversations.watch_conversations(watch).await;
    let mut watch = watch.unwrap().into_inner();

    let customer = stack.customer(CUSTOMER);
    let wamid = stack.says(&customer, "Where is my café order?");
    let window = clients.open_window(CUSTOMER).await;
    let sent = clients
        .send(CUSTOMER, free_form("Your order is on its way"))
        .await;
    let sent = clients.ended(&sent.unwrap().message_id).await;

    // Found, whoever said it, newest first.
    let results = until_found(&clients, "order", 2).await;
    assert_eq!(results[0].direction(), proto::Direction::Outbound);
    assert_eq!(results[0].message_id, sent.message_id);
    let inbound = until_found(&clients, "\"my cafe\"", 1).await.remove(0);
    assert_eq!(inbound.snippet, "Where is my café order?");
    assert_eq!(inbound.customer_id, window.customer_id);
    assert_eq!(found(&clients, "\"order cafe\"").await, []);

    // Told of, up to the reply.
    let told = async {
        while let Some(answer) = watch.message().await.unwrap() {
            let conversation = answer.conversation.unwrap_or_default();
            let recent = conversation.recent_messages;
            if recent
                .iter()
                .any(|one| one.text == "Your order is on its way")
            {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), told)
        .await
        .expect("the reply is told of");

    // Found by whatever somebody has in hand, down to the post.
    let find = async |id: &str| {
        let request = message::FindMessageRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = clients.message_queries.clone().find_message(request).await;
        answer.unwrap().into_inner()
    };
    let attempt = &sent.attempts[0];
    for id in [
        sent.message_id.clone(),
        attempt.provider_message_id.clone(),
        format!("{}.{}", sent.message_id, attempt.number),
    ] {
        let by = find(&id).await;
        let by = by.messages.first().and_then(|one| one.message.as_ref());
        assert_eq!(
            by.map(|one| &one.message_id),
            Some(&sent.message_id),
            "{id}"
        );
    }
    let fact = find(&wamid).await.facts.remove(0);
    let request = message::GetRawWebhookRequest {
        position: fact.webhook.unwrap().position,
    };
    let post = clients
        .message_queries
        .clone()
        .get_raw_webhook(request)
        .await;
    let post = String::from_utf8(post.unwrap().into_inner().body).unwrap();
    assert!(
        post.contains(&wamid) && post.contains("Where is my"),
        "{post}"
    );

    // Made anew, killed in between, and served all the while.
    for _ in 0..3 {
        let request = audit::RebuildReadModelsRequest {};
        let asked = clients.audit.clone().rebuild_read_models(request).await;
        let wish = asked.unwrap().into_inner().wish;
        stack.kill9(Role::AuditProjector, 0);
        stack.start_role(Role::AuditProjector, 0).await;
        let clients = stack.clients();
        eventually("new read models are served", async || {
            let state = state(&clients).await;
            let is_done = state.served_wish >= wish && state.building.is_empty();
            is_done.then_some(()).ok_or(format!("{state:?}"))
        })
        .await;
        assert_eq!(found(&clients, "order").await.len(), 2);
    }
    stack.stop().await;
}

#[tokio::test]
async fn every_conversation_is_on_one_page_while_customers_write() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customers: Vec<_> = (10..22)
        .map(|one| stack.customer(&format!("+155500033{one}")))
        .collect();
    for customer in &customers {
        stack.says(customer, "Hello");
    }
    let list = async |token: &str, page_size| {
        let request = proto::ListConversationsRequest {
            order_by: "heard_time desc".to_owned(),
            page_size,
            page_token: token.to_owned(),
            ..Default::default()
        };
        let answer = clients
            .conversations
            .clone()
            .list_conversations(request)
            .await;
        answer.unwrap().into_inner()
    };
    eventually("all are there", async || {
        let listed = list("", 500).await.conversations.len();
        (listed == customers.len()).then_some(()).ok_or(listed)
    })
    .await;
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let page = list(&token, 3).await;
        seen.extend(page.conversations.into_iter().map(|one| one.customer_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        // All of them move to the front.
        let before = list("", 1).await.conversations.remove(0).heard_time;
        for customer in &customers {
            stack.says(customer, "Still there?");
        }
        eventually("they have moved", async || {
            let now = list("", 1).await.conversations.remove(0).heard_time;
            (now != before).then_some(()).ok_or("they have not")
        })
        .await;
    }
    let once: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), once.len()), (customers.len(), customers.len()));
    stack.stop().await;
}
