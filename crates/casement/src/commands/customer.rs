//! `casement customer`: what is held of a customer, handed out or erased.

mod erase;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use casement_proto::audit::v1::export_customer_request::Customer;
use casement_proto::audit::v1::export_customer_response::Line;
use casement_proto::audit::v1::{CustomerExportEnd, ExportCustomerRequest, ExportCustomerResponse};
use casement_proto::media::v1::DownloadMediaRequest;
use casement_proto::media::v1::download_media_response::Part;
use clap::{Args, Subcommand};
use tokio::io::AsyncWriteExt as _;

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, explain};
use crate::{json, output};

#[derive(Debug, Subcommand)]
pub(crate) enum CustomerCommand {
    /// Print all that is held of a customer, a line of JSON each; that it was done is recorded
    Export(ExportArgs),
    /// Erase a customer for good; without --confirm, tell what would go
    Erase(erase::EraseArgs),
    /// See how far erasures have come
    Erasures(erase::ErasuresArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    /// What for, such as the number of a request; it is recorded, and must tell nothing of the
    /// customer
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Save the customer's files in this folder, too, each under its id; it must not exist yet
    #[arg(long, value_name = "FOLDER")]
    media: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: CustomerCommand) -> anyhow::Result<()> {
    match command {
        CustomerCommand::Export(args) => export(args).await,
        CustomerCommand::Erase(args) => erase::erase(args).await,
        CustomerCommand::Erasures(args) => erase::erasures(args).await,
    }
}

async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    if let Some(folder) = &args.media {
        let made = tokio::fs::create_dir(folder).await;
        made.with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let customer = args
        .customer
        .named(Customer::To, Customer::Recipient, Customer::CustomerId);
    let request = ExportCustomerRequest {
        number: args.number.number,
        customer,
        reason: args.reason,
        not_before: String::new(),
    };
    let asked = api.audit().export_customer(request).await;
    let mut lines = asked.map_err(explain)?.into_inner();
    let mut files = BTreeSet::new();
    let mut end = None;
    while let Some(line) = lines.message().await.map_err(explain)? {
        tell(&line)?;
        match line.line {
            Some(Line::Media(media)) => {
                files.insert(media.media_id);
            }
            Some(Line::End(counts)) => end = Some(counts),
            _ => {}
        }
    }
    let Some(end) = end else {
        bail!("the export broke off: what was printed is not all");
    };
    if let Some(folder) = &args.media {
        for media_id in files {
            save(&api, folder, media_id).await?;
        }
    }
    output::talk(told(&end));
    Ok(())
}

fn tell(line: &ExportCustomerResponse) -> anyhow::Result<()> {
    let name = "casement.audit.v1.ExportCustomerResponse";
    output::json(&json::of(name, line)?)
}

fn told(end: &CustomerExportEnd) -> String {
    format!(
        "{} identifiers, {} conversations, {} messages, {} events, {} files, {} posts as received \
         ({} no longer kept)",
        end.identifier_count,
        end.conversation_count,
        end.message_count,
        end.event_count,
        end.media_count,
        end.raw_post_count,
        end.raw_post_gone_count,
    )
}

/// Saves a file under its id, which holds nothing that a path could be led astray by.
async fn save(api: &Api, folder: &Path, media_id: String) -> anyhow::Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !media_id.bytes().all(is_plain) {
        bail!("{media_id:?} is no id of a file");
    }
    let path = folder.join(&media_id);
    let what = || format!("{} cannot be written", path.display());
    let request = DownloadMediaRequest { media_id };
    let asked = api.media().download_media(request).await;
    let mut parts = asked.map_err(explain)?.into_inner();
    let first = parts.message().await.map_err(explain)?;
    let Some(Part::Media(_)) = first.and_then(|first| first.part) else {
        return Err(anyhow!(
            "the answer does not begin with what is known of the file"
        ));
    };
    let mut file = tokio::fs::File::create_new(&path)
        .await
        .with_context(what)?;
    while let Some(part) = parts.message().await.map_err(explain)? {
        if let Some(Part::Chunk(chunk)) = part.part {
            file.write_all(&chunk).await.with_context(what)?;
        }
    }
    file.sync_all().await.with_context(what)
}
