//! The functional core of the gate: who is asking, what is asked, whether it
//! is allowed, and what is asked of Vault for it.
//!
//! No sockets, no async, no clock, no proxy framework: time comes in as an
//! argument and every stage takes the one before by value. A module uses only
//! modules listed above it.
//!
//! ```text
//! headers, certificate ─► Identity ─┐
//! path, query, body    ─► Operation ┴► decide ─► Permit ─► Effect ─► project
//! ```
#![deny(clippy::wildcard_enum_match_arm)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod secret;
pub mod names;
pub mod headers;
pub mod trace;
pub mod json;
pub mod pem;
pub mod character;
pub mod path;
pub mod scope;
pub mod quota;
pub mod tally;
pub mod refusal;
pub mod pattern;
pub mod condition;
pub mod forwarded;
pub mod proxy_protocol;
pub mod grants;
pub mod spiffe;
pub mod certificate;
pub mod identity;
pub mod credential;
pub mod jwt;
pub mod vault;
pub mod notes;
pub mod shape;
pub mod handle;
pub mod gate_token;
pub mod lifetime;
pub mod kms;
pub mod operation;
pub mod capability;
pub mod catalog;
pub mod confirmation;
pub mod verdict;
pub mod event;
pub mod decide;
pub mod audit;
pub mod vault_policy;
pub mod policy;
pub mod rest;
pub mod vault_api;
pub mod mcp;
pub mod openapi;
pub mod reference;
