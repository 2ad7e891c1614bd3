//! Who is who: tables, and the law that the order in which facts come does not matter. The
//! appends and their crashes are tested where they are made.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

mod phones;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn addresses(user_id: &str, phone: &str, parent: &str) -> Addresses {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Addresses {
        phone: some(phone).map(|digits| Phone::parse(&digits).unwrap()),
        user_id: some(user_id),
        parent_user_id: some(parent),
    }
}

fn seen(second: i64, user_id: &str, phone: &str) -> Sighting {
    Sighting::of(addresses(user_id, phone, ""), at(second))
}

fn changed(second: i64, before: (&str, &str), now: (&str, &str)) -> Sighting {
    Sighting {
        at: at(second),
        current: addresses(now.0, now.1, ""),
        previous: Some(addresses(before.0, before.1, "")),
    }
}

/// The log's part: links, and who carries on as whom. Everything else is what is tested.
#[derive(Debug, Default)]
struct Book {
    links: BTreeMap<Identifier, Link>,
    survivors: BTreeMap<CustomerId, (CustomerId, u64)>,
    minted: u64,
}

impl Book {
    fn root(&self, customer: &CustomerId, age: u64) -> (CustomerId, u64) {
        let mut root = (customer.clone(), age);
        let mut hops = 0;
        while let Some(next) = self.survivors.get(&root.0) {
            root = next.clone();
            hops += 1;
            assert!(hops <= self.survivors.len(), "a circle");
        }
        root
    }

    fn take(&mut self, sighting: &Sighting) -> CustomerId {
        let known: Vec<_> = sighting
            .identifiers()
            .into_iter()
            .filter_map(|identifier| {
                let mut link = self.links.get(&identifier)?.clone();
                (link.customer, link.age) = self.root(&link.customer, link.age);
                link.tenure.former = link.tenure.former.map(|former| self.root(&former, 0).0);
                Some((identifier, link))
            })
            .collect();
        let resolution = resolve(sighting, &known);
        let (customer, age) = resolution.customer.unwrap_or_else(|| {
            self.minted += 1;
            let customer = CustomerId::parse(&format!("c{:02}", self.minted)).unwrap();
            (customer, self.minted)
        });
        for loser in resolution.merged {
            let before = self.survivors.insert(loser, (customer.clone(), age));
            assert_eq!(before, None, "only who carries on can be merged");
        }
        for NewLink { identifier, tenure } in resolution.link {
            let link = Link {
                customer: customer.clone(),
                age,
                tenure,
            };
            self.links.insert(identifier, link);
        }
        customer
    }

    fn all(&mut self, sightings: &[Sighting]) -> Vec<CustomerId> {
        sightings.iter().map(|one| self.take(one)).collect()
    }

    /// Who has the identifier now; nobody, if it was given up.
    fn owner(&self, identifier: &Identifier) -> Option<CustomerId> {
        let link = self.links.get(identifier)?;
        let owner = self.root(&link.customer, link.age).0;
        (link.tenure.standing != Standing::GivenUp).then_some(owner)
    }

    fn owner_of(&self, user_id: &str, phone: &str) -> Option<CustomerId> {
        self.owner(&identifiers(&addresses(user_id, phone, ""))[0])
    }
}

#[test]
fn spellings_of_one_phone_meet() {
    let table = [
        ("5511987654321", "551187654321"),
        ("551187654321", "551187654321"),
        // A landline-like number that only looks long keeps its digits.
        ("5511912345678", "5511912345678"),
        ("5215512345678", "525512345678"),
        ("525512345678", "525512345678"),
        ("15550001111", "15550001111"),
    ];
    for (spelling, expected) in table {
        assert_eq!(
            canonical_phone(&Phone::parse(spelling).unwrap()),
            expected,
            "{spelling}"
        );
    }
}

#[test]
fn a_known_identifier_brings_the_unknown_one_in() {
    for (first, second) in [("US.1", ""), ("", "15550001111")] {
        let mut book = Book::default();
        let known = book.take(&seen(1, first, second));
        let both = book.take(&seen(2, "US.1", "15550001111"));
        assert_eq!(known, both);
        assert_eq!(book.owner_of("US.1", ""), Some(known.clone()));
        assert_eq!(book.owner_of("", "15550001111"), Some(known));
    }
}

#[test]
fn two_customers_that_share_a_fact_become_the_older() {
    let mut book = Book::default();
    let older = book.take(&seen(9, "", "15550001111"));
    let younger = book.take(&seen(1, "US.1", ""));
    assert_ne!(older, younger);
    // Age is the log's, not the fact's.
    assert_eq!(book.take(&seen(5, "US.1", "15550001111")), older);
    assert_eq!(book.owner_of("US.1", ""), Some(older));
}

#[test]
fn a_customer_keeps_its_age_through_a_change_to_identifiers_that_nobody_knew() {
    let mut book = Book::default();
    let oldest = book.take(&seen(1, "US.1", "15550001111"));
    book.take(&seen(2, "US.9", "15550009999"));
    let change = changed(3, ("US.1", "15550001111"), ("US.2", "15550002222"));
    assert_eq!(book.take(&change), oldest);
    // By what it is known by only since then, it is older than the other all the same.
    let change = changed(4, ("US.9", "15550009999"), ("US.2", "15550002222"));
    assert_eq!(book.take(&change), oldest);
}

#[test]
fn who_shows_the_phone_of_another_user_id_has_taken_it_over() {
    let mut book = Book::default();
    let former = book.take(&seen(1, "US.1", "15550001111"));
    let next = book.take(&seen(5, "US.2", "15550001111"));
    assert_ne!(former, next);
    assert_eq!(book.owner_of("", "15550001111"), Some(next.clone()));
    assert_eq!(book.owner_of("US.1", ""), Some(former.clone()));
    // What comes late takes nothing back, and is still whose it was.
    assert_eq!(book.take(&seen(2, "US.1", "15550001111")), former);
    assert_eq!(book.take(&seen(3, "", "15550001111")), former);
    assert_eq!(book.take(&seen(6, "", "15550001111")), next);
}

#[test]
fn the_next_owner_of_a_number_that_was_given_up_is_somebody_else() {
    let change = changed(5, ("US.1", "15550001111"), ("US.2", "15550002222"));
    for next in [seen(7, "US.9", "15550001111"), seen(7, "", "15550001111")] {
        let mut book = Book::default();
        let customer = book.take(&seen(1, "US.1", "15550001111"));
        assert_eq!(book.take(&change), customer);
        assert_eq!(book.owner_of("", "15550001111"), None);
        assert_eq!(book.owner_of("", "15550002222"), Some(customer.clone()));
        let stranger = book.take(&next);
        assert_ne!(stranger, customer);
        assert_eq!(book.owner_of("", "15550001111"), Some(stranger));
        // Neither the change nor a message from before it takes the number back.
        for repeat in [change.clone(), seen(2, "US.1", "15550001111")] {
            assert_eq!(book.take(&repeat), customer);
        }
        assert_eq!(book.take(&seen(3, "", "15550001111")), customer);
        assert_eq!(book.take(&seen(8, "US.2", "15550002222")), customer);
    }
}

#[test]
fn a_change_that_is_told_after_the_first_message_makes_both_one() {
    let mut book = Book::default();
    let customer = book.take(&seen(1, "US.1", "15550001111"));
    let made = book.take(&seen(6, "US.2", "15550002222"));
    assert_ne!(customer, made);
    let change = changed(5, ("US.1", "15550001111"), ("US.2", "15550002222"));
    assert_eq!(book.take(&change), customer);
    for (user_id, phone) in [("US.1", ""), ("US.2", ""), ("", "15550002222")] {
        assert_eq!(book.owner_of(user_id, phone), Some(customer.clone()));
    }
}

#[test]
fn a_change_back_gives_the_old_number_back() {
    let mut book = Book::default();
    let customer = book.take(&seen(1, "US.1", "15550001111"));
    book.take(&changed(
        3,
        ("US.1", "15550001111"),
        ("US.2", "15550002222"),
    ));
    book.take(&changed(
        5,
        ("US.2", "15550002222"),
        ("US.3", "15550001111"),
    ));
    assert_eq!(book.owner_of("", "15550001111"), Some(customer));
    assert_eq!(book.owner_of("", "15550002222"), None);
}

#[test]
fn phones_alone_change_hands_by_the_platforms_word_only() {
    let mut book = Book::default();
    let customer = book.take(&seen(1, "", "15550001111"));
    let change = changed(5, ("", "15550001111"), ("", "15550002222"));
    for _ in 0..2 {
        assert_eq!(book.take(&change), customer);
        assert_eq!(book.owner_of("", "15550002222"), Some(customer.clone()));
        assert_eq!(book.owner_of("", "15550001111"), None);
    }
    assert_eq!(book.take(&seen(7, "US.2", "15550002222")), customer);
}

#[test]
fn a_parent_user_id_is_a_user_id_in_a_wider_scope() {
    let mut book = Book::default();
    let parent = |user_id, second| {
        let addresses = addresses(user_id, "", "US.ENT.1");
        Sighting::of(addresses, at(second))
    };
    let by_parent = book.take(&parent("", 1));
    let by_user_id = book.take(&seen(2, "US.1", ""));
    assert_ne!(by_parent, by_user_id);
    assert_eq!(book.take(&parent("US.1", 3)), by_parent);
    assert_eq!(book.take(&seen(4, "US.1", "")), by_parent);
}

/// What people do, as it happens.
#[derive(Debug, Clone)]
enum Act {
    /// Writes, and shows some of the identifiers.
    Write { shows: u8 },
    /// Registers another phone, one that was given up if there is one and `recycles`.
    Change { recycles: bool, is_told: bool },
}

#[derive(Debug, Clone)]
struct Person {
    user_id: String,
    phone: String,
    parent: String,
}

/// Lets people act, and returns what is told of it.
fn history(people: usize, acts: &[(usize, Act)]) -> Vec<Sighting> {
    let mut made = 0;
    let mut fresh = |prefix: &str| {
        made += 1;
        format!("{prefix}{made:04}")
    };
    let mut all: Vec<Person> = (0..people)
        .map(|index| Person {
            user_id: fresh("US."),
            phone: fresh("1555000"),
            parent: format!("US.ENT.{index}"),
        })
        .collect();
    let mut free: Vec<String> = Vec::new();
    let mut told = Vec::new();
    for (second, (who, act)) in (1..).zip(acts) {
        let person = &mut all[who % people];
        match act {
            Act::Write { shows } => {
                // A parent's user id never comes with a phone but without the user id.
                let shows = if shows & 6 == 6 { 7 } else { *shows };
                let pick = |bit: u8, text: &str| {
                    let text = if shows & bit == 0 { "" } else { text };
                    text.to_owned()
                };
                let (user_id, phone) = (pick(1, &person.user_id), pick(2, &person.phone));
                let shown = addresses(&user_id, &phone, &pick(4, &person.parent));
                told.push(Sighting::of(shown, at(second)));
            }
            Act::Change { recycles, is_told } => {
                let before = person.clone();
                person.user_id = fresh("US.");
                person.phone = match free.pop() {
                    Some(phone) if *recycles => phone,
                    phone => {
                        free.extend(phone);
                        fresh("1555000")
                    }
                };
                free.insert(0, before.phone.clone());
                if *is_told {
                    told.push(changed(
                        second,
                        (&before.user_id, &before.phone),
                        (&person.user_id, &person.phone),
                    ));
                }
            }
        }
    }
    // A fact that names a phone alone belongs to whoever is known to have it then. So that there
    // is one answer whatever the order, it is told only of phones that never change hands.
    let passed: BTreeSet<_> = told
        .iter()
        .filter_map(|one| one.previous.as_ref()?.phone.clone())
        .chain(free.iter().map(|digits| Phone::parse(digits).unwrap()))
        .chain(
            all.iter()
                .filter(|person| free.contains(&person.phone))
                .map(|person| Phone::parse(&person.phone).unwrap()),
        )
        .collect();
    let taken_over: BTreeSet<_> = phones_of_several(&told);
    told.retain(|one| {
        let phone = one.current.phone.as_ref();
        let is_alone = one.current.user_id.is_none() && one.current.parent_user_id.is_none();
        !(is_alone
            && one.previous.is_none()
            && phone.is_some_and(|phone| passed.contains(phone) || taken_over.contains(phone)))
    });
    told
}

fn phones_of_several(told: &[Sighting]) -> BTreeSet<Phone> {
    let mut shown: BTreeMap<Phone, BTreeSet<Option<String>>> = BTreeMap::new();
    for one in told {
        if let Some(phone) = &one.current.phone
            && one.current.user_id.is_some()
        {
            let user_id = one.current.user_id.clone();
            shown.entry(phone.clone()).or_default().insert(user_id);
        }
    }
    shown
        .into_iter()
        .filter(|(_, users)| users.len() > 1)
        .map(|(phone, _)| phone)
        .collect()
}

/// The few lines that the rules have to agree with: sets that grow together. User ids named in
/// one fact are one; a phone belongs to whoever showed it last, unless it was given up since.
fn partition(told: &[Sighting]) -> BTreeMap<Identifier, usize> {
    let all: BTreeSet<_> = told.iter().flat_map(Sighting::identifiers).collect();
    let mut set: BTreeMap<Identifier, usize> = all.into_iter().zip(0..).collect();
    let mut in_order = told.to_vec();
    in_order.sort_by_key(|one| one.at);
    let mut shown: BTreeMap<Identifier, Option<Identifier>> = BTreeMap::new();
    for one in &in_order {
        let all = one.identifiers();
        let (phones, names): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| one.kind == Kind::Phone);
        for name in &names {
            unite(&mut set, name, &names[0]);
        }
        let Some(name) = names.first() else { continue };
        let now = one.current.phone.as_ref().map(Identifier::phone);
        for phone in phones {
            let holder = (now.as_ref() == Some(&phone)).then(|| name.clone());
            shown.insert(phone, holder);
        }
    }
    for (phone, holder) in shown {
        match holder {
            Some(name) => unite(&mut set, &phone, &name),
            None => drop(set.remove(&phone)),
        }
    }
    set
}

fn unite(set: &mut BTreeMap<Identifier, usize>, one: &Identifier, other: &Identifier) {
    let (from, to) = (set[one], set[other]);
    for member in set.values_mut().filter(|member| **member == from) {
        *member = to;
    }
}

fn acts() -> impl Strategy<Value = (usize, Vec<(usize, Act)>)> {
    let write = (1_u8..8).prop_map(|shows| Act::Write { shows });
    let change = (any::<bool>(), prop::bool::weighted(0.8))
        .prop_map(|(recycles, is_told)| Act::Change { recycles, is_told });
    let act = prop_oneof![4 => write, 1 => change];
    (1..5_usize, prop::collection::vec((0..5_usize, act), 1..25))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_order_of_facts_ends_in_the_same_customers_and_the_oldest_survive(
        (told, shuffled) in acts().prop_flat_map(|(people, acts)| {
            let told = history(people, &acts);
            let mut twice = told.clone();
            twice.extend(told.iter().step_by(2).cloned());
            (Just(told), Just(twice).prop_shuffle())
        }),
    ) {
        let expected = partition(&told);
        let mut book = Book::default();
        let customers = book.all(&shuffled);

        let owners: BTreeMap<_, _> = shuffled
            .iter()
            .flat_map(Sighting::identifiers)
            .filter_map(|one| Some((one.clone(), book.owner(&one)?)))
            .collect();
        prop_assert_eq!(
            owners.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>()
        );
        for (one, owner) in &owners {
            for (other, another) in &owners {
                prop_assert_eq!(
                    owner == another,
                    expected[one] == expected[other],
                    "{:?} {:?}", one, other
                );
            }
        }
        // Whoever lost was younger, and every fact is where its customer carries on.
        for (loser, (_, age)) in &book.survivors {
            let loser: u64 = loser.as_str()[1..].parse().unwrap();
            prop_assert!(*age < loser);
        }
        for (one, customer) in shuffled.iter().zip(customers) {
            for name in one.identifiers().iter().filter(|one| one.kind != Kind::Phone) {
                let whose = book.root(&customer, 0).0;
                prop_assert_eq!(book.owner(name), Some(whose));
            }
        }
    }
}
