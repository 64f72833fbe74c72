//! The gate before a real Vault: what it adds, and what each call costs Vault itself, which is
//! where the price of the child token shows.

use crate::cpu::Cores;
use crate::gate::{self, Upstream, With};
use crate::load::{CONNECTIONS, Contender, Target};
use crate::pki::{AGENT, Pki};
use crate::process::on_core;
use crate::report::{Figures, Ratio, Report, Row, rounded};
use crate::requests;
use crate::servers::Server;
use crate::turns::{Plan, take_turns};
use crate::wire;
use anyhow::{Context, Result, bail};
use local_vault::{Binary, Options, Provisioned, Vault};
use std::net::SocketAddr;
use std::rc::Rc;

const DIRECT: &str = "vault-direct-root";
pub(crate) const THROUGH_GATE: &str = "vault-through-gate";
/// As unchanged clients of Vault's read.
const THROUGH_API: &str = "vault-api-through-gate";
/// All are measured whenever one is wanted: each means little without the others.
pub(crate) const ALL: [&str; 3] = [DIRECT, THROUGH_GATE, THROUGH_API];

pub(crate) async fn run(binary: &Binary, plan: Plan, cores: Option<Cores>, report: &mut Report) {
    match measure(binary, plan, cores).await {
        Ok(rows) => report.scenarios.extend(rows),
        Err(error) => report.skip(THROUGH_GATE, &error, true),
    }
}

async fn measure(binary: &Binary, plan: Plan, cores: Option<Cores>) -> Result<[Row; 3]> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    // Vault has the measured core to itself in all; the gate is beside the generator.
    let vault = on_core(cores.map(|cores| cores.measured), || Vault::start(binary, Options::default()))?;
    let address = vault.address();
    let pid = vault.pid().context("Vault has stopped")?;
    let server = address.trim_start_matches("http://").parse().context("Vault's address")?;
    write_demo(server, vault.root_token()).await?;
    let Provisioned { role_id, secret_id } = vault.provision(&[AGENT])?;
    let upstream = Upstream { address, role_id, secret_id, with: With::Nothing };
    let beside = cores.map(|cores| cores.rest);
    let started = gate::start(&gate::find()?, folder.path(), &pki, &upstream, beside).await?;
    let gate = Server::new(started, &pki);
    let direct = Contender {
        target: Target { address: server, tls: None },
        request: Rc::new(requests::vault_read(vault.root_token())),
        metered: vec![pid],
        connections: CONNECTIONS,
    };
    let [rest, api] = [requests::rest_read(), requests::vault_api_read()].map(|request| {
        let mut through = gate.asked(&Rc::new(request));
        through.metered.push(pid);
        through
    });
    eprintln!("{DIRECT}, {THROUGH_GATE}, {THROUGH_API}: {} rounds in turns", plan.rounds);
    let figures = take_turns(&[direct, rest, api], plan).await?;
    let [direct, rest, api] = figures.as_slice() else {
        bail!("not three contenders");
    };
    let row = |figures: &Figures, name| {
        let vault = figures.cpu_us_per_request.last().map(|cpu| rounded(*cpu, 2));
        Row { vault_cpu_us_per_request: vault, ..figures.row(name, Ratio::default()) }
    };
    Ok([row(direct, DIRECT), row(rest, THROUGH_GATE), row(api, THROUGH_API)])
}

/// Writes the secret that both ways read.
async fn write_demo(vault: SocketAddr, token: &str) -> Result<()> {
    match wire::status_of(vault, requests::vault_write(token).bytes()).await? {
        200 => Ok(()),
        status => bail!("Vault answers {status} to a first write"),
    }
}
