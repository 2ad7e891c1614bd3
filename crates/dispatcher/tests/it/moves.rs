//! A number that moved, and a customer who did: what was open does not carry free-form messages any
//! more, and what is known of messages to the one counts for the other.

use casement_domain::id::BusinessNumber;
use casement_domain::inbound::Summary;
use casement_domain::window::Evidence;
use casement_event::convert::{inbound, instant, timestamp};
use casement_event::subject::{self, Family, conversation, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::Expect;
use casement_proto::message::v1::{MessageState, SendMessageRequest};
use casement_shell::grpc::reason;
use casement_simulator::NumberConfig;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};

use crate::stage::{
    ACCESS_TOKEN, ANA, NUMBER, Stage, TEMPLATE, WABA, digits, in_template, phone_number_id, sms,
    text,
};

#[tokio::test]
async fn after_a_move_a_template_goes_out_until_the_customer_writes_again_and_the_decision_says_why()
 {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let request = || in_template(text(ANA, "Your order is ready."), TEMPLATE);
    let before = dispatcher.decision(request()).await;
    assert_eq!(before.chosen_route(), v1::Route::FreeForm);

    let moved = v1::Number {
        migrate_time: Some(timestamp(stage.now())),
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(moved).await;
    // The preview says it first.
    eventually("the dispatcher has heard of the move", async || {
        dispatcher.decision(request()).await.chosen_route() == v1::Route::Template
    })
    .await;
    let sent = dispatcher.send(request()).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let decision = message.attempts[0].decision.clone().expect("a decision");
    assert_eq!(decision.chosen_route(), v1::Route::Template);
    assert!(!decision.window_open);
    let free_form = &decision.candidates[0];
    assert_eq!(free_form.reason, "WINDOW_CLOSED");
    assert!(
        free_form.text.contains("moved to another account"),
        "{}",
        free_form.text
    );

    stage.writes(ANA).await;
    let sent = dispatcher.send(request()).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::FreeForm);
}

impl Stage {
    /// The customer carries on for one to whom the platform refused a message at a time.
    async fn carries_on(&self, who: &str, refused_at: Timestamp) {
        let (number, customer) = (
            BusinessNumber::parse(digits(NUMBER)).expect("a number"),
            self.customer(who).await,
        );
        let place = conversation(Family::Inbound, &number, &customer);
        let last = self.log.last(stream::EVENTS, &place).await.expect("a read");
        let last = last.expect("the customer wrote");
        let known = inbound::known(&last.event().expect("an event")).expect("readable");
        let summary = known.expect("a fact").summary.join(Summary {
            carried: Evidence {
                refused_at: Some(refused_at),
                ..Evidence::default()
            },
            ..Summary::default()
        });
        let merged = v1::CustomerMerged {
            summary: Some(inbound::summary(&summary)),
            ..v1::CustomerMerged::default()
        };
        let record = Record::new(
            place.clone(),
            Uuid::new_v4(),
            "casement/test",
            self.now(),
            merged,
        );
        let expect = Expect::last(place, last.sequence);
        self.log.append(record, expect).await.expect("an append");
    }
}

#[tokio::test]
async fn a_refusal_under_an_id_that_ended_holds_until_a_delivery_to_the_one_who_carries_on() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let mut started = Vec::new();
    let mut ids = Vec::new();
    for words in ["one", "two"] {
        let sent = dispatcher.send(text(ANA, words)).await;
        let message = dispatcher.until_accepted(&sent.message_id).await;
        let start = message.attempts[0].start_time;
        started.push(instant("start_time", start.as_ref()).unwrap().unwrap());
        ids.push(sent.message_id);
    }
    let proofs = async |count: usize| {
        eventually(&format!("{count} proofs"), async || {
            let told = stage.evidence(ANA).await;
            let proofs = told
                .iter()
                .filter(|event| matches!(event, Event::WindowProven(_)));
            proofs.count() == count
        })
        .await;
    };
    let delivered = Ok(v1::DeliveryStatus::Delivered);
    stage.report(&ids[0], 1, delivered).await;
    proofs(1).await;

    // Refused between the two calls. A second proof within a minute is none, but for that.
    let refused_at = started[1] - SignedDuration::from_micros(1);
    assert!(started[0] < refused_at);
    stage.carries_on(ANA, refused_at).await;
    let decision = dispatcher.decision(text(ANA, "three")).await;
    assert!(!decision.window_open, "{decision:?}");
    stage.report(&ids[1], 1, delivered).await;
    proofs(2).await;
    let decision = dispatcher.decision(text(ANA, "three")).await;
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);
}

/// The number's id after its move.
const ID_AFTER: &str = "106599";

impl Stage {
    /// The platform has the number under another id, and the old one is dead.
    fn hands_over(&self) {
        let known = NumberConfig {
            phone_number_id: ID_AFTER.to_owned(),
            display_phone_number: NUMBER.to_owned(),
            waba_id: WABA.to_owned(),
            token: ACCESS_TOKEN.into(),
        };
        self.platform.put_number(known);
        let old = phone_number_id(NUMBER);
        self.platform.set_number_status(&old, "PENDING");
    }

    /// The record that ends the move.
    async fn switches(&self) {
        let switched = v1::Number {
            phone_number_id: ID_AFTER.to_owned(),
            previous_phone_number_ids: vec![phone_number_id(NUMBER)],
            migrate_time: Some(timestamp(self.now())),
            ..self.number(NUMBER, "default")
        };
        self.record_number(switched).await;
    }
}

fn in_words(words: &str) -> SendMessageRequest {
    in_template(text(ANA, words), TEMPLATE)
}

#[tokio::test]
async fn what_comes_while_a_number_is_handed_over_waits_and_goes_under_its_new_id() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let until = stage.now() + SignedDuration::from_mins(1);
    let moving = v1::Number {
        moving: Some(v1::NumberMove {
            phone_number_id: ID_AFTER.to_owned(),
            pause_until_time: Some(timestamp(until)),
            ..v1::NumberMove::default()
        }),
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(moving).await;
    eventually("the dispatcher has heard of it", async || {
        let decision = dispatcher.decision(in_words("one")).await;
        decision.chosen_route() == v1::Route::Unspecified
    })
    .await;
    let sent = dispatcher.send(in_words("one")).await;
    let waits = dispatcher
        .until_state(&sent.message_id, MessageState::Deferred)
        .await;
    assert_eq!(waits.deferral.expect("why it waits").cause, "NUMBER_MOVES");
    assert!(stage.calls().is_empty(), "nobody was called");

    stage.hands_over();
    stage.switches().await;
    dispatcher.until_accepted(&sent.message_id).await;
    let calls = stage.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].from, ID_AFTER);
}

#[tokio::test]
async fn a_wait_that_nobody_ends_ends_by_itself() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let until = stage.now() + SignedDuration::from_secs(3);
    let moving = v1::Number {
        moving: Some(v1::NumberMove {
            phone_number_id: ID_AFTER.to_owned(),
            pause_until_time: Some(timestamp(until)),
            ..v1::NumberMove::default()
        }),
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(moving).await;
    let sent = dispatcher.send(in_words("one")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(stage.calls()[0].from, phone_number_id(NUMBER));
}

#[tokio::test]
async fn a_refusal_of_the_dead_id_fails_nothing_and_is_over_once_the_number_has_moved() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    stage.hands_over();
    // Nobody said that it moves: the platform does.
    let sent = dispatcher.send(in_words("one")).await;
    let waits = dispatcher
        .until_state(&sent.message_id, MessageState::Deferred)
        .await;
    let halt = waits.deferral.expect("why it waits").halt_id;
    let other = dispatcher.send(in_words("two")).await;

    stage.switches().await;
    for id in [&sent.message_id, &other.message_id] {
        dispatcher.until_accepted(id).await;
    }
    stage.assert_no_attempt_was_called_twice();
    assert_eq!(stage.taken().len(), 2, "each went once");
    let subject = subject::halt("NUMBER", &halt);
    let last = stage.log.last(stream::ACCOUNTS, &subject).await.unwrap();
    let Ok(Event::SendsResumed(resumed)) = last.unwrap().event() else {
        panic!("not lifted")
    };
    assert_eq!(resumed.lift(), v1::HaltLift::NumberMoved);
}

#[tokio::test]
async fn at_a_number_that_is_somebody_elses_scheduled_messages_end_and_sms_does_not_go() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let in_an_hour = stage.now() + SignedDuration::from_hours(1);
    let scheduled = SendMessageRequest {
        send_time: Some(timestamp(in_an_hour)),
        ..in_words("later")
    };
    let sent = dispatcher.send(scheduled).await;
    let gone = v1::Number {
        migrate_away_time: Some(timestamp(stage.now())),
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(gone).await;
    let ended = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(ended.outcome_reason, "NUMBER_MIGRATED_AWAY");
    let refused = dispatcher.try_send(sms(ANA, "Hello")).await;
    let refused = refused.expect_err("nothing is sent from it");
    assert_eq!(reason(&refused).as_deref(), Some("NUMBER_MIGRATED_AWAY"));
    assert!(stage.calls().is_empty(), "nobody was called");
}
