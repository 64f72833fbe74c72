//! Calls under way, each by the name that its client gave it, so that the client may cancel it. They are as many as
//! the requests under way, and none is kept longer than its request.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use filters::names::AgentId;
use tokio::sync::watch;

/// The name of a call. Ids are unique within one client only; the client's address and what it gives as its session
/// tell clients of one agent apart.
#[derive(Clone, PartialEq, Eq)]
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

/// The calls of this gate that are under way. One is found by its name when it is cancelled, which is
/// seldom; beginning and ending one looks for nothing.
#[derive(Default)]
pub struct RunningCalls(Mutex<Table>);

#[derive(Default)]
struct Table {
    calls: Vec<Option<(CallName, Arc<watch::Sender<bool>>)>>,
    /// The places of `calls` that are free.
    free: Vec<usize>,
}

/// A call under way, until it is dropped.
pub struct Running {
    calls: Arc<RunningCalls>,
    place: usize,
    told: Arc<watch::Sender<bool>>,
}

impl RunningCalls {
    /// Notes a call.
    #[must_use]
    pub fn begin(self: &Arc<Self>, name: CallName) -> Running {
        let told = Arc::new(watch::Sender::new(false));
        let call = Some((name, Arc::clone(&told)));
        let mut table = self.table();
        let free = table.free.pop();
        let place = match free.and_then(|place| Some((place, table.calls.get_mut(place)?))) {
            Some((place, slot)) => {
                *slot = call;
                place
            }
            None => {
                table.calls.push(call);
                table.calls.len() - 1
            }
        };
        drop(table);
        Running { calls: Arc::clone(self), place, told }
    }

    /// Cancels the call of that name. Where two have it nobody can tell which is meant, and none is.
    pub fn cancel(&self, name: &CallName) {
        let table = self.table();
        let mut named = table.calls.iter().flatten().filter(|(other, _)| other == name);
        if let (Some((_, told)), None) = (named.next(), named.next()) {
            told.send_replace(true);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Cancels it.
    pub fn cancel(&self) {
        self.told.send_replace(true);
    }

    /// True where the client has cancelled it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.told.borrow()
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
        if let Some(slot) = table.calls.get_mut(self.place) {
            *slot = None;
        }
        table.free.push(self.place);
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
        assert!(calls.table().calls.iter().all(Option::is_none));
    }
}
