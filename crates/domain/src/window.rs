//! The customer service window: may the business write freely now, and until when?
//!
//! Two things are kept apart. `Facts` say what is true: the latest qualifying fact, the latest
//! refusal and the latest proof, each a maximum, so that order and repetition do not matter.
//! `Published` says what subscribers were last told. `decide` compares the two at a time and
//! returns the next thing to tell, one at a time, until nothing is left to say.
//!
//! A sender never asks `Published`: whether a free-form message is permitted follows from the
//! facts and the time alone.

use jiff::{SignedDuration, Timestamp};

use crate::id::FactId;
use crate::inbound::{Qualifying, Summary, ThreadOwner};

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
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            length: SignedDuration::from_hours(24),
            leads: vec![SignedDuration::from_hours(2)],
            guard: SignedDuration::from_secs(60),
            granularity: SignedDuration::from_secs(60),
        }
    }
}

/// What is true about a window, as a join of facts in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The latest fact that opened or refreshed it.
    pub last_qualifying: Option<Qualifying>,
    /// Latest start of a free-form call that Meta refused as outside the window.
    pub refused_at: Option<Timestamp>,
    /// Latest start of a free-form call whose message was delivered.
    pub proven_at: Option<Timestamp>,
    /// When the customer proved to be another one, who carries the window on.
    pub merged_at: Option<Timestamp>,
    /// Who owns the thread; `None` if nobody ever said.
    pub thread_owner: Option<ThreadOwner>,
}

impl Facts {
    /// Takes what the customer's own facts say.
    pub fn of(summary: &Summary) -> Self {
        Self {
            last_qualifying: summary.last_qualifying.clone(),
            thread_owner: summary.thread_owner.as_ref().map(|known| known.value),
            ..Self::default()
        }
    }

    /// Adds what Meta proved.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.refused_at = self.refused_at.max(evidence.refused_at);
        self.proven_at = self.proven_at.max(evidence.proven_at);
        self
    }

    /// Returns when the window ends or ended by time; `None` if the customer never wrote.
    pub fn expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        self.last_qualifying
            .as_ref()
            .map(|last| later(last.at, policy.length))
    }

    /// Returns whether Meta's latest word is that the window is closed: a refusal that is
    /// older neither than the customer's last fact nor than the last proof.
    pub fn is_refused(&self) -> bool {
        let Some(refused) = self.refused_at else {
            return false;
        };
        let written = self.last_qualifying.as_ref().map(|last| last.at);
        Some(refused) >= written && Some(refused) >= self.proven_at
    }

    /// Returns whether the window is open at this time.
    pub fn is_open(&self, policy: &Policy, now: Timestamp) -> bool {
        self.merged_at.is_none()
            && !self.is_refused()
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
        if self.thread_owner == Some(ThreadOwner::Other) {
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
        } else if self.merged_at.is_some() {
            Some(ClosedReason::Merged)
        } else if self.last_qualifying.is_none() {
            Some(ClosedReason::NeverWrote)
        } else if self.is_refused() {
            Some(ClosedReason::Corrected)
        } else {
            Some(ClosedReason::Expired)
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
}

impl Evidence {
    /// Returns what both amount to together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            refused_at: self.refused_at.max(other.refused_at),
            proven_at: self.proven_at.max(other.proven_at),
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
}

/// Why a window opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenReason {
    /// The customer wrote or called.
    Customer,
    /// A fact from before the last expiry arrived after it, and is still current.
    LateEvidence,
    /// After a refusal, Meta delivered a free-form message.
    Proven,
}

/// A window as subscribers were last told. Every window event carries all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The fact that opened it; number, customer and this make its id.
    pub opening_fact: FactId,
    /// When it opened, by the platform's clock.
    pub opened_at: Timestamp,
    /// When it ends. May lag behind the truth by less than the granularity, never ahead.
    pub expires_at: Timestamp,
    /// How and when it closed; `None` while open.
    pub closed: Option<Closed>,
    /// The latest qualifying fact it was told with.
    pub last_inbound: Qualifying,
    /// The leads told for this expiry.
    pub announced: Vec<SignedDuration>,
    /// The opening fact of the window before it.
    pub previous: Option<FactId>,
    /// Evidence it was told with.
    pub evidence: Evidence,
}

/// How a published window closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub reason: ClosedReason,
    /// When, by its own clock.
    pub at: Timestamp,
}

/// What subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The customer may be answered freely.
    Opened {
        /// The window after this event.
        window: Published,
        /// Why it opened.
        reason: OpenReason,
    },
    /// It ends later than last told.
    Extended {
        /// The window after this event.
        window: Published,
    },
    /// It ends within the lead.
    Expiring {
        /// The window after this event.
        window: Published,
        /// The lead.
        lead: SignedDuration,
    },
    /// Its time ran out.
    Expired {
        /// The window after this event.
        window: Published,
    },
    /// It closed otherwise than by time; `window.closed` says how.
    Corrected {
        /// The window after this event.
        window: Published,
    },
}

impl Event {
    /// Returns the window as it stands after the event.
    pub fn window(&self) -> &Published {
        match self {
            Self::Opened { window, .. }
            | Self::Extended { window }
            | Self::Expiring { window, .. }
            | Self::Expired { window }
            | Self::Corrected { window } => window,
        }
    }
}

/// Returns the next thing to tell about a window; nothing, if all has been told.
///
/// Call it again after each event: one append, one event. A fact that arrived after its own
/// window had ended is never told as an opening.
pub fn decide(
    published: Option<&Published>,
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    let last = facts.last_qualifying.as_ref()?;
    match published {
        Some(window) if window.closed.is_none() => decide_open(window, last, facts, policy, now),
        _ => decide_closed(published, last, facts, policy, now),
    }
}

/// Folds one event into what subscribers know.
#[must_use]
pub fn evolve(_: Option<Published>, event: &Event) -> Option<Published> {
    Some(event.window().clone())
}

/// Returns when time alone next gives `decide` something to tell about an open window.
///
/// The present facts may have moved the end further; then the taker of the deadline finds
/// nothing to tell and asks again.
pub fn next_deadline(
    published: Option<&Published>,
    facts: &Facts,
    policy: &Policy,
) -> Option<Timestamp> {
    let window = published.filter(|window| window.closed.is_none())?;
    let expires = facts.expires_at(policy).unwrap_or(window.expires_at);
    unannounced(window, policy)
        .map(|lead| earlier(expires, lead))
        .chain([expires])
        .min()
}

fn decide_open(
    window: &Published,
    last: &Qualifying,
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    let expires_at = later(last.at, policy.length);
    let evidence = Evidence {
        refused_at: facts.refused_at,
        proven_at: facts.proven_at,
    };
    let current = Published {
        last_inbound: last.clone(),
        evidence,
        ..window.clone()
    };

    if let Some(at) = facts.merged_at {
        let closed = Some(Closed {
            reason: ClosedReason::Merged,
            at,
        });
        return Some(Event::Corrected {
            window: Published { closed, ..current },
        });
    }
    if let Some(at) = facts.refused_at.filter(|_| facts.is_refused()) {
        let closed = Some(Closed {
            reason: ClosedReason::Corrected,
            at,
        });
        return Some(Event::Corrected {
            window: Published { closed, ..current },
        });
    }
    // The customer wrote again only after this window had ended: two windows, not one.
    if last.at >= later(window.expires_at, policy.granularity) && last.at > window.last_inbound.at {
        let closed = Some(Closed {
            reason: ClosedReason::Expired,
            at: window.expires_at,
        });
        return Some(Event::Expired {
            window: Published {
                closed,
                ..window.clone()
            },
        });
    }
    if now >= expires_at {
        let closed = Some(Closed {
            reason: ClosedReason::Expired,
            at: expires_at,
        });
        return Some(Event::Expired {
            window: Published {
                expires_at,
                closed,
                ..current
            },
        });
    }
    if expires_at > later(window.expires_at, policy.granularity) {
        let announced = Vec::new();
        return Some(Event::Extended {
            window: Published {
                expires_at,
                announced,
                ..current
            },
        });
    }
    let lead = unannounced(window, policy).find(|lead| now >= earlier(expires_at, *lead))?;
    let mut announced = window.announced.clone();
    announced.push(lead);
    Some(Event::Expiring {
        window: Published {
            expires_at,
            announced,
            ..current
        },
        lead,
    })
}

fn decide_closed(
    published: Option<&Published>,
    last: &Qualifying,
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    if facts.merged_at.is_some() || facts.is_refused() {
        return None;
    }
    let expires_at = later(last.at, policy.length);
    let opening = Published {
        opening_fact: last.fact,
        opened_at: last.at,
        expires_at,
        closed: None,
        last_inbound: last.clone(),
        announced: Vec::new(),
        previous: published.map(|window| window.opening_fact),
        evidence: Evidence {
            refused_at: facts.refused_at,
            proven_at: facts.proven_at,
        },
    };
    let closed = published.and_then(|window| window.closed.map(|closed| (window, closed)));

    if now >= expires_at {
        // It ended before anyone was told. That is worth telling once, if the fact itself came
        // in time; what arrived too late opened nothing.
        let is_untold = published.is_none_or(|window| *last > window.last_inbound);
        let came_in_time = last.received_at < expires_at;
        let closed = Some(Closed {
            reason: ClosedReason::Expired,
            at: expires_at,
        });
        return (is_untold && came_in_time).then_some(Event::Expired {
            window: Published { closed, ..opening },
        });
    }
    Some(match closed {
        Some((window, closed))
            if closed.reason == ClosedReason::Corrected && last.at <= closed.at =>
        {
            let window = Published {
                opening_fact: window.opening_fact,
                opened_at: window.opened_at,
                previous: window.previous,
                ..opening
            };
            Event::Opened {
                window,
                reason: OpenReason::Proven,
            }
        }
        Some((_, closed)) if closed.reason == ClosedReason::Expired && last.at < closed.at => {
            Event::Opened {
                window: opening,
                reason: OpenReason::LateEvidence,
            }
        }
        _ => Event::Opened {
            window: opening,
            reason: OpenReason::Customer,
        },
    })
}

/// Leads not yet told for this expiry, longest first.
fn unannounced(window: &Published, policy: &Policy) -> impl Iterator<Item = SignedDuration> {
    let mut leads: Vec<_> = policy
        .leads
        .iter()
        .copied()
        .filter(|lead| !window.announced.contains(lead))
        .collect();
    leads.sort_unstable_by(|a, b| b.cmp(a));
    leads.into_iter()
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
