//! Boundaries and laws of halts.

use proptest::prelude::*;

use super::*;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn order(end: End, met: i64) -> Order {
    Order {
        target: Target::new(Scope::Number, "15550001111"),
        traffic: Traffic::Everything,
        channels: Channels::Whatsapp,
        may_go_elsewhere: true,
        cause: Cause::Code {
            code: 131_042,
            meaning: "no payment".to_owned(),
        },
        end,
        met_at: at(met),
    }
}

/// As long as nothing was accepted since.
fn set(known: Option<&Known>, order: &Order, now: Timestamp) -> Option<Halt> {
    super::set(known, order, 0, now)
}

fn halt(target: Target) -> Halt {
    let order = Order {
        target,
        ..order(End::Open, 0)
    };
    set(None, &order, at(0)).unwrap()
}

fn sending(targets: &[Target]) -> Sending {
    Sending {
        targets: targets.to_vec(),
        is_marketing: false,
    }
}

const BY_TIME: End = End::Time {
    first: MINUTE,
    factor: 2,
};
const BY_PROBE: End = End::Probe {
    first: MINUTE,
    factor: 2,
};

#[test]
fn the_same_error_sets_a_halt_once() {
    for end in [End::Open, BY_TIME, BY_PROBE] {
        let first = set(None, &order(end, 0), at(1)).unwrap();
        let known = Known::Set(first);
        assert_eq!(set(Some(&known), &order(end, 5), at(6)), None, "{end:?}");
    }
}

#[test]
fn a_call_that_began_before_the_lift_does_not_set_the_halt_again() {
    let known = Known::Lifted { at: at(10) };
    assert_eq!(set(Some(&known), &order(End::Open, 10), at(12)), None);
    let again = set(Some(&known), &order(End::Open, 11), at(12)).unwrap();
    assert_eq!((again.since, again.renewals), (at(11), 0));
}

#[test]
fn a_halt_that_comes_back_at_once_stays_longer_and_one_that_comes_back_late_does_not() {
    let first = set(None, &order(BY_TIME, 0), at(0)).unwrap();
    assert_eq!(first.until, Some(at(60)));
    assert!(first.is_in_force(at(59)) && !first.is_in_force(at(60)));
    let known = Known::Set(first);
    let soon = set(Some(&known), &order(BY_TIME, 61), at(62)).unwrap();
    assert_eq!((soon.until, soon.renewals), (Some(at(62 + 120)), 1));
    let late = set(Some(&known), &order(BY_TIME, 121), at(122)).unwrap();
    assert_eq!((late.until, late.renewals), (Some(at(122 + 60)), 0));
}

#[test]
fn a_limit_that_is_met_now_and_then_by_chance_never_halts_for_longer() {
    let mut known: Option<Known> = None;
    let mut now = 0;
    for _ in 0..100 {
        let halt = super::set(known.as_ref(), &order(BY_TIME, now), ACCEPTED_LEN, at(now));
        let halt = halt.expect("the last one is over");
        assert_eq!((halt.until, halt.renewals), (Some(at(now + 60)), 0));
        known = Some(Known::Set(halt));
        now += 61;
    }
    let few = ACCEPTED_LEN - 1;
    let halt = super::set(known.as_ref(), &order(BY_TIME, now), few, at(now)).unwrap();
    assert_eq!(halt.renewals, 1, "it was hardly over");
}

#[test]
fn a_probe_that_fails_makes_the_next_one_wait_longer_and_any_other_failure_does_not() {
    let first = set(None, &order(BY_PROBE, 0), at(0)).unwrap();
    assert_eq!((first.until, first.probe_at), (None, Some(at(60))));
    let known = Known::Set(first);
    assert_eq!(set(Some(&known), &order(BY_PROBE, 59), at(70)), None);
    let renewed = set(Some(&known), &order(BY_PROBE, 60), at(70)).unwrap();
    assert_eq!(renewed.probe_at, Some(at(70 + 120)));
    assert_eq!(renewed.since, at(0), "it never ended");
}

#[test]
fn each_scope_stops_what_belongs_to_it_and_nothing_else() {
    let ours = [
        Target::new(Scope::Brand, "b"),
        Target::new(Scope::Portfolio, "p"),
        Target::new(Scope::Waba, "w"),
        Target::new(Scope::Token, "file:t"),
        Target::new(Scope::Number, "1"),
        Target::template("w", "order", "en"),
        Target::template("w", "order", ""),
        Target::label("b", "campaign", "spring"),
        Target::pair("1", "c"),
    ];
    let foreign = [
        Target::new(Scope::Brand, "1"),
        Target::new(Scope::Number, "2"),
        Target::template("w", "order", "de"),
        Target::label("b", "campaign", "autumn"),
        Target::label("other", "campaign", "spring"),
        Target::pair("1", "d"),
    ];
    let message = sending(&ours);
    for target in ours {
        let halt = halt(target.clone());
        let stops = Stops::of([("h", &halt)], &message, at(1));
        let is_template = target.scope == Scope::Template;
        assert_eq!(stops.on(Route::FreeForm).is_some(), !is_template);
        assert!(stops.on(Route::Template).is_some(), "{target:?}");
        assert_eq!(stops.on(Route::Sms), None, "the platform's halt is its own");
    }
    for target in foreign {
        let halt = halt(target);
        let stops = Stops::of([("h", &halt)], &message, at(1));
        assert_eq!(stops, Stops::default());
    }
}

#[test]
fn what_stops_depends_on_traffic_and_channel() {
    let target = Target::new(Scope::Number, "1");
    let of = |traffic, channels, is_marketing| {
        let halt = Halt {
            traffic,
            channels,
            ..halt(target.clone())
        };
        let message = Sending {
            is_marketing,
            ..sending(std::slice::from_ref(&target))
        };
        let stops = Stops::of([("h", &halt)], &message, at(1));
        Route::ALL.map(|route| stops.on(route).is_some())
    };
    let (meta, every) = (Channels::Whatsapp, Channels::Every);
    for (traffic, channels, is_marketing, expected) in [
        (Traffic::Everything, meta, false, [true, true, false, false]),
        (Traffic::Everything, every, false, [true, true, true, false]),
        (Traffic::Marketing, meta, false, [false; 4]),
        (Traffic::Marketing, meta, true, [true, true, false, false]),
        (Traffic::Templates, meta, false, [false, true, false, false]),
    ] {
        assert_eq!(of(traffic, channels, is_marketing), expected, "{traffic:?}");
    }
}

#[test]
fn of_two_halts_the_longer_is_told_and_both_must_let_go_elsewhere() {
    let target = Target::new(Scope::Number, "1");
    let short = Halt {
        until: Some(at(60)),
        ..halt(target.clone())
    };
    let long = Halt {
        may_go_elsewhere: false,
        probe_at: Some(at(5)),
        ..halt(target.clone())
    };
    let message = sending(&[target]);
    for halts in [[("s", &short), ("l", &long)], [("l", &long), ("s", &short)]] {
        let stops = Stops::of(halts, &message, at(1));
        let stop = stops.on(Route::FreeForm).unwrap();
        assert_eq!((stop.halt.as_str(), stop.until), ("l", None));
        assert!(!stop.may_go_elsewhere);
        assert_eq!(stop.probe_at, None, "the other one stands in its way");
    }
    let stops = Stops::of([("s", &short), ("l", &long)], &message, at(60));
    let stop = stops.on(Route::FreeForm).unwrap();
    assert_eq!(stop.probe_at, Some(at(5)), "the short one has run out");
}

#[test]
fn a_wait_that_ends_after_the_message_is_not_waited_for() {
    let target = Target::new(Scope::Number, "1");
    let halt = Halt {
        may_go_elsewhere: false,
        until: Some(at(60)),
        ..halt(target.clone())
    };
    let stops = Stops::of([("h", &halt)], &sending(&[target]), at(1));
    let stop = stops.on(Route::FreeForm).unwrap();
    assert!(!stop.lets_go_elsewhere(at(61)));
    assert!(stop.lets_go_elsewhere(at(60)));
    assert_eq!(stop.look_again_at(at(61)), at(60));
    assert_eq!(stop.look_again_at(at(30)), at(30), "it ends before");
}

fn stop(halt: &str, until: Option<i64>, probe_at: Option<i64>) -> Stop {
    Stop {
        halt: halt.to_owned(),
        until: until.map(at),
        probe_at: probe_at.map(at),
        ..Stop::by_budget(1, at(0))
    }
}

#[test]
fn of_two_ways_the_one_that_opens_first_is_told_and_either_may_do() {
    for (one, other, sooner) in [
        ((Some(60), None), (Some(59), None), "other"),
        ((Some(60), None), (Some(60), None), "one"),
        ((Some(60), None), (None, Some(59)), "other"),
        ((None, None), (None, Some(59)), "other"),
        ((None, Some(5)), (Some(6), Some(1)), "one"),
        ((None, None), (None, None), "one"),
    ] {
        let (one, other) = (stop("one", one.0, one.1), stop("other", other.0, other.1));
        assert_eq!(one.or(other).halt, sooner);
    }
    for (one, other) in [(false, false), (false, true), (true, false), (true, true)] {
        let with = |name, is| Stop {
            may_go_elsewhere: is,
            is_waited_for: is,
            ..stop(name, Some(60), None)
        };
        let either = with("one", one).or(with("other", other));
        assert_eq!(
            (either.may_go_elsewhere, either.is_waited_for),
            (one || other, one || other)
        );
        // In the one that lasts longer, or in the other.
        for last in [59, 61] {
            let longer = Stop {
                until: Some(at(last)),
                ..with("other", other)
            };
            let target = Stops::default()
                .with_template(with("one", one))
                .with_template(longer);
            let both = target.on(Route::Template).unwrap();
            assert_eq!(both.halt, if last == 61 { "other" } else { "one" });
            assert_eq!(
                (both.may_go_elsewhere, both.is_waited_for),
                (one && other, one && other)
            );
        }
    }
    let equal = Stops::default().with_template(stop("first", Some(60), None));
    let equal = equal.with_template(stop("second", Some(60), None));
    assert_eq!(equal.on(Route::Template).unwrap().halt, "first");
}

#[test]
fn a_halt_is_told_with_what_it_stops_and_why() {
    let by_hand = |reason: &str| Cause::ByHand {
        reason: reason.to_owned(),
    };
    let code = |code| Cause::Code {
        code,
        meaning: "no payment".to_owned(),
    };
    for (scope, cause, key, says) in [
        (
            Scope::Number,
            by_hand(""),
            "hand",
            "Sending is paused for the number.",
        ),
        (
            Scope::Brand,
            by_hand("a mistake"),
            "hand",
            "Sending is paused for the brand: a mistake.",
        ),
        (
            Scope::Waba,
            code(131_042),
            "131042",
            "Sending is halted for the business account since error 131042: no payment.",
        ),
        (
            Scope::Token,
            code(-1),
            "-1",
            "Sending is halted for the access token: no payment.",
        ),
        (
            Scope::Portfolio,
            code(0),
            "0",
            "Sending is halted for the portfolio since error 0: no payment.",
        ),
    ] {
        assert_eq!(cause.key(), key);
        let target = Target::new(scope, "x");
        let halt = Halt {
            cause,
            ..halt(target.clone())
        };
        let stops = Stops::of([("h", &halt)], &sending(&[target]), at(1));
        assert_eq!(stops.on(Route::FreeForm).unwrap().text, says);
    }
}

#[test]
fn so_many_calls_that_were_accepted_end_what_was_by_chance() {
    let first = set(None, &order(BY_TIME, 0), at(0)).unwrap();
    let known = Known::Set(first);
    let renewals = |accepted| {
        let halt = super::set(Some(&known), &order(BY_TIME, 61), accepted, at(61));
        halt.unwrap().renewals
    };
    assert_eq!((renewals(ACCEPTED_LEN - 1), renewals(ACCEPTED_LEN)), (1, 0));
    // A call that began before its end belongs to it.
    assert_eq!(set(Some(&known), &order(BY_TIME, 59), at(60)), None);
    assert!(set(Some(&known), &order(BY_TIME, 60), at(60)).is_some());
}

proptest! {
    /// However often it comes back, and with whatever factor, a wait has a bound and never shrinks.
    #[test]
    fn waits_grow_to_a_bound(first in 1..100_000_i64, factor in 0..100_u32, renewals in 0..1_000_u32) {
        let first = SignedDuration::from_secs(first);
        let this = wait(first, factor, renewals);
        prop_assert!(this >= first && this <= WAIT_MAX.max(first));
        prop_assert!(wait(first, factor, renewals + 1) >= this);
    }

    /// Whatever is met in whatever order: a halt that is set is in force, and one that needs no
    /// record is either in force already or was lifted after it was met.
    #[test]
    fn after_an_order_the_halt_stands_unless_it_was_lifted_since(
        steps in prop::collection::vec((0..3_u8, 0..50_i64, 1..20_i64), 1..60),
        kind in 0..3_u8,
    ) {
        let end = [End::Open, BY_TIME, BY_PROBE][usize::from(kind)];
        let mut known: Option<Known> = None;
        let mut now = 0;
        for (step, behind, ahead) in steps {
            now += ahead;
            if step == 0 {
                known = Some(Known::Lifted { at: at(now) });
                continue;
            }
            let met = now - behind;
            if let Some(halt) = set(known.as_ref(), &order(end, met), at(now)) {
                prop_assert!(halt.is_in_force(at(now)));
                known = Some(Known::Set(halt));
            } else {
                let covered = match known.as_ref() {
                    Some(Known::Lifted { at: lifted }) => *lifted >= at(met),
                    // In force now, or it was when this was met.
                    Some(Known::Set(halt)) => halt.is_in_force(at(met)),
                    None => false,
                };
                prop_assert!(covered);
            }
        }
    }
}
