//! Where the archive and its read models are kept: the interface, and what can go wrong.
//!
//! Only modules in here know SQL. A store keeps rows and checks positions; it computes no hash
//! and interprets no event. Every store must pass the suite in `contract`.
//!
//! Whoever adds a derived table names it in `rebuild::READ_MODELS`; there stands what else that takes.

mod backend;
mod conversations;
mod copy;
mod erase;
mod figures;
mod gate;
mod heads;
mod messages;
mod postgres;
mod read;
mod rebuild;
mod sealed;
mod search;
mod sql;
mod sqlite;
mod text;
mod watch;

#[cfg(test)]
mod contract;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use casement_domain::conversation::Status;
use casement_event::v1::{DeliveryStatus, MessageOutcome, Route, ThreadOwner, WindowState};
use casement_proto::message::v1::MessageState;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::migrate::Migrator;

use crate::batch::Batch;
use crate::chain::Head;
use crate::inspect::ArchiveHead;
use crate::keys::KeyError;
use crate::model::{Conversation, ConversationKey, Message, Row};
use crate::tally::AsOf;

pub(crate) use erase::{Erased, Erasing};
pub(crate) use figures::{
    ActFilter, Acted, Contact, FigureStore, Figured, Generation, RecordKind, Recorded, Sum,
    SumFilter, SumKey,
};
pub(crate) use gate::open as open_behind;
pub use gate::{Gate, SharedGate, StoreCall};
pub(crate) use heads::{HeadFilter, HeadKey, Heads, KeptHead, Life, Place};
pub(crate) use postgres::Postgres;
#[cfg(test)]
pub(crate) use rebuild::RESTART as RESTART_REBUILD;
pub(crate) use rebuild::{Rebuild, Rebuilding, is_newer_than, versions};
pub(crate) use search::{Found, SearchFilter, SearchKey};
pub(crate) use sqlite::Sqlite;
pub(crate) use watch::WatchStore;

/// A store as it is passed around.
pub(crate) type SharedStore = Arc<dyn Store>;

/// Something did not work out with the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The chain has moved on, or back. Nothing was changed: load the position and begin again.
    #[error("archive stands at another position")]
    Moved,
    /// The database is away, full or refuses. What was to be written may have been, or not.
    #[error("database failed to {operation}")]
    Database {
        operation: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is sealed cannot be sealed or opened with the master keys that are there.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// More conversations moved than a list can follow.
    #[error("more conversations have moved since the list began than it can follow")]
    Outrun,
    /// A row holds what was never written.
    #[error("{column} of table {table} cannot be read: {problem}")]
    Inconsistent {
        table: &'static str,
        column: &'static str,
        problem: String,
    },
}

fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| Error::Database {
        operation,
        source: source.into(),
    }
}

/// Migrations by version, with their checksums.
pub(crate) type Applied = BTreeMap<i64, Vec<u8>>;

/// Returns what is there once all migrations are applied.
fn applied(migrations: &Migrator) -> Applied {
    migrations
        .iter()
        .map(|migration| (migration.version, migration.checksum.to_vec()))
        .collect()
}

/// Returns how far each chain has come.
async fn heads(store: &dyn Store) -> Result<Vec<ArchiveHead>, Error> {
    let chains = store.chains(None).await?;
    let heads = chains.into_iter().filter_map(|chain| {
        Some(ArchiveHead {
            last_sequence: chain.head?.last_sequence,
            stream: chain.stream,
            incarnation: chain.incarnation,
        })
    });
    Ok(heads.collect())
}

type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// What the role asks of its database.
pub(crate) trait Store:
    Erasing + FigureStore + Heads + Rebuilding + WatchStore + Debug + Send + Sync
{
    /// Returns the name of the database system, as traces have it.
    fn system(&self) -> &'static str;

    /// Returns where a chain stands.
    fn head<'a>(&'a self, stream: &'a str, incarnation: &'a str) -> Answer<'a, Option<Head>>;

    /// Archives a batch, projects it and advances the chain, all or nothing.
    ///
    /// Refuses with [`Error::Moved`] unless the chain stands exactly at `batch.before`.
    fn append<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()>;

    /// Returns the chains of one stream, or of all: as their heads say, and also such as have
    /// rows but no head.
    fn chains<'a>(&'a self, stream: Option<&'a str>) -> Answer<'a, Vec<Chain>>;

    /// Returns rows in the order of stream, incarnation and sequence.
    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
        after: Option<&'a EventKey>,
        limit: Limit,
    ) -> Answer<'a, Page<Row>>;

    /// Returns rows of a conversation, newest fact first, each fact once.
    fn timeline<'a>(
        &'a self,
        of: &'a ConversationKey,
        before: Option<&'a TimelineKey>,
        limit: Limit,
    ) -> Answer<'a, Page<Row>>;

    /// Returns a conversation.
    fn conversation<'a>(&'a self, key: &'a ConversationKey) -> Answer<'a, Option<Conversation>>;

    /// Returns conversations in the order that is asked for.
    fn conversations<'a>(
        &'a self,
        filter: &'a ConversationFilter,
        after: Option<&'a ListKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Conversation>>;

    /// Returns what has all the words that are looked for, newest first.
    fn search<'a>(
        &'a self,
        filter: &'a SearchFilter,
        before: Option<&'a SearchKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Found>>;

    /// Returns the numbers that have conversations, each with its brand, `numbers_max` at most.
    fn numbers(&self, numbers_max: usize) -> Answer<'_, Vec<(String, String)>>;

    /// Returns the notes that mention a colleague, newest first.
    fn mentions<'a>(
        &'a self,
        colleague: &'a str,
        brand_id: Option<&'a str>,
        before: Option<&'a TimelineKey>,
        limit: Limit,
    ) -> Answer<'a, Page<Row>>;

    /// Returns an outbound message.
    fn message<'a>(&'a self, message_id: &'a str) -> Answer<'a, Option<Message>>;

    /// Returns outbound messages, the newest request first.
    fn messages<'a>(
        &'a self,
        filter: &'a MessageFilter,
        before: Option<&'a RequestKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Message>>;

    /// Counts what a brand asked for from one time on and before another, by what became of it.
    fn figures<'a>(
        &'a self,
        brand_id: &'a str,
        from: Timestamp,
        until: Timestamp,
    ) -> Answer<'a, Vec<Figure>>;

    /// Returns how many windows of a brand are open at a time.
    fn open_windows<'a>(&'a self, brand_id: &'a str, now: Timestamp) -> Answer<'a, u64>;

    /// Returns messages that ended before a time and still stand on the log, in that order.
    fn ended_messages<'a>(
        &'a self,
        before: Timestamp,
        after: Option<&'a EndKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<EndKey>>;

    /// Records that a message has left the log, unless something was archived for it after
    /// `archived`.
    fn mark_purged<'a>(&'a self, message_id: &'a str, archived: u64) -> Answer<'a, ()>;

    /// Returns the next business number that has rows, in their order.
    fn number_after<'a>(&'a self, number: &'a str) -> Answer<'a, Option<String>>;

    /// Destroys the keys of customers. From then on nobody reads what is sealed under them, here
    /// or in another process, nothing more is kept of what comes of these customers, and none of
    /// them ever has a key again. What is looked up by and not sealed stays for its owner to
    /// remove. Safe to repeat.
    #[cfg(test)]
    fn destroy_keys<'a>(&'a self, customers: &'a [String], at: Timestamp) -> Answer<'a, ()>;

    /// Counts keys of customers that are not wrapped under the first master key.
    fn old_keys_count(&self) -> Answer<'_, u64>;

    /// Wraps some of those anew, and returns how many; 0 if none is left.
    fn rewrap_keys(&self, keys_max: usize) -> Answer<'_, usize>;

    /// Seals some rows that were archived before there were keys, in one transaction, and returns
    /// how many; 0 if nothing is left.
    fn seal_next(&self, rows_max: usize) -> Answer<'_, usize>;

    /// Counts the rows that were archived before there were keys and are not sealed yet.
    fn unsealed_count(&self) -> Answer<'_, u64>;

    /// Ends all connections, once those that are in use are given back. What is in a file is whole in it
    /// then, and can be copied or moved alone. Whatever is asked for later fails.
    fn close(&self) -> Answer<'_, ()>;
}

/// One chain of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    /// `None` if it has rows but no head.
    pub(crate) head: Option<Head>,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) rows_max: usize,
    /// Of headers and payloads. At least one row is read, however large.
    pub(crate) bytes_max: usize,
}

/// What was read, up to a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// Whether the limit cut it off.
    pub(crate) has_more: bool,
}

/// Which events are asked for. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventFilter {
    pub(crate) stream: Option<String>,
    pub(crate) incarnation: Option<String>,
    pub(crate) subject_prefix: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) customer_id: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) brand_id: Option<String>,
    pub(crate) sequence_max: Option<u64>,
}

/// Place of a row in the order of streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventKey {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
}

impl EventKey {
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            stream: row.stored.stream.clone(),
            incarnation: row.stored.incarnation.clone(),
            sequence: row.stored.sequence,
        }
    }
}

/// Place of a row in a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimelineKey {
    pub(crate) stored_time: Timestamp,
    pub(crate) event: EventKey,
}

impl TimelineKey {
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            stored_time: row.stored.stored_at,
            event: EventKey::of(row),
        }
    }
}

/// Which conversations are asked for. What is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConversationFilter {
    /// Any of them; all if empty.
    pub(crate) numbers: Vec<String>,
    pub(crate) brand_id: Option<String>,
    /// As of `now`: [`Conversation::window`].
    pub(crate) window_state: Option<WindowState>,
    pub(crate) now: Timestamp,
    pub(crate) expire_time_max: Option<Timestamp>,
    /// After this.
    pub(crate) expire_time_start: Option<Timestamp>,
    pub(crate) is_waiting: Option<bool>,
    pub(crate) waiting_since_max: Option<Timestamp>,
    /// Any of them; all if empty.
    pub(crate) thread_owners: Vec<ThreadOwner>,
    /// Any of them, as of `now`; all if empty.
    pub(crate) statuses: Vec<Status>,
    pub(crate) assignee: Option<String>,
    pub(crate) is_assigned: Option<bool>,
    pub(crate) is_unread: Option<bool>,
    pub(crate) is_closed: Option<bool>,
    /// All of them.
    pub(crate) labels: Vec<String>,
    pub(crate) order: Order,
    /// In the order of that moment; `None` for the present.
    pub(crate) as_of: Option<AsOf>,
}

/// In which order conversations are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// By when their windows end; at last those that never had one.
    #[default]
    Expiry,
    /// By when the log took the newest of their customers, newest first; at last those who were
    /// never heard.
    Heard,
    /// By since when their customers wait, the longest first; at last those who do not.
    Waiting,
}

/// Place of a conversation in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListKey {
    /// As the order has it, in nanoseconds.
    pub(crate) place: i64,
    pub(crate) key: ConversationKey,
}

impl ListKey {
    /// Returns where a conversation stands in a list; nowhere, if it is newer than the list.
    pub(crate) fn of(conversation: &Conversation, filter: &ConversationFilter) -> Option<Self> {
        let places = conversation
            .tally
            .places(filter.as_of, conversation.places())?;
        Some(Self {
            place: match filter.order {
                Order::Expiry => places.expiry,
                Order::Heard => places.heard,
                Order::Waiting => places.waiting,
            },
            key: conversation.key.clone(),
        })
    }
}

/// Which messages are asked for. What is `None` or empty does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MessageFilter {
    pub(crate) brand_id: Option<String>,
    pub(crate) number: Option<String>,
    pub(crate) customer_id: Option<String>,
    /// Any of them.
    pub(crate) states: Vec<MessageState>,
    /// Any of them.
    pub(crate) outcomes: Vec<MessageOutcome>,
    pub(crate) reason: Option<String>,
    /// All of them: [`crate::terms`].
    pub(crate) terms: Vec<String>,
    pub(crate) request_time_min: Option<Timestamp>,
    /// Before this.
    pub(crate) request_time_end: Option<Timestamp>,
}

impl MessageFilter {
    /// Returns whether a message is meant.
    pub(crate) fn matches(&self, message: &Message) -> bool {
        let is = |wanted: &Option<String>, found: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let terms = || crate::terms::of(message);
        let requested_at = message.request_time;
        is(&self.brand_id, &message.brand_id)
            && is(&self.number, &message.key.number)
            && is(&self.customer_id, &message.key.customer_id)
            && (self.states.is_empty() || self.states.contains(&message.state))
            && (self.outcomes.is_empty() || self.outcomes.contains(&message.outcome))
            && is(&self.reason, &message.reason)
            && (self.terms.is_empty() || {
                let found = terms();
                self.terms.iter().all(|term| found.contains(term))
            })
            && self
                .request_time_min
                .is_none_or(|min| requested_at.is_some_and(|at| at >= min))
            && self
                .request_time_end
                .is_none_or(|end| requested_at.is_some_and(|at| at < end))
    }
}

/// Messages of a brand to which the same became, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) state: MessageState,
    pub(crate) outcome: MessageOutcome,
    /// Of the newest attempt.
    pub(crate) route: Route,
    pub(crate) delivery_status: DeliveryStatus,
    pub(crate) message_count: u64,
    /// What they cost so far, in millionths of the currency.
    pub(crate) cost_micros: u64,
    /// Empty for what has no price.
    pub(crate) currency: String,
}

/// Place of a message in the order of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestKey {
    pub(crate) request_time: Timestamp,
    pub(crate) message_id: String,
}

impl RequestKey {
    /// Where a message stands; `None` of one that was never asked for.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        Some(Self {
            request_time: message.request_time?,
            message_id: message.id.clone(),
        })
    }
}

/// Place of a message in the order of ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndKey {
    pub(crate) end_time: Timestamp,
    pub(crate) message_id: String,
}
