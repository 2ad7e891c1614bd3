//! What stands last on several subjects, with proof of how new that is.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event_log::{Config, Log, ReadError};

use crate::stage::{self, Ground, behind, notes_of, on_both, text, write};

on_both! {
    async fn the_newest_of_each_subject_is_read_as_all_stood_together(ground: &Ground) {
        let log = ground.log().await;
        write(&log, &notes_of("ana"), "first").await;
        write(&log, &notes_of("bo"), "second").await;
        let last = write(&log, &notes_of("ana"), "third").await.sequence;
        let (ana, bo, nobody) = (notes_of("ana"), notes_of("bo"), notes_of("nobody"));
        for (filters, said) in [
            (&[ana.as_str(), &bo, &nobody][..], &["second", "third"][..]),
            (&["casement.events.note.>"], &["second", "third"]),
            (&[&bo], &["second"]),
        ] {
            let newest = log.newest_of_each(stream::EVENTS, filters, last).await.unwrap();
            let texts: Vec<_> = newest.iter().map(text).collect();
            assert_eq!(texts, said, "{filters:?}");
        }
        let alone = log.last(stream::EVENTS, &ana).await.unwrap().unwrap();
        let together = log.newest_of_each(stream::EVENTS, &[&ana], last).await.unwrap();
        assert_eq!(together, [alone], "down to headers and times");
    }
}

on_both! {
    async fn hundreds_of_subjects_come_whole(ground: &Ground) {
        let log = ground.log().await;
        let mut last = 0;
        for one in 0..300 {
            last = write(&log, &notes_of(&format!("c{one}")), "note").await.sequence;
        }
        let filters = ["casement.events.note.>"];
        let all = log.newest_of_each(stream::EVENTS, &filters, last).await.unwrap();
        let sequences: Vec<u64> = all.iter().map(|stored| stored.sequence).collect();
        assert_eq!(sequences, (1..=300).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_broker_that_has_not_heard_of_what_was_seen_is_not_believed() {
    let server = stage::server().await;
    let config = Config {
        read_timeout: Duration::from_millis(300),
        ..stage::config(&server)
    };
    let log = Log::connect(&config).await.unwrap();
    let ana = notes_of("ana");
    let seen = write(&log, &ana, "first").await.sequence;
    for (filter, seen) in [(ana.clone(), seen + 1), (notes_of("nobody"), seen)] {
        let answer = log.newest_of_each(stream::EVENTS, &[&filter], seen).await;
        assert!(
            matches!(answer, Err(ReadError::Unavailable { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_lacks_what_was_seen_is_asked_for_again() {
    let (log, fates) = behind();
    let ana = notes_of("ana");
    write(&log, &ana, "first").await;
    let seen = write(&log, &ana, "second").await.sequence;
    fates.by(1);
    let asked = tokio::spawn({
        let (log, ana) = (log.clone(), ana.clone());
        async move { log.newest_of_each(stream::EVENTS, &[&ana], seen).await }
    });
    while fates.answers() < 3 {
        tokio::task::yield_now().await;
    }
    fates.by(0);
    let newest = asked.await.unwrap().unwrap();
    assert_eq!(text(&newest[0]), "second");
}

#[tokio::test]
async fn what_whoever_answers_lacks_is_not_taken_for_gone() {
    let (log, fates) = behind();
    let erased = write(&log, &notes_of("ana"), "erased").await.sequence;
    let stands = write(&log, &notes_of("bo"), "stands").await.sequence;
    let ana = notes_of("ana");
    let purged = log.purge_subject(stream::EVENTS, &ana, u64::MAX).await;
    assert_eq!(purged.unwrap(), 1);
    for (unheard, sequence, is_gone) in [
        (0, erased, true),
        (0, stands, false),
        (1, stands, false),
        (2, erased, false),
    ] {
        fates.by(unheard);
        let found = log.is_gone(stream::EVENTS, sequence).await.unwrap();
        assert_eq!(found, is_gone, "{sequence}, {unheard} unheard of");
    }
}
