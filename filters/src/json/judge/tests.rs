use proptest::prelude::*;

use super::*;
use crate::json;

fn told(text: &str, bounds: &Bounds) -> Option<(JsonProblem, usize)> {
    judge(text.as_bytes(), bounds).err().map(|fault| {
        assert_eq!(fault.member, Some(&b"data"[..]), "{text}");
        (fault.problem, fault.offset)
    })
}

#[test]
fn what_vault_would_choke_on_is_told_with_its_place() {
    let small = Bounds { depth: 4, members: 3, text: 8, tokens: 26 };
    for (value, problem) in [
        (r#"{"a":1,"a":2}"#, Some((JsonProblem::Twice, 7))),
        (r#"{"a":{"b":1,"\u0062":2}}"#, Some((JsonProblem::Twice, 12))),
        (r#"[{"b":{},"a":{"b":0},"b":1}]"#, Some((JsonProblem::Twice, 21))),
        (r#"{"\ud83d\ude00":1,"\ud83d\ude01":2}"#, Some((JsonProblem::Text, 1))),
        (r#"{"a":"\ud83d"}"#, Some((JsonProblem::Half, 6))),
        (r#"{"\ude00":1}"#, Some((JsonProblem::Half, 2))),
        (r#"{"a":"\ud83d\u0041"}"#, Some((JsonProblem::Half, 6))),
        ("{\"a\":[0, -1e309]}", Some((JsonProblem::Number, 9))),
        ("[[[]]]", None),
        ("[[[[]]]]", Some((JsonProblem::Depth, 3))),
        ("[1,true,\"x\"]", None),
        ("[1,true,\"x\",[]]", Some((JsonProblem::Members, 12))),
        (r#"{"a":1,"b":2,"c":3,"d":4}"#, Some((JsonProblem::Members, 19))),
        (r#"{"a":"12345678"}"#, None),
        (r#"{"a":"123456789"}"#, Some((JsonProblem::Text, 5))),
        ("{\"a\":123456789}", Some((JsonProblem::Text, 5))),
        ("[[1,1,1],[1,1,1],[1,1,1]]", Some((JsonProblem::Tokens, 23))),
        (r#"{"a":{"x":1},"b":{"x":1}}"#, None),
        (r#"{"a":1,"b":"a"}"#, None),
        (r#"{"a":"\ud83d"#, Some((JsonProblem::Half, 6))),
    ] {
        assert_eq!(told(&format!("{{\"data\": {value}}}"), &small), problem, "{value}");
    }
    let wide = Bounds::default();
    let emoji = r#"{"data":{"\ud83d\ude00":1,"\ud83d\ude01":2}}"#;
    assert_eq!(told(emoji, &wide), Some((JsonProblem::Twice, 18)), "Vault takes the one for the other");
    let digits = format!("{{\"data\":{{\"a\":{}}}}}", "9".repeat(500));
    assert_eq!(told(&digits, &wide), Some((JsonProblem::Number, 5)));
    let deep = |levels: usize| format!("{{\"data\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert_eq!((told(&deep(100), &wide), told(&deep(101), &wide)), (None, Some((JsonProblem::Depth, 99))));
    let long = |items: usize| format!("{{\"data\":[{}]}}", vec!["1"; items].join(","));
    assert_eq!((told(&long(10_000), &wide), told(&long(10_001), &wide)), (None, Some((JsonProblem::Members, 20_001))));
}

#[test]
fn what_is_said_holds_nothing_of_the_callers() {
    let text = br#"{"data":{"CANARY":1,"CANARY":"CANARY"}}"#;
    let said = judge(text, &Bounds::default()).unwrap_err().expected(&Bounds::default());
    assert!(!said.contains("CANARY") && said.contains("byte 12"), "{said}");
}

/// JSON in which names are few, and some values are none that Vault takes.
fn text() -> impl Strategy<Value = String> {
    let scalars = [
        "0",
        "-1.5e3",
        "1e309",
        "-1e999",
        "1e-999",
        "true",
        "null",
        "\"\"",
        "\"a\\\"b\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\ud83d\\ude00\"",
        "\"\\\\ud83d\"",
        "\"caf\u{e9} \u{1f600}\"",
        "[ ]",
        "{ }",
    ];
    let names = ["\"a\"", "\"b\"", "\"\\u0061\"", "\"\\n\"", "\"\\u000a\"", "\"\\\\u0061\"", "\"\"", "\"a \""];
    let name = prop::sample::select(names.to_vec());
    let scalar = prop::sample::select(scalars.to_vec()).prop_map(str::to_owned);
    scalar.prop_recursive(4, 24, 4, move |inner| {
        let lists = prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , ")));
        let member = (name.clone(), inner).prop_map(|(name, value)| format!("{name}:{value}"));
        let objects = prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(",\n")));
        prop_oneof![lists, objects]
    })
}

proptest! {
    #[test]
    fn what_is_plain_is_so_byte_by_byte(text in prop::collection::vec(
        prop_oneof![0x1e..0x25_u8, 0x5b..0x5e_u8, 0x7e..0x81_u8, any::<u8>()], 0..40)) {
        let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        prop_assert_eq!(plain(&text), text.iter().position(ends).unwrap_or(text.len()));
    }

    #[test]
    fn it_refuses_what_a_strict_reader_refuses(text in text()) {
        let text = format!("{{\"data\":{text}}}");
        let taken = judge(text.as_bytes(), &Bounds::default()).is_ok();
        prop_assert_eq!(taken, json::value(text.as_bytes()).is_some(), "{}", text);
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(
        prop::sample::select(b"{}[]\",:\\u0dD8e-1 tn\xff\x01".to_vec()), 0..64)) {
        let small = Bounds { depth: 3, members: 3, text: 4, tokens: 40 };
        let _ = judge(&bytes, &small);
    }
}
