//! A service of the proxy framework for each listener.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::listening::Service;

use crate::config;
use crate::listener::{self, Arrival};
use crate::state::State;

use super::{Gateway, Side};

/// What serves the connections of one listener.
pub struct Endpoint {
    gateway: Arc<Gateway>,
    /// What a connection begins with, where no TLS follows: with TLS it is over by now.
    arrival: Option<Arrival>,
}

#[async_trait]
impl ServerApp for Endpoint {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let stream = match &self.arrival {
            Some(arrival) => arrival.admit(stream).await?,
            None => stream,
        };
        self.gateway.process_new(stream, shutdown).await
    }
}

/// The service of the configured listener at `index`.
///
/// # Errors
/// What the TLS settings say.
pub fn edge(
    state: &Arc<State>,
    index: usize,
    listener: &config::Listener,
) -> Result<Service<Endpoint>, pingora_core::BError> {
    let side = Side::Edge { index, balanced: listener.proxy_protocol };
    let gateway = Arc::new(Gateway::new(Arc::clone(state), side));
    let arrival = Arrival::new(Arc::clone(state), listener.proxy_protocol);
    let name = format!("listener {}", listener.address);
    if listener.tls.is_none() {
        let mut service = Service::new(name, Endpoint { gateway, arrival: Some(arrival) });
        service.add_listener(listener::plain(listener.address));
        return Ok(service);
    }
    let mut service = Service::new(name, Endpoint { gateway, arrival: None });
    service.endpoints().set_pre_tls_callback(Arc::new(arrival));
    service.add_listener(listener::tls(state, index, listener.address)?);
    Ok(service)
}

/// The operators' service: a loopback address, a Unix socket, or both.
#[must_use]
pub fn admin(state: &Arc<State>, admin: &config::Admin) -> Option<Service<Endpoint>> {
    let gateway = Arc::new(Gateway::new(Arc::clone(state), Side::Admin));
    let mut service = Service::new("listener admin".into(), Endpoint { gateway, arrival: None });
    service.threads = Some(1);
    if let Some(address) = admin.address {
        service.add_listener(listener::plain(address));
    }
    if let Some(socket) = &admin.socket {
        service.add_uds(&socket.to_string_lossy(), Some(Permissions::from_mode(0o600)));
    }
    (admin.address.is_some() || admin.socket.is_some()).then_some(service)
}
