//! Portcullis: an edge proxy and policy enforcement point in front of
//! HashiCorp Vault and OpenBao.
//!
//! The imperative shell around the functional core in the crate `filters`:
//!
//! ```text
//! listener ─► gateway ─► exchange ─► Vault
//!     │           │          ▲
//!     └─ snapshot ┘          └─ vault (login, child tokens, health)
//! ```
#![recursion_limit = "256"]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod cli;
pub mod config;
pub mod exchange;
pub mod files;
pub mod gateway;
pub mod holdings;
pub mod import;
pub mod issuers;
pub mod key;
pub mod kms;
pub mod limits;
pub mod listener;
pub mod mint;
pub mod policy;
pub mod proofs;
mod random;
pub mod reload;
pub mod snapshot;
pub mod state;
pub mod streams;
pub mod suggest;
pub mod telemetry;
pub mod tls;
pub mod turns;
pub mod upgrade;
pub mod vault;
