//! Boundaries and laws of the free entry point.

use proptest::prelude::*;

use super::super::Evidence;
use super::*;
use crate::id::FactId;
use crate::inbound::Qualifying;

const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn hour(hours: i64) -> Timestamp {
    at(hours * HOUR)
}

/// The customer came from an ad at the start.
fn referred() -> Facts {
    Facts {
        referred_at: Some(hour(0)),
        ..Facts::default()
    }
}

fn entry(referred: Option<i64>, replied: i64) -> EntryPoint {
    EntryPoint {
        referred_at: referred.map(hour),
        replied_at: hour(replied),
        told_end: None,
        is_confirmed: None,
    }
}

fn ruled(mut entry: EntryPoint, is_confirmed: bool) -> EntryPoint {
    entry.is_confirmed = Some(AsOf {
        at: entry.replied_at,
        value: is_confirmed,
    });
    entry
}

fn with(mut facts: Facts, entry: EntryPoint) -> Facts {
    facts.evidence.entry_point = Some(entry);
    facts
}

/// The business wrote from its phone.
fn replied_by_phone(mut facts: Facts, hours: i64) -> Facts {
    facts.answered_at = Some(hour(hours));
    facts
}

#[test]
fn an_entry_point_runs_from_the_first_reply_and_meta_has_the_last_word() {
    use EntryPointState::{AwaitingReply, Denied, Ended, Open};
    let replied = entry(Some(0), 5);
    let told = EntryPoint {
        told_end: Some(hour(100)),
        ..ruled(replied, true)
    };
    let table = [
        // facts, hour → state, until, confirmed
        (Facts::default(), 1, None),
        (referred(), 1, Some((AwaitingReply, 24, false))),
        (referred(), 24, None),
        (with(referred(), replied), 6, Some((Open, 77, false))),
        (with(referred(), replied), 76, Some((Open, 77, false))),
        (with(referred(), replied), 77, Some((Ended, 77, false))),
        (
            with(referred(), ruled(replied, true)),
            6,
            Some((Open, 77, true)),
        ),
        (
            with(referred(), ruled(replied, false)),
            6,
            Some((Denied, 77, false)),
        ),
        (with(referred(), told), 99, Some((Open, 100, true))),
        (with(referred(), told), 100, Some((Ended, 100, true))),
        // Meta says so of a customer of whose coming nobody heard.
        (
            with(Facts::default(), ruled(entry(None, 5), true)),
            6,
            Some((Open, 77, true)),
        ),
        // From the phone, at a time that only the first of several tells.
        (replied_by_phone(referred(), 3), 4, Some((Open, 72, false))),
        (
            replied_by_phone(referred(), 3),
            72,
            Some((Ended, 72, false)),
        ),
        (replied_by_phone(referred(), 30), 31, None),
        // Came again.
        (
            with(referred(), entry(Some(-200), -199)),
            1,
            Some((AwaitingReply, 24, false)),
        ),
        (
            with(referred(), ruled(entry(Some(-20), -19), false)),
            1,
            Some((AwaitingReply, 24, false)),
        ),
        (
            with(referred(), entry(Some(-20), -19)),
            1,
            Some((Open, 53, false)),
        ),
    ];
    for (facts, hours, expected) in table {
        let stands = facts.free_entry_point(&Policy::default(), hour(hours));
        let told = stands.map(|known| (known.state, known.until, known.is_confirmed));
        let expected = expected.map(|(state, until, sure)| (state, hour(until), sure));
        assert_eq!(told, expected, "{facts:?} at {hours}");
    }
}

#[test]
fn a_message_tells_of_an_entry_point_that_it_opens_or_that_is_not_decided() {
    let stake = |referred: i64, replied: Option<i64>| {
        Some(EntryPointAtStake {
            referred_at: Some(hour(referred)),
            replied_at: replied.map(hour),
        })
    };
    let replied = entry(Some(0), 5);
    let before = entry(Some(-20), -19);
    let table = [
        (Facts::default(), 1, None),
        (referred(), 1, stake(0, None)),
        (referred(), 24, None),
        (with(referred(), replied), 6, stake(0, Some(5))),
        (with(referred(), replied), 77, None),
        (with(referred(), ruled(replied, true)), 6, None),
        (with(referred(), ruled(replied, false)), 6, None),
        (replied_by_phone(referred(), 3), 4, stake(0, Some(0))),
        (replied_by_phone(referred(), 3), 72, None),
        // Came again, while one was open or after it was denied.
        (with(referred(), before), 1, stake(0, None)),
        (with(referred(), ruled(before, true)), 1, stake(0, None)),
        (with(referred(), ruled(before, false)), 1, stake(0, None)),
        // Nobody replied in time, and the one before is still undecided.
        (with(referred(), before), 30, stake(-20, Some(-19))),
    ];
    for (facts, hours, expected) in table {
        let told = facts.entry_point_at_stake(&Policy::default(), hour(hours));
        assert_eq!(told, expected, "{facts:?} at {hours}");
    }
}

#[test]
fn when_it_began_is_said_of_replies_of_ours_alone() {
    let from = |facts: Facts| {
        let known = facts.free_entry_point(&Policy::default(), hour(6)).unwrap();
        assert_eq!(known.state, EntryPointState::Open);
        known.from
    };
    assert_eq!(from(with(referred(), entry(Some(0), 5))), Some(hour(5)));
    assert_eq!(from(replied_by_phone(referred(), 3)), None);
    let confirmed = ruled(entry(Some(0), 0), true);
    assert_eq!(from(with(replied_by_phone(referred(), 3), confirmed)), None);
}

#[test]
fn a_message_is_covered_from_the_reply_to_the_end() {
    let policy = Policy::default();
    let entry = entry(Some(0), 5);
    let table = [(4, false), (5, true), (76, true), (77, false)];
    for (hours, is_covered) in table {
        assert_eq!(entry.covers(&policy, hour(hours)), is_covered, "{hours}");
    }
}

fn entries() -> impl Strategy<Value = Option<EntryPoint>> {
    let times = (
        prop::option::of(0..3_i64),
        0..4_i64,
        prop::option::of(70..73_i64),
        prop::option::of((0..3_i64, any::<bool>())),
    );
    prop::option::of(
        times.prop_map(|(referred, replied, told_end, ruled)| EntryPoint {
            referred_at: referred.map(hour),
            replied_at: hour(replied),
            told_end: told_end.map(hour),
            is_confirmed: ruled.map(|(at, value)| AsOf {
                at: hour(at),
                value,
            }),
        }),
    )
}

proptest! {
    #[test]
    fn what_is_known_of_entry_points_is_a_join(
        one in entries(), other in entries(), third in entries(),
    ) {
        let join = EntryPoint::join;
        prop_assert_eq!(join(one, other), join(other, one));
        prop_assert_eq!(join(join(one, other), third), join(one, join(other, third)));
        prop_assert_eq!(join(one, one), one);
    }

    #[test]
    fn an_entry_point_never_permits_free_form(
        entry_point in entries(),
        referred in prop::option::of(0..100_i64),
        written in prop::option::of(0..100_i64),
        refused in prop::option::of(0..100_i64),
        now in 0..200_i64,
    ) {
        let without = Facts {
            last_qualifying: written.map(|hours| Qualifying {
                at: hour(hours),
                fact: FactId::from_u128(1),
                received_at: hour(hours),
                provider_id: "wamid.1".to_owned(),
            }),
            evidence: Evidence {
                refused_at: refused.map(hour),
                ..Evidence::default()
            },
            ..Facts::default()
        };
        let mut with = without.clone();
        with.referred_at = referred.map(hour);
        with.evidence.entry_point = entry_point;
        let policy = Policy::default();
        prop_assert_eq!(
            with.free_form(&policy, hour(now)),
            without.free_form(&policy, hour(now))
        );
        prop_assert_eq!(with.is_open(&policy, hour(now)), without.is_open(&policy, hour(now)));
    }
}
