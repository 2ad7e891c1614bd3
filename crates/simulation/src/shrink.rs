//! Makes a plan that fails smaller, until each thing in it is needed for it to fail.

use crate::plan::Plan;

/// How many plans are tried at most.
const TRIES_MAX: usize = 400;

/// Returns the smallest plan found that `fails`. The given one does.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut smallest = plan.clone();
    let mut tries_left = TRIES_MAX;
    loop {
        let before = size(&smallest);
        for candidate in simpler(&smallest) {
            smallest = attempt(smallest, candidate, &mut tries_left, &mut fails);
        }
        // From the end, so that what follows keeps its place.
        for at in (0..smallest.faults.len()).rev() {
            let mut candidate = smallest.clone();
            candidate.faults.remove(at);
            smallest = attempt(smallest, candidate, &mut tries_left, &mut fails);
        }
        for at in (0..smallest.deeds.len()).rev() {
            let mut candidate = smallest.clone();
            candidate.deeds.remove(at);
            smallest = attempt(smallest, candidate, &mut tries_left, &mut fails);
        }
        if size(&smallest) == before || tries_left == 0 {
            return smallest;
        }
    }
}

fn attempt(
    smallest: Plan,
    candidate: Plan,
    tries_left: &mut usize,
    fails: &mut impl FnMut(&Plan) -> bool,
) -> Plan {
    if *tries_left == 0 || size(&candidate) >= size(&smallest) {
        return smallest;
    }
    *tries_left -= 1;
    if fails(&candidate) {
        candidate
    } else {
        smallest
    }
}

fn simpler(plan: &Plan) -> Vec<Plan> {
    vec![
        Plan {
            trackers: 1,
            ..plan.clone()
        },
        Plan {
            dispatchers: 1,
            ..plan.clone()
        },
        Plan {
            projectors: plan.projectors.min(1),
            ..plan.clone()
        },
        Plan {
            projectors: 0,
            ..plan.clone()
        },
        Plan {
            has_lease: false,
            ..plan.clone()
        },
        Plan {
            has_sms: false,
            ..plan.clone()
        },
    ]
}

fn size(plan: &Plan) -> usize {
    plan.deeds.len()
        + plan.faults.len()
        + plan.trackers
        + plan.dispatchers
        + plan.projectors
        + usize::from(plan.has_lease)
        + usize::from(plan.has_sms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::What;

    #[test]
    fn what_is_not_needed_for_the_failure_is_left_out() {
        let plan = (0..1_000)
            .map(Plan::of)
            .find(|plan| plan.deeds.len() > 6 && plan.faults.len() > 3)
            .expect("there are many seeds");
        let needed = plan.deeds[2];
        let small = shrink(&plan, |plan| plan.deeds.contains(&needed));
        assert_eq!(small.deeds, [needed]);
        assert!(small.faults.is_empty());
        assert_eq!((small.trackers, small.dispatchers), (1, 1));
    }

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        for seed in 0..200 {
            let (one, other) = (Plan::of(seed), Plan::of(seed));
            assert_eq!(one.to_string(), other.to_string());
        }
    }

    #[test]
    fn seeds_reach_all_that_can_happen() {
        let plans: Vec<Plan> = (0..500).map(Plan::of).collect();
        let lines: String = plans.iter().map(ToString::to_string).collect();
        for word in [
            "wrote",
            "send to",
            "template",
            "jump",
            "twice",
            "Unanswered",
            "Lost",
            "Slow",
            "KilledBefore",
            "KilledAfter",
            "AnswerLost",
            "LostOnTheWay",
            "NotReached",
            "Refused",
            "FailsLater",
            "Late",
            "Twice",
            "Backwards",
            "Never",
            "dispatcher-b",
            "tracker-b",
            "projector-b",
            "projector-a, Deliver",
            "database, Open",
            "database, Read",
            "database, Archive",
            "database, Change",
            "made anew",
            "Append",
            "Read",
            "Deliver",
            "HandOut",
            "Acknowledge",
        ] {
            assert!(lines.contains(word), "no plan has {word}");
        }
        let writes = plans.iter().flat_map(|plan| &plan.deeds);
        assert!(
            writes
                .filter(|deed| matches!(deed.what, What::Write { .. }))
                .count()
                > 500
        );
    }
}
