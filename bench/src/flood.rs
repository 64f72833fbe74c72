//! A quiet agent beside one that floods the gate: how much later it is answered than without.

use crate::cpu::Cores;
use crate::load::{self, Target, Window};
use crate::pki::{FLOODER, Pki, connector};
use crate::process::Process;
use crate::report::{Figures, Ratio, Row, rounded};
use crate::requests;
use crate::servers::Servers;
use crate::turns::Plan;
use anyhow::{Result, bail};
use clap::Args;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

pub(crate) const NAME: &str = "flood-neighbour";

/// More than the gate serves of one agent at once, so that some wait.
const CONNECTIONS: usize = 128;

/// Who floods, and whom.
#[derive(Args)]
pub(crate) struct Settings {
    /// Address of the gate
    #[arg(long)]
    address: SocketAddr,
    /// Folder of the certificates
    #[arg(long)]
    folder: PathBuf,
}

/// Floods until it is ended.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let file = |name: &str| fs::read_to_string(settings.folder.join(name));
    let (certificate, key) = (file(&format!("{FLOODER}.crt"))?, file(&format!("{FLOODER}.key"))?);
    let tls = Some(connector(&file("ca.crt")?, &certificate, &key)?);
    let target = Target { address: settings.address, tls };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load::flood(&target, Rc::new(requests::rest_read()), CONNECTIONS))
}

/// Measures the quiet agent alone and with its neighbour, in turns.
pub(crate) async fn measure(plan: Plan, cores: Option<Cores>) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let servers = Servers::start(folder.path(), &pki, cores, true).await?;
    let gate = match &servers.gate {
        Ok(gate) => gate,
        Err(error) => bail!("{error:#}"),
    };
    let mut quiet = gate.asked(&Rc::new(requests::rest_read()));
    quiet.connections = 1;
    eprintln!("{NAME}: {} rounds, alone and with a neighbour in turns", plan.rounds);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for turn in 0..plan.rounds {
        let window = Window { warm_up: plan.first_warm_up, measured: plan.measured };
        for flooded in [turn % 2 == 1, turn % 2 == 0] {
            let _neighbour = match flooded {
                true => Some(start(folder.path(), gate.address(), cores).await?),
                false => None,
            };
            let rounds = if flooded { &mut beside } else { &mut alone };
            rounds.push(load::run(&quiet, window).await?);
        }
    }
    let (alone, beside) = (Figures::of(&alone)?, Figures::of(&beside)?);
    let p99_ratio = Some(rounded(beside.p99_ms / alone.p99_ms, 2));
    Ok(Row { p99_ratio, ..beside.row(NAME, Ratio::default()) })
}

/// A process of its own, so that it does not slow what measures.
async fn start(folder: &Path, address: SocketAddr, cores: Option<Cores>) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--attached", "flood"]).arg(format!("--address={address}")).arg("--folder").arg(folder);
    let mut process = Process::start("flood", &mut command, cores.map(|cores| cores.rest), folder)?;
    process.ready(async |said| said.contains("flooding").then_some(())).await?;
    Ok(process)
}
