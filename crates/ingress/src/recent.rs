//! Which facts stand last on customers' subjects, kept so that they need not be read again.
//!
//! A page is no older than the sequence that it names: whoever uses it first reads what was
//! stored after it. So it may be lost, or kept from another time, without any harm. It is this
//! process's own, and bounded; it holds ids and times, nothing that a customer said.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::id::CustomerId;
use casement_event::Uuid;
use jiff::{SignedDuration, Timestamp};

/// How many subjects have a page.
const PAGES_MAX: usize = 16_384;

/// How many ids all pages hold together: some 60 bytes each.
const IDS_MAX: usize = 262_144;

/// How many ids one page holds.
const PAGE_LEN_MAX: usize = 4_096;

/// What stands last on a subject.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// Sequence of the newest message that is in it.
    newest: u64,
    /// Every fact that stands there and is not before this time is in it; `None` if all are.
    covers: Option<Timestamp>,
    ids: HashSet<Uuid>,
    /// Oldest first, each with the latest event's time up to it.
    order: VecDeque<(Uuid, Option<Timestamp>)>,
    /// Customers whose facts of before stand on subjects of their own.
    merged: Vec<CustomerId>,
    used: u64,
}

/// A message of a subject, as far as a page cares.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) sequence: u64,
    pub(crate) id: Option<Uuid>,
    /// The latest event's time, up to this message.
    pub(crate) last_event_at: Option<Timestamp>,
    /// Set if it says that another customer's facts belong here.
    pub(crate) merged: Option<CustomerId>,
}

impl Page {
    /// Begins a page that will hold everything from a time on.
    pub(crate) fn since(covers: Timestamp) -> Self {
        Self {
            covers: Some(covers),
            ..Self::default()
        }
    }

    /// Begins a page that will hold everything after a message, whose summary knows of events up
    /// to that time; `None` if there is no such message.
    pub(crate) fn after(newest: u64, last_event_at: Option<Timestamp>) -> Self {
        Self {
            newest,
            covers: (newest > 0).then(|| just_after(last_event_at)),
            ..Self::default()
        }
    }

    /// Returns the sequence up to which it is whole.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns whether a fact of this time would be in it.
    pub(crate) fn covers(&self, at: Timestamp) -> bool {
        self.covers.is_none_or(|covers| at >= covers)
    }

    pub(crate) fn has(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    pub(crate) fn merged(&self) -> &[CustomerId] {
        &self.merged
    }

    /// Adds the message that follows.
    pub(crate) fn push(&mut self, line: Line) {
        self.newest = line.sequence;
        if let Some(id) = line.id
            && self.ids.insert(id)
        {
            self.order.push_back((id, line.last_event_at));
        }
        self.merged.extend(line.merged);
        while self.order.len() > PAGE_LEN_MAX
            && let Some((id, last_event_at)) = self.order.pop_front()
        {
            self.ids.remove(&id);
            // A fact is never later than the summary of the message that it stands in.
            self.covers = self.covers.max(Some(just_after(last_event_at)));
        }
    }
}

fn just_after(at: Option<Timestamp>) -> Timestamp {
    at.unwrap_or(Timestamp::MIN)
        .saturating_add(SignedDuration::from_nanos(1))
        .unwrap_or(Timestamp::MAX)
}

/// The pages.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pages: HashMap<String, Page>,
    ids: usize,
    uses: u64,
}

impl Recent {
    /// Takes a page out, to be read on and put back.
    pub(crate) fn take(&self, subject: &str) -> Option<Page> {
        self.lock().remove(subject)
    }

    /// Puts a page in; the ones that were used longest ago make room.
    pub(crate) fn put(&self, subject: &str, mut page: Page) {
        let mut inner = self.lock();
        inner.remove(subject);
        inner.uses += 1;
        page.used = inner.uses;
        inner.ids += page.ids.len();
        inner.pages.insert(subject.to_owned(), page);
        if inner.pages.len() > PAGES_MAX || inner.ids > IDS_MAX {
            inner.make_room();
        }
    }

    /// Takes note of an append that expected `expected`, on a summary that knew of events up to
    /// `before`.
    pub(crate) fn appended(
        &self,
        subject: &str,
        expected: u64,
        before: Option<Timestamp>,
        line: Line,
    ) {
        let page = self.take(subject).filter(|page| page.newest == expected);
        let mut page = page.unwrap_or_else(|| Page::after(expected, before));
        page.push(line);
        self.put(subject, page);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, subject: &str) -> Option<Page> {
        let page = self.pages.remove(subject)?;
        self.ids -= page.ids.len();
        Some(page)
    }

    /// Drops the half that was not used for longest.
    fn make_room(&mut self) {
        let mut uses: Vec<u64> = self.pages.values().map(|page| page.used).collect();
        let middle = uses.len() / 2;
        let (_, middle, _) = uses.select_nth_unstable(middle);
        let middle = *middle;
        self.pages.retain(|_, page| page.used >= middle);
        self.ids = self.pages.values().map(|page| page.ids.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn line(sequence: u64, second: i64) -> Line {
        Line {
            sequence,
            id: Some(Uuid::from_u128(u128::from(sequence))),
            last_event_at: Some(at(second)),
            merged: None,
        }
    }

    #[test]
    fn a_page_knows_how_far_back_it_is_whole() {
        let recent = Recent::default();
        recent.appended("a", 0, None, line(3, 5));
        recent.appended("a", 3, Some(at(5)), line(4, 5));
        let page = recent.take("a").unwrap();
        assert!(page.covers(at(-100)), "nothing stood before it");
        assert!(page.has(Uuid::from_u128(3)) && page.has(Uuid::from_u128(4)));
        assert_eq!(page.newest(), 4);

        // Another process appended meanwhile: what stands before is not known.
        recent.put("a", page);
        recent.appended("a", 7, Some(at(9)), line(8, 10));
        let page = recent.take("a").unwrap();
        assert!(!page.has(Uuid::from_u128(4)));
        assert!(page.covers(at(10)) && !page.covers(at(9)));
    }

    #[test]
    fn a_long_page_forgets_its_oldest_and_says_so() {
        let mut page = Page::after(0, None);
        let length = u64::try_from(PAGE_LEN_MAX).unwrap();
        for sequence in 1..=length + 2 {
            page.push(line(sequence, i64::try_from(sequence / 2).unwrap()));
        }
        assert!(!page.has(Uuid::from_u128(2)) && page.has(Uuid::from_u128(3)));
        assert!(
            !page.covers(at(1)),
            "another one of that second was dropped"
        );
        assert!(page.covers(at(2)));
    }

    #[test]
    fn the_pages_that_were_not_used_for_longest_make_room() {
        let recent = Recent::default();
        let subjects = u64::try_from(PAGES_MAX).unwrap() + 1;
        for subject in 0..subjects {
            recent.appended(&subject.to_string(), 0, None, line(subject + 1, 0));
        }
        let count = recent.lock().pages.len();
        assert!(count <= PAGES_MAX / 2 + 1, "{count}");
        assert_eq!(recent.lock().ids, count);
        assert!(recent.take("0").is_none());
        assert!(recent.take(&(subjects - 1).to_string()).is_some());
    }
}
