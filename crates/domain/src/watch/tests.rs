//! Each check's table, and the laws that hold for all of them.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::rules::{self, Signatures, Token};
use super::silence::{self, Habits, quarter};
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

#[test]
fn a_token_is_told_of_fourteen_and_three_days_before_it_ends() {
    let now = at(0);
    let ends = |days: i64, seconds: i64| Token::Ends(at(days * DAY + seconds));
    for (known, level) in [
        (Token::Unknown, Level::Fine),
        (Token::Lasting, Level::Fine),
        (Token::Invalid, Level::Alarming),
        (ends(14, 1), Level::Fine),
        (ends(14, 0), Level::Warned),
        (ends(3, 1), Level::Warned),
        (ends(3, 0), Level::Alarming),
        (ends(0, 0), Level::Alarming),
        (ends(-9, 0), Level::Alarming),
    ] {
        assert_eq!(rules::token(known, now).level, level, "{known:?}");
    }
}

#[test]
fn an_app_that_is_not_subscribed_is_alarming_and_one_not_asked_about_is_not() {
    assert_eq!(rules::subscription(None).level, Level::Fine);
    assert_eq!(rules::subscription(Some(true)).level, Level::Fine);
    assert_eq!(rules::subscription(Some(false)).level, Level::Alarming);
}

fn signatures(good: u64, bad: u64) -> Reading {
    let mut posts = Signatures::default();
    (0..good).for_each(|_| posts.count(true, at(0)));
    (0..bad).for_each(|_| posts.count(false, at(0)));
    posts.judge(at(0))
}

#[test]
fn signatures_are_told_of_by_their_count_and_share() {
    for (good, bad, level, keeps) in [
        (0, 0, Level::Fine, Level::Fine),
        (0, 2, Level::Fine, Level::Fine),
        (0, 9, Level::Fine, Level::Alarming),
        (0, 10, Level::Warned, Level::Alarming),
        (0, 20, Level::Alarming, Level::Alarming),
        (1, 20, Level::Warned, Level::Warned),
        (190, 10, Level::Warned, Level::Warned),
        (191, 10, Level::Fine, Level::Warned),
    ] {
        let reading = signatures(good, bad);
        assert_eq!(
            (reading.level, reading.keeps),
            (level, keeps),
            "{good} {bad}"
        );
    }
}

#[test]
fn bad_signatures_are_forgotten_after_half_an_hour() {
    let mut posts = Signatures::default();
    (0..30).for_each(|_| posts.count(false, at(0)));
    assert_eq!(posts.judge(at(29 * 60)).level, Level::Alarming);
    assert_eq!(posts.judge(at(30 * 60)).keeps, Level::Fine);
    posts.count(true, at(31 * 60));
    assert_eq!(posts.judge(at(0)).facts[0], ("bad", "0".to_owned()));
}

#[test]
fn messages_without_reports_are_told_of_by_their_count_and_share() {
    for (without, with, level) in [
        (0, 0, Level::Fine),
        (2, 0, Level::Fine),
        (3, 12, Level::Warned),
        (3, 13, Level::Fine),
        (5, 1, Level::Alarming),
        (5, 2, Level::Warned),
        (50, 1_000, Level::Fine),
    ] {
        assert_eq!(
            rules::unreported(without, with).level,
            level,
            "{without} {with}"
        );
    }
}

#[test]
fn an_unknown_number_is_told_of_for_a_day() {
    assert_eq!(rules::unknown_number(at(0), at(DAY)).level, Level::Warned);
    assert_eq!(rules::unknown_number(at(0), at(DAY + 1)).level, Level::Fine);
}

#[test]
fn measures_are_kept_down_to_half_of_what_raised_them() {
    for (seconds, level, keeps) in [
        (0, Level::Fine, Level::Fine),
        (30, Level::Fine, Level::Warned),
        (60, Level::Warned, Level::Warned),
        (150, Level::Warned, Level::Alarming),
        (300, Level::Alarming, Level::Alarming),
    ] {
        let reading = rules::archive_lag(Some(SignedDuration::from_secs(seconds)));
        assert_eq!((reading.level, reading.keeps), (level, keeps), "{seconds}");
    }
    assert_eq!(rules::archive_lag(None).level, Level::Fine);
}

#[test]
fn the_clock_that_is_furthest_away_counts_in_either_direction() {
    let clocks = |broker, platform| {
        let by = SignedDuration::from_millis;
        rules::clock(&[("broker", by(broker)), ("platform", by(platform))])
    };
    assert_eq!(clocks(0, 499).level, Level::Fine);
    assert_eq!(clocks(0, -500).level, Level::Warned);
    assert_eq!(clocks(-2_000, 3).level, Level::Alarming);
    assert_eq!(rules::clock(&[]).level, Level::Fine);
}

/// Quarters of some weeks in which a shop hears from its customers on working days from nine to
/// five.
fn shop(weeks: i64) -> Vec<i64> {
    let is_open = |quarter: i64| {
        let day = quarter.div_euclid(96).rem_euclid(7);
        let hour = quarter.rem_euclid(96) / 4;
        day < 5 && (9..17).contains(&hour)
    };
    (0..weeks * 7 * 96).filter(|one| is_open(*one)).collect()
}

/// The level of a silence from one quarter to another.
fn silent(heard: &[i64], first: i64, last: i64, now: i64) -> Level {
    let habits = Habits::learn(heard.iter().copied(), first, last);
    silence::judge(&habits, at(last * 900), at(now * 900)).level
}

#[test]
fn a_shops_silence_is_told_of_in_its_hours_and_not_at_night_or_on_sundays() {
    let heard = shop(4);
    let closing = 4 * 96 + 17 * 4 - 1 + 3 * 672;
    assert!(
        heard.contains(&closing),
        "on the fourth week's last working day"
    );
    let next_week = 4 * 672;
    let opening = next_week + 9 * 4;
    for (now, level) in [
        (closing + 12, Level::Fine),
        (next_week - 40, Level::Fine),
        (next_week, Level::Fine),
        (opening, Level::Fine),
        (opening + 2, Level::Fine),
        (opening + 5, Level::Warned),
        (opening + 12, Level::Alarming),
    ] {
        let found = silent(&heard, 0, closing, now);
        assert_eq!(found, level, "{} quarters after opening", now - opening);
    }
}

#[test]
fn a_number_that_is_never_silent_is_told_of_within_the_hour() {
    let heard: Vec<i64> = (0..4 * 672).collect();
    let last = 4 * 672 - 1;
    assert_eq!(silent(&heard, 0, last, last + 3), Level::Fine);
    assert_eq!(silent(&heard, 0, last, last + 4), Level::Warned);
    assert_eq!(silent(&heard, 0, last, last + 5), Level::Alarming);
}

#[test]
fn a_number_that_hears_once_a_day_may_be_silent_for_days() {
    let heard: Vec<i64> = (0..28).map(|day| day * 96 + 40 + (day * 37) % 30).collect();
    let last = *heard.last().unwrap();
    assert_eq!(silent(&heard, 0, last, last + 3 * 96), Level::Fine);
    assert_ne!(silent(&heard, 0, last, last + 14 * 96), Level::Fine);
}

#[test]
fn a_number_without_habits_is_never_told_of() {
    let heard: Vec<i64> = (0..672).collect();
    assert_eq!(silent(&heard, 0, 671, 5_000), Level::Fine);
    assert_eq!(
        silent(&[], 0, 5_000, 9_000),
        Level::Fine,
        "nothing was heard"
    );
}

fn standing(level: Level, told: i64, calm_since: Option<i64>) -> Standing {
    Standing {
        level,
        since: Some(at(0)),
        told_at: Some(at(told)),
        calm_since: calm_since.map(at),
    }
}

fn saying(level: Level, keeps: Level) -> Reading {
    Reading::of(level, "it was read").keeping(keeps)
}

#[test]
fn levels_are_named_as_they_stand_in_metrics() {
    let levels = [Level::Fine, Level::Warned, Level::Alarming];
    assert_eq!(levels.map(Level::as_str), ["fine", "warned", "alarming"]);
}

#[test]
fn who_sees_a_part_says_again_what_still_is_so_and_others_do_not() {
    let half = Check::BadSignatures.calm().as_secs() / 2;
    for (check, reading, second, expected) in [
        (
            Check::BadSignatures,
            saying(Level::Warned, Level::Warned),
            half - 1,
            None,
        ),
        (
            Check::BadSignatures,
            saying(Level::Warned, Level::Warned),
            half,
            Some(Telling::Raised),
        ),
        (
            Check::BadSignatures,
            saying(Level::Fine, Level::Warned),
            half,
            None,
        ),
        (
            Check::WebhookSilence,
            saying(Level::Warned, Level::Warned),
            half,
            None,
        ),
    ] {
        let (after, told) = judge(
            check,
            standing(Level::Warned, 0, None),
            &reading,
            at(second),
        );
        assert_eq!(told, expected, "{check:?} at {second}");
        assert_eq!((after.level, after.since), (Level::Warned, Some(at(0))));
    }
    let fine = judge(
        Check::BadSignatures,
        standing(Level::Fine, 0, None),
        &saying(Level::Fine, Level::Fine),
        at(half),
    );
    assert_eq!(fine.1, None, "that all is well is not said again");
}

#[test]
fn all_is_well_once_it_has_been_calm_and_nobody_who_sees_a_part_said_otherwise_lately() {
    let fine = saying(Level::Fine, Level::Fine);
    for check in [Check::BadSignatures, Check::WebhookSilence] {
        let calm = check.calm().as_secs();
        // The first calm reading begins the wait, and later ones do not begin it anew.
        let (first, told) = judge(check, standing(Level::Warned, 0, None), &fine, at(1));
        assert_eq!((first.calm_since, told), (Some(at(1)), None));
        let (second, told) = judge(check, first, &fine, at(calm));
        assert_eq!((second.calm_since, told), (Some(at(1)), None));
        let (_, told) = judge(check, second, &fine, at(1 + calm));
        assert_eq!(told, Some(Telling::Cleared), "{check:?}");
        // Somebody said so at 10.
        let said = standing(Level::Warned, 10, Some(0));
        let (_, told) = judge(check, said, &fine, at(9 + calm));
        let is_in_part = check.is_seen_in_part();
        assert_eq!(told.is_none(), is_in_part, "{check:?}");
        let (_, told) = judge(check, said, &fine, at(10 + calm));
        assert_eq!(told, Some(Telling::Cleared), "{check:?}");
    }
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![
        Just(Level::Fine),
        Just(Level::Warned),
        Just(Level::Alarming)
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    (level(), level()).prop_map(|(level, keeps)| Reading::of(level, "").keeping(keeps))
}

fn check() -> impl Strategy<Value = Check> {
    (0..Check::ALL.len()).prop_map(|one| Check::ALL[one])
}

proptest! {
    /// What is told is what stands; a verdict is never better than the reading; it falls only after
    /// the calm, and never rises and falls more often than once in a calm.
    #[test]
    fn a_verdict_never_flaps(
        check in check(),
        steps in prop::collection::vec((reading(), 0_i64..2_000), 1..60),
    ) {
        let mut standing = Standing::NONE;
        let mut now = at(0);
        let mut raised_at: Option<Timestamp> = None;
        for (reading, step) in steps {
            now = at(now.as_second() + step);
            let (after, telling) = judge(check, standing, &reading, now);
            prop_assert!(after.level >= reading.level);
            match telling {
                None => prop_assert_eq!(after.level, standing.level),
                Some(Telling::Cleared) => {
                    prop_assert_eq!(after.level, Level::Fine);
                    prop_assert!(standing.level > Level::Fine);
                }
                Some(Telling::Raised) => prop_assert!(after.level > Level::Fine),
            }
            if after.level > standing.level {
                raised_at = Some(now);
            }
            if after.level < standing.level {
                let raised_at = raised_at.expect("what falls rose before");
                prop_assert!(now.duration_since(raised_at) >= check.calm());
                prop_assert_eq!(after.level, reading.keeps);
            }
            if telling.is_some() {
                prop_assert_eq!(after.told_at, Some(now));
            }
            standing = after;
        }
    }

    /// The same reading at the same time tells nothing more, so that of several processes one
    /// tells.
    #[test]
    fn what_was_told_is_not_told_again_at_once(check in check(), reading in reading()) {
        let (after, _) = judge(check, Standing::NONE, &reading, at(0));
        let (again, telling) = judge(check, after, &reading, at(0));
        prop_assert_eq!(telling, None);
        prop_assert_eq!(again.level, after.level);
    }

    /// A silence gets no likelier as it lasts, and what more was heard makes none likelier.
    #[test]
    fn a_longer_silence_is_never_likelier(
        heard in prop::collection::vec(0_i64..4 * 672, 0..400),
        more in 0_i64..4 * 672,
        silence in 0_i64..1_000,
    ) {
        let last = 4 * 672 - 1;
        let habits = Habits::learn(heard.iter().copied(), 0, last);
        let chance = habits.chance_of_silence(last, last + silence).unwrap();
        let longer = habits.chance_of_silence(last, last + silence + 1).unwrap();
        prop_assert!((0.0..=1.0).contains(&chance));
        prop_assert!(longer <= chance);
        let busier = Habits::learn(heard.into_iter().chain([more]), 0, last);
        prop_assert!(busier.chance_of_silence(last, last + silence).unwrap() <= chance);
    }
}

#[test]
fn names_of_checks_are_read_back() {
    for check in Check::ALL {
        assert_eq!(Check::parse(check.as_str()), Some(check));
    }
    assert_eq!(Check::parse("nonsense"), None);
    assert_eq!(quarter(at(899)), 0);
}
