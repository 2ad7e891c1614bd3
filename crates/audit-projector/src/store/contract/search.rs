//! What every store must do with what was said: it is found by its words, and nothing of them
//! stands in the index.

use casement_event::v1;
use casement_proto::conversation::v1::Direction;

use super::super::{Found, SearchFilter};
use super::*;
use crate::said::said;
use crate::words::Search;

#[expect(clippy::unnecessary_wraps, reason = "as events have it")]
fn on(number: &str, customer_id: &str) -> Option<v1::Conversation> {
    Some(v1::Conversation {
        number: number.to_owned(),
        customer_id: customer_id.to_owned(),
        ..fixture::conversation()
    })
}

fn wrote(customer_id: &str, text: &str) -> Event {
    v1::InboundMessageReceived {
        conversation: on("15550001111", customer_id),
        kind: "text".to_owned(),
        text: text.to_owned(),
        ..Default::default()
    }
    .into()
}

fn noted(text: &str) -> Event {
    v1::NoteAdded {
        conversation: on("15550001111", "c1"),
        text: text.to_owned(),
        ..Default::default()
    }
    .into()
}

fn replied(number: &str, customer_id: &str, text: &str) -> Event {
    v1::MessageRequested {
        message_id: MESSAGE.to_owned(),
        conversation: on(number, customer_id),
        content: Some(v1::Content {
            free_form: Some(v1::FreeForm {
                text: text.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
    .into()
}

async fn fill(fixture: &Fixture) {
    let events = vec![
        wrote("c1", "Where is my Order?"),
        wrote("c2", "my order is late 👍"),
        noted("call about the order"),
        wrote("c1", "Ich möchte eine Rückerstattung"),
        wrote("c3", "我要退款"),
        wrote("c3", "أُريدُ إرجاع المال"),
    ];
    archive_each(fixture, "EVENTS", events).await;
    let events = vec![
        replied("15550001111", "c1", "Your order is on its way"),
        replied("15550002222", "c9", "another order"),
    ];
    archive_each(fixture, "MESSAGES", events).await;
}

fn asked(query: &str) -> SearchFilter {
    SearchFilter {
        terms: Search::parse(query).unwrap().terms().into_iter().collect(),
        ..SearchFilter::default()
    }
}

fn text(found: &Found) -> String {
    let row = found.row.as_ref().unwrap();
    said(&row.stored, &row.event().unwrap()).unwrap().text
}

async fn texts(fixture: &Fixture, filter: &SearchFilter) -> Vec<String> {
    let found = fixture.store.search(filter, None, 100).await.unwrap();
    found.iter().map(text).collect()
}

pub(in crate::store) async fn what_was_said_is_found_by_its_words_newest_first(fixture: &Fixture) {
    fill(fixture).await;
    let table: &[(&str, &[&str])] = &[
        ("late", &["my order is late 👍"]),
        ("MY order", &["my order is late 👍", "Where is my Order?"]),
        ("mochte", &["Ich möchte eine Rückerstattung"]),
        ("möchte ruckerstattung", &["Ich möchte eine Rückerstattung"]),
        ("退款", &["我要退款"]),
        ("اريد المال", &["أُريدُ إرجاع المال"]),
        ("👍", &["my order is late 👍"]),
        ("orders", &[]),
        ("late refund", &[]),
    ];
    for (query, expected) in table {
        assert_eq!(texts(fixture, &asked(query)).await, *expected, "{query}");
    }
    let all = fixture
        .store
        .search(&asked("order"), None, 100)
        .await
        .unwrap();
    assert_eq!(all.len(), 5);
    let places: Vec<i64> = all.iter().map(|found| found.key.place).collect();
    assert!(places.is_sorted_by(|one, other| one >= other), "{places:?}");
}

pub(in crate::store) async fn a_search_is_narrowed_by_whom_when_and_which_way(fixture: &Fixture) {
    fill(fixture).await;
    let order = || asked("order");
    let count = async |filter: SearchFilter| texts(fixture, &filter).await.len();
    let of = |directions: &[Direction]| SearchFilter {
        directions: directions.to_vec(),
        ..order()
    };
    assert_eq!(count(of(&[Direction::Inbound])).await, 2);
    assert_eq!(count(of(&[Direction::Outbound])).await, 2);
    assert_eq!(count(of(&[Direction::Note])).await, 1);
    assert_eq!(count(of(&[Direction::Note, Direction::Inbound])).await, 3);
    let customer = SearchFilter {
        customer_id: Some("c1".to_owned()),
        ..order()
    };
    assert_eq!(count(customer).await, 3);
    let number = SearchFilter {
        number: Some("15550002222".to_owned()),
        ..order()
    };
    assert_eq!(texts(fixture, &number).await, ["another order"]);
    for (brand, expected) in [("default", 5), ("other", 0)] {
        let filter = SearchFilter {
            brand_id: Some(brand.to_owned()),
            ..order()
        };
        assert_eq!(count(filter).await, expected, "{brand}");
    }
    let times = SearchFilter {
        since: Some(at(2)),
        before: Some(at(3)),
        directions: vec![Direction::Inbound],
        ..order()
    };
    assert_eq!(texts(fixture, &times).await, ["my order is late 👍"]);
}

pub(in crate::store) async fn pages_of_a_search_follow_each_other(fixture: &Fixture) {
    let same_time = (1..=7).map(|sequence| Stored {
        // Several at one time, as several streams may have them.
        stored_at: at(sequence / 3),
        ..record(
            "EVENTS",
            sequence.unsigned_abs(),
            &wrote("c1", &format!("order {sequence}")),
        )
    });
    archive(fixture, Head::start("EVENTS", "1a"), same_time.collect()).await;
    let filter = asked("order");
    let (mut before, mut paged) = (None, Vec::new());
    loop {
        let page = fixture.store.search(&filter, before.as_ref(), 2).await;
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.key.clone());
        paged.extend(page.iter().map(text));
        // What comes meanwhile is newer, and in nobody's way.
        let head = fixture.store.head("EVENTS", "1a").await.unwrap().unwrap();
        let next = head.last_sequence + 1;
        let event = wrote("c1", "one more order");
        archive(fixture, head, vec![record("EVENTS", next, &event)]).await;
    }
    let expected: Vec<_> = (1..=7).rev().map(|one| format!("order {one}")).collect();
    assert_eq!(paged, expected);
}

pub(in crate::store) async fn a_fact_that_comes_again_is_found_once(fixture: &Fixture) {
    let first = record("EVENTS", 1, &wrote("c1", "a lonely order"));
    let again = Stored {
        sequence: 2,
        stored_at: at(9),
        ..first.clone()
    };
    archive(fixture, Head::start("EVENTS", "1a"), vec![first, again]).await;
    let found = fixture
        .store
        .search(&asked("lonely"), None, 10)
        .await
        .unwrap();
    let shown = found.iter().filter(|found| found.row.is_some());
    assert_eq!(shown.count(), 1);
}

pub(in crate::store) async fn search_is_made_anew_and_finds_the_same(fixture: &Fixture) {
    fill(fixture).await;
    let before = texts(fixture, &asked("order")).await;
    (fixture.tamper)("DELETE FROM search_documents").await;
    assert_eq!(texts(fixture, &asked("order")).await, [""; 0]);
    for _ in 0..2 {
        fixture.store.ask_rebuild().await.unwrap();
        while crate::rebuild::step(&fixture.store).await.unwrap() == crate::rebuild::Next::More {}
        assert_eq!(texts(fixture, &asked("order")).await, before);
    }
}

pub(in crate::store) async fn of_an_erased_customer_no_word_is_indexed(fixture: &Fixture) {
    archive_each(fixture, "EVENTS", [wrote("c1", "first order")]).await;
    let erased = ["c1".to_owned()];
    fixture.store.destroy_keys(&erased, at(5)).await.unwrap();
    archive_each(fixture, "EVENTS", [wrote("c1", "second order")]).await;
    let found = fixture
        .store
        .search(&asked("order"), None, 10)
        .await
        .unwrap();
    let read = found
        .iter()
        .filter_map(|found| found.row.as_ref())
        .filter_map(crate::model::Row::event);
    assert_eq!(read.count(), 0, "and what was indexed before opens no more");
    assert!(found.len() <= 1);
}
