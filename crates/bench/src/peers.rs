//! What a team would use instead, on the same posts: which updates arrive, what is lost when the
//! process is killed, and how many posts are answered a second.
//!
//! `FastAPI + PostgreSQL` is the handler that a team writes by hand; pywa and whatsapp-api-js are
//! libraries, run as their documentation shows them, with a handler that stores what it is handed.
//! Their code is in `crates/bench/peers`. None of them keeps windows, knows customers or sends: what
//! is compared is taking webhooks, and nothing else. Correctness comes first: posts answered a
//! second are worth nothing if half of what is in them is dropped.

mod cases;
mod server;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use casement_shell::{Clock as _, SystemClock};
use casement_testkit::Postgres;
use clap::Args;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::cases::{Case, Update};
use self::server::{Server, Who};
use crate::cost::{self, Payer, Watched, cores_text};
use crate::load::{self, Load};
use crate::measure::percentile;

/// How often is looked whether enough was answered before the process is killed.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Distinct posts for each second of a rate: so many that none comes twice to those who drop
/// repeats; bytes of all of them.
const POSTS_A_SECOND: usize = 5_000;
const POSTS_BYTES_MAX: usize = 128 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the others are installed, as `./dev bench peers` does it.
    #[arg(long)]
    installed: PathBuf,
    /// Where their handlers are.
    #[arg(long, default_value = "crates/bench/peers")]
    handlers: PathBuf,
    /// Seconds of each rate.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that post.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Updates in a post; each is a measurement of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10])]
    updates: Vec<usize>,
    /// Posts that are answered before the process is killed.
    #[arg(long, default_value_t = 500)]
    answered: usize,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.installed.is_dir(),
        "there is no {}: `./dev bench peers` installs what is compared",
        options.installed.display()
    );
    Box::pin(cost::framed(all(options))).await
}

async fn all(options: &Options) -> anyhow::Result<()> {
    let bench = Bench {
        options,
        postgres: Postgres::start_synced().await,
    };
    bench.correctness().await?;
    bench.kills().await?;
    bench.rates().await
}

struct Bench<'a> {
    options: &'a Options,
    postgres: Postgres,
}

/// Those of whom is asked what arrives.
const STORING: [Who; 4] = [
    Who::Casement,
    Who::FastApi { processes: 1 },
    Who::Pywa { is_stored: true },
    Who::WhatsappApiJs { is_stored: true },
];

/// Those whose rates are measured.
const ALL: [Who; 7] = [
    Who::Casement,
    Who::FastApi { processes: 1 },
    Who::FastApi { processes: 2 },
    Who::Pywa { is_stored: true },
    Who::Pywa { is_stored: false },
    Who::WhatsappApiJs { is_stored: true },
    Who::WhatsappApiJs { is_stored: false },
];

impl Bench<'_> {
    async fn start(&self, who: Who) -> anyhow::Result<Server> {
        let Options {
            installed,
            handlers,
            ..
        } = self.options;
        Server::start(who, installed, handlers, &self.postgres).await
    }

    /// Sends every case to everyone, and tells which updates arrived.
    async fn correctness(&self) -> anyhow::Result<()> {
        let cases = cases::all(SystemClock::new().now());
        let mut columns = Vec::new();
        for who in STORING {
            columns.push(self.arrived(who, &cases).await?);
        }
        println!("Updates that arrived, of those sent\n");
        let names: Vec<String> = STORING.iter().map(|who| who.name()).collect();
        println!("| what was sent | updates | {} |", names.join(" | "));
        println!("|---|---:|{}", "---|".repeat(names.len()));
        for (index, case) in cases.iter().enumerate() {
            let cells: Vec<&str> = columns
                .iter()
                .map(|column| column[index].as_str())
                .collect();
            println!(
                "| {} | {} | {} |",
                case.name,
                case.expected.len(),
                cells.join(" | ")
            );
        }
        println!();
        Ok(())
    }

    /// What arrived of each case.
    async fn arrived(&self, who: Who, cases: &[Case]) -> anyhow::Result<Vec<String>> {
        let mut server = self.start(who).await?;
        let mut answers = Vec::new();
        for case in cases {
            let mut stream = TcpStream::connect(server.address).await?;
            let mut accepted = 0;
            for post in &case.posts {
                accepted += usize::from(send(&mut stream, &post.request(server.address)).await?);
            }
            answers.push(accepted);
        }
        let seen = server.seen(&self.postgres).await?;
        let told = cases.iter().zip(answers);
        Ok(told
            .map(|(case, accepted)| cell(case, accepted, &seen))
            .collect())
    }

    /// Kills everyone's process while posts are answered, and counts which of those are gone.
    async fn kills(&self) -> anyhow::Result<()> {
        println!("Killed while it answered\n");
        println!("| who | answered 200 | of these lost | what a 200 means |");
        println!("|---|---:|---:|---|");
        for who in STORING {
            let mut server = self.start(who).await?;
            let answered = self.answered_until_killed(&mut server).await?;
            let seen: HashSet<Update> = server.seen(&self.postgres).await?.into_iter().collect();
            let lost = answered
                .iter()
                .filter(|update| !seen.contains(update))
                .count();
            println!(
                "| {} | {} | {lost} | {} |",
                who.name(),
                answered.len(),
                who.promise()
            );
        }
        println!("\nCasement's ingress was started again after that, which is how it goes on\n");
        Ok(())
    }

    async fn answered_until_killed(&self, server: &mut Server) -> anyhow::Result<Vec<Update>> {
        let count = Arc::new(AtomicUsize::new(0));
        let now = SystemClock::new().now();
        let (posts, updates) = cases::many(20 * self.options.answered, 1, now);
        let posts: Vec<_> = posts.into_iter().zip(updates).collect();
        let mut running = JoinSet::new();
        let share = posts.len().div_ceil(self.options.connections);
        for part in posts.chunks(share) {
            let (part, address, count) = (part.to_vec(), server.address, Arc::clone(&count));
            running.spawn(async move {
                let mut answered = Vec::new();
                let Ok(mut stream) = TcpStream::connect(address).await else {
                    return answered;
                };
                for (post, update) in part {
                    // An error is the end of the process.
                    match send(&mut stream, &post.request(address)).await {
                        Ok(true) => answered.push(update),
                        Ok(false) => {}
                        Err(_) => break,
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                answered
            });
        }
        while count.load(Ordering::Relaxed) < self.options.answered {
            sleep(LOOK_INTERVAL).await;
            ensure!(server.process.is_running(), "it ended by itself");
        }
        server.process.kill9();
        let mut all = Vec::new();
        while let Some(answered) = running.join_next().await {
            all.extend(answered?);
        }
        Ok(all)
    }

    async fn rates(&self) -> anyhow::Result<()> {
        println!("Posts answered a second\n");
        println!(
            "| updates a post | who | a 200 means | posts/s | p50 | p99 | updates kept | cores: server | broker or database | load |"
        );
        println!("|---:|---|---|---:|---:|---:|---:|---:|---:|---:|");
        for updates in &self.options.updates {
            for who in ALL {
                self.rate(who, *updates).await?;
            }
        }
        println!();
        Ok(())
    }

    async fn rate(&self, who: Who, updates: usize) -> anyhow::Result<()> {
        let mut server = self.start(who).await?;
        let seconds = usize::try_from(self.options.seconds)? + 1;
        let count = (POSTS_A_SECOND * seconds).min(POSTS_BYTES_MAX / (700 * updates));
        let (posts, _) = cases::many(count, updates, SystemClock::new().now());
        let posts: Vec<Bytes> = posts
            .iter()
            .map(|post| post.request(server.address).into())
            .collect();
        // Others than those that are measured: a repeat costs some of them less.
        let (warm, measured) = posts.split_at(posts.len() / 8);
        let mut load = Load {
            address: server.address,
            requests: Arc::new(warm.to_vec()),
            connections: self.options.connections,
            length: Some(Duration::from_secs(1)),
            rate: None,
        };
        load.run().await?;
        load.requests = Arc::new(measured.to_vec());
        load.length = Some(Duration::from_secs(self.options.seconds));
        let kept_before = server.count(&self.postgres).await?;
        let behind = server.behind(&self.postgres);
        let mut payers = vec![
            Payer::Family(server.process.id()),
            Payer::Process(std::process::id()),
        ];
        payers.extend(behind);
        let watched = Watched::start(&payers).await;
        let mut answers = load.run().await?;
        let cores = watched.cores().await;
        let cores = [cores[0], cores.get(2).copied().flatten(), cores[1]].map(cores_text);
        ensure!(
            answers.refused == 0 && !answers.each.is_empty(),
            "{} refused {} posts",
            who.name(),
            answers.refused
        );
        let kept = match kept_before {
            None => "–".to_owned(),
            Some(before) => {
                let after = server.settled(&self.postgres).await?;
                let sent = f64::from(u32::try_from(answers.each.len() * updates)?);
                let kept = f64::from(u32::try_from(after.saturating_sub(before))?);
                format!("{:.0} %", 100.0 * kept / sent)
            }
        };
        let (half, most) = (
            percentile(&mut answers.each, 50),
            percentile(&mut answers.each, 99),
        );
        println!(
            "| {updates} | {} | {} | {:.0} | {half:.2?} | {most:.2?} | {kept} | {} |",
            who.name(),
            who.promise(),
            answers.rate(),
            cores.join(" | ")
        );
        Ok(())
    }
}

/// Sends a post, and returns whether it was answered 200.
async fn send(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<bool> {
    let mut answer = vec![0; load::ANSWER_BYTES_MAX];
    stream.write_all(request).await.context("send")?;
    load::read_answer(stream, &mut answer).await
}

/// What is told of a case: how many of its updates arrived, which twice, and odd answers.
fn cell(case: &Case, accepted: usize, seen: &[Update]) -> String {
    if case.expected.is_empty() {
        let arrived = seen.iter().filter(|update| case.is_of(update)).count();
        return match (accepted, arrived) {
            (0, 0) => "refused".to_owned(),
            (_, arrived) => format!("**answered 200, {arrived} arrived**"),
        };
    }
    let mut arrived = 0;
    let mut twice = 0;
    for update in &case.expected {
        let times = seen.iter().filter(|one| *one == update).count();
        arrived += usize::from(times > 0);
        twice += usize::from(times > 1);
    }
    let all = case.expected.len();
    let mut text = if arrived == all {
        format!("{arrived}")
    } else {
        format!("**{arrived}**")
    };
    if twice > 0 {
        // Writing to text cannot fail.
        let _ = write!(text, ", **{twice} twice**");
    }
    if accepted < case.posts.len() {
        let refused = case.posts.len() - accepted;
        let _ = write!(text, ", {refused} posts not answered 200");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_there_twice_is_told() {
        let cases = cases::all("2026-01-01T00:00:00Z".parse().expect("a time"));
        let three = &cases[1];
        assert_eq!(three.expected.len(), 3);
        let some = [three.expected[0].clone(), three.expected[0].clone()];
        assert_eq!(cell(three, 1, &some), "**1**, **1 twice**");
        assert_eq!(cell(three, 1, &three.expected), "3");
        assert_eq!(cell(three, 0, &[]), "**0**, 1 posts not answered 200");
        let unsigned = cases.last().expect("there are cases");
        assert_eq!(cell(unsigned, 0, &three.expected), "refused");
        assert!(cell(unsigned, 1, &[]).contains("answered 200"));
    }
}
