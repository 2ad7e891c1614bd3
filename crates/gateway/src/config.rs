//! The `[gateway]` section of the configuration.
//!
//! The address it listens on and the tokens it accepts are the process's own, `[api]`.

use casement_shell::grpc::{CALL_TIMEOUT, REQUEST_BYTES_MAX};
use casement_shell::server::Limits;
use casement_shell::tls::ClientTlsConfig;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::console::ConsoleConfig;

/// What the role can be told. Durations are written as `5s` or `2m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a connection to a role may take to be made.
    pub connect_timeout: SignedDuration,
    /// Where the roles are. Not needed where they run in the same process.
    pub upstreams: UpstreamUrls,
    /// How connections to roles at `https://` addresses are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams_tls: Option<ClientTlsConfig>,
    /// What a caller may ask for.
    pub limits: LimitsConfig,
    /// What people see.
    pub console: ConsoleConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: SignedDuration::from_secs(2),
            upstreams: UpstreamUrls::default(),
            upstreams_tls: None,
            limits: LimitsConfig::default(),
            console: ConsoleConfig::default(),
        }
    }
}

/// Addresses of the roles, as in `http://dispatcher:8081`. One that is empty is not served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamUrls {
    /// The window-tracker.
    pub windows: String,
    /// The dispatcher.
    pub messages: String,
    /// The accounts role.
    pub accounts: String,
    /// The audit-projector.
    pub archive: String,
    /// The ingress role, which hands out customers' files.
    pub media: String,
}

/// What a caller may ask for. Beyond it, a call is refused with RESOURCE_EXHAUSTED, or 429.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Calls a second for one brand, all its tokens together; as many may come at once after a
    /// rest.
    pub requests_per_second_per_brand: u32,
    /// Calls and streams of one brand in flight.
    pub concurrency_per_brand: u32,
    /// Calls a second with one token; as many may come at once after a rest.
    pub requests_per_second_per_token: u32,
    /// Calls and streams of one token in flight.
    pub concurrency_per_token: u32,
    /// Calls a second without a known token from one address; as many may come at once after a
    /// rest. Health is asked without one.
    pub unauthenticated_per_second_per_address: u32,
    /// Calls without a known token from one address in flight: watches of health.
    pub unauthenticated_concurrency_per_address: u32,
    /// Connections at once, of the API and of the console each.
    pub connections: usize,
    /// How long a handshake, the first bytes of a connection, and a console's request's head may
    /// take.
    pub header_timeout: SignedDuration,
    /// Largest request, in bytes.
    pub request_bytes: usize,
    /// How long a call may take to its answer, or a stream to its beginning.
    pub call_timeout: SignedDuration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second_per_brand: 500,
            concurrency_per_brand: 256,
            requests_per_second_per_token: 500,
            concurrency_per_token: 256,
            unauthenticated_per_second_per_address: 20,
            unauthenticated_concurrency_per_address: 16,
            connections: 8_192,
            header_timeout: SignedDuration::from_secs(20),
            request_bytes: REQUEST_BYTES_MAX,
            call_timeout: SignedDuration::try_from(CALL_TIMEOUT)
                .expect("two minutes are a duration of either kind"),
        }
    }
}

impl LimitsConfig {
    /// What the ports allow.
    pub fn doors(&self) -> Limits {
        Limits {
            connections: self.connections,
            header_timeout: self.header_timeout.unsigned_abs(),
        }
    }
}

impl Config {
    /// Checks what types cannot.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        for (name, is_positive) in [
            ("connect_timeout", self.connect_timeout.is_positive()),
            (
                "limits.requests_per_second_per_brand",
                limits.requests_per_second_per_brand > 0,
            ),
            (
                "limits.concurrency_per_brand",
                limits.concurrency_per_brand > 0,
            ),
            (
                "limits.requests_per_second_per_token",
                limits.requests_per_second_per_token > 0,
            ),
            (
                "limits.concurrency_per_token",
                limits.concurrency_per_token > 0,
            ),
            (
                "limits.unauthenticated_per_second_per_address",
                limits.unauthenticated_per_second_per_address > 0,
            ),
            (
                "limits.unauthenticated_concurrency_per_address",
                limits.unauthenticated_concurrency_per_address > 0,
            ),
            ("limits.connections", limits.connections > 0),
            ("limits.header_timeout", limits.header_timeout.is_positive()),
            ("limits.request_bytes", limits.request_bytes > 0),
            ("limits.call_timeout", limits.call_timeout.is_positive()),
            (
                "console.session_length",
                self.console.session_length.is_positive(),
            ),
            (
                "console.sign_in_failures_per_minute",
                self.console.sign_in_failures_per_minute > 0,
            ),
        ] {
            if !is_positive {
                return Err(Error::NotPositive(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_reads_as_people_write_it_and_unknown_keys_are_refused() {
        let config: Config = serde_json::from_str(
            r#"{"upstreams": {"windows": "http://tracker:8081"},
                "limits": {"requests_per_second_per_brand": 10, "call_timeout": "30s"}}"#,
        )
        .unwrap();
        assert_eq!(config.upstreams.windows, "http://tracker:8081");
        assert_eq!(config.limits.requests_per_second_per_brand, 10);
        assert_eq!(config.limits.call_timeout, SignedDuration::from_secs(30));
        assert_eq!(config.limits.concurrency_per_brand, 256);
        assert!(serde_json::from_str::<Config>(r#"{"upstream": {}}"#).is_err());
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let mut config = Config::default();
        config.check().unwrap();
        config.limits.concurrency_per_brand = 0;
        let error = config.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`gateway.limits.concurrency_per_brand` must be above zero"
        );
    }
}
