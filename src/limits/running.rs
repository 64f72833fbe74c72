//! Calls under way, each by the name that its client gave it, so that the client may cancel it. They are as many as
//! the requests under way, and none is kept longer than its request.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use filters::names::AgentId;
use futures_util::task::AtomicWaker;

/// The name of a call. Ids are unique within one client only; the client's address and its session tell
/// clients of one agent apart.
#[derive(Clone, PartialEq, Eq)]
pub struct CallName {
    /// The agent that asked.
    pub agent: AgentId,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The number of the session that it is in.
    pub session: Option<u64>,
    /// The id of the request, in JSON.
    pub id: Box<str>,
}

/// The calls of this gate that are under way. One is found by its name when it is cancelled, which is
/// seldom; beginning and ending one looks for nothing.
#[derive(Default)]
pub struct RunningCalls(Mutex<Table>);

#[derive(Default)]
struct Table {
    calls: Vec<Option<Arc<Call>>>,
    /// The places of `calls` that are free.
    free: Vec<usize>,
}

struct Call {
    name: CallName,
    is_cancelled: AtomicBool,
    waits: AtomicWaker,
}

/// A call under way, until it is dropped.
pub struct Running {
    calls: Arc<RunningCalls>,
    place: usize,
    call: Arc<Call>,
}

impl RunningCalls {
    /// Notes a call.
    #[must_use]
    pub fn begin(self: &Arc<Self>, name: CallName) -> Running {
        let call = Arc::new(Call { name, is_cancelled: AtomicBool::new(false), waits: AtomicWaker::new() });
        let mut table = self.table();
        let free = table.free.pop();
        let place = match free.and_then(|place| Some((place, table.calls.get_mut(place)?))) {
            Some((place, slot)) => {
                *slot = Some(Arc::clone(&call));
                place
            }
            None => {
                table.calls.push(Some(Arc::clone(&call)));
                table.calls.len() - 1
            }
        };
        drop(table);
        Running { calls: Arc::clone(self), place, call }
    }

    /// Cancels the call of that name. Where two have it nobody can tell which is meant, and none is.
    pub fn cancel(&self, name: &CallName) {
        let table = self.table();
        let mut named = table.calls.iter().flatten().filter(|call| call.name == *name);
        if let (Some(call), None) = (named.next(), named.next()) {
            call.cancel();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.waits.wake();
    }
}

impl Running {
    /// Cancels it.
    pub fn cancel(&self) {
        self.call.cancel();
    }

    /// True where the client has cancelled it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled.load(Ordering::Acquire)
    }

    /// Waits until the client cancels it. All that wait are of one task, the request's.
    pub async fn cancelled(&self) {
        poll_fn(|context| {
            self.call.waits.register(context.waker());
            if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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

    fn name(agent: &str, client: u8, session: Option<u64>, id: &str) -> CallName {
        let client = Some(IpAddr::from([192, 0, 2, client]));
        CallName { agent: AgentId::parse(agent).unwrap(), client, session, id: id.into() }
    }

    #[test]
    fn a_call_is_cancelled_by_its_whole_name_only() {
        let calls = Arc::new(RunningCalls::default());
        let running = calls.begin(name("bob", 1, Some(1), "7"));
        for other in [
            name("alice", 1, Some(1), "7"),
            name("bob", 2, Some(1), "7"),
            name("bob", 1, None, "7"),
            name("bob", 1, Some(1), "\"7\""),
        ] {
            calls.cancel(&other);
            assert!(!running.is_cancelled());
        }
        calls.cancel(&name("bob", 1, Some(1), "7"));
        assert!(running.is_cancelled());
    }

    #[test]
    fn of_two_calls_of_one_name_none_is_cancelled_and_nothing_is_kept() {
        let calls = Arc::new(RunningCalls::default());
        let both = [calls.begin(name("bob", 1, None, "1")), calls.begin(name("bob", 1, None, "1"))];
        calls.cancel(&name("bob", 1, None, "1"));
        assert!(both.iter().all(|running| !running.is_cancelled()));
        let [first, second] = both;
        drop(first);
        calls.cancel(&name("bob", 1, None, "1"));
        assert!(second.is_cancelled());
        drop(second);
        assert!(calls.table().calls.iter().all(Option::is_none));
    }
}
