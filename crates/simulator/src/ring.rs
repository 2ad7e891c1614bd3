//! A bounded list that keeps the newest entries and numbers them from 0 for ever.
//!
//! It never tells what fell out; its limit does.

use std::collections::VecDeque;

/// The newest `limit` of all entries ever pushed.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    entries: VecDeque<T>,
    first_seq: u64,
    limit: usize,
}

impl<T> Ring<T> {
    /// Returns an empty list that keeps at most `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first_seq: 0,
            limit,
        }
    }

    /// Returns the number the next entry gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + self.entries.len() as u64
    }

    /// Adds an entry and returns what fell out for it.
    pub(crate) fn push(&mut self, entry: T) -> Option<T> {
        self.entries.push_back(entry);
        if self.entries.len() > self.limit {
            self.first_seq += 1;
            self.entries.pop_front()
        } else {
            None
        }
    }

    /// Returns an entry, unless it fell out.
    pub(crate) fn get(&self, seq: u64) -> Option<&T> {
        self.entries.get(self.position(seq)?)
    }

    /// Returns an entry to change, unless it fell out.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut T> {
        let position = self.position(seq)?;
        self.entries.get_mut(position)
    }

    /// Returns the entries from `seq` on, oldest first.
    pub(crate) fn since(&self, seq: u64) -> impl Iterator<Item = &T> {
        let skip = usize::try_from(seq.saturating_sub(self.first_seq)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip)
    }

    fn position(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first_seq)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_when_old_entries_fall_out() {
        let mut ring = Ring::new(2);
        assert_eq!(ring.push('a'), None);
        assert_eq!(ring.push('b'), None);
        assert_eq!(ring.push('c'), Some('a'));
        assert_eq!(ring.get(0), None);
        assert_eq!(ring.get(2), Some(&'c'));
        assert_eq!(ring.next_seq(), 3);
        assert_eq!(ring.since(2).collect::<Vec<_>>(), [&'c']);
        assert_eq!(ring.since(0).count(), 2);
    }
}
