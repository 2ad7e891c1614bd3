//! `ConversationService`: conversations as projected, and what happened in them.

use casement_domain::id::CustomerId;
use casement_event::convert::{instant, timestamp};
use casement_event::subject;
use casement_event::v1::WindowState;
use casement_event_log::Position;
use casement_proto::conversation::v1 as proto;
use casement_proto::conversation::v1::conversation_service_server::ConversationService;
use casement_shell::auth::{Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use tonic::{Code, Request, Response, Status};

use super::{
    Backend, PAGE_BYTES_MAX, bad_token, brand_of, e164, number, optional, page_size, time,
    unanswered,
};
use crate::model::{Conversation, ConversationKey, Row, instant as of_nanoseconds, nanoseconds};
use crate::page;
use crate::store::{ConversationFilter, EventKey, ExpiryKey, Limit, TimelineKey};
use crate::summary::summary;

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// Serves `ConversationService`.
#[derive(Debug, Clone)]
pub struct ConversationApi {
    pub(crate) backend: Backend,
}

/// Where a page of conversations ends: expiry, number, customer.
type ListKey = (Option<i64>, String, String);

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
        let request = request.into_inner();
        let number = match request.number.as_str() {
            "" => None,
            text => Some(number(text)?.digits().to_owned()),
        };
        let window_state = WindowState::try_from(request.window_state)
            .map_err(|_| bad_field("window_state", "is not a state of a window"))?;
        let expire_time_max = instant("expire_before_time", request.expire_before_time.as_ref())
            .map_err(|error| bad_field("expire_before_time", error.to_string()))?;
        let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let question = [
            brand_id.clone().unwrap_or_default(),
            number.clone().unwrap_or_default(),
            window_state.as_str_name().to_owned(),
            expire_time_max.map(|at| at.to_string()).unwrap_or_default(),
        ];
        let question = question.each_ref().map(String::as_str);
        let after = page::key::<ListKey>(&question, &request.page_token).map_err(bad_token)?;
        let after = after.map(|(expire_time, number, customer_id)| ExpiryKey {
            expire_time: expire_time.map(of_nanoseconds),
            key: ConversationKey {
                number,
                customer_id,
            },
        });
        self.backend.reach(&request.not_before).await?;

        let filter = ConversationFilter {
            number,
            brand_id,
            window_state: Some(window_state),
            now: self.backend.clock.now(),
            expire_time_max,
        };
        let store = &self.backend.store;
        let mut rows = store
            .conversations(&filter, after.as_ref(), rows_max + 1)
            .await
            .map_err(|error| unanswered(&error))?;
        let has_more = rows.len() > rows_max;
        rows.truncate(rows_max);
        let last = rows.last().filter(|_| has_more);
        let next_page_token = last
            .map(|last| {
                let ExpiryKey { expire_time, key } = ExpiryKey::of(last);
                page::token(
                    &question,
                    (expire_time.map(nanoseconds), key.number, key.customer_id),
                )
            })
            .unwrap_or_default();
        let conversations = rows.iter().map(|row| self.shown(row)).collect();
        Ok(Response::new(proto::ListConversationsResponse {
            conversations,
            next_page_token,
        }))
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
        let before =
            page::key::<TimelinePageKey>(&question, &request.page_token).map_err(bad_token)?;
        let before = before.map(|(stored_time, stream, incarnation, sequence)| TimelineKey {
            stored_time: of_nanoseconds(stored_time),
            event: EventKey {
                stream,
                incarnation,
                sequence,
            },
        });
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
        let last = page.rows.last().filter(|_| page.has_more);
        let next_page_token = last
            .map(|last| {
                let EventKey {
                    stream,
                    incarnation,
                    sequence,
                } = EventKey::of(last);
                let stored_time = nanoseconds(last.stored.stored_at);
                page::token(&question, (stored_time, stream, incarnation, sequence))
            })
            .unwrap_or_default();
        let items = page.rows.iter().map(item).collect();
        Ok(Response::new(proto::GetTimelineResponse {
            items,
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

    fn shown(&self, of: &Conversation) -> proto::Conversation {
        let (window_state, closed_reason) = of.window(self.backend.clock.now());
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
        }
    }
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
        summary: summary(&row.stored),
        message_id: row.index.message_id.clone(),
        stream: row.stored.stream.clone(),
        sequence: row.stored.sequence,
        media_id: subject::parse_media(&row.stored.subject)
            .map(|id| id.to_string())
            .unwrap_or_default(),
    }
}
