//! `casement audit verify`: of a running Casement, a database or an export, each told alike.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use casement_audit_projector::{Proof, VerifierKey, verify_archive, verify_export};
use casement_proto::audit::v1::{ChainReport, VerifyChainRequest};
use clap::Args;

use super::{DatabaseArgs, text_of, time};
use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

/// Findings of one chain that are told on the terminal; `--json` has them all.
const FINDINGS_TOLD: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// EVENTS, MESSAGES, ACCOUNTS, CUSTOMERS or DEAD; all if left out
    #[arg(long, value_name = "STREAM", default_value = "")]
    stream: String,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Check this export, as `casement audit export` wrote it; nothing else needs to run
    #[arg(long, value_name = "FILE", conflicts_with_all = ["database", "database_url_file"])]
    export: Option<PathBuf>,
    /// Public key that signed heads are checked with, as `casement audit key` prints it, or a file
    /// of such keys; may be repeated. Each chain must then have a head that one of them signed
    #[arg(long = "key", value_name = "KEY|FILE")]
    keys: Vec<String>,
    /// Signed head that was kept elsewhere; may be repeated
    #[arg(long = "head", value_name = "FILE", requires = "keys")]
    heads: Vec<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let place = args.database.place()?;
    let (reports, problems) = if let Some(path) = &args.export {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let report = verify_export(BufReader::new(file), &proof(&args)?)?;
        (
            report.chains.into_iter().map(Into::into).collect(),
            report.problems,
        )
    } else if let Some(place) = place {
        let masters = args.database.masters()?;
        let reports = verify_archive(&place, masters, &proof(&args)?).await?;
        (reports.into_iter().map(Into::into).collect(), Vec::new())
    } else {
        if !args.keys.is_empty() {
            bail!("--key checks a database or an export: a running Casement checks with its own");
        }
        (asked(&args).await?, Vec::new())
    };
    tell(&reports, &problems, args.api.output.json)?;
    let broken = reports
        .iter()
        .filter(|report: &&ChainReport| !report.intact)
        .count();
    if broken > 0 {
        bail!("{broken} of {} chains are broken", reports.len());
    }
    if !problems.is_empty() {
        bail!("the export is not whole");
    }
    Ok(())
}

async fn asked(args: &VerifyArgs) -> anyhow::Result<Vec<ChainReport>> {
    let api = Api::connect(&args.api).await?;
    let request = VerifyChainRequest {
        stream: args.stream.clone(),
    };
    let asked = api.audit().verify_chain(request).await;
    Ok(asked.map_err(explain)?.into_inner().reports)
}

fn proof(args: &VerifyArgs) -> anyhow::Result<Proof> {
    let mut keys: Vec<VerifierKey> = Vec::new();
    for key in &args.keys {
        if let Ok(key) = key.parse() {
            keys.push(key);
            continue;
        }
        let text = text_of(Path::new(key)).context("--key is neither a key nor a file")?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            keys.push(line.parse().with_context(|| format!("a line of {key}"))?);
        }
    }
    let mut kept_heads = Vec::new();
    for path in &args.heads {
        kept_heads.extend(notes_in(&text_of(path)?));
    }
    Ok(Proof {
        stream: Some(args.stream.clone()).filter(|stream| !stream.is_empty()),
        must_be_signed: !keys.is_empty(),
        keys,
        kept_heads,
    })
}

/// Takes a file of signed notes apart: each ends with its signatures.
fn notes_in(text: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let mut is_signed = true;
    for line in text.trim_end().lines() {
        let is_signature = line.starts_with("\u{2014} ");
        if is_signed && !is_signature {
            if line.is_empty() {
                continue;
            }
            notes.push(String::new());
        }
        is_signed = is_signature;
        if let Some(note) = notes.last_mut() {
            note.push_str(line);
            note.push('\n');
        }
    }
    notes
}

fn tell(reports: &[ChainReport], problems: &[String], as_json: bool) -> anyhow::Result<()> {
    for report in reports {
        if as_json {
            output::json(&json::of("casement.audit.v1.ChainReport", report)?)?;
            continue;
        }
        output::line(line_of(report))?;
        for finding in report.findings.iter().take(FINDINGS_TOLD) {
            let place = if finding.sequence == finding.last_sequence {
                format!("at {}", finding.sequence)
            } else {
                format!("from {} to {}", finding.sequence, finding.last_sequence)
            };
            output::line(format!("    {place}: {}", finding.explanation))?;
            output::line(format!("        → {}", finding.advice))?;
        }
        let told = report.findings.len().min(FINDINGS_TOLD) as u64;
        let all = report.findings.len() as u64 + report.more_findings_count;
        if all > told {
            output::line(format!("    and {} more", all - told))?;
        }
    }
    for problem in problems {
        if as_json {
            output::json(&serde_json::json!({ "problem": problem }))?;
        } else {
            output::line(problem)?;
        }
    }
    Ok(())
}

/// Tells one chain.
pub(crate) fn line_of(report: &ChainReport) -> String {
    if !report.intact {
        return format!(
            "{:<10} BROKEN at {}: {}",
            report.stream, report.broken_sequence, report.explanation
        );
    }
    let head = report.head.iter().take(8);
    let head = head.fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let mut line = format!(
        "{:<10} intact: {} events up to {}, head {head}…",
        report.stream, report.checked_count, report.last_sequence
    );
    if report.verified_head_count > 0 {
        let at = time(report.signed_time.as_ref()).unwrap_or_default();
        let _ = write!(line, ", signed to {} at {at}", report.signed_sequence);
    } else if report.signed_head_count > 0 {
        line.push_str(", signatures not checked: no key");
    }
    for (count, what) in [
        (report.missing_count, "never archived"),
        (report.erased_count, "erased"),
        (report.sealed_count, "sealed"),
        (report.withheld_count, "left out"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_signed_notes_is_taken_apart_however_it_was_kept() {
        let one = "a.example\narchive head 1\n\n\u{2014} a.example AAAA\n";
        let two = "b.example\nx\n\ny\n\n\u{2014} b.example AAAA\n\u{2014} c.example AAAA\n";
        for file in [format!("{one}{two}"), format!("{one}\n{two}\n\n")] {
            assert_eq!(notes_in(&file), [one, two], "{file:?}");
        }
        assert_eq!(notes_in(""), [] as [&str; 0]);
    }
}
