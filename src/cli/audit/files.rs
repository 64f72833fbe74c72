//! The files of an audit: each with those that were set aside of it, and their lines.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// Longest line that is read; those of the gate have some kilobytes.
const LONGEST: u64 = 8 << 20;

/// The files, oldest first: of one alone those that were set aside of it too; several as they are named.
pub(super) fn all(files: &[PathBuf]) -> Vec<PathBuf> {
    let [file] = files else { return files.to_vec() };
    let aside = |number: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let mut all: Vec<_> = (1..).map(aside).take_while(|path| path.exists()).collect();
    all.reverse();
    all.push(file.clone());
    all
}

/// Calls `take` with each line, without its end, true where it had one, and its number from 1.
///
/// # Errors
/// The file cannot be read, or `take` has had enough.
pub(super) fn lines<E>(path: &Path, take: impl FnMut(&[u8], bool, u64) -> Result<(), E>) -> Result<io::Result<()>, E> {
    match File::open(path) {
        Ok(file) => lines_of(file, take),
        Err(error) => Ok(Err(error)),
    }
}

/// Calls `take` with each line of `input` in the same way.
///
/// # Errors
/// As [`lines`].
pub(super) fn lines_of<E>(
    input: impl io::Read,
    mut take: impl FnMut(&[u8], bool, u64) -> Result<(), E>,
) -> Result<io::Result<()>, E> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match input.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
        let whole = line.last() == Some(&b'\n');
        take(line.strip_suffix(b"\n").unwrap_or(&line), whole, number)?;
    }
    Ok(Ok(()))
}

/// The first line of a file; empty where there is none.
///
/// # Errors
/// The file cannot be read.
pub(super) fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?).take(LONGEST).read_until(b'\n', &mut line)?;
    line.pop_if(|byte| *byte == b'\n');
    Ok(line)
}
