//! Logins: the credential that a client logs in with comes back as a token of the gate's own.
//! Source: <https://developer.hashicorp.com/vault/api-docs/auth>

use filters::credential::Offered;
use filters::gate_token::{GateToken, LoggedIn, Way};
use filters::identity::Identity;
use filters::refusal::Refusal;
use filters::secret::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::surfaces::{Asked, Reply, Served};

use super::form;
use super::namespace;

/// A login, and the credential that came with it.
pub struct Login {
    mount: Box<str>,
    /// The agent that it must be.
    agent: Option<String>,
    stands_for: LoggedIn,
}

/// What the body of a login has that the gate reads; the rest says what Vault would do.
#[derive(Default, Deserialize)]
struct Body {
    jwt: Option<String>,
    role_id: Option<String>,
    secret_id: Option<String>,
}

impl Login {
    /// Reads the credential of a login from its body, or takes the certificate of this fingerprint.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] where there is none.
    pub fn read((mount, way): (Box<str>, Way), body: &[u8], fingerprint: Option<Digest>) -> Result<Self, Refusal> {
        let missing = Refusal::Malformed;
        let body: Body = form::read(body)?;
        let (agent, stands_for) = match way {
            Way::Certificate => {
                let fingerprint = fingerprint.ok_or(missing("The connection presents no client certificate."))?;
                (None, LoggedIn::certificate(&fingerprint))
            }
            Way::Jwt => (None, LoggedIn::Jwt(body.jwt.ok_or(missing("The member jwt is missing."))?.into())),
            Way::AppRole => {
                let agent = body.role_id.ok_or(missing("The member role_id is missing: the agent's name."))?;
                let key = body.secret_id.ok_or(missing("The member secret_id is missing: the agent's API key."))?;
                (Some(agent), LoggedIn::ApiKey(key.into()))
            }
        };
        Ok(Self { mount, agent, stands_for })
    }

    /// The credential, as it is offered to the gate.
    #[must_use]
    pub fn offered(&self) -> Offered {
        self.stands_for.offered()
    }

    /// Answers with a token for the caller, who was admitted with that credential.
    pub fn serve(self, asked: &Asked<'_>) -> Served {
        Served::decided(self.token(asked))
    }

    fn token(self, asked: &Asked<'_>) -> Result<Reply, Refusal> {
        namespace::check(asked)?;
        if self.agent.is_some_and(|agent| agent != asked.caller.agent().id.as_str()) {
            return Err(Refusal::Unauthenticated);
        }
        let login = format!("auth/{}/login", self.mount).into();
        Made { login, lasts: lasts(asked), stands_for: self.stands_for }.give(asked, None)
    }
}

/// Seconds that a token lasts, unless its credential ends before.
pub(super) fn lasts(asked: &Asked<'_>) -> u64 {
    asked.context.snapshot.surfaces.vault_api.as_ref().map_or(0, |settings| settings.token_ttl.as_secs())
}

/// A token that is to be made.
pub(super) struct Made {
    /// The path of the login.
    pub(super) login: Box<str>,
    /// Seconds that it lasts, unless its credential ends before.
    pub(super) lasts: u64,
    pub(super) stands_for: LoggedIn,
}

impl Made {
    /// Answers with the token, which ends no later than the one that it was made with.
    pub(super) fn give(self, asked: &Asked<'_>, by: Option<&GateToken>) -> Result<Reply, Refusal> {
        let (context, identity) = (asked.context, &asked.caller.identity);
        let issued = context.now();
        let ends = [form::ends(identity), by.map(|token| token.expires)];
        let token = GateToken {
            number: context.state.events.session_number(),
            agent: identity.agent.id.clone(),
            generation: identity.agent.generation,
            above: by.into_iter().flat_map(|token| token.above.iter().copied().chain([token.number])).collect(),
            login: self.login,
            issued,
            expires: ends.into_iter().flatten().fold(issued + self.lasts, u64::min),
            stands_for: self.stands_for,
        };
        let text = context.seal_token(&token)?;
        Ok(granted(&token, &text, identity, asked.caller.request_id))
    }
}

/// The answer that gives a token out, with all the members that strict clients ask for. It says that it cannot be
/// renewed, so that clients log in again.
fn granted(token: &GateToken, text: &str, identity: &Identity, request_id: &str) -> Reply {
    let policies = policies(identity);
    let auth = json!({
        "client_token": text,
        "accessor": accessor(token),
        "policies": policies,
        "token_policies": policies,
        "identity_policies": [],
        "metadata": {"agent": identity.agent.id.as_str()},
        "lease_duration": token.expires.saturating_sub(token.issued),
        "renewable": false,
        "entity_id": "",
        "token_type": "service",
        "orphan": token.above.is_empty(),
        "mfa_requirement": null,
        "num_uses": 0,
    });
    Reply::json(200, form::envelope(request_id, "auth", auth))
}

/// The name by which records may tell of a token.
pub(super) fn accessor(token: &GateToken) -> String {
    format!("{:016x}", token.number)
}

/// The roles of an agent, which stand where Vault has policies.
pub(super) fn policies(identity: &Identity) -> Value {
    identity.agent.roles.iter().map(|(role, _)| Value::from(&*role.name)).collect()
}
