//! Where figures are kept, how numbers stand, and who did what: questions, and what one step of
//! counting writes.
//!
//! All of it has a generation: a new one is counted beside the one that is served, and takes its
//! place once it is complete. Each transaction moves the revision of its generation on, and fails
//! as a whole if another process did meanwhile.

mod ask;
mod write;

use std::collections::BTreeMap;
use std::fmt::Debug;

use casement_proto::message::v1::MessageState;
use jiff::Timestamp;

use super::sql::Value;
use super::{Answer, Error, EventKey};
use crate::figures::{Item, Measure, Thing};

/// Most rows of one statement, so that its parameters stay within what databases take.
const ROWS_MAX: usize = 500;

/// One counting of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) id: i64,
    pub(crate) version: i64,
    /// Up to which wish to have everything made anew.
    pub(crate) ask: u64,
    pub(crate) revision: i64,
    pub(crate) is_served: bool,
}

/// Where a sum stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SumKey {
    pub(crate) brand_id: String,
    pub(crate) label: String,
    pub(crate) quarter: i64,
    pub(crate) number: String,
    pub(crate) measure: &'static str,
    pub(crate) detail: String,
}

/// A customer of a portfolio who was written to outside their window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) portfolio_id: String,
    pub(crate) customer_id: String,
    pub(crate) at_ns: i64,
}

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RecordKind {
    Brand,
    Number,
    Health,
    Template,
    Halt,
}

impl RecordKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Brand => "brand",
            Self::Number => "number",
            Self::Health => "health",
            Self::Template => "template",
            Self::Halt => "halt",
        }
    }
}

/// The newest record of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) kind: RecordKind,
    pub(crate) name: String,
    pub(crate) stored_ns: i64,
    /// Empty if it is no longer so.
    pub(crate) record: Vec<u8>,
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acted {
    /// Its name: the event's id.
    pub(crate) act: String,
    pub(crate) time_ns: i64,
    pub(crate) event_type: String,
    pub(crate) caller: String,
    pub(crate) author: String,
    pub(crate) brand_id: String,
    pub(crate) number: String,
    pub(crate) target: String,
    pub(crate) reason: String,
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
}

/// What a step of counting changes.
#[derive(Debug, Default)]
pub(crate) struct Figured {
    /// By name, as JSON.
    pub(crate) things: Vec<(String, String)>,
    /// By how much.
    pub(crate) sums: Vec<(SumKey, i64)>,
    /// By number, minute and measure: by how much.
    pub(crate) minutes: Vec<((String, i64, &'static str), i64)>,
    /// By number, in nanoseconds.
    pub(crate) webhooks: Vec<(String, i64)>,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) records: Vec<Recorded>,
    pub(crate) acts: Vec<Acted>,
}

/// Which sums are asked for. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SumFilter {
    pub(crate) brand_id: Option<String>,
    pub(crate) number: Option<String>,
    /// As [`FigureStore::label_digest`] has it; empty for all traffic.
    pub(crate) label: String,
    /// Any of them; all if empty.
    pub(crate) measures: Vec<Measure>,
    /// Any of them; all if empty.
    pub(crate) details: Vec<String>,
}

/// What is left of a sum once its quarters are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) brand_id: String,
    pub(crate) number: String,
    pub(crate) measure: Measure,
    pub(crate) detail: String,
    pub(crate) value: i64,
}

/// Which acts are asked for. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ActFilter {
    pub(crate) brand_id: Option<String>,
    pub(crate) caller: Option<String>,
    pub(crate) author: Option<String>,
    /// Any of them; all if empty.
    pub(crate) event_types: Vec<String>,
    /// None of them.
    pub(crate) without_type: Option<&'static str>,
    pub(crate) since: Option<Timestamp>,
    /// Before this.
    pub(crate) until: Option<Timestamp>,
}

/// What counting and those who ask for figures need of a store.
pub(crate) trait FigureStore: Debug + Send + Sync {
    /// Returns what stands for a label, which callers may have put anything into; nothing for none.
    fn label_digest(&self, label: &str) -> Result<String, Error>;

    /// Returns the generations that are there, the oldest first.
    fn generations(&self) -> Answer<'_, Vec<Generation>>;

    /// Begins a generation, unless another process did.
    fn begin_generation(&self, of: Generation) -> Answer<'_, ()>;

    /// Has a generation take the place of those before it, whose rows are dropped.
    fn serve_generation(&self, of: Generation) -> Answer<'_, ()>;

    /// Returns how far a generation has counted each chain.
    fn figure_cursors(&self, generation: i64) -> Answer<'_, Vec<EventKey>>;

    /// Returns what is known of things.
    fn figure_things<'a>(
        &'a self,
        generation: i64,
        names: &'a [String],
    ) -> Answer<'a, BTreeMap<String, Thing>>;

    /// Writes what a step changes and how far it came, all or nothing. Fails if another process
    /// has gone on meanwhile.
    fn write_figures<'a>(
        &'a self,
        of: Generation,
        figured: &'a Figured,
        through: &'a EventKey,
    ) -> Answer<'a, ()>;

    /// Drops minutes before one.
    fn drop_minutes(&self, before: i64) -> Answer<'_, ()>;

    /// Adds up quarters from one on and before another.
    fn sums<'a>(
        &'a self,
        generation: i64,
        filter: &'a SumFilter,
        quarters: (i64, i64),
    ) -> Answer<'a, Vec<Sum>>;

    /// Returns the last quarter of a range that has anything.
    fn last_quarter<'a>(
        &'a self,
        generation: i64,
        filter: &'a SumFilter,
        quarters: (i64, i64),
    ) -> Answer<'a, Option<i64>>;

    /// Returns what numbers did by the minute, from one on: number, minute, measure, value.
    fn minutes<'a>(
        &'a self,
        generation: i64,
        numbers: &'a [String],
        since: i64,
    ) -> Answer<'a, Vec<(String, i64, Measure, i64)>>;

    /// Returns when the newest webhook of each number was received, in nanoseconds.
    fn webhooks<'a>(
        &'a self,
        generation: i64,
        numbers: &'a [String],
    ) -> Answer<'a, BTreeMap<String, i64>>;

    /// Counts the customers of portfolios who were written to outside their windows since a time.
    fn contacts<'a>(
        &'a self,
        generation: i64,
        portfolios: &'a [String],
        since: Timestamp,
    ) -> Answer<'a, BTreeMap<String, i64>>;

    /// Returns all records of a kind, by name. What is no longer so is left out.
    fn records(&self, generation: i64, kind: RecordKind) -> Answer<'_, Vec<(String, Vec<u8>)>>;

    /// Returns acts, the newest first, from before one: its time in nanoseconds, and its name.
    fn acts<'a>(
        &'a self,
        generation: i64,
        filter: &'a ActFilter,
        before: Option<&'a (i64, String)>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Acted>>;

    /// Counts windows of numbers that are open at a time.
    fn open_windows_of<'a>(
        &'a self,
        numbers: &'a [String],
        now: Timestamp,
    ) -> Answer<'a, BTreeMap<String, i64>>;

    /// Counts messages of numbers that are in a state.
    fn messages_in<'a>(
        &'a self,
        numbers: &'a [String],
        state: MessageState,
    ) -> Answer<'a, BTreeMap<String, i64>>;

    /// Counts messages by their state, in any of some.
    fn count_messages<'a>(
        &'a self,
        brand_id: Option<&'a String>,
        number: Option<&'a String>,
        states: &'a [MessageState],
    ) -> Answer<'a, u64>;
}

fn text_value(text: &str) -> Value {
    Value::Text(text.to_owned())
}

impl Item {
    /// Where it is added.
    pub(crate) fn key(self) -> (SumKey, i64) {
        let key = SumKey {
            brand_id: self.brand_id,
            label: self.label,
            quarter: self.minute.div_euclid(15),
            number: self.number,
            measure: self.measure.as_str(),
            detail: self.detail,
        };
        (key, self.value)
    }
}
