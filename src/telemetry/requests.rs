//! The request log: one line per request.

use std::io;

use super::lines::{Destination, LineLog, begin, json, key, milliseconds, number, plain, text};
use super::metrics::LogMetrics;
use super::sink::{Calls, Record, Sink};

/// Where request lines go.
pub struct RequestLog(LineLog);

impl RequestLog {
    /// Opens `requests.log`.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(destination: &Destination, metrics: LogMetrics) -> io::Result<Self> {
        LineLog::open("requests", destination, metrics).map(Self)
    }
}

impl Sink for RequestLog {
    fn finish(&self, record: &Record<'_>) {
        self.0.add(|lines| record.write(lines));
    }

    fn close(&self) {
        self.0.close();
    }
}

impl Record<'_> {
    /// The severity of its line.
    const fn level(&self) -> &'static str {
        match self.status {
            500.. => "error",
            400.. => "warn",
            _ => "info",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        begin(self.level(), out);
        // Of closed sets, or judged when they came.
        for (key, value) in [
            (key!("msg"), "request"),
            (key!("logger"), "portcullis.request"),
            (key!("request_id"), self.request_id),
            (key!("correlation_id"), self.correlation_id),
            (key!("method"), self.method),
            (key!("path"), self.route),
            (key!("agent"), self.agent),
            (key!("proof"), self.proof),
            (key!("operation"), self.operation),
            (key!("decision"), self.decision),
        ] {
            plain(key, value, out);
        }
        for (key, value) in [
            (key!("namespace"), self.namespace),
            (key!("role"), self.role),
            (key!("why"), self.why),
            (key!("principal"), self.principal),
            (key!("key"), self.key),
            (key!("certificate"), self.certificate),
            (key!("issuer"), self.issuer),
        ] {
            text(key, value, out);
        }
        if self.observed {
            json(key!("observed"), &true, out);
        }
        if let Some(message) = self.message {
            number(key!("message"), message as u64, out);
        }
        if let Some(client) = self.client {
            json(key!("client"), &client, out);
        }
        number(key!("status"), self.status.into(), out);
        milliseconds(key!("duration_ms"), self.took, out);
        milliseconds(key!("vault_ms"), self.calls.map(Calls::upstream).unwrap_or_default(), out);
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::{IntCounter, IntGauge};

    use super::super::lines::MOST;
    use super::*;
    use crate::config::LogFiles;

    #[test]
    fn what_is_lost_for_want_of_room_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("requests.log")).unwrap();
        let [written, dropped] = ["written", "dropped"].map(|name| IntCounter::new(name, "x").unwrap());
        let waiting = IntGauge::new("waiting", "x").unwrap();
        let metrics = LogMetrics { written, dropped: dropped.clone(), waiting };
        let destination = Destination { files: Some(LogFiles::of(folder.path())), stdout: false };
        let log = RequestLog::open(&destination, metrics).unwrap();
        let record = Record { route: "/whoami", ..Record::default() };
        let mut line = Vec::new();
        record.write(&mut line);
        let lines = (2 * MOST / line.len()) as u64;
        (0..lines).for_each(|_| log.finish(&record));
        let waiting = (lines - dropped.get()) * line.len() as u64;
        // Times are not all of one length.
        assert!(waiting.abs_diff(MOST as u64) < MOST as u64 / 10, "{waiting} bytes wait");
        log.close();
        assert_eq!(dropped.get(), lines, "nothing was written");
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
