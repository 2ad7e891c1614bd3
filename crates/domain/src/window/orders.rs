//! Every order in which the customer's second message, a refusal, a proof and the end of the first
//! window can happen, times every order in which they can reach us.

use super::*;
use crate::id::FactId;

const DAY: i64 = 24 * 3600;

/// When the first message was sent; its window ends a day later.
const FIRST: i64 = 0;

/// What happens besides the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The customer writes again.
    Wrote,
    /// Meta refuses a free-form call as outside the window.
    Refused,
    /// Meta delivers what a free-form call sent.
    Proven,
    /// The first message's window would end: nothing but time passes.
    End,
}

const STEPS: [Step; 4] = [Step::Wrote, Step::Refused, Step::Proven, Step::End];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn wrote(second: i64, received: i64) -> Qualifying {
    Qualifying {
        at: at(second),
        fact: FactId::from_u128(u128::from(second.unsigned_abs()) + 1),
        received_at: at(received),
        provider_id: format!("wamid.{second}"),
    }
}

fn permutations() -> Vec<[Step; 4]> {
    let mut all = Vec::new();
    for a in STEPS {
        for b in STEPS {
            for c in STEPS {
                for d in STEPS {
                    let order = [a, b, c, d];
                    if STEPS.iter().all(|step| order.contains(step)) {
                        all.push(order);
                    }
                }
            }
        }
    }
    assert_eq!(all.len(), 24);
    all
}

/// Returns the second at which each step happens, an hour apart, so that the end is a day after
/// the first message.
fn times(happened: &[Step; 4]) -> impl Fn(Step) -> i64 {
    let place = |step| happened.iter().position(|one| *one == step).unwrap();
    let place_of_end = i64::try_from(place(Step::End)).unwrap();
    let places = STEPS.map(|step| (step, i64::try_from(place(step)).unwrap()));
    move |step| {
        let (_, place) = places.iter().find(|(one, _)| *one == step).unwrap();
        FIRST + DAY + (place - place_of_end) * 3600
    }
}

#[test]
fn in_every_order_the_truth_is_the_same_and_what_is_told_agrees_with_it() {
    let policy = Policy::default();
    for happened in permutations() {
        let time = times(&happened);
        let mut ends = Vec::new();
        for arrived in permutations() {
            let case = format!("happened {happened:?}, arrived {arrived:?}");
            let mut facts = Facts {
                last_qualifying: Some(wrote(FIRST, FIRST)),
                recent: Recent::new([at(FIRST)], None),
                ..Facts::default()
            };
            let mut known = None;
            let mut told = Vec::new();
            let mut now = FIRST;
            tell(&mut known, &facts, now, &mut told, &case);
            for step in arrived {
                // Nothing is heard of before it happens.
                now = now.max(time(step));
                match step {
                    Step::Wrote => {
                        let wrote = wrote(time(step), now);
                        facts.recent = facts.recent.join(Recent::new([wrote.at], None));
                        facts.last_qualifying = facts.last_qualifying.max(Some(wrote));
                    }
                    Step::Refused => facts.evidence.refused_at = Some(at(time(step))),
                    Step::Proven => facts.evidence.proven_at = Some(at(time(step))),
                    Step::End => {}
                }
                tell(&mut known, &facts, now, &mut told, &case);
                let told_open = known.as_ref().is_some_and(|window| window.closed.is_none());
                assert_eq!(
                    told_open,
                    facts.is_open(&policy, at(now)),
                    "{case}: {known:?}"
                );
            }
            // When all has happened only the set counts: Meta's last word, then the clock.
            let (last, refused) = (time(Step::Wrote).max(FIRST), time(Step::Refused));
            let is_refused = refused >= last && refused >= time(Step::Proven);
            let after = FIRST + DAY + 4 * 3600;
            for (moment, expected) in [
                (after, !is_refused && after < last + DAY),
                (last + DAY - 1, !is_refused),
                (last + DAY, false),
            ] {
                assert_eq!(
                    facts.is_open(&policy, at(moment)),
                    expected,
                    "{case} at {moment}"
                );
            }
            tell(&mut known, &facts, last + 2 * DAY, &mut told, &case);
            check_told(&told, &case);
            let mut end = facts;
            if let Some(last) = &mut end.last_qualifying {
                last.received_at = last.at;
            }
            ends.push(end);
        }
        assert!(ends.iter().all(|end| *end == ends[0]), "{happened:?}");
    }
}

/// Whenever the tracker ran and whenever it did not, it tells what agrees with the truth in the end,
/// and no end that never was.
#[test]
fn in_every_order_and_whoever_was_down_when_no_end_is_told_that_never_was() {
    let policy = Policy::default();
    for happened in permutations() {
        let time = times(&happened);
        for arrived in permutations() {
            for runs_at in 0..16_u8 {
                let case =
                    format!("happened {happened:?}, arrived {arrived:?}, ran at {runs_at:b}");
                let mut facts = Facts {
                    last_qualifying: Some(wrote(FIRST, FIRST)),
                    recent: Recent::new([at(FIRST)], None),
                    ..Facts::default()
                };
                let (mut known, mut told, mut now) = (None, Vec::new(), FIRST);
                tell(&mut known, &facts, now, &mut told, &case);
                for (index, step) in arrived.into_iter().enumerate() {
                    now = now.max(time(step));
                    match step {
                        Step::Wrote => {
                            let wrote = wrote(time(step), now);
                            facts.recent = facts.recent.join(Recent::new([wrote.at], None));
                            facts.last_qualifying = facts.last_qualifying.max(Some(wrote));
                        }
                        Step::Refused => facts.evidence.refused_at = Some(at(time(step))),
                        Step::Proven => facts.evidence.proven_at = Some(at(time(step))),
                        Step::End => {}
                    }
                    if runs_at & (1 << index) != 0 {
                        let before = told.len();
                        tell(&mut known, &facts, now, &mut told, &case);
                        check_ends(&told[before..], &facts, &case);
                    }
                }
                let before = told.len();
                tell(&mut known, &facts, now, &mut told, &case);
                check_ends(&told[before..], &facts, &case);
                let told_open = known.as_ref().is_some_and(|window| window.closed.is_none());
                assert_eq!(told_open, facts.is_open(&policy, at(now)), "{case}");
            }
        }
    }
}

/// Each end is that of a fact after which nothing came in time.
fn check_ends(told: &[(i64, Event)], facts: &Facts, case: &str) {
    let length = Policy::default().length;
    let times = facts.recent.times();
    for (_, event) in told {
        let Event::Expired { window } = event else {
            continue;
        };
        let last = window.expires_at - length;
        let came_in_time = times.iter().any(|at| *at > last && *at < window.expires_at);
        assert!(times.contains(&last) && !came_in_time, "{case}: {event:?}");
    }
}

/// Tells everything there is to tell at one time.
fn tell(
    known: &mut Option<Published>,
    facts: &Facts,
    now: i64,
    told: &mut Vec<(i64, Event)>,
    case: &str,
) {
    let policy = Policy::default();
    while let Some(event) = decide(known.as_ref(), facts, &policy, at(now)) {
        *known = evolve(known.take(), &event);
        told.push((now, event));
        assert!(told.len() < 50, "{case}: never stops telling");
    }
}

/// What holds of every sequence of events: none early, each expiry once, nothing after an end but
/// an opening.
fn check_told(told: &[(i64, Event)], case: &str) {
    let mut expired = Vec::new();
    let mut is_open = false;
    for (now, event) in told {
        let window = event.window();
        match event {
            Event::Opened { reason, .. } => {
                assert!(!is_open, "{case}: opened twice");
                assert!(at(*now) < window.expires_at, "{case}: opened after its end");
                if *reason == OpenReason::LateEvidence {
                    assert!(window.previous.is_some(), "{case}: no window before");
                }
                is_open = true;
            }
            Event::Expired { .. } => {
                assert!(at(*now) >= window.expires_at, "{case}: expired early");
                let key = (window.opening_fact, window.expires_at);
                assert!(!expired.contains(&key), "{case}: expired twice");
                expired.push(key);
                is_open = false;
            }
            Event::Corrected { .. } => {
                assert!(is_open, "{case}: corrected what was closed");
                is_open = false;
            }
            Event::Extended { .. } | Event::Expiring { .. } => {
                assert!(is_open, "{case}: {event:?} of a closed window");
            }
        }
    }
    assert!(!is_open, "{case}: left open");
}

#[test]
fn a_late_second_message_reopens_exactly_if_its_window_has_not_ended_either() {
    let policy = Policy::default();
    for (wrote_at, received, reopens) in [
        (3600, DAY + 1, true),
        (3600, DAY + 3599, true),
        (3600, DAY + 3600, false),
        (-3600, DAY + 1, false),
        (0, DAY + 1, false),
    ] {
        let first = Facts {
            last_qualifying: Some(wrote(FIRST, FIRST)),
            ..Facts::default()
        };
        let (mut known, mut told) = (None, Vec::new());
        tell(&mut known, &first, FIRST, &mut told, "first");
        tell(&mut known, &first, DAY, &mut told, "first");
        let both = Facts {
            last_qualifying: first
                .last_qualifying
                .clone()
                .max(Some(wrote(wrote_at, received))),
            ..Facts::default()
        };
        let event = decide(known.as_ref(), &both, &policy, at(received));
        let is_late = matches!(
            &event,
            Some(Event::Opened {
                reason: OpenReason::LateEvidence,
                window,
            }) if window.previous == Some(FactId::from_u128(1))
        );
        assert_eq!(is_late, reopens, "{wrote_at} {received}: {event:?}");
        assert_eq!(event.is_some(), reopens, "{wrote_at} {received}: {event:?}");
    }
}
