//! Vault, as whoever runs a command of the gate's configuration sees it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Login, Settings};
use crate::exchange::Upstream;

use super::{LoginState, OwnCalls};

/// How long the login may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The configuration's credentials for Vault are missing or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLogin;

/// Runs `work` with a login by the gate's own configuration, which is an
/// operator's where its VAULT_TOKEN is.
///
/// # Errors
/// [`NoLogin`], and what `work` says.
pub async fn logged_in<T, E: From<NoLogin>>(
    settings: &Settings,
    work: impl AsyncFnOnce(&Arc<Upstream>, &OwnCalls) -> Result<T, E>,
) -> Result<T, E> {
    if matches!(settings.login, Login::None) {
        return Err(NoLogin.into());
    }
    let upstream = Arc::new(Upstream::new(settings.upstream.clone()).map_err(|_| NoLogin)?);
    upstream.resolve().await.map_err(|_| NoLogin)?;
    let login = Arc::new(LoginState::new(settings.login.clone(), Arc::clone(&upstream)));
    let own = OwnCalls::new(Arc::clone(&upstream), Arc::clone(&login));
    let working = async {
        let waiting = async {
            while login.current().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| NoLogin)?;
        work(&upstream, &own).await
    };
    tokio::select! {
        outcome = working => outcome,
        () = login.run() => Err(NoLogin.into()),
    }
}
