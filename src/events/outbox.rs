//! Messages to the other gates, kept until they are on the server that all gates read.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use crate::telemetry::Metrics;

use super::sync::{Mutex, MutexGuard};

/// Posts that wait while the server is away; of more the oldest are lost.
const MOST: usize = 8192;
/// The subject of an event.
pub(super) const EVENT: &str = "event";
/// The subject of a change of a session.
pub(super) const SESSION: &str = "session";

/// Something that other gates are to hear of.
#[derive(Debug)]
pub(super) struct Post {
    /// The kind of message: [`EVENT`] or [`SESSION`].
    pub(super) subject: &'static str,
    /// JSON.
    pub(super) text: String,
}

impl Post {
    pub(super) fn of(subject: &'static str, what: &impl Serialize) -> Self {
        // Nothing that is posted has a map with odd keys.
        Self { subject, text: serde_json::to_string(what).unwrap_or_default() }
    }
}

/// Posts that wait to be sent; none do where nothing is shared.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Option<VecDeque<Arc<Post>>>>,
    posted: Notify,
}

impl Outbox {
    /// Takes posts from now on, or none any more.
    pub(super) fn open(&self, open: bool) {
        let mut waiting = self.lock();
        match open {
            true => drop(waiting.get_or_insert_default()),
            false => *waiting = None,
        }
    }

    /// Has something sent.
    pub(super) fn put(&self, post: impl FnOnce() -> Post, metrics: &Metrics) {
        if let Some(waiting) = &mut *self.lock() {
            if waiting.len() == MOST {
                waiting.pop_front();
                metrics.events.unshared.inc();
            }
            waiting.push_back(Arc::new(post()));
        }
        self.posted.notify_one();
    }

    /// Waits for something to send, the oldest `most` posts; they stay until they are [`Outbox::sent`].
    pub(super) async fn wait(&self, most: usize) -> Vec<Arc<Post>> {
        loop {
            let waiting: Vec<_> = self.lock().iter().flatten().take(most).cloned().collect();
            if !waiting.is_empty() {
                return waiting;
            }
            self.posted.notified().await;
        }
    }

    /// Forgets posts that were sent.
    pub(super) fn sent(&self, posts: &[Arc<Post>]) {
        if let (Some(waiting), Some(last)) = (&mut *self.lock(), posts.last()) {
            // The oldest may be lost already.
            let place = waiting.iter().position(|post| Arc::ptr_eq(post, last));
            waiting.drain(..place.map_or(0, |place| place + 1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Arc<Post>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
