//! Redeeming: the request about a lease, a certificate or a wrapped answer that an agent holds a
//! handle of. Each operation of the catalog says how its own is made.

use crate::grants::Engine;
use crate::handle::{Purpose, StandsFor};
use crate::refusal::Refusal;

use super::Call;

/// The change that redeeming a handle makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeem {
    /// The lease lives on, if possible for so many seconds more.
    RenewLease(Option<u32>),
    /// The times of the lease are told.
    LookUpLease,
    /// The lease ends.
    RevokeLease,
    /// The certificate is revoked.
    RevokeCertificate,
    /// The wrapped answer is given out, once.
    Unwrap,
    /// The wrapped answer waits anew, under another handle.
    Rewrap,
    /// The times of the wrapped answer are told.
    LookUpWrap,
}

/// The way in which an operation redeems a handle.
#[derive(Clone, Copy, Debug)]
pub struct Redemption {
    /// The change.
    pub redeem: Redeem,
    /// The purpose that the handle must be sealed for.
    pub purpose: Purpose,
    /// The engine below whose mount the request is made; `None` for Vault's `sys`.
    pub engine: Option<Engine>,
    /// The request about what the handle stands for; [`Refusal::Forbidden`] where the operation
    /// cannot redeem it.
    pub call: fn(Redeem, &StandsFor) -> Result<Call, Refusal>,
}
