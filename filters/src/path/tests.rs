//! Which paths are plain, and what is wrong with the others.

use super::*;
use PathProblem as P;
use proptest::prelude::*;

fn from_uri(raw: &[u8]) -> Result<SecretPath, PathProblem> {
    SecretPath::parse(&decode(raw)?)
}

#[test]
fn plain_paths_pass_as_they_are() {
    for (raw, plain) in [
        ("configs/demo", "configs/demo"),
        ("a", "a"),
        ("a%20b/c", "a b/c"),
        ("caf%C3%A9", "café"),
        ("100%25", "100%"),
        ("x+y=z;v,w@h:1", "x+y=z;v,w@h:1"),
        ("...", "..."),
        ("a..b/.hidden", "a..b/.hidden"),
        ("%E6%97%A5%E6%9C%AC", "日本"),
        ("q%3Fv%3D1%23frag", "q?v=1#frag"),
        ("*/+", "*/+"),
        ("a%E2%80%A6b", "a…b"),
        ("%EF%BC%8Ea/v1%E2%80%A42", "．a/v1․2"),
        ("%E2%9D%A4/%F0%9F%94%91", "❤/🔑"),
    ] {
        assert_eq!(from_uri(raw.as_bytes()).unwrap().as_str(), plain, "{raw}");
    }
}

#[test]
fn hostile_spellings_are_refused_by_name() {
    let long_segment = "a".repeat(256);
    let long_path = "a/".repeat(600) + "a";
    let cases: &[(&[u8], PathProblem)] = &[
        (b"", P::Empty),
        (b"/", P::EmptySegment),
        (b"/a", P::EmptySegment),
        (b"a/", P::EmptySegment),
        (b"a//b", P::EmptySegment),
        (b"a%2f%2fb", P::EmptySegment),
        (b"%2fa", P::EmptySegment),
        (b".", P::Dots),
        (b"..", P::Dots),
        (b"a/.", P::Dots),
        (b"a/..", P::Dots),
        (b"./a", P::Dots),
        (b"../a", P::Dots),
        (b"a/../b", P::Dots),
        (b"a/./b", P::Dots),
        (b"../../other/secret", P::Dots),
        (b"%2e", P::Dots),
        (b"%2e%2e", P::Dots),
        (b"%2E%2E", P::Dots),
        (b".%2e", P::Dots),
        (b"%2e.", P::Dots),
        (b"a/%2e%2e/b", P::Dots),
        (b"a%2f..%2fb", P::Dots),
        (b"a%2F%2e%2e%2Fb", P::Dots),
        (b"..%2fother", P::Dots),
        (b"%252e%252e/b", P::DecodesTwice),
        (b"%252e", P::DecodesTwice),
        (b"a%252fb", P::DecodesTwice),
        (b"%25252e%25252e", P::DecodesTwice),
        (b"a%2500", P::DecodesTwice),
        (b"%25%32%65", P::DecodesTwice),
        (b"%2%35%32e", P::DecodesTwice),
        (b"a\\b", P::Separator),
        (b"..\\..\\b", P::Separator),
        (b"a%5cb", P::Separator),
        (b"%5c..", P::Separator),
        ("a\u{2215}b".as_bytes(), P::Separator),
        ("\u{ff0e}\u{ff0e}/b".as_bytes(), P::Dots),
        ("\u{2025}".as_bytes(), P::Dots),
        ("a\u{ff0f}b".as_bytes(), P::Separator),
        ("a\u{ff3c}b".as_bytes(), P::Separator),
        ("a\u{2044}b".as_bytes(), P::Separator),
        (b"a%00", P::Control),
        (b"%00", P::Control),
        (b"a\0b", P::Control),
        (b"a%0ab", P::Control),
        (b"a%0d%0aX-Vault-Token:%20x", P::Control),
        (b"a\tb", P::Control),
        (b"a%7f", P::Control),
        (b"a%1b[0m", P::Control),
        ("a\u{200b}b".as_bytes(), P::Invisible),
        ("a\u{202e}b".as_bytes(), P::Invisible),
        ("a\u{feff}".as_bytes(), P::Invisible),
        ("a\u{85}".as_bytes(), P::Control),
        ("a\u{a0}b".as_bytes(), P::OtherSpace),
        ("a\u{2028}b".as_bytes(), P::OtherSpace),
        ("a\u{e000}".as_bytes(), P::NoCharacter),
        ("a\u{fffd}".as_bytes(), P::NoCharacter),
        (".\u{2024}".as_bytes(), P::Dots),
        ("a/\u{2026}".as_bytes(), P::Dots),
        ("\u{fe52}\u{fe52}/a".as_bytes(), P::Dots),
        ("\u{fe30}".as_bytes(), P::Dots),
        ("a\u{fe68}b".as_bytes(), P::Separator),
        ("\u{2764}\u{fe0f}".as_bytes(), P::Invisible),
        ("\u{1f469}\u{200d}\u{1f4bb}".as_bytes(), P::Invisible),
        ("a\u{1bca0}".as_bytes(), P::Invisible),
        ("a\u{3000}b".as_bytes(), P::OtherSpace),
        ("\u{e0041}".as_bytes(), P::Invisible),
        (b"a%ff", P::NotUtf8),
        (b"%c0%ae%c0%ae", P::NotUtf8),
        (b"%e0%80%ae", P::NotUtf8),
        (b"%f0%80%80%ae", P::NotUtf8),
        (b"%c0%af", P::NotUtf8),
        (b"%ed%a0%80", P::NotUtf8),
        (b"\xff", P::NotUtf8),
        (b" a", P::Space),
        (b"a ", P::Space),
        (b".. /b", P::Space),
        (b"a/%20/b", P::Space),
        (long_segment.as_bytes(), P::LongSegment),
        (long_path.as_bytes(), P::LongPath),
    ];
    assert!(cases.len() >= 60);
    for (raw, problem) in cases {
        let shown = String::from_utf8_lossy(raw);
        assert_eq!(from_uri(raw).err(), Some(*problem), "{shown:?}");
    }
}

#[test]
fn a_prefix_may_be_empty_or_end_in_one_slash() {
    assert_eq!(SecretPath::parse_prefix("").unwrap(), None);
    assert_eq!(SecretPath::parse_prefix("/").unwrap(), None);
    assert_eq!(SecretPath::parse_prefix("a/b/").unwrap().unwrap().as_str(), "a/b");
    assert_eq!(SecretPath::parse_prefix("a//").err(), Some(P::EmptySegment));
    assert_eq!(SecretPath::parse_prefix("..").err(), Some(P::Dots));
}

#[test]
fn the_renderer_judges_every_part_whoever_supplied_it() {
    let path = VaultPath::render(&["team/kv", "data", "mcp", "bob", "a b?c#d/é"]).unwrap();
    assert_eq!(path.as_str(), "/v1/team/kv/data/mcp/bob/a%20b%3Fc%23d/%C3%A9");
    for part in ["..", "a/../b", "", "%2e%2e", "a\\b", "a\nb"] {
        assert!(VaultPath::render(&["secret", "data", part]).is_err(), "{part:?}");
    }
    assert_eq!(path.with_number("version", 3).with_number("x", 1).as_str().split_once('?').unwrap().1, "version=3&x=1");
}

proptest! {
    #[test]
    fn no_accepted_path_leaves_its_namespace_after_any_number_of_decodings(
        raw in prop::collection::vec(
            prop::sample::select(vec!["%", "2", "5", "e", "E", "f", "c", ".", "..", "/", "\\", "a", "%2e", "%2f", "%25", "\u{ff0e}", "\u{2024}", "\u{2026}", "x"]),
            0..24)
    ) {
        let raw = raw.concat();
        if let Ok(path) = from_uri(raw.as_bytes()) {
            let rendered = VaultPath::render(&["secret", "data", "mcp", "bob", path.as_str()]).unwrap();
            let mut text = rendered.as_str().to_owned();
            for _ in 0..8 {
                let mut stack = Vec::new();
                for segment in text.split(['/', '\\']) {
                    match segment { "." | "" => {} , ".." => { stack.pop(); }, s => stack.push(s) }
                }
                prop_assert!(stack.starts_with(&["v1", "secret", "data", "mcp", "bob"]), "{text}");
                prop_assert!(stack.len() > 5);
                text = percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned();
                // As compatibility normalization has them.
                text = text.replace(['\u{ff0e}', '\u{2024}'], ".").replace('\u{2026}', "...");
            }
        }
    }
}
