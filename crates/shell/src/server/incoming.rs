//! Connections for servers that are not our own, such as that of gRPC: bounded in number and in
//! the time to their first bytes, with TLS if wanted, and told by whom they are.
//!
//! It serves nothing; heads of requests beyond the first bytes are for the server.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{Limits, Peer, accept, count_refused, turn_away};
use crate::tls::{self, Tls};

/// Connections that wait to be taken by their server.
const WAITING_MAX: usize = 64;

/// As many bytes tell HTTP/1.1 from HTTP/2: the length of the latter's preface.
const FIRST_BYTES: usize = 24;

/// What is allowed where nothing is said.
const LIMITS: Limits = Limits {
    connections: 8_192,
    header_timeout: Duration::from_secs(20),
};

/// A port that is bound, and how to let connections in.
#[derive(Debug)]
pub struct Door {
    /// Where it listens.
    pub listener: TcpListener,
    /// Without it, connections are not encrypted.
    pub tls: Option<Arc<Tls>>,
    /// How many, and how slow.
    pub limits: Limits,
}

/// Not encrypted, with the limits that hold where nothing is said.
impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
            limits: LIMITS,
        }
    }
}

impl Door {
    /// Lets connections in until the stop. Needs a runtime.
    pub fn open(
        self,
        stopping: CancellationToken,
    ) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
        let (taken, connections) = mpsc::channel(WAITING_MAX);
        tokio::spawn(self.keep(taken, stopping));
        futures::stream::unfold(connections, async |mut connections| {
            let connection = connections.recv().await?;
            Some((connection, connections))
        })
    }

    async fn keep(self, taken: mpsc::Sender<io::Result<Connection>>, stopping: CancellationToken) {
        let Self {
            listener,
            tls,
            limits,
        } = self;
        let room = Arc::new(Semaphore::new(limits.connections));
        if let Some(tls) = &tls {
            tokio::spawn(Arc::clone(tls).watch(stopping.clone()));
        }
        while let Some((stream, address)) = accept(&listener, &stopping).await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                count_refused("too_many");
                tokio::spawn(turn_away(stream, tls.is_some()));
                continue;
            };
            let (tls, taken, stopping) = (tls.clone(), taken.clone(), stopping.clone());
            tokio::spawn(async move {
                let greeted = tokio::select! {
                    () = stopping.cancelled() => return,
                    greeted = greet(stream, tls.as_deref(), limits.header_timeout) => greeted,
                };
                let Some((way, certificate)) = greeted else {
                    return;
                };
                let connection = Connection {
                    way,
                    peer: Peer {
                        address,
                        certificate,
                    },
                    first: Some(First {
                        bytes: 0,
                        until: Box::pin(tokio::time::sleep(limits.header_timeout)),
                    }),
                    _place: place,
                };
                // A server that has stopped takes no more.
                let _ = taken.send(Ok(connection)).await;
            });
        }
    }
}

type Greeted = (Way, Option<Arc<[String]>>);

/// Makes the handshake, if there is one to make.
async fn greet(stream: TcpStream, tls: Option<&Tls>, within: Duration) -> Option<Greeted> {
    let Some(tls) = tls else {
        return Some((Way::Plain(stream), None));
    };
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    match timeout(within, handshake).await {
        Ok(Ok(stream)) => {
            let presented = stream.get_ref().1.peer_certificates();
            let certificate = presented
                .and_then(<[_]>::first)
                .map(|certificate| tls::names(certificate).into());
            Some((Way::Secured(Box::new(stream)), certificate))
        }
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "handshake failed");
            count_refused("handshake");
            None
        }
        Err(_) => {
            count_refused("handshake_too_slow");
            None
        }
    }
}

#[derive(Debug)]
enum Way {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

/// The time that the first bytes have.
#[derive(Debug)]
struct First {
    bytes: usize,
    until: Pin<Box<Sleep>>,
}

/// A connection that was let in. It counts until it is dropped.
#[derive(Debug)]
pub struct Connection {
    way: Way,
    peer: Peer,
    first: Option<First>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.way {
            Way::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Way::Secured(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some(first) = &mut self.first {
            first.bytes += buffer.filled().len().saturating_sub(before);
            if first.bytes >= FIRST_BYTES {
                self.first = None;
            } else if read.is_pending() && first.until.as_mut().poll(context).is_ready() {
                count_refused("head_too_slow");
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.way {
            Way::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Way::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Plain(stream) => Pin::new(stream).poll_flush(context),
            Way::Secured(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Way::Secured(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.way {
            Way::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Way::Secured(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.way {
            Way::Plain(stream) => stream.is_write_vectored(),
            Way::Secured(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn door(limits: Limits) -> (Door, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door {
            limits,
            ..Door::from(listener)
        };
        (door, address)
    }

    #[tokio::test]
    async fn connections_send_at_once_and_say_whose_they_are() {
        let (door, address) = door(LIMITS).await;
        let stopping = CancellationToken::new();
        let mut incoming = Box::pin(door.open(stopping.clone()));
        let caller = TcpStream::connect(address).await.unwrap();
        let accepted = incoming.next().await.unwrap().unwrap();
        let Way::Plain(stream) = &accepted.way else {
            panic!("there is no TLS");
        };
        assert!(stream.nodelay().unwrap());
        assert_eq!(accepted.peer.address, caller.local_addr().unwrap());
        stopping.cancel();
        assert!(incoming.next().await.is_none(), "the stop ends it");
    }

    #[tokio::test]
    async fn silence_is_not_waited_for_and_a_connection_too_many_is_turned_away() {
        let limits = Limits {
            connections: 1,
            header_timeout: Duration::from_millis(50),
        };
        let (door, address) = door(limits).await;
        let mut incoming = Box::pin(door.open(CancellationToken::new()));
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut accepted = incoming.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut told = String::new();
        second.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        let error = accepted.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
