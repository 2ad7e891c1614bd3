//! From the time that a post was due to `WindowOpened` at a plain subscriber.
//!
//! Every post is the first message of another customer, so each mints one and opens a window.
//! Ingress and window-tracker run as in production; posts come at a fixed rate, whatever becomes
//! of those before.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use casement_event::{Event, header};
use casement_shell::{Clock as _, SystemClock};
use clap::Args;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::plain::{self, Way};
use super::roles::{Role, System};
use crate::cost::{Watched, cores_text};
use crate::load::Load;
use crate::measure::spread;
use crate::posts::{Kind, Posts, running};

/// How long nothing may be heard while something is to come.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Connections of the load generator.
const CONNECTIONS: usize = 64;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Posts a second; each is a measurement of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 3_000])]
    rates: Vec<usize>,
    /// Seconds of each of these, after one that does not count.
    #[arg(long, default_value_t = 10)]
    seconds: usize,
}

pub(super) async fn run(options: &Options, program: &Path) -> anyhow::Result<()> {
    println!("One post to `WindowOpened` at a subscriber\n");
    println!(
        "| posts a second | who | p50 | p99 | longest | cores: ingress | window-tracker | broker | load |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    let system = System::start(program, None).await?;
    let roles = system
        .start_roles(&[Role::Ingress, Role::WindowTracker])
        .await?;
    let mut ids: Vec<u32> = roles.iter().map(super::roles::Running::id).collect();
    ids.extend([system.nats.id(), std::process::id()]);
    let mut first = 0;
    for rate in &options.rates {
        let measured = measure(&system, &ids, *rate, options.seconds, first).await?;
        row(*rate, "through the roles", measured);
        first += rate * (options.seconds + 1);
    }
    drop(roles);

    let context = jetstream::new(system.nats.client().await);
    let samples = plain::samples(&context).await?;
    let ids = [system.nats.id(), std::process::id()];
    for (who, way) in [
        ("broker alone, one append", Way::Append),
        ("broker alone, the same writes and deliveries", Way::Whole),
    ] {
        for rate in &options.rates {
            let count = rate * (options.seconds + 1);
            let watched = Watched::start(&ids).await;
            let each = plain::paced(&context, &samples, way, *rate, count).await?;
            let cores = watched.cores().await;
            let each = each.into_iter().skip(*rate).collect();
            row(*rate, who, (each, vec![None, None, cores[0], cores[1]]));
        }
    }
    println!();
    Ok(())
}

fn row(rate: usize, who: &str, (mut each, cores): (Vec<Duration>, Vec<Option<f64>>)) {
    let cores: Vec<String> = cores.into_iter().map(cores_text).collect();
    println!(
        "| {rate} | {who} | {} | {} |",
        spread(&mut each),
        cores.join(" | ")
    );
}

/// Returns how long each took, in the order they were due, and what the processes cost.
async fn measure(
    system: &System,
    ids: &[u32],
    rate: usize,
    seconds: usize,
    first: usize,
) -> anyhow::Result<(Vec<Duration>, Vec<Option<f64>>)> {
    let count = rate * (seconds + 1);
    let address = SocketAddr::from(([127, 0, 0, 1], system.webhooks));
    let kind = Kind {
        first,
        count,
        updates: 1,
        customers: usize::MAX,
    };
    let posts = Posts::new(kind, address, SystemClock::new().now());
    let load = Load {
        address,
        requests: Arc::new(posts.requests),
        connections: CONNECTIONS,
        length: None,
        rate: Some(f64::from(u32::try_from(rate)?)),
    };
    let client = system.nats.client().await;
    let mut told = client.subscribe("casement.events.window.>").await?;
    client.flush().await?;
    let hear = async {
        let mut heard = HashMap::with_capacity(count);
        while heard.len() < count {
            let Ok(message) = timeout(SILENCE_MAX, told.next()).await else {
                bail!("only {} of {count} windows were told", heard.len());
            };
            let at = Instant::now();
            let message = message.context("the subscription ended")?;
            if let Some(index) = opened(&message) {
                heard.insert(index, at);
            }
        }
        Ok(heard)
    };
    let watched = Watched::start(ids).await;
    let (answers, heard) = tokio::try_join!(load.run(), hear)?;
    let cores = watched.cores().await;
    anyhow::ensure!(
        answers.refused == 0,
        "{} posts were refused",
        answers.refused
    );
    let mut dues = answers.dues;
    dues.sort_unstable();
    let each = dues
        .into_iter()
        .skip(rate)
        .map(|(index, due)| {
            let at = heard.get(&(first + index)).context("a window is missing")?;
            Ok(at.duration_since(due))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok((each, cores))
}

/// Returns the running number of the post that opened the window, if this tells of an opening.
fn opened(message: &async_nats::Message) -> Option<usize> {
    let event_type = message.headers.as_ref()?.get(header::TYPE)?;
    match Event::decode(event_type.as_str(), &message.payload).ok()? {
        Event::WindowOpened(event) => running(&event.window?.last_inbound_provider_id),
        _ => None,
    }
}
