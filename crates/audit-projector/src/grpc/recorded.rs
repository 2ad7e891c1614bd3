//! What callers asked of the whole archive, on record before they get it.
//!
//! What cannot be recorded is neither shown nor done. Other acts are recorded by what they do.

use casement_event::convert::timestamp;
use casement_event::subject::{ASKED_READ_MODELS, SHOWN_ARCHIVE};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::{Expect, Log};
use casement_shell::auth::Caller;
use casement_shell::grpc::refuse;
use jiff::Timestamp;
use tonic::{Code, Status};

use crate::erasure::SOURCE;
use crate::export::Asked;

/// Puts an export of the archive on record.
pub(super) async fn export(
    log: &Log,
    now: Timestamp,
    caller: &Caller,
    asked: &Asked,
) -> Result<(), Status> {
    let shown = v1::DataShown {
        caller: caller.name.clone(),
        brand_id: asked.brand_id.clone().unwrap_or_default(),
        kind: v1::DataKind::Archive.into(),
        stream: asked.stream.clone().unwrap_or_default(),
        event_type: asked.event_type.clone().unwrap_or_default(),
        time: Some(timestamp(now)),
        ..Default::default()
    };
    append(log, SHOWN_ARCHIVE, now, shown).await
}

/// Puts a wish for new read models on record.
pub(super) async fn rebuild(log: &Log, now: Timestamp, caller: &Caller) -> Result<(), Status> {
    let asked = v1::ReadModelsAsked {
        caller: caller.name.clone(),
        time: Some(timestamp(now)),
    };
    append(log, ASKED_READ_MODELS, now, asked).await
}

async fn append(
    log: &Log,
    subject: &str,
    now: Timestamp,
    event: impl Into<Event>,
) -> Result<(), Status> {
    let record = Record::new(subject.to_owned(), Uuid::new_v4(), SOURCE, now, event);
    let appended = log.append(record, Expect::Anything).await;
    appended.map(drop).map_err(|error| {
        tracing::warn!(%error, subject, "an act is not done: it could not be recorded");
        let text = "that it is done could not be recorded, so it is not done";
        refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
    })
}
