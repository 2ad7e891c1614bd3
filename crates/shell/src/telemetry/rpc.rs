//! gRPC calls as spans and metrics.
//!
//! A call that was not let in, or that nothing serves, is told without its name: its path is its
//! caller's to invent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tonic::Code;
use tonic::service::Routes;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field};

use super::metrics::{Metric, describe};
use super::trace::{parent_from, traceparent_of};
use crate::grpc::code_name;

/// Services of the protocol's own; asked every few seconds, they would drown the others.
const OF_THE_PROTOCOL: &str = "grpc.";

/// Longest name of a method that is told.
const METHOD_LEN_MAX: usize = 64;

/// What stands for the name of a call that has none here.
const UNKNOWN: &str = "unknown";

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_grpc_requests_total",
        "gRPC calls that ended, by service, method and code; `unknown` for a call that was not let in or that nothing serves.",
    )
    .with(&[&[("service", UNKNOWN), ("method", UNKNOWN), ("code", "UNIMPLEMENTED")]]),
    Metric::histogram(
        "casement_grpc_request_seconds",
        "How long gRPC calls took to their end, by service and method.",
    )
    .with(&[&[("service", UNKNOWN), ("method", UNKNOWN)]]),
];

/// Makes each call a span, child of the caller's, and counts it when it is over.
pub fn observe(routes: Routes) -> Routes {
    describe(METRICS);
    Routes::from(routes.into_axum_router().layer(Observe))
}

#[derive(Debug, Clone, Copy)]
struct Observe;

impl<S> Layer<S> for Observe {
    type Service = Observing<S>;

    fn layer(&self, inner: S) -> Observing<S> {
        Observing { inner }
    }
}

#[derive(Debug, Clone)]
struct Observing<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Observing<S>
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
        let (service, method) = name(request.uri().path());
        if service.starts_with(OF_THE_PROTOCOL) {
            return self.inner.call(request).boxed();
        }
        let span = span(&service, &method, request.headers());
        // Whoever looks at the header finds the trace, too, and not its beginning elsewhere.
        if let Some(value) = traceparent_of(&span).and_then(|text| text.parse().ok()) {
            request.headers_mut().insert("traceparent", value);
        }
        let call = Call {
            service,
            method,
            since: Instant::now(),
            // Unless we hear otherwise, nobody waited for the answer.
            code: Code::Cancelled,
            span: span.clone(),
        };
        let answered = span.in_scope(|| self.inner.call(request));
        async move {
            let mut call = call;
            let response = answered.await?;
            call.see(response.headers());
            Ok(response.map(|inner| Body::new(Watched { inner, call })))
        }
        .instrument(span)
        .boxed()
    }
}

fn name(path: &str) -> (String, String) {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let (service, method) = parts.unwrap_or((UNKNOWN, UNKNOWN));
    (service.to_owned(), method.to_owned())
}

/// The name is given once the call turns out to be of a method there is.
fn span(service: &str, method: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "rpc",
        otel.name = UNKNOWN,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system = "grpc",
        rpc.service = field::Empty,
        rpc.method = field::Empty,
        rpc.grpc.status_code = field::Empty,
    );
    // Letters name a method; whatever else stands there is somebody's own.
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if service.starts_with("casement.") && method.len() <= METHOD_LEN_MAX && is_name(method) {
        span.record("otel.name", format!("{service}/{method}"));
        span.record("rpc.service", service);
        span.record("rpc.method", method);
    }
    let parent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    if let Some(parent) = parent {
        parent_from(&span, parent);
    }
    span
}

/// A call until it is over, however it ends.
struct Call {
    service: String,
    method: String,
    since: Instant,
    code: Code,
    span: Span,
}

impl Call {
    fn see(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let is_known = !matches!(self.code, Code::Unauthenticated | Code::Unimplemented);
        let (service, method) = if is_known {
            (
                std::mem::take(&mut self.service),
                std::mem::take(&mut self.method),
            )
        } else {
            (UNKNOWN.to_owned(), UNKNOWN.to_owned())
        };
        self.span
            .record("rpc.grpc.status_code", i64::from(i32::from(self.code)));
        // As the conventions have it: on a server, what the caller did wrong is no error.
        if matches!(
            self.code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ) {
            self.span.record("otel.status_code", "ERROR");
        }
        let took: Duration = self.since.elapsed();
        metrics::counter!(
            "casement_grpc_requests_total",
            "service" => service.clone(), "method" => method.clone(), "code" => code_name(self.code)
        )
        .increment(1);
        metrics::histogram!(
            "casement_grpc_request_seconds", "service" => service, "method" => method
        )
        .record(took.as_secs_f64());
    }
}

/// An answer that ends its call when it ends.
struct Watched {
    inner: Body,
    call: Call,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let span = self.call.span.clone();
        let _entered = span.enter();
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.see(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn a_call_that_nothing_serves_is_counted_without_its_name() {
        Metrics::install();
        let routes = observe(Routes::default());
        let request = Request::builder()
            .uri("/casement.x.v1.XService/Secret")
            .header("content-type", "application/grpc")
            .body(tonic::body::Body::empty())
            .unwrap();
        let response = routes.oneshot(request).await.unwrap();
        drop(response);
        let page = Metrics::install().render();
        let line = r#"casement_grpc_requests_total{service="unknown",method="unknown",code="UNIMPLEMENTED"} 1"#;
        assert!(page.contains(line), "{page}");
        assert!(!page.contains("Secret"), "{page}");
    }
}
