//! What every store must do for figures.

use std::time::Duration;

use casement_event::v1;
use casement_shell::ManualClock;

use super::*;
use crate::figures::{Counter, Measure};
use crate::progress::Progress;
use crate::store::{ActFilter, Figured, RecordKind, SumFilter};

fn counter(store: &SharedStore) -> Counter {
    let (archived, _) = Progress::new(Duration::from_secs(1));
    let (_, tellers) = Progress::new(Duration::from_secs(1));
    Counter {
        store: Arc::clone(store),
        clock: Arc::new(ManualClock::new(at(0))),
        archived,
        tellers,
    }
}

/// Counts until there is nothing left.
async fn count(store: &SharedStore) {
    let counter = counter(store);
    while counter.round().await.unwrap() {}
}

async fn served(store: &SharedStore) -> i64 {
    let generations = store.generations().await.unwrap();
    let served: Vec<_> = generations.iter().filter(|one| one.is_served).collect();
    assert_eq!(served.len(), 1, "{generations:?}");
    served[0].id
}

async fn sum(store: &SharedStore, label: &str, measure: Measure) -> i64 {
    let filter = SumFilter {
        label: store.label_digest(label).unwrap(),
        measures: vec![measure],
        ..SumFilter::default()
    };
    let generation = served(store).await;
    let sums = store
        .sums(generation, &filter, (0, i64::MAX))
        .await
        .unwrap();
    sums.iter().map(|sum| sum.value).sum()
}

fn sent() -> Vec<Event> {
    let mut started = v1::AttemptStarted {
        message_id: MESSAGE.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt: 1,
        start_time: Some(proto(1)),
        ..Default::default()
    };
    started.set_route(v1::Route::Template);
    let accepted = v1::AttemptAccepted {
        message_id: MESSAGE.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt: 1,
        accept_time: Some(proto(2)),
        ..Default::default()
    };
    let requested = v1::MessageRequested {
        message_id: MESSAGE.to_owned(),
        conversation: Some(fixture::conversation()),
        request_time: Some(proto(0)),
        labels: vec![v1::Label {
            key: "quote'\u{0}".to_owned(),
            value: "x".to_owned(),
        }],
        caller: "shop".to_owned(),
        ..Default::default()
    };
    vec![requested.into(), started.into(), accepted.into()]
}

pub(in crate::store) async fn what_is_archived_counts_once_whoever_counts(fixture: &Fixture) {
    let store = &fixture.store;
    count(store).await;
    archive_messages(fixture, &[1, 2, 3]).await;
    archive_each(fixture, "MESSAGES", sent()).await;
    let other = (fixture.again)().await;
    // Each counts on from where the other came to.
    let (one, two) = (counter(store), counter(&other));
    let mut is_over = false;
    while !is_over {
        let (first, second) = tokio::join!(one.round(), two.round());
        // Of two in one place, one has to begin again.
        is_over = matches!((first, second), (Ok(false), Ok(false)));
    }
    assert_eq!(sum(store, "", Measure::Received).await, 3);
    assert_eq!(sum(store, "", Measure::Sent).await, 1);
    assert_eq!(sum(store, "quote'\u{0}=x", Measure::Sent).await, 1);
    assert_eq!(sum(store, "another", Measure::Sent).await, 0);

    // The same on another life of the stream changes nothing.
    let events = [1, 2, 3].map(|sequence| {
        let mut stored = stored("EVENTS", sequence);
        stored.incarnation = "2b".to_owned();
        stored
    });
    archive(fixture, Head::start("EVENTS", "2b"), events.into()).await;
    count(store).await;
    assert_eq!(sum(store, "", Measure::Received).await, 3);

    let generation = served(store).await;
    let minute = at(2).as_second().div_euclid(60);
    let numbers = vec!["15550001111".to_owned()];
    let minutes = store
        .minutes(generation, &numbers, minute - 5)
        .await
        .unwrap();
    let plotted: Vec<_> = minutes
        .iter()
        .filter(|(_, _, measure, _)| *measure == Measure::Sent)
        .collect();
    assert_eq!(plotted.len(), 1, "{minutes:?}");
    store.drop_minutes(minute + 100).await.unwrap();
    assert_eq!(store.minutes(generation, &numbers, 0).await.unwrap(), []);
    let portfolios = vec!["p1".to_owned()];
    let contacts = store
        .contacts(generation, &portfolios, at(-10))
        .await
        .unwrap();
    assert_eq!(
        contacts.get("p1"),
        Some(&1),
        "written to outside the window"
    );
    let contacts = store
        .contacts(generation, &portfolios, at(10))
        .await
        .unwrap();
    assert_eq!(contacts.get("p1"), None);
}

pub(in crate::store) async fn a_step_from_a_place_that_was_left_changes_nothing(fixture: &Fixture) {
    let store = &fixture.store;
    archive_messages(fixture, &[1]).await;
    let generations = async || store.generations().await.unwrap();
    count(store).await;
    let stale = generations().await[0];
    archive_each(fixture, "MESSAGES", sent()).await;
    count(store).await;
    let figured = Figured {
        webhooks: vec![("15550001111".to_owned(), 7)],
        ..Figured::default()
    };
    let through = crate::store::EventKey {
        stream: "EVENTS".to_owned(),
        incarnation: "1a".to_owned(),
        sequence: 99,
    };
    store
        .write_figures(stale, &figured, &through)
        .await
        .unwrap_err();
    let numbers = vec!["15550001111".to_owned()];
    let generation = served(store).await;
    assert!(
        store
            .webhooks(generation, &numbers)
            .await
            .unwrap()
            .is_empty()
    );
    let cursors = store.figure_cursors(generation).await.unwrap();
    assert!(cursors.iter().all(|cursor| cursor.sequence < 99));
    store
        .write_figures(generations().await[0], &figured, &through)
        .await
        .unwrap();
    let webhooks = store.webhooks(generation, &numbers).await.unwrap();
    assert_eq!(webhooks.get("15550001111"), Some(&7));
}

pub(in crate::store) async fn figures_counted_anew_are_served_once_they_have_all(
    fixture: &Fixture,
) {
    let store = &fixture.store;
    archive_messages(fixture, &[1, 2]).await;
    archive_each(fixture, "MESSAGES", sent()).await;
    count(store).await;
    let first = served(store).await;
    (fixture.tamper)("UPDATE figure_sums SET value = 7").await;
    assert_ne!(sum(store, "", Measure::Received).await, 2);
    store.ask_rebuild().await.unwrap();
    // Begins and counts some; the old ones are served meanwhile.
    counter(store).round().await.unwrap();
    assert_eq!(served(store).await, first);
    count(store).await;
    assert_eq!(served(store).await, first + 1);
    assert_eq!(sum(store, "", Measure::Received).await, 2);
    assert_eq!(sum(store, "", Measure::Sent).await, 1);
    let old = SumFilter::default();
    assert_eq!(store.sums(first, &old, (0, i64::MAX)).await.unwrap(), []);
    count(store).await;
    assert_eq!(served(store).await, first + 1, "once a wish");
}

pub(in crate::store) async fn records_are_the_newest_and_acts_are_paged_newest_first(
    fixture: &Fixture,
) {
    let store = &fixture.store;
    let number = |display_name: &str, caller: &str| -> Event {
        v1::NumberRecorded {
            number: Some(v1::Number {
                number: "15550001111".to_owned(),
                brand_id: "default".to_owned(),
                display_name: display_name.to_owned(),
                ..Default::default()
            }),
            caller: caller.to_owned(),
            ..Default::default()
        }
        .into()
    };
    let accounts = [
        number("old", "ops"),
        number("new", "ops"),
        number("newest", ""),
    ];
    archive_each(fixture, "ACCOUNTS", accounts).await;
    archive_each(fixture, "MESSAGES", sent()).await;
    count(store).await;
    let generation = served(store).await;
    let records = store.records(generation, RecordKind::Number).await.unwrap();
    let [(name, record)] = records.as_slice() else {
        panic!("{records:?}");
    };
    let record: v1::Number = prost::Message::decode(record.as_slice()).unwrap();
    assert_eq!(
        (name.as_str(), record.display_name.as_str()),
        ("15550001111", "newest")
    );

    let filter = ActFilter::default();
    let acts = store.acts(generation, &filter, None, 10).await.unwrap();
    let callers: Vec<_> = acts.iter().map(|act| act.caller.as_str()).collect();
    assert_eq!(
        acts.len(),
        3,
        "who did it is not said of the last: {acts:?}"
    );
    assert!(callers.contains(&"shop"));
    assert!(acts.is_sorted_by_key(|act| std::cmp::Reverse((act.time_ns, act.act.clone()))));
    let first = store.acts(generation, &filter, None, 1).await.unwrap();
    let key = (first[0].time_ns, first[0].act.clone());
    let rest = store
        .acts(generation, &filter, Some(&key), 10)
        .await
        .unwrap();
    assert_eq!([first, rest].concat(), acts);
    let by_ops = ActFilter {
        caller: Some("ops".to_owned()),
        brand_id: Some("default".to_owned()),
        event_types: vec!["casement.events.v1.NumberRecorded".to_owned()],
        ..ActFilter::default()
    };
    assert_eq!(
        store
            .acts(generation, &by_ops, None, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    let without = ActFilter {
        without_type: Some(crate::acts::REQUEST),
        until: Some(at(100)),
        since: Some(at(-100)),
        ..ActFilter::default()
    };
    assert_eq!(
        store
            .acts(generation, &without, None, 10)
            .await
            .unwrap()
            .len(),
        2
    );
}
