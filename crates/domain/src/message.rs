//! An outbound message's life: requested, held, attempted, reported on, ended.
//!
//! The state is folded from events; `next` says what a message needs now; the functions after
//! it turn what happened outside (a decision, a provider's answer, a report) into the next
//! event. One event at a time: after each append the caller asks again, so a crash between two
//! appends leaves a state that goes on by itself.
//!
//! Nothing here calls anybody. `AttemptStarted` is the claim: whoever appended it, and nobody
//! else, may make the one call that it stands for.

use jiff::{SignedDuration, Timestamp};

use crate::failover::Failover;
use crate::routing::Route;

mod decide;
mod overdue;
mod report;
mod stakes;
mod state;

pub use decide::{
    CUSTOMER_ERASED, CancelRefusal, Next, cancel, dead_end, erase, next, on_accepted, on_decision,
    on_rejected, on_unknown,
};
pub use report::{DeliveryStatus, Report, ReportedFailure, on_report};
pub use stakes::{Answers, Sending, Stakes, stakes};
pub use state::evolve;

/// The stable word for a claim that met a halt before its call.
const STOPPED: &str = "STOPPED";

/// The stable word for a phone that no SMS reaches.
const UNREACHABLE_BY_SMS: &str = "UNREACHABLE_BY_SMS";

/// What to do about an attempt whose outcome nobody reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// End the message as unknown. The default: a duplicate is worse than a gap.
    GiveUp,
    /// Try the next route; the customer may get it twice.
    NextRoute,
    /// Try the same route again; the customer may get it twice.
    Retry,
}

impl OnUnknown {
    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GiveUp => "GIVE_UP",
            Self::NextRoute => "NEXT_ROUTE",
            Self::Retry => "RETRY",
        }
    }
}

/// The times and numbers that a message's life is run by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// From the claim on, how long the call may still be begun.
    pub call_by: SignedDuration,
    /// How long the call itself may take.
    pub call_timeout: SignedDuration,
    /// How long an unknown outcome waits for a report.
    pub reconcile_after: SignedDuration,
    /// What happens then.
    pub on_unknown: OnUnknown,
    /// How long a held message waits before it is looked at again without a reason.
    pub recheck_after: SignedDuration,
    /// Pauses before the same route is tried again; then it is exhausted.
    pub retry_schedule: Vec<SignedDuration>,
    /// How many attempts a message gets in all.
    pub attempts_max: usize,
    /// How long reports are waited for after acceptance. Meta keeps trying for 30 days.
    pub report_within: SignedDuration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            call_by: SignedDuration::from_secs(5),
            call_timeout: SignedDuration::from_secs(20),
            reconcile_after: SignedDuration::from_mins(15),
            on_unknown: OnUnknown::GiveUp,
            recheck_after: SignedDuration::from_secs(60),
            retry_schedule: [1, 4, 16, 64].map(SignedDuration::from_secs).to_vec(),
            attempts_max: 10,
            report_within: SignedDuration::from_hours(30 * 24),
        }
    }
}

/// A message as its events made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it is no longer worth sending.
    pub expires_at: Timestamp,
    /// What makes it go on by another route.
    pub failover: Failover,
    /// The attempt that nothing was heard of in time, and that may still arrive.
    pub overdue: Option<Overdue>,
    /// Where it stands.
    pub phase: Phase,
    /// Every attempt, in order; their numbers count from 1.
    pub attempts: Vec<Attempt>,
    /// Routes that are not tried again.
    pub exhausted: Vec<Route>,
    /// SMS gateways that are not tried again.
    pub exhausted_gateways: Vec<String>,
    /// A gateway found that no SMS reaches the customer's phone.
    pub is_unreachable_by_sms: bool,
    /// The furthest delivery status of any attempt.
    pub delivery: Option<DeliveryStatus>,
    /// The customer got it twice, and that is recorded.
    pub is_doubly_exposed: bool,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It wants to be routed at this time.
    Pending {
        /// When.
        due_at: Timestamp,
        /// The halt that it was put off for, if it was.
        deferral: Option<Deferral>,
    },
    /// It waits for the customer.
    Held {
        /// When it is looked at again without a reason.
        recheck_at: Timestamp,
    },
    /// A provider is being called.
    Attempting {
        /// The attempt.
        attempt: u32,
        /// After this its outcome is unknown.
        outcome_by: Timestamp,
    },
    /// Nobody knows whether the provider took it.
    Unknown {
        /// The attempt.
        attempt: u32,
        /// Until then a report may tell.
        reconcile_until: Timestamp,
    },
    /// The provider took it; reports are awaited.
    Accepted {
        /// The attempt.
        attempt: u32,
        /// When reports no longer come.
        reports_until: Timestamp,
        /// Why the platform keeps it back, as long as nothing is heard of it.
        kept_back: Option<KeptBack>,
        /// When another route is taken if no delivery is reported; `None` for never.
        overdue_at: Option<Timestamp>,
    },
    /// It is as good as over; the end is yet to be recorded.
    Ending {
        /// How it ends.
        outcome: Outcome,
        /// Why, stable.
        reason: String,
    },
    /// It is over.
    Ended {
        /// How it ended.
        outcome: Outcome,
    },
}

/// An attempt that was accepted, and whose delivery nobody reported in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// The attempt.
    pub attempt: u32,
    /// When reports of it no longer come.
    pub reports_until: Timestamp,
}

/// Why a message was put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// Stable, for programs.
    pub cause: String,
    /// The halt's id.
    pub halt: String,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The customer has it.
    Delivered,
    /// Accepted, and no report ever came.
    Unconfirmed,
    /// No route got it through.
    Failed,
    /// It was no longer worth sending.
    Expired,
    /// The caller withdrew it.
    Cancelled,
    /// Whether it went out is unknown, and the policy gave up.
    Unknown,
    /// The customer has no phone, or one that no SMS reaches, and nothing else was open.
    UnreachableBySms,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// Its route.
    pub route: Route,
    /// The SMS gateway; empty for WhatsApp, and for an SMS from before there were several.
    pub gateway: String,
    /// The gateways that it could have gone through besides, in their order.
    pub other_gateways: Vec<String>,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// What is known of it.
    pub state: AttemptState,
    /// False if a halt came before the call that it stands for.
    pub was_called: bool,
    /// The furthest status that reports gave.
    pub delivery: Option<DeliveryStatus>,
    /// A report said that it failed after one said that it arrived.
    pub is_contradicted: bool,
}

/// Why the platform keeps back what it took. It may let it go later, or drop it with an error.
///
/// Meta: template pacing, portfolio pacing; `message_status` of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptBack {
    /// Until it has judged the quality of the first messages of its kind.
    QualityAssessment,
    /// Its template is paused.
    Paused,
}

impl KeptBack {
    /// Reads the platform's word for the state of a message that it took.
    pub fn parse(status: &str) -> Option<Self> {
        match status {
            "held_for_quality_assessment" => Some(Self::QualityAssessment),
            "paused" => Some(Self::Paused),
            _ => None,
        }
    }

    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QualityAssessment => "HELD_FOR_QUALITY_ASSESSMENT",
            Self::Paused => "PAUSED",
        }
    }
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// Claimed; the call may be under way.
    Started,
    /// The provider took it.
    Accepted {
        /// The provider's id of the message.
        provider_id: String,
        /// Why the platform keeps it back, as long as nothing is heard of it.
        kept_back: Option<KeptBack>,
    },
    /// The provider refused it, or it certainly never left.
    Rejected,
    /// Nobody knows yet.
    Unknown,
    /// Nobody ever knew, and the policy went on.
    Abandoned,
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are those of the stored events, documented there"
)]
pub enum Event {
    Requested {
        requested_at: Timestamp,
        send_at: Option<Timestamp>,
        expires_at: Timestamp,
        failover: Failover,
    },
    Held {
        at: Timestamp,
        recheck_at: Timestamp,
        expires_at: Timestamp,
    },
    Released {
        at: Timestamp,
        cause: String,
    },
    Deferred {
        at: Timestamp,
        until: Timestamp,
        cause: String,
        halt: String,
    },
    AttemptStarted {
        attempt: u32,
        route: Route,
        gateway: String,
        other_gateways: Vec<String>,
        at: Timestamp,
        call_by: Timestamp,
        outcome_by: Timestamp,
    },
    AttemptAccepted {
        attempt: u32,
        provider_id: String,
        at: Timestamp,
        from_report: bool,
        reports_until: Timestamp,
        kept_back: Option<KeptBack>,
        overdue_at: Option<Timestamp>,
    },
    AttemptRejected {
        attempt: u32,
        at: Timestamp,
        rejection: Rejection,
        from_report: bool,
    },
    AttemptUnknown {
        attempt: u32,
        at: Timestamp,
        reason: String,
        reconcile_until: Timestamp,
    },
    AttemptAbandoned {
        attempt: u32,
        at: Timestamp,
        policy: OnUnknown,
        exhausted: Vec<Route>,
    },
    /// No delivery was reported in time.
    DeliveryOverdue {
        attempt: u32,
        at: Timestamp,
        /// Another route is taken; else reports are awaited as before.
        moves_on: bool,
        is_risky: bool,
        exhausted: Vec<Route>,
        reports_until: Timestamp,
    },
    DeliveryAdvanced {
        attempt: u32,
        status: DeliveryStatus,
        at: Timestamp,
    },
    DeliveryContradicted {
        attempt: u32,
        code: i64,
        known: DeliveryStatus,
        at: Timestamp,
    },
    /// A report told what an attempt is billed at, and nothing else that is new.
    Billed {
        attempt: u32,
        at: Timestamp,
    },
    /// Two attempts reached the customer.
    DoubleExposure {
        attempts: [u32; 2],
        at: Timestamp,
    },
    Ended {
        outcome: Outcome,
        reason: String,
        at: Timestamp,
    },
    Expired {
        at: Timestamp,
    },
    Cancelled {
        at: Timestamp,
    },
}

/// A refusal and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The provider's code; 0 if it gave none.
    pub code: i64,
    /// What the error table says, stable.
    pub action: String,
    /// Routes that are not tried again.
    pub exhausted: Vec<Route>,
    /// SMS gateways that are not tried again.
    pub exhausted_gateways: Vec<String>,
    /// When to go on; at once if `None`.
    pub retry_at: Option<Timestamp>,
}

/// What the error table says about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The same route works later, by the schedule.
    Retry,
    /// The same route works after this long.
    RetryAfter(SignedDuration),
    /// The customer has had enough of its kind: not again before this long, by no route.
    Capped(SignedDuration),
    /// More than this message is concerned: it waits for the end of the halt, which routing sees.
    Halted,
    /// A halt came between the claim and the call: nobody was called, and it waits as above.
    Stopped,
    /// Somebody else has the thread: free-form is refused, a template may do.
    ThreadControl,
    /// The window is closed: a template may do.
    SwitchToTemplate,
    /// This template will not do; another channel may.
    TemplateUnusable,
    /// This SMS gateway cannot; another may.
    NextGateway,
    /// No SMS reaches this phone, whoever sends it.
    UnreachableBySms,
    /// WhatsApp will not reach this customer; another channel may.
    NextChannel,
    /// Neither this nor another channel should carry this message.
    Fail,
}

impl Refusal {
    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::RetryAfter(_) => "RETRY_AFTER",
            Self::Capped(_) => "CAPPED",
            Self::Halted => "HALTED",
            Self::Stopped => STOPPED,
            Self::ThreadControl => "THREAD_CONTROL",
            Self::SwitchToTemplate => "SWITCH_TO_TEMPLATE",
            Self::TemplateUnusable => "TEMPLATE_UNUSABLE",
            Self::NextGateway => "NEXT_GATEWAY",
            Self::UnreachableBySms => UNREACHABLE_BY_SMS,
            Self::NextChannel => "NEXT_CHANNEL",
            Self::Fail => "FAIL",
        }
    }
}

#[cfg(test)]
mod tests;
