//! The requests that a permit turns into, rendered once the decision has fallen.

use std::sync::Arc;

use super::{Concern, Permit, Refused};
use crate::event::{Event, EventKind};
use crate::grants::{Access, Agent, Demand, Engine, Resource, Role, Space, VAULT, Wrapping};
use crate::handle::{Claims, StandsFor};
use crate::identity::{Actor, Presented};
use crate::kms::KmsRequest;
use crate::lifetime::WrapTtl;
use crate::notes::{LEASE, Note, Notes};
use crate::operation::{Ask, Call, Entry, IssuedKind, Operation, Passed, Reach, Redeem, Redemption};
use crate::path::{SecretPath, VaultPath};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::vault::{Layout, Method, VaultRequest};

/// The part of Vault's API that tells which engine is mounted at a path.
const MOUNTS: &str = "sys/internal/ui/mounts";

/// An operation that an agent may have done now, ready to be done once. Only a [`Permit`] turns into
/// one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Permitted {
    /// The agent that it is done for.
    pub agent: Arc<Agent>,
    /// The kind of operation.
    pub entry: &'static Entry,
    /// The role that allowed it; `None` where none was needed.
    pub role: Option<Arc<Role>>,
    /// The resource that it is about.
    pub concern: Concern,
    /// The way it is done.
    pub effect: Effect,
    /// The wrapping of the answer; `None` where it is given in the clear.
    pub wrap: Option<Wrap>,
    /// The event that it makes once it is done; `None` where it changes nothing.
    pub event: Option<Box<Event>>,
}

/// A request to Vault that is made for one agent, and sent with that agent's token. It is sent once:
/// the exchange takes it by value.
#[derive(Debug)]
pub struct AgentRequest {
    actor: Actor,
    request: VaultRequest,
}

impl Permitted {
    /// True where the agent is given a handle instead of what it stands for.
    #[must_use]
    pub const fn gives_handle(&self) -> bool {
        let issues = matches!(self.effect, Effect::Issue(IssuedKind::Lease | IssuedKind::Certificate, ..));
        issues || self.wrap.is_some()
    }
}

impl AgentRequest {
    /// The agent it is made for.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The request as it is sent.
    #[must_use]
    pub const fn rendered(&self) -> &VaultRequest {
        &self.request
    }
}

/// The request or answer that a permit turns into.
#[derive(Debug)]
pub enum Effect {
    /// Vault is asked with the agent's own token.
    Vault(AgentRequest),
    /// Vault is asked as the caller asks.
    Pass(Box<Passing>),
    /// Vault is asked to issue something that the agent gets a handle of.
    Issue(IssuedKind, Origin, AgentRequest),
    /// Vault is asked about what the agent has a handle of.
    Redeem(Redeemed),
    /// AWS KMS is asked with the gate's own credentials.
    Kms(KmsRequest),
    /// The gate's own answer, a JSON object.
    Own(Vec<u8>),
}

/// A request of a caller's that goes on as it came. Only Vault's answer tells if a lease is given out for it; then it is
/// made with a token of the lease's own, and what was given out before is taken back.
#[derive(Debug)]
pub struct Passing {
    /// The origin of the handle of a lease.
    pub origin: Origin,
    /// The request by the agent's own token.
    pub request: AgentRequest,
    /// The same by the token of a lease.
    pub leased: AgentRequest,
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
        let Call { api, body, repeatable, .. } = call(redeem, &claims.stands_for)?;
        let mount = match engine {
            Some(engine) => layout.mount(engine).ok_or(Refusal::Internal)?,
            None => "sys",
        };
        let body = body.map(|body| body.render(None, &Default::default())).transpose()?;
        let request = VaultRequest::new(Method::Post, VaultPath::render(&[mount, &api])?, body, repeatable);
        Ok(Self { redeem, claims, request })
    }
}

/// Notes Vault's name of what a handle stands for, as far as records tell it.
fn note(held: &StandsFor, notes: &mut Notes) {
    match held {
        StandsFor::Lease { id, .. } => notes.add(LEASE, Note::lease(id)),
        StandsFor::Certificate { serial } => notes.add("serial_number", Note::text(serial)),
        StandsFor::Wrapped { .. } => {}
    }
}

impl Permit {
    /// The operation, ready to be done: a request to Vault, rendered below the agent's own namespace, a request to AWS
    /// KMS, or the gate's own answer. An answer that only the role has wrapped waits for `unsaid`
    /// seconds.
    ///
    /// # Errors
    /// [`Refusal::Path`] where the rendered path would not be plain.
    pub fn into_permitted(self, layout: &Layout, unsaid: u32) -> Result<Permitted, Refused> {
        let wrap = self.wrap(unsaid);
        let event = self.event(wrap.is_some());
        let version = self.operation.version();
        let Self { actor, presented, role, operation, claims } = self;
        let (agent, role) = (Arc::clone(actor.agent()), role.map(|(role, _)| role));
        let Operation { kind, resource, ask, demand, mut notes, .. } = operation;
        claims.iter().for_each(|claims| note(&claims.stands_for, &mut notes));
        let terms = Terms { layout, kind, role: role.as_deref(), resource: resource.as_ref(), demand: &demand };
        let effect = terms.effect(actor, presented, ask, claims);
        let concern = Concern { resource, version, notes };
        match effect {
            Ok(effect) => Ok(Permitted { agent, entry: kind, role, concern, effect, wrap, event }),
            Err(refusal) => Err(Refused { refusal, concern }),
        }
    }

    /// The event that it makes, where it changes something; of a version nothing is known yet.
    fn event(&self, wraps: bool) -> Option<Box<Event>> {
        let Operation { kind, resource, ask, .. } = &self.operation;
        let kind_of_event = match ask {
            Ask::Issue(..) => EventKind::Issued,
            Ask::Held(_, redemption) => match redemption.redeem {
                Redeem::RenewLease(_) => EventKind::Renewed,
                Redeem::RevokeLease | Redeem::RevokeCertificate => EventKind::Revoked,
                Redeem::Unwrap => EventKind::Unwrapped,
                Redeem::Rewrap => EventKind::Wrapped,
                Redeem::LookUpLease | Redeem::LookUpWrap => return None,
            },
            // A signature that logs in is issued like a password, though no handle is given for it.
            Ask::Vault(_) if !kind.spec.annotations.read_only => {
                if matches!(resource, Some(Resource::Secret(..))) {
                    EventKind::Changed
                } else {
                    EventKind::Issued
                }
            }
            Ask::Vault(_) | Ask::Pass(_) | Ask::Kms(_) if wraps => EventKind::Wrapped,
            // Whoever may read one of Vault's own paths is not told: nobody can say what is a secret there.
            Ask::Pass(_) | Ask::Vault(_) | Ask::Kms(_) | Ask::Own(_) => return None,
        };
        let agent = self.actor.agent();
        Some(Box::new(Event {
            kind: kind_of_event,
            agent: agent.id.clone(),
            generation: agent.generation,
            namespace: agent.namespace.clone(),
            operation: kind.spec.name.into(),
            resource: match &self.claims {
                Some(claims) => Some(claims.resource.clone()),
                None => resource.clone().map(Resource::by_name),
            },
            version: None,
        }))
    }

    /// The wrapping of the answer: for as long as the caller asks, or for `unsaid` seconds where
    /// only the role requires it. `None` where the answer is given in the clear.
    fn wrap(&self, unsaid: u32) -> Option<Wrap> {
        if !self.operation.kind.spec.secret {
            return None;
        }
        let required = self.role.as_ref().is_some_and(|(role, _)| role.wrapping == Wrapping::Required);
        let asked = self.operation.wrap.map(WrapTtl::seconds);
        let ttl = asked.or_else(|| required.then_some(unsaid))?;
        Some(Wrap { ttl, origin: Origin::of(self.operation.kind, self.operation.resource.clone()?) })
    }
}

/// The parts of a permit from which its effect is made.
struct Terms<'a> {
    layout: &'a Layout,
    kind: &'static Entry,
    role: Option<&'a Role>,
    resource: Option<&'a Resource>,
    demand: &'a Demand,
}

impl Terms<'_> {
    fn effect(&self, actor: Actor, presented: Presented, ask: Ask, claims: Option<Claims>) -> Result<Effect, Refusal> {
        let resource = || self.resource.ok_or(Refusal::Internal);
        Ok(match ask {
            Ask::Own(own) => {
                let mut answer = Vec::new();
                own(actor.agent(), presented, &mut answer);
                Effect::Own(answer)
            }
            Ask::Vault(call) => Effect::Vault(self.request(actor, resource()?, call)?),
            Ask::Pass(passed) => {
                let (origin, passed) = (Origin::of(self.kind, resource()?.clone()), &passed);
                let request = self.passed(actor.clone(), &origin.resource, passed)?;
                let leased = self.passed(actor, &origin.resource, passed)?;
                Effect::Pass(Box::new(Passing { origin, request, leased }))
            }
            Ask::Issue(issued, call) => {
                let resource = resource()?;
                let request = self.request(actor, resource, call)?;
                Effect::Issue(issued, Origin::of(self.kind, resource.clone()), request)
            }
            Ask::Kms(call) => match resource()? {
                Resource::Key(_, key) if !key.is_empty() => Effect::Kms(KmsRequest::new(key.clone(), call)),
                Resource::Key(..) | Resource::Secret(..) | Resource::Names(..) | Resource::Nameless(_) => {
                    return Err(Refusal::Internal);
                }
            },
            Ask::Held(_, redemption) => {
                Effect::Redeem(Redeemed::new(self.layout, redemption, claims.ok_or(Refusal::Internal)?)?)
            }
        })
    }

    /// A request that goes on as it came, at the path that is the resource.
    fn passed(&self, actor: Actor, resource: &Resource, passed: &Passed) -> Result<AgentRequest, Refusal> {
        let path = match resource {
            Resource::Key(engine, path) if *engine == VAULT => path,
            Resource::Key(..) | Resource::Secret(..) | Resource::Names(..) | Resource::Nameless(_) => {
                return Err(Refusal::Internal);
            }
        };
        let path = match self.demand.access {
            Some(Access::Mount) => VaultPath::render(&[MOUNTS, path])?,
            Some(_) => VaultPath::render(&[path])?,
            None => return Err(Refusal::Internal),
        };
        let Passed { query, body, headers } = passed;
        let path = query.iter().fold(path, |path, (name, value)| path.with_text(name, value));
        let repeatable = self.kind.spec.annotations.read_only;
        let request = VaultRequest::new(self.kind.spec.reach.method, path, body.clone(), repeatable);
        let request = request.with_headers(headers.clone());
        Ok(AgentRequest { actor, request })
    }

    fn request(&self, actor: Actor, resource: &Resource, call: Call) -> Result<AgentRequest, Refusal> {
        within(self.kind.spec.reach, &call.api)?;
        let path = render(self.layout, actor.agent(), resource, &call.api)?;
        let path = match call.query {
            Some((name, number)) => path.with_number(name, number),
            None => path,
        };
        let body = call.body.map(|body| body.render(self.role, self.demand)).transpose()?;
        let request = VaultRequest::new(self.kind.spec.reach.method, path, body, call.repeatable);
        Ok(AgentRequest { actor, request })
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
