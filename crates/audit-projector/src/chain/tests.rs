//! The chain against what an attacker or a broken disk may do to it.

use super::*;
use crate::fixture::{rows, stored};

type Tamper = fn(&mut Vec<Row>);

fn verify(rows: &[Row], head: &Head) -> ChainReport {
    let mut verifier = Verifier::new("EVENTS", "1a", Some(head.clone()));
    for row in rows {
        verifier.check(row);
    }
    verifier.finish()
}

#[test]
fn commitments_and_links_never_change() {
    // Archives in the field are checked against these values. They were computed from the
    // module's description by other means, not by this code.
    let stored = Stored {
        stream: "EVENTS".to_owned(),
        incarnation: "1a".to_owned(),
        sequence: 7,
        subject: "casement.events.inbound.03.15550001111.c1".to_owned(),
        stored_at: jiff::Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap(),
        headers: [
            ("ce-id", "1"),
            ("ce-type", "casement.events.v1.InboundMessageReceived"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        payload: bytes::Bytes::from_static(b"payload"),
    };
    let mut head = Head::start("EVENTS", "1a");
    let (commitment, link) = head.advance(&[5; 16], &stored);
    assert_eq!(
        hex::encode(commitment),
        "b83a792c84bc5f052360f298921d2e37f38498966e67f94123ae61ae6ced8a31"
    );
    assert_eq!(
        hex::encode(link),
        "30fb32161a7cc12c0712941bbfc0f23c8772389f5ac50c754143c295b6721ddd"
    );
}

#[test]
fn fields_do_not_run_together() {
    let mut one = stored("EVENTS", 1);
    let mut two = one.clone();
    one.headers = vec![("a".to_owned(), "bc".to_owned())];
    two.headers = vec![("ab".to_owned(), "c".to_owned())];
    assert_ne!(commitment(&[0; 16], &one), commitment(&[0; 16], &two));
    let head =
        |stream, incarnation| Head::start(stream, incarnation).link_of(1, &[0; 32], &[0; 32]);
    assert_ne!(head("AB", "C"), head("A", "BC"));
}

#[test]
fn every_part_of_an_event_is_committed_to() {
    let event = stored("EVENTS", 1);
    let original = commitment(&[0; 16], &event);
    let mut changed = vec![event.clone(), event.clone(), event.clone(), event.clone()];
    changed[0].subject.push('x');
    changed[1].stored_at = event.stored_at + jiff::SignedDuration::from_nanos(1);
    changed[2].headers.reverse();
    changed[3].payload = bytes::Bytes::from_static(b"other");
    for changed in changed {
        assert_ne!(commitment(&[0; 16], &changed), original);
    }
    assert_ne!(commitment(&[1; 16], &event), original, "the salt, too");
}

#[test]
fn an_untouched_chain_is_intact_with_gaps_and_without_rows() {
    let (rows, head) = rows("EVENTS", &[2, 3, 9]);
    let report = verify(&rows, &head);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(
        (report.checked_count, report.last_sequence, report.head),
        (3, 9, head.link)
    );
    assert!(verify(&[], &Head::start("EVENTS", "1a")).is_intact());
}

#[test]
fn whatever_was_changed_is_found_where_it_was_changed() {
    let (intact, head) = rows("EVENTS", &[1, 2, 3, 4, 5]);
    let table: [(&str, Tamper, u64, &str); 10] = [
        (
            "payload",
            |rows| rows[2].stored.payload = b"other".to_vec().into(),
            3,
            "content",
        ),
        ("salt", |rows| rows[2].salt = [9; 16], 3, "content"),
        (
            "column",
            |rows| rows[1].index.event_type = "x".to_owned(),
            2,
            "event_type",
        ),
        ("link", |rows| rows[2].link = [9; 32], 3, "link was changed"),
        (
            "last link",
            |rows| rows[4].link = [9; 32],
            5,
            "link was changed",
        ),
        (
            "first row",
            |rows| drop(rows.remove(0)),
            2,
            "start of the chain",
        ),
        (
            "middle row",
            |rows| drop(rows.remove(2)),
            4,
            "predecessor is missing",
        ),
        (
            "row before the last",
            |rows| drop(rows.remove(3)),
            5,
            "predecessor is missing",
        ),
        (
            "last row",
            |rows| drop(rows.pop()),
            5,
            "rows after 4 are missing",
        ),
        (
            "swapped rows",
            |rows| {
                rows.swap(1, 2);
                (rows[1].stored.sequence, rows[2].stored.sequence) = (2, 3);
            },
            2,
            "swapped",
        ),
    ];
    for (what, tamper, sequence, words) in table {
        let mut rows = intact.clone();
        tamper(&mut rows);
        let broken = verify(&rows, &head).broken.expect(what);
        assert_eq!(broken.sequence, sequence, "{what}: {}", broken.explanation);
        assert!(
            broken.explanation.contains(words),
            "{what}: {}",
            broken.explanation
        );
    }
}

#[test]
fn a_row_rewritten_together_with_its_commitment_and_link_breaks_the_next() {
    let (mut all, head) = rows("EVENTS", &[1, 2, 3, 4]);
    let mut forged = Head::start("EVENTS", "1a");
    forged.advance(&all[0].salt, &all[0].stored);
    all[1].stored.payload = b"forged".to_vec().into();
    (all[1].commitment, all[1].link) = forged.advance(&all[1].salt, &all[1].stored);
    let broken = verify(&all, &head).broken.unwrap();
    assert_eq!(broken.sequence, 3);
    assert!(
        broken.explanation.contains("rewritten"),
        "{}",
        broken.explanation
    );
}

#[test]
fn a_chain_without_its_head_is_not_intact() {
    let (rows, _) = rows("EVENTS", &[1, 2]);
    let mut verifier = Verifier::new("EVENTS", "1a", None);
    for row in &rows {
        verifier.check(row);
    }
    assert!(
        verifier
            .finish()
            .broken
            .unwrap()
            .explanation
            .contains("head")
    );
}
