//! The whole system, with something to break between any two of its parts.
//!
//! Each role reaches the broker through a proxy of its own, the archive its database and everybody
//! the providers through one; providers post through one, too. Each role has a wall clock that can
//! be set. A role that ends is started again, as whoever runs it would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use casement_testkit::{Postgres, Proxy};
use casement_tests::{Options, Role, Stack};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long a window lasts here.
pub const WINDOW_SECONDS: u32 = 10;

/// How large the broker's disk is, where one can be had.
const DISK_MIB: u64 = 192;

/// How often somebody looks whether roles are ready.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where a role that makes everything anew is put.
pub(crate) const FRESH: usize = 1;

/// A small disk of its own for the broker's store. Dropping it takes it away.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Mounts one; `None` where that is not permitted.
    fn mount() -> Option<Self> {
        let folder = TempDir::with_prefix("casement-disk-").ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { folder })
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Writes until there is no room left.
    pub(crate) fn fill(&self) {
        use std::io::Write as _;
        let Ok(mut file) = std::fs::File::create(self.filler()) else {
            return;
        };
        let chunk = vec![0; 64 * 1024];
        while file.write_all(&chunk).is_ok() {}
        // The last of it, too.
        while file.write_all(&chunk[..512]).is_ok() {}
    }

    /// Makes room again.
    pub(crate) fn clear(&self) {
        // It may not be there.
        let _ = std::fs::remove_file(self.filler());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that has just been killed may still hold it.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .output();
    }
}

/// The system and what can be broken about it.
pub struct System {
    /// Roles, broker, providers.
    pub stack: Stack,
    /// Where the archive is.
    pub database: Postgres,
    /// Between each role and the broker.
    pub broker: BTreeMap<Role, Proxy>,
    /// Between archive and database.
    pub database_line: Proxy,
    /// Between roles and providers.
    pub provider: Proxy,
    /// Between providers and ingress.
    pub webhooks: Proxy,
    /// The broker's disk; `None` where none of its own could be had.
    pub disk: Option<Disk>,
    clocks: TempDir,
    /// How often a role was started again because it had ended by itself.
    pub restarts_count: usize,
}

impl System {
    /// Starts everything.
    ///
    /// # Errors
    /// When something does not get ready.
    pub async fn start() -> anyhow::Result<Self> {
        let database = Postgres::start().await;
        let url = database.fresh_database().await;
        let database_line = Proxy::start(format!("127.0.0.1:{}", database.port())).await;
        let near = format!("127.0.0.1:{}/", database.port());
        let far = format!("{}/", database_line.addr());
        let disk = Disk::mount();
        let options = Options {
            window_seconds: WINDOW_SECONDS,
            database_url: Some(url.replace(&near, &far)),
            store_dir: disk.as_ref().map(Disk::store),
            ..Options::default()
        };
        let mut stack = Stack::without_roles(&options).await;
        let provider_url = stack.simulator_url();
        let provider = Proxy::start(provider_url.trim_start_matches("http://")).await;
        let webhooks_url = stack.webhooks_url();
        let webhooks = Proxy::start(webhooks_url.trim_start_matches("http://")).await;
        let hook = format!("{}/webhooks/whatsapp", webhooks.url("http"));
        stack.simulator.set_webhook_url(Some(hook));

        let clocks = TempDir::new().context("no folder for clocks")?;
        let mut broker = BTreeMap::new();
        for role in Role::ALL {
            let line = Proxy::start(stack.nats.addr()).await;
            let clock = clock_file(&clocks, role);
            let provider = provider.url("http");
            for (name, value) in [
                ("CASEMENT__LOG__SERVERS", line.url("nats")),
                ("CASEMENT__ACCOUNTS__GRAPH__URL", provider.clone()),
                ("CASEMENT__INGRESS__MEDIA__GRAPH_URL", provider.clone()),
                (
                    "CASEMENT__DISPATCHER__PROVIDERS__GRAPH_URL",
                    provider.clone(),
                ),
                ("CASEMENT__DISPATCHER__PROVIDERS__TWILIO_URL", provider),
                ("CASEMENT__DISPATCHER__REPORT_WITHIN", "20s".to_owned()),
                ("CASEMENT__DISPATCHER__DEFAULT_TTL", "25s".to_owned()),
                ("CASEMENT_TESTING_CLOCK_FILE", clock.display().to_string()),
            ] {
                stack.set_variable(role, 0, name, &value);
            }
            broker.insert(role, line);
        }
        let mut system = Self {
            stack,
            database,
            broker,
            database_line,
            provider,
            webhooks,
            disk,
            clocks,
            restarts_count: 0,
        };
        for role in Role::ALL {
            system.stack.launch(role, 0);
        }
        system.until_ready(Duration::from_mins(1)).await?;
        system.restarts_count = 0;
        Ok(system)
    }

    /// Sets a role's wall clock wrong by so many seconds.
    pub(crate) fn set_clock(&self, role: Role, seconds: i64) {
        std::fs::write(clock_file(&self.clocks, role), seconds.to_string())
            .expect("a file in a folder of ours");
    }

    /// Starts whatever has ended again, and waits until every role is ready.
    ///
    /// # Errors
    /// When one is not within the time, with what it says.
    pub(crate) async fn until_ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + within;
        loop {
            let waiting = self.waiting_for().await;
            let Some((role, why)) = waiting else {
                return Ok(());
            };
            if Instant::now() >= until {
                let said = self.stack.process(role, 0).stderr();
                let said = &said[said.len().saturating_sub(2_000)..];
                bail!("{role:?} is not ready within {within:?}: {why}; it said: {said}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns a role that is not ready, and why. One that has ended is started again.
    async fn waiting_for(&mut self) -> Option<(Role, String)> {
        for role in Role::ALL {
            let Err(why) = self.stack.look(role, 0).await else {
                continue;
            };
            if !self.stack.process(role, 0).is_running() {
                self.restarts_count += 1;
                self.stack.launch(role, 0);
            }
            return Some((role, why));
        }
        None
    }

    /// Starts a second archive over an empty database, which makes everything anew from the log.
    pub(crate) async fn start_fresh_archive(&mut self) -> anyhow::Result<()> {
        let url = self.database.fresh_database().await;
        self.stack.set_variable(
            Role::AuditProjector,
            FRESH,
            "CASEMENT__ARCHIVE__DATABASE_URL",
            &url,
        );
        self.stack.launch(Role::AuditProjector, FRESH);
        let until = Instant::now() + Duration::from_mins(1);
        while let Err(why) = self.stack.look(Role::AuditProjector, FRESH).await {
            if Instant::now() >= until {
                bail!("the second archive is not ready: {why}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn clock_file(clocks: &TempDir, role: Role) -> PathBuf {
    clocks.path().join(format!("{role:?}"))
}
