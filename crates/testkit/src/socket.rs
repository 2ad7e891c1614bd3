//! A socket that answers one request as told, for clients of services that are not ours.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the socket does once it has read the whole request.
pub enum Answer {
    /// Writes these bytes and closes.
    Bytes(String),
    /// Closes without a word.
    Close,
    /// Says nothing and keeps the connection.
    Silence,
}

/// Returns an answer with a body of JSON; further headers each end with a line break.
pub fn http(status: &str, headers: &str, body: &str) -> Answer {
    Answer::Bytes(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Answers one request, and returns it as text.
pub async fn answer_once(answer: Answer) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let request = read_request(&mut socket).await;
        match answer {
            Answer::Bytes(bytes) => {
                socket.write_all(bytes.as_bytes()).await.expect("written");
                socket.shutdown().await.expect("closed");
            }
            Answer::Close => drop(socket),
            Answer::Silence => {
                // Until the client gives up.
                let mut rest = [0; 16];
                let _ = socket.read(&mut rest).await;
            }
        }
        request
    });
    (address, task)
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        let read = socket.read(&mut chunk).await.expect("readable");
        assert!(read > 0, "the request broke off: {text}");
        bytes.extend_from_slice(&chunk[..read]);
    }
}
