//! The bounds of invariant 10, as configured.

use std::time::Duration;

use filters::quota::Rate;

/// Bounds on what is held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all owners together.
    pub all: usize,
    /// Of one owner.
    pub each: usize,
}

/// The number of one agent's requests that wait, and the time that they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Most that wait.
    pub length: usize,
    /// Longest time to wait.
    pub wait: Duration,
}

/// Most open connections of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub all: usize,
    /// Of one source address.
    pub per_source: usize,
    /// Of one agent.
    pub per_agent: usize,
}

/// The bounds of invariant 10.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of a request's body.
    pub body: usize,
    /// Most bytes of an answer of Vault's that is held whole.
    pub answer: usize,
    /// Most bytes of a request's head.
    pub head: usize,
    /// Longest time for a head to arrive.
    pub head_timeout: Duration,
    /// Longest time for a body to arrive.
    pub body_timeout: Duration,
    /// The time that an idle connection is kept.
    pub idle: Duration,
    /// Open connections of callers.
    pub connections: ConnectionLimits,
    /// Most requests at once on one HTTP/2 connection.
    pub http2_streams: u32,
    /// Requests that are worked on at once, in all and of one source address.
    pub requests: Bounds,
    /// Most of one agent's that are served at once, where its entry does not say.
    pub concurrent: usize,
    /// The number of one agent's requests that wait, and the time that they wait.
    pub queue: Queue,
    /// Bytes of request bodies held at once, in all and of one agent.
    pub bodies: Bounds,
    /// Least bytes a second of a body.
    pub body_rate: usize,
    /// Most messages in one MCP batch.
    pub batch: usize,
    /// Most of what a request's JSON has.
    pub json: filters::json::Bounds,
    /// Open streams of events.
    pub streams: Bounds,
    /// Failed authentications of one source address.
    pub failures: Rate,
}
