//! Steady load for as long as one likes: whether memory, open files, threads and what waits stay
//! where they are, and how much log and archive grow for each message.
//!
//! All roles run as processes of their own, as in production. Customers write at a rate, as many
//! messages are asked for, and the provider reports on each. Every few seconds is noted what each
//! process holds, what is stored and what waits. At the end the run is judged, and fails if
//! something grew that should not, if a message was lost, or if one was sent twice.

mod judge;
mod report;
mod sample;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use casement_simulator::Handle;
use casement_testkit::Postgres;
use clap::{Args, ValueEnum};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::sample::{Looker, Sample};
use crate::dispatch::scene::{Plan, Scene, Who, dispatcher};
use crate::dispatch::sender::{Sender, after};
use crate::roles::{self, Role};
use crate::{cost, page};

/// Business numbers that send, so many that their own rate is nobody's limit.
const NUMBERS: usize = 8;

/// How long what is left at the end may take.
const DRAIN_MAX: Duration = Duration::from_mins(10);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Minutes of load; less than ten are too few to judge memory by.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Messages a second from customers, and as many to them.
    #[arg(long, default_value_t = 20)]
    rate: usize,
    /// How many customers there are, each in an open window.
    #[arg(long, default_value_t = 1_000)]
    customers: usize,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 10)]
    sample_seconds: u64,
    /// Where the archive is kept.
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
    /// The `casement` whose roles are run; by default the one that was built beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// A file to which each look is added as a line of JSON.
    #[arg(long)]
    samples: Option<PathBuf>,
    /// A page to write the result to, between its markers, with plots in `benchmarks/` beside it.
    #[arg(long)]
    page: Option<PathBuf>,
    /// What is to be said about the machine, such as what else it was doing.
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let machine = cost::machine().await;
    let before = cost::load().await;
    let program = roles::program(options.program.as_deref())?;
    let postgres = match options.database {
        Database::Sqlite => None,
        Database::Postgres => Some(Postgres::start_synced().await),
    };
    let url = match &postgres {
        None => None,
        Some(postgres) => Some(postgres.fresh_database().await),
    };
    let plan = Plan::unhindered(&program, options.customers, NUMBERS);
    let scene = Scene::set_with(&plan, url.as_deref()).await?;
    let roles = scene.system.start_roles(&Role::ALL).await?;
    scene.open_windows().await?;
    scene.quiet(roles.last(), DRAIN_MAX).await?;
    println!(
        "soak: {} minutes, {} messages a second each way, {} customers",
        options.minutes, options.rate, options.customers
    );

    let looker = Looker {
        context: jetstream::new(scene.system.nats.client().await),
        scene: &scene,
        roles: &roles,
        postgres: postgres.as_ref(),
        database_url: url.as_deref(),
    };
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let mut calls = Calls::since(&scene.provider);
    let before_calls = scene.provider.sent_count();
    let sender = Sender::new(dispatcher(&roles)?, scene.who)?.insisting();
    let count = count_in(options.rate, length);
    let load = async {
        tokio::try_join!(
            write(&scene, options.rate, count),
            sender.paced(0, count, options.rate, &scene.clock),
        )
    };
    let mut samples = Vec::new();
    let begun = Instant::now();
    let mut load = std::pin::pin!(load);
    let mut looks = interval(Duration::from_secs(options.sample_seconds.max(1)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asked = loop {
        tokio::select! {
            done = &mut load => break done?.1,
            _ = looks.tick() => {
                let sample = looker.look(begun.elapsed()).await?;
                calls.look(&scene.provider)?;
                note(options, &sample, samples.len())?;
                samples.push(sample);
            }
        }
    };
    let all = before_calls + u64::try_from(count)?;
    scene.called(all, DRAIN_MAX).await?;
    scene.quiet(roles.last(), DRAIN_MAX).await?;
    let last = looker.look(begun.elapsed()).await?;
    note(options, &last, samples.len())?;
    calls.look(&scene.provider)?;
    let asked: HashSet<String> = asked.into_iter().map(|asked| asked.message_id).collect();
    calls.are(&asked)?;

    let judged = judge::judge(&samples, &last, count);
    let run = report::Run {
        machine,
        loads: [before, cost::load().await],
        minutes: options.minutes,
        rate: options.rate,
        customers: options.customers,
        messages: count,
        note: &options.note,
    };
    let text = report::text(&run, &samples, &last, &judged);
    println!("\n{text}");
    if let Some(path) = &options.page {
        write_page(path, &text, &samples)?;
    }
    ensure!(
        judged.iter().all(|one| one.holds != Some(false)),
        "something grew that should not; see above"
    );
    Ok(())
}

/// Writes the result to a page, and plots into `benchmarks/` beside it.
fn write_page(path: &Path, text: &str, samples: &[Sample]) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .context("a page is in a folder")?
        .join("benchmarks");
    std::fs::create_dir_all(&folder)?;
    let mut images = String::new();
    for (file, title, svg) in report::plots(samples) {
        std::fs::write(folder.join(file), svg)?;
        // Writing to text cannot fail.
        let _ = write!(images, "\n![{title}](benchmarks/{file})\n");
    }
    page::write(path, "soak", &format!("{text}{images}"))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn count_in(rate: usize, length: Duration) -> usize {
    let seconds = usize::try_from(length.as_secs()).unwrap_or(usize::MAX);
    rate.saturating_mul(seconds.max(1))
}

/// Lets customers write when they are due, whatever becomes of those before.
async fn write(scene: &Scene, rate: usize, count: usize) -> anyhow::Result<()> {
    let known: HashMap<String, _> = scene
        .provider
        .customers()
        .into_iter()
        .filter_map(|customer| Some((customer.phone?, customer.id)))
        .collect();
    let started = Instant::now();
    for index in 0..count {
        sleep_until(started + after(index, rate)).await;
        let customer = scene.who.customer(index);
        let id = known
            .get(&Who::phone(customer))
            .context("the provider knows each customer")?;
        let (_, number) = scene.who.number(customer);
        scene.provider.says(id, &number, "And in green?")?;
    }
    Ok(())
}

/// Adds a look to the file of them, and now and then says that it goes on.
fn note(options: &Options, sample: &Sample, index: usize) -> anyhow::Result<()> {
    if index.is_multiple_of(30) {
        println!("{}", sample.line());
    }
    let Some(path) = &options.samples else {
        return Ok(());
    };
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| path.display().to_string())?;
    writeln!(file, "{}", serde_json::to_string(sample)?)?;
    Ok(())
}

/// The provider's books, looked at often enough that nothing of them is forgotten meanwhile.
struct Calls {
    next: u64,
    messages: HashSet<String>,
}

impl Calls {
    fn since(provider: &Handle) -> Self {
        Self {
            next: provider.sent_count(),
            messages: HashSet::new(),
        }
    }

    fn look(&mut self, provider: &Handle) -> anyhow::Result<()> {
        for call in provider.sent_since(self.next) {
            self.next = call.seq + 1;
            let named = call.callback_data.context("each call names its attempt")?;
            let (message_id, _) = named.rsplit_once('.').context("an attempt of a message")?;
            ensure!(
                self.messages.insert(message_id.to_owned()),
                "a message was sent twice"
            );
        }
        Ok(())
    }

    fn are(&self, asked: &HashSet<String>) -> anyhow::Result<()> {
        let lost = asked.difference(&self.messages).count();
        ensure!(
            lost == 0,
            "{lost} of {} messages were not sent",
            asked.len()
        );
        ensure!(
            self.messages.len() == asked.len(),
            "{} messages were sent that nobody asked for",
            self.messages.len() - asked.len()
        );
        Ok(())
    }
}
