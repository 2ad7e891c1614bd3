//! An operator drains a number, as `docs/operate/upgrades.md` says: what is new is refused, what is
//! in hand ends, customers are heard as ever, and the command ends when nothing is left.

use casement_proto::account::v1::ReopenNumberRequest;
use casement_proto::message::v1::MessageState;
use casement_testkit::{Process, eventually};
use casement_tests::{NUMBER, Role, Stack, free_form};
use tonic::Code;

/// For whom a message is held.
const SILENT: &str = "US.13491208655302741918";

/// Who writes meanwhile.
const CUSTOMER: &str = "+15550002222";

#[tokio::test]
async fn a_number_is_drained_once_what_was_in_hand_has_ended_and_hears_customers_meanwhile() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let silent = stack.nameless_customer(SILENT);
    let held = clients.send(SILENT, free_form("Are you there?")).await;
    let held = held.expect("an accepted send").message_id;
    let is_held =
        |message: &casement_proto::message::v1::Message| message.state() == MessageState::Held;
    clients.until(&held, "is held", is_held).await;

    let mut command = stack.program();
    let api = format!("http://127.0.0.1:{}", stack.api_port(Role::Accounts, 0));
    command
        .args([
            "number",
            "drain",
            NUMBER,
            "--reason",
            "moving house",
            "--wait",
        ])
        .args(["--api", &api])
        .env("CASEMENT_TOKEN", casement_tests::API_TOKEN);
    let mut drain = Process::start(&mut command);
    drain
        .wait_for_stdout("what is in hand is told", |text| text.contains("1 held"))
        .await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let refused = eventually("what is new is refused", async || {
        let sent = clients.send(CUSTOMER, free_form("Hi!")).await;
        sent.err().ok_or("it was taken")
    })
    .await;
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(drain.is_running(), "one is held: {}", drain.stdout());

    stack.says(&silent, "Here I am");
    clients.ended(&held).await;
    let exit = drain.wait().await;
    assert!(exit.success(), "{}", drain.stderr());
    assert!(drain.stdout().contains("drained"), "{}", drain.stdout());
    let sent = stack.simulator.sent();
    assert!(sent.iter().any(|one| one.text == "Are you there?"));

    let request = ReopenNumberRequest {
        number: NUMBER.to_owned(),
    };
    let mut accounts = clients.accounts.clone();
    accounts.reopen_number(request).await.expect("it is ours");
    eventually("messages are taken again", async || {
        let sent = clients.send(CUSTOMER, free_form("Hi!")).await;
        sent.map(drop).map_err(|status| status.to_string())
    })
    .await;
    stack.stop().await;
}
