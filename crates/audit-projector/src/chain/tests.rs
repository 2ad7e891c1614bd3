//! The chain as it is for ever.

use super::*;
use crate::fixture::stored;

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
    let first = |stream, incarnation| link((stream, incarnation), 1, &[0; 32], &[0; 32]);
    assert_ne!(first("AB", "C"), first("A", "BC"));
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
