//! Archives of a run: the role as it is shipped, and how it ends.

use std::sync::Arc;

use casement_event_log::Log;
use casement_shell::health::Readiness;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::{NOTICE, World, lock};
use crate::archived::{self, Answers};
use crate::life::Life;
use crate::plan::PROJECTORS;

/// How often it is looked whether the archive has everything.
const LOOKS_MAX: usize = 40;

/// An archive that is begun in the end.
pub(super) const FRESH: &str = "fresh";

/// How long the log keeps what is archived: checks read it, too.
const KEEP: SignedDuration = SignedDuration::from_hours(24 * 365);

impl World {
    /// Waits until the archive has everything, begins another one of the same log, and returns what
    /// does not hold.
    pub(super) async fn check_archive(&self) -> Vec<String> {
        self.start(FRESH);
        for _ in 0..LOOKS_MAX {
            tokio::time::sleep(NOTICE).await;
            let (served, fresh) = {
                let answers = lock(&self.answers);
                let served = PROJECTORS.into_iter().find_map(|name| answers.get(name));
                (served.cloned(), answers.get(FRESH).cloned())
            };
            let (Some(served), Some(fresh)) = (served, fresh) else {
                continue;
            };
            let log = &self.facts.log;
            if archived::is_complete(&self.archive, log).await
                && archived::is_complete(&self.fresh, log).await
            {
                return archived::check(&self.archive, log, served, fresh).await;
            }
        }
        vec!["the archive never has all that stands on the log".to_owned()]
    }

    /// Runs an audit-projector.
    pub(super) async fn archive(
        &self,
        process: &'static str,
        log: Log,
        life: &Life,
    ) -> anyhow::Result<()> {
        let stopping = CancellationToken::new();
        let _ends = stopping.clone().drop_guard();
        let database = match process {
            FRESH => &self.fresh,
            _ => &self.archive,
        };
        let config = casement_audit_projector::Config {
            database_path: database.path.clone(),
            readers_count: 1,
            events_keep: KEEP,
            messages_keep: KEEP,
            reports_keep: KEEP,
            dead_keep: KEEP,
            posts_keep: KEEP,
            ..casement_audit_projector::Config::default()
        };
        let role = casement_audit_projector::start_behind(
            Arc::new(database.door(life)),
            config,
            archived::masters(),
            log,
            self.time.shared(),
            &Readiness::new(),
        )
        .await?
        .with_tokens(self.facts.tokens.clone());
        lock(&self.answers).insert(process, Answers::of(&role));
        Box::pin(role.run(stopping)).await
    }
}
