//! Receives a connection before its first request: reads a balancer's PROXY header, counts the
//! connection for its source, and completes the TLS handshake.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use filters::proxy_protocol::{self, BadHeader, FIXED};
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::{Ssl as _, Stream};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::limits::network;
use crate::service::Peer;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::telemetry::Seldom;

use super::{Accepted, Connection, tls};

/// Receives the connections of one listener.
pub struct Receiver {
    state: Arc<State>,
    /// True where trusted proxies begin their connections with a PROXY header.
    balanced: bool,
    tls: Option<Acceptor>,
    crowded: Seldom,
}

/// The reason why a connection is closed before its first request.
enum NotReceived {
    Bad(BadHeader),
    Late,
    /// The other side closed it, as balancers do that only look whether somebody listens.
    Closed,
}

impl Receiver {
    /// A receiver for the listener at `index`; where it is `balanced`, its trusted proxies send PROXY
    /// headers.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(state: Arc<State>, index: usize, listens_tls: bool, balanced: bool) -> Result<Self, rustls::Error> {
        let tls = listens_tls.then(|| tls::acceptor(&state, index)).transpose()?;
        Ok(Self { state, balanced, tls, crowded: Seldom::default() })
    }

    /// Reads the PROXY header and completes the TLS handshake, each within the time of a head; `None`
    /// where the connection is to be closed.
    pub async fn receive(&self, mut stream: Accepted, peer: Option<IpAddr>, connection: &Connection) -> Option<Stream> {
        let snapshot = Arc::clone(&self.state.snapshot());
        let patience = snapshot.limits.bounds.head_timeout;
        let mut client = peer;
        if let Some(balancer) = peer.filter(|peer| self.balanced && snapshot.credentials.proxies.contain(*peer)) {
            match timeout(patience, told(&mut stream)).await.unwrap_or(Err(NotReceived::Late)) {
                Ok(named) => client = named.or(client),
                Err(stop) => return self.refuse(balancer, &stop),
            }
        }
        if let Some(client) = client {
            self.count(client, connection, &snapshot)?;
        }
        let Some(tls) = &self.tls else { return Some(Box::new(stream)) };
        let begun = self.state.sinks.traces().map(|_| Instant::now());
        // A failed handshake is counted and not logged: anybody can cause one.
        let Ok(Ok(stream)) = timeout(patience, tls.tls_handshake(stream)).await else {
            self.state.metrics.connections.handshakes_failed.inc();
            return None;
        };
        let chain = stream.get_ssl().and_then(|tls| tls.peer_cert_chain_der());
        if let Some(peer) = chain.and_then(Peer::of_chain) {
            connection.presented(peer);
        }
        if let Some(begun) = begun {
            connection.shook_hands(begun);
        }
        Some(Box::new(stream))
    }

    /// Counts the connection for its source. A trusted proxy's own connections are not bounded: they are
    /// those of everyone that it serves.
    fn count(&self, client: IpAddr, connection: &Connection, snapshot: &Snapshot) -> Option<()> {
        let most = if snapshot.credentials.proxies.contain(client) {
            usize::MAX
        } else {
            snapshot.limits.bounds.connections.per_source
        };
        connection.is_from(client);
        if connection.counts_for(network(client), most).is_ok() {
            return Some(());
        }
        self.state.metrics.connections.refused.inc();
        if let Some(more) = self.crowded.due() {
            tracing::warn!(%client, more, "a source has as many connections open as it may; the new one is closed");
        }
        None
    }

    fn refuse<T>(&self, balancer: IpAddr, stop: &NotReceived) -> Option<T> {
        let problem = match stop {
            NotReceived::Closed => return None,
            NotReceived::Late => "late".to_owned(),
            NotReceived::Bad(bad) => bad.to_string(),
        };
        self.state.metrics.connections.bad_proxy_headers.inc();
        tracing::warn!(%balancer, %problem, "the PROXY header of a trusted proxy is refused");
        None
    }
}

/// Reads the PROXY header, and nothing after it; gives the address of the client that it names.
async fn told(stream: &mut Accepted) -> Result<Option<IpAddr>, NotReceived> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await.map_err(|_| NotReceived::Closed)?;
    let mut rest = vec![0; proxy_protocol::rest_of(&fixed).map_err(NotReceived::Bad)?];
    stream.read_exact(&mut rest).await.map_err(|_| NotReceived::Closed)?;
    let client = proxy_protocol::client(&[&fixed[..], &rest].concat()).map_err(NotReceived::Bad)?;
    Ok(client.map(|client| client.ip().to_canonical()))
}
