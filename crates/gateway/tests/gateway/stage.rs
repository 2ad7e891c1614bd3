//! A gateway with servers behind it: small services of the real protocol, tokens, a clock.
//!
//! The services answer with what reached them; they know nothing of windows or archives.

use casement_gateway::{Area, Config, Gateway, Parts, Upstream, Upstreams};
use casement_proto::audit::v1 as audit;
use casement_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use casement_proto::audit::v1::{
    ArchivedEvent, ExportArchiveRequest, ExportArchiveResponse, ListChainsRequest,
    ListChainsResponse, ListEventsRequest, ListEventsResponse, ListSignedHeadsRequest,
    ListSignedHeadsResponse, VerifyChainRequest, VerifyChainResponse,
};
use casement_proto::events::v1::WindowState;
use casement_proto::figures::v1::figures_service_server::FiguresServiceServer;
use casement_proto::media::v1::media_service_server::{MediaService, MediaServiceServer};
use casement_proto::media::v1::{
    DownloadMediaRequest, DownloadMediaResponse, GetMediaRequest, GetMediaResponse, Media,
    download_media_response,
};
use casement_proto::repair::v1::repair_service_server::RepairServiceServer;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_proto::window::v1::window_service_server::{WindowService, WindowServiceServer};
use casement_proto::window::v1::{
    BatchGetWindowsRequest, BatchGetWindowsResponse, ExplainWindowRequest, ExplainWindowResponse,
    GetWindowRequest, GetWindowResponse, WatchWindowsRequest, WatchWindowsResponse, Window,
    WindowResult, customer_ref, window_result,
};
use casement_shell::ManualClock;
use casement_shell::auth::{Scope, TokenConfig, Tokens, protect, require};
use casement_shell::grpc::bad_fields;
use casement_shell::health::{Latch, Readiness};
use casement_testkit::{Proxy, eventually};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::desk::Desk;

/// A number whose window nobody may ask for.
pub(crate) const REFUSED: &str = "+0";

/// A number whose window is told once the gate opens.
pub(crate) const HELD: &str = "+1";

/// Where a held call waits.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Gate {
    fn new() -> Self {
        Self {
            open: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        }
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns once so many calls wait.
    pub(crate) async fn holds(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting >= count).await.unwrap();
    }

    async fn pass(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

#[derive(Debug)]
struct Windows {
    gate: Gate,
}

#[tonic::async_trait]
impl WindowService for Windows {
    async fn get_window(
        &self,
        request: Request<GetWindowRequest>,
    ) -> Result<Response<GetWindowResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let probe = request
            .metadata()
            .get("x-probe")
            .map_or("", |probe| probe.to_str().unwrap())
            .to_owned();
        let request = request.into_inner();
        if request.number == REFUSED {
            return Err(bad_fields([
                ("number", "not E.164"),
                ("customer", "is required"),
            ]));
        }
        if request.number == HELD {
            self.gate.pass().await;
        }
        let customer_id = match request.customer.and_then(|customer| customer.customer) {
            Some(
                customer_ref::Customer::CustomerId(id)
                | customer_ref::Customer::To(id)
                | customer_ref::Customer::Recipient(id),
            ) => id,
            None => String::new(),
        };
        let window = Window {
            number: request.number,
            customer_id,
            state: WindowState::Open.into(),
            expire_time: Some(prost_types::Timestamp {
                seconds: 1_767_323_045,
                nanos: 0,
            }),
            position: caller.name,
            window_id: probe,
            ..Window::default()
        };
        let mut response = Response::new(GetWindowResponse {
            window: Some(window),
        });
        let metadata = response.metadata_mut();
        metadata.insert("x-answered-by", "windows".parse().unwrap());
        Ok(response)
    }

    type WatchWindowsStream =
        futures::stream::Iter<std::vec::IntoIter<Result<WatchWindowsResponse, Status>>>;

    async fn watch_windows(
        &self,
        request: Request<WatchWindowsRequest>,
    ) -> Result<Response<Self::WatchWindowsStream>, Status> {
        require(&request, Scope::Read)?;
        let request = request.into_inner();
        let positions = request.numbers.into_iter().chain([request.after_position]);
        let answers = positions.map(|position| {
            Ok(WatchWindowsResponse {
                position,
                ..WatchWindowsResponse::default()
            })
        });
        let answers: Vec<_> = answers.collect();
        Ok(Response::new(futures::stream::iter(answers)))
    }

    async fn explain_window(
        &self,
        request: Request<ExplainWindowRequest>,
    ) -> Result<Response<ExplainWindowResponse>, Status> {
        require(&request, Scope::Read)?;
        let window = Window {
            number: request.into_inner().number,
            ..Window::default()
        };
        Ok(Response::new(ExplainWindowResponse {
            window: Some(window),
            ..ExplainWindowResponse::default()
        }))
    }

    async fn batch_get_windows(
        &self,
        request: Request<BatchGetWindowsRequest>,
    ) -> Result<Response<BatchGetWindowsResponse>, Status> {
        require(&request, Scope::Read)?;
        let results = request
            .into_inner()
            .requests
            .into_iter()
            .map(|request| WindowResult {
                result: Some(window_result::Result::Error(request.number)),
            })
            .collect();
        Ok(Response::new(BatchGetWindowsResponse { results }))
    }
}

#[derive(Debug)]
struct Audit;

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        require(&request, Scope::Audit)?;
        let request = request.into_inner();
        let event = ArchivedEvent {
            stream: request.stream,
            sequence: u64::MAX,
            payload: vec![0xff],
            ..ArchivedEvent::default()
        };
        Ok(Response::new(ListEventsResponse {
            events: vec![event; usize::try_from(request.page_size).unwrap()],
            next_page_token: request.page_token,
        }))
    }

    async fn verify_chain(
        &self,
        request: Request<VerifyChainRequest>,
    ) -> Result<Response<VerifyChainResponse>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(VerifyChainResponse::default()))
    }

    async fn list_chains(
        &self,
        request: Request<ListChainsRequest>,
    ) -> Result<Response<ListChainsResponse>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(ListChainsResponse::default()))
    }

    async fn list_signed_heads(
        &self,
        request: Request<ListSignedHeadsRequest>,
    ) -> Result<Response<ListSignedHeadsResponse>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(ListSignedHeadsResponse::default()))
    }

    type ExportArchiveStream =
        futures::stream::BoxStream<'static, Result<ExportArchiveResponse, Status>>;

    async fn export_archive(
        &self,
        request: Request<ExportArchiveRequest>,
    ) -> Result<Response<Self::ExportArchiveStream>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(Box::pin(futures::stream::empty())))
    }

    type ExportCustomerStream =
        futures::stream::BoxStream<'static, Result<audit::ExportCustomerResponse, Status>>;

    async fn export_customer(
        &self,
        request: Request<audit::ExportCustomerRequest>,
    ) -> Result<Response<Self::ExportCustomerStream>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(Box::pin(futures::stream::empty())))
    }

    async fn list_acts(
        &self,
        request: Request<audit::ListActsRequest>,
    ) -> Result<Response<audit::ListActsResponse>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(audit::ListActsResponse::default()))
    }

    async fn erase_customer(
        &self,
        request: Request<audit::EraseCustomerRequest>,
    ) -> Result<Response<audit::EraseCustomerResponse>, Status> {
        require(&request, Scope::Erase)?;
        Ok(Response::new(audit::EraseCustomerResponse::default()))
    }

    async fn get_read_models(
        &self,
        request: Request<audit::GetReadModelsRequest>,
    ) -> Result<Response<audit::GetReadModelsResponse>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(audit::GetReadModelsResponse::default()))
    }

    async fn rebuild_read_models(
        &self,
        request: Request<audit::RebuildReadModelsRequest>,
    ) -> Result<Response<audit::RebuildReadModelsResponse>, Status> {
        require(&request, Scope::Audit)?;
        Ok(Response::new(audit::RebuildReadModelsResponse::default()))
    }

    async fn get_erasure(
        &self,
        request: Request<audit::GetErasureRequest>,
    ) -> Result<Response<audit::GetErasureResponse>, Status> {
        require(&request, Scope::Erase)?;
        Ok(Response::new(audit::GetErasureResponse::default()))
    }

    async fn list_erasures(
        &self,
        request: Request<audit::ListErasuresRequest>,
    ) -> Result<Response<audit::ListErasuresResponse>, Status> {
        require(&request, Scope::Erase)?;
        Ok(Response::new(audit::ListErasuresResponse::default()))
    }
}

/// A file that is handed out whole.
pub(crate) const WHOLE: &str = "whole";

/// A file that breaks off in the middle.
pub(crate) const BROKEN: &str = "broken";

/// The file's bytes.
pub(crate) fn file() -> Vec<u8> {
    (0..=250_u8).cycle().take(600_000).collect()
}

#[derive(Debug)]
struct Files;

type Pieces = futures::stream::BoxStream<'static, Result<DownloadMediaResponse, Status>>;

#[tonic::async_trait]
impl MediaService for Files {
    type DownloadMediaStream = Pieces;

    async fn get_media(
        &self,
        request: Request<GetMediaRequest>,
    ) -> Result<Response<GetMediaResponse>, Status> {
        require(&request, Scope::Read)?;
        let media = Media {
            media_id: request.into_inner().media_id,
            ..Media::default()
        };
        Ok(Response::new(GetMediaResponse { media: Some(media) }))
    }

    async fn download_media(
        &self,
        request: Request<DownloadMediaRequest>,
    ) -> Result<Response<Pieces>, Status> {
        use download_media_response::Part;
        require(&request, Scope::Read)?;
        let is_whole = match request.into_inner().media_id.as_str() {
            WHOLE => true,
            BROKEN => false,
            _ => return Err(Status::failed_precondition("it is not stored")),
        };
        let bytes = file();
        let media = Media {
            mime_type: "image/png".to_owned(),
            filename: "a b.png".to_owned(),
            size_bytes: bytes.len() as u64,
            sha256: "ab".to_owned(),
            ..Media::default()
        };
        let chunks = bytes.chunks(100_000).map(<[u8]>::to_vec);
        let chunks = chunks.map(|chunk| Part::Chunk(chunk.into()));
        let parts = std::iter::once(Part::Media(media)).chain(chunks);
        let mut parts: Vec<_> = parts
            .map(|part| Ok(DownloadMediaResponse { part: Some(part) }))
            .collect();
        if !is_whole {
            parts.truncate(3);
            parts.push(Err(Status::data_loss("it is damaged")));
        }
        let pieces: Pieces = Box::pin(futures::stream::iter(parts));
        Ok(Response::new(pieces))
    }
}

pub(crate) fn tokens() -> Tokens {
    let token = |name: &str, scopes: &[&str], brand: &str| -> TokenConfig {
        serde_json::from_value(serde_json::json!({
            "name": name, "token": format!("{name}-token"), "scopes": scopes, "brand": brand,
        }))
        .unwrap()
    };
    Tokens::from_config(&[
        token("reader", &["read"], "shop"),
        token("auditor", &["read", "audit"], "bank"),
        token(
            "boss",
            &["read", "send", "colleague", "admin", "audit", "erase"],
            "*",
        ),
    ])
    .unwrap()
}

/// The services, as a role wires them.
fn services(gate: &Gate, desk: &Desk) -> Routes {
    let windows = WindowServiceServer::new(Windows { gate: gate.clone() });
    Routes::new(windows)
        .add_service(AuditServiceServer::new(Audit))
        .add_service(FiguresServiceServer::new(desk.clone()))
        .add_service(RepairServiceServer::new(desk.clone()))
        .add_service(MediaServiceServer::new(Files))
}

/// A gateway, and what a test does to what is around it.
pub(crate) struct Stage {
    pub(crate) url: String,
    /// Where the console is.
    pub(crate) console: String,
    pub(crate) gate: Gate,
    pub(crate) desk: Desk,
    pub(crate) clock: ManualClock,
    pub(crate) readiness: Readiness,
    /// The role's own readiness.
    pub(crate) role: Latch,
    /// Between gateway and role.
    pub(crate) wire: Proxy,
    pub(crate) stopping: CancellationToken,
    pub(crate) serving: JoinHandle<anyhow::Result<()>>,
    role_stopping: CancellationToken,
}

impl Stage {
    /// A gateway in front of one role that serves windows and the archive.
    pub(crate) async fn remote(config: Config) -> Self {
        Self::start(config, false).await
    }

    /// A gateway in the process of the services.
    pub(crate) async fn local(config: Config) -> Self {
        Self::start(config, true).await
    }

    async fn start(mut config: Config, is_local: bool) -> Self {
        let gate = Gate::new();
        let desk = Desk::default();
        let role_readiness = Readiness::new();
        let role = role_readiness.latch("log");
        role.release();
        let role_stopping = CancellationToken::new();
        let names: Vec<&'static str> = [Area::Windows, Area::Archive, Area::Media]
            .into_iter()
            .flat_map(|area| area.services().iter().copied())
            .collect();
        let (health, keep) =
            casement_shell::health::grpc(&role_readiness, &names, role_stopping.clone());
        tokio::spawn(keep);
        let routes = protect(services(&gate, &desk).add_service(health), tokens());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Proxy::start(listener.local_addr().unwrap().to_string()).await;
        tokio::spawn(casement_shell::grpc::serve(
            listener,
            routes,
            role_stopping.clone(),
        ));

        config.upstreams.windows = wire.url("http");
        config.upstreams.archive = wire.url("http");
        config.upstreams.media = wire.url("http");
        let upstreams = if is_local {
            // Neither tokens nor health: the gateway has seen to both.
            let routes = services(&gate, &desk);
            Upstreams::default()
                .with(Area::Windows, Upstream::Local(routes.clone()))
                .with(Area::Archive, Upstream::Local(routes.clone()))
                .with(Area::Media, Upstream::Local(routes))
        } else {
            Upstreams::from_config(&config).unwrap()
        };
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let readiness = Readiness::new();
        let stopping = CancellationToken::new();
        let parts = Parts {
            upstreams,
            tokens: tokens(),
            clock: clock.shared(),
            readiness: readiness.clone(),
            stopping: stopping.clone(),
        };
        let gateway: Gateway = casement_gateway::start(&config, parts).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let console = format!("http://{}", door.local_addr().unwrap());
        tokio::spawn(gateway.serve_console(door));
        let serving = tokio::spawn(gateway.serve(listener));
        let ready = readiness.clone();
        eventually("the gateway is ready", async || ready.is_ready()).await;
        Self {
            url,
            console,
            gate,
            desk,
            clock,
            readiness,
            role,
            wire,
            stopping,
            serving,
            role_stopping,
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub(crate) async fn windows(
        &self,
        token: &'static str,
    ) -> WindowServiceClient<InterceptedService<Channel, Bearer>> {
        WindowServiceClient::with_interceptor(self.channel().await, Bearer(token))
    }

    pub(crate) fn http() -> reqwest::Client {
        casement_shell::http::client(&casement_shell::http::ClientOptions::default()).unwrap()
    }

    /// Calls by HTTP+JSON with a token.
    pub(crate) async fn get(&self, token: &str, path: &str) -> reqwest::Response {
        Self::http()
            .get(format!("{}{path}", self.url))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    /// Calls by HTTP+JSON with a token and a body.
    pub(crate) async fn post(&self, token: &str, path: &str, body: &str) -> reqwest::Response {
        Self::http()
            .post(format!("{}{path}", self.url))
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.role_stopping.cancel();
    }
}

/// Adds a token to each call; none if empty.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(pub(crate) &'static str);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.0.is_empty() {
            let value = format!("Bearer {}", self.0).parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// Asks for the window of a number.
pub(crate) fn ask(number: &str) -> GetWindowRequest {
    GetWindowRequest {
        number: number.to_owned(),
        ..GetWindowRequest::default()
    }
}
