//! Application: a business's way to a number of its own on the platform.
//!
//! Four steps: the business accepts the invite, the platform verifies the business, the business
//! signs the terms, the number is activated. Verification goes beside the others and has a time of
//! its own. Each step is expected by a time, and one that is not done by then is told once. What the
//! platform forbids is refused: business and number do not change, the fee is not refunded, nothing
//! is activated before the business is verified, and a number has one open application.
//!
//! How the number is registered is onboarding's affair; whose record says so, the caller's.

mod refusal;
mod verification;

use jiff::{SignedDuration, Timestamp};

use crate::id::{BrandId, BusinessNumber, PortfolioId};

pub use refusal::Refusal;
pub use verification::{Report, Source, Status, Verification};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The business accepts the invite.
    Invite,
    /// The platform verifies the business.
    Verification,
    /// The business signs the terms.
    Terms,
    /// The number is registered and connected.
    Activation,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 4] = [
        Self::Invite,
        Self::Verification,
        Self::Terms,
        Self::Activation,
    ];

    fn index(self) -> usize {
        match self {
            Self::Invite => 0,
            Self::Verification => 1,
            Self::Terms => 2,
            Self::Activation => 3,
        }
    }
}

/// How long each step is expected to take once it can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durations {
    /// From the start to the accepted invite.
    pub invite: SignedDuration,
    /// From the begun verification to the platform's word.
    pub verification: SignedDuration,
    /// From the accepted invite to the signed terms.
    pub terms: SignedDuration,
    /// From signed terms and verified business to the connected number.
    pub activation: SignedDuration,
}

impl Default for Durations {
    /// Ten days in all, and two weeks for the verification.
    fn default() -> Self {
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        Self {
            invite: days(3),
            verification: days(14),
            terms: days(4),
            activation: days(3),
        }
    }
}

/// Who applies for what. Fixed for the life of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// Whose tokens see it.
    pub brand: BrandId,
    /// Meta's id of the business.
    pub business: PortfolioId,
    /// The number.
    pub number: BusinessNumber,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// By when it is expected; `None` if that cannot be said yet.
    pub expected_by: Option<Timestamp>,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// When it was told that it is overdue.
    pub overdue_at: Option<Timestamp>,
}

/// To whom the last step was handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// The onboarding.
    pub onboarding: String,
    /// When.
    pub at: Timestamp,
}

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The number is registered and connected.
    Activated {
        /// When.
        at: Timestamp,
    },
    /// It was given up.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Who applies for what.
    pub applicant: Applicant,
    /// The name that customers are to see.
    pub display_name: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// By [`Step`], in order.
    pub steps: [Progress; 4],
    /// What the platform says of the business.
    pub verification: Verification,
    /// Who activates the number.
    pub hand_over: Option<HandOver>,
    /// `None` while it is open.
    pub end: Option<End>,
}

/// What is wished, or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start an application.
    Start {
        /// Who applies for what.
        applicant: Applicant,
        /// The name that customers are to see.
        display_name: String,
        /// Whether another application for the number is open.
        is_number_taken: bool,
    },
    /// Change what may change.
    Update {
        /// The business, if it is named.
        business: Option<PortfolioId>,
        /// The number, if it is named.
        number: Option<BusinessNumber>,
        /// The name, if it is named.
        display_name: Option<String>,
    },
    /// The invite was accepted.
    AcceptInvite,
    /// Somebody says how the verification stands.
    Report(Report),
    /// The terms were signed.
    SignTerms,
    /// Hand over to an onboarding.
    HandOver {
        /// Its id.
        onboarding: String,
    },
    /// The onboarding's number is registered and connected.
    Connected {
        /// The onboarding's id.
        onboarding: String,
    },
    /// Give up.
    Cancel {
        /// Why.
        reason: String,
        /// Whether the fee is asked for.
        wants_refund: bool,
    },
    /// See whether a step is overdue.
    Look,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// By when each step is expected from now on, by [`Step`].
    pub expected_by: [Option<Timestamp>; 4],
    /// What.
    pub kind: Kind,
}

/// What happened to an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It was started.
    Started {
        /// Who applies for what.
        applicant: Applicant,
        /// The name that customers are to see.
        display_name: String,
    },
    /// It was changed.
    Updated {
        /// The name that customers are to see.
        display_name: String,
    },
    /// The invite was accepted, and the verification began unless it had.
    InviteAccepted,
    /// The verification stands otherwise.
    VerificationChanged(Report),
    /// The terms were signed.
    TermsSigned,
    /// It was handed over.
    HandedOver {
        /// To this onboarding.
        onboarding: String,
    },
    /// The number is registered and connected.
    Activated,
    /// A step is late.
    Overdue(Step),
    /// It was given up.
    Cancelled {
        /// Why.
        reason: String,
    },
}

impl Application {
    /// Returns how far a step is.
    pub fn step(&self, step: Step) -> &Progress {
        &self.steps[step.index()]
    }

    /// Returns whether nothing has ended it.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Returns when a step will be overdue next, if none is done before. A step that waits for
    /// another is not overdue: that other one is.
    pub fn next_overdue(&self) -> Option<(Timestamp, Step)> {
        if !self.is_open() {
            return None;
        }
        let waited_for = Step::ALL.into_iter().filter_map(|step| {
            let progress = self.step(step);
            let is_waited_for =
                self.can_begin(step) && progress.done_at.is_none() && progress.overdue_at.is_none();
            Some((progress.expected_by?, step)).filter(|_| is_waited_for)
        });
        waited_for.min()
    }

    fn is_done(&self, step: Step) -> bool {
        self.step(step).done_at.is_some()
    }

    fn can_begin(&self, step: Step) -> bool {
        match step {
            Step::Invite => true,
            Step::Verification => self.verification.status == Status::Pending,
            Step::Terms => self.is_done(Step::Invite),
            Step::Activation => self.is_done(Step::Terms) && self.is_done(Step::Verification),
        }
    }

    /// By when each step is expected: the time of the one before it, as it was or is expected to
    /// be, and its own duration. What is done keeps what was expected.
    fn plan(&self, durations: &Durations) -> [Option<Timestamp>; 4] {
        let add = |at: Timestamp, by| at.checked_add(by).unwrap_or(Timestamp::MAX);
        let mut plan = self.steps.map(|progress| progress.expected_by);
        let mut expect = |step: Step, by: Option<Timestamp>| {
            if !self.is_done(step) {
                plan[step.index()] = by;
            }
            self.step(step).done_at.or(plan[step.index()])
        };
        let invite = expect(Step::Invite, Some(add(self.started_at, durations.invite)));
        let terms = expect(Step::Terms, invite.map(|at| add(at, durations.terms)));
        let pending_since = match self.verification.status {
            Status::Pending => self.verification.at,
            Status::NotBegun | Status::Verified | Status::Rejected => None,
        };
        expect(
            Step::Verification,
            pending_since.map(|at| add(at, durations.verification)),
        );
        // One that is not done is left out: it goes beside the others, in a time of its own.
        let both = terms.max(self.step(Step::Verification).done_at);
        expect(
            Step::Activation,
            both.map(|at| add(at, durations.activation)),
        );
        plan
    }
}

/// Decides on a wish. `None` if what is wished is so already.
pub fn decide(
    state: Option<&Application>,
    command: Command,
    durations: &Durations,
    now: Timestamp,
) -> Result<Option<Event>, Refusal> {
    let Some(kind) = kind(state, command, now)? else {
        return Ok(None);
    };
    let unplanned = Event {
        at: now,
        expected_by: state.map_or([None; 4], |known| known.steps.map(|step| step.expected_by)),
        kind,
    };
    let after = evolve(state.cloned(), &unplanned);
    let expected_by = after.map_or([None; 4], |after| after.plan(durations));
    Ok(Some(Event {
        expected_by,
        ..unplanned
    }))
}

fn kind(
    state: Option<&Application>,
    command: Command,
    now: Timestamp,
) -> Result<Option<Kind>, Refusal> {
    if let Command::Start {
        applicant,
        display_name,
        is_number_taken,
    } = command
    {
        return start(state, applicant, display_name, is_number_taken);
    }
    let known = state.ok_or(Refusal::Unknown)?;
    if let Some(end) = &known.end {
        return after_end(known, end, &command);
    }
    let kind = match command {
        Command::Start { .. } => None,
        Command::Update {
            business,
            number,
            display_name,
        } => {
            if business.is_some_and(|named| named != known.applicant.business) {
                return Err(Refusal::BusinessIdFixed);
            }
            if number.is_some_and(|named| named != known.applicant.number) {
                return Err(Refusal::NumberFixed);
            }
            display_name
                .filter(|named| *named != known.display_name)
                .map(|display_name| Kind::Updated { display_name })
        }
        Command::AcceptInvite => (!known.is_done(Step::Invite)).then_some(Kind::InviteAccepted),
        Command::Report(report) => {
            if report.at > now && report.source == Source::Caller {
                return Err(Refusal::ReportAhead);
            }
            let is_new = known.verification.takes(&report);
            is_new.then_some(Kind::VerificationChanged(report))
        }
        Command::SignTerms if !known.is_done(Step::Invite) => {
            return Err(Refusal::InviteNotAccepted);
        }
        Command::SignTerms => (!known.is_done(Step::Terms)).then_some(Kind::TermsSigned),
        Command::HandOver { onboarding } => {
            ready(known)?;
            let is_known = known.hand_over.as_ref();
            let is_known = is_known.is_some_and(|to| to.onboarding == onboarding);
            (!is_known).then_some(Kind::HandedOver { onboarding })
        }
        Command::Connected { onboarding } => {
            ready(known)?;
            let to = known.hand_over.as_ref();
            if to.is_none_or(|to| to.onboarding != onboarding) {
                return Err(Refusal::AnotherOnboarding);
            }
            Some(Kind::Activated)
        }
        Command::Cancel { wants_refund, .. } if wants_refund => {
            return Err(Refusal::FeeNotRefundable);
        }
        Command::Cancel { reason, .. } => Some(Kind::Cancelled { reason }),
        Command::Look => known
            .next_overdue()
            .filter(|(expected_by, _)| *expected_by <= now)
            .map(|(_, step)| Kind::Overdue(step)),
    };
    Ok(kind)
}

fn start(
    state: Option<&Application>,
    applicant: Applicant,
    display_name: String,
    is_number_taken: bool,
) -> Result<Option<Kind>, Refusal> {
    match state {
        // The same request again.
        Some(known) if known.applicant.number != applicant.number => Err(Refusal::NumberFixed),
        Some(known) if known.applicant.business != applicant.business => {
            Err(Refusal::BusinessIdFixed)
        }
        Some(_) => Ok(None),
        None if is_number_taken => Err(Refusal::NumberHasOpenApplication),
        None => Ok(Some(Kind::Started {
            applicant,
            display_name,
        })),
    }
}

/// What ended stays so: repeating what ended it is fine, and what is reported comes too late.
fn after_end(known: &Application, end: &End, command: &Command) -> Result<Option<Kind>, Refusal> {
    let handed_to = known.hand_over.as_ref().map(|to| &to.onboarding);
    match (command, end) {
        (Command::Cancel { wants_refund, .. }, _) if *wants_refund => {
            Err(Refusal::FeeNotRefundable)
        }
        (Command::Look, _) | (Command::Cancel { .. }, End::Cancelled { .. }) => Ok(None),
        (Command::Report(report), _) if report.source == Source::Platform => Ok(None),
        (
            Command::HandOver { onboarding } | Command::Connected { onboarding },
            End::Activated { .. },
        ) if handed_to == Some(onboarding) => Ok(None),
        _ => Err(Refusal::Ended),
    }
}

/// Whether nothing is in the way of activation.
fn ready(known: &Application) -> Result<(), Refusal> {
    if !known.is_done(Step::Invite) {
        Err(Refusal::InviteNotAccepted)
    } else if known.verification.status != Status::Verified {
        Err(Refusal::BusinessNotVerified)
    } else if !known.is_done(Step::Terms) {
        Err(Refusal::TermsNotSigned)
    } else {
        Ok(())
    }
}

/// Folds an event in. Without a start there is nothing to fold into.
pub fn evolve(state: Option<Application>, event: &Event) -> Option<Application> {
    let at = event.at;
    let mut state = match (&event.kind, state) {
        (
            Kind::Started {
                applicant,
                display_name,
            },
            _,
        ) => Application {
            applicant: applicant.clone(),
            display_name: display_name.clone(),
            started_at: at,
            steps: [Progress::default(); 4],
            verification: Verification::default(),
            hand_over: None,
            end: None,
        },
        (_, known) => known?,
    };
    let done = |steps: &mut [Progress; 4], step: Step| steps[step.index()].done_at = Some(at);
    match &event.kind {
        Kind::Started { .. } => {}
        Kind::Updated { display_name } => state.display_name.clone_from(display_name),
        Kind::InviteAccepted => {
            done(&mut state.steps, Step::Invite);
            state.verification.begin(at);
        }
        Kind::VerificationChanged(report) => {
            let is_verified = report.status == Status::Verified;
            state.steps[Step::Verification.index()].done_at = is_verified.then_some(report.at);
            state.verification.take(report);
        }
        Kind::TermsSigned => done(&mut state.steps, Step::Terms),
        Kind::HandedOver { onboarding } => {
            let onboarding = onboarding.clone();
            state.hand_over = Some(HandOver { onboarding, at });
        }
        Kind::Activated => {
            done(&mut state.steps, Step::Activation);
            state.end = Some(End::Activated { at });
        }
        Kind::Overdue(step) => state.steps[step.index()].overdue_at = Some(at),
        Kind::Cancelled { reason } => {
            let reason = reason.clone();
            state.end = Some(End::Cancelled { at, reason });
        }
    }
    for (progress, expected_by) in state.steps.iter_mut().zip(event.expected_by) {
        progress.expected_by = expected_by;
    }
    Some(state)
}

#[cfg(test)]
mod tests;
