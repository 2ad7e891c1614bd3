//! The API as a caller of the console sees it: through the same front as every other call, so that
//! token, scopes and limits are checked and everything is counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_proto::account::v1::consent_service_client::ConsentServiceClient;
use casement_proto::account::v1::template_service_client::TemplateServiceClient;
use casement_proto::audit::v1::audit_service_client::AuditServiceClient;
use casement_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use casement_proto::figures::v1::figures_service_client::FiguresServiceClient;
use casement_proto::media::v1::media_service_client::MediaServiceClient;
use casement_proto::message::v1::message_query_service_client::MessageQueryServiceClient;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_proto::repair::v1::repair_service_client::RepairServiceClient;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_shell::grpc::RESPONSE_BYTES_MAX;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, Version};
use tower::Service;

use crate::front::{self, Front};

/// The way from a page to the API, without a connection.
#[derive(Clone)]
pub(super) struct Wire {
    front: Arc<Front>,
    authorization: HeaderValue,
}

impl Service<Request<tonic::body::Body>> for Wire {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let mut request = request.map(Body::new);
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        let front = self.front.clone();
        Box::pin(async move { Ok(front::answer(State(front), request).await) })
    }
}

/// Clients of the services, with a caller's token.
#[derive(Clone)]
pub(super) struct Api {
    wire: Wire,
}

impl Api {
    pub(super) fn new(front: Arc<Front>, token: &str) -> Self {
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .expect("who signs in has a token of visible characters");
        authorization.set_sensitive(true);
        Self {
            wire: Wire {
                front,
                authorization,
            },
        }
    }
}

impl Api {
    /// Calls a method whose answer is a stream, by its full name, and returns it as lines of JSON, or
    /// as a problem.
    pub(super) async fn lines(&self, method: &str, request: &serde_json::Value) -> Response<Body> {
        let call = Request::builder()
            .method(Method::POST)
            .uri(format!("/{method}"))
            .header(AUTHORIZATION, self.wire.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(request.to_string()))
            .expect("a name of a method is a path");
        front::answer(State(self.wire.front.clone()), call).await
    }
}

/// One method for each client.
macro_rules! clients {
    ($($name:ident: $client:ident),* $(,)?) => {
        impl Api {
            $(
                pub(super) fn $name(&self) -> $client<Wire> {
                    $client::new(self.wire.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX)
                }
            )*
        }
    };
}

clients! {
    accounts: AccountServiceClient,
    audit: AuditServiceClient,
    consents: ConsentServiceClient,
    conversations: ConversationServiceClient,
    figures: FiguresServiceClient,
    media: MediaServiceClient,
    message_queries: MessageQueryServiceClient,
    messages: MessageServiceClient,
    repair: RepairServiceClient,
    templates: TemplateServiceClient,
    windows: WindowServiceClient,
}
