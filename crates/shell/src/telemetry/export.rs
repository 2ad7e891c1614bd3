//! The way out of a span: batches, a bounded queue, and a collector that may be away.
//!
//! A collector that cannot be reached costs a line in the log once in a while, and the spans.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfig, BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter,
};
use tokio::time::Instant;

/// How many ended spans wait for their export; further ones are dropped.
const QUEUE_LEN_MAX: usize = 8_192;

/// How many spans leave at once.
const BATCH_LEN_MAX: usize = 512;

/// How long a span waits for others to leave with.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How often at most the log says that spans are lost.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(5);

/// Batches what goes to `exporter`, on a thread of its own.
pub(super) fn processor<E: SpanExporter + 'static>(exporter: E) -> BatchSpanProcessor {
    BatchSpanProcessor::builder(Quiet::new(exporter))
        .with_batch_config(batches())
        .build()
}

fn batches() -> BatchConfig {
    BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_LEN_MAX)
        .with_max_export_batch_size(BATCH_LEN_MAX)
        .with_scheduled_delay(BATCH_INTERVAL)
        .build()
}

/// An exporter whose failures are counted and told now and then, and trouble nobody else.
#[derive(Debug)]
struct Quiet<E> {
    inner: E,
    complained_at: Mutex<Option<Instant>>,
}

impl<E> Quiet<E> {
    fn new(inner: E) -> Self {
        Self {
            inner,
            complained_at: Mutex::new(None),
        }
    }

    /// Returns whether it is time to complain, and takes note.
    fn may_complain(&self) -> bool {
        let mut last = self
            .complained_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

impl<E: SpanExporter> SpanExporter for Quiet<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let outcome = match self.inner.export(batch).await {
            Ok(()) => "exported",
            Err(error) => {
                if self.may_complain() {
                    tracing::warn!(spans = count, %error, "traces do not reach their collector; spans are lost");
                }
                "lost"
            }
        };
        metrics::counter!("casement_trace_spans_total", "outcome" => outcome).increment(count);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[derive(Debug)]
    struct Away;

    impl SpanExporter for Away {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Err(OTelSdkError::InternalFailure("nobody is there".to_owned()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_is_away_is_complained_about_once_in_a_while() {
        let quiet = Quiet::new(Away);
        assert!(quiet.export(Vec::new()).await.is_ok(), "nobody is troubled");
        assert!(!quiet.may_complain());
        tokio::time::advance(COMPLAINT_INTERVAL).await;
        assert!(quiet.may_complain());
        assert!(!quiet.may_complain());
    }
}
