//! The gate's process: reads the configuration, puts the parts together,
//! serves until it is told to end.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora_core::services::background::{BackgroundService, background_service};
use portcullis::cli::{self, Command, Flags};
use portcullis::config::{self, Settings};
use portcullis::gateway::{self, Endpoint};
use portcullis::kms::Kms;
use portcullis::limits::SharedLimits;
use portcullis::reload::{self, Reload};
use portcullis::snapshot::Snapshot;
use portcullis::state::State;
use portcullis::telemetry::{self, Metrics, RequestLog};
use portcullis::vault::Vault;
use tokio::signal::unix::{SignalKind, signal};

/// How long revoking child tokens may take at the end.
const REVOKE: Duration = Duration::from_secs(3);
/// A configuration or environment that the gate cannot start with.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse() {
        Command::Run(flags) => match run(flags) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("portcullis: {problem}");
                ExitCode::from(UNUSABLE)
            }
        },
        Command::Once(once) => once.run(),
    }
}

fn run(flags: Flags) -> Result<(), String> {
    // Before anything else of TLS, so that it is the only provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let source: reload::Source = Box::new(move || config::load(&flags, &config::variable));
    let settings = source().map_err(|report| report.to_string())?;
    telemetry::start_server_log(settings.logging.level);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    bindable(&settings)?;
    let threads = settings.server.threads;
    let drain = settings.server.drain;
    let (state, services) = assemble(settings, source)?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf(threads, drain));
    server.bootstrap();
    for service in services.listeners {
        server.add_boxed_service(Box::new(service));
    }
    server.add_service(background_service("gate", Background { state, reload: services.reload, drain }));
    server.run(RunArgs { shutdown_signal: Box::new(Signals) });
    Ok(())
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
    let reload = Reload::new(source, Arc::clone(&state), watched);
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

fn server_conf(threads: usize, drain: Duration) -> ServerConf {
    ServerConf {
        threads,
        // The gate ends itself when it is drained; this is for when it cannot.
        grace_period_seconds: Some(drain.as_secs() + REVOKE.as_secs() + 2),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// What runs beside the requests.
struct Background {
    state: Arc<State>,
    reload: Reload,
    drain: Duration,
}

#[async_trait]
impl BackgroundService for Background {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.state.vault.monitor.run() => {}
            () = self.state.vault.login.run() => {}
            () = self.state.vault.handles.run(|| self.state.snapshot().layout.clone()) => {}
            () = self.watch_suspensions() => {}
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

    /// Lets requests end, drops the child tokens, closes the log, and ends the
    /// process: the listeners no longer accept by now.
    async fn end(&self) {
        self.state.drain();
        let deadline = tokio::time::Instant::now() + self.drain;
        while self.state.load.requests() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = self.state.load.requests();
        self.state.vault.children.drop_all(REVOKE).await;
        if let Some(log) = &self.state.log {
            log.close();
        }
        tracing::info!(left, "the gate ends");
        std::process::exit(0);
    }
}

/// SIGTERM and SIGINT end the gate.
struct Signals;

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            _ => std::future::pending().await,
        }
        ShutdownSignal::GracefulTerminate
    }
}
