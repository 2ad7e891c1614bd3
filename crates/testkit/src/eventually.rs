//! Waiting for what will be true, on a level and not on an edge.
//!
//! It asks again and again until the answer is yes, and gives up with the last reason for a no.

use std::fmt::Display;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long [`eventually`] waits. Long, since a loaded machine is slow and a passing test is not.
pub const EVENTUALLY_MAX: Duration = Duration::from_secs(30);

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What a probe may answer: a truth value, an option, or a result whose error is why not yet.
pub trait Answer {
    /// What a yes brings.
    type Value;

    /// The value, or why there is none yet.
    fn into_result(self) -> Result<Self::Value, String>;
}

impl Answer for bool {
    type Value = ();

    fn into_result(self) -> Result<(), String> {
        if self {
            Ok(())
        } else {
            Err("not true".to_owned())
        }
    }
}

impl<T> Answer for Option<T> {
    type Value = T;

    fn into_result(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing there".to_owned())
    }
}

impl<T, E: Display> Answer for Result<T, E> {
    type Value = T;

    fn into_result(self) -> Result<T, String> {
        // The alternate form tells the whole chain of an `anyhow::Error`.
        self.map_err(|reason| format!("{reason:#}"))
    }
}

/// Asks `probe` until it answers yes, for [`EVENTUALLY_MAX`]; `what` says what is waited for.
///
/// # Panics
/// When the time is over, with the last reason.
#[track_caller]
pub fn eventually<A: Answer>(
    what: &str,
    probe: impl AsyncFnMut() -> A,
) -> impl Future<Output = A::Value> {
    eventually_within(EVENTUALLY_MAX, what, probe)
}

/// [`eventually`] with a time of the caller's.
///
/// # Panics
/// When the time is over, with the last reason.
#[track_caller]
pub fn eventually_within<A: Answer>(
    max: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> A,
) -> impl Future<Output = A::Value> {
    let mut wait = Wait::new(max, what);
    async move {
        loop {
            match timeout_at(wait.deadline, probe())
                .await
                .map(Answer::into_result)
            {
                Ok(Ok(value)) => return value,
                Ok(Err(reason)) => wait.not_yet(reason).await,
                Err(_) => wait.no_answer(),
            }
        }
    }
}

/// One wait, for loops whose futures must be `Send`, which those of an `AsyncFnMut` cannot be
/// shown to be.
pub(crate) struct Wait {
    max: Duration,
    what: String,
    caller: &'static Location<'static>,
    deadline: Instant,
    pause: Duration,
    last_reason: Option<String>,
}

impl Wait {
    #[track_caller]
    pub(crate) fn new(max: Duration, what: impl Into<String>) -> Self {
        Self {
            max,
            what: what.into(),
            caller: Location::caller(),
            deadline: Instant::now() + max,
            pause: PAUSE_MIN,
            last_reason: None,
        }
    }

    /// Waits a little before the next question; panics with `reason` if the time is over.
    pub(crate) async fn not_yet(&mut self, reason: String) {
        if Instant::now() >= self.deadline {
            self.give_up(&reason);
        }
        self.last_reason = Some(reason);
        sleep(
            self.pause
                .min(self.deadline.saturating_duration_since(Instant::now())),
        )
        .await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The time is over in the middle of a question.
    fn no_answer(&self) -> ! {
        let reason = self.last_reason.as_deref();
        self.give_up(reason.unwrap_or("the probe did not answer"))
    }

    fn give_up(&self, reason: &str) -> ! {
        let Self {
            max, what, caller, ..
        } = self;
        panic!("not within {max:?}: {what} (waited for at {caller}); last: {reason}")
    }
}
