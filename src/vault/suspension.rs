//! Agents that may do nothing for now: by the configuration, or by a record in
//! Vault that every gate looks at, so that it outlives each of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::vault::{Layout, control};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::{Along, Children, Leases, OwnCalls, epoch_seconds, record};

/// How often the record is looked at, so that a suspension holds everywhere within a second.
const LOOK: Duration = Duration::from_millis(500);
/// How often the gate's login is looked for before there is one.
const SEEK: Duration = Duration::from_millis(10);
/// How long a look that was asked for may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// When what an agent holds is looked for once more: what was under way has ended by then.
const AGAIN: Duration = Duration::from_secs(30);
/// How often a record is read again that somebody else has changed meanwhile.
const TURNS: usize = 10;

/// Why an agent may do nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Seconds since the epoch.
    pub since: u64,
    /// For people.
    #[serde(default)]
    pub reason: String,
}

/// The record: agents by name.
pub type Record = BTreeMap<String, Suspension>;

/// Who may do nothing.
pub struct Suspensions {
    own: OwnCalls,
    /// By either.
    current: ArcSwap<HashSet<AgentId>>,
    sides: Mutex<Sides>,
    /// Told of every change of these.
    changed: watch::Sender<()>,
    /// Whether the record has been looked at: before, nobody may do anything.
    looked: AtomicBool,
    asked: Notify,
    /// How many looks have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Sides {
    configured: HashSet<AgentId>,
    recorded: Record,
}

#[derive(Default, Deserialize)]
struct Held {
    agents: Record,
}

impl Suspensions {
    /// Nobody, until [`Suspensions::configure`] or a look says so.
    #[must_use]
    pub fn new(own: OwnCalls) -> Self {
        Self {
            own,
            current: ArcSwap::default(),
            sides: Mutex::default(),
            changed: watch::Sender::new(()),
            looked: AtomicBool::new(false),
            asked: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }

    /// Whether this agent may do nothing.
    #[must_use]
    pub fn hold(&self, agent: &AgentId) -> bool {
        let current = self.current.load();
        !current.is_empty() && current.contains(agent)
    }

    /// Whether the record has ever been looked at.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.looked.load(Ordering::Relaxed)
    }

    /// Everyone who may do nothing.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentId> {
        let mut agents: Vec<_> = self.current.load().iter().cloned().collect();
        agents.sort();
        agents
    }

    /// Tells of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes over whom the configuration suspends.
    pub fn configure(&self, agents: impl IntoIterator<Item = AgentId>) {
        self.change(|sides| sides.configured = agents.into_iter().collect());
        self.asked.notify_one();
    }

    /// Looks at the record now; what is known after is what it says.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] where it cannot be read.
    pub async fn look(&self) -> Result<(), Refusal> {
        let mut ended = self.ended.subscribe();
        // The look that is under way may have begun too early.
        let twice = async {
            for _ in 0..2 {
                self.asked.notify_one();
                if ended.changed().await.is_err() {
                    return;
                }
            }
        };
        match timeout(PATIENCE, twice).await {
            Ok(()) if self.are_known() => Ok(()),
            _ => Err(Refusal::UpstreamUnavailable),
        }
    }

    /// Looks for ever. Of whoever is suspended, the child tokens are dropped and the leases end.
    pub async fn run(&self, children: &Children, leases: &Leases, layout: impl Fn() -> Layout) {
        tokio::join!(self.watch(&layout), self.sweep(children, leases, &layout));
    }

    async fn watch(&self, layout: &impl Fn() -> Layout) {
        let mut told = false;
        loop {
            match self.read(&layout()).await {
                Ok((_, recorded)) => {
                    self.change(|sides| sides.recorded = recorded);
                    self.looked.store(true, Ordering::Relaxed);
                    told = false;
                }
                Err(Refusal::UpstreamUnavailable | Refusal::UpstreamTimeout) => {}
                Err(refusal) if !told => {
                    told = true;
                    let code = refusal.public().code;
                    tracing::error!(code, "the record of suspended agents cannot be read; those known stay suspended");
                }
                Err(_) => {}
            }
            self.ended.send_modify(|count| *count += 1);
            let pause = if self.own.is_logged_in() { LOOK } else { SEEK };
            let _ = timeout(pause, self.asked.notified()).await;
        }
    }

    /// After every look, and so a while after whatever was under way has ended.
    async fn sweep(&self, children: &Children, leases: &Leases, layout: &impl Fn() -> Layout) {
        let mut swept = HashMap::<AgentId, Sweep>::new();
        let mut looks = self.ended.subscribe();
        while looks.changed().await.is_ok() {
            let current = self.current.load_full();
            swept.retain(|agent, _| current.contains(agent));
            for agent in &*current {
                let sweep = swept.entry(agent.clone()).or_insert_with(|| {
                    tracing::warn!(%agent, "the agent is suspended");
                    Sweep { since: Instant::now(), turns: 0 }
                });
                if !sweep.is_due() || !self.own.is_logged_in() {
                    continue;
                }
                children.drop_of(agent).await;
                match leases.end_all(&layout(), agent).await {
                    Ok(ended) => {
                        sweep.turns += 1;
                        tracing::warn!(%agent, ended, "the suspended agent's leases have ended");
                    }
                    Err(refusal) => {
                        let code = refusal.public().code;
                        tracing::error!(%agent, code, "the suspended agent's leases cannot be ended yet");
                    }
                }
            }
        }
    }

    /// Puts an agent on the record.
    ///
    /// # Errors
    /// What Vault says.
    pub async fn suspend(&self, layout: &Layout, agent: &AgentId, reason: &str) -> Result<(), Refusal> {
        let entry = Suspension { since: epoch_seconds(), reason: reason.to_owned() };
        self.rewrite(layout, |record| drop(record.insert(agent.as_str().to_owned(), entry.clone()))).await
    }

    /// Strikes an agent from the record; says whether it was on it.
    ///
    /// # Errors
    /// What Vault says.
    pub async fn resume(&self, layout: &Layout, agent: &AgentId) -> Result<bool, Refusal> {
        let mut was = false;
        self.rewrite(layout, |record| was = record.remove(agent.as_str()).is_some()).await?;
        Ok(was)
    }

    /// The record and its version.
    ///
    /// # Errors
    /// What Vault says.
    pub async fn read(&self, layout: &Layout) -> Result<(u64, Record), Refusal> {
        let request = control::read_suspensions(layout);
        let (version, Held { agents }) = record::read(&self.own, request, Along::default()).await?;
        Ok((version, agents))
    }

    async fn rewrite(&self, layout: &Layout, mut change: impl FnMut(&mut Record)) -> Result<(), Refusal> {
        for _ in 0..TURNS {
            let (version, mut record) = self.read(layout).await?;
            let before = record.clone();
            change(&mut record);
            if record == before {
                return Ok(());
            }
            match self.own.succeed(control::write_suspensions(layout, version, &record), Along::default()).await {
                Ok(_) => return Ok(()),
                Err(Refusal::CheckAndSet) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::UpstreamUnavailable)
    }

    fn change(&self, change: impl FnOnce(&mut Sides)) {
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sides);
        // A name that no agent can have suspends nobody.
        let recorded = sides.recorded.keys().filter_map(|name| AgentId::parse(name));
        let all: HashSet<AgentId> = sides.configured.iter().cloned().chain(recorded).collect();
        if **self.current.load() != all {
            self.current.store(Arc::new(all));
            self.changed.send_replace(());
        }
    }
}

/// What was done about one suspended agent.
struct Sweep {
    since: Instant,
    turns: u32,
}

impl Sweep {
    /// At once, and once more for what was under way then.
    fn is_due(&self) -> bool {
        match self.turns {
            0 => true,
            1 => self.since.elapsed() >= AGAIN,
            _ => false,
        }
    }
}
