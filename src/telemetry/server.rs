//! The server log: JSON lines on standard error and, where there is a folder of logs, in `server.log`.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use super::chatter::{Chatter, Quieted};
use super::lines::{Destination, LineLog, begin, key, member, plain, text};
use super::metrics::{LogMetrics, lost};

/// Pause between two reports of lines that were left out or lost.
const TELL: Duration = Duration::from_secs(5);

static CHATTER: LazyLock<Chatter> = LazyLock::new(Chatter::default);

/// The file that lines go to beside standard error.
static FILE: OnceLock<LineLog> = OnceLock::new();
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log at `level`.
pub fn start(level: Level) {
    let (targets, handle) = reload::Layer::new(targets(level));
    let lines = Quieted { layer: Lines, chatter: &CHATTER }.with_filter(targets);
    // A second start, as in tests of one process, keeps the first.
    if tracing_subscriber::registry().with(lines).try_init().is_ok() {
        let _ = LEVEL.set(handle);
        let told = thread::Builder::new().name("server-log".into()).spawn(|| tell(&CHATTER));
        if let Err(error) = told {
            tracing::error!(%error, "what is left out of this log is not told");
        }
    }
}

/// Writes what is this severe from now on.
pub fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(targets(level))
    {
        tracing::error!(%error, "the level of this log stays as it is");
    }
}

/// Writes `server.log` too, from now on.
///
/// # Errors
/// The error of the file system.
pub fn keep(destination: &Destination, metrics: LogMetrics) -> io::Result<()> {
    // As with the log itself, a second one keeps the first.
    let _ = FILE.set(LineLog::open("server", destination, metrics)?);
    Ok(())
}

/// Writes what waits for `server.log`: the process ends.
pub fn close() {
    FILE.get().into_iter().for_each(LineLog::close);
}

/// Of the proxy framework warnings and errors are written; of its HTTP parsers nothing, since their lines
/// quote the caller's bytes.
fn targets(level: Level) -> Targets {
    // The framework reports a pooled connection that is just being watched, which is no error.
    let chatter = if level >= Level::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF };
    Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("portcullis", level)
        .with_target("pingora_core::protocols::http", LevelFilter::OFF)
        .with_target("pingora_core::connectors", chatter)
}

/// Writes the place where a thread has panicked. The panic's message is left out, since it may hold a
/// secret, and the line does not go through the log, which may be what panics.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let mut line = Vec::new();
        begin("error", &mut line);
        plain(key!("msg"), "a panic: this is a defect of the gate", &mut line);
        plain(key!("logger"), "portcullis", &mut line);
        text(key!("place"), &place, &mut line);
        line.extend_from_slice(b"}\n");
        print(&line);
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

/// A layer that writes each event as one line of JSON.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let logger = told.target.as_deref().unwrap_or_else(|| event.metadata().target()).replace("::", ".");
        let mut line = Vec::with_capacity(256);
        begin(level, &mut line);
        text(key!("msg"), &told.message, &mut line);
        text(key!("logger"), &logger, &mut line);
        line.extend_from_slice(&told.fields);
        line.extend_from_slice(b"}\n");
        print(&line);
    }
}

/// The fields of an event.
#[derive(Default)]
struct Told {
    message: String,
    /// Where it came through the crate `log`: the target there.
    target: Option<String>,
    fields: Vec<u8>,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "log.target" => self.target = Some(value.to_owned()),
            // The place in some crate's source.
            name if name.starts_with("log.") => {}
            name => member(name, value, &mut self.fields),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if !field.name().starts_with("log.") {
            member(field.name(), &value, &mut self.fields);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        member(field.name(), &value, &mut self.fields);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        member(field.name(), &value, &mut self.fields);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        member(field.name(), &value, &mut self.fields);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// True after a line that broke off.
static TORN: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard error, and to the file. One that standard error does not take is counted:
/// reported there, it would be a panic.
fn print(line: &[u8]) {
    let mut error = io::stderr().lock();
    let torn = TORN.load(Ordering::Relaxed);
    let written = if torn { error.write_all(b"\n") } else { Ok(()) }.and_then(|()| error.write_all(line));
    drop(error);
    TORN.store(written.is_err(), Ordering::Relaxed);
    if let (Err(_), Some(lost)) = (written, lost()) {
        lost.inc();
    }
    if let Some(file) = FILE.get() {
        file.add(|lines| lines.extend_from_slice(line));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps the lines that events become.
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<Told>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut told = Told::default();
            event.record(&mut told);
            self.0.lock().unwrap().push(told);
        }
    }

    #[test]
    fn fields_keep_their_kind_and_a_text_with_a_line_in_it_is_one_line() {
        let kept = std::sync::Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(std::sync::Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(count = 3, ready = true, who = "a\nb", why = %"c\"d", "something {}", "happened");
        });
        let told = kept.lock().unwrap().pop().unwrap();
        let mut line = Vec::new();
        begin("warn", &mut line);
        text(key!("msg"), &told.message, &mut line);
        line.extend_from_slice(&told.fields);
        line.extend_from_slice(b"}\n");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let told = ["lvl", "msg", "count", "ready", "who", "why"].map(|name| line[name].to_string());
        let expected = ["\"warn\"", "\"something happened\"", "3", "true", "\"a\\nb\"", "\"c\\\"d\""];
        assert_eq!(told, expected);
    }
}
