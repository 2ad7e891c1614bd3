//! How long the platform pauses a template of low quality.

use jiff::{SignedDuration, Timestamp};

/// Which pause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseKind {
    /// The first.
    First,
    /// The second; the third switches the template off.
    Second,
    /// One that does not say when it ends.
    Other,
}

impl PauseKind {
    /// Reads the platform's word (`other_info.title` of a status webhook).
    pub fn parse(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "FIRST_PAUSE" => Self::First,
            "SECOND_PAUSE" => Self::Second,
            _ => Self::Other,
        }
    }

    /// Returns how long it lasts.
    ///
    /// WhatsApp Cloud API: template pausing. 3 hours the first time, 6 the second.
    pub fn length(self) -> Option<SignedDuration> {
        match self {
            Self::First => Some(SignedDuration::from_hours(3)),
            Self::Second => Some(SignedDuration::from_hours(6)),
            Self::Other => None,
        }
    }
}

/// Returns when a pause ends by itself, if that is known.
pub fn expected_end(kind: PauseKind, since: Timestamp) -> Option<Timestamp> {
    since.checked_add(kind.length()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pause_takes_three_hours_and_the_second_six() {
        let since: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let end = |word| expected_end(PauseKind::parse(word), since).map(|at| at.to_string());
        assert_eq!(end("FIRST_PAUSE").as_deref(), Some("2026-11-22T13:00:00Z"));
        assert_eq!(end("second_pause").as_deref(), Some("2026-11-22T16:00:00Z"));
        assert_eq!(end("RATE_LIMITING_PAUSE"), None);
    }
}
