//! A gate that records one trace of a hundred, against one that records none.

use crate::cpu::Cores;
use crate::gate::{self, Upstream};
use crate::pki::Pki;
use crate::report::{Ratio, Report, Row};
use crate::requests;
use crate::servers::{Server, start_stub};
use crate::turns::{Plan, take_turns};
use anyhow::{Context, Result};
use std::rc::Rc;

pub(crate) const NAME: &str = "traces-1pct";

/// Measures both in turns.
pub(crate) async fn measure(plan: Plan, cores: Option<Cores>, report: &mut Report) {
    match in_turns(plan, cores).await {
        Ok(row) => report.scenarios.push(row),
        Err(error) => report.skip(NAME, &error, true),
    }
}

async fn in_turns(plan: Plan, cores: Option<Cores>) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let (_stub, address) = start_stub(folder.path(), cores.map(|cores| cores.rest)).await?;
    let (binary, request) = (gate::find()?, Rc::new(requests::mcp_read()));
    let mut servers = Vec::new();
    // The stub takes spans, too.
    for collector in [None, Some(format!("http://{address}"))] {
        let address = format!("http://{address}");
        let upstream = Upstream { address, role_id: "bench".into(), secret_id: "bench".into(), collector };
        let started = gate::start(&binary, folder.path(), &pki, &upstream, cores.map(|cores| cores.measured)).await?;
        servers.push(Server::new(started, &pki));
    }
    eprintln!("{NAME}: {} rounds, with traces and without in turns", plan.rounds);
    let contenders: Vec<_> = servers.iter().map(|server| server.asked(&request)).collect();
    let figures = take_turns(&contenders, plan).await?;
    let on = figures.get(1).context("figures with traces")?;
    Ok(Row { off_ratio: on.against(figures.first()), ..on.row(NAME, Ratio::default()) })
}
