//! Connections to Vault that are kept for the next request.

use std::sync::Arc;
use std::time::Duration;

use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v1::Connector;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;

/// The pool of idle connections, and the connector that makes new ones.
pub(super) struct Pool {
    pub(super) connector: Connector,
    idle: Duration,
}

impl Pool {
    /// An empty pool, whose connections are kept for the time `idle`.
    pub(super) fn new(options: ConnectorOptions, idle: Duration) -> Self {
        Self { connector: Connector::new(Some(options)), idle }
    }

    /// Gives a connection whose answer was read to the end back to the pool.
    pub(super) fn keep(&self, session: HttpSession, peer: &Arc<HttpPeer>) -> impl Future<Output = ()> {
        self.connector.release_http_session(session, &**peer, Some(self.idle))
    }
}
