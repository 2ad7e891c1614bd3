//! Times, rates and memory, and how they are printed.
//!
//! Memory is what the operating system holds for a process: what was freed may still count.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Things a second.
pub(crate) fn rate(count: usize, time: Duration) -> String {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let a_second = f64::from(count) / time.as_secs_f64();
    let thousands = a_second / 1_000.0;
    if thousands >= 10.0 {
        format!("{thousands:.0}k/s")
    } else if thousands >= 1.0 {
        format!("{thousands:.1}k/s")
    } else {
        format!("{a_second:.0}/s")
    }
}

/// The `percent`th of some times.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let index = times.len().saturating_sub(1) * percent / 100;
    times.get(index).copied().unwrap_or_default()
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

/// The 50th and the 99th percentile of some times, and the longest.
pub(crate) fn spread(times: &mut [Duration]) -> String {
    let (half, most) = (percentile(times, 50), percentile(times, 99));
    format!("{half:.2?} | {most:.2?} | {:.2?}", percentile(times, 100))
}

/// Memory of this process; `None` where the operating system does not say.
pub(crate) async fn own_memory() -> Option<u64> {
    memory(std::process::id()).await
}

/// Memory of a process; `None` where the operating system does not say.
pub(crate) async fn memory(id: u32) -> Option<u64> {
    let path = format!("/proc/{id}/status");
    let status = tokio::fs::read_to_string(path).await.ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Memory of the server at a monitoring address, by its own word.
pub(crate) async fn server_memory(monitoring: &str) -> anyhow::Result<u64> {
    let (_, body) = page(monitoring, "/varz").await?;
    let varz: serde_json::Value = serde_json::from_str(&body)?;
    varz["mem"].as_u64().context("no figure for memory")
}

/// Reads a page over HTTP; returns its status and its body.
pub(crate) async fn page(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}
