use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use local_vault::{Error, Guarded, Provisioned};

use crate::ports::Ports;

/// How long the gate has to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long the gate may drain.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);

/// The gate, as a process of its own.
#[derive(Debug)]
pub(crate) struct Gate(Guarded);

impl Gate {
    /// Starts the gate in the working directory, in front of this Vault.
    pub(crate) fn start(program: &Path, vault: &str, login: &Provisioned) -> Result<Gate, Error> {
        let mut command = Command::new(program);
        command
            .env("APP_CONFIG_FILE", "config/dev.toml")
            .env("VAULT_ADDR", vault)
            .env("VAULT_ROLE_ID", &login.role_id)
            .env("VAULT_SECRET_ID", &login.secret_id)
            .env_remove("VAULT_TOKEN")
            .stdin(Stdio::null());
        Guarded::spawn(&mut command, None).map(Gate)
    }

    /// Fails when the gate has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), &'static str> {
        match self.0.has_ended() {
            true => Err("the gate has ended; what it said is above"),
            false => Ok(()),
        }
    }

    /// Waits until the gate says that it is ready, or until `ended`.
    pub(crate) fn wait_until_ready(&mut self, ports: &Ports, ended: &AtomicBool) -> Result<(), &'static str> {
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready(ports.plain).unwrap_or(false) && !ended.load(Ordering::Relaxed) {
            self.check()?;
            if Instant::now() >= deadline {
                return Err("the gate is not ready after 30 s; GET /readyz says why");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Lets the gate drain and waits for its end.
    pub(crate) fn stop(self) {
        self.0.stop(DRAINED_WITHIN);
    }
}

fn is_ready(port: u16) -> io::Result<bool> {
    let patience = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status == *b"HTTP/1.1 200")
}
