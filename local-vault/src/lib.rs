//! A real OpenBao or Vault for development and tests: found, installed or built, started, provisioned, ended.
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
mod wheel;

pub use binary::{Binary, Product, binary};
pub use error::Error;
pub use options::{Options, Storage, Tls};
pub use port::free_port;
pub use process::Guarded;
pub use provision::Provisioned;
pub use server::Vault;
