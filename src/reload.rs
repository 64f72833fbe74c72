//! Live reload: a change of a watched file is read, checked, and published
//! whole, or not at all (invariant 8).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::config::{self, Changes, Fixed, Listener, Settings};
use crate::issuers::Issuers;
use crate::limits::SharedLimits;
use crate::snapshot::{Parts, Snapshot};
use crate::state::State;
use crate::tls;

/// How long a burst of changes is waited out, so that a certificate and its
/// key are read together.
const SETTLE: Duration = Duration::from_millis(200);

/// Why a configuration waits for another gate.
const OTHER_SOCKETS: &str =
    "the listeners' addresses, their order, their TLS or their PROXY protocol changed, which needs another gate";

/// Where a configuration comes from; asked at start and at every reload.
pub type Source = Box<dyn Fn() -> Result<Settings, config::Report> + Send + Sync>;

/// Reads the configuration again, on SIGHUP, where operators wish it and where
/// files change, and publishes what it says.
pub struct Reload {
    source: Source,
    state: Arc<State>,
    /// What stays as it was at the start.
    fixed: Fixed,
    /// What is watched; nothing where it is not wanted.
    watched: Option<Watched>,
}

/// The files and folders of the configuration that was read last.
struct Watched {
    files: Mutex<Vec<PathBuf>>,
    /// Told when they are others.
    others: Notify,
}

impl Watched {
    fn files(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, files: &[PathBuf]) {
        let mut current = self.files();
        if *current != files {
            files.clone_into(&mut current);
            self.others.notify_one();
        }
    }
}

/// Makes what a snapshot of `settings` needs: reads the TLS files of every listener. What is worth
/// a word stands in the materials' warnings.
///
/// # Errors
/// The first thing that cannot be used.
pub fn parts(settings: &Settings, previous: Option<&Snapshot>) -> Result<Parts, String> {
    let load = |listener: &Listener| listener.tls.as_ref().map(|tls| tls::load(tls).map(Arc::new)).transpose();
    let tls = settings.listeners.iter().map(load).collect::<Result<_, _>>().map_err(|problem| problem.to_string())?;
    let issuers = Issuers::new(&settings.identity.issuers, previous.map(|previous| &previous.issuers))?;
    let before = previous.and_then(|previous| previous.shared_limits.as_ref());
    let shared_limits = settings.shared_limits.as_ref().map(|settings| SharedLimits::new(settings, before));
    let mut outline = settings.outline.clone();
    for (path, bytes) in contents(&settings.files) {
        outline.add_file(&path, &bytes.unwrap_or_default());
    }
    Ok(Parts { tls, issuers, shared_limits: shared_limits.transpose()?, outline, pending: Vec::new() })
}

impl Reload {
    /// Nothing is watched before [`Reload::run`].
    #[must_use]
    pub fn new(source: Source, state: Arc<State>, fixed: Fixed, files: Option<Vec<PathBuf>>) -> Self {
        let watched = files.map(|files| Watched { files: Mutex::new(files), others: Notify::new() });
        Self { source, state, fixed, watched }
    }

    /// Waits for signals and changes, for ever.
    pub async fn run(&self) {
        let changes = async {
            let Some(watched) = &self.watched else { return std::future::pending().await };
            loop {
                let files = watched.files().clone();
                tokio::select! {
                    () = watch(&files, || drop(self.reload())) => {}
                    () = watched.others.notified() => {}
                }
            }
        };
        tokio::join!(self.on_hangup(), self.state.reloads.grant(|| self.reload()), changes);
    }

    async fn on_hangup(&self) {
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    let _ = self.reload();
                    // Whoever sends it may have put Vault right.
                    self.state.vault.login.try_again();
                }
            }
            Err(error) => tracing::error!(%error, "SIGHUP cannot be waited for"),
        }
    }

    /// Publishes what is read now; gives its version, or why the last good one stays.
    fn reload(&self) -> Result<u64, String> {
        let read = self.read();
        match read {
            Ok(snapshot) => {
                let version = snapshot.version;
                self.tell(&snapshot.outline.changes(&self.state.snapshot().outline), version);
                self.state.publish(snapshot);
                self.state.metrics.reloads.inc();
                Ok(version)
            }
            Err(report) => {
                self.state.metrics.reload_failures.inc();
                tracing::error!(%report, "the new configuration is not used; the last good one stays");
                Err(report)
            }
        }
    }

    /// Says what changed, by names, and counts it.
    fn tell(&self, Changes { added, removed, changed }: &Changes<'_>, version: u64) {
        let counters = &self.state.metrics.reload_changes;
        for (counter, names) in [(&counters.added, added), (&counters.removed, removed), (&counters.changed, changed)] {
            counter.inc_by(u64::try_from(names.0.len()).unwrap_or(u64::MAX));
        }
        tracing::info!(version, %added, %removed, %changed, "the configuration was reloaded");
    }

    fn read(&self) -> Result<Snapshot, String> {
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
        let current = self.state.snapshot();
        let mut parts = parts(&settings, Some(&current))?;
        parts.pending = self.fixed.differences(&fixed);
        if !parts.pending.is_empty() {
            tracing::warn!(sections = parts.pending.join(", "), "what these say is in force in the next gate only");
        }
        parts.warn();
        self.state.vault.login.take(&settings.login);
        Ok(Snapshot::build(settings, parts, Some(&current)))
    }
}

/// Calls `changed` whenever what is in one of `files`, or in one of the
/// folders among them, is not what it was; for ever.
pub async fn watch(files: &[PathBuf], mut changed: impl FnMut()) {
    let stirred = Arc::new(Notify::new());
    let theirs = Arc::clone(&stirred);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            theirs.notify_one();
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::error!(%error, "files cannot be watched");
            return std::future::pending().await;
        }
    };
    let folders = folders(files);
    for folder in &folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::error!(%error, folder = %folder.display(), "a folder cannot be watched");
        }
    }
    let mut seen = contents(files);
    loop {
        stirred.notified().await;
        tokio::time::sleep(SETTLE).await;
        // Again, since a folder may have been put in another's place.
        for folder in &folders {
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        let now = contents(files);
        if now != seen {
            seen = now;
            changed();
        }
    }
}

/// Folders, since editors and Kubernetes replace files instead of writing them.
fn folders(files: &[PathBuf]) -> Vec<PathBuf> {
    let parent = |file: &PathBuf| match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let themselves = files.iter().filter(|file| file.is_dir()).cloned();
    let mut folders: Vec<PathBuf> = files.iter().map(parent).chain(themselves).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// What is in each file, those of folders among them by their names.
fn contents(files: &[PathBuf]) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let within = |file: &PathBuf| config::files_in(file).unwrap_or_else(|_| vec![file.clone()]);
    files.iter().flat_map(within).map(|file| (file.clone(), std::fs::read(file).ok())).collect()
}
