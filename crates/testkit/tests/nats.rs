//! Claims about servers per test.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use casement_testkit::{NatsCluster, NatsServer, Proxy, eventually};

async fn stream(context: &jetstream::Context) -> jetstream::stream::Stream {
    let config = Config {
        name: "T".to_owned(),
        subjects: vec!["t.>".to_owned()],
        ..Config::default()
    };
    context
        .get_or_create_stream(config)
        .await
        .expect("a stream can be made")
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_on_the_same_port() {
    let mut server = NatsServer::start().await;
    let url = server.url();
    let context = jetstream::new(server.client().await);
    stream(&context).await;
    context
        .publish("t.a", Bytes::from_static(b"kept"))
        .await
        .unwrap()
        .await
        .unwrap();
    server.restart().await;
    assert_eq!(server.url(), url);
    let context = jetstream::new(server.client().await);
    let kept = stream(&context).await.get_raw_message(1).await.unwrap();
    assert_eq!(kept.payload, "kept");
    server.stop().await;
    server.start_again().await;
    let context = jetstream::new(server.client().await);
    assert_eq!(
        stream(&context)
            .await
            .get_info()
            .await
            .unwrap()
            .state
            .messages,
        1
    );
}

#[tokio::test]
async fn servers_do_not_share_anything() {
    let (one, other) = tokio::join!(NatsServer::start(), NatsServer::start());
    assert_ne!(one.port(), other.port());
    stream(&jetstream::new(one.client().await)).await;
    assert!(
        jetstream::new(other.client().await)
            .get_stream("T")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_given_store_outlives_its_server() {
    let store = tempfile::tempdir().unwrap();
    let server = NatsServer::builder().store_dir(store.path()).start().await;
    stream(&jetstream::new(server.client().await)).await;
    drop(server);
    let server = NatsServer::builder()
        .store_dir(store.path())
        .sync_always(false)
        .start()
        .await;
    assert!(
        jetstream::new(server.client().await)
            .get_stream("T")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn choices_reach_the_server() {
    let server = NatsServer::builder()
        .max_payload("64KB")
        .monitoring(true)
        .start()
        .await;
    assert_eq!(server.client().await.server_info().max_payload, 64 * 1024);
    assert_ne!(server.monitoring_url(), "http://127.0.0.1:0");
    assert!(
        NatsServer::start()
            .await
            .client()
            .await
            .server_info()
            .max_payload
            >= 8_000_000
    );
}

#[tokio::test]
async fn a_paused_server_answers_when_it_goes_on() {
    let server = NatsServer::start().await;
    let client = server.client().await;
    server.pause();
    let flush = tokio::time::timeout(Duration::from_millis(50), async {
        jetstream::new(client.clone()).query_account().await
    });
    assert!(flush.await.is_err(), "nothing is answered");
    server.resume();
    eventually("the server answers", async || {
        jetstream::new(client.clone()).query_account().await
    })
    .await;
}

#[tokio::test]
async fn a_lost_acknowledgement_does_not_mean_a_lost_message() {
    let server = NatsServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let client = async_nats::connect(proxy.url("nats")).await.unwrap();
    let mut context = jetstream::new(client);
    context.set_timeout(Duration::from_millis(200));
    let stream = stream(&jetstream::new(server.client().await)).await;
    proxy.drop_replies();
    let acknowledged = context
        .publish("t.a", Bytes::from_static(b"stored"))
        .await
        .unwrap()
        .await;
    assert!(acknowledged.is_err());
    let stored = eventually("the message is stored", async || {
        stream.get_raw_message(1).await
    })
    .await;
    assert_eq!(stored.payload, "stored");
    proxy.forward();
    eventually("the client is back", async || {
        context
            .publish("t.a", Bytes::from_static(b"next"))
            .await?
            .await
            .map(|ack| ack.sequence)
    })
    .await;
}

#[tokio::test]
async fn two_servers_of_a_cluster_store_while_the_third_is_paused_and_only_follows() {
    let cluster = NatsCluster::start().await;
    let context = jetstream::new(cluster.client(0).await);
    let config = Config {
        name: "T".to_owned(),
        subjects: vec!["t.>".to_owned()],
        num_replicas: 3,
        ..Config::default()
    };
    context.create_stream(config).await.expect("a stream");
    cluster.make_follower(2, &["T"]).await;
    cluster.pause(2);
    eventually("two of three store", async || {
        let published = context.publish("t.a", Bytes::from_static(b"kept")).await;
        published
            .map_err(|error| error.to_string())?
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    cluster.resume(2);
    let other = jetstream::new(cluster.client(2).await);
    eventually("the third has it, too", async || {
        let stream = other
            .get_stream("T")
            .await
            .map_err(|error| error.to_string())?;
        let info = stream.cached_info();
        let cluster = info.cluster.as_ref().ok_or("no cluster")?;
        if cluster.replicas.iter().all(|replica| replica.current) {
            Ok(())
        } else {
            Err(format!("{:?}", cluster.replicas))
        }
    })
    .await;
}
