//! What a timeline makes of what the API tells.

use casement_proto::conversation::v1::{TimelineDetail, TimelineItem, TimelineParty};
use casement_proto::events::v1::{
    Candidate, ClosedReason, Decision, DeliveryStatus, MessageOutcome, ProviderError, Route,
    TemplateComponent, TemplateContent, TemplateParameter, template_parameter,
};

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "messages have it so")]
fn time(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: 1_763_800_000 + second,
        nanos: 0,
    })
}

fn now() -> Timestamp {
    Timestamp::from_second(1_763_803_600).unwrap()
}

fn item(second: i64, event: &str, message_id: &str, detail: TimelineDetail) -> TimelineItem {
    TimelineItem {
        time: time(second),
        event_type: format!("casement.events.v1.{event}"),
        summary: "something happened".to_owned(),
        message_id: message_id.to_owned(),
        detail: Some(detail),
        ..TimelineItem::default()
    }
}

fn said(second: i64, id: &str, kind: &str, text: &str, refers_to: &str) -> TimelineItem {
    let mut detail = TimelineDetail {
        kind: kind.to_owned(),
        text: text.to_owned(),
        provider_message_id: id.to_owned(),
        refers_to_message_id: refers_to.to_owned(),
        ..TimelineDetail::default()
    };
    detail.set_party(TimelineParty::Customer);
    item(second, "InboundMessageReceived", "", detail)
}

fn of(attempt: u32) -> TimelineDetail {
    TimelineDetail {
        attempt,
        ..TimelineDetail::default()
    }
}

fn told(second: i64, status: DeliveryStatus) -> TimelineItem {
    let mut detail = of(1);
    detail.set_delivery_status(status);
    item(second, "DeliveryAdvanced", "m1", detail)
}

fn requested(second: i64, text: &str) -> TimelineItem {
    let detail = TimelineDetail {
        kind: "text".to_owned(),
        text: text.to_owned(),
        author: "shop".to_owned(),
        ..TimelineDetail::default()
    };
    item(second, "MessageRequested", "m1", detail)
}

fn started(second: i64, attempt: u32, route: Route) -> TimelineItem {
    let mut decision = Decision {
        policy: "default".to_owned(),
        decide_time: time(second),
        candidates: vec![Candidate {
            reason: "WINDOW_OPEN".to_owned(),
            ..Candidate::default()
        }],
        ..Decision::default()
    };
    decision.set_chosen_route(route);
    let mut detail = TimelineDetail {
        decision: Some(decision),
        ..of(attempt)
    };
    detail.set_route(route);
    item(second, "AttemptStarted", "m1", detail)
}

fn ended(second: i64, outcome: MessageOutcome, reason: &str) -> TimelineItem {
    let mut detail = TimelineDetail {
        reason: reason.to_owned(),
        ..TimelineDetail::default()
    };
    detail.set_outcome(outcome);
    item(second, "MessageEnded", "m1", detail)
}

/// Oldest first, as they happened.
fn shown(mut items: Vec<TimelineItem>) -> Vec<Entry> {
    items.reverse();
    entries(&items, &Bodies::new(), now())
}

fn only(items: Vec<TimelineItem>) -> Sent {
    let mut entries = shown(items);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    match entries.remove(0) {
        Entry::Sent(sent) => *sent,
        other => panic!("no message of ours: {other:?}"),
    }
}

#[test]
fn a_message_is_one_entry_whatever_happened_to_it() {
    let sent = only(vec![
        requested(1, "Hi!"),
        started(2, 1, Route::FreeForm),
        item(
            3,
            "AttemptAccepted",
            "m1",
            TimelineDetail {
                provider_message_id: "wamid.1".to_owned(),
                ..of(1)
            },
        ),
        told(4, DeliveryStatus::Sent),
        told(5, DeliveryStatus::Delivered),
        ended(5, MessageOutcome::Delivered, ""),
        told(6, DeliveryStatus::Read),
    ]);
    assert_eq!((sent.text.as_str(), sent.author.as_str()), ("Hi!", "shop"));
    assert_eq!((sent.state.text.as_str(), sent.state.class), ("Read", "ok"));
    assert_eq!(sent.attempts.len(), 1);
    let attempt = &sent.attempts[0];
    assert_eq!(
        (
            attempt.route,
            attempt.result.as_str(),
            attempt.provider_message_id.as_str()
        ),
        ("free-form", "read", "wamid.1")
    );
    assert_eq!(sent.decisions.len(), 1);
    assert_eq!(sent.decisions[0].of, "Attempt 1");
    assert!(!sent.is_cut);
}

#[test]
fn a_late_sent_never_undoes_delivered() {
    for (statuses, said) in [
        (
            vec![DeliveryStatus::Delivered, DeliveryStatus::Sent],
            "Delivered",
        ),
        (
            vec![DeliveryStatus::Read, DeliveryStatus::Delivered],
            "Read",
        ),
        (
            vec![DeliveryStatus::Delivered, DeliveryStatus::Failed],
            "Delivered",
        ),
        (vec![DeliveryStatus::Sent, DeliveryStatus::Failed], "Failed"),
    ] {
        let mut items = vec![requested(1, "Hi!"), started(2, 1, Route::FreeForm)];
        items.extend(
            (3..)
                .zip(statuses)
                .map(|(second, status)| told(second, status)),
        );
        assert_eq!(only(items).state.text, said);
    }
}

#[test]
fn a_failure_says_why_and_what_to_do() {
    let refused = item(
        3,
        "AttemptRejected",
        "m1",
        TimelineDetail {
            errors: vec![ProviderError {
                code: 131_026,
                ..ProviderError::default()
            }],
            ..of(1)
        },
    );
    let sent = only(vec![
        requested(1, "Hi!"),
        started(2, 1, Route::FreeForm),
        refused,
        ended(4, MessageOutcome::Failed, "NO_ROUTE"),
    ]);
    assert_eq!(
        (sent.state.text.as_str(), sent.state.class),
        ("Failed: no route", "bad")
    );
    assert!(sent.advice.contains("Send a template"), "{}", sent.advice);
    let failure = &sent.attempts[0].failures[0];
    assert_eq!(failure.code, "131026");
    assert!(failure.advice.contains("Use SMS"));
}

#[test]
fn what_waits_says_for_what_and_how_long() {
    let held = item(
        2,
        "MessageHeld",
        "m1",
        TimelineDetail {
            until_time: time(3_000),
            ..TimelineDetail::default()
        },
    );
    let sent = only(vec![requested(1, "Hi!"), held]);
    assert_eq!(sent.state.class, "wait");
    assert!(
        sent.state
            .text
            .starts_with("Held until the customer writes, until "),
        "{}",
        sent.state.text
    );
    let deferred = item(
        2,
        "MessageDeferred",
        "m1",
        TimelineDetail {
            reason: "QUIET_HOURS".to_owned(),
            ..TimelineDetail::default()
        },
    );
    let sent = only(vec![requested(1, "Hi!"), deferred]);
    assert_eq!(sent.state.text, "Put off: quiet hours");
}

#[test]
fn of_a_message_whose_request_is_on_another_page_the_rest_is_shown() {
    let sent = only(vec![told(5, DeliveryStatus::Delivered)]);
    assert!(sent.is_cut);
    assert_eq!(sent.state.text, "Delivered");
}

#[test]
fn a_reaction_an_edit_and_a_withdrawal_stand_with_their_message() {
    let entries = shown(vec![
        said(1, "wamid.1", "text", "Helo", ""),
        said(2, "wamid.2", "edit", "Hello", "wamid.1"),
        said(3, "wamid.3", "reaction", "👍", "wamid.1"),
        said(4, "wamid.4", "revoke", "", "wamid.1"),
        said(5, "wamid.5", "reaction", "🎉", "wamid.from-before"),
    ]);
    assert_eq!(entries.len(), 2, "{entries:#?}");
    let Entry::Said(first) = &entries[0] else {
        panic!("{entries:#?}");
    };
    assert_eq!(first.text, "Hello");
    assert_eq!(first.reactions, ["👍"]);
    assert!(first.is_edited && first.is_withdrawn && first.is_customer);
    let Entry::Said(last) = &entries[1] else {
        panic!("{entries:#?}");
    };
    assert_eq!((last.kind.as_str(), last.text.as_str()), ("reaction", "🎉"));
    assert_eq!(last.quoted, "an earlier message");
}

#[test]
fn a_reaction_that_is_taken_back_is_gone() {
    let entries = shown(vec![
        said(1, "wamid.1", "text", "Hello", ""),
        said(2, "wamid.2", "reaction", "👍", "wamid.1"),
        said(3, "wamid.3", "reaction", "", "wamid.1"),
    ]);
    let Entry::Said(first) = &entries[0] else {
        panic!("{entries:#?}");
    };
    assert!(first.reactions.is_empty());
}

#[test]
fn an_answer_quotes_the_beginning_of_what_it_answers() {
    let long = "é".repeat(200);
    let entries = shown(vec![
        said(1, "wamid.1", "text", &long, ""),
        said(2, "wamid.2", "text", "Yes", "wamid.1"),
    ]);
    let Entry::Said(answer) = &entries[1] else {
        panic!("{entries:#?}");
    };
    assert_eq!(answer.quoted, format!("{}…", "é".repeat(80)));
}

#[test]
fn a_file_stands_with_its_message_and_says_if_it_is_not_to_be_had() {
    let file = |second, event: &str, reason: &str| TimelineItem {
        media_id: "15550001111-aa".to_owned(),
        ..item(
            second,
            event,
            "",
            TimelineDetail {
                kind: "document".to_owned(),
                text: "bill.pdf".to_owned(),
                provider_message_id: "wamid.1".to_owned(),
                reason: reason.to_owned(),
                ..TimelineDetail::default()
            },
        )
    };
    let entries = shown(vec![
        said(1, "wamid.1", "document", "", ""),
        file(2, "MediaDeferred", "LINK_EXPIRED"),
        file(3, "MediaStored", ""),
    ]);
    let Entry::Said(first) = &entries[0] else {
        panic!("{entries:#?}");
    };
    assert_eq!((entries.len(), first.files.len()), (1, 1));
    assert_eq!(
        (
            first.files[0].name.as_str(),
            first.files[0].problem.as_str()
        ),
        ("bill.pdf", "")
    );
    let lost = shown(vec![file(3, "MediaUnavailable", "TOO_LARGE")]);
    let Entry::Said(lost) = &lost[0] else {
        panic!("{lost:#?}");
    };
    assert_eq!(lost.files[0].problem, "too large");
}

#[test]
fn a_window_that_is_extended_again_and_again_says_so_once() {
    let window = |second, event: &str, until| {
        let mut detail = TimelineDetail {
            until_time: time(until),
            ..TimelineDetail::default()
        };
        detail.set_closed_reason(ClosedReason::Corrected);
        item(second, event, "", detail)
    };
    let entries = shown(vec![
        window(1, "WindowOpened", 3_000),
        window(2, "WindowExtended", 3_100),
        window(3, "WindowExtended", 3_200),
        window(4, "WindowExpiring", 3_200),
        window(5, "WindowCorrected", 3_200),
    ]);
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Mark(mark) => (mark.class, mark.text.split(':').next().unwrap_or_default()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0].0, "open");
    assert_eq!(lines[1], ("soon", "Window ends soon"));
    assert_eq!(
        lines[2],
        ("closed", "The platform said that the window is closed")
    );
}

#[test]
fn a_note_is_never_an_entry_of_the_customers() {
    let mut detail = TimelineDetail {
        kind: "note".to_owned(),
        text: "<b>call back</b>".to_owned(),
        author: "ana".to_owned(),
        ..TimelineDetail::default()
    };
    detail.set_party(TimelineParty::Colleague);
    let entries = shown(vec![item(1, "NoteAdded", "", detail)]);
    assert!(
        matches!(&entries[..], [Entry::Note(note)] if note.author == "ana" && note.text == "<b>call back</b>"),
        "{entries:#?}"
    );
}

#[test]
fn a_template_is_shown_as_the_customer_reads_it() {
    let parameter = |name: &str, value: &str| TemplateParameter {
        name: name.to_owned(),
        value: Some(template_parameter::Value::Text(value.to_owned())),
    };
    let template = |parameters| TemplateContent {
        name: "order_update".to_owned(),
        language: "en_US".to_owned(),
        components: vec![TemplateComponent {
            r#type: "body".to_owned(),
            parameters,
            ..TemplateComponent::default()
        }],
        ..TemplateContent::default()
    };
    for (body, parameters, shown) in [
        (
            "Order {{1}} for {{2}}",
            vec![parameter("", "7"), parameter("", "Ana")],
            "Order 7 for Ana",
        ),
        (
            "Order {{1}} for {{2}}",
            vec![parameter("", "7")],
            "Order 7 for {{2}}",
        ),
        (
            "Hi {{name}}, {{ }}",
            vec![parameter("name", "{{1}}")],
            "Hi {{1}}, {{ }}",
        ),
        ("broken {{1", vec![parameter("", "7")], "broken {{1"),
    ] {
        let template = template(parameters);
        assert_eq!(
            super::super::conversation_message::filled(body, &template),
            shown
        );
    }
    let bodies = Bodies::from([(
        ("order_update".to_owned(), "en_US".to_owned()),
        "Order {{1}}".to_owned(),
    )]);
    let detail = |text: &str| TimelineDetail {
        kind: "template".to_owned(),
        text: text.to_owned(),
        template: Some(template(vec![parameter("", "7")])),
        ..TimelineDetail::default()
    };
    let both = [
        started(2, 1, Route::Template),
        item(1, "MessageRequested", "m1", detail("On its way!")),
    ];
    let went = super::entries(&both, &bodies, now());
    let Entry::Sent(sent) = &went[0] else {
        panic!("{went:#?}");
    };
    assert_eq!(sent.text, "Order 7", "what went is shown");
    let entries = entries(
        &[item(1, "MessageRequested", "m1", detail(""))],
        &bodies,
        now(),
    );
    let Entry::Sent(sent) = &entries[0] else {
        panic!("{entries:#?}");
    };
    assert_eq!(
        (sent.text.as_str(), sent.template.as_str()),
        ("Order 7", "order_update (en_US)")
    );
}
