//! Watching who posts: signatures that are not good, numbers that no account knows, and whether our
//! clock is the broker's.
//!
//! Signatures are counted here, by each process for itself; what is parked stands on the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use casement_domain::watch::Check;
use casement_domain::watch::rules::{self, Signatures, UNKNOWN_FOR};
use casement_event::convert::instant;
use casement_event::convert::watch::About;
use casement_event::subject::{self, stream};
use casement_event::{Event, Stored};
use casement_event_log::watch::{LOOK_INTERVAL, THINGS_MAX, WatchError, Watches};
use casement_event_log::{Followed, ReadError, Start};
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::SOURCE;
use crate::parked::PARKED;
use crate::place::Desk;

/// What this role watches.
const CHECKS: &[Check] = &[Check::BadSignatures, Check::UnknownNumber, Check::Clock];

/// Signatures of the last half hour, by who posts. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Posts(Arc<Mutex<BTreeMap<String, Signatures>>>);

impl Posts {
    /// Counts a post whose signature was looked at. `app` is one of the configuration, of the
    /// platform's; empty for an SMS gateway.
    pub(crate) fn count(&self, source: &str, app: &str, is_good: bool, now: Timestamp) {
        let of = match app {
            "" => source.to_owned(),
            app => format!("{source}-{app}"),
        };
        let mut posts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        posts.entry(of).or_default().count(is_good, now);
    }

    fn all(&self) -> BTreeMap<String, Signatures> {
        let posts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        posts.clone()
    }
}

/// Numbers that items are parked for, and when the last one came.
#[derive(Debug, Default)]
struct Parked {
    last: BTreeMap<String, Timestamp>,
    /// Everything up to this sequence was taken up; `None` before the first reading.
    seen: Option<u64>,
}

impl Parked {
    async fn refresh(&mut self, desk: &Desk) -> Result<(), ReadError> {
        let all = subject::reported(PARKED, ">");
        let Some(mut seen) = self.seen else {
            let from = Start::LastPerSubject;
            let mut parked = desk.log.follow(stream::ACCOUNTS, vec![all], from);
            loop {
                match parked.next().await {
                    Followed::Event(stored) => self.take(&stored),
                    Followed::CaughtUp { sequence } => {
                        self.seen = Some(sequence);
                        return Ok(());
                    }
                }
            }
        };
        while let Some(stored) = desk.log.next(stream::ACCOUNTS, &all, seen + 1).await? {
            self.take(&stored);
            seen = stored.sequence;
            self.seen = Some(seen);
        }
        Ok(())
    }

    fn take(&mut self, stored: &Stored) {
        let Ok(Event::WebhookParked(event)) = stored.event() else {
            return;
        };
        let times = event.times.unwrap_or_default();
        let received = instant("received_time", times.received_time.as_ref());
        let at = received.ok().flatten().unwrap_or(stored.stored_at);
        let has_room = self.last.len() < THINGS_MAX;
        if has_room || self.last.contains_key(&event.phone_number_id) {
            let last = self.last.entry(event.phone_number_id).or_insert(at);
            *last = at.max(*last);
        }
    }
}

/// Looks time and again until the stop.
pub(crate) async fn run(desk: Arc<Desk>, posts: Posts, stopping: CancellationToken) {
    let mut watches = Watches::new(desk.log.clone(), SOURCE, CHECKS);
    let mut parked = Parked::default();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = look.tick() => {}
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            looked = judge(&desk, &posts, &mut parked, &mut watches) => if let Err(error) = looked {
                tracing::warn!(%error, "verdicts of what is watched are late");
            },
        }
    }
}

async fn judge(
    desk: &Desk,
    posts: &Posts,
    parked: &mut Parked,
    watches: &mut Watches,
) -> Result<(), WatchError> {
    parked.refresh(desk).await?;
    let now = desk.clock.now();
    let mut look = watches.look(now).await?;
    // Whoever did not post here may have posted to another process: what nobody says again is
    // cleared all the same, but not before it has been calm here for as long.
    let mut seen = posts.all();
    for of in look.raised(Check::BadSignatures) {
        seen.entry(of).or_default();
    }
    for (of, signatures) in seen {
        let reading = signatures.judge(now);
        look.judge(Check::BadSignatures, &About::thing(of), &reading)
            .await?;
    }
    let is_young = |last: &Timestamp| now.duration_since(*last) <= UNKNOWN_FOR;
    parked.last.retain(|_, last| is_young(last));
    for (id, last) in &parked.last {
        if desk.directory.by_phone_number_id(id).is_none() {
            let reading = rules::unknown_number(*last, now);
            look.judge(Check::UnknownNumber, &About::thing(id), &reading)
                .await?;
        }
    }
    look.retire(Check::UnknownNumber).await?;
    let reading = rules::clock(&desk.clock.distances());
    look.judge(Check::Clock, &About::thing("ingress"), &reading)
        .await
}
