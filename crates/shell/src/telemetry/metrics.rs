//! Metrics: how they are named and described, and the page they are scraped from.
//!
//! Each crate has one table of what it counts; which events count is for that crate.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::clock::{Clock as _, SystemClock};

/// Buckets of histograms in seconds: from a pipelined append to a backlog of hours.
const SECONDS_BUCKETS: [f64; 18] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0, 900.0, 7_200.0,
];

/// Buckets of histograms that count what goes together.
const GROUP_BUCKETS: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];

/// What histograms that count what goes together end with.
const GROUP_SUFFIXES: [&str; 2] = ["_records", "_posts"];

/// How often what histograms gathered is drained.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels that tell one series of a metric from another.
pub type Labels = &'static [(&'static str, &'static str)];

/// A metric, as it is described on the scrape page and in `docs/operate/metrics.md`.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    series: &'static [Labels],
}

impl Metric {
    /// A count that only grows. `name` ends with `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    /// A value that goes up and down. `name` ends with its unit.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    /// A distribution. `name` ends with its unit.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Histogram, help)
    }

    /// The series that are there from the start, so that the first event is a change and not a
    /// beginning. Without this there is one, with no labels.
    #[must_use]
    pub const fn with(mut self, series: &'static [Labels]) -> Self {
        self.series = series;
        self
    }

    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            series: &[&[]],
        }
    }

    fn describe(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, self.help),
        }
        for labels in self.series {
            let labels: Vec<metrics::Label> = labels
                .iter()
                .map(|(name, value)| metrics::Label::from_static_parts(name, value))
                .collect();
            match self.kind {
                Kind::Counter => metrics::counter!(self.name, labels).increment(0),
                Kind::Gauge => metrics::gauge!(self.name, labels).increment(0.0),
                Kind::Histogram => drop(metrics::histogram!(self.name, labels)),
            }
        }
    }
}

/// Describes what a part of the process counts, and begins at zero. Again does no harm.
pub fn describe(metrics: &[Metric]) {
    for metric in metrics {
        metric.describe();
    }
}

/// How long ago something was, in seconds; 0 for what lies ahead. For metrics: what decides by time
/// has a clock of its own.
pub fn age_seconds(at: Timestamp) -> f64 {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    CLOCK.now().duration_since(at).as_secs_f64().max(0.0)
}

/// What the shell itself counts.
const METRICS: &[Metric] = &[Metric::counter(
    "casement_trace_spans_total",
    "Spans that left for the collector, by outcome: exported, or lost because it was away.",
)
.with(&[&[("outcome", "exported")], &[("outcome", "lost")]])];

/// The process's metrics. Clones are one.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Metrics {
    /// Installs the recorder of the process, once; every call returns the same. What is counted
    /// before the first call is lost.
    pub fn install() -> Self {
        static METRICS_OF_PROCESS: OnceLock<Metrics> = OnceLock::new();
        METRICS_OF_PROCESS
            .get_or_init(|| {
                let handle = match builder().install_recorder() {
                    Ok(handle) => handle,
                    // A host program counts for itself; the page of ours stays empty.
                    Err(BuildError::FailedToSetGlobalRecorder(_)) => {
                        builder().build_recorder().handle()
                    }
                    Err(error) => unreachable!("no listener and no gateway to build: {error}"),
                };
                let process = metrics_process::Collector::default();
                process.describe();
                describe(METRICS);
                Self { handle, process }
            })
            .clone()
    }

    /// The scrape page.
    pub fn render(&self) -> String {
        self.process.collect();
        // Drains what histograms gathered; otherwise that grows until a scrape.
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Bounds what histograms gather while nobody scrapes; run it as a task until the stop.
    pub async fn upkeep(self, stopping: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
        let mut every = tokio::time::interval(UPKEEP_INTERVAL);
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

fn builder() -> PrometheusBuilder {
    let builder = PrometheusBuilder::new()
        .set_buckets(&SECONDS_BUCKETS)
        .expect("buckets are not empty");
    GROUP_SUFFIXES.into_iter().fold(builder, |builder, suffix| {
        builder
            .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), &GROUP_BUCKETS)
            .expect("buckets are not empty")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_on_the_page_before_anything_happened() {
        Metrics::install();
        describe(&[
            Metric::counter("casement_test_calls_total", "Calls.")
                .with(&[&[("outcome", "good")], &[("outcome", "bad")]]),
            Metric::histogram("casement_test_group_records", "Records."),
        ]);
        metrics::counter!("casement_test_calls_total", "outcome" => "good").increment(2);
        let page = Metrics::install().render();
        for line in [
            "# HELP casement_test_calls_total Calls.",
            "# TYPE casement_test_calls_total counter",
            r#"casement_test_calls_total{outcome="good"} 2"#,
            r#"casement_test_calls_total{outcome="bad"} 0"#,
            r#"casement_test_group_records_bucket{le="200"} 0"#,
            "casement_test_group_records_count 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
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

    #[test]
    fn the_process_tells_what_it_takes() {
        let page = Metrics::install().render();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
        ] {
            assert!(page.contains(&format!("\n{name} ")), "{name}\n{page}");
        }
    }
}
