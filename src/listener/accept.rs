//! Accepts connections until it is told to stop. What the system refuses is counted and said, and
//! never ends the accepting.

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

/// How long accepting pauses where the process or the system has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(20);

/// What the accepting of a listener needs.
pub struct Accepting {
    /// The name of the listener, for the log.
    pub name: String,
    /// Where connections come from.
    pub acceptor: Acceptor,
    /// Where they are counted.
    pub connections: Arc<Connections>,
    /// One of these is closed where the system lets none more be accepted.
    pub relief: Arc<Connections>,
    /// What is told of them.
    pub metrics: Arc<ConnectionMetrics>,
    /// Most that may be open, as of now.
    pub most: Box<dyn Fn() -> usize + Send + Sync>,
}

impl Accepting {
    /// Gives each connection to `serve`, until `stop` is true.
    pub async fn run(self, stop: watch::Receiver<bool>, serve: impl Fn(Accepted, Option<IpAddr>, Open)) {
        // A defect must not end the accepting.
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
