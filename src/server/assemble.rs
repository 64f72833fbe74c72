//! Puts together what the requests of a process share.

use std::io;
use std::sync::Arc;

use filters::audit::{ChainId, Naming};

use crate::config::{Logging, Names, Settings};
use crate::events::Bus;
use crate::http::routes;
use crate::kms::Kms;
use crate::random;
use crate::snapshot::{Prepared, Snapshot};
use crate::state::{Host, State};
use crate::telemetry::{self, Audit, Destination, Metrics, RequestLog, ResponseLog, Sink, Sinks, Traces, VaultKeys};
use crate::vault::Vault;

use super::auditing;

/// The state of a gate that has served nothing yet; `files` is how many the process may open.
pub(super) fn state(settings: Settings, prepared: Prepared, files: usize) -> Result<Arc<State>, String> {
    prepared.warn();
    let metrics = Arc::new(Metrics::new(routes::labels()).map_err(|error| error.to_string())?);
    let chain = ChainId::new(random::u64());
    let events = Arc::new(Bus::new(Arc::clone(&metrics)));
    let always = [Arc::clone(&metrics) as Arc<dyn Sink>, Arc::clone(&events) as Arc<dyn Sink>];
    let keys = auditing::vault_keys(&settings);
    let kept = logs(&settings.logging, &keys, &metrics)?.into_iter().chain(audit(&settings, &keys, &metrics, chain)?);
    let sinks: Sinks = always.into_iter().chain(kept).collect();
    let sinks = sinks.with_traces(traces(&settings, &metrics)?);
    let vault = Vault::new(&settings, Arc::clone(&metrics), chain, keys).map_err(|error| error.to_string())?;
    let kms = settings.kms.clone().map(Kms::new);
    let host = Host { files, logs: settings.logging.files.as_ref().map(|files| files.folder.clone()) };
    let snapshot = Snapshot::build(settings, prepared, None);
    Ok(Arc::new(State::new(snapshot, vault, kms, metrics, sinks, events, host)))
}

/// The logs that are on. The server log goes to its file from now on.
fn logs(logging: &Logging, keys: &VaultKeys, metrics: &Metrics) -> Result<Vec<Arc<dyn Sink>>, String> {
    let folder = logging.files.as_ref().map(|files| files.folder.display().to_string()).unwrap_or_default();
    let told = |error: io::Error| format!("LOG_DIR {folder}: {error}");
    let destination = Destination { files: logging.files.clone(), stdout: logging.stdout };
    let mut logs: Vec<Arc<dyn Sink>> = Vec::new();
    if logging.server && logging.files.is_some() {
        let destination = Destination { stdout: false, ..destination.clone() };
        telemetry::keep_server_log(&destination, metrics.logs.server.clone()).map_err(told)?;
    }
    if logging.requests {
        logs.push(Arc::new(RequestLog::open(&destination, metrics.logs.requests.clone()).map_err(told)?));
    }
    if logging.responses {
        let naming = match &logging.names {
            Names::Off => None,
            Names::Clear => Some(Naming::Clear.into()),
            Names::Hmac(key) => Some(auditing::naming(key, keys)?),
        };
        let log = ResponseLog::open(&destination, naming, metrics.logs.responses.clone());
        logs.push(Arc::new(log.map_err(told)?));
    }
    Ok(logs)
}

/// The recorder of traces, where they are on.
fn traces(settings: &Settings, metrics: &Metrics) -> Result<Option<Traces>, String> {
    let begin = |traces| Traces::begin(traces, &settings.upstream, &settings.listeners, metrics.spans.clone());
    settings.traces.as_ref().map(begin).transpose().map_err(|error| format!("otel: {error}"))
}

/// The audit, where that is on.
fn audit(
    settings: &Settings,
    keys: &VaultKeys,
    metrics: &Metrics,
    chain: ChainId,
) -> Result<Option<Arc<dyn Sink>>, String> {
    let Some(audit) = &settings.audit else { return Ok(None) };
    let begun = Audit::begin(auditing::terms(audit, keys, settings.digest, chain)?, metrics.audit.clone());
    let file = audit.file.clone().unwrap_or_default();
    let audit = begun.map_err(|error| format!("audit.file {}: {error}", file.display()))?;
    Ok(Some(Arc::new(audit)))
}
