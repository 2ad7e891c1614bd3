//! Which brokers and streams are refused, and what one is told to change.

use std::time::Duration;

use casement_event_log::{Config, ConnectError, Log};
use casement_testkit::{NatsCluster, NatsServer, free_port};
use serde_json::{Value, json};

use crate::stage::{config, monitoring, notes_of, server, write};

/// Connects, expects a refusal, and returns what it says.
async fn refusal(config: &Config) -> String {
    match Log::connect(config).await {
        Err(ConnectError::Unfit { problem, .. }) => problem,
        other => panic!("not refused as unfit: {other:?}"),
    }
}

/// The same broker is taken if the operator says so, and works.
async fn is_taken_when_told_to(config: &Config) {
    let told = Config {
        accept_unsafe_broker: true,
        ..config.clone()
    };
    let log = Log::connect(&told).await.unwrap();
    write(&log, &notes_of("c1"), "taken").await;
}

#[tokio::test]
async fn a_broker_with_a_small_max_payload_is_refused() {
    let server = NatsServer::builder()
        .monitoring(true)
        .max_payload("1MB")
        .start()
        .await;
    let config = config(&server);
    let problem = refusal(&config).await;
    assert!(problem.contains("set `max_payload: 8MB`"), "{problem}");
    is_taken_when_told_to(&config).await;
}

#[tokio::test]
async fn a_broker_that_does_not_sync_is_refused() {
    let server = NatsServer::builder()
        .monitoring(true)
        .sync_always(false)
        .start()
        .await;
    let config = config(&server);
    let problem = refusal(&config).await;
    assert!(problem.contains("set `sync_interval: always`"), "{problem}");
    is_taken_when_told_to(&config).await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_asked_whether_it_syncs_is_refused() {
    let server = server().await;
    let unnamed = Config {
        monitoring: None,
        ..config(&server)
    };
    let problem = refusal(&unnamed).await;
    assert!(problem.contains("log.monitoring"), "{problem}");

    let nobody = format!("127.0.0.1:{}", free_port());
    let unreachable = Config {
        monitoring: Some(nobody.clone()),
        ..config(&server)
    };
    let problem = refusal(&unreachable).await;
    assert!(problem.contains(&nobody), "{problem}");

    // The client port speaks, but not HTTP.
    let wrong = Config {
        monitoring: Some(server.addr()),
        ..config(&server)
    };
    let problem = refusal(&wrong).await;
    assert!(problem.contains(&server.addr()), "{problem}");
    is_taken_when_told_to(&wrong).await;
}

#[tokio::test]
async fn nobody_at_the_address_is_told_in_time() {
    let servers = format!("nats://127.0.0.1:{}", free_port());
    let config = Config {
        servers: servers.clone(),
        connect_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let error = Log::connect(&config).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(&servers), "{error}");
}

/// Makes the stream EVENTS as it should not be.
async fn misfit(server: &NatsServer, change: &Value) -> Value {
    let mut stream = json!({
        "name": "EVENTS",
        "subjects": ["append.casement.events.inbound.>", "append.casement.events.window.>",
            "append.casement.events.evidence.>", "append.casement.events.note.>",
            "append.casement.events.foreign.>", "append.casement.events.group.>"],
        "subject_transform": {"src": "append.>", "dest": ">"},
        "republish": {"src": "casement.>", "dest": "casement.>"},
        "storage": "file", "retention": "limits", "discard": "new", "max_bytes": 1_048_576,
        "max_age": 0, "num_replicas": 1, "allow_atomic": true, "allow_direct": true,
    });
    for (key, value) in change.as_object().unwrap() {
        stream[key] = value.clone();
    }
    let payload = stream.to_string().into();
    let client = server.client().await;
    let answer = client
        .request("$JS.API.STREAM.CREATE.EVENTS", payload)
        .await
        .unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_not_as_it_must_be_is_refused() {
    let day = 24 * 3_600 * 1_000_000_000_u64;
    let table = [
        (json!({"discard": "old"}), "set discard to new"),
        (json!({"storage": "memory"}), "is not stored on file"),
        (json!({"retention": "workqueue"}), "retention limits"),
        (json!({"max_age": day}), "set max_age"),
        (
            json!({"duplicate_window": 1_000_000_000}),
            "set duplicate_window",
        ),
        (
            json!({"max_msgs_per_subject": 5}),
            "set max_msgs_per_subject",
        ),
        (json!({"allow_atomic": false}), "set allow_atomic"),
        (
            json!({"subjects": ["append.casement.events.inbound.>"]}),
            "casement.events.window.>",
        ),
        (json!({"republish": null}), "appends that it refused"),
    ];
    for (change, told) in table {
        let server = server().await;
        let created = misfit(&server, &change).await;
        assert_eq!(created["error"], Value::Null, "{change}");
        let problem = refusal(&config(&server)).await;
        assert!(
            problem.contains("EVENTS") && problem.contains(told),
            "{change}: {problem}"
        );
    }
}

#[tokio::test]
async fn streams_that_fit_are_found_again_with_what_they_hold() {
    let server = server().await;
    let first = Log::connect(&config(&server)).await.unwrap();
    let position = write(&first, &notes_of("c1"), "kept").await;
    let again = Log::connect(&config(&server)).await.unwrap();
    assert_eq!(again.incarnation("EVENTS"), position.incarnation);
    assert!(again.has_reached(&position).await.unwrap());
    assert!(again.is_connected());
}

#[tokio::test]
async fn processes_that_start_at_once_agree_on_the_streams() {
    let server = server().await;
    let config = Config {
        monitoring: Some(monitoring(&server)),
        ..config(&server)
    };
    let logs = futures::future::join_all((0..4).map(|_| Log::connect(&config))).await;
    for log in logs {
        write(&log.unwrap(), &notes_of("c1"), "from each").await;
    }
}

#[tokio::test]
async fn all_who_come_to_three_fresh_brokers_at_once_find_the_streams() {
    let cluster = NatsCluster::start().await;
    let config = Config {
        servers: cluster.urls(&[0, 1, 2]),
        replicas: 3,
        // Whether each of them syncs is not asked here.
        accept_unsafe_broker: true,
        read_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_mins(1),
        ..Config::default()
    };
    let all = (0..6).map(|_| Log::connect(&config));
    for log in futures::future::join_all(all).await {
        let state = log.unwrap().state("CUSTOMERS").await;
        assert!(state.is_ok(), "{state:?}");
    }
}
