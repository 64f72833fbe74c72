//! A credential in a file that somebody else writes, read anew each time.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use filters::json;
use filters::secret::Secret;
use zeroize::Zeroizing;

use crate::config::files;

/// Largest file that is read; a token has some kilobytes at most.
const LARGEST: u64 = 64 << 10;

/// The reason why a file gives no credential; without the file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileProblem {
    path: PathBuf,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Empty,
    TooLarge,
    /// A folder, a pipe or a device.
    Irregular,
    /// The text has a space, a line break or a character that is not ASCII.
    Malformed,
    Unreadable(io::ErrorKind),
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match self.fault {
            Fault::Missing => f.write_str("there is no such file"),
            Fault::Empty => f.write_str("the file is empty"),
            Fault::TooLarge => f.write_str("the file is larger than 64KiB"),
            Fault::Irregular => f.write_str("it is not a regular file"),
            Fault::Malformed => f.write_str("the file holds something else than one token"),
            Fault::Unreadable(kind) => write!(f, "the file cannot be read: {kind}"),
        }
    }
}

/// The one token in a file, without the space around it.
///
/// # Errors
/// [`FileProblem`].
pub(super) fn read(path: &Path) -> Result<Secret, FileProblem> {
    token(path).map_err(|fault| FileProblem { path: path.to_owned(), fault })
}

fn token(path: &Path) -> Result<Secret, Fault> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        io::ErrorKind::FileTooLarge => Fault::TooLarge,
        io::ErrorKind::InvalidInput => Fault::Irregular,
        kind => Fault::Unreadable(kind),
    };
    let bytes = files::read(path, LARGEST).map(Zeroizing::new).map_err(unreadable)?;
    let text = json::unmarked(&bytes).trim_ascii();
    match std::str::from_utf8(text) {
        Ok("") => Err(Fault::Empty),
        Ok(token) if text.iter().all(u8::is_ascii_graphic) => Ok(Secret::new(token.to_owned())),
        _ => Err(Fault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_token_and_its_text_is_never_shown() {
        let path = std::env::temp_dir().join(format!("portcullis-token-{}", std::process::id()));
        let said = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|problem| problem.to_string())
        };
        assert_eq!(said(b" hvs.CANARY\r\n").unwrap(), Secret::new("hvs.CANARY".into()));
        assert_eq!(said(b"\xEF\xBB\xBFhvs.CANARY\r\n").unwrap(), Secret::new("hvs.CANARY".into()));
        let large = vec![b'x'; LARGEST as usize + 1];
        for (text, expected) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"hvs.CANARY hvs.CANARY", "something else than one token"),
            (b"\xEF\xBB\xBF", "is empty"),
            (b"hvs.CANARY\xEF\xBB\xBF", "something else than one token"),
            (b"hvs.CANARY\xff", "something else than one token"),
            (&large, "larger"),
        ] {
            let problem = said(text).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("CANARY"), "{problem}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("there is no such file"));
        for other in ["/dev/zero", "/proc"] {
            assert!(read(Path::new(other)).unwrap_err().to_string().ends_with("it is not a regular file"), "{other}");
        }
    }
}
