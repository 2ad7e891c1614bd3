//! What a brand's messages came to, in figures.

use std::collections::BTreeMap;

use casement_event::convert::{instant, timestamp};
use casement_event::v1::{self, DeliveryStatus, MessageOutcome, Route};
use casement_proto::message::v1 as proto;
use casement_proto::message::v1::MessageState;
use casement_shell::grpc::bad_field;
use jiff::{SignedDuration, Timestamp};
use tonic::Status;

use super::{Backend, one_brand, unanswered};
use crate::store::Figure;

/// The range of who names no start.
const RANGE: SignedDuration = SignedDuration::from_hours(24);

/// The longest range.
const RANGE_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Answers a request for the figures of a brand. `own` is the caller's, if they act for one alone.
pub(super) async fn answer(
    backend: &Backend,
    own: Option<String>,
    request: &proto::GetBrandFiguresRequest,
) -> Result<proto::GetBrandFiguresResponse, Status> {
    let brand_id = one_brand(own, &request.brand_id)?.ok_or_else(|| {
        let text = "is required of a token that acts for every brand";
        bad_field("brand_id", text)
    })?;
    let now = backend.clock.now();
    let (from, until) = range(request, now)?;
    backend.reach(&request.not_before).await?;
    let store = &backend.store;
    let figures = store
        .figures(&brand_id, from, until)
        .await
        .map_err(|error| unanswered(&error))?;
    let open_window_count = store
        .open_windows(&brand_id, now)
        .await
        .map_err(|error| unanswered(&error))?;
    Ok(proto::GetBrandFiguresResponse {
        brand_id,
        start_time: Some(timestamp(from)),
        end_time: Some(timestamp(until)),
        open_window_count,
        ..summed(&figures)
    })
}

fn range(
    request: &proto::GetBrandFiguresRequest,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Status> {
    let read = |field, stored: Option<&prost_types::Timestamp>| {
        instant(field, stored).map_err(|error| bad_field(field, error.to_string()))
    };
    let until = read("end_time", request.end_time.as_ref())?.unwrap_or(now);
    let from = match read("start_time", request.start_time.as_ref())? {
        Some(from) => from,
        None => until.checked_sub(RANGE).unwrap_or(Timestamp::MIN),
    };
    if from >= until {
        return Err(bad_field("start_time", "is not before end_time"));
    }
    if until.duration_since(from) > RANGE_MAX {
        return Err(bad_field(
            "start_time",
            "is more than 366 days before end_time",
        ));
    }
    Ok((from, until))
}

/// Adds up what messages came to. What has reached the customer has not failed, whatever was
/// reported later.
fn summed(figures: &[Figure]) -> proto::GetBrandFiguresResponse {
    let mut sum = proto::GetBrandFiguresResponse::default();
    let mut routes: BTreeMap<i32, proto::RouteFigures> = BTreeMap::new();
    let mut spend: BTreeMap<&str, u64> = BTreeMap::new();
    for figure in figures {
        let count = figure.message_count;
        sum.accepted_count += count;
        let has_arrived = has_arrived(figure);
        let has_failed = !has_arrived && has_failed(figure);
        if has_arrived {
            sum.delivered_count += count;
        } else if has_failed {
            sum.failed_count += count;
        } else if figure.outcome == MessageOutcome::Cancelled {
            sum.cancelled_count += count;
        }
        if figure.state != MessageState::Ended {
            sum.pending_count += count;
        }
        if !matches!(figure.route, Route::Unspecified | Route::Hold) {
            let route = i32::from(figure.route);
            let of_route = routes.entry(route).or_default();
            of_route.route = route;
            of_route.sent_count += count;
            of_route.delivered_count += if has_arrived { count } else { 0 };
            of_route.failed_count += if has_failed { count } else { 0 };
        }
        if !figure.currency.is_empty() {
            *spend.entry(&figure.currency).or_default() += figure.cost_micros;
        }
    }
    sum.routes = routes.into_values().collect();
    let money = |(currency, micros): (&str, u64)| v1::Money {
        currency: currency.to_owned(),
        micros,
    };
    sum.spend = spend.into_iter().map(money).collect();
    sum
}

fn has_arrived(figure: &Figure) -> bool {
    let is_reported = matches!(
        figure.delivery_status,
        DeliveryStatus::Delivered | DeliveryStatus::Read | DeliveryStatus::Played
    );
    is_reported || figure.outcome == MessageOutcome::Delivered
}

fn has_failed(figure: &Figure) -> bool {
    matches!(
        figure.outcome,
        MessageOutcome::Failed | MessageOutcome::Expired | MessageOutcome::UnreachableBySms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(
        state: MessageState,
        outcome: MessageOutcome,
        route: Route,
        delivery_status: DeliveryStatus,
        message_count: u64,
    ) -> Figure {
        Figure {
            state,
            outcome,
            route,
            delivery_status,
            message_count,
            cost_micros: 10 * message_count,
            currency: if route == Route::Unspecified {
                ""
            } else {
                "EUR"
            }
            .to_owned(),
        }
    }

    #[test]
    fn each_message_is_counted_in_one_place_of_each_kind() {
        use DeliveryStatus as D;
        use MessageOutcome as O;
        use MessageState as S;
        let sum = summed(&[
            figure(S::Ended, O::Delivered, Route::FreeForm, D::Read, 5),
            figure(S::Ended, O::Delivered, Route::Template, D::Delivered, 3),
            figure(S::Ended, O::Failed, Route::Template, D::Failed, 2),
            figure(S::Ended, O::Expired, Route::Unspecified, D::Unspecified, 1),
            figure(
                S::Ended,
                O::Cancelled,
                Route::Unspecified,
                D::Unspecified,
                4,
            ),
            figure(
                S::Held,
                O::Unspecified,
                Route::Unspecified,
                D::Unspecified,
                7,
            ),
        ]);
        assert_eq!(sum.accepted_count, 22);
        assert_eq!((sum.delivered_count, sum.failed_count), (8, 3));
        assert_eq!((sum.cancelled_count, sum.pending_count), (4, 7));
        let template = sum.routes.iter().find(|one| one.route() == Route::Template);
        let template = template.unwrap();
        assert_eq!(
            (
                template.sent_count,
                template.delivered_count,
                template.failed_count
            ),
            (5, 3, 2)
        );
        assert_eq!(sum.routes.len(), 2, "what was not attempted is in none");
        assert_eq!(sum.spend.len(), 1);
        assert_eq!(sum.spend[0].micros, 100);
    }

    #[test]
    fn a_range_is_a_day_unless_it_is_named_and_never_backwards() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let asked = proto::GetBrandFiguresRequest::default();
        let (from, until) = range(&asked, now).unwrap();
        assert_eq!(
            (from.to_string().as_str(), until),
            ("2026-11-21T10:00:00Z", now)
        );
        let of = |from: &str, until: &str| proto::GetBrandFiguresRequest {
            start_time: Some(timestamp(from.parse().unwrap())),
            end_time: Some(timestamp(until.parse().unwrap())),
            ..proto::GetBrandFiguresRequest::default()
        };
        assert!(range(&of("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"), now).is_ok());
        assert!(range(&of("2026-12-01T00:00:00Z", "2026-11-01T00:00:00Z"), now).is_err());
        assert!(range(&of("2024-12-01T00:00:00Z", "2026-11-01T00:00:00Z"), now).is_err());
    }
}
