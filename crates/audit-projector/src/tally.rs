//! What lists of conversations show besides window and handling: the last messages, how much is
//! unread, since when the customer waits, who owns the thread; and where a conversation stood
//! before, so that somebody who pages through a list gets each one once.
//!
//! Pure. All of it but the last messages comes from one stream, and so in its order; of the last
//! messages those are kept that are newest by their own time, whichever comes first.

use casement_event::Stored;
use casement_event::convert::timestamp;
use casement_event::v1::ThreadOwner;
use casement_proto::conversation::v1::{Direction, RecentMessage};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{instant, nanoseconds};
use crate::said::Said;

/// How many of the last messages are kept.
pub(crate) const RECENT_COUNT: usize = 5;

/// Longest text of one of them, in characters.
const RECENT_TEXT_LEN_MAX: usize = 200;

/// How many unread messages are counted; more are as many.
pub(crate) const UNREAD_COUNT_MAX: usize = 100;

/// Of how many unanswered messages the time is remembered: the first, and the newest.
const UNANSWERED_COUNT_MAX: usize = 32;

/// For how long it is remembered where a conversation stood: as long as paging through a list may
/// take.
pub(crate) const PAGING_MAX: SignedDuration = SignedDuration::from_mins(15);

/// How many places are remembered at most.
const MOVE_COUNT_MAX: usize = 64;

/// One of the last messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) direction: Direction,
    pub(crate) kind: String,
    pub(crate) text: String,
    /// Of a message of ours.
    pub(crate) message_id: String,
}

impl Recent {
    /// As the API shows it.
    pub(crate) fn shown(&self) -> RecentMessage {
        RecentMessage {
            direction: self.direction.into(),
            kind: self.kind.clone(),
            text: self.text.clone(),
            time: Some(timestamp(self.at)),
            message_id: self.message_id.clone(),
            event_id: self.id.clone(),
        }
    }
}

/// Keeps something that was said, if it is among the newest.
pub(crate) fn keep(recent: &mut Vec<Recent>, said: &Said) {
    if recent.iter().any(|known| known.id == said.id) {
        return;
    }
    let mut text: String = said.text.chars().take(RECENT_TEXT_LEN_MAX).collect();
    if text.len() < said.text.len() {
        text.push('…');
    }
    recent.push(Recent {
        id: said.id.clone(),
        at: said.at,
        direction: said.direction,
        kind: said.kind.clone(),
        text,
        message_id: said.message_id.clone(),
    });
    recent.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
    recent.truncate(RECENT_COUNT);
}

/// Where a conversation stands in the orders of lists, in nanoseconds as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places {
    #[serde(rename = "e")]
    pub(crate) expiry: i64,
    #[serde(rename = "h")]
    pub(crate) heard: i64,
    #[serde(rename = "w")]
    pub(crate) waiting: i64,
}

/// Where a conversation stood before an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Move {
    /// Of the event.
    #[serde(rename = "s")]
    sequence: u64,
    /// When the log took it.
    #[serde(rename = "t")]
    at: i64,
    /// Nowhere, if it was not there yet.
    #[serde(rename = "p")]
    before: Option<Places>,
}

/// As of which event a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AsOf {
    /// Of `EVENTS`.
    pub(crate) sequence: u64,
    /// When paging began.
    pub(crate) began: Timestamp,
}

impl AsOf {
    /// The earliest time at which something can have happened since.
    pub(crate) fn since(&self) -> Timestamp {
        let since = self.began.checked_sub(PAGING_MAX);
        since.unwrap_or(Timestamp::MIN)
    }
}

/// What is counted of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// When the log took what no colleague has read, oldest first.
    #[serde(rename = "u", skip_serializing_if = "Vec::is_empty")]
    unread: Vec<i64>,
    /// When the customer wrote what nobody has answered, oldest first.
    #[serde(rename = "a", skip_serializing_if = "Vec::is_empty")]
    unanswered: Vec<i64>,
    /// When the business last answered.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    answered: Option<i64>,
    #[serde(rename = "o")]
    owner: i32,
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    owner_at: Option<i64>,
    #[serde(rename = "m", skip_serializing_if = "Vec::is_empty")]
    moves: Vec<Move>,
}

impl Tally {
    /// How much no colleague has read, [`UNREAD_COUNT_MAX`] at most.
    pub(crate) fn unread_count(&self) -> usize {
        self.unread.len()
    }

    /// Since when the customer waits for an answer.
    pub(crate) fn waiting_since(&self) -> Option<Timestamp> {
        self.unanswered.first().copied().map(instant)
    }

    /// Who owns the thread, as far as was told.
    pub(crate) fn thread_owner(&self) -> ThreadOwner {
        ThreadOwner::try_from(self.owner).unwrap_or_default()
    }

    /// The customer wrote or called at `at`, which the log took at `stored_at`.
    pub(crate) fn heard(&mut self, at: Timestamp, stored_at: Timestamp) {
        insert(&mut self.unread, nanoseconds(stored_at));
        if self.unread.len() > UNREAD_COUNT_MAX {
            self.unread.remove(0);
        }
        let at = nanoseconds(at);
        if self.answered.is_none_or(|answered| at > answered) {
            insert(&mut self.unanswered, at);
            if self.unanswered.len() > UNANSWERED_COUNT_MAX {
                self.unanswered.remove(1);
            }
        }
    }

    /// The business answered all that was said up to a time.
    pub(crate) fn answered(&mut self, at: Timestamp) {
        let at = nanoseconds(at);
        self.answered = self.answered.max(Some(at));
        self.unanswered.retain(|unanswered| *unanswered > at);
    }

    /// Colleagues have read all that the log took up to a time.
    pub(crate) fn read(&mut self, through: Timestamp) {
        let through = nanoseconds(through);
        self.unread.retain(|unread| *unread > through);
    }

    /// Somebody owns the thread since a time.
    pub(crate) fn owned(&mut self, owner: ThreadOwner, since: Option<Timestamp>) {
        let since = since.map(nanoseconds);
        if owner != ThreadOwner::Unspecified && since >= self.owner_at {
            self.owner = owner.into();
            self.owner_at = since;
        }
    }

    /// Notes where the conversation stood before an event.
    pub(crate) fn moved(&mut self, stored: &Stored, before: Option<Places>) {
        let at = nanoseconds(stored.stored_at);
        let oldest = stored.stored_at.checked_sub(PAGING_MAX);
        let oldest = oldest.map_or(i64::MIN, nanoseconds);
        self.moves.retain(|known| known.at >= oldest);
        if self.moves.len() >= MOVE_COUNT_MAX {
            self.moves.remove(0);
        }
        self.moves.push(Move {
            sequence: stored.sequence,
            at,
            before,
        });
    }

    /// Where the last move stands, and when the log took it.
    pub(crate) fn last_move(&self) -> (u64, i64) {
        let last = self.moves.last();
        last.map_or((0, i64::MIN), |last| (last.sequence, last.at))
    }

    /// Returns where the conversation stood, given where it stands; nowhere, if it was not there.
    pub(crate) fn places(&self, as_of: Option<AsOf>, present: Places) -> Option<Places> {
        let Some(as_of) = as_of else {
            return Some(present);
        };
        let since = nanoseconds(as_of.since());
        let moved = self
            .moves
            .iter()
            .find(|known| known.sequence > as_of.sequence && known.at > since);
        moved.map_or(Some(present), |moved| moved.before)
    }
}

fn insert(times: &mut Vec<i64>, time: i64) {
    let place = times.partition_point(|known| *known <= time);
    times.insert(place, time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::model::ConversationKey;

    fn at(second: i64) -> Timestamp {
        fixture::start() + SignedDuration::from_secs(second)
    }

    #[test]
    fn the_newest_messages_are_kept_whichever_comes_first() {
        let said = |second: i64| Said {
            key: ConversationKey {
                number: "1".to_owned(),
                customer_id: "c".to_owned(),
            },
            brand_id: String::new(),
            id: format!("fact {second}"),
            at: at(second),
            direction: Direction::Inbound,
            kind: "text".to_owned(),
            text: "x".repeat(RECENT_TEXT_LEN_MAX + 1),
            message_id: String::new(),
        };
        let kept = |order: &[i64]| {
            let mut recent = Vec::new();
            for second in order {
                keep(&mut recent, &said(*second));
            }
            recent.into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        let expected: Vec<_> = (3..8)
            .rev()
            .map(|second| format!("fact {second}"))
            .collect();
        assert_eq!(kept(&[1, 2, 3, 4, 5, 6, 7, 7]), expected);
        assert_eq!(kept(&[7, 3, 6, 1, 5, 2, 4, 3]), expected);
        let mut recent = Vec::new();
        keep(&mut recent, &said(1));
        assert_eq!(recent[0].text.chars().count(), RECENT_TEXT_LEN_MAX + 1);
        assert!(recent[0].text.ends_with('…'));
    }

    #[test]
    fn the_customer_waits_from_the_first_message_that_nobody_answered() {
        let mut tally = Tally::default();
        assert_eq!(tally.waiting_since(), None);
        tally.heard(at(10), at(11));
        tally.heard(at(20), at(21));
        assert_eq!(tally.waiting_since(), Some(at(10)));
        tally.answered(at(15));
        assert_eq!(tally.waiting_since(), Some(at(20)), "said since");
        tally.heard(at(12), at(30));
        assert_eq!(tally.waiting_since(), Some(at(20)), "late, and answered");
        tally.answered(at(20));
        assert_eq!(tally.waiting_since(), None);
        for second in 100..200 {
            tally.heard(at(second), at(second));
        }
        assert_eq!(tally.waiting_since(), Some(at(100)));
        assert!(tally.unanswered.len() <= UNANSWERED_COUNT_MAX);
    }

    #[test]
    fn what_is_read_is_no_longer_counted() {
        let mut tally = Tally::default();
        for second in 0..3 {
            tally.heard(at(second), at(second));
        }
        assert_eq!(tally.unread_count(), 3);
        tally.read(at(1));
        assert_eq!(tally.unread_count(), 1);
        for second in 3..500 {
            tally.heard(at(second), at(second));
        }
        assert_eq!(tally.unread_count(), UNREAD_COUNT_MAX);
        tally.read(at(499));
        assert_eq!(tally.unread_count(), 0);
    }

    #[test]
    fn an_older_word_never_takes_the_thread_back() {
        let mut tally = Tally::default();
        tally.owned(ThreadOwner::Other, Some(at(5)));
        tally.owned(ThreadOwner::Us, Some(at(4)));
        tally.owned(ThreadOwner::Unspecified, Some(at(9)));
        assert_eq!(tally.thread_owner(), ThreadOwner::Other);
        tally.owned(ThreadOwner::Us, Some(at(6)));
        assert_eq!(tally.thread_owner(), ThreadOwner::Us);
    }

    #[test]
    fn where_a_conversation_stood_is_known_for_as_long_as_paging_may_take() {
        let places = |expiry| Places {
            expiry,
            heard: 0,
            waiting: 0,
        };
        let event = |sequence| fixture::stored("EVENTS", sequence);
        let mut tally = Tally::default();
        tally.moved(&event(5), None);
        tally.moved(&event(7), Some(places(10)));
        tally.moved(&event(9), Some(places(20)));
        let stood = |sequence| {
            let as_of = AsOf {
                sequence,
                began: at(10),
            };
            tally.places(Some(as_of), places(30))
        };
        assert_eq!(stood(4), None, "it was not there");
        assert_eq!(stood(5), Some(places(10)));
        assert_eq!(stood(8), Some(places(20)));
        assert_eq!(stood(9), Some(places(30)));
        assert_eq!(tally.last_move().0, 9);
        for sequence in 10..2_000 {
            tally.moved(&event(sequence), Some(places(1)));
        }
        assert!(tally.moves.len() <= MOVE_COUNT_MAX);
        let text = serde_json::to_vec(&tally).unwrap();
        assert_eq!(serde_json::from_slice::<Tally>(&text).unwrap(), tally);
        assert_eq!(
            serde_json::to_string(&Tally::default()).unwrap(),
            r#"{"o":0}"#
        );
    }
}
