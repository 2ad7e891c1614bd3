//! The last hour as a picture: a bar for each minute, with its sum in words beside it.
//!
//! Pictures are made of digits alone, and of classes that the style sheet colours.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;
use casement_proto::figures::v1::MinuteFigures;
use jiff::Timestamp;

use super::view::{count, time};

/// Width of a minute, and height of the whole, in the picture's own measure.
const STEP: u64 = 10;
const HEIGHT: u64 = 100;

/// One minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Minute {
    pub(super) start: Timestamp,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) failed: u64,
}

/// Minutes, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plot {
    pub(super) minutes: Vec<Minute>,
}

impl Plot {
    pub(super) fn new(minutes: &[MinuteFigures]) -> Self {
        let minutes = minutes.iter().filter_map(|minute| {
            Some(Minute {
                start: time(minute.start_time.as_ref())?,
                received: minute.received_count,
                sent: minute.sent_count,
                failed: minute.failed_count,
            })
        });
        Self {
            minutes: minutes.collect(),
        }
    }

    /// The most of one minute, which is as high as the picture.
    pub(super) fn most(&self) -> u64 {
        let highest = self.minutes.iter().map(|minute| {
            minute
                .received
                .max(minute.sent.saturating_add(minute.failed))
        });
        highest.max().unwrap_or(0)
    }

    /// What the picture shows, in words.
    pub(super) fn text(&self) -> String {
        let sum = |of: fn(&Minute) -> u64| count(self.minutes.iter().map(of).sum());
        format!(
            "{} received, {} sent, {} failed",
            sum(|minute| minute.received),
            sum(|minute| minute.sent),
            sum(|minute| minute.failed)
        )
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.most() == 0
    }
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.most().max(1);
        let height = |of: u64| of * HEIGHT / most;
        let width = STEP * self.minutes.len().max(1) as u64;
        let (mut received, mut sent, mut failed) = (String::new(), String::new(), String::new());
        for (minute, left) in self.minutes.iter().zip((0..).step_by(10)) {
            let bar = |into: &mut String, of: u64, left: u64, above: u64, width: u64| {
                // Something is seen, however little it is.
                let high = height(of).max(4);
                let top = HEIGHT.saturating_sub(above + high);
                if of > 0 {
                    write!(into, "M{left} {top}h{width}v{high}h-{width}z")
                } else {
                    Ok(())
                }
            };
            bar(&mut received, minute.received, left, 0, 4)?;
            bar(&mut sent, minute.sent, left + 4, 0, 5)?;
            let above = if minute.sent > 0 {
                height(minute.sent).max(4)
            } else {
                0
            };
            bar(&mut failed, minute.failed, left + 4, above, 5)?;
        }
        write!(
            f,
            r#"<svg class="plot" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="By minute: {}"><path class="plot-base" d="M0 99h{width}v1h-{width}z"/><path class="plot-received" d="{received}"/><path class="plot-sent" d="{sent}"/><path class="plot-failed" d="{failed}"/></svg>"#,
            self.text()
        )
    }
}

impl HtmlSafe for Plot {}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(received: u64, sent: u64, failed: u64) -> Minute {
        Minute {
            start: "2026-01-01T00:00:00Z".parse().unwrap(),
            received,
            sent,
            failed,
        }
    }

    #[test]
    fn the_highest_minute_fills_the_picture_and_a_single_message_is_seen() {
        let plot = Plot {
            minutes: vec![minute(0, 0, 0), minute(1_000, 1, 0), minute(0, 600, 400)],
        };
        assert_eq!(plot.most(), 1_000);
        assert_eq!(plot.text(), "1,000 received, 601 sent, 400 failed");
        let picture = plot.to_string();
        assert!(
            picture.contains(r#"plot-received" d="M10 0h4v100h-4z""#),
            "{picture}"
        );
        assert!(picture.contains("M14 96h5v4h-5z"), "{picture}");
        assert!(
            picture.contains(r#"plot-failed" d="M24 0h5v40h-5z""#),
            "{picture}"
        );
    }

    #[test]
    fn an_hour_without_traffic_is_a_line() {
        let plot = Plot {
            minutes: vec![minute(0, 0, 0); 60],
        };
        assert!(plot.is_quiet());
        let picture = plot.to_string();
        assert!(picture.contains(r#"viewBox="0 0 600 100""#), "{picture}");
        assert!(picture.contains(r#"plot-sent" d="""#), "{picture}");
    }
}
