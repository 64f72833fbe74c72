//! A balancer in front of the real Vault that sends interim answers (1xx) before each answer.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The balancer; it ends with the test's process.
pub struct Balancer {
    /// Where it listens.
    pub address: String,
    before: Arc<Mutex<Vec<u8>>>,
}

impl Balancer {
    /// In front of the server at `address`, `http://…`.
    pub fn start(address: &str) -> Self {
        let server = address.strip_prefix("http://").expect("plain HTTP").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let before = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&before);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).expect("the server");
                let before = Arc::clone(&theirs);
                std::thread::spawn(move || forward(&client, &server, &before));
            }
        });
        Self { address, before }
    }

    /// Sets the bytes that are sent before each answer from now on.
    pub fn sends(&self, before: impl Into<Vec<u8>>) {
        *self.before.lock().expect("the lock") = before.into();
    }
}

/// Forwards both ways until one side ends.
fn forward(client: &TcpStream, server: &TcpStream, before: &Mutex<Vec<u8>>) {
    let asked = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(client, server, || asked.store(true, Ordering::SeqCst));
            let _ = server.shutdown(std::net::Shutdown::Both);
        });
        let _ = copy(server, client, || {
            if asked.swap(false, Ordering::SeqCst) {
                let _ = (&*client).write_all(&before.lock().expect("the lock"));
            }
        });
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, mut before: impl FnMut()) -> io::Result<()> {
    let mut bytes = [0; 16 << 10];
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        before();
        to.write_all(&bytes[..read])?;
    }
}
