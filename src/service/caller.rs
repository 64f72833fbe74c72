//! A caller that is admitted: known, within its limits, and having its turn or waiting for that.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use filters::decide::Permitted;
use filters::grants::Agent;
use filters::identity::Identity;
use filters::names::AgentId;
use filters::notes::{OBSERVED, WHY};
use filters::refusal::Refusal;
use filters::trace::TraceParent;

use crate::limits::{CallName, Full, Place, QueuePlace, Running, RunningCalls, Share, Turn, network};
use crate::telemetry::{Record, Step};

use super::authenticate::Claimed;
use super::charge::Debt;
use super::{Context, Offer, Rejected};

/// A caller that may call: what it calls for waits until it is its turn.
pub struct Caller<'a> {
    /// The caller's identity.
    pub identity: Identity,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The gate's id of the request.
    pub request_id: &'a str,
    correlation_id: &'a str,
    /// The span that it belongs to by its body, and the id of that trace.
    trace: OnceLock<(TraceParent, Box<str>)>,
    running: OnceLock<Running>,
    pub(super) debt: Debt<'a>,
    work: OnceLock<Work>,
    /// Its place in the queue for its turn, until it waits there.
    queued: Mutex<Option<QueuePlace>>,
}

/// The work for one caller: its turn among those of its agent, and its share of all work.
struct Work {
    turn: Turn,
    _share: Share,
}

/// The turn of a caller whose answer is still to be written.
pub struct Held(Turn);

impl Held {
    /// True where its agent has no other turn left.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.0.is_last()
    }
}

impl Context<'_> {
    /// Admits a caller, and waits until it is its turn.
    ///
    /// # Errors
    /// As of [`Context::enter`] and [`Caller::turn`].
    pub async fn admit<'c>(
        &'c self,
        offer: &Offer<'c>,
        connects: impl FnOnce(&AgentId) -> Result<(), Refusal>,
    ) -> Result<Caller<'c>, Rejected> {
        let caller = self.enter(offer, connects).await?;
        let of = || Some((Arc::clone(caller.agent()), caller.identity.proof));
        caller.turn().await.map_err(|refusal| Rejected { of: of(), ..refusal.into() })?;
        Ok(caller)
    }

    /// Admits a caller: it is known, is not suspended, may have the connection by `connects`, is within
    /// its limits, and has its turn or a place in the queue for that.
    ///
    /// # Errors
    /// [`Rejected`], with the login that was refused where its credential is at fault.
    pub async fn enter<'c>(
        &'c self,
        offer: &Offer<'c>,
        connects: impl FnOnce(&AgentId) -> Result<(), Refusal>,
    ) -> Result<Caller<'c>, Rejected> {
        self.timed(Step::Authenticate).over(self.entered(offer, connects).await, |rejected| &rejected.refusal)
    }

    async fn entered<'c>(
        &'c self,
        offer: &Offer<'c>,
        connects: impl FnOnce(&AgentId) -> Result<(), Refusal>,
    ) -> Result<Caller<'c>, Rejected> {
        let claimed = self.claimed(offer).await?;
        let of = (Arc::clone(&claimed.identity.agent), claimed.identity.proof);
        self.let_in(claimed, offer, connects).await.map_err(|rejected| Rejected { of: Some(of), ..rejected })
    }

    async fn let_in<'c>(
        &'c self,
        claimed: Claimed,
        offer: &Offer<'c>,
        connects: impl FnOnce(&AgentId) -> Result<(), Refusal>,
    ) -> Result<Caller<'c>, Rejected> {
        self.check_suspension(&claimed.identity.agent.id)?;
        connects(&claimed.identity.agent.id)?;
        self.check_limits(&claimed.identity.agent)?;
        // Who is over a limit has no proof remembered, and what is sent again is charged to nobody.
        let identity = self.use_up(claimed, offer).await?;
        let Offer { client, request_id, correlation_id, .. } = *offer;
        let turns = self.snapshot.limits.concurrency.of(&identity.agent.id);
        let place = turns.enter(self.snapshot.limits.bounds.queue, &self.state.metrics.limits.waiting);
        let (work, queued) = match place.ok_or(Refusal::TooManyAtOnce)? {
            Place::Turn(turn) => (Some(Work { turn, _share: self.begin_work(client)? }), None),
            Place::Queue(place) => (None, Some(place)),
        };
        // To use a proof up may have taken long.
        self.check_suspension(&identity.agent.id)?;
        let debt = Debt::new(self, &identity.agent);
        let (trace, running, queued) = (OnceLock::new(), OnceLock::new(), Mutex::new(queued));
        let work = work.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Caller { identity, client, request_id, correlation_id, trace, running, debt, work, queued })
    }

    /// A suspended agent is refused.
    ///
    /// # Errors
    /// [`Refusal::Suspended`].
    pub fn check_suspension(&self, agent: &AgentId) -> Result<(), Refusal> {
        if self.state.vault.suspensions.hold(agent) { Err(Refusal::Suspended) } else { Ok(()) }
    }

    /// A share of the work that all requests have in common, held until there is an answer.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] where there is none, [`Refusal::TooManyFromAddress`] where its source
    /// has as many as it may.
    fn begin_work(&self, client: Option<IpAddr>) -> Result<Share, Refusal> {
        let mut bounds = self.snapshot.limits.bounds.requests;
        if client.is_none_or(|client| self.snapshot.credentials.proxies.contain(client)) {
            bounds.each = usize::MAX;
        }
        self.state.load.requests.take(place(client), 1, bounds).map_err(|full| match full {
            Full::Own => Refusal::TooManyFromAddress,
            Full::All => Refusal::Overloaded,
        })
    }
}

impl Caller<'_> {
    /// Waits until it is its turn, unless it is cancelled.
    ///
    /// # Errors
    /// [`Refusal::TooManyAtOnce`] where that does not come in time; [`Refusal::Overloaded`],
    /// [`Refusal::TooManyFromAddress`], [`Refusal::Suspended`] and [`Refusal::Cancelled`].
    pub async fn turn(&self) -> Result<(), Refusal> {
        if self.has_turn() {
            return Ok(());
        }
        let worked = Box::pin(self.wait()).await;
        let work = worked.inspect_err(|_| self.debt.forgive())?;
        let _ = self.work.set(work);
        Ok(())
    }

    async fn wait(&self) -> Result<Work, Refusal> {
        let queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner).take();
        let place = queued.ok_or(Refusal::TooManyAtOnce)?;
        let cancelled = async {
            match self.running() {
                Some(running) => running.cancelled().await,
                None => pending().await,
            }
        };
        let turn = tokio::select! {
            turn = place.turn() => turn.ok_or(Refusal::TooManyAtOnce)?,
            () = cancelled => return Err(Refusal::Cancelled),
        };
        let context = self.debt.context;
        context.check_suspension(&self.agent().id)?;
        Ok(Work { turn, _share: context.begin_work(self.client)? })
    }

    /// True where it is its turn.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.work.get().is_some()
    }

    /// Its agent.
    #[must_use]
    pub const fn agent(&self) -> &Arc<Agent> {
        &self.identity.agent
    }

    /// Goes to Vault as `X-Correlation-Id`.
    #[must_use]
    pub fn correlation_id(&self) -> &str {
        self.trace().unwrap_or(self.correlation_id)
    }

    /// The trace by which the request is known, where its head gave it no other id.
    fn trace(&self) -> Option<&str> {
        self.trace.get().map(|(_, trace)| &**trace).filter(|_| self.correlation_id == self.request_id)
    }

    /// The span that the request belongs to, as its body says.
    #[must_use]
    pub fn parent(&self) -> Option<TraceParent> {
        self.trace.get().map(|(parent, _)| *parent)
    }

    /// Notes the span that the request belongs to, as its body says; the first one counts.
    pub fn belongs_to(&self, parent: TraceParent) {
        self.trace.get_or_init(|| (parent, parent.trace.to_string().into()));
    }

    /// Lets the client cancel the request by this id, in JSON, and by its session; the first id counts.
    pub fn may_cancel(&self, calls: &Arc<RunningCalls>, session: Option<u64>, id: &str) {
        self.running.get_or_init(|| calls.begin(self.name(session, id)));
    }

    /// Cancels the request itself, whose client has gone.
    pub fn leave(&self) {
        self.running().into_iter().for_each(Running::cancel);
    }

    /// Cancels another request of this caller's.
    pub fn cancel(&self, calls: &RunningCalls, session: Option<u64>, id: &str) {
        calls.cancel(&self.name(session, id));
    }

    fn name(&self, session: Option<u64>, id: &str) -> CallName {
        CallName { agent: self.agent().id.clone(), client: self.client, session, id: id.into() }
    }

    pub(super) fn running(&self) -> Option<&Running> {
        self.running.get()
    }

    /// Owes for a further message of a batch.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] where that could not be paid now.
    pub fn owe(&self) -> Result<(), Refusal> {
        self.debt.renew()
    }

    /// True where nothing is owed now.
    #[must_use]
    pub fn has_paid(&self) -> bool {
        self.debt.is_paid()
    }

    /// Pays what is owed: for a message of a batch, or before it is told that it goes on.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub async fn pay(&self) -> Result<(), Refusal> {
        self.debt.settle().await
    }

    /// The record of an operation that is permitted it.
    pub(super) fn record<'r>(&'r self, permitted: &'r Permitted) -> Record<'r> {
        Record {
            request_id: self.request_id,
            correlation_id: self.correlation_id(),
            client: self.client,
            agent: permitted.agent.id.as_str(),
            namespace: permitted.agent.namespace.as_str(),
            proof: self.identity.proof.name(),
            operation: permitted.entry.spec.name,
            decision: "allow",
            role: permitted.role.as_ref().map_or("", |role| &*role.name),
            concern: Some(&permitted.concern),
            observed: permitted.concern.notes.is_raised(OBSERVED),
            why: permitted.concern.notes.text(WHY).unwrap_or_default(),
            ..Record::default()
        }
    }

    /// Pays what is still owed, and gives back all but the turn: nothing that others need is held while
    /// the answer waits for its reader.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`], which goes before whatever else there is to say.
    pub async fn settle(self) -> (Option<Held>, Result<(), Refusal>) {
        let Self { debt, work, .. } = self;
        let settled = debt.settle().await;
        (work.into_inner().map(|work| Held(work.turn)), settled)
    }
}

/// The network of a caller; all that have none are one.
#[must_use]
pub fn place(client: Option<IpAddr>) -> IpAddr {
    client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), network)
}
