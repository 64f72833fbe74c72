//! A real Vault for development and tests: found or built, started, provisioned, ended.
//!
//! Nothing here ships. Vault runs as a process of its own, listens on loopback only, keeps its
//! files in a temporary folder, and ends with the process that started it.

mod binary;
mod cli;
mod compile;
mod error;
mod options;
mod port;
mod process;
mod provision;
mod server;

pub use binary::{Binary, Kind, binary};
pub use cli::Endpoint;
pub use error::Error;
pub use options::{Options, Storage, Tls};
pub use port::free_port;
pub use process::Guarded;
pub use provision::{Provisioned, provision};
pub use server::Vault;
