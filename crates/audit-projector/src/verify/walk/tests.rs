//! A chain against what an attacker or a broken disk may do to it.

use super::super::anchors::{Anchors, SignedHead};
use super::*;
use crate::fixture::{rows, stored};
use crate::heads::{Previous, Statement};
use crate::model::{Content, Row};
use crate::note::Signer;

type Tamper = fn(&mut Vec<Row>);

fn walk(rows: &[Row], head: Option<&Head>, anchors: Vec<Anchor>) -> ChainReport {
    let mut walk = Walk::new("EVENTS", "1a", head.cloned(), anchors);
    for row in rows {
        walk.check(&Checked::of(row));
    }
    walk.finish(true)
}

fn verify(rows: &[Row], head: &Head) -> ChainReport {
    walk(rows, Some(head), Vec::new())
}

fn found(report: &ChainReport) -> Vec<(FindingKind, u64, u64)> {
    let findings = report.findings.iter();
    findings
        .map(|it| (it.kind, it.sequence, it.last_sequence))
        .collect()
}

/// Links rows anew from the start, as whoever can write the whole table would.
fn relink(rows: &mut [Row]) -> Head {
    let mut head = Head::start("EVENTS", "1a");
    for row in rows {
        (row.commitment, row.link) = head.advance(&row.salt, &row.stored);
    }
    head
}

fn signer() -> Signer {
    Signer::new("a.example", &[7; 32])
}

fn note(head: &Head, previous: Option<Previous>) -> SignedHead {
    let statement = Statement {
        origin: "a.example".to_owned(),
        stream: head.stream.clone(),
        incarnation: head.incarnation.clone(),
        sequence: head.last_sequence,
        row_count: head.row_count,
        link: head.link,
        time: crate::fixture::start(),
        previous,
    };
    SignedHead {
        stream: head.stream.clone(),
        incarnation: head.incarnation.clone(),
        sequence: head.last_sequence,
        note: signer().sign(&statement.text().unwrap()),
    }
}

fn anchors(heads: &[SignedHead]) -> Vec<Anchor> {
    let mut anchors = Anchors::new(true);
    for head in heads {
        anchors.add(head, &[signer().verifier().clone()]);
    }
    let (anchors, findings) = anchors.take(&("EVENTS".to_owned(), "1a".to_owned()));
    assert_eq!(findings, []);
    anchors
}

#[test]
fn an_untouched_chain_is_intact_and_says_what_never_came_into_it() {
    let (rows, head) = rows("EVENTS", &[2, 3, 9]);
    let report = verify(&rows, &head);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(
        (
            report.checked_count,
            report.first_sequence,
            report.last_sequence,
            report.head
        ),
        (3, 2, 9, head.link)
    );
    let gap = |first_sequence, last_sequence| Gap {
        first_sequence,
        last_sequence,
    };
    assert_eq!(report.gaps, [gap(1, 1), gap(4, 8)]);
    assert_eq!(report.missing_count, 6);
    assert!(verify(&[], &Head::start("EVENTS", "1a")).is_intact());
}

#[test]
fn a_chain_that_goes_on_from_an_earlier_life_has_no_gap_at_its_start() {
    let (rows, head) = rows("EVENTS", &[5, 6]);
    let mut walk = Walk::new("EVENTS", "1a", Some(head), Vec::new());
    walk.begin_after(4);
    for row in &rows {
        walk.check(&Checked::of(row));
    }
    let report = walk.finish(true);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.gaps, []);
}

#[test]
fn whatever_was_changed_is_found_where_it_was_changed_and_once() {
    use FindingKind::{ColumnChanged, ContentChanged, Inserted, LinkChanged, Removed, Swapped};
    let (intact, head) = rows("EVENTS", &[1, 2, 3, 4, 5, 6]);
    let table: [(&str, Tamper, (FindingKind, u64, u64)); 17] = [
        (
            "payload",
            |rows| rows[2].stored.payload = b"other".to_vec().into(),
            (ContentChanged, 3, 3),
        ),
        (
            "salt",
            |rows| rows[2].salt = [9; 16],
            (ContentChanged, 3, 3),
        ),
        (
            "commitment",
            |rows| rows[2].commitment = [9; 32],
            (ContentChanged, 3, 3),
        ),
        (
            "content that does not open",
            |rows| rows[2].content = Content::Broken,
            (ContentChanged, 3, 3),
        ),
        (
            "column",
            |rows| rows[1].index.event_type = "x".to_owned(),
            (ColumnChanged, 2, 2),
        ),
        ("link", |rows| rows[2].link = [9; 32], (LinkChanged, 3, 3)),
        (
            "first link",
            |rows| rows[0].link = [9; 32],
            (LinkChanged, 1, 1),
        ),
        (
            "last link",
            |rows| rows[5].link = [9; 32],
            (LinkChanged, 6, 6),
        ),
        ("first row", |rows| drop(rows.remove(0)), (Removed, 1, 1)),
        ("middle row", |rows| drop(rows.remove(2)), (Removed, 3, 3)),
        (
            "middle rows",
            |rows| drop(rows.drain(2..4)),
            (Removed, 3, 4),
        ),
        (
            "row before the last",
            |rows| drop(rows.remove(4)),
            (Removed, 5, 5),
        ),
        ("last rows", |rows| rows.truncate(4), (Removed, 5, 6)),
        (
            "neighbours swapped",
            |rows| {
                rows.swap(1, 2);
                (rows[1].stored.sequence, rows[2].stored.sequence) = (2, 3);
            },
            (Swapped, 2, 3),
        ),
        (
            "rows swapped",
            |rows| {
                rows.swap(1, 4);
                (rows[1].stored.sequence, rows[4].stored.sequence) = (2, 5);
            },
            (Swapped, 2, 5),
        ),
        (
            "last rows swapped",
            |rows| {
                rows.swap(4, 5);
                (rows[4].stored.sequence, rows[5].stored.sequence) = (5, 6);
            },
            (Swapped, 5, 6),
        ),
        (
            "a row twice",
            |rows| rows.insert(3, rows[2].clone()),
            (Inserted, 3, 3),
        ),
    ];
    for (what, tamper, expected) in table {
        let mut rows = intact.clone();
        tamper(&mut rows);
        let report = verify(&rows, &head);
        assert_eq!(found(&report), [expected], "{what}: {report:?}");
    }
}

#[test]
fn a_row_that_was_slipped_in_is_told_from_one_that_was_changed() {
    let (rows, head) = rows("EVENTS", &[1, 2, 3, 5, 6]);
    for is_linked in [true, false] {
        for place in [3, 4] {
            let mut all = rows.clone();
            // A row of its own, linked to the one before it, or to nothing.
            let mut after = Head::start("EVENTS", "1a");
            after.link = all[2].link;
            let mut forged = all[0].clone();
            forged.stored = stored("EVENTS", 4);
            forged.stored.payload = b"forged".to_vec().into();
            (forged.commitment, forged.link) = after.advance(&forged.salt, &forged.stored);
            if !is_linked {
                forged.link = [9; 32];
            }
            forged.index.event_id = crate::index::event_id(&forged.stored).to_owned();
            forged.index.event_time = crate::index::event_time(&forged.stored);
            if place == 4 {
                // Behind the one that follows: its link follows from nothing.
                all.remove(4);
            }
            all.insert(3, forged);
            let claimed = if place == 4 {
                let mut short = head.clone();
                (short.last_sequence, short.link, short.row_count) = (5, all[4].link, 4);
                short
            } else {
                head.clone()
            };
            let report = verify(&all, &claimed);
            assert_eq!(
                found(&report),
                [(FindingKind::Inserted, 4, 4)],
                "{is_linked} {place}: {report:?}"
            );
        }
    }
}

#[test]
fn several_changes_are_all_found() {
    let (mut all, head) = rows("EVENTS", &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    all[7].stored.payload = b"x".to_vec().into();
    all.remove(4);
    all[1].link = [9; 32];
    let report = verify(&all, &head);
    assert_eq!(
        found(&report),
        [
            (FindingKind::LinkChanged, 2, 2),
            (FindingKind::Removed, 5, 5),
            (FindingKind::ContentChanged, 8, 8),
        ]
    );
    assert_eq!(report.broken().unwrap().sequence, 2);
}

#[test]
fn what_is_wrong_is_told_up_to_a_limit_and_counted_beyond_it() {
    let sequences: Vec<u64> = (1..=150).collect();
    let (mut all, head) = rows("EVENTS", &sequences);
    for row in &mut all {
        row.stored.payload = b"x".to_vec().into();
    }
    let report = verify(&all, &head);
    assert_eq!(
        (report.findings.len(), report.more_findings_count),
        (100, 50)
    );
    assert!(!report.is_intact());
}

#[test]
fn a_row_rewritten_together_with_its_commitment_and_link_breaks_the_next() {
    let (mut all, head) = rows("EVENTS", &[1, 2, 3, 4]);
    let mut forged = Head::start("EVENTS", "1a");
    forged.advance(&all[0].salt, &all[0].stored);
    all[1].stored.payload = b"forged".to_vec().into();
    (all[1].commitment, all[1].link) = forged.advance(&all[1].salt, &all[1].stored);
    let report = verify(&all, &head);
    assert_eq!(found(&report), [(FindingKind::Rewritten, 3, 3)]);
    assert!(
        report.findings[0].explanation.contains("row 2"),
        "{report:?}"
    );
}

#[test]
fn rows_moved_about_are_found_where_they_begin_to_be_wrong() {
    let (mut all, head) = rows("EVENTS", &[1, 2, 3, 4, 5, 6]);
    // Each in its neighbour's place.
    all[1..5].rotate_left(1);
    for (row, sequence) in all.iter_mut().zip(1..) {
        row.stored.sequence = sequence;
    }
    let report = verify(&all, &head);
    assert!(!report.is_intact());
    assert_eq!(report.findings[0].sequence, 2, "{report:?}");
}

#[test]
fn a_chain_without_its_head_or_with_another_is_not_intact() {
    let (rows, head) = rows("EVENTS", &[1, 2]);
    let report = walk(&rows, None, Vec::new());
    assert_eq!(found(&report), [(FindingKind::HeadMissing, 2, 2)]);
    let another = Head {
        row_count: 3,
        ..head.clone()
    };
    let report = verify(&rows, &another);
    assert_eq!(found(&report), [(FindingKind::HeadChanged, 2, 2)]);
    let another = Head {
        link: [9; 32],
        ..head
    };
    assert!(!verify(&rows, &another).is_intact());
}

#[test]
fn content_that_was_erased_or_cannot_be_opened_is_no_fault_while_the_links_hold() {
    let (mut all, head) = rows("EVENTS", &[1, 2, 3, 4]);
    for (place, content) in [(1, Content::Erased), (2, Content::Sealed)] {
        all[place].content = content;
        all[place].stored.payload = Vec::new().into();
        all[place].salt = [0; 16];
    }
    let report = verify(&all, &head);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.erased_count, report.sealed_count), (1, 1));
    // Nor does erasing hide anything.
    all[1].commitment = [9; 32];
    assert_eq!(
        found(&verify(&all, &head)),
        [(FindingKind::Rewritten, 2, 2)]
    );
}

#[test]
fn a_past_that_was_written_anew_as_a_whole_is_found_by_what_was_signed() {
    let (mut all, head) = rows("EVENTS", &[1, 2, 3, 4, 5]);
    let (_, early) = rows("EVENTS", &[1, 2]);
    let (_, middle) = rows("EVENTS", &[1, 2, 3, 4]);
    let anchors = anchors(&[note(&middle, None), note(&early, None), note(&head, None)]);
    let report = walk(&all, Some(&head), anchors.clone());
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(
        (report.signed.head_count, report.signed.verified_count),
        (3, 3)
    );
    assert_eq!(report.signed.last_sequence, 5);

    all[2].stored.payload = b"forged".to_vec().into();
    let forged = relink(&mut all);
    assert!(
        verify(&all, &forged).is_intact(),
        "nothing but a signature tells"
    );
    let report = walk(&all, Some(&forged), anchors.clone());
    assert_eq!(
        found(&report),
        [(FindingKind::NotAsSigned, 3, 4)],
        "{report:?}"
    );

    // Cut off, with the head of the chain set back.
    let (cut, short) = rows("EVENTS", &[1, 2, 3]);
    let report = walk(&cut, Some(&short), anchors.clone());
    assert_eq!(
        found(&report)[0],
        (FindingKind::Removed, 4, 5),
        "{report:?}"
    );
    assert!(report.findings[0].explanation.contains("signed"));

    // Everything gone.
    let report = walk(&[], None, anchors);
    assert!(
        found(&report).contains(&(FindingKind::Removed, 1, 5)),
        "{report:?}"
    );
}

#[test]
fn a_chain_that_was_taken_away_is_told_of_by_the_life_after_it() {
    let (all, head) = rows("EVENTS", &[1, 2, 3]);
    let next = Head {
        incarnation: "1b".to_owned(),
        ..head.clone()
    };
    let previous = Previous {
        incarnation: "1a".to_owned(),
        sequence: 3,
        link: head.link,
    };
    let anchors = anchors(&[note(&next, Some(previous))]);
    assert!(walk(&all, Some(&head), anchors.clone()).is_intact());
    let report = walk(&[], None, anchors);
    let told = &report.findings.last().unwrap().explanation;
    assert!(told.contains("next life"), "{report:?}");
}

#[test]
fn signed_heads_that_were_changed_prove_nothing_and_are_told() {
    let (_, head) = rows("EVENTS", &[1, 2]);
    let key = signer().verifier().clone();
    let name = ("EVENTS".to_owned(), "1a".to_owned());
    let good = note(&head, None);
    let changed = [
        SignedHead {
            note: good.note.replace("rows 2", "rows 3"),
            ..good.clone()
        },
        SignedHead {
            sequence: 1,
            ..good.clone()
        },
        SignedHead {
            note: "gone".to_owned(),
            ..good.clone()
        },
    ];
    for head in changed {
        let mut anchors = Anchors::new(false);
        anchors.add(&head, std::slice::from_ref(&key));
        let (anchors, findings) = anchors.take(&name);
        assert_eq!(anchors, []);
        assert_eq!(findings[0].kind, FindingKind::SignedHeadChanged, "{head:?}");
    }
    let stranger = Signer::new("a.example", &[8; 32]).verifier().clone();
    let mut anchors = Anchors::new(true);
    anchors.add(&good, std::slice::from_ref(&stranger));
    let kept = anchors.add_kept(&good.note, std::slice::from_ref(&stranger));
    assert!(kept.unwrap_err().contains("none of the keys"));
    let (taken, findings) = anchors.take(&name);
    assert!(!taken[0].is_verified);
    assert_eq!(findings[0].kind, FindingKind::NotSigned);
    let mut anchors = Anchors::new(true);
    anchors
        .add_kept(&good.note, std::slice::from_ref(&key))
        .unwrap();
    assert_eq!(anchors.take(&name).1, []);
}
