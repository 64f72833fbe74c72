//! The gate's process, and the verbs beside it.

use std::process::ExitCode;

use portcullis::cli::{self, Command};
use portcullis::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A configuration or environment that the gate cannot start with.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse() {
        Command::Run { flags, upgrade } => match server::run(flags, upgrade) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("portcullis: {problem}");
                ExitCode::from(UNUSABLE)
            }
        },
        Command::Once(once) => once.run(),
    }
}
