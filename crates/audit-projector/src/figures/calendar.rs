//! Days, where people live.
//!
//! Sums stand by the quarter of an hour, since the offset of every time zone in use is a multiple
//! of one: so any zone's days are sums of quarters, without a rest.

use casement_domain::id::Phone;
use casement_domain::routing::{Zones, zone};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// The longest range.
const DAYS_MAX: i32 = 366;

const QUARTER_SECONDS: i64 = 15 * 60;

/// Which days are asked for, and where they begin and end.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    zone: TimeZone,
    pub(crate) zone_name: String,
    pub(crate) start: Date,
    /// Which is in.
    pub(crate) end: Date,
}

/// What is wrong with the days that are asked for: the field, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub(crate) struct CalendarError {
    pub(crate) field: &'static str,
    pub(crate) problem: String,
}

fn wrong(field: &'static str, problem: impl Into<String>) -> CalendarError {
    CalendarError {
        field,
        problem: problem.into(),
    }
}

impl Calendar {
    /// Takes days as they are asked for, each empty for what its field says then. `number` is the
    /// number's digits, if one is meant.
    pub(crate) fn of(
        (start, end, zone_name): (&str, &str, &str),
        number: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, CalendarError> {
        let (zone, zone_name) = zone_of(zone_name, number)?;
        let day = |field, text: &str| match text {
            "" => Ok(None),
            text => text
                .parse::<Date>()
                .map(Some)
                .map_err(|_| wrong(field, "is no day such as 2026-11-23")),
        };
        let today = now.to_zoned(zone.clone()).date();
        let end = day("end_date", end)?.unwrap_or(today);
        let start = day("start_date", start)?.unwrap_or(end);
        if start > end {
            return Err(wrong("start_date", "is after end_date"));
        }
        let days = start.until(end).map_or(i32::MAX, |span| span.get_days());
        if days >= DAYS_MAX {
            let problem = format!("is {DAYS_MAX} days or more before end_date");
            return Err(wrong("start_date", problem));
        }
        Ok(Self {
            zone,
            zone_name,
            start,
            end,
        })
    }

    /// Returns the first quarter of a day.
    pub(crate) fn begins(&self, date: Date) -> i64 {
        let begins = date.to_zoned(self.zone.clone());
        let begins = begins.map_or(Timestamp::MIN, |zoned| zoned.timestamp());
        begins.as_second().div_euclid(QUARTER_SECONDS)
    }

    /// Returns the quarters of a day: the first, and the first that is not of it.
    pub(crate) fn quarters(&self, date: Date) -> (i64, i64) {
        let next = date.checked_add(1.day()).unwrap_or(date);
        (self.begins(date), self.begins(next))
    }

    /// Returns the quarters of all days.
    pub(crate) fn all_quarters(&self) -> (i64, i64) {
        (self.begins(self.start), self.quarters(self.end).1)
    }

    /// Returns the day that a quarter is of.
    pub(crate) fn day(&self, quarter: i64) -> Date {
        let at = Timestamp::from_second(quarter.saturating_mul(QUARTER_SECONDS));
        at.unwrap_or(Timestamp::MIN)
            .to_zoned(self.zone.clone())
            .date()
    }
}

fn zone_of(name: &str, number: Option<&str>) -> Result<(TimeZone, String), CalendarError> {
    if !name.is_empty() {
        let found = zone(name).ok_or_else(|| {
            wrong(
                "time_zone",
                "is no time zone of the IANA database, such as Europe/Berlin",
            )
        })?;
        return Ok((found, name.to_owned()));
    }
    let phone = number.and_then(|digits| Phone::parse(digits).ok());
    let zones = Zones::of("", phone.as_ref(), None);
    if let [only] = zones.all()
        && let Some(name) = only.iana_name()
    {
        return Ok((only.clone(), name.to_owned()));
    }
    Ok((TimeZone::UTC, "UTC".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T20:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_day_without_a_name_is_today_where_it_is_asked_for() {
        let utc = Calendar::of(("", "", ""), None, now()).unwrap();
        assert_eq!(
            (utc.start.to_string(), utc.zone_name.as_str()),
            ("2026-11-23".to_owned(), "UTC")
        );
        let there = Calendar::of(("", "", "Asia/Kathmandu"), None, now()).unwrap();
        assert_eq!(there.end.to_string(), "2026-11-24");
        assert_eq!(there.start, there.end);
        let german = Calendar::of(("", "", ""), Some("4930123456"), now()).unwrap();
        assert_eq!(german.zone_name, "Europe/Berlin");
        let american = Calendar::of(("", "", ""), Some("15550001111"), now()).unwrap();
        assert_eq!(american.zone_name, "UTC", "there are several");
    }

    #[test]
    fn days_follow_each_other_without_gap_and_rest_in_every_zone() {
        // Offsets of whole, half and quarter hours; days of 23 and 25 hours.
        for name in [
            "UTC",
            "Europe/Berlin",
            "Asia/Kolkata",
            "Asia/Kathmandu",
            "America/St_Johns",
        ] {
            let days = Calendar::of(("2026-01-01", "2026-12-31", name), None, now()).unwrap();
            let mut date = days.start;
            let mut from = days.all_quarters().0;
            while date <= days.end {
                let (first, next) = days.quarters(date);
                assert_eq!(first, from, "{name} {date}");
                assert!((92..=100).contains(&(next - first)), "{name} {date}");
                assert_eq!(
                    (days.day(first), days.day(next - 1)),
                    (date, date),
                    "{name}"
                );
                from = next;
                date = date.tomorrow().unwrap();
            }
            assert_eq!(from, days.all_quarters().1);
        }
    }

    #[test]
    fn what_is_no_range_of_days_is_refused() {
        for (asked, field) in [
            (("yesterday", "", ""), "start_date"),
            (("", "2026-13-01", ""), "end_date"),
            (("2026-11-24", "2026-11-23", ""), "start_date"),
            (("2025-11-22", "2026-11-23", ""), "start_date"),
            (("", "", "Middle/Earth"), "time_zone"),
        ] {
            assert_eq!(Calendar::of(asked, None, now()).unwrap_err().field, field);
        }
        assert!(Calendar::of(("2025-11-24", "2026-11-23", ""), None, now()).is_ok());
    }
}
