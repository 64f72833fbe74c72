//! The server log: JSON lines on standard error.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::chatter::Chatter;

/// Time between two words on what was left out or lost.
const TELL: Duration = Duration::from_secs(5);

static CHATTER: LazyLock<Chatter> = LazyLock::new(Chatter::default);
static LOST: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    IntCounter::new("portcullis_server_log_dropped_total", "Lines of the server log that could not be written.").ok()
});

/// Lines of this process's server log that could not be written.
pub(super) fn lost() -> Option<IntCounter> {
    LOST.clone()
}

/// Starts the log at `level`. The proxy framework speaks from warnings on, and
/// its HTTP parsers never: what they would say quotes the caller's bytes.
pub fn start(level: Level) {
    // Whoever only knocks would fill the log with failed handshakes, a pooled
    // connection that is busy being watched is no error, nor is waiting for the
    // gate that is replaced.
    let chatter = if level >= Level::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF };
    let targets = Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("portcullis", level)
        .with_target("pingora_core::protocols::http", LevelFilter::OFF)
        .with_target("pingora_core::apps", LevelFilter::OFF)
        .with_target("pingora_core::services::listening", chatter)
        .with_target("pingora_core::server::transfer_fd", chatter)
        .with_target("pingora_core::connectors", chatter);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Lines);
    // What cannot be written is counted; told to standard error, it would be a panic.
    let lines = lines.log_internal_errors(false).with_filter(targets.and(&*CHATTER));
    // A second start, as in tests of one process, keeps the first.
    if tracing_subscriber::registry().with(lines).try_init().is_ok() {
        let told = thread::Builder::new().name("server-log".into()).spawn(|| tell(&CHATTER));
        if let Err(error) = told {
            tracing::error!(%error, "what is left out of this log is not told");
        }
    }
}

fn tell(chatter: &Chatter) {
    let lost = || lost().map_or(0, |lost| lost.get());
    let mut told = 0;
    loop {
        thread::sleep(TELL);
        chatter.tell();
        let before = lost();
        if before > told {
            // Where that is lost too, it is told the next time.
            tracing::warn!(lost = before - told, "lines of this log could not be written");
            told = if lost() == before { before } else { told };
        }
    }
}

/// Standard error, a line at a time.
struct Lines;

/// True after a line that broke off.
static TORN: AtomicBool = AtomicBool::new(false);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let mut error = io::stderr().lock();
        let torn = TORN.load(Ordering::Relaxed);
        let written = if torn { error.write_all(b"\n") } else { Ok(()) }.and_then(|()| error.write_all(line));
        TORN.store(written.is_err(), Ordering::Relaxed);
        if let (Err(_), Some(lost)) = (&written, &*LOST) {
            lost.inc();
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
