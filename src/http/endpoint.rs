//! What serves the connections of one listener: receives each, and hands it its requests.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config;
use crate::listener::{Accepted, Open, Receiver};
use crate::state::State;

use super::Gateway;
use super::side::Side;

/// What serves the connections of one listener.
pub struct Endpoint {
    gateway: Arc<Gateway>,
    receiver: Receiver,
}

impl Endpoint {
    /// The endpoint of the configured listener at `index`.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn edge(state: &Arc<State>, index: usize, listener: &config::Listener) -> Result<Self, rustls::Error> {
        let balanced = listener.proxy_protocol;
        let receiver = Receiver::new(Arc::clone(state), index, listener.tls.is_some(), balanced)?;
        let side = Side::Edge { index, balanced };
        Ok(Self { gateway: Arc::new(Gateway::new(Arc::clone(state), side)), receiver })
    }

    /// The operators' endpoint, without TLS.
    ///
    /// # Errors
    /// Never: there is no TLS to set up.
    pub fn admin(state: &Arc<State>) -> Result<Self, rustls::Error> {
        let receiver = Receiver::new(Arc::clone(state), 0, false, false)?;
        Ok(Self { gateway: Arc::new(Gateway::new(Arc::clone(state), Side::Admin)), receiver })
    }

    /// Serves one connection until it is closed; `shutdown` becomes true when the gate ends.
    pub async fn serve(&self, stream: Accepted, peer: Option<IpAddr>, open: Open, shutdown: watch::Receiver<bool>) {
        let Some(stream) = self.receiver.receive(stream, peer, &open).await else { return };
        self.gateway.serve(stream, &open, shutdown).await;
    }
}
