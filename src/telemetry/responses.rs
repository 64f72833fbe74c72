//! The log of what was done: one line for each operation, with the name of what it was about.

use std::borrow::Cow;
use std::io;

use filters::audit::Naming;
use filters::grants::Resource;

use super::lines::{Destination, LineLog, begin, key, member, milliseconds, number, plain, text};
use super::metrics::LogMetrics;
use super::sink::{Call, Record, Sink};

/// Where lines of operations go.
pub struct ResponseLog {
    log: LineLog,
    /// The form of names of secrets, keys and roles; `None` where nothing is named.
    naming: Option<Naming>,
}

impl ResponseLog {
    /// Opens `responses.log`.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(destination: &Destination, naming: Option<Naming>, metrics: LogMetrics) -> io::Result<Self> {
        Ok(Self { log: LineLog::open("responses", destination, metrics)?, naming })
    }
}

impl Sink for ResponseLog {
    fn finish(&self, record: &Record<'_>) {
        for call in record.calls.into_iter().flat_map(|calls| calls.iter()) {
            // An HMAC takes long: nobody waits for another's.
            let named = self.naming.as_ref().and_then(|naming| call.named(naming));
            self.log.add(|lines| call.write(record, named, lines));
        }
    }

    fn close(&self) {
        self.log.close();
    }
}

impl Call {
    /// The name of what it was about, in this form, behind the word for it.
    fn named(&self, naming: &Naming) -> Option<(&'static str, Cow<'_, str>)> {
        let (word, name) = self.concern.resource.as_ref().and_then(Resource::named)?;
        Some((word, if let Naming::Clear = naming { name.into() } else { naming.of(name).into() }))
    }

    fn write(&self, record: &Record<'_>, named: Option<(&str, Cow<'_, str>)>, out: &mut Vec<u8>) {
        let operation = self.entry.spec.name.replace('.', "_");
        begin(if self.refused.is_some() { "warn" } else { "info" }, &operation, "portcullis.response", out);
        // Of closed sets, or judged when they came.
        for (key, value) in [
            (key!("request_id"), record.request_id),
            (key!("correlation_id"), record.correlation_id),
            (key!("subject"), record.agent),
            (key!("decision"), self.refused.unwrap_or("allow")),
        ] {
            plain(key, value, out);
        }
        text(key!("namespace"), record.namespace, out);
        if let Some((word, name)) = named {
            member(word, &name, out);
        }
        let made = self.event.as_ref().and_then(|event| event.version);
        if let Some(version) = made.or(self.concern.version) {
            number(key!("version"), version, out);
        }
        if let Some(took) = self.upstream {
            milliseconds(key!("vault_ms"), took, out);
        }
        out.extend_from_slice(b"}\n");
    }
}
