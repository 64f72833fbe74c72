//! A trial of all that a start needs of the machine, made before a start and by `portcullis check`:
//! one function, so that a configuration that is called valid starts.
//!
//! Nothing stays of it: addresses are bound and not listened on, folders get a file that is removed.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use filters::audit::{ChainId, OwnId};
use tokio::net::TcpSocket;

use crate::config::{LogFiles, Logging, Settings};
use crate::exchange::Upstream;
use crate::listener::is_stale;
use crate::snapshot::Prepared;
use crate::{reload, upgrade};

use super::auditing;

/// The outcome of the trial.
pub struct Preflight {
    /// The prepared parts of the first snapshot; `None` where they cannot be made.
    pub prepared: Option<Prepared>,
    /// Everything that keeps a gate of these settings from starting on this machine.
    pub problems: Vec<String>,
    /// Addresses and sockets on which somebody listens: the gate that runs, perhaps.
    pub taken: Vec<Taken>,
}

/// An address or a socket on which somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The address, or the path.
    pub place: String,
    mend: &'static str,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, mend } = self;
        write!(f, "cannot listen on {place}: somebody does already; choose another with {mend}")
    }
}

/// Nothing that is tried asks Vault or writes a record.
const NO_CHAIN: ChainId = ChainId::new(0);

/// Tries everything. The process's provider of cryptography is installed by then.
#[must_use]
pub fn run(settings: &Settings) -> Preflight {
    let mut problems = Vec::new();
    let prepared = reload::prepare(settings, None).map_err(|problem| problems.push(problem)).ok();
    let upstream = Upstream::new(settings.upstream.clone(), OwnId::Command(NO_CHAIN)).map(drop);
    let upgrade = settings.server.upgrade_socket.as_deref().map_or(Ok(()), upgrade::check);
    problems.extend([upstream, logs(&settings.logging), audit(settings), upgrade].into_iter().filter_map(Result::err));
    let mut taken = Vec::new();
    let mut judge = |place: Result<Option<Taken>, String>| match place {
        Ok(found) => taken.extend(found),
        Err(problem) => problems.push(problem),
    };
    for listener in &settings.listeners {
        let mend = if listener.tls.is_some() { "TLS_PORT or [[listeners]] address" } else { "PORT" };
        judge(address(listener.address, mend));
    }
    settings.admin.address.into_iter().for_each(|at| judge(address(at, "ADMIN_PORT or [admin] address")));
    settings.admin.socket.iter().for_each(|path| judge(socket(path)));
    Preflight { prepared, problems, taken }
}

/// Binds the address, which must be this machine's; `Ok(None)` where it is free.
fn address(address: SocketAddr, mend: &'static str) -> Result<Option<Taken>, String> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    // As the framework does; nobody connects to what is not listened on.
    let bound = socket.and_then(|socket| socket.set_reuseaddr(true).and_then(|()| socket.bind(address)));
    match bound {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(Some(Taken { place: address.to_string(), mend })),
        Err(error) => Err(format!("cannot listen on {address}: {error}; choose another with {mend}")),
    }
}

/// Looks at the path of the operators' socket, which takes the place of nothing, or of a socket on
/// which nobody listens; `Ok(None)` where it can be made.
fn socket(path: &Path) -> Result<Option<Taken>, String> {
    let told = |error: io::Error| format!("admin.socket: {}: {error}; choose another path", path.display());
    match is_stale(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            return Ok(Some(Taken { place: path.display().to_string(), mend: "[admin] socket" }));
        }
        stale => stale.map_err(told)?,
    };
    let folder = path.parent().unwrap_or(path);
    try_folder(folder).map_err(told)?;
    Ok(None)
}

/// Opens the logs, or tries the folder that they would be made in.
fn logs(logging: &Logging) -> Result<(), String> {
    let Logging { files, requests, responses, server, .. } = logging;
    let logs = [("requests.log", *requests), ("responses.log", *responses), ("server.log", *server)];
    let mut logs = logs.into_iter().filter_map(|(name, on)| on.then_some(name)).peekable();
    let Some(LogFiles { folder, .. }) = files.as_ref().filter(|_| logs.peek().is_some()) else { return Ok(()) };
    let told = |path: &Path, error: io::Error| format!("LOG_DIR {}: {error}", path.display());
    let there = folder.ancestors().find(|folder| exists(folder)).unwrap_or(folder);
    try_folder(there).map_err(|error| told(there, error))?;
    for name in logs {
        let file = folder.join(name);
        // A pipe that nobody reads would be waited for.
        match OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(told(&file, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Reads the keys of the audit, and opens its file or tries the folder that it would be made in.
fn audit(settings: &Settings) -> Result<(), String> {
    let Some(audit) = &settings.audit else { return Ok(()) };
    auditing::terms(audit, &auditing::vault_keys(settings), settings.digest, NO_CHAIN)?;
    let Some(file) = &audit.file else { return Ok(()) };
    let told = |error: io::Error| format!("audit.file {}: {error}", file.display());
    match OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            try_folder(folder.unwrap_or(Path::new("."))).map_err(told)
        }
        Err(error) => Err(told(error)),
    }
}

fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || fs::symlink_metadata(path).is_ok()
}

/// Makes a file in `folder` and removes it.
fn try_folder(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".portcullis-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Names;

    use std::os::unix::net::UnixListener;

    #[test]
    fn only_a_socket_on_which_nobody_listens_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "precious").unwrap();
        std::os::unix::fs::symlink(at("stale"), at("link")).unwrap();
        let listener = UnixListener::bind(at("live")).unwrap();
        drop(UnixListener::bind(at("stale")).unwrap());
        for name in ["file", "link", "", "none/admin.sock", "file/admin.sock"] {
            let problem = socket(&at(name)).unwrap_err();
            assert!(problem.contains(at(name).to_str().unwrap()), "{problem}");
        }
        let taken = socket(&at("live")).unwrap().unwrap();
        assert!(taken.to_string().contains(at("live").to_str().unwrap()), "{taken}");
        for free in ["stale", "new"] {
            assert_eq!(socket(&at(free)).unwrap(), None, "{free}");
        }
        drop(listener);
        assert_eq!(socket(&at("live")).unwrap(), None);
        assert_eq!(fs::read(at("file")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing is left behind");
    }

    #[test]
    fn an_address_is_tried_and_left() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(address(at, "PORT").unwrap().unwrap().place, at.to_string());
        drop(listener);
        for _ in 0..2 {
            assert_eq!(address(at, "PORT").unwrap(), None);
        }
        // Of documentation (RFC 5737), so nobody's.
        let problem = address("192.0.2.1:80".parse().unwrap(), "PORT").unwrap_err();
        assert!(problem.contains("192.0.2.1:80") && problem.contains("PORT"), "{problem}");
    }

    #[test]
    fn a_folder_of_logs_is_tried_where_it_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let logging = |name: &str| Logging {
            level: tracing::Level::INFO,
            files: Some(LogFiles::of(&folder.path().join(name))),
            stdout: false,
            requests: true,
            responses: false,
            server: false,
            names: Names::Clear,
        };
        fs::write(folder.path().join("file"), "").unwrap();
        fs::create_dir_all(folder.path().join("odd/requests.log")).unwrap();
        for (name, usable) in [("", true), ("a/b", true), ("file", false), ("file/a", false), ("odd", false)] {
            let found = logs(&logging(name));
            assert_eq!(found.is_ok(), usable, "{name}: {found:?}");
        }
        assert!(logs(&Logging { requests: false, ..logging("file") }).is_ok());
        assert!(!folder.path().join("a").exists());
    }
}
