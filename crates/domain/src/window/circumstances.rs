//! What every answer and event about a window states besides when it ends: how long the customer
//! has waited, who owns the thread, and whether Meta bills.
//!
//! Nothing here opens a window or closes one.

use jiff::Timestamp;

use super::{Facts, FreeEntryPoint, Policy, Published};
use crate::inbound::ThreadOwner;

/// What was true about a conversation at a time, apart from its window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Since when the customer waits for an answer: their first qualifying fact after our last
    /// one. `None` if the last word is ours.
    pub waiting_since: Option<Timestamp>,
    /// Who owns the thread; `None` if nobody ever said.
    pub thread_owner: Option<ThreadOwner>,
    /// The clock of a free entry point; `None` if the customer did not come from one, or long ago.
    pub free_entry_point: Option<FreeEntryPoint>,
}

impl Facts {
    /// Returns what is stated besides the window.
    pub fn circumstances(&self, policy: &Policy, now: Timestamp) -> Circumstances {
        Circumstances {
            waiting_since: self.waiting_since(),
            thread_owner: self.thread_owner(policy, now),
            free_entry_point: self.free_entry_point(policy, now),
        }
    }

    /// Returns what was true when a window ended that is told only now, after the customer has
    /// written again.
    pub(super) fn circumstances_at_end(
        &self,
        window: &Published,
        policy: &Policy,
        ended_at: Timestamp,
    ) -> Circumstances {
        let told = window.circumstances;
        let answered = self.last_answer_at();
        let waiting_since = if answered >= Some(ended_at) {
            // Whether there was an answer before that one, too, nobody knows.
            told.waiting_since
        } else {
            let heard = self.recent.first_after(answered);
            let heard = heard.filter(|heard| *heard < ended_at);
            let told = told.waiting_since.filter(|told| Some(*told) > answered);
            heard.into_iter().chain(told).min()
        };
        let replied = self.evidence.entry_point.map(|entry| entry.replied_at);
        let is_new = self.referred_at.max(replied) >= Some(ended_at);
        Circumstances {
            waiting_since,
            thread_owner: told.thread_owner.map(|_| ThreadOwner::Idle),
            free_entry_point: if is_new {
                told.free_entry_point
            } else {
                self.free_entry_point(policy, ended_at)
            },
        }
    }

    /// Returns the latest answer of ours, by whatever means.
    pub fn last_answer_at(&self) -> Option<Timestamp> {
        self.answered_at.max(self.evidence.answered_at)
    }

    /// Returns since when the customer waits: the first of what they wrote, or called, after our
    /// last answer. `None` if the last word is ours, or nothing was ever said.
    ///
    /// If they wrote more than is kept before anything was told about it, they wait since a
    /// little earlier than this says.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        let answered = self.last_answer_at();
        let last = self.last_qualifying.as_ref()?.at;
        if Some(last) <= answered {
            return None;
        }
        let heard = self.recent.first_after(answered).unwrap_or(last);
        let told = self
            .told_waiting_since
            .filter(|told| Some(*told) > answered);
        Some(told.map_or(heard, |told| told.min(heard)))
    }

    /// Returns who owns the thread. Conversation routing: it is nobody's once the customer has
    /// been silent for as long as a window lasts.
    pub fn thread_owner(&self, policy: &Policy, now: Timestamp) -> Option<ThreadOwner> {
        let known = self.thread_owner?.value;
        let is_silent = self.expires_at(policy).is_some_and(|end| now >= end);
        Some(if is_silent { ThreadOwner::Idle } else { known })
    }
}
