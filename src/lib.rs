//! Portcullis: an edge proxy and policy enforcement point in front of
//! HashiCorp Vault and OpenBao.
//!
//! The imperative shell around the functional core in the crate `filters`:
//!
//! ```text
//! listener ─► http ─► surfaces ─► service ─► exchange ─► Vault
//!                         ▲          │           ▲
//!                     snapshot ──────┘           └─ vault (login, child tokens, health)
//! ```
#![recursion_limit = "256"]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod admin;
pub mod cli;
pub mod config;
pub mod events;
pub mod exchange;
pub mod http;
pub mod issuers;
pub mod kms;
pub mod limits;
pub mod listener;
mod random;
mod redis;
pub mod reload;
pub mod server;
pub mod service;
pub mod snapshot;
pub mod state;
pub mod stdio;
pub mod surfaces;
pub mod telemetry;
pub mod tls;
pub mod upgrade;
pub mod vault;
