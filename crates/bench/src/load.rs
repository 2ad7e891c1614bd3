//! The load generator: keep-alive connections that send prepared requests, as fast as they are
//! answered or at a given rate.
//!
//! At a given rate, an answer's time counts from when its request was due, so that a server that
//! stalls is not spared those that had to wait for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Longest answer that is read.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// What to send, and how.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Vec<Bytes>>,
    pub(crate) connections: usize,
    /// Until then; `None` for each request once.
    pub(crate) length: Option<Duration>,
    /// Posts a second, all connections together; `None` for as many as are answered.
    pub(crate) rate: Option<f64>,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Answers {
    /// How long each accepted post took.
    pub(crate) each: Vec<Duration>,
    /// How many were not answered 200.
    pub(crate) refused: usize,
    pub(crate) total: Duration,
    /// At a given rate: which request was due when.
    pub(crate) dues: Vec<(usize, Instant)>,
}

impl Answers {
    pub(crate) fn rate(&self) -> f64 {
        let count = u32::try_from(self.each.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.total.as_secs_f64()
    }
}

impl Load {
    /// Sends it all.
    pub(crate) async fn run(&self) -> anyhow::Result<Answers> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.address).await.context("connect")?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let started = Instant::now();
        let mut running = JoinSet::new();
        for (index, stream) in streams.into_iter().enumerate() {
            let one = One {
                load: self.clone(),
                next: Arc::clone(&next),
                stream,
                started,
                index,
            };
            running.spawn(one.run());
        }
        let mut all = Answers::default();
        while let Some(done) = running.join_next().await {
            let one = done.context("connection")??;
            all.each.extend(one.each);
            all.refused += one.refused;
            all.dues.extend(one.dues);
        }
        all.total = started.elapsed();
        Ok(all)
    }
}

/// One connection.
struct One {
    load: Load,
    next: Arc<AtomicUsize>,
    stream: TcpStream,
    started: Instant,
    index: usize,
}

impl One {
    async fn run(mut self) -> anyhow::Result<Answers> {
        let mut all = Answers::default();
        let interval = self.load.rate.map(|rate| {
            let connections = u32::try_from(self.load.connections).unwrap_or(u32::MAX);
            Duration::from_secs_f64(f64::from(connections) / rate)
        });
        let mut due = self.started;
        if let Some(interval) = interval {
            // Spread, so that they do not all come at once.
            let share = u32::try_from(self.index).unwrap_or_default();
            due += interval * share / u32::try_from(self.load.connections).unwrap_or(1);
        }
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        loop {
            let begun = match interval {
                None => Instant::now(),
                Some(interval) => {
                    let begun = due;
                    due += interval;
                    sleep_until(begun).await;
                    begun
                }
            };
            if self
                .load
                .length
                .is_some_and(|length| begun.duration_since(self.started) >= length)
            {
                break;
            }
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            if self.load.length.is_none() && next >= self.load.requests.len() {
                break;
            }
            let request = &self.load.requests[next % self.load.requests.len()];
            if interval.is_some() {
                all.dues.push((next, begun));
            }
            self.stream.write_all(request).await.context("send")?;
            if read_answer(&mut self.stream, &mut answer).await? {
                all.each.push(begun.elapsed());
            } else {
                all.refused += 1;
            }
        }
        Ok(all)
    }
}

/// Reads one answer; returns whether it is a 200.
pub(crate) async fn read_answer(stream: &mut TcpStream, answer: &mut [u8]) -> anyhow::Result<bool> {
    let mut len = 0;
    loop {
        let count = stream.read(&mut answer[len..]).await.context("receive")?;
        if count == 0 {
            bail!("the server closed a connection, or said too much");
        }
        len += count;
        if is_whole(&answer[..len]) {
            return Ok(answer.starts_with(b"HTTP/1.1 200 "));
        }
    }
}

/// Whether an answer was read to its end: Casement's have no body, those of others may.
fn is_whole(answer: &[u8]) -> bool {
    let end = b"\r\n\r\n";
    let Some(head_len) = answer.windows(end.len()).position(|part| part == end) else {
        return false;
    };
    let body = &answer[head_len + end.len()..];
    let head = String::from_utf8_lossy(&answer[..head_len]).to_ascii_lowercase();
    let value = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    if value("transfer-encoding") == Some("chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let body_len = value("content-length").and_then(|len| len.parse().ok());
    body.len() >= body_len.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_ends_where_it_says() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1 200 OK\r\ndate: now\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
                true,
            ),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer}");
        }
    }
}
