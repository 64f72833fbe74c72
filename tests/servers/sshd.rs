//! OpenSSH's server and client, as people log in with them.

use std::path::Path;
use std::process::{Command, Stdio};

use local_vault::Guarded;
use tempfile::TempDir;

use super::program;
use crate::{free_port, wait_for};

/// A running server that lets in whoever has a certificate of one authority
/// that names `ops`.
pub struct Sshd {
    port: u16,
    user: String,
    _process: Guarded,
    folder: TempDir,
}

/// A key pair of somebody's.
pub struct Identity {
    folder: TempDir,
}

impl Identity {
    /// A new one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        generate(&folder.path().join("id"));
        Self { folder }
    }

    /// As it stands in the `.pub` file.
    pub fn public_key(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("id.pub")).expect("a public key")
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Sshd {
    /// Starts a server that trusts the authority of this public key.
    pub fn start(authority: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        generate(Path::new(&at("host")));
        std::fs::write(at("authority.pub"), authority).expect("a file");
        std::fs::write(at("principals"), "ops\n").expect("a file");
        let port = free_port();
        let configuration = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {host}\nPidFile none\nUsePAM no\nStrictModes no\n\
             TrustedUserCAKeys {authority}\nAuthorizedPrincipalsFile {principals}\nAuthorizedKeysFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\n",
            host = at("host"),
            authority = at("authority.pub"),
            principals = at("principals"),
        );
        std::fs::write(at("config"), configuration).expect("a file");
        let log = std::fs::File::create(at("log")).expect("a file");
        // It will not start without the folder that it would confine its helpers to.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut command = Command::new(program("sshd", "/usr/lib/openssh"));
        command.args(["-D", "-e", "-f", &at("config")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = Guarded::spawn(&mut command, Some(folder.path())).expect("sshd");
        let user = Command::new("id").arg("-un").output().expect("id").stdout;
        let user = String::from_utf8(user).expect("a name").trim().to_owned();
        let server = Self { port, user, _process: process, folder };
        wait_for("sshd listens", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// True where that key logs in, with a certificate if there is one.
    pub fn lets_in(&self, identity: &Identity, certificate: Option<&str>) -> bool {
        let key = identity.folder.path().join("id");
        let mut ssh = Command::new(program("ssh", "/usr/lib/openssh"));
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5"]);
        if let Some(certificate) = certificate {
            // Beside the key, since others log in at the same time.
            let file = identity.folder.path().join("id-cert.pub");
            std::fs::write(&file, certificate).expect("a file");
            ssh.arg("-o").arg(format!("CertificateFile={}", file.display()));
        }
        ssh.arg("-i").arg(key).args(["-p", &self.port.to_string(), &format!("{}@127.0.0.1", self.user), "exit 0"]);
        ssh.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ssh.status().is_ok_and(|status| status.success())
    }

    /// The output of the server.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn generate(file: &Path) {
    let mut command = Command::new(program("ssh-keygen", "/usr/lib/openssh"));
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file);
    let status = command.stdin(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "ssh-keygen");
}
