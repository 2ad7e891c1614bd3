//! How times, lengths of time and shares are shown. Pure: the present is an argument.
//!
//! The script shows times and bars in the same way, and moves them on; see `console.js`.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;
use jiff::{RoundMode, SignedDuration, Timestamp, Unit};

/// A moment: how long ago or ahead it is, with the exact time behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    at: Timestamp,
    now: Timestamp,
}

impl When {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// From a message of the API; none if it is not set.
    pub(super) fn of(at: Option<&prost_types::Timestamp>, now: Timestamp) -> Option<Self> {
        time(at).map(|at| Self { at, now })
    }

    /// Such as `3 min ago` or `in 2 h`.
    pub(super) fn relative(&self) -> String {
        let ahead = self.at.duration_since(self.now);
        match length(ahead.abs()) {
            text if text == "0 s" => "now".to_owned(),
            text if ahead.is_positive() => format!("in {text}"),
            text => format!("{text} ago"),
        }
    }

    /// Such as `2026-11-23 01:02:03 UTC`.
    pub(super) fn exact(&self) -> String {
        self.at.strftime("%F %T UTC").to_string()
    }

    /// Such as `2026-11-23T01:02:03.456Z`, for programs.
    pub(super) fn iso(&self) -> String {
        let rounded = self.at.round(Unit::Millisecond).unwrap_or(self.at);
        rounded.to_string()
    }
}

/// Digits, letters and colons only.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<time datetime="{}" title="{}" data-relative>{}</time>"#,
            self.iso(),
            self.exact(),
            self.relative()
        )
    }
}

impl HtmlSafe for When {}

/// Of a message of the API.
pub(super) fn time(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let at = at?;
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// The present for live parts: whole minutes, so that they are sent again when something happened
/// and not because time goes by. The script shows the seconds.
pub(super) fn steady(now: Timestamp) -> Timestamp {
    now.round(
        jiff::TimestampRound::new()
            .smallest(Unit::Minute)
            .mode(RoundMode::Trunc),
    )
    .unwrap_or(now)
}

/// Rounded down to its two largest units at most: `40 s`, `12 min`, `3 h 20 min`, `5 d 2 h`,
/// `90 d`.
pub(super) fn length(of: SignedDuration) -> String {
    let seconds = of.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => two(hours, "h", minutes % 60, "min"),
        (days, hours, _) if days < 7 => two(days, "d", hours % 24, "h"),
        (days, ..) => format!("{days} d"),
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A count as people write it: `1,234,567`.
pub(super) fn count(of: u64) -> String {
    let digits = of.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Such as `3 messages` or `1 message`.
pub(super) fn counted(of: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(of), if of == 1 { one } else { many })
}

/// A bar that is full at `start` and empty at `end`, such as a window's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Countdown {
    start: Timestamp,
    end: Timestamp,
    now: Timestamp,
}

impl Countdown {
    pub(super) fn new(start: Timestamp, end: Timestamp, now: Timestamp) -> Self {
        Self { start, end, now }
    }

    /// In thousandths, from full to empty.
    pub(super) fn left(&self) -> i128 {
        let whole = self.end.duration_since(self.start).as_millis();
        let left = self.end.duration_since(self.now).as_millis();
        if whole <= 0 {
            return 0;
        }
        (left * 1_000 / whole).clamp(0, 1_000)
    }

    /// Such as `3 h 20 min left`.
    pub(super) fn text(&self) -> String {
        let left = self.end.duration_since(self.now);
        if left.is_positive() {
            format!("{} left", length(left))
        } else {
            "over".to_owned()
        }
    }
}

/// A picture beside its text: what can be seen can be read, too. Digits and letters only.
impl fmt::Display for Countdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.left() {
            0 => "none",
            1..=99 => "low",
            _ => "some",
        };
        write!(
            f,
            r#"<span class="countdown" data-start="{}" data-end="{}"><svg class="bar bar-{level}" viewBox="0 0 1000 60" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect class="bar-track" width="1000" height="60"/><rect class="bar-fill" width="{}" height="60"/></svg> <span class="countdown-text">{}</span></span>"#,
            self.start.as_millisecond(),
            self.end.as_millisecond(),
            self.left(),
            self.text()
        )
    }
}

impl HtmlSafe for Countdown {}

/// A word about a state, in its colour: `ok`, `warn`, `bad` or `quiet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chip {
    pub(super) tone: &'static str,
    pub(super) text: String,
}

impl Chip {
    pub(super) fn new(tone: &'static str, text: impl Into<String>) -> Self {
        Self {
            tone,
            text: text.into(),
        }
    }
}

/// The words of an enum of the API, as in `MESSAGE_STATE_HELD`, without what all of them begin
/// with: `held`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    name.trim_start_matches('_')
        .replace('_', " ")
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lengths_are_short_and_never_longer_than_they_are() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (3_661, "1 h 1 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d"),
            (6 * 86_400 + 7_200, "6 d 2 h"),
            (90 * 86_400 + 7_200, "90 d"),
            (-5, "0 s"),
        ] {
            assert_eq!(length(SignedDuration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_time_is_told_from_now_and_exactly() {
        let now = at("2026-01-02T03:04:05Z");
        let when = When::new(at("2026-01-02T03:01:00.123456Z"), now);
        assert_eq!(when.relative(), "3 min ago");
        assert_eq!(
            when.to_string(),
            r#"<time datetime="2026-01-02T03:01:00.123Z" title="2026-01-02 03:01:00 UTC" data-relative>3 min ago</time>"#
        );
        assert_eq!(
            When::new(at("2026-01-02T05:04:05Z"), now).relative(),
            "in 2 h"
        );
        assert_eq!(When::new(now, now).relative(), "now");
        assert_eq!(When::of(None, now), None);
    }

    #[test]
    fn a_countdown_runs_from_full_to_empty_and_no_further() {
        let (start, end) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        for (now, left, text) in [
            ("2025-12-31T23:00:00Z", 1_000, "1 d 1 h left"),
            ("2026-01-01T12:00:00Z", 500, "12 h left"),
            ("2026-01-01T23:59:30Z", 0, "30 s left"),
            ("2026-01-02T00:00:00Z", 0, "over"),
            ("2026-02-02T00:00:00Z", 0, "over"),
        ] {
            let bar = Countdown::new(start, end, at(now));
            assert_eq!((bar.left(), bar.text().as_str()), (left, text), "{now}");
        }
    }

    #[test]
    fn counts_and_words_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "message", "messages"), "1 message");
        assert_eq!(counted(1_000, "message", "messages"), "1,000 messages");
        assert_eq!(word("MESSAGE_STATE_HELD", "MESSAGE_STATE"), "held");
        assert_eq!(word("BOTH_WAYS", "X"), "both ways");
    }
}
