//! Certificates and signed tokens for development and tests, minted when they are needed.
//!
//! Nothing here ships: the gate itself never makes a certificate or a token, and no key is committed.

mod authority;
mod crl;
mod dev;
mod error;
mod facts;
mod hostile;
mod leaf;
mod signer;

pub use authority::{Authority, Issued};
pub use crl::Crl;
pub use dev::{DevFolder, Minted, is_agent_name};
pub use error::Error;
pub use hostile::hostile;
pub use leaf::{Leaf, Text, Usage, Validity};
pub use signer::Signer;
