//! On what machine and with what programs a run was made.

use std::path::Path;

use jiff::Timestamp;
use tokio::process::Command;

use crate::{cost, roles};

/// Returns what is worth knowing about a run, as pairs of a name and a value.
pub(super) async fn all(casement: Option<&Path>) -> Vec<(String, String)> {
    let mut all = vec![
        ("day".to_owned(), day()),
        ("machine".to_owned(), cost::machine().await),
        ("memory".to_owned(), memory().await),
        ("file system".to_owned(), file_system().await),
        ("build".to_owned(), build().to_owned()),
    ];
    let casement = roles::program(casement)
        .map_or_else(|_| "casement".to_owned(), |path| path.display().to_string());
    let nats = casement_testkit::nats_server_bin().display().to_string();
    for (name, program, arguments) in [
        ("casement", casement.as_str(), &["--version"][..]),
        ("source", "git", &["describe", "--always", "--dirty"][..]),
        ("nats-server", nats.as_str(), &["--version"][..]),
        ("Rust", "rustc", &["--version"][..]),
    ] {
        all.push((name.to_owned(), said(program, arguments).await));
    }
    all
}

fn day() -> String {
    use casement_shell::Clock as _;
    let now: Timestamp = casement_shell::SystemClock::new().now();
    now.to_string().chars().take(10).collect()
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "without optimisation: rates and times mean nothing"
    } else {
        "with optimisation"
    }
}

/// The first line that a program says.
async fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().await;
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        "unknown".to_owned()
    } else {
        line.to_owned()
    }
}

async fn memory() -> String {
    let text = tokio::fs::read_to_string("/proc/meminfo")
        .await
        .unwrap_or_default();
    let kib: Option<u64> = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
    kib.map_or_else(
        || "unknown".to_owned(),
        |kib| format!("{} GiB", (kib + 512 * 1024) / (1024 * 1024)),
    )
}

/// What kind of file system temporary folders are on, where brokers and databases keep their files.
async fn file_system() -> String {
    let folder = tempfile::env::temp_dir();
    let text = tokio::fs::read_to_string("/proc/mounts")
        .await
        .unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let place = fields.next()?;
            Some((place, fields.next()?))
        })
        .filter(|(place, _)| folder.starts_with(place))
        .max_by_key(|(place, _)| place.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}
