//! Where callers connect: TLS, and the facts of a peer's certificate.

mod arrival;
mod peer;
mod tls;

pub use arrival::Arrival;
pub use peer::{Peer, Verdict};

use std::net::SocketAddr;
use std::sync::Arc;

use pingora_core::listeners::tls::TlsSettings;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};

use crate::state::State;

/// Bytes of the read buffer of a connection; the framework's default is 64 KiB. TLS and HTTP have
/// their own, and whoever reads more than this at once reads past it.
const BUFFER: usize = 1 << 10;

/// A plain endpoint.
#[must_use]
pub fn plain(address: SocketAddr) -> ListenerConfig {
    let buffer = L4BufferSettings { read: Some(BUFFER), ..Default::default() };
    ListenerConfig::tcp(address.to_string()).l4_buffer(buffer)
}

/// The TLS endpoint of the configured listener at `index`.
///
/// # Errors
/// What the TLS settings say.
pub fn tls(state: &Arc<State>, index: usize, address: SocketAddr) -> Result<ListenerConfig, pingora_core::BError> {
    let mut settings = TlsSettings::with_callbacks(Box::new(peer::Facts))?;
    settings.set_cert_resolver(Arc::new(tls::Certificates::new(Arc::clone(state), index)));
    settings.set_client_cert_verifier(Arc::new(tls::Clients::new(Arc::clone(state), index)));
    settings.enable_h2();
    Ok(plain(address).tls(settings))
}
