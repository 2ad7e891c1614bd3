//! A number that moved, and a customer who did: what was open does not carry free-form messages any
//! more, and what is known of messages to the one counts for the other.

use casement_domain::id::BusinessNumber;
use casement_domain::inbound::Summary;
use casement_domain::window::Evidence;
use casement_event::convert::{inbound, instant, timestamp};
use casement_event::subject::{Family, conversation, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::Expect;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};

use crate::stage::{ANA, NUMBER, Stage, TEMPLATE, digits, in_template, text};

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
