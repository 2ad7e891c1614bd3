//! How a number comes onto the platform after its business signed up: which step follows which, and
//! what becomes of one that failed.
//!
//! Each step is begun on the log before it is made and ended there after, so that a process may end
//! anywhere. Whoever takes a step up looks at the platform first: a step may be done already.
//!
//! It calls nobody and reads no clock; what a step does is its caller's affair.

use jiff::{SignedDuration, Timestamp};

#[cfg(test)]
mod tests;

/// How long a step that was begun is left to whoever began it. Longer than its calls may take.
pub const LEASE: SignedDuration = SignedDuration::from_secs(90);

/// First wait before a step is tried again that met with something passing.
const AGAIN_MIN: SignedDuration = SignedDuration::from_secs(2);

/// Longest one.
const AGAIN_MAX: SignedDuration = SignedDuration::from_mins(10);

/// A step, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// What the token may do, and whether the number is its account's.
    Inspect,
    /// The app gets the account's webhooks.
    Subscribe,
    /// The number is registered with its PIN.
    Register,
    /// The number is connected, and put on record.
    Record,
    /// The account's templates are read.
    Templates,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::Inspect,
        Self::Subscribe,
        Self::Register,
        Self::Record,
        Self::Templates,
    ];

    /// Returns the step after this one. A number that stays on the phone app is not registered (Meta:
    /// onboarding business app users).
    pub fn next(self, is_coexistence: bool) -> Option<Self> {
        let after = Self::ALL.into_iter().filter(|step| *step > self);
        after
            .filter(|step| !(is_coexistence && *step == Self::Register))
            .min()
    }
}

/// Who has to do something before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// Casement, by itself.
    Casement,
    /// The platform.
    Platform,
    /// The business whose number it is.
    Business,
    /// Whoever runs this Casement.
    Operator,
}

/// Why a step came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The platform, or the log, is away.
    Away,
    /// Too many calls.
    TooManyCalls,
    /// The number is being changed (131057).
    Maintenance,
    /// The token is not valid, or has ended.
    TokenInvalid,
    /// The token is another app's.
    TokenOfAnotherApp,
    /// The token cannot be had: nothing is stored there, or nothing opens it.
    TokenMissing,
    /// The app's id or secret is wrong.
    AppWrong,
    /// The token may not manage the account, or not send from it.
    PermissionMissing,
    /// The account has no such number, or there is no such account.
    NumberNotInAccount,
    /// The number is another brand's here, or its id another number's.
    NumberTaken,
    /// The number's two-step PIN cannot be had.
    PinMissing,
    /// The number has another two-step PIN (133005).
    PinWrong,
    /// The PIN was wrong too often (133008).
    PinGuessedTooOften,
    /// The PIN was entered too fast (133009).
    PinTooFast,
    /// The number has to be verified with a code again (133006).
    VerifyFirst,
    /// The number was deleted minutes ago (133015).
    DeletedMomentsAgo,
    /// Another deregistration has to come first, and is under way (133000).
    HalfDeregistered,
    /// Casement's own count says that the platform would lock the number.
    BudgetSpent {
        /// When it is possible again.
        until: Timestamp,
    },
    /// The platform has locked the number (133016).
    RegistrationLocked,
    /// The account or its business is blocked.
    Blocked,
    /// The number is registered and not connected yet.
    NotConnected,
    /// The platform refused for another reason.
    Refused,
}

/// What becomes of a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again then.
    Again(Timestamp),
    /// Somebody has to help first.
    Stop,
}

impl Trouble {
    /// Returns a stable word for it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Away => "PLATFORM_AWAY",
            Self::TooManyCalls => "TOO_MANY_CALLS",
            Self::Maintenance => "NUMBER_IN_MAINTENANCE",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::TokenOfAnotherApp => "TOKEN_OF_ANOTHER_APP",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::AppWrong => "APP_WRONG",
            Self::PermissionMissing => "PERMISSION_MISSING",
            Self::NumberNotInAccount => "NUMBER_NOT_IN_ACCOUNT",
            Self::NumberTaken => "NUMBER_TAKEN",
            Self::PinMissing => "PIN_MISSING",
            Self::PinWrong => "PIN_WRONG",
            Self::PinGuessedTooOften => "PIN_GUESSED_TOO_OFTEN",
            Self::PinTooFast => "PIN_TOO_FAST",
            Self::VerifyFirst => "VERIFY_FIRST",
            Self::DeletedMomentsAgo => "DELETED_MOMENTS_AGO",
            Self::HalfDeregistered => "HALF_DEREGISTERED",
            Self::BudgetSpent { .. } => "REGISTRATION_BUDGET_SPENT",
            Self::RegistrationLocked => "REGISTRATION_LOCKED",
            Self::Blocked => "ACCOUNT_BLOCKED",
            Self::NotConnected => "NOT_CONNECTED",
            Self::Refused => "REFUSED",
        }
    }

    /// Returns who has to do something.
    pub fn party(self) -> Party {
        match self {
            Self::Away | Self::HalfDeregistered => Party::Casement,
            Self::TooManyCalls
            | Self::Maintenance
            | Self::PinTooFast
            | Self::DeletedMomentsAgo
            | Self::BudgetSpent { .. }
            | Self::RegistrationLocked
            | Self::NotConnected => Party::Platform,
            Self::TokenInvalid
            | Self::PermissionMissing
            | Self::NumberNotInAccount
            | Self::PinWrong
            | Self::PinGuessedTooOften
            | Self::VerifyFirst
            | Self::Blocked => Party::Business,
            Self::TokenOfAnotherApp
            | Self::TokenMissing
            | Self::AppWrong
            | Self::NumberTaken
            | Self::PinMissing
            | Self::Refused => Party::Operator,
        }
    }

    /// Returns what is wrong and what to do, for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Away => "the platform, or the log, did not answer: it is tried again by itself",
            Self::TooManyCalls => "the platform takes no more calls for now: it goes on by itself",
            Self::Maintenance => "the platform is changing the number: it goes on by itself",
            Self::TokenInvalid => {
                "the token is not valid any more: the business signs up again, and the new \
                 onboarding takes this one's place"
            }
            Self::TokenOfAnotherApp => {
                "the token is another app's than the one named: start again with that app's name"
            }
            Self::TokenMissing => {
                "the token cannot be read where it should be: put it there, and retry"
            }
            Self::AppWrong => {
                "accounts.apps has a wrong id or secret for the app: correct it, and retry"
            }
            Self::PermissionMissing => {
                "the token lacks whatsapp_business_management or whatsapp_business_messaging for \
                 the account: the business signs up again and agrees to both"
            }
            Self::NumberNotInAccount => {
                "the account has no such number: compare waba_id and phone_number_id with what the \
                 sign-up told, and start again with the right ones"
            }
            Self::NumberTaken => {
                "the number is on record for another brand, or its id for another number: correct \
                 that record first, and retry"
            }
            Self::PinMissing => "the number's PIN cannot be read: retry with the PIN",
            Self::PinWrong => {
                "the number has another two-step PIN: retry with the one it has, or its owner \
                 changes it in WhatsApp Manager"
            }
            Self::PinGuessedTooOften => {
                "the two-step PIN was wrong too often: wait as long as WhatsApp Manager says, then \
                 retry with the right one"
            }
            Self::PinTooFast => "the platform asks for a pause between PINs: it goes on by itself",
            Self::VerifyFirst => {
                "the number has to be verified again with a code, in WhatsApp Manager; then retry"
            }
            Self::DeletedMomentsAgo => {
                "the number was deleted moments ago and cannot come back yet: it goes on by itself"
            }
            Self::HalfDeregistered => {
                "an earlier deregistration did not finish: it is finished first, by itself"
            }
            Self::BudgetSpent { .. } => {
                "the number was registered ten times in 72 hours: once more would lock it, so it \
                 waits and goes on by itself"
            }
            Self::RegistrationLocked => {
                "the platform locked the number's registration for 72 hours: it goes on by itself \
                 after them"
            }
            Self::Blocked => {
                "the platform blocked the account or its business: see WhatsApp Manager, then retry"
            }
            Self::NotConnected => {
                "the number is registered and not connected yet: it is looked at again"
            }
            Self::Refused => {
                "the platform refused: see its code, and retry once that is dealt with"
            }
        }
    }

    /// Returns what becomes of the step, which was begun `tries` times.
    pub fn verdict(self, tries: u32, now: Timestamp) -> Verdict {
        let after = |wait: SignedDuration| {
            let at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
            Verdict::Again(at)
        };
        match self {
            Self::Away | Self::NotConnected => after(backoff(tries)),
            Self::HalfDeregistered => after(AGAIN_MIN),
            Self::Maintenance => after(SignedDuration::from_mins(1)),
            Self::DeletedMomentsAgo | Self::PinTooFast => after(SignedDuration::from_mins(5)),
            Self::TooManyCalls => after(SignedDuration::from_mins(15)),
            Self::BudgetSpent { until } => Verdict::Again(until.max(now)),
            Self::RegistrationLocked => after(crate::registration::SPAN),
            Self::TokenInvalid
            | Self::TokenOfAnotherApp
            | Self::TokenMissing
            | Self::AppWrong
            | Self::PermissionMissing
            | Self::NumberNotInAccount
            | Self::NumberTaken
            | Self::PinMissing
            | Self::PinWrong
            | Self::PinGuessedTooOften
            | Self::VerifyFirst
            | Self::Blocked
            | Self::Refused => Verdict::Stop,
        }
    }
}

fn backoff(tries: u32) -> SignedDuration {
    let doublings = tries.saturating_sub(1).min(16);
    let wait = AGAIN_MIN.checked_mul(1 << doublings);
    wait.unwrap_or(AGAIN_MAX).min(AGAIN_MAX)
}

/// How far an onboarding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The step is due, or under way.
    Running,
    /// The step goes on by itself, later.
    Waiting,
    /// The step needs somebody.
    Stopped,
    /// All is done.
    Done,
    /// It was given up.
    Cancelled,
}

impl State {
    /// Returns whether nothing follows.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// An onboarding, as far as its course goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The number stays on the phone app.
    pub is_coexistence: bool,
    /// How far it is.
    pub state: State,
    /// The step that is due, under way or stopped at.
    pub step: Step,
    /// Since when the step is under way.
    pub begun_at: Option<Timestamp>,
    /// How often the step was begun.
    pub tries: u32,
    /// When it is taken up again; `None` for not by itself.
    pub next_at: Option<Timestamp>,
    /// What keeps it.
    pub trouble: Option<Trouble>,
}

/// A wish that cannot be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is done or cancelled.
    #[error("onboarding is over")]
    Over,
    /// A step is under way.
    #[error("a step of the onboarding is under way: see it again in a moment")]
    Busy,
}

impl Course {
    /// Returns the course of an onboarding that starts now.
    pub fn start(is_coexistence: bool, now: Timestamp) -> Self {
        Self {
            is_coexistence,
            state: State::Running,
            step: Step::Inspect,
            begun_at: None,
            tries: 0,
            next_at: Some(now),
            trouble: None,
        }
    }

    /// Begins the step that is due, to be recorded before anything is called; `None` if none is.
    #[must_use]
    pub fn begin(&self, now: Timestamp) -> Option<Self> {
        let is_due = self.next_at.is_some_and(|at| at <= now);
        let goes_on = matches!(self.state, State::Running | State::Waiting);
        (is_due && goes_on).then(|| Self {
            state: State::Running,
            begun_at: Some(now),
            tries: self.tries.saturating_add(1),
            next_at: Some(now.checked_add(LEASE).unwrap_or(Timestamp::MAX)),
            ..self.clone()
        })
    }

    /// Ends the step that is under way: it is done.
    #[must_use]
    pub fn done(&self, now: Timestamp) -> Self {
        let next = self.step.next(self.is_coexistence);
        Self {
            is_coexistence: self.is_coexistence,
            state: if next.is_some() {
                State::Running
            } else {
                State::Done
            },
            step: next.unwrap_or(self.step),
            begun_at: None,
            tries: 0,
            next_at: next.map(|_| now),
            trouble: None,
        }
    }

    /// Ends the step that is under way: it came to nothing.
    #[must_use]
    pub fn failed(&self, trouble: Trouble, now: Timestamp) -> Self {
        let (state, next_at) = match trouble.verdict(self.tries, now) {
            Verdict::Again(at) => (State::Waiting, Some(at)),
            Verdict::Stop => (State::Stopped, None),
        };
        Self {
            state,
            begun_at: None,
            next_at,
            trouble: Some(trouble),
            ..self.clone()
        }
    }

    /// Takes the step up again at once, as somebody wishes.
    ///
    /// # Errors
    /// There is nothing to take up.
    pub fn retry(&self, now: Timestamp) -> Result<Self, Refusal> {
        match self.state {
            State::Done | State::Cancelled => Err(Refusal::Over),
            State::Running if self.begun_at.is_some() => Err(Refusal::Busy),
            State::Running | State::Waiting | State::Stopped => Ok(Self {
                state: State::Running,
                tries: 0,
                next_at: Some(now),
                trouble: None,
                ..self.clone()
            }),
        }
    }

    /// Gives it up; `None` if it was already.
    ///
    /// # Errors
    /// It is done.
    pub fn cancel(&self) -> Result<Option<Self>, Refusal> {
        match self.state {
            State::Done => Err(Refusal::Over),
            State::Cancelled => Ok(None),
            State::Running | State::Waiting | State::Stopped => Ok(Some(Self {
                state: State::Cancelled,
                begun_at: None,
                next_at: None,
                ..self.clone()
            })),
        }
    }
}
