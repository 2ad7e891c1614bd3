//! What the role keeps: archived rows, and the views that are projected from them.
//!
//! Plain data. How it is stored is the store's business, how it is shown is gRPC's.

use casement_domain::conversation::{Course, Handling};
use casement_event::{Event, Stored};
use casement_proto::conversation::v1::CustomerConsent;
use casement_proto::events::v1::{
    ClosedReason, DeliveryStatus, MessageOutcome, Route, ThreadOwner, WindowState,
};
use casement_proto::events::v1::{Cost, Label, ProviderError};
use casement_proto::message::v1::{Attempt, Deferral, MessageState};
use jiff::Timestamp;

use crate::chain::{Digest, Salt};
use crate::tally::{Places, Recent, Tally};

/// Longest id that rows are looked up by, in bytes. Longer ones are none of ours, and databases
/// bound what they index: they are archived with their event and found by nothing.
pub(crate) const KEY_LEN_MAX: usize = 256;

/// Nanoseconds since 1970, as stored. Holds every time from 1678 to 2261; others are cut to that.
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    let nanoseconds = at.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// Reads what [`nanoseconds`] wrote.
pub(crate) fn instant(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .expect("a timestamp reaches further than 64 bits of nanoseconds")
}

/// An event in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) stored: Stored,
    pub(crate) index: Index,
    pub(crate) salt: Salt,
    pub(crate) commitment: Digest,
    pub(crate) link: Digest,
    pub(crate) content: Content,
}

/// Whether payload and salt of a row are there. Where they are not, both are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Open,
    /// The key of its customer was destroyed.
    Erased,
    /// No master key here opens it.
    Sealed,
    /// It was changed or moved, or its key was lost: it does not open.
    Broken,
}

impl Row {
    /// Returns the event, if it is there and can be read.
    pub(crate) fn event(&self) -> Option<Event> {
        match self.content {
            Content::Open => self.stored.event().ok(),
            Content::Erased | Content::Sealed | Content::Broken => None,
        }
    }
}

/// What a row is looked up by. Empty where it does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) event_type: String,
    pub(crate) event_id: String,
    pub(crate) event_time: Timestamp,
    pub(crate) number: String,
    pub(crate) customer_id: String,
    pub(crate) message_id: String,
    pub(crate) brand_id: String,
}

/// Names a conversation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConversationKey {
    /// E.164 digits.
    pub(crate) number: String,
    pub(crate) customer_id: String,
}

/// What an event changes in the read models.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Conversation {
        key: ConversationKey,
        brand_id: String,
        change: ConversationChange,
    },
    Message {
        message_id: String,
        change: MessageChange,
    },
    /// What a customer allows, whole.
    Consents {
        customer_id: String,
        consents: Vec<CustomerConsent>,
    },
}

/// What an event changes in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConversationChange {
    /// It exists.
    Seen,
    /// The customer got in touch.
    Inbound {
        /// Counts once, however often it arrives. Empty: counts each time.
        fact: String,
        at: Timestamp,
        /// `None` leaves what the customer said last.
        text: Option<String>,
        profile_name: Option<String>,
    },
    /// The business got through.
    Outbound {
        fact: String,
        at: Timestamp,
        /// Of a message of ours; `None` if it was written elsewhere.
        attempt: Option<AttemptKey>,
    },
    /// What was told beside what happened.
    Told {
        /// When the business answered.
        answered: Option<Timestamp>,
        owner: ThreadOwner,
        owner_since: Option<Timestamp>,
    },
    /// An attempt came to nothing, perhaps after the platform had taken it.
    Failed { attempt: AttemptKey },
    /// A colleague did something.
    Handled {
        handling: Handling,
        /// Whom a note mentions.
        mentions: Vec<String>,
    },
    /// The window was published anew.
    Window {
        window_id: String,
        state: WindowState,
        closed_reason: ClosedReason,
        open_time: Option<Timestamp>,
        expire_time: Option<Timestamp>,
        /// When it closed or will.
        lock_time: Option<Timestamp>,
        is_end_announced: bool,
    },
}

/// Names an attempt of a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttemptKey {
    pub(crate) message_id: String,
    pub(crate) number: u32,
}

impl AttemptKey {
    /// As it is remembered with a conversation.
    pub(crate) fn text(&self) -> String {
        format!("{}/{}", self.message_id, self.number)
    }
}

/// What an event changes in a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MessageChange {
    Requested {
        key: ConversationKey,
        brand_id: String,
        client_reference: String,
        labels: Vec<Label>,
        is_sensitive: bool,
        send_time: Option<Timestamp>,
        held_message_id: String,
        request_time: Option<Timestamp>,
        expire_time: Option<Timestamp>,
    },
    /// An ended message stays ended.
    State {
        state: MessageState,
        reason: String,
    },
    /// Waits for the customer, whom another message may have asked to write.
    Held {
        reason: String,
        nudge_message_id: String,
    },
    /// Waits for the end of a halt.
    Deferred {
        deferral: Deferral,
    },
    /// Reached the customer by each of these attempts.
    DoubleExposure {
        attempts: Vec<u32>,
    },
    Attempt {
        number: u32,
        route: Route,
        sms_gateway: String,
        start_time: Option<Timestamp>,
    },
    /// What came of an attempt, and the state that it leaves the message in.
    Tried {
        number: u32,
        result: AttemptResult,
        state: MessageState,
        reason: String,
    },
    /// No delivery of an attempt was reported in time.
    Overdue {
        number: u32,
        moves_on: bool,
        is_risky: bool,
        reason: String,
    },
    Delivery {
        number: u32,
        status: DeliveryStatus,
    },
    /// What an attempt costs, as far as is known.
    Cost {
        number: u32,
        cost: Cost,
    },
    Ended {
        outcome: MessageOutcome,
        reason: String,
        at: Timestamp,
    },
    /// Something new stands under it on the log, and that is all.
    Touched,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AttemptResult {
    /// With the word for how the provider took it.
    Accepted {
        provider_message_id: String,
        state: &'static str,
    },
    Rejected {
        error: Option<ProviderError>,
    },
    Unknown,
    Abandoned,
}

/// A conversation as projected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) key: ConversationKey,
    pub(crate) brand_id: String,
    pub(crate) window_id: String,
    /// As last published; see [`Conversation::window`].
    pub(crate) published_state: WindowState,
    pub(crate) closed_reason: ClosedReason,
    pub(crate) open_time: Option<Timestamp>,
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) last_inbound_time: Option<Timestamp>,
    pub(crate) last_outbound_time: Option<Timestamp>,
    pub(crate) last_inbound_text: String,
    pub(crate) profile_name: String,
    pub(crate) inbound_count: i64,
    pub(crate) outbound_count: i64,
    pub(crate) position: RowPosition,
    /// Whether it was announced that the window ends soon.
    pub(crate) is_end_announced: bool,
    /// When the window closed or will.
    pub(crate) lock_time: Option<Timestamp>,
    /// When the log took the newest of the customer.
    pub(crate) heard_time: Option<Timestamp>,
    /// When the platform took the last template that it did not fail to deliver.
    pub(crate) template_time: Option<Timestamp>,
    /// Its attempt: [`AttemptKey::text`].
    pub(crate) template_attempt: String,
    pub(crate) handling: Handling,
    pub(crate) handled: Handled,
    /// What was said last, newest first.
    pub(crate) recent: Vec<Recent>,
    pub(crate) tally: Tally,
    /// As they are kept of the customer.
    pub(crate) consents: Vec<CustomerConsent>,
}

/// Where the last event of a colleague stands; nothing, if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Handled {
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
}

impl Handled {
    /// What stands for it, opaque to callers.
    pub(crate) fn etag(&self) -> String {
        format!("{}-{}", self.sequence, self.incarnation)
    }
}

impl Conversation {
    /// Returns where it stands in lists.
    pub(crate) fn places(&self) -> Places {
        Places {
            expiry: self.expire_time.map_or(i64::MAX, nanoseconds),
            heard: self.heard_time.map_or(i64::MIN, nanoseconds),
            waiting: self.tally.waiting_since().map_or(i64::MAX, nanoseconds),
        }
    }

    /// Returns what its status follows from.
    pub(crate) fn course(&self) -> Course {
        let is_published_open = self.published_state == WindowState::Open;
        Course {
            open_until: self.expire_time.filter(|_| is_published_open),
            is_end_announced: self.is_end_announced,
            locked_at: self.lock_time,
            heard_at: self.last_inbound_time,
            template_at: self.template_time,
        }
    }

    /// Returns the window's state at `now`, and why it is closed.
    ///
    /// An open window whose expiry has passed is closed, whether or not its `WindowExpired` has
    /// been archived. The published expiry may be early by the granularity of `WindowExtended`,
    /// never late: this errs towards closed. The window's own service knows it exactly.
    pub(crate) fn window(&self, now: Timestamp) -> (WindowState, ClosedReason) {
        match self.published_state {
            WindowState::Open if self.expire_time.is_some_and(|expires_at| now < expires_at) => {
                (WindowState::Open, ClosedReason::Unspecified)
            }
            WindowState::Open => (WindowState::Closed, ClosedReason::Expired),
            WindowState::Closed | WindowState::Unspecified => {
                (WindowState::Closed, self.closed_reason)
            }
        }
    }
}

/// Where the last event stands that changed a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowPosition {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
}

impl RowPosition {
    pub(crate) fn of(stored: &Stored) -> Self {
        Self {
            stream: stored.stream.clone(),
            incarnation: stored.incarnation.clone(),
            sequence: stored.sequence,
        }
    }
}

/// An outbound message as projected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) key: ConversationKey,
    pub(crate) brand_id: String,
    pub(crate) state: MessageState,
    pub(crate) outcome: MessageOutcome,
    /// Why it is in its state.
    pub(crate) reason: String,
    pub(crate) delivery_status: DeliveryStatus,
    pub(crate) attempt_count: u32,
    pub(crate) route: Route,
    pub(crate) client_reference: String,
    pub(crate) request_time: Option<Timestamp>,
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) update_time: Option<Timestamp>,
    pub(crate) end_time: Option<Timestamp>,
    pub(crate) is_purged: bool,
    pub(crate) labels: Vec<Label>,
    /// What it says is kept from everybody.
    pub(crate) is_sensitive: bool,
    /// When it goes, if it was asked to go at a time.
    pub(crate) send_time: Option<Timestamp>,
    /// In order, without decisions.
    pub(crate) attempts: Vec<Attempt>,
    /// Set while it waits for the end of a halt.
    pub(crate) deferral: Option<Deferral>,
    pub(crate) double_exposure: Vec<u32>,
    /// The message that asked the customer to write when this one was held; empty if none did.
    pub(crate) nudge_message_id: String,
    /// The held message that this one asks the customer to write for; empty if it does not.
    pub(crate) held_message_id: String,
    pub(crate) position: RowPosition,
}
