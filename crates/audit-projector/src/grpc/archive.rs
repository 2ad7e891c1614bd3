//! The archive as a whole: its chains, what was signed of them, and all of it written out.

use std::collections::BTreeMap;
use std::sync::Arc;

use casement_event::convert::timestamp;
use casement_proto::audit::v1 as proto;
use casement_shell::grpc::refuse;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Code, Status};

use super::audit::AuditApi;
use super::{Backend, bad_token, optional, page_size, unanswered};
use crate::export::{self, Asked};
use crate::page;
use crate::store::{Error, HeadFilter, HeadKey, Life};
use crate::verify::report::ChainReport;

const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1_000;

/// How many exports a process writes at once. Each reads the whole archive.
pub(super) const EXPORTS_MAX: usize = 4;

/// Pieces of an export that are ready for a slow reader.
const PIECES_MAX: usize = 64;

/// What an export answers.
pub(crate) type Pieces = BoxStream<'static, Result<proto::ExportArchiveResponse, Status>>;

/// Where a page of signed heads ends: stream, incarnation, sequence, key.
type PageKey = (String, String, u64, String);

/// Returns the chains, each stream's in the order in which the archive met them.
pub(super) async fn chains(
    backend: &Backend,
    stream: Option<&str>,
) -> Result<Vec<proto::ArchiveChain>, Error> {
    let store = &backend.store;
    let mut chains = Vec::new();
    for chain in store.chains(stream).await? {
        let (stream, incarnation) = (chain.stream.as_str(), chain.incarnation.as_str());
        let life = store.life(stream, incarnation).await?;
        let first = store.place_after(stream, incarnation, 0).await?;
        let last = store.last_place(stream, incarnation).await?;
        let signed = store.last_head(stream, incarnation, None).await?;
        let begin_time = match &life {
            Some(Life { begin_time, .. }) => Some(*begin_time),
            None => first.map(|first| first.stored_time),
        };
        let (previous_incarnation, common_sequence) = life
            .map(|life| (life.previous_incarnation, life.common_sequence))
            .unwrap_or_default();
        chains.push(proto::ArchiveChain {
            begin_time: begin_time.map(timestamp),
            end_time: None,
            previous_incarnation,
            common_sequence,
            first_sequence: first.map_or(0, |first| first.sequence),
            first_stored_time: first.map(|first| timestamp(first.stored_time)),
            last_sequence: last.map_or(0, |last| last.sequence),
            last_stored_time: last.map(|last| timestamp(last.stored_time)),
            row_count: chain.head.as_ref().map_or(0, |head| head.row_count),
            link: chain.head.map_or_else(Vec::new, |head| head.link.to_vec()),
            signed_sequence: signed.as_ref().map_or(0, |signed| signed.head.sequence),
            signed_time: signed.map(|signed| timestamp(signed.signed_time)),
            stream: chain.stream,
            incarnation: chain.incarnation,
        });
    }
    in_order(&mut chains);
    Ok(chains)
}

/// Puts the chains in the order of their lives, and says when each ended.
fn in_order(chains: &mut [proto::ArchiveChain]) {
    let begin = |chain: &proto::ArchiveChain| chain.begin_time.map(|at| (at.seconds, at.nanos));
    chains.sort_by(|one, other| {
        let by_stream = one.stream.cmp(&other.stream);
        by_stream.then_with(|| begin(one).cmp(&begin(other)))
    });
    let mut next: BTreeMap<String, Option<prost_types::Timestamp>> = BTreeMap::new();
    for chain in chains.iter_mut().rev() {
        chain.end_time = next.get(&chain.stream).copied().flatten();
        next.insert(chain.stream.clone(), chain.begin_time);
    }
}

/// Returns a page of signed heads.
pub(super) async fn signed_heads(
    api: &AuditApi,
    stream: Option<String>,
    request: proto::ListSignedHeadsRequest,
) -> Result<proto::ListSignedHeadsResponse, Status> {
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let question = [
        "signed heads",
        request.stream.as_str(),
        request.incarnation.as_str(),
    ];
    let after = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
    let after = after.map(|(stream, incarnation, sequence, key_label)| HeadKey {
        stream,
        incarnation,
        sequence,
        key_label,
    });
    let filter = HeadFilter {
        stream,
        incarnation: optional(request.incarnation.clone()),
    };
    let store = &api.backend.store;
    let mut heads = store
        .signed_heads(&filter, after.as_ref(), rows_max + 1)
        .await
        .map_err(|error| unanswered(&error))?;
    let has_more = heads.len() > rows_max;
    heads.truncate(rows_max);
    let last = heads.last().filter(|_| has_more).map(|last| {
        let HeadKey {
            stream,
            incarnation,
            sequence,
            key_label,
        } = last.key();
        page::token(&question, (stream, incarnation, sequence, key_label))
    });
    Ok(proto::ListSignedHeadsResponse {
        signed_heads: heads.into_iter().map(export::signed_head).collect(),
        next_page_token: last.unwrap_or_default(),
        verifier_keys: api.keys.iter().map(ToString::to_string).collect(),
    })
}

/// Begins an export; it goes on for as long as it is read.
pub(super) fn export(api: &AuditApi, asked: Asked) -> Result<Pieces, Status> {
    let permit = Semaphore::try_acquire_owned(Arc::clone(&api.exports)).map_err(|_| {
        let text = format!("{EXPORTS_MAX} exports are being written already: ask again later");
        refuse(Code::ResourceExhausted, "TOO_MANY_EXPORTS", text)
    })?;
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::spawn(write(api.clone(), asked, sender, permit));
    let pieces = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok(pieces.boxed())
}

async fn write(
    api: AuditApi,
    asked: Asked,
    out: mpsc::Sender<Result<proto::ExportArchiveResponse, Status>>,
    _permit: OwnedSemaphorePermit,
) {
    let (sender, mut receiver) = mpsc::channel(1);
    let store = Arc::clone(&api.backend.store);
    let now = api.backend.clock.now();
    let writing = export::write(store.as_ref(), &asked, &api.keys, now, sender);
    let forwarding = async {
        while let Some(piece) = receiver.recv().await {
            let answer = proto::ExportArchiveResponse { piece: Some(piece) };
            if out.send(Ok(answer)).await.is_err() {
                break;
            }
        }
        // Whoever writes learns by this that nobody reads on.
        drop(receiver);
    };
    let (written, ()) = futures::future::join(writing, forwarding).await;
    if let Err(error) = written {
        // Nobody reads on: then nobody has to know.
        let _ = out.send(Err(unanswered(&error))).await;
    }
}

impl From<ChainReport> for proto::ChainReport {
    fn from(of: ChainReport) -> Self {
        let intact = of.is_intact();
        let (broken_sequence, explanation) = of
            .broken()
            .map(|broken| (broken.sequence, broken.explanation.clone()))
            .unwrap_or_default();
        let findings = of.findings.into_iter().map(|finding| proto::Finding {
            kind: finding.kind.name().to_owned(),
            sequence: finding.sequence,
            last_sequence: finding.last_sequence,
            explanation: finding.explanation,
            advice: finding.kind.advice().to_owned(),
        });
        let gaps = of.gaps.into_iter().map(|gap| proto::Gap {
            first_sequence: gap.first_sequence,
            last_sequence: gap.last_sequence,
        });
        Self {
            stream: of.stream,
            incarnation: of.incarnation,
            checked_count: of.checked_count,
            last_sequence: of.last_sequence,
            head: of.head.to_vec(),
            intact,
            broken_sequence,
            explanation,
            findings: findings.collect(),
            more_findings_count: of.more_findings_count,
            first_sequence: of.first_sequence,
            first_stored_time: of.first_stored_time.map(timestamp),
            last_stored_time: of.last_stored_time.map(timestamp),
            gaps: gaps.collect(),
            missing_count: of.missing_count,
            erased_count: of.erased_count,
            sealed_count: of.sealed_count,
            withheld_count: of.withheld_count,
            signed_head_count: of.signed.head_count,
            verified_head_count: of.signed.verified_count,
            signed_sequence: of.signed.last_sequence,
            signed_time: of.signed.last_time.map(timestamp),
        }
    }
}
