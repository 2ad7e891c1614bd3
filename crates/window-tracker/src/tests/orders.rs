//! A second message, a refusal, a proof and the end of the first window, in every order, against a
//! real broker: as they happen, and all of them late and in reverse.

use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};

use super::stage::{Stage, key, noon, window_of};
use crate::Config;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wrote,
    Refused,
    Proven,
    End,
}

const STEPS: [Step; 4] = [Step::Wrote, Step::Refused, Step::Proven, Step::End];

/// One of the orders: each step happens an hour after the one before.
#[derive(Debug, Clone, Copy)]
struct Order([Step; 4]);

impl Order {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for a in STEPS {
            for b in STEPS {
                for c in STEPS {
                    for d in STEPS {
                        let order = [a, b, c, d];
                        if STEPS.iter().all(|step| order.contains(step)) {
                            all.push(Self(order));
                        }
                    }
                }
            }
        }
        all
    }

    fn name(self, how: &str) -> String {
        let steps = self.0.map(|step| format!("{step:?}").to_lowercase());
        format!("{how}-{}", steps.join("-"))
    }

    fn time(self, step: Step) -> Timestamp {
        let place = self.0.iter().position(|one| *one == step);
        let place = i32::try_from(place.expect("each step is in it")).expect("four steps");
        noon() + HOUR * place
    }

    /// When the first message was sent, for its window to end at the step.
    fn first(self) -> Timestamp {
        self.time(Step::End) - 24 * HOUR
    }

    /// Whether the window is open, by what has happened and is known.
    fn is_open(self, now: Timestamp, knows: impl Fn(Step) -> bool) -> bool {
        let known = |step| Some(self.time(step)).filter(|_| knows(step));
        let last = known(Step::Wrote).max(Some(self.first()));
        let refused = known(Step::Refused);
        let is_refused = refused.is_some() && refused >= last && refused >= known(Step::Proven);
        !is_refused && last.is_some_and(|last| now < last + 24 * HOUR)
    }
}

async fn happen(stage: &Stage, name: &str, step: Step, at: Timestamp) {
    match step {
        Step::Wrote => drop(stage.say(name, at).await),
        Step::Refused => stage.refuse(name, at).await,
        Step::Proven => stage.prove(name, at).await,
        Step::End => {}
    }
    stage
        .tracker()
        .advance(&key(name), None)
        .await
        .expect("a broker that answers");
}

async fn is_told_open(stage: &Stage, name: &str) -> bool {
    let told = stage.told(name).await;
    told.last()
        .is_some_and(|last| window_of(last).closed.is_none())
}

#[tokio::test]
async fn in_every_order_what_is_told_is_what_the_facts_say() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let orders = Order::all();
    assert_eq!(orders.len(), 24);
    for order in &orders {
        clock.set(order.first());
        for how in ["promptly", "late"] {
            happen(&stage, &order.name(how), Step::Wrote, order.first()).await;
        }
    }
    for place in 0..STEPS.len() {
        for order in &orders {
            let (name, step) = (order.name("promptly"), order.0[place]);
            let now = order.time(step);
            clock.set(now);
            happen(&stage, &name, step, now).await;
            let knows = |step| order.0[..=place].contains(&step);
            let expected = order.is_open(now, knows);
            assert_eq!(
                is_told_open(&stage, &name).await,
                expected,
                "{name} {step:?}"
            );
        }
    }
    // Another customer of each order is heard of only when all is over, the last thing first.
    let last = noon() + HOUR * 3;
    clock.set(last);
    for order in &orders {
        let name = order.name("late");
        for step in order.0.into_iter().rev() {
            happen(&stage, &name, step, order.time(step)).await;
        }
        let expected = order.is_open(last, |_| true);
        assert_eq!(is_told_open(&stage, &name).await, expected, "{name}");
    }

    // A running tracker ends each window at its second, once.
    let running = stage.run().await;
    clock.set(noon() + HOUR * 48);
    eventually("every window is told to have ended", async || {
        for order in &orders {
            for how in ["promptly", "late"] {
                let name = order.name(how);
                if is_told_open(&stage, &name).await {
                    return Err(name);
                }
            }
        }
        Ok(())
    })
    .await;
    running.stop().await;
    for order in &orders {
        for how in ["promptly", "late"] {
            let name = order.name(how);
            let told = stage.told(&name).await;
            let mut ends: Vec<_> = told
                .iter()
                .filter(|stored| stored.event_type().ends_with("WindowExpired"))
                .map(window_of)
                .map(|window| (window.opening_fact, window.expires_at))
                .collect();
            let len = ends.len();
            ends.sort_unstable();
            ends.dedup();
            assert_eq!(ends.len(), len, "{name} told an end twice");
        }
    }
}
