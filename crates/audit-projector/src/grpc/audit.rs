//! `AuditService`: the archive as it is, and whether it is still what was archived.

use casement_event::convert::timestamp;
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::audit_service_server::AuditService;
use casement_shell::auth::{Scope, require};
use casement_shell::grpc::bad_field;
use tonic::{Request, Response, Status};

use super::{
    Backend, PAGE_BYTES_MAX, bad_token, brand_of, one_brand, optional, page_size, unanswered,
};
use crate::chain::ChainReport;
use crate::model::Row;
use crate::progress::STREAMS;
use crate::store::{EventFilter, EventKey, Limit};
use crate::{json, page, verify};

const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1_000;

/// Serves `AuditService`.
#[derive(Debug, Clone)]
pub struct AuditApi {
    pub(crate) backend: Backend,
}

/// Where a page of events ends: stream, incarnation, sequence.
type PageKey = (String, String, u64);

#[tonic::async_trait]
impl AuditService for AuditApi {
    /// A caller of one brand is not shown what belongs to no brand, such as identifiers of
    /// customers: those are a portfolio's, which brands may share.
    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        let own = brand_of(&require(&request, Scope::Audit)?)?;
        let request = request.into_inner();
        let brand_id = one_brand(own, &request.brand_id)?;
        let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let question = [
            brand_id.clone().unwrap_or_default(),
            request.stream.clone(),
            request.subject_prefix.clone(),
            request.event_type.clone(),
            request.customer_id.clone(),
            request.message_id.clone(),
        ];
        let question = question.each_ref().map(String::as_str);
        let after = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
        let after = after.map(|(stream, incarnation, sequence)| EventKey {
            stream,
            incarnation,
            sequence,
        });
        self.backend.reach(&request.not_before).await?;

        let filter = EventFilter {
            stream: stream(request.stream)?,
            subject_prefix: optional(request.subject_prefix),
            event_type: optional(request.event_type),
            customer_id: optional(request.customer_id),
            message_id: optional(request.message_id),
            brand_id,
            ..EventFilter::default()
        };
        let limit = Limit {
            rows_max,
            bytes_max: PAGE_BYTES_MAX,
        };
        let store = &self.backend.store;
        let page = store
            .events(&filter, after.as_ref(), limit)
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
                page::token(&question, (stream, incarnation, sequence))
            })
            .unwrap_or_default();
        let events = page.rows.into_iter().map(shown).collect();
        Ok(Response::new(proto::ListEventsResponse {
            events,
            next_page_token,
        }))
    }

    /// Chains run across brands; a report tells nothing of what the events say.
    async fn verify_chain(
        &self,
        request: Request<proto::VerifyChainRequest>,
    ) -> Result<Response<proto::VerifyChainResponse>, Status> {
        require(&request, Scope::Audit)?;
        let stream = stream(request.into_inner().stream)?;
        let reports = verify::verify_store(self.backend.store.as_ref(), stream.as_deref())
            .await
            .map_err(|error| unanswered(&error))?;
        let reports = reports.into_iter().map(report).collect();
        Ok(Response::new(proto::VerifyChainResponse { reports }))
    }
}

fn stream(name: String) -> Result<Option<String>, Status> {
    if name.is_empty() || STREAMS.contains(&name.as_str()) {
        return Ok(optional(name));
    }
    Err(bad_field(
        "stream",
        format!("is none of {}", STREAMS.join(", ")),
    ))
}

fn shown(row: Row) -> proto::ArchivedEvent {
    let payload_json = json::payload(&row.stored);
    let Row {
        stored,
        index,
        link,
        ..
    } = row;
    proto::ArchivedEvent {
        stream: stored.stream,
        incarnation: stored.incarnation,
        sequence: stored.sequence,
        subject: stored.subject,
        event_type: index.event_type,
        event_id: index.event_id,
        event_time: Some(timestamp(index.event_time)),
        stored_time: Some(timestamp(stored.stored_at)),
        headers: stored.headers.into_iter().collect(),
        payload: stored.payload.into(),
        payload_json,
        link: link.to_vec(),
    }
}

fn report(of: ChainReport) -> proto::ChainReport {
    let intact = of.is_intact();
    let (broken_sequence, explanation) = of
        .broken
        .map(|broken| (broken.sequence, broken.explanation))
        .unwrap_or_default();
    proto::ChainReport {
        stream: of.stream,
        incarnation: of.incarnation,
        checked_count: of.checked_count,
        last_sequence: of.last_sequence,
        head: of.head.to_vec(),
        intact,
        broken_sequence,
        explanation,
    }
}
