//! Every sink, told together.

use std::sync::Arc;

use filters::audit::Occurrence;
use filters::refusal::Refusal;

use super::sink::{Kept, Record, Sink};
use super::traces::Traces;

/// Every sink, in the order in which they are told, and the recorder of traces.
#[derive(Clone, Default)]
pub struct Sinks {
    sinks: Vec<Arc<dyn Sink>>,
    traces: Option<Arc<Traces>>,
}

impl Sinks {
    /// The same, with a recorder of traces.
    #[must_use]
    pub fn with_traces(self, traces: Option<Traces>) -> Self {
        Self { traces: traces.map(Arc::new), ..self }
    }

    /// The recorder of traces; `None` where they are off.
    #[must_use]
    pub fn traces(&self) -> Option<&Traces> {
        self.traces.as_deref()
    }

    /// Tells each sink of an operation that is permitted, until one refuses; gives what is to be waited for.
    ///
    /// # Errors
    /// The refusal of the first sink that refuses.
    pub fn admit(&self, record: &Record<'_>) -> Result<Vec<Kept>, Refusal> {
        let mut kept = Vec::new();
        for sink in &self.sinks {
            kept.extend(sink.admit(record)?);
        }
        Ok(kept)
    }

    /// Tells every sink of something that no agent asked for.
    pub fn note(&self, occurrence: &Occurrence<'_>) {
        self.sinks.iter().for_each(|sink| sink.note(occurrence));
    }

    /// The reason why operations are refused for want of a record; `None` where they are not.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        self.sinks.iter().find_map(|sink| sink.problem())
    }

    /// Has every sink write what waits, and spans sent.
    pub fn close(&self) {
        self.sinks.iter().for_each(|sink| sink.close());
        if let Some(traces) = &self.traces {
            traces.close();
        }
    }

    /// Tells every sink of an outcome.
    pub fn finish(&self, record: &Record<'_>) {
        self.sinks.iter().for_each(|sink| sink.finish(record));
    }
}

impl FromIterator<Arc<dyn Sink>> for Sinks {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Sink>>>(sinks: I) -> Self {
        Self { sinks: sinks.into_iter().collect(), traces: None }
    }
}
