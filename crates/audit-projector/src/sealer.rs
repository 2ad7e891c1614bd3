//! Seals what was archived before there were keys, and wraps keys anew after a new master key.
//!
//! Both in bounded transactions, beside the archiving, from wherever they were left: what is still
//! to do stands in the database itself. It reads nothing that is sealed already, and it destroys
//! nothing.

use std::time::Duration;

use casement_shell::backoff::Schedule;
use casement_shell::health::Remark;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::store::{Error, SharedStore};

/// Most rows or keys of one transaction.
const BATCH_MAX: usize = 256;

/// Between two transactions, so that archiving is not kept waiting.
const PAUSE: Duration = Duration::from_millis(5);

/// How often it is looked for rows in the open again: a process of an older version may have
/// written some.
const LOOK_INTERVAL: Duration = Duration::from_mins(10);

/// Seals and wraps, if that is due.
#[derive(Debug)]
pub(crate) struct Sealer {
    pub(crate) store: SharedStore,
    /// Tells how much is left.
    pub(crate) remark: Remark,
}

impl Sealer {
    /// Goes on where it was left, until the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let _: Option<()> = stopping.run_until_cancelled(self.go_on()).await;
        Ok(())
    }

    async fn go_on(&self) {
        let mut waits =
            Schedule::try_new(Duration::from_millis(50), Duration::from_secs(5), 2.0, 0.5)
                .expect("the schedule of constants grows")
                .waits();
        loop {
            match self.all().await {
                Ok(()) => {
                    self.remark.clear();
                    waits.reset();
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "what is archived is not all sealed yet");
                    self.remark.tell(format!("not all sealed yet: {error}"));
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    async fn all(&self) -> Result<(), Error> {
        let mut left = self.store.old_keys_count().await?;
        metrics::old_keys(left);
        let is_rewrapping = left > 0;
        loop {
            let count = self.store.rewrap_keys(BATCH_MAX).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count as u64);
            metrics::old_keys(left);
            self.remark.tell(format!(
                "keys are being wrapped under the new master key, {left} left"
            ));
            tokio::time::sleep(PAUSE).await;
        }
        metrics::old_keys(0);
        if is_rewrapping {
            tracing::info!("all keys of customers are wrapped under the first master key");
        }
        let mut left = self.store.unsealed_count().await?;
        metrics::unsealed(left);
        let is_sealing = left > 0;
        loop {
            let count = self.store.seal_next(BATCH_MAX).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count as u64);
            metrics::unsealed(left);
            self.remark.tell(format!("being sealed, {left} rows left"));
            tokio::time::sleep(PAUSE).await;
        }
        metrics::unsealed(0);
        if is_sealing {
            tracing::info!("all that is archived is sealed");
        }
        Ok(())
    }
}
