//! Who a customer is: several identifiers, one opaque customer.
//!
//! Pure: which links exist comes in, what to link comes out. Keyed hashing of identifiers, the
//! appends, and ending the subjects of a customer who proved to be another are the caller's.
//!
//! What the platform says decides what proves what:
//!
//! - A **user id** belongs to one person for ever (WhatsApp Cloud API: business-scoped user ids
//!   are made for one user and one portfolio, and made anew when the user changes the phone
//!   number). So do those in the scope of a parent portfolio. Two customers who share one are one.
//! - A **phone** passes from hand to hand. Whoever shows it with a user id holds it from then
//!   on; a change of number gives the old one up. Two user ids that show the same phone, one
//!   after the other, are two people unless the platform says that one became the other.
//! - A customer known by a phone alone is whoever first shows that phone with a user id.
//!
//! Each fact is judged as of its own time, so that facts may come in any order.

use jiff::Timestamp;

use crate::id::{CustomerId, InvalidId, Phone};
use crate::inbound::Addresses;

/// The kind of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Business-scoped user id; Meta always gives it, and regenerates it with a new phone.
    UserId,
    /// Phone number.
    Phone,
    /// User id in the scope of the parent portfolio.
    ParentUserId,
}

impl Kind {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::Phone => "phone",
            Self::ParentUserId => "parent_user_id",
        }
    }
}

/// An identifier in the one form under which it is linked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    /// Its kind.
    pub kind: Kind,
    /// Its canonical value.
    pub value: String,
}

impl Identifier {
    fn phone(phone: &Phone) -> Self {
        Self {
            kind: Kind::Phone,
            value: canonical_phone(phone),
        }
    }
}

/// Returns the identifiers of a customer, strongest first, each in its one form.
pub fn identifiers(addresses: &Addresses) -> Vec<Identifier> {
    let user_id = addresses.user_id.clone().map(|value| Identifier {
        kind: Kind::UserId,
        value,
    });
    let phone = addresses.phone.as_ref().map(Identifier::phone);
    let parent = addresses.parent_user_id.clone().map(|value| Identifier {
        kind: Kind::ParentUserId,
        value,
    });
    [user_id, phone, parent].into_iter().flatten().collect()
}

/// Returns the digits under which a phone is linked, the same for all its spellings.
///
/// Brazil's mobile numbers exist with and without the 9 after the area code, Mexico's with and
/// without the 1 after the country code, and Meta may answer with the other one.
pub fn canonical_phone(phone: &Phone) -> String {
    let digits = phone.digits();
    if let Some(national) = digits.strip_prefix("55")
        && national.len() == 11
        && national.as_bytes().get(2) == Some(&b'9')
        && national
            .as_bytes()
            .get(3)
            .is_some_and(|digit| (b'6'..=b'9').contains(digit))
    {
        let (area, rest) = national.split_at(2);
        return format!("55{area}{}", &rest[1..]);
    }
    if let Some(national) = digits
        .strip_prefix("521")
        .filter(|national| national.len() == 10)
    {
        return format!("52{national}");
    }
    digits.to_owned()
}

/// What a fact says about its customer's identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When, by the platform's clock.
    pub at: Timestamp,
    /// The identifiers as they were then.
    pub current: Addresses,
    /// The identifiers until then, if the fact says that they changed.
    pub previous: Option<Addresses>,
}

impl Sighting {
    /// Returns what is said by a fact that changes nothing.
    pub fn of(addresses: Addresses, at: Timestamp) -> Self {
        Self {
            at,
            current: addresses,
            previous: None,
        }
    }

    /// Returns all identifiers that are named, each once, the strongest first.
    pub fn identifiers(&self) -> Vec<Identifier> {
        let mut all = identifiers(&self.current);
        all.extend(self.previous.iter().flat_map(identifiers));
        all.sort();
        all.dedup();
        all
    }

    /// The phone that the customer has from now on, and the one that was given up for it.
    fn phones(&self) -> (Option<Identifier>, Option<Identifier>) {
        let phone = |addresses: &Addresses| addresses.phone.as_ref().map(Identifier::phone);
        let before = self.previous.as_ref().and_then(phone);
        match phone(&self.current) {
            // Nothing says that the phone changed: it may be hidden behind a username.
            None => (before, None),
            Some(now) => {
                let given_up = before.filter(|before| *before != now);
                (Some(now), given_up)
            }
        }
    }

    fn is_change(&self) -> bool {
        self.previous.is_some()
    }
}

/// How a phone stands to the customer whom it is linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It was never seen with a user id since it came to this customer.
    #[default]
    Alone,
    /// The customer showed it with a user id.
    Held,
    /// The customer has another one now. Facts from before still belong to the customer.
    GivenUp,
}

/// How a phone came to the customer whom it is linked to. Other identifiers never move but with
/// the whole customer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tenure {
    /// How it stands.
    pub standing: Standing,
    /// Since when it stands so; `None` if nothing says that it ever stood otherwise.
    pub since: Option<Timestamp>,
    /// Who had it before then.
    pub former: Option<CustomerId>,
    /// The user id that it was shown with then: there is a new one whenever it is registered
    /// anew.
    pub user_id: Option<String>,
}

/// A link that stands on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The customer that the identifier belongs to; the survivor, if it was merged.
    pub customer: CustomerId,
    /// The customer's age: the sequence of its first link. Lower is older.
    pub age: u64,
    /// For a phone: how it came there.
    pub tenure: Tenure,
}

/// A link to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The identifier.
    pub identifier: Identifier,
    /// For a phone: how it stands from now on.
    pub tenure: Tenure,
}

/// What a sighting amounts to, with the links that stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolution {
    /// Whose fact it is, and how old that customer is: the oldest of those who are thereby
    /// proved to be one. `None` if nobody knows any of the identifiers: a new customer.
    pub customer: Option<(CustomerId, u64)>,
    /// The others, who go on as that one.
    pub merged: Vec<CustomerId>,
    /// Links to be written to that customer; for a new one the first decides a race.
    pub link: Vec<NewLink>,
    /// Identifiers whose links stand, and lead to that customer.
    pub known: Vec<Identifier>,
}

/// Decides which customer a fact belongs to, who is thereby proved to be the same, and what is
/// to be linked.
///
/// `known` gives the links of [`Sighting::identifiers`], as far as there are any.
pub fn resolve(sighting: &Sighting, known: &[(Identifier, Link)]) -> Resolution {
    let link_of = |wanted: &Identifier| {
        let found = known.iter().find(|(identifier, _)| identifier == wanted);
        found.map(|(_, link)| link)
    };
    let user_ids: Vec<Identifier> = sighting
        .identifiers()
        .into_iter()
        .filter(|identifier| identifier.kind != Kind::Phone)
        .collect();
    let (held, given_up) = sighting.phones();
    let mut same = Same::default();
    let mut out = Resolution::default();

    for identifier in &user_ids {
        match link_of(identifier) {
            Some(link) => {
                same.add(&link.customer, link.age);
                out.known.push(identifier.clone());
            }
            None => out.link.push(NewLink {
                identifier: identifier.clone(),
                tenure: Tenure::default(),
            }),
        }
    }
    let is_named = !user_ids.is_empty();
    // Who is known by a phone alone is found first: it decides who is the same as whom.
    let phones = [(&held, false), (&given_up, true)];
    for (phone, link, was) in phones
        .iter()
        .filter_map(|(phone, was)| phone.as_ref().map(|phone| (phone, *was)))
        .filter_map(|(phone, was)| Some((phone, link_of(phone)?, was)))
    {
        match proves(sighting, is_named, was, link) {
            Proof::None => {}
            Proof::Same => {
                same.add(&link.customer, link.age);
                out.known.push(phone.clone());
            }
            // Ages order customers who merge; this one is alone.
            Proof::Former(former) => same.add(&former, link.age),
        }
    }
    if let Some(phone) = held
        && let Some(tenure) = take(sighting, is_named, link_of(&phone), &same)
    {
        out.link.push(NewLink {
            identifier: phone,
            tenure,
        });
    }
    if let Some(phone) = given_up
        && let Some(tenure) = give_up(sighting, link_of(&phone), &same)
    {
        out.link.push(NewLink {
            identifier: phone,
            tenure,
        });
    }
    for (identifier, link) in known {
        if same.has(&link.customer) && !out.known.contains(identifier) {
            out.known.push(identifier.clone());
        }
    }
    if same.0.is_empty()
        && out.link.is_empty()
        && let Some((_, link)) = known.first()
    {
        // Old news of phones that are others' by now, without a user id: whose, nobody can tell.
        same.add(&link.customer, link.age);
    }
    (out.customer, out.merged) = same.into_survivor();
    out
}

/// Customers who are proved to be one.
#[derive(Default)]
struct Same(Vec<(u64, CustomerId)>);

impl Same {
    fn add(&mut self, customer: &CustomerId, age: u64) {
        match self.0.iter_mut().find(|(_, known)| known == customer) {
            Some((known, _)) => *known = (*known).min(age),
            None => self.0.push((age, customer.clone())),
        }
    }

    fn has(&self, customer: &CustomerId) -> bool {
        self.0.iter().any(|(_, known)| known == customer)
    }

    fn into_survivor(mut self) -> (Option<(CustomerId, u64)>, Vec<CustomerId>) {
        self.0.sort();
        let mut all = self.0.into_iter();
        let survivor = all.next().map(|(age, customer)| (customer, age));
        (survivor, all.map(|(_, customer)| customer).collect())
    }
}

enum Proof {
    None,
    Same,
    Former(CustomerId),
}

/// Returns what the link of a phone says about whose fact this is. `was` tells the phone that
/// was given up from the one that is held.
fn proves(sighting: &Sighting, is_named: bool, was: bool, link: &Link) -> Proof {
    let tenure = &link.tenure;
    let is_before = tenure.since.is_some_and(|since| sighting.at < since);
    let whose = || match &tenure.former {
        Some(_) if is_before && sighting.is_change() => Proof::None,
        Some(former) if is_before => Proof::Former(former.clone()),
        _ => Proof::Same,
    };
    match tenure.standing {
        Standing::Alone if is_named || sighting.is_change() => {
            if tenure.since.is_none_or(|since| sighting.at > since) {
                Proof::Same
            } else {
                Proof::None
            }
        }
        // A user id says more than a phone.
        Standing::Held | Standing::GivenUp if is_named => Proof::None,
        // The new phone of somebody else proves nothing about its holder.
        Standing::Held if sighting.is_change() && !was => Proof::None,
        Standing::Alone | Standing::Held => whose(),
        Standing::GivenUp => {
            let is_after = tenure.since.is_none_or(|since| {
                sighting.at > since || (sighting.at == since && !sighting.is_change())
            });
            if is_after || (sighting.is_change() && !was) {
                Proof::None
            } else {
                Proof::Same
            }
        }
    }
}

/// Returns how the phone that a fact shows stands from now on, if that is to be written.
fn take(sighting: &Sighting, is_named: bool, link: Option<&Link>, same: &Same) -> Option<Tenure> {
    let at = sighting.at;
    let standing = if is_named {
        Standing::Held
    } else {
        Standing::Alone
    };
    let dated = is_named || sighting.is_change();
    let Some(link) = link else {
        return Some(Tenure {
            standing,
            since: dated.then_some(at),
            former: None,
            user_id: sighting.current.user_id.clone(),
        });
    };
    let tenure = &link.tenure;
    let is_later = tenure.since.is_none_or(|since| at > since);
    let is_ours = same.has(&link.customer);
    let taken = |since, former| {
        Some(Tenure {
            standing,
            since,
            former,
            user_id: sighting.current.user_id.clone(),
        })
    };
    match tenure.standing {
        Standing::Alone if is_ours => {
            // Now a user id is known, too.
            let former = tenure.former.clone();
            is_named.then(|| taken(Some(at), former)).flatten()
        }
        // The same customer came back to it, or has a new user id for another reason.
        Standing::Held if is_ours => {
            let is_anew = sighting.current.user_id.is_some()
                && sighting.current.user_id != tenure.user_id
                && is_later;
            let former = tenure.former.clone();
            is_anew.then(|| taken(Some(at), former)).flatten()
        }
        // Somebody else's who had it before; what is older than that says nothing.
        Standing::Alone | Standing::Held => {
            let customer = Some(link.customer.clone());
            (dated && is_later)
                .then(|| taken(Some(at), customer))
                .flatten()
        }
        Standing::GivenUp if dated => is_later
            .then(|| {
                let former = if is_ours {
                    tenure.former.clone()
                } else {
                    Some(link.customer.clone())
                };
                taken(Some(at), former)
            })
            .flatten(),
        // Somebody new, known by the phone alone, since it was given up: before that it was ours.
        Standing::GivenUp if !is_ours => taken(tenure.since, Some(link.customer.clone())),
        Standing::GivenUp => None,
    }
}

/// Returns how the phone that a change gave up stands from now on, if that is to be written.
fn give_up(sighting: &Sighting, link: Option<&Link>, same: &Same) -> Option<Tenure> {
    let mut former = None;
    if let Some(link) = link {
        let is_ours = same.has(&link.customer);
        let is_settled = link.tenure.since.is_some_and(|since| {
            since > sighting.at
                || (since == sighting.at && (!is_ours || link.tenure.standing == Standing::GivenUp))
        });
        if is_settled {
            return None;
        }
        former = if is_ours {
            link.tenure.former.clone()
        } else {
            Some(link.customer.clone())
        };
    }
    Some(Tenure {
        standing: Standing::GivenUp,
        since: Some(sighting.at),
        former,
        user_id: None,
    })
}

/// Longest user id. Meta: two letters, a dot, `ENT.` for parents, at most 128 characters.
const USER_ID_LEN_MAX: usize = 2 + 1 + 4 + 128;

/// Returns whether a text has the form of a business-scoped user id: a country, a dot, perhaps
/// `ENT.`, and up to 128 letters and digits.
pub fn is_user_id(text: &str) -> bool {
    text.len() <= USER_ID_LEN_MAX
        && text.split_once('.').is_some_and(|(country, rest)| {
            country.len() == 2
                && country.bytes().all(|byte| byte.is_ascii_uppercase())
                && !rest.is_empty()
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        })
}

/// Makes a customer id from 128 random bits.
pub fn mint(random: u128) -> Result<CustomerId, InvalidId> {
    CustomerId::parse(&format!("c{random:032x}"))
}

#[cfg(test)]
mod tests;
