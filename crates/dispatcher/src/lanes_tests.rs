//! The book of lanes: order, halts, priorities, and who runs a lane.

use casement_event::v1;

use super::*;

fn stored(unique: u128, state: &str, requested: &str, sequence: u64) -> Stored {
    let number = BusinessNumber::parse("15550001111").unwrap();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Stored {
        stream: "MESSAGES".to_owned(),
        incarnation: "1".to_owned(),
        sequence,
        subject: subject::message(&MessageId::new(&number, unique)),
        stored_at: Timestamp::UNIX_EPOCH,
        headers: vec![
            header("ce-customer", "c1"),
            header("ce-requesttime", requested),
            header("ce-state", state),
        ],
        payload: bytes::Bytes::new(),
    }
}

fn key() -> Key {
    Key {
        number: BusinessNumber::parse("15550001111").unwrap(),
        customer: CustomerId::parse("c1").unwrap(),
    }
}

#[test]
fn a_lane_keeps_the_order_of_requests_and_drops_what_was_accepted() {
    let book = Book::default();
    // The newest event of each subject may come in any order after a restart.
    book.see(&stored(2, "HELD", "2026-11-22T10:00:02Z", 1));
    book.see(&stored(3, "PENDING", "2026-11-22T10:00:03Z", 2));
    book.see(&stored(1, "HELD", "2026-11-22T10:00:01Z", 3));
    let order: Vec<_> = book
        .lane(&key())
        .iter()
        .map(|id| id.as_str().chars().last())
        .collect();
    assert_eq!(order, [Some('1'), Some('2'), Some('3')]);
    book.see(&stored(1, "ACCEPTED", "2026-11-22T10:00:01Z", 4));
    assert_eq!(book.lane(&key()).len(), 2);
    for unique in [2, 3] {
        book.see(&stored(unique, "ENDED", "2026-11-22T10:00:02Z", 9));
    }
    book.see(&stored(3, "ENDED", "2026-11-22T10:00:03Z", 9));
    assert!(!book.has_waiting(&key()));
}

#[test]
fn the_book_knows_who_waits_for_which_halt() {
    let book = Book::default();
    let deferred = |unique, halt: &str| {
        let event = v1::MessageDeferred {
            halt_id: halt.to_owned(),
            ..v1::MessageDeferred::default()
        };
        let mut stored = stored(unique, "DEFERRED", "2026-11-22T10:00:01Z", 1);
        let event = Event::from(event);
        let name = "ce-type".to_owned();
        stored.headers.push((name, event.event_type().to_owned()));
        stored.payload = event.encode();
        stored
    };
    for (unique, halt) in [(1, "a"), (2, "a"), (3, "b")] {
        book.see(&deferred(unique, halt));
    }
    let ours = key().number;
    assert_eq!((book.deferred_for("a"), book.deferred_for("b")), (2, 1));
    assert_eq!(book.waiting_of(|number| *number == ours), 3);
    assert_eq!(book.lanes_of_halt("a"), [key()]);
    // One waits for another halt now, one goes, one is over.
    book.see(&deferred(1, "b"));
    book.see(&stored(2, "ATTEMPTING", "2026-11-22T10:00:01Z", 2));
    book.see(&stored(3, "ENDED", "2026-11-22T10:00:01Z", 3));
    assert_eq!((book.deferred_for("a"), book.deferred_for("b")), (0, 1));
    assert_eq!(book.halts(), ["b"]);
    assert_eq!(book.waiting_of(|number| *number == ours), 2);
}

#[test]
fn a_lane_runs_once_and_goes_round_for_what_came_meanwhile() {
    let book = Arc::new(Book::default());
    let mut run = book.enter(&key()).unwrap();
    assert!(book.enter(&key()).is_none(), "already running");
    assert!(run.goes_round());
    assert!(!run.goes_round());
    let next = book.enter(&key()).unwrap();
    drop(run);
    assert!(book.enter(&key()).is_none(), "the next one still runs");
    drop(next);
    assert!(book.enter(&key()).is_some(), "dropped in the middle");
}

#[test]
fn a_lane_is_as_urgent_as_the_most_urgent_message_that_waits_in_it() {
    let book = Book::default();
    let with = |unique, priority: &str, state: &str| {
        let mut stored = stored(unique, state, "2026-11-22T10:00:01Z", 1);
        stored
            .headers
            .push(("ce-priority".to_owned(), priority.to_owned()));
        book.see(&stored);
    };
    assert_eq!(book.priority(&key()), None);
    with(1, "BULK", "PENDING");
    assert_eq!(book.priority(&key()), Some(Priority::Bulk));
    with(2, "REPLY", "HELD");
    assert_eq!(book.priority(&key()), Some(Priority::Bulk), "held");
    with(2, "REPLY", "PENDING");
    assert_eq!(book.priority(&key()), Some(Priority::Reply));
    with(2, "REPLY", "ACCEPTED");
    assert_eq!(book.priority(&key()), Some(Priority::Bulk));
}
