//! A broker that a killed process of ours left behind: found by its note, and ended.
//!
//! Only the very process that was noted, and only while it still runs with our configuration file:
//! ids are used again. Where there is no `/proc` it is left alone, and its port is found taken.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::{STOP_MAX, pid_of};

const NOTE: &str = "nats-server.pid";

/// Notes the process that runs.
pub(super) fn note(folder: &Path, id: u32) {
    if let Err(error) = std::fs::write(folder.join(NOTE), id.to_string()) {
        tracing::warn!(%error, "broker's process id was not noted");
    }
}

/// Takes the note back.
pub(super) fn forget(folder: &Path) {
    // An error says that there was none.
    let _ = std::fs::remove_file(folder.join(NOTE));
}

/// Ends the noted process, if it runs with `conf`.
pub(super) async fn end(folder: &Path, conf: &Path) {
    let Some(id) = noted(folder) else { return };
    if !runs_with(id, conf) {
        return;
    }
    tracing::warn!(
        process.pid = id,
        "broker of an earlier run is still there, is stopped"
    );
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(pid) = pid_of(id) {
            // An error says that it has ended by itself.
            let _ = kill_process(pid, signal);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_MAX {
            if !runs_with(id, conf) {
                return forget(folder);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn noted(folder: &Path) -> Option<u32> {
    std::fs::read_to_string(folder.join(NOTE))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Whether the process runs with this configuration file among its arguments.
fn runs_with(id: u32, conf: &Path) -> bool {
    let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    arguments
        .split(|byte| *byte == 0)
        .any(|argument| argument == conf.as_os_str().as_encoded_bytes())
}
