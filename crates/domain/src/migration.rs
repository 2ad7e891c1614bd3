//! A number's move to another business account: its steps, what each waits for, what can stop it.
//!
//! The platform's steps come in one order (WhatsApp Cloud API: migrate phone numbers between
//! business accounts): what it asks for beforehand is met, the number is added to the destination,
//! a code proves whose it is, it is registered there. Then it is the destination's, and only
//! another migration brings it back. A step is begun on record before the platform is called, so
//! that a crash leaves a step whose outcome is looked for, never one that is blindly repeated.
//!
//! Nothing here calls anybody, and what a record says besides is its keeper's.

mod carried;
mod preconditions;

use jiff::{SignedDuration, Timestamp};

pub use carried::{Carried, Item, NumberFacts, Quality, Report, Template, compare, kept};
pub use preconditions::{Destination, Found, Kind, Precondition, Source, Verdict, check, unmet};

/// How long somebody who began a step may be at work before the platform is asked what became of
/// it: longer than a call takes.
pub const CALL_WITHIN: SignedDuration = SignedDuration::from_secs(25);

/// How often it is looked for whether the number was verified without us.
pub const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// How long a step that a person has to do something about waits before it is tried again
/// anyway, where trying costs nothing.
pub const TRY_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// Waits between tries of a step that the platform could not take for now.
const PASSING: [SignedDuration; 5] = [
    SignedDuration::from_secs(1),
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(20),
    SignedDuration::from_secs(60),
    SignedDuration::from_secs(300),
];

/// A step, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// What the platform asks for beforehand is looked for.
    Check,
    /// The number is added to the destination.
    Add,
    /// The platform sends a code to the number.
    RequestCode,
    /// Somebody gives the code.
    VerifyCode,
    /// The number is registered at the destination.
    Register,
    /// The number's record is switched.
    Switch,
    /// The templates that came along are told from those that did not.
    CompareTemplates,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 7] = [
        Self::Check,
        Self::Add,
        Self::RequestCode,
        Self::VerifyCode,
        Self::Register,
        Self::Switch,
        Self::CompareTemplates,
    ];

    /// Returns the step after it; `None` after the last.
    pub fn next(self) -> Option<Self> {
        let after = Self::ALL.into_iter().skip_while(|step| *step != self);
        after.skip(1).find(|_| true)
    }

    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "CHECK",
            Self::Add => "ADD",
            Self::RequestCode => "REQUEST_CODE",
            Self::VerifyCode => "VERIFY_CODE",
            Self::Register => "REGISTER",
            Self::Switch => "SWITCH",
            Self::CompareTemplates => "COMPARE_TEMPLATES",
        }
    }

    /// Returns within which time it should be over. Ours: the platform promises none. A person who
    /// gives a code has an hour.
    pub fn expected_within(self) -> SignedDuration {
        match self {
            Self::Check | Self::Add | Self::RequestCode => SignedDuration::from_mins(10),
            Self::VerifyCode | Self::CompareTemplates => SignedDuration::from_hours(1),
            Self::Register => SignedDuration::from_mins(5),
            Self::Switch => SignedDuration::from_mins(1),
        }
    }
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is to be begun.
    Due {
        /// When.
        at: Timestamp,
    },
    /// It was begun, and what became of it is not known.
    Begun {
        /// When the platform is asked.
        look_at: Timestamp,
    },
    /// Somebody has to give the code.
    AwaitsCode {
        /// When it is looked for whether the number was verified without us.
        look_at: Timestamp,
    },
    /// Somebody has to do something.
    Stuck {
        /// When it is tried again anyway; `None` if trying has a price.
        again_at: Option<Timestamp>,
    },
}

/// How a migration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The number is at its destination.
    Completed,
    /// It was given up before.
    Cancelled,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// What is under way, or comes next; of one that ended, what came last.
    pub step: Step,
    /// How it stands.
    pub standing: Standing,
    /// Since when the step is the present one.
    pub since: Timestamp,
    /// When it should be over.
    pub expected_by: Timestamp,
    /// That it is not was told.
    pub is_overdue: bool,
    /// How often it was begun.
    pub calls: u32,
    /// The number is the destination's.
    pub is_handed_over: bool,
    /// How it ended; `None` while it is open.
    pub ended: Option<End>,
}

/// What a migration needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Record that the step is begun; whose record it is takes it.
    Begin(Step),
    /// Ask the platform whether the step is done already.
    LookUp(Step),
    /// Tell that the step is overdue.
    TellOverdue,
    /// Nothing before then, if nothing else happens.
    Wait(Timestamp),
    /// Nothing, unless somebody does something.
    Rest,
}

/// What happens to a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// The step was begun.
    Begun,
    /// It is done.
    Done,
    /// Nobody knows what became of it.
    Unclear,
    /// The platform cannot take it for now, or nobody answered, and it is certain that it was not
    /// done.
    Passing,
    /// It was not done, and does not get better without somebody.
    Stuck {
        /// Whether to try again by itself.
        tries_again: bool,
    },
    /// The number has to be verified again before it can be registered.
    VerifyAgain,
    /// The step has taken longer than it should.
    Overdue,
    /// Somebody wants it tried again now.
    Resumed,
    /// Somebody wants another code sent.
    CodeAsked,
    /// Somebody gave the code, which is handed to the platform now.
    CodeGiven,
    /// The code was wrong, or it is not known whether it was taken.
    CodeRefused,
    /// Somebody gives the migration up.
    Cancelled,
}

/// Why something cannot happen to a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is over.
    #[error("migration is over")]
    Ended,
    /// No code was asked for, or one was taken already.
    #[error("migration waits for no code")]
    NoCodeAwaited,
    /// The number is the destination's: only another migration brings it back.
    #[error("number is handed over: only another migration brings it back")]
    HandedOver,
    /// It may be handed over by now.
    #[error("number is being registered at the destination: what became of it is looked for")]
    RegisterUnderWay,
    /// Somebody is at it.
    #[error("step is under way")]
    UnderWay,
    /// It does not follow from how the migration stands.
    #[error("migration stands elsewhere")]
    Elsewhere,
}

impl Course {
    /// The course of a migration that is started.
    pub fn start(now: Timestamp) -> Self {
        Self {
            step: Step::Check,
            standing: Standing::Due { at: now },
            since: now,
            expected_by: add(now, Step::Check.expected_within()),
            is_overdue: false,
            calls: 0,
            is_handed_over: false,
            ended: None,
        }
    }

    /// Returns what it needs now.
    pub fn next(&self, now: Timestamp) -> Next {
        if self.ended.is_some() {
            return Next::Rest;
        }
        match self.standing {
            Standing::Due { at } if at <= now => return Next::Begin(self.step),
            Standing::Stuck {
                again_at: Some(at), ..
            } if at <= now => return Next::Begin(self.step),
            Standing::Begun { look_at } | Standing::AwaitsCode { look_at } if look_at <= now => {
                return Next::LookUp(self.step);
            }
            _ => {}
        }
        if !self.is_overdue && self.expected_by <= now {
            return Next::TellOverdue;
        }
        self.due_at().map_or(Next::Rest, Next::Wait)
    }

    /// Returns when it needs attention if nothing else happens; `None` for never.
    pub fn due_at(&self) -> Option<Timestamp> {
        if self.ended.is_some() {
            return None;
        }
        let by_standing = match self.standing {
            Standing::Due { at } => Some(at),
            Standing::Begun { look_at } | Standing::AwaitsCode { look_at } => Some(look_at),
            Standing::Stuck { again_at } => again_at,
        };
        let overdue = (!self.is_overdue).then_some(self.expected_by);
        by_standing.into_iter().chain(overdue).min()
    }

    /// Returns the course after something happened.
    #[expect(
        clippy::match_same_arms,
        reason = "each arm is about one thing that may happen"
    )]
    pub fn after(&self, happened: Happened, now: Timestamp) -> Result<Self, Refusal> {
        if self.ended.is_some() {
            return Err(Refusal::Ended);
        }
        let is_begun = matches!(self.standing, Standing::Begun { .. });
        let awaits = matches!(self.standing, Standing::AwaitsCode { .. });
        // A code cannot be tried again by itself: it is stored nowhere.
        let stands = |standing| match (self.step, standing) {
            (Step::VerifyCode, Standing::Due { .. } | Standing::Stuck { .. }) => {
                Ok(self.awaiting(now))
            }
            (_, standing) => Ok(Self { standing, ..*self }),
        };
        match happened {
            Happened::Begun | Happened::Resumed if is_begun => Err(Refusal::UnderWay),
            Happened::Begun if awaits => Err(Refusal::Elsewhere),
            Happened::Begun => Ok(self.begun(now)),
            Happened::Done if is_begun || awaits => Ok(self.done(now)),
            Happened::Unclear if is_begun => stands(Standing::Begun {
                look_at: add(now, self.pause()),
            }),
            Happened::Passing if is_begun => stands(Standing::Due {
                at: add(now, self.pause()),
            }),
            Happened::Stuck { tries_again } if is_begun => stands(Standing::Stuck {
                again_at: tries_again.then(|| add(now, TRY_AGAIN_AFTER)),
            }),
            Happened::VerifyAgain if is_begun && self.step == Step::Register => {
                Ok(self.at(Step::RequestCode, now))
            }
            Happened::Overdue if !self.is_overdue => Ok(Self {
                is_overdue: true,
                ..*self
            }),
            Happened::Resumed if awaits => Ok(*self),
            Happened::Resumed => stands(Standing::Due { at: now }),
            Happened::CodeAsked if self.step == Step::VerifyCode && !is_begun => {
                Ok(self.at(Step::RequestCode, now))
            }
            Happened::CodeGiven if self.step == Step::VerifyCode && !is_begun => {
                Ok(self.begun(now))
            }
            Happened::CodeAsked | Happened::CodeGiven if self.step == Step::VerifyCode => {
                Err(Refusal::UnderWay)
            }
            Happened::CodeAsked | Happened::CodeGiven => Err(Refusal::NoCodeAwaited),
            Happened::Done
            | Happened::Unclear
            | Happened::Passing
            | Happened::Stuck { .. }
            | Happened::VerifyAgain
            | Happened::Overdue => Err(Refusal::Elsewhere),
            // It is being awaited still: that is no news.
            Happened::CodeRefused if self.step == Step::VerifyCode => Ok(self.awaiting(now)),
            Happened::CodeRefused => Err(Refusal::Elsewhere),
            Happened::Cancelled if self.is_handed_over => Err(Refusal::HandedOver),
            Happened::Cancelled if is_begun && self.step == Step::Register => {
                Err(Refusal::RegisterUnderWay)
            }
            Happened::Cancelled => Ok(Self {
                ended: Some(End::Cancelled),
                ..*self
            }),
        }
    }

    fn awaiting(&self, now: Timestamp) -> Self {
        Self {
            standing: Standing::AwaitsCode {
                look_at: add(now, LOOK_EVERY),
            },
            ..*self
        }
    }

    fn begun(&self, now: Timestamp) -> Self {
        Self {
            standing: Standing::Begun {
                look_at: add(now, CALL_WITHIN),
            },
            calls: self.calls.saturating_add(1),
            ..*self
        }
    }

    fn done(&self, now: Timestamp) -> Self {
        let is_handed_over = self.is_handed_over || self.step == Step::Register;
        match self.step.next() {
            Some(step) => Self {
                is_handed_over,
                ..self.at(step, now)
            },
            None => Self {
                ended: Some(End::Completed),
                ..*self
            },
        }
    }

    fn at(&self, step: Step, now: Timestamp) -> Self {
        let standing = match step {
            Step::VerifyCode => Standing::AwaitsCode {
                look_at: add(now, LOOK_EVERY),
            },
            _ => Standing::Due { at: now },
        };
        Self {
            step,
            standing,
            since: now,
            expected_by: add(now, step.expected_within()),
            is_overdue: false,
            calls: 0,
            is_handed_over: self.is_handed_over,
            ended: None,
        }
    }

    fn pause(&self) -> SignedDuration {
        let tries = usize::try_from(self.calls.saturating_sub(1)).unwrap_or(usize::MAX);
        PASSING[tries.min(PASSING.len() - 1)]
    }
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
