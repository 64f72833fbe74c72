//! Turns: so many requests of one agent are served at once, some wait, and
//! the rest are refused, so that an agent that floods the gate is in its own way
//! and in nobody else's (invariant 10).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use filters::names::AgentId;
use moka::sync::Cache;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Most agents without an entry whose turns are kept.
const MAX_OTHERS: u64 = 100_000;

/// How many requests of one agent are served, and wait, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most that are served at once.
    pub concurrent: usize,
    /// Most that wait.
    pub queue: usize,
    /// Longest time to wait.
    pub wait: Duration,
}

/// The turns of every agent.
pub struct Directory {
    concurrent: usize,
    known: HashMap<AgentId, Arc<Turns>>,
    /// Those of agents without an entry; shared by all snapshots.
    others: Cache<AgentId, Arc<Turns>>,
}

/// The turns of one agent.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A turn, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue, given back when dropped: also where the caller goes.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    shown: &'a IntGauge,
}

impl Directory {
    /// The turns of the agents that have an entry, and of whoever comes. What
    /// was taken before counts on, unless there are more or fewer turns now.
    #[must_use]
    pub fn new<'a>(known: impl Iterator<Item = &'a AgentId>, concurrent: usize, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.concurrent == concurrent);
        let turns = |id: &AgentId| {
            let turns = before.and_then(|before| before.known.get(id)).cloned();
            (id.clone(), turns.unwrap_or_else(|| Arc::new(Turns::new(concurrent))))
        };
        let others = before.map_or_else(|| Cache::new(MAX_OTHERS), |before| before.others.clone());
        Self { concurrent, known: known.map(turns).collect(), others }
    }

    /// The turns of that agent.
    #[must_use]
    pub fn of(&self, id: &AgentId) -> Arc<Turns> {
        match self.known.get(id) {
            Some(turns) => Arc::clone(turns),
            None => self.others.get_with_by_ref(id, || Arc::new(Turns::new(self.concurrent))),
        }
    }
}

impl Turns {
    /// Turns of which `concurrent` are taken at once.
    #[must_use]
    pub fn new(concurrent: usize) -> Self {
        let free = Arc::new(Semaphore::new(concurrent.min(Semaphore::MAX_PERMITS)));
        Self { free, waiting: AtomicUsize::new(0) }
    }

    /// A turn: at once where one is free, else in the order of arrival; `None`
    /// where the queue is full, or it takes too long. `shown` tells how many wait.
    pub async fn take(&self, bounds: Bounds, shown: &IntGauge) -> Option<Turn> {
        let free = Arc::clone(&self.free);
        // Whoever waits is served first: what is given back is theirs.
        let permit = match Arc::clone(&free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(&self.waiting, bounds.queue, shown)?;
                timeout(bounds.wait, free.acquire_owned()).await.ok()?.ok()?
            }
        };
        Some(Turn { _permit: permit })
    }
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize, shown: &'a IntGauge) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        shown.inc();
        let place = Self { waiting, shown };
        (before < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const BOUNDS: Bounds = Bounds { concurrent: 2, queue: 1, wait: Duration::from_secs(60) };

    #[tokio::test]
    async fn what_is_over_the_turns_waits_and_what_is_over_the_queue_does_not() {
        let (turns, shown) = (Turns::new(BOUNDS.concurrent), IntGauge::new("waiting", "How many wait.").unwrap());
        let first = turns.take(BOUNDS, &shown).await.unwrap();
        let _second = turns.take(BOUNDS, &shown).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut third = pin!(turns.take(BOUNDS, &shown));
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(shown.get(), 1);
        assert!(turns.take(BOUNDS, &shown).await.is_none(), "the queue is full");
        drop(first);
        assert!(matches!(third.as_mut().poll(&mut context), Poll::Ready(Some(_))));
        assert_eq!(shown.get(), 0);
    }

    #[tokio::test]
    async fn who_goes_leaves_the_queue() {
        let (turns, shown) = (Turns::new(1), IntGauge::new("waiting", "How many wait.").unwrap());
        let held = turns.take(BOUNDS, &shown).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut gone = pin!(turns.take(BOUNDS, &shown));
            assert!(gone.as_mut().poll(&mut context).is_pending());
            drop(held);
            // It has a turn by now, and does not take it.
        }
        assert_eq!(shown.get(), 0);
        assert!(turns.take(BOUNDS, &shown).await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let bounds = Bounds { wait: Duration::ZERO, ..BOUNDS };
        let (turns, shown) = (Turns::new(1), IntGauge::new("waiting", "How many wait.").unwrap());
        let _held = turns.take(bounds, &shown).await.unwrap();
        assert!(turns.take(bounds, &shown).await.is_none());
        assert_eq!(shown.get(), 0);
    }
}
