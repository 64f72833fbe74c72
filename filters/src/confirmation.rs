//! Confirmations: a call that its client's user is to allow first. It is sealed for the agent, and opened when the call
//! is made again: the same operation, with the same arguments, in time.
//!
//! A client answers for its user, and may do so by itself. What comes back proves that the client was asked, and not
//! that a person was.

use serde::{Deserialize, Serialize};

use crate::grants::Agent;
use crate::handle::{Binding, Closed, Keyring, Purpose};
use crate::operation::Entry;
use crate::refusal::Refusal;
use crate::secret::Digest;

/// Seconds for which a confirmation waits for its answer.
pub const LASTS: u64 = 300;

/// A call that waits for its confirmation, as it is sealed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    operation: Box<str>,
    /// The digest of its arguments, in hexadecimal digits.
    arguments: Box<str>,
    /// In seconds since the epoch.
    expires: u64,
}

/// The name of a confirmation that was answered, by which it is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmationId(Digest);

impl ConfirmationId {
    /// Lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.to_hex()
    }
}

impl Confirmation {
    /// The confirmation of a call that is made at `now`, in seconds since the epoch. The arguments count as they are
    /// written.
    #[must_use]
    pub fn of(entry: &Entry, arguments: &[u8], now: u64) -> Self {
        let arguments = Digest::of(arguments).to_hex().into();
        Self { operation: entry.spec.name.into(), arguments, expires: now.saturating_add(LASTS) }
    }

    /// Opens what `agent` was given, for a call that is made at `now`.
    ///
    /// # Errors
    /// [`Refusal::NotConfirmed`] for one that was not sealed for this agent and call, or has ended;
    /// [`Refusal::HandleKeyUnknown`] for one whose key may be known soon.
    pub fn open(
        state: &str,
        (keyring, agent): (&Keyring, &Agent),
        (entry, arguments): (&Entry, &[u8]),
        now: u64,
    ) -> Result<ConfirmationId, Refusal> {
        let sealed: Self =
            keyring.open(state, Binding { purpose: Purpose::Confirmation, agent }).map_err(|closed| match closed {
                Closed::Foreign => Refusal::NotConfirmed,
                Closed::Later => Refusal::HandleKeyUnknown,
            })?;
        let made = Self { expires: sealed.expires, ..Self::of(entry, arguments, now) };
        if sealed != made || now >= sealed.expires {
            return Err(Refusal::NotConfirmed);
        }
        Ok(ConfirmationId(Digest::of(state.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog;
    use crate::names::{AgentId, Namespace};
    use crate::quota::Terms;

    fn agent(name: &str) -> Agent {
        Agent {
            id: AgentId::parse(name).unwrap(),
            generation: 1,
            namespace: Namespace::default(),
            roles_policy: "".into(),
            tally: Arc::default(),
            roles: Vec::new(),
            limit: None,
            operations: Vec::new(),
            terms: Terms::default(),
        }
    }

    #[test]
    fn it_opens_for_the_same_agent_call_and_time_only() {
        let keyring = Keyring::new([(1, [7; 32])]);
        let (bob, alice) = (agent("bob"), agent("alice"));
        let (destroy, delete) = (catalog::find("kv.destroy").unwrap(), catalog::find("kv.delete").unwrap());
        let binding = |purpose| Binding { purpose, agent: &bob };
        let sealed = Confirmation::of(destroy, b"{\"path\":\"a\"}", 1000);
        let state = keyring.seal(&sealed, binding(Purpose::Confirmation)).unwrap();
        let arguments = &b"{\"path\":\"a\"}"[..];
        let open = |state: &str, agent: &Agent, entry, arguments, now| {
            Confirmation::open(state, (&keyring, agent), (entry, arguments), now)
        };
        let first = open(&state, &bob, destroy, arguments, 1000).unwrap();
        assert_eq!(open(&state, &bob, destroy, arguments, 1000 + LASTS - 1), Ok(first));
        let again = keyring.seal(&sealed, binding(Purpose::Confirmation)).unwrap();
        assert_ne!(open(&again, &bob, destroy, arguments, 1000), Ok(first), "each is used by itself");
        let other = keyring.seal(&sealed, binding(Purpose::Cursor)).unwrap();
        for (state, agent, entry, arguments, now) in [
            (&state, &alice, destroy, arguments, 1000),
            (&state, &bob, delete, arguments, 1000),
            (&state, &bob, destroy, &b"{\"path\":\"b\"}"[..], 1000),
            (&state, &bob, destroy, arguments, 1000 + LASTS),
            (&other, &bob, destroy, arguments, 1000),
            (&state[..state.len() - 4].to_owned(), &bob, destroy, arguments, 1000),
            (&String::new(), &bob, destroy, arguments, 1000),
        ] {
            assert_eq!(open(state, agent, entry, arguments, now), Err(Refusal::NotConfirmed), "{state} {now}");
        }
        let newer = Keyring::new([(2, [7; 32])]).seal(&sealed, binding(Purpose::Confirmation)).unwrap();
        assert_eq!(open(&newer, &bob, destroy, arguments, 1000), Err(Refusal::HandleKeyUnknown));
    }
}
