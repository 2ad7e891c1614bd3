//! Gets webhooks out: batches, signs, sends, and sends again until they are answered.
//!
//! First attempts of one conversation keep their order unless a fault says otherwise; a webhook
//! that has to be repeated loses its place, as it does on the real platform. What the webhooks
//! say is `payload`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;

use crate::error::Error;
use crate::faults::{Fault, Reordering};
use crate::payload::{self, Change};
use crate::records::{Attempt, Channel, WebhookRecord, WebhookState};
use crate::ring::Ring;
use crate::shared::{Shared, State, pause};
use crate::signature::{sign_meta, sign_twilio};
use crate::{generic, vonage};

/// How many webhooks may wait to be delivered; beyond it nothing new is taken.
pub const PENDING_WEBHOOKS_MAX: usize = 200_000;
/// How many webhooks the books keep.
pub const WEBHOOKS_KEPT_MAX: usize = 20_000;
/// How many attempts the books keep of one webhook.
pub const ATTEMPTS_KEPT_MAX: usize = 50;
/// How many updates one webhook carries at most (Meta: webhooks, batching).
pub const BATCH_UPDATES_MAX: usize = 1_000;
/// How many webhooks are under way at once.
pub(crate) const WEBHOOKS_IN_FLIGHT_MAX: usize = 64;
/// How many extra copies of a webhook the duplicate fault makes at most.
const COPIES_MAX: u32 = 100;
/// The lane of webhooks that carry several conversations.
const SHARED_LANE: &str = "shared";

/// Something to tell a webhook.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// A change for Meta's webhook; may share a post with others.
    Change {
        change: Change,
        /// What its first attempt keeps its order with.
        lane: String,
    },
    /// A body for Meta's webhook, as it is.
    Raw(Bytes),
    /// A form for one of Twilio's callbacks.
    Form {
        url: String,
        params: Vec<(String, String)>,
        lane: String,
    },
    /// A JSON body of another SMS gateway.
    Json {
        channel: Channel,
        url: String,
        body: Bytes,
        lane: String,
    },
}

impl Parcel {
    fn channel(&self) -> Channel {
        match self {
            Self::Change { .. } | Self::Raw(_) => Channel::Whatsapp,
            Self::Form { .. } => Channel::Sms,
            Self::Json { channel, .. } => *channel,
        }
    }
}

/// A POST to be delivered.
#[derive(Clone, Debug)]
struct Post {
    record_id: u64,
    lane: String,
    payload: Payload,
}

#[derive(Clone, Debug)]
enum Payload {
    Meta {
        body: Bytes,
    },
    Twilio {
        url: String,
        params: Vec<(String, String)>,
    },
    Gateway {
        channel: Channel,
        url: String,
        body: Bytes,
    },
}

impl Payload {
    fn channel(&self) -> Channel {
        match self {
            Self::Meta { .. } => Channel::Whatsapp,
            Self::Twilio { .. } => Channel::Sms,
            Self::Gateway { channel, .. } => *channel,
        }
    }
}

/// What waits to go out, and what went.
pub(crate) struct Outbox {
    pub(crate) webhook_url: Option<String>,
    pub(crate) records: Ring<WebhookRecord>,
    held: Vec<Parcel>,
    batch: Vec<Change>,
    batch_count: u64,
    reordering: Vec<Post>,
    lanes: HashMap<String, VecDeque<Post>>,
    pending: usize,
}

impl Outbox {
    /// Returns an empty outbox.
    pub(crate) fn new(webhook_url: Option<String>) -> Self {
        Self {
            webhook_url,
            records: Ring::new(WEBHOOKS_KEPT_MAX),
            held: Vec::new(),
            batch: Vec::new(),
            batch_count: 0,
            reordering: Vec::new(),
            lanes: HashMap::new(),
            pending: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.held.len() + self.batch.len() + self.pending >= PENDING_WEBHOOKS_MAX
    }

    /// Returns how many webhooks and updates have not been delivered or given up.
    pub(crate) fn pending(&self) -> usize {
        self.held.len() + self.batch.len() + self.pending
    }
}

/// Sends a parcel, unless a fault holds, delays or gathers it. `is_report` marks what
/// [`Fault::HoldStatuses`] keeps back.
pub(crate) fn publish(
    shared: &Arc<Shared>,
    state: &mut State,
    parcel: Parcel,
    is_report: bool,
) -> Result<(), Error> {
    let channel = parcel.channel();
    if channel == Channel::Whatsapp && state.outbox.webhook_url.is_none() {
        return Ok(());
    }
    if let Parcel::Change { change, .. } = &parcel
        && !state.books.assets.is_subscribed(&change.waba_id)
    {
        return Ok(());
    }
    if state.outbox.is_full() {
        return Err(Error::TooMany {
            what: "undelivered webhooks",
            limit: PENDING_WEBHOOKS_MAX,
        });
    }
    if is_report && state.faults.peek(channel, hold).is_some() {
        state.outbox.held.push(parcel);
        return Ok(());
    }
    if let Some(by) = state.faults.take(channel, delay) {
        state.outbox.pending += 1;
        let later = Arc::clone(shared);
        shared.spawn(async move {
            tokio::time::sleep(pause(by)).await;
            later.change(|state| {
                state.outbox.pending -= 1;
                dispatch(&later, state, parcel);
            });
        });
        return Ok(());
    }
    dispatch(shared, state, parcel);
    Ok(())
}

/// Sends what was gathered for faults that are no longer in force.
pub(crate) fn settle(shared: &Arc<Shared>, state: &mut State) {
    for channel in Channel::ALL {
        if state.faults.peek(channel, hold).is_none() {
            let (released, kept) = std::mem::take(&mut state.outbox.held)
                .into_iter()
                .partition(|parcel: &Parcel| parcel.channel() == channel);
            state.outbox.held = kept;
            for parcel in released {
                dispatch(shared, state, parcel);
            }
        }
    }
    if state.faults.peek(Channel::Whatsapp, batch).is_none() {
        flush_batch(shared, state);
    }
    let reorders = |channel| state.faults.peek(channel, reorder).is_some();
    if !Channel::ALL.into_iter().any(reorders) {
        for post in std::mem::take(&mut state.outbox.reordering) {
            queue(shared, state, post);
        }
    }
}

fn dispatch(shared: &Arc<Shared>, state: &mut State, parcel: Parcel) {
    match parcel {
        Parcel::Change { change, lane } => {
            let Some((size, linger)) = state.faults.peek(Channel::Whatsapp, batch) else {
                post_changes(shared, state, vec![change], &lane);
                return;
            };
            state.outbox.batch.push(change);
            if state.outbox.batch.len() >= size.clamp(1, BATCH_UPDATES_MAX) {
                flush_batch(shared, state);
            } else if state.outbox.batch.len() == 1 {
                linger_batch(shared, state.outbox.batch_count, linger);
            }
        }
        Parcel::Raw(body) => post(shared, state, &Payload::Meta { body }, SHARED_LANE, 0),
        Parcel::Form { url, params, lane } => {
            post(shared, state, &Payload::Twilio { url, params }, &lane, 1);
        }
        Parcel::Json {
            channel,
            url,
            body,
            lane,
        } => {
            let payload = Payload::Gateway { channel, url, body };
            post(shared, state, &payload, &lane, 1);
        }
    }
}

fn linger_batch(shared: &Arc<Shared>, batch_count: u64, linger: SignedDuration) {
    let later = Arc::clone(shared);
    shared.spawn(async move {
        tokio::time::sleep(pause(linger)).await;
        later.change(|state| {
            if state.outbox.batch_count == batch_count {
                flush_batch(&later, state);
            }
        });
    });
}

fn flush_batch(shared: &Arc<Shared>, state: &mut State) {
    let changes = std::mem::take(&mut state.outbox.batch);
    if changes.is_empty() {
        return;
    }
    state.outbox.batch_count += 1;
    state.faults.take(Channel::Whatsapp, batch);
    post_changes(shared, state, changes, SHARED_LANE);
}

fn post_changes(shared: &Arc<Shared>, state: &mut State, changes: Vec<Change>, lane: &str) {
    let updates = changes.len();
    let body = payload::compose(changes, shared.now()).to_string().into();
    post(shared, state, &Payload::Meta { body }, lane, updates);
}

fn post(shared: &Arc<Shared>, state: &mut State, payload: &Payload, lane: &str, updates: usize) {
    let channel = payload.channel();
    let copies = 1 + state
        .faults
        .take(channel, duplicate)
        .unwrap_or(0)
        .min(COPIES_MAX);
    for _ in 0..copies {
        let post = Post {
            record_id: state.outbox.records.next_seq(),
            lane: lane.to_owned(),
            payload: payload.clone(),
        };
        state.outbox.records.push(WebhookRecord {
            id: post.record_id,
            channel,
            at: shared.now(),
            body: shown_body(payload),
            updates,
            attempts: Vec::new(),
            attempt_count: 0,
            state: WebhookState::Pending,
        });
        state.outbox.pending += 1;
        let Some((hold, order)) = state.faults.peek(channel, reorder) else {
            queue(shared, state, post);
            continue;
        };
        state.outbox.reordering.push(post);
        if state.outbox.reordering.len() >= hold.clamp(1, BATCH_UPDATES_MAX) {
            release_reordered(shared, state, channel, order);
        }
    }
}

fn release_reordered(shared: &Arc<Shared>, state: &mut State, channel: Channel, order: Reordering) {
    state.faults.take(channel, reorder);
    let mut posts = std::mem::take(&mut state.outbox.reordering);
    match order {
        Reordering::Reversed => posts.reverse(),
        Reordering::Shuffled => state.faults.shuffle(&mut posts),
    }
    for mut post in posts {
        // In one lane they leave one after the other.
        SHARED_LANE.clone_into(&mut post.lane);
        queue(shared, state, post);
    }
}

fn queue(shared: &Arc<Shared>, state: &mut State, post: Post) {
    let lane = post.lane.clone();
    if let Some(waiting) = state.outbox.lanes.get_mut(&lane) {
        waiting.push_back(post);
        return;
    }
    state
        .outbox
        .lanes
        .insert(lane.clone(), VecDeque::from([post]));
    shared.spawn(run_lane(Arc::clone(shared), lane));
}

/// Makes the first attempts of a lane one after the other, until it is empty.
async fn run_lane(shared: Arc<Shared>, lane: String) {
    loop {
        let next = shared.change(|state| {
            let post = state.outbox.lanes.get_mut(&lane)?.pop_front();
            if post.is_none() {
                state.outbox.lanes.remove(&lane);
            }
            post
        });
        let Some(post) = next else { return };
        if !attempt(&shared, &post).await {
            let retried = Arc::clone(&shared);
            shared.spawn(async move { retry(&retried, &post).await });
        }
    }
}

/// Repeats a webhook until it is answered or given up.
async fn retry(shared: &Shared, post: &Post) {
    let schedule = shared.webhook_retry;
    let began = tokio::time::Instant::now();
    let attempts_max = match post.payload {
        Payload::Meta { .. } => u32::MAX,
        Payload::Twilio { .. } => shared.twilio.callback_attempts,
        // For a day (Vonage: webhooks); others as configured.
        Payload::Gateway { channel, .. } => match channel {
            Channel::Generic => shared.generic.callback_attempts,
            Channel::Whatsapp | Channel::Sms | Channel::Vonage => u32::MAX,
        },
    };
    let mut delay = pause(schedule.first);
    let mut attempts = 1;
    while attempts < attempts_max && began.elapsed() + delay <= pause(schedule.give_up_after) {
        tokio::time::sleep(delay).await;
        if attempt(shared, post).await {
            return;
        }
        attempts += 1;
        delay = (delay * 2).min(pause(schedule.longest));
    }
    tracing::warn!(webhook.id = post.record_id, attempts, "webhook given up");
    shared.change(|state| {
        state.outbox.pending -= 1;
        if let Some(record) = state.outbox.records.get_mut(post.record_id) {
            record.state = WebhookState::GivenUp;
        }
    });
}

/// Sends a webhook once; true if it was answered as it should be.
async fn attempt(shared: &Shared, post: &Post) -> bool {
    let Ok(_permit) = shared.in_flight.acquire().await else {
        return false;
    };
    let at = shared.now();
    let http_status = match send(shared, &post.payload).await {
        Ok(response) => Some(response.status().as_u16()),
        Err(error) => {
            tracing::debug!(webhook.id = post.record_id, %error, "webhook not answered");
            None
        }
    };
    let delivered = match post.payload {
        Payload::Meta { .. } => http_status == Some(200),
        Payload::Twilio { .. } | Payload::Gateway { .. } => {
            http_status.is_some_and(|status| (200..300).contains(&status))
        }
    };
    shared.change(|state| {
        if delivered {
            state.outbox.pending -= 1;
        }
        let Some(record) = state.outbox.records.get_mut(post.record_id) else {
            return;
        };
        if record.attempts.len() >= ATTEMPTS_KEPT_MAX {
            record.attempts.remove(0);
        }
        record.attempts.push(Attempt { at, http_status });
        record.attempt_count += 1;
        if delivered {
            record.state = WebhookState::Delivered;
        }
    });
    delivered
}

async fn send(shared: &Shared, payload: &Payload) -> reqwest::Result<reqwest::Response> {
    let request = match payload {
        Payload::Meta { body } => {
            // The address may have changed since the webhook was made.
            let url = shared
                .look(|state| state.outbox.webhook_url.clone())
                .unwrap_or_default();
            shared
                .client
                .post(url)
                .header("content-type", "application/json")
                .header("user-agent", "facebookexternalua")
                .header(
                    "x-hub-signature-256",
                    sign_meta(shared.app_secret.expose_secret(), body),
                )
                .body(body.clone())
        }
        Payload::Twilio { url, params } => shared
            .client
            .post(url)
            .header("user-agent", "TwilioProxy/1.1")
            .header(
                "x-twilio-signature",
                sign_twilio(shared.twilio.auth_token.expose_secret(), url, params),
            )
            .form(params),
        Payload::Gateway { channel, url, body } => {
            let request = shared
                .client
                .post(url)
                .header("content-type", "application/json");
            let signed = match channel {
                Channel::Vonage => vonage::sign(shared, body),
                Channel::Whatsapp | Channel::Sms | Channel::Generic => generic::sign(shared, body),
            };
            signed
                .into_iter()
                .fold(request, |request, (name, value)| {
                    request.header(name, value)
                })
                .body(body.clone())
        }
    };
    request.send().await
}

fn shown_body(payload: &Payload) -> String {
    match payload {
        Payload::Meta { body } | Payload::Gateway { body, .. } => {
            String::from_utf8_lossy(body).into_owned()
        }
        Payload::Twilio { params, .. } => serde_urlencoded::to_string(params).unwrap_or_default(),
    }
}

fn hold(fault: &Fault) -> Option<()> {
    matches!(fault, Fault::HoldStatuses).then_some(())
}

fn delay(fault: &Fault) -> Option<SignedDuration> {
    match fault {
        Fault::DelayWebhooks { by } => Some(*by),
        _ => None,
    }
}

fn batch(fault: &Fault) -> Option<(usize, SignedDuration)> {
    match fault {
        Fault::BatchWebhooks { size, linger } => Some((*size, *linger)),
        _ => None,
    }
}

fn duplicate(fault: &Fault) -> Option<u32> {
    match fault {
        Fault::DuplicateWebhooks { copies } => Some(*copies),
        _ => None,
    }
}

fn reorder(fault: &Fault) -> Option<(usize, Reordering)> {
    match fault {
        Fault::ReorderWebhooks { hold, order } => Some((*hold, *order)),
        _ => None,
    }
}
