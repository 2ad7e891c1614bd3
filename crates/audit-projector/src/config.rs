//! The `[audit_projector]` section of the configuration.

use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// What the role can be told. Durations are written as `240h` or `10m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database file; it and its folder are created if absent.
    pub database_path: PathBuf,
    /// Connections for queries, beside the one that writes.
    pub readers_count: u32,
    /// How long archived conversations stay on the log. Windows are rebuilt from there, so it
    /// must be longer than they last.
    pub events_keep: SignedDuration,
    /// How long an archived message stays on the log after its end, for late reports.
    pub messages_keep: SignedDuration,
    /// How often the log is looked over for what may leave it.
    pub purge_interval: SignedDuration,
    /// How old an event may become unarchived before this is logged as an error.
    pub lag_alarm: SignedDuration,
    /// How long a query waits for the position it must not be older than.
    pub position_wait: SignedDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database_path: PathBuf::from("data/archive.sqlite"),
            readers_count: 4,
            events_keep: SignedDuration::from_hours(10 * 24),
            messages_keep: SignedDuration::from_hours(9 * 24),
            purge_interval: SignedDuration::from_mins(10),
            lag_alarm: SignedDuration::from_mins(5),
            position_wait: SignedDuration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them_and_unknown_keys_are_refused() {
        let config: Config =
            serde_json::from_str(r#"{"events_keep": "240h", "purge_interval": "10m"}"#).unwrap();
        assert_eq!(config, Config::default());
        assert!(serde_json::from_str::<Config>(r#"{"events_kept": "1h"}"#).is_err());
    }
}
