//! A log file: whole lines only, and set aside where it is large.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes from which the file is set aside under its name with `.1` at the end.
const ROTATE: u64 = 64 << 20;
/// Readable for its owner, and for the group that collects logs.
const MODE: u32 = 0o640;

pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the file to add to it. It is made where it is missing, and nobody but its owner and
    /// group may read it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // Opening must not wait for a pipe that nobody reads.
        options.create(true).append(true).mode(MODE).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path)?;
        let found = file.metadata()?;
        if found.is_file() && found.mode() & 0o007 != 0 {
            // Somebody else's file stays as it is.
            let _ = file.set_permissions(Permissions::from_mode(found.mode() & 0o770));
        }
        Ok(Self { path: path.to_owned(), file, size: found.len() })
    }

    /// Makes the folder of logs where it is missing.
    pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)
    }

    /// Writes `lines`; gives the number of bytes that are done with, and the error that stopped the rest.
    pub(super) fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.size > ROTATE
            && !lines.is_empty()
            && let Err(error) = self.set_aside()
        {
            return (0, Err(error));
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let problem = match self.file.write(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(bytes) => {
                    written += bytes;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let kept = self.keep_whole(lines.get(..written).unwrap_or_default());
            self.size += kept as u64;
            return (kept, Err(problem));
        }
        self.size += written as u64;
        (written, Ok(()))
    }

    /// Takes back a line that broke off at the end of `written`; gives the number of bytes that stay.
    fn keep_whole(&mut self, written: &[u8]) -> usize {
        let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let torn = (written.len() - whole) as u64;
        // It is taken back only where nobody has added to the file since, as a gate that replaces this
        // one may.
        let taken_back = torn == 0
            || self.file.stream_position().is_ok_and(|end| {
                let last = self.file.metadata().is_ok_and(|found| found.is_file() && found.len() == end);
                last && end.checked_sub(torn).is_some_and(|end| self.file.set_len(end).is_ok())
            });
        // A line that cannot be taken back is continued.
        if taken_back { whole } else { written.len() }
    }

    fn set_aside(&mut self) -> io::Result<()> {
        if self.is_in_place()? {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// True where the file still has its name: a gate that replaces this one may have set it aside.
    fn is_in_place(&self) -> io::Result<bool> {
        let named = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            named => named?,
        };
        let own = self.file.metadata()?;
        Ok((named.dev(), named.ino()) == (own.dev(), own.ino()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_one_gate_has_set_aside_another_does_not_replace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let [mut one, mut other] = [(); 2].map(|()| LogFile::open(&path).unwrap());
        one.write(b"one\n").1.unwrap();
        (one.size, other.size) = (ROTATE + 1, ROTATE + 1);
        one.write(b"two\n").1.unwrap();
        other.write(b"three\n").1.unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("requests.log.1"), read("requests.log")), ("one\n".to_owned(), "two\nthree\n".to_owned()));
        assert_eq!(["requests.log.1", "requests.log"].map(|name| mode(&folder.path().join(name))), [0o640; 2]);
    }

    #[test]
    fn others_may_not_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/requests.log");
        LogFile::make_folder(path.parent().unwrap()).unwrap();
        LogFile::open(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o640, 0o750));
        for (before, after) in [(0o644, 0o640), (0o606, 0o600), (0o660, 0o660), (0o600, 0o600)] {
            std::fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            LogFile::open(&path).unwrap();
            assert_eq!(mode(&path), after, "{before:o}");
        }
    }

    #[test]
    fn a_line_that_broke_off_is_taken_back_unless_somebody_added_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let mut file = LogFile::open(&path).unwrap();
        for (written, added, kept, left) in [
            ("one\ntw", "", 4, "one\n"),
            ("two\n", "", 4, "one\ntwo\n"),
            ("thr", "", 0, "one\ntwo\n"),
            ("thr", "other\n", 3, "one\ntwo\nthrother\n"),
        ] {
            file.file.write_all(written.as_bytes()).unwrap();
            LogFile::open(&path).unwrap().write(added.as_bytes()).1.unwrap();
            assert_eq!(file.keep_whole(written.as_bytes()), kept, "{written}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
    }

    #[test]
    fn a_full_device_takes_nothing() {
        let mut file = LogFile::open(Path::new("/dev/full")).unwrap();
        let (kept, result) = file.write(b"one\n");
        assert_eq!((kept, result.unwrap_err().kind()), (0, ErrorKind::StorageFull));
    }
}
