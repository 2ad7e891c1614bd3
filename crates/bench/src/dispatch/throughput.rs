//! Requests accepted a second, and sends made a second, with and without what comes after a send.
//!
//! A burst is asked for as fast as it is accepted. It is sent meanwhile; how fast the dispatcher
//! is alone shows after the last request was accepted.

use std::path::Path;
use std::time::Duration;

use casement_simulator::AutoStatus;
use clap::Args;
use tokio::time::{Instant, sleep};

use super::baseline;
use super::scene::{Plan, Scene, dispatcher};
use super::sender::Sender;
use crate::cost::{Watched, cores_text};
use crate::roles::{Role, Running};

/// Business numbers: so many that their own rate is nobody's limit.
const NUMBERS: usize = 8;

/// How long a burst may take.
const BURST_MAX: Duration = Duration::from_mins(10);

/// How often is looked whether all messages have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Messages of each burst.
    #[arg(long, default_value_t = 20_000)]
    burst: usize,
    /// Requests that callers have under way at once.
    #[arg(long, default_value_t = 256)]
    at_once: usize,
}

pub(super) async fn run(options: &Options, customers: usize, program: &Path) -> anyhow::Result<()> {
    println!("Messages a second, a burst of {}\n", options.burst);
    println!(
        "| what | accepted/s | sent/s | sent/s once all were accepted | ended/s | cores: ingress | window-tracker | dispatcher | audit-projector | broker | callers and provider |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let plan = Plan::unhindered(program, customers, NUMBERS);
    let scene = Scene::set(&plan).await?;
    let mut bench = Bench {
        roles: scene.play().await?,
        scene,
        next: 0,
    };
    bench
        .burst("no statuses, no projector", options, false)
        .await?;
    bench.burst("statuses, no projector", options, true).await?;
    let projector = bench
        .scene
        .system
        .start_roles(&[Role::AuditProjector])
        .await?;
    bench.roles.extend(projector);
    bench.quiet().await?;
    bench
        .burst("no statuses, projector", options, false)
        .await?;
    let before = bench.last_sequence().await?;
    bench.burst("statuses, projector", options, true).await?;
    let Bench { scene, roles, .. } = bench;
    drop(roles);

    let http = baseline::Http::new(&scene)?;
    let watched = Watched::start(&[scene.system.nats.id(), std::process::id()]).await;
    let took = http.burst(options.burst, options.at_once).await?;
    row(
        "bare HTTP client",
        [None, Some((options.burst, took)), None, None],
        &none_but(&watched.cores().await),
    );
    let watched = Watched::start(&[scene.system.nats.id(), std::process::id()]).await;
    let (events, took) = baseline::raw_appends(&scene.context, before).await?;
    let what = format!("raw appends: the last burst's {events} events in batches");
    let count = Some((options.burst, took));
    row(
        &what,
        [count, None, None, None],
        &none_but(&watched.cores().await),
    );
    println!();
    Ok(())
}

struct Bench {
    scene: Scene,
    roles: Vec<Running>,
    /// The running number of the next message.
    next: usize,
}

impl Bench {
    async fn burst(
        &mut self,
        what: &str,
        options: &Options,
        has_statuses: bool,
    ) -> anyhow::Result<()> {
        let statuses = if has_statuses {
            AutoStatus::default()
        } else {
            AutoStatus::none()
        };
        self.scene.provider.set_auto_status(statuses);
        let (first, count) = (self.next, options.burst);
        self.next += count;
        let role = dispatcher(&self.roles)?;
        let sender = Sender::new(role, self.scene.who)?;
        let ids = self.ids();
        let watched = Watched::start(&ids).await;
        let called_before = self.scene.provider.sent_count();
        let ended_before = ended(role).await?;
        let begun = Instant::now();
        let accepted = sender.burst(first, count, options.at_once).await?;
        let called_by_then = self.scene.provider.sent_count() - called_before;
        let all = u64::try_from(count)?;
        self.scene.called(called_before + all, BURST_MAX).await?;
        let sent = begun.elapsed();
        let rest = usize::try_from(all.saturating_sub(called_by_then))?;
        let alone = Some((rest, sent.saturating_sub(accepted))).filter(|(rest, _)| *rest > 0);
        let mut over = None;
        if has_statuses {
            let until = ended_before + f64::from(u32::try_from(count)?);
            while ended(role).await? < until {
                anyhow::ensure!(begun.elapsed() < BURST_MAX, "messages do not end");
                sleep(LOOK_INTERVAL).await;
            }
            over = Some((count, begun.elapsed()));
        }
        let mut cores = watched.cores().await;
        if self.roles.len() < 4 {
            cores.insert(3, None);
        }
        row(
            what,
            [Some((count, accepted)), Some((count, sent)), alone, over],
            &cores,
        );
        self.quiet().await
    }

    fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.roles.iter().map(Running::id).collect();
        ids.extend([self.scene.system.nats.id(), std::process::id()]);
        ids
    }

    async fn quiet(&self) -> anyhow::Result<()> {
        let projector = self.roles.get(3);
        self.scene.quiet(projector, BURST_MAX).await
    }

    async fn last_sequence(&self) -> anyhow::Result<u64> {
        baseline::last_sequence(&self.scene.context).await
    }
}

/// Messages that have ended, by the dispatcher's own count.
async fn ended(dispatcher: &Running) -> anyhow::Result<f64> {
    dispatcher
        .metric("casement_dispatcher_messages_total")
        .await
}

fn row(what: &str, rates: [Option<(usize, Duration)>; 4], cores: &[Option<f64>]) {
    let rates = rates.map(|rate| match rate {
        None => "–".to_owned(),
        Some((count, took)) => {
            let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            format!("{:.0}", count / took.as_secs_f64().max(f64::EPSILON))
        }
    });
    let cores: Vec<String> = cores.iter().copied().map(cores_text).collect();
    println!("| {what} | {} | {} |", rates.join(" | "), cores.join(" | "));
}

/// Of a run without roles.
fn none_but(broker_and_callers: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut cores = vec![None; 4];
    cores.extend(broker_and_callers);
    cores
}
