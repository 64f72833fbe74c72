//! Files that others write: regular ones only, opened without waiting, and read up to a bound.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file for reading; a link to one counts.
///
/// # Errors
/// The file system's error, and [`ErrorKind::InvalidInput`] for a pipe, a device, a socket or a
/// folder.
pub fn open(path: &Path) -> io::Result<File> {
    let irregular = || io::Error::new(ErrorKind::InvalidInput, "is not a regular file");
    // A pipe that nobody writes to would be waited for.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| if error.raw_os_error() == Some(libc::ENXIO) { irregular() } else { error })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// Reads a regular file of `most` bytes at most.
///
/// # Errors
/// As [`open`], and [`ErrorKind::FileTooLarge`] where it is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let size = file.metadata()?.len().min(most);
    // Enough for all of it at once: what grows leaves copies behind, and it may be a secret.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    // Its size says nothing of a file that grows, or that the kernel makes up.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes) }
}

/// The error for a file of more than `most` bytes.
pub fn too_large(most: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("is larger than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read(&folder.path().join(name), 5).unwrap(), b"12345");
            let error = read(&folder.path().join(name), 4).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::FileTooLarge, "is larger than 4 bytes".into()));
        }
        assert!(read(Path::new("/proc/self/status"), 1 << 20).unwrap().starts_with(b"Name:"));
        assert_eq!(read(Path::new("/proc/self/status"), 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read(&folder.path().join("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, socket] = ["pipe", "socket"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&pipe, &socket, folder.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let error = read(path, 4).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidInput, "is not a regular file".into()));
        }
    }
}
