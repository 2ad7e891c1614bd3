//! What costs nothing after a customer came from an ad, and that it permits nothing.

use casement_event::convert::instant;
use casement_event::v1;
use casement_proto::window::v1::Window;
use casement_simulator::Device;
use casement_testkit::eventually;
use casement_tests::{Clients, Options, PHONE_NUMBER_ID, Stack, template};
use v1::FreeEntryPointState as State;

const CUSTOMER: &str = "+15550002222";

/// Waits until the customer's free entry point stands like this.
async fn until_entry_point(
    clients: &Clients,
    state: State,
    is_confirmed: bool,
) -> (Window, v1::FreeEntryPoint) {
    let what = format!("a free entry point {}", state.as_str_name());
    eventually(&what, async || {
        let window = clients.window(CUSTOMER).await;
        let window = window.map_err(|status| status.to_string())?;
        match window.free_entry_point {
            Some(known) if known.state() == state && known.confirmed == is_confirmed => {
                Ok((window, known))
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_free_entry_point_is_confirmed_with_its_end_and_never_permits_free_form() {
    let stack = Stack::with(Options {
        window_seconds: 8,
        ..Options::default()
    })
    .await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    stack
        .simulator
        .clicks(
            &customer,
            PHONE_NUMBER_ID,
            "Is it still to be had?",
            Device::Phone,
        )
        .unwrap();
    let (window, _) = until_entry_point(&clients, State::AwaitingReply, false).await;
    assert!(window.waiting_since_time.is_some());
    assert_eq!(window.waiting_since_time, window.last_inbound_time);

    let reply = clients
        .send(CUSTOMER, template("It is", "order_update", "7"))
        .await
        .unwrap();

    let (window, known) = until_entry_point(&clients, State::Open, true).await;
    let ends_at = stack
        .simulator
        .entry_point_ends_at(&customer, PHONE_NUMBER_ID)
        .unwrap();
    assert!(ends_at.is_some(), "the platform thinks so, too");
    assert_eq!(
        instant("until_time", known.until_time.as_ref()).unwrap(),
        ends_at
    );
    assert_eq!(window.waiting_since_time, None, "the customer was answered");
    let reply = clients.ended(&reply.message_id).await;
    assert_eq!(reply.attempts[0].route(), v1::Route::FreeForm);
    assert_eq!(known.start_time, reply.attempts[0].start_time);
    assert_eq!(events.all("CustomerAnswered").len(), 1);

    events.wait("WindowExpired", 1).await;

    let (window, still) = until_entry_point(&clients, State::Open, true).await;
    assert_eq!(still.until_time, known.until_time);
    assert_eq!(window.state(), v1::WindowState::Closed);
    assert!(!window.free_form_allowed);
    assert_eq!(window.refusal_reason, "WINDOW_CLOSED");
    let later = clients
        .send(CUSTOMER, template("One more thing", "order_update", "7"))
        .await
        .unwrap();
    let later = clients.ended(&later.message_id).await;
    assert_eq!(later.attempts[0].route(), v1::Route::Template);
    stack.stop().await;
}

#[tokio::test]
async fn a_customer_from_an_ad_at_a_desktop_has_no_free_entry_point() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    // The webhook is the same; only what is billed tells.
    stack
        .simulator
        .clicks(&customer, PHONE_NUMBER_ID, "Hello", Device::Desktop)
        .unwrap();
    until_entry_point(&clients, State::AwaitingReply, false).await;

    clients
        .send(CUSTOMER, template("Hi!", "order_update", "7"))
        .await
        .unwrap();

    let (window, _) = until_entry_point(&clients, State::Denied, false).await;
    assert!(window.free_form_allowed, "the window is open all the same");
    stack.stop().await;
}
