//! How many requests of campaigns are accepted at once while more urgent ones come in.
//!
//! Accepting a message asks the broker some questions and writes a record, and the broker answers
//! one after the other. A campaign alone may have as many under way as it brings; beside answers it
//! gets a share, so that nobody's answer stands in line behind hundreds of its requests. Nothing
//! is refused here: who brings a campaign is made to wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use casement_domain::turns::Priority;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Requests of campaigns that are accepted at once beside more urgent ones.
const BULK_AT_ONCE: usize = 16;

/// For how long after an urgent request another is expected.
const LATELY: Duration = Duration::from_secs(2);

/// The way in.
#[derive(Debug)]
pub(crate) struct Admission {
    bulk: Semaphore,
    urgent_at: Mutex<Option<Instant>>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            bulk: Semaphore::new(BULK_AT_ONCE),
            urgent_at: Mutex::default(),
        }
    }
}

impl Admission {
    /// Waits until a request may be accepted. What it returns is kept until it is.
    pub(crate) async fn enter(&self, priority: Priority) -> Option<SemaphorePermit<'_>> {
        let is_bulk = priority == Priority::Bulk;
        {
            let mut urgent_at = self
                .urgent_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if !is_bulk {
                *urgent_at = Some(Instant::now());
                return None;
            }
            if urgent_at.is_none_or(|at| at.elapsed() > LATELY) {
                return None;
            }
        }
        // It is never closed.
        self.bulk.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_campaign_alone_is_let_in_and_beside_answers_gets_a_share() {
        let admission = Admission::default();
        let mut alone = Vec::new();
        for _ in 0..10 * BULK_AT_ONCE {
            alone.push(admission.enter(Priority::Bulk).await);
        }
        assert!(alone.iter().all(Option::is_none));
        assert!(admission.enter(Priority::Reply).await.is_none());
        let mut beside = Vec::new();
        for _ in 0..BULK_AT_ONCE {
            let entered = admission.enter(Priority::Bulk).now_or_never();
            beside.push(entered.expect("there is room").expect("it is counted"));
        }
        let mut next = Box::pin(admission.enter(Priority::Bulk));
        assert!(next.as_mut().now_or_never().is_none());
        // An answer never waits.
        let answer = admission.enter(Priority::Reply).now_or_never();
        assert!(answer.is_some());
        drop(beside.pop());
        assert!(next.await.is_some());
        tokio::time::advance(LATELY + Duration::from_millis(1)).await;
        for _ in 0..10 * BULK_AT_ONCE {
            assert!(admission.enter(Priority::Bulk).await.is_none());
        }
    }
}
