//! The decision, and the only way from it to Vault (invariants 1, 2 and 7).
//!
//! A [`Permit`] has private fields and no constructor but [`decide`]:
//!
//! ```compile_fail
//! use filters::{decide::Permit, grants::Agent, operation::Operation};
//! fn forge(agent: std::sync::Arc<Agent>, operation: Operation) -> Permit {
//!     Permit { agent, role: None, operation, claims: None, answer: Vec::new() }
//! }
//! ```
//!
//! and what reaches Vault for an agent has no constructor but a permit:
//!
//! ```compile_fail
//! use filters::{path::VaultPath, vault::{Method, VaultRequest}};
//! fn forge(path: VaultPath) -> VaultRequest {
//!     VaultRequest::new(Method::Get, path, None, true)
//! }
//! ```
//!
//! nor has what reaches AWS KMS:
//!
//! ```compile_fail
//! use filters::kms::{KmsCall, KmsRequest};
//! fn forge(key: Box<str>, call: KmsCall) -> KmsRequest {
//!     KmsRequest::new(key, call)
//! }
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::catalog;
use crate::condition::Circumstances;
use crate::grants::{Agent, Demand, Engine, Extensions, Need, Resource, Role, Space, Ttl, Wrapping};
use crate::handle::{Binding, Claims, Closed, Keyring, Purpose, StandsFor};
use crate::identity::Identity;
use crate::kms::KmsRequest;
use crate::lifetime::WrapTtl;
use crate::operation::{Ask, Call, Entry, Issues, Operation, Reach, Redeem};
use crate::path::{SecretPath, VaultPath};
use crate::quota::Limit;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::secret::Secret;
use crate::vault::{Layout, Method, VaultRequest};
use crate::verdict::{judge, named};

/// What a decision is made by, beside the identity and the operation.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// Where things lie in Vault.
    pub layout: &'a Layout,
    /// The keys of handles.
    pub keyring: &'a Keyring,
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
    /// Seconds since the epoch.
    pub now: u64,
}

/// An operation that this agent may do now. Consumed by [`Permit::into_effect`].
#[derive(Debug)]
pub struct Permit {
    agent: Arc<Agent>,
    role: Option<(Arc<Role>, Option<Limit>)>,
    operation: Operation,
    claims: Option<Claims>,
    answer: Vec<u8>,
}

/// What a permit turns into.
#[derive(Debug)]
pub enum Effect {
    /// Ask Vault with the agent's own token.
    Vault(VaultRequest),
    /// Ask Vault for something that the agent gets a handle of.
    Issue(Issues, Origin, VaultRequest),
    /// Ask Vault about what the agent has a handle of.
    Redeem(Redeemed),
    /// Ask AWS KMS with the gate's own credentials.
    Kms(KmsRequest),
    /// The gate's own answer, a JSON object.
    Own(Vec<u8>),
}

/// Which operation, on what, a handle comes of.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The operation's name.
    pub operation: &'static str,
    /// What it touched.
    pub resource: Resource,
}

impl Origin {
    /// What is sealed into the handle, which ends at `expires`, in seconds
    /// since the epoch.
    #[must_use]
    pub fn claims(self, expires: u64, stands_for: StandsFor) -> Claims {
        Claims { operation: self.operation.into(), resource: self.resource, expires, stands_for }
    }
}

/// An answer is to be wrapped.
#[derive(Debug)]
pub struct Wrap {
    /// For how many seconds.
    pub ttl: u32,
    /// What it is the answer of.
    pub origin: Origin,
}

/// What the agent has a handle of, and what is asked of Vault about it.
#[derive(Debug)]
pub struct Redeemed {
    /// What becomes of it.
    pub redeem: Redeem,
    /// What was sealed.
    pub claims: Claims,
    /// The request, which the gate's own token makes.
    pub request: VaultRequest,
}

impl Redeemed {
    /// The wrapping token, by which a wrapped answer is asked for instead.
    #[must_use]
    pub fn wrapping_token(&self) -> Option<Secret> {
        match (self.redeem, &self.claims.stands_for) {
            (Redeem::Unwrap, StandsFor::Wrapped { token }) => Some(Secret::new(token.to_string())),
            _ => None,
        }
    }
}

/// Whether `identity` may do `operation`: the credential carries the scope,
/// one role of the agent's holds scope, resource and demands, and none denies.
///
/// # Errors
/// [`Refusal::InsufficientScope`] where only the credential is short of it,
/// [`Refusal::NotFound`] for a handle that has ended,
/// [`Refusal::HandleKeyUnknown`] for one whose key may be known soon,
/// [`Refusal::BodyTooLarge`] where the role that allows it does not allow so much,
/// [`Refusal::Forbidden`] for everything else.
pub fn decide(identity: &Identity, operation: Operation, ground: Ground<'_>) -> Result<Permit, Refusal> {
    let agent = Arc::clone(&identity.agent);
    let mut permit = Permit { agent, role: None, operation, claims: None, answer: Vec::new() };
    match &permit.operation.ask {
        Ask::Own(own) if permit.operation.resource.is_none() => own(identity, &mut permit.answer),
        Ask::Own(_) => return Err(Refusal::Forbidden),
        Ask::Held(handle, redeem) => {
            let claims = redeemed(&permit.agent, handle, *redeem, ground)?;
            let issuer = catalog::find(&claims.operation).ok_or(Refusal::Forbidden)?;
            let scope = permit.operation.kind.facts.scope.or(issuer.facts.scope).ok_or(Refusal::Forbidden)?;
            permit.role = Some(permit.held_by(identity, scope, &claims.resource, ground)?);
            permit.claims = Some(claims);
        }
        Ask::Vault(_) | Ask::Issue(..) | Ask::Kms(_) => {
            permit.operation.resource =
                permit.operation.resource.map(|resource| named(resource, ground.layout)).transpose()?;
            let scope = permit.operation.kind.facts.scope.ok_or(Refusal::Forbidden)?;
            let resource = permit.operation.resource.as_ref().ok_or(Refusal::Forbidden)?;
            permit.role = Some(permit.held_by(identity, scope, resource, ground)?);
        }
    }
    Ok(permit)
}

/// Opens a handle of the agent's own.
fn redeemed(agent: &Agent, handle: &str, redeem: Redeem, ground: Ground<'_>) -> Result<Claims, Refusal> {
    if ground.keyring.is_empty() {
        return Err(Refusal::UpstreamUnavailable);
    }
    let purpose = match redeem {
        Redeem::RenewLease(_) | Redeem::RevokeLease => Purpose::Lease,
        Redeem::RevokeCertificate => Purpose::Certificate,
        Redeem::Unwrap | Redeem::LookUpWrap => Purpose::Wrapped,
    };
    let binding = Binding { purpose, agent };
    let claims: Claims = ground.keyring.open(handle, binding).map_err(|closed| match closed {
        Closed::Foreign => Refusal::Forbidden,
        Closed::Later => Refusal::HandleKeyUnknown,
    })?;
    if claims.holds_at(ground.now) { Ok(claims) } else { Err(Refusal::NotFound) }
}

impl Permit {
    /// The role that holds it, if the request is not larger than it allows.
    fn held_by(
        &self,
        identity: &Identity,
        scope: Scope,
        resource: &Resource,
        ground: Ground<'_>,
    ) -> Result<(Arc<Role>, Option<Limit>), Refusal> {
        let circumstances = Circumstances { client: ground.client, now: ground.now };
        let need = Need { scope, resource, demand: &self.operation.demand, circumstances };
        let allowed = judge(identity, &need, ground.layout)?;
        match allowed.role.0.body {
            Some(most) if self.operation.size > most => Err(Refusal::BodyTooLarge),
            _ => Ok(allowed.role.clone()),
        }
    }

    /// The name of the role that allowed; none where none was needed.
    #[must_use]
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.role.as_ref().map(|(role, _)| role)
    }

    /// What kind of operation it is.
    #[must_use]
    pub const fn kind(&self) -> &'static Entry {
        self.operation.kind
    }

    /// Whether the answer is to be wrapped: as the caller asks, or for
    /// `unsaid` seconds where only the role requires it.
    #[must_use]
    pub fn wrap(&self, unsaid: u32) -> Option<Wrap> {
        if !self.operation.kind.facts.secret {
            return None;
        }
        let required = self.role().is_some_and(|role| role.wrapping == Wrapping::Required);
        let asked = self.operation.wrap.map(WrapTtl::seconds);
        let ttl = asked.or_else(|| required.then_some(unsaid))?;
        Some(Wrap { ttl, origin: origin(self.operation.kind, self.operation.resource.clone()?) })
    }

    /// The limits that it is charged to beside the agent's own: those of the
    /// role that allowed and of the operation.
    #[must_use]
    pub fn limits(&self) -> [Option<&Limit>; 2] {
        let role = self.role.as_ref().and_then(|(_, limit)| limit.as_ref());
        let name = self.operation.kind.facts.name;
        let of_operation = self.agent.operations.iter().find(|(operation, _)| *operation == name);
        [role, of_operation.map(|(_, limit)| limit)]
    }

    /// What is done: the request to Vault, rendered below the agent's own
    /// namespace, or the gate's own answer.
    ///
    /// # Errors
    /// [`Refusal::Path`] where the rendered path would not be plain.
    pub fn into_effect(self, layout: &Layout) -> Result<Effect, Refusal> {
        let unsaid = self.role().map(|role| unsaid(role, &self.operation.demand)).unwrap_or_default();
        let Operation { kind, resource, ask, .. } = self.operation;
        if let Ask::Vault(call) | Ask::Issue(_, call) = &ask {
            within(kind.facts.reach, &call.api)?;
        }
        let resource = || resource.ok_or(Refusal::Internal);
        match ask {
            Ask::Own(_) => Ok(Effect::Own(self.answer)),
            Ask::Vault(call) => Ok(Effect::Vault(request(layout, &self.agent, &resource()?, call, &unsaid)?)),
            Ask::Issue(issues, call) => {
                let resource = resource()?;
                let request = request(layout, &self.agent, &resource, call, &unsaid)?;
                Ok(Effect::Issue(issues, origin(kind, resource), request))
            }
            Ask::Kms(call) => match resource()? {
                Resource::Key(Engine::Kms, key) if !key.is_empty() => Ok(Effect::Kms(KmsRequest::new(key, call))),
                _ => Err(Refusal::Internal),
            },
            Ask::Held(_, redeem) => {
                let claims = self.claims.ok_or(Refusal::Internal)?;
                let request = redeeming(layout, redeem, &claims)?;
                Ok(Effect::Redeem(Redeemed { redeem, claims, request }))
            }
        }
    }
}

/// What is asked of Vault is what the operation's facts say, from which
/// Vault's policies are written.
fn within(reach: Reach, api: &str) -> Result<(), Refusal> {
    let covers = |known: &str| api.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if reach.apis.iter().any(|known| covers(known)) { Ok(()) } else { Err(Refusal::Internal) }
}

const fn origin(kind: &'static Entry, resource: Resource) -> Origin {
    Origin { operation: kind.facts.name, resource }
}

fn request(
    layout: &Layout,
    agent: &Agent,
    resource: &Resource,
    call: Call,
    unsaid: &Map<String, Value>,
) -> Result<VaultRequest, Refusal> {
    let path = render(layout, agent, resource, &call.api)?;
    let path = match call.query {
        Some((name, number)) => path.with_number(name, number),
        None => path,
    };
    let body = if unsaid.is_empty() { call.body } else { call.body.map(|body| with_members(&body, unsaid)) };
    Ok(VaultRequest::new(call.method, path, body, call.repeatable))
}

/// What the role bounds and the request leaves out, as members of Vault's: the
/// bound, so that no default of Vault's is in its place.
fn unsaid(role: &Role, demand: &Demand) -> Map<String, Value> {
    let ttl = role.max_ttl.filter(|_| demand.ttl == Ttl::Unsaid).map(|seconds| json!(format!("{seconds}s")));
    let no_extension = demand.login.as_ref().is_some_and(|login| login.extensions == Extensions::Unsaid);
    let all = role.all_extensions().filter(|_| no_extension);
    let extensions = all.map(|names| names.into_iter().map(|name| (name.to_owned(), json!(""))).collect());
    let members = [("ttl", ttl), ("extensions", extensions.map(Value::Object))];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Adds members to a body, an object that has none of them.
fn with_members(body: &[u8], members: &Map<String, Value>) -> Bytes {
    let rest = body.strip_prefix(b"{").unwrap_or_default();
    let mut out = json!(members).to_string().into_bytes();
    out.pop();
    out.extend_from_slice(if rest == b"}" { b"" } else { b"," });
    out.extend_from_slice(rest);
    out.into()
}

/// What is asked about what a handle stands for.
fn redeeming(layout: &Layout, redeem: Redeem, claims: &Claims) -> Result<VaultRequest, Refusal> {
    let post = |parts: &[&str], body: Value, repeatable| {
        let body = Some(Bytes::from(body.to_string()));
        Ok(VaultRequest::new(Method::Post, VaultPath::render(parts)?, body, repeatable))
    };
    match (redeem, &claims.stands_for) {
        (Redeem::RenewLease(increment), StandsFor::Lease { id, .. }) => {
            let increment = increment.map(|increment| json!({"lease_id": id, "increment": increment}));
            post(&["sys/leases/renew"], increment.unwrap_or_else(|| json!({"lease_id": id})), true)
        }
        // Not by its token alone: that ends a lease some time later.
        (Redeem::RevokeLease, StandsFor::Lease { id, .. }) => {
            post(&["sys/leases/revoke"], json!({"lease_id": id, "sync": true}), true)
        }
        (Redeem::RevokeCertificate, StandsFor::Certificate { serial }) => {
            post(&[&layout.mounts.pki, "revoke"], json!({"serial_number": serial}), true)
        }
        (Redeem::Unwrap, StandsFor::Wrapped { .. }) => post(&["sys/wrapping/unwrap"], json!({}), false),
        (Redeem::LookUpWrap, StandsFor::Wrapped { token }) => {
            post(&["sys/wrapping/lookup"], json!({"token": token}), true)
        }
        _ => Err(Refusal::Forbidden),
    }
}

fn render(layout: &Layout, agent: &Agent, resource: &Resource, api: &str) -> Result<VaultPath, Refusal> {
    let (space, path) = match resource {
        Resource::Secret(space, path) => (*space, Some(path)),
        Resource::Names(space, prefix) => (*space, prefix.as_ref()),
        Resource::Key(Engine::Kv, _) | Resource::Nameless(Engine::Kv) => return Err(Refusal::Internal),
        Resource::Nameless(engine) => {
            let mount = layout.mount(*engine).ok_or(Refusal::Internal)?;
            return Ok(VaultPath::render(&[mount, api])?);
        }
        Resource::Key(engine, name) => {
            let mount = layout.mount(*engine).ok_or(Refusal::Internal)?;
            return Ok(VaultPath::render(&[mount, api, name])?);
        }
    };
    let path = path.map(SecretPath::as_str);
    let mut parts = [&*layout.kv_mount, api, "", "", ""];
    let head: &[&str] = match space {
        Space::Own => &[&layout.own_prefix, agent.id.as_str()],
        Space::Shared => &[&layout.shared_prefix],
    };
    let mut length = 2;
    for (place, part) in parts.iter_mut().skip(2).zip(head.iter().copied().chain(path)) {
        *place = part;
        length += 1;
    }
    Ok(VaultPath::render(parts.get(..length).ok_or(Refusal::Internal)?)?)
}

#[cfg(test)]
mod tests;
