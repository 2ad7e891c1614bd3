//! Claims about the fault proxy.

use std::time::Duration;

use casement_testkit::{Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// A backend that answers every chunk with itself.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = peer.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    addr.to_string()
}

async fn says(client: &mut TcpStream, text: &str) -> std::io::Result<String> {
    client.write_all(text.as_bytes()).await?;
    heard(client, text.len()).await
}

async fn heard(client: &mut TcpStream, length: usize) -> std::io::Result<String> {
    let mut answer = vec![0; length];
    client.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether the peer has closed, or reset.
async fn is_cut(client: &mut TcpStream) -> bool {
    !matches!(client.read(&mut [0; 16]).await, Ok(count) if count > 0)
}

#[tokio::test]
async fn bytes_pass_both_ways_until_the_connections_are_cut() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut client, "hello").await.unwrap(), "hello");
    assert_eq!((proxy.request_bytes(), proxy.reply_bytes()), (5, 5));
    proxy.sever();
    assert!(is_cut(&mut client).await);
    let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut next, "again").await.unwrap(), "again");
    eventually("only the new connection is open", async || {
        proxy.connections_count() == 1
    })
    .await;
}

#[tokio::test]
async fn a_refusing_proxy_takes_no_connection_until_it_forwards() {
    let proxy = Proxy::start(echo().await).await;
    let mut before = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut before, "x").await.unwrap(), "x");
    proxy.refuse();
    assert!(is_cut(&mut before).await);
    let mut refused = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_cut(&mut refused).await);
    proxy.forward();
    let mut taken = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut taken, "x").await.unwrap(), "x");
}

#[tokio::test]
async fn held_replies_arrive_later() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut client, "one").await.unwrap(), "one");
    proxy.hold_replies();
    client.write_all(b"two").await.unwrap();
    eventually("the request arrives", async || proxy.request_bytes() == 6).await;
    assert_eq!(proxy.reply_bytes(), 3);
    proxy.forward();
    assert_eq!(heard(&mut client, 3).await.unwrap(), "two");
}

#[tokio::test]
async fn dropped_replies_are_lost_though_the_request_arrived() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut client, "one").await.unwrap(), "one");
    proxy.drop_replies();
    client.write_all(b"two").await.unwrap();
    eventually("the reply is lost", async || proxy.lost_bytes() == 3).await;
    assert_eq!(proxy.request_bytes(), 6);
    // What follows a gap would make no sense to the client.
    proxy.forward();
    assert!(is_cut(&mut client).await);
}

#[tokio::test]
async fn held_and_dropped_requests_do_not_reach_the_backend() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.hold_requests();
    client.write_all(b"late").await.unwrap();
    assert_eq!(proxy.request_bytes(), 0);
    proxy.forward();
    assert_eq!(heard(&mut client, 4).await.unwrap(), "late");
    proxy.drop_requests();
    client.write_all(b"gone").await.unwrap();
    eventually("the request is lost", async || proxy.lost_bytes() == 4).await;
    assert_eq!(proxy.request_bytes(), 4);
}

#[tokio::test]
async fn a_delay_holds_both_ways() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.delay(Duration::from_millis(30));
    let start = Instant::now();
    assert_eq!(says(&mut client, "slow").await.unwrap(), "slow");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_backend_that_moved_is_found_on_the_same_port() {
    let proxy = Proxy::start("127.0.0.1:1").await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_cut(&mut client).await, "there is no backend yet");
    proxy.set_backend(echo().await);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(says(&mut client, "x").await.unwrap(), "x");
}
