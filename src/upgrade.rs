//! How a gate that runs and the one that replaces it find each other: where
//! and when listening sockets are handed over.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a gate may take to be ready to replace another, and that one to wait for it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked whether it is.
pub const EVERY: Duration = Duration::from_millis(50);
/// Of the flags in `/proc/net/unix`: somebody listens.
const LISTENS: u32 = 1 << 16;

/// Checks that `socket` is in a folder that is this user's alone: whoever
/// connects to it gives a gate its listening sockets, and whoever listens on it
/// gets them. The framework lets everybody connect, and removes what is there.
///
/// # Errors
/// The problem with the folder, or that something else than a socket is there.
pub fn check(socket: &Path) -> Result<(), String> {
    let folder = socket.parent().unwrap_or(socket);
    let told = |problem: &str| format!("server.upgrade_socket: {} {problem}", folder.display());
    let found = fs::metadata(folder).map_err(|error| told(&format!("cannot be looked at: {error}")))?;
    let private = found.is_dir() && found.mode() & 0o077 == 0 && Some(found.uid()) == user();
    if !private {
        return Err(told("must be a folder of mode 0700 that is the gate's own"));
    }
    match fs::symlink_metadata(socket) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(format!("server.upgrade_socket: {} is there and no socket: move it away", socket.display()))
        }
        _ => Ok(()),
    }
}

/// Who this process acts as.
fn user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Waits until a gate that is ready to replace this one listens on `socket`.
///
/// # Errors
/// There is none within [`PATIENCE`], or somebody else might get the sockets.
pub async fn successor(socket: &Path) -> Result<(), String> {
    check(socket)?;
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string("/proc/net/unix").is_ok_and(|sockets| is_listened_on(&sockets, socket)) {
        if Instant::now() >= deadline {
            return Err(format!("no gate was ready to take over at {} in time", socket.display()));
        }
        sleep(EVERY).await;
    }
    Ok(())
}

/// Whether `sockets`, as the kernel lists them, tell of somebody who listens on `path`.
fn is_listened_on(sockets: &str, path: &Path) -> bool {
    let told = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let flags = u32::from_str_radix(columns.nth(3)?, 16).ok()?;
        Some(flags & LISTENS != 0 && Path::new(columns.nth(3)?) == path)
    };
    sockets.lines().filter_map(told).any(|listens| listens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found_among_the_sockets() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 20001 /run/gate/upgrade
0000000000000000: 00000002 00000000 00000000 0001 01 20002 /run/gate/bound
0000000000000000: 00000003 00000000 00000000 0001 03 20003
";
        for (path, expected) in [("/run/gate/upgrade", true), ("/run/gate/bound", false), ("/run/gate", false)] {
            assert_eq!(is_listened_on(sockets, Path::new(path)), expected, "{path}");
        }
    }
}
