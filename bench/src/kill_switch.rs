//! The kill switch: from the command to the last answer that the suspended agent still got, with
//! many connections open.

use crate::cpu::Cores;
use crate::gate::{self, Upstream, With};
use crate::load::{self, Connection};
use crate::pki::{AGENT, Pki};
use crate::process::on_core;
use crate::report::{Ratio, Row, rounded};
use crate::requests::{self, Request};
use crate::servers::Server;
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use local_vault::{Binary, Options, Provisioned, Vault};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

pub(crate) const NAME: &str = "kill-switch";

const CONNECTIONS: usize = 1_000;
const ROUNDS: usize = 10;
/// Between two requests of one connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time for all connections to be refused.
const LIMIT: Duration = Duration::from_secs(20);

/// Counts over all connections of a round.
#[derive(Default)]
struct Seen {
    let_in: Cell<usize>,
    last: Cell<Option<Instant>>,
}

/// Measures it before a real Vault.
pub(crate) async fn measure(binary: &Binary, cores: Option<Cores>) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let pki = Pki::mint(folder.path())?;
    let vault = on_core(cores.map(|cores| cores.rest), || Vault::start(binary, Options::default()))?;
    let Provisioned { role_id, secret_id } = vault.provision(&[AGENT])?;
    let upstream = Upstream { address: vault.address(), role_id, secret_id, with: With::Nothing };
    let gate = gate::find()?;
    let started = gate::start(&gate, folder.path(), &pki, &upstream, cores.map(|cores| cores.measured)).await?;
    let file = started.file.clone();
    let server = Server::new(started, &pki);
    let command = async |verb: &str| tell(&gate, verb, &file, &upstream).await;
    let request = Rc::new(requests::whoami());
    let target = server.asked(&request).target;
    let (mut spans, mut late) = (Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?, 0);
    eprintln!("{NAME}: {ROUNDS} rounds, {CONNECTIONS} connections");
    for _ in 0..ROUNDS {
        let seen = Rc::new(Seen::default());
        let local = LocalSet::new();
        let round = async {
            let mut callers = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let connection = load::connect(&target).await?;
                callers.spawn_local(call(connection, Rc::clone(&request), Rc::clone(&seen)));
            }
            sleep(PAUSE * 2).await;
            let begun = Instant::now();
            command("suspend").await?;
            let ended = Instant::now();
            timeout(LIMIT, callers.join_all()).await.context("some connection is let in still")?;
            anyhow::Ok((begun, ended))
        };
        let (begun, ended) = local.run_until(round).await?;
        if seen.let_in.get() < CONNECTIONS {
            bail!("only {} connections were let in", seen.let_in.get());
        }
        let last = seen.last.get().context("nobody was let in")?;
        spans.saturating_record(u64::try_from(last.saturating_duration_since(begun).as_micros())?);
        late += u64::from(last > ended);
        command("resume").await?;
    }
    let millis = |quantile| rounded(spans.value_at_quantile(quantile) as f64 / 1000.0, 3);
    Ok(Row {
        name: NAME,
        requests_per_second: 0.0,
        cpu_us_per_request: 0.0,
        p50_ms: millis(0.50),
        p99_ms: millis(0.99),
        failed: late,
        ratio: Ratio::default(),
        p99_ratio: None,
        off_ratio: None,
        vault_cpu_us_per_request: None,
    })
}

/// Asks until it is refused.
async fn call(mut connection: Connection, request: Rc<Request>, seen: Rc<Seen>) {
    let (mut buffer, mut first) = (Vec::new(), true);
    loop {
        match load::exchange(&mut connection, &request, &mut buffer).await {
            Ok(response) if response.status == 200 => {
                seen.let_in.set(seen.let_in.get() + usize::from(first));
                seen.last.set(Some(Instant::now()));
            }
            _ => return,
        }
        first = false;
        buffer.clear();
        sleep(PAUSE).await;
    }
}

async fn tell(gate: &Path, verb: &str, file: &Path, upstream: &Upstream) -> Result<()> {
    let mut command = Command::new(gate);
    command.args([verb, AGENT, "--config"]).arg(file).env_clear();
    command.env("VAULT_ROLE_ID", &upstream.role_id).env("VAULT_SECRET_ID", &upstream.secret_id);
    let output = command.output().await?;
    if !output.status.success() {
        bail!("portcullis {verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
