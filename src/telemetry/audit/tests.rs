//! The sink against files that can and cannot be written.

use std::fs;
use std::path::Path;

use filters::audit::{Naming, NoteSigner, Walk};
use filters::decide::Concern;
use prometheus::IntCounter;

use super::*;

fn counters() -> AuditCounters {
    let counter = |name: &str| IntCounter::new(name, "x").unwrap();
    AuditCounters { written: counter("written"), lost: counter("lost"), unsent: counter("unsent") }
}

fn begin(path: &Path, required: bool, sync_each: bool) -> Audit {
    let signer = NoteSigner::of_seed("test", &[1; 32]).map(CheckpointSigner::Here);
    let file = AuditFileTerms { path: path.to_owned(), size: u64::MAX, every: None, keep: 1 };
    let terms = AuditTerms {
        file: Some(file),
        outlets: Vec::new(),
        required,
        sync_each,
        names: Naming::Clear.into(),
        signer,
        checkpoint_every: Duration::from_secs(60),
        chain: ChainId::new(fs::metadata(path).map_or(1, |found| found.len() + 2)),
        configuration: Digest::of(b"x"),
    };
    Audit::begin(terms, counters()).unwrap()
}

fn record(concern: &Concern) -> Record<'_> {
    Record { agent: "bob", operation: "kv.read", decision: "allow", concern: Some(concern), ..Record::default() }
}

async fn admitted(audit: &Audit) -> Result<(), Refusal> {
    match audit.admit(&record(&Concern::default()))? {
        Some(kept) => kept.await,
        None => Ok(()),
    }
}

fn found(path: &Path) -> filters::audit::Found {
    let verifiers = [NoteSigner::of_seed("test", &[1; 32]).unwrap().verifier().unwrap()];
    let mut walk = Walk::new(&verifiers);
    for (place, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        walk.take(line.as_bytes(), true, place).unwrap();
    }
    walk.finish().unwrap()
}

#[tokio::test]
async fn a_required_record_is_in_the_file_before_the_operation_goes_on() {
    for sync_each in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let audit = begin(&path, true, sync_each);
        for count in 1..=3 {
            admitted(&audit).await.unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap().matches("\"stage\":\"permitted\"").count(), count);
        }
        audit.finish(&record(&Concern::default()));
        audit.close();
        let found = found(&path);
        // A start, three that begin, one that ends, the end, a checkpoint.
        assert_eq!((found.records, found.unproved, found.chains), (7, 1, 1));
        let again = begin(&path, false, sync_each);
        again.close();
        let found = self::found(&path);
        assert_eq!((found.records, found.chains), (10, 2), "the next gate follows");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_where_it_is_required_and_counted_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let audit = begin(&full, true, false);
    assert_eq!(admitted(&audit).await, Err(Refusal::AuditUnavailable));
    assert!(audit.problem().is_some());
    audit.close();
    assert!(audit.shared.counters.lost.get() > 0);
    let audit = begin(&full, false, false);
    assert_eq!(admitted(&audit).await, Ok(()));
    let counted = || audit.shared.counters.lost.get();
    while counted() == 0 {
        (0..1000).for_each(|_| audit.finish(&record(&Concern::default())));
    }
    assert_eq!(audit.problem(), None, "nothing depends on it");
    audit.close();
}
