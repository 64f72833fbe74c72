//! Outlets: ways on which records go elsewhere. Each has a thread and a bounded queue of its own, so that a slow one
//! holds up nothing.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

/// Most bytes that wait; over it lines are dropped and counted.
const MOST: usize = 8 << 20;
/// Pause between two looks for lines.
const LOOK: Duration = Duration::from_millis(20);
/// Pause before it tries again where it cannot write.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest time for what waits to be sent at the end.
const LAST: Duration = Duration::from_secs(1);

/// The other end of an outlet.
pub trait Outward: Send {
    /// The name by which the server log tells of it.
    fn name(&self) -> &'static str;

    /// Sends whole lines, each with its end; gives the number of bytes that are done with, whole lines too, and the
    /// error that stopped the rest.
    fn send(&mut self, lines: &[u8]) -> (usize, io::Result<()>);
}

/// Standard output.
#[derive(Debug)]
pub struct StandardOutput;

impl Outward for StandardOutput {
    fn name(&self) -> &'static str {
        "standard output"
    }

    fn send(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut out = io::stdout().lock();
        // What is written of a line when it breaks off is not known, and not written again.
        (lines.len(), out.write_all(lines).and_then(|()| out.flush()))
    }
}

pub(super) struct Outlet {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    lines: Mutex<Vec<u8>>,
    ending: AtomicBool,
    unsent: IntCounter,
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    pub(super) fn begin(outward: Box<dyn Outward>, unsent: IntCounter) -> io::Result<Self> {
        let shared = Arc::new(Shared { lines: Mutex::default(), ending: AtomicBool::new(false), unsent });
        let sender = Sender { shared: Arc::clone(&shared), outward, fails: false };
        let thread = thread::Builder::new().name("audit-outlet".into()).spawn(move || sender.run())?;
        Ok(Self { shared, thread })
    }

    /// Has `lines` sent, as far as there is room for them.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut waiting = self.shared.lines();
        if waiting.len() + lines.len() > MOST {
            self.shared.unsent.inc_by(count(lines));
            return;
        }
        waiting.extend_from_slice(lines);
    }

    /// Lets what waits be sent, for a moment.
    pub(super) fn end(self) {
        self.shared.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < LAST {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

struct Sender {
    shared: Arc<Shared>,
    outward: Box<dyn Outward>,
    /// True after an attempt that failed.
    fails: bool,
}

impl Sender {
    fn run(mut self) {
        let mut lines = Vec::new();
        loop {
            let ending = self.shared.ending.load(Ordering::Acquire);
            if lines.is_empty() {
                std::mem::swap(&mut *self.shared.lines(), &mut lines);
            }
            let busy = !lines.is_empty();
            if busy {
                self.send(&mut lines);
            }
            if ending && (self.fails || !busy) {
                self.shared.unsent.inc_by(count(&lines) + count(&self.shared.lines()));
                return;
            }
            if self.fails || !busy {
                thread::park_timeout(if self.fails { AGAIN } else { LOOK });
            }
        }
    }

    fn send(&mut self, lines: &mut Vec<u8>) {
        let (done, sent) = self.outward.send(lines);
        lines.drain(..done.min(lines.len()));
        let to = self.outward.name();
        match sent {
            Ok(()) if self.fails => tracing::warn!(to, "audit records are sent again"),
            Ok(()) => {}
            Err(error) if !self.fails => {
                tracing::error!(%error, to, "audit records cannot be sent: they wait, up to 8 MiB of them");
            }
            Err(_) => {}
        }
        self.fails = !lines.is_empty();
    }
}
