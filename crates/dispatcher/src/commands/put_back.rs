//! A command that was refused for good, put back as it came: for when what refused it was set right.
//!
//! It is a command like any other from then on, its time counts anew, and its sender is told again
//! where it listened. Its `request_id` keeps it one message, however often it is put back.

use casement_event::subject::{self, stream};
use casement_event::{header, v1};
use casement_event_log::dead::Letter;
use casement_event_log::{AppendError, Log};
use jiff::Timestamp;

use super::ANSWER_TO;

/// A command could not be put back.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// The letter is of something else, or of a version that did not keep where it was published.
    #[error("the letter does not say where a command was published")]
    NotACommand,
    /// Nothing is in the letter that could be put back.
    #[error("the command was sensitive, or empty: there is nothing to put back")]
    NotKept,
    /// It may stand among the commands, or not; the letter is still listed.
    #[error("command could not be published")]
    Publish(#[source] AppendError),
    /// It is put back, but the letter is still listed.
    #[error("what was done could not be written down")]
    Settle(#[source] AppendError),
}

/// Puts a dead letter's command back, and writes that down: the letter is no longer listed. If it
/// is refused again, that is another letter.
///
/// # Errors
/// See [`PutBackError`].
pub async fn put_back(
    log: &Log,
    letter: &Letter,
    reason: &str,
    now: Timestamp,
) -> Result<(), PutBackError> {
    publish_again(log, letter).await?;
    let outcome = v1::DeadLetterOutcome::Retried;
    log.settle_dead_letter(letter, outcome, reason, "casement/dispatcher", now)
        .await
        .map_err(PutBackError::Settle)?;
    Ok(())
}

/// Puts a dead letter's command back. Who calls writes that down.
pub(crate) async fn publish_again(log: &Log, letter: &Letter) -> Result<(), PutBackError> {
    let command = &letter.letter;
    let is_command =
        command.stream == stream::COMMANDS && subject::is_send_command(&command.subject);
    if !is_command {
        return Err(PutBackError::NotACommand);
    }
    if command.item.is_empty() {
        return Err(PutBackError::NotKept);
    }
    let headers = [
        (header::CONTENT_TYPE, command.content_type.as_str()),
        (ANSWER_TO, command.answer_to.as_str()),
    ];
    let headers: Vec<_> = headers
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    // Put back twice since nobody wrote the first time down, it is still one.
    let id = format!("{}/back", letter.id);
    log.command(&command.subject, &id, &headers, command.item.clone())
        .await
        .map_err(PutBackError::Publish)
}
