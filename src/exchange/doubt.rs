//! Answers that leave open whether Vault knows the token.

use std::time::Duration;

use filters::secret::{Digest, Secret};
use filters::vault::{Trouble, is_doubtful, trouble};
use moka::future::Cache;

use super::Answer;

/// The time for a token to be looked up.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The time for which one look counts for everybody who asks with that token.
const HOLDS: Duration = Duration::from_secs(1);
/// Most tokens whose looks are remembered.
const TOKENS: u64 = 10_000;

/// Findings on tokens in doubt: true for one that Vault no longer knows.
pub(super) struct Doubts(Cache<Digest, bool>);

impl Default for Doubts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(TOKENS).time_to_live(HOLDS).build())
    }
}

impl Doubts {
    /// True where the answer says that Vault does not know the token, or leaves that open and the look
    /// `is_gone` says so.
    pub(super) async fn deny(
        &self,
        token: Option<&Secret>,
        answer: &Answer,
        is_gone: impl Future<Output = bool>,
    ) -> bool {
        if trouble(answer.status, &answer.body) == Trouble::InvalidToken {
            return true;
        }
        match token {
            Some(token) if is_doubtful(answer.status, &answer.body) => {
                Box::pin(self.0.get_with(token.digest(), is_gone)).await
            }
            _ => false,
        }
    }
}

/// True where a token that was to look itself up is not known.
pub(super) fn is_unknown(answer: &Answer) -> bool {
    trouble(answer.status, &answer.body) == Trouble::InvalidToken || is_doubtful(answer.status, &answer.body)
}
