//! The load generator: keep-alive connections that repeat one rendered request in a closed loop.

use crate::cpu;
use crate::requests::{self, Request, failure};
use crate::wire;
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustls::pki_types::ServerName;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// The connections that ask at once, unless another number is given.
pub(crate) const CONNECTIONS: usize = 32;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Every so many answers the body is read too, not only the status.
const SAMPLE: u64 = 64;

/// Where requests go; with a connector the client certificate is presented.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsConnector>,
}

/// A server, what it is asked, and whose CPU time that takes: first its own.
pub(crate) struct Contender {
    pub(crate) target: Target,
    pub(crate) request: Rc<Request>,
    pub(crate) metered: Vec<u32>,
    /// The connections that ask at once.
    pub(crate) connections: usize,
}

/// The time that one round of load runs before, and while, it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// The results of one round of load.
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) elapsed: Duration,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
    /// CPU time of each metered process within the measured window.
    pub(crate) cpu: Vec<Duration>,
}

struct Tally {
    measuring: bool,
    seen: u64,
    requests: u64,
    failed: u64,
    first_failure: Option<String>,
    latency: Histogram<u64>,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}
pub(crate) type Connection = Pin<Box<dyn Stream>>;

/// Loads a contender and meters its processes for the window's measured part.
pub(crate) async fn run(contender: &Contender, window: Window) -> Result<Round> {
    let Contender { target, request, metered, connections } = contender;
    let most = *connections;
    let mut connections = Vec::with_capacity(most);
    for _ in 0..most {
        connections.push(connect(target).await?);
    }
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let local = LocalSet::new();
    local
        .run_until(async {
            let mut tasks = JoinSet::new();
            for connection in connections {
                let (request, tally) = (Rc::clone(request), Rc::clone(&tally));
                tasks.spawn_local(keep(connection, target.clone(), request, tally));
            }
            measure(&tally, window, metered).await
        })
        .await
}

/// Loads a target for ever, whatever it answers.
pub(crate) async fn flood(target: &Target, request: Rc<Request>, connections: usize) -> Result<()> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let local = LocalSet::new();
    for _ in 0..connections {
        let connection = connect(target).await?;
        local.spawn_local(keep(connection, target.clone(), Rc::clone(&request), Rc::clone(&tally)));
    }
    println!("flooding");
    local.await;
    Ok(())
}

/// The JSON that one request is answered with.
pub(crate) async fn ask(contender: &Contender) -> Result<serde_json::Value> {
    let mut connection = connect(&contender.target).await?;
    let mut buffer = Vec::new();
    let response = exchange(&mut connection, &contender.request, &mut buffer).await?;
    let body = buffer.get(response.body).unwrap_or_default();
    requests::json(body).with_context(|| format!("{}: {}", response.status, String::from_utf8_lossy(body)))
}

async fn measure(tally: &RefCell<Tally>, window: Window, metered: &[u32]) -> Result<Round> {
    sleep(window.warm_up).await;
    tally.borrow_mut().measuring = true;
    let started = Instant::now();
    let before = spent(metered)?;
    sleep(window.measured).await;
    let after = spent(metered)?;
    let elapsed = started.elapsed();
    let tally = tally.replace(Tally::new()?);
    if tally.requests == 0 {
        bail!("no answer within {elapsed:?}: {}", tally.first_failure.unwrap_or_default());
    }
    Ok(Round {
        requests: tally.requests,
        failed: tally.failed,
        first_failure: tally.first_failure,
        elapsed,
        latency: tally.latency,
        cpu: after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect(),
    })
}

fn spent(metered: &[u32]) -> Result<Vec<Duration>> {
    metered.iter().map(|pid| cpu::spent(*pid)).collect()
}

pub(crate) async fn connect(target: &Target) -> Result<Connection> {
    timeout(CONNECT_LIMIT, dial(target)).await.context("connect within the limit")?
}

async fn dial(target: &Target) -> Result<Connection> {
    let stream = TcpStream::connect(target.address).await.context("connect")?;
    stream.set_nodelay(true)?;
    let Some(tls) = &target.tls else {
        return Ok(Box::pin(stream));
    };
    let name = ServerName::try_from("localhost")?;
    Ok(Box::pin(tls.connect(name, stream).await.context("TLS handshake")?))
}

/// One client: a connection that breaks is a failed request and is opened again.
async fn keep(mut connection: Connection, target: Target, request: Rc<Request>, tally: Rc<RefCell<Tally>>) {
    loop {
        let Err(error) = repeat(&mut connection, &request, &tally).await;
        tally.borrow_mut().fail(|| format!("{error:#}"));
        connection = loop {
            match connect(&target).await {
                Ok(connection) => break connection,
                Err(error) => tally.borrow_mut().fail(|| format!("{error:#}")),
            }
            sleep(RECONNECT_PAUSE).await;
        };
    }
}

async fn repeat(
    connection: &mut Connection,
    request: &Request,
    tally: &RefCell<Tally>,
) -> Result<std::convert::Infallible> {
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let asked = Instant::now();
        let response = exchange(connection, request, &mut buffer).await?;
        tally.borrow_mut().record(asked.elapsed(), request, &response, &buffer);
        if !response.keep_alive {
            bail!("the server closes its connection after an answer of {}", response.status);
        }
        buffer.clear();
    }
}

/// One request, and its answer in `buffer`, which is empty before.
pub(crate) async fn exchange(
    connection: &mut Connection,
    request: &Request,
    buffer: &mut Vec<u8>,
) -> Result<wire::Response> {
    connection.write_all(request.bytes()).await?;
    connection.flush().await?;
    loop {
        if connection.read_buf(buffer).await? == 0 {
            bail!("connection closed with {} bytes of an answer", buffer.len());
        }
        if let Some(response) = wire::response(buffer)? {
            return Ok(response);
        }
    }
}

impl Tally {
    fn new() -> Result<Self> {
        Ok(Self {
            measuring: false,
            seen: 0,
            requests: 0,
            failed: 0,
            first_failure: None,
            latency: Histogram::new_with_bounds(1, 60_000_000, 3)?,
        })
    }

    fn record(&mut self, latency: Duration, request: &Request, response: &wire::Response, buffer: &[u8]) {
        self.seen += 1;
        if self.measuring {
            self.requests += 1;
            self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
        let sampled = self.seen % SAMPLE == 1;
        let body = buffer.get(response.body.clone()).unwrap_or_default();
        if let Some(reason) = failure(request, response.status, body, sampled) {
            self.fail(|| reason);
        }
    }

    fn fail(&mut self, reason: impl FnOnce() -> String) {
        if self.measuring {
            self.failed += 1;
        }
        self.first_failure.get_or_insert_with(reason);
    }
}
