//! Hands the listening sockets of a gate that runs to the gate that replaces it.
//!
//! The new gate listens at a Unix socket once it is ready. The old one connects, sends the sockets,
//! and goes on accepting until the new one has served; if the new one ends before, nothing has changed.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::time::{Instant, sleep};

use crate::listener::{Address, Socket};

/// Longest time for a gate to be ready to replace another, and for that one to wait for it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at whether it is ready.
pub const EVERY: Duration = Duration::from_millis(50);
/// Most sockets that are handed over, the most that a message may carry (`SCM_MAX_FD`).
const MOST: usize = 253;
/// Most bytes of their names.
const NAMES: u64 = 64 << 10;

/// The word of the new gate once it accepts.
const ACCEPTING: &str = "accepting";
/// The word of the new gate once it has served.
const SERVED: &str = "served";

/// Checks that `socket` is in a folder that is this user's alone: whoever
/// connects to it gives a gate its listening sockets, and whoever listens on it
/// gets them.
///
/// # Errors
/// The problem with the folder, or that something else than a socket is there.
pub fn check(socket: &Path) -> Result<(), String> {
    let folder = folder(socket);
    let told = |problem: &str| format!("server.upgrade_socket: {} {problem}", folder.display());
    let found = fs::metadata(folder).map_err(|error| told(&format!("cannot be looked at: {error}")))?;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.mode() & 0o077 != 0 || !own {
        return Err(told("must be a folder of mode 0700 that is the gate's own"));
    }
    match fs::symlink_metadata(socket) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(format!("server.upgrade_socket: {} is there and no socket: move it away", socket.display()))
        }
        _ => Ok(()),
    }
}

fn folder(socket: &Path) -> &Path {
    socket.parent().unwrap_or(socket)
}

/// A gate that waits to be handed sockets; the only one at its place.
pub struct Waiting {
    listener: UnixListener,
    path: PathBuf,
    /// Locked as long as it waits.
    _folder: File,
}

/// A gate that was handed sockets and is to tell what becomes of them.
pub struct Successor {
    stream: UnixStream,
}

impl Waiting {
    /// Listens at `socket`.
    ///
    /// # Errors
    /// Another gate waits there, or what the system says.
    pub fn at(socket: &Path) -> Result<Self, String> {
        check(socket)?;
        let told = |error: io::Error| format!("server.upgrade_socket {}: {error}", socket.display());
        let folder = File::open(folder(socket)).map_err(told)?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("another gate waits at {} already to take over", socket.display()));
            }
            Err(TryLockError::Error(error)) => return Err(told(error)),
        }
        // Left behind by one that waited before: the lock says that nobody does.
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(told)?;
        Ok(Self { listener, path: socket.to_owned(), _folder: folder })
    }

    /// Waits until the gate that runs hands over its sockets.
    ///
    /// # Errors
    /// There is none within [`PATIENCE`], or what it sends cannot be understood.
    pub async fn sockets(self) -> Result<(Vec<Socket>, Successor), String> {
        let told = |error: io::Error| format!("no sockets were handed over: {error}");
        self.listener.set_nonblocking(true).map_err(told)?;
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    sleep(EVERY).await;
                }
                Err(error) => return Err(told(error)),
            }
        };
        blocking(move || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok((receive(&stream)?, Successor { stream }))
        })
        .await
        .map_err(told)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Successor {
    /// Tells the gate that runs that this one accepts.
    ///
    /// # Errors
    /// That gate is not there any more.
    pub fn accepts(&mut self) -> io::Result<()> {
        writeln!(self.stream, "{ACCEPTING}")
    }

    /// Tells it that this one has served: it may stop.
    pub fn has_served(&mut self) {
        // Where it is gone already it has stopped.
        let _ = writeln!(self.stream, "{SERVED}");
    }

    /// Tells it why this one cannot take over.
    pub fn fails(&mut self, why: &str) {
        let _ = writeln!(self.stream, "{}", why.replace('\n', " "));
    }
}

/// Waits until a gate that is ready to replace this one listens at `path`, gives it `sockets`, and
/// waits until it has served.
///
/// # Errors
/// None took over: this gate is to go on.
pub async fn hand_over(path: &Path, sockets: &[Socket]) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        check(path)?;
        match UnixStream::connect(path) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < deadline => sleep(EVERY).await,
            Err(_) => return Err(format!("no gate was ready to take over at {} in time", path.display())),
        }
    };
    let told = |error: io::Error| format!("the sockets could not be handed over: {error}");
    send(&stream, sockets).map_err(told)?;
    let lines = blocking(move || {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.take(NAMES));
        let mut next = || {
            let mut line = String::new();
            lines.read_line(&mut line).map(|_| line.trim_end().to_owned())
        };
        let first = next()?;
        let second = if first == ACCEPTING { next()? } else { String::new() };
        Ok((first, second))
    });
    match lines.await.map_err(told)? {
        (first, second) if first == ACCEPTING && second == SERVED => Ok(()),
        (first, _) if first == ACCEPTING || first.is_empty() => {
            Err("the new gate has ended before it served".to_owned())
        }
        (why, _) => Err(format!("the new gate cannot take over: {why}")),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Sends the sockets, and where each listens.
fn send(mut stream: &UnixStream, sockets: &[Socket]) -> io::Result<()> {
    let names: Vec<String> = sockets.iter().map(|socket| socket.address.to_string()).collect();
    let text = format!("{}\n\n", names.join("\n"));
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many sockets"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(text.as_bytes().get(sent..).unwrap_or_default())
}

/// Receives what [`send`] sends.
fn receive(stream: &UnixStream) -> io::Result<Vec<Socket>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut first = [0; 4096];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut first)], &mut control, flags)?.bytes;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut text = first.get(..received).unwrap_or_default().to_vec();
    let mut rest = stream.take(NAMES);
    while !text.ends_with(b"\n\n") {
        let mut byte = [0];
        rest.read_exact(&mut byte)?;
        text.extend(byte);
    }
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let names: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if names.len() != descriptors.len() {
        return Err(io::Error::other("names and sockets do not fit"));
    }
    let socket = |(name, descriptor): (&&str, OwnedFd)| {
        let Ok(address) = name.parse::<Address>();
        Socket::inherited(address, descriptor)
    };
    names.iter().zip(descriptors).map(socket).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn private(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        folder.join("upgrade")
    }

    #[tokio::test]
    async fn sockets_are_handed_over_and_the_old_gate_hears_of_it() {
        let path = private("handed");
        let bound = [
            Socket::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap(),
            Socket::bind(&Address::Unix(folder(&path).join("admin"))).unwrap(),
        ];
        let waiting = Waiting::at(&path).unwrap();
        assert!(Waiting::at(&path).is_err(), "one waits already");
        let (old, new) = tokio::join!(hand_over(&path, &bound), async {
            let (sockets, mut successor) = waiting.sockets().await.unwrap();
            successor.accepts().unwrap();
            successor.has_served();
            sockets
        });
        old.unwrap();
        let addresses = |sockets: &[Socket]| sockets.iter().map(|one| one.address.clone()).collect::<Vec<_>>();
        assert_eq!(addresses(&new), addresses(&bound));
        drop(bound);
        assert!(new[1].acceptor().is_ok());
        UnixStream::connect(folder(&path).join("admin")).expect("still listened on");
        assert!(!path.exists());
        fs::remove_dir_all(folder(&path)).unwrap();
    }

    #[tokio::test]
    async fn a_successor_that_fails_or_ends_leaves_the_old_gate_as_it_was() {
        let path = private("failed");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bound = [Socket::inherited(Address::Tcp(address), listener.into()).unwrap()];
        for (says, expected) in [(Some("its address is taken"), "its address is taken"), (None, "before it served")] {
            let waiting = Waiting::at(&path).unwrap();
            let (old, ()) = tokio::join!(hand_over(&path, &bound), async {
                let (_, mut successor) = waiting.sockets().await.unwrap();
                match says {
                    Some(why) => successor.fails(why),
                    None => successor.accepts().unwrap(),
                }
            });
            assert!(old.unwrap_err().contains(expected));
            TcpStream::connect(address).expect("still listened on");
        }
        fs::remove_dir_all(folder(&path)).unwrap();
    }
}
