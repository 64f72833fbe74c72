//! Agents that may do nothing for now: by the configuration, or by a record in
//! Vault that every gate looks at, so that it outlives each of them.
//!
//! Only what Vault's own engine says of the record counts. While it says nothing, or something
//! that cannot be read, those stay suspended who were.

mod entries;
mod sweep;

pub use entries::{Entry, Record, Suspension};

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

/// How often the record is looked at, so that a suspension holds everywhere within a second.
const LOOK: Duration = Duration::from_millis(500);
/// How often the gate's login is looked for before there is one.
const SEEK: Duration = Duration::from_millis(10);
/// How long a look that was asked for may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How old what is known may be, at most, for a gate that is ready.
const CURRENT: Duration = Duration::from_secs(3);
/// How long an earlier version of the record than was read already is doubted: a node of Vault's that
/// lags behind has it, or a record that was made anew.
const DOUBT: Duration = Duration::from_secs(10);
/// Most entries of the record that are named as wrong.
const MOST_PROBLEMS: usize = 20;

/// Who may do nothing.
pub struct Suspensions {
    own: OwnCalls,
    /// By either.
    current: ArcSwap<HashSet<AgentId>>,
    sides: Mutex<Sides>,
    /// Told of every change of these.
    changed: watch::Sender<()>,
    /// Whether the record has been looked at: before, nobody may do anything.
    known: AtomicBool,
    asked: Notify,
    looked: watch::Sender<Looked>,
    gates: Gates,
}

#[derive(Default)]
struct Sides {
    configured: HashSet<AgentId>,
    recorded: Record,
}

/// What the looks at the record have given so far.
#[derive(Clone, Debug, Default)]
struct Looked {
    /// How many have ended.
    count: u64,
    /// The version that was read last, and when.
    read: Option<(u64, Instant)>,
    /// Since when an earlier version has been read.
    earlier: Option<Instant>,
    /// Why the last look read none.
    unread: Option<Unread>,
    /// What is wrong with what was read, for people.
    problems: Vec<String>,
}

impl Looked {
    /// Says what is wrong with the record, once.
    fn tell(&mut self, problems: Vec<String>) {
        if problems != self.problems {
            for problem in &problems {
                tracing::error!(problem, "there is something wrong with the record of suspended agents");
            }
            self.problems = problems;
        }
    }
}

/// What is wrong with a record that could be read.
fn problems(record: &Record, doubted: bool) -> Vec<String> {
    let doubt = "it is of an earlier version than was read before: whoever was suspended stays so for now";
    let doubt = doubted.then(|| doubt.to_owned());
    let entries = entries::problems(record).map(|(name, wrong)| format!("entry {}: {wrong}", name.escape_debug()));
    doubt.into_iter().chain(entries.take(MOST_PROBLEMS)).collect()
}

impl Suspensions {
    /// Nobody, until [`Suspensions::configure`] or a look says so. What is seen is told by `gates`.
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

    /// Whether this agent may do nothing.
    #[must_use]
    pub fn hold(&self, agent: &AgentId) -> bool {
        let current = self.current.load();
        !current.is_empty() && current.contains(agent)
    }

    /// Whether the record has ever been read.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether the record was read within some seconds.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.looked.borrow().read.is_some_and(|(_, at)| at.elapsed() < CURRENT)
    }

    /// What operators should know of the record: why it cannot be read, and what is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let looked = self.looked.borrow();
        let unread = looked.unread.iter().map(|unread| format!("the record cannot be read: {unread}"));
        unread.chain(looked.problems.iter().cloned()).collect()
    }

    /// Why nobody is served before the record was read: Vault is away, or lacks what the gate needs there.
    #[must_use]
    pub fn unknown(&self) -> Refusal {
        match &self.looked.borrow().unread {
            Some(Unread::Denied) => Refusal::NotProvisioned,
            _ => Refusal::UpstreamUnavailable,
        }
    }

    /// Everyone who may do nothing.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentId> {
        let mut agents: Vec<_> = self.current.load().iter().cloned().collect();
        agents.sort();
        agents
    }

    /// What each gate has seen of the record.
    #[must_use]
    pub const fn gates(&self) -> &Gates {
        &self.gates
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
        let mut looked = self.looked.subscribe();
        // The look that is under way may have begun too early.
        let twice = async {
            for _ in 0..2 {
                self.asked.notify_one();
                looked.changed().await.ok()?;
            }
            looked.borrow().unread.is_none().then_some(())
        };
        timeout(PATIENCE, twice).await.ok().flatten().ok_or(Refusal::UpstreamUnavailable)
    }

    /// Looks for ever, and tells what was seen. Of whoever is suspended, the child tokens are
    /// dropped and the leases end.
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

    /// Takes over what a look has given, and says what is wrong with it, once.
    fn learn(&self, read: Result<Versioned<Record>, Unread>) {
        let mut looked = self.looked.borrow().clone();
        match read {
            Ok(Versioned { version, entries: record }) => {
                let now = Instant::now();
                let known = looked.read.map_or(0, |(known, _)| known);
                looked.earlier = (version < known).then(|| looked.earlier.unwrap_or(now));
                let doubted = looked.earlier.is_some_and(|since| since.elapsed() < DOUBT);
                looked.tell(problems(&record, doubted));
                self.change(|sides| match doubted {
                    // Whoever either version names is suspended.
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

    /// Puts an agent on the record; gives the version that it is on.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub async fn suspend(&self, layout: &Layout, agent: &AgentId, reason: &str) -> Result<u64, Unwritten> {
        let entry = Entry::Suspended(Suspension { since: epoch_seconds(), reason: reason.to_owned() });
        let insert = |record: &mut Record| {
            record.insert(agent.as_str().to_owned(), entry.clone());
            Ok(())
        };
        Ok(record::update(&self.own, &SuspensionRecord(layout), None, insert).await?.version)
    }

    /// Strikes an agent from the record; gives the version that it is no longer on, or `None`
    /// where it was not on it.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub async fn resume(&self, layout: &Layout, agent: &AgentId) -> Result<Option<u64>, Unwritten> {
        let strike = |record: &mut Record| {
            record.remove(agent.as_str());
            Ok(())
        };
        let updated = record::update(&self.own, &SuspensionRecord(layout), None, strike).await?;
        Ok(updated.changed.then_some(updated.version))
    }

    /// The record and its version.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read(&self, layout: &Layout) -> Result<(u64, Record), Unread> {
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
