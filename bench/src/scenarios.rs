//! The scenarios by name, and which servers each of them compares.

use crate::cpu::{self, Cores};
use crate::decide::{self, Cost};
use crate::flood;
use crate::gate;
use crate::idle;
use crate::kill_switch;
use crate::operations;
use crate::pki::Pki;
use crate::reloading;
use crate::report::{Ratio, Report, Row, rounded};
use crate::requests::{self, Request};
use crate::servers::Servers;
use crate::subscribers;
use crate::switched::{self, SWITCHED};
use crate::turns::{Plan, take_turns};
use crate::vault;
use crate::verify;
use anyhow::{Context, Result, bail};
use local_vault::Binary;
use std::rc::Rc;

struct Scenario {
    name: &'static str,
    subject: Subject,
    request: Asked,
}

/// A request, and the kind of credential that it is made with.
#[derive(Clone, Copy)]
enum Asked {
    Certificate(fn() -> Request),
    ApiKey,
    /// So many, in turns.
    Tokens(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Nginx,
    Pingora,
    Gate,
}

/// The scenarios in front of the stub.
const SCENARIOS: [Scenario; 11] = [
    Scenario::new("nginx-passthrough", Subject::Nginx, requests::mcp_read),
    Scenario::new("pingora-passthrough", Subject::Pingora, requests::mcp_read),
    Scenario::new("rest-kv-read", Subject::Gate, requests::rest_read),
    Scenario::new("rest-kv-write", Subject::Gate, requests::rest_write),
    Scenario::new("mcp-kv-read", Subject::Gate, requests::mcp_read),
    Scenario::new("mcp-kv-read-stateless", Subject::Gate, requests::mcp_read_stateless),
    Scenario::new("mcp-kv-write", Subject::Gate, requests::mcp_write),
    Scenario::new("vault-api-login", Subject::Gate, requests::vault_api_login),
    Scenario { name: "apikey-kv-read", subject: Subject::Gate, request: Asked::ApiKey },
    Scenario { name: "jwt-kv-read", subject: Subject::Gate, request: Asked::Tokens(32) },
    // More than there are requests in all rounds, so that the gate has seen none before.
    Scenario { name: "jwt-kv-read-uncached", subject: Subject::Gate, request: Asked::Tokens(300_000) },
];

/// True where a real Vault is needed.
pub(crate) fn wants_vault(only: Option<&str>) -> bool {
    only.is_none_or(|only| only == kill_switch::NAME || vault::ALL.contains(&only))
}

/// Runs all scenarios, or the one that is named.
pub(crate) async fn run(
    only: Option<&str>,
    plan: Plan,
    cores: Option<Cores>,
    vault: Option<Result<Binary>>,
) -> Result<Report> {
    let of_stub = SCENARIOS.iter().map(|scenario| scenario.name);
    let names: Vec<_> = [
        operations::ALL,
        flood::NAME,
        kill_switch::NAME,
        reloading::NAME,
        idle::NAME,
        subscribers::NAME,
        verify::NAME,
        switched::VAULT_API,
    ]
    .into_iter()
    .chain(vault::ALL)
    .chain(SWITCHED.map(|(name, _)| name))
    .chain(decide::AMONG.map(|(name, _)| name))
    .chain(of_stub)
    .collect();
    let chosen_operations: Vec<_> =
        operations::names().filter(|name| only.is_none_or(|only| [operations::ALL, name].contains(&only))).collect();
    if chosen_operations.is_empty() && only.is_some_and(|only| !names.contains(&only)) {
        bail!("no such scenario; there are {}, and each operation by its name", names.join(", "));
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    if let Some(cores) = cores {
        cpu::pin(cores.rest)?;
    }
    let mut report = Report::default();
    for (name, agents) in decide::AMONG.into_iter().filter(|(name, _)| wanted(name)) {
        eprintln!("{name}: counted by valgrind");
        match tokio::task::spawn_blocking(move || Cost::of(name, agents)).await? {
            Ok(cost) => report.decisions.push(cost),
            Err(error) => report.skip(name, &error, false),
        }
    }
    match vault {
        Some(Ok(binary)) => {
            if vault::ALL.into_iter().any(wanted) {
                vault::run(&binary, plan, cores, &mut report).await;
            }
            if wanted(kill_switch::NAME) {
                report.add(kill_switch::NAME, kill_switch::measure(&binary, cores).await);
            }
        }
        Some(Err(error)) => report.skip(vault::THROUGH_GATE, &error, true),
        None => {}
    }
    let chosen: Vec<_> = SCENARIOS.iter().filter(|scenario| wanted(scenario.name)).collect();
    if !chosen.is_empty() || !chosen_operations.is_empty() {
        before_the_stub(&chosen, &chosen_operations, plan, cores, &mut report).await?;
    }
    if wanted(flood::NAME) {
        report.add(flood::NAME, flood::measure(plan, cores).await);
    }
    if wanted(reloading::NAME) {
        report.add(reloading::NAME, reloading::measure(plan, cores).await);
    }
    for (name, with) in SWITCHED.into_iter().filter(|(name, _)| wanted(name)) {
        report.add(name, switched::measure(name, with, plan, cores).await);
    }
    if wanted(switched::VAULT_API) {
        report.add(switched::VAULT_API, switched::measure_vault_api(plan, cores).await);
    }
    if wanted(idle::NAME) {
        idle::measure(cores, &mut report).await;
    }
    if wanted(subscribers::NAME) {
        subscribers::measure(cores, &mut report).await;
    }
    if wanted(verify::NAME) {
        match verify::measure(plan) {
            Ok(verified) => report.verified = Some(verified),
            Err(error) => report.skip(verify::NAME, &error, true),
        }
    }
    Ok(report)
}

async fn before_the_stub(
    chosen: &[&Scenario],
    operations: &[&'static str],
    plan: Plan,
    cores: Option<Cores>,
    report: &mut Report,
) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let with_gate = !operations.is_empty() || chosen.iter().any(|scenario| scenario.subject == Subject::Gate);
    let servers = Servers::start(folder.path(), &pki, cores, with_gate).await?;
    if let Ok(gate) = &servers.gate {
        report.gate_idle_mib = Some(rounded(gate.memory()?, 1));
    }
    for scenario in chosen {
        match scenario.measure(&servers, &pki, plan).await {
            Ok(row) => report.scenarios.push(row),
            Err(error) => report.skip(scenario.name, &error, scenario.subject != Subject::Nginx),
        }
    }
    for name in operations {
        operations::run(name, &servers, plan, report).await;
    }
    Ok(())
}

impl Asked {
    fn rendered(self, pki: &Pki) -> Result<Request> {
        Ok(match self {
            Self::Certificate(request) => request(),
            Self::ApiKey => requests::rest_read_with("X-API-Key: ", &[gate::API_KEY.to_owned()]),
            Self::Tokens(count) => requests::rest_read_with("Authorization: Bearer ", &pki.tokens(count)?),
        })
    }
}

impl Scenario {
    const fn new(name: &'static str, subject: Subject, request: fn() -> Request) -> Self {
        Self { name, subject, request: Asked::Certificate(request) }
    }

    /// Pingora and nginx are always among the contenders, so every row has its ratios.
    async fn measure(&self, servers: &Servers, pki: &Pki, plan: Plan) -> Result<Row> {
        let request = Rc::new(self.request.rendered(pki)?);
        // What a token costs shows where it is new: those of the gate's turns are for the gate alone.
        let forwarded = Rc::new(request.first());
        let mut contenders = vec![servers.pingora.asked(&forwarded)];
        contenders.extend(servers.nginx.iter().map(|nginx| nginx.asked(&forwarded)));
        let (pingora, nginx) = (0, 1);
        let subject = match (self.subject, &servers.nginx, &servers.gate) {
            (Subject::Pingora, _, _) => pingora,
            (Subject::Nginx, Ok(_), _) => nginx,
            (Subject::Gate, _, Ok(gate)) => {
                contenders.push(match self.request {
                    Asked::Certificate(_) => gate.asked(&request),
                    Asked::ApiKey | Asked::Tokens(_) => gate.asked_without_certificate(&request),
                });
                contenders.len() - 1
            }
            (Subject::Nginx, Err(error), _) | (Subject::Gate, _, Err(error)) => bail!("{error:#}"),
        };
        eprintln!("{}: {} rounds, {} servers in turns", self.name, plan.rounds, contenders.len());
        let figures = take_turns(&contenders, plan).await?;
        let own = figures.get(subject).context("figures of the subject")?;
        let ratio = Ratio {
            pingora: own.against(figures.get(pingora)),
            nginx: own.against(figures.get(nginx).filter(|_| servers.nginx.is_ok())),
        };
        Ok(own.row(self.name, ratio))
    }
}
