//! Copies of streams, and servers to keep them.

use casement_event::subject::stream;
use casement_event_log::snapshot::Snapshots;
use casement_event_log::{Config, ConnectError, Copies, KEPT_FROM_OPERATORS, Log};
use casement_testkit::{NatsCluster, eventually};

use crate::stage::{config, server};

fn on(cluster: &NatsCluster, replicas: usize) -> Config {
    Config {
        servers: cluster.urls(&[0, 1, 2]),
        monitoring: Some(cluster.monitoring()),
        replicas,
        ..Config::default()
    }
}

async fn problem(config: &Config) -> String {
    match Log::connect(config).await {
        Err(ConnectError::Unfit { problem, .. }) => problem,
        other => panic!("not refused as unfit: {other:?}"),
    }
}

#[tokio::test]
async fn three_copies_are_refused_by_a_server_that_is_alone() {
    let server = server().await;
    let three = Config {
        replicas: 3,
        ..config(&server)
    };
    let told = problem(&three).await;
    assert!(told.contains("set log.replicas to 1"), "{told}");
}

#[tokio::test]
async fn one_copy_is_refused_on_three_servers_and_streams_get_more_copies_by_the_operator() {
    let cluster = NatsCluster::start().await;
    let told = problem(&on(&cluster, 1)).await;
    assert!(told.contains("set log.replicas to 3"), "{told}");
    let careless = Config {
        accept_unsafe_broker: true,
        ..on(&cluster, 1)
    };
    let log = Log::connect(&careless).await.unwrap();
    let before = log.state(stream::EVENTS).await.unwrap();
    let told = problem(&on(&cluster, 3)).await;
    assert!(told.contains("casement broker replicate"), "{told}");

    let operator = Snapshots::connect(&on(&cluster, 3)).await.unwrap();
    let raised = replicated(&operator, &[]).await;
    assert!(raised.iter().all(|one| one.before.is_some()));
    assert!(raised.iter().all(|one| one.after == 3));
    assert!(raised.iter().all(|one| one.stream != KEPT_FROM_OPERATORS));
    let told = problem(&on(&cluster, 3)).await;
    assert!(told.contains(KEPT_FROM_OPERATORS), "{told}");
    let keys = [KEPT_FROM_OPERATORS.to_owned()];
    replicated(&operator, &keys).await;

    let log = Log::connect(&on(&cluster, 3)).await.unwrap();
    let after = log.state(stream::EVENTS).await.unwrap();
    assert_eq!(after.incarnation, before.incarnation, "the same streams");
    let again = replicated(&operator, &[]).await;
    assert!(again.iter().all(|one| one.before == Some(3)));
}

/// Has streams kept more often, once the servers have seen one another: until then a broker refuses.
async fn replicated(operator: &Snapshots, only: &[String]) -> Vec<Copies> {
    eventually("the streams are kept more often", async || {
        operator.replicate(only).await
    })
    .await
}
