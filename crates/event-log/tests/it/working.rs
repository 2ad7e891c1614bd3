//! Work: acknowledged after its effect, handed out again until it is done.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Stored, Uuid, v1};
use casement_event_log::{Delivery, Expect, Failure, Log, WorkSpec};
use casement_testkit::{NatsServer, eventually};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stage::{log, note, notes_of, stage, text, write};

fn spec() -> WorkSpec {
    WorkSpec {
        name: "tester",
        stream: stream::EVENTS,
        filters: vec!["casement.events.note.>".to_owned()],
        in_hand_max: 8,
        ack_wait: Duration::from_secs(30),
    }
}

/// What the broker says of the durable consumer.
async fn consumer(server: &NatsServer) -> Value {
    let client = server.client().await;
    let answer = client
        .request("$JS.API.CONSUMER.INFO.EVENTS.tester", "".into())
        .await
        .unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Waits until the broker knows of nothing undone.
async fn all_done(server: &NatsServer) {
    eventually("all is acknowledged", async || {
        let info = consumer(server).await;
        let undone = (
            info["num_ack_pending"].as_u64(),
            info["num_pending"].as_u64(),
        );
        if undone == (Some(0), Some(0)) {
            Ok(())
        } else {
            Err(info.to_string())
        }
    })
    .await;
}

async fn write_all(log: &Log, len: usize) -> HashSet<String> {
    let texts: HashSet<String> = (0..len).map(|index| index.to_string()).collect();
    let all = texts
        .iter()
        .map(|text| (note(&notes_of("c1"), text), Expect::Anything))
        .collect();
    assert!(log.append_all(all).await.iter().all(Result::is_ok));
    texts
}

fn not_now() -> Failure {
    Failure(Box::new(std::io::Error::other("not now")))
}

#[tokio::test]
async fn what_could_not_be_done_comes_again_until_it_is() {
    let (server, log) = stage().await;
    write(&log, &notes_of("c1"), "stubborn").await;
    let stopping = CancellationToken::new();
    let (seen_in, mut seen) = mpsc::unbounded_channel();
    let handle = |delivery: Delivery| {
        let seen_in = seen_in.clone();
        async move {
            let _ = seen_in.send(delivery.delivered);
            if delivery.delivered < 4 {
                Err(not_now())
            } else {
                Ok(())
            }
        }
    };
    let watch = async {
        for expected in 1..=4 {
            assert_eq!(seen.recv().await, Some(expected));
        }
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(log.work(spec(), stopping.clone(), handle), watch);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_effect() {
    let (server, log) = stage().await;
    write(&log, &notes_of("c1"), "slow").await;
    let stopping = CancellationToken::new();
    let gate = Semaphore::new(0);
    let begun = Semaphore::new(0);
    let handle = |_: Delivery| async {
        begun.add_permits(1);
        gate.acquire().await?.forget();
        Ok(())
    };
    let watch = async {
        begun.acquire().await.unwrap().forget();
        assert_eq!(consumer(&server).await["num_ack_pending"], 1);
        gate.add_permits(1);
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(log.work(spec(), stopping.clone(), handle), watch);
}

#[tokio::test]
async fn slow_handling_is_not_given_to_another_worker() {
    let (server, log) = stage().await;
    write(&log, &notes_of("c1"), "slow").await;
    let ack_wait = Duration::from_millis(300);
    let spec = WorkSpec { ack_wait, ..spec() };
    let stopping = CancellationToken::new();
    let (begun, gate) = (AtomicUsize::new(0), Semaphore::new(0));
    let handle = |_: Delivery| async {
        begun.fetch_add(1, Ordering::SeqCst);
        gate.acquire().await?.forget();
        Ok(())
    };
    let watch = async {
        eventually("it is begun", async || begun.load(Ordering::SeqCst) == 1).await;
        // Longer than the broker waits without a word.
        let until = Instant::now() + 3 * ack_wait;
        eventually("it takes long", async || Instant::now() >= until).await;
        gate.add_permits(2);
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(
        log.work(spec.clone(), stopping.clone(), handle),
        log.work(spec.clone(), stopping.clone(), handle),
        watch,
    );
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

/// Writes a dead letter for what says `poison`.
async fn with_dead_letters(
    log: &Log,
    delivery: Delivery,
    done: &Mutex<HashSet<String>>,
) -> Result<(), Failure> {
    let text = text(&delivery.stored);
    if text != "poison" {
        done.lock().unwrap().insert(text);
        return Ok(());
    }
    let letter = v1::DeadLetter {
        role: "tester".to_owned(),
        reason: "poison".to_owned(),
        stream: delivery.stored.stream.clone(),
        sequence: delivery.stored.sequence,
        item: delivery.stored.payload.to_vec(),
        ..v1::DeadLetter::default()
    };
    let id = Uuid::new_v4();
    let time = Timestamp::UNIX_EPOCH;
    let record = Record::new(subject::dead("tester"), id, "casement/test", time, letter);
    log.append(record, Expect::Anything).await?;
    Ok(())
}

#[tokio::test]
async fn what_can_never_be_done_becomes_a_dead_letter_and_harms_nothing_else() {
    let (server, log) = stage().await;
    for text in ["before", "poison", "after"] {
        write(&log, &notes_of("c1"), text).await;
    }
    let stopping = CancellationToken::new();
    let done = Mutex::new(HashSet::new());
    let handle = |delivery: Delivery| with_dead_letters(&log, delivery, &done);
    let watch = async {
        eventually("the others are done", async || {
            done.lock().unwrap().len() == 2
        })
        .await;
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(log.work(spec(), stopping.clone(), handle), watch);
    let dead = log
        .read_subject(stream::DEAD, "casement.dead.tester")
        .await
        .unwrap();
    let [Ok(Event::DeadLetter(letter))] = &dead.iter().map(Stored::event).collect::<Vec<_>>()[..]
    else {
        panic!("{dead:?}");
    };
    assert_eq!((letter.stream.as_str(), letter.sequence), ("EVENTS", 2));
}

#[tokio::test]
async fn workers_of_one_name_share_the_work() {
    let (server, log) = stage().await;
    let texts = write_all(&log, 200).await;
    let stopping = CancellationToken::new();
    let (begun, _) = watch::channel([false; 2]);
    let seen = Mutex::new(Vec::new());
    let worker = |index: usize| {
        let (begun, seen) = (&begun, &seen);
        move |delivery: Delivery| async move {
            begun.send_modify(|begun| begun[index] = true);
            seen.lock().unwrap().push(text(&delivery.stored));
            // Neither does it all before the other has begun.
            begun
                .subscribe()
                .wait_for(|begun| *begun == [true; 2])
                .await?;
            Ok(())
        }
    };
    let watch = async {
        eventually("all are seen", async || seen.lock().unwrap().len() == 200).await;
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(
        log.work(spec(), stopping.clone(), worker(0)),
        log.work(spec(), stopping.clone(), worker(1)),
        watch,
    );
    let seen: Vec<String> = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 200, "each once");
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), texts);
}

#[tokio::test]
async fn a_worker_that_stops_finishes_what_it_began_and_leaves_the_rest_to_others_at_once() {
    let (server, log) = stage().await;
    let texts = write_all(&log, 20).await;
    let stopping = CancellationToken::new();
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let finished = Mutex::new(HashSet::new());
    let handle = |delivery: Delivery| {
        let (gate, begun, finished) = (Arc::clone(&gate), Arc::clone(&begun), &finished);
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await?.forget();
            finished.lock().unwrap().insert(text(&delivery.stored));
            Ok(())
        }
    };
    let few = WorkSpec {
        in_hand_max: 4,
        ..spec()
    };
    let stop = async {
        eventually("some are begun", async || begun.load(Ordering::SeqCst) == 4).await;
        stopping.cancel();
        gate.add_permits(4);
    };
    tokio::join!(log.work(few.clone(), stopping.clone(), handle), stop);
    assert_eq!(finished.lock().unwrap().len(), 4);
    assert_eq!(
        begun.load(Ordering::SeqCst),
        4,
        "nothing was begun after the word to stop"
    );

    let started = Instant::now();
    gate.add_permits(20);
    let stopping = CancellationToken::new();
    let watch = async {
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(log.work(few.clone(), stopping.clone(), handle), watch);
    assert_eq!(*finished.lock().unwrap(), texts);
    assert_eq!(begun.load(Ordering::SeqCst), 20, "each once");
    assert!(
        started.elapsed() < few.ack_wait / 2,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn work_goes_on_after_the_broker_was_killed() {
    let (mut server, log) = stage().await;
    let texts = write_all(&log, 300).await;
    let stopping = CancellationToken::new();
    let done = Mutex::new(HashSet::new());
    let gate = Semaphore::new(100);
    let handle = |delivery: Delivery| {
        let (done, gate) = (&done, &gate);
        async move {
            gate.acquire().await?.forget();
            done.lock().unwrap().insert(text(&delivery.stored));
            Ok(())
        }
    };
    let spec = WorkSpec {
        ack_wait: Duration::from_secs(2),
        ..spec()
    };
    let kill = async {
        eventually("some are done", async || done.lock().unwrap().len() == 100).await;
        server.restart().await;
        // Repeats are no harm: every handler takes them.
        gate.add_permits(10_000);
        eventually("all are done", async || done.lock().unwrap().len() == 300).await;
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(log.work(spec, stopping.clone(), handle), kill);
    assert_eq!(done.into_inner().unwrap(), texts);
}

#[tokio::test]
async fn work_begun_by_a_worker_that_was_lost_is_handed_to_another() {
    let (server, log_of_lost) = stage().await;
    write(&log_of_lost, &notes_of("c1"), "left").await;
    let spec = WorkSpec {
        ack_wait: Duration::from_millis(500),
        ..spec()
    };
    let begun = Arc::new(Semaphore::new(0));
    let lost = {
        let (spec, begun) = (spec.clone(), Arc::clone(&begun));
        tokio::spawn(async move {
            let handle = |_: Delivery| async {
                begun.add_permits(1);
                std::future::pending::<Result<(), Failure>>().await
            };
            log_of_lost
                .work(spec, CancellationToken::new(), handle)
                .await;
        })
    };
    begun.acquire().await.unwrap().forget();
    lost.abort();

    let log = log(&server).await;
    let stopping = CancellationToken::new();
    let (seen_in, mut seen) = mpsc::unbounded_channel();
    let handle = |delivery: Delivery| {
        let _ = seen_in.send(delivery.delivered);
        async { Ok(()) }
    };
    let watch = async {
        assert_eq!(seen.recv().await, Some(2));
        all_done(&server).await;
        stopping.cancel();
    };
    tokio::join!(log.work(spec, stopping.clone(), handle), watch);
}

#[tokio::test]
async fn work_that_comes_after_the_broker_was_killed_is_begun_at_once() {
    let (mut server, log) = stage().await;
    let stopping = CancellationToken::new();
    let (seen_in, mut seen) = mpsc::unbounded_channel();
    let handle = |delivery: Delivery| {
        let _ = seen_in.send(text(&delivery.stored));
        async { Ok(()) }
    };
    let watch = async {
        write(&log, &notes_of("c1"), "before").await;
        assert_eq!(seen.recv().await.as_deref(), Some("before"));
        server.restart().await;
        write(&log, &notes_of("c1"), "after").await;
        let written = Instant::now();
        let mut texts = HashSet::new();
        while !texts.contains("after") {
            texts.extend(seen.recv().await);
        }
        // Not only when the broker's silence was noticed.
        assert!(
            written.elapsed() < Duration::from_secs(2),
            "{:?}",
            written.elapsed()
        );
        stopping.cancel();
    };
    tokio::join!(log.work(spec(), stopping.clone(), handle), watch);
}
