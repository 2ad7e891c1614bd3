//! Workers: how many conversations are in hand at once, and which one is taken in hand next.
//!
//! By turns, as rates are. Campaigns never have all the workers, so that an answer finds one also
//! while a campaign's calls are slow.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use casement_domain::turns::{Priority, Turns};
use casement_event_log::conversation::Key;
use tokio::sync::oneshot;

/// The workers of a replica.
#[derive(Debug)]
pub(crate) struct Workers {
    count: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    turns: Turns<Task>,
    waiting: HashMap<Task, oneshot::Sender<Worker>>,
    busy: Busy,
    came: u64,
    is_closed: bool,
}

/// What a worker is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    /// A conversation, which waits once at most.
    Lane(Key),
    /// A message in no lane.
    Alone(u64),
}

/// How many workers are busy, by priority.
#[derive(Debug, Clone, Copy, Default)]
struct Busy {
    bulk: usize,
    transactional: usize,
    reply: usize,
}

/// A worker, who is free again once this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    of: Arc<Workers>,
    priority: Priority,
}

impl Workers {
    pub(crate) fn new(count: usize, weights: BTreeMap<String, u32>) -> Arc<Self> {
        Arc::new(Self {
            count,
            inner: Mutex::new(Inner {
                turns: Turns::new(weights),
                waiting: HashMap::new(),
                busy: Busy::default(),
                came: 0,
                is_closed: false,
            }),
        })
    }

    /// Waits for a worker for a lane; `None` once there are to be no more.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        lane: &Key,
        priority: Priority,
        brand: &str,
    ) -> Option<Worker> {
        self.enter_for(|_| Task::Lane(lane.clone()), priority, brand)
            .await
    }

    /// The same for a message that is in no lane.
    pub(crate) async fn enter_alone(
        self: &Arc<Self>,
        priority: Priority,
        brand: &str,
    ) -> Option<Worker> {
        self.enter_for(Task::Alone, priority, brand).await
    }

    async fn enter_for(
        self: &Arc<Self>,
        task: impl FnOnce(u64) -> Task,
        priority: Priority,
        brand: &str,
    ) -> Option<Worker> {
        let (given, worker) = oneshot::channel();
        {
            let mut inner = self.lock();
            if inner.is_closed {
                return None;
            }
            let task = task(inner.came);
            inner.came += 1;
            inner.turns.enlist(task.clone(), priority, brand);
            inner.waiting.insert(task, given);
        }
        self.give();
        worker.await.ok()
    }

    /// Moves a lane up that waits, if it has become more urgent.
    pub(crate) fn urge(self: &Arc<Self>, lane: &Key, priority: Priority, brand: &str) {
        {
            let mut inner = self.lock();
            let task = Task::Lane(lane.clone());
            if inner
                .turns
                .priority(&task)
                .is_none_or(|now| now >= priority)
            {
                return;
            }
            inner.turns.enlist(task, priority, brand);
        }
        self.give();
    }

    /// Who waits gets none, and neither does who comes.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.waiting.clear();
    }

    /// Gives the free workers to those whose turn it is.
    fn give(self: &Arc<Self>) {
        loop {
            let (given, priority) = {
                let mut inner = self.lock();
                let busy = inner.busy;
                let may = |priority| busy.leaves_room(priority, self.count);
                let Some((task, priority)) = inner.turns.next(may) else {
                    return;
                };
                // Closed meanwhile.
                let Some(given) = inner.waiting.remove(&task) else {
                    continue;
                };
                *inner.busy.of(priority) += 1;
                (given, priority)
            };
            let of = Arc::clone(self);
            // Whoever gave up waiting leaves the worker to others.
            let _ = given.send(Worker { of, priority });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    fn of(&mut self, priority: Priority) -> &mut usize {
        match priority {
            Priority::Bulk => &mut self.bulk,
            Priority::Transactional => &mut self.transactional,
            Priority::Reply => &mut self.reply,
        }
    }

    /// Campaigns have half of the workers at most; together with what was agreed on, three
    /// quarters.
    fn leaves_room(self, priority: Priority, count: usize) -> bool {
        let half = (count / 2).max(1);
        let three_quarters = (count - count / 4).max(1);
        let others = self.bulk + self.transactional;
        others + self.reply < count
            && match priority {
                Priority::Bulk => self.bulk < half && others < three_quarters,
                Priority::Transactional => others < three_quarters,
                Priority::Reply => true,
            }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        {
            let mut inner = self.of.lock();
            *inner.busy.of(self.priority) -= 1;
        }
        self.of.give();
    }
}

#[cfg(test)]
mod tests {
    use Priority::{Bulk, Reply, Transactional};
    use casement_domain::id::{BusinessNumber, CustomerId};

    use super::*;

    /// Enters for each brand in turn, and returns who waits.
    async fn enter_all(
        workers: &Arc<Workers>,
        who: impl IntoIterator<Item = (Priority, &'static str)>,
    ) -> tokio::task::JoinSet<(Worker, Priority, &'static str)> {
        let mut all = tokio::task::JoinSet::new();
        for (priority, brand) in who {
            let waiting = workers.lock().came;
            let of = Arc::clone(workers);
            all.spawn(async move {
                let worker = of.enter_alone(priority, brand).await.expect("not closed");
                (worker, priority, brand)
            });
            while workers.lock().came == waiting {
                tokio::task::yield_now().await;
            }
        }
        all
    }

    #[tokio::test]
    async fn a_campaign_leaves_workers_to_what_is_more_urgent() {
        let workers = Workers::new(8, BTreeMap::new());
        let campaign = std::iter::repeat_n((Bulk, "a"), 100);
        let mut bulk = enter_all(&workers, campaign).await;
        assert_eq!(workers.lock().busy.bulk, 4);
        let agreed = std::iter::repeat_n((Transactional, "a"), 100);
        let mut agreed = enter_all(&workers, agreed).await;
        assert_eq!(workers.lock().busy.transactional, 2);
        let replies = std::iter::repeat_n((Reply, "a"), 3);
        let mut replies = enter_all(&workers, replies).await;
        assert_eq!(workers.lock().busy.reply, 2);
        // A free worker goes to the answer that waits, whoever had it.
        drop(bulk.join_next().await);
        drop(replies.join_next().await);
        drop(replies.join_next().await);
        drop(replies.join_next().await.expect("the third one"));
        drop(agreed.join_next().await);
        workers.close();
        assert!(workers.enter_alone(Reply, "a").await.is_none());
    }

    #[tokio::test]
    async fn brands_get_workers_in_turn_however_many_one_of_them_asks_for() {
        let workers = Workers::new(1, BTreeMap::new());
        let worker = workers
            .enter_alone(Bulk, "first")
            .await
            .expect("one is free");
        let large = std::iter::repeat_n((Bulk, "large"), 50);
        let mut all = enter_all(&workers, large.chain([(Bulk, "small")])).await;
        drop(worker);
        let mut order = Vec::new();
        for _ in 0..3 {
            let (worker, _, brand) = all.join_next().await.expect("more").expect("no panic");
            order.push(brand);
            drop(worker);
        }
        assert_eq!(order, ["large", "small", "large"]);
    }

    #[tokio::test]
    async fn a_lane_that_waits_with_a_campaign_moves_up_for_an_answer() {
        let workers = Workers::new(1, BTreeMap::new());
        let worker = workers.enter_alone(Bulk, "a").await.expect("one is free");
        let lane = Key {
            number: BusinessNumber::parse("15550001111").unwrap(),
            customer: CustomerId::parse("c1").unwrap(),
        };
        let mut campaign = enter_all(&workers, std::iter::repeat_n((Bulk, "a"), 5)).await;
        let (of, key) = (Arc::clone(&workers), lane.clone());
        let entering = tokio::spawn(async move { of.enter(&key, Bulk, "a").await });
        while workers.lock().turns.waiting(Bulk) < 6 {
            tokio::task::yield_now().await;
        }
        workers.urge(&lane, Reply, "a");
        drop(worker);
        let first = entering.await.expect("no panic").expect("a worker");
        assert_eq!(first.priority, Reply);
        assert!(campaign.try_join_next().is_none());
    }

    #[tokio::test]
    async fn a_single_worker_serves_all() {
        let workers = Workers::new(1, BTreeMap::new());
        for priority in Priority::ALL {
            drop(workers.enter_alone(priority, "a").await.expect("free"));
        }
    }
}
