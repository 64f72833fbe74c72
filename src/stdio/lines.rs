//! Lines of standard input and output. Each has a thread of its own, since a pipe cannot be waited
//! for otherwise, and a short queue, so that neither side runs ahead of the other.

use std::io::{self, BufRead, Read as _, Write};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// Most bytes of a line that is read.
pub(super) const LONGEST: usize = 16 << 20;
/// Most lines that wait on either side.
const QUEUE: usize = 64;

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A message, without its end.
    Whole(Bytes),
    /// A line of more than [`LONGEST`] bytes, which was passed over.
    TooLong,
}

/// The lines that a client sends.
pub struct Input(Receiver<Line>);

/// The way to a client. Lines of several senders never mix.
#[derive(Clone)]
pub struct Output(Sender<Vec<u8>>);

impl Input {
    /// Reads lines until the end of `source`; empty ones are left out.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn read(source: impl FnOnce() -> Box<dyn BufRead> + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = channel(QUEUE);
        thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut source = source();
            while let Some(line) = next(&mut source, LONGEST) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(lines))
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.0.recv().await
    }
}

impl Output {
    /// Writes lines to `target` until every sender has gone, or `target` takes no more. The handle
    /// ends when all are written. To be called on a runtime.
    #[must_use]
    pub fn write(mut target: impl Write + Send + 'static) -> (Self, JoinHandle<()>) {
        let (sender, mut lines) = channel::<Vec<u8>>(QUEUE);
        let written = tokio::task::spawn_blocking(move || {
            while let Some(line) = lines.blocking_recv() {
                if target.write_all(&line).and_then(|()| target.flush()).is_err() {
                    return;
                }
            }
        });
        (Self(sender), written)
    }

    /// Sends a message as one line. JSON has line breaks between its tokens only, where a space does
    /// as well.
    pub(super) async fn send(&self, message: impl Into<Vec<u8>>) {
        let mut line = message.into();
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        // Whoever does not read any more is told nothing.
        let _ = self.0.send(line).await;
    }

    /// Waits until nobody reads any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// The next line that is not empty, of `most` bytes at most; `None` at the end, and where nothing can
/// be read.
fn next(source: &mut impl BufRead, most: usize) -> Option<Line> {
    loop {
        let mut line = Vec::new();
        // One byte for the line's end, one to see that there are more.
        let read = source.take(most as u64 + 2).read_until(b'\n', &mut line).ok()?;
        if read == 0 {
            return None;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if text.len() > most {
            if text.len() == line.len() {
                pass_over(source)?;
            }
            return Some(Line::TooLong);
        }
        let text = text.trim_ascii();
        if !text.is_empty() {
            return Some(Line::Whole(Bytes::copy_from_slice(text)));
        }
    }
}

/// Reads to the end of a line, and keeps nothing of it.
fn pass_over(source: &mut impl BufRead) -> Option<()> {
    loop {
        let waiting = source.fill_buf().ok()?;
        if waiting.is_empty() {
            return Some(());
        }
        let end = waiting.iter().position(|byte| *byte == b'\n');
        let read = end.map_or(waiting.len(), |end| end + 1);
        source.consume(read);
        if end.is_some() {
            return Some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &str, most: usize) -> Vec<Line> {
        // A buffer of three bytes, so that lines come in pieces.
        let mut source = BufReader::with_capacity(3, text.as_bytes());
        std::iter::from_fn(|| next(&mut source, most)).collect()
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_are_bounded_and_a_long_one_takes_no_other_with_it() {
        for (text, expected) in [
            ("", vec![]),
            ("a\n\n \r\nb\r\n", vec![whole("a"), whole("b")]),
            ("12345678\nab", vec![whole("12345678"), whole("ab")]),
            ("123456789\nab\n", vec![Line::TooLong, whole("ab")]),
            ("1234567890\nab\n", vec![Line::TooLong, whole("ab")]),
            ("1234567890123456789012\nab\n", vec![Line::TooLong, whole("ab")]),
            ("1234567890123456789012", vec![Line::TooLong]),
        ] {
            assert_eq!(lines(text, 8), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_message_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (out, written) = Output::write(file.reopen().unwrap());
        out.send("{\n  \"a\": \"b\\n\"\r\n}").await;
        out.send("{}").await;
        drop(out);
        written.await.unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "{   \"a\": \"b\\n\"  }\n{}\n");
    }
}
