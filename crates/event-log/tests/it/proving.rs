//! The clock of a process is handed out once the broker says the same time, and not before.

use std::sync::{Arc, Mutex};

use casement_event_log::Log;
use casement_shell::SystemClock;
use casement_shell::clock::{Clock as _, SharedClock, Unproven};
use casement_testkit::eventually;
use jiff::SignedDuration;
use tokio::task::JoinHandle;

use crate::stage::{Ground, on_both, stage};

/// A process that starts on a machine whose wall clock is wrong.
struct Starting {
    wrong_by: Arc<Mutex<SignedDuration>>,
    waits_for: Arc<Mutex<Vec<String>>>,
    clock: JoinHandle<SharedClock>,
}

impl Starting {
    fn on_a_machine_wrong_by(by: SignedDuration, log: &Log) -> Self {
        let wrong_by = Arc::new(Mutex::new(by));
        let waits_for: Arc<Mutex<Vec<String>>> = Arc::default();
        let truth = SystemClock::new();
        let ahead_by = Arc::clone(&wrong_by);
        let wall = move || truth.now() + *ahead_by.lock().unwrap();
        let unproven = Unproven::with_wall(Arc::new(wall));
        let (log, told) = (log.clone(), Arc::clone(&waits_for));
        let clock = tokio::spawn(async move {
            let waiting = |why: &str| told.lock().unwrap().push(why.to_owned());
            log.proven(&unproven, waiting).await
        });
        Self {
            wrong_by,
            waits_for,
            clock,
        }
    }

    /// Waits until it has asked several times in vain, for this reason.
    async fn has_waited(&self, reason: &str) {
        eventually(reason, async || {
            let told = self.waits_for.lock().unwrap().clone();
            let count = told.iter().filter(|why| why.contains(reason)).count();
            if count >= 3 {
                Ok(())
            } else {
                Err(format!("{told:?}"))
            }
        })
        .await;
        assert!(!self.clock.is_finished(), "{reason}");
    }

    async fn put_right(self) -> SharedClock {
        *self.wrong_by.lock().unwrap() = SignedDuration::ZERO;
        self.clock.await.unwrap()
    }
}

on_both! {
    async fn a_process_on_a_machine_at_another_time_waits_until_it_is_put_right(ground: &Ground) {
        let log = ground.log().await;
        for (hours, reason) in [
            (1, "behind ours"),
            (-1, "ahead of ours"),
            (24, "behind ours"),
            (-24, "ahead of ours"),
        ] {
            let wrong_by = SignedDuration::from_hours(hours);
            let truth = SystemClock::new();
            let starting = Starting::on_a_machine_wrong_by(wrong_by, &log);
            starting.has_waited(reason).await;
            let clock = starting.put_right().await;
            let off = clock.now().duration_since(truth.now());
            assert!(off.abs() < SignedDuration::from_secs(1), "{off}");
            assert_eq!(clock.agreement(None), Ok(()));
        }
    }
}

#[tokio::test]
async fn a_process_whose_broker_is_away_waits_for_it_although_its_own_clock_is_right() {
    let (mut server, log) = stage().await;
    server.kill();
    let starting = Starting::on_a_machine_wrong_by(SignedDuration::ZERO, &log);
    starting.has_waited("time was not heard yet").await;
    server.start_again().await;
    starting.put_right().await;
}
