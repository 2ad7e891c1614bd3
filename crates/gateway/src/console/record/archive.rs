//! Whether the archive is whole: its chains, what was signed of them, checking it, taking it away.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use casement_proto::audit::v1::{
    ArchiveChain, ChainReport, ListChainsRequest, ListSignedHeadsRequest, VerifyChainRequest,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Shared;
use super::super::page::{Failure, Frame, show};
use super::super::post::Posted;
use super::super::session::Session;
use super::super::view::{Chip, When, count, hex};
use super::{PATH, Tab, Tabs, download};

/// Streams that are archived.
const STREAMS: [&str; 5] = ["EVENTS", "MESSAGES", "ACCOUNTS", "CUSTOMERS", "DEAD"];

/// Signed heads on one page.
const PAGE_SIZE: i32 = 50;

#[derive(Template)]
#[template(path = "console/record_archive.html")]
struct ArchivePage {
    frame: Frame,
    tabs: Tabs,
    chains: Vec<Chain>,
    streams: [&'static str; 5],
}

/// One life of a stream.
struct Chain {
    stream: String,
    incarnation: String,
    short: String,
    sequences: String,
    rows: String,
    last: Option<When>,
    signed: Chip,
    signed_at: Option<When>,
    /// What there is to say of its life.
    life: String,
    heads: String,
}

#[derive(Template)]
#[template(path = "console/record_verified.html")]
struct VerifiedPage {
    frame: Frame,
    reports: Vec<Report>,
    is_intact: bool,
    at: When,
}

/// What was found in one chain.
struct Report {
    title: String,
    verdict: Chip,
    facts: Vec<(&'static str, String)>,
    findings: Vec<(String, String, String, String)>,
    more: String,
    explanation: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Heads {
    stream: String,
    incarnation: String,
    page: String,
}

#[derive(Template)]
#[template(path = "console/record_heads.html")]
struct HeadsPage {
    frame: Frame,
    asked: Heads,
    keys: Vec<String>,
    heads: Vec<Head>,
    next: String,
}

/// One signed head.
struct Head {
    sequence: String,
    when: Option<When>,
    key: String,
    note: String,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/record/archive", get(list))
        .route("/record/verify", post(verify))
        .route("/record/heads", get(heads))
        .route("/record/export", post(export))
}

async fn list(session: Session) -> Result<Response, Failure> {
    let request = ListChainsRequest::default();
    let answer = session.api().audit().list_chains(request).await?;
    let now = session.now();
    let chains = answer.into_inner().chains;
    Ok(show(&ArchivePage {
        frame: session.frame(PATH),
        tabs: Tabs {
            current: Tab::Archive,
        },
        chains: chains.iter().map(|chain| Chain::new(chain, now)).collect(),
        streams: STREAMS,
    }))
}

impl Chain {
    fn new(chain: &ArchiveChain, now: Timestamp) -> Self {
        let heads = Heads {
            stream: chain.stream.clone(),
            incarnation: chain.incarnation.clone(),
            page: String::new(),
        };
        let unsigned = chain.last_sequence.saturating_sub(chain.signed_sequence);
        let signed = match (chain.signed_sequence, unsigned) {
            (0, _) => Chip::new("quiet", "not signed"),
            (_, 0) => Chip::new("ok", "signed to its end"),
            (to, _) => Chip::new("ok", format!("signed to {}", count(to))),
        };
        let life = match (
            chain.previous_incarnation.is_empty(),
            chain.end_time.is_some(),
        ) {
            (true, false) => String::new(),
            (true, true) => "ended: the stream was restored or made anew after it".to_owned(),
            (false, _) if chain.common_sequence > 0 => format!(
                "restored: goes on after {} of the life before",
                count(chain.common_sequence)
            ),
            (false, _) => "made anew after the life before".to_owned(),
        };
        Self {
            stream: chain.stream.clone(),
            short: chain.incarnation.chars().take(8).collect(),
            incarnation: chain.incarnation.clone(),
            sequences: match chain.last_sequence {
                0 => "none yet".to_owned(),
                last => format!("{} to {}", count(chain.first_sequence), count(last)),
            },
            rows: count(chain.row_count),
            last: When::of(chain.last_stored_time.as_ref(), now),
            signed,
            signed_at: When::of(chain.signed_time.as_ref(), now),
            life,
            heads: serde_urlencoded::to_string(heads).unwrap_or_default(),
        }
    }
}

/// The stream that a form names; empty for all.
fn stream(posted: &Posted) -> Result<String, Failure> {
    match posted.fields.get("stream") {
        "" => Ok(String::new()),
        stream if STREAMS.contains(&stream) => Ok(stream.to_owned()),
        _ => Err(Failure::wrong(
            "There is no such stream",
            "Nothing was done.",
        )),
    }
}

async fn verify(posted: Posted) -> Result<Response, Failure> {
    let session = &posted.session;
    let request = VerifyChainRequest {
        stream: stream(&posted)?,
    };
    let answer = session.api().audit().verify_chain(request).await?;
    let reports = answer.into_inner().reports;
    let now = session.now();
    Ok(show(&VerifiedPage {
        frame: session.frame(PATH),
        is_intact: reports.iter().all(|report| report.intact),
        reports: reports
            .iter()
            .map(|report| Report::new(report, now))
            .collect(),
        at: When::new(now, now),
    }))
}

impl Report {
    fn new(report: &ChainReport, now: Timestamp) -> Self {
        let head = hex(&report.head);
        let signed = When::of(report.signed_time.as_ref(), now);
        let facts = [
            ("Events checked", count(report.checked_count)),
            ("Up to", count(report.last_sequence)),
            ("Signed heads compared", count(report.signed_head_count)),
            (
                "Signatures checked with a known key",
                count(report.verified_head_count),
            ),
            (
                "Signed up to",
                match (report.signed_sequence, signed) {
                    (0, _) => String::new(),
                    (to, Some(when)) => format!("{}, {}", count(to), when.exact()),
                    (to, None) => count(to),
                },
            ),
            ("Left the log unarchived", some(report.missing_count)),
            ("Erased on purpose", some(report.erased_count)),
            ("Sealed, checked by commitment", some(report.sealed_count)),
            ("Head", head),
        ];
        let findings = report.findings.iter().map(|finding| {
            let place = if finding.sequence == finding.last_sequence {
                count(finding.sequence)
            } else {
                format!(
                    "{} to {}",
                    count(finding.sequence),
                    count(finding.last_sequence)
                )
            };
            (
                finding.kind.clone(),
                place,
                finding.explanation.clone(),
                finding.advice.clone(),
            )
        });
        Self {
            title: format!(
                "{} {}",
                report.stream,
                report.incarnation.chars().take(8).collect::<String>()
            ),
            verdict: if report.intact {
                Chip::new("ok", "intact")
            } else {
                Chip::new("bad", "broken")
            },
            facts: facts
                .into_iter()
                .filter(|(_, text)| !text.is_empty())
                .collect(),
            findings: findings.collect(),
            more: some(report.more_findings_count),
            explanation: if report.intact {
                String::new()
            } else {
                report.explanation.clone()
            },
        }
    }
}

/// Empty for none.
fn some(of: u64) -> String {
    if of == 0 { String::new() } else { count(of) }
}

async fn heads(session: Session, Query(asked): Query<Heads>) -> Result<Response, Failure> {
    let request = ListSignedHeadsRequest {
        stream: asked.stream.clone(),
        incarnation: asked.incarnation.clone(),
        page_size: PAGE_SIZE,
        page_token: asked.page.clone(),
    };
    let answer = session.api().audit().list_signed_heads(request).await?;
    let answer = answer.into_inner();
    let now = session.now();
    let heads = answer.signed_heads.iter().map(|head| Head {
        sequence: count(head.sequence),
        when: When::of(head.signed_time.as_ref(), now),
        key: head.key.clone(),
        note: head.note.clone(),
    });
    let next = Heads {
        page: answer.next_page_token.clone(),
        ..asked.clone()
    };
    Ok(show(&HeadsPage {
        frame: session.frame(PATH),
        keys: answer.verifier_keys.clone(),
        heads: heads.collect(),
        next: if answer.next_page_token.is_empty() {
            String::new()
        } else {
            serde_urlencoded::to_string(next).unwrap_or_default()
        },
        asked,
    }))
}

async fn export(posted: Posted) -> Result<Response, Failure> {
    let stream = stream(&posted)?;
    let name = match stream.as_str() {
        "" => "all".to_owned(),
        stream => stream.to_lowercase(),
    };
    let day = posted.session.now().strftime("%F").to_string();
    download(
        &posted.session,
        "casement.audit.v1.AuditService/ExportArchive",
        &json!({"stream": stream}),
        &format!("casement-archive-{name}-{day}.ndjson"),
    )
    .await
}
