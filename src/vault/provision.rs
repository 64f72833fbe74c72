//! A look, in the background, at the token roles and rights that agents' tokens are made by. A Vault
//! that lacks them is not away: it answers, and operators are told what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use filters::names::Namespace;
use filters::vault::is_refusal;
use filters::vault::provision::{Lack, Making, lack, try_role};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::exchange::Envelope;

use super::own::OwnCalls;

/// The pause between two looks while nothing is missing.
const LOOK: Duration = Duration::from_secs(5);
/// The pause while something is, so that the gate serves within a second or two of its mend.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two looks, however often one is wanted.
const LEAST: Duration = Duration::from_millis(250);
/// The pause before there is a login.
const SEEK: Duration = Duration::from_millis(10);

/// Most namespaces of one look; the next look takes the next ones.
const MOST: usize = 16;

/// The last finding.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// Vault has not been asked, or has not said.
    Nothing,
    /// Nothing is missing.
    Whole,
    /// The missing parts and their remedies, in some of the namespaces that were looked at, or in each.
    Missing { problem: String, everywhere: bool },
}

/// The missing parts of each namespace that has been heard of.
type Lacks = BTreeMap<Namespace, Option<String>>;

/// Finds out whether tokens can be made, without making one.
pub struct Provision {
    own: OwnCalls,
    found: ArcSwap<Finding>,
    wanted: Notify,
}

impl Provision {
    /// Nothing is asked before [`Provision::run`].
    #[must_use]
    pub fn new(own: OwnCalls) -> Self {
        Self { own, found: ArcSwap::from_pointee(Finding::Nothing), wanted: Notify::new() }
    }

    /// True where nothing was missing at the last look.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        **self.found.load() == Finding::Whole
    }

    /// True where tokens could be made in some namespace: the lack of one is not in the way of the others.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(**self.found.load(), Finding::Whole | Finding::Missing { everywhere: false, .. })
    }

    /// The missing parts and their remedies, for operators.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &**self.found.load() {
            Finding::Missing { problem, .. } => Some(problem.clone()),
            Finding::Nothing | Finding::Whole => None,
        }
    }

    /// Wakes [`Provision::run`]: Vault has just made no token.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Looks for ever at `makings`, one for each namespace; there are none where the gate makes no
    /// tokens.
    pub async fn run(&self, makings: impl Fn() -> Vec<Making>) {
        let (mut lacks, mut turn) = (Lacks::new(), 0_usize);
        loop {
            let makings = makings();
            lacks.retain(|namespace, _| makings.iter().any(|making| making.namespace == *namespace));
            for making in makings.iter().cycle().skip(turn).take(makings.len().min(MOST)) {
                self.look(making, &mut lacks).await;
            }
            turn = (turn + MOST).checked_rem(makings.len()).unwrap_or(0);
            if makings.is_empty() || !lacks.is_empty() {
                self.note(&lacks);
            }
            let pause = match (self.own.is_logged_in(), self.is_whole()) {
                (false, _) => SEEK,
                (true, false) => RETRY,
                (true, true) => LOOK,
            };
            sleep(pause.min(LEAST)).await;
            let _ = timeout(pause.saturating_sub(LEAST), self.wanted.notified()).await;
        }
    }

    async fn look(&self, making: &Making, lacks: &mut Lacks) {
        let namespace = &making.namespace;
        let envelope = Envelope { namespace: Some(namespace), ..Envelope::look() };
        // Without an answer of Vault's the last finding stays.
        let Ok(answer) = self.own.ask(try_role(making), envelope).await else { return };
        let found = match lack(answer.status, &answer.body) {
            Some(lack) => Some(self.mend(lack, &making.role, namespace)),
            None if answer.is_success() || answer.status == 400 && is_refusal(&answer.body) => None,
            None => return,
        };
        lacks.insert(namespace.clone(), found);
    }

    fn note(&self, lacks: &Lacks) {
        let problems: Vec<&str> = lacks.values().flatten().map(String::as_str).collect();
        let found = match problems.len() {
            0 => Finding::Whole,
            count => Finding::Missing { problem: problems.join("; "), everywhere: count == lacks.len() },
        };
        let before = self.found.swap(Arc::new(found.clone()));
        match (&*before, &found) {
            (before, found) if before == found => {}
            (_, Finding::Missing { problem, .. }) => {
                tracing::error!(problem, "Vault is not provisioned for this gate");
            }
            (Finding::Missing { .. }, _) => tracing::info!("Vault is provisioned for this gate"),
            _ => {}
        }
    }

    /// A sentence on what is missing in a namespace and what an operator does about it.
    pub(super) fn mend(&self, lack: Lack, role: &str, namespace: &Namespace) -> String {
        let sync = "`portcullis policy --sync --yes` with an operator's VAULT_TOKEN writes it";
        let below = namespace.below(self.own.namespace()).filter(|below| !below.is_empty());
        let within = if namespace.is_root() { String::new() } else { format!(" in {namespace}") };
        match (lack, below) {
            (Lack::Role, _) => format!("Vault has no token role `{role}`{within}: {sync}"),
            (Lack::Leave, _) => {
                format!("the token role `{role}`{within} does not allow the agents' policies, or their aliases: {sync}")
            }
            (Lack::Right, None) => format!(
                "the policy of the gate's own login does not allow `auth/token/create/{role}`: write it as \
                 `portcullis-gate.hcl` has it, which local-vault/provision.sh does"
            ),
            (Lack::Right, Some(below)) => format!(
                "the policy of the gate's own login does not allow `{below}/auth/token/create/{role}`, with `sudo`: \
                 write it as `portcullis policy --gate` prints it"
            ),
            (Lack::Maker, _) => {
                "the gate's own login is a batch token, or one of limited uses, which makes no tokens: let its role \
                 give service tokens"
                    .to_owned()
            }
            (Lack::Namespace, _) => {
                format!("Vault has no namespace {namespace}: make it, with the mounts that its agents are to use")
            }
        }
    }
}
