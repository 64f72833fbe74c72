//! A log of JSON lines: each is written by hand into a shared buffer that a writer thread takes, so that a
//! request pays for a lock and a copy only. What cannot be written, as on a full disk, waits.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::LogFiles;

use super::ending::{PATIENCE, ended_within};
use super::log_file::LogFile;
use super::metrics::LogMetrics;

/// Pauses between two looks of the writer: seldom while nothing comes; else often, so that it has
/// little to write each time and is never long in the way of what shares its core.
const SELDOM: Duration = Duration::from_millis(50);
const OFTEN: Duration = Duration::from_millis(5);
/// Pause before it tries again where it cannot write.
const AGAIN: Duration = Duration::from_millis(500);
/// Most bytes that wait; over it lines are dropped and counted.
pub(super) const MOST: usize = 8 << 20;

/// Where the lines of a log go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The folder of its file, and when that is set aside; `None` for no file.
    pub files: Option<LogFiles>,
    /// True where they go to standard output.
    pub stdout: bool,
}

/// A log of lines.
pub(super) struct LineLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    lines: Mutex<Vec<u8>>,
    /// Bytes that the writer has taken and not written yet.
    unwritten: AtomicUsize,
    ending: AtomicBool,
    metrics: LogMetrics,
}

impl LineLog {
    /// Opens the log of that name, a file `{name}.log`; its folder is made where it is missing.
    ///
    /// # Errors
    /// The error of the file system.
    pub(super) fn open(name: &'static str, destination: &Destination, metrics: LogMetrics) -> io::Result<Self> {
        let file = destination.files.as_ref().map(|files| {
            LogFile::make_folder(&files.folder)?;
            LogFile::open(&files.folder.join(format!("{name}.log")), files.clone())
        });
        let file = file.transpose()?;
        let (lines, unwritten, ending) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { lines, unwritten, ending, metrics });
        let stdout = destination.stdout;
        let writer =
            Writer { name, shared: Arc::clone(&shared), file, stdout, lines: Vec::new(), fails: false, told: 0 };
        let writer = thread::Builder::new().name(format!("{name}-log")).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Has lines added by `write`, unless too many wait.
    pub(super) fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = lock(&self.shared.lines);
        if lines.len() + self.shared.unwritten.load(Ordering::Relaxed) > MOST {
            drop(lines);
            self.shared.metrics.dropped.inc();
            return;
        }
        write(&mut lines);
    }

    /// Writes what waits and ends the writer.
    pub(super) fn close(&self) {
        self.shared.ending.store(true, Ordering::Release);
        if let Some(writer) = lock(&self.writer).take().filter(|writer| !ended_within(PATIENCE, writer)) {
            tracing::error!(
                log = writer.thread().name(),
                "lines were lost: the gate ends, and a write to a log does not"
            );
        }
    }
}

/// The begin of a member of that name, which needs no escape.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

pub(super) use key;

/// Begins a line: when, and how severe.
pub(super) fn begin(level: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ts\":\"");
    let _ = OffsetDateTime::now_utc().format_into(out, &Rfc3339);
    out.push(b'"');
    plain(key!("lvl"), level, out);
}

/// Adds a text that needs no escape behind its key; an empty one is left out.
pub(super) fn plain(key: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.reserve(key.len() + value.len() + 2);
        out.extend_from_slice(key.as_bytes());
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
}

/// Adds a text behind its key; an empty one is left out.
pub(super) fn text(key: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        json(key, value, out);
    }
}

/// Adds a value behind its key.
pub(super) fn json(key: &str, value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    let _ = serde_json::to_writer(&mut *out, value);
}

/// Adds a value under a name that needs no escape.
pub(super) fn member(name: &str, value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    json("\":", value, out);
}

/// Adds a number behind its key.
pub(super) fn number(key: &str, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    digits(number, out);
}

/// Adds milliseconds behind their key, with the microseconds as three digits after the point.
pub(super) fn milliseconds(key: &str, time: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    digits(microseconds / 1000, out);
    out.push(b'.');
    [100, 10, 1].into_iter().for_each(|place| digits(microseconds / place % 10, out));
}

fn digits(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Lines, of which each has its end.
fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the writer's thread.
struct Writer {
    name: &'static str,
    shared: Arc<Shared>,
    file: Option<LogFile>,
    stdout: bool,
    /// Lines that were taken and are not written yet.
    lines: Vec<u8>,
    /// True after an attempt that failed.
    fails: bool,
    /// Count of the lost lines that were told of.
    told: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let ending = self.shared.ending.load(Ordering::Acquire);
            // In their order: none is taken before those taken last are written.
            if self.lines.is_empty() {
                let mut lines = lock(&self.shared.lines);
                std::mem::swap(&mut *lines, &mut self.lines);
                self.shared.unwritten.store(self.lines.len(), Ordering::Relaxed);
            }
            let busy = !self.lines.is_empty();
            self.write();
            if ending && (self.fails || !busy) {
                return self.give_up();
            }
            let pause = if self.fails {
                AGAIN
            } else if busy {
                OFTEN
            } else {
                SELDOM
            };
            if !ending {
                thread::park_timeout(pause);
            }
        }
    }

    fn write(&mut self) {
        let (done, result) = match &mut self.file {
            Some(file) => file.write(&self.lines),
            None => (self.lines.len(), Ok(())),
        };
        if self.stdout {
            self.print(done);
        }
        self.shared.metrics.written.inc_by(count(self.lines.get(..done).unwrap_or_default()));
        let log = self.name;
        match result {
            Ok(()) if self.fails => {
                tracing::warn!("{log}.log is written again");
                // It may have grown to all that could wait.
                self.lines = Vec::new();
            }
            Ok(()) => self.lines.clear(),
            Err(error) => {
                self.lines.drain(..done);
                if !self.fails {
                    tracing::error!(%error, "{log}.log cannot be written: lines wait, up to 8 MiB of them");
                }
                self.fails = true;
                self.shared.unwritten.store(self.lines.len(), Ordering::Relaxed);
                let waiting = self.lines.len() + lock(&self.shared.lines).len();
                return self.shared.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
            }
        }
        self.fails = false;
        self.shared.unwritten.store(0, Ordering::Relaxed);
        self.shared.metrics.waiting.set(0);
        self.tell_lost();
    }

    /// Prints lines that are done with. Those that standard output does not take are lost.
    fn print(&self, bytes: usize) {
        let lines = self.lines.get(..bytes).unwrap_or_default();
        let mut stdout = io::stdout().lock();
        if stdout.write_all(lines).and_then(|()| stdout.flush()).is_err() {
            self.shared.metrics.dropped.inc_by(count(lines));
        }
    }

    /// Says once how many lines were lost, be it that the disk was full or slow.
    fn tell_lost(&mut self) {
        let lost = self.shared.metrics.dropped.get();
        if lost > self.told && lock(&self.shared.lines).len() < MOST / 2 {
            tracing::error!(lost = lost - self.told, "lines of {}.log were lost", self.name);
            self.told = lost;
        }
    }

    /// Counts what was not written as lost.
    fn give_up(mut self) {
        let left = std::mem::take(&mut *lock(&self.shared.lines));
        self.shared.metrics.dropped.inc_by(count(&self.lines) + count(&left));
        self.tell_lost();
    }
}
