//! Sessions of the revisions with a handshake: nothing is kept of one but, by the gate, what its client
//! wants to be told of. All else is sealed into its id.
//! Source: <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>.

use serde::{Deserialize, Serialize};

use crate::identity::Proof;

/// Seconds that a session lasts.
pub const SESSION: u64 = 86_400;

/// A session, as it is sealed for its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    number: u64,
    expires: u64,
    proof: Box<str>,
}

impl Session {
    /// A session that begins at `now`, in seconds since the epoch, under a number of its own, for who
    /// proves its identity so.
    #[must_use]
    pub fn begin(number: u64, now: u64, proof: Proof) -> Self {
        Self { number, expires: now + SESSION, proof: proof.name().into() }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// True where it lasts at `now`, in seconds since the epoch, for who proves its identity so.
    #[must_use]
    pub fn lasts(&self, now: u64, proof: Proof) -> bool {
        now < self.expires && *self.proof == *proof.name()
    }
}
