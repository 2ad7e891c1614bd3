//! What the provider takes from a client that does nothing but call, and what the broker stores
//! with nobody looking at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use casement_event::subject::{Family, stream};
use casement_shell::http::{self, ClientOptions};
use casement_shell::{Clock as _, SystemClock};
use casement_whatsapp::send::{Client, Outcome, Target};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::latency::between;
use super::scene::{Scene, TOKEN, Who};
use super::sender::after;
use crate::ingest::baseline;
use crate::plain;

/// A client that calls the provider, and nothing else. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    base_url: String,
    token: SecretString,
    who: Who,
}

impl Http {
    pub(super) fn new(scene: &Scene) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::new(http::client(&ClientOptions::default())?),
            base_url: scene.provider_url(),
            token: TOKEN.into(),
            who: scene.who,
        })
    }

    async fn call(&self, index: usize) -> anyhow::Result<()> {
        let customer = self.who.customer(index);
        let (_, phone_number_id) = self.who.number(customer);
        let target = Target {
            base_url: &self.base_url,
            graph_version: "v26.0",
            phone_number_id: &phone_number_id,
            token: &self.token,
        };
        let body = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": format!("+{}", Who::phone(customer)),
            "type": "text",
            "text": {"body": "Yes, the blue one is here in size 42. Shall we keep it for you?"},
            "biz_opaque_callback_data": format!("bare.{index}"),
        });
        match self.client.send(target, &body).await {
            Outcome::Accepted(_) => Ok(()),
            other => bail!("the provider does not take a call: {other:?}"),
        }
    }

    /// Makes `count` calls, so many at once; returns how long it took.
    pub(super) async fn burst(&self, count: usize, at_once: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..at_once {
            let (http, next) = (self.clone(), Arc::clone(&next));
            callers.spawn(async move {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return anyhow::Ok(());
                    }
                    http.call(index).await?;
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done??;
        }
        Ok(begun.elapsed())
    }

    /// Makes calls when they are due; returns how long after that each was in the provider's
    /// books, in their order.
    pub(super) async fn paced(
        &self,
        scene: &Scene,
        rate: usize,
        count: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        let clock: &SystemClock = &scene.clock;
        let before = scene.provider.sent_count();
        let (started, started_at) = (Instant::now(), clock.now());
        let mut callers = JoinSet::new();
        for index in 0..count {
            sleep_until(started + after(index, rate)).await;
            let http = self.clone();
            callers.spawn(async move { http.call(index).await });
        }
        while let Some(done) = callers.join_next().await {
            done??;
        }
        let called: HashMap<String, Timestamp> = scene
            .provider
            .sent_since(before)
            .into_iter()
            .filter_map(|sent| Some((sent.callback_data?, sent.at)))
            .collect();
        (0..count)
            .map(|index| {
                let at = called.get(&format!("bare.{index}")).context("a call")?;
                let due = SignedDuration::try_from(after(index, rate))?;
                Ok(between(started_at.saturating_add(due)?, *at))
            })
            .collect()
    }
}

/// The sequence of the newest event of messages.
pub(super) async fn last_sequence(context: &jetstream::Context) -> anyhow::Result<u64> {
    let mut stream = context.get_stream(stream::MESSAGES).await?;
    Ok(stream.info().await?.state.last_sequence)
}

/// Appends the same events of messages again, those after a sequence; returns how many, and how
/// long it took.
pub(super) async fn raw_appends(
    context: &jetstream::Context,
    after: u64,
) -> anyhow::Result<(usize, Duration)> {
    let events = baseline::read(context, stream::MESSAGES, after).await?;
    let took = baseline::consume_and_append(context, 0, 0, &events).await?;
    Ok((events.len(), took))
}

/// Two appends of the size of an event of a message, one after the other, as request and claim
/// are, at a rate; returns how long the second of each took, and both since they were due.
pub(super) async fn two_appends(
    context: &jetstream::Context,
    rate: usize,
    count: usize,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let sample = plain::sample(context, stream::MESSAGES, &Family::Message.filter()).await?;
    plain::create(context).await?;
    let started = Instant::now();
    let mut writers = JoinSet::new();
    for index in 0..count {
        let due = started + after(index, rate);
        sleep_until(due).await;
        let (context, sample) = (context.clone(), sample.clone());
        writers.spawn(async move {
            sample
                .publish(&context, &format!("request.{index}"))
                .await?;
            let requested = Instant::now();
            sample.publish(&context, &format!("claim.{index}")).await?;
            anyhow::Ok((index, requested.elapsed(), due.elapsed()))
        });
    }
    let mut each = Vec::with_capacity(count);
    while let Some(done) = writers.join_next().await {
        each.push(done??);
    }
    plain::delete(context).await?;
    each.sort_unstable();
    Ok(each
        .into_iter()
        .map(|(_, second, both)| (second, both))
        .unzip())
}
