//! What becomes of a connection before TLS: it is counted while it is open,
//! and a balancer says by the PROXY protocol whose it is.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use async_trait::async_trait;
use filters::proxy_protocol::{self, BadHeader, FIXED};
use pingora_core::ErrorType::Custom;
use pingora_core::listeners::PreTlsProcess;
use pingora_core::protocols::l4::socket;
use pingora_core::protocols::l4::stream::Stream as Tcp;
use pingora_core::protocols::{GetSocketDigest as _, SocketDigest, Stream};
use pingora_core::upstreams::peer::{Tracer, Tracing};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::state::State;

/// Receives the connections of one listener.
pub struct Arrival {
    state: Arc<State>,
    /// Whether those of trusted proxies begin with a PROXY header.
    balanced: bool,
}

/// Why a connection is closed before anything is asked.
enum Stop {
    Bad(BadHeader),
    Late,
    /// By the other side, as balancers do that only look whether anybody listens.
    Closed,
}

/// Counts a connection until it is closed.
#[derive(Debug)]
struct Open(prometheus::IntGauge);

impl Tracing for Open {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.0.dec();
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(self.0.clone()))
    }
}

impl Arrival {
    /// Those of a listener; `balanced` where its trusted proxies speak the PROXY protocol.
    #[must_use]
    pub const fn new(state: Arc<State>, balanced: bool) -> Self {
        Self { state, balanced }
    }

    /// Receives a connection without TLS; `None` where it is to be closed.
    pub async fn admit(&self, stream: Stream) -> Option<Stream> {
        let mut stream = stream.into_any().downcast::<Tcp>().ok()?;
        self.process(&mut stream).await.ok()?;
        Some(stream)
    }

    /// Who the connection is from, where it must tell whose it is.
    fn balancer(&self, stream: &Tcp) -> Option<IpAddr> {
        let peer = stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip().to_canonical();
        (self.balanced && self.state.snapshot().is_trusted_proxy(peer)).then_some(peer)
    }

    fn refuse(&self, balancer: IpAddr, stop: &Stop) {
        let problem = match stop {
            Stop::Closed => return,
            Stop::Late => "late".to_owned(),
            Stop::Bad(bad) => bad.to_string(),
        };
        self.state.metrics.bad_proxy_headers.inc();
        tracing::warn!(%balancer, %problem, "the PROXY header of a trusted proxy is refused");
    }
}

#[async_trait]
impl PreTlsProcess for Arrival {
    async fn process(&self, stream: &mut Tcp) -> pingora_core::Result<()> {
        let connections = self.state.metrics.connections.clone();
        connections.inc();
        stream.tracer = Some(Tracer(Box::new(Open(connections))));
        let Some(balancer) = self.balancer(stream) else { return Ok(()) };
        let patience = self.state.snapshot().limits.head_timeout;
        let told = timeout(patience, client(stream)).await.unwrap_or(Err(Stop::Late));
        match told {
            Ok(Some(client)) => speak_for(stream, client),
            Ok(None) => {}
            Err(stop) => {
                self.refuse(balancer, &stop);
                return Err(pingora_core::Error::new(Custom("a PROXY header is refused")));
            }
        }
        Ok(())
    }
}

/// Reads the header, and nothing after it.
async fn client(stream: &mut Tcp) -> Result<Option<SocketAddr>, Stop> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await.map_err(|_| Stop::Closed)?;
    let mut rest = vec![0; proxy_protocol::rest_of(&fixed).map_err(Stop::Bad)?];
    stream.read_exact(&mut rest).await.map_err(|_| Stop::Closed)?;
    proxy_protocol::client(&[&fixed[..], &rest].concat()).map_err(Stop::Bad)
}

/// Makes `client` the connection's peer.
fn speak_for(stream: &mut Tcp, client: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _ = digest.peer_addr.set(Some(socket::SocketAddr::Inet(client)));
    stream.set_socket_digest(digest);
}
