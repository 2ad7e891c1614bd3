//! What every store must do with lists of conversations: what they show and are narrowed by, and
//! that pages follow each other whatever moves meanwhile.

use casement_event::v1::{self, ThreadOwner, WindowState};
use casement_proto::conversation::v1::Direction;

use super::super::{ConversationFilter, ListKey, Order};
use super::models::{everything, listed, window};
use super::*;
use crate::tally::AsOf;

#[expect(clippy::unnecessary_wraps, reason = "as events have it")]
fn of(customer_id: &str) -> Option<v1::Conversation> {
    Some(v1::Conversation {
        customer_id: customer_id.to_owned(),
        ..fixture::conversation()
    })
}

fn wrote(customer_id: &str, second: i64) -> Event {
    v1::InboundMessageReceived {
        conversation: of(customer_id),
        times: Some(v1::Times {
            event_time: Some(proto(second)),
            ..Default::default()
        }),
        kind: "text".to_owned(),
        text: format!("at {second}"),
        ..Default::default()
    }
    .into()
}

fn answered(customer_id: &str, second: i64) -> Event {
    v1::CustomerAnswered {
        conversation: of(customer_id),
        answered_time: Some(proto(second)),
        ..Default::default()
    }
    .into()
}

fn open(customer_id: &str, expires: i64) -> Event {
    v1::WindowExtended {
        window: Some(window(customer_id, expires, WindowState::Open)),
    }
    .into()
}

fn owned(customer_id: &str, owner: ThreadOwner) -> Event {
    let mut summary = v1::InboundSummary {
        thread_owner_time: Some(proto(1)),
        ..Default::default()
    };
    summary.set_thread_owner(owner);
    v1::ThreadOwnerChanged {
        conversation: of(customer_id),
        summary: Some(summary),
        ..Default::default()
    }
    .into()
}

pub(in crate::store) async fn a_conversation_shows_what_was_said_last_and_what_waits(
    fixture: &Fixture,
) {
    let events = [
        wrote("c1", 10),
        wrote("c1", 20),
        owned("c1", ThreadOwner::Other),
    ];
    archive_each(fixture, "EVENTS", events).await;
    let reply = v1::MessageRequested {
        message_id: MESSAGE.to_owned(),
        conversation: of("c1"),
        content: Some(v1::Content {
            free_form: Some(v1::FreeForm {
                text: "a reply".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    archive_each(fixture, "MESSAGES", [reply.into()]).await;
    let consent = |allowed| -> Event {
        let mut consent = v1::Consent {
            purpose: "marketing".to_owned(),
            allowed,
            provenance: "WEB_FORM".to_owned(),
            wording: "Yes, I do".to_owned(),
            ..Default::default()
        };
        consent.set_channel(v1::Channel::Sms);
        v1::ConsentRecorded {
            portfolio_id: "p1".to_owned(),
            customer_id: "c1".to_owned(),
            consents: vec![consent],
            ..Default::default()
        }
        .into()
    };
    archive_each(fixture, "CUSTOMERS", [consent(true), consent(false)]).await;

    let shown = conversation(fixture).await;
    let mut said: Vec<_> = shown
        .recent
        .iter()
        .map(|one| (one.direction, one.text.as_str()))
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            (Direction::Inbound, "at 10"),
            (Direction::Inbound, "at 20"),
            (Direction::Outbound, "a reply")
        ]
    );
    assert_eq!(shown.tally.unread_count(), 2);
    assert_eq!(shown.tally.waiting_since(), Some(at(10)));
    assert_eq!(shown.tally.thread_owner(), ThreadOwner::Other);
    let [consent] = &shown.consents[..] else {
        panic!("{:?}", shown.consents);
    };
    assert!(!consent.allowed, "the last word");
    assert_eq!(
        (consent.channel(), consent.purpose.as_str()),
        (v1::Channel::Sms, "marketing")
    );
    archive_each(fixture, "EVENTS", [answered("c1", 15)]).await;
    let shown = conversation(fixture).await;
    assert_eq!(shown.tally.waiting_since(), Some(at(20)));
}

pub(in crate::store) async fn lists_are_narrowed_by_who_waits_and_who_owns(fixture: &Fixture) {
    let events = vec![
        wrote("a", 10),
        wrote("b", 20),
        wrote("c", 30),
        answered("c", 30),
        owned("b", ThreadOwner::Other),
        open("a", 100),
        open("b", 200),
    ];
    archive_each(fixture, "EVENTS", events).await;
    let all = everything(0);
    let by = async |filter: ConversationFilter| listed(fixture, &filter).await;
    let longest = ConversationFilter {
        order: Order::Waiting,
        ..all.clone()
    };
    assert_eq!(by(longest.clone()).await, ["a", "b", "c"]);
    let waiting = |is| ConversationFilter {
        is_waiting: Some(is),
        ..longest.clone()
    };
    assert_eq!(by(waiting(true)).await, ["a", "b"]);
    assert_eq!(by(waiting(false)).await, ["c"]);
    let since = |second| ConversationFilter {
        waiting_since_max: Some(at(second)),
        ..all.clone()
    };
    assert_eq!(by(since(10)).await, ["a"]);
    assert_eq!(by(since(9)).await, [""; 0]);
    let owner = ConversationFilter {
        thread_owners: vec![ThreadOwner::Other, ThreadOwner::Idle],
        ..all.clone()
    };
    assert_eq!(by(owner).await, ["b"]);
    let later = ConversationFilter {
        expire_time_start: Some(at(100)),
        ..all.clone()
    };
    assert_eq!(by(later).await, ["b"], "not those without a window");
    let numbers = |numbers: &[&str]| ConversationFilter {
        numbers: numbers.iter().map(ToString::to_string).collect(),
        ..all.clone()
    };
    assert_eq!(by(numbers(&["4915", "15550001111"])).await.len(), 3);
    assert_eq!(by(numbers(&["4915"])).await.len(), 0);
}

/// Pages through a list, and lets things happen after each page.
async fn paged(fixture: &Fixture, order: Order, meanwhile: &[Vec<Event>]) -> Vec<String> {
    let head = fixture.store.head("EVENTS", "1a").await.unwrap().unwrap();
    let filter = ConversationFilter {
        order,
        as_of: Some(AsOf {
            sequence: head.last_sequence,
            began: at(i64::try_from(head.last_sequence).unwrap()),
        }),
        ..everything(0)
    };
    let (mut after, mut paged) = (None, Vec::new());
    let mut meanwhile = meanwhile.iter();
    loop {
        let store = &fixture.store;
        let page = store.conversations(&filter, after.as_ref(), 2).await;
        let page = page.unwrap();
        let Some(last) = page.last() else {
            return paged;
        };
        after = ListKey::of(last, &filter);
        paged.extend(page.into_iter().map(|row| row.key.customer_id));
        if let Some(events) = meanwhile.next() {
            archive_each(fixture, "EVENTS", events.clone()).await;
        }
    }
}

pub(in crate::store) async fn pages_neither_repeat_nor_miss_what_moves_meanwhile(
    fixture: &Fixture,
) {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let mut events = Vec::new();
    for (second, name) in (10..).step_by(10).zip(names) {
        events.extend([wrote(name, second), open(name, 1_000 + second)]);
    }
    archive_each(fixture, "EVENTS", events).await;

    // By expiry: seen ones move behind, unseen ones too, one of them twice, and one comes new.
    let meanwhile = [
        vec![open("a", 2_000), open("c", 2_001), wrote("new", 99)],
        vec![open("c", 2_010), open("e", 3_000), open("g", 900)],
        vec![open("f", 4_000)],
    ];
    assert_eq!(paged(fixture, Order::Expiry, &meanwhile).await, names);

    // By what was heard: unseen ones move to the front.
    let now = paged(fixture, Order::Heard, &[]).await;
    assert_eq!(now[0], "new");
    let meanwhile = [
        vec![wrote("a", 300), wrote(&now[0], 301), wrote(&now[7], 302)],
        vec![wrote("b", 310), wrote("a", 311), wrote("newer", 312)],
    ];
    assert_eq!(paged(fixture, Order::Heard, &meanwhile).await, now);

    // By who waits: who is answered no longer does.
    let now = paged(fixture, Order::Waiting, &[]).await;
    assert_eq!(now.len(), 9);
    let meanwhile = [
        vec![
            answered(&now[0], 500),
            answered(&now[8], 500),
            answered(&now[4], 500),
        ],
        vec![wrote(&now[4], 501), answered(&now[2], 502)],
    ];
    assert_eq!(paged(fixture, Order::Waiting, &meanwhile).await, now);
    // The present is another.
    assert_ne!(paged(fixture, Order::Waiting, &[]).await, now);
}
