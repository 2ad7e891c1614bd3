//! Colleagues handle conversations beside the traffic, and nothing of it reaches a provider.

use casement_proto::conversation::v1 as proto;
use casement_testkit::eventually;
use casement_tests::{Options, Role, Stack, free_form, template};

const CUSTOMER: &str = "+15550002222";

/// What every note of these tests says, and nothing else does.
const MARK: &str = "quokka-7f3a";

async fn conversation(
    clients: &casement_tests::Clients,
    customer_id: &str,
) -> Option<proto::Conversation> {
    let request = proto::GetConversationRequest {
        number: casement_tests::NUMBER.to_owned(),
        customer_id: customer_id.to_owned(),
        not_before: String::new(),
    };
    let answer = clients
        .conversations
        .clone()
        .get_conversation(request)
        .await;
    answer.ok()?.into_inner().conversation
}

/// Waits until a conversation stands so.
async fn standing(
    clients: &casement_tests::Clients,
    customer_id: &str,
    status: proto::ConversationStatus,
) -> proto::Conversation {
    eventually(
        &format!("the conversation is {status:?}"),
        async || match conversation(clients, customer_id).await {
            Some(found) if found.status() == status => Ok(found),
            other => Err(format!("{other:?}")),
        },
    )
    .await
}

fn note(customer_id: &str, text: &str) -> proto::AddNoteRequest {
    proto::AddNoteRequest {
        number: casement_tests::NUMBER.to_owned(),
        customer_id: customer_id.to_owned(),
        text: text.to_owned(),
        author: "ana".to_owned(),
        ..Default::default()
    }
}

async fn add(
    clients: &casement_tests::Clients,
    note: proto::AddNoteRequest,
) -> proto::AddNoteResponse {
    let answer = clients.conversations.clone().add_note(note).await;
    answer.expect("the note is taken").into_inner()
}

#[tokio::test]
async fn a_locked_conversation_is_handled_and_stands_by_its_template_and_its_customer() {
    let mut stack = Stack::with(Options {
        window_seconds: 6,
        ..Options::default()
    })
    .await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    let window = clients.open_window(CUSTOMER).await;
    let customer_id = window.customer_id;
    events.wait("WindowExpired", 1).await;
    standing(&clients, &customer_id, proto::ConversationStatus::Locked).await;

    // Locked or not: noted, assigned, closed.
    let text = format!("{MARK}: asks for @bo.\n/assign me\n/label refund");
    let added = add(&clients, note(&customer_id, &text)).await;
    assert_eq!(added.note.unwrap().mentions, ["bo"]);
    let close = proto::CloseRequest {
        number: casement_tests::NUMBER.to_owned(),
        customer_id: customer_id.clone(),
        author: "ana".to_owned(),
        ..Default::default()
    };
    let closed = clients.conversations.clone().close(close).await.unwrap();
    let closed = closed.into_inner().conversation.unwrap();
    assert!(closed.closed && closed.assignee == "ana", "{closed:?}");
    events.wait("NoteAdded", 1).await;
    events.wait("ConversationClosed", 1).await;

    // A template asks the customer to write.
    let sent = clients
        .send(CUSTOMER, template("Hi!", "order_update", "7"))
        .await;
    clients.ended(&sent.unwrap().message_id).await;
    let awaiting = standing(
        &clients,
        &customer_id,
        proto::ConversationStatus::AwaitingReply,
    )
    .await;
    assert!(awaiting.closed, "what we send does not reopen it");
    let list = proto::ListConversationsRequest {
        statuses: vec![proto::ConversationStatus::AwaitingReply.into()],
        assignee: "ana".to_owned(),
        closed: Some(true),
        labels: vec!["refund".to_owned()],
        ..Default::default()
    };
    let listed = clients.conversations.clone().list_conversations(list).await;
    assert_eq!(listed.unwrap().into_inner().conversations.len(), 1);

    // All of it outlives its role, and an archive that is lost.
    stack.process(Role::AuditProjector, 0).terminate();
    stack.process(Role::AuditProjector, 0).wait().await;
    let archive = stack.archive();
    for end in ["", "-wal", "-shm"] {
        let mut path = archive.clone().into_os_string();
        path.push(end);
        let removed = tokio::fs::remove_file(&path).await;
        assert!(!end.is_empty() || removed.is_ok(), "{removed:?}");
    }
    stack.start_role(Role::AuditProjector, 0).await;
    let clients = stack.clients();
    let known = eventually("the archive is made anew", async || {
        conversation(&clients, &customer_id)
            .await
            .filter(|known| known.closed && known.last_template_time.is_some())
    })
    .await;
    assert_eq!(known.status(), proto::ConversationStatus::AwaitingReply);
    assert_eq!((known.assignee.as_str(), known.note_count), ("ana", 1));
    assert_eq!(known.labels, ["refund"]);
    let list = proto::ListMentionsRequest {
        colleague: "bo".to_owned(),
        ..Default::default()
    };
    let mentions = clients.conversations.clone().list_mentions(list).await;
    assert_eq!(mentions.unwrap().into_inner().notes.len(), 1);

    // And the customer writes.
    stack.says(&customer, "Here I am");
    let open = standing(&clients, &customer_id, proto::ConversationStatus::Open).await;
    assert!(
        !open.closed && open.unread && open.assignee == "ana",
        "{open:?}"
    );
    stack.stop().await;
}

#[tokio::test]
async fn nothing_of_a_note_is_in_anything_that_a_provider_gets() {
    let stack = Stack::start().await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    let customer_id = clients.open_window(CUSTOMER).await.customer_id;
    standing(&clients, &customer_id, proto::ConversationStatus::Open).await;

    let mut ids = Vec::new();
    for round in 0..5 {
        let text = format!("{MARK} {round}: never tell the customer.\n/label {MARK}-{round}");
        let noting = add(&clients, note(&customer_id, &text));
        let content = match round % 2 {
            0 => free_form(&format!("answer {round}")),
            _ => template("Hi!", "order_update", "7"),
        };
        let sending = clients.send(CUSTOMER, content);
        let (_, sent) = tokio::join!(noting, sending);
        ids.push(sent.unwrap().message_id);
    }
    for id in &ids {
        clients.ended(id).await;
    }
    events.wait("NoteAdded", 5).await;

    let got = serde_json::json!({
        "sent": stack.simulator.sent(),
        "calls": stack.simulator.calls(),
        "read": stack.simulator.read_marks(),
    });
    let got = got.to_string();
    // Had it been there, it would have been found: so are the answers.
    assert!(
        got.contains("answer 0") && got.contains("answer 4"),
        "{got}"
    );
    assert!(!got.contains(MARK), "{got}");
    for heard in events.all("NoteAdded") {
        assert!(!heard.subject.contains(MARK), "{}", heard.subject);
    }
    stack.stop().await;
}
