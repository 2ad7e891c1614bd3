//! Exports that somebody changes.

use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::export_archive_response::Piece;

use super::*;
use crate::fixture;
use crate::verify::Proof;
use crate::verify::report::FindingKind::{
    self, ContentChanged, Inserted, LinkChanged, Removed, Swapped, Unreadable,
};

type Tamper = fn(&mut Vec<Piece>);

/// An export of one chain: a beginning, where it stands, six rows, an end.
fn pieces() -> Vec<Piece> {
    let (rows, head) = fixture::rows("EVENTS", &[1, 2, 3, 4, 5, 6]);
    let begin = Piece::Begin(proto::ExportBegin {
        format: FORMAT,
        ..Default::default()
    });
    let chain = Piece::Chain(proto::ExportChain {
        stream: head.stream,
        incarnation: head.incarnation,
        last_sequence: head.last_sequence,
        link: head.link.to_vec(),
        row_count: head.row_count,
        common_sequence: 0,
    });
    let rows = rows
        .into_iter()
        .map(|row| Piece::Row(piece(&Asked::default(), row)));
    let end = Piece::End(proto::ExportEnd { row_count: 6 });
    [begin, chain]
        .into_iter()
        .chain(rows)
        .chain([end])
        .collect()
}

fn text(pieces: Vec<Piece>) -> String {
    pieces
        .into_iter()
        .map(|piece| lines::of(piece) + "\n")
        .collect()
}

fn check(text: &str) -> anyhow::Result<ExportReport> {
    verify_export(text.as_bytes(), &Proof::default())
}

fn row(piece: &mut Piece) -> &mut proto::ExportRow {
    match piece {
        Piece::Row(row) => row,
        other => panic!("{other:?} is no row"),
    }
}

fn event(piece: &mut Piece) -> &mut proto::ExportEvent {
    row(piece).event.as_mut().unwrap()
}

#[test]
fn an_export_says_what_the_archive_says() {
    let report = check(&text(pieces())).unwrap();
    assert!(report.is_intact(), "{report:?}");
    let chain = &report.chains[0];
    assert_eq!((chain.checked_count, chain.last_sequence), (6, 6));
    assert!(chain.first_stored_time.is_some());
}

#[test]
fn whatever_was_changed_in_an_export_is_found() {
    let table: [(&str, Tamper, (FindingKind, u64, u64)); 12] = [
        (
            "payload",
            |it| event(&mut it[4]).payload[0] ^= 1,
            (ContentChanged, 3, 3),
        ),
        (
            "subject",
            |it| event(&mut it[4]).subject.push('x'),
            (ContentChanged, 3, 3),
        ),
        (
            "headers",
            |it| event(&mut it[4]).headers.reverse(),
            (ContentChanged, 3, 3),
        ),
        (
            "time",
            |it| event(&mut it[4]).stored_time.as_mut().unwrap().nanos += 1,
            (ContentChanged, 3, 3),
        ),
        (
            "salt",
            |it| event(&mut it[4]).salt = vec![0; 16],
            (ContentChanged, 3, 3),
        ),
        (
            "short salt",
            |it| event(&mut it[4]).salt = vec![0],
            (Unreadable, 3, 3),
        ),
        (
            "no content",
            |it| row(&mut it[4]).event = None,
            (Unreadable, 3, 3),
        ),
        (
            "link",
            |it| row(&mut it[4]).link = vec![0; 32],
            (LinkChanged, 3, 3),
        ),
        ("a row less", |it| drop(it.remove(4)), (Removed, 3, 3)),
        ("the last rows", |it| drop(it.drain(6..8)), (Removed, 5, 6)),
        ("rows out of order", |it| it.swap(4, 5), (Inserted, 3, 3)),
        (
            "rows in each other's places",
            |it| {
                it.swap(4, 6);
                row(&mut it[4]).sequence = 3;
                row(&mut it[6]).sequence = 5;
            },
            (Swapped, 3, 5),
        ),
    ];
    for (what, tamper, expected) in table {
        let mut pieces = pieces();
        tamper(&mut pieces);
        let report = check(&text(pieces)).unwrap();
        let found = report.chains[0].findings.iter();
        let found: Vec<_> = found
            .map(|it| (it.kind, it.sequence, it.last_sequence))
            .collect();
        assert!(found.contains(&expected), "{what}: {found:?}");
        assert!(!report.is_intact(), "{what}");
    }
}

#[test]
fn content_that_is_left_out_is_checked_by_its_commitment() {
    let mut pieces = pieces();
    for (place, absence) in [(3, "WITHHELD"), (4, "ERASED"), (5, "SEALED")] {
        row(&mut pieces[place]).event = None;
        absence.clone_into(&mut row(&mut pieces[place]).absence);
    }
    let report = check(&text(pieces.clone())).unwrap();
    assert!(report.is_intact(), "{report:?}");
    let chain = &report.chains[0];
    assert_eq!(
        (chain.withheld_count, chain.erased_count, chain.sealed_count),
        (1, 1, 1)
    );
    row(&mut pieces[4]).commitment = vec![1; 32];
    assert!(!check(&text(pieces)).unwrap().is_intact());
}

#[test]
fn an_export_that_was_cut_off_or_is_none_is_told() {
    let whole = text(pieces());
    let (cut, _) = whole.trim_end().rsplit_once('\n').unwrap();
    let report = check(cut).unwrap();
    assert!(
        report.chains[0].is_intact() && !report.is_intact(),
        "{report:?}"
    );
    assert!(report.problems[0].contains("cut off"));
    let short = &whole[..whole.len() - 5];
    assert!(!check(short).unwrap().is_intact());
    assert!(check("").is_err());
    assert!(check("a letter\n").is_err());
    let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
    let refused = format!("{:#}", check(&newer).unwrap_err());
    assert!(refused.contains("newer"), "{refused}");
}

#[test]
fn what_later_versions_add_is_passed_over() {
    let whole = text(pieces());
    let more = whole.replacen("\"format\":1", "\"format\":1,\"weather\":\"fine\"", 1);
    let more = more.replacen('\n', "\n{\"forecast\":{\"days\":3}}\n", 1);
    let report = check(&more).unwrap();
    assert!(report.is_intact(), "{report:?}");
}

#[test]
fn only_what_is_asked_for_comes_with_its_content() {
    let (rows, _) = fixture::rows("EVENTS", &[1]);
    let asked = |brand: &str, event_type: &str| Asked {
        brand_id: Some(brand.to_owned()),
        event_type: Some(event_type.to_owned()),
        stream: None,
    };
    let inbound = "casement.events.v1.InboundMessageReceived";
    for (asked, absence) in [
        (asked("default", inbound), ""),
        (asked("other", inbound), "WITHHELD"),
        (
            asked("default", "casement.events.v1.MessageEnded"),
            "WITHHELD",
        ),
        (Asked::default(), ""),
    ] {
        let row = piece(&asked, rows[0].clone());
        assert_eq!(row.absence, absence, "{asked:?}");
        assert_eq!(row.event.is_none(), !absence.is_empty());
    }
}
