//! `dev`: a real Vault, certificates and the gate in front, until Ctrl-C.

mod gate;
mod guide;
mod policies;
mod ports;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, io, thread};

use clap::Parser;
use local_vault::{Options, Vault, binary};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::gate::Gate;
use crate::policies::Policies;
use crate::ports::Ports;

/// Where the development certificates are, below the folder.
const CERTIFICATES: &str = ".dev/certs";

/// The file of Vault's audit, below the folder.
const VAULT_AUDIT: &str = ".dev/vault-audit.log";

type Failure = Box<dyn std::error::Error>;

/// Runs OpenBao or Vault, mints certificates and runs the gate in front of it, until Ctrl-C.
///
/// The gate and `certs` must have been built beside this program; `make dev` does.
#[derive(Parser)]
struct Cli {
    /// Only find, install or build the backend that BACKEND names, and say which it is.
    #[arg(long)]
    fetch_only: bool,

    /// Agents that get a Vault policy and a client certificate, separated by commas.
    #[arg(long, env = "AGENTS", value_delimiter = ',', default_value = "agent_api,agent_jwt,agent_mtls")]
    agents: Vec<String>,

    /// Folder of `config/dev.toml`, certificates, logs and the operators' socket; the repository's root
    /// where it is absent.
    #[arg(long)]
    folder: Option<PathBuf>,

    #[command(flatten)]
    ports: Ports,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("dev: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().unwrap_or(root);
    env::set_current_dir(cli.folder.as_deref().unwrap_or(root))?;
    if cli.fetch_only {
        println!("{}", binary(root)?);
        return Ok(());
    }
    cli.ports.check()?;
    serve(cli, root)
}

/// Starts one after the other, and ends in the reverse order: the gate first, so that what it
/// holds in Vault can still be given back.
fn serve(cli: &Cli, root: &Path) -> Result<(), Failure> {
    let binary = binary(root)?;
    println!("{binary}");
    let ended = end_flag()?;
    let vault = Vault::start(&binary, Options { audit: Some(VAULT_AUDIT.into()), ..Options::default() })?;
    println!("{}: in memory, at {}; provisioning", vault.product(), vault.address());
    let agents: Vec<&str> = cli.agents.iter().map(String::as_str).collect();
    let login = vault.provision(&agents)?;
    mint(&agents)?;
    if ended.load(Ordering::Relaxed) {
        return Ok(());
    }
    let program = beside("portcullis")?;
    let policies = Policies::keep(&program, &vault)?;
    let mut gate = Gate::start(&program, &vault.address(), &login)?;
    gate.wait_until_ready(&ended)?;
    if !ended.load(Ordering::Relaxed) {
        guide::print(&env::current_dir()?, cli.ports.tls, guide::caller(&agents));
    }
    while !ended.load(Ordering::Relaxed) {
        gate.check()?;
        thread::sleep(Duration::from_millis(50));
    }
    println!("\nending the gate, then {}; Ctrl-C again ends them at once", vault.product());
    gate.stop();
    drop(policies);
    drop(vault);
    Ok(())
}

/// A flag that Ctrl-C, a termination and a closed terminal set. The second one ends this process
/// at once, and with it everything it started.
fn end_flag() -> io::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&ended))?;
        flag::register(signal, Arc::clone(&ended))?;
    }
    Ok(ended)
}

fn mint(agents: &[&str]) -> Result<(), Failure> {
    let mut certs = Command::new(beside("certs")?);
    certs.args(["dev", "--out", CERTIFICATES, "--agents", &agents.join(",")]);
    match certs.status()?.success() {
        true => Ok(()),
        false => Err("the certificates cannot be minted".into()),
    }
}

/// A program that Cargo has built into the same folder as this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let path = env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is not built; run `make dev`", path.display()).into())
}
