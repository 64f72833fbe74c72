//! Stands in Vault's place where a test needs a Vault that misbehaves:
//! it logs anyone in, and answers for a secret as it is told.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// The answer to every login, and to every other call but a secret's.
const AUTH: &str = r#"{"auth":{"client_token":"t","accessor":"","lease_duration":3600,"renewable":true}}"#;

/// It has no other engine.
const NOWHERE: &str = r#"{"errors":["no handler for route \"transit/\". route entry not found."]}"#;

/// Starts it and gives its address. `secret` writes a whole answer; where it
/// fails, the connection ends.
pub fn start(secret: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let secret = Arc::new(secret);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let secret = Arc::clone(&secret);
            std::thread::spawn(move || speak(stream, &*secret));
        }
    });
    address
}

fn speak(mut stream: TcpStream, secret: &dyn Fn(&mut TcpStream) -> io::Result<()>) -> io::Result<()> {
    loop {
        let head = head(&mut stream)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        stream.read_exact(&mut vec![0; length.unwrap_or(0)])?;
        if head.contains("/v1/secret/data/portcullis/") {
            // No record of anything.
            write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{{\"errors\":[]}}")?;
        } else if head.contains("/v1/transit/keys/") {
            write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{NOWHERE}", NOWHERE.len())?;
        } else if head.contains("/v1/secret/") {
            secret(&mut stream)?;
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{AUTH}", AUTH.len())?;
        }
    }
}

/// The head of a request, in lower case.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).to_lowercase())
}
