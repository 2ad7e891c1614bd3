//! What the link of a phone and what a fact shows of it decide, case by case: whose fact it is, and how
//! the phone stands from then on. Links were made at second 5.

use super::*;

const PHONE: &str = "15550001111";
const OTHER: &str = "15550002222";

fn customer(name: &str) -> CustomerId {
    CustomerId::parse(name).unwrap()
}

fn phone(digits: &str) -> Identifier {
    Identifier::phone(&Phone::parse(digits).unwrap())
}

fn named(kind: Kind, value: &str) -> Identifier {
    Identifier {
        kind,
        value: value.to_owned(),
    }
}

fn tenure(standing: Standing, since: i64, former: &str, user_id: &str) -> Tenure {
    Tenure {
        standing,
        since: Some(at(since)),
        former: (!former.is_empty()).then(|| customer(former)),
        user_id: (!user_id.is_empty()).then(|| user_id.to_owned()),
    }
}

fn link(name: &str, age: u64, tenure: Tenure) -> Link {
    Link {
        customer: customer(name),
        age,
        tenure,
    }
}

/// The phone stands like this with `c1`, who got it from `c0`; US.1, US.2 and a parent's id are `c1`'s.
fn known(standing: Standing) -> Vec<(Identifier, Link)> {
    let of = |kind, value| (named(kind, value), link("c1", 1, Tenure::default()));
    vec![
        (
            phone(PHONE),
            link("c1", 1, tenure(standing, 5, "c0", "US.1")),
        ),
        of(Kind::UserId, "US.1"),
        of(Kind::UserId, "US.2"),
        of(Kind::ParentUserId, "US.ENT.1"),
    ]
}

/// Whose a fact is, and how the phone stands afterwards, if that is written.
fn decided(
    sighting: &Sighting,
    known: &[(Identifier, Link)],
    of: &str,
) -> (Option<String>, Option<Tenure>) {
    let named = sighting.identifiers();
    let known: Vec<_> = known
        .iter()
        .filter(|(identifier, _)| named.contains(identifier))
        .cloned()
        .collect();
    let found = resolve(sighting, &known);
    let whose = found
        .customer
        .map(|(customer, _)| customer.as_str().to_owned());
    let written = found
        .link
        .into_iter()
        .find(|new| new.identifier == phone(of));
    (whose, written.map(|new| new.tenure))
}

#[test]
fn a_phone_that_a_fact_shows_is_whose_it_was_then_and_passes_by_a_later_user_id_only() {
    use Standing::{Alone, GivenUp, Held};
    let parent = |second| Sighting::of(addresses("", PHONE, "US.ENT.1"), at(second));
    let mine = |standing, since, user_id| Some(tenure(standing, since, "c0", user_id));
    let theirs = |standing, since, user_id| Some(tenure(standing, since, "c1", user_id));
    for (name, standing, sighting, whose, written) in [
        // Known by the phone alone.
        ("alone, later", Alone, seen(6, "", PHONE), "c1", None),
        ("alone, then", Alone, seen(5, "", PHONE), "c1", None),
        ("alone, before", Alone, seen(4, "", PHONE), "c0", None),
        (
            "a user id later",
            Alone,
            seen(6, "US.9", PHONE),
            "c1",
            mine(Held, 6, "US.9"),
        ),
        ("a user id then", Alone, seen(5, "US.9", PHONE), "", None),
        ("a user id before", Alone, seen(4, "US.9", PHONE), "", None),
        // Shown with a user id.
        ("held, alone later", Held, seen(6, "", PHONE), "c1", None),
        ("held, alone before", Held, seen(4, "", PHONE), "c0", None),
        ("held, the same", Held, seen(6, "US.1", PHONE), "c1", None),
        (
            "held, a new one",
            Held,
            seen(6, "US.2", PHONE),
            "c1",
            mine(Held, 6, "US.2"),
        ),
        (
            "held, a new one then",
            Held,
            seen(5, "US.2", PHONE),
            "c1",
            None,
        ),
        ("held, a parent's", Held, parent(6), "c1", None),
        (
            "held, a stranger's",
            Held,
            seen(6, "US.9", PHONE),
            "",
            theirs(Held, 6, "US.9"),
        ),
        (
            "held, a stranger's then",
            Held,
            seen(5, "US.9", PHONE),
            "",
            None,
        ),
        (
            "held, a stranger's before",
            Held,
            seen(4, "US.9", PHONE),
            "",
            None,
        ),
        // Given up.
        (
            "given up, alone later",
            GivenUp,
            seen(6, "", PHONE),
            "",
            theirs(Alone, 5, ""),
        ),
        (
            "given up, alone then",
            GivenUp,
            seen(5, "", PHONE),
            "",
            theirs(Alone, 5, ""),
        ),
        (
            "given up, alone before",
            GivenUp,
            seen(4, "", PHONE),
            "c1",
            None,
        ),
        (
            "given up, back",
            GivenUp,
            seen(6, "US.1", PHONE),
            "c1",
            mine(Held, 6, "US.1"),
        ),
        (
            "given up, back then",
            GivenUp,
            seen(5, "US.1", PHONE),
            "c1",
            None,
        ),
        (
            "given up, a stranger's",
            GivenUp,
            seen(6, "US.9", PHONE),
            "",
            theirs(Held, 6, "US.9"),
        ),
        (
            "given up, a stranger's then",
            GivenUp,
            seen(5, "US.9", PHONE),
            "",
            None,
        ),
    ] {
        let whose = (!whose.is_empty()).then(|| whose.to_owned());
        let found = decided(&sighting, &known(standing), PHONE);
        assert_eq!(found, (whose, written), "{name}");
    }
}

#[test]
fn a_phone_that_nobody_had_is_dated_by_a_user_id_alone() {
    let held = tenure(Standing::Held, 6, "", "US.9");
    assert_eq!(
        decided(&seen(6, "US.9", PHONE), &[], PHONE),
        (None, Some(held))
    );
    let alone = Tenure::default();
    assert_eq!(
        decided(&seen(6, "", PHONE), &[], PHONE),
        (None, Some(alone))
    );
}

#[test]
fn a_change_of_phones_gives_the_old_one_up_once_and_takes_nothing_that_came_later() {
    use Standing::{Alone, GivenUp, Held};
    let away =
        |second, user_ids: (&str, &str)| changed(second, (user_ids.0, PHONE), (user_ids.1, OTHER));
    let mine = |since| Some(tenure(GivenUp, since, "c0", ""));
    let theirs = |since| Some(tenure(GivenUp, since, "c1", ""));
    for (name, standing, sighting, whose, written) in [
        (
            "held, later",
            Held,
            away(6, ("US.1", "US.2")),
            "c1",
            mine(6),
        ),
        ("held, then", Held, away(5, ("US.1", "US.2")), "c1", mine(5)),
        ("held, before", Held, away(4, ("US.1", "US.2")), "c1", None),
        ("held, by phones", Held, away(6, ("", "")), "c1", mine(6)),
        (
            "held, by phones then",
            Held,
            away(5, ("", "")),
            "c1",
            mine(5),
        ),
        ("held, by phones before", Held, away(4, ("", "")), "", None),
        ("alone, later", Alone, away(6, ("", "")), "c1", mine(6)),
        ("alone, then", Alone, away(5, ("", "")), "", None),
        ("told again", GivenUp, away(5, ("US.1", "US.2")), "c1", None),
        (
            "told again, by phones",
            GivenUp,
            away(5, ("", "")),
            "c1",
            None,
        ),
        ("given up later", GivenUp, away(4, ("", "")), "c1", None),
        ("given up before", GivenUp, away(6, ("", "")), "", theirs(6)),
        (
            "somebody else's, later",
            Held,
            away(6, ("US.8", "US.9")),
            "",
            theirs(6),
        ),
        (
            "somebody else's, then",
            Held,
            away(5, ("US.8", "US.9")),
            "",
            None,
        ),
    ] {
        let whose = (!whose.is_empty()).then(|| whose.to_owned());
        let found = decided(&sighting, &known(standing), PHONE);
        assert_eq!(found, (whose, written), "{name}");
    }
}

#[test]
fn the_new_phone_of_a_change_says_nothing_of_who_had_it() {
    let to = |second| changed(second, ("", OTHER), ("", PHONE));
    let taken = |former: &str| Some(tenure(Standing::Alone, 6, former, ""));
    for standing in [Standing::Held, Standing::GivenUp] {
        let found = decided(&to(6), &known(standing), PHONE);
        assert_eq!(found, (None, taken("c1")), "{standing:?}");
        // Older than what stands: it was somebody else's then, and is no more.
        let found = decided(&to(4), &known(standing), PHONE);
        assert_eq!(found, (None, None), "{standing:?}");
    }
}

#[test]
fn what_leads_to_the_customer_is_told_once_each() {
    let both = seen(6, "US.1", PHONE);
    let known = known(Standing::Held);
    let found = resolve(&both, &known[..2]);
    assert_eq!(found.known, [named(Kind::UserId, "US.1"), phone(PHONE)]);
    // A phone that is somebody else's by now does not.
    let passed = [
        (
            phone(PHONE),
            link("c7", 7, tenure(Standing::Held, 9, "", "US.7")),
        ),
        known[1].clone(),
    ];
    let found = resolve(&both, &passed);
    assert_eq!(found.known, [named(Kind::UserId, "US.1")]);
}

#[test]
fn kinds_have_words_that_are_stored() {
    let kinds = [Kind::UserId, Kind::Phone, Kind::ParentUserId];
    let words = kinds.map(Kind::as_str);
    assert_eq!(words, ["user_id", "phone", "parent_user_id"]);
}

#[test]
fn a_user_id_is_a_country_a_dot_and_letters_and_digits() {
    let longest = format!("US.ENT.{}", "1".repeat(128));
    for text in ["US.1", "BR.a1B2", "US.ENT.42", &longest] {
        assert!(is_user_id(text), "{text}");
    }
    let too_long = format!("{longest}1");
    for text in [
        "",
        "US",
        "US.",
        "US1",
        "us.1",
        "U.1",
        "USA.1",
        "US.a-b",
        "US.a b",
        "US.é",
        "15550001111",
        &too_long,
    ] {
        assert!(!is_user_id(text), "{text}");
    }
}
