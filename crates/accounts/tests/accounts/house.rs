//! A broker, a folder and roles on them; requests to ask of them.

use std::path::PathBuf;
use std::sync::Arc;

use casement_accounts::{Config, Role, start};
use casement_event::convert::timestamp;
use casement_event::subject::{account, reported, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::{Expect, Log};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_secrets::Secrets;
use casement_shell::auth::Caller;
use casement_shell::{ManualClock, SharedClock};
use casement_testkit::NatsServer;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use v1::secret_ref::Source;

pub(crate) struct House {
    pub(crate) server: NatsServer,
    pub(crate) log: Log,
    pub(crate) folder: TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let server = NatsServer::start().await;
        let log = connect(&server).await;
        let folder = TempDir::new().unwrap();
        Self {
            server,
            log,
            folder,
        }
    }

    pub(crate) fn file(&self, text: &str) -> Config {
        let path: PathBuf = self.folder.path().join("accounts.toml");
        std::fs::write(&path, text).unwrap();
        Config {
            file: Some(path),
            ..Config::default()
        }
    }

    pub(crate) async fn role(&self, config: Config) -> anyhow::Result<Role> {
        start(config, self.log.clone(), Secrets::default(), clock()).await
    }

    pub(crate) async fn events_count(&self) -> u64 {
        self.log.state(stream::ACCOUNTS).await.unwrap().messages
    }

    pub(crate) async fn last(&self, kind: &str, key: &str) -> Option<Event> {
        let subject = account(kind, key);
        let stored = self.log.last(stream::ACCOUNTS, &subject).await.unwrap();
        stored.map(|stored| stored.event().unwrap())
    }

    pub(crate) async fn template_status(&self) -> v1::TemplateStatus {
        match self.last("template", "800-order_ready-en_US").await {
            Some(Event::TemplateRecorded(event)) => event.template.unwrap().status(),
            other => panic!("no template: {other:?}"),
        }
    }

    pub(crate) async fn report(&self, event: &str, language: &str, second: i64) {
        let content = serde_json::json!({
            "event": event,
            "message_template_name": "order_ready",
            "message_template_language": language,
        });
        let time = Timestamp::from_second(second).unwrap();
        let event = v1::AccountReported {
            entry_id: "800".to_owned(),
            field: "message_template_status_update".to_owned(),
            event: event.to_owned(),
            content_json: content.to_string(),
            times: Some(v1::Times {
                event_time: Some(timestamp(time)),
                received_time: None,
                ..v1::Times::default()
            }),
            ..v1::AccountReported::default()
        };
        let subject = reported("template", "800");
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", time, event);
        self.log.append(record, Expect::Anything).await.unwrap();
    }
}

pub(crate) async fn connect(server: &NatsServer) -> Log {
    let config = casement_event_log::Config {
        servers: server.url(),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    Log::connect(&config).await.unwrap()
}

pub(crate) fn clock() -> SharedClock {
    Arc::new(ManualClock::new("2026-11-22T10:00:00Z".parse().unwrap()))
}

/// Serves a role to callers of one kind.
pub(crate) async fn client_as(role: &Role, caller: Caller) -> AccountServiceClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let with_caller = move |mut request: Request<()>| {
        request.extensions_mut().insert(caller.clone());
        Ok(request)
    };
    let service = InterceptedService::new(role.service(), with_caller);
    let serving =
        casement_shell::grpc::serve(listener, Routes::new(service), CancellationToken::new());
    tokio::spawn(serving);
    AccountServiceClient::connect(address).await.unwrap()
}

pub(crate) async fn client(role: &Role, brand: &str) -> AccountServiceClient<Channel> {
    client_as(role, Caller::internal("operator", brand)).await
}

pub(crate) fn brand(brand_id: &str) -> api::PutBrandRequest {
    api::PutBrandRequest {
        brand: Some(v1::Brand {
            brand_id: brand_id.to_owned(),
            display_name: "A brand".to_owned(),
            ..v1::Brand::default()
        }),
    }
}

pub(crate) fn number(number: &str, brand_id: &str, phone_number_id: &str) -> api::PutNumberRequest {
    api::PutNumberRequest {
        number: Some(v1::Number {
            number: number.to_owned(),
            brand_id: brand_id.to_owned(),
            portfolio_id: "900".to_owned(),
            waba_id: format!("8{brand_id}"),
            phone_number_id: phone_number_id.to_owned(),
            token: Some(v1::SecretRef {
                source: Some(Source::File("secrets/meta".to_owned())),
            }),
            ..v1::Number::default()
        }),
    }
}

pub(crate) fn pause(number: &str) -> api::PauseNumberRequest {
    api::PauseNumberRequest {
        number: number.to_owned(),
        reason: "angry customers".to_owned(),
    }
}
