//! Leases, certificates, passwords and wrapped answers: issued, renewed, revoked and redeemed. The agent
//! gets handles of them.

use std::sync::Arc;

use filters::decide::{AgentRequest, Origin, Redeemed, Wrap};
use filters::grants::Agent;
use filters::handle::{Claims, Purpose, StandsFor};
use filters::notes::Note;
use filters::operation::{Entry, IssuedKind, Redeem};
use filters::refusal::Refusal;
use filters::secret::Secret;
use filters::vault::{VaultRequest, control, is_nothing, is_refusal};
use serde::Deserialize;

use crate::exchange::{Answer, Envelope};
use crate::vault::{Accessor, Books, CallTokens, Given, Issued, Wanted, epoch_seconds};

use super::Context;
use super::call::Asking;
use super::form::{Unformed, read};

/// A certificate of Vault's whose answer tells no end has ended by then.
const LONGEST: u64 = 10 * 366 * 86_400;

#[derive(Deserialize)]
struct CertificateAnswer {
    data: Certificate,
}

#[derive(Deserialize)]
struct Certificate {
    serial_number: Box<str>,
    expiration: Option<u64>,
}

#[derive(Deserialize)]
struct RenewAnswer {
    lease_duration: u64,
}

#[derive(Deserialize)]
struct LookUpAnswer {
    data: Times,
}

#[derive(Deserialize)]
struct Times {
    /// Below 0 for a lease whose end Vault is about to see.
    ttl: i64,
}

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

impl Context<'_> {
    /// Has Vault issue something that hangs on a token of its own, or that the agent gets a handle of.
    pub(super) async fn issue(
        &self,
        asking: Asking<'_>,
        entry: &'static Entry,
        issued: IssuedKind,
        origin: Origin,
        request: AgentRequest,
    ) -> Result<Vec<u8>, Refusal> {
        self.check_circuit()?;
        match issued {
            IssuedKind::Lease => self.lease(asking, entry, origin, request).await,
            IssuedKind::Certificate => self.issue_certificate(asking, entry, origin, request).await,
            IssuedKind::Password => self.password(asking, entry, request).await,
        }
    }

    /// A lease with a token of its own; where Vault gives out none after all, its answer.
    pub(super) async fn lease(
        &self,
        asking: Asking<'_>,
        entry: &'static Entry,
        origin: Origin,
        request: AgentRequest,
    ) -> Result<Vec<u8>, Refusal> {
        let agent = Arc::clone(request.actor().agent());
        let wanted = Wanted {
            settings: &self.snapshot.vault.leases,
            books: self.books(asking),
            envelope: self.envelope(asking),
            parcel: &self.parcel,
        };
        let vault = &self.state.vault;
        let (answer, issued) = vault.leases.issue(wanted, self.tokens(asking), request).await?;
        let Some(Issued { id, accessor, lasts, ends }) = issued else { return read(asking.form, entry, &answer) };
        let _ = asking.lease.set(Note::lease(&id));
        let claims = origin.claims(ends, StandsFor::Lease { id, accessor: accessor.text });
        let handle = self.seal(&agent, Purpose::Lease, &claims)?;
        let given = [("lease_id", handle.into()), ("lease_duration", lasts.into())];
        asking.form.whole(Unformed { entry, body: Some(&answer.body), given: &given })
    }

    /// A password that is used soon: with a token that outlives the agent's
    /// own, since the password ends with the token.
    async fn password(
        &self,
        asking: Asking<'_>,
        entry: &'static Entry,
        request: AgentRequest,
    ) -> Result<Vec<u8>, Refusal> {
        let (leases, vault) = (&self.snapshot.vault.leases, &self.state.vault);
        let token = self.tokens(asking).lease_token(request.actor(), leases, leases.password_ttl).await?;
        let given = Given::Token { accessor: token.accessor.clone() };
        self.parcel.put(given.clone());
        let answer = vault.upstream.ask_for(request, &token, self.envelope(asking)).await?;
        if !answer.is_success() {
            // What cannot be ended now is tried again with the rest of the parcel.
            if vault.own.revoke(&token.accessor, self.envelope(asking)).await.is_ok() {
                self.parcel.remove(&given);
            }
        }
        read(asking.form, entry, &answer)
    }

    /// A certificate that only this agent may revoke.
    async fn issue_certificate(
        &self,
        asking: Asking<'_>,
        entry: &'static Entry,
        origin: Origin,
        request: AgentRequest,
    ) -> Result<Vec<u8>, Refusal> {
        let agent = Arc::clone(request.actor().agent());
        let answer = self.ask_vault(asking, request).await?;
        let CertificateAnswer { data } = answer.json()?;
        let (serial, namespace) = (data.serial_number.clone(), agent.namespace.clone());
        self.parcel.put(Given::Certificate { serial, namespace });
        let expires = data.expiration.unwrap_or_else(|| epoch_seconds() + LONGEST);
        let claims = origin.claims(expires, StandsFor::Certificate { serial: data.serial_number });
        let handle = self.seal(&agent, Purpose::Certificate, &claims)?;
        let given = [("handle", handle.into())];
        asking.form.whole(Unformed { entry, body: Some(&answer.body), given: &given })
    }

    /// Asks, with the gate's own token, about what the agent has a handle of.
    /// A bad request, in Vault's words, is one about something that is no longer there.
    pub(super) async fn redeem(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        redeemed: Redeemed,
    ) -> Result<Vec<u8>, Refusal> {
        self.check_circuit()?;
        let wrapping_token = redeemed.wrapping_token();
        let Redeemed { redeem, claims, request } = redeemed;
        let answer = self.ask_about(asking, agent, wrapping_token, request).await?;
        match answer.status {
            _ if answer.is_success() => {}
            400 | 404 if is_refusal(&answer.body) || is_nothing(&answer.body) => return Err(Refusal::NotFound),
            _ => return Err(answer.refusal()),
        }
        let (leases, books) = (&self.state.vault.leases, self.books(asking));
        let (ends, now) = (claims.expires, epoch_seconds());
        let lasting = |seconds: u64| {
            let given = [("lease_duration", seconds.into())];
            asking.form.whole(Unformed { entry, body: Some(&answer.body), given: &given })
        };
        match (redeem, &claims.stands_for) {
            (Redeem::RevokeLease, StandsFor::Lease { accessor, .. }) => {
                // The handle opens in the namespace only that the lease was made in.
                let (text, namespace) = (accessor.clone(), agent.namespace.clone());
                leases.end(books, &agent.id, &Accessor { text, namespace }).await?;
            }
            (Redeem::RenewLease(_), StandsFor::Lease { accessor, .. }) => {
                let renewed: RenewAnswer = answer.json()?;
                let lasts = renewed.lease_duration.min(ends.saturating_sub(now));
                leases.last(books, agent, accessor, now + lasts).await?;
                return lasting(lasts);
            }
            (Redeem::LookUpLease, _) => {
                let LookUpAnswer { data } = answer.json()?;
                // It ends with its token, whatever Vault tells of it.
                return lasting(u64::try_from(data.ttl).unwrap_or_default().min(ends.saturating_sub(now)));
            }
            (Redeem::Rewrap, _) => {
                let anew = |expires, stands_for| Claims { expires, stands_for, ..claims };
                return self.keep(asking, agent, &answer, anew);
            }
            _ => {}
        }
        read(asking.form, entry, &answer)
    }

    /// Gives the answer to Vault to keep, and the agent a handle of it.
    pub(super) async fn wrap(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        wrap: Wrap,
        answer: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let namespace = Some(&agent.namespace);
        let envelope = Envelope { namespace, wrap_ttl: Some(wrap.ttl), ..self.envelope(asking) };
        let kept = self.state.vault.own.succeed(control::wrap(answer), envelope).await?;
        self.keep(asking, agent, &kept, |expires, stands_for| wrap.origin.claims(expires, stands_for))
    }

    /// Gives the agent a handle of what Vault keeps, with these claims of its end and token.
    fn keep(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        kept: &Answer,
        claims: impl FnOnce(u64, StandsFor) -> Claims,
    ) -> Result<Vec<u8>, Refusal> {
        let WrapAnswer { wrap_info: WrapInfo { token, accessor, ttl } } = kept.json()?;
        let accessor = Accessor { text: accessor, namespace: agent.namespace.clone() };
        self.parcel.put(Given::Token { accessor });
        let claims = claims(epoch_seconds() + ttl, StandsFor::Wrapped { token });
        let handle = self.seal(agent, Purpose::Wrapped, &claims)?;
        Ok(asking.form.wrapped(&handle, &claims.operation, ttl))
    }

    /// The tokens of agents, for this request.
    pub(super) fn tokens<'s>(&'s self, asking: Asking<'s>) -> CallTokens<'s> {
        self.state.vault.tokens.by(&self.snapshot.vault.child_tokens, Some(asking.correlation_id))
    }

    /// The records of leases, as they are kept for this request.
    fn books<'s>(&'s self, asking: Asking<'s>) -> Books<'s> {
        Books { layout: &self.snapshot.vault.layout, correlation: Some(asking.correlation_id) }
    }

    async fn ask_about(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        wrapping_token: Option<Secret>,
        request: VaultRequest,
    ) -> Result<Answer, Refusal> {
        let vault = &self.state.vault;
        let envelope = Envelope { namespace: Some(&agent.namespace), ..self.envelope(asking) };
        let Some(token) = wrapping_token else { return vault.own.ask(Ok(request), envelope).await };
        let limit = self.snapshot.limits.bounds.answer.saturating_mul(2);
        Ok(vault.upstream.ask(request, Envelope { token: Some(&token), limit, ..envelope }).await?)
    }
}
