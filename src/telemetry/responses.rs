//! The log of what was done: one line for each operation, with the name of what it was about.

use std::io;

use super::lines::{Destination, LineLog, begin, milliseconds, number, text};
use super::metrics::LogMetrics;
use super::sink::{Call, Record, Sink};
use filters::grants::Resource;

/// Where lines of operations go.
pub struct ResponseLog {
    log: LineLog,
    /// True where secrets, keys and roles are named.
    names: bool,
}

impl ResponseLog {
    /// Opens `responses.log`.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(destination: &Destination, names: bool, metrics: LogMetrics) -> io::Result<Self> {
        Ok(Self { log: LineLog::open("responses", destination, metrics)?, names })
    }
}

impl Sink for ResponseLog {
    fn finish(&self, record: &Record<'_>) {
        for call in record.calls.into_iter().flat_map(|calls| calls.iter()) {
            self.log.add(|lines| call.write(record, self.names, lines));
        }
    }

    fn close(&self) {
        self.log.close();
    }
}

impl Call {
    fn write(&self, record: &Record<'_>, names: bool, out: &mut Vec<u8>) {
        let operation = self.entry.spec.name.replace('.', "_");
        begin(if self.refused.is_some() { "warn" } else { "info" }, &operation, "portcullis.response", out);
        for (name, value) in [
            ("request_id", record.request_id),
            ("correlation_id", record.correlation_id),
            ("subject", record.agent),
            ("namespace", record.namespace),
            ("decision", self.refused.unwrap_or("allow")),
        ] {
            text(name, value, out);
        }
        let concern = &self.concern;
        if let Some((word, name)) = concern.resource.as_ref().filter(|_| names).and_then(Resource::named) {
            text(word, name, out);
        }
        let made = self.event.as_ref().and_then(|event| event.version);
        if let Some(version) = made.or(concern.version) {
            number("version", version, out);
        }
        if let Some(took) = self.upstream {
            milliseconds("vault_ms", took, out);
        }
        out.extend_from_slice(b"}\n");
    }
}
