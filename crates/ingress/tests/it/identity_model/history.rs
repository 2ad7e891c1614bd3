//! What people do, what Meta tells of it, and what that amounts to.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::customer::{Identifier, Kind, Sighting};
use casement_domain::id::{BusinessNumber, Phone};
use casement_domain::inbound::{self, Addresses, Fact, QualifyingPolicy, Summary};
use casement_event::id;
use serde_json::{Value, json};

use crate::stage::{ONE, TWO, at, value, webhook};

/// How many things people do in a run.
const ACTS_COUNT: usize = 70;

/// Random numbers from a seed: SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for index in (1..all.len()).rev() {
            let other = self.below(index + 1);
            all.swap(index, other);
        }
    }
}

/// A fact as it is told, and what it means.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) number: (&'static str, &'static str),
    pub(super) sighting: Sighting,
    /// Empty for a changed user id, which is no message.
    pub(super) wamid: String,
    pub(super) post: Value,
}

impl Told {
    pub(super) fn is_message(&self) -> bool {
        self.sighting.previous.is_none()
    }

    pub(super) fn summary(&self) -> Summary {
        let number = BusinessNumber::parse(self.number.0).unwrap();
        let at = self.sighting.at;
        Fact {
            id: id::fact(id::inbound(&number, &self.wamid)),
            at,
            received_at: at,
            kind: if self.is_message() {
                inbound::Kind::Content
            } else {
                inbound::Kind::System
            },
            provider_id: self.wamid.clone(),
            addresses: self.sighting.current.clone(),
            thread_owner: None,
            marks: inbound::Marks::default(),
        }
        .summary(&QualifyingPolicy::default())
    }
}

#[derive(Debug, Clone)]
struct Person {
    user_id: String,
    phone: String,
    parent: String,
}

/// Lets people act, and returns what Meta tells of it, in order of time.
pub(super) fn history(dice: &mut Dice) -> Vec<Told> {
    let mut made = 0;
    let mut fresh = |prefix: &str| {
        made += 1;
        format!("{prefix}{made:04}")
    };
    let count = 2 + dice.below(4);
    let mut people: Vec<Person> = (0..count)
        .map(|index| Person {
            user_id: fresh("US."),
            phone: fresh("1555000"),
            parent: format!("US.ENT.{index}"),
        })
        .collect();
    let mut free: Vec<String> = Vec::new();
    let mut told = Vec::new();
    let mut second = 0;
    let mut last_writer = usize::MAX;
    for act in 0..ACTS_COUNT {
        let who = dice.below(count);
        let number = if dice.below(3) == 0 { TWO } else { ONE };
        let is_write = dice.below(6) > 0;
        // Somebody writes several messages in one second.
        if !(is_write && who == last_writer && dice.below(2) == 0) {
            second += 1;
        }
        last_writer = if is_write { who } else { usize::MAX };
        let wamid = format!("wamid.{act}");
        let person = &mut people[who];
        if is_write {
            let shows = [1, 2, 3, 3, 5, 7][dice.below(6)];
            told.push(wrote(number, wamid, second, person, shows));
            continue;
        }
        let before = person.clone();
        person.user_id = fresh("US.");
        person.phone = match free.first().cloned() {
            Some(phone) if dice.below(2) == 0 => {
                free.remove(0);
                phone
            }
            _ => fresh("1555000"),
        };
        free.push(before.phone.clone());
        // Some changes are never told.
        match dice.below(8) {
            0 => {}
            1..=4 => told.push(changed_number(number, wamid, second, &before, person)),
            _ => told.push(changed_user_id(number, second, &before, person)),
        }
    }
    settle_phones(&mut told);
    told
}

fn wrote(
    number: (&'static str, &'static str),
    wamid: String,
    second: i64,
    person: &Person,
    shows: u8,
) -> Told {
    let mut message = json!({"id": wamid, "timestamp": at(second).as_second().to_string(),
        "type": "text", "text": {"body": "hello"}});
    let mut current = Addresses::default();
    if shows & 1 != 0 {
        message["from_user_id"] = json!(person.user_id);
        current.user_id = Some(person.user_id.clone());
    }
    if shows & 2 != 0 {
        message["from"] = json!(person.phone);
        current.phone = Some(Phone::parse(&person.phone).unwrap());
    }
    if shows & 4 != 0 {
        message["from_parent_user_id"] = json!(person.parent);
        current.parent_user_id = Some(person.parent.clone());
    }
    let post = webhook(&[("messages", value(number, "messages", json!([message])))]);
    let sighting = Sighting::of(current, at(second));
    Told {
        number,
        sighting,
        wamid,
        post,
    }
}

fn addresses(phone: &str, user_id: &str) -> Addresses {
    Addresses {
        phone: Phone::parse(phone).ok(),
        user_id: Some(user_id.to_owned()),
        parent_user_id: None,
    }
}

fn changed_number(
    number: (&'static str, &'static str),
    wamid: String,
    second: i64,
    before: &Person,
    now: &Person,
) -> Told {
    let message = json!({"id": wamid, "timestamp": at(second).as_second().to_string(),
        "from": before.phone, "from_user_id": before.user_id, "type": "system",
        "system": {"type": "user_changed_number", "wa_id": now.phone, "user_id": now.user_id}});
    Told {
        number,
        sighting: Sighting {
            at: at(second),
            current: addresses(&now.phone, &now.user_id),
            previous: Some(addresses(&before.phone, &before.user_id)),
        },
        wamid,
        post: webhook(&[("messages", value(number, "messages", json!([message])))]),
    }
}

fn changed_user_id(
    number: (&'static str, &'static str),
    second: i64,
    before: &Person,
    now: &Person,
) -> Told {
    let update = json!([{"wa_id": now.phone, "timestamp": at(second).as_second(),
        "user_id": {"previous": before.user_id, "current": now.user_id}}]);
    Told {
        number,
        sighting: Sighting {
            at: at(second),
            current: addresses(&now.phone, &now.user_id),
            previous: Some(addresses("", &before.user_id)),
        },
        wamid: String::new(),
        post: webhook(&[("user_id_update", value(number, "user_id_update", update))]),
    }
}

/// A message that names a phone alone is whose the phone is known to be when it arrives. So that
/// there is one answer whatever the order, only phones that stay with one person come alone.
fn settle_phones(told: &mut Vec<Told>) {
    let mut holders: BTreeMap<Phone, BTreeSet<Option<String>>> = BTreeMap::new();
    let mut given_up: BTreeSet<Phone> = BTreeSet::new();
    for one in told.iter() {
        let current = &one.sighting.current;
        if let (Some(phone), Some(user_id)) = (&current.phone, &current.user_id) {
            let holder = holders.entry(phone.clone()).or_default();
            holder.insert(Some(user_id.clone()));
        }
        given_up.extend(
            one.sighting
                .previous
                .iter()
                .filter_map(|it| it.phone.clone()),
        );
    }
    told.retain(|one| {
        let current = &one.sighting.current;
        let is_alone = current.user_id.is_none() && one.is_message();
        let phone = current.phone.as_ref();
        !(is_alone
            && phone.is_some_and(|phone| {
                given_up.contains(phone) || holders.get(phone).is_some_and(|all| all.len() > 1)
            }))
    });
}

/// The model: user ids that one fact names are one person's; a phone is whose it was last.
pub(super) fn partition(told: &[Told]) -> BTreeMap<Identifier, usize> {
    let named: BTreeSet<_> = told
        .iter()
        .flat_map(|one| one.sighting.identifiers())
        .collect();
    let mut set: BTreeMap<Identifier, usize> = named.into_iter().zip(0..).collect();
    let mut shown: BTreeMap<Identifier, Option<Identifier>> = BTreeMap::new();
    for one in told {
        let all = one.sighting.identifiers();
        let (phones, names): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| one.kind == Kind::Phone);
        let Some(name) = names.first() else { continue };
        for other in &names {
            unite(&mut set, other, name);
        }
        let now = casement_domain::customer::identifiers(&one.sighting.current);
        for phone in phones {
            let holder = now.contains(&phone).then(|| name.clone());
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
