//! `FiguresService`: figures of days, numbers and templates as they stand, what is stuck.

mod days;
mod numbers;
mod stuck;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use casement_event::convert::timestamp;
use casement_proto::figures::v1 as proto;
use casement_proto::figures::v1::figures_service_server::FiguresService;
use casement_shell::auth::{Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use futures::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::{Backend, brand_of, number, one_brand, unanswered};
use crate::figures::{Calendar, CalendarError};
use crate::model::KEY_LEN_MAX;
use crate::store::SumFilter;

/// Rows of a page, of who names no size.
const PAGE_LEN: usize = 50;
/// The longest page.
const PAGE_LEN_MAX: usize = 500;

/// How many watches a process serves at once.
const WATCHES_MAX: usize = 100;

/// How often those who watch numbers are told of what changed, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often they are told at least that nothing did.
const TELL_INTERVAL: Duration = Duration::from_secs(30);

/// Serves `FiguresService`.
#[derive(Debug, Clone)]
pub struct FiguresApi {
    backend: Backend,
    /// Ends every watch.
    closing: CancellationToken,
    /// One permit for each watch.
    watches: Arc<Semaphore>,
}

impl FiguresApi {
    pub(crate) fn new(backend: Backend, closing: CancellationToken) -> Self {
        Self {
            backend,
            closing,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
        }
    }
}

fn own<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    brand_of(&require(request, Scope::Read)?)
}

fn misnamed(error: &CalendarError) -> Status {
    bad_field(error.field, error.problem.clone())
}

/// Reads what traffic is asked for, and for which days.
fn asked(
    backend: &Backend,
    own: Option<String>,
    filter: &proto::FiguresFilter,
) -> Result<(SumFilter, Calendar), Status> {
    let number = match filter.number.as_str() {
        "" => None,
        text => Some(number(text)?.digits().to_owned()),
    };
    let label = match &filter.label {
        None => String::new(),
        Some(label) if label.key.is_empty() => {
            return Err(bad_field("label", "has no key"));
        }
        Some(label) if label.key.len() + label.value.len() > 2 * KEY_LEN_MAX => {
            return Err(bad_field("label", "is longer than a label can be"));
        }
        Some(label) => format!("{}={}", label.key, label.value),
    };
    let days = (
        filter.start_date.as_str(),
        filter.end_date.as_str(),
        filter.time_zone.as_str(),
    );
    let calendar = Calendar::of(days, number.as_deref(), backend.clock.now());
    let label = backend.store.label_digest(&label);
    let filter = SumFilter {
        brand_id: one_brand(own, &filter.brand_id)?,
        number,
        label: label.map_err(|error| unanswered(&error))?,
        ..SumFilter::default()
    };
    Ok((filter, calendar.map_err(|error| misnamed(&error))?))
}

impl Backend {
    /// Returns the figures that are served, once they are not older than a position.
    pub(super) async fn figures(&self, not_before: &str) -> Result<i64, Status> {
        let counted = Self {
            progress: self.counted.clone(),
            ..self.clone()
        };
        counted.reach(not_before).await?;
        let generations = self.store.generations().await;
        let generations = generations.map_err(|error| unanswered(&error))?;
        let served = generations.iter().rev().find(|one| one.is_served);
        let served = served.ok_or_else(|| {
            let text = "figures are being counted from the archive for the first time";
            refuse(Code::Unavailable, "FIGURES_BEING_COUNTED", text)
        })?;
        Ok(served.id)
    }
}

#[tonic::async_trait]
impl FiguresService for FiguresApi {
    async fn list_daily_figures(
        &self,
        request: Request<proto::ListDailyFiguresRequest>,
    ) -> Result<Response<proto::ListDailyFiguresResponse>, Status> {
        let own = own(&request)?;
        let answer = days::list(&self.backend, own, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn get_figures(
        &self,
        request: Request<proto::GetFiguresRequest>,
    ) -> Result<Response<proto::GetFiguresResponse>, Status> {
        let own = own(&request)?;
        let answer = days::sum(&self.backend, own, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_number_overviews(
        &self,
        request: Request<proto::ListNumberOverviewsRequest>,
    ) -> Result<Response<proto::ListNumberOverviewsResponse>, Status> {
        let own = own(&request)?;
        let answer = numbers::list(&self.backend, own, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    type WatchNumberOverviewsStream =
        BoxStream<'static, Result<proto::WatchNumberOverviewsResponse, Status>>;

    async fn watch_number_overviews(
        &self,
        request: Request<proto::WatchNumberOverviewsRequest>,
    ) -> Result<Response<Self::WatchNumberOverviewsStream>, Status> {
        let own = own(&request)?;
        let request = request.into_inner();
        let brand_id = one_brand(own, &request.brand_id)?;
        let only = match request.number.as_str() {
            "" => None,
            text => Some(number(text)?.digits().to_owned()),
        };
        // What cannot be answered is refused, not streamed.
        self.backend.figures("").await?;
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let text = format!("{WATCHES_MAX} watches are served already");
            refuse(Code::ResourceExhausted, "TOO_MANY_WATCHES", text)
        })?;
        let (sender, receiver) = mpsc::channel(1);
        let watch = Watch {
            backend: self.backend.clone(),
            brand_id,
            only,
            sender,
            _permit: permit,
        };
        let closing = self.closing.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = watch.run() => {}
            }
        });
        let answers = futures::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|answer| (answer, receiver))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_template_figures(
        &self,
        request: Request<proto::ListTemplateFiguresRequest>,
    ) -> Result<Response<proto::ListTemplateFiguresResponse>, Status> {
        let own = own(&request)?;
        let answer = templates::list(&self.backend, own, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_stuck_work(
        &self,
        request: Request<proto::ListStuckWorkRequest>,
    ) -> Result<Response<proto::ListStuckWorkResponse>, Status> {
        let own = own(&request)?;
        let answer = stuck::list(&self.backend, own, request.into_inner()).await?;
        Ok(Response::new(answer))
    }
}

/// One caller who watches numbers.
struct Watch {
    backend: Backend,
    brand_id: Option<String>,
    only: Option<String>,
    /// Holds one answer: who reads slowly is told less often, and of what is so by then.
    sender: mpsc::Sender<Result<proto::WatchNumberOverviewsResponse, Status>>,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    async fn run(self) {
        let mut told: Vec<proto::NumberOverview> = Vec::new();
        let mut told_at: Option<Instant> = None;
        while let Ok(place) = self.sender.reserve().await {
            let now = self.backend.clock.now();
            let found = numbers::watched(
                &self.backend,
                self.brand_id.as_deref(),
                self.only.as_deref(),
            );
            match found.await {
                Ok(found) => {
                    let changed: Vec<_> = found
                        .iter()
                        .filter(|one| !told.contains(one))
                        .cloned()
                        .collect();
                    let is_due = told_at.is_none_or(|at| at.elapsed() >= TELL_INTERVAL);
                    if is_due || !changed.is_empty() {
                        told_at = Some(Instant::now());
                        place.send(Ok(proto::WatchNumberOverviewsResponse {
                            numbers: changed,
                            time: Some(timestamp(now)),
                        }));
                    }
                    told = found;
                }
                Err(status) => {
                    place.send(Err(status));
                    return;
                }
            }
            tokio::select! {
                () = self.sender.closed() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}
