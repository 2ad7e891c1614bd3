//! What the platform says of a number decides whether it sends, and a number leaves the platform
//! only when somebody confirms it.

use casement_event::v1;
use casement_proto::account::v1 as accounts;
use casement_proto::message::v1 as message;
use casement_tests::{Clients, NUMBER, PHONE_NUMBER_ID, Stack, free_form};

/// Has hidden the phone, so that there is no SMS.
const CUSTOMER: &str = "US.13491208655302741918";

/// Has the platform asked about the number.
async fn check(clients: &Clients) -> accounts::NumberStanding {
    let request = accounts::CheckNumberRequest {
        number: NUMBER.to_owned(),
    };
    let checked = clients.accounts.clone().check_number(request).await;
    checked
        .expect("the platform answers")
        .into_inner()
        .standing
        .expect("a standing")
}

#[tokio::test]
async fn a_number_that_the_platform_bans_waits_and_sends_again_once_it_is_connected() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.nameless_customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;

    stack.simulator.set_number_status(PHONE_NUMBER_ID, "BANNED");
    let standing = check(&clients).await;
    assert_eq!(standing.connection(), accounts::Connection::NotConnected);
    let sent = clients.send(CUSTOMER, free_form("Hi!")).await.unwrap();
    let waits = clients
        .until(&sent.message_id, "waits", |message| {
            message.state() == message::MessageState::Deferred
        })
        .await;
    let decision = waits.decision.expect("a decided message");
    assert_eq!(decision.candidates[0].reason, "PLATFORM_STATUS");
    assert!(stack.simulator.sent().is_empty(), "nothing was tried");

    stack
        .simulator
        .set_number_status(PHONE_NUMBER_ID, "CONNECTED");
    let standing = check(&clients).await;
    assert_eq!(standing.connection(), accounts::Connection::Connected);
    let ended = clients.ended(&sent.message_id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Delivered);
    stack.stop().await;
}

#[tokio::test]
async fn a_deregistered_number_ends_what_waits_and_sends_nothing_more() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    stack.nameless_customer(CUSTOMER);
    let held = clients.send(CUSTOMER, free_form("Hi!")).await.unwrap();
    clients
        .until(&held.message_id, "is held", |message| {
            message.state() == message::MessageState::Held
        })
        .await;

    let mut api = clients.accounts.clone();
    let plan = accounts::PlanDeregistrationRequest {
        number: NUMBER.to_owned(),
    };
    let plan = api.plan_deregistration(plan).await.unwrap().into_inner();
    assert!(plan.possible, "{plan:?}");
    let waiting = plan
        .consequences
        .iter()
        .find(|one| one.kind == "HELD_MESSAGES");
    assert_eq!(waiting.expect("it is counted").count, 1);
    let deregister = accounts::DeregisterNumberRequest {
        number: NUMBER.to_owned(),
        confirm_number: NUMBER.to_owned(),
        plan_token: plan.plan_token,
        reason: "the shop closes".to_owned(),
    };
    api.deregister_number(deregister).await.unwrap();
    let ended = clients.ended(&held.message_id).await;
    assert_eq!(ended.outcome_reason, "NUMBER_DEREGISTERED");
    let refused = clients.send(CUSTOMER, free_form("Hi again!")).await;
    assert!(refused.is_err(), "no route is left");
    assert!(stack.simulator.sent().is_empty());
    stack.stop().await;
}
