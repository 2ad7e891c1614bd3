//! What the outcome of an attempt tells about its conversation: whether a customer who waits is
//! answered, and whether a free entry point is open.
//!
//! It is noted with the claim, which is made on what was known then: a report that comes later
//! must not be held against what the customer has written since.

use jiff::Timestamp;

use crate::routing::{Purpose, Route};
use crate::window::{EntryPointAtStake, Facts, Policy};

/// A message about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Which way it goes.
    pub route: Route,
    /// What it is for.
    pub purpose: Purpose,
    /// It only reacts to what the customer wrote.
    pub is_reaction: bool,
}

impl Sending {
    /// Returns whether it answers a customer who waits, by whatever channel it goes. What they
    /// would have got anyway, a promotion or a code, does not, and a reaction says nothing.
    pub fn is_answer(self) -> bool {
        match self.purpose {
            Purpose::Service | Purpose::Utility => !self.is_reaction,
            Purpose::Marketing | Purpose::Authentication => false,
        }
    }
}

/// The customer who waits, and whom a message answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// Since when they wait.
    pub waiting_since: Timestamp,
    /// The last that they wrote or called, as far as is known.
    pub last_inbound_at: Timestamp,
}

impl Answers {
    /// Returns when the customer counts as answered by a call that was started at a time. What the
    /// message answers came before it, even if the platform's clock is ahead of ours.
    pub fn answered_at(self, started_at: Timestamp) -> Timestamp {
        started_at.max(self.last_inbound_at)
    }
}

/// What the outcome of an attempt tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stakes {
    /// If the message leaves, this customer is answered.
    pub answers: Option<Answers>,
    /// If the message leaves, and by what it is billed as, this entry point is open or is not.
    pub entry_point: Option<EntryPointAtStake>,
}

/// Returns what the outcome of a message that is sent now will tell.
pub fn stakes(sending: Sending, facts: &Facts, policy: &Policy, now: Timestamp) -> Stakes {
    let answers = || {
        Some(Answers {
            waiting_since: facts.waiting_since()?,
            last_inbound_at: facts.last_qualifying.as_ref()?.at,
        })
    };
    // Meta: a reply of any type opens it; what goes another way is none to Meta.
    let is_whatsapp = Route::WHATSAPP.contains(&sending.route);
    let entry_point = || facts.entry_point_at_stake(policy, now);
    Stakes {
        answers: sending.is_answer().then(answers).flatten(),
        entry_point: is_whatsapp.then(entry_point).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::id::FactId;
    use crate::inbound::{Qualifying, Recent};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A customer who wrote at these times, the first time from an ad.
    fn wrote(seconds: &[i64]) -> Facts {
        let times: Vec<_> = seconds.iter().copied().map(at).collect();
        Facts {
            last_qualifying: times.last().map(|last| Qualifying {
                at: *last,
                fact: FactId::from_u128(1),
                received_at: *last,
                provider_id: "wamid.1".to_owned(),
            }),
            referred_at: times.first().copied(),
            recent: Recent::new(times, None),
            ..Facts::default()
        }
    }

    fn answered(mut facts: Facts, second: i64) -> Facts {
        facts.evidence.answered_at = Some(at(second));
        facts
    }

    #[test]
    fn service_and_utility_answer_by_any_channel_and_nothing_else_does() {
        let table = [
            // purpose, reaction → answers
            (Purpose::Service, false, true),
            (Purpose::Utility, false, true),
            (Purpose::Marketing, false, false),
            (Purpose::Authentication, false, false),
            (Purpose::Service, true, false),
            (Purpose::Utility, true, false),
        ];
        for (purpose, is_reaction, answers) in table {
            for route in [Route::FreeForm, Route::Template, Route::Sms] {
                let sending = Sending {
                    route,
                    purpose,
                    is_reaction,
                };
                let told = stakes(sending, &wrote(&[10]), &Policy::default(), at(20));
                assert_eq!(told.answers.is_some(), answers, "{sending:?}");
                let is_reply = route != Route::Sms;
                assert_eq!(told.entry_point.is_some(), is_reply, "{sending:?}");
            }
        }
    }

    #[test]
    fn a_message_answers_all_that_is_unanswered_and_nobody_who_does_not_wait() {
        let table = [
            // facts → waits since, last words
            (wrote(&[10, 15]), Some((10, 15))),
            (answered(wrote(&[10, 15]), 12), Some((15, 15))),
            (answered(wrote(&[10, 15]), 15), None),
            (Facts::default(), None),
        ];
        let sending = Sending {
            route: Route::FreeForm,
            purpose: Purpose::Service,
            is_reaction: false,
        };
        for (facts, expected) in table {
            let told = stakes(sending, &facts, &Policy::default(), at(20));
            let expected = expected.map(|(since, last)| Answers {
                waiting_since: at(since),
                last_inbound_at: at(last),
            });
            assert_eq!(told.answers, expected, "{facts:?}");
        }
    }

    #[test]
    fn whom_a_fast_reply_answers_does_not_wait_although_metas_clock_is_ahead() {
        let answers = Answers {
            waiting_since: at(10),
            last_inbound_at: at(12),
        };
        assert_eq!(answers.answered_at(at(11)), at(12));
        let later = at(12) + SignedDuration::from_millis(1);
        assert_eq!(answers.answered_at(later), later);
        let facts = wrote(&[10, 12]);
        let mut after = facts.clone();
        after.evidence.answered_at = Some(answers.answered_at(at(11)));
        assert_eq!(after.waiting_since(), None);
        assert_eq!(facts.waiting_since(), Some(at(10)));
    }
}
