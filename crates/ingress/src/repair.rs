//! Work on what is on the log already: posts through the present parser once more, dead letters
//! tried again, parked items released.
//!
//! It may run beside the role: facts that are known stay as they are, and new ones appear once,
//! whoever is first. It takes no webhooks, and changes nothing about posts, letters and parked
//! items themselves.

mod api;

pub use api::RepairApi;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use casement_event::subject::{self, stream};
use casement_event::v1::{DeadLetterOutcome, RawPack, RawPost};
use casement_event::{Event, Stored, convert};
use casement_event_log::customers::Tokens;
use casement_event_log::dead::{Letter, Tried, Wish};
use casement_event_log::directory::Directory;
use casement_event_log::{AppendError, Failure, Followed, Log, ReadError, Start};
use casement_shell::SharedClock;
use casement_shell::config::ConfigError;
use casement_whatsapp::webhook::{self, ItemKind};
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Setback;
use crate::normalise::{self, POSTS_AT_ONCE_MAX};
use crate::place::{Desk, Post, Tally};
use crate::{SOURCE, aside, parked, queue, search, whatsapp};

/// Where packs of all sources stand.
const PACKS: &str = "casement.raw.>";

/// Why work on the log broke off. What was done until then stands; doing it again changes nothing
/// about it.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The log cannot be read.
    #[error("log could not be read")]
    Read(#[from] ReadError),
    /// An item could not be put on the log now.
    #[error("item could not be put on the log")]
    Item(#[source] Box<dyn Error + Send + Sync>),
    /// It was tried again, but that could not be written down.
    #[error("what was done could not be written down")]
    Settle(#[from] AppendError),
}

impl From<Setback> for RepairError {
    fn from(setback: Setback) -> Self {
        Self::Item(Box::new(setback))
    }
}

/// How many items of each kind had each outcome: `stored` is new, `known` was there.
pub type Counts = BTreeMap<(&'static str, &'static str), u64>;

/// How far a replay has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Packs taken apart.
    pub packs: u64,
    /// When the last of them was stored.
    pub until: Timestamp,
    /// What became of their items.
    pub counts: Counts,
}

/// What trying a dead letter again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It became what it should; it is no longer listed.
    Settled(Counts),
    /// The present parser does not understand it either.
    StillDead(String),
    /// The post it came in has left the log; only the letter's own copy is left.
    PostGone,
    /// Another role's letter, which that role alone could handle.
    Foreign,
}

/// Items parked for one of Meta's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Meta's id of the number.
    pub phone_number_id: String,
    /// How many items.
    pub items: u64,
    /// When the oldest was stored.
    pub oldest: Timestamp,
    /// When the newest was stored.
    pub newest: Timestamp,
    /// Whether an account has the number: then they were released already.
    pub is_known: bool,
}

/// The tools for it.
#[derive(Debug)]
pub struct Repair {
    desk: Arc<Desk>,
}

impl Repair {
    /// Takes what the role works with.
    ///
    /// # Errors
    /// A configuration by which some posts could never be read.
    pub fn new(
        config: &Config,
        log: Log,
        directory: Directory,
        tokens: Tokens,
        clock: SharedClock,
    ) -> Result<Self, ConfigError> {
        let desk = Desk {
            log,
            directory,
            tokens,
            clock,
            policy: config.qualifying.into(),
            future_tolerance: config.future_tolerance,
            horizon: search::Horizon::default(),
            recent: crate::recent::Recent::default(),
            reports: crate::recent::Recent::default(),
            report_turns: queue::Queues::new(),
            heads: crate::heads::Heads::default(),
            queues: queue::Queues::new(),
            replay: Arc::new(Notify::new()),
            tally: Tally::default(),
            sms: config.sms_readers()?,
        };
        Ok(Self {
            desk: Arc::new(desk),
        })
    }

    /// Works at the desk of the role that runs.
    pub(crate) fn at(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// Tries the role's dead letters again as somebody asks for it, until the stop.
    pub(crate) async fn grant_wishes(&self, stopping: CancellationToken) {
        let now = || self.desk.clock.now();
        let log = &self.desk.log;
        log.grant_wishes((aside::ROLE, SOURCE), now, stopping, |letter| {
            self.grant(letter)
        })
        .await;
    }

    async fn grant(&self, letter: Letter) -> Result<Tried, Failure> {
        let tried = match self.again(&letter).await? {
            Retried::Settled(_) => return Ok(Tried::Helped),
            Retried::StillDead(why) => why,
            Retried::PostGone => "its post has left the log".to_owned(),
            Retried::Foreign => "it does not say where its item was".to_owned(),
        };
        Ok(Tried::InVain(tried))
    }

    /// Takes the posts that were stored from a time on and before another apart once more, in
    /// their order, and tells how far it has come after each pack.
    ///
    /// # Errors
    /// The log is away, or an item has to wait.
    pub async fn replay_raw(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut told: impl FnMut(&Replayed),
    ) -> Result<Replayed, RepairError> {
        let turns = Arc::new(Semaphore::new(POSTS_AT_ONCE_MAX));
        let mut replayed = Replayed {
            packs: 0,
            until: from,
            counts: Counts::new(),
        };
        let mut next = self.first_since(from).await?;
        while let Some(stored) = next.filter(|stored| stored.stored_at < to) {
            let (desk, turns) = (Arc::clone(&self.desk), Arc::clone(&turns));
            normalise::pack(desk, turns, &stored).await?;
            replayed.packs += 1;
            replayed.until = stored.stored_at;
            replayed.counts = self.desk.tally.counts();
            told(&replayed);
            next = self.pack_from(stored.sequence + 1).await?;
        }
        Ok(replayed)
    }

    async fn pack_from(&self, sequence: u64) -> Result<Option<Stored>, ReadError> {
        self.desk.log.next(stream::RAW, PACKS, sequence).await
    }

    /// Returns the first pack that was stored at a time or after it. Packs are stored in the
    /// order of time, so that halving finds it.
    async fn first_since(&self, time: Timestamp) -> Result<Option<Stored>, ReadError> {
        let state = self.desk.log.state(stream::RAW).await?;
        let (mut low, mut high) = (state.first_sequence, state.last_sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.pack_from(middle).await? {
                Some(stored) if stored.stored_at < time => low = stored.sequence + 1,
                _ => high = middle,
            }
        }
        self.pack_from(low).await
    }

    /// Tries a dead letter's item again, and writes down if it is settled by that.
    ///
    /// # Errors
    /// The log is away, or the item has to wait.
    pub async fn retry(&self, letter: &Letter, reason: &str) -> Result<Retried, RepairError> {
        let retried = self.again(letter).await?;
        if let Retried::Settled(_) = &retried {
            self.settle(letter, DeadLetterOutcome::Retried, reason)
                .await?;
        }
        Ok(retried)
    }

    /// Tries a dead letter's item again. Who calls writes down what came of it.
    async fn again(&self, letter: &Letter) -> Result<Retried, RepairError> {
        let origin = match &letter.letter.origin {
            Some(origin) if letter.letter.role == aside::ROLE => origin,
            _ => return Ok(Retried::Foreign),
        };
        let Some(stored) = self.desk.log.get(stream::RAW, origin.sequence).await? else {
            return Ok(Retried::PostGone);
        };
        let Ok(Event::RawPack(RawPack { posts })) = stored.event() else {
            return Ok(Retried::StillDead("message is no pack of posts".to_owned()));
        };
        let index = usize::try_from(origin.post).unwrap_or(usize::MAX);
        let Some(raw) = posts.get(index) else {
            return Ok(Retried::StillDead("pack has no such post".to_owned()));
        };
        let post = post_of(&stored, origin.post, raw);
        let before = self.desk.tally.counts();
        if stored.subject == subject::raw(crate::http::WHATSAPP) {
            if let Some(problem) = self.retry_meta(&post, raw, &origin.path).await? {
                return Ok(Retried::StillDead(problem));
            }
        } else {
            normalise::one(&self.desk, &stored.subject, &post, raw).await?;
        }
        let counts = since(&before, self.desk.tally.counts());
        // Of a post that could not be read at all, each item has a letter of its own by now.
        let is_dead = counts.keys().any(|(_, outcome)| *outcome == "dead");
        if is_dead && (!origin.path.is_empty() || counts.len() == 1) {
            return Ok(Retried::StillDead(letter.letter.reason.clone()));
        }
        Ok(Retried::Settled(counts))
    }

    /// Tries the item at a path of one of Meta's posts, or all of the post if none of it could
    /// be read before. Returns what is still wrong with it.
    async fn retry_meta(
        &self,
        post: &Post,
        raw: &RawPost,
        path: &str,
    ) -> Result<Option<String>, RepairError> {
        let read = match webhook::parse(&raw.body) {
            Ok(read) => read,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let mut found = false;
        for item in &read.items {
            if !path.is_empty() && item.origin.path != path {
                continue;
            }
            found = true;
            if let (ItemKind::Malformed { reason }, false) = (&item.kind, path.is_empty()) {
                return Ok(Some(reason.clone()));
            }
            whatsapp::item(&self.desk, post, item).await?;
        }
        Ok((!found).then(|| format!("post has nothing at `{path}` any more")))
    }

    /// Asks the role that wrote a letter to try its item again.
    ///
    /// # Errors
    /// The log is away.
    pub async fn ask(&self, letter: &Letter, reason: &str) -> Result<(), RepairError> {
        let wish = Wish {
            wanted: DeadLetterOutcome::Retried,
            reason,
            caller: "",
        };
        let now = self.desk.clock.now();
        let letters = std::slice::from_ref(letter);
        let log = &self.desk.log;
        log.ask_about_dead_letters(letters, wish, (aside::ROLE, SOURCE), now)
            .await?;
        Ok(())
    }

    /// Gives a dead letter up. It is no longer listed, and stays on the log until its age.
    ///
    /// # Errors
    /// The log is away.
    pub async fn drop_letter(&self, letter: &Letter, reason: &str) -> Result<(), RepairError> {
        self.settle(letter, DeadLetterOutcome::Dropped, reason)
            .await
    }

    async fn settle(
        &self,
        letter: &Letter,
        outcome: DeadLetterOutcome,
        reason: &str,
    ) -> Result<(), RepairError> {
        let now = self.desk.clock.now();
        let log = &self.desk.log;
        log.settle_dead_letter(letter, outcome, reason, SOURCE, now)
            .await?;
        Ok(())
    }

    /// Returns what is parked, by number.
    ///
    /// # Errors
    /// The log is away.
    pub async fn parked(&self) -> Result<Vec<Parked>, RepairError> {
        let filter = subject::reported(parked::PARKED, ">");
        let log = &self.desk.log;
        if log.next(stream::ACCOUNTS, &filter, 1).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut found: BTreeMap<String, Parked> = BTreeMap::new();
        let mut follower = log.follow(stream::ACCOUNTS, vec![filter], Start::Sequence(1));
        while let Followed::Event(stored) = follower.next().await {
            let Ok(Event::WebhookParked(event)) = stored.event() else {
                continue;
            };
            let id = event.phone_number_id;
            let is_known = self.desk.directory.by_phone_number_id(&id).is_some();
            let one = found.entry(id.clone()).or_insert(Parked {
                phone_number_id: id,
                items: 0,
                oldest: stored.stored_at,
                newest: stored.stored_at,
                is_known,
            });
            one.items += 1;
            one.newest = stored.stored_at;
        }
        Ok(found.into_values().collect())
    }

    /// Puts the items parked for a number on the log. The role does so by itself as soon as an
    /// account has the number; this is for when it does not run.
    ///
    /// Returns how many there were, or `None` if no account has the number.
    ///
    /// # Errors
    /// The log is away, or an item has to wait.
    pub async fn release(&self, phone_number_id: &str) -> Result<Option<u64>, RepairError> {
        let directory = &self.desk.directory;
        if directory.by_phone_number_id(phone_number_id).is_none() {
            return Ok(None);
        }
        let mut from = 1;
        let items = parked::replay_number(&self.desk, phone_number_id, &mut from).await?;
        Ok(Some(items))
    }

    /// Returns what became of items until now.
    pub fn counts(&self) -> Counts {
        self.desk.tally.counts()
    }
}

fn post_of(stored: &Stored, index: u32, raw: &RawPost) -> Post {
    let received = convert::instant("received_time", raw.received_time.as_ref());
    Post {
        sequence: stored.sequence,
        index,
        app: raw.app.clone(),
        received: received.ok().flatten().unwrap_or(stored.stored_at),
        traceparent: Some(raw.traceparent.clone()).filter(|parent| !parent.is_empty()),
    }
}

/// What was counted since.
fn since(before: &Counts, mut now: Counts) -> Counts {
    now.retain(|key, count| {
        *count -= before.get(key).copied().unwrap_or_default();
        *count > 0
    });
    now
}
