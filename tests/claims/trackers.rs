//! Several trackers on one log, killed, paused and added under load; and nobody who answers at
//! once is ever too early for any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use casement_event::v1;
use casement_simulator::CustomerId;
use casement_testkit::{NatsCluster, eventually, eventually_within};
use casement_tests::{Clients, Events, Options, Role, Stack, template};
use futures::StreamExt as _;

/// The streams in which a customer's message and its answer stand.
const STREAMS: [&str; 5] = ["RAW", "CUSTOMERS", "EVENTS", "MESSAGES", "ACCOUNTS"];

/// How long trackers may take to make up for all that was done to them: what one had in hand when
/// it died comes back to the others after ten seconds.
const MADE_UP_MAX: Duration = Duration::from_mins(1);

fn phone(index: usize) -> String {
    format!("+155500{:05}", 30_000 + index)
}

/// A number of customers write, one after the other, with no pause.
fn all_write(stack: &Stack, customers: &[CustomerId], text: &str) {
    for customer in customers {
        stack.says(customer, text);
    }
}

/// By conversation, the ends that were heard of, and how often each.
fn ends(events: &Events) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut ends: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for heard in events.all("WindowExpired") {
        let expires = heard.expires_at.expect("every window event says when");
        assert!(
            heard.heard_at >= expires,
            "{} before {expires}",
            heard.heard_at
        );
        let of_one = ends.entry(heard.subject).or_default();
        *of_one.entry(expires.to_string()).or_default() += 1;
    }
    ends
}

#[tokio::test]
async fn each_window_expires_once_however_many_trackers_are_killed_paused_and_added() {
    let mut stack = Stack::with(Options {
        window_seconds: 6,
        ..Options::default()
    })
    .await;
    let events = stack.events().await;
    stack.start_role(Role::WindowTracker, 1).await;
    stack.start_role(Role::WindowTracker, 2).await;
    let customers: Vec<CustomerId> = (0..60).map(|index| stack.customer(&phone(index))).collect();

    all_write(&stack, &customers[..20], "first");
    events.wait("WindowOpened", 1).await;
    // One dies over it, one stands still and keeps what it had in hand, one comes new.
    stack.kill9(Role::WindowTracker, 0);
    all_write(&stack, &customers[20..40], "second");
    stack.process(Role::WindowTracker, 1).pause();
    stack.start_role(Role::WindowTracker, 3).await;
    all_write(&stack, &customers[40..], "third");
    events.wait("WindowExpired", 5).await;
    // Ends are coming now: another one dies, and the one that stood still goes on with the
    // decisions it had begun, as if no time had passed.
    stack.kill9(Role::WindowTracker, 2);
    stack.process(Role::WindowTracker, 1).resume();
    stack.start_role(Role::WindowTracker, 0).await;
    // Some write again, and open another window each.
    all_write(&stack, &customers[..10], "again");

    eventually_within(MADE_UP_MAX, "every window's end is told", async || {
        let ends = ends(&events);
        let again = ends.values().filter(|of_one| of_one.len() > 1).count();
        if ends.len() == customers.len() && events.all("WindowExpired").len() >= 60 {
            let opened: BTreeSet<_> = open_now(&events);
            if opened.is_empty() {
                return Ok(());
            }
            return Err(format!("{} are still told as open", opened.len()));
        }
        Err(format!("ends of {} heard, {again} twice", ends.len()))
    })
    .await;
    // Whoever still had a fact in hand has done with it once a later one was told of.
    let last = stack.customer(&phone(99));
    stack.says(&last, "last");
    eventually("the last window is told", async || {
        ends(&events).len() == customers.len() + 1
    })
    .await;

    for (subject, of_one) in ends(&events) {
        for (expires, count) in of_one {
            assert_eq!(count, 1, "{subject} expired {count} times at {expires}");
        }
    }
    let mut ids = BTreeSet::new();
    for heard in events.all("WindowExpired") {
        assert!(ids.insert(heard.id.clone()), "{} was told twice", heard.id);
    }
    stack.stop().await;
}

/// The conversations whose last window event is not an end.
fn open_now(events: &Events) -> BTreeSet<String> {
    let expired: BTreeMap<String, _> = events
        .all("WindowExpired")
        .into_iter()
        .map(|heard| (heard.subject, heard.expires_at))
        .collect();
    let mut open = BTreeSet::new();
    for name in ["WindowOpened", "WindowExtended", "WindowExpiring"] {
        for heard in events.all(name) {
            if expired.get(&heard.subject) < Some(&heard.expires_at) {
                open.insert(heard.subject);
            }
        }
    }
    open
}

/// Answers a customer with a text for which a template stands by, and tells by which route the
/// text went.
async fn answer(clients: &Clients, phone: &str, request_id: &str) -> v1::Route {
    let content = || template("At once!", "order_update", "7");
    let message = eventually("the answer is accepted", async || {
        // A caller whose send is not answered repeats it under the same request id.
        clients.send_as(phone, content(), request_id).await
    })
    .await;
    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);
    let decision = message.decision.as_ref().expect("a decided message");
    decision.chosen_route()
}

/// Listens as a bot does: to what customers write.
async fn messages_of(client: &async_nats::Client) -> async_nats::Subscriber {
    let heard = client
        .subscribe("casement.events.inbound.>")
        .await
        .expect("a subscription");
    client.flush().await.expect("the broker knows of it");
    heard
}

#[tokio::test]
async fn whoever_answers_the_moment_a_message_is_published_gets_free_form_without_any_tracker() {
    let mut stack = Stack::start().await;
    let clients = stack.clients();
    let nats = stack.nats.client().await;
    let mut heard = messages_of(&nats).await;
    // It holds its connection and does nothing.
    stack.process(Role::WindowTracker, 0).pause();
    for index in 0..20 {
        let phone = phone(index);
        let customer = stack.customer(&phone);
        stack.says(&customer, "Hello");
        heard.next().await.expect("the customer's message");
        let route = answer(&clients, &phone, &format!("request-{index}")).await;
        assert_eq!(route, v1::Route::FreeForm, "customer {index}");
    }
    stack.process(Role::WindowTracker, 0).resume();
    stack.stop().await;
}

#[tokio::test]
async fn whoever_answers_at_once_gets_free_form_on_three_servers_with_one_that_lags_behind() {
    const LAGGING: usize = 2;
    let cluster = NatsCluster::start().await;
    let mut stack = Stack::without_roles(&Options {
        cluster: Some((cluster.urls(&[0, 1]), 3)),
        ..Options::default()
    })
    .await;
    // One after the other: the first makes the streams, which takes three servers a while.
    for role in Role::ALL {
        stack.start_role(role, 0).await;
    }
    let clients = stack.clients();
    // The listener hears by way of another server than the one that leads, or by the same.
    let nats = [cluster.client(0).await, cluster.client(1).await];
    stack.process(Role::WindowTracker, 0).pause();
    for index in 0..8 {
        let mut heard = messages_of(&nats[index % 2]).await;
        let phone = phone(index);
        let customer = stack.customer(&phone);
        cluster.make_follower(LAGGING, &STREAMS).await;
        // Two servers of three are enough to store; the third does not have it.
        cluster.pause(LAGGING);
        stack.says(&customer, "Hello");
        let message = tokio::time::timeout(MADE_UP_MAX, heard.next()).await;
        message.expect("in time").expect("the customer's message");
        // Every other time it answers again, before it has caught up.
        if index % 2 == 1 {
            cluster.resume(LAGGING);
        }
        let route = answer(&clients, &phone, &format!("request-{index}")).await;
        assert_eq!(route, v1::Route::FreeForm, "customer {index}");
        cluster.resume(LAGGING);
    }
    stack.process(Role::WindowTracker, 0).resume();
    stack.stop().await;
}
