//! What is told of a message that was found.

use casement_proto::events::v1::{Candidate, Decision, Label, Money, ProviderError};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_763_800_000).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "messages have it so")]
fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: now().as_second() + seconds,
        nanos: 0,
    })
}

fn decision(second: i64) -> Decision {
    Decision {
        candidates: vec![Candidate::default()],
        decide_time: at(second),
        ..Decision::default()
    }
}

fn attempt(number: u32, route: Route, code: i64) -> Attempt {
    let mut attempt = Attempt {
        number,
        state: "REJECTED".to_owned(),
        error: Some(ProviderError {
            code,
            ..ProviderError::default()
        }),
        decision: Some(decision(i64::from(number))),
        ..Attempt::default()
    };
    attempt.set_route(route);
    attempt
}

fn ended(outcome: MessageOutcome, reason: &str, attempts: Vec<Attempt>) -> Message {
    let mut message = Message {
        message_id: "15550001111-aa".to_owned(),
        number: "+15550001111".to_owned(),
        customer_id: "c1".to_owned(),
        reason: reason.to_owned(),
        outcome_reason: reason.to_owned(),
        attempts,
        ..Message::default()
    };
    message.set_state(MessageState::Ended);
    message.set_outcome(outcome);
    message
}

#[test]
fn what_to_do_comes_from_the_cause_that_is_known_best() {
    for (message, told) in [
        (
            ended(
                MessageOutcome::Failed,
                "NO_ROUTE",
                vec![attempt(1, Route::FreeForm, 131_026)],
            ),
            "Use SMS",
        ),
        (
            ended(
                MessageOutcome::Failed,
                "NO_ROUTE",
                vec![attempt(1, Route::Sms, 99_999)],
            ),
            "No route was open",
        ),
        (
            ended(MessageOutcome::Failed, "NO_ROUTE", Vec::new()),
            "No route was open",
        ),
        (
            ended(MessageOutcome::Unknown, "", Vec::new()),
            "Ask the customer",
        ),
        (
            ended(MessageOutcome::Expired, "", Vec::new()),
            "Send it again",
        ),
    ] {
        let found = Found::new(&message, now());
        assert!(found.advice.contains(told), "{told}: {}", found.advice);
        assert_eq!(found.state.tone, "bad");
    }
    let fine = Found::new(&ended(MessageOutcome::Delivered, "", Vec::new()), now());
    assert_eq!((fine.advice.as_str(), fine.state.tone), ("", "ok"));
}

#[test]
fn each_attempt_has_its_decision_and_the_latest_is_told_once() {
    let attempts = vec![
        attempt(1, Route::FreeForm, 131_047),
        attempt(2, Route::Template, 0),
    ];
    let mut message = ended(MessageOutcome::Failed, "NO_ROUTE", attempts);
    message.decision = Some(decision(2));
    let of = |message: &Message| -> Vec<String> {
        let found = Found::new(message, now());
        found.decisions.into_iter().map(|one| one.of).collect()
    };
    assert_eq!(of(&message), ["Attempt 1", "Attempt 2"]);
    message.decision = Some(decision(9));
    assert_eq!(of(&message), ["Attempt 1", "Attempt 2", "Latest"]);
    let found = Found::new(&message, now());
    assert_eq!(found.attempts[0].failure.as_ref().unwrap().code, "131047");
    assert_eq!(found.conversation, "/conversations/15550001111/c1");
}

#[test]
fn a_message_that_waits_says_for_what() {
    for (state, told) in [
        (MessageState::Held, "goes when the customer writes"),
        (MessageState::Unknown, "a report may still tell"),
        (MessageState::Deferred, "Stuck work"),
        (MessageState::Paused, "platform decides"),
        (MessageState::Pending, ""),
    ] {
        let mut message = Message {
            expire_time: at(60),
            ..Message::default()
        };
        message.set_state(state);
        let found = Found::new(&message, now());
        assert!(found.advice.contains(told), "{state:?}: {}", found.advice);
        assert!(found.expires.is_some());
    }
}

#[test]
fn a_cost_says_by_whose_word_it_is() {
    let cost = |basis: CostBasis, amount: Option<u64>, billable| {
        let mut cost = Cost {
            category: "utility".to_owned(),
            amount: amount.map(|micros| Money {
                currency: "EUR".to_owned(),
                micros,
            }),
            billable,
            ..Cost::default()
        };
        cost.set_basis(basis);
        super::cost(&cost)
    };
    assert_eq!(
        cost(CostBasis::Estimated, Some(50_000), true),
        "0.05 EUR (utility), expected"
    );
    assert_eq!(
        cost(CostBasis::Reported, None, false),
        "not billed (utility), as reported"
    );
    assert_eq!(
        cost(CostBasis::NotDelivered, Some(1), true),
        "not billed: not delivered"
    );
}

#[test]
fn labels_are_shown_as_they_are_filtered_by() {
    let message = Message {
        labels: vec![
            Label {
                key: "order".to_owned(),
                value: "7".to_owned(),
            },
            Label {
                key: "vip".to_owned(),
                value: String::new(),
            },
        ],
        ..Message::default()
    };
    assert_eq!(Found::new(&message, now()).labels, ["order=7", "vip"]);
}
