//! Questions of verbs to the gate that runs with the same configuration.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::config::Admin;

/// The time that the gate may take for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Most bytes of an answer.
const MOST: u64 = 1 << 23;

/// The gate's answer.
pub(super) struct AdminAnswer {
    /// The status.
    pub(super) status: u16,
    /// The body, as text.
    pub(super) body: String,
}

/// Asks the gate at its admin socket; where it has none or this user may not, at its admin address,
/// which only shows.
///
/// # Errors
/// It has neither, nobody answers there, or something that is no gate.
pub(super) fn ask(admin: &Admin, method: &str, path: &str) -> io::Result<AdminAnswer> {
    let question =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let by_socket = admin.socket.as_deref().map(|socket| over_socket(socket, &question));
    let address = admin.address.filter(|_| method == "GET");
    let told = match (by_socket, address) {
        (Some(Ok(told)), _) => told,
        (_, Some(address)) => over_tcp(address, &question)?,
        (Some(Err(error)), None) => return Err(error),
        (None, None) if method == "GET" => return Err(io::Error::other("it has no admin listener")),
        (None, None) => return Err(io::Error::other("it has no admin.socket, at which changes are asked for")),
    };
    read(&told).ok_or_else(|| io::Error::other("what answers is no gate"))
}

fn over_socket(socket: &Path, question: &str) -> io::Result<String> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, question)
}

fn over_tcp(address: SocketAddr, question: &str) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, question)
}

fn exchange(mut stream: impl Read + Write, question: &str) -> io::Result<String> {
    stream.write_all(question.as_bytes())?;
    let mut told = String::new();
    stream.take(MOST).read_to_string(&mut told)?;
    Ok(told)
}

/// Reads an answer that ends with its connection, as each of the admin listener's does that is
/// asked to.
fn read(told: &str) -> Option<AdminAnswer> {
    let (head, body) = told.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(AdminAnswer { status, body: body.to_owned() })
}
