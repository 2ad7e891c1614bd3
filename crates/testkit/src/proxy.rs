//! A TCP proxy with a port that stays, to make the network between two processes fail on demand.
//!
//! It knows no protocol: it forwards, holds, loses or delays bytes and cuts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What happens to bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Forward,
    /// They wait, and arrive once the flow is forward again.
    Hold,
    /// They are lost. The connection is of no use afterwards and is cut with the next
    /// [`Proxy::forward`].
    Lose,
}

#[derive(Debug, Clone)]
struct Faults {
    backend: String,
    accept: bool,
    requests: Flow,
    replies: Flow,
    delay: Duration,
    /// Connections older than this are cut.
    severed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    request_bytes: AtomicUsize,
    reply_bytes: AtomicUsize,
    lost_bytes: AtomicUsize,
}

/// A proxy in front of one backend. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    faults: watch::Sender<Faults>,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of its own in front of `backend`, a `host:port` that need not be there yet.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start(backend: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a machine with a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (faults, watching) = watch::channel(Faults {
            backend: backend.into(),
            accept: true,
            requests: Flow::Forward,
            replies: Flow::Forward,
            delay: Duration::ZERO,
            severed: 0,
        });
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn(accept(listener, watching, Arc::clone(&counts)));
        Self {
            addr,
            faults,
            counts,
            accepting,
        }
    }

    /// Where clients connect; it never changes.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// [`Proxy::addr`] as a URL, as in `nats://127.0.0.1:4222`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }

    /// Sends new connections elsewhere.
    pub fn set_backend(&self, backend: impl Into<String>) {
        self.faults
            .send_modify(|faults| faults.backend = backend.into());
    }

    /// Ends every fault: held bytes arrive, connections are taken again. Connections that lost
    /// bytes are cut, since what follows would make no sense.
    pub fn forward(&self) {
        self.faults.send_modify(|faults| {
            faults.accept = true;
            faults.requests = Flow::Forward;
            faults.replies = Flow::Forward;
            faults.delay = Duration::ZERO;
        });
    }

    /// Cuts every connection and takes no new one.
    pub fn refuse(&self) {
        self.faults.send_modify(|faults| {
            faults.accept = false;
            faults.severed += 1;
        });
    }

    /// Cuts every connection; new ones are taken.
    pub fn sever(&self) {
        self.faults.send_modify(|faults| faults.severed += 1);
    }

    /// Requests arrive, replies wait for [`Proxy::forward`].
    pub fn hold_replies(&self) {
        self.faults
            .send_modify(|faults| faults.replies = Flow::Hold);
    }

    /// Requests arrive, replies are lost: how an acknowledgement gets lost.
    pub fn drop_replies(&self) {
        self.faults
            .send_modify(|faults| faults.replies = Flow::Lose);
    }

    /// Requests wait for [`Proxy::forward`], replies arrive.
    pub fn hold_requests(&self) {
        self.faults
            .send_modify(|faults| faults.requests = Flow::Hold);
    }

    /// Requests are lost, replies arrive.
    pub fn drop_requests(&self) {
        self.faults
            .send_modify(|faults| faults.requests = Flow::Lose);
    }

    /// Every chunk of either direction is late by `delay`.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Connections that are open now.
    pub fn connections_count(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Bytes that reached the backend.
    pub fn request_bytes(&self) -> usize {
        self.counts.request_bytes.load(Ordering::SeqCst)
    }

    /// Bytes that reached clients.
    pub fn reply_bytes(&self) -> usize {
        self.counts.reply_bytes.load(Ordering::SeqCst)
    }

    /// Bytes that were lost, both ways.
    pub fn lost_bytes(&self) -> usize {
        self.counts.lost_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks end with the sender of faults.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, faults: watch::Receiver<Faults>, counts: Arc<Counts>) {
    while let Ok((client, _)) = listener.accept().await {
        let now = faults.borrow().clone();
        if !now.accept {
            // Dropped at once: to the client, a reset.
            continue;
        }
        let faults = faults.clone();
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            // Whoever severs while we connect means us, too.
            let Ok(backend) = TcpStream::connect(&now.backend).await else {
                return;
            };
            counts.connections.fetch_add(1, Ordering::SeqCst);
            connection(client, backend, faults, now.severed, &counts).await;
            counts.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Runs until either side closes, or the connection is cut.
async fn connection(
    client: TcpStream,
    backend: TcpStream,
    faults: watch::Receiver<Faults>,
    born: u64,
    counts: &Counts,
) {
    // Without it, small requests and replies would wait for each other.
    let _ = client.set_nodelay(true);
    let _ = backend.set_nodelay(true);
    let (client_read, client_write) = client.into_split();
    let (backend_read, backend_write) = backend.into_split();
    let mut cut = faults.clone();
    let requests = Pump {
        flow: |faults| faults.requests,
        faults: faults.clone(),
        carried: &counts.request_bytes,
        lost: &counts.lost_bytes,
    };
    let replies = Pump {
        flow: |faults| faults.replies,
        faults,
        carried: &counts.reply_bytes,
        lost: &counts.lost_bytes,
    };
    tokio::select! {
        () = requests.run(client_read, backend_write) => {}
        () = replies.run(backend_read, client_write) => {}
        _ = cut.wait_for(|faults| faults.severed > born) => {}
    }
}

struct Pump<'a> {
    flow: fn(&Faults) -> Flow,
    faults: watch::Receiver<Faults>,
    carried: &'a AtomicUsize,
    lost: &'a AtomicUsize,
}

impl Pump<'_> {
    /// Ends with the connection, or when a direction that lost bytes is to be forwarded again.
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut has_lost = false;
        loop {
            let count = tokio::select! {
                read = from.read(&mut chunk) => match read {
                    Ok(count) if count > 0 => count,
                    _ => return,
                },
                forward = self.faults.wait_for(|faults| (self.flow)(faults) == Flow::Forward), if has_lost => {
                    drop(forward);
                    return;
                }
            };
            let delay = self.faults.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let flow = match self
                .faults
                .wait_for(|faults| (self.flow)(faults) != Flow::Hold)
                .await
            {
                Ok(faults) => (self.flow)(&faults),
                Err(_) => return,
            };
            match flow {
                Flow::Forward if has_lost => return,
                Flow::Forward | Flow::Hold => {
                    if to.write_all(&chunk[..count]).await.is_err() {
                        return;
                    }
                    self.carried.fetch_add(count, Ordering::SeqCst);
                }
                Flow::Lose => {
                    has_lost = true;
                    self.lost.fetch_add(count, Ordering::SeqCst);
                }
            }
        }
    }
}
