//! What each gate has seen of the record of suspended agents, told in a record of its own, so that
//! whoever suspends an agent is told which gates know it, and not what they hope.
//!
//! A gate writes when it has seen another version, and now and then to show that it runs; one that
//! ends strikes itself out.

use std::collections::BTreeMap;
use std::time::Duration;

use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::{Layout, VaultRequest, control};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::exchange::Envelope;

use super::clock::epoch_seconds;
use super::own::OwnCalls;
use super::record::{self, SharedRecord, Unread, Unwritten};

/// How often a gate tells that it runs, in seconds.
const HEARTBEAT: u64 = 60;
/// How old the word of a gate that runs may be, in seconds.
pub const LIVELY: u64 = 3 * HEARTBEAT;
/// How old the word of a gate may be before it is forgotten, in seconds.
const FORGOTTEN: u64 = 15 * HEARTBEAT;
/// Most gates on the record; the ones heard of last stay.
const MOST: usize = 1_000;
/// Longest pause after a word that could not be written; the shortest is a hundredth of it.
const PAUSE: Duration = Duration::from_secs(60);

/// The gates of one Vault.
pub struct Gates {
    own: OwnCalls,
    /// This gate's name among them; nobody else's, and another after each start.
    name: Box<str>,
}

/// What one gate has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The version of the record of suspended agents that it has seen.
    pub version: u64,
    /// When it said so, in seconds since the epoch, by its own clock.
    pub at: u64,
}

/// What each has told, by its name.
pub type Word = BTreeMap<String, Seen>;

impl Gates {
    /// The gate `name` among those of this Vault.
    #[must_use]
    pub fn new(own: OwnCalls, name: impl Into<Box<str>>) -> Self {
        Self { own, name: name.into() }
    }

    /// What each gate has told.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read(&self, layout: &Layout) -> Result<Word, Unread> {
        record::read(&self.own, &GateRecord(layout), Envelope::look()).await.map(|read| read.entries)
    }

    /// Tells, for ever, which version the looks have `seen`.
    pub(super) async fn run<L: Clone>(
        &self,
        mut looks: watch::Receiver<L>,
        seen: impl Fn(&L) -> Option<u64>,
        layout: &impl Fn() -> Layout,
    ) {
        let (mut told, mut due) = (None, Instant::now());
        let mut failed = Failed::default();
        while looks.changed().await.is_ok() {
            let Some(version) = seen(&looks.borrow_and_update()) else { continue };
            let now = Instant::now();
            if told == Some(version) && now < due || now < failed.until {
                continue;
            }
            match self.tell(&layout(), version).await {
                Ok(()) => {
                    told = Some(version);
                    due = Instant::now() + Duration::from_secs(HEARTBEAT);
                    failed = Failed::default();
                }
                Err(unwritten) => failed.again(&unwritten.into()),
            }
        }
    }

    /// Strikes this gate out; what cannot be written is forgotten in time.
    pub(super) async fn leave(&self, layout: &Layout) {
        let strike = |word: &mut Word| {
            word.remove(&*self.name);
            Ok(())
        };
        let _ = record::update(&self.own, &GateRecord(layout), None, strike).await;
    }

    async fn tell(&self, layout: &Layout, version: u64) -> Result<(), Unwritten> {
        let now = epoch_seconds();
        let tell = |word: &mut Word| {
            word.insert(self.name.to_string(), Seen { version, at: now });
            prune(word, now);
            Ok(())
        };
        record::update(&self.own, &GateRecord(layout), None, tell).await.map(drop)
    }
}

/// The record of what each gate has seen.
struct GateRecord<'a>(&'a Layout);

impl SharedRecord for GateRecord<'_> {
    type Stored = Value;
    type Entries = Word;

    fn reading(&self) -> Result<VaultRequest, PathProblem> {
        control::read_gates(self.0)
    }

    fn writing(&self, version: u64, word: &Word) -> Result<VaultRequest, PathProblem> {
        control::write_gates(self.0, version, word)
    }

    /// An entry that cannot be read is left out: nothing is kept from anybody by it.
    fn entries(&self, stored: Option<Value>) -> Word {
        stored.as_ref().map(word).unwrap_or_default()
    }

    fn envelopes(&self) -> (Envelope<'static>, Envelope<'static>) {
        (Envelope::look(), Envelope::soon())
    }
}

/// The entries that are a gate's word.
fn word(data: &Value) -> Word {
    let entries = data.get("gates").and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, entry)| Some((name.clone(), Seen::deserialize(entry).ok()?))).collect()
}

/// Forgets the gates that have not been heard of, and the eldest of too many.
fn prune(word: &mut Word, now: u64) {
    word.retain(|_, seen| seen.at.saturating_add(FORGOTTEN) > now);
    while word.len() > MOST {
        let eldest = word.iter().min_by_key(|(_, seen)| seen.at).map(|(name, _)| name.clone());
        eldest.map(|name| word.remove(&name));
    }
}

/// That this gate could not tell what it has seen.
struct Failed {
    until: Instant,
    pause: Duration,
    told: bool,
}

impl Default for Failed {
    fn default() -> Self {
        Self { until: Instant::now(), pause: PAUSE / 100, told: false }
    }
}

impl Failed {
    fn again(&mut self, refusal: &Refusal) {
        if !self.told && !matches!(refusal, Refusal::UpstreamUnavailable | Refusal::UpstreamTimeout) {
            self.told = true;
            let code = refusal.public().code;
            tracing::warn!(code, "the gate cannot tell what it has seen of suspensions; see `portcullis-gate.hcl`");
        }
        self.until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gates_word_is_read_and_it_is_forgotten_in_time() {
        let data = serde_json::json!({"gates": {"a": {"version": 3, "at": 1_000}, "b": {"version": "x"}, "c": 7,
            "d": {"version": 4, "at": 1_500}}});
        let mut word = word(&data);
        assert_eq!(word.keys().collect::<Vec<_>>(), ["a", "d"]);
        prune(&mut word, 1_000 + FORGOTTEN);
        assert_eq!(word.keys().collect::<Vec<_>>(), ["d"]);
        for data in [serde_json::json!(null), serde_json::json!({"gates": []}), serde_json::json!([1])] {
            assert!(super::word(&data).is_empty(), "{data}");
        }
        let mut many: Word = (0..=MOST as u64).map(|n| (n.to_string(), Seen { version: 1, at: 1_000 + n })).collect();
        prune(&mut many, 1_000);
        assert!(many.len() == MOST && !many.contains_key("0"));
    }
}
