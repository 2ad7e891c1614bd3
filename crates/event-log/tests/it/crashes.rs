//! The broker is killed under load, and starts again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use casement_event::Stored;
use casement_event::subject::stream;
use casement_event_log::{AppendError, Expect, Followed, Log, Start};
use casement_testkit::eventually;

use crate::stage::{note, notes_of, stage, text};

const CHAINS: usize = 24;
const KILLS: u64 = 2;

/// What one writer was told.
#[derive(Default)]
struct Told {
    /// Subject and text of each append that succeeded, and where.
    stored: Vec<(String, String, u64)>,
}

/// The newest sequence on a subject, once the broker answers.
async fn newest_on(log: &Log, subject: &str) -> u64 {
    loop {
        // Each question takes its time if nobody answers.
        if let Ok(newest) = log.last(stream::EVENTS, subject).await {
            return newest.map_or(0, |stored| stored.sequence);
        }
    }
}

/// Appends one after the other to one subject, each expecting the one before.
async fn chain(log: Log, name: String, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Told {
    let subject = notes_of(&name);
    let mut told = Told::default();
    let mut newest = 0;
    for index in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let text = format!("{name} {index}");
        match log
            .append(note(&subject, &text), Expect::last(&subject, newest))
            .await
        {
            Ok(position) => {
                newest = position.sequence;
                told.stored.push((subject.clone(), text, newest));
                done.fetch_add(1, Ordering::SeqCst);
            }
            // Nobody else writes here: only an append of ours whose outcome was unknown.
            Err(AppendError::Conflict { .. } | AppendError::Unknown { .. }) => {
                newest = newest_on(&log, &subject).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    told
}

/// Appends in batches, to new subjects each time.
async fn bulk(log: Log, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Told {
    let mut told = Told::default();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let names: Vec<String> = (0..200).map(|index| format!("b{round}x{index}")).collect();
        let all = names.iter().map(|name| {
            let subject = notes_of(name);
            (note(&subject, name), Expect::empty(subject))
        });
        let results = log.append_all(all.collect()).await;
        for (name, result) in names.into_iter().zip(results) {
            match result {
                Ok(position) => {
                    told.stored.push((notes_of(&name), name, position.sequence));
                    done.fetch_add(1, Ordering::SeqCst);
                }
                Err(AppendError::Unknown { .. }) => {}
                Err(other) => panic!("{name}: {other}"),
            }
        }
    }
    told
}

async fn read_all(log: &Log) -> Vec<Stored> {
    let mut follower = log.follow(stream::EVENTS, Vec::new(), Start::Sequence(1));
    let mut all = Vec::new();
    loop {
        match follower.next().await {
            Followed::Event(stored) => all.push(stored),
            Followed::CaughtUp { .. } => return all,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_append_that_succeeded_is_stored_exactly_once_however_often_the_broker_is_killed() {
    let (mut server, log) = stage().await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for index in 0..CHAINS {
        let (log, stop, done) = (log.clone(), Arc::clone(&stop), Arc::clone(&done));
        writers.push(tokio::spawn(chain(log, format!("c{index}"), stop, done)));
    }
    writers.push(tokio::spawn(bulk(
        log.clone(),
        Arc::clone(&stop),
        Arc::clone(&done),
    )));

    for kill in 0..=KILLS {
        let before = done.load(Ordering::SeqCst);
        eventually("the load runs", async || {
            done.load(Ordering::SeqCst) > before + 500
        })
        .await;
        if kill < KILLS {
            server.restart().await;
        }
    }
    stop.store(true, Ordering::SeqCst);

    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.unwrap().stored);
    }
    let all = read_all(&log).await;
    let mut stands: HashMap<(String, String), u64> = HashMap::new();
    let mut append_ids = HashSet::new();
    for stored in &all {
        let key = (stored.subject.clone(), text(stored));
        assert_eq!(
            stands.insert(key.clone(), stored.sequence),
            None,
            "{key:?} stands twice"
        );
        let append_id = stored.header("casement-append-id").unwrap().to_owned();
        assert!(
            append_ids.insert(append_id),
            "{key:?} has the id of another"
        );
    }
    assert!(told.len() > 1_500, "{}", told.len());
    for (subject, text, sequence) in told {
        let key = (subject, text);
        assert_eq!(stands.get(&key), Some(&sequence), "{key:?}");
    }
}
