//! That nothing of what is known is left behind where facts are taken over: found by breaking the
//! rules.

use super::*;

fn evidence(second: i64) -> Evidence {
    Evidence {
        refused_at: Some(at(second)),
        proven_at: Some(at(second + 1)),
        answered_at: Some(at(second + 2)),
        entry_point: Some(EntryPoint {
            referred_at: Some(at(second)),
            replied_at: at(second + 3),
            told_end: None,
            is_confirmed: None,
        }),
    }
}

fn owner(second: i64, value: ThreadOwner) -> AsOf<ThreadOwner> {
    AsOf {
        at: at(second),
        value,
    }
}

fn all_of(second: i64) -> Facts {
    Facts {
        last_qualifying: Some(wrote(second)),
        recent: Recent::new([at(second)], None),
        evidence: evidence(second),
        answered_at: Some(at(second + 4)),
        told_waiting_since: Some(at(second + 5)),
        referred_at: Some(at(second + 6)),
        user_id_changed_at: Some(at(second + 7)),
        number_migrated_at: Some(at(second + 8)),
        merged_at: Some(at(second + 9)),
        erased_at: Some(at(second + 10)),
        thread_owner: Some(owner(second + 11, ThreadOwner::Other)),
        untold: vec![wrote(second)],
    }
}

#[test]
fn a_window_is_judged_by_all_that_the_customers_own_facts_say() {
    let summary = Summary {
        last_qualifying: Some(wrote(1)),
        recent: Recent::new([at(1)], None),
        answered_at: Some(at(2)),
        referred_at: Some(at(3)),
        user_id_changed_at: Some(at(4)),
        last_event_at: Some(at(9)),
        thread_owner: Some(owner(5, ThreadOwner::Us)),
        carried: evidence(6),
        ..Summary::default()
    };
    let expected = Facts {
        last_qualifying: Some(wrote(1)),
        recent: Recent::new([at(1)], None),
        answered_at: Some(at(2)),
        referred_at: Some(at(3)),
        user_id_changed_at: Some(at(4)),
        thread_owner: Some(owner(5, ThreadOwner::Us)),
        evidence: evidence(6),
        ..Facts::default()
    };
    assert_eq!(Facts::of(&summary), expected);
}

#[test]
fn whoever_carries_a_window_on_carries_all_of_it_but_the_end() {
    let (ended, survivor) = (all_of(100), Facts::default());
    let carried = Facts {
        merged_at: None,
        untold: Vec::new(),
        ..ended.clone()
    };
    assert_eq!(ended.clone().carried_on_by(survivor.clone()), carried);
    assert_eq!(survivor.carried_on_by(ended.clone()), ended);
    // Of two the later counts, but who waited longer is waited for since then.
    let later = all_of(200);
    let both = Facts {
        recent: Recent::new([at(100), at(200)], None),
        told_waiting_since: ended.told_waiting_since,
        ..later.clone()
    };
    assert_eq!(ended.clone().carried_on_by(later.clone()), both);
    let other_way = Facts {
        merged_at: ended.merged_at,
        untold: ended.untold.clone(),
        ..both
    };
    assert_eq!(later.carried_on_by(ended), other_way);
}

#[test]
fn evidence_of_the_window_alone_is_what_opens_and_closes_it() {
    let of_window = Evidence {
        refused_at: Some(at(1)),
        proven_at: Some(at(2)),
        ..Evidence::default()
    };
    assert_eq!(evidence(1).of_window(), of_window);
    assert_eq!(Evidence::default().join(evidence(1)), evidence(1));
    assert_eq!(evidence(1).join(evidence(9)), evidence(9));
    assert_eq!(evidence(9).join(evidence(1)), evidence(9));
}
