//! The broker's time, asked for again and again, as a witness against our own clock.
//!
//! Whoever makes deadlines happen must not rest on one machine's clock alone. The stream's leader
//! is asked for its time: that is the clock it stamps what it stores with, and it answers also
//! while nothing is written. The stored time of a message that is followed would be the weaker
//! witness: it may be late by any delay, and a message stored while the broker's clock was wrong
//! would speak against ours for ever.
//!
//! What the testimony means is the clock's to judge.

use std::sync::Arc;
use std::time::Duration;

use casement_event::subject::stream;
use casement_shell::SharedClock;
use casement_shell::clock::Unproven;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ReadError;
use crate::connect::Log;
use crate::link::Link;

/// How often the broker is asked for its time.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is asked by a process that has not begun.
const BEGIN_INTERVAL: Duration = Duration::from_millis(200);

/// How often it is told what such a process waits for.
const TELL_INTERVAL: Duration = Duration::from_mins(1);

/// The clock that deadlines are measured by.
pub trait Now: Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Timestamp;
    /// Returns whether the time can be trusted; nothing is handed out while it cannot.
    fn is_trusted(&self) -> bool;
    /// Takes a testimony: at some moment of the last `waited` the broker's clock stood at
    /// `broker`. A clock of virtual time has no use for it.
    fn hear(&self, _broker: Timestamp, _waited: Duration) {}
}

/// The part of the broker's answer about a stream that the client does not hand out.
#[derive(Debug, Deserialize)]
struct Answer {
    ts: Option<String>,
}

impl Log {
    /// Asks the leader of a stream what time it is.
    pub async fn broker_time(&self, stream: &str) -> Result<Timestamp, ReadError> {
        let what = format!("time at the leader of {stream}");
        let nats = match &self.inner.link {
            Link::Nats(nats) => nats,
            Link::Memory(memory) => {
                let time =
                    tokio::time::timeout(self.inner.config.read_timeout, memory.time(stream));
                let time = time.await;
                return time.map_err(|elapsed| ReadError::unavailable(&what, elapsed));
            }
        };
        let subject = format!("STREAM.INFO.{stream}");
        let answer = nats.patient.request::<_, _, Answer>(subject, &());
        let answer = tokio::time::timeout(self.inner.config.read_timeout, answer)
            .await
            .map_err(|elapsed| ReadError::unavailable(&what, elapsed))?
            .map_err(|error| ReadError::unavailable(&what, error))?;
        // An error in its place, such as that the stream has no leader now, tells no time.
        let Some(text) = answer.ts else {
            return Err(ReadError::unavailable(&what, "no time in the answer"));
        };
        text.parse()
            .map_err(|error: jiff::Error| ReadError::Unreadable {
                what,
                problem: error.to_string(),
            })
    }
}

impl Log {
    /// Hands out the clock of a process once the broker has said the same time. Nothing that rests on
    /// the present may be accepted or decided before; `waiting` is told what is waited for.
    pub async fn proven(&self, clock: &Unproven, mut waiting: impl FnMut(&str)) -> SharedClock {
        let mut told_at: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            let why = match self.broker_time(stream::EVENTS).await {
                Ok(broker) => match clock.hear(broker, asked.elapsed()) {
                    Ok(clock) => return clock,
                    Err(why) => why.to_string(),
                },
                Err(error) => format!("broker's time was not heard yet: {error}"),
            };
            if told_at.is_none_or(|at| at.elapsed() >= TELL_INTERVAL) {
                tracing::warn!(why, "nothing begins while nobody can say what time it is");
                told_at = Some(asked);
            }
            waiting(&why);
            tokio::time::sleep(BEGIN_INTERVAL).await;
        }
    }
}

/// Lets the clock hear the broker until the stop; `heard` turns true with the first testimony.
pub(crate) async fn testify(
    log: Log,
    stream: &'static str,
    clock: Arc<dyn Now>,
    heard: watch::Sender<bool>,
    stopping: CancellationToken,
) {
    let asking = async {
        loop {
            let asked = Instant::now();
            match log.broker_time(stream).await {
                Ok(broker) => {
                    clock.hear(broker, asked.elapsed());
                    heard.send_if_modified(|heard| !std::mem::replace(heard, true));
                }
                Err(error) => tracing::debug!(stream, error = %error, "broker tells no time"),
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    };
    let _: Option<()> = stopping.run_until_cancelled(asking).await;
}
