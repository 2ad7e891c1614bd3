//! What stands last on the subjects of a stream that is read much more often than written, kept so
//! that it need not be read again.
//!
//! An answer from here is as good as one of the stream's leader. Each question first has the leader
//! say what its newest message is, after it was asked, and waits until the mirror has heard that
//! far; one such read serves all who ask meanwhile. Where that takes too long the leader is asked
//! for the subject itself. What is not kept is read, of somebody who has heard of all that the mirror
//! and the leader had; and bounded is what is kept.
//!
//! The removal of a message is not heard: what was erased is forgotten after [`AGE_MAX`]. Of customers
//! who are erased the tombstone is heard, and with it what is kept of them is forgotten at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_event::{Stored, subject};
use hashlink::LruCache;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::connect::{Inner, Log};
use crate::{Followed, ReadError, Start};

/// How many subjects are kept, some hundred bytes each.
const SUBJECTS_MAX: usize = 65_536;

/// How long what was read is kept.
const AGE_MAX: Duration = Duration::from_mins(1);

/// How long the mirror may be behind the leader.
const BEHIND_MAX: Duration = Duration::from_millis(50);

/// The newest message of all: the broker finds it without looking at subjects.
const NEWEST: &str = ">";

/// A stream's mirror.
pub(crate) struct Mirror {
    stream: &'static str,
    kept: Mutex<LruCache<String, Page>>,
    /// Everything up to this sequence was heard; `None` before the mirror listens and after.
    heard: watch::Sender<Option<u64>>,
    /// When the leader was last asked, and what its newest message was.
    proven: tokio::sync::Mutex<Option<(Instant, Newest)>>,
}

/// The newest message of a stream, and its subject, on which something stands in any case; 0 and none
/// if there is none.
#[derive(Debug, Clone, Default)]
struct Newest {
    sequence: u64,
    subject: Option<String>,
}

#[derive(Debug, Clone)]
struct Page {
    stored: Known,
    /// When it was read or heard.
    since: Instant,
}

#[derive(Debug, Clone)]
enum Known {
    /// Is being read; whoever reads it knows it by this.
    Asked(Instant),
    Is(Option<Arc<Stored>>),
}

impl Log {
    /// Mirrors a stream for [`Log::last`] until stopped. For streams that are read much more often
    /// than written.
    pub async fn mirror(&self, stream: &'static str, stopping: CancellationToken) {
        let mirror = Arc::new(Mirror {
            stream,
            kept: Mutex::new(LruCache::new(SUBJECTS_MAX)),
            heard: watch::Sender::new(None),
            proven: tokio::sync::Mutex::default(),
        });
        lock(&self.inner.mirrors).insert(stream, Arc::clone(&mirror));
        let mut follower = self.follow(stream, vec![NEWEST.to_owned()], Start::New);
        while let Some(followed) = stopping.run_until_cancelled(follower.next()).await {
            match followed {
                Followed::Event(stored) => mirror.hear(stored),
                Followed::CaughtUp { sequence } => {
                    mirror.heard.send_replace(Some(sequence));
                }
            }
        }
        lock(&self.inner.mirrors).remove(stream);
    }
}

impl Inner {
    /// Returns the mirror that a question about a subject may be put to.
    pub(crate) fn mirror_for(&self, stream: &str, subject: &str) -> Option<Arc<Mirror>> {
        let is_one = !subject.contains(['*', '>']);
        is_one
            .then(|| lock(&self.mirrors).get(stream).cloned())
            .flatten()
    }
}

impl Mirror {
    fn hear(&self, stored: Stored) {
        let (sequence, stored_subject) = (stored.sequence, stored.subject.clone());
        {
            let mut kept = lock(&self.kept);
            if let Some(page) = kept.get_mut(&stored.subject) {
                page.stored = Known::Is(Some(Arc::new(stored)));
                page.since = Instant::now();
            }
            if let Some((portfolio, token)) = subject::parse_erased(&stored_subject) {
                for family in ["link", "consent"] {
                    kept.remove(&format!("casement.customers.{family}.{portfolio}.{token}"));
                }
            }
        }
        self.heard.send_replace(Some(sequence));
    }

    /// Returns what stands last on a subject.
    pub(crate) async fn last(
        &self,
        log: &Inner,
        subject: &str,
    ) -> Result<Option<Stored>, ReadError> {
        // What is read before the mirror listens may change before it does: it is not kept.
        if self.heard.borrow().is_none() {
            return log.last(self.stream, subject).await;
        }
        let begun = Instant::now();
        if let Known::Is(_) = self.known(subject, begun)
            && self.is_proven(log, begun).await?
            && let Known::Is(stored) = self.known(subject, begun)
        {
            return Ok(stored.map(Arc::unwrap_or_clone));
        }
        // Whatever is heard while it is read takes the place of what is read.
        let asked = Page {
            stored: Known::Asked(begun),
            since: begun,
        };
        lock(&self.kept).insert(subject.to_owned(), asked);
        let (stored, is_sure) = self.read(log, subject, begun).await?;
        let mut kept = lock(&self.kept);
        if let Some(page) = kept.get_mut(subject)
            && matches!(page.stored, Known::Asked(by) if by == begun)
        {
            if is_sure {
                page.stored = Known::Is(stored.clone().map(Arc::new));
            } else {
                kept.remove(subject);
            }
        }
        Ok(stored)
    }

    /// What is kept of a subject; to be asked for if nothing is, or for too long.
    fn known(&self, subject: &str, now: Instant) -> Known {
        let mut kept = lock(&self.kept);
        let page = kept.get(subject);
        let is_young = |page: &&Page| now.saturating_duration_since(page.since) < AGE_MAX;
        let page = page.filter(is_young);
        page.map_or(Known::Asked(now), |page| page.stored.clone())
    }

    /// Reads what stands last on a subject. Returns also whether it may be kept: an answer of somebody
    /// who is behind would be believed for as long.
    async fn read(
        &self,
        log: &Inner,
        subject: &str,
        begun: Instant,
    ) -> Result<(Option<Stored>, bool), ReadError> {
        if !log.has_copies() {
            return Ok((log.last(self.stream, subject).await?, true));
        }
        let newest = self.newest(log, begun).await?;
        // Of nothing, nobody tells how new it is.
        let Some(stands) = newest.subject else {
            return Ok((log.last(self.stream, subject).await?, false));
        };
        let seen = self.heard.borrow().unwrap_or(0).max(newest.sequence);
        let filters = [subject, &stands];
        let all = log.newest_of_each(self.stream, &filters, seen).await?;
        let found = all.into_iter().find(|stored| stored.subject == subject);
        Ok((found, true))
    }

    /// The newest message, as the leader told it after `begun`.
    async fn newest(&self, log: &Inner, begun: Instant) -> Result<Newest, ReadError> {
        // Who waits here finds the answer that somebody else asked for meanwhile.
        let mut proven = self.proven.lock().await;
        if let Some((asked, newest)) = &*proven
            && *asked >= begun
        {
            return Ok(newest.clone());
        }
        let asked = Instant::now();
        let stored = log.last(self.stream, NEWEST).await?;
        let newest = stored.map_or_else(Newest::default, |stored| Newest {
            sequence: stored.sequence,
            subject: Some(stored.subject),
        });
        *proven = Some((asked, newest.clone()));
        Ok(newest)
    }

    /// Returns whether everything was heard that was stored before `begun`.
    async fn is_proven(&self, log: &Inner, begun: Instant) -> Result<bool, ReadError> {
        let newest = self.newest(log, begun).await?.sequence;
        let mut heard = self.heard.subscribe();
        let reached = heard.wait_for(|heard| heard.is_none_or(|heard| heard >= newest));
        Ok(matches!(
            timeout(BEHIND_MAX, reached).await,
            Ok(Ok(heard)) if heard.is_some()
        ))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
