//! Templates against a real broker and the simulated platform: read, told of, created, edited,
//! deleted.

mod read;
mod submit;

use casement_accounts::{Config, Graph, TemplatesConfig, start};
use casement_event::convert::timestamp;
use casement_event::subject::{account, reported, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::{Expect, Log};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_proto::account::v1::template_service_client::TemplateServiceClient;
use casement_secrets::Secrets;
use casement_shell::ManualClock;
use casement_shell::auth::Caller;
use casement_simulator::{
    Config as Platform, NumberConfig, Running, Simulator, TemplateCategory, TemplateConfig,
    TemplateStatus,
};
use casement_testkit::{NatsServer, Proxy};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Request;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::house::{brand, connect};

const WABA: &str = "800";
const TOKEN: &str = "token-of-the-number";
const ORDER: (&str, &str, &str) = (WABA, "order", "en");

/// A broker, a platform with a number and its templates, and the role between them.
struct Stage {
    _server: NatsServer,
    log: Log,
    platform: Running,
    /// Between the role and the platform.
    line: Proxy,
    clock: ManualClock,
    folder: TempDir,
    templates: TemplateServiceClient<Channel>,
    others: TemplateServiceClient<Channel>,
    accounts: AccountServiceClient<Channel>,
    _stopping: DropGuard,
}

fn of_platform(name: &str, language: &str) -> TemplateConfig {
    TemplateConfig {
        waba_id: WABA.to_owned(),
        name: name.to_owned(),
        language: language.to_owned(),
        category: TemplateCategory::Utility,
        body: "Order {{1}} is ready.".to_owned(),
        parameter_count: 1,
        status: TemplateStatus::Approved,
    }
}

impl Stage {
    async fn set(templates: Vec<TemplateConfig>) -> Self {
        Self::set_with(templates, SignedDuration::ZERO).await
    }

    /// With a role that runs, and reads templates of its own accord so often.
    async fn set_with(templates: Vec<TemplateConfig>, every: SignedDuration) -> Self {
        let server = NatsServer::start().await;
        let log = connect(&server).await;
        let clock = ManualClock::new("2026-11-22T10:00:00Z".parse().unwrap());
        let shared = clock.shared();
        let platform = Platform::new(std::sync::Arc::new(move || shared.now()));
        let platform = Platform {
            numbers: vec![NumberConfig {
                phone_number_id: "700".to_owned(),
                display_phone_number: "+15550001111".to_owned(),
                waba_id: WABA.to_owned(),
                token: TOKEN.into(),
            }],
            templates,
            ..platform
        };
        let platform = Simulator::start(platform).await.unwrap();
        let address = platform.base_url();
        let address = address.trim_start_matches("http://");
        let line = Proxy::start(address.trim_end_matches('/')).await;
        let config = Config {
            graph: Graph {
                url: line.url("http"),
                ..Graph::default()
            },
            templates: TemplatesConfig { sync_every: every },
            ..Config::default()
        };
        let role = start(config, log.clone(), Secrets::default(), clock.shared());
        let role = role.await.unwrap();
        let caller = |brand: &'static str| {
            move |mut request: Request<()>| {
                let caller = Caller::internal("operator", brand);
                request.extensions_mut().insert(caller);
                Ok(request)
            }
        };
        let stopping = CancellationToken::new();
        let all = Routes::new(InterceptedService::new(role.templates(), caller("*")))
            .add_service(InterceptedService::new(role.service(), caller("*")));
        let other = Routes::new(InterceptedService::new(role.templates(), caller("other")));
        let (all, other) = (serve(all, &stopping).await, serve(other, &stopping).await);
        tokio::spawn(role.run(stopping.clone()));
        let stage = Self {
            templates: TemplateServiceClient::new(all.clone()),
            others: TemplateServiceClient::new(other),
            accounts: AccountServiceClient::new(all),
            _server: server,
            log,
            platform,
            line,
            clock,
            folder: TempDir::new().unwrap(),
            _stopping: stopping.drop_guard(),
        };
        stage.record_number().await;
        stage
    }

    async fn record_number(&self) {
        let file = self.folder.path().join("token");
        std::fs::write(&file, TOKEN).unwrap();
        let mut accounts = self.accounts.clone();
        accounts.put_brand(brand("acme")).await.unwrap();
        let source = v1::secret_ref::Source::File(file.display().to_string());
        let number = v1::Number {
            number: "+15550001111".to_owned(),
            brand_id: "acme".to_owned(),
            portfolio_id: "900".to_owned(),
            waba_id: WABA.to_owned(),
            phone_number_id: "700".to_owned(),
            token: Some(v1::SecretRef {
                source: Some(source),
            }),
            ..v1::Number::default()
        };
        let request = api::PutNumberRequest {
            number: Some(number),
        };
        accounts.put_number(request).await.unwrap();
    }

    async fn sync(&self) -> v1::TemplatesSynced {
        let request = api::SyncTemplatesRequest {
            waba_id: WABA.to_owned(),
            name: String::new(),
        };
        let answer = self.templates.clone().sync_templates(request).await;
        answer.unwrap().into_inner().sync.unwrap()
    }

    async fn recorded(&self, name: &str, language: &str) -> Option<v1::Template> {
        let subject = account("template", &format!("{WABA}-{name}-{language}"));
        let stored = self.log.last(stream::ACCOUNTS, &subject).await.unwrap()?;
        match stored.event().unwrap() {
            Event::TemplateRecorded(event) => event.template,
            other => panic!("not a template: {other:?}"),
        }
    }

    async fn events_count(&self) -> u64 {
        self.log.state(stream::ACCOUNTS).await.unwrap().messages
    }

    /// What the platform would have the ingress report.
    async fn report(&self, field: &str, content: &Value) {
        let event = v1::AccountReported {
            entry_id: WABA.to_owned(),
            field: field.to_owned(),
            content_json: content.to_string(),
            times: Some(v1::Times {
                event_time: Some(timestamp(self.clock.shared().now())),
                ..v1::Times::default()
            }),
            ..v1::AccountReported::default()
        };
        self.append(reported("template", WABA), event).await;
    }

    async fn append(&self, subject: String, event: impl Into<Event>) {
        let now = Timestamp::now_for_tests();
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", now, event);
        self.log.append(record, Expect::Anything).await.unwrap();
    }

    /// How often the platform was asked for something.
    fn calls(&self, method: &str) -> usize {
        let calls = self.platform.handle().calls().into_iter();
        let is_meant = |path: &str| path.ends_with("/message_templates");
        calls
            .filter(|call| call.method == method && is_meant(&call.path))
            .count()
    }
}

/// What stands in for a clock where only the order counts.
trait ForTests {
    fn now_for_tests() -> Self;
}

impl ForTests for Timestamp {
    fn now_for_tests() -> Self {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }
}

async fn serve(routes: Routes, stopping: &CancellationToken) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(casement_shell::grpc::serve(
        listener,
        routes,
        stopping.clone(),
    ));
    let channel = Channel::from_shared(address).unwrap();
    channel.connect().await.unwrap()
}
