//! Runs plans in processes of their own, whose randomness is the seed's: of two runs of a plan, each
//! does the same as the other, and one that hangs or breaks takes nothing with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Context as _;

use crate::plan::{Plan, Planted};
use crate::shrink::shrink;

/// What stands before a line of a child that tells what does not hold.
pub const PROBLEM: &str = "PROBLEM: ";

/// What a process's randomness is a function of.
const ENTROPY: &str = "CASEMENT_ENTROPY";

/// Nobody is called, so one certificate is as good as all of the system's, and sooner read.
const CERTIFICATE: &str = include_str!("nobody.pem");

/// Starts processes that run one plan each.
#[derive(Debug)]
pub struct Children {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// What a child told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What does not hold.
    pub problems: Vec<String>,
    /// Everything else, a line each.
    pub history: Vec<String>,
}

/// A seed that failed.
#[derive(Debug)]
pub struct Failed {
    /// The smallest plan found that fails.
    pub plan: Plan,
    /// What did not hold at first.
    pub problems: Vec<String>,
    /// What the smallest plan did.
    pub told: Told,
}

impl Children {
    /// Takes the program that runs one plan.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn of(program: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        std::fs::write(folder.path().join("nobody.pem"), CERTIFICATE).context("write a file")?;
        std::fs::write(folder.path().join("token"), "token").context("write a file")?;
        Ok(Self {
            program: program.into(),
            folder,
        })
    }

    /// Where the token of the number is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn run(&self, plan: &Plan) -> anyhow::Result<Told> {
        let output = Command::new(&self.program)
            .args(plan.arguments())
            .arg(format!("--folder={}", self.folder.path().display()))
            .env(ENTROPY, plan.seed.to_string())
            .env("SSL_CERT_FILE", self.folder.path().join("nobody.pem"))
            .env("SSL_CERT_DIR", self.folder.path())
            .output()
            .context("run the simulation's program")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (mut problems, mut history) = (Vec::new(), Vec::new());
        for line in text.lines() {
            match line.strip_prefix(PROBLEM) {
                Some(problem) => problems.push(problem.to_owned()),
                None => history.push(line.to_owned()),
            }
        }
        if !output.status.success() && problems.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            problems.push(format!("it broke: {} {said}", output.status));
        }
        Ok(Told { problems, history })
    }

    /// Runs seeds, so many at a time, and makes those that fail smaller.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn run_all(
        &self,
        (first, count): (u64, u64),
        at_once: usize,
        planted: Planted,
    ) -> anyhow::Result<Vec<Failed>> {
        let next = AtomicU64::new(first);
        let failed: Mutex<BTreeMap<u64, Failed>> = Mutex::default();
        let work = || -> anyhow::Result<()> {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return Ok(());
                }
                let plan = Plan::of(seed).with(planted);
                let told = self.run(&plan)?;
                if !told.problems.is_empty() {
                    let found = self.smallest(&plan, told)?;
                    let mut failed = failed
                        .lock()
                        .map_err(|_| anyhow::anyhow!("a worker broke"))?;
                    failed.insert(seed, found);
                }
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                let ended = worker.join();
                ended.map_err(|_| anyhow::anyhow!("a worker broke"))?
            })
        })?;
        let failed = failed.into_inner();
        let failed = failed.map_err(|_| anyhow::anyhow!("a worker broke"))?;
        Ok(failed.into_values().collect())
    }

    fn smallest(&self, plan: &Plan, told: Told) -> anyhow::Result<Failed> {
        let fails = |candidate: &Plan| {
            let told = self.run(candidate);
            told.is_ok_and(|told| !told.problems.is_empty())
        };
        let small = shrink(plan, fails);
        Ok(Failed {
            told: self.run(&small)?,
            plan: small,
            problems: told.problems,
        })
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seed, problems) = (self.plan.seed, self.problems.join("; "));
        writeln!(out, "seed {seed} FAILED: {problems}")?;
        writeln!(out, "the smallest of it that fails:")?;
        for line in self
            .plan
            .to_string()
            .lines()
            .chain(self.told.history.iter().map(String::as_str))
        {
            writeln!(out, "  {line}")?;
        }
        for problem in &self.told.problems {
            writeln!(out, "  {PROBLEM}{problem}")?;
        }
        let plant = match self.plan.arguments().last() {
            Some(last) if last.starts_with("--plant") => format!(" {last}"),
            _ => String::new(),
        };
        writeln!(out, "again: ./dev simulate --seeds {seed}:1{plant}")
    }
}
