//! The audit's sink: a record of each decision, chained, in a file and on its way elsewhere (DESIGN section 15).
//!
//! A request leaves the facts of its record; a writer thread makes records of all that wait, seals them into the chain
//! and writes them. Where the audit is required, an operation waits, without holding a thread, until its record is
//! written.

mod collector;
mod file;
mod keys;
mod outlet;
mod shared;
mod syslog;
mod writer;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use filters::audit::{Activity, Chain, ChainId, Login, Occurrence, Stage};
use filters::refusal::Refusal;
use filters::secret::Digest;
use tokio::time::timeout;

pub use collector::OtlpLogs;
pub use file::AuditFileTerms;
pub use keys::{CheckpointSigner, RemoteSigner, SharedNaming, VaultKeys};
pub use outlet::{Outward, StandardOutput};
pub use shared::AuditCounters;
pub use syslog::Syslog;

use super::ending::{PATIENCE as PATIENCE_AT_END, ended_within};
use super::sink::{Calls, Kept, Record, Sink};
use file::AuditFile;
use outlet::Outlet;
use shared::{PATIENCE, Shared, now};
use writer::Writer;

/// The terms on which an audit is kept.
pub struct AuditTerms {
    /// The file; without it records are only sent on.
    pub file: Option<AuditFileTerms>,
    /// Where records are sent.
    pub outlets: Vec<Box<dyn Outward>>,
    /// True where nothing is done without a record in the file.
    pub required: bool,
    /// True where each record is synced before it counts as written.
    pub sync_each: bool,
    /// The form of names.
    pub names: SharedNaming,
    /// The signer of checkpoints; without it there are none.
    pub signer: Option<CheckpointSigner>,
    /// The time between two checkpoints.
    pub checkpoint_every: Duration,
    /// The name of the process's chain.
    pub chain: ChainId,
    /// Digest of the configuration that the gate starts with.
    pub configuration: Digest,
}

/// The keeper of the audit.
pub struct Audit {
    shared: Arc<Shared>,
    names: SharedNaming,
    required: bool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Opens the file and begins a chain, which follows the last record in it.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn begin(terms: AuditTerms, counters: AuditCounters) -> io::Result<Self> {
        let (file, follows) = match terms.file {
            Some(file) => {
                let (file, follows) = AuditFile::open(file)?;
                (Some(file), follows)
            }
            None => (None, None),
        };
        let unsent = counters.unsent.clone();
        let outlets = terms.outlets.into_iter().map(|outward| Outlet::begin(outward, unsent.clone()));
        let outlets = outlets.collect::<io::Result<_>>()?;
        let shared = Arc::new(Shared::new(counters));
        let chain = Chain::begin(terms.chain, follows);
        let mut writer = Writer::new(Arc::clone(&shared), file, outlets, chain, terms.names.clone());
        writer.sign(terms.signer, terms.checkpoint_every);
        writer.sync_each = terms.sync_each;
        let started = Occurrence::Started { version: env!("CARGO_PKG_VERSION"), configuration: terms.configuration };
        shared.put(|backlog| backlog.add_body(|body| started.write(now(), body)));
        let writer = thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        shared.written_by(writer.thread().clone());
        Ok(Self { shared, names: terms.names, required: terms.required, writer: Mutex::new(Some(writer)) })
    }
}

impl Sink for Audit {
    fn admit(&self, record: &Record<'_>) -> Result<Option<Kept>, Refusal> {
        if !self.required {
            return Ok(None);
        }
        if self.problem().is_some() {
            return Err(Refusal::AuditUnavailable);
        }
        let begins = activity(record, Stage::Permitted);
        let put = self.shared.put(|backlog| backlog.add(begins, record.concern.into_iter()));
        let number = put.ok_or(Refusal::AuditUnavailable)?;
        let mut written = self.shared.written.subscribe();
        self.shared.wake();
        Ok(Some(Box::pin(async move {
            let kept = written.wait_for(|written| written.count >= number || written.fails);
            match timeout(PATIENCE, kept).await {
                Ok(Ok(written)) if written.count >= number => Ok(()),
                _ => Err(Refusal::AuditUnavailable),
            }
        })))
    }

    fn finish(&self, record: &Record<'_>) {
        // What strangers ask has no record, but for credentials that did not hold, which are limited by source: they
        // would have older records rotated away.
        let by_operator = is_of_operators(record);
        let by_agent = !(record.agent.is_empty() || record.decision.is_empty());
        if !(by_agent || by_operator || !record.judged.is_empty()) {
            return;
        }
        if !record.judged.is_empty() {
            self.shared.put(|backlog| backlog.add_body(|body| login(record).write(body)));
            return;
        }
        let took = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
        let decision = match record.decision {
            "" if record.status < 400 => "allow",
            "" => "failed",
            decision => decision,
        };
        let ended =
            Activity { decision, by_operator, ..activity(record, Stage::Ended { status: record.status, took }) };
        let concerns = record.calls.into_iter().flat_map(Calls::iter).map(|call| &call.concern);
        self.shared.put(|backlog| backlog.add(ended, concerns));
    }

    /// Writes what waits, a record of the end and a checkpoint, and ends the writer.
    fn close(&self) {
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wake();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| !ended_within(PATIENCE_AT_END, &writer)) {
            tracing::error!("audit records were lost: the gate ends, and a write to the audit does not");
        }
    }

    fn note(&self, occurrence: &Occurrence<'_>) {
        self.shared.put(|backlog| backlog.add_body(|body| occurrence.write(now(), body)));
    }

    fn problem(&self) -> Option<&'static str> {
        let untold = || self.names.is_untold().then_some("Vault has not given the key of names yet");
        self.shared.problem().or_else(untold).filter(|_| self.required)
    }
}

/// True for what an operator changes, and for a look into a log: without an agent's name there is no other proof.
/// What else operators look at, they mostly do all the time.
fn is_of_operators(record: &Record<'_>) -> bool {
    let is_told = record.method != "GET" || record.route.starts_with("/observability/logs/");
    record.agent.is_empty() && !record.proof.is_empty() && is_told
}

fn activity<'r>(record: &'r Record<'_>, stage: Stage) -> Activity<&'r str> {
    Activity {
        time: now(),
        stage,
        correlation_id: record.correlation_id,
        request_id: record.request_id,
        trace: record.trace,
        message: record.message,
        client: record.client,
        asked: (record.method, record.route),
        agent: record.agent,
        namespace: record.namespace,
        proof: record.proof,
        operation: record.operation,
        decision: record.decision,
        role: record.role,
        observed: record.observed,
        why: record.why,
        by_operator: false,
    }
}

fn login<'r>(record: &'r Record<'_>) -> Login<'r> {
    Login {
        time: now(),
        correlation_id: record.correlation_id,
        request_id: record.request_id,
        trace: record.trace,
        client: record.client,
        decision: record.decision,
        judged: record.judged,
        why: record.why,
        principal: record.principal,
        key: record.key,
        certificate: record.certificate,
        issuer: record.issuer,
        status: record.status,
    }
}

#[cfg(test)]
mod tests;
