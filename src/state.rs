//! The state of the process: the current snapshot, and everything that requests share.

mod facts;
mod refused_logins;

pub use refused_logins::{RefusedCredential, RefusedLogins};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use filters::confirmation::{ConfirmationId, LASTS};
use filters::jwt::{ProofId, WINDOW};
use filters::names::AgentId;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};

use crate::events::Bus;
use crate::kms::Kms;
use crate::limits::{Failures, RunningCalls, Shares, UsedOnce};
use crate::listener::Connections;
use crate::snapshot::Snapshot;
use crate::telemetry::{Metrics, Sinks};
use crate::vault::{Health, Vault};

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds for which strangers are told the same of readiness.
const READINESS: u64 = SECOND;

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
    /// The keepers of records.
    pub sinks: Sinks,
    /// Requests and bodies under way.
    pub load: Load,
    /// Open connections of callers.
    pub connections: Arc<Connections>,
    /// Duties of the background that do not run now.
    pub duties_down: DutiesDown,
    /// Events, and those who hear of them.
    pub events: Arc<Bus>,
    /// Open streams of events.
    pub streams: Shares<AgentId>,
    /// Calls under way that their clients may cancel.
    pub running: Arc<RunningCalls>,
    /// Failed authentications by source.
    pub failures: Failures,
    /// Proofs of possession that were used.
    pub proofs: UsedOnce<ProofId>,
    /// Confirmations of calls that were used.
    pub confirmations: UsedOnce<ConfirmationId>,
    /// Credentials of nobody that were refused last.
    pub refused_logins: RefusedLogins,
    /// Reloads that operators ask for.
    pub reloads: ReloadRequests,
    /// The outcome of the last reload, whoever asked for it.
    pub last_reload: LastReload,
    started: Instant,
    draining: AtomicBool,
    /// When it was last looked whether requests can be served, by the clock of the limits, and the answer.
    readiness: Mutex<Option<(u64, bool)>>,
    /// Terms of the machine.
    pub host: Host,
}

/// Terms of the machine for the process.
#[derive(Debug)]
pub struct Host {
    /// Files that it may open.
    pub files: usize,
    /// The folder of its logs; `None` where they have no files.
    pub logs: Option<PathBuf>,
}

impl State {
    /// The state of a gate that has served nothing yet.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        vault: Vault,
        kms: Option<Kms>,
        metrics: Arc<Metrics>,
        sinks: Sinks,
        events: Arc<Bus>,
        host: Host,
    ) -> Self {
        vault.suspensions.configure(snapshot.agents.policy().suspended().iter().cloned());
        let state = Self {
            published: watch::Sender::new(snapshot.about.version),
            snapshot: ArcSwap::from_pointee(snapshot),
            vault,
            kms,
            streams: Shares::default(),
            connections: Arc::new(Connections::new(
                metrics.connections.open.clone(),
                metrics.connections.gave_way.clone(),
            )),
            duties_down: DutiesDown::default(),
            metrics,
            sinks,
            events,
            load: Load::default(),
            running: Arc::default(),
            failures: Failures::default(),
            proofs: UsedOnce::new(WINDOW),
            confirmations: UsedOnce::new(i64::try_from(LASTS).unwrap_or(i64::MAX)),
            refused_logins: RefusedLogins::default(),
            reloads: ReloadRequests::default(),
            last_reload: LastReload::default(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            readiness: Mutex::default(),
            host,
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
        let version = snapshot.about.version;
        self.show(&snapshot);
        self.vault.suspensions.configure(snapshot.agents.policy().suspended().iter().cloned());
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
        self.metrics.reloads.snapshot.set(i64::try_from(snapshot.about.version).unwrap_or(i64::MAX));
        let agents = snapshot.agent_metrics.then(|| snapshot.agents.policy().entries().map(|agent| agent.id.as_str()));
        self.metrics.agents.follow(agents);
    }

    /// The time since the gate started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Nanoseconds since the gate started: the clock of the limits.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.after(Instant::now(), Duration::ZERO)
    }

    /// The time so long after that moment, by the same clock.
    #[must_use]
    pub fn after(&self, moment: Instant, time: Duration) -> u64 {
        // One second ahead, so that no limit's cell begins at zero.
        let ahead = nanoseconds(moment.saturating_duration_since(self.started)).saturating_add(SECOND);
        ahead.saturating_add(nanoseconds(time))
    }

    /// True where requests can be served: Vault answers and has what agents' tokens are made by, the
    /// gate is logged in, knows the keys of handles and who is suspended, does all that it does beside
    /// them, can keep the records that must be kept, and is not about to end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let vault = &self.vault;
        let looked = vault.handles.are_current() && vault.suspensions.are_current() && vault.provision.serves();
        let active = vault.monitor.health() == Health::Active && vault.login.current().is_some();
        let able = self.duties_down.is_empty() && self.sinks.problem().is_none();
        active && looked && able && !self.is_draining()
    }

    /// True where requests could be served within the last second. However often strangers ask, it is
    /// looked at once in that time.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        let now = self.now();
        let mut looked = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, ready) = match *looked {
            Some(last) if now.saturating_sub(last.0) < READINESS => last,
            _ => *looked.insert((now, self.is_ready())),
        };
        // Its end is told at once.
        ready && !self.is_draining()
    }

    /// True while requests are under way, or streams of events, which end by themselves once the gate is
    /// to end.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.metrics.in_progress.get() > 0 || self.streams.held() > 0
    }

    /// Most connections that callers may have open: as configured, and so few that files are left for
    /// what is done for them.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.snapshot().limits.bounds.connections.all.min(self.host.files / 4 * 3)
    }

    /// Has every sink write what waits. Duties go on meanwhile.
    pub async fn close_sinks(self: &Arc<Self>) {
        let state = Arc::clone(self);
        let closed = tokio::task::spawn_blocking(move || state.sinks.close()).await;
        if closed.is_err() {
            self.metrics.panics.inc();
        }
    }

    /// Says that the gate is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True once the gate is about to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(SECOND).saturating_add(time.subsec_nanos().into())
}

/// Reloads that operators ask for, one at a time, with the outcome of each.
pub struct ReloadRequests {
    sender: mpsc::Sender<ReloadRequest>,
    receiver: AsyncMutex<mpsc::Receiver<ReloadRequest>>,
}

/// Takes the outcome of a reload: the version of the new snapshot, or why there is none.
pub type ReloadRequest = oneshot::Sender<Result<u64, String>>;

impl Default for ReloadRequests {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        Self { sender, receiver: AsyncMutex::new(receiver) }
    }
}

impl ReloadRequests {
    /// Asks for a reload and waits for its outcome; `None` where nothing reloads.
    pub async fn ask(&self) -> Option<Result<u64, String>> {
        let (request, outcome) = oneshot::channel();
        self.sender.send(request).await.ok()?;
        outcome.await.ok()
    }

    /// Waits for the next request.
    pub async fn next(&self) -> Option<ReloadRequest> {
        self.receiver.lock().await.recv().await
    }
}

/// The outcome of the last reload.
#[derive(Debug, Default)]
pub struct LastReload(Mutex<Option<(SystemTime, Result<u64, String>)>>);

impl LastReload {
    /// Notes the version that a reload published now, or why it was refused; no value of the configuration is in
    /// that.
    pub fn note(&self, outcome: Result<u64, String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((SystemTime::now(), outcome));
    }

    /// The outcome of the last reload and its moment; `None` before the first.
    #[must_use]
    pub fn get(&self) -> Option<(SystemTime, Result<u64, String>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Requests and answers under way; their bounds are the snapshot's (invariant 10).
#[derive(Debug, Default)]
pub struct Load {
    /// Requests that are worked on, by source address.
    pub requests: Shares<IpAddr>,
    /// Answers that are written without a turn, by source address.
    pub dismissed: Shares<IpAddr>,
    /// Bytes of bodies, by agent.
    pub bodies: Shares<AgentId>,
}

/// Duties that do not run now.
#[derive(Debug, Default)]
pub struct DutiesDown(Mutex<Vec<&'static str>>);

impl DutiesDown {
    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.lock().clone()
    }

    /// True where all duties run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Notes whether the duty of that name runs, and tells how many do not.
    pub fn note(&self, name: &'static str, runs: bool) -> i64 {
        let mut down = self.lock();
        down.retain(|other| *other != name);
        if !runs {
            down.push(name);
        }
        i64::try_from(down.len()).unwrap_or(i64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
