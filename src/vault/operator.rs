//! Vault, as whoever runs a command of the gate's configuration sees it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Login, Settings};
use crate::exchange::Upstream;

use super::{LoginState, OwnCalls};

/// How long the login may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The configuration's credentials for Vault are missing or refused: why, in
/// words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLogin(pub String);

impl std::fmt::Display for NoLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

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
        return Err(NoLogin("the configuration has no credentials for Vault".to_owned()).into());
    }
    let upstream = Arc::new(Upstream::new(settings.upstream.clone()).map_err(NoLogin)?);
    upstream.refresh().await.map_err(NoLogin)?;
    let login = Arc::new(LoginState::new(settings.login.clone(), Arc::clone(&upstream)));
    let own = OwnCalls::new(Arc::clone(&upstream), Arc::clone(&login));
    let working = async {
        let waiting = async {
            while login.current().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| {
            NoLogin(format!("Vault has not accepted the credentials within {PATIENCE:?}: {}", login.detail()))
        })?;
        work(&upstream, &own).await
    };
    tokio::select! {
        outcome = working => outcome,
        () = login.run() => Err(NoLogin(login.detail()).into()),
    }
}
