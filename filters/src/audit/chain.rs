//! The chain: each record has its number and the digest of the line before it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{SCHEMA, member, number};
use crate::secret::Digest;

/// The name of a chain: a number that its process drew, as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChainId(u64);

impl ChainId {
    /// The chain of that number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Reads 16 lower-case hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        plain.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A record by its place in a chain, and the SHA-256 of its line without the line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The chain.
    pub chain: ChainId,
    /// The number, from 1.
    pub number: u64,
    /// The digest.
    pub digest: Digest,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.chain, self.number)
    }
}

/// The chain of one process, to which records are added.
#[derive(Debug)]
pub struct Chain {
    id: ChainId,
    /// A line up to the number of its record.
    head: Box<str>,
    /// The last record of the chain that this one follows.
    follows: Option<Position>,
    last: Option<Position>,
}

impl Chain {
    /// A chain without records, which follows another's last record where there is one.
    #[must_use]
    pub fn begin(id: ChainId, follows: Option<Position>) -> Self {
        let product = r#"{"name":"Portcullis","vendor_name":"Portcullis"}"#;
        let head = format!(r#"{{"metadata":{{"version":"{SCHEMA}","product":{product},"uid":"{id}"#);
        Self { id, head: head.into(), follows, last: None }
    }

    /// Adds the record of that body to `out`, as a line.
    pub fn seal(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let (start, before) = (out.len(), self.last.or(self.follows));
        let place = self.last.map_or(1, |last| last.number + 1);
        out.extend_from_slice(self.head.as_bytes());
        number("-", place, out);
        number("\",\"sequence\":", place, out);
        out.extend_from_slice(body);
        if let (None, Some(follows)) = (self.last, self.follows) {
            member(",\"follows\":", &follows.to_string(), out);
        }
        out.extend_from_slice(b",\"prev\":\"");
        if let Some(before) = before {
            let mut text = [0; 44];
            let written = STANDARD.encode_slice(before.digest.bytes(), &mut text).unwrap_or_default();
            out.extend_from_slice(text.get(..written).unwrap_or_default());
        }
        out.extend_from_slice(b"\"}}");
        let digest = Digest::of(out.get(start..).unwrap_or_default());
        out.push(b'\n');
        self.last = Some(Position { chain: self.id, number: place, digest });
    }

    /// The last record; `None` before the first.
    #[must_use]
    pub const fn last(&self) -> Option<Position> {
        self.last
    }
}

/// The parts of a line that the chain is made of.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) position: Position,
    pub(super) prev: Option<Digest>,
    pub(super) follows: Option<(ChainId, u64)>,
    pub(super) event: &'a str,
    pub(super) checkpoint: Option<String>,
    pub(super) time: u64,
    pub(super) lost: u64,
}

impl<'a> Record<'a> {
    /// Reads a line, without its end; `None` where it is no record.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            metadata: Metadata<'a>,
            #[serde(borrow)]
            unmapped: Unmapped<'a>,
            time: u64,
        }
        #[derive(Deserialize)]
        struct Metadata<'a> {
            uid: &'a str,
            sequence: u64,
        }
        #[derive(Deserialize)]
        struct Unmapped<'a> {
            prev: &'a str,
            follows: Option<&'a str>,
            event: Option<&'a str>,
            checkpoint: Option<String>,
            records: Option<u64>,
        }
        let Line { metadata, unmapped, time } = serde_json::from_slice(line).ok()?;
        let (chain, number) = place(metadata.uid)?;
        let prev = match unmapped.prev {
            "" => None,
            text => Some(digest(text)?),
        };
        let follows = match unmapped.follows {
            None => None,
            Some(text) => Some(place(text)?),
        };
        let position = Position { chain, number, digest: Digest::of(line) };
        let (event, checkpoint) = (unmapped.event.unwrap_or_default(), unmapped.checkpoint);
        let lost = unmapped.records.filter(|_| event == "lost").unwrap_or_default();
        (number == metadata.sequence && number > 0).then_some(Self {
            position,
            prev,
            follows,
            event,
            checkpoint,
            time,
            lost,
        })
    }

    /// The record that this one, the first of its chain, says it follows.
    pub(super) fn follows(&self) -> Option<Position> {
        let (chain, number) = self.follows?;
        Some(Position { chain, number, digest: self.prev? })
    }
}

impl Position {
    /// The position of the record in a line, without its end; `None` where it is no record.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        Record::read(line).map(|record| record.position)
    }

    /// The record that the one in this line says its chain follows; `None` where it says none.
    #[must_use]
    pub fn followed_by(line: &[u8]) -> Option<Self> {
        Record::read(line)?.follows()
    }
}

fn place(text: &str) -> Option<(ChainId, u64)> {
    let (chain, number) = text.rsplit_once('-')?;
    Some((ChainId::parse(chain)?, number.parse().ok()?))
}

/// Reads a digest in base64.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let bytes: [u8; 32] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(bytes.into())
}
