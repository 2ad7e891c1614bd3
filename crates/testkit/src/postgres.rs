//! A real PostgreSQL server for one test, with a store of its own.
//!
//! It starts, kills and restarts the server, and makes empty databases; tables are for whoever
//! keeps something in them.

use std::fs::OpenOptions;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getuid};
use tempfile::TempDir;

use crate::eventually::{EVENTUALLY_MAX, Wait};
use crate::port::free_port;
use crate::process::{read_lossy, signal_child, tail};

/// How long a server may take to be ready: recovery after a kill included.
const READY_MAX: Duration = Duration::from_mins(1);

/// How often a start is repeated on another port, the first one having been taken meanwhile.
const PORTS_MAX: u32 = 20;

/// The owner of everything on the server.
const ROLE: &str = "casement";
/// Known to everybody, and good for a server of 127.0.0.1 that lives as long as a test.
const PASSWORD: &str = "testkit";

/// What a fresh server is made with. Crashes here are killed processes and no power cuts, so
/// nothing is lost without syncing.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=60",
    "log_min_messages=warning",
    "logging_collector=off",
];

/// A running server. Dropping it kills it and removes its store.
#[derive(Debug)]
pub struct Postgres {
    child: Option<Child>,
    /// Where its programs are.
    programs: PathBuf,
    /// Who runs it; `None` for whoever runs the test. PostgreSQL refuses to run as root.
    user: Option<User>,
    folder: TempDir,
    port: u16,
    databases_count: AtomicU32,
    /// Whether what is committed is on disk, as in production.
    is_synced: bool,
}

#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Makes a server and waits until it answers.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, saying how to get it, or it does not become ready.
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    /// As [`Self::start`], with what is committed on disk as in production: for what is measured.
    ///
    /// # Panics
    /// As there.
    pub async fn start_synced() -> Self {
        Self::start_as(true).await
    }

    /// What the server's process is.
    ///
    /// # Panics
    /// When it was stopped or killed.
    pub fn id(&self) -> u32 {
        let child = self.child.as_ref();
        child.expect("a server that runs has a process").id()
    }

    async fn start_as(is_synced: bool) -> Self {
        let user = getuid().is_root().then(unprivileged_user);
        let folder =
            TempDir::with_prefix("casement-postgres-").expect("a folder for temporary files");
        if let Some(User { uid, gid }) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("root gives folders away");
        }
        let mut server = Self {
            child: None,
            programs: postgres_programs(),
            user,
            folder,
            port: 0,
            databases_count: AtomicU32::new(0),
            is_synced,
        };
        server.init();
        let mut ports_count = 0;
        loop {
            ports_count += 1;
            server.port = free_port();
            server.spawn();
            match server.become_ready().await {
                Ok(()) => return server,
                Err(error) => server.refuse_unless(
                    &error,
                    ports_count < PORTS_MAX && server.log().contains("could not bind"),
                ),
            }
        }
    }

    /// Where clients connect, to a database that is there from the start; the same for the
    /// server's whole life.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes an empty database and returns where clients connect to it.
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn fresh_database(&self) -> String {
        let number = self.databases_count.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("test_{number}");
        self.sql(&self.url(), &format!("CREATE DATABASE {name}"))
            .await;
        self.url_of(&name)
    }

    /// Runs a statement with `psql`, and returns what it answers: rows by line, values by `|`.
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn sql(&self, url: &str, statement: &str) -> String {
        let answer = self.try_sql(url, statement).await;
        answer.unwrap_or_else(|error| panic!("{statement}: {error:#}"))
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        read_lossy(&self.log_file())
    }

    /// SIGKILL to the server: its sessions break off, and nothing is written that was not.
    pub fn kill9(&mut self) {
        self.end(Signal::KILL);
    }

    /// What `pg_ctl stop -m immediate` does: every process ends at once, as in a crash.
    pub fn stop_immediately(&mut self) {
        self.end(Signal::QUIT);
    }

    /// The polite end: sessions are broken off, and everything is written down.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        if is_running(&mut child) {
            signal_child(&child, Signal::INT);
        }
        let mut wait = Wait::new(EVENTUALLY_MAX, "postgres stops");
        while is_running(&mut child) {
            wait.not_yet(format!("its log ends:\n{}", tail(&self.log())))
                .await;
        }
    }

    /// Starts a server that was stopped or killed, on the same port and store; one that runs is
    /// left alone.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_again(&mut self) {
        let mut wait = Wait::new(READY_MAX, "postgres starts again");
        while self.child.is_none() {
            self.spawn();
            if let Err(error) = self.become_ready().await {
                let log = self.log();
                // What a killed server leaves behind goes away in its own time.
                let is_passing = [
                    "shared memory block",
                    "lock file",
                    "could not bind",
                    "another server",
                ]
                .iter()
                .any(|words| log.contains(words));
                self.refuse_unless(&error, is_passing);
                wait.not_yet(format!("{error:#}; its log ends:\n{}", tail(&log)))
                    .await;
            }
        }
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            if is_running(&mut child) {
                signal_child(&child, signal);
            }
            child.wait().expect("a child of ours can be waited for");
        }
    }

    fn refuse_unless(&mut self, error: &anyhow::Error, is_passing: bool) {
        self.stop_immediately();
        assert!(
            is_passing,
            "postgres does not become ready: {error:#}; its log ends:\n{}",
            tail(&self.log())
        );
    }

    fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://{ROLE}:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        // Its own folder, since that of the test may be closed to the server's user.
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("LC_ALL", "C");
        command
    }

    fn init(&self) {
        let password = self.folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("a writable folder");
        let mut initdb = self.program("initdb");
        initdb
            .arg("--pgdata")
            .arg(self.data_dir())
            .arg("--pwfile")
            .arg(&password)
            .args(["--username", ROLE, "--encoding=UTF8", "--locale=C"])
            .args(["--auth-host=password", "--auth-local=reject", "--no-sync"]);
        said(initdb.output()).unwrap_or_else(|error| panic!("initdb: {error:#}"));
    }

    fn spawn(&mut self) {
        let log = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(self.log_file())
            .expect("a writable folder");
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data_dir());
        for setting in SETTINGS {
            postgres.args(["-c", setting]);
        }
        if self.is_synced {
            // The last word on a setting counts.
            postgres.args(["-c", "fsync=on", "-c", "full_page_writes=on"]);
        }
        let child = postgres
            .args(["-p", &self.port.to_string()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a postgres that was found can be started");
        self.child = Some(child);
    }

    /// Fails if the server ends; panics if it neither ends nor becomes ready.
    async fn become_ready(&mut self) -> anyhow::Result<()> {
        let mut wait = Wait::new(READY_MAX, "postgres is ready");
        loop {
            let Err(not_yet) = self.probe().await else {
                return Ok(());
            };
            let child = self.child.as_mut().context("not started")?;
            if let Some(exit) = child.try_wait().context("wait for postgres")? {
                return Err(not_yet.context(format!("it ended with {exit}")));
            }
            wait.not_yet(format!("{not_yet:#}")).await;
        }
    }

    /// Another test's server may have taken the port meanwhile, and would answer as gladly.
    async fn probe(&self) -> anyhow::Result<()> {
        let answering = self.try_sql(&self.url(), "SHOW data_directory").await?;
        if Path::new(&answering) != self.data_dir() {
            bail!("another server answers, of {answering}");
        }
        Ok(())
    }

    async fn try_sql(&self, url: &str, statement: &str) -> anyhow::Result<String> {
        let psql = self
            .program("psql")
            .args(["--no-psqlrc", "--no-password", "--tuples-only"])
            .args(["--no-align", "--quiet", "--set=ON_ERROR_STOP=1"])
            .args(["--command", statement, url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let psql = psql.context("start psql")?;
        let output = tokio::task::spawn_blocking(move || psql.wait_with_output());
        said(output.await.context("wait for psql")?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}

/// One that has ended is told once and takes no signals any more.
fn is_running(child: &mut Child) -> bool {
    let exit = child.try_wait().expect("a child of ours can be waited for");
    exit.is_none()
}

/// What a program wrote, or what it complained about.
fn said(output: std::io::Result<Output>) -> anyhow::Result<String> {
    let output = output.context("cannot be started")?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim_end().to_owned())
}

/// Who may run a server when the test is run by root: `postgres`, as packages make it, else
/// `nobody`.
fn unprivileged_user() -> User {
    let users = read_lossy(Path::new("/etc/passwd"));
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [found, _, uid, gid, ..] = fields[..] else {
                return None;
            };
            (found == name).then_some(User {
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            })
        })
    };
    find("postgres").or_else(|| find("nobody")).expect(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody",
    )
}

/// The folder of the server's programs: `CASEMENT_POSTGRES_BIN`, else one on the path, else the
/// newest of those where packages put them. Links are followed, and each program must be there
/// and answer.
///
/// # Panics
/// When there is none, saying how to get it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their tools through the environment"
)]
pub fn postgres_programs() -> PathBuf {
    if let Some(given) = std::env::var_os("CASEMENT_POSTGRES_BIN") {
        let given = PathBuf::from(given);
        assert!(
            has_programs(&given),
            "CASEMENT_POSTGRES_BIN is {}, where initdb, postgres and psql are not all to be found",
            given.display()
        );
        return given;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        // A link stands beside other links, not beside the other programs.
        .filter_map(|folder| std::fs::canonicalize(folder.join("postgres")).ok())
        .filter_map(|program| Some(program.parent()?.to_owned()));
    on_path
        .chain(packaged())
        .find(|folder| has_programs(folder))
        .unwrap_or_else(|| {
            panic!(
                "there is no PostgreSQL server: run ./dev setup, or install it yourself (on \
                 Debian or Ubuntu: apt-get install postgresql; on macOS: brew install \
                 postgresql), or say where initdb and postgres are: \
                 export CASEMENT_POSTGRES_BIN=/folder"
            )
        })
}

/// The newest first.
fn packaged() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = ["/usr/lib/postgresql", "/usr/local/pgsql"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(Iterator::flatten)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

fn has_programs(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| {
        let answer = Command::new(folder.join(program)).arg("--version").output();
        answer.is_ok_and(|answer| answer.status.success())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_committed_is_there_after_every_kind_of_end() {
        let mut server = Postgres::start().await;
        let database = server.fresh_database().await;
        assert_ne!(database, server.fresh_database().await);
        server.sql(&database, "CREATE TABLE kept (id BIGINT)").await;
        for (count, end) in ["kill", "immediate", "stop"].iter().enumerate() {
            let insert = format!("INSERT INTO kept VALUES ({count})");
            server.sql(&database, &insert).await;
            match *end {
                "kill" => server.kill9(),
                "immediate" => server.stop_immediately(),
                _ => server.stop().await,
            }
            assert!(server.try_sql(&database, "SELECT 1").await.is_err());
            server.start_again().await;
            let found = server.sql(&database, "SELECT count(*) FROM kept").await;
            assert_eq!(found, (count + 1).to_string(), "{end}");
        }
    }
}
