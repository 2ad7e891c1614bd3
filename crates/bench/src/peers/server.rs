//! Those that take posts, each a process of its own, and what arrived there.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use casement_event::Event;
use casement_event::subject::stream;
use casement_testkit::{Postgres, Process, free_port};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::cases::Update;
use crate::cost::Payer;
use crate::ingest::child::Part;
use crate::ingest::{self, Stage};
use crate::posts::SECRET;
use crate::replicas::events;

/// How long a server may take until it listens, and until it has seen to what it took.
const READY_MAX: Duration = Duration::from_mins(1);
const SETTLED_MAX: Duration = Duration::from_mins(2);

/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// For how many looks nothing may be added, until everything is taken to be there.
const SAME_LOOKS: usize = 20;

/// Who takes posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Casement,
    /// The handler that a team writes by hand.
    FastApi {
        processes: usize,
    },
    /// Libraries, whose handlers store what they are handed, or keep it in memory.
    Pywa {
        is_stored: bool,
    },
    WhatsappApiJs {
        is_stored: bool,
    },
}

impl Who {
    pub(super) fn name(self) -> String {
        match self {
            Self::Casement => "Casement's ingress".to_owned(),
            Self::FastApi { processes: 1 } => "FastAPI and PostgreSQL".to_owned(),
            Self::FastApi { processes } => {
                format!("FastAPI and PostgreSQL, {processes} processes")
            }
            Self::Pywa { is_stored: true } => "pywa and PostgreSQL".to_owned(),
            Self::Pywa { is_stored: false } => "pywa".to_owned(),
            Self::WhatsappApiJs { is_stored: true } => "whatsapp-api-js and PostgreSQL".to_owned(),
            Self::WhatsappApiJs { is_stored: false } => "whatsapp-api-js".to_owned(),
        }
    }

    /// What is certain once a post was answered 200, on one machine: nothing here is replicated.
    pub(super) fn promise(self) -> &'static str {
        match self {
            Self::Casement => "the post is synced by the broker",
            Self::FastApi { .. } => "its updates are committed and synced",
            Self::Pywa { is_stored: true } => "it was read; handlers run afterwards",
            Self::WhatsappApiJs { is_stored: true } => "its first update is committed and synced",
            Self::Pywa { is_stored: false } | Self::WhatsappApiJs { is_stored: false } => {
                "it is in memory"
            }
        }
    }
}

/// One that runs.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    store: Store,
}

/// Where what arrived is found.
enum Store {
    /// On the log; only posts are taken until somebody looks.
    Log(Box<Stage>),
    /// In a database of its own.
    Database(String),
    /// In memory, where nobody looks.
    Nothing,
}

impl Server {
    pub(super) async fn start(
        who: Who,
        installed: &Path,
        handlers: &Path,
        postgres: &Postgres,
    ) -> anyhow::Result<Self> {
        if who == Who::Casement {
            let stage = Stage::start().await?;
            let (process, address) = stage.server(Part::Door).await?;
            return Ok(Self {
                process,
                address,
                store: Store::Log(Box::new(stage)),
            });
        }
        let store = match who {
            Who::Pywa { is_stored: false } | Who::WhatsappApiJs { is_stored: false } => {
                Store::Nothing
            }
            _ => Store::Database(table(who, postgres).await),
        };
        let port = free_port();
        let mut command = command(who, installed, port)?;
        command.current_dir(handlers);
        command
            .env("APP_SECRET", SECRET)
            .env("VERIFY_TOKEN", "bench-verify-token")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        match &store {
            Store::Database(url) => command.env("STORE", "postgres").env("DATABASE_URL", url),
            _ => command.env("STORE", "memory"),
        };
        let mut process = Process::start(&mut command);
        if matches!(who, Who::FastApi { processes: 2.. }) {
            // Its children end when they are asked to, and would outlive a kill.
            process = process.gently();
        }
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(
                process.is_running() && begun.elapsed() < READY_MAX,
                "{} does not listen; it says:\n{}",
                who.name(),
                process.stderr()
            );
            sleep(LOOK_INTERVAL).await;
        }
        Ok(Self {
            process,
            address,
            store,
        })
    }

    /// What stores for it: broker or database.
    pub(super) fn behind(&self, postgres: &Postgres) -> Option<Payer> {
        match &self.store {
            Store::Log(stage) => Some(Payer::Process(stage.nats.id())),
            Store::Database(_) => Some(Payer::Family(postgres.id())),
            Store::Nothing => None,
        }
    }

    /// How many updates are in the database; `None` where none are.
    pub(super) async fn count(&self, postgres: &Postgres) -> anyhow::Result<Option<usize>> {
        let Store::Database(url) = &self.store else {
            return Ok(None);
        };
        let count = postgres.sql(url, "SELECT count(*) FROM updates").await;
        Ok(Some(count.trim().parse()?))
    }

    /// How many updates are in the database once no more come.
    pub(super) async fn settled(&mut self, postgres: &Postgres) -> anyhow::Result<usize> {
        let begun = Instant::now();
        let (mut last, mut same) = (0, 0);
        while same < SAME_LOOKS {
            let count = self.count(postgres).await?.context("a database")?;
            same = if count == last { same + 1 } else { 0 };
            last = count;
            ensure!(begun.elapsed() < SETTLED_MAX, "updates come on and on");
            sleep(LOOK_INTERVAL).await;
        }
        Ok(last)
    }

    /// What arrived, each as often as it did. Casement's ingress is started once more for this, with
    /// its normaliser.
    pub(super) async fn seen(&mut self, postgres: &Postgres) -> anyhow::Result<Vec<Update>> {
        match &self.store {
            Store::Nothing => Ok(Vec::new()),
            Store::Database(url) => {
                let url = url.clone();
                self.settled(postgres).await?;
                let rows = postgres.sql(&url, "SELECT kind, id FROM updates").await;
                let rows = rows.lines().filter_map(|row| row.split_once('|'));
                Ok(rows
                    .map(|(kind, id)| (kind.to_owned(), id.to_owned()))
                    .collect())
            }
            Store::Log(stage) => {
                self.process.kill9();
                let (process, _) = stage.server(Part::Whole).await?;
                let context = jetstream::new(stage.nats.client().await);
                let begun = Instant::now();
                while !ingest::is_drained(&context).await? {
                    ensure!(
                        begun.elapsed() < SETTLED_MAX,
                        "the normaliser takes too long"
                    );
                    sleep(LOOK_INTERVAL).await;
                }
                let all = events(&context, stream::EVENTS).await?;
                self.process = process;
                Ok(all.into_iter().filter_map(update).collect())
            }
        }
    }
}

fn update(event: Event) -> Option<Update> {
    match event {
        Event::InboundMessageReceived(it) => Some(("message".to_owned(), it.provider_message_id)),
        Event::ForeignStatusReported(it) => {
            Some((format!("status {}", it.status), it.provider_message_id))
        }
        _ => None,
    }
}

/// Makes a database with the table that handlers insert into.
async fn table(who: Who, postgres: &Postgres) -> String {
    let url = postgres.fresh_database().await;
    // By hand one says what may be there once; a library's handler is handed what it is handed.
    let key = match who {
        Who::FastApi { .. } => ", PRIMARY KEY (kind, id)",
        _ => "",
    };
    let statement =
        format!("CREATE TABLE updates (kind text NOT NULL, id text NOT NULL, body jsonb{key})");
    postgres.sql(&url, &statement).await;
    url
}

fn command(who: Who, installed: &Path, port: u16) -> anyhow::Result<Command> {
    // Handlers are started in their own folder.
    let installed = installed
        .canonicalize()
        .with_context(|| installed.display().to_string())?;
    let uvicorn = |app: &str, processes: usize| {
        let mut command = Command::new(installed.join("python/bin/python"));
        command.args(["-m", "uvicorn", app, "--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string()]);
        command.args(["--workers", &processes.to_string()]);
        command.args(["--log-level", "warning", "--no-access-log"]);
        command
    };
    Ok(match who {
        Who::FastApi { processes } => uvicorn("fastapi_postgres:app", processes),
        Who::Pywa { .. } => uvicorn("pywa_handler:app", 1),
        _ => {
            let mut command = Command::new("node");
            command.arg(installed.join("node/whatsapp_api_js.mjs"));
            command.arg(port.to_string());
            command
        }
    })
}
