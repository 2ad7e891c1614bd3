//! Every benchmark, one after the other: a page of their tables, plots of them, and a file of their
//! figures.
//!
//! Each runs as a process of its own, by the very command that stands above its table. One that
//! fails is told of on the page, the others run all the same, and the whole fails at its end.

mod charts;
mod versions;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::Instant;

use crate::figures::{self, Figure};
use crate::{cost, page};

/// What the part of the page is called.
const PART: &str = "bench all";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run of a few minutes, whose figures say that everything works and little else.
    #[arg(long)]
    small: bool,
    /// Measure this alone; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Measure>,
    /// The `casement` whose roles are measured; by default the one that was built beside this
    /// program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// The page to write to, between its markers.
    #[arg(long, default_value = "docs/benchmarks.md")]
    page: PathBuf,
    /// The folder for plots; seen from the page, it has to be beside it.
    #[arg(long, default_value = "docs/benchmarks")]
    plots: PathBuf,
    /// The file for figures as lines of JSON, for `bench compare`.
    #[arg(long, default_value = "target/bench/figures.jsonl")]
    figures: PathBuf,
    /// Where other programs were installed to be measured beside this one; without it they are
    /// left out.
    #[arg(long)]
    peers: Option<PathBuf>,
}

/// A benchmark, by the name of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    Append,
    Ingest,
    Window,
    Dispatch,
    Archive,
    DeadlineIndex,
    Replicas,
    Peers,
}

impl Measure {
    const ALL: [Self; 8] = [
        Self::Append,
        Self::Ingest,
        Self::Window,
        Self::Dispatch,
        Self::Archive,
        Self::DeadlineIndex,
        Self::Replicas,
        Self::Peers,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Ingest => "ingest",
            Self::Window => "window",
            Self::Dispatch => "dispatch",
            Self::Archive => "archive",
            Self::DeadlineIndex => "deadline-index",
            Self::Replicas => "replicas",
            Self::Peers => "peers",
        }
    }

    /// Whether it starts roles from the built `casement`.
    fn has_roles(self) -> bool {
        matches!(
            self,
            Self::Window | Self::Dispatch | Self::Archive | Self::Replicas
        )
    }

    /// What it is run with. The check `dispatch --only faulty` is no measurement, and not among
    /// these.
    fn options(self, is_small: bool) -> &'static str {
        match (self, is_small) {
            (Self::Append | Self::Ingest | Self::Window | Self::Replicas | Self::Peers, false) => {
                ""
            }
            (Self::Dispatch, false) => {
                "--only throughput --only latency --only fair --customers 6000 --burst 6000"
            }
            (Self::Archive, false) => "--database sqlite --conversations 100000",
            (Self::DeadlineIndex, false) => "--subjects 300000",
            (Self::Append, true) => "--count 20",
            (Self::Ingest, true) => {
                "--seconds 1 --connections 16 --updates 1 --normalise 500 --customers 200"
            }
            (Self::Window, true) => {
                "--only latency --only throughput --rates 20,50 --seconds 2 --burst 200 \
                 --customers 100 --sustained-seconds 3"
            }
            (Self::Dispatch, true) => {
                "--only throughput --only latency --customers 100 --burst 100 --rates 10 --seconds 2"
            }
            (Self::Archive, true) => {
                "--database sqlite --conversations 300 --bulk 400 --rate 100 --seconds 2 --reads 20"
            }
            (Self::DeadlineIndex, true) => "--subjects 2000 --rounds 1",
            (Self::Replicas, true) => "--of 1,2 --customers 40 --messages 80",
            (Self::Peers, true) => "--seconds 1 --connections 16",
        }
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let is_meant = |measure: &Measure| {
        (options.only.is_empty() || options.only.contains(measure))
            && (*measure != Measure::Peers || options.peers.is_some())
    };
    let versions = versions::all(options.program.as_deref()).await;
    let mut runs = Vec::new();
    for measure in Measure::ALL.into_iter().filter(is_meant) {
        runs.push(Run::of(measure, options).await?);
    }
    ensure!(!runs.is_empty(), "nothing was to be measured");

    let all: Vec<Figure> = runs.iter().flat_map(Run::figures).collect();
    keep(&options.figures, &versions, &all)?;
    let folder = options
        .plots
        .file_name()
        .context("a folder for plots")?
        .to_string_lossy()
        .into_owned();
    std::fs::create_dir_all(&options.plots).context("a folder for plots")?;
    let mut images = String::new();
    for chart in charts::all(&all) {
        std::fs::write(options.plots.join(chart.file), chart.svg)?;
        // Writing to text cannot fail.
        let _ = write!(images, "![{}]({folder}/{})\n\n", chart.title, chart.file);
    }
    let text = text(options, &versions, &images, &runs);
    page::write(&options.page, PART, &text)?;
    println!(
        "wrote {}, plots into {}, {} figures into {}",
        options.page.display(),
        options.plots.display(),
        all.len(),
        options.figures.display()
    );
    let failed: Vec<&str> = runs
        .iter()
        .filter(|run| run.failure.is_some())
        .map(|run| run.measure.name())
        .collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// One benchmark that was run.
struct Run {
    measure: Measure,
    /// What a person would type for it.
    command: String,
    said: String,
    failure: Option<String>,
    seconds: u64,
    /// Load averages before and after.
    loads: [String; 2],
}

impl Run {
    async fn of(measure: Measure, options: &Options) -> anyhow::Result<Self> {
        let words: Vec<&str> = measure.options(options.small).split_whitespace().collect();
        let command = ["./dev bench", measure.name()]
            .into_iter()
            .chain(words.iter().copied())
            .collect::<Vec<_>>()
            .join(" ");
        println!("\n$ {command}");
        let program = std::env::current_exe().context("where this program is")?;
        let mut child = Command::new(program);
        child.arg(measure.name()).args(words);
        if let Some(program) = options.program.as_deref().filter(|_| measure.has_roles()) {
            child.arg("--program").arg(program);
        }
        if let Some(peers) = options
            .peers
            .as_deref()
            .filter(|_| measure == Measure::Peers)
        {
            child.arg("--installed").arg(peers);
        }
        let before = cost::load().await;
        let begun = Instant::now();
        let (said, failure) = heard(child).await?;
        Ok(Self {
            measure,
            command,
            said,
            failure,
            seconds: begun.elapsed().as_secs(),
            loads: [before, cost::load().await],
        })
    }

    fn figures(&self) -> Vec<Figure> {
        figures::read(self.measure.name(), &self.said)
    }

    fn text(&self) -> String {
        let [before, after] = &self.loads;
        // Told once for all of them.
        let said: Vec<&str> = self
            .said
            .lines()
            .filter(|line| !line.starts_with("machine: ") && !line.starts_with("load averages "))
            .collect();
        let failure = match &self.failure {
            None => String::new(),
            Some(failure) => format!("\n**It failed**:\n\n```text\n{failure}\n```\n"),
        };
        format!(
            "### `{}`\n\n{} s; load averages {before} before, {after} after.\n\n{}\n{failure}\n",
            self.command,
            self.seconds,
            said.join("\n").trim()
        )
    }
}

/// Runs a program and shows what it says while it says it; returns that, and why it failed if it
/// did.
async fn heard(mut command: Command) -> anyhow::Result<(String, Option<String>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start a benchmark")?;
    let stdout = child.stdout.take().context("its output")?;
    let stderr = child.stderr.take().context("its complaints")?;
    let listen = async {
        let mut said = String::new();
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            println!("{line}");
            said.push_str(&line);
            said.push('\n');
        }
        anyhow::Ok(said)
    };
    let complaints = async {
        let mut last: Vec<String> = Vec::new();
        let mut lines = BufReader::new(stderr).lines();
        while let Some(line) = lines.next_line().await? {
            last.push(line);
            if last.len() > COMPLAINTS_MAX {
                last.remove(0);
            }
        }
        anyhow::Ok(last)
    };
    let (said, last, exit) = tokio::join!(listen, complaints, child.wait());
    let failure = match exit? {
        exit if exit.success() => None,
        exit => Some(format!("{exit}\n{}", last?.join("\n"))),
    };
    Ok((said?, failure))
}

/// How many of its last lines of complaint are shown of a benchmark that failed.
const COMPLAINTS_MAX: usize = 12;

/// Adds the figures to the file, after a line that says what run they are of.
fn keep(path: &Path, versions: &[(String, String)], all: &[Figure]) -> anyhow::Result<()> {
    let run: serde_json::Map<_, _> = versions
        .iter()
        .map(|(what, which)| (what.clone(), json!(which)))
        .collect();
    let mut lines = json!({ "run": run }).to_string();
    lines.push('\n');
    for figure in all {
        lines.push_str(&serde_json::to_string(figure)?);
        lines.push('\n');
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, lines).with_context(|| path.display().to_string())
}

fn text(options: &Options, versions: &[(String, String)], images: &str, runs: &[Run]) -> String {
    let mut text = String::from("## One run of everything\n\n");
    let command = if options.small {
        "./dev bench all --small"
    } else {
        "./dev bench all"
    };
    // Writing to text cannot fail.
    let _ = write!(text, "`{command}`, by this machine and these programs:\n\n");
    if options.small {
        text.push_str("A small run: it shows that everything works; its figures say little.\n\n");
    }
    text.push_str("| what | which |\n|---|---|\n");
    for (what, which) in versions {
        // Writing to text cannot fail.
        let _ = writeln!(text, "| {what} | {which} |");
    }
    text.push('\n');
    text.push_str(images);
    for run in runs {
        text.push_str(&run.text());
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_measure_is_called_as_its_command_is() {
        for measure in Measure::ALL {
            let value = measure.to_possible_value().expect("a measure has a name");
            assert_eq!(value.get_name(), measure.name());
        }
        assert_eq!(Measure::ALL.len(), Measure::value_variants().len());
    }
}
