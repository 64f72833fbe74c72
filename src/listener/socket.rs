//! Listening sockets. They are bound before anything serves, so that the start ends where an address
//! cannot be bound.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fmt, str};

use super::Accepted;

/// Most connections that wait to be accepted; the kernel has a bound of its own
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// The address of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl str::FromStr for Address {
    type Err = std::convert::Infallible;

    /// Reads the text that `Display` writes: a text that is no TCP address is a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Unix(text.into()), Self::Tcp))
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Socket {
    /// Its address.
    pub address: Address,
    kind: BoundSocket,
}

#[derive(Debug)]
enum BoundSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    /// Listens at `address`. At a path, only a socket on which nobody listens is replaced.
    ///
    /// # Errors
    /// The reason in words for people, with the address.
    pub fn bind(address: &Address) -> Result<Self, String> {
        let kind = match address {
            Address::Tcp(at) => TcpListener::bind(at).map(BoundSocket::Tcp),
            Address::Unix(path) => bind_unix(path).map(BoundSocket::Unix),
        };
        let socket = kind.and_then(|kind| Self::listening(address.clone(), kind));
        socket.map_err(|error| format!("cannot listen on {address}: {error}"))
    }

    /// Takes over the socket of another process that listened at `address` already.
    ///
    /// # Errors
    /// The system's error.
    pub fn inherited(address: Address, descriptor: OwnedFd) -> io::Result<Self> {
        let kind = match &address {
            Address::Tcp(_) => BoundSocket::Tcp(descriptor.into()),
            Address::Unix(_) => BoundSocket::Unix(descriptor.into()),
        };
        Self::listening(address, kind)
    }

    fn listening(address: Address, kind: BoundSocket) -> io::Result<Self> {
        let socket = Self { address, kind };
        // A socket that listens already gets the new backlog.
        rustix::net::listen(&socket, BACKLOG)?;
        match &socket.kind {
            BoundSocket::Tcp(listener) => listener.set_nonblocking(true)?,
            BoundSocket::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }

    /// An acceptor from this socket on the current runtime.
    ///
    /// # Errors
    /// The system's error.
    pub fn acceptor(&self) -> io::Result<Acceptor> {
        Ok(match &self.kind {
            BoundSocket::Tcp(listener) => Acceptor::Tcp(tokio::net::TcpListener::from_std(listener.try_clone()?)?),
            BoundSocket::Unix(listener) => Acceptor::Unix(tokio::net::UnixListener::from_std(listener.try_clone()?)?),
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            BoundSocket::Tcp(listener) => listener.as_fd(),
            BoundSocket::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Accepts connections.
#[derive(Debug)]
pub enum Acceptor {
    /// Over TCP.
    Tcp(tokio::net::TcpListener),
    /// Over a Unix socket.
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// The next connection, and the address of its peer where that has one.
    ///
    /// # Errors
    /// The system's error.
    pub async fn accept(&self) -> io::Result<(Accepted, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A peer that has gone already is noticed when it is read from.
                let _ = stream.set_nodelay(true);
                Ok((stream.into(), Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => Ok((listener.accept().await?.0.into(), None)),
        }
    }
}

/// True where a socket is at `path` on which nobody listens any more; false where nothing is there.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] where somebody listens; another where something else is there that must
/// not be replaced.
pub fn is_stale(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something is there that is no socket: move it away",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there already")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error),
    }
}

/// Listens at `path`, for the gate's own user alone.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if is_stale(path)? {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
