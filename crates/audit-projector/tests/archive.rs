//! The role as a whole, with a real broker that is killed under it, asked over gRPC.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which is where unwrap is allowed"
)]

use std::path::Path;
use std::sync::Arc;

use casement_audit_projector::{ChainReport, Config, start, verify};
use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{Family, conversation};
use casement_event::{Record, id, v1};
use casement_event_log::{Expect, Log, Position};
use casement_proto::conversation::v1::GetConversationRequest;
use casement_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use casement_secrets::keys::MasterKeys;
use casement_shell::auth::{DEMO_TOKEN, Scope, TokenConfig, Tokens, protect};
use casement_shell::config::Secret;
use casement_shell::health::Readiness;
use casement_shell::{SystemClock, grpc};
use casement_testkit::{NatsServer, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic::{Request, Status};

/// A running role, with its services on a port.
struct Running {
    stopping: CancellationToken,
    readiness: Readiness,
    role: JoinHandle<anyhow::Result<()>>,
    url: String,
}

/// The master keys of these tests.
fn masters() -> Arc<MasterKeys> {
    let text = Secret::from_value("a key that nobody but these tests knows");
    let keys = MasterKeys::read("secrets.master_key", Some(&text), "customers");
    Arc::new(keys.unwrap())
}

async fn run(log: &Log, database_path: &Path) -> Running {
    let config = Config {
        database_path: database_path.to_owned(),
        ..Config::default()
    };
    let readiness = Readiness::new();
    let role = start(
        config,
        masters(),
        log.clone(),
        SystemClock::shared(),
        &readiness,
    )
    .await
    .unwrap();
    let mut routes = RoutesBuilder::default();
    role.add_to(&mut routes);
    let token = TokenConfig {
        name: "test".to_owned(),
        token: Some(Secret::from_value(DEMO_TOKEN)),
        sha256: None,
        scopes: [Scope::Read].into(),
        brand: "default".to_owned(),
    };
    let routes = protect(routes.routes(), Tokens::for_demo(&[token]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopping = CancellationToken::new();
    tokio::spawn(grpc::serve(listener, routes, stopping.clone()));
    let role = tokio::spawn(role.run(stopping.clone()));
    Running {
        stopping,
        readiness,
        role,
        url,
    }
}

impl Running {
    async fn inbound_count(&self, not_before: &Position) -> Result<i64, Status> {
        let mut client = ConversationServiceClient::connect(self.url.clone())
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(GetConversationRequest {
            number: "+15550001111".to_owned(),
            customer_id: "c1".to_owned(),
            not_before: not_before.to_string(),
        });
        let token = format!("Bearer {DEMO_TOKEN}").parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let answer = client.get_conversation(request).await?.into_inner();
        Ok(answer.conversation.unwrap_or_default().inbound_count)
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.role.await.unwrap().unwrap();
    }
}

fn inbound(index: u32) -> Record {
    let number = BusinessNumber::parse("15550001111").unwrap();
    let customer = CustomerId::parse("c1").unwrap();
    let event = v1::InboundMessageReceived {
        conversation: Some(v1::Conversation {
            number: number.digits().to_owned(),
            customer_id: customer.as_str().to_owned(),
            brand_id: "default".to_owned(),
            ..Default::default()
        }),
        text: format!("message {index}"),
        ..Default::default()
    };
    let fact = id::inbound(&number, &format!("wamid.{index}"));
    let subject = conversation(Family::Inbound, &number, &customer);
    let at = casement_shell::Clock::now(&SystemClock::new());
    Record::new(subject, fact, "casement/test", at, event)
}

async fn append(log: &Log, indexes: std::ops::Range<u32>) -> Position {
    let mut last = None;
    for index in indexes {
        let append = async || log.append(inbound(index), Expect::Anything).await;
        last = Some(eventually("the broker takes it", append).await);
    }
    last.unwrap()
}

async fn events_chain(database_path: &Path) -> ChainReport {
    let reports = verify(database_path, masters()).await.unwrap();
    reports
        .into_iter()
        .find(|report| report.stream == "EVENTS")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_goes_on_after_the_broker_was_killed_and_after_a_restart() {
    let mut server = NatsServer::builder().monitoring(true).start().await;
    let monitoring = server
        .monitoring_url()
        .trim_start_matches("http://")
        .to_owned();
    let config = casement_event_log::Config {
        servers: server.url(),
        monitoring: Some(monitoring),
        ..casement_event_log::Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database_path = folder.path().join("new").join("archive.sqlite");

    let running = run(&log, &database_path).await;
    eventually("the role is ready", async || running.readiness.is_ready()).await;
    let position = append(&log, 0..20).await;
    assert_eq!(running.inbound_count(&position).await.unwrap(), 20);

    server.restart().await;
    let position = append(&log, 20..40).await;
    let counted = eventually("the archive goes on", async || {
        running.inbound_count(&position).await
    });
    assert_eq!(counted.await, 40);
    running.stop().await;

    let position = append(&log, 40..45).await;
    let running = run(&log, &database_path).await;
    let counted = eventually("the archive goes on", async || {
        running.inbound_count(&position).await
    });
    assert_eq!(counted.await, 45);
    let report = events_chain(&database_path).await;
    assert!(report.is_intact(), "{report:?}");
    let state = log.state("EVENTS").await.unwrap();
    assert_eq!(
        (report.checked_count, report.last_sequence),
        (state.messages, state.last_sequence)
    );
    running.stop().await;

    let report = events_chain(&database_path).await;
    assert!(
        report.is_intact(),
        "also when nobody has the file open: {report:?}"
    );
}

#[tokio::test]
async fn an_archive_that_is_not_there_is_not_intact_but_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.sqlite");
    assert!(verify(&absent, masters()).await.is_err());
    assert!(!absent.exists());
}
