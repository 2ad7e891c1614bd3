//! Three brokers as they are shipped, of which one is killed, stands still, or is cut off, or each is
//! replaced in turn, while webhooks come in and messages go out: nothing is lost, nothing is done
//! twice, and what stands still meanwhile does so for seconds. And how one broker becomes three.

use casement_tests::{Options, Role, ShippedCluster, Stack};

use crate::drill::{STOP, succeed};
use crate::traffic::{
    STALL_MAX, Traffic, WINDOW_SECONDS, the_archive_has_it, what_came_in_stands_once,
    what_went_out_was_called_once,
};

async fn start() -> (ShippedCluster, Stack) {
    let cluster = ShippedCluster::start().await;
    let mut stack = Stack::without_roles(&Options {
        window_seconds: WINDOW_SECONDS,
        // Longer than reports may be kept from the log, or what arrived is given up as unknown.
        reconcile_after: "30s",
        log: Some(cluster.log_section()),
        ..Options::default()
    })
    .await;
    // One after the other: the first makes the streams, which takes three servers a while.
    for role in Role::ALL {
        for (name, value) in cluster.environment(role) {
            stack.set_variable(role, 0, name, &value);
        }
        stack.start_role(role, 0).await;
    }
    (cluster, stack)
}

/// Traffic before, during and after a fault, and everything that must be true afterwards.
#[expect(clippy::print_stderr, reason = "how long it stood still is told")]
async fn nothing_is_lost_or_double(
    name: &str,
    fault: impl AsyncFnOnce(&mut ShippedCluster, usize, &Traffic),
) {
    let (mut cluster, stack) = start().await;
    let mut traffic = Traffic::start(&stack, vec![stack.poster()], vec![stack.clients()]);
    traffic.flows("traffic before").await;
    traffic.incoming.mark();
    traffic.outgoing.mark();
    let busiest = cluster.servers.leader("MESSAGES").await;
    fault(&mut cluster, busiest, &traffic).await;
    traffic.flows("traffic after").await;
    traffic.end().await;

    let (incoming, outgoing) = (traffic.incoming.stall(), traffic.outgoing.stall());
    eprintln!(
        "{name}: no webhook was taken for {:.1} s, no message accepted for {:.1} s",
        incoming.as_secs_f64(),
        outgoing.as_secs_f64()
    );
    assert!(incoming < STALL_MAX && outgoing < STALL_MAX);
    let log = cluster.log().await;
    what_went_out_was_called_once(&stack, &stack.clients(), &traffic.outgoing.all()).await;
    what_came_in_stands_once(&log, &traffic.incoming.all()).await;
    the_archive_has_it(&stack.clients(), &log).await;
    stack.stop().await;
}

#[tokio::test]
async fn the_busiest_leader_of_three_brokers_is_killed_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("killed", async |cluster, busiest, traffic| {
        cluster.servers.kill(busiest);
        traffic.flows("traffic on two of three").await;
        cluster.servers.start_again(busiest).await;
    })
    .await;
}

#[tokio::test]
async fn the_busiest_leader_of_three_brokers_stands_still_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("paused", async |cluster, busiest, traffic| {
        cluster.servers.pause(busiest);
        traffic.flows("traffic past one that stands still").await;
        cluster.servers.resume(busiest);
    })
    .await;
}

#[tokio::test]
async fn the_busiest_leader_of_three_brokers_is_cut_off_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("cut off", async |cluster, busiest, traffic| {
        cluster.servers.cut_off(busiest);
        traffic.flows("traffic on the other side").await;
        cluster.servers.join(busiest);
    })
    .await;
}

#[tokio::test]
async fn each_of_three_brokers_is_replaced_in_turn_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("replaced", async |cluster, _, traffic| {
        for server in 0..3 {
            cluster.servers.retire(server).await;
            traffic.flows(&format!("traffic without s{server}")).await;
            cluster.servers.start_again(server).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_broker_becomes_three_by_a_backup_and_nothing_is_lost_or_double() {
    let mut stack = Stack::with(Options {
        window_seconds: WINDOW_SECONDS,
        ..Options::default()
    })
    .await;
    let mut traffic = Traffic::start(&stack, vec![stack.poster()], vec![stack.clients()]);
    traffic.flows("traffic at one broker").await;
    for role in STOP {
        let process = stack.process(role, 0);
        process.terminate();
        let exit = process.wait().await;
        assert!(exit.success(), "{role:?}: {}", process.stderr());
    }
    let folder = stack.path("log-of-one").display().to_string();
    let only_log = |command: &str| {
        vec![
            command.into(),
            folder.clone(),
            "--only".into(),
            "log".into(),
        ]
    };
    succeed(&stack, only_log("backup")).await;
    stack.nats.stop().await;

    let mut cluster = ShippedCluster::start().await;
    let mut restore = only_log("restore");
    for (setting, value) in cluster.settings("operator") {
        restore.extend(["--set".to_owned(), format!("{setting}={value}")]);
    }
    succeed(&stack, restore).await;
    for role in Role::ALL {
        stack.set(role, 0, &cluster.settings(role.command()));
        stack.start_role(role, 0).await;
    }
    traffic.flows("traffic at three").await;
    // Each stream has its copies: one of the three is not missed.
    let busiest = cluster.servers.leader("MESSAGES").await;
    cluster.servers.kill(busiest);
    traffic.flows("traffic on two of three").await;
    traffic.end().await;

    let log = cluster.log().await;
    what_went_out_was_called_once(&stack, &stack.clients(), &traffic.outgoing.all()).await;
    what_came_in_stands_once(&log, &traffic.incoming.all()).await;
    the_archive_has_it(&stack.clients(), &log).await;
    stack.stop().await;
}
