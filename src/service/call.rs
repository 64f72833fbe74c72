//! From an operation to its answer: decide, ask Vault, project, wrap.

use std::sync::Arc;
use std::time::Instant;

use filters::condition::Circumstances;
use filters::decide::{DecisionContext, Effect, Wrap, decide};
use filters::grants::{Agent, Engine, Role};
use filters::handle::{Binding, Keyring, Purpose, StandsFor};
use filters::identity::Identity;
use filters::kms::KmsRequest;
use filters::operation::{Absent, Entry, IssuedKind, Operation};
use filters::refusal::Refusal;
use filters::vault::record::is_destroyed;
use filters::vault::{Trouble, VaultRequest, control, is_partial, trouble};
use filters::verdict::granted;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::exchange::{Answer, Envelope, Lane};
use crate::vault::{Accessor, Given, epoch_seconds};

use super::streaming::{Holds, Opened, Performed};
use super::{Caller, Context, Outcome};

/// The texts for a deleted version, which can be brought back, and for a destroyed one, which cannot.
const DELETED: &str =
    "This version of the secret is deleted: kv.undelete brings it back; kv.metadata tells the versions.";
const DESTROYED: &str = "This version of the secret is destroyed, for good; kv.metadata tells the others.";

#[derive(Deserialize)]
struct WrapAnswer {
    wrap_info: WrapInfo,
}

#[derive(Deserialize)]
struct WrapInfo {
    token: Box<str>,
    accessor: Box<str>,
    ttl: u64,
}

/// The result of an operation.
pub struct Called {
    /// The answer, a JSON object.
    pub answer: Result<Performed, Refusal>,
    /// The facts for log and metrics.
    pub outcome: Outcome,
}

/// An operation that is permitted and charged.
struct Decided {
    entry: &'static Entry,
    effect: Effect,
    wrap: Option<Wrap>,
    role: Option<Arc<Role>>,
}

impl Called {
    /// One that was refused before it was decided.
    #[must_use]
    pub fn refused(operation: &'static str, refusal: Refusal) -> Self {
        Self { outcome: Outcome::refused(operation, &refusal), answer: Err(refusal) }
    }

    /// The answer as text, of what was asked for whole.
    pub fn text(self) -> (Result<String, Refusal>, Outcome) {
        let (answer, mut outcome) = (self.answer, self.outcome);
        let text = answer.and_then(|performed| match performed {
            Performed::Whole(answer) => String::from_utf8(answer).map_err(|_| Refusal::UpstreamNonsense),
            Performed::Streaming(_) => Err(Refusal::Internal),
        });
        if let Err(refusal) = &text {
            outcome.decision = refusal.public().code;
        }
        (text, outcome)
    }
}

impl Context<'_> {
    /// Does what a caller asks for, as far as its roles and limits let it, and holds the answer as far
    /// as `holds` lets it be held.
    pub async fn call(&self, caller: &Caller<'_>, operation: Operation, holds: Holds) -> Called {
        let kind = operation.kind;
        let called = match self.decided(caller, operation).await {
            Ok(decided) => self.performed(caller, decided, holds).await,
            Err(refusal) => Called::refused(kind.spec.name, refusal),
        };
        match &called.answer {
            Ok(_) => self.state.metrics.served(kind),
            Err(refusal) => self.state.metrics.refused(kind, refusal.public().code),
        }
        called
    }

    async fn performed(&self, caller: &Caller<'_>, decided: Decided, holds: Holds) -> Called {
        let Decided { entry, effect, wrap, role } = decided;
        let mut outcome = Outcome { operation: entry.spec.name, role, ..Outcome::allowed() };
        if let Effect::Own(answer) = effect {
            return Called { answer: Ok(Performed::Whole(answer)), outcome };
        }
        // Until it is known who is suspended, everybody might be.
        if !self.state.vault.suspensions.are_known() {
            let refusal = self.state.vault.suspensions.unknown();
            outcome.decision = refusal.public().code;
            return Called { answer: Err(refusal), outcome };
        }
        let started = Instant::now();
        let answer = match (effect, &wrap) {
            (Effect::Vault(request), None) if holds == Holds::Little => self.stream(caller, entry, &request).await,
            (effect, _) => self.held(caller, entry, effect, wrap).await.map(Performed::Whole),
        };
        outcome.upstream = started.elapsed();
        self.state.metrics.upstream.observe(outcome.upstream.as_secs_f64());
        if let Err(refusal) = &answer {
            outcome.decision = refusal.public().code;
        }
        Called { answer, outcome }
    }

    /// Does it, and holds the whole answer. What was given out for one that is none goes back.
    async fn held(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        effect: Effect,
        wrap: Option<Wrap>,
    ) -> Result<Vec<u8>, Refusal> {
        let before = self.parcel.len();
        let answer = self.done(caller, kind, effect, wrap).await;
        answer.inspect_err(|_| self.parcel.give_back(before))
    }

    async fn done(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        effect: Effect,
        wrap: Option<Wrap>,
    ) -> Result<Vec<u8>, Refusal> {
        let answer = match effect {
            Effect::Own(answer) => answer,
            Effect::Vault(request) => read(kind, &self.ask_vault(caller, &request).await?)?,
            Effect::Issue(IssuedKind::Lease, origin, request) => {
                Box::pin(self.lease(caller, kind, origin, &request)).await?
            }
            Effect::Issue(IssuedKind::Certificate, origin, request) => {
                Box::pin(self.issued_certificate(caller, kind, origin, &request)).await?
            }
            Effect::Issue(IssuedKind::Password, _, request) => Box::pin(self.password(caller, kind, &request)).await?,
            Effect::Redeem(redeemed) => Box::pin(self.redeem(caller, kind, &redeemed)).await?,
            Effect::Kms(request) => Box::pin(self.ask_kms(kind, request)).await?,
        };
        match wrap {
            Some(wrap) => Box::pin(self.wrap(caller, wrap, &answer)).await,
            None => Ok(answer),
        }
    }

    /// Judges the operation as [`Context::call`] would; nothing is charged, and Vault is not asked.
    pub fn judge(&self, caller: &Caller<'_>, operation: Operation) -> Result<(), Refusal> {
        let keyring = self.state.vault.handles.keyring();
        decide(&caller.identity, operation, self.ground(caller, &keyring)).map(drop)
    }

    fn ground<'k>(&'k self, caller: &Caller<'_>, keyring: &'k Keyring) -> DecisionContext<'k> {
        DecisionContext { layout: &self.snapshot.layout, keyring, client: caller.client, now: epoch_seconds() }
    }

    /// Decides, and charges all of the request's limits.
    async fn decided(&self, caller: &Caller<'_>, operation: Operation) -> Result<Decided, Refusal> {
        if operation.kind.spec.engine.is_some_and(Engine::is_kms) && self.state.kms.is_none() {
            return Err(Refusal::KmsDisabled);
        }
        let keyring = self.state.vault.handles.keyring();
        let (entry, ground) = (operation.kind, self.ground(caller, &keyring));
        let permit = decide(&caller.identity, operation, ground).map_err(|refusal| {
            self.seek_key(&refusal);
            ungranted(refusal, &caller.identity, entry, ground)
        })?;
        caller.debt.pay(permit.limits()).await?;
        let role = permit.role().cloned();
        let (entry, wrap) = (permit.kind(), permit.wrap(self.snapshot.wrap_ttl));
        let effect = permit.into_effect(&self.snapshot.layout)?;
        let seals = wrap.is_some() || matches!(effect, Effect::Issue(IssuedKind::Lease | IssuedKind::Certificate, ..));
        if seals && keyring.is_empty() {
            return Err(self.state.vault.handles.without());
        }
        Ok(Decided { entry, effect, wrap, role })
    }

    /// Has the keys of handles looked at where a handle names one that is not known here yet.
    pub fn seek_key(&self, refusal: &Refusal) {
        if *refusal == Refusal::HandleKeyUnknown {
            self.state.vault.handles.want();
        }
    }

    /// Asks with the agent's token, and reads the whole answer.
    pub(super) async fn ask_vault(&self, caller: &Caller<'_>, request: &VaultRequest) -> Result<Answer, Refusal> {
        match self.open_vault(Holds::Whole, caller, request).await? {
            Opened::Whole(answer) => Ok(answer),
            Opened::Part(..) => Err(Refusal::Internal),
        }
    }

    /// Asks with the agent's token, and once more with another where Vault no
    /// longer knows the first. A refused token has done nothing, so that any
    /// request may be asked again.
    pub(super) async fn open_vault(
        &self,
        holds: Holds,
        caller: &Caller<'_>,
        request: &VaultRequest,
    ) -> Result<Opened, Refusal> {
        self.check_circuit()?;
        let profile = &self.snapshot.child_tokens;
        let mut renewed = false;
        loop {
            let child = self.state.vault.children.token_for(&caller.identity, profile).await?;
            let envelope = Envelope { token: Some(&child.token), for_agent: true, ..self.envelope(caller) };
            let opened = Opened::ask(&self.state.vault.upstream, holds, request, envelope).await;
            let opened = opened.inspect_err(|_| self.state.metrics.upstream_broken.inc())?;
            if renewed || !opened.denies_token(&self.state.vault.upstream, envelope).await {
                return Ok(opened);
            }
            renewed = true;
            self.state.metrics.child_tokens.replaced.inc();
            self.state.vault.children.forget(&caller.identity, profile, &child).await;
        }
    }

    /// Asks AWS KMS with the gate's own credentials.
    async fn ask_kms(&self, kind: &'static Entry, request: KmsRequest) -> Result<Vec<u8>, Refusal> {
        let answer = self.state.kms.as_ref().ok_or(Refusal::KmsDisabled)?.ask(request).await?;
        let mut out = Vec::with_capacity(answer.len());
        kind.project(&answer, &mut out).map_err(|_| Refusal::KmsUnavailable)?;
        Ok(out)
    }

    /// Nothing is asked of a Vault that is known to be away.
    pub(super) fn check_circuit(&self) -> Result<(), Refusal> {
        if self.state.vault.monitor.is_open() { Ok(()) } else { Err(Refusal::UpstreamUnavailable) }
    }

    /// The envelope of every call to Vault for this request.
    pub(super) fn envelope<'s>(&'s self, caller: &'s Caller<'_>) -> Envelope<'s> {
        Envelope {
            lane: Lane::Requests,
            namespace: Some(&caller.agent().namespace),
            correlation: Some(caller.correlation_id),
            limit: self.snapshot.limits.answer,
            ..Envelope::default()
        }
    }

    /// Gives the answer to Vault to keep, and the agent a handle of it.
    async fn wrap(&self, caller: &Caller<'_>, wrap: Wrap, answer: &[u8]) -> Result<Vec<u8>, Refusal> {
        let envelope = Envelope { wrap_ttl: Some(wrap.ttl), ..self.envelope(caller) };
        let answer = self.state.vault.own.succeed(control::wrap(answer), envelope).await?;
        let WrapAnswer { wrap_info } = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
        let accessor = Accessor { text: wrap_info.accessor, namespace: caller.agent().namespace.clone() };
        self.parcel.put(Given::Token { accessor });
        let operation = wrap.origin.operation;
        let claims = wrap.origin.claims(epoch_seconds() + wrap_info.ttl, StandsFor::Wrapped { token: wrap_info.token });
        let handle = self.seal(caller.agent(), Purpose::Wrapped, &claims)?;
        let wrapped = json!({"wrapped": {"handle": handle, "operation": operation, "ttl": wrap_info.ttl}});
        Ok(wrapped.to_string().into_bytes())
    }

    /// A handle for the agent.
    pub fn seal<T: Serialize>(&self, agent: &Agent, purpose: Purpose, claims: &T) -> Result<String, Refusal> {
        let binding = Binding { purpose, agent };
        self.state.vault.handles.keyring().seal(claims, binding).map_err(|_| self.state.vault.handles.without())
    }
}

/// Tells with a refusal what the agent's roles hold of that kind.
fn ungranted(refusal: Refusal, identity: &Identity, kind: &'static Entry, ground: DecisionContext<'_>) -> Refusal {
    if refusal != Refusal::Forbidden {
        return refusal;
    }
    let circumstances = Circumstances { client: ground.client, now: ground.now };
    granted(identity, kind.spec, circumstances).map_or(refusal, Refusal::Ungranted)
}

/// Reads Vault's answer as the operation does.
pub(super) fn read(kind: &'static Entry, answer: &Answer) -> Result<Vec<u8>, Refusal> {
    match answer.status {
        status if matches!(status, 200..=299) || kind.is_batch() && is_partial(status, &answer.body) => {
            let mut out = Vec::with_capacity(answer.body.len());
            kind.project(&answer.body, &mut out)?;
            Ok(out)
        }
        status => match (refusal(status, &answer.body), kind.spec.absent) {
            (Refusal::NotFound, Absent::Empty(answer)) => Ok(answer.into()),
            (Refusal::NotFound, Absent::Secret(none)) => Err(Refusal::Absent(match is_destroyed(&answer.body) {
                Some(true) => DESTROYED,
                Some(false) => DELETED,
                None => none,
            })),
            (refusal, _) => Err(refusal),
        },
    }
}

/// The refusal that an answer without success stands for.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    match trouble(status, body) {
        Trouble::Refused(refusal) => refusal,
        // A token that is dead twice is the gate's trouble, not the caller's.
        Trouble::InvalidToken => Refusal::UpstreamUnavailable,
    }
}
