//! Effects: the requests that a permit turns into, rendered once the decision has fallen.

use super::Permit;
use crate::grants::{Agent, Engine, Resource, Space};
use crate::handle::{Claims, StandsFor};
use crate::kms::KmsRequest;
use crate::operation::{Ask, Call, Entry, IssuedKind, Operation, Reach, Redeem, Redemption};
use crate::path::{SecretPath, VaultPath};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::vault::{Layout, VaultRequest};

/// The request or answer that a permit turns into.
#[derive(Debug)]
pub enum Effect {
    /// Vault is asked with the agent's own token.
    Vault(VaultRequest),
    /// Vault is asked to issue something that the agent gets a handle of.
    Issue(IssuedKind, Origin, VaultRequest),
    /// Vault is asked about what the agent has a handle of.
    Redeem(Redeemed),
    /// AWS KMS is asked with the gate's own credentials.
    Kms(KmsRequest),
    /// The gate's own answer, a JSON object.
    Own(Vec<u8>),
}

/// The operation, and its resource, that a handle is given out for.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The operation's name.
    pub operation: &'static str,
    /// The resource that it touched.
    pub resource: Resource,
}

impl Origin {
    /// Claims to seal into the handle, which ends at `expires`, in seconds since the epoch.
    #[must_use]
    pub fn claims(self, expires: u64, stands_for: StandsFor) -> Claims {
        let resource = self.resource.by_name();
        Claims { operation: self.operation.into(), resource, expires, stands_for }
    }

    pub(super) const fn of(kind: &'static Entry, resource: Resource) -> Self {
        Self { operation: kind.spec.name, resource }
    }
}

/// An answer that is to be wrapped.
#[derive(Debug)]
pub struct Wrap {
    /// Seconds that it waits.
    pub ttl: u32,
    /// The operation whose answer it is.
    pub origin: Origin,
}

/// A handle that was opened, and the request about what it stands for.
#[derive(Debug)]
pub struct Redeemed {
    /// The change that is asked for.
    pub redeem: Redeem,
    /// The claims that were sealed.
    pub claims: Claims,
    /// The request, which the gate's own token makes.
    pub request: VaultRequest,
}

impl Redeemed {
    /// The wrapping token, by which a wrapped answer is asked for instead.
    #[must_use]
    pub fn wrapping_token(&self) -> Option<Secret> {
        let (Redeem::Unwrap, StandsFor::Wrapped { token }) = (self.redeem, &self.claims.stands_for) else {
            return None;
        };
        Some(Secret::new(token.to_string()))
    }

    fn new(layout: &Layout, redemption: Redemption, claims: Claims) -> Result<Self, Refusal> {
        let Redemption { redeem, engine, call, .. } = redemption;
        let Call { method, api, body, repeatable, .. } = call(redeem, &claims.stands_for)?;
        let mount = match engine {
            Some(engine) => layout.mount(engine).ok_or(Refusal::Internal)?,
            None => "sys",
        };
        let body = body.map(|body| body.render(None, &Default::default())).transpose()?;
        let request = VaultRequest::new(method, VaultPath::render(&[mount, &api])?, body, repeatable);
        Ok(Self { redeem, claims, request })
    }
}

impl Permit {
    /// The effect: a request to Vault, rendered below the agent's own namespace, a request to AWS
    /// KMS, or the gate's own answer.
    ///
    /// # Errors
    /// [`Refusal::Path`] where the rendered path would not be plain.
    pub fn into_effect(self, layout: &Layout) -> Result<Effect, Refusal> {
        let Self { agent, presented, role, operation, claims } = self;
        let Operation { kind, resource, ask, demand, .. } = operation;
        let resource = || resource.ok_or(Refusal::Internal);
        let render = |resource: &Resource, call: Call| {
            within(kind.spec.reach, &call.api)?;
            let path = render(layout, &agent, resource, &call.api)?;
            let path = match call.query {
                Some((name, number)) => path.with_number(name, number),
                None => path,
            };
            let role = role.as_ref().map(|(role, _)| &**role);
            let body = call.body.map(|body| body.render(role, &demand)).transpose()?;
            Ok::<_, Refusal>(VaultRequest::new(call.method, path, body, call.repeatable))
        };
        match ask {
            Ask::Own(own) => {
                let mut answer = Vec::new();
                own(&agent, presented, &mut answer);
                Ok(Effect::Own(answer))
            }
            Ask::Vault(call) => Ok(Effect::Vault(render(&resource()?, call)?)),
            Ask::Issue(issues, call) => {
                let resource = resource()?;
                let request = render(&resource, call)?;
                Ok(Effect::Issue(issues, Origin::of(kind, resource), request))
            }
            Ask::Kms(call) => {
                let Resource::Key(_, key) = resource()? else { return Err(Refusal::Internal) };
                if key.is_empty() { Err(Refusal::Internal) } else { Ok(Effect::Kms(KmsRequest::new(key, call))) }
            }
            Ask::Held(_, redemption) => {
                Redeemed::new(layout, redemption, claims.ok_or(Refusal::Internal)?).map(Effect::Redeem)
            }
        }
    }
}

/// Refuses a request beyond the reach that the operation's description names, from which Vault's policies
/// are written.
fn within(reach: Reach, api: &str) -> Result<(), Refusal> {
    let covers = |known: &str| api.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if reach.apis.iter().any(|known| covers(known)) { Ok(()) } else { Err(Refusal::Internal) }
}

fn render(layout: &Layout, agent: &Agent, resource: &Resource, api: &str) -> Result<VaultPath, Refusal> {
    let (space, path) = match resource {
        Resource::Secret(space, path) => (*space, Some(path)),
        Resource::Names(space, prefix) => (*space, prefix.as_ref()),
        Resource::Nameless(engine) => return Ok(VaultPath::render(&[named_mount(layout, *engine)?, api])?),
        Resource::Key(engine, name) => {
            return Ok(VaultPath::render(&[named_mount(layout, *engine)?, api, name])?);
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

/// The mount of an engine whose resources are names: a name is never taken for a path.
fn named_mount(layout: &Layout, engine: Engine) -> Result<&str, Refusal> {
    layout.mount(engine).filter(|_| engine.names().is_some()).ok_or(Refusal::Internal)
}
