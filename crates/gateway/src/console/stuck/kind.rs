//! The kinds of stuck work: what each means, and what can be done about it.

use casement_proto::figures::v1::StuckKind;
use casement_shell::auth::{ALL_BRANDS, Scope};

use super::super::session::Session;

/// What is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Held,
    Unknown,
    Deferred,
    KeptBack,
    Failed,
    Halts,
    Paused,
    Dead,
    Parked,
}

/// What can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Takes messages back that were not sent.
    Cancel,
    /// Asks for failed messages again.
    Again,
    Lift,
    Resume,
    /// Has a role try dead letters again.
    Retry,
    /// Gives dead letters up.
    Drop,
    /// Puts parked posts on the log again.
    Replay,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Held,
        Self::Unknown,
        Self::Deferred,
        Self::KeptBack,
        Self::Failed,
        Self::Halts,
        Self::Paused,
        Self::Dead,
        Self::Parked,
    ];

    /// As it stands in addresses.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::Deferred => "deferred",
            Self::KeptBack => "kept",
            Self::Failed => "failed",
            Self::Halts => "halts",
            Self::Paused => "paused",
            Self::Dead => "dead",
            Self::Parked => "parked",
        }
    }

    pub(super) fn of(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.slug() == slug)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Held => "Held",
            Self::Unknown => "Outcome unknown",
            Self::Deferred => "Deferred",
            Self::KeptBack => "Kept back",
            Self::Failed => "Failed lately",
            Self::Halts => "Halts",
            Self::Paused => "Paused numbers",
            Self::Dead => "Dead letters",
            Self::Parked => "Parked posts",
        }
    }

    /// What it means and what ends it.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Held => {
                "Messages that wait until their customer writes. Each goes by itself then, or \
                 expires at the end of its time to live."
            }
            Self::Unknown => {
                "Messages whose provider was called and gave no answer. A report settles most of \
                 them; what none comes for is ended by the policy."
            }
            Self::Deferred => {
                "Messages that wait for the end of a halt, a pause or quiet hours, and go then by \
                 themselves."
            }
            Self::KeptBack => {
                "Messages that the platform took and keeps back, until it has judged the first of \
                 their kind or their template is no longer paused. It lets them go, or fails them."
            }
            Self::Failed => {
                "Messages of the last seven days that did not get through, or of which nobody \
                 knows. Sending one again makes a new message with the same content."
            }
            Self::Halts => {
                "What the platform or somebody here stopped. Look at why before lifting a halt: \
                 if its reason stands, it comes back with the next message."
            }
            Self::Paused => "Numbers that somebody paused. Their messages wait.",
            Self::Dead => {
                "What a role could not handle and set aside. Correct the cause, then retry; or \
                 give it up."
            }
            Self::Parked => {
                "Posts for numbers that no account knows. They go on by themselves when the \
                 account appears; release is for those whose account is there."
            }
        }
    }

    /// What to say when there is none.
    pub(super) fn none(self) -> &'static str {
        match self {
            Self::Held => "No message waits for its customer.",
            Self::Unknown => "The outcome of every attempt is known.",
            Self::Deferred => "No message waits for a halt, a pause or quiet hours.",
            Self::KeptBack => "The platform keeps nothing back.",
            Self::Failed => "Nothing failed in the last seven days.",
            Self::Halts => "Nothing is halted.",
            Self::Paused => "No number is paused.",
            Self::Dead => "There is no dead letter: every role handled all it was given.",
            Self::Parked => "Nothing is parked: every number that posts came for has its account.",
        }
    }

    pub(super) fn one(self) -> &'static str {
        match self {
            Self::Held | Self::Unknown | Self::Deferred | Self::KeptBack | Self::Failed => {
                "message"
            }
            Self::Halts => "halt",
            Self::Paused => "paused number",
            Self::Dead => "dead letter",
            Self::Parked => "number's parked posts",
        }
    }

    pub(super) fn many(self) -> &'static str {
        match self {
            Self::Held | Self::Unknown | Self::Deferred | Self::KeptBack | Self::Failed => {
                "messages"
            }
            Self::Halts => "halts",
            Self::Paused => "paused numbers",
            Self::Dead => "dead letters",
            Self::Parked => "numbers' parked posts",
        }
    }

    pub(super) fn tone(self) -> &'static str {
        match self {
            Self::Held | Self::Deferred | Self::KeptBack | Self::Failed | Self::Paused => "",
            Self::Unknown | Self::Parked => "warn",
            Self::Halts | Self::Dead => "bad",
        }
    }

    /// Whether its rows are messages.
    pub(super) fn is_message(self) -> bool {
        self.one() == "message"
    }

    /// By its name in the API, for those that the archive lists.
    pub(super) fn listed_as(self) -> Option<StuckKind> {
        match self {
            Self::Held => Some(StuckKind::HeldMessage),
            Self::Unknown => Some(StuckKind::UnknownOutcome),
            Self::Deferred => Some(StuckKind::DeferredMessage),
            Self::KeptBack => Some(StuckKind::KeptBackMessage),
            Self::Halts => Some(StuckKind::Halt),
            Self::Paused => Some(StuckKind::PausedNumber),
            Self::Failed | Self::Dead | Self::Parked => None,
        }
    }

    pub(super) fn actions(self) -> &'static [Action] {
        match self {
            Self::Held | Self::Deferred => &[Action::Cancel],
            Self::Unknown | Self::KeptBack => &[],
            Self::Failed => &[Action::Again],
            Self::Halts => &[Action::Lift],
            Self::Paused => &[Action::Resume],
            Self::Dead => &[Action::Retry, Action::Drop],
            Self::Parked => &[Action::Replay],
        }
    }

    /// What a token may see.
    fn is_offered(self, session: &Session) -> bool {
        match self {
            Self::Dead => sees_all(session) && session.may(Scope::Audit),
            Self::Parked => sees_all(session) && session.may(Scope::Admin),
            _ => session.may(Scope::Read),
        }
    }

    pub(super) fn offered(session: &Session) -> Vec<Self> {
        let all = Self::ALL.into_iter();
        all.filter(|kind| kind.is_offered(session)).collect()
    }
}

/// Whether the token acts for every brand: what belongs to none is theirs.
pub(super) fn sees_all(session: &Session) -> bool {
    session.caller.brand == ALL_BRANDS
}

impl Action {
    /// As it stands in forms.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Again => "again",
            Self::Lift => "lift",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Drop => "drop",
            Self::Replay => "replay",
        }
    }

    /// What stands on its button, before what is meant.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Cancel => "Withdraw",
            Self::Again => "Send again",
            Self::Lift => "Lift",
            Self::Resume => "Resume",
            Self::Retry => "Retry",
            Self::Drop => "Give up",
            Self::Replay => "Release",
        }
    }

    /// What it does, before it is done.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Cancel => {
                "They are ended and never sent. Those that a provider has been called for by then \
                 go out all the same. This cannot be undone."
            }
            Self::Again => {
                "Each becomes a new message with the same content, which takes the route that is \
                 open now and costs what that costs. Asking twice makes one."
            }
            Self::Lift => "What waits goes out. If the reason stands, the platform halts it again.",
            Self::Resume => "What waits goes out, in the order of its conversations.",
            Self::Retry => {
                "The roles that set them aside try them once more. What fails again stays here, \
                 with what was wrong."
            }
            Self::Drop => {
                "They are no longer listed and never handled; the log keeps them until their age \
                 takes them. This cannot be undone."
            }
            Self::Replay => {
                "Their items are put on the log once more, and handled as if they had come now."
            }
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Cancel | Self::Drop)
    }

    /// Whether it takes a reason, which the record keeps.
    pub(super) fn has_reason(self) -> bool {
        matches!(self, Self::Lift | Self::Retry | Self::Drop | Self::Replay)
    }

    /// Whether the customer may get something twice.
    pub(super) fn has_risk(self) -> bool {
        self == Self::Again
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Cancel | Self::Again | Self::Lift => Scope::Send,
            Self::Resume | Self::Retry | Self::Drop | Self::Replay => Scope::Admin,
        }
    }

    pub(super) fn is_offered(self, session: &Session) -> bool {
        session.may(self.scope())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_an_address_and_its_actions_are_told_apart() {
        let slugs: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.slug()), Some(kind));
            let actions: BTreeSet<&str> =
                kind.actions().iter().map(|action| action.slug()).collect();
            assert_eq!(actions.len(), kind.actions().len());
        }
        assert_eq!(Kind::of("nothing"), None);
    }
}
