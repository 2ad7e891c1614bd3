//! Claims about many seeds. `CASEMENT_SEEDS=first:count` runs others than those that are always run.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use casement_shell::config::env_var;
use casement_simulation::children::Children;
use casement_simulation::plan::{Plan, Planted};

/// How many seeds are always run, and in how many tests, so that each is over soon.
const SEEDS: u64 = 2_000;
const PARTS: u64 = 20;

fn children() -> Children {
    Children::of(env!("CARGO_BIN_EXE_casement-simulation")).unwrap()
}

/// The seeds of one part: the first, and how many.
fn seeds(part: u64) -> (u64, u64) {
    let asked = env_var("CASEMENT_SEEDS");
    let asked = asked.as_deref().and_then(|asked| asked.split_once(':'));
    let (first, count) = asked.map_or((0, SEEDS), |(first, count)| {
        (first.parse().unwrap(), count.parse().unwrap())
    });
    let begin = |part: u64| first + count * part / PARTS;
    (begin(part), begin(part + 1) - begin(part))
}

/// Whatever fails, windows are told once and in time, messages are called for once and end.
fn hold(part: u64) {
    let (first, count) = seeds(part);
    let failed = children()
        .run_all((first, count), 1, Planted::Nothing)
        .unwrap();
    let told: String = failed.iter().map(ToString::to_string).collect();
    let len = failed.len();
    assert!(
        failed.is_empty(),
        "{len} of {count} seeds from {first}\n{told}"
    );
}

macro_rules! parts {
    ($($name:ident: $part:literal),* $(,)?) => {
        mod whatever_fails_each_window_is_told_once_and_each_attempt_called_once {
            $(#[test] fn $name() { super::hold($part); })*

            #[test]
            fn and_no_part_is_left_out() {
                assert_eq!([$($part),*].len() as u64, super::PARTS);
            }
        }
    };
}

parts! {
    part_0: 0, part_1: 1, part_2: 2, part_3: 3, part_4: 4,
    part_5: 5, part_6: 6, part_7: 7, part_8: 8, part_9: 9,
    part_10: 10, part_11: 11, part_12: 12, part_13: 13, part_14: 14,
    part_15: 15, part_16: 16, part_17: 17, part_18: 18, part_19: 19,
}

#[test]
fn an_error_that_is_planted_is_found_and_its_plan_made_small() {
    let children = children();
    for (name, planted) in Planted::ALL {
        let found = (0..200).find_map(|seed| {
            let failed = children.run_all((seed, 1), 1, planted).unwrap();
            failed.into_iter().next()
        });
        let found = found.unwrap_or_else(|| panic!("nobody noticed {name}"));
        let whole = Plan::of(found.plan.seed);
        let len = |plan: &Plan| plan.deeds.len() + plan.faults.len();
        assert!(
            len(&found.plan) <= 4.max(len(&whole) / 2),
            "{name}: {found}"
        );
        let told = found.to_string();
        assert!(told.contains("again: ./dev simulate --seeds"), "{told}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_seed_does_the_same_each_time() {
    let children = children();
    for seed in 0..25 {
        let plan = Plan::of(seed);
        let first = children.run(&plan).unwrap();
        assert!(!first.history.is_empty(), "seed {seed} did nothing");
        assert_eq!(first, children.run(&plan).unwrap(), "seed {seed}");
    }
}
