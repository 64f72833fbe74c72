//! The audit's writer: seals bodies into the chain, writes them, syncs, sets the file aside, signs checkpoints.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use filters::audit::{BEHIND, Backlog, Chain, Checkpoint, Occurrence};

use super::file::AuditFile;
use super::keys::{CheckpointSigner, RemoteSigner, SharedNaming};
use super::outlet::Outlet;
use super::shared::{Shared, Written, now};

/// Pause between two looks, unless it is woken: few large parts are written at less cost than many small ones.
const LOOK: Duration = Duration::from_millis(50);
/// Pause before it tries again where it cannot write.
const AGAIN: Duration = Duration::from_millis(200);
/// Pause before a signer elsewhere is asked again, for all that is there by then.
const ASK: Duration = Duration::from_secs(1);
/// Longest time that a signer elsewhere is waited for before the file is set aside, and at the end.
const SIGN: Duration = Duration::from_secs(2);
/// The time between two syncs.
const SYNC: Duration = Duration::from_millis(200);

pub(super) struct Writer {
    shared: Arc<Shared>,
    file: Option<AuditFile>,
    outlets: Vec<Outlet>,
    chain: Chain,
    names: SharedNaming,
    signer: Option<CheckpointSigner>,
    checkpoint_every: Duration,
    /// When a signer elsewhere was asked, until its note is there.
    asked: Option<Instant>,
    /// Since when the file is to be set aside.
    due: Option<Instant>,
    /// When the last checkpoint was made, and the records since.
    checkpoint: (Instant, u64),
    pub(super) sync_each: bool,
    /// When the file was synced last, and true where it was written since.
    synced: (Instant, bool),
    /// Lines that are sealed and not written yet, and the number of bodies they are of.
    lines: Vec<u8>,
    bodies: u64,
    /// The number of bodies that are written.
    written: u64,
    fails: bool,
    /// Count of the lost records that were told of.
    told: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        file: Option<AuditFile>,
        outlets: Vec<Outlet>,
        chain: Chain,
        names: SharedNaming,
    ) -> Self {
        let now = Instant::now();
        Self {
            shared,
            file,
            outlets,
            chain,
            names,
            signer: None,
            checkpoint_every: Duration::MAX,
            asked: None,
            due: None,
            checkpoint: (now, 0),
            sync_each: false,
            synced: (now, false),
            lines: Vec::new(),
            bodies: 0,
            written: 0,
            fails: false,
            told: 0,
        }
    }

    pub(super) fn sign(&mut self, signer: Option<CheckpointSigner>, every: Duration) {
        (self.signer, self.checkpoint_every) = (signer, every);
    }

    pub(super) fn run(mut self) {
        let mut taken = Backlog::default();
        loop {
            let ending = self.shared.ending.load(Ordering::Acquire);
            let busy = self.take(&mut taken);
            self.seal_signed();
            if self.is_checkpoint_due() {
                self.seal_checkpoint();
            }
            self.write();
            if ending && (self.fails || !busy) {
                return self.end();
            }
            if !ending {
                thread::park_timeout(if self.fails { AGAIN } else { LOOK });
            }
        }
    }

    /// Seals what waits, once all before is written; true where there was something.
    fn take(&mut self, taken: &mut Backlog) -> bool {
        if !self.lines.is_empty() {
            return true;
        }
        std::mem::swap(&mut self.shared.waiting().backlog, taken);
        self.bodies += taken.len() as u64;
        let names = self.names.load();
        taken.drain(&names, |body| self.seal(body));
        self.shared.unwritten.store(self.lines.len(), Ordering::Relaxed);
        self.tell_lost();
        !self.lines.is_empty()
    }

    fn seal(&mut self, body: &[u8]) {
        let start = self.lines.len();
        self.chain.seal(body, &mut self.lines);
        self.checkpoint.1 += 1;
        let line = self.lines.get(start..).unwrap_or_default();
        self.outlets.iter().for_each(|outlet| outlet.push(line));
    }

    fn seal_own(&mut self, occurrence: &Occurrence<'_>) {
        let mut body = Vec::new();
        occurrence.write(now(), &mut body);
        self.seal(&body);
    }

    fn is_checkpoint_due(&self) -> bool {
        let (made, since) = self.checkpoint;
        self.signer.is_some() && since > 0 && made.elapsed() >= self.checkpoint_every
    }

    /// Seals a checkpoint, or has one signed.
    fn seal_checkpoint(&mut self) {
        let Some(last) = self.chain.last().filter(|_| self.checkpoint.1 > 0) else { return };
        match &self.signer {
            Some(CheckpointSigner::Here(signer)) => {
                let note = signer.sign(&Checkpoint { last });
                self.seal_note(&note, 0);
            }
            Some(CheckpointSigner::Remote(signer)) if self.asked.is_none_or(|asked| asked.elapsed() >= ASK) => {
                signer.ask(Checkpoint { last });
                self.asked = Some(Instant::now());
            }
            Some(CheckpointSigner::Remote(_)) | None => {}
        }
    }

    /// Seals a checkpoint behind so many records that it does not prove.
    fn seal_note(&mut self, note: &str, behind: u64) {
        self.seal_own(&Occurrence::Checkpoint { note });
        self.checkpoint = (Instant::now(), behind);
    }

    /// Seals the checkpoint that a signer elsewhere has signed, where there is one; gives the number of the last record
    /// that it proves.
    fn seal_signed(&mut self) -> Option<u64> {
        let (checkpoint, note) = self.remote()?.take()?;
        self.asked = None;
        let (proved, last) = (checkpoint.last.number, self.chain.last()?.number);
        let behind = last.saturating_sub(proved);
        // What is too far behind is not believed by those who verify it.
        if behind < BEHIND as u64 {
            self.seal_note(&note, behind);
        }
        Some(proved)
    }

    const fn remote(&self) -> Option<&Arc<RemoteSigner>> {
        match &self.signer {
            Some(CheckpointSigner::Remote(signer)) => Some(signer),
            Some(CheckpointSigner::Here(_)) | None => None,
        }
    }

    /// True where the file is to be set aside: behind a checkpoint, unless its signer takes too long.
    fn sets_aside(&mut self) -> bool {
        if self.fails || !self.file.as_ref().is_some_and(AuditFile::is_due) {
            self.due = None;
            return false;
        }
        let since = *self.due.get_or_insert_with(Instant::now);
        let (made, unproved) = self.checkpoint;
        if made < since {
            self.seal_checkpoint();
        }
        self.remote().is_none() || made >= since || unproved == 0 || since.elapsed() >= SIGN
    }

    /// Has a record say how many were lost.
    fn tell_lost(&mut self) {
        let lost = self.shared.counters.lost.get();
        if lost > self.told {
            tracing::error!(lost = lost - self.told, "audit records were lost");
            self.seal_own(&Occurrence::Lost { records: lost - self.told });
            self.told = lost;
        }
    }

    fn write(&mut self) {
        let is_due = self.sets_aside();
        if self.lines.is_empty() && !self.synced.1 && !is_due {
            return;
        }
        self.shared.writes_since.store(self.shared.milliseconds(), Ordering::Relaxed);
        let tried = self.try_write(is_due);
        self.shared.writes_since.store(0, Ordering::Relaxed);
        if let Err(error) = &tried
            && !self.fails
        {
            tracing::error!(%error, "the audit cannot be written: records wait, up to 8 MiB of them");
        }
        if tried.is_ok() && self.fails {
            tracing::warn!("the audit is written again");
        }
        self.fails = tried.is_err();
        let now = Written { count: self.written, fails: self.fails };
        self.shared.written.send_if_modified(|written| {
            let differs = (written.count, written.fails) != (now.count, now.fails);
            *written = now;
            differs
        });
    }

    fn try_write(&mut self, is_due: bool) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            self.lines.clear();
            self.all_written();
            return Ok(());
        };
        let (done, result) = file.write(&self.lines);
        self.synced.1 |= done > 0;
        self.lines.drain(..done);
        result?;
        if self.synced.1 && (self.sync_each || is_due || self.synced.0.elapsed() >= SYNC) {
            file.sync()?;
            self.synced = (Instant::now(), false);
        }
        if is_due {
            file.rotate()?;
        }
        self.all_written();
        Ok(())
    }

    fn all_written(&mut self) {
        self.shared.counters.written.inc_by(self.bodies);
        self.written += std::mem::take(&mut self.bodies);
        self.shared.unwritten.store(0, Ordering::Relaxed);
    }

    /// Writes the last records, and tells of what is left.
    fn end(mut self) {
        self.seal_own(&Occurrence::Ended);
        // Whatever was asked for before does not prove the end.
        self.asked = None;
        self.seal_checkpoint();
        self.sync_each = true;
        self.write();
        self.wait_for_last_note();
        let left = self.bodies + self.shared.waiting().backlog.len() as u64;
        if self.fails && left > 0 {
            self.shared.counters.lost.inc_by(left);
            tracing::error!(left, "audit records were lost: the gate ends and cannot write them");
        }
        self.outlets.into_iter().for_each(Outlet::end);
    }

    /// Waits for a checkpoint of all records where it is signed elsewhere.
    fn wait_for_last_note(&mut self) {
        let (begun, all) = (Instant::now(), self.chain.last().map_or(0, |last| last.number));
        if self.remote().is_none() {
            return;
        }
        while self.seal_signed().is_none_or(|proved| proved < all) && begun.elapsed() < SIGN {
            thread::sleep(LOOK);
        }
        self.write();
    }
}
