//! The sessions of MCP that want to be told of resources or of their calls, and those that have ended.

use std::sync::Arc;
use std::time::Duration;

use filters::mcp::{Level, MOST_WATCHED, SESSION, Watched};
use filters::names::AgentId;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

/// Resources that all sessions together may want to be told of.
const ALL_WATCHED: u64 = 1_000_000;
/// Sessions that may want records of their calls.
const LEVELS: u64 = 100_000;
/// Ended sessions that are remembered.
const ENDED: u64 = 100_000;

/// A change of a session, as gates tell each other of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SessionChange {
    /// It wants to be told of a resource.
    Watch {
        /// The session.
        number: u64,
        /// Its agent.
        agent: AgentId,
        /// The resource.
        uri: Box<str>,
    },
    /// It wants to be told of a resource no longer.
    Unwatch {
        /// The session.
        number: u64,
        /// The resource.
        uri: Box<str>,
    },
    /// The session wants records of its calls.
    Level {
        /// The session.
        number: u64,
        /// The least severity of what it wants.
        level: Level,
    },
    /// It has ended.
    End {
        /// The session.
        number: u64,
    },
}

/// A session watches as many resources as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// All that is known of sessions, by their numbers.
pub(super) struct Sessions {
    watched: Cache<u64, Arc<[Watched]>>,
    levels: Cache<u64, Level>,
    ended: Cache<u64, ()>,
}

impl Default for Sessions {
    fn default() -> Self {
        let lasts = Duration::from_secs(SESSION);
        let weight = |_: &u64, watched: &Arc<[Watched]>| u32::try_from(watched.len()).unwrap_or(u32::MAX);
        Self {
            watched: Cache::builder().max_capacity(ALL_WATCHED).weigher(weight).time_to_live(lasts).build(),
            levels: Cache::builder().max_capacity(LEVELS).time_to_live(lasts).build(),
            ended: Cache::builder().max_capacity(ENDED).time_to_live(lasts).build(),
        }
    }
}

impl Sessions {
    /// Makes a change.
    pub(super) fn apply(&self, change: &SessionChange) -> Result<(), TooMany> {
        match change {
            SessionChange::Watch { number, agent, uri } => match Watched::parse(uri, agent) {
                Ok((watched, _)) => self.watch(*number, watched),
                Err(_) => Ok(()),
            },
            SessionChange::Unwatch { number, uri } => {
                self.change(*number, |all| all.retain(|watched| watched.uri() != &**uri));
                Ok(())
            }
            SessionChange::Level { number, level } => {
                self.levels.insert(*number, *level);
                Ok(())
            }
            SessionChange::End { number } => {
                self.ended.insert(*number, ());
                self.watched.invalidate(number);
                self.levels.invalidate(number);
                Ok(())
            }
        }
    }

    fn watch(&self, number: u64, watched: Watched) -> Result<(), TooMany> {
        let kept = self.change(number, |all| {
            if all.len() < MOST_WATCHED && !all.contains(&watched) {
                all.push(watched.clone());
            }
        });
        if kept.contains(&watched) { Ok(()) } else { Err(TooMany) }
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Vec<Watched>)) -> Arc<[Watched]> {
        let changed = self.watched.entry(number).and_upsert_with(|entry| {
            let mut all = entry.map(|entry| entry.into_value().to_vec()).unwrap_or_default();
            change(&mut all);
            all.into()
        });
        changed.into_value()
    }

    /// The resources that a session wants to be told of.
    pub(super) fn watched(&self, number: u64) -> Option<Arc<[Watched]>> {
        self.watched.get(&number)
    }

    /// The least severity of the records that a session wants; `None` where it wants none.
    pub(super) fn level(&self, number: u64) -> Option<Level> {
        self.levels.get(&number)
    }

    /// True for a session that was ended.
    pub(super) fn has_ended(&self, number: u64) -> bool {
        self.ended.contains_key(&number)
    }
}
