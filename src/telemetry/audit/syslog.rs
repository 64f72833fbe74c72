//! Records to a syslog server (RFC 5424): by UDP (RFC 5426), by TCP with counted octets (RFC 6587, section 3.4.1), by
//! TLS (RFC 5425).

use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::outlet::Outward;

/// Facility 13, log audit, and severity 6, informational.
const PRIORITY: u8 = 13 * 8 + 6;
/// Longest time to connect, and for what is written to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// A syslog server.
pub struct Syslog {
    host: String,
    port: u16,
    way: Way,
    /// What stands before each record behind the time.
    header: String,
    connection: Option<Connection>,
}

enum Way {
    Udp,
    Tcp,
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

enum Connection {
    Datagrams(UdpSocket),
    Stream(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Syslog {
    /// A server that takes datagrams.
    #[must_use]
    pub fn udp(host: String, port: u16) -> Self {
        Self::of(host, port, Way::Udp)
    }

    /// A server that takes a stream.
    #[must_use]
    pub fn tcp(host: String, port: u16) -> Self {
        Self::of(host, port, Way::Tcp)
    }

    /// A server that takes a stream in TLS; `config` has the authorities of its certificate.
    ///
    /// # Errors
    /// `None` where `host` is no name that a certificate can carry.
    #[must_use]
    pub fn tls(host: String, port: u16, config: ClientConfig) -> Option<Self> {
        let name = ServerName::try_from(host.clone()).ok()?;
        Some(Self::of(host, port, Way::Tls(Arc::new(config), name)))
    }

    fn of(host: String, port: u16, way: Way) -> Self {
        let named = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let plain: String = named.trim_ascii().chars().filter(char::is_ascii_graphic).take(255).collect();
        let own = if plain.is_empty() { "-" } else { &plain };
        let header = format!(" {own} portcullis {} audit - ", std::process::id());
        Self { host, port, way, header, connection: None }
    }

    fn connect(&self) -> io::Result<Connection> {
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            let stream = match &self.way {
                Way::Udp => {
                    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
                    socket.connect(address)?;
                    return Ok(Connection::Datagrams(socket));
                }
                Way::Tcp | Way::Tls(..) => TcpStream::connect_timeout(&address, PATIENCE),
            };
            match stream.and_then(|stream| self.secure(stream)) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn secure(&self, stream: TcpStream) -> io::Result<Connection> {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let Way::Tls(config, name) = &self.way else { return Ok(Connection::Stream(stream)) };
        let client = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(client, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Connection::Tls(Box::new(stream)))
    }

    /// The message of a record, and before it its length where octets are counted.
    fn frame(&self, record: &[u8], frame: &mut Vec<u8>) {
        let mut head = format!("<{PRIORITY}>1 ").into_bytes();
        let _ = OffsetDateTime::now_utc().format_into(&mut head, &Rfc3339);
        head.extend_from_slice(self.header.as_bytes());
        frame.clear();
        if !matches!(self.way, Way::Udp) {
            let _ = write!(frame, "{} ", head.len() + record.len());
        }
        frame.extend_from_slice(&head);
        frame.extend_from_slice(record);
    }
}

impl Connection {
    /// False where the other end has closed it: what is written then is lost.
    fn is_open(&self) -> bool {
        let stream = match self {
            Self::Datagrams(_) => return true,
            Self::Stream(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let open = match looked {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        stream.set_nonblocking(false).is_ok() && open
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(frame).map(drop),
            Self::Stream(stream) => stream.write_all(frame),
            Self::Tls(stream) => stream.write_all(frame).and_then(|()| stream.flush()),
        }
    }
}

impl Outward for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn send(&mut self, lines: &[u8], unsent: &IntCounter) -> (usize, io::Result<()>) {
        let (mut done, mut frame) = (0, Vec::new());
        let open = self.connection.take().filter(Connection::is_open);
        let mut connection = match open.map_or_else(|| self.connect(), Ok) {
            Ok(connection) => connection,
            Err(error) => return (0, Err(error)),
        };
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.frame(line.trim_ascii_end(), &mut frame);
            // A record that is too long for a datagram never fits.
            match connection.send(&frame) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => unsent.inc(),
                Err(error) => return (done, Err(error)),
                Ok(()) => {}
            }
            done += line.len();
        }
        self.connection = Some(connection);
        (done, Ok(()))
    }
}
