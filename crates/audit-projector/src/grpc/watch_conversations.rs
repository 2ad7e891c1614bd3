//! Conversations for a caller as they change, from a position on.
//!
//! It reads the archive, as a watch of messages does, and remembers nothing about a caller. What
//! changes a conversation stands on two streams, so where a watch stands is a position of each.
//! Each conversation is told of as it is when it is told of, so several changes of one may be
//! told as the last of them.

use std::collections::BTreeMap;
use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::subject::stream;
use casement_event_log::Position;
use casement_proto::conversation::v1 as proto;
use casement_shell::backoff::Schedule;
use casement_shell::grpc::watch::{self, Limits, Teller};
use casement_shell::grpc::{bad_field, refuse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::conversation::ConversationApi;
use crate::batch;
use crate::model::{Change, ConversationKey, Row};
use crate::progress::Reached;
use crate::store::{Error, EventFilter, EventKey, Limit};

/// What a watch answers.
pub(crate) type Answers = watch::Answers<proto::WatchConversationsResponse>;

/// Where changes of conversations stand.
const STREAMS: [&str; 2] = [stream::EVENTS, stream::MESSAGES];

/// How much is read at once.
const LIMIT: Limit = Limit {
    rows_max: 256,
    bytes_max: 4 * 1024 * 1024,
};

/// Pause between two looks at an archive that moves on all the time: changes within it are told
/// as one.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Which conversations are meant. What is `None` does not matter.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) brand_id: Option<String>,
    pub(super) number: Option<String>,
    pub(super) customer_id: Option<String>,
}

/// Where one stream stands for a caller.
#[derive(Debug)]
pub(super) struct From {
    stream: &'static str,
    incarnation: String,
    /// All up to here is known to the caller.
    told: u64,
    progress: Receiver<Option<Reached>>,
}

/// Returns where a watch begins: after positions, one or several with a comma between, and where
/// the archive stands of streams that are not named.
pub(super) async fn from(api: &ConversationApi, after: &str) -> Result<Vec<From>, Status> {
    let bad = |problem: String| bad_field("after_position", problem);
    let after = after.split(',').filter(|position| !position.is_empty());
    let after = after.map(|position| {
        let parsed: Result<Position, _> = position.parse();
        parsed.map_err(|error| bad(format!("{error}")))
    });
    let after = after.collect::<Result<Vec<_>, _>>()?;
    if let Some(other) = after
        .iter()
        .find(|position| !STREAMS.contains(&position.stream.as_str()))
    {
        return Err(bad(format!(
            "is of stream {}, which tells nothing of conversations",
            other.stream
        )));
    }
    let mut from = Vec::new();
    for stream in STREAMS {
        let progress = &api.backend.progress;
        let mut reached = progress.watch(stream).expect("both are archived");
        let known = progress
            .in_time(reached.wait_for(Option::is_some))
            .await
            .and_then(Result::ok)
            .and_then(|reached| reached.clone());
        let known = known.ok_or_else(|| {
            refuse(
                Code::Unavailable,
                "ARCHIVE_UNAVAILABLE",
                "archive does not answer at present",
            )
        })?;
        let asked = after.iter().find(|position| position.stream == stream);
        if asked.is_some_and(|asked| asked.incarnation != known.incarnation) {
            return Err(gone());
        }
        from.push(From {
            stream,
            incarnation: known.incarnation,
            told: asked.map_or(known.sequence, |asked| asked.sequence),
            progress: reached,
        });
    }
    Ok(from)
}

fn gone() -> Status {
    refuse(
        Code::OutOfRange,
        "POSITION_GONE",
        "the log was restored or recreated since this position: list the conversations that \
         matter, and watch from now on",
    )
}

/// Begins a watch; it lasts until the caller goes, falls behind, or the process closes.
pub(super) fn start(
    api: ConversationApi,
    watched: Watched,
    from: Vec<From>,
    limits: Limits,
    permit: OwnedSemaphorePermit,
) -> Answers {
    watch::start(limits, permit, move |teller| {
        let watch = Watch {
            api,
            watched,
            from,
            teller,
        };
        watch.run()
    })
}

struct Watch {
    api: ConversationApi,
    watched: Watched,
    from: Vec<From>,
    teller: Teller<proto::WatchConversationsResponse>,
}

/// Why a watch does not go on.
enum Gone {
    Reader(watch::Gone),
    OtherIncarnation,
}

/// Why telling stopped.
enum Stop {
    Gone(watch::Gone),
    /// The archive could not be read; what was told so far was told.
    Unread(Error),
}

impl std::convert::From<watch::Gone> for Stop {
    fn from(gone: watch::Gone) -> Self {
        Self::Gone(gone)
    }
}

impl std::convert::From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Unread(error)
    }
}

impl Watch {
    /// Returns what the caller is told at the end; nothing if it has gone.
    async fn run(mut self) -> Option<Status> {
        let teller = self.teller.clone();
        let closing: CancellationToken = self.api.closing.clone();
        let gone = tokio::select! {
            () = closing.cancelled() => Gone::Reader(watch::Gone::Closing),
            () = teller.closed() => Gone::Reader(watch::Gone::Away),
            gone = self.follow() => gone,
        };
        match gone {
            Gone::Reader(gone) => gone.status(self.position()),
            Gone::OtherIncarnation => Some(self::gone()),
        }
    }

    async fn follow(&mut self) -> Gone {
        let mut waits = Schedule::DEFAULT.waits();
        let mut is_caught_up = false;
        if let Err(gone) = self
            .hand_over(proto::WatchConversationsResponse::default())
            .await
        {
            return Gone::Reader(gone);
        }
        loop {
            let mut is_all = true;
            for place in 0..self.from.len() {
                let from = &mut self.from[place];
                let reached = from.progress.borrow_and_update().clone();
                let Some(reached) = reached.filter(|it| it.incarnation == from.incarnation) else {
                    return Gone::OtherIncarnation;
                };
                match self.catch_up(place, reached.sequence).await {
                    Ok(done) => is_all &= done,
                    Err(Stop::Gone(gone)) => return Gone::Reader(gone),
                    Err(Stop::Unread(error)) => {
                        tracing::warn!(%error, "watch waits for the archive");
                        tokio::time::sleep(waits.next_wait()).await;
                        is_all = false;
                    }
                }
            }
            if !is_all {
                continue;
            }
            waits.reset();
            if !is_caught_up {
                is_caught_up = true;
                let nothing = proto::WatchConversationsResponse::default();
                if let Err(gone) = self.hand_over(nothing).await {
                    return Gone::Reader(gone);
                }
            }
            let moved = self.from.iter_mut().map(|from| {
                let (incarnation, told) = (from.incarnation.clone(), from.told);
                let is_new = move |reached: &Option<Reached>| {
                    reached.as_ref().is_none_or(|reached| {
                        reached.incarnation != incarnation || reached.sequence > told
                    })
                };
                let progress = &mut from.progress;
                Box::pin(async move { progress.wait_for(is_new).await.is_ok() })
            });
            // The archive's own end of this is dropped with the process.
            if !futures::future::select_all(moved).await.0 {
                return Gone::Reader(watch::Gone::Closing);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Tells of what one stream has up to `reached`. Returns whether that was all of it.
    async fn catch_up(&mut self, place: usize, reached: u64) -> Result<bool, Stop> {
        let from = &self.from[place];
        if reached <= from.told {
            return Ok(true);
        }
        let filter = EventFilter {
            stream: Some(from.stream.to_owned()),
            incarnation: Some(from.incarnation.clone()),
            brand_id: self.watched.brand_id.clone(),
            customer_id: self.watched.customer_id.clone(),
            sequence_max: Some(reached),
            ..EventFilter::default()
        };
        let after = EventKey {
            stream: from.stream.to_owned(),
            incarnation: from.incarnation.clone(),
            sequence: from.told,
        };
        let store = self.api.backend.store.clone();
        let page = store.events(&filter, Some(&after), LIMIT).await?;
        let until = page.rows.last().map(|row| row.stored.sequence);
        for (key, row) in self.changed(page.rows) {
            let conversation = store.conversation(&key).await?;
            let brand_id = self.watched.brand_id.as_deref();
            let conversation = conversation
                .filter(|found| brand_id.is_none_or(|brand_id| found.brand_id == brand_id));
            if let Some(conversation) = conversation {
                let before = self.from[place].told;
                self.from[place].told = row.stored.sequence;
                let told = self.hand_over(proto::WatchConversationsResponse {
                    position: String::new(),
                    event_id: row.index.event_id,
                    event_type: row.index.event_type,
                    event_time: Some(timestamp(row.index.event_time)),
                    conversation: Some(self.api.shown(&conversation)),
                });
                if let Err(gone) = told.await {
                    // It was not told, so this is where to resume.
                    self.from[place].told = before;
                    return Err(gone.into());
                }
            }
        }
        let told = if page.has_more { until } else { Some(reached) };
        let from = &mut self.from[place];
        from.told = told.unwrap_or(reached);
        Ok(!page.has_more)
    }

    /// Returns the conversations that rows change, each with the last of its rows, in their order.
    fn changed(&self, rows: Vec<Row>) -> Vec<(ConversationKey, Row)> {
        let mut last: BTreeMap<ConversationKey, Row> = BTreeMap::new();
        for entry in batch::again(rows) {
            let key = ConversationKey {
                number: entry.row.index.number.clone(),
                customer_id: entry.row.index.customer_id.clone(),
            };
            let changes = entry.changes.iter();
            let mut keys = changes.filter_map(|change| match change {
                Change::Conversation { key, .. } => Some(key.clone()),
                Change::Message { .. } | Change::Consents { .. } => None,
            });
            // Who watches one conversation hears of all that happens in it.
            let is_one = self.watched.customer_id.as_ref() == Some(&key.customer_id);
            let key = keys.next().or(Some(key).filter(|_| is_one));
            if let Some(key) = key.filter(|key| self.is_meant(key)) {
                last.insert(key, entry.row);
            }
        }
        let mut last: Vec<_> = last.into_iter().collect();
        last.sort_by_key(|(_, row)| row.stored.sequence);
        last
    }

    fn is_meant(&self, key: &ConversationKey) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.watched.number, &key.number) && is(&self.watched.customer_id, &key.customer_id)
    }

    async fn hand_over(
        &self,
        answer: proto::WatchConversationsResponse,
    ) -> Result<(), watch::Gone> {
        let answer = proto::WatchConversationsResponse {
            position: self.position(),
            ..answer
        };
        self.teller.tell(answer).await
    }

    /// Where to resume.
    fn position(&self) -> String {
        let each = self.from.iter().map(|from| {
            let position = Position {
                stream: from.stream.to_owned(),
                incarnation: from.incarnation.clone(),
                sequence: from.told,
            };
            position.to_string()
        });
        each.collect::<Vec<_>>().join(",")
    }
}
