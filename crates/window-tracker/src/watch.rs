//! Window events for a caller, as they stand on the log, from a position on.
//!
//! Every watch has a follower of its own, and no event is left out. Nothing is remembered about a
//! caller.

use casement_domain::id::BusinessNumber;
use casement_event::convert::timestamp;
use casement_event::subject::{Family, number_filter, stream};
use casement_event::{Event, Stored};
use casement_event_log::{Followed, Log, Position, Start};
use casement_proto::window::v1 as api;
use casement_proto::window::v1::watch_windows_response::Event as Told;
use casement_shell::auth::Caller;
use casement_shell::grpc::watch::{self, Gone, Limits, Teller};
use casement_shell::grpc::{bad_field, refuse};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::grpc::read_failed;
use crate::present::Key;
use crate::tracker::Tracker;

/// What a watch answers.
pub(crate) type Answers = watch::Answers<api::WatchWindowsResponse>;

/// Most numbers that one watch may name.
pub(crate) const NUMBERS_MAX: usize = 100;

/// How many watches a process serves at once.
pub(crate) const WATCHES_MAX: usize = 1_000;

/// What is watched, by whom.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) caller: Caller,
    /// None for all that the caller may see.
    pub(crate) numbers: Vec<BusinessNumber>,
    /// None for all.
    pub(crate) kinds: Vec<api::WindowEventKind>,
}

/// Reads the kinds of a request.
pub(crate) fn kinds(asked: &[i32]) -> Result<Vec<api::WindowEventKind>, Status> {
    let read = |kind: &i32| {
        api::WindowEventKind::try_from(*kind)
            .ok()
            .filter(|kind| *kind != api::WindowEventKind::Unspecified)
            .ok_or_else(|| bad_field("kinds", format!("has {kind}, which is no kind of event")))
    };
    asked.iter().map(read).collect()
}

/// Returns the first sequence after a position; without one, the first that is yet to come.
pub(crate) async fn from(log: &Log, after: &str) -> Result<u64, Status> {
    let state = log.state(stream::EVENTS).await;
    let state = state.map_err(|error| read_failed(&error))?;
    if after.is_empty() {
        return Ok(state.last_sequence + 1);
    }
    let position: Position = after
        .parse()
        .map_err(|error| bad_field("after_position", format!("{error}")))?;
    if position.stream != stream::EVENTS {
        return Err(bad_field("after_position", "is of another stream"));
    }
    let next = position.sequence + 1;
    // Nothing has to come before the first.
    if position.incarnation != state.incarnation || next < state.first_sequence.max(1) {
        return Err(refuse(
            Code::OutOfRange,
            "POSITION_GONE",
            "log no longer holds what follows `after_position`: read the windows that matter with \
             BatchGetWindows, and watch from now on",
        ));
    }
    Ok(next)
}

/// Begins a watch; it lasts until the caller goes, falls behind, or the process closes.
pub(crate) fn start(
    tracker: &Tracker,
    watched: Watched,
    from: u64,
    limits: Limits,
    closing: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Answers {
    let tracker = tracker.clone();
    watch::start(limits, permit, move |teller| {
        let watch = Watch {
            tracker,
            watched,
            teller,
            told: from.saturating_sub(1),
        };
        watch.run(from, closing)
    })
}

struct Watch {
    tracker: Tracker,
    watched: Watched,
    teller: Teller<api::WatchWindowsResponse>,
    /// All up to here was handed over.
    told: u64,
}

impl Watch {
    /// Returns what the caller is told at the end; nothing if it has gone.
    async fn run(mut self, from: u64, closing: CancellationToken) -> Option<Status> {
        let gone = self.follow(from, closing).await;
        gone.status(self.position(self.told))
    }

    async fn follow(&mut self, from: u64, closing: CancellationToken) -> Gone {
        let numbers = &self.watched.numbers;
        let filters = if numbers.is_empty() {
            vec![Family::Window.filter()]
        } else {
            let filter = |number| number_filter(Family::Window, number);
            numbers.iter().map(filter).collect()
        };
        let log = &self.tracker.log;
        let mut follower = log.follow(stream::EVENTS, filters, Start::Sequence(from));
        let mut next = Some((self.told, api::WatchWindowsResponse::default()));
        loop {
            if let Some((sequence, answer)) = next.take()
                && let Err(gone) = self.hand_over(sequence, answer).await
            {
                return gone;
            }
            let followed = tokio::select! {
                () = closing.cancelled() => return Gone::Closing,
                () = self.teller.closed() => return Gone::Away,
                followed = follower.next() => followed,
            };
            next = match followed {
                Followed::CaughtUp { sequence } => {
                    let sequence = sequence.max(self.told);
                    Some((sequence, api::WatchWindowsResponse::default()))
                }
                Followed::Event(stored) => {
                    let answer = self.answer(&stored);
                    answer.map(|answer| (stored.sequence, answer))
                }
            };
        }
    }

    async fn hand_over(
        &mut self,
        sequence: u64,
        answer: api::WatchWindowsResponse,
    ) -> Result<(), Gone> {
        let answer = api::WatchWindowsResponse {
            position: self.position(sequence),
            ..answer
        };
        self.teller.tell(answer).await?;
        self.told = sequence;
        Ok(())
    }

    /// Returns an event as it is told, if the caller may and wants to hear of it.
    fn answer(&self, stored: &Stored) -> Option<api::WatchWindowsResponse> {
        let key = Key::parse(&stored.subject)?;
        let account = self.tracker.directory.number(&key.number)?;
        if !self.watched.caller.acts_for(&account.brand_id) {
            return None;
        }
        let (kind, told) = match stored.event() {
            Ok(event) => told(event)?,
            Err(error) => {
                let sequence = stored.sequence;
                tracing::error!(sequence, error = %error, "window event cannot be read");
                return None;
            }
        };
        let kinds = &self.watched.kinds;
        (kinds.is_empty() || kinds.contains(&kind)).then(|| api::WatchWindowsResponse {
            position: String::new(),
            event_id: stored.id().map(|id| id.to_string()).unwrap_or_default(),
            event_time: stored.time().map(timestamp),
            event: Some(told),
        })
    }

    fn position(&self, sequence: u64) -> String {
        let position = Position {
            stream: stream::EVENTS.to_owned(),
            incarnation: self.tracker.log.incarnation(stream::EVENTS),
            sequence,
        };
        position.to_string()
    }
}

fn told(event: Event) -> Option<(api::WindowEventKind, Told)> {
    use api::WindowEventKind as Kind;
    Some(match event {
        Event::WindowOpened(event) => (Kind::Opened, Told::Opened(event)),
        Event::WindowExtended(event) => (Kind::Extended, Told::Extended(event)),
        Event::WindowExpiring(event) => (Kind::Expiring, Told::Expiring(event)),
        Event::WindowExpired(event) => (Kind::Expired, Told::Expired(event)),
        Event::WindowCorrected(event) => (Kind::Corrected, Told::Corrected(event)),
        _ => return None,
    })
}
