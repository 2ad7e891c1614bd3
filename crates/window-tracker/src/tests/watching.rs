//! Windows watched: what is told, from where, to whom, and what becomes of slow readers.

use std::sync::Arc;
use std::time::Duration;

use casement_event_log::Position;
use casement_proto::window::v1 as api;
use casement_proto::window::v1::WindowEventKind as Kind;
use casement_proto::window::v1::watch_windows_response::Event as Told;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_shell::auth::Caller;
use casement_shell::grpc::reason;
use casement_shell::grpc::watch::Limits;
use casement_testkit::eventually;
use futures::StreamExt as _;
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::stage::{Stage, key, noon, number, with_token};
use crate::Config;
use crate::watch::{self, Watched};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

async fn watch(
    client: &mut WindowServiceClient<Channel>,
    token: &str,
    request: api::WatchWindowsRequest,
) -> Result<Streaming<api::WatchWindowsResponse>, Status> {
    let answers = client.watch_windows(with_token(token, request)).await?;
    Ok(answers.into_inner())
}

/// A window opens, nears its end, and ends.
async fn live_through(stage: &Stage, clock: &casement_shell::ManualClock, name: &str) {
    let begin = stage.clock.now();
    stage.say(name, begin).await;
    for hours in [0, 23, 24] {
        clock.set(begin + HOUR * hours);
        stage.tracker().advance(&key(name), None).await.unwrap();
    }
}

fn name_of(answer: &api::WatchWindowsResponse) -> Option<(&'static str, String)> {
    let (word, window) = match answer.event.as_ref()? {
        Told::Opened(event) => ("opened", event.window.as_ref()),
        Told::Extended(event) => ("extended", event.window.as_ref()),
        Told::Expiring(event) => ("expiring", event.window.as_ref()),
        Told::Expired(event) => ("expired", event.window.as_ref()),
        Told::Corrected(event) => ("corrected", event.window.as_ref()),
    };
    let conversation = window.unwrap().conversation.clone().unwrap();
    Some((word, conversation.customer_id))
}

/// Reads until that many events came, and returns them with their positions.
async fn read(
    answers: &mut Streaming<api::WatchWindowsResponse>,
    len: usize,
) -> Vec<(&'static str, String, String)> {
    let mut events = Vec::new();
    while events.len() < len {
        let answer = answers
            .message()
            .await
            .unwrap()
            .expect("a stream that goes on");
        answer.position.parse::<Position>().unwrap();
        if let Some((word, customer)) = name_of(&answer) {
            events.push((word, customer, answer.position));
        }
    }
    events
}

fn words<'a>(events: &'a [(&'static str, String, String)]) -> Vec<(&'static str, &'a str)> {
    let pairs = events.iter();
    pairs
        .map(|(word, name, _)| (*word, name.as_str()))
        .collect()
}

#[tokio::test]
async fn a_watch_hears_what_is_told_from_now_on_and_goes_on_where_it_ended() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    live_through(&stage, &clock, "before").await;
    let request = api::WatchWindowsRequest::default();
    let mut answers = watch(&mut client, "read", request).await.unwrap();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(name_of(&first), None, "says where it begins");
    live_through(&stage, &clock, "ada").await;
    let events = read(&mut answers, 3).await;
    let all = [("opened", "ada"), ("expiring", "ada"), ("expired", "ada")];
    assert_eq!(words(&events), all);
    drop(answers);

    // What was told while nobody watched comes first.
    live_through(&stage, &clock, "bob").await;
    for (after, expected) in [
        (
            first.position,
            &["ada", "ada", "ada", "bob", "bob", "bob"][..],
        ),
        (events[1].2.clone(), &["ada", "bob", "bob", "bob"][..]),
        (events[2].2.clone(), &["bob", "bob", "bob"][..]),
    ] {
        let request = api::WatchWindowsRequest {
            after_position: after,
            ..api::WatchWindowsRequest::default()
        };
        let mut answers = watch(&mut client, "read", request).await.unwrap();
        let events = read(&mut answers, expected.len()).await;
        let names: Vec<_> = events.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn a_watch_hears_of_the_numbers_and_kinds_it_asked_for_alone() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let state = stage.log.state("EVENTS").await.unwrap();
    let start = Position {
        stream: "EVENTS".to_owned(),
        incarnation: state.incarnation,
        sequence: 0,
    };
    live_through(&stage, &clock, "ada").await;
    let request = |numbers: &[&str], kinds: &[Kind]| api::WatchWindowsRequest {
        numbers: numbers.iter().map(|&number| number.to_owned()).collect(),
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        after_position: start.to_string(),
    };
    let ours = "+15550001111";
    for kinds in [&[Kind::Expired][..], &[Kind::Expired, Kind::Corrected]] {
        let mut answers = watch(&mut client, "read", request(&[ours], kinds))
            .await
            .unwrap();
        let events = read(&mut answers, 1).await;
        assert_eq!(words(&events), [("expired", "ada")]);
    }

    // Another number, and another brand, hear that there is nothing.
    for (token, numbers) in [("other", &[][..]), ("every", &["+15550002222"][..])] {
        let mut answers = watch(&mut client, token, request(numbers, &[]))
            .await
            .unwrap();
        loop {
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!(name_of(&answer), None, "{token}");
            let position: Position = answer.position.parse().unwrap();
            if position.sequence > 0 {
                break;
            }
        }
    }
    let refused = watch(&mut client, "read", request(&["+15550002222"], &[])).await;
    let refused = refused.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("NUMBER_UNKNOWN"));
    let refused = watch(&mut client, "send", request(&[], &[]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let unknown = api::WatchWindowsRequest {
        kinds: vec![99],
        ..api::WatchWindowsRequest::default()
    };
    let refused = watch(&mut client, "read", unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let many = api::WatchWindowsRequest {
        numbers: vec![ours.to_owned(); watch::NUMBERS_MAX + 1],
        ..api::WatchWindowsRequest::default()
    };
    let refused = watch(&mut client, "read", many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_position_that_the_log_forgot_is_refused() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    live_through(&stage, &clock, "ada").await;
    let state = stage.log.state("EVENTS").await.unwrap();
    stage
        .log
        .purge_up_to("EVENTS", state.last_sequence)
        .await
        .unwrap();
    let position = |incarnation: &str, sequence| api::WatchWindowsRequest {
        after_position: Position {
            stream: "EVENTS".to_owned(),
            incarnation: incarnation.to_owned(),
            sequence,
        }
        .to_string(),
        ..api::WatchWindowsRequest::default()
    };
    for request in [
        position(&state.incarnation, state.last_sequence - 2),
        position("another-life", state.last_sequence),
    ] {
        let refused = watch(&mut client, "read", request).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        assert_eq!(reason(&refused).as_deref(), Some("POSITION_GONE"));
    }
    let request = position(&state.incarnation, state.last_sequence - 1);
    let mut answers = watch(&mut client, "read", request).await.unwrap();
    assert_eq!(words(&read(&mut answers, 1).await), [("expired", "ada")]);
}

#[tokio::test]
async fn a_slow_reader_is_told_where_to_resume_and_misses_nothing() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    for name in ["ada", "bob"] {
        live_through(&stage, &clock, name).await;
    }
    let permits = Arc::new(Semaphore::new(1));
    let begin = |from| {
        let watched = Watched {
            caller: Caller::internal("test", "default"),
            numbers: vec![number()],
            kinds: Vec::new(),
        };
        let limits = Limits {
            buffer_len: 3,
            patience: Duration::from_millis(50),
        };
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let closing = CancellationToken::new();
        watch::start(&stage.tracker(), watched, from, limits, closing, permit)
    };
    let mut from = 1;
    let mut events = Vec::new();
    let mut ends = 0;
    while events.len() < 6 {
        let mut answers = begin(from);
        // It reads nothing until its watch was given up.
        eventually("the watch ends", async || {
            match permits.available_permits() {
                1 => Ok(()),
                other => Err(other),
            }
        })
        .await;
        let mut last = None;
        let status = loop {
            match answers.next().await.expect("ends with a status") {
                Ok(answer) => {
                    events.extend(name_of(&answer));
                    last = Some(answer.position);
                }
                Err(status) => break status,
            }
        };
        assert!(answers.next().await.is_none());
        assert_eq!(reason(&status).as_deref(), Some("READER_TOO_SLOW"));
        let resume = status.get_details_error_info().unwrap().metadata["resume_position"].clone();
        assert_eq!(Some(&resume), last.as_ref(), "after what was read");
        from = resume.parse::<Position>().unwrap().sequence + 1;
        ends += 1;
        assert!(ends < 10, "{events:?}");
        if events.len() == 5 {
            break;
        }
    }
    let words: Vec<_> = events.iter().map(|(word, _)| *word).collect();
    let all = [
        "opened", "expiring", "expired", "opened", "expiring", "expired",
    ];
    assert_eq!(words, all[..words.len()]);
    assert!(words.len() >= 5 && ends >= 2, "{words:?} {ends}");
}

#[tokio::test]
async fn a_role_that_stops_ends_its_watches() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let watched = Watched {
        caller: Caller::internal("test", "default"),
        numbers: Vec::new(),
        kinds: Vec::new(),
    };
    let permits = Arc::new(Semaphore::new(1));
    let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
    let closing = CancellationToken::new();
    let limits = Limits::default();
    let mut answers = watch::start(
        &stage.tracker(),
        watched,
        1,
        limits,
        closing.clone(),
        permit,
    );
    answers.next().await.unwrap().unwrap();
    closing.cancel();
    let status = loop {
        if let Err(status) = answers.next().await.expect("ends with a status") {
            break status;
        }
    };
    assert_eq!(reason(&status).as_deref(), Some("CLOSING"));
    assert_eq!(permits.available_permits(), 1);
    assert_eq!(noon(), stage.clock.now());
}
