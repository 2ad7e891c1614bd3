//! What every store must do with what colleagues do, and with where conversations stand.

use std::collections::BTreeMap;

use casement_domain::conversation::Status;
use casement_event::v1::{self, DeliveryStatus, Route, WindowState};

use super::super::{ConversationFilter, ListKey, Order, TimelineKey};
use super::models::{everything, listed, window};
use super::*;
use crate::store::EventKey;

fn of(customer_id: &str) -> v1::Conversation {
    v1::Conversation {
        customer_id: customer_id.to_owned(),
        ..fixture::conversation()
    }
}

fn wrote(customer_id: &str, second: i64) -> Event {
    v1::InboundMessageReceived {
        conversation: Some(of(customer_id)),
        times: Some(v1::Times {
            event_time: Some(proto(second)),
            ..v1::Times::default()
        }),
        kind: "text".to_owned(),
        ..Default::default()
    }
    .into()
}

fn opened(customer_id: &str, until: i64) -> Event {
    v1::WindowOpened {
        window: Some(window(customer_id, until, WindowState::Open)),
        ..Default::default()
    }
    .into()
}

fn expiring(customer_id: &str, until: i64) -> Event {
    let mut window = window(customer_id, until, WindowState::Open);
    window.announced_leads = vec![prost_types::Duration {
        seconds: 5,
        nanos: 0,
    }];
    v1::WindowExpiring {
        window: Some(window),
        ..Default::default()
    }
    .into()
}

fn corrected(customer_id: &str, until: i64, closed: i64) -> Event {
    let mut window = window(customer_id, until, WindowState::Closed);
    window.close_time = Some(proto(closed));
    v1::WindowCorrected {
        window: Some(window),
        ..Default::default()
    }
    .into()
}

/// A message of one attempt, taken by the platform at a second.
fn sent(customer_id: &str, id: u128, route: Route, second: i64) -> Vec<Event> {
    let message_id = format!("15550001111-{id:032x}");
    let mut started = v1::AttemptStarted {
        message_id: message_id.clone(),
        conversation: Some(of(customer_id)),
        attempt: 1,
        ..Default::default()
    };
    started.set_route(route);
    vec![
        v1::MessageRequested {
            message_id: message_id.clone(),
            conversation: Some(of(customer_id)),
            ..Default::default()
        }
        .into(),
        started.into(),
        v1::AttemptAccepted {
            message_id,
            conversation: Some(of(customer_id)),
            attempt: 1,
            accept_time: Some(proto(second)),
            ..Default::default()
        }
        .into(),
    ]
}

fn failed(customer_id: &str, id: u128) -> Event {
    let mut advanced = v1::DeliveryAdvanced {
        message_id: format!("15550001111-{id:032x}"),
        conversation: Some(of(customer_id)),
        attempt: 1,
        ..Default::default()
    };
    advanced.set_status(DeliveryStatus::Failed);
    advanced.into()
}

fn refused(customer_id: &str, id: u128) -> Event {
    v1::AttemptRejected {
        message_id: format!("15550001111-{id:032x}"),
        conversation: Some(of(customer_id)),
        attempt: 1,
        ..Default::default()
    }
    .into()
}

pub(in crate::store) async fn conversations_are_listed_by_where_they_stand(fixture: &Fixture) {
    let events = vec![
        wrote("open", 0),
        opened("open", 100),
        wrote("expiring", 0),
        opened("expiring", 100),
        expiring("expiring", 100),
        wrote("extended", 0),
        expiring("extended", 50),
        opened("extended", 100),
        wrote("locked", 0),
        opened("locked", 20),
        wrote("awaited", 0),
        opened("awaited", 20),
        wrote("sent-before", 0),
        opened("sent-before", 20),
        wrote("by-sms", 0),
        opened("by-sms", 20),
        wrote("answered", 0),
        opened("answered", 20),
        wrote("answered", 31),
        wrote("failed", 0),
        opened("failed", 20),
        wrote("refused", 0),
        opened("refused", 20),
        corrected("corrected", 100, 10),
        wrote("never-opened", 0),
    ];
    Box::pin(archive_each(fixture, "EVENTS", events)).await;
    let mut messages = Vec::new();
    for (customer_id, id, route, second) in [
        ("awaited", 1, Route::Template, 30),
        ("sent-before", 2, Route::Template, 15),
        ("by-sms", 3, Route::Sms, 30),
        ("answered", 4, Route::Template, 30),
        ("failed", 5, Route::Template, 30),
        ("refused", 6, Route::Template, 30),
        ("corrected", 7, Route::Template, 12),
        ("never-wrote", 8, Route::Template, 12),
        ("open", 9, Route::Template, 12),
    ] {
        messages.extend(sent(customer_id, id, route, second));
    }
    messages.extend([failed("failed", 5), refused("refused", 6)]);
    archive_each(fixture, "MESSAGES", messages).await;

    let expected: BTreeMap<&str, Status> = BTreeMap::from([
        ("open", Status::Open),
        ("expiring", Status::Expiring),
        ("extended", Status::Open),
        ("locked", Status::Locked),
        ("awaited", Status::AwaitingReply),
        ("sent-before", Status::Locked),
        ("by-sms", Status::Locked),
        ("answered", Status::Locked),
        ("failed", Status::Locked),
        ("refused", Status::Locked),
        ("corrected", Status::AwaitingReply),
        ("never-opened", Status::Locked),
        ("never-wrote", Status::AwaitingReply),
    ]);
    for (customer_id, status) in &expected {
        let row = conversation_of(fixture, customer_id).await;
        assert_eq!(row.course().status(at(40)), *status, "{customer_id}");
    }
    // SQL and the rule say the same, at whatever time.
    for now in [0, 15, 20, 40, 99, 100, 1_000] {
        let mut found = 0;
        for status in Status::ALL {
            let filter = ConversationFilter {
                statuses: vec![status],
                ..everything(now)
            };
            let listed = listed(fixture, &filter).await;
            found += listed.len();
            for customer_id in listed {
                let row = conversation_of(fixture, &customer_id).await;
                let told = row.course().status(at(now));
                assert_eq!(told, status, "{customer_id} at {now}");
            }
        }
        assert_eq!(found, expected.len(), "each has one status at {now}");
    }
    let two = ConversationFilter {
        statuses: vec![Status::Open, Status::Expiring],
        ..everything(40)
    };
    assert_eq!(
        listed(fixture, &two).await,
        ["expiring", "extended", "open"]
    );
}

async fn conversation_of(fixture: &Fixture, customer_id: &str) -> Conversation {
    let key = ConversationKey {
        customer_id: customer_id.to_owned(),
        ..conversation_key()
    };
    let found = fixture.store.conversation(&key).await.unwrap();
    found.unwrap_or_else(|| panic!("{customer_id} is not known"))
}

fn handling(assignee: &str, labels: &[&str], read: i64, closed: Option<i64>) -> v1::Handling {
    v1::Handling {
        assignee: assignee.to_owned(),
        assign_time: Some(proto(0)).filter(|_| !assignee.is_empty()),
        close_time: closed.map(proto),
        closer: closed.map_or_else(String::new, |_| "ana".to_owned()),
        closed_through_time: closed.map(proto),
        read_through_time: Some(proto(read)),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        note_count: 0,
    }
}

fn labelled(customer_id: &str, handling: v1::Handling) -> Event {
    v1::ConversationLabelled {
        conversation: Some(of(customer_id)),
        handling: Some(handling),
        ..Default::default()
    }
    .into()
}

pub(in crate::store) async fn conversations_are_found_by_how_they_are_handled(fixture: &Fixture) {
    // Each is stored a second after the one before: "a" is heard at 1, "b" at 2, "c" at 3.
    let events = [
        wrote("a", 0),
        wrote("b", 0),
        wrote("c", 0),
        labelled("a", handling("ana", &["refund", "vip"], 1, None)),
        labelled("b", handling("bo", &["vip"], 1, Some(1))),
        labelled("c", handling("", &["vip"], 1, Some(3))),
        labelled("c", handling("", &[], 3, Some(3))),
    ];
    Box::pin(archive_each(fixture, "EVENTS", events)).await;
    let all = || everything(0);
    let label = |labels: &[&str]| ConversationFilter {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..all()
    };
    let heard = ConversationFilter {
        order: Order::Heard,
        ..all()
    };
    let of = |name: &str| ConversationFilter {
        assignee: Some(name.to_owned()),
        ..all()
    };
    let assigned = |is| ConversationFilter {
        is_assigned: Some(is),
        ..all()
    };
    let unread = |is| ConversationFilter {
        is_unread: Some(is),
        ..all()
    };
    let closed = |is| ConversationFilter {
        is_closed: Some(is),
        ..all()
    };
    for (filter, expected) in [
        (all(), vec!["a", "b", "c"]),
        (heard, vec!["c", "b", "a"]),
        (of("ana"), vec!["a"]),
        (of("cy"), vec![]),
        (assigned(true), vec!["a", "b"]),
        (assigned(false), vec!["c"]),
        (unread(true), vec!["b"]),
        (unread(false), vec!["a", "c"]),
        // The customer of "b" wrote after what the close had seen.
        (closed(true), vec!["c"]),
        (closed(false), vec!["a", "b"]),
        (label(&["vip"]), vec!["a", "b"]),
        (label(&["vip", "refund"]), vec!["a"]),
    ] {
        assert_eq!(listed(fixture, &filter).await, expected, "{filter:?}");
    }
    let row = conversation_of(fixture, "b").await;
    assert_eq!(row.heard_time, Some(at(2)));
    assert_eq!(row.handled.etag(), "5-1a");
    assert!(!row.handling.is_closed(row.heard_time));
}

pub(in crate::store) async fn pages_in_the_order_of_the_newest_heard_follow_each_other(
    fixture: &Fixture,
) {
    let events = ["a", "b", "c", "d"].map(|customer_id| wrote(customer_id, 0));
    archive_each(fixture, "EVENTS", events).await;
    archive_each(fixture, "MESSAGES", sent("unheard", 1, Route::Sms, 1)).await;
    let filter = ConversationFilter {
        order: Order::Heard,
        ..everything(0)
    };
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let store = &fixture.store;
        let page = store.conversations(&filter, after.as_ref(), 2).await;
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        after = ListKey::of(last, &filter);
        paged.extend(page.into_iter().map(|row| row.key.customer_id));
    }
    assert_eq!(paged, ["d", "c", "b", "a", "unheard"]);
}

pub(in crate::store) async fn mentions_are_paged_newest_first(fixture: &Fixture) {
    let note = |customer_id: &str, brand_id: &str, text: &str, mentions: &[&str]| -> Event {
        v1::NoteAdded {
            conversation: Some(v1::Conversation {
                brand_id: brand_id.to_owned(),
                ..of(customer_id)
            }),
            text: text.to_owned(),
            mentions: mentions.iter().map(|name| (*name).to_owned()).collect(),
            handling: Some(v1::Handling::default()),
            ..Default::default()
        }
        .into()
    };
    let events = [
        note("a", "default", "1", &["ana"]),
        note("b", "other", "2", &["ana", "bo"]),
        note("a", "default", "3", &["bo"]),
        note("c", "default", "4", &["ana"]),
    ];
    archive_each(fixture, "EVENTS", events).await;
    let page = async |colleague, brand_id, before: Option<&TimelineKey>, rows_max| {
        let limit = Limit {
            rows_max,
            bytes_max: usize::MAX,
        };
        let page = fixture.store.mentions(colleague, brand_id, before, limit);
        page.await.unwrap()
    };
    let sequences = |page: &super::super::Page<crate::model::Row>| -> Vec<u64> {
        page.rows.iter().map(|row| row.stored.sequence).collect()
    };
    let all = page("ana", None, None, 10).await;
    assert_eq!((sequences(&all), all.has_more), (vec![4, 2, 1], false));
    let own = page("ana", Some("default"), None, 10).await;
    assert_eq!(sequences(&own), [4, 1]);
    assert_eq!(sequences(&page("cy", None, None, 10).await), [0_u64; 0]);
    let first = page("ana", None, None, 2).await;
    assert_eq!((sequences(&first), first.has_more), (vec![4, 2], true));
    let last = first.rows.last().unwrap();
    let before = TimelineKey {
        stored_time: last.stored.stored_at,
        event: EventKey::of(last),
    };
    let second = page("ana", None, Some(&before), 2).await;
    assert_eq!((sequences(&second), second.has_more), (vec![1], false));
}
