//! Redis, in which gates count their limits together.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use local_vault::Guarded;
use tempfile::TempDir;

use super::program;
use crate::{free_port, wait_for};

/// Its password.
pub const PASSWORD: &str = "redis-of-the-tests-8d1f";

/// A server with a password; ended when dropped.
pub struct Redis {
    port: u16,
    tls: Option<u16>,
    process: Option<Guarded>,
    folder: TempDir,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// The same, which has these PEM files and speaks TLS too.
    pub fn start_tls(certificate: &Path, key: &Path) -> Self {
        Self::with(Some((certificate, key)))
    }

    fn with(tls: Option<(&Path, &Path)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut configuration = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave \"\"\nappendonly no\ndaemonize no\ndir {}\n",
            folder.path().display()
        );
        let tls = tls.map(|(certificate, key)| {
            let port = free_port();
            let (certificate, key) = (certificate.display(), key.display());
            configuration += &format!(
                "tls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\n\
                 tls-auth-clients no\n"
            );
            port
        });
        std::fs::write(folder.path().join("redis.conf"), configuration).expect("a file");
        let mut server = Self { port, tls, process: None, folder };
        server.resume();
        server
    }

    /// Starts it again, empty, where it was.
    pub fn resume(&mut self) {
        let log = std::fs::File::create(self.at("log")).expect("a file");
        let mut command = Command::new(program("redis-server", "/usr/lib/redis"));
        command.arg(self.at("redis.conf")).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        self.process = Some(Guarded::spawn(&mut command, Some(self.folder.path())).expect("redis-server"));
        wait_for("Redis answers", 20, || {
            let ended = self.process.as_mut().is_some_and(Guarded::has_ended);
            assert!(!ended, "redis-server ended: {}", std::fs::read_to_string(self.at("log")).unwrap_or_default());
            self.ask(&["PING"]).is_ok_and(|answer| answer == "+PONG\r\n")
        });
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Has it answer nobody for that long, as a server does that is busy.
    pub fn pause(&self, time: Duration) {
        let milliseconds = time.as_millis().to_string();
        self.ask(&["CLIENT", "PAUSE", &milliseconds]).expect("an answer");
    }

    /// Where it is, for a gate.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it speaks TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls.expect("it speaks TLS"))
    }

    /// Gives it a command, and reads a brief answer as it comes over the wire.
    pub fn ask(&self, command: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut answer = String::new();
        for command in [&["AUTH", PASSWORD][..], command] {
            let mut bytes = format!("*{}\r\n", command.len());
            command.iter().for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
            stream.write_all(bytes.as_bytes())?;
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer)?;
            answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
        }
        Ok(answer)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
