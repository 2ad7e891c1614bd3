//! Customers' messages a second through every role, for as long as one likes.
//!
//! First a burst shows how fast what was stored is worked off. Then posts come at a rate somewhat
//! below that, and what waits is counted each second: if it grows, the rate is not sustained, and
//! a lower one is tried.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use casement_event::subject::stream;
use casement_shell::{Clock as _, SystemClock};
use casement_testkit::Postgres;
use clap::{Args, ValueEnum};
use tokio::time::{Instant, sleep};

use super::roles::{Role, Running, System};
use crate::cost::{Watched, cores_text};
use crate::ingest::baseline;
use crate::load::{Answers, Load};
use crate::posts::{Kind, Posts};

/// How long a burst may take to be worked off.
const DRAIN_MAX: Duration = Duration::from_mins(5);

/// Which shares of the burst's rate are tried, in percent.
const SHARES: [usize; 4] = [90, 75, 60, 45];

/// Connections of the load generator.
const CONNECTIONS: usize = 64;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Messages of the burst.
    #[arg(long, default_value_t = 20_000)]
    burst: usize,
    /// How many customers write; each one's first message opens a window.
    #[arg(long, default_value_t = 10_000)]
    customers: usize,
    /// Seconds for which a rate has to be sustained.
    #[arg(long, default_value_t = 20)]
    sustained_seconds: usize,
    /// Rates to try in place of shares of the burst's, the highest first.
    #[arg(long, value_delimiter = ',')]
    sustained_rates: Vec<usize>,
    /// Where the archive is kept. PostgreSQL runs here without syncing.
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

pub(super) async fn run(options: &Options, program: &Path) -> anyhow::Result<()> {
    let archive = match options.database {
        Database::Sqlite => "SQLite",
        Database::Postgres => "PostgreSQL, not synced",
    };
    println!("Customers' messages a second through every role; archive in {archive}\n");
    println!(
        "| load | messages/s | what waits, from second to second | cores: accounts | ingress | window-tracker | dispatcher | audit-projector | broker | load |"
    );
    println!("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    let postgres = match options.database {
        Database::Sqlite => None,
        Database::Postgres => Some(Postgres::start().await),
    };
    let url = match &postgres {
        None => None,
        Some(postgres) => Some(postgres.fresh_database().await),
    };
    let system = System::start(program, url.as_deref()).await?;
    let roles = system.start_roles(&Role::ALL).await?;
    let bench = Bench {
        context: jetstream::new(system.nats.client().await),
        system,
        roles,
        customers: options.customers,
    };

    let burst_rate = bench.burst(options.burst).await?;
    let mut first = options.burst;
    let rates = match options.sustained_rates.as_slice() {
        [] => SHARES.map(|share| burst_rate * share / 100).to_vec(),
        rates => rates.to_vec(),
    };
    for rate in rates {
        let count = rate.max(1) * options.sustained_seconds;
        let is_sustained = bench.sustain(rate.max(1), count, first).await?;
        first += count;
        if is_sustained {
            break;
        }
        bench.drained().await?;
    }
    bench.drained().await?;
    let Bench {
        context,
        system,
        roles,
        ..
    } = bench;
    drop(roles);
    alone(&context, &system).await?;
    println!();
    Ok(())
}

struct Bench {
    context: jetstream::Context,
    system: System,
    roles: Vec<Running>,
    customers: usize,
}

impl Bench {
    /// Lets so many messages in at once, and returns how many a second were worked off.
    async fn burst(&self, count: usize) -> anyhow::Result<usize> {
        let watched = self.watch().await;
        let begun = Instant::now();
        self.post(count, 0, None).await?;
        let stored = begun.elapsed();
        self.drained().await?;
        let took = begun.elapsed();
        let rate = count * 1_000 / usize::try_from(took.as_millis())?.max(1);
        println!(
            "| {count} at once | {rate} | stored in {stored:.1?}, worked off in {took:.1?} | {} |",
            cores(&watched).await
        );
        Ok(rate)
    }

    /// Lets messages in at a rate; returns whether they were worked off as they came.
    async fn sustain(&self, rate: usize, count: usize, first: usize) -> anyhow::Result<bool> {
        let watched = self.watch().await;
        let mut waiting = Vec::new();
        let mut posting = std::pin::pin!(self.post(count, first, Some(rate)));
        loop {
            tokio::select! {
                posted = &mut posting => break posted?,
                () = sleep(Duration::from_secs(1)) => waiting.push(self.waiting().await?),
            }
        }
        let cores = cores(&watched).await;
        let is_sustained = is_level(&waiting, rate);
        let word = if is_sustained {
            "sustained"
        } else {
            "too much"
        };
        let waiting: Vec<String> = waiting.iter().map(usize::to_string).collect();
        println!("| {word} | {rate} | {} | {cores} |", waiting.join(" "));
        Ok(is_sustained)
    }

    async fn post(&self, count: usize, first: usize, rate: Option<usize>) -> anyhow::Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.system.webhooks));
        let kind = Kind {
            first,
            count,
            updates: 1,
            customers: self.customers,
        };
        let posts = Posts::new(kind, address, SystemClock::new().now());
        let rate = rate.map(u32::try_from).transpose()?;
        let load = Load {
            address,
            requests: Arc::new(posts.requests),
            connections: CONNECTIONS,
            length: None,
            rate: rate.map(f64::from),
        };
        let Answers { refused, .. } = load.run().await?;
        ensure!(refused == 0, "{refused} posts were refused");
        Ok(())
    }

    async fn watch(&self) -> Watched {
        let mut ids: Vec<u32> = self.roles.iter().map(Running::id).collect();
        ids.extend([self.system.nats.id(), std::process::id()]);
        Watched::start(&ids).await
    }

    /// Waits until nothing waits anywhere, and the archive has it all.
    async fn drained(&self) -> anyhow::Result<()> {
        let projector = self
            .roles
            .iter()
            .find(|role| role.name() == Role::AuditProjector.name())
            .context("the archive's role runs")?;
        self.system
            .drained(&self.context, Some(projector), DRAIN_MAX)
            .await
    }

    async fn waiting(&self) -> anyhow::Result<usize> {
        self.system.waiting(&self.context).await
    }
}

/// Whether what waits at the end of a run is not more than in its middle, but for what comes in a
/// fifth of a second.
fn is_level(waiting: &[usize], rate: usize) -> bool {
    let third = waiting.len() / 3;
    let mean = |part: &[usize]| part.iter().sum::<usize>() / part.len().max(1);
    let middle = mean(&waiting[third..waiting.len() - third]);
    let end = mean(&waiting[waiting.len() - third..]);
    end <= middle + middle / 5 + rate / 5
}

async fn cores(watched: &Watched) -> String {
    let cores = watched.cores().await;
    let cores: Vec<String> = cores.into_iter().map(cores_text).collect();
    cores.join(" | ")
}

/// The broker alone: the same packs read, the same events appended, each delivered as often.
async fn alone(context: &jetstream::Context, system: &System) -> anyhow::Result<()> {
    let packs = usize::try_from(system.log.state(stream::RAW).await?.messages)?;
    let mut events = baseline::read(context, stream::EVENTS, 0).await?;
    let facts = events.iter().filter(|event| event.is_of("inbound")).count();
    events.extend(baseline::read(context, stream::CUSTOMERS, 0).await?);
    let watched = Watched::start(&[system.nats.id(), std::process::id()]).await;
    let took = Box::pin(baseline::relay(context, packs, &events)).await?;
    let cores = watched.cores().await;
    let rate = f64::from(u32::try_from(facts)?) / took.as_secs_f64();
    println!(
        "| broker alone: the same {packs} packs, {} events in batches, each delivered three times | {rate:.0} | | – | – | – | – | – | {} | {} |",
        events.len(),
        cores_text(cores[0]),
        cores_text(cores[1])
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_not_sustained_and_what_swings_is() {
        assert!(is_level(&[40, 10, 60, 20, 50, 30, 45, 15, 55], 1_000));
        let growing: Vec<usize> = (0..20).map(|second| second * 200).collect();
        assert!(!is_level(&growing, 1_000));
        assert!(is_level(&[], 1_000), "too short a run says nothing");
    }
}
