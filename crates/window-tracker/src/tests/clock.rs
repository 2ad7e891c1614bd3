//! Clock trouble: while our clock, the wall clock and the broker's do not agree, nothing ends and
//! nobody is told to be ready; once they agree again, everything due is told once.
//!
//! The broker is real and lives in real time. Only the wall clock is the test's, and it jumps by
//! hours. Windows have their full length: a customer wrote a day ago, less what is left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use casement_shell::clock::{Unproven, WallClock};
use casement_shell::{Clock as _, ManualClock, SharedClock, SystemClock};
use casement_testkit::eventually;
use jiff::SignedDuration;

use super::stage::{Running, Stage, noon, window_of};
use crate::Config;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const JUMP: SignedDuration = SignedDuration::from_hours(5);
const OPENED: [&str; 1] = ["WindowOpened"];

/// A machine whose wall clock the test sets.
struct Machine {
    ahead_by: Arc<Mutex<SignedDuration>>,
}

impl Machine {
    fn ahead_by(by: SignedDuration) -> Self {
        Self {
            ahead_by: Arc::new(Mutex::new(by)),
        }
    }

    fn set_ahead_by(&self, by: SignedDuration) {
        *self.ahead_by.lock().unwrap() = by;
    }

    fn wall(&self) -> WallClock {
        let truth = SystemClock::new();
        let ahead_by = Arc::clone(&self.ahead_by);
        Arc::new(move || truth.now() + *ahead_by.lock().unwrap())
    }

    /// The clock of a process that starts now.
    fn start_process(&self) -> Unproven {
        Unproven::with_wall(self.wall())
    }

    /// A clock that went wrong after it was handed out, as one of a suspended machine.
    fn start_clock(&self) -> SharedClock {
        Arc::new(SystemClock::with_wall(self.wall()))
    }
}

/// A stage in true time, and a tracker on a machine whose wall clock is off.
async fn with_tracker_on(machine: &Machine) -> (Stage, Running) {
    let mut stage = Stage::with_system_clock(Config::default()).await;
    let truth = std::mem::replace(&mut stage.clock, machine.start_clock());
    let running = stage.run().await;
    stage.clock = truth;
    (stage, running)
}

impl Stage {
    /// A customer wrote so long ago that the window has this much left, or ended so long ago.
    async fn say_with_left(&self, name: &str, left: SignedDuration) {
        self.say(name, self.clock.now() + left - 24 * HOUR).await;
    }

    /// Every end that was told, was told once and after its time.
    async fn assert_ends_are_right(&self, names: &[&str]) {
        for name in names {
            let told = self.told(name).await;
            let ends = told
                .iter()
                .filter(|stored| stored.event_type().ends_with(".WindowExpired"));
            let ends: Vec<_> = ends.collect();
            assert!(ends.len() <= 1, "{name}: {ends:?}");
            for end in ends {
                assert!(end.stored_at >= window_of(end).expires_at, "{name}");
            }
        }
    }
}

/// Waits until the tracker is not ready for this reason.
async fn wait_until_held(running: &Running, reason: &str) {
    eventually(&format!("not ready: {reason}"), async || {
        let reasons = running.readiness.reasons();
        let is_told = reasons.iter().any(|(_, text)| text.contains(reason));
        if is_told {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await;
    assert!(!running.readiness.is_ready());
}

/// A fact that comes now is taken, so whatever stood before it in the queue was in hand.
async fn wait_until_facts_were_taken(stage: &Stage, name: &str) {
    stage.say_with_left(name, 20 * HOUR).await;
    stage.wait_for(name, &OPENED).await;
}

#[tokio::test]
async fn a_wall_clock_that_jumps_stops_all_ends_until_it_is_back_and_then_each_is_told_once() {
    let machine = Machine::ahead_by(SignedDuration::ZERO);
    let (stage, running) = with_tracker_on(&machine).await;
    running.wait_until_ready().await;
    let mut names = Vec::new();
    for (jump, reason) in [(JUMP, "ahead of ours"), (-JUMP, "behind ours")] {
        let [soon, later] = if jump.is_positive() {
            ["a", "b"]
        } else {
            ["c", "d"]
        };
        stage.say_with_left(later, 3 * HOUR).await;
        stage.wait_for(later, &OPENED).await;
        machine.set_ahead_by(jump);
        wait_until_held(&running, reason).await;

        // Its end comes while nobody can say what time it is. In the time of a wall clock that
        // is ahead, the other's has come, too.
        stage
            .say_with_left(soon, SignedDuration::from_millis(1_500))
            .await;
        stage.wait_for(soon, &OPENED).await;
        let end = window_of(&stage.told(soon).await[0]).expires_at;
        stage.clock.sleep_until(end).await;
        wait_until_facts_were_taken(&stage, &format!("{soon}-probe")).await;
        assert_eq!(stage.told_names(soon).await, OPENED);
        assert_eq!(stage.told_names(later).await, OPENED);

        machine.set_ahead_by(SignedDuration::ZERO);
        running.wait_until_ready().await;
        stage
            .wait_for(soon, &["WindowOpened", "WindowExpired"])
            .await;
        names.extend([soon, later]);
    }
    assert_eq!(stage.told_names("b").await, OPENED);
    assert_eq!(stage.told_names("d").await, OPENED);
    stage.assert_ends_are_right(&names).await;
    running.stop().await;
}

#[tokio::test]
async fn a_process_that_starts_wrong_by_an_hour_or_a_day_tells_nothing_before_it_is_put_right() {
    let stage = Stage::with_system_clock(Config::default()).await;
    // One has ended and was told so; one is open and was told so; of one nobody was told.
    stage
        .say_with_left("ended", SignedDuration::from_millis(700))
        .await;
    stage.say_with_left("open", 3 * HOUR).await;
    let tracker = stage.tracker();
    for name in ["ended", "open"] {
        tracker
            .advance(&super::stage::key(name), None)
            .await
            .unwrap();
    }
    stage
        .clock
        .sleep_until(window_of(&stage.told("ended").await[0]).expires_at)
        .await;
    tracker
        .advance(&super::stage::key("ended"), None)
        .await
        .unwrap();
    let ended = stage.told_names("ended").await;
    assert_eq!(ended.last().unwrap(), "WindowExpired");
    let open = stage.told_names("open").await;
    for (index, wrong_by) in [-HOUR, HOUR, -24 * HOUR, 24 * HOUR].into_iter().enumerate() {
        let machine = Machine::ahead_by(wrong_by);
        let untold = format!("untold-{index}");
        stage.say_with_left(&untold, 20 * HOUR).await;
        let unproven = machine.start_process();
        let waits = Arc::new(AtomicUsize::new(0));
        let (log, count) = (stage.log.clone(), Arc::clone(&waits));
        let proving = tokio::spawn(async move {
            let waiting = |_: &str| {
                count.fetch_add(1, Ordering::SeqCst);
            };
            log.proven(&unproven, waiting).await
        });
        eventually("it has asked in vain", async || {
            waits.load(Ordering::SeqCst) > 2
        })
        .await;
        assert!(!proving.is_finished());
        machine.set_ahead_by(SignedDuration::ZERO);
        let clock = proving.await.unwrap();
        let running = stage.run_by(clock).await;
        running.wait_until_ready().await;
        stage.wait_for(&untold, &OPENED).await;
        assert_eq!(stage.told_names("ended").await, ended, "{wrong_by}");
        assert_eq!(stage.told_names("open").await, open, "{wrong_by}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_tracker_that_starts_hours_ahead_tells_no_end_before_its_clock_is_put_right() {
    let machine = Machine::ahead_by(JUMP);
    let mut stage = Stage::with_system_clock(Config::default()).await;
    // One window was told before; of the others nobody was told yet.
    stage.say_with_left("told", 3 * HOUR).await;
    let tracker = stage.tracker();
    tracker
        .advance(&super::stage::key("told"), None)
        .await
        .unwrap();
    stage.say_with_left("untold", 3 * HOUR).await;
    stage
        .say_with_left("ended", -SignedDuration::from_secs(1))
        .await;

    let truth = std::mem::replace(&mut stage.clock, machine.start_clock());
    let running = stage.run().await;
    stage.clock = truth;
    wait_until_held(&running, "broker's clock is").await;
    wait_until_facts_were_taken(&stage, "probe").await;
    assert_eq!(stage.told_names("told").await, OPENED);
    assert!(stage.told("untold").await.is_empty());

    machine.set_ahead_by(SignedDuration::ZERO);
    running.wait_until_ready().await;
    stage.wait_for("untold", &OPENED).await;
    assert_eq!(stage.told_names("told").await, OPENED);
    running.stop().await;
}

#[tokio::test]
async fn a_tracker_that_starts_hours_behind_tells_every_end_once_its_clock_is_put_right() {
    let machine = Machine::ahead_by(-JUMP);
    let mut stage = Stage::with_system_clock(Config::default()).await;
    let tracker = stage.tracker();
    stage
        .say_with_left("due", SignedDuration::from_millis(800))
        .await;
    tracker
        .advance(&super::stage::key("due"), None)
        .await
        .unwrap();
    let truth = std::mem::replace(&mut stage.clock, machine.start_clock());
    let running = stage.run().await;
    stage.clock = truth;
    wait_until_held(&running, "broker's clock is").await;
    let told = stage.told("due").await;
    stage
        .clock
        .sleep_until(window_of(&told[0]).expires_at)
        .await;
    assert!(
        !stage
            .told_names("due")
            .await
            .contains(&"WindowExpired".to_owned())
    );

    // As after a suspend: wall clock and broker have moved on, the monotonic clock has not.
    machine.set_ahead_by(SignedDuration::ZERO);
    running.wait_until_ready().await;
    eventually("the end is told", async || {
        let names = stage.told_names("due").await;
        names.last().is_some_and(|name| name == "WindowExpired")
    })
    .await;
    wait_until_facts_were_taken(&stage, "probe").await;
    stage.assert_ends_are_right(&["due"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_broker_at_another_time_stops_all_ends_on_virtual_time_too() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    running.wait_until_ready().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &OPENED).await;
    for (broker, told) in [
        (JUMP, "broker's clock is 5h ahead of ours"),
        (-JUMP, "broker's clock is 5h behind ours"),
    ] {
        clock.set_broker_drift(broker);
        wait_until_held(&running, told).await;
        jump_past_the_end(&clock);
        stage.say("ben", noon() + 23 * HOUR).await;
        stage.wait_for("ben", &OPENED).await;
        assert_eq!(stage.told_names("ana").await, OPENED);
    }
    clock.set_broker_drift(SignedDuration::ZERO);
    running.wait_until_ready().await;
    stage
        .wait_for("ana", &["WindowOpened", "WindowExpired"])
        .await;
    running.stop().await;
}

fn jump_past_the_end(clock: &ManualClock) {
    clock.set(noon() + 24 * HOUR);
}
