//! Where colleagues handle conversations: what they wish is decided on the present, and appended.
//!
//! The present of a conversation is its row in the archive, once that reaches as far as the note
//! subject on the log: the log forgets, the archive does not. What is appended expects that
//! subject as it was, so of two who decide at once one has to look again. What rules there are
//! stands in the domain; nothing here sends anything to anybody.

mod record;

use casement_domain::conversation::{Action, Colleague, Moment, Note, Refusal, Seen, decide};
use casement_domain::id::{BusinessNumber, CustomerId, PortfolioId};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, id};
use casement_event_log::conversation::{self, Key, PresentError};
use casement_event_log::{AppendError, Expect, Log, Position, ReadError};
use casement_shell::SharedClock;
use rand::random;

use crate::model::{Conversation, ConversationKey, Handled, RowPosition};
use crate::progress::{NotReached, Progress};
use crate::said::{Said, said_at};
use crate::store::{self, EventFilter, Limit, SharedStore};
use crate::tally;

pub(crate) use record::{Deed, note_of};

/// How often a wish that others overtook is decided anew.
const DECISION_COUNT_MAX: u32 = 16;

/// Reads one row.
const ONE: Limit = Limit {
    rows_max: 1,
    bytes_max: usize::MAX,
};

/// What a colleague wishes.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) key: ConversationKey,
    /// Whose conversation it must be; `None` for any brand's.
    pub(crate) brand_id: Option<String>,
    pub(crate) author: Colleague,
    /// The name of the token.
    pub(crate) caller: String,
    /// Empty for none.
    pub(crate) request_id: String,
    /// Empty for none.
    pub(crate) etag: String,
    pub(crate) deed: Deed,
}

/// What came of a wish.
#[derive(Debug)]
pub(crate) struct Done {
    /// As it is afterwards.
    pub(crate) conversation: Conversation,
    /// Of what was done; of what was done last, if there was nothing to do.
    pub(crate) position: Option<RowPosition>,
    /// The event, unless there was nothing to do.
    pub(crate) event: Option<Event>,
}

/// Why a wish was not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    #[error("no conversation of this number with this customer is known")]
    Unknown,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("request id was used for something else in this conversation")]
    RequestIdReused,
    #[error("conversation kept changing for {DECISION_COUNT_MAX} decisions")]
    Contended,
    #[error("archive does not reach as far as the log")]
    Behind(#[source] NotReached),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("log cannot be read")]
    Read(#[from] ReadError),
    #[error("who carries the conversation on is not known")]
    Survivor(#[from] PresentError),
    #[error("event was not appended")]
    Append(#[source] AppendError),
}

/// The log and the archive together.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) log: Log,
    pub(crate) store: SharedStore,
    pub(crate) progress: Progress,
    pub(crate) clock: SharedClock,
}

impl Desk {
    /// Decides and appends until it is so.
    pub(crate) async fn fulfil(&self, wish: &Wish) -> Result<Done, DeskError> {
        self.conversation(&wish.key, wish).await?;
        let portfolio = self.portfolio(&wish.key).await?;
        let key = self.survivor(&wish.key, portfolio.as_ref()).await?;
        let portfolio = portfolio.map_or_else(String::new, |id| id.as_str().to_owned());
        let (number, customer) = (&key.number, &key.customer);
        let subject = subject::conversation(Family::Note, number, customer);
        let request_id = match wish.request_id.as_str() {
            "" => format!("{:032x}", random::<u128>()),
            request_id => format!("request/{request_id}"),
        };
        let event_id = id::colleague(number, customer, &request_id);
        let key = ConversationKey {
            number: number.digits().to_owned(),
            customer_id: customer.as_str().to_owned(),
        };
        for _ in 0..DECISION_COUNT_MAX {
            let sequence = self.present(&subject).await?;
            let row = self.conversation(&key, wish).await?;
            if !wish.request_id.is_empty()
                && let Some(done) = self.done_before(wish, &event_id.to_string(), &row).await?
            {
                return Ok(done);
            }
            let now = self.clock.now();
            let moment = Moment {
                by: &wish.author,
                now,
                heard: row.heard_time,
                seen: seen(&wish.etag, &row),
            };
            let mut after = decide(&row.handling, &wish.deed.actions(), &moment)?;
            if let Deed::Note(_) = &wish.deed {
                after.note_count += 1;
            } else if after == row.handling {
                return Ok(Done {
                    position: position_of(&row),
                    conversation: row,
                    event: None,
                });
            }
            let record = record::of(wish, &subject, &row, &after, event_id, &portfolio, now);
            let event = record.event.clone();
            let expected = Expect::last(subject.clone(), sequence);
            match self.log.append(record, expected).await {
                Ok(position) => {
                    let said = said_at(&event, &event_id.to_string(), now);
                    return Ok(done(row, after, position, event, said.as_ref()));
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(DeskError::Append(error)),
            }
        }
        Err(DeskError::Contended)
    }

    /// Returns where the newest event of colleagues stands, 0 for none, once the archive has it.
    async fn present(&self, subject: &str) -> Result<u64, DeskError> {
        let Some(last) = self.log.last(stream::EVENTS, subject).await? else {
            // None was ever there, or the archive has them all.
            return Ok(0);
        };
        let position = Position {
            stream: last.stream,
            incarnation: last.incarnation,
            sequence: last.sequence,
        };
        let reached = self.progress.reach(&position.to_string()).await;
        reached.map_err(DeskError::Behind)?;
        Ok(position.sequence)
    }

    /// Another brand's conversation is as unknown as one that never was.
    async fn conversation(
        &self,
        key: &ConversationKey,
        wish: &Wish,
    ) -> Result<Conversation, DeskError> {
        let brand_id = wish.brand_id.as_ref();
        self.store
            .conversation(key)
            .await?
            .filter(|found| brand_id.is_none_or(|brand_id| found.brand_id == *brand_id))
            .ok_or(DeskError::Unknown)
    }

    /// Returns what was done under this request id before, if anything was.
    async fn done_before(
        &self,
        wish: &Wish,
        event_id: &str,
        row: &Conversation,
    ) -> Result<Option<Done>, DeskError> {
        let filter = EventFilter {
            event_id: Some(event_id.to_owned()),
            ..EventFilter::default()
        };
        let page = self.store.events(&filter, None, ONE).await?;
        let Some(row_before) = page.rows.first() else {
            return Ok(None);
        };
        let event = row_before.event();
        let hash = event.as_ref().and_then(record::request_hash);
        if hash != Some(wish.deed.fingerprint(&wish.author).as_str()) {
            return Err(DeskError::RequestIdReused);
        }
        Ok(Some(Done {
            conversation: row.clone(),
            position: Some(RowPosition::of(&row_before.stored)),
            event,
        }))
    }

    /// Returns the portfolio of a number, if its account says.
    async fn portfolio(&self, key: &ConversationKey) -> Result<Option<PortfolioId>, DeskError> {
        let subject = subject::account("number", &key.number);
        let stored = self.log.last(stream::ACCOUNTS, &subject).await?;
        let number = stored.and_then(|stored| match stored.event().ok()? {
            Event::NumberRecorded(event) => event.number,
            Event::NumberPaused(event) => event.number,
            Event::NumberResumed(event) => event.number,
            Event::NumberMigratedAway(event) => event.number,
            Event::NumberReturned(event) => event.number,
            _ => None,
        });
        Ok(number.and_then(|number| PortfolioId::parse(&number.portfolio_id).ok()))
    }

    /// Whoever writes about a conversation writes where it goes on.
    async fn survivor(
        &self,
        key: &ConversationKey,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Key, DeskError> {
        let number = BusinessNumber::parse(&key.number).map_err(|_| DeskError::Unknown)?;
        let customer = CustomerId::parse(&key.customer_id).map_err(|_| DeskError::Unknown)?;
        let key = Key { number, customer };
        let Some(portfolio) = portfolio else {
            return Ok(key);
        };
        let (key, _) = conversation::carried_on(&self.log, portfolio, &key).await?;
        Ok(key)
    }
}

fn seen(etag: &str, row: &Conversation) -> Seen {
    match etag {
        "" => Seen::Untold,
        etag if etag == row.handled.etag() => Seen::Present,
        _ => Seen::Past,
    }
}

fn position_of(row: &Conversation) -> Option<RowPosition> {
    (row.handled.sequence > 0).then(|| RowPosition {
        stream: stream::EVENTS.to_owned(),
        incarnation: row.handled.incarnation.clone(),
        sequence: row.handled.sequence,
    })
}

fn done(
    before: Conversation,
    after: casement_domain::conversation::Handling,
    position: Position,
    event: Event,
    said: Option<&Said>,
) -> Done {
    let position = RowPosition {
        stream: position.stream,
        incarnation: position.incarnation,
        sequence: position.sequence,
    };
    let mut counted = before.tally.clone();
    if let Some(through) = after.read_through {
        counted.read(through);
    }
    let mut recent = before.recent.clone();
    if let Some(said) = said {
        tally::keep(&mut recent, said);
    }
    let conversation = Conversation {
        tally: counted,
        recent,
        handling: after,
        handled: Handled {
            incarnation: position.incarnation.clone(),
            sequence: position.sequence,
        },
        position: position.clone(),
        ..before
    };
    Done {
        conversation,
        position: Some(position),
        event: Some(event),
    }
}

/// What a deed does.
impl Deed {
    fn actions(&self) -> Vec<Action> {
        match self {
            Self::Note(note) => Note::actions(note).to_vec(),
            Self::Act(action) => vec![action.clone()],
            Self::Label { added, removed } => {
                let added = added.iter().cloned().map(Action::Label);
                let removed = removed.iter().cloned().map(Action::Unlabel);
                // So that labels may be exchanged where there is no room for more.
                removed.chain(added).collect()
            }
        }
    }
}
