//! The scenarios, and how each is measured: baselines and gate take turns, round by round, on the
//! same core, so that what disturbs the machine disturbs all of them alike.

use crate::cpu::{self, Cores};
use crate::gate::{self, Upstream};
use crate::load::{self, Round, Target, Window};
use crate::nginx;
use crate::passthrough;
use crate::pki::Pki;
use crate::process::{Process, free_address};
use crate::report::{Figures, Ratio, Report, Row, Skipped, rounded};
use crate::requests::{self, Request};
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

struct Scenario {
    name: &'static str,
    subject: Subject,
    request: fn() -> Request,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Nginx,
    Pingora,
    Gate,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "nginx-passthrough",
        subject: Subject::Nginx,
        request: requests::mcp_read,
    },
    Scenario {
        name: "pingora-passthrough",
        subject: Subject::Pingora,
        request: requests::mcp_read,
    },
    Scenario {
        name: "rest-kv-read",
        subject: Subject::Gate,
        request: requests::rest_read,
    },
    Scenario {
        name: "rest-kv-write",
        subject: Subject::Gate,
        request: requests::rest_write,
    },
    Scenario {
        name: "mcp-kv-read",
        subject: Subject::Gate,
        request: requests::mcp_read,
    },
    Scenario {
        name: "mcp-kv-read-stateless",
        subject: Subject::Gate,
        request: requests::mcp_read_stateless,
    },
    Scenario {
        name: "mcp-kv-write",
        subject: Subject::Gate,
        request: requests::mcp_write,
    },
];

/// How long each contender is loaded: the first round warms up for longer than the others.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) first_warm_up: Duration,
    pub(crate) warm_up: Duration,
}

/// A server that is loaded and metered.
struct Contender {
    process: Process,
    target: Target,
}

/// Everything a run has started; dropped from top to bottom.
struct Servers {
    gate: Result<Contender>,
    nginx: Result<Contender>,
    pingora: Contender,
    _stub: Process,
    _folder: TempDir,
}

/// Runs all scenarios, or the one that is named.
pub(crate) async fn run(only: Option<&str>, plan: Plan, cores: Option<Cores>) -> Result<Report> {
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| only.is_none_or(|only| only == scenario.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no such scenario; there are {}", names.join(", "));
    }
    if let Some(cores) = cores {
        cpu::pin(cores.rest)?;
    }
    let mut report = Report::default();
    let with_gate = chosen
        .iter()
        .any(|scenario| scenario.subject == Subject::Gate);
    let servers = Servers::start(cores, with_gate).await?;
    if let Ok(gate) = &servers.gate {
        let kib = cpu::resident(gate.process.pid())?;
        report.gate_idle_mib = Some(rounded(kib as f64 / 1024.0, 1));
    }
    for scenario in chosen {
        match servers.measure(scenario, plan).await {
            Ok(row) => report.scenarios.push(row),
            Err(error) => {
                let reason = format!("{error:#}");
                eprintln!("{}: {reason}", scenario.name);
                report.skipped.push(Skipped {
                    name: scenario.name,
                    reason,
                });
            }
        }
    }
    Ok(report)
}

impl Servers {
    async fn start(cores: Option<Cores>, with_gate: bool) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-bench-")
            .tempdir()?;
        let pki = Pki::mint(folder.path())?;
        let measured = cores.map(|cores| cores.measured);
        let (stub, upstream) = start_stub(&folder, cores.map(|cores| cores.rest)).await?;
        let contender = |(process, address): (Process, SocketAddr)| Contender {
            process,
            target: Target {
                address,
                tls: Some(pki.connector.clone()),
            },
        };
        let pingora = contender(start_pingora(&folder, &pki, upstream, measured).await?);
        let nginx = match nginx::find() {
            Ok(binary) => nginx::start(&binary, folder.path(), &pki, upstream, measured).await,
            Err(error) => Err(error),
        };
        let gate = match gate::find() {
            Ok(binary) if with_gate => {
                let vault = Upstream {
                    address: format!("http://{upstream}"),
                    role_id: "bench".into(),
                    secret_id: "bench".into(),
                };
                gate::start(&binary, folder.path(), &pki, &vault, measured).await
            }
            Ok(_) => Err(anyhow::anyhow!("not asked for")),
            Err(error) => Err(error),
        };
        Ok(Self {
            gate: gate.map(contender),
            nginx: nginx.map(contender),
            pingora,
            _stub: stub,
            _folder: folder,
        })
    }

    async fn measure(&self, scenario: &Scenario, plan: Plan) -> Result<Row> {
        let mut contenders = vec![&self.pingora];
        contenders.extend(self.nginx.as_ref().ok());
        let (pingora, nginx) = (0, 1);
        let subject = match (scenario.subject, &self.nginx, &self.gate) {
            (Subject::Pingora, _, _) => pingora,
            (Subject::Nginx, Ok(_), _) => nginx,
            (Subject::Gate, _, Ok(gate)) => {
                contenders.push(gate);
                contenders.len() - 1
            }
            (Subject::Nginx, Err(error), _) | (Subject::Gate, _, Err(error)) => bail!("{error:#}"),
        };
        eprintln!(
            "{}: {} rounds against {} servers",
            scenario.name,
            plan.rounds,
            contenders.len()
        );
        let figures = take_turns(&contenders, &Rc::new((scenario.request)()), plan).await?;
        let own = figures.get(subject).context("figures of the subject")?;
        if let Some(failure) = &own.first_failure {
            eprintln!(
                "{}: {} failed, the first with {failure}",
                scenario.name, own.failed
            );
        }
        let ratio = Ratio {
            pingora: own.against(figures.get(pingora)),
            nginx: own.against(figures.get(nginx).filter(|_| self.nginx.is_ok())),
        };
        Ok(own.row(scenario.name, ratio))
    }
}

/// Every second round goes backwards, so that none is always the first after a pause.
async fn take_turns(
    contenders: &[&Contender],
    request: &Rc<Request>,
    plan: Plan,
) -> Result<Vec<Figures>> {
    let mut rounds: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
    for turn in 0..plan.rounds {
        let warm_up = if turn == 0 {
            plan.first_warm_up
        } else {
            plan.warm_up
        };
        let window = Window {
            warm_up,
            measured: plan.measured,
        };
        let mut order: Vec<_> = contenders.iter().zip(&mut rounds).collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for (contender, rounds) in order {
            let metered = [contender.process.pid()];
            rounds.push(load::run(&contender.target, request, window, &metered).await?);
        }
    }
    rounds.iter().map(|rounds| Figures::of(rounds)).collect()
}

async fn start_stub(folder: &TempDir, core: Option<usize>) -> Result<(Process, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--attached", "stub"]);
    let mut process = Process::start("stub", &mut command, core, folder.path())?;
    let said = async |said: &str| said.split_once('\n')?.0.parse().ok();
    let address = process.ready(said).await?;
    Ok((process, address))
}

async fn start_pingora(
    folder: &TempDir,
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
    let mut process = Process::start("passthrough", &mut command, core, folder.path())?;
    process
        .ready(async |_| TcpStream::connect(address).await.ok())
        .await?;
    Ok((process, address))
}
