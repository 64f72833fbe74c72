//! Rates and bounds.

use std::time::Duration;

use filters::json;
use filters::quota::Rate;

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::{Bounds, ConnectionLimits, Limits, Queue};
use super::values::whole_seconds;

/// Most requests of one agent at once, for each worker thread: where all of them are busy, another
/// agent's request has about so many before it.
const TURNS: usize = 4;

/// Bytes that an answer of Vault's may have besides the value itself.
const ENVELOPE: usize = 1 << 20;

/// The rate in `name`, if it is given.
pub(super) fn rate(fields: &Fields<'_>, name: &str) -> Option<Rate> {
    if !fields.given(name) {
        return None;
    }
    read(&fields.table(name, &section::RATE))
}

fn read(rate: &Fields<'_>) -> Option<Rate> {
    rate.require("requests");
    let requests = rate.number("requests")?;
    let burst = rate.number("burst").unwrap_or(requests);
    made(rate, requests, rate.time("per"), burst)
}

fn made(fields: &Fields<'_>, requests: u64, per: Duration, burst: u64) -> Option<Rate> {
    let found = match (u32::try_from(requests), u32::try_from(burst)) {
        (Ok(requests), Ok(burst)) => Rate::new(requests, per, burst),
        _ => None,
    };
    if found.is_none() && !per.is_zero() {
        fields.problem(
            "requests",
            &fields.place,
            "makes no rate with its period and burst",
            "use a shorter period or a smaller burst",
        );
    }
    found
}

/// The rate of an agent that has no other.
pub(super) fn default_rate(top: &Fields<'_>) -> Option<Rate> {
    let requests = top.number("rate_limit_requests")?;
    let window = Duration::from_secs(top.number("rate_limit_window_seconds")?);
    let rate = made(top, requests, window, requests);
    rate.filter(|_| top.flag("rate_limit_enabled").unwrap_or(true))
}

/// The rate of all agents together.
pub(super) fn global_rate(limits: &Fields<'_>) -> Option<Rate> {
    rate(limits, "rate")
}

/// The rates of single operations.
pub(super) fn operation_rates(limits: &Fields<'_>) -> Vec<(&'static str, Rate)> {
    let rate = |(name, fields): (Sited<&str>, Fields<'_>)| {
        let rate = read(&fields);
        let found = limits.source.table.catalog.find(name.value);
        if found.is_none() {
            limits.problem("operations", &name.place, "names no operation", "use an operation's name, as `kv.read`");
        }
        Some((found?.spec.name, rate?))
    };
    limits.named("operations", &section::RATE).into_iter().filter_map(rate).collect()
}

/// The bounds of a gate of so many worker threads; `None` where a problem was noted.
pub(super) fn limits(fields: &Fields<'_>, threads: usize) -> Option<Limits> {
    let size = |name| fields.size(name).unwrap_or(0);
    let body = size("body");
    let answer = fields.size("answer").unwrap_or(body + ENVELOPE);
    let bodies_in_flight = size("bodies_in_flight");
    for (name, value) in [("answer", answer), ("bodies_in_flight", bodies_in_flight)] {
        if value < body {
            fields.problem(name, &fields.place_of(name), "is smaller than `limits.body`", "make it at least as large");
        }
    }
    let failures = rate(fields, "failed_authentications").or_else(|| Rate::new(30, Duration::from_secs(60), 30));
    let (connections, requests) = (size("connections"), size("requests"));
    let part = |name, of: usize, part: usize| fields.size(name).unwrap_or((of / part).max(1));
    let of_agent = fields.size("bodies_per_agent").unwrap_or((bodies_in_flight / 4).max(body));
    if of_agent < body {
        let place = fields.place_of("bodies_per_agent");
        fields.problem("bodies_per_agent", &place, "is smaller than `limits.body`", "make it at least as large");
    }
    Some(Limits {
        body,
        answer,
        head: size("head"),
        head_timeout: fields.time("head_timeout"),
        body_timeout: fields.time("body_timeout"),
        idle: Duration::from_secs(whole_seconds(fields, "idle_timeout").into()),
        connections: ConnectionLimits {
            all: connections,
            per_source: part("connections_per_source", connections, 2),
            per_agent: part("connections_per_agent", connections, 4),
        },
        http2_streams: u32::try_from(size("http2_streams")).unwrap_or(u32::MAX),
        requests: Bounds { all: requests, each: part("requests_per_source", requests, 2) },
        concurrent: fields.size("concurrent").unwrap_or(threads * TURNS),
        queue: Queue { length: size("queue"), wait: fields.time("queue_timeout") },
        bodies: Bounds { all: bodies_in_flight, each: of_agent },
        body_rate: size("body_rate").max(1),
        batch: size("batch"),
        json: json::Bounds {
            depth: size("json_depth"),
            members: size("json_members"),
            text: size("json_text"),
            tokens: size("json_tokens"),
        },
        streams: Bounds { all: size("streams"), each: size("streams_per_agent") },
        failures: failures?,
    })
}
