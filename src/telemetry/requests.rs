//! The request log: one JSON line per request, written by hand into a shared
//! buffer that a writer thread takes, so that a request pays for a lock and a
//! copy only. What cannot be written, as on a full disk, waits.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::log_file::LogFile;
use super::metrics::LogMetrics;
use super::sink::{Calls, Record, Sink};

/// Pauses between two looks of the writer: seldom while nothing comes; else often, so that it has
/// little to write each time and is never long in the way of what shares its core.
const SELDOM: Duration = Duration::from_millis(50);
const OFTEN: Duration = Duration::from_millis(5);
/// Pause before it tries again where it cannot write.
const AGAIN: Duration = Duration::from_millis(500);
/// Most bytes that wait; over it lines are dropped and counted.
const MOST: usize = 8 << 20;

/// Where request lines go.
pub struct RequestLog {
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

impl RequestLog {
    /// Opens `requests.log` in `directory`, which is made where it is missing.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(directory: &Path, metrics: LogMetrics) -> io::Result<Self> {
        LogFile::make_folder(directory)?;
        let file = LogFile::open(&directory.join("requests.log"))?;
        let (lines, unwritten, ending) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { lines, unwritten, ending, metrics });
        let writer = Writer { shared: Arc::clone(&shared), file, lines: Vec::new(), fails: false, told: 0 };
        let writer = thread::Builder::new().name("request-log".into()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Writes what waits and ends the writer.
    pub fn close(&self) {
        self.shared.ending.store(true, Ordering::Release);
        if let Some(writer) = lock(&self.writer).take() {
            writer.thread().unpark();
            let _ = writer.join();
        }
    }
}

impl Sink for RequestLog {
    fn finish(&self, record: &Record<'_>) {
        let mut lines = lock(&self.shared.lines);
        if lines.len() + self.shared.unwritten.load(Ordering::Relaxed) > MOST {
            drop(lines);
            self.shared.metrics.dropped.inc();
            return;
        }
        record.write(&mut lines);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the writer's thread.
struct Writer {
    shared: Arc<Shared>,
    file: LogFile,
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
        let (done, result) = self.file.write(&self.lines);
        self.shared.metrics.written.inc_by(count(self.lines.get(..done).unwrap_or_default()));
        match result {
            Ok(()) if self.fails => {
                tracing::warn!("the request log is written again");
                // It may have grown to all that could wait.
                self.lines = Vec::new();
            }
            Ok(()) => self.lines.clear(),
            Err(error) => {
                self.lines.drain(..done);
                if !self.fails {
                    tracing::error!(%error, "the request log cannot be written: lines wait, up to 8 MiB of them");
                }
                self.fails = true;
                let waiting = self.lines.len() + lock(&self.shared.lines).len();
                self.shared.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
                return self.shared.unwritten.store(self.lines.len(), Ordering::Relaxed);
            }
        }
        self.fails = false;
        self.shared.metrics.waiting.set(0);
        self.shared.unwritten.store(0, Ordering::Relaxed);
        self.tell_lost();
    }

    /// Says once how many lines were lost, be it that the disk was full or slow.
    fn tell_lost(&mut self) {
        let lost = self.shared.metrics.dropped.get();
        if lost > self.told && lock(&self.shared.lines).len() < MOST / 2 {
            tracing::error!(lost = lost - self.told, "lines of the request log were lost");
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

/// The number of lines.
fn count(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl Record<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        let _ = OffsetDateTime::now_utc().format_into(out, &Rfc3339);
        out.extend_from_slice(b"\",\"msg\":\"request\"");
        for (before, value) in [
            (&b",\"request_id\":"[..], self.request_id),
            (b",\"correlation_id\":", self.correlation_id),
            (b",\"method\":", self.method),
            (b",\"route\":", self.route),
            (b",\"agent\":", self.agent),
            (b",\"namespace\":", self.namespace),
            (b",\"proof\":", self.proof),
            (b",\"operation\":", self.operation),
            (b",\"decision\":", self.decision),
            (b",\"role\":", self.role),
            (b",\"why\":", self.why),
            (b",\"principal\":", self.principal),
            (b",\"key\":", self.key),
            (b",\"certificate\":", self.certificate),
            (b",\"issuer\":", self.issuer),
        ] {
            if !value.is_empty() {
                out.extend_from_slice(before);
                let _ = serde_json::to_writer(&mut *out, value);
            }
        }
        if let Some(message) = self.message {
            out.extend_from_slice(b",\"message\":");
            number(message as u64, out);
        }
        if let Some(client) = self.client {
            out.extend_from_slice(b",\"client\":");
            let _ = serde_json::to_writer(&mut *out, &client);
        }
        out.extend_from_slice(b",\"status\":");
        number(u64::from(self.status), out);
        out.extend_from_slice(b",\"duration_ms\":");
        milliseconds(self.took, out);
        out.extend_from_slice(b",\"vault_ms\":");
        milliseconds(self.calls.map(Calls::upstream).unwrap_or_default(), out);
        out.extend_from_slice(b"}\n");
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// With the microseconds as three digits after the point.
fn milliseconds(time: Duration, out: &mut Vec<u8>) {
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(microseconds / 1000, out);
    out.push(b'.');
    [100, 10, 1].into_iter().for_each(|place| number(microseconds / place % 10, out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn what_is_lost_for_want_of_room_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("requests.log")).unwrap();
        let LogMetrics { written, dropped, waiting } = Metrics::new(Vec::new()).unwrap().log;
        let metrics = LogMetrics { written: written.clone(), dropped: dropped.clone(), waiting };
        let log = RequestLog::open(folder.path(), metrics).unwrap();
        let record = Record { route: "/whoami", ..Record::default() };
        let mut line = Vec::new();
        record.write(&mut line);
        let lines = (2 * MOST / line.len()) as u64;
        (0..lines).for_each(|_| log.finish(&record));
        let waiting = (lines - dropped.get()) * line.len() as u64;
        // Times are not all of one length.
        assert!(waiting.abs_diff(MOST as u64) < MOST as u64 / 10, "{waiting} bytes wait");
        log.close();
        assert_eq!((dropped.get(), written.get()), (lines, 0), "nothing was written");
    }

    #[test]
    fn a_name_with_a_line_in_it_is_one_line() {
        let mut out = Vec::new();
        Record { principal: "a\"}\n{\"msg\":\"request\"\u{7f}", ..Record::default() }.write(&mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["principal"], "a\"}\n{\"msg\":\"request\"\u{7f}");
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let mut out = Vec::new();
        let record = Record {
            request_id: "r-1",
            route: "/secrets/{path}",
            client: Some([127, 0, 0, 1].into()),
            status: 200,
            took: Duration::from_micros(1_050),
            ..Record::default()
        };
        record.write(&mut out);
        assert!(out.ends_with(b"}\n"));
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["duration_ms"], 1.05);
        assert_eq!(line["client"], "127.0.0.1");
        assert!(line.get("agent").is_none());
    }
}
