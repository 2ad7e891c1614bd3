//! Dead letters, and what was done about them.
//!
//! Nothing is deleted: dealing with a letter is an event of its own behind it, and both leave by
//! their age. Trying an item again is for the role that could not handle it.

mod asked;

use std::collections::BTreeMap;

use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Stored, Uuid, convert, id, v1};
use jiff::Timestamp;

use crate::{AppendError, Expect, Followed, Log, Position, ReadError, Start};

pub use asked::{ASKED_MAX, Answered, Tried, Wish};

/// Where the letters of all roles stand.
const ALL: &str = "casement.dead.>";

/// A letter that nobody has dealt with.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Where it stands on DEAD: its name for people.
    pub sequence: u64,
    /// The event's id. A letter that was written twice has the same one.
    pub id: Uuid,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// What it says.
    pub letter: v1::DeadLetter,
    /// What came of trying it last, and when; only told of letters that are listed.
    pub last_retry: Option<(String, Timestamp)>,
}

/// How a letter was dealt with.
#[derive(Debug, Clone, Copy)]
struct Settling<'a> {
    /// What became of it.
    outcome: v1::DeadLetterOutcome,
    /// Why, in the words of whoever did it.
    reason: &'a str,
    /// Who: the name of their token; empty for who works on the log itself.
    caller: &'a str,
}

impl Letter {
    /// Returns the letter that a message of DEAD is, or `None` if it is none.
    fn of(stored: &Stored) -> Result<Option<Self>, ReadError> {
        let event = stored.event().map_err(|error| unreadable(stored, &error))?;
        let Event::DeadLetter(letter) = event else {
            return Ok(None);
        };
        let id = stored
            .id()
            .ok_or_else(|| unreadable(stored, &"it has no id"))?;
        Ok(Some(Self {
            sequence: stored.sequence,
            id,
            stored_at: stored.stored_at,
            letter,
            last_retry: None,
        }))
    }
}

fn unreadable(stored: &Stored, problem: &dyn std::fmt::Display) -> ReadError {
    ReadError::Unreadable {
        what: format!("{} {}", stored.stream, stored.sequence),
        problem: problem.to_string(),
    }
}

impl Log {
    /// Returns the letters that nobody has dealt with, oldest first, without their items.
    ///
    /// # Errors
    /// The log cannot be read, or holds what this version cannot.
    pub async fn dead_letters(&self) -> Result<Vec<Letter>, ReadError> {
        let mut open: BTreeMap<Uuid, Letter> = BTreeMap::new();
        // Asked first, so that a broker that is away is an error here and not a wait below.
        if self.state(stream::DEAD).await?.messages == 0 {
            return Ok(Vec::new());
        }
        let mut follower = self.follow(stream::DEAD, vec![ALL.to_owned()], Start::Sequence(1));
        while let Followed::Event(stored) = follower.next().await {
            if let Some(mut letter) = Letter::of(&stored)? {
                letter.letter.item.clear();
                open.entry(letter.id).or_insert(letter);
            } else if let Ok(Event::DeadLetterSettled(settled)) = stored.event() {
                open.retain(|_, letter| letter.id.to_string() != settled.letter_id);
            } else if let Ok(Event::DeadLetterRetried(retried)) = stored.event() {
                let about = open.values_mut();
                let mut about = about.filter(|one| one.id.to_string() == retried.letter_id);
                if let Some(letter) = about.next() {
                    letter.last_retry = Some((retried.detail, stored.stored_at));
                }
            }
        }
        let mut letters: Vec<Letter> = open.into_values().collect();
        letters.sort_by_key(|letter| letter.sequence);
        Ok(letters)
    }

    /// Returns the letter at a sequence of DEAD, whole, whether it was dealt with or not.
    ///
    /// # Errors
    /// The log cannot be read, or holds what this version cannot.
    pub async fn dead_letter(&self, sequence: u64) -> Result<Option<Letter>, ReadError> {
        match self.get(stream::DEAD, sequence).await? {
            Some(stored) => Letter::of(&stored),
            None => Ok(None),
        }
    }

    /// Writes down that a letter was dealt with. From then on it is no longer listed.
    ///
    /// # Errors
    /// As every append.
    pub async fn settle_dead_letter(
        &self,
        letter: &Letter,
        outcome: v1::DeadLetterOutcome,
        reason: &str,
        source: &'static str,
        now: Timestamp,
    ) -> Result<Position, AppendError> {
        let settling = Settling {
            outcome,
            reason,
            caller: "",
        };
        self.settle(letter, settling, source, now).await
    }

    async fn settle(
        &self,
        letter: &Letter,
        Settling {
            outcome,
            reason,
            caller,
        }: Settling<'_>,
        source: &'static str,
        now: Timestamp,
    ) -> Result<Position, AppendError> {
        let role = &letter.letter.role;
        let event = v1::DeadLetterSettled {
            role: role.clone(),
            letter_id: letter.id.to_string(),
            letter_sequence: letter.sequence,
            outcome: outcome.into(),
            reason: reason.to_owned(),
            time: Some(convert::timestamp(now)),
            caller: caller.to_owned(),
        };
        let id = id::dead_settled(letter.sequence, outcome.as_str_name());
        let record = Record::new(subject::dead(role), id, source, now, event);
        self.append(record, Expect::Anything).await
    }
}
