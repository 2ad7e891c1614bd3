//! The role as a whole: opened, served, run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use casement_domain::erasure::Ages;
use casement_event_log::Log;
use casement_event_log::customers::Tokens;
use casement_proto::audit::v1::audit_service_server::AuditServiceServer;
use casement_proto::conversation::v1::conversation_service_server::ConversationServiceServer;
use casement_proto::figures::v1::figures_service_server::FiguresServiceServer;
use casement_proto::message::v1::message_query_service_server::MessageQueryServiceServer;
use casement_secrets::keys::MasterKeys;
use casement_shell::SharedClock;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use casement_shell::health::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;

use crate::archive::Archiver;
use crate::config::Config;
use crate::desk::Desk;
use crate::erasure::Eraser;
use crate::figures::Counter;
use crate::grpc::Backend;
use crate::grpc::audit::AuditApi;
use crate::grpc::conversation::ConversationApi;
use crate::grpc::customer_export::CustomerExports;
use crate::grpc::erasures::Erasures;
use crate::grpc::messages::MessageQueryApi;
use crate::grpc::stands::FiguresApi;
use crate::progress::Progress;
use crate::purge::{Keep, Purger};
use crate::rebuild::Rebuilder;
use crate::sealer::Sealer;
use crate::sign::{HeadSigner, SigningKeys};
use crate::store::{self, Postgres, SharedGate, SharedStore, Sqlite};
use crate::watch::Watcher;

/// How long the role waits in its end for those who still ask the database.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The role, ready to be served and run.
#[derive(Debug)]
pub struct Role {
    backend: Backend,
    counter: Counter,
    desk: Desk,
    archivers: Vec<Archiver>,
    purger: Purger,
    rebuilder: Rebuilder,
    sealer: Sealer,
    tokens: Option<Tokens>,
    eraser: Eraser,
    signer: HeadSigner,
    closing: CancellationToken,
}

/// Opens the archive; nothing is archived before [`Role::run`].
///
/// The role is not ready before each stream's archive has caught up, and while its database is
/// away: a latch each, `archive EVENTS` and so on, tells.
///
/// A PostgreSQL server that is away is waited for, then and later.
///
/// Customers' keys are kept under `masters`: [`casement_secrets::Config::customer_keys`].
///
/// # Errors
/// When there is no master key, or it is not the one of this database. When the database cannot be
/// created, opened or migrated for a reason that waiting does not mend, when two databases are
/// named, or a duration is negative.
pub async fn start(
    config: Config,
    masters: Arc<MasterKeys>,
    log: Log,
    clock: SharedClock,
    readiness: &Readiness,
) -> anyhow::Result<Role> {
    let store = open(&config, masters, None).await?;
    assemble(&config, store, log, clock, readiness)
}

/// [`start`], with a gate before the database, which is an SQLite file: for whoever simulates the
/// role.
///
/// # Errors
/// As there; also when the gate does not let the opening through, or the database is not a file.
pub async fn start_behind(
    gate: SharedGate,
    config: Config,
    masters: Arc<MasterKeys>,
    log: Log,
    clock: SharedClock,
    readiness: &Readiness,
) -> anyhow::Result<Role> {
    let store = open(&config, masters, Some(gate)).await?;
    assemble(&config, store, log, clock, readiness)
}

fn assemble(
    config: &Config,
    store: SharedStore,
    log: Log,
    clock: SharedClock,
    readiness: &Readiness,
) -> anyhow::Result<Role> {
    crate::metrics::start();
    let position_wait = Duration::try_from(config.position_wait).context("position_wait")?;
    let (progress, tellers) = Progress::new(position_wait);
    let (counted, counters) = Progress::new(position_wait);
    let archivers = tellers
        .into_iter()
        .map(|(stream, teller)| Archiver {
            stream,
            log: log.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            teller,
            latch: readiness.latch(latch_name(stream)),
            lag_alarm: config.lag_alarm,
        })
        .collect();
    let desk = Desk {
        log: log.clone(),
        store: Arc::clone(&store),
        progress: progress.clone(),
        clock: Arc::clone(&clock),
    };
    let eraser = Eraser {
        log: log.clone(),
        store: Arc::clone(&store),
        progress: progress.clone(),
        clock: Arc::clone(&clock),
        ages: Ages {
            posts: config.posts_keep.max(config.events_keep),
            dead: config.dead_keep.max(config.reports_keep),
            repeated_for: config.posts_repeated_for,
        },
        age_interval: Duration::try_from(config.purge_interval).context("purge_interval")?,
    };
    let purger = Purger {
        log,
        store: Arc::clone(&store),
        progress: progress.clone(),
        clock: Arc::clone(&clock),
        keep: Keep {
            events: config.events_keep,
            messages: config.messages_keep,
            reports: config.reports_keep,
            dead: config.dead_keep,
            posts: config.posts_keep,
        },
        interval: Duration::try_from(config.purge_interval).context("purge_interval")?,
    };
    let rebuilder = Rebuilder {
        store: Arc::clone(&store),
        remark: readiness.remark("read models"),
    };
    let sealer = Sealer {
        store: Arc::clone(&store),
        remark: readiness.remark("sealing"),
    };
    let signer = HeadSigner {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        keys: SigningKeys::of(config)?,
        interval: Duration::try_from(config.signing_interval).context("signing_interval")?,
    };
    let counter = Counter {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        archived: progress.clone(),
        tellers: counters,
    };
    Ok(Role {
        counter,
        backend: Backend {
            store,
            progress,
            counted,
            clock,
        },
        desk,
        archivers,
        purger,
        rebuilder,
        sealer,
        tokens: None,
        eraser,
        signer,
        closing: CancellationToken::new(),
    })
}

async fn open(
    config: &Config,
    masters: Arc<MasterKeys>,
    gate: Option<SharedGate>,
) -> anyhow::Result<SharedStore> {
    if masters.is_empty() {
        bail!(
            "secrets.master_key is not set: what customers write is archived sealed, and no key \
             is there to seal it with; take what `openssl rand -hex 32` prints"
        );
    }
    if let Some(problem) = config.problem() {
        bail!(problem);
    }
    if let Some(url) = &config.database_url {
        if gate.is_some() {
            bail!("`archive.database_url` is given: only a file stands behind a gate");
        }
        let url = url.resolve().context("`archive.database_url`")?;
        let store = Postgres::open(&url, config.readers_count, masters).await;
        return Ok(Arc::new(store.context(
            "open the archive in PostgreSQL, as `archive.database_url` says",
        )?));
    }
    let path = &config.database_path;
    let shown_path = path.display();
    // Whoever gives a gate makes the folder, too: threads of the runtime are behind no gate.
    if let Some(folder) = path.parent().filter(|_| gate.is_none()) {
        tokio::fs::create_dir_all(folder)
            .await
            .with_context(|| format!("create the folder of {shown_path}"))?;
    }
    let readers_count = config.readers_count;
    let opened: Result<SharedStore, _> = match gate {
        None => Sqlite::open(path, readers_count, masters)
            .await
            .map(|store| Arc::new(store) as _),
        Some(gate) => store::open_behind(path, readers_count, masters, gate).await,
    };
    opened.with_context(|| format!("open the archive {shown_path}"))
}

impl Role {
    /// Finds customers by their phones and user ids, too, and not by their id alone.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The services, which answer from the start on.
    pub fn services(
        &self,
    ) -> (
        ConversationServiceServer<ConversationApi>,
        AuditServiceServer<AuditApi>,
        MessageQueryServiceServer<MessageQueryApi>,
    ) {
        let conversation = ConversationApi::new(
            self.backend.clone(),
            self.desk.clone(),
            self.closing.clone(),
        );
        let keys = Arc::clone(&self.signer.keys.verifiers);
        let (log, tokens) = (self.desk.log.clone(), self.tokens.clone());
        let customers = CustomerExports::new(self.backend.clone(), log, tokens.clone());
        let found = Arc::new(customers.clone());
        let erasures = Erasures::new(self.eraser.clone(), found, tokens);
        let audit = AuditApi::new(self.backend.clone(), keys)
            .with_customers(customers)
            .with_erasures(erasures)
            .with_record(self.desk.log.clone());
        let messages = MessageQueryApi::new(self.backend.clone(), self.closing.clone())
            .with_log(self.desk.log.clone());
        (
            ConversationServiceServer::new(conversation)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
            AuditServiceServer::new(audit)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
            MessageQueryServiceServer::new(messages)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
    }

    /// The service of figures.
    pub fn figures_service(&self) -> FiguresServiceServer<FiguresApi> {
        let figures = FiguresApi::new(self.backend.clone(), self.closing.clone());
        FiguresServiceServer::new(figures)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Adds the services to others of the process.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        let (conversation, audit, messages) = self.services();
        routes
            .add_service(conversation)
            .add_service(audit)
            .add_service(messages)
            .add_service(self.figures_service());
    }

    /// Archives and purges until the stop.
    ///
    /// # Errors
    /// Only what no waiting can mend; a broker or a database that is away is waited for.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        // Watches end with the role, however it ends.
        let _close_on_drop = self.closing.clone().drop_guard();
        let closing = self.closing;
        let close = stopping.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            close.cancelled().await;
            closing.cancel();
            Ok(())
        });
        let rebuild = stopping.clone();
        tasks.spawn(self.rebuilder.run(rebuild));
        tasks.spawn(self.sealer.run(stopping.clone()));
        tasks.spawn(self.counter.run(stopping.clone()));
        tasks.spawn(self.eraser.run(stopping.clone()));
        for archiver in self.archivers {
            let stream = archiver.stream;
            let archive = archiver.run(stopping.clone());
            tasks.spawn(async move {
                archive
                    .await
                    .with_context(|| format!("archive stream {stream}"))
            });
        }
        tasks.spawn(self.purger.run(stopping.clone()));
        let watcher = Watcher::new(self.desk.log.clone(), self.backend.clone());
        tasks.spawn(watcher.run(stopping.clone()));
        let signing = async {
            self.signer.run(stopping).await;
            std::future::pending::<std::convert::Infallible>().await
        };
        let archiving = async {
            while let Some(ended) = tasks.join_next().await {
                ended.context("task of the archive panicked")??;
            }
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = archiving => ended,
            never = signing => match never {},
        };
        // Nothing is archived any more.
        self.signer.finish().await;
        // Whoever still asks holds this up for as long, and no longer.
        if tokio::time::timeout(CLOSE_WITHIN, self.backend.store.close())
            .await
            .is_err()
        {
            tracing::warn!("the archive's database is still in use");
        }
        ended
    }
}

fn latch_name(stream: &str) -> &'static str {
    match stream {
        "EVENTS" => "archive EVENTS",
        "MESSAGES" => "archive MESSAGES",
        "ACCOUNTS" => "archive ACCOUNTS",
        "CUSTOMERS" => "archive CUSTOMERS",
        _ => "archive DEAD",
    }
}
