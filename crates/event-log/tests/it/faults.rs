//! A network that loses what the broker says, and a broker that is away.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event_log::{AppendError, Config, Expect, Log, ReadError};
use casement_testkit::{NatsServer, Proxy, eventually};
use tokio::time::Instant;

use crate::stage::{config, count, log, note, notes_of, server, texts, write};

/// A log behind a proxy, and one that reaches the broker past it.
struct Stage {
    /// Kept, since it ends when dropped.
    _server: NatsServer,
    proxy: Proxy,
    behind: Log,
    past: Log,
}

async fn stage() -> Stage {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await;
    let through = Config {
        servers: proxy.url("nats"),
        ..config(&server)
    };
    let behind = Log::connect(&through).await.unwrap();
    let past = log(&server).await;
    Stage {
        _server: server,
        proxy,
        behind,
        past,
    }
}

impl Stage {
    /// Lets the broker's answers be lost until `len` more messages are stored.
    async fn lose_answers_until(&self, len: u64) {
        eventually("the append reaches the broker", async || {
            count(&self.past).await == len
        })
        .await;
        eventually("its answer is lost", async || self.proxy.lost_bytes() > 0).await;
        self.proxy.forward();
    }
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_stored_once_and_known_to_be() {
    for expect in [Expect::Anything, Expect::empty(notes_of("c1"))] {
        let stage = stage().await;
        let subject = notes_of("c1");
        stage.proxy.drop_replies();
        let append = stage.behind.append(note(&subject, "once"), expect);
        let (result, ()) = tokio::join!(append, stage.lose_answers_until(1));
        let stored = stage
            .past
            .read_subject(stream::EVENTS, &subject)
            .await
            .unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!(result.unwrap().sequence, stored[0].sequence);
    }
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_stored_once_and_known_to_be() {
    let stage = stage().await;
    let subjects: Vec<String> = (0..150)
        .map(|index| notes_of(&format!("c{index}")))
        .collect();
    let mut all = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let expect = if index % 2 == 0 {
            Expect::Anything
        } else {
            Expect::empty(subject)
        };
        all.push((note(subject, "once"), expect));
    }
    stage.proxy.drop_replies();
    let (results, ()) = tokio::join!(stage.behind.append_all(all), stage.lose_answers_until(150));
    for (subject, result) in subjects.iter().zip(results) {
        let stored = stage
            .past
            .read_subject(stream::EVENTS, subject)
            .await
            .unwrap();
        assert_eq!(stored.len(), 1, "{subject}");
        assert_eq!(result.unwrap().sequence, stored[0].sequence, "{subject}");
    }
}

#[tokio::test]
async fn a_loser_who_heard_nothing_does_not_take_the_winners_event_for_its_own() {
    let stage = stage().await;
    let subject = notes_of("c1");
    // The very same event: same id, same payload.
    let claim = || note(&subject, "claimed");
    stage
        .past
        .append(claim(), Expect::empty(&subject))
        .await
        .unwrap();
    stage.proxy.drop_replies();
    let append = stage.behind.append(claim(), Expect::empty(&subject));
    let (result, ()) = tokio::join!(append, async {
        eventually("the refusal is lost", async || stage.proxy.lost_bytes() > 0).await;
        stage.proxy.forward();
    });
    assert!(
        matches!(result, Err(AppendError::Conflict { .. })),
        "{result:?}"
    );
    assert_eq!(texts(&stage.past, &subject).await, ["claimed"]);
}

#[tokio::test]
async fn a_winner_whose_answer_was_lost_knows_its_event_behind_later_ones() {
    let stage = stage().await;
    let subject = notes_of("c1");
    stage.proxy.drop_replies();
    let append = stage
        .behind
        .append(note(&subject, "mine"), Expect::empty(&subject));
    let (result, ()) = tokio::join!(append, async {
        eventually("it is stored", async || count(&stage.past).await == 1).await;
        for _ in 0..3 {
            write(&stage.past, &subject, "theirs").await;
        }
        stage.lose_answers_until(4).await;
    });
    assert_eq!(result.unwrap().sequence, 1);
    assert_eq!(
        texts(&stage.past, &subject).await,
        ["mine", "theirs", "theirs", "theirs"]
    );
}

#[tokio::test]
async fn connections_that_break_again_and_again_lose_and_double_nothing() {
    let stage = stage().await;
    let subject = notes_of("c1");
    let appends = async {
        let mut sequence = 0;
        for index in 0..60 {
            let expect = Expect::last(&subject, sequence);
            let position = stage
                .behind
                .append(note(&subject, &index.to_string()), expect)
                .await;
            sequence = position.unwrap().sequence;
        }
    };
    let breaks = async {
        for round in 1..=6 {
            eventually("some got through", async || {
                count(&stage.past).await >= round * 8
            })
            .await;
            stage.proxy.sever();
        }
    };
    tokio::join!(appends, breaks);
    let expected: Vec<String> = (0..60).map(|index| index.to_string()).collect();
    assert_eq!(texts(&stage.past, &subject).await, expected);
}

/// What a caller may wait beyond its deadline on a machine that does other things, too.
const SLACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn callers_hear_within_the_deadline_that_the_broker_is_away() {
    let mut server = server().await;
    let short = Config {
        append_deadline: Duration::from_secs(1),
        read_timeout: Duration::from_millis(500),
        ..config(&server)
    };
    let log = Log::connect(&short).await.unwrap();
    server.kill();
    let started = Instant::now();
    // More than the queue, and the client's queue, hold.
    let records =
        (0..9_000).map(|index| (note(&notes_of(&format!("c{index}")), "x"), Expect::Anything));
    let (all, lone, last, state) = tokio::join!(
        log.append_all(records.collect()),
        log.append(note(&notes_of("c1"), "x"), Expect::empty(notes_of("c1"))),
        log.last(stream::EVENTS, "casement.events.note.>"),
        log.state(stream::EVENTS),
    );
    assert!(
        started.elapsed() < short.append_deadline + SLACK,
        "{:?}",
        started.elapsed()
    );
    for result in all.into_iter().chain([lone]) {
        assert!(
            matches!(result, Err(AppendError::Unknown { .. })),
            "{result:?}"
        );
    }
    assert!(
        matches!(last, Err(ReadError::Unavailable { .. })),
        "{last:?}"
    );
    assert!(
        matches!(state, Err(ReadError::Unavailable { .. })),
        "{state:?}"
    );

    server.start_again().await;
    eventually("appends get through again", async || {
        log.append(note(&notes_of("d1"), "back"), Expect::Anything)
            .await
    })
    .await;
}

#[tokio::test]
async fn callers_hear_within_the_deadline_that_the_broker_is_frozen() {
    let server = server().await;
    let short = Config {
        append_deadline: Duration::from_secs(1),
        read_timeout: Duration::from_millis(500),
        ..config(&server)
    };
    let log = Log::connect(&short).await.unwrap();
    server.pause();
    let started = Instant::now();
    let subjects: Vec<String> = (0..3_000)
        .map(|index| notes_of(&format!("c{index}")))
        .collect();
    let records = subjects
        .iter()
        .map(|subject| (note(subject, "x"), Expect::empty(subject)));
    let (all, last) = tokio::join!(
        log.append_all(records.collect()),
        log.last(stream::EVENTS, "casement.events.note.>"),
    );
    assert!(
        started.elapsed() < short.append_deadline + SLACK,
        "{:?}",
        started.elapsed()
    );
    assert!(
        matches!(last, Err(ReadError::Unavailable { .. })),
        "{last:?}"
    );
    for result in &all {
        assert!(
            matches!(result, Err(AppendError::Unknown { .. })),
            "{result:?}"
        );
    }

    // What was on its way may still be stored, but never twice.
    server.resume();
    eventually("appends get through again", async || {
        log.append(note(&notes_of("d1"), "back"), Expect::Anything)
            .await
    })
    .await;
    let stored = count(&log).await;
    let mut distinct = 0;
    for subject in &subjects {
        let len = texts(&log, subject).await.len();
        assert!(len <= 1, "{subject} stands {len} times");
        distinct += len as u64;
    }
    assert!(stored >= distinct);
}
