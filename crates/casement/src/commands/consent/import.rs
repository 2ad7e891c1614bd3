//! `casement consent import`: many words, a line of JSON each.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use casement_proto::account::v1::consent_result::Result as Told;
use casement_proto::account::v1::{ConsentItem, ImportConsentsRequest, ImportConsentsResponse};
use clap::Args;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::mpsc;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

/// Longest line of an import, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How many items are read ahead of what is sent.
const AHEAD_MAX: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// File of items, a line of JSON each, as in docs/operate/consent.md; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let source: Box<dyn AsyncRead + Send + Unpin> = if args.file.as_os_str() == "-" {
        Box::new(tokio::io::stdin())
    } else {
        let file = tokio::fs::File::open(&args.file).await;
        Box::new(file.with_context(|| format!("{} cannot be read", args.file.display()))?)
    };
    let (sender, receiver) = mpsc::channel(AHEAD_MAX);
    let reading = tokio::spawn(read(source, sender));
    let items = futures::stream::unfold(receiver, async |mut receiver| {
        let item = receiver.recv().await?;
        Some((item, receiver))
    });
    let asked = api.consents().import_consents(items).await;
    let mut answers = asked.map_err(explain)?.into_inner();
    let mut tally = Tally::default();
    while let Some(answer) = answers.message().await.map_err(explain)? {
        tally.count(&answer);
        if args.api.output.json {
            let value = json::of("casement.account.v1.ImportConsentsResponse", &answer)?;
            output::json(&value)?;
        } else if let Some(refused) = refused(&answer) {
            output::line(refused)?;
        }
    }
    reading.await??;
    let Tally {
        recorded,
        known,
        refused,
    } = tally;
    let text = format!("{recorded} recorded, {known} known before, {refused} refused");
    if refused > 0 {
        bail!("{text}: each says why; what was recorded stays, and repeating it writes nothing");
    }
    output::talk(text);
    Ok(())
}

/// What became of the items of an import.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    recorded: u64,
    known: u64,
    refused: u64,
}

impl Tally {
    fn count(&mut self, answer: &ImportConsentsResponse) {
        let result = answer.result.as_ref().and_then(|one| one.result.as_ref());
        match result {
            Some(Told::Accepted(accepted)) if accepted.is_recorded => self.recorded += 1,
            Some(Told::Accepted(_)) => self.known += 1,
            Some(Told::Refused(_)) | None => self.refused += 1,
        }
    }
}

fn refused(answer: &ImportConsentsResponse) -> Option<String> {
    let result = answer.result.as_ref()?.result.as_ref()?;
    let Told::Refused(refusal) = result else {
        return None;
    };
    let (line, text) = (answer.index + 1, &refusal.message);
    Some(format!("item {line}: {} ({text})", refusal.reason))
}

/// Reads the lines of a file. One that is no item ends the import with its number.
async fn read(
    source: Box<dyn AsyncRead + Send + Unpin>,
    items: mpsc::Sender<ImportConsentsRequest>,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(source).lines();
    let mut number = 0_u64;
    while let Some(line) = lines.next_line().await? {
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        if line.len() > LINE_BYTES_MAX {
            bail!("line {number} is longer than {LINE_BYTES_MAX} bytes");
        }
        let item: ConsentItem = json::read("casement.account.v1.ConsentItem", &line)
            .with_context(|| format!("line {number} is no item"))?;
        let request = ImportConsentsRequest { item: Some(item) };
        if items.send(request).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use casement_proto::account::v1::{ConsentResult, RecordConsentResponse};
    use casement_proto::message::v1::Refusal;

    use super::*;

    #[test]
    fn every_item_of_an_import_is_counted_once() {
        let answer = |result| ImportConsentsResponse {
            index: 4,
            result: Some(ConsentResult {
                result: Some(result),
            }),
        };
        let accepted = |is_recorded| {
            answer(Told::Accepted(RecordConsentResponse {
                is_recorded,
                ..RecordConsentResponse::default()
            }))
        };
        let no = answer(Told::Refused(Refusal {
            reason: "NUMBER_UNKNOWN".to_owned(),
            message: "no".to_owned(),
            ..Refusal::default()
        }));
        let mut tally = Tally::default();
        for one in [&accepted(true), &accepted(false), &accepted(true), &no] {
            tally.count(one);
        }
        let expected = Tally {
            recorded: 2,
            known: 1,
            refused: 1,
        };
        assert_eq!(tally, expected);
        assert_eq!(refused(&no).unwrap(), "item 5: NUMBER_UNKNOWN (no)");
        assert_eq!(refused(&accepted(true)), None);
    }
}
