//! A gate that has something on, against one that has not, in turns.

use crate::cpu::Cores;
use crate::gate::{self, Upstream, With};
use crate::pki::Pki;
use crate::report::{Ratio, Row};
use crate::requests;
use crate::servers::{Server, start_stub};
use crate::turns::{Plan, take_turns};
use anyhow::{Context, Result};
use std::rc::Rc;

/// What is switched on, by the scenario's name.
pub(crate) const SWITCHED: [(&str, With); 3] = [
    ("traces-1pct", With::Traces),
    ("audit-batch", With::Audit { each: false }),
    ("audit-each", With::Audit { each: true }),
];

/// Measures a gate with it and one without.
pub(crate) async fn measure(name: &'static str, with: With, plan: Plan, cores: Option<Cores>) -> Result<Row> {
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
