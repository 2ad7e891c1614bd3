//! What the log needs to be told.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::Tls;

/// How to reach the broker, and what to ask of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Servers, such as `nats://127.0.0.1:4222`, separated by commas.
    pub servers: String,
    /// Name of the connection, for the broker's own listings.
    pub name: String,
    /// User and password, if the broker asks for them.
    pub user: Option<(String, String)>,
    /// Credentials file, if the broker asks for it.
    pub credentials_file: Option<PathBuf>,
    /// Seed of our key pair, as in `SU…`, if the broker knows us by its public key.
    pub nkey: Option<SecretString>,
    /// Where answers come to us: of our own where the broker has users, so that nobody else hears
    /// them.
    pub inbox_prefix: String,
    /// TLS to the broker.
    pub tls: Tls,
    /// The broker's monitoring address, such as `127.0.0.1:8222`; those of several servers are
    /// separated by commas. Asked once at start whether
    /// writes are synced.
    pub monitoring: Option<String>,
    /// Go on although the broker is too old, does not sync, or cannot be asked.
    pub accept_unsafe_broker: bool,
    /// Copies of each stream: 1, or 3 in production.
    pub replicas: usize,
    /// How long to wait for one acknowledgement before the append is repeated.
    pub ack_timeout: Duration,
    /// How long an append may take in all, repeats included, before its caller is told that
    /// its outcome is unknown. Well below the broker's two minutes of remembered ids.
    pub append_deadline: Duration,
    /// How long a read may take.
    pub read_timeout: Duration,
    /// How long to wait for the first connection.
    pub connect_timeout: Duration,
    /// Size limits of the streams.
    pub sizes: Sizes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: "nats://127.0.0.1:4222".to_owned(),
            name: "casement".to_owned(),
            user: None,
            credentials_file: None,
            nkey: None,
            inbox_prefix: "_INBOX".to_owned(),
            tls: Tls::default(),
            monitoring: None,
            accept_unsafe_broker: false,
            replicas: 1,
            ack_timeout: Duration::from_millis(1_500),
            append_deadline: Duration::from_secs(10),
            read_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(10),
            sizes: Sizes::default(),
        }
    }
}

/// Size limits of the streams, in MiB. A full stream refuses; it never deletes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Posts as received, 14 days.
    pub raw_mib: u32,
    /// Identifier links and consent.
    pub customers_mib: u32,
    /// Conversations, 10 days.
    pub events_mib: u32,
    /// Outbound messages and reports, 9 days after each one's end.
    pub messages_mib: u32,
    /// Brands, numbers, templates, and what webhooks say about them.
    pub accounts_mib: u32,
    /// Dead letters, 30 days.
    pub dead_mib: u32,
    /// What services ask for over the broker, until it is done.
    pub commands_mib: u32,
    /// Keys of sensitive messages that are not over: about 1 KiB each.
    pub keys_mib: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            raw_mib: 4096,
            customers_mib: 1024,
            events_mib: 8192,
            messages_mib: 8192,
            accounts_mib: 256,
            dead_mib: 512,
            commands_mib: 256,
            keys_mib: 256,
        }
    }
}
