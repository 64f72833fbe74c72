//! Access to Vault for commands, by the gate's configuration.

use std::sync::Arc;
use std::time::Duration;

use filters::audit::{ChainId, OwnId};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Login, Settings};
use crate::exchange::Upstream;

use super::health::Monitor;
use super::login::LoginState;
use super::own::OwnCalls;

/// Longest time of the login.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks for the login.
const SEEK: Duration = Duration::from_millis(20);
/// Longest time that an interrupted command waits for a login that is under way.
const SETTLE: Duration = Duration::from_secs(2);

/// The configuration's credentials for Vault are missing or refused; holds the reason in words for
/// people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLogin(pub String);

impl std::fmt::Display for NoLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs `work` with a login by the gate's own configuration; an operator's VAULT_TOKEN makes it the
/// operator's. A login that is made for `work` ends with it, also where it fails or is interrupted.
///
/// # Errors
/// [`NoLogin`], and the errors of `work`.
pub async fn logged_in<T, E: From<NoLogin>>(
    settings: &Settings,
    work: impl AsyncFnOnce(&OwnCalls) -> Result<T, E>,
) -> Result<T, E> {
    if matches!(settings.login, Login::None) {
        return Err(NoLogin("the configuration has no credentials for Vault".to_owned()).into());
    }
    let id = OwnId::Command(ChainId::new(crate::random::u64()));
    let upstream = Arc::new(Upstream::new(settings.upstream.clone(), id).map_err(NoLogin)?);
    upstream.refresh().await.map_err(NoLogin)?;
    let login = Arc::new(LoginState::new(settings.login.clone(), Arc::clone(&upstream)));
    let own = OwnCalls::new(Arc::clone(&upstream), Arc::clone(&login));
    let working = async {
        let waiting = async {
            while login.current().is_none() && !login.is_refused() {
                tokio::time::sleep(SEEK).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        if login.current().is_none() {
            let within = if waited.is_err() { format!(" within {PATIENCE:?}") } else { String::new() };
            let why = login.reason();
            return Err(NoLogin(format!("Vault has not accepted the credentials{within}: {why}")).into());
        }
        Monitor::new(Arc::clone(&upstream)).ask().await;
        work(&own).await
    };
    let outcome = tokio::select! {
        outcome = working => outcome,
        () = login.run() => Err(NoLogin(login.reason()).into()),
        () = interrupted(&login) => Err(NoLogin("interrupted".to_owned()).into()),
    };
    // The token has the gate's power: it must not outlive the command.
    if !login.leave().await {
        eprintln!("portcullis: the token of this login could not be revoked; it ends by itself");
    }
    outcome
}

/// Waits for a signal that ends the command; a login that is under way then is still waited for,
/// since its token could not be revoked otherwise.
async fn interrupted(login: &LoginState) {
    let of = |kind| signal(kind).ok();
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(of);
    let [Some(mut interrupt), Some(mut terminate), Some(mut hangup)] = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    let settled = async {
        while login.is_under_way() {
            tokio::time::sleep(SEEK).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE, settled).await;
}
