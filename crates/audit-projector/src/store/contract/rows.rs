//! What every store must do with rows and chains.

use casement_event::{Event, Stored, v1};

use super::super::{Error, EventFilter, EventKey, Limit, TimelineKey};
use super::*;
use crate::fixture::record_on;

pub(in crate::store) async fn a_batch_is_archived_whole_and_the_chain_moves_on(fixture: &Fixture) {
    assert_eq!(fixture.store.head("EVENTS", "1a").await.unwrap(), None);
    let batch = Batch::seal(
        Head::start("EVENTS", "1a"),
        vec![stored("EVENTS", 3), stored("EVENTS", 7)],
        rand::random,
    );
    fixture.store.append(&batch).await.unwrap();
    assert_eq!(
        fixture.store.head("EVENTS", "1a").await.unwrap(),
        Some(batch.after.clone())
    );
    let page = fixture
        .store
        .events(&EventFilter::default(), None, ALL)
        .await
        .unwrap();
    let sealed: Vec<_> = batch
        .entries
        .iter()
        .map(|entry| entry.row.clone())
        .collect();
    assert_eq!(page.rows, sealed, "a row reads back as it was sealed");
    let report = report(fixture).await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.checked_count, report.head), (2, batch.after.link));
}

pub(in crate::store) async fn a_batch_for_another_position_changes_nothing(fixture: &Fixture) {
    let head = archive_messages(fixture, &[1, 2]).await;
    let elsewhere = [
        Head::start("EVENTS", "1a"),
        Head {
            last_sequence: 1,
            ..head.clone()
        },
        Head {
            link: [9; 32],
            ..head.clone()
        },
        Head {
            row_count: 9,
            ..head.clone()
        },
        Head {
            row_count: 1,
            ..Head::start("ACCOUNTS", "1a")
        },
    ];
    for before in elsewhere {
        let batch = Batch::seal(before, vec![stored("EVENTS", 3)], rand::random);
        let refused = fixture.store.append(&batch).await;
        assert!(matches!(refused, Err(Error::Moved)), "{refused:?}");
    }
    assert_eq!(sequences(fixture, &EventFilter::default()).await, [1, 2]);
    assert_eq!(
        conversation(fixture).await.inbound_count,
        2,
        "nor did the read model change"
    );
    assert_eq!(
        fixture.store.head("EVENTS", "1a").await.unwrap(),
        Some(head)
    );
}

pub(in crate::store) async fn of_two_writers_one_wins_and_the_other_begins_again(
    fixture: &Fixture,
) {
    let start = Head::start("EVENTS", "1a");
    let one = Batch::seal(start.clone(), vec![stored("EVENTS", 1)], rand::random);
    let two = Batch::seal(
        start,
        vec![stored("EVENTS", 1), stored("EVENTS", 2)],
        rand::random,
    );
    let (first, second) =
        futures::future::join(fixture.store.append(&one), fixture.store.append(&two)).await;
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
    let head = fixture.store.head("EVENTS", "1a").await.unwrap().unwrap();
    let mut left = two.into_events();
    left.retain(|event| event.sequence > head.last_sequence);
    left.push(stored("EVENTS", 3));
    archive(fixture, head, left).await;
    assert_eq!(sequences(fixture, &EventFilter::default()).await, [1, 2, 3]);
    assert!(report(fixture).await.is_intact());
}

pub(in crate::store) async fn a_new_incarnation_begins_a_new_chain(fixture: &Fixture) {
    archive_messages(fixture, &[1, 2]).await;
    let again = Stored {
        incarnation: "1b".to_owned(),
        ..stored("EVENTS", 1)
    };
    archive(fixture, Head::start("EVENTS", "1b"), vec![again]).await;
    let reports = verify(fixture.store.as_ref(), Some("EVENTS"))
        .await
        .unwrap();
    let counts: Vec<_> = reports
        .iter()
        .map(|report| (report.incarnation.as_str(), report.checked_count))
        .collect();
    assert_eq!(counts, [("1a", 2), ("1b", 1)]);
    assert!(reports.iter().all(ChainReport::is_intact));
    assert_eq!(
        verify(fixture.store.as_ref(), Some("ACCOUNTS"))
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        conversation(fixture).await.inbound_count,
        2,
        "the same fact counts once"
    );
}

pub(in crate::store) async fn events_are_listed_in_order_by_what_is_asked_for(fixture: &Fixture) {
    archive_messages(fixture, &[1, 2]).await;
    let id = MESSAGE.to_owned();
    let requested: Event = v1::MessageRequested {
        message_id: id.clone(),
        conversation: Some(v1::Conversation {
            brand_id: "other".to_owned(),
            ..fixture::conversation()
        }),
        ..Default::default()
    }
    .into();
    let subject = format!("casement.events.message.03.15550001111.{id}");
    let message = record_on(&subject, "MESSAGES", 5, &requested);
    archive(fixture, Head::start("MESSAGES", "1a"), vec![message]).await;

    let text = |text: &str| Some(text.to_owned());
    let table = [
        (EventFilter::default(), vec![1, 2, 5]),
        (
            EventFilter {
                stream: text("MESSAGES"),
                ..EventFilter::default()
            },
            vec![5],
        ),
        (
            EventFilter {
                message_id: text(MESSAGE),
                ..EventFilter::default()
            },
            vec![5],
        ),
        (
            EventFilter {
                brand_id: text("other"),
                ..EventFilter::default()
            },
            vec![5],
        ),
        (
            EventFilter {
                brand_id: text("default"),
                ..EventFilter::default()
            },
            vec![1, 2],
        ),
        (
            EventFilter {
                subject_prefix: text("casement.events.in"),
                ..EventFilter::default()
            },
            vec![1, 2],
        ),
        (
            EventFilter {
                subject_prefix: text("casement.events._n"),
                ..EventFilter::default()
            },
            vec![],
        ),
        (
            EventFilter {
                event_type: text("casement.events.v1.MessageRequested"),
                ..EventFilter::default()
            },
            vec![5],
        ),
        (
            EventFilter {
                customer_id: text("c1"),
                ..EventFilter::default()
            },
            vec![1, 2, 5],
        ),
        (
            EventFilter {
                customer_id: text("c2"),
                ..EventFilter::default()
            },
            vec![],
        ),
        (
            EventFilter {
                incarnation: text("1b"),
                ..EventFilter::default()
            },
            vec![],
        ),
        (
            EventFilter {
                sequence_max: Some(1),
                ..EventFilter::default()
            },
            vec![1],
        ),
    ];
    for (filter, expected) in table {
        assert_eq!(sequences(fixture, &filter).await, expected, "{filter:?}");
    }
}

pub(in crate::store) async fn a_page_ends_at_its_rows_or_at_its_bytes(fixture: &Fixture) {
    archive_messages(fixture, &[1, 2, 3]).await;
    let filter = EventFilter::default();
    let limits = [
        (
            Limit {
                rows_max: 2,
                bytes_max: usize::MAX,
            },
            2,
            true,
        ),
        (
            Limit {
                rows_max: 3,
                bytes_max: usize::MAX,
            },
            3,
            false,
        ),
        (
            Limit {
                rows_max: 3,
                bytes_max: 1,
            },
            1,
            true,
        ),
    ];
    for (limit, rows_count, has_more) in limits {
        let page = fixture.store.events(&filter, None, limit).await.unwrap();
        assert_eq!(
            (page.rows.len(), page.has_more),
            (rows_count, has_more),
            "{limit:?}"
        );
    }
    let page = fixture
        .store
        .events(&filter, None, limits[0].0)
        .await
        .unwrap();
    let after = EventKey::of(page.rows.last().unwrap());
    let rest = fixture
        .store
        .events(&filter, Some(&after), limits[0].0)
        .await
        .unwrap();
    assert_eq!((rest.rows.len(), rest.has_more), (1, false));
    assert_eq!(rest.rows[0].stored.sequence, 3);
}

pub(in crate::store) async fn a_timeline_tells_each_fact_once_newest_first(fixture: &Fixture) {
    let head = archive_messages(fixture, &[1, 2, 3]).await;
    let repeat = Stored {
        sequence: 4,
        ..stored("EVENTS", 2)
    };
    archive(fixture, head, vec![repeat]).await;
    let key = conversation_key();
    let limit = Limit { rows_max: 2, ..ALL };
    let page = fixture.store.timeline(&key, None, limit).await.unwrap();
    let told: Vec<_> = page.rows.iter().map(|row| row.stored.sequence).collect();
    assert_eq!((told, page.has_more), (vec![3, 2], true));
    let last = &page.rows[1];
    let before = TimelineKey {
        stored_time: last.stored.stored_at,
        event: EventKey::of(last),
    };
    let page = fixture
        .store
        .timeline(&key, Some(&before), limit)
        .await
        .unwrap();
    let told: Vec<_> = page.rows.iter().map(|row| row.stored.sequence).collect();
    assert_eq!((told, page.has_more), (vec![1], false));
}

pub(in crate::store) async fn a_timeline_goes_by_when_the_log_took_each_fact(fixture: &Fixture) {
    // What was stored second happened first, by the clock of whoever told.
    let mut report = stored("EVENTS", 2);
    let told_at = stored("EVENTS", 1).stored_at - jiff::SignedDuration::from_mins(1);
    for (name, value) in &mut report.headers {
        if name == casement_event::header::TIME {
            *value = told_at.to_string();
        }
    }
    archive(
        fixture,
        Head::start("EVENTS", "1a"),
        vec![stored("EVENTS", 1), report],
    )
    .await;
    let key = conversation_key();
    let page = fixture.store.timeline(&key, None, ALL).await.unwrap();
    let told: Vec<_> = page.rows.iter().map(|row| row.stored.sequence).collect();
    assert_eq!(told, [2, 1]);
    assert_eq!(page.rows[0].index.event_time, told_at);
}
