//! Walks along audits that were tampered with, and along some that only look so.

use super::*;
use crate::audit::{Chain, NoteSigner, Occurrence};

fn signer() -> NoteSigner {
    NoteSigner::of_seed("test", &[1; 32]).unwrap()
}

/// A note of all records of a chain.
fn note_of(chain: &Chain) -> String {
    signer().sign(&Checkpoint { last: chain.last().unwrap() })
}

/// Adds a record to `lines`.
fn add(chain: &mut Chain, lines: &mut Vec<Vec<u8>>, what: &Occurrence<'_>) {
    let (mut body, mut line) = (Vec::new(), Vec::new());
    what.write(1_700_000_000_000 + lines.len() as u64, &mut body);
    chain.seal(&body, &mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    lines.push(line);
}

/// The lines of one chain: a start, records up to nine, and a checkpoint behind the fifth.
fn chain(id: u64, follows: Option<Position>) -> (Vec<Vec<u8>>, Chain) {
    let (mut chain, mut lines) = (Chain::begin(ChainId::new(id), follows), Vec::new());
    let configuration = Digest::of(b"x");
    add(&mut chain, &mut lines, &Occurrence::Started { version: "1", configuration });
    while lines.len() < 9 {
        if lines.len() == 5 {
            let note = note_of(&chain);
            add(&mut chain, &mut lines, &Occurrence::Checkpoint { note: &note });
        } else {
            let version = lines.len() as u64;
            add(&mut chain, &mut lines, &Occurrence::Reloaded { old: configuration, new: configuration, version });
        }
    }
    (lines, chain)
}

/// Does something to the lines; the other is a way to change one of them.
type Tamper = fn(&mut Vec<Vec<u8>>, fn(&[u8]) -> Vec<u8>);

fn walked(lines: &[Vec<u8>]) -> Result<Found, Broken<usize>> {
    walked_with(lines, &[signer().verifier().unwrap()], &[])
}

fn walked_with(lines: &[Vec<u8>], verifiers: &[NoteVerifier], files: &[usize]) -> Result<Found, Broken<usize>> {
    let mut walk = Walk::new(verifiers);
    lines.iter().filter_map(|line| Position::followed_by(line)).for_each(|position| walk.expect(position));
    for (place, line) in lines.iter().enumerate() {
        if files.contains(&place) {
            walk.begin_file();
        }
        walk.take(line, true, place)?;
    }
    walk.finish()
}

#[test]
fn an_audit_that_nobody_touched_holds() {
    let (mut lines, mut first) = chain(1, None);
    let found = walked(&lines).unwrap();
    assert_eq!((found.records, found.chains, found.begins, found.unproved), (9, 1, None, 4));
    assert_eq!(found.checkpoint.map(|(proved, _)| proved.number), Some(5));
    assert_eq!(found.last, first.last());
    add(&mut first, &mut lines, &Occurrence::Ended);
    let (more, _) = chain(2, first.last());
    assert!(walked(&lines).unwrap().ended);
    let joined = [lines.clone(), more].concat();
    let found = walked(&joined).unwrap();
    assert_eq!((found.records, found.chains), (19, 2));
    let found = walked(&joined[4..]).unwrap();
    assert_eq!((found.records, found.begins), (15, Some(5)), "earlier files are not here");
}

#[test]
fn each_kind_of_tampering_is_found_and_its_place_told() {
    let (lines, _) = chain(1, None);
    let change =
        |line: &[u8]| String::from_utf8(line.to_vec()).unwrap().replacen("\"time\":17", "\"time\":16", 1).into();
    let cases: [(&str, Tamper, (Fault, usize, u64)); 11] = [
        ("a record", |lines, change| lines[3] = change(&lines[3]), (Fault::Changed, 3, 4)),
        ("the last but one", |lines, change| lines[7] = change(&lines[7]), (Fault::Changed, 8, 9)),
        ("no JSON any more", |lines, _| lines[3].truncate(40), (Fault::Changed, 3, 4)),
        ("one removed", |lines, _| drop(lines.remove(3)), (Fault::Removed, 3, 4)),
        ("three removed", |lines, _| drop(lines.drain(2..5)), (Fault::Removed, 2, 3)),
        ("two swapped", |lines, _| lines.swap(3, 4), (Fault::Reordered, 3, 4)),
        ("one moved to the end", |lines, _| lines[3..].rotate_left(1), (Fault::Reordered, 3, 4)),
        ("a copy", |lines, _| lines.insert(6, lines[2].clone()), (Fault::Inserted, 6, 3)),
        ("a copy beside it", |lines, _| lines.insert(3, lines[2].clone()), (Fault::Inserted, 3, 3)),
        ("a forged one", |lines, change| lines.insert(3, change(&lines[3])), (Fault::Inserted, 3, 4)),
        ("no record", |lines, _| lines.insert(3, b"{}".to_vec()), (Fault::Inserted, 3, 4)),
    ];
    for (name, tamper, (fault, place, number)) in cases {
        let mut tampered = lines.clone();
        tamper(&mut tampered, change);
        assert_eq!(walked(&tampered).unwrap_err(), Broken { fault, place, number }, "{name}");
    }
}

#[test]
fn a_byte_that_is_changed_in_any_record_but_the_last_is_found() {
    let (lines, _) = chain(1, None);
    for place in 0..lines.len() - 1 {
        for byte in 0..lines[place].len() {
            let mut changed = lines.clone();
            changed[place][byte] ^= 1;
            assert!(walked_with(&changed, &[], &[]).is_err(), "{place} {byte}");
        }
    }
}

#[test]
fn a_cut_at_the_end_is_found_by_what_follows() {
    let (lines, first) = chain(1, None);
    let cut = [&lines[..4], &lines[6..]].concat();
    let found = walked_with(&cut, &[], &[0, 4]).unwrap_err();
    assert_eq!(found, Broken { fault: Fault::Truncated, place: 4, number: 5 }, "the end of a file");
    let (more, _) = chain(2, first.last());
    let cut = [&lines[..7], &more].concat();
    assert_eq!(walked(&cut).unwrap_err(), Broken { fault: Fault::Truncated, place: 7, number: 8 });
    let (foreign, _) = chain(2, None);
    let joined = [&lines[..], &foreign].concat();
    assert_eq!(walked(&joined).unwrap_err(), Broken { fault: Fault::Unlinked, place: 9, number: 1 });
    let mut changed = [&lines[..], &more].concat();
    changed[8] = String::from_utf8(changed[8].clone()).unwrap().replace("\"time\":17", "\"time\":16").into();
    assert_eq!(walked(&changed).unwrap_err(), Broken { fault: Fault::Changed, place: 8, number: 9 });
}

#[test]
fn a_gate_that_is_replaced_may_go_on_after_its_successor_has_begun() {
    let (lines, _) = chain(1, None);
    let seen = Position::read(&lines[5]).unwrap();
    let (more, _) = chain(2, Some(seen));
    assert_eq!(walked(&[lines.clone(), more.clone()].concat()).unwrap().records, 18);
    let mut changed = [lines, more].concat();
    changed[5] = String::from_utf8(changed[5].clone()).unwrap().replace("\"time\":17", "\"time\":16").into();
    let Broken { fault, place, .. } = walked_with(&changed, &[], &[]).unwrap_err();
    assert_eq!((fault, place), (Fault::Changed, 5));
}

#[test]
fn a_line_that_a_killed_gate_left_is_no_break() {
    let (lines, chain_of_first) = chain(1, None);
    let mut walk = Walk::new(&[]);
    lines.iter().enumerate().for_each(|(place, line)| walk.take(line, true, place).unwrap());
    walk.take(b"{\"metadata\":{\"ver", false, 9).unwrap();
    let found = walk.finish().unwrap();
    assert_eq!((found.records, found.unfinished, found.ended), (9, 1, false));
    let (more, _) = chain(2, chain_of_first.last());
    let joined = [lines, vec![b"{\"metadata\":{\"ver".to_vec()], more].concat();
    assert_eq!(walked(&joined).unwrap().unfinished, 1);
}

#[test]
fn a_chain_that_was_made_anew_is_not_what_was_signed() {
    let (lines, _) = chain(1, None);
    let note = Record::read(&lines[5]).unwrap().checkpoint.unwrap();
    let forger = NoteSigner::of_seed("test", &[2; 32]).unwrap();
    for forge in [false, true] {
        let (mut chain, mut forged) = (Chain::begin(ChainId::new(1), None), Vec::new());
        add(&mut chain, &mut forged, &Occurrence::Ended);
        let last = chain.last().unwrap();
        let note = if forge { forger.sign(&Checkpoint { last }) } else { note.clone() };
        add(&mut chain, &mut forged, &Occurrence::Checkpoint { note: &note });
        assert_eq!(walked(&forged).unwrap_err(), Broken { fault: Fault::Checkpoint, place: 1, number: 2 });
    }
}

#[test]
fn a_checkpoint_may_stand_behind_records_that_it_does_not_prove() {
    let (mut lines, mut chain) = chain(1, None);
    let late = note_of(&chain);
    for _ in 0..3 {
        add(&mut chain, &mut lines, &Occurrence::Ended);
    }
    add(&mut chain, &mut lines, &Occurrence::Checkpoint { note: &late });
    let found = walked(&lines).unwrap();
    assert_eq!(found.checkpoint.map(|(proved, _)| proved.number), Some(9));
    assert_eq!(found.unproved, 4, "three, and the checkpoint itself");
    assert_eq!(walked(&lines[9..]).unwrap().begins, Some(10), "the record that it proves is not here");
    let mut other = Chain::begin(ChainId::new(1), None);
    let mut made_anew = Vec::new();
    for _ in 0..12 {
        add(&mut other, &mut made_anew, &Occurrence::Ended);
    }
    add(&mut other, &mut made_anew, &Occurrence::Checkpoint { note: &late });
    let Broken { fault, place, .. } = walked(&made_anew).unwrap_err();
    assert_eq!((fault, place), (Fault::Checkpoint, 12), "the ninth record is another");
}

#[test]
fn each_of_several_keys_may_have_signed() {
    let (lines, _) = chain(1, None);
    let other = NoteSigner::of_seed("test", &[2; 32]).unwrap().verifier().unwrap();
    let both = [other.clone(), signer().verifier().unwrap()];
    assert!(walked_with(&lines, &both, &[]).is_ok());
    assert_eq!(walked_with(&lines, &[other], &[]).unwrap_err().fault, Fault::Checkpoint);
}
