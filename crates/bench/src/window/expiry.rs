//! Ends told: each once, none early, and how late; and how fast many that end at once are worked
//! off.
//!
//! The windows stand on the log as the roles would have left them, all within two hours of their
//! end. They are made ahead, and the first one ends when the tracker has had time to start.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream;
use casement_event::subject::{Family, stream};
use casement_event::{Extension, header};
use casement_shell::{Clock, SystemClock};
use clap::Args;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout};

use super::plain;
use super::roles::{Role, System};
use super::stored::{self, Told, Windows};
use crate::cost::{Watched, cores_text};
use crate::measure::{percentile, rate, spread};

/// How long nothing may be heard while something is to come.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// For how long what is told twice is listened for at the end.
const LISTEN_ON: Duration = Duration::from_secs(3);

/// How many windows are made to see how long the others will take.
const TRIAL_LEN: usize = 10_000;

/// What the tracker needs to start, and what all that is made needs beyond the trial's rate.
const START_MAX: SignedDuration = SignedDuration::from_secs(6);

/// Between the last end of the even ones and the second in which the many end.
const REST: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// How many windows end evenly.
    #[arg(long, default_value_t = 150_000)]
    expiring: usize,
    /// How many of these a second.
    #[arg(long, default_value_t = 5_000)]
    expiring_rate: usize,
    /// How many end within one second after that.
    #[arg(long, default_value_t = 100_000)]
    expiring_at_once: usize,
}

pub(super) async fn run(options: &Options, program: &Path) -> anyhow::Result<()> {
    let Options {
        expiring,
        expiring_rate,
        expiring_at_once,
    } = *options;
    println!("Windows that end\n");
    println!(
        "| what | told | twice | early | late: p50 | p99 | longest | cores: window-tracker | broker | load |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let system = System::start(program, None).await?;
    let clock = SystemClock::new();
    let count = expiring + expiring_at_once;
    let windows = Windows::new()?;

    let far = clock.now().checked_add(SignedDuration::from_hours(1))?;
    let trial = Instant::now();
    make(&system, &windows, TRIAL_LEN, |index| (count + index, far)).await?;
    let each = trial.elapsed().as_secs_f64() / f64::from(u32::try_from(TRIAL_LEN)?);
    let making = SignedDuration::try_from_secs_f64(1.5 * each * f64::from(u32::try_from(count)?))?;
    let start = clock.now().checked_add(making + START_MAX)?;
    let plan = Plan {
        start,
        even: expiring,
        rate: expiring_rate,
        at_once: expiring_at_once,
    };
    make(&system, &windows, count, |index| (index, plan.end(index))).await?;
    let roles = system.start_roles(&[Role::WindowTracker]).await?;
    ensure!(
        clock.now() < start,
        "the machine was too slow in making windows; run it again"
    );

    let client = system.nats.client().await;
    let mut told = client.subscribe(Family::Window.filter()).await?;
    client.flush().await?;
    let ids = [roles[0].id(), system.nats.id(), std::process::id()];
    let mut ends = Ends::new(count);
    wait_until(&clock, start).await;
    for (what, from, until) in [
        (
            format!("{expiring} at {expiring_rate} a second"),
            0,
            expiring,
        ),
        (
            format!("{expiring_at_once} within one second"),
            expiring,
            count,
        ),
    ] {
        if from == until {
            continue;
        }
        wait_until(&clock, plan.end(from)).await;
        let watched = Watched::start(&ids).await;
        let begun = Instant::now();
        ends.hear(&mut told, &clock, &plan, until).await?;
        let took = begun.elapsed();
        let cores = watched.cores().await;
        let cores: Vec<String> = cores.into_iter().map(cores_text).collect();
        let speed = rate(until - from, took);
        println!(
            "| {what}: {took:.1?}, {speed} | {} | {} | {} | {} | {} |",
            until - from,
            ends.twice,
            ends.early,
            spread(&mut ends.late),
            cores.join(" | "),
        );
        ends.late.clear();
    }
    if let Ok(repeated) = timeout(LISTEN_ON, ends.hear(&mut told, &clock, &plan, usize::MAX)).await
    {
        repeated?;
    }
    println!(
        "\n{} ends were told twice, {} early\n",
        ends.twice, ends.early
    );
    drop(roles);
    alone(&system, options).await
}

/// The broker alone: the same events at the same rate, and as many in batches.
async fn alone(system: &System, options: &Options) -> anyhow::Result<()> {
    let context = jetstream::new(system.nats.client().await);
    let sample = plain::sample(&context, stream::EVENTS, &Family::Window.filter()).await?;
    let seconds = 10
        .min(options.expiring / options.expiring_rate.max(1))
        .max(1);
    let (pace, count) = (options.expiring_rate, options.expiring_rate * seconds);
    let mut each = plain::paced_one(&context, &sample, pace, count).await?;
    let (half, most) = (percentile(&mut each, 50), percentile(&mut each, 99));
    println!("| broker alone | events/s | p50 | p99 |");
    println!("|---|---:|---:|---:|");
    println!(
        "| {count} of these events, each when it was due | {pace} | {half:.2?} | {most:.2?} |"
    );
    let took = plain::batches(&context, &sample, options.expiring_at_once).await?;
    println!(
        "| {} of these events in batches | {} in {took:.1?} | | |\n",
        options.expiring_at_once,
        rate(options.expiring_at_once, took)
    );
    Ok(())
}

/// When each window ends.
struct Plan {
    start: Timestamp,
    even: usize,
    rate: usize,
    at_once: usize,
}

impl Plan {
    fn end(&self, index: usize) -> Timestamp {
        let even_for = micros(self.even, self.rate);
        let after = match index.checked_sub(self.even) {
            None => micros(index, self.rate),
            Some(index) => even_for + REST + micros(index, self.at_once),
        };
        self.start.saturating_add(after).unwrap_or(Timestamp::MAX)
    }
}

/// How long `count` take at so many a second.
fn micros(count: usize, a_second: usize) -> SignedDuration {
    let micros = count * 1_000_000 / a_second.max(1);
    SignedDuration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Appends the message and the last word of each window, given its customer's index and its end.
async fn make(
    system: &System,
    windows: &Windows,
    count: usize,
    of: impl Fn(usize) -> (usize, Timestamp),
) -> anyhow::Result<()> {
    let length = windows.policy.length;
    let written = |index| -> anyhow::Result<_> {
        let (customer, end) = of(index);
        Ok((customer, end.checked_sub(length)?))
    };
    stored::load(&system.log, count, |index| {
        let (customer, at) = written(index)?;
        windows.inbound(customer, at)
    })
    .await?;
    stored::load(&system.log, count, |index| {
        let (customer, at) = written(index)?;
        windows.told(customer, at, Told::Expiring)
    })
    .await?;
    stored::see_to(&jetstream::new(system.nats.client().await), count).await
}

async fn wait_until(clock: &SystemClock, at: Timestamp) {
    let left = at.duration_since(clock.now());
    if let Ok(left) = Duration::try_from(left) {
        tokio::time::sleep(left).await;
    }
}

/// What was heard of ends.
struct Ends {
    heard: Vec<bool>,
    len: usize,
    late: Vec<Duration>,
    early: usize,
    twice: usize,
}

impl Ends {
    fn new(count: usize) -> Self {
        Self {
            heard: vec![false; count],
            len: 0,
            late: Vec::with_capacity(count),
            early: 0,
            twice: 0,
        }
    }

    /// Listens until so many ends have been heard.
    async fn hear(
        &mut self,
        told: &mut async_nats::Subscriber,
        clock: &SystemClock,
        plan: &Plan,
        until: usize,
    ) -> anyhow::Result<()> {
        while self.len < until {
            let Ok(message) = timeout(SILENCE_MAX, told.next()).await else {
                bail!("only {} of {until} ends were told", self.len);
            };
            let now = clock.now();
            let message = message.context("the subscription ended")?;
            let Some(index) = ended(&message) else {
                continue;
            };
            let Some(heard) = self.heard.get_mut(index) else {
                bail!("a window ended that has an hour left");
            };
            if std::mem::replace(heard, true) {
                self.twice += 1;
                continue;
            }
            self.len += 1;
            match Duration::try_from(now.duration_since(plan.end(index))) {
                Ok(late) => self.late.push(late),
                Err(_) => self.early += 1,
            }
        }
        Ok(())
    }
}

/// Returns the index of the customer whose window ended, if this tells of an end.
fn ended(message: &async_nats::Message) -> Option<usize> {
    let headers = message.headers.as_ref()?;
    let event_type = headers.get(header::TYPE)?.as_str();
    if !event_type.ends_with(".WindowExpired") {
        return None;
    }
    stored::index(headers.get(Extension::Customer.header())?.as_str())
}
