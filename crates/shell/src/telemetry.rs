//! Logs, traces and metrics: how they leave the process.
//!
//! What is worth telling is for others; so is keeping personal data out of it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::{Deserialize, Serialize};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// How long a shutdown waits for the last spans to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Buckets of histograms in seconds: from a pipelined append to a provider's time-out.
const SECONDS_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

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
    /// Where traces go, as in `http://127.0.0.1:4317`; nowhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
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
    let provider = tracer_provider(service, config.otlp_endpoint.as_deref())?;
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
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer(service)))
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

/// The W3C `traceparent` of the current span, if it belongs to a trace.
pub fn current_traceparent() -> Option<String> {
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = Traceparent(None);
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.0
}

/// Makes `span` a child of the remote span that `traceparent` names. Call it before the span is
/// entered. Returns whether it did: what is malformed is ignored, and the span begins a trace.
pub fn parent_from(span: &Span, traceparent: &str) -> bool {
    let carrier = Traceparent(Some(traceparent.to_owned()));
    let context = TraceContextPropagator::new()
        .extract_with_context(&opentelemetry::Context::new(), &carrier);
    context.span().span_context().is_valid() && span.set_parent(context).is_ok()
}

/// The process's metrics. Clones are one.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder of the process, once; every call returns the same.
    pub fn install() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = HANDLE.get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets(&SECONDS_BUCKETS)
                .expect("buckets are not empty");
            match builder.install_recorder() {
                Ok(handle) => handle,
                // A host program counts for itself; the page of ours stays empty.
                Err(BuildError::FailedToSetGlobalRecorder(_)) => {
                    PrometheusBuilder::new().build_recorder().handle()
                }
                Err(error) => unreachable!("no listener and no gateway to build: {error}"),
            }
        });
        Self {
            handle: handle.clone(),
        }
    }

    /// The scrape page.
    pub fn render(&self) -> String {
        // Drains what histograms gathered; otherwise that grows until a scrape.
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Bounds what histograms gather while nobody scrapes; run it as a task until the stop.
    pub async fn upkeep(self, stopping: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                _ = every.tick() => self.handle.run_upkeep(),
                () = stopping.cancelled() => return Ok(()),
            }
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn tracer_provider(
    service: &'static str,
    endpoint: Option<&str>,
) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder().with_service_name(service).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = endpoint else {
        // Ids without recording: cheap, and a caller's trace goes on through us.
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    Ok(builder
        .with_sampler(sampler)
        .with_batch_exporter(exporter)
        .build())
}

fn default_filter() -> String {
    "info".to_owned()
}

/// Carries the one header; `tracestate` is not passed on.
struct Traceparent(Option<String>);

const TRACEPARENT: &str = "traceparent";

impl Injector for Traceparent {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

impl Extractor for Traceparent {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.as_deref().filter(|_| key == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with_traces<T>(work: impl FnOnce() -> T) -> T {
        let provider = tracer_provider("test", None).unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work)
    }

    #[test]
    fn a_trace_goes_on_through_us_even_if_none_leaves() {
        let passed_on = with_traces(|| {
            let span = tracing::info_span!("handle");
            assert!(parent_from(&span, REMOTE));
            span.in_scope(current_traceparent)
        })
        .unwrap();
        assert_eq!(passed_on[..36], REMOTE[..36], "the same trace");
        assert_ne!(passed_on[36..52], REMOTE[36..52], "another span");
    }

    #[test]
    fn a_span_without_a_parent_begins_a_trace() {
        let (one, two) = with_traces(|| {
            let begin = || tracing::info_span!("begin").in_scope(current_traceparent);
            (begin().unwrap(), begin().unwrap())
        });
        assert_eq!(one.len(), REMOTE.len());
        assert_ne!(one[3..35], two[3..35]);
        assert_eq!(current_traceparent(), None, "outside of any span");
    }

    #[test]
    fn a_malformed_parent_is_ignored() {
        with_traces(|| {
            for malformed in [
                "",
                "00-zz-00-01",
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            ] {
                assert!(
                    !parent_from(&tracing::info_span!("handle"), malformed),
                    "{malformed}"
                );
            }
        });
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
        let config = TelemetryConfig {
            otlp_endpoint: Some("http://127.0.0.1:1".to_owned()),
            ..TelemetryConfig::default()
        };
        assert!(matches!(
            init("test", &config),
            Err(TelemetryError::NoRuntime)
        ));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_leave_with_the_shutdown() {
        use opentelemetry::trace::Tracer;

        // A listener that takes the connection is enough to see that the last span is sent.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let provider = tracer_provider("test", Some(&endpoint)).unwrap();
        provider.tracer("test").start("work");
        let guard = Guard { provider };
        let shutdown = tokio::spawn(guard.shutdown());
        let (connection, _) = listener.accept().await.unwrap();
        drop(connection);
        shutdown.await.unwrap();
    }

    #[test]
    fn histograms_have_buckets_and_metrics_are_one() {
        Metrics::install();
        metrics::histogram!("casement_test_seconds").record(0.2);
        assert!(
            Metrics::install()
                .render()
                .contains(r#"casement_test_seconds_bucket{le="0.25"} 1"#)
        );
    }
}
