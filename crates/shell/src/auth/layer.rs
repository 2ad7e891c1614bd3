//! The layer in front of services that lets only known tokens through.
//!
//! It decides who is calling, not what they may do.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::refusals::{REFUSED_HEADER, handed_on};
use super::{Caller, MISSING_SCOPE, Tokens, UNAUTHENTICATED_TOKEN, unauthenticated};
use crate::grpc::refuse;

/// The one service that answers without a token, so that whoever runs the process can ask.
const OPEN_SERVICE: &str = "/grpc.health.v1.Health/";

/// Puts [`AuthLayer`] in front of gRPC services.
pub fn protect(routes: Routes, tokens: Tokens) -> Routes {
    Routes::from(routes.into_axum_router().layer(AuthLayer::new(tokens)))
}

/// Lets calls with a known token through, with a [`Caller`] among the request's extensions, and
/// answers the others itself: gRPC with a status, anything else with a JSON body.
#[derive(Debug, Clone)]
pub struct AuthLayer {
    tokens: Arc<Tokens>,
}

impl AuthLayer {
    /// Accepts these tokens.
    pub fn new(tokens: Tokens) -> Self {
        Self {
            tokens: Arc::new(tokens),
        }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService {
            tokens: Arc::clone(&self.tokens),
            inner,
        }
    }
}

/// What [`AuthLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct AuthService<S> {
    tokens: Arc<Tokens>,
    inner: S,
}

impl<S, B> Service<Request<B>> for AuthService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Whatever is in front of us says who is calling only through a token.
        request.extensions_mut().remove::<Caller>();
        let token = bearer(request.headers());
        if let Some(caller) = token.and_then(|token| self.tokens.authenticate(token)) {
            // A gateway refused it already: here it is counted, and nothing else.
            if request.headers().contains_key(REFUSED_HEADER) {
                let status = missing_scope();
                self.tokens.denied(&caller, request.uri().path(), &status);
                return std::future::ready(Ok(status.into_http())).boxed();
            }
            request.extensions_mut().insert(caller.clone());
            let path = request.uri().path().to_owned();
            let tokens = Arc::clone(&self.tokens);
            let calling = self.inner.call(request);
            return async move {
                let response = calling.await?;
                tokens.answered(&caller, &path, response.headers());
                Ok(response)
            }
            .boxed();
        }
        if !request.uri().path().starts_with(OPEN_SERVICE) {
            match handed_on(request.headers()) {
                Some((entrance, reason, count)) => {
                    self.tokens.refused_before(entrance, reason, count);
                }
                None => self.tokens.refused(token),
            }
            return std::future::ready(Ok(refused(request.headers()))).boxed();
        }
        self.inner.call(request).boxed()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn missing_scope() -> Status {
    let text = "the gateway refused this call";
    refuse(Code::PermissionDenied, MISSING_SCOPE, text)
}

fn refused(headers: &HeaderMap) -> Response<Body> {
    let is_grpc = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    let status = unauthenticated();
    if is_grpc {
        return status.into_http();
    }
    let body = serde_json::json!({
        "code": "UNAUTHENTICATED",
        "reason": UNAUTHENTICATED_TOKEN,
        "message": status.message(),
    });
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header(CONTENT_TYPE, "application/json")
        .header(WWW_AUTHENTICATE, "Bearer")
        .body(Body::from(body.to_string()))
        .expect("a response of constant headers")
}
