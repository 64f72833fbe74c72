//! Paths and the patterns that grant them: what two patterns share, and what
//! one says of the other, must hold for each path.

#![no_main]
#![allow(missing_docs)]

use filters::path::{SecretPath, decode};
use filters::pattern::{AbsolutePattern, NamePattern, PathPattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (path, one, other) = input;
    if let Ok(decoded) = decode(path.as_bytes()) {
        let _ = SecretPath::parse(&decoded);
    }
    if let (Ok(one), Ok(other)) = (NamePattern::parse(one), NamePattern::parse(other)) {
        assert!(!one.contains(&other) || !other.covers(path) || one.covers(path), "contains less than it says");
    }
    if let (Ok(one), Ok(other)) = (AbsolutePattern::parse(one), AbsolutePattern::parse(other)) {
        let both = one.covers(path) && other.covers(path);
        if let Ok(met) = one.meet(&other) {
            assert_eq!(met.is_some_and(|met| met.covers(path)), both, "what they share is not what both cover");
        }
        assert!(!one.contains(&other) || !other.covers(path) || one.covers(path), "contains less than it says");
        assert!(one.spread(5).iter().any(|part| part.covers(path)) == one.covers(path), "is not what it is spread to");
    }
    let (Ok(path), Ok(one), Ok(other)) = (SecretPath::parse(path), PathPattern::parse(one), PathPattern::parse(other))
    else {
        return;
    };
    assert!(path.segments().all(|segment| !["", ".", ".."].contains(&segment)));
    let both = one.covers(&path) && other.covers(&path);
    assert_eq!(
        one.meet(&other).is_some_and(|shared| shared.covers(&path)),
        both,
        "what they share is not what both cover"
    );
    assert!(!one.contains(&other) || !other.covers(&path) || one.covers(&path), "contains less than it says");
});
