//! A credential in a file that somebody else writes, read anew each time.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use filters::secret::Secret;
use zeroize::Zeroizing;

use crate::files;

/// Largest file that is read; a token has some kilobytes at most.
const LARGEST: u64 = 64 << 10;

/// Why a file gives no credential; without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileProblem {
    path: PathBuf,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Missing,
    NotAFile,
    Empty,
    TooLarge,
    /// It has a space, a line break or a character that is not ASCII.
    Malformed,
    Unreadable(ErrorKind),
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match self.what {
            What::Missing => f.write_str("there is no such file"),
            What::NotAFile => f.write_str("it is not a regular file"),
            What::Empty => f.write_str("the file is empty"),
            What::TooLarge => f.write_str("the file is larger than 64KiB"),
            What::Malformed => f.write_str("the file holds something else than one token"),
            What::Unreadable(kind) => write!(f, "the file cannot be read: {kind}"),
        }
    }
}

/// The one token in a file, without the space around it.
///
/// # Errors
/// Why there is none.
pub(super) fn read(path: &Path) -> Result<Secret, FileProblem> {
    token(path).map_err(|what| FileProblem { path: path.to_owned(), what })
}

fn token(path: &Path) -> Result<Secret, What> {
    let unreadable = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => What::Missing,
        ErrorKind::InvalidInput => What::NotAFile,
        ErrorKind::FileTooLarge => What::TooLarge,
        kind => What::Unreadable(kind),
    };
    let bytes = Zeroizing::new(files::read(path, LARGEST).map_err(unreadable)?);
    let text = bytes.trim_ascii();
    match std::str::from_utf8(text) {
        Ok("") => Err(What::Empty),
        Ok(token) if text.iter().all(u8::is_ascii_graphic) => Ok(Secret::new(token.to_owned())),
        _ => Err(What::Malformed),
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
        let large = vec![b'x'; LARGEST as usize + 1];
        for (text, expected) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"hvs.CANARY hvs.CANARY", "something else than one token"),
            (b"hvs.CANARY\xff", "something else than one token"),
            (&large, "larger"),
        ] {
            let problem = said(text).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("CANARY"), "{problem}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("there is no such file"));
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(read(&path).unwrap_err().to_string().ends_with("it is not a regular file"));
        std::fs::remove_file(&path).unwrap();
    }
}
