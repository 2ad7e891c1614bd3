//! An HTTP server that strangers may reach: bounded connections, bounded time for a request's
//! head, TLS if wanted, and the caller's address and certificate beside each request.
//!
//! It speaks HTTP/1.1 only, so that a connection carries one request at a time. Limits on bodies
//! and on requests are for the router's owner.

mod incoming;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::tls::{self, Tls};

pub use incoming::{Connection, Door};

/// Pause after the system had no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How long a connection too many may take to hear of it.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// Largest head of a request, its line and headers together.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What a connection too many is told.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// Who is calling, as an extension of each request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The names in its certificate, if it presented one that an authority of ours has signed.
    pub certificate: Option<Arc<[String]>>,
}

/// What a server allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// How long the head of a request may take, counted from when the connection was made or had
    /// its last answer; so idle connections are closed after it, too.
    pub header_timeout: Duration,
}

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub listener: TcpListener,
    /// What it serves.
    pub router: Router,
    /// Without it, plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// What it allows.
    pub limits: Limits,
}

impl Server {
    /// A server behind a door.
    pub fn behind(door: Door, router: Router) -> Self {
        let Door {
            listener,
            tls,
            limits,
        } = door;
        Self {
            listener,
            router,
            tls,
            limits,
        }
    }

    /// Serves until `stopping`, then lets requests in flight end.
    pub async fn run(self, stopping: CancellationToken) {
        let Self {
            listener,
            router,
            tls,
            limits,
        } = self;
        let room = Arc::new(Semaphore::new(limits.connections));
        let connections = TaskTracker::new();
        let watching = tls
            .as_ref()
            .map(|tls| tokio::spawn(Arc::clone(tls).watch(stopping.clone())));
        while let Some((stream, address)) = accept(&listener, &stopping).await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                count_refused("too_many");
                connections.spawn(turn_away(stream, tls.is_some()));
                continue;
            };
            let connection = Talk {
                router: router.clone(),
                limits,
                stopping: stopping.clone(),
                _place: place,
            };
            let tls = tls.clone();
            connections.spawn(async move {
                match tls {
                    None => connection.plain(stream, address).await,
                    Some(tls) => connection.secured(stream, address, &tls).await,
                }
            });
        }
        drop(listener);
        connections.close();
        connections.wait().await;
        if let Some(watching) = watching {
            // It ends with the stop; that it panicked has been told.
            let _ = watching.await;
        }
    }
}

/// Returns the next connection; `None` at the stop.
async fn accept(
    listener: &TcpListener,
    stopping: &CancellationToken,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                // Without it, an answer may wait for an acknowledgement.
                let _ = accepted.0.set_nodelay(true);
                return Some(accepted);
            }
            // That one connection broke.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(error = %error, "connections cannot be taken");
                tokio::select! {
                    () = stopping.cancelled() => return None,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

async fn turn_away(mut stream: TcpStream, is_secured: bool) {
    // A client that waits for a handshake would not understand.
    if !is_secured {
        let _ = timeout(FAREWELL_MAX, async {
            stream.write_all(TOO_MANY).await?;
            stream.shutdown().await
        })
        .await;
    }
}

fn count_refused(reason: &'static str) {
    metrics::counter!("casement_http_connections_refused_total", "reason" => reason).increment(1);
}

struct Talk {
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Talk {
    async fn plain(self, stream: TcpStream, address: SocketAddr) {
        let peer = Peer {
            address,
            certificate: None,
        };
        self.serve(stream, peer).await;
    }

    async fn secured(self, stream: TcpStream, address: SocketAddr, tls: &Tls) {
        let handshake = TlsAcceptor::from(tls.current()).accept(stream);
        let handshake = tokio::select! {
            () = self.stopping.cancelled() => return,
            handshake = timeout(self.limits.header_timeout, handshake) => handshake,
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "handshake failed");
                return count_refused("handshake");
            }
            Err(_) => return count_refused("handshake_too_slow"),
        };
        let presented = stream.get_ref().1.peer_certificates();
        let certificate = presented
            .and_then(<[_]>::first)
            .map(|certificate| tls::names(certificate).into());
        let peer = Peer {
            address,
            certificate,
        };
        self.serve(stream, peer).await;
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
        let router = self.router;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            if error.is_timeout() {
                count_refused("head_too_slow");
            } else if error.is_parse() {
                count_refused("head_malformed");
            }
            tracing::debug!(error = %error, "connection ended early");
        }
    }
}

#[cfg(test)]
mod tests;
