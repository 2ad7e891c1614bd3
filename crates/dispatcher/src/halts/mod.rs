//! Halts in use: what stands, how it is set and lifted, and the proof that none is missed.
//!
//! They stand on the log, one subject each, and the directory follows them. A follower may be
//! cut off without noticing, so before each call it is proved that every halt stored up to a
//! moment ago is known: the stream's leader is asked for anything newer. What a call may do is
//! decided in the domain; whom a halt concerns and what lifts it stands next door.

pub(crate) mod gateways;
pub(crate) mod orders;
pub(crate) mod service;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_domain::halt::{self, Cause, Channels, Halt, Known, Order, Scope, Sending, Stops};
use casement_domain::halt::{Target, Traffic};
use casement_event::convert::halt::{self as stored, Details};
use casement_event::subject::{self, ALL_HALTS, ALL_NUMBERS, stream};
use casement_event::{convert, v1};
use casement_event_log::directory::{Directory, Halt as KnownHalt};
use casement_event_log::{AppendError, Expect, Log, Position, ReadError};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::standing;

/// How old the proof may be, at the moment of the call, that every halt is known.
const PROOF_AGE_MAX: Duration = Duration::from_secs(1);

/// How old it may be when the work on a message begins, so that it lasts until the call.
const PROOF_AGE_AT_START: Duration = Duration::from_millis(500);

/// Shorter halts of the platform are kept in memory: they are over before anybody looks.
const STORED_FROM: SignedDuration = SignedDuration::from_secs(10);

/// How many halts are kept in memory before those that are over are forgotten, and if none is,
/// those that end first: what they stop, the platform refuses again.
const LOCAL_LEN_MAX: usize = 100_000;

/// How long one message is given to show whether a halt is over.
const PROBE_TAKES: SignedDuration = SignedDuration::from_mins(1);

/// How often a change is tried anew because another writer was faster.
const ROUNDS_MAX: usize = 16;

/// Halts of all scopes. Safe to share.
pub(crate) struct Halts {
    log: Log,
    directory: Directory,
    local: Mutex<HashMap<String, Halt>>,
    /// How many calls were accepted since each halt ran out that concerned them, by its id. Who
    /// takes over begins anew: then a halt that comes back stays longer.
    accepted: Mutex<HashMap<String, u32>>,
    /// Until when each halt is being probed.
    probes: Mutex<HashMap<String, Timestamp>>,
    /// When it was last asked for what is newer.
    proven: tokio::sync::Mutex<Option<Instant>>,
}

/// Why a halt is lifted.
pub(crate) struct Lifting<'a> {
    pub(crate) lift: v1::HaltLift,
    pub(crate) caller: &'a str,
    pub(crate) reason: &'a str,
}

impl Lifting<'_> {
    pub(crate) fn by(lift: v1::HaltLift) -> Self {
        Self {
            lift,
            caller: "",
            reason: "",
        }
    }
}

/// A halt could not be set, lifted or looked for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HaltError {
    #[error("halts could not be read")]
    Read(#[from] ReadError),
    #[error("halt could not be appended")]
    Append(#[from] AppendError),
    #[error("halt kept changing")]
    Contended,
}

impl Halts {
    pub(crate) fn new(log: Log, directory: Directory) -> Self {
        Self {
            log,
            directory,
            local: Mutex::default(),
            accepted: Mutex::default(),
            probes: Mutex::default(),
            proven: tokio::sync::Mutex::default(),
        }
    }

    /// Proves that every halt is known that was stored half a second ago, and every word about a
    /// number.
    pub(crate) async fn prove(&self) -> Result<(), ReadError> {
        self.prove_within(PROOF_AGE_AT_START).await
    }

    /// Proves that every halt is known that was stored a second ago.
    pub(crate) async fn prove_for_call(&self) -> Result<(), ReadError> {
        self.prove_within(PROOF_AGE_MAX).await
    }

    /// Proves that every word about a number is known that was stored before this was asked.
    pub(crate) async fn prove_now(&self) -> Result<(), ReadError> {
        self.prove_within(Duration::ZERO).await
    }

    async fn prove_within(&self, age_max: Duration) -> Result<(), ReadError> {
        // Who waits here finds the proof of whoever was first.
        let mut proven = self.proven.lock().await;
        if proven.is_some_and(|at| at.elapsed() < age_max) {
            return Ok(());
        }
        let asked = Instant::now();
        self.catch_up().await?;
        *proven = Some(asked);
        Ok(())
    }

    /// Takes up what is newer than what is known, from the stream's leader.
    async fn catch_up(&self) -> Result<(), ReadError> {
        let mut from = self.directory.halts_sequence() + 1;
        while let Some(stored) = self.log.next(stream::ACCOUNTS, ALL_HALTS, from).await? {
            self.directory.hear(&stored);
            from = stored.sequence + 1;
        }
        // What a number's record stops is a halt, too: one that waits while it moves.
        let mut from = self.directory.numbers_sequence() + 1;
        while let Some(stored) = self.log.next(stream::ACCOUNTS, ALL_NUMBERS, from).await? {
            self.directory.hear(&stored);
            from = stored.sequence + 1;
        }
        Ok(())
    }

    /// Returns which routes are stopped for a message. One halt may be left out, to see whether
    /// it is over.
    pub(crate) fn stops(
        &self,
        sending: &Sending,
        account: &v1::Number,
        without: Option<&str>,
        now: Timestamp,
    ) -> Stops {
        let halts = self.directory.halts();
        let local = self.local();
        let paused = pause_of_account(account);
        let on_record = halts
            .iter()
            .filter_map(|(id, halt)| Some((id.as_str(), set(halt)?)));
        // Short waits are rates: `ready_at` tells them.
        let in_memory = local
            .iter()
            .filter(|(_, halt)| halt.target.scope == Scope::Pair)
            .map(|(id, halt)| (id.as_str(), halt));
        let by_account = paused.iter().map(|(id, halt)| (id.as_str(), halt));
        let all = on_record
            .chain(in_memory)
            .chain(by_account)
            .filter(|(id, _)| Some(*id) != without);
        standing::stops(&self.directory, account, Stops::of(all, sending, now), now)
    }

    /// Returns when the short waits that the platform asked for are over.
    pub(crate) fn ready_at(&self, sending: &Sending, now: Timestamp) -> Timestamp {
        let local = self.local();
        let waits = local
            .values()
            .filter(|halt| halt.target.scope != Scope::Pair)
            .filter(|halt| sending.targets.contains(&halt.target))
            .filter_map(|halt| halt.until);
        waits.fold(now, Timestamp::max)
    }

    /// Returns the ids of all halts in force that messages can have been put off for, each with
    /// when time ends it.
    pub(crate) fn in_force(&self, now: Timestamp) -> BTreeMap<String, Option<Timestamp>> {
        let halts = self.directory.halts();
        let on_record = halts
            .iter()
            .filter_map(|(id, halt)| Some((id.clone(), set(halt)?.clone())));
        let numbers = self.directory.numbers();
        let by_account = numbers.iter().filter_map(pause_of_account);
        let in_memory: Vec<_> = {
            let local = self.local();
            let pairs = local
                .iter()
                .filter(|(_, halt)| halt.target.scope == Scope::Pair);
            pairs.map(|(id, halt)| (id.clone(), halt.clone())).collect()
        };
        on_record
            .chain(by_account)
            .chain(in_memory)
            .filter(|(_, halt)| halt.is_in_force(now))
            .map(|(id, halt)| (id, halt.until))
            .chain(standing::in_force(&self.directory, now))
            .collect()
    }

    /// Returns the halts on record that are in force.
    pub(crate) fn standing(&self, now: Timestamp) -> Vec<(Halt, KnownHalt)> {
        let halts = self.directory.halts();
        let set = halts
            .values()
            .filter_map(|halt| Some((set(halt)?.clone(), halt.clone())));
        set.filter(|(halt, _)| halt.is_in_force(now)).collect()
    }

    /// Returns the ids of all halts of gateways that ever were: what waits for one of several may
    /// go once another is over.
    pub(crate) fn of_gateways(&self) -> BTreeSet<String> {
        let halts = self.directory.halts();
        let of_gateways = halts
            .iter()
            .filter(|(_, known)| known.stored.scope() == v1::HaltScope::Gateway);
        of_gateways.map(|(id, _)| id.clone()).collect()
    }

    /// Sets a halt, unless what is known covers it. Safe to repeat.
    pub(crate) async fn set(
        &self,
        order: &Order,
        details: &Details,
        now: Timestamp,
    ) -> Result<(), HaltError> {
        let id = stored::halt_id(&order.target, &order.cause);
        for _ in 0..ROUNDS_MAX {
            let known = self.directory.halts().get(&id).cloned();
            let local = self.local().get(&id).cloned().map(Known::Set);
            let before = match &known {
                Some(known) if set(known).is_some_and(|halt| halt.is_in_force(now)) => {
                    Some(&known.known)
                }
                known => local.as_ref().or(known.as_ref().map(|known| &known.known)),
            };
            let accepted = lock(&self.accepted).get(&id).copied().unwrap_or_default();
            let Some(halt) = halt::set(before, order, accepted, now) else {
                return Ok(());
            };
            if is_local(&halt, now) {
                lock(&self.accepted).remove(&id);
                self.remember(id, halt, now);
                return Ok(());
            }
            let sequence = known.map_or(0, |known| known.sequence);
            match self.append(&halt, details, sequence, now).await {
                Ok(_) => {
                    lock(&self.accepted).remove(&id);
                    return Ok(());
                }
                Err(HaltError::Append(AppendError::Conflict { .. })) => self.catch_up().await?,
                Err(error) => return Err(error),
            }
        }
        Err(HaltError::Contended)
    }

    /// Takes note that a call was accepted: what halted it is over.
    pub(crate) fn accepted(&self, sending: &Sending, now: Timestamp) {
        let is_over = |halt: &Halt| {
            halt.until.is_some_and(|until| until <= now) && sending.targets.contains(&halt.target)
        };
        let halts = self.directory.halts();
        let on_record = halts
            .iter()
            .filter(|(_, known)| set(known).is_some_and(is_over))
            .map(|(id, _)| id.clone());
        let in_memory: Vec<String> = {
            let local = self.local();
            let over = local.iter().filter(|(_, halt)| is_over(halt));
            over.map(|(id, _)| id.clone()).collect()
        };
        let mut accepted = lock(&self.accepted);
        for id in on_record.chain(in_memory) {
            let count = accepted.entry(id).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Appends a halt, and knows it from then on.
    pub(crate) async fn append(
        &self,
        halt: &Halt,
        details: &Details,
        expected: u64,
        now: Timestamp,
    ) -> Result<Position, HaltError> {
        let halted = stored::stored(halt, details);
        tracing::warn!(
            scope = halt.target.scope.as_str(),
            halt = %halted.halt_id,
            cause = %halt.cause.key(),
            "sends are halted"
        );
        let record = stored::halted(&halted, now);
        let expect = Expect::last(record.subject.clone(), expected);
        let position = self.log.append(record, expect).await?;
        self.catch_up().await?;
        Ok(position)
    }

    /// Lifts a halt; `None` if it does not stand.
    pub(crate) async fn lift(
        &self,
        id: &str,
        lifting: &Lifting<'_>,
        now: Timestamp,
    ) -> Result<Option<(v1::Halt, Position)>, HaltError> {
        for _ in 0..ROUNDS_MAX {
            let Some(known) = self.directory.halts().get(id).cloned() else {
                return Ok(None);
            };
            let Some(standing) = set(&known).filter(|halt| halt.is_in_force(now)) else {
                return Ok(None);
            };
            let event = v1::SendsResumed {
                halt: Some(known.stored.clone()),
                time: Some(convert::timestamp(now)),
                lift: lifting.lift.into(),
                caller: lifting.caller.to_owned(),
                reason: lifting.reason.to_owned(),
            };
            let subject = subject::halt(standing.target.scope.as_str(), id);
            let expect = Expect::last(subject, known.sequence);
            match self.log.append(stored::resumed(event, now), expect).await {
                Ok(position) => {
                    tracing::info!(
                        halt = id,
                        why = lifting.lift.as_str_name(),
                        "halt is lifted"
                    );
                    self.catch_up().await?;
                    return Ok(Some((known.stored, position)));
                }
                Err(AppendError::Conflict { .. }) => self.catch_up().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(HaltError::Contended)
    }

    /// Returns whether this message may show whether a halt is over: one at a time may.
    pub(crate) fn take_probe(&self, id: &str, now: Timestamp) -> bool {
        let mut probes = lock(&self.probes);
        if probes.get(id).is_some_and(|until| now < *until) {
            return false;
        }
        let until = now.checked_add(PROBE_TAKES).unwrap_or(Timestamp::MAX);
        // As many as there are halts that are probed.
        probes.retain(|_, until| now < *until);
        probes.insert(id.to_owned(), until);
        true
    }

    /// Returns halts that one message may be let through for now.
    pub(crate) fn to_probe(&self, now: Timestamp) -> BTreeSet<String> {
        let probes = lock(&self.probes);
        let standing = self.standing(now).into_iter();
        standing
            .filter(|(halt, _)| halt.probe_at.is_some_and(|at| at <= now))
            .map(|(_, known)| known.stored.halt_id)
            .filter(|id| probes.get(id).is_none_or(|until| *until <= now))
            .collect()
    }

    /// Forgets what is kept in memory for a target.
    pub(crate) fn forget(&self, target: &Target) {
        self.local().retain(|_, halt| halt.target != *target);
    }

    fn remember(&self, id: String, halt: Halt, now: Timestamp) {
        let mut local = self.local();
        if local.len() >= LOCAL_LEN_MAX {
            local.retain(|_, halt| halt.is_in_force(now));
        }
        if local.len() >= LOCAL_LEN_MAX {
            let first = local.iter().min_by_key(|(_, halt)| halt.until);
            if let Some(first) = first.map(|(id, _)| id.clone()) {
                local.remove(&first);
            }
        }
        local.insert(id, halt);
        if local.len() >= LOCAL_LEN_MAX {
            let halts = self.directory.halts();
            lock(&self.accepted).retain(|id, _| local.contains_key(id) || halts.contains_key(id));
        }
    }

    fn local(&self) -> MutexGuard<'_, HashMap<String, Halt>> {
        lock(&self.local)
    }
}

/// Which halts stay in memory: those of one customer, and those that are over soon.
fn is_local(halt: &Halt, now: Timestamp) -> bool {
    let is_short = halt
        .until
        .is_some_and(|until| until.duration_since(now) < STORED_FROM);
    let is_by_hand = matches!(halt.cause, Cause::ByHand { .. });
    halt.target.scope == Scope::Pair || is_short && !is_by_hand
}

/// The halt, if it was not lifted.
fn set(known: &KnownHalt) -> Option<&Halt> {
    match &known.known {
        Known::Set(halt) => Some(halt),
        Known::Lifted { .. } => None,
    }
}

/// A number that its account pauses is halted as by hand, under an id that says so.
fn pause_of_account(account: &v1::Number) -> Option<(String, Halt)> {
    let halt = || Halt {
        target: Target::new(Scope::Number, &account.number),
        traffic: Traffic::Everything,
        channels: Channels::Every,
        may_go_elsewhere: false,
        cause: Cause::ByHand {
            reason: account.pause_reason.clone(),
        },
        since: Timestamp::UNIX_EPOCH,
        until: None,
        probe_at: None,
        renewals: 0,
    };
    account
        .paused
        .then(|| (format!("account.{}", account.number), halt()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
