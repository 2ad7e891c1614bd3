//! What months have cost: a sum of parts that are added and taken back, in any order.

use std::collections::BTreeMap;

use super::Month;

/// Whose spend it is: a number, and the brand that it belonged to when the message was claimed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The number's digits.
    pub number: String,
    /// The brand's id.
    pub brand: String,
}

/// A part of what a month cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    /// Millionths of the currency.
    pub micros: u64,
    /// Service messages within the free tier.
    pub free_service_messages: u64,
}

/// Parts that were added and taken back. What is taken back may come before what it takes back,
/// so a sum may be below nothing for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    micros: i128,
    free_service_messages: i128,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.micros += other.micros;
        self.free_service_messages += other.free_service_messages;
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }

    fn known(self) -> Spend {
        let whole = |sum: i128| u64::try_from(sum.max(0)).unwrap_or(u64::MAX);
        Spend {
            micros: whole(self.micros),
            free_service_messages: whole(self.free_service_messages),
        }
    }
}

/// What every number has spent, by month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    owners: BTreeMap<(Month, Owner), Sum>,
    numbers: BTreeMap<(Month, String), Sum>,
    brands: BTreeMap<(Month, String), Sum>,
}

impl Ledger {
    /// Adds a part.
    pub fn add(&mut self, owner: &Owner, month: Month, spend: Spend) {
        self.change(owner, month, spend, 1);
    }

    /// Takes a part back.
    pub fn take_back(&mut self, owner: &Owner, month: Month, spend: Spend) {
        self.change(owner, month, spend, -1);
    }

    fn change(&mut self, owner: &Owner, month: Month, spend: Spend, sign: i128) {
        let change = Sum {
            micros: sign * i128::from(spend.micros),
            free_service_messages: sign * i128::from(spend.free_service_messages),
        };
        add(&mut self.owners, (month, owner.clone()), change);
        add(&mut self.numbers, (month, owner.number.clone()), change);
        add(&mut self.brands, (month, owner.brand.clone()), change);
    }

    /// Returns what a number has spent in a month.
    pub fn of_number(&self, number: &str, month: Month) -> Spend {
        known(&self.numbers, number, month)
    }

    /// Returns what a brand has spent in a month, by all of its numbers.
    pub fn of_brand(&self, brand: &str, month: Month) -> Spend {
        known(&self.brands, brand, month)
    }

    /// Returns everything, by month and owner.
    pub fn all(&self) -> impl Iterator<Item = (Month, &Owner, Spend)> {
        let parts = self.owners.iter();
        parts.map(|((month, owner), sum)| (*month, owner, sum.known()))
    }

    /// Forgets months before this one.
    pub fn forget_before(&mut self, first: Month) {
        self.owners.retain(|(month, _), _| *month >= first);
        self.numbers.retain(|(month, _), _| *month >= first);
        self.brands.retain(|(month, _), _| *month >= first);
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, Sum>, key: K, change: Sum) {
    if change.is_nothing() {
        return;
    }
    sums.entry(key).or_default().add(change);
}

fn known(sums: &BTreeMap<(Month, String), Sum>, of: &str, month: Month) -> Spend {
    let sum = sums.get(&(month, of.to_owned())).copied();
    sum.unwrap_or_default().known()
}
