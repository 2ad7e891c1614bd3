//! Services that say how things stand, as a test has it.

use std::sync::{Arc, Mutex};

use casement_proto::figures::v1 as figures;
use casement_proto::figures::v1::figures_service_server::FiguresService;
use casement_proto::repair::v1 as repair;
use casement_proto::repair::v1::repair_service_server::RepairService;
use casement_shell::auth::{Scope, require};
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

/// Places of letters that were given up, and why.
pub(crate) type Dropped = (Vec<u64>, String);

/// What is told, and what was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    pub(crate) numbers: Arc<Mutex<Vec<figures::NumberOverview>>>,
    pub(crate) stuck: Arc<Mutex<Vec<figures::StuckItem>>>,
    pub(crate) letters: Arc<Mutex<Vec<repair::DeadLetterEntry>>>,
    /// Places of the letters that were given up, and why.
    pub(crate) dropped: Arc<Mutex<Vec<Dropped>>>,
}

#[tonic::async_trait]
impl FiguresService for Desk {
    async fn list_daily_figures(
        &self,
        request: Request<figures::ListDailyFiguresRequest>,
    ) -> Result<Response<figures::ListDailyFiguresResponse>, Status> {
        require(&request, Scope::Read)?;
        Ok(Response::new(figures::ListDailyFiguresResponse::default()))
    }

    async fn get_figures(
        &self,
        request: Request<figures::GetFiguresRequest>,
    ) -> Result<Response<figures::GetFiguresResponse>, Status> {
        require(&request, Scope::Read)?;
        Ok(Response::new(figures::GetFiguresResponse::default()))
    }

    async fn list_number_overviews(
        &self,
        request: Request<figures::ListNumberOverviewsRequest>,
    ) -> Result<Response<figures::ListNumberOverviewsResponse>, Status> {
        require(&request, Scope::Read)?;
        Ok(Response::new(figures::ListNumberOverviewsResponse {
            numbers: self.numbers.lock().unwrap().clone(),
            next_page_token: String::new(),
        }))
    }

    type WatchNumberOverviewsStream =
        BoxStream<'static, Result<figures::WatchNumberOverviewsResponse, Status>>;

    async fn watch_number_overviews(
        &self,
        request: Request<figures::WatchNumberOverviewsRequest>,
    ) -> Result<Response<Self::WatchNumberOverviewsStream>, Status> {
        require(&request, Scope::Read)?;
        let number = request.into_inner().number;
        let mut numbers = self.numbers.lock().unwrap().clone();
        numbers.retain(|one| one.number == number);
        let first = figures::WatchNumberOverviewsResponse {
            numbers,
            ..Default::default()
        };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(first)]))))
    }

    async fn list_template_figures(
        &self,
        request: Request<figures::ListTemplateFiguresRequest>,
    ) -> Result<Response<figures::ListTemplateFiguresResponse>, Status> {
        require(&request, Scope::Read)?;
        Ok(Response::new(
            figures::ListTemplateFiguresResponse::default(),
        ))
    }

    async fn list_stuck_work(
        &self,
        request: Request<figures::ListStuckWorkRequest>,
    ) -> Result<Response<figures::ListStuckWorkResponse>, Status> {
        require(&request, Scope::Read)?;
        let kinds = request.into_inner().kinds;
        let mut items = self.stuck.lock().unwrap().clone();
        items.retain(|item| kinds.is_empty() || kinds.contains(&item.kind));
        let mut counts: Vec<figures::StuckCount> = Vec::new();
        for item in &items {
            match counts.iter_mut().find(|count| count.kind == item.kind) {
                Some(count) => count.count += 1,
                None => counts.push(figures::StuckCount {
                    kind: item.kind,
                    count: 1,
                }),
            }
        }
        Ok(Response::new(figures::ListStuckWorkResponse {
            items,
            next_page_token: String::new(),
            counts,
        }))
    }
}

#[tonic::async_trait]
impl RepairService for Desk {
    async fn list_dead_letters(
        &self,
        request: Request<repair::ListDeadLettersRequest>,
    ) -> Result<Response<repair::ListDeadLettersResponse>, Status> {
        require(&request, Scope::Audit)?;
        let letters = self.letters.lock().unwrap().clone();
        Ok(Response::new(repair::ListDeadLettersResponse {
            total_count: letters.len() as u64,
            letters,
            next_page_token: String::new(),
        }))
    }

    async fn get_dead_letter(
        &self,
        _: Request<repair::GetDeadLetterRequest>,
    ) -> Result<Response<repair::GetDeadLetterResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn retry_dead_letters(
        &self,
        _: Request<repair::RetryDeadLettersRequest>,
    ) -> Result<Response<repair::RetryDeadLettersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn drop_dead_letters(
        &self,
        request: Request<repair::DropDeadLettersRequest>,
    ) -> Result<Response<repair::DropDeadLettersResponse>, Status> {
        require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let sequences = request.filter.unwrap_or_default().sequences;
        if request.confirm_count != Some(sequences.len() as u64) {
            return Err(Status::failed_precondition("the count is another one"));
        }
        let results = sequences.iter().map(|&sequence| repair::DeadLetterResult {
            sequence,
            outcome: casement_proto::events::v1::DeadLetterOutcome::Dropped.into(),
            ..Default::default()
        });
        let answer = repair::DropDeadLettersResponse {
            count: sequences.len() as u64,
            done: true,
            results: results.collect(),
            pending_count: 0,
        };
        let mut letters = self.letters.lock().unwrap();
        letters.retain(|letter| !sequences.contains(&letter.sequence));
        let mut dropped = self.dropped.lock().unwrap();
        dropped.push((sequences, request.reason));
        Ok(Response::new(answer))
    }

    async fn list_parked_posts(
        &self,
        request: Request<repair::ListParkedPostsRequest>,
    ) -> Result<Response<repair::ListParkedPostsResponse>, Status> {
        require(&request, Scope::Admin)?;
        Ok(Response::new(repair::ListParkedPostsResponse::default()))
    }

    async fn replay_parked_posts(
        &self,
        _: Request<repair::ReplayParkedPostsRequest>,
    ) -> Result<Response<repair::ReplayParkedPostsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}
