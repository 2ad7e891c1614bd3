//! What every store must do when read models are made anew.

use casement_domain::conversation::{Handling, Label};
use casement_event::convert;
use casement_event::v1::{self, WindowState};

use super::super::{ConversationFilter, Limit, MessageFilter};
use super::models::{everything, window};
use super::*;
use crate::rebuild::{self, Next};
use crate::store::Error;

/// All that read models answer, but for where rows last changed: streams run beside each other.
async fn answers(fixture: &Fixture) -> String {
    let store = &fixture.store;
    let filter = ConversationFilter {
        labels: Vec::new(),
        ..everything(0)
    };
    let mut conversations = store.conversations(&filter, None, 100).await.unwrap();
    for row in &mut conversations {
        row.position.sequence = 0;
        row.position.stream.clear();
    }
    let labelled = ConversationFilter {
        labels: vec!["refund".to_owned()],
        ..everything(0)
    };
    let labelled = store.conversations(&labelled, None, 100).await.unwrap();
    let messages = MessageFilter::default();
    let messages = store.messages(&messages, None, 100).await.unwrap();
    let limit = Limit {
        rows_max: 100,
        bytes_max: usize::MAX,
    };
    let mentions = store.mentions("ana", None, None, limit).await.unwrap();
    format!(
        "{conversations:#?} {} {messages:#?} {}",
        labelled.len(),
        mentions.rows.len()
    )
}

fn note(text: &str) -> Event {
    let mut handling = Handling::default();
    handling.labels.insert(Label::parse("refund").unwrap());
    handling.note_count = 1;
    v1::NoteAdded {
        conversation: Some(fixture::conversation()),
        note_id: "n1".to_owned(),
        text: text.to_owned(),
        author: "ben".to_owned(),
        mentions: vec!["ana".to_owned()],
        handling: Some(convert::colleague::handling(&handling)),
        ..Default::default()
    }
    .into()
}

/// Fills every table that is made anew, over several streams.
async fn fill(fixture: &Fixture) {
    archive_messages(fixture, &[1, 2]).await;
    let opened = v1::WindowOpened {
        window: Some(window("c1", 30, WindowState::Open)),
        ..Default::default()
    };
    archive_each(fixture, "EVENTS", [opened.into(), note("ask @ana")]).await;
    super::messages::four(fixture).await;
}

/// Makes all of it anew, and returns how many steps that took.
async fn run(fixture: &Fixture) -> usize {
    let mut steps = 0;
    while rebuild::step(&fixture.store).await.unwrap() == Next::More {
        steps += 1;
    }
    steps
}

async fn ask(fixture: &Fixture) {
    run(fixture).await;
    fixture.store.ask_rebuild().await.unwrap();
}

pub(in crate::store) async fn read_models_made_anew_are_equal_to_those_made_from_scratch(
    fixture: &Fixture,
) {
    fill(fixture).await;
    let before = answers(fixture).await;
    assert!(run(fixture).await > 1, "no version is noted yet");
    assert_eq!(answers(fixture).await, before);
    assert_eq!(run(fixture).await, 0, "it is done once");

    // What was changed behind the archive's back is as the archive says again.
    for statement in [
        "DELETE FROM messages",
        "DELETE FROM message_terms",
        "UPDATE conversations SET inbound_count = 77",
        "DELETE FROM counted_facts",
        "DELETE FROM conversation_labels",
        "DELETE FROM mentions",
    ] {
        (fixture.tamper)(statement).await;
    }
    assert_ne!(answers(fixture).await, before);
    ask(fixture).await;
    run(fixture).await;
    assert_eq!(answers(fixture).await, before);

    // And once more, on tables and indexes that were exchanged before.
    ask(fixture).await;
    assert!(run(fixture).await > 1);
    assert_eq!(answers(fixture).await, before);
    let state = fixture.store.rebuild().await.unwrap();
    assert_eq!((state.served_ask, state.ask_count), (2, 2));
    assert_eq!(state.served, crate::store::versions());
    // An event that comes twice still counts once.
    let head = fixture.store.head("EVENTS", "1a").await.unwrap().unwrap();
    let again = Stored {
        sequence: head.last_sequence + 1,
        ..stored("EVENTS", 1)
    };
    archive(fixture, head, vec![again]).await;
    assert_eq!(conversation(fixture).await.inbound_count, 2);
}

pub(in crate::store) async fn the_old_ones_are_served_until_the_new_ones_have_all(
    fixture: &Fixture,
) {
    fill(fixture).await;
    ask(fixture).await;
    (fixture.tamper)("UPDATE conversations SET inbound_count = 77").await;
    let step = async || rebuild::step(&fixture.store).await.unwrap();
    assert_eq!(step().await, Next::More, "empty tables");
    assert_eq!(conversation(fixture).await.inbound_count, 77, "the old one");
    assert_eq!(step().await, Next::More, "most of the archive");
    assert_eq!(conversation(fixture).await.inbound_count, 77);
    let progress = rebuild::progress(&fixture.store).await.unwrap();
    assert!(progress.is_some_and(|ratio| ratio > 0.9), "{progress:?}");

    // What comes meanwhile goes into both.
    let head = fixture.store.head("EVENTS", "1a").await.unwrap().unwrap();
    let next = stored("EVENTS", head.last_sequence + 1);
    archive(fixture, head, vec![next]).await;
    assert_eq!(conversation(fixture).await.inbound_count, 78);
    let behind = fixture.store.rebuild().await.unwrap();
    let ended = fixture.store.end_rebuild(&behind).await;
    assert!(matches!(ended, Err(Error::Moved)), "not all is in it");
    assert_eq!(conversation(fixture).await.inbound_count, 78);
    run(fixture).await;
    assert_eq!(conversation(fixture).await.inbound_count, 3);
    assert_eq!(rebuild::progress(&fixture.store).await.unwrap(), None);
}

pub(in crate::store) async fn a_rebuild_goes_on_where_it_was_killed(fixture: &Fixture) {
    fill(fixture).await;
    let before = answers(fixture).await;
    ask(fixture).await;
    // Nothing of a process is needed to go on but the database: each step stands alone.
    let mut steps = 0;
    while rebuild::step(&fixture.store).await.unwrap() == Next::More {
        steps += 1;
        assert_eq!(answers(fixture).await, before, "after step {steps}");
    }
    // What somebody has begun and another program finds is begun again.
    ask(fixture).await;
    rebuild::step(&fixture.store).await.unwrap();
    rebuild::step(&fixture.store).await.unwrap();
    (fixture.tamper)(crate::store::RESTART_REBUILD).await;
    let state = fixture.store.rebuild().await.unwrap();
    assert!(state.row_count > 0);
    rebuild::step(&fixture.store).await.unwrap();
    let state = fixture.store.rebuild().await.unwrap();
    assert_eq!(state.row_count, 0, "from the first row on");
    run(fixture).await;
    assert_eq!(answers(fixture).await, before);
}

pub(in crate::store) async fn of_two_who_rebuild_each_goes_on_where_the_other_stands(
    fixture: &Fixture,
) {
    fill(fixture).await;
    ask(fixture).await;
    let from = fixture.store.rebuild().await.unwrap();
    let begin = || fixture.store.begin_rebuild(&from, "conversations=99");
    begin().await.unwrap();
    assert!(matches!(begin().await, Err(Error::Moved)));
    let building = fixture.store.rebuild().await.unwrap();
    let page = fixture
        .store
        .events(&EventFilter::default(), None, ALL)
        .await
        .unwrap();
    let mut rows = page.rows;
    rows.retain(|row| row.stored.stream == "EVENTS");
    let rows = crate::batch::again(rows);
    let go_on = || fixture.store.go_on_rebuild(&building, None, &rows);
    go_on().await.unwrap();
    assert!(matches!(go_on().await, Err(Error::Moved)));
    let marks = fixture.store.rebuild_marks().await.unwrap();
    assert_eq!((marks.len(), marks[0].sequence), (1, 4));
    let counted = fixture.store.rebuild().await.unwrap();
    assert_eq!(counted.row_count, 4);
}

pub(in crate::store) async fn what_has_left_the_log_is_known_to_new_read_models(fixture: &Fixture) {
    fill(fixture).await;
    let ended = async || {
        let ended = fixture.store.ended_messages(at(1_000), None, 10).await;
        let ended = ended.unwrap().into_iter().map(|key| key.message_id);
        ended.collect::<Vec<_>>()
    };
    let all = ended().await;
    assert!(!all.is_empty());
    fixture.store.mark_purged(&all[0], 1_000).await.unwrap();
    ask(fixture).await;
    run(fixture).await;
    assert_eq!(ended().await, all[1..]);
}
