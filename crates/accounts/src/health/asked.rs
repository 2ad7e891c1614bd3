//! Asking the platform about numbers: on a schedule, soon after a report, and on demand.
//!
//! Each number has its own time, spread so that not all come due together. What cannot be asked
//! now, for want of a token, an allowance or an answer, is asked at the next time.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use casement_domain::number_health::{
    Connection, DEREGISTERED, FALSE, Fact, Health, Kind, REGISTERED, Source, TRUE, next_poll,
};
use casement_event::v1;
use casement_whatsapp::manage::Number;
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Keeper, News, on_record};
use crate::book::BookError;
use crate::ledger::Ledger;
use crate::platform::PlatformError;
use crate::{metrics, migration};

/// How often it is looked who is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How many numbers are asked about at once.
const IN_HAND_MAX: usize = 8;

/// How long the platform may still show a number as connected that was just deregistered.
const ECHO_MAX: SignedDuration = SignedDuration::from_mins(2);

/// Why a number was not asked about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// It is not on record.
    #[error("number is not on record")]
    Unknown,
    /// The platform was not asked, or gave nothing.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// What it said could not be recorded.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl Keeper {
    /// Asks about every number when its time comes, until the stop.
    pub(crate) async fn run(&self, stopping: CancellationToken) {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = look.tick() => {}
                () = self.soon.notified() => {}
            }
            let asking = self.ask_who_is_due();
            tokio::select! {
                () = stopping.cancelled() => return,
                asked = asking => if let Err(error) = asked {
                    tracing::warn!(error = %error, "numbers could not be looked through");
                },
            }
        }
    }

    /// Has a number asked about at once.
    pub(crate) fn check_soon(&self, number: &str) {
        let now = self.clock.now();
        self.due().insert(number.to_owned(), now);
        self.soon.notify_one();
    }

    /// Asks about a number now; returns whether the platform told something new.
    pub(crate) async fn check(&self, digits: &str) -> Result<bool, CheckError> {
        let asked_at = self.clock.now();
        let (account, before, is_registered) = {
            let desk = self.book.desk().await?;
            let ledger = desk.ledger();
            let account = ledger.number(digits).ok_or(CheckError::Unknown)?.clone();
            let before = on_record(ledger, &account);
            let is_registered = has_registered(ledger, &account);
            (account, before, is_registered)
        };
        let leave = self.platform.leave(&account, is_registered, asked_at)?;
        let answer = self.platform.number(&leave).await;
        migration::suspect(&self.book, &self.platform, &leave, &account, &answer).await?;
        let number = answer?;
        let news = News {
            number: account.number,
            phone_number_id: account.phone_number_id,
            facts: facts(&number, &before, asked_at),
        };
        Ok(self.hear(news, "").await?)
    }

    async fn ask_who_is_due(&self) -> Result<(), BookError> {
        let now = self.clock.now();
        let due = {
            let desk = self.book.desk().await?;
            self.who_is_due(desk.ledger(), now)
        };
        stream::iter(due)
            .for_each_concurrent(IN_HAND_MAX, |digits| async move {
                let again_at = next_poll(now, self.every, share(&digits, now));
                let again_at = match self.check(&digits).await {
                    Ok(is_news) => {
                        metrics::polled(if is_news { "changed" } else { "same" });
                        again_at
                    }
                    Err(CheckError::Platform(PlatformError::Spent { until })) => {
                        metrics::polled("spent");
                        again_at.max(until)
                    }
                    Err(error) => {
                        metrics::polled("failed");
                        tracing::warn!(error = %describe(&error), "number could not be asked about");
                        again_at
                    }
                };
                self.due().insert(digits, again_at);
            })
            .await;
        Ok(())
    }

    /// Numbers whose time has come. One that was not seen before is due by when it was asked about
    /// last, if that is on record, else at once.
    fn who_is_due(&self, ledger: &Ledger, now: Timestamp) -> Vec<String> {
        let mut due = self.due();
        due.retain(|digits, _| ledger.number(digits).is_some());
        let is_scheduled = self.every > SignedDuration::ZERO;
        if is_scheduled {
            for entry in ledger.numbers.values() {
                let account = &entry.record;
                if account.token.is_none() || account.migrate_away_time.is_some() {
                    continue;
                }
                due.entry(account.number.clone()).or_insert_with(|| {
                    let last = last_asked(&on_record(ledger, account));
                    let share = share(&account.number, now);
                    last.map_or(now, |last| next_poll(last, self.every, share))
                });
            }
        }
        let come = due.iter().filter(|(_, at)| **at <= now);
        let come: Vec<_> = come.map(|(digits, _)| digits.clone()).collect();
        for digits in &come {
            due.remove(digits);
        }
        // Nobody asks twice while the answer is under way.
        for digits in &come {
            due.insert(digits.clone(), Timestamp::MAX);
        }
        come
    }

    fn due(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the platform counts the account's calls as those of one in use.
pub(crate) fn has_registered(ledger: &Ledger, account: &v1::Number) -> bool {
    let numbers = ledger.numbers.values().map(|entry| &entry.record);
    let mut of_account = numbers.filter(|number| number.waba_id == account.waba_id);
    of_account.any(|number| on_record(ledger, number).connection() == Connection::Connected)
}

fn last_asked(health: &Health) -> Option<Timestamp> {
    let polled = health
        .facts()
        .filter(|(_, fact)| fact.source == Source::Poll);
    polled.map(|(_, fact)| fact.at).max()
}

/// Returns where between 0 and 1 a number's next time lies: different for each number and time.
fn share(digits: &str, now: Timestamp) -> f64 {
    let text = format!("{digits} {}", now.as_second());
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    f64::from(hash) / f64::from(u32::MAX)
}

/// Tells an error with what caused it.
fn describe(error: &CheckError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Returns what the platform's answer says. What it leaves empty it does not say.
fn facts(number: &Number, before: &Health, at: Timestamp) -> Vec<(Kind, Fact)> {
    let fact = |value: &str| Fact::new(at, Source::Poll, value);
    let flag = |flag: bool| if flag { TRUE } else { FALSE };
    let words = [
        (Kind::Status, number.status.as_str()),
        (Kind::Quality, number.quality_rating.as_str()),
        (Kind::NameStatus, number.name_status.as_str()),
        (Kind::VerifiedName, number.verified_name.as_str()),
        (
            Kind::CodeVerification,
            number.code_verification_status.as_str(),
        ),
        (Kind::Throughput, number.throughput_level.as_str()),
        (Kind::MessagingLimit, number.messaging_limit.as_str()),
        (Kind::Platform, number.platform_type.as_str()),
        (Kind::AccountMode, number.account_mode.as_str()),
        (Kind::Official, number.is_official.map_or("", flag)),
        (Kind::Coexistence, number.is_on_app.map_or("", flag)),
    ];
    let said = words.into_iter().filter(|(_, word)| !word.is_empty());
    let mut facts: Vec<_> = said.map(|(kind, word)| (kind, fact(word))).collect();
    if let Some(health) = number.health.as_ref().filter(|it| !it.can_send.is_empty()) {
        let errors = health.entities.iter().flat_map(|entity| {
            let errors = entity.errors.iter();
            errors.map(|error| format!("{} {}: {}", entity.kind, error.code, error.description))
        });
        let why = errors.collect::<Vec<_>>().join("; ");
        facts.push((Kind::CanSend, fact(&health.can_send).because(why)));
    }
    facts.extend(requested_name(number, before, at));
    facts.extend(registered_again(number, before, at));
    facts
}

/// The name that was asked for. A webhook told more of its review than the platform does when it
/// is asked, so what is known stays if it is the same review.
fn requested_name(number: &Number, before: &Health, at: Timestamp) -> Option<(Kind, Fact)> {
    if number.new_display_name.is_empty() {
        return None;
    }
    let (name, review) = (&number.new_display_name, &number.new_name_status);
    let known = before.fact(Kind::RequestedName);
    let is_known =
        known.is_some_and(|fact| fact.value == *name && fact.detail.starts_with(review.as_str()));
    let fact = Fact::new(at, Source::Poll, name).because(review);
    (!is_known).then_some((Kind::RequestedName, fact))
}

/// A number that was deregistered here and is connected all the same was registered elsewhere.
fn registered_again(number: &Number, before: &Health, at: Timestamp) -> Option<(Kind, Fact)> {
    let act = before.fact(Kind::Registration)?;
    let echo_ends = act.at.checked_add(ECHO_MAX).unwrap_or(Timestamp::MAX);
    let is_back = act.value == DEREGISTERED && number.status == "CONNECTED" && at > echo_ends;
    is_back.then(|| (Kind::Registration, Fact::new(at, Source::Poll, REGISTERED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn heard(facts: Vec<(Kind, Fact)>) -> Health {
        let mut health = Health::default();
        for (kind, fact) in facts {
            health.take(kind, fact);
        }
        health
    }

    #[test]
    fn what_the_platform_leaves_out_is_not_said() {
        let number = Number {
            status: "CONNECTED".to_owned(),
            throughput_level: "HIGH".to_owned(),
            is_official: Some(false),
            ..Number::default()
        };
        let health = heard(facts(&number, &Health::default(), at(1)));
        let kinds: Vec<_> = health.facts().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Status, Kind::Throughput, Kind::Official]);
        assert_eq!(health.throughput(), Some(1_000));
        assert_eq!(health.is_official(), Some(false));
    }

    #[test]
    fn a_review_that_a_webhook_explained_keeps_its_explanation() {
        let told = Fact::new(at(1), Source::Webhook, "Shop").because("DECLINED NAME_GENERIC");
        let before = heard(vec![(Kind::RequestedName, told)]);
        let asked = |name: &str, review: &str| Number {
            new_display_name: name.to_owned(),
            new_name_status: review.to_owned(),
            ..Number::default()
        };
        assert!(facts(&asked("Shop", "DECLINED"), &before, at(2)).is_empty());
        assert_eq!(facts(&asked("Shop", "APPROVED"), &before, at(2)).len(), 1);
        assert_eq!(facts(&asked("Other", "DECLINED"), &before, at(2)).len(), 1);
    }

    #[test]
    fn a_deregistered_number_is_back_once_the_platform_says_so_for_longer_than_an_echo() {
        let act = Fact::new(at(1_000), Source::Act, DEREGISTERED);
        let before = heard(vec![(Kind::Registration, act)]);
        let connected = Number {
            status: "CONNECTED".to_owned(),
            ..Number::default()
        };
        let is_back = |second| {
            let after = facts(&connected, &before, at(second));
            let health = before.clone().join(heard(after));
            health.connection() == Connection::Connected
        };
        assert!(!is_back(1_060));
        assert!(is_back(1_200));
    }

    #[test]
    fn numbers_have_different_times() {
        let shares: Vec<_> = (0..50)
            .map(|number| share(&format!("1555000{number:04}"), at(1)))
            .collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!(shares.iter().any(|share| *share < 0.3));
        assert!(shares.iter().any(|share| *share > 0.7));
    }
}
