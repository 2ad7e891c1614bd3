//! Rates in use: numbers and pairs, in memory, and who waits for them.
//!
//! A message that may go gets a grant, by turns if many wait. What is granted is paced, and so is
//! what is called: a call that is late is not made together with those that are on time. The
//! active replica alone grants. It takes over as if all had been used up just before; what went to
//! each customer it has read on the log, as every replica does. Customers' own messages count.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::id::{BusinessNumber, MessageId};
use casement_domain::rate::{PairUsage, Rate, Usage};
use casement_domain::turns::{Priority, Turns};
use casement_event::subject::{self, Family};
use casement_event::{Event, Extension, Stored, v1};
use casement_event_log::conversation::Key;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::metrics;

/// Messages a second of a number whose account says nothing else. Meta: 80 by default.
const NUMBER_RATE_DEFAULT: u32 = 80;

/// Which part of a second's messages may have a grant and not be called for yet.
const GRANTS_PART: u32 = 4;

/// How many may at least.
const GRANTS_LEN_MIN: usize = 8;

/// After how long a grant that nobody used goes back into the line.
const GRANT_KEPT: SignedDuration = SignedDuration::from_secs(10);

/// How long the line waits when as many have a grant as may.
const GRANTS_PAUSE: SignedDuration = SignedDuration::from_millis(20);

/// How many pairs are remembered before those that are paid for are forgotten.
const PAIRS_LEN_MAX: usize = 100_000;

/// How long a message that is in line is left alone at least: nobody but a lost grant needs it
/// looked at.
const IN_LINE_RECHECK: SignedDuration = SignedDuration::from_secs(30);

/// When somebody asks again who asked before this replica had taken over.
const INACTIVE_RECHECK: SignedDuration = SignedDuration::from_millis(100);

/// How far the time of an event on the log may be from ours: as far as clocks may part.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_secs(2);

/// What went out longer ago says nothing about a pair: a burst is paid for by then.
const PAIR_REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

/// How much of each rate is used up, and who waits.
#[derive(Debug)]
pub(crate) struct Rates {
    used: Mutex<Used>,
    /// Somebody waits who has to be woken.
    lined_up: Notify,
    weights: BTreeMap<String, u32>,
}

#[derive(Debug, Default)]
struct Used {
    /// Since when this replica is the active one; `None` while it stands by.
    taken_at: Option<Timestamp>,
    numbers: HashMap<BusinessNumber, Number>,
    pairs: HashMap<Key, PairUsage>,
}

#[derive(Debug)]
struct Number {
    allowed: u32,
    /// By what was granted.
    granted: Usage,
    /// By what was called, and what customers wrote.
    called: Usage,
    turns: Turns<MessageId>,
    grants: HashMap<MessageId, Grant>,
}

#[derive(Debug, Clone)]
struct Grant {
    at: Timestamp,
    asking: Asking,
}

/// Who asks for a place in a number's rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) priority: Priority,
    pub(crate) brand: String,
}

/// What comes of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may go.
    Now,
    /// Not yet. It is woken when it may, or looks again at this time.
    Later(Timestamp),
}

/// Who may go now, and when there is something to do again.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    pub(crate) ids: Vec<MessageId>,
    pub(crate) again_at: Option<Timestamp>,
}

impl Rates {
    /// Nobody may go before this replica has taken over.
    pub(crate) fn new(weights: BTreeMap<String, u32>) -> Self {
        Self {
            used: Mutex::default(),
            lined_up: Notify::new(),
            weights,
        }
    }

    /// From now on this replica is the active one.
    pub(crate) fn take_over(&self, now: Timestamp) {
        let mut used = self.lock();
        used.numbers.clear();
        used.taken_at = Some(now);
    }

    /// This replica stands by from now on: nothing goes any more, and nobody waits here.
    pub(crate) fn stand_by(&self) {
        let mut used = self.lock();
        used.numbers.clear();
        used.taken_at = None;
    }

    /// Returns when a message may go by the rates; `now`, if at once. Changes nothing.
    pub(crate) fn ready_at(
        &self,
        id: &MessageId,
        key: &Key,
        priority: Priority,
        throughput: u32,
        now: Timestamp,
    ) -> Timestamp {
        let used = self.lock();
        let pair = used.pairs.get(key).copied().unwrap_or_default();
        let number = match used.numbers.get(&key.number) {
            Some(number) if number.grants.contains_key(id) => now,
            Some(number) => number.expected_at(priority, now),
            None => used.taken_at.map_or(now, |at| {
                let rate = Rate::within(allowed(throughput));
                Usage::used_up(rate, at).ready_at(rate, now)
            }),
        };
        number.max(pair.ready_at(now)).max(now)
    }

    /// Asks for a place in the number's rate: grants one if nobody waits, or puts the message in
    /// line.
    pub(crate) fn ask(
        &self,
        id: &MessageId,
        key: &Key,
        asking: Asking,
        throughput: u32,
        now: Timestamp,
    ) -> Turn {
        let mut used = self.lock();
        let Some(taken_at) = used.taken_at else {
            return Turn::Later(add(now, INACTIVE_RECHECK));
        };
        let pair = used.pairs.get(key).copied().unwrap_or_default();
        let number = used.number(&key.number, throughput, taken_at, &self.weights, now);
        // Who waits for the customer anyway leaves the number's places to others.
        let pair_ready_at = pair.ready_at(now);
        if pair_ready_at > now {
            number.give_up(id);
            return Turn::Later(pair_ready_at);
        }
        if number.grants.contains_key(id) {
            return Turn::Now;
        }
        if number.turns.is_empty() && number.ready_at(now) <= now && number.has_room() {
            number.grant(id.clone(), asking, now);
            return Turn::Now;
        }
        // Where somebody waits already, it is known when the next place is free.
        if number.turns.is_empty() {
            self.lined_up.notify_one();
        }
        number
            .turns
            .enlist(id.clone(), asking.priority, &asking.brand);
        let line = number.rate().takes(number.turns_len()).saturating_mul(2);
        Turn::Later(add(add(now, line), IN_LINE_RECHECK))
    }

    /// Gives the places that are free now to those whose turn it is.
    pub(crate) fn grant(&self, now: Timestamp) -> Granted {
        let mut used = self.lock();
        let mut all = Granted::default();
        for number in used.numbers.values_mut() {
            number.take_back(now);
            while number.ready_at(now) <= now && number.has_room() {
                let Some((id, asking)) = number.next() else {
                    break;
                };
                metrics::turn_given(asking.priority);
                number.grant(id.clone(), asking, now);
                all.ids.push(id);
            }
            let again_at = if number.turns.is_empty() {
                let oldest = number.grants.values().map(|grant| grant.at).min();
                oldest.map(|at| add(at, GRANT_KEPT))
            } else if number.has_room() {
                Some(number.ready_at(now))
            } else {
                Some(add(now, GRANTS_PAUSE))
            };
            all.again_at = [all.again_at, again_at].into_iter().flatten().min();
        }
        let waiting = Priority::ALL.map(|one| {
            let numbers = used.numbers.values();
            let lines = numbers.map(|number| number.turns.waiting(one));
            (one, lines.sum())
        });
        metrics::in_line(&waiting);
        all
    }

    /// Waits until somebody has lined up.
    pub(crate) async fn lined_up(&self) {
        self.lined_up.notified().await;
    }

    /// Returns when the call that was granted may begin; `None` if not before `latest`, or if
    /// another replica has taken over. It counts as called then.
    pub(crate) fn call_at(
        &self,
        id: &MessageId,
        key: &Key,
        throughput: u32,
        now: Timestamp,
        latest: Timestamp,
    ) -> Option<Timestamp> {
        let mut used = self.lock();
        let taken_at = used.taken_at?;
        let number = used.number(&key.number, throughput, taken_at, &self.weights, now);
        let rate = number.rate();
        let at = number.called.ready_at(rate, now);
        if at > latest {
            return None;
        }
        number.called = number.called.after_one(rate, at);
        number.give_up(id);
        used.make_room(now);
        let pair = used.pairs.entry(key.clone()).or_default();
        *pair = pair.after_one(at);
        Some(at)
    }

    /// Returns whether this replica is still the active one that it was at a time.
    pub(crate) fn is_active_since(&self, at: Timestamp) -> bool {
        self.lock().taken_at.is_some_and(|taken_at| taken_at <= at)
    }

    /// Takes note that the message does not go now.
    pub(crate) fn give_up(&self, id: &MessageId) {
        if let Some(number) = self.lock().numbers.get_mut(id.number()) {
            number.give_up(id);
        }
    }

    /// Takes note that a customer wrote to a number: that counts, too. Meta: throughput is of
    /// messages both ways.
    pub(crate) fn written(&self, number: &BusinessNumber, throughput: u32, now: Timestamp) {
        let mut used = self.lock();
        let Some(taken_at) = used.taken_at else {
            return;
        };
        let number = used.number(number, throughput, taken_at, &self.weights, now);
        number.called = number.called.after_forced(number.rate(), now);
    }

    /// Takes note of an event of a message that somebody else sent: before this process began, or
    /// as the active replica that it was then. `claimant` begins the names of our own claims.
    pub(crate) fn see(&self, stored: &Stored, claimant: &str, started_at: Timestamp) {
        let is_recent = add(stored.stored_at, PAIR_REMEMBERED) >= started_at;
        if !is_recent || !may_have_gone(stored, claimant, started_at) {
            return;
        }
        let Some((Family::Message, id)) = subject::parse_message(&stored.subject) else {
            return;
        };
        let customer = stored.extension(Extension::Customer).unwrap_or_default();
        let Ok(customer) = casement_domain::id::CustomerId::parse(customer) else {
            return;
        };
        let key = Key {
            number: id.number().clone(),
            customer,
        };
        let mut used = self.lock();
        used.make_room(stored.stored_at);
        let pair = used.pairs.entry(key).or_default();
        *pair = pair.after_other(stored.stored_at, CLOCK_ERROR);
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// The number as it stands. One that was not met since the takeover, or whose rate is another
    /// now, may have been used up.
    fn number(
        &mut self,
        number: &BusinessNumber,
        throughput: u32,
        taken_at: Timestamp,
        weights: &BTreeMap<String, u32>,
        now: Timestamp,
    ) -> &mut Number {
        let allowed = allowed(throughput);
        let rate = Rate::within(allowed);
        let number = self
            .numbers
            .entry(number.clone())
            .or_insert_with(|| Number {
                allowed,
                granted: Usage::used_up(rate, taken_at),
                called: Usage::used_up(rate, taken_at),
                turns: Turns::new(weights.clone()),
                grants: HashMap::new(),
            });
        if number.allowed != allowed {
            number.allowed = allowed;
            number.granted = Usage::used_up(rate, now);
            number.called = Usage::used_up(rate, now);
        }
        number
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.pairs.len() >= PAIRS_LEN_MAX {
            self.pairs.retain(|_, pair| pair.ready_at(now) > now);
        }
    }
}

impl Number {
    fn rate(&self) -> Rate {
        Rate::within(self.allowed)
    }

    /// When the next place is free: by what was granted, and by what was called and heard.
    fn ready_at(&self, now: Timestamp) -> Timestamp {
        let rate = self.rate();
        let granted = self.granted.ready_at(rate, now);
        granted.max(self.called.ready_at(rate, now))
    }

    /// When a message of a priority may expect its turn, as things stand.
    fn expected_at(&self, priority: Priority, now: Timestamp) -> Timestamp {
        let ahead = u32::try_from(self.turns.ahead_of(priority)).unwrap_or(u32::MAX);
        add(self.ready_at(now), self.rate().takes(ahead))
    }

    fn has_room(&self) -> bool {
        let part = usize::try_from(self.allowed / GRANTS_PART).unwrap_or(usize::MAX);
        self.grants.len() < part.max(GRANTS_LEN_MIN)
    }

    fn turns_len(&self) -> u32 {
        u32::try_from(self.turns.ahead_of(Priority::Bulk)).unwrap_or(u32::MAX)
    }

    fn next(&mut self) -> Option<(MessageId, Asking)> {
        let (id, priority, brand) = self.turns.next_of_brand(|_| true)?;
        Some((id, Asking { priority, brand }))
    }

    fn grant(&mut self, id: MessageId, asking: Asking, now: Timestamp) {
        self.granted = self.granted.after_one(self.rate(), now);
        self.grants.insert(id, Grant { at: now, asking });
    }

    fn give_up(&mut self, id: &MessageId) {
        self.grants.remove(id);
        self.turns.leave(id);
    }

    /// Puts those back into the line whose grant nobody used.
    fn take_back(&mut self, now: Timestamp) {
        let is_old = |grant: &Grant| add(grant.at, GRANT_KEPT) <= now;
        let mut old: Vec<_> = self.grants.extract_if(|_, grant| is_old(grant)).collect();
        old.sort_by_key(|(_, grant)| grant.at);
        for (id, Grant { asking, .. }) in old {
            self.turns.enlist(id, asking.priority, &asking.brand);
        }
    }
}

/// Whether an event tells that WhatsApp may have been called, and not by this process.
fn may_have_gone(stored: &Stored, claimant: &str, started_at: Timestamp) -> bool {
    const AFTER_A_CALL: [&str; 5] = [
        "AttemptAccepted",
        "AttemptRejected",
        "AttemptUnknown",
        "DeliveryAdvanced",
        "MessageEnded",
    ];
    let name = stored.event_type().rsplit('.').next().unwrap_or_default();
    if name == "AttemptStarted" {
        return matches!(stored.event(), Ok(Event::AttemptStarted(started))
            if started.route() != v1::Route::Sms && !started.claimant.starts_with(claimant));
    }
    // Of what stood there before, the newest event of each message is all that is seen.
    stored.stored_at < started_at && AFTER_A_CALL.contains(&name)
}

fn allowed(throughput: u32) -> u32 {
    if throughput == 0 {
        NUMBER_RATE_DEFAULT
    } else {
        throughput
    }
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;
