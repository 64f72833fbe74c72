//! Bounds the lines of other crates in the server log: a few of each crate are written for a while, and
//! the rest are counted, since callers can cause a line with every few bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Most lines of one crate between two calls of [`Chatter::tell`].
const LINES: u64 = 20;
/// Most crates that are counted; there are fewer in the tree.
const CRATES: usize = 1024;

/// Counts the lines of each crate that is not the gate's own.
#[derive(Debug, Default)]
pub(super) struct Chatter(Mutex<HashMap<Box<str>, u64>>);

impl Chatter {
    /// Counts one more line of `target`; true where it is written.
    fn admits(&self, target: &str) -> bool {
        let name = target.split("::").next().unwrap_or_default();
        if name == env!("CARGO_CRATE_NAME") {
            return true;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
            return *count <= LINES;
        }
        let known = counts.len() < CRATES;
        if known {
            counts.insert(name.into(), 1);
        }
        known
    }

    /// Logs how many lines of each crate were left out, and begins anew.
    pub(super) fn tell(&self) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (of, count) in counts.iter().filter(|(_, count)| **count > LINES) {
            tracing::warn!("{} more lines of {of} were left out", count - LINES);
        }
    }
}

/// A layer that is given the lines that may still be written.
///
/// A filter of `tracing_subscriber` would not do: one that rejects an event after it was enabled breaks
/// the crate's bookkeeping (a debug assertion there).
pub(super) struct Quieted<L> {
    pub(super) layer: L,
    pub(super) chatter: &'static Chatter,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Quieted<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut target = LogTarget { admitted: None, chatter: self.chatter };
        if event.metadata().target() == "log" {
            event.record(&mut target);
        }
        if target.admitted.unwrap_or_else(|| self.chatter.admits(event.metadata().target())) {
            self.layer.on_event(event, context);
        }
    }
}

/// Finds the target of a line that came through the crate `log`.
struct LogTarget<'a> {
    chatter: &'a Chatter,
    admitted: Option<bool>,
}

impl Visit for LogTarget<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.admitted = Some(self.chatter.admits(value));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_has_its_lines_and_the_gate_all_of_its_own() {
        let chatter = Chatter::default();
        let admitted = |target: &str| (0..1000).filter(|_| chatter.admits(target)).count() as u64;
        assert_eq!(admitted("portcullis::vault"), 1000);
        assert_eq!(admitted("h2::proto::ping_pong"), LINES);
        assert_eq!(admitted("h2::server"), 0, "the crate has had its lines");
        assert_eq!(admitted("rustls"), LINES);
        assert_eq!(chatter.0.lock().unwrap()["h2"], 2000);
        chatter.tell();
        assert_eq!(admitted("h2::server"), LINES);
    }

    #[test]
    fn no_more_is_remembered_than_there_are_crates() {
        let chatter = Chatter::default();
        let admitted = (0..10_000).filter(|number| chatter.admits(&number.to_string())).count();
        assert_eq!((admitted, chatter.0.lock().unwrap().len()), (CRATES, CRATES));
    }
}
