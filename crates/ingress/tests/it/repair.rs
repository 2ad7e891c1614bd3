//! Work on what is on the log already: replays, dead letters, parked items.

use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Uuid, id, v1};
use casement_event_log::Expect;
use casement_event_log::dead::Letter;
use casement_event_log::directory::Directory;
use casement_ingress::Config;
use casement_ingress::repair::{Counts, Repair, RepairError, Retried};
use casement_shell::SystemClock;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::stage::{ONE, Stage, message, one_text, signed, text, types, value, webhook};

const LATER: (&str, &str) = ("15550003333", "333");

const PHONE: &str = "15550009999";

async fn repair(stage: &Stage) -> Repair {
    let directory = Directory::start(&stage.log, CancellationToken::new()).await;
    Repair::new(
        &Config::default(),
        stage.log.clone(),
        directory,
        stage.tokens.clone(),
        SystemClock::shared(),
    )
    .unwrap()
}

fn now() -> Timestamp {
    SystemClock::shared().now()
}

/// A little after anything stored by now.
fn later() -> Timestamp {
    now() + SignedDuration::from_mins(1)
}

fn hours_ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

/// Three messages of two customers and a status, in two posts.
async fn traffic(stage: &Stage) {
    let both = json!([
        text("wamid.1", PHONE, "US.1", 0),
        text("wamid.2", "", "US.2", 1)
    ]);
    let mut first = value(ONE, "messages", both);
    first["statuses"] = json!([{"id": "wamid.9", "status": "read", "timestamp": "1790000000", "recipient_id": PHONE}]);
    stage.take(&webhook(&[("messages", first)])).await;
    stage
        .take(&one_text(ONE, &text("wamid.3", PHONE, "US.1", 2)))
        .await;
}

async fn replayed(repair: &Repair, from: Timestamp, to: Timestamp) -> (u64, Counts) {
    let mut told = 0;
    let replayed = repair.replay_raw(from, to, |_| told += 1).await.unwrap();
    assert_eq!(told, replayed.packs, "each pack is told of");
    (replayed.packs, replayed.counts)
}

#[tokio::test]
async fn a_replay_adds_nothing_to_what_is_known() {
    let stage = Stage::start().await;
    traffic(&stage).await;
    let before = stage.inbound(ONE.0).await;
    let (packs, counts) = replayed(&repair(&stage).await, hours_ago(1), later()).await;
    assert_eq!(packs, 2);
    assert_eq!(counts.get(&("message", "known")), Some(&3), "{counts:?}");
    assert_eq!(counts.get(&("message", "stored")), None, "{counts:?}");
    assert_eq!(stage.inbound(ONE.0).await, before);
}

#[tokio::test]
async fn a_fact_that_nobody_made_of_its_post_appears_with_a_replay() {
    let mut stage = Stage::start().await;
    traffic(&stage).await;
    stage.stop().await;
    // Nobody turns this post into facts, as if the version of the time had passed over it.
    let post = one_text(ONE, &text("wamid.4", PHONE, "US.1", 3));
    let pack = v1::RawPack {
        posts: vec![v1::RawPost {
            body: post.to_string().into_bytes().into(),
            received_time: Some(casement_event::convert::timestamp(now())),
            app: "default".to_owned(),
            ..v1::RawPost::default()
        }],
    };
    let subject = subject::raw("whatsapp");
    let record = Record::new(subject, Uuid::new_v4(), "casement/test", now(), pack);
    stage.log.append(record, Expect::Anything).await.unwrap();

    let tools = repair(&stage).await;
    for (stored, known) in [(Some(&1), 3), (Some(&1), 7)] {
        let (_, counts) = replayed(&tools, hours_ago(1), later()).await;
        assert_eq!(counts.get(&("message", "stored")), stored, "{counts:?}");
        assert_eq!(
            counts.get(&("message", "known")),
            Some(&known),
            "{counts:?}"
        );
    }
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(stored.len(), 4);
    assert_eq!(message(&stored[3]).provider_message_id, "wamid.4");
}

#[tokio::test]
async fn posts_from_another_time_are_left_alone() {
    let stage = Stage::start().await;
    let tools = repair(&stage).await;
    assert_eq!(
        replayed(&tools, hours_ago(1), later()).await.0,
        0,
        "an empty log"
    );
    traffic(&stage).await;
    let second = stage
        .log
        .get(stream::RAW, 2)
        .await
        .unwrap()
        .unwrap()
        .stored_at;
    for (from, to, packs) in [
        (hours_ago(2), hours_ago(1), 0),
        (
            now() + SignedDuration::from_hours(1),
            now() + SignedDuration::from_hours(2),
            0,
        ),
        (hours_ago(1), second, 1),
        (second, now() + SignedDuration::from_hours(1), 1),
        (hours_ago(1), later() + SignedDuration::from_hours(1), 2),
    ] {
        assert_eq!(replayed(&tools, from, to).await.0, packs, "{from} to {to}");
    }
}

/// Posts an item that is none, and returns its letter.
async fn a_dead_item(stage: &Stage) -> Letter {
    let items = json!([{"type": "text", "text": {"body": "no id"}}]);
    let post = webhook(&[("messages", value(ONE, "messages", items))]);
    stage.take(&post).await;
    only(stage).await
}

async fn only(stage: &Stage) -> Letter {
    let letters = stage.log.dead_letters().await.unwrap();
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    letter.clone()
}

#[tokio::test]
async fn a_dead_letter_is_listed_until_it_is_dropped_and_stays_on_the_log() {
    let stage = Stage::start().await;
    assert!(stage.log.dead_letters().await.unwrap().is_empty());
    let listed = a_dead_item(&stage).await;
    assert!(listed.letter.item.is_empty(), "a list has no content");
    let whole = stage
        .log
        .dead_letter(listed.sequence)
        .await
        .unwrap()
        .unwrap();
    assert!(
        String::from_utf8(whole.letter.item.clone())
            .unwrap()
            .contains("no id")
    );

    repair(&stage)
        .await
        .drop_letter(&listed, "a test of somebody's")
        .await
        .unwrap();
    assert!(stage.log.dead_letters().await.unwrap().is_empty());
    let dead = stage.dead().await;
    assert_eq!(types(&dead), ["DeadLetter", "DeadLetterSettled"]);
    let Event::DeadLetterSettled(settled) = dead[1].event().unwrap() else {
        panic!("{}", dead[1].event_type())
    };
    assert_eq!(settled.outcome(), v1::DeadLetterOutcome::Dropped);
    assert_eq!(settled.reason, "a test of somebody's");
    assert_eq!(settled.letter_sequence, listed.sequence);
    let again = stage.log.dead_letter(listed.sequence).await.unwrap();
    assert_eq!(again, Some(whole));
    assert_eq!(stage.log.dead_letter(dead[1].sequence).await.unwrap(), None);
}

#[tokio::test]
async fn what_the_parser_still_does_not_understand_stays_listed_and_is_no_second_letter() {
    let stage = Stage::start().await;
    let letter = a_dead_item(&stage).await;
    let retried = repair(&stage).await.retry(&letter, "").await.unwrap();
    assert!(
        matches!(&retried, Retried::StillDead(why) if !why.is_empty()),
        "{retried:?}"
    );
    assert_eq!(only(&stage).await.sequence, letter.sequence);
    // A replay of its post may write the letter again; it is the same one.
    replayed(&repair(&stage).await, hours_ago(1), later()).await;
    assert_eq!(only(&stage).await.sequence, letter.sequence);
}

#[tokio::test]
async fn a_letter_whose_item_reads_by_now_is_settled_and_its_siblings_stay_as_they_are() {
    let stage = Stage::start().await;
    traffic(&stage).await;
    // As if an older parser had not understood the first post's second message.
    let stored = stage.inbound(ONE.0).await;
    let missing = stored
        .into_iter()
        .find(|stored| message(stored).provider_message_id == "wamid.2")
        .unwrap();
    let purge = stage
        .log
        .purge_subject(stream::EVENTS, &missing.subject, missing.sequence + 1);
    purge.await.unwrap();
    bury(&stage, 1, "entry[0].changes[0].value.messages[1]").await;
    let letter = only(&stage).await;

    let retried = repair(&stage)
        .await
        .retry(&letter, "new parser")
        .await
        .unwrap();
    let expected = Counts::from([(("message", "stored"), 1)]);
    assert_eq!(retried, Retried::Settled(expected));
    assert!(stage.log.dead_letters().await.unwrap().is_empty());
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[2].id(), missing.id());
}

#[tokio::test]
async fn a_letter_without_its_post_or_of_another_role_cannot_be_retried_and_says_so() {
    let stage = Stage::start().await;
    let tools = repair(&stage).await;
    bury(&stage, 77, "entry[0]").await;
    let letter = only(&stage).await;
    assert_eq!(tools.retry(&letter, "").await.unwrap(), Retried::PostGone);
    let mut foreign = letter.clone();
    foreign.letter.role = "dispatcher".to_owned();
    assert_eq!(tools.retry(&foreign, "").await.unwrap(), Retried::Foreign);
    assert_eq!(only(&stage).await.sequence, letter.sequence);
}

async fn bury(stage: &Stage, sequence: u64, path: &str) {
    let letter = v1::DeadLetter {
        role: "ingress".to_owned(),
        reason: "not understood".to_owned(),
        stream: stream::RAW.to_owned(),
        sequence,
        origin: Some(v1::RawOrigin {
            sequence,
            post: 0,
            path: path.to_owned(),
        }),
        ..v1::DeadLetter::default()
    };
    let id = id::dead("ingress", stream::RAW, sequence, path);
    let record = Record::new(subject::dead("ingress"), id, "casement/test", now(), letter);
    stage.log.append(record, Expect::Anything).await.unwrap();
}

#[tokio::test]
async fn a_post_that_reads_by_now_is_taken_apart_whole() {
    let stage = Stage::start().await;
    let (status, _, _) = stage.send(signed("[]".to_owned())).await;
    assert_eq!(status, 200);
    stage.settled().await;
    let letter = only(&stage).await;
    let retried = repair(&stage).await.retry(&letter, "").await.unwrap();
    assert!(matches!(retried, Retried::StillDead(_)), "{retried:?}");
}

#[tokio::test]
async fn parked_items_are_listed_by_number_and_released_once_an_account_has_it() {
    let stage = Stage::start().await;
    let tools = repair(&stage).await;
    assert!(tools.parked().await.unwrap().is_empty());
    let both: Value = json!([
        text("wamid.1", "", "US.1", 0),
        text("wamid.2", "", "US.2", 1)
    ]);
    stage
        .take(&webhook(&[("messages", value(LATER, "messages", both))]))
        .await;

    let parked = tools.parked().await.unwrap();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(
        (parked[0].phone_number_id.as_str(), parked[0].items),
        ("333", 2)
    );
    assert!(!parked[0].is_known);
    assert_eq!(tools.release("333").await.unwrap(), None);

    stage.add_number(LATER.0, LATER.1).await;
    eventually("the tools know the number", async || {
        tools.parked().await.unwrap()[0].is_known
    })
    .await;
    // The role does the same at the same time; each fact is stored once.
    assert_eq!(tools.release("333").await.unwrap(), Some(2));
    assert_eq!(stage.inbound(LATER.0).await.len(), 2);
}

#[tokio::test]
async fn a_log_that_is_away_is_an_error_and_not_a_wait() {
    let mut stage = Stage::start().await;
    traffic(&stage).await;
    let tools = repair(&stage).await;
    stage.stop().await;
    stage.nats.kill();
    let failed = tools.replay_raw(hours_ago(1), later(), |_| {}).await;
    assert!(matches!(failed, Err(RepairError::Read(_))), "{failed:?}");
    assert!(stage.log.dead_letters().await.is_err());
}
