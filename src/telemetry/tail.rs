//! The end of a log: its last lines, or the last of those that fit.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::log_file::aside;

/// Most bytes of a log that are looked at, from its end.
const MOST: u64 = 8 << 20;

/// The lines that are asked for.
#[derive(Debug)]
pub struct Tail {
    /// Most of them.
    pub limit: usize,
    /// Members that they have, with these values as text.
    pub members: Vec<(String, String)>,
}

impl Tail {
    /// The line, where it fits.
    fn read(&self, line: &[u8]) -> Option<Value> {
        let line: Value = serde_json::from_slice(line).ok()?;
        let is = |name: &str, text: &str| match line.get(name) {
            Some(Value::String(value)) => value == text,
            Some(value) => text.parse::<Value>().is_ok_and(|asked| asked == *value),
            None => false,
        };
        self.members.iter().all(|(name, text)| is(name, text)).then_some(line)
    }
}

/// The last lines of the log `name` that fit, the last at the end; of the file set aside last too, where the current
/// one is short. 8 MiB are looked at.
///
/// # Errors
/// The error of the file system; a file that is missing has no lines.
pub fn tail(folder: &Path, name: &str, asked: &Tail) -> io::Result<Vec<Value>> {
    let current = folder.join(format!("{name}.log"));
    let set_aside = aside(&current, 1);
    let mut lines = Vec::new();
    let mut left = MOST;
    for path in [current, set_aside] {
        let text = end(&path, left)?;
        left -= text.len() as u64;
        let fitting = text.split(|byte| *byte == b'\n').rev().filter_map(|line| asked.read(line));
        lines.extend(fitting.take(asked.limit - lines.len()));
        if lines.len() == asked.limit || left == 0 {
            break;
        }
    }
    lines.reverse();
    Ok(lines)
}

/// At most so many bytes from the end of a file.
fn end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_lines_that_fit_are_told_over_a_file_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let lines = |numbers: std::ops::Range<u32>| {
            numbers.map(|n| format!("{{\"n\":{n},\"odd\":\"{}\"}}\n", n % 2)).collect::<String>()
        };
        fs::write(folder.path().join("x.log.1"), lines(0..10)).unwrap();
        fs::write(folder.path().join("x.log"), lines(10..14) + "{\"n\":14,\"od").unwrap();
        let asked = |limit, members: &[(&str, &str)]| {
            let members = members.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            let told = tail(folder.path(), "x", &Tail { limit, members }).unwrap();
            told.iter().map(|line| line["n"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(asked(2, &[]), [json!(12), json!(13)]);
        assert_eq!(asked(3, &[("odd", "1")]), [json!(9), json!(11), json!(13)]);
        assert_eq!(asked(9, &[("n", "7")]), [json!(7)]);
        assert_eq!(asked(9, &[("n", "7"), ("odd", "0")]), [json!(null); 0]);
        assert_eq!(tail(folder.path(), "y", &Tail { limit: 1, members: Vec::new() }).unwrap(), [json!(null); 0]);
    }
}
