//! What answers and events state besides the window: who waits, who owns the thread, what is billed;
//! and the changes that a window does not outlive.

use casement_domain::inbound::{Kind, ThreadOwner};
use casement_domain::window::ClosedReason;
use casement_event::convert::timestamp;
use casement_event::{Event, Extension, Stored, v1};
use casement_proto::window::v1 as api;
use casement_proto::window::v1::customer_ref::Customer;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use jiff::{SignedDuration, Timestamp};
use tonic::transport::Channel;

use super::stage::{Stage, ask, key, noon, window_of};
use crate::Config;
use crate::config::CarryOver;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const US: &str = "+15550001111";

async fn get(client: &mut WindowServiceClient<Channel>, name: &str) -> api::Window {
    let request = ask("read", US, Customer::CustomerId(name.to_owned()));
    let answer = client.get_window(request).await.unwrap().into_inner();
    answer.window.expect("a window")
}

/// The window as a stored event carries it.
fn published(stored: &Stored) -> v1::PublishedWindow {
    let window = match stored.event().expect("an event") {
        Event::WindowOpened(event) => event.window,
        Event::WindowExtended(event) => event.window,
        Event::WindowExpiring(event) => event.window,
        Event::WindowExpired(event) => event.window,
        Event::WindowCorrected(event) => event.window,
        other => panic!("no window event: {other:?}"),
    };
    window.expect("a window")
}

/// Since when the customer is told to wait, by payload and header, which must agree.
fn waits(stored: &Stored) -> Option<Timestamp> {
    let told = window_of(stored).circumstances.waiting_since;
    let header = stored.extension(Extension::WaitingSince);
    assert_eq!(header, told.map(|at| at.to_string()).as_deref());
    assert_eq!(
        published(stored).waiting_since_time,
        told.map(timestamp),
        "unset if the last word is ours"
    );
    told
}

#[tokio::test]
async fn the_coming_end_and_the_end_say_how_long_the_customer_has_waited_or_that_ours_is_the_last_word()
 {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let running = stage.run().await;
    running.wait_until_ready().await;
    let written = noon() - MINUTE;
    // Nobody answers ana. Ben is answered from here, cem from the phone, and dan writes again.
    for name in ["ana", "ben", "cem", "dan"] {
        stage.say(name, written).await;
        stage.wait_for(name, &["WindowOpened"]).await;
    }
    let again = written + 30 * SignedDuration::from_secs(1);
    stage.answer("ben", noon()).await;
    stage.answer_elsewhere("cem", noon()).await;
    stage
        .answer("dan", written + SignedDuration::from_secs(1))
        .await;
    stage.say("dan", again).await;

    let expected = [
        ("ana", Some(written)),
        ("ben", None),
        ("cem", None),
        ("dan", Some(again)),
    ];
    for (name, since) in expected {
        let window = get(&mut client, name).await;
        assert_eq!(window.waiting_since_time, since.map(timestamp), "{name}");
    }
    // None of that is told by itself.
    for (name, _) in expected {
        assert_eq!(stage.told_names(name).await, ["WindowOpened"]);
        assert_eq!(waits(&stage.told(name).await[0]), Some(written), "{name}");
    }
    clock.set(again + DAY - 2 * HOUR);
    for (name, _) in expected {
        stage
            .wait_for(name, &["WindowOpened", "WindowExpiring"])
            .await;
    }
    clock.set(again + DAY);
    for (name, since) in expected {
        stage
            .wait_for(name, &["WindowOpened", "WindowExpiring", "WindowExpired"])
            .await;
        for stored in &stage.told(name).await[1..] {
            assert_eq!(waits(stored), since, "{name}");
        }
    }
    // Answered by a template at last: the wait is over, and a later word begins another.
    stage.answer("ana", again + DAY).await;
    assert_eq!(get(&mut client, "ana").await.waiting_since_time, None);
    clock.advance(HOUR);
    let later = again + DAY + HOUR;
    stage.say("ana", later).await;
    let all = [
        "WindowOpened",
        "WindowExpiring",
        "WindowExpired",
        "WindowOpened",
    ];
    stage.wait_for("ana", &all).await;
    assert_eq!(waits(&stage.told("ana").await[3]), Some(later));
    running.stop().await;
}

#[tokio::test]
async fn who_owns_the_thread_is_told_and_nobody_does_after_a_days_silence() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let tracker = stage.tracker();
    let owner = Some(ThreadOwner::Other);
    stage.happen("ana", noon(), Kind::Content, owner).await;
    stage
        .happen("ben", noon(), Kind::Content, Some(ThreadOwner::Us))
        .await;
    for (name, owner) in [
        ("ana", v1::ThreadOwner::Other),
        ("ben", v1::ThreadOwner::Us),
    ] {
        clock.set(noon());
        tracker.advance(&key(name), None).await.unwrap();
        let window = get(&mut client, name).await;
        assert_eq!(window.thread_owner(), owner);
        let is_ours = owner == v1::ThreadOwner::Us;
        assert_eq!(window.free_form_allowed, is_ours);
        let told = published(&stage.told(name).await[0]);
        assert_eq!(told.thread_owner(), owner);

        clock.set(noon() + DAY);
        tracker.advance(&key(name), None).await.unwrap();
        let window = get(&mut client, name).await;
        assert_eq!(window.thread_owner(), v1::ThreadOwner::Idle);
        let told = stage.told(name).await;
        assert_eq!(told.len(), 2);
        assert_eq!(published(&told[1]).thread_owner(), v1::ThreadOwner::Idle);
    }
    // Of whom nothing was said, nothing is said.
    stage.say("cem", noon() + DAY).await;
    tracker.advance(&key("cem"), None).await.unwrap();
    let told = published(&stage.told("cem").await[0]);
    assert_eq!(told.thread_owner(), v1::ThreadOwner::Unspecified);
}

#[tokio::test]
async fn who_came_from_an_ad_has_a_free_entry_point_until_nobody_answered_in_time() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let tracker = stage.tracker();
    stage.say("ana", noon()).await;
    stage.come_from_ad("ben", noon()).await;
    for (name, is_expected) in [("ana", false), ("ben", true)] {
        tracker.advance(&key(name), None).await.unwrap();
        let answered = get(&mut client, name).await.free_entry_point;
        let told = published(&stage.told(name).await[0]).free_entry_point;
        assert_eq!(told, answered, "{name}");
        assert_eq!(told.is_some(), is_expected, "{name}");
    }
    let awaited = get(&mut client, "ben").await.free_entry_point.unwrap();
    assert_eq!(awaited.state(), v1::FreeEntryPointState::AwaitingReply);
    assert_eq!(awaited.until_time, Some(timestamp(noon() + DAY)));
    assert!(!awaited.confirmed);
    clock.set(noon() + DAY);
    let window = get(&mut client, "ben").await;
    assert_eq!(window.free_entry_point, None);
    // It is about money alone.
    assert!(!window.free_form_allowed);
}

#[tokio::test]
async fn another_user_id_closes_the_window_unless_it_is_carried_over() {
    for user_id in [false, true] {
        let carry_over = CarryOver {
            user_id,
            ..CarryOver::default()
        };
        let config = Config {
            carry_over,
            ..Config::default()
        };
        let (stage, clock) = Stage::with_manual_clock(config).await;
        let mut client = stage.serve().await;
        let tracker = stage.tracker();
        stage.say("ana", noon() - HOUR).await;
        tracker.advance(&key("ana"), None).await.unwrap();
        stage.rename("ana", noon()).await;
        tracker.advance(&key("ana"), None).await.unwrap();
        let window = get(&mut client, "ana").await;
        assert_eq!(window.free_form_allowed, user_id);
        if user_id {
            assert_eq!(stage.told_names("ana").await, ["WindowOpened"]);
            continue;
        }
        assert_eq!(window.closed_reason(), v1::ClosedReason::UserIdChanged);
        let names = stage.told_names("ana").await;
        assert_eq!(names, ["WindowOpened", "WindowCorrected"]);
        let closed = window_of(&stage.told("ana").await[1]).closed.unwrap();
        assert_eq!(
            (closed.reason, closed.at),
            (ClosedReason::UserIdChanged, noon())
        );
        clock.advance(MINUTE);
        stage.say("ana", noon() + MINUTE).await;
        tracker.advance(&key("ana"), None).await.unwrap();
        assert!(get(&mut client, "ana").await.free_form_allowed);
        assert_eq!(
            stage.told_names("ana").await.last().unwrap(),
            "WindowOpened"
        );
    }
}

#[tokio::test]
async fn who_kept_writing_while_no_tracker_ran_has_one_window_however_much_they_wrote() {
    for hours in [
        // Inside, and after the told end.
        &[20, 30][..],
        // More than a summary keeps, over two days.
        &[4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48],
    ] {
        let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
        let tracker = stage.tracker();
        stage.say("ana", noon()).await;
        tracker.advance(&key("ana"), None).await.unwrap();
        let mut last = noon();
        for hour in hours {
            last = noon() + HOUR * *hour;
            clock.set(last);
            stage.say("ana", last).await;
        }
        tracker.advance(&key("ana"), None).await.unwrap();
        assert_eq!(
            stage.told_names("ana").await,
            ["WindowOpened", "WindowExtended"],
            "{hours:?}"
        );
        let extended = stage.told("ana").await.remove(1);
        assert_eq!(window_of(&extended).expires_at, last + DAY);
        assert_eq!(waits(&extended), Some(noon()));
    }
}

#[tokio::test]
async fn of_much_that_was_written_while_no_tracker_ran_the_one_real_end_is_told() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let tracker = stage.tracker();
    stage.say("ana", noon()).await;
    tracker.advance(&key("ana"), None).await.unwrap();
    // Silence from the 20th to the 50th hour, and much before and after.
    for hour in [10, 20].into_iter().chain(50..62) {
        clock.set(noon() + HOUR * hour);
        stage.say("ana", noon() + HOUR * hour).await;
    }
    tracker.advance(&key("ana"), None).await.unwrap();
    let told = stage.told("ana").await;
    assert_eq!(
        stage.told_names("ana").await,
        ["WindowOpened", "WindowExpired", "WindowOpened"]
    );
    assert_eq!(window_of(&told[1]).expires_at, noon() + HOUR * 44);
    assert_eq!(window_of(&told[2]).expires_at, noon() + HOUR * 85);
}
