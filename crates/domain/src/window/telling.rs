//! What subscribers are told about a window, and when.
//!
//! One event at a time, from what they were last told and from what is true. A fact is never told
//! by itself: only what it changes.

use jiff::{SignedDuration, Timestamp};

use super::{Circumstances, ClosedReason, Evidence, Facts, Policy, earlier, later};
use crate::id::FactId;
use crate::inbound::{Gap, Qualifying};

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
    /// What Meta had proved about the window when it was told; no more of the evidence.
    pub evidence: Evidence,
    /// Who waits, who owns the thread and who pays, as it was told.
    pub circumstances: Circumstances,
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
    // Nothing is told of whom was erased, but the end.
    if facts.erased_at.is_some() || published.is_some_and(is_of_the_erased) {
        return None;
    }
    match published {
        Some(window) if window.closed.is_none() => decide_open(window, last, facts, policy, now),
        _ => decide_closed(published, last, facts, policy, now),
    }
}

/// Returns the end of the window of a customer who was erased; nothing if it has ended, or there was
/// none.
pub fn erase(published: Option<&Published>, erased_at: Timestamp) -> Option<Event> {
    let window = published.filter(|window| window.closed.is_none())?;
    let closed = Some(Closed {
        reason: ClosedReason::Erased,
        at: erased_at,
    });
    Some(Event::Corrected {
        window: Published {
            closed,
            ..window.clone()
        },
    })
}

fn is_of_the_erased(window: &Published) -> bool {
    window
        .closed
        .is_some_and(|closed| closed.reason == ClosedReason::Erased)
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

/// Returns whether the customer wrote more since a window was last told than is kept, so that
/// nobody can say whether it has ended in between, or another one came and went. Then every fact
/// since should be looked up, and [`crate::inbound::Recent::filled`] in; what was told is all there is
/// to go by otherwise.
pub fn is_unsure(published: Option<&Published>, facts: &Facts, policy: &Policy) -> bool {
    match published {
        Some(window) if window.closed.is_none() => {
            let from = window.last_inbound.at;
            facts.recent.end_before_gap(from, policy.length) == Gap::Unknown
        }
        _ => facts.recent.since() > published.map(|window| window.last_inbound.at),
    }
}

/// Returns when the last facts happened of windows that came and went while nobody told anything, and
/// were followed by another one; oldest first. What is known of these facts should be looked up, and
/// put into [`Facts::untold`].
pub fn untold(published: Option<&Published>, facts: &Facts, policy: &Policy) -> Vec<Timestamp> {
    if published.is_some_and(|window| window.closed.is_none()) {
        // First its own end is told.
        return Vec::new();
    }
    let from = published.map(|window| window.last_inbound.at);
    let mut last = facts.recent.last_of_earlier(from, policy.length);
    last.retain(|at| is_of_another(published, *at, policy));
    last
}

/// Whether the window that a fact was the last one of is another than the one that was told as closed.
fn is_of_another(published: Option<&Published>, last: Timestamp, policy: &Policy) -> bool {
    published.is_none_or(|window| {
        let cut = window.closed.filter(|closed| closed.reason.is_cut());
        // What was told ended with its last fact, which may be a later one than it was told with.
        later(last, policy.length) > window.expires_at && cut.is_none_or(|cut| last > cut.at)
    })
}

fn decide_open(
    window: &Published,
    last: &Qualifying,
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    let expires_at = later(last.at, policy.length);
    let current = Published {
        last_inbound: last.clone(),
        evidence: facts.evidence.of_window(),
        circumstances: facts.circumstances(policy, now),
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
    if let Some((at, reason)) = facts.cut(policy) {
        let closed = Some(Closed { reason, at });
        return Some(Event::Corrected {
            window: Published { closed, ..current },
        });
    }
    // The customer wrote again only after this window had ended: two windows, not one.
    if let Some(ended_at) = ended_before(window, last, facts, policy) {
        let closed = Some(Closed {
            reason: ClosedReason::Expired,
            at: ended_at,
        });
        return Some(Event::Expired {
            window: Published {
                expires_at: ended_at,
                closed,
                circumstances: facts.circumstances_at_end(window, policy, ended_at),
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
    if facts.merged_at.is_some() || facts.cut(policy).is_some() {
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
        evidence: facts.evidence.of_window(),
        circumstances: facts.circumstances(policy, now),
    };
    let closed = published.and_then(|window| window.closed.map(|closed| (window, closed)));

    if let Some(event) = decide_untold(published, &opening, facts, policy) {
        return Some(event);
    }
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
        Some((window, closed)) if closed.reason.is_cut() && last.at <= closed.at => {
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

/// Tells of a window before the newest that came and went while nobody told anything: as of any
/// that ended before anyone was told, its end alone, and only if its last fact came in time.
fn decide_untold(
    published: Option<&Published>,
    newest: &Published,
    facts: &Facts,
    policy: &Policy,
) -> Option<Event> {
    let from = published.map(|window| window.last_inbound.at);
    let cuts = [
        facts.evidence.refused_at,
        facts.number_migrated_at,
        facts.user_id_changed_at,
    ];
    let mut untold = facts.untold.iter();
    let last = untold.find(|last| {
        let end = later(last.at, policy.length);
        // What cut it short, nobody knows any more to say how.
        let is_cut = cuts.iter().flatten().any(|at| *at >= last.at && *at < end);
        Some(last.at) > from
            && is_of_another(published, last.at, policy)
            && end <= newest.last_inbound.at
            && last.received_at < end
            && !is_cut
    })?;
    let ended_at = later(last.at, policy.length);
    let window = Published {
        opening_fact: last.fact,
        opened_at: last.at,
        expires_at: ended_at,
        last_inbound: last.clone(),
        circumstances: published.map_or_else(Circumstances::default, |told| told.circumstances),
        ..newest.clone()
    };
    let closed = Some(Closed {
        reason: ClosedReason::Expired,
        at: ended_at,
    });
    Some(Event::Expired {
        window: Published {
            closed,
            evidence: Evidence::default(),
            circumstances: facts.circumstances_at_end(&window, policy, ended_at),
            ..window
        },
    })
}

/// Returns when an open window ended, if the customer wrote again only after that.
fn ended_before(
    window: &Published,
    last: &Qualifying,
    facts: &Facts,
    policy: &Policy,
) -> Option<Timestamp> {
    match facts
        .recent
        .end_before_gap(window.last_inbound.at, policy.length)
    {
        Gap::None if facts.recent.newest() == Some(last.at) => None,
        Gap::After(end) => Some(end),
        // What was told is all there is to go by.
        Gap::None | Gap::Unknown => {
            let end = later(window.expires_at, policy.granularity);
            (last.at >= end && last.at > window.last_inbound.at).then_some(window.expires_at)
        }
    }
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
