//! A business number as the screen shows it.

use casement_proto::figures::v1::{ErrorRate, LimitUse, NumberOverview};
use jiff::{SignedDuration, Timestamp};

use super::super::halts::HaltView;
use super::super::plot::Plot;
use super::super::view::{Chip, When, count, time};

/// A number that was silent for longer is worth a look.
const SILENCE: SignedDuration = SignedDuration::from_hours(24);

/// A token that ends within this time is worth a look.
const TOKEN_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Of a limit, in thousandths, from which on it is worth a look.
const LIMIT_HIGH: u64 = 800;

/// Failures in the last hour, in thousandths of all, that are worth a look, and that are bad.
const ERRORS_WARN: u64 = 20;
const ERRORS_BAD: u64 = 100;

/// What the list shows of a number.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// E.164 with plus.
    pub(super) number: String,
    /// Its digits, for paths and ids.
    pub(super) digits: String,
    pub(super) name: String,
    pub(super) brand: String,
    pub(super) status: Chip,
    pub(super) quality: Chip,
    pub(super) limit: Limit,
    pub(super) last_webhook: Option<When>,
    pub(super) is_silent: bool,
    pub(super) token: Token,
    pub(super) is_paused: bool,
    pub(super) pause_reason: String,
    pub(super) halts: Vec<HaltView>,
    pub(super) hour: Errors,
    pub(super) day: Errors,
    pub(super) plot: Plot,
    pub(super) open_windows: u64,
    pub(super) held: u64,
}

/// How many customers may still be written to first today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) used: String,
    /// Empty for no limit, or none that is known.
    pub(super) max: String,
    pub(super) left: String,
    /// Of a thousand.
    pub(super) share: u64,
    pub(super) is_high: bool,
}

/// When the access token ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) end: Option<When>,
    /// `bad`, `warn`, or empty.
    pub(super) tone: &'static str,
}

/// How many of the attempts that are over failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errors {
    /// Such as `2.5 %`; empty if there was none.
    pub(super) share: String,
    pub(super) failed: String,
    pub(super) all: String,
    /// `bad`, `warn`, or `ok`.
    pub(super) tone: &'static str,
}

impl Row {
    pub(super) fn new(overview: &NumberOverview, now: Timestamp) -> Self {
        let digits = overview.number.trim_start_matches('+');
        let last_webhook = time(overview.last_webhook_time.as_ref());
        let is_gone = overview.migrate_away_time.is_some();
        let brand = match overview.brand_display_name.as_str() {
            "" => &overview.brand_id,
            name => name,
        };
        Self {
            number: format!("+{digits}"),
            digits: digits.to_owned(),
            name: overview.display_name.clone(),
            brand: brand.to_owned(),
            status: if is_gone {
                Chip::new("quiet", "moved away")
            } else {
                status(&overview.status)
            },
            quality: quality(&overview.quality),
            limit: Limit::new(overview.limit.as_ref()),
            last_webhook: last_webhook.map(|at| When::new(at, now)),
            is_silent: last_webhook.is_some_and(|at| now.duration_since(at) > SILENCE),
            token: Token::new(time(overview.token_expire_time.as_ref()), now),
            is_paused: overview.paused,
            pause_reason: overview.pause_reason.clone(),
            halts: overview
                .halts
                .iter()
                .map(|halt| HaltView::new(halt, now))
                .collect(),
            hour: Errors::new(overview.last_hour.as_ref()),
            day: Errors::new(overview.last_day.as_ref()),
            plot: Plot::new(&overview.minutes),
            open_windows: overview.open_window_count,
            held: overview.held_message_count,
        }
    }

    /// Whether something stops it.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_paused || !self.halts.is_empty() || self.status.tone == "bad"
    }
}

/// The platform's word for how a number stands.
pub(super) fn status(told: &str) -> Chip {
    let tone = match told {
        "" => return Chip::new("quiet", "not told yet"),
        "CONNECTED" => "ok",
        "BANNED" | "DISCONNECTED" | "DELETED" | "RESTRICTED" | "RATE_LIMITED" => "bad",
        _ => "warn",
    };
    Chip::new(tone, told.replace('_', " ").to_lowercase())
}

/// The platform's word for how customers take it.
pub(super) fn quality(told: &str) -> Chip {
    match told {
        "GREEN" => Chip::new("ok", "green, high"),
        "YELLOW" => Chip::new("warn", "yellow, medium"),
        "RED" => Chip::new("bad", "red, low"),
        "" => Chip::new("quiet", "not told yet"),
        other => Chip::new("quiet", other.to_lowercase()),
    }
}

impl Limit {
    pub(super) fn new(told: Option<&LimitUse>) -> Self {
        let told = told.copied().unwrap_or_default();
        let max = u64::from(told.customers_max);
        let used = u64::from(told.used_count);
        let share = (used * 1_000).checked_div(max).unwrap_or(0).min(1_000);
        let known = |of: u64| if max > 0 { count(of) } else { String::new() };
        let left = told
            .left_count
            .map_or_else(|| max.saturating_sub(used), u64::from);
        Self {
            used: count(used),
            max: known(max),
            left: known(left),
            share,
            is_high: share >= LIMIT_HIGH,
        }
    }
}

impl Token {
    fn new(end: Option<Timestamp>, now: Timestamp) -> Self {
        let tone = match end {
            Some(end) if end <= now => "bad",
            Some(end) if end.duration_since(now) <= TOKEN_SOON => "warn",
            Some(_) | None => "",
        };
        Self {
            end: end.map(|end| When::new(end, now)),
            tone,
        }
    }
}

impl Errors {
    pub(super) fn new(told: Option<&ErrorRate>) -> Self {
        let told = told.copied().unwrap_or_default();
        let all = told.sent_count.saturating_add(told.failed_count);
        let thousandths = (told.failed_count * 1_000).checked_div(all).unwrap_or(0);
        let share = match (all, told.failed_count, thousandths) {
            (0, ..) => String::new(),
            (_, 0, _) => "0 %".to_owned(),
            (_, _, 0) => "< 0.1 %".to_owned(),
            (_, _, share) => format!("{}.{} %", share / 10, share % 10),
        };
        Self {
            share,
            failed: count(told.failed_count),
            all: count(all),
            tone: match thousandths {
                ERRORS_BAD.. => "bad",
                ERRORS_WARN.. => "warn",
                _ => "ok",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_words_get_their_tone_and_new_ones_are_shown_too() {
        assert_eq!(status("CONNECTED"), Chip::new("ok", "connected"));
        assert_eq!(status("BANNED").tone, "bad");
        assert_eq!(status("SOMETHING_NEW"), Chip::new("warn", "something new"));
        assert_eq!(status("").text, "not told yet");
        assert_eq!(quality("RED").tone, "bad");
        assert_eq!(quality("NA"), Chip::new("quiet", "na"));
    }

    #[test]
    fn a_limit_that_is_not_known_is_not_made_up() {
        let unknown = Limit::new(None);
        assert_eq!((unknown.max.as_str(), unknown.left.as_str()), ("", ""));
        assert!(!unknown.is_high);
        let used = Limit::new(Some(&LimitUse {
            customers_max: 2_000,
            used_count: 1_700,
            left_count: Some(300),
        }));
        assert_eq!(
            (used.used.as_str(), used.max.as_str(), used.left.as_str()),
            ("1,700", "2,000", "300")
        );
        assert_eq!((used.share, used.is_high), (850, true));
        let over = Limit::new(Some(&LimitUse {
            customers_max: 10,
            used_count: 12,
            left_count: Some(0),
        }));
        assert_eq!(over.share, 1_000);
    }

    #[test]
    fn errors_are_shares_of_what_is_over() {
        let errors = |sent_count, failed_count| {
            Errors::new(Some(&ErrorRate {
                sent_count,
                failed_count,
            }))
        };
        for (sent, failed, share, tone) in [
            (0, 0, "", "ok"),
            (10, 0, "0 %", "ok"),
            (99_999, 1, "< 0.1 %", "ok"),
            (39, 1, "2.5 %", "warn"),
            (9, 1, "10.0 %", "bad"),
            (0, 3, "100.0 %", "bad"),
        ] {
            let found = errors(sent, failed);
            assert_eq!(
                (found.share.as_str(), found.tone),
                (share, tone),
                "{sent}/{failed}"
            );
        }
    }

    #[test]
    fn a_token_is_told_before_it_ends() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let tone = |hours| Token::new(Some(now + SignedDuration::from_hours(hours)), now).tone;
        assert_eq!(tone(24 * 30), "");
        assert_eq!(tone(24 * 6), "warn");
        assert_eq!(tone(0), "bad");
        assert_eq!(Token::new(None, now).tone, "");
    }
}
