//! Load while everything is swapped under it: 10,000 agents, the server's certificate and the
//! issuer's keys, each at a pace of its own.

use crate::cpu::Cores;
use crate::gate::{self, Started, Upstream};
use crate::load::{self, Contender, Round, Window};
use crate::pki::Pki;
use crate::report::{Figures, Ratio, Row, rounded};
use crate::requests;
use crate::servers::{Server, start_stub};
use crate::turns::Plan;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

pub(crate) const NAME: &str = "reload-under-load";

const AGENTS: usize = 10_000;
const FILES: usize = 10;
const CONNECTIONS: usize = 16;
/// The times between two replacements of agents, of the certificate and of keys.
const PACE: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(7), Duration::from_secs(11)];
/// The load is disturbed for this many rounds.
const ROUNDS: u32 = 48;

/// Measures both, one after the other.
pub(crate) async fn measure(plan: Plan, cores: Option<Cores>) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let (_stub, address) = start_stub(folder.path(), cores.map(|cores| cores.rest)).await?;
    let started =
        gate::start(&gate::find()?, folder.path(), &pki, &Upstream::stub(address), cores.map(|cores| cores.measured))
            .await?;
    let Started { admin, ref file, .. } = started;
    let agents = file.parent().context("the gate's folder")?.join(gate::AGENTS);
    for number in 0..FILES {
        write_agents(&agents, number, 0)?;
    }
    let gate = Server::new(started, &pki);
    let by_certificate = Contender { connections: CONNECTIONS, ..gate.asked(&Rc::new(requests::rest_read())) };
    let tokens = Rc::new(requests::rest_read_with("Authorization: Bearer ", &pki.tokens(32)?));
    let by_token = Contender { connections: CONNECTIONS, ..gate.asked_without_certificate(&tokens) };
    let load = async |measured| -> Result<[Round; 2]> {
        let window = Window { warm_up: plan.first_warm_up, measured };
        let (one, other) = tokio::join!(load::run(&by_certificate, window), load::run(&by_token, window));
        Ok([one?, other?])
    };
    let long = plan.measured * ROUNDS;
    eprintln!("{NAME}: {} s undisturbed, then {} s", (long / 4).as_secs(), long.as_secs());
    let calm = Figures::of(&load(long / 4).await?)?;
    let before = reloads(admin)?;
    let disturbed = tokio::select! {
        rounds = load(long) => Figures::of(&rounds?)?,
        failed = disturb(&agents, folder.path(), &pki) => return Err(failed),
    };
    let (swapped, expected) = (reloads(admin)? - before, long.as_secs() / PACE[0].as_secs());
    eprintln!("{NAME}: {swapped} snapshots were swapped");
    if swapped < expected {
        bail!("only {swapped} snapshots were swapped, of {expected} at least");
    }
    let p99_ratio = Some(rounded(disturbed.p99_ms / calm.p99_ms, 2));
    Ok(Row { p99_ratio, ..disturbed.row(NAME, Ratio::default()) })
}

/// Replaces everything at its pace, until it cannot.
async fn disturb(agents: &Path, folder: &Path, pki: &Pki) -> anyhow::Error {
    let [mut of_agents, mut of_certificate, mut of_keys] = PACE.map(|pace| {
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let mut turn = 0;
    loop {
        turn += 1;
        let done = tokio::select! {
            _ = of_agents.tick() => write_agents(agents, turn % FILES, turn),
            _ = of_certificate.tick() => pki.renew_server(folder),
            _ = of_keys.tick() => pki.rotate_keys(),
        };
        if let Err(error) = done {
            return error;
        }
    }
}

/// One file of agents, put in place of the one before.
fn write_agents(folder: &Path, number: usize, turn: usize) -> Result<()> {
    let mut text = String::new();
    let each = AGENTS / FILES;
    for agent in number * each..(number + 1) * each {
        let requests = 1_000 + turn;
        writeln!(text, "[agents.load-{agent}]\nroles = [\"bench\"]\nrate = {{ requests = {requests} }}")?;
    }
    let beside = folder.join(".next");
    fs::write(&beside, text)?;
    fs::rename(beside, folder.join(format!("{number}.toml")))?;
    Ok(())
}

/// The number of snapshots that the gate has published.
fn reloads(admin: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("portcullis_reloads_total "));
    Ok(line.context("no count of reloads")?.parse()?)
}
