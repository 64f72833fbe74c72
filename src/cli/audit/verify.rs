//! `portcullis audit verify`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use filters::audit::{Broken, Checkpoint, Fault, Found, NoteVerifier, Position, Walk};

use super::{criteria, files};
use crate::cli::common::{FAILED, REFUSED, print};

pub(super) const AFTER: &str = "\
Follows the chain of records from file to file. Of one FILE, those that were set aside
of it (FILE.1, FILE.2, ...) are read before it; several are read as they are named,
oldest first. Tells the first break by its file and line, and what the last
checkpoint proves; records behind it may have been cut off without a trace.
A checkpoint that was kept elsewhere (--checkpoint) must be of a record in the files.

Exit codes:
  0  the chain is whole
  1  it is broken, which is told; or a file cannot be read
  2  the command line was refused

Examples:
  portcullis audit verify --key verifier.txt /var/log/portcullis/audit.log
  portcullis audit verify --checkpoint kept.note audit.log.2 audit.log.1 audit.log";

/// Files, and by which key.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Verify {
    /// Files of records.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The key that every checkpoint must be signed by, as `audit key` or `audit verifier` printed it, or a file of
    /// such keys, a line each, of which one must have signed.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// File of a checkpoint that was kept elsewhere.
    #[arg(long, value_name = "NOTE")]
    checkpoint: Option<PathBuf>,
}

/// A file, by its place in the list, and a line in it.
type Place = (usize, u64);

pub(super) fn run(asked: &Verify) -> ExitCode {
    let (verifiers, kept) = match given(asked) {
        Ok(given) => given,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            return ExitCode::from(REFUSED);
        }
    };
    let files = files::all(&asked.files);
    let told = match walked(&files, &verifiers, kept) {
        Ok(Ok(found)) => {
            print(&holds(&files, &found, !verifiers.is_empty()));
            return ExitCode::SUCCESS;
        }
        Ok(Err(broken)) => breaks(&files, broken),
        Err(problem) => problem,
    };
    eprintln!("portcullis: {told}");
    ExitCode::from(FAILED)
}

/// The keys and the checkpoint that were given.
fn given(asked: &Verify) -> Result<(Vec<NoteVerifier>, Option<Position>), String> {
    let mut verifiers = Vec::new();
    if let Some(key) = &asked.key {
        let text = fs::read_to_string(key).unwrap_or_else(|_| key.clone());
        let lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
        let read: Option<Vec<_>> = lines.map(NoteVerifier::parse).collect();
        verifiers = read
            .filter(|read| !read.is_empty())
            .ok_or("--key is no key that verifies checkpoints, and no file of such keys")?;
    }
    let kept = asked.checkpoint.as_ref().map(|path| {
        let note = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let read = Checkpoint::read_by(&verifiers, &note);
        read.ok_or_else(|| format!("{} is no checkpoint, or not signed by the key", path.display()))
    });
    let kept = kept.transpose()?.map(|checkpoint| checkpoint.last);
    Ok((verifiers, kept))
}

/// Walks along all lines.
fn walked(
    files: &[PathBuf],
    verifiers: &[NoteVerifier],
    kept: Option<Position>,
) -> Result<Result<Found, Broken<Place>>, String> {
    let mut walk = Walk::new(verifiers);
    let unread = |path: &PathBuf, error| format!("{} cannot be read: {error}", path.display());
    for path in files {
        let line = files::first_line(path).map_err(|error| unread(path, error))?;
        Position::followed_by(&line).into_iter().for_each(|position| walk.expect(position));
    }
    kept.into_iter().for_each(|position| walk.expect(position));
    for (place, path) in files.iter().enumerate() {
        walk.begin_file();
        match files::lines(path, |line, whole, number| walk.take(line, whole, (place, number))) {
            Ok(read) => read.map_err(|error| unread(path, error))?,
            Err(broken) => return Ok(Err(broken)),
        }
    }
    let missed = kept.filter(|position| walk.misses(position));
    Ok(match (walk.finish(), missed) {
        (Ok(_), Some(missed)) => {
            return Err(format!("record {missed}, of which a checkpoint was kept, is not in the files"));
        }
        (finished, _) => finished,
    })
}

fn breaks(files: &[PathBuf], Broken { fault, place: (file, line), number }: Broken<Place>) -> String {
    let name = files.get(file).map(|path| path.display().to_string()).unwrap_or_default();
    let (kind, what) = match fault {
        Fault::Changed => ("changed", format!("record {number} is not as it was written")),
        Fault::Removed => ("removed", format!("record {number} is missing before this line")),
        Fault::Reordered => ("reordered", format!("record {number} stands further down")),
        Fault::Inserted => ("inserted", format!("record {number}, as it says, does not belong here")),
        Fault::Truncated => ("truncated", format!("records from {number} on are missing before this line")),
        Fault::Checkpoint => ("checkpoint", "it is not of the records before it, or not signed by the key".to_owned()),
        Fault::Unlinked => ("unlinked", "the chain that begins here does not follow the one before".to_owned()),
    };
    format!("{name}:{line}: {kind}: {what}")
}

fn holds(files: &[PathBuf], found: &Found, signed: bool) -> String {
    let mut text = String::new();
    let (count, records, chains) = (files.len(), found.records, found.chains);
    let _ = writeln!(text, "whole: {records} records of {chains} chains in {count} files follow each other");
    if let Some(number) = found.begins {
        let _ = writeln!(text, "the first record here is number {number}: earlier ones are not in these files");
    }
    match &found.checkpoint {
        None => text.push_str("no checkpoint: records may have been cut off at the end, or all made anew\n"),
        Some((position, time)) => {
            let by = if signed { "signed by the key" } else { "its signature was not checked: give --key" };
            let time = criteria::at(*time);
            let _ = writeln!(text, "proved up to record {position}, by the checkpoint of {time}: {by}");
            let _ = writeln!(text, "records from that checkpoint on, which it does not prove: {}", found.unproved);
        }
    }
    if found.unfinished > 0 {
        let lines = found.unfinished;
        let _ = writeln!(text, "lines that are not finished: {lines}; a gate was killed while it wrote, or writes now");
    }
    if found.lost > 0 {
        let _ = writeln!(text, "records that the gate says it lost: {}", found.lost);
    }
    match (found.last, found.ended) {
        (Some(last), true) => _ = writeln!(text, "the last record, {last}, says that the gate ended"),
        (Some(last), false) => {
            let _ = writeln!(text, "the last record is {last}: the gate runs, was killed, or the end was cut off");
        }
        (None, _) => {}
    }
    text
}
