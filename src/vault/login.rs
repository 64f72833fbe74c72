//! The gate's own login: made, renewed at two thirds of its life, made again
//! when renewal fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filters::path::PathProblem;
use filters::secret::Secret;
use filters::vault::{VaultRequest, control};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::config::Login;
use crate::exchange::{Answer, Envelope, Upstream};

use super::ANSWER_LIMIT;

/// First pause after a failed login; doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest pause, so that the gate is back within a second of Vault.
const LONGEST: Duration = Duration::from_millis(800);

/// A token of the gate's own.
#[derive(Debug)]
pub struct GateLogin {
    /// The token.
    pub token: Secret,
    /// 1 for the first login, one more for each that follows.
    pub generation: u64,
}

/// The state of the login, shared with everybody who needs it.
pub struct LoginState {
    method: Login,
    upstream: Arc<Upstream>,
    current: ArcSwapOption<GateLogin>,
    generations: AtomicU64,
    wanted: Notify,
}

/// What a login or renewal gave.
struct Grant {
    token: Option<Secret>,
    /// `None` where it never ends.
    lifetime: Option<Duration>,
    renewable: bool,
}

#[derive(Deserialize)]
struct LoginAnswer {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct LookupAnswer {
    data: Lookup,
}

#[derive(Deserialize)]
struct Lookup {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// Why there is no login, for the log and `/readyz`.
#[derive(Clone, Copy)]
enum Failed {
    Unreachable,
    Refused(u16),
    Nonsense,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("Vault does not answer"),
            Self::Refused(status) => write!(f, "Vault answers {status}"),
            Self::Nonsense => f.write_str("Vault's answer cannot be understood"),
        }
    }
}

impl LoginState {
    /// Nothing is asked before [`LoginState::run`].
    #[must_use]
    pub fn new(method: Login, upstream: Arc<Upstream>) -> Self {
        Self {
            method,
            upstream,
            current: ArcSwapOption::empty(),
            generations: AtomicU64::new(0),
            wanted: Notify::new(),
        }
    }

    /// The login, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<GateLogin>> {
        self.current.load_full()
    }

    /// One sentence for operators, where there is no login.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match (&self.method, self.current.load().is_some()) {
            (_, true) => "logged in",
            (Login::None, false) => "no credentials: set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID",
            (Login::Token(_), false) => "Vault has not accepted the token",
            (Login::AppRole { .. }, false) => "Vault has not accepted the AppRole",
        }
    }

    /// Says that Vault no longer knows the token of `generation`.
    pub fn reject(&self, generation: u64) {
        if self.current.load().as_ref().is_some_and(|login| login.generation == generation) {
            self.current.store(None);
            self.wanted.notify_one();
        }
    }

    /// Logs in and keeps the login alive, for ever.
    pub async fn run(&self) {
        let mut pause = SHORTEST;
        loop {
            match self.login().await {
                Ok(grant) => {
                    pause = SHORTEST;
                    self.publish(&grant);
                    self.keep(grant).await;
                }
                Err(Failed::Unreachable) if matches!(self.method, Login::None) => {
                    // Without credentials there is nothing to do but to wait for ever.
                    std::future::pending::<()>().await;
                }
                Err(failed) => {
                    tracing::warn!(%failed, "the gate cannot log in to Vault");
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    fn publish(&self, grant: &Grant) {
        let token = match (&grant.token, &self.method) {
            (Some(token), _) | (None, Login::Token(token)) => token.clone(),
            (None, Login::AppRole { .. } | Login::None) => return,
        };
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Some(Arc::new(GateLogin { token, generation })));
        tracing::info!(generation, "the gate is logged in to Vault");
    }

    /// Renews until renewal fails, the login ends, or somebody rejects it.
    async fn keep(&self, mut grant: Grant) {
        loop {
            let Some(lifetime) = grant.lifetime else { return self.wanted.notified().await };
            let due = lifetime.mul_f64(2.0 / 3.0).max(Duration::from_millis(500));
            tokio::select! {
                () = tokio::time::sleep(due) => {}
                () = self.wanted.notified() => return,
            }
            if !grant.renewable {
                return;
            }
            match self.renew().await {
                // A renewal that gives less than before nears the longest life: log in anew.
                Ok(renewed) if renewed.lifetime.is_none_or(|now| now >= lifetime.mul_f64(0.5)) => grant = renewed,
                Ok(_) => return,
                Err(failed) => {
                    tracing::warn!(%failed, "the gate cannot renew its login");
                    return;
                }
            }
        }
    }

    async fn login(&self) -> Result<Grant, Failed> {
        match &self.method {
            Login::None => Err(Failed::Unreachable),
            Login::Token(token) => {
                let answer = self.ask(control::lookup_self(), Some(token)).await?;
                let lookup: LookupAnswer = read(&answer)?;
                let lifetime = (lookup.data.ttl > 0).then(|| Duration::from_secs(lookup.data.ttl));
                Ok(Grant { token: None, lifetime, renewable: lookup.data.renewable })
            }
            Login::AppRole { mount, role_id, secret_id } => {
                let answer = self.ask(control::login_approle(mount, role_id, secret_id), None).await?;
                read::<LoginAnswer>(&answer).map(Grant::of)
            }
        }
    }

    async fn renew(&self) -> Result<Grant, Failed> {
        let login = self.current.load_full().ok_or(Failed::Unreachable)?;
        let answer = self.ask(control::renew_self(), Some(&login.token)).await?;
        read::<LoginAnswer>(&answer).map(Grant::of)
    }

    async fn ask(&self, request: Result<VaultRequest, PathProblem>, token: Option<&Secret>) -> Result<Answer, Failed> {
        let request = request.map_err(|_| Failed::Nonsense)?;
        let envelope = Envelope { token, limit: ANSWER_LIMIT, ..Envelope::default() };
        match self.upstream.ask(&request, envelope).await {
            Ok(answer) if answer.status == 200 => Ok(answer),
            Ok(answer) => Err(Failed::Refused(answer.status)),
            Err(_) => Err(Failed::Unreachable),
        }
    }
}

impl Grant {
    fn of(answer: LoginAnswer) -> Self {
        let auth = answer.auth;
        let lifetime = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
        Self { token: Some(Secret::new(auth.client_token)), lifetime, renewable: auth.renewable }
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Failed> {
    serde_json::from_slice(&answer.body).map_err(|_| Failed::Nonsense)
}

/// Between half and the whole of `pause`, so that gates do not log in in step.
fn jittered(pause: Duration) -> Duration {
    let noise = crate::random::u64() as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + noise / 2.0)
}
