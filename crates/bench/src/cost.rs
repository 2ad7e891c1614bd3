//! What processes cost: processor time by the operating system's word.

use std::time::Duration;

use tokio::time::Instant;

/// How many ticks the kernel counts in a second; the same on every Linux that people run.
const TICKS_A_SECOND: f64 = 100.0;

/// Whose processor time is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payer {
    /// A process alone, whatever it started.
    Process(u32),
    /// A process with those that it started, also those that come and go meanwhile: a database begins
    /// a process for each connection.
    Family(u32),
}

impl Payer {
    async fn spent(self) -> Option<Duration> {
        match self {
            Self::Process(id) => spent(id).await,
            Self::Family(id) => spent_by_family(id).await,
        }
    }
}

impl From<u32> for Payer {
    fn from(id: u32) -> Self {
        Self::Process(id)
    }
}

/// Processes whose time is taken.
pub(crate) struct Watched {
    begun: Instant,
    payers: Vec<(Payer, Option<Duration>)>,
}

impl Watched {
    pub(crate) async fn start(payers: &[impl Into<Payer> + Copy]) -> Self {
        let mut watched = Self {
            begun: Instant::now(),
            payers: Vec::new(),
        };
        for payer in payers {
            let payer = (*payer).into();
            watched.payers.push((payer, payer.spent().await));
        }
        watched
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
        for (payer, before) in &self.payers {
            let now = payer.spent().await;
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

/// Processor time of a process so far, its threads together.
pub(crate) async fn spent(id: u32) -> Option<Duration> {
    Some(Times::of(id).await?.own)
}

/// Processor time of a process and of those that it started, whether they still run or have ended.
async fn spent_by_family(id: u32) -> Option<Duration> {
    let mut family = Times::of(id).await.map(|head| head.own + head.ended)?;
    let mut folder = tokio::fs::read_dir("/proc").await.ok()?;
    while let Ok(Some(entry)) = folder.next_entry().await {
        let Ok(other) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        if let Some(times) = Times::of(other).await.filter(|times| times.parent == id) {
            family += times.own + times.ended;
        }
    }
    Some(family)
}

/// What the kernel tells of a process's time.
struct Times {
    parent: u32,
    own: Duration,
    /// Of processes that it started and that have ended since.
    ended: Duration,
}

impl Times {
    async fn of(id: u32) -> Option<Self> {
        let stat = tokio::fs::read_to_string(format!("/proc/{id}/stat"))
            .await
            .ok()?;
        // The name, which may hold anything, ends with the last bracket.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |user: usize| {
            let ticks: u32 = fields.get(user)?.parse().ok()?;
            let system: u32 = fields.get(user + 1)?.parse().ok()?;
            Some(Duration::from_secs_f64(
                f64::from(ticks + system) / TICKS_A_SECOND,
            ))
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)?,
            ended: ticks(13)?,
        })
    }
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
