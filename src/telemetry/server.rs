//! The server log: JSON lines on standard error.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::chatter::{Chatter, Quieted};

/// Pause between two reports of lines that were left out or lost.
const TELL: Duration = Duration::from_secs(5);

static CHATTER: LazyLock<Chatter> = LazyLock::new(Chatter::default);
static LOST: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    IntCounter::new("portcullis_server_log_dropped_total", "Lines of the server log that could not be written.").ok()
});

/// Lines of this process's server log that could not be written.
pub(super) fn lost() -> Option<IntCounter> {
    LOST.clone()
}

/// Starts the log at `level`. Of the proxy framework warnings and errors are written; of its HTTP
/// parsers nothing, since their lines quote the caller's bytes.
pub fn start(level: Level) {
    // The framework reports a pooled connection that is just being watched, which is no error.
    let chatter = if level >= Level::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF };
    let targets = Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("portcullis", level)
        .with_target("pingora_core::protocols::http", LevelFilter::OFF)
        .with_target("pingora_core::connectors", chatter);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Lines);
    // A line that cannot be written is counted: reported on standard error, it would be a panic.
    let lines = Quieted { layer: lines.log_internal_errors(false), chatter: &CHATTER };
    let lines = lines.with_filter(targets);
    // A second start, as in tests of one process, keeps the first.
    if tracing_subscriber::registry().with(lines).try_init().is_ok() {
        let told = thread::Builder::new().name("server-log".into()).spawn(|| tell(&CHATTER));
        if let Err(error) = told {
            tracing::error!(%error, "what is left out of this log is not told");
        }
    }
}

/// Writes the place where a thread has panicked. The panic's message is left out, since it may hold a
/// secret, and the line does not go through the log, which may be what panics.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let message = "a panic: this is a defect of the gate";
        let line =
            json!({"timestamp": now, "level": "ERROR", "message": message, "place": place, "target": "portcullis"});
        let _ = Lines.write_all(format!("{line}\n").as_bytes());
    }));
}

fn tell(chatter: &Chatter) {
    let lost = || lost().map_or(0, |lost| lost.get());
    let mut told = 0;
    loop {
        thread::sleep(TELL);
        chatter.tell();
        let before = lost();
        if before > told {
            // Where this line is lost too, the number is told the next time.
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
