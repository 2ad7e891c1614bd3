//! Turns: who goes next where many wait for one thing, such as a number's rate or a free worker.
//!
//! Answers go first, then what was agreed on, then campaigns; those below get a share, so that
//! nobody waits for ever, but never two turns in a row past somebody more urgent. Among equals the
//! brands take turns by weight, and one brand's own come in the order in which they enlisted.
//! Nothing here knows rates, time or conversations: whoever enlists one at a time of a
//! conversation keeps its order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use crate::routing::Purpose;

/// How urgent a message is. A later one is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A campaign: it may take its time.
    Bulk,
    /// Something agreed on, such as a code or a delivery.
    Transactional,
    /// An answer: somebody sits there and waits.
    Reply,
}

impl Priority {
    /// Every priority, the most urgent one last.
    pub const ALL: [Self; 3] = [Self::Bulk, Self::Transactional, Self::Reply];

    /// Returns the priority of a message whose caller names none.
    pub fn of_purpose(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Service => Self::Reply,
            Purpose::Utility | Purpose::Authentication => Self::Transactional,
            Purpose::Marketing => Self::Bulk,
        }
    }

    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "BULK",
            Self::Transactional => "TRANSACTIONAL",
            Self::Reply => "REPLY",
        }
    }

    /// Returns the priority of such a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// After how many turns of others it gets one, whoever waits.
    fn patience(self) -> u32 {
        match self {
            Self::Bulk => 16,
            Self::Transactional => 4,
            Self::Reply => 1,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Bulk => 0,
            Self::Transactional => 1,
            Self::Reply => 2,
        }
    }
}

/// Who waits, and in which order they go.
#[derive(Debug, Clone)]
pub struct Turns<K> {
    classes: [Class<K>; 3],
    places: HashMap<K, Place>,
    /// Turns that went to others while a class waited.
    passed: [u32; 3],
    /// The last turn went past somebody more urgent.
    went_below: bool,
    /// How many turns in a row a brand gets, if not one.
    weights: BTreeMap<String, u32>,
    enlisted: u64,
}

/// Those of one priority.
#[derive(Debug, Clone)]
struct Class<K> {
    len: usize,
    brands: HashMap<String, BTreeMap<u64, K>>,
    /// Each brand of `brands` once; the first one's turn it is.
    ring: VecDeque<String>,
    /// How many turns in a row the first one has had.
    in_a_row: u32,
}

#[derive(Debug, Clone)]
struct Place {
    priority: Priority,
    brand: String,
    ticket: u64,
}

impl<K> Default for Class<K> {
    fn default() -> Self {
        Self {
            len: 0,
            brands: HashMap::new(),
            ring: VecDeque::new(),
            in_a_row: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Nobody waits yet. `weights` says how many turns in a row each brand gets; one unless it
    /// is named.
    pub fn new(weights: BTreeMap<String, u32>) -> Self {
        Self {
            classes: std::array::from_fn(|_| Class::default()),
            places: HashMap::new(),
            passed: [0; 3],
            went_below: false,
            weights,
            enlisted: 0,
        }
    }

    /// Somebody waits from now on. Who waits already keeps the place, or moves up if they have
    /// become more urgent.
    pub fn enlist(&mut self, key: K, priority: Priority, brand: &str) {
        if let Some(place) = self.places.get(&key) {
            if place.priority >= priority {
                return;
            }
            self.leave(&key);
        }
        let ticket = self.enlisted;
        self.enlisted += 1;
        let place = Place {
            priority,
            brand: brand.to_owned(),
            ticket,
        };
        self.classes[priority.index()].add(brand, ticket, key.clone());
        self.places.insert(key, place);
    }

    /// Somebody waits no more. Returns whether they did.
    pub fn leave(&mut self, key: &K) -> bool {
        let Some(place) = self.places.remove(key) else {
            return false;
        };
        let class = &mut self.classes[place.priority.index()];
        if let Some(queue) = class.brands.get_mut(&place.brand)
            && queue.remove(&place.ticket).is_some()
        {
            class.len -= 1;
        }
        true
    }

    /// Gives a turn to whoever is next among those whose priority may have one now.
    pub fn next(&mut self, may: impl Fn(Priority) -> bool) -> Option<(K, Priority)> {
        let (key, priority, _) = self.next_of_brand(may)?;
        Some((key, priority))
    }

    /// The same, and says whose it is.
    pub fn next_of_brand(
        &mut self,
        may: impl Fn(Priority) -> bool,
    ) -> Option<(K, Priority, String)> {
        let waits = |one: Priority, classes: &[Class<K>; 3]| classes[one.index()].len > 0;
        let candidates: Vec<Priority> = Priority::ALL
            .into_iter()
            .filter(|one| waits(*one, &self.classes) && may(*one))
            .collect();
        let top = *candidates.last()?;
        let overdue = candidates
            .iter()
            .copied()
            .filter(|one| *one < top && self.passed[one.index()] >= one.patience())
            // The one that has waited for the largest multiple of its patience.
            .min_by_key(|one| {
                let relative = self.passed[one.index()].saturating_mul(16) / one.patience();
                (std::cmp::Reverse(relative), *one)
            });
        let chosen = overdue.filter(|_| !self.went_below).unwrap_or(top);
        self.went_below = chosen < top;
        for one in Priority::ALL {
            let passed = &mut self.passed[one.index()];
            *passed = if one == chosen || self.classes[one.index()].len == 0 {
                0
            } else {
                passed.saturating_add(1)
            };
        }
        let key = self.classes[chosen.index()].take(&self.weights)?;
        let place = self.places.remove(&key)?;
        Some((key, chosen, place.brand))
    }

    /// Returns the priority with which somebody waits; `None` if they do not.
    pub fn priority(&self, key: &K) -> Option<Priority> {
        self.places.get(key).map(|place| place.priority)
    }

    /// Returns how many wait with a priority.
    pub fn waiting(&self, priority: Priority) -> usize {
        self.classes[priority.index()].len
    }

    /// Returns how many wait who are at least as urgent.
    pub fn ahead_of(&self, priority: Priority) -> usize {
        let as_urgent = Priority::ALL.into_iter().filter(|one| *one >= priority);
        as_urgent.map(|one| self.waiting(one)).sum()
    }

    /// Returns whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl<K> Class<K> {
    fn add(&mut self, brand: &str, ticket: u64, key: K) {
        if !self.brands.contains_key(brand) {
            self.brands.insert(brand.to_owned(), BTreeMap::new());
            self.ring.push_back(brand.to_owned());
        }
        if let Some(queue) = self.brands.get_mut(brand) {
            queue.insert(ticket, key);
            self.len += 1;
        }
    }

    /// Takes the first of the brand whose turn it is.
    fn take(&mut self, weights: &BTreeMap<String, u32>) -> Option<K> {
        loop {
            let brand = self.ring.front()?;
            let weight = weights.get(brand).copied().unwrap_or(1).max(1);
            let Some((_, key)) = self.brands.get_mut(brand).and_then(BTreeMap::pop_first) else {
                // All of it have left.
                self.brands.remove(brand);
                self.ring.pop_front();
                self.in_a_row = 0;
                continue;
            };
            self.len -= 1;
            self.in_a_row += 1;
            if self.in_a_row >= weight {
                self.ring.rotate_left(1);
                self.in_a_row = 0;
            }
            return Some(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Priority::{Bulk, Reply, Transactional};

    fn turns() -> Turns<u32> {
        Turns::new(BTreeMap::new())
    }

    fn all(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.next(|_| true).map(|(key, _)| key)).collect()
    }

    #[test]
    fn an_answer_goes_before_a_campaign_that_waited_longer() {
        let mut turns = turns();
        for key in 0..1_000 {
            turns.enlist(key, Bulk, "a");
        }
        turns.enlist(5_000, Transactional, "a");
        turns.enlist(6_000, Reply, "a");
        assert_eq!(turns.ahead_of(Reply), 1);
        assert_eq!(turns.ahead_of(Bulk), 1_002);
        assert_eq!(turns.next(|_| true), Some((6_000, Reply)));
        assert_eq!(turns.next(|_| true), Some((5_000, Transactional)));
        assert_eq!(turns.next(|_| true), Some((0, Bulk)));
    }

    #[test]
    fn brands_take_turns_by_weight_however_much_one_of_them_brought() {
        let mut turns = Turns::new(BTreeMap::from([("large".to_owned(), 2)]));
        for key in 0..100 {
            turns.enlist(key, Bulk, "first");
        }
        for key in 100..110 {
            turns.enlist(key, Bulk, "large");
        }
        turns.enlist(200, Bulk, "late");
        let order: Vec<u32> = all(&mut turns).into_iter().take(9).collect();
        assert_eq!(order, [0, 100, 101, 200, 1, 102, 103, 2, 104]);
    }

    #[test]
    fn who_becomes_more_urgent_moves_up_and_nobody_moves_down_or_waits_twice() {
        let mut turns = turns();
        turns.enlist(1, Bulk, "a");
        turns.enlist(2, Bulk, "a");
        turns.enlist(3, Bulk, "a");
        turns.enlist(2, Reply, "a");
        turns.enlist(2, Bulk, "a");
        turns.enlist(1, Bulk, "a");
        assert_eq!(turns.priority(&2), Some(Reply));
        assert!(turns.leave(&3));
        assert!(!turns.leave(&3));
        assert_eq!((turns.waiting(Bulk), turns.waiting(Reply)), (1, 1));
        assert_eq!(turns.ahead_of(Bulk), 2);
        assert_eq!(all(&mut turns), [2, 1]);
        assert!(turns.is_empty());
    }

    #[test]
    fn who_may_not_go_now_keeps_the_place() {
        let mut turns = turns();
        turns.enlist(1, Reply, "a");
        turns.enlist(2, Bulk, "a");
        assert_eq!(turns.next(|one| one != Reply), Some((2, Bulk)));
        assert_eq!(turns.next(|one| one != Reply), None);
        assert_eq!(turns.next(|_| true), Some((1, Reply)));
    }

    #[test]
    fn the_purpose_says_how_urgent_a_message_is_unless_its_caller_does() {
        assert_eq!(Priority::of_purpose(Purpose::Service), Reply);
        assert_eq!(Priority::of_purpose(Purpose::Authentication), Transactional);
        assert_eq!(Priority::of_purpose(Purpose::Utility), Transactional);
        assert_eq!(Priority::of_purpose(Purpose::Marketing), Bulk);
        for one in Priority::ALL {
            assert_eq!(Priority::parse(one.as_str()), Some(one));
        }
    }

    /// Somebody comes, or somebody goes.
    fn steps() -> impl Strategy<Value = Vec<Option<(usize, u8)>>> {
        let one = prop_oneof![
            3 => (0..3_usize, 0..3_u8).prop_map(Some),
            2 => Just(None),
        ];
        prop::collection::vec(one, 1..400)
    }

    proptest! {
        #[test]
        fn never_two_turns_in_a_row_go_past_somebody_more_urgent(steps in steps()) {
            let mut turns = turns();
            let mut before = None;
            for (key, step) in (0..).zip(steps) {
                if let Some((priority, brand)) = step {
                    turns.enlist(key, Priority::ALL[priority], &brand.to_string());
                    continue;
                }
                let top = Priority::ALL.into_iter().rfind(|one| turns.waiting(*one) > 0);
                let Some((_, chosen)) = turns.next(|_| true) else { continue };
                let passed = top.filter(|top| *top > chosen);
                prop_assert!(before.is_none() || passed.is_none());
                before = passed;
            }
        }

        #[test]
        fn whoever_waits_gets_a_turn_in_bounded_time(steps in steps()) {
            let mut turns = turns();
            let mut waited = [0_u32; 3];
            for (key, step) in (0..).zip(steps) {
                if let Some((priority, brand)) = step {
                    turns.enlist(key, Priority::ALL[priority], &brand.to_string());
                    continue;
                }
                let waiting = Priority::ALL.map(|one| turns.waiting(one) > 0);
                let Some((_, chosen)) = turns.next(|_| true) else { continue };
                for one in Priority::ALL {
                    let count = &mut waited[one.index()];
                    *count = if one == chosen || !waiting[one.index()] { 0 } else { *count + 1 };
                    prop_assert!(*count <= one.patience() + 4, "{one:?} passed over {count} times");
                }
            }
        }

        #[test]
        fn each_goes_once_and_equals_in_the_order_in_which_they_came(steps in steps()) {
            let mut turns = turns();
            let (mut came, mut went) = (HashMap::<_, Vec<u32>>::new(), HashMap::<_, Vec<u32>>::new());
            let mut classes = HashMap::new();
            let note = |went: &mut HashMap<_, Vec<u32>>, key: u32, classes: &HashMap<u32, (usize, u8)>| {
                went.entry(classes[&key]).or_default().push(key);
            };
            for (key, step) in (0..).zip(steps) {
                if let Some(class) = step {
                    turns.enlist(key, Priority::ALL[class.0], &class.1.to_string());
                    came.entry(class).or_default().push(key);
                    classes.insert(key, class);
                } else if let Some((key, _)) = turns.next(|_| true) {
                    note(&mut went, key, &classes);
                }
            }
            for key in all(&mut turns) {
                note(&mut went, key, &classes);
            }
            prop_assert_eq!(came, went);
        }
    }
}
