//! The `[audit_projector]` section of the configuration.

use std::path::PathBuf;

use casement_event::subject::stream;
use casement_shell::config::{Secret, SecretError};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::note;

/// What the role can be told. Durations are written as `240h` or `10m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The SQLite file; it and its folder are created if absent. Stays at its default where
    /// `database_url` is given.
    pub database_path: PathBuf,
    /// The PostgreSQL database to use instead of a file, as in
    /// `postgres://archivist:…@db.internal:5432/casement`: the address itself, `{ file = "…" }` or
    /// `{ env = "…" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<DatabaseUrl>,
    /// Connections for queries, beside those that write.
    pub readers_count: u32,
    /// How long archived conversations stay on the log. Windows are rebuilt from there, so it
    /// must be longer than they last.
    pub events_keep: SignedDuration,
    /// How long an archived message stays on the log after its end, for late reports.
    pub messages_keep: SignedDuration,
    /// How long archived reports about accounts stay on the log.
    pub reports_keep: SignedDuration,
    /// How long archived dead letters stay on the log.
    pub dead_keep: SignedDuration,
    /// How long posts stay on the log that were taken apart.
    pub posts_keep: SignedDuration,
    /// How long after an erasure the platform may repeat a post from before it, so that posts from
    /// then on hold a copy as well.
    pub posts_repeated_for: SignedDuration,
    /// What heads of chains are signed with, as the text that a key is made of, such as
    /// `openssl rand -hex 32` prints; several lines if there were others before, the one that
    /// signs first. Without it no head is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<SigningKey>,
    /// The name of that key, and of the archive: best a domain of yours and a path.
    pub signing_name: String,
    /// How often heads that moved are signed.
    pub signing_interval: SignedDuration,
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
            database_url: None,
            readers_count: 4,
            events_keep: SignedDuration::from_hours(10 * 24),
            messages_keep: SignedDuration::from_hours(9 * 24),
            reports_keep: SignedDuration::from_hours(30 * 24),
            dead_keep: SignedDuration::from_hours(30 * 24),
            posts_keep: SignedDuration::from_hours(14 * 24),
            posts_repeated_for: casement_domain::inbound::REPEATS_FOR,
            signing_key: None,
            signing_name: "casement.local/archive".to_owned(),
            signing_interval: SignedDuration::from_mins(15),
            purge_interval: SignedDuration::from_mins(10),
            lag_alarm: SignedDuration::from_mins(5),
            position_wait: SignedDuration::from_secs(5),
        }
    }
}

impl Config {
    /// Returns how long each archived stream keeps what may leave it.
    pub fn keeps(&self) -> [(&'static str, SignedDuration); 4] {
        [
            (stream::EVENTS, self.events_keep),
            (stream::MESSAGES, self.messages_keep),
            (stream::ACCOUNTS, self.reports_keep),
            (stream::DEAD, self.dead_keep),
        ]
    }

    /// Returns what does not fit together.
    pub fn problem(&self) -> Option<String> {
        if !note::is_name(&self.signing_name) {
            return Some(format!(
                "`archive.signing_name` is `{}`: it must be 1 to {} characters without spaces and \
                 plus signs, such as archive.example.com/casement",
                self.signing_name,
                note::NAME_LEN_MAX
            ));
        }
        if !self.signing_interval.is_positive() {
            return Some("`archive.signing_interval` must be longer than zero".to_owned());
        }
        let is_moved = self.database_path != Self::default().database_path;
        (self.database_url.is_some() && is_moved).then(|| {
            "`archive.database_path` and `archive.database_url` are both given: an archive is in \
             one place; leave out the path for PostgreSQL, or the address for SQLite"
                .to_owned()
        })
    }
}

/// The address of a database. It holds a password, and so is a secret as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(pub Secret);

impl DatabaseUrl {
    /// Fetches the address.
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        self.0.resolve()
    }
}

/// What heads of chains are signed with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SigningKey(pub Secret);

/// Whether two secrets are found in the same way, wherever it leads.
fn is_same(one: &Secret, other: &Secret) -> bool {
    match (one, other) {
        (Secret::Value(one), Secret::Value(other)) => one.expose_secret() == other.expose_secret(),
        (Secret::File(one), Secret::File(other)) => one == other,
        (Secret::Env(one), Secret::Env(other)) => one == other,
        _ => false,
    }
}

impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for DatabaseUrl {}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for SigningKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_in_one_place() {
        let read = |text| serde_json::from_str::<Config>(text).unwrap();
        for (text, is_sound) in [
            ("{}", true),
            (r#"{"database_path": "a.sqlite"}"#, true),
            (r#"{"database_url": "postgres://u:hunter2@h/d"}"#, true),
            (
                r#"{"database_path": "a.sqlite", "database_url": {"file": "url"}}"#,
                false,
            ),
            (r#"{"signing_name": "a.example/b"}"#, true),
            (r#"{"signing_name": "a b"}"#, false),
            (r#"{"signing_name": "a+b"}"#, false),
            (r#"{"signing_interval": "0s"}"#, false),
        ] {
            assert_eq!(read(text).problem().is_none(), is_sound, "{text}");
        }
        let config = read(r#"{"database_url": "postgres://u:hunter2@h/d"}"#);
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(config, config.clone());
        assert_ne!(config, Config::default());
    }

    #[test]
    fn durations_read_as_people_write_them_and_unknown_keys_are_refused() {
        let config: Config =
            serde_json::from_str(r#"{"events_keep": "240h", "purge_interval": "10m"}"#).unwrap();
        assert_eq!(config, Config::default());
        assert!(serde_json::from_str::<Config>(r#"{"events_kept": "1h"}"#).is_err());
    }
}
