//! Calls under way, each by the name that its client gave it, so that the client may cancel it. They are as many as
//! the requests under way, and none is kept longer than its request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use filters::names::AgentId;
use tokio::sync::watch;

/// The name of a call. Ids are unique within one client only; the client's address and what it gives as its session
/// tell clients of one agent apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CallName {
    /// The agent that asked.
    pub agent: AgentId,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The session, as the client gives it; empty without one.
    pub session: Box<str>,
    /// The id of the request, in JSON.
    pub id: Box<str>,
}

/// The calls of this gate that are under way.
#[derive(Default)]
pub struct RunningCalls(Mutex<HashMap<CallName, Vec<Arc<watch::Sender<bool>>>>>);

/// A call under way, until it is dropped.
pub struct Running {
    calls: Arc<RunningCalls>,
    name: CallName,
    told: Arc<watch::Sender<bool>>,
}

impl RunningCalls {
    /// Notes a call.
    #[must_use]
    pub fn begin(self: &Arc<Self>, name: CallName) -> Running {
        let told = Arc::new(watch::Sender::new(false));
        self.table().entry(name.clone()).or_default().push(Arc::clone(&told));
        Running { calls: Arc::clone(self), name, told }
    }

    /// Cancels the call of that name. Where two have it nobody can tell which is meant, and none is.
    pub fn cancel(&self, name: &CallName) {
        if let Some([told]) = self.table().get(name).map(Vec::as_slice) {
            told.send_replace(true);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<CallName, Vec<Arc<watch::Sender<bool>>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// True where the client has cancelled it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.told.borrow()
    }

    /// Cancels it.
    pub fn cancel(&self) {
        self.told.send_replace(true);
    }

    /// Waits until the client cancels it.
    pub async fn cancelled(&self) {
        // The sender is held here, and is not gone before.
        let _ = self.told.subscribe().wait_for(|cancelled| *cancelled).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut table = self.calls.table();
        if let Some(calls) = table.get_mut(&self.name) {
            calls.retain(|told| !Arc::ptr_eq(told, &self.told));
            if calls.is_empty() {
                table.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(agent: &str, client: u8, session: &str, id: &str) -> CallName {
        let client = Some(IpAddr::from([192, 0, 2, client]));
        CallName { agent: AgentId::parse(agent).unwrap(), client, session: session.into(), id: id.into() }
    }

    #[test]
    fn a_call_is_cancelled_by_its_whole_name_only() {
        let calls = Arc::new(RunningCalls::default());
        let running = calls.begin(name("bob", 1, "s", "7"));
        for other in [
            name("alice", 1, "s", "7"),
            name("bob", 2, "s", "7"),
            name("bob", 1, "", "7"),
            name("bob", 1, "s", "\"7\""),
        ] {
            calls.cancel(&other);
            assert!(!running.is_cancelled());
        }
        calls.cancel(&name("bob", 1, "s", "7"));
        assert!(running.is_cancelled());
    }

    #[test]
    fn of_two_calls_of_one_name_none_is_cancelled_and_nothing_is_kept() {
        let calls = Arc::new(RunningCalls::default());
        let both = [calls.begin(name("bob", 1, "", "1")), calls.begin(name("bob", 1, "", "1"))];
        calls.cancel(&name("bob", 1, "", "1"));
        assert!(both.iter().all(|running| !running.is_cancelled()));
        let [first, second] = both;
        drop(first);
        calls.cancel(&name("bob", 1, "", "1"));
        assert!(second.is_cancelled());
        drop(second);
        assert!(calls.table().is_empty());
    }
}
