//! The gate as it is asked again and again, and its answers.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::admin;
use crate::config::Admin;

use super::exposition::Exposition;

/// Agents of one page.
const PAGE: usize = 500;

/// Metrics that differ where the process or its configuration is another.
const ABOUT: [&str; 4] = [
    "process_start_time_seconds",
    "portcullis_snapshot_version",
    "portcullis_reloads_total",
    "portcullis_reload_failures_total",
];

/// Metrics that differ where something was done for an agent, or refused to nobody.
const DONE: [&str; 3] =
    ["portcullis_decisions_total", "portcullis_event_streams", "portcullis_event_stream_duration_seconds_count"];

/// The gate, with what is known of it from answer to answer.
pub(super) struct Gate {
    admin: Admin,
    /// The start of its process, its snapshot, and its reloads, for which what follows was learnt.
    about: Option<[f64; 4]>,
    configuration: Arc<Configuration>,
    /// What was done for callers when agents were asked for.
    done: Option<[f64; 3]>,
    agents: Arc<BTreeMap<String, Agent>>,
    nobody: Arc<Vec<Nobody>>,
    /// The gate's time of the last answer about agents.
    since: Option<String>,
}

/// The answers of one moment.
pub(super) struct Sample {
    /// The moment.
    pub(super) at: Instant,
    /// The same by the clock here.
    pub(super) time: OffsetDateTime,
    /// The metrics.
    pub(super) metrics: Exposition,
    /// Readiness.
    pub(super) ready: Ready,
    /// The configuration.
    pub(super) configuration: Arc<Configuration>,
    /// Agents by name.
    pub(super) agents: Arc<BTreeMap<String, Agent>>,
    /// Credentials of nobody that were refused.
    pub(super) nobody: Arc<Vec<Nobody>>,
}

/// What a gate says of its readiness.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ready {
    pub(super) ok: bool,
    pub(super) draining: bool,
    pub(super) duties_down: Vec<String>,
    pub(super) vault: Vault,
    pub(super) audit: Part,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Vault {
    pub(super) health: String,
    pub(super) detail: String,
    pub(super) provisioned: Part,
    pub(super) handles: bool,
    pub(super) handles_are_current: bool,
    pub(super) suspended: HashSet<String>,
    pub(super) suspensions: Suspensions,
}

/// A part that is well or not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    pub(super) ok: bool,
    pub(super) problem: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Suspensions {
    pub(super) ok: bool,
    pub(super) problems: Vec<String>,
}

/// The configuration in force.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub(super) snapshot: u64,
    pub(super) loaded: String,
    pub(super) digest: String,
    pub(super) pending: Vec<String>,
    pub(super) last_reload: Option<Reload>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reload {
    pub(super) at: String,
    pub(super) ok: bool,
    pub(super) problem: Option<String>,
}

/// An agent, as the gate tells of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) roles: Vec<String>,
    pub(super) last_seen: Option<String>,
    pub(super) allowed: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) took_seconds: f64,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) streams: u64,
    /// The moment of the answer.
    #[serde(skip)]
    pub(super) told: Option<Instant>,
}

/// An agent's own limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimit {
    pub(super) at_once: f64,
    pub(super) per_minute: f64,
    pub(super) left: f64,
}

/// A credential of nobody.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Nobody {
    pub(super) credential: String,
    pub(super) why: String,
    pub(super) principal: String,
    pub(super) key: String,
    pub(super) certificate: String,
    pub(super) issuer: String,
    pub(super) refused: u64,
    pub(super) last_seen: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    now: String,
    agents: Vec<Agent>,
    next: Option<String>,
    nobody: Vec<Nobody>,
}

impl Gate {
    /// The gate at that admin listener, of which nothing is known yet.
    pub(super) fn new(admin: Admin) -> Self {
        Self {
            admin,
            about: None,
            configuration: Arc::default(),
            done: None,
            agents: Arc::default(),
            nobody: Arc::default(),
            since: None,
        }
    }

    /// Asks it for everything. Questions at `/admin/` are recorded by its audit: of the configuration it is asked where
    /// the metrics tell of another one, and of agents where something was done, for those that were seen since then.
    ///
    /// # Errors
    /// The reason why it cannot be asked, as text that may hold anything.
    pub(super) fn ask(&mut self) -> Result<Sample, String> {
        let metrics = Exposition::parse(&self.get("/metrics", &[200])?);
        let ready: Ready = read(&self.get("/readyz", &[200, 503])?)?;
        let (at, time) = (Instant::now(), OffsetDateTime::now_utc());
        let about = ABOUT.map(|name| metrics.sum(name));
        if self.about != Some(about) {
            (self.about, self.done, self.since) = (None, None, None);
            self.agents = Arc::default();
            self.configuration = Arc::new(read(&self.get("/admin/config", &[200])?)?);
            self.about = Some(about);
        }
        let done = DONE.map(|name| metrics.sum(name));
        if self.done != Some(done) {
            self.ask_for_agents()?;
            self.done = Some(done);
        }
        let (configuration, agents) = (Arc::clone(&self.configuration), Arc::clone(&self.agents));
        Ok(Sample { at, time, metrics, ready, configuration, agents, nobody: Arc::clone(&self.nobody) })
    }

    fn ask_for_agents(&mut self) -> Result<(), String> {
        let since = self.since.as_ref().map(|since| format!("&seen_since={since}")).unwrap_or_default();
        let (mut cursor, mut first) = (String::new(), None);
        loop {
            let page = self.get(&format!("/admin/agents?limit={PAGE}&cursor={cursor}{since}"), &[200])?;
            let Page { now, agents, next, nobody } = read(&page)?;
            let told = Some(Instant::now());
            let agents = agents.into_iter().map(|agent| (agent.name.clone(), Agent { told, ..agent }));
            Arc::make_mut(&mut self.agents).extend(agents);
            // What happens while further pages are asked for is asked for again.
            first.get_or_insert(now);
            match next {
                Some(next) => cursor = next,
                None => {
                    (self.since, self.nobody) = (first, Arc::new(nobody));
                    return Ok(());
                }
            }
        }
    }

    /// The reason why it is not reached, with its socket and address.
    fn unanswered(&self, error: &io::Error) -> String {
        let socket = self.admin.socket.as_ref().map(|socket| socket.display().to_string());
        let address = self.admin.address.map(|address| address.to_string());
        let places = socket.into_iter().chain(address).collect::<Vec<_>>().join(" and ");
        let why = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer in time".to_owned(),
            _ => error.to_string(),
        };
        format!("{why}, at {places}")
    }

    fn get(&self, path: &str, expected: &[u16]) -> Result<String, String> {
        let answer = admin::ask(&self.admin, "GET", path).map_err(|error| self.unanswered(&error))?;
        match expected.contains(&answer.status) {
            true => Ok(answer.body),
            false => Err(format!("it answers {path} with {}", answer.status)),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|error| format!("its answer cannot be read: {error}"))
}

/// A time as the gate tells it.
pub(super) fn time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
