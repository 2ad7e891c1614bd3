//! One run: a log in memory, the roles on it, and what the plan says, on virtual time.

mod archive;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_dispatcher::{Messages, RequireOptIn};
use casement_domain::id::CustomerId;
use casement_domain::window;
use casement_event::convert::duration;
use casement_event::v1;
use casement_event_log::directory::Directory;
use casement_event_log::memory::{Broker, Calm};
use casement_event_log::{Config as LogConfig, Log};
use casement_proto::message::v1 as api;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_proto::message::v1::message_service_server::MessageServiceServer;
use casement_shell::auth::Caller;
use casement_shell::clock::Clock as _;
use casement_shell::health::Readiness;
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::archived::Answers;
use crate::check;
use crate::facts::{Facts, NUMBER, TEMPLATE, Wrote, phone};
use crate::life::{Life, Weather};
use crate::plan::{DISPATCHERS, Deed, PROJECTORS, Plan, Planted, TRACKERS, What};
use crate::provider::{Call, Provider};
use crate::seeded::Seeded;
use crate::store::Database;
use crate::time::Time;

/// How long after a process was killed it starts again.
const DOWN_MS_MAX: u64 = 4_000;

/// How long the runtime waits after the last deed, so that what was begun comes to something.
const AFTERMATH: Duration = Duration::from_secs(15);

/// How far clocks jump at a time once all is done, and how often at most.
const STRIDE: SignedDuration = SignedDuration::from_hours(3);
const STRIDES_MAX: usize = 40;

/// How long everybody has to notice a jump.
const NOTICE: Duration = Duration::from_secs(3);

/// How often a service asks again that was not answered.
const ASKS_MAX: u32 = 60;

type Client = MessageServiceClient<MessageServiceServer<Messages>>;

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// What does not hold; nothing if all is well.
    pub problems: Vec<String>,
    /// What stands on the log, and what providers were asked, a line each.
    pub history: Vec<String>,
}

/// A send that a service asked for.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) request_id: String,
    /// The message's id, if the service was ever answered.
    pub(crate) answered: Option<String>,
    /// When it was first asked for, and first answered.
    pub(crate) asked_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    /// Said for good that it will not be sent.
    pub(crate) refused: Option<String>,
}

/// Everything that checks rest on.
pub(crate) struct Books {
    pub(crate) log: Log,
    pub(crate) time: Time,
    pub(crate) wrote: Vec<Wrote>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) calls: Vec<Call>,
    pub(crate) customers: BTreeMap<CustomerId, u64>,
}

/// Runs a plan.
pub fn run(plan: &Plan, folder: &Path) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    let aside = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime of real time");
    let id = std::process::id();
    let archives = folder.join(format!("archives-{id}-{}", plan.seed));
    std::fs::create_dir_all(&archives).expect("a folder that can be written to");
    let run = runtime.block_on(World::run(plan, folder, &archives, aside.handle()));
    drop(runtime);
    drop(aside);
    // Else it goes with the folder that it is in.
    let _ = std::fs::remove_dir_all(&archives);
    run
}

/// The processes that run.
#[derive(Clone)]
struct World {
    plan: Plan,
    broker: Broker,
    time: Time,
    facts: Facts,
    provider: Provider,
    weather: Arc<Weather>,
    killed: mpsc::UnboundedSender<&'static str>,
    /// Of dispatchers that answer.
    clients: Arc<Mutex<BTreeMap<&'static str, Client>>>,
    running: Arc<Mutex<BTreeMap<&'static str, Running>>>,
    /// The file of the projectors, and that of the one that begins in the end.
    archive: Database,
    fresh: Database,
    /// Of projectors that answer.
    answers: Arc<Mutex<BTreeMap<&'static str, Answers>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

struct Running {
    life: Life,
    task: JoinHandle<()>,
}

impl World {
    async fn run(plan: &Plan, folder: &Path, archives: &Path, aside: &Handle) -> Run {
        let time = Time::begin();
        let ticking = time.clone();
        let broker = Broker::new(&LogConfig::default(), move || ticking.now());
        let facts = Facts::new(broker.connect(&LogConfig::default(), Calm), &time);
        facts.accounts(&folder.join("token"), plan.has_sms).await;
        let (killed, deaths) = mpsc::unbounded_channel();
        let world = Self {
            plan: plan.clone(),
            provider: Provider::open(plan, &time, &facts),
            weather: Arc::new(Weather::of(plan)),
            broker,
            time,
            facts,
            killed,
            clients: Arc::default(),
            running: Arc::default(),
            archive: Database::at(&archives.join("archive.sqlite"), aside, plan.planted),
            fresh: Database::at(&archives.join("fresh.sqlite"), aside, Planted::Nothing),
            answers: Arc::default(),
            sent: Arc::default(),
        };
        let mut customers = BTreeMap::new();
        for customer in 0..plan.customers {
            customers.insert(world.facts.customer(customer).await, customer);
        }
        for process in TRACKERS.into_iter().take(plan.trackers) {
            world.start(process);
        }
        for process in DISPATCHERS.into_iter().take(plan.dispatchers) {
            world.start(process);
        }
        for process in PROJECTORS.into_iter().take(plan.projectors) {
            world.start(process);
        }
        let undertaker = tokio::spawn(world.clone().bring_back(deaths));
        let (wrote, asking) = world.do_all().await;
        tokio::time::sleep(AFTERMATH).await;
        world.weather.calm_down();
        for asking in asking {
            // It asks in vain for a while at most.
            let _ = asking.await;
        }
        let mut problems = Vec::new();
        let mut is_over = false;
        let mut open = check::Open::default();
        for _ in 0..STRIDES_MAX {
            tokio::time::sleep(NOTICE).await;
            if open.is_over(&world.facts.log).await {
                is_over = true;
                break;
            }
            world.time.jump(STRIDE);
        }
        if !is_over {
            problems.push("something never ends".to_owned());
        }
        let books = Books {
            log: world.facts.log.clone(),
            time: world.time.clone(),
            wrote,
            sent: lock(&world.sent).clone(),
            calls: world.provider.calls(),
            customers,
        };
        let history = check::history(&books).await;
        problems.extend(check::check(&books).await);
        undertaker.abort();
        world.end(|process| !PROJECTORS.contains(&process));
        if plan.projectors > 0 {
            problems.extend(world.check_archive().await);
        }
        world.end(|_| true);
        Run { problems, history }
    }

    fn end(&self, whom: impl Fn(&'static str) -> bool) {
        for (process, running) in lock(&self.running).iter() {
            if whom(process) {
                running.life.end();
                running.task.abort();
            }
        }
    }

    /// Does what the plan says. Returns what customers wrote, and who still asks to send.
    async fn do_all(&self) -> (Vec<Wrote>, Vec<JoinHandle<()>>) {
        let begun = tokio::time::Instant::now();
        let (mut wrote, mut asking) = (Vec::new(), Vec::new());
        for deed in &self.plan.deeds {
            tokio::time::sleep_until(begun + deed.at).await;
            match deed.what {
                What::Jump(by) => self.time.jump(by),
                What::Write { customer, ago } => {
                    let at = self.time.now() - ago;
                    self.provider
                        .hear(phone(customer).trim_start_matches('+'), at);
                    let provider_id = format!("wamid.in.{}", deed.number);
                    wrote.push(self.facts.wrote(customer, &provider_id, at).await);
                }
                What::Rebuild => {
                    let answers = lock(&self.answers).values().next().cloned();
                    if let Some(answers) = answers {
                        // In a task of its own, as below.
                        tokio::spawn(answers.rebuild());
                    }
                }
                What::Send { .. } => asking.push(tokio::spawn(self.clone().ask(*deed))),
            }
        }
        (wrote, asking)
    }

    /// Asks for a message to be sent, until somebody answers.
    async fn ask(self, deed: Deed) {
        let What::Send {
            customer,
            template,
            ttl,
            again,
        } = deed.what
        else {
            return;
        };
        let request = request(deed.number, customer, template, ttl);
        let at = {
            let mut sent = lock(&self.sent);
            sent.push(Sent {
                request_id: request.request_id.clone(),
                answered: None,
                asked_at: self.time.now(),
                answered_at: None,
                refused: None,
            });
            sent.len() - 1
        };
        let mut answers_left = 1 + u32::from(again);
        for turn in 0..ASKS_MAX {
            let clients: Vec<Client> = lock(&self.clients).values().cloned().collect();
            let chosen = Seeded::new(self.plan.seed)
                .of(&request.request_id)
                .nth(turn.into());
            if !clients.is_empty() {
                let which = chosen.below(clients.len() as u64);
                let mut client = clients[usize::try_from(which).unwrap_or_default()].clone();
                let mut request = Request::new(request.clone());
                request
                    .extensions_mut()
                    .insert(Caller::internal("simulation", "default"));
                // In a task of its own: a process that is killed takes the call with it.
                let answer = tokio::spawn(async move { client.send_message(request).await }).await;
                match answer {
                    Ok(Ok(answer)) => {
                        let id = answer.into_inner().message.unwrap_or_default().message_id;
                        {
                            let sent = &mut lock(&self.sent)[at];
                            sent.answered = Some(id);
                            sent.answered_at.get_or_insert(self.time.now());
                        }
                        answers_left -= 1;
                        if answers_left == 0 {
                            return;
                        }
                    }
                    Ok(Err(status)) if is_final(status.code()) => {
                        lock(&self.sent)[at].refused = Some(status.message().to_owned());
                        return;
                    }
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }

    /// Starts whoever was killed again, after a while.
    async fn bring_back(self, mut deaths: mpsc::UnboundedReceiver<&'static str>) {
        let mut deaths_len = 0;
        while let Some(process) = deaths.recv().await {
            deaths_len += 1;
            lock(&self.clients).remove(process);
            lock(&self.answers).remove(process);
            if let Some(dead) = lock(&self.running).remove(process) {
                dead.life.end();
                dead.task.abort();
            }
            let seeded = Seeded::new(self.plan.seed).of("down").nth(deaths_len);
            let world = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(seeded.below(DOWN_MS_MAX))).await;
                world.start(process);
            });
        }
    }

    fn start(&self, process: &'static str) {
        let life = Life::begin(process, &self.weather, &self.killed);
        let log = self.broker.connect(&LogConfig::default(), life.clone());
        let (world, own) = (self.clone(), life.clone());
        let task = tokio::spawn(async move {
            let ended = if TRACKERS.contains(&process) {
                Box::pin(world.track(log)).await
            } else if PROJECTORS.contains(&process) || process == archive::FRESH {
                Box::pin(world.archive(process, log, &own)).await
            } else {
                Box::pin(world.dispatch(process, log, &own)).await
            };
            // A process that ends is started again, as by whoever runs it.
            drop(ended);
            own.end();
        });
        lock(&self.running).insert(process, Running { life, task });
    }

    async fn track(&self, log: Log) -> anyhow::Result<()> {
        let stopping = CancellationToken::new();
        let _ends = stopping.clone().drop_guard();
        let directory = Directory::start(&log, stopping.clone()).await;
        let ahead = match self.plan.planted {
            Planted::EarlyClock => SignedDuration::from_mins(10),
            _ => SignedDuration::ZERO,
        };
        let role = casement_window_tracker::start(
            casement_window_tracker::Config::default(),
            log,
            directory,
            self.facts.tokens.clone(),
            self.time.ahead(ahead).shared(),
            &Readiness::new(),
        )?;
        Box::pin(role.run(stopping)).await
    }

    async fn dispatch(&self, process: &'static str, log: Log, life: &Life) -> anyhow::Result<()> {
        let stopping = CancellationToken::new();
        let _ends = stopping.clone().drop_guard();
        let directory = Directory::start(&log, stopping.clone()).await;
        let lease = if self.plan.has_lease { 5 } else { 0 };
        let config = casement_dispatcher::Config {
            lease: SignedDuration::from_secs(lease),
            report_within: SignedDuration::from_hours(6),
            require_opt_in: RequireOptIn::nowhere(),
            ..casement_dispatcher::Config::default()
        };
        let readiness = Readiness::new();
        let role = casement_dispatcher::start(
            config,
            window::Policy::default(),
            log,
            directory,
            self.facts.tokens.clone(),
            self.time.shared(),
            readiness.latch("dispatcher"),
        )?
        .with_carrier(Arc::new(self.provider.line(life)));
        lock(&self.clients).insert(process, MessageServiceClient::new(role.service()));
        Box::pin(role.run(stopping)).await
    }
}

fn request(
    number: u64,
    customer: u64,
    template: bool,
    ttl: SignedDuration,
) -> api::SendMessageRequest {
    let template = template.then(|| v1::TemplateContent {
        name: TEMPLATE.to_owned(),
        language: "en".to_owned(),
        components: vec![v1::TemplateComponent {
            r#type: "body".to_owned(),
            parameters: vec![v1::TemplateParameter {
                name: String::new(),
                value: Some(v1::template_parameter::Value::Text("7".to_owned())),
            }],
            ..v1::TemplateComponent::default()
        }],
        ..v1::TemplateContent::default()
    });
    api::SendMessageRequest {
        number: format!("+{NUMBER}"),
        customer: Some(api::send_message_request::Customer::To(phone(customer))),
        content: Some(v1::Content {
            free_form: Some(v1::FreeForm {
                text: format!("message {number}"),
                ..v1::FreeForm::default()
            }),
            template,
            ..v1::Content::default()
        }),
        purpose: v1::Purpose::Service.into(),
        request_id: format!("deed-{number}"),
        ttl: Some(duration(ttl)),
        ..api::SendMessageRequest::default()
    }
}

fn is_final(code: tonic::Code) -> bool {
    use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, PermissionDenied};
    matches!(
        code,
        AlreadyExists | FailedPrecondition | InvalidArgument | PermissionDenied
    )
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
