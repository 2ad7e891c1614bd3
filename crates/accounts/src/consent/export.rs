//! What every customer of a portfolio allows, as a stream.
//!
//! Read customer by customer; with phones and user ids in parts of so many customers, since links
//! lead from those to customers and not back.

use std::pin::Pin;

use casement_domain::id::PortfolioId;
use casement_event::v1;
use casement_event_log::Log;
use casement_event_log::consent::ledger::{self, Names, Present};
use casement_proto::account::v1 as api;
use futures::Stream;
use tokio::sync::mpsc;
use tonic::Status;

use super::import::closing_down;
use super::{Consents, unusable};

/// What an export is answered with.
pub(super) type Answers =
    Pin<Box<dyn Stream<Item = Result<api::ExportConsentsResponse, Status>> + Send>>;

/// How many customers' links are looked for at once. Each part reads all links once.
const PART_LEN: usize = 50_000;

/// How many answers are made before they are read.
const AHEAD_MAX: usize = 256;

type Told = mpsc::Sender<Result<api::ExportConsentsResponse, Status>>;

impl Consents {
    /// Tells what all customers allow.
    pub(super) fn export(&self, portfolio: PortfolioId, include_identifiers: bool) -> Answers {
        let (told, answers) = mpsc::channel(AHEAD_MAX);
        let (log, closing) = (self.log.clone(), self.closing.clone());
        tokio::spawn(async move {
            let len = if include_identifiers { PART_LEN } else { 1 };
            let heard = told.clone();
            let failed = tokio::select! {
                told = tell(&log, &portfolio, len, include_identifiers, &told) => told.err(),
                () = closing.cancelled() => Some(closing_down()),
                // Nobody listens any more.
                () = heard.closed() => None,
            };
            if let Some(status) = failed {
                let _ = told.send(Err(status)).await;
            }
        });
        Box::pin(futures::stream::unfold(answers, async |mut answers| {
            let next = answers.recv().await?;
            Some((next, answers))
        }))
    }
}

async fn tell(
    log: &Log,
    portfolio: &PortfolioId,
    len: usize,
    include_identifiers: bool,
    told: &Told,
) -> Result<(), Status> {
    let mut present = Present::of(log, portfolio);
    let mut is_over = false;
    while !is_over {
        let mut part = Vec::new();
        while part.len() < len {
            let next = present.next().await.map_err(|error| unusable(&error))?;
            let Some(record) = next else {
                is_over = true;
                break;
            };
            part.push(record);
        }
        let names = if include_identifiers {
            let customers = part.iter().map(|record| record.customer_id.clone());
            let names = ledger::names(log, portfolio, customers).await;
            names.map_err(|error| unusable(&error))?
        } else {
            std::collections::HashMap::default()
        };
        for record in part {
            let names = names.get(&record.customer_id).cloned().unwrap_or_default();
            if told.send(Ok(answer(record, names))).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn answer(record: v1::ConsentRecorded, names: Names) -> api::ExportConsentsResponse {
    let to = match names.phone.as_str() {
        "" => String::new(),
        digits => format!("+{digits}"),
    };
    api::ExportConsentsResponse {
        customer_id: record.customer_id,
        to,
        recipient: names.user_id,
        words: record.consents,
        also: record.also,
        record_time: record.time,
    }
}
