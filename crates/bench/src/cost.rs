//! What processes cost: processor time by the operating system's word.

use std::time::Duration;

use tokio::time::Instant;

/// How many ticks the kernel counts in a second; the same on every Linux that people run.
const TICKS_A_SECOND: f64 = 100.0;

/// Processes whose time is taken.
pub(crate) struct Watched {
    begun: Instant,
    before: Vec<Option<Duration>>,
    ids: Vec<u32>,
}

impl Watched {
    pub(crate) async fn start(ids: &[u32]) -> Self {
        let mut before = Vec::new();
        for id in ids {
            before.push(spent(*id).await);
        }
        Self {
            begun: Instant::now(),
            before,
            ids: ids.to_owned(),
        }
    }

    /// Cores that each kept busy since the start, as in 0.85; `None` where nobody tells.
    pub(crate) async fn cores(&self) -> Vec<Option<f64>> {
        let wall = self.begun.elapsed().as_secs_f64();
        let mut cores = Vec::new();
        for (id, before) in self.ids.iter().zip(&self.before) {
            let now = spent(*id).await;
            let busy = now
                .zip(*before)
                .map(|(now, before)| now.saturating_sub(before));
            cores.push(busy.map(|busy| busy.as_secs_f64() / wall));
        }
        cores
    }
}

/// Processor time of a process so far, its threads together.
async fn spent(id: u32) -> Option<Duration> {
    let stat = tokio::fs::read_to_string(format!("/proc/{id}/stat"))
        .await
        .ok()?;
    // The name, which may hold anything, ends with the last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64(
        f64::from(user + system) / TICKS_A_SECOND,
    ))
}

/// Measures, and tells on what machine and between which loads that was.
pub(crate) async fn framed(
    measured: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    println!("machine: {}", machine().await);
    println!("load averages before: {}\n", load().await);
    measured.await?;
    println!("load averages after: {}", load().await);
    Ok(())
}

/// Load of the machine, and what it is.
pub(crate) async fn machine() -> String {
    let read = async |path: &str| tokio::fs::read_to_string(path).await.unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo").await;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease").await;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} × {model}, Linux {}", kernel.trim())
}

/// Load averages over 1, 5 and 15 minutes, as the system tells them.
pub(crate) async fn load() -> String {
    let text = tokio::fs::read_to_string("/proc/loadavg")
        .await
        .unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Cores as in 0.85.
pub(crate) fn cores_text(cores: Option<f64>) -> String {
    cores.map_or_else(|| "–".to_owned(), |cores| format!("{cores:.2}"))
}
