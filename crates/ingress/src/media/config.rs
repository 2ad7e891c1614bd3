//! The `[ingress.media]` section.

use std::collections::BTreeMap;

use casement_shell::config::Secret;
use casement_whatsapp::media::{MEDIA_BYTES_MAX, META_HOSTS};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How customers' files are fetched, and where they are stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// Whether files are fetched; without, each one is told as unavailable.
    pub enabled: bool,
    /// A folder, or `s3://bucket/prefix`. Empty for none: nothing is fetched, nor told.
    pub store: String,
    /// Options of the store, such as `region` or `endpoint`.
    pub store_options: BTreeMap<String, String>,
    /// Options of the store that are secret, such as `access_key_id` and `secret_access_key`.
    pub store_secrets: BTreeMap<String, Secret>,
    /// Largest file that is stored, in bytes; some kinds have lower limits of their own.
    pub max_bytes: u64,
    /// How many files are fetched at once, and as many that failed before.
    pub fetches_at_once: usize,
    /// Pauses before a file is tried again; the last one repeats.
    pub retry_schedule: Vec<SignedDuration>,
    /// How long after it came a file is given up.
    pub keep_trying: SignedDuration,
    /// Give each replica another one.
    pub stagger: SignedDuration,
    /// How long the question where a file is may take.
    pub link_timeout: SignedDuration,
    /// How long a file may take.
    pub transfer_timeout: SignedDuration,
    /// How long a file may stand still.
    pub idle_timeout: SignedDuration,
    /// Base address of the Graph API, without a version.
    pub graph_url: String,
    /// Version of the Graph API.
    pub graph_version: String,
    /// Domains that links to files may lead to, besides the Graph API's own address.
    pub link_domains: Vec<String>,
}

impl Default for MediaConfig {
    fn default() -> Self {
        let seconds = SignedDuration::from_secs;
        Self {
            enabled: true,
            store: String::new(),
            store_options: BTreeMap::new(),
            store_secrets: BTreeMap::new(),
            max_bytes: MEDIA_BYTES_MAX,
            fetches_at_once: 8,
            retry_schedule: [5, 30, 120, 600, 1_800, 3_600].map(seconds).to_vec(),
            keep_trying: SignedDuration::from_hours(168),
            stagger: SignedDuration::ZERO,
            link_timeout: seconds(10),
            transfer_timeout: seconds(120),
            idle_timeout: seconds(15),
            graph_url: "https://graph.facebook.com".to_owned(),
            graph_version: "v26.0".to_owned(),
            link_domains: META_HOSTS.map(str::to_owned).to_vec(),
        }
    }
}

impl MediaConfig {
    /// Returns what is wrong with the settings, in words that say what to change.
    pub fn problem(&self) -> Option<String> {
        let positive = [
            ("keep_trying", self.keep_trying),
            ("link_timeout", self.link_timeout),
            ("transfer_timeout", self.transfer_timeout),
            ("idle_timeout", self.idle_timeout),
        ];
        for (name, value) in positive {
            if !value.is_positive() {
                return Some(format!("`ingress.media.{name}` must be longer than zero"));
            }
        }
        if self.fetches_at_once == 0 || self.max_bytes == 0 {
            return Some(
                "`ingress.media.fetches_at_once` and `ingress.media.max_bytes` must be at least 1"
                    .to_owned(),
            );
        }
        if self.retry_schedule.is_empty()
            || self.retry_schedule.iter().any(|pause| !pause.is_positive())
        {
            return Some(
                "`ingress.media.retry_schedule` must name at least one pause, none of them zero"
                    .to_owned(),
            );
        }
        if self.stagger.is_negative() {
            return Some("`ingress.media.stagger` must not be negative".to_owned());
        }
        let is_http = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        if !is_http(&self.graph_url) {
            return Some(
                "`ingress.media.graph_url` does not begin with https:// or http://".to_owned(),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_what_is_not_is_named() {
        assert_eq!(MediaConfig::default().problem(), None);
        for (json, named) in [
            (r#"{"keep_trying": "0s"}"#, "keep_trying"),
            (r#"{"idle_timeout": "-1s"}"#, "idle_timeout"),
            (r#"{"fetches_at_once": 0}"#, "fetches_at_once"),
            (r#"{"max_bytes": 0}"#, "max_bytes"),
            (r#"{"retry_schedule": []}"#, "retry_schedule"),
            (r#"{"retry_schedule": ["5s", "0s"]}"#, "retry_schedule"),
            (r#"{"graph_url": "graph.facebook.com"}"#, "graph_url"),
        ] {
            let config: MediaConfig = serde_json::from_str(json).unwrap();
            let problem = config.problem().unwrap();
            assert!(problem.contains(named), "{problem}");
        }
        assert!(serde_json::from_str::<MediaConfig>(r#"{"bucket": "x"}"#).is_err());
    }

    #[test]
    fn printing_the_section_shows_no_secret() {
        let config: MediaConfig =
            serde_json::from_str(r#"{"store_secrets": {"secret_access_key": "hush"}}"#).unwrap();
        let printed = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!printed.contains("hush"), "{printed}");
    }
}
