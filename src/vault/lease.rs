//! Leases: each has a token of its own, with which it ends, and stands in the
//! agent's record in Vault, so that any gate can count and end it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use filters::decide::AgentRequest;
use filters::grants::Agent;
use filters::names::{AgentId, Namespace};
use filters::refusal::Refusal;
use filters::vault::{Layout, Trouble, control, trouble};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::config;
use crate::exchange::{Answer, Envelope, Holds, Lane, Upstream};

use super::handover::{Given, Parcel};
use super::own::{Accessor, OwnCalls, Undone};
use super::{Children, Profile, epoch_seconds, record};

/// How often a record is read again that another gate has changed meanwhile.
const TURNS: usize = 10;
/// Most agents whose records are waited for in line at once.
const QUEUES: u64 = 10_000;

/// The leases of agents.
pub struct Leases {
    upstream: Arc<Upstream>,
    own: OwnCalls,
    /// One line per agent, so that a gate never races itself.
    lines: Cache<AgentId, Arc<Mutex<()>>>,
}

/// Who wants a lease, and by which settings.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// What agents' tokens are like.
    pub profile: &'a Profile,
    /// What leases are like.
    pub settings: &'a config::Leases,
    /// Where things lie in Vault.
    pub layout: &'a Layout,
    /// The settings that go along with the request.
    pub envelope: Envelope<'a>,
    /// What holds it until its agent has it.
    pub parcel: &'a Parcel<'a>,
}

/// A lease that Vault has given out.
pub struct Issued {
    /// Vault's answer.
    pub answer: Answer,
    /// Vault's id of the lease.
    pub id: Box<str>,
    /// The accessor of its token.
    pub accessor: Accessor,
    /// Seconds it lasts, unless it is renewed.
    pub lasts: u64,
    /// Until when it can be renewed, in seconds since the epoch.
    pub ends: u64,
}

/// One live lease in the record, by its token's accessor.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Live {
    /// In seconds since the epoch.
    expires: u64,
    /// The agent's generation.
    generation: u32,
    /// Its token's namespace; the gate's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Namespace>,
}

/// What stands on the record under the accessor of a lease's token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Live(Live),
    /// Not as the gate writes it. It counts as live until it is ended: its end is not known.
    Malformed(Value),
}

impl Entry {
    const fn is_live_at(&self, now: u64) -> bool {
        match self {
            Self::Live(live) => live.expires > now,
            Self::Malformed(_) => true,
        }
    }

    fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Live(live) => live.namespace.as_ref(),
            Self::Malformed(_) => None,
        }
    }
}

type Entries = BTreeMap<Box<str>, Entry>;

/// What one agent holds, at one version in Vault.
struct Record {
    version: u64,
    leases: Entries,
}

#[derive(Default, Deserialize)]
struct Held {
    leases: Entries,
}

#[derive(Deserialize)]
struct LeaseAnswer {
    lease_id: Box<str>,
    lease_duration: u64,
}

impl Leases {
    /// By this way to Vault.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, own: OwnCalls) -> Self {
        let lines = Cache::builder().max_capacity(QUEUES).time_to_idle(Duration::from_secs(600)).build();
        Self { upstream, own, lines }
    }

    /// Asks for a lease with a token that is its own: first the record, then
    /// the lease, so that none is live that is not counted.
    ///
    /// # Errors
    /// [`Refusal::LeaseBudget`], what Vault says, or that it is away. Nothing
    /// is left behind then.
    pub async fn issue(
        &self,
        wanted: Wanted<'_>,
        children: &Children,
        request: AgentRequest,
    ) -> Result<Issued, Refusal> {
        let holder = Arc::clone(request.actor().agent());
        let agent = &holder.id;
        let room = |leases: &Entries| match leases.len() < wanted.settings.per_agent {
            true => Ok(()),
            false => Err(Refusal::LeaseBudget),
        };
        let line = self.lines.get_with(agent.clone(), Arc::default);
        let turn = line.lock().await;
        let record = self.read(wanted.layout, agent).await?;
        room(&record.leases)?;
        let token = children.lease_token(request.actor(), wanted.profile, wanted.settings, wanted.settings.ttl).await?;
        let accessor = token.accessor.clone();
        let ends = epoch_seconds() + token.ttl;
        let entry = self.entry(&holder, ends);
        let given = Given::Lease { agent: agent.clone(), accessor: accessor.clone() };
        wanted.parcel.put(given.clone());
        let outcome = async {
            let counted = self.write(wanted.layout, agent, record, |leases| {
                room(leases)?;
                leases.insert(accessor.text.clone(), entry.clone());
                Ok(())
            });
            counted.await?;
            drop(turn);
            let answer = self.upstream.ask_for(request, &token, wanted.envelope, Holds::Whole).await?;
            let answer = answer.whole().ok_or(Refusal::Internal)?;
            if !matches!(answer.status, 200..=299) {
                return Err(match trouble(answer.status, &answer.body) {
                    Trouble::Refused(refusal) => refusal,
                    Trouble::InvalidToken => Refusal::UpstreamUnavailable,
                });
            }
            let lease: LeaseAnswer = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
            let lasts = lease.lease_duration.min(token.ttl);
            self.last(wanted.layout, &holder, &accessor.text, epoch_seconds() + lasts).await?;
            Ok(Issued { answer, id: lease.lease_id, accessor: accessor.clone(), lasts, ends })
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            // What cannot be ended now is tried again with the rest of the parcel.
            let ended = self.end(wanted.layout, agent, &accessor).await;
            if matches!(ended, Ok(()) | Err(Undone { refusal: Refusal::NotFound, .. })) {
                wanted.parcel.remove(&given);
            }
        }
        outcome
    }

    /// Notes until when a lease lasts now.
    ///
    /// # Errors
    /// That Vault is away.
    pub async fn last(&self, layout: &Layout, agent: &Agent, accessor: &str, expires: u64) -> Result<(), Undone> {
        let entry = self.entry(agent, expires);
        self.change(layout, &agent.id, |leases| {
            leases.insert(accessor.into(), entry.clone());
            Ok(())
        })
        .await
    }

    /// Ends a lease's token, and strikes the lease from the record.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where it is not in the record, or that Vault is away.
    pub async fn end(&self, layout: &Layout, agent: &AgentId, accessor: &Accessor) -> Result<(), Undone> {
        let along = Envelope { lane: Lane::Requests, ..Envelope::soon() };
        self.own.revoke(accessor, along).await?;
        self.change(layout, agent, |leases| leases.remove(&accessor.text).map(drop).ok_or(Refusal::NotFound)).await
    }

    /// Ends every lease on the agent's record; tells how many those were.
    ///
    /// # Errors
    /// That Vault is away, or does not end each of them; those stay on the record then.
    pub async fn end_all(&self, layout: &Layout, agent: &AgentId) -> Result<usize, Undone> {
        let (mut ended, mut failed) = (self.read(layout, agent).await?.leases, None);
        for (text, entry) in std::mem::take(&mut ended) {
            let namespace = entry.namespace().unwrap_or_else(|| self.upstream.namespace()).clone();
            let accessor = Accessor { text, namespace };
            // One that cannot be ended, in a namespace that is sealed, is not in the way of the others.
            match self.own.revoke(&accessor, Envelope::soon()).await {
                Ok(()) => _ = ended.insert(accessor.text, entry),
                Err(undone) => failed = Some(undone),
            }
        }
        if !ended.is_empty() {
            let strike = |leases: &mut Entries| {
                leases.retain(|accessor, _| !ended.contains_key(accessor));
                Ok(())
            };
            self.change(layout, agent, strike).await?;
        }
        failed.map_or(Ok(ended.len()), Err)
    }

    /// What goes on the record. A namespace is on it where it is not that of the record itself.
    fn entry(&self, agent: &Agent, expires: u64) -> Entry {
        let elsewhere = agent.namespace != *self.upstream.namespace();
        let namespace = elsewhere.then(|| agent.namespace.clone());
        Entry::Live(Live { expires, generation: agent.generation, namespace })
    }

    /// Changes the agent's record.
    async fn change(
        &self,
        layout: &Layout,
        agent: &AgentId,
        change: impl Fn(&mut Entries) -> Result<(), Refusal>,
    ) -> Result<(), Undone> {
        let line = self.lines.get_with(agent.clone(), Arc::default);
        let _turn = line.lock().await;
        let record = self.read(layout, agent).await?;
        self.write(layout, agent, record, change).await
    }

    /// The agent's record, without what has ended.
    async fn read(&self, layout: &Layout, agent: &AgentId) -> Result<Record, Undone> {
        let along = Envelope { lane: Lane::Requests, ..Envelope::soon() };
        let read = record::read::<Held>(&self.own, control::read_leases(layout, agent), along).await;
        let record =
            read.inspect_err(|unread| tracing::error!(%agent, why = %unread, "the record of leases cannot be read"))?;
        let Held { mut leases } = record.data.unwrap_or_default();
        let now = epoch_seconds();
        leases.retain(|_, lease| lease.is_live_at(now));
        if leases.values().any(|lease| matches!(lease, Entry::Malformed(_))) {
            tracing::warn!(%agent, "the record of leases has entries that cannot be read; they count as live");
        }
        Ok(Record { version: record.version, leases })
    }

    /// Writes the record, changed; where another gate was faster, theirs.
    async fn write(
        &self,
        layout: &Layout,
        agent: &AgentId,
        mut record: Record,
        change: impl Fn(&mut Entries) -> Result<(), Refusal>,
    ) -> Result<(), Undone> {
        let along = Envelope { lane: Lane::Requests, ..Envelope::default() };
        for _ in 0..TURNS {
            change(&mut record.leases)?;
            let request = control::write_leases(layout, agent, record.version, &record.leases);
            match self.own.succeed(request, along).await {
                Ok(_) => return Ok(()),
                Err(Undone { refusal: Refusal::CheckAndSet, .. }) => record = self.read(layout, agent).await?,
                Err(undone) => return Err(undone),
            }
        }
        Err(Refusal::UpstreamUnavailable.into())
    }
}
