//! The deadline index: nothing early, nothing lost, nothing twice by the log's word.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use casement_event::subject::stream;
use casement_event_log::deadline::{Due, InHand, Index, Now, Options};
use casement_event_log::{Expect, Log};
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::stage::{Ground, behind, note, notes_of, on_both, stage, write};

/// A clock that starts where the test says, and whether it can be trusted.
struct Clock {
    start: Timestamp,
    started: Instant,
    is_trusted: AtomicBool,
}

impl Clock {
    fn start() -> Arc<Self> {
        Arc::new(Self {
            start: "2026-01-01T00:00:00Z".parse().unwrap(),
            started: Instant::now(),
            is_trusted: AtomicBool::new(true),
        })
    }

    fn in_ms(&self, milliseconds: i64) -> Timestamp {
        self.now() + SignedDuration::from_millis(milliseconds)
    }
}

impl Now for Clock {
    fn now(&self) -> Timestamp {
        self.start + SignedDuration::try_from(self.started.elapsed()).unwrap()
    }

    fn is_trusted(&self) -> bool {
        self.is_trusted.load(Ordering::SeqCst)
    }
}

/// An index that ends with the test, and how many events it was shown.
struct Running {
    index: Index,
    seen: Arc<AtomicUsize>,
    _stopping: DropGuard,
}

fn options() -> Options {
    Options {
        stream: stream::EVENTS,
        filter: "casement.events.note.>".to_owned(),
        stagger: SignedDuration::ZERO,
        retry_after: SignedDuration::from_secs(60),
    }
}

fn start(log: &Log, options: Options, clock: &Arc<Clock>) -> Running {
    start_for(log, options, clock, None)
}

/// An index for a taker who says what it has in hand.
fn start_for(log: &Log, options: Options, clock: &Arc<Clock>, in_hand: Option<InHand>) -> Running {
    let stopping = CancellationToken::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let see = move |_: &casement_event::Stored| {
        count.fetch_add(1, Ordering::SeqCst);
    };
    let clock = Arc::clone(clock);
    let index = match in_hand {
        None => Index::start(log, options, clock, stopping.clone(), see),
        Some(in_hand) => Index::start_for(log, options, clock, stopping.clone(), in_hand, see),
    };
    Running {
        index,
        seen,
        _stopping: stopping.drop_guard(),
    }
}

/// Writes a message with a deadline, or none, and returns its sequence.
async fn set(log: &Log, name: &str, deadline: Option<Timestamp>) -> u64 {
    let record = note(&notes_of(name), name).with_deadline(deadline);
    log.append(record, Expect::Anything).await.unwrap().sequence
}

impl Running {
    /// Waits until it has seen `len` events and caught up.
    async fn has_seen(&self, len: usize) {
        let progress = self.index.handle().progress();
        eventually("the index has seen it", async || {
            let seen = self.seen.load(Ordering::SeqCst);
            let now = *progress.borrow();
            if seen >= len && now.is_caught_up {
                Ok(())
            } else {
                Err(format!("{seen} {now:?}"))
            }
        })
        .await;
    }

    async fn due(&mut self) -> Due {
        self.index.due().await.expect("it runs")
    }

    async fn due_name(&mut self) -> String {
        let subject = self.due().await.subject;
        subject.rsplit('.').next().unwrap_or_default().to_owned()
    }
}

/// How late each of some deadlines came; sorted, and none was early.
async fn lateness(
    log: &Log,
    clock: &Clock,
    running: &mut Running,
    round: usize,
) -> Vec<SignedDuration> {
    let mut deadlines = HashMap::new();
    for index in 0..10 {
        let name = format!("c{round}x{index}");
        // With a fraction that whole milliseconds would cut off.
        let deadline = clock.in_ms(300 + 20 * index) + SignedDuration::from_nanos(999_999);
        set(log, &name, Some(deadline)).await;
        deadlines.insert(name, deadline);
    }
    let mut late = Vec::new();
    for _ in 0..10 {
        let name = running.due_name().await;
        late.push(clock.now().duration_since(deadlines[&name]));
    }
    late.sort();
    assert!(late[0] >= SignedDuration::ZERO, "early by {:?}", late[0]);
    late
}

on_both! {
    async fn a_deadline_is_never_early_and_comes_within_a_tenth_of_a_second(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let mut running = start(&log, options(), &clock);
        running.has_seen(0).await;
        // A neighbour may take the machine for a moment; an index that is slow is so every time.
        let mut tries = Vec::new();
        for round in 0..10 {
            let late = lateness(&log, &clock, &mut running, round).await;
            if late[9] < SignedDuration::from_millis(100) {
                return;
            }
            tries.push(late);
        }
        panic!("{tries:?}");
    }
}

on_both! {
    async fn nothing_happens_before_the_index_has_caught_up(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let past = Some(clock.in_ms(-10_000));
        // The first of each subject is overdue; the newest of the last one says that it moved.
        for index in 0..300 {
            set(&log, &format!("c{index}"), past).await;
        }
        set(&log, "c299", Some(clock.in_ms(3_600_000))).await;
        let mut running = start(&log, options(), &clock);
        let first = running.due().await;
        assert!(
            running.seen.load(Ordering::SeqCst) >= 300,
            "caught up first"
        );
        assert!(running.index.handle().progress().borrow().is_caught_up);
        let mut subjects = vec![first.subject];
        while subjects.len() < 299 {
            subjects.push(running.due().await.subject);
        }
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), 299, "each once");
        assert!(!subjects.contains(&notes_of("c299")));
    }
}

on_both! {
    async fn a_deadline_that_moved_or_ended_does_not_come(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let mut running = start(&log, options(), &clock);
        set(&log, "moved", Some(clock.in_ms(600))).await;
        set(&log, "ended", Some(clock.in_ms(600))).await;
        set(&log, "earlier", Some(clock.in_ms(60_000))).await;
        set(&log, "moved", Some(clock.in_ms(1_200))).await;
        set(&log, "ended", None).await;
        set(&log, "earlier", Some(clock.in_ms(500))).await;
        set(&log, "sentinel", Some(clock.in_ms(900))).await;
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(running.due_name().await);
        }
        assert_eq!(order, ["earlier", "sentinel", "moved"]);
    }
}

on_both! {
    async fn a_deadline_whose_taker_did_nothing_comes_again(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let retry_after = SignedDuration::from_millis(300);
        let mut running = start(
            &log,
            Options {
                retry_after,
                ..options()
            },
            &clock,
        );
        let sequence = set(&log, "stubborn", Some(clock.in_ms(0))).await;
        let first = running.due().await;
        let at = clock.now();
        let second = running.due().await;
        assert_eq!((first.sequence, second.sequence), (sequence, sequence));
        // It is counted from when it was handed out, a moment before it was taken.
        assert!(clock.now().duration_since(at) > retry_after / 2);
        // Done: it ends on the log, and only others come.
        set(&log, "stubborn", None).await;
        running.has_seen(2).await;
        set(&log, "sentinel", Some(clock.in_ms(700))).await;
        assert_eq!(running.due_name().await, "sentinel");
    }
}

on_both! {
    async fn a_deadline_that_was_put_back_comes_at_its_new_time(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let mut running = start(&log, options(), &clock);
        set(&log, "early", Some(clock.in_ms(0))).await;
        let due = running.due().await;
        let later = clock.in_ms(400);
        running
            .index
            .handle()
            .put_back(&due.subject, due.sequence, later)
            .await;
        set(&log, "sentinel", Some(clock.in_ms(100))).await;
        assert_eq!(running.due_name().await, "sentinel");
        let again = running.due().await;
        assert_eq!((again.subject, again.sequence), (due.subject, due.sequence));
        assert!(clock.now() >= later);
    }
}

on_both! {
    async fn a_deadline_put_back_after_its_subject_ended_stays_away(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let mut running = start(&log, options(), &clock);
        set(&log, "ended", Some(clock.in_ms(0))).await;
        let due = running.due().await;
        set(&log, "ended", None).await;
        running.has_seen(2).await;
        running
            .index
            .handle()
            .put_back(&due.subject, due.sequence, clock.in_ms(100))
            .await;
        set(&log, "sentinel", Some(clock.in_ms(500))).await;
        assert_eq!(running.due_name().await, "sentinel");
    }
}

on_both! {
    async fn of_two_replicas_the_second_drops_what_the_first_has_done(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let mut first = start(&log, options(), &clock);
        let stagger = SignedDuration::from_millis(700);
        let mut second = start(
            &log,
            Options {
                stagger,
                ..options()
            },
            &clock,
        );
        for index in 0..5 {
            set(&log, &format!("c{index}"), Some(clock.in_ms(300))).await;
        }
        let neglected = clock.in_ms(300);
        set(&log, "neglected", Some(neglected)).await;
        for _ in 0..6 {
            let due = first.due().await;
            if due.subject != notes_of("neglected") {
                let expect = Expect::last(&due.subject, due.sequence);
                log.append(note(&due.subject, "done"), expect)
                    .await
                    .unwrap();
            }
        }
        // What the first one did not do, the second one gets, after its stagger.
        assert_eq!(second.due_name().await, "neglected");
        assert!(clock.now() >= neglected + stagger);
        set(&log, "sentinel", Some(clock.in_ms(0))).await;
        assert_eq!(second.due_name().await, "sentinel");
    }
}

on_both! {
    async fn nothing_happens_while_the_clock_cannot_be_trusted(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        clock.is_trusted.store(false, Ordering::SeqCst);
        let mut running = start(&log, options(), &clock);
        set(&log, "c1", Some(clock.in_ms(-1_000))).await;
        running.has_seen(1).await;
        // It has looked at the clock more than once by then.
        let waited = tokio::time::timeout(Duration::from_millis(300), running.due()).await;
        assert!(waited.is_err(), "{waited:?}");
        clock.is_trusted.store(true, Ordering::SeqCst);
        assert_eq!(running.due_name().await, "c1");
    }
}

on_both! {
    async fn what_was_purged_is_not_due(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let mut running = start(&log, options(), &clock);
        set(&log, "purged", Some(clock.in_ms(400))).await;
        set(&log, "kept", Some(clock.in_ms(500))).await;
        running.has_seen(2).await;
        log.purge_subject(stream::EVENTS, &notes_of("purged"), u64::MAX)
            .await
            .unwrap();
        assert_eq!(running.due_name().await, "kept");
    }
}

#[tokio::test]
async fn deadlines_happen_across_a_restart_of_the_broker() {
    let (mut server, log) = stage().await;
    let clock = Clock::start();
    let mut running = start(&log, options(), &clock);
    set(&log, "before", Some(clock.in_ms(100))).await;
    running.has_seen(1).await;
    server.kill();
    // It comes due while the message cannot be read.
    let overdue = clock.in_ms(200);
    eventually("time passes", async || clock.now() > overdue).await;
    server.start_again().await;
    assert_eq!(running.due_name().await, "before");
    write(&log, &notes_of("other"), "no deadline").await;
    set(&log, "after", Some(clock.in_ms(0))).await;
    assert_eq!(running.due_name().await, "after");
}

on_both! {
    async fn the_brokers_time_is_the_time_it_stamps_what_it_stores_with(ground: &Ground) {
        let log = ground.log().await;
        let before = log.broker_time(stream::EVENTS).await.unwrap();
        let sequence = set(&log, "ana", None).await;
        let after = log.broker_time(stream::EVENTS).await.unwrap();
        let stored = log.get(stream::EVENTS, sequence).await.unwrap();
        let stored_at = stored.unwrap().stored_at;
        assert!(
            before <= stored_at && stored_at <= after,
            "{before} {stored_at} {after}"
        );
    }
}

#[tokio::test]
async fn nothing_is_handed_out_before_the_clock_has_heard_the_broker() {
    /// Says that it is right, whatever it hears, and counts what it hears.
    struct Listening {
        clock: Arc<Clock>,
        heard: AtomicUsize,
    }

    impl Now for Listening {
        fn now(&self) -> Timestamp {
            self.clock.now()
        }

        fn is_trusted(&self) -> bool {
            true
        }

        fn hear(&self, _: Timestamp, waited: Duration) {
            assert!(waited < Duration::from_secs(3));
            self.heard.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (mut server, log) = stage().await;
    let clock = Clock::start();
    set(&log, "ana", Some(clock.in_ms(0))).await;
    server.kill();
    let listening = Arc::new(Listening {
        clock,
        heard: AtomicUsize::new(0),
    });
    let stopping = CancellationToken::new();
    let _stopping = stopping.clone().drop_guard();
    let now: Arc<dyn Now> = Arc::clone(&listening) as _;
    let mut index = Index::start(
        &log,
        options(),
        now,
        stopping,
        |_: &casement_event::Stored| {},
    );
    assert!(!index.handle().progress().borrow().is_caught_up);
    server.start_again().await;
    index.due().await.unwrap();
    assert!(listening.heard.load(Ordering::SeqCst) > 0);
}

on_both! {
    async fn what_the_taker_has_in_hand_is_left_to_it_for_a_while_and_never_lost(ground: &Ground) {
        let log = ground.log().await;
        let clock = Clock::start();
        let in_hand: InHand = Arc::new(|subject, _| !subject.ends_with(".dropped"));
        let mut running = start_for(&log, options(), &clock, Some(in_hand));
        running.has_seen(0).await;

        set(&log, "moved", Some(clock.in_ms(-1))).await;
        set(&log, "moved", None).await;
        let begun = Instant::now();
        set(&log, "given-up", Some(clock.in_ms(-1))).await;
        set(&log, "dropped", Some(clock.in_ms(-1))).await;
        assert_eq!(running.due_name().await, "dropped");
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(running.due_name().await, "given-up");
        assert!(begun.elapsed() >= Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_deadline_that_whoever_answers_has_not_heard_of_is_not_forgotten() {
    let (log, fates) = behind();
    let clock = Clock::start();
    let mut running = start(&log, options(), &clock);
    running.has_seen(0).await;
    fates.by(1);
    set(&log, "unheard", Some(clock.in_ms(-1))).await;
    // The message, and whether it is gone.
    eventually("it was looked for", async || {
        let answers = fates.answers();
        if answers >= 4 { Ok(()) } else { Err(answers) }
    })
    .await;
    fates.by(0);
    assert_eq!(running.due_name().await, "unheard");
}
