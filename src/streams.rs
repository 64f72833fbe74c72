//! Open streams of events and their bounds (invariant 10). They last, so that
//! they are counted apart from requests, and take no turn of their agent's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use filters::names::AgentId;
use filters::refusal::Refusal;
use prometheus::IntGauge;

/// How many may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all agents together.
    pub all: usize,
    /// Of one agent.
    pub per_agent: usize,
}

/// Those that are open.
#[derive(Debug)]
pub struct Streams {
    open: Mutex<Open>,
    shown: IntGauge,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    agents: HashMap<AgentId, usize>,
}

/// The place of one, given back when dropped.
#[derive(Debug)]
pub struct Place {
    streams: Arc<Streams>,
    agent: AgentId,
}

impl Streams {
    /// None is open; `shown` tells how many are.
    #[must_use]
    pub fn new(shown: IntGauge) -> Self {
        Self { open: Mutex::default(), shown }
    }

    /// A place for one more of this agent's.
    ///
    /// # Errors
    /// [`Refusal::TooManyStreams`] where it has as many as it may,
    /// [`Refusal::Overloaded`] where all agents have.
    pub fn place(self: &Arc<Self>, agent: &AgentId, bounds: Bounds) -> Result<Place, Refusal> {
        let mut open = self.lock();
        let own = open.agents.get(agent).copied().unwrap_or(0);
        if own >= bounds.per_agent {
            return Err(Refusal::TooManyStreams);
        }
        if open.all >= bounds.all {
            return Err(Refusal::Overloaded);
        }
        open.all += 1;
        open.agents.insert(agent.clone(), own + 1);
        self.shown.inc();
        Ok(Place { streams: Arc::clone(self), agent: agent.clone() })
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.all -= 1;
        match open.agents.get_mut(&self.agent) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(open.agents.remove(&self.agent)),
        }
        self.streams.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_agent_and_together_and_given_back() {
        let streams = Arc::new(Streams::new(IntGauge::new("streams", "How many are open.").unwrap()));
        let bounds = Bounds { all: 3, per_agent: 2 };
        let id = |name: &str| AgentId::parse(name).unwrap();
        let place = |name: &str| streams.place(&id(name), bounds);
        let held = [place("a").unwrap(), place("a").unwrap()];
        assert_eq!(place("a").unwrap_err(), Refusal::TooManyStreams);
        let other = place("b").unwrap();
        assert_eq!(place("c").unwrap_err(), Refusal::Overloaded);
        assert_eq!((streams.open(), streams.shown.get()), (3, 3));
        drop(held);
        assert!(place("c").is_ok());
        drop(other);
        assert_eq!((streams.open(), streams.shown.get()), (0, 0));
        assert!(streams.lock().agents.is_empty(), "nothing is kept of agents that have none open");
    }
}
