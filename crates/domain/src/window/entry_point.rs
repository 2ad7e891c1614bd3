//! The free entry point: what Meta does not bill after a customer came from an ad or a page's
//! button.
//!
//! A second clock beside the window, for billing alone: it never permits free-form. Whether it
//! runs is provisional until a status says so, since a webhook does not tell the customer's device.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::{Facts, Policy, later};
use crate::inbound::AsOf;

/// Within how long the business must reply for the entry point to open. Meta: pricing, free entry
/// point windows.
pub const ENTRY_POINT_REPLY_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// What the reply to a customer who came from an ad began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPoint {
    /// When the customer came; `None` if that was never heard of, and only Meta's word says so.
    pub referred_at: Option<Timestamp>,
    /// Start of the call of the first reply: from then on the clock runs. The customer's coming, if
    /// the reply was made by other means than Casement and all that is known is that it came later.
    pub replied_at: Timestamp,
    /// When it ends, if Meta said so.
    pub told_end: Option<Timestamp>,
    /// Whether Meta billed a message as in a free entry point; `None` before it said either way.
    pub is_confirmed: Option<AsOf<bool>>,
}

impl EntryPoint {
    /// Returns what both amount to together: the customer's later coming counts, and of that all
    /// that is known.
    #[must_use]
    pub fn join(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (one, other) else {
            return one.or(other);
        };
        Some(match one.came_at().cmp(&other.came_at()) {
            Ordering::Less => other,
            Ordering::Greater => one,
            Ordering::Equal => Self {
                referred_at: one.referred_at.max(other.referred_at),
                replied_at: one.replied_at.min(other.replied_at),
                told_end: one.told_end.max(other.told_end),
                is_confirmed: one.is_confirmed.max(other.is_confirmed),
            },
        })
    }

    /// Returns when the clock runs out.
    pub fn ends_at(&self, policy: &Policy) -> Timestamp {
        self.told_end
            .unwrap_or_else(|| later(self.replied_at, policy.free_entry_point))
    }

    /// Returns whether a message that was sent at this time was sent within it.
    pub fn covers(&self, policy: &Policy, at: Timestamp) -> bool {
        self.replied_at <= at && at < self.ends_at(policy)
    }

    /// Tells one coming of the customer from another: not later than this they had come.
    fn came_at(&self) -> Timestamp {
        self.referred_at.unwrap_or(self.replied_at)
    }

    fn is_denied(&self) -> bool {
        self.is_confirmed.is_some_and(|told| !told.value)
    }
}

/// The free entry point that the outcome of a message tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPointAtStake {
    /// When the customer came; `None` if that was never heard of.
    pub referred_at: Option<Timestamp>,
    /// Since when the clock runs, at the earliest, if the business had replied before; `None` if
    /// this message is the first reply.
    pub replied_at: Option<Timestamp>,
}

/// How a free entry point stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPointState {
    /// The customer came from an ad: a reply until `until` opens it.
    AwaitingReply,
    /// Messages are free until `until`.
    Open,
    /// It ended at `until`.
    Ended,
    /// Meta billed a message all the same: there is none.
    Denied,
}

/// A free entry point as answers and events state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeEntryPoint {
    /// How it stands.
    pub state: EntryPointState,
    /// When the customer came from the ad; `None` if only Meta's word says so.
    pub referred_at: Option<Timestamp>,
    /// Since when messages are free; `None` before a reply, and if the reply came by other means
    /// than Casement.
    pub from: Option<Timestamp>,
    /// Until when it can be opened, or is open, or was.
    pub until: Timestamp,
    /// Whether Meta has said so by what it billed, rather than us by what should follow.
    pub is_confirmed: bool,
}

impl Facts {
    /// Returns how the free entry point stands; `None` if the customer came from none, or nobody
    /// replied in time.
    pub fn free_entry_point(&self, policy: &Policy, now: Timestamp) -> Option<FreeEntryPoint> {
        let known = self
            .evidence
            .entry_point
            .map(|entry| stands(&entry, policy, now));
        if known.is_some_and(|known| known.state == EntryPointState::Open) {
            return known;
        }
        self.newer_referral()
            .and_then(|referred| self.newly_referred(referred, policy, now))
            .or(known)
    }

    /// Returns the entry point that the outcome of a message that is sent now tells about: the
    /// message is the reply that opens it, or the first that Meta will have billed in it.
    pub fn entry_point_at_stake(
        &self,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<EntryPointAtStake> {
        // Who came again while one was open is replied to, too.
        let newer = self.newer_referral();
        let stake = newer.and_then(|referred| {
            let newer = self.newly_referred(referred, policy, now)?;
            let replied_at = match newer.state {
                EntryPointState::AwaitingReply => None,
                // The reply from the phone came not before that.
                EntryPointState::Open => Some(referred),
                EntryPointState::Ended | EntryPointState::Denied => return None,
            };
            Some(EntryPointAtStake {
                referred_at: Some(referred),
                replied_at,
            })
        });
        stake.or_else(|| {
            let known = self.evidence.entry_point?;
            let is_undecided = known.is_confirmed.is_none() && now < known.ends_at(policy);
            is_undecided.then_some(EntryPointAtStake {
                referred_at: known.referred_at,
                replied_at: Some(known.replied_at),
            })
        })
    }

    /// The customer's latest coming, unless a reply to it is known.
    fn newer_referral(&self) -> Option<Timestamp> {
        let known = self.evidence.entry_point;
        self.referred_at
            .filter(|referred| known.is_none_or(|known| *referred > known.came_at()))
    }

    fn newly_referred(
        &self,
        referred: Timestamp,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<FreeEntryPoint> {
        let reply_by = later(referred, ENTRY_POINT_REPLY_WITHIN);
        let is_answered = self
            .answered_at
            .is_some_and(|answered| answered > referred && answered < reply_by);
        // Replied from the phone, perhaps more than once, the first time not before this.
        let (state, until) = if is_answered {
            let until = later(referred, policy.free_entry_point);
            let is_over = now >= until;
            let state = if is_over {
                EntryPointState::Ended
            } else {
                EntryPointState::Open
            };
            (state, until)
        } else if now < reply_by {
            (EntryPointState::AwaitingReply, reply_by)
        } else {
            return None;
        };
        Some(FreeEntryPoint {
            state,
            referred_at: Some(referred),
            from: None,
            until,
            is_confirmed: false,
        })
    }
}

fn stands(entry: &EntryPoint, policy: &Policy, now: Timestamp) -> FreeEntryPoint {
    let until = entry.ends_at(policy);
    let state = if entry.is_denied() {
        EntryPointState::Denied
    } else if now < until {
        EntryPointState::Open
    } else {
        EntryPointState::Ended
    };
    FreeEntryPoint {
        state,
        referred_at: entry.referred_at,
        // No reply comes in the moment of the coming: it was another's, at a time not known.
        from: Some(entry.replied_at).filter(|from| Some(*from) != entry.referred_at),
        until,
        is_confirmed: entry.is_confirmed.is_some_and(|told| told.value),
    }
}

#[cfg(test)]
mod tests;
