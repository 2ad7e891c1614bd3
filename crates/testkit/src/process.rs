//! A program of ours as a process of its own, to be watched, killed and stopped.
//!
//! It knows nothing of what the program does; its output is kept in files and shown when something
//! that was waited for does not come.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

use crate::eventually::{EVENTUALLY_MAX, Wait};

/// How much of a log is shown in a panic.
const LOG_TAIL_BYTES: usize = 8_000;

/// How often a process that is to end gently is looked after before it is killed.
const GENTLE_LOOKS_MAX: u32 = 500;

/// How long between two looks.
const GENTLE_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    exit: Option<ExitStatus>,
    name: String,
    folder: TempDir,
    is_gentle: bool,
}

impl Process {
    /// Starts `command` with its output kept in files and no input.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let folder =
            TempDir::with_prefix("casement-process-").expect("a folder for temporary files");
        let file = |kind: &str| {
            File::create(folder.path().join(kind)).expect("a new file in a new folder")
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            child,
            exit: None,
            name,
            folder,
            is_gentle: false,
        }
    }

    /// Asks it to stop at the end of its test instead of killing it: for what has children of
    /// its own to stop.
    #[must_use]
    pub fn gently(mut self) -> Self {
        self.is_gentle = true;
        self
    }

    /// The operating system's id of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.folder.path().join("stdout"))
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.folder.path().join("stderr"))
    }

    /// Waits until standard output satisfies `is_there`, and returns it.
    ///
    /// # Panics
    /// When it does not in time, or the program ends first.
    pub async fn wait_for_stdout(&mut self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        self.wait_for(what, Self::stdout, is_there).await
    }

    /// Waits until standard error satisfies `is_there`, and returns it.
    ///
    /// # Panics
    /// When it does not in time, or the program ends first.
    pub async fn wait_for_stderr(&mut self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        self.wait_for(what, Self::stderr, is_there).await
    }

    /// Whether it has not ended yet; a paused program has not.
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn wait(&mut self) -> ExitStatus {
        let mut wait = Wait::new(EVENTUALLY_MAX, format!("{} ends", self.name));
        loop {
            if let Some(exit) = self.try_wait() {
                return exit;
            }
            wait.not_yet(format!(
                "it still runs; its log ends:\n{}",
                tail(&self.stderr())
            ))
            .await;
        }
    }

    /// SIGKILL, as if the machine had failed it, and waits for its end.
    pub fn kill9(&mut self) {
        if self.exit.is_none() {
            // An error says that it has ended by itself.
            let _ = self.child.kill();
            self.exit = self.child.wait().ok();
        }
    }

    /// SIGTERM: the polite request to stop.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT: what a terminal sends for Ctrl-C.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// SIGSTOP: it keeps its connections and does nothing.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on, as if the time in between had not been.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none() {
            signal_child(&self.child, signal);
        }
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self
                .child
                .try_wait()
                .expect("a child of ours can be waited for");
        }
        self.exit
    }

    async fn wait_for(
        &mut self,
        what: &str,
        output: fn(&Self) -> String,
        is_there: impl Fn(&str) -> bool,
    ) -> String {
        let mut wait = Wait::new(EVENTUALLY_MAX, format!("{}: {what}", self.name));
        loop {
            // Asked before reading: what was written last is read even if the end comes between.
            let exit = self.try_wait();
            let text = output(self);
            if is_there(&text) {
                return text;
            }
            if let Some(exit) = exit {
                let log = self.stderr();
                panic!(
                    "{}: {what}: it ended with {exit}; its log ends:\n{}",
                    self.name,
                    tail(&log)
                );
            }
            wait.not_yet(format!("it has written:\n{}", tail(&text)))
                .await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_gentle && self.is_running() {
            self.terminate();
            for _ in 0..GENTLE_LOOKS_MAX {
                if !self.is_running() {
                    return;
                }
                std::thread::park_timeout(GENTLE_LOOK_INTERVAL);
            }
        }
        self.kill9();
    }
}

/// The built `casement` program, beside the test's own.
///
/// # Panics
/// When it is not built.
pub fn casement_bin() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/debug/deps/test-…, target/debug/examples/…, or a program in target/debug itself.
    let found = test
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join("casement"))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "there is no `casement` near {}: run `cargo build -p casement` first, or ./dev test",
            test.display()
        )
    })
}

/// Sends `signal`; a child that is to stop has stopped when this returns.
pub(crate) fn signal_child(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("process ids are positive");
    kill_process(pid, signal).expect("a child of ours that has not been waited for takes signals");
    if signal == Signal::STOP {
        // The signal stops one thread after the other, and some would go on answering. Left
        // waitable, so that an exit in between is still there for whoever waits for it.
        let stopped_or_gone =
            WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), stopped_or_gone).expect("a child of ours can be waited for");
    }
}

/// The end of a text, cut at a line.
pub(crate) fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(LOG_TAIL_BYTES);
    match text.as_bytes()[from..]
        .iter()
        .position(|byte| *byte == b'\n')
    {
        Some(line_break) if from > 0 => &text[from + line_break + 1..],
        _ => text,
    }
}

pub(crate) fn read_lossy(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
