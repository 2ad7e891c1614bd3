//! What all parts of a running simulator share: one locked state, the clock, the HTTP client, and
//! the tasks in flight.
//!
//! It holds things together and decides nothing.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::books::Books;
use crate::config::{AutoStatus, Clock, Config, TwilioConfig, WebhookRetry};
use crate::faults::Faults;
use crate::generic::GenericConfig;
use crate::media::Shelf;
use crate::outbox::{Outbox, WEBHOOKS_IN_FLIGHT_MAX};
use crate::vonage::VonageConfig;

/// Everything that changes.
pub(crate) struct State {
    pub(crate) books: Books,
    pub(crate) faults: Faults,
    pub(crate) outbox: Outbox,
    pub(crate) auto_status: AutoStatus,
    pub(crate) media: Shelf,
}

/// A running simulator.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) app_secret: SecretString,
    pub(crate) verify_token: String,
    pub(crate) twilio: TwilioConfig,
    pub(crate) vonage: VonageConfig,
    pub(crate) generic: GenericConfig,
    pub(crate) webhook_retry: WebhookRetry,
    pub(crate) client: reqwest::Client,
    pub(crate) in_flight: Semaphore,
    pub(crate) cancel: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Where others find it; unknown if it listens everywhere.
    pub(crate) base_url: OnceLock<String>,
    version: watch::Sender<u64>,
    state: Mutex<State>,
}

impl Shared {
    /// Builds the state of a simulator that has not begun.
    pub(crate) fn new(config: Config) -> reqwest::Result<Arc<Self>> {
        let client = build_client(pause(config.webhook_retry.answer_within))?;
        let state = State {
            books: Books::new(&config),
            faults: Faults::new(config.seed),
            outbox: Outbox::new(config.webhook_url),
            auto_status: config.auto_status,
            media: Shelf::default(),
        };
        Ok(Arc::new(Self {
            clock: config.clock,
            app_secret: config.app_secret,
            verify_token: config.verify_token,
            twilio: config.twilio,
            vonage: config.vonage,
            generic: config.generic,
            webhook_retry: config.webhook_retry,
            client,
            in_flight: Semaphore::new(WEBHOOKS_IN_FLIGHT_MAX),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            base_url: OnceLock::new(),
            version: watch::Sender::new(0),
            state: Mutex::new(state),
        }))
    }

    /// Returns the present instant on the simulator's clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Reads the state.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state and wakes whoever waits for a change.
    pub(crate) fn change<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        let value = write(&mut self.lock());
        self.version.send_modify(|version| *version += 1);
        value
    }

    /// Returns a receiver that sees every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Runs a task that ends when the simulator stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            cancel.run_until_cancelled(task).await;
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held is a bug that has been reported already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a duration as timers take it; negative ones are none.
pub(crate) fn pause(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or(Duration::ZERO)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator stands outside the house and builds its own client"
)]
fn build_client(answer_within: Duration) -> reqwest::Result<reqwest::Client> {
    // Somebody else in the process may have installed one: then theirs serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(answer_within)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}
