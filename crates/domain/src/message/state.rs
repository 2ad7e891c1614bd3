//! Folding a message's events, and what its state says.

use jiff::Timestamp;

use super::{
    Attempt, AttemptState, Deferral, DeliveryStatus, Event, KeptBack, Message, OnUnknown, Outcome,
    Overdue, Phase, STOPPED, UNREACHABLE_BY_SMS,
};
use crate::routing::Route;

impl Message {
    /// Returns when the message next needs attention, if nothing else happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Pending { due_at, .. } => Some((*due_at).min(self.expires_at)),
            Phase::Held { recheck_at } => Some((*recheck_at).min(self.expires_at)),
            Phase::Attempting { outcome_by, .. } => Some(*outcome_by),
            Phase::Unknown {
                reconcile_until, ..
            } => Some(*reconcile_until),
            Phase::Accepted {
                reports_until,
                overdue_at,
                ..
            } => Some(overdue_at.map_or(*reports_until, |at| at.min(*reports_until))),
            // At once: what is left is to record the end.
            Phase::Ending { .. } => Some(Timestamp::UNIX_EPOCH),
            Phase::Ended { .. } => None,
        }
    }

    /// Returns the stable word for where it stands.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Pending { deferral: None, .. } => "PENDING",
            Phase::Pending {
                deferral: Some(_), ..
            } => "DEFERRED",
            Phase::Held { .. } => "HELD",
            Phase::Attempting { .. } => "ATTEMPTING",
            Phase::Unknown { .. } => "UNKNOWN",
            Phase::Accepted { kept_back, .. } => kept_back.map_or("ACCEPTED", KeptBack::as_str),
            Phase::Ending { .. } | Phase::Ended { .. } => "ENDED",
        }
    }

    /// Returns whether nothing more will be sent.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. } | Phase::Ended { .. })
    }

    /// Returns how many attempts were more than a claim.
    pub fn calls(&self) -> usize {
        let called = self.attempts.iter().filter(|attempt| attempt.was_called);
        called.count()
    }

    /// Returns an attempt by its number.
    pub fn attempt(&self, number: u32) -> Option<&Attempt> {
        self.attempts
            .iter()
            .find(|attempt| attempt.number == number)
    }

    pub(super) fn route_of(&self, number: u32) -> Option<Route> {
        self.attempt(number).map(|attempt| attempt.route)
    }

    /// Whether an outcome of this attempt still counts.
    pub(super) fn is_open(&self, number: u32) -> bool {
        matches!(
            self.phase,
            Phase::Attempting { attempt, .. } | Phase::Unknown { attempt, .. } if attempt == number
        )
    }

    fn attempt_mut(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempts
            .iter_mut()
            .find(|attempt| attempt.number == number)
    }
}

/// Folds one event in. The first one must be `Requested`; anything before it is ignored.
#[must_use]
pub fn evolve(message: Option<Message>, event: &Event) -> Option<Message> {
    if let Event::Requested {
        requested_at,
        send_at,
        expires_at,
        failover,
    } = event
    {
        let due_at = send_at.unwrap_or(*requested_at);
        return Some(Message {
            expires_at: *expires_at,
            failover: failover.clone(),
            overdue: None,
            phase: Phase::Pending {
                due_at,
                deferral: None,
            },
            attempts: Vec::new(),
            exhausted: Vec::new(),
            exhausted_gateways: Vec::new(),
            is_unreachable_by_sms: false,
            delivery: None,
            is_doubly_exposed: false,
        });
    }
    let mut message = message?;
    message.apply(event);
    Some(message)
}

impl Message {
    fn apply(&mut self, event: &Event) {
        self.fold(event);
        // The customer has it, by whichever attempt: nothing more needs to be sent. A call that
        // is under way is waited for.
        let has_arrived = self.delivery.is_some_and(DeliveryStatus::has_arrived);
        let goes_on = matches!(
            self.phase,
            Phase::Pending { .. }
                | Phase::Held { .. }
                | Phase::Unknown { .. }
                | Phase::Accepted { .. }
        );
        if has_arrived && goes_on {
            self.phase = Phase::Ending {
                outcome: Outcome::Delivered,
                reason: "DELIVERED".to_owned(),
            };
        }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            // Money moves nothing.
            Event::Requested { .. } | Event::Billed { .. } => {}
            Event::Held { recheck_at, .. } => {
                self.phase = Phase::Held {
                    recheck_at: *recheck_at,
                }
            }
            Event::Released { at, .. } => {
                self.phase = Phase::Pending {
                    due_at: *at,
                    deferral: None,
                };
            }
            Event::Deferred {
                until, cause, halt, ..
            } => {
                self.phase = Phase::Pending {
                    due_at: *until,
                    deferral: Some(Deferral {
                        cause: cause.clone(),
                        halt: halt.clone(),
                    }),
                };
            }
            Event::AttemptStarted {
                attempt,
                route,
                gateway,
                other_gateways,
                at,
                outcome_by,
                ..
            } => {
                self.attempts.push(Attempt {
                    number: *attempt,
                    route: *route,
                    gateway: gateway.clone(),
                    other_gateways: other_gateways.clone(),
                    started_at: *at,
                    state: AttemptState::Started,
                    was_called: true,
                    delivery: None,
                    is_contradicted: false,
                });
                self.phase = Phase::Attempting {
                    attempt: *attempt,
                    outcome_by: *outcome_by,
                };
            }
            Event::AttemptAccepted {
                attempt,
                provider_id,
                reports_until,
                kept_back,
                overdue_at,
                ..
            } => {
                let (provider_id, kept_back) = (provider_id.clone(), *kept_back);
                let is_open = self.is_open(*attempt) || self.is_about_to_be_repeated(*attempt);
                let accepted = AttemptState::Accepted {
                    provider_id,
                    kept_back,
                };
                self.set_attempt(*attempt, accepted);
                if is_open {
                    let (attempt, reports_until) = (*attempt, *reports_until);
                    self.phase = Phase::Accepted {
                        attempt,
                        reports_until,
                        kept_back,
                        overdue_at: *overdue_at,
                    };
                }
            }
            Event::AttemptRejected {
                attempt,
                at,
                rejection,
                ..
            } => {
                self.set_attempt(*attempt, AttemptState::Rejected);
                // It does not arrive any more.
                self.overdue = self.overdue.filter(|overdue| overdue.attempt != *attempt);
                if let Some(known) = self.attempt_mut(*attempt) {
                    known.was_called &= rejection.action != STOPPED;
                }
                self.exhaust(&rejection.exhausted);
                for gateway in &rejection.exhausted_gateways {
                    if !self.exhausted_gateways.contains(gateway) {
                        self.exhausted_gateways.push(gateway.clone());
                    }
                }
                self.is_unreachable_by_sms |= rejection.action == UNREACHABLE_BY_SMS;
                if self.is_current(*attempt) {
                    let due_at = rejection.retry_at.unwrap_or(*at);
                    self.phase = Phase::Pending {
                        due_at,
                        deferral: None,
                    };
                }
            }
            Event::AttemptUnknown {
                attempt,
                reconcile_until,
                ..
            } => {
                self.set_attempt(*attempt, AttemptState::Unknown);
                let (attempt, reconcile_until) = (*attempt, *reconcile_until);
                self.phase = Phase::Unknown {
                    attempt,
                    reconcile_until,
                };
            }
            Event::AttemptAbandoned {
                attempt,
                at,
                policy,
                exhausted,
            } => {
                self.set_attempt(*attempt, AttemptState::Abandoned);
                self.exhaust(exhausted);
                self.phase = match policy {
                    OnUnknown::GiveUp => Phase::Ending {
                        outcome: Outcome::Unknown,
                        reason: "OUTCOME_UNKNOWN".to_owned(),
                    },
                    OnUnknown::NextRoute | OnUnknown::Retry => Phase::Pending {
                        due_at: *at,
                        deferral: None,
                    },
                };
            }
            Event::DeliveryOverdue {
                attempt,
                at,
                moves_on,
                exhausted,
                reports_until,
                ..
            } => {
                let (attempt, reports_until) = (*attempt, *reports_until);
                self.overdue = Some(Overdue {
                    attempt,
                    reports_until,
                });
                self.exhaust(exhausted);
                self.phase = if *moves_on {
                    Phase::Pending {
                        due_at: *at,
                        deferral: None,
                    }
                } else {
                    Phase::Accepted {
                        attempt,
                        reports_until,
                        kept_back: self.kept_back(attempt),
                        overdue_at: None,
                    }
                };
            }
            Event::DeliveryAdvanced {
                attempt, status, ..
            } => self.advance(*attempt, *status),
            Event::DeliveryContradicted { attempt, .. } => {
                if let Some(attempt) = self.attempt_mut(*attempt) {
                    attempt.is_contradicted = true;
                }
            }
            Event::DoubleExposure { .. } => self.is_doubly_exposed = true,
            Event::Ended { outcome, .. } => self.phase = Phase::Ended { outcome: *outcome },
            Event::Expired { .. } => {
                self.phase = Phase::Ended {
                    outcome: Outcome::Expired,
                }
            }
            Event::Cancelled { .. } => {
                self.phase = Phase::Ended {
                    outcome: Outcome::Cancelled,
                }
            }
        }
    }

    fn advance(&mut self, number: u32, status: DeliveryStatus) {
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.delivery = attempt.delivery.max(Some(status));
            // It is on its way: the platform has let it go.
            if let AttemptState::Accepted { kept_back, .. } = &mut attempt.state {
                *kept_back = None;
            }
        }
        if let Phase::Accepted {
            attempt, kept_back, ..
        } = &mut self.phase
            && *attempt == number
        {
            *kept_back = None;
        }
        self.delivery = self.delivery.max(Some(status));
    }

    fn kept_back(&self, number: u32) -> Option<KeptBack> {
        match self.attempt(number)?.state {
            AttemptState::Accepted { kept_back, .. } => kept_back,
            _ => None,
        }
    }

    /// Whether the attempt was abandoned for another one, which has not been made yet.
    fn is_about_to_be_repeated(&self, number: u32) -> bool {
        let is_abandoned = self
            .attempt(number)
            .is_some_and(|attempt| attempt.state == AttemptState::Abandoned);
        is_abandoned && matches!(self.phase, Phase::Pending { .. } | Phase::Held { .. })
    }

    /// Whether the message's course still hangs on this attempt.
    fn is_current(&self, number: u32) -> bool {
        self.is_open(number)
            || matches!(self.phase, Phase::Accepted { attempt, .. } if attempt == number)
    }

    fn set_attempt(&mut self, number: u32, state: AttemptState) {
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.state = state;
        }
    }

    fn exhaust(&mut self, routes: &[Route]) {
        for route in routes {
            if !self.exhausted.contains(route) {
                self.exhausted.push(*route);
            }
        }
    }
}
