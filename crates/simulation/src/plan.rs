//! What happens in a run: what customers and callers do, what goes wrong, and where. A function of
//! the seed, and a list that can be made shorter.

mod show;

use std::time::Duration;

use casement_audit_projector::StoreCall;
use casement_event_log::memory::{Fate, Operation};
use jiff::SignedDuration;

use crate::seeded::Seeded;

/// What a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose choices these are.
    pub seed: u64,
    /// How many customers there are.
    pub customers: u64,
    /// How many processes of each role there are.
    pub trackers: usize,
    /// The same of dispatchers.
    pub dispatchers: usize,
    /// The same of audit-projectors, which share one file.
    pub projectors: usize,
    /// Whether dispatchers hold a lease; without one, all of them are active.
    pub has_lease: bool,
    /// Whether SMS can be sent.
    pub has_sms: bool,
    /// What is done, in its order.
    pub deeds: Vec<Deed>,
    /// What goes wrong, each with its number, which stays when others are left out.
    pub faults: Vec<(u64, Fault)>,
    /// What is wrong with the harness, to see that it is found.
    pub planted: Planted,
}

/// An error that is planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// The log takes what it should refuse: expectations are not looked at.
    NoExpectations,
    /// The log acknowledges what it does not store, now and then.
    LostAppends,
    /// The trackers' clock is ten minutes ahead.
    EarlyClock,
    /// Providers answer after they took a message as if they had not been reached.
    FalseNotSent,
    /// A row leaves the archive.
    LostRows,
    /// The archive's position is one further than what is archived.
    SkippedEvents,
    /// Conversations are lost from the read models.
    LostConversations,
}

impl Planted {
    /// All that can be planted, by name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("no-expectations", Self::NoExpectations),
        ("lost-appends", Self::LostAppends),
        ("early-clock", Self::EarlyClock),
        ("false-not-sent", Self::FalseNotSent),
        ("lost-rows", Self::LostRows),
        ("skipped-events", Self::SkippedEvents),
        ("lost-conversations", Self::LostConversations),
    ];
}

/// Something that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// Its number, which stays when others are left out.
    pub number: u64,
    /// How long after the start.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A customer wrote, so long ago.
    Write {
        /// Who.
        customer: u64,
        /// When, before it is heard of.
        ago: SignedDuration,
    },
    /// A service wants to send.
    Send {
        /// To whom.
        customer: u64,
        /// With a template for when the window is closed.
        template: bool,
        /// How long it is worth sending.
        ttl: SignedDuration,
        /// The service asks again with the same id although it was answered.
        again: bool,
    },
    /// Everybody's clock jumps ahead.
    Jump(SignedDuration),
    /// Somebody has read models made anew.
    Rebuild,
}

/// Something that goes wrong, at the nth operation of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// At the log.
    Log {
        /// The process.
        process: &'static str,
        /// The operation.
        operation: Operation,
        /// Which of them, counted over all lives of the process.
        nth: u64,
        /// What becomes of it.
        mishap: Mishap,
    },
    /// At the archive's database.
    Store {
        /// The process.
        process: &'static str,
        /// What it asks for.
        call: StoreCall,
        /// Which of them, counted over all lives of the process.
        nth: u64,
        /// What becomes of it.
        mishap: Mishap,
    },
    /// At a provider.
    Call {
        /// Which call of all.
        nth: u64,
        /// What becomes of it.
        mishap: CallMishap,
    },
    /// With a report about a call.
    Report {
        /// Which call of all.
        nth: u64,
        /// What becomes of it.
        mishap: ReportMishap,
    },
}

/// What becomes of an operation at the log or at a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It is done and not answered, or not done.
    Fate(Fate),
    /// It takes seconds.
    Slow,
    /// The process is killed before it.
    KilledBefore,
    /// The process is killed after it, before it hears of it.
    KilledAfter,
    /// So many times in a row it is answered by a broker that has not heard of the newest messages.
    Behind {
        /// How many times.
        times: u64,
        /// How many messages of the stream.
        unheard: u64,
    },
}

impl Mishap {
    /// Whether it befalls the nth time if it begins with another.
    pub(crate) fn befalls(self, first: u64, nth: u64) -> bool {
        let times = match self {
            Self::Behind { times, .. } => times,
            _ => 1,
        };
        (first..first + times).contains(&nth)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallMishap {
    /// It never arrives, which the caller cannot know.
    LostOnTheWay,
    /// It is taken, and the answer is lost.
    AnswerLost,
    /// There is no connection.
    NotReached,
    /// It is refused with this code.
    Refused(i64),
    /// It is taken, and reported as failed with this code.
    FailsLater(i64),
    /// The caller is killed before it arrives.
    KilledBefore,
    /// The caller is killed once it was taken.
    KilledAfter,
}

/// What becomes of the reports about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportMishap {
    /// They come hours later.
    Late,
    /// They come twice.
    Twice,
    /// The last comes first.
    Backwards,
    /// They never come.
    Never,
}

/// The processes of trackers.
pub(crate) const TRACKERS: [&str; 2] = ["tracker-a", "tracker-b"];
/// The processes of dispatchers.
pub(crate) const DISPATCHERS: [&str; 2] = ["dispatcher-a", "dispatcher-b"];
/// The processes of audit-projectors.
pub(crate) const PROJECTORS: [&str; 2] = ["projector-a", "projector-b"];

/// From here on, deeds and faults are about the archive, so that those of plans without one stay.
const OF_ARCHIVES: u64 = 1_000;

/// From here on, faults are about brokers that are behind, for the same reason.
const OF_THE_BEHIND: u64 = 2_000;

/// Of how many plans in a hundred an archive is part.
const PROJECTED_PERCENT: u64 = 5;

const MISHAPS: [Mishap; 7] = [
    Mishap::Fate(Fate::Unanswered),
    Mishap::Fate(Fate::Unanswered),
    Mishap::Fate(Fate::Lost),
    Mishap::Slow,
    Mishap::KilledBefore,
    Mishap::KilledAfter,
    Mishap::KilledAfter,
];

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        let customers = 1 + seeded.of("customers").below(3);
        let trackers = 1 + usize::from(seeded.of("trackers").chance(35));
        let dispatchers = 1 + usize::from(seeded.of("dispatchers").chance(50));
        let deeds_len = 3 + seeded.of("deeds").below(10);
        let faults_len = seeded.of("faults").below(8);
        let mut deeds: Vec<Deed> = (0..deeds_len)
            .map(|at| deed(seeded, at, customers))
            .collect();
        let projectors = match seeded.of("projectors").below(100) {
            0..PROJECTED_PERCENT => 1 + usize::from(seeded.of("two archive").chance(30)),
            _ => 0,
        };
        if projectors > 0 && seeded.of("rebuild").chance(40) {
            deeds.push(Deed {
                number: OF_ARCHIVES,
                at: Duration::from_millis(500 + seeded.of("rebuild").of("at").below(12_000)),
                what: What::Rebuild,
            });
        }
        deeds.sort_by_key(|deed| deed.at);
        let faults = (0..faults_len).map(|at| (at, fault(seeded, at, trackers, dispatchers)));
        let of_archives = match projectors {
            0 => 0,
            _ => seeded.of("faults of archives").below(5),
        };
        let of_archives = (OF_ARCHIVES..OF_ARCHIVES + of_archives)
            .map(|at| (at, fault_of_archives(seeded, at, projectors)));
        let of_the_behind = match seeded.of("behind").below(4) {
            0 => 1 + seeded.of("faults of the behind").below(3),
            _ => 0,
        };
        let of_the_behind = (OF_THE_BEHIND..OF_THE_BEHIND + of_the_behind)
            .map(|at| (at, fault_of_the_behind(seeded, at, trackers, dispatchers)));
        Self {
            seed,
            customers,
            trackers,
            dispatchers,
            projectors,
            has_lease: seeded.of("lease").chance(40),
            has_sms: seeded.of("sms").chance(60),
            deeds,
            faults: faults.chain(of_archives).chain(of_the_behind).collect(),
            planted: Planted::Nothing,
        }
    }

    /// The same with an error planted.
    #[must_use]
    pub fn with(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// What tells another process to run this very plan.
    pub fn arguments(&self) -> Vec<String> {
        let list = |numbers: Vec<u64>| {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            numbers.join(",")
        };
        let mut all = vec![
            format!("--one={}", self.seed),
            format!(
                "--deeds={}",
                list(self.deeds.iter().map(|deed| deed.number).collect())
            ),
            format!(
                "--faults={}",
                list(self.faults.iter().map(|(number, _)| *number).collect())
            ),
            format!("--trackers={}", self.trackers),
            format!("--dispatchers={}", self.dispatchers),
            format!("--projectors={}", self.projectors),
            format!("--lease={}", self.has_lease),
            format!("--sms={}", self.has_sms),
        ];
        let planted = Planted::ALL.into_iter();
        let mut planted = planted.filter(|(_, planted)| *planted == self.planted);
        all.extend(planted.next().map(|(name, _)| format!("--plant={name}")));
        all
    }

    /// Leaves out all deeds but these, and all faults but these.
    pub fn keep(&mut self, deeds: &[u64], faults: &[u64]) {
        self.deeds.retain(|deed| deeds.contains(&deed.number));
        self.faults.retain(|(number, _)| faults.contains(number));
    }
}

fn deed(seeded: Seeded, number: u64, customers: u64) -> Deed {
    let seeded = seeded.of("deed").nth(number);
    let customer = seeded.of("customer").below(customers);
    let what = match seeded.of("what").below(100) {
        0..35 => What::Write {
            customer,
            ago: match seeded.of("ago").below(10) {
                0..7 => SignedDuration::from_millis(seeded.of("ms").below(3_000).cast_signed()),
                7..9 => MINUTE * i32::try_from(seeded.of("minutes").below(180)).unwrap_or(1),
                _ => HOUR * i32::try_from(seeded.of("hours").below(30)).unwrap_or(1),
            },
        },
        35..78 => What::Send {
            customer,
            template: seeded.of("template").chance(40),
            ttl: MINUTE * i32::try_from(10 + seeded.of("ttl").below(360)).unwrap_or(10),
            again: seeded.of("again").chance(20),
        },
        _ => What::Jump(match seeded.of("jump").below(10) {
            0..3 => MINUTE * i32::try_from(1 + seeded.of("minutes").below(59)).unwrap_or(1),
            3..6 => HOUR * i32::try_from(1 + seeded.of("hours").below(22)).unwrap_or(1),
            // To about where windows end that were opened just before.
            6..9 => {
                HOUR * 24 - SignedDuration::from_secs(seeded.of("s").below(90).cast_signed() - 10)
            }
            _ => HOUR * 30,
        }),
    };
    Deed {
        number,
        at: Duration::from_millis(500 + seeded.of("at").below(12_000)),
        what,
    }
}

fn fault(seeded: Seeded, number: u64, trackers: usize, dispatchers: usize) -> Fault {
    let seeded = seeded.of("fault").nth(number);
    match seeded.of("where").below(100) {
        0..60 => {
            let processes = writers(trackers, dispatchers);
            let (operation, within) = seeded.of("operation").one(&[
                (Operation::Append, 12),
                (Operation::Append, 30),
                (Operation::Read, 60),
                (Operation::Read, 200),
                (Operation::Deliver, 80),
                (Operation::HandOut, 12),
                (Operation::Acknowledge, 12),
            ]);
            Fault::Log {
                process: seeded.of("process").one(&processes),
                operation,
                nth: seeded.of("nth").below(within),
                mishap: seeded.of("mishap").one(&MISHAPS),
            }
        }
        60..85 => Fault::Call {
            nth: seeded.of("nth").below(6),
            mishap: seeded.of("mishap").one(&[
                CallMishap::LostOnTheWay,
                CallMishap::AnswerLost,
                CallMishap::NotReached,
                CallMishap::Refused(131_026),
                CallMishap::Refused(131_047),
                CallMishap::Refused(131_049),
                CallMishap::FailsLater(131_026),
                CallMishap::KilledBefore,
                CallMishap::KilledAfter,
            ]),
        },
        _ => Fault::Report {
            nth: seeded.of("nth").below(6),
            mishap: seeded.of("mishap").one(&[
                ReportMishap::Late,
                ReportMishap::Twice,
                ReportMishap::Backwards,
                ReportMishap::Never,
            ]),
        },
    }
}

/// The processes that write to the log.
fn writers(trackers: usize, dispatchers: usize) -> Vec<&'static str> {
    let all = TRACKERS[..trackers].iter();
    all.chain(&DISPATCHERS[..dispatchers]).copied().collect()
}

fn fault_of_the_behind(seeded: Seeded, number: u64, trackers: usize, dispatchers: usize) -> Fault {
    let seeded = seeded.of("fault").nth(number);
    let within = seeded.of("within").one(&[60, 200]);
    Fault::Log {
        process: seeded.of("process").one(&writers(trackers, dispatchers)),
        operation: Operation::Read,
        nth: seeded.of("nth").below(within),
        mishap: Mishap::Behind {
            times: seeded.of("times").one(&[1, 3, 10]),
            unheard: seeded.of("unheard").one(&[1, 2, 5]),
        },
    }
}

fn fault_of_archives(seeded: Seeded, number: u64, projectors: usize) -> Fault {
    let seeded = seeded.of("fault").nth(number);
    let process = seeded.of("process").one(&PROJECTORS[..projectors]);
    let mishap = seeded.of("mishap").one(&MISHAPS);
    let nth = |within: u64| seeded.of("nth").below(within);
    if seeded.of("where").chance(35) {
        let (operation, within) = seeded
            .of("operation")
            .one(&[(Operation::Read, 40), (Operation::Deliver, 60)]);
        return Fault::Log {
            process,
            operation,
            nth: nth(within),
            mishap,
        };
    }
    let (call, within) = seeded.of("call").one(&[
        (StoreCall::Open, 2),
        (StoreCall::Read, 120),
        (StoreCall::Archive, 6),
        (StoreCall::Archive, 25),
        (StoreCall::Archive, 25),
        (StoreCall::Change, 12),
        (StoreCall::Change, 60),
    ]);
    Fault::Store {
        process,
        call,
        nth: nth(within),
        mishap,
    }
}
