//! At most one call per attempt, killed wherever it may be.

use std::collections::BTreeSet;

use casement_event::v1;
use casement_proto::account::v1::{PauseNumberRequest, ResumeNumberRequest};
use casement_proto::message::v1::MessageState;
use casement_simulator::{Fault, FaultSpec};
use casement_testkit::eventually;
use casement_tests::{NUMBER, Options, Role, Stack, free_form};
use jiff::SignedDuration;

const CUSTOMER: &str = "+15550002222";

async fn with_open_window(options: Options) -> Stack {
    let stack = Stack::with(options).await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    stack.clients().open_window(CUSTOMER).await;
    stack
}

#[tokio::test]
async fn a_provider_time_out_after_acceptance_is_reconciled_and_sent_once() {
    let stack = with_open_window(Options {
        call_timeout: "500ms",
        reconcile_after: "20s",
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    stack
        .simulator
        .inject(FaultSpec::from(Fault::TimeoutAfterAcceptance).times(1));
    stack.simulator.inject(FaultSpec::from(Fault::HoldStatuses));

    let message = clients.send(CUSTOMER, free_form("once")).await.unwrap();
    let id = message.message_id;
    clients
        .until(&id, "is unknown", |message| {
            message.state() == MessageState::Unknown
        })
        .await;
    stack.simulator.release_statuses();

    let message = clients.ended(&id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(message.attempts.len(), 1);
    assert_eq!(stack.simulator.sent_count(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn an_unknown_outcome_that_nobody_reports_is_given_up_and_not_repeated() {
    let stack = with_open_window(Options {
        call_timeout: "500ms",
        reconcile_after: "2s",
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    stack
        .simulator
        .inject(FaultSpec::from(Fault::TimeoutAfterAcceptance).times(1));
    stack.simulator.inject(FaultSpec::from(Fault::HoldStatuses));

    let message = clients.send(CUSTOMER, free_form("once")).await.unwrap();

    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Unknown);
    assert_eq!(stack.simulator.sent_count(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn a_dispatcher_killed_before_the_claim_sends_once() {
    let mut stack = with_open_window(Options::default()).await;
    let clients = stack.clients();
    let number = NUMBER.to_owned();
    let pause = PauseNumberRequest {
        number: number.clone(),
        reason: "test".to_owned(),
    };
    clients.accounts.clone().pause_number(pause).await.unwrap();
    eventually("the dispatcher knows of the pause", async || {
        let message = clients.send(CUSTOMER, free_form("probe")).await;
        message.is_ok_and(|message| message.state() == MessageState::Pending)
    })
    .await;
    let message = clients.send(CUSTOMER, free_form("once")).await.unwrap();

    stack.kill9(Role::Dispatcher, 0);
    clients
        .accounts
        .clone()
        .resume_number(ResumeNumberRequest { number })
        .await
        .unwrap();
    stack.start_role(Role::Dispatcher, 0).await;

    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_each_attempt_was_called_at_most_once(&stack);
    let calls = stack
        .simulator
        .sent()
        .into_iter()
        .filter(|one| one.text == "once")
        .count();
    assert_eq!(calls, 1);
    stack.stop().await;
}

#[tokio::test]
async fn a_dispatcher_killed_after_the_claim_makes_at_most_one_call_and_the_message_ends() {
    let mut stack = with_open_window(Options {
        reconcile_after: "5s",
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    let slow = Fault::DelayResponse {
        by: SignedDuration::from_secs(30),
    };
    stack.simulator.inject(FaultSpec::from(slow).times(1));
    stack.simulator.inject(FaultSpec::from(Fault::HoldStatuses));
    let message = clients.send(CUSTOMER, free_form("once")).await.unwrap();
    eventually("the provider is being called", async || {
        stack.simulator.sent_count() == 1
    })
    .await;

    stack.kill9(Role::Dispatcher, 0);
    stack.start_role(Role::Dispatcher, 0).await;
    clients
        .until(&message.message_id, "is unknown", |message| {
            message.state() == MessageState::Unknown
        })
        .await;
    stack.simulator.release_statuses();

    let message = clients.ended(&message.message_id).await;
    assert_eq!(
        message.outcome(),
        v1::MessageOutcome::Delivered,
        "by its report"
    );
    assert_eq!(stack.simulator.sent_count(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn two_dispatchers_race_and_one_calls() {
    let mut stack = with_open_window(Options {
        lease: "0s",
        ..Options::default()
    })
    .await;
    stack.start_role(Role::Dispatcher, 1).await;
    let (one, other) = (stack.clients(), stack.clients_of(1));
    let mut ids = BTreeSet::new();
    for step in 0..15 {
        let text = format!("message {step}");
        let clients = if step % 2 == 0 { &one } else { &other };
        ids.insert(
            clients
                .send(CUSTOMER, free_form(&text))
                .await
                .unwrap()
                .message_id,
        );
    }
    for id in &ids {
        let message = one.ended(id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
        assert_eq!(message.attempts.len(), 1);
    }
    assert_each_attempt_was_called_at_most_once(&stack);
    assert_eq!(stack.simulator.sent_count(), 15);
    stack.stop().await;
}

#[tokio::test]
async fn sends_that_were_accepted_survive_a_killed_broker_and_are_each_called_once() {
    let mut stack = with_open_window(Options::default()).await;
    let clients = stack.clients();
    let mut ids = BTreeSet::new();
    for step in 0..30 {
        if step == 10 {
            stack.restart_broker().await;
        }
        // A caller whose send is not answered repeats it under the same request id.
        let request_id = format!("request-{step}");
        let message = eventually("the send is accepted", async || {
            let text = format!("message {step}");
            clients
                .send_as(CUSTOMER, free_form(&text), &request_id)
                .await
        })
        .await;
        ids.insert(message.message_id);
    }
    assert_eq!(ids.len(), 30);
    for id in &ids {
        assert_eq!(
            clients.ended(id).await.outcome(),
            v1::MessageOutcome::Delivered
        );
    }
    assert_each_attempt_was_called_at_most_once(&stack);
    let texts: BTreeSet<_> = stack
        .simulator
        .sent()
        .into_iter()
        .map(|one| one.text)
        .collect();
    assert_eq!((texts.len(), stack.simulator.sent_count()), (30, 30));
    stack.stop().await;
}

fn assert_each_attempt_was_called_at_most_once(stack: &Stack) {
    let mut called = BTreeSet::new();
    for one in stack.simulator.sent() {
        let attempt = one.callback_data.expect("every call names its attempt");
        assert!(called.insert(attempt.clone()), "{attempt} was called twice");
    }
}
