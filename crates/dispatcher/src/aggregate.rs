//! A message as it stands on the log: loaded whole, and appended to with what it rests on.

use casement_domain::id::{BusinessNumber, MessageId};
use casement_domain::message::{self, Event as MessageEvent, Message, Stakes};
use casement_event::convert::message::{Context, Details};
use casement_event::convert::window::Conversation;
use casement_event::convert::{self, ConvertError};
use casement_event::subject::{self, stream};
use casement_event::{DecodeError, Event, Extension, Stored, header, v1};
use casement_event_log::conversation::Key;
use casement_event_log::{AppendError, Expect, Log, Position, ReadError};
use jiff::Timestamp;

use crate::money::Money;
use crate::{metrics, sensitive};

/// A message with everything that ever happened to it.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What the rules know.
    pub(crate) message: Message,
    /// What was asked for.
    pub(crate) request: v1::MessageRequested,
    /// What every event of it carries.
    pub(crate) context: Context,
    /// Its events, in order.
    pub(crate) events: Vec<Event>,
    /// Sequence of the newest one: what the next append expects.
    pub(crate) sequence: u64,
    /// When it was last claimed for as a template outside the window.
    pub(crate) initiated_at: Option<Timestamp>,
    /// Trace context of the request, which all that follows belongs to.
    pub(crate) traceparent: Option<String>,
    /// Whether it was so on the log when it was taken in hand. If not, more may have happened, and
    /// nothing is concluded from it without an append that says what it rests on.
    pub(crate) is_proven: bool,
}

/// A message could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("message could not be read")]
    Read(#[from] ReadError),
    #[error("event of message at sequence {sequence} could not be decoded")]
    Decode {
        sequence: u64,
        #[source]
        source: DecodeError,
    },
    #[error("event of message at sequence {sequence} is not usable")]
    Convert {
        sequence: u64,
        #[source]
        source: ConvertError,
    },
}

impl LoadError {
    /// Returns whether trying again can never help. A type that only a newer version knows is
    /// not hopeless: another replica may know it already.
    pub(crate) fn is_hopeless(&self) -> bool {
        match self {
            Self::Read(_) => false,
            Self::Decode { source, .. } => matches!(source, DecodeError::Malformed { .. }),
            Self::Convert { .. } => true,
        }
    }
}

impl Loaded {
    /// Returns the conversation that the message belongs to.
    pub(crate) fn key(&self) -> Key {
        let Conversation {
            number, customer, ..
        } = &self.context.conversation;
        Key {
            number: number.clone(),
            customer: customer.clone(),
        }
    }

    /// Returns the business number that it goes out from.
    pub(crate) fn number(&self) -> &BusinessNumber {
        &self.context.conversation.number
    }

    /// Returns the id that providers are given to report by: message and attempt.
    pub(crate) fn callback_data(&self, attempt: u32) -> String {
        format!("{}.{attempt}", self.context.id)
    }

    /// Returns whose claim an attempt is; `None` if there is no such attempt.
    pub(crate) fn claimant(&self, attempt: u32) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            Event::AttemptStarted(started) if started.attempt == attempt => {
                Some(started.claimant.as_str())
            }
            _ => None,
        })
    }

    /// Returns what becomes of an attempt tells; nothing if there is no such attempt.
    pub(crate) fn stakes(&self, attempt: u32) -> Result<Stakes, ConvertError> {
        let started = self.events.iter().find_map(|event| match event {
            Event::AttemptStarted(started) if started.attempt == attempt => Some(started),
            _ => None,
        });
        started.map_or_else(|| Ok(Stakes::default()), convert::message::read_stakes)
    }

    /// Makes a message from its request, before it is stored.
    pub(crate) fn fresh(
        request: v1::MessageRequested,
        id: MessageId,
    ) -> Result<Self, ConvertError> {
        let event = Event::from(request.clone());
        let requested = convert::message::read(&event)?.ok_or(ConvertError::Absent("request"))?;
        let message = message::evolve(None, &requested).ok_or(ConvertError::Absent("request"))?;
        let requested_at =
            convert::required_instant("request_time", request.request_time.as_ref())?;
        let context = Context {
            id,
            conversation: Conversation::read(request.conversation.as_ref())?,
            client_reference: request.client_reference.clone(),
            requested_at,
            priority: convert::message::read_priority(request.priority(), request.purpose()),
            quota_at: convert::instant("quota_time", request.quota_time.as_ref())?,
        };
        Ok(Self {
            message,
            request,
            context,
            events: vec![event],
            sequence: 0,
            initiated_at: None,
            traceparent: None,
            is_proven: true,
        })
    }

    /// Takes up what was stored since. Returns whether that was anything.
    pub(crate) async fn catch_up(&mut self, log: &Log) -> Result<bool, LoadError> {
        let (subject, before) = (subject::message(&self.context.id), self.sequence);
        while let Some(stored) = log
            .next(stream::MESSAGES, &subject, self.sequence + 1)
            .await?
        {
            self.take(&stored)?;
        }
        self.is_proven = true;
        Ok(self.sequence > before)
    }

    fn take(&mut self, stored: &Stored) -> Result<(), LoadError> {
        let sequence = stored.sequence;
        let event = stored
            .event()
            .map_err(|source| LoadError::Decode { sequence, source })?;
        let happened = convert::message::read(&event)
            .map_err(|source| LoadError::Convert { sequence, source })?;
        if let Some(happened) = happened {
            self.evolve(&happened);
        }
        self.initiated_at = initiated_at(&event).or(self.initiated_at);
        self.events.push(event);
        self.sequence = sequence;
        Ok(())
    }

    fn evolve(&mut self, event: &MessageEvent) {
        if let Some(evolved) = message::evolve(Some(self.message.clone()), event) {
            self.message = evolved;
        }
    }

    /// Appends what happened, if nothing newer stands there, and folds it in.
    pub(crate) async fn append(
        &mut self,
        log: &Log,
        event: &MessageEvent,
        details: Details,
        now: Timestamp,
    ) -> Result<Position, AppendError> {
        let mut after = self.clone();
        after.evolve(event);
        let record = convert::message::record(
            event,
            &after.message,
            &self.context,
            details,
            self.sequence,
            now,
        )
        .expect("only the acceptance of a request makes `Requested`")
        .caused_by(self.traceparent.clone());
        after.initiated_at = initiated_at(&record.event).or(self.initiated_at);
        let initiated = after.initiated_at.map(|at| at.to_string());
        let record = record.with(Extension::InitiateTime, initiated.unwrap_or_default());
        let subject = record.subject.clone();
        let stored = record.event.clone();
        let position = log
            .append(record, Expect::last(subject, self.sequence))
            .await?;
        metrics::happened(event, &self.message, &after.message);
        Money::count(&self.events, &stored, &self.context.conversation.brand);
        let before = std::mem::replace(self, after).message;
        self.events.push(stored);
        self.sequence = position.sequence;
        self.is_proven = true;
        sensitive::forget(log, self, &before).await;
        Ok(position)
    }
}

/// When an event claims a template that goes out outside the window: it is the first word, and
/// counts towards the portfolio's limit.
fn initiated_at(event: &Event) -> Option<Timestamp> {
    let Event::AttemptStarted(started) = event else {
        return None;
    };
    let is_open = started
        .decision
        .as_ref()
        .is_some_and(|decision| decision.window_open);
    let is_first = started.route() == v1::Route::Template && !is_open;
    let at = convert::instant("start_time", started.start_time.as_ref());
    is_first.then(|| at.ok().flatten()).flatten()
}

/// Loads a message through the stream's leader; `None` if there is none.
pub(crate) async fn load(log: &Log, id: &MessageId) -> Result<Option<Loaded>, LoadError> {
    let stored = log
        .read_subject(stream::MESSAGES, &subject::message(id))
        .await?;
    let mut stored = stored.into_iter();
    let Some(first) = stored.next() else {
        return Ok(None);
    };
    let sequence = first.sequence;
    let event = first
        .event()
        .map_err(|source| LoadError::Decode { sequence, source })?;
    let traceparent = first.header(header::TRACEPARENT).map(str::to_owned);
    let Event::MessageRequested(request) = event else {
        let source = ConvertError::Absent("request");
        return Err(LoadError::Convert { sequence, source });
    };
    let mut loaded = Loaded::fresh(request, id.clone())
        .map_err(|source| LoadError::Convert { sequence, source })?;
    loaded.sequence = sequence;
    loaded.traceparent = traceparent;
    for one in stored {
        loaded.take(&one)?;
    }
    Ok(Some(loaded))
}
