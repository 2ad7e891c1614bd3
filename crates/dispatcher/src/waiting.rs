//! What callers wait for: a position of the log, an attempt, a delivery.

use std::time::Duration;

use casement_domain::id::MessageId;
use casement_domain::message::{AttemptState, DeliveryStatus, Phase};
use casement_event_log::{Log, Position};
use casement_proto::message::v1 as api;
use casement_shell::backoff::Schedule;
use casement_shell::grpc::{bad_field, refuse};
use tokio::sync::broadcast;
use tonic::{Code, Status};

use crate::aggregate::{self, Loaded};

/// How long a call waits for a position to be reached.
const POSITION_WITHIN: Duration = Duration::from_secs(5);

/// How long a call waits at most for an attempt or a delivery.
const WAIT_FOR_WITHIN: Duration = Duration::from_secs(30);

/// Waits until the message has come as far as the caller wants, or for as long as it may. It is
/// durable either way; the answer says how far it has come.
pub(crate) async fn until(
    log: &Log,
    mut loaded: Loaded,
    wait_for: api::WaitFor,
    mut changes: broadcast::Receiver<MessageId>,
) -> Loaded {
    let id = loaded.context.id.clone();
    let mut waits = Schedule::DEFAULT.waits();
    let far_enough = async {
        while !has_come(&loaded, wait_for) {
            // Who has fallen behind looks for himself.
            while let Ok(changed) = changes.recv().await {
                if changed == id {
                    break;
                }
            }
            loop {
                match aggregate::load(log, &id).await {
                    Ok(Some(newer)) => {
                        loaded = newer;
                        break;
                    }
                    Ok(None) => break,
                    // Neither the message nor what was heard of it is lost.
                    Err(_) => tokio::time::sleep(waits.next_wait()).await,
                }
            }
        }
    };
    // The time being over is no failure.
    let _ = tokio::time::timeout(WAIT_FOR_WITHIN, far_enough).await;
    loaded
}

fn has_come(loaded: &Loaded, wait_for: api::WaitFor) -> bool {
    let is_over = matches!(
        loaded.message.phase,
        Phase::Ending { .. } | Phase::Ended { .. }
    );
    match wait_for {
        api::WaitFor::Unspecified | api::WaitFor::Durable => true,
        api::WaitFor::Attempted => {
            // Neither goes on before something happens that nobody knows when.
            let is_kept = matches!(
                loaded.message.phase,
                Phase::Held { .. }
                    | Phase::Pending {
                        deferral: Some(_),
                        ..
                    }
            );
            let is_attempted = loaded
                .message
                .attempts
                .iter()
                .any(|attempt| !matches!(attempt.state, AttemptState::Started));
            is_over || is_kept || is_attempted
        }
        api::WaitFor::Delivered => {
            is_over
                || loaded
                    .message
                    .delivery
                    .is_some_and(DeliveryStatus::has_arrived)
        }
    }
}

/// Waits until the log has reached a position; none is always reached.
pub(crate) async fn reach(log: &Log, not_before: &str) -> Result<(), Status> {
    if not_before.is_empty() {
        return Ok(());
    }
    let position: Position = not_before
        .parse()
        .map_err(|error| bad_field("not_before", format!("{error}")))?;
    // Reads go through the leader, so a position that was given out has been reached,
    // unless the log was restored to before it.
    let reached = async {
        let mut waits = Schedule::DEFAULT.waits();
        while !matches!(log.has_reached(&position).await, Ok(true)) {
            tokio::time::sleep(waits.next_wait()).await;
        }
    };
    tokio::time::timeout(POSITION_WITHIN, reached)
        .await
        .map_err(|_| {
            refuse(
                Code::Unavailable,
                "POSITION_NOT_REACHED",
                "the log has not reached not_before",
            )
        })
}
