//! The role put together: engine, lanes, index, reports, wake-ups, service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use casement_domain::window;
use casement_event::subject::{Family, parse_message, stream};
use casement_event_log::deadline::{InHand, Index, Now, Options};
use casement_event_log::directory::Directory;
use casement_event_log::{Log, customers, lease};
use casement_proto::message::v1::message_service_server::MessageServiceServer;
use casement_secrets::Secrets;
use casement_shell::clock::SharedClock;
use casement_shell::config::ConfigError;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use casement_shell::health::Latch;
use casement_shell::http::{self, ClientOptions};
use casement_sms::gateways::{Gateways, TwilioAddresses};
use casement_whatsapp::send;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::brands::Quotas;
use crate::budgets::Budgets;
use crate::config::{Config, Rules};
use crate::engine::Engine;
use crate::grpc::Messages;
use crate::halts::{self, Halts};
use crate::hold::Queues;
use crate::lanes::{Book, Lanes};
use crate::money::Money;
use crate::policies::Policies;
use crate::provider::{Caller, Carrier};
use crate::rates::Rates;
use crate::recent::Recent;
use crate::sensitive::{Vault, keeper};
use crate::workers::Workers;
use crate::{commands, erase, metrics, money, pace, reports, wake};

/// How long after it was handed out a message is handed out again if nothing moved it.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// The dispatcher, ready to run.
pub struct Role {
    config: Config,
    engine: Arc<Engine>,
    book: Arc<Book>,
    tokens: customers::Tokens,
    ready: Latch,
    closing: CancellationToken,
}

impl std::fmt::Debug for Role {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Role")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Puts the role together; nothing runs yet. `window` is how windows are counted, the same as
/// the tracker's. `ready` is released once every message on the log is known.
pub fn start(
    config: Config,
    window: window::Policy,
    log: Log,
    directory: Directory,
    tokens: customers::Tokens,
    clock: SharedClock,
    ready: Latch,
) -> anyhow::Result<Role> {
    if let Some(problem) = config.problem() {
        return Err(ConfigError::check(problem).into());
    }
    ready.hold("messages on the log are not known yet");
    metrics::start();
    let timeout = Duration::try_from(config.call_timeout).unwrap_or_default();
    let http = http::client(&ClientOptions {
        timeout,
        ..ClientOptions::default()
    })
    .context("build the HTTP client")?;
    let upload_timeout = Duration::try_from(config.upload_timeout).unwrap_or_default();
    let slow_http = http::client(&ClientOptions {
        timeout: upload_timeout,
        ..ClientOptions::default()
    })
    .context("build the HTTP client of uploads")?;
    let rules = Rules {
        message: config.policy(),
        window,
        routing: Policies::read(&config.policies, &config.policy_of)
            .map_err(|problems| ConfigError::check(problems.join("; ")))?,
        sms_from_template: config.sms_from_template.clone(),
        hold: config.hold.clone(),
        opt_in: config.require_opt_in.clone(),
    };
    let halts = Halts::new(log.clone(), directory.clone());
    let book = Arc::new(Book::default());
    let vault = Vault::new(config.sensitive_key.as_ref()).map_err(|error| {
        let problem = anyhow::Error::new(error);
        ConfigError::check(format!("{problem:#}"))
    })?;
    let plan = config.money.plan();
    let plan = plan.map_err(|problems| ConfigError::check(problems.join("; ")))?;
    if plan.is_none()
        && let Some(problem) = rules.routing.unpriced()
    {
        tracing::warn!("{problem}");
    }
    let engine = Engine {
        log,
        directory: directory.clone(),
        tokens: tokens.clone(),
        clock,
        rules,
        admission: Admission::default(),
        rates: Rates::new(config.brand_weights.clone()),
        book: Arc::clone(&book),
        budgets: Budgets::default(),
        queues: Queues::default(),
        halts,
        money: Money::new(plan).with_caps_of(directory),
        quotas: Quotas::default(),
        recent: Recent::default(),
        caller: Caller {
            carrier: None,
            secrets: Secrets::default(),
            providers: config.providers.clone(),
            whatsapp: send::Client::new(http.clone()).with_timeout(timeout),
            uploads: send::Client::new(slow_http).with_timeout(upload_timeout),
            sms: Gateways::new(
                http,
                timeout,
                config.sms.clone(),
                TwilioAddresses {
                    url: config.providers.twilio_url.clone(),
                    callback_url: config.providers.twilio_callback_url.clone(),
                },
            ),
        },
        vault,
        claimant: casement_event::Uuid::new_v4().simple().to_string(),
    };
    Ok(Role {
        config,
        engine: Arc::new(engine),
        book,
        tokens,
        ready,
        closing: CancellationToken::new(),
    })
}

impl Role {
    /// Lets accounts name secrets that are stored. To be told before anything runs or is served.
    ///
    /// # Panics
    /// If it is told later.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        let engine = Arc::get_mut(&mut self.engine).expect("nothing runs yet");
        engine.caller.secrets = secrets;
        self
    }

    /// Lets somebody else make the calls to providers: a simulation. To be told before anything runs
    /// or is served.
    ///
    /// # Panics
    /// If it is told later.
    #[must_use]
    pub fn with_carrier(mut self, carrier: Arc<dyn Carrier>) -> Self {
        let engine = Arc::get_mut(&mut self.engine).expect("nothing runs yet");
        engine.caller.carrier = Some(carrier);
        self
    }

    /// Returns the service, to be put behind authentication.
    pub fn service(&self) -> MessageServiceServer<Messages> {
        MessageServiceServer::new(self.messages())
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    fn messages(&self) -> Messages {
        Messages {
            engine: Arc::clone(&self.engine),
            book: Arc::clone(&self.book),
            tokens: self.tokens.clone(),
            default_ttl: self.config.default_ttl,
            uploads: Arc::new(Semaphore::new(self.config.uploads_at_once)),
            closing: self.closing.clone(),
        }
    }

    /// Runs until stopped; calls that are under way are finished first.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let messages = self.messages();
        let Self {
            config,
            engine,
            book,
            ready,
            closing,
            ..
        } = self;
        // Streams of requests end with the role, however it ends.
        let _close_on_drop = closing.clone().drop_guard();
        let close = async {
            stopping.cancelled().await;
            closing.cancel();
            Ok(())
        };
        let options = Options {
            stream: stream::MESSAGES,
            filter: Family::Message.filter(),
            stagger: config.stagger,
            retry_after: RETRY_AFTER,
        };
        let clock = Arc::new(IndexClock(engine.clock.clone()));
        let (seen, queues) = (Arc::clone(&book), engine.queues.clone());
        let (rates, started_at) = (Arc::clone(&engine), engine.clock.now());
        let of = Arc::clone(&engine);
        let in_hand: InHand = Arc::new(move |subject, sequence| {
            let id = parse_message(subject).map(|(_, id)| id);
            id.is_some_and(|id| of.recent.is_at(&id, sequence))
        });
        let mut index = Index::start_for(
            &engine.log,
            options,
            clock,
            stopping.clone(),
            in_hand,
            move |stored| {
                queues.see(stored);
                seen.see(stored);
                rates.rates.see(stored, &rates.claimant, started_at);
                rates.budgets.see(stored, &rates.directory);
                rates.quotas.see(stored, rates.clock.now());
            },
        );
        let lanes = Lanes {
            engine: Arc::clone(&engine),
            book,
            index: index.handle(),
            is_active: activity(&config, &engine.log, &stopping),
            workers: Workers::new(config.in_hand_max, config.brand_weights.clone()),
            tasks: TaskTracker::new(),
            stopping: stopping.clone(),
        };
        let mut admitted = lanes.book.admitted();
        let mut progress = index.handle().progress();
        let known = progress.clone();
        let mut catching_up = progress.clone();
        let watch_progress = async {
            if progress
                .wait_for(|progress| progress.is_caught_up)
                .await
                .is_ok()
            {
                engine.quotas.caught_up();
                engine.money.known().await;
                ready.release();
            }
            anyhow::Ok(())
        };
        let hand_out = async {
            let mut knows_all = catching_up.borrow_and_update().is_caught_up;
            loop {
                tokio::select! {
                    Ok(()) = catching_up.changed(), if !knows_all => {
                        knows_all = catching_up.borrow_and_update().is_caught_up;
                    }
                    due = index.due() => match due {
                        Some(due) => lanes.due(&due),
                        None => break,
                    },
                    // Before that, those that have to go first may not be known.
                    admitted = admitted.recv(), if knows_all => match admitted {
                        Ok(key) => lanes.wake(key),
                        // The index hands out those that were missed.
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => break,
                    },
                }
            }
            // Without it nothing would ever go out again, and nobody would hear of it.
            anyhow::ensure!(stopping.is_cancelled(), "deadline index ended by itself");
            Ok(())
        };
        // Each decision asks who the customer is and what they allow; both change seldom.
        let mirror_customers = async {
            tokio::join!(
                engine.log.mirror(stream::CUSTOMERS, stopping.clone()),
                engine.log.heed_tombstones(stopping.clone()),
            );
            Ok(())
        };
        let outcome = tokio::try_join!(
            close,
            commands::run(messages, stopping.clone()),
            metrics::watch(
                engine.directory.clone(),
                lanes.is_active.clone(),
                stopping.clone()
            ),
            watch_progress,
            hand_out,
            reports::run(Arc::clone(&engine), stopping.clone()),
            reports::grant_wishes(Arc::clone(&engine), stopping.clone()),
            money::run(
                Arc::clone(&engine),
                lanes.is_active.clone(),
                config.money.count_every,
                stopping.clone(),
            ),
            wake::run(engine.log.clone(), lanes.clone(), stopping.clone()),
            mirror_customers,
            pace::run(lanes.clone(), stopping.clone()),
            keeper::run(engine.log.clone(), stopping.clone()),
            erase::run(Arc::clone(&engine), stopping.clone()),
            Box::pin(halts::watch::run(lanes.clone(), known, stopping.clone())),
        );
        // Who has not begun is left to whoever comes next.
        lanes.workers.close();
        lanes.tasks.close();
        lanes.tasks.wait().await;
        outcome.map(|_| ())
    }
}

/// Whether this replica is the active one: by a lease, or always if there is to be none.
fn activity(config: &Config, log: &Log, stopping: &CancellationToken) -> watch::Receiver<bool> {
    match Duration::try_from(config.lease) {
        Ok(length) if !length.is_zero() => {
            lease::hold(log, "dispatcher-0", length, stopping.clone())
        }
        _ => watch::channel(true).1,
    }
}

/// The shell's clock as the index asks for it.
struct IndexClock(SharedClock);

impl Now for IndexClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn is_trusted(&self) -> bool {
        self.0.agreement(None).is_ok()
    }

    fn hear(&self, broker: Timestamp, waited: Duration) {
        self.0.hear(broker, waited);
    }
}
