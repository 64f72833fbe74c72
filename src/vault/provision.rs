//! Whether Vault has what agents' tokens are made by, looked at in the background: a Vault that lacks
//! it answers, and is not away.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use filters::vault::is_refusal;
use filters::vault::provision::{Lack, Making, lack, try_role};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::own::{Along, OwnCalls};

/// How often it is looked at while nothing is missing.
const LOOK: Duration = Duration::from_secs(5);
/// How often while something is, so that the gate serves within a second or two of its mend.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two looks, however often one is wanted.
const LEAST: Duration = Duration::from_millis(250);
/// How often the gate's login is looked for before there is one.
const SEEK: Duration = Duration::from_millis(10);

/// What was found last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Vault has not been asked, or has not said.
    Nothing,
    /// Nothing is missing.
    Whole,
    /// What is missing, and what mends it.
    Missing(String),
}

/// Looks whether tokens can be made; no look makes one.
pub struct Provision {
    own: OwnCalls,
    found: ArcSwap<Found>,
    wanted: Notify,
}

impl Provision {
    /// Nothing is asked before [`Provision::run`].
    #[must_use]
    pub fn new(own: OwnCalls) -> Self {
        Self { own, found: ArcSwap::from_pointee(Found::Nothing), wanted: Notify::new() }
    }

    /// Whether nothing was missing at the last look.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        **self.found.load() == Found::Whole
    }

    /// What was missing, and what mends it, for operators.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &**self.found.load() {
            Found::Missing(problem) => Some(problem.clone()),
            Found::Nothing | Found::Whole => None,
        }
    }

    /// Has it looked at at once: Vault has just made no token.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Looks for ever; `making` gives `None` where the gate makes no tokens.
    pub async fn run(&self, making: impl Fn() -> Option<Making>) {
        loop {
            self.look(making().as_ref()).await;
            let pause = match (self.own.is_logged_in(), self.is_whole()) {
                (false, _) => SEEK,
                (true, false) => RETRY,
                (true, true) => LOOK,
            };
            sleep(pause.min(LEAST)).await;
            let _ = timeout(pause.saturating_sub(LEAST), self.wanted.notified()).await;
        }
    }

    async fn look(&self, making: Option<&Making>) {
        let Some(making) = making else { return self.found.store(Arc::new(Found::Whole)) };
        // Where there is no answer of Vault's to this, all stays as it was found.
        let Ok(answer) = self.own.ask(try_role(making), Along::look()).await else { return };
        let found = match lack(answer.status, &answer.body) {
            Some(lack) => Found::Missing(mend(lack, &making.role)),
            None if answer.status == 200 || answer.status == 400 && is_refusal(&answer.body) => Found::Whole,
            None => return,
        };
        let before = self.found.swap(Arc::new(found.clone()));
        match (&*before, &found) {
            (before, found) if before == found => {}
            (_, Found::Missing(problem)) => tracing::error!(problem, "Vault is not provisioned for this gate"),
            (Found::Missing(_), _) => tracing::info!("Vault is provisioned for this gate"),
            _ => {}
        }
    }
}

/// What is missing, and what an operator does about it.
pub(super) fn mend(lack: Lack, role: &str) -> String {
    let sync = "`portcullis policy --sync --yes` with an operator's VAULT_TOKEN writes it";
    match lack {
        Lack::Role => format!("Vault has no token role `{role}`: {sync}"),
        Lack::Leave => format!("the token role `{role}` does not allow the agents' policies, or their aliases: {sync}"),
        Lack::Right => format!(
            "the policy of the gate's own login does not allow `auth/token/create/{role}`: write it as \
             `portcullis-gate.hcl` has it, which local-vault/provision.sh does"
        ),
        Lack::Maker => {
            "the gate's own login is a batch token, or one of limited uses, which makes no tokens: let its role give \
             service tokens"
                .to_owned()
        }
    }
}
