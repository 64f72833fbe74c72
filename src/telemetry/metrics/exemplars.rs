//! Exemplars: for each bucket of a request's duration the last recorded trace that fell into it.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use filters::trace::TraceId;
use prometheus::proto::LabelPair;

use super::families::BUCKETS;

/// A trace whose request was counted in a bucket.
#[derive(Clone, Copy)]
pub(super) struct Exemplar {
    /// The trace.
    pub(super) trace: TraceId,
    /// Seconds that the request took.
    pub(super) value: f64,
    /// When it ended, in seconds since the epoch.
    pub(super) at: f64,
}

/// The last exemplar of each bucket; the last place is for what is above all bounds.
type Row = [Option<Exemplar>; BUCKETS.len() + 1];

/// The exemplars of one histogram, made with the first one.
#[derive(Default)]
pub(super) struct Latest(OnceLock<Box<Mutex<Row>>>);

impl Latest {
    /// Notes a request that is recorded.
    pub(super) fn note(&self, trace: TraceId, seconds: f64) {
        let place = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut row = self.0.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = row.get_mut(place) {
            *place = Some(Exemplar { trace, value: seconds, at });
        }
    }

    /// The exemplars so far, with the places of their buckets.
    pub(super) fn all(&self) -> Vec<(usize, Exemplar)> {
        let Some(row) = self.0.get() else { return Vec::new() };
        let row = row.lock().unwrap_or_else(PoisonError::into_inner);
        row.iter().enumerate().filter_map(|(place, exemplar)| Some((place, (*exemplar)?))).collect()
    }
}

/// The exemplars of a family, by the values of its labels in the order of the labels' names.
#[derive(Default)]
pub(super) struct Exemplars(HashMap<String, Row>);

impl Exemplars {
    /// Adds exemplars of the histogram with these values of labels; of two for one bucket the later one counts.
    pub(super) fn add<'v>(
        &mut self,
        labels: impl IntoIterator<Item = &'v str>,
        exemplars: impl IntoIterator<Item = (usize, Exemplar)>,
    ) {
        let row = self.0.entry(key(labels)).or_default();
        for (place, exemplar) in exemplars {
            if let Some(known) = row.get_mut(place)
                && known.is_none_or(|known| known.at < exemplar.at)
            {
                *known = Some(exemplar);
            }
        }
    }

    /// Those of the histogram with these labels.
    pub(super) fn of(&self, labels: &[LabelPair]) -> Option<&[Option<Exemplar>]> {
        self.0.get(&key(labels.iter().map(LabelPair::value))).map(|row| &row[..])
    }
}

fn key<'v>(values: impl IntoIterator<Item = &'v str>) -> String {
    values.into_iter().flat_map(|value| [value, "\n"]).collect()
}
