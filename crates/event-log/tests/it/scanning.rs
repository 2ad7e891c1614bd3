//! Many messages of one subject at once.

use casement_event::Stored;
use casement_event::subject::stream;
use casement_event_log::{Expect, Log};
use casement_testkit::Proxy;

use crate::stage::{config, log, note, notes_of, server};

const LEN: usize = 600;

/// Writes that many notes of one customer, each with another's in between.
async fn written(log: &Log) -> (String, Vec<Stored>) {
    let subject = notes_of("c1");
    let appends = (0..LEN).flat_map(|index| {
        let texts = [(subject.clone(), index), (notes_of("c2"), index)];
        texts.map(|(subject, index)| {
            let record = note(&subject, &format!("note {index}"));
            log.append(record, Expect::Anything)
        })
    });
    for appended in futures::future::join_all(appends).await {
        appended.unwrap();
    }
    let all = log.read_subject(stream::EVENTS, &subject).await.unwrap();
    assert_eq!(all.len(), LEN);
    (subject, all)
}

#[tokio::test]
async fn a_range_of_a_subject_is_read_in_few_requests_and_is_whole() {
    let server = server().await;
    let (subject, all) = written(&log(&server).await).await;
    let proxy = Proxy::start(server.addr()).await;
    let mut config = config(&server);
    config.servers = proxy.url("nats");
    let log = Log::connect(&config).await.unwrap();

    let (first, last) = (all[0].sequence, all[LEN - 1].sequence);
    let before = proxy.request_bytes();
    let read = log
        .read_range(stream::EVENTS, &subject, first, last, usize::MAX)
        .await
        .unwrap();
    let asked = proxy.request_bytes() - before;
    assert_eq!(read, all);
    assert!(asked < 4_096, "{asked} bytes were sent for {LEN} messages");

    let (from, to) = (all[300].sequence, all[310].sequence);
    let part = log
        .read_range(stream::EVENTS, &subject, from, to, usize::MAX)
        .await
        .unwrap();
    assert_eq!(part, all[300..=310]);
    let few = log
        .read_range(stream::EVENTS, &subject, first, last, 7)
        .await
        .unwrap();
    assert_eq!(few, all[..7]);
    // What was purged is not there, and what is left is.
    let purged = all[500].sequence;
    log.purge_up_to(stream::EVENTS, purged).await.unwrap();
    let left = log
        .read_range(stream::EVENTS, &subject, first, last, usize::MAX)
        .await
        .unwrap();
    assert_eq!(left, all[500..]);
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_from_an_empty_range() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await;
    let mut config = config(&server);
    config.servers = proxy.url("nats");
    config.read_timeout = std::time::Duration::from_millis(300);
    let log = Log::connect(&config).await.unwrap();
    proxy.refuse();
    let read = log
        .read_range(stream::EVENTS, &notes_of("c1"), 1, 9, usize::MAX)
        .await;
    assert!(read.is_err(), "{read:?}");
}
