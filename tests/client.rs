//! A client that normalises nothing: the target and every header go out as
//! they are given, one connection per request unless it is kept.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::Value;

/// The time that a read may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One caller: where it goes, and what it shows.
#[derive(Clone)]
pub struct Client {
    port: u16,
    /// Instead of the port.
    socket: Option<PathBuf>,
    tls: Option<Arc<ClientConfig>>,
    headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The stable code of an error.
    pub fn code(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// Over plain HTTP.
    pub fn plain(port: u16) -> Self {
        Self { port, socket: None, tls: None, headers: Vec::new() }
    }

    /// Over a Unix socket.
    pub fn unix(socket: &Path) -> Self {
        Self { socket: Some(socket.to_owned()), ..Self::plain(0) }
    }

    /// Over TLS, trusting `authority`, with a certificate if there is one.
    pub fn tls(port: u16, authority: &str, identity: Option<&certs::Issued>) -> Self {
        Self::over(port, tls_config(authority, identity, rustls::DEFAULT_VERSIONS))
    }

    /// Over TLS as it is told; what shares `config` resumes its sessions.
    pub fn over(port: u16, config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { port, socket: None, tls: Some(config.into()), headers: Vec::new() }
    }

    /// The same caller with one more header on every request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A connection, over TLS with the handshake under way.
    pub fn connect(&self) -> io::Result<Box<dyn Stream>> {
        if let Some(socket) = &self.socket {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            return Ok(Box::new(stream));
        }
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Ok(Box::new(StreamOwned::new(session, tcp)))
            }
        }
    }

    /// Sends one request on a connection of its own.
    pub fn try_send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut stream = self.connect()?;
        let mut with_close = headers.to_vec();
        with_close.push(("Connection", "close"));
        self.exchange(&mut stream, method, target, &with_close, body)
    }

    /// Sends one request on `stream`.
    pub fn exchange(
        &self,
        stream: &mut Box<dyn Stream>,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        // A gate that refuses early may close before everything is written.
        let written = stream.write_all(&request).and_then(|()| stream.flush());
        read_response(stream).or_else(|error| written.and(Err(error)))
    }

    /// Reads one answer off `stream`.
    pub fn read(stream: &mut Box<dyn Stream>) -> io::Result<Response> {
        read_response(stream)
    }

    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let sent = self.try_send(method, target, headers, body);
        sent.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub fn get(&self, target: &str) -> Response {
        self.send("GET", target, &[], b"")
    }

    pub fn delete(&self, target: &str) -> Response {
        self.send("DELETE", target, &[], b"")
    }

    /// Sends JSON.
    pub fn put(&self, target: &str, body: &Value) -> Response {
        self.send("PUT", target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends JSON.
    pub fn post(&self, target: &str, body: &Value) -> Response {
        self.send("POST", target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends one MCP message in a revision with a handshake.
    pub fn mcp(&self, message: &Value) -> Response {
        self.mcp_with(&[("MCP-Protocol-Version", "2025-06-18")], message)
    }

    /// Sends one MCP message with these headers.
    pub fn mcp_with(&self, headers: &[(&str, &str)], message: &Value) -> Response {
        let mut all = vec![("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
        all.extend_from_slice(headers);
        self.send("POST", "/mcp", &all, message.to_string().as_bytes())
    }

    /// Calls a tool and gives the whole response.
    pub fn call(&self, tool: &str, arguments: &Value) -> Response {
        let params = serde_json::json!({"name": tool, "arguments": arguments});
        self.mcp(&serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
    }

    /// Calls a tool in revision 2026-07-28.
    pub fn call_stateless(&self, tool: &str, arguments: &Value) -> Response {
        let params = serde_json::json!({"name": tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }});
        let repeated = crate::mcp::repeated(arguments);
        let mut headers =
            vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
        headers.extend(repeated.iter().map(|(name, value)| (*name, value.as_str())));
        let message = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        self.mcp_with(&headers, &message)
    }
}

/// Trusts `authority`, shows a certificate if there is one, and speaks these
/// versions of TLS only.
pub fn tls_config(
    authority: &str,
    identity: Option<&certs::Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("an identity")
        }
    }
}

/// A connection of either kind.
pub trait Stream: Read + Write + Send {
    /// True where its TLS session is one that was there before.
    fn is_resumed(&self) -> bool;
}

impl Stream for TcpStream {
    fn is_resumed(&self) -> bool {
        false
    }
}

impl Stream for UnixStream {
    fn is_resumed(&self) -> bool {
        false
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn is_resumed(&self) -> bool {
        self.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// A body in chunks (RFC 9112 section 7.1); one that breaks off is an error.
fn read_chunked(stream: &mut Box<dyn Stream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(|_| io::Error::other(format!("no chunk size: {line}")))?;
        let begin = body.len();
        body.resize(begin + size, 0);
        stream.read_exact(&mut body[begin..])?;
        read_line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn read_line(stream: &mut Box<dyn Stream>) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_response(stream: &mut Box<dyn Stream>) -> io::Result<Response> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status: {status_line}")))?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: Vec::new() };
    if status == 100 {
        return read_response(stream);
    }
    let length = response.header("content-length").and_then(|length| length.parse().ok());
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        response.body = read_chunked(stream)?;
    } else if status != 204 {
        response.body.resize(length.unwrap_or(0), 0);
        stream.read_exact(&mut response.body)?;
    }
    Ok(response)
}
