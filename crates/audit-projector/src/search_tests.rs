//! Lists, search and watches, asked of the service directly.

use std::collections::BTreeSet;
use std::time::Duration;

use casement_event::{Event, v1};
use casement_proto::conversation::v1 as proto;
use casement_proto::conversation::v1::conversation_service_server::ConversationService as _;
use casement_shell::auth::{Caller, Scope};
use casement_shell::grpc::reason;
use casement_shell::grpc::watch::Limits;
use futures::StreamExt as _;
use jiff::SignedDuration;
use tonic::{Code, Request};

use crate::batch::Batch;
use crate::chain::Head;
use crate::fixture;
use crate::progress::Reached;
use crate::service_tests::{Services, by, services};

const NUMBER: &str = "+15550001111";

#[expect(clippy::unnecessary_wraps, reason = "as events have it")]
fn conversation(customer: &str, brand: &str) -> Option<v1::Conversation> {
    Some(v1::Conversation {
        customer_id: customer.to_owned(),
        brand_id: brand.to_owned(),
        ..fixture::conversation()
    })
}

fn wrote(customer: &str, brand: &str, text: &str) -> Event {
    v1::InboundMessageReceived {
        conversation: conversation(customer, brand),
        kind: "text".to_owned(),
        text: text.to_owned(),
        ..Default::default()
    }
    .into()
}

fn noted(customer: &str, text: &str) -> Event {
    v1::NoteAdded {
        conversation: conversation(customer, "default"),
        text: text.to_owned(),
        ..Default::default()
    }
    .into()
}

fn asked<T>(message: T) -> Request<T> {
    by(&Caller::internal("test", "default"), message)
}

/// With fewer scopes.
fn reading<T>(message: T) -> Request<T> {
    let mut caller = Caller::internal("test", "default");
    caller.scopes = BTreeSet::from([Scope::Read]);
    by(&caller, message)
}

impl Services {
    async fn found(&self, request: proto::SearchRequest) -> Vec<String> {
        let answer = self.conversations.search(asked(request)).await.unwrap();
        let results = answer.into_inner().results;
        results.into_iter().map(|result| result.snippet).collect()
    }

    /// Archives one more event.
    async fn archive(&self, event: &Event) {
        let store = &self.conversations.backend.store;
        let head = store.head("EVENTS", "1a").await.unwrap();
        let head = head.unwrap_or_else(|| Head::start("EVENTS", "1a"));
        let sequence = head.last_sequence + 1;
        let events = vec![fixture::record("EVENTS", sequence, event)];
        let batch = Batch::seal(head, events, rand::random);
        store.append(&batch).await.unwrap();
        self.reached(sequence);
    }

    /// Says how far `EVENTS` is archived, and that nothing else is on the log.
    fn reached(&self, sequence: u64) {
        for (stream, teller) in &self.tellers {
            teller.send_replace(Some(Reached {
                incarnation: "1a".to_owned(),
                sequence: if *stream == "EVENTS" { sequence } else { 0 },
            }));
        }
    }
}

fn search(query: &str) -> proto::SearchRequest {
    proto::SearchRequest {
        query: query.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn phrases_are_told_from_words_and_notes_are_for_colleagues() {
    let services = services([
        wrote("c1", "default", "where is my order"),
        wrote("c2", "default", "order number seven is my first"),
        noted("c1", "my order of things"),
        wrote("c3", "other", "my order"),
    ])
    .await;
    let all = services.found(search("my order")).await;
    assert_eq!(
        all,
        [
            "my order of things",
            "order number seven is my first",
            "where is my order"
        ]
    );
    let phrase = services.found(search("\"my order\"")).await;
    assert_eq!(phrase, ["my order of things", "where is my order"]);

    let api = &services.conversations;
    let without = api.search(reading(search("\"my order\""))).await.unwrap();
    let without = without.into_inner().results;
    assert_eq!(without.len(), 1, "no notes without the scope");
    assert_eq!(without[0].marks.len(), 1);
    assert_eq!(
        (without[0].marks[0].start, without[0].marks[0].end),
        (9, 17)
    );
    let notes = proto::SearchRequest {
        directions: vec![proto::Direction::Note.into()],
        ..search("order")
    };
    assert_eq!(services.found(notes.clone()).await.len(), 1);
    let refused = api.search(reading(notes)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for wrong in ["", "\"\"", &"a ".repeat(33), &"a".repeat(513)] {
        let refused = api.search(asked(search(wrong))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}");
    }
}

#[tokio::test]
async fn pages_of_a_search_go_on_also_where_phrases_are_rare() {
    let mut events = Vec::new();
    for round in 0..260 {
        let text = if round % 50 == 0 {
            format!("blue shoes {round}")
        } else {
            format!("shoes so blue {round}")
        };
        events.push(wrote("c1", "default", &text));
    }
    let services = services(events).await;
    let (mut token, mut found, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let request = proto::SearchRequest {
            page_size: 2,
            page_token: token,
            ..search("\"blue shoes\"")
        };
        let page = services.conversations.search(asked(request)).await.unwrap();
        let page = page.into_inner();
        found.extend(page.results.into_iter().map(|result| result.snippet));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let expected = [250, 200, 150, 100, 50, 0].map(|round| format!("blue shoes {round}"));
    assert_eq!(found, expected);
    assert!(pages >= 3);
}

#[tokio::test]
async fn a_page_token_of_a_list_holds_for_a_while() {
    let services = services([wrote("c1", "default", "one"), wrote("c2", "default", "two")]).await;
    services.reached(2);
    let list = async |token: &str| {
        let request = proto::ListConversationsRequest {
            order_by: "heard_time desc".to_owned(),
            page_size: 1,
            page_token: token.to_owned(),
            ..Default::default()
        };
        let answer = services
            .conversations
            .list_conversations(asked(request))
            .await;
        answer.map(tonic::Response::into_inner)
    };
    let first = list("").await.unwrap();
    assert_eq!(first.conversations[0].customer_id, "c2");
    assert_eq!(first.conversations[0].recent_messages[0].text, "two");
    // The other moves to the front, and is on the second page all the same.
    services.archive(&wrote("c1", "default", "again")).await;
    let second = list(&first.next_page_token).await.unwrap();
    assert_eq!(second.conversations[0].customer_id, "c1");
    assert_eq!(second.conversations[0].unread_count, 2, "as it is by now");
    assert_eq!(second.next_page_token, "");
    services.clock.advance(SignedDuration::from_mins(16));
    let late = list(&first.next_page_token).await.unwrap_err();
    assert_eq!(reason(&late).as_deref(), Some("PAGE_TOKEN_EXPIRED"));
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_and_tells_what_a_caller_may_see() {
    let services = services([wrote("c1", "default", "before")]).await;
    services.reached(1);
    let watch = async |after: &str| {
        let request = proto::WatchConversationsRequest {
            after_position: after.to_owned(),
            ..Default::default()
        };
        let answers = services
            .conversations
            .watch_conversations(asked(request))
            .await;
        answers.map(tonic::Response::into_inner)
    };
    let mut now = watch("").await.unwrap();
    let first = now.next().await.unwrap().unwrap();
    assert_eq!(first.conversation, None);
    assert_eq!(
        now.next().await.unwrap().unwrap().conversation,
        None,
        "caught up"
    );
    services.archive(&wrote("c9", "other", "not theirs")).await;
    services.archive(&wrote("c1", "default", "told")).await;
    let told = now.next().await.unwrap().unwrap();
    let conversation = told.conversation.unwrap();
    assert_eq!(conversation.number, NUMBER);
    assert_eq!(conversation.last_inbound_text, "told");
    drop(now);

    // What came meanwhile is told after where it was.
    services.archive(&wrote("c2", "default", "meanwhile")).await;
    for after in [told.position.as_str(), "EVENTS~1a~3"] {
        let mut resumed = watch(after).await.unwrap();
        assert_eq!(resumed.next().await.unwrap().unwrap().conversation, None);
        let told = resumed.next().await.unwrap().unwrap();
        assert_eq!(told.conversation.unwrap().customer_id, "c2", "{after}");
    }
    for (after, code) in [
        ("nonsense", Code::InvalidArgument),
        ("CUSTOMERS~1a~1", Code::InvalidArgument),
        ("EVENTS~1b~1", Code::OutOfRange),
    ] {
        assert_eq!(watch(after).await.err().unwrap().code(), code, "{after}");
    }
}

#[tokio::test]
async fn who_does_not_read_is_told_where_to_resume() {
    let mut services = services([wrote("c1", "default", "before")]).await;
    services.reached(1);
    services.conversations = services.conversations.clone().with_limits(Limits {
        buffer_len: 1,
        patience: Duration::from_millis(50),
    });
    let request = proto::WatchConversationsRequest {
        after_position: "EVENTS~1a~0".to_owned(),
        ..Default::default()
    };
    let watch = services
        .conversations
        .watch_conversations(asked(request))
        .await;
    let watch = watch.unwrap().into_inner();
    for customer in ["c2", "c3", "c4", "c5"] {
        services
            .archive(&wrote(customer, "default", "unread"))
            .await;
    }
    let permits = async || services.conversations.is_idle();
    casement_testkit::eventually("the watch has ended", async || {
        permits().await.then_some(()).ok_or("it goes on")
    })
    .await;
    let answers: Vec<_> = watch.collect().await;
    let end = answers.last().unwrap().as_ref().unwrap_err();
    assert_eq!(reason(end).as_deref(), Some("READER_TOO_SLOW"));
}
