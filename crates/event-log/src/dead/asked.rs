//! Wishes to have dead letters dealt with, and the roles that grant them.
//!
//! Only the role that wrote a letter can try its item again, and only it may write about the letter.
//! So a wish is an event, too, which each role takes up for its own letters. Wishes are safe to
//! repeat: a letter that was dealt with meanwhile is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::{Event, Record, convert, id, v1};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{ALL, Letter, Settling};
use crate::{
    AppendError, Delivery, Expect, Failure, Followed, Log, Position, ReadError, Start, WorkSpec,
};

/// Wishes in hand at once.
const IN_HAND_MAX: usize = 1;

/// How long one may take before another process gets it.
const ACK_WAIT: Duration = Duration::from_mins(5);

/// Most letters of one wish.
pub const ASKED_MAX: usize = 500;

/// What trying a letter's item again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// It became what it should.
    Helped,
    /// It did not, for this reason.
    InVain(String),
}

/// Somebody's wish.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Retried to have letters tried again, Dropped to give them up.
    pub wanted: v1::DeadLetterOutcome,
    /// Why, in the words of whoever asks.
    pub reason: &'a str,
    /// The name of their token.
    pub caller: &'a str,
}

/// What a role said about a letter since it was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// It is dealt with.
    Settled(v1::DeadLetterOutcome),
    /// It was tried in vain, for this reason.
    InVain(String),
}

impl Log {
    /// Asks the roles that wrote letters to deal with them: at most [`ASKED_MAX`].
    ///
    /// `role` is who asks, and writes that down among its own.
    ///
    /// # Errors
    /// As every append.
    pub async fn ask_about_dead_letters(
        &self,
        letters: &[Letter],
        wish: Wish<'_>,
        (role, source): (&'static str, &'static str),
        now: Timestamp,
    ) -> Result<Position, AppendError> {
        let letters: Vec<_> = letters
            .iter()
            .take(ASKED_MAX)
            .map(|one| v1::dead_letters_asked::Letter {
                role: one.letter.role.clone(),
                letter_id: one.id.to_string(),
                letter_sequence: one.sequence,
            })
            .collect();
        let about: Vec<_> = letters
            .iter()
            .map(|one| one.letter_sequence.to_string())
            .collect();
        let event = v1::DeadLettersAsked {
            letters,
            wanted: wish.wanted.into(),
            reason: wish.reason.to_owned(),
            caller: wish.caller.to_owned(),
            time: Some(convert::timestamp(now)),
        };
        let id = id::repair(wish.caller, now.as_nanosecond(), &about.join(" "));
        let record = Record::new(subject::dead(role), id, source, now, event);
        self.append(record, Expect::Anything).await
    }

    /// Returns what roles say about letters after a position, by the letters' sequences: all of it
    /// once each was answered, or `patience` is over.
    pub async fn answers_about_dead_letters(
        &self,
        sequences: &[u64],
        after: &Position,
        patience: Duration,
    ) -> BTreeMap<u64, Answered> {
        let mut answers = BTreeMap::new();
        let start = Start::Sequence(after.sequence + 1);
        let mut follower = self.follow(stream::DEAD, vec![ALL.to_owned()], start);
        let listen = async {
            while answers.len() < sequences.len() {
                let Followed::Event(stored) = follower.next().await else {
                    continue;
                };
                match stored.event() {
                    Ok(Event::DeadLetterSettled(event))
                        if sequences.contains(&event.letter_sequence) =>
                    {
                        let settled = Answered::Settled(event.outcome());
                        answers.insert(event.letter_sequence, settled);
                    }
                    Ok(Event::DeadLetterRetried(event))
                        if sequences.contains(&event.letter_sequence) =>
                    {
                        answers.insert(event.letter_sequence, Answered::InVain(event.detail));
                    }
                    _ => {}
                }
            }
        };
        let _ = tokio::time::timeout(patience, listen).await;
        answers
    }

    /// Deals with a role's own letters as they are asked about, until the stop. `retry` gets letters
    /// whole; what it fails with is tried again later. Replicas share the wishes.
    pub async fn grant_wishes<F, R>(
        &self,
        (role, source): (&'static str, &'static str),
        now: impl Fn() -> Timestamp + Sync,
        stopping: CancellationToken,
        retry: F,
    ) where
        F: Fn(Letter) -> R + Sync,
        R: Future<Output = Result<Tried, Failure>> + Send,
    {
        let spec = WorkSpec {
            name: queue(role),
            stream: stream::DEAD,
            filters: vec![subject::dead("ingress")],
            in_hand_max: IN_HAND_MAX,
            ack_wait: ACK_WAIT,
        };
        let (now, retry) = (&now, &retry);
        self.work(spec, stopping, |delivery| async move {
            self.grant((role, source), delivery, now, retry).await
        })
        .await;
    }

    async fn grant<F, R>(
        &self,
        (role, source): (&'static str, &'static str),
        delivery: Delivery,
        now: &(impl Fn() -> Timestamp + Sync),
        retry: &F,
    ) -> Result<(), Failure>
    where
        F: Fn(Letter) -> R + Sync,
        R: Future<Output = Result<Tried, Failure>> + Send,
    {
        let Ok(Event::DeadLettersAsked(asked)) = delivery.stored.event() else {
            return Ok(());
        };
        let own = asked.letters.iter().filter(|one| one.role == role);
        let own: Vec<u64> = own.map(|one| one.letter_sequence).collect();
        if own.is_empty() {
            return Ok(());
        }
        let open = self.dead_letters().await?;
        for sequence in own {
            if !open.iter().any(|one| one.sequence == sequence) {
                continue;
            }
            let Some(letter) = self.dead_letter(sequence).await? else {
                continue;
            };
            let settling = Settling {
                outcome: asked.wanted(),
                reason: &asked.reason,
                caller: &asked.caller,
            };
            if asked.wanted() == v1::DeadLetterOutcome::Dropped {
                self.settle(&letter, settling, source, now()).await?;
                continue;
            }
            match retry(letter.clone()).await? {
                Tried::Helped => {
                    self.settle(&letter, settling, source, now()).await?;
                }
                Tried::InVain(detail) => {
                    let time = now();
                    let event = v1::DeadLetterRetried {
                        role: role.to_owned(),
                        letter_id: letter.id.to_string(),
                        letter_sequence: sequence,
                        detail,
                        time: Some(convert::timestamp(time)),
                        caller: asked.caller.clone(),
                    };
                    let id = id::dead_retried(sequence, delivery.stored.sequence);
                    let record = Record::new(subject::dead(role), id, source, time, event);
                    self.append(record, Expect::Anything).await?;
                }
            }
        }
        Ok(())
    }
}

/// The durable queue of wishes for a role.
fn queue(role: &str) -> &'static str {
    match role {
        "ingress" => "ingress-wishes",
        "window-tracker" => "window-tracker-wishes",
        "dispatcher" => "dispatcher-wishes",
        _ => "accounts-wishes",
    }
}

impl Log {
    /// Returns the stored event that a letter is about; `None` if it has left the log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn buried(
        &self,
        letter: &Letter,
    ) -> Result<Option<casement_event::Stored>, ReadError> {
        self.get(&letter.letter.stream, letter.letter.sequence)
            .await
    }
}
