//! Quiet hours in the customer's zone.

use jiff::civil::time;
use jiff::tz::TimeZone;

use super::*;
use crate::id::Phone;

fn night() -> QuietHours {
    QuietHours::new(time(21, 0, 0, 0), time(8, 0, 0, 0)).unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn in_zones(names: &[&str]) -> Vec<TimeZone> {
    names.iter().map(|name| zone(name).unwrap()).collect()
}

#[test]
fn hours_are_the_customers_half_open_and_may_go_over_midnight() {
    let berlin = in_zones(&["Europe/Berlin"]);
    // Berlin is an hour ahead of UTC in November, and two in July.
    for (now, is_quiet, changes_at) in [
        ("2026-11-22T19:59:59Z", false, "2026-11-22T20:00:00Z"),
        ("2026-11-22T20:00:00Z", true, "2026-11-23T07:00:00Z"),
        ("2026-11-23T03:00:00Z", true, "2026-11-23T07:00:00Z"),
        ("2026-11-23T07:00:00Z", false, "2026-11-23T20:00:00Z"),
        ("2026-07-22T19:00:00Z", true, "2026-07-23T06:00:00Z"),
        // The clocks go forward in the night.
        ("2026-03-28T23:00:00Z", true, "2026-03-29T06:00:00Z"),
    ] {
        let now = instant(now);
        assert_eq!(night().is_quiet(&berlin, now), is_quiet, "{now}");
        assert_eq!(
            night().next_change(&berlin, now),
            Some(instant(changes_at)),
            "{now}"
        );
    }
    let noon = QuietHours::new(time(12, 0, 0, 0), time(13, 30, 0, 0)).unwrap();
    assert_eq!(noon.words(), "12:00-13:30");
    assert!(noon.is_quiet(&berlin, instant("2026-11-22T12:29:59Z")));
    assert!(!noon.is_quiet(&berlin, instant("2026-11-22T12:30:00Z")));
    assert_eq!(QuietHours::new(time(12, 0, 0, 0), time(12, 0, 0, 0)), None);
}

#[test]
fn of_several_zones_it_is_quiet_while_it_is_in_any() {
    let zones = in_zones(&["America/New_York", "America/Los_Angeles"]);
    // New York wakes at 13:00 UTC, Los Angeles at 16:00; New York sleeps at 02:00.
    for (now, is_quiet, changes_at) in [
        ("2026-11-23T14:00:00Z", true, "2026-11-23T16:00:00Z"),
        ("2026-11-23T16:00:00Z", false, "2026-11-24T02:00:00Z"),
        ("2026-11-24T03:00:00Z", true, "2026-11-24T16:00:00Z"),
    ] {
        let now = instant(now);
        assert_eq!(night().is_quiet(&zones, now), is_quiet, "{now}");
        assert_eq!(
            night().next_change(&zones, now),
            Some(instant(changes_at)),
            "{now}"
        );
    }
    let apart = in_zones(&["Pacific/Auckland", "Europe/Lisbon", "America/Los_Angeles"]);
    assert_eq!(
        night().next_change(&apart, instant("2026-07-01T12:00:00Z")),
        None
    );
}

fn zones_of(phone: &str) -> Zones {
    Zones::of("", Some(&Phone::parse(phone).unwrap()), None)
}

/// Template with quiet hours, then what is asked for.
fn quiet_template(rest: &[Route]) -> Case {
    let mut steps = vec![
        Route::FreeForm.into(),
        Step {
            route: Route::Template,
            conditions: Conditions {
                quiet_hours: Some(night()),
                ..Conditions::default()
            },
        },
    ];
    steps.extend(rest.iter().copied().map(Step::from));
    let name = "courteous".to_owned();
    Case {
        policy: Policy { name, steps },
        zones: zones_of("4915112345678"),
        window: Facts::default(),
        ..Case::default()
    }
}

/// The zero of these tests is 23:13:20 in Berlin.
const MORNING: i64 = 7 * 3600 + 46 * 60 + 40 + 3600;

#[test]
fn a_route_in_quiet_hours_is_passed_over_or_waited_for() {
    use Verdict::RuledOut;
    let reasons = |decision: &Decision| {
        let candidates = decision.candidates.iter();
        candidates
            .map(|one| (one.verdict, one.reason))
            .collect::<Vec<_>>()
    };
    let other = quiet_template(&[Route::Sms, Route::Hold]).decide(0);
    assert_eq!(other.chosen, Some(Route::Sms));
    let waits = quiet_template(&[Route::Hold]).decide(0);
    assert_eq!((waits.chosen, waits.can_wait()), (None, true));
    assert_eq!(waits.quiet_until, Some(at(MORNING)));
    assert_eq!(waits.earliest_send_at, at(MORNING));
    assert_eq!(waits.next_change_at, Some(at(MORNING)));
    assert_eq!(
        reasons(&waits)[1..],
        [
            (RuledOut, "QUIET_HOURS"),
            (RuledOut, "WAITS_FOR_QUIET_HOURS")
        ]
    );
    let facts = &waits.candidates[1].facts;
    for fact in [
        "quiet_hours=21:00-08:00".to_owned(),
        "time_zones=Europe/Berlin".to_owned(),
        "time_zones_by=phone".to_owned(),
        format!("quiet_until={}", at(MORNING)),
    ] {
        assert!(facts.contains(&fact), "{fact} in {facts:?}");
    }
    let morning = quiet_template(&[Route::Hold]).decide(MORNING);
    assert_eq!(morning.chosen, Some(Route::Template));
    assert_eq!(morning.quiet_until, None);
    // Who writes at night is answered at night.
    let awake = Case {
        window: wrote(0),
        ..quiet_template(&[Route::Hold])
    };
    assert_eq!(awake.decide(1).chosen, Some(Route::FreeForm));
}

#[test]
fn quiet_hours_are_not_waited_for_beyond_the_messages_end_or_in_an_unknown_zone() {
    // The message ends after three days; the fourth morning is too late.
    let late = 2 * DAY + 23 * 3600;
    let decision = quiet_template(&[Route::Hold]).decide(late);
    assert_eq!(decision.chosen, Some(Route::Hold));
    assert_eq!(decision.candidates[1].reason, "QUIET_HOURS");
    assert!(decision.candidates[1].text.contains("too late"));
    let nowhere = Case {
        zones: Zones::default(),
        ..quiet_template(&[])
    };
    let decision = nowhere.decide(0);
    assert_eq!((decision.chosen, decision.can_wait()), (None, false));
    assert_eq!(decision.candidates[1].reason, "TIME_ZONE_UNKNOWN");
}

#[test]
fn what_could_not_go_by_day_either_waits_for_no_morning() {
    let unusable = Case {
        template: None,
        ..quiet_template(&[Route::Hold])
    };
    let decision = unusable.decide(0);
    assert_eq!(decision.chosen, Some(Route::Hold));
    assert_eq!(decision.candidates[1].reason, "NO_TEMPLATE_CONTENT");
}

pub(super) fn hours() -> impl Strategy<Value = QuietHours> {
    let minute = || (0..24_i8, 0..4_i8).prop_map(|(hour, quarter)| time(hour, quarter * 15, 0, 0));
    (minute(), minute()).prop_filter_map("no hours", |(from, to)| QuietHours::new(from, to))
}

/// Zones of far parts of the world, with clocks that change and that do not.
pub(super) fn zones() -> impl Strategy<Value = Zones> {
    let phones = vec![
        "4915112345678",
        "12125550123",
        "919876543210",
        "61412345678",
        "56912345678",
        "881612345678",
    ];
    prop::sample::select(phones).prop_map(zones_of)
}

fn clocks() -> impl Strategy<Value = Vec<TimeZone>> {
    let names = vec![
        "Europe/Berlin",
        "America/New_York",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Pacific/Kiritimati",
        "Africa/Casablanca",
    ];
    prop::sample::subsequence(names, 1..3).prop_map(|names| in_zones(&names))
}

proptest! {
    #[test]
    fn the_next_change_is_the_first_one(
        hours in hours(), zones in clocks(),
        // Two years, with every change of the clocks in them, to the minute.
        minute in 0..2 * 365 * 24 * 60_i64, within in 0.0..1.0_f64,
    ) {
        let now = instant("2026-01-01T00:00:00Z") + SignedDuration::from_mins(minute);
        let is_quiet = hours.is_quiet(&zones, now);
        let change = hours.next_change(&zones, now);
        let end = change.unwrap_or(now + SignedDuration::from_hours(50));
        prop_assert!(end > now);
        if let Some(change) = change {
            prop_assert_ne!(hours.is_quiet(&zones, change), is_quiet);
        }
        let before = now + end.duration_since(now).mul_f64(within);
        prop_assert!(before >= end || hours.is_quiet(&zones, before) == is_quiet);
    }

    #[test]
    fn whoever_waits_for_quiet_hours_can_go_when_they_end(
        hours in hours(), zones in zones(), now in 0..2 * DAY,
    ) {
        let mut case = quiet_template(&[Route::Hold]);
        case.policy.steps[1].conditions.quiet_hours = Some(hours);
        case.zones = zones;
        let decision = case.decide(now);
        if let Some(until) = decision.quiet_until {
            prop_assert_eq!(decision.chosen, None);
            prop_assert!(at(now) < until && until < at(3 * DAY));
            let then = case.decide(until.as_second() - at(0).as_second());
            prop_assert_eq!(then.chosen, Some(Route::Template));
        }
    }
}
