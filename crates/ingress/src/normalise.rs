//! The second loop: packs of posts are taken apart, and each item finds its event.
//!
//! A pack is done when every item of it is on the log. What has to wait brings the whole pack
//! again, which changes nothing about what is done. What can never succeed is a dead letter,
//! item by item.

use std::sync::Arc;
use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::v1::{RawPack, RawPost};
use casement_event::{Event, convert};
use casement_event_log::{Delivery, Failure, WorkSpec};
use casement_shell::telemetry;
use casement_whatsapp::webhook;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::aside;
use crate::error::Setback;
use crate::http::TWILIO;
use crate::place::{Desk, Post};
use crate::{sms, whatsapp};

/// How many packs are in hand at once: at low rates a pack is one post.
const PACKS_IN_HAND_MAX: usize = 8;

/// How many posts of all packs are worked on at once.
const POSTS_AT_ONCE_MAX: usize = 256;

/// How long a replica may be silent about a pack before another gets it.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// Works until the stop; then finishes what is in hand.
pub(crate) async fn run(desk: Arc<Desk>, stopping: CancellationToken) {
    let spec = WorkSpec {
        name: "ingress-normaliser",
        stream: stream::RAW,
        filters: vec!["casement.raw.>".to_owned()],
        in_hand_max: PACKS_IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    };
    let log = desk.log.clone();
    let turns = Arc::new(Semaphore::new(POSTS_AT_ONCE_MAX));
    log.work(spec, stopping, move |delivery| {
        let (desk, turns) = (Arc::clone(&desk), Arc::clone(&turns));
        async move { Ok::<_, Failure>(pack(desk, turns, delivery).await?) }
    })
    .await;
}

async fn pack(desk: Arc<Desk>, turns: Arc<Semaphore>, delivery: Delivery) -> Result<(), Setback> {
    let stored = &delivery.stored;
    let is_repeat = delivery.delivered > 1;
    let Ok(Event::RawPack(RawPack { posts })) = stored.event() else {
        let post = Post {
            sequence: stored.sequence,
            index: 0,
            app: String::new(),
            received: stored.stored_at,
            traceparent: None,
            is_repeat,
        };
        let payload = stored.payload.to_vec();
        return aside::dead_letter(&desk, &post, "", "message is no pack of posts", payload).await;
    };
    let is_twilio = stored.subject == subject::raw(TWILIO);
    let mut working = JoinSet::new();
    for (index, raw) in posts.into_iter().enumerate() {
        let received = convert::instant("received_time", raw.received_time.as_ref());
        let post = Post {
            sequence: stored.sequence,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            app: raw.app.clone(),
            received: received.ok().flatten().unwrap_or(stored.stored_at),
            traceparent: Some(raw.traceparent.clone()).filter(|parent| !parent.is_empty()),
            is_repeat,
        };
        let span = tracing::info_span!("normalise", sequence = post.sequence, post = post.index);
        if let Some(parent) = &post.traceparent {
            telemetry::parent_from(&span, parent);
        }
        let (desk, turns) = (Arc::clone(&desk), Arc::clone(&turns));
        let work = async move {
            let _turn = turns.acquire().await;
            if is_twilio {
                sms::callback(&desk, &post, &raw.query, &raw.body).await
            } else {
                meta(&desk, &post, &raw).await
            }
        };
        working.spawn(work.instrument(span));
    }
    let mut first = Ok(());
    while let Some(done) = working.join_next().await {
        let done = done.unwrap_or_else(|error| Err(error.into()));
        if first.is_ok() {
            first = done;
        }
    }
    first
}

async fn meta(desk: &Desk, post: &Post, raw: &RawPost) -> Result<(), Setback> {
    let read = match webhook::parse(&raw.body) {
        Ok(read) => read,
        Err(error) => {
            let reason = error.to_string();
            return aside::dead_letter(desk, post, "", &reason, raw.body.to_vec()).await;
        }
    };
    if read.repaired {
        tracing::info!("post was no valid JSON and was repaired");
    }
    let mut first = Ok(());
    for item in &read.items {
        let done = whatsapp::item(desk, post, item).await;
        if done.as_ref().is_err_and(Setback::is_outage) {
            return done;
        }
        if first.is_ok() {
            first = done;
        }
    }
    first
}
