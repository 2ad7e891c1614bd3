//! Each event against what it changes.

use casement_event::convert::timestamp;
use casement_event::v1::{ClosedReason, DeliveryStatus, Route, WindowState};

use super::*;
use crate::fixture::{conversation, record};

const MESSAGE: &str = "15550001111-00000000000000000000000000000001";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn proto(second: i64) -> prost_types::Timestamp {
    timestamp(at(second))
}

fn times(second: i64) -> v1::Times {
    v1::Times {
        event_time: Some(proto(second)),
        received_time: Some(proto(second + 1)),
        ..v1::Times::default()
    }
}

fn projected(event: impl Into<Event>) -> Vec<Change> {
    let event = event.into();
    project(&record("EVENTS", 1, &event), &event)
}

fn of_conversation(event: impl Into<Event>) -> ConversationChange {
    let changes = projected(event);
    let [
        Change::Conversation {
            key,
            brand_id,
            change,
        },
    ] = changes.as_slice()
    else {
        panic!("not one change of a conversation: {changes:?}")
    };
    assert_eq!(
        (key.number.as_str(), key.customer_id.as_str()),
        ("15550001111", "c1")
    );
    assert_eq!(brand_id, "default");
    change.clone()
}

fn of_message(event: impl Into<Event>) -> MessageChange {
    let changes = projected(event);
    let Some(Change::Message { message_id, change }) = changes.last() else {
        panic!("no change of a message: {changes:?}")
    };
    assert_eq!(message_id, MESSAGE);
    change.clone()
}

fn fact_id(event: &Event) -> String {
    index::event_id(&record("EVENTS", 1, event)).to_owned()
}

#[test]
fn what_a_customer_does_is_inbound() {
    let text = v1::InboundMessageReceived {
        conversation: Some(conversation()),
        times: Some(times(100)),
        text: "hello".to_owned(),
        kind: "text".to_owned(),
        profile_name: "Ada".to_owned(),
        ..Default::default()
    };
    let image = v1::InboundMessageReceived {
        text: String::new(),
        kind: "image".to_owned(),
        profile_name: String::new(),
        ..text.clone()
    };
    let sms = v1::InboundSmsReceived {
        conversation: Some(conversation()),
        times: Some(times(100)),
        text: "by sms".to_owned(),
        ..Default::default()
    };
    let call = v1::InboundCallReceived {
        conversation: Some(conversation()),
        times: Some(times(100)),
        provider_call_id: "call1".to_owned(),
        qualifies: true,
        ..Default::default()
    };
    let table: [(Event, Option<&str>, Option<&str>); 4] = [
        (text.into(), Some("hello"), Some("Ada")),
        (image.into(), Some("[image]"), None),
        (sms.into(), Some("by sms"), None),
        (call.clone().into(), None, None),
    ];
    for (event, text, profile_name) in table {
        let fact = match &event {
            Event::InboundCallReceived(_) => "call/call1".to_owned(),
            _ => fact_id(&event),
        };
        let expected = ConversationChange::Inbound {
            fact,
            at: at(100),
            text: text.map(str::to_owned),
            profile_name: profile_name.map(str::to_owned),
        };
        assert_eq!(of_conversation(event), expected);
    }
    let hung_up = v1::InboundCallReceived {
        qualifies: false,
        ..call
    };
    assert_eq!(of_conversation(hung_up), ConversationChange::Seen);
}

#[test]
fn a_late_fact_counts_as_the_fact_that_it_carries() {
    let fact = v1::InboundMessageReceived {
        conversation: Some(conversation()),
        times: Some(times(100)),
        text: "late".to_owned(),
        ..Default::default()
    };
    let event = Event::from(fact);
    let late = v1::LateFact {
        conversation: Some(conversation()),
        fact_type: event.event_type().to_owned(),
        fact: event.encode().to_vec(),
        fact_id: "the-fact".to_owned(),
        ..Default::default()
    };
    let change = of_conversation(late.clone());
    assert!(
        matches!(&change, ConversationChange::Inbound { fact, at: time, .. }
            if fact == "the-fact" && *time == at(100)),
        "{change:?}"
    );
    let unreadable = v1::LateFact {
        fact_type: "unheard.of".to_owned(),
        ..late
    };
    assert_eq!(of_conversation(unreadable), ConversationChange::Seen);
}

#[test]
fn the_end_of_a_conversation_that_never_began_makes_no_row() {
    let moved = v1::MovedTo {
        conversation: Some(conversation()),
        survivor_customer_id: "c2".to_owned(),
        ..Default::default()
    };
    assert_eq!(projected(moved.clone()), []);
    let summary = v1::InboundSummary {
        last_event_time: Some(proto(5)),
        ..Default::default()
    };
    let moved = v1::MovedTo {
        summary: Some(summary),
        ..moved
    };
    assert_eq!(of_conversation(moved), ConversationChange::Seen);
}

#[test]
fn the_business_is_counted_once_a_message_and_for_what_it_writes_by_phone() {
    let accepted = v1::AttemptAccepted {
        message_id: MESSAGE.to_owned(),
        conversation: Some(conversation()),
        accept_time: Some(proto(5)),
        ..Default::default()
    };
    let changes = projected(accepted);
    let expected = [
        Change::Conversation {
            key: ConversationKey {
                number: "15550001111".to_owned(),
                customer_id: "c1".to_owned(),
            },
            brand_id: "default".to_owned(),
            change: ConversationChange::Outbound {
                fact: format!("accepted/{MESSAGE}"),
                at: at(5),
                attempt: Some(AttemptKey {
                    message_id: MESSAGE.to_owned(),
                    number: 0,
                }),
            },
        },
        Change::Message {
            message_id: MESSAGE.to_owned(),
            change: MessageChange::Tried {
                number: 0,
                result: AttemptResult::Accepted {
                    provider_message_id: String::new(),
                    state: "ACCEPTED",
                },
                state: MessageState::Accepted,
                reason: String::new(),
            },
        },
    ];
    assert_eq!(changes, expected);
    let echo = v1::EchoReceived {
        conversation: Some(conversation()),
        times: Some(times(7)),
        ..Default::default()
    };
    let fact = fact_id(&echo.clone().into());
    assert_eq!(
        of_conversation(echo),
        ConversationChange::Outbound {
            fact,
            at: at(7),
            attempt: None,
        }
    );
}

#[test]
fn every_window_event_carries_the_whole_window() {
    let mut published = v1::PublishedWindow {
        window_id: "w1".to_owned(),
        conversation: Some(conversation()),
        open_time: Some(proto(10)),
        expire_time: Some(proto(20)),
        ..Default::default()
    };
    published.set_state(WindowState::Open);
    let mut closed = published.clone();
    closed.set_state(WindowState::Closed);
    closed.set_closed_reason(ClosedReason::Expired);
    let expected = |state, closed_reason| ConversationChange::Window {
        window_id: "w1".to_owned(),
        state,
        closed_reason,
        open_time: Some(at(10)),
        expire_time: Some(at(20)),
        lock_time: Some(at(20)),
        is_end_announced: false,
    };
    let (published, closed) = (Some(published), Some(closed));
    let open: [Event; 3] = [
        v1::WindowOpened {
            window: published.clone(),
            ..Default::default()
        }
        .into(),
        v1::WindowExtended {
            window: published.clone(),
        }
        .into(),
        v1::WindowExpiring {
            window: published,
            ..Default::default()
        }
        .into(),
    ];
    for event in open {
        assert_eq!(
            of_conversation(event),
            expected(WindowState::Open, ClosedReason::Unspecified)
        );
    }
    let ended: [Event; 2] = [
        v1::WindowExpired {
            window: closed.clone(),
        }
        .into(),
        v1::WindowCorrected {
            window: closed,
            ..Default::default()
        }
        .into(),
    ];
    for event in ended {
        assert_eq!(
            of_conversation(event),
            expected(WindowState::Closed, ClosedReason::Expired)
        );
    }
}

#[test]
fn a_message_s_life_is_told_event_by_event() {
    let message_id = || MESSAGE.to_owned();
    let mut started = v1::AttemptStarted {
        message_id: message_id(),
        attempt: 2,
        start_time: Some(proto(3)),
        ..Default::default()
    };
    started.set_route(Route::Template);
    let mut delivered = v1::DeliveryAdvanced {
        message_id: message_id(),
        ..Default::default()
    };
    delivered.set_status(DeliveryStatus::Delivered);
    let mut over = v1::MessageEnded {
        message_id: message_id(),
        reason: "READ".to_owned(),
        end_time: Some(proto(9)),
        ..Default::default()
    };
    over.set_outcome(MessageOutcome::Delivered);
    let label = v1::Label {
        key: "campaign".to_owned(),
        value: "spring".to_owned(),
    };
    let requested = v1::MessageRequested {
        message_id: message_id(),
        conversation: Some(conversation()),
        client_reference: "order-1".to_owned(),
        labels: vec![label.clone()],
        held_message_id: "held-1".to_owned(),
        send_time: Some(proto(3)),
        request_time: Some(proto(1)),
        expire_time: Some(proto(2)),
        ..Default::default()
    };
    let state = |state, reason: &str| MessageChange::State {
        state,
        reason: reason.to_owned(),
    };
    let tried = |result, state, reason: &str| MessageChange::Tried {
        number: 2,
        result,
        state,
        reason: reason.to_owned(),
    };
    let error = v1::ProviderError {
        code: 131_026,
        ..Default::default()
    };
    let table: Vec<(Event, MessageChange)> = vec![
        (
            requested.into(),
            MessageChange::Requested {
                key: ConversationKey {
                    number: "15550001111".to_owned(),
                    customer_id: "c1".to_owned(),
                },
                brand_id: "default".to_owned(),
                client_reference: "order-1".to_owned(),
                labels: vec![label],
                is_sensitive: false,
                send_time: Some(at(3)),
                held_message_id: "held-1".to_owned(),
                request_time: Some(at(1)),
                expire_time: Some(at(2)),
            },
        ),
        (
            v1::MessageHeld {
                message_id: message_id(),
                nudge_message_id: "nudge-1".to_owned(),
                ..Default::default()
            }
            .into(),
            MessageChange::Held {
                reason: String::new(),
                nudge_message_id: "nudge-1".to_owned(),
            },
        ),
        (
            v1::MessageReleased {
                message_id: message_id(),
                cause: "WINDOW_OPENED".to_owned(),
                ..Default::default()
            }
            .into(),
            state(MessageState::Pending, "WINDOW_OPENED"),
        ),
        (
            v1::MessageDeferred {
                message_id: message_id(),
                cause: "RATE".to_owned(),
                ..Default::default()
            }
            .into(),
            MessageChange::Deferred {
                deferral: Deferral {
                    cause: "RATE".to_owned(),
                    ..Deferral::default()
                },
            },
        ),
        (
            started.into(),
            MessageChange::Attempt {
                number: 2,
                route: Route::Template,
                sms_gateway: String::new(),
                start_time: Some(at(3)),
            },
        ),
        (
            v1::AttemptAccepted {
                message_id: message_id(),
                attempt: 2,
                provider_message_id: "wamid.1".to_owned(),
                provider_status: "paused".to_owned(),
                ..Default::default()
            }
            .into(),
            tried(
                AttemptResult::Accepted {
                    provider_message_id: "wamid.1".to_owned(),
                    state: "PAUSED",
                },
                MessageState::Paused,
                "PAUSED",
            ),
        ),
        (
            v1::AttemptRejected {
                message_id: message_id(),
                attempt: 2,
                error: Some(error.clone()),
                action: "FAIL".to_owned(),
                ..Default::default()
            }
            .into(),
            tried(
                AttemptResult::Rejected { error: Some(error) },
                MessageState::Pending,
                "FAIL",
            ),
        ),
        (
            v1::AttemptUnknown {
                message_id: message_id(),
                attempt: 2,
                reason: "TIMED_OUT".to_owned(),
                ..Default::default()
            }
            .into(),
            tried(AttemptResult::Unknown, MessageState::Unknown, "TIMED_OUT"),
        ),
        (
            v1::AttemptAbandoned {
                message_id: message_id(),
                attempt: 2,
                policy: "RETRY".to_owned(),
                ..Default::default()
            }
            .into(),
            tried(AttemptResult::Abandoned, MessageState::Pending, "RETRY"),
        ),
        (
            v1::DeliveryOverdue {
                message_id: message_id(),
                attempt: 2,
                moves_on: true,
                duplicate_risk: true,
                ..Default::default()
            }
            .into(),
            MessageChange::Overdue {
                number: 2,
                moves_on: true,
                is_risky: true,
                reason: "DELIVERY_OVERDUE".to_owned(),
            },
        ),
        (
            delivered.into(),
            MessageChange::Delivery {
                number: 0,
                status: DeliveryStatus::Delivered,
            },
        ),
        (
            v1::StatusReported {
                message_id: message_id(),
                ..Default::default()
            }
            .into(),
            MessageChange::Touched,
        ),
        (
            over.into(),
            ended(MessageOutcome::Delivered, "READ".to_owned(), at(9)),
        ),
        (
            v1::MessageExpired {
                message_id: message_id(),
                expire_time: Some(proto(8)),
                ..Default::default()
            }
            .into(),
            ended(MessageOutcome::Expired, "TTL_PASSED".to_owned(), at(8)),
        ),
        (
            v1::MessageCancelled {
                message_id: message_id(),
                cancel_time: Some(proto(7)),
                ..Default::default()
            }
            .into(),
            ended(MessageOutcome::Cancelled, "CANCELLED".to_owned(), at(7)),
        ),
    ];
    for (event, expected) in table {
        assert_eq!(of_message(event), expected);
    }
}

#[test]
fn an_event_that_names_no_conversation_changes_none() {
    let nobody = Some(v1::Conversation::default());
    let message = v1::InboundMessageReceived {
        conversation: nobody,
        ..Default::default()
    };
    assert_eq!(projected(message), []);
    assert_eq!(projected(v1::WindowExpired::default()), []);
    assert_eq!(projected(v1::BrandRecorded::default()), []);
}

#[test]
fn a_cost_is_kept_with_its_attempt_and_how_it_was_counted_is_not() {
    let cost = v1::Cost {
        basis: v1::CostBasis::Reported.into(),
        category: "utility".to_owned(),
        amount: Some(v1::Money {
            currency: "EUR".to_owned(),
            micros: 50_000,
        }),
        counted: Some(v1::Spend::default()),
        ..v1::Cost::default()
    };
    let expected = MessageChange::Cost {
        number: 2,
        cost: v1::Cost {
            counted: None,
            ..cost.clone()
        },
    };
    let billed = v1::MessageBilled {
        message_id: MESSAGE.to_owned(),
        conversation: Some(conversation()),
        attempt: 2,
        cost: Some(cost.clone()),
        ..v1::MessageBilled::default()
    };
    assert_eq!(of_message(billed), expected);
    let delivered = v1::DeliveryAdvanced {
        message_id: MESSAGE.to_owned(),
        conversation: Some(conversation()),
        attempt: 2,
        status: DeliveryStatus::Delivered.into(),
        cost: Some(cost),
        ..v1::DeliveryAdvanced::default()
    };
    let changes = projected(delivered);
    let told = changes.iter().filter_map(|change| match change {
        Change::Message { change, .. } => Some(change),
        Change::Conversation { .. } | Change::Consents { .. } => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(matches!(told[0], MessageChange::Delivery { .. }));
    assert_eq!(*told[1], expected);
}
