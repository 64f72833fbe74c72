//! The static servers of a run: stub, baselines and the gate before the stub.

use crate::cpu::{self, Cores};
use crate::gate::{self, Started, Upstream};
use crate::load::{CONNECTIONS, Contender, Target};
use crate::nginx;
use crate::passthrough;
use crate::pki::Pki;
use crate::process::{Process, free_address};
use crate::requests::Request;
use anyhow::{Result, anyhow};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A server that is loaded over mTLS and metered.
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    tls: TlsConnector,
    anonymous: TlsConnector,
}

/// The servers before the stub, and the stub; dropped from top to bottom.
pub(crate) struct Servers {
    pub(crate) gate: Result<Server>,
    pub(crate) nginx: Result<Server>,
    pub(crate) pingora: Server,
    _stub: Process,
}

impl Servers {
    /// Starts them with their files in `folder`; the gate only `with_gate`.
    pub(crate) async fn start(folder: &Path, pki: &Pki, cores: Option<Cores>, with_gate: bool) -> Result<Self> {
        let measured = cores.map(|cores| cores.measured);
        let (stub, upstream) = start_stub(folder, cores.map(|cores| cores.rest)).await?;
        let pingora = start_pingora(folder, pki, upstream, measured).await?;
        let nginx = match nginx::find() {
            Ok(binary) => nginx::start(&binary, folder, pki, upstream, measured).await,
            Err(error) => Err(error),
        };
        let gate = match gate::find() {
            Ok(binary) if with_gate => gate::start(&binary, folder, pki, &Upstream::stub(upstream), measured).await,
            Ok(_) => Err(anyhow!("not asked for")),
            Err(error) => Err(error),
        };
        let gate = gate.map(|started| Server::new(started, pki));
        let baseline = |(process, address)| Server::at(process, address, pki);
        Ok(Self { gate, nginx: nginx.map(baseline), pingora: baseline(pingora), _stub: stub })
    }
}

impl Server {
    pub(crate) fn new(Started { process, address, .. }: Started, pki: &Pki) -> Self {
        Self::at(process, address, pki)
    }

    fn at(process: Process, address: SocketAddr, pki: &Pki) -> Self {
        Self { process, address, tls: pki.connector.clone(), anonymous: pki.anonymous.clone() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn asked(&self, request: &Rc<Request>) -> Contender {
        Contender {
            target: Target { address: self.address, tls: Some(self.tls.clone()) },
            request: Rc::clone(request),
            metered: vec![self.pid()],
            connections: CONNECTIONS,
        }
    }

    /// The same, on connections that present no certificate.
    pub(crate) fn asked_without_certificate(&self, request: &Rc<Request>) -> Contender {
        let target = Target { address: self.address, tls: Some(self.anonymous.clone()) };
        Contender { target, ..self.asked(request) }
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        Ok(cpu::resident(self.pid())? as f64 / 1024.0)
    }
}

pub(crate) async fn start_stub(folder: &Path, core: Option<usize>) -> Result<(Process, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--attached", "stub"]);
    let mut process = Process::start("stub", &mut command, core, folder)?;
    let address = process.ready(async |said| said.split_once('\n')?.0.parse().ok()).await?;
    Ok((process, address))
}

async fn start_pingora(
    folder: &Path,
    pki: &Pki,
    upstream: SocketAddr,
    core: Option<usize>,
) -> Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--attached", "passthrough"]);
    passthrough::Settings {
        listen: address,
        upstream,
        client_ca: pki.ca.clone(),
        certificate: pki.certificate.clone(),
        key: pki.key.clone(),
    }
    .pass_to(&mut command);
    let mut process = Process::start("passthrough", &mut command, core, folder)?;
    process.ready(async |_| TcpStream::connect(address).await.ok()).await?;
    Ok((process, address))
}
