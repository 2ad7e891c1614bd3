//! `WindowService`: who may ask, what is asked, what is answered.
//!
//! Every answer is computed from what stands on the log at that moment, through the stream's
//! leader; there is no cache that could be behind.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::customers::{self, ResolveError, Tokens};
use casement_event_log::{Position, ReadError};
use casement_proto::window::v1 as api;
use casement_proto::window::v1::customer_ref::Customer;
use casement_proto::window::v1::window_result::Result as ApiResult;
use casement_proto::window::v1::window_service_server::WindowService;
use casement_shell::auth::{Caller, Scope, require};
use casement_shell::grpc::watch::Limits;
use casement_shell::grpc::{bad_field, reason, refuse};
use futures::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use crate::present::{self, Key, Present, PresentError};
use crate::tracker::Tracker;
use crate::{answer, explain, watch};

/// Most windows that may be asked for at once.
pub const BATCH_LEN_MAX: usize = 1_000;

/// How many windows of a batch are read at once.
const BATCH_IN_HAND_MAX: usize = 64;

/// How long a call waits for the position it asks for.
const POSITION_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often a call that waits for a position looks again: from the first pause to the longest.
const POSITION_PAUSES: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(250));

/// Longest BSUID that is looked up, in bytes; Meta's are far shorter.
const RECIPIENT_LEN_MAX: usize = 256;

/// The service.
#[derive(Debug, Clone)]
pub struct Windows {
    tracker: Tracker,
    tokens: Tokens,
    /// Ends the streams.
    closing: CancellationToken,
    /// One permit for each stream.
    watches: Arc<Semaphore>,
}

#[tonic::async_trait]
impl WindowService for Windows {
    async fn get_window(
        &self,
        request: Request<api::GetWindowRequest>,
    ) -> Result<Response<api::GetWindowResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let window = self.window(&caller, request.get_ref()).await?;
        Ok(Response::new(api::GetWindowResponse {
            window: Some(window),
        }))
    }

    async fn batch_get_windows(
        &self,
        request: Request<api::BatchGetWindowsRequest>,
    ) -> Result<Response<api::BatchGetWindowsResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let requests = &request.get_ref().requests;
        if requests.len() > BATCH_LEN_MAX {
            return Err(bad_field(
                "requests",
                format!("has {} windows: at most {BATCH_LEN_MAX}", requests.len()),
            ));
        }
        // Collected first: a stream over borrowed requests would not be known to be `Send`.
        let reads: Vec<_> = requests
            .iter()
            .map(|one| self.result(&caller, one))
            .collect();
        let results = futures::stream::iter(reads)
            .buffered(BATCH_IN_HAND_MAX)
            .collect()
            .await;
        Ok(Response::new(api::BatchGetWindowsResponse { results }))
    }

    type WatchWindowsStream = watch::Answers;

    async fn watch_windows(
        &self,
        request: Request<api::WatchWindowsRequest>,
    ) -> Result<Response<Self::WatchWindowsStream>, Status> {
        let caller = require(&request, Scope::Read)?;
        let answers = self.watch(caller, request.get_ref()).await?;
        Ok(Response::new(answers))
    }

    async fn explain_window(
        &self,
        request: Request<api::ExplainWindowRequest>,
    ) -> Result<Response<api::ExplainWindowResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let request = request.into_inner();
        let request = api::GetWindowRequest {
            number: request.number,
            customer: request.customer,
            not_before: request.not_before,
        };
        let read = self.reading(&caller, &request).await?;
        let explained = explain::explain(&self.tracker, &read.conversations, &read.present);
        let explained = explained.await.map_err(|error| present_failed(&error))?;
        Ok(Response::new(api::ExplainWindowResponse {
            window: Some(read.window),
            ..explained
        }))
    }
}

impl Windows {
    pub(crate) fn new(tracker: Tracker, tokens: Tokens, closing: CancellationToken) -> Self {
        Self {
            tracker,
            tokens,
            closing,
            watches: Arc::new(Semaphore::new(watch::WATCHES_MAX)),
        }
    }

    async fn watch(
        &self,
        caller: Caller,
        request: &api::WatchWindowsRequest,
    ) -> Result<watch::Answers, Status> {
        if request.numbers.len() > watch::NUMBERS_MAX {
            let problem = format!(
                "has {} numbers: at most {}",
                request.numbers.len(),
                watch::NUMBERS_MAX
            );
            return Err(bad_field("numbers", problem));
        }
        let numbers = request.numbers.iter();
        let numbers = numbers
            .map(|number| Ok(self.account(&caller, number)?.number))
            .collect::<Result<Vec<_>, Status>>()?;
        let kinds = watch::kinds(&request.kinds)?;
        let from = watch::from(&self.tracker.log, &request.after_position).await?;
        self.wait_for(&request.after_position).await?;
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| {
            refuse(
                Code::ResourceExhausted,
                "TOO_MANY_WATCHES",
                format!(
                    "{} callers watch already, the most there may be",
                    watch::WATCHES_MAX
                ),
            )
        })?;
        let watched = watch::Watched {
            caller,
            numbers,
            kinds,
        };
        Ok(watch::start(
            &self.tracker,
            watched,
            from,
            Limits::default(),
            self.closing.clone(),
            permit,
        ))
    }

    async fn result(&self, caller: &Caller, request: &api::GetWindowRequest) -> api::WindowResult {
        let result = match self.window(caller, request).await {
            Ok(window) => ApiResult::Window(window),
            Err(status) => ApiResult::Error(match reason(&status) {
                Some(reason) => format!("{reason}: {}", status.message()),
                None => status.message().to_owned(),
            }),
        };
        api::WindowResult {
            result: Some(result),
        }
    }

    async fn window(
        &self,
        caller: &Caller,
        request: &api::GetWindowRequest,
    ) -> Result<api::Window, Status> {
        Ok(self.reading(caller, request).await?.window)
    }

    async fn reading(
        &self,
        caller: &Caller,
        request: &api::GetWindowRequest,
    ) -> Result<Reading, Status> {
        let account = self.account(caller, &request.number)?;
        let wanted = request
            .customer
            .as_ref()
            .and_then(|customer| customer.customer.as_ref())
            .ok_or_else(|| bad_field("customer", "is required: to, recipient or customer_id"))?;
        let wanted = wanted_customer(wanted)?;
        self.wait_for(&request.not_before).await?;

        let number = account.number;
        let (customer, is_linked) = match wanted {
            Wanted::Id(customer) => (Some(customer), false),
            Wanted::Addresses(addresses) => {
                (self.find(&account.portfolio, &addresses).await?, true)
            }
        };
        let Some(customer) = customer else {
            let window = answer::never_wrote(number.e164(), String::new());
            return Ok(Reading {
                window: self.at(window, 0),
                conversations: Vec::new(),
                present: Present::default(),
            });
        };
        let key = Key { number, customer };
        let (conversations, present) = self.follow(&account.portfolio, key).await?;
        let key = conversations.last().ok_or_else(unreadable)?.clone();
        if present.is_empty() {
            // An id that somebody made up was never seen; one that a link names was, elsewhere.
            let customer_id = if is_linked { key.customer.as_str() } else { "" };
            let window = answer::never_wrote(key.number.e164(), customer_id.to_owned());
            return Ok(Reading {
                window: self.at(window, 0),
                conversations,
                present,
            });
        }
        let now = self.tracker.clock.now();
        let window = answer::window(&key, &present, self.tracker.policies.of(&key.number), now);
        let window = if account.is_away {
            answer::elsewhere(window)
        } else {
            window
        };
        Ok(Reading {
            window: self.at(window, present.newest),
            conversations,
            present,
        })
    }

    /// A number of another brand is as unknown as one that nobody has.
    fn account(&self, caller: &Caller, number: &str) -> Result<Account, Status> {
        let number = BusinessNumber::parse(number)
            .map_err(|error| bad_field("number", error.to_string()))?;
        let covers = |account: &v1::Number| caller.acts_for(&account.brand_id);
        let account = self.tracker.directory.number(&number).filter(covers);
        let account = account
            .ok_or_else(|| refuse(Code::NotFound, "NUMBER_UNKNOWN", "number is not known"))?;
        let portfolio = PortfolioId::parse(&account.portfolio_id).map_err(|error| {
            tracing::error!(error = %error, "account of a number is not usable");
            refuse(
                Code::Internal,
                "RECORD_UNREADABLE",
                "account of the number is not usable",
            )
        })?;
        Ok(Account {
            number,
            portfolio,
            is_away: account.migrate_away_time.is_some(),
        })
    }

    async fn find(
        &self,
        portfolio: &PortfolioId,
        addresses: &Addresses,
    ) -> Result<Option<CustomerId>, Status> {
        customers::find(&self.tracker.log, &self.tokens, portfolio, addresses)
            .await
            .map_err(|error| lookup_failed(&error))
    }

    /// Reads the conversation, or that of the customer who carries it on: the last of those that
    /// come with it, the first being the one that was asked for.
    async fn follow(
        &self,
        portfolio: &PortfolioId,
        key: Key,
    ) -> Result<(Vec<Key>, Present), Status> {
        let (present, ids) =
            present::follow(&self.tracker.log, &self.tracker.directory, portfolio, &key)
                .await
                .map_err(|error| present_failed(&error))?;
        let number = key.number.clone();
        let others = ids.into_iter().map(|customer| Key {
            number: number.clone(),
            customer,
        });
        let mut keys: Vec<Key> = std::iter::once(key.clone()).chain(others).collect();
        keys.dedup();
        Ok((keys, present))
    }

    /// Waits until the log holds what the caller has seen.
    async fn wait_for(&self, not_before: &str) -> Result<(), Status> {
        if not_before.is_empty() {
            return Ok(());
        }
        let position: Position = not_before
            .parse()
            .map_err(|error| bad_field("not_before", format!("{error}")))?;
        let deadline = Instant::now() + POSITION_WAIT_MAX;
        let (mut pause, pause_max) = POSITION_PAUSES;
        loop {
            match self.tracker.log.has_reached(&position).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(ReadError::Unreadable { .. }) => {
                    return Err(bad_field("not_before", "names no stream of the log"));
                }
                Err(error) => tracing::debug!(error = %error, "position cannot be checked yet"),
            }
            if Instant::now() + pause > deadline {
                return Err(refuse(
                    Code::Unavailable,
                    "POSITION_NOT_REACHED",
                    "log does not hold what `not_before` names",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(pause_max);
        }
    }

    fn at(&self, window: api::Window, sequence: u64) -> api::Window {
        let position = Position {
            stream: stream::EVENTS.to_owned(),
            incarnation: self.tracker.log.incarnation(stream::EVENTS),
            sequence,
        };
        api::Window {
            position: position.to_string(),
            ..window
        }
    }
}

/// What an answer rests on.
struct Reading {
    window: api::Window,
    /// From the customer who was asked for to the one who carries on; empty if nobody is known.
    conversations: Vec<Key>,
    present: Present,
}

struct Account {
    number: BusinessNumber,
    portfolio: PortfolioId,
    /// It is somebody else's number by now.
    is_away: bool,
}

enum Wanted {
    Id(CustomerId),
    Addresses(Addresses),
}

fn wanted_customer(customer: &Customer) -> Result<Wanted, Status> {
    Ok(match customer {
        Customer::CustomerId(text) => {
            let id = CustomerId::parse(text)
                .map_err(|error| bad_field("customer.customer_id", error.to_string()))?;
            Wanted::Id(id)
        }
        Customer::To(text) => {
            let phone =
                Phone::parse(text).map_err(|error| bad_field("customer.to", error.to_string()))?;
            Wanted::Addresses(Addresses {
                phone: Some(phone),
                ..Addresses::default()
            })
        }
        Customer::Recipient(text) => {
            if text.is_empty() || text.len() > RECIPIENT_LEN_MAX {
                let problem = format!("must have 1 to {RECIPIENT_LEN_MAX} bytes");
                return Err(bad_field("customer.recipient", problem));
            }
            Wanted::Addresses(Addresses {
                user_id: Some(text.clone()),
                ..Addresses::default()
            })
        }
    })
}

pub(crate) fn present_failed(error: &PresentError) -> Status {
    match error {
        PresentError::Read(error) => read_failed(error),
        PresentError::Survivor(error) => lookup_failed(error),
        PresentError::Circle => {
            tracing::error!(error = %error, "window cannot be read");
            unreadable()
        }
        PresentError::Decode { sequence, .. }
        | PresentError::Convert { sequence, .. }
        | PresentError::Foreign { sequence, .. } => {
            tracing::error!(sequence, error = %error, "window cannot be read");
            unreadable()
        }
    }
}

fn lookup_failed(error: &ResolveError) -> Status {
    match error {
        ResolveError::Read(error) => read_failed(error),
        error => {
            tracing::error!(error = %error, "customer could not be looked up");
            unreadable()
        }
    }
}

pub(crate) fn read_failed(error: &ReadError) -> Status {
    match error {
        ReadError::Unavailable { .. } => {
            tracing::warn!(error = %error, "log cannot be read");
            refuse(Code::Unavailable, "LOG_AWAY", "log cannot be read now")
        }
        ReadError::Unreadable { .. } => {
            tracing::error!(error = %error, "log holds what this version cannot read");
            unreadable()
        }
    }
}

pub(crate) fn unreadable() -> Status {
    refuse(
        Code::Internal,
        "RECORD_UNREADABLE",
        "a record on the log is not readable by this version",
    )
}
