//! The decision, and the only way from it to Vault (invariants 1, 2 and 7).
//!
//! A [`Permit`] has private fields and no constructor but [`decide`]:
//!
//! ```compile_fail
//! use filters::{decide::Permit, identity::{Actor, Presented}, operation::Operation};
//! fn forge(actor: Actor, presented: Presented, operation: Operation) -> Permit {
//!     Permit { actor, presented, role: None, operation, claims: None }
//! }
//! ```
//!
//! and what reaches Vault for an agent has no constructor but a permit,
//!
//! ```compile_fail
//! use filters::{path::VaultPath, vault::{Method, VaultRequest}};
//! fn forge(path: VaultPath) -> VaultRequest {
//!     VaultRequest::new(Method::Get, path, None, true)
//! }
//! ```
//!
//! belongs to one agent for good:
//!
//! ```compile_fail
//! use filters::{decide::AgentRequest, identity::Actor};
//! fn give(request: AgentRequest, other: Actor) -> AgentRequest {
//!     AgentRequest { actor: other, ..request }
//! }
//! ```
//!
//! is sent once:
//!
//! ```compile_fail
//! use filters::decide::AgentRequest;
//! fn copy(request: &AgentRequest) -> AgentRequest {
//!     request.clone()
//! }
//! ```
//!
//! and cannot be taken out of its agent's hands, to be sent with another token:
//!
//! ```compile_fail
//! use filters::{decide::AgentRequest, vault::VaultRequest};
//! fn take(request: AgentRequest) -> VaultRequest {
//!     *request.rendered()
//! }
//! ```
//!
//! Nor has what reaches AWS KMS another constructor:
//!
//! ```compile_fail
//! use filters::kms::{KmsCall, KmsRequest};
//! fn forge(key: Box<str>, call: KmsCall) -> KmsRequest {
//!     KmsRequest::new(key, call)
//! }
//! ```

use std::net::IpAddr;
use std::sync::Arc;

mod effect;

pub use effect::{AgentRequest, Effect, Origin, Passing, Permitted, Redeemed, Wrap};

use crate::catalog;
use crate::condition::Circumstances;
use crate::grants::{Need, Resource, Role, VAULT};
use crate::handle::{Binding, Claims, Keyring};
use crate::identity::{Actor, Identity, Presented};
use crate::notes::Notes;
use crate::operation::{About, Ask, Operation};
use crate::quota::Limit;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::vault::Layout;
use crate::verdict::{judge_noting, name};

/// The role that allows an operation, and its own limit.
type HeldBy = (Arc<Role>, Option<Limit>);

/// The context of a decision, beside the identity and the operation.
#[derive(Clone, Copy, Debug)]
pub struct DecisionContext<'a> {
    /// The mounts and prefixes in Vault.
    pub layout: &'a Layout,
    /// The keys of handles.
    pub keyring: &'a Keyring,
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
    /// Seconds since the epoch.
    pub now: u64,
}

/// The resource that an operation is about, for records: never a value of it.
#[derive(Debug, Default)]
pub struct Concern {
    /// The resource; `None` where the gate answers itself, or a handle that did not open would say it.
    pub resource: Option<Resource>,
    /// The version of the secret that is asked for; `None` where that is the newest, or there are none.
    pub version: Option<u64>,
    /// Whatever else records tell of it.
    pub notes: Notes,
}

impl Concern {
    /// Takes the version out of the notes of an answer, where it is among them.
    pub fn answered(&mut self) {
        self.version = self.notes.take_number("version").or(self.version);
    }
}

impl From<Operation> for Concern {
    fn from(operation: Operation) -> Self {
        Self { version: operation.version(), resource: operation.resource, notes: operation.notes }
    }
}

impl From<Permit> for Concern {
    fn from(permit: Permit) -> Self {
        permit.operation.into()
    }
}

/// An operation that was decided and is not done, and what it was about.
#[derive(Debug)]
pub struct Refused {
    /// The refusal.
    pub refusal: Refusal,
    /// The resource.
    pub concern: Concern,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        refused.refusal
    }
}

/// An operation that this agent may do now. Consumed by [`Permit::into_permitted`].
#[derive(Debug)]
pub struct Permit {
    actor: Actor,
    presented: Presented,
    role: Option<HeldBy>,
    operation: Operation,
    /// The claims of the handle that is redeemed.
    claims: Option<Claims>,
}

/// Permits `identity` to do `operation`, or says why not. The credential must carry the scope, one
/// role of the agent's must hold scope, resource and demands, and none may deny. Nothing is
/// rendered before all of that is known.
///
/// # Errors
/// [`Refusal::InsufficientScope`] where only the credential is short of it,
/// [`Refusal::NotFound`] for a handle that has ended,
/// [`Refusal::HandleKeyUnknown`] for one whose key may be known soon,
/// [`Refusal::BodyTooLarge`] where the role that allows it does not allow so much,
/// [`Refusal::Forbidden`] for everything else.
pub fn decide(identity: &Identity, mut operation: Operation, ground: DecisionContext<'_>) -> Result<Permit, Refused> {
    let mut claims = None;
    match judged(identity, &mut operation, &mut claims, ground) {
        Ok(role) => Ok(Permit { actor: identity.actor(), presented: identity.presented(), role, operation, claims }),
        Err(refusal) => Err(Refused { refusal, concern: operation.into() }),
    }
}

/// The role that allows it, if one is needed. The operation's resource is named, and what its handle was given
/// out for is put beside it.
fn judged(
    identity: &Identity,
    operation: &mut Operation,
    claims: &mut Option<Claims>,
    ground: DecisionContext<'_>,
) -> Result<Option<HeldBy>, Refusal> {
    if let Some(resource) = &mut operation.resource {
        name(resource, ground.layout)?;
    }
    let scope = operation.kind.spec.scope;
    let scope = match &operation.ask {
        Ask::Own(_) => return Ok(None),
        Ask::Held(handle, redemption) => {
            let binding = Binding { purpose: redemption.purpose, agent: &identity.agent };
            let opened = claims.insert(ground.keyring.redeem(handle, binding, ground.now)?);
            let issuer = catalog::find(&opened.operation).and_then(|issuer| Some((issuer.spec, issuer.spec.engine?)));
            let (issuer, engine) = issuer.ok_or(Refusal::Forbidden)?;
            operation.resource = opened.resource.clone().of(engine);
            if let (Some(Resource::Key(engine, path)), Some(touch)) = (&operation.resource, issuer.touch)
                && *engine == VAULT
            {
                operation.demand = touch(About::named(path))?.demand;
            }
            scope.or(issuer.scope)
        }
        // That an engine is there is no secret to whoever may do anything at all.
        Ask::Pass(_) => scope.or_else(|| {
            identity
                .scopes
                .iter()
                .find(|scope| identity.agent.roles.iter().any(|(role, _)| role.scopes.contains(*scope)))
        }),
        Ask::Vault(_) | Ask::Issue(..) | Ask::Kms(_) => scope,
    };
    held_by(identity, operation, scope.ok_or(Refusal::Forbidden)?, ground).map(Some)
}

/// The role that holds scope and resource, if the request is not larger than the role allows.
fn held_by(
    identity: &Identity,
    operation: &mut Operation,
    scope: Scope,
    ground: DecisionContext<'_>,
) -> Result<HeldBy, Refusal> {
    let circumstances = Circumstances { client: ground.client, now: ground.now };
    let Operation { resource, demand, notes, .. } = operation;
    let need = Need { scope, resource: resource.as_ref().ok_or(Refusal::Forbidden)?, demand, circumstances };
    let allowed = judge_noting(identity, &need, ground.layout, notes)?;
    match allowed.role.0.body {
        Some(most) if operation.size > most => Err(Refusal::BodyTooLarge),
        Some(_) | None => Ok(allowed.role.clone()),
    }
}

impl Permit {
    /// True where the role that allowed has it confirmed first.
    #[must_use]
    pub fn is_confirmed_first(&self) -> bool {
        self.role.as_ref().is_some_and(|(role, _)| role.confirm.contains(&self.operation.kind.spec.name))
    }

    /// The limits that the operation is charged to beside the agent's own: one of the role that
    /// allowed, one of the operation.
    #[must_use]
    pub fn limits(&self) -> [Option<&Limit>; 2] {
        let role = self.role.as_ref().and_then(|(_, limit)| limit.as_ref());
        let name = self.operation.kind.spec.name;
        let of_operation = self.actor.agent().operations.iter().find(|(operation, _)| *operation == name);
        [role, of_operation.map(|(_, limit)| limit)]
    }
}

#[cfg(test)]
mod tests;
