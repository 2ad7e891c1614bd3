//! Messages for a caller at each of their steps, as archived, from a position on.
//!
//! It reads the archive and not the log, which forgets messages long before: a watch misses none,
//! however old the position is that it goes on from, and never tells what a list does not know
//! yet. Nothing is remembered about a caller.

use std::collections::HashMap;
use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::subject::{Family, stream};
use casement_event_log::Position;
use casement_proto::message::v1 as proto;
use casement_shell::backoff::Schedule;
use casement_shell::grpc::watch::{self, Limits, Teller};
use casement_shell::grpc::{bad_field, refuse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::Backend;
use super::messages::shown;
use crate::batch::{self, Entry};
use crate::fold;
use crate::model::{Change, Message, Row};
use crate::progress::Reached;
use crate::store::{Error, EventFilter, EventKey, Limit, MessageFilter, SharedStore};

/// What a watch answers.
pub(crate) type Answers = watch::Answers<proto::WatchMessagesResponse>;

/// How many watches a process serves at once. Each reads the archive for itself.
pub(super) const WATCHES_MAX: usize = 200;

/// Messages whose state a watch remembers, so that it need not be read from the archive again.
const REMEMBERED_MAX: usize = 4_096;

/// How much is read at once.
const LIMIT: Limit = Limit {
    rows_max: 256,
    bytes_max: 4 * 1024 * 1024,
};

/// Pause between two looks at an archive that moves on all the time.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// What is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) filter: MessageFilter,
    pub(super) from: From,
}

/// Where a watch begins.
#[derive(Debug)]
pub(super) struct From {
    incarnation: String,
    /// All up to here is known to the caller.
    told: u64,
    progress: Receiver<Option<Reached>>,
}

/// Returns where a watch begins: after a position, or where the archive stands.
pub(super) async fn from(backend: &Backend, after: &str) -> Result<From, Status> {
    let mut progress = backend
        .progress
        .watch(stream::MESSAGES)
        .expect("messages are archived");
    let reached = backend
        .progress
        .in_time(progress.wait_for(Option::is_some))
        .await
        .and_then(Result::ok)
        .and_then(|reached| reached.clone());
    let reached = reached.ok_or_else(|| {
        refuse(
            Code::Unavailable,
            "ARCHIVE_UNAVAILABLE",
            "archive does not answer at present",
        )
    })?;
    let mut told = reached.sequence;
    if !after.is_empty() {
        let position: Position = after
            .parse()
            .map_err(|error| bad_field("after_position", format!("{error}")))?;
        if position.stream != stream::MESSAGES {
            return Err(bad_field("after_position", "is of another stream"));
        }
        if position.incarnation != reached.incarnation {
            return Err(gone());
        }
        told = position.sequence;
    }
    Ok(From {
        incarnation: reached.incarnation,
        told,
        progress,
    })
}

fn gone() -> Status {
    refuse(
        Code::OutOfRange,
        "POSITION_GONE",
        "the log was restored or recreated since this position: read the messages that matter with \
         ListMessages, and watch from now on",
    )
}

/// Begins a watch; it lasts until the caller goes, falls behind, or the process closes.
pub(super) fn start(
    backend: &Backend,
    watched: Watched,
    limits: Limits,
    closing: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Answers {
    let store = backend.store.clone();
    watch::start(limits, permit, move |teller| {
        let watch = Watch {
            store,
            filter: watched.filter,
            incarnation: watched.from.incarnation,
            told: watched.from.told,
            teller,
            known: HashMap::new(),
        };
        watch.run(watched.from.progress, closing)
    })
}

struct Watch {
    store: SharedStore,
    filter: MessageFilter,
    incarnation: String,
    /// All up to here was handed over.
    told: u64,
    teller: Teller<proto::WatchMessagesResponse>,
    /// Messages as they were at `told`.
    known: HashMap<String, Message>,
}

/// Why a watch does not go on.
enum Gone {
    Reader(watch::Gone),
    OtherIncarnation,
}

impl Watch {
    /// Returns what the caller is told at the end; nothing if it has gone.
    async fn run(
        mut self,
        progress: Receiver<Option<Reached>>,
        closing: CancellationToken,
    ) -> Option<Status> {
        let teller = self.teller.clone();
        let gone = tokio::select! {
            () = closing.cancelled() => Gone::Reader(watch::Gone::Closing),
            () = teller.closed() => Gone::Reader(watch::Gone::Away),
            gone = self.follow(progress) => gone,
        };
        match gone {
            Gone::Reader(gone) => gone.status(self.position(self.told)),
            Gone::OtherIncarnation => Some(self::gone()),
        }
    }

    async fn follow(&mut self, mut progress: Receiver<Option<Reached>>) -> Gone {
        let mut waits = Schedule::DEFAULT.waits();
        let mut is_caught_up = false;
        if let Err(gone) = self
            .hand_over(self.told, proto::WatchMessagesResponse::default())
            .await
        {
            return gone;
        }
        loop {
            let reached = progress.borrow_and_update().clone();
            let Some(reached) = reached.filter(|reached| reached.incarnation == self.incarnation)
            else {
                return Gone::OtherIncarnation;
            };
            match self.catch_up(reached.sequence).await {
                Ok(true) => {}
                // There is more of the past.
                Ok(false) => continue,
                Err(Stop::Gone(gone)) => return gone,
                Err(Stop::Unread(error)) => {
                    tracing::warn!(%error, "watch waits for the archive");
                    tokio::time::sleep(waits.next_wait()).await;
                    continue;
                }
            }
            if !is_caught_up {
                is_caught_up = true;
                let told = self.told;
                let nothing = proto::WatchMessagesResponse::default();
                if let Err(gone) = self.hand_over(told, nothing).await {
                    return gone;
                }
            }
            // The archive's own end of this is dropped with the process.
            let moved = progress.wait_for(|reached| {
                reached.as_ref().is_none_or(|reached| {
                    reached.incarnation != self.incarnation || reached.sequence > self.told
                })
            });
            if moved.await.is_err() {
                return Gone::Reader(watch::Gone::Closing);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Tells of what is archived up to `reached`. Returns whether that was all of it.
    async fn catch_up(&mut self, reached: u64) -> Result<bool, Stop> {
        if reached <= self.told {
            return Ok(true);
        }
        let filter = EventFilter {
            stream: Some(stream::MESSAGES.to_owned()),
            incarnation: Some(self.incarnation.clone()),
            subject_prefix: Some(prefix()),
            brand_id: self.filter.brand_id.clone(),
            sequence_max: Some(reached),
            ..EventFilter::default()
        };
        let after = EventKey {
            stream: stream::MESSAGES.to_owned(),
            incarnation: self.incarnation.clone(),
            sequence: self.told,
        };
        let page = self.store.events(&filter, Some(&after), LIMIT).await?;
        for row in page.rows {
            self.tell(row).await?;
        }
        if page.has_more {
            return Ok(false);
        }
        self.told = reached;
        Ok(true)
    }

    /// Tells of one event, if the caller wants to hear of it.
    async fn tell(&mut self, row: Row) -> Result<(), Stop> {
        let [entry] = &batch::again(vec![row])[..] else {
            return Ok(());
        };
        let stored = &entry.row.stored;
        if let Some(message) = self.message_after(entry).await?
            && self.filter.matches(&message)
        {
            let index = &entry.row.index;
            let answer = proto::WatchMessagesResponse {
                position: String::new(),
                event_id: index.event_id.clone(),
                event_type: index.event_type.clone(),
                event_time: Some(timestamp(index.event_time)),
                message: Some(shown(message)),
            };
            self.hand_over(stored.sequence, answer).await?;
        }
        self.told = stored.sequence;
        Ok(())
    }

    /// Returns the message as it was after an event; `None` if the event changes none.
    async fn message_after(&mut self, entry: &Entry) -> Result<Option<Message>, Error> {
        let Some(Change::Message { message_id, change }) = entry.changes.last() else {
            return Ok(None);
        };
        let stored = &entry.row.stored;
        let known = match self.known.remove(message_id) {
            Some(known) => Some(known),
            None => self.past(message_id, stored.sequence).await?,
        };
        let message = fold::follow(known, message_id, stored, change);
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        if let Some(message) = &message {
            self.known.insert(message_id.clone(), message.clone());
        }
        Ok(message)
    }

    /// Makes a message from what is archived of it before a sequence.
    async fn past(&self, message_id: &str, before: u64) -> Result<Option<Message>, Error> {
        let filter = EventFilter {
            stream: Some(stream::MESSAGES.to_owned()),
            incarnation: Some(self.incarnation.clone()),
            subject_prefix: Some(prefix()),
            message_id: Some(message_id.to_owned()),
            sequence_max: Some(before.saturating_sub(1)),
            ..EventFilter::default()
        };
        let mut message = None;
        let mut after = None;
        loop {
            let page = self.store.events(&filter, after.as_ref(), LIMIT).await?;
            after = page.rows.last().map(EventKey::of);
            for entry in &batch::again(page.rows) {
                for change in &entry.changes {
                    if let Change::Message { change, .. } = change {
                        message = fold::follow(message, message_id, &entry.row.stored, change);
                    }
                }
            }
            if !page.has_more {
                return Ok(message);
            }
        }
    }

    async fn hand_over(
        &mut self,
        sequence: u64,
        answer: proto::WatchMessagesResponse,
    ) -> Result<(), Gone> {
        let answer = proto::WatchMessagesResponse {
            position: self.position(sequence),
            ..answer
        };
        self.teller.tell(answer).await.map_err(Gone::Reader)?;
        self.told = sequence;
        Ok(())
    }

    fn position(&self, sequence: u64) -> String {
        let position = Position {
            stream: stream::MESSAGES.to_owned(),
            incarnation: self.incarnation.clone(),
            sequence,
        };
        position.to_string()
    }
}

/// Why telling stopped.
enum Stop {
    Gone(Gone),
    /// The archive could not be read; what was told so far was told.
    Unread(Error),
}

impl std::convert::From<Gone> for Stop {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl std::convert::From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Unread(error)
    }
}

/// What subjects of messages' own events begin with.
fn prefix() -> String {
    Family::Message.filter().trim_end_matches('>').to_owned()
}
