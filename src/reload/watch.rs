//! Notices when watched files say something else, once nobody writes to them any more.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use filters::secret::Digest;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::config::{self, files};

/// Time that files must be at rest before they are read, so that a file that is written in parts, and
/// files that belong together, such as a certificate and its key, are read as a whole.
const SETTLE: Duration = Duration::from_millis(500);
/// Pause between two looks at them meanwhile.
const STEP: Duration = Duration::from_millis(100);
/// Longest time that a file may be open and not written to before it is read all the same.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// Longest time to wait for rest: a file that never comes to it holds up no other for ever.
const LONGEST: Duration = Duration::from_secs(30);
/// Most bytes of a watched file; what is larger is of no use to the gate.
const MOST: u64 = 64 << 20;

/// Events of the folders that watched files lie in.
#[derive(Default)]
struct Heard {
    stirred: Notify,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    /// The watched files, as events name them, and the folders of which every file is watched.
    watched: HashSet<PathBuf>,
    /// Watched files whose last writer has not closed them yet.
    open: HashSet<PathBuf>,
}

impl Files {
    /// True for a watched file. Others in its folder may be written to all the time, as the gate's own logs are.
    fn watches(&self, path: &Path) -> bool {
        self.watched.contains(path) || path.parent().is_some_and(|folder| self.watched.contains(folder))
    }
}

impl Heard {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: notify::Event) {
        let is_access = event.kind.is_access();
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                let mut files = self.files();
                let written: Vec<_> = event.paths.into_iter().filter(|path| files.watches(path)).collect();
                if written.is_empty() {
                    return;
                }
                files.open.extend(written);
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => {
                let mut files = self.files();
                event.paths.iter().for_each(|path| _ = files.open.remove(path));
            }
            _ => {}
        }
        if !is_access {
            self.stirred.notify_one();
        }
    }
}

/// A digest of each file, by its path.
pub type Seen = Vec<(PathBuf, Digest)>;

/// Calls `changed` whenever what is in one of `files`, or in one of the
/// folders among them, is not what was `seen` last; for ever.
pub async fn watch(files: &[PathBuf], mut seen: Seen, mut changed: impl FnMut()) {
    let heard = Arc::new(Heard::default());
    let theirs = Arc::clone(&heard);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) => theirs.hear(event),
        Err(_) => theirs.stirred.notify_one(),
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::error!(%error, "files cannot be watched");
            return std::future::pending().await;
        }
    };
    let files: Arc<[PathBuf]> = files.into();
    let folders = folders(&files);
    for folder in &folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::error!(%error, folder = %folder.display(), "a folder cannot be watched");
        }
    }
    loop {
        heard.files().watched = aside(&files, named).await;
        // At first too: nothing was heard of what changed before.
        let now = aside(&files, digests).await;
        if now != seen {
            seen = now;
            changed();
        }
        heard.stirred.notified().await;
        settle(&files, &heard).await;
        // Again, since a folder may have been put in another's place.
        for folder in &folders {
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
    }
}

/// Waits until the files have been as they are for [`SETTLE`], and whoever wrote to one has closed it as long.
async fn settle(files: &Arc<[PathBuf]>, heard: &Heard) {
    let begin = Instant::now();
    let (mut before, mut changed, mut open) = (aside(files, marks).await, begin, begin);
    while changed.elapsed() < SETTLE || open.elapsed() < SETTLE {
        if changed.elapsed() > FORGOTTEN || begin.elapsed() > LONGEST {
            tracing::warn!("files do not come to rest and are read as they are; write beside them, and rename");
            return;
        }
        sleep(STEP).await;
        let now = aside(files, marks).await;
        if now.iter().any(|(path, _)| heard.files().open.contains(path)) {
            open = Instant::now();
        }
        if now != before {
            (before, changed) = (now, Instant::now());
        }
    }
}

/// Looks at the files on a thread on which that may wait.
async fn aside<T: Default + Send + 'static>(files: &Arc<[PathBuf]>, look: fn(&[PathBuf]) -> T) -> T {
    let files = Arc::clone(files);
    spawn_blocking(move || look(&files)).await.unwrap_or_default()
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

/// The files and folders, and what links among them stand for, as events name them.
fn named(files: &[PathBuf]) -> HashSet<PathBuf> {
    let told = files.iter().filter_map(|file| std::path::absolute(file).ok());
    told.chain(files.iter().filter_map(|file| file.canonicalize().ok())).collect()
}

/// The files, those of folders among them by their names.
fn each(files: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    files.iter().flat_map(|file| config::files_in(file).unwrap_or_else(|_| vec![file.clone()]))
}

/// A digest of what is in each file; of nothing where it cannot be read.
#[must_use]
pub fn digests(files: &[PathBuf]) -> Seen {
    let digest = |file: &Path| Digest::of(&Zeroizing::new(files::read(file, MOST).unwrap_or_default()));
    each(files).map(|file| (file.clone(), digest(&file))).collect()
}

/// Marks by which a file that was written to or replaced is known unread; its path as events have it.
fn marks(files: &[PathBuf]) -> Vec<(PathBuf, Option<[i64; 5]>)> {
    let mark = |found: Metadata| {
        let [device, inode, size] = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
        [device, inode, size, found.mtime(), found.mtime_nsec()]
    };
    let told = |file: PathBuf| std::path::absolute(&file).unwrap_or(file);
    each(files).map(|file| (told(file.clone()), std::fs::metadata(&file).ok().map(mark))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use notify::event::DataChange;

    #[test]
    fn what_is_written_beside_watched_files_stirs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, real, agents, log] =
            ["server.pem", "server-2.pem", "agents.d", "audit.log"].map(|name| folder.path().join(name));
        std::fs::create_dir(&agents).unwrap();
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink("server-2.pem", &certificate).unwrap();
        let heard = Heard::default();
        heard.files().watched = named(&[certificate.clone(), agents.clone(), folder.path().join("not-there-yet")]);
        let wrote = |path: &Path| {
            let kind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
            heard.hear(notify::Event::new(kind).add_path(path.to_owned()));
            heard.stirred.notified().now_or_never().is_some()
        };
        assert!(!wrote(&log) && heard.files().open.is_empty());
        for path in [certificate, real, agents.join("new.toml"), folder.path().join("not-there-yet")] {
            assert!(wrote(&path) && heard.files().open.contains(&path), "{}", path.display());
        }
        let removed = notify::Event::new(EventKind::Remove(notify::event::RemoveKind::File)).add_path(log);
        heard.hear(removed);
        assert!(heard.stirred.notified().now_or_never().is_some(), "what is removed may have been a folder");
    }
}
