//! Logs, traces and metrics: how they leave the process.
//!
//! What is worth telling is for others; so is keeping personal data out of it.

mod export;
mod metrics;
mod ratio;
mod rpc;
mod trace;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::{Deserialize, Serialize};
use tracing::Metadata;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub use metrics::{Labels, Metric, Metrics, age_seconds, describe};
pub use ratio::{InvalidRatio, Ratio};
pub use rpc::observe;
pub use trace::{belongs_to, current_traceparent, link_to, parent_from, rename, traceparent_of};

/// How long a shutdown waits for the last spans to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The `[telemetry]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look.
    #[serde(default)]
    pub format: LogFormat,
    /// Which log lines there are, as in `info,casement_dispatcher=debug`.
    #[serde(default = "default_filter")]
    pub filter: String,
    /// Where traces go over OTLP/gRPC, as in `http://127.0.0.1:4317`; nowhere if absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// How many of the traces that begin here are recorded. For one that began elsewhere its
    /// beginning has decided.
    #[serde(default)]
    pub sample_ratio: Ratio,
}

/// How log lines look on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// For log collectors: one JSON object a line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            filter: default_filter(),
            otlp_endpoint: None,
            sample_ratio: Ratio::ALL,
        }
    }
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("log filter is not understood")]
    Filter(#[source] ParseError),
    /// The exporter connects from within a runtime.
    #[error("traces are exported from within a tokio runtime only")]
    NoRuntime,
    /// The endpoint is not understood.
    #[error("exporter of traces cannot be built")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Somebody was first.
    #[error("a subscriber of logs is installed already")]
    Installed(#[source] TryInitError),
}

/// Keeps telemetry going; whoever holds it calls [`Guard::shutdown`] last, whatever the outcome.
#[must_use = "the last spans leave with `shutdown`"]
#[derive(Debug)]
pub struct Guard {
    provider: SdkTracerProvider,
}

/// Starts logs to standard error and, with an endpoint, traces over OTLP.
///
/// Trace ids are made and passed on even if no traces leave, so that they can be followed through
/// the log by others. With an endpoint, call it within a runtime.
pub fn init(service: &'static str, config: &TelemetryConfig) -> Result<Guard, TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(TelemetryError::Filter)?;
    let provider = tracer_provider(service, config)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.format {
        LogFormat::Pretty => lines.compact().boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(service))
                .with_threads(false)
                .with_location(false)
                .with_tracked_inactivity(false)
                .with_filter(filter_fn(is_ours)),
        )
        .try_init()
        .map_err(TelemetryError::Installed)?;
    Ok(Guard { provider })
}

impl Guard {
    /// Sends what is left and stops. Takes a few seconds at most.
    pub async fn shutdown(self) {
        let flushed =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIMEOUT))
                .await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "last spans were not exported");
        }
    }
}

/// What belongs into traces: our own spans and what was told inside of them. Libraries' spans are
/// many, and not held to what ours may say.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("casement") && *metadata.level() <= tracing::Level::INFO
}

fn tracer_provider(
    service: &'static str,
    config: &TelemetryConfig,
) -> Result<SdkTracerProvider, TelemetryError> {
    let instance: [u8; 16] = rand::random();
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.namespace", "casement"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", hex::encode(instance)),
        ])
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let endpoint = config.otlp_endpoint.as_deref().unwrap_or_default();
    if endpoint.is_empty() {
        // Ids without recording: cheap. A caller's trace goes on through us as the caller decided.
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
        return Ok(builder.with_sampler(sampler).build());
    }
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let begun_here = Sampler::TraceIdRatioBased(config.sample_ratio.get());
    Ok(builder
        .with_sampler(Sampler::ParentBased(Box::new(begun_here)))
        .with_span_processor(export::processor(exporter))
        .build())
}

fn default_filter() -> String {
    "info".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exporting_to(endpoint: &str) -> TelemetryConfig {
        TelemetryConfig {
            otlp_endpoint: Some(endpoint.to_owned()),
            ..TelemetryConfig::default()
        }
    }

    #[test]
    fn a_filter_that_is_not_understood_is_refused() {
        let config = TelemetryConfig {
            filter: "info,=,".to_owned(),
            ..TelemetryConfig::default()
        };
        assert!(matches!(
            init("test", &config),
            Err(TelemetryError::Filter(_))
        ));
        assert!(matches!(
            init("test", &exporting_to("http://127.0.0.1:1")),
            Err(TelemetryError::NoRuntime)
        ));
    }

    #[test]
    fn without_a_collector_ids_and_a_callers_decision_go_on() {
        let provider = tracer_provider("test", &exporting_to("")).unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for (flags, caller) in [("01", true), ("00", true), ("00", false)] {
                let span = tracing::info_span!("call");
                let parent =
                    format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
                assert!(!caller || parent_from(&span, &parent));
                let passed_on = traceparent_of(&span).unwrap();
                assert_eq!(passed_on[3..35] == parent[3..35], caller);
                assert_eq!(&passed_on[53..], flags);
            }
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_leave_with_the_shutdown() {
        use opentelemetry::trace::Tracer;

        // A listener that takes the connection is enough to see that the last span is sent.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let provider = tracer_provider("test", &exporting_to(&endpoint)).unwrap();
        provider.tracer("test").start("work");
        let guard = Guard { provider };
        let shutdown = tokio::spawn(guard.shutdown());
        let (connection, _) = listener.accept().await.unwrap();
        drop(connection);
        shutdown.await.unwrap();
    }
}
