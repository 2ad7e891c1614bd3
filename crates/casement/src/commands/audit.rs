//! `casement audit verify`: recomputes the archive's chain, through the API or in the file itself.

use std::path::{Path, PathBuf};

use anyhow::bail;
use casement_proto::audit::v1::{ChainReport, ListEventsRequest, VerifyChainRequest};
use clap::{Args, Subcommand};

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

/// Events on a page of an export.
const EXPORT_PAGE_SIZE: i32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Recompute the chain; fails if a row does not fit
    Verify(VerifyArgs),
    /// Write archived events to standard output, one line of JSON each, in stream order
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// EVENTS, MESSAGES, ACCOUNTS or CUSTOMERS; all if left out
    #[arg(long, value_name = "STREAM", default_value = "")]
    stream: String,
    /// Check this database file itself; nothing else needs to run
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only events of this brand; a token sees its own brand's anyway
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// EVENTS, MESSAGES, ACCOUNTS or CUSTOMERS; all if left out
    #[arg(long, value_name = "STREAM", default_value = "")]
    stream: String,
    /// Only this type, such as casement.events.v1.MessageEnded
    #[arg(long, value_name = "TYPE", default_value = "")]
    event_type: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(args) => verify(args).await,
        AuditCommand::Export(args) => export(args).await,
    }
}

/// Writes events page by page, so that an archive of any size takes no more memory than a page.
async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut page_token = String::new();
    loop {
        let request = ListEventsRequest {
            stream: args.stream.clone(),
            event_type: args.event_type.clone(),
            brand_id: args.brand.clone(),
            page_size: EXPORT_PAGE_SIZE,
            page_token,
            ..ListEventsRequest::default()
        };
        let asked = api.audit().list_events(request).await;
        let answer = asked.map_err(explain)?.into_inner();
        for event in &answer.events {
            output::json(&json::of("casement.audit.v1.ArchivedEvent", event)?)?;
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn verify(args: VerifyArgs) -> anyhow::Result<()> {
    let reports = if let Some(path) = &args.database {
        in_file(path, &args.stream).await?
    } else {
        let api = Api::connect(&args.api).await?;
        let request = VerifyChainRequest {
            stream: args.stream.clone(),
        };
        api.audit()
            .verify_chain(request)
            .await
            .map_err(explain)?
            .into_inner()
            .reports
    };
    for report in &reports {
        if args.api.output.json {
            output::json(&json::of("casement.audit.v1.ChainReport", report)?)?;
        } else {
            output::line(line_of(report))?;
        }
    }
    let broken = reports.iter().filter(|report| !report.intact).count();
    if broken > 0 {
        bail!("{broken} of {} chains are broken", reports.len());
    }
    Ok(())
}

/// Checks a database file itself; tells the same as the API does.
async fn in_file(path: &Path, stream: &str) -> anyhow::Result<Vec<ChainReport>> {
    let reports = casement_audit_projector::verify(path).await?;
    let told = reports
        .into_iter()
        .filter(|report| stream.is_empty() || report.stream == stream)
        .map(|report| ChainReport {
            intact: report.is_intact(),
            stream: report.stream,
            incarnation: report.incarnation,
            checked_count: report.checked_count,
            last_sequence: report.last_sequence,
            head: report.head.to_vec(),
            broken_sequence: report.broken.as_ref().map_or(0, |broken| broken.sequence),
            explanation: report
                .broken
                .map(|broken| broken.explanation)
                .unwrap_or_default(),
        });
    Ok(told.collect())
}

/// Tells one chain.
pub(crate) fn line_of(report: &ChainReport) -> String {
    if report.intact {
        let head = report
            .head
            .iter()
            .take(8)
            .fold(String::new(), |mut text, byte| {
                use std::fmt::Write as _;
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            });
        return format!(
            "{:<10} intact: {} events up to {}, head {head}…",
            report.stream, report.checked_count, report.last_sequence
        );
    }
    format!(
        "{:<10} BROKEN at {}: {}",
        report.stream, report.broken_sequence, report.explanation
    )
}
