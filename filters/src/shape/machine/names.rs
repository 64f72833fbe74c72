//! Names on their way to a caller, of whom some can be put in no path.

use std::borrow::Cow;

use super::super::{UNREADABLE, UNREADABLE_MORE};
use crate::path;

/// Most bytes of a name that is held, and of all that are told.
const HELD: usize = 64 << 10;

/// The names of a list that no path may hold, as they stand in Vault's JSON.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// True while a name is being read.
    pub(super) begun: bool,
    /// As much of that name as is held, quotes included.
    name: Vec<u8>,
    /// The names that are told, joined by commas.
    told: Vec<u8>,
    /// The number of further ones.
    more: u64,
}

impl Names {
    /// Takes a piece of the name that has begun.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if self.name.len() <= HELD {
            self.name.extend_from_slice(piece);
        }
    }

    /// The name has ended.
    pub(super) fn end(&mut self) {
        self.begun = false;
        if !is_plain(&self.name) {
            if self.more == 0 && self.told.len() + self.name.len() < HELD {
                self.told.extend((!self.told.is_empty()).then_some(b','));
                self.told.extend_from_slice(&self.name);
            } else {
                self.more += 1;
            }
        }
        self.name.clear();
    }

    /// Adds to an object that has begun which there are, and how many more.
    pub(super) fn tell(&self, out: &mut Vec<u8>) {
        if self.told.is_empty() && self.more == 0 {
            return;
        }
        out.extend_from_slice(format!(",\"{UNREADABLE}\":[").as_bytes());
        out.extend_from_slice(&self.told);
        out.push(b']');
        if self.more > 0 {
            out.extend_from_slice(format!(",\"{UNREADABLE_MORE}\":{}", self.more).as_bytes());
        }
    }
}

/// True for a name that can be a segment of a path; a folder's has a slash at the end.
fn is_plain(json: &[u8]) -> bool {
    serde_json::from_slice::<Quoted<'_>>(json)
        .is_ok_and(|Quoted(name)| path::judge(name.strip_suffix('/').unwrap_or(&name)).is_ok())
}

#[derive(serde::Deserialize)]
struct Quoted<'a>(#[serde(borrow)] Cow<'a, str>);
