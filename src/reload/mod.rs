//! Live reload: a change of a watched file is read, checked, and published
//! whole, or not at all (invariant 8).
//!
//! All of it happens on a thread of its own: whatever files hold, neither the
//! background nor a request waits for it.

mod watch;

pub use watch::{Seen, digests, watch};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use filters::audit::Occurrence;
use filters::names::{AgentId, Namespace};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::config::{self, Changes, Fixed, Listener, Settings};
use crate::issuers::Issuers;
use crate::limits::SharedLimits;
use crate::snapshot::{Prepared, Snapshot};
use crate::state::State;
use crate::telemetry;
use crate::tls;

/// Pause between two looks at a former snapshot that is still in use.
const RETIRE: Duration = Duration::from_millis(100);

/// Why a configuration waits for another gate.
const OTHER_SOCKETS: &str =
    "the listeners' addresses, their order, their TLS or their PROXY protocol changed, which needs another gate";

/// Where a configuration comes from; asked at start and at every reload.
pub type Source = Box<dyn Fn() -> Result<Settings, config::Report> + Send + Sync>;

/// Reads the configuration again, on SIGHUP, where operators ask for it and where
/// files change, and publishes what it says.
pub struct Reload(Arc<Reader>);

struct Reader {
    source: Source,
    state: Arc<State>,
    /// The sections that stay as they were at the start.
    fixed: Fixed,
    /// The files that are watched; `None` where they are not.
    watched: Option<Watched>,
    /// Held while a configuration is read and published: one at a time.
    turn: Mutex<()>,
}

/// The files and folders of the configuration that was read last.
struct Watched {
    files: Mutex<(Vec<PathBuf>, Seen)>,
    /// Told when they are others.
    others: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    fn new(files: Vec<PathBuf>) -> Self {
        let seen = digests(&files);
        Self { files: Mutex::new((files, seen)), others: Notify::new() }
    }

    fn follow(&self, files: &[PathBuf]) {
        if lock(&self.files).0 != files {
            *lock(&self.files) = (files.to_owned(), digests(files));
            self.others.notify_one();
        }
    }
}

/// Makes what a snapshot of `settings` needs: reads the TLS files of every listener. What is worth
/// a word stands in the materials' warnings.
///
/// # Errors
/// The first thing that cannot be used.
pub fn prepare(settings: &Settings, previous: Option<&Snapshot>) -> Result<Prepared, String> {
    let load = |listener: &Listener| listener.tls.as_ref().map(|tls| tls::load(tls).map(Arc::new)).transpose();
    let tls = settings.listeners.iter().map(load).collect::<Result<_, _>>().map_err(|problem| problem.to_string())?;
    let issuers = Issuers::new(&settings.identity.issuers, previous.map(|previous| &previous.credentials.issuers))?;
    let before = previous.and_then(|previous| previous.limits.shared.as_ref());
    let shared_limits = settings.shared_limits.as_ref().map(|settings| SharedLimits::new(settings, before));
    let mut outline = settings.outline.clone();
    for (path, digest) in digests(&settings.files) {
        outline.add_file(&path, digest);
    }
    Ok(Prepared { tls, issuers, shared_limits: shared_limits.transpose()?, outline, pending: Vec::new() })
}

impl Reload {
    /// Nothing is watched before [`Reload::run`].
    #[must_use]
    pub fn new(source: Source, state: Arc<State>, fixed: Fixed, files: Option<Vec<PathBuf>>) -> Self {
        let watched = files.map(Watched::new);
        Self(Arc::new(Reader { source, state, fixed, watched, turn: Mutex::default() }))
    }

    /// Waits for signals and changes, for ever.
    pub async fn run(&self) {
        let due = Notify::new();
        let reading = async {
            loop {
                due.notified().await;
                let _ = self.reload().await;
            }
        };
        tokio::join!(reading, self.on_hangup(&due), self.on_change(&due), self.on_request());
    }

    async fn on_change(&self, due: &Notify) {
        let Some(watched) = &self.0.watched else { return };
        loop {
            let (files, seen) = lock(&watched.files).clone();
            tokio::select! {
                () = watch(&files, seen, || due.notify_one()) => {}
                () = watched.others.notified() => {}
            }
        }
    }

    async fn on_hangup(&self, due: &Notify) {
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    due.notify_one();
                    // Whoever sends it may have put Vault right.
                    self.0.state.vault.login.try_again();
                }
            }
            Err(error) => tracing::error!(%error, "SIGHUP cannot be waited for"),
        }
    }

    async fn on_request(&self) {
        while let Some(request) = self.0.state.reloads.next().await {
            // Whoever does not wait any more wanted it all the same.
            let _ = request.send(self.reload().await);
        }
    }

    /// Publishes what is read now; gives its version, or why the last good one stays.
    async fn reload(&self) -> Result<u64, String> {
        let reader = Arc::clone(&self.0);
        let outcome = match spawn_blocking(move || reader.reload()).await {
            Ok(Ok((version, former))) => {
                tokio::spawn(retire(former, Arc::clone(&self.0.state)));
                Ok(version)
            }
            Ok(Err(report)) => Err(self.0.refuse(report)),
            Err(_) => Err(self.0.refuse("it cannot be read: this is a defect of the program, report it".to_owned())),
        };
        self.0.state.last_reload.note(outcome.clone());
        outcome
    }
}

/// Keeps a former snapshot until no request has it any more, and frees it aside: with 100,000 agents
/// that would hold up the others of whoever is the last to let go of it. Tokens of the namespaces that
/// agents have left are dropped at once, and once more when nobody makes them any more.
async fn retire(former: Arc<Snapshot>, state: Arc<State>) {
    let moved = |agent: &AgentId, namespace: &Namespace| !state.snapshot().agents.policy().may_be_in(agent, namespace);
    state.vault.tokens.drop_where(moved).await;
    while Arc::strong_count(&former) > 1 {
        tokio::time::sleep(RETIRE).await;
    }
    state.vault.tokens.drop_where(moved).await;
    spawn_blocking(move || drop(former));
}

impl Reader {
    /// Publishes what is read now; gives its version and the snapshot before it.
    fn reload(&self) -> Result<(u64, Arc<Snapshot>), String> {
        let _turn = lock(&self.turn);
        let former = Arc::clone(&self.state.snapshot());
        let snapshot = self.read(&former)?;
        let version = snapshot.about.version;
        let (old, new) = (former.about.digest, snapshot.about.digest);
        tell(&self.state, &snapshot.about.outline.changes(&former.about.outline), version);
        self.state.publish(snapshot);
        self.state.sinks.note(&Occurrence::Reloaded { old, new, version });
        self.state.metrics.reloads.published.inc();
        self.state.metrics.reloads.refused.set(0);
        Ok((version, former))
    }

    fn refuse(&self, report: String) -> String {
        self.state.metrics.reloads.failed.inc();
        self.state.metrics.reloads.refused.set(1);
        tracing::error!(%report, "the new configuration is not used; the last good one stays");
        report
    }

    fn read(&self, current: &Snapshot) -> Result<Snapshot, String> {
        let settings = (self.source)().map_err(|report| report.to_string())?;
        // Also where one of them is broken, so that its mending is noticed.
        if let Some(watched) = &self.watched {
            watched.follow(&settings.files);
        }
        let fixed = Fixed::of(&settings);
        // A listener is known by its place: in another's, it would serve with what is meant for that one.
        if fixed.sockets != self.fixed.sockets {
            return Err(OTHER_SOCKETS.to_owned());
        }
        let mut prepared = prepare(&settings, Some(current))?;
        prepared.pending = self.fixed.differences(&fixed);
        if !prepared.pending.is_empty() {
            tracing::warn!(sections = prepared.pending.join(", "), "what these say is in force in the next gate only");
        }
        prepared.warn();
        self.state.vault.login.take(&settings.login);
        telemetry::set_level(settings.logging.level);
        Ok(Snapshot::build(settings, prepared, Some(current)))
    }
}

/// Says what changed, by names, and counts it.
fn tell(state: &State, Changes { added, removed, changed }: &Changes<'_>, version: u64) {
    let counters = &state.metrics.reloads;
    for (counter, names) in [(&counters.added, added), (&counters.removed, removed), (&counters.changed, changed)] {
        counter.inc_by(u64::try_from(names.0.len()).unwrap_or(u64::MAX));
    }
    tracing::info!(version, %added, %removed, %changed, "the configuration was reloaded");
}
