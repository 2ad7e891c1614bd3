//! Which faults, in which order, for how long: a function of the seed.
//!
//! The same seed gives the same plan. When each fault meets what is under way is for the machine's
//! scheduler to say, so that a run cannot be had again exactly; a plan can.

use std::time::Duration;

use casement_tests::Role;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Something to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; started again when the fault ends.
    Kill(Target),
    /// SIGSTOP; goes on when the fault ends.
    Pause(Target),
    /// Stopped in good order; started again when the fault ends.
    Restart(Target),
    /// Connections break and are refused.
    Cut(Line),
    /// Connections break once.
    Sever(Line),
    /// Everything is late, both ways.
    Slow(Line, Duration),
    /// Requests arrive, replies are lost.
    LoseReplies(Line),
    /// Nothing arrives before the end.
    Hold(Line),
    /// The provider answers so, or not.
    Provider(ProviderFault),
    /// The platform sends webhooks so.
    Webhooks(WebhookFault),
    /// A stream is at its size limit.
    FullStream(&'static str),
    /// The broker's disk is full.
    FullDisk,
    /// A role's wall clock is wrong by so many seconds while it runs.
    ClockJump(Role, i64),
    /// A role starts while its wall clock is wrong, which is put right later.
    StartUnderWrongClock(Role, i64),
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One of ours.
    Role(Role),
    /// The broker.
    Broker,
    /// PostgreSQL.
    Database,
}

/// What goes through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A role and the broker.
    Broker(Role),
    /// The archive and its database.
    Database,
    /// Roles and providers.
    Provider,
    /// Providers' posts and ingress.
    Webhooks,
}

/// What a provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderFault {
    /// A 5xx; nothing was sent.
    Refuses,
    /// A 5xx; it was sent.
    RefusesAndSends,
    /// It was sent; no answer ever.
    TimesOutAfterAcceptance,
    /// The connection is closed before the call is looked at.
    Drops,
    /// The answer comes late.
    IsSlow,
    /// It was accepted, and failed later.
    FailsLater,
}

/// What happens to webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// Each is sent more than once.
    Duplicated,
    /// They are late.
    Delayed,
    /// They come in another order.
    Reordered,
}

impl Fault {
    /// Returns what kind of fault it is, for a report.
    pub fn kind(self) -> String {
        match self {
            Self::Kill(target) => format!("kill -9: {target}"),
            Self::Pause(target) => format!("pause: {target}"),
            Self::Restart(target) => format!("restart: {target}"),
            Self::Cut(line) => format!("cut: {line}"),
            Self::Sever(line) => format!("sever: {line}"),
            Self::Slow(line, _) => format!("slow: {line}"),
            Self::LoseReplies(line) => format!("lose replies: {line}"),
            Self::Hold(line) => format!("hold: {line}"),
            Self::Provider(fault) => format!("provider: {}", fault.name()),
            Self::Webhooks(fault) => format!("webhooks: {}", fault.name()),
            Self::FullStream(stream) => format!("full stream: {stream}"),
            Self::FullDisk => "full disk: broker".to_owned(),
            Self::ClockJump(role, _) => format!("clock jumps: {}", name(role)),
            Self::StartUnderWrongClock(role, _) => {
                format!("started under a wrong clock: {}", name(role))
            }
        }
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Accounts => "accounts",
        Role::Ingress => "ingress",
        Role::WindowTracker => "window-tracker",
        Role::Dispatcher => "dispatcher",
        Role::AuditProjector => "audit-projector",
        Role::Gateway => "gateway",
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Role(role) => name(*role),
            Self::Broker => "broker",
            Self::Database => "database",
        })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broker(role) => write!(f, "{} – broker", name(*role)),
            Self::Database => f.write_str("audit-projector – database"),
            Self::Provider => f.write_str("roles – provider"),
            Self::Webhooks => f.write_str("provider – ingress"),
        }
    }
}

impl ProviderFault {
    fn name(self) -> &'static str {
        match self {
            Self::Refuses => "5xx",
            Self::RefusesAndSends => "5xx, sent all the same",
            Self::TimesOutAfterAcceptance => "time-out after acceptance",
            Self::Drops => "connection closed",
            Self::IsSlow => "slow answers",
            Self::FailsLater => "failed after acceptance",
        }
    }
}

impl WebhookFault {
    fn name(self) -> &'static str {
        match self {
            Self::Duplicated => "duplicated",
            Self::Delayed => "delayed",
            Self::Reordered => "reordered",
        }
    }
}

/// Faults that are in force together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// What is broken.
    pub faults: Vec<Fault>,
    /// For how long.
    pub lasts: Duration,
    /// Whether the next round waits until everything works again.
    pub is_waited_for: bool,
}

/// What a machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// Whether the broker has a disk of its own.
    pub has_disk: bool,
}

/// Returns as many rounds as it takes for so many faults. Each kind comes once before any comes
/// twice, as far as there is room.
pub fn plan(seed: u64, faults_count: usize, means: Means) -> Vec<Round> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut rounds = Vec::new();
    let mut left = faults_count;
    let mut bag: Vec<fn(&mut StdRng) -> Fault> = Vec::new();
    while left > 0 {
        let wanted = *[1, 1, 2, 3].choose(&mut chance).unwrap_or(&1);
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..wanted.min(left) {
            if bag.is_empty() {
                bag = kinds(means);
            }
            let place = chance.random_range(0..bag.len());
            let fault = bag.swap_remove(place)(&mut chance);
            if faults.iter().any(|other| collide(*other, fault)) {
                continue;
            }
            faults.push(fault);
        }
        if faults.is_empty() {
            continue;
        }
        left -= faults.len();
        rounds.push(Round {
            faults,
            lasts: if chance.random_bool(0.05) {
                Duration::from_millis(chance.random_range(3_000..8_000))
            } else {
                Duration::from_millis(chance.random_range(150..1_800))
            },
            is_waited_for: chance.random_bool(0.6),
        });
    }
    rounds
}

/// Whether two faults are about the same thing, so that one would undo the other.
fn collide(one: Fault, other: Fault) -> bool {
    match (process(one), process(other)) {
        (Some(one), Some(other)) if one == other => return true,
        _ => {}
    }
    match (line(one), line(other)) {
        (Some(one), Some(other)) => one == other,
        _ => std::mem::discriminant(&one) == std::mem::discriminant(&other) && one == other,
    }
}

fn process(fault: Fault) -> Option<Target> {
    match fault {
        Fault::Kill(target) | Fault::Pause(target) | Fault::Restart(target) => Some(target),
        Fault::ClockJump(role, _) | Fault::StartUnderWrongClock(role, _) => {
            Some(Target::Role(role))
        }
        Fault::FullStream(_) | Fault::FullDisk => Some(Target::Broker),
        _ => None,
    }
}

fn line(fault: Fault) -> Option<Line> {
    match fault {
        Fault::Cut(line)
        | Fault::Sever(line)
        | Fault::Slow(line, _)
        | Fault::LoseReplies(line)
        | Fault::Hold(line) => Some(line),
        _ => None,
    }
}

fn role(chance: &mut StdRng) -> Role {
    Role::ALL[chance.random_range(0..Role::ALL.len())]
}

fn timed_role(chance: &mut StdRng) -> Role {
    let timed = [Role::Ingress, Role::WindowTracker, Role::Dispatcher];
    timed[chance.random_range(0..timed.len())]
}

fn any_line(chance: &mut StdRng) -> Line {
    match chance.random_range(0..8) {
        0 => Line::Database,
        1 | 2 => Line::Provider,
        3 => Line::Webhooks,
        _ => Line::Broker(role(chance)),
    }
}

/// By how much a clock is wrong: more than may be, either way.
fn jump(chance: &mut StdRng) -> i64 {
    const JUMPS: [i64; 6] = [-86_400, -3_600, -7, 7, 3_600, 86_400];
    JUMPS[chance.random_range(0..JUMPS.len())]
}

fn slow(chance: &mut StdRng) -> Duration {
    Duration::from_millis(chance.random_range(10..200))
}

fn kinds(means: Means) -> Vec<fn(&mut StdRng) -> Fault> {
    use ProviderFault as Provider;
    let mut kinds: Vec<fn(&mut StdRng) -> Fault> = vec![
        |_| Fault::Kill(Target::Role(Role::Ingress)),
        |_| Fault::Kill(Target::Role(Role::WindowTracker)),
        |_| Fault::Kill(Target::Role(Role::Dispatcher)),
        |_| Fault::Kill(Target::Role(Role::AuditProjector)),
        |_| Fault::Kill(Target::Role(Role::Accounts)),
        |chance| Fault::Pause(Target::Role(role(chance))),
        |chance| Fault::Pause(Target::Role(timed_role(chance))),
        |chance| Fault::Restart(Target::Role(role(chance))),
        |_| Fault::Kill(Target::Broker),
        |_| Fault::Pause(Target::Broker),
        |_| Fault::Restart(Target::Broker),
        |_| Fault::Kill(Target::Database),
        |_| Fault::Restart(Target::Database),
        |chance| Fault::Cut(any_line(chance)),
        |chance| Fault::Cut(Line::Broker(role(chance))),
        |chance| Fault::Sever(any_line(chance)),
        |chance| Fault::Slow(any_line(chance), slow(chance)),
        |chance| Fault::LoseReplies(Line::Broker(role(chance))),
        |_| Fault::LoseReplies(Line::Provider),
        |_| Fault::LoseReplies(Line::Webhooks),
        |chance| Fault::Hold(any_line(chance)),
        |_| Fault::Hold(Line::Database),
        |_| Fault::Provider(Provider::Refuses),
        |_| Fault::Provider(Provider::RefusesAndSends),
        |_| Fault::Provider(Provider::TimesOutAfterAcceptance),
        |_| Fault::Provider(Provider::Drops),
        |_| Fault::Provider(Provider::IsSlow),
        |_| Fault::Provider(Provider::FailsLater),
        |_| Fault::Webhooks(WebhookFault::Duplicated),
        |_| Fault::Webhooks(WebhookFault::Delayed),
        |_| Fault::Webhooks(WebhookFault::Reordered),
        |chance| {
            const STREAMS: [&str; 3] = ["RAW", "EVENTS", "MESSAGES"];
            Fault::FullStream(STREAMS[chance.random_range(0..STREAMS.len())])
        },
        |chance| Fault::ClockJump(timed_role(chance), jump(chance)),
        |chance| Fault::StartUnderWrongClock(timed_role(chance), jump(chance)),
        |chance| Fault::StartUnderWrongClock(role(chance), jump(chance)),
    ];
    if means.has_disk {
        kinds.push(|_| Fault::FullDisk);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEANS: Means = Means { has_disk: true };

    #[test]
    fn a_seed_gives_the_same_plan_again_and_another_seed_another() {
        assert_eq!(plan(7, 60, MEANS), plan(7, 60, MEANS));
        assert_ne!(plan(7, 60, MEANS), plan(8, 60, MEANS));
    }

    #[test]
    fn a_plan_has_as_many_faults_as_asked_for_and_none_undoes_another() {
        for seed in 0..50 {
            let rounds = plan(seed, 40, MEANS);
            let count: usize = rounds.iter().map(|round| round.faults.len()).sum();
            assert_eq!(count, 40);
            for round in &rounds {
                for (place, fault) in round.faults.iter().enumerate() {
                    let others = &round.faults[..place];
                    assert!(others.iter().all(|other| !collide(*other, *fault)));
                }
            }
        }
    }
}
