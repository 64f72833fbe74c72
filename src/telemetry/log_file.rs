//! A log file: whole lines only, and set aside where it is large or old.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::config::LogFiles;

/// Readable for its owner, and for the group that collects logs.
const MODE: u32 = 0o640;

/// Opens a file to add to it. It is made where it is missing, and nobody but its owner and group may read it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Opening must not wait for a pipe that nobody reads.
    options.create(true).append(true).mode(MODE).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.mode() & 0o007 != 0 {
        // Somebody else's file stays as it is.
        let _ = file.set_permissions(Permissions::from_mode(found.mode() & 0o770));
    }
    Ok(file)
}

/// The name of the file that was set aside so many times ago.
pub(super) fn aside(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("log.{number}"))
}

#[cfg(test)]
impl LogFiles {
    /// Those of a folder whose files are never set aside.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), size: u64::MAX - 1, every: None, keep: u32::MAX, keep_size: u64::MAX }
    }
}

pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// When its first line was written, give or take.
    since: Instant,
    files: LogFiles,
}

impl LogFile {
    /// Opens the file of that log to add to it.
    pub(super) fn open(path: &Path, files: LogFiles) -> io::Result<Self> {
        let file = open(path)?;
        let found = file.metadata()?;
        let now = Instant::now();
        let age = found.created().ok().and_then(|begun| begun.elapsed().ok()).unwrap_or_default();
        let since = now.checked_sub(age).unwrap_or(now);
        Ok(Self { path: path.to_owned(), file, size: found.len(), since, files })
    }

    /// Makes the folder of logs where it is missing.
    pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)
    }

    /// Writes `lines`; gives the number of bytes that are done with, and the error that stopped the rest.
    pub(super) fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.is_due()
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

    fn is_due(&self) -> bool {
        let old = self.files.every.is_some_and(|every| self.since.elapsed() >= every);
        self.size > self.files.size || old && self.size > 0
    }

    fn set_aside(&mut self) -> io::Result<()> {
        if self.is_in_place()? {
            self.make_room()?;
            std::fs::rename(&self.path, self.aside(1))?;
        }
        *self = Self::open(&self.path, self.files.clone())?;
        Ok(())
    }

    fn aside(&self, number: u32) -> PathBuf {
        aside(&self.path, number)
    }

    /// Moves each file that was set aside one number on, and removes those that are too many or too large
    /// together. There are none behind a gap.
    fn make_room(&self) -> io::Result<()> {
        let (mut kept, mut bytes) = (Vec::new(), self.size);
        for number in 1..=u32::MAX {
            let path = self.aside(number);
            let Ok(found) = std::fs::metadata(&path) else { break };
            bytes = bytes.saturating_add(found.len());
            if number >= self.files.keep || bytes > self.files.keep_size {
                std::fs::remove_file(&path)?;
            } else {
                kept.push(number);
            }
        }
        for number in kept.into_iter().rev() {
            std::fs::rename(self.aside(number), self.aside(number + 1))?;
        }
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
    use std::time::Duration;

    use super::*;

    fn open(path: &Path) -> LogFile {
        LogFile::open(path, LogFiles::of(path.parent().unwrap())).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_one_gate_has_set_aside_another_does_not_replace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let [mut one, mut other] = [(); 2].map(|()| open(&path));
        one.write(b"one\n").1.unwrap();
        (one.size, other.size) = (u64::MAX, u64::MAX);
        one.write(b"two\n").1.unwrap();
        other.write(b"three\n").1.unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("requests.log.1"), read("requests.log")), ("one\n".to_owned(), "two\nthree\n".to_owned()));
        assert_eq!(["requests.log.1", "requests.log"].map(|name| mode(&folder.path().join(name))), [0o640; 2]);
    }

    #[test]
    fn so_many_and_so_much_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let there = || {
            let names = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string());
            let mut names: Vec<String> = names.map(Result::unwrap).collect();
            names.sort();
            names.into_iter().map(|name| name.replace("requests.log", "")).collect::<Vec<_>>()
        };
        let files = LogFiles { size: 2, keep: 2, ..LogFiles::of(folder.path()) };
        let mut file = LogFile::open(&path, files).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            file.write(line.as_bytes()).1.unwrap();
        }
        assert_eq!(there(), ["", ".1", ".2"]);
        assert_eq!(std::fs::read_to_string(file.aside(2)).unwrap(), "two\n");
        file.files.keep_size = 12;
        file.write(b"five\n").1.unwrap();
        assert_eq!(there(), ["", ".1", ".2"], "four and three have 11 bytes");
        file.write(b"six\n").1.unwrap();
        assert_eq!(
            (there(), std::fs::read_to_string(file.aside(2)).unwrap()),
            (vec!["".into(), ".1".into(), ".2".into()], "four\n".into())
        );
        file.files.keep_size = 8;
        file.write(b"seven\n").1.unwrap();
        assert_eq!(there(), ["", ".1"], "six has 4 bytes, and five 5 more");
        (file.files.size, file.files.every) = (u64::MAX, Some(Duration::ZERO));
        file.write(b"eight\n").1.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "eight\n", "it is old");
    }

    #[test]
    fn others_may_not_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/requests.log");
        LogFile::make_folder(path.parent().unwrap()).unwrap();
        open(&path);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o640, 0o750));
        for (before, after) in [(0o644, 0o640), (0o606, 0o600), (0o660, 0o660), (0o600, 0o600)] {
            std::fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            open(&path);
            assert_eq!(mode(&path), after, "{before:o}");
        }
    }

    #[test]
    fn a_line_that_broke_off_is_taken_back_unless_somebody_added_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let mut file = open(&path);
        for (written, added, kept, left) in [
            ("one\ntw", "", 4, "one\n"),
            ("two\n", "", 4, "one\ntwo\n"),
            ("thr", "", 0, "one\ntwo\n"),
            ("thr", "other\n", 3, "one\ntwo\nthrother\n"),
        ] {
            file.file.write_all(written.as_bytes()).unwrap();
            open(&path).write(added.as_bytes()).1.unwrap();
            assert_eq!(file.keep_whole(written.as_bytes()), kept, "{written}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
    }

    #[test]
    fn a_full_device_takes_nothing() {
        let mut file = open(Path::new("/dev/full"));
        let (kept, result) = file.write(b"one\n");
        assert_eq!((kept, result.unwrap_err().kind()), (0, ErrorKind::StorageFull));
    }
}
