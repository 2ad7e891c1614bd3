//! Deadlines by time, in as few bytes as can be: millions of them wait for a day.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;

use crate::wire::Sighting;

/// Up to how many entries the heap is left alone, however stale they are.
const HEAP_LEN_MIN: usize = 1_024;

/// By which part of itself a list grows: doubling would leave half of it empty.
const GROWTH: usize = 8;

/// Where a deadline stands that is kept back.
pub(super) const KEPT_BACK: Timestamp = Timestamp::MAX;

/// What stands in a slot without a deadline.
const VACANT: i64 = i64::MIN;

/// 128 bits of a subject: enough that no two of a billion collide. As bytes, which fill no more
/// than their own room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

pub(super) fn key(subject: &str) -> Key {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        subject.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    Key(((half(1) << 64) | half(2)).to_le_bytes())
}

/// A deadline that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Where it stands in the book, until the book is told of something else.
    pub(super) slot: u32,
    /// When it was, in milliseconds.
    pub(super) at: i64,
    /// The message that set it.
    pub(super) sequence: u64,
}

/// Deadlines by time. The heap may hold stale entries; the slots say which ones count.
#[derive(Debug, Default)]
pub(super) struct Book {
    slot_of: HashMap<Key, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    heap: BinaryHeap<Reverse<(i64, u32)>>,
    /// Slots with a deadline.
    len: usize,
}

/// The deadline of a subject: when, in milliseconds, and which message set it.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at: i64,
    sequence: u64,
}

impl Book {
    /// How many deadlines wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes note of an event.
    pub(super) fn note(&mut self, sighting: &Sighting) {
        self.set(key(&sighting.subject), sighting.deadline, sighting.sequence);
    }

    fn set(&mut self, key: Key, deadline: Option<Timestamp>, sequence: u64) {
        let known = self.slot_of.get(&key).copied();
        if known.is_some_and(|slot| self.slot(slot).sequence > sequence) {
            return;
        }
        match (known, deadline) {
            (None, None) => {}
            (Some(slot), None) => {
                self.vacate(slot);
                self.slot_of.remove(&key);
                self.free.push(slot);
            }
            (None, Some(deadline)) => {
                let slot = self.new_slot();
                self.slot_of.insert(key, slot);
                self.place(slot, deadline, sequence);
            }
            (Some(slot), Some(deadline)) => self.place(slot, deadline, sequence),
        }
    }

    /// Moves a deadline that still stands; what has ended meanwhile stays ended.
    pub(super) fn put_back(&mut self, key: Key, deadline: Timestamp, sequence: u64) {
        if let Some(slot) = self.slot_of.get(&key).copied()
            && self.slot(slot).at != VACANT
        {
            self.set(key, Some(deadline), sequence);
        }
    }

    /// Gives a deadline that was kept back its time, unless a newer message or a taker did.
    pub(super) fn let_go(&mut self, key: Key, deadline: Timestamp, sequence: u64) {
        let Some(slot) = self.slot_of.get(&key).copied() else {
            return;
        };
        let Slot { at, sequence: of } = *self.slot(slot);
        if of == sequence && at == millisecond_at_or_after(KEPT_BACK) {
            self.place(slot, deadline, sequence);
        }
    }

    /// Takes the earliest deadline if it has come. It stays current until it is set anew.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Taken> {
        loop {
            let Reverse((at, slot)) = *self.heap.peek()?;
            let current = *self.slot(slot);
            if current.at == at && at > now.as_millisecond() {
                return None;
            }
            self.heap.pop();
            if current.at == at {
                let sequence = current.sequence;
                return Some(Taken { slot, at, sequence });
            }
        }
    }

    /// Moves a deadline that was just taken.
    pub(super) fn postpone(&mut self, slot: u32, deadline: Timestamp) {
        let sequence = self.slot(slot).sequence;
        self.place(slot, deadline, sequence);
    }

    /// Ends a deadline that was just taken, whose message is gone. Its slot stays with its subject.
    pub(super) fn end(&mut self, slot: u32) {
        self.vacate(slot);
    }

    /// When there is something to look at next, in milliseconds.
    pub(super) fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    fn slot(&mut self, slot: u32) -> &mut Slot {
        let index = usize::try_from(slot).expect("slots are counted in memory");
        &mut self.slots[index]
    }

    fn new_slot(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if self.slots.len() == self.slots.capacity() {
            let more = (self.slots.len() / GROWTH).max(HEAP_LEN_MIN);
            self.slots.reserve_exact(more);
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than four billion deadlines");
        self.slots.push(Slot {
            at: VACANT,
            sequence: 0,
        });
        slot
    }

    fn place(&mut self, slot: u32, deadline: Timestamp, sequence: u64) {
        let at = millisecond_at_or_after(deadline);
        let known = std::mem::replace(self.slot(slot), Slot { at, sequence }).at;
        self.len += usize::from(known == VACANT);
        if known != at {
            if self.heap.len() == self.heap.capacity() {
                let more = (self.heap.len() / GROWTH).max(HEAP_LEN_MIN);
                self.heap.reserve_exact(more);
            }
            self.heap.push(Reverse((at, slot)));
            self.compact();
        }
    }

    fn vacate(&mut self, slot: u32) {
        let known = std::mem::replace(&mut self.slot(slot).at, VACANT);
        self.len -= usize::from(known != VACANT);
        self.compact();
    }

    /// Drops stale entries once they outnumber the live ones.
    fn compact(&mut self) {
        if self.heap.len() > HEAP_LEN_MIN && self.heap.len() > 2 * self.len {
            self.heap = (0..)
                .zip(&self.slots)
                .filter(|(_, slot)| slot.at != VACANT)
                .map(|(index, slot)| Reverse((slot.at, index)))
                .collect();
        }
    }
}

/// Nothing may happen early, so a fraction of a millisecond counts as a whole one.
fn millisecond_at_or_after(at: Timestamp) -> i64 {
    let whole = at.as_millisecond();
    let has_rest = at.as_nanosecond() > i128::from(whole) * 1_000_000;
    whole + i64::from(has_rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    fn one() -> Key {
        key("casement.events.window.03.15550001111.c1")
    }

    /// Returns when what is due was due, and which message set it.
    fn due(book: &mut Book, now: i64) -> Option<(i64, u64)> {
        let taken = book.take_due(at(now))?;
        Some((taken.at, taken.sequence))
    }

    #[test]
    fn a_deadline_that_moved_is_due_at_its_new_time_only() {
        let mut book = Book::default();
        book.set(one(), Some(at(100)), 1);
        book.set(one(), Some(at(300)), 2);
        assert_eq!(due(&mut book, 200), None);
        assert_eq!(due(&mut book, 300), Some((300, 2)));
    }

    #[test]
    fn an_older_message_never_overrides_a_newer_one() {
        let mut book = Book::default();
        book.set(one(), Some(at(300)), 2);
        book.set(one(), Some(at(100)), 1);
        book.set(one(), None, 1);
        assert_eq!(due(&mut book, 300), Some((300, 2)));
    }

    #[test]
    fn what_has_ended_is_never_due() {
        let mut book = Book::default();
        book.set(one(), Some(at(100)), 1);
        book.set(one(), None, 2);
        assert_eq!(due(&mut book, 1_000), None);
    }

    #[test]
    fn what_ended_while_a_taker_looked_is_not_put_back() {
        let mut book = Book::default();
        book.set(one(), Some(at(100)), 1);
        assert_eq!(due(&mut book, 100), Some((100, 1)));
        book.set(one(), None, 2);
        book.put_back(one(), at(200), 1);
        assert_eq!(due(&mut book, 1_000), None);
    }

    #[test]
    fn a_deadline_set_twice_to_the_same_time_comes_once() {
        let mut book = Book::default();
        book.set(one(), Some(at(100)), 1);
        book.set(one(), Some(at(100)), 2);
        assert_eq!(due(&mut book, 100), Some((100, 2)));
        assert_eq!(due(&mut book, 100), None);
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_never_early() {
        let mut book = Book::default();
        let deadline = Timestamp::from_nanosecond(100_000_001).unwrap();
        book.set(one(), Some(deadline), 1);
        assert_eq!(due(&mut book, 100), None);
        assert!(due(&mut book, 101).is_some());
    }

    #[test]
    fn moving_a_deadline_often_does_not_grow_the_book() {
        let mut book = Book::default();
        for sequence in 1..100_000 {
            let deadline = at(i64::try_from(sequence).unwrap());
            book.set(key(&(sequence % 10).to_string()), Some(deadline), sequence);
        }
        assert!(book.heap.len() <= 1_025, "{} entries", book.heap.len());
    }

    #[test]
    fn whose_message_is_gone_is_not_due_until_another_one_stands_there() {
        let mut book = Book::default();
        book.set(one(), Some(at(100)), 1);
        let taken = book.take_due(at(100)).unwrap();
        book.postpone(taken.slot, at(200));
        book.end(taken.slot);
        assert_eq!(book.len(), 0);
        book.put_back(one(), at(300), 1);
        assert_eq!(due(&mut book, 1_000), None);
        book.set(one(), Some(at(400)), 2);
        assert_eq!(due(&mut book, 1_000), Some((400, 2)));
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn the_room_of_what_has_ended_is_used_again() {
        let mut book = Book::default();
        for sequence in 1..10_000 {
            let key = key(&sequence.to_string());
            book.set(key, Some(at(100)), sequence);
            book.set(key, None, sequence + 10_000);
        }
        assert_eq!((book.len(), book.slots.len()), (0, 1));
        book.set(one(), Some(at(100)), 1);
        assert_eq!(
            due(&mut book, 100),
            Some((100, 1)),
            "and it counts as its own"
        );
    }
}
