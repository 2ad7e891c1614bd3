//! What was found: one line a check, and how it is printed.

use std::io;

use serde_json::{Value, json};

use crate::cli::OutputArgs;
use crate::output;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    /// It works, and may not for long or not for everybody.
    Warn,
    Fail,
    /// It could not be made because of another one, or there is nothing to check.
    Skip,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One check.
#[derive(Debug, Clone)]
struct Line {
    check: String,
    status: Status,
    found: String,
    /// What to do; of warnings and failures.
    advice: Option<String>,
}

/// All checks, in the order in which they are told.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn ok(&mut self, check: impl Into<String>, found: impl Into<String>) {
        self.add(check, Status::Ok, found, None);
    }

    pub(super) fn warn(
        &mut self,
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, Status::Warn, found, Some(advice.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, Status::Fail, found, Some(advice.into()));
    }

    /// Tells that a check was not made, and why.
    pub(super) fn skip(&mut self, check: impl Into<String>, why: impl Into<String>) {
        let found = format!("not checked: {}", why.into());
        self.add(check, Status::Skip, found, None);
    }

    /// Tells a failure in the house's form, `what is wrong: what to do`.
    pub(super) fn problem(&mut self, check: impl Into<String>, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match text.split_once(": ") {
            Some((found, advice)) => self.fail(check, found, advice),
            None => self.fail(check, text, "correct it"),
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    pub(super) fn count(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn failed_count(&self) -> usize {
        self.count_of(Status::Fail)
    }

    fn count_of(&self, status: Status) -> usize {
        let lines = self.lines.iter();
        lines.filter(|line| line.status == status).count()
    }

    fn add(
        &mut self,
        check: impl Into<String>,
        status: Status,
        found: impl Into<String>,
        advice: Option<String>,
    ) {
        self.lines.push(Line {
            check: check.into(),
            status,
            found: found.into(),
            advice,
        });
    }

    pub(super) fn print(&self, how: OutputArgs) -> anyhow::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        if how.json {
            for line in &self.lines {
                output::json(&line.json())?;
            }
            return output::json(&self.summary_json());
        }
        self.print_text()?;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn json_of_first(&self) -> String {
        self.lines
            .first()
            .map_or(String::new(), |line| line.json().to_string())
    }

    fn print_text(&self) -> io::Result<()> {
        let names = self.lines.iter().map(|line| line.check.chars().count());
        let width = names.max().unwrap_or(0);
        for line in &self.lines {
            let advice = line.advice.as_ref();
            let advice = advice.map_or(String::new(), |advice| format!(": {advice}"));
            output::line(format!(
                "{:<4}  {:<width$}  {}{advice}",
                line.status.word(),
                line.check,
                line.found
            ))?;
        }
        output::line("")?;
        output::line(self.summary())
    }

    fn summary(&self) -> String {
        format!(
            "{} checks: {} ok, {} warn, {} fail, {} not made",
            self.count(),
            self.count_of(Status::Ok),
            self.count_of(Status::Warn),
            self.failed_count(),
            self.count_of(Status::Skip)
        )
    }

    fn summary_json(&self) -> Value {
        json!({"summary": {
            "checks": self.count(),
            "ok": self.count_of(Status::Ok),
            "warn": self.count_of(Status::Warn),
            "fail": self.failed_count(),
            "skip": self.count_of(Status::Skip),
        }})
    }
}

impl Line {
    fn json(&self) -> Value {
        json!({
            "check": self.check,
            "status": self.status.word(),
            "found": self.found,
            "advice": self.advice,
        })
    }
}

/// Returns a size for people, in the unit that fits.
pub(super) fn bytes(count: u64) -> String {
    let mut unit = "bytes";
    let mut scale = 1_u64;
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if count / scale < 1024 {
            break;
        }
        (unit, scale) = (next, scale * 1024);
    }
    // One digit behind the point where it says something.
    match (count / scale, count % scale * 10 / scale) {
        (whole @ 0..10, tenths @ 1..) => format!("{whole}.{tenths} {unit}"),
        (whole, _) => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (count, told) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (8 * 1024 * 1024 * 1024, "8 GiB"),
            (50 * 1024 * 1024 + 1, "50 MiB"),
        ] {
            assert_eq!(bytes(count), told);
        }
    }

    #[test]
    fn a_problem_is_parted_from_what_to_do() {
        let mut report = Report::default();
        report.problem("a", "max_payload is small: set\n  `max_payload: 8MB`");
        report.problem("b", "gone");
        report.skip("c", "b failed");
        let told: Vec<Value> = report.lines.iter().map(Line::json).collect();
        assert_eq!(
            told[0],
            json!({"check": "a", "status": "fail", "found": "max_payload is small",
                   "advice": "set `max_payload: 8MB`"})
        );
        assert_eq!(told[1]["advice"], "correct it");
        assert_eq!(told[2]["found"], "not checked: b failed");
        assert_eq!((report.count(), report.failed_count()), (3, 2));
        assert_eq!(
            report.summary(),
            "3 checks: 0 ok, 0 warn, 2 fail, 1 not made"
        );
    }
}
