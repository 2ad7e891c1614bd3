//! `MessageService`: thin. Checks who asks and what for, and leaves the rest to the engine.

use std::sync::Arc;

use casement_domain::id::{BusinessNumber, MessageId};
use casement_domain::message::CancelRefusal;
use casement_domain::routing::Route;
use casement_event::convert::window::Conversation;
use casement_event::convert::{self, timestamp};
use casement_event::{Uuid, id, subject, v1};
use casement_event_log::conversation::Key;
use casement_event_log::{AppendError, Expect, Position, customers, erasure};
use casement_proto::message::v1 as api;
use casement_proto::message::v1::message_service_server::MessageService;
use casement_shell::auth::{self, Caller, Scope};
use casement_shell::grpc::{bad_field, bad_fields, refuse};
use casement_shell::telemetry;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::aggregate::{self, Loaded};
use crate::answers::{internal, no_route, outcome_unknown, same_or_refused, unavailable};
use crate::engine::Engine;
use crate::lanes::Book;
use crate::request::{self, Checked, Named};
use crate::{bulk, consent, metrics, view, waiting};

/// Serves messages.
#[derive(Clone)]
pub struct Messages {
    pub(crate) engine: Arc<Engine>,
    pub(crate) book: Arc<Book>,
    pub(crate) tokens: customers::Tokens,
    pub(crate) default_ttl: SignedDuration,
    /// Files that may be uploaded at once.
    pub(crate) uploads: Arc<Semaphore>,
    /// Ends what has no end of its own.
    pub(crate) closing: CancellationToken,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Messages").finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl MessageService for Messages {
    async fn send_message(
        &self,
        request: Request<api::SendMessageRequest>,
    ) -> Result<Response<api::SendMessageResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let traceparent = telemetry::current_traceparent().or_else(|| traceparent(&request));
        let request = request.into_inner();
        let wait_for = request.wait_for();
        let changes = self.book.changes();
        let mut loaded = self.accept(&caller, &request, traceparent).await?;
        if !matches!(wait_for, api::WaitFor::Unspecified | api::WaitFor::Durable) {
            loaded = waiting::until(&self.engine.log, loaded, wait_for, changes).await;
        }
        let position = self.position(&loaded);
        let message = Some(view::message(&loaded, position.clone()));
        Ok(Response::new(api::SendMessageResponse {
            message,
            position,
        }))
    }

    async fn preview_route(
        &self,
        request: Request<api::PreviewRouteRequest>,
    ) -> Result<Response<api::PreviewRouteResponse>, Status> {
        let caller = auth::require(&request, Scope::Read)?;
        let decision = Some(Box::pin(self.preview(&caller, request.into_inner())).await?);
        Ok(Response::new(api::PreviewRouteResponse { decision }))
    }

    async fn get_message(
        &self,
        request: Request<api::GetMessageRequest>,
    ) -> Result<Response<api::GetMessageResponse>, Status> {
        let caller = auth::require(&request, Scope::Read)?;
        let request = request.into_inner();
        waiting::reach(&self.engine.log, &request.not_before).await?;
        let loaded = self.visible(&caller, &request.message_id).await?;
        let message = Some(view::message(&loaded, self.position(&loaded)));
        Ok(Response::new(api::GetMessageResponse { message }))
    }

    async fn cancel_message(
        &self,
        request: Request<api::CancelMessageRequest>,
    ) -> Result<Response<api::CancelMessageResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let loaded = self.visible(&caller, &request.get_ref().message_id).await?;
        let refused = |reason, text: &str| Err(refuse(Code::FailedPrecondition, reason, text));
        match Box::pin(self.withdraw(&caller, loaded)).await? {
            Ok(loaded) => {
                let position = self.position(&loaded);
                let message = Some(view::message(&loaded, position.clone()));
                Ok(Response::new(api::CancelMessageResponse {
                    message,
                    position,
                }))
            }
            Err(CancelRefusal::AlreadyAttempted) => refused(
                "MESSAGE_ALREADY_ATTEMPTED",
                "a provider has been called for this message already",
            ),
            Err(CancelRefusal::AlreadyEnded) => {
                refused("MESSAGE_ALREADY_ENDED", "this message is over already")
            }
        }
    }

    type SendMessagesStream = bulk::Answers;

    async fn send_messages(
        &self,
        request: Request<Streaming<api::SendMessagesRequest>>,
    ) -> Result<Response<bulk::Answers>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let answers = self.accept_stream(caller, request.into_inner());
        Ok(Response::new(answers))
    }

    async fn batch_send_messages(
        &self,
        request: Request<api::BatchSendMessagesRequest>,
    ) -> Result<Response<api::BatchSendMessagesResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let requests = request.into_inner().requests;
        let results = self.accept_all(&caller, requests).await?;
        Ok(Response::new(api::BatchSendMessagesResponse { results }))
    }

    async fn cancel_messages(
        &self,
        request: Request<api::CancelMessagesRequest>,
    ) -> Result<Response<api::CancelMessagesResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let counts = self.withdraw_all(&caller, request.get_ref()).await?;
        Ok(Response::new(counts))
    }

    async fn retry_messages(
        &self,
        request: Request<api::RetryMessagesRequest>,
    ) -> Result<Response<api::RetryMessagesResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let results = self.again_all(&caller, request.into_inner()).await?;
        Ok(Response::new(api::RetryMessagesResponse { results }))
    }

    async fn pause_sends(
        &self,
        request: Request<api::PauseSendsRequest>,
    ) -> Result<Response<api::PauseSendsResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let paused = self.pause(&caller, request.into_inner()).await?;
        Ok(Response::new(paused))
    }

    async fn resume_sends(
        &self,
        request: Request<api::ResumeSendsRequest>,
    ) -> Result<Response<api::ResumeSendsResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let resumed = self.resume(&caller, request.into_inner()).await?;
        Ok(Response::new(resumed))
    }

    async fn list_halts(
        &self,
        request: Request<api::ListHaltsRequest>,
    ) -> Result<Response<api::ListHaltsResponse>, Status> {
        let caller = auth::require(&request, Scope::Read)?;
        Ok(Response::new(self.list(&caller).await?))
    }

    async fn mark_as_read(
        &self,
        request: Request<api::MarkAsReadRequest>,
    ) -> Result<Response<api::MarkAsReadResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        self.mark(&caller, request.get_ref()).await?;
        Ok(Response::new(api::MarkAsReadResponse {}))
    }

    async fn upload_media(
        &self,
        request: Request<Streaming<api::UploadMediaRequest>>,
    ) -> Result<Response<api::UploadMediaResponse>, Status> {
        let caller = auth::require(&request, Scope::Send)?;
        let uploaded = self.upload(&caller, request.into_inner()).await?;
        Ok(Response::new(uploaded))
    }
}

/// Refuses what is new for a number that is being drained.
fn is_taken(account: &v1::Number) -> Result<(), Status> {
    match &account.drain_time {
        None => Ok(()),
        Some(_) => Err(refuse(
            Code::FailedPrecondition,
            "NUMBER_DRAINS",
            "no new messages are taken for the number: send from another one, or reopen it",
        )),
    }
}

/// What makes a message one of its own.
struct Unique {
    id: Uuid,
    now: Timestamp,
}

impl Messages {
    /// Makes a message durable, or finds the one that an earlier call of the same request made.
    pub(crate) async fn accept(
        &self,
        caller: &Caller,
        asked: &api::SendMessageRequest,
        traceparent: Option<String>,
    ) -> Result<Loaded, Status> {
        let now = self.engine.clock.now();
        let policies = &self.engine.rules.routing;
        let checked = request::check(asked, policies, self.default_ttl, now);
        let checked = checked.map_err(bad_fields)?;
        let account = self.account(caller, &checked.number).await?;
        self.can_seal(asked)?;
        let priority = convert::message::read_priority(asked.priority(), asked.purpose());
        let _let_in = self.engine.admission.enter(priority).await;
        let unique = match asked.request_id.as_str() {
            "" => Uuid::now_v7(),
            request_id => id::requested_message(&caller.brand, &checked.number, request_id),
        };
        let message_id = MessageId::new(&checked.number, unique.as_u128());
        let new = Unique { id: unique, now };
        let accepting = self.accept_new(caller, asked, checked, &account, new, traceparent);
        let refusal = match Box::pin(accepting).await {
            Ok(fresh) => return Ok(fresh),
            Err(refusal) => refusal,
        };
        // Most requests come once. One that came before has its message, whatever a new one met.
        if !asked.request_id.is_empty()
            && let Some(known) = self.load(&message_id).await?
        {
            return same_or_refused(&self.engine.vault, known, asked);
        }
        Err(refusal)
    }

    /// Makes a message durable that no earlier call has made.
    async fn accept_new(
        &self,
        caller: &Caller,
        asked: &api::SendMessageRequest,
        mut checked: Checked,
        account: &v1::Number,
        Unique { id: unique, now }: Unique,
        traceparent: Option<String>,
    ) -> Result<Loaded, Status> {
        let message_id = MessageId::new(&checked.number, unique.as_u128());
        is_taken(account)?;
        self.refer(caller, &mut checked, account).await?;
        self.may_use(account, &checked.content)?;
        self.complete(asked, &mut checked, account)?;
        waiting::reach(&self.engine.log, &asked.not_before).await?;
        let known = self.find(account, &checked).await?;
        let key = match &known {
            Some(key) => key.clone(),
            None => stranger(&checked)?,
        };
        let mut fresh = self.requested(caller, asked, &checked, account, &key, unique, now)?;
        let chosen = Box::pin(self.refuse_dead_end(&fresh, account, now)).await?;
        // Only who will be written to is minted.
        if known.is_none() {
            let key = self.resolve(account, &checked, now).await?;
            fresh = self.requested(caller, asked, &checked, account, &key, unique, now)?;
        }
        let counted = self.count(&mut fresh, now).await?;
        let place = Box::pin(self.place(&fresh, account, chosen, now)).await?;
        consent::keep(&self.engine, &fresh, &caller.name, now)
            .await
            .map_err(|error| unavailable(&error))?;
        let content_key = self.seal(&mut fresh, asked, now).await?;

        let record =
            convert::message::requested(fresh.request.clone(), &fresh.message, &fresh.context, now)
                .caused_by(traceparent.clone());
        let expect = Expect::empty(subject::message(&message_id));
        match self.engine.log.append(record, expect).await {
            Ok(position) => {
                metrics::requested();
                if let Some(counted) = counted {
                    counted.keep();
                }
                if let Some(place) = place {
                    place.keep();
                }
                fresh.sequence = position.sequence;
                fresh.traceparent = traceparent;
                self.engine.recent.keep(&fresh);
                self.book.admit(&fresh, now);
                Ok(fresh)
            }
            // The same request came before, or is answered by two of us at once: it is read.
            Err(AppendError::Conflict { .. }) => {
                self.discard(content_key).await;
                Err(refuse(
                    Code::Unavailable,
                    "LOG_UNAVAILABLE",
                    "message could not be read back",
                ))
            }
            Err(AppendError::Unknown { .. }) => {
                // It may be there.
                if let Some(counted) = counted {
                    counted.keep();
                }
                Err(outcome_unknown(&message_id))
            }
            Err(error) => {
                self.discard(content_key).await;
                Err(unavailable(&error))
            }
        }
    }

    /// Refuses a message that no route could take, now or held: nothing is queued. Returns the
    /// route that it would take now.
    pub(crate) async fn refuse_dead_end(
        &self,
        fresh: &Loaded,
        account: &v1::Number,
        now: Timestamp,
    ) -> Result<Option<Route>, Status> {
        let is_scheduled = fresh.message.deadline().is_some_and(|due| due > now);
        if is_scheduled && account.migrate_away_time.is_none() {
            return Ok(None);
        }
        let routed = Box::pin(self.engine.route(fresh, account, None, now))
            .await
            .map_err(|error| unavailable(&error))?;
        match routed.decision.chosen {
            Some(route) => Ok(Some(route)),
            // It goes once the halt is lifted, or quiet hours are over.
            None if routed.decision.can_wait() => Ok(None),
            None => Err(no_route(&routed.decision)),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is another part of one message"
    )]
    pub(crate) fn requested(
        &self,
        caller: &Caller,
        asked: &api::SendMessageRequest,
        checked: &Checked,
        account: &v1::Number,
        key: &Key,
        unique: Uuid,
        now: Timestamp,
    ) -> Result<Loaded, Status> {
        let conversation = Conversation {
            number: key.number.clone(),
            customer: key.customer.clone(),
            brand: account.brand_id.clone(),
            portfolio: account.portfolio_id.clone(),
        };
        let addresses = match &checked.customer {
            Named::Addresses(addresses) => Some(convert::inbound::addresses(addresses)),
            Named::Id(_) => None,
        };
        let policy = self.policy_of(&asked.policy, &checked.number, &account.brand_id)?;
        let message_id = MessageId::new(&checked.number, unique.as_u128());
        let request = v1::MessageRequested {
            message_id: message_id.to_string(),
            conversation: Some(conversation.stored()),
            addresses,
            content: Some(checked.content.clone()),
            purpose: asked.purpose,
            priority: asked.priority,
            policy: policy.name.clone(),
            request_time: Some(timestamp(now)),
            send_time: checked.send_at.map(timestamp),
            expire_time: Some(timestamp(checked.expires_at)),
            reply_to_message_id: checked.reply_to.clone(),
            client_reference: asked.client_reference.clone(),
            labels: asked.labels.clone(),
            request_id: asked.request_id.clone(),
            request_digest: request::digest(asked),
            sensitive: asked.sensitive,
            caller: caller.name.clone(),
            messaging_account_id: asked.messaging_account_id.clone(),
            time_zone: asked.time_zone.clone(),
            held_message_id: String::new(),
            sealed_content: None,
            failover: convert::message::failover(&checked.failover),
            sms_from_template: checked.sms_from_template,
            consent: asked.consent.clone(),
            quota_time: None,
        };
        Loaded::fresh(request, message_id).map_err(|error| internal(&error))
    }

    /// Returns the account of a number. What was just recorded may not be heard of here yet, and its
    /// refusal would be for good: a number that nobody knows is asked for once more.
    pub(crate) async fn account(
        &self,
        caller: &Caller,
        number: &BusinessNumber,
    ) -> Result<v1::Number, Status> {
        let directory = &self.engine.directory;
        if directory.number(number).is_none() {
            let heard = self.engine.halts.prove_now().await;
            heard.map_err(|error| unavailable(&error))?;
        }
        let account = directory.number(number);
        // A number of another brand is as unknown as one that does not exist.
        account
            .filter(|account| caller.acts_for(&account.brand_id))
            .ok_or_else(|| {
                let text = "no account has this number: record it with AccountService.PutNumber";
                refuse(Code::NotFound, "NUMBER_UNKNOWN", text)
            })
    }

    async fn resolve(
        &self,
        account: &v1::Number,
        checked: &Checked,
        now: Timestamp,
    ) -> Result<Key, Status> {
        let number = checked.number.clone();
        let customer = match &checked.customer {
            Named::Id(customer) => {
                let portfolio = portfolio(account)?;
                let erased = erasure::heard(&self.engine.log, &portfolio, customer.as_str()).await;
                if erased.map_err(|error| unavailable(&error))?.is_some() {
                    let text = "the customer was erased: who writes again has another id";
                    return Err(refuse(Code::NotFound, "CUSTOMER_ERASED", text));
                }
                customer.clone()
            }
            Named::Addresses(addresses) => {
                let portfolio = portfolio(account)?;
                let source = "casement/dispatcher";
                let resolved = customers::resolve(
                    &self.engine.log,
                    &self.tokens,
                    source,
                    &portfolio,
                    addresses,
                    now,
                );
                resolved
                    .await
                    .map_err(|error| unavailable(&error))?
                    .customer
            }
        };
        Ok(Key { number, customer })
    }

    pub(crate) async fn find(
        &self,
        account: &v1::Number,
        checked: &Checked,
    ) -> Result<Option<Key>, Status> {
        let number = checked.number.clone();
        let customer = match &checked.customer {
            // It may have ended so long ago that only its link says so.
            Named::Id(customer) => {
                let portfolio = portfolio(account)?;
                let survivor = customers::survivor(&self.engine.log, &portfolio, customer)
                    .await
                    .map_err(|error| unavailable(&error))?;
                Some(survivor.unwrap_or_else(|| customer.clone()))
            }
            Named::Addresses(addresses) => {
                let portfolio = portfolio(account)?;
                customers::find(&self.engine.log, &self.tokens, &portfolio, addresses)
                    .await
                    .map_err(|error| unavailable(&error))?
            }
        };
        Ok(customer.map(|customer| Key { number, customer }))
    }

    pub(crate) async fn load(&self, id: &MessageId) -> Result<Option<Loaded>, Status> {
        aggregate::load(&self.engine.log, id)
            .await
            .map_err(|error| unavailable(&error))
    }

    pub(crate) async fn visible(&self, caller: &Caller, id: &str) -> Result<Loaded, Status> {
        let parsed =
            MessageId::parse(id).map_err(|error| bad_field("message_id", error.to_string()))?;
        let loaded = self.load(&parsed).await?;
        loaded
            .filter(|loaded| caller.acts_for(&loaded.context.conversation.brand))
            .ok_or_else(|| refuse(Code::NotFound, "MESSAGE_UNKNOWN", "no message has this id"))
    }

    pub(crate) fn position(&self, loaded: &Loaded) -> String {
        let stream = subject::stream::MESSAGES;
        Position {
            stream: stream.to_owned(),
            incarnation: self.engine.log.incarnation(stream),
            sequence: loaded.sequence,
        }
        .to_string()
    }
}

/// A customer whom nobody knows yet.
pub(crate) fn stranger(checked: &Checked) -> Result<Key, Status> {
    let customer = casement_domain::customer::mint(0).map_err(|error| internal(&error))?;
    Ok(Key {
        number: checked.number.clone(),
        customer,
    })
}

fn portfolio(account: &v1::Number) -> Result<casement_domain::id::PortfolioId, Status> {
    casement_domain::id::PortfolioId::parse(&account.portfolio_id).map_err(|error| internal(&error))
}

/// Returns the W3C trace context that a caller sent along, if it is one.
fn traceparent<T>(request: &Request<T>) -> Option<String> {
    let text = request.metadata().get("traceparent")?.to_str().ok()?;
    let is_one = text.len() == 55
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_one.then(|| text.to_owned())
}
