//! What the commands that work on the log itself share: how they reach it, and how they tell what
//! became of items. See `replay`, `dead` and `parked`.
//!
//! They go by the configuration of the role that takes webhooks, and need no role to run.

use std::str::FromStr;

use anyhow::Context as _;
use casement_event_log::directory::Directory;
use casement_event_log::{Log, customers};
use casement_ingress::repair::{Counts, Repair};
use casement_shell::SystemClock;
use casement_shell::config::ConfigError;
use casement_shell::telemetry::{self, Guard, TelemetryConfig};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::{ConfigArgs, OutputArgs};
use crate::config::{Config, Mode};

/// What is told on standard error: why nothing happens.
const TROUBLES: &str = "warn";

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Work on the log of a running `up --demo`
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The log, and the tools to work on it.
pub(crate) struct Bench {
    pub(crate) log: Log,
    pub(crate) repair: Repair,
    stopping: CancellationToken,
    _telemetry: Guard,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl LogArgs {
    /// Reaches the log.
    pub(crate) async fn open(&self) -> anyhow::Result<Bench> {
        let mode = if self.demo { Mode::Demo } else { Mode::Real };
        let overrides = self.config.overrides();
        let config = Config::load(mode, self.config.config.as_deref(), &overrides)?;
        let troubles = TelemetryConfig {
            filter: TROUBLES.to_owned(),
            ..TelemetryConfig::default()
        };
        let telemetry = telemetry::init("casement", &troubles)?;
        let own = config.log.servers.is_empty().then(|| {
            let servers = format!("nats://{}", config.log.own_server.listen);
            (servers, String::new())
        });
        // Whether the broker is fit to be written to was for the roles to find out.
        let reached = casement_event_log::Config {
            accept_unsafe_broker: true,
            ..config.log(own)?
        };
        let log = Log::connect(&reached)
            .await
            .context("cannot reach the log: is Casement running, and is this its configuration?")?;
        let stopping = CancellationToken::new();
        let directory = Directory::start(&log, stopping.clone()).await;
        let tokens = customers::Tokens::new(config.token_key()?);
        let clock = SystemClock::shared();
        Ok(Bench {
            repair: Repair::new(&config.ingress, log.clone(), directory, tokens, clock)?,
            log,
            stopping,
            _telemetry: telemetry,
        })
    }
}

/// A point in time: an instant, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(Timestamp),
    Ago(SignedDuration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::Ago(SignedDuration::ZERO));
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let ago: Option<SignedDuration> = text.parse().ok();
        ago.filter(|ago| !ago.is_negative()).map(Self::Ago).ok_or(
            "is neither an instant, such as 2026-11-22T10:00:00Z, nor how long ago, such as 2h"
                .to_owned(),
        )
    }
}

impl When {
    /// Returns the instant.
    pub(crate) fn instant(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(at) => Ok(at),
            Self::Ago(ago) => now
                .checked_sub(ago)
                .map_err(|_| ConfigError::check(format!("{ago:#} ago is out of range")).into()),
        }
    }
}

/// Returns what became of items in words, such as `message: 3 known, 1 stored`.
pub(crate) fn told(counts: &Counts) -> Vec<String> {
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for ((kind, outcome), count) in counts {
        let words = format!("{count} {outcome}");
        match lines.last_mut() {
            Some((last, outcomes)) if last == kind => outcomes.push(words),
            _ => lines.push((kind, vec![words])),
        }
    }
    let line = |(kind, outcomes): (&str, Vec<String>)| format!("{kind}: {}", outcomes.join(", "));
    lines.into_iter().map(line).collect()
}

/// Returns the same for programs.
pub(crate) fn counts_json(counts: &Counts) -> Value {
    let mut kinds = json!({});
    for ((kind, outcome), count) in counts {
        kinds[*kind][*outcome] = json!(count);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_how_long_ago() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("now", "2026-11-22T10:00:00Z"),
            ("2h", "2026-11-22T08:00:00Z"),
            ("PT30M", "2026-11-22T09:30:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.instant(now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "-2h", "2026-11-01"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    #[test]
    fn outcomes_are_told_by_kind() {
        let counts = Counts::from([
            (("message", "known"), 3),
            (("message", "stored"), 1),
            (("status", "known"), 2),
        ]);
        assert_eq!(
            told(&counts),
            ["message: 3 known, 1 stored", "status: 2 known"]
        );
        assert_eq!(
            counts_json(&counts),
            json!({"message": {"known": 3, "stored": 1}, "status": {"known": 2}})
        );
    }
}
