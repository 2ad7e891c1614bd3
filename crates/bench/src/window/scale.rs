//! Open windows by the million: what each costs the broker and the tracker, and how soon the
//! tracker answers, and knows all deadlines, after it was killed.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use casement_proto::window::v1::customer_ref::Customer;
use casement_proto::window::v1::{CustomerRef, GetWindowRequest};
use casement_shell::{Clock as _, SystemClock};
use clap::Args;
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use super::roles::{Role, Running, System, authorised};
use super::stored::{self, Told, Windows};
use crate::deadline_index::read_plainly;
use crate::measure::{memory, percentile, rate};
use crate::posts::NUMBER;

/// How often a role that does not listen yet is asked again.
const ASK_INTERVAL: Duration = Duration::from_millis(5);

/// How many windows are asked for, one after the other, to see how long an answer takes.
const ASKED: usize = 1_000;

/// Spreads questions over all windows: a prime, so that no two are near each other.
const STRIDE: usize = 7_919;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// How many windows are open.
    #[arg(long, default_value_t = 1_000_000)]
    open: usize,
    /// How often the tracker is killed and started again.
    #[arg(long, default_value_t = 2)]
    restarts: usize,
}

pub(super) async fn run(options: &Options, program: &Path) -> anyhow::Result<()> {
    let open = options.open;
    println!("{open} open windows\n");
    println!("| what | figure | a window |");
    println!("|---|---:|---:|");
    let row = |what: &str, figure: &str, each: &str| println!("| {what} | {figure} | {each} |");
    let a_window = |bytes: u64| -> anyhow::Result<String> {
        Ok(format!("{} B", bytes / u64::try_from(open.max(1))?))
    };
    let mib = crate::measure::mib;

    let mut system = System::start(program, None).await?;
    let mut tracker = system.start_roles(&[Role::WindowTracker]).await?.remove(0);
    let empty = memory(tracker.id()).await.context("memory")?;
    row("tracker, no window: memory", &mib(empty), "");
    tracker.process.kill9();

    let windows = Windows::new()?;
    let start = SystemClock::new().now() - SignedDuration::from_hours(12);
    // Spread over eight hours, so that none comes near its end in this run.
    let spread = |index: usize| {
        let millis = 8 * 3_600_000 * index / open.max(1);
        start.saturating_add(SignedDuration::from_millis(
            i64::try_from(millis).unwrap_or(0),
        ))
    };
    let broker = async |system: &System| -> anyhow::Result<(u64, u64)> {
        let memory = memory(system.nats.id()).await.context("memory")?;
        Ok((memory, size_of(&system.nats.store_dir())?))
    };
    let (_, disk_before) = broker(&system).await?;
    let mut known = disk_before;
    for (what, is_message) in [
        ("messages that opened them", true),
        ("window events", false),
    ] {
        let begun = Instant::now();
        stored::load(&system.log, open, |index| {
            let at = spread(index)?;
            if is_message {
                windows.inbound(index, at)
            } else {
                windows.told(index, at, Told::Opened)
            }
        })
        .await?;
        let took = begun.elapsed();
        row(
            &format!("{what}: appended in batches"),
            &rate(open, took),
            "",
        );
        let (memory, disk) = broker(&system).await?;
        let grown = disk - known;
        known = disk;
        row(
            &format!("{what}: broker, on disk"),
            &mib(grown),
            &a_window(grown)?,
        );
        row(
            &format!("{what}: broker, in memory so far"),
            &mib(memory),
            &a_window(memory)?,
        );
    }
    stored::see_to(&jetstream::new(system.nats.client().await), open).await?;
    let begun = Instant::now();
    system.nats.restart().await;
    let took = begun.elapsed();
    row(
        "broker: from kill -9 until it answers",
        &format!("{took:.1?}"),
        "",
    );
    let (memory_, _) = broker(&system).await?;
    row(
        "broker: in memory after that",
        &mib(memory_),
        &a_window(memory_)?,
    );

    for turn in 1..=options.restarts {
        let begun = Instant::now();
        let mut tracker = system.spawn(Role::WindowTracker);
        let answered = first_answer(&tracker, begun).await?;
        tracker.ready().await?;
        let ready = begun.elapsed();
        let rebuilt = tracker.metric("casement_deadline_rebuild_seconds").await?;
        let rebuilt = Duration::from_secs_f64(rebuilt);
        row(
            &format!("tracker, start {turn}: first answer"),
            &format!("{answered:.2?}"),
            "",
        );
        row(
            &format!("tracker, start {turn}: every deadline known"),
            &format!("{rebuilt:.1?}"),
            &rate(open, rebuilt),
        );
        row(
            &format!("tracker, start {turn}: ready"),
            &format!("{ready:.1?}"),
            "",
        );
        let full = memory(tracker.id()).await.context("memory")?;
        let grown = full.saturating_sub(empty);
        row(
            &format!("tracker, start {turn}: memory"),
            &format!("{}, {} more", mib(full), mib(grown)),
            &a_window(grown)?,
        );
        let mut each = answers(&tracker, open).await?;
        let (half, most) = (percentile(&mut each, 50), percentile(&mut each, 99));
        row(
            &format!("tracker, start {turn}: answers, one after the other"),
            &format!("p50 {half:.2?}, p99 {most:.2?}"),
            "",
        );
        tracker.process.kill9();
        let took = read_plainly(&system.nats, open).await?;
        row(
            "broker alone: the newest message of each read, and nothing kept",
            &format!("{took:.1?}"),
            &rate(open, took),
        );
    }
    let (memory, _) = broker(&system).await?;
    row(
        "broker: in memory at the end",
        &mib(memory),
        &a_window(memory)?,
    );
    println!();
    Ok(())
}

/// Returns how long after `begun` the first question was answered.
async fn first_answer(tracker: &Running, begun: Instant) -> anyhow::Result<Duration> {
    loop {
        if let Some(mut windows) = tracker.windows().await
            && windows.get_window(authorised(question(0)?)?).await.is_ok()
        {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_mins(1),
            "the tracker does not answer; its log:\n{}",
            tracker.process.stderr()
        );
        sleep(ASK_INTERVAL).await;
    }
}

/// Asks for windows all over the log, one after the other; returns how long each answer took.
async fn answers(tracker: &Running, open: usize) -> anyhow::Result<Vec<Duration>> {
    let mut windows = tracker.windows().await.context("the tracker listens")?;
    let mut each = Vec::with_capacity(ASKED);
    for question_ in 0..ASKED {
        let request = authorised(question(question_ * STRIDE % open)?)?;
        let begun = Instant::now();
        let answer = windows.get_window(request).await?.into_inner();
        each.push(begun.elapsed());
        let window = answer.window.context("an answer holds a window")?;
        anyhow::ensure!(window.free_form_allowed, "an open window is told as closed");
    }
    Ok(each)
}

fn question(index: usize) -> anyhow::Result<GetWindowRequest> {
    Ok(GetWindowRequest {
        number: format!("+{}", NUMBER.0),
        customer: Some(CustomerRef {
            customer: Some(Customer::CustomerId(
                stored::customer(index)?.as_str().to_owned(),
            )),
        }),
        ..GetWindowRequest::default()
    })
}

/// Bytes that a folder takes on disk.
fn size_of(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What the broker removes meanwhile takes no room.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        size += if metadata.is_dir() {
            size_of(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(size)
}
