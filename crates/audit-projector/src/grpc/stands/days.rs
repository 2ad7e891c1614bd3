//! Figures of days, and their sums.

use std::collections::BTreeMap;

use casement_event::v1::{MessageOutcome, Route};
use casement_proto::figures::v1 as proto;
use tonic::Status;

use super::{PAGE_LEN, PAGE_LEN_MAX, asked};
use crate::figures::{Histogram, Measure};
use crate::grpc::{Backend, bad_token, e164, page_size, unanswered};
use crate::page;
use crate::store::Sum;

/// Where a page ends: day, brand, number.
type PageKey = (String, String, String);

pub(super) async fn sum(
    backend: &Backend,
    own: Option<String>,
    request: proto::GetFiguresRequest,
) -> Result<proto::GetFiguresResponse, Status> {
    let (filter, calendar) = asked(backend, own, &request.filter.unwrap_or_default())?;
    let generation = backend.figures(&request.not_before).await?;
    let store = &backend.store;
    let sums = store
        .sums(generation, &filter, calendar.all_quarters())
        .await;
    let sums = sums.map_err(|error| unanswered(&error))?;
    Ok(proto::GetFiguresResponse {
        figures: Some(figures(&sums)),
        start_date: calendar.start.to_string(),
        end_date: calendar.end.to_string(),
        time_zone: calendar.zone_name,
    })
}

pub(super) async fn list(
    backend: &Backend,
    own: Option<String>,
    request: proto::ListDailyFiguresRequest,
) -> Result<proto::ListDailyFiguresResponse, Status> {
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let (filter, calendar) = asked(backend, own, &request.filter.unwrap_or_default())?;
    let days = format!("{}/{}", calendar.start, calendar.end);
    let question = [
        filter.brand_id.as_deref().unwrap_or("*"),
        filter.number.as_deref().unwrap_or_default(),
        &filter.label,
        &days,
        &calendar.zone_name,
    ];
    let after = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
    let generation = backend.figures(&request.not_before).await?;
    let store = &backend.store;

    let (first, mut end) = calendar.all_quarters();
    if let Some((day, ..)) = &after {
        let day = day.parse().map_err(|_| bad_token(page::InvalidToken))?;
        end = calendar.quarters(day).1;
    }
    let mut found: Vec<proto::DailyFigures> = Vec::new();
    // One more than asked for tells whether there is more.
    while found.len() <= rows_max {
        let last = store.last_quarter(generation, &filter, (first, end)).await;
        let Some(last) = last.map_err(|error| unanswered(&error))? else {
            break;
        };
        let date = calendar.day(last);
        let quarters = calendar.quarters(date);
        let sums = store.sums(generation, &filter, quarters).await;
        let sums = sums.map_err(|error| unanswered(&error))?;
        let date = date.to_string();
        found.extend(by_number(&date, sums).into_iter().filter(|row| {
            after.as_ref().is_none_or(|(day, brand_id, number)| {
                row.date != *day || (&row.brand_id, &row.number) > (brand_id, number)
            })
        }));
        end = quarters.0;
    }
    let has_more = found.len() > rows_max;
    found.truncate(rows_max);
    let last = found.last().filter(|_| has_more);
    let next_page_token = last
        .map(|row| {
            let key = (row.date.clone(), row.brand_id.clone(), row.number.clone());
            page::token(&question, key)
        })
        .unwrap_or_default();
    for row in &mut found {
        row.number = e164(&row.number);
    }
    Ok(proto::ListDailyFiguresResponse {
        days: found,
        next_page_token,
        time_zone: calendar.zone_name,
    })
}

/// The figures of one day, by brand and number in their order; numbers without the plus.
fn by_number(date: &str, sums: Vec<Sum>) -> Vec<proto::DailyFigures> {
    let mut numbers: BTreeMap<(String, String), Vec<Sum>> = BTreeMap::new();
    for sum in sums {
        let key = (sum.brand_id.clone(), sum.number.clone());
        numbers.entry(key).or_default().push(sum);
    }
    numbers
        .into_iter()
        .map(|((brand_id, number), sums)| proto::DailyFigures {
            date: date.to_owned(),
            brand_id,
            number,
            figures: Some(figures(&sums)),
        })
        .collect()
}

fn route(word: &str) -> i32 {
    Route::from_str_name(&format!("ROUTE_{word}")).map_or(0, i32::from)
}

/// Shows sums. What is counted is never below nothing once all of it is told.
pub(super) fn figures(sums: &[Sum]) -> proto::Figures {
    let mut shown = proto::Figures::default();
    let mut routes: BTreeMap<i32, proto::RouteCount> = BTreeMap::new();
    let mut failovers: BTreeMap<(i32, i32), u64> = BTreeMap::new();
    let mut outcomes: BTreeMap<i32, u64> = BTreeMap::new();
    let mut failures: BTreeMap<&str, u64> = BTreeMap::new();
    let mut costs: BTreeMap<(&str, &str), proto::CostSum> = BTreeMap::new();
    let mut spread = Histogram::default();
    let (mut response_count, mut response_millis) = (0, 0);
    for sum in sums {
        let value = u64::try_from(sum.value).unwrap_or_default();
        let detail = sum.detail.as_str();
        let of_route = |routes: &mut BTreeMap<i32, proto::RouteCount>,
                        add: fn(&mut proto::RouteCount) -> &mut u64| {
            let route = route(detail);
            let count = routes.entry(route).or_default();
            count.route = route;
            *add(count) += value;
        };
        match sum.measure {
            Measure::Received => {
                shown.received_count += value;
                if detail == "SMS" {
                    shown.received_sms_count += value;
                }
            }
            Measure::Calls => shown.call_count += value,
            Measure::Requested => shown.requested_count += value,
            Measure::Sent => of_route(&mut routes, |count| &mut count.sent_count),
            Measure::Delivered => of_route(&mut routes, |count| &mut count.delivered_count),
            Measure::Read => of_route(&mut routes, |count| &mut count.read_count),
            Measure::Failed => of_route(&mut routes, |count| &mut count.failed_count),
            Measure::Unknown => of_route(&mut routes, |count| &mut count.unknown_count),
            Measure::FailedByClass => *failures.entry(detail).or_default() += value,
            Measure::Failovers => {
                let (from, to) = detail.split_once('>').unwrap_or_default();
                *failovers.entry((route(from), route(to))).or_default() += value;
            }
            Measure::CostEstimated | Measure::CostReported | Measure::CostAttempts => {
                let (category, currency) = detail.rsplit_once('/').unwrap_or_default();
                let cost = costs.entry((category, currency)).or_default();
                match sum.measure {
                    Measure::CostEstimated => cost.estimated_micros += value,
                    Measure::CostReported => cost.reported_micros += value,
                    _ => cost.attempt_count += value,
                }
            }
            Measure::Held => shown.held_count += value,
            Measure::Ended => {
                let name = format!("MESSAGE_OUTCOME_{detail}");
                let outcome = MessageOutcome::from_str_name(&name).map_or(0, i32::from);
                *outcomes.entry(outcome).or_default() += value;
            }
            Measure::ExpiredUnanswered => shown.expired_unanswered_count += value,
            Measure::Responses => response_count += value,
            Measure::ResponseMillis => response_millis += value,
            Measure::ResponsesByClass => spread.add(detail.parse().unwrap_or_default(), value),
            // Shown with templates.
            Measure::TemplateSent
            | Measure::TemplateDelivered
            | Measure::TemplateRead
            | Measure::TemplateFailed => {}
        }
    }
    shown.routes = routes.into_values().collect();
    shown.failovers = failovers
        .into_iter()
        .map(|((from_route, to_route), count)| proto::FailoverCount {
            from_route,
            to_route,
            count,
        })
        .collect();
    shown.outcomes = outcomes
        .into_iter()
        .map(|(outcome, count)| proto::OutcomeCount { outcome, count })
        .collect();
    shown.failures = failures
        .into_iter()
        .map(|(class, count)| proto::FailureCount {
            error_class: class.to_owned(),
            count,
        })
        .collect();
    shown.costs = costs
        .into_iter()
        .map(|((category, currency), cost)| proto::CostSum {
            category: category.to_owned(),
            currency: currency.to_owned(),
            ..cost
        })
        .collect();
    shown.response_times = Some(proto::ResponseTimes {
        count: response_count,
        sum: Some(duration(response_millis)),
        median: spread.quantile((1, 2)).map(duration),
        p90: spread.quantile((9, 10)).map(duration),
    });
    shown
}

fn duration(millis: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(millis / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1_000 * 1_000_000).unwrap_or_default(),
    }
}
