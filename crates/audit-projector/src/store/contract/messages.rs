//! What every store must do with messages that are looked for.

use casement_event::v1::{self, MessageOutcome, Route};
use casement_proto::message::v1::MessageState;

use super::super::{MessageFilter, RequestKey};
use super::*;
use crate::terms;

fn id(number: u8) -> String {
    format!("15550001111-{number:032}")
}

fn label(key: &str, value: &str) -> v1::Label {
    v1::Label {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Asked for in the second of its number.
fn requested(number: u8, brand: &str, labels: Vec<v1::Label>) -> Event {
    v1::MessageRequested {
        message_id: id(number),
        conversation: Some(v1::Conversation {
            brand_id: brand.to_owned(),
            customer_id: format!("c{number}"),
            ..fixture::conversation()
        }),
        client_reference: format!("order-{number}"),
        labels,
        request_time: Some(proto(i64::from(number))),
        ..Default::default()
    }
    .into()
}

fn started(number: u8, attempt: u32, route: Route) -> Event {
    let mut started = v1::AttemptStarted {
        message_id: id(number),
        attempt,
        start_time: Some(proto(20)),
        ..Default::default()
    };
    started.set_route(route);
    started.into()
}

fn accepted(number: u8, attempt: u32, provider_message_id: &str) -> Event {
    v1::AttemptAccepted {
        message_id: id(number),
        attempt,
        provider_message_id: provider_message_id.to_owned(),
        ..Default::default()
    }
    .into()
}

fn rejected(number: u8, attempt: u32, code: i64) -> Event {
    v1::AttemptRejected {
        message_id: id(number),
        attempt,
        action: "NEXT_ROUTE".to_owned(),
        error: Some(v1::ProviderError {
            code,
            ..Default::default()
        }),
        ..Default::default()
    }
    .into()
}

fn failed(number: u8, reason: &str) -> Event {
    let mut ended = v1::MessageEnded {
        message_id: id(number),
        reason: reason.to_owned(),
        end_time: Some(proto(50)),
        ..Default::default()
    };
    ended.set_outcome(MessageOutcome::Failed);
    ended.into()
}

/// Four messages: one pending, one accepted after a refusal, one failed, one of another brand.
pub(super) async fn four(fixture: &Fixture) {
    let spring = || label("campaign", "spring");
    let events = vec![
        requested(1, "default", vec![spring()]),
        requested(2, "default", vec![spring(), label("team", "")]),
        requested(3, "default", vec![label("campaign", "summer")]),
        requested(4, "other", vec![spring()]),
        started(2, 1, Route::FreeForm),
        rejected(2, 1, 131_047),
        started(2, 2, Route::Sms),
        accepted(2, 2, "SM1"),
        started(3, 1, Route::FreeForm),
        rejected(3, 1, 131_026),
        failed(3, "NO_ROUTE"),
    ];
    archive_each(fixture, "MESSAGES", events).await;
}

async fn found(fixture: &Fixture, filter: MessageFilter) -> Vec<String> {
    let rows = fixture.store.messages(&filter, None, 100).await.unwrap();
    for row in &rows {
        assert!(filter.matches(row), "found and not meant: {row:?}");
    }
    let numbers = rows
        .iter()
        .map(|row| row.id.trim_start_matches("15550001111-"));
    numbers
        .map(|number| number.trim_start_matches('0').to_owned())
        .collect()
}

pub(in crate::store) async fn a_message_is_found_by_whatever_is_known_of_it(fixture: &Fixture) {
    four(fixture).await;
    let all = MessageFilter::default;
    let by_terms = |terms: Vec<String>| MessageFilter { terms, ..all() };
    let spring = || terms::label(&label("campaign", "spring"));
    let table: Vec<(&str, MessageFilter, &[&str])> = vec![
        ("all", all(), &["4", "3", "2", "1"]),
        (
            "brand",
            MessageFilter {
                brand_id: Some("default".to_owned()),
                ..all()
            },
            &["3", "2", "1"],
        ),
        (
            "number",
            MessageFilter {
                number: Some("4915".to_owned()),
                ..all()
            },
            &[],
        ),
        (
            "customer",
            MessageFilter {
                customer_id: Some("c2".to_owned()),
                ..all()
            },
            &["2"],
        ),
        (
            "states",
            MessageFilter {
                states: vec![MessageState::Accepted, MessageState::Ended],
                ..all()
            },
            &["3", "2"],
        ),
        (
            "outcomes",
            MessageFilter {
                outcomes: vec![MessageOutcome::Failed],
                ..all()
            },
            &["3"],
        ),
        (
            "reason",
            MessageFilter {
                reason: Some("NO_ROUTE".to_owned()),
                ..all()
            },
            &["3"],
        ),
        (
            "reference",
            by_terms(vec![terms::reference("order-1")]),
            &["1"],
        ),
        ("label", by_terms(vec![spring()]), &["4", "2", "1"]),
        (
            "label of any value",
            by_terms(vec![terms::label(&label("campaign", ""))]),
            &["4", "3", "2", "1"],
        ),
        (
            "two labels",
            by_terms(vec![spring(), terms::label(&label("team", ""))]),
            &["2"],
        ),
        (
            "provider's id",
            by_terms(vec![terms::provider_id("SM1")]),
            &["2"],
        ),
        ("code", by_terms(vec![terms::error_code(131_026)]), &["3"]),
        (
            "label, since and before",
            MessageFilter {
                request_time_min: Some(at(2)),
                request_time_end: Some(at(4)),
                ..by_terms(vec![spring()])
            },
            &["2"],
        ),
        (
            "since and before",
            MessageFilter {
                request_time_min: Some(at(2)),
                request_time_end: Some(at(4)),
                ..all()
            },
            &["3", "2"],
        ),
        (
            "nothing of it",
            by_terms(vec![terms::reference("order-9")]),
            &[],
        ),
    ];
    for (what, filter, expected) in table {
        assert_eq!(found(fixture, filter).await, expected, "{what}");
    }
}

pub(in crate::store) async fn a_page_of_messages_goes_on_where_it_ended_whatever_comes_meanwhile(
    fixture: &Fixture,
) {
    let numbered = |numbers: &[u8]| -> Vec<Event> {
        let labels = || vec![label("campaign", "spring")];
        numbers
            .iter()
            .map(|number| requested(*number, "default", labels()))
            .collect()
    };
    archive_each(fixture, "MESSAGES", numbered(&[1, 2, 3, 5])).await;
    let spring = || vec![terms::label(&label("campaign", "spring"))];
    for (terms, page_len, newer) in [(vec![], 2, 8), (spring(), 3, 9)] {
        let filter = MessageFilter {
            terms,
            ..MessageFilter::default()
        };
        let page = fixture
            .store
            .messages(&filter, None, page_len)
            .await
            .unwrap();
        let last = page.last().unwrap();
        assert_eq!(last.id, id(3));
        let before = RequestKey {
            request_time: last.request_time.unwrap(),
            message_id: last.id.clone(),
        };
        // A newer one comes, and one of the next page changes.
        let new = numbered(&[newer])
            .into_iter()
            .chain([started(2, 1, Route::Sms)]);
        archive_each(fixture, "MESSAGES", new).await;
        let rest = fixture
            .store
            .messages(&filter, Some(&before), 9)
            .await
            .unwrap();
        let rest: Vec<_> = rest.into_iter().map(|row| row.id).collect();
        assert_eq!(rest, [id(2), id(1)]);
    }
}

pub(in crate::store) async fn what_became_of_each_attempt_is_kept(fixture: &Fixture) {
    four(fixture).await;
    let message = fixture.store.message(&id(2)).await.unwrap().unwrap();
    let told: Vec<_> = message
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.route(), attempt.state.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (1, Route::FreeForm, "REJECTED"),
            (2, Route::Sms, "ACCEPTED")
        ]
    );
    assert_eq!(message.attempts[0].error.as_ref().unwrap().code, 131_047);
    assert_eq!(message.attempts[1].provider_message_id, "SM1");
    assert_eq!(message.attempts[1].start_time, Some(proto(20)));
    assert!(!message.attempts[1].duplicate_risk);
    assert_eq!(message.labels.len(), 2);

    let abandoned: Event = v1::AttemptAbandoned {
        message_id: id(1),
        attempt: 1,
        policy: "RETRY".to_owned(),
        ..Default::default()
    }
    .into();
    let events = [
        started(1, 1, Route::FreeForm),
        abandoned,
        started(1, 2, Route::FreeForm),
    ];
    archive_each(fixture, "MESSAGES", events).await;
    let message = fixture.store.message(&id(1)).await.unwrap().unwrap();
    assert!(
        message.attempts[1].duplicate_risk,
        "it was abandoned and repeated"
    );

    let overdue = |attempt, moves_on| {
        Event::from(v1::DeliveryOverdue {
            message_id: id(4),
            attempt,
            moves_on,
            duplicate_risk: moves_on,
            ..Default::default()
        })
    };
    let events = [
        started(4, 1, Route::FreeForm),
        overdue(1, true),
        started(4, 2, Route::Sms),
        overdue(1, false),
    ];
    archive_each(fixture, "MESSAGES", events).await;
    let message = fixture.store.message(&id(4)).await.unwrap().unwrap();
    assert!(message.attempts[0].may_still_arrive && message.attempts[1].duplicate_risk);
    assert_eq!(message.state, MessageState::Accepted);
    assert_eq!(message.reason, "DELIVERY_OVERDUE");
}

pub(in crate::store) async fn figures_of_a_brand_are_counted_and_summed(fixture: &Fixture) {
    four(fixture).await;
    let billed = |attempt, micros| v1::MessageBilled {
        message_id: id(2),
        attempt,
        cost: Some(v1::Cost {
            amount: Some(v1::Money {
                micros,
                currency: "EUR".to_owned(),
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let events: [Event; 2] = [billed(1, 45_600).into(), billed(2, 400).into()];
    archive_each(fixture, "MESSAGES", events).await;
    let counted = |brand: &'static str, from, until| async move {
        let all = fixture.store.figures(brand, at(from), at(until)).await;
        all.unwrap()
    };
    let all = counted("default", 0, 100).await;
    assert_eq!(all.iter().map(|one| one.message_count).sum::<u64>(), 3);
    let spent: Vec<_> = all
        .iter()
        .filter(|one| !one.currency.is_empty())
        .map(|one| (one.currency.as_str(), one.cost_micros))
        .collect();
    assert_eq!(spent, [("EUR", 46_000)], "of both attempts");
    let failed = all.iter().find(|one| one.outcome == MessageOutcome::Failed);
    assert_eq!(failed.unwrap().message_count, 1);
    let some = counted("default", 2, 3).await;
    assert_eq!(some.iter().map(|one| one.message_count).sum::<u64>(), 1);
    assert_eq!(counted("another", 0, 1).await, []);

    archive_messages(fixture, &[1]).await;
    assert_eq!(
        fixture.store.open_windows("default", at(0)).await.unwrap(),
        0
    );
}
