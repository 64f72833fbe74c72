//! The log of what was done: one line for each operation, with the name of what it was about.

use std::io;

use filters::audit::Naming;
use filters::grants::{Resource, Space};
use filters::notes::{Fields, Note};

use super::audit::SharedNaming;
use super::lines::{Destination, LineLog, begin, key, member, milliseconds, number, plain, text};
use super::metrics::LogMetrics;
use super::sink::{Call, Record, Sink};

/// Where lines of operations go.
pub struct ResponseLog {
    log: LineLog,
    /// The form of names of secrets, keys and roles; `None` where nothing is named.
    naming: Option<SharedNaming>,
}

impl ResponseLog {
    /// Opens `responses.log`.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(destination: &Destination, naming: Option<SharedNaming>, metrics: LogMetrics) -> io::Result<Self> {
        Ok(Self { log: LineLog::open("responses", destination, metrics)?, naming })
    }
}

impl Sink for ResponseLog {
    fn finish(&self, record: &Record<'_>) {
        for call in record.calls.into_iter().flat_map(|calls| calls.iter()) {
            // An HMAC takes long: nobody waits for another's.
            let mut line = Vec::with_capacity(512);
            let naming = self.naming.as_ref().map(SharedNaming::load);
            call.write(record, naming.as_ref().map(|naming| &***naming), &mut line);
            self.log.add(|lines| lines.extend_from_slice(&line));
        }
    }

    fn close(&self) {
        self.log.close();
    }
}

impl Call {
    fn write(&self, record: &Record<'_>, naming: Option<&Naming>, out: &mut Vec<u8>) {
        begin(if self.refused.is_some() { "warn" } else { "info" }, out);
        out.extend_from_slice(key!("msg").as_bytes());
        out.push(b'"');
        out.extend(self.entry.spec.name.bytes().map(|byte| if byte == b'.' { b'_' } else { byte }));
        out.push(b'"');
        // Of closed sets, or judged when they came.
        for (key, value) in [
            (key!("logger"), "portcullis.response"),
            (key!("request_id"), record.request_id),
            (key!("correlation_id"), record.correlation_id),
            (key!("subject"), record.agent),
            (key!("decision"), self.refused.unwrap_or("allow")),
        ] {
            plain(key, value, out);
        }
        text(key!("namespace"), record.namespace, out);
        if let Some((word, name)) = self.concern.resource.as_ref().and_then(Resource::named) {
            named(word, name, naming, out);
        }
        if let Some(Resource::Secret(Space::Shared, _) | Resource::Names(Space::Shared, _)) = self.concern.resource {
            member("shared", &true, out);
        }
        if let Some(version) = self.concern.version {
            number(key!("version"), version, out);
        }
        for (name, note) in self.concern.notes.iter() {
            write(name, note, naming, out);
        }
        if let Some(took) = self.upstream {
            milliseconds(key!("vault_ms"), took, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Adds a name in this form, or not at all.
fn named(word: &str, name: &str, naming: Option<&Naming>, out: &mut Vec<u8>) {
    match naming {
        Some(Naming::Clear) => member(word, name, out),
        Some(naming @ Naming::Hmac(_)) => member(word, &naming.of(name), out),
        Some(Naming::Untold) | None => {}
    }
}

/// Adds a note; names of fields in this form, or not at all.
fn write(name: &str, note: &Note, naming: Option<&Naming>, out: &mut Vec<u8>) {
    match note {
        Note::Number(number) => member(name, number, out),
        Note::Numbers(numbers) => member(name, numbers, out),
        Note::Flag(flag) => member(name, flag, out),
        Note::Text(text) => member(name, text, out),
        Note::Name(text) => named(name, text, naming, out),
        Note::Fields(Fields { names, more }) => {
            match naming {
                Some(Naming::Clear) => member(name, names, out),
                Some(naming @ Naming::Hmac(_)) => {
                    member(name, &names.iter().map(|name| naming.of(name)).collect::<Vec<_>>(), out)
                }
                Some(Naming::Untold) | None => {}
            }
            member("count", &(names.len() as u64 + more), out);
        }
    }
}
