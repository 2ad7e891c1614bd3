//! `MessageQueryService`: outbound messages, found and watched.
//!
//! It shows what the dispatcher published; who sends, cancels or asks for one message by its id
//! asks the dispatcher.

use std::sync::Arc;

use casement_event::convert::{self, instant, timestamp};
use casement_event::v1::MessageOutcome;
use casement_event_log::{Log, Position};
use casement_proto::message::v1 as proto;
use casement_proto::message::v1::message_query_service_server::MessageQueryService;
use casement_shell::auth::{Scope, require};
use casement_shell::grpc::watch::Limits;
use casement_shell::grpc::{bad_field, refuse};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::watch::{self, Answers, Watched};
use super::{Backend, bad_token, brand_of, e164, number, optional, page_size, time, unanswered};
use super::{figures, find, raw};
use crate::model::{Message, instant as of_nanoseconds, nanoseconds};
use crate::store::{MessageFilter, RequestKey};
use crate::{page, terms};

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// Most labels that a filter may ask for: as many as a message may carry.
const LABELS_MAX: usize = 20;

/// Where a page ends: time of the request, message.
type ListKey = (i64, String);

/// Serves `MessageQueryService`.
#[derive(Debug, Clone)]
pub struct MessageQueryApi {
    backend: Backend,
    /// Ends every watch.
    closing: CancellationToken,
    /// One permit for each watch.
    watches: Arc<Semaphore>,
    limits: Limits,
    /// Where raw webhooks stand.
    log: Option<Log>,
}

impl MessageQueryApi {
    pub(crate) fn new(backend: Backend, closing: CancellationToken) -> Self {
        Self {
            backend,
            closing,
            watches: Arc::new(Semaphore::new(watch::WATCHES_MAX)),
            limits: Limits::default(),
            log: None,
        }
    }

    /// Shows raw webhooks, which stand on the log.
    pub(crate) fn with_log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// Returns whether nobody watches.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.watches.available_permits() == watch::WATCHES_MAX
    }

    /// With other limits for who reads slowly.
    #[cfg(test)]
    pub(crate) fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

#[tonic::async_trait]
impl MessageQueryService for MessageQueryApi {
    async fn list_messages(
        &self,
        request: Request<proto::ListMessagesRequest>,
    ) -> Result<Response<proto::ListMessagesResponse>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let request = request.into_inner();
        let asked = request.filter.unwrap_or_default();
        let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let question = question(brand_id.as_deref(), &asked);
        let question = question.each_ref().map(String::as_str);
        let filter = filter(brand_id, asked)?;
        let before = page::key::<ListKey>(&question, &request.page_token).map_err(bad_token)?;
        let before = before.map(|(request_time, message_id)| RequestKey {
            request_time: of_nanoseconds(request_time),
            message_id,
        });
        self.backend.reach(&request.not_before).await?;

        let store = &self.backend.store;
        let mut rows = store
            .messages(&filter, before.as_ref(), rows_max + 1)
            .await
            .map_err(|error| unanswered(&error))?;
        let has_more = rows.len() > rows_max;
        rows.truncate(rows_max);
        let last = rows.last().filter(|_| has_more);
        let next_page_token = last
            .map(|last| {
                let request_time = last.request_time.map_or(0, nanoseconds);
                page::token(&question, (request_time, last.id.clone()))
            })
            .unwrap_or_default();
        Ok(Response::new(proto::ListMessagesResponse {
            messages: rows.into_iter().map(shown).collect(),
            next_page_token,
        }))
    }

    async fn find_message(
        &self,
        request: Request<proto::FindMessageRequest>,
    ) -> Result<Response<proto::FindMessageResponse>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let found = find::answer(&self.backend, brand_id, request.get_ref()).await?;
        Ok(Response::new(found))
    }

    async fn get_raw_webhook(
        &self,
        request: Request<proto::GetRawWebhookRequest>,
    ) -> Result<Response<proto::GetRawWebhookResponse>, Status> {
        let caller = require(&request, Scope::Audit)?;
        let log = self.log.as_ref();
        let log = log.ok_or_else(|| Status::unimplemented("this process has no log"))?;
        let post = raw::answer(&self.backend, log, &caller, request.get_ref()).await?;
        Ok(Response::new(post))
    }

    async fn get_brand_figures(
        &self,
        request: Request<proto::GetBrandFiguresRequest>,
    ) -> Result<Response<proto::GetBrandFiguresResponse>, Status> {
        let own = brand_of(&require(&request, Scope::Read)?)?;
        let figures = figures::answer(&self.backend, own, request.get_ref()).await?;
        Ok(Response::new(figures))
    }

    type WatchMessagesStream = Answers;

    async fn watch_messages(
        &self,
        request: Request<proto::WatchMessagesRequest>,
    ) -> Result<Response<Answers>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let request = request.into_inner();
        let filter = filter(brand_id, request.filter.unwrap_or_default())?;
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| {
            refuse(
                Code::ResourceExhausted,
                "TOO_MANY_WATCHES",
                format!("this process serves at most {} watches", watch::WATCHES_MAX),
            )
        })?;
        let from = watch::from(&self.backend, &request.after_position).await?;
        let watched = Watched { filter, from };
        let closing = self.closing.clone();
        let answers = watch::start(&self.backend, watched, self.limits, closing, permit);
        Ok(Response::new(answers))
    }
}

/// Everything that decides which messages there are.
fn question(brand_id: Option<&str>, filter: &proto::MessageFilter) -> [String; 2] {
    let filter = prost::Message::encode_to_vec(filter);
    [
        brand_id.unwrap_or_default().to_owned(),
        hex::encode(Sha256::digest(filter)),
    ]
}

/// Reads a filter.
fn filter(brand_id: Option<String>, asked: proto::MessageFilter) -> Result<MessageFilter, Status> {
    let number = match asked.number.as_str() {
        "" => None,
        text => {
            let number = number(text).map_err(|_| bad_field("filter.number", "is not E.164"))?;
            Some(number.digits().to_owned())
        }
    };
    let states = asked.states.iter().map(|state| {
        proto::MessageState::try_from(*state)
            .ok()
            .filter(|state| *state != proto::MessageState::Unspecified)
            .ok_or_else(|| bad_field("filter.states", format!("has {state}, which is no state")))
    });
    let outcomes = asked.outcomes.iter().map(|outcome| {
        MessageOutcome::try_from(*outcome)
            .ok()
            .filter(|outcome| *outcome != MessageOutcome::Unspecified)
            .ok_or_else(|| {
                let text = format!("has {outcome}, which is no outcome");
                bad_field("filter.outcomes", text)
            })
    });
    if asked.labels.len() > LABELS_MAX {
        return Err(bad_field("filter.labels", "are more than 20"));
    }
    if asked.labels.iter().any(|label| label.key.is_empty()) {
        return Err(bad_field("filter.labels", "has one without a key"));
    }
    let at = |field, stored: Option<&prost_types::Timestamp>| {
        instant(field, stored).map_err(|error| bad_field(field, error.to_string()))
    };
    let since = asked.request_since_time.as_ref();
    let before = asked.request_before_time.as_ref();
    // The rarest first: the list is read in its order, and narrowed by the rest.
    let mut wanted = Vec::new();
    let is_given = |text: &String| !text.is_empty();
    wanted.extend(
        Some(&asked.provider_message_id)
            .filter(|text| is_given(text))
            .map(|text| terms::provider_id(text)),
    );
    wanted.extend(
        Some(&asked.client_reference)
            .filter(|text| is_given(text))
            .map(|text| terms::reference(text)),
    );
    wanted.extend(asked.labels.iter().map(terms::label));
    wanted.extend((asked.error_code != 0).then(|| terms::error_code(asked.error_code)));
    Ok(MessageFilter {
        brand_id,
        number,
        customer_id: optional(asked.customer_id),
        states: states.collect::<Result<_, _>>()?,
        outcomes: outcomes.collect::<Result<_, _>>()?,
        reason: optional(asked.reason),
        terms: wanted,
        request_time_min: at("filter.request_since_time", since)?,
        request_time_end: at("filter.request_before_time", before)?,
    })
}

/// A message as the API shows it.
pub(crate) fn shown(of: Message) -> proto::Message {
    let is_over = of.state == proto::MessageState::Ended;
    proto::Message {
        message_id: of.id,
        number: e164(&of.key.number),
        customer_id: of.key.customer_id,
        state: of.state.into(),
        outcome: of.outcome.into(),
        outcome_reason: if is_over {
            of.reason.clone()
        } else {
            String::new()
        },
        delivery_status: of.delivery_status.into(),
        cost: convert::message::money::total(
            of.attempts
                .iter()
                .filter_map(|attempt| attempt.cost.as_ref()),
        ),
        attempts: of.attempts,
        decision: None,
        request_time: time(of.request_time),
        expire_time: time(of.expire_time),
        end_time: of.end_time.map(timestamp),
        client_reference: of.client_reference,
        labels: of.labels,
        sensitive: of.is_sensitive,
        send_time: of.send_time.map(timestamp),
        // As decisions, only the one who drives the message tells it.
        overdue_time: None,
        position: Position {
            stream: of.position.stream,
            incarnation: of.position.incarnation,
            sequence: of.position.sequence,
        }
        .to_string(),
        reason: of.reason,
        deferral: of.deferral,
        double_exposure: of.double_exposure,
        nudge_message_id: of.nudge_message_id,
        held_message_id: of.held_message_id,
    }
}
