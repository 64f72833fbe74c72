//! The gate's own login: made, renewed after two thirds of its lifetime, and made again when renewal
//! fails.

mod failure;
mod file;

use std::mem::discriminant;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use filters::path::PathProblem;
use filters::secret::Secret;
use filters::vault::{VaultRequest, control};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::{Login, SignedToken};
use crate::exchange::{Answer, Envelope, Patience, Upstream};
use crate::telemetry::{LoginCounts, LoginFacts};

use super::clock::epoch_seconds;
use failure::{LONGEST, LoginFailure, Pauses};

/// Pause between two looks for replaced credentials.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of a login or a renewal, so that one hung connection does not hold it up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time for ending a login.
const LEAVE: Duration = Duration::from_secs(2);

/// A token of the gate's own.
#[derive(Debug)]
pub struct GateLogin {
    /// The token.
    pub token: Secret,
    /// 1 for the first login, one more for each that follows.
    pub generation: u64,
}

/// The state of the login.
pub struct LoginState {
    method: ArcSwap<Login>,
    upstream: Arc<Upstream>,
    current: ArcSwapOption<GateLogin>,
    last: ArcSwap<LastAttempt>,
    generations: AtomicU64,
    wanted: Notify,
    counts: LoginCounts,
    /// The end of the token, in seconds since the epoch; 0 where it never ends.
    ends: AtomicU64,
    /// True while Vault is asked for a login.
    asking: AtomicBool,
    /// Notified when refused credentials are worth another try.
    again: watch::Sender<()>,
}

/// The result of a login or a renewal.
struct LoginGrant {
    token: Secret,
    /// Its time from now; `None` where it never ends.
    lifetime: Option<Duration>,
    renewable: bool,
}

#[derive(Deserialize)]
struct LoginAnswer {
    auth: LoginAuth,
}

#[derive(Deserialize)]
struct LoginAuth {
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
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// The credentials of one attempt.
struct Presented {
    /// The content of the file, where there is one.
    secret: Option<Secret>,
    /// The number of the certificate that connections had: [`Upstream::presents`].
    certificate: u64,
}

/// The result of the last attempt.
struct LastAttempt {
    failed: LoginFailure,
    /// The time of the next attempt.
    next: Option<Instant>,
}

impl LoginState {
    /// Nothing is asked before [`LoginState::run`].
    #[must_use]
    pub fn new(method: Login, upstream: Arc<Upstream>) -> Self {
        Self {
            method: ArcSwap::from_pointee(method),
            upstream,
            current: ArcSwapOption::empty(),
            last: ArcSwap::from_pointee(LastAttempt { failed: LoginFailure::Nothing, next: None }),
            generations: AtomicU64::new(0),
            wanted: Notify::new(),
            counts: LoginCounts::default(),
            ends: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            again: watch::Sender::new(()),
        }
    }

    /// The login, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<GateLogin>> {
        self.current.load_full()
    }

    /// The method by which the gate is logged in, or the reason why it is not and the time of the next
    /// attempt, for operators.
    #[must_use]
    pub fn detail(&self) -> String {
        let left = self.last.load().next.map(|next| next.saturating_duration_since(Instant::now()).as_secs());
        match left.filter(|seconds| *seconds > 0) {
            Some(seconds) => {
                format!("{}; tried again in {seconds} s, with new credentials or on SIGHUP", self.reason())
            }
            None => self.reason(),
        }
    }

    /// The method by which the gate is logged in, or the reason why it is not.
    #[must_use]
    pub fn reason(&self) -> String {
        let (name, is_in) = (self.method.load().name(), self.current.load().is_some());
        match (&self.last.load().failed, is_in) {
            (LoginFailure::Nothing, true) => format!("logged in by {name}"),
            (failed, true) => format!("logged in by {name}, which would not work again: {failed}"),
            (none @ LoginFailure::NoCredentials, false) => none.to_string(),
            (failed, false) => format!("not logged in by {name}: {failed}"),
        }
    }

    /// The facts for metrics.
    #[must_use]
    pub fn facts(&self) -> LoginFacts<'_> {
        let is_in = self.current.load().is_some();
        let ends = if is_in { self.ends.load(Ordering::Relaxed) } else { 0 };
        LoginFacts { is_in, ends, counts: &self.counts }
    }

    /// True where the credentials were refused, so that the next attempt is not soon.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.current.load().is_none() && self.last.load().failed.is_final()
    }

    /// True where Vault has been asked for a login and has not answered yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.asking.load(Ordering::Relaxed)
    }

    /// Takes over the credentials that the configuration has now, for the next login. A configuration
    /// with another method changes nothing.
    pub fn take(&self, login: &Login) {
        let now = self.method.load();
        if discriminant(&**now) == discriminant(login) && **now != *login {
            self.method.store(Arc::new(login.clone()));
            self.try_again();
        }
    }

    /// Tries refused credentials again at once.
    pub fn try_again(&self) {
        self.again.send_replace(());
    }

    /// Ends the login in Vault where this gate has made it: nobody else has its token. Gives true where
    /// nothing is left of it.
    pub async fn leave(&self) -> bool {
        let made = match &**self.method.load() {
            Login::None | Login::Token(_) | Login::TokenFile(_) => false,
            Login::AppRole { .. } | Login::Jwt(_) | Login::Kubernetes(_) | Login::Certificate { .. } => true,
        };
        let (true, Some(login)) = (made, self.current.swap(None)) else { return true };
        let Ok(request) = control::revoke_self() else { return false };
        let patience = Patience::Look(LEAVE);
        let envelope = Envelope { token: Some(&login.token), patience, ..Envelope::default() };
        self.upstream.ask(request, envelope).await.is_ok_and(|answer| answer.is_success())
    }

    /// Gives up the login of `generation`, whose token Vault no longer knows.
    pub fn reject(&self, generation: u64) {
        if self.current.load().as_ref().is_some_and(|login| login.generation == generation) {
            self.current.store(None);
            self.wanted.notify_one();
        }
    }

    /// Logs in and keeps the login alive, for ever.
    pub async fn run(&self) {
        let mut pauses = Pauses::default();
        loop {
            let mut again = self.again.subscribe();
            let method = self.method.load_full();
            let presented = match self.present(&method).await {
                Ok(presented) => presented,
                Err(failed) => {
                    let pause = pauses.after(&failed, &method);
                    self.tell(failed, &method, pause);
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            self.asking.store(true, Ordering::Relaxed);
            let outcome = self.login(&method, &presented).await;
            match &outcome {
                Ok(grant) => self.publish(grant, &method),
                Err(_) => _ = self.counts.failed.fetch_add(1, Ordering::Relaxed),
            }
            self.asking.store(false, Ordering::Relaxed);
            match outcome {
                Ok(grant) => {
                    let begun = Instant::now();
                    self.keep(grant, &method, &presented).await;
                    // A login that is lost again at once is not made again and again.
                    match begun.elapsed() {
                        kept if kept > LONGEST => pauses = Pauses::default(),
                        _ => tokio::time::sleep(pauses.short()).await,
                    }
                }
                Err(failed) => {
                    let pause = pauses.after(&failed, &method);
                    self.tell(failed, &method, pause);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.replaced(&method, &presented) => pauses = Pauses::default(),
                        _ = again.changed() => {}
                    }
                }
            }
        }
    }

    /// Reads the credentials of the next attempt.
    async fn present(&self, method: &Login) -> Result<Presented, LoginFailure> {
        let secret = match method {
            Login::None => {
                self.last.store(Arc::new(LastAttempt { failed: LoginFailure::NoCredentials, next: None }));
                // Nothing can be done without credentials.
                return std::future::pending().await;
            }
            Login::TokenFile(file)
            | Login::Jwt(SignedToken { file, .. })
            | Login::Kubernetes(SignedToken { file, .. }) => Some(read_file(file).await?),
            Login::Token(_) | Login::AppRole { .. } | Login::Certificate { .. } => None,
        };
        Ok(Presented { secret, certificate: self.upstream.presents() })
    }

    /// Logs why there is no login; the same reason in a row once.
    fn tell(&self, failed: LoginFailure, method: &Login, pause: Duration) {
        if self.last.load().failed != failed {
            let seconds = pause.as_secs();
            tracing::warn!(method = method.name(), %failed, seconds, "the gate cannot log in to Vault; it tries again");
        }
        self.last.store(Arc::new(LastAttempt { failed, next: Some(Instant::now() + pause) }));
    }

    /// Makes the token that of the gate; one that is known already keeps its generation.
    fn publish(&self, grant: &LoginGrant, method: &Login) {
        self.last.store(Arc::new(LastAttempt { failed: LoginFailure::Nothing, next: None }));
        self.counts.made.fetch_add(1, Ordering::Relaxed);
        self.note_end(grant);
        if self.current.load().as_ref().is_some_and(|login| login.token == grant.token) {
            return;
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Some(Arc::new(GateLogin { token: grant.token.clone(), generation })));
        tracing::info!(generation, method = method.name(), "the gate is logged in to Vault");
    }

    fn note_end(&self, grant: &LoginGrant) {
        let ends = grant.lifetime.map_or(0, |lifetime| epoch_seconds() + lifetime.as_secs());
        self.ends.store(ends, Ordering::Relaxed);
    }

    /// Renews the login until renewal fails, the login ends, somebody rejects it, or there are other
    /// credentials.
    async fn keep(&self, mut grant: LoginGrant, method: &Login, presented: &Presented) {
        let replaced = async {
            match method {
                Login::TokenFile(_) => self.replaced(method, presented).await,
                _ => std::future::pending().await,
            }
        };
        let mut replaced = pin!(replaced);
        loop {
            let due = grant.lifetime.map(|lifetime| lifetime.mul_f64(2.0 / 3.0).max(Duration::from_millis(500)));
            tokio::select! {
                () = sleep_for(due) => {}
                () = self.wanted.notified() => return,
                () = &mut replaced => return,
            }
            if !grant.renewable {
                return;
            }
            match self.renew(method).await {
                Ok(renewed) => {
                    self.counts.renewed.fetch_add(1, Ordering::Relaxed);
                    self.note_end(&renewed);
                    // One that gives much less than before nears the longest lifetime: log in anew.
                    if !is_worth(&renewed, &grant) {
                        return;
                    }
                    grant = renewed;
                }
                Err(failed) => {
                    self.counts.unrenewed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(method = method.name(), %failed, "the gate cannot renew its login");
                    return;
                }
            }
        }
    }

    /// Waits until there are other credentials than `presented`; for ever where nobody replaces them.
    async fn replaced(&self, method: &Login, presented: &Presented) {
        loop {
            tokio::time::sleep(LOOK).await;
            let others = match method {
                Login::TokenFile(file)
                | Login::Jwt(SignedToken { file, .. })
                | Login::Kubernetes(SignedToken { file, .. }) => {
                    // A file that is away or half written changes nothing.
                    read_file(file).await.is_ok_and(|found| presented.secret.as_ref() != Some(&found))
                }
                Login::Certificate { .. } => self.upstream.presents() != presented.certificate,
                Login::None | Login::Token(_) | Login::AppRole { .. } => return std::future::pending().await,
            };
            if others {
                return;
            }
        }
    }

    async fn login(&self, method: &Login, presented: &Presented) -> Result<LoginGrant, LoginFailure> {
        let secret = || presented.secret.clone().ok_or(LoginFailure::NoCredentials);
        let request = match method {
            Login::None => return Err(LoginFailure::NoCredentials),
            Login::Token(token) => return self.look_up(token.clone(), method).await,
            Login::TokenFile(_) => return self.look_up(secret()?, method).await,
            Login::AppRole { mount, role_id, secret_id } => control::login_approle(mount, role_id, secret_id),
            Login::Jwt(SignedToken { mount, role, .. }) | Login::Kubernetes(SignedToken { mount, role, .. }) => {
                control::login_jwt(mount, role.as_deref(), &secret()?)
            }
            Login::Certificate { mount, role } => control::login_certificate(mount, role.as_deref()),
        };
        read::<LoginAnswer>(&self.ask(request, None, method).await?).map(LoginGrant::of)
    }

    /// Looks up a token that somebody else made.
    async fn look_up(&self, token: Secret, method: &Login) -> Result<LoginGrant, LoginFailure> {
        let answer = self.ask(control::lookup_self(), Some(&token), method).await?;
        let lookup: LookupAnswer = read(&answer)?;
        let lifetime = (lookup.data.ttl > 0).then(|| Duration::from_secs(lookup.data.ttl));
        Ok(LoginGrant { token, lifetime, renewable: lookup.data.renewable })
    }

    async fn renew(&self, method: &Login) -> Result<LoginGrant, LoginFailure> {
        let login = self.current.load_full().ok_or(LoginFailure::Unreachable)?;
        let answer = self.ask(control::renew_self(), Some(&login.token), method).await?;
        read::<LoginAnswer>(&answer).map(LoginGrant::of)
    }

    /// Asks once: Vault may count logins that it refuses.
    async fn ask(
        &self,
        request: Result<VaultRequest, PathProblem>,
        token: Option<&Secret>,
        method: &Login,
    ) -> Result<Answer, LoginFailure> {
        let request = request.map_err(|_| LoginFailure::Nonsense)?;
        let envelope = Envelope { token, patience: Patience::For(PATIENCE), ..Envelope::default() };
        match self.upstream.ask(request, envelope).await {
            Ok(answer) if answer.is_success() => Ok(answer),
            Ok(answer) => Err(LoginFailure::of(method, &answer)),
            Err(_) => Err(LoginFailure::Unreachable),
        }
    }
}

impl LoginGrant {
    fn of(answer: LoginAnswer) -> Self {
        let auth = answer.auth;
        let lifetime = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
        Self { token: Secret::new(auth.client_token), lifetime, renewable: auth.renewable }
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, LoginFailure> {
    serde_json::from_slice(&answer.body).map_err(|_| LoginFailure::Nonsense)
}

/// True where a renewal gives at least half of the lifetime before.
fn is_worth(renewed: &LoginGrant, before: &LoginGrant) -> bool {
    match (renewed.lifetime, before.lifetime) {
        (Some(now), Some(before)) => now >= before.mul_f64(0.5),
        (None, _) | (_, None) => true,
    }
}

async fn read_file(path: &Path) -> Result<Secret, LoginFailure> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || file::read(&path)).await;
    read.map_err(|_| LoginFailure::Nonsense)?.map_err(LoginFailure::File)
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
