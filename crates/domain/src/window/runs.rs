//! What is told when much happened while nobody told anything: no window's end that never was, and
//! none of those that were as anything else.

use proptest::prelude::*;

use super::*;
use crate::id::FactId;
use crate::inbound::{Addresses, Fact, Kind, Marks, QualifyingPolicy};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// What the customer wrote at these times, each received at once.
fn wrote(seconds: &[i64]) -> Facts {
    let policy = QualifyingPolicy::default();
    let summary = seconds.iter().fold(Summary::default(), |known, second| {
        let fact = Fact {
            id: FactId::from_u128(u128::from(second.unsigned_abs())),
            at: at(*second),
            received_at: at(*second),
            kind: Kind::Content,
            provider_id: String::new(),
            addresses: Addresses::default(),
            thread_owner: None,
            marks: Marks::default(),
        };
        known.join(fact.summary(&policy))
    });
    Facts::of(&summary)
}

/// Tells everything there is to tell at one time. Who tells looks up what is not kept, as long as
/// it stands on the log.
fn tell(published: &mut Option<Published>, facts: &Facts, all: &[i64], now: i64) -> Vec<Event> {
    let policy = Policy::default();
    let mut facts = facts.clone();
    let mut told = Vec::new();
    loop {
        if is_unsure(published.as_ref(), &facts, &policy) {
            facts.recent = facts.recent.filled(all.iter().copied().map(at));
        }
        let last = untold(published.as_ref(), &facts, &policy);
        let found = all.iter().filter(|second| last.contains(&at(**second)));
        facts.untold = found
            .filter_map(|second| wrote(&[*second]).last_qualifying)
            .collect();
        let Some(event) = decide(published.as_ref(), &facts, &policy, at(now)) else {
            return told;
        };
        *published = evolve(published.take(), &event);
        told.push(event);
        assert!(told.len() < 20, "never stops telling: {told:?}");
    }
}

fn short(event: &Event) -> (&'static str, i64) {
    let name = match event {
        Event::Opened { .. } => "opened",
        Event::Extended { .. } => "extended",
        Event::Expiring { .. } => "expiring",
        Event::Expired { .. } => "expired",
        Event::Corrected { .. } => "corrected",
    };
    let ends = event.window().expires_at.duration_since(at(0)).as_secs();
    (name, ends)
}

/// When the customer wrote, when the tracker looks, and what it tells then with which end.
type Case = (&'static [i64], i64, &'static [(&'static str, i64)]);

#[test]
fn who_wrote_inside_the_window_and_again_after_its_told_end_has_one_window() {
    // Nobody told anything from the first fact's time on until `now`.
    let table: &[Case] = &[
        // Inside, and after the told end: it never ended.
        (
            &[0, 20 * HOUR, 30 * HOUR],
            30 * HOUR,
            &[("extended", 54 * HOUR)],
        ),
        // A chain of three days.
        (
            &[0, 20 * HOUR, 40 * HOUR, 60 * HOUR],
            61 * HOUR,
            &[("extended", 84 * HOUR)],
        ),
        // At the very second of the end it is another window.
        (
            &[0, 24 * HOUR],
            24 * HOUR,
            &[("expired", 24 * HOUR), ("opened", 48 * HOUR)],
        ),
        (
            &[0, 24 * HOUR - 1],
            24 * HOUR,
            &[("extended", 48 * HOUR - 1)],
        ),
        // The end was later than told, and that later end is told.
        (
            &[0, 20 * HOUR, 50 * HOUR],
            50 * HOUR,
            &[("expired", 44 * HOUR), ("opened", 74 * HOUR)],
        ),
        // Of windows that came and went in between the ends are told, in order.
        (
            &[0, 30 * HOUR, 60 * HOUR],
            60 * HOUR,
            &[
                ("expired", 24 * HOUR),
                ("expired", 54 * HOUR),
                ("opened", 84 * HOUR),
            ],
        ),
        (
            &[0, 20 * HOUR, 50 * HOUR, 60 * HOUR, 90 * HOUR],
            120 * HOUR,
            &[
                ("expired", 44 * HOUR),
                ("expired", 84 * HOUR),
                ("expired", 114 * HOUR),
            ],
        ),
        // All of it is over.
        (&[0, 20 * HOUR], 100 * HOUR, &[("expired", 44 * HOUR)]),
    ];
    for (seconds, now, expected) in table {
        let mut known = None;
        let first = &seconds[..1];
        assert_eq!(
            tell(&mut known, &wrote(first), first, 0)
                .iter()
                .map(short)
                .collect::<Vec<_>>(),
            [("opened", DAY)]
        );
        let told = tell(&mut known, &wrote(seconds), seconds, *now);
        let told: Vec<_> = told.iter().map(short).collect();
        assert_eq!(told, *expected, "{seconds:?}");
    }
}

#[test]
fn whoever_was_never_told_of_is_told_of_each_window_that_was() {
    let seconds = [0, 10 * HOUR, 40 * HOUR, 70 * HOUR];
    let mut known = None;
    let told = tell(&mut known, &wrote(&seconds), &seconds, 71 * HOUR);
    assert_eq!(
        told.iter().map(short).collect::<Vec<_>>(),
        [
            ("expired", 34 * HOUR),
            ("expired", 64 * HOUR),
            ("opened", 94 * HOUR)
        ]
    );
    // Each names the one before it.
    let windows: Vec<_> = told.iter().map(Event::window).collect();
    assert_eq!(windows[0].previous, None);
    for pair in windows.windows(2) {
        assert_eq!(pair[1].previous, Some(pair[0].opening_fact));
    }
    assert_eq!(windows[0].opened_at, at(10 * HOUR));
    assert_eq!(
        windows[0].circumstances.waiting_since,
        Some(at(0)),
        "as of its end"
    );
}

#[test]
fn of_a_window_whose_fact_came_too_late_or_that_was_cut_short_nothing_is_told_afterwards() {
    let seconds = [0, 40 * HOUR];
    let policy = Policy::default();
    let first = wrote(&[0]).last_qualifying.unwrap();
    let end_of = |untold: Qualifying, evidence: Evidence| {
        let facts = Facts {
            untold: vec![untold],
            ..wrote(&seconds).with_evidence(evidence)
        };
        let event = decide(None, &facts, &policy, at(41 * HOUR)).unwrap();
        short(&event)
    };
    let opened = ("opened", 64 * HOUR);
    assert_eq!(
        end_of(first.clone(), Evidence::default()),
        ("expired", 24 * HOUR)
    );
    let late = Qualifying {
        received_at: at(24 * HOUR),
        ..first.clone()
    };
    assert_eq!(end_of(late, Evidence::default()), opened);
    for (refused, expected) in [
        (HOUR, opened),
        (0, opened),
        (-1, ("expired", 24 * HOUR)),
        (24 * HOUR, ("expired", 24 * HOUR)),
    ] {
        let evidence = Evidence {
            refused_at: Some(at(refused)),
            ..Evidence::default()
        };
        assert_eq!(end_of(first.clone(), evidence), expected, "{refused}");
    }
}

#[test]
fn more_facts_than_are_kept_make_one_window_all_the_same() {
    // One every two hours for two days: what is kept begins long after the told end.
    let seconds: Vec<i64> = (0..=24).map(|n| 2 * HOUR * n).collect();
    let mut known = None;
    tell(&mut known, &wrote(&seconds[..1]), &seconds[..1], 0);
    let facts = wrote(&seconds);
    assert!(facts.recent.times().len() < seconds.len());
    assert!(is_unsure(known.as_ref(), &facts, &Policy::default()));
    let told = tell(&mut known, &facts, &seconds, 48 * HOUR);
    assert_eq!(
        told.iter().map(short).collect::<Vec<_>>(),
        [("extended", 72 * HOUR)]
    );

    // Once the log has forgotten them, what was told is all there is to go by.
    let mut known = None;
    tell(&mut known, &wrote(&seconds[..1]), &seconds[..1], 0);
    let told = tell(&mut known, &facts, &[], 48 * HOUR);
    assert!(
        matches!(told.last(), Some(Event::Opened { .. })),
        "{told:?}"
    );
}

#[test]
fn a_day_of_many_facts_inside_the_window_needs_no_looking_up() {
    let mut seconds: Vec<i64> = (0..20).map(|n| n * HOUR).collect();
    seconds.push(30 * HOUR);
    let mut known = None;
    tell(&mut known, &wrote(&seconds[..1]), &seconds[..1], 0);
    let facts = wrote(&seconds);
    assert!(!is_unsure(known.as_ref(), &facts, &Policy::default()));
    let told = tell(&mut known, &facts, &[], 30 * HOUR);
    assert_eq!(
        told.iter().map(short).collect::<Vec<_>>(),
        [("extended", 54 * HOUR)]
    );
}

#[test]
fn several_leads_that_came_meanwhile_are_told_longest_first_each_once() {
    let policy = Policy {
        leads: [10, 120, 30].map(SignedDuration::from_mins).to_vec(),
        ..Policy::default()
    };
    let facts = wrote(&[0]);
    let mut known = None;
    let mut leads = Vec::new();
    for now in [0, 24 * HOUR - 120 * 60, 24 * HOUR - 60, 24 * HOUR - 59] {
        while let Some(event) = decide(known.as_ref(), &facts, &policy, at(now)) {
            if let Event::Expiring { lead, .. } = &event {
                leads.push(lead.as_secs() / 60);
            }
            known = evolve(known.take(), &event);
        }
    }
    assert_eq!(leads, [120, 30, 10]);
}

/// Ends of all runs: a run goes on as long as each fact comes before the end that the one before
/// it gave.
fn ends_of_runs(seconds: &[i64]) -> Vec<i64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable();
    sorted
        .iter()
        .enumerate()
        .filter(|(index, second)| {
            sorted
                .get(index + 1)
                .is_none_or(|next| *next >= **second + DAY)
        })
        .map(|(_, second)| second + DAY)
        .collect()
}

proptest! {
    /// The customer writes at any times; the tracker looks at some of them only.
    #[test]
    fn no_end_is_told_that_never_was(
        gaps in prop::collection::vec((1..30 * HOUR, prop::bool::weighted(0.3)), 1..40),
        idle in 0..2 * DAY,
    ) {
        let mut known: Option<Published> = None;
        let mut seconds = Vec::new();
        let mut now = 0;
        let mut told = Vec::new();
        for (gap, looks) in gaps {
            now += gap;
            seconds.push(now);
            if looks {
                let facts = wrote(&seconds);
                told.extend(tell(&mut known, &facts, &seconds, now));
                prop_assert!(known.as_ref().is_some_and(|window| window.closed.is_none()));
            }
            for event in &told {
                let ends = event.window().expires_at.duration_since(at(0)).as_secs();
                match event {
                    Event::Expired { .. } => {
                        let runs = ends_of_runs(&seconds);
                        prop_assert!(runs.contains(&ends), "{} of {:?}", ends, runs);
                    }
                    _ => prop_assert!(event.window().closed.is_none()),
                }
            }
        }
        told.extend(tell(&mut known, &wrote(&seconds), &seconds, now + idle));
        // However seldom it looked: every end is told, once and in order.
        let ended = told.iter().filter(|event| matches!(event, Event::Expired { .. }));
        let ended: Vec<_> = ended.map(|event| short(event).1).collect();
        let mut runs = ends_of_runs(&seconds);
        runs.retain(|end| *end <= now + idle);
        prop_assert_eq!(ended, runs);
        let open = known.is_some_and(|window| window.closed.is_none());
        prop_assert_eq!(open, idle < DAY);
    }
}
