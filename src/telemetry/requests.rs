//! The request log: one JSON line per request, written by hand into a shared
//! buffer that a writer thread takes, so that a request pays for a lock and a
//! copy only.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::IntCounter;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How often the writer looks: seldom while nothing comes; else often, so that it has
/// little to write each time and is never long in the way of what shares its core.
const SELDOM: Duration = Duration::from_millis(50);
const OFTEN: Duration = Duration::from_millis(5);
/// Most bytes that wait; over it lines are dropped and counted.
const MOST: usize = 8 << 20;
/// Size from which the file is set aside as `requests.log.1`.
const ROTATE: u64 = 64 << 20;

/// What is told of one request. Nothing in it is the caller's free text: paths
/// are templates, ids are closed.
#[derive(Debug, Default)]
pub struct Record<'a> {
    /// The gate's id of the request.
    pub request_id: &'a str,
    /// The correlation id.
    pub correlation_id: &'a str,
    /// The TCP peer.
    pub client: Option<IpAddr>,
    /// The HTTP method, one of a closed set.
    pub method: &'static str,
    /// The route's template.
    pub route: &'static str,
    /// The agent's name.
    pub agent: &'a str,
    /// By what it was proved.
    pub proof: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// `allow`, or the code of the refusal.
    pub decision: &'static str,
    /// The role that allowed.
    pub role: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// Microseconds from head to answer.
    pub duration_us: u64,
    /// Microseconds of it that Vault took.
    pub vault_us: u64,
}

/// Where request lines go.
pub struct RequestLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    lines: Mutex<Vec<u8>>,
    ending: AtomicBool,
    dropped: IntCounter,
}

impl RequestLog {
    /// Opens `requests.log` in `directory`, which is made where it is missing.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(directory: &Path, dropped: IntCounter) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut file = Rotating::open(directory.join("requests.log"))?;
        let shared = Arc::new(Shared { lines: Mutex::default(), ending: AtomicBool::new(false), dropped });
        let theirs = Arc::clone(&shared);
        let writer = thread::Builder::new().name("request-log".into()).spawn(move || theirs.write_to(&mut file))?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Adds one line.
    pub fn add(&self, record: &Record<'_>) {
        let mut lines = lock(&self.shared.lines);
        if lines.len() > MOST {
            drop(lines);
            self.shared.dropped.inc();
            return;
        }
        record.write(&mut lines);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn write_to(&self, file: &mut Rotating) {
        let mut lines = Vec::new();
        loop {
            let ending = self.ending.load(Ordering::Acquire);
            std::mem::swap(&mut *lock(&self.lines), &mut lines);
            if let Err(error) = file.write(&lines) {
                tracing::error!(%error, "the request log cannot be written");
            }
            if ending {
                return;
            }
            thread::park_timeout(if lines.is_empty() { SELDOM } else { OFTEN });
            lines.clear();
        }
    }
}

struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Rotating {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.size > ROTATE {
            if self.is_in_place()? {
                std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            }
            *self = Self::open(std::mem::take(&mut self.path))?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Whether the file still has its name: a gate that replaces this one may have set it aside.
    fn is_in_place(&self) -> io::Result<bool> {
        let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let named = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            named => named?,
        };
        Ok(id(named) == id(self.file.metadata()?))
    }
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
            (b",\"proof\":", self.proof),
            (b",\"operation\":", self.operation),
            (b",\"decision\":", self.decision),
            (b",\"role\":", self.role),
        ] {
            if !value.is_empty() {
                out.extend_from_slice(before);
                let _ = serde_json::to_writer(&mut *out, value);
            }
        }
        if let Some(client) = self.client {
            let _ = write!(out, ",\"client\":\"{client}\"");
        }
        out.extend_from_slice(b",\"status\":");
        number(u64::from(self.status), out);
        out.extend_from_slice(b",\"duration_ms\":");
        milliseconds(self.duration_us, out);
        out.extend_from_slice(b",\"vault_ms\":");
        milliseconds(self.vault_us, out);
        out.extend_from_slice(b"}\n");
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// With the microseconds as three digits after the point.
fn milliseconds(microseconds: u64, out: &mut Vec<u8>) {
    number(microseconds / 1000, out);
    out.push(b'.');
    [100, 10, 1].into_iter().for_each(|place| number(microseconds / place % 10, out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_gate_has_set_aside_another_does_not_replace() {
        let folder = std::env::temp_dir().join(format!("portcullis-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("requests.log");
        let [mut one, mut other] = [(); 2].map(|()| Rotating::open(path.clone()).unwrap());
        one.write(b"one\n").unwrap();
        (one.size, other.size) = (ROTATE + 1, ROTATE + 1);
        one.write(b"two\n").unwrap();
        other.write(b"three\n").unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("requests.log.1"), read("requests.log")), ("one\n".to_owned(), "two\nthree\n".to_owned()));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let mut out = Vec::new();
        let record = Record {
            request_id: "r-1",
            route: "/secrets/{path}",
            client: Some([127, 0, 0, 1].into()),
            status: 200,
            duration_us: 1_050,
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
