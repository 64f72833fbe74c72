//! Puts together what the requests of a process share.

use std::sync::Arc;

use crate::config::Settings;
use crate::events::Bus;
use crate::http::routes;
use crate::kms::Kms;
use crate::snapshot::{Prepared, Snapshot};
use crate::state::State;
use crate::telemetry::{Metrics, RequestLog, Sink};
use crate::vault::Vault;

/// The state of a gate that has served nothing yet, and its request log where that is on; `files` is
/// how many the process may open.
pub(super) fn state(
    settings: Settings,
    prepared: Prepared,
    files: usize,
) -> Result<(Arc<State>, Option<Arc<RequestLog>>), String> {
    prepared.warn();
    let metrics = Arc::new(Metrics::new(routes::labels()).map_err(|error| error.to_string())?);
    let log = settings.logging.requests.then(|| {
        RequestLog::open(&settings.logging.directory, metrics.log.clone())
            .map_err(|error| format!("LOG_DIR {}: {error}", settings.logging.directory.display()))
    });
    let log = log.transpose()?.map(Arc::new);
    let events = Arc::new(Bus::new(Arc::clone(&metrics)));
    let always = [Arc::clone(&metrics) as Arc<dyn Sink>, Arc::clone(&events) as Arc<dyn Sink>];
    let sinks = always.into_iter().chain(log.clone().map(|log| log as Arc<dyn Sink>)).collect();
    let vault = Vault::new(&settings, Arc::clone(&metrics)).map_err(|error| error.to_string())?;
    let kms = settings.kms.clone().map(Kms::new);
    let snapshot = Snapshot::build(settings, prepared, None);
    Ok((Arc::new(State::new(snapshot, vault, kms, metrics, sinks, events, files)), log))
}
