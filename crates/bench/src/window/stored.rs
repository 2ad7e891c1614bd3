//! Open windows as they stand on the log, made without a webhook: the message that opened each,
//! what was told last, and that the tracker has seen to all of it.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, AckKind};

use casement_domain::id::{BusinessNumber, CustomerId, Phone};
use casement_domain::inbound::{Addresses, Fact, Kind, Marks, QualifyingPolicy, ThreadOwner};
use casement_domain::window::{Facts, Policy, decide};
use casement_event::convert::{inbound, timestamp, window};
use casement_event::subject::{self, Family, stream};
use casement_event::{Extension, Record, id, v1};
use casement_event_log::{Expect, Log};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use crate::posts::NUMBER;

/// How many events are handed over at once while loading.
const CHUNK_LEN: usize = 4_000;

/// The tracker's name at the broker.
const TRACKER: &str = "window-tracker";

/// How many facts are in hand at once while they are acknowledged.
const IN_HAND_MAX: usize = 4_000;

/// How often the broker is asked whether it has noted all acknowledgements.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Makes the events of windows.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    number: BusinessNumber,
    /// How windows are counted; the default, as the roles have it.
    pub(crate) policy: Policy,
    qualifying: QualifyingPolicy,
}

impl Windows {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            number: BusinessNumber::parse(NUMBER.0)?,
            policy: Policy::default(),
            qualifying: QualifyingPolicy::default(),
        })
    }

    /// Returns the customer's message at `at`.
    pub(crate) fn inbound(&self, index: usize, at: Timestamp) -> anyhow::Result<Record> {
        let customer = customer(index)?;
        let fact = Self::fact(&self.number, index, at)?;
        let event = v1::InboundMessageReceived {
            conversation: Some(self.conversation(&customer).stored()),
            times: Some(v1::Times {
                event_time: Some(timestamp(at)),
                received_time: Some(timestamp(fact.received_at)),
                ..v1::Times::default()
            }),
            summary: Some(inbound::summary(&fact.summary(&self.qualifying))),
            provider_message_id: fact.provider_id.clone(),
            field: v1::InboundField::Messages.into(),
            kind: "text".to_owned(),
            text: TEXT.to_owned(),
            content_json: format!("{{\"body\":\"{TEXT}\"}}"),
            profile_name: "Kerry Fisher".to_owned(),
            qualifies: true,
            policy_rule: "text".to_owned(),
            ..v1::InboundMessageReceived::default()
        };
        let subject = subject::conversation(Family::Inbound, &self.number, &customer);
        let event_id = id::inbound(&self.number, &fact.provider_id);
        let record = Record::new(subject, event_id, "casement/ingress", at, event)
            .about(customer.as_str())
            .with(Extension::Number, self.number.digits())
            .with(Extension::Brand, BRAND)
            .with(Extension::Customer, customer.as_str());
        Ok(record)
    }

    /// Returns what is told at `now` about a window whose customer wrote at `at`: that it opened,
    /// or later that it is about to end.
    pub(crate) fn told(&self, index: usize, at: Timestamp, now: Told) -> anyhow::Result<Record> {
        let customer = customer(index)?;
        let fact = Self::fact(&self.number, index, at)?;
        let facts = Facts::of(&fact.summary(&self.qualifying));
        let nothing = || anyhow::anyhow!("nothing is to be told");
        let opened_at = fact.received_at;
        let opened = decide(None, &facts, &self.policy, opened_at).ok_or_else(nothing)?;
        let (event, at) = match now {
            Told::Opened => (opened, opened_at),
            Told::Expiring => {
                let lead = self.policy.leads.first().copied().unwrap_or_default();
                let at = opened.window().expires_at.checked_sub(lead)?;
                let known = Some(opened.window());
                (
                    decide(known, &facts, &self.policy, at).ok_or_else(nothing)?,
                    at,
                )
            }
        };
        let conversation = self.conversation(&customer);
        Ok(window::record(&event, &conversation, &self.policy, at))
    }

    fn fact(number: &BusinessNumber, index: usize, at: Timestamp) -> anyhow::Result<Fact> {
        let wamid = format!("wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAz{index:09}");
        Ok(Fact {
            id: id::fact(id::inbound(number, &wamid)),
            at,
            received_at: at.checked_add(SignedDuration::from_secs(1))?,
            kind: Kind::Content,
            provider_id: wamid,
            addresses: Addresses {
                phone: Some(Phone::parse(&format!("1650{index:07}"))?),
                ..Addresses::default()
            },
            thread_owner: Some(ThreadOwner::Us),
            marks: Marks::default(),
        })
    }

    fn conversation(&self, customer: &CustomerId) -> window::Conversation {
        window::Conversation {
            number: self.number.clone(),
            customer: customer.clone(),
            brand: BRAND.to_owned(),
            portfolio: "p1".to_owned(),
        }
    }
}

/// What was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Opened,
    Expiring,
}

const BRAND: &str = "default";
const TEXT: &str = "Hi, is the blue one still there in size 42? I would come by on Friday.";

/// Returns the customer of an index.
pub(crate) fn customer(index: usize) -> anyhow::Result<CustomerId> {
    Ok(CustomerId::parse(&format!("c{index:032x}"))?)
}

/// Returns the index of a customer.
pub(crate) fn index(customer: &str) -> Option<usize> {
    usize::from_str_radix(customer.strip_prefix('c')?, 16).ok()
}

/// Appends a record for each index.
pub(crate) async fn load(
    log: &Log,
    count: usize,
    record: impl Fn(usize) -> anyhow::Result<Record>,
) -> anyhow::Result<()> {
    let mut loaded = 0;
    while loaded < count {
        let until = count.min(loaded + CHUNK_LEN);
        let records = (loaded..until)
            .map(|index| Ok((record(index)?, Expect::Anything)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for result in log.append_all(records).await {
            result?;
        }
        loaded = until;
    }
    Ok(())
}

/// Acknowledges so many facts under the tracker's name, as if it had seen to them when they came.
pub(crate) async fn see_to(context: &jetstream::Context, count: usize) -> anyhow::Result<()> {
    let config = pull::Config {
        durable_name: Some(TRACKER.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(10),
        max_deliver: -1,
        max_ack_pending: i64::try_from(IN_HAND_MAX)?,
        filter_subjects: vec![Family::Inbound.filter(), Family::Evidence.filter()],
        ..pull::Config::default()
    };
    let consumer = context
        .create_consumer_on_stream(config, stream::EVENTS)
        .await?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(IN_HAND_MAX / 4)
        .messages()
        .await?;
    for _ in 0..count {
        let message = messages.next().await.context("the delivery ended")??;
        let acknowledged = message.ack_with(AckKind::Ack).await;
        acknowledged.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    drop(messages);
    loop {
        let info = consumer.get_info().await?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
