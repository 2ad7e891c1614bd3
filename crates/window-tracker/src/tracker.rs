//! Tells what is to be told about a window, one event at a time, until nothing is left to say.
//!
//! Rests on the log alone: what it read must still be the newest when its event is stored, or
//! the event is refused and all is decided anew. So it does not matter who calls it, how often, or
//! how many do so at once. It does not know what made it look; that is [`crate::role`]'s.

use casement_domain::window::{self, Event as WindowEvent};
use casement_event::Stored;
use casement_event::convert::window::{Conversation, record};
use casement_event::subject::stream;
use casement_event_log::directory::Directory;
use casement_event_log::{AppendError, Expect, Log, Position};
use casement_shell::SharedClock;
use casement_shell::clock::Disagreement;
use jiff::Timestamp;

use crate::config::Policies;
use crate::metrics;
use crate::present::{self, Key, Present, PresentError};

/// How often a decision is taken anew, or followed by the next, before it is left for later.
const ROUNDS_MAX: usize = 64;

/// Tells about windows. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) clock: SharedClock,
    pub(crate) policies: Policies,
}

/// A window could not be brought up to date now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdvanceError {
    /// What is there could not be read.
    #[error("window could not be read")]
    Present(#[from] PresentError),
    /// The event could not be stored.
    #[error("window event could not be stored")]
    Append(#[source] AppendError),
    /// Whoever answered has not heard of what was handed out.
    #[error("the broker told less of the conversation than it had handed out")]
    Behind,
    /// Others were faster every time.
    #[error("window kept changing")]
    Contended,
    /// Time gave something to tell, and the time cannot be trusted.
    #[error("time cannot be trusted")]
    Clock(#[source] Disagreement),
}

impl AdvanceError {
    /// Returns whether trying again can never help.
    pub(crate) fn is_hopeless(&self) -> bool {
        match self {
            Self::Present(error) => error.is_hopeless(),
            Self::Append(_) | Self::Behind | Self::Contended | Self::Clock(_) => false,
        }
    }
}

impl Tracker {
    /// Tells all that is to be told about a conversation's window now, and returns when time
    /// alone will next give something to tell.
    ///
    /// `traceparent` is the trace context of what made us look.
    pub(crate) async fn advance(
        &self,
        key: &Key,
        traceparent: Option<&str>,
    ) -> Result<Option<Timestamp>, AdvanceError> {
        self.advance_since(key, 0, traceparent).await
    }

    /// As [`Self::advance`], after something of the conversation was handed out at a sequence: an
    /// answer that lacks it is nothing to decide on, least of all that there is nothing to tell.
    pub(crate) async fn advance_since(
        &self,
        key: &Key,
        seen: u64,
        traceparent: Option<&str>,
    ) -> Result<Option<Timestamp>, AdvanceError> {
        let present = self.read_since(key, seen).await?;
        self.advance_from(key, present, traceparent).await
    }

    async fn read_since(&self, key: &Key, seen: u64) -> Result<Present, AdvanceError> {
        let present = present::read(&self.log, &self.directory, key).await?;
        if present.newest < seen {
            let is_gone = self.log.is_gone(stream::EVENTS, seen).await;
            if !is_gone.map_err(PresentError::Read)? {
                return Err(AdvanceError::Behind);
            }
        }
        Ok(present)
    }

    /// As [`Self::advance`], where `seen` was just handed out and is in most cases the newest event
    /// of the conversation: that saves asking which one is. The trace goes on from a fact; an end
    /// has the trace of its window.
    pub(crate) async fn advance_as_of(
        &self,
        key: &Key,
        seen: Stored,
        traceparent: Option<&str>,
    ) -> Result<Option<Timestamp>, AdvanceError> {
        let present = present::read_as_of(&self.log, &self.directory, key, seen).await?;
        self.advance_from(key, present, traceparent).await
    }

    async fn advance_from(
        &self,
        key: &Key,
        mut present: Present,
        traceparent: Option<&str>,
    ) -> Result<Option<Timestamp>, AdvanceError> {
        let policy = self.policies.of(&key.number);
        for _ in 0..ROUNDS_MAX {
            if present.is_torn {
                present = self.read_since(key, present.newest).await?;
                continue;
            }
            // More was heard than is kept while nobody told anything: it is looked up, so that no end is
            // told that never was.
            if window::is_unsure(present.published.as_ref(), &present.facts, policy)
                && !present::recall(&self.log, key, &mut present).await?
            {
                tracing::warn!(
                    "more facts came since this window was last told than are looked up: it may be \
                     told as ended though the customer kept writing"
                );
            }
            // What was told meanwhile has to hold for what the account says by now, too: whoever goes
            // through the windows of a number that moved may have been here before it was told.
            present = present.at_number(&self.directory, &key.number);
            let last = window::untold(present.published.as_ref(), &present.facts, policy);
            if last.is_empty() {
                present.facts.untold.clear();
            } else if !present::recall_untold(&self.log, key, &mut present, &last).await? {
                tracing::warn!("a window that nobody was told of lies too far back to be told now");
            }
            let (published, facts) = (present.published.as_ref(), &present.facts);
            let now = self.clock.now();
            let Some(event) = window::decide(published, facts, policy, now) else {
                return Ok(window::next_deadline(published, facts, policy));
            };
            // An opening is told by the fact that opens; an end, and its coming, by our clock alone.
            if let WindowEvent::Expiring { .. } | WindowEvent::Expired { .. } = event {
                self.clock.agreement(None).map_err(AdvanceError::Clock)?;
            }
            match self.tell(key, &present, &event, now, traceparent).await {
                Ok(position) => present = present.after(&event, position.sequence),
                Err(AppendError::Conflict { .. }) => {
                    metrics::overtaken();
                    present = self.read_since(key, present.newest).await?;
                }
                Err(error) => return Err(AdvanceError::Append(error)),
            }
        }
        Err(AdvanceError::Contended)
    }

    /// Appends an event, if the present it was decided on still is the present.
    pub(crate) async fn tell(
        &self,
        key: &Key,
        present: &Present,
        event: &WindowEvent,
        now: Timestamp,
        traceparent: Option<&str>,
    ) -> Result<Position, AppendError> {
        let conversation = self.conversation(key, present);
        let cause = traceparent.or(present.traceparent.as_deref());
        let record = record(event, &conversation, self.policies.of(&key.number), now)
            .caused_by(cause.map(str::to_owned));
        let event_type = record.event.event_type();
        let expect = Expect::last(key.any(), present.newest);
        let position = self.log.append(record, expect).await?;
        metrics::told(event, self.clock.now());
        tracing::debug!(
            event_type,
            sequence = position.sequence,
            "window event stored"
        );
        Ok(position)
    }

    /// The account knows best whose number it is; the facts say so for a number it forgot.
    fn conversation(&self, key: &Key, present: &Present) -> Conversation {
        let (brand, portfolio) = match self.directory.number(&key.number) {
            Some(account) => (account.brand_id, account.portfolio_id),
            None => (present.brand.clone(), present.portfolio.clone()),
        };
        Conversation {
            number: key.number.clone(),
            customer: key.customer.clone(),
            brand,
            portfolio,
        }
    }
}
