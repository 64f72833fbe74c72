//! The gate's own login: made, renewed at two thirds of its life, made again
//! when renewal fails.

mod file;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use filters::path::PathProblem;
use filters::secret::Secret;
use filters::vault::{VaultRequest, control};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::config::{Login, SignedToken};
use crate::exchange::{Answer, Envelope, Upstream};

use super::ANSWER_LIMIT;
use file::FileProblem;

/// First pause after a failed login; doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest pause, so that the gate is back within a second of Vault.
const LONGEST: Duration = Duration::from_millis(800);
/// How often a file of a token is looked at.
const LOOK: Duration = Duration::from_secs(1);

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
    /// Why there was none the last time.
    failed: ArcSwap<Failed>,
    generations: AtomicU64,
    wanted: Notify,
}

/// What a login or renewal gave.
struct Grant {
    token: Secret,
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
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failed {
    /// Nothing has failed.
    Nothing,
    NoCredentials,
    File(FileProblem),
    Unreachable,
    /// The status, and what it means where that is known.
    Refused(u16, Option<&'static str>),
    Nonsense,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("a login is under way"),
            Self::NoCredentials => {
                f.write_str("no credentials: set VAULT_ROLE_ID and VAULT_SECRET_ID, or another way to log in")
            }
            Self::File(problem) => problem.fmt(f),
            Self::Unreachable => f.write_str("Vault does not answer"),
            Self::Refused(status, why) => {
                match status {
                    400 => f.write_str("Vault does not accept it (400)")?,
                    403 => f.write_str("Vault denies it (403)")?,
                    404 => f.write_str("Vault has no such auth method (404)")?,
                    _ => write!(f, "Vault answers {status}")?,
                }
                why.map_or(Ok(()), |why| write!(f, ": {why}"))
            }
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
            failed: ArcSwap::from_pointee(Failed::Nothing),
            generations: AtomicU64::new(0),
            wanted: Notify::new(),
        }
    }

    /// The login, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<GateLogin>> {
        self.current.load_full()
    }

    /// How the gate is logged in, or why it is not; for operators.
    #[must_use]
    pub fn detail(&self) -> String {
        let (name, is_in) = (self.method.name(), self.current.load().is_some());
        match (&**self.failed.load(), is_in) {
            (Failed::Nothing, true) => format!("logged in by {name}"),
            (failed, true) => format!("logged in by {name}, which would not work again: {failed}"),
            (none @ Failed::NoCredentials, false) => none.to_string(),
            (failed, false) => format!("not logged in by {name}: {failed}"),
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
                Err(Failed::NoCredentials) => {
                    self.failed.store(Arc::new(Failed::NoCredentials));
                    // There is nothing to do but to wait for ever.
                    std::future::pending::<()>().await;
                }
                Err(failed) => {
                    self.tell(failed);
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    /// Says why there is no login; the same reason in a row only once.
    fn tell(&self, failed: Failed) {
        if **self.failed.load() != failed {
            tracing::warn!(method = self.method.name(), %failed, "the gate cannot log in to Vault");
            self.failed.store(Arc::new(failed));
        }
    }

    /// A token that is known already stays what it is.
    fn publish(&self, grant: &Grant) {
        self.failed.store(Arc::new(Failed::Nothing));
        if self.current.load().as_ref().is_some_and(|login| login.token == grant.token) {
            return;
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Some(Arc::new(GateLogin { token: grant.token.clone(), generation })));
        tracing::info!(generation, method = self.method.name(), "the gate is logged in to Vault");
    }

    /// Renews until renewal fails, the login ends, somebody rejects it or
    /// gives another.
    async fn keep(&self, mut grant: Grant) {
        loop {
            let due = grant.lifetime.map(|lifetime| lifetime.mul_f64(2.0 / 3.0).max(Duration::from_millis(500)));
            tokio::select! {
                () = sleep_for(due) => {}
                () = self.wanted.notified() => return,
                () = self.replaced(&grant.token) => return,
            }
            if !grant.renewable {
                return;
            }
            match self.renew().await {
                // A renewal that gives less than before nears the longest life: log in anew.
                Ok(renewed) if is_worth(&renewed, &grant) => grant = renewed,
                Ok(_) => return,
                Err(failed) => {
                    tracing::warn!(method = self.method.name(), %failed, "the gate cannot renew its login");
                    return;
                }
            }
        }
    }

    /// Waits until the file of the token holds another one than `token`; for
    /// ever where there is no such file.
    async fn replaced(&self, token: &Secret) {
        let Login::TokenFile(path) = &self.method else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK).await;
            // A file that is away or half written leaves the login as it is.
            if read_file(path).await.is_ok_and(|found| found != *token) {
                return;
            }
        }
    }

    async fn login(&self) -> Result<Grant, Failed> {
        match &self.method {
            Login::None => Err(Failed::NoCredentials),
            Login::Token(token) => self.look_up(token.clone()).await,
            Login::TokenFile(path) => self.look_up(read_file(path).await?).await,
            Login::AppRole { mount, role_id, secret_id } => {
                let answer = self.ask(control::login_approle(mount, role_id, secret_id), None).await?;
                read::<LoginAnswer>(&answer).map(Grant::of)
            }
            Login::Jwt(SignedToken { mount, role, file }) | Login::Kubernetes(SignedToken { mount, role, file }) => {
                let jwt = read_file(file).await?;
                let answer = self.ask(control::login_jwt(mount, role.as_deref(), &jwt), None).await?;
                read::<LoginAnswer>(&answer).map(Grant::of)
            }
            Login::Certificate { mount, role } => {
                let answer = self.ask(control::login_certificate(mount, role.as_deref()), None).await?;
                read::<LoginAnswer>(&answer).map(Grant::of)
            }
        }
    }

    /// What Vault knows of a token that somebody else made.
    async fn look_up(&self, token: Secret) -> Result<Grant, Failed> {
        let answer = self.ask(control::lookup_self(), Some(&token)).await?;
        let lookup: LookupAnswer = read(&answer)?;
        let lifetime = (lookup.data.ttl > 0).then(|| Duration::from_secs(lookup.data.ttl));
        Ok(Grant { token, lifetime, renewable: lookup.data.renewable })
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
            Ok(answer) => Err(Failed::Refused(answer.status, control::login_refused(&answer.body))),
            Err(_) => Err(Failed::Unreachable),
        }
    }
}

impl Grant {
    fn of(answer: LoginAnswer) -> Self {
        let auth = answer.auth;
        let lifetime = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
        Self { token: Secret::new(auth.client_token), lifetime, renewable: auth.renewable }
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Failed> {
    serde_json::from_slice(&answer.body).map_err(|_| Failed::Nonsense)
}

/// Whether a renewal gave enough of what there was before.
fn is_worth(renewed: &Grant, before: &Grant) -> bool {
    match (renewed.lifetime, before.lifetime) {
        (Some(now), Some(before)) => now >= before.mul_f64(0.5),
        (None, _) | (_, None) => true,
    }
}

async fn read_file(path: &Path) -> Result<Secret, Failed> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || file::read(&path)).await;
    read.map_err(|_| Failed::Nonsense)?.map_err(Failed::File)
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Between half and the whole of `pause`, so that gates do not log in in step.
fn jittered(pause: Duration) -> Duration {
    let noise = crate::random::u64() as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + noise / 2.0)
}
