//! Records to a collector, as log records of OTLP over HTTP.
//! Source: <https://opentelemetry.io/docs/specs/otel/logs/data-model/>

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::IntCounter;
use prost::Message as _;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::outlet::Outward;
use crate::config;
use crate::telemetry::traces::otlp::{Collector, resource, scope};
use crate::telemetry::traces::spans::text;

/// Most records of one request.
const BATCH: usize = 512;

/// A collector that takes OTLP.
pub struct OtlpLogs {
    collector: Collector,
    resource: Resource,
    /// Of the thread that sends, once it does.
    runtime: Option<Runtime>,
    /// The end of a pause that the collector has asked for.
    rests: Option<Instant>,
}

/// The members of a record that a log record has of its own.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    time: u64,
    severity_id: u8,
    #[serde(borrow)]
    unmapped: Unmapped<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    uid: &'a str,
}

#[derive(Deserialize)]
struct Unmapped<'a> {
    trace_id: Option<&'a str>,
}

impl OtlpLogs {
    /// The collector of these settings.
    ///
    /// # Errors
    /// Its authorities or the gate's certificate cannot be used.
    pub fn new(settings: config::Otlp) -> Result<Self, String> {
        let resource = resource(&settings);
        Ok(Self { collector: Collector::new(settings)?, resource, runtime: None, rests: None })
    }

    /// Posts records, a line each; gives the number of those that were rejected.
    fn post(&mut self, lines: &[u8]) -> Result<u64, (io::Error, Option<Duration>)> {
        let log_records = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(log_record).collect();
        let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
        let resource = Some(self.resource.clone());
        let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
        let body = self.collector.body(&ExportLogsServiceRequest { resource_logs });
        let runtime = match &mut self.runtime {
            Some(runtime) => runtime,
            none => none.insert(
                Builder::new_current_thread().enable_all().build().map_err(|error| (error, Some(Duration::ZERO)))?,
            ),
        };
        let answer = runtime.block_on(self.collector.post(body));
        let answer =
            answer.map_err(|untaken| (io::Error::other(untaken.to_string()), untaken.pause(Duration::ZERO)))?;
        let answer = ExportLogsServiceResponse::decode(&answer[..]).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_log_records);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }
}

/// The first lines, of which there may be [`BATCH`], and their number.
fn batch(lines: &[u8]) -> (&[u8], u64) {
    let ends = memchr::memchr_iter(b'\n', lines).take(BATCH);
    let (count, end) = ends.fold((0, 0), |(count, _), end| (count + 1, end + 1));
    (lines.get(..end).unwrap_or_default(), count)
}

fn log_record(line: &[u8]) -> LogRecord {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = Value::StringValue(String::from_utf8_lossy(line).into_owned());
    let record = LogRecord {
        observed_time_unix_nano: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        body: Some(AnyValue { value: Some(body) }),
        ..LogRecord::default()
    };
    let Ok(Line { metadata, time, severity_id, unmapped }) = serde_json::from_slice(line) else { return record };
    // The severities of OCSF that the gate has.
    let (severity, severity_text) = match severity_id {
        1 => (SeverityNumber::Info, "Informational"),
        2 => (SeverityNumber::Warn, "Low"),
        _ => (SeverityNumber::Error, "High"),
    };
    let trace = unmapped.trace_id.and_then(|id| u128::from_str_radix(id, 16).ok());
    LogRecord {
        time_unix_nano: time.saturating_mul(1_000_000),
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        attributes: vec![text("log.record.uid", metadata.uid)],
        trace_id: trace.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        ..record
    }
}

impl Outward for OtlpLogs {
    fn name(&self) -> &'static str {
        "the collector"
    }

    fn send(&mut self, lines: &[u8], unsent: &IntCounter) -> (usize, io::Result<()>) {
        if self.rests.is_some_and(|end| Instant::now() < end) {
            return (0, Err(io::Error::other("it asked for a pause")));
        }
        let mut done = 0;
        loop {
            let (batch, count) = batch(lines.get(done..).unwrap_or_default());
            if count == 0 {
                return (done, Ok(()));
            }
            match self.post(batch) {
                Ok(rejected) => unsent.inc_by(rejected.min(count)),
                Err((error, Some(pause))) => {
                    self.rests = Some(Instant::now() + pause);
                    return (done, Err(error));
                }
                Err((error, None)) => {
                    unsent.inc_by(count);
                    return (done + batch.len(), Err(error));
                }
            }
            done += batch.len();
        }
    }
}
