//! What colleagues do with a conversation: notes, assignment, what is read, closed and labelled;
//! and where it stands for those who would answer.
//!
//! None of it reaches a customer, and none of it changes a window: [`Note`] is a type of its own,
//! of which nothing that is sent can be made, and [`Status`] only reads what is known of the
//! window. Who may act for which brand is for services to say.

mod handling;
mod note;
mod status;

use std::fmt;

pub use handling::{
    Action, Assignment, Closing, Handling, LABEL_COUNT_MAX, Moment, Refusal, Seen, decide,
};
pub use note::{
    COMMAND_COUNT_MAX, COMMANDS, MENTION_COUNT_MAX, Note, NoteProblem, NoteText, TEXT_LEN_MAX,
};
pub use status::{Course, Status};

/// Longest name of a colleague, and longest label, in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// A name or a label was not of its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct InvalidName {
    what: &'static str,
    problem: &'static str,
}

/// A person of the brand's team, by a short name: lower-case letters, digits, `.`, `_` and `-`.
///
/// Who that is, the team knows: it is no account, and says nothing of what somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Colleague(String);

impl Colleague {
    /// Takes a name, with or without the `@`, in upper or lower case.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let text = text.strip_prefix('@').unwrap_or(text);
        let problem = name_problem(text, |byte| {
            byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
        });
        match problem {
            Some(problem) => Err(InvalidName {
                what: "colleague's name",
                problem,
            }),
            None => Ok(Self(text.to_ascii_lowercase())),
        }
    }

    /// Returns the name, without the `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Colleague {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A word that colleagues sort conversations by: lower-case letters, digits, `.`, `_`, `-`, `:` and
/// `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// Takes a label, in upper or lower case.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let problem = name_problem(text, |byte| {
            byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte)
        });
        match problem {
            Some(problem) => Err(InvalidName {
                what: "label",
                problem,
            }),
            None => Ok(Self(text.to_ascii_lowercase())),
        }
    }

    /// Returns the label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn name_problem(text: &str, may_hold: impl Fn(u8) -> bool) -> Option<&'static str> {
    let mut bytes = text.bytes();
    if !bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
    {
        Some("does not begin with a letter or a digit of ASCII")
    } else if text.len() > NAME_LEN_MAX {
        Some("is longer than 64 characters")
    } else if bytes.all(may_hold) {
        None
    } else {
        Some("holds other characters than letters, digits and a few signs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colleague_has_one_spelling() {
        for (text, expected) in [
            ("ana", Some("ana")),
            ("@Ana", Some("ana")),
            ("ana.b-c_9", Some("ana.b-c_9")),
            ("9", Some("9")),
            ("", None),
            ("@", None),
            ("@@ana", None),
            (".ana", None),
            ("a na", None),
            ("ana@shop.example", None),
            ("ána", None),
        ] {
            let read = Colleague::parse(text).ok();
            assert_eq!(read.as_ref().map(Colleague::as_str), expected, "{text:?}");
        }
        assert!(Colleague::parse(&"a".repeat(64)).is_ok());
        let error = Colleague::parse(&"a".repeat(65)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "colleague's name is longer than 64 characters"
        );
    }

    #[test]
    fn a_label_has_one_spelling() {
        for (text, expected) in [
            ("refund", Some("refund")),
            ("Order:7/A", Some("order:7/a")),
            ("", None),
            ("two words", None),
            ("a,b", None),
        ] {
            let read = Label::parse(text).ok();
            assert_eq!(read.as_ref().map(Label::as_str), expected, "{text:?}");
            let shown = read.map(|label| label.to_string());
            assert_eq!(shown.as_deref(), expected, "it is shown as it is kept");
        }
    }
}
