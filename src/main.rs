//! The gate's process: reads the configuration, puts the parts together,
//! serves until it is told to end.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora_core::services::ServiceReadyNotifier;
use pingora_core::services::background::{BackgroundService, background_service};
use portcullis::cli::{self, Command, Flags};
use portcullis::config::{self, Fixed, Settings};
use portcullis::gateway::{self, Endpoint};
use portcullis::kms::Kms;
use portcullis::limits::SharedLimits;
use portcullis::reload::{self, Reload};
use portcullis::snapshot::Snapshot;
use portcullis::state::State;
use portcullis::telemetry::{self, Metrics, RequestLog};
use portcullis::upgrade;
use portcullis::vault::Vault;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long it may take to leave nothing behind in Vault at the end, but for a second.
const REVOKE: Duration = Duration::from_secs(3);
/// How long a connection that was just accepted may take to be counted.
const ACCEPT: Duration = Duration::from_millis(200);
/// A gate that was to replace another could not.
const NOT_UPGRADED: i32 = 1;
/// A configuration or environment that the gate cannot start with.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse() {
        Command::Run { flags, upgrade } => match run(flags, upgrade) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("portcullis: {problem}");
                ExitCode::from(UNUSABLE)
            }
        },
        Command::Once(once) => once.run(),
    }
}

fn run(flags: Flags, upgrade: bool) -> Result<(), String> {
    // Before anything else of TLS, so that it is the only provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let source: reload::Source = Box::new(move || config::load(&flags, &config::variable));
    let settings = source().map_err(|report| report.to_string())?;
    telemetry::start_server_log(settings.logging.level);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let upgrade = replaces(&settings, upgrade)?;
    let (drain, socket) = (settings.server.drain, settings.server.upgrade_socket.clone());
    let opt = Opt { upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(opt, server_conf(&settings));
    let (state, services) = assemble(settings, source)?;
    let replaced = Arc::new(AtomicBool::new(false));
    let signals = Signals { socket, replaced: Arc::clone(&replaced) };
    let background = Background { state, reload: services.reload, drain, upgrade, replaced };
    let gate = server.add_service(background_service("gate", background));
    let listeners = services.listeners.into_iter().map(|service| server.add_boxed_service(Box::new(service)));
    let listeners: Vec<_> = listeners.collect();
    if upgrade {
        let sockets = server.bootstrap_as_a_service();
        sockets.add_dependency(gate);
        listeners.iter().for_each(|listener| listener.add_dependency(&sockets));
    } else {
        server.bootstrap();
    }
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// Whether this gate replaces one that runs: where it is `wished`, and another has an address.
fn replaces(settings: &Settings, wished: bool) -> Result<bool, String> {
    match &settings.server.upgrade_socket {
        Some(socket) => upgrade::check(socket)?,
        None if wished => return Err("--upgrade needs server.upgrade_socket, the same one for both gates".to_owned()),
        None => {}
    }
    let free = bindable(settings);
    if wished { Ok(free.is_err()) } else { free.map(|()| false) }
}

/// What serves.
struct Services {
    listeners: Vec<pingora_core::services::listening::Service<Endpoint>>,
    reload: Reload,
}

fn assemble(settings: Settings, source: reload::Source) -> Result<(Arc<State>, Services), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let parts = reload::parts(&settings, None)?;
    parts.warn();
    let watched = settings.server.reload.then(|| settings.files.clone());
    let metrics = Arc::new(Metrics::new().map_err(|e| text(&e))?);
    let fixed = Fixed::of(&settings);
    let log = settings.logging.requests.then(|| {
        RequestLog::open(&settings.logging.directory, metrics.dropped_lines.clone())
            .map_err(|e| format!("LOG_DIR {}: {e}", settings.logging.directory.display()))
    });
    let log = log.transpose()?;
    let vault = Vault::new(&settings, Arc::clone(&metrics)).map_err(|e| text(&e))?;
    let kms = settings.kms.clone().map(Kms::new);
    let (listeners, admin) = (settings.listeners.clone(), settings.admin.clone());
    let snapshot = Snapshot::build(settings, parts, None);
    let state = Arc::new(State::new(snapshot, vault, kms, metrics, log));
    let edges = listeners.iter().enumerate().map(|(index, listener)| gateway::edge(&state, index, listener));
    let mut listeners = edges.collect::<Result<Vec<_>, _>>().map_err(|e| text(&e))?;
    listeners.extend(gateway::admin(&state, &admin));
    let reload = Reload::new(source, Arc::clone(&state), fixed, watched);
    Ok((state, Services { listeners, reload }))
}

/// Names an address that is taken, and what changes it.
fn bindable(settings: &Settings) -> Result<(), String> {
    let admin = settings.admin.address.map(|address| (address, "ADMIN_PORT or [admin] address"));
    let edges = settings.listeners.iter().map(|listener| {
        let mend = if listener.tls.is_some() { "TLS_PORT or [[listeners]] address" } else { "PORT" };
        (listener.address, mend)
    });
    for (address, mend) in edges.chain(admin) {
        taken(address, mend)?;
    }
    Ok(())
}

fn taken(address: SocketAddr, mend: &str) -> Result<(), String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot listen on {address}: {error}; choose another with {mend}")),
    }
}

fn server_conf(settings: &Settings) -> ServerConf {
    let server = &settings.server;
    ServerConf {
        threads: server.threads,
        upgrade_sock: server.upgrade_socket.iter().map(|path| path.to_string_lossy()).collect(),
        // The gate ends itself when it is drained; this is for when it cannot.
        grace_period_seconds: Some(server.drain.as_secs() + REVOKE.as_secs() + 2),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// What runs beside the requests.
struct Background {
    state: Arc<State>,
    reload: Reload,
    drain: Duration,
    /// Whether another gate is replaced once this one is ready.
    upgrade: bool,
    /// Whether another gate has the listening sockets now.
    replaced: Arc<AtomicBool>,
}

#[async_trait]
impl BackgroundService for Background {
    async fn start_with_ready_notifier(&self, shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let notify = async {
            if self.upgrade {
                self.become_ready().await;
            }
            ready.notify_ready();
            std::future::pending().await
        };
        tokio::select! {
            () = self.start(shutdown) => {}
            () = notify => {}
        }
    }

    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.state.vault.monitor.run() => {}
            () = self.state.vault.login.run() => {}
            () = self.state.vault.handles.run(|| self.state.snapshot().layout.clone()) => {}
            () = self.state.vault.children.run() => {}
            () = self.watch_suspensions() => {}
            () = self.give_back() => {}
            () = self.reload.run() => {}
            () = self.fetch_keys() => {}
            () = self.share_limits() => {}
            () = ended(&mut shutdown) => self.end().await,
        }
    }
}

async fn ended(shutdown: &mut ShutdownWatch) {
    while !*shutdown.borrow() {
        if shutdown.changed().await.is_err() {
            return;
        }
    }
}

impl Background {
    async fn watch_suspensions(&self) {
        let vault = &self.state.vault;
        vault.suspensions.run(&vault.children, &vault.leases, || self.state.snapshot().layout.clone()).await;
    }

    async fn give_back(&self) {
        let vault = &self.state.vault;
        vault.returns.run(&vault.leases, || self.state.snapshot().layout.clone()).await;
    }

    /// Keeps the issuers' keys fresh: those of the snapshot of the moment.
    async fn fetch_keys(&self) {
        loop {
            let issuers = Arc::clone(&self.state.snapshot().issuers);
            let replaced = self.state.snapshot_where(|snapshot| !Arc::ptr_eq(&snapshot.issuers, &issuers));
            tokio::select! {
                () = issuers.run(&self.state.metrics) => {}
                () = replaced => {}
            }
        }
    }

    /// Keeps the connection to where limits are shared: that of the snapshot of the moment.
    async fn share_limits(&self) {
        let same = |one: &Option<Arc<SharedLimits>>, other: &Option<Arc<SharedLimits>>| {
            one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
        };
        loop {
            self.state.metrics.shared_limits.up.set(0);
            let shared = self.state.snapshot().shared_limits.clone();
            let kept = async {
                match &shared {
                    Some(shared) => shared.run(&self.state.metrics).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = kept => {}
                () = self.state.snapshot_where(|snapshot| !same(&snapshot.shared_limits, &shared)) => {}
            }
        }
    }

    /// Waits until this gate could serve all that the one before it does, and
    /// ends it where that takes too long: the one before goes on.
    async fn become_ready(&self) {
        let ready = async {
            let knows_keys = || self.state.snapshot().issuers.keys().all(|(_, keys)| keys > 0);
            while !(self.state.is_ready() && knows_keys()) {
                tokio::time::sleep(upgrade::EVERY).await;
            }
        };
        if tokio::time::timeout(upgrade::PATIENCE, ready).await.is_err() {
            let detail = self.state.vault.login.detail();
            tracing::error!(%detail, "not ready to take over in time; the gate that runs goes on");
            std::process::exit(NOT_UPGRADED);
        }
        tracing::info!("ready to take over from the gate that runs, once it gets SIGQUIT");
    }

    /// Lets requests end, drops the agents' tokens, closes the log, and ends the
    /// process: the listeners no longer accept by now.
    async fn end(&self) {
        let deadline = tokio::time::Instant::now() + self.drain;
        // Where callers are served on by another gate, they are to notice nothing: a
        // connection is closed after an answer that says so, not before a request, and
        // what asks for readiness hears of that gate's.
        let replaced = self.replaced.load(Ordering::Relaxed);
        if replaced {
            tokio::time::sleep(ACCEPT).await;
        } else {
            self.state.drain();
        }
        let open = || replaced && self.state.metrics.connections.get() > 0;
        while (self.under_way() > 0 || open()) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = self.under_way();
        let layout = self.state.snapshot().layout.clone();
        self.state.vault.leave(&layout, REVOKE).await;
        if let Some(log) = &self.state.log {
            log.close();
        }
        tracing::info!(left, "the gate ends");
        std::process::exit(0);
    }

    /// Requests, and streams of events, which end by themselves now.
    fn under_way(&self) -> usize {
        self.state.load.requests() + self.state.streams.open()
    }
}

/// SIGTERM and SIGINT end the gate; SIGQUIT does too, once another has its sockets.
struct Signals {
    /// Where that one gets them, if anywhere.
    socket: Option<PathBuf>,
    replaced: Arc<AtomicBool>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let of = |kind| signal(kind).inspect_err(|error| tracing::error!(%error, "signals cannot be waited for"));
        let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()].map(of);
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut quit)] = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => ShutdownSignal::GracefulTerminate,
            _ = interrupt.recv() => ShutdownSignal::GracefulTerminate,
            signal = self.quit(&mut quit) => signal,
        }
    }
}

impl Signals {
    /// How the gate ends by SIGQUIT; without anybody to replace it, it goes on.
    async fn quit(&self, signals: &mut Signal) -> ShutdownSignal {
        loop {
            signals.recv().await;
            let Some(socket) = &self.socket else { return ShutdownSignal::GracefulTerminate };
            match upgrade::successor(socket).await {
                Ok(()) => break,
                Err(problem) => tracing::error!(%problem, "the gate is not replaced, and goes on"),
            }
        }
        self.replaced.store(true, Ordering::Relaxed);
        ShutdownSignal::GracefulUpgrade
    }
}
