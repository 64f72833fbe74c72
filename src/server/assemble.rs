//! Puts together what the requests of a process share.

use std::sync::Arc;

use crate::config::Settings;
use crate::events::Bus;
use crate::http::routes;
use crate::kms::Kms;
use crate::snapshot::{Prepared, Snapshot};
use crate::state::State;
use crate::telemetry::{Audit, Metrics, RequestLog, Sink};
use crate::vault::Vault;

use super::auditing;

/// The logs that are closed at the end, as far as they are on.
pub(super) struct Logs {
    requests: Option<Arc<RequestLog>>,
    audit: Option<Arc<Audit>>,
}

impl Logs {
    /// Writes what waits.
    pub(super) fn close(&self) {
        self.requests.iter().for_each(|log| log.close());
        self.audit.iter().for_each(|audit| audit.close());
    }
}

/// The state of a gate that has served nothing yet, and its logs; `files` is how many the process may open.
pub(super) fn state(settings: Settings, prepared: Prepared, files: usize) -> Result<(Arc<State>, Logs), String> {
    prepared.warn();
    let metrics = Arc::new(Metrics::new(routes::labels()).map_err(|error| error.to_string())?);
    let log = settings.logging.requests.then(|| {
        RequestLog::open(&settings.logging.directory, metrics.dropped_lines.clone())
            .map_err(|error| format!("LOG_DIR {}: {error}", settings.logging.directory.display()))
    });
    let log = log.transpose()?.map(Arc::new);
    let audit = settings.audit.as_ref().map(|audit| {
        let begun = Audit::begin(auditing::terms(audit, settings.digest)?, metrics.audit.clone());
        let file = audit.file.clone().unwrap_or_default();
        begun.map_err(|error| format!("audit.file {}: {error}", file.display()))
    });
    let audit = audit.transpose()?.map(Arc::new);
    let events = Arc::new(Bus::new(Arc::clone(&metrics)));
    let always = [Arc::clone(&metrics) as Arc<dyn Sink>, Arc::clone(&events) as Arc<dyn Sink>];
    let kept = log.clone().map(|log| log as Arc<dyn Sink>).into_iter();
    let sinks = always.into_iter().chain(kept).chain(audit.clone().map(|audit| audit as Arc<dyn Sink>)).collect();
    let vault = Vault::new(&settings, Arc::clone(&metrics)).map_err(|error| error.to_string())?;
    let kms = settings.kms.clone().map(Kms::new);
    let snapshot = Snapshot::build(settings, prepared, None);
    let logs = Logs { requests: log, audit };
    Ok((Arc::new(State::new(snapshot, vault, kms, metrics, sinks, events, files)), logs))
}
