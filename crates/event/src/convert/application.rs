//! Applications, to and from what is stored. Every event of one carries all of it.

use casement_domain::application::{
    Applicant, Application, End, HandOver, Kind, Progress, Source, Status, Step, Verification,
};
use casement_domain::id::{BrandId, BusinessNumber, PortfolioId};
use casement_proto::events::v1;
use jiff::Timestamp;

use super::{ConvertError, instant, required_instant, timestamp};
use crate::Event;

/// An application's event as it stands on the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told<'a> {
    /// The application as it was after it.
    pub application: &'a v1::Application,
    /// When.
    pub time: Option<prost_types::Timestamp>,
    /// Who.
    pub caller: &'a str,
}

/// Returns a step as stored.
pub fn step(of: Step) -> v1::ApplicationStep {
    match of {
        Step::Invite => v1::ApplicationStep::Invite,
        Step::Verification => v1::ApplicationStep::Verification,
        Step::Terms => v1::ApplicationStep::Terms,
        Step::Activation => v1::ApplicationStep::Activation,
    }
}

/// Returns a verification's status as stored.
pub fn status(of: Status) -> v1::VerificationStatus {
    match of {
        Status::NotBegun => v1::VerificationStatus::NotBegun,
        Status::Pending => v1::VerificationStatus::Pending,
        Status::Verified => v1::VerificationStatus::Verified,
        Status::Rejected => v1::VerificationStatus::Rejected,
    }
}

/// Reads a verification's status; `None` if it is none that this version knows.
pub fn read_status(stored: v1::VerificationStatus) -> Option<Status> {
    match stored {
        v1::VerificationStatus::Unspecified => None,
        v1::VerificationStatus::NotBegun => Some(Status::NotBegun),
        v1::VerificationStatus::Pending => Some(Status::Pending),
        v1::VerificationStatus::Verified => Some(Status::Verified),
        v1::VerificationStatus::Rejected => Some(Status::Rejected),
    }
}

fn source(of: Source) -> v1::VerificationSource {
    match of {
        Source::Application => v1::VerificationSource::Application,
        Source::Platform => v1::VerificationSource::Platform,
        Source::Caller => v1::VerificationSource::Caller,
    }
}

fn read_source(stored: v1::VerificationSource) -> Source {
    match stored {
        v1::VerificationSource::Unspecified | v1::VerificationSource::Application => {
            Source::Application
        }
        v1::VerificationSource::Platform => Source::Platform,
        v1::VerificationSource::Caller => Source::Caller,
    }
}

/// The one word for where an application stands.
fn state(of: &Application) -> v1::ApplicationState {
    let is_done = |step| of.step(step).done_at.is_some();
    match &of.end {
        Some(End::Activated { .. }) => v1::ApplicationState::Activated,
        Some(End::Cancelled { .. }) => v1::ApplicationState::Cancelled,
        None if of.hand_over.is_some() => v1::ApplicationState::Activating,
        None if is_done(Step::Terms) => v1::ApplicationState::TermsSigned,
        None if is_done(Step::Invite) => v1::ApplicationState::InviteAccepted,
        None => v1::ApplicationState::Started,
    }
}

/// Returns an application as stored.
pub fn application(id: &str, of: &Application) -> v1::Application {
    let (end_time, cancel_reason) = match &of.end {
        Some(End::Activated { at }) => (Some(timestamp(*at)), String::new()),
        Some(End::Cancelled { at, reason }) => (Some(timestamp(*at)), reason.clone()),
        None => (None, String::new()),
    };
    let progress = |one: Step| {
        let progress = of.step(one);
        v1::ApplicationStepProgress {
            step: step(one).into(),
            expected_by_time: progress.expected_by.map(timestamp),
            complete_time: progress.done_at.map(timestamp),
            overdue_time: progress.overdue_at.map(timestamp),
        }
    };
    let verification = &of.verification;
    v1::Application {
        application_id: id.to_owned(),
        brand_id: of.applicant.brand.to_string(),
        business_id: of.applicant.business.to_string(),
        number: of.applicant.number.digits().to_owned(),
        display_name: of.display_name.clone(),
        state: state(of).into(),
        steps: Step::ALL.map(progress).to_vec(),
        verification: Some(v1::BusinessVerification {
            status: status(verification.status).into(),
            source: source(verification.source).into(),
            time: verification.at.map(timestamp),
            caller: verification.caller.clone(),
            evidence: verification.evidence.clone(),
            platform_status: verification.platform_status.clone(),
            reasons: verification.reasons.clone(),
        }),
        fee: v1::ApplicationFee::NotRefundable.into(),
        start_time: Some(timestamp(of.started_at)),
        end_time,
        onboarding_id: of
            .hand_over
            .as_ref()
            .map(|to| to.onboarding.clone())
            .unwrap_or_default(),
        cancel_reason,
        hand_over_time: of.hand_over.as_ref().map(|to| timestamp(to.at)),
        etag: String::new(),
    }
}

/// Reads an application.
pub fn read(stored: &v1::Application) -> Result<Application, ConvertError> {
    let applicant = Applicant {
        brand: BrandId::parse(&stored.brand_id)?,
        business: PortfolioId::parse(&stored.business_id)?,
        number: BusinessNumber::parse(&stored.number)?,
    };
    let mut steps = [Progress::default(); 4];
    for (place, one) in Step::ALL.into_iter().enumerate() {
        let known = stored.steps.iter().find(|known| known.step() == step(one));
        if let Some(known) = known {
            steps[place] = Progress {
                expected_by: instant("expected_by_time", known.expected_by_time.as_ref())?,
                done_at: instant("complete_time", known.complete_time.as_ref())?,
                overdue_at: instant("overdue_time", known.overdue_time.as_ref())?,
            };
        }
    }
    let end = match stored.state() {
        v1::ApplicationState::Activated => Some(End::Activated {
            at: required_instant("end_time", stored.end_time.as_ref())?,
        }),
        v1::ApplicationState::Cancelled => Some(End::Cancelled {
            at: required_instant("end_time", stored.end_time.as_ref())?,
            reason: stored.cancel_reason.clone(),
        }),
        _ => None,
    };
    let hand_over = instant("hand_over_time", stored.hand_over_time.as_ref())?;
    Ok(Application {
        applicant,
        display_name: stored.display_name.clone(),
        started_at: required_instant("start_time", stored.start_time.as_ref())?,
        steps,
        verification: verification(stored.verification.as_ref())?,
        hand_over: hand_over.map(|at| HandOver {
            onboarding: stored.onboarding_id.clone(),
            at,
        }),
        end,
    })
}

fn verification(stored: Option<&v1::BusinessVerification>) -> Result<Verification, ConvertError> {
    let Some(stored) = stored else {
        return Ok(Verification::default());
    };
    Ok(Verification {
        status: read_status(stored.status()).unwrap_or_default(),
        source: read_source(stored.source()),
        at: instant("verification.time", stored.time.as_ref())?,
        caller: stored.caller.clone(),
        evidence: stored.evidence.clone(),
        platform_status: stored.platform_status.clone(),
        reasons: stored.reasons.clone(),
    })
}

/// Returns what happened as it is stored. `after` is the application as it is from then on.
pub fn event(id: &str, kind: &Kind, after: &Application, at: Timestamp, caller: &str) -> Event {
    let stored = application(id, after);
    macro_rules! told {
        ($name:ident $(, $field:ident: $value:expr)*) => {
            v1::$name {
                application: Some(stored),
                time: Some(timestamp(at)),
                caller: caller.to_owned(),
                $($field: $value,)*
            }
            .into()
        };
    }
    match kind {
        Kind::Started { .. } => told!(ApplicationStarted),
        Kind::Updated { .. } => told!(ApplicationUpdated),
        Kind::InviteAccepted => told!(ApplicationInviteAccepted),
        Kind::VerificationChanged(_) => told!(BusinessVerificationChanged),
        Kind::TermsSigned => told!(ApplicationTermsSigned),
        Kind::HandedOver { .. } => told!(ApplicationHandedOver),
        Kind::Activated => told!(ApplicationActivated),
        Kind::Overdue(one) => told!(
            ApplicationStepOverdue,
            step: step(*one).into(),
            expected_by_time: after.step(*one).expected_by.map(timestamp)
        ),
        Kind::Cancelled { .. } => told!(ApplicationCancelled),
    }
}

/// Returns what an event tells of an application; `None` if it is of none, or without it.
pub fn told(event: &Event) -> Option<Told<'_>> {
    macro_rules! any {
        ($($name:ident),*) => {
            match event {
                $(Event::$name(event) => {
                    (event.application.as_ref(), event.time, event.caller.as_str())
                })*
                _ => return None,
            }
        };
    }
    let (application, time, caller) = any!(
        ApplicationStarted,
        ApplicationUpdated,
        ApplicationInviteAccepted,
        BusinessVerificationChanged,
        ApplicationTermsSigned,
        ApplicationHandedOver,
        ApplicationActivated,
        ApplicationStepOverdue,
        ApplicationCancelled
    );
    Some(Told {
        application: application?,
        time,
        caller,
    })
}

#[cfg(test)]
mod tests {
    use casement_domain::application::{Command, Durations, Report, decide, evolve};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_application_reads_back_as_it_was_at_every_step_of_the_way() {
        let start = Command::Start {
            applicant: Applicant {
                brand: BrandId::parse("shop").unwrap(),
                business: PortfolioId::parse("900").unwrap(),
                number: BusinessNumber::parse("15550001111").unwrap(),
            },
            display_name: "The Shop".to_owned(),
            is_number_taken: false,
        };
        let verified = Command::Report(Report {
            status: Status::Verified,
            source: Source::Caller,
            at: at(40),
            caller: "ops".to_owned(),
            evidence: "ticket 12".to_owned(),
            platform_status: "APPROVED".to_owned(),
            reasons: vec!["none".to_owned()],
        });
        let hand_over = Command::HandOver {
            onboarding: "o1".to_owned(),
        };
        let connected = Command::Connected {
            onboarding: "o1".to_owned(),
        };
        let way = [
            (0, start, "STARTED"),
            (600_000, Command::Look, "STARTED"),
            (600_001, Command::AcceptInvite, "INVITE_ACCEPTED"),
            (600_002, Command::SignTerms, "TERMS_SIGNED"),
            (600_003, verified, "TERMS_SIGNED"),
            (600_004, hand_over, "ACTIVATING"),
            (600_005, connected, "ACTIVATED"),
        ];
        let mut state = None;
        for (second, command, name) in way {
            let durations = Durations::default();
            let decided = decide(state.as_ref(), command, &durations, at(second));
            let happened = decided.unwrap().unwrap();
            state = evolve(state, &happened);
            let after = state.as_ref().unwrap();
            let event = event("a1", &happened.kind, after, happened.at, "ops");
            let told = told(&event).unwrap();
            assert_eq!(&read(told.application).unwrap(), after);
            assert_eq!(told.application.application_id, "a1");
            let stands = told.application.state().as_str_name();
            assert_eq!(stands, format!("APPLICATION_STATE_{name}"));
            assert_eq!(told.application.fee(), v1::ApplicationFee::NotRefundable);
        }
    }
}
