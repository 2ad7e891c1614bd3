//! Failover on silence: an accepted message of which no delivery is reported in time.
//!
//! The time stands in the acceptance. Once it is over another channel is taken, if one is open;
//! else reports are awaited as before. What was accepted may still arrive, so whatever becomes of
//! the other channel, a message that waits for it has not failed. It happens once in an attempt's
//! life, and once in a message's unless the provider says that the overdue attempt failed.

use jiff::Timestamp;

use super::decide::{Next, add};
use super::{Event, KeptBack, Message, Phase, Policy};
use crate::failover::silenced;
use crate::routing::{Decision, Route};

/// Returns when the delivery of an attempt that is accepted now is overdue; `None` for never.
pub(super) fn overdue_at(
    message: &Message,
    attempt: u32,
    kept_back: Option<KeptBack>,
    now: Timestamp,
) -> Option<Timestamp> {
    let silence = message.failover.silence.as_ref()?;
    let route = message.route_of(attempt)?;
    let patience = silence.patience(route, kept_back)?;
    // By then it is not worth sending, or has been tried.
    let at = Some(add(now, patience)).filter(|at| *at < message.expires_at);
    at.filter(|_| message.overdue.is_none())
}

/// Whether the delivery is overdue, and another route is worth trying.
pub(super) fn is_due(message: &Message, now: Timestamp) -> bool {
    let Phase::Accepted { overdue_at, .. } = message.phase else {
        return false;
    };
    overdue_at.is_some_and(|at| now >= at) && now < message.expires_at
}

/// Returns until when an accepted message waits.
pub(super) fn wait_until(message: &Message, now: Timestamp) -> Option<Timestamp> {
    let Phase::Accepted {
        reports_until,
        overdue_at,
        ..
    } = message.phase
    else {
        return None;
    };
    let ahead = overdue_at.filter(|at| *at > now);
    Some(ahead.map_or(reports_until, |at| at.min(reports_until)))
}

/// Returns what follows from a decision for a message whose delivery is overdue. `can_go` says
/// whether it may be attempted at all.
pub(super) fn on_decision(
    message: &Message,
    decision: &Decision,
    can_go: bool,
    policy: &Policy,
    now: Timestamp,
) -> Next {
    let Phase::Accepted {
        attempt,
        reports_until,
        ..
    } = message.phase
    else {
        return Next::Wait(None);
    };
    if !is_due(message, now) {
        return Next::Wait(wait_until(message, now));
    }
    let moves_on = can_go
        && matches!(
            decision.chosen,
            Some(Route::FreeForm | Route::Template | Route::Sms)
        );
    // The other route is only halted for now, or has quiet hours.
    if can_go && decision.chosen.is_none() && decision.can_wait() {
        return Next::Wait(Some(add(now, policy.recheck_after).min(reports_until)));
    }
    let route = message.route_of(attempt);
    let is_risky = |route| {
        let silence = message.failover.silence.as_ref();
        silence.is_none_or(|silence| silence.is_risky(route))
    };
    Next::Record(Event::DeliveryOverdue {
        attempt,
        at: now,
        moves_on,
        is_risky: moves_on && route.is_some_and(is_risky),
        exhausted: route.filter(|_| moves_on).map(silenced).unwrap_or_default(),
        reports_until,
    })
}

/// Returns what a message does that nothing more can be sent of, while an attempt of it may still
/// arrive: it waits for the reports of that attempt. `None` if there is none.
pub(super) fn wait_on(message: &Message, now: Timestamp) -> Option<Event> {
    let overdue = message.overdue?;
    Some(Event::DeliveryOverdue {
        attempt: overdue.attempt,
        at: now,
        moves_on: false,
        is_risky: false,
        exhausted: Vec::new(),
        reports_until: overdue.reports_until,
    })
}

impl Message {
    /// Returns the routes that the next decision rules out: those that have failed, and while a
    /// delivery is awaited, those that it would be repeated by.
    pub fn ruled_out(&self) -> Vec<Route> {
        let mut routes = self.exhausted.clone();
        if let Phase::Accepted { attempt, .. } = self.phase
            && let Some(route) = self.route_of(attempt)
        {
            routes.extend(silenced(route));
        }
        routes
    }
}
