//! Roles, a provider that looks like Meta, numbers with the highest throughput, and customers
//! whose windows are open.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use casement_event::v1;
use casement_shell::{Clock as _, SystemClock};
use casement_simulator::{Config, Fault, Handle, Limits, NumberConfig, Simulator};
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use crate::posts::SECRET;
use crate::roles::{Role, Running, System};
use crate::stage;

/// The access token of all numbers.
pub(crate) const TOKEN: &str = "bench-access-token";

/// The business account of all numbers.
const WABA: &str = "w1";

/// How long customers may take until all their windows are open.
const OPEN_MAX: Duration = Duration::from_mins(10);

/// How often the provider's books are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Messages a second of a number that the platform has upgraded (WhatsApp Cloud API: throughput),
/// for measures that are of no rate.
pub(crate) const THROUGHPUT: u32 = 1_000;

/// What differs between scenes.
pub(crate) struct Plan<'a> {
    pub(crate) program: &'a Path,
    pub(crate) customers: usize,
    pub(crate) numbers: usize,
    /// How many of the numbers, from the last one on, are each of a brand of their own.
    pub(crate) other_brands: usize,
    /// Keys of the section `[dispatcher]`.
    pub(crate) dispatcher: &'a str,
    /// Whether the provider keeps to its limits; off where calls are compared that no limit slows.
    pub(crate) is_limited: bool,
    /// Messages a second of each number.
    pub(crate) throughput: u32,
    /// Decides where faults happen.
    pub(crate) seed: u64,
}

impl<'a> Plan<'a> {
    /// Numbers of one brand, and nothing that slows them.
    pub(crate) fn unhindered(program: &'a Path, customers: usize, numbers: usize) -> Self {
        Self {
            program,
            customers,
            numbers,
            other_brands: 0,
            dispatcher: "",
            is_limited: false,
            throughput: THROUGHPUT,
            seed: 0,
        }
    }
}

/// What was set up.
pub(crate) struct Scene {
    pub(crate) system: System,
    pub(crate) context: jetstream::Context,
    pub(crate) provider: Handle,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) who: Who,
    /// Ends with the runtime.
    running: casement_simulator::Running,
}

/// Numbers and customers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub(crate) numbers: usize,
    pub(crate) customers: usize,
}

impl Who {
    /// The customer whom a message goes to, by its running number.
    pub(crate) fn customer(self, index: usize) -> usize {
        index % self.customers
    }

    /// The number that a customer knows, and Meta's id of it.
    pub(crate) fn number(self, customer: usize) -> (String, String) {
        let number = customer % self.numbers;
        (format!("1555100{number:04}"), format!("22{number:04}"))
    }

    /// The customer's phone.
    pub(crate) fn phone(customer: usize) -> String {
        format!("1650{customer:07}")
    }
}

impl Scene {
    /// Starts broker and provider; no role runs yet.
    pub(crate) async fn set(plan: &Plan<'_>) -> anyhow::Result<Self> {
        Self::set_with(plan, None).await
    }

    /// As [`Self::set`], with the archive in a database elsewhere.
    pub(crate) async fn set_with(
        plan: &Plan<'_>,
        database_url: Option<&str>,
    ) -> anyhow::Result<Self> {
        let who = Who {
            numbers: plan.numbers,
            customers: plan.customers,
        };
        let clock = Arc::new(SystemClock::new());
        let running = Simulator::start(provider(plan, who, &clock)).await?;
        let more = format!(
            "[dispatcher]\n{}\n[dispatcher.providers]\ngraph_url = \"{}\"\n",
            plan.dispatcher,
            running.base_url()
        );
        let system = System::start_with(plan.program, database_url, &more).await?;
        let token = system.folder().join("access-token");
        std::fs::write(&token, TOKEN)?;
        std::fs::set_permissions(&token, Permissions::from_mode(0o600))?;
        for number in 0..plan.numbers {
            let (digits, id) = who.number(number);
            let token = v1::secret_ref::Source::File(token.display().to_string());
            let is_other = number >= plan.numbers - plan.other_brands;
            let brand_id = if is_other {
                format!("brand-{number}")
            } else {
                String::new()
            };
            let number = v1::Number {
                brand_id,
                number: digits,
                waba_id: WABA.to_owned(),
                phone_number_id: id,
                token: Some(v1::SecretRef {
                    source: Some(token),
                }),
                throughput: plan.throughput,
                ..v1::Number::default()
            };
            stage::record(&system.log, number).await?;
        }
        let provider = running.handle();
        provider.set_webhook_url(Some(format!(
            "http://127.0.0.1:{}/webhooks/whatsapp",
            system.webhooks
        )));
        Ok(Self {
            context: jetstream::new(system.nats.client().await),
            system,
            provider,
            clock,
            who,
            running,
        })
    }

    /// Where the provider listens.
    pub(crate) fn provider_url(&self) -> String {
        self.running.base_url()
    }

    /// Starts all that a message needs, and lets every customer write once.
    pub(crate) async fn play(&self) -> anyhow::Result<Vec<Running>> {
        let roles = [Role::Ingress, Role::WindowTracker, Role::Dispatcher];
        let roles = self.system.start_roles(&roles).await?;
        self.open_windows().await?;
        Ok(roles)
    }

    /// Lets every customer write once, and waits until all of it is worked off.
    pub(crate) async fn open_windows(&self) -> anyhow::Result<()> {
        let batches = self.provider.inject(Fault::BatchWebhooks {
            size: 100,
            linger: SignedDuration::from_millis(50),
        });
        for customer in 0..self.who.customers {
            let phone = Who::phone(customer);
            let known = self.provider.customer(Some(&phone), None, "Kerry Fisher")?;
            let (_, number) = self.who.number(customer);
            self.provider.says(&known, &number, "Is it still there?")?;
        }
        self.provider.clear_fault(batches);
        self.quiet(None, OPEN_MAX).await
    }

    /// Waits until the provider has told all that it has to tell, and every role has seen to it.
    pub(crate) async fn quiet(
        &self,
        projector: Option<&Running>,
        within: Duration,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.provider.pending_webhooks() > 0 {
            ensure!(
                begun.elapsed() < within,
                "{} webhooks are not delivered",
                self.provider.pending_webhooks()
            );
            sleep(LOOK_INTERVAL).await;
        }
        self.system.drained(&self.context, projector, within).await
    }

    /// Waits until the provider was called so often in all.
    pub(crate) async fn called(&self, count: u64, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.provider.sent_count() < count {
            ensure!(
                begun.elapsed() < within,
                "the provider was called {} times and not {count}",
                self.provider.sent_count()
            );
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }
}

/// The dispatcher among roles.
pub(crate) fn dispatcher(roles: &[Running]) -> anyhow::Result<&Running> {
    let name = Role::Dispatcher.name();
    let found = roles.iter().find(|role| role.name() == name);
    found.context("the dispatcher runs")
}

fn provider(plan: &Plan<'_>, who: Who, clock: &Arc<SystemClock>) -> Config {
    let clock = Arc::clone(clock);
    let mut config = Config::new(Arc::new(move || clock.now()));
    config.app_secret = SECRET.into();
    config.seed = plan.seed;
    if plan.is_limited {
        config.limits.messages_per_second = Some(plan.throughput);
    } else {
        config.limits = Limits {
            pair: None,
            messages_per_second: None,
        };
    }
    config.numbers = (0..plan.numbers)
        .map(|number| {
            let (digits, id) = who.number(number);
            NumberConfig {
                phone_number_id: id,
                display_phone_number: digits,
                waba_id: WABA.to_owned(),
                token: TOKEN.into(),
            }
        })
        .collect();
    config
}
