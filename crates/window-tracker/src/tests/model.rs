//! The tracker against a model of a few lines, over generated histories.
//!
//! The model is the set of facts, the latest of each kind, and a comparison. Histories have
//! customers who write late and out of order, refusals and proofs, a clock that stops just before,
//! at and after an end, trackers that die between any two steps, that look at the same thing at
//! once, and facts that are delivered again. Time is virtual; the broker is real. Each event is
//! judged by the facts stored before it, and what stands at the end by all of them.
//!
//! A seed makes a history. The long form takes one seed after the other until its time is over:
//! `CASEMENT_MODEL_MINUTES=3 cargo nextest run -p casement-window-tracker generated_histories`, and
//! with `CASEMENT_MODEL_SEED=7` it begins with that one. Each seed is printed.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use casement_domain::window::Published;
use casement_event::Stored;
use casement_event::subject::{self, Family, stream};
use casement_shell::{Clock as _, ManualClock};
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use self::reference::{Fact, Model, What, judge, matches_truth};
use super::stage::{Stage, customer, key, noon, number, short_name, window_of};
use crate::tracker::Tracker;
use crate::{Config, present};

mod reference;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const GRANULARITY: SignedDuration = SignedDuration::from_secs(60);
const LEADS: [SignedDuration; 2] = [SignedDuration::from_hours(2), SignedDuration::from_mins(10)];

/// Customers of one history.
const CUSTOMERS_COUNT: usize = 4;

/// Steps of one history, each of which is about one of them.
const STEPS_COUNT: usize = 120;

fn config() -> Config {
    Config {
        leads: LEADS.to_vec(),
        granularity: GRANULARITY,
        ..Config::default()
    }
}

// ---- A history ----------------------------------------------------------------------------------

/// A small generator: the same seed, the same history, on every machine. Splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// A time of up to so long, to the millisecond.
    fn up_to(&mut self, longest: SignedDuration) -> SignedDuration {
        let longest = u64::try_from(longest.as_millis()).expect("not negative");
        let chosen = i64::try_from(self.roll(longest + 1)).expect("milliseconds of days");
        SignedDuration::from_millis(chosen)
    }
}

struct History<'a> {
    stage: &'a Stage,
    clock: &'a ManualClock,
    tracker: Tracker,
    dice: Dice,
    seed: u64,
    names: Vec<String>,
    facts: Vec<Vec<Fact>>,
}

/// Runs `work` and lets it die after so many polls, in whatever step it is then.
async fn dies_after<F: Future>(polls: u64, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

impl<'a> History<'a> {
    fn new(stage: &'a Stage, clock: &'a ManualClock, seed: u64) -> Self {
        let names = (0..CUSTOMERS_COUNT).map(|index| format!("s{seed}c{index}"));
        clock.set(noon());
        Self {
            stage,
            clock,
            tracker: stage.tracker(),
            dice: Dice(seed),
            seed,
            names: names.collect(),
            facts: vec![Vec::new(); CUSTOMERS_COUNT],
        }
    }

    async fn run(mut self) {
        for _ in 0..STEPS_COUNT {
            Box::pin(self.step()).await;
        }
        for index in 0..CUSTOMERS_COUNT {
            Box::pin(self.deliver(index)).await;
            self.judge_the_end(index).await;
        }
        // Long after, all has ended.
        self.clock.advance(DAY + HOUR);
        for index in 0..CUSTOMERS_COUNT {
            Box::pin(self.deliver(index)).await;
            self.judge_the_end(index).await;
            self.judge_each_event(index).await;
        }
    }

    async fn step(&mut self) {
        let index = usize::try_from(self.dice.roll(CUSTOMERS_COUNT as u64)).expect("a few");
        match self.dice.roll(14) {
            12 => Box::pin(self.answer(index)).await,
            13 => Box::pin(self.write_much(index)).await,
            0..3 => Box::pin(self.write(index)).await,
            3 => Box::pin(self.prove_or_refuse(index)).await,
            4..6 => self.pass_time(index),
            6..9 => Box::pin(self.deliver(index)).await,
            9 => Box::pin(self.crash(index)).await,
            10 => Box::pin(self.race(index)).await,
            _ => Box::pin(self.stage.note(&self.names[index])).await,
        }
    }

    /// The customer wrote just now, or some while ago and it reaches us only now.
    async fn write(&mut self, index: usize) {
        let ago = match self.dice.roll(4) {
            0 | 1 => SignedDuration::ZERO,
            2 => self.dice.up_to(2 * GRANULARITY),
            _ => self.dice.up_to(30 * HOUR),
        };
        let received = self.clock.now();
        let at = received - ago;
        if self.facts[index].iter().any(|known| known.at == at) {
            // Who delivers a fact twice is stopped before it is stored.
            return;
        }
        let position = self.stage.say(&self.names[index], at).await;
        self.facts[index].push(Fact {
            sequence: position.sequence,
            at,
            what: What::Wrote { received },
        });
    }

    /// The customer writes more than the tracker keeps, now and then after a long silence, and
    /// nobody looks in between.
    async fn write_much(&mut self, index: usize) {
        for _ in 0..4 + self.dice.roll(12) {
            self.write(index).await;
            let longest = if self.dice.roll(6) == 0 {
                30 * HOUR
            } else {
                4 * HOUR
            };
            self.clock.advance(self.dice.up_to(longest));
        }
    }

    /// The business answers, from here or from its phone, and it is heard of a little later.
    async fn answer(&mut self, index: usize) {
        let at = self.clock.now() - self.dice.up_to(HOUR);
        let name = &self.names[index];
        let sequence = if self.dice.roll(2) == 0 {
            self.stage.answer_elsewhere(name, at).await.sequence
        } else {
            self.stage.answer(name, at).await;
            self.last_evidence(index).await
        };
        let what = What::Answered;
        self.facts[index].push(Fact { sequence, at, what });
    }

    async fn last_evidence(&self, index: usize) -> u64 {
        let customer = customer(&self.names[index]);
        let subject = subject::conversation(Family::Evidence, &number(), &customer);
        let stored = self.stage.log.last(stream::EVENTS, &subject).await;
        stored.expect("a read").expect("just stored").sequence
    }

    /// Meta refuses or delivers what was sent a little while ago.
    async fn prove_or_refuse(&mut self, index: usize) {
        let at = self.clock.now() - self.dice.up_to(HOUR);
        let name = &self.names[index];
        let what = if self.dice.roll(2) == 0 {
            self.stage.refuse(name, at).await;
            What::Refused
        } else {
            self.stage.prove(name, at).await;
            What::Proven
        };
        let sequence = self.last_evidence(index).await;
        self.facts[index].push(Fact { sequence, at, what });
    }

    /// Some time passes, or as much as there is until shortly before, at or after something ends.
    fn pass_time(&mut self, index: usize) {
        let now = self.clock.now();
        let end = Model::of(&self.facts[index]).ends_at();
        let Some(end) = end.filter(|end| *end > now && self.dice.roll(2) == 0) else {
            let longest = if self.dice.roll(2) == 0 {
                2 * GRANULARITY
            } else {
                4 * HOUR
            };
            self.clock.advance(self.dice.up_to(longest));
            return;
        };
        let millisecond = SignedDuration::from_millis(1);
        let offsets = [
            -LEADS[0],
            -LEADS[1],
            -millisecond,
            SignedDuration::ZERO,
            millisecond,
        ];
        let choice = usize::try_from(self.dice.roll(offsets.len() as u64)).expect("a few");
        let to = end + offsets[choice];
        if to > now {
            self.clock.set(to);
        }
    }

    /// A fact is delivered, once more perhaps, or a deadline: to the tracker it is all one.
    async fn deliver(&mut self, index: usize) {
        let advanced = self.tracker.advance(&key(&self.names[index]), None).await;
        advanced.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
    }

    /// A tracker dies at work, perhaps with an append under way.
    async fn crash(&mut self, index: usize) {
        let polls = 1 + self.dice.roll(8);
        let key = key(&self.names[index]);
        let _ = dies_after(polls, Box::pin(self.tracker.advance(&key, None))).await;
    }

    /// Two look at once, while the customer writes.
    async fn race(&mut self, index: usize) {
        let key = key(&self.names[index]);
        let (one, other) = (self.tracker.clone(), self.stage.tracker());
        let polls = 1 + self.dice.roll(12);
        tokio::join!(
            dies_after(polls, Box::pin(one.advance(&key, None))),
            async { other.advance(&key, None).await.expect("an answer") },
            self.write(index),
        );
    }

    // ---- Judgement ------------------------------------------------------------------------------

    /// Once all was delivered, what subscribers were told last is what is true now.
    async fn judge_the_end(&self, index: usize) {
        let told = self.stage.told(&self.names[index]).await;
        let last = told.last().map(window_of);
        if let Err(problem) = matches_truth(&self.facts[index], last.as_ref(), self.clock.now()) {
            panic!("{}\n{}", problem, self.story(index, &told));
        }
        let key = key(&self.names[index]);
        let present = present::read(&self.stage.log, &self.stage.directory, &key).await;
        let since = present.expect("readable").facts.waiting_since();
        if let Err(problem) = Model::of(&self.facts[index]).judge_wait(since, Timestamp::MAX) {
            panic!("{}\n{}", problem, self.story(index, &told));
        }
    }

    /// Each event was right when it was told, by the facts stored before it.
    async fn judge_each_event(&self, index: usize) {
        let told = self.stage.told(&self.names[index]).await;
        let mut once = BTreeSet::new();
        let mut before: Option<Published> = None;
        for stored in &told {
            let facts = self.facts[index].iter();
            let known = Model::of(facts.filter(|fact| fact.sequence < stored.sequence));
            if let Err(problem) = judge(stored, &known, before.as_ref()) {
                panic!(
                    "{} at {}: {problem}\n{}",
                    short_name(stored),
                    stored.sequence,
                    self.story(index, &told)
                );
            }
            let id = stored.id().expect("an id");
            assert!(
                once.insert(id),
                "{} at {} was told before\n{}",
                short_name(stored),
                stored.sequence,
                self.story(index, &told)
            );
            before = Some(window_of(stored));
        }
    }

    fn story(&self, index: usize, told: &[Stored]) -> String {
        let facts = self.facts[index]
            .iter()
            .map(|fact| (fact.sequence, format!("{:?} at {}", fact.what, fact.at)));
        let told = told.iter().map(|stored| {
            let window = window_of(stored);
            let text = format!(
                "    {} told at {}: opened {}, ends {}, closed {:?}, waiting since {:?}",
                short_name(stored),
                stored.time().expect("a time"),
                window.opened_at,
                window.expires_at,
                window.closed.map(|closed| (closed.reason, closed.at)),
                window.circumstances.waiting_since,
            );
            (stored.sequence, text)
        });
        let mut story: Vec<_> = facts.chain(told).collect();
        story.sort();
        let story = story
            .into_iter()
            .map(|(sequence, text)| format!("{sequence:>6} {text}\n"));
        format!(
            "seed {}, {}, now {}:\n{}",
            self.seed,
            self.names[index],
            self.clock.now(),
            story.collect::<String>()
        )
    }
}

// ---- The tests ----------------------------------------------------------------------------------

#[tokio::test]
async fn generated_histories_are_told_as_the_model_has_them() {
    if let Some(minutes) = setting("CASEMENT_MODEL_MINUTES") {
        return Box::pin(tell_histories_for(minutes)).await;
    }
    let (stage, clock) = Stage::with_manual_clock(config()).await;
    let until = Instant::now() + Duration::from_secs(8);
    for seed in 1..=12 {
        eprintln!("seed {seed}");
        Box::pin(History::new(&stage, &clock, seed).run()).await;
        if Instant::now() > until {
            break;
        }
    }
}

/// The whole role, with its queue and its deadline index, killed and started at any time.
#[tokio::test]
async fn whole_trackers_that_are_killed_at_any_time_tell_histories_as_the_model_has_them() {
    let (stage, clock) = Stage::with_manual_clock(config()).await;
    for seed in 101..=102 {
        eprintln!("seed {seed}");
        Box::pin(run_with_roles(&stage, &clock, seed, 24)).await;
    }
}

/// The long form, in place of the short one.
async fn tell_histories_for(minutes: u64) {
    let first = setting("CASEMENT_MODEL_SEED").unwrap_or(1_000);
    let until = Instant::now() + Duration::from_mins(minutes);
    for block in (first..).step_by(20) {
        // A broker of its own now and then, so that none grows for ever.
        let (stage, clock) = Stage::with_manual_clock(config()).await;
        for seed in block..block + 20 {
            eprintln!("seed {seed}");
            Box::pin(History::new(&stage, &clock, seed).run()).await;
            if Instant::now() > until {
                return;
            }
        }
        let seed = block + 1_000_000_000;
        eprintln!("seed {seed}, with whole trackers");
        Box::pin(run_with_roles(&stage, &clock, seed, STEPS_COUNT)).await;
    }
}

async fn run_with_roles(stage: &Stage, clock: &ManualClock, seed: u64, steps: usize) {
    let mut history = History::new(stage, clock, seed);
    let mut running = Vec::new();
    for _ in 0..steps {
        match history.dice.roll(6) {
            0 if running.len() < 3 => running.push(Box::pin(stage.run()).await),
            1 => {
                if let Some(one) = running.pop() {
                    one.kill().await;
                }
            }
            _ => Box::pin(history.step()).await,
        }
    }
    // The survivors, with one that comes new, tell all that is left, whoever died over it.
    running.push(Box::pin(stage.run()).await);
    clock.advance(DAY + HOUR);
    for index in 0..CUSTOMERS_COUNT {
        let name = history.names[index].clone();
        eventually(&format!("seed {seed}: all is told of {name}"), async || {
            let told = stage.told(&name).await;
            let last = told.last().map(window_of);
            matches_truth(&history.facts[index], last.as_ref(), clock.now())
                .map_err(|problem| format!("{problem}\n{}", history.story(index, &told)))
        })
        .await;
        history.judge_each_event(index).await;
    }
    for one in running {
        one.stop().await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the long form is told its seed and its time by hand"
)]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
