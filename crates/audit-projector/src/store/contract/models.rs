//! What every store must do with the read models.

use casement_event::v1::{self, ClosedReason, DeliveryStatus, MessageOutcome, Route, WindowState};
use casement_proto::message::v1::MessageState;

use super::super::{ConversationFilter, ListKey, Order};
use super::*;
use crate::fixture::record_on;

pub(in crate::store) async fn a_fact_that_arrives_twice_counts_once(fixture: &Fixture) {
    let head = archive_messages(fixture, &[1, 2]).await;
    archive(
        fixture,
        head,
        vec![Stored {
            sequence: 3,
            ..stored("EVENTS", 1)
        }],
    )
    .await;
    let counted = conversation(fixture).await;
    assert_eq!(counted.inbound_count, 2);
    assert_eq!(counted.last_inbound_text, "message 2");
    assert_eq!(counted.position.sequence, 3, "though it moved the row on");
    let accepted = v1::AttemptAccepted {
        message_id: MESSAGE.to_owned(),
        conversation: Some(fixture::conversation()),
        accept_time: Some(proto(50)),
        ..Default::default()
    };
    archive_each(
        fixture,
        "MESSAGES",
        [accepted.clone().into(), accepted.into()],
    )
    .await;
    let counted = conversation(fixture).await;
    assert_eq!(
        (counted.outbound_count, counted.last_outbound_time),
        (1, Some(at(50)))
    );
    assert_eq!(
        sequences(fixture, &EventFilter::default()).await.len(),
        5,
        "all are kept"
    );
}

pub(in crate::store) async fn a_late_fact_that_was_archived_before_counts_once(fixture: &Fixture) {
    let head = archive_messages(fixture, &[1, 2]).await;
    let first = stored("EVENTS", 1);
    let late = |fact_id: &str| -> Event {
        v1::LateFact {
            conversation: Some(fixture::conversation()),
            fact_type: first.event_type().to_owned(),
            fact: first.payload.to_vec(),
            fact_id: fact_id.to_owned(),
            ..Default::default()
        }
        .into()
    };
    let again = record("EVENTS", 3, &late(crate::index::event_id(&first)));
    let head = archive(fixture, head, vec![again]).await;
    let row = conversation(fixture).await;
    assert_eq!((row.inbound_count, row.position.sequence), (2, 3));
    // One that the log lost before anybody saw it is a fact as any other.
    let lost = record("EVENTS", 4, &late("another"));
    archive(fixture, head, vec![lost]).await;
    assert_eq!(conversation(fixture).await.inbound_count, 3);
}

pub(in crate::store) async fn a_late_fact_never_undoes_what_is_newer(fixture: &Fixture) {
    let said = |second, text: &str, profile_name: &str| {
        v1::InboundMessageReceived {
            conversation: Some(fixture::conversation()),
            times: Some(v1::Times {
                event_time: Some(proto(second)),
                received_time: None,
                ..v1::Times::default()
            }),
            text: text.to_owned(),
            profile_name: profile_name.to_owned(),
            ..Default::default()
        }
        .into()
    };
    let events: [Event; 3] = [
        said(20, "second", "Ada L."),
        said(10, "first", "Ada"),
        said(30, "third", ""),
    ];
    archive_each(fixture, "EVENTS", events[..2].to_vec()).await;
    let row = conversation(fixture).await;
    assert_eq!(
        (row.last_inbound_text.as_str(), row.profile_name.as_str()),
        ("second", "Ada L.")
    );
    assert_eq!(
        (row.last_inbound_time, row.inbound_count),
        (Some(at(20)), 2)
    );
    archive_each(fixture, "EVENTS", events[2..].to_vec()).await;
    let row = conversation(fixture).await;
    assert_eq!(
        (row.last_inbound_text.as_str(), row.profile_name.as_str()),
        ("third", "Ada L.")
    );
    assert_eq!(
        (row.last_inbound_time, row.inbound_count),
        (Some(at(30)), 3)
    );
}

pub(super) fn window(customer_id: &str, expires: i64, state: WindowState) -> v1::PublishedWindow {
    let mut window = v1::PublishedWindow {
        window_id: "w1".to_owned(),
        conversation: Some(v1::Conversation {
            customer_id: customer_id.to_owned(),
            ..fixture::conversation()
        }),
        open_time: Some(proto(0)),
        expire_time: Some(proto(expires)),
        ..Default::default()
    };
    window.set_state(state);
    if state == WindowState::Closed {
        window.set_closed_reason(ClosedReason::Corrected);
    }
    window
}

fn opened(customer_id: &str, expires: i64) -> Event {
    let window = Some(window(customer_id, expires, WindowState::Open));
    v1::WindowOpened {
        window,
        ..Default::default()
    }
    .into()
}

fn seen(customer_id: &str) -> Event {
    let conversation = v1::Conversation {
        customer_id: customer_id.to_owned(),
        ..fixture::conversation()
    };
    v1::EchoReceived {
        conversation: Some(conversation),
        ..Default::default()
    }
    .into()
}

pub(super) async fn listed(fixture: &Fixture, filter: &ConversationFilter) -> Vec<String> {
    let all = fixture
        .store
        .conversations(filter, None, 100)
        .await
        .unwrap();
    all.into_iter().map(|row| row.key.customer_id).collect()
}

pub(super) fn everything(now: i64) -> ConversationFilter {
    ConversationFilter {
        numbers: Vec::new(),
        brand_id: None,
        window_state: None,
        now: at(now),
        expire_time_max: None,
        expire_time_start: None,
        is_waiting: None,
        waiting_since_max: None,
        thread_owners: Vec::new(),
        statuses: Vec::new(),
        assignee: None,
        is_assigned: None,
        is_unread: None,
        is_closed: None,
        labels: Vec::new(),
        order: Order::Expiry,
        as_of: None,
    }
}

pub(in crate::store) async fn an_open_window_is_listed_as_closed_once_its_expiry_has_passed(
    fixture: &Fixture,
) {
    let corrected: Event = v1::WindowCorrected {
        window: Some(window("corrected", 40, WindowState::Closed)),
        ..Default::default()
    }
    .into();
    let events = [
        opened("late", 30),
        opened("early", 20),
        seen("never"),
        corrected,
    ];
    archive_each(fixture, "EVENTS", events).await;
    let by = |state, now| ConversationFilter {
        window_state: Some(state),
        ..everything(now)
    };
    assert_eq!(
        listed(fixture, &everything(0)).await,
        ["early", "late", "corrected", "never"]
    );
    assert_eq!(
        listed(fixture, &by(WindowState::Open, 19)).await,
        ["early", "late"]
    );
    assert_eq!(
        listed(fixture, &by(WindowState::Closed, 19)).await,
        ["corrected", "never"]
    );
    assert_eq!(listed(fixture, &by(WindowState::Open, 20)).await, ["late"]);
    assert_eq!(
        listed(fixture, &by(WindowState::Closed, 20)).await,
        ["early", "corrected", "never"]
    );
    let soon = ConversationFilter {
        expire_time_max: Some(at(20)),
        ..by(WindowState::Open, 0)
    };
    assert_eq!(listed(fixture, &soon).await, ["early"]);

    let key = |customer: &str| ConversationKey {
        customer_id: customer.to_owned(),
        ..conversation_key()
    };
    let window = async |customer: &str, now| {
        fixture
            .store
            .conversation(&key(customer))
            .await
            .unwrap()
            .unwrap()
            .window(at(now))
    };
    assert_eq!(
        window("early", 19).await,
        (WindowState::Open, ClosedReason::Unspecified)
    );
    assert_eq!(
        window("early", 20).await,
        (WindowState::Closed, ClosedReason::Expired)
    );
    assert_eq!(
        window("corrected", 0).await,
        (WindowState::Closed, ClosedReason::Corrected)
    );
    assert_eq!(
        window("never", 0).await,
        (WindowState::Closed, ClosedReason::NeverWrote)
    );
}

pub(in crate::store) async fn conversations_are_paged_by_when_their_windows_end(fixture: &Fixture) {
    let events = vec![
        opened("a", 30),
        opened("b", 20),
        opened("c", 20),
        seen("d"),
        seen("e"),
    ];
    archive_each(fixture, "EVENTS", events).await;
    let filter = everything(0);
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page = fixture
            .store
            .conversations(&filter, after.as_ref(), 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = ListKey::of(last, &filter);
        paged.extend(page.into_iter().map(|row| row.key.customer_id));
    }
    assert_eq!(paged, ["b", "c", "a", "d", "e"]);
    let nobody = ConversationFilter {
        brand_id: Some("other".to_owned()),
        ..everything(0)
    };
    assert_eq!(listed(fixture, &nobody).await.len(), 0);
    let elsewhere = ConversationFilter {
        numbers: vec!["4915".to_owned()],
        ..everything(0)
    };
    assert_eq!(listed(fixture, &elsewhere).await.len(), 0);
}

fn requested() -> Event {
    v1::MessageRequested {
        message_id: MESSAGE.to_owned(),
        conversation: Some(fixture::conversation()),
        client_reference: "order-1".to_owned(),
        request_time: Some(proto(1)),
        ..Default::default()
    }
    .into()
}

fn ended(second: i64) -> Event {
    let mut ended = v1::MessageEnded {
        message_id: MESSAGE.to_owned(),
        end_time: Some(proto(second)),
        reason: "DELIVERED".to_owned(),
        ..Default::default()
    };
    ended.set_outcome(MessageOutcome::Delivered);
    ended.into()
}

pub(in crate::store) async fn a_message_is_followed_to_its_end_and_stays_ended(fixture: &Fixture) {
    let id = || MESSAGE.to_owned();
    let mut started = v1::AttemptStarted {
        message_id: id(),
        attempt: 2,
        ..Default::default()
    };
    started.set_route(Route::Sms);
    let mut read = v1::DeliveryAdvanced {
        message_id: id(),
        ..Default::default()
    };
    read.set_status(DeliveryStatus::Read);
    archive_each(fixture, "MESSAGES", [requested(), started.into()]).await;
    let message = fixture.store.message(MESSAGE).await.unwrap().unwrap();
    assert_eq!(
        (message.state, message.attempt_count),
        (MessageState::Attempting, 2)
    );
    assert_eq!(
        (message.route, message.client_reference.as_str()),
        (Route::Sms, "order-1")
    );
    assert_eq!(
        (message.key, message.request_time),
        (conversation_key(), Some(at(1)))
    );
    let late = v1::AttemptUnknown {
        message_id: id(),
        ..Default::default()
    };
    archive_each(fixture, "MESSAGES", [ended(9), read.into(), late.into()]).await;
    let message = fixture.store.message(MESSAGE).await.unwrap().unwrap();
    assert_eq!(
        (message.state, message.outcome),
        (MessageState::Ended, MessageOutcome::Delivered)
    );
    assert_eq!(
        (message.end_time, message.reason.as_str()),
        (Some(at(9)), "DELIVERED")
    );
    assert_eq!(message.delivery_status, DeliveryStatus::Read);
    assert_eq!(message.position.sequence, 5);
    assert_eq!(fixture.store.message("unknown").await.unwrap(), None);
}

pub(in crate::store) async fn a_report_joins_the_conversation_of_its_message(fixture: &Fixture) {
    archive_each(fixture, "MESSAGES", [requested()]).await;
    let head = fixture.store.head("MESSAGES", "1a").await.unwrap().unwrap();
    let report: Event = v1::StatusReported {
        message_id: MESSAGE.to_owned(),
        ..Default::default()
    }
    .into();
    let subject = format!("casement.events.report.03.15550001111.{MESSAGE}");
    archive(
        fixture,
        head,
        vec![record_on(&subject, "MESSAGES", 2, &report)],
    )
    .await;
    let page = fixture
        .store
        .timeline(&conversation_key(), None, ALL)
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 2);
    assert_eq!(page.rows[0].stored.subject, subject);
    assert_eq!(page.rows[0].index.brand_id, "default");
}

pub(in crate::store) async fn a_message_leaves_the_log_once_unless_something_new_comes(
    fixture: &Fixture,
) {
    archive_each(fixture, "MESSAGES", [requested(), ended(9)]).await;
    let ended = async |before| {
        let ended = fixture
            .store
            .ended_messages(at(before), None, 10)
            .await
            .unwrap();
        ended
            .into_iter()
            .map(|key| key.message_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ended(9).await.len(), 0, "not before its time");
    assert_eq!(ended(10).await, [MESSAGE]);
    let keys = fixture
        .store
        .ended_messages(at(10), None, 10)
        .await
        .unwrap();
    let rest = fixture
        .store
        .ended_messages(at(10), keys.last(), 10)
        .await
        .unwrap();
    assert_eq!(rest, [], "pages go on behind the last");
    fixture.store.mark_purged(MESSAGE, 1).await.unwrap();
    assert_eq!(
        ended(10).await,
        [MESSAGE],
        "something was archived after what was purged"
    );
    fixture.store.mark_purged(MESSAGE, 2).await.unwrap();
    assert_eq!(ended(10).await.len(), 0);
    let report = v1::StatusReported {
        message_id: MESSAGE.to_owned(),
        ..Default::default()
    };
    archive_each(fixture, "MESSAGES", [report.into()]).await;
    assert_eq!(ended(10).await, [MESSAGE], "a late report has to go, too");
}
