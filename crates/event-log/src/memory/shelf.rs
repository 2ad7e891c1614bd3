//! One stream in memory: what it keeps, what it refuses, and who works on it.
//!
//! Follows the broker's rules, and its order of asking: a known id first, then what is expected,
//! then room. It knows no time but what it is told, waits for nothing and loses nothing; that is
//! for the connection.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy};
use async_nats::{HeaderMap, HeaderValue, Subject};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::group::matches_filter;
use crate::wire::{APPEND_PREFIX, Pending, code, nats_header};

/// The broker's refusals that are no conflicts.
const MAXIMUM_BYTES: u64 = 10077;
const MESSAGE_TOO_LARGE: u64 = 10054;

/// A stored message.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) sequence: u64,
    pub(crate) subject: Subject,
    pub(crate) stored_at: Timestamp,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// A message that is to be stored.
pub(crate) struct Publish {
    /// As it is published, with the prefix of appends.
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    /// What it expects is looked at.
    pub(crate) expects: bool,
}

/// The broker's error.
pub(crate) struct Refused {
    pub(crate) code: u64,
    pub(crate) description: String,
}

pub(crate) struct Shelf {
    pub(crate) config: StreamConfig,
    pub(crate) incarnation: String,
    kept: BTreeMap<u64, Arc<Kept>>,
    by_subject: BTreeMap<Subject, BTreeSet<u64>>,
    last: u64,
    /// How many of the newest messages whoever looks now does not see.
    unheard: u64,
    bytes: usize,
    ids: HashMap<String, (Instant, u64)>,
    pub(crate) queues: BTreeMap<&'static str, Queue>,
    /// Moves with whatever a reader or worker may wait for.
    pub(crate) changed: watch::Sender<u64>,
}

/// A durable consumer.
pub(crate) struct Queue {
    filters: Vec<String>,
    ack_wait: Duration,
    pending_max: usize,
    /// The first sequence that was not looked at yet.
    next: u64,
    deliveries: u64,
    handed: BTreeMap<u64, Handed>,
}

/// A message that somebody has in hand, or that waits to be handed out again.
struct Handed {
    delivered: i64,
    until: Instant,
}

/// What a worker gets.
pub(crate) enum Taken {
    Message(Arc<Kept>, Pending),
    /// Nothing; when to look again although nothing changes.
    Nothing(Option<Instant>),
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

impl Shelf {
    pub(crate) fn new(config: StreamConfig, incarnation: String) -> Self {
        Self {
            config,
            incarnation,
            kept: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            last: 0,
            unheard: 0,
            bytes: 0,
            ids: HashMap::new(),
            queues: BTreeMap::new(),
            changed: watch::Sender::new(0),
        }
    }

    /// Returns the subject that something published stands under; `None` if it is not for this
    /// stream.
    pub(crate) fn stored_as<'a>(&self, published: &'a str) -> Option<&'a str> {
        let takes = |filter: &String| matches_filter(filter, published);
        self.config.subjects.iter().any(takes).then(|| {
            let own = published.strip_prefix(APPEND_PREFIX);
            own.filter(|_| self.config.subject_transform.is_some())
                .unwrap_or(published)
        })
    }

    /// Stores one message, or several of which all are stored or none. Returns the sequence of the
    /// last one.
    pub(crate) fn store(
        &mut self,
        all: Vec<Publish>,
        stored_at: Timestamp,
        now: Instant,
    ) -> Result<u64, Refused> {
        let is_batch = all.len() > 1;
        let remembers = self.config.duplicate_window;
        let mut bytes = 0;
        for one in &all {
            let known = one.headers.get(nats_header::MESSAGE_ID);
            let known = known.and_then(|id| self.ids.get(id.as_str()));
            match known.filter(|(since, _)| now.duration_since(*since) < remembers) {
                Some((_, sequence)) if !is_batch => return Ok(*sequence),
                Some(_) => {
                    return Err(Refused {
                        code: code::BATCH_DUPLICATE,
                        description: "batch publish contains duplicate message id".to_owned(),
                    });
                }
                None => {}
            }
            if one.expects {
                self.expect(one)?;
            }
            bytes += one.payload.len();
            let limit = usize::try_from(self.config.max_message_size).unwrap_or_default();
            if limit > 0 && one.payload.len() > limit {
                return Err(Refused {
                    code: MESSAGE_TOO_LARGE,
                    description: "message size exceeds maximum allowed".to_owned(),
                });
            }
        }
        let room = usize::try_from(self.config.max_bytes).unwrap_or_default();
        if room > 0 && self.bytes + bytes > room && self.config.discard == DiscardPolicy::New {
            return Err(Refused {
                code: MAXIMUM_BYTES,
                description: "maximum bytes exceeded".to_owned(),
            });
        }
        for one in all {
            self.put(one, stored_at, now);
        }
        self.changed.send_modify(|changes| *changes += 1);
        Ok(self.last)
    }

    fn expect(&self, one: &Publish) -> Result<(), Refused> {
        let Some(expected) = number(&one.headers, nats_header::EXPECTED_SEQUENCE) else {
            return Ok(());
        };
        let filter = one.headers.get(nats_header::EXPECTED_SUBJECT);
        let own = || self.stored_as(&one.subject).unwrap_or_default();
        let filter = filter.map_or_else(own, HeaderValue::as_str);
        let found = self.last(filter).map_or(0, |kept| kept.sequence);
        if found == expected {
            return Ok(());
        }
        Err(Refused {
            code: code::WRONG_LAST_SEQUENCE,
            description: format!("wrong last sequence: {found}"),
        })
    }

    fn put(&mut self, one: Publish, stored_at: Timestamp, now: Instant) {
        self.last += 1;
        let sequence = self.last;
        if let Some(id) = one.headers.get(nats_header::MESSAGE_ID) {
            self.ids.insert(id.as_str().to_owned(), (now, sequence));
        }
        let subject: Subject = self.stored_as(&one.subject).unwrap_or_default().into();
        self.bytes += one.payload.len();
        let kept = Kept {
            sequence,
            subject: subject.clone(),
            stored_at,
            headers: one.headers,
            payload: one.payload,
        };
        self.kept.insert(sequence, Arc::new(kept));
        let of_subject = self.by_subject.entry(subject).or_default();
        of_subject.insert(sequence);
        let most = usize::try_from(self.config.max_messages_per_subject).unwrap_or_default();
        if most > 0
            && of_subject.len() > most
            && let Some(oldest) = of_subject.first().copied()
        {
            self.remove(oldest);
        }
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> bool {
        let Some(kept) = self.kept.remove(&sequence) else {
            return false;
        };
        self.bytes -= kept.payload.len();
        if let Some(of_subject) = self.by_subject.get_mut(&kept.subject) {
            of_subject.remove(&sequence);
            if of_subject.is_empty() {
                self.by_subject.remove(&kept.subject);
            }
        }
        true
    }

    /// Removes what a filter matches below a sequence; 0 stands for all. Returns how much.
    pub(crate) fn purge(&mut self, filter: &str, below: u64) -> u64 {
        let below = if below == 0 { u64::MAX } else { below };
        let leaving = self.kept.range(..below);
        let leaving = leaving.filter(|(_, kept)| matches_filter(filter, &kept.subject));
        let leaving: Vec<u64> = leaving.map(|(sequence, _)| *sequence).collect();
        let removed = leaving.iter().filter(|sequence| self.remove(**sequence));
        removed.count() as u64
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        let first = self.kept.keys().next().copied();
        first.unwrap_or(if self.last == 0 { 0 } else { self.last + 1 })
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.last - self.unheard
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.range(..=self.last_sequence()).count()
    }

    /// Lets somebody look who has not heard of so many of the newest messages.
    pub(crate) fn before<T>(&mut self, unheard: u64, look: impl FnOnce(&Self) -> T) -> T {
        self.unheard = unheard.min(self.last);
        let found = look(self);
        self.unheard = 0;
        found
    }

    pub(crate) fn at(&self, sequence: u64) -> Option<&Arc<Kept>> {
        let is_heard_of = sequence <= self.last_sequence();
        self.kept.get(&sequence).filter(|_| is_heard_of)
    }

    /// The newest message that a filter matches.
    pub(crate) fn last(&self, filter: &str) -> Option<&Arc<Kept>> {
        let heard_of = ..=self.last_sequence();
        let newest = |of_subject: &BTreeSet<u64>| of_subject.range(heard_of).next_back().copied();
        let sequence = if filter == ">" {
            self.kept.range(heard_of).next_back().map(|(at, _)| *at)
        } else if filter.contains(['*', '>']) {
            let subjects = self.by_subject.iter();
            let subjects = subjects.filter(|(subject, _)| matches_filter(filter, subject));
            subjects.filter_map(|(_, all)| newest(all)).max()
        } else {
            self.by_subject.get(&Subject::from(filter)).and_then(newest)
        };
        self.kept.get(&sequence?)
    }

    /// The first message at or after a sequence that one of the filters matches; no filter stands
    /// for all.
    pub(crate) fn next(&self, filters: &[String], from: u64) -> Option<&Arc<Kept>> {
        // A range that ends before it begins is none, and a map panics at it.
        let heard_of = (from <= self.last_sequence()).then(|| from..=self.last_sequence())?;
        if let [filter] = filters
            && !filter.contains(['*', '>'])
        {
            let of_subject = self.by_subject.get(&Subject::from(filter.as_str()))?;
            return self.kept.get(of_subject.range(heard_of).next()?);
        }
        let matches = |kept: &&Arc<Kept>| {
            let mut filters = filters.iter();
            filters.len() == 0 || filters.any(|filter| matches_filter(filter, &kept.subject))
        };
        self.kept
            .range(heard_of)
            .map(|(_, kept)| kept)
            .find(matches)
    }

    /// Where the newest message of each subject that a filter matches stands, in order.
    pub(crate) fn last_per_subject(&self, filters: &[String]) -> BTreeSet<u64> {
        let subjects = self.by_subject.iter();
        let matching = subjects.filter(|(subject, _)| {
            filters.is_empty() || filters.iter().any(|filter| matches_filter(filter, subject))
        });
        let heard_of = ..=self.last_sequence();
        matching
            .filter_map(|(_, all)| all.range(heard_of).next_back().copied())
            .collect()
    }

    pub(crate) fn open_queue(
        &mut self,
        name: &'static str,
        filters: Vec<String>,
        ack_wait: Duration,
        pending_max: usize,
    ) {
        let next = self.queues.get(name).map_or(0, |queue| queue.next);
        let queue = self.queues.entry(name).or_insert_with(|| Queue {
            filters: Vec::new(),
            ack_wait,
            pending_max,
            next,
            deliveries: 0,
            handed: BTreeMap::new(),
        });
        (queue.filters, queue.ack_wait, queue.pending_max) = (filters, ack_wait, pending_max);
    }

    /// Hands out what is to be handed out again, or else what was not handed out yet.
    pub(crate) fn take(&mut self, name: &str, now: Instant) -> Taken {
        let Some(mut queue) = self.queues.remove_entry(name) else {
            return Taken::Nothing(None);
        };
        let taken = self.take_from(&mut queue.1, now);
        self.queues.insert(queue.0, queue.1);
        taken
    }

    fn take_from(&self, queue: &mut Queue, now: Instant) -> Taken {
        // Purged meanwhile: nobody can be given it again.
        queue
            .handed
            .retain(|sequence, handed| handed.until > now || self.kept.contains_key(sequence));
        let again = queue
            .handed
            .iter_mut()
            .find(|(_, handed)| handed.until <= now);
        let (kept, delivered) = if let Some((sequence, handed)) = again {
            handed.delivered += 1;
            handed.until = now + queue.ack_wait;
            (self.kept.get(sequence).cloned(), handed.delivered)
        } else if queue.handed.len() < queue.pending_max
            && let Some(kept) = self.next(&queue.filters, queue.next)
        {
            queue.next = kept.sequence + 1;
            let until = now + queue.ack_wait;
            let handed = Handed {
                delivered: 1,
                until,
            };
            queue.handed.insert(kept.sequence, handed);
            (Some(Arc::clone(kept)), 1)
        } else {
            (None, 0)
        };
        let Some(kept) = kept else {
            return Taken::Nothing(queue.handed.values().map(|handed| handed.until).min());
        };
        queue.deliveries += 1;
        let pending = Pending {
            sequence: kept.sequence,
            consumer_sequence: queue.deliveries,
            delivered,
            left: u64::from(self.next(&queue.filters, queue.next).is_some()),
        };
        Taken::Message(kept, pending)
    }

    /// Takes a message from those in hand: done.
    pub(crate) fn done(&mut self, name: &str, sequence: u64) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let was_handed = queue.handed.remove(&sequence).is_some();
        if was_handed && self.config.retention == RetentionPolicy::WorkQueue {
            self.remove(sequence);
        }
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Lets a message be handed out again at a time.
    pub(crate) fn again(&mut self, name: &str, sequence: u64, at: Instant) {
        let queue = self.queues.get_mut(name);
        if let Some(handed) = queue.and_then(|queue| queue.handed.get_mut(&sequence)) {
            handed.until = at;
        }
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// How long a worker may be silent.
    pub(crate) fn ack_wait(&self, name: &str) -> Duration {
        self.queues
            .get(name)
            .map_or(Duration::ZERO, |queue| queue.ack_wait)
    }

    /// Not handed out yet, and in hand.
    pub(crate) fn waiting(&self, name: &str) -> (u64, usize) {
        let Some(queue) = self.queues.get(name) else {
            return (0, 0);
        };
        let (mut waiting, mut from) = (0, queue.next);
        while let Some(kept) = self.next(&queue.filters, from) {
            waiting += 1;
            from = kept.sequence + 1;
        }
        (waiting, queue.handed.len())
    }

    /// Up to which sequence all queues are done.
    pub(crate) fn worked_through(&self) -> Option<u64> {
        let done = |queue: &Queue| {
            let first = queue.handed.keys().next();
            first.map_or(queue.next.saturating_sub(1), |first| first - 1)
        };
        self.queues.values().map(done).min()
    }
}
