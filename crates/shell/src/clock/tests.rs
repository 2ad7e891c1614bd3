//! The clock on tokio's paused time, and the manual one.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_system_clock_advances_with_the_monotonic_clock() {
    let clock = SystemClock::new();
    let start = clock.now();
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(clock.now().duration_since(start).as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_left_behind_is_a_disagreement() {
    // Virtual time runs ahead of the wall clock, as if the wall clock had been set back.
    let clock = SystemClock::new();
    assert_eq!(clock.agreement(None), Ok(()));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(clock.drift() < -SignedDuration::from_secs(50));
    assert!(matches!(
        clock.agreement(None),
        Err(Disagreement::WallClock { .. })
    ));
}

/// A clock over a wall clock that runs with tokio's time and can be set.
struct Scene {
    clock: SystemClock,
    truth: Instant,
    wall_ahead_by: Arc<Mutex<SignedDuration>>,
}

impl Scene {
    fn new(wall_ahead_by: SignedDuration) -> Self {
        let truth = Instant::now();
        let wall_ahead_by = Arc::new(Mutex::new(wall_ahead_by));
        let ahead_by = Arc::clone(&wall_ahead_by);
        let wall = move || at(1_000_000) + truth.elapsed() + *lock(&ahead_by);
        Self {
            clock: SystemClock::with_wall(Arc::new(wall)),
            truth,
            wall_ahead_by,
        }
    }

    fn set_wall_ahead_by(&self, by: SignedDuration) {
        *lock(&self.wall_ahead_by) = by;
    }

    /// Lets the clock hear a broker, ahead of the truth by so much, once a second.
    async fn hear(&self, seconds: u32, ahead_by: SignedDuration) {
        for _ in 0..seconds {
            tokio::time::advance(Duration::from_secs(1)).await;
            let broker = at(1_000_000) + self.truth.elapsed() + ahead_by;
            self.clock.hear(broker, Duration::from_millis(10));
        }
    }
}

const HOURS: SignedDuration = SignedDuration::from_hours(5);

#[tokio::test(start_paused = true)]
async fn a_clock_that_wall_and_broker_contradict_gives_in_after_a_while_and_not_at_once() {
    for wrong_by in [HOURS, -HOURS] {
        let scene = Scene::new(wrong_by);
        assert_eq!(
            scene.clock.agreement(None),
            Ok(()),
            "nobody contradicts yet"
        );
        scene.hear(20, SignedDuration::ZERO).await;
        assert!(matches!(
            scene.clock.agreement(None),
            Err(Disagreement::Broker { ahead_by }) if (ahead_by + wrong_by).abs().as_secs() == 0
        ));

        scene.set_wall_ahead_by(SignedDuration::ZERO);
        scene.hear(5, SignedDuration::ZERO).await;
        assert!(scene.clock.agreement(None).is_err());
        scene.hear(1, SignedDuration::ZERO).await;
        assert_eq!(scene.clock.agreement(None), Ok(()));
        assert_eq!(scene.clock.drift().as_secs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_was_set_moves_nothing_while_the_broker_stands_by_ours() {
    let scene = Scene::new(SignedDuration::ZERO);
    for jump in [HOURS, -HOURS] {
        scene.set_wall_ahead_by(jump);
        scene.hear(60, SignedDuration::ZERO).await;
        assert!(matches!(
            scene.clock.agreement(None),
            Err(Disagreement::WallClock { ahead_by }) if ahead_by == jump
        ));
        scene.set_wall_ahead_by(SignedDuration::ZERO);
        assert_eq!(scene.clock.agreement(None), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_is_taken_back_in_time_moves_nothing() {
    let scene = Scene::new(SignedDuration::ZERO);
    for _ in 0..5 {
        scene.set_wall_ahead_by(HOURS);
        scene.hear(4, HOURS).await;
        assert!(scene.clock.agreement(None).is_err());
        scene.set_wall_ahead_by(SignedDuration::ZERO);
        scene.hear(1, SignedDuration::ZERO).await;
        assert_eq!(scene.clock.agreement(None), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_of_the_broker_is_no_disagreement() {
    let scene = Scene::new(SignedDuration::ZERO);
    tokio::time::advance(Duration::from_secs(30)).await;
    let now = scene.clock.now();
    for (broker, waited, agrees) in [
        (now - SignedDuration::from_secs(29), 30, true),
        (now - SignedDuration::from_secs(32), 30, true),
        (now - SignedDuration::from_secs(33), 30, false),
        (now + SignedDuration::from_secs(2), 30, true),
        (now + SignedDuration::from_secs(3), 30, false),
        (now - SignedDuration::from_secs(3), 0, false),
    ] {
        scene.clock.hear(broker, Duration::from_secs(waited));
        assert_eq!(scene.clock.agreement(None).is_ok(), agrees, "{broker}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_wakes_at_its_moment_and_not_before() {
    let clock = SystemClock::new();
    let moment = clock.now() + SignedDuration::from_millis(1_234);
    clock.sleep_until(moment).await;
    assert!(clock.now() >= moment);
    assert!(clock.now().duration_since(moment) < SignedDuration::from_millis(20));
    clock.sleep_until(moment).await;
}

#[test]
fn a_witness_more_than_two_seconds_away_is_a_disagreement() {
    let clock = ManualClock::new(at(1_000));
    for (witness, agrees) in [
        (998, true),
        (1_000, true),
        (1_002, true),
        (1_003, false),
        (997, false),
    ] {
        assert_eq!(
            clock.agreement(Some(at(witness))).is_ok(),
            agrees,
            "{witness}"
        );
    }
    clock.set_drift(SignedDuration::from_millis(-2_001));
    assert_eq!(
        clock.agreement(None).unwrap_err().to_string(),
        "wall clock is 2s 1ms behind ours"
    );
}

#[tokio::test]
async fn a_manual_clock_wakes_the_earliest_deadline_first() {
    let clock = ManualClock::new(at(0));
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut sleepers = tokio::task::JoinSet::new();
    for second in [30, 10, 20, 99] {
        let sleep = clock.sleep_until(at(second));
        let woken = Arc::clone(&woken);
        sleepers.spawn(async move {
            sleep.await;
            lock(&woken).push(second);
        });
    }
    tokio::task::yield_now().await;
    assert_eq!(clock.next_wake(), Some(at(10)));
    clock.advance(SignedDuration::from_secs(9));
    clock.set(at(50));
    for _ in 0..3 {
        sleepers.join_next().await.unwrap().unwrap();
    }
    assert_eq!(*lock(&woken), [10, 20, 30]);
    assert_eq!(clock.next_wake(), Some(at(99)));
    sleepers.abort_all();
    while sleepers.join_next().await.is_some() {}
    assert_eq!(clock.next_wake(), None, "whoever gave up is not waited for");
}
