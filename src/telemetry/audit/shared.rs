//! The parts of the audit that requests and the writer share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use filters::audit::Backlog;
use prometheus::IntCounter;
use tokio::sync::watch;

/// Most bytes that wait; over it records are lost and counted.
const MOST: usize = 8 << 20;
/// Bytes from which it is not waited for more before they are written.
const MANY: usize = MOST / 8;
/// Longest time that an operation waits for its record, and the longest that a write may take before the audit
/// counts as away.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Counters of the audit.
#[derive(Clone)]
pub struct AuditCounters {
    /// Records that were written, or sent where there is no file.
    pub written: IntCounter,
    /// Records that were lost: more waited than may.
    pub lost: IntCounter,
    /// Records that were not sent on.
    pub unsent: IntCounter,
}

/// The parts that requests and the writer share.
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    writer: OnceLock<Thread>,
    /// Bytes that the writer has taken and not written yet.
    pub(super) unwritten: AtomicUsize,
    pub(super) written: watch::Sender<Written>,
    /// Milliseconds after the begin at which the writer began to write; 0 while it does not.
    pub(super) writes_since: AtomicU64,
    begun: Instant,
    pub(super) ending: AtomicBool,
    pub(super) counters: AuditCounters,
}

/// Records that wait.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) backlog: Backlog,
    /// The number of records that were put in since the gate began.
    count: u64,
}

/// The progress of the writer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// The number of records that are written.
    pub(super) count: u64,
    /// True after an attempt that failed.
    pub(super) fails: bool,
}

impl Shared {
    pub(super) fn new(counters: AuditCounters) -> Self {
        Self {
            waiting: Mutex::default(),
            writer: OnceLock::new(),
            unwritten: AtomicUsize::new(0),
            written: watch::Sender::default(),
            writes_since: AtomicU64::new(0),
            begun: Instant::now(),
            ending: AtomicBool::new(false),
            counters,
        }
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn milliseconds(&self) -> u64 {
        // Never 0, which stands for nothing.
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Puts a record in, and gives its number; `None` where there is no room: it is lost then.
    pub(super) fn put(&self, add: impl FnOnce(&mut Backlog)) -> Option<u64> {
        let mut waiting = self.waiting();
        let before = waiting.backlog.size();
        if before + self.unwritten.load(Ordering::Relaxed) > MOST {
            drop(waiting);
            self.counters.lost.inc();
            return None;
        }
        add(&mut waiting.backlog);
        waiting.count += 1;
        let (number, many) = (waiting.count, before < MANY && waiting.backlog.size() >= MANY);
        drop(waiting);
        if many {
            self.wake();
        }
        Some(number)
    }

    /// Tells whom to wake.
    pub(super) fn written_by(&self, writer: Thread) {
        // It is told once.
        let _ = self.writer.set(writer);
    }

    /// Has what waits written now.
    pub(super) fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// The reason why records cannot be written now; `None` where they can.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let since = self.writes_since.load(Ordering::Relaxed);
        if self.written.borrow().fails {
            Some("it cannot be written: the server log tells why")
        } else if since > 0 && self.milliseconds().saturating_sub(since) > PATIENCE.as_millis() as u64 {
            Some("it is written too slowly")
        } else {
            None
        }
    }
}

/// Milliseconds since the epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
