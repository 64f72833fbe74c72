//! The gate's process: reads the configuration, puts the parts together, serves
//! until it is told to end.
//!
//! Callers are served by `server.threads` threads. Operators, and the duties of the background, have
//! threads of their own, so that no load of callers' is in their way.

mod assemble;
mod auditing;
mod duties;
pub mod inside;
pub mod preflight;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Flags;
use crate::config::{self, Fixed, Settings};
use crate::http::Endpoint;
use crate::listener::{Accepted, Accepting, Address, Connections, Open, Socket};
use crate::reload::{self, Reload};
use crate::snapshot::Prepared;
use crate::state::State;
use crate::telemetry;
use crate::upgrade::{self, Successor, Waiting};

use preflight::Preflight;

/// Longest time to give everything back to Vault at the end, give or take a second.
const REVOKE: Duration = Duration::from_secs(3);
/// Longest time until a connection that was just accepted is counted.
const ACCEPT: Duration = Duration::from_millis(200);
/// The time for which the gate that is replaced goes on beside one that nobody asks.
const OVERLAP: Duration = Duration::from_secs(5);
/// Threads of the operators' side and the background.
const INNER: usize = 2;
/// Most connections of operators.
const OPERATORS: usize = 256;
/// A gate that was to replace another could not.
const NOT_UPGRADED: i32 = 1;

/// Where it listens: callers' addresses in the order of the configuration, then operators'.
struct Listeners {
    edges: Vec<(Address, Endpoint)>,
    admin: Arc<Endpoint>,
    operators: Vec<Address>,
}

/// The process, once everything is put together.
struct Server {
    state: Arc<State>,
    listeners: Listeners,
    callers: Handle,
    /// True from the moment the gate is to end.
    shutdown: watch::Sender<bool>,
    upgrade_socket: Option<PathBuf>,
    drain: Duration,
}

/// Serves until it is told to end; the process is over then.
///
/// # Errors
/// The configuration or the environment is none that the gate can start with: why, for people.
pub fn run(flags: Flags, upgrade: bool) -> Result<(), String> {
    // Before anything else of TLS, so that it is the only provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let source: reload::Source = Box::new(move || config::load(&flags, &config::variable));
    let settings = source().map_err(|report| report.to_string())?;
    telemetry::start_server_log(settings.logging.level);
    telemetry::tell_panics();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let files = raise_files();
    let wanted = addresses(&settings);
    let (prepared, replaces) = prepare(&settings, upgrade)?;
    let bound = if replaces { None } else { Some(bind(&wanted)?) };
    let text = |error: std::io::Error| format!("threads cannot be started: {error}");
    let callers = runtime("callers", settings.server.threads).map_err(text)?;
    let inner = runtime("gate", INNER).map_err(text)?;
    let (server, reload) = Server::assemble(settings, prepared, source, callers.handle().clone(), files)?;
    inner.block_on(server.serve(bound, wanted, reload))
}

fn runtime(name: &str, threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build()
}

/// Lets the process open as many files as it may at all; gives that number.
pub(crate) fn raise_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum
        .or(current)
        .filter(|most| setrlimit(Resource::Nofile, Rlimit { current: Some(*most), maximum }).is_ok());
    raised.or(current).and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// The parts of the first snapshot, and true where this gate replaces one that runs: that is `wished`,
/// and somebody listens where this gate would.
fn prepare(settings: &Settings, wished: bool) -> Result<(Prepared, bool), String> {
    if wished && settings.server.upgrade_socket.is_none() {
        return Err("--upgrade needs server.upgrade_socket, the same one for both gates".to_owned());
    }
    let Preflight { prepared, mut problems, taken } = preflight::run(settings);
    if !wished {
        problems.extend(taken.iter().map(ToString::to_string));
    }
    match prepared {
        Some(prepared) if problems.is_empty() => Ok((prepared, !taken.is_empty())),
        _ => Err(problems.join("\nportcullis: ")),
    }
}

/// Every address, and what changes it.
fn addresses(settings: &Settings) -> Vec<(Address, &'static str)> {
    let edges = settings.listeners.iter().map(|listener| {
        let mend = if listener.tls.is_some() { "TLS_PORT or [[listeners]] address" } else { "PORT" };
        (Address::Tcp(listener.address), mend)
    });
    let tcp = settings.admin.address.map(|address| (Address::Tcp(address), "ADMIN_PORT or [admin] address"));
    let unix = settings.admin.socket.clone().map(|path| (Address::Unix(path), "[admin] socket"));
    edges.chain(tcp).chain(unix).collect()
}

/// Listens at each address; names one that cannot be had, and what changes it.
fn bind(wanted: &[(Address, &'static str)]) -> Result<Vec<Socket>, String> {
    let socket = |(address, mend): &(Address, &str)| {
        Socket::bind(address).map_err(|problem| format!("{problem}; choose another with {mend}"))
    };
    wanted.iter().map(socket).collect()
}

impl Server {
    fn assemble(
        settings: Settings,
        prepared: Prepared,
        source: reload::Source,
        callers: Handle,
        files: usize,
    ) -> Result<(Self, Reload), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let watched = settings.server.reload.then(|| settings.files.clone());
        let fixed = Fixed::of(&settings);
        let (listeners, admin) = (settings.listeners.clone(), settings.admin.clone());
        let (upgrade_socket, drain) = (settings.server.upgrade_socket.clone(), settings.server.drain);
        let state = assemble::state(settings, prepared, files)?;
        let edge = |(index, listener): (usize, &config::Listener)| {
            let endpoint = Endpoint::edge(&state, index, listener).map_err(|e| text(&e))?;
            Ok::<_, String>((Address::Tcp(listener.address), endpoint))
        };
        let edges = listeners.iter().enumerate().map(edge).collect::<Result<_, _>>()?;
        let operators = admin.address.map(Address::Tcp).into_iter().chain(admin.socket.map(Address::Unix)).collect();
        let admin = Arc::new(Endpoint::admin(&state).map_err(|e| text(&e))?);
        let reload = Reload::new(source, Arc::clone(&state), fixed, watched);
        let listeners = Listeners { edges, admin, operators };
        let shutdown = watch::Sender::new(false);
        Ok((Self { state, listeners, callers, shutdown, upgrade_socket, drain }, reload))
    }

    /// Serves on what is `bound`, or on the sockets of the gate that runs.
    async fn serve(
        mut self,
        bound: Option<Vec<Socket>>,
        wanted: Vec<(Address, &'static str)>,
        reload: Reload,
    ) -> Result<(), String> {
        duties::begin(&self.state, reload);
        let sockets = match bound {
            Some(sockets) => {
                self.accept(&sockets)?;
                sockets
            }
            None => match self.take_over(&wanted).await {
                Ok(sockets) => sockets,
                Err(problem) => {
                    tracing::error!(%problem, "this gate does not take over; the one that runs goes on");
                    exit(NOT_UPGRADED);
                }
            },
        };
        let replaced = self.ended(&sockets).await?;
        self.shutdown.send_replace(true);
        drop(sockets);
        self.end(replaced).await;
        exit(0)
    }

    /// Waits until this gate could serve all that the one before it does, takes its sockets, and
    /// accepts.
    async fn take_over(&mut self, wanted: &[(Address, &'static str)]) -> Result<Vec<Socket>, String> {
        let path = self.upgrade_socket.clone().ok_or("server.upgrade_socket is not set")?;
        self.become_ready().await?;
        let waiting = Waiting::at(&path)?;
        tracing::info!("ready to take over from the gate that runs, once it gets SIGQUIT");
        let (handed, mut successor) = waiting.sockets().await?;
        let sockets = match self.join(handed, wanted) {
            Ok(sockets) => sockets,
            Err(problem) => {
                successor.fails(&problem);
                return Err(problem);
            }
        };
        successor.accepts().map_err(|error| format!("the gate that runs has gone: {error}"))?;
        let state = Arc::clone(&self.state);
        tokio::spawn(confirm(state, successor));
        Ok(sockets)
    }

    /// Accepts on the sockets that were handed over and on those that only this gate has.
    fn join(&mut self, mut handed: Vec<Socket>, wanted: &[(Address, &'static str)]) -> Result<Vec<Socket>, String> {
        handed.retain(|socket| wanted.iter().any(|(address, _)| *address == socket.address));
        let missing = wanted.iter().filter(|(address, _)| handed.iter().all(|socket| socket.address != *address));
        let missing: Vec<_> = missing.cloned().collect();
        handed.extend(bind(&missing)?);
        self.accept(&handed)?;
        Ok(handed)
    }

    async fn become_ready(&self) -> Result<(), String> {
        let ready = async {
            let knows_keys = || self.state.snapshot().credentials.issuers.keys().all(|(_, keys)| keys > 0);
            while !(self.state.is_ready() && knows_keys()) {
                sleep(upgrade::EVERY).await;
            }
        };
        let waited = timeout(upgrade::PATIENCE, ready).await;
        waited.map_err(|_| format!("not ready in time: {}", self.state.vault.login.detail()))
    }

    /// Begins to accept on every socket.
    fn accept(&mut self, sockets: &[Socket]) -> Result<(), String> {
        let metrics = &self.state.metrics.connections;
        let operators = Arc::new(Connections::new(metrics.operators.clone(), metrics.gave_way.clone()));
        let most = OPERATORS.min(self.state.host.files / 8);
        let socket = |address: &Address| sockets.iter().find(|socket| socket.address == *address);
        for address in &self.listeners.operators {
            let accepting = self.accepting(address, socket(address), &operators, Box::new(move || most))?;
            let endpoint = Arc::clone(&self.listeners.admin);
            tokio::spawn(accepting.run(self.shutdown.subscribe(), self.serving(endpoint, Handle::current())));
        }
        let _callers = self.callers.enter();
        for (address, endpoint) in std::mem::take(&mut self.listeners.edges) {
            let state = Arc::clone(&self.state);
            let most = Box::new(move || state.most_connections());
            let accepting = self.accepting(&address, socket(&address), &self.state.connections, most)?;
            let serving = self.serving(Arc::new(endpoint), self.callers.clone());
            self.callers.spawn(accepting.run(self.shutdown.subscribe(), serving));
        }
        Ok(())
    }

    fn accepting(
        &self,
        address: &Address,
        socket: Option<&Socket>,
        connections: &Arc<Connections>,
        most: Box<dyn Fn() -> usize + Send + Sync>,
    ) -> Result<Accepting, String> {
        let name = address.to_string();
        let socket = socket.ok_or_else(|| format!("{name} is not listened on"))?;
        let acceptor = socket.acceptor().map_err(|error| format!("cannot accept on {name}: {error}"))?;
        let metrics = Arc::clone(&self.state.metrics.connections);
        let (connections, relief) = (Arc::clone(connections), Arc::clone(&self.state.connections));
        Ok(Accepting { name, acceptor, connections, relief, metrics, most })
    }

    /// Serves each connection as a task of its own.
    fn serving(&self, endpoint: Arc<Endpoint>, on: Handle) -> impl Fn(Accepted, Option<IpAddr>, Open) + use<> {
        let shutdown = self.shutdown.subscribe();
        move |stream, peer, open| {
            let (endpoint, shutdown, connection) = (Arc::clone(&endpoint), shutdown.clone(), Arc::clone(&open));
            let task = on.spawn(async move { endpoint.serve(stream, peer, open, shutdown).await });
            connection.is_served_by(task.abort_handle());
        }
    }

    /// Waits until the gate is to end: by SIGTERM or SIGINT, or by SIGQUIT once another has its
    /// sockets; says whether that is so.
    async fn ended(&self, sockets: &[Socket]) -> Result<bool, String> {
        let of = |kind| signal(kind).map_err(|error| format!("signals cannot be waited for: {error}"));
        let mut terminate = of(SignalKind::terminate())?;
        let mut interrupt = of(SignalKind::interrupt())?;
        let mut quit = of(SignalKind::quit())?;
        tokio::select! {
            _ = terminate.recv() => Ok(false),
            _ = interrupt.recv() => Ok(false),
            replaced = self.quit(&mut quit, sockets) => Ok(replaced),
        }
    }

    /// Waits for SIGQUIT, and gives true once another gate has taken over; without another, this one
    /// goes on.
    async fn quit(&self, signals: &mut Signal, sockets: &[Socket]) -> bool {
        loop {
            signals.recv().await;
            let Some(path) = &self.upgrade_socket else { return false };
            match upgrade::hand_over(path, sockets).await {
                Ok(()) => return true,
                Err(problem) => tracing::error!(%problem, "the gate is not replaced, and goes on"),
            }
        }
    }

    /// Lets requests end, drops the agents' tokens, and closes the logs: nothing is accepted any more.
    async fn end(&self, replaced: bool) {
        let deadline = Instant::now() + self.drain;
        // Where callers are served on by another gate, they are to notice nothing: a
        // connection is closed after an answer that says so, not before a request, and
        // what asks for readiness hears of that gate's.
        if replaced {
            sleep(ACCEPT).await;
        } else {
            self.state.drain();
        }
        let open = || replaced && self.state.connections.count() > 0;
        while (self.state.is_busy() || open()) && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let left = self.state.metrics.in_progress.get();
        // Vault may have to sign the last checkpoint: the login is left after that.
        self.state.close_sinks().await;
        let layout = self.state.snapshot().vault.layout.clone();
        self.state.vault.leave(&layout, REVOKE).await;
        telemetry::close_server_log();
        tracing::info!(left, "the gate ends");
    }
}

/// Tells the gate before this one to stop, once this one has answered somebody, or nobody asks.
async fn confirm(state: Arc<State>, mut successor: Successor) {
    let served = async {
        while state.metrics.correlated.get() == 0 {
            sleep(upgrade::EVERY).await;
        }
    };
    let _ = timeout(OVERLAP, served).await;
    successor.has_served();
}
