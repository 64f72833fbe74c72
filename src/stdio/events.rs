//! Server-sent events: bytes in, messages out, the same for any cut of the bytes.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::time::Duration;

use super::gate::LARGEST;

/// Longest id of an event that is sent back.
const LONGEST_ID: usize = 256;

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// True where the last byte was a carriage return, which a line feed may follow.
    returned: bool,
    data: Vec<u8>,
    /// The id of the last event that was read to its end, and of the one that is being read.
    last_id: String,
    next_id: Option<String>,
    retry: Option<Duration>,
}

/// An event has more bytes than are held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Events {
    /// The events of a stream that goes on after the event `last_id`.
    pub(super) fn after(last_id: String) -> Self {
        Self { last_id, ..Self::default() }
    }

    /// Reads on, and gives the data of the events that end within `part`.
    ///
    /// # Errors
    /// [`TooLarge`]; the stream is of no use any more.
    pub(super) fn read(&mut self, part: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        let mut found = Vec::new();
        for byte in part {
            let follows = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if follows => {}
                b'\n' | b'\r' => found.extend(self.end_line()),
                byte if self.line.len() + self.data.len() < LARGEST => self.line.push(*byte),
                _ => return Err(TooLarge),
            }
        }
        Ok(found)
    }

    /// The id of the last whole event; empty where it had none.
    pub(super) fn last_id(&self) -> &str {
        &self.last_id
    }

    /// The time that the server wants to pass before it is asked again.
    pub(super) const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if let Some(id) = self.next_id.take() {
                self.last_id = id;
            }
            return Some(std::mem::take(&mut self.data)).filter(|data| !data.is_empty());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                // Between two lines of JSON a space does as well as a line's end.
                if !self.data.is_empty() {
                    self.data.push(b' ');
                }
                self.data.extend_from_slice(value);
            }
            b"id" => {
                let id = std::str::from_utf8(value).ok().filter(|id| id.len() <= LONGEST_ID && !id.contains('\0'));
                self.next_id = id.map(str::to_owned).or(self.next_id.take());
            }
            b"retry" => {
                let milliseconds = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                self.retry = milliseconds.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_for_any_cut_of_the_bytes() {
        let text = ": hello\n\nretry: 500\nid: 7\nevent: message\ndata: {\"a\":\r\ndata:1}\r\n\r\nid: 8\rdata: {}\r\r\
                    id: 9\ndata: {\"cut\"";
        for length in 1..=text.len() {
            let (mut events, mut found) = (Events::after("6".to_owned()), Vec::new());
            for part in text.as_bytes().chunks(length) {
                found.extend(events.read(part).unwrap());
            }
            assert_eq!(found, [&b"{\"a\": 1}"[..], b"{}"], "{length}");
            assert_eq!((events.last_id(), events.retry()), ("8", Some(Duration::from_millis(500))), "{length}");
        }
    }

    #[test]
    fn an_id_counts_once_its_event_is_whole() {
        let mut events = Events::after("1".to_owned());
        events.read(b"id: 2\ndata: {}\n").unwrap();
        assert_eq!(events.last_id(), "1");
        events.read(b"\n").unwrap();
        assert_eq!(events.last_id(), "2");
        events.read(b"id: a\0b\ndata: {}\n\n").unwrap();
        assert_eq!(events.last_id(), "2");
    }
}
