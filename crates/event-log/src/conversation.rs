//! The present of a conversation: what stands on the log about it, joined.
//!
//! The newest message of each family says it all, since each carries the join of those before it.
//! This module reads; it decides nothing and keeps nothing.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::id::{BusinessNumber, CustomerId, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_domain::window::{
    ClosedReason, Event as WindowEvent, Evidence, Facts, Published, evolve,
};
use casement_event::convert::{ConvertError, inbound, window};
use casement_event::subject::{self, Family, stream};
use casement_event::{DecodeError, Event, Stored, header, v1};
use jiff::Timestamp;

use crate::customers::{self, ResolveError};
use crate::directory::Directory;
use crate::{Log, ReadError};

/// How many customers in a row may have ended. They are ordered by age, so there is no circle.
const MOVES_MAX: usize = 64;

/// How many facts are looked up to see whether a window ended while nobody told anything.
const UNTOLD_MAX: usize = 20_000;

/// One customer at one business number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The business number.
    pub number: BusinessNumber,
    /// The customer.
    pub customer: CustomerId,
}

impl Key {
    /// Reads the subject of an event of the conversation.
    pub fn parse(subject: &str) -> Option<Self> {
        let (_, number, customer) = subject::parse_conversation(subject)?;
        Some(Self { number, customer })
    }

    fn subject(&self, family: Family) -> String {
        subject::conversation(family, &self.number, &self.customer)
    }

    /// The filter over all families: any fact of the customer at this number.
    pub fn any(&self) -> String {
        subject::conversation_any(&self.number, &self.customer)
    }
}

/// What stands on the log about a conversation.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// What is true, whoever was told.
    pub facts: Facts,
    /// What subscribers were last told.
    pub published: Option<Published>,
    /// Sequence of the event that told it; 0 if none did.
    pub told: u64,
    /// How the customer can be reached, by all that was heard from them here.
    pub addresses: Addresses,
    /// Who carries on, if this customer id has ended.
    pub survivor: Option<CustomerId>,
    /// Whether anything that the customer did stands on the log. If not, this id may have ended so
    /// long ago that the log has forgotten it; [`follow`] asks its link.
    pub is_heard: bool,
    /// The brand that the events name; empty if none does.
    pub brand: String,
    /// The portfolio that the events name; empty if none does.
    pub portfolio: String,
    /// Sequence of the newest message of all families; 0 if nothing stands there. An append
    /// that expects it rests on exactly this present.
    pub newest: u64,
    /// Trace context of what was last told, or else of what the customer last did.
    pub traceparent: Option<String>,
    /// Something newer came in while it was read, so the families may not fit together. Good
    /// enough for a query, useless for an append.
    pub is_torn: bool,
}

impl Present {
    /// Returns whether nothing ever happened here.
    pub fn is_empty(&self) -> bool {
        self.newest == 0
    }

    /// Takes the present of a survivor, and adds what this one, who ended, brings along: the
    /// survivor's own summary of it may not be stored yet.
    #[must_use]
    pub fn carried_on_by(self, mut survivor: Self) -> Self {
        survivor.facts = self.facts.carried_on_by(survivor.facts);
        survivor.addresses = survivor.addresses.or(&self.addresses);
        survivor.newest = survivor.newest.max(self.newest);
        survivor
    }

    /// Returns the present with what the account of its number says now, which no event of the
    /// conversation does.
    #[must_use]
    pub fn at_number(mut self, directory: &Directory, number: &BusinessNumber) -> Self {
        self.facts.number_migrated_at = directory.migrated_at(number);
        self
    }

    /// Returns the present after an event that was appended on top of this one.
    #[must_use]
    pub fn after(mut self, event: &WindowEvent, sequence: u64) -> Self {
        self.published = evolve(self.published, event);
        self.told = sequence;
        self.newest = sequence;
        self
    }
}

/// The present could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PresentError {
    /// The log did not answer.
    #[error("events of the conversation could not be read")]
    Read(#[from] ReadError),
    /// What stands there is not readable by this version.
    #[error("event at sequence {sequence} could not be decoded")]
    Decode {
        /// Its place.
        sequence: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// What stands there does not fit the domain.
    #[error("event at sequence {sequence} is not usable")]
    Convert {
        /// Its place.
        sequence: u64,
        /// Why.
        #[source]
        source: ConvertError,
    },
    /// What stands there belongs to another family.
    #[error("event at sequence {sequence} is a {event_type}, which does not belong there")]
    Foreign {
        /// Its place.
        sequence: u64,
        /// Its type.
        event_type: String,
    },
    /// Who carries on for an id of which nothing stands there is not known now.
    #[error("who carries the conversation on could not be looked up")]
    Survivor(#[from] ResolveError),
    /// More customers in a row have ended than can be.
    #[error("more than {MOVES_MAX} customers in a row have ended")]
    Circle,
}

impl PresentError {
    /// Returns whether trying again can never help. A type that only a newer version knows is not
    /// hopeless: another replica may know it already.
    pub fn is_hopeless(&self) -> bool {
        match self {
            Self::Read(_) => false,
            Self::Decode { source, .. } => matches!(source, DecodeError::Malformed { .. }),
            Self::Survivor(error) => matches!(error, ResolveError::Unreadable(_)),
            Self::Convert { .. } | Self::Foreign { .. } | Self::Circle => true,
        }
    }
}

/// Reads the present of a conversation through the stream's leader, at its number as the directory
/// has it.
///
/// The newest message of all is read first: whatever is stored after it is newer than
/// [`Present::newest`] and so refuses an append that rests on this present.
pub async fn read(log: &Log, directory: &Directory, key: &Key) -> Result<Present, PresentError> {
    let present = heard(log, key).await?;
    Ok(present.at_number(directory, &key.number))
}

/// Reads what the conversation's own events say.
async fn heard(log: &Log, key: &Key) -> Result<Present, PresentError> {
    match log.last(stream::EVENTS, &key.any()).await? {
        None => Ok(Present::default()),
        Some(newest) => up_to(log, key, newest).await,
    }
}

/// As [`read`], but without looking for the newest message: `seen`, which was just handed out as
/// new, is taken for it.
///
/// If it is not, then either this present is torn, or what stands after it refuses an append that
/// rests on this present: as good as any for one try, and one request to the leader cheaper.
pub async fn read_as_of(
    log: &Log,
    directory: &Directory,
    key: &Key,
    seen: Stored,
) -> Result<Present, PresentError> {
    let present = up_to(log, key, seen).await?;
    Ok(present.at_number(directory, &key.number))
}

/// Joins what the newest message and those of the other families say.
async fn up_to(log: &Log, key: &Key, newest: Stored) -> Result<Present, PresentError> {
    // Copies do not all know the same: what stood together is asked for at once.
    let together = if log.has_copies() {
        let (any, seen) = (key.any(), newest.sequence);
        Some(log.newest_of_each(stream::EVENTS, &[&any], seen).await?)
    } else {
        None
    };
    let read = async |family| {
        let subject = key.subject(family);
        if let Some(together) = &together {
            let found = together.iter().find(|stored| stored.subject == subject);
            return Ok(found.cloned());
        }
        if newest.subject == subject {
            return Ok(Some(newest.clone()));
        }
        log.last(stream::EVENTS, &subject).await
    };
    let (inbound, window, evidence) = tokio::try_join!(
        read(Family::Inbound),
        read(Family::Window),
        read(Family::Evidence)
    )?;
    let together = together.iter().flatten().map(|stored| stored.sequence);
    let newest_sequence = together.max().unwrap_or(newest.sequence);
    let mut present = Present {
        newest: newest_sequence,
        is_torn: [&inbound, &window, &evidence]
            .into_iter()
            .flatten()
            .any(|stored| stored.sequence > newest_sequence),
        ..Present::default()
    };
    // On brand and portfolio the customer's own facts have the last word.
    if let Some(stored) = window {
        present.take_window(&stored)?;
    }
    if let Some(stored) = evidence {
        present.take_evidence(&stored)?;
    }
    if let Some(stored) = inbound {
        present.take_inbound(&stored)?;
    }
    Ok(present)
}

/// Reads the present of whoever carries a conversation on at this number, with what those who
/// ended bring along; returns all ids that the customer goes or went by from here on, too, the
/// present one last.
pub async fn follow(
    log: &Log,
    directory: &Directory,
    portfolio: &PortfolioId,
    key: &Key,
) -> Result<(Present, Vec<CustomerId>), PresentError> {
    follow_from(log, directory, portfolio, key, None).await
}

/// As [`follow`], for whoever knows what stood about the conversation a while ago: if nothing newer
/// stands there, which one read of the leader tells, that is what stands there.
pub async fn follow_from(
    log: &Log,
    directory: &Directory,
    portfolio: &PortfolioId,
    key: &Key,
    known: Option<Present>,
) -> Result<(Present, Vec<CustomerId>), PresentError> {
    let mut key = key.clone();
    let mut ids = vec![key.customer.clone()];
    let newest = log.last(stream::EVENTS, &key.any()).await?;
    let known = known.filter(|known| {
        let newest = newest.as_ref().map(|newest| newest.sequence);
        newest == Some(known.newest) && !known.is_torn
    });
    let present = match (known, newest) {
        (Some(known), _) => known,
        (None, Some(newest)) => up_to(log, &key, newest).await?,
        (None, None) => Present::default(),
    };
    let mut present = present.at_number(directory, &key.number);
    loop {
        let next = match present.survivor.take() {
            None if !present.is_heard => customers::survivor(log, portfolio, &key.customer).await?,
            told => told,
        };
        let Some(next) = next else {
            return Ok((present, ids));
        };
        if ids.len() > MOVES_MAX {
            return Err(PresentError::Circle);
        }
        key.customer = next.clone();
        ids.push(next);
        present = present.carried_on_by(read(log, directory, &key).await?);
    }
}

/// Looks up all qualifying facts since a window was last told, where more came than a summary keeps;
/// `false` if there are more than anybody should read.
pub async fn recall(log: &Log, key: &Key, present: &mut Present) -> Result<bool, PresentError> {
    let mut times = BTreeSet::new();
    let is_all = each_untold(log, key, present, |stored| {
        let event = decoded(stored)?;
        let known = converted(stored, inbound::known(&event))?;
        times.extend(known.summary.recent.newest());
        times.extend(known.summary.recent.times());
        // What came late, after more than a summary keeps, stands in none.
        times.extend(converted(
            stored,
            inbound::qualifying_time(&event).map(Some),
        )?);
        Ok(())
    })
    .await?;
    if is_all {
        let recent = std::mem::take(&mut present.facts.recent);
        present.facts.recent = recent.filled(times);
    }
    Ok(is_all)
}

/// Looks up what is known of the last facts of windows that nobody was told of, by when these
/// happened; `false` if more stands there than anybody should read. A fact that came only after a
/// later one stands in no summary: it came too late for its window, too.
pub async fn recall_untold(
    log: &Log,
    key: &Key,
    present: &mut Present,
    last: &[Timestamp],
) -> Result<bool, PresentError> {
    let mut untold = BTreeMap::new();
    let is_all = each_untold(log, key, present, |stored| {
        let known = converted(stored, inbound::known(&decoded(stored)?))?;
        let newest = known.summary.last_qualifying;
        if let Some(newest) = newest.filter(|newest| last.contains(&newest.at)) {
            // Of several facts of one second the last counts, as in a summary.
            untold.insert(newest.at, newest);
        }
        Ok(())
    })
    .await?;
    present.facts.untold = untold.into_values().collect();
    Ok(is_all)
}

/// Goes through the customer's facts that may not have been told about; `false` if there are more
/// than anybody should read.
///
/// Nothing later than what an open window was told with stands before the event that told it. An end
/// may have been told late, after what came next.
async fn each_untold(
    log: &Log,
    key: &Key,
    present: &Present,
    mut take: impl FnMut(&Stored) -> Result<(), PresentError>,
) -> Result<bool, PresentError> {
    let subject = key.subject(Family::Inbound);
    let is_open = |window: &Published| window.closed.is_none();
    let mut from = match &present.published {
        Some(window) if is_open(window) => present.told + 1,
        _ => 1,
    };
    for _ in 0..UNTOLD_MAX {
        let Some(stored) = log.next(stream::EVENTS, &subject, from).await? else {
            return Ok(true);
        };
        take(&stored)?;
        from = stored.sequence + 1;
    }
    Ok(false)
}
/// Follows a customer who ended to the one who carries on at this number; whoever writes about a
/// conversation writes there. Returns also the evidence that those who ended brought along.
pub async fn carried_on(
    log: &Log,
    portfolio: &PortfolioId,
    key: &Key,
) -> Result<(Key, Evidence), PresentError> {
    let mut key = key.clone();
    let mut evidence = Evidence::default();
    for _ in 0..MOVES_MAX {
        let Some(stored) = log
            .last(stream::EVENTS, &key.subject(Family::Inbound))
            .await?
        else {
            // The log may have forgotten that it ended; its link has not.
            let survivor = customers::survivor(log, portfolio, &key.customer).await?;
            key.customer = survivor.unwrap_or(key.customer);
            break;
        };
        let known = converted(&stored, inbound::known(&decoded(&stored)?))?;
        evidence = evidence.join(known.summary.carried);
        let Some(moved) = known.moved_to else { break };
        key.customer = moved.survivor;
    }
    Ok((key, evidence))
}

impl Present {
    /// What was told is a fact, too: it may be newer than what is left of the inbound subject.
    fn take_window(&mut self, stored: &Stored) -> Result<(), PresentError> {
        let event = decoded(stored)?;
        let published = converted(stored, window::read(&event))?;
        let last = published.last_inbound.clone();
        let erased = published
            .closed
            .filter(|closed| closed.reason == ClosedReason::Erased);
        let known = Facts {
            last_qualifying: Some(last),
            erased_at: erased.map(|closed| closed.at),
            told_waiting_since: published.circumstances.waiting_since,
            evidence: published.evidence,
            ..Facts::default()
        };
        self.facts = known.carried_on_by(std::mem::take(&mut self.facts));
        self.published = Some(published);
        self.told = stored.sequence;
        self.traceparent = stored.header(header::TRACEPARENT).map(str::to_owned);
        self.take_conversation(&event);
        Ok(())
    }

    fn take_evidence(&mut self, stored: &Stored) -> Result<(), PresentError> {
        let event = decoded(stored)?;
        let evidence = converted(stored, window::read_evidence(&event))?;
        self.facts = std::mem::take(&mut self.facts).with_evidence(evidence);
        self.take_conversation(&event);
        Ok(())
    }

    fn take_inbound(&mut self, stored: &Stored) -> Result<(), PresentError> {
        let event = decoded(stored)?;
        let known = converted(stored, inbound::known(&event))?;
        self.is_heard = true;
        self.facts = Facts::of(&known.summary).carried_on_by(std::mem::take(&mut self.facts));
        self.addresses = known.summary.addresses();
        if self.traceparent.is_none() {
            self.traceparent = stored.header(header::TRACEPARENT).map(str::to_owned);
        }
        if let Some(moved) = known.moved_to {
            self.facts.merged_at = Some(moved.at);
            self.survivor = Some(moved.survivor);
        }
        self.take_conversation(&event);
        Ok(())
    }

    fn take_conversation(&mut self, event: &Event) {
        let Some(conversation) = conversation(event) else {
            return;
        };
        for (known, named) in [
            (&mut self.brand, &conversation.brand_id),
            (&mut self.portfolio, &conversation.portfolio_id),
        ] {
            if !named.is_empty() {
                known.clone_from(named);
            }
        }
    }
}

fn decoded(stored: &Stored) -> Result<Event, PresentError> {
    stored.event().map_err(|source| PresentError::Decode {
        sequence: stored.sequence,
        source,
    })
}

fn converted<T>(stored: &Stored, read: Result<Option<T>, ConvertError>) -> Result<T, PresentError> {
    match read {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(PresentError::Foreign {
            sequence: stored.sequence,
            event_type: stored.event_type().to_owned(),
        }),
        Err(source) => Err(PresentError::Convert {
            sequence: stored.sequence,
            source,
        }),
    }
}

/// Returns the conversation that an event of the three families names.
fn conversation(event: &Event) -> Option<&v1::Conversation> {
    match event {
        Event::InboundMessageReceived(event) => event.conversation.as_ref(),
        Event::InboundCallReceived(event) => event.conversation.as_ref(),
        Event::InboundSmsReceived(event) => event.conversation.as_ref(),
        Event::CustomerIdentityChanged(event) => event.conversation.as_ref(),
        Event::CustomerPreferenceReported(event) => event.conversation.as_ref(),
        Event::ThreadOwnerChanged(event) => event.conversation.as_ref(),
        Event::EchoReceived(event) => event.conversation.as_ref(),
        Event::HistoryImported(event) => event.conversation.as_ref(),
        Event::LateFact(event) => event.conversation.as_ref(),
        Event::MovedTo(event) => event.conversation.as_ref(),
        Event::CustomerMerged(event) => event.conversation.as_ref(),
        Event::WindowRefused(event) => event.conversation.as_ref(),
        Event::WindowProven(event) => event.conversation.as_ref(),
        Event::CustomerAnswered(event) => event.conversation.as_ref(),
        Event::FreeEntryPointStarted(event) => event.conversation.as_ref(),
        Event::FreeEntryPointReported(event) => event.conversation.as_ref(),
        Event::WindowOpened(event) => event.window.as_ref()?.conversation.as_ref(),
        Event::WindowExtended(event) => event.window.as_ref()?.conversation.as_ref(),
        Event::WindowExpiring(event) => event.window.as_ref()?.conversation.as_ref(),
        Event::WindowExpired(event) => event.window.as_ref()?.conversation.as_ref(),
        Event::WindowCorrected(event) => event.window.as_ref()?.conversation.as_ref(),
        _ => None,
    }
}
