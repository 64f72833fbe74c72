//! What lives as long as the process: the snapshot of the moment, and what
//! every request shares.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use filters::quota::{Cell, Exceeded, Rate};
use moka::sync::Cache;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::kms::Kms;
use crate::proofs::Proofs;
use crate::snapshot::Snapshot;
use crate::streams::Streams;
use crate::telemetry::{Metrics, RequestLog};
use crate::vault::{Health, Vault};

/// Most source addresses whose failures are remembered.
const MAX_SOURCES: u64 = 65_536;

/// Everything a request shares with the others.
pub struct State {
    snapshot: ArcSwap<Snapshot>,
    /// The version of the snapshot.
    published: watch::Sender<u64>,
    /// Vault, as the gate uses it.
    pub vault: Vault,
    /// AWS KMS, where it is enabled.
    pub kms: Option<Kms>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The request log, where it is on.
    pub log: Option<RequestLog>,
    /// Requests and bodies under way.
    pub load: Load,
    /// Open streams of events.
    pub streams: Arc<Streams>,
    /// Failed authentications by source.
    pub failures: Failures,
    /// Proofs of possession that were used.
    pub proofs: Proofs,
    /// Operators' wishes for a reload.
    pub reloads: Wishes,
    started: Instant,
    draining: AtomicBool,
}

impl State {
    /// The state of a gate that has served nothing yet.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        vault: Vault,
        kms: Option<Kms>,
        metrics: Arc<Metrics>,
        log: Option<RequestLog>,
    ) -> Self {
        vault.suspensions.configure(snapshot.suspended.iter().cloned());
        let state = Self {
            published: watch::Sender::new(snapshot.version),
            snapshot: ArcSwap::from_pointee(snapshot),
            vault,
            kms,
            streams: Arc::new(Streams::new(metrics.streams.clone())),
            metrics,
            log,
            load: Load::default(),
            failures: Failures::default(),
            proofs: Proofs::default(),
            reloads: Wishes::default(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
        };
        state.show(&state.snapshot());
        state
    }

    /// The snapshot of the moment. A request takes it once.
    #[must_use]
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Publishes a snapshot, whole.
    pub fn publish(&self, snapshot: Snapshot) {
        let version = snapshot.version;
        self.show(&snapshot);
        self.vault.suspensions.configure(snapshot.suspended.iter().cloned());
        self.snapshot.store(Arc::new(snapshot));
        self.published.send_replace(version);
    }

    /// Tells whenever a snapshot is published.
    #[must_use]
    pub fn publications(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Waits until there is a snapshot that `fits`.
    pub async fn snapshot_where(&self, fits: impl Fn(&Snapshot) -> bool) {
        let mut published = self.publications();
        while !fits(&self.snapshot()) {
            if published.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells the metrics of the snapshot.
    fn show(&self, snapshot: &Snapshot) {
        self.metrics.snapshot.set(i64::try_from(snapshot.version).unwrap_or(i64::MAX));
        let ends = snapshot.tls.iter().flatten().filter_map(|material| material.first_crl_end());
        self.metrics.crl_end.set(ends.min().unwrap_or(0));
    }

    /// Nanoseconds since the gate started: the clock of the limits.
    #[must_use]
    pub fn now(&self) -> u64 {
        // One second ahead, so that no limit's cell begins at zero.
        let ahead = self.started.elapsed() + Duration::from_secs(1);
        u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether requests can be served: Vault answers, the gate is logged in, knows
    /// the keys of handles and who is suspended, and is not about to end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let vault = &self.vault;
        let looked = vault.handles.are_current() && vault.suspensions.are_current();
        let active = vault.monitor.health() == Health::Active && vault.login.current().is_some();
        active && looked && !self.is_draining()
    }

    /// Says that the gate is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gate is about to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Wishes for a reload, and what becomes of them: the version of the new snapshot, or why there
/// is none.
pub struct Wishes {
    wished: mpsc::Sender<Wish>,
    wishes: Mutex<mpsc::Receiver<Wish>>,
}

type Wish = oneshot::Sender<Result<u64, String>>;

impl Default for Wishes {
    fn default() -> Self {
        let (wished, wishes) = mpsc::channel(1);
        Self { wished, wishes: Mutex::new(wishes) }
    }
}

impl Wishes {
    /// Wishes for one and waits for it; `None` where nobody grants it.
    pub async fn wish(&self) -> Option<Result<u64, String>> {
        let (granted, outcome) = oneshot::channel();
        self.wished.send(granted).await.ok()?;
        outcome.await.ok()
    }

    /// Grants each wish by `reload`, for ever.
    pub async fn grant(&self, reload: impl Fn() -> Result<u64, String>) {
        let mut wishes = self.wishes.lock().await;
        while let Some(wish) = wishes.recv().await {
            // Whoever does not wait any more wanted it all the same.
            let _ = wish.send(reload());
        }
    }
}

/// What is under way, and its bounds (invariant 10).
#[derive(Debug, Default)]
pub struct Load {
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
}

/// A share of a bound, given back when dropped.
#[derive(Debug)]
pub struct Share<'a> {
    of: &'a AtomicUsize,
    amount: usize,
}

impl Load {
    /// Room for one more request; `None` where there are `most`.
    pub fn request(&self, most: usize) -> Option<Share<'_>> {
        Share::take(&self.requests, 1, most)
    }

    /// Room for a body of `bytes`; `None` where `most` would be passed.
    pub fn body(&self, bytes: usize, most: usize) -> Option<Share<'_>> {
        Share::take(&self.body_bytes, bytes, most)
    }

    /// How many requests are under way.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl<'a> Share<'a> {
    fn take(of: &'a AtomicUsize, amount: usize, most: usize) -> Option<Self> {
        let before = of.fetch_add(amount, Ordering::Relaxed);
        let share = Self { of, amount };
        (before.saturating_add(amount) <= most).then_some(share)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// Failed authentications by source address.
pub struct Failures {
    cells: Cache<IpAddr, Arc<Cell>>,
    any: AtomicBool,
}

impl Default for Failures {
    fn default() -> Self {
        let cells = Cache::builder().max_capacity(MAX_SOURCES).time_to_idle(Duration::from_secs(900)).build();
        Self { cells, any: AtomicBool::new(false) }
    }
}

impl Failures {
    /// Whether a credential that could be guessed may be looked at.
    ///
    /// # Errors
    /// [`Exceeded`], without a charge.
    pub fn check(&self, source: IpAddr, rate: &Rate, now: u64) -> Result<(), Exceeded> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.cells.get(&network(source)).map_or(Ok(()), |cell| cell.check(rate, now))
    }

    /// Charges one failure.
    pub fn charge(&self, source: IpAddr, rate: &Rate, now: u64) {
        self.any.store(true, Ordering::Relaxed);
        let cell = self.cells.get_with(network(source), Arc::default);
        // Over the limit there is nothing more to charge.
        let _ = cell.charge(rate, now);
    }
}

/// An IPv4 address, or the /64 that one IPv6 host has for itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_kept_and_given_back() {
        let load = Load::default();
        let one = load.request(1).unwrap();
        assert!(load.request(1).is_none());
        assert_eq!(load.requests(), 1);
        drop(one);
        assert_eq!(load.requests(), 0);
        assert!(load.body(10, 9).is_none());
    }

    #[test]
    fn failures_are_counted_by_network() {
        let failures = Failures::default();
        let rate = Rate::new(1, Duration::from_secs(60), 2).unwrap();
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        failures.charge(a, &rate, 1);
        failures.charge(b, &rate, 1);
        assert!(failures.check(a, &rate, 1).is_err());
        assert!(failures.check("2001:db8:1::1".parse().unwrap(), &rate, 1).is_ok());
        assert!(failures.check("192.0.2.1".parse().unwrap(), &rate, 1).is_ok());
    }
}
