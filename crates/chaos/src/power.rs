//! Loss of power: what the broker acknowledged is there afterwards, or is not.
//!
//! A broker stores on a disk that forgets what was not synced. Publishers note what is
//! acknowledged; at some moment the broker is killed and the power goes, and then everything that
//! was acknowledged is looked for. With each write synced nothing may be missing; with the
//! broker's default something is, or this harness proves nothing.

mod disk;
mod mount;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use casement_testkit::NatsServer;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::mount::Mounted;

/// Streams that are written at once, as roles write theirs.
const STREAMS: [&str; 3] = ["RAW", "EVENTS", "MESSAGES"];

/// How long a publisher waits for an acknowledgement before it takes it for lost.
const ACK_WITHIN: Duration = Duration::from_secs(2);

/// How long reading one message back may take.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// What losses of power did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// Whether each write was synced before it was acknowledged.
    pub sync_always: bool,
    /// How often the power went.
    pub rounds_count: usize,
    /// Messages that were acknowledged.
    pub acknowledged_count: usize,
    /// Those of them that were not there, or not the same, afterwards.
    pub lost_count: usize,
    /// Bytes that were written, not synced, and gone.
    pub lost_bytes: u64,
}

/// Something that was acknowledged.
struct Acknowledged {
    stream: &'static str,
    sequence: u64,
    payload: Vec<u8>,
}

/// Takes the power so many times.
///
/// # Errors
/// When no disk of ours can be mounted, or the broker does not start again.
pub async fn lose(seed: u64, rounds_count: usize, sync_always: bool) -> anyhow::Result<Losses> {
    let disk = Mounted::mount()?;
    let mut chance = StdRng::seed_from_u64(seed);
    let mut nats = NatsServer::builder()
        .sync_always(sync_always)
        .store_dir(disk.path().join("store"))
        .start()
        .await;
    let mut losses = Losses {
        sync_always,
        rounds_count: 0,
        acknowledged_count: 0,
        lost_count: 0,
        lost_bytes: 0,
    };
    for _ in 0..rounds_count {
        create_streams(&nats.url()).await?;
        // What is at stake are messages, not that there are streams.
        disk.sync_all();
        let mut publishers = JoinSet::new();
        for stream in STREAMS {
            publishers.spawn(publish(nats.url(), stream, chance.random()));
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(200..1_200))).await;
        nats.kill();
        disk.lose_power();
        let mut acknowledged = Vec::new();
        while let Some(published) = publishers.join_next().await {
            acknowledged.append(&mut published.context("a publisher panicked")?);
        }
        nats.start_again().await;
        losses.rounds_count += 1;
        losses.acknowledged_count += acknowledged.len();
        losses.lost_count += missing(&nats.url(), &acknowledged).await?;
    }
    losses.lost_bytes = disk.lost_bytes();
    ensure!(losses.acknowledged_count > 0, "nothing was acknowledged");
    nats.kill();
    Ok(losses)
}

/// Makes the streams, as far as the last loss left none.
async fn create_streams(url: &str) -> anyhow::Result<()> {
    let context = jetstream::new(async_nats::connect(url).await?);
    for name in STREAMS {
        let config = Config {
            name: name.to_owned(),
            subjects: vec![format!("power.{name}.>")],
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_bytes: 1 << 30,
            ..Default::default()
        };
        context.get_or_create_stream(config).await?;
    }
    Ok(())
}

/// Publishes one after the other until nobody answers, and returns what was acknowledged.
async fn publish(url: String, stream: &'static str, seed: u64) -> Vec<Acknowledged> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut acknowledged = Vec::new();
    let Ok(client) = async_nats::connect(&url).await else {
        return acknowledged;
    };
    let context = jetstream::new(client);
    for step in 0_u64.. {
        let mut payload = vec![0; chance.random_range(16..4_096)];
        chance.fill(&mut payload[..]);
        let subject = format!("power.{stream}.{}", step % 50);
        let answer = async {
            let ack = context.publish(subject, payload.clone().into()).await?;
            anyhow::Ok(ack.await?.sequence)
        };
        match timeout(ACK_WITHIN, answer).await {
            Ok(Ok(sequence)) => acknowledged.push(Acknowledged {
                stream,
                sequence,
                payload,
            }),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    acknowledged
}

/// Returns how much of what was acknowledged is not there as it was.
async fn missing(url: &str, acknowledged: &[Acknowledged]) -> anyhow::Result<usize> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let mut count = 0;
    for stream in STREAMS {
        let Ok(kept) = context.get_stream(stream).await else {
            // All of it, then.
            count += acknowledged
                .iter()
                .filter(|one| one.stream == stream)
                .count();
            continue;
        };
        for one in acknowledged.iter().filter(|one| one.stream == stream) {
            let read = timeout(READ_WITHIN, kept.get_raw_message(one.sequence)).await?;
            if !read.is_ok_and(|found| found.payload[..] == one.payload[..]) {
                count += 1;
            }
        }
    }
    Ok(count)
}
