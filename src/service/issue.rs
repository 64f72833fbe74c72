//! What agents get handles of: leases and certificates, and what becomes of
//! them; wrapped answers, and their redemption.

use filters::decide::{Origin, Redeemed};
use filters::handle::{Purpose, StandsFor};
use filters::operation::{Entry, Redeem};
use filters::refusal::Refusal;
use filters::vault::{VaultRequest, is_nothing, is_refusal};
use serde::Deserialize;
use serde_json::Value;

use crate::exchange::{Answer, Envelope};
use crate::vault::{Accessor, Given, Issued, Wanted, epoch_seconds};

use super::call::{read, refusal};
use super::{Caller, Context};

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

impl Context<'_> {
    /// A lease with a token of its own.
    pub(super) async fn lease(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        origin: Origin,
        request: &VaultRequest,
    ) -> Result<Vec<u8>, Refusal> {
        self.check_circuit()?;
        let wanted = Wanted {
            identity: &caller.identity,
            profile: &self.snapshot.vault.child_tokens,
            settings: &self.snapshot.vault.leases,
            layout: &self.snapshot.vault.layout,
            correlation: caller.correlation_id,
            parcel: &self.parcel,
        };
        let vault = &self.state.vault;
        let Issued { answer, id, accessor, lasts, ends } = vault.leases.issue(wanted, &vault.tokens, request).await?;
        let claims = origin.claims(ends, StandsFor::Lease { id, accessor: accessor.text });
        let handle = self.seal(caller.agent(), Purpose::Lease, &claims)?;
        with(kind, &answer, &[("lease_id", handle.into()), ("lease_duration", lasts.into())])
    }

    /// A password that is used soon: with a token that outlives the agent's
    /// own, since the password ends with the token.
    pub(super) async fn password(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        request: &VaultRequest,
    ) -> Result<Vec<u8>, Refusal> {
        self.check_circuit()?;
        let leases = &self.snapshot.vault.leases;
        let seconds = leases.password_ttl;
        let vault = &self.state.vault;
        let token =
            vault.tokens.lease_token(&caller.identity, &self.snapshot.vault.child_tokens, leases, seconds).await?;
        let given = Given::Token { accessor: token.accessor.clone() };
        self.parcel.put(given.clone());
        let envelope = Envelope { token: Some(&token.token), for_agent: true, ..self.envelope(caller) };
        let answer = vault.upstream.ask(request, envelope).await?;
        if !answer.is_success() {
            // What cannot be ended now is tried again with the rest of the parcel.
            if vault.own.revoke(&token.accessor, self.envelope(caller)).await.is_ok() {
                self.parcel.remove(&given);
            }
        }
        read(kind, &answer)
    }

    /// A certificate that only this agent may revoke.
    pub(super) async fn issued_certificate(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        origin: Origin,
        request: &VaultRequest,
    ) -> Result<Vec<u8>, Refusal> {
        let answer = self.ask_vault(caller, request).await?;
        if !answer.is_success() {
            return read(kind, &answer);
        }
        let CertificateAnswer { data } = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
        let (serial, namespace) = (data.serial_number.clone(), caller.agent().namespace.clone());
        self.parcel.put(Given::Certificate { serial, namespace });
        let expires = data.expiration.unwrap_or_else(|| epoch_seconds() + LONGEST);
        let claims = origin.claims(expires, StandsFor::Certificate { serial: data.serial_number });
        let handle = self.seal(caller.agent(), Purpose::Certificate, &claims)?;
        with(kind, &answer, &[("handle", handle.into())])
    }

    /// Asks, with the gate's own token, about what the agent has a handle of.
    /// What Vault calls a bad request is something that is no longer there.
    pub(super) async fn redeem(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        redeemed: &Redeemed,
    ) -> Result<Vec<u8>, Refusal> {
        self.check_circuit()?;
        let answer = self.ask_about(caller, redeemed).await?;
        let (leases, layout) = (&self.state.vault.leases, &self.snapshot.vault.layout);
        let gone = !answer.is_success();
        match (redeemed.redeem, &redeemed.claims.stands_for) {
            (Redeem::RevokeLease, StandsFor::Lease { accessor, .. }) if !gone => {
                // The handle opens in the namespace only that the lease was made in.
                let agent = caller.agent();
                let accessor = Accessor { text: accessor.clone(), namespace: agent.namespace.clone() };
                leases.end(layout, &agent.id, &accessor).await?;
            }
            (Redeem::RenewLease(_), StandsFor::Lease { accessor, .. }) if !gone => {
                let renewed: RenewAnswer =
                    serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
                let now = epoch_seconds();
                let lasts = renewed.lease_duration.min(redeemed.claims.expires.saturating_sub(now));
                leases.last(layout, caller.agent(), accessor, now + lasts).await?;
                return with(kind, &answer, &[("lease_duration", lasts.into())]);
            }
            _ => {}
        }
        match answer.status {
            _ if !gone => read(kind, &answer),
            400 | 404 if is_refusal(&answer.body) || is_nothing(&answer.body) => Err(Refusal::NotFound),
            status => Err(refusal(status, &answer.body)),
        }
    }

    async fn ask_about(&self, caller: &Caller<'_>, redeemed: &Redeemed) -> Result<Answer, Refusal> {
        let vault = &self.state.vault;
        let Some(token) = redeemed.wrapping_token() else {
            return vault.own.ask(Ok(redeemed.request.clone()), self.envelope(caller)).await;
        };
        let limit = self.snapshot.limits.bounds.answer.saturating_mul(2);
        let envelope = Envelope { token: Some(&token), limit, ..self.envelope(caller) };
        Ok(vault.upstream.ask(&redeemed.request, envelope).await?)
    }
}

/// The answer, with what the gate adds itself.
fn with(kind: &'static Entry, answer: &Answer, given: &[(&str, Value)]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(answer.body.len() + 512);
    let mut projection = filters::shape::Projection::new(kind.shape);
    for (name, value) in given {
        projection.give(name, value, &mut out);
    }
    projection.push(&answer.body, &mut out)?;
    projection.finish(&mut out)?;
    Ok(out)
}
