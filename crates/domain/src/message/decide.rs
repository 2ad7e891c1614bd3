//! What a message needs now, and what follows from what happened to it.

use jiff::{SignedDuration, Timestamp};

use super::overdue;
use super::{Event, KeptBack, Message, OnUnknown, Outcome, Phase, Policy, Refusal, Rejection};
use crate::failover::ErrorClass;
use crate::halt::Stop;
use crate::retry;
use crate::routing::hold::HOLD_QUEUE_FULL;
use crate::routing::{Candidate, Decision, Gone, Route, Verdict};

/// How many claims of a message may meet a halt before their call, besides the attempts that it
/// gets: each takes a halt that comes at that very moment, so that more are a fault of ours.
const STOPPED_MAX: usize = 32;

/// The cause of a deferral that is for no halt.
const QUIET_HOURS: &str = "QUIET_HOURS";

/// What a message needs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing before this time, if nothing else happens; `None` for nothing ever.
    Wait(Option<Timestamp>),
    /// Append this and ask again.
    Record(Event),
    /// Decide on a route, and pass the decision to [`on_decision`].
    Route,
    /// Append this claim; whose append it is makes the call.
    Claim(Event),
}

/// Returns what a message needs now.
pub fn next(message: &Message, policy: &Policy, now: Timestamp) -> Next {
    match &message.phase {
        Phase::Pending { .. } | Phase::Held { .. } if now >= message.expires_at => {
            let waits = overdue::wait_on(message, now);
            Next::Record(waits.unwrap_or(Event::Expired { at: now }))
        }
        // What was put off for a halt may be looked at whenever there is a reason to.
        Phase::Pending {
            due_at,
            deferral: None,
        } if now < *due_at => Next::Wait(Some((*due_at).min(message.expires_at))),
        Phase::Pending { .. } | Phase::Held { .. } => Next::Route,
        Phase::Attempting {
            attempt,
            outcome_by,
        } if now >= *outcome_by => {
            Next::Record(unknown(*attempt, "NO_OUTCOME_IN_TIME", policy, now))
        }
        Phase::Attempting { outcome_by, .. } => Next::Wait(Some(*outcome_by)),
        Phase::Unknown {
            attempt,
            reconcile_until,
        } if now >= *reconcile_until => {
            let exhausted = match policy.on_unknown {
                OnUnknown::NextRoute => message.route_of(*attempt).into_iter().collect(),
                OnUnknown::GiveUp | OnUnknown::Retry => Vec::new(),
            };
            let policy = policy.on_unknown;
            Next::Record(Event::AttemptAbandoned {
                attempt: *attempt,
                at: now,
                policy,
                exhausted,
            })
        }
        Phase::Unknown {
            reconcile_until, ..
        } => Next::Wait(Some(*reconcile_until)),
        Phase::Accepted { reports_until, .. } if now >= *reports_until => {
            Next::Record(Event::Ended {
                outcome: Outcome::Unconfirmed,
                reason: "NO_REPORT".to_owned(),
                at: now,
            })
        }
        Phase::Accepted { .. } if overdue::is_due(message, now) => Next::Route,
        Phase::Accepted { .. } => Next::Wait(overdue::wait_until(message, now)),
        Phase::Ending { outcome, reason } => Next::Record(Event::Ended {
            outcome: *outcome,
            reason: reason.clone(),
            at: now,
        }),
        Phase::Ended { .. } => Next::Wait(None),
    }
}

/// Returns what follows from a decision for a message that asked to be routed.
pub fn on_decision(
    message: &Message,
    decision: &Decision,
    policy: &Policy,
    now: Timestamp,
) -> Next {
    if matches!(message.phase, Phase::Accepted { .. }) {
        let can_go = !has_had_enough(message, policy);
        return overdue::on_decision(message, decision, can_go, policy, now);
    }
    let is_held = matches!(message.phase, Phase::Held { .. });
    let recheck_at = add(now, policy.recheck_after).min(message.expires_at);
    match decision.chosen {
        Some(Route::Hold) if is_held => Next::Wait(Some(recheck_at)),
        Some(Route::Hold) => Next::Record(Event::Held {
            at: now,
            recheck_at,
            expires_at: message.expires_at,
        }),
        Some(Route::FreeForm) if is_held => Next::Record(Event::Released {
            at: now,
            cause: "WINDOW_OPENED".to_owned(),
        }),
        Some(_) if is_held => Next::Record(Event::Released {
            at: now,
            cause: "ROUTE_OPENED".to_owned(),
        }),
        Some(_) if has_had_enough(message, policy) => {
            let waits = overdue::wait_on(message, now);
            Next::Record(waits.unwrap_or_else(|| Event::Ended {
                outcome: Outcome::Failed,
                reason: "ATTEMPTS_USED_UP".to_owned(),
                at: now,
            }))
        }
        Some(_) if decision.earliest_send_at > now => {
            Next::Wait(Some(decision.earliest_send_at.min(message.expires_at)))
        }
        Some(route) => {
            let attempt = u32::try_from(message.attempts.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            let call_by = add(now, policy.call_by);
            let outcome_by = add(call_by, policy.call_timeout);
            let mut gateways = decision.sms_gateways.iter().cloned();
            let gateway = gateways.next().filter(|_| route == Route::Sms);
            let other_gateways = if route == Route::Sms {
                gateways.collect()
            } else {
                Vec::new()
            };
            Next::Claim(Event::AttemptStarted {
                attempt,
                route,
                gateway: gateway.unwrap_or_default(),
                other_gateways,
                at: now,
                call_by,
                outcome_by,
            })
        }
        None if is_held && decision.can_wait() => Next::Wait(Some(recheck_at)),
        None => match (&decision.halted_by, decision.quiet_until) {
            (Some(stop), quiet_until) => put_off(message, stop, quiet_until, policy, now),
            (None, Some(until)) => put_off_until(message, until, now),
            (None, None) => {
                let waits = overdue::wait_on(message, now);
                Next::Record(waits.unwrap_or_else(|| dead(message, decision, now)))
            }
        },
    }
}

/// Whether a message gets no further attempt.
fn has_had_enough(message: &Message, policy: &Policy) -> bool {
    let claims_max = policy.attempts_max.saturating_add(STOPPED_MAX);
    message.calls() >= policy.attempts_max || message.attempts.len() >= claims_max
}

/// What a message does that waits for the end of a halt: that is told once for each halt, and
/// again when the time that was told has come.
fn put_off(
    message: &Message,
    stop: &Stop,
    quiet_until: Option<Timestamp>,
    policy: &Policy,
    now: Timestamp,
) -> Next {
    if let Phase::Pending {
        due_at,
        deferral: Some(deferral),
    } = &message.phase
        && deferral.halt == stop.halt
        && now < *due_at
    {
        return Next::Wait(Some((*due_at).min(message.expires_at)));
    }
    let ends_at = stop.look_again_at(message.expires_at);
    // What only quiet hours stand before may go while the halt lasts.
    let ends_at = quiet_until.map_or(ends_at, |until| ends_at.min(until));
    let until = if ends_at > now {
        ends_at
    } else {
        add(now, policy.recheck_after).min(message.expires_at)
    };
    Next::Record(Event::Deferred {
        at: now,
        until,
        cause: stop.cause.clone(),
        halt: stop.halt.clone(),
    })
}

/// What a message does that waits for the end of quiet hours: that is told once, and again if they
/// turn out to end at another time.
fn put_off_until(message: &Message, until: Timestamp, now: Timestamp) -> Next {
    if let Phase::Pending {
        due_at,
        deferral: Some(deferral),
    } = &message.phase
        && deferral.cause == QUIET_HOURS
        && *due_at == until
        && now < until
    {
        return Next::Wait(Some(until.min(message.expires_at)));
    }
    Next::Record(Event::Deferred {
        at: now,
        until,
        cause: QUIET_HOURS.to_owned(),
        halt: String::new(),
    })
}

fn dead(message: &Message, decision: &Decision, now: Timestamp) -> Event {
    let (outcome, reason) = dead_end(message, decision);
    Event::Ended {
        outcome,
        reason,
        at: now,
    }
}

/// Why no route is left: a customer without a phone, or with one that no SMS reaches, is an
/// outcome of its own.
pub fn dead_end(message: &Message, decision: &Decision) -> (Outcome, String) {
    let lacks_phone = decision
        .candidate(Route::Sms)
        .is_some_and(|sms| sms.verdict == Verdict::RuledOut && sms.reason == "NO_PHONE");
    let found_no_place = decision
        .candidate(Route::Hold)
        .is_some_and(|hold| hold.reason == HOLD_QUEUE_FULL);
    let is_gone = |one: &&Candidate| {
        let all = [Gone::Deregistered, Gone::MigratedAway];
        all.iter().any(|gone| one.reason == gone.as_str())
    };
    if let Some(one) = decision.candidates.iter().find(is_gone) {
        (Outcome::Failed, one.reason.to_owned())
    } else if found_no_place {
        (Outcome::Failed, HOLD_QUEUE_FULL.to_owned())
    } else if lacks_phone {
        (Outcome::UnreachableBySms, "NO_PHONE".to_owned())
    } else if message.is_unreachable_by_sms {
        (Outcome::UnreachableBySms, "PHONE_TAKES_NO_SMS".to_owned())
    } else if message.attempts.is_empty() {
        (Outcome::Failed, "NO_ROUTE".to_owned())
    } else {
        (Outcome::Failed, "ROUTES_EXHAUSTED".to_owned())
    }
}

/// Returns the event for a call that the provider took; `None` if the attempt is not open.
pub fn on_accepted(
    message: &Message,
    attempt: u32,
    provider_id: &str,
    kept_back: Option<KeptBack>,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    message.is_open(attempt).then(|| Event::AttemptAccepted {
        attempt,
        provider_id: provider_id.to_owned(),
        at: now,
        from_report: false,
        reports_until: add(now, policy.report_within),
        kept_back,
        overdue_at: overdue::overdue_at(message, attempt, kept_back, now),
    })
}

/// A report proves that the provider took an attempt.
pub(super) fn proven(
    message: &Message,
    attempt: u32,
    provider_id: &str,
    policy: &Policy,
    now: Timestamp,
) -> Event {
    Event::AttemptAccepted {
        attempt,
        provider_id: provider_id.to_owned(),
        at: now,
        from_report: true,
        reports_until: add(now, policy.report_within),
        kept_back: None,
        overdue_at: overdue::overdue_at(message, attempt, None, now),
    }
}

/// Returns the event for a call that the provider refused, or that certainly never left;
/// `None` if the attempt is not open.
pub fn on_rejected(
    message: &Message,
    attempt: u32,
    code: i64,
    refusal: Refusal,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    message
        .is_open(attempt)
        .then(|| rejected(message, attempt, code, refusal, false, policy, now))
}

pub(super) fn rejected(
    message: &Message,
    attempt: u32,
    code: i64,
    refusal: Refusal,
    from_report: bool,
    policy: &Policy,
    now: Timestamp,
) -> Event {
    let known = message.attempt(attempt);
    let route = known.map_or(Route::FreeForm, |known| known.route);
    let gateway = known.map_or("", |known| known.gateway.as_str());
    let same = || {
        let attempts = message.attempts.iter();
        attempts.filter(|one| one.route == route && one.gateway == gateway)
    };
    let tries = same().filter(|one| one.was_called).count();
    let stops = same().filter(|one| !one.was_called).count();
    let others = known.map_or(&[][..], |known| &known.other_gateways);
    let has_another = others
        .iter()
        .any(|other| !message.exhausted_gateways.contains(other));
    let fails_over = has_another
        && matches!(
            refusal,
            Refusal::Retry | Refusal::RetryAfter(_) | Refusal::NextGateway
        );
    let salt = retry::salt(known.map_or(now, |known| known.started_at), attempt);
    let pause = |asked| retry::pause(&policy.retry_schedule, tries, asked, salt);
    let lasts = |wait: &SignedDuration| add(now, *wait) < message.expires_at;
    // What follows from the class of the error, by the message's policy.
    let gives_up = || match ErrorClass::of(refusal) {
        Some(class) => message.failover.exhausted(class, route),
        None => Route::ALL.to_vec(),
    };
    let ends = || ErrorClass::of(refusal).is_some_and(|it| message.failover.ends_on.contains(&it));
    let (exhausted, wait) = match refusal {
        // Another gateway is asked at once; only the last one is waited for.
        _ if fails_over => (Vec::new(), None),
        Refusal::Retry => match pause(None) {
            Some(wait) => (Vec::new(), Some(wait)),
            None => (gives_up(), None),
        },
        // What is asked for is not waited for if the message ends first.
        Refusal::RetryAfter(asked) => match pause(Some(asked)).filter(lasts) {
            Some(wait) => (Vec::new(), Some(wait)),
            None => (gives_up(), None),
        },
        Refusal::Capped(wait) => match Some(retry::spread(wait, salt)).filter(lasts) {
            Some(wait) => (Vec::new(), Some(wait)),
            None => (Route::ALL.to_vec(), None),
        },
        Refusal::Stopped if stops == 0 => (Vec::new(), None),
        // What routing sees and heeds: the halt; or the refusal, which stands as evidence and
        // rules free-form out until the customer writes again.
        Refusal::Halted | Refusal::SwitchToTemplate if tries <= 1 && !ends() => (Vec::new(), None),
        // Should it not heed the halt, the schedule keeps this from going round.
        Refusal::Halted | Refusal::Stopped => {
            let times = if refusal == Refusal::Stopped {
                stops
            } else {
                tries
            };
            let wait = retry::pause(&policy.retry_schedule, times, None, salt);
            (Vec::new(), wait.or(policy.retry_schedule.last().copied()))
        }
        // Who was refused twice is not asked a third time, whatever the evidence says.
        Refusal::SwitchToTemplate
        | Refusal::ThreadControl
        | Refusal::TemplateUnusable
        | Refusal::NextGateway
        | Refusal::UnreachableBySms
        | Refusal::NextChannel
        | Refusal::Fail => (gives_up(), None),
    };
    let retry_at = wait.map(|wait| add(now, wait));
    let rejection = Rejection {
        code,
        action: refusal.as_str().to_owned(),
        exhausted,
        exhausted_gateways: if fails_over {
            vec![gateway.to_owned()]
        } else {
            Vec::new()
        },
        retry_at,
    };
    Event::AttemptRejected {
        attempt,
        at: now,
        rejection,
        from_report,
    }
}

/// Returns the event for a call whose outcome is not known; `None` if the attempt is not open.
pub fn on_unknown(
    message: &Message,
    attempt: u32,
    reason: &str,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    let is_attempting =
        matches!(message.phase, Phase::Attempting { attempt: open, .. } if open == attempt);
    is_attempting.then(|| unknown(attempt, reason, policy, now))
}

fn unknown(attempt: u32, reason: &str, policy: &Policy, now: Timestamp) -> Event {
    let reconcile_until = add(now, policy.reconcile_after);
    Event::AttemptUnknown {
        attempt,
        at: now,
        reason: reason.to_owned(),
        reconcile_until,
    }
}

/// Why a message cannot be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRefusal {
    /// A provider has been called, or is being called.
    AlreadyAttempted,
    /// It is over.
    AlreadyEnded,
}

/// Returns the event that withdraws a message that no provider may still deliver.
pub fn cancel(message: &Message, now: Timestamp) -> Result<Event, CancelRefusal> {
    match message.phase {
        Phase::Pending { .. } | Phase::Held { .. } if message.overdue.is_some() => {
            Err(CancelRefusal::AlreadyAttempted)
        }
        Phase::Pending { .. } | Phase::Held { .. } => Ok(Event::Cancelled { at: now }),
        Phase::Attempting { .. } | Phase::Unknown { .. } | Phase::Accepted { .. } => {
            Err(CancelRefusal::AlreadyAttempted)
        }
        Phase::Ending { .. } | Phase::Ended { .. } => Err(CancelRefusal::AlreadyEnded),
    }
}

/// Why a message of a customer who was erased has ended.
pub const CUSTOMER_ERASED: &str = "CUSTOMER_ERASED";

/// Returns what ends a message whose customer was erased, whatever it waits for; nothing while a
/// call for it is under way, or once it is over.
///
/// What a provider may still deliver stays as unconfirmed or unknown as it was: no report about it
/// is taken up any more.
pub fn erase(message: &Message, now: Timestamp) -> Option<Event> {
    let outcome = match message.phase {
        Phase::Pending { .. } | Phase::Held { .. } if message.overdue.is_none() => {
            return Some(Event::Cancelled { at: now });
        }
        Phase::Pending { .. } | Phase::Held { .. } | Phase::Accepted { .. } => Outcome::Unconfirmed,
        Phase::Unknown { .. } => Outcome::Unknown,
        Phase::Attempting { .. } | Phase::Ending { .. } | Phase::Ended { .. } => return None,
    };
    Some(Event::Ended {
        outcome,
        reason: CUSTOMER_ERASED.to_owned(),
        at: now,
    })
}

pub(super) fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
