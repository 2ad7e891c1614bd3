//! The newest message of customers' subjects as this process appended it, so that it need not be
//! read again.
//!
//! Whoever uses a head appends with its sequence as expectation, and is refused if anything was
//! stored after it. So one that is out of date costs a read and does no harm. They are this
//! process's own, and bounded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::inbound::Summary;

/// How many subjects have a head.
const HEADS_MAX: usize = 16_384;

/// The newest message of a subject on which a customer still writes; the default if there is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) summary: Summary,
}

/// The heads.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    young: HashMap<String, Head>,
    /// What was not used since the young ones were few.
    old: HashMap<String, Head>,
}

impl Heads {
    /// Takes a head out, to be put back if it proves to be right.
    pub(crate) fn take(&self, subject: &str) -> Option<Head> {
        let mut inner = self.lock();
        let young = inner.young.remove(subject);
        let old = inner.old.remove(subject);
        young.or(old)
    }

    /// Puts a head in; those that were used longest ago make room.
    pub(crate) fn put(&self, subject: &str, head: Head) {
        let mut inner = self.lock();
        if inner.young.len() >= HEADS_MAX / 2 {
            inner.old = std::mem::take(&mut inner.young);
        }
        inner.young.insert(subject.to_owned(), head);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> Head {
        Head {
            sequence,
            summary: Summary::default(),
        }
    }

    #[test]
    fn a_head_is_handed_out_once_and_the_newest_counts() {
        let heads = Heads::default();
        heads.put("a", head(1));
        heads.put("a", head(2));
        assert_eq!(heads.take("a"), Some(head(2)));
        assert_eq!(heads.take("a"), None);
    }

    #[test]
    fn the_heads_that_were_not_used_for_longest_make_room() {
        let heads = Heads::default();
        let count = HEADS_MAX as u64;
        for index in 0..=count {
            heads.put(&index.to_string(), head(index));
        }
        let held = {
            let inner = heads.lock();
            inner.young.len() + inner.old.len()
        };
        assert!(held <= HEADS_MAX, "{held}");
        assert_eq!(heads.take("0"), None);
        assert_eq!(heads.take(&count.to_string()), Some(head(count)));
        // One that moved on has no older self to come back as.
        heads.put("x", head(1));
        for index in 0..count / 2 {
            heads.put(&index.to_string(), head(index));
        }
        heads.put("x", head(2));
        assert_eq!(heads.take("x"), Some(head(2)));
        assert_eq!(heads.take("x"), None);
    }
}
