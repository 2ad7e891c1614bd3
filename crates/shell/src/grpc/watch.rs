//! Answers that go on until the caller goes, falls behind, or the process closes.
//!
//! Each watch has a bounded buffer of its own. A caller who does not read for long enough is told
//! where to resume, after what the buffer holds; nobody else waits for it. What is told, and where
//! it comes from, is the service's.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tonic::{Code, Status};

use super::refusal;

/// What a watch answers.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How far a caller may fall behind.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many answers wait for it.
    pub buffer_len: usize,
    /// How long a full buffer is waited for.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer_len: 256,
            patience: Duration::from_secs(10),
        }
    }
}

/// Why a watch does not go on, though there may be more to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The caller has gone.
    Away,
    /// The caller does not read.
    Slow,
    /// The process closes.
    Closing,
}

impl Gone {
    /// Returns what the caller is told at the end; nothing if it has gone. `position` is the last
    /// that it was told up to.
    pub fn status(self, position: String) -> Option<Status> {
        let (code, reason, message) = match self {
            Self::Away => return None,
            Self::Slow => (
                Code::Aborted,
                "READER_TOO_SLOW",
                "events were not read in time: resume after the last position",
            ),
            Self::Closing => (
                Code::Unavailable,
                "CLOSING",
                "this process stops: resume elsewhere after the last position",
            ),
        };
        Some(refusal(
            code,
            reason,
            message,
            [("resume_position", position)],
        ))
    }
}

/// Where a watch hands its answers over.
#[derive(Debug, Clone)]
pub struct Teller<T> {
    sender: mpsc::Sender<T>,
    patience: Duration,
}

impl<T: Send> Teller<T> {
    /// Hands an answer over.
    ///
    /// # Errors
    /// [`Gone::Away`] and [`Gone::Slow`]: the answer was not told.
    pub async fn tell(&self, answer: T) -> Result<(), Gone> {
        let sent = self.sender.send_timeout(answer, self.patience).await;
        sent.map_err(|error| match error {
            SendTimeoutError::Closed(_) => Gone::Away,
            SendTimeoutError::Timeout(_) => Gone::Slow,
        })
    }

    /// Waits until the caller has gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// Begins a watch: `watch` tells until it returns how the answers end. The permit is held for as
/// long.
pub fn start<T, F>(
    limits: Limits,
    permit: OwnedSemaphorePermit,
    watch: impl FnOnce(Teller<T>) -> F,
) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Option<Status>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(limits.buffer_len);
    let (end, ended) = oneshot::channel();
    let watching = watch(Teller {
        sender,
        patience: limits.patience,
    });
    tokio::spawn(async move {
        let status = watching.await;
        drop(permit);
        // Nobody listens any more if the caller has gone.
        let _ = end.send(status);
    });
    let answers = futures::stream::poll_fn(move |context| receiver.poll_recv(context)).map(Ok);
    let last = futures::stream::once(ended).filter_map(async |status| status.ok()?.map(Err));
    Box::pin(answers.chain(last))
}
