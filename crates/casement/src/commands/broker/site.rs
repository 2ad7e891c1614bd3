//! The folder beside the shipped configuration that holds what differs from place to place: public
//! keys, certificates, subscribers.
//!
//! Its `nats-server.conf` is what the broker starts with: it includes the shipped one and names all
//! users, so that the broker learns of a new subscriber by reading it anew. It is derived, and
//! written whole each time; what it is derived from is in `subscribers.json`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::subscriber::grant;

/// Users with a key pair.
pub(crate) const USERS: [&str; 7] = [
    "ingress",
    "window-tracker",
    "dispatcher",
    "accounts",
    "audit-projector",
    "operator",
    "reload",
];

/// What the shipped configuration calls the users of the log.
const SHIPPED: [&str; 7] = [
    "USER_INGRESS",
    "USER_WINDOW_TRACKER",
    "USER_DISPATCHER",
    "USER_ACCOUNTS",
    "USER_AUDIT_PROJECTOR",
    "USER_OPERATOR",
    "USER_SUBSCRIBER",
];

/// Where the subscribers stand that the configuration is derived from.
const SUBSCRIBERS: &str = "subscribers.json";

/// Who may read a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    Owner,
    All,
}

/// One that may hear some events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscriber {
    pub(crate) name: String,
    /// E.164 digits; none for all numbers.
    pub(crate) numbers: Vec<String>,
    /// Families of events.
    pub(crate) events: Vec<grant::Events>,
    /// The password's hash, as the broker compares it.
    pub(crate) password_hash: String,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Site {
    folder: PathBuf,
}

impl Site {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What the broker starts with.
    pub(crate) fn conf(&self) -> PathBuf {
        self.file("nats-server.conf")
    }

    /// Writes the public keys of users.
    pub(super) fn write_keys(&self, keys: &[(&str, String)]) -> anyhow::Result<()> {
        let mut text = "# Public keys of the users, by `casement broker init`.\n".to_owned();
        for (user, key) in keys {
            let user = user.to_ascii_uppercase().replace('-', "_");
            let _ = writeln!(text, "{user}_KEY: \"{key}\"");
        }
        write(&self.file("keys.conf"), &text, Access::All)
    }

    /// Writes where the broker finds its certificate.
    pub(super) fn write_tls(&self, seen_at: &Path) -> anyhow::Result<()> {
        let at = |name: &str| Value::from(seen_at.join(name).display().to_string());
        let text = format!(
            "# By `casement broker init`. To ask clients for a certificate as well, add\n\
             # ca_file and `verify: true`; then each needs log.tls.certificate and log.tls.key.\n\
             tls {{\n    cert_file: {}\n    key_file: {}\n    timeout: 5\n}}\n",
            at("server.pem"),
            at("server-key.pem"),
        );
        write(&self.file("tls.conf"), &text, Access::All)
    }

    /// Writes that there is no TLS.
    pub(super) fn write_no_tls(&self) -> anyhow::Result<()> {
        let text = "# No TLS: `casement broker init` was told so.\n";
        write(&self.file("tls.conf"), text, Access::All)
    }

    /// Returns the subscribers.
    pub(crate) fn subscribers(&self) -> anyhow::Result<Vec<Subscriber>> {
        let file = self.file(SUBSCRIBERS);
        if !file.exists() {
            return Ok(Vec::new());
        }
        let text = read(&file)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not what we wrote there", file.display()))
    }

    /// Writes the subscribers, and the configuration that has them.
    pub(crate) fn write_subscribers(&self, all: &[Subscriber]) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(all)?;
        text.push('\n');
        write(&self.file(SUBSCRIBERS), &text, Access::Owner)?;
        write(&self.conf(), &configuration(all), Access::Owner)
    }
}

/// The configuration around the shipped one.
fn configuration(subscribers: &[Subscriber]) -> String {
    let mut text = "# Written by `casement broker init` and `casement subscriber`; changes are \
                    lost.\n\
                    include \"../nats-server.conf\"\n\n\
                    # In place of the list there: the same users, and subscribers.\n\
                    authorization {\n    users: [\n"
        .to_owned();
    for user in SHIPPED {
        let _ = writeln!(text, "        ${user}");
    }
    for subscriber in subscribers {
        let list = |subjects: Vec<String>| Value::from(subjects).to_string();
        let _ = write!(
            text,
            "        {{\n            \
                         user: {}\n            \
                         password: {}\n            \
                         permissions: {{\n                \
                             publish: {}\n                \
                             subscribe: {}\n            \
                         }}\n        \
                     }}\n",
            Value::from(subscriber.name.clone()),
            Value::from(subscriber.password_hash.clone()),
            list(grant::publish(&subscriber.name, &subscriber.events)),
            list(grant::subscribe(
                &subscriber.name,
                &subscriber.numbers,
                &subscriber.events
            )),
        );
    }
    text.push_str("    ]\n}\n");
    text
}

/// Makes a folder that is its owner's alone, if it is not there.
pub(crate) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("folder {} cannot be made", folder.display()))
}

pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// Writes a file whole: whoever reads it meanwhile finds what was there before.
pub(crate) fn write(file: &Path, text: &str, access: Access) -> anyhow::Result<()> {
    let mode = match access {
        Access::Owner => 0o600,
        Access::All => 0o644,
    };
    let beside = file.with_extension("new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut open| {
            // One that a crash left behind may be open to more.
            open.set_permissions(std::fs::Permissions::from_mode(mode))?;
            open.write_all(text.as_bytes())?;
            open.sync_all()
        })
        .and_then(|()| std::fs::rename(&beside, file));
    written.with_context(|| format!("{} cannot be written", file.display()))
}
