//! Outlets: ways on which records go elsewhere. Each has a thread and a bounded queue of its own, so that a slow one
//! holds up nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::IntCounter;

use super::super::ending::ended_within;

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

    /// Sends whole lines, each with its end, or the rest of what it was given before; gives the number of bytes that
    /// are done with, and the error that stopped the rest. Counts as `unsent` records that are done with and were not
    /// taken.
    fn send(&mut self, lines: &[u8], unsent: &IntCounter) -> (usize, io::Result<()>);
}

/// Standard output.
#[derive(Debug)]
pub struct StandardOutput(File);

impl StandardOutput {
    /// Standard output of the process, without a buffer, so that it is known how much was written.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn new() -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Outward for StandardOutput {
    fn name(&self) -> &'static str {
        "standard output"
    }

    fn send(&mut self, lines: &[u8], _unsent: &IntCounter) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.0.write(rest) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
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
        ended_within(LAST, &self.thread);
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
        let (done, sent) = self.outward.send(lines, &self.shared.unsent);
        lines.drain(..done.min(lines.len()));
        let (to, sent_fails) = (self.outward.name(), sent.is_err());
        match sent {
            Ok(()) if self.fails => tracing::warn!(to, "audit records are sent again"),
            Ok(()) => {}
            Err(error) if !self.fails => {
                tracing::error!(%error, to, "audit records cannot be sent: they wait, up to 8 MiB of them");
            }
            Err(_) => {}
        }
        self.fails = sent_fails;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_waits_within_bounds_and_is_counted() {
        let unsent = IntCounter::new("unsent", "x").unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let outlet = Outlet::begin(Box::new(StandardOutput(full)), unsent.clone()).unwrap();
        let lines = "x\n".repeat(1 << 20);
        (0..5).for_each(|_| outlet.push(lines.as_bytes()));
        outlet.end();
        assert_eq!(unsent.get(), 5 << 20, "those that waited, and those for which there was no room");
    }

    #[test]
    fn what_waits_at_the_end_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let unsent = IntCounter::new("unsent", "x").unwrap();
        let file = File::create(&path).unwrap();
        let outlet = Outlet::begin(Box::new(StandardOutput(file)), unsent.clone()).unwrap();
        outlet.push(b"one\n");
        outlet.push(b"two\n");
        outlet.end();
        assert_eq!((std::fs::read_to_string(path).unwrap().as_str(), unsent.get()), ("one\ntwo\n", 0));
    }
}
