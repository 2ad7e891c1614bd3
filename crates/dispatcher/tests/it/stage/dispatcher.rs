//! A dispatcher with a connection, a runtime and a port of its own, so that it can be killed.

use std::sync::Arc;

use casement_dispatcher::{Config, start};
use casement_domain::window;
use casement_event::v1;
use casement_event_log::directory::Directory;
use casement_event_log::{Config as LogConfig, Log};
use casement_proto::message::v1 as api;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_shell::auth::{TokenConfig, Tokens, protect};
use casement_shell::health::Readiness;
use casement_testkit::eventually;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::Stage;

/// May read and send for the brand `default`.
const TOKEN: &str = "token-default";

/// A running dispatcher. Dropping it kills it.
pub(crate) struct Dispatcher {
    runtime: Option<Runtime>,
    client: MessageServiceClient<Channel>,
    running: JoinHandle<anyhow::Result<()>>,
    stopping: CancellationToken,
}

impl Stage {
    pub(crate) async fn dispatcher(&self) -> Dispatcher {
        self.dispatcher_with(|_| {}).await
    }

    /// Runs a dispatcher with settings that differ, and waits until it is ready.
    pub(crate) async fn dispatcher_with(&self, change: impl FnOnce(&mut Config)) -> Dispatcher {
        let log = LogConfig {
            servers: self.nats.url(),
            accept_unsafe_broker: true,
            ..LogConfig::default()
        };
        self.dispatcher_over(log, change).await
    }

    /// The same, over a connection that differs.
    pub(crate) async fn dispatcher_over(
        &self,
        log: LogConfig,
        change: impl FnOnce(&mut Config),
    ) -> Dispatcher {
        let mut config = self.config();
        change(&mut config);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (tokens, clock) = (self.tokens.clone(), Arc::clone(&self.clock));
        let started = runtime.spawn(async move {
            let log = Log::connect(&log).await.expect("a broker that is ready");
            let stopping = CancellationToken::new();
            let directory = Directory::start(&log, stopping.clone()).await;
            let readiness = Readiness::new();
            let role = start(
                config,
                window::Policy::default(),
                log,
                directory,
                tokens,
                clock,
                readiness.latch("dispatcher"),
            )
            .expect("a fit configuration");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            let routes = protect(Routes::new(role.service()), api_tokens());
            tokio::spawn(casement_shell::grpc::serve(
                listener,
                routes,
                stopping.clone(),
            ));
            let running = tokio::spawn(role.run(stopping.clone()));
            let mut is_ready = readiness.watch();
            is_ready
                .wait_for(|is_ready| *is_ready)
                .await
                .expect("it runs");
            (address, running, stopping)
        });
        let (address, running, stopping) = started.await.expect("a dispatcher that starts");
        let client = MessageServiceClient::connect(format!("http://{address}"))
            .await
            .expect("a server that listens");
        Dispatcher {
            runtime: Some(runtime),
            client,
            running,
            stopping,
        }
    }
}

impl Dispatcher {
    /// Ends it at once, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stopping.cancel();
        let ended = (&mut self.running).await;
        ended.expect("no panic").expect("an orderly end");
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn client(&self) -> MessageServiceClient<Channel> {
        self.client.clone()
    }

    pub(crate) async fn try_send(
        &self,
        request: api::SendMessageRequest,
    ) -> Result<api::Message, Status> {
        let answer = self.client().send_message(with_token(TOKEN, request)).await;
        answer.map(|answer| answer.into_inner().message.expect("a message"))
    }

    pub(crate) async fn send(&self, request: api::SendMessageRequest) -> api::Message {
        self.try_send(request).await.expect("a message is accepted")
    }

    /// Marks a message as read, by whoever holds a token.
    pub(crate) async fn try_mark(
        &self,
        who: &str,
        request: api::MarkAsReadRequest,
    ) -> Result<(), Status> {
        let request = with_token(&format!("token-{who}"), request);
        let answer = self.client().mark_as_read(request).await;
        answer.map(|_| ())
    }

    /// Uploads a file, and says that it is so many bytes more than it is.
    pub(crate) async fn try_upload(
        &self,
        number: &str,
        mime_type: &str,
        bytes: &[u8],
        more: i64,
    ) -> Result<api::UploadMediaResponse, Status> {
        use api::upload_media_request::Part;
        let size_bytes = i64::try_from(bytes.len()).expect("few") + more;
        let file = api::UploadedFile {
            number: number.to_owned(),
            mime_type: mime_type.to_owned(),
            size_bytes: u64::try_from(size_bytes).expect("not less than nothing"),
        };
        let chunks = bytes.chunks(1_000_000).map(<[u8]>::to_vec);
        let chunks = chunks.map(|chunk| Part::Chunk(chunk.into()));
        let parts: Vec<_> = std::iter::once(Part::File(file))
            .chain(chunks)
            .map(|part| api::UploadMediaRequest { part: Some(part) })
            .collect();
        let request = with_token(TOKEN, futures::stream::iter(parts));
        let answer = self.client().upload_media(request).await;
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) async fn try_preview(
        &self,
        request: api::PreviewRouteRequest,
    ) -> Result<api::PreviewRouteResponse, Status> {
        let answer = self
            .client()
            .preview_route(with_token(TOKEN, request))
            .await;
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) async fn preview(&self, request: api::PreviewRouteRequest) -> v1::Decision {
        let answer = self
            .client()
            .preview_route(with_token(TOKEN, request))
            .await
            .expect("a preview");
        answer.into_inner().decision.expect("a decision")
    }

    /// The decision about a message if it were sent now.
    pub(crate) async fn decision(&self, request: api::SendMessageRequest) -> v1::Decision {
        self.preview(api::PreviewRouteRequest {
            request: Some(request),
            evaluate_time: None,
        })
        .await
    }

    pub(crate) async fn try_cancel(&self, message_id: &str) -> Result<api::Message, Status> {
        let request = api::CancelMessageRequest {
            message_id: message_id.to_owned(),
        };
        let answer = self
            .client()
            .cancel_message(with_token(TOKEN, request))
            .await;
        answer.map(|answer| answer.into_inner().message.expect("a message"))
    }

    pub(crate) async fn try_get(&self, message_id: &str) -> Result<api::Message, Status> {
        let request = api::GetMessageRequest {
            message_id: message_id.to_owned(),
            not_before: String::new(),
        };
        let answer = self.client().get_message(with_token(TOKEN, request)).await;
        answer.map(|answer| answer.into_inner().message.expect("a message"))
    }

    /// Waits until a message is as it should be, and returns it.
    pub(crate) async fn until(
        &self,
        message_id: &str,
        what: &str,
        is_so: impl Fn(&api::Message) -> bool,
    ) -> api::Message {
        eventually(what, async || match self.try_get(message_id).await {
            Ok(message) if is_so(&message) => Ok(message),
            Ok(message) => Err(format!("{message:#?}")),
            Err(status) => Err(status.to_string()),
        })
        .await
    }

    pub(crate) async fn until_state(
        &self,
        message_id: &str,
        state: api::MessageState,
    ) -> api::Message {
        self.until(message_id, state.as_str_name(), |message| {
            message.state() == state
        })
        .await
    }

    pub(crate) async fn until_accepted(&self, message_id: &str) -> api::Message {
        self.until_state(message_id, api::MessageState::Accepted)
            .await
    }

    /// Waits until a message is over, and returns it.
    pub(crate) async fn until_ended(&self, message_id: &str) -> api::Message {
        self.until(message_id, "the end is recorded", |message| {
            message.state() == api::MessageState::Ended && message.end_time.is_some()
        })
        .await
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.end();
    }
}

/// A call by whoever holds a token.
pub(crate) fn with_token<T>(token: &str, body: T) -> Request<T> {
    let mut request = Request::new(body);
    let value = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}

fn api_tokens() -> Tokens {
    let tokens: Vec<TokenConfig> = [
        ("default", "default", "'read', 'send'"),
        ("reader", "default", "'read'"),
        ("other", "other", "'read', 'send'"),
        ("all", "*", "'read', 'send'"),
    ]
    .map(|(name, brand, scopes)| {
        let text = format!(
            "name = '{name}'\ntoken = 'token-{name}'\nbrand = '{brand}'\nscopes = [{scopes}]"
        );
        toml::from_str(&text).expect("a token")
    })
    .into();
    Tokens::from_config(&tokens).expect("fit tokens")
}
