//! `casement audit`: whether the archive is what was archived, asked of a running Casement, of a
//! database or of an export; and the archive itself, written out to be checked elsewhere.

mod rebuild;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use casement_audit_projector::{ArchivePlace, ExportAsked, export_archive};
use casement_proto::audit::v1::{
    ArchiveChain, ExportArchiveRequest, ListChainsRequest, ListEventsRequest,
    ListSignedHeadsRequest, SignedHead,
};
use casement_secrets::keys::MasterKeys;
use casement_shell::config::Secret;
use casement_shell::{Clock as _, SystemClock};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

pub(crate) use verify::line_of;

/// Events or heads on a page.
const PAGE_SIZE: i32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Recompute the chains and compare them with what was signed; fails if something is wrong
    Verify(verify::VerifyArgs),
    /// Write the archive to standard output, one line of JSON a piece, with all that it takes to
    /// check it: `casement audit verify --export`
    Export(ExportArgs),
    /// List the chains: one for each life of a stream, with where it begins and ends
    Chains(StreamArgs),
    /// Print what was signed of the chains, as signed notes
    Heads(HeadsArgs),
    /// Have lists, searches and figures made anew from the archive; the old ones are served
    /// meanwhile
    Rebuild(rebuild::RebuildArgs),
    /// Print the public keys that signed heads are checked with; the first one signs
    Key(ApiArgs),
}

/// A database, instead of a running Casement.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// Read this database itself, an SQLite file or postgres://…; nothing else needs to run
    #[arg(long, value_name = "FILE|URL")]
    database: Option<String>,
    /// File that holds the address of the database
    #[arg(long, value_name = "FILE", conflicts_with = "database")]
    database_url_file: Option<PathBuf>,
    /// File with the master key, to open what is sealed in the database; without it, sealed rows
    /// are checked by their commitments
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// Returns where the database is; `None` if a running Casement is to be asked.
    fn place(&self) -> anyhow::Result<Option<ArchivePlace>> {
        if let Some(path) = &self.database_url_file {
            let url = Secret::File(path.clone()).resolve()?;
            return Ok(Some(ArchivePlace::Url(url)));
        }
        Ok(self.database.as_ref().map(|database| {
            if ["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| database.starts_with(scheme))
            {
                ArchivePlace::Url(SecretString::from(database.as_str()))
            } else {
                ArchivePlace::File(database.into())
            }
        }))
    }

    fn masters(&self) -> anyhow::Result<Arc<MasterKeys>> {
        let file = self.master_key_file.clone().map(Secret::File);
        let config = casement_secrets::Config { master_key: file };
        Ok(Arc::new(config.customer_keys()?))
    }
}

#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    /// EVENTS, MESSAGES, ACCOUNTS, CUSTOMERS or DEAD; all if left out
    #[arg(long, value_name = "STREAM", default_value = "")]
    stream: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HeadsArgs {
    /// Only those of this life of a stream
    #[arg(long, value_name = "INCARNATION", default_value = "")]
    incarnation: String,
    /// Only the newest one of each chain
    #[arg(long)]
    newest: bool,
    #[command(flatten)]
    of: StreamArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only the content of this brand's events; a token gets its own brand's anyway
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// EVENTS, MESSAGES, ACCOUNTS, CUSTOMERS or DEAD; all if left out
    #[arg(long, value_name = "STREAM", default_value = "")]
    stream: String,
    /// Only the content of this type, such as casement.events.v1.MessageEnded
    #[arg(long, value_name = "TYPE", default_value = "")]
    event_type: String,
    /// Write the events alone, with their payloads as JSON, for people and their tools; cannot be
    /// checked
    #[arg(long, conflicts_with = "database")]
    plain: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(args) => verify::run(args).await,
        AuditCommand::Export(args) => export(args).await,
        AuditCommand::Chains(args) => chains(args).await,
        AuditCommand::Heads(args) => heads(args).await,
        AuditCommand::Rebuild(args) => rebuild::run(args).await,
        AuditCommand::Key(api) => key(api).await,
    }
}

async fn export(args: ExportArgs) -> anyhow::Result<()> {
    if let Some(place) = args.database.place()? {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let asked = ExportAsked {
            stream: some(&args.stream),
            brand_id: some(&args.brand),
            event_type: some(&args.event_type),
        };
        let masters = args.database.masters()?;
        let now = SystemClock::new().now();
        let line = |line: String| Ok(output::line(line)?);
        return export_archive(&place, masters, &asked, now, line).await;
    }
    if args.plain {
        return plain(args).await;
    }
    let api = Api::connect(&args.api).await?;
    let request = ExportArchiveRequest {
        stream: args.stream,
        brand_id: args.brand,
        event_type: args.event_type,
        not_before: String::new(),
    };
    let asked = api.audit().export_archive(request).await;
    let mut pieces = asked.map_err(explain)?.into_inner();
    while let Some(piece) = pieces.message().await.map_err(explain)? {
        output::json(&json::of(
            "casement.audit.v1.ExportArchiveResponse",
            &piece,
        )?)?;
    }
    Ok(())
}

/// Writes events page by page, so that an archive of any size takes no more memory than a page.
async fn plain(args: ExportArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut page_token = String::new();
    loop {
        let request = ListEventsRequest {
            stream: args.stream.clone(),
            event_type: args.event_type.clone(),
            brand_id: args.brand.clone(),
            page_size: PAGE_SIZE,
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

async fn chains(args: StreamArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = ListChainsRequest {
        stream: args.stream,
    };
    let asked = api.audit().list_chains(request).await;
    for chain in asked.map_err(explain)?.into_inner().chains {
        if args.api.output.json {
            output::json(&json::of("casement.audit.v1.ArchiveChain", &chain)?)?;
        } else {
            output::line(line_of_chain(&chain))?;
        }
    }
    Ok(())
}

fn line_of_chain(chain: &ArchiveChain) -> String {
    let ArchiveChain {
        stream,
        incarnation,
        row_count,
        ..
    } = chain;
    let rows = match *row_count {
        0 => "no events yet".to_owned(),
        count => format!(
            "{count} events, {} to {}",
            chain.first_sequence, chain.last_sequence
        ),
    };
    let signed = match chain.signed_sequence {
        0 => "not signed".to_owned(),
        sequence => format!("signed to {sequence}"),
    };
    let origin = match (chain.previous_incarnation.as_str(), chain.common_sequence) {
        ("", _) => String::new(),
        (previous, 0) => format!("; the stream was recreated after {previous}"),
        (previous, common) => format!("; restored: goes on from {previous} after {common}"),
    };
    format!(
        "{stream:<10} {incarnation}: {} to {}, {rows}, {signed}{origin}",
        time(chain.begin_time.as_ref()).unwrap_or_else(|| "?".to_owned()),
        time(chain.end_time.as_ref()).unwrap_or_else(|| "now".to_owned()),
    )
}

fn time(at: Option<&prost_types::Timestamp>) -> Option<String> {
    let at = at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())?;
    Some(format!("{at:.0}"))
}

async fn heads(args: HeadsArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.of.api).await?;
    let mut page_token = String::new();
    let mut newest: Option<SignedHead> = None;
    let mut is_first = true;
    let mut print = |head: &SignedHead| -> anyhow::Result<()> {
        if args.of.api.output.json {
            output::json(&json::of("casement.audit.v1.SignedHead", head)?)
        } else {
            // A file of several is one of notes with an empty line between them.
            if !std::mem::replace(&mut is_first, false) {
                output::line("")?;
            }
            Ok(output::line(head.note.trim_end())?)
        }
    };
    loop {
        let request = ListSignedHeadsRequest {
            stream: args.of.stream.clone(),
            incarnation: args.incarnation.clone(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let asked = api.audit().list_signed_heads(request).await;
        let answer = asked.map_err(explain)?.into_inner();
        for head in answer.signed_heads {
            if !args.newest {
                print(&head)?;
                continue;
            }
            let chain_of = |head: &SignedHead| (head.stream.clone(), head.incarnation.clone());
            if let Some(last) = newest
                .as_ref()
                .filter(|last| chain_of(last) != chain_of(&head))
            {
                print(last)?;
            }
            newest = Some(head);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return newest.as_ref().map_or(Ok(()), &mut print);
        }
    }
}

async fn key(args: ApiArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args).await?;
    let request = ListSignedHeadsRequest {
        page_size: 1,
        ..ListSignedHeadsRequest::default()
    };
    let asked = api.audit().list_signed_heads(request).await;
    let keys = asked.map_err(explain)?.into_inner().verifier_keys;
    if keys.is_empty() {
        bail!("no head is signed: archive.signing_key is not set for the audit-projector");
    }
    for key in keys {
        if args.output.json {
            output::json(&serde_json::json!({ "verifierKey": key }))?;
        } else {
            output::line(key)?;
        }
    }
    Ok(())
}

/// Reads a file that a flag names.
fn text_of(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
