//! Appends and their expectations, positions, and what the broker refuses.

use casement_event::Record;
use casement_event::subject::{self, Family, stream};
use casement_event_log::{AppendError, Config, Expect, Log, Position, Sizes};
use casement_testkit::NatsServer;

use crate::stage::{
    Ground, any_of, config, count, customer, log, note, notes_of, number, on_both, stage, text,
    texts, write,
};

/// How often two writers race.
const RACES: usize = 30;

on_both! {
    async fn an_append_is_refused_when_something_newer_stands(ground: &Ground) {
        let log = ground.log().await;
        let subject = notes_of("c1");
        let first = write(&log, &subject, "first").await;
        write(&log, &subject, "second").await;

        let stale = Expect::last(&subject, first.sequence);
        let refused = log.append(note(&subject, "third"), stale).await;
        assert!(
            matches!(refused, Err(AppendError::Conflict { .. })),
            "{refused:?}"
        );
        let refused = log
            .append(note(&subject, "third"), Expect::empty(&subject))
            .await;
        assert!(
            matches!(refused, Err(AppendError::Conflict { .. })),
            "{refused:?}"
        );
        assert_eq!(texts(&log, &subject).await, ["first", "second"]);
    }
}

on_both! {
    async fn what_was_handed_out_stands_or_was_erased_or_is_not_known_yet(ground: &Ground) {
        let log = ground.log().await;
        let erased = write(&log, &notes_of("c1"), "erased").await.sequence;
        let stands = write(&log, &notes_of("c2"), "stands").await.sequence;
        let subject = notes_of("c1");
        let purged = log.purge_subject(stream::EVENTS, &subject, u64::MAX).await;
        assert_eq!(purged.unwrap(), 1);
        for (seen, first) in [
            (stands, Some(stands)),
            (erased, Some(stands)),
            (stands + 1, None),
        ] {
            let found = log.first_from(stream::EVENTS, seen).await.unwrap();
            assert_eq!(found, first, "from {seen}");
        }
    }
}

#[tokio::test]
async fn a_plain_subscriber_hears_what_was_stored_and_nothing_that_was_refused() {
    use futures::StreamExt as _;
    let (server, log) = stage().await;
    let subject = notes_of("c1");
    let client = server.client().await;
    let mut heard = client.subscribe("casement.>").await.unwrap();
    client.flush().await.unwrap();
    write(&log, &subject, "first").await;
    for _ in 0..3 {
        let lost = log
            .append(note(&subject, "lost"), Expect::empty(&subject))
            .await;
        assert!(lost.is_err());
    }
    // A batch with a stale member is refused as a whole and goes again without it.
    let mut many: Vec<_> = (0..150)
        .map(|one| {
            (
                note(&notes_of(&format!("b{one}")), "batched"),
                Expect::Anything,
            )
        })
        .collect();
    many.push((note(&subject, "lost"), Expect::empty(&subject)));
    log.append_all(many).await;
    write(&log, &subject, "last").await;

    let (mut stored, mut ids) = (0, std::collections::BTreeSet::new());
    while let Some(message) = heard.next().await {
        let headers = message.headers.expect("headers are republished, too");
        let id = headers
            .get("casement-append-id")
            .expect("each append has an id");
        assert!(ids.insert(id.to_string()), "heard twice");
        let sequence = headers.get("Nats-Sequence").expect("the place on the log");
        stored = sequence.as_str().parse().unwrap();
        if stored == log.state(stream::EVENTS).await.unwrap().last_sequence {
            break;
        }
    }
    assert_eq!((ids.len(), stored), (152, 152));
}

on_both! {
    async fn any_newer_fact_of_the_customer_refuses_an_append_that_expects_none(ground: &Ground) {
        let log = ground.log().await;
        let window = subject::conversation(Family::Window, &number(), &customer("c1"));
        let inbound = subject::conversation(Family::Inbound, &number(), &customer("c1"));
        let seen = write(&log, &inbound, "seen").await;
        let opened = log
            .append(
                note(&window, "opened"),
                Expect::last(any_of("c1"), seen.sequence),
            )
            .await
            .unwrap();

        write(&log, &inbound, "not seen").await;
        let stale = Expect::last(any_of("c1"), opened.sequence);
        let refused = log.append(note(&window, "expired"), stale).await;
        assert!(
            matches!(refused, Err(AppendError::Conflict { .. })),
            "{refused:?}"
        );

        write(&log, &notes_of("c2"), "of another customer").await;
        let newest = log
            .last(stream::EVENTS, &any_of("c1"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(text(&newest), "not seen");
        let fresh = Expect::last(any_of("c1"), newest.sequence);
        log.append(note(&window, "expired"), fresh).await.unwrap();
    }
}

on_both! {
    async fn of_two_writers_that_claim_with_the_same_event_exactly_one_wins(ground: &Ground) {
        let one = ground.log().await;
        let other = ground.log().await;
        for race in 0..RACES {
            let subject = notes_of(&format!("c{race}"));
            let claim = || note(&subject, "claimed");
            let (first, second) = tokio::join!(
                one.append(claim(), Expect::empty(&subject)),
                other.append(claim(), Expect::empty(&subject)),
            );
            let (won, lost) = if first.is_ok() {
                (first, second)
            } else {
                (second, first)
            };
            assert!(
                matches!(lost, Err(AppendError::Conflict { .. })),
                "{lost:?}"
            );
            let all = one.read_subject(stream::EVENTS, &subject).await.unwrap();
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].sequence, won.unwrap().sequence);
            assert_eq!(all[0].id(), Some(claim().id));
        }
    }
}

on_both! {
    async fn appends_of_one_subject_keep_their_order(ground: &Ground) {
        let log = ground.log().await;
        // Few are pipelined, many are shipped as a batch.
        for len in [10, 400] {
            let subject = notes_of(&format!("c{len}"));
            let expected: Vec<String> = (0..len).map(|index| index.to_string()).collect();
            let all = expected
                .iter()
                .map(|text| (note(&subject, text), Expect::Anything))
                .collect();
            let positions = log.append_all(all).await.into_iter().map(Result::unwrap);
            let sequences: Vec<u64> = positions.map(|position| position.sequence).collect();
            assert!(sequences.is_sorted(), "{sequences:?}");
            assert_eq!(texts(&log, &subject).await, expected);
        }
    }
}

on_both! {
    async fn an_unconditional_append_behind_a_claim_of_its_subject_stays_behind_it(ground: &Ground) {
        let log = ground.log().await;
        let mut all = Vec::new();
        for index in 0..150 {
            let subject = notes_of(&format!("c{index}"));
            all.push((note(&subject, "claim"), Expect::empty(&subject)));
            all.push((note(&subject, "remark"), Expect::Anything));
        }
        let results = log.append_all(all).await;
        assert!(results.iter().all(Result::is_ok));
        for index in 0..150 {
            let subject = notes_of(&format!("c{index}"));
            assert_eq!(texts(&log, &subject).await, ["claim", "remark"]);
        }
    }
}

on_both! {
    async fn an_append_says_where_it_stands(ground: &Ground) {
        let log = ground.log().await;
        let position = write(&log, &notes_of("c1"), "here").await;
        let read: Position = position.to_string().parse().unwrap();
        let stored = log.get(&read.stream, read.sequence).await.unwrap().unwrap();
        assert_eq!(text(&stored), "here");
        assert_eq!(stored.incarnation, read.incarnation);
        assert!(log.has_reached(&read).await.unwrap());
        let later = Position {
            sequence: read.sequence + 1,
            ..read
        };
        assert!(!log.has_reached(&later).await.unwrap());
    }
}

#[tokio::test]
async fn a_position_of_an_earlier_life_of_the_stream_is_never_reached() {
    let (server, before) = stage().await;
    let position = write(&before, &notes_of("c1"), "lost").await;
    let client = server.client().await;
    client
        .request("$JS.API.STREAM.DELETE.EVENTS", "".into())
        .await
        .unwrap();

    let after = log(&server).await;
    let again = write(&after, &notes_of("c1"), "new").await;
    assert_eq!(again.sequence, position.sequence);
    assert!(!after.has_reached(&position).await.unwrap());
    assert!(after.has_reached(&again).await.unwrap());
}

on_both! {
    async fn what_was_appended_is_read_back_whole(ground: &Ground) {
        let log = ground.log().await;
        let subject = notes_of("c1");
        let traced = note(&subject, "whole").about("c1").caused_by(Some(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        ));
        log.append(traced.clone(), Expect::Anything).await.unwrap();
        let stored = log.last(stream::EVENTS, &subject).await.unwrap().unwrap();
        assert_eq!(stored.subject, subject);
        assert_eq!(stored.event().unwrap(), traced.event);
        for (name, value) in traced.headers() {
            assert_eq!(stored.header(name), Some(value.as_str()), "{name}");
        }
        let next = log
            .next(stream::EVENTS, &subject, stored.sequence + 1)
            .await
            .unwrap();
        assert_eq!(next, None);
    }
}

on_both! {
    async fn an_event_larger_than_the_broker_takes_is_refused_alone(ground: &Ground) {
        let log = ground.log().await;
        let large = note(&notes_of("c1"), &"x".repeat(9_000_000));
        let mut all: Vec<(Record, Expect)> = vec![(large, Expect::Anything)];
        all.extend((0..150).map(|index| {
            (
                note(&notes_of(&format!("d{index}")), "small"),
                Expect::Anything,
            )
        }));
        let mut results = log.append_all(all).await.into_iter();
        let first = results.next().unwrap();
        assert!(
            matches!(first, Err(AppendError::TooLarge { .. })),
            "{first:?}"
        );
        assert!(results.all(|result| result.is_ok()));
        assert_eq!(count(&log).await, 150);
    }
}

#[tokio::test]
async fn a_full_stream_refuses_and_deletes_nothing() {
    let server = NatsServer::builder().monitoring(true).start().await;
    let small = Config {
        sizes: Sizes {
            events_mib: 1,
            ..Sizes::default()
        },
        ..config(&server)
    };
    let log = Log::connect(&small).await.unwrap();
    let half = "x".repeat(600_000);
    write(&log, &notes_of("c1"), &half).await;
    let refused = log
        .append(note(&notes_of("c1"), &half), Expect::Anything)
        .await;
    assert!(
        matches!(refused, Err(AppendError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(count(&log).await, 1);
    // What fits is still taken.
    write(&log, &notes_of("c1"), "small").await;
}

on_both! {
    async fn a_subject_that_no_stream_takes_is_refused(ground: &Ground) {
        let log = ground.log().await;
        let refused = log
            .append(note("elsewhere.x.y", "lost"), Expect::Anything)
            .await;
        assert!(
            matches!(refused, Err(AppendError::Refused { .. })),
            "{refused:?}"
        );
    }
}

on_both! {
    async fn a_purge_removes_what_it_names_and_nothing_else(ground: &Ground) {
        let log = ground.log().await;
        for round in 0..3 {
            for name in ["c1", "c2"] {
                write(&log, &notes_of(name), &format!("{name} {round}")).await;
            }
        }
        assert_eq!(
            log.purge_subject(stream::EVENTS, &notes_of("c1"), u64::MAX)
                .await
                .unwrap(),
            3
        );
        assert_eq!(texts(&log, &notes_of("c1")).await, [""; 0]);
        let second = log
            .read_subject(stream::EVENTS, &notes_of("c2"))
            .await
            .unwrap()[1]
            .sequence;
        assert_eq!(log.purge_up_to(stream::EVENTS, second).await.unwrap(), 1);
        assert_eq!(texts(&log, &notes_of("c2")).await, ["c2 1", "c2 2"]);
    }
}
