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
        let seconds = self.seconds().await.into_iter();
        seconds.map(|busy| busy.map(|busy| busy / wall)).collect()
    }

    /// Seconds of processor time that each took since the start; `None` where nobody tells.
    pub(crate) async fn seconds(&self) -> Vec<Option<f64>> {
        let mut seconds = Vec::new();
        for (id, before) in self.ids.iter().zip(&self.before) {
            let now = spent(*id).await;
            let busy = now
                .zip(*before)
                .map(|(now, before)| now.saturating_sub(before));
            seconds.push(busy.map(|busy| busy.as_secs_f64()));
        }
        seconds
    }
}

/// What a process holds at one moment, by the operating system's word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Bytes of memory; what was freed may still count.
    pub(crate) memory: u64,
    /// Open files and sockets.
    pub(crate) files: u64,
    pub(crate) threads: u64,
}

/// Returns what a process holds; `None` if it is gone, or nobody tells.
pub(crate) async fn held(id: u32) -> Option<Held> {
    let memory = crate::measure::memory(id).await?;
    let status = tokio::fs::read_to_string(format!("/proc/{id}/status"))
        .await
        .ok()?;
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))?;
    let mut folder = tokio::fs::read_dir(format!("/proc/{id}/fd")).await.ok()?;
    let mut files = 0;
    while folder.next_entry().await.ok()?.is_some() {
        files += 1;
    }
    Some(Held {
        memory,
        files,
        threads: threads.trim().parse().ok()?,
    })
}

/// Returns a process and those that it has started and that still run.
pub(crate) async fn family(id: u32) -> Vec<u32> {
    let mut family = vec![id];
    let Ok(mut folder) = tokio::fs::read_dir("/proc").await else {
        return family;
    };
    while let Ok(Some(entry)) = folder.next_entry().await {
        let Ok(other) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = tokio::fs::read_to_string(format!("/proc/{other}/stat")).await;
        let parent = stat.ok().and_then(|stat| {
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_whitespace().nth(1)?.parse::<u32>().ok()
        });
        if parent == Some(id) {
            family.push(other);
        }
    }
    family
}

/// Processor time of a process so far, its threads together.
pub(crate) async fn spent(id: u32) -> Option<Duration> {
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
