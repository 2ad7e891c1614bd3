//! Brands: how many messages one may ask for, and which templates it may use.
//!
//! A quota is counted by the clock, UTC: each message counts in the hour and the day that it is to
//! go in. What has no room is refused, or waits for the first hour that has. Who counts, and over
//! how many processes, is the caller's affair.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Seconds of an hour.
const HOUR: i64 = 3_600;

/// Hours of a day.
const DAY: i64 = 24;

/// How far ahead a message may wait, in hours: as far as one may be scheduled.
const AHEAD_MAX: i64 = 30 * DAY;

/// What happens to a message that the quota has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverQuota {
    /// It is refused.
    #[default]
    Refuse,
    /// It waits for room.
    Wait,
}

/// How many messages a brand may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// In an hour of the clock; `None` for any number.
    pub per_hour: Option<u32>,
    /// In a day, UTC.
    pub per_day: Option<u32>,
    /// What happens beyond.
    pub over: OverQuota,
}

/// There is no room for a message when it is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("brand's quota of messages is used up")]
pub struct QuotaReached {
    /// When there is room again; `None` if there is none within 30 days.
    pub free_at: Option<Timestamp>,
}

/// What of its quota a brand has used, by the hour.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Used {
    /// Hours since 1970; none is zero.
    hours: BTreeMap<i64, u32>,
}

impl Used {
    /// Counts a message that is to go at a time.
    pub fn note(&mut self, at: Timestamp) {
        let count = self.hours.entry(hour_of(at)).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes a message back that was counted and is not.
    pub fn take_back(&mut self, at: Timestamp) {
        let hour = hour_of(at);
        if let Some(count) = self.hours.get_mut(&hour) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.hours.remove(&hour);
            }
        }
    }

    /// Forgets what no quota asks for any more.
    pub fn forget(&mut self, now: Timestamp) {
        let today = day_of(hour_of(now));
        self.hours = self.hours.split_off(&(today * DAY));
    }

    /// Returns how many messages count in the hour of a time.
    pub fn in_hour(&self, at: Timestamp) -> u32 {
        self.hours.get(&hour_of(at)).copied().unwrap_or_default()
    }

    /// Returns how many count in its day.
    pub fn in_day(&self, at: Timestamp) -> u64 {
        self.of_day(day_of(hour_of(at)))
    }

    /// Returns when a message may go that is to go at a time: then, or, if it may wait, at the
    /// start of the first hour that has room. Counts nothing.
    pub fn place(&self, quota: &Quota, at: Timestamp) -> Result<Timestamp, QuotaReached> {
        let wanted = hour_of(at);
        if self.has_room(quota, wanted) {
            return Ok(at);
        }
        let free_at = self.next_room(quota, wanted);
        match (quota.over, free_at) {
            (OverQuota::Wait, Some(free_at)) => Ok(free_at),
            (OverQuota::Wait, None) | (OverQuota::Refuse, _) => Err(QuotaReached { free_at }),
        }
    }

    fn next_room(&self, quota: &Quota, wanted: i64) -> Option<Timestamp> {
        let last = wanted.saturating_add(AHEAD_MAX);
        let mut hour = wanted + 1;
        while hour <= last {
            if !self.day_has_room(quota, day_of(hour)) {
                hour = (day_of(hour) + 1) * DAY;
            } else if self.has_room(quota, hour) {
                return Timestamp::from_second(hour * HOUR).ok();
            } else {
                hour += 1;
            }
        }
        None
    }

    fn has_room(&self, quota: &Quota, hour: i64) -> bool {
        let in_hour = self.hours.get(&hour).copied().unwrap_or_default();
        quota.per_hour.is_none_or(|limit| in_hour < limit) && self.day_has_room(quota, day_of(hour))
    }

    fn day_has_room(&self, quota: &Quota, day: i64) -> bool {
        quota
            .per_day
            .is_none_or(|limit| self.of_day(day) < u64::from(limit))
    }

    fn of_day(&self, day: i64) -> u64 {
        let hours = self.hours.range(day * DAY..(day + 1) * DAY);
        hours.map(|(_, count)| u64::from(*count)).sum()
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(HOUR)
}

fn day_of(hour: i64) -> i64 {
    hour.div_euclid(DAY)
}

/// Which templates a brand may use of those whose WABAs it has numbers in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateAccess {
    /// Only of these WABAs; of all if empty.
    pub waba_ids: Vec<String>,
    /// Only of these names, which may end with `*`; all if empty.
    pub names: Vec<String>,
}

impl TemplateAccess {
    /// Whether a template may be used.
    pub fn allows(&self, waba_id: &str, name: &str) -> bool {
        let is_waba = self.waba_ids.is_empty() || self.waba_ids.iter().any(|one| one == waba_id);
        let is_name = self.names.is_empty() || self.names.iter().any(|one| fits(one, name));
        is_waba && is_name
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn quota(per_hour: Option<u32>, per_day: Option<u32>, over: OverQuota) -> Quota {
        Quota {
            per_hour,
            per_day,
            over,
        }
    }

    #[test]
    fn what_has_no_room_is_refused_with_when_there_is_some() {
        let mut used = Used::default();
        let now = at("2026-11-22T10:40:00Z");
        let two_an_hour = quota(Some(2), None, OverQuota::Refuse);
        for _ in 0..2 {
            assert_eq!(used.place(&two_an_hour, now), Ok(now));
            used.note(now);
        }
        let free_at = Some(at("2026-11-22T11:00:00Z"));
        assert_eq!(used.place(&two_an_hour, now), Err(QuotaReached { free_at }));
        let later = at("2026-11-22T11:00:00Z");
        assert_eq!(used.place(&two_an_hour, later), Ok(later));
    }

    #[test]
    fn what_may_wait_takes_the_first_hour_with_room_and_days_count_too() {
        let mut used = Used::default();
        let now = at("2026-11-22T22:40:00Z");
        let both = quota(Some(2), Some(5), OverQuota::Wait);
        let mut times = Vec::new();
        for _ in 0..8 {
            let place = used.place(&both, now).unwrap();
            used.note(place);
            times.push(place.to_string());
        }
        assert_eq!(
            times,
            [
                "2026-11-22T22:40:00Z",
                "2026-11-22T22:40:00Z",
                "2026-11-22T23:00:00Z",
                "2026-11-22T23:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-23T01:00:00Z",
                "2026-11-23T01:00:00Z",
            ]
        );
        let none = quota(Some(0), None, OverQuota::Wait);
        let never = QuotaReached { free_at: None };
        assert_eq!(used.place(&none, now), Err(never));
    }

    #[test]
    fn a_message_waits_for_room_for_thirty_days_and_no_longer() {
        let one_a_day = quota(None, Some(1), OverQuota::Wait);
        let mut used = Used::default();
        let day = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        for full in 0..30 {
            used.note(day(full));
        }
        assert_eq!(used.place(&one_a_day, day(0)), Ok(day(30)));
        used.note(day(30));
        let never = QuotaReached { free_at: None };
        assert_eq!(used.place(&one_a_day, day(0)), Err(never));
    }

    #[test]
    fn each_hour_is_counted_by_itself() {
        let mut used = Used::default();
        let now = at("2026-11-22T10:40:00Z");
        used.note(now);
        used.note(at("2026-11-22T10:59:59Z"));
        assert_eq!(used.in_hour(now), 2);
        assert_eq!(used.in_hour(at("2026-11-22T11:00:00Z")), 0);
    }

    #[test]
    fn what_is_taken_back_or_long_ago_counts_no_more() {
        let mut used = Used::default();
        let (yesterday, now) = (at("2026-11-21T10:00:00Z"), at("2026-11-22T10:00:00Z"));
        used.note(yesterday);
        used.note(now);
        assert_eq!((used.in_hour(now), used.in_day(now)), (1, 1));
        used.forget(now);
        assert_eq!(used.in_day(yesterday), 0);
        used.take_back(now);
        used.take_back(now);
        assert_eq!(used, Used::default());
    }

    #[test]
    fn templates_are_allowed_by_waba_and_name() {
        let access = |wabas: &[&str], names: &[&str]| TemplateAccess {
            waba_ids: wabas.iter().map(|one| (*one).to_owned()).collect(),
            names: names.iter().map(|one| (*one).to_owned()).collect(),
        };
        assert!(access(&[], &[]).allows("800", "order"));
        assert!(access(&["800"], &["shop_*", "order"]).allows("800", "shop_sale"));
        assert!(access(&["800"], &["shop_*", "order"]).allows("800", "order"));
        assert!(!access(&["800"], &["shop_*", "order"]).allows("800", "orders"));
        assert!(!access(&["800"], &[]).allows("801", "order"));
    }

    proptest! {
        #[test]
        fn no_hour_and_no_day_takes_more_than_its_quota(
            per_hour in prop::option::of(1_u32..4),
            per_day in prop::option::of(1_u32..12),
            seconds in prop::collection::vec(0_i64..6 * 86_400, 1..60),
        ) {
            let quota = quota(per_hour, per_day, OverQuota::Wait);
            let mut used = Used::default();
            for second in seconds {
                let wanted = Timestamp::from_second(second).unwrap();
                let Ok(place) = used.place(&quota, wanted) else { continue };
                prop_assert!(place >= wanted);
                used.note(place);
                prop_assert!(per_hour.is_none_or(|limit| used.in_hour(place) <= limit));
                prop_assert!(per_day.is_none_or(|limit| used.in_day(place) <= u64::from(limit)));
            }
        }
    }
}
