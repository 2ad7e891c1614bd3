//! The providers: what they are asked to send, what they answer, and what they report later. They keep
//! books of their own and know the platform's rule about windows, not ours.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_dispatcher::Carrier;
use casement_event::v1;
use casement_shell::clock::Clock as _;
use casement_sms::gateways::Sms;
use casement_sms::outcome::Outcome as SmsOutcome;
use casement_whatsapp::send::{Accepted, GraphError, SendOutcome, Target};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::facts::Facts;
use crate::life::Life;
use crate::plan::{CallMishap, Fault, Plan, Planted, ReportMishap};
use crate::seeded::Seeded;
use crate::time::Time;

/// How long a caller waits for an answer that never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Meta: customer service windows.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The platform's code for a message outside the window.
const WINDOW_CLOSED: i64 = 131_047;

/// A call as the provider saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) at: Timestamp,
    pub(crate) process: &'static str,
    /// Who it goes to: the phone's digits.
    pub(crate) phone: String,
    pub(crate) message: String,
    pub(crate) attempt: u32,
    /// `text`, `template` or `sms`.
    pub(crate) kind: String,
    pub(crate) is_taken: bool,
    /// It was reported as failed later.
    pub(crate) fails: bool,
}

/// Both providers. Clones keep the same books.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    time: Time,
    facts: Facts,
    seeded: Seeded,
    faults: Arc<[Fault]>,
    planted: Planted,
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    calls: Vec<Call>,
    /// When each phone last wrote.
    wrote: HashMap<String, Timestamp>,
}

/// What a call comes to.
enum Answer {
    Taken(String),
    NotReached,
    Refused(i64),
    Silence,
}

impl Provider {
    pub(crate) fn open(plan: &Plan, time: &Time, facts: &Facts) -> Self {
        Self {
            time: time.clone(),
            facts: facts.clone(),
            seeded: Seeded::new(plan.seed).of("provider"),
            faults: plan.faults.iter().map(|(_, fault)| *fault).collect(),
            planted: plan.planted,
            books: Arc::default(),
        }
    }

    /// A customer writes, which opens the platform's window.
    pub(crate) fn hear(&self, phone: &str, at: Timestamp) {
        let mut books = self.books();
        let wrote = books.wrote.entry(phone.to_owned()).or_insert(at);
        *wrote = at.max(*wrote);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.books().calls.clone()
    }

    /// The way that the calls of one process take.
    pub(crate) fn line(&self, life: &Life) -> Line {
        Line {
            provider: self.clone(),
            life: life.clone(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mishap(&self, nth: usize) -> Option<CallMishap> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Call { nth: at, mishap } if *at == nth as u64 => Some(*mishap),
            _ => None,
        })
    }

    fn report_mishap(&self, nth: usize) -> Option<ReportMishap> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Report { nth: at, mishap } if *at == nth as u64 => Some(*mishap),
            _ => None,
        })
    }

    async fn take(&self, life: &Life, call: Call) -> Answer {
        let nth = {
            let mut books = self.books();
            books.calls.push(call.clone());
            books.calls.len() - 1
        };
        let seeded = self.seeded.nth(nth as u64);
        let way = Duration::from_millis(5 + seeded.of("way").below(150));
        let mishap = self.mishap(nth);
        tokio::time::sleep(way).await;
        life.go_on();
        match mishap {
            Some(CallMishap::LostOnTheWay) => {
                tokio::time::sleep(PATIENCE).await;
                life.go_on();
                return Answer::Silence;
            }
            Some(CallMishap::NotReached) => return Answer::NotReached,
            Some(CallMishap::Refused(code)) if call.kind != "sms" => return Answer::Refused(code),
            Some(CallMishap::KilledBefore) => life.kill(),
            _ => {}
        }
        let is_open = {
            let wrote = self.books().wrote.get(&call.phone).copied();
            wrote.is_some_and(|wrote| self.time.now() < wrote + WINDOW)
        };
        if call.kind == "text" && !is_open {
            return Answer::Refused(WINDOW_CLOSED);
        }
        let fails = match mishap {
            Some(CallMishap::FailsLater(code)) if call.kind != "sms" => Some(code),
            _ => None,
        };
        {
            let mut books = self.books();
            books.calls[nth].is_taken = true;
            books.calls[nth].fails = fails.is_some();
        }
        tokio::spawn(self.clone().report(nth, call, fails));
        let back = Duration::from_millis(5 + seeded.of("back").below(150));
        tokio::time::sleep(back).await;
        life.go_on();
        match mishap {
            Some(CallMishap::KilledAfter) => life.kill(),
            Some(CallMishap::AnswerLost) => {
                tokio::time::sleep(PATIENCE).await;
                life.go_on();
                Answer::Silence
            }
            _ if self.planted == Planted::FalseNotSent && seeded.of("false").chance(30) => {
                Answer::NotReached
            }
            _ => Answer::Taken(format!("wamid.{nth}")),
        }
    }

    /// Reports on a call that was taken, in whatever order.
    async fn report(self, nth: usize, call: Call, fails: Option<i64>) {
        use v1::DeliveryStatus::{Delivered, Read, Sent};
        let seeded = self.seeded.of("report").nth(nth as u64);
        let mut said = match fails {
            Some(code) => vec![Ok(Sent), Err(code)],
            None => vec![Ok(Sent), Ok(Delivered), Ok(Read)],
        };
        match self.report_mishap(nth) {
            Some(ReportMishap::Never) => return,
            Some(ReportMishap::Late) => {
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            Some(ReportMishap::Twice) => {
                said.extend(said.clone());
            }
            Some(ReportMishap::Backwards) => said.reverse(),
            None => {}
        }
        for (step, said) in said.into_iter().enumerate() {
            let pause = 20 + seeded.nth(step as u64).below(1_500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.facts
                .report(&call.message, call.attempt, call.kind == "sms", said)
                .await;
        }
    }
}

/// How one process calls the providers.
#[derive(Debug)]
pub(crate) struct Line {
    provider: Provider,
    life: Life,
}

impl Line {
    fn call(&self, phone: &str, callback: (&str, u32), kind: &str) -> Call {
        Call {
            at: self.provider.time.now(),
            process: self.life.process,
            phone: phone.trim_start_matches('+').to_owned(),
            message: callback.0.to_owned(),
            attempt: callback.1,
            kind: kind.to_owned(),
            is_taken: false,
            fails: false,
        }
    }
}

impl Carrier for Line {
    fn whatsapp<'a>(&'a self, _: Target<'a>, body: &'a Value) -> BoxFuture<'a, SendOutcome> {
        async move {
            self.life.go_on();
            let text = |key: &str| body[key].as_str().unwrap_or_default();
            let callback = text("biz_opaque_callback_data");
            let (message, attempt) = callback.rsplit_once('.').unwrap_or_default();
            let attempt = attempt.parse().unwrap_or_default();
            let call = self.call(text("to"), (message, attempt), text("type"));
            match self.provider.take(&self.life, call).await {
                Answer::Taken(wamid) => SendOutcome::Accepted(Accepted {
                    wamid,
                    ..Accepted::default()
                }),
                Answer::NotReached => SendOutcome::NotSent {
                    reason: "cannot connect".to_owned(),
                },
                Answer::Refused(code) => SendOutcome::Rejected(GraphError {
                    http_status: 400,
                    code,
                    ..GraphError::default()
                }),
                Answer::Silence => SendOutcome::Unknown {
                    reason: "timed out".to_owned(),
                },
            }
        }
        .boxed()
    }

    fn sms<'a>(&'a self, sms: &'a Sms) -> BoxFuture<'a, SmsOutcome> {
        async move {
            self.life.go_on();
            let call = self.call(&sms.to, (&sms.message_id, sms.attempt), "sms");
            match self.provider.take(&self.life, call).await {
                Answer::Taken(id) => SmsOutcome::Accepted(casement_sms::outcome::Accepted {
                    id,
                    status: "queued".to_owned(),
                    segments: None,
                }),
                Answer::NotReached | Answer::Refused(_) => SmsOutcome::NotSent {
                    reason: "cannot connect".to_owned(),
                },
                Answer::Silence => SmsOutcome::Unknown {
                    reason: "timed out".to_owned(),
                },
            }
        }
        .boxed()
    }
}
