//! The life of a process: tasks that live and die together, and how it ends.
//!
//! It knows no task; roles bring theirs. It does not restart what failed: whoever runs the process
//! does.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, EX_USAGE};
use crate::health::{Latch, Readiness};

/// The tasks of one process.
pub struct Shell {
    tasks: JoinSet<anyhow::Result<()>>,
    stopping: CancellationToken,
    readiness: Readiness,
    /// Held until everything is wired, and again while draining.
    running: Latch,
    grace: Duration,
}

impl Shell {
    /// A shell without tasks, not ready yet. After a stop it waits for its tasks for up to `grace`.
    pub fn new(grace: Duration) -> Self {
        let readiness = Readiness::new();
        let running = readiness.latch("process");
        Self {
            tasks: JoinSet::new(),
            stopping: CancellationToken::new(),
            readiness,
            running,
            grace,
        }
    }

    /// Cancelled once: finish what you hold, take no more.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Where dependencies take their latches, and what health endpoints report.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Adds a task. Whichever ends before the stop, well or badly, ends the process with a failure.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            task.await.with_context(|| format!("task `{name}`"))?;
            if !stopping.is_cancelled() {
                bail!("task `{name}` ended before the stop");
            }
            Ok(())
        });
    }

    /// Runs until a SIGTERM, a SIGINT or the first task to end, then drains. A second signal ends
    /// the wait at once.
    ///
    /// # Errors
    /// The first task that failed; a task that ignored the stop; a second signal.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let (stop, stops) = mpsc::channel(2);
        let listener = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if stop.send(()).await.is_err() {
                    break;
                }
            }
        });
        let outcome = self.run_until(stops).await;
        listener.abort();
        outcome
    }

    /// [`Shell::run`] with requests to stop from a channel in place of signals. A channel that is
    /// closed asks for nothing.
    pub async fn run_until(mut self, mut stops: mpsc::Receiver<()>) -> anyhow::Result<()> {
        self.running.release();

        let mut outcome = tokio::select! {
            // A task that ended while a stop was asked for is told first.
            biased;
            Some(ended) = self.tasks.join_next() => flatten(ended),
            () = requested(&mut stops) => {
                tracing::info!("stop requested");
                Ok(())
            }
        };
        if let Err(error) = &outcome {
            tracing::error!(
                error = format!("{error:#}"),
                "task ended, stopping the others"
            );
        }

        // Unready first, so that nothing new is routed to us while we drain.
        self.running.hold("stopping");
        self.stopping.cancel();
        let tasks = &mut self.tasks;
        let first_failure = &mut outcome;
        let drain = async {
            while let Some(ended) = tasks.join_next().await {
                let ended = flatten(ended);
                if first_failure.is_ok() {
                    *first_failure = ended;
                }
            }
        };
        let drained = tokio::select! {
            drained = timeout(self.grace, drain) => drained.map_err(|_| anyhow!("tasks still running after {:?}", self.grace)),
            () = requested(&mut stops) => Err(anyhow!("stopped at once by a second signal")),
        };
        match (outcome, drained) {
            (outcome, Ok(())) => outcome,
            (Ok(()), Err(cut_short)) => Err(cut_short),
            (Err(failure), Err(cut_short)) => Err(failure.context(cut_short)),
        }
    }
}

/// How the process ends: 0, [`EX_USAGE`] for a wrong configuration, 1 for everything else.
pub fn exit_code(outcome: &anyhow::Result<()>) -> ExitCode {
    ExitCode::from(exit_status(outcome))
}

fn exit_status(outcome: &anyhow::Result<()>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(error)
            if error
                .chain()
                .any(<dyn std::error::Error>::is::<ConfigError>) =>
        {
            EX_USAGE
        }
        Err(_) => 1,
    }
}

async fn requested(stops: &mut mpsc::Receiver<()>) {
    if stops.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn flatten(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.context("task panicked")?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn obedient(shell: &mut Shell) {
        let stopping = shell.stopping();
        shell.spawn("obedient", async move {
            stopping.cancelled().await;
            Ok(())
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_requested_stop_drains_and_succeeds() {
        let mut shell = Shell::new(GRACE);
        let readiness = shell.readiness();
        assert!(!readiness.is_ready());
        let stopping = shell.stopping();
        let seen = readiness.clone();
        shell.spawn("watcher", async move {
            stopping.cancelled().await;
            anyhow::ensure!(!seen.is_ready(), "still ready while draining");
            Ok(())
        });
        let (stop, stops) = mpsc::channel(1);
        let mut ready = readiness.watch();
        let running = tokio::spawn(shell.run_until(stops));
        ready.wait_for(|ready| *ready).await.unwrap();
        stop.send(()).await.unwrap();
        running.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_failed_task_stops_the_others_and_is_what_is_reported() {
        let mut shell = Shell::new(GRACE);
        obedient(&mut shell);
        shell.spawn("broken", async { Err(anyhow!("no more disk")) });
        let (_stop, stops) = mpsc::channel(1);
        let error = shell.run_until(stops).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "task `broken`: no more disk");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_is_a_failure_even_if_it_ends_well() {
        let mut shell = Shell::new(GRACE);
        obedient(&mut shell);
        shell.spawn("done", async { Ok(()) });
        let (_stop, stops) = mpsc::channel(1);
        let error = shell.run_until(stops).await.unwrap_err();
        assert_eq!(error.to_string(), "task `done` ended before the stop");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_the_stop_is_reported_after_the_grace() {
        let mut shell = Shell::new(GRACE);
        shell.spawn("deaf", std::future::pending());
        let (stop, stops) = mpsc::channel(1);
        stop.send(()).await.unwrap();
        let start = tokio::time::Instant::now();
        let error = shell.run_until(stops).await.unwrap_err();
        assert_eq!(error.to_string(), "tasks still running after 10s");
        assert_eq!(start.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_the_wait_at_once() {
        let mut shell = Shell::new(GRACE);
        shell.spawn("deaf", std::future::pending());
        let (stop, stops) = mpsc::channel(2);
        stop.send(()).await.unwrap();
        stop.send(()).await.unwrap();
        let start = tokio::time::Instant::now();
        let error = shell.run_until(stops).await.unwrap_err();
        assert_eq!(error.to_string(), "stopped at once by a second signal");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_still_lets_the_others_drain() {
        let mut shell = Shell::new(GRACE);
        let (drained, was_drained) = tokio::sync::oneshot::channel();
        let stopping = shell.stopping();
        shell.spawn("careful", async move {
            stopping.cancelled().await;
            drained.send(()).map_err(|()| anyhow!("nobody waits"))
        });
        shell.spawn("panicking", async { panic!("a claim of ours was wrong") });
        let (_stop, stops) = mpsc::channel(1);
        let error = shell.run_until(stops).await.unwrap_err();
        assert!(
            format!("{error:#}").starts_with("task panicked"),
            "{error:#}"
        );
        was_drained.await.unwrap();
    }

    #[test]
    fn a_wrong_configuration_has_an_exit_status_of_its_own() {
        let usage = Err::<(), _>(ConfigError::check("lead exceeds window")).context("load");
        assert_eq!(exit_status(&usage), EX_USAGE);
        assert_eq!(exit_status(&Err(anyhow!("connection refused"))), 1);
        assert_eq!(exit_status(&Ok(())), 0);
    }
}
