//! Callers' connections: sockets, bounds of connections, the PROXY protocol, TLS, and the facts of a
//! peer's certificate.

mod accept;
mod connections;
mod receive;
mod socket;
mod stream;
mod tls;

pub use accept::Accepting;
pub use connections::{Busy, Connection, Connections, Open, TooMany};
pub use receive::Receiver;
pub use socket::{Acceptor, Address, Socket, is_stale};
pub use stream::Accepted;
