//! An archive that somebody changes, and what was signed of it.

use std::sync::Arc;
use std::time::Duration;

use casement_proto::audit::v1::export_archive_response::Piece;
use casement_shell::ManualClock;
use tokio::sync::mpsc;

use super::*;
use crate::export::{self, Asked, ExportReport, lines, verify_export};
use crate::model::Content;
use crate::note::{Signer, VerifierKey};
use crate::sign::{HeadSigner, SigningKeys};
use crate::store::{HeadFilter, Life};
use crate::verify::report::FindingKind::{
    self, ColumnChanged, ContentChanged, ErasedOffRecord, HeadChanged, Inserted, LinkChanged,
    NotAsSigned, NotSigned, Removed, Swapped, Unreadable,
};
use crate::verify::{Proof, kept, verify_with};

fn event(incarnation: &str, sequence: u64) -> Stored {
    Stored {
        incarnation: incarnation.to_owned(),
        ..stored("EVENTS", sequence)
    }
}

async fn chain(fixture: &Fixture, incarnation: &str, sequences: &[u64]) -> Head {
    let events = sequences
        .iter()
        .map(|sequence| event(incarnation, *sequence));
    archive(
        fixture,
        Head::start("EVENTS", incarnation),
        events.collect(),
    )
    .await
}

fn signer(fixture: &Fixture, seed: u8) -> HeadSigner {
    let signer = Signer::new("a.example", &[seed; 32]);
    HeadSigner {
        store: Arc::clone(&fixture.store),
        clock: ManualClock::new(at(100)).shared(),
        keys: SigningKeys {
            verifiers: [signer.verifier().clone()].into(),
            signer: Some(signer),
        },
        interval: Duration::from_hours(1),
    }
}

fn key(seed: u8) -> VerifierKey {
    Signer::new("a.example", &[seed; 32]).verifier().clone()
}

fn proof(must_be_signed: bool) -> Proof {
    Proof {
        keys: vec![key(7)],
        must_be_signed,
        ..Proof::default()
    }
}

async fn checked(fixture: &Fixture, proof: &Proof) -> Vec<ChainReport> {
    let anchors = kept(proof).unwrap();
    verify_with(fixture.store.as_ref(), proof, anchors)
        .await
        .unwrap()
}

async fn exported(fixture: &Fixture) -> Vec<Piece> {
    let (sender, mut receiver) = mpsc::channel(10_000);
    let asked = Asked::default();
    export::write(fixture.store.as_ref(), &asked, &[], at(0), sender)
        .await
        .unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = receiver.recv().await {
        pieces.push(piece);
    }
    pieces
}

fn export_of(pieces: Vec<Piece>) -> String {
    let lines: Vec<String> = pieces.into_iter().map(lines::of).collect();
    lines.join("\n") + "\n"
}

async fn checked_in_an_export(fixture: &Fixture, proof: &Proof) -> ExportReport {
    let export = export_of(exported(fixture).await);
    verify_export(export.as_bytes(), proof).unwrap()
}

fn of<'r>(reports: &'r [ChainReport], incarnation: &str) -> &'r ChainReport {
    let mut reports = reports.iter();
    reports
        .find(|report| report.incarnation == incarnation)
        .unwrap()
}

fn found(report: &ChainReport) -> Vec<(FindingKind, u64, u64)> {
    let findings = report.findings.iter();
    findings
        .map(|it| (it.kind, it.sequence, it.last_sequence))
        .collect()
}

/// What is done to a chain, and what is found then.
fn changes() -> [(&'static str, (FindingKind, u64, u64)); 17] {
    const COPY: &str = "INSERT INTO archive (stream, incarnation, sequence, subject, event_type,
            event_id, number, customer_id, message_id, brand_id, event_time_ns, stored_time_ns,
            headers, payload, salt, commitment, link, is_repeat)
        SELECT stream, incarnation, 4, subject, event_type, event_id, number, customer_id,
            message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt,
            commitment, link, is_repeat
        FROM archive WHERE $chain AND sequence = 3";
    let swap = "UPDATE archive SET sequence = 100 WHERE $chain AND sequence = 2;
        UPDATE archive SET sequence = 2 WHERE $chain AND sequence = 6;
        UPDATE archive SET sequence = 6 WHERE $chain AND sequence = 100";
    let sealed = "UPDATE archive SET payload = (
            SELECT payload FROM archive WHERE $chain AND sequence = 2
        ) WHERE $chain AND sequence = 3";
    [
        (
            "UPDATE archive SET payload = link WHERE $chain AND sequence = 3",
            (ContentChanged, 3, 3),
        ),
        (sealed, (ContentChanged, 3, 3)),
        (
            "UPDATE archive SET subject = 'x' WHERE $chain AND sequence = 1",
            (ContentChanged, 1, 1),
        ),
        (
            "UPDATE archive SET stored_time_ns = stored_time_ns + 1 WHERE $chain AND sequence = 7",
            (ContentChanged, 7, 7),
        ),
        (
            "UPDATE archive SET headers = '[]' WHERE $chain AND sequence = 3",
            (ContentChanged, 3, 3),
        ),
        (
            "UPDATE archive SET headers = 'x' WHERE $chain AND sequence = 3",
            (Unreadable, 3, 3),
        ),
        (
            "UPDATE archive SET commitment = link WHERE $chain AND sequence = 3",
            (ContentChanged, 3, 3),
        ),
        (
            "UPDATE archive SET event_type = 'x' WHERE $chain AND sequence = 3",
            (ColumnChanged, 3, 3),
        ),
        (
            "UPDATE archive SET link = commitment WHERE $chain AND sequence = 3",
            (LinkChanged, 3, 3),
        ),
        (
            "UPDATE archive SET link = commitment WHERE $chain AND sequence = 7",
            (LinkChanged, 7, 7),
        ),
        (
            "DELETE FROM archive WHERE $chain AND sequence = 3",
            (Removed, 3, 4),
        ),
        (
            "DELETE FROM archive WHERE $chain AND sequence = 1",
            (Removed, 1, 1),
        ),
        (
            "DELETE FROM archive WHERE $chain AND sequence > 5",
            (Removed, 6, 7),
        ),
        (swap, (Swapped, 2, 6)),
        (COPY, (Inserted, 4, 4)),
        (
            "UPDATE archive_heads SET row_count = row_count + 1 WHERE $chain",
            (HeadChanged, 7, 7),
        ),
        ("DELETE FROM archive WHERE $chain", (Removed, 1, 7)),
    ]
}

pub(in crate::store) async fn whatever_was_changed_in_the_tables_is_found_there_and_in_an_export(
    fixture: &Fixture,
) {
    let table = changes();
    // A chain each, with a gap.
    for place in 0..=table.len() {
        chain(fixture, &format!("c{place}"), &[1, 2, 3, 5, 6, 7]).await;
    }
    for (place, (statement, _)) in table.iter().enumerate() {
        let chain = format!("stream = 'EVENTS' AND incarnation = 'c{place}'");
        (fixture.tamper)(&statement.replace("$chain", &chain)).await;
    }
    let reports = checked(fixture, &Proof::default()).await;
    let export = checked_in_an_export(fixture, &Proof::default()).await;
    assert_eq!(export.problems, [] as [&str; 0]);
    for (place, (statement, expected)) in table.iter().enumerate() {
        let name = format!("c{place}");
        let report = of(&reports, &name);
        assert_eq!(found(report), [*expected], "{statement}: {report:?}");
        let from_export = of(&export.chains, &name);
        let expected = match expected {
            // An export has what is committed to and nothing else.
            (ColumnChanged, ..) => Vec::new(),
            (Unreadable, at, through) => vec![(ContentChanged, *at, *through)],
            same => vec![*same],
        };
        assert_eq!(found(from_export), expected, "{statement}: {from_export:?}");
    }
    let untouched = of(&reports, &format!("c{}", table.len()));
    assert!(untouched.is_intact(), "{untouched:?}");
    assert_eq!((untouched.missing_count, untouched.gaps.len()), (1, 1));
}

pub(in crate::store) async fn rows_behind_the_end_of_a_chain_are_found(fixture: &Fixture) {
    chain(fixture, "1a", &[1, 2, 3]).await;
    let cut = "UPDATE archive_heads SET last_sequence = 2, row_count = 2,
        link = (SELECT link FROM archive WHERE sequence = 2)";
    (fixture.tamper)(cut).await;
    assert_eq!(found(&report(fixture).await), [(Inserted, 3, 3)]);
}

pub(in crate::store) async fn heads_are_signed_when_they_have_moved_and_never_over_another_past(
    fixture: &Fixture,
) {
    let signer = signer(fixture, 7);
    assert_eq!(signer.sign().await.unwrap(), 0, "nothing to sign");
    let head = chain(fixture, "1a", &[1, 2]).await;
    assert_eq!(signer.sign().await.unwrap(), 1);
    assert_eq!(signer.sign().await.unwrap(), 0, "it has not moved");
    let head = archive(fixture, head, vec![event("1a", 3)]).await;
    assert_eq!(signer.sign().await.unwrap(), 1);
    let all = HeadFilter::default();
    let heads = fixture.store.signed_heads(&all, None, 10).await.unwrap();
    let signed: Vec<_> = heads.iter().map(|kept| kept.head.sequence).collect();
    assert_eq!(signed, [2, 3]);
    let page = fixture
        .store
        .signed_heads(&all, Some(&heads[0].key()), 10)
        .await
        .unwrap();
    assert_eq!(page, heads[1..]);
    let other = HeadFilter {
        stream: Some("MESSAGES".to_owned()),
        incarnation: None,
    };
    assert_eq!(
        fixture.store.signed_heads(&other, None, 10).await.unwrap(),
        []
    );
    let report = &checked(fixture, &proof(true)).await[0];
    assert!(report.is_intact(), "{report:?}");
    let signed = &report.signed;
    assert_eq!(
        (
            signed.head_count,
            signed.verified_count,
            signed.last_sequence
        ),
        (2, 2, 3)
    );
    assert_eq!(signed.last_time, Some(at(100)));

    // With a new key, the head is signed once more.
    let next = super::archive::signer(fixture, 8);
    assert_eq!(next.sign().await.unwrap(), 1);
    assert_eq!(next.sign().await.unwrap(), 0);

    // The chain goes on, and somebody has changed what was signed.
    archive(fixture, head, vec![event("1a", 4)]).await;
    let changed = "UPDATE archive SET link = commitment WHERE sequence = 3";
    (fixture.tamper)(changed).await;
    assert_eq!(next.sign().await.unwrap(), 0);
    // Or the archive was set back.
    (fixture.tamper)(
        "DELETE FROM archive WHERE sequence > 2;
        UPDATE archive_heads SET last_sequence = 2, row_count = 2,
        link = (SELECT link FROM archive WHERE sequence = 2)",
    )
    .await;
    assert_eq!(next.sign().await.unwrap(), 0);
}

pub(in crate::store) async fn a_past_that_was_written_anew_is_found_by_signed_heads(
    fixture: &Fixture,
) {
    let signer = signer(fixture, 7);
    let head = chain(fixture, "1a", &[1, 2, 3]).await;
    signer.sign().await.unwrap();
    let head = archive(fixture, head, vec![event("1a", 4), event("1a", 5)]).await;
    signer.sign().await.unwrap();
    let heads = fixture
        .store
        .signed_heads(&HeadFilter::default(), None, 10)
        .await
        .unwrap();
    archive(fixture, head, vec![event("1a", 6)]).await;
    let sound = checked(fixture, &proof(true)).await;
    assert!(sound[0].is_intact(), "{sound:?}");

    // Every row anew, with another one in the middle, and each commitment and link as it should be.
    (fixture.tamper)("DELETE FROM archive; DELETE FROM archive_heads").await;
    let mut events: Vec<_> = (1..=6).map(|sequence| event("1a", sequence)).collect();
    events[3].subject.push('x');
    let mut batch = Batch::seal(Head::start("EVENTS", "1a"), events, rand::random);
    for entry in &mut batch.entries {
        entry.changes.clear();
    }
    fixture.store.append(&batch).await.unwrap();
    let report = &checked(fixture, &proof(true)).await[0];
    assert_eq!(found(report), [(NotAsSigned, 1, 3)], "{report:?}");
    let export = checked_in_an_export(fixture, &proof(true)).await;
    assert_eq!(found(&export.chains[0]), [(NotAsSigned, 1, 3)]);

    // Whoever also takes the signed heads away is found by a copy, or by their absence.
    (fixture.tamper)("DELETE FROM signed_heads").await;
    let unsigned = checked(fixture, &Proof::default()).await;
    assert!(
        unsigned[0].is_intact(),
        "nothing tells any more: {unsigned:?}"
    );
    let report = &checked(fixture, &proof(true)).await[0];
    assert_eq!(found(report), [(NotSigned, 0, 0)]);
    let kept = Proof {
        kept_heads: heads.iter().map(|kept| kept.head.note.clone()).collect(),
        ..proof(false)
    };
    let report = &checked(fixture, &kept).await[0];
    assert_eq!(found(report), [(NotAsSigned, 1, 3)]);
    let export = checked_in_an_export(fixture, &kept).await;
    assert_eq!(found(&export.chains[0]), [(NotAsSigned, 1, 3)]);
}

pub(in crate::store) async fn a_chain_that_was_taken_away_is_found_by_the_life_after_it(
    fixture: &Fixture,
) {
    chain(fixture, "1a", &[1, 2, 3]).await;
    let life = Life {
        stream: "EVENTS".to_owned(),
        incarnation: "1b".to_owned(),
        begin_time: at(50),
        previous_incarnation: "1a".to_owned(),
        common_sequence: 0,
    };
    fixture.store.begin_life(&life).await.unwrap();
    let again = Life {
        begin_time: at(60),
        ..life.clone()
    };
    fixture.store.begin_life(&again).await.unwrap();
    assert_eq!(
        fixture.store.life("EVENTS", "1b").await.unwrap(),
        Some(life)
    );
    assert_eq!(fixture.store.life("EVENTS", "1a").await.unwrap(), None);
    chain(fixture, "1b", &[1, 2]).await;
    assert_eq!(signer(fixture, 7).sign().await.unwrap(), 2);
    let sound = checked(fixture, &proof(true)).await;
    assert!(sound.iter().all(ChainReport::is_intact), "{sound:?}");

    (fixture.tamper)(
        "DELETE FROM archive WHERE incarnation = '1a';
        DELETE FROM archive_heads WHERE incarnation = '1a';
        DELETE FROM signed_heads WHERE incarnation = '1a'",
    )
    .await;
    let reports = checked(fixture, &proof(true)).await;
    assert!(of(&reports, "1b").is_intact());
    let gone = of(&reports, "1a");
    assert!(found(gone).contains(&(Removed, 1, 3)), "{gone:?}");
    let export = checked_in_an_export(fixture, &proof(true)).await;
    assert_eq!(found(of(&export.chains, "1a")), [(Removed, 1, 3)]);
}

pub(in crate::store) async fn content_that_went_without_an_erasure_on_record_is_told(
    fixture: &Fixture,
) {
    chain(fixture, "1a", &[1, 2]).await;
    fixture
        .store
        .destroy_keys(&["c1".to_owned()], at(99))
        .await
        .unwrap();
    let report = report(fixture).await;
    assert_eq!(found(&report), [(ErasedOffRecord, 1, 1)]);
    assert_eq!(report.erased_count, 2);

    let erasure = casement_event::v1::Erasure {
        customer_ids: vec!["c1".to_owned()],
        ..Default::default()
    };
    let recorded: Event = casement_event::v1::ErasureAdvanced {
        erasure: Some(erasure),
    }
    .into();
    let subject = "casement.customers.erasure.p1.e1";
    let recorded = fixture::record_on(subject, "CUSTOMERS", 1, &recorded);
    archive(fixture, Head::start("CUSTOMERS", "1a"), vec![recorded]).await;
    let reports = checked(fixture, &Proof::default()).await;
    assert!(reports.iter().all(ChainReport::is_intact), "{reports:?}");
    assert_eq!(of(&reports, "1a").stream, "CUSTOMERS");
    assert_eq!(reports[1].erased_count, 2);
}

/// Stored events of every type, of another version of each, and of no type at all.
fn of_other_versions() -> Vec<Stored> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../event/tests/golden");
    let mut events = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    // A field that no version has yet: number 20,000, three bytes.
    let unknown = [0x82, 0xe2, 0x09, 0x03, b'n', b'e', b'w'];
    for path in names {
        let name = path.file_name().unwrap().to_str().unwrap();
        let short = name.split('.').next().unwrap();
        let text: String = std::fs::read_to_string(&path)
            .unwrap()
            .split_whitespace()
            .collect();
        let payload = hex::decode(text).unwrap();
        let newer = [&payload[..], &unknown].concat();
        let known = format!("casement.events.v1.{short}");
        events.push((known.clone(), payload.clone()));
        events.push((known, newer));
        events.push((format!("casement.events.v2.{short}"), payload));
    }
    events.push((
        "casement.events.v1.MessageEnded".to_owned(),
        vec![0xff, 0x00],
    ));
    events.push((String::new(), Vec::new()));
    let stored = |(place, (event_type, payload)): (usize, (String, Vec<u8>))| {
        let sequence = u64::try_from(place).unwrap() + 1;
        let mut stored = stored("EVENTS", sequence);
        for (name, value) in &mut stored.headers {
            if name == casement_event::header::TYPE {
                value.clone_from(&event_type);
            }
        }
        // Headers that no version has, one of them twice.
        for value in ["1", "2"] {
            stored
                .headers
                .push(("ce-later".to_owned(), value.to_owned()));
        }
        stored.payload = payload.into();
        stored
    };
    events.into_iter().enumerate().map(stored).collect()
}

pub(in crate::store) async fn events_of_other_versions_are_archived_byte_for_byte(
    fixture: &Fixture,
) {
    let events = of_other_versions();
    let mut head = Head::start("EVENTS", "1a");
    for batch in events.chunks(100) {
        head = archive(fixture, head, batch.to_vec()).await;
    }
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let all = EventFilter::default();
        let page = fixture
            .store
            .events(&all, after.as_ref(), ALL)
            .await
            .unwrap();
        after = page.rows.last().map(crate::store::EventKey::of);
        rows.extend(page.rows);
        if !page.has_more {
            break;
        }
    }
    assert!(rows.iter().all(|row| row.content == Content::Open));
    let read: Vec<_> = rows.iter().map(|row| row.stored.clone()).collect();
    assert!(read == events, "each reads back as it was stored");
    let report = &checked(fixture, &Proof::default()).await[0];
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.checked_count, events.len() as u64);

    // What this version knows of an event is shown, whatever else it says.
    let names = |row: &crate::model::Row| crate::json::payload(&row.stored);
    let [known, newer, unknown] = [&rows[0], &rows[1], &rows[2]].map(names);
    assert_ne!(known, "");
    assert_eq!(newer, known, "with a field that is not known");
    assert_eq!(unknown, "", "of a type that is not known, the bytes alone");

    // And goes out as it came in.
    let export = export_of(exported(fixture).await);
    let from_export = verify_export(export.as_bytes(), &Proof::default()).unwrap();
    assert!(from_export.is_intact(), "{from_export:?}");
    let written = export
        .lines()
        .filter_map(|line| match lines::read(line).unwrap() {
            Some(Piece::Row(row)) => row.event,
            _ => None,
        });
    let written: Vec<_> = written.map(|event| event.payload).collect();
    let payloads: Vec<_> = events.iter().map(|event| event.payload.to_vec()).collect();
    assert!(written == payloads, "byte for byte");
}
