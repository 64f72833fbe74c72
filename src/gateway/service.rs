//! A service of the proxy framework for each listener.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use pingora_core::services::listening::Service;

use crate::config;
use crate::listener;
use crate::state::State;

use super::{Gateway, Side};

/// The service of the configured listener at `index`.
///
/// # Errors
/// What the TLS settings say.
pub fn edge(
    state: &Arc<State>,
    index: usize,
    listener: &config::Listener,
) -> Result<Service<Gateway>, pingora_core::BError> {
    let gateway = Gateway::new(Arc::clone(state), Side::Edge { index, metrics: listener.metrics });
    let mut service = Service::new(format!("listener {}", listener.address), gateway);
    service.add_listener(listener::endpoint(state, index, listener)?);
    Ok(service)
}

/// The operators' service: a loopback address, a Unix socket, or both.
#[must_use]
pub fn admin(state: &Arc<State>, admin: &config::Admin) -> Option<Service<Gateway>> {
    let gateway = Gateway::new(Arc::clone(state), Side::Admin);
    let mut service = Service::new("listener admin".into(), gateway);
    service.threads = Some(1);
    if let Some(address) = admin.address {
        service.add_listener(listener::plain(address));
    }
    if let Some(socket) = &admin.socket {
        service.add_uds(&socket.to_string_lossy(), Some(Permissions::from_mode(0o600)));
    }
    (admin.address.is_some() || admin.socket.is_some()).then_some(service)
}
