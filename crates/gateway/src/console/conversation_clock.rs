//! Clocks as people read them: moments of a conversation, a window and how long it is left, how long
//! somebody has waited.
//!
//! Pure; the present time is an argument.

use std::fmt;

use askama::filters::HtmlSafe;
use casement_proto::events::v1::{
    ClosedReason, FreeEntryPoint, FreeEntryPointState, ThreadOwner, WindowState,
};
use casement_proto::window::v1::Window;
use jiff::{SignedDuration, Timestamp};

use super::view::{Countdown, When, length, time};

/// A window with less left than this is shown as ending soon.
pub(super) const ENDS_SOON: SignedDuration = SignedDuration::from_hours(2);

/// A moment by the clock, for people and for programs: it does not change while a page lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// RFC 3339, in whole seconds.
    pub(super) iso: String,
    /// As short as it can be said on the day of `now`, in UTC.
    pub(super) text: String,
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let seconds = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        let text = if day(at) == day(now) {
            at.strftime("%H:%M UTC").to_string()
        } else if at.strftime("%Y").to_string() == now.strftime("%Y").to_string() {
            at.strftime("%-d %b, %H:%M UTC").to_string()
        } else {
            at.strftime("%-d %b %Y, %H:%M UTC").to_string()
        };
        Self {
            iso: seconds.to_string(),
            text,
        }
    }
}

/// Digits, letters and punctuation of dates only. The script shows it in the reader's own time zone.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iso, text } = self;
        write!(
            f,
            r#"<time datetime="{iso}" title="{iso}" data-clock>{text}</time>"#
        )
    }
}

impl HtmlSafe for Moment {}

/// Reads a time of a message, for people.
pub(super) fn moment(stored: Option<&prost_types::Timestamp>, now: Timestamp) -> Option<Moment> {
    time(stored).map(|at| Moment::new(at, now))
}

/// A customer's window and what else runs with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) is_open: bool,
    /// One sentence on the window.
    pub(super) headline: String,
    pub(super) countdown: Option<Countdown>,
    pub(super) ends_soon: bool,
    /// Whether an answer of any content may go now; the guard band and other responders count.
    pub(super) free_form_allowed: bool,
    /// Why not, in a sentence; empty if it may.
    pub(super) why_not: String,
    /// What makes it so again; empty if it may.
    pub(super) how_again: String,
    /// Since when the customer waits for an answer.
    pub(super) waiting: Option<When>,
    /// The clock for billing.
    pub(super) entry_point: Option<EntryPoint>,
    pub(super) thread: Option<&'static str>,
    /// Stands for what is shown here: another one means that it has changed.
    pub(super) stamp: String,
}

/// The free entry point, which permits nothing and is not billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPoint {
    pub(super) headline: &'static str,
    pub(super) countdown: Option<Countdown>,
    pub(super) confirmed: bool,
}

/// Returns the clocks of a window.
pub(super) fn clocks(window: &Window, now: Timestamp) -> Clocks {
    let expires_at = time(window.expire_time.as_ref());
    let last_inbound_at = time(window.last_inbound_time.as_ref());
    let is_open = window.state() == WindowState::Open && expires_at.is_none_or(|at| now < at);
    let open_until = expires_at.filter(|_| is_open);
    let countdown =
        open_until.map(|until| Countdown::new(last_inbound_at.unwrap_or(now), until, now));
    let is_allowed = window.free_form_allowed && is_open;
    let waiting = When::of(window.waiting_since_time.as_ref(), now);
    let stamp = format!(
        "{:?}",
        (
            is_open,
            is_allowed,
            &window.window_id,
            expires_at.map(Timestamp::as_second),
            &window.refusal_reason,
            window.waiting_since_time.map(|time| time.seconds),
            window.thread_owner,
            window.free_entry_point.as_ref().map(|point| point.state),
        )
    );
    Clocks {
        is_open,
        headline: headline(window, is_open, expires_at, now),
        countdown,
        ends_soon: open_until.is_some_and(|until| until.duration_since(now) < ENDS_SOON),
        free_form_allowed: is_allowed,
        why_not: if is_allowed {
            String::new()
        } else {
            why_not(window, is_open, expires_at, now)
        },
        how_again: if is_allowed {
            String::new()
        } else {
            how_again(window, is_open).to_owned()
        },
        waiting,
        entry_point: window
            .free_entry_point
            .as_ref()
            .and_then(|point| entry_point(point, now)),
        thread: match window.thread_owner() {
            ThreadOwner::Other => Some("Another responder has this thread"),
            ThreadOwner::Unspecified | ThreadOwner::Us | ThreadOwner::Idle => None,
        },
        stamp,
    }
}

fn headline(
    window: &Window,
    is_open: bool,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let Some(expires_at) = expires_at else {
        return if is_open {
            "The window is open".to_owned()
        } else {
            closed_words(window.closed_reason()).to_owned()
        };
    };
    let at = Moment::new(expires_at, now).text;
    if is_open {
        return format!("The window is open until {at}");
    }
    match window.closed_reason() {
        ClosedReason::Expired | ClosedReason::Unspecified => {
            format!("The window closed at {at}")
        }
        reason => closed_words(reason).to_owned(),
    }
}

/// Says why a window is closed.
pub(super) fn closed_words(reason: ClosedReason) -> &'static str {
    match reason {
        ClosedReason::NeverWrote => "The customer has never written to this number",
        ClosedReason::Corrected => "The platform said that the window is closed",
        ClosedReason::Merged => "The conversation goes on under another customer",
        ClosedReason::NumberMigrated => "The window ended when the number moved",
        ClosedReason::Erased => "The customer was erased",
        ClosedReason::UserIdChanged => "The window ended when the customer got another user id",
        ClosedReason::Expired | ClosedReason::Unspecified => "The window is closed",
    }
}

fn why_not(
    window: &Window,
    is_open: bool,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let closed = || match (window.closed_reason(), expires_at) {
        (ClosedReason::Expired | ClosedReason::Unspecified, Some(end)) => {
            let after = time(window.last_inbound_time.as_ref())
                .map(|heard| length(end.duration_since(heard)))
                .map_or_else(String::new, |whole| {
                    format!(", {whole} after the customer's last message")
                });
            format!(
                "The window closed at {}{after}.",
                Moment::new(end, now).text
            )
        }
        (reason, _) => format!("{}.", closed_words(reason)),
    };
    match window.refusal_reason.as_str() {
        _ if !is_open => closed(),
        "GUARD_BAND" => {
            "The window ends within a minute: a reply might arrive too late.".to_owned()
        }
        "THREAD_OWNED_BY_OTHER" => {
            "Another responder has this thread, and only they may write freely.".to_owned()
        }
        _ => "A free-form reply is not possible now.".to_owned(),
    }
}

fn how_again(window: &Window, is_open: bool) -> &'static str {
    match window.refusal_reason.as_str() {
        "THREAD_OWNED_BY_OTHER" if is_open => {
            "It is possible again once the thread is passed to us."
        }
        _ => "It opens again as soon as the customer writes or calls.",
    }
}

fn entry_point(of: &FreeEntryPoint, now: Timestamp) -> Option<EntryPoint> {
    let until = time(of.until_time.as_ref());
    let is_over = until.is_some_and(|until| until <= now);
    let headline = match of.state() {
        FreeEntryPointState::Unspecified => return None,
        FreeEntryPointState::AwaitingReply if is_over => return None,
        FreeEntryPointState::AwaitingReply => {
            "Came from an ad: a reply in time makes 72 hours free of charge"
        }
        FreeEntryPointState::Open if is_over => "The free entry point has ended",
        FreeEntryPointState::Open => "Free entry point: messages are not billed",
        FreeEntryPointState::Ended => "The free entry point has ended",
        FreeEntryPointState::Denied => "No free entry point: the platform billed a message",
    };
    let since = time(of.start_time.as_ref()).or_else(|| time(of.referred_time.as_ref()));
    let counts = matches!(
        of.state(),
        FreeEntryPointState::AwaitingReply | FreeEntryPointState::Open
    );
    Some(EntryPoint {
        headline,
        countdown: until
            .filter(|_| counts && !is_over)
            .map(|until| Countdown::new(since.unwrap_or(now), until, now)),
        confirmed: of.confirmed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "messages have it so")]
    fn stored(text: &str) -> Option<prost_types::Timestamp> {
        let at = at(text);
        Some(prost_types::Timestamp {
            seconds: at.as_second(),
            nanos: at.subsec_nanosecond(),
        })
    }

    fn open() -> Window {
        let mut window = Window {
            free_form_allowed: true,
            expire_time: stored("2026-11-23T10:00:00Z"),
            last_inbound_time: stored("2026-11-22T10:00:00Z"),
            ..Window::default()
        };
        window.set_state(WindowState::Open);
        window
    }

    #[test]
    fn a_moment_says_no_more_of_its_day_than_it_must() {
        let now = at("2026-11-22T23:00:00Z");
        for (then, said) in [
            ("2026-11-22T09:05:59.9Z", "09:05 UTC"),
            ("2026-11-03T09:05:00Z", "3 Nov, 09:05 UTC"),
            ("2025-11-22T09:05:00Z", "22 Nov 2025, 09:05 UTC"),
        ] {
            assert_eq!(Moment::new(at(then), now).text, said);
        }
        let moment = Moment::new(at("2026-11-22T09:05:59.9Z"), now);
        assert_eq!(moment.iso, "2026-11-22T09:05:59Z");
    }

    #[test]
    fn an_open_window_counts_down_and_says_when_it_ends_soon() {
        for (now, text, ends_soon) in [
            ("2026-11-22T10:00:00Z", "1 d left", false),
            ("2026-11-23T06:48:00Z", "3 h 12 min left", false),
            ("2026-11-23T08:00:01Z", "1 h 59 min left", true),
            ("2026-11-23T09:59:30Z", "30 s left", true),
        ] {
            let clocks = clocks(&open(), at(now));
            let countdown = clocks.countdown.unwrap();
            assert_eq!(
                (countdown.text().as_str(), clocks.ends_soon),
                (text, ends_soon)
            );
            assert!(clocks.free_form_allowed && clocks.why_not.is_empty());
        }
    }

    #[test]
    fn a_window_whose_time_is_over_is_closed_whatever_was_said_of_it() {
        let clocks = clocks(&open(), at("2026-11-23T10:00:00Z"));
        assert!(!clocks.is_open && !clocks.free_form_allowed);
        assert_eq!(clocks.countdown, None);
        assert!(clocks.headline.starts_with("The window closed at"));
        let later = super::clocks(&open(), at("2026-11-23T11:10:00Z"));
        assert_eq!(
            later.why_not,
            "The window closed at 10:00 UTC, 1 d after the customer's last message."
        );
        assert!(later.how_again.contains("as soon as the customer writes"));
    }

    #[test]
    fn each_refusal_says_why_and_what_ends_it() {
        let now = at("2026-11-23T09:59:30Z");
        for (reason, why, again) in [
            ("GUARD_BAND", "within a minute", "customer writes"),
            ("THREAD_OWNED_BY_OTHER", "Another responder", "passed to us"),
            ("WHATEVER", "not possible now", "customer writes"),
        ] {
            let window = Window {
                free_form_allowed: false,
                refusal_reason: reason.to_owned(),
                ..open()
            };
            let clocks = clocks(&window, now);
            assert!(clocks.is_open && !clocks.free_form_allowed);
            assert!(clocks.why_not.contains(why), "{}", clocks.why_not);
            assert!(clocks.how_again.contains(again), "{}", clocks.how_again);
        }
        for reason in [
            ClosedReason::NeverWrote,
            ClosedReason::Corrected,
            ClosedReason::NumberMigrated,
        ] {
            let mut window = Window::default();
            window.set_state(WindowState::Closed);
            window.set_closed_reason(reason);
            let clocks = clocks(&window, now);
            assert_eq!(clocks.why_not, format!("{}.", closed_words(reason)));
        }
    }

    #[test]
    fn the_free_entry_point_is_a_clock_of_its_own() {
        let now = at("2026-11-23T09:00:00Z");
        let shown = |state, until: &str| {
            let mut point = FreeEntryPoint {
                until_time: stored(until),
                start_time: stored("2026-11-22T10:00:00Z"),
                confirmed: true,
                ..FreeEntryPoint::default()
            };
            point.set_state(state);
            entry_point(&point, now)
        };
        let open = shown(FreeEntryPointState::Open, "2026-11-25T10:00:00Z").unwrap();
        assert_eq!(open.countdown.unwrap().text(), "2 d 1 h left");
        let over = shown(FreeEntryPointState::Open, "2026-11-23T08:00:00Z").unwrap();
        assert_eq!(
            (over.headline, over.countdown),
            ("The free entry point has ended", None)
        );
        assert_eq!(
            shown(FreeEntryPointState::AwaitingReply, "2026-11-23T08:00:00Z"),
            None
        );
        let denied = shown(FreeEntryPointState::Denied, "2026-11-25T10:00:00Z").unwrap();
        assert_eq!(denied.countdown, None);
    }

    #[test]
    fn the_stamp_changes_with_what_is_shown_and_not_with_time() {
        let early = clocks(&open(), at("2026-11-22T11:00:00Z"));
        let late = clocks(&open(), at("2026-11-22T12:00:00Z"));
        assert_eq!(early.stamp, late.stamp);
        let over = clocks(&open(), at("2026-11-23T12:00:00Z"));
        assert_ne!(early.stamp, over.stamp);
        let waiting = Window {
            waiting_since_time: stored("2026-11-22T10:00:00Z"),
            ..open()
        };
        assert_ne!(
            clocks(&waiting, at("2026-11-22T11:00:00Z")).stamp,
            early.stamp
        );
    }
}
