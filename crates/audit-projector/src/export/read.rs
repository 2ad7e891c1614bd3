//! Checking an export, with nothing else at hand.

use std::io::BufRead;

use anyhow::{Context as _, bail};
use casement_event::{Stored, convert};
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::export_archive_response::Piece;

use super::{FORMAT, absence, lines};
use crate::chain::{Head, Salt};
use crate::verify::anchors::{Anchors, SignedHead};
use crate::verify::report::ChainReport;
use crate::verify::row::{Checked, Says};
use crate::verify::walk::Walk;
use crate::verify::{Proof, kept};

/// Longest line: the largest event of a broker, its headers, and room for JSON.
const LINE_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What checking an export found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReport {
    /// The chains, in the order of the export.
    pub chains: Vec<ChainReport>,
    /// What is wrong with the export as a whole.
    pub problems: Vec<String>,
}

impl ExportReport {
    /// Returns whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty() && self.chains.iter().all(ChainReport::is_intact)
    }
}

/// Checks an export.
///
/// # Errors
/// When it cannot be read or is no export, or a head that was kept elsewhere proves nothing; one
/// that was changed is no error but a report.
pub fn verify_export(mut export: impl BufRead, proof: &Proof) -> anyhow::Result<ExportReport> {
    let mut reading = Reading {
        proof,
        anchors: kept(proof)?,
        walk: None,
        report: ExportReport {
            chains: Vec::new(),
            problems: Vec::new(),
        },
        row_count: 0,
        has_begun: false,
        has_ended: false,
    };
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut bounded = std::io::Read::take(&mut export, LINE_LEN_MAX);
        if bounded
            .read_until(b'\n', &mut line)
            .context("read the export")?
            == 0
        {
            break;
        }
        let at = || format!("line {number} of the export");
        if !line.ends_with(b"\n") && line.len() as u64 == LINE_LEN_MAX {
            bail!("{} is longer than any event", at());
        }
        let text = std::str::from_utf8(&line).with_context(at)?;
        if text.trim().is_empty() {
            continue;
        }
        match lines::read(text) {
            Ok(Some(piece)) => reading.take(piece).with_context(at)?,
            // Of a later version, which would have another format if it mattered.
            Ok(None) => {}
            Err(problem) if !reading.has_begun => {
                bail!("{} is no beginning of an export: {problem}", at())
            }
            Err(problem) => reading.report.problems.push(format!("{}: {problem}", at())),
        }
    }
    reading.end()
}

struct Reading<'p> {
    proof: &'p Proof,
    anchors: Anchors,
    walk: Option<Walk>,
    report: ExportReport,
    row_count: u64,
    has_begun: bool,
    has_ended: bool,
}

impl Reading<'_> {
    fn take(&mut self, piece: Piece) -> anyhow::Result<()> {
        if !self.has_begun && !matches!(piece, Piece::Begin(_)) {
            bail!("an export begins with its format");
        }
        match piece {
            Piece::Begin(begin) if begin.format != FORMAT => bail!(
                "export is of format {}, and this version reads {FORMAT}: use a newer one",
                begin.format
            ),
            Piece::Begin(_) => self.has_begun = true,
            Piece::SignedHead(head) => {
                if self.is_asked(&head.stream) {
                    let head = SignedHead {
                        stream: head.stream,
                        incarnation: head.incarnation,
                        sequence: head.sequence,
                        note: head.note,
                    };
                    self.anchors.add(&head, &self.proof.keys);
                }
            }
            Piece::Chain(chain) => self.begin_chain(chain)?,
            Piece::Row(row) => {
                self.row_count += 1;
                if let Some(walk) = &mut self.walk {
                    check(walk, row);
                }
            }
            Piece::End(end) => {
                self.has_ended = true;
                if end.row_count != self.row_count {
                    let (said, found) = (end.row_count, self.row_count);
                    let problem = format!("export should have {said} rows and has {found}");
                    self.report.problems.push(problem);
                }
            }
        }
        Ok(())
    }

    fn is_asked(&self, stream: &str) -> bool {
        self.proof
            .stream
            .as_deref()
            .is_none_or(|asked| asked == stream)
    }

    fn begin_chain(&mut self, chain: proto::ExportChain) -> anyhow::Result<()> {
        self.end_chain();
        if !self.is_asked(&chain.stream) {
            return Ok(());
        }
        let link = chain.link.try_into();
        let Ok(link) = link else {
            bail!("link of a chain is not 32 bytes long");
        };
        let head = Head {
            stream: chain.stream,
            incarnation: chain.incarnation,
            last_sequence: chain.last_sequence,
            link,
            row_count: chain.row_count,
        };
        self.begin_walk(head, chain.common_sequence);
        Ok(())
    }

    fn begin_walk(&mut self, head: Head, common: u64) {
        let name = (head.stream.clone(), head.incarnation.clone());
        let (anchors, findings) = self.anchors.take(&name);
        let mut walk = Walk::new(&name.0, &name.1, Some(head), anchors);
        walk.begin_after(common);
        for finding in findings {
            walk.add(finding);
        }
        self.walk = Some(walk);
    }

    fn end_chain(&mut self) {
        let ended = self.walk.take().map(|walk| walk.finish(true));
        self.report.chains.extend(ended);
    }

    fn end(mut self) -> anyhow::Result<ExportReport> {
        if !self.has_begun {
            bail!("export is empty");
        }
        self.end_chain();
        if !self.has_ended {
            let problem = "export was cut off: its last line is missing";
            self.report.problems.push(problem.to_owned());
        }
        // Chains that heads tell of, and that are not there.
        let left: Vec<_> = self.anchors.chains().cloned().collect();
        for (stream, incarnation) in left {
            if self.is_asked(&stream) {
                self.begin_walk(Head::start(&stream, &incarnation), 0);
                self.end_chain();
            }
        }
        Ok(self.report)
    }
}

/// Checks a row. What cannot be read is what somebody changed.
fn check(walk: &mut Walk, row: proto::ExportRow) {
    let sequence = row.sequence;
    let (Ok(commitment), Ok(link)) = (row.commitment.try_into(), row.link.try_into()) else {
        walk.unreadable(sequence, "commitment or link is not 32 bytes long");
        return;
    };
    let event = row.event.map(event);
    let says = match (&event, row.absence.as_str()) {
        (Some(Ok((salt, stored))), "") => Says::Event {
            salt,
            stored,
            index: None,
        },
        (Some(Err(problem)), _) => Says::Unreadable(problem.clone()),
        (None, absence::ERASED) => Says::Erased,
        (None, absence::SEALED) => Says::Sealed,
        (None, absence::WITHHELD) => Says::Withheld,
        (None, absence::BROKEN) => Says::Broken,
        (None, _) => Says::Unreadable("it has no event, and does not say why".to_owned()),
        (Some(_), _) => Says::Unreadable("it has an event, and says that it has none".to_owned()),
    };
    walk.check(&Checked {
        sequence,
        commitment,
        link,
        says,
    });
}

fn event(event: proto::ExportEvent) -> Result<(Salt, Stored), String> {
    let salt = event
        .salt
        .try_into()
        .map_err(|_| "salt is not 16 bytes long".to_owned())?;
    let stored_at = convert::instant("stored_time", event.stored_time.as_ref())
        .map_err(|error| error.to_string())?
        .ok_or("it has no stored time")?;
    let headers = event.headers.into_iter();
    let stored = Stored {
        // Nothing of these is committed to by the event: they are in the link.
        stream: String::new(),
        incarnation: String::new(),
        sequence: 0,
        subject: event.subject,
        stored_at,
        headers: headers.map(|header| (header.name, header.value)).collect(),
        payload: event.payload.into(),
    };
    Ok((salt, stored))
}
