//! The limit on requests of one agent at once: so many are served, some wait, and the rest are
//! refused, so that an agent that floods the gate is in its own way and in nobody else's
//! (invariant 10).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use filters::names::AgentId;
use moka::sync::Cache;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::config::Queue;

/// Most agents without an entry whose limits are kept.
const MAX_OTHERS: u64 = 100_000;

/// The concurrency limits of all agents.
pub struct ConcurrencyLimits {
    /// Turns of an agent without an entry.
    concurrent: usize,
    known: HashMap<AgentId, Arc<ConcurrencyLimit>>,
    /// Limits of agents without an entry; shared by all snapshots.
    others: Cache<AgentId, Arc<ConcurrencyLimit>>,
}

/// The concurrency limit of one agent: its turns, and the queue for them.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    most: usize,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A turn, given back when dropped.
#[derive(Debug)]
pub struct Turn(OwnedSemaphorePermit);

impl Turn {
    /// True where the agent has no other turn left, so that its holder may keep others waiting.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.0.semaphore().available_permits() == 0
    }
}

/// A place in the queue, given back when dropped, also where the caller goes.
pub struct QueuePlace {
    limit: Arc<ConcurrencyLimit>,
    wait: Duration,
    shown: IntGauge,
}

/// A request among those of its agent.
pub enum Place {
    /// One that has its turn.
    Turn(Turn),
    /// One that waits for its turn.
    Queue(QueuePlace),
}

impl ConcurrencyLimits {
    /// Limits of `known` agents, with so many turns each, and of all `others`. Turns taken `before` a
    /// reload count on, unless the number of turns has changed.
    #[must_use]
    pub fn new(known: impl Iterator<Item = (AgentId, usize)>, others: usize, before: Option<&Self>) -> Self {
        let turns = |(id, most): (AgentId, usize)| {
            let counted = before.and_then(|before| before.known.get(&id)).filter(|turns| turns.most == most);
            let turns = counted.map_or_else(|| Arc::new(ConcurrencyLimit::new(most)), Arc::clone);
            (id, turns)
        };
        let counted = before.filter(|before| before.concurrent == others);
        Self {
            concurrent: others,
            known: known.map(turns).collect(),
            others: counted.map_or_else(|| Cache::new(MAX_OTHERS), |before| before.others.clone()),
        }
    }

    /// The limit of that agent.
    #[must_use]
    pub fn of(&self, id: &AgentId) -> Arc<ConcurrencyLimit> {
        match self.known.get(id) {
            Some(turns) => Arc::clone(turns),
            None => self.others.get_with_by_ref(id, || Arc::new(ConcurrencyLimit::new(self.concurrent))),
        }
    }

    /// The number of that agent's requests that have their turn, and of those that wait for it.
    #[must_use]
    pub fn taken(&self, id: &AgentId) -> [usize; 2] {
        let limit = self.known.get(id).cloned().or_else(|| self.others.get(id));
        limit.map_or([0; 2], |limit| [limit.taken(), limit.waiting.load(Ordering::Relaxed)])
    }
}

impl ConcurrencyLimit {
    /// A limit of `most` turns at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { most, free, waiting: AtomicUsize::new(0) }
    }

    fn taken(&self) -> usize {
        self.most.min(Semaphore::MAX_PERMITS).saturating_sub(self.free.available_permits())
    }

    /// A turn where one is free, else a place in the queue; `None` where that is full. `shown` counts
    /// requests that wait.
    pub fn enter(self: &Arc<Self>, queue: Queue, shown: &IntGauge) -> Option<Place> {
        // Waiting requests come first: a turn that is given back is theirs.
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(Place::Turn(Turn(permit))),
            Err(_) => QueuePlace::take(self, queue, shown).map(Place::Queue),
        }
    }
}

impl QueuePlace {
    fn take(limit: &Arc<ConcurrencyLimit>, queue: Queue, shown: &IntGauge) -> Option<Self> {
        let before = limit.waiting.fetch_add(1, Ordering::Relaxed);
        shown.inc();
        let place = Self { limit: Arc::clone(limit), wait: queue.wait, shown: shown.clone() };
        (before < queue.length).then_some(place)
    }

    /// Waits for a turn, among others in the order in which they begin to; `None` where it does not come
    /// in time.
    pub async fn turn(self) -> Option<Turn> {
        let permit = timeout(self.wait, Arc::clone(&self.limit.free).acquire_owned()).await.ok()?.ok()?;
        // Other tasks of this thread go first: a turn that is handed on within one agent must not keep
        // others' requests from being noticed.
        yield_now().await;
        Some(Turn(permit))
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.limit.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    async fn take(turns: &Arc<ConcurrencyLimit>, queue: Queue, shown: &IntGauge) -> Option<Turn> {
        match turns.enter(queue, shown)? {
            Place::Turn(turn) => Some(turn),
            Place::Queue(place) => place.turn().await,
        }
    }

    const QUEUE: Queue = Queue { length: 1, wait: Duration::from_secs(60) };

    #[tokio::test]
    async fn what_is_over_the_turns_waits_and_what_is_over_the_queue_does_not() {
        let (turns, shown) = (Arc::new(ConcurrencyLimit::new(2)), IntGauge::new("waiting", "How many wait.").unwrap());
        let first = take(&turns, QUEUE, &shown).await.unwrap();
        let _second = take(&turns, QUEUE, &shown).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut third = pin!(take(&turns, QUEUE, &shown));
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(shown.get(), 1);
        assert!(take(&turns, QUEUE, &shown).await.is_none(), "the queue is full");
        drop(first);
        assert!(third.as_mut().poll(&mut context).is_pending(), "others are noticed first");
        assert!(third.await.is_some());
        assert_eq!(shown.get(), 0);
    }

    #[tokio::test]
    async fn who_goes_leaves_the_queue() {
        let (turns, shown) = (Arc::new(ConcurrencyLimit::new(1)), IntGauge::new("waiting", "How many wait.").unwrap());
        let held = take(&turns, QUEUE, &shown).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut gone = pin!(take(&turns, QUEUE, &shown));
            assert!(gone.as_mut().poll(&mut context).is_pending());
            drop(held);
            // It has a turn by now, and does not take it.
        }
        assert_eq!(shown.get(), 0);
        assert!(take(&turns, QUEUE, &shown).await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let queue = Queue { wait: Duration::ZERO, ..QUEUE };
        let (turns, shown) = (Arc::new(ConcurrencyLimit::new(1)), IntGauge::new("waiting", "How many wait.").unwrap());
        let _held = take(&turns, queue, &shown).await.unwrap();
        assert!(take(&turns, queue, &shown).await.is_none());
        assert_eq!(shown.get(), 0);
    }

    #[tokio::test]
    async fn turns_outlive_a_reload_that_does_not_change_their_number() {
        let shown = IntGauge::new("waiting", "How many wait.").unwrap();
        let id = |name: &str| AgentId::parse(name).unwrap();
        let agents = |most| [(id("a"), most), (id("b"), 2)].into_iter();
        let none = Queue { length: 0, ..QUEUE };
        let before = ConcurrencyLimits::new(agents(1), 1, None);
        let (a, other) = (before.of(&id("a")), before.of(&id("other")));
        let _held = (take(&a, none, &shown).await.unwrap(), take(&other, none, &shown).await.unwrap());
        let same = ConcurrencyLimits::new(agents(1), 1, Some(&before));
        assert!(take(&same.of(&id("a")), none, &shown).await.is_none());
        assert!(take(&same.of(&id("other")), none, &shown).await.is_none());
        assert!(take(&same.of(&id("b")), none, &shown).await.is_some());
        let more = ConcurrencyLimits::new(agents(2), 1, Some(&before));
        assert!(take(&more.of(&id("a")), none, &shown).await.is_some());
    }
}
