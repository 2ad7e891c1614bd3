//! Watching what the platform holds of numbers: their access tokens, and whether their webhooks
//! come to their app; and whether our clock is the platform's.
//!
//! What the platform says is asked for now and then, once for all numbers that share a token and a
//! business account, and kept as what is told of the numbers ([`crate::health`]). Verdicts are made
//! of that, so that a token is told of in time although nobody can be asked just then.
//!
//! When a token ends is told to its app alone: without `accounts.apps` it is only known whether the
//! platform takes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use casement_domain::number_health::{FALSE, Fact, Kind, Source, TRUE};
use casement_domain::watch::rules::{self, Token};
use casement_domain::watch::{Check, Level};
use casement_event::convert::watch::About;
use casement_event::v1;
use casement_event_log::Log;
use casement_event_log::watch::{LOOK_INTERVAL, WatchError, Watches};
use casement_shell::SharedClock;
use casement_whatsapp::errors::Refused;
use casement_whatsapp::manage::TokenInfo;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::book::{Book, BookError, SOURCE};
use crate::health::{Keeper, News, has_registered, on_record};
use crate::onboarding::App;
use crate::platform::{Leave, Platform, PlatformError};

/// What this role watches.
pub(crate) const CHECKS: &[Check] = &[Check::TokenExpiry, Check::WebhookSubscription, Check::Clock];

/// What the platform is asked for in vain is asked for again after this.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// A token that never ends.
const LASTING: &str = "LASTING";
/// One that ends at the fact's time.
const ENDING: &str = "ENDING";
/// One that the platform takes, and nobody was told for how long.
const TAKEN: &str = "TAKEN";
/// One that the platform does not take.
const INVALID: &str = "INVALID";

/// Watches numbers.
pub(crate) struct Watcher {
    log: Log,
    book: Arc<Book>,
    platform: Arc<Platform>,
    keeper: Arc<Keeper>,
    clock: SharedClock,
    /// Meta's apps by the names of the configuration.
    apps: BTreeMap<String, App>,
    /// How often the platform is asked; zero for never.
    every: SignedDuration,
    /// When each group of numbers is asked about next.
    due: HashMap<Shared, Timestamp>,
}

/// What numbers share that are asked about at once: app, business account, where the token is.
type Shared = (String, String, String);

/// What a look needs.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) book: Arc<Book>,
    pub(crate) platform: Arc<Platform>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) clock: SharedClock,
}

impl Watcher {
    pub(crate) fn new(parts: Parts, apps: BTreeMap<String, App>, every: SignedDuration) -> Self {
        let Parts {
            log,
            book,
            platform,
            keeper,
            clock,
        } = parts;
        Self {
            log,
            book,
            platform,
            keeper,
            clock,
            apps,
            every,
            due: HashMap::new(),
        }
    }

    /// Looks time and again until the stop.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let mut watches = Watches::new(self.log.clone(), SOURCE, CHECKS);
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = look.tick() => {}
            }
            let looked = async {
                if let Err(error) = self.ask().await {
                    tracing::warn!(%error, "what is watched of numbers could not be asked for");
                }
                if let Err(error) = self.judge(&mut watches).await {
                    tracing::warn!(%error, "verdicts of what is watched are late");
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = looked => {}
            }
        }
    }

    /// Asks about the groups of numbers whose time has come.
    async fn ask(&mut self) -> Result<(), BookError> {
        if self.every <= SignedDuration::ZERO {
            return Ok(());
        }
        let now = self.clock.now();
        let mut groups: BTreeMap<Shared, Vec<(v1::Number, bool)>> = BTreeMap::new();
        {
            let desk = self.book.desk().await?;
            let ledger = desk.ledger();
            for entry in ledger.numbers.values() {
                let number = &entry.record;
                let Some(shared) = shared(number) else {
                    continue;
                };
                let is_registered = has_registered(ledger, number);
                let group = groups.entry(shared).or_default();
                group.push((number.clone(), is_registered));
            }
        }
        self.due.retain(|shared, _| groups.contains_key(shared));
        for (shared, numbers) in groups {
            if self.due.get(&shared).is_some_and(|at| now < *at) {
                continue;
            }
            let (account, is_registered) = &numbers[0];
            let (facts, is_whole) = self.ask_about(account, *is_registered, now).await;
            for (number, _) in &numbers {
                let news = News {
                    number: number.number.clone(),
                    phone_number_id: number.phone_number_id.clone(),
                    facts: facts.clone(),
                };
                self.keeper.hear(news, "").await?;
            }
            let wait = if is_whole {
                self.every
            } else {
                AGAIN.min(self.every)
            };
            self.due
                .insert(shared, now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        }
        Ok(())
    }

    /// Asks about one number for all that share its token and account. Returns what there is to
    /// say, and whether everything was answered.
    async fn ask_about(
        &self,
        account: &v1::Number,
        is_registered: bool,
        now: Timestamp,
    ) -> (Vec<(Kind, Fact)>, bool) {
        let leave = match self.platform.leave(account, is_registered, now) {
            Ok(leave) => leave,
            Err(error) => {
                tracing::debug!(%error, "an access token is not asked about");
                return (Vec::new(), false);
            }
        };
        let token = self.token(account, &leave, now).await;
        let subscription = self.subscription(account, &leave, now).await;
        if let Some(heard) = self.platform.manager().heard() {
            // A whole second, which was cut off.
            let waited = heard.waited + heard.at.elapsed() + std::time::Duration::from_secs(1);
            self.clock.hear_of("platform", heard.date, waited);
        }
        let (is_token, is_subscription) = (token.is_ok(), subscription.is_ok());
        let said = [token, subscription];
        let facts = said.into_iter().filter_map(|said| {
            let unsaid = |error: &PlatformError| {
                tracing::debug!(%error, "what is watched of a number was not told");
            };
            said.inspect_err(unsaid).ok().flatten()
        });
        (facts.collect(), is_token && is_subscription)
    }

    /// Asks how long the token lasts.
    async fn token(
        &self,
        account: &v1::Number,
        leave: &Leave,
        now: Timestamp,
    ) -> Result<Option<(Kind, Fact)>, PlatformError> {
        let fact = |value| (Kind::Token, Fact::new(now, Source::Poll, value));
        let manager = self.platform.manager();
        let app = self.apps.get(&account.app);
        let Some(app) = app.or_else(|| self.apps.get(DEFAULT_APP)) else {
            // Whether it is taken shows when it is used.
            return match manager.app(leave.token()).await {
                Err(error) if error.refused() == Some(Refused::Token) => Ok(Some(fact(INVALID))),
                Err(error) => Err(error.into()),
                Ok(_) => Ok(Some(fact(TAKEN))),
            };
        };
        let secret = match app.secret.resolve() {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(%error, "secret of an app in accounts.apps cannot be had");
                return Ok(None);
            }
        };
        let asked = manager.inspect_token(leave.token(), &app.id, &secret);
        let fact = match asked.await {
            Ok(TokenInfo {
                is_valid: false, ..
            }) => fact(INVALID),
            Ok(info) => match first_of(info.expires_at, info.data_access_expires_at) {
                Some(at) => {
                    let (kind, mut fact) = fact(ENDING);
                    fact.until = Some(at);
                    (kind, fact)
                }
                None => fact(LASTING),
            },
            Err(error) => return Err(error.into()),
        };
        Ok(Some(fact))
    }

    /// Asks whether the number's app gets the account's webhooks.
    async fn subscription(
        &self,
        account: &v1::Number,
        leave: &Leave,
        now: Timestamp,
    ) -> Result<Option<(Kind, Fact)>, PlatformError> {
        let manager = self.platform.manager();
        let app = manager.app(leave.token()).await?;
        let subscribed = manager.subscribed_apps(leave.token(), &account.waba_id);
        let is_subscribed = subscribed.await?.iter().any(|one| one.id == app.id);
        let word = if is_subscribed { TRUE } else { FALSE };
        Ok(Some((
            Kind::Subscription,
            Fact::new(now, Source::Poll, word),
        )))
    }

    async fn judge(&self, watches: &mut Watches) -> Result<(), WatchError> {
        let now = self.clock.now();
        let numbers = match self.book.desk().await {
            Ok(desk) => {
                let ledger = desk.ledger();
                let watched = ledger.numbers.values().map(|entry| &entry.record);
                let watched = watched.filter(|number| shared(number).is_some());
                let known = watched.map(|number| {
                    let health = on_record(ledger, number);
                    (
                        About::number(number),
                        known_token(&health),
                        subscribed(&health),
                    )
                });
                Some(known.collect::<Vec<_>>())
            }
            Err(error) => {
                tracing::warn!(%error, "numbers could not be looked through");
                None
            }
        };
        let mut look = watches.look(now).await?;
        if let Some(numbers) = numbers {
            for (about, token, is_subscribed) in &numbers {
                let reading = rules::token(*token, now);
                look.judge(Check::TokenExpiry, about, &reading).await?;
                let reading = rules::subscription(*is_subscribed);
                look.judge(Check::WebhookSubscription, about, &reading)
                    .await?;
            }
            look.retire(Check::TokenExpiry).await?;
            look.retire(Check::WebhookSubscription).await?;
        }
        let reading = rules::clock(&self.clock.distances());
        look.judge(Check::Clock, &About::thing("accounts"), &reading)
            .await?;
        if reading.level > Level::Fine {
            tracing::debug!("{}", reading.text);
        }
        Ok(())
    }
}

/// The app of a number that names none.
const DEFAULT_APP: &str = "default";

/// Returns what a number shares with others; `None` if nothing is watched of it.
fn shared(number: &v1::Number) -> Option<Shared> {
    if number.migrate_away_time.is_some() {
        return None;
    }
    let place = match number.token.as_ref()?.source.as_ref()? {
        v1::secret_ref::Source::File(path) => format!("file:{path}"),
        v1::secret_ref::Source::Env(name) => format!("env:{name}"),
        v1::secret_ref::Source::Stored(name) => format!("stored:{name}"),
    };
    Some((number.app.clone(), number.waba_id.clone(), place))
}

fn first_of(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn known_token(health: &casement_domain::number_health::Health) -> Token {
    let Some(fact) = health.fact(Kind::Token) else {
        return Token::Unknown;
    };
    match (fact.value.as_str(), fact.until) {
        (INVALID, _) => Token::Invalid,
        (LASTING, _) => Token::Lasting,
        (ENDING, Some(at)) => Token::Ends(at),
        _ => Token::Unknown,
    }
}

fn subscribed(health: &casement_domain::number_health::Health) -> Option<bool> {
    match health.word(Kind::Subscription) {
        "" => None,
        word => Some(word == TRUE),
    }
}
