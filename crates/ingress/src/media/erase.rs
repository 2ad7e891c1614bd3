//! Files of customers who are erased: removed from the object store, and told of.
//!
//! Which files are a customer's, the erasure says; it goes on once each of them is told of here.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::MediaId;
use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::v1::{self, ErasureState};
use casement_event::{Event, Record, Stored, id};
use casement_event_log::{AppendError, Expect, Failure, Log, WorkSpec};
use casement_shell::SharedClock;
use tokio_util::sync::CancellationToken;

use super::store::Objects;
use crate::SOURCE;

/// How long a replica may be silent about an erasure before another gets it.
const ACK_WAIT: Duration = Duration::from_mins(1);

/// How many erasures are in hand at once.
const IN_HAND_MAX: usize = 4;

/// How often an append is decided anew because another replica was faster.
const ROUNDS_MAX: usize = 16;

/// Removes files until the stop.
pub(super) async fn run(
    log: Log,
    objects: Option<Arc<Objects>>,
    clock: SharedClock,
    stopping: CancellationToken,
) {
    let spec = WorkSpec {
        name: "ingress-erasures",
        stream: stream::CUSTOMERS,
        filters: vec![subject::ALL_ERASURES.to_owned()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    };
    let (log, objects, clock) = (&log, objects.as_ref(), &clock);
    log.work(spec, stopping, |delivery| async move {
        take(log, objects, clock, &delivery.stored).await
    })
    .await;
}

async fn take(
    log: &Log,
    objects: Option<&Arc<Objects>>,
    clock: &SharedClock,
    stored: &Stored,
) -> Result<(), Failure> {
    let Ok(Event::ErasureAdvanced(event)) = stored.event() else {
        return Ok(());
    };
    let erasure = event.erasure.unwrap_or_default();
    if erasure.state() != ErasureState::Stopping {
        return Ok(());
    }
    let ids = erasure
        .media_ids
        .iter()
        .filter_map(|id| MediaId::parse(id).ok());
    for media in ids {
        if let Some(objects) = objects {
            objects.remove(&media).await?;
        }
        tell(log, clock, &media, &erasure.erasure_id).await?;
    }
    Ok(())
}

/// Tells that a file is removed, once.
async fn tell(
    log: &Log,
    clock: &SharedClock,
    media: &MediaId,
    erasure_id: &str,
) -> Result<(), Failure> {
    let subject = subject::media(media);
    for _ in 0..ROUNDS_MAX {
        let last = log.last(stream::EVENTS, &subject).await?;
        if let Some(last) = &last
            && matches!(last.event(), Ok(Event::MediaErased(_)))
        {
            return Ok(());
        }
        let now = clock.now();
        let event = v1::MediaErased {
            media_id: media.to_string(),
            erasure_id: erasure_id.to_owned(),
            erase_time: Some(timestamp(now)),
        };
        let id = id::media_event(media, &format!("erased-{erasure_id}"));
        let record = Record::new(subject.clone(), id, SOURCE, now, event).about(media.as_str());
        let expect = Expect::last(subject.clone(), last.map_or(0, |last| last.sequence));
        match log.append(record, expect).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure("subject of a file kept changing".into()))
}
