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
pub mod duties;
pub mod exchange;
pub mod files;
pub mod gateway;
pub mod issuers;
pub mod kms;
pub mod limits;
pub mod listener;
pub mod preflight;
mod random;
pub mod reload;
pub mod server;
pub mod service;
pub mod snapshot;
pub mod state;
pub mod telemetry;
pub mod tls;
pub mod upgrade;
pub mod vault;
