//! Claims about connections: who calls is known, slow heads and too many are turned away.

use axum::Extension;
use axum::routing::get;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let who = async |Extension(peer): Extension<Peer>| peer.address.to_string();
        let server = Server {
            listener,
            router: Router::new().route("/", get(who)),
            tls: None,
            limits,
        };
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(server.run(stopping.clone()));
        Self {
            address,
            stopping,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.serving.await.unwrap();
    }
}

const ROOMY: Limits = Limits {
    connections: 16,
    header_timeout: Duration::from_mins(1),
};

/// Reads until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_request_knows_where_it_comes_from() {
    let running = Running::start(ROOMY).await;
    let mut stream = running.connect().await;
    let own = stream.local_addr().unwrap().to_string();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&own), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let running = Running::start(Limits {
        header_timeout: Duration::from_millis(50),
        ..ROOMY
    })
    .await;
    let mut silent = running.connect().await;
    assert_eq!(rest(&mut silent).await, "", "closed without a word");
    let mut slow = running.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
    let answer = rest(&mut slow).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_room_comes_back() {
    let running = Running::start(Limits {
        connections: 1,
        ..ROOMY
    })
    .await;
    let mut first = running.connect().await;
    // Answered: so it is the one that holds the place.
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 15];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    let mut second = running.connect().await;
    let answer = rest(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after"), "{answer}");
    drop(first);
    loop {
        let mut third = running.connect().await;
        // The server may have closed it already.
        let _ = third
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        let mut answer = Vec::new();
        let _ = third.read_to_end(&mut answer).await;
        if answer.starts_with(b"HTTP/1.1 200 ") {
            break;
        }
    }
    running.stop().await;
}
