//! How long a message takes from the time that its request was durable, and from the time that it
//! was due, until the provider was called.
//!
//! Durable is when the broker took the request, by its own word: somewhat before it was synced, so
//! the sync counts as well. Called is when the call came, by the provider's books.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;

use super::baseline;
use super::life::requested_at;
use super::scene::{Plan, Scene, dispatcher};
use super::sender::Sender;
use crate::cost::{Watched, cores_text};
use crate::measure::spread;
use crate::roles::{Role, Running};

/// Business numbers.
const NUMBERS: usize = 8;

/// How long messages may take in all.
const CALLED_MAX: Duration = Duration::from_mins(5);

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Requests a second; each is a measurement of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 500, 1_000])]
    rates: Vec<usize>,
    /// Seconds of each of these, after one that does not count.
    #[arg(long, default_value_t = 10)]
    seconds: usize,
}

pub(super) async fn run(options: &Options, customers: usize, program: &Path) -> anyhow::Result<()> {
    println!("One message until the provider was called; statuses and projector run\n");
    println!(
        "| messages a second | who | since durable: p50 | p99 | longest | since due: p50 | p99 | longest | accepted: p50 | p99 | longest | cores: ingress | window-tracker | dispatcher | audit-projector | broker | callers and provider |"
    );
    println!(
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    let plan = Plan::unhindered(program, customers, NUMBERS);
    let scene = Scene::set(&plan).await?;
    let mut roles = scene.play().await?;
    let projector = scene.system.start_roles(&[Role::AuditProjector]).await?;
    roles.extend(projector);
    scene.quiet(roles.get(3), CALLED_MAX).await?;
    let mut first = 0;
    for rate in &options.rates {
        let count = rate * (options.seconds + 1);
        measure(&scene, &roles, *rate, first, count).await?;
        first += count;
        scene.quiet(roles.get(3), CALLED_MAX).await?;
    }
    drop(roles);

    let ids = [scene.system.nats.id(), std::process::id()];
    let http = baseline::Http::new(&scene)?;
    for rate in &options.rates {
        let count = rate * (options.seconds + 1);
        let watched = Watched::start(&ids).await;
        let each = http.paced(&scene, *rate, count).await?;
        let cores = watched.cores().await;
        let mut each: Vec<_> = each.into_iter().skip(*rate).collect();
        let columns = [NOTHING.to_owned(), spread(&mut each), NOTHING.to_owned()];
        row(*rate, "bare HTTP client", &columns, &without_roles(&cores));
    }
    for rate in &options.rates {
        let count = rate * (options.seconds + 1);
        let watched = Watched::start(&ids).await;
        let (second, both) = baseline::two_appends(&scene.context, *rate, count).await?;
        let cores = watched.cores().await;
        let mut second: Vec<_> = second.into_iter().skip(*rate).collect();
        let mut both: Vec<_> = both.into_iter().skip(*rate).collect();
        let columns = [spread(&mut second), spread(&mut both), NOTHING.to_owned()];
        let who = "raw appends, request and claim";
        row(*rate, who, &columns, &without_roles(&cores));
    }
    println!();
    Ok(())
}

/// Three columns of what was not measured.
const NOTHING: &str = "– | – | –";

async fn measure(
    scene: &Scene,
    roles: &[Running],
    rate: usize,
    first: usize,
    count: usize,
) -> anyhow::Result<()> {
    let sender = Sender::new(dispatcher(roles)?, scene.who)?;
    let mut ids: Vec<u32> = roles.iter().map(Running::id).collect();
    ids.extend([scene.system.nats.id(), std::process::id()]);
    let before = baseline::last_sequence(&scene.context).await?;
    let called_before = scene.provider.sent_count();
    let watched = Watched::start(&ids).await;
    let asked = sender.paced(first, count, rate, &scene.clock).await?;
    let all = called_before + u64::try_from(count)?;
    scene.called(all, CALLED_MAX).await?;
    let cores = watched.cores().await;

    let called: HashMap<String, Timestamp> = scene
        .provider
        .sent_since(called_before)
        .into_iter()
        .filter_map(|sent| {
            let named = sent.callback_data?;
            let (message_id, attempt) = named.rsplit_once('.')?;
            (attempt == "1").then(|| (message_id.to_owned(), sent.at))
        })
        .collect();
    let durable = requested_at(&scene.context, before).await?;
    let (mut since_durable, mut since_due, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for asked in asked.iter().skip(rate) {
        let called = *called.get(&asked.message_id).context("a call is missing")?;
        let durable = *durable
            .get(&asked.message_id)
            .context("a request is missing")?;
        since_durable.push(between(durable, called));
        since_due.push(between(asked.due, called));
        accepted.push(asked.answered);
    }
    let columns = [
        spread(&mut since_durable),
        spread(&mut since_due),
        spread(&mut accepted),
    ];
    row(rate, "through the roles", &columns, &cores);
    Ok(())
}

/// How much later than the first the second is.
pub(super) fn between(first: Timestamp, second: Timestamp) -> Duration {
    Duration::try_from(second.duration_since(first)).unwrap_or_default()
}

fn row(rate: usize, who: &str, columns: &[String; 3], cores: &[Option<f64>]) {
    let cores: Vec<String> = cores.iter().copied().map(cores_text).collect();
    println!(
        "| {rate} | {who} | {} | {} |",
        columns.join(" | "),
        cores.join(" | ")
    );
}

fn without_roles(cores: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut all = vec![None; 4];
    all.extend(cores);
    all
}
