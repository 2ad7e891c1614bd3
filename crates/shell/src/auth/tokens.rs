//! The tokens that are accepted: digests, each with its caller and perhaps its end, read anew where
//! they stand when that changes.
//!
//! A caller may have several, so that a new one is in use before the old one is taken away. What
//! is read and of no use changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

use super::refusals::{Entrance, Refusals};
use super::{Caller, DEMO_TOKEN, TokenConfig, TokenError};
use crate::clock::{SharedClock, SystemClock};
use crate::telemetry::{Metric, describe};

/// What a hash begins with where a token could stand, too.
pub const HASH_PREFIX: &str = "sha256:";

/// Why a token is not good, as the record tells it.
pub(super) const REASONS: [&str; 3] = ["TOKEN_MISSING", "TOKEN_EXPIRED", "TOKEN_UNKNOWN"];

/// How often the places where tokens stand are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

const METRICS: &[Metric] = &[
    Metric::gauge(
        "casement_api_known_tokens",
        "Tokens of the API, by state: accepted, expired.",
    )
    .with(&[&[("state", "accepted")], &[("state", "expired")]]),
    Metric::counter(
        "casement_api_tokens_reloads_total",
        "Changes of tokens where they stand, by outcome: taken, refused.",
    )
    .with(&[&[("outcome", "taken")], &[("outcome", "refused")]]),
    Metric::counter(
        "casement_api_unauthenticated_total",
        "Calls without a token that is good, by reason: missing, unknown, expired.",
    )
    .with(&[
        &[("reason", "missing")],
        &[("reason", "unknown")],
        &[("reason", "expired")],
    ]),
];

/// Returns the hash of a token, as it stands in a file in place of the token.
pub fn hash(token: &str) -> String {
    format!("{HASH_PREFIX}{}", hex::encode(digest(token)))
}

/// One token, without its text.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    digest: [u8; 32],
    caller: Caller,
    expire_time: Option<Timestamp>,
    /// Whether its text stands where it is checked.
    is_plain: bool,
}

impl Known {
    fn is_expired(&self, now: Timestamp) -> bool {
        self.expire_time.is_some_and(|end| end <= now)
    }
}

struct Shared {
    configs: Vec<TokenConfig>,
    takes_demo: bool,
    clock: SharedClock,
    known: RwLock<Vec<Known>>,
    refusals: Refusals,
}

/// The tokens that are accepted. Clones are one: what is read anew counts for all of them.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

/// None.
impl Default for Tokens {
    fn default() -> Self {
        Self::with(Vec::new(), Vec::new(), false, SystemClock::shared())
    }
}

impl Tokens {
    /// Resolves and checks the tokens of a configuration.
    pub fn from_config(configs: &[TokenConfig]) -> Result<Self, TokenError> {
        Self::read_by(configs, false, SystemClock::shared())
    }

    /// [`Tokens::from_config`], but [`DEMO_TOKEN`] is as good as any other.
    pub fn for_demo(configs: &[TokenConfig]) -> Result<Self, TokenError> {
        Self::read_by(configs, true, SystemClock::shared())
    }

    /// [`Tokens::from_config`], with ends of tokens by this clock.
    pub fn by_clock(configs: &[TokenConfig], clock: SharedClock) -> Result<Self, TokenError> {
        Self::read_by(configs, false, clock)
    }

    fn read_by(
        configs: &[TokenConfig],
        takes_demo: bool,
        clock: SharedClock,
    ) -> Result<Self, TokenError> {
        let known = read(configs, takes_demo)?;
        Ok(Self::with(known, configs.to_vec(), takes_demo, clock))
    }

    fn with(
        known: Vec<Known>,
        configs: Vec<TokenConfig>,
        takes_demo: bool,
        clock: SharedClock,
    ) -> Self {
        let shared = Shared {
            configs,
            takes_demo,
            clock,
            known: RwLock::new(known),
            refusals: Refusals::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Whether no token is accepted at all.
    pub fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Names of callers whose token stands in clear where it is checked.
    pub fn plain(&self) -> Vec<String> {
        let known = self.known();
        let mut names: Vec<String> = known
            .iter()
            .filter(|known| known.is_plain)
            .map(|known| known.caller.name.clone())
            .collect();
        names.dedup();
        names
    }

    /// Who presents `token`. Takes the same time whichever token it is, if any.
    pub fn authenticate(&self, token: &str) -> Option<Caller> {
        let now = self.shared.clock.now();
        let known = self.known();
        let found = find(&known, token).filter(|found| !found.is_expired(now));
        found.map(|found| found.caller.clone())
    }

    /// Counts a call that was refused for want of a token, by why.
    pub fn refused(&self, token: Option<&str>) {
        let (reason, word) = self.why(token);
        metrics::counter!("casement_api_unauthenticated_total", "reason" => reason).increment(1);
        self.nobody(Entrance::Api, word, 1);
    }

    /// Counts a sign-in with a token that is not good, for the record.
    pub fn refused_sign_in(&self, token: &str) {
        let (_, word) = self.why(Some(token));
        self.nobody(Entrance::Console, word, 1);
    }

    /// Counts refusals of a gateway that has no log of its own.
    pub(super) fn refused_before(&self, entrance: Entrance, reason: &str, count: u64) {
        self.nobody(entrance, reason, count);
    }

    fn nobody(&self, entrance: Entrance, reason: &str, count: u64) {
        let now = self.shared.clock.now();
        self.shared.refusals.nobody(entrance, reason, count, now);
    }

    /// Returns why a token is not good: as a metric and as the record tell it.
    fn why(&self, token: Option<&str>) -> (&'static str, &'static str) {
        let [missing, expired, unknown] = REASONS;
        match token {
            None => ("missing", missing),
            Some(token) if find(&self.known(), token).is_some() => ("expired", expired),
            Some(_) => ("unknown", unknown),
        }
    }

    /// Counts a call of somebody known, if its answer says that they may not make it.
    pub fn answered(&self, caller: &Caller, path: &str, headers: &http::HeaderMap) {
        let now = self.shared.clock.now();
        self.shared.refusals.note_answer(caller, path, headers, now);
    }

    /// Counts a call of somebody known that was not passed on.
    pub fn denied(&self, caller: &Caller, path: &str, status: &tonic::Status) {
        let now = self.shared.clock.now();
        self.shared.refusals.note(caller, path, status, now);
    }

    /// What was refused and stands on no record yet.
    pub fn refusals(&self) -> Refusals {
        self.shared.refusals.clone()
    }

    /// Reads the tokens anew; returns whether they changed. What is of no use changes nothing.
    pub fn reload(&self) -> Result<bool, TokenError> {
        let known = read(&self.shared.configs, self.shared.takes_demo)?;
        if *self.known() == known {
            return Ok(false);
        }
        *self
            .shared
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner) = known;
        Ok(true)
    }

    /// Reads the tokens anew time and again until the stop.
    pub async fn watch(self, stopping: CancellationToken) -> anyhow::Result<()> {
        describe(METRICS);
        let count = |outcome: &'static str| {
            metrics::counter!("casement_api_tokens_reloads_total", "outcome" => outcome)
                .increment(1);
        };
        let mut every = tokio::time::interval(LOOK_INTERVAL);
        // What was told once is not told every few seconds.
        let mut told = String::new();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            let tokens = self.clone();
            match tokio::task::spawn_blocking(move || tokens.reload()).await? {
                Ok(is_changed) => {
                    told.clear();
                    if is_changed {
                        count("taken");
                        tracing::info!("tokens were read anew");
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        count("refused");
                        tracing::warn!(error, "changed tokens are of no use, the old ones stay");
                        told = error;
                    }
                }
            }
            self.tell();
        }
    }

    fn tell(&self) {
        let now = self.shared.clock.now();
        let known = self.known();
        let expired = known.iter().filter(|known| known.is_expired(now)).count();
        for (state, count) in [("accepted", known.len() - expired), ("expired", expired)] {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("casement_api_known_tokens", "state" => state).set(f64::from(count));
        }
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Vec<Known>> {
        let known = self.shared.known.read();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.known().iter().map(|known| &known.caller.name))
            .finish()
    }
}

fn find<'a>(all: &'a [Known], token: &str) -> Option<&'a Known> {
    let presented = digest(token);
    let mut found = None;
    for known in all {
        if bool::from(known.digest.ct_eq(&presented)) {
            found = Some(known);
        }
    }
    found
}

fn read(configs: &[TokenConfig], takes_demo: bool) -> Result<Vec<Known>, TokenError> {
    let demo = digest(DEMO_TOKEN);
    let mut all: Vec<Known> = Vec::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for config in configs {
        let found = of_one(config)?;
        if config.scopes.is_empty() {
            return Err(TokenError::NoScopes(config.name.clone()));
        }
        if !names.insert(&config.name) {
            return Err(TokenError::Name(config.name.clone()));
        }
        for known in found {
            if known.digest == demo && !takes_demo {
                return Err(TokenError::Demo(known.caller.name));
            }
            if let Some(same) = all.iter().find(|other| other.digest == known.digest) {
                let other = same.caller.name.clone();
                return Err(TokenError::Same(other, known.caller.name));
            }
            all.push(known);
        }
    }
    Ok(all)
}

fn of_one(config: &TokenConfig) -> Result<Vec<Known>, TokenError> {
    let name = || config.name.clone();
    let known = |digest, expire_time, is_plain| Known {
        digest,
        caller: Caller {
            name: name(),
            brand: config.brand.clone(),
            scopes: config.scopes.clone(),
        },
        expire_time,
        is_plain,
    };
    let text = match (&config.token, &config.sha256) {
        (Some(token), None) => token.resolve().map_err(|source| TokenError::Secret {
            name: name(),
            source,
        })?,
        (None, Some(sha256)) => {
            let digest = unhex(sha256).ok_or_else(|| TokenError::Digest(name()))?;
            return Ok(vec![known(digest, None, false)]);
        }
        (None, None) | (Some(_), Some(_)) => return Err(TokenError::Source(name())),
    };
    let mut all = Vec::new();
    for (place, line) in text.expose_secret().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || TokenError::Line {
            name: name(),
            line: place + 1,
        };
        let mut words = line.split_whitespace();
        let token = words.next().unwrap_or_default();
        let expire_time = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some("until"), Some(end), None) => {
                Some(end.parse::<Timestamp>().map_err(|_| wrong())?)
            }
            _ => return Err(wrong()),
        };
        all.push(match token.strip_prefix(HASH_PREFIX) {
            Some(hash) => known(unhex(hash).ok_or_else(wrong)?, expire_time, false),
            None => known(digest(token), expire_time, true),
        });
    }
    if all.is_empty() {
        return Err(TokenError::Secret {
            name: name(),
            source: crate::config::SecretError::Empty,
        });
    }
    Ok(all)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
