//! `RepairService`: dead letters of all roles and parked items, listed and dealt with by people.
//!
//! What is done to letters is asked of the roles that wrote them, by an event that says who asked.

use std::sync::Arc;
use std::time::Duration;

use casement_event::convert::{instant, timestamp};
use casement_event::subject::stream;
use casement_event::v1::DeadLetterOutcome;
use casement_event::{Record, Uuid, id, subject, v1};
use casement_event_log::Expect;
use casement_event_log::dead::{ASKED_MAX, Answered, Letter, Wish};
use casement_proto::repair::v1 as proto;
use casement_proto::repair::v1::repair_service_server::RepairService;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use jiff::Timestamp;
use tonic::{Code, Request, Response, Status};

use super::{Parked, Repair, RepairError};
use crate::SOURCE;
use crate::aside::ROLE;

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// The longest reason, in characters.
const REASON_LEN_MAX: usize = 256;

/// How long answers of roles are waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Serves `RepairService`.
#[derive(Debug, Clone)]
pub struct RepairApi {
    pub(crate) repair: Arc<Repair>,
}

/// Letters and parked items belong to no brand.
fn admit<T>(request: &Request<T>, scope: Scope) -> Result<Caller, Status> {
    let caller = require(request, scope)?;
    if caller.brand != ALL_BRANDS {
        let text =
            "what no role could handle belongs to no brand: it takes a token whose brand is `*`";
        return Err(refuse(Code::PermissionDenied, "ANOTHER_BRAND", text));
    }
    Ok(caller)
}

fn unanswered(error: &RepairError) -> Status {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, source, "repairs wait for the log");
    refuse(Code::Unavailable, "LOG_UNAVAILABLE", error.to_string())
}

fn read(error: casement_event_log::ReadError) -> Status {
    unanswered(&RepairError::Read(error))
}

fn page_size(asked: i32) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE_LEN),
        Ok(size) => Ok(size.min(PAGE_LEN_MAX)),
        Err(_) => Err(bad_field("page_size", "is negative")),
    }
}

fn checked_reason(reason: &str) -> Result<(), Status> {
    if reason.chars().count() > REASON_LEN_MAX {
        let text = format!("is longer than {REASON_LEN_MAX} characters");
        return Err(bad_field("reason", text));
    }
    Ok(())
}

/// Refuses what was confirmed for another count. Returns whether it is to be done.
fn confirmed(count: u64, confirm_count: Option<u64>) -> Result<bool, Status> {
    match confirm_count {
        None => Ok(false),
        Some(confirmed) if confirmed == count => Ok(true),
        Some(confirmed) => {
            let text =
                format!("it is {count} by now and not {confirmed}: look again, and confirm that");
            Err(refuse(Code::Aborted, "COUNT_CHANGED", text))
        }
    }
}

/// What is asked for, checked.
struct Meant {
    filter: proto::DeadLetterFilter,
    before: Option<Timestamp>,
}

impl Meant {
    fn of(filter: Option<proto::DeadLetterFilter>) -> Result<Self, Status> {
        let filter = filter.unwrap_or_default();
        let before = instant("stored_before_time", filter.stored_before_time.as_ref());
        let before =
            before.map_err(|error| bad_field("filter.stored_before_time", error.to_string()))?;
        if filter.sequences.len() > ASKED_MAX {
            return Err(bad_field(
                "filter.sequences",
                format!("are more than {ASKED_MAX}"),
            ));
        }
        Ok(Self { filter, before })
    }

    fn is_empty(&self) -> bool {
        self.filter == proto::DeadLetterFilter::default()
    }

    fn matches(&self, one: &Letter) -> bool {
        let Self { filter, before } = self;
        (filter.role.is_empty() || filter.role == one.letter.role)
            && one.letter.reason.contains(&filter.reason)
            && before.is_none_or(|before| one.stored_at < before)
            && (filter.sequences.is_empty() || filter.sequences.contains(&one.sequence))
    }
}

fn shown(of: Letter) -> proto::DeadLetterEntry {
    let (last_retry_detail, last_retry_time) = of.last_retry.unzip();
    proto::DeadLetterEntry {
        sequence: of.sequence,
        letter_id: of.id.to_string(),
        stored_time: Some(timestamp(of.stored_at)),
        letter: Some(of.letter),
        last_retry_detail: last_retry_detail.unwrap_or_default(),
        last_retry_time: last_retry_time.map(timestamp),
    }
}

fn shown_parked(of: &Parked) -> proto::ParkedPosts {
    proto::ParkedPosts {
        phone_number_id: of.phone_number_id.clone(),
        item_count: of.items,
        oldest_time: Some(timestamp(of.oldest)),
        newest_time: Some(timestamp(of.newest)),
        released: of.is_known,
    }
}

/// What came of a wish.
#[derive(Default)]
struct Dealt {
    count: u64,
    is_done: bool,
    results: Vec<proto::DeadLetterResult>,
    pending_count: u64,
}

impl RepairApi {
    async fn letters(&self, meant: &Meant) -> Result<Vec<Letter>, Status> {
        let letters = self.repair.desk.log.dead_letters().await;
        let mut letters = letters.map_err(read)?;
        letters.retain(|one| meant.matches(one));
        Ok(letters)
    }

    async fn deal_with(
        &self,
        caller: &Caller,
        filter: Option<proto::DeadLetterFilter>,
        confirm_count: Option<u64>,
        (wanted, reason): (DeadLetterOutcome, &str),
    ) -> Result<Dealt, Status> {
        checked_reason(reason)?;
        let meant = Meant::of(filter)?;
        if meant.is_empty() {
            let text = "names nothing: to mean all letters of a role, name the role";
            return Err(bad_field("filter", text));
        }
        let mut letters = self.letters(&meant).await?;
        let count = letters.len() as u64;
        if !confirmed(count, confirm_count)? || letters.is_empty() {
            return Ok(Dealt {
                count,
                is_done: confirm_count.is_some(),
                ..Dealt::default()
            });
        }
        letters.truncate(ASKED_MAX);
        let sequences: Vec<u64> = letters.iter().map(|one| one.sequence).collect();
        let wish = Wish {
            wanted,
            reason,
            caller: &caller.name,
        };
        let log = &self.repair.desk.log;
        let now = self.repair.desk.clock.now();
        let asked = log.ask_about_dead_letters(&letters, wish, (ROLE, SOURCE), now);
        let asked = asked
            .await
            .map_err(|error| unanswered(&RepairError::Settle(error)))?;
        let answers = log
            .answers_about_dead_letters(&sequences, &asked, ANSWER_WAIT)
            .await;
        let pending_count = (sequences.len() - answers.len()) as u64;
        let result = |(sequence, answered)| {
            let (outcome, detail) = match answered {
                Answered::Settled(outcome) => (outcome, String::new()),
                Answered::InVain(detail) => (DeadLetterOutcome::Unspecified, detail),
            };
            proto::DeadLetterResult {
                sequence,
                outcome: outcome.into(),
                detail,
            }
        };
        Ok(Dealt {
            count,
            is_done: true,
            results: answers.into_iter().map(result).collect(),
            pending_count,
        })
    }
}

#[tonic::async_trait]
impl RepairService for RepairApi {
    async fn list_dead_letters(
        &self,
        request: Request<proto::ListDeadLettersRequest>,
    ) -> Result<Response<proto::ListDeadLettersResponse>, Status> {
        admit(&request, Scope::Audit)?;
        let request = request.into_inner();
        let rows_max = page_size(request.page_size)?;
        let meant = Meant::of(request.filter)?;
        let after: u64 = match request.page_token.as_str() {
            "" => 0,
            token => token
                .parse()
                .map_err(|_| bad_field("page_token", "not a page token of this question"))?,
        };
        let mut letters = self.letters(&meant).await?;
        let total_count = letters.len() as u64;
        letters.retain(|one| one.sequence > after);
        let has_more = letters.len() > rows_max;
        letters.truncate(rows_max);
        let last = letters.last().filter(|_| has_more);
        Ok(Response::new(proto::ListDeadLettersResponse {
            next_page_token: last
                .map(|last| last.sequence.to_string())
                .unwrap_or_default(),
            letters: letters.into_iter().map(shown).collect(),
            total_count,
        }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<proto::GetDeadLetterRequest>,
    ) -> Result<Response<proto::GetDeadLetterResponse>, Status> {
        let caller = admit(&request, Scope::Audit)?;
        let sequence = request.get_ref().sequence;
        let found = self
            .repair
            .desk
            .log
            .dead_letter(sequence)
            .await
            .map_err(read)?;
        let found = found.ok_or_else(|| {
            let text = format!("there is no dead letter {sequence}");
            refuse(Code::NotFound, "NO_DEAD_LETTER", text)
        })?;
        // It may hold what a customer wrote: who sees it is on record before.
        let now = self.repair.desk.clock.now();
        let event = v1::DataShown {
            caller: caller.name,
            kind: v1::DataKind::DeadLetter.into(),
            stream: stream::DEAD.to_owned(),
            sequence,
            time: Some(timestamp(now)),
            ..Default::default()
        };
        let subject = subject::SHOWN_DEAD_LETTERS.to_owned();
        let record = Record::new(subject, Uuid::new_v4(), SOURCE, now, event);
        let noted = self.repair.desk.log.append(record, Expect::Anything).await;
        noted.map_err(|error| unanswered(&RepairError::Settle(error)))?;
        Ok(Response::new(proto::GetDeadLetterResponse {
            letter: Some(shown(found)),
        }))
    }

    async fn retry_dead_letters(
        &self,
        request: Request<proto::RetryDeadLettersRequest>,
    ) -> Result<Response<proto::RetryDeadLettersResponse>, Status> {
        let caller = admit(&request, Scope::Admin)?;
        let request = request.into_inner();
        let wanted = (DeadLetterOutcome::Retried, request.reason.as_str());
        let done = self.deal_with(&caller, request.filter, request.confirm_count, wanted);
        let Dealt {
            count,
            is_done: done,
            results,
            pending_count,
        } = done.await?;
        Ok(Response::new(proto::RetryDeadLettersResponse {
            count,
            done,
            results,
            pending_count,
        }))
    }

    async fn drop_dead_letters(
        &self,
        request: Request<proto::DropDeadLettersRequest>,
    ) -> Result<Response<proto::DropDeadLettersResponse>, Status> {
        let caller = admit(&request, Scope::Admin)?;
        let request = request.into_inner();
        let wanted = (DeadLetterOutcome::Dropped, request.reason.as_str());
        let done = self.deal_with(&caller, request.filter, request.confirm_count, wanted);
        let Dealt {
            count,
            is_done: done,
            results,
            pending_count,
        } = done.await?;
        Ok(Response::new(proto::DropDeadLettersResponse {
            count,
            done,
            results,
            pending_count,
        }))
    }

    async fn list_parked_posts(
        &self,
        request: Request<proto::ListParkedPostsRequest>,
    ) -> Result<Response<proto::ListParkedPostsResponse>, Status> {
        admit(&request, Scope::Admin)?;
        let request = request.into_inner();
        let rows_max = page_size(request.page_size)?;
        let parked = self.repair.parked().await;
        let mut parked = parked.map_err(|error| unanswered(&error))?;
        parked.retain(|one| {
            (request.show_released || !one.is_known) && one.phone_number_id > request.page_token
        });
        let has_more = parked.len() > rows_max;
        parked.truncate(rows_max);
        let last = parked.last().filter(|_| has_more);
        Ok(Response::new(proto::ListParkedPostsResponse {
            next_page_token: last
                .map(|last| last.phone_number_id.clone())
                .unwrap_or_default(),
            numbers: parked.iter().map(shown_parked).collect(),
        }))
    }

    async fn replay_parked_posts(
        &self,
        request: Request<proto::ReplayParkedPostsRequest>,
    ) -> Result<Response<proto::ReplayParkedPostsResponse>, Status> {
        let caller = admit(&request, Scope::Admin)?;
        let request = request.into_inner();
        checked_reason(&request.reason)?;
        let phone_number_id = request.phone_number_id;
        let parked = self.repair.parked().await;
        let parked = parked.map_err(|error| unanswered(&error))?;
        let found = parked
            .into_iter()
            .find(|one| one.phone_number_id == phone_number_id);
        let found = found.ok_or_else(|| {
            let text = format!("nothing is parked for the number {phone_number_id}");
            refuse(Code::NotFound, "NOTHING_PARKED", text)
        })?;
        if !found.is_known {
            let text = format!(
                "no account has the number {phone_number_id}: put it on record, and its items are \
                 put on the log by themselves"
            );
            return Err(refuse(Code::FailedPrecondition, "NUMBER_UNKNOWN", text));
        }
        let count = found.items;
        if !confirmed(count, request.confirm_count)? {
            return Ok(Response::new(proto::ReplayParkedPostsResponse {
                count,
                done: false,
            }));
        }
        let replayed = self.repair.release(&phone_number_id).await;
        replayed.map_err(|error| unanswered(&error))?;
        let now = self.repair.desk.clock.now();
        let event = v1::ParkedPostsReplayed {
            phone_number_id: phone_number_id.clone(),
            item_count: count,
            reason: request.reason,
            caller: caller.name.clone(),
            time: Some(timestamp(now)),
        };
        let id = id::repair(&caller.name, now.as_nanosecond(), &phone_number_id);
        let record = Record::new(subject::dead(ROLE), id, SOURCE, now, event);
        let log = &self.repair.desk.log;
        let noted = log.append(record, Expect::Anything).await;
        noted.map_err(|error| unanswered(&RepairError::Settle(error)))?;
        Ok(Response::new(proto::ReplayParkedPostsResponse {
            count,
            done: true,
        }))
    }
}
