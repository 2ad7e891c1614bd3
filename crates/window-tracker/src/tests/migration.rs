//! A number that moves to another business account or provider, and a customer who gets another
//! user id: what was open closes, once, for a reason, and opens again with what comes after.

use casement_domain::id::BusinessNumber;
use casement_domain::inbound::{Addresses, Fact, Kind, Marks, QualifyingPolicy};
use casement_domain::window::ClosedReason;
use casement_event::convert::{inbound, timestamp};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Extension, Record, Stored, Uuid, id, v1};
use casement_event_log::Expect;
use casement_proto::window::v1 as api;
use casement_proto::window::v1::customer_ref::Customer;
use casement_shell::Clock as _;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};

use super::stage::{
    NUMBER, OTHER_NUMBER, PORTFOLIO, Stage, ask, customer, noon, short_name, window_of, with_token,
};
use crate::{CarryOver, Config};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

const OPENED: &[&str] = &["WindowOpened"];
const CLOSED: &[&str] = &["WindowOpened", "WindowCorrected"];
const REOPENED: &[&str] = &["WindowOpened", "WindowCorrected", "WindowOpened"];

impl Stage {
    /// The account says that a number moved; returns once everybody here knows.
    async fn move_number(&self, number: &str, at: Timestamp) {
        let digits = BusinessNumber::parse(number).expect("a number");
        let account = self.directory.number(&digits).expect("an account");
        let event = v1::NumberRecorded {
            number: Some(v1::Number {
                phone_number_id: format!("of {at}"),
                migrate_time: Some(timestamp(at)),
                ..account
            }),
            ..v1::NumberRecorded::default()
        };
        let place = subject::account("number", number);
        let record = Record::new(place, Uuid::new_v4(), "casement/test", at, event);
        self.log
            .append(record, Expect::Anything)
            .await
            .expect("an append");
        eventually("the directory knows that the number moved", async || {
            self.directory.migrated_at(&digits) == Some(at)
        })
        .await;
    }

    /// A customer writes to the other number, for the first time.
    async fn say_to_other(&self, name: &str, at: Timestamp) {
        let number = BusinessNumber::parse(OTHER_NUMBER).expect("a number");
        let event_id = id::inbound(&number, &format!("wamid.{name}.{at}"));
        let fact = Fact {
            id: id::fact(event_id),
            at,
            received_at: self.clock.now(),
            kind: Kind::Content,
            provider_id: format!("wamid.{name}.{at}"),
            addresses: Addresses::default(),
            thread_owner: None,
            marks: Marks::default(),
        };
        let event = v1::InboundMessageReceived {
            conversation: Some(v1::Conversation {
                number: OTHER_NUMBER.to_owned(),
                customer_id: name.to_owned(),
                brand_id: "other".to_owned(),
                portfolio_id: PORTFOLIO.to_owned(),
            }),
            summary: Some(inbound::summary(
                &fact.summary(&QualifyingPolicy::default()),
            )),
            ..v1::InboundMessageReceived::default()
        };
        let place = subject::conversation(Family::Inbound, &number, &customer(name));
        let record = Record::new(place, event_id, "casement/test", at, event);
        self.log
            .append(record, Expect::Anything)
            .await
            .expect("an append");
    }

    async fn told_of_other(&self, name: &str) -> Vec<Stored> {
        let number = BusinessNumber::parse(OTHER_NUMBER).expect("a number");
        let subject = subject::conversation(Family::Window, &number, &customer(name));
        let told = self.log.read_subject(stream::EVENTS, &subject).await;
        told.expect("a read")
    }

    /// Waits until whoever runs has taken every fact that stands on the log.
    async fn settle(&self, name: &str) {
        self.say(name, self.clock.now()).await;
        self.wait_for(name, OPENED).await;
    }
}

fn closed(stored: &Stored) -> Option<(ClosedReason, Timestamp)> {
    let closed = window_of(stored).closed;
    closed.map(|closed| (closed.reason, closed.at))
}

#[tokio::test]
async fn a_number_that_moves_has_its_open_windows_closed_once_each_and_no_others() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = [stage.run().await, stage.run().await];
    for name in ["ana", "ben"] {
        stage.say(name, noon() - HOUR).await;
        stage.wait_for(name, OPENED).await;
    }
    stage.say("refused", noon() - HOUR).await;
    stage.wait_for("refused", OPENED).await;
    stage.refuse("refused", noon() - MINUTE).await;
    stage.wait_for("refused", CLOSED).await;
    stage.say_to_other("dora", noon() - HOUR).await;
    eventually("dora is told", async || {
        stage.told_of_other("dora").await.len() == 1
    })
    .await;

    stage.move_number(NUMBER, noon()).await;
    for name in ["ana", "ben"] {
        stage.wait_for(name, CLOSED).await;
        let told = stage.told(name).await.remove(1);
        assert_eq!(closed(&told), Some((ClosedReason::NumberMigrated, noon())));
        assert_eq!(told.extension(Extension::State), Some("CLOSED"));
        assert_eq!(told.deadline(), None);
    }

    // The next message opens another window, which names the one before.
    clock.set(noon() + MINUTE);
    stage.say("ana", clock.now()).await;
    stage.wait_for("ana", REOPENED).await;
    let told = stage.told("ana").await;
    let (first, second) = (window_of(&told[0]), window_of(&told[2]));
    assert_eq!(second.previous, Some(first.opening_fact));
    assert_eq!(second.expires_at, clock.now() + 24 * HOUR);

    // A move of the other number is no concern of this one's.
    stage.move_number(OTHER_NUMBER, clock.now()).await;
    eventually("dora is told of her number's move", async || {
        stage.told_of_other("dora").await.len() == 2
    })
    .await;
    stage.settle("barrier").await;
    assert_eq!(stage.told_names("ana").await, REOPENED);
    assert_eq!(stage.told_names("ben").await, CLOSED);
    assert_eq!(stage.told_names("refused").await, CLOSED);
    let dora = stage.told_of_other("dora").await;
    assert_eq!(dora.iter().map(short_name).collect::<Vec<_>>(), CLOSED);
    for tracker in running {
        tracker.stop().await;
    }
}

#[tokio::test]
async fn a_move_while_no_tracker_ran_is_told_after_the_restart_and_then_no_more() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let first = stage.run().await;
    stage.say("ana", noon() - HOUR).await;
    stage.wait_for("ana", OPENED).await;
    first.kill().await;

    stage.move_number(NUMBER, noon()).await;
    clock.set(noon() + HOUR);
    let second = stage.run().await;
    stage.wait_for("ana", CLOSED).await;
    let told = stage.told("ana").await.remove(1);
    assert_eq!(closed(&told), Some((ClosedReason::NumberMigrated, noon())));
    second.kill().await;

    let third = stage.run().await;
    third.wait_until_ready().await;
    stage.settle("barrier").await;
    assert_eq!(stage.told_names("ana").await, CLOSED);
    third.stop().await;
}

#[tokio::test]
async fn a_move_that_nobody_heard_of_before_the_end_is_told_in_place_of_the_end() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let first = stage.run().await;
    stage.say("ana", noon() - HOUR).await;
    stage.wait_for("ana", OPENED).await;
    first.kill().await;

    stage.move_number(NUMBER, noon()).await;
    clock.set(noon() + 30 * HOUR);
    let second = stage.run().await;
    stage.wait_for("ana", CLOSED).await;
    let told = stage.told("ana").await.remove(1);
    assert_eq!(closed(&told), Some((ClosedReason::NumberMigrated, noon())));
    second.stop().await;
}

#[tokio::test]
async fn trackers_killed_while_they_go_through_the_windows_leave_none_untold_and_none_told_twice() {
    let config = Config {
        in_hand_max: 1,
        ..Config::default()
    };
    let (stage, _) = Stage::with_manual_clock(config).await;
    let tracker = stage.tracker();
    let names: Vec<String> = (0..60).map(|customer| format!("c{customer}")).collect();
    for name in &names {
        stage.say(name, noon() - HOUR).await;
        tracker
            .advance(&super::stage::key(name), None)
            .await
            .unwrap();
    }
    let running = stage.run().await;
    running.wait_until_ready().await;
    stage.move_number(NUMBER, noon()).await;
    // Windows are gone through in the order in which they were told.
    stage.wait_for(&names[0], CLOSED).await;
    running.kill().await;

    let others = [stage.run().await, stage.run().await];
    for name in &names {
        stage.wait_for(name, CLOSED).await;
    }
    for other in others {
        other.stop().await;
    }
    for name in &names {
        assert_eq!(stage.told_names(name).await, CLOSED, "{name}");
    }
}

#[tokio::test]
async fn a_message_that_is_delivered_after_the_move_opens_the_same_window_again() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon() - HOUR).await;
    stage.wait_for("ana", OPENED).await;
    stage.move_number(NUMBER, noon()).await;
    stage.wait_for("ana", CLOSED).await;

    clock.set(noon() + MINUTE);
    stage.prove("ana", clock.now()).await;
    stage.wait_for("ana", REOPENED).await;
    let told = stage.told("ana").await;
    assert_eq!(
        told[2].extension(Extension::WindowId),
        told[0].extension(Extension::WindowId)
    );
    let Ok(Event::WindowOpened(opened)) = told[2].event() else {
        panic!("not an opening");
    };
    assert_eq!(opened.reason(), v1::OpenReason::Proven);
    running.stop().await;
}

#[tokio::test]
async fn with_the_switches_on_neither_a_move_nor_another_user_id_ends_a_window() {
    let config = Config {
        carry_over: CarryOver {
            migration: true,
            user_id: true,
        },
        ..Config::default()
    };
    let (stage, clock) = Stage::with_manual_clock(config).await;
    let running = stage.run().await;
    let mut client = stage.serve().await;
    stage.say("ana", noon() - HOUR).await;
    stage.wait_for("ana", OPENED).await;
    stage.move_number(NUMBER, noon()).await;
    stage.rename("ana", noon()).await;
    clock.set(noon() + MINUTE);
    stage.settle("barrier").await;
    assert_eq!(stage.told_names("ana").await, OPENED);

    let request = ask(
        "read",
        "+15550001111",
        Customer::CustomerId("ana".to_owned()),
    );
    let answer = client.get_window(request).await.unwrap().into_inner();
    let window = answer.window.unwrap();
    assert_eq!(window.state(), v1::WindowState::Open);
    assert!(window.free_form_allowed);
    let explained = client.explain_window(with_token("read", why("ana"))).await;
    let explained = explained.unwrap().into_inner();
    assert_eq!(explained.rule(), api::WindowRule::WithinLength);
    let parts: Vec<_> = explained
        .facts
        .iter()
        .map(api::ExplainedFact::part)
        .collect();
    assert_eq!(parts, [api::FactPart::LastQualifying]);
    running.stop().await;
}

#[tokio::test]
async fn another_user_id_closes_the_window_until_the_customer_writes_again() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon() - HOUR).await;
    stage.wait_for("ana", OPENED).await;
    stage.rename("ana", noon()).await;
    stage.wait_for("ana", CLOSED).await;
    let told = stage.told("ana").await.remove(1);
    assert_eq!(closed(&told), Some((ClosedReason::UserIdChanged, noon())));

    clock.set(noon() + MINUTE);
    stage.say("ana", clock.now()).await;
    stage.wait_for("ana", REOPENED).await;
    running.stop().await;
}

fn why(name: &str) -> api::ExplainWindowRequest {
    api::ExplainWindowRequest {
        number: "+15550001111".to_owned(),
        customer: Some(api::CustomerRef {
            customer: Some(Customer::CustomerId(name.to_owned())),
        }),
        not_before: String::new(),
    }
}

/// Nobody tells anything here: what is answered rests on the facts alone.
#[tokio::test]
async fn a_change_is_answered_and_explained_at_once_with_its_reason_its_time_and_no_documents() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    stage.say("moved", noon() - HOUR).await;
    stage.say("renamed", noon() + MINUTE).await;
    stage.move_number(NUMBER, noon()).await;
    let changed = stage.rename("renamed", noon() + 2 * MINUTE).await;

    let table = [
        (
            "moved",
            v1::ClosedReason::NumberMigrated,
            api::WindowRule::NumberMigrated,
            (api::FactPart::Migration, noon()),
        ),
        (
            "renamed",
            v1::ClosedReason::UserIdChanged,
            api::WindowRule::UserIdChanged,
            (api::FactPart::UserIdChange, noon() + 2 * MINUTE),
        ),
    ];
    for (name, reason, rule, (part, at)) in table {
        let request = ask(
            "read",
            "+15550001111",
            Customer::CustomerId(name.to_owned()),
        );
        let answer = client.get_window(request).await.unwrap().into_inner();
        let window = answer.window.unwrap();
        assert_eq!(window.closed_reason(), reason);
        assert_eq!(window.refusal_reason, "WINDOW_CLOSED");

        let explained = client.explain_window(with_token("read", why(name))).await;
        let explained = explained.unwrap().into_inner();
        assert_eq!(explained.rule(), rule);
        let [last, change] = &explained.facts[..] else {
            panic!("{:?}", explained.facts)
        };
        assert_eq!(last.part(), api::FactPart::LastQualifying);
        assert_eq!(change.part(), part);
        assert_eq!(change.event_time, Some(timestamp(at)));
        assert!(change.policy_source.starts_with("undocumented: "));
        assert_eq!(explained.disregarded, []);
        if part == api::FactPart::UserIdChange {
            assert_eq!(change.position, changed.to_string());
        }
    }
}
