//! Breaks and mends, round by round, and notes when.

use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_simulator::{Channel, Fault as Misbehaviour, FaultId, FaultSpec, Reordering};
use casement_testkit::Proxy;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::plan::{Fault, Line, ProviderFault, Round, Target, WebhookFault};
use crate::system::System;

/// How long the system may take until every role is ready again.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// How long a role may take to stop in good order before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How long a broker may take to let a stream be what it was.
const MEND_WITHIN: Duration = Duration::from_secs(30);

/// A fault that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// What it was.
    pub fault: Fault,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How long after that every role was ready; `None` where nobody waited for that.
    pub ready_after: Option<Duration>,
}

/// What ends a fault.
#[derive(Debug)]
enum Cure {
    Nothing,
    Launch(casement_tests::Role),
    Resume(casement_tests::Role),
    Stop(casement_tests::Role),
    StartBroker,
    ResumeBroker,
    StartDatabase,
    Forward(Line),
    Clear(FaultId),
    Stream(Box<jetstream::stream::Config>),
    Disk,
    Clock(casement_tests::Role),
}

/// Breaks things by a plan.
pub struct Driver<'a> {
    /// What is broken.
    pub system: &'a mut System,
    /// What was broken so far.
    pub injected: Vec<Injected>,
    clock: SystemClock,
}

impl<'a> Driver<'a> {
    /// Makes one for a system.
    pub fn new(system: &'a mut System) -> Self {
        Self {
            system,
            injected: Vec::new(),
            clock: SystemClock::new(),
        }
    }

    /// Goes through one round.
    ///
    /// # Errors
    /// When something does not work again in time.
    pub async fn round(&mut self, round: &Round) -> anyhow::Result<()> {
        let mut cures = Vec::new();
        for fault in &round.faults {
            let from = self.clock.now();
            let cure = self
                .inject(*fault)
                .await
                .with_context(|| format!("injecting {}", fault.kind()))?;
            cures.push((*fault, from, cure));
        }
        tokio::time::sleep(round.lasts).await;
        let first = self.injected.len();
        for (fault, from, cure) in cures {
            self.lift(cure)
                .await
                .with_context(|| format!("ending {}", fault.kind()))?;
            self.injected.push(Injected {
                fault,
                from,
                until: self.clock.now(),
                ready_after: None,
            });
        }
        if round.is_waited_for {
            let since = Instant::now();
            self.system.until_ready(RECOVERY_MAX).await?;
            for injected in &mut self.injected[first..] {
                injected.ready_after = Some(since.elapsed());
            }
        }
        Ok(())
    }

    /// Waits until everything works.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        self.system.stack.simulator.clear_faults();
        self.system.until_ready(RECOVERY_MAX).await
    }

    async fn inject(&mut self, fault: Fault) -> anyhow::Result<Cure> {
        let system = &mut *self.system;
        Ok(match fault {
            Fault::Kill(Target::Role(role)) => {
                system.stack.kill9(role, 0);
                Cure::Launch(role)
            }
            Fault::Pause(Target::Role(role)) => {
                system.stack.process(role, 0).pause();
                Cure::Resume(role)
            }
            Fault::Restart(Target::Role(role)) => {
                system.stack.process(role, 0).terminate();
                Cure::Stop(role)
            }
            Fault::Kill(Target::Broker) => {
                system.stack.nats.kill();
                Cure::StartBroker
            }
            Fault::Pause(Target::Broker) => {
                system.stack.nats.pause();
                Cure::ResumeBroker
            }
            Fault::Restart(Target::Broker) => {
                system.stack.nats.stop().await;
                Cure::StartBroker
            }
            Fault::Kill(Target::Database) => {
                system.database.kill9();
                Cure::StartDatabase
            }
            // A paused server keeps its sessions' processes going: the line is held for that.
            Fault::Pause(Target::Database) => {
                system.database_line.hold_requests();
                Cure::Forward(Line::Database)
            }
            Fault::Restart(Target::Database) => {
                // Its polite end waits for sessions, and those that a fault holds do not end.
                system.database.stop_immediately();
                Cure::StartDatabase
            }
            Fault::Cut(line) => {
                proxy(system, line).refuse();
                Cure::Forward(line)
            }
            Fault::Sever(line) => {
                proxy(system, line).sever();
                Cure::Nothing
            }
            Fault::Slow(line, by) => {
                proxy(system, line).delay(by);
                Cure::Forward(line)
            }
            Fault::LoseReplies(line) => {
                proxy(system, line).drop_replies();
                Cure::Forward(line)
            }
            Fault::Hold(line) => {
                proxy(system, line).hold_requests();
                Cure::Forward(line)
            }
            Fault::Provider(fault) => Cure::Clear(system.stack.simulator.inject(provider(fault))),
            Fault::Webhooks(fault) => Cure::Clear(system.stack.simulator.inject(webhooks(fault))),
            Fault::FullStream(stream) => fill_stream(system, stream).await?,
            Fault::FullDisk => {
                if let Some(disk) = &system.disk {
                    disk.fill();
                }
                Cure::Disk
            }
            Fault::ClockJump(role, seconds) => {
                system.set_clock(role, seconds);
                Cure::Clock(role)
            }
            Fault::StartUnderWrongClock(role, seconds) => {
                system.stack.kill9(role, 0);
                system.set_clock(role, seconds);
                system.stack.launch(role, 0);
                Cure::Clock(role)
            }
        })
    }

    async fn lift(&mut self, cure: Cure) -> anyhow::Result<()> {
        let system = &mut *self.system;
        match cure {
            Cure::Nothing => {}
            Cure::Launch(role) => system.stack.launch(role, 0),
            Cure::Resume(role) => system.stack.process(role, 0).resume(),
            Cure::Stop(role) => {
                let until = Instant::now() + STOP_WITHIN;
                while system.stack.process(role, 0).is_running() && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                system.stack.kill9(role, 0);
                system.stack.launch(role, 0);
            }
            Cure::StartBroker => system.stack.nats.start_again().await,
            Cure::ResumeBroker => system.stack.nats.resume(),
            Cure::StartDatabase => system.database.start_again().await,
            Cure::Forward(line) => proxy(system, line).forward(),
            Cure::Clear(fault) => {
                system.stack.simulator.clear_fault(fault);
            }
            Cure::Stream(config) => mend_stream(system, &config).await?,
            Cure::Disk => {
                // A broker that found its disk full stops storing until it is started again.
                if let Some(disk) = &system.disk {
                    disk.clear();
                }
                system.stack.restart_broker().await;
            }
            Cure::Clock(role) => system.set_clock(role, 0),
        }
        Ok(())
    }
}

fn proxy(system: &System, line: Line) -> &Proxy {
    match line {
        Line::Broker(role) => &system.broker[&role],
        Line::Database => &system.database_line,
        Line::Provider => &system.provider,
        Line::Webhooks => &system.webhooks,
    }
}

fn provider(fault: ProviderFault) -> FaultSpec {
    let misbehaviour = match fault {
        ProviderFault::Refuses => Misbehaviour::ServerError {
            status: 503,
            accepts: false,
        },
        ProviderFault::RefusesAndSends => Misbehaviour::ServerError {
            status: 502,
            accepts: true,
        },
        ProviderFault::TimesOutAfterAcceptance => Misbehaviour::TimeoutAfterAcceptance,
        ProviderFault::Drops => Misbehaviour::DropConnection,
        ProviderFault::IsSlow => Misbehaviour::DelayResponse {
            by: SignedDuration::from_millis(900),
        },
        ProviderFault::FailsLater => {
            let failure = Misbehaviour::FailStatus { code: 131_026 };
            return FaultSpec::from(failure).on(Channel::Whatsapp);
        }
    };
    FaultSpec::from(misbehaviour)
}

fn webhooks(fault: WebhookFault) -> FaultSpec {
    FaultSpec::from(match fault {
        WebhookFault::Duplicated => Misbehaviour::DuplicateWebhooks { copies: 2 },
        WebhookFault::Delayed => Misbehaviour::DelayWebhooks {
            by: SignedDuration::from_millis(1_500),
        },
        WebhookFault::Reordered => Misbehaviour::ReorderWebhooks {
            hold: 5,
            order: Reordering::Shuffled,
        },
    })
}

/// Makes a stream as large as it may be.
async fn fill_stream(system: &System, name: &str) -> anyhow::Result<Cure> {
    let until = Instant::now() + MEND_WITHIN;
    loop {
        match try_fill(system, name).await {
            Ok(config) => return Ok(Cure::Stream(Box::new(config))),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn try_fill(system: &System, name: &str) -> anyhow::Result<jetstream::stream::Config> {
    let context = jetstream::new(async_nats::connect(system.stack.nats.url()).await?);
    let mut stream = context.get_stream(name).await?;
    let info = stream.info().await?;
    let config = info.config.clone();
    let full = jetstream::stream::Config {
        max_bytes: i64::try_from(info.state.bytes)?.max(1),
        ..config.clone()
    };
    context.update_stream(&full).await?;
    Ok(config)
}

async fn mend_stream(system: &System, config: &jetstream::stream::Config) -> anyhow::Result<()> {
    let until = Instant::now() + MEND_WITHIN;
    loop {
        let mended = async {
            let context = jetstream::new(async_nats::connect(system.stack.nats.url()).await?);
            context.update_stream(config).await?;
            anyhow::Ok(())
        };
        match mended.await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= until => bail!("{}: {error:#}", config.name),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
