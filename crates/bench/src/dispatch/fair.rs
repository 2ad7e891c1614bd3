//! Whether one brand's campaign slows another brand's answers: how long answers take from durable
//! to the provider alone, beside a campaign, and alone again.
//!
//! Both brands have a number of their own, and share everything else: broker, roles, provider. That
//! the campaign was still under way when the last answer had gone is checked, since a campaign that
//! is over slows nobody.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use casement_event::v1;
use clap::Args;
use jiff::Timestamp;

use super::baseline;
use super::latency::between;
use super::life::requested_at;
use super::scene::{Plan, Scene, THROUGHPUT, dispatcher};
use super::sender::{Sender, Side};
use crate::measure::spread;

/// One number for each brand.
const NUMBERS: usize = 2;

/// Messages a second that the platform grants a number unless it is upgraded.
const USUAL_THROUGHPUT: u32 = 80;

/// How long messages may take in all.
const CALLED_MAX: Duration = Duration::from_mins(10);

/// Requests of the campaign at once.
const AT_ONCE: usize = 64;

/// The brand that answers; its customers have even numbers.
const ANSWERS: Side = Side {
    name: "answer",
    priority: v1::Priority::Reply,
    offset: 0,
    step: NUMBERS,
};

/// The brand with the campaign.
const CAMPAIGN: Side = Side {
    name: "campaign",
    priority: v1::Priority::Bulk,
    offset: 1,
    step: NUMBERS,
};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Messages of the campaign.
    #[arg(long, default_value_t = 10_000)]
    campaign: usize,
    /// Answers a second of the other brand.
    #[arg(long, default_value_t = 50)]
    answers: usize,
    /// Seconds of answers, each time.
    #[arg(long, default_value_t = 10)]
    fair_seconds: usize,
}

pub(super) async fn run(options: &Options, customers: usize, program: &Path) -> anyhow::Result<()> {
    let (rate, size) = (options.answers, options.campaign);
    println!(
        "Answers of one brand, {rate} a second, beside another brand's campaign of {size} messages\n"
    );
    println!(
        "| campaign's number | answers | since durable: p50 | p99 | longest | campaign still to go after the last |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for throughput in [USUAL_THROUGHPUT, THROUGHPUT] {
        beside(options, customers, program, throughput).await?;
    }
    println!();
    println!("the campaign held up no answer until its end");
    Ok(())
}

/// Measures with numbers that may send so many messages a second.
async fn beside(
    options: &Options,
    customers: usize,
    program: &Path,
    throughput: u32,
) -> anyhow::Result<()> {
    let (rate, size) = (options.answers, options.campaign);
    let plan = Plan {
        program,
        customers: customers.next_multiple_of(NUMBERS),
        numbers: NUMBERS,
        other_brands: NUMBERS - 1,
        dispatcher: "",
        is_limited: false,
        throughput,
        seed: 0,
    };
    let scene = Scene::set(&plan).await?;
    let roles = scene.play().await?;
    let role = dispatcher(&roles)?;
    let answers = Sender::new(role, scene.who)?.of(ANSWERS);
    let campaign = Sender::new(role, scene.who)?.of(CAMPAIGN);
    let count = rate * options.fair_seconds;

    let alone = measure(&scene, &answers, 0, count, rate).await?;
    row(throughput, "alone", alone.times, None);
    scene.quiet(None, CALLED_MAX).await?;

    let before = scene.provider.sent_count();
    let sending = campaign.clone();
    let running = tokio::spawn(async move { sending.burst(0, size, AT_ONCE).await });
    // Under way, so that the first answer meets it.
    let begun = u64::try_from(size / 20)?;
    scene.called(before + begun, CALLED_MAX).await?;
    let beside = measure(&scene, &answers, count, count, rate).await?;
    let done = scene.provider.sent_since(before);
    let done = done.iter().filter(|sent| sent.at <= beside.last).count();
    let left = (size + count).saturating_sub(done);
    row(throughput, "beside the campaign", beside.times, Some(left));
    running.await??;
    scene
        .called(before + u64::try_from(size + count)?, CALLED_MAX)
        .await?;
    scene.quiet(None, CALLED_MAX).await?;

    let again = measure(&scene, &answers, 2 * count, count, rate).await?;
    row(throughput, "alone again", again.times, None);
    ensure!(
        left > 0,
        "the campaign was over before the answers: ask for a larger one"
    );
    Ok(())
}

/// How long answers took, and when the provider was called for the last of them.
struct Measured {
    times: Vec<Duration>,
    last: Timestamp,
}

async fn measure(
    scene: &Scene,
    answers: &Sender,
    first: usize,
    count: usize,
    rate: usize,
) -> anyhow::Result<Measured> {
    let before = baseline::last_sequence(&scene.context).await?;
    let called_before = scene.provider.sent_count();
    let asked = answers.paced(first, count, rate, &scene.clock).await?;
    let mut called = HashMap::new();
    let begun = tokio::time::Instant::now();
    // Others are called for, too: until each of ours was.
    while asked
        .iter()
        .any(|asked| !called.contains_key(&asked.message_id))
    {
        ensure!(
            begun.elapsed() < CALLED_MAX,
            "{} of {count} answers were called for",
            called.len()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        called = calls(scene, called_before);
    }
    let durable = requested_at(&scene.context, before).await?;
    let mut times = Vec::with_capacity(count);
    let mut last = Timestamp::MIN;
    for asked in &asked {
        let called = *called.get(&asked.message_id).context("a call is missing")?;
        let durable = durable.get(&asked.message_id);
        times.push(between(*durable.context("a request is missing")?, called));
        last = last.max(called);
    }
    Ok(Measured { times, last })
}

/// When the provider was first called for each message since.
fn calls(scene: &Scene, since: u64) -> HashMap<String, Timestamp> {
    let sent = scene.provider.sent_since(since).into_iter();
    sent.filter_map(|sent| {
        let named = sent.callback_data?;
        let (message_id, attempt) = named.rsplit_once('.')?;
        (attempt == "1").then(|| (message_id.to_owned(), sent.at))
    })
    .collect()
}

fn row(throughput: u32, what: &str, mut times: Vec<Duration>, left: Option<usize>) {
    let left = left.map_or_else(|| "–".to_owned(), |left| left.to_string());
    println!(
        "| {throughput}/s | {what} | {} | {left} |",
        spread(&mut times)
    );
}
