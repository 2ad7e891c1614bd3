//! How much may be asked for: posts a second and at once for each application or account, and
//! refusals a second for each address that earns them.
//!
//! The rate of an application counts what it signed, so that nobody else can use it up; what
//! strangers send is bounded by what it costs them in refusals, in connections and in time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use casement_domain::rate::{Rate, Usage};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many addresses are remembered for one application. Beyond it, new ones go uncounted.
const ADDRESSES_MAX: usize = 10_000;

/// After this time without a refusal, an address is as good as new: a burst is a second's worth.
const FORGIVEN_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// What each application or account has used up.
#[derive(Debug)]
pub(crate) struct Gates {
    rate: Rate,
    concurrency: usize,
    refusals: Rate,
    known: RwLock<HashMap<&'static str, HashMap<String, Arc<Gate>>>>,
    /// For paths that lead nowhere.
    strangers: Arc<Gate>,
}

impl Gates {
    pub(crate) fn new(posts_per_second: u32, concurrency: usize, refusals_per_second: u32) -> Self {
        Self {
            rate: Rate::per_second(posts_per_second),
            concurrency,
            refusals: Rate::per_second(refusals_per_second),
            known: RwLock::default(),
            strangers: Arc::new(Gate::new(0)),
        }
    }

    /// Returns the gate of an application or account that is configured.
    pub(crate) fn of(&self, source: &'static str, app: &str) -> Arc<Gate> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = known.get(source).and_then(|apps| apps.get(app)) {
            return Arc::clone(gate);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let gate = known
            .entry(source)
            .or_default()
            .entry(app.to_owned())
            .or_insert_with(|| Arc::new(Gate::new(self.concurrency)));
        Arc::clone(gate)
    }

    /// Returns the gate of whatever is not configured.
    pub(crate) fn strangers(&self) -> Arc<Gate> {
        Arc::clone(&self.strangers)
    }

    /// Counts a post; `Err` with when to come again if there were too many.
    pub(crate) fn count_post(&self, gate: &Gate, now: Timestamp) -> Result<(), Timestamp> {
        let mut posts = gate.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let ready_at = posts.ready_at(self.rate, now);
        if ready_at > now {
            return Err(ready_at);
        }
        *posts = posts.after_one(self.rate, now);
        Ok(())
    }

    /// Returns whether an address may ask at all; `Err` with when to come again if it was refused
    /// too often.
    pub(crate) fn is_heard(
        &self,
        gate: &Gate,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let Some(address) = address else {
            return Ok(());
        };
        let refused = gate.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.get(&address) {
            Some(one) => match one.usage.ready_at(self.refusals, now) {
                ready_at if ready_at > now => Err(ready_at),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Counts a refusal that an address earned.
    pub(crate) fn count_refusal(&self, gate: &Gate, address: Option<IpAddr>, now: Timestamp) {
        let Some(address) = address else { return };
        let mut refused = gate.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if !refused.contains_key(&address) && refused.len() >= ADDRESSES_MAX {
            refused.retain(|_, one| now.duration_since(one.last) < FORGIVEN_AFTER);
            if refused.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let one = refused.entry(address).or_insert(Refused {
            usage: Usage::default(),
            last: now,
        });
        one.usage = one.usage.after_one(self.refusals, now);
        one.last = now;
    }
}

/// What one application or account has used up.
#[derive(Debug)]
pub(crate) struct Gate {
    posts: Mutex<Usage>,
    room: Arc<Semaphore>,
    refused: Mutex<HashMap<IpAddr, Refused>>,
}

#[derive(Debug)]
struct Refused {
    usage: Usage,
    last: Timestamp,
}

impl Gate {
    fn new(concurrency: usize) -> Self {
        Self {
            posts: Mutex::default(),
            room: Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS))),
            refused: Mutex::default(),
        }
    }

    /// Takes a place among the posts at once, until it is dropped; `None` if there is none.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_000 + milliseconds).unwrap()
    }

    fn address(index: u32) -> IpAddr {
        IpAddr::V4(index.into())
    }

    #[test]
    fn each_application_has_a_rate_of_its_own() {
        let gates = Gates::new(2, 10, 10);
        let (one, other) = (gates.of("whatsapp", "a"), gates.of("whatsapp", "b"));
        assert_eq!(gates.count_post(&one, at(0)), Ok(()));
        assert_eq!(gates.count_post(&one, at(0)), Ok(()));
        assert_eq!(gates.count_post(&one, at(0)), Err(at(500)));
        assert_eq!(gates.count_post(&other, at(0)), Ok(()));
        let again = gates.of("whatsapp", "a");
        assert_eq!(gates.count_post(&again, at(499)), Err(at(500)));
        assert_eq!(gates.count_post(&again, at(500)), Ok(()));
        let elsewhere = gates.of("twilio", "a");
        assert_eq!(gates.count_post(&elsewhere, at(500)), Ok(()));
    }

    #[test]
    fn a_place_is_taken_until_it_is_left() {
        let gates = Gates::new(10, 1, 10);
        let gate = gates.of("whatsapp", "a");
        let place = gate.enter().unwrap();
        assert!(gates.of("whatsapp", "a").enter().is_none());
        assert!(gates.of("whatsapp", "b").enter().is_some());
        drop(place);
        assert!(gate.enter().is_some());
        assert!(gates.strangers().enter().is_none(), "nothing to do there");
    }

    #[test]
    fn who_is_refused_too_often_is_not_heard_for_a_while_and_nobody_else() {
        let gates = Gates::new(10, 10, 2);
        let gate = gates.of("whatsapp", "a");
        let heard = |address, now| gates.is_heard(&gate, address, now).is_ok();
        for _ in 0..2 {
            assert!(heard(Some(address(1)), at(0)));
            gates.count_refusal(&gate, Some(address(1)), at(0));
        }
        assert!(!heard(Some(address(1)), at(0)));
        assert!(heard(Some(address(2)), at(0)));
        assert!(heard(None, at(0)));
        let other = gates.of("whatsapp", "b");
        assert!(gates.is_heard(&other, Some(address(1)), at(0)).is_ok());
        assert!(heard(Some(address(1)), at(500)));
    }

    #[test]
    fn the_addresses_remembered_are_bounded() {
        let gates = Gates::new(10, 10, 1);
        let gate = gates.strangers();
        let count = || gate.refused.lock().unwrap().len();
        for index in 0..=u32::try_from(ADDRESSES_MAX).unwrap() {
            gates.count_refusal(&gate, Some(address(index)), at(0));
        }
        assert_eq!(count(), ADDRESSES_MAX);
        gates.count_refusal(&gate, Some(address(u32::MAX)), at(2_000));
        assert_eq!(count(), 1, "the others were forgiven meanwhile");
        assert!(
            gates
                .is_heard(&gate, Some(address(u32::MAX)), at(2_000))
                .is_err()
        );
    }
}
