//! Requests of each agent, where the configuration asks for them. The number of series is bounded.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use prometheus::core::Collector as _;
use prometheus::{Error, IntCounter, IntCounterVec};

use super::families::Families;

/// Most agents that have series of their own.
const MOST: usize = 1000;
/// The agents without series of their own; no agent has that name.
const OTHERS: &str = "~others";
const ALLOWED: &str = "allow";
/// The decision whose first time must be seen to rise from zero.
const FORBIDDEN: &str = "forbidden";

/// Counters of each agent's requests, by what was decided.
pub struct AgentMetrics {
    requests: IntCounterVec,
    /// What each agent was allowed, by its name; `None` where agents are not told apart.
    allowed: ArcSwapOption<HashMap<Box<str>, IntCounter>>,
    /// True where they are, so that a request pays for nothing else where they are not.
    are_told_apart: AtomicBool,
}

impl AgentMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let requests = families.counters(
            "portcullis_agent_requests_total",
            "Requests of one agent, and messages of its batches, by decision; only with metrics.agents.",
            &["agent", "decision"],
        )?;
        Ok(Self { requests, allowed: ArcSwapOption::empty(), are_told_apart: AtomicBool::new(false) })
    }

    /// Tells these agents apart from now on, the first thousand of them by name, and forgets all others; with `None`
    /// tells none apart.
    pub fn follow<'a>(&self, agents: Option<impl Iterator<Item = &'a str>>) {
        self.are_told_apart.store(agents.is_some(), Ordering::Relaxed);
        let Some(agents) = agents else {
            self.allowed.store(None);
            return self.requests.reset();
        };
        let of = |agent: &str| {
            self.requests.with_label_values(&[agent, FORBIDDEN]);
            self.requests.with_label_values(&[agent, ALLOWED])
        };
        let mut agents: Vec<_> = agents.collect();
        agents.sort_unstable();
        let allowed: HashMap<_, _> = agents.into_iter().take(MOST).map(|agent| (agent.into(), of(agent))).collect();
        let is_gone = |agent: &str| agent != OTHERS && !allowed.contains_key(agent);
        let gone: HashSet<[String; 2]> = self.labels().filter(|[agent, _]| is_gone(agent)).collect();
        self.allowed.store(Some(allowed.into()));
        // After nobody finds them any more.
        for [agent, decision] in gone {
            let _ = self.requests.remove_label_values(&[&agent, &decision]);
        }
    }

    /// Counts a request; one without an agent or a decision is none.
    pub(super) fn count(&self, agent: &str, decision: &'static str) {
        if !self.are_told_apart.load(Ordering::Relaxed) || agent.is_empty() || decision.is_empty() {
            return;
        }
        let allowed = self.allowed.load();
        let Some(allowed) = allowed.as_ref() else { return };
        match allowed.get(agent) {
            Some(counter) if decision == ALLOWED => counter.inc(),
            Some(_) => self.requests.with_label_values(&[agent, decision]).inc(),
            None => self.requests.with_label_values(&[OTHERS, decision]).inc(),
        }
    }

    /// Agent and decision of each series.
    fn labels(&self) -> impl Iterator<Item = [String; 2]> {
        let families = self.requests.collect();
        families.into_iter().flat_map(|mut family| family.take_metric()).map(|metric| {
            let of = |name: &str| {
                let label = metric.get_label().iter().find(|label| label.name() == name);
                label.map(|label| label.value().to_owned()).unwrap_or_default()
            };
            [of("agent"), of("decision")]
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    fn series(metrics: &AgentMetrics) -> usize {
        metrics.labels().count()
    }

    #[test]
    fn there_are_no_more_series_than_agents_that_are_told_apart() {
        let metrics = AgentMetrics::new(Families(&Registry::new())).unwrap();
        let names: Vec<_> = (0..10_000).map(|number| format!("agent-{number}")).collect();
        let ask = || names.iter().for_each(|name| metrics.count(name, "allow"));
        ask();
        assert_eq!(series(&metrics), 0, "they are not told apart");
        metrics.follow(Some(["agent-1", "agent-2"].into_iter()));
        ask();
        metrics.count("agent-1", "not_found");
        metrics.count("", "unauthenticated");
        assert_eq!(series(&metrics), 6, "two each, one more of an agent's, and those of all others");
        assert_eq!(metrics.requests.with_label_values(&["agent-1", "allow"]).get(), 1);
        assert_eq!(metrics.requests.with_label_values(&[OTHERS, "allow"]).get(), 9998);
        metrics.follow(Some(["agent-2"].into_iter()));
        assert_eq!(series(&metrics), 3, "the agent that has gone is forgotten");
        assert_eq!(metrics.requests.with_label_values(&["agent-2", "allow"]).get(), 1, "the other counts on");
        metrics.follow(Some(names.iter().map(String::as_str)));
        ask();
        assert_eq!(series(&metrics), 2 * MOST + 1);
        metrics.follow(None::<std::iter::Empty<_>>);
        assert_eq!(series(&metrics), 0);
    }
}
