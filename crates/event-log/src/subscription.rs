//! What services that listen are given at the broker: durable consumers, and that it reads its
//! users anew.
//!
//! Who they are and what they may hear is decided elsewhere, and so is how they listen.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use crate::{Config, ConnectError, connect};

/// How long an event may be in a subscriber's hands before it comes again.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// How many a subscriber has in its hands: one, so that they come in order.
const ACK_PENDING_MAX: i64 = 1;

/// How long servers of a cluster may take to say that they are there.
const SERVERS_ANSWER_MAX: Duration = Duration::from_secs(1);

/// The broker's words for a consumer, and for a stream, that is not there.
const NOT_FOUND: [u64; 2] = [10014, 10059];

/// What was asked of the broker was not done.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No answer came, which is also how a missing right shows.
    #[error(
        "the broker did not answer {what}: either it is away, or our user may not ask for it \
         (deploy/nats/nats-server.conf has who may)"
    )]
    Silent {
        /// What was asked for.
        what: String,
    },
    /// The broker refused.
    #[error("the broker refused {what}: {problem}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Its words.
        problem: String,
    },
}

/// How far a subscriber is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Sequence of the last event before which all are acknowledged.
    pub acknowledged: u64,
    /// How many events it has not been given.
    pub pending: u64,
    /// How many it was given and has not acknowledged.
    pub in_hands: u64,
}

/// A connection that makes consumers for others.
pub struct Subscriptions {
    client: async_nats::Client,
    context: jetstream::Context,
    within: Duration,
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Subscriptions").finish_non_exhaustive()
    }
}

impl Subscriptions {
    /// Connects once, and says why if that fails.
    pub async fn connect(config: &Config) -> Result<Self, SubscriptionError> {
        let client = connect::once(config).await?;
        Ok(Self {
            context: jetstream::new(client.clone()),
            client,
            within: config.read_timeout,
        })
    }

    /// Makes a durable consumer that starts with the newest event of each subject. One that is
    /// there with these settings is left where it stands.
    pub async fn make(
        &self,
        stream: &str,
        name: &str,
        filters: Vec<String>,
    ) -> Result<(), SubscriptionError> {
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subjects: filters,
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING_MAX,
            ..pull::Config::default()
        };
        let made = self.context.create_consumer_on_stream(config, stream);
        let what = format!("to make consumer {name} on {stream}");
        self.in_time(&what, made).await.map(drop)
    }

    /// Removes a consumer; returns whether there was one.
    pub async fn remove(&self, stream: &str, name: &str) -> Result<bool, SubscriptionError> {
        if self.standing(stream, name).await?.is_none() {
            return Ok(false);
        }
        let removed = self.context.delete_consumer_from_stream(name, stream);
        let what = format!("to remove consumer {name} from {stream}");
        self.in_time(&what, removed).await?;
        Ok(true)
    }

    /// Returns how far a consumer is, if there is one.
    pub async fn standing(
        &self,
        stream: &str,
        name: &str,
    ) -> Result<Option<Standing>, SubscriptionError> {
        let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{name}");
        let what = format!("how consumer {name} of {stream} stands");
        let asked = self.client.request(subject, "".into());
        let Ok(Ok(answer)) = timeout(self.within, asked).await else {
            return Err(SubscriptionError::Silent { what });
        };
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        if let Some(error) = answer["error"]["description"].as_str() {
            let code = answer["error"]["err_code"].as_u64();
            if code.is_some_and(|code| NOT_FOUND.contains(&code)) {
                return Ok(None);
            }
            let problem = error.to_owned();
            return Err(SubscriptionError::Refused { what, problem });
        }
        Ok(Some(Standing {
            acknowledged: answer["ack_floor"]["stream_seq"].as_u64().unwrap_or(0),
            pending: answer["num_pending"].as_u64().unwrap_or(0),
            in_hands: answer["num_ack_pending"].as_u64().unwrap_or(0),
        }))
    }

    async fn in_time<T, E: std::fmt::Display>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SubscriptionError> {
        let what = what.to_owned();
        match timeout(self.within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(SubscriptionError::Refused {
                what,
                problem: error.to_string(),
            }),
            Err(_) => Err(SubscriptionError::Silent { what }),
        }
    }
}

/// Has every server read its configuration anew, as a user of its system account that may; returns
/// how many did. Connections of users that stay are kept.
pub async fn reload(config: &Config) -> Result<usize, SubscriptionError> {
    let client = connect::once(config).await?;
    let inbox = client.new_inbox();
    let silent = || SubscriptionError::Silent {
        what: "which servers there are".to_owned(),
    };
    let answers = client.subscribe(inbox.clone()).await;
    let mut answers = answers.map_err(|_| silent())?;
    let asked = client
        .publish_with_reply("$SYS.REQ.SERVER.PING", inbox, "".into())
        .await;
    asked.map_err(|_| silent())?;
    // The one we are connected to is there, whoever else is.
    let mut servers = BTreeSet::from([client.server_info().server_id]);
    while let Ok(Some(answer)) = timeout(SERVERS_ANSWER_MAX, answers.next()).await {
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        if let Some(id) = answer["server"]["id"].as_str() {
            servers.insert(id.to_owned());
        }
    }
    for id in &servers {
        let what = format!("server {id} to read its configuration anew");
        let asked = client.request(format!("$SYS.REQ.SERVER.{id}.RELOAD"), "".into());
        let Ok(Ok(answer)) = timeout(config.read_timeout, asked).await else {
            return Err(SubscriptionError::Silent { what });
        };
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        if let Some(problem) = answer["error"]["description"].as_str() {
            let problem = problem.to_owned();
            return Err(SubscriptionError::Refused { what, problem });
        }
    }
    Ok(servers.len())
}
