//! The second loop: packs of posts are taken apart, and each item finds its event.
//!
//! A pack is done when every item of it is on the log. What has to wait brings the whole pack
//! again, which changes nothing about what is done. What can never succeed is a dead letter,
//! item by item.

use std::sync::Arc;
use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::v1::{RawPack, RawPost};
use casement_event::{Event, Stored, convert};
use casement_event_log::{Failure, WorkSpec};
use casement_whatsapp::webhook::{self, Item};
use futures::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::aside;
use crate::error::Setback;
use crate::http::WHATSAPP;
use crate::place::{Desk, Post};
use crate::{lanes, sms, trace, whatsapp};

/// How many packs are in hand at once, 64 MiB of them at most: a pack is one post as long as each is
/// stored before the next one comes, and there must be enough at once to share the log's batches,
/// also where a sync takes long.
const PACKS_IN_HAND_MAX: usize = 128;

/// How many posts of all packs are worked on at once. A large one counts for several.
pub(crate) const POSTS_AT_ONCE_MAX: usize = 1_024;

/// How much of a post counts for one: read, it takes many times its size in memory.
const POST_BYTES: usize = 8 * 1024;

/// How many customers' items of one post are put on the log at once.
const LANES_AT_ONCE_MAX: usize = 64;

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
        async move { Ok::<_, Failure>(pack(desk, turns, &delivery.stored).await?) }
    })
    .await;
}

/// Puts every item of a pack on the log; some of it may stand there, in part.
pub(crate) async fn pack(
    desk: Arc<Desk>,
    turns: Arc<Semaphore>,
    stored: &Stored,
) -> Result<(), Setback> {
    let Ok(Event::RawPack(RawPack { posts })) = stored.event() else {
        let post = Post {
            sequence: stored.sequence,
            index: 0,
            app: String::new(),
            received: stored.stored_at,
            traceparent: None,
        };
        let payload = stored.payload.to_vec();
        return aside::dead_letter(&desk, &post, "", "message is no pack of posts", payload).await;
    };
    let mut working = JoinSet::new();
    for (index, raw) in posts.into_iter().enumerate() {
        let received = convert::instant("received_time", raw.received_time.as_ref());
        let post = Post {
            sequence: stored.sequence,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            app: raw.app.clone(),
            received: received.ok().flatten().unwrap_or(stored.stored_at),
            traceparent: Some(raw.traceparent.clone()).filter(|parent| !parent.is_empty()),
        };
        let span = trace::normalising(
            &stored.subject,
            post.sequence,
            post.index,
            post.traceparent.as_deref(),
        );
        let (desk, turns) = (Arc::clone(&desk), Arc::clone(&turns));
        let source = stored.subject.clone();
        let work = async move {
            let _turn = turns.acquire_many(weight(&raw)).await;
            one(&desk, &source, &post, &raw).await
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

/// Puts every item of one post on the log. The subject of its pack says who posted.
pub(crate) async fn one(
    desk: &Desk,
    subject: &str,
    post: &Post,
    raw: &RawPost,
) -> Result<(), Setback> {
    if subject == subject::raw(WHATSAPP) {
        return meta(desk, post, raw).await;
    }
    let gateway = subject.rsplit('.').next().unwrap_or_default();
    sms::callback(desk, post, gateway, &raw.query, &raw.body).await
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
    let lanes = futures::stream::iter(lanes::lanes(&read.items));
    let mut going = lanes
        .map(|lane| in_order(desk, post, &read.items, lane))
        .buffer_unordered(LANES_AT_ONCE_MAX);
    let mut first = Ok(());
    while let Some(done) = going.next().await {
        if done.as_ref().is_err_and(Setback::is_outage) {
            return done;
        }
        if first.is_ok() {
            first = done;
        }
    }
    first
}

/// Puts items on the log one after the other.
async fn in_order(
    desk: &Desk,
    post: &Post,
    items: &[Item],
    lane: Vec<usize>,
) -> Result<(), Setback> {
    let mut first = Ok(());
    for index in lane {
        let done = whatsapp::item(desk, post, &items[index]).await;
        if done.as_ref().is_err_and(Setback::is_outage) {
            return done;
        }
        if first.is_ok() {
            first = done;
        }
    }
    first
}

/// For how many posts one counts.
fn weight(raw: &RawPost) -> u32 {
    let units = 1 + raw.body.len() / POST_BYTES;
    u32::try_from(units.min(POSTS_AT_ONCE_MAX)).unwrap_or(u32::MAX)
}
