//! `EraseCustomer`, and how far erasures have come: who may ask for whom, and the answers.
//!
//! It begins an erasure by writing it down; `crate::erasure` carries it out.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::convert::{instant, timestamp};
use casement_event::v1::{self, ErasureState};
use casement_event::{Uuid, id};
use casement_event_log::customers::{self, Tokens};
use casement_event_log::erasure::tombstone;
use casement_event_log::{AppendError, Log};
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::erase_customer_request::Customer;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refuse};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::customer_export::CustomerExports;
use super::{bad_token, brand_of, e164, page_size};
use crate::erasure::{self, EraseError, Eraser, Kept, is_done_but_raw};
use crate::page;

/// Longest reason, in characters.
const REASON_LEN_MAX: usize = 200;

/// Longest request id, in characters.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Longest wait for an erasure.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How often an erasure is looked at that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// Begins erasures, and tells of them.
#[derive(Debug, Clone)]
pub(crate) struct Erasures {
    eraser: Eraser,
    /// Finds numbers and customers.
    customers: Arc<CustomerExports>,
    tokens: Option<Tokens>,
}

/// Who is meant.
struct Meant {
    /// The customer, if one is known who was not erased.
    customer: Option<CustomerId>,
    /// What tombstones of theirs go by, as far as the request says.
    tokens: Vec<String>,
}

impl Erasures {
    pub(crate) fn new(
        eraser: Eraser,
        customers: Arc<CustomerExports>,
        tokens: Option<Tokens>,
    ) -> Self {
        Self {
            eraser,
            customers,
            tokens,
        }
    }

    fn log(&self) -> &Log {
        &self.eraser.log
    }

    /// Begins an erasure, or finds the one that was begun, and waits for it as long as asked.
    pub(crate) async fn erase(
        &self,
        caller: &Caller,
        request: proto::EraseCustomerRequest,
    ) -> Result<proto::Erasure, Status> {
        let own = brand_of(caller)?;
        if request.reason.chars().count() > REASON_LEN_MAX {
            let problem = format!("has more than {REASON_LEN_MAX} characters");
            return Err(bad_field("reason", problem));
        }
        if request.request_id.chars().count() > REQUEST_ID_LEN_MAX {
            let problem = format!("has more than {REQUEST_ID_LEN_MAX} characters");
            return Err(bad_field("request_id", problem));
        }
        let wait = wait(request.wait.as_ref())?;
        let portfolio = self
            .customers
            .portfolio(&request.number, own.as_deref())
            .await?;
        let customer = request.customer.as_ref();
        let customer = customer
            .ok_or_else(|| bad_field("customer", "is required: to, recipient or customer_id"))?;
        let meant = self.meant(&portfolio, customer).await?;
        let erasure_id = match request.request_id.as_str() {
            "" => Uuid::now_v7(),
            request_id => id::erasure(portfolio.as_str(), request_id),
        };
        let erasure_id = erasure_id.simple().to_string();
        let known = self.read(&portfolio, &erasure_id).await?;
        if let Some(known) = &known
            && !meant.is_of(&known.erasure)
        {
            let text = "request id was used to erase another customer";
            return Err(refuse(Code::AlreadyExists, "REQUEST_ID_REUSED", text));
        }
        let kept = match (known, meant.customer) {
            (Some(known), _) => known,
            (None, Some(customer)) => {
                let erasure = self
                    .drafted(caller, &portfolio, &customer, erasure_id)
                    .await?;
                allowed(own.as_deref(), &erasure)?;
                if request.validate_only {
                    let mut shown = shown(erasure);
                    shown.erasure_id.clear();
                    return Ok(shown);
                }
                let reason = request.reason;
                self.begin(&portfolio, v1::Erasure { reason, ..erasure })
                    .await?
            }
            // Nobody is known who was not erased: the erasure is the answer.
            (None, None) => self.erased_before(&portfolio, &meant.tokens).await?,
        };
        allowed(own.as_deref(), &kept.erasure)?;
        Ok(shown(self.awaited(&portfolio, kept, wait).await?.erasure))
    }

    /// Finds out whom a request means.
    async fn meant(&self, portfolio: &PortfolioId, customer: &Customer) -> Result<Meant, Status> {
        let addresses = match customer {
            Customer::CustomerId(text) => {
                let id = CustomerId::parse(text)
                    .map_err(|error| bad_field("customer_id", error.to_string()))?;
                let tokens = vec![id.as_str().to_owned()];
                let erased = tombstone(self.log(), portfolio, id.as_str()).await;
                if erased.map_err(|error| away(&error))?.is_some() {
                    return Ok(Meant {
                        customer: None,
                        tokens,
                    });
                }
                let customer = Some(self.customers.survivor(portfolio, id).await?);
                return Ok(Meant { customer, tokens });
            }
            Customer::To(text) => {
                let phone = Phone::parse(text);
                let phone = phone.map_err(|error| bad_field("to", error.to_string()))?;
                Addresses {
                    phone: Some(phone),
                    ..Addresses::default()
                }
            }
            Customer::Recipient(text) => Addresses {
                user_id: Some(text.clone()),
                ..Addresses::default()
            },
        };
        let Some(tokens) = &self.tokens else {
            let text = "audit-projector has no customers.token_key: name the customer by its id";
            return Err(refuse(Code::FailedPrecondition, "TOKEN_KEY_MISSING", text));
        };
        let found = customers::find(self.log(), tokens, portfolio, &addresses).await;
        Ok(Meant {
            customer: found.map_err(|error| away(&error))?,
            tokens: customers::tokens_of(tokens, portfolio, &addresses),
        })
    }

    /// Tells what an erasure that begins now would take away.
    async fn drafted(
        &self,
        caller: &Caller,
        portfolio: &PortfolioId,
        customer: &CustomerId,
        erasure_id: String,
    ) -> Result<v1::Erasure, Status> {
        for stream in [
            casement_event::subject::stream::CUSTOMERS,
            casement_event::subject::stream::EVENTS,
            casement_event::subject::stream::MESSAGES,
        ] {
            if !self.eraser.has_reached(stream).await.map_err(failed)? {
                let text = "archive does not reach as far as the log: try again";
                return Err(refuse(Code::Unavailable, "POSITION_NOT_REACHED", text));
            }
        }
        let who = self.eraser.who(portfolio.as_str(), customer.clone()).await;
        let who = who.map_err(failed)?;
        let held = self.eraser.held(&who.customers).await.map_err(failed)?;
        if who.tokens.is_empty() && held == crate::erasure::Held::default() {
            return Err(unknown());
        }
        let now = self.eraser.clock.now();
        let last_copy_at = casement_domain::erasure::last_copy_at(now, self.eraser.ages);
        Ok(v1::Erasure {
            erasure_id,
            portfolio_id: portfolio.as_str().to_owned(),
            state: ErasureState::Entombing.into(),
            customer_ids: who
                .customers
                .iter()
                .map(|id| id.as_str().to_owned())
                .collect(),
            tokens: who.tokens.into_iter().collect(),
            erase_time: Some(timestamp(now)),
            last_copy_time: Some(timestamp(last_copy_at)),
            numbers: held.numbers.into_iter().collect(),
            open_message_ids: held.open_messages.into_iter().collect(),
            media_count: held.media.len() as u64,
            media_ids: held.media.into_iter().collect(),
            conversation_count: held.conversation_count,
            message_count: held.message_count,
            brand_ids: held.brands.into_iter().collect(),
            caller: caller.name.clone(),
            ..v1::Erasure::default()
        })
    }

    /// Writes the beginning down; then nothing stops it.
    async fn begin(&self, portfolio: &PortfolioId, erasure: v1::Erasure) -> Result<Kept, Status> {
        let now = self.eraser.clock.now();
        match erasure::append(self.log(), &erasure, 0, now).await {
            Ok(sequence) => Ok(Kept { erasure, sequence }),
            // The same request, twice at once.
            Err(EraseError::Append(AppendError::Conflict { .. })) => {
                let found = self.read(portfolio, &erasure.erasure_id).await?;
                found.ok_or_else(unknown)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn erased_before(
        &self,
        portfolio: &PortfolioId,
        tokens: &[String],
    ) -> Result<Kept, Status> {
        for token in tokens {
            let found = tombstone(self.log(), portfolio, token).await;
            if let Some(found) = found.map_err(|error| away(&error))?
                && let Some(kept) = self.read(portfolio, &found.erasure_id).await?
            {
                return Ok(kept);
            }
        }
        Err(unknown())
    }

    async fn read(
        &self,
        portfolio: &PortfolioId,
        erasure_id: &str,
    ) -> Result<Option<Kept>, Status> {
        let read = erasure::read(self.log(), portfolio, erasure_id).await;
        read.map_err(failed)
    }

    async fn awaited(
        &self,
        portfolio: &PortfolioId,
        mut kept: Kept,
        wait: Duration,
    ) -> Result<Kept, Status> {
        let until = Instant::now() + wait;
        while !is_done_but_raw(kept.erasure.state()) && Instant::now() < until {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let found = self.read(portfolio, &kept.erasure.erasure_id).await?;
            kept = found.unwrap_or(kept);
        }
        Ok(kept)
    }

    /// Returns an erasure; another brand's is as unknown as none.
    pub(crate) async fn get(
        &self,
        caller: &Caller,
        request: &proto::GetErasureRequest,
    ) -> Result<proto::Erasure, Status> {
        let own = brand_of(caller)?;
        let all = erasure::list(self.log()).await.map_err(failed)?;
        let found = all
            .into_iter()
            .map(|kept| kept.erasure)
            .find(|one| one.erasure_id == request.erasure_id)
            .filter(|one| may_see(own.as_deref(), one));
        let found = found.ok_or_else(|| {
            let text = "no such erasure is known";
            refuse(Code::NotFound, "ERASURE_NOT_FOUND", text)
        })?;
        Ok(shown(found))
    }

    /// Lists erasures, the newest first.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        request: &proto::ListErasuresRequest,
    ) -> Result<proto::ListErasuresResponse, Status> {
        let own = brand_of(caller)?;
        let size = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let states = format!("{:?}", request.states);
        let question = [own.as_deref().unwrap_or_default(), &states];
        let before = page::key::<(String, String)>(&question, &request.page_token);
        let before = before.map_err(bad_token)?;
        let all = erasure::list(self.log()).await.map_err(failed)?;
        let mut all: Vec<v1::Erasure> = all
            .into_iter()
            .map(|kept| kept.erasure)
            .filter(|one| may_see(own.as_deref(), one))
            .filter(|one| request.states.is_empty() || request.states.contains(&one.state))
            .collect();
        all.sort_by_cached_key(|one| std::cmp::Reverse(place(one)));
        if let Some(before) = before {
            all.retain(|one| place(one) < before);
        }
        let has_more = all.len() > size;
        all.truncate(size);
        let last = all.last().filter(|_| has_more).map(place);
        Ok(proto::ListErasuresResponse {
            next_page_token: last
                .map(|last| page::token(&question, last))
                .unwrap_or_default(),
            erasures: all.into_iter().map(shown).collect(),
        })
    }
}

impl Meant {
    /// Whether an erasure is of the one who is meant.
    fn is_of(&self, erasure: &v1::Erasure) -> bool {
        let is_named =
            |id: &String| erasure.tokens.contains(id) || erasure.customer_ids.contains(id);
        let customer = self.customer.as_ref();
        let is_known = customer.is_some_and(|id| is_named(&id.as_str().to_owned()));
        is_known || self.tokens.iter().any(is_named)
    }
}

/// Where an erasure stands in the order of lists.
fn place(erasure: &v1::Erasure) -> (String, String) {
    let at = instant("erase_time", erasure.erase_time.as_ref())
        .ok()
        .flatten();
    let at = at.map_or(0, jiff::Timestamp::as_millisecond);
    (format!("{at:020}"), erasure.erasure_id.clone())
}

/// A caller of one brand sees the erasures that are of that brand alone.
fn may_see(own: Option<&str>, erasure: &v1::Erasure) -> bool {
    own.is_none_or(|own| erasure.brand_ids.iter().all(|brand| brand == own))
}

/// A customer is erased at all numbers of a portfolio, so all of them have to be the caller's.
fn allowed(own: Option<&str>, erasure: &v1::Erasure) -> Result<(), Status> {
    if may_see(own, erasure) {
        return Ok(());
    }
    let text = "the customer has conversations with other brands of the portfolio, too: ask with a \
                token that acts for all of them";
    Err(refuse(Code::PermissionDenied, "ANOTHER_BRAND", text))
}

fn wait(asked: Option<&prost_types::Duration>) -> Result<Duration, Status> {
    let Some(asked) = asked else {
        return Ok(Duration::ZERO);
    };
    let wait = Duration::try_from(*asked).map_err(|_| bad_field("wait", "is negative"))?;
    Ok(wait.min(WAIT_MAX))
}

fn shown(erasure: v1::Erasure) -> proto::Erasure {
    proto::Erasure {
        erasure_id: erasure.erasure_id,
        portfolio_id: erasure.portfolio_id,
        state: erasure.state,
        erase_time: erasure.erase_time,
        update_time: erasure.update_time,
        destroy_time: erasure.destroy_time,
        last_copy_time: erasure.last_copy_time,
        customer_ids: erasure.customer_ids,
        numbers: erasure.numbers.iter().map(|digits| e164(digits)).collect(),
        conversation_count: erasure.conversation_count,
        message_count: erasure.message_count,
        media_count: erasure.media_count,
        identifier_count: erasure.tokens.len() as u64,
        open_message_count: erasure.open_message_ids.len() as u64,
        purged_count: erasure.purged_count,
        stranger_count: erasure.stranger_count,
        caller: erasure.caller,
        reason: erasure.reason,
    }
}

fn unknown() -> Status {
    let text = "nothing is held of such a customer";
    refuse(Code::NotFound, "CUSTOMER_NOT_FOUND", text)
}

fn away(error: &dyn std::error::Error) -> Status {
    tracing::warn!(%error, "log does not answer an erasure");
    let text = "log does not answer at present; the same request_id again is safe";
    refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
}

fn failed(error: EraseError) -> Status {
    match error {
        EraseError::Store(error) => super::unanswered(&error),
        error => {
            let error = anyhow::Error::new(error);
            tracing::warn!(
                error = format!("{error:#}"),
                "erasure is not begun or told of"
            );
            let text =
                "erasures cannot be read or written at present; the same request_id again is safe";
            refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
        }
    }
}
