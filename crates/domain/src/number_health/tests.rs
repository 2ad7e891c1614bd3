//! What is known is a join, and what follows from it is as the platform says.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn fact(second: i64, value: &str) -> Fact {
    Fact::new(at(second), Source::Webhook, value)
}

fn with(facts: &[(Kind, Fact)]) -> Health {
    let mut health = Health::default();
    for (kind, fact) in facts {
        health.take(*kind, fact.clone());
    }
    health
}

fn any_fact() -> impl Strategy<Value = (Kind, Fact)> {
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    let sources = prop::sample::select(vec![Source::Webhook, Source::Act, Source::Poll]);
    let words = prop::sample::select(vec!["CONNECTED", "BANNED", "HIGH", "TRUE", ""]);
    (kinds, 0_i64..6, sources, words)
        .prop_map(|(kind, second, source, word)| (kind, Fact::new(at(second), source, word)))
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_nor_delay_changes_what_is_known(
        told in prop::collection::vec(any_fact(), 0..20),
        seed in any::<u64>(),
    ) {
        let mut shuffled = told.clone();
        let mut state = seed;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let other = usize::try_from(state >> 33).unwrap() % (index + 1);
            shuffled.swap(index, other);
        }
        shuffled.extend(told.iter().take(5).cloned());
        prop_assert_eq!(with(&told), with(&shuffled));
    }

    #[test]
    fn joining_what_is_known_already_changes_nothing(
        told in prop::collection::vec(any_fact(), 0..20),
    ) {
        let health = with(&told);
        let again = health.clone().join(with(&told[..told.len() / 2]));
        prop_assert_eq!(&again, &health);
        prop_assert!(again.changes_since(&health).is_empty());
    }
}

#[test]
fn a_late_report_never_overwrites_a_newer_one() {
    let mut health = with(&[(Kind::Status, fact(20, "CONNECTED"))]);
    health.take(Kind::Status, fact(10, "BANNED"));
    assert_eq!(health.connection(), Connection::Connected);
}

#[test]
fn that_the_same_was_said_again_is_no_change() {
    let before = with(&[(Kind::Quality, fact(10, "GREEN"))]);
    let polled = Fact::new(at(20), Source::Poll, "GREEN");
    let again = before.clone().join(with(&[(Kind::Quality, polled)]));
    assert_ne!(again, before, "that it was heard later is kept");
    assert!(again.changes_since(&before).is_empty());

    let other = again
        .clone()
        .join(with(&[(Kind::Quality, fact(30, "RED"))]));
    let changes = other.changes_since(&before);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].before.as_ref().unwrap().value, "GREEN");
    assert_eq!(changes[0].after.value, "RED");
}

#[test]
fn only_what_is_known_not_to_be_connected_stops() {
    assert_eq!(Health::default().connection(), Connection::Unknown);
    for (word, effect) in STATUSES {
        let health = with(&[(Kind::Status, fact(1, word))]);
        let stops = stop(&health, "s").is_some();
        assert_eq!(stops, effect == Effect::Stops, "{word}");
    }
    let news = with(&[(Kind::Status, fact(1, "ENCHANTED"))]);
    assert_eq!(stop(&news, "s"), None, "a word nobody knows stops nothing");
}

#[test]
fn a_deregistered_number_is_gone_until_it_is_registered_again() {
    let act = |second, word: &str| (Kind::Registration, Fact::new(at(second), Source::Act, word));
    let gone = with(&[
        (Kind::Status, fact(5, "CONNECTED")),
        act(10, words::DEREGISTERED),
    ]);
    assert_eq!(gone.connection(), Connection::Deregistered { at: at(10) });
    let back = gone.join(with(&[act(20, "REGISTERED")]));
    assert_eq!(back.connection(), Connection::Connected);
}

#[test]
fn a_number_that_is_being_deregistered_is_not_connected_whatever_the_platform_still_says() {
    let health = with(&[
        (Kind::Status, fact(9, "CONNECTED")),
        (
            Kind::Registration,
            fact(5, words::DEREGISTERING).because("by ana"),
        ),
    ]);
    let expected = Connection::NotConnected {
        status: words::DEREGISTERING.to_owned(),
        detail: "by ana".to_owned(),
        since: at(5),
    };
    assert_eq!(health.connection(), expected);
    let kinds: Vec<Kind> = health.facts().map(|(kind, _)| kind).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.contains(&Kind::Status) && kinds.contains(&Kind::Registration));
}

#[test]
fn limits_are_read_however_the_platform_writes_them() {
    let table = [
        ("TIER_50", Limit::Customers(50)),
        ("TIER_250", Limit::Customers(250)),
        ("TIER_2K", Limit::Customers(2_000)),
        ("TIER_10K", Limit::Customers(10_000)),
        ("TIER_100K", Limit::Customers(100_000)),
        ("TIER_UNLIMITED", Limit::Unlimited),
        ("UNLIMITED", Limit::Unlimited),
        ("-1", Limit::Unlimited),
        ("2000", Limit::Customers(2_000)),
        ("TIER_NOT_SET", Limit::Unknown),
        ("NOT_SET", Limit::Unknown),
        ("", Limit::Unknown),
        ("0", Limit::Unknown),
    ];
    for (word, wanted) in table {
        assert_eq!(limit(word), wanted, "{word}");
    }
}

#[test]
fn throughput_follows_what_the_platform_says_and_coexistence_is_slowest() {
    let level = |word: &str| with(&[(Kind::Throughput, fact(1, word))]);
    assert_eq!(level("STANDARD").throughput(), Some(80));
    assert_eq!(level("HIGH").throughput(), Some(1_000));
    assert_eq!(level("NOT_APPLICABLE").throughput(), None);
    assert_eq!(Health::default().throughput(), None);
    let both = level("HIGH").join(with(&[(Kind::Coexistence, fact(1, words::TRUE))]));
    assert_eq!(both.throughput(), Some(20));
}

#[test]
fn a_restriction_of_what_a_business_begins_stops_templates_until_its_end() {
    let restricted = Fact {
        until: Some(at(100)),
        ..fact(1, "RESTRICTED_BIZ_INITIATED_MESSAGING")
    };
    let health = with(&[(Kind::Restriction, restricted)]);
    assert_eq!(stop(&health, "s"), None, "answers go");
    let stops = template_stop(&health, "s", at(50)).unwrap();
    assert_eq!(stops.until, Some(at(100)));
    assert_eq!(template_stop(&health, "s", at(100)), None);
    let endless = with(&[(
        Kind::Restriction,
        fact(1, "RESTRICTED_BIZ_INITIATED_MESSAGING"),
    )]);
    assert_eq!(template_stop(&endless, "s", at(50)).unwrap().until, None);
    let other = with(&[(
        Kind::Restriction,
        fact(1, "RESTRICTED_ADD_PHONE_NUMBER_ACTION"),
    )]);
    assert_eq!(template_stop(&other, "s", at(50)), None);
}

#[test]
fn a_number_that_moved_keeps_what_the_platform_carries() {
    let health = with(&[
        (Kind::Status, fact(1, "MIGRATED")),
        (Kind::Quality, fact(1, "GREEN")),
        (Kind::MessagingLimit, fact(1, "TIER_2K")),
        (Kind::Disconnection, fact(1, "CHANGE_NUMBER")),
    ]);
    let moved = health.moved();
    assert_eq!(moved.connection(), Connection::Unknown);
    assert_eq!(moved.word(Kind::Quality), "GREEN");
    assert_eq!(moved.messaging_limit(), Limit::Customers(2_000));
    assert_eq!(moved.word(Kind::Disconnection), "");
}

#[test]
fn numbers_are_not_all_asked_about_at_once() {
    let every = SignedDuration::from_secs(100);
    assert_eq!(next_poll(at(0), every, 0.0), at(90));
    assert_eq!(next_poll(at(0), every, 1.0), at(110));
}
