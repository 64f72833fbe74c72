//! A forwarder on loopback that adds a header to each request, for programs that send no credential.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::front::read_message;

/// A running forwarder; it takes no more connections when dropped.
pub struct Forwarder {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Forwarder {
    /// Forwards from one port to another of this machine. `header` is a line without its end.
    pub fn start(from: u16, to: u16, header: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", from)).expect("a port");
        let ended = Arc::new(AtomicBool::new(false));
        let (theirs, line) = (Arc::clone(&ended), format!("\r\n{header}"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.load(Ordering::Relaxed) {
                    return;
                }
                let line = line.clone();
                thread::spawn(move || forward(&stream, to, &line));
            }
        });
        Self { port: from, ended }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The listener notices when it is asked once more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Forwards request after request, and whatever comes back as it comes.
fn forward(client: &TcpStream, to: u16, line: &str) -> io::Result<()> {
    let gate = TcpStream::connect(("127.0.0.1", to))?;
    let (mut answers, mut client_answers) = (gate.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut client_answers);
        let _ = client_answers.shutdown(Shutdown::Both);
    });
    let asked = requests(client, &gate, line);
    // A stream of events ends with its reader.
    gate.shutdown(Shutdown::Both)?;
    asked
}

fn requests(mut client: &TcpStream, mut gate: &TcpStream, line: &str) -> io::Result<()> {
    loop {
        let mut request = read_message(&mut client, false)?;
        let first = request.head.iter().position(|byte| *byte == b'\r').unwrap_or_default();
        request.head.splice(first..first, line.bytes());
        gate.write_all(&[request.head, request.body].concat())?;
    }
}
