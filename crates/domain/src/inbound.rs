//! What a customer's facts amount to: the running summary that each stored fact carries.
//!
//! A summary is a join: combining is commutative, associative and idempotent, so that the
//! last message on a customer's subject alone says when the window ends, whatever the order,
//! repetition or delay of the facts before it. This module does not decide whether the window
//! is open; `window` does.

use jiff::{SignedDuration, Timestamp};

use crate::id::{FactId, Phone};
use crate::window::Evidence;

mod policy;
mod recent;

pub use policy::{Kind, OverrideError, QualifyingPolicy, RULES, Rule, Source, rule, rule_of};
pub use recent::{Gap, RECENT_MAX, Recent};

/// The version of the qualification rules in this module, stored with each summary. Since 2,
/// nothing from before a number's onboarding qualifies.
pub const POLICY_VERSION: u32 = 2;

/// The latest fact that opened or refreshed the window.
///
/// Ordered by time, then by fact id, so that two facts of one second join the same way in
/// either order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Qualifying {
    /// When it happened, by the platform's clock.
    pub at: Timestamp,
    /// The fact.
    pub fact: FactId,
    /// When it reached us.
    pub received_at: Timestamp,
    /// The platform's id of the message or call.
    pub provider_id: String,
}

/// Who may write free-form in a thread that several responders share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreadOwner {
    /// Nobody holds it.
    Idle,
    /// This application.
    Us,
    /// Another responder: free-form is refused, templates are not.
    Other,
}

/// The identifiers under which a customer can be written to.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addresses {
    /// Phone number; absent for customers who hide it behind a username.
    pub phone: Option<Phone>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
    /// User id in the scope of the parent portfolio.
    pub parent_user_id: Option<String>,
}

impl Addresses {
    /// Returns these addresses with each gap filled from `older`.
    #[must_use]
    pub fn or(&self, older: &Self) -> Self {
        Self {
            phone: self.phone.clone().or_else(|| older.phone.clone()),
            user_id: self.user_id.clone().or_else(|| older.user_id.clone()),
            parent_user_id: self
                .parent_user_id
                .clone()
                .or_else(|| older.parent_user_id.clone()),
        }
    }

    /// Returns whether no identifier is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A value that the latest fact decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AsOf<T> {
    /// When it became true.
    pub at: Timestamp,
    /// What is true since then.
    pub value: T,
}

/// What all facts of a customer at a number amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The latest fact that opened or refreshed the window.
    pub last_qualifying: Option<Qualifying>,
    /// When the newest of such facts happened.
    pub recent: Recent,
    /// The latest time at which the business answered by other means than Casement: it wrote from
    /// its phone or took a call.
    pub answered_at: Option<Timestamp>,
    /// The latest message that the customer wrote from an ad or a page's button.
    pub referred_at: Option<Timestamp>,
    /// The latest time at which the platform gave the customer another user id.
    pub user_id_changed_at: Option<Timestamp>,
    /// The latest event of any kind.
    pub last_event_at: Option<Timestamp>,
    /// Who owns the thread, by the latest word on it.
    pub thread_owner: Option<AsOf<ThreadOwner>>,
    /// Phone, as last seen.
    pub phone: Option<AsOf<Phone>>,
    /// Business-scoped user id, as last seen.
    pub user_id: Option<AsOf<String>>,
    /// Parent user id, as last seen.
    pub parent_user_id: Option<AsOf<String>>,
    /// The latest time stated by a fact that was put back to its receipt, if the fact may come
    /// again when that time has become possible.
    pub stated_until: Option<Timestamp>,
    /// What became of our messages under ids that have ended, and whom this customer carries on.
    pub carried: Evidence,
}

impl Summary {
    /// Returns what both summaries amount to together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            last_qualifying: self.last_qualifying.max(other.last_qualifying),
            recent: self.recent.join(other.recent),
            answered_at: self.answered_at.max(other.answered_at),
            referred_at: self.referred_at.max(other.referred_at),
            user_id_changed_at: self.user_id_changed_at.max(other.user_id_changed_at),
            last_event_at: self.last_event_at.max(other.last_event_at),
            thread_owner: self.thread_owner.max(other.thread_owner),
            phone: self.phone.max(other.phone),
            user_id: self.user_id.max(other.user_id),
            parent_user_id: self.parent_user_id.max(other.parent_user_id),
            stated_until: self.stated_until.max(other.stated_until),
            carried: self.carried.join(other.carried),
        }
    }

    /// Returns the addresses that the customer can be written to.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            phone: self.phone.as_ref().map(|known| known.value.clone()),
            user_id: self.user_id.as_ref().map(|known| known.value.clone()),
            parent_user_id: self
                .parent_user_id
                .as_ref()
                .map(|known| known.value.clone()),
        }
    }
}

/// One fact about a customer, as far as the summary cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its id.
    pub id: FactId,
    /// When it happened, by the platform's clock.
    pub at: Timestamp,
    /// When it reached us.
    pub received_at: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The platform's id of the message or call; empty if there is none.
    pub provider_id: String,
    /// The identifiers that it named.
    pub addresses: Addresses,
    /// What it says about the thread's owner.
    pub thread_owner: Option<ThreadOwner>,
    /// What else follows from it.
    pub marks: Marks,
}

/// What follows from a fact besides an open window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// When the business answered: it wrote from its phone, or took the customer's call.
    pub answered_at: Option<Timestamp>,
    /// The customer came from an ad or a page's button.
    pub is_referral: bool,
    /// The platform gave the customer another user id.
    pub changes_user_id: bool,
}

impl Fact {
    /// Returns what this fact alone amounts to.
    pub fn summary(&self, policy: &QualifyingPolicy) -> Summary {
        fn as_of<T>(at: Timestamp, value: Option<T>) -> Option<AsOf<T>> {
            value.map(|value| AsOf { at, value })
        }
        let qualifying = policy.qualifies(self.kind).then(|| Qualifying {
            at: self.at,
            fact: self.id,
            received_at: self.received_at,
            provider_id: self.provider_id.clone(),
        });
        let recent = Recent::new(qualifying.iter().map(|fact| fact.at), None);
        let when = |mark: bool| mark.then_some(self.at);
        Summary {
            last_qualifying: qualifying,
            recent,
            answered_at: self.marks.answered_at,
            referred_at: when(self.marks.is_referral),
            user_id_changed_at: when(self.marks.changes_user_id),
            last_event_at: Some(self.at),
            thread_owner: as_of(self.at, self.thread_owner),
            phone: as_of(self.at, self.addresses.phone.clone()),
            user_id: as_of(self.at, self.addresses.user_id.clone()),
            parent_user_id: as_of(self.at, self.addresses.parent_user_id.clone()),
            stated_until: None,
            carried: Evidence::default(),
        }
    }
}

/// For how long the platform repeats a webhook that was not answered. Meta: webhooks, retries.
pub const REPEATS_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// When a fact counts as having happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// When, as far as windows care.
    pub at: Timestamp,
    /// What its source stated, if that cannot be true.
    pub stated: Option<Timestamp>,
}

impl Placed {
    /// Returns until when the fact may come again with the time it stated: by then it could have
    /// happened. What lies beyond all repeats is put back each time.
    pub fn repeats_until(&self, received: Timestamp) -> Option<Timestamp> {
        let last = received.saturating_add(REPEATS_FOR).ok()?;
        self.stated.filter(|stated| *stated <= last)
    }
}

/// Returns when a fact counts as having happened: as its source says, unless that lies ahead of
/// its receipt by more than clocks may differ.
///
/// Nothing happens after it was heard of. A time from the future would keep a window open for
/// longer than the platform does.
pub fn placed(stated: Timestamp, received: Timestamp, tolerance: SignedDuration) -> Placed {
    let latest = received.saturating_add(tolerance).unwrap_or(Timestamp::MAX);
    if stated > latest {
        Placed {
            at: received,
            stated: Some(stated),
        }
    } else {
        Placed {
            at: stated,
            stated: None,
        }
    }
}

/// What to do with a fact that has arrived, before looking for it among the stored ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Later than every fact before it, so it cannot be a repeat.
    New,
    /// Not later than the latest: the subject's recent messages must be searched for its id.
    Search,
}

/// Returns whether a fact can be told to be new by its time alone.
pub fn arrival(known: &Summary, at: Timestamp) -> Arrival {
    match known.last_event_at {
        Some(last) if at <= last => Arrival::Search,
        _ => Arrival::New,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn fact(second: i64, kind: Kind) -> Fact {
        Fact {
            id: FactId::from_u128(u128::from(second.unsigned_abs())),
            at: at(second),
            received_at: at(second + 1),
            kind,
            provider_id: format!("wamid.{second}"),
            addresses: Addresses::default(),
            thread_owner: None,
            marks: Marks::default(),
        }
    }

    #[test]
    fn newer_addresses_fill_their_gaps_from_older_ones() {
        let with = |phone: Option<&str>, user_id: Option<&str>, parent: Option<&str>| Addresses {
            phone: phone.map(|digits| Phone::parse(digits).unwrap()),
            user_id: user_id.map(str::to_owned),
            parent_user_id: parent.map(str::to_owned),
        };
        let older = with(Some("15550001111"), Some("US.1"), Some("US.ENT.1"));
        assert_eq!(Addresses::default().or(&older), older);
        let newer = with(None, Some("US.2"), None);
        let filled = with(Some("15550001111"), Some("US.2"), Some("US.ENT.1"));
        assert_eq!(newer.or(&older), filled);
        assert!(Addresses::default().is_empty());
        assert!(!newer.is_empty());
    }

    #[test]
    fn a_fact_not_later_than_the_latest_must_be_searched_for() {
        let known = fact(10, Kind::Content).summary(&QualifyingPolicy::default());
        assert_eq!(arrival(&known, at(11)), Arrival::New);
        assert_eq!(arrival(&known, at(10)), Arrival::Search);
        assert_eq!(arrival(&known, at(9)), Arrival::Search);
        assert_eq!(arrival(&Summary::default(), at(9)), Arrival::New);
    }

    #[test]
    fn a_time_ahead_of_its_receipt_is_put_back_beyond_the_tolerance_only() {
        let tolerance = SignedDuration::from_secs(60);
        let week = 7 * 24 * 3_600;
        let table = [
            // stated, received → counts as, put back, may come again with its own time
            (100, 100, 100, false, false),
            (99, 1_000_000, 99, false, false),
            (159, 100, 159, false, false),
            (160, 100, 160, false, false),
            (161, 100, 100, true, true),
            (100 + week, 100, 100, true, true),
            (101 + week, 100, 100, true, false),
        ];
        for (stated, received, counts, is_put_back, repeats) in table {
            let placed = placed(at(stated), at(received), tolerance);
            assert_eq!(placed.at, at(counts), "{stated} {received}");
            assert_eq!(placed.stated, is_put_back.then_some(at(stated)));
            let until = placed.repeats_until(at(received));
            assert_eq!(until, repeats.then_some(at(stated)), "{stated} {received}");
        }
        let end = Timestamp::MAX;
        assert_eq!(super::placed(end, end, tolerance).stated, None);
    }

    #[test]
    fn an_older_fact_never_takes_back_an_address() {
        let mut newer = fact(10, Kind::Content);
        newer.addresses.phone = Some(Phone::parse("15550002222").unwrap());
        let mut older = fact(5, Kind::Content);
        older.addresses.phone = Some(Phone::parse("15550003333").unwrap());
        older.addresses.user_id = Some("US.1".to_owned());
        let policy = QualifyingPolicy::default();
        let known = newer
            .summary(&policy)
            .join(older.summary(&policy))
            .addresses();
        assert_eq!(known.phone.unwrap().digits(), "15550002222");
        assert_eq!(known.user_id.as_deref(), Some("US.1"));
    }

    fn facts() -> impl Strategy<Value = Vec<Fact>> {
        let kind = prop_oneof![Just(Kind::Content), Just(Kind::Reaction), Just(Kind::Call)];
        let owner = prop_oneof![
            Just(None),
            Just(Some(ThreadOwner::Us)),
            Just(Some(ThreadOwner::Other))
        ];
        let marks = prop::array::uniform3(any::<bool>());
        prop::collection::vec((0..50_i64, kind, owner, 0..3_u8, marks), 0..12).prop_map(|rows| {
            rows.into_iter()
                .map(|(second, kind, owner, user, marks)| {
                    let mut fact = fact(second, kind);
                    fact.thread_owner = owner;
                    let [is_answer, is_referral, changes_user_id] = marks;
                    fact.marks = Marks {
                        answered_at: is_answer.then_some(fact.at),
                        is_referral,
                        changes_user_id,
                    };
                    fact.addresses.user_id = (user > 0).then(|| format!("US.{user}"));
                    fact
                })
                .collect()
        })
    }

    fn run(facts: &[Fact]) -> Summary {
        let policy = QualifyingPolicy::default();
        facts.iter().fold(Summary::default(), |known, fact| {
            known.join(fact.summary(&policy))
        })
    }

    proptest! {
        #[test]
        fn the_summary_is_a_function_of_the_set_of_facts(
            (facts, shuffled) in facts().prop_flat_map(|facts| {
                (Just(facts.clone()), Just(facts).prop_shuffle())
            }),
        ) {
            prop_assert_eq!(run(&facts), run(&shuffled));
        }

        #[test]
        fn a_repeated_fact_changes_nothing(facts in facts()) {
            let mut twice = facts.clone();
            twice.extend(facts.iter().cloned());
            prop_assert_eq!(run(&facts), run(&twice));
        }
    }
}
