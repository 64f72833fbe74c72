//! Lines of an audit: whatever they are, the walk along them ends with as many records as there are lines at most,
//! and a record that is read twice is the same.

#![no_main]
#![allow(missing_docs)]

use filters::audit::{Checkpoint, NoteVerifier, Position, Walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut walk = Walk::new(&[]);
    lines.iter().filter_map(|line| Position::followed_by(line)).for_each(|position| walk.expect(position));
    let whole = lines.iter().enumerate().try_for_each(|(place, line)| {
        assert_eq!(Position::read(line), Position::read(line));
        walk.take(line, place + 1 < lines.len(), place)
    });
    if let (Ok(()), Ok(found)) = (whole, walk.finish()) {
        assert!(found.records <= lines.len() as u64 && found.unproved <= found.records);
    }
    if let Ok(text) = std::str::from_utf8(text) {
        if let Some(verifier) = NoteVerifier::parse(text) {
            assert_eq!(NoteVerifier::parse(&verifier.to_string()), Some(verifier));
        }
        let _ = Checkpoint::read(text);
    }
});
