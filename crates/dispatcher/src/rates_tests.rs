//! Grants and calls of numbers and pairs, with time as an argument.

use casement_domain::id::CustomerId;
use casement_event::header;
use proptest::prelude::*;

use super::*;

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + millisecond).unwrap()
}

fn number() -> BusinessNumber {
    BusinessNumber::parse("15550001111").unwrap()
}

fn id(unique: u128) -> MessageId {
    MessageId::new(&number(), unique)
}

fn key(customer: &str) -> Key {
    Key {
        number: number(),
        customer: CustomerId::parse(customer).unwrap(),
    }
}

fn own_key(unique: u128) -> Key {
    key(&format!("c{unique}"))
}

fn asking(priority: Priority) -> Asking {
    Asking {
        priority,
        brand: "a".to_owned(),
    }
}

/// Taken over long enough ago for all to be paid for.
fn rested() -> Rates {
    let rates = Rates::new(BTreeMap::new());
    rates.take_over(at(-60_000));
    rates
}

fn asks(rates: &Rates, unique: u128, priority: Priority, throughput: u32, now: Timestamp) -> Turn {
    let key = own_key(unique);
    rates.ask(&id(unique), &key, asking(priority), throughput, now)
}

fn call(rates: &Rates, unique: u128, key: &Key, throughput: u32, now: Timestamp) -> Timestamp {
    let latest = add(now, SignedDuration::from_secs(5));
    let called = rates.call_at(&id(unique), key, throughput, now, latest);
    called.expect("in time")
}

#[test]
fn one_customer_in_a_burst_does_not_hold_up_another() {
    let rates = rested();
    // Apart enough for the number, together enough to be one burst for the pair.
    for sent in 0..45 {
        let now = at(100 * i64::try_from(sent).unwrap());
        let turn = rates.ask(&id(sent), &key("a"), asking(Priority::Reply), 0, now);
        assert_eq!(turn, Turn::Now);
        assert_eq!(call(&rates, sent, &key("a"), 0, now), now);
    }
    let now = at(4_600);
    let turn = rates.ask(&id(99), &key("a"), asking(Priority::Reply), 0, now);
    assert_eq!(turn, Turn::Later(at(45 * 6_000)));
    assert_eq!(asks(&rates, 100, Priority::Reply, 0, now), Turn::Now);
}

#[test]
fn an_answer_waits_for_one_turn_of_a_campaign_at_most() {
    let rates = rested();
    let allowed = 20;
    for unique in 0..500 {
        asks(&rates, unique, Priority::Bulk, allowed, at(0));
    }
    let mut now = at(0);
    let mut before_it = Vec::new();
    asks(&rates, 1_000, Priority::Reply, allowed, now);
    loop {
        let granted = rates.grant(now);
        for id in &granted.ids {
            rates.call_at(id, &own_key(0), allowed, now, now);
        }
        before_it.extend(granted.ids);
        if before_it.contains(&id(1_000)) {
            break;
        }
        now = granted.again_at.expect("somebody waits");
    }
    assert!(before_it.len() <= 2, "{before_it:?}");
    assert!(now <= at(120), "{now}");
}

#[test]
fn a_campaign_is_not_starved_by_answers() {
    let rates = rested();
    let allowed = 20;
    let mut now = at(0);
    for unique in 0..50 {
        asks(&rates, unique, Priority::Bulk, allowed, now);
    }
    let (mut bulk, mut replies) = (0, 0);
    let mut unique = 1_000;
    while replies < 200 {
        unique += 1;
        asks(&rates, unique, Priority::Reply, allowed, now);
        let granted = rates.grant(now);
        for granted in &granted.ids {
            let is_reply = (1_000..=unique).any(|one| id(one) == *granted);
            *(if is_reply { &mut replies } else { &mut bulk }) += 1;
            rates.give_up(granted);
        }
        now = granted
            .again_at
            .unwrap_or(now)
            .max(add(now, SignedDuration::from_millis(55)));
    }
    assert!(bulk >= 200 / 17, "{bulk}");
}

#[test]
fn who_waits_keeps_the_place_and_who_gives_up_leaves_it_to_others() {
    let rates = rested();
    let given = asks(&rates, 1, Priority::Bulk, 1, at(0));
    assert_eq!(given, Turn::Now);
    assert_eq!(
        asks(&rates, 1, Priority::Bulk, 1, at(1)),
        Turn::Now,
        "still"
    );
    for unique in 2..5 {
        assert!(matches!(
            asks(&rates, unique, Priority::Bulk, 1, at(1)),
            Turn::Later(_)
        ));
    }
    asks(&rates, 2, Priority::Bulk, 1, at(500));
    let ready = rates.ready_at(&id(9), &own_key(9), Priority::Bulk, 1, at(500));
    assert_eq!(ready, at(4_000), "three are before it");
    let ready = rates.ready_at(&id(9), &own_key(9), Priority::Reply, 1, at(500));
    assert_eq!(ready, at(1_000), "an answer is before them");
    rates.give_up(&id(2));
    assert_eq!(rates.grant(at(999)).ids, []);
    assert_eq!(rates.grant(at(1_000)).ids, [id(3)]);
}

#[test]
fn a_grant_that_nobody_used_goes_back_into_the_line() {
    let rates = rested();
    asks(&rates, 1, Priority::Bulk, 1, at(0));
    asks(&rates, 2, Priority::Bulk, 1, at(0));
    assert_eq!(rates.grant(at(1_000)).ids, [id(2)]);
    assert_eq!(rates.grant(at(5_000)).ids, []);
    assert_eq!(rates.grant(at(10_000)).ids, [id(1)]);
    assert_eq!(rates.grant(at(11_000)).ids, [id(2)]);
}

#[test]
fn nobody_goes_before_the_takeover_nor_after_another_has_taken_over() {
    let rates = Rates::new(BTreeMap::new());
    assert!(matches!(
        asks(&rates, 1, Priority::Reply, 0, at(0)),
        Turn::Later(_)
    ));
    rates.take_over(at(0));
    assert!(matches!(
        asks(&rates, 1, Priority::Reply, 0, at(0)),
        Turn::Later(_)
    ));
    let granted = rates.grant(at(0));
    assert_eq!(granted.ids, [], "all may have been used up");
    assert!(granted.again_at.expect("soon") <= at(14));
    assert_eq!(rates.grant(at(14)).ids, [id(1)]);
    rates.stand_by();
    let called = rates.call_at(&id(1), &own_key(1), 0, at(20), at(1_000));
    assert_eq!(called, None);
}

#[test]
fn what_went_to_a_customer_before_the_takeover_is_read_from_the_log() {
    let rates = rested();
    let mut stored = Stored {
        stream: "MESSAGES".to_owned(),
        incarnation: "1".to_owned(),
        sequence: 1,
        subject: subject::message(&id(1)),
        stored_at: at(-1_000),
        headers: vec![
            ("ce-customer".to_owned(), "a".to_owned()),
            (
                header::TYPE.to_owned(),
                "casement.events.v1.AttemptAccepted".to_owned(),
            ),
        ],
        payload: bytes::Bytes::new(),
    };
    rates.see(&stored, "me", at(0));
    let ready = |customer| rates.ready_at(&id(9), &key(customer), Priority::Reply, 0, at(0));
    assert_eq!(ready("a"), at(7_000));
    assert_eq!(ready("b"), at(0));
    // What this process sent itself it has counted.
    let claim = |claimant: &str| {
        let started = v1::AttemptStarted {
            claimant: claimant.to_owned(),
            route: v1::Route::Template.into(),
            ..v1::AttemptStarted::default()
        };
        Event::from(started)
    };
    stored.headers[0].1 = "b".to_owned();
    stored.headers[1].1 = claim("").event_type().to_owned();
    stored.stored_at = at(10);
    stored.payload = claim("me.1").encode();
    rates.see(&stored, "me", at(0));
    assert_eq!(ready("b"), at(0));
    stored.payload = claim("another.1").encode();
    rates.see(&stored, "me", at(0));
    assert_eq!(ready("b"), at(8_010));
}

proptest! {
    /// Grants that are used late, calls that bunch, customers who write, takeovers.
    #[test]
    fn calls_keep_the_limit_in_any_second_however_late_they_are(
        allowed in prop::sample::select(vec![1_u32, 5, 20, 80]),
        steps in prop::collection::vec((0..30_u32, 0..40_i64), 1..400),
    ) {
        let rates = Rates::new(BTreeMap::new());
        rates.take_over(at(0));
        let mut now = at(0);
        let (mut granted, mut calls) = (Vec::new(), Vec::<Timestamp>::new());
        for (unique, (kind, gap)) in (0..).zip(steps) {
            now = add(now, SignedDuration::from_millis(gap));
            match kind {
                // Who has not called by then does not.
                0 => {
                    rates.take_over(now);
                    calls.retain(|at| *at <= now);
                }
                1 | 2 => rates.written(&number(), allowed, now),
                // Work that took long: all that was granted is called for at once.
                3..=6 => for (id, key) in granted.drain(..) {
                    let latest = add(now, SignedDuration::from_secs(5));
                    if let Some(at) = rates.call_at(&id, &key, allowed, now, latest) {
                        calls.push(at);
                    }
                },
                _ => {
                    if asks(&rates, unique, Priority::Reply, allowed, now) == Turn::Now {
                        granted.push((id(unique), own_key(unique)));
                    }
                    let ids = rates.grant(now).ids.into_iter();
                    granted.extend(ids.map(|id| (id, own_key(unique))));
                }
            }
        }
        for last in &calls {
            let first = *last - SignedDuration::from_secs(1);
            let within = |one: &&Timestamp| **one > first && *one <= last;
            let count = calls.iter().filter(within).count();
            prop_assert!(count <= allowed as usize, "{count} of {allowed}");
        }
    }
}
