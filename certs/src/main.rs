//! `certs`: mints the certificates of development.

use std::path::PathBuf;
use std::process::ExitCode;

use certs::{DevFolder, Error, Minted};
use clap::{Args, Parser, Subcommand};

/// Mints certificates for development; none of them is for use elsewhere.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mint a CA, a server certificate and one certificate per agent, where missing or due.
    Dev(Dev),
}

#[derive(Args)]
struct Dev {
    /// The folder for <name>.crt and <name>.key; made when missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Agents that get a client certificate, separated by commas.
    #[arg(long, env = "AGENTS", value_delimiter = ',', default_value = "agent_api,agent_jwt,agent_mtls")]
    agents: Vec<String>,

    /// Replace certificates that are still good, the CA's too.
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    let Command::Dev(dev) = Cli::parse().command;
    match run(&dev) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dev: &Dev) -> Result<(), Error> {
    for (path, minted) in DevFolder::new(&dev.out, dev.force).mint(&dev.agents)? {
        let fate = match minted {
            Minted::New => "minted",
            Minted::Kept => "kept  ",
        };
        println!("{fate} {}", path.display());
    }
    Ok(())
}
