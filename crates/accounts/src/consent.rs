//! `ConsentService`: the ledger of what customers allow, read and written by hand, by other
//! systems, one at a time or many.
//!
//! What customers say themselves is heard by other roles, which append to the same ledger by the
//! same function. What a word rules out is decided in the domain, where a message is routed.

mod export;
mod import;
mod item;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use casement_domain::consent::{Channel, OnChannel, Scope};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_domain::routing::Purpose;
use casement_event::convert::{self, timestamp};
use casement_event::subject::{SHOWN_CONSENTS, stream};
use casement_event::{Record, Uuid, v1};
use casement_event_log::consent::ledger::Entry;
use casement_event_log::consent::{self, ConsentError, Known, ledger};
use casement_event_log::customers::{self, ResolveError, Tokens};
use casement_event_log::{Expect, Log, Position};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::consent_service_server::ConsentService;
use casement_shell::SharedClock;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope as Right, require};
use casement_shell::grpc::{bad_field, refuse};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::api::{digits, required, status};
use crate::book::{Book, SOURCE};
use crate::decide::Refusal;
use item::Named;

/// Changes on a page whose size nobody asked for.
const PAGE_SIZE_DEFAULT: usize = 50;

/// Most changes on a page.
const PAGE_SIZE_MAX: usize = 500;

/// The purposes, as standings are told in.
const PURPOSES: [(Purpose, v1::Purpose); 4] = [
    (Purpose::Service, v1::Purpose::Service),
    (Purpose::Utility, v1::Purpose::Utility),
    (Purpose::Authentication, v1::Purpose::Authentication),
    (Purpose::Marketing, v1::Purpose::Marketing),
];

/// The service.
#[derive(Clone)]
pub struct Consents {
    log: Log,
    book: Arc<Book>,
    tokens: Tokens,
    clock: SharedClock,
    /// Ends what has no end of its own.
    closing: CancellationToken,
}

impl std::fmt::Debug for Consents {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Consents").finish_non_exhaustive()
    }
}

impl Consents {
    pub(crate) fn new(
        log: Log,
        book: Arc<Book>,
        tokens: Tokens,
        clock: SharedClock,
        closing: CancellationToken,
    ) -> Self {
        Self {
            log,
            book,
            tokens,
            clock,
            closing,
        }
    }

    /// Returns the portfolio of a number that the caller acts for. A number of another brand is as
    /// unknown as one that does not exist.
    async fn portfolio(&self, caller: &Caller, number: &str) -> Result<PortfolioId, Status> {
        let digits = digits("number", number)?;
        let desk = self.book.desk().await.map_err(status)?;
        let number = desk
            .ledger()
            .number(&digits)
            .filter(|number| caller.acts_for(&number.brand_id))
            .ok_or_else(|| status(Refusal::NumberUnknown.into()))?;
        PortfolioId::parse(&number.portfolio_id).map_err(|_| {
            let text = "the number's record names no portfolio that customers could belong to";
            refuse(Code::FailedPrecondition, "PORTFOLIO_UNKNOWN", text)
        })
    }

    /// Puts on record who takes out what customers allow, before the first of it goes.
    async fn record_export(
        &self,
        caller: &Caller,
        request: &api::ExportConsentsRequest,
    ) -> Result<(), Status> {
        let now = self.clock.now();
        let brand_id = if caller.brand == ALL_BRANDS {
            String::new()
        } else {
            caller.brand.clone()
        };
        let shown = v1::DataShown {
            caller: caller.name.clone(),
            brand_id,
            kind: v1::DataKind::Consents.into(),
            number: digits("number", &request.number)?.clone(),
            with_identifiers: request.include_identifiers,
            time: Some(timestamp(now)),
            ..Default::default()
        };
        let subject = SHOWN_CONSENTS.to_owned();
        let record = Record::new(subject, Uuid::new_v4(), SOURCE, now, shown);
        let appended = self.log.append(record, Expect::Anything).await;
        appended.map(drop).map_err(|error| {
            tracing::warn!(%error, "consents are not exported: it could not be recorded");
            let text = "that it is exported could not be recorded, so it is not exported";
            refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
        })
    }

    /// Returns the customer by whom is meant; `None` if nobody is known.
    async fn find(
        &self,
        portfolio: &PortfolioId,
        named: &Named,
    ) -> Result<Option<CustomerId>, Status> {
        match named {
            Named::Id(customer) => {
                let survivor = customers::survivor(&self.log, portfolio, customer).await;
                let survivor = survivor.map_err(|error| unresolved(&error))?;
                Ok(Some(survivor.unwrap_or_else(|| customer.clone())))
            }
            Named::Addresses(addresses) => {
                let found = customers::find(&self.log, &self.tokens, portfolio, addresses).await;
                found.map_err(|error| unresolved(&error))
            }
        }
    }

    async fn get(
        &self,
        caller: &Caller,
        request: api::GetConsentRequest,
    ) -> Result<api::GetConsentResponse, Status> {
        use api::get_consent_request::Customer;
        let named = match required("to", request.customer)? {
            Customer::To(to) => Named::phone(&to),
            Customer::Recipient(user_id) => Named::user_id(&user_id),
            Customer::CustomerId(id) => Named::id(&id),
        };
        let named = named.map_err(|(field, what)| bad_field(field, what))?;
        let portfolio = self.portfolio(caller, &request.number).await?;
        let Some(customer) = self.find(&portfolio, &named).await? else {
            return Ok(api::GetConsentResponse {
                standings: standings(&Known::default()),
                ..api::GetConsentResponse::default()
            });
        };
        let known = consent::read(&self.log, &portfolio, &customer).await;
        let known = known.map_err(|error| unusable(&error))?;
        Ok(api::GetConsentResponse {
            customer_id: customer.to_string(),
            standings: standings(&known),
            words: convert::consent::consents(&known.consent),
            position: self.position(known.sequence),
        })
    }

    async fn changes(
        &self,
        caller: &Caller,
        request: api::ListConsentChangesRequest,
    ) -> Result<api::ListConsentChangesResponse, Status> {
        use api::list_consent_changes_request::Customer;
        let named = match required("to", request.customer)? {
            Customer::To(to) => Named::phone(&to),
            Customer::Recipient(user_id) => Named::user_id(&user_id),
            Customer::CustomerId(id) => Named::id(&id),
        };
        let named = named.map_err(|(field, what)| bad_field(field, what))?;
        let size = match usize::try_from(request.page_size) {
            Err(_) => return Err(bad_field("page_size", "is negative")),
            Ok(0) => PAGE_SIZE_DEFAULT,
            Ok(size) => size.min(PAGE_SIZE_MAX),
        };
        let portfolio = self.portfolio(caller, &request.number).await?;
        let Some(customer) = self.find(&portfolio, &named).await? else {
            return Ok(api::ListConsentChangesResponse::default());
        };
        let after = after(&request.page_token, &customer)?;
        let history = ledger::history(&self.log, &portfolio, &customer, after, size + 1).await;
        let mut entries = history.map_err(|error| unusable(&error))?;
        let has_more = entries.len() > size;
        entries.truncate(size);
        let next_page_token = match entries.last() {
            Some(last) if has_more => page_token(&customer, last.sequence),
            _ => String::new(),
        };
        let changes = entries.into_iter().map(|entry| self.change(entry));
        Ok(api::ListConsentChangesResponse {
            changes: changes.collect(),
            next_page_token,
        })
    }

    fn change(&self, entry: Entry) -> api::ConsentChange {
        let record = entry.record;
        api::ConsentChange {
            position: self.position(entry.sequence),
            record_time: record.time,
            added: record.changes,
            words: record.consents,
            caller: record.caller,
            carried_from_customer_id: record.carried_from_customer_id,
        }
    }

    fn position(&self, sequence: u64) -> String {
        if sequence == 0 {
            return String::new();
        }
        Position {
            stream: stream::CUSTOMERS.to_owned(),
            incarnation: self.log.incarnation(stream::CUSTOMERS),
            sequence,
        }
        .to_string()
    }
}

fn page_token(customer: &CustomerId, sequence: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{customer}\n{sequence}"))
}

/// Returns the sequence that a page comes after. Its token names the customer, so that it fits no
/// other.
fn after(token: &str, customer: &CustomerId) -> Result<u64, Status> {
    if token.is_empty() {
        return Ok(0);
    }
    let decoded = URL_SAFE_NO_PAD.decode(token).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let sequence = text.as_deref().and_then(|text| {
        let (of, sequence) = text.split_once('\n')?;
        (of == customer.as_str()).then(|| sequence.parse().ok())?
    });
    sequence.ok_or_else(|| bad_field("page_token", "is not one of this list's"))
}

/// Returns how a customer stands to everything.
fn standings(known: &Known) -> Vec<api::ConsentStanding> {
    let all = PURPOSES.into_iter().flat_map(|(purpose, stored)| {
        let standing = known.consent.standing(Scope::from(purpose), None);
        Channel::ALL.map(|channel| of_channel(channel, stored, standing.on(channel)))
    });
    all.collect()
}

fn of_channel(channel: Channel, purpose: v1::Purpose, on: &OnChannel) -> api::ConsentStanding {
    let state = match (&on.refused, on.opt_ins.is_empty()) {
        (Some(_), _) => api::ConsentState::OptedOut,
        (None, false) => api::ConsentState::OptedIn,
        (None, true) => api::ConsentState::Silent,
    };
    let sources = on.opt_ins.iter().map(|opt_in| opt_in.source.clone());
    api::ConsentStanding {
        channel: convert::consent::channel(channel).into(),
        purpose: purpose.into(),
        state: state.into(),
        opt_in_sources: sources.collect(),
        opt_in_time: on.opt_ins.first().map(|newest| timestamp(newest.at)),
    }
}

/// Who is meant cannot be found out now.
fn unresolved(error: &ResolveError) -> Status {
    tracing::warn!(error = %error, "customer was not resolved");
    refuse(Code::Unavailable, "LOG_AWAY", "log cannot be used now")
}

/// The ledger cannot be read or written now.
fn unusable(error: &ConsentError) -> Status {
    match error {
        ConsentError::Unreadable { sequence, .. } => {
            tracing::error!(sequence, error = %error, "consent is not usable");
            let text = "a record on the log is not readable by this version";
            refuse(Code::Internal, "RECORD_UNREADABLE", text)
        }
        ConsentError::Contended => refuse(
            Code::Aborted,
            "CONTENDED",
            "record keeps changing; try again",
        ),
        ConsentError::Read(_) | ConsentError::Append(_) | ConsentError::Survivor(_) => {
            tracing::warn!(error = %error, "consent was not read or written");
            let text = "log did not answer; repeating it under the same item_id is safe";
            refuse(Code::Unavailable, "LOG_AWAY", text)
        }
    }
}

#[tonic::async_trait]
impl ConsentService for Consents {
    async fn get_consent(
        &self,
        request: Request<api::GetConsentRequest>,
    ) -> Result<Response<api::GetConsentResponse>, Status> {
        let caller = require(&request, Right::Read)?;
        let answer = self.get(&caller, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_consent_changes(
        &self,
        request: Request<api::ListConsentChangesRequest>,
    ) -> Result<Response<api::ListConsentChangesResponse>, Status> {
        let caller = require(&request, Right::Read)?;
        let answer = self.changes(&caller, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn record_consent(
        &self,
        request: Request<api::RecordConsentRequest>,
    ) -> Result<Response<api::RecordConsentResponse>, Status> {
        let caller = require(&request, Right::Send)?;
        let item = required("item", request.into_inner().item)?;
        let answer = self.record(&caller, item, "item").await?;
        Ok(Response::new(answer))
    }

    type ImportConsentsStream = import::Answers;

    async fn import_consents(
        &self,
        request: Request<Streaming<api::ImportConsentsRequest>>,
    ) -> Result<Response<import::Answers>, Status> {
        let caller = require(&request, Right::Send)?;
        let answers = self.import(caller, request.into_inner());
        Ok(Response::new(answers))
    }

    type ExportConsentsStream = export::Answers;

    async fn export_consents(
        &self,
        request: Request<api::ExportConsentsRequest>,
    ) -> Result<Response<export::Answers>, Status> {
        let caller = require(&request, Right::Audit)?;
        let request = request.into_inner();
        let portfolio = self.portfolio(&caller, &request.number).await?;
        self.record_export(&caller, &request).await?;
        let answers = self.export(portfolio, request.include_identifiers);
        Ok(Response::new(answers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_fits_its_customer_alone() {
        let ana = CustomerId::parse("ana").unwrap();
        let bob = CustomerId::parse("bob").unwrap();
        let token = page_token(&ana, 7);
        assert_eq!(after(&token, &ana).unwrap(), 7);
        assert!(after(&token, &bob).is_err());
        assert!(after("nonsense!", &ana).is_err());
        assert_eq!(after("", &ana).unwrap(), 0);
    }

    #[test]
    fn who_never_said_anything_is_silent_about_all() {
        let standings = standings(&Known::default());
        assert_eq!(standings.len(), 8);
        let is_silent = |one: &api::ConsentStanding| one.state() == api::ConsentState::Silent;
        assert!(standings.iter().all(is_silent));
    }
}
