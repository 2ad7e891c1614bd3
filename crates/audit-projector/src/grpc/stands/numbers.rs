//! Numbers as they stand.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::budget;
use casement_domain::number_health::{Health, Kind, Limit};
use casement_event::convert;
use casement_event::v1::{self, HaltScope};
use casement_proto::figures::v1 as proto;
use casement_proto::message::v1::MessageState;
use jiff::Timestamp;
use tonic::Status;

use super::{PAGE_LEN, PAGE_LEN_MAX};
use crate::figures::Measure;
use crate::grpc::{Backend, bad_token, e164, one_brand, page_size, unanswered};
use crate::model::instant;
use crate::page;
use crate::store::{Error, RecordKind};

const MINUTES_SHOWN: i64 = 60;
const DAY_MINUTES: i64 = 24 * 60;

/// What accounts and dispatchers have on record.
pub(super) struct Records {
    pub(super) brands: BTreeMap<String, v1::Brand>,
    pub(super) numbers: BTreeMap<String, v1::Number>,
    pub(super) health: BTreeMap<String, Health>,
    /// That stand now.
    pub(super) halts: Vec<v1::Halt>,
}

async fn read<M: prost::Message + Default>(
    backend: &Backend,
    generation: i64,
    kind: RecordKind,
) -> Result<Vec<(String, M)>, Error> {
    let found = backend.store.records(generation, kind).await?;
    // What a newer version wrote is left aside.
    let readable = found
        .into_iter()
        .filter_map(|(name, record)| Some((name, M::decode(record.as_slice()).ok()?)));
    Ok(readable.collect())
}

impl Records {
    pub(super) async fn read(
        backend: &Backend,
        generation: i64,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let brands = read::<v1::Brand>(backend, generation, RecordKind::Brand).await?;
        let numbers = read::<v1::Number>(backend, generation, RecordKind::Number).await?;
        let health = read::<v1::NumberHealth>(backend, generation, RecordKind::Health).await?;
        let halts = read::<v1::Halt>(backend, generation, RecordKind::Halt).await?;
        let stands = |halt: &v1::Halt| {
            let until = convert::instant("until_time", halt.until_time.as_ref());
            until.ok().flatten().is_none_or(|until| now < until)
        };
        let health = health
            .into_iter()
            .map(|(number, health)| (number, convert::number_health::read(&health)));
        Ok(Self {
            brands: brands.into_iter().collect(),
            numbers: numbers.into_iter().collect(),
            health: health.collect(),
            halts: halts
                .into_iter()
                .map(|(_, halt)| halt)
                .filter(stands)
                .collect(),
        })
    }

    /// Numbers of a brand, or all.
    fn of(&self, brand_id: Option<&str>) -> impl Iterator<Item = &v1::Number> {
        self.numbers
            .values()
            .filter(move |number| brand_id.is_none_or(|brand_id| number.brand_id == brand_id))
    }

    /// Whether a halt stops something of a number.
    pub(super) fn reaches(halt: &v1::Halt, number: &v1::Number) -> bool {
        let first = || halt.key.split('/').next().unwrap_or_default();
        match halt.scope() {
            HaltScope::Brand => halt.key == number.brand_id,
            HaltScope::Portfolio => halt.key == number.portfolio_id,
            HaltScope::Waba => halt.key == number.waba_id,
            HaltScope::Number => halt.key == number.number,
            HaltScope::Template => first() == number.waba_id,
            HaltScope::Label => first() == number.brand_id,
            HaltScope::Token => number.token.as_ref().is_some_and(|token| {
                let place = match &token.source {
                    Some(v1::secret_ref::Source::File(path)) => format!("file:{path}"),
                    Some(v1::secret_ref::Source::Env(name)) => format!("env:{name}"),
                    Some(v1::secret_ref::Source::Stored(name)) => format!("stored:{name}"),
                    None => return false,
                };
                place == halt.key
            }),
            // Which numbers a gateway serves is the dispatcher's configuration.
            HaltScope::Gateway | HaltScope::Unspecified => {
                halt.key == format!("{}/account", number.number)
            }
        }
    }

    /// How many customers a portfolio may write to first: the lowest limit of its numbers.
    fn limit(&self, portfolio_id: &str) -> Option<u32> {
        let numbers = self.numbers.values();
        let of_portfolio = numbers.filter(|number| number.portfolio_id == portfolio_id);
        let limits = of_portfolio.filter_map(|number| {
            let told = self.health.get(&number.number).map(Health::messaging_limit);
            match told {
                Some(Limit::Customers(customers)) => Some(customers),
                Some(Limit::Unlimited) => None,
                Some(Limit::Unknown) | None => {
                    Some(number.messaging_limit).filter(|limit| *limit > 0)
                }
            }
        });
        limits.min()
    }
}

pub(super) async fn list(
    backend: &Backend,
    own: Option<String>,
    request: proto::ListNumberOverviewsRequest,
) -> Result<proto::ListNumberOverviewsResponse, Status> {
    let brand_id = one_brand(own, &request.brand_id)?;
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let question = [brand_id.as_deref().unwrap_or("*"), "numbers"];
    let after = page::key::<String>(&question, &request.page_token).map_err(bad_token)?;
    let generation = backend.figures(&request.not_before).await?;
    let now = backend.clock.now();
    let answer = async {
        let records = Records::read(backend, generation, now).await?;
        let mut numbers: Vec<_> = records
            .of(brand_id.as_deref())
            .filter(|one| after.as_ref().is_none_or(|after| one.number > *after))
            .take(rows_max + 1)
            .collect();
        let has_more = numbers.len() > rows_max;
        numbers.truncate(rows_max);
        let last = numbers.last().filter(|_| has_more);
        let next_page_token = last.map(|last| page::token(&question, last.number.clone()));
        let numbers = overviews(backend, generation, &records, &numbers, now).await?;
        Ok(proto::ListNumberOverviewsResponse {
            numbers,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    };
    answer.await.map_err(|error: Error| unanswered(&error))
}

/// The numbers that somebody watches, all of them.
pub(super) async fn watched(
    backend: &Backend,
    brand_id: Option<&str>,
    only: Option<&str>,
) -> Result<Vec<proto::NumberOverview>, Status> {
    let generation = backend.figures("").await?;
    let now = backend.clock.now();
    let answer = async {
        let records = Records::read(backend, generation, now).await?;
        let numbers: Vec<_> = records
            .of(brand_id)
            .filter(|one| only.is_none_or(|only| one.number == only))
            .take(PAGE_LEN_MAX)
            .collect();
        overviews(backend, generation, &records, &numbers, now).await
    };
    answer.await.map_err(|error: Error| unanswered(&error))
}

async fn overviews(
    backend: &Backend,
    generation: i64,
    records: &Records,
    numbers: &[&v1::Number],
    now: Timestamp,
) -> Result<Vec<proto::NumberOverview>, Error> {
    let store = &backend.store;
    let names: Vec<String> = numbers.iter().map(|one| one.number.clone()).collect();
    let portfolios: BTreeSet<String> = numbers.iter().map(|one| one.portfolio_id.clone()).collect();
    let portfolios: Vec<String> = portfolios.into_iter().collect();
    let minute = now.as_second().div_euclid(60);
    let since = minute - DAY_MINUTES + 1;
    let minutes = store.minutes(generation, &names, since).await?;
    let webhooks = store.webhooks(generation, &names).await?;
    let day_ago = now.checked_sub(budget::DAY).unwrap_or(Timestamp::MIN);
    let used = store.contacts(generation, &portfolios, day_ago).await?;
    let open = store.open_windows_of(&names, now).await?;
    let held = store.messages_in(&names, MessageState::Held).await?;
    let mut plots: BTreeMap<&str, Plot> = BTreeMap::new();
    for (number, at, measure, value) in &minutes {
        plots
            .entry(number)
            .or_default()
            .add(*at, *measure, *value, minute);
    }
    let count = |counts: &BTreeMap<String, i64>, name: &str| {
        counts
            .get(name)
            .copied()
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default()
    };
    let shown = numbers.iter().map(|number| {
        let health = records.health.get(&number.number);
        let word = |kind| {
            let fact = health.and_then(|health| health.fact(kind));
            fact.map(|fact| fact.value.clone()).unwrap_or_default()
        };
        let brand = records.brands.get(&number.brand_id);
        let used_count = count(&used, &number.portfolio_id);
        let used_count = u32::try_from(used_count).unwrap_or(u32::MAX);
        let limit = records.limit(&number.portfolio_id);
        let plot = plots.remove(number.number.as_str()).unwrap_or_default();
        let halts = records.halts.iter();
        let halts = halts.filter(|halt| Records::reaches(halt, number)).cloned();
        proto::NumberOverview {
            number: e164(&number.number),
            brand_id: number.brand_id.clone(),
            brand_display_name: brand
                .map(|brand| brand.display_name.clone())
                .unwrap_or_default(),
            display_name: number.display_name.clone(),
            waba_id: number.waba_id.clone(),
            portfolio_id: number.portfolio_id.clone(),
            paused: number.paused,
            pause_reason: number.pause_reason.clone(),
            migrate_away_time: number.migrate_away_time,
            status: word(Kind::Status),
            quality: word(Kind::Quality),
            limit: Some(proto::LimitUse {
                customers_max: limit.unwrap_or_default(),
                used_count,
                left_count: limit.map(|limit| limit.saturating_sub(used_count)),
            }),
            last_webhook_time: webhooks
                .get(&number.number)
                .map(|at| convert::timestamp(instant(*at))),
            token_expire_time: health.and_then(token_end).map(convert::timestamp),
            halts: halts.collect(),
            open_window_count: count(&open, &number.number),
            held_message_count: count(&held, &number.number),
            minutes: plot.minutes(minute),
            last_hour: Some(plot.hour),
            last_day: Some(plot.day),
        }
    });
    Ok(shown.collect())
}

/// When a number's access token ends or ended; `None` if it never does, or nobody was told.
fn token_end(health: &Health) -> Option<Timestamp> {
    let fact = health.fact(Kind::Token)?;
    fact.until
}

/// What a number did lately.
#[derive(Default)]
struct Plot {
    minutes: BTreeMap<i64, proto::MinuteFigures>,
    hour: proto::ErrorRate,
    day: proto::ErrorRate,
}

impl Plot {
    fn add(&mut self, at: i64, measure: Measure, value: i64, now: i64) {
        let value = u64::try_from(value).unwrap_or_default();
        let is_lately = at > now - MINUTES_SHOWN;
        let of_minute = self.minutes.entry(at).or_default();
        let rates = [(true, &mut self.day), (is_lately, &mut self.hour)];
        let rates = rates
            .into_iter()
            .filter_map(|(counts, rate)| counts.then_some(rate));
        match measure {
            Measure::Received => of_minute.received_count += value,
            Measure::Sent => {
                of_minute.sent_count += value;
                rates.for_each(|rate| rate.sent_count += value);
            }
            Measure::Failed => {
                of_minute.failed_count += value;
                rates.for_each(|rate| rate.failed_count += value);
            }
            _ => {}
        }
    }

    /// All minutes of the last hour, oldest first.
    fn minutes(&self, now: i64) -> Vec<proto::MinuteFigures> {
        (now - MINUTES_SHOWN + 1..=now)
            .map(|minute| proto::MinuteFigures {
                start_time: Some(prost_types::Timestamp {
                    seconds: minute * 60,
                    nanos: 0,
                }),
                ..self.minutes.get(&minute).copied().unwrap_or_default()
            })
            .collect()
    }
}
