//! `AuditService`: the archive as it is, and whether it is still what was archived.

use std::sync::Arc;

use casement_event::convert::timestamp;
use casement_event_log::Log;
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::audit_service_server::AuditService;
use casement_shell::auth::{Scope, require};
use casement_shell::grpc::bad_field;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::customer_export::{CustomerExports, Lines};
use super::erasures::Erasures;
use super::{
    Backend, PAGE_BYTES_MAX, archive, bad_token, brand_of, one_brand, optional, page_size,
    recorded, unanswered,
};
use crate::export::Asked;
use crate::model::{Content, Row};
use crate::note::VerifierKey;
use crate::progress::STREAMS;
use crate::store::{EventFilter, EventKey, Limit};
use crate::{json, page, verify};

const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1_000;

/// Serves `AuditService`.
#[derive(Debug, Clone)]
pub struct AuditApi {
    pub(crate) backend: Backend,
    /// What signed heads are checked with.
    pub(super) keys: Arc<[VerifierKey]>,
    /// One for each export that is being written.
    pub(super) exports: Arc<Semaphore>,
    /// Needs the log, which the archive alone does without.
    customers: Option<CustomerExports>,
    /// `None` where there is no log.
    erasures: Option<Erasures>,
    /// Where acts on the whole archive are recorded; `None` where there is no log.
    record: Option<Log>,
}

impl AuditApi {
    pub(crate) fn new(backend: Backend, keys: Arc<[VerifierKey]>) -> Self {
        Self {
            backend,
            keys,
            exports: Arc::new(Semaphore::new(archive::EXPORTS_MAX)),
            customers: None,
            erasures: None,
            record: None,
        }
    }

    /// Hands out what is held of customers, too.
    pub(crate) fn with_customers(mut self, customers: CustomerExports) -> Self {
        self.customers = Some(customers);
        self
    }

    /// Erases customers, too.
    pub(crate) fn with_erasures(mut self, erasures: Erasures) -> Self {
        self.erasures = Some(erasures);
        self
    }

    /// Puts on record who takes out the archive and who has its tables made anew.
    pub(crate) fn with_record(mut self, log: Log) -> Self {
        self.record = Some(log);
        self
    }

    fn erasures(&self) -> Result<&Erasures, Status> {
        let erasures = self.erasures.as_ref();
        erasures.ok_or_else(|| Status::unimplemented("there is no log here"))
    }
}

/// Where a page of events ends: stream, incarnation, sequence.
type PageKey = (String, String, u64);

#[tonic::async_trait]
impl AuditService for AuditApi {
    async fn get_read_models(
        &self,
        request: Request<proto::GetReadModelsRequest>,
    ) -> Result<Response<proto::GetReadModelsResponse>, Status> {
        require(&request, Scope::Audit)?;
        let read_models = Some(super::read_models::state(&self.backend).await?);
        Ok(Response::new(proto::GetReadModelsResponse { read_models }))
    }

    async fn rebuild_read_models(
        &self,
        request: Request<proto::RebuildReadModelsRequest>,
    ) -> Result<Response<proto::RebuildReadModelsResponse>, Status> {
        let caller = require(&request, Scope::Audit)?;
        let answer =
            super::read_models::rebuild(&self.backend, self.record.as_ref(), &caller).await?;
        Ok(Response::new(answer))
    }

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

    async fn list_acts(
        &self,
        request: Request<proto::ListActsRequest>,
    ) -> Result<Response<proto::ListActsResponse>, Status> {
        let own = brand_of(&require(&request, Scope::Audit)?)?;
        let answer = super::acts::answer(&self.backend, own, &request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    /// Chains run across brands; a report tells nothing of what the events say.
    async fn verify_chain(
        &self,
        request: Request<proto::VerifyChainRequest>,
    ) -> Result<Response<proto::VerifyChainResponse>, Status> {
        require(&request, Scope::Audit)?;
        let stream = stream(request.into_inner().stream)?;
        let store = self.backend.store.as_ref();
        let reports = verify::verify_store(store, stream.as_deref(), &self.keys)
            .await
            .map_err(|error| unanswered(&error))?;
        let reports = reports.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::VerifyChainResponse { reports }))
    }

    async fn list_chains(
        &self,
        request: Request<proto::ListChainsRequest>,
    ) -> Result<Response<proto::ListChainsResponse>, Status> {
        require(&request, Scope::Audit)?;
        let stream = stream(request.into_inner().stream)?;
        let chains = archive::chains(&self.backend, stream.as_deref())
            .await
            .map_err(|error| unanswered(&error))?;
        Ok(Response::new(proto::ListChainsResponse { chains }))
    }

    /// A head tells nothing of what the events say.
    async fn list_signed_heads(
        &self,
        request: Request<proto::ListSignedHeadsRequest>,
    ) -> Result<Response<proto::ListSignedHeadsResponse>, Status> {
        require(&request, Scope::Audit)?;
        let request = request.into_inner();
        let stream = stream(request.stream.clone())?;
        let answer = archive::signed_heads(self, stream, request).await?;
        Ok(Response::new(answer))
    }

    type ExportArchiveStream = archive::Pieces;

    /// A caller of one brand gets the content of that brand's events, and of the others what it
    /// takes to check the chains.
    async fn export_archive(
        &self,
        request: Request<proto::ExportArchiveRequest>,
    ) -> Result<Response<Self::ExportArchiveStream>, Status> {
        let caller = require(&request, Scope::Audit)?;
        let own = brand_of(&caller)?;
        let request = request.into_inner();
        let asked = Asked {
            stream: stream(request.stream)?,
            brand_id: one_brand(own, &request.brand_id)?,
            event_type: optional(request.event_type),
        };
        self.backend.reach(&request.not_before).await?;
        if let Some(log) = &self.record {
            recorded::export(log, self.backend.clock.now(), &caller, &asked).await?;
        }
        Ok(Response::new(archive::export(self, asked)?))
    }

    type ExportCustomerStream = Lines;

    async fn export_customer(
        &self,
        request: Request<proto::ExportCustomerRequest>,
    ) -> Result<Response<Self::ExportCustomerStream>, Status> {
        let caller = require(&request, Scope::Audit)?;
        let customers = self.customers.as_ref();
        let customers = customers.ok_or_else(|| Status::unimplemented("there is no log here"))?;
        let lines = customers.export(&caller, request.into_inner()).await?;
        Ok(Response::new(lines))
    }

    async fn erase_customer(
        &self,
        request: Request<proto::EraseCustomerRequest>,
    ) -> Result<Response<proto::EraseCustomerResponse>, Status> {
        let caller = require(&request, Scope::Erase)?;
        let erasure = self
            .erasures()?
            .erase(&caller, request.into_inner())
            .await?;
        Ok(Response::new(proto::EraseCustomerResponse {
            erasure: Some(erasure),
        }))
    }

    async fn get_erasure(
        &self,
        request: Request<proto::GetErasureRequest>,
    ) -> Result<Response<proto::GetErasureResponse>, Status> {
        let caller = require(&request, Scope::Erase)?;
        let erasure = self.erasures()?.get(&caller, request.get_ref()).await?;
        Ok(Response::new(proto::GetErasureResponse {
            erasure: Some(erasure),
        }))
    }

    async fn list_erasures(
        &self,
        request: Request<proto::ListErasuresRequest>,
    ) -> Result<Response<proto::ListErasuresResponse>, Status> {
        let caller = require(&request, Scope::Erase)?;
        let answer = self.erasures()?.list(&caller, request.get_ref()).await?;
        Ok(Response::new(answer))
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
    let payload_json = match row.content {
        Content::Open => json::payload(&row.stored),
        Content::Erased | Content::Sealed | Content::Broken => String::new(),
    };
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
