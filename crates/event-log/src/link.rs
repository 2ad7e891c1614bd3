//! What a log stands on: a broker, or the look-alike of one in memory.
//!
//! Every question that is put to a broker is put here, and so nothing above it knows which of them
//! answers. It repeats nothing and interprets nothing.

use std::collections::HashMap;

use async_nats::jetstream::{self, AckKind, stream::Stream};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use crate::leave::{Asked, Leave};
use crate::memory;
use crate::wire::Pending;

/// Why a delivery broke off.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A connection.
#[expect(
    clippy::large_enum_variant,
    reason = "one of a connection, and the large one is what production has"
)]
pub(crate) enum Link {
    Nats(Nats),
    Memory(memory::Connection),
}

/// A connection to a broker.
pub(crate) struct Nats {
    pub(crate) client: async_nats::Client,
    /// For requests that may take the broker long.
    pub(crate) patient: jetstream::Context,
    pub(crate) streams: HashMap<String, Stream>,
    pub(crate) leave: Leave,
}

/// A message as it is delivered.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and the large one is what production has"
)]
pub(crate) enum Message {
    Nats(jetstream::Message),
    Memory(memory::Message),
}

impl Nats {
    /// A question was not answered that was asked at `begun`: another server may answer the next.
    pub(crate) fn unanswered(&self, asked: Asked<'_>, begun: Instant) {
        if !self.leave.unanswered(asked, begun) {
            return;
        }
        tracing::warn!(
            ?asked,
            "the broker does not answer: another server is taken"
        );
        let client = self.client.clone();
        // Whoever waited does not wait for this, too.
        tokio::spawn(async move { client.force_reconnect().await });
    }
}

/// Messages as they are delivered.
pub(crate) type Messages = BoxStream<'static, Result<Message, Broken>>;

/// Deliveries of a broker.
pub(crate) fn messages(from: jetstream::consumer::pull::Stream) -> Messages {
    from.map_ok(Message::Nats)
        .map_err(|error| Box::new(error) as Broken)
        .boxed()
}

impl Message {
    pub(crate) fn subject(&self) -> &Subject {
        match self {
            Self::Nats(message) => &message.subject,
            Self::Memory(message) => &message.kept.subject,
        }
    }

    pub(crate) fn headers(&self) -> Option<&HeaderMap> {
        match self {
            Self::Nats(message) => message.headers.as_ref(),
            Self::Memory(message) => Some(&message.kept.headers),
        }
    }

    pub(crate) fn payload(&self) -> &Bytes {
        match self {
            Self::Nats(message) => &message.payload,
            Self::Memory(message) => &message.kept.payload,
        }
    }

    /// What the delivery says about its consumer, the stream, and when it was stored, in nanoseconds.
    pub(crate) fn information(&self) -> Result<(Pending, &str, i128), Broken> {
        match self {
            Self::Nats(message) => {
                let info = message.info()?;
                let stored_at = info.published.unix_timestamp_nanos();
                Ok((Pending::of(&info), info.stream, stored_at))
            }
            Self::Memory(message) => {
                let stored_at = message.kept.stored_at.as_nanosecond();
                Ok((message.pending, message.stream, stored_at))
            }
        }
    }

    pub(crate) async fn ack_with(&self, kind: AckKind) -> Result<(), Broken> {
        match self {
            Self::Nats(message) => message.ack_with(kind).await,
            Self::Memory(message) => {
                message.acknowledge(&kind).await;
                Ok(())
            }
        }
    }
}
