//! The evidence of a conversation: what the outcome of our messages has told about it, appended
//! with the join of all before, so that the last message alone says it all.
//!
//! What an outcome tells is `finding`'s business; what a window or a clock makes of it, the
//! rules'.

use casement_domain::id::PortfolioId;
use casement_domain::message::Attempt;
use casement_domain::window::Evidence;
use casement_event::convert::window::Conversation;
use casement_event::convert::{self, ConvertError};
use casement_event::subject::{self, Family, stream};
use casement_event::{DecodeError, Extension, Record, id};
use casement_event_log::conversation::{self, PresentError};
use casement_event_log::{AppendError, Expect, Log, ReadError};

use crate::aggregate::Loaded;
use crate::engine::Engine;

mod finding;

pub(crate) use finding::{Finding, OUTSIDE_WINDOW, of_report};

/// Evidence could not be recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    #[error("evidence could not be read")]
    Read(#[from] ReadError),
    #[error("evidence could not be appended")]
    Append(#[from] AppendError),
    #[error("evidence could not be decoded")]
    Decode(#[from] DecodeError),
    #[error("evidence is not usable")]
    Convert(#[from] ConvertError),
    #[error("who carries the conversation on could not be found out")]
    Present(#[from] PresentError),
}

/// The evidence as it stands on the log.
struct Standing {
    evidence: Evidence,
    /// What the next append expects.
    sequence: u64,
}

/// Records what an attempt's outcome told, as far as it is news. Safe to repeat.
pub(crate) async fn record(
    engine: &Engine,
    message: &Loaded,
    attempt: &Attempt,
    findings: &[Finding<'_>],
) -> Result<(), EvidenceError> {
    if findings.is_empty() {
        return Ok(());
    }
    let (log, policy) = (&engine.log, &engine.rules.window);
    let conversation = &message.context.conversation;
    let portfolio = PortfolioId::parse(&conversation.portfolio).map_err(ConvertError::Id)?;
    let (carried_on, carried) = conversation::carried_on(log, &portfolio, &message.key()).await?;
    let conversation = Conversation {
        customer: carried_on.customer,
        ..conversation.clone()
    };
    let (number, customer) = (&conversation.number, &conversation.customer);
    let subject = subject::conversation(Family::Evidence, number, customer);
    let mut standing = read(log, &subject, carried).await?;
    for finding in findings {
        while let Some(joined) = finding.news(&standing.evidence, attempt.started_at, policy) {
            let told = finding.event(
                &conversation,
                &message.context.id,
                attempt,
                &standing.evidence,
                &joined,
            );
            let id = id::message_event(
                &message.context.id,
                told.event_type(),
                attempt.number,
                &finding.cause(),
            );
            let now = engine.clock.now();
            let record = Record::new(subject.clone(), id, "casement/dispatcher", now, told)
                .about(customer.as_str())
                .with(Extension::Number, number.digits())
                .with(Extension::Brand, &conversation.brand)
                .with(Extension::Customer, customer.as_str())
                .caused_by(message.traceparent.clone());
            let expected = Expect::last(subject.clone(), standing.sequence);
            standing = match log.append(record, expected).await {
                Ok(position) => Standing {
                    evidence: joined,
                    sequence: position.sequence,
                },
                Err(AppendError::Conflict { .. }) => read(log, &subject, carried).await?,
                Err(error) => return Err(error.into()),
            };
        }
    }
    Ok(())
}

/// Reads it, with what customer ids that have ended brought along.
async fn read(log: &Log, subject: &str, carried: Evidence) -> Result<Standing, EvidenceError> {
    let Some(stored) = log.last(stream::EVENTS, subject).await? else {
        return Ok(Standing {
            evidence: carried,
            sequence: 0,
        });
    };
    let evidence = convert::window::read_evidence(&stored.event()?)?;
    Ok(Standing {
        evidence: carried.join(evidence.unwrap_or_default()),
        sequence: stored.sequence,
    })
}
