//! Figures: what two samples of a gate tell of the time between them.

use std::cmp::Ordering;
use std::time::Duration;

use time::{Duration as TimeSpan, OffsetDateTime};

use super::exposition::Exposition;
use super::gate::{Agent, Configuration, Nobody, Sample, time};
use super::text::clean;

/// Routes that only look at the gate; what looks is no load.
const LOOKS: [&str; 4] = ["/metrics", "/readyz", "/healthz", "/livez"];

/// Figures of a gate at one moment. Texts of the gate's are clean: nothing in them moves a terminal.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// The moment, by the clock here.
    pub(super) time: Option<OffsetDateTime>,
    pub(super) version: String,
    pub(super) up: Duration,
    pub(super) is_ready: bool,
    /// Reasons why it is not ready, and whatever else is wrong.
    pub(super) problems: Vec<String>,
    pub(super) configuration: About,
    pub(super) vault: VaultFigures,
    pub(super) requests: Flow,
    pub(super) upstream: Flow,
    /// Numbers of this moment, by name.
    pub(super) moment: Vec<(&'static str, f64)>,
    /// Refusals by code, most often first.
    pub(super) refusals: Vec<Refusals>,
    /// Agents, in no order.
    pub(super) agents: Vec<Row>,
    /// Credentials of nobody that were refused, the last first.
    pub(super) nobody: Vec<Stranger>,
}

/// The configuration in force.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) snapshot: u64,
    pub(super) digest: String,
    pub(super) loaded: Option<OffsetDateTime>,
    /// Its moment, and the problem.
    pub(super) reload: Option<(Option<OffsetDateTime>, Option<String>)>,
    /// Sections that wait for another gate.
    pub(super) pending: Vec<String>,
}

/// Vault, as the gate uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct VaultFigures {
    pub(super) health: String,
    pub(super) is_in: bool,
    /// The rest of its login; `None` where that never ends.
    pub(super) login: Option<Duration>,
}

/// Requests of some kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    /// Requests in a second.
    pub(super) rate: Option<f64>,
    /// Seconds below which the middle one stays, and 99 of a hundred.
    pub(super) quantiles: [Option<f64>; 2],
}

/// Refusals of one code.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusals {
    pub(super) code: String,
    pub(super) rate: Option<f64>,
    pub(super) total: f64,
}

/// An agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) is_suspended: bool,
    /// Requests in a second, and refused ones.
    pub(super) rate: Option<f64>,
    pub(super) refused_rate: Option<f64>,
    /// Seconds that a request took, on average.
    pub(super) latency: Option<f64>,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    /// The code of most of its refusals.
    pub(super) reason: String,
    /// Requests that its limit lets through now, and at most.
    pub(super) left: Option<[f64; 2]>,
    pub(super) streams: u64,
    pub(super) roles: String,
    /// The time since its last request; `None` before the first.
    pub(super) seen: Option<Duration>,
}

/// A credential of nobody.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stranger {
    pub(super) who: String,
    pub(super) why: String,
    pub(super) refused: u64,
    pub(super) seen: Option<Duration>,
}

impl Figures {
    /// The figures of `now`, with rates since `before`, where that is of the same process.
    pub(super) fn of(before: Option<&Sample>, now: &Sample) -> Self {
        let start = |sample: &Sample| sample.metrics.sum("process_start_time_seconds");
        let before = before.filter(|before| start(before) == start(now) && now.at > before.at);
        let before = before.map(|before| (before, now.at.duration_since(before.at).as_secs_f64()));
        let between = Between { before, now };
        let metrics = &now.metrics;
        Self {
            time: Some(now.time),
            version: clean(metrics.label("portcullis_build_info", "version").unwrap_or_default()),
            up: since_epoch(start(now)).map(|begun| age(now, begun)).unwrap_or_default(),
            is_ready: now.ready.ok,
            problems: problems(now),
            configuration: About::of(&now.configuration),
            vault: VaultFigures::of(now),
            requests: between.flow("http_request_duration_seconds", "route", is_load),
            upstream: between.flow("portcullis_upstream_duration_seconds", "operation", |_| true),
            moment: vec![
                // Without the one that asks for it.
                ("in flight", (metrics.sum("http_requests_in_progress") - 1.0).max(0.0)),
                ("waiting", metrics.sum("portcullis_requests_waiting")),
                ("connections", metrics.sum("portcullis_connections")),
                ("streams", metrics.sum("portcullis_event_streams")),
                ("tokens", metrics.sum("portcullis_child_tokens")),
                ("leases", metrics.sum("portcullis_leases")),
                ("suspended", metrics.sum("portcullis_suspended_agents")),
                ("panics", metrics.sum("portcullis_panics_total")),
            ],
            refusals: between.refusals(),
            agents: now.agents.values().map(|agent| between.row(agent)).collect(),
            nobody: now.nobody.iter().map(|nobody| Stranger::of(nobody, now)).collect(),
        }
    }

    /// That number of the moment.
    pub(super) fn number(&self, name: &str) -> f64 {
        self.moment.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, number)| *number)
    }
}

/// Two samples of one process, and the seconds between them.
#[derive(Clone, Copy)]
struct Between<'a> {
    before: Option<(&'a Sample, f64)>,
    now: &'a Sample,
}

impl Between<'_> {
    /// The rate at which a number grew.
    fn rate(&self, of: impl Fn(&Exposition) -> f64) -> Option<f64> {
        let (before, seconds) = self.before?;
        Some((of(&self.now.metrics) - of(&before.metrics)).max(0.0) / seconds)
    }

    fn flow(&self, name: &str, label: &str, counts: fn(&str) -> bool) -> Flow {
        let histogram = |metrics: &Exposition| metrics.histogram(name, label, counts);
        let since = self.before.map(|(before, _)| histogram(&self.now.metrics).since(&histogram(&before.metrics)));
        let quantile = |share| since.as_ref().and_then(|since| since.quantile(share));
        Flow { rate: self.rate(|metrics| histogram(metrics).count()), quantiles: [quantile(0.5), quantile(0.99)] }
    }

    fn refusals(&self) -> Vec<Refusals> {
        let decisions = |metrics: &Exposition, code: &str| {
            metrics.by("portcullis_decisions_total", "decision").get(code).copied().unwrap_or_default()
        };
        let refused = self.now.metrics.by("portcullis_decisions_total", "decision").into_iter();
        let refused = refused.filter(|(code, total)| *code != "allow" && *total > 0.0);
        let mut refusals: Vec<_> = refused
            .map(|(code, total)| Refusals {
                code: clean(code),
                rate: self.rate(|metrics| decisions(metrics, code)),
                total,
            })
            .collect();
        let key = |refusals: &Refusals| (refusals.rate.unwrap_or_default(), refusals.total);
        refusals.sort_by(|one, other| key(other).partial_cmp(&key(one)).unwrap_or(Ordering::Equal));
        refusals
    }

    fn row(&self, agent: &Agent) -> Row {
        let before = self.before.and_then(|(before, seconds)| Some((before.agents.get(&agent.name)?, seconds)));
        // Requests, refusals, and seconds that they took, each in a second.
        let rates = before.map(|(before, seconds)| {
            let (now, before) = (totals(agent), totals(before));
            [now[0] - before[0], now[1] - before[1], now[2] - before[2]].map(|since| since.max(0.0) / seconds)
        });
        let most = agent.refused.iter().max_by_key(|(_, count)| **count);
        Row {
            name: clean(&agent.name),
            is_suspended: self.now.ready.vault.suspended.contains(&agent.name),
            rate: rates.map(|[requests, _, _]| requests),
            refused_rate: rates.map(|[_, refused, _]| refused),
            latency: rates.filter(|[requests, _, _]| *requests > 0.0).map(|[requests, _, took]| took / requests),
            allowed: agent.allowed,
            refused: agent.refused.values().sum(),
            reason: most.map(|(code, _)| clean(code)).unwrap_or_default(),
            left: self.left(agent),
            streams: agent.streams,
            roles: clean(&agent.roles.join(",")),
            seen: agent.last_seen.as_deref().and_then(time).map(|seen| age(self.now, seen)),
        }
    }

    /// What is left of its limit: as the gate told, and what has grown since then.
    fn left(&self, agent: &Agent) -> Option<[f64; 2]> {
        let limit = agent.rate_limit.as_ref()?;
        let minutes = agent.told.map(|told| self.now.at.saturating_duration_since(told).as_secs_f64() / 60.0);
        let left = limit.left + limit.per_minute * minutes.unwrap_or_default();
        Some([left.min(limit.at_once).floor(), limit.at_once])
    }
}

impl About {
    fn of(configuration: &Configuration) -> Self {
        let reload = configuration.last_reload.as_ref();
        let problem = |problem: &Option<String>| Some(first_line(problem.as_deref().unwrap_or("it was refused")));
        Self {
            snapshot: configuration.snapshot,
            digest: clean(&configuration.digest),
            loaded: time(&configuration.loaded),
            reload: reload.map(|last| (time(&last.at), problem(&last.problem).filter(|_| !last.ok))),
            pending: configuration.pending.iter().map(|section| clean(section)).collect(),
        }
    }
}

impl VaultFigures {
    fn of(now: &Sample) -> Self {
        let end = since_epoch(now.metrics.sum("portcullis_vault_login_expiry_timestamp_seconds"));
        let rest = |end: OffsetDateTime| Duration::try_from(end - now.time).unwrap_or_default();
        Self {
            health: clean(&now.ready.vault.health),
            is_in: now.metrics.sum("portcullis_vault_login_up") > 0.0,
            login: end.map(rest),
        }
    }
}

impl Stranger {
    fn of(nobody: &Nobody, now: &Sample) -> Self {
        let named = [
            ("", &nobody.principal),
            ("issuer ", &nobody.issuer),
            ("key ", &nobody.key),
            ("certificate ", &nobody.certificate),
        ];
        let named = named.into_iter().find(|(_, value)| !value.is_empty());
        let who = named.map(|(kind, value)| format!("{kind}{value}")).unwrap_or_default();
        let credential = if nobody.credential.is_empty() { "credential" } else { &nobody.credential };
        Self {
            who: clean(&format!("{credential}: {who}")),
            why: clean(&nobody.why),
            refused: nobody.refused,
            seen: time(&nobody.last_seen).map(|seen| age(now, seen)),
        }
    }
}

/// True for a route that is asked for callers.
fn is_load(route: &str) -> bool {
    !route.starts_with("/admin/") && !route.starts_with("/observability/") && !LOOKS.contains(&route)
}

/// An agent's requests, its refusals, and the seconds that all of them took.
fn totals(agent: &Agent) -> [f64; 3] {
    let refused: u64 = agent.refused.values().sum();
    [(agent.allowed + refused) as f64, refused as f64, agent.took_seconds]
}

/// The reasons why the gate is not ready, and whatever else is wrong with it.
fn problems(now: &Sample) -> Vec<String> {
    let (ready, vault) = (&now.ready, &now.ready.vault);
    let of_part =
        |what: &str, ok: bool, why: Option<&str>| (!ok).then(|| format!("{what}: {}", why.unwrap_or("not well")));
    let logged_in = now.metrics.sum("portcullis_vault_login_up") > 0.0;
    let mut problems: Vec<String> = [
        of_part("Vault", vault.health == "active", Some(&vault.health)),
        of_part("login", logged_in, Some(&vault.detail)),
        of_part("tokens", vault.provisioned.problem.is_none(), vault.provisioned.problem.as_deref()),
        of_part("handles", vault.handles, Some("Vault has no key for them")),
        of_part("handles", vault.handles_are_current, Some("Vault has not told of their key lately")),
        of_part("suspensions", vault.suspensions.ok, Some(&vault.suspensions.problems.join(", "))),
        of_part("audit", ready.audit.ok, ready.audit.problem.as_deref()),
        of_part("duties", ready.duties_down.is_empty(), Some(&ready.duties_down.join(", "))),
        of_part("the gate", !ready.draining, Some("it is about to end")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if problems.is_empty() && !ready.ok {
        problems.push("the gate: it is not ready".to_owned());
    }
    problems.iter().map(|problem| first_line(problem)).collect()
}

fn first_line(text: &str) -> String {
    clean(text.lines().collect::<Vec<_>>().join(" / ").trim())
}

/// Seconds since the epoch as a time; `None` for zero, which is none.
fn since_epoch(seconds: f64) -> Option<OffsetDateTime> {
    (seconds > 0.0).then(|| OffsetDateTime::UNIX_EPOCH.saturating_add(TimeSpan::seconds_f64(seconds)))
}

/// The time from `then` to the sample; none, where clocks differ.
fn age(now: &Sample, then: OffsetDateTime) -> Duration {
    Duration::try_from(now.time - then).unwrap_or_default()
}
