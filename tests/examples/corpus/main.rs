//! Posts a folder of webhook payloads written by others, and says what became of each.
//!
//! Each file maps names to full payloads. Every payload must get 200, and end as events or
//! parked; a dead letter is a failure. Then the same updates are posted otherwise: taken apart,
//! in one post, in another order, repeated, with one poisoned item among them. The same facts and
//! the same final states must come of them.

mod arrange;
mod outcome;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use casement_event::v1;
use casement_proto::account::v1::PutNumberRequest;
use casement_testkit::eventually;
use casement_tests::Stack;

use outcome::Outcome;

/// After how many looks without a new event a replay counts as over.
const SETTLED_AFTER: usize = 20;

/// After how many looks without a pack in hand all posts count as normalised.
const IDLE_FOR: usize = 3;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok((passed, failed)) => {
            say(&format!("{passed} passed, {failed} failed"));
            if failed == 0 && passed > 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            say(&format!("corpus: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<(usize, usize)> {
    let folder = std::env::args()
        .nth(1)
        .context("name the folder of payloads")?;
    let payloads = payloads(Path::new(&folder))?;
    anyhow::ensure!(!payloads.is_empty(), "{folder} holds no payloads");
    let stack = Stack::start().await;
    let client = stack.nats.client().await;
    let (mut passed, mut failed) = (0, 0);
    for (name, body) in &payloads {
        let before = count(&client, "DEAD").await?;
        let kept_before = kept(&client).await?;
        let status = stack.post(body).await;
        // Every payload leaves something behind: an event, a parked item, or a dead letter.
        let outcome = eventually(&format!("{name} is dealt with"), async || {
            let dead = count(&client, "DEAD").await? > before;
            let kept = kept(&client).await? > kept_before;
            let is_idle = idle(&client).await?;
            anyhow::ensure!(
                is_idle && (dead || kept || status != Some(200)),
                "nothing yet"
            );
            anyhow::Ok(dead)
        })
        .await;
        if status == Some(200) && !outcome {
            passed += 1;
        } else {
            failed += 1;
            say(&format!("{name}: answered {status:?}, dead {outcome}"));
        }
    }
    let numbers = phone_number_ids(&payloads)?;
    match replay(&stack, &client, &numbers).await {
        Ok(events) => say(&format!(
            "{} numbers recorded, {events} events replayed",
            numbers.len()
        )),
        Err(error) => {
            failed += 1;
            say(&format!("replay: {error:#}"));
        }
    }
    stack.stop().await;
    let (same, other) = arrangements(&payloads, &numbers).await?;
    Ok((passed + same, failed + other))
}

/// Posts the same updates in several arrangements, each to a system of its own; returns how many
/// led to the same, and how many did not.
async fn arrangements(
    payloads: &[(String, Vec<u8>)],
    numbers: &BTreeSet<String>,
) -> anyhow::Result<(usize, usize)> {
    let mut posts = Vec::new();
    for (index, (_, body)) in payloads.iter().enumerate() {
        let mut post = serde_json::from_slice(body)?;
        arrange::tell_apart(&mut post, index);
        posts.push(post);
    }
    let expected = amount(&posts, numbers).await?;
    for (event_type, count) in expected.types() {
        say(&format!("{count:5} {event_type}"));
    }
    let alone = arrange::split(&posts);
    let twice = [alone.clone(), posts.clone()].concat();
    let mut poisoned = posts.clone();
    poisoned.insert(posts.len() / 2, arrange::poison(&posts[0]));
    let (mut same, mut other) = (0, 0);
    for (name, posts, dead) in [
        ("each update alone", alone.clone(), 0),
        ("all in one post", vec![arrange::merged(&posts)], 0),
        ("in another order", arrange::shuffled(alone, 0x5eed), 0),
        ("repeated", arrange::shuffled(twice, 0xbeef), 0),
        (
            "with one poisoned item",
            vec![arrange::merged(&poisoned)],
            1,
        ),
    ] {
        let outcome = amount(&posts, numbers).await?;
        match outcome.differs(&expected, dead) {
            None => same += 1,
            Some(difference) => {
                other += 1;
                say(&format!("{name}: {difference}"));
            }
        }
    }
    Ok((same, other))
}

/// Returns what posts amount to in a system that knows the numbers.
async fn amount(
    posts: &[serde_json::Value],
    numbers: &BTreeSet<String>,
) -> anyhow::Result<Outcome> {
    let stack = Stack::start().await;
    let client = stack.nats.client().await;
    record(&stack, numbers).await?;
    for post in posts {
        let status = stack.post(&serde_json::to_vec(post)?).await;
        anyhow::ensure!(status == Some(200), "answered {status:?}");
    }
    settled(&client).await?;
    let outcome = outcome::outcome(&client).await;
    stack.stop().await;
    outcome
}

/// Waits until every pack is done. What others make of the facts, and what files are fetched
/// again, goes on.
async fn settled(client: &async_nats::Client) -> anyhow::Result<()> {
    let mut same = 0;
    eventually("all posts are normalised", async || {
        same = if idle(client).await? { same + 1 } else { 0 };
        anyhow::ensure!(same >= IDLE_FOR, "packs are in hand");
        anyhow::Ok(())
    })
    .await;
    Ok(())
}

/// Records the numbers that items were parked for, and waits until what was parked is replayed.
async fn replay(
    stack: &Stack,
    client: &async_nats::Client,
    numbers: &BTreeSet<String>,
) -> anyhow::Result<u64> {
    let before = count(client, "EVENTS").await?;
    record(stack, numbers).await?;
    // Replay has no end that could be waited for; what comes last must have come before.
    let (mut last, mut same) = (0, 0);
    let events = eventually("parked items are replayed", async || {
        let now = count(client, "EVENTS").await?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        anyhow::ensure!(
            same >= SETTLED_AFTER && now > before,
            "{} events so far",
            now - before
        );
        anyhow::Ok(now - before)
    })
    .await;
    let dead = count(client, "DEAD").await?;
    anyhow::ensure!(dead == 0, "{dead} dead letters");
    Ok(events)
}

async fn record(stack: &Stack, numbers: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut accounts = stack.clients().accounts;
    for (index, phone_number_id) in numbers.iter().enumerate() {
        let token = v1::SecretRef {
            source: Some(v1::secret_ref::Source::Env("UNUSED".to_owned())),
        };
        let number = v1::Number {
            number: format!("+1555100{index:04}"),
            brand_id: "default".to_owned(),
            portfolio_id: "506914307656634".to_owned(),
            waba_id: casement_tests::WABA.to_owned(),
            phone_number_id: phone_number_id.clone(),
            token: Some(token),
            ..Default::default()
        };
        accounts
            .put_number(PutNumberRequest {
                number: Some(number),
            })
            .await?;
    }
    Ok(())
}

fn phone_number_ids(payloads: &[(String, Vec<u8>)]) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (_, body) in payloads {
        let post: serde_json::Value = serde_json::from_slice(body)?;
        let entries = post["entry"].as_array().into_iter().flatten();
        for change in entries.flat_map(|entry| entry["changes"].as_array().into_iter().flatten()) {
            let id = &change["value"]["metadata"]["phone_number_id"];
            // The stack's own number is known from the start; what is no id stays parked.
            let id = id.as_str().filter(|id| {
                *id != casement_tests::PHONE_NUMBER_ID
                    && !id.is_empty()
                    && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
            found.extend(id.map(str::to_owned));
        }
    }
    Ok(found)
}

fn payloads(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        let path = file.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read(&path)?;
        let cases: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (name, payload) in cases {
            all.push((format!("{stem}/{name}"), serde_json::to_vec(&payload)?));
        }
    }
    Ok(all)
}

async fn count(client: &async_nats::Client, stream: &str) -> anyhow::Result<u64> {
    let context = async_nats::jetstream::new(client.clone());
    let stream = context.get_stream(stream).await?;
    Ok(stream.cached_info().state.messages)
}

/// How much stands on the log that a webhook may leave behind.
async fn kept(client: &async_nats::Client) -> anyhow::Result<u64> {
    Ok(count(client, "EVENTS").await?
        + count(client, "ACCOUNTS").await?
        + count(client, "MESSAGES").await?)
}

/// Whether the normaliser has nothing in hand.
async fn idle(client: &async_nats::Client) -> anyhow::Result<bool> {
    let context = async_nats::jetstream::new(client.clone());
    let stream = context.get_stream("RAW").await?;
    let info = stream.consumer_info("ingress-normaliser").await?;
    Ok(info.num_pending == 0 && info.num_ack_pending == 0)
}

#[expect(
    clippy::print_stdout,
    reason = "this program's results go to standard output"
)]
fn say(text: &str) {
    println!("{text}");
}
