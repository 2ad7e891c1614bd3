//! Who a customer is: several identifiers, one opaque customer.
//!
//! Pure: which links exist comes in, what to link comes out. Keyed hashing of identifiers and
//! the appends are the caller's.

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

/// Returns the identifiers of a customer, strongest first, each in its one form.
pub fn identifiers(addresses: &Addresses) -> Vec<Identifier> {
    let user_id = addresses.user_id.clone().map(|value| Identifier {
        kind: Kind::UserId,
        value,
    });
    let phone = addresses.phone.as_ref().map(|phone| Identifier {
        kind: Kind::Phone,
        value: canonical_phone(phone),
    });
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

/// A link that stands on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The customer that the identifier belongs to.
    pub customer: CustomerId,
    /// Its age: the order of the log. Lower is older.
    pub sequence: u64,
}

/// What the links of one fact's identifiers amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Nobody knows any of them: a new customer.
    Mint {
        /// All identifiers, to be linked to it; the first one decides a race.
        link: Vec<Identifier>,
    },
    /// All that are known belong to one customer.
    Known {
        /// The customer.
        customer: CustomerId,
        /// Identifiers to link to it as well.
        link: Vec<Identifier>,
    },
    /// They belong to several customers, who are thereby proved to be one.
    Merge {
        /// The one with the oldest link.
        survivor: CustomerId,
        /// The others, who move to the survivor.
        merged: Vec<CustomerId>,
        /// Identifiers to link to the survivor: the unknown, and those of the others.
        link: Vec<Identifier>,
    },
}

/// Decides which customer a fact belongs to.
///
/// `known` gives, for each identifier in the order of [`identifiers`], its link if there is one.
/// A parent user id never proves two customers to be one: it is shared across portfolios'
/// children, so it only links, and resolves when nothing stronger is known.
pub fn resolve(known: Vec<(Identifier, Option<Link>)>) -> Resolution {
    let strong = |identifier: &Identifier| identifier.kind != Kind::ParentUserId;
    let mut linked: Vec<&Link> = known
        .iter()
        .filter(|(identifier, _)| strong(identifier))
        .filter_map(|(_, link)| link.as_ref())
        .collect();
    if linked.is_empty() {
        linked = known.iter().filter_map(|(_, link)| link.as_ref()).collect();
    }
    linked.sort_by_key(|link| link.sequence);

    let Some(survivor) = linked.first().map(|link| link.customer.clone()) else {
        return Resolution::Mint {
            link: known.into_iter().map(|(one, _)| one).collect(),
        };
    };
    let mut merged: Vec<CustomerId> = Vec::new();
    for link in &linked {
        if link.customer != survivor && !merged.contains(&link.customer) {
            merged.push(link.customer.clone());
        }
    }
    let link = known
        .into_iter()
        .filter(|(identifier, link)| match link {
            None => true,
            Some(link) => strong(identifier) && link.customer != survivor,
        })
        .map(|(identifier, _)| identifier)
        .collect();
    if merged.is_empty() {
        Resolution::Known {
            customer: survivor,
            link,
        }
    } else {
        Resolution::Merge {
            survivor,
            merged,
            link,
        }
    }
}

/// Makes a customer id from 128 random bits.
pub fn mint(random: u128) -> Result<CustomerId, InvalidId> {
    CustomerId::parse(&format!("c{random:032x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(name: &str) -> CustomerId {
        CustomerId::parse(name).unwrap()
    }

    fn known(kind: Kind, value: &str, link: Option<(&str, u64)>) -> (Identifier, Option<Link>) {
        let link = link.map(|(name, sequence)| Link {
            customer: customer(name),
            sequence,
        });
        (
            Identifier {
                kind,
                value: value.to_owned(),
            },
            link,
        )
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
    fn unknown_identifiers_mint_one_customer() {
        let rows = vec![
            known(Kind::UserId, "US.1", None),
            known(Kind::Phone, "1555", None),
        ];
        let Resolution::Mint { link } = resolve(rows) else {
            panic!("not minted")
        };
        assert_eq!(link.len(), 2);
    }

    #[test]
    fn a_known_identifier_brings_the_unknown_one_in() {
        let rows = vec![
            known(Kind::UserId, "US.1", None),
            known(Kind::Phone, "1555", Some(("a", 3))),
        ];
        let Resolution::Known {
            customer: found,
            link,
        } = resolve(rows)
        else {
            panic!("not known")
        };
        assert_eq!(found, customer("a"));
        assert_eq!(
            link.iter().map(|one| one.kind).collect::<Vec<_>>(),
            [Kind::UserId]
        );
    }

    #[test]
    fn two_customers_that_share_a_fact_merge_into_the_older() {
        let rows = vec![
            known(Kind::UserId, "US.1", Some(("younger", 9))),
            known(Kind::Phone, "1555", Some(("older", 3))),
        ];
        assert_eq!(
            resolve(rows),
            Resolution::Merge {
                survivor: customer("older"),
                merged: vec![customer("younger")],
                link: vec![Identifier {
                    kind: Kind::UserId,
                    value: "US.1".to_owned()
                }],
            }
        );
    }

    #[test]
    fn a_parent_user_id_never_merges() {
        let rows = vec![
            known(Kind::UserId, "US.1", Some(("a", 9))),
            known(Kind::ParentUserId, "US.ENT.1", Some(("b", 3))),
        ];
        assert_eq!(
            resolve(rows),
            Resolution::Known {
                customer: customer("a"),
                link: Vec::new()
            }
        );
    }
}
