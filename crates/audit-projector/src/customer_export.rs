//! All that is held of a customer, line by line.
//!
//! It walks the archive, the read models and, as far as they are still there, the posts as they
//! were received, under every id that proved to be the same customer. It decides nothing about who
//! may ask, and records nothing: `grpc::customer_export` does.

mod lines;
mod post;

use std::collections::{BTreeSet, HashSet};

use casement_domain::id::CustomerId;
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_event_log::{Log, ReadError};
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::export_customer_response::Line;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::grpc::{conversation, messages};
use crate::model::{Content, ConversationKey, Row};
use crate::store::{self, Limit, MessageFilter, RequestKey, SharedStore, TimelineKey};

/// Rows read at once.
const LIMIT: Limit = Limit {
    rows_max: 256,
    bytes_max: 4 * 1024 * 1024,
};

/// Messages read at once.
const MESSAGES_MAX: usize = 256;

/// How many ids may have proved to be one customer.
const CUSTOMERS_MAX: usize = 256;

/// How many posts are remembered, so that one that brought several facts is told once.
const POSTS_MAX: usize = 100_000;

/// An export broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("log cannot be read")]
    Read(#[from] ReadError),
    #[error("more than {CUSTOMERS_MAX} ids proved to be this customer")]
    Boundless,
    /// Whoever asked is gone.
    #[error("nobody reads the export any more")]
    Unread,
}

/// Where lines go.
pub(crate) type Sink = mpsc::Sender<Line>;

/// Whose export it is.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Who carries on first, then whoever proved to be the same.
    pub(crate) customers: Vec<CustomerId>,
    /// Only what belongs to this brand, and what belongs to none.
    pub(crate) brand_id: Option<String>,
}

/// Walks what is held.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) store: SharedStore,
    pub(crate) log: Log,
    pub(crate) now: Timestamp,
}

impl Walk {
    /// Returns everybody who proved to be this customer, this one first.
    pub(crate) async fn customers(&self, who: CustomerId) -> Result<Vec<CustomerId>, ExportError> {
        let mut known = BTreeSet::from([who.clone()]);
        let mut all = vec![who];
        let mut at = 0;
        while let Some(customer) = all.get(at).cloned() {
            at += 1;
            let key = without_number(&customer);
            let mut found = Vec::new();
            self.rows(&key, |row| {
                if let Some(Event::CustomerLinked(link)) = row.event()
                    && link.kind == lines::MERGED
                {
                    found.extend(CustomerId::parse(&link.identifier).ok());
                }
            })
            .await?;
            for customer in found {
                if known.insert(customer.clone()) {
                    all.push(customer);
                }
            }
            if all.len() > CUSTOMERS_MAX {
                return Err(ExportError::Boundless);
            }
        }
        Ok(all)
    }

    /// Returns whether anything is held that may be handed out: of a caller of one brand, a
    /// conversation with that brand.
    pub(crate) async fn is_held(&self, held: &Held) -> Result<bool, ExportError> {
        let mut number = String::new();
        loop {
            for customer in &held.customers {
                let key = ConversationKey {
                    number: number.clone(),
                    customer_id: customer.as_str().to_owned(),
                };
                let is_there = match &held.brand_id {
                    Some(brand_id) => {
                        let found = self.store.conversation(&key).await?;
                        found.is_some_and(|found| found.brand_id == *brand_id)
                    }
                    None => !self
                        .store
                        .timeline(&key, None, LIMIT)
                        .await?
                        .rows
                        .is_empty(),
                };
                if is_there {
                    return Ok(true);
                }
            }
            match self.store.number_after(&number).await? {
                Some(next) => number = next,
                None => return Ok(false),
            }
        }
    }

    /// Hands out all lines but the manifest.
    pub(crate) async fn run(&self, held: &Held, sink: &Sink) -> Result<(), ExportError> {
        let mut out = Out {
            sink,
            end: proto::CustomerExportEnd::default(),
            posts: HashSet::new(),
            identifiers: BTreeSet::new(),
        };
        // What belongs to no number first: it says what the customer was called, by which posts
        // are told apart.
        let mut number = String::new();
        loop {
            for customer in &held.customers {
                let key = ConversationKey {
                    number: number.clone(),
                    customer_id: customer.as_str().to_owned(),
                };
                self.conversation(held, &key, &mut out).await?;
            }
            match self.store.number_after(&number).await? {
                Some(next) => number = next,
                None => break,
            }
        }
        for customer in &held.customers {
            self.messages(held, customer, &mut out).await?;
        }
        let end = Line::End(out.end);
        sink.send(end).await.map_err(|_| ExportError::Unread)
    }

    async fn conversation(
        &self,
        held: &Held,
        key: &ConversationKey,
        out: &mut Out<'_>,
    ) -> Result<(), ExportError> {
        if let Some(found) = self.store.conversation(key).await?
            && held.may_tell(&found.brand_id)
        {
            out.end.conversation_count += 1;
            let shown = conversation::shown(&found, self.now);
            out.tell(Line::Conversation(shown)).await?;
        }
        let mut before: Option<TimelineKey> = None;
        loop {
            let page = self.store.timeline(key, before.as_ref(), LIMIT).await?;
            for row in &page.rows {
                if held.may_tell(&row.index.brand_id) {
                    self.row(row, out).await?;
                }
            }
            before = page.rows.last().map(TimelineKey::of).or(before);
            if !page.has_more {
                return Ok(());
            }
        }
    }

    async fn row(&self, row: &Row, out: &mut Out<'_>) -> Result<(), ExportError> {
        out.end.event_count += 1;
        out.end.erased_count += u64::from(row.content == Content::Erased);
        out.tell(Line::Event(lines::event(row))).await?;
        let Some(event) = row.event() else {
            return Ok(());
        };
        match &event {
            Event::CustomerLinked(link) if link.kind != lines::MERGED => {
                out.identifiers.insert(link.identifier.clone());
                out.end.identifier_count += 1;
                out.tell(Line::Identifier(lines::identifier(link))).await?;
            }
            Event::ConsentRecorded(consent) => {
                out.end.consent_count += 1;
                out.tell(Line::Consent(consent.clone())).await?;
            }
            Event::MediaStored(stored) => {
                out.end.media_count += 1;
                out.tell(Line::Media(lines::media(stored))).await?;
            }
            _ => {}
        }
        if let Some(origin) = lines::origin(&event) {
            self.post(&origin, out).await?;
        }
        Ok(())
    }

    /// Tells the part of a post that a fact came from, if the log still has it.
    async fn post(&self, origin: &v1::RawOrigin, out: &mut Out<'_>) -> Result<(), ExportError> {
        let place = (origin.sequence, origin.post, origin.path.clone());
        if origin.sequence == 0 || out.posts.contains(&place) {
            return Ok(());
        }
        if out.posts.len() < POSTS_MAX {
            out.posts.insert(place);
        }
        let stored = self.log.get(stream::RAW, origin.sequence).await?;
        let pack = stored.and_then(|stored| match stored.event().ok()? {
            Event::RawPack(pack) => Some(pack),
            _ => None,
        });
        let index = usize::try_from(origin.post).unwrap_or(usize::MAX);
        let post = pack.and_then(|pack| pack.posts.into_iter().nth(index));
        let Some(post) = post else {
            out.end.raw_post_gone_count += 1;
            return Ok(());
        };
        out.end.raw_post_count += 1;
        let line = post::line(origin, &post, &out.identifiers);
        out.tell(Line::RawPost(line)).await
    }

    async fn messages(
        &self,
        held: &Held,
        customer: &CustomerId,
        out: &mut Out<'_>,
    ) -> Result<(), ExportError> {
        let filter = MessageFilter {
            customer_id: Some(customer.as_str().to_owned()),
            brand_id: held.brand_id.clone(),
            ..MessageFilter::default()
        };
        let mut before: Option<RequestKey> = None;
        loop {
            let messages = self.store.messages(&filter, before.as_ref(), MESSAGES_MAX);
            let messages = messages.await?;
            let is_last = messages.len() < MESSAGES_MAX;
            before = messages.last().and_then(RequestKey::of).or(before);
            for message in messages {
                out.end.message_count += 1;
                let shown = messages::shown(message);
                out.tell(Line::Message(shown)).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Shows all rows of a conversation, newest first.
    pub(crate) async fn rows(
        &self,
        key: &ConversationKey,
        mut show: impl FnMut(&Row) + Send,
    ) -> Result<(), ExportError> {
        let mut before: Option<TimelineKey> = None;
        loop {
            let page = self.store.timeline(key, before.as_ref(), LIMIT).await?;
            page.rows.iter().for_each(&mut show);
            before = page.rows.last().map(TimelineKey::of).or(before);
            if !page.has_more {
                return Ok(());
            }
        }
    }
}

impl Held {
    fn may_tell(&self, brand_id: &str) -> bool {
        let is_theirs = |own: &String| own == brand_id || brand_id.is_empty();
        self.brand_id.as_ref().is_none_or(is_theirs)
    }
}

/// Where what belongs to a customer stands and to no number: links, consent.
pub(crate) fn without_number(customer: &CustomerId) -> ConversationKey {
    ConversationKey {
        number: String::new(),
        customer_id: customer.as_str().to_owned(),
    }
}

/// Lines on their way out, counted.
struct Out<'a> {
    sink: &'a Sink,
    end: proto::CustomerExportEnd,
    /// Told or gone.
    posts: HashSet<(u64, u32, String)>,
    /// What the customer was called.
    identifiers: BTreeSet<String>,
}

impl Out<'_> {
    async fn tell(&mut self, line: Line) -> Result<(), ExportError> {
        let sent = self.sink.send(line).await;
        sent.map_err(|_| ExportError::Unread)
    }
}
