//! A gate that has something on, against one that has not, in turns.

use crate::cpu::{Awake, Cores};
use crate::gate::{self, Upstream, With};
use crate::pki::Pki;
use crate::report::{Ratio, Row};
use crate::requests;
use crate::servers::{Server, start_stub};
use crate::turns::{Plan, take_turns};
use anyhow::{Context, Result};
use std::rc::Rc;

/// Each scenario by its name, with the setting that is on in one of its two gates.
pub(crate) const SWITCHED: [(&str, With); 3] = [
    ("traces-1pct", With::Traces),
    ("audit-batch", With::Audit { each: false }),
    ("audit-each", With::Audit { each: true }),
];

/// A read as an unchanged client of Vault's asks for it.
pub(crate) const VAULT_API: &str = "vault-api-read";

/// Shorter rounds, and more of them: what is measured is little beside what disturbs the machine.
fn fine(plan: Plan) -> Plan {
    Plan { rounds: plan.rounds * 5, measured: plan.measured / 5, ..plan }
}

/// Measures that read against the same over REST.
pub(crate) async fn measure_vault_api(plan: Plan, cores: Option<Cores>) -> Result<Row> {
    let plan = fine(plan);
    let _awake = cores.map(|cores| Awake::keep(cores.rest));
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let (_stub, address) = start_stub(folder.path(), cores.map(|cores| cores.rest)).await?;
    let upstream = Upstream::stub(address);
    let cores = cores.map(|cores| cores.measured);
    let server = Server::new(gate::start(&gate::find()?, folder.path(), &pki, &upstream, cores).await?, &pki);
    eprintln!("{VAULT_API}: {} rounds, over REST and at /v1 in turns", plan.rounds);
    let requests = [requests::rest_read(), requests::vault_api_read()].map(Rc::new);
    let figures = take_turns(&requests.each_ref().map(|request| server.asked(request)), plan).await?;
    let on = figures.get(1).context("figures of Vault's API")?;
    Ok(Row { off_ratio: on.against(figures.first()), ..on.row(VAULT_API, Ratio::default()) })
}

/// Measures a gate with it and one without.
pub(crate) async fn measure(name: &'static str, with: With, plan: Plan, cores: Option<Cores>) -> Result<Row> {
    let plan = fine(plan);
    let _awake = cores.map(|cores| Awake::keep(cores.rest));
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let (_stub, address) = start_stub(folder.path(), cores.map(|cores| cores.rest)).await?;
    let (binary, request) = (gate::find()?, Rc::new(requests::mcp_read()));
    let mut servers = Vec::new();
    for with in [With::Nothing, with] {
        let upstream = Upstream { with, ..Upstream::stub(address) };
        let started = gate::start(&binary, folder.path(), &pki, &upstream, cores.map(|cores| cores.measured)).await?;
        servers.push(Server::new(started, &pki));
    }
    eprintln!("{name}: {} rounds, on and off in turns", plan.rounds);
    let contenders: Vec<_> = servers.iter().map(|server| server.asked(&request)).collect();
    let figures = take_turns(&contenders, plan).await?;
    let on = figures.get(1).context("figures of the gate that has it on")?;
    Ok(Row { off_ratio: on.against(figures.first()), ..on.row(name, Ratio::default()) })
}
