//! The role as a whole: opened, served, run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use casement_event_log::Log;
use casement_proto::audit::v1::audit_service_server::AuditServiceServer;
use casement_proto::conversation::v1::conversation_service_server::ConversationServiceServer;
use casement_proto::message::v1::message_query_service_server::MessageQueryServiceServer;
use casement_shell::SharedClock;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use casement_shell::health::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;

use crate::archive::Archiver;
use crate::config::Config;
use crate::desk::Desk;
use crate::grpc::Backend;
use crate::grpc::audit::AuditApi;
use crate::grpc::conversation::ConversationApi;
use crate::grpc::messages::MessageQueryApi;
use crate::progress::Progress;
use crate::purge::Purger;
use crate::rebuild::Rebuilder;
use crate::store::{Postgres, SharedStore, Sqlite};

/// The role, ready to be served and run.
#[derive(Debug)]
pub struct Role {
    backend: Backend,
    desk: Desk,
    archivers: Vec<Archiver>,
    purger: Purger,
    rebuilder: Rebuilder,
    closing: CancellationToken,
}

/// Opens the archive; nothing is archived before [`Role::run`].
///
/// The role is not ready before each stream's archive has caught up, and while its database is
/// away: a latch each, `archive EVENTS` and so on, tells.
///
/// A PostgreSQL server that is away is waited for, then and later.
///
/// # Errors
/// When the database cannot be created, opened or migrated for a reason that waiting does not
/// mend, when two databases are named, or a duration is negative.
pub async fn start(
    config: Config,
    log: Log,
    clock: SharedClock,
    readiness: &Readiness,
) -> anyhow::Result<Role> {
    crate::metrics::start();
    let store = open(&config).await?;

    let position_wait = Duration::try_from(config.position_wait).context("position_wait")?;
    let (progress, tellers) = Progress::new(position_wait);
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
    let purger = Purger {
        log,
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        events_keep: config.events_keep,
        messages_keep: config.messages_keep,
        reports_keep: config.reports_keep,
        interval: Duration::try_from(config.purge_interval).context("purge_interval")?,
    };
    let rebuilder = Rebuilder {
        store: Arc::clone(&store),
        latch: readiness.latch("messages"),
    };
    Ok(Role {
        backend: Backend {
            store,
            progress,
            clock,
        },
        desk,
        archivers,
        purger,
        rebuilder,
        closing: CancellationToken::new(),
    })
}

async fn open(config: &Config) -> anyhow::Result<SharedStore> {
    if let Some(problem) = config.problem() {
        bail!(problem);
    }
    if let Some(url) = &config.database_url {
        let url = url.resolve().context("`archive.database_url`")?;
        let store = Postgres::open(&url, config.readers_count).await;
        return Ok(Arc::new(store.context(
            "open the archive in PostgreSQL, as `archive.database_url` says",
        )?));
    }
    let path = &config.database_path;
    let shown_path = path.display();
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder)
            .await
            .with_context(|| format!("create the folder of {shown_path}"))?;
    }
    let store = Sqlite::open(path, config.readers_count)
        .await
        .with_context(|| format!("open the archive {shown_path}"))?;
    Ok(Arc::new(store))
}

impl Role {
    /// The services, which answer from the start on.
    pub fn services(
        &self,
    ) -> (
        ConversationServiceServer<ConversationApi>,
        AuditServiceServer<AuditApi>,
        MessageQueryServiceServer<MessageQueryApi>,
    ) {
        let conversation = ConversationApi {
            backend: self.backend.clone(),
            desk: self.desk.clone(),
        };
        let audit = AuditApi {
            backend: self.backend.clone(),
        };
        let messages = MessageQueryApi::new(self.backend.clone(), self.closing.clone());
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

    /// Adds the services to others of the process.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        let (conversation, audit, messages) = self.services();
        routes
            .add_service(conversation)
            .add_service(audit)
            .add_service(messages);
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
        for archiver in self.archivers {
            let stream = archiver.stream;
            let archive = archiver.run(stopping.clone());
            tasks.spawn(async move {
                archive
                    .await
                    .with_context(|| format!("archive stream {stream}"))
            });
        }
        tasks.spawn(self.purger.run(stopping));
        while let Some(ended) = tasks.join_next().await {
            ended.context("task of the archive panicked")??;
        }
        Ok(())
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
