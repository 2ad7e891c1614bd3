//! `ExportCustomer`: who asks for whom, that it is recorded, and the lines on their way.

use std::sync::Arc;

use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::customers::{self, ResolveError, Tokens};
use casement_event_log::{Expect, Log};
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::export_customer_request::Customer;
use casement_proto::audit::v1::export_customer_response::Line;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refuse};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Code, Status};

use super::{Backend, brand_of, number, unanswered};
use crate::customer_export::{ExportError, Held, Walk};

/// How many exports of customers a process writes at once.
const EXPORTS_MAX: usize = 16;

/// Lines that are ready for a slow reader.
const LINES_MAX: usize = 64;

/// Longest reason, in characters.
const REASON_LEN_MAX: usize = 200;

/// Longest business-scoped user id, in bytes.
const RECIPIENT_LEN_MAX: usize = 256;

/// Who records it.
const SOURCE: &str = "casement/audit-projector";

/// What an export answers.
pub(crate) type Lines = BoxStream<'static, Result<proto::ExportCustomerResponse, Status>>;

/// Hands out what is held of customers.
#[derive(Debug, Clone)]
pub(crate) struct CustomerExports {
    backend: Backend,
    log: Log,
    /// Without them, customers are found by their id alone.
    tokens: Option<Tokens>,
    /// One for each export that is being written.
    exports: Arc<Semaphore>,
}

impl CustomerExports {
    pub(crate) fn new(backend: Backend, log: Log, tokens: Option<Tokens>) -> Self {
        Self {
            backend,
            log,
            tokens,
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        }
    }

    /// Records that it is done, and begins to hand out lines.
    pub(crate) async fn export(
        &self,
        caller: &Caller,
        request: proto::ExportCustomerRequest,
    ) -> Result<Lines, Status> {
        let own = brand_of(caller)?;
        if request.reason.chars().count() > REASON_LEN_MAX {
            let problem = format!("has more than {REASON_LEN_MAX} characters");
            return Err(bad_field("reason", problem));
        }
        let portfolio = self.portfolio(&request.number, own.as_deref()).await?;
        self.backend.reach(&request.not_before).await?;
        let customer = request.customer.as_ref();
        let customer = customer
            .ok_or_else(|| bad_field("customer", "is required: to, recipient or customer_id"))?;
        let customer = self.find(&portfolio, customer).await?;

        let permit = Arc::clone(&self.exports).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let text = format!("this process writes at most {EXPORTS_MAX} exports of customers");
            refuse(Code::ResourceExhausted, "TOO_MANY_EXPORTS", text)
        })?;
        let now = self.backend.clock.now();
        let walk = Walk {
            store: Arc::clone(&self.backend.store),
            log: self.log.clone(),
            now,
        };
        let held = Held {
            customers: walk.customers(customer).await.map_err(broken_off)?,
            brand_id: own,
        };
        if !walk.is_held(&held).await.map_err(broken_off)? {
            return Err(unknown());
        }
        let ids = held.customers.iter();
        let manifest = proto::CustomerExportManifest {
            version: 1,
            export_id: Uuid::new_v4().to_string(),
            export_time: Some(timestamp(now)),
            caller: caller.name.clone(),
            reason: request.reason,
            portfolio_id: portfolio.as_str().to_owned(),
            customer_ids: ids.map(|id| id.as_str().to_owned()).collect(),
            brand_id: held.brand_id.clone().unwrap_or_default(),
        };
        self.record(&portfolio, &held, &manifest).await?;

        let (sender, receiver) = mpsc::channel(LINES_MAX);
        let (failed, mut failure) = mpsc::channel(1);
        tokio::spawn(async move {
            let _permit = permit;
            let first = Line::Manifest(manifest);
            if sender.send(first).await.is_ok()
                && let Err(error) = walk.run(&held, &sender).await
            {
                // There is room for one, and nobody else sends.
                let _ = failed.send(broken_off(error)).await;
            }
        });
        let lines =
            futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Line>| {
                Some((receiver.recv().await?, receiver))
            });
        let lines = lines.map(|line| Ok(proto::ExportCustomerResponse { line: Some(line) }));
        let end = futures::stream::once(async move { failure.recv().await });
        let end = end.filter_map(async |status| status.map(Err));
        Ok(lines.chain(end).boxed())
    }

    /// Returns the portfolio of a number. Another brand's number is as unknown as none.
    pub(super) async fn portfolio(
        &self,
        text: &str,
        own: Option<&str>,
    ) -> Result<PortfolioId, Status> {
        let number = number(text)?;
        let subject = subject::account("number", number.digits());
        let stored = self.log.last(stream::ACCOUNTS, &subject).await;
        let stored = stored.map_err(|error| away(&error))?;
        let record = stored.and_then(|stored| match stored.event().ok()? {
            Event::NumberRecorded(event) => event.number,
            Event::NumberPaused(event) => event.number,
            Event::NumberResumed(event) => event.number,
            Event::NumberMigratedAway(event) => event.number,
            Event::NumberReturned(event) => event.number,
            _ => None,
        });
        let record = record.filter(|record| own.is_none_or(|own| record.brand_id == own));
        let portfolio = record.and_then(|record| PortfolioId::parse(&record.portfolio_id).ok());
        portfolio.ok_or_else(|| {
            let text = "no business number of this kind is known";
            refuse(Code::NotFound, "NUMBER_NOT_FOUND", text)
        })
    }

    /// Returns who carries on for a customer.
    pub(super) async fn survivor(
        &self,
        portfolio: &PortfolioId,
        id: CustomerId,
    ) -> Result<CustomerId, Status> {
        let survivor = customers::survivor(&self.log, portfolio, &id).await;
        Ok(survivor.map_err(|error| unresolved(&error))?.unwrap_or(id))
    }

    /// Returns who carries on for the customer who is asked for.
    async fn find(
        &self,
        portfolio: &PortfolioId,
        customer: &Customer,
    ) -> Result<CustomerId, Status> {
        let addresses = match customer {
            Customer::CustomerId(text) => {
                let id = CustomerId::parse(text)
                    .map_err(|error| bad_field("customer_id", error.to_string()))?;
                return self.survivor(portfolio, id).await;
            }
            Customer::To(text) => {
                let phone =
                    Phone::parse(text).map_err(|error| bad_field("to", error.to_string()))?;
                Addresses {
                    phone: Some(phone),
                    ..Addresses::default()
                }
            }
            Customer::Recipient(text) => {
                if text.is_empty() || text.len() > RECIPIENT_LEN_MAX {
                    let problem = format!("must have 1 to {RECIPIENT_LEN_MAX} bytes");
                    return Err(bad_field("recipient", problem));
                }
                Addresses {
                    user_id: Some(text.clone()),
                    ..Addresses::default()
                }
            }
        };
        let Some(tokens) = &self.tokens else {
            let text = "audit-projector has no customers.token_key: name the customer by its id";
            return Err(refuse(Code::FailedPrecondition, "TOKEN_KEY_MISSING", text));
        };
        let found = customers::find(&self.log, tokens, portfolio, &addresses).await;
        found
            .map_err(|error| unresolved(&error))?
            .ok_or_else(unknown)
    }

    async fn record(
        &self,
        portfolio: &PortfolioId,
        held: &Held,
        manifest: &proto::CustomerExportManifest,
    ) -> Result<(), Status> {
        let event = v1::CustomerExported {
            portfolio_id: manifest.portfolio_id.clone(),
            customer_ids: manifest.customer_ids.clone(),
            brand_id: manifest.brand_id.clone(),
            caller: manifest.caller.clone(),
            reason: manifest.reason.clone(),
            time: manifest.export_time,
            export_id: manifest.export_id.clone(),
        };
        let customer = held.customers.first().ok_or_else(unknown)?;
        let subject = subject::exported(portfolio, customer);
        let now = self.backend.clock.now();
        let record = Record::new(subject, Uuid::new_v4(), SOURCE, now, event);
        let appended = self.log.append(record, Expect::Anything).await;
        appended.map(drop).map_err(|error| {
            tracing::warn!(%error, "export of a customer could not be recorded, and is not done");
            let text = "that it is done could not be recorded, so it was not done";
            refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
        })
    }
}

fn unknown() -> Status {
    let text = "nothing is held of such a customer";
    refuse(Code::NotFound, "CUSTOMER_NOT_FOUND", text)
}

fn away(error: &dyn std::error::Error) -> Status {
    tracing::warn!(%error, "log does not answer an export");
    let text = "log does not answer at present";
    refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
}

fn unresolved(error: &ResolveError) -> Status {
    away(error)
}

fn broken_off(error: ExportError) -> Status {
    match error {
        ExportError::Store(error) => unanswered(&error),
        ExportError::Read(error) => away(&error),
        ExportError::Boundless => refuse(Code::Internal, "CUSTOMER_BOUNDLESS", error.to_string()),
        ExportError::Unread => Status::cancelled("nobody reads the export"),
    }
}
