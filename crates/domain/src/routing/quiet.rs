//! Quiet hours: a time of the customer's day in which a route is not taken.
//!
//! Where the customer may be in several zones, it is quiet as long as it is in any of them. A
//! message that could go but for quiet hours waits for their end, if that comes before its own;
//! nothing is counted from our own clock's zone.

use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::{Finding, Input, Route, Step, against};

/// How far ahead a change is looked for: every local time comes within a day, except around a
/// change of the clocks.
const AHEAD: SignedDuration = SignedDuration::from_hours(50);

/// A time of the day, from its first minute to just before its last; over midnight if it ends
/// before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    to: Time,
}

impl QuietHours {
    /// Returns the hours from one local time to another; `None` if they are the same.
    pub fn new(from: Time, to: Time) -> Option<Self> {
        (from != to).then_some(Self { from, to })
    }

    fn has(self, local: Time) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&local)
        } else {
            local >= self.from || local < self.to
        }
    }

    /// Returns whether it is quiet in any of the zones.
    pub fn is_quiet(self, zones: &[TimeZone], at: Timestamp) -> bool {
        zones
            .iter()
            .any(|zone| self.has(zone.to_datetime(at).time()))
    }

    /// Returns when it next begins or ends to be quiet; `None` if it does not within two days,
    /// since there is a zone in which it is quiet at any time.
    pub fn next_change(self, zones: &[TimeZone], now: Timestamp) -> Option<Timestamp> {
        let is_quiet = self.is_quiet(zones, now);
        let mut changes: Vec<_> = zones
            .iter()
            .flat_map(|zone| self.edges(zone, now))
            .collect();
        changes.sort_unstable();
        let mut changes = changes.into_iter().filter(|at| *at > now);
        changes.find(|at| self.is_quiet(zones, *at) != is_quiet)
    }

    /// All times of the next days at which it may begin or end to be quiet in a zone: when its
    /// clocks show one of the two times, and when they are changed.
    fn edges(self, zone: &TimeZone, now: Timestamp) -> Vec<Timestamp> {
        let today = zone.to_datetime(now).date();
        let days = (-1..=2).filter_map(|days| today.checked_add(i64::from(days).days()).ok());
        let shown = days.flat_map(|day| [self.from, self.to].map(|time| day.to_datetime(time)));
        let until = now.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
        let turns = zone.following(now).map(|turn| turn.timestamp());
        shown
            .flat_map(|local| instants(zone, local))
            .chain(turns.take_while(|at| *at <= until))
            .collect()
    }

    /// Returns the words for facts and people, such as `21:00-08:00`.
    pub fn words(self) -> String {
        let minute = |time: Time| format!("{:02}:{:02}", time.hour(), time.minute());
        format!("{}-{}", minute(self.from), minute(self.to))
    }
}

/// When a zone's clocks show a time: twice when they are put back, never when they leave it out.
fn instants(zone: &TimeZone, local: DateTime) -> Vec<Timestamp> {
    let offsets = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset],
        AmbiguousOffset::Fold { before, after } => vec![before, after],
        AmbiguousOffset::Gap { .. } => Vec::new(),
    };
    let at = offsets.into_iter().map(|offset| offset.to_timestamp(local));
    at.filter_map(Result::ok).collect()
}

/// The quiet hours met before a route was chosen, in the policy's order.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// The earliest end of them that comes before the message's.
    pub(super) until: Option<Timestamp>,
}

impl Quiet {
    /// Returns what is left of a finding: quiet hours only count against what would otherwise do.
    pub(super) fn weigh(
        &mut self,
        step: &Step,
        mut finding: Finding,
        input: &Input<'_>,
        is_decided: bool,
        now: Timestamp,
    ) -> Finding {
        if !finding.is_eligible {
            return finding;
        }
        if let (Route::Hold, Some(until)) = (step.route, self.until) {
            // It waits for them already, and then needs no customer to write.
            let facts = vec![format!("quiet_until={until}")];
            let text = format!("It waits for the end of quiet hours at {until}.");
            return against("WAITS_FOR_QUIET_HOURS", facts, text);
        }
        let Some(hours) = step.conditions.quiet_hours else {
            return finding;
        };
        finding.facts.push(format!("quiet_hours={}", hours.words()));
        finding.facts.extend(input.zones.facts());
        let zones = input.zones.all();
        if zones.is_empty() {
            let text = "There are quiet hours, and nothing tells the customer's time zone: name \
                        time_zone in the request.";
            return against("TIME_ZONE_UNKNOWN", finding.facts, text);
        }
        if !hours.is_quiet(zones, now) {
            return finding;
        }
        let end = hours.next_change(zones, now);
        let in_time = end.filter(|end| *end < input.expires_at);
        if let Some(end) = in_time.filter(|_| !is_decided) {
            self.until = Some(self.until.map_or(end, |known| known.min(end)));
        }
        finding
            .facts
            .extend(end.map(|end| format!("quiet_until={end}")));
        let text = match (end, in_time) {
            (Some(end), Some(_)) => format!("The customer has quiet hours until {end}."),
            (Some(end), None) => {
                format!("The customer has quiet hours until {end}, which is too late for it.")
            }
            (None, _) => "The country is never out of quiet hours in all its zones.".to_owned(),
        };
        against("QUIET_HOURS", finding.facts, text)
    }
}
