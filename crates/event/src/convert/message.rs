//! Outbound messages, to and from what is stored.

mod failover;
pub mod money;
mod read;
mod write;

use casement_domain::id::MessageId;
use casement_domain::message::{Answers, DeliveryStatus, Outcome, Stakes};
use casement_domain::routing::{Decision, Purpose, Route, Verdict};
use casement_domain::turns::Priority;
use casement_domain::window::EntryPointAtStake;
use casement_proto::events::v1;
use jiff::Timestamp;

use super::window::Conversation;
use super::{ConvertError, instant, required_instant, timestamp};

pub use failover::{failover, read_failover};
pub use read::read;
pub use write::{record, requested};

/// What every event of one message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: Conversation,
    /// The caller's own reference; empty if none.
    pub client_reference: String,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// How urgent it is.
    pub priority: Priority,
    /// When it counts against its brand's quota, if not when it was requested.
    pub quota_at: Option<Timestamp>,
}

/// What an event carries besides what the rules need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Why it went this way.
    pub decision: Option<v1::Decision>,
    /// What the provider said.
    pub error: Option<v1::ProviderError>,
    /// The provider's own word for the state of an accepted message.
    pub provider_status: String,
    /// What it costs, if a report said so.
    pub pricing: Option<v1::Pricing>,
    /// What the attempt costs, and what that changes in its month.
    pub cost: Option<v1::Cost>,
    /// The message that asks the customer to write, if this one is held; empty if none does.
    pub nudge_message_id: String,
    /// The process that claimed.
    pub claimant: String,
    /// What becomes of the attempt tells this.
    pub stakes: Stakes,
    /// The newest record of what the customer allows that the claim's decision knew of; 0 if there
    /// was none.
    pub consent_sequence: u64,
    /// The name of the token that asked.
    pub caller: String,
}

/// Returns a route as stored.
pub fn route(of: Route) -> v1::Route {
    match of {
        Route::FreeForm => v1::Route::FreeForm,
        Route::Template => v1::Route::Template,
        Route::Sms => v1::Route::Sms,
        Route::Hold => v1::Route::Hold,
    }
}

/// Reads a route; `None` if none was stored.
pub fn read_route(stored: v1::Route) -> Option<Route> {
    match stored {
        v1::Route::FreeForm => Some(Route::FreeForm),
        v1::Route::Template => Some(Route::Template),
        v1::Route::Sms => Some(Route::Sms),
        v1::Route::Hold => Some(Route::Hold),
        v1::Route::Unspecified => None,
    }
}

/// Reads a purpose; `None` if none was stored.
pub fn read_purpose(stored: v1::Purpose) -> Option<Purpose> {
    match stored {
        v1::Purpose::Service => Some(Purpose::Service),
        v1::Purpose::Utility => Some(Purpose::Utility),
        v1::Purpose::Authentication => Some(Purpose::Authentication),
        v1::Purpose::Marketing => Some(Purpose::Marketing),
        v1::Purpose::Unspecified => None,
    }
}

/// Returns how urgent a message is: as its caller says, or by what it is for.
pub fn read_priority(stored: v1::Priority, purpose: v1::Purpose) -> Priority {
    match stored {
        v1::Priority::Reply => Priority::Reply,
        v1::Priority::Transactional => Priority::Transactional,
        v1::Priority::Bulk => Priority::Bulk,
        v1::Priority::Unspecified => {
            read_purpose(purpose).map_or(Priority::Transactional, Priority::of_purpose)
        }
    }
}

/// Returns a decision as stored, and as the API shows it.
pub fn decision(of: &Decision) -> v1::Decision {
    let candidates = of.candidates.iter().map(|candidate| v1::Candidate {
        route: route(candidate.route).into(),
        verdict: match candidate.verdict {
            Verdict::Chosen => v1::Verdict::Chosen,
            Verdict::Eligible => v1::Verdict::Eligible,
            Verdict::RuledOut => v1::Verdict::RuledOut,
        }
        .into(),
        reason: candidate.reason.to_owned(),
        facts: candidate.facts.clone(),
        text: candidate.text.clone(),
    });
    let sms = of.sms.as_ref();
    v1::Decision {
        chosen_route: of.chosen.map_or(v1::Route::Unspecified, route).into(),
        candidates: candidates.collect(),
        policy: of.policy.clone(),
        decide_time: Some(timestamp(of.decided_at)),
        next_change_time: of.next_change_at.map(timestamp),
        earliest_send_time: Some(timestamp(of.earliest_send_at)),
        window_open: of.window_open,
        window_expire_time: of.window_expires_at.map(timestamp),
        template_category: of
            .template_category
            .map(|one| one.as_str().to_owned())
            .unwrap_or_default(),
        sms_encoding: sms.map(|size| size.encoding.to_owned()).unwrap_or_default(),
        sms_segments: sms.map(|size| size.segments).unwrap_or_default(),
        hold_until_time: Some(timestamp(of.hold_until)),
        sms_units: sms.map(|size| size.units).unwrap_or_default(),
        sms_calling_code: of.sms_calling_code.clone().unwrap_or_default(),
        sms_gateways: of.sms_gateways.clone(),
        costs: money::estimates(&of.costs),
        // Known only to whoever holds the message.
        hold: None,
    }
}

fn answered_customer(of: Answers) -> v1::AnsweredCustomer {
    v1::AnsweredCustomer {
        waiting_since_time: Some(timestamp(of.waiting_since)),
        last_inbound_time: Some(timestamp(of.last_inbound_at)),
    }
}

fn entry_point_at_stake(of: EntryPointAtStake) -> v1::EntryPointAtStake {
    v1::EntryPointAtStake {
        referred_time: of.referred_at.map(timestamp),
        reply_time: of.replied_at.map(timestamp),
    }
}

/// Reads what becomes of an attempt tells.
pub fn read_stakes(started: &v1::AttemptStarted) -> Result<Stakes, ConvertError> {
    let answers = started.answers.as_ref().map(|stored| {
        let (since, last) = (&stored.waiting_since_time, &stored.last_inbound_time);
        Ok::<_, ConvertError>(Answers {
            waiting_since: required_instant("waiting_since_time", since.as_ref())?,
            last_inbound_at: required_instant("last_inbound_time", last.as_ref())?,
        })
    });
    let entry_point = started.entry_point.as_ref().map(|stored| {
        Ok::<_, ConvertError>(EntryPointAtStake {
            referred_at: instant("referred_time", stored.referred_time.as_ref())?,
            replied_at: instant("reply_time", stored.reply_time.as_ref())?,
        })
    });
    Ok(Stakes {
        answers: answers.transpose()?,
        entry_point: entry_point.transpose()?,
    })
}

/// Returns a delivery status as stored.
pub fn delivery(of: DeliveryStatus) -> v1::DeliveryStatus {
    match of {
        DeliveryStatus::Sent => v1::DeliveryStatus::Sent,
        DeliveryStatus::Delivered => v1::DeliveryStatus::Delivered,
        DeliveryStatus::Read => v1::DeliveryStatus::Read,
        DeliveryStatus::Played => v1::DeliveryStatus::Played,
    }
}

/// Reads a delivery status; `None` for failed and for what was not stored.
pub fn read_delivery(stored: v1::DeliveryStatus) -> Option<DeliveryStatus> {
    match stored {
        v1::DeliveryStatus::Sent => Some(DeliveryStatus::Sent),
        v1::DeliveryStatus::Delivered => Some(DeliveryStatus::Delivered),
        v1::DeliveryStatus::Read => Some(DeliveryStatus::Read),
        v1::DeliveryStatus::Played => Some(DeliveryStatus::Played),
        v1::DeliveryStatus::Failed | v1::DeliveryStatus::Unspecified => None,
    }
}

/// Returns an outcome as stored.
pub fn outcome(of: Outcome) -> v1::MessageOutcome {
    match of {
        Outcome::Delivered => v1::MessageOutcome::Delivered,
        Outcome::Unconfirmed => v1::MessageOutcome::Unconfirmed,
        Outcome::Failed => v1::MessageOutcome::Failed,
        Outcome::Expired => v1::MessageOutcome::Expired,
        Outcome::Cancelled => v1::MessageOutcome::Cancelled,
        Outcome::Unknown => v1::MessageOutcome::Unknown,
        Outcome::UnreachableBySms => v1::MessageOutcome::UnreachableBySms,
    }
}

fn read_outcome(stored: v1::MessageOutcome) -> Option<Outcome> {
    match stored {
        v1::MessageOutcome::Delivered => Some(Outcome::Delivered),
        v1::MessageOutcome::Unconfirmed => Some(Outcome::Unconfirmed),
        v1::MessageOutcome::Failed => Some(Outcome::Failed),
        v1::MessageOutcome::Expired => Some(Outcome::Expired),
        v1::MessageOutcome::Cancelled => Some(Outcome::Cancelled),
        v1::MessageOutcome::Unknown => Some(Outcome::Unknown),
        v1::MessageOutcome::UnreachableBySms => Some(Outcome::UnreachableBySms),
        v1::MessageOutcome::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::failover::Failover;
    use casement_domain::id::{BusinessNumber, CustomerId};
    use casement_domain::message::{Event as MessageEvent, KeptBack, OnUnknown, Rejection, evolve};

    use super::*;
    use crate::record::Extension;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn every_event() -> Vec<MessageEvent> {
        let rejection = Rejection {
            code: 131_026,
            action: "NEXT_CHANNEL".to_owned(),
            exhausted: vec![Route::FreeForm, Route::Template],
            exhausted_gateways: vec!["main".to_owned()],
            retry_at: Some(at(9)),
        };
        vec![
            MessageEvent::Held {
                at: at(1),
                recheck_at: at(2),
                expires_at: at(3),
            },
            MessageEvent::Released {
                at: at(1),
                cause: "WINDOW_OPENED".to_owned(),
            },
            MessageEvent::Deferred {
                at: at(1),
                until: at(2),
                cause: "NUMBER_PAUSED".to_owned(),
                halt: "h1".to_owned(),
            },
            MessageEvent::AttemptStarted {
                attempt: 1,
                route: Route::Sms,
                gateway: "main".to_owned(),
                other_gateways: vec!["spare".to_owned()],
                at: at(1),
                call_by: at(2),
                outcome_by: at(3),
            },
            MessageEvent::AttemptAccepted {
                attempt: 1,
                provider_id: "wamid.1".to_owned(),
                at: at(1),
                from_report: true,
                reports_until: at(2),
                kept_back: None,
                overdue_at: None,
            },
            MessageEvent::AttemptAccepted {
                attempt: 1,
                provider_id: "wamid.1".to_owned(),
                at: at(1),
                from_report: false,
                reports_until: at(2),
                kept_back: Some(KeptBack::QualityAssessment),
                overdue_at: Some(at(2)),
            },
            MessageEvent::AttemptRejected {
                attempt: 1,
                at: at(1),
                rejection,
                from_report: true,
            },
            MessageEvent::AttemptUnknown {
                attempt: 1,
                at: at(1),
                reason: "TIMED_OUT".to_owned(),
                reconcile_until: at(2),
            },
            MessageEvent::AttemptAbandoned {
                attempt: 1,
                at: at(1),
                policy: OnUnknown::NextRoute,
                exhausted: vec![Route::FreeForm],
            },
            MessageEvent::DeliveryOverdue {
                attempt: 1,
                at: at(1),
                moves_on: true,
                is_risky: true,
                exhausted: vec![Route::FreeForm, Route::Hold],
                reports_until: at(2),
            },
            MessageEvent::DeliveryAdvanced {
                attempt: 1,
                status: DeliveryStatus::Read,
                at: at(1),
            },
            MessageEvent::DeliveryContradicted {
                attempt: 1,
                code: 131_026,
                known: DeliveryStatus::Delivered,
                at: at(1),
            },
            MessageEvent::Billed {
                attempt: 1,
                at: at(1),
            },
            MessageEvent::DoubleExposure {
                attempts: [1, 2],
                at: at(1),
            },
            MessageEvent::Ended {
                outcome: Outcome::Failed,
                reason: "NO_ROUTE".to_owned(),
                at: at(1),
            },
            MessageEvent::Expired { at: at(1) },
            MessageEvent::Cancelled { at: at(1) },
        ]
    }

    #[test]
    fn what_an_attempt_tells_reads_back_and_claims_from_before_tell_nothing() {
        let answers = Answers {
            waiting_since: at(1),
            last_inbound_at: at(2),
        };
        let whole = Stakes {
            answers: Some(answers),
            entry_point: Some(EntryPointAtStake {
                referred_at: Some(at(1)),
                replied_at: Some(at(3)),
            }),
        };
        let reply = Stakes {
            answers: None,
            entry_point: Some(EntryPointAtStake {
                referred_at: None,
                replied_at: None,
            }),
        };
        for stakes in [Stakes::default(), whole, reply] {
            let started = v1::AttemptStarted {
                answers: stakes.answers.map(answered_customer),
                entry_point: stakes.entry_point.map(entry_point_at_stake),
                ..v1::AttemptStarted::default()
            };
            assert_eq!(read_stakes(&started).unwrap(), stakes);
        }
    }

    #[test]
    fn every_event_of_a_message_reads_back_as_it_was_written() {
        let number = BusinessNumber::parse("15550001111").unwrap();
        let context = Context {
            id: MessageId::new(&number, 7),
            conversation: Conversation {
                number,
                customer: CustomerId::parse("c1").unwrap(),
                brand: "default".to_owned(),
                portfolio: "p".to_owned(),
            },
            client_reference: "order 7\r\n".to_owned(),
            requested_at: at(0),
            priority: Priority::Reply,
            quota_at: None,
        };
        let requested = MessageEvent::Requested {
            requested_at: at(0),
            send_at: None,
            expires_at: at(99),
            failover: Failover::default(),
        };
        let fresh = evolve(None, &requested).unwrap();
        for event in every_event() {
            let after = evolve(Some(fresh.clone()), &event).unwrap();
            let record = record(&event, &after, &context, Details::default(), 5, at(1)).unwrap();
            assert_eq!(read(&record.event).unwrap().as_ref(), Some(&event));
            let reference = record
                .extensions
                .iter()
                .find(|(name, _)| *name == Extension::ClientReference);
            assert_eq!(
                reference.unwrap().1,
                "order 7",
                "a header carries no line breaks"
            );
        }
    }
}
