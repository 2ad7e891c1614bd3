//! What is wrong with an outgoing message, field by field, all of it at once.
//!
//! Fields are named by their path among the types of this folder, such as
//! `interactive.reply.buttons[3].title`; these go by the same names in the API. No reason quotes
//! what was written.

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// A field of an outgoing message breaks a rule of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands, such as `interactive.body`.
    pub field: String,
    /// What is wrong, without content.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.reason)
    }
}

/// Collects problems below one place of a message.
#[derive(Debug)]
pub(super) struct Check<'a> {
    at: String,
    found: &'a mut Vec<Problem>,
}

impl<'a> Check<'a> {
    pub(super) fn new(found: &'a mut Vec<Problem>) -> Self {
        let at = String::new();
        Self { at, found }
    }

    /// Goes on inside a field.
    pub(super) fn within(&mut self, field: &str) -> Check<'_> {
        let at = self.path(field);
        let found = &mut *self.found;
        Check { at, found }
    }

    /// Goes on inside an element of a list.
    pub(super) fn item(&mut self, list: &str, index: usize) -> Check<'_> {
        self.within(&format!("{list}[{index}]"))
    }

    /// Notes a problem. An empty field is the place itself.
    pub(super) fn problem(&mut self, field: &str, reason: impl Into<String>) {
        let field = self.path(field);
        let reason = reason.into();
        self.found.push(Problem { field, reason });
    }

    /// A text that has to be there.
    pub(super) fn text(&mut self, field: &str, text: &str, chars_max: usize) {
        if text.trim().is_empty() {
            self.problem(field, "must not be empty");
        } else {
            self.at_most(field, text, chars_max);
        }
    }

    /// A text without a limit of its own that has to be there.
    pub(super) fn filled(&mut self, field: &str, text: &str) {
        self.text(field, text, usize::MAX);
    }

    /// A text that may be left out.
    pub(super) fn at_most(&mut self, field: &str, text: &str, chars_max: usize) {
        let count = text.chars().count();
        if count > chars_max {
            let reason = format!("has {count} characters, at most {chars_max} are allowed");
            self.problem(field, reason);
        }
    }

    /// A text that has no place here.
    pub(super) fn absent(&mut self, field: &str, text: &str, why: &str) {
        if !text.is_empty() {
            self.problem(field, why);
        }
    }

    /// How many of something there are.
    pub(super) fn count(&mut self, field: &str, count: usize, allowed: RangeInclusive<usize>) {
        if !allowed.contains(&count) {
            let (least, most) = (allowed.start(), allowed.end());
            let reason = if least == most {
                format!("are {count}, must be {least}")
            } else {
                format!("are {count}, must be {least} to {most}")
            };
            self.problem(field, reason);
        }
    }

    /// An address of the web.
    pub(super) fn url(&mut self, field: &str, text: &str) {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let is_one = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace)
        });
        if !is_one {
            self.problem(field, "must be an http or https address");
        }
    }

    /// A JSON object in a text.
    pub(super) fn object(&mut self, field: &str, json: &str) -> Option<Map<String, Value>> {
        let object = object(json);
        if object.is_none() {
            self.problem(field, "must be a JSON object");
        }
        object
    }

    fn path(&self, field: &str) -> String {
        match (self.at.as_str(), field) {
            ("", field) => field.to_owned(),
            (at, "") => at.to_owned(),
            (at, field) => format!("{at}.{field}"),
        }
    }
}

/// Reads a JSON object.
pub(super) fn object(json: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(json).ok()
}
