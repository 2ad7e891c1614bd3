//! Webhooks in, facts out: durable posts a second and how long each takes, and updates normalised
//! a second.
//!
//! The server is a process of its own, and so is the broker, which syncs each write; this process
//! makes the load. Baselines of the same run: the same HTTP server with nothing behind it, the
//! disk and the broker alone with the same bytes packed the same way, and the broker reading and
//! writing the same messages.

pub(crate) mod baseline;
pub(crate) mod child;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use bytes::Bytes;
use casement_event::subject::stream;
use casement_event_log::Log;
use casement_testkit::{NatsServer, Process};
use clap::Args;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use self::child::{Part, READY};
use crate::cost::{self, Watched, cores_text};
use crate::load::{Answers, Load};
use crate::measure::percentile;
use crate::posts::{Kind, Posts};
use crate::stage;

/// How often the normaliser's progress is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The normaliser's name at the broker.
const NORMALISER: &str = "ingress-normaliser";

/// How long the normaliser may take.
const NORMALISER_MAX: Duration = Duration::from_mins(10);

/// Bytes of distinct posts that are kept ready.
const PREPARED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes that a baseline appends at most.
const BASELINE_BYTES_MAX: usize = 512 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Updates in a post; each is a measurement of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100])]
    updates: Vec<usize>,
    /// Updates that the normaliser is given, for each kind of post.
    #[arg(long, default_value_t = 40_000)]
    normalise: usize,
    /// How many customers write.
    #[arg(long, default_value_t = 10_000)]
    customers: usize,
    /// Measure this alone.
    #[arg(long)]
    only: Option<Only>,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// Posts a second.
    Door,
    /// Updates normalised a second.
    Normaliser,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    println!("machine: {}", cost::machine().await);
    println!("load averages before: {}", cost::load().await);
    println!(
        "connections: {}; customers: {}; {} s each\n",
        options.connections, options.customers, options.seconds
    );
    if options.only != Some(Only::Normaliser) {
        println!("Posts a second\n");
        println!(
            "| updates a post | server | load | posts/s | p50 | p99 | cores: server | broker | load |"
        );
        println!("|---:|---|---|---:|---:|---:|---:|---:|---:|");
        for updates in &options.updates {
            door(options, *updates).await?;
        }
        println!();
    }
    if options.only != Some(Only::Door) {
        println!("Updates a second\n");
        println!("| updates a post | who | updates/s | cores: server | broker |");
        println!("|---:|---|---:|---:|---:|");
        for updates in &options.updates {
            normaliser(options, *updates).await?;
        }
        println!();
    }
    println!("load averages after: {}", cost::load().await);
    Ok(())
}

/// A broker, and a server beside it.
pub(crate) struct Stage {
    pub(crate) nats: NatsServer,
    pub(crate) log: Log,
}

impl Stage {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let nats = stage::server(true).await;
        let log = stage::log(&nats).await?;
        stage::record_number(&log).await?;
        Ok(Self { nats, log })
    }

    pub(crate) async fn server(&self, part: Part) -> anyhow::Result<(Process, SocketAddr)> {
        let program = std::env::current_exe().context("where this program is")?;
        let mut command = Command::new(program);
        let part = clap::ValueEnum::to_possible_value(&part).context("a part has a name")?;
        command.args(["ingest-server", "--part", part.get_name()]);
        command.args(["--servers", &self.nats.url()]);
        command.args(["--monitoring", &stage::monitoring(&self.nats)]);
        let mut process = Process::start(&mut command);
        let told = process
            .wait_for_stdout("it listens", |text| {
                text.contains(READY) && text.ends_with('\n')
            })
            .await;
        let address = told
            .lines()
            .find_map(|line| line.strip_prefix(READY))
            .context("no address")?;
        Ok((process, address.parse()?))
    }
}

async fn door(options: &Options, updates: usize) -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let row = |who: &str, load: &str, answers: &mut Answers, cores: &[Option<f64>]| {
        let (rate, refused) = (answers.rate(), answers.refused);
        let half = percentile(&mut answers.each, 50);
        let most = percentile(&mut answers.each, 99);
        let cores: Vec<String> = cores.iter().map(|one| cores_text(*one)).collect();
        let load = match refused {
            0 => load.to_owned(),
            refused => format!("{load}, {refused} refused"),
        };
        println!(
            "| {updates} | {who} | {load} | {rate:.0} | {half:.2?} | {most:.2?} | {} |",
            cores.join(" | ")
        );
    };

    let (nothing, address) = stage.server(Part::Nothing).await?;
    let (load, bodies) = load(options, updates, address);
    let ids = [nothing.id(), stage.nats.id(), std::process::id()];
    let (mut baseline, cores) = measure(&load, &ids).await?;
    row("stores nothing", "top", &mut baseline, &cores);
    drop(nothing);

    let (server, address) = stage.server(Part::Door).await?;
    let ids = [server.id(), stage.nats.id(), std::process::id()];
    let before = stage.log.state(stream::RAW).await?;
    let top = Load { address, ..load };
    let (mut durable, cores) = measure(&top, &ids).await?;
    row("durable", "top", &mut durable, &cores);
    let after = stage.log.state(stream::RAW).await?;
    let packs = usize::try_from(after.last_sequence - before.last_sequence)?.max(1);
    let packed = durable.each.len().div_ceil(packs);

    let half = Load {
        rate: Some(durable.rate() / 2.0),
        ..top
    };
    let (mut at_half, cores) = measure(&half, &ids).await?;
    row("durable", "half of top", &mut at_half, &cores);
    drop(server);

    // The same bytes, packed as they were.
    let packs = packs_of(&bodies, packed);
    let context = jetstream::new(stage.nats.client().await);
    for (who, each) in [
        ("file, synced", baseline::file(packs.clone()).await?),
        ("broker alone", baseline::publish(&context, packs).await?),
    ] {
        let mut answers = Answers {
            total: each.iter().sum(),
            each,
            ..Answers::default()
        };
        let rate = answers.rate() * f64::from(u32::try_from(packed)?);
        let half = percentile(&mut answers.each, 50);
        let most = percentile(&mut answers.each, 99);
        println!(
            "| {updates} | {who} | packed: {packed} posts a write | {rate:.0} | {half:.2?} | {most:.2?} | – | – | – |"
        );
    }
    println!(
        "| {updates} | durable / stores nothing | top | {:.0} % | | | | | |",
        100.0 * durable.rate() / baseline.rate()
    );
    Ok(())
}

fn load(options: &Options, updates: usize, address: SocketAddr) -> (Load, Vec<Bytes>) {
    // A message takes some 500 bytes of its post.
    let count = (PREPARED_BYTES_MAX / (500 * updates)).clamp(1, 20_000);
    let kind = Kind {
        first: 0,
        count,
        updates,
        customers: options.customers,
    };
    let posts = Posts::new(kind, address, start());
    let load = Load {
        address,
        requests: Arc::new(posts.requests),
        connections: options.connections,
        length: Some(Duration::from_secs(options.seconds)),
        rate: None,
    };
    (load, posts.bodies)
}

/// When the customers wrote: as good as any other time.
fn start() -> Timestamp {
    use casement_shell::Clock as _;
    casement_shell::SystemClock::new().now()
}

/// Measures after a second of the same load, so that connections, caches and files are warm.
pub(crate) async fn measure(
    load: &Load,
    ids: &[u32],
) -> anyhow::Result<(Answers, Vec<Option<f64>>)> {
    let warm = Load {
        length: Some(Duration::from_secs(1)),
        ..load.clone()
    };
    warm.run().await?;
    let watched = Watched::start(ids).await;
    let answers = load.run().await?;
    ensure!(!answers.each.is_empty(), "every post was refused");
    Ok((answers, watched.cores().await))
}

fn packs_of(bodies: &[Bytes], packed: usize) -> Vec<Bytes> {
    let mut packs = Vec::new();
    let mut bytes = 0;
    for pack in bodies.chunks(packed) {
        let pack = Bytes::from(pack.concat());
        bytes += pack.len();
        packs.push(pack);
        if bytes > BASELINE_BYTES_MAX {
            break;
        }
    }
    packs
}

async fn normaliser(options: &Options, updates: usize) -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let context = jetstream::new(stage.nats.client().await);
    let kind = Kind {
        first: 0,
        count: (options.normalise / updates).max(1),
        updates,
        customers: options.customers,
    };
    let count = kind.count * updates;
    let (door, address) = stage.server(Part::Door).await?;
    let posts = Posts::new(kind, address, start());
    let load = Load {
        address,
        requests: Arc::new(posts.requests),
        connections: options.connections,
        length: None,
        rate: None,
    };
    let answers = load.run().await?;
    ensure!(
        answers.refused == 0,
        "{} posts were refused",
        answers.refused
    );
    drop(door);

    let (server, _) = stage.server(Part::Whole).await?;
    let watched = Watched::start(&[server.id(), stage.nats.id()]).await;
    let begun = Instant::now();
    while !is_drained(&context).await? {
        ensure!(
            begun.elapsed() < NORMALISER_MAX,
            "the normaliser takes too long"
        );
        sleep(LOOK_INTERVAL).await;
    }
    let took = begun.elapsed();
    let cores = watched.cores().await;
    drop(server);
    let of =
        |took: Duration| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64();
    println!(
        "| {updates} | normaliser | {:.0} | {} | {} |",
        of(took),
        cores_text(cores[0]),
        cores_text(cores[1])
    );

    let mut events = baseline::read(&context, stream::EVENTS, 0).await?;
    ensure!(
        events.len() == count,
        "{} events of {count} updates",
        events.len()
    );
    events.extend(baseline::read(&context, stream::CUSTOMERS, 0).await?);
    let raw = stage.log.state(stream::RAW).await?;
    let watched = Watched::start(&[std::process::id(), stage.nats.id()]).await;
    let packs = usize::try_from(raw.messages)?;
    let took = baseline::consume_and_append(&context, 0, packs, &events).await?;
    let cores = watched.cores().await;
    println!(
        "| {updates} | broker alone: {packs} packs read, {} events in batches | {:.0} | {} | {} |",
        events.len(),
        of(took),
        cores_text(cores[0]),
        cores_text(cores[1])
    );
    Ok(())
}

pub(crate) async fn is_drained(context: &jetstream::Context) -> anyhow::Result<bool> {
    let raw = context.get_stream(stream::RAW).await?;
    let Ok(info) = raw.consumer_info(NORMALISER).await else {
        return Ok(false);
    };
    Ok(info.num_pending == 0 && info.num_ack_pending == 0)
}
