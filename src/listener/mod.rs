//! Where callers connect: sockets, TLS, and the facts of a peer's certificate.

mod peer;
mod tls;

pub use peer::{Peer, Verdict};
pub use tls::{TlsMaterial, TlsProblem, load};

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use pingora_core::listeners::ListenerConfig;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::services::listening::Service;

use crate::config;
use crate::gateway::{Gateway, Side};
use crate::state::State;

/// Bytes of the read buffer of a connection; the framework's default is 64 KiB.
const BUFFER: usize = 8 << 10;

/// The service of one configured listener.
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
    let mut config = ListenerConfig::tcp(listener.address.to_string());
    config = config.l4_buffer(buffer());
    if listener.tls.is_some() {
        let mut settings = TlsSettings::with_callbacks(Box::new(peer::Facts))?;
        settings.set_cert_resolver(Arc::new(tls::Certificates::new(Arc::clone(state), index)));
        settings.set_client_cert_verifier(Arc::new(tls::Clients::new(Arc::clone(state), index)));
        settings.enable_h2();
        config = config.tls(settings);
    }
    service.add_listener(config);
    Ok(service)
}

/// The operators' service: a loopback address, a Unix socket, or both.
#[must_use]
pub fn admin(state: &Arc<State>, admin: &config::Admin) -> Option<Service<Gateway>> {
    let gateway = Gateway::new(Arc::clone(state), Side::Admin);
    let mut service = Service::new("listener admin".into(), gateway);
    service.threads = Some(1);
    if let Some(address) = admin.address {
        service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(buffer()));
    }
    if let Some(socket) = &admin.socket {
        service.add_uds(&path(socket), Some(Permissions::from_mode(0o600)));
    }
    (admin.address.is_some() || admin.socket.is_some()).then_some(service)
}

fn buffer() -> pingora_core::listeners::L4BufferSettings {
    pingora_core::listeners::L4BufferSettings { read: Some(BUFFER), ..Default::default() }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
