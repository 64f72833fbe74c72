use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Cli, Endpoint, command};
use crate::process::Guarded;
use crate::{Binary, Error, Options, Product, Storage, free_port};

/// The time that Vault has to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The time that Vault has to end by itself.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// The number of free ports that are tried before Vault is given up.
const PORTS_TRIED: usize = 3;

/// A running Vault on loopback. Dropping it kills it and removes its files; it ends with this
/// process too.
#[derive(Debug)]
pub struct Vault {
    binary: Binary,
    options: Options,
    port: u16,
    endpoint: Endpoint,
    unseal_key: String,
    folder: TempDir,
    process: Option<Guarded>,
}

impl Vault {
    /// Starts a server and waits until it is ready: initialised, unsealed, and taking its root
    /// token.
    pub fn start(binary: &Binary, options: Options) -> Result<Vault, Error> {
        if options.tls.is_some() && options.storage == Storage::Memory {
            return Err(Error::Options("Vault's dev mode has no TLS; use file storage"));
        }
        if let Some(port) = options.port {
            return Vault::start_on(port, binary, options);
        }
        let mut outcome = Vault::start_on(free_port()?, binary, options.clone());
        for _ in 1..PORTS_TRIED {
            if outcome.is_ok() {
                break;
            }
            outcome = Vault::start_on(free_port()?, binary, options.clone());
        }
        outcome
    }

    fn start_on(port: u16, binary: &Binary, options: Options) -> Result<Vault, Error> {
        let folder = TempDir::with_prefix("local-vault-").map_err(|cause| Error::File(std::env::temp_dir(), cause))?;
        let endpoint = Endpoint {
            address: format!("{}://127.0.0.1:{port}", options.scheme()),
            token: random_token()?,
            ca: options.tls.as_ref().map(|tls| tls.ca.clone()),
        };
        if let Some(audit) = &options.audit {
            begin_anew(audit)?;
        }
        let mut vault =
            Vault { binary: binary.clone(), options, port, endpoint, unseal_key: String::new(), folder, process: None };
        vault.restart()?;
        Ok(vault)
    }

    /// `http://127.0.0.1:<port>`, or `https` with [`Options::tls`].
    pub fn address(&self) -> String {
        self.endpoint.address.clone()
    }

    /// The token that is allowed everything.
    pub fn root_token(&self) -> &str {
        &self.endpoint.token
    }

    /// Which of the two products it is.
    pub fn product(&self) -> Product {
        self.binary.product
    }

    /// The server's process id; `None` when it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// Ends the server, in order. Its port and its files stay reserved for [`Vault::restart`].
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop(STOPPED_WITHIN);
        }
    }

    /// Ends the server if it runs, and starts it on the same port with the same root token.
    ///
    /// With [`Storage::Memory`] everything else is gone and must be provisioned again. With
    /// [`Storage::Disk`] everything is there, and the server is unsealed.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        let mut command = self.server()?;
        self.process = Some(Guarded::spawn(&mut command, Some(self.folder.path()))?);
        let deadline = Instant::now() + READY_WITHIN;
        self.until(deadline, Vault::is_listening)?;
        match self.options.storage {
            Storage::Memory => {
                self.until(deadline, Vault::read_unseal_key)?;
                self.until(deadline, Vault::takes_token)?;
                self.audit()
            }
            Storage::Disk => self.open(deadline),
        }
    }

    /// Stops the process where it is: connections are accepted by the kernel and not answered.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets the process go on after [`Vault::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::SIGCONT)
    }

    /// Seals the server: it answers 503 to everything that needs its storage.
    pub fn seal(&self) -> Result<(), Error> {
        self.cli().run(&["operator", "seal"]).map(drop)
    }

    /// Unseals the server after [`Vault::seal`], and waits until it takes its root token.
    pub fn unseal(&mut self) -> Result<(), Error> {
        self.cli().run(&["operator", "unseal", &self.unseal_key])?;
        self.until(Instant::now() + READY_WITHIN, Vault::takes_token)
    }

    fn server(&self) -> Result<Command, Error> {
        let log = self.log_path();
        let log_file = File::create(&log).map_err(Error::file(&log))?;
        let errors = log_file.try_clone().map_err(Error::file(&log))?;
        let mut server = command(&self.binary.path);
        server.arg("server").env("HOME", self.folder.path());
        server.current_dir(self.folder.path());
        server.stdout(log_file).stderr(errors);
        let folder = self.folder.path();
        server.args(self.options.arguments(self.product(), self.port, self.root_token(), folder)?);
        Ok(server)
    }

    /// Initialises the storage the first time, and unseals.
    fn open(&mut self, deadline: Instant) -> Result<(), Error> {
        let is_new = self.unseal_key.is_empty();
        if is_new {
            self.initialise()?;
        }
        self.cli().run(&["operator", "unseal", &self.unseal_key])?;
        self.until(deadline, Vault::takes_token)?;
        if is_new { self.audit() } else { Ok(()) }
    }

    /// Has a new server write its audit, and correlation ids in it. Vault does the second by itself.
    fn audit(&self) -> Result<(), Error> {
        let Some(file) = &self.options.audit else { return Ok(()) };
        if self.product() == Product::Vault {
            let file = std::path::absolute(file).map_err(Error::file(file))?;
            self.cli().run(&["audit", "enable", "file", &format!("file_path={}", file.display())])?;
        }
        let header = "sys/config/auditing/request-headers/X-Correlation-Id";
        self.cli().run(&["write", header, "hmac=false"]).map(drop)
    }

    fn initialise(&mut self) -> Result<(), Error> {
        let init = ["operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json"];
        let printed = self.cli().run(&init)?;
        let answer: Value = serde_json::from_str(&printed).unwrap_or_default();
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
        let (Some(key), Some(token)) = (text("/unseal_keys_b64/0"), text("/root_token")) else {
            return Err(Error::Refused("vault operator init".into(), "no keys".into()));
        };
        self.unseal_key = key.to_owned();
        self.endpoint.token = token.to_owned();
        Ok(())
    }

    /// Asks again and again until `ready` says so; fails when the server ends or time is up.
    fn until(&mut self, deadline: Instant, mut ready: impl FnMut(&mut Vault) -> bool) -> Result<(), Error> {
        while !ready(self) {
            let ended = self.process.as_mut().is_none_or(Guarded::has_ended);
            if ended || Instant::now() >= deadline {
                return Err(Error::NotReady(self.log_end()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_listening(&mut self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    }

    /// True where it is unsealed and is the server that was started here, not one that has taken
    /// the port in between.
    fn takes_token(&mut self) -> bool {
        self.cli().run(&["token", "lookup"]).is_ok()
    }

    /// Dev mode prints the key that it unsealed itself with.
    fn read_unseal_key(&mut self) -> bool {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let key = log.lines().find_map(|line| line.strip_prefix("Unseal Key: "));
        self.unseal_key = key.unwrap_or_default().trim().to_owned();
        !self.unseal_key.is_empty()
    }

    pub(crate) fn cli(&self) -> Cli<'_> {
        Cli { binary: &self.binary.path, endpoint: &self.endpoint }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("vault.log")
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let skipped = log.lines().count().saturating_sub(15);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

/// Removes the file, and makes the folder for it.
fn begin_anew(file: &Path) -> Result<(), Error> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
    }
    match fs::remove_file(file) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(Error::File(file.to_path_buf(), cause)),
        _ => Ok(()),
    }
}

/// 128 random bits, in hexadecimal.
fn random_token() -> Result<String, Error> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 16];
    let mut random = File::open(source).map_err(Error::file(source))?;
    random.read_exact(&mut bytes).map_err(Error::file(source))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("root-{hex}"))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::{Tls, binary};

    fn start(options: Options) -> Vault {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Vault::start(&binary(root).unwrap(), options).unwrap()
    }

    fn keep(vault: &Vault) {
        let put = ["kv", "put", "-mount=secret", "mcp/a/x", "k=v"];
        vault.cli().run(&put).unwrap();
    }

    fn kept(vault: &Vault) -> bool {
        let get = ["kv", "get", "-mount=secret", "-field=k", "mcp/a/x"];
        vault.cli().run(&get).is_ok_and(|value| value.trim() == "v")
    }

    #[test]
    fn dev_mode_forgets_at_a_restart_and_keeps_its_address_and_token() {
        let mut vault = start(Options::default());
        let (address, token) = (vault.address(), vault.root_token().to_owned());
        keep(&vault);
        assert!(kept(&vault));
        vault.restart().unwrap();
        assert!(!kept(&vault));
        assert_eq!((vault.address(), vault.root_token()), (address, token.as_str()));
    }

    #[test]
    fn a_disk_remembers_over_a_stop() {
        let storage = Storage::Disk;
        let mut vault = start(Options { storage, ..Options::default() });
        vault.provision(&["a"]).unwrap();
        keep(&vault);
        vault.stop();
        assert!(vault.pid().is_none() && !kept(&vault));
        vault.restart().unwrap();
        assert!(kept(&vault));
    }

    #[test]
    fn a_seal_is_lifted_by_unseal() {
        let mut vault = start(Options::default());
        keep(&vault);
        vault.seal().unwrap();
        assert!(!kept(&vault));
        vault.unseal().unwrap();
        assert!(kept(&vault));
    }

    #[test]
    fn provisioning_twice_changes_nothing_but_the_secret_id() {
        let vault = start(Options::default());
        let first = vault.provision(&["a", "b"]).unwrap();
        let second = vault.provision(&["a", "c"]).unwrap();
        assert_eq!(first.role_id, second.role_id);
        assert_ne!(first.secret_id, second.secret_id);
        for agent in ["a", "b", "c"] {
            let policy = format!("mcp-agent-{agent}");
            vault.cli().run(&["policy", "read", &policy]).unwrap();
        }
    }

    #[test]
    fn provisioning_refuses_what_is_not_an_agent() {
        let vault = start(Options::default());
        for name in ["+", "a/b", "a..b", "BOB"] {
            assert!(vault.provision(&[name]).is_err(), "{name}");
        }
    }

    #[test]
    fn https_is_verified_against_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let minted = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("s.crt"), folder.path().join("s.key"));
        fs::write(&certificate, minted.cert.pem()).unwrap();
        fs::write(&key, minted.signing_key.serialize_pem()).unwrap();
        let tls = Some(Tls { ca: certificate.clone(), certificate, key });
        let vault = start(Options { tls, storage: Storage::Disk, ..Options::default() });
        assert!(vault.address().starts_with("https://"));
        vault.provision(&["a"]).unwrap();
    }

    #[test]
    fn a_paused_server_answers_again_when_resumed() {
        let mut vault = start(Options::default());
        vault.pause().unwrap();
        let mut ask = vault.cli().command(&["token", "lookup"]);
        let mut asked = ask.stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(500));
        assert!(asked.try_wait().unwrap().is_none());
        vault.resume().unwrap();
        assert!(asked.wait().unwrap().success());
        vault.stop();
    }

    #[test]
    fn a_dropped_vault_is_gone_with_its_files() {
        let vault = start(Options::default());
        let (pid, folder) = (vault.pid().unwrap(), vault.folder.path().to_owned());
        drop(vault);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!folder.exists());
    }
}
