//! The gate's costs: throughput, latency and CPU per request, against a bare pingora
//! pass-through and nginx, all in one run.

mod answers;
mod cpu;
mod decide;
mod flood;
mod gate;
mod idle;
mod subscribers;
mod kill_switch;
mod load;
mod nginx;
mod operations;
mod passthrough;
mod pki;
mod process;
mod reloading;
mod report;
mod requests;
mod scenarios;
mod servers;
mod stub;
mod switched;
mod turns;
mod vault;
mod verify;
mod wire;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Parser, Subcommand};
use cpu::Cores;
use local_vault::Binary;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use turns::Plan;

const RUN_LIMIT: Duration = Duration::from_mins(30);

/// Many short rounds: what disturbs the machine for some seconds then spoils few of them, and
/// medians do not see it.
const PLAN: Plan = Plan {
    rounds: 8,
    measured: Duration::from_millis(1250),
    first_warm_up: Duration::from_secs(2),
    warm_up: Duration::from_millis(300),
};

const QUICK: Plan = Plan {
    rounds: 2,
    measured: Duration::from_millis(500),
    first_warm_up: Duration::from_millis(300),
    warm_up: Duration::from_millis(200),
};

/// Measures the gate against its baselines; without a subcommand, every scenario
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// Run this scenario alone
    #[arg(long, env = "ONLY", value_name = "SCENARIO")]
    only: Option<String>,
    /// Short rounds: shows that everything works, the figures mean little
    #[arg(long)]
    quick: bool,
    /// Leave the placement of servers and generator to the scheduler
    #[arg(long)]
    unpinned: bool,
    /// Where the figures go
    #[arg(long, default_value = "target/bench/report.json", value_name = "FILE")]
    report: PathBuf,
    /// End when standard input closes
    #[arg(long, hide = true)]
    attached: bool,
    #[command(subcommand)]
    server: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// The static Vault-shaped server; prints its address
    Stub,
    /// The bare pingora mTLS pass-through
    Passthrough(passthrough::Settings),
    /// One agent's flood
    #[command(hide = true)]
    Flood(flood::Settings),
    /// Decide one call again and again
    #[command(hide = true)]
    Decide(decide::Settings),
}

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a crypto provider is installed already"))?;
    if cli.attached {
        thread::spawn(end_with_stdin);
    }
    match &cli.server {
        Some(Role::Stub) => stub::run(),
        Some(Role::Passthrough(settings)) => passthrough::run(settings),
        Some(Role::Flood(settings)) => flood::run(settings),
        Some(Role::Decide(settings)) => decide::run(settings),
        None => measure(cli),
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let plan = if cli.quick { QUICK } else { PLAN };
    // `make bench ONLY=` leaves it empty.
    let only = cli.only.as_deref().filter(|name| !name.is_empty());
    let cores = if cli.unpinned { None } else { Cores::find()? };
    // Building Vault takes minutes the first time, which are not the bench's.
    let vault = scenarios::wants_vault(only).then(find_vault);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // Whichever ends first, the servers are dropped, and so ended, with the run.
        tokio::select! {
            report = scenarios::run(only, plan, cores, vault) => report,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("told to end"),
            () = tokio::time::sleep(RUN_LIMIT) => bail!("not done within {RUN_LIMIT:?}"),
        }
    })?;
    report.print();
    report.write(&cli.report).with_context(|| format!("write {}", cli.report.display()))?;
    if report.is_incomplete() {
        bail!("requests have failed or scenarios could not run");
    }
    Ok(())
}

fn find_vault() -> Result<Binary> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("workspace")?;
    Ok(local_vault::binary(root)?)
}

/// A child never outlives the bench, even where that had no time to end it.
fn end_with_stdin() {
    let mut rest = [0; 64];
    while std::io::stdin().read(&mut rest).is_ok_and(|read| read > 0) {}
    std::process::exit(0);
}
