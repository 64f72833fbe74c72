//! HAProxy, as a balancer that forwards bytes.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use local_vault::Guarded;
use tempfile::TempDir;

use super::program;
use crate::{free_port, wait_for};

/// A balancer; ended when dropped.
pub struct Haproxy {
    port: u16,
    _process: Guarded,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts one that forwards to `port`, tells of each client by the PROXY protocol, version 2,
    /// as it was told itself, and asks at `health` whether the gate is alive.
    pub fn start(port: u16, health: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own = free_port();
        let configuration = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             frontend callers\n  bind 127.0.0.1:{own} accept-proxy\n  unique-id-format %[uuid()]\n  use_backend gates\n\
             backend gates\n  option httpchk GET /livez\n  server gate 127.0.0.1:{port} send-proxy-v2 \
             proxy-v2-options crc32c,unique-id check port {health} check-send-proxy inter 200ms\n"
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).expect("a file");
        let mut command = Command::new(program("haproxy", "/usr/lib/haproxy"));
        command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Guarded::spawn(&mut command, Some(folder.path())).expect("haproxy");
        wait_for("HAProxy listens", 20, || TcpStream::connect(("127.0.0.1", own)).is_ok());
        Self { port: own, _process: process, _folder: folder }
    }

    /// Where its clients connect, and say by the PROXY protocol who they are.
    pub const fn port(&self) -> u16 {
        self.port
    }
}
