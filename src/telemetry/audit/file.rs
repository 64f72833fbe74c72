//! The file of records: locked by the gate that writes it, set aside by size and age, and taken up where a gate before
//! has left it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use filters::audit::Position;

use super::super::log_file::open;

/// Bytes at the end of a file in which its last record is looked for.
const TAIL: u64 = 1 << 20;
/// The time between two looks for a file that somebody has removed.
const LOOK: Duration = Duration::from_millis(500);

/// Where records are written, and when the file is set aside.
#[derive(Clone, Debug)]
pub struct AuditFileTerms {
    /// The file.
    pub path: PathBuf,
    /// Bytes from which it is set aside.
    pub size: u64,
    /// The time after which it is; `None` for never.
    pub every: Option<Duration>,
    /// Most files that are kept aside.
    pub keep: u32,
}

pub(super) struct AuditFile {
    terms: AuditFileTerms,
    file: File,
    size: u64,
    /// When its first record was written, give or take.
    since: Instant,
    looked: Instant,
    /// False for a pipe, which cannot be synced.
    regular: bool,
}

/// The name of the file that was set aside so many times ago.
fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl AuditFile {
    /// Opens the file, and gives the last record in it. A line that a killed gate left unfinished is ended, so that
    /// it stays apart. A file that a running gate writes is set aside: that gate goes on in it.
    pub(super) fn open(terms: AuditFileTerms) -> io::Result<(Self, Option<Position>)> {
        let mut file = open(&terms.path)?;
        let last = match file.metadata()?.is_file() {
            true => tail(&terms.path)?,
            false => (None, false),
        };
        match file.try_lock() {
            Ok(()) if last.1 => file.write_all(b"\n")?,
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                set_aside(&terms)?;
                file = open(&terms.path)?;
                file.lock()?;
            }
            // Pipes and some file systems have no locks.
            Err(TryLockError::Error(_)) => {}
        }
        Ok((Self::of(terms, file)?, last.0))
    }

    fn of(terms: AuditFileTerms, file: File) -> io::Result<Self> {
        let found = file.metadata()?;
        let age = found.created().ok().and_then(|begun| begun.elapsed().ok()).unwrap_or_default();
        let now = Instant::now();
        let since = now.checked_sub(age).unwrap_or(now);
        Ok(Self { terms, file, size: found.len(), since, looked: now, regular: found.is_file() })
    }

    /// Writes `lines`; gives the number of bytes that are written, and the error that stopped the rest.
    pub(super) fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.looked.elapsed() > LOOK {
            self.looked = Instant::now();
            if let Err(error) = self.look() {
                return (0, Err(error));
            }
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(bytes) => {
                    written += bytes;
                    self.size += bytes as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Begins the file anew where somebody has removed it.
    fn look(&mut self) -> io::Result<()> {
        match fs::metadata(&self.terms.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.begin(),
            _ => Ok(()),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.regular { self.file.sync_data() } else { Ok(()) }
    }

    /// True where it is large or old enough to be set aside.
    pub(super) fn is_due(&self) -> bool {
        let old = self.terms.every.is_some_and(|every| self.since.elapsed() >= every);
        self.regular && self.size > 0 && (old || self.size >= self.terms.size)
    }

    /// Sets the file aside and begins another; not where a gate that replaces this one has done so.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let (named, own) = (fs::metadata(&self.terms.path), self.file.metadata()?);
        match named {
            Ok(named) if (named.dev(), named.ino()) != (own.dev(), own.ino()) => {
                (self.size, self.since) = (0, Instant::now());
                return Ok(());
            }
            Ok(_) => set_aside(&self.terms)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.begin()
    }

    fn begin(&mut self) -> io::Result<()> {
        let file = open(&self.terms.path)?;
        // The gate that it is locked against is a later one; another has no use of its name.
        let _ = file.try_lock();
        *self = Self::of(self.terms.clone(), file)?;
        Ok(())
    }
}

/// Moves the file, and those that were set aside before it, one number on; the oldest is replaced.
fn set_aside(terms: &AuditFileTerms) -> io::Result<()> {
    let there = (1..terms.keep).take_while(|number| aside(&terms.path, *number).exists()).count();
    for number in (1..=u32::try_from(there).unwrap_or(u32::MAX)).rev() {
        fs::rename(aside(&terms.path, number), aside(&terms.path, number.saturating_add(1)))?;
    }
    fs::rename(&terms.path, aside(&terms.path, 1))
}

/// The last record in a file, and true where a line behind it is not finished. Of a file without a whole record it is
/// the last one of the file that was set aside before it.
fn tail(path: &Path) -> io::Result<(Option<Position>, bool)> {
    let (last, unfinished) = last_of(path)?;
    let before = aside(path, 1);
    let last = if last.is_none() && before.exists() { last_of(&before)?.0 } else { last };
    Ok((last, unfinished))
}

fn last_of(path: &Path) -> io::Result<(Option<Position>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok((None, false));
    }
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text)?;
    let unfinished = text.last() != Some(&b'\n');
    let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let lines = text.get(..whole).unwrap_or_default().rsplit(|byte| *byte == b'\n');
    Ok((lines.into_iter().find_map(Position::read), unfinished))
}

#[cfg(test)]
mod tests {
    use super::*;
    use filters::audit::{Chain, ChainId, Occurrence};

    fn terms(folder: &Path, size: u64, keep: u32) -> AuditFileTerms {
        AuditFileTerms { path: folder.join("audit.log"), size, every: None, keep }
    }

    fn line(chain: &mut Chain) -> Vec<u8> {
        let (mut body, mut line) = (Vec::new(), Vec::new());
        Occurrence::Ended.write(1, &mut body);
        chain.seal(&body, &mut line);
        line
    }

    #[test]
    fn what_a_killed_gate_left_is_kept_apart_and_its_last_record_found() {
        let folder = tempfile::tempdir().unwrap();
        let terms = terms(folder.path(), u64::MAX, 3);
        let mut chain = Chain::begin(ChainId::new(1), None);
        let (mut file, last) = AuditFile::open(terms.clone()).unwrap();
        assert_eq!(last, None);
        file.write(&line(&mut chain)).1.unwrap();
        file.write(b"{\"metadata\":").1.unwrap();
        drop(file);
        let (_, last) = AuditFile::open(terms.clone()).unwrap();
        assert_eq!(last, chain.last());
        assert!(fs::read_to_string(&terms.path).unwrap().ends_with("{\"metadata\":\n"));
        assert_eq!(fs::metadata(&terms.path).unwrap().mode() & 0o777, 0o640);
        fs::rename(&terms.path, folder.path().join("audit.log.1")).unwrap();
        for torn in ["", "{\"metadata\":"] {
            fs::write(&terms.path, torn).unwrap();
            let (_, last) = AuditFile::open(terms.clone()).unwrap();
            assert_eq!(last, chain.last(), "killed as soon as the file was begun: {torn}");
        }
    }

    #[test]
    fn a_file_that_another_gate_writes_is_set_aside_and_that_gate_goes_on_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let terms = terms(folder.path(), 1, 3);
        let (mut old, _) = AuditFile::open(terms.clone()).unwrap();
        old.write(b"one\n").1.unwrap();
        let (mut new, _) = AuditFile::open(terms.clone()).unwrap();
        new.write(b"two\n").1.unwrap();
        old.rotate().unwrap();
        old.write(b"three\n").1.unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("audit.log.1"), read("audit.log")), ("one\nthree\n".to_owned(), "two\n".to_owned()));
    }

    #[test]
    fn so_many_are_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = AuditFile::open(terms(folder.path(), 1, 2)).unwrap();
        for text in ["1\n", "2\n", "3\n", "4\n"] {
            assert!(!file.is_due());
            file.write(text.as_bytes()).1.unwrap();
            assert!(file.is_due());
            file.rotate().unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!([read("audit.log.1"), read("audit.log.2")], [Some("4\n".to_owned()), Some("3\n".to_owned())]);
        assert_eq!(read("audit.log.3"), None);
        fs::remove_file(folder.path().join("audit.log")).unwrap();
        file.looked = Instant::now().checked_sub(2 * LOOK).unwrap();
        file.write(b"5\n").1.unwrap();
        assert_eq!(read("audit.log").as_deref(), Some("5\n"), "somebody has removed it");
    }
}
