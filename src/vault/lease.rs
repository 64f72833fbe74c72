//! Leases: each has a token of its own, with which it ends, and an entry in the agent's record in
//! Vault, so that any gate can count and end it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use filters::decide::AgentRequest;
use filters::grants::Agent;
use filters::names::{AgentId, Namespace};
use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::{Layout, VaultRequest, control};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::config;
use crate::exchange::{Answer, Envelope, Lane};

use super::clock::epoch_seconds;
use super::handover::{Given, Parcel};
use super::own::{Accessor, OwnCalls, Undone};
use super::record::{self, SharedRecord, Unread, Unwritten, Versioned};
use super::tokens::CallTokens;

/// Most agents with a line of their own at once, and most of which it is known how many leases live.
const QUEUES: u64 = 10_000;

/// Most places that are known to give out leases.
const PLACES: u64 = 4096;

/// The leases of agents.
pub struct Leases {
    own: OwnCalls,
    /// One line for each agent, so that a gate never changes a record twice at once.
    lines: Cache<AgentId, Arc<Mutex<()>>>,
    /// The ends of each agent's leases on its record as it was seen last, soonest first.
    seen: Cache<AgentId, Arc<[u64]>>,
    /// The places of Vault's that have given out leases.
    places: Cache<(Namespace, Box<str>), ()>,
}

/// The records of leases, and the agent's call that they are kept for.
#[derive(Clone, Copy)]
pub struct Books<'a> {
    /// The mounts and prefixes in Vault.
    pub layout: &'a Layout,
    /// The call's correlation id; the gate's own where absent.
    pub correlation: Option<&'a str>,
}

/// The agent that wants a lease, and the settings for it.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The settings of leases.
    pub settings: &'a config::Leases,
    /// The records.
    pub books: Books<'a>,
    /// The settings that go along with the request.
    pub envelope: Envelope<'a>,
    /// Holds the lease until its agent has it.
    pub parcel: &'a Parcel<'a>,
}

impl Wanted<'_> {
    fn check_room(&self, leases: &Leased) -> Result<(), Refusal> {
        if leases.len() < self.settings.per_agent { Ok(()) } else { Err(Refusal::LeaseBudget) }
    }
}

/// A lease that Vault has given out.
pub struct Issued {
    /// Vault's id of the lease.
    pub id: Box<str>,
    /// The accessor of its token.
    pub accessor: Accessor,
    /// Seconds it lasts, unless it is renewed.
    pub lasts: u64,
    /// The end of all renewals, in seconds since the epoch.
    pub ends: u64,
}

/// One live lease, as the gate writes it on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Live {
    /// The time it ends, in seconds since the epoch.
    expires: u64,
    /// The agent's generation.
    generation: u32,
    /// The namespace of its token; the gate's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Namespace>,
}

/// The entry of the record under the accessor of a lease's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum LeaseEntry {
    Live(Live),
    /// Another form than the gate writes. It counts as live until it is revoked, since its end is
    /// not known.
    Malformed(Value),
}

impl LeaseEntry {
    const fn is_live_at(&self, now: u64) -> bool {
        self.end() > now
    }

    /// Its end, in seconds since the epoch.
    const fn end(&self) -> u64 {
        match self {
            Self::Live(live) => live.expires,
            Self::Malformed(_) => u64::MAX,
        }
    }

    fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Live(live) => live.namespace.as_ref(),
            Self::Malformed(_) => None,
        }
    }
}

/// The leases of one agent, by the accessors of their tokens.
type Leased = BTreeMap<Box<str>, LeaseEntry>;

/// The record of one agent's leases.
struct LeaseRecord<'a> {
    books: Books<'a>,
    agent: &'a AgentId,
    seen: &'a Cache<AgentId, Arc<[u64]>>,
}

#[derive(Deserialize)]
struct StoredLeases {
    leases: Leased,
}

#[derive(Default, Deserialize)]
struct LeaseAnswer {
    lease_id: Box<str>,
    lease_duration: u64,
}

impl SharedRecord for LeaseRecord<'_> {
    type Stored = StoredLeases;
    type Entries = Leased;

    fn reading(&self) -> Result<VaultRequest, PathProblem> {
        control::read_leases(self.books.layout, self.agent)
    }

    fn writing(&self, version: u64, leases: &Leased) -> Result<VaultRequest, PathProblem> {
        self.note(leases);
        control::write_leases(self.books.layout, self.agent, version, leases)
    }

    /// The leases that have not ended.
    fn entries(&self, stored: Option<StoredLeases>) -> Leased {
        let mut leases = stored.map(|held| held.leases).unwrap_or_default();
        let now = epoch_seconds();
        leases.retain(|_, lease| lease.is_live_at(now));
        if leases.values().any(|lease| matches!(lease, LeaseEntry::Malformed(_))) {
            let agent = self.agent;
            tracing::warn!(%agent, "the record of leases has entries that cannot be read; they count as live");
        }
        self.note(&leases);
        leases
    }

    fn envelopes(&self) -> (Envelope<'_>, Envelope<'_>) {
        let (lane, correlation) = (Lane::Requests, self.books.correlation);
        (Envelope { lane, correlation, ..Envelope::soon() }, Envelope { lane, correlation, ..Envelope::default() })
    }
}

impl LeaseRecord<'_> {
    /// Notes what is on the record, or is about to be.
    fn note(&self, leases: &Leased) {
        if leases.is_empty() {
            return self.seen.invalidate(self.agent);
        }
        let mut ends: Vec<_> = leases.values().map(LeaseEntry::end).collect();
        ends.sort_unstable();
        self.seen.insert(self.agent.clone(), ends.into());
    }

    async fn read(&self, own: &OwnCalls) -> Result<Versioned<Leased>, Undone> {
        let (to_read, _) = self.envelopes();
        record::read(own, self, to_read).await.map_err(|unread| self.tell(unread))
    }

    async fn update(
        &self,
        own: &OwnCalls,
        known: Option<Versioned<Leased>>,
        change: impl Fn(&mut Leased) -> Result<(), Refusal>,
    ) -> Result<(), Undone> {
        match record::update(own, self, known, change).await {
            Ok(_) => Ok(()),
            Err(Unwritten::Unread(unread)) => Err(self.tell(unread)),
            Err(Unwritten::Refused(undone)) => Err(undone),
        }
    }

    /// Says in the log why the record cannot be read.
    fn tell(&self, unread: Unread) -> Undone {
        tracing::error!(agent = %self.agent, why = %unread, "the record of leases cannot be read");
        unread.into()
    }
}

impl Leases {
    /// Leases whose records are kept by `own` calls.
    #[must_use]
    pub fn new(own: OwnCalls) -> Self {
        let lines = Cache::builder().max_capacity(QUEUES).time_to_idle(Duration::from_secs(600)).build();
        Self { own, lines, seen: Cache::new(QUEUES), places: Cache::new(PLACES) }
    }

    /// True where a lease has been given out at this place before.
    #[must_use]
    pub fn are_given(&self, namespace: &Namespace, place: &str) -> bool {
        self.places.contains_key(&(namespace.clone(), place.into()))
    }

    /// Notes that leases are given out at this place.
    pub fn learn(&self, namespace: &Namespace, place: &str) {
        self.places.insert((namespace.clone(), place.into()), ());
    }

    /// Asks for a lease with a token of its own. The record is written before, so that no live lease
    /// is uncounted. Beside Vault's answer there is none where Vault has given out none.
    ///
    /// # Errors
    /// [`Refusal::LeaseBudget`], or the meaning of Vault's answer. Nothing is left behind then.
    pub async fn issue(
        &self,
        wanted: Wanted<'_>,
        tokens: CallTokens<'_>,
        request: AgentRequest,
    ) -> Result<(Answer, Option<Issued>), Refusal> {
        let holder = Arc::clone(request.actor().agent());
        let agent = &*holder;
        let record = self.record(wanted.books, &agent.id);
        let line = self.lines.get_with(agent.id.clone(), Arc::default);
        let turn = line.lock().await;
        let known = record.read(&self.own).await?;
        wanted.check_room(&known.entries)?;
        let token = tokens.lease_token(request.actor(), wanted.settings, wanted.settings.ttl).await?;
        let accessor = token.accessor.clone();
        let ends = epoch_seconds() + token.ttl;
        let entry = self.entry(agent, ends);
        let given = Given::Lease { agent: agent.id.clone(), accessor: accessor.clone() };
        wanted.parcel.put(given.clone());
        let outcome = async {
            let counted = record.update(&self.own, Some(known), |leases| {
                wanted.check_room(leases)?;
                leases.insert(accessor.text.clone(), entry.clone());
                Ok(())
            });
            counted.await?;
            drop(turn);
            let answer = self.own.upstream().ask_for(request, &token, wanted.envelope).await?;
            let lease: LeaseAnswer = if answer.body.is_empty() { LeaseAnswer::default() } else { answer.json()? };
            if lease.lease_id.is_empty() {
                return Ok((answer, None));
            }
            let lasts = lease.lease_duration.min(token.ttl);
            self.last(wanted.books, agent, &accessor.text, epoch_seconds() + lasts).await?;
            Ok((answer, Some(Issued { id: lease.lease_id, accessor: accessor.clone(), lasts, ends })))
        };
        let outcome = outcome.await;
        if !matches!(&outcome, Ok((_, Some(_)))) {
            // A lease that cannot be ended now is tried again with the rest of the parcel.
            let ended = self.end(wanted.books, &agent.id, &accessor).await;
            if matches!(ended, Ok(()) | Err(Undone { refusal: Refusal::NotFound, .. })) {
                wanted.parcel.remove(&given);
            }
        }
        outcome
    }

    /// Writes on the record when a lease ends now.
    ///
    /// # Errors
    /// The record cannot be read or written.
    pub async fn last(&self, books: Books<'_>, agent: &Agent, accessor: &str, expires: u64) -> Result<(), Undone> {
        let entry = self.entry(agent, expires);
        self.change(self.record(books, &agent.id), |leases| {
            leases.insert(accessor.into(), entry.clone());
            Ok(())
        })
        .await
    }

    /// Revokes a lease's token, and strikes the lease from the record.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where it is not on the record; others where Vault does not do it.
    pub async fn end(&self, books: Books<'_>, agent: &AgentId, accessor: &Accessor) -> Result<(), Undone> {
        let Books { correlation, .. } = books;
        let envelope = Envelope { lane: Lane::Requests, correlation, ..Envelope::soon() };
        self.own.revoke(accessor, envelope).await?;
        let strike = |leases: &mut Leased| leases.remove(&accessor.text).map(drop).ok_or(Refusal::NotFound);
        self.change(self.record(books, agent), strike).await
    }

    /// Ends every lease on the agent's record; gives their number.
    ///
    /// # Errors
    /// Vault does not end some of them; those stay on the record.
    pub async fn end_all(&self, layout: &Layout, agent: &AgentId) -> Result<usize, Undone> {
        let record = self.record(Books { layout, correlation: None }, agent);
        let (mut ended, mut failed) = (record.read(&self.own).await?.entries, None);
        for (text, entry) in std::mem::take(&mut ended) {
            let namespace = entry.namespace().unwrap_or_else(|| self.own.namespace()).clone();
            let accessor = Accessor { text, namespace };
            // A lease that cannot be ended, as in a sealed namespace, does not hold up the others.
            match self.own.revoke(&accessor, Envelope::soon()).await {
                Ok(()) => _ = ended.insert(accessor.text, entry),
                Err(undone) => failed = Some(undone),
            }
        }
        if !ended.is_empty() {
            let strike = |leases: &mut Leased| {
                leases.retain(|accessor, _| !ended.contains_key(accessor));
                Ok(())
            };
            self.change(record, strike).await?;
        }
        failed.map_or(Ok(ended.len()), Err)
    }

    /// The number of leases that live at `now` on the records that this gate has seen, and the largest of
    /// one agent.
    #[must_use]
    pub fn seen(&self, now: u64) -> (usize, usize) {
        let live = self.seen.iter().map(|(_, ends)| ends.len() - ends.partition_point(|end| *end <= now));
        live.fold((0, 0), |(all, most), live| (all + live, most.max(live)))
    }

    fn record<'a>(&'a self, books: Books<'a>, agent: &'a AgentId) -> LeaseRecord<'a> {
        LeaseRecord { books, agent, seen: &self.seen }
    }

    /// An entry for the record; it names the namespace where that is not the record's own.
    fn entry(&self, agent: &Agent, expires: u64) -> LeaseEntry {
        let elsewhere = agent.namespace != *self.own.namespace();
        let namespace = elsewhere.then(|| agent.namespace.clone());
        LeaseEntry::Live(Live { expires, generation: agent.generation, namespace })
    }

    /// Changes a record when the other changes of this gate to it are done.
    async fn change(
        &self,
        record: LeaseRecord<'_>,
        change: impl Fn(&mut Leased) -> Result<(), Refusal>,
    ) -> Result<(), Undone> {
        let line = self.lines.get_with(record.agent.clone(), Arc::default);
        let _turn = line.lock().await;
        record.update(&self.own, None, change).await
    }
}
