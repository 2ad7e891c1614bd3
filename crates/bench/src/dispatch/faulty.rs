//! Many messages to a provider that fails in every way it can, by a dispatcher that is killed
//! again and again: none is lost, no attempt is called for twice, every message ends, and every
//! risk that was taken stands on the log.
//!
//! It fails, with the claims that do not hold and where, if they do not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use casement_simulator::{Fault, FaultSpec, Handle, Outcome, SentMessage, Status};
use clap::Args;
use jiff::SignedDuration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::audit::{Audit, Call, audit};
use super::life::Followed;
use super::scene::{Plan, Scene, THROUGHPUT};
use super::sender::Sender;
use crate::roles::{Role, Running};

/// Business numbers. When the platform says that a number is too fast, all of that number waits,
/// and longer each time; spread over many, the run is not one long wait.
const NUMBERS: usize = 20;

/// Requests that callers have under way at once; fewer in a small run, so that it meets kills, too.
const AT_ONCE: usize = 128;

/// How many messages may be under way before callers wait.
const UNDER_WAY_MAX: usize = 5_000;

/// How often books and log are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How long nothing may happen to any message.
const SILENCE_MAX: Duration = Duration::from_mins(2);

/// How long the end may take, once every message has ended.
const QUIET_MAX: Duration = Duration::from_mins(5);

/// How late reports come that are late: later than a message of unknown outcome waits for them.
const LATE: SignedDuration = SignedDuration::from_secs(12);

/// The dispatcher's settings: short waits, and a policy that takes risks.
const DISPATCHER: &str = r#"call_by = "2s"
call_timeout = "2s"
reconcile_after = "5s"
on_unknown = "retry"
lease = "3s"
"#;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Messages of the faulty run.
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// How often the dispatcher is killed in it.
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// By how much each fault is more frequent.
    #[arg(long, default_value_t = 1)]
    severity: u16,
    /// Decides where faults happen.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) async fn run(options: &Options, customers: usize, program: &Path) -> anyhow::Result<()> {
    let Options {
        messages, kills, ..
    } = *options;
    println!("{messages} messages to a faulty provider, the dispatcher killed {kills} times\n");
    let plan = Plan {
        program,
        customers: customers.min(messages).max(1),
        numbers: NUMBERS,
        other_brands: 0,
        dispatcher: DISPATCHER,
        is_limited: true,
        throughput: THROUGHPUT,
        seed: options.seed,
    };
    let scene = Scene::set(&plan).await?;
    let mut roles = scene.play().await?;
    let position = roles
        .iter()
        .position(|role| role.name() == Role::Dispatcher.name())
        .context("the dispatcher runs")?;
    let mut dispatcher = roles.remove(position);
    for fault in faults(options.severity) {
        scene.provider.inject(fault);
    }
    let followed = Followed::start(&scene.context).await?;
    let books = Books::default();
    let sender = Sender::new(&dispatcher, scene.who)?;
    let begun = Instant::now();
    let asked = {
        let reading = books.read(&scene.provider);
        let working = async {
            let asking = ask(&sender, &followed, messages);
            let killing = kill(&scene, &mut dispatcher, &followed, messages, kills);
            let (asked, ()) = tokio::try_join!(asking, killing)?;
            all_ended(&followed, messages).await?;
            let took = begun.elapsed();
            finish(&scene, &followed).await?;
            anyhow::Ok((asked, took))
        };
        tokio::select! {
            never = reading => match never {},
            done = working => done,
        }
    };
    let (asked, took) = asked.with_context(|| {
        format!(
            "the dispatcher's log ends:\n{}",
            tail(&dispatcher.process.stderr())
        )
    })?;
    books.take(&scene.provider);
    let calls = books.calls();
    let found = followed.look(|lives| audit(&asked, &calls, lives));
    let count = scene.provider.sent_count();
    ensure!(
        u64::try_from(calls.len())? == count,
        "the provider was called {count} times, and {} calls were read",
        calls.len()
    );
    tell(&found, &books, sender.repeats(), messages, took);
    drop((dispatcher, roles));
    let broken = found.broken();
    if !broken.is_empty() {
        bail!("claims that do not hold:\n{}", broken.join("\n"));
    }
    println!("\nevery claim holds\n");
    Ok(())
}

/// What goes wrong, and on how many of a thousand occasions.
fn faults(severity: u16) -> Vec<FaultSpec> {
    let server_error = |accepts| Fault::ServerError {
        status: 503,
        accepts,
    };
    [
        // Of calls: 2 % time out after acceptance, 2 % are answered 503, 1 % are refused as too
        // fast, most of them for one customer, since for a number all of that number waits.
        (Fault::TimeoutAfterAcceptance, 20),
        (server_error(true), 10),
        (server_error(false), 10),
        (Fault::GraphError { code: 131_056 }, 9),
        (Fault::GraphError { code: 130_429 }, 1),
        // Of messages: all that is reported comes too late to tell an unknown outcome.
        (Fault::DelayReports { by: LATE }, 50),
        // Of webhooks.
        (Fault::DuplicateWebhooks { copies: 1 }, 50),
        (
            Fault::DelayWebhooks {
                by: SignedDuration::from_millis(300),
            },
            100,
        ),
    ]
    .into_iter()
    .map(|(fault, share)| {
        let share = share * severity.max(1);
        FaultSpec::from(fault).per_thousand(share.min(500))
    })
    .collect()
}

/// Asks for all messages, each until it is accepted; returns their ids.
async fn ask(sender: &Sender, followed: &Followed, count: usize) -> anyhow::Result<Vec<String>> {
    let next = Arc::new(AtomicUsize::new(0));
    let ahead = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    let under_way_max = UNDER_WAY_MAX.min(count / 4);
    for _ in 0..AT_ONCE.min(count.div_ceil(8)) {
        let (sender, next, ahead) = (sender.clone(), Arc::clone(&next), Arc::clone(&ahead));
        callers.spawn(async move {
            let mut asked = Vec::new();
            loop {
                while ahead.load(Ordering::Relaxed) > under_way_max {
                    sleep(LOOK_INTERVAL).await;
                }
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(asked);
                }
                asked.push(sender.insist(index).await?);
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    loop {
        tokio::select! {
            done = callers.join_next() => match done {
                Some(asked) => all.extend(asked??),
                None => return Ok(all),
            },
            () = sleep(LOOK_INTERVAL) => {
                let begun = next.load(Ordering::Relaxed);
                let ended = followed.look(|lives| lives.ended);
                ahead.store(begun.saturating_sub(ended), Ordering::Relaxed);
            }
        }
    }
}

/// Kills the dispatcher, evenly over the messages that end, and starts it again.
async fn kill(
    scene: &Scene,
    dispatcher: &mut Running,
    followed: &Followed,
    messages: usize,
    kills: usize,
) -> anyhow::Result<()> {
    for turn in 1..=kills {
        let at = messages * turn / (kills + 1);
        until(followed, |ended| ended >= at).await?;
        scene.system.kill_and_start(dispatcher);
        dispatcher.ready().await?;
    }
    Ok(())
}

async fn all_ended(followed: &Followed, messages: usize) -> anyhow::Result<()> {
    // Those that do not end are found, and told, by the audit.
    match until(followed, |ended| ended >= messages).await {
        Err(error) if !followed.is_followed() => Err(error),
        _ => Ok(()),
    }
}

/// Waits until enough messages have ended; fails when nothing happens any more.
async fn until(followed: &Followed, is_enough: impl Fn(usize) -> bool) -> anyhow::Result<()> {
    let (mut events, mut moved) = (0, Instant::now());
    loop {
        let (ended, now) = followed.look(|lives| (lives.ended, lives.events));
        if is_enough(ended) {
            return Ok(());
        }
        if now != events {
            (events, moved) = (now, Instant::now());
        }
        ensure!(followed.is_followed(), "the log can no longer be read");
        ensure!(
            moved.elapsed() < SILENCE_MAX,
            "nothing happens any more; {ended} messages have ended"
        );
        sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until the provider has reported all that it took, and all of that is on the log.
async fn finish(scene: &Scene, followed: &Followed) -> anyhow::Result<()> {
    scene.provider.clear_faults();
    let begun = Instant::now();
    let is_reported =
        |sent: &SentMessage| !sent.is_accepted() || sent.was_reported(Status::Delivered);
    while !scene.provider.sent().iter().all(is_reported) {
        ensure!(begun.elapsed() < QUIET_MAX, "reports do not come");
        sleep(Duration::from_secs(1)).await;
    }
    scene.quiet(None, QUIET_MAX).await?;
    while followed.look(|lives| lives.behind) > 0 {
        ensure!(followed.is_followed(), "the log can no longer be read");
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// The provider's books, read while they are kept: they forget what is old.
#[derive(Default)]
struct Books {
    read: std::sync::Mutex<Read>,
}

#[derive(Default)]
struct Read {
    next: u64,
    calls: Vec<Call>,
    refused: usize,
    not_processed: usize,
}

impl Books {
    async fn read(&self, provider: &Handle) -> std::convert::Infallible {
        loop {
            self.take(provider);
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn take(&self, provider: &Handle) {
        let mut read = self.lock();
        for sent in provider.sent_since(read.next) {
            read.next = sent.seq + 1;
            match sent.outcome {
                Outcome::Accepted => {}
                Outcome::Refused(_) => read.refused += 1,
                Outcome::NotProcessed => read.not_processed += 1,
            }
            read.calls.push(Call {
                is_accepted: sent.is_accepted(),
                named: sent.callback_data,
            });
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn tell(found: &Audit, books: &Books, repeats: usize, messages: usize, took: Duration) {
    let read = books.lock();
    let taken = read.calls.iter().filter(|call| call.is_accepted).count();
    println!("| what | count |");
    println!("|---|---:|");
    let row = |what: &str, count: usize| println!("| {what} | {count} |");
    row("requests accepted", messages);
    row("requests repeated by callers who heard nothing", repeats);
    row("calls in the provider's books", read.calls.len());
    row("of these taken, answered or not", taken);
    row("of these refused as too fast", read.refused);
    row("of these failed and not taken", read.not_processed);
    row("claims on the log", found.attempts);
    row("attempts of unknown outcome", found.unknown);
    row("of these told by a report", found.reported);
    row("risks taken: repeated without knowing", found.risks);
    row("of these the provider had taken", found.came_true);
    row("messages that are told as received twice", found.exposures);
    row(
        "attempts left open: another had arrived meanwhile",
        found.left,
    );
    for (end, count) in &found.ends {
        let end = end.trim_start_matches("MESSAGE_OUTCOME_").to_lowercase();
        row(&format!("messages that ended: {end}"), *count);
    }
    let rate = crate::measure::rate(messages, took);
    println!("| took | {took:.1?}, {rate} |");
}

/// The end of a log.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
