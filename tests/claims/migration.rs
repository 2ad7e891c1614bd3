//! A number that moves to another business account gets another id from the platform: what was open
//! closes, and opens again when the customer writes.

use casement_event::v1;
use casement_proto::account::v1 as accounts;
use casement_proto::message::v1 as message;
use casement_proto::window::v1 as window;
use casement_simulator::{CustomerId, NumberConfig};
use casement_testkit::eventually;
use casement_tests::{ACCESS_TOKEN, Clients, NUMBER, Options, Stack, free_form};

const CUSTOMER: &str = "+15550002222";
const OTHER_CUSTOMER: &str = "+15550003333";

/// Where the number is after its move.
const WABA_AFTER: &str = "109000000000002";
const PHONE_NUMBER_ID_AFTER: &str = "107000000000002";

/// The number moves at the platform, and an operator records it.
async fn migrate(stack: &Stack) -> v1::Number {
    stack.simulator.put_number(NumberConfig {
        phone_number_id: PHONE_NUMBER_ID_AFTER.to_owned(),
        display_phone_number: NUMBER.to_owned(),
        waba_id: WABA_AFTER.to_owned(),
        token: ACCESS_TOKEN.into(),
    });
    let mut accounts = stack.clients().accounts;
    let get = accounts::GetNumberRequest {
        number: NUMBER.to_owned(),
    };
    let known = accounts.get_number(get).await.expect("the number is known");
    let known = known.into_inner().number.expect("an answer names it");
    assert_eq!(known.migrate_time, None);
    let put = accounts::PutNumberRequest {
        number: Some(v1::Number {
            waba_id: WABA_AFTER.to_owned(),
            phone_number_id: PHONE_NUMBER_ID_AFTER.to_owned(),
            ..known
        }),
    };
    let recorded = accounts
        .put_number(put)
        .await
        .expect("the move is recorded");
    recorded.into_inner().number.expect("an answer names it")
}

/// The customer writes until it is late enough: the platform tells whole seconds, and what it says
/// of the second of the move may be from before.
async fn writes_until_open(stack: &Stack, customer: &CustomerId, phone: &str) {
    let clients = stack.clients();
    eventually("the window opens again", async || {
        stack
            .simulator
            .says(customer, PHONE_NUMBER_ID_AFTER, "Hello")
            .map_err(|error| error.to_string())?;
        match clients.window(phone).await {
            Ok(window) if window.free_form_allowed => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn request(number: &str, to: &str) -> message::PreviewRouteRequest {
    message::PreviewRouteRequest {
        request: Some(message::SendMessageRequest {
            number: number.to_owned(),
            customer: Some(message::send_message_request::Customer::To(to.to_owned())),
            content: Some(free_form("Hello")),
            purpose: v1::Purpose::Service.into(),
            ..message::SendMessageRequest::default()
        }),
        ..message::PreviewRouteRequest::default()
    }
}

async fn preview(clients: &Clients, to: &str) -> v1::Decision {
    let asked = request(NUMBER, to);
    let answer = clients.messages.clone().preview_route(asked).await;
    let answer = answer.expect("a route is previewed").into_inner();
    answer.decision.expect("a preview has a decision")
}

/// Waits until tracker and dispatcher have heard of all that was recorded so far: accounts are
/// heard of in their order, and a number recorded now comes last.
async fn heard_everywhere(clients: &Clients, like: v1::Number) {
    const LAST: &str = "+15550007777";
    let put = accounts::PutNumberRequest {
        number: Some(v1::Number {
            number: LAST.to_owned(),
            phone_number_id: "107000000000007".to_owned(),
            // It is another record than the one that it is like.
            etag: String::new(),
            ..like
        }),
    };
    let put = clients.accounts.clone().put_number(put).await;
    put.expect("the number is recorded");
    eventually("everybody knows the last number", async || {
        let mut messages = clients.messages.clone();
        let told = messages.preview_route(request(LAST, CUSTOMER)).await;
        told.map_err(|status| status.to_string())?;
        let asked = window::GetWindowRequest {
            number: LAST.to_owned(),
            customer: Some(window::CustomerRef {
                customer: Some(window::customer_ref::Customer::To(CUSTOMER.to_owned())),
            }),
            not_before: String::new(),
        };
        let told = clients.windows.clone().get_window(asked).await;
        told.map(|_| ()).map_err(|status| status.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_number_that_moves_closes_its_windows_until_their_customers_write_again() {
    let stack = Stack::start().await;
    let (events, clients) = (stack.events().await, stack.clients());
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    assert_eq!(
        preview(&clients, CUSTOMER).await.chosen_route(),
        v1::Route::FreeForm
    );

    let recorded = migrate(&stack).await;
    assert!(recorded.migrate_time.is_some());
    let window = eventually("the window is closed", async || {
        let window = clients.window(CUSTOMER).await.map_err(|e| e.to_string())?;
        match window.state() {
            v1::WindowState::Closed => Ok(window),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(window.closed_reason(), v1::ClosedReason::NumberMigrated);
    let corrected = events.wait("WindowCorrected", 1).await;
    assert_eq!(corrected.len(), 1);
    let decision = eventually("the dispatcher has heard of it", async || {
        let decision = preview(&clients, CUSTOMER).await;
        (decision.chosen_route() != v1::Route::FreeForm).then_some(decision)
    })
    .await;
    let free_form = &decision.candidates[0];
    assert_eq!(free_form.reason, "WINDOW_CLOSED");
    assert!(
        free_form.text.contains("moved to another account"),
        "{}",
        free_form.text
    );

    writes_until_open(&stack, &customer, CUSTOMER).await;
    assert_eq!(
        preview(&clients, CUSTOMER).await.chosen_route(),
        v1::Route::FreeForm
    );
    events.wait("WindowOpened", 2).await;
    assert_eq!(events.all("WindowCorrected").len(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn one_switch_lets_windows_outlive_a_move_for_the_tracker_and_the_dispatcher_alike() {
    let stack = Stack::with(Options {
        carries_over: true,
        ..Options::default()
    })
    .await;
    let (events, clients) = (stack.events().await, stack.clients());
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;

    let recorded = migrate(&stack).await;
    heard_everywhere(&clients, recorded).await;
    let other = stack.customer(OTHER_CUSTOMER);
    writes_until_open(&stack, &other, OTHER_CUSTOMER).await;
    let window = clients.window(CUSTOMER).await.unwrap();
    assert_eq!(window.state(), v1::WindowState::Open);
    assert_eq!(
        preview(&clients, CUSTOMER).await.chosen_route(),
        v1::Route::FreeForm
    );
    assert_eq!(events.all("WindowCorrected").len(), 0);
    stack.stop().await;
}
