//! How colleagues handle a conversation: whose it is, whether it is closed, what is read, and under
//! which labels it goes.
//!
//! Closed ends when the customer does something newer than the close has seen. That is read off
//! the two times, so nothing has to be written for it, and no order of arrival loses a message.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Colleague, Label};

/// Most labels of a conversation.
pub const LABEL_COUNT_MAX: usize = 20;

/// How a conversation is handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    /// Whose it is; `None` for nobody's.
    pub assignment: Option<Assignment>,
    /// The last close that nobody took back. The customer may have: [`Handling::is_closed`].
    pub closing: Option<Closing>,
    /// When the log took the newest that a colleague has read.
    pub read_through: Option<Timestamp>,
    /// What it goes under.
    pub labels: BTreeSet<Label>,
    /// How many notes there are.
    pub note_count: u64,
}

/// Whose a conversation is, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The colleague.
    pub to: Colleague,
    /// When it was given to them.
    pub at: Timestamp,
}

/// A close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Who closed.
    pub by: Colleague,
    /// When.
    pub at: Timestamp,
    /// When the log took the newest of the customer that was seen at that time.
    pub through: Timestamp,
}

/// What a colleague does. Times are those at which the log took things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Gives it to somebody.
    Assign(Colleague),
    /// Lets it go.
    Unassign,
    /// Closes it, having seen all up to a time; `None` for all that is known.
    Close {
        /// Up to where.
        through: Option<Timestamp>,
    },
    /// Reopens it.
    Reopen,
    /// Has read all up to a time; `None` for all that is known.
    Read {
        /// Up to where.
        through: Option<Timestamp>,
    },
    /// Adds a label.
    Label(Label),
    /// Removes a label.
    Unlabel(Label),
}

impl Action {
    /// Returns it as the command that does it.
    pub fn command(&self) -> String {
        match self {
            Self::Assign(to) => format!("/assign {to}"),
            Self::Unassign => "/unassign".to_owned(),
            Self::Close { .. } => "/close".to_owned(),
            Self::Reopen => "/reopen".to_owned(),
            Self::Read { .. } => "/read".to_owned(),
            Self::Label(label) => format!("/label {label}"),
            Self::Unlabel(label) => format!("/unlabel {label}"),
        }
    }

    /// Whether it may contradict what another colleague has just done. Reading only goes forward.
    fn may_contradict(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }
}

/// What a colleague had before their eyes who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// They do not say.
    Untold,
    /// The present.
    Present,
    /// Something that has changed since.
    Past,
}

/// When something is done, and by whom.
#[derive(Debug, Clone)]
pub struct Moment<'a> {
    /// The colleague.
    pub by: &'a Colleague,
    /// The present time.
    pub now: Timestamp,
    /// When the log took the newest of the customer; `None` if nothing was heard of them.
    pub heard: Option<Timestamp>,
    /// What they had seen.
    pub seen: Seen,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another colleague has it, and whoever takes it from them has to have seen that.
    #[error(
        "conversation is assigned to {0}; to take it from them, name the etag of the conversation \
         as you see it"
    )]
    Taken(Colleague),
    /// Somebody has changed something since.
    #[error("conversation has changed since it was looked at; {}", whose(.0.as_ref()))]
    Changed(Option<Colleague>),
    /// There is no room for another label.
    #[error("conversation would have more than {LABEL_COUNT_MAX} labels")]
    TooManyLabels,
}

fn whose(assignee: Option<&Colleague>) -> String {
    assignee.map_or_else(
        || "nobody has it now".to_owned(),
        |assignee| format!("{assignee} has it now"),
    )
}

impl Handling {
    /// Returns whether it is closed, given when the log took the newest of the customer.
    pub fn is_closed(&self, heard: Option<Timestamp>) -> bool {
        let through = self.closing.as_ref().map(|closing| closing.through);
        through.is_some_and(|through| heard.is_none_or(|heard| heard <= through))
    }

    /// Returns whether the customer did something that no colleague has read.
    pub fn is_unread(&self, heard: Option<Timestamp>) -> bool {
        heard.is_some_and(|heard| self.read_through.is_none_or(|read| read < heard))
    }

    /// Returns whose it is.
    pub fn assignee(&self) -> Option<&Colleague> {
        self.assignment.as_ref().map(|assignment| &assignment.to)
    }
}

/// Returns how a conversation is handled after some actions, all of them or none. What is so
/// already changes nothing.
pub fn decide(
    present: &Handling,
    actions: &[Action],
    moment: &Moment<'_>,
) -> Result<Handling, Refusal> {
    if moment.seen == Seen::Past && actions.iter().any(Action::may_contradict) {
        return Err(Refusal::Changed(present.assignee().cloned()));
    }
    let mut next = present.clone();
    for action in actions {
        act(&mut next, action, moment)?;
    }
    Ok(next)
}

fn act(of: &mut Handling, action: &Action, moment: &Moment<'_>) -> Result<(), Refusal> {
    // Nobody has seen what is not there yet.
    let seen_through = |asked: Option<Timestamp>| {
        let heard = moment.heard.unwrap_or(Timestamp::UNIX_EPOCH);
        asked.map_or(heard, |asked| asked.min(heard))
    };
    match action {
        Action::Assign(to) => match of.assignee() {
            Some(present) if present == to => {}
            Some(other) if moment.seen != Seen::Present => {
                return Err(Refusal::Taken(other.clone()));
            }
            _ => {
                of.assignment = Some(Assignment {
                    to: to.clone(),
                    at: moment.now,
                });
            }
        },
        Action::Unassign => of.assignment = None,
        Action::Close { through } => {
            if !of.is_closed(moment.heard) {
                of.closing = Some(Closing {
                    by: moment.by.clone(),
                    at: moment.now,
                    through: seen_through(*through),
                });
            }
        }
        Action::Reopen => {
            if of.is_closed(moment.heard) {
                of.closing = None;
            }
        }
        Action::Read { through } => {
            if of.is_unread(moment.heard) {
                of.read_through = of.read_through.max(Some(seen_through(*through)));
            }
        }
        Action::Label(label) => {
            of.labels.insert(label.clone());
            if of.labels.len() > LABEL_COUNT_MAX {
                return Err(Refusal::TooManyLabels);
            }
        }
        Action::Unlabel(label) => {
            of.labels.remove(label);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn colleague(name: &str) -> Colleague {
        Colleague::parse(name).unwrap()
    }

    #[test]
    fn each_action_has_the_command_that_does_it() {
        let label = || crate::conversation::Label::parse("vip").unwrap();
        for (action, command) in [
            (Action::Assign(colleague("bo")), "/assign bo"),
            (Action::Unassign, "/unassign"),
            (Action::Close { through: None }, "/close"),
            (Action::Reopen, "/reopen"),
            (Action::Read { through: None }, "/read"),
            (Action::Label(label()), "/label vip"),
            (Action::Unlabel(label()), "/unlabel vip"),
        ] {
            assert_eq!(action.command(), command);
        }
    }

    #[test]
    fn a_refusal_says_who_has_it_now() {
        let changed = |by: Option<&str>| Refusal::Changed(by.map(colleague)).to_string();
        assert!(changed(Some("bo")).ends_with("bo has it now"));
        assert!(changed(None).ends_with("nobody has it now"));
    }

    /// What Ana does at 100, when the customer was last heard at 50.
    fn done(present: &Handling, seen: Seen, actions: &[Action]) -> Result<Handling, Refusal> {
        let moment = Moment {
            by: &colleague("ana"),
            now: at(100),
            heard: Some(at(50)),
            seen,
        };
        decide(present, actions, &moment)
    }

    fn assigned(name: &str) -> Handling {
        Handling {
            assignment: Some(Assignment {
                to: colleague(name),
                at: at(1),
            }),
            ..Handling::default()
        }
    }

    #[test]
    fn a_conversation_is_taken_from_a_colleague_by_who_has_seen_that_they_have_it() {
        let nobodys = Handling::default();
        let take = [Action::Assign(colleague("ana"))];
        for (present, seen, expected) in [
            (nobodys.clone(), Seen::Untold, Ok("ana")),
            (nobodys.clone(), Seen::Present, Ok("ana")),
            (nobodys, Seen::Past, Err(Refusal::Changed(None))),
            (assigned("ana"), Seen::Untold, Ok("ana")),
            (
                assigned("bo"),
                Seen::Untold,
                Err(Refusal::Taken(colleague("bo"))),
            ),
            (assigned("bo"), Seen::Present, Ok("ana")),
            (
                assigned("bo"),
                Seen::Past,
                Err(Refusal::Changed(Some(colleague("bo")))),
            ),
        ] {
            let next = done(&present, seen, &take);
            let next = next.map(|next| next.assignee().unwrap().to_string());
            assert_eq!(next, expected.map(str::to_owned), "{present:?} {seen:?}");
        }
        let kept = done(&assigned("ana"), Seen::Untold, &take).unwrap();
        assert_eq!(kept, assigned("ana"), "with the time it was given at");
        let freed = done(&assigned("bo"), Seen::Untold, &[Action::Unassign]).unwrap();
        assert_eq!(freed, Handling::default());
    }

    #[test]
    fn closed_ends_with_whatever_the_customer_does_that_the_close_has_not_seen() {
        let close = |through| [Action::Close { through }];
        let closed = done(&Handling::default(), Seen::Untold, &close(None)).unwrap();
        assert!(closed.is_closed(Some(at(50))));
        assert!(!closed.is_closed(Some(at(51))));
        // It came while the close was on its way.
        let unseen = done(&Handling::default(), Seen::Untold, &close(Some(at(40)))).unwrap();
        assert!(!unseen.is_closed(Some(at(50))));
        // Nobody closes what is not there yet.
        let ahead = done(&Handling::default(), Seen::Untold, &close(Some(at(90)))).unwrap();
        assert!(!ahead.is_closed(Some(at(51))));
        let reopened = done(&closed, Seen::Untold, &[Action::Reopen]).unwrap();
        assert_eq!(reopened, Handling::default());
        assert!(!Handling::default().is_closed(None));
    }

    #[test]
    fn one_of_whom_nothing_was_heard_can_be_closed_and_reopens_with_the_first_word() {
        let moment = Moment {
            by: &colleague("ana"),
            now: at(100),
            heard: None,
            seen: Seen::Untold,
        };
        let close = [Action::Close { through: None }];
        let closed = decide(&Handling::default(), &close, &moment).unwrap();
        assert!(closed.is_closed(None));
        assert!(!closed.is_closed(Some(at(1))));
    }

    #[test]
    fn what_is_read_goes_forward_only() {
        let read =
            |of: &Handling, through| done(of, Seen::Past, &[Action::Read { through }]).unwrap();
        let unread = Handling::default();
        assert!(unread.is_unread(Some(at(50))) && !unread.is_unread(None));
        let half = read(&unread, Some(at(40)));
        assert!(half.is_unread(Some(at(50))) && !half.is_unread(Some(at(40))));
        assert_eq!(read(&half, Some(at(30))), half);
        let all = read(&half, None);
        assert!(!all.is_unread(Some(at(50))) && all.is_unread(Some(at(51))));
        assert_eq!(read(&unread, Some(at(90))).read_through, Some(at(50)));
    }

    #[test]
    fn labels_are_bounded_and_all_or_none_is_done() {
        let label = |number| Action::Label(Label::parse(&format!("l{number}")).unwrap());
        let many: Vec<_> = (0..LABEL_COUNT_MAX).map(label).collect();
        let full = done(&Handling::default(), Seen::Untold, &many).unwrap();
        assert_eq!(full.labels.len(), LABEL_COUNT_MAX);
        let one_more = done(&full, Seen::Untold, &[label(99)]);
        assert_eq!(one_more, Err(Refusal::TooManyLabels));
        let exchanged = [Action::Unlabel(Label::parse("l0").unwrap()), label(99)];
        assert!(done(&full, Seen::Untold, &exchanged).is_ok());
        assert_eq!(done(&full, Seen::Untold, &[label(0)]).unwrap(), full);
    }

    fn action() -> impl Strategy<Value = Action> {
        let name = || "[ab]".prop_map(|name| colleague(&name));
        let label = || "[xy]".prop_map(|text| Label::parse(&text).unwrap());
        let time = || proptest::option::of((0..100_i64).prop_map(at));
        prop_oneof![
            name().prop_map(Action::Assign),
            Just(Action::Unassign),
            time().prop_map(|through| Action::Close { through }),
            Just(Action::Reopen),
            time().prop_map(|through| Action::Read { through }),
            label().prop_map(Action::Label),
            label().prop_map(Action::Unlabel),
        ]
    }

    proptest! {
        #[test]
        fn doing_it_twice_is_doing_it_once(
            before in proptest::collection::vec(action(), 0..6),
            last in action(),
        ) {
            let present = done(&Handling::default(), Seen::Present, &before).unwrap();
            let once = done(&present, Seen::Present, std::slice::from_ref(&last)).unwrap();
            let twice = done(&once, Seen::Present, std::slice::from_ref(&last)).unwrap();
            // What a partial close has not seen stays unseen, however often it is said.
            if !matches!(last, Action::Close { through: Some(_) }) {
                prop_assert_eq!(twice, once);
            }
        }

        #[test]
        fn what_is_heard_later_is_never_closed_nor_read(
            actions in proptest::collection::vec(action(), 0..6),
        ) {
            let after = done(&Handling::default(), Seen::Present, &actions).unwrap();
            prop_assert!(!after.is_closed(Some(at(51))));
            prop_assert!(after.is_unread(Some(at(51))));
        }
    }
}
