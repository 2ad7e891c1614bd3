//! Windows open, are heard of, and end once and on time.

use casement_event::convert::instant;
use casement_event::v1;
use casement_tests::{Options, Role, Stack, free_form};
use jiff::SignedDuration;

const CUSTOMER: &str = "+15550002222";
const OTHER_CUSTOMER: &str = "+15550003333";

/// Later than this no expiry may come in normal running; generous, since tests share a machine.
const LATENESS_MAX: SignedDuration = SignedDuration::from_secs(2);

#[tokio::test]
async fn a_message_opens_a_window_that_a_subscriber_hears_of_and_grpc_knows() {
    let stack = Stack::start().await;
    let (events, clients) = (stack.events().await, stack.clients());
    let before = clients.window(CUSTOMER).await.unwrap();
    assert_eq!(before.closed_reason(), v1::ClosedReason::NeverWrote);

    let customer = stack.customer(CUSTOMER);
    let wamid = stack.says(&customer, "Hello");

    let opened = events.wait("WindowOpened", 1).await;
    let window = clients.open_window(CUSTOMER).await;
    assert!(window.free_form_allowed);
    assert_eq!(window.last_inbound_message_id, wamid);
    assert_eq!(opened.len(), 1);
    assert!(
        !opened[0].subject.contains("15550002222"),
        "no phone of a customer in a subject: {}",
        opened[0].subject
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_window_expires_once_and_never_early() {
    let stack = Stack::with(Options {
        window_seconds: 4,
        ..Options::default()
    })
    .await;
    let events = stack.events().await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");

    let expired = events.wait("WindowExpired", 1).await;
    let due = expired[0].expires_at.unwrap();
    assert!(
        expired[0].heard_at >= due,
        "{} before {due}",
        expired[0].heard_at
    );
    assert!(expired[0].heard_at.duration_since(due) < LATENESS_MAX);
    assert_eq!(events.all("WindowExpiring").len(), 1);
    assert_eq!(events.all("WindowOpened").len(), 1);
    let window = stack.clients().window(CUSTOMER).await.unwrap();
    assert_eq!(window.closed_reason(), v1::ClosedReason::Expired);

    // Another window: only one expiry each.
    stack.says(&customer, "Hello again");
    let expired = events.wait("WindowExpired", 2).await;
    assert_ne!(expired[0].id, expired[1].id);
    assert_eq!(expired.len(), 2);
    stack.stop().await;
}

#[tokio::test]
async fn the_coming_end_and_the_end_tell_who_waits_from_who_was_answered() {
    let stack = Stack::with(Options {
        window_seconds: 8,
        ..Options::default()
    })
    .await;
    let (events, clients) = (stack.events().await, stack.clients());
    let (waits, answered) = (stack.customer(CUSTOMER), stack.customer(OTHER_CUSTOMER));
    stack.says(&waits, "Is anybody there?");
    stack.says(&answered, "Is anybody there?");
    let waiting = clients.open_window(CUSTOMER).await;
    assert_eq!(waiting.waiting_since_time, waiting.last_inbound_time);
    clients.open_window(OTHER_CUSTOMER).await;
    let reply = clients
        .send(OTHER_CUSTOMER, free_form("We are"))
        .await
        .unwrap();
    clients.ended(&reply.message_id).await;

    for name in ["WindowExpiring", "WindowExpired"] {
        for told in events.wait(name, 2).await {
            let is_waiting = told.subject.ends_with(&waiting.customer_id);
            let written = waiting.last_inbound_time.as_ref();
            let written = instant("last_inbound_time", written).unwrap();
            let expected = written.filter(|_| is_waiting);
            assert_eq!(
                told.waiting_since, expected,
                "{} {}",
                told.name, told.subject
            );
        }
    }
    // The end did not end the wait.
    let window = clients.window(CUSTOMER).await.unwrap();
    assert_eq!(window.closed_reason(), v1::ClosedReason::Expired);
    assert_eq!(window.waiting_since_time, window.last_inbound_time);
    stack.stop().await;
}

#[tokio::test]
async fn a_window_expires_once_although_the_tracker_was_killed() {
    let mut stack = Stack::with(Options {
        window_seconds: 4,
        ..Options::default()
    })
    .await;
    let events = stack.events().await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    events.wait("WindowOpened", 1).await;

    stack.kill9(Role::WindowTracker, 0);
    stack.start_role(Role::WindowTracker, 0).await;

    let expired = events.wait("WindowExpired", 1).await;
    assert!(expired[0].heard_at >= expired[0].expires_at.unwrap());
    // A second life of the tracker after the end has nothing left to tell.
    stack.kill9(Role::WindowTracker, 0);
    stack.start_role(Role::WindowTracker, 0).await;
    let other = stack.customer("+15550003333");
    stack.says(&other, "Hello");
    events.wait("WindowOpened", 2).await;
    assert_eq!(events.all("WindowExpired").len(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn a_window_expires_once_although_the_broker_was_killed() {
    let mut stack = Stack::with(Options {
        window_seconds: 5,
        ..Options::default()
    })
    .await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    stack.clients().open_window(CUSTOMER).await;

    stack.restart_broker().await;
    let events = stack.events().await;

    let expired = events.wait("WindowExpired", 1).await;
    assert!(expired[0].heard_at >= expired[0].expires_at.unwrap());
    assert_eq!(events.all("WindowExpired").len(), 1);
    stack.stop().await;
}
