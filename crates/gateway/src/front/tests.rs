//! Claims about streams that pass through to a role behind a connection.

use casement_shell::ManualClock;
use casement_shell::auth::TokenConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::*;
use crate::config::LimitsConfig;
use crate::upstream::{Area, Upstream, Upstreams};

/// A service that streams both ways; here it plays one of a role.
const STREAMS: &str = "grpc.reflection.v1.ServerReflection";

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn channel(url: String) -> Channel {
    Channel::from_shared(url).unwrap().connect_lazy()
}

/// A gateway in front of a role that reflects, and the gateway's address.
async fn start(stopping: &CancellationToken) -> String {
    let (listener, role) = listen().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(casement_proto::DESCRIPTORS)
        .build_v1()
        .unwrap();
    let routes = Routes::new(reflection);
    tokio::spawn(casement_shell::grpc::serve(
        listener,
        routes,
        stopping.clone(),
    ));

    let token: TokenConfig = serde_json::from_value(serde_json::json!({
        "name": "reader", "token": "sesame", "scopes": ["read"],
    }))
    .unwrap();
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let target = Upstreams::default()
        .with(Area::Windows, Upstream::Remote(channel(role)))
        .targets()
        .next()
        .unwrap();
    let tokens = Tokens::from_config(&[token]).unwrap();
    let front = Front {
        targets: BTreeMap::from([(STREAMS, target)]),
        refusals: Arc::new(Refusals::new(tokens.clone(), None)),
        table: Table::new(),
        pool: DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap(),
        tokens,
        limits: Limits::new(&LimitsConfig::default(), clock.shared()),
        request_bytes: 1_000,
        call_timeout: Duration::from_mins(1),
        openapi: Bytes::new(),
        stopping: stopping.clone(),
    };
    let router = axum::Router::new()
        .fallback(answer)
        .with_state(Arc::new(front));
    let (listener, url) = listen().await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let serving = Server::builder()
        .add_routes(Routes::from(router))
        .serve_with_incoming(incoming);
    tokio::spawn(serving);
    url
}

fn list() -> ServerReflectionRequest {
    ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    }
}

async fn open(
    url: String,
) -> (
    mpsc::Sender<ServerReflectionRequest>,
    Streaming<tonic_reflection::pb::v1::ServerReflectionResponse>,
) {
    let mut client = ServerReflectionClient::new(channel(url));
    let (requests, received) = mpsc::channel(1);
    // A server may wait for the first request before it answers at all.
    requests.send(list()).await.unwrap();
    let mut request = tonic::Request::new(ReceiverStream::new(received));
    let token = "Bearer sesame".parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    let answers = client.server_reflection_info(request).await.unwrap();
    (requests, answers.into_inner())
}

#[tokio::test]
async fn both_sides_take_turns_and_the_end_arrives() {
    let stopping = CancellationToken::new();
    let (requests, mut answers) = open(start(&stopping).await).await;
    assert!(answers.message().await.unwrap().is_some());
    for _ in 0..100 {
        requests.send(list()).await.unwrap();
        assert!(answers.message().await.unwrap().is_some());
    }
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    stopping.cancel();
}

#[tokio::test]
async fn a_stream_through_the_gateway_ends_when_it_stops() {
    let stopping = CancellationToken::new();
    let (_requests, mut answers) = open(start(&stopping).await).await;
    assert!(answers.message().await.unwrap().is_some());
    stopping.cancel();
    let end = answers.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
}
