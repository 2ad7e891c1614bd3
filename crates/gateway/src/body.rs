//! Bodies on their way through: requests that may not be too large, answers that are watched.
//!
//! Nothing is collected here; what comes in goes out, frame by frame.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use casement_shell::grpc::refuse;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::limits::Permit;
use crate::metrics;
use crate::problem::REQUEST_TOO_LARGE;

/// The reason of the end of a stream because the gateway stops.
pub const STOPPING: &str = "STOPPING";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body that fails once it is longer than it may be.
#[derive(Debug)]
pub(crate) struct Limited {
    inner: axum::body::Body,
    left: usize,
    /// An upstream only sees that it broke off.
    was_exceeded: Flag,
}

/// What became of a body, for whoever has given it away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Limited {
    pub(crate) fn new(inner: axum::body::Body, bytes_max: usize) -> (Self, Flag) {
        let was_exceeded = Flag::default();
        let body = Self {
            inner,
            left: bytes_max,
            was_exceeded: was_exceeded.clone(),
        };
        (body, was_exceeded)
    }
}

impl Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let length = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if let Some(left) = self.left.checked_sub(length) {
            self.left = left;
            return polled.map_err(Into::into);
        }
        self.was_exceeded.set();
        Poll::Ready(Some(Err("request is too large".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request's body of which is known whether anything of it is left unread.
#[derive(Debug)]
pub(crate) struct Read {
    inner: axum::body::Body,
    is_over: Flag,
}

impl Read {
    pub(crate) fn new(inner: axum::body::Body) -> (Self, Flag) {
        let is_over = Flag::default();
        if inner.is_end_stream() {
            is_over.set();
        }
        let body = Self {
            inner,
            is_over: is_over.clone(),
        };
        (body, is_over)
    }
}

impl Body for Read {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.is_over.set();
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pub(crate) fn too_large(bytes_max: usize) -> Status {
    refuse(
        Code::ResourceExhausted,
        REQUEST_TOO_LARGE,
        format!("request is larger than {bytes_max} bytes"),
    )
}

/// A call in flight: counted when it is over, however it ends.
#[derive(Debug)]
pub(crate) struct Flight {
    protocol: &'static str,
    service: &'static str,
    since: Instant,
    code: Code,
    permit: Option<Permit>,
}

impl Flight {
    /// `service` must come from a closed set.
    pub(crate) fn begin(protocol: &'static str, service: &'static str) -> Self {
        metrics::begun();
        Self {
            protocol,
            service,
            since: Instant::now(),
            // Unless we hear otherwise, nobody waited for the answer.
            code: Code::Cancelled,
            permit: None,
        }
    }

    /// Holds the permit as long as the flight takes.
    pub(crate) fn hold(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    pub(crate) fn set_service(&mut self, service: &'static str) {
        self.service = service;
    }

    pub(crate) fn set_code(&mut self, code: Code) {
        self.code = code;
    }

    fn see(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.code = Code::from_bytes(status.as_bytes());
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        metrics::over(self.protocol, self.service, self.code, self.since.elapsed());
    }
}

/// An answer of gRPC that ends its flight when it ends, and itself when the gateway stops.
pub(crate) struct Watched {
    inner: tonic::body::Body,
    flight: Flight,
    stopped: Option<BoxFuture<'static, ()>>,
    is_over: bool,
}

impl Watched {
    /// `stopping` cuts a stream; a lone answer is awaited.
    pub(crate) fn wrap(
        response: http::Response<tonic::body::Body>,
        mut flight: Flight,
        stopping: Option<CancellationToken>,
    ) -> http::Response<axum::body::Body> {
        flight.see(response.headers());
        response.map(|inner| {
            axum::body::Body::new(Self {
                inner,
                flight,
                stopped: stopping.map(|stopping| stopping.cancelled_owned().boxed()),
                is_over: false,
            })
        })
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.flight.see(trailers);
                }
            }
            Poll::Ready(Some(Err(status))) => {
                let code = status.code();
                self.flight.set_code(code);
            }
            Poll::Ready(None) => self.is_over = true,
            Poll::Pending => {
                let has_stopped = self
                    .stopped
                    .as_mut()
                    .is_some_and(|stopped| stopped.poll_unpin(context).is_ready());
                if has_stopped {
                    self.is_over = true;
                    self.flight.set_code(Code::Unavailable);
                    return Poll::Ready(Some(Ok(trailers(&stopping()))));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pub(crate) fn stopping() -> Status {
    refuse(
        Code::Unavailable,
        STOPPING,
        "the gateway stops; begin the stream again",
    )
}

/// An answer that ends with a status even where the connection to its role breaks.
pub(crate) struct Mended {
    inner: tonic::body::Body,
    broken: Option<Status>,
}

impl Mended {
    /// `broken` is what an answer that breaks off ends with.
    pub(crate) fn wrap(
        response: http::Response<tonic::body::Body>,
        broken: Status,
    ) -> http::Response<tonic::body::Body> {
        response.map(|inner| {
            tonic::body::Body::new(Self {
                inner,
                broken: Some(broken),
            })
        })
    }
}

impl Body for Mended {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.broken.is_none() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Err(error))) = &polled {
            tracing::debug!(%error, "answer broke off");
            return Poll::Ready(self.broken.take().map(|status| Ok(trailers(&status))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    status
        .add_header(&mut trailers)
        .expect("a message of plain letters is a header");
    Frame::trailers(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_of_a_body_is_known() {
        let (_, is_over) = Read::new(axum::body::Body::empty());
        assert!(is_over.get(), "there was nothing to read");
        let (body, is_over) = Read::new(axum::body::Body::from("hello"));
        assert!(!is_over.get());
        axum::body::to_bytes(axum::body::Body::new(body), usize::MAX)
            .await
            .unwrap();
        assert!(is_over.get());
    }

    #[tokio::test]
    async fn a_body_breaks_off_at_its_limit() {
        for (bytes_max, fits) in [(5, true), (4, false)] {
            let (body, was_exceeded) = Limited::new(axum::body::Body::from("hello"), bytes_max);
            let read = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await;
            assert_eq!(read.is_ok(), fits);
            assert_eq!(was_exceeded.get(), !fits);
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_still_ends_with_a_status() {
        let frames = futures::stream::iter([
            Ok(Bytes::from_static(b"half")),
            Err(std::io::Error::other("connection reset")),
        ]);
        let body = tonic::body::Body::new(axum::body::Body::from_stream(frames));
        let broken = Status::unavailable("gone");
        let response = Mended::wrap(http::Response::new(body), broken);
        let mut body = response.into_body();
        let mut next = async || std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "half");
        let last = next().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(last["grpc-status"], "14");
        assert!(next().await.is_none());
    }
}
