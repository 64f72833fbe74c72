//! Accepts connections until it is told to stop. Errors of the system are counted and logged, and
//! never end the accepting.

use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::telemetry::{ConnectionMetrics, Seldom};

use super::{Accepted, Acceptor, Connections, Open};

/// Pause where the process or the system has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(20);

/// The accepting of one listener.
pub struct Accepting {
    /// The name of the listener, for the log.
    pub name: String,
    /// The source of connections.
    pub acceptor: Acceptor,
    /// Counts them.
    pub connections: Arc<Connections>,
    /// Connections of which one is closed where the system lets no more be accepted.
    pub relief: Arc<Connections>,
    /// The metrics of connections.
    pub metrics: Arc<ConnectionMetrics>,
    /// The most connections that may be open at the moment.
    pub most: Box<dyn Fn() -> usize + Send + Sync>,
}

impl Accepting {
    /// Gives each connection to `serve`, until `stop` is true.
    pub async fn run(self, stop: watch::Receiver<bool>, serve: impl Fn(Accepted, Option<IpAddr>, Open)) {
        // A panic must not end the accepting.
        while AssertUnwindSafe(self.accept(stop.clone(), &serve)).catch_unwind().await.is_err() {
            self.metrics.accept_failures.inc();
            sleep(PAUSE).await;
        }
    }

    async fn accept(&self, mut stop: watch::Receiver<bool>, serve: &impl Fn(Accepted, Option<IpAddr>, Open)) {
        let (crowded, failing) = (Seldom::default(), Seldom::default());
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = self.acceptor.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match self.connections.open((self.most)()) {
                    Ok(open) => serve(stream, peer, open),
                    Err(_) => {
                        self.metrics.refused.inc();
                        if let Some(more) = crowded.due() {
                            let listener = &self.name;
                            tracing::warn!(%listener, more, "all connections that may be open are busy; one is closed");
                        }
                    }
                },
                Err(error) => self.failed(&error, &failing).await,
            }
        }
    }

    async fn failed(&self, error: &io::Error, failing: &Seldom) {
        // The peer has gone before it was accepted.
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        self.metrics.accept_failures.inc();
        if let Some(more) = failing.due() {
            let listener = &self.name;
            tracing::error!(%listener, %error, more, "a connection cannot be accepted; the one idle longest is closed");
        }
        self.relief.relieve();
        sleep(PAUSE).await;
    }
}
