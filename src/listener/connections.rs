//! Open connections and their bounds (invariant 10). Where there are too many, the one that has been
//! idle longest is closed; connections without a known agent are closed before all others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use filters::names::AgentId;
use prometheus::{IntCounter, IntGauge};
use tokio::task::AbortHandle;

use crate::config::Bounds;
use crate::limits::{Full, Share, Shares};
use crate::service::Peer;

/// The reason why a connection is not kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// Every connection there may be is serving a request.
    InAll,
    /// Every connection that this source may have is serving a request.
    OfSource,
}

/// The open connections of callers.
pub struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    started: Instant,
    sources: Shares<IpAddr>,
    agents: Shares<AgentId>,
    shown: IntGauge,
    gave_way: IntCounter,
}

/// One open connection.
pub struct Connection {
    id: u64,
    all: Arc<Connections>,
    /// The number of requests under way on it.
    busy: AtomicUsize,
    /// The time at which the last request ended, or the connection was accepted, in nanoseconds since
    /// the gate started.
    idle_since: AtomicU64,
    /// True where an agent was recognised on it.
    known: AtomicBool,
    /// The address of its client, where it has one.
    client: OnceLock<IpAddr>,
    /// The network for which it counts.
    source: OnceLock<IpAddr>,
    /// The peer's certificate, once the handshake is complete.
    peer: OnceLock<Peer>,
    /// The beginning and end of its handshake, until that is told.
    handshake: Mutex<Option<(Instant, Instant)>>,
    /// Its shares: of its source, and of the agent that asked last.
    held: Mutex<HeldShares>,
    /// The handle that ends the task which serves it.
    task: OnceLock<AbortHandle>,
}

#[derive(Default)]
struct HeldShares {
    source: Option<Share>,
    agent: Option<(AgentId, Share)>,
}

/// Keeps a connection counted, and is dropped when it is closed.
pub struct Open(Arc<Connection>);

/// Marks a connection as serving a request.
pub struct Busy(Arc<Connection>);

impl Connections {
    /// No connections. `shown` counts open ones, `gave_way` those closed for others.
    #[must_use]
    pub fn new(shown: IntGauge, gave_way: IntCounter) -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(0),
            started: Instant::now(),
            sources: Shares::default(),
            agents: Shares::default(),
            shown,
            gave_way,
        }
    }

    /// Counts a connection that was accepted, of which `most` may be open.
    ///
    /// # Errors
    /// [`TooMany::InAll`] where none of them is idle.
    pub fn open(self: &Arc<Self>, most: usize) -> Result<Open, TooMany> {
        let connection = Arc::new(Connection {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            all: Arc::clone(self),
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            known: AtomicBool::new(false),
            client: OnceLock::new(),
            source: OnceLock::new(),
            peer: OnceLock::new(),
            handshake: Mutex::default(),
            held: Mutex::default(),
            task: OnceLock::new(),
        });
        let mut open = self.lock();
        if open.len() >= most && !self.make_room(&mut open, |_| true) {
            return Err(TooMany::InAll);
        }
        open.insert(connection.id, Arc::clone(&connection));
        drop(open);
        self.shown.inc();
        Ok(Open(connection))
    }

    /// The number of open connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Closes the connection that has been idle longest; true where there was one.
    pub fn relieve(&self) -> bool {
        self.make_room(&mut self.lock(), |_| true)
    }

    fn make_room(&self, open: &mut HashMap<u64, Arc<Connection>>, fits: impl Fn(&Connection) -> bool) -> bool {
        let idle = open.values().filter(|one| one.busy.load(Ordering::Relaxed) == 0 && fits(one));
        let oldest = idle.min_by_key(|one| (one.known.load(Ordering::Relaxed), one.idle_since.load(Ordering::Relaxed)));
        let Some(oldest) = oldest.cloned() else { return false };
        open.remove(&oldest.id);
        self.gave_way.inc();
        // Its shares are free from now on, however long its task takes to end.
        *oldest.held() = HeldShares::default();
        oldest.end();
        true
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Sets the address of its client.
    pub fn is_from(&self, client: IpAddr) {
        let _ = self.client.set(client);
    }

    /// Counts it for the network of its client, which may have `most`. Where there are as many already,
    /// an idle one of the same network is closed.
    ///
    /// # Errors
    /// [`TooMany::OfSource`] where none of them is idle.
    pub fn counts_for(&self, source: IpAddr, most: usize) -> Result<(), TooMany> {
        let _ = self.source.set(source);
        let bounds = Bounds { all: usize::MAX, each: most };
        // Another new connection may be faster to take the freed share, so it is tried again.
        for _ in 0..=2 {
            if let Ok(share) = self.all.sources.take(source, 1, bounds) {
                self.held().source = Some(share);
                return Ok(());
            }
            let fits = |other: &Connection| other.id != self.id && other.source.get() == Some(&source);
            if !self.all.make_room(&mut self.all.lock(), fits) {
                break;
            }
        }
        Err(TooMany::OfSource)
    }

    /// Counts it for the agent that asks on it now and may have `most`.
    ///
    /// # Errors
    /// [`Full`] where it has as many already.
    pub fn serves(&self, agent: &AgentId, most: usize) -> Result<(), Full> {
        let mut held = self.held();
        if held.agent.as_ref().is_some_and(|(before, _)| before == agent) {
            return Ok(());
        }
        let share = self.all.agents.take(agent.clone(), 1, Bounds { all: usize::MAX, each: most })?;
        held.agent = Some((agent.clone(), share));
        self.known.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps the certificate of the peer.
    pub fn presented(&self, peer: Peer) {
        let _ = self.peer.set(peer);
    }

    /// Notes a handshake that ends now, for the trace of the first request.
    pub fn shook_hands(&self, begun: Instant) {
        *self.handshake.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, Instant::now()));
    }

    /// The beginning and end of its handshake, told once.
    pub fn take_handshake(&self) -> Option<(Instant, Instant)> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The certificate of the peer, where it presented one.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.get()
    }

    /// Marks it as serving a request until the guard is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// The time for which it has served nothing; `None` while it serves something.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        let idle = self.all.now().saturating_sub(self.idle_since.load(Ordering::Relaxed));
        (self.busy.load(Ordering::Relaxed) == 0).then(|| Duration::from_nanos(idle))
    }

    /// The address of its client: the peer's, or the one that a PROXY header names.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.client.get().copied()
    }

    /// Sets the task that serves it; the task is ended where the connection is closed for another.
    pub fn is_served_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
        // It may have been closed for another already.
        if !self.all.lock().contains_key(&self.id) {
            self.end();
        }
    }

    fn end(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn held(&self) -> MutexGuard<'_, HeldShares> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for Open {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let all = &self.0.all;
        all.lock().remove(&self.0.id);
        *self.0.held() = HeldShares::default();
        all.shown.dec();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.all.now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Arc<Connections> {
        let gauge = IntGauge::new("open", "How many are open.").unwrap();
        Arc::new(Connections::new(gauge, IntCounter::new("gave_way", "How many gave way.").unwrap()))
    }

    /// True where it was closed for another.
    fn left(connection: &Connection) -> bool {
        !connection.all.lock().contains_key(&connection.id)
    }

    fn source(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_one_that_is_idle_longest_gives_way_and_an_unknown_one_first() {
        let all = connections();
        let agent = AgentId::parse("a").unwrap();
        let [known, busy, old, young] = [(); 4].map(|()| all.open(4).unwrap());
        known.serves(&agent, 1).unwrap();
        let serving = busy.begin();
        let fifth = all.open(4).unwrap();
        assert!(left(&old) && !left(&young) && !left(&known) && !left(&busy));
        assert_eq!(all.count(), 4);
        let sixth = all.open(4).unwrap();
        assert!(left(&young));
        let _serving = [fifth.begin(), sixth.begin()];
        let seventh = all.open(4).unwrap();
        assert!(left(&known), "an agent's idle connection, where there is no other");
        let _last = seventh.begin();
        assert_eq!(all.open(4).err(), Some(TooMany::InAll));
        drop(serving);
        assert!(all.open(4).is_ok());
        assert_eq!(all.gave_way.get(), 4);
    }

    #[test]
    fn a_source_has_no_more_than_its_own() {
        let all = connections();
        let [one, other, elsewhere] = [(); 3].map(|()| all.open(10).unwrap());
        one.counts_for(source(1), 1).unwrap();
        elsewhere.counts_for(source(2), 1).unwrap();
        other.counts_for(source(1), 1).unwrap();
        assert!(left(&one) && !left(&elsewhere), "its own idle one gives way");
        let _serving = other.begin();
        let refused = all.open(10).unwrap();
        assert_eq!(refused.counts_for(source(1), 1), Err(TooMany::OfSource));
        drop(other.0.all.open(10));
    }

    #[test]
    fn an_agent_has_no_more_than_its_own() {
        let all = connections();
        let [one, other] = [(); 2].map(|()| all.open(10).unwrap());
        let [a, b] = ["a", "b"].map(|name| AgentId::parse(name).unwrap());
        one.serves(&a, 1).unwrap();
        one.serves(&a, 1).unwrap();
        assert_eq!(other.serves(&a, 1), Err(Full::Own));
        other.serves(&b, 1).unwrap();
        one.serves(&b, 2).unwrap();
        other.serves(&a, 1).unwrap();
        drop((one, other));
        assert_eq!((all.agents.held(), all.shown.get(), all.count()), (0, 0, 0));
    }
}
