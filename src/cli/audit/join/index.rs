//! The gate's records, found by their correlation ids without being held.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use filters::audit::{ChainId, OwnId, RecordedCall};
use serde::Deserialize;

use super::report::Unread;
use crate::cli::audit::files;

/// Most records of one correlation id that one request is compared with: those nearest in time.
const NEAREST: usize = 64;
/// Most correlation ids that Vault is asked for the HMACs of.
const HASHED: usize = 100_000;

/// The meaning of a record that no request was found for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Vault must have been asked.
    Vault,
    /// Nothing was needed of Vault: the call was refused, or the gate answered it alone.
    Nothing,
    /// Nobody knows: the call was permitted, and its end is not recorded.
    Unknown,
}

/// The calls that have not ended so far, by their requests and messages.
type Open = HashMap<(u64, Option<u64>), Slot>;

/// A call's record by its place. There may be millions, so that it is small: 40 bytes.
struct Slot {
    id: u64,
    began: u64,
    offset: u64,
    length: u32,
    file: u32,
    need: Need,
    /// True for one that was searched for; others of its id tell whose a request is.
    wanted: bool,
    seen: bool,
}

/// The terms on which records are looked at.
pub(super) struct Terms<'a> {
    /// True for records that requests are compared with.
    pub(super) covers: &'a dyn Fn(&RecordedCall) -> bool,
    /// True for those of them that were searched for.
    pub(super) wants: &'a dyn Fn(&RecordedCall) -> bool,
}

/// The records of calls.
pub(super) struct Index {
    files: Vec<File>,
    slots: Vec<Slot>,
    hasher: RandomState,
    /// HMACs of ids, by their digests, with the digests of the ids.
    hashed: HashMap<u64, u64>,
    /// HMACs of the ids that the gate gave to its own requests.
    own: HashSet<u64>,
    chains: HashSet<ChainId>,
    /// The times of the first and of the last record, whatever was searched for.
    pub(super) span: Option<(u64, u64)>,
    /// Lines that are no records.
    pub(super) unread: Unread,
}

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    time: u64,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    uid: &'a str,
}

impl Index {
    /// Reads the files, oldest first, and keeps the places of their records.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn of(paths: &[PathBuf], terms: &Terms<'_>) -> Result<Self, String> {
        let mut index = Self {
            files: Vec::new(),
            slots: Vec::new(),
            hasher: RandomState::new(),
            hashed: HashMap::new(),
            own: HashSet::new(),
            chains: HashSet::new(),
            span: None,
            unread: Unread::default(),
        };
        let told = |path: &PathBuf, error| format!("{} cannot be read: {error}", path.display());
        let opened = paths.iter().map(|path| File::open(path).map_err(|error| told(path, error)));
        index.files = opened.collect::<Result<_, _>>()?;
        let mut open = Open::new();
        for (file, path) in paths.iter().enumerate() {
            let input = index.files.get(file).and_then(|file| file.try_clone().ok());
            let mut offset = 0;
            let read = files::lines_of(input.ok_or("too many files are open")?, |line, whole, number| {
                let place = (file as u32, offset, line.len() as u32);
                offset += line.len() as u64 + u64::from(whole);
                match serde_json::from_slice::<Outline<'_>>(line) {
                    Ok(outline) => index.note_line(&outline),
                    Err(_) => index.unread.note(path, number),
                }
                if let Some(call) = RecordedCall::read(line).filter(terms.covers) {
                    index.add(&call, (terms.wants)(&call), place, &mut open);
                }
                Ok::<_, String>(())
            })?;
            read.map_err(|error| told(path, error))?;
        }
        index.slots.extend(open.into_values());
        index.slots.sort_unstable_by_key(|slot| (slot.id, slot.began, slot.file, slot.offset));
        Ok(index)
    }

    fn note_line(&mut self, Outline { metadata, time }: &Outline<'_>) {
        let (first, last) = self.span.unwrap_or((*time, *time));
        self.span = Some((first.min(*time), last.max(*time)));
        let chain = metadata.uid.rsplit_once('-').and_then(|(chain, _)| ChainId::parse(chain));
        self.chains.extend(chain);
    }

    /// Adds a record; one of what was permitted is added at the end, where its call has not ended.
    fn add(&mut self, call: &RecordedCall, wanted: bool, place: (u32, u64, u32), open: &mut Open) {
        let key = (self.hasher.hash_one(&call.request.0), call.request.1);
        let need = if call.needs_vault() { Need::Vault } else { Need::Nothing };
        let need = if call.ended { need } else { Need::Unknown };
        let (file, offset, length) = place;
        let (id, began) = (self.digest(&call.correlation), call.began);
        let slot = Slot { id, began, offset, length, file, need, wanted, seen: false };
        if call.ended {
            open.remove(&key);
            self.slots.push(slot);
        } else if let Entry::Vacant(vacant) = open.entry(key) {
            vacant.insert(slot);
        }
    }

    fn digest(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }

    /// True where the gate whose chain this is wrote these records.
    pub(super) fn has(&self, chain: ChainId) -> bool {
        self.chains.contains(&chain)
    }

    /// True where Vault's HMACs were asked for, and this is the one of an id of the gate's own requests.
    pub(super) fn is_own(&self, hashed: &str) -> bool {
        self.own.contains(&self.digest(hashed))
    }

    /// The correlation ids of its records, and those that its gates gave to their own requests.
    ///
    /// # Errors
    /// There are too many, or a file has changed.
    pub(super) fn ids(&self) -> Result<Vec<String>, String> {
        let (mut ids, mut last) = (Vec::new(), None);
        for (at, slot) in self.slots.iter().enumerate() {
            if last.replace(slot.id) == Some(slot.id) {
                continue;
            }
            if ids.len() >= HASHED {
                return Err(format!("there are more than {HASHED} ids: narrow it by --since or --correlation-id"));
            }
            ids.push(self.read(at).ok_or("the gate's records have changed meanwhile")?.correlation.into());
        }
        ids.extend(self.chains.iter().map(|chain| OwnId::Gate(*chain).to_string()));
        Ok(ids)
    }

    /// Notes that Vault has written `hashed` in place of `id`.
    pub(super) fn note_hash(&mut self, id: &str, hashed: &str) {
        let (id, is_own, hashed) = (self.digest(id), OwnId::parse(id).is_some(), self.digest(hashed));
        if is_own {
            self.own.insert(hashed);
        } else {
            self.hashed.insert(hashed, id);
        }
    }

    /// The places of the records of a correlation id, or of its HMAC; empty where there are none. Of many only those
    /// nearest to `time`.
    pub(super) fn of_id(&self, id: &str, time: u64) -> Range<usize> {
        let digest = self.digest(id);
        let digest = self.hashed.get(&digest).copied().unwrap_or(digest);
        let begin = self.slots.partition_point(|slot| slot.id < digest);
        let end = self.slots.partition_point(|slot| slot.id <= digest);
        if end - begin <= NEAREST {
            return begin..end;
        }
        let near = self.slots.partition_point(|slot| (slot.id, slot.began) < (digest, time));
        let from = near.saturating_sub(NEAREST / 2).clamp(begin, end - NEAREST);
        from..from + NEAREST
    }

    /// Reads the record at a place again; `None` where it cannot be read any more.
    pub(super) fn read(&self, at: usize) -> Option<RecordedCall> {
        let slot = self.slots.get(at)?;
        let mut line = vec![0; slot.length as usize];
        self.files.get(slot.file as usize)?.read_exact_at(&mut line, slot.offset).ok()?;
        RecordedCall::read(&line)
    }

    /// True for the record of a call that was searched for.
    pub(super) fn is_wanted(&self, at: usize) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.wanted)
    }

    /// True where a request was found for the record at a place.
    pub(super) fn is_seen(&self, at: usize) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.seen)
    }

    /// Notes that a request was found for it.
    pub(super) fn see(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.seen = true;
        }
    }

    /// The number of calls that were searched for, and requests were found for.
    pub(super) fn seen(&self) -> usize {
        self.slots.iter().filter(|slot| slot.wanted && slot.seen).count()
    }

    /// The places of the other records that were searched for in the order of the files, when they began, and what they need.
    pub(super) fn unseen(&self) -> Vec<(usize, u64, Need)> {
        let mut unseen: Vec<_> = (0..).zip(&self.slots).filter(|(_, slot)| slot.wanted && !slot.seen).collect();
        unseen.sort_unstable_by_key(|(_, slot)| (slot.file, slot.offset));
        unseen.into_iter().map(|(at, slot)| (at, slot.began, slot.need)).collect()
    }
}
