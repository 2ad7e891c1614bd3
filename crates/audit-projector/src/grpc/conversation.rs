//! `ConversationService`: conversations as projected, and what happened in them.

use std::sync::Arc;

use casement_domain::conversation::{Action, Colleague, Status as Standing};
use casement_domain::id::CustomerId;
use casement_event::convert::timestamp;
use casement_event::subject;
use casement_event_log::Position;
use casement_proto::conversation::v1 as proto;
use casement_proto::conversation::v1::conversation_service_server::ConversationService;
use casement_shell::auth::{Scope, require};
use casement_shell::grpc::watch::Limits;
use casement_shell::grpc::{bad_field, refuse};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::watch::WATCHES_MAX;
use super::watch_conversations::{self, Watched};
use super::{
    Backend, PAGE_BYTES_MAX, bad_token, brand_of, colleague, e164, number, optional, page_size,
    search, time, unanswered,
};
use crate::desk::{Deed, Desk, note_of};
use crate::model::{
    Content, Conversation, ConversationKey, Row, instant as of_nanoseconds, nanoseconds,
};
use crate::page;
use crate::store::{EventKey, Limit, Page, TimelineKey};
use crate::summary;
use crate::tally::Recent;
use crate::timeline::detail;

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// Serves `ConversationService`.
#[derive(Debug, Clone)]
pub struct ConversationApi {
    pub(crate) backend: Backend,
    pub(crate) desk: Desk,
    /// Ends every watch.
    pub(super) closing: CancellationToken,
    /// One permit for each watch.
    watches: Arc<Semaphore>,
    limits: Limits,
}

impl ConversationApi {
    pub(crate) fn new(backend: Backend, desk: Desk, closing: CancellationToken) -> Self {
        Self {
            backend,
            desk,
            closing,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            limits: Limits::default(),
        }
    }

    /// Returns whether nobody watches.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.watches.available_permits() == WATCHES_MAX
    }

    /// With other limits for who reads slowly.
    #[cfg(test)]
    pub(crate) fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Where a page of a timeline ends: stored time, stream, incarnation, sequence.
type TimelinePageKey = (i64, String, String, u64);

#[tonic::async_trait]
impl ConversationService for ConversationApi {
    async fn get_conversation(
        &self,
        request: Request<proto::GetConversationRequest>,
    ) -> Result<Response<proto::GetConversationResponse>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let request = request.into_inner();
        let key = key(&request.number, &request.customer_id)?;
        self.backend.reach(&request.not_before).await?;
        let conversation = self.find(&key, brand_id.as_deref()).await?;
        Ok(Response::new(proto::GetConversationResponse {
            conversation: Some(self.shown(&conversation)),
        }))
    }

    async fn list_conversations(
        &self,
        request: Request<proto::ListConversationsRequest>,
    ) -> Result<Response<proto::ListConversationsResponse>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let listed = self.list(brand_id, request.into_inner()).await?;
        Ok(Response::new(listed))
    }

    async fn get_timeline(
        &self,
        request: Request<proto::GetTimelineRequest>,
    ) -> Result<Response<proto::GetTimelineResponse>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let request = request.into_inner();
        let key = key(&request.number, &request.customer_id)?;
        let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let question = [key.number.as_str(), key.customer_id.as_str()];
        let before = timeline_key(&question, &request.page_token)?;
        self.backend.reach(&request.not_before).await?;
        // Refuses what is not there, and what is not the caller's.
        self.find(&key, brand_id.as_deref()).await?;

        let limit = Limit {
            rows_max,
            bytes_max: PAGE_BYTES_MAX,
        };
        let store = &self.backend.store;
        let page = store
            .timeline(&key, before.as_ref(), limit)
            .await
            .map_err(|error| unanswered(&error))?;
        let next_page_token = timeline_token(&question, &page);
        let items = page.rows.iter().map(item).collect();
        Ok(Response::new(proto::GetTimelineResponse {
            items,
            next_page_token,
        }))
    }

    async fn add_note(
        &self,
        request: Request<proto::AddNoteRequest>,
    ) -> Result<Response<proto::AddNoteResponse>, Status> {
        let who = colleague::of(&request)?;
        let request = request.into_inner();
        let author = who.author(&request.author)?;
        let note = colleague::note(&request.text, &author)?;
        let wish = colleague::Asked {
            key: key(&request.number, &request.customer_id)?,
            author,
            request_id: request.request_id,
            etag: request.etag,
            not_before: request.not_before,
        };
        let done = self.handle(who, wish, Deed::Note(note)).await?;
        Ok(Response::new(proto::AddNoteResponse {
            note: done.event.as_ref().and_then(note_of),
            position: position(&done),
            conversation: Some(self.shown(&done.conversation)),
        }))
    }

    async fn assign(
        &self,
        request: Request<proto::AssignRequest>,
    ) -> Result<Response<proto::AssignResponse>, Status> {
        let who = colleague::of(&request)?;
        let request = request.into_inner();
        let author = who.author(&request.author)?;
        let action = match request.assignee.as_str() {
            "" => Action::Unassign,
            name => Action::Assign(colleague::name("assignee", name)?),
        };
        let wish = colleague::Asked {
            key: key(&request.number, &request.customer_id)?,
            author,
            request_id: request.request_id,
            etag: request.etag,
            not_before: request.not_before,
        };
        let done = self.handle(who, wish, Deed::Act(action)).await?;
        Ok(Response::new(proto::AssignResponse {
            position: position(&done),
            conversation: Some(self.shown(&done.conversation)),
        }))
    }

    async fn mark_read(
        &self,
        request: Request<proto::MarkReadRequest>,
    ) -> Result<Response<proto::MarkReadResponse>, Status> {
        let who = colleague::of(&request)?;
        let request = request.into_inner();
        let through = colleague::through(request.through_time.as_ref())?;
        let wish = colleague::Asked {
            key: key(&request.number, &request.customer_id)?,
            author: who.author(&request.author)?,
            request_id: request.request_id,
            etag: String::new(),
            not_before: request.not_before,
        };
        let deed = Deed::Act(Action::Read { through });
        let done = self.handle(who, wish, deed).await?;
        Ok(Response::new(proto::MarkReadResponse {
            position: position(&done),
            conversation: Some(self.shown(&done.conversation)),
        }))
    }

    async fn close(
        &self,
        request: Request<proto::CloseRequest>,
    ) -> Result<Response<proto::CloseResponse>, Status> {
        let who = colleague::of(&request)?;
        let request = request.into_inner();
        let through = colleague::through(request.through_time.as_ref())?;
        let wish = colleague::Asked {
            key: key(&request.number, &request.customer_id)?,
            author: who.author(&request.author)?,
            request_id: request.request_id,
            etag: request.etag,
            not_before: request.not_before,
        };
        let deed = Deed::Act(Action::Close { through });
        let done = self.handle(who, wish, deed).await?;
        Ok(Response::new(proto::CloseResponse {
            position: position(&done),
            conversation: Some(self.shown(&done.conversation)),
        }))
    }

    async fn reopen(
        &self,
        request: Request<proto::ReopenRequest>,
    ) -> Result<Response<proto::ReopenResponse>, Status> {
        let who = colleague::of(&request)?;
        let request = request.into_inner();
        let wish = colleague::Asked {
            key: key(&request.number, &request.customer_id)?,
            author: who.author(&request.author)?,
            request_id: request.request_id,
            etag: request.etag,
            not_before: request.not_before,
        };
        let done = self.handle(who, wish, Deed::Act(Action::Reopen)).await?;
        Ok(Response::new(proto::ReopenResponse {
            position: position(&done),
            conversation: Some(self.shown(&done.conversation)),
        }))
    }

    async fn change_labels(
        &self,
        request: Request<proto::ChangeLabelsRequest>,
    ) -> Result<Response<proto::ChangeLabelsResponse>, Status> {
        let who = colleague::of(&request)?;
        let request = request.into_inner();
        let deed = colleague::labelled(&request.add_labels, &request.remove_labels)?;
        let wish = colleague::Asked {
            key: key(&request.number, &request.customer_id)?,
            author: who.author(&request.author)?,
            request_id: request.request_id,
            etag: request.etag,
            not_before: request.not_before,
        };
        let done = self.handle(who, wish, deed).await?;
        Ok(Response::new(proto::ChangeLabelsResponse {
            position: position(&done),
            conversation: Some(self.shown(&done.conversation)),
        }))
    }

    async fn search(
        &self,
        request: Request<proto::SearchRequest>,
    ) -> Result<Response<proto::SearchResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let found = search::answer(&self.backend, &caller, request.get_ref()).await?;
        Ok(Response::new(found))
    }

    type WatchConversationsStream = watch_conversations::Answers;

    async fn watch_conversations(
        &self,
        request: Request<proto::WatchConversationsRequest>,
    ) -> Result<Response<watch_conversations::Answers>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let request = request.into_inner();
        let watched = Watched {
            brand_id,
            number: match request.number.as_str() {
                "" => None,
                text => Some(number(text)?.digits().to_owned()),
            },
            customer_id: optional(request.customer_id),
        };
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| {
            refuse(
                Code::ResourceExhausted,
                "TOO_MANY_WATCHES",
                format!("this process serves at most {WATCHES_MAX} watches of conversations"),
            )
        })?;
        let from = watch_conversations::from(self, &request.after_position).await?;
        let answers = watch_conversations::start(self.clone(), watched, from, self.limits, permit);
        Ok(Response::new(answers))
    }

    async fn list_mentions(
        &self,
        request: Request<proto::ListMentionsRequest>,
    ) -> Result<Response<proto::ListMentionsResponse>, Status> {
        let brand_id = brand_of(&require(&request, Scope::Read)?)?;
        let request = request.into_inner();
        let name = colleague::name("colleague", &request.colleague)?;
        let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let question = [
            "mentions",
            name.as_str(),
            brand_id.as_deref().unwrap_or_default(),
        ];
        let before = timeline_key(&question, &request.page_token)?;
        self.backend.reach(&request.not_before).await?;
        let limit = Limit {
            rows_max,
            bytes_max: PAGE_BYTES_MAX,
        };
        let store = &self.backend.store;
        let page = store
            .mentions(name.as_str(), brand_id.as_deref(), before.as_ref(), limit)
            .await
            .map_err(|error| unanswered(&error))?;
        let next_page_token = timeline_token(&question, &page);
        let event = |row: &Row| row.event();
        let notes = page.rows.iter().filter_map(|row| note_of(&event(row)?));
        Ok(Response::new(proto::ListMentionsResponse {
            notes: notes.collect(),
            next_page_token,
        }))
    }
}

impl ConversationApi {
    /// Another brand's conversation is as unknown as one that never was.
    async fn find(
        &self,
        key: &ConversationKey,
        brand_id: Option<&str>,
    ) -> Result<Conversation, Status> {
        let store = &self.backend.store;
        let found = store
            .conversation(key)
            .await
            .map_err(|error| unanswered(&error))?;
        found
            .filter(|found| brand_id.is_none_or(|brand_id| found.brand_id == brand_id))
            .ok_or_else(|| {
                let message = "no conversation of this number with this customer is known";
                refuse(Code::NotFound, "CONVERSATION_NOT_FOUND", message)
            })
    }

    pub(super) fn shown(&self, of: &Conversation) -> proto::Conversation {
        shown(of, self.backend.clock.now())
    }
}

/// Shows a conversation as it is at `now`.
pub(crate) fn shown(of: &Conversation, now: Timestamp) -> proto::Conversation {
    let (window_state, closed_reason) = of.window(now);
    let handling = &of.handling;
    let name = |name: Option<&Colleague>| name.map(ToString::to_string).unwrap_or_default();
    let closing = handling.closing.as_ref();
    let closing = closing.filter(|_| handling.is_closed(of.heard_time));
    proto::Conversation {
        number: e164(&of.key.number),
        customer_id: of.key.customer_id.clone(),
        brand_id: of.brand_id.clone(),
        window_state: window_state.into(),
        closed_reason: closed_reason.into(),
        open_time: time(of.open_time),
        expire_time: time(of.expire_time),
        last_inbound_time: time(of.last_inbound_time),
        last_outbound_time: time(of.last_outbound_time),
        last_inbound_text: of.last_inbound_text.clone(),
        inbound_count: of.inbound_count,
        outbound_count: of.outbound_count,
        profile_name: of.profile_name.clone(),
        position: Position {
            stream: of.position.stream.clone(),
            incarnation: of.position.incarnation.clone(),
            sequence: of.position.sequence,
        }
        .to_string(),
        status: status_of(of.course().status(now)).into(),
        closed: closing.is_some(),
        closer: name(closing.map(|closing| &closing.by)),
        close_time: time(closing.map(|closing| closing.at)),
        unread: handling.is_unread(of.heard_time),
        assignee: name(handling.assignee()),
        assign_time: time(handling.assignment.as_ref().map(|assigned| assigned.at)),
        labels: handling
            .labels
            .iter()
            .map(|label| label.as_str().to_owned())
            .collect(),
        note_count: i64::try_from(handling.note_count).unwrap_or(i64::MAX),
        etag: of.handled.etag(),
        last_template_time: time(of.template_time),
        heard_time: time(of.heard_time),
        recent_messages: of.recent.iter().map(Recent::shown).collect(),
        unread_count: i32::try_from(of.tally.unread_count()).unwrap_or(i32::MAX),
        waiting_since_time: time(of.tally.waiting_since()),
        thread_owner: of.tally.thread_owner().into(),
        consents: of.consents.clone(),
    }
}

pub(super) fn status_of(of: Standing) -> proto::ConversationStatus {
    match of {
        Standing::Open => proto::ConversationStatus::Open,
        Standing::Expiring => proto::ConversationStatus::Expiring,
        Standing::Locked => proto::ConversationStatus::Locked,
        Standing::AwaitingReply => proto::ConversationStatus::AwaitingReply,
    }
}

fn position(of: &crate::desk::Done) -> String {
    let of = of.position.clone();
    of.map_or_else(String::new, |of| {
        Position {
            stream: of.stream,
            incarnation: of.incarnation,
            sequence: of.sequence,
        }
        .to_string()
    })
}

/// Reads where a page of a timeline begins.
fn timeline_key(question: &[&str], token: &str) -> Result<Option<TimelineKey>, Status> {
    let before = page::key::<TimelinePageKey>(question, token).map_err(bad_token)?;
    Ok(
        before.map(|(stored_time, stream, incarnation, sequence)| TimelineKey {
            stored_time: of_nanoseconds(stored_time),
            event: EventKey {
                stream,
                incarnation,
                sequence,
            },
        }),
    )
}

/// Returns the token of the page after this one; empty if there is none.
fn timeline_token(question: &[&str], page: &Page<Row>) -> String {
    let last = page.rows.last().filter(|_| page.has_more);
    let token = last.map(|last| {
        let EventKey {
            stream,
            incarnation,
            sequence,
        } = EventKey::of(last);
        let stored_time = nanoseconds(last.stored.stored_at);
        page::token(question, (stored_time, stream, incarnation, sequence))
    });
    token.unwrap_or_default()
}

fn key(number_: &str, customer_id: &str) -> Result<ConversationKey, Status> {
    let number = number(number_)?.digits().to_owned();
    let customer_id =
        optional(customer_id.to_owned()).ok_or_else(|| bad_field("customer_id", "is required"))?;
    let customer_id = CustomerId::parse(&customer_id)
        .map_err(|error| bad_field("customer_id", error.to_string()))?;
    Ok(ConversationKey {
        number,
        customer_id: customer_id.as_str().to_owned(),
    })
}

fn item(row: &Row) -> proto::TimelineItem {
    proto::TimelineItem {
        time: Some(timestamp(row.index.event_time)),
        stored_time: Some(timestamp(row.stored.stored_at)),
        event_type: row.index.event_type.clone(),
        event_id: row.index.event_id.clone(),
        summary: summary::of_row(row),
        message_id: row.index.message_id.clone(),
        stream: row.stored.stream.clone(),
        sequence: row.stored.sequence,
        media_id: subject::parse_media(&row.stored.subject)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        detail: (row.content == Content::Open)
            .then(|| detail(&row.stored))
            .flatten(),
    }
}
