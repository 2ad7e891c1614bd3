//! Each message goes by the best permitted route, and says why.

use casement_event::v1;
use casement_simulator::{Channel, MessageKind, Outcome, SentMessage};
use casement_testkit::eventually;
use casement_tests::{Options, Role, Stack, free_form, template};

const CUSTOMER: &str = "+15550002222";

/// What the customers got, by the simulator's books.
fn delivered(stack: &Stack) -> Vec<SentMessage> {
    let sent = stack.simulator.sent();
    sent.into_iter()
        .filter(|one| one.outcome == Outcome::Accepted)
        .collect()
}

fn chosen(message: &casement_proto::message::v1::Message) -> v1::Route {
    message
        .decision
        .as_ref()
        .expect("a decided message")
        .chosen_route()
}

#[tokio::test]
async fn a_reply_inside_the_window_goes_free_form_even_with_the_tracker_stopped() {
    let mut stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    let events = stack.events().await;
    stack.kill9(Role::WindowTracker, 0);

    stack.says(&customer, "Hello");
    events.wait("InboundMessageReceived", 1).await;
    let message = clients
        .send(CUSTOMER, template("Hi!", "order_update", "7"))
        .await
        .unwrap();

    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    assert_eq!(message.attempts[0].route(), v1::Route::FreeForm);
    assert_eq!(chosen(&message), v1::Route::FreeForm);
    let sent = delivered(&stack);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].text, "Hi!");
    let callback = format!("{}.1", message.message_id);
    assert_eq!(sent[0].callback_data.as_deref(), Some(callback.as_str()));
    stack.stop().await;
}

#[tokio::test]
async fn outside_the_window_it_goes_as_template_and_without_a_usable_one_as_sms() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    stack.customer(CUSTOMER);

    let message = clients
        .send(CUSTOMER, template("Hi!", "order_update", "7"))
        .await
        .unwrap();
    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::Template);
    let decision = message.decision.as_ref().unwrap();
    assert_eq!(decision.candidates.len(), 4, "every route has a verdict");
    assert_eq!(decision.candidates[0].reason, "WINDOW_CLOSED");
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);

    let message = clients
        .send(CUSTOMER, template("Hi by SMS!", "order_paused", "7"))
        .await
        .unwrap();
    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::Sms);
    assert_eq!(
        message.outcome(),
        v1::MessageOutcome::Delivered,
        "by Twilio's signed callback"
    );

    let sent = delivered(&stack);
    assert_eq!(sent.len(), 2);
    assert!(
        matches!(sent[0].kind, MessageKind::Template { .. }),
        "{:?}",
        sent[0].kind
    );
    assert_eq!(
        (sent[1].channel, sent[1].text.as_str()),
        (Channel::Sms, "Hi by SMS!")
    );
    stack.stop().await;
}

#[tokio::test]
async fn without_a_phone_it_is_held_and_released_in_order_when_the_customer_writes() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let user_id = "US.13491208655302741918";
    let customer = stack.nameless_customer(user_id);
    let mut ids = Vec::new();
    for text in ["first", "second", "third"] {
        let message = clients.send(user_id, free_form(text)).await.unwrap();
        let held = clients
            .until(&message.message_id, "is held", |message| {
                message.state() == casement_proto::message::v1::MessageState::Held
            })
            .await;
        let sms = held.decision.unwrap().candidates[2].clone();
        assert_eq!(
            (sms.route(), sms.reason.as_str()),
            (v1::Route::Sms, "NO_PHONE")
        );
        ids.push(message.message_id);
    }
    assert_eq!(stack.simulator.sent_count(), 0);

    stack.says(&customer, "I am back");

    for id in &ids {
        let message = clients.ended(id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
        assert_eq!(message.attempts.len(), 1);
    }
    let texts: Vec<_> = delivered(&stack).into_iter().map(|one| one.text).collect();
    assert_eq!(texts, ["first", "second", "third"]);
    stack.stop().await;
}

#[tokio::test]
async fn a_window_that_meta_shuts_early_is_corrected_and_the_message_goes_as_template() {
    let stack = Stack::start().await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    events.wait("WindowOpened", 1).await;
    stack.simulator.inject(
        casement_simulator::FaultSpec::from(casement_simulator::Fault::GraphError {
            code: 131_047,
        })
        .times(1),
    );

    let message = clients
        .send(CUSTOMER, template("Hi!", "order_update", "7"))
        .await
        .unwrap();

    let message = clients.ended(&message.message_id).await;
    let routes: Vec<_> = message
        .attempts
        .iter()
        .map(casement_proto::message::v1::Attempt::route)
        .collect();
    assert_eq!(routes, [v1::Route::FreeForm, v1::Route::Template]);
    assert_eq!(message.attempts[0].error.as_ref().unwrap().code, 131_047);
    events.wait("WindowCorrected", 1).await;
    let window = clients.window(CUSTOMER).await.unwrap();
    assert_eq!(window.closed_reason(), v1::ClosedReason::Corrected);
    stack.stop().await;
}

#[tokio::test]
async fn the_same_request_is_the_same_message_and_is_sent_once() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;

    let sends = (0..8).map(|_| clients.send_as(CUSTOMER, free_form("once"), "order-7"));
    let answers = futures::future::join_all(sends).await;
    let ids: std::collections::BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().message_id)
        .collect();
    assert_eq!(ids.len(), 1);
    let other = clients
        .send_as(CUSTOMER, free_form("twice"), "order-7")
        .await
        .unwrap_err();
    assert_eq!(other.code(), tonic::Code::AlreadyExists);

    clients.ended(ids.first().unwrap()).await;
    assert_eq!(stack.simulator.sent_count(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn a_message_that_no_route_can_take_is_refused_with_a_reason_for_each() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let content = v1::Content {
        free_form: None,
        ..template("", "order_paused", "7")
    };
    stack.nameless_customer("US.777");

    let refusal = clients.send("US.777", content).await.unwrap_err();

    assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
    assert_eq!(
        casement_shell::grpc::reason(&refusal).as_deref(),
        Some("NO_ROUTE")
    );
    assert!(
        refusal.message().contains("order_paused"),
        "{}",
        refusal.message()
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_reply_after_the_expiry_goes_as_template() {
    let stack = Stack::with(Options {
        window_seconds: 4,
        ..Options::default()
    })
    .await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    events.wait("WindowExpired", 1).await;

    let message = clients
        .send(CUSTOMER, template("Hi!", "order_update", "7"))
        .await
        .unwrap();

    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.attempts[0].route(), v1::Route::Template);
    eventually("the conversation is in the archive as closed", async || {
        let request = casement_proto::conversation::v1::ListConversationsRequest {
            number: casement_tests::NUMBER.to_owned(),
            window_state: v1::WindowState::Closed.into(),
            ..Default::default()
        };
        let answer = clients
            .conversations
            .clone()
            .list_conversations(request)
            .await;
        answer.is_ok_and(|answer| answer.into_inner().conversations.len() == 1)
    })
    .await;
    stack.stop().await;
}
