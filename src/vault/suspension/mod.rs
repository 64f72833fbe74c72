//! Suspended agents: suspended by the configuration, or by a record in Vault that every gate reads and
//! that outlives each of them.
//!
//! Only an answer of Vault's own engine changes who is suspended. While the record cannot be read,
//! those known stay suspended.

mod entries;
mod sweep;

pub use entries::{SuspendedAgents, Suspension, SuspensionEntry};

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::vault::Layout;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::exchange::Envelope;

use super::clock::epoch_seconds;
use super::gates::Gates;
use super::lease::Leases;
use super::own::OwnCalls;
use super::record::{self, Unread, Unwritten, Versioned};
use super::tokens::AgentTokens;
use entries::SuspensionRecord;

/// Pause between two looks at the record, so that a suspension holds everywhere within a second.
const LOOK: Duration = Duration::from_millis(500);
/// Pause before the gate has a login.
const SEEK: Duration = Duration::from_millis(10);
/// Longest time of a look that was asked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Oldest look with which the gate is ready.
const CURRENT: Duration = Duration::from_secs(3);
/// Time for which a version of the record is doubted that is earlier than one already read: it comes
/// from a node of Vault's that lags behind, or the record was made anew.
const DOUBT: Duration = Duration::from_secs(10);
/// Most faulty entries of the record that are named.
const MOST_PROBLEMS: usize = 20;

/// The suspended agents.
pub struct Suspensions {
    own: OwnCalls,
    /// Every suspended agent, by the configuration or the record.
    current: ArcSwap<HashSet<AgentId>>,
    sides: Mutex<Sides>,
    /// Notified of every change of `current`.
    changed: watch::Sender<()>,
    /// True once the record has been read; before, nobody is served.
    known: AtomicBool,
    asked: Notify,
    looked: watch::Sender<Looked>,
    gates: Gates,
}

#[derive(Default)]
struct Sides {
    configured: HashSet<AgentId>,
    recorded: SuspendedAgents,
}

/// The result of the looks at the record so far.
#[derive(Clone, Debug, Default)]
struct Looked {
    /// The number of looks that have ended.
    count: u64,
    /// The version that was read last, and the time.
    read: Option<(u64, Instant)>,
    /// The time since which an earlier version is read.
    earlier: Option<Instant>,
    /// The reason why the last look read nothing.
    unread: Option<Unread>,
    /// The faults of the record that was read, for people.
    problems: Vec<String>,
}

impl Looked {
    /// Logs the faults of the record, where they are new.
    fn tell(&mut self, problems: Vec<String>) {
        if problems != self.problems {
            for problem in &problems {
                tracing::error!(problem, "there is something wrong with the record of suspended agents");
            }
            self.problems = problems;
        }
    }
}

/// The faults of a record that could be read.
fn problems(record: &SuspendedAgents, doubted: bool) -> Vec<String> {
    let doubt = "it is of an earlier version than was read before: whoever was suspended stays so for now";
    let doubt = doubted.then(|| doubt.to_owned());
    let entries = entries::problems(record).map(|(name, wrong)| format!("entry {}: {wrong}", name.escape_debug()));
    doubt.into_iter().chain(entries.take(MOST_PROBLEMS)).collect()
}

impl Suspensions {
    /// Nobody is suspended until [`Suspensions::configure`] or a look. `gates` reports versions.
    #[must_use]
    pub fn new(own: OwnCalls, gates: Gates) -> Self {
        Self {
            own,
            current: ArcSwap::default(),
            sides: Mutex::default(),
            changed: watch::Sender::new(()),
            known: AtomicBool::new(false),
            asked: Notify::new(),
            looked: watch::Sender::default(),
            gates,
        }
    }

    /// Every suspended agent that is known.
    #[must_use]
    pub fn all(&self) -> Arc<HashSet<AgentId>> {
        self.current.load_full()
    }

    /// True where this agent is suspended.
    #[must_use]
    pub fn hold(&self, agent: &AgentId) -> bool {
        let current = self.current.load();
        !current.is_empty() && current.contains(agent)
    }

    /// True where the record has ever been read.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// True where the record was read within the last three seconds.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.looked.borrow().read.is_some_and(|(_, at)| at.elapsed() < CURRENT)
    }

    /// The troubles with the record, for operators: why it cannot be read, and its faults.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let looked = self.looked.borrow();
        let unread = looked.unread.iter().map(|unread| format!("the record cannot be read: {unread}"));
        unread.chain(looked.problems.iter().cloned()).collect()
    }

    /// The refusal before the record was read: Vault is away, or denies it to the gate.
    #[must_use]
    pub fn unknown(&self) -> Refusal {
        match &self.looked.borrow().unread {
            Some(Unread::Denied) => Refusal::NotProvisioned,
            _ => Refusal::UpstreamUnavailable,
        }
    }

    /// Every suspended agent, in order.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentId> {
        let mut agents: Vec<_> = self.current.load().iter().cloned().collect();
        agents.sort();
        agents
    }

    /// The gates that read the record.
    #[must_use]
    pub const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// A receiver that is notified of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes over the agents that the configuration suspends.
    pub fn configure(&self, agents: impl IntoIterator<Item = AgentId>) {
        self.change(|sides| sides.configured = agents.into_iter().collect());
        self.asked.notify_one();
    }

    /// Reads the record now; afterwards its agents are suspended.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] where it cannot be read in time.
    pub async fn look(&self) -> Result<(), Refusal> {
        let mut looked = self.looked.subscribe();
        // A look that is under way may have begun too early, so two are waited for.
        let twice = async {
            for _ in 0..2 {
                self.asked.notify_one();
                looked.changed().await.ok()?;
            }
            looked.borrow().unread.is_none().then_some(())
        };
        timeout(PATIENCE, twice).await.ok().flatten().ok_or(Refusal::UpstreamUnavailable)
    }

    /// Reads the record for ever, reports its version, and ends the tokens and leases of suspended
    /// agents.
    pub async fn run(&self, tokens: &AgentTokens, leases: &Leases, layout: impl Fn() -> Layout) {
        let told = self.gates.run(self.looked.subscribe(), |looked| looked.read.map(|(version, _)| version), &layout);
        tokio::join!(self.watch(&layout), self.sweep(tokens, leases, &layout), told);
    }

    async fn watch(&self, layout: &impl Fn() -> Layout) {
        loop {
            self.learn(record::read(&self.own, &SuspensionRecord(&layout()), Envelope::look()).await);
            let pause = if self.own.is_logged_in() { LOOK } else { SEEK };
            let _ = timeout(pause, self.asked.notified()).await;
        }
    }

    /// Takes over the result of a look, and logs new troubles.
    fn learn(&self, read: Result<Versioned<SuspendedAgents>, Unread>) {
        let mut looked = self.looked.borrow().clone();
        match read {
            Ok(Versioned { version, entries: record }) => {
                let now = Instant::now();
                let known = looked.read.map_or(0, |(known, _)| known);
                looked.earlier = (version < known).then(|| looked.earlier.unwrap_or(now));
                let doubted = looked.earlier.is_some_and(|since| since.elapsed() < DOUBT);
                looked.tell(problems(&record, doubted));
                self.change(|sides| match doubted {
                    // An agent that either version names is suspended.
                    true => {
                        record.into_iter().for_each(|(name, entry)| _ = sides.recorded.entry(name).or_insert(entry))
                    }
                    false => sides.recorded = record,
                });
                self.known.store(true, Ordering::Relaxed);
                looked.read = Some((if doubted { known } else { version }, now));
                looked.unread = None;
            }
            Err(unread) => {
                if looked.unread.as_ref() != Some(&unread) && !unread.passes() {
                    let why = unread.to_string();
                    tracing::error!(why, "the record of suspended agents cannot be read; those known stay suspended");
                }
                looked.unread = Some(unread);
            }
        }
        looked.count += 1;
        self.looked.send_replace(looked);
    }

    /// Puts an agent on the record; gives the first version that has it.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub async fn suspend(&self, layout: &Layout, agent: &AgentId, reason: &str) -> Result<u64, Unwritten> {
        let entry = SuspensionEntry::Suspended(Suspension { since: epoch_seconds(), reason: reason.to_owned() });
        let insert = |record: &mut SuspendedAgents| {
            record.insert(agent.as_str().to_owned(), entry.clone());
            Ok(())
        };
        Ok(record::update(&self.own, &SuspensionRecord(layout), None, insert).await?.version)
    }

    /// Strikes an agent from the record; gives the first version without it, or `None` where it was
    /// not there.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub async fn resume(&self, layout: &Layout, agent: &AgentId) -> Result<Option<u64>, Unwritten> {
        let strike = |record: &mut SuspendedAgents| {
            record.remove(agent.as_str());
            Ok(())
        };
        let updated = record::update(&self.own, &SuspensionRecord(layout), None, strike).await?;
        Ok(updated.changed.then_some(updated.version))
    }

    /// Reads the record; gives its version too.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read(&self, layout: &Layout) -> Result<(u64, SuspendedAgents), Unread> {
        let read = record::read(&self.own, &SuspensionRecord(layout), Envelope::default()).await?;
        Ok((read.version, read.entries))
    }

    fn change(&self, change: impl FnOnce(&mut Sides)) {
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sides);
        let recorded = entries::agents(&sides.recorded);
        let all: HashSet<AgentId> = sides.configured.iter().cloned().chain(recorded).collect();
        if **self.current.load() != all {
            self.current.store(Arc::new(all));
            self.changed.send_replace(());
        }
    }
}
