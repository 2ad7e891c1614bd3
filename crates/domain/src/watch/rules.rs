//! What each check makes of the present facts, but for silence, which is [`super::silence`]'s.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::{Level, Reading};

/// A token that ends within this is warned of.
pub const TOKEN_WARNED: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Within this it is alarming.
pub const TOKEN_ALARMING: SignedDuration = SignedDuration::from_hours(3 * 24);

/// How many minutes of posts are counted for signatures.
pub const SIGNATURE_MINUTES: i64 = 30;

/// Bad signatures in that time from which on somebody is warned. Fewer are what any public address
/// gets.
pub const SIGNATURES_WARNED: u64 = 10;

/// From which on it is alarming, if no post was good.
pub const SIGNATURES_ALARMING: u64 = 20;

/// Down to which a warning is kept.
const SIGNATURES_KEPT: u64 = 3;

/// One bad post in so many is warned of.
const SIGNATURES_SHARE: u64 = 20;

/// How long the platform usually has for its first report about a message, with much to spare
/// (WhatsApp Cloud API: `sent` comes within seconds).
pub const REPORT_DUE: SignedDuration = SignedDuration::from_mins(15);

/// How far back messages are looked at for reports.
pub const REPORTS_OVER: SignedDuration = SignedDuration::from_hours(1);

/// Messages without a report from which on somebody is warned, and it is alarming.
const UNREPORTED: (u64, u64) = (3, 5);

/// How long an unknown number is told of after its last webhook.
pub const UNKNOWN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How far behind an archive is warned of, and alarming.
pub const LAG: (SignedDuration, SignedDuration) =
    (SignedDuration::from_secs(60), SignedDuration::from_mins(5));

/// How far apart clocks are warned of, and alarming: from there on nothing that depends on time is
/// decided.
pub const APART: (SignedDuration, SignedDuration) = (
    SignedDuration::from_millis(500),
    SignedDuration::from_secs(2),
);

/// What is known of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Nobody could be asked yet.
    Unknown,
    /// The platform does not take it.
    Invalid,
    /// It never ends.
    Lasting,
    /// It ends then.
    Ends(Timestamp),
}

/// Judges an access token.
pub fn token(known: Token, now: Timestamp) -> Reading {
    match known {
        Token::Unknown => Reading::fine("nobody was asked about the access token yet"),
        Token::Invalid => Reading::of(
            Level::Alarming,
            "the platform does not take the access token: nothing can be sent",
        )
        .with("token", "invalid"),
        Token::Lasting => Reading::fine("the access token never ends").with("token", "lasting"),
        Token::Ends(at) => {
            let left = at.duration_since(now);
            let level = if left <= TOKEN_ALARMING {
                Level::Alarming
            } else if left <= TOKEN_WARNED {
                Level::Warned
            } else {
                Level::Fine
            };
            let text = if left <= SignedDuration::ZERO {
                format!("the access token ended at {at}: nothing can be sent")
            } else {
                format!("the access token ends at {at}")
            };
            Reading::of(level, text).with("expire_time", at)
        }
    }
}

/// Judges whether the app gets a business account's webhooks; `None` if nobody could be asked yet.
pub fn subscription(is_subscribed: Option<bool>) -> Reading {
    match is_subscribed {
        None => Reading::fine("nobody was asked about the subscription yet"),
        Some(true) => Reading::fine("the app gets the account's webhooks"),
        Some(false) => Reading::of(
            Level::Alarming,
            "the app is not subscribed to the business account: no webhook comes",
        ),
    }
}

/// Posts of the last [`SIGNATURE_MINUTES`], by the minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Minute, good ones, bad ones; oldest first.
    minutes: VecDeque<(i64, u64, u64)>,
}

impl Signatures {
    /// Counts a post.
    pub fn count(&mut self, is_good: bool, now: Timestamp) {
        let minute = now.as_second().div_euclid(60);
        self.forget(minute);
        // A clock that went back counts where it was.
        if self.minutes.back().is_none_or(|last| last.0 < minute) {
            self.minutes.push_back((minute, 0, 0));
        }
        if let Some((_, good, bad)) = self.minutes.back_mut() {
            *(if is_good { good } else { bad }) += 1;
        }
    }

    /// Judges them.
    pub fn judge(&self, now: Timestamp) -> Reading {
        let minute = now.as_second().div_euclid(60);
        let counted = self.minutes.iter().filter(|one| is_young(one.0, minute));
        let (good, bad) = counted.fold((0_u64, 0_u64), |sum, one| (sum.0 + one.1, sum.1 + one.2));
        let is_share = bad.saturating_mul(SIGNATURES_SHARE) >= good + bad;
        let level = if bad >= SIGNATURES_ALARMING && good == 0 {
            Level::Alarming
        } else if bad >= SIGNATURES_WARNED && is_share {
            Level::Warned
        } else {
            Level::Fine
        };
        let keeps = if bad >= SIGNATURES_KEPT && good == 0 {
            Level::Alarming
        } else if bad >= SIGNATURES_KEPT {
            Level::Warned
        } else {
            Level::Fine
        };
        let text = format!(
            "{bad} of {} posts of the last {SIGNATURE_MINUTES} minutes had a bad signature",
            good + bad
        );
        Reading::of(level, text)
            .keeping(keeps)
            .with("bad", bad)
            .with("good", good)
    }

    fn forget(&mut self, minute: i64) {
        while self
            .minutes
            .front()
            .is_some_and(|one| !is_young(one.0, minute))
        {
            self.minutes.pop_front();
        }
    }
}

fn is_young(minute: i64, now: i64) -> bool {
    minute > now - SIGNATURE_MINUTES
}

/// Judges messages: how many the platform took between [`REPORTS_OVER`] and [`REPORT_DUE`] ago and
/// reported nothing of, and of how many it reported something in the last [`REPORTS_OVER`].
pub fn unreported(without: u64, with: u64) -> Reading {
    let all = without + with;
    let is_share = |percent: u64| without.saturating_mul(100) >= all.saturating_mul(percent);
    let level = if without >= UNREPORTED.1 && is_share(80) {
        Level::Alarming
    } else if without >= UNREPORTED.0 && is_share(20) {
        Level::Warned
    } else {
        Level::Fine
    };
    let keeps = if without >= UNREPORTED.0 && is_share(60) {
        Level::Alarming
    } else if without > 1 && is_share(10) {
        Level::Warned
    } else {
        Level::Fine
    };
    let text = format!("nothing was reported of {without} of {all} messages that were taken");
    Reading::of(level, text)
        .keeping(keeps)
        .with("unreported", without)
        .with("reported", with)
}

/// Judges a number that webhooks came for and no account has, by the time of the last one.
pub fn unknown_number(last: Timestamp, now: Timestamp) -> Reading {
    if now.duration_since(last) > UNKNOWN_FOR {
        return Reading::fine("no webhook came for it lately");
    }
    let text = format!("webhooks come for a number that no account has; the last one at {last}");
    Reading::of(Level::Warned, text).with("last_time", last)
}

/// Judges how old the oldest event is that is not archived; `None` if all are.
pub fn archive_lag(oldest: Option<SignedDuration>) -> Reading {
    let lag = oldest.unwrap_or_default().max(SignedDuration::ZERO);
    let text = format!("the archive is {} s behind", lag.as_secs());
    of_measure(lag, LAG, text).with("lag_seconds", lag.as_secs())
}

/// Judges how far a process's clock is from others: from the one it is furthest away from.
pub fn clock(distances: &[(&'static str, SignedDuration)]) -> Reading {
    let worst = distances.iter().max_by_key(|(_, by)| by.abs());
    let Some((whose, by)) = worst else {
        return Reading::fine("no other clock was heard");
    };
    let text = format!("{} ms apart from the clock of: {whose}", by.as_millis());
    let mut reading = of_measure(by.abs(), APART, text);
    for (whose, by) in distances {
        reading = reading.with(whose, format!("{} ms", by.as_millis()));
    }
    reading
}

/// What is warned of and alarming from two measures on is kept down to half of them.
fn of_measure(
    measure: SignedDuration,
    (warned, alarming): (SignedDuration, SignedDuration),
    text: String,
) -> Reading {
    let level = |warned, alarming| {
        if measure >= alarming {
            Level::Alarming
        } else if measure >= warned {
            Level::Warned
        } else {
            Level::Fine
        }
    };
    Reading::of(level(warned, alarming), text).keeping(level(warned / 2, alarming / 2))
}
