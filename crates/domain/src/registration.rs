//! How often a number may still be registered and deregistered.
//!
//! WhatsApp Cloud API: a number may be registered ten times and deregistered ten times in 72 hours;
//! the call after that is refused (133016) and locks the number for 72 hours. So calls are counted
//! here before they are made, and the eleventh is refused with the time when it is possible again.
//! A call counts from the moment it is begun: whether it had its effect may never be known.
//!
//! It makes no call and keeps nothing: who calls records the [`Tally`] first.

use jiff::{SignedDuration, Timestamp};

/// How many calls of one kind fit into [`SPAN`].
pub const CALLS_MAX: usize = 10;

/// The span in which calls count, and for which a lock holds.
pub const SPAN: SignedDuration = SignedDuration::from_hours(72);

/// What is done to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// It is put on the API.
    Register,
    /// It is taken off the API.
    Deregister,
}

/// What was done to a number lately. Times may come in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// When it was registered, or tried to be.
    pub registers: Vec<Timestamp>,
    /// When it was deregistered, or tried to be.
    pub deregisters: Vec<Timestamp>,
    /// Until when the platform has locked it.
    pub locked_until: Option<Timestamp>,
}

/// Why a number cannot be registered or deregistered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The platform would lock it.
    #[error(
        "number was {} ten times in 72 hours: once more would lock it; possible again at {until}",
        match act { Act::Register => "registered", Act::Deregister => "deregistered" }
    )]
    Spent {
        /// What was asked for.
        act: Act,
        /// When it is possible again.
        until: Timestamp,
    },
    /// The platform has locked it (133016).
    #[error("platform has locked the number's registration until {until}")]
    Locked {
        /// When the lock ends.
        until: Timestamp,
    },
}

impl Refusal {
    /// Returns when it is possible again.
    pub fn until(self) -> Timestamp {
        match self {
            Self::Spent { until, .. } | Self::Locked { until } => until,
        }
    }
}

impl Tally {
    /// Returns the tally with one more call, to be recorded before the call is made.
    ///
    /// # Errors
    /// The call must not be made before [`Refusal::until`].
    pub fn claim(&self, act: Act, now: Timestamp) -> Result<Self, Refusal> {
        if let Some(until) = self.locked_until.filter(|until| now < *until) {
            return Err(Refusal::Locked { until });
        }
        let mut claimed = self.recent(now);
        let calls = claimed.calls(act);
        calls.sort_unstable();
        if let Some(oldest) = calls.len().checked_sub(CALLS_MAX) {
            let until = after(calls[oldest]);
            return Err(Refusal::Spent { act, until });
        }
        calls.push(now);
        Ok(claimed)
    }

    /// Returns how many calls are left now; none while it is locked.
    pub fn left(&self, act: Act, now: Timestamp) -> usize {
        if self.locked_until.is_some_and(|until| now < until) {
            return 0;
        }
        CALLS_MAX.saturating_sub(self.recent(now).calls(act).len())
    }

    /// Returns the tally after the platform has refused a call with 133016: nobody says for how
    /// long the lock still holds, so it is taken to have begun now.
    #[must_use]
    pub fn locked(&self, now: Timestamp) -> Self {
        Self {
            locked_until: self.locked_until.max(Some(after(now))),
            ..self.recent(now)
        }
    }

    /// What still counts. A clock that went back makes no call count twice, nor forget one.
    fn recent(&self, now: Timestamp) -> Self {
        let counts = |times: &[Timestamp]| {
            let counts = times.iter().copied().filter(|time| now < after(*time));
            counts.collect()
        };
        Self {
            registers: counts(&self.registers),
            deregisters: counts(&self.deregisters),
            locked_until: self.locked_until.filter(|until| now < *until),
        }
    }

    fn calls(&mut self, act: Act) -> &mut Vec<Timestamp> {
        match act {
            Act::Register => &mut self.registers,
            Act::Deregister => &mut self.deregisters,
        }
    }
}

fn after(time: Timestamp) -> Timestamp {
    time.checked_add(SPAN).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3_600).unwrap()
    }

    fn ten_from(hour: i64) -> Tally {
        let tally = Tally::default();
        (hour..hour + 10).fold(tally, |tally, hour| {
            tally.claim(Act::Register, at(hour)).unwrap()
        })
    }

    #[test]
    fn the_eleventh_call_waits_until_the_first_is_72_hours_old() {
        let tally = ten_from(0);
        let spent = Refusal::Spent {
            act: Act::Register,
            until: at(72),
        };
        assert_eq!(tally.left(Act::Register, at(10)), 0);
        assert_eq!(tally.claim(Act::Register, at(10)), Err(spent));
        assert_eq!(tally.claim(Act::Register, at(71)), Err(spent));
        let more = tally.claim(Act::Register, at(72)).unwrap();
        assert_eq!(more.registers.len(), 10);
        assert_eq!(
            more.claim(Act::Register, at(72)).map_err(Refusal::until),
            Err(at(73))
        );
    }

    #[test]
    fn each_kind_has_a_budget_of_its_own() {
        let tally = ten_from(0).claim(Act::Deregister, at(10)).unwrap();
        assert_eq!(tally.left(Act::Deregister, at(10)), 9);
        assert_eq!(tally.left(Act::Register, at(10)), 0);
    }

    #[test]
    fn a_lock_stops_both_for_72_hours_and_never_gets_shorter() {
        let tally = Tally::default().locked(at(5)).locked(at(1));
        for act in [Act::Register, Act::Deregister] {
            let locked = Refusal::Locked { until: at(77) };
            assert_eq!(tally.claim(act, at(76)), Err(locked));
            assert_eq!(tally.left(act, at(76)), 0);
            assert_eq!(tally.left(act, at(77)), 10);
            for over in [at(77), at(78)] {
                let claimed = tally.claim(act, over).unwrap();
                assert_eq!(claimed.locked_until, None, "what is over is not kept");
            }
        }
        let early = tally.locked(at(76));
        assert_eq!(early.locked_until, Some(at(148)));
        assert_eq!(tally.locked(at(4)).locked_until, Some(at(77)));
    }

    proptest! {
        #[test]
        fn no_72_hours_ever_hold_more_than_ten_calls(
            steps in prop::collection::vec((0_i64..40, any::<bool>()), 1..80),
        ) {
            let (mut tally, mut hour, mut made) = (Tally::default(), 0, Vec::new());
            for (step, is_register) in steps {
                hour += step;
                let act = if is_register { Act::Register } else { Act::Deregister };
                match tally.claim(act, at(hour)) {
                    Ok(claimed) => {
                        tally = claimed;
                        made.push((act, hour));
                    }
                    Err(refusal) => {
                        prop_assert!(refusal.until() > at(hour));
                        prop_assert!(tally.claim(act, refusal.until()).is_ok());
                    }
                }
                for act in [Act::Register, Act::Deregister] {
                    let within = made.iter().filter(|(of, then)| *of == act && hour - then < 72);
                    prop_assert!(within.count() <= CALLS_MAX);
                }
            }
        }
    }
}
