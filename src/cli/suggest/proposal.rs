//! Rates proposed from the traffic that the request log tells of.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use filters::names::AgentId;
use filters::quota::{Cell, Rate};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const SECOND: u64 = 1_000_000_000;
/// Most that an option of the configuration takes.
const MOST: u64 = 10_000_000;

/// The members of a line that are read.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow, default)]
    agent: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Cow<'a, str>,
}

/// The contents of a request log.
#[derive(Default)]
pub(super) struct Traffic {
    agents: BTreeMap<AgentId, Requests>,
    /// The first and the last time of any request.
    period: Option<(OffsetDateTime, OffsetDateTime)>,
    /// Requests of nobody, which no agent's rate is about.
    pub anonymous: u64,
}

/// The requests of one agent.
#[derive(Default)]
struct Requests {
    /// When those came that passed, in nanoseconds since the epoch.
    times: Vec<u64>,
    /// The number of requests that a limit has refused.
    limited: u64,
}

/// By what rates are proposed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The period that requests are counted in.
    pub window: Duration,
    /// Room above the rate that was seen, in percent.
    pub headroom: u64,
}

/// The proposal for one agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// Requests per window.
    pub requests: u64,
    /// The number of requests that may come at once.
    pub burst: u64,
    /// The number of requests that were seen.
    pub seen: usize,
    /// The most in one window.
    pub busiest: u64,
    /// The most within a second.
    pub densest: u64,
    /// The number of them that this would have refused.
    pub refused: usize,
    /// The number of others that a limit has refused already.
    pub limited: u64,
}

impl Traffic {
    /// Adds a line of the log; empty ones are nothing.
    ///
    /// # Errors
    /// Why it is none, without its text.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| "it is no line of a request log")?;
        if line.msg != "request" {
            return Err("it is not about a request");
        }
        let time = OffsetDateTime::parse(&line.ts, &Rfc3339).map_err(|_| "its time is none")?;
        let nanoseconds = u64::try_from(time.unix_timestamp_nanos()).map_err(|_| "its time is none")?;
        let agent = match line.agent.as_ref() {
            "" => None,
            name => Some(AgentId::parse(name).ok_or("its agent's name is none")?),
        };
        let (first, last) = self.period.unwrap_or((time, time));
        self.period = Some((first.min(time), last.max(time)));
        match agent {
            None => self.anonymous += 1,
            Some(agent) => self.agents.entry(agent).or_default().add(nanoseconds, &line.decision),
        }
        Ok(())
    }

    /// The first and the last time of any request.
    #[must_use]
    pub(super) const fn period(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        self.period
    }

    /// The proposal for each agent; none for those of whom nothing has passed.
    pub(super) fn proposals(mut self, terms: Terms) -> impl Iterator<Item = (AgentId, Option<Proposal>)> {
        self.agents.values_mut().for_each(|requests| requests.times.sort_unstable());
        self.agents.into_iter().map(move |(agent, requests)| {
            let proposal = requests.proposal(terms);
            (agent, proposal)
        })
    }
}

impl Requests {
    fn add(&mut self, time: u64, decision: &str) {
        // What was asked too often would raise the limit that it broke.
        match decision {
            "rate_limited" | "too_many_at_once" => self.limited += 1,
            _ => self.times.push(time),
        }
    }

    fn proposal(&self, terms: Terms) -> Option<Proposal> {
        let window = u64::try_from(terms.window.as_nanos()).ok().filter(|window| *window > 0)?;
        let counts = counts(&self.times, window);
        let usual = percentile(&counts, 99)?;
        let more = |count: u64| (count * (100 + terms.headroom)).div_ceil(100).clamp(1, MOST);
        let requests = more(usual);
        let densest = densest(&self.times);
        let interval = (window / requests).max(1);
        let burst = more(densest).max(backlog(&self.times, window, usual, interval)).min(MOST);
        let rate = Rate::new(u32::try_from(requests).ok()?, terms.window, u32::try_from(burst).ok()?)?;
        let cell = Cell::default();
        let refused = self.times.iter().filter(|time| cell.charge(&rate, **time).is_err()).count();
        let busiest = counts.into_iter().max().unwrap_or(0);
        Some(Proposal { requests, burst, seen: self.times.len(), busiest, densest, refused, limited: self.limited })
    }
}

/// The number of the sorted `times` in each window that has any.
fn counts(times: &[u64], window: u64) -> Vec<u64> {
    times.chunk_by(|one, other| one / window == other / window).map(|chunk| chunk.len() as u64).collect()
}

/// The least of `counts` that so many percent of them do not exceed.
fn percentile(counts: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The most of the sorted `times` that lie within one second.
fn densest(times: &[u64]) -> u64 {
    let mut first = times.iter().peekable();
    let (mut within, mut most) = (0, 0);
    for time in times {
        within += 1;
        while first.next_if(|first| time - **first >= SECOND).is_some() {
            within -= 1;
        }
        most = most.max(within);
    }
    most
}

/// The number of requests that must be able to come at once so that the windows with no more than
/// `usual` requests pass as they came, with one let through each `interval`.
fn backlog(times: &[u64], window: u64, usual: u64, interval: u64) -> u64 {
    let chunks = times.chunk_by(|one, other| one / window == other / window);
    let (mut next, mut most) = (0u64, 0);
    for time in chunks.filter(|chunk| chunk.len() as u64 <= usual).flatten() {
        next = next.max(*time).saturating_add(interval);
        most = most.max((next - time).div_ceil(interval));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * SECOND;
    /// The beginning of a minute.
    const BEGIN: u64 = 29_000_000 * MINUTE;

    fn line(at: u64, agent: &str, decision: &str) -> String {
        let ts = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at)).unwrap().format(&Rfc3339).unwrap();
        format!("{{\"ts\":{ts:?},\"msg\":\"request\",\"agent\":{agent:?},\"decision\":{decision:?},\"status\":200}}")
    }

    fn proposed(times: impl IntoIterator<Item = u64>, headroom: u64) -> Proposal {
        let mut traffic = Traffic::default();
        times.into_iter().for_each(|at| traffic.add(line(at, "a", "allow").as_bytes()).unwrap());
        let terms = Terms { window: Duration::from_secs(60), headroom };
        let (_, proposal) = traffic.proposals(terms).next().unwrap();
        proposal.unwrap()
    }

    #[test]
    fn a_rate_is_the_usual_window_and_the_densest_second() {
        // Two each second, for two minutes.
        let even = |of: u64| (0..120 * of).map(move |i| BEGIN + i * SECOND / of);
        let proposal = proposed(even(2), 50);
        assert_eq!((proposal.requests, proposal.burst, proposal.seen), (180, 3, 240));
        assert_eq!((proposal.busiest, proposal.densest, proposal.refused), (120, 2, 0));
        // All of a minute's at its begin: they may come at once.
        let proposal = proposed((0..10).flat_map(|m| (0..30).map(move |_| BEGIN + m * MINUTE)), 0);
        assert_eq!((proposal.requests, proposal.burst, proposal.densest, proposal.refused), (30, 30, 30, 0));
        // Six each second, for ten seconds: more than a second's must be able to run ahead.
        let proposal = proposed((0..60).map(|i| BEGIN + i * SECOND / 6), 50);
        assert!(proposal.requests == 90 && proposal.burst > 9 && proposal.refused == 0, "{proposal:?}");
        // One request at all.
        let proposal = proposed([BEGIN], 50);
        assert_eq!((proposal.requests, proposal.burst, proposal.refused), (2, 2, 0));
    }

    #[test]
    fn one_window_in_a_hundred_does_not_set_the_rate() {
        let quiet = |m: u64| (0..6).map(move |i| BEGIN + m * MINUTE + i * 10 * SECOND);
        let storm = (0..5_000).map(|i| BEGIN + 200 * MINUTE + i * SECOND / 100);
        let proposal = proposed((0..199).flat_map(quiet).chain(storm), 100);
        assert_eq!((proposal.requests, proposal.busiest), (12, 5_000));
        assert!(proposal.refused > 4_000, "{proposal:?}");
    }

    #[test]
    fn what_a_limit_refused_is_counted_apart() {
        let mut traffic = Traffic::default();
        for (at, agent, decision) in
            [(0, "a", "allow"), (1, "a", "rate_limited"), (2, "", "unauthenticated"), (3, "b", "rate_limited")]
        {
            traffic.add(line(BEGIN + at, agent, decision).as_bytes()).unwrap();
        }
        assert_eq!(traffic.anonymous, 1);
        let terms = Terms { window: Duration::from_secs(60), headroom: 0 };
        let proposals: Vec<_> = traffic.proposals(terms).collect();
        assert_eq!(proposals.len(), 2);
        assert_eq!(proposals[0].1.as_ref().map(|p| (p.seen, p.limited)), Some((1, 1)));
        assert_eq!(proposals[1].1, None, "nothing of it has passed");
    }

    #[test]
    fn a_line_that_is_none_is_named_and_left_out() {
        let mut traffic = Traffic::default();
        for bad in [
            &b"{"[..],
            b"[]",
            b"\xff\xfe",
            b"{\"ts\":\"2026-01-01T00:00:00Z\"}",
            b"{\"ts\":\"yesterday\",\"msg\":\"request\"}",
            b"{\"ts\":\"1960-01-01T00:00:00Z\",\"msg\":\"request\"}",
            b"{\"ts\":\"2026-01-01T00:00:00Z\",\"msg\":\"started\"}",
            b"{\"ts\":\"2026-01-01T00:00:00Z\",\"msg\":\"request\",\"agent\":\"no agent\"}",
        ] {
            assert!(traffic.add(bad).is_err(), "{bad:?}");
        }
        assert!(traffic.period().is_none() && traffic.add(b"\n").is_ok());
    }
}
