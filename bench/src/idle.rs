//! The memory that an idle connection holds: many of them, each with a client certificate and one
//! request behind it.

use crate::cpu::Cores;
use crate::load::{self, Connection};
use crate::pki::Pki;
use crate::report::{Idle, Report, rounded};
use crate::requests::{self, Request};
use crate::servers::{Server, Servers};
use anyhow::{Result, anyhow, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::rc::Rc;
use tempfile::TempDir;

pub(crate) const NAME: &str = "idle-connections";

const CONNECTIONS: usize = 10_000;

pub(crate) async fn measure(cores: Option<Cores>, report: &mut Report) {
    match both(cores).await {
        Ok(idle) => report.idle = Some(idle),
        Err(error) => report.skip(NAME, &error, true),
    }
}

/// Servers that many connections may be opened to, and their folder.
pub(crate) async fn for_many(cores: Option<Cores>) -> Result<(TempDir, Servers)> {
    // Each connection takes a file at either end; servers inherit how many there may be.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let servers = Servers::start(folder.path(), &pki, cores, true).await?;
    Ok((folder, servers))
}

async fn both(cores: Option<Cores>) -> Result<Idle> {
    let (_folder, servers) = for_many(cores).await?;
    let gate = servers.gate.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    eprintln!("{NAME}: {CONNECTIONS} to each of 2 servers");
    let (gate_kib, pingora_kib) = (each(gate).await?, each(&servers.pingora).await?);
    Ok(Idle { connections: CONNECTIONS, gate_kib, pingora_kib })
}

/// Connections that have each asked once.
pub(crate) async fn connect(server: &Server, request: Request, number: usize) -> Result<Vec<Connection>> {
    let request = Rc::new(request);
    let target = server.asked(&request).target;
    let (mut open, mut buffer) = (Vec::with_capacity(number), Vec::new());
    for _ in 0..number {
        let mut connection = load::connect(&target).await?;
        let response = load::exchange(&mut connection, &request, &mut buffer).await?;
        if response.status != 200 {
            bail!("an answer with status {}", response.status);
        }
        buffer.clear();
        open.push(connection);
    }
    Ok(open)
}

async fn each(server: &Server) -> Result<f64> {
    let before = server.memory()?;
    let open = connect(server, requests::mcp_read(), CONNECTIONS).await?;
    let grown = server.memory()? - before;
    drop(open);
    Ok(rounded(grown * 1024.0 / CONNECTIONS as f64, 1))
}
