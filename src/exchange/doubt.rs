//! Answers that leave open whether Vault knows the token.

use std::time::Duration;

use filters::secret::Digest;
use filters::vault::{Trouble, control, is_doubtful, trouble};
use moka::future::Cache;

use super::{Answer, Envelope, Patience, Upstream};

/// The time for a token to be looked up.
const LOOK: Duration = Duration::from_secs(1);
/// The time for which one look counts for everybody who asks with that token.
const HOLDS: Duration = Duration::from_secs(1);
/// Most tokens whose looks are remembered.
const TOKENS: u64 = 10_000;

/// Findings on tokens in doubt: true for one that Vault no longer knows.
pub(super) type Doubts = Cache<Digest, bool>;

pub(super) fn doubts() -> Doubts {
    Cache::builder().max_capacity(TOKENS).time_to_live(HOLDS).build()
}

impl Upstream {
    /// True where Vault does not know the token that this answer was asked for with. Where its words
    /// leave that open, the token is looked up, once for all who ask within a second.
    pub async fn denies_token(&self, envelope: Envelope<'_>, answer: &Answer) -> bool {
        if trouble(answer.status, &answer.body) == Trouble::InvalidToken {
            return true;
        }
        match envelope.token {
            Some(token) if is_doubtful(answer.status, &answer.body) => {
                Box::pin(self.doubts.get_with(token.digest(), self.is_gone(envelope))).await
            }
            _ => false,
        }
    }

    /// True where Vault does not find the token. A token that may not look itself up is known.
    async fn is_gone(&self, envelope: Envelope<'_>) -> bool {
        let Ok(request) = control::lookup_self() else { return false };
        let Envelope { lane, token, namespace, .. } = envelope;
        let envelope = Envelope { lane, token, namespace, patience: Patience::Look(LOOK), ..Envelope::default() };
        let gone = |answer: Answer| {
            let trouble = trouble(answer.status, &answer.body);
            trouble == Trouble::InvalidToken || is_doubtful(answer.status, &answer.body)
        };
        self.ask(request, envelope).await.is_ok_and(gone)
    }
}
