//! The broker as it is shipped: with its users, each of whom may do what is its business.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use casement_event_log::snapshot::Snapshots;
use casement_event_log::{Config, Log};
use casement_testkit::{Process, eventually, free_port, nats_server_bin};
use tempfile::TempDir;

/// Every user of it.
const USERS: [&str; 7] = [
    "ingress",
    "window-tracker",
    "dispatcher",
    "accounts",
    "audit-projector",
    "subscriber",
    "operator",
];

/// A broker by the shipped configuration.
pub struct ShippedBroker {
    port: u16,
    _folder: TempDir,
    _process: Process,
}

impl ShippedBroker {
    /// Starts one; it ends when it is dropped.
    ///
    /// # Panics
    /// If the configuration cannot be read, or written elsewhere.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder of ours");
        let port = free_port();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/nats-server.conf");
        let store = folder.path().join("store").display().to_string();
        let conf = fs::read_to_string(shipped)
            .expect("the shipped configuration")
            .replace("0.0.0.0:4222", &format!("127.0.0.1:{port}"))
            .replace("http: 0.0.0.0:8222", "")
            .replace("/var/lib/nats", &store);
        let file = folder.path().join("nats-server.conf");
        fs::write(&file, conf).expect("a file in a folder of ours");
        let mut command = Command::new(nats_server_bin());
        command.arg("-c").arg(&file);
        command.env("CASEMENT_NATS_STORE_KEY", "key-of-the-store");
        for user in USERS {
            let name = user.to_ascii_uppercase().replace('-', "_");
            command.env(format!("CASEMENT_NATS_{name}_PASSWORD"), "secret");
        }
        Self {
            port,
            _process: Process::start(&mut command),
            _folder: folder,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Connects as one of its users, to save and restore.
    pub async fn snapshots(&self, user: &str) -> Snapshots {
        let config = self.config(user);
        eventually("the broker takes a user", async || {
            Snapshots::connect(&config)
                .await
                .map_err(|error| error.to_string())
        })
        .await
    }

    /// Connects as one of its users. What is not permitted is not answered, so time-outs are short.
    pub async fn connect(&self, user: &str) -> Log {
        let config = self.config(user);
        eventually("the broker takes a user", async || {
            Log::connect(&config)
                .await
                .map_err(|error| error.to_string())
        })
        .await
    }

    fn config(&self, user: &str) -> Config {
        Config {
            servers: self.url(),
            user: Some((user.to_owned(), "secret".to_owned())),
            accept_unsafe_broker: true,
            read_timeout: Duration::from_secs(1),
            ack_timeout: Duration::from_millis(200),
            append_deadline: Duration::from_millis(500),
            ..Config::default()
        }
    }
}
