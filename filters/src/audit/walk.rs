//! A walk along the lines of an audit, which finds the first place where the chain is broken.

use std::collections::{HashMap, VecDeque};

use super::chain::{ChainId, Position, Record};
use super::{Checkpoint, NoteVerifier};
use crate::secret::Digest;

/// The way in which a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The record is not as it was written.
    Changed,
    /// Records are missing before this one.
    Removed,
    /// The record stands before another that it came after.
    Reordered,
    /// The record, or its copy, was put in.
    Inserted,
    /// Records are missing at the end of the file or chain before this one.
    Truncated,
    /// The checkpoint is not one of these records, or not signed by the key.
    Checkpoint,
    /// The chain does not follow the one before it.
    Unlinked,
}

/// The first break of a chain. `P` is a place: a file and a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken<P> {
    /// The way.
    pub fault: Fault,
    /// The place of the line.
    pub place: P,
    /// The number of the record, in its chain, or of the first one that is missing.
    pub number: u64,
}

/// The findings of a walk that met no break.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Records that hold together.
    pub records: u64,
    /// Chains they are of.
    pub chains: u64,
    /// The number of the first record, where earlier ones are not here.
    pub begins: Option<u64>,
    /// The last record.
    pub last: Option<Position>,
    /// The last checkpoint, and its time in milliseconds since the epoch.
    pub checkpoint: Option<(Position, u64)>,
    /// Records behind the last checkpoint.
    pub unproved: u64,
    /// True where the last record says that the gate ended.
    pub ended: bool,
    /// Lines that were not finished: a gate was killed while it wrote.
    pub unfinished: u64,
    /// Records that gates say they have lost.
    pub lost: u64,
}

/// Most records between a checkpoint and the last one that it proves: a signature takes its time where Vault makes it.
pub const BEHIND: usize = 1 << 17;

/// A walk along lines, in their order, oldest first.
#[derive(Debug)]
pub struct Walk<'k, P> {
    /// Any of these must have signed a checkpoint; none for whoever has.
    verifiers: &'k [NoteVerifier],
    /// Digests of the last records of the chain, [`BEHIND`] at most.
    recent: VecDeque<Digest>,
    found: Found,
    /// The last record, and its place.
    last: Option<(Position, P)>,
    doubt: Option<Doubt<P>>,
    /// Records that later chains follow, by their places; none of those that were met.
    followed: HashMap<(ChainId, u64), Digest>,
    begins_file: bool,
}

/// Something that a later line decides.
#[derive(Clone, Copy, Debug)]
enum Doubt<P> {
    /// The line is no record.
    Unread(P),
    /// The record does not name the digest of the one before.
    Mismatch { before: (Position, P), suspect: (Position, P) },
    /// Two records have one number.
    Twice { first: (Position, P), second: (Position, P) },
    /// Records from this number on are missing so far; at the begin of a file or not.
    Gap { missing: u64, chain: ChainId, place: P, begins_file: bool },
}

impl<'k, P: Copy> Walk<'k, P> {
    /// A walk that has met nothing; with keys, each checkpoint must be signed by one of them.
    #[must_use]
    pub fn new(verifiers: &'k [NoteVerifier]) -> Self {
        let (found, followed, recent) = (Found::default(), HashMap::new(), VecDeque::new());
        Self { verifiers, recent, found, last: None, doubt: None, followed, begins_file: false }
    }

    /// Tells of a record that a chain further on says it follows: it need not be the last of its own, since a gate
    /// that is replaced still writes.
    pub fn expect(&mut self, followed: Position) {
        self.followed.insert((followed.chain, followed.number), followed.digest);
    }

    /// True where that record was told of and has not been met.
    #[must_use]
    pub fn misses(&self, followed: &Position) -> bool {
        self.followed.contains_key(&(followed.chain, followed.number))
    }

    /// Tells that the next line is the first of a file.
    pub const fn begin_file(&mut self) {
        self.begins_file = true;
    }

    /// Takes the next line, without its end; `whole` is true where it had one.
    ///
    /// # Errors
    /// The first break.
    pub fn take(&mut self, line: &[u8], whole: bool, place: P) -> Result<(), Broken<P>> {
        let begins_file = std::mem::take(&mut self.begins_file);
        let Some(record) = Record::read(line) else { return self.unread(whole, place) };
        if let Some(doubt) = self.doubt.take() {
            self.settle(doubt, &record)?;
        }
        if self.doubt.is_none() {
            self.follow(&record, place, begins_file)?;
        }
        Ok(())
    }

    /// Gives what was found.
    ///
    /// # Errors
    /// The first break, where only the end decides it.
    pub fn finish(mut self) -> Result<Found, Broken<P>> {
        match self.doubt {
            None => {}
            Some(Doubt::Unread(place)) => return Err(self.broken(Fault::Changed, place, self.next())),
            Some(Doubt::Mismatch { suspect: (position, place), .. }) => {
                return Err(self.broken(Fault::Changed, place, position.number));
            }
            Some(Doubt::Twice { second: (position, place), .. }) => {
                return Err(self.broken(Fault::Inserted, place, position.number));
            }
            Some(Doubt::Gap { missing, place, begins_file, .. }) => {
                let fault = if begins_file { Fault::Truncated } else { Fault::Removed };
                return Err(self.broken(fault, place, missing));
            }
        }
        self.found.last = self.last.map(|(position, _)| position);
        Ok(self.found)
    }

    fn unread(&mut self, whole: bool, place: P) -> Result<(), Broken<P>> {
        match self.doubt {
            // The gap is told of, whatever this is.
            Some(Doubt::Gap { .. }) => {}
            Some(_) => return Err(self.broken(Fault::Changed, place, self.next())),
            None if whole => self.doubt = Some(Doubt::Unread(place)),
            None => self.found.unfinished += 1,
        }
        Ok(())
    }

    /// Decides what was in doubt by the record that stands behind it.
    fn settle(&mut self, doubt: Doubt<P>, record: &Record<'_>) -> Result<(), Broken<P>> {
        let Position { chain, number, .. } = record.position;
        match doubt {
            Doubt::Unread(place) => {
                let begins = number == 1 && self.last.is_none_or(|(last, _)| last.chain != chain);
                if begins {
                    self.found.unfinished += 1;
                    return Ok(());
                }
                let fault = if number == self.next() { Fault::Inserted } else { Fault::Changed };
                Err(self.broken(fault, place, self.next()))
            }
            Doubt::Mismatch { before, suspect } => {
                if number == suspect.0.number {
                    return Err(self.broken(Fault::Inserted, suspect.1, number));
                }
                let (position, place) = if record.prev == Some(suspect.0.digest) { before } else { suspect };
                Err(self.broken(Fault::Changed, place, position.number))
            }
            Doubt::Twice { first, second } => {
                let is_first = record.prev == Some(second.0.digest) && first.0.digest != second.0.digest;
                let (position, place) = if is_first { first } else { second };
                Err(self.broken(Fault::Inserted, place, position.number))
            }
            Doubt::Gap { missing, chain: of, place, .. } => {
                if chain == of && number == missing {
                    return Err(self.broken(Fault::Reordered, place, missing));
                }
                self.doubt = Some(doubt);
                Ok(())
            }
        }
    }

    /// Takes a record that should follow the last one.
    fn follow(&mut self, record: &Record<'_>, place: P, begins_file: bool) -> Result<(), Broken<P>> {
        let here = record.position;
        match self.last {
            None => self.found.begins = (here.number > 1).then_some(here.number),
            Some((last, _)) if last.chain != here.chain => self.link(record, place)?,
            Some(before) => {
                let next = before.0.number + 1;
                let doubt = if here.number > next {
                    Some(Doubt::Gap { missing: next, chain: here.chain, place, begins_file })
                } else if here.number + 1 == next {
                    Some(Doubt::Twice { first: before, second: (here, place) })
                } else if here.number < next {
                    return Err(self.broken(Fault::Inserted, place, here.number));
                } else if record.prev != Some(before.0.digest) {
                    Some(Doubt::Mismatch { before, suspect: (here, place) })
                } else {
                    None
                };
                if doubt.is_some() {
                    self.doubt = doubt;
                    return Ok(());
                }
            }
        }
        self.accept(record, place)
    }

    /// Takes the first record of another chain.
    fn link(&mut self, record: &Record<'_>, place: P) -> Result<(), Broken<P>> {
        let Some((last, last_place)) = self.last else { return Ok(()) };
        let here = record.position;
        if here.number > 1 {
            return Err(self.broken(Fault::Truncated, place, 1));
        }
        let Some(followed) = record.follows() else { return Err(self.broken(Fault::Unlinked, place, 1)) };
        if followed.chain != last.chain {
            return Err(self.broken(Fault::Unlinked, place, 1));
        }
        if followed.number > last.number {
            return Err(self.broken(Fault::Truncated, place, last.number + 1));
        }
        let expected = self.followed.contains_key(&(followed.chain, followed.number));
        if followed.number < last.number && expected {
            return Err(self.broken(Fault::Unlinked, place, 1));
        }
        if followed.number == last.number && followed.digest != last.digest {
            return Err(self.broken(Fault::Changed, last_place, last.number));
        }
        Ok(())
    }

    fn accept(&mut self, record: &Record<'_>, place: P) -> Result<(), Broken<P>> {
        let here = record.position;
        if let Some(note) = &record.checkpoint {
            let (proved, behind) =
                self.proved(note).ok_or_else(|| self.broken(Fault::Checkpoint, place, here.number))?;
            self.found.checkpoint = Some((proved, record.time));
            self.found.unproved = behind.min(self.recent.len() as u64);
        }
        if let Some(digest) = self.followed.remove(&(here.chain, here.number))
            && digest != here.digest
        {
            return Err(self.broken(Fault::Changed, place, here.number));
        }
        let begins = self.last.is_none_or(|(last, _)| last.chain != here.chain);
        self.found.chains += u64::from(begins);
        if begins {
            self.recent.clear();
        }
        if self.recent.len() == BEHIND {
            self.recent.pop_front();
        }
        self.recent.push_back(here.digest);
        self.found.records += 1;
        self.found.unproved += 1;
        self.found.lost += record.lost;
        self.found.ended = record.event == "stop" || self.found.ended && record.event == "checkpoint";
        self.last = Some((here, place));
        Ok(())
    }

    /// The record that a note proves, and how many stand behind it; `None` where it proves none.
    fn proved(&self, note: &str) -> Option<(Position, u64)> {
        let proved = Checkpoint::read_by(self.verifiers, note)?.last;
        // Where earlier records are not here, nothing is known of them.
        let Some((last, _)) = self.last else { return Some((proved, 0)) };
        let behind =
            last.number.checked_sub(proved.number).filter(|_| proved.chain == last.chain && proved.number > 0)?;
        let back = usize::try_from(behind).ok()?;
        let known = self.recent.len().checked_sub(back + 1).and_then(|place| self.recent.get(place));
        let holds = known.map_or(self.recent.len() < BEHIND, |digest| *digest == proved.digest);
        holds.then_some((proved, behind))
    }

    fn next(&self) -> u64 {
        self.last.map_or(1, |(last, _)| last.number + 1)
    }

    const fn broken(&self, fault: Fault, place: P, number: u64) -> Broken<P> {
        Broken { fault, place, number }
    }
}

#[cfg(test)]
mod tests;
