//! The life of a process: what befalls each thing that it does, until it is killed.
//!
//! A process is killed where it does something: whatever of it runs on then meets its end at the next
//! thing that it wants to do, and so nothing of it is seen by anybody any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use casement_audit_projector::StoreCall;
use casement_event_log::memory::{Fate, Fates, Operation};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::plan::{Fault, Mishap, Plan, Planted};
use crate::seeded::Seeded;

/// How long an operation takes that takes long.
const SLOW: Duration = Duration::from_secs(4);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    Log(Operation),
    Store(StoreCall),
}

impl Doing {
    fn number(self) -> u64 {
        match self {
            Self::Log(operation) => operation as u64,
            Self::Store(call) => 100 + call as u64,
        }
    }

    /// How often it takes a while, in percent.
    fn takes_often(self) -> u64 {
        match self {
            Self::Log(Operation::Append | Operation::HandOut) => 70,
            Self::Store(StoreCall::Archive) => 40,
            Self::Log(Operation::Read) => 25,
            Self::Log(_) | Self::Store(_) => 10,
        }
    }

    fn has_way_back(self) -> bool {
        match self {
            Self::Log(operation) => matches!(
                operation,
                Operation::Append | Operation::Read | Operation::Remove
            ),
            Self::Store(_) => true,
        }
    }

    /// What is planned to go wrong with it, for the nth time that a process does it.
    fn mishap(self, process: &str, nth: u64, fault: &Fault) -> Option<Mishap> {
        match (fault, self) {
            (
                Fault::Log {
                    process: at,
                    operation,
                    nth: number,
                    mishap,
                },
                Self::Log(doing),
            ) if (*at, *operation) == (process, doing) && mishap.befalls(*number, nth) => {
                Some(*mishap)
            }
            (
                Fault::Store {
                    process: at,
                    call,
                    nth: number,
                    mishap,
                },
                Self::Store(doing),
            ) if (*at, *call, *number) == (process, doing, nth) => Some(*mishap),
            _ => None,
        }
    }
}

/// What befalls all processes of a run.
#[derive(Debug)]
pub(crate) struct Weather {
    seeded: Seeded,
    faults: Vec<Fault>,
    planted: Planted,
    /// How often each process did each thing.
    counts: Mutex<HashMap<(&'static str, Doing), u64>>,
    /// Nothing goes wrong any more.
    is_calm: AtomicBool,
}

impl Weather {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            seeded: Seeded::new(plan.seed).of("weather"),
            faults: plan.faults.iter().map(|(_, fault)| *fault).collect(),
            planted: plan.planted,
            counts: Mutex::default(),
            is_calm: AtomicBool::new(false),
        }
    }

    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// What befalls the next thing that a process does, and how long it takes.
    fn next(&self, process: &'static str, doing: Doing) -> (Option<Mishap>, Duration) {
        let nth = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry((process, doing)).or_default();
            *count += 1;
            *count - 1
        };
        let seeded = self.seeded.of(process).nth(doing.number()).nth(nth);
        let often = doing.takes_often();
        let takes = if self.is_calm() || !seeded.of("takes").chance(often) {
            Duration::ZERO
        } else if seeded.of("long").chance(5) {
            Duration::from_millis(seeded.of("ms").below(700))
        } else {
            Duration::from_millis(1 + seeded.of("ms").below(12))
        };
        let mut planned = self
            .faults
            .iter()
            .filter_map(|fault| doing.mishap(process, nth, fault));
        let mishap = match planned.next() {
            Some(mishap) if !self.is_calm() => Some(mishap),
            _ => self.planted(doing, seeded),
        };
        (mishap, takes)
    }
}

impl Weather {
    fn planted(&self, doing: Doing, seeded: Seeded) -> Option<Mishap> {
        let is_append = doing == Doing::Log(Operation::Append);
        match self.planted {
            Planted::NoExpectations if is_append => Some(Mishap::Fate(Fate::Unconditional)),
            Planted::LostAppends if is_append && seeded.of("forgotten").chance(10) => {
                Some(Mishap::Fate(Fate::Forgotten))
            }
            _ => None,
        }
    }
}

/// The life of a process. Clones are the same life.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) process: &'static str,
    weather: Arc<Weather>,
    is_over: Arc<AtomicBool>,
    dies: Arc<AtomicBool>,
    killed: mpsc::UnboundedSender<&'static str>,
}

impl Life {
    /// Begins. Who was killed is told to `killed`.
    pub(crate) fn begin(
        process: &'static str,
        weather: &Arc<Weather>,
        killed: &mpsc::UnboundedSender<&'static str>,
    ) -> Self {
        Self {
            process,
            weather: Arc::clone(weather),
            is_over: Arc::default(),
            dies: Arc::default(),
            killed: killed.clone(),
        }
    }

    /// Ends what runs on of a process that was killed.
    pub(crate) fn go_on(&self) {
        if self.is_over.load(Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }

    /// Kills the process, and whoever did this with it.
    pub(crate) fn kill(&self) -> ! {
        self.end();
        std::panic::resume_unwind(Box::new("killed"));
    }

    /// Kills the process from outside.
    pub(crate) fn end(&self) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            // Nobody listens once the run is over.
            let _ = self.killed.send(self.process);
        }
    }

    /// Goes there, to a broker or a database; returns what becomes of what is done.
    pub(crate) async fn meet(&self, doing: Doing) -> Fate {
        self.go_on();
        let (mishap, takes) = self.weather.next(self.process, doing);
        let takes = match mishap {
            Some(Mishap::Slow) => SLOW,
            _ => takes,
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
            self.go_on();
        }
        match mishap {
            Some(Mishap::Fate(fate)) => fate,
            Some(Mishap::Behind { unheard, .. }) => Fate::Behind(unheard),
            Some(Mishap::KilledAfter) if doing.has_way_back() => {
                self.dies.store(true, Ordering::Relaxed);
                Fate::Done
            }
            Some(Mishap::KilledBefore | Mishap::KilledAfter) => self.kill(),
            Some(Mishap::Slow) | None => Fate::Done,
        }
    }

    /// Comes back from there.
    pub(crate) fn come_back(&self) {
        self.go_on();
        if self.dies.load(Ordering::Relaxed) {
            self.kill();
        }
    }
}

impl Fates for Life {
    fn going<'a>(&'a self, operation: Operation, _: &'a str) -> BoxFuture<'a, Fate> {
        self.meet(Doing::Log(operation)).boxed()
    }

    fn coming<'a>(&'a self, _: Operation, _: &'a str) -> BoxFuture<'a, ()> {
        async { self.come_back() }.boxed()
    }
}
