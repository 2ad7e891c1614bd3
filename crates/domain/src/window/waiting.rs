//! Who waits and who owns the thread: tables and laws.

use proptest::prelude::*;

use super::*;
use crate::id::FactId;
use crate::inbound::{Addresses, Fact, Kind, Marks, QualifyingPolicy, RECENT_MAX};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// What bears on who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The customer wrote.
    Theirs(i64),
    /// The business wrote from its phone, or took a call.
    OursElsewhere(i64),
    /// A message of ours left, sent at this time.
    Ours(i64),
}

fn fact(second: i64, kind: Kind) -> Fact {
    Fact {
        id: FactId::from_u128(u128::from(second.unsigned_abs())),
        at: at(second),
        received_at: at(second),
        kind,
        provider_id: String::new(),
        addresses: Addresses::default(),
        thread_owner: None,
        marks: Marks::default(),
    }
}

fn learn(facts: Facts, word: Word) -> Facts {
    let policy = QualifyingPolicy::default();
    match word {
        Word::Theirs(second) => {
            Facts::of(&fact(second, Kind::Content).summary(&policy)).carried_on_by(facts)
        }
        Word::OursElsewhere(second) => {
            let mut echo = fact(second, Kind::Echo);
            echo.marks.answered_at = Some(at(second));
            Facts::of(&echo.summary(&policy)).carried_on_by(facts)
        }
        Word::Ours(second) => facts.with_evidence(Evidence {
            answered_at: Some(at(second)),
            ..Evidence::default()
        }),
    }
}

fn waiting(words: &[Word]) -> Option<i64> {
    let facts = words.iter().copied().fold(Facts::default(), learn);
    let since = facts.waiting_since()?;
    Some(since.duration_since(at(0)).as_secs())
}

#[test]
fn the_customer_waits_since_the_first_of_theirs_after_our_last_answer() {
    use Word::{Ours, OursElsewhere, Theirs};
    let table: &[(&[Word], Option<i64>)] = &[
        (&[], None),
        (&[Ours(5)], None),
        (&[Theirs(1)], Some(1)),
        (&[Theirs(1), Theirs(9)], Some(1)),
        (&[Theirs(1), Ours(5)], None),
        (&[Theirs(1), OursElsewhere(5)], None),
        (&[Theirs(1), Ours(5), Theirs(6), Theirs(9)], Some(6)),
        (&[Theirs(1), OursElsewhere(5), Theirs(6)], Some(6)),
        // The answer went out while they wrote: the last word is theirs.
        (&[Theirs(1), Theirs(6), Ours(5)], Some(6)),
        // In the same second nobody waits.
        (&[Theirs(5), Ours(5)], None),
        // Both ways to answer, each the later one once.
        (&[Theirs(1), Ours(5), OursElsewhere(3), Theirs(4)], None),
        (&[Theirs(1), Ours(3), OursElsewhere(5), Theirs(4)], None),
        (&[Theirs(1), Ours(3), Theirs(4)], Some(4)),
        // A wait outlives the window.
        (&[Theirs(1), Theirs(3 * DAY)], Some(1)),
    ];
    for (words, expected) in table {
        assert_eq!(waiting(words), *expected, "{words:?}");
    }
}

#[test]
fn what_was_told_is_remembered_when_the_customer_has_written_much_since() {
    let policy = Policy::default();
    let mut words = vec![Word::Theirs(0)];
    let facts = words.iter().copied().fold(Facts::default(), learn);
    let opened = decide(None, &facts, &policy, at(0)).unwrap();
    let told = opened.window().circumstances.waiting_since;
    assert_eq!(told, Some(at(0)));

    words.extend((1..=20).map(Word::Theirs));
    let mut facts = words.iter().copied().fold(Facts::default(), learn);
    assert!(facts.waiting_since() > told, "more than is kept");
    facts.told_waiting_since = told;
    assert_eq!(facts.waiting_since(), told);

    // An answer ends that wait, and what was told of it.
    let facts = learn(learn(facts, Word::Ours(30)), Word::Theirs(40));
    assert_eq!(facts.waiting_since(), Some(at(40)));
}

#[test]
fn each_event_says_since_when_the_customer_waits() {
    let policy = Policy::default();
    let expiring = |facts: &Facts| {
        let mut known = None;
        let mut waits = Vec::new();
        for now in [0, DAY - 2 * HOUR, DAY] {
            while let Some(event) = decide(known.as_ref(), facts, &policy, at(now)) {
                waits.push(event.window().circumstances.waiting_since);
                known = evolve(known.take(), &event);
            }
        }
        waits
    };
    let unanswered = learn(Facts::default(), Word::Theirs(0));
    assert_eq!(expiring(&unanswered), [Some(at(0)); 3]);
    let answered = learn(unanswered, Word::Ours(60));
    assert_eq!(expiring(&answered), [None; 3]);
}

#[test]
fn an_end_that_is_told_late_says_who_waited_then() {
    use Word::{Ours, Theirs};
    let policy = Policy::default();
    // Told at 0; looked at again after the customer wrote once more, at 30 h.
    let later = Theirs(30 * HOUR);
    let much: Vec<_> = [Ours(HOUR), Theirs(2 * HOUR), Theirs(3 * HOUR)]
        .into_iter()
        .chain((0..7).map(|n| Theirs(28 * HOUR + n)))
        .collect();
    for (meanwhile, expected) in [
        (&[][..], Some(at(0))),
        // What was heard since pushed the wait out of what is kept, but for the newest of it.
        (&much[..], Some(at(3 * HOUR))),
        (&[Ours(HOUR)][..], None),
        (&[Ours(HOUR), Theirs(2 * HOUR)][..], Some(at(2 * HOUR))),
        // Answered only after the end.
        (&[Ours(29 * HOUR)][..], Some(at(0))),
    ] {
        let mut facts = learn(Facts::default(), Theirs(0));
        facts.thread_owner = Some(AsOf {
            at: at(0),
            value: ThreadOwner::Us,
        });
        let opened = decide(None, &facts, &policy, at(0)).unwrap();
        facts.told_waiting_since = opened.window().circumstances.waiting_since;
        for word in meanwhile.iter().copied().chain([later]) {
            facts = learn(facts, word);
        }
        let ended = decide(Some(opened.window()), &facts, &policy, at(30 * HOUR)).unwrap();
        let Event::Expired { window } = ended else {
            panic!("{meanwhile:?}: {ended:?}");
        };
        let circumstances = window.circumstances;
        assert_eq!(circumstances.waiting_since, expected, "{meanwhile:?}");
        assert_eq!(circumstances.thread_owner, Some(ThreadOwner::Idle));
    }
}

#[test]
fn an_end_that_is_told_late_says_how_the_free_entry_point_stood_then() {
    let policy = Policy::default();
    for (replied, expected) in [
        (None, None),
        (Some(HOUR), Some(EntryPointState::Open)),
        // The reply came only after the end: then it was still awaited, as was told.
        (Some(25 * HOUR), Some(EntryPointState::AwaitingReply)),
    ] {
        let facts = Facts {
            referred_at: Some(at(0)),
            ..learn(Facts::default(), Word::Theirs(0))
        };
        let opened = decide(None, &facts, &policy, at(0)).unwrap();
        let entry_point = replied.map(|second| EntryPoint {
            referred_at: Some(at(0)),
            replied_at: at(second),
            told_end: None,
            is_confirmed: None,
        });
        let facts = facts.with_evidence(Evidence {
            entry_point,
            ..Evidence::default()
        });
        let facts = learn(facts, Word::Theirs(30 * HOUR));
        let ended = decide(Some(opened.window()), &facts, &policy, at(30 * HOUR)).unwrap();
        let Event::Expired { window } = ended else {
            panic!("{replied:?}: {ended:?}");
        };
        let stood = window.circumstances.free_entry_point;
        assert_eq!(stood.map(|stood| stood.state), expected, "{replied:?}");
    }
}

#[test]
fn a_thread_is_nobodys_once_the_customer_has_been_silent_for_a_window() {
    let policy = Policy::default();
    for owner in [ThreadOwner::Other, ThreadOwner::Us, ThreadOwner::Idle] {
        let facts = Facts {
            thread_owner: Some(AsOf {
                at: at(5),
                value: owner,
            }),
            ..learn(Facts::default(), Word::Theirs(0))
        };
        for (now, expected) in [
            (5, owner),
            (DAY - 1, owner),
            (DAY, ThreadOwner::Idle),
            (9 * DAY, ThreadOwner::Idle),
        ] {
            let stands = facts.circumstances(&policy, at(now)).thread_owner;
            assert_eq!(stands, Some(expected), "{now}");
        }
    }
    // Of whom nothing was said nothing is known, and who never wrote was never silent.
    let unsaid = learn(Facts::default(), Word::Theirs(0));
    assert_eq!(unsaid.thread_owner(&policy, at(9 * DAY)), None);
    let unheard = Facts {
        thread_owner: Some(AsOf {
            at: at(5),
            value: ThreadOwner::Other,
        }),
        ..Facts::default()
    };
    let owner = unheard.thread_owner(&policy, at(9 * DAY));
    assert_eq!(owner, Some(ThreadOwner::Other));
}

#[test]
fn a_change_that_no_window_outlives_closes_it_until_the_customer_writes_again() {
    let cautious = Policy::default();
    let carrying = Policy {
        carry_over: CarryOver {
            migration: true,
            user_id: true,
        },
        ..Policy::default()
    };
    let migrated = |second| Facts {
        number_migrated_at: Some(at(second)),
        ..Facts::default()
    };
    let renamed = |second| Facts {
        user_id_changed_at: Some(at(second)),
        ..Facts::default()
    };
    for (change, reason) in [
        (migrated(100), ClosedReason::NumberMigrated),
        (renamed(100), ClosedReason::UserIdChanged),
    ] {
        for (wrote, proven, is_open) in [
            (99, None, false),
            (100, None, false),
            (101, None, true),
            (50, Some(101), true),
            (50, Some(100), false),
        ] {
            let facts = learn(change.clone(), Word::Theirs(wrote)).with_evidence(Evidence {
                proven_at: proven.map(at),
                ..Evidence::default()
            });
            assert_eq!(
                facts.is_open(&cautious, at(200)),
                is_open,
                "{reason:?} {wrote}"
            );
            let closed = facts.closed_reason(&cautious, at(200));
            assert_eq!(closed, (!is_open).then_some(reason));
            assert!(facts.is_open(&carrying, at(200)), "{reason:?} {wrote}");
        }
        // It is told as closed when the change came, and opens anew when the customer writes.
        let before = learn(Facts::default(), Word::Theirs(0));
        let opened = decide(None, &before, &cautious, at(0)).unwrap();
        let changed = change.carried_on_by(before);
        let closed = decide(Some(opened.window()), &changed, &cautious, at(100)).unwrap();
        let Event::Corrected { window } = &closed else {
            panic!("{closed:?}");
        };
        let expected = Closed {
            reason,
            at: at(100),
        };
        assert_eq!(window.closed, Some(expected));
        assert_eq!(decide(Some(window), &changed, &cautious, at(101)), None);
        let again = learn(changed, Word::Theirs(200));
        let opened = decide(Some(window), &again, &cautious, at(200)).unwrap();
        let Event::Opened { window, reason } = &opened else {
            panic!("{opened:?}");
        };
        assert_eq!(*reason, OpenReason::Customer);
        assert_eq!(window.opened_at, at(200));
    }
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let second = 0..2 * DAY;
    let one = prop_oneof![
        3 => second.clone().prop_map(Word::Theirs),
        1 => second.clone().prop_map(Word::OursElsewhere),
        1 => second.prop_map(Word::Ours),
    ];
    prop::collection::vec(one, 0..24)
}

/// The rule in its own words: the least of theirs after the greatest of ours.
fn expected(words: &[Word]) -> Option<i64> {
    let ours = words.iter().filter_map(|word| match word {
        Word::Theirs(_) => None,
        Word::OursElsewhere(second) | Word::Ours(second) => Some(*second),
    });
    let last = ours.max();
    let theirs = words.iter().filter_map(|word| match word {
        Word::Theirs(second) if Some(*second) > last => Some(*second),
        _ => None,
    });
    theirs.min()
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let second = || prop::option::of((0..DAY).prop_map(at));
    let owner = prop_oneof![
        Just(ThreadOwner::Us),
        Just(ThreadOwner::Other),
        Just(ThreadOwner::Idle)
    ];
    let owner = prop::option::of((0..DAY, owner).prop_map(|(second, value)| AsOf {
        at: at(second),
        value,
    }));
    let changes = (second(), second(), second(), second());
    (words(), changes, owner).prop_map(|(words, changes, thread_owner)| Facts {
        told_waiting_since: changes.0,
        referred_at: changes.1,
        user_id_changed_at: changes.2,
        number_migrated_at: changes.3,
        thread_owner,
        ..words.into_iter().fold(Facts::default(), learn)
    })
}

proptest! {
    #[test]
    fn in_whatever_order_words_are_heard_the_same_wait_follows(
        (words, shuffled) in words().prop_flat_map(|words| {
            (Just(words.clone()), Just(words).prop_shuffle())
        }),
    ) {
        let theirs = words.iter().filter(|word| matches!(word, Word::Theirs(_))).count();
        prop_assert_eq!(waiting(&words), waiting(&shuffled));
        let (found, expected) = (waiting(&words), expected(&words));
        // That they wait is never lost; since when, only beyond what is kept.
        prop_assert_eq!(found.is_some(), expected.is_some());
        prop_assert!(found >= expected);
        // What is kept, and the newest that is not.
        if theirs <= RECENT_MAX + 1 {
            prop_assert_eq!(found, expected);
        }
    }

    /// Whoever tells after each word never says less than was said.
    #[test]
    fn who_is_told_after_each_word_in_order_knows_the_whole_wait(mut words in words()) {
        words.sort_by_key(|word| match word {
            Word::Theirs(second) | Word::OursElsewhere(second) | Word::Ours(second) => *second,
        });
        let mut facts = Facts::default();
        for count in 0..words.len() {
            facts = learn(facts, words[count]);
            let told = facts.waiting_since();
            let since = told.map(|told| told.duration_since(at(0)).as_secs());
            prop_assert_eq!(since, expected(&words[..=count]));
            facts.told_waiting_since = told;
        }
    }

    /// Who ended and who carries on: in either order the same is true of both together.
    #[test]
    fn what_two_customers_bring_together_is_the_same_either_way(
        one in any_facts(), other in any_facts(), third in any_facts(),
    ) {
        let (a, b, c) = (|| one.clone(), || other.clone(), || third.clone());
        prop_assert_eq!(a().carried_on_by(b()), b().carried_on_by(a()));
        prop_assert_eq!(
            a().carried_on_by(b()).carried_on_by(c()),
            a().carried_on_by(b().carried_on_by(c()))
        );
        prop_assert_eq!(a().carried_on_by(a()), a());
        // That one of them ended is the one thing that is not carried on.
        let ended = Facts { merged_at: Some(at(0)), ..a() };
        prop_assert_eq!(ended.clone().carried_on_by(b()).merged_at, None);
        prop_assert_eq!(b().carried_on_by(ended).merged_at, Some(at(0)));
    }
}
