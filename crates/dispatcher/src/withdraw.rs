//! Messages taken back: one by one, each if nobody has been called for it.
//!
//! A cancellation is an event of its message, as every other; many are that many events. What is
//! meant by a whole number, brand, template or label is found among the messages under way, which
//! every replica knows.

use casement_domain::halt::Target;
use casement_domain::id::MessageId;
use casement_domain::message::{self, CancelRefusal, Phase};
use casement_event::convert::message::Details;
use casement_event::subject::{Family, stream};
use casement_event_log::AppendError;
use casement_proto::message::v1 as api;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refuse};
use futures::StreamExt as _;
use tonic::{Code, Status};

use crate::aggregate::{self, Loaded};
use crate::answers::unavailable;
use crate::grpc::Messages;
use crate::halts::orders;

/// How many messages are taken back at once.
const IN_HAND_MAX: usize = 128;

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It was not meant.
    Other,
    Back,
    TooLate,
}

impl Messages {
    /// Takes a message back.
    pub(crate) async fn withdraw(
        &self,
        caller: &Caller,
        mut loaded: Loaded,
    ) -> Result<Result<Loaded, CancelRefusal>, Status> {
        let log = &self.engine.log;
        loop {
            let now = self.engine.clock.now();
            let event = match message::cancel(&loaded.message, now) {
                Ok(event) => event,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let details = Details {
                caller: caller.name.clone(),
                ..Details::default()
            };
            match loaded.append(log, &event, details, now).await {
                Ok(_) => {
                    self.engine.recent.keep(&loaded);
                    return Ok(Ok(loaded));
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(unavailable(&error)),
            }
            let id = loaded.context.id.clone();
            loaded = match aggregate::load(log, &id).await {
                Ok(Some(newer)) => newer,
                Ok(None) => return Ok(Err(CancelRefusal::AlreadyEnded)),
                Err(error) => return Err(unavailable(&error)),
            };
        }
    }

    /// Takes back all messages that are meant.
    pub(crate) async fn withdraw_all(
        &self,
        caller: &Caller,
        asked: &api::CancelMessagesRequest,
    ) -> Result<api::CancelMessagesResponse, Status> {
        let named = asked.target.clone().unwrap_or_default().target;
        if named.is_none() {
            let text = "say whose: a brand, a number, a template or a label";
            return Err(bad_field("target", text));
        }
        let (target, _) = self.target(caller, named).await?;
        self.all_seen().await?;
        let meant = self
            .book
            .under_way()
            .into_iter()
            .filter(|id| self.may_mean(caller, &target, id));
        let taken = futures::stream::iter(meant)
            .map(|id| self.withdraw_if_meant(caller, asked, &target, id))
            .buffer_unordered(IN_HAND_MAX);
        let mut counts = api::CancelMessagesResponse::default();
        let mut taken = std::pin::pin!(taken);
        while let Some(taken) = taken.next().await {
            let taken = taken?;
            counts.matched_count += u64::from(taken != Taken::Other);
            counts.cancelled_count += u64::from(taken == Taken::Back);
            counts.too_late_count += u64::from(taken == Taken::TooLate);
        }
        Ok(counts)
    }

    /// Waits until every message that was accepted before now is known here.
    async fn all_seen(&self) -> Result<(), Status> {
        let all = Family::Message.filter();
        let newest = self.engine.log.last(stream::MESSAGES, &all).await;
        let newest = newest.map_err(|error| unavailable(&error))?;
        let Some(newest) = newest else {
            return Ok(());
        };
        if self.book.has_seen(newest.sequence).await {
            return Ok(());
        }
        let text = "not all messages are known to this process yet: try again";
        Err(refuse(Code::Unavailable, "NOT_CAUGHT_UP", text))
    }

    /// Whether a message may be meant, by its number alone.
    fn may_mean(&self, caller: &Caller, target: &Target, id: &MessageId) -> bool {
        let account = self.engine.directory.number(id.number());
        account.is_some_and(|account| {
            caller.acts_for(&account.brand_id)
                && orders::reaches(target, &account, self.engine.caller.sms.senders())
        })
    }

    async fn withdraw_if_meant(
        &self,
        caller: &Caller,
        asked: &api::CancelMessagesRequest,
        target: &Target,
        id: MessageId,
    ) -> Result<Taken, Status> {
        let Some(loaded) = self.load(&id).await? else {
            return Ok(Taken::Other);
        };
        let Some(account) = self.engine.directory.number(id.number()) else {
            return Ok(Taken::Other);
        };
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let senders = self.engine.caller.sms.senders();
        let sending = orders::sending(&loaded, &account, senders);
        let is_meant = sending.targets.contains(target)
            && is(&asked.customer_id, loaded.key().customer.as_str())
            && is(&asked.client_reference, &loaded.request.client_reference)
            && (!asked.held_only || matches!(loaded.message.phase, Phase::Held { .. }));
        if !is_meant {
            return Ok(Taken::Other);
        }
        let taken = match Box::pin(self.withdraw(caller, loaded)).await? {
            Ok(_) => Taken::Back,
            Err(CancelRefusal::AlreadyAttempted | CancelRefusal::AlreadyEnded) => Taken::TooLate,
        };
        Ok(taken)
    }
}
