//! Who is who, under crashes: two normalisers take shuffled and repeated posts of people who show
//! some of their identifiers, change them, and take over each other's numbers, while one
//! normaliser is killed again and again and the other loses its broker. In the end everything
//! must be as a few lines of set arithmetic say.
//!
//! A seed reproduces what is posted and when a fault comes, not what the scheduler makes of it.
//! `CASEMENT_IDENTITY_SEEDS=100:40` runs 40 seeds from 100 on instead of one, and tells as it goes
//! how far each has come; a failure always tells it.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use casement_domain::customer::{Identifier, Kind};
use casement_domain::id::{BusinessNumber, CustomerId, Phone, PortfolioId};
use casement_domain::inbound::{Addresses, Summary};
use casement_event::{Event, Stored, Uuid, id, subject};
use casement_event_log::customers;
use casement_event_log::directory::Directory;
use casement_shell::SystemClock;
use casement_testkit::{Proxy, eventually};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stage::{ONE, PORTFOLIO, Stage, TWO, config, connect_to, known};

use history::{Dice, Told, history, partition};

/// How many faults there are in a run.
const FAULTS_COUNT: usize = 8;

/// How many seeds run at once: most of the time a pack of a killed normaliser is waited for.
const AT_ONCE: usize = 6;

const APPEND_DEADLINE: Duration = Duration::from_secs(3);

/// How far a seed has come, for whoever waits for it or has to find out why it failed.
struct Progress {
    seed: u64,
    begun: Instant,
    is_told: bool,
    step: Mutex<String>,
}

impl Progress {
    fn begin(seed: u64, is_told: bool) -> Self {
        Self {
            seed,
            begun: Instant::now(),
            is_told,
            step: Mutex::new("begun".to_owned()),
        }
    }

    fn at(&self, step: String) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
        if self.is_told {
            self.tell();
        }
    }

    #[expect(clippy::print_stderr, reason = "this is where tests tell")]
    fn tell(&self) {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.begun.elapsed().as_secs_f32();
        eprintln!("seed {} after {seconds:.1} s: {step}", self.seed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The others that run beside a failed one tell theirs, too.
        if std::thread::panicking() {
            self.tell();
        }
    }
}

/// A normaliser in a runtime of its own. Killing it drops whatever it is doing, at once.
struct Mortal {
    runtime: Option<Runtime>,
}

impl Mortal {
    async fn start(stage: &Stage) -> Self {
        let log = connect_to(
            stage.nats.monitoring_url(),
            stage.nats.url(),
            APPEND_DEADLINE,
        );
        let tokens = stage.tokens.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.spawn(async move {
            let log = log.await;
            let stopping = CancellationToken::new();
            let directory = Directory::start(&log, stopping.clone()).await;
            let clock = SystemClock::shared();
            let role = casement_ingress::start(config(), log, directory, tokens, clock)
                .await
                .unwrap();
            tokio::spawn(role.run(stopping));
        });
        let mortal = Self {
            runtime: Some(runtime),
        };
        // Not blocked on: a runtime entered within another one's task takes its wake-ups away.
        started.await.unwrap();
        mortal
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Posts until it is taken, as Meta does.
async fn post(stage: &Stage, body: &Value) {
    eventually("the post is taken", async || {
        let status = stage.post(body).await;
        if status == 200 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}

/// Lets time go by until a fault has its moment: nothing is waited for.
async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

async fn disturb(stage: &Stage, mortal: &mut Mortal, proxy: &Proxy, dice: &mut Dice) {
    match dice.below(6) {
        0 => proxy.sever(),
        1 => {
            proxy.drop_replies();
            pass(Duration::from_millis(30)).await;
            proxy.forward();
        }
        _ => {
            mortal.kill();
            *mortal = Mortal::start(stage).await;
        }
    }
}

async fn run(seed: u64, is_told: bool) {
    let progress = Progress::begin(seed, is_told);
    let mut dice = Dice(seed);
    let told = history(&mut dice);
    let stage = Stage::start_with(APPEND_DEADLINE).await;
    let mut mortal = Mortal::start(&stage).await;

    let mut order: Vec<usize> = (0..told.len()).collect();
    for _ in 0..told.len() / 2 {
        order.push(dice.below(told.len()));
    }
    dice.shuffle(&mut order);
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    while !order.is_empty() {
        let rest = order.split_off(order.len().min(1 + dice.below(12)));
        chunks.push(std::mem::replace(&mut order, rest));
    }
    let faults_every = (chunks.len() / FAULTS_COUNT).max(1);
    for (index, chunk) in chunks.iter().enumerate() {
        let posts = chunk.iter().map(|index| post(&stage, &told[*index].post));
        let posting = futures::future::join_all(posts);
        let pause = Duration::from_micros(u64::try_from(dice.below(40_000)).unwrap());
        let disturbing = async {
            if index % faults_every == 0 {
                pass(pause).await;
                disturb(&stage, &mut mortal, &stage.proxy, &mut dice).await;
            }
        };
        tokio::join!(posting, disturbing);
        progress.at(format!(
            "{} of {} chunks are posted",
            index + 1,
            chunks.len()
        ));
    }
    stage.settled().await;
    progress.at("all packs are done".to_owned());
    mortal.kill();
    check(seed, &stage, &told).await;
    progress.at("right".to_owned());
}

/// Whose subject a fact stands on, at each number.
struct Books {
    /// Customers who ended, and who carries on.
    moved: BTreeMap<CustomerId, CustomerId>,
    last: BTreeMap<CustomerId, Stored>,
    /// Where each fact stands.
    facts: BTreeMap<Uuid, CustomerId>,
    changes: usize,
}

fn customer_of(stored: &Stored) -> CustomerId {
    subject::parse_conversation(&stored.subject).unwrap().2
}

/// What stands on the subjects of a number, a line each, for whoever has to find a fault.
fn story(all: &[Stored]) -> String {
    let line = |stored: &Stored| {
        let (customer, at) = (customer_of(stored), stored.stored_at);
        let event = stored.event().unwrap();
        let known = known(stored);
        let what = match &event {
            Event::MovedTo(_) => format!("ended for {:?}", known.moved_to),
            Event::CustomerMerged(merged) => format!("took over {}", merged.merged_customer_id),
            _ => format!("{} {:?}", event.event_type(), known.summary.addresses()),
        };
        format!(
            "{} {at} {customer} {:?} {what}",
            stored.sequence,
            stored.id()
        )
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Books {
    fn read(seed: u64, all: &[Stored]) -> Self {
        let mut books = Self {
            moved: BTreeMap::new(),
            last: BTreeMap::new(),
            facts: BTreeMap::new(),
            changes: 0,
        };
        let mut arrived: BTreeSet<CustomerId> = BTreeSet::new();
        let mut summaries: BTreeMap<CustomerId, Summary> = BTreeMap::new();
        for stored in all {
            let customer = customer_of(stored);
            assert!(
                !books.moved.contains_key(&customer),
                "seed {seed}: something follows the end of {}",
                stored.subject
            );
            let event = stored.event().unwrap();
            match &event {
                Event::MovedTo(_) => {
                    let survivor = known(stored).moved_to.unwrap().survivor;
                    summaries.insert(customer.clone(), known(stored).summary);
                    books.moved.insert(customer.clone(), survivor);
                }
                Event::CustomerMerged(merged) => {
                    let merged = CustomerId::parse(&merged.merged_customer_id).unwrap();
                    assert!(arrived.insert(merged), "seed {seed}: arrived twice");
                }
                _ => {
                    let twice = books.facts.insert(stored.id().unwrap(), customer.clone());
                    assert_eq!(
                        twice,
                        None,
                        "seed {seed}: {} stands twice; what happened:\n{}",
                        stored.id().unwrap(),
                        story(all)
                    );
                    if matches!(event, Event::CustomerIdentityChanged(_)) {
                        books.changes += 1;
                    }
                }
            }
            books.last.insert(customer, stored.clone());
        }
        for (loser, summary) in summaries {
            assert_eq!(
                arrived.contains(&loser),
                summary.last_event_at.is_some(),
                "seed {seed}: what {loser} brought did not arrive"
            );
        }
        books
    }

    fn carried_on(&self, seed: u64, customer: &CustomerId) -> CustomerId {
        let mut customer = customer;
        for _ in 0..=self.moved.len() {
            match self.moved.get(customer) {
                Some(next) => customer = next,
                None => return customer.clone(),
            }
        }
        panic!("seed {seed}: customers move in a circle");
    }
}

async fn check(seed: u64, stage: &Stage, told: &[Told]) {
    let expected = partition(told);
    let owner = async |identifier: &Identifier| {
        let value = identifier.value.clone();
        let addresses = match identifier.kind {
            Kind::UserId => Addresses {
                user_id: Some(value),
                ..Addresses::default()
            },
            Kind::ParentUserId => Addresses {
                parent_user_id: Some(value),
                ..Addresses::default()
            },
            Kind::Phone => Addresses {
                phone: Phone::parse(&value).ok(),
                ..Addresses::default()
            },
        };
        let portfolio = PortfolioId::parse(PORTFOLIO).unwrap();
        customers::find(&stage.log, &stage.tokens, &portfolio, &addresses)
            .await
            .unwrap()
    };
    let mut owners: BTreeMap<Identifier, CustomerId> = BTreeMap::new();
    for identifier in told.iter().flat_map(|one| one.sighting.identifiers()) {
        if let Some(found) = owner(&identifier).await {
            owners.insert(identifier, found);
        }
    }
    assert_eq!(
        owners.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "seed {seed}"
    );
    for (one, owner) in &owners {
        for (other, another) in &owners {
            assert_eq!(
                owner == another,
                expected[one] == expected[other],
                "seed {seed}: {one:?} {other:?}"
            );
        }
    }

    for number in [ONE, TWO] {
        let books = Books::read(seed, &stage.inbound(number.0).await);
        let here: Vec<&Told> = told.iter().filter(|one| one.number == number).collect();
        let mut summaries: BTreeMap<CustomerId, Summary> = BTreeMap::new();
        for one in &here {
            let identifier = one.sighting.identifiers().remove(0);
            let whose = &owners[&identifier];
            if !one.wamid.is_empty() {
                let fact = id::inbound(&BusinessNumber::parse(number.0).unwrap(), &one.wamid);
                let stands = books.facts.get(&fact);
                let stands = stands.unwrap_or_else(|| panic!("seed {seed}: {one:?} is lost"));
                assert_eq!(
                    &books.carried_on(seed, stands),
                    whose,
                    "seed {seed}: {one:?}"
                );
            }
            let summary = summaries.entry(whose.clone()).or_default();
            *summary = std::mem::take(summary).join(one.summary());
        }
        let changes = here.iter().filter(|one| !one.is_message()).count();
        assert_eq!((books.facts.len(), books.changes), (here.len(), changes));
        for (customer, expected) in summaries {
            let stored = &books.last[&customer];
            let found = known(stored).summary;
            let last = |summary: &Summary| {
                let last = summary.last_qualifying.as_ref();
                last.map(|last| (last.at, last.provider_id.clone(), last.fact))
            };
            assert_eq!(last(&found), last(&expected), "seed {seed}: {customer}");
            assert_eq!(found.last_event_at, expected.last_event_at, "seed {seed}");
            assert_eq!(found.addresses(), expected.addresses(), "seed {seed}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a long run is asked for by whoever starts the tests"
)]
fn seeds() -> Option<(u64, u64)> {
    let seeds = std::env::var("CASEMENT_IDENTITY_SEEDS").ok()?;
    let (first, count) = seeds.split_once(':')?;
    Some((first.parse().ok()?, count.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_in_whatever_order_under_crashes_customers_are_as_the_model_says() {
    let wanted = seeds();
    let (first, count) = wanted.unwrap_or((7, 1));
    futures::stream::iter(first..first + count)
        .for_each_concurrent(AT_ONCE, |seed| run(seed, wanted.is_some()))
        .await;
}
