//! Leases: one holder, and another one when it falls silent.

use std::time::Duration;

use casement_event_log::{Config, Log, lease};
use casement_testkit::{Proxy, eventually};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stage::{Ground, config, log, on_both, server};

const LENGTH: Duration = Duration::from_millis(1_500);

async fn held(mut lease: watch::Receiver<bool>) {
    lease.wait_for(|is_held| *is_held).await.unwrap();
}

async fn lost(mut lease: watch::Receiver<bool>) {
    lease.wait_for(|is_held| !*is_held).await.unwrap();
}

on_both! {
    async fn a_lease_has_one_holder_and_passes_on_when_given_up(ground: &Ground) {

        let (one, other) = (ground.log().await, ground.log().await);
        let stopping = CancellationToken::new();
        // A lease so long that only giving it up can pass it on in the time of this test.
        let length = Duration::from_mins(1);
        let first = lease::hold(&one, "test", length, stopping.clone());
        held(first.clone()).await;
        let until = CancellationToken::new();
        let second = lease::hold(&other, "test", Duration::from_secs(2), until.clone());
        // The second one asks, and is told that somebody holds it.
        let third = lease::hold(&other, "another", length, until.clone());
        held(third).await;
        assert!(*first.borrow() && !*second.borrow());

        stopping.cancel();
        lost(first.clone()).await;
        held(second).await;
        assert!(!*first.borrow());
        until.cancel();
    }
}

#[tokio::test]
async fn a_holder_that_is_cut_off_knows_before_another_takes_over() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await;
    let through = Config {
        servers: proxy.url("nats"),
        ..config(&server)
    };
    let (one, other) = (Log::connect(&through).await.unwrap(), log(&server).await);
    let stopping = CancellationToken::new();
    let first = lease::hold(&one, "test", LENGTH, stopping.clone());
    held(first.clone()).await;
    let second = lease::hold(&other, "test", LENGTH, stopping.clone());

    // Both ways, and without a word: as when a cable is pulled.
    proxy.hold_requests();
    proxy.hold_replies();
    let when_lost = async {
        lost(first.clone()).await;
        Instant::now()
    };
    let when_taken = async {
        held(second.clone()).await;
        Instant::now()
    };
    let (lost_at, taken_at) = tokio::join!(when_lost, when_taken);
    assert!(
        lost_at < taken_at,
        "both held it for {:?}",
        lost_at - taken_at
    );

    // Back again, it waits its turn.
    proxy.forward();
    eventually("it is connected", async || one.is_connected()).await;
    assert!(*second.borrow() && !*first.borrow());
    stopping.cancel();
}

#[tokio::test]
async fn a_holder_keeps_its_lease_through_a_restart_of_the_broker() {
    let mut server = server().await;
    let (one, other) = (log(&server).await, log(&server).await);
    let stopping = CancellationToken::new();
    let length = Duration::from_secs(8);
    let first = lease::hold(&one, "test", length, stopping.clone());
    held(first.clone()).await;
    let second = lease::hold(&other, "test", length, stopping.clone());
    server.restart().await;
    eventually("both are connected", async || {
        one.is_connected() && other.is_connected()
    })
    .await;
    // Proved by what they do next: the first goes on renewing, and the second finds it held.
    let subject = "casement.leases.test";
    let before = eventually("the lease stands", async || {
        other.last("LEASES", subject).await.ok().flatten()
    })
    .await;
    eventually("it is renewed", async || {
        let newest = other.last("LEASES", subject).await.ok().flatten();
        newest.is_some_and(|newest| newest.sequence > before.sequence)
    })
    .await;
    assert!(*first.borrow() && !*second.borrow());
    stopping.cancel();
}

on_both! {
    async fn many_that_want_a_lease_at_once_agree_on_one_holder(ground: &Ground) {

        let stopping = CancellationToken::new();
        let mut leases = Vec::new();
        let mut logs = Vec::new();
        for _ in 0..5 {
            let log = ground.log().await;
            leases.push(lease::hold(&log, "test", LENGTH, stopping.clone()));
            logs.push(log);
        }
        let all = leases.iter().cloned().map(|lease| Box::pin(held(lease)));
        futures::future::select_all(all).await;
        // By the time it was renewed often, each of the others has asked.
        let newest = async || {
            logs[0]
                .last("LEASES", "casement.leases.test")
                .await
                .ok()
                .flatten()
        };
        eventually("it is renewed", async || {
            newest().await.is_some_and(|newest| newest.sequence > 4)
        })
        .await;
        assert_eq!(leases.iter().filter(|lease| *lease.borrow()).count(), 1);
        stopping.cancel();
    }
}
