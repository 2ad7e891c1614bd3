//! A note as a colleague writes it: text, whom it mentions, and the commands in it.
//!
//! It is parsed once, when it is added. What is stored is read by people and never parsed again.

use std::collections::BTreeSet;

use super::{Action, Colleague, Label};

/// Longest note, in characters.
pub const TEXT_LEN_MAX: usize = 4_096;

/// Most colleagues that one note may mention.
pub const MENTION_COUNT_MAX: usize = 50;

/// Most commands in one note.
pub const COMMAND_COUNT_MAX: usize = 20;

/// The commands there are, as a refusal lists them.
pub const COMMANDS: &str =
    "/assign NAME, /unassign, /close, /reopen, /read, /label LABEL …, /unlabel LABEL …";

/// What a colleague wrote for colleagues.
///
/// It is deliberately no `String`, borrows as none and turns into none, so that nothing which is
/// sent to a customer can be made of it by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteText(String);

impl NoteText {
    /// Returns the text, to be stored and shown to colleagues, and for nothing else.
    pub fn for_colleagues(&self) -> &str {
        &self.0
    }
}

/// A note that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: NoteText,
    mentions: BTreeSet<Colleague>,
    actions: Vec<Action>,
}

/// What is wrong with a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteProblem {
    /// It says nothing.
    #[error("is empty")]
    Empty,
    /// It is too long.
    #[error("has {0} characters; at most {TEXT_LEN_MAX} are allowed")]
    TooLong(usize),
    /// It mentions too many.
    #[error("mentions {0} colleagues; at most {MENTION_COUNT_MAX} are allowed")]
    TooManyMentions(usize),
    /// It holds too many commands.
    #[error("has {0} commands; at most {COMMAND_COUNT_MAX} are allowed")]
    TooManyCommands(usize),
    /// A line begins with a slash and is no command.
    #[error(
        "line {line} begins with `{word}`, which is no command; there are {COMMANDS}. A line of \
         text that begins with a slash is written with two"
    )]
    UnknownCommand {
        /// Counted from 1.
        line: usize,
        /// The word with its slash.
        word: String,
    },
    /// A command is not followed by what it needs.
    #[error("line {line}: `{word}` {problem}")]
    Command {
        /// Counted from 1.
        line: usize,
        /// The word with its slash.
        word: String,
        /// What is wrong.
        problem: String,
    },
}

impl NoteProblem {
    /// Returns the stable word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty | Self::TooLong(_) => "INVALID_NOTE",
            Self::TooManyMentions(_) => "TOO_MANY_MENTIONS",
            Self::TooManyCommands(_) => "TOO_MANY_COMMANDS",
            Self::UnknownCommand { .. } => "UNKNOWN_COMMAND",
            Self::Command { .. } => "INVALID_COMMAND",
        }
    }
}

impl Note {
    /// Reads a note of a colleague.
    ///
    /// Lines that begin with a slash are commands; of two slashes at the beginning of a line one is
    /// dropped, and the line is text. Commands mention nobody.
    pub fn parse(written: &str, author: &Colleague) -> Result<Self, NoteProblem> {
        let written = written.trim_end();
        if written.trim_start().is_empty() {
            return Err(NoteProblem::Empty);
        }
        let len = written.chars().count();
        if len > TEXT_LEN_MAX {
            return Err(NoteProblem::TooLong(len));
        }
        let mut text = String::with_capacity(written.len());
        let (mut mentions, mut actions) = (BTreeSet::new(), Vec::new());
        for (line, number) in written.lines().zip(1..) {
            if number > 1 {
                text.push('\n');
            }
            let is_escaped = line.starts_with("//");
            let shown = if is_escaped { &line[1..] } else { line };
            text.push_str(shown);
            if line.starts_with('/') && !is_escaped {
                command(line, number, author, &mut actions)?;
            } else {
                mentioned(line, &mut mentions);
            }
        }
        if mentions.len() > MENTION_COUNT_MAX {
            return Err(NoteProblem::TooManyMentions(mentions.len()));
        }
        if actions.len() > COMMAND_COUNT_MAX {
            return Err(NoteProblem::TooManyCommands(actions.len()));
        }
        Ok(Self {
            text: NoteText(text),
            mentions,
            actions,
        })
    }

    /// Returns what it says.
    pub fn text(&self) -> &NoteText {
        &self.text
    }

    /// Returns whom it mentions.
    pub fn mentions(&self) -> &BTreeSet<Colleague> {
        &self.mentions
    }

    /// Returns what its commands do, in order.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }
}

fn command(
    line: &str,
    number: usize,
    author: &Colleague,
    actions: &mut Vec<Action>,
) -> Result<(), NoteProblem> {
    let mut words = line.split_whitespace();
    let word = words.next().unwrap_or("/");
    let wrong = |problem: String| NoteProblem::Command {
        line: number,
        word: word.to_owned(),
        problem,
    };
    let mut labels = |wrap: fn(Label) -> Action| {
        let mut found = Vec::new();
        for word in words.by_ref() {
            let label = Label::parse(word).map_err(|error| wrong(error.to_string()))?;
            found.push(wrap(label));
        }
        if found.is_empty() {
            return Err(wrong("needs a label".to_owned()));
        }
        Ok(found)
    };
    let mut done = match word {
        "/assign" => {
            let name = words
                .next()
                .ok_or_else(|| wrong("needs a colleague's name".to_owned()))?;
            let to = if name.eq_ignore_ascii_case("me") || name.eq_ignore_ascii_case("@me") {
                author.clone()
            } else {
                Colleague::parse(name).map_err(|error| wrong(error.to_string()))?
            };
            vec![Action::Assign(to)]
        }
        "/unassign" => vec![Action::Unassign],
        "/close" => vec![Action::Close { through: None }],
        "/reopen" => vec![Action::Reopen],
        "/read" => vec![Action::Read { through: None }],
        "/label" => labels(Action::Label)?,
        "/unlabel" => labels(Action::Unlabel)?,
        _ => {
            return Err(NoteProblem::UnknownCommand {
                line: number,
                word: word.chars().take(super::NAME_LEN_MAX).collect(),
            });
        }
    };
    if let Some(more) = words.next() {
        return Err(wrong(format!(
            "is followed by `{}`, which it does not take; text goes on lines of its own",
            more.chars().take(super::NAME_LEN_MAX).collect::<String>()
        )));
    }
    actions.append(&mut done);
    Ok(())
}

/// Finds `@name` that begins a word, so that an address of e-mail mentions nobody.
fn mentioned(line: &str, mentions: &mut BTreeSet<Colleague>) {
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    let mut before = ' ';
    for (place, char) in line.char_indices() {
        let begins = !(before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '@'));
        before = char;
        if char != '@' || !begins {
            continue;
        }
        let rest = &line[place + 1..];
        let end = rest.find(|char| !is_of_name(char)).unwrap_or(rest.len());
        // What ends a sentence is not part of the name.
        let name = rest[..end].trim_end_matches(['.', '-']);
        mentions.extend(Colleague::parse(name).ok());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn colleague(name: &str) -> Colleague {
        Colleague::parse(name).unwrap()
    }

    fn note(text: &str) -> Result<Note, NoteProblem> {
        Note::parse(text, &colleague("ana"))
    }

    #[test]
    fn as_many_colleagues_may_be_mentioned_as_the_limit_says() {
        let mentioning = |count: usize| {
            let all: Vec<String> = (0..count).map(|one| format!("@c{one}")).collect();
            note(&all.join(" "))
        };
        let most = mentioning(MENTION_COUNT_MAX).unwrap();
        assert_eq!(most.mentions().len(), MENTION_COUNT_MAX);
        let problem = mentioning(MENTION_COUNT_MAX + 1).unwrap_err();
        assert!(
            matches!(problem, NoteProblem::TooManyMentions(count) if count == MENTION_COUNT_MAX + 1)
        );
    }

    #[test]
    fn mentions_are_found_where_words_begin() {
        for (text, expected) in [
            ("@bo can you?", vec!["bo"]),
            ("ask @Bo, @cy.d and @bo.", vec!["bo", "cy.d"]),
            ("(@bo)", vec!["bo"]),
            ("mail bo@shop.example", vec![]),
            ("@ bo", vec![]),
            ("@@bo", vec![]),
            ("é@bo", vec![]),
            ("//assign is a command, @bo", vec!["bo"]),
            ("/assign @bo", vec![]),
        ] {
            let read = note(text).unwrap();
            let names: Vec<_> = read.mentions().iter().map(Colleague::as_str).collect();
            assert_eq!(names, expected, "{text}");
        }
    }

    #[test]
    fn lines_that_begin_with_a_slash_are_commands_and_stay_in_the_text() {
        let text = "Knows the order.\n/assign @Bo\n/label refund VIP\n/unlabel new\n/close\n";
        let read = note(text).unwrap();
        assert_eq!(read.text().for_colleagues(), text.trim_end());
        let label = |text| Label::parse(text).unwrap();
        assert_eq!(
            read.actions(),
            [
                Action::Assign(colleague("bo")),
                Action::Label(label("refund")),
                Action::Label(label("vip")),
                Action::Unlabel(label("new")),
                Action::Close { through: None },
            ]
        );
        for (text, expected) in [
            ("/assign me", Action::Assign(colleague("ana"))),
            ("/unassign", Action::Unassign),
            ("/reopen", Action::Reopen),
            ("/read", Action::Read { through: None }),
        ] {
            assert_eq!(note(text).unwrap().actions(), [expected]);
        }
        assert_eq!(note("a /close in a line").unwrap().actions(), []);
    }

    #[test]
    fn two_slashes_are_text_that_begins_with_one() {
        let read = note("//close is what I would do\n///x").unwrap();
        assert_eq!(
            read.text().for_colleagues(),
            "/close is what I would do\n//x"
        );
        assert_eq!(read.actions(), []);
    }

    #[test]
    fn what_is_wrong_with_a_note_is_told_with_its_line() {
        for (text, reason, part) in [
            (" \n ", "INVALID_NOTE", "is empty"),
            (
                "so\n/asign bo",
                "UNKNOWN_COMMAND",
                "line 2 begins with `/asign`",
            ),
            ("/", "UNKNOWN_COMMAND", "`/`"),
            ("/Close", "UNKNOWN_COMMAND", "`/Close`"),
            ("/assign", "INVALID_COMMAND", "needs a colleague's name"),
            ("/assign b+o", "INVALID_COMMAND", "holds other characters"),
            ("/assign bo cy", "INVALID_COMMAND", "followed by `cy`"),
            ("/close now", "INVALID_COMMAND", "followed by `now`"),
            ("/label", "INVALID_COMMAND", "needs a label"),
            ("/label a,b", "INVALID_COMMAND", "label holds"),
        ] {
            let problem = note(text).unwrap_err();
            assert_eq!(problem.reason(), reason, "{text:?}");
            assert!(problem.to_string().contains(part), "{text:?}: {problem}");
        }
    }

    #[test]
    fn limits_count_characters_and_names() {
        assert!(note(&"é".repeat(TEXT_LEN_MAX)).is_ok());
        let long = note(&"é".repeat(TEXT_LEN_MAX + 1)).unwrap_err();
        assert_eq!(long, NoteProblem::TooLong(TEXT_LEN_MAX + 1));
        let naming = |count: usize| {
            let names: Vec<_> = (0..count).map(|one| format!("@c{one}")).collect();
            note(&names.join(" "))
        };
        assert!(naming(MENTION_COUNT_MAX).is_ok());
        assert_eq!(
            naming(MENTION_COUNT_MAX + 1).unwrap_err(),
            NoteProblem::TooManyMentions(MENTION_COUNT_MAX + 1)
        );
        assert_eq!(
            note(&"/read\n".repeat(COMMAND_COUNT_MAX + 1)).unwrap_err(),
            NoteProblem::TooManyCommands(COMMAND_COUNT_MAX + 1)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_note_or_refused(text in "[/@a-c \n.é]{0,80}") {
            if let Ok(note) = note(&text) {
                prop_assert!(note.mentions().len() <= MENTION_COUNT_MAX);
                prop_assert!(note.text().for_colleagues().chars().count() <= text.chars().count());
            }
        }

        #[test]
        fn doubled_slashes_make_any_text_a_note_that_does_nothing(text in "[/a-c\n]{1,80}") {
            let escaped: Vec<String> = text
                .lines()
                .map(|line| if line.starts_with('/') { format!("/{line}") } else { line.to_owned() })
                .collect();
            if let Ok(read) = note(&escaped.join("\n")) {
                prop_assert_eq!(read.actions(), []);
                prop_assert_eq!(read.text().for_colleagues(), text.trim_end());
            } else {
                prop_assert!(text.trim().is_empty());
            }
        }
    }
}
