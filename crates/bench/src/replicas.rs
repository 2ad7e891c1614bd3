//! One, two and four processes of each role: what comes of the same messages, and what they cost.
//!
//! Not how much more goes through: on a machine with two processors, more processes have no more of
//! them. What is checked, and fails the run, is that nothing is lost or done twice; what is
//! measured is processor time for a thousand messages, and how soon another dispatcher sends when
//! the active one leaves.
//!
//! The archive is in PostgreSQL, since one process alone writes to a file of SQLite.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::{self, consumer};
use casement_event::subject::stream;
use casement_event::{Event, header};
use casement_shell::{Clock as _, SystemClock};
use casement_testkit::Postgres;
use clap::Args;
use futures::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cost::{self, Payer, Watched};
use crate::dispatch::scene::{Plan, Scene};
use crate::dispatch::sender::Sender;
use crate::load::Load;
use crate::posts::{Kind, Posts};
use crate::roles::{self, Role, Running};

/// How long a run may take to be worked off.
const DRAIN_MAX: Duration = Duration::from_mins(10);

/// How often progress is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Connections to each ingress, and requests at once to each dispatcher.
const AT_ONCE: usize = 16;

/// Business numbers that send, so many that their own rate is nobody's limit.
const NUMBERS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many processes of each role; each is a run of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    of: Vec<usize>,
    /// How many customers are written to, and as many others write.
    #[arg(long, default_value_t = 500)]
    customers: usize,
    /// Messages each way.
    #[arg(long, default_value_t = 3_000)]
    messages: usize,
    /// The `casement` whose roles are run; by default the one that was built beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    Box::pin(cost::framed(all(options))).await
}

async fn all(options: &Options) -> anyhow::Result<()> {
    let program = roles::program(options.program.as_deref())?;
    let postgres = Postgres::start_synced().await;
    let mut outcomes = Vec::new();
    for of in &options.of {
        let url = postgres.fresh_database().await;
        let plan = Plan::unhindered(&program, options.customers, NUMBERS);
        let scene = Scene::set_with(&plan, Some(&url)).await?;
        let bench = Bench::start(scene, (*of).max(1), options, &postgres).await?;
        outcomes.push(bench.run().await?);
    }
    costs(options, &outcomes);
    claims(&outcomes);
    Ok(())
}

/// What came of one run.
struct Outcome {
    of: usize,
    /// Seconds of processor time of each role, of the broker, and of the database.
    seconds: Vec<f64>,
    took: Duration,
    received: usize,
    opened: usize,
    sent: usize,
    ended: usize,
    /// From the end of the active dispatcher until another sent.
    moved: Option<Duration>,
}

fn costs(options: &Options, outcomes: &[Outcome]) {
    println!("Processor time for a thousand messages\n");
    let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
    println!(
        "| of each role | seconds: {} | broker | PostgreSQL | all of it |",
        names.join(" | ")
    );
    println!("|---|{}", "---:|".repeat(names.len() + 3));
    let messages = f64::from(u32::try_from(2 * options.messages).unwrap_or(u32::MAX));
    for outcome in outcomes {
        let mut all = outcome.seconds.clone();
        all.push(outcome.seconds.iter().sum());
        let all: Vec<String> = all
            .into_iter()
            .map(|seconds| format!("{:.2}", 1_000.0 * seconds / messages))
            .collect();
        println!("| {} | {} |", outcome.of, all.join(" | "));
    }
    println!(
        "\n{} messages from customers and as many to them; their statuses are among the costs\n",
        options.messages
    );
}

fn claims(outcomes: &[Outcome]) {
    println!("What came of them\n");
    println!(
        "| of each role | received | windows opened | sent | ended | lost | twice | took | until another dispatcher sent |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for outcome in outcomes {
        let moved = outcome
            .moved
            .map_or_else(|| "–".to_owned(), |moved| format!("{moved:.2?}"));
        println!(
            "| {} | {} | {} | {} | {} | 0 | 0 | {:.1?} | {moved} |",
            outcome.of, outcome.received, outcome.opened, outcome.sent, outcome.ended, outcome.took
        );
    }
    println!("\nnothing was lost or done twice\n");
}

struct Bench<'a> {
    of: usize,
    options: &'a Options,
    scene: Scene,
    /// As many of each role as there are to be, the processes of a role one after the other.
    roles: Vec<Vec<Running>>,
    postgres: u32,
}

impl<'a> Bench<'a> {
    async fn start(
        scene: Scene,
        of: usize,
        options: &'a Options,
        postgres: &Postgres,
    ) -> anyhow::Result<Self> {
        let mut roles = Vec::new();
        for role in Role::ALL {
            let mut same = vec![scene.system.spawn(role)];
            // The first one makes what all of them need.
            same[0].ready().await?;
            for _ in 1..of {
                let mut another = scene.system.spawn_another(role);
                another.ready().await?;
                same.push(another);
            }
            roles.push(same);
        }
        scene.open_windows().await?;
        Ok(Self {
            of,
            options,
            scene,
            roles,
            postgres: postgres.id(),
        })
    }

    fn of(&self, role: Role) -> anyhow::Result<&[Running]> {
        let found = self.roles.iter().find(|same| same[0].name() == role.name());
        found.map(Vec::as_slice).context("every role runs")
    }

    async fn run(mut self) -> anyhow::Result<Outcome> {
        self.archived().await?;
        let ids: Vec<u32> = self.roles.iter().flatten().map(Running::id).collect();
        let mut payers: Vec<Payer> = ids.into_iter().map(Payer::from).collect();
        payers.push(self.scene.system.nats.id().into());
        payers.push(Payer::Family(self.postgres));
        let count = self.options.messages;
        let called_before = self.scene.provider.sent_count();
        let watched = Watched::start(&payers).await;
        let begun = Instant::now();
        tokio::try_join!(self.receive(count), self.send(0, count))?;
        self.scene
            .called(called_before + u64::try_from(count)?, DRAIN_MAX)
            .await?;
        self.archived().await?;
        let took = begun.elapsed();
        let seconds = self.sums(&watched.seconds().await);

        let moved = if self.of > 1 {
            Some(self.hand_over(count).await?)
        } else {
            None
        };
        self.archived().await?;
        let sent = if moved.is_some() { 2 * count } else { count };
        let claims = self.check(called_before, sent).await?;
        Ok(Outcome {
            of: self.of,
            seconds,
            took,
            moved,
            ..claims
        })
    }

    /// Adds up what the processes of each role took; broker and database come last.
    fn sums(&self, seconds: &[Option<f64>]) -> Vec<f64> {
        let add = |part: &[Option<f64>]| part.iter().flatten().sum();
        let (roles, behind) = seconds.split_at(self.roles.len() * self.of);
        let mut sums: Vec<f64> = roles.chunks(self.of).map(add).collect();
        sums.extend(behind.chunks(1).map(add));
        sums
    }

    /// Lets customers write, spread over every ingress.
    async fn receive(&self, count: usize) -> anyhow::Result<()> {
        let mut loads = JoinSet::new();
        let share = count.div_ceil(self.of);
        for (index, ingress) in self.of(Role::Ingress)?.iter().enumerate() {
            let first = index * share;
            let address = SocketAddr::from(([127, 0, 0, 1], ingress.webhooks()));
            let kind = Kind {
                first,
                count: share.min(count.saturating_sub(first)),
                updates: 1,
                customers: self.options.customers,
            };
            let posts = Posts::new(kind, address, SystemClock::new().now());
            let load = Load {
                address,
                requests: Arc::new(posts.requests),
                connections: AT_ONCE,
                length: None,
                rate: None,
            };
            loads.spawn(async move { load.run().await });
        }
        while let Some(done) = loads.join_next().await {
            let answers = done??;
            ensure!(
                answers.refused == 0,
                "{} posts were refused",
                answers.refused
            );
        }
        Ok(())
    }

    /// Asks for messages, spread over every dispatcher: one of them sends.
    async fn send(&self, first: usize, count: usize) -> anyhow::Result<()> {
        let mut callers = JoinSet::new();
        let share = count.div_ceil(self.of);
        for (index, dispatcher) in self.of(Role::Dispatcher)?.iter().enumerate() {
            let sender = Sender::new(dispatcher, self.scene.who)?;
            let from = index * share;
            let count = share.min(count.saturating_sub(from));
            callers.spawn(async move { sender.burst(first + from, count, AT_ONCE).await });
        }
        while let Some(done) = callers.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Asks for messages at the dispatchers that stand by, and stops the active one as in an
    /// upgrade; returns how long it took until another one sent.
    async fn hand_over(&mut self, count: usize) -> anyhow::Result<Duration> {
        let position = Role::ALL
            .iter()
            .position(|role| *role == Role::Dispatcher)
            .context("there is a dispatcher")?;
        let mut active = None;
        for (index, dispatcher) in self.of(Role::Dispatcher)?.iter().enumerate() {
            let name = "casement_dispatcher_active_replicas";
            if dispatcher.metric(name).await? > 0.0 {
                ensure!(active.is_none(), "two dispatchers are active");
                active = Some(index);
            }
        }
        let mut leaving = self.roles[position].remove(active.context("no dispatcher is active")?);
        let called_before = self.scene.provider.sent_count();
        let sender = Sender::new(&self.roles[position][0], self.scene.who)?;
        let asking = tokio::spawn(async move { sender.burst(count, count, AT_ONCE).await });
        self.scene.called(called_before + 1, DRAIN_MAX).await?;
        leaving.process.terminate();
        leaving.process.wait().await;
        let (left, called) = (Instant::now(), self.scene.provider.sent_count());
        let all = called_before + u64::try_from(count)?;
        let mut moved = Duration::ZERO;
        if called < all {
            self.scene.called(called + 1, DRAIN_MAX).await?;
            moved = left.elapsed();
        }
        asking.await??;
        self.scene.called(all, DRAIN_MAX).await?;
        Ok(moved)
    }

    /// Waits until every role has seen to everything, and the archive has it.
    async fn archived(&self) -> anyhow::Result<()> {
        self.scene.quiet(None, DRAIN_MAX).await?;
        let begun = Instant::now();
        let projectors = self.of(Role::AuditProjector)?;
        while !self.scene.system.is_archived_by(projectors).await? {
            ensure!(
                begun.elapsed() < DRAIN_MAX,
                "the archive does not have everything"
            );
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Compares posts, the log and the provider's books: nothing is lost, nothing twice.
    async fn check(&self, called_before: u64, sent: usize) -> anyhow::Result<Outcome> {
        let (mut received, mut opened, mut ended) = (Ids::new(), Ids::new(), Ids::new());
        let context = &self.scene.context;
        for event in events(context, stream::EVENTS).await? {
            match event {
                Event::InboundMessageReceived(it) => received.add(it.provider_message_id),
                Event::WindowOpened(it) => opened.add(it.window.unwrap_or_default().window_id),
                _ => {}
            }
        }
        for event in events(context, stream::MESSAGES).await? {
            if let Event::MessageEnded(it) = event {
                ended.add(it.message_id);
            }
        }
        let mut called = Ids::new();
        for call in self.scene.provider.sent_since(called_before) {
            let named = call.callback_data.context("each call names its attempt")?;
            let (message_id, _) = named.rsplit_once('.').context("an attempt of a message")?;
            called.add(message_id.to_owned());
        }
        // Customers who are written to wrote once each, to open their windows; as many others
        // wrote the posts.
        let (customers, messages) = (self.options.customers, self.options.messages);
        let writers = customers.min(messages);
        received.are("messages received", customers + messages)?;
        opened.are("windows opened", customers + writers)?;
        called.are("calls of the provider", sent)?;
        ended.are("messages ended", sent)?;
        Ok(Outcome {
            of: self.of,
            seconds: Vec::new(),
            took: Duration::ZERO,
            received: received.all,
            opened: opened.all,
            sent: called.all,
            ended: ended.all,
            moved: None,
        })
    }
}

/// What was met, and how often in all.
struct Ids {
    different: HashSet<String>,
    all: usize,
}

impl Ids {
    fn new() -> Self {
        Self {
            different: HashSet::new(),
            all: 0,
        }
    }

    fn add(&mut self, id: String) {
        self.all += 1;
        self.different.insert(id);
    }

    fn are(&self, what: &str, expected: usize) -> anyhow::Result<()> {
        let (all, different) = (self.all, self.different.len());
        ensure!(
            all == different,
            "{what}: {} are there twice",
            all - different
        );
        ensure!(all == expected, "{what}: {all} and not {expected}");
        Ok(())
    }
}

/// Reads every event of a stream, as any subscriber could.
pub(crate) async fn events(context: &jetstream::Context, name: &str) -> anyhow::Result<Vec<Event>> {
    let mut stream = context.get_stream(name).await?;
    let last = stream.info().await?.state.last_sequence;
    let mut all = Vec::new();
    if last == 0 {
        return Ok(all);
    }
    let config = consumer::pull::OrderedConfig::default();
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
        let sequence = info.stream_sequence;
        let event_type = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(header::TYPE))
            .context("an event has a type")?;
        all.push(Event::decode(event_type.as_str(), &message.payload)?);
        if sequence >= last {
            break;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_done_twice_is_seen() {
        let mut ids = Ids::new();
        ids.add("one".to_owned());
        ids.add("two".to_owned());
        assert!(ids.are("messages", 2).is_ok());
        assert!(ids.are("messages", 3).is_err(), "one is lost");
        ids.add("two".to_owned());
        assert!(ids.are("messages", 3).is_err(), "one is there twice");
    }
}
