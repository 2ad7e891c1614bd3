//! The broker as it is shipped: with its users, each of whom may do what is its business, and with
//! TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use casement_event_log::snapshot::Snapshots;
use casement_event_log::{Config, Log, Tls};
use casement_testkit::{Process, casement_bin, eventually, free_port, nats_server_bin};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

/// The user that has a password and no key pair.
const WITH_PASSWORD: &str = "subscriber";

/// A broker by the shipped configuration.
pub struct ShippedBroker {
    port: u16,
    folder: TempDir,
    process: Process,
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
        let nats = folder.path().join("nats");
        fs::create_dir(&nats).expect("a folder in a folder of ours");
        let (site, seeds) = (nats.join("site"), folder.path().join("seeds"));
        let made = Command::new(casement_bin())
            // Node's client asks for a name also where it was given an address.
            .args([
                "broker",
                "init",
                "--host",
                "127.0.0.1",
                "--host",
                "localhost",
            ])
            .arg("--site")
            .arg(&site)
            .arg("--seeds")
            .arg(&seeds)
            .output()
            .expect("the program was built");
        assert!(made.status.success(), "{made:?}");
        let conf = fs::read_to_string(shipped)
            .expect("the shipped configuration")
            .replace("0.0.0.0:4222", &format!("127.0.0.1:{port}"))
            .replace("http: 0.0.0.0:8222", "")
            .replace("/var/lib/nats", &store);
        let file = nats.join("nats-server.conf");
        fs::write(&file, conf).expect("a file in a folder of ours");
        let mut command = Command::new(nats_server_bin());
        command.arg("-c").arg(site.join("nats-server.conf"));
        command.env("CASEMENT_NATS_STORE_KEY", "key-of-the-store");
        command.env("CASEMENT_NATS_SUBSCRIBER_PASSWORD", "secret");
        Self {
            port,
            process: Process::start(&mut command),
            folder,
        }
    }

    /// What it has logged.
    pub fn told(&self) -> String {
        self.process.stderr()
    }

    /// The folder that `casement broker init` made for it.
    pub fn site(&self) -> PathBuf {
        self.folder.path().join("nats/site")
    }

    /// The certificate of its authority.
    pub fn ca(&self) -> PathBuf {
        self.site().join("ca.pem")
    }

    /// `casement subscriber` with these words, at this broker.
    pub fn subscriber(&self, words: &[&str]) -> Command {
        let seeds = self.folder.path().join("seeds");
        let mut command = Command::new(casement_bin());
        command.arg("subscriber").args(words).arg("--site");
        command.arg(self.site());
        command.arg("--reload-nkey-file");
        command.arg(seeds.join("nkey-reload"));
        let nkey = seeds.join("nkey-operator");
        for (key, value) in [
            ("log.servers", self.url()),
            ("log.nkey", format!("{{ file = {:?} }}", nkey.display())),
            ("log.inbox_prefix", "_INBOX_operator".to_owned()),
            ("log.tls.ca", self.ca().display().to_string()),
        ] {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
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

    /// Connects as one of its users with a plain client, whose time-outs are short, too.
    ///
    /// # Panics
    /// If there is no such user.
    pub async fn client(&self, user: &str) -> async_nats::Client {
        let config = self.config(user);
        let mut options = async_nats::ConnectOptions::new()
            .custom_inbox_prefix(&config.inbox_prefix)
            .request_timeout(Some(config.read_timeout))
            .require_tls(true)
            .add_root_certificates(self.ca());
        if let Some(seed) = &config.nkey {
            options = options.nkey(seed.expose_secret().to_owned());
        }
        if let Some((user, password)) = &config.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        options
            .connect(&config.servers)
            .await
            .expect("a user of it")
    }

    /// How one of its users reaches it.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn config(&self, user: &str) -> Config {
        let (mut nkey, mut password, mut inbox_prefix) = (None, None, "_INBOX".to_owned());
        if user == WITH_PASSWORD {
            password = Some((user.to_owned(), "secret".to_owned()));
        } else {
            let seed = self.folder.path().join(format!("seeds/nkey-{user}"));
            let seed = fs::read_to_string(seed).expect("a user of it");
            nkey = Some(seed.trim().to_owned().into());
            inbox_prefix = format!("_INBOX_{user}");
        }
        Config {
            servers: self.url(),
            user: password,
            nkey,
            inbox_prefix,
            tls: Tls {
                ca: Some(self.ca()),
                ..Tls::default()
            },
            accept_unsafe_broker: true,
            read_timeout: Duration::from_secs(1),
            ack_timeout: Duration::from_millis(200),
            append_deadline: Duration::from_millis(500),
            ..Config::default()
        }
    }
}
