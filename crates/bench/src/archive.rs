//! The archive: how much goes into each database, how far it is behind, how soon questions are
//! answered, how fast it is verified, and what an event costs there.
//!
//! The projector is a process of its own, as in production, with a broker that syncs each write.
//! Beside what it archives stands a raw bulk load of the same rows in the same run: the same
//! columns into a table with a key and nothing else, as many rows a transaction, synced alike,
//! without a hash, a seal or a read model.

mod behind;
mod reads;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use casement_audit_projector::{ArchivePlace, Proof, verify_archive};
use casement_event::subject::stream;
use casement_shell::{Clock as _, SystemClock};
use casement_testkit::Postgres;
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use crate::measure::rate;
use crate::roles::{Role, System};
use crate::window::stored::{self, Told, Windows};
use crate::{cost, roles};
use store::{Place, Store};

/// How often the archive is looked at while it is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a million conversations may take.
const ARCHIVED_MAX: Duration = Duration::from_hours(1);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure this database alone; may be given several times.
    #[arg(long, value_enum)]
    database: Vec<Database>,
    /// The `casement` whose projector is measured; by default the one that was built beside this
    /// program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// How many conversations there are; each has a message and a window.
    #[arg(long, default_value_t = 1_000_000)]
    conversations: usize,
    /// How many rows are loaded in bulk, to compare; the oldest ones.
    #[arg(long, default_value_t = 200_000)]
    bulk: usize,
    #[command(flatten)]
    behind: behind::Options,
    #[command(flatten)]
    reads: reads::Options,
}

/// A database system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let program = roles::program(options.program.as_deref())?;
    Box::pin(cost::framed(each(options, &program))).await
}

async fn each(options: &Options, program: &Path) -> anyhow::Result<()> {
    for database in Database::ALL {
        if options.database.is_empty() || options.database.contains(&database) {
            println!(
                "{}, {} conversations\n",
                database.name(),
                options.conversations
            );
            println!("| what | figure | beside |");
            println!("|---|---:|---:|");
            Box::pin(one(options, database, program)).await?;
            println!();
        }
    }
    Ok(())
}

fn row(what: &str, figure: &str, beside: &str) {
    println!("| {what} | {figure} | {beside} |");
}

async fn one(options: &Options, database: Database, program: &Path) -> anyhow::Result<()> {
    let server = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(Postgres::start().await),
    };
    let url = match &server {
        None => None,
        Some(server) => Some(server.fresh_database().await),
    };
    let system = System::start(program, url.as_deref()).await?;
    let file = system.folder().join("archive.sqlite");
    let place = match &url {
        None => Place::File(file.clone()),
        Some(url) => Place::Url(url.clone()),
    };

    let count = options.conversations;
    let (windows, at) = (Windows::new()?, spread(count));
    stored::load(&system.log, count, |index| {
        windows.inbound(index, at(index)?)
    })
    .await?;
    let told = |index| windows.told(index, at(index)?, Told::Opened);
    stored::load(&system.log, count, told).await?;
    let logged = system.log.state(stream::EVENTS).await?;

    let mut projector = system.spawn(Role::AuditProjector);
    let archived = archive(&place, logged.last_sequence).await?;
    projector.ready().await?;
    let store = Store::open(&place).await?;
    let rows = store.rows().await?;
    ensure!(
        rows == logged.messages,
        "{rows} of {} events are archived",
        logged.messages
    );
    let bulk = bulk(options, database, server.as_ref(), &system, &store).await?;
    let share = archived.a_second() / bulk.a_second();
    row(
        "events archived from the log",
        &rate(archived.count, archived.time),
        &format!("{:.0} % of a raw bulk load", share * 100.0),
    );
    row(
        "raw bulk load of the same rows",
        &rate(bulk.count, bulk.time),
        "",
    );

    behind::run(&options.behind, &system, &store, count).await?;
    reads::run(&options.reads, &projector, count).await?;
    verify(&place).await?;
    cost_of_an_event(&store).await?;
    projector.process.terminate();
    projector.process.wait().await;
    Ok(())
}

/// When each customer wrote: over eight hours that have passed, so that no window ends meanwhile.
fn spread(count: usize) -> impl Fn(usize) -> anyhow::Result<jiff::Timestamp> {
    let start = SystemClock::new().now() - SignedDuration::from_hours(12);
    move |index| {
        let millis = 8 * 3_600_000 * index / count.max(1);
        Ok(start.checked_add(SignedDuration::from_millis(i64::try_from(millis)?))?)
    }
}

/// So many in that time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    count: usize,
    time: Duration,
}

impl Pace {
    fn a_second(self) -> f64 {
        f64::from(u32::try_from(self.count).unwrap_or(u32::MAX)) / self.time.as_secs_f64()
    }
}

/// Waits until all is archived. The time runs from when the first of it was seen there.
async fn archive(place: &Place, last: u64) -> anyhow::Result<Pace> {
    let begun = Instant::now();
    let mut first: Option<(u64, Instant)> = None;
    let mut store = None;
    loop {
        ensure!(begun.elapsed() < ARCHIVED_MAX, "the archive takes too long");
        // There is none before the projector has made it.
        if store.is_none() {
            store = Store::open(place).await.ok();
        }
        let head = match &store {
            Some(store) => store.head(stream::EVENTS).await.unwrap_or(0),
            None => 0,
        };
        if head > 0 {
            let (from, since) = *first.get_or_insert((head, Instant::now()));
            if head >= last {
                return Ok(Pace {
                    // What was there at first sight took no time that was seen.
                    count: usize::try_from(if from < last { last - from } else { last })?,
                    time: since.elapsed().max(Duration::from_micros(1)),
                });
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}

async fn bulk(
    options: &Options,
    database: Database,
    server: Option<&Postgres>,
    system: &System,
    store: &Store,
) -> anyhow::Result<Pace> {
    let place = match (database, server) {
        (Database::Postgres, Some(server)) => Place::Url(server.fresh_database().await),
        _ => Place::File(system.folder().join("bulk.sqlite")),
    };
    let (count, time) = store.bulk_into(&place, options.bulk).await?;
    Ok(Pace { count, time })
}

/// Recomputes every chain, as `casement audit verify` does.
async fn verify(place: &Place) -> anyhow::Result<()> {
    let archive = match place {
        Place::File(path) => ArchivePlace::File(path.clone()),
        Place::Url(url) => ArchivePlace::Url(url.as_str().into()),
    };
    let begun = Instant::now();
    let masters = roles::customer_keys()?;
    let reports = verify_archive(&archive, masters.into(), &Proof::default()).await?;
    let took = begun.elapsed();
    ensure!(!reports.is_empty(), "there is no chain");
    let mut checked = 0;
    for report in &reports {
        ensure!(report.is_intact(), "{} is broken", report.stream);
        checked += usize::try_from(report.checked_count)?;
    }
    row(
        "verification",
        &rate(checked, took),
        &format!("{checked} rows in {took:.1?}"),
    );
    Ok(())
}

async fn cost_of_an_event(store: &Store) -> anyhow::Result<()> {
    let rows = store.rows().await?.max(1);
    let (archive, all) = store.bytes().await?;
    row(
        "an event in the archive, with its indexes",
        &format!("{} B", archive / rows),
        &format!(
            "{} B of headers and payload",
            store.content_bytes().await? / rows
        ),
    );
    row(
        "an event in the whole database",
        &format!("{} B", all / rows),
        "with all read models",
    );
    Ok(())
}
