//! The customer service window: may the business write freely now, and until when?
//!
//! Two things are kept apart. `Facts` say what is true: the latest qualifying fact, the latest
//! refusal and the latest proof, each a maximum, so that order and repetition do not matter.
//! `Published` says what subscribers were last told. `decide` compares the two at a time and
//! returns the next thing to tell, one at a time, until nothing is left to say.
//!
//! A sender never asks `Published`: whether a free-form message is permitted follows from the
//! facts and the time alone. What is told stands in `telling`; who waits and who pays stands in
//! `circumstances` and `entry_point`, and neither permits anything.

use jiff::{SignedDuration, Timestamp};

use crate::inbound::{AsOf, Qualifying, Recent, Summary, ThreadOwner};

mod circumstances;
mod entry_point;
mod telling;

pub use circumstances::Circumstances;
pub use entry_point::{
    ENTRY_POINT_REPLY_WITHIN, EntryPoint, EntryPointAtStake, EntryPointState, FreeEntryPoint,
};
pub use telling::{
    Closed, Event, OpenReason, Published, decide, erase, evolve, is_unsure, next_deadline, untold,
};

/// How the window is counted and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long the window stays open after a qualifying fact. Meta: 24 hours.
    pub length: SignedDuration,
    /// How long before the end `Expiring` is told; each lead once per expiry.
    pub leads: Vec<SignedDuration>,
    /// How long before the end free-form is no longer chosen, since Meta's clock decides.
    pub guard: SignedDuration,
    /// By how much the published expiry may lag before `Extended` is written.
    pub granularity: SignedDuration,
    /// How long everything is free after the reply to a customer who came from an ad. Meta's
    /// pricing page: 72 hours; partners report seven days for some ads.
    pub free_entry_point: SignedDuration,
    /// Whether a window outlives changes that the platform's documents do not speak of.
    pub carry_over: CarryOver,
}

/// What a window outlives, where Meta does not say whether it does. The default is no: a template
/// that was not needed costs less than a reply that is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CarryOver {
    /// The number's move to another business account or provider.
    pub migration: bool,
    /// Another user id for the customer.
    pub user_id: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            length: SignedDuration::from_hours(24),
            leads: vec![SignedDuration::from_hours(2)],
            guard: SignedDuration::from_secs(60),
            granularity: SignedDuration::from_secs(60),
            free_entry_point: SignedDuration::from_hours(72),
            carry_over: CarryOver::default(),
        }
    }
}

/// What is true about a window, as a join of facts in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The latest fact that opened or refreshed it.
    pub last_qualifying: Option<Qualifying>,
    /// When the newest of such facts happened.
    pub recent: Recent,
    /// What Meta proved, and what became of our messages.
    pub evidence: Evidence,
    /// The latest time at which the business answered by other means than Casement.
    pub answered_at: Option<Timestamp>,
    /// Since when subscribers were last told that the customer waits.
    pub told_waiting_since: Option<Timestamp>,
    /// The latest message that the customer wrote from an ad or a page's button.
    pub referred_at: Option<Timestamp>,
    /// The latest time at which the platform gave the customer another user id.
    pub user_id_changed_at: Option<Timestamp>,
    /// When the number last moved to another business account or provider.
    pub number_migrated_at: Option<Timestamp>,
    /// When the customer proved to be another one, who carries the window on.
    pub merged_at: Option<Timestamp>,
    /// When the customer was erased.
    pub erased_at: Option<Timestamp>,
    /// Who owns the thread, by the latest word; `None` if nobody ever said.
    pub thread_owner: Option<AsOf<ThreadOwner>>,
    /// The last facts of windows before the newest that nobody was told of, oldest first. Looked up
    /// where [`untold`] says so, and empty otherwise.
    pub untold: Vec<Qualifying>,
}

impl Facts {
    /// Takes what the customer's own facts say.
    pub fn of(summary: &Summary) -> Self {
        Self {
            last_qualifying: summary.last_qualifying.clone(),
            recent: summary.recent.clone(),
            answered_at: summary.answered_at,
            referred_at: summary.referred_at,
            user_id_changed_at: summary.user_id_changed_at,
            thread_owner: summary.thread_owner,
            evidence: summary.carried,
            ..Self::default()
        }
    }

    /// Adds what Meta proved.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence = self.evidence.join(evidence);
        self
    }

    /// Returns what both amount to together; only that one of them ended is not carried on.
    #[must_use]
    pub fn carried_on_by(self, survivor: Self) -> Self {
        Self {
            last_qualifying: self.last_qualifying.max(survivor.last_qualifying),
            recent: self.recent.join(survivor.recent),
            evidence: self.evidence.join(survivor.evidence),
            answered_at: self.answered_at.max(survivor.answered_at),
            // Who waited longer was told of first; an answer after that ends both.
            told_waiting_since: match (self.told_waiting_since, survivor.told_waiting_since) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            referred_at: self.referred_at.max(survivor.referred_at),
            user_id_changed_at: self.user_id_changed_at.max(survivor.user_id_changed_at),
            number_migrated_at: self.number_migrated_at.max(survivor.number_migrated_at),
            merged_at: survivor.merged_at,
            erased_at: self.erased_at.max(survivor.erased_at),
            thread_owner: self.thread_owner.max(survivor.thread_owner),
            untold: survivor.untold,
        }
    }

    /// Returns when the window ends or ended by time; `None` if the customer never wrote.
    pub fn expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        self.last_qualifying
            .as_ref()
            .map(|last| later(last.at, policy.length))
    }

    /// Returns what closed the window before its time, and when, unless the customer's last fact or
    /// the last proof is later: Meta's refusal, or a change that windows do not outlive here.
    pub fn cut(&self, policy: &Policy) -> Option<(Timestamp, ClosedReason)> {
        let carry_over = policy.carry_over;
        let migrated = self.number_migrated_at.filter(|_| !carry_over.migration);
        let renamed = self.user_id_changed_at.filter(|_| !carry_over.user_id);
        let (at, reason) = [
            (self.evidence.refused_at, ClosedReason::Corrected),
            (migrated, ClosedReason::NumberMigrated),
            (renamed, ClosedReason::UserIdChanged),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some((at?, reason)))
        .max_by_key(|(at, _)| *at)?;
        let written = self.last_qualifying.as_ref().map(|last| last.at);
        (Some(at) >= written && Some(at) >= self.evidence.proven_at).then_some((at, reason))
    }

    /// Returns whether the window is open at this time.
    pub fn is_open(&self, policy: &Policy, now: Timestamp) -> bool {
        self.erased_at.is_none()
            && self.merged_at.is_none()
            && self.cut(policy).is_none()
            && self.expires_at(policy).is_some_and(|expires| now < expires)
    }

    /// Returns whether, and until when, free-form may be sent.
    pub fn free_form(&self, policy: &Policy, now: Timestamp) -> FreeForm {
        let Some(expires) = self
            .expires_at(policy)
            .filter(|_| self.is_open(policy, now))
        else {
            return FreeForm::Refused(Refusal::WindowClosed);
        };
        if self.thread_owner(policy, now) == Some(ThreadOwner::Other) {
            return FreeForm::Refused(Refusal::ThreadOwnedByOther);
        }
        let until = earlier(expires, policy.guard);
        if now < until {
            FreeForm::Allowed { until }
        } else {
            FreeForm::Refused(Refusal::GuardBand)
        }
    }

    /// Returns why the window is closed at this time; `None` while it is open.
    pub fn closed_reason(&self, policy: &Policy, now: Timestamp) -> Option<ClosedReason> {
        if self.is_open(policy, now) {
            None
        } else if self.erased_at.is_some() {
            Some(ClosedReason::Erased)
        } else if self.merged_at.is_some() {
            Some(ClosedReason::Merged)
        } else if self.last_qualifying.is_none() {
            Some(ClosedReason::NeverWrote)
        } else {
            let cut = self.cut(policy);
            Some(cut.map_or(ClosedReason::Expired, |(_, reason)| reason))
        }
    }
}

/// What Meta proved about a window, joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Latest start of a free-form call that Meta refused as outside the window.
    pub refused_at: Option<Timestamp>,
    /// Latest start of a free-form call whose message was delivered.
    pub proven_at: Option<Timestamp>,
    /// Latest start of a call that answered a waiting customer, and whose message left.
    pub answered_at: Option<Timestamp>,
    /// What the latest reply to a customer who came from an ad began.
    pub entry_point: Option<EntryPoint>,
}

impl Evidence {
    /// Returns the part of it that bears on whether the window is open.
    #[must_use]
    pub fn of_window(self) -> Self {
        Self {
            refused_at: self.refused_at,
            proven_at: self.proven_at,
            ..Self::default()
        }
    }

    /// Returns what both amount to together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            refused_at: self.refused_at.max(other.refused_at),
            proven_at: self.proven_at.max(other.proven_at),
            answered_at: self.answered_at.max(other.answered_at),
            entry_point: EntryPoint::join(self.entry_point, other.entry_point),
        }
    }
}

/// Whether free-form may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeForm {
    /// Yes, if the call starts before this time.
    Allowed {
        /// End of the window less the guard band.
        until: Timestamp,
    },
    /// No.
    Refused(Refusal),
}

/// Why free-form may not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The window is closed.
    WindowClosed,
    /// The window ends too soon to trust our clock against Meta's.
    GuardBand,
    /// Another responder owns the thread.
    ThreadOwnedByOther,
}

impl Refusal {
    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WindowClosed => "WINDOW_CLOSED",
            Self::GuardBand => "GUARD_BAND",
            Self::ThreadOwnedByOther => "THREAD_OWNED_BY_OTHER",
        }
    }
}

/// Why a window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedReason {
    /// The customer never wrote to this number.
    NeverWrote,
    /// Its time ran out.
    Expired,
    /// Meta refused a free-form message as outside the window.
    Corrected,
    /// The customer proved to be another one.
    Merged,
    /// The number moved to another business account or provider; see [`CarryOver`].
    NumberMigrated,
    /// The platform gave the customer another user id; see [`CarryOver`].
    UserIdChanged,
    /// The customer was erased.
    Erased,
}

impl ClosedReason {
    /// Returns whether the window closed before its time, though the customer is who they were.
    pub fn is_cut(self) -> bool {
        match self {
            Self::Corrected | Self::NumberMigrated | Self::UserIdChanged => true,
            Self::NeverWrote | Self::Expired | Self::Merged | Self::Erased => false,
        }
    }
}

pub(crate) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod changes;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waiting;
