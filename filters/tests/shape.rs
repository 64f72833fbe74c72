//! Answers picked out of bytes as they arrive, held against a parser.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use filters::catalog::CATALOG;
use filters::notes::{Fields, Note};
use filters::path::judge;
use filters::shape::{Member, Projection, Shape, Type, UNREADABLE, UNREADABLE_MORE};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

static MADE_UP: Shape = Shape {
    about: "Every kind of member, and a place within another's.",
    members: &[
        Member::given("path", Type::Text, "Given."),
        Member::new("object", &["data", "object"], Type::Object, "An object.").told("object"),
        Member::new("texts", &["data", "texts"], Type::Texts, "Strings.").or_absent(),
        Member::new("count", &["data", "deep", "count"], Type::Count, "A number.").or_absent().told("count"),
        Member::new("flag", &["data", "deep", "flag"], Type::Flag, "A flag.").or_absent().told("flag"),
        Member::new("list", &["list"], Type::List(&COUNT), "A list.").or_absent().told("list"),
        Member::new("text", &["text"], Type::Text, "A string.").or_absent().told("text"),
        Member::new("any", &["any"], Type::Any, "Anything.").or_absent().told("any"),
    ],
};

static ONE: Shape = Shape { about: "One.", members: &[Member::new("a", &["d", "a"], Type::List(&COUNT), "A list.")] };

static COUNT: Shape = Shape { about: "One.", members: &[Member::new("a", &["a"], Type::Count, "A number.")] };

static NAMES: Shape =
    Shape { about: "One.", members: &[Member::new("keys", &["data", "keys"], Type::Names, "Names.")] };

static MAYBE: Shape =
    Shape { about: "One.", members: &[Member::new("a", &["d", "a"], Type::Text, "A string.").or_absent()] };

static NOTHING: Shape = Shape { about: "Nothing.", members: &[] };

static PASSED: Shape =
    Shape { about: "All.", members: &[Member::new("data", &["data"], Type::Any, "Anything.").or_absent()] };

/// The output, and true where the answer was refused.
fn pushed<'c>(shape: &'static Shape, chunks: impl IntoIterator<Item = &'c [u8]>) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut machine = Projection::new(shape);
    for chunk in chunks {
        if machine.push(chunk, &mut out).is_err() {
            return (out, false);
        }
    }
    let done = machine.finish(&mut out).is_ok();
    (out, done)
}

/// The answer, or `None`; the same for one chunk as for one-byte chunks.
fn project(shape: &'static Shape, body: impl AsRef<[u8]>) -> Option<String> {
    let body = body.as_ref();
    let whole = pushed(shape, [body]);
    let bytes = pushed(shape, body.chunks(1));
    let told = String::from_utf8_lossy(body);
    assert_eq!(whole.1, bytes.1, "{told}");
    let (out, done) = whole;
    if done {
        assert_eq!(out, bytes.0, "{told}");
    } else {
        // What went out before the refusal depends on the chunks.
        for out in [&out, &bytes.0] {
            assert!(serde_json::from_slice::<Value>(out).is_err(), "refused, and yet whole: {told}");
        }
    }
    done.then(|| String::from_utf8(out).unwrap())
}

/// The parts that would be picked of a parsed answer.
fn picked(shape: &Shape, body: &Value) -> Option<Value> {
    let mut answer = Map::new();
    for member in shape.members.iter().filter(|member| !member.from.is_empty()) {
        let value = member.from.iter().try_fold(body, |value, name| value.get(name));
        let fits = |value: &Value| match member.holds {
            Type::Text => value.is_string(),
            Type::Count => value.is_u64(),
            Type::Flag => value.is_boolean(),
            Type::Number => value.is_number(),
            Type::Object | Type::Labels | Type::Map(_) | Type::Record(_) => value.is_object(),
            Type::List(_) => value.is_array(),
            Type::Texts | Type::Names => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            Type::Any => true,
        };
        match value {
            None if member.optional => {}
            Some(Value::Null) if member.optional && !matches!(member.holds, Type::Any) => {}
            Some(value) if fits(value) => {
                answer.insert(member.name.into(), value.clone());
                let unreadable = if matches!(member.holds, Type::Names) { unreadable(value) } else { Vec::new() };
                if !unreadable.is_empty() {
                    answer.insert(UNREADABLE.into(), unreadable.into());
                }
            }
            _ => return None,
        }
    }
    Some(answer.into())
}

/// The notes of the members that records tell of, of a parsed answer, in order of their texts.
fn told(shape: &Shape, body: &Value) -> Vec<String> {
    let note = |member: &Member| {
        let (name, value) = (member.told?, member.from.iter().try_fold(body, |value, name| value.get(name))?);
        let note = match member.holds {
            Type::Text => Note::text(value.as_str()?),
            Type::Count => Note::Number(value.as_u64()?),
            Type::Flag => Note::Flag(value.as_bool()?),
            Type::Object | Type::Labels | Type::Map(_) | Type::Record(_) => {
                let names = value.as_object()?.keys().map(|name| name.as_str().into()).collect();
                Note::Fields(Fields { names, more: 0 })
            }
            Type::List(_) | Type::Texts | Type::Names => Note::Number(value.as_array()?.len() as u64),
            Type::Number | Type::Any => return None,
        };
        Some(format!("{name} {note:?}"))
    };
    let mut notes: Vec<_> = shape.members.iter().filter(|member| !member.from.is_empty()).filter_map(note).collect();
    notes.sort_unstable();
    notes
}

/// The names that no path may hold.
fn unreadable(names: &Value) -> Vec<Value> {
    let plain = |name: &str| judge(name.strip_suffix('/').unwrap_or(name)).is_ok();
    names.as_array().unwrap().iter().filter(|name| !plain(name.as_str().unwrap())).cloned().collect()
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u32>().prop_map(|number| json!(f64::from(number) / 8.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(".{0,6}", inner, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn of_kind(kind: Type) -> BoxedStrategy<Value> {
    match kind {
        Type::Any => anything().boxed(),
        Type::Text => ".{0,12}".prop_map(Value::from).boxed(),
        Type::Count => any::<u64>().prop_map(Value::from).boxed(),
        Type::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Type::Number => any::<u32>().prop_map(|number| json!(f64::from(number) / 8.0)).boxed(),
        Type::Object | Type::Labels | Type::Map(_) | Type::Record(_) => btree_map(".{0,6}", anything(), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
            .boxed(),
        Type::List(_) => vec(anything(), 0..4).prop_map(Value::from).boxed(),
        Type::Texts => vec(".{0,6}", 0..4).prop_map(Value::from).boxed(),
        Type::Names => vec("[a.%2e\u{2026}\u{fe0f}\"\\\\/]{0,4}", 0..4).prop_map(Value::from).boxed(),
    }
}

fn put(body: &mut Value, place: &[&str], value: Value) {
    let Some((name, rest)) = place.split_first() else {
        *body = value;
        return;
    };
    if !body.is_object() {
        *body = json!({});
    }
    put(&mut body[*name], rest, value);
}

/// A shape, and an answer that mostly fits it.
fn answers() -> impl Strategy<Value = (&'static Shape, Value)> {
    let shapes: Vec<_> =
        CATALOG.iter().map(|entry| entry.shape).chain([&MADE_UP, &ONE, &COUNT, &MAYBE, &NAMES]).collect();
    proptest::sample::select(shapes).prop_flat_map(|shape| {
        let values: Vec<_> = shape
            .members
            .iter()
            .map(|member| prop_oneof![12 => of_kind(member.holds).prop_map(Some), 1 => anything().prop_map(Some), 1 => Just(None)])
            .collect();
        (btree_map(".{0,6}", anything(), 0..3), values).prop_map(move |(other, values)| {
            let mut body = Value::Object(other.into_iter().collect());
            for (member, value) in shape.members.iter().zip(values) {
                if let (Some(value), false) = (value, member.from.is_empty()) {
                    put(&mut body, member.from, value);
                }
            }
            (shape, body)
        })
    })
}

fn chunked<'b>(body: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect()
}

proptest! {
    #[test]
    fn picks_what_a_parser_would((shape, body) in answers(), pretty: bool, cuts in vec(any::<usize>(), 0..6)) {
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        let answer = project(shape, &text);
        let read = answer.as_ref().map(|answer| serde_json::from_str::<Value>(answer).unwrap());
        prop_assert_eq!(read, picked(shape, &body));
        let (out, done) = pushed(shape, chunked(&text, &cuts));
        prop_assert_eq!(done.then(|| String::from_utf8(out).unwrap()), answer);
    }

    #[test]
    fn notes_what_a_parser_would((shape, body) in answers(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        // Whatever is picked, and where the told members lie in it.
        for picking in [&NOTHING, &PASSED, shape] {
            let (mut machine, mut out) = (Projection::new(picking).telling(shape), Vec::new());
            if machine.push(&text, &mut out).is_ok() && let Ok(notes) = machine.finish(&mut out) {
                let mut notes: Vec<_> = notes.iter().map(|(name, note)| format!("{name} {note:?}")).collect();
                notes.sort_unstable();
                prop_assert_eq!(notes, told(shape, &body));
            } else {
                prop_assert!(std::ptr::eq(picking, shape), "passed as it is");
            }
        }
    }

    #[test]
    fn what_breaks_off_is_never_whole((shape, body) in answers()) {
        let text = serde_json::to_vec(&body).unwrap();
        for end in 0..text.len() {
            prop_assert_eq!(project(shape, &text[..end]), None);
        }
    }

    #[test]
    fn a_changed_byte_is_judged_as_a_parser_does((shape, body) in answers(), at: usize, byte: u8) {
        let mut text = serde_json::to_vec(&body).unwrap();
        let at = at % text.len();
        text[at] = byte;
        // Its grammar: a number beyond a double is one.
        if serde_json::from_slice::<&RawValue>(&text).is_err() {
            prop_assert_eq!(project(shape, &text), None);
        } else if let Some(answer) = project(shape, &text) {
            prop_assert!(serde_json::from_str::<&RawValue>(&answer).is_ok());
        }
    }
}

#[test]
fn every_place_of_the_catalog_can_be_found() {
    for entry in CATALOG.iter() {
        assert!(entry.shape.members.len() <= 32);
        for member in entry.shape.members {
            assert!(member.from.len() <= 4 && member.from.iter().all(|name| name.len() <= 32), "{}", member.name);
        }
    }
}

#[test]
fn members_given_come_first() {
    let mut out = Vec::new();
    let mut machine = Projection::new(&MADE_UP);
    machine.give("path", &json!("a\"b"), &mut out);
    machine.push(br#"{"data":{"object":{}}}"#, &mut out).unwrap();
    machine.finish(&mut out).unwrap();
    assert_eq!(out, br#"{"path":"a\"b","object":{}}"#);
}

#[test]
fn numbers_and_words() {
    let good = ["0", "-0", "1e5", "1E+5", "-1.25e-07", "10", "true", "null", r#""""#, " \t\r\n1 "];
    for value in good {
        let copied = project(&ONE, format!(r#"{{"d":{{"a":[{value}]}}}}"#));
        assert_eq!(copied, Some(format!(r#"{{"a":[{value}]}}"#)));
        assert!(project(&ONE, format!(r#"{{"x":{value},"d":{{"a":[]}}}}"#)).is_some(), "{value}");
    }
    let bad = [
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "1e+",
        "--1",
        "1.e5",
        "0x1",
        "tru",
        "truth",
        "nul",
        "NaN",
        "'a'",
        "1 2",
        "1,",
        ",",
        "]",
        "}",
        r#""\x""#,
        r#""\u12g4""#,
        "\"\t\"",
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\n""#,
        r#""\ud800\ud800""#,
        r#""\ud800x""#,
        "\u{feff}1",
    ];
    for value in bad {
        assert_eq!(project(&ONE, format!(r#"{{"d":{{"a":[{value}]}}}}"#)), None, "{value}");
        assert_eq!(project(&ONE, format!(r#"{{"x":[{value}],"d":{{"a":[]}}}}"#)), None, "{value}");
    }
    assert!(project(&ONE, r#"{"d":{"a":["\ud83d\ude00"]}}"#).is_some());
}

#[test]
fn a_count_is_a_whole_number() {
    for value in ["0", "7", "18446744073709551615"] {
        assert_eq!(project(&COUNT, format!("{{\"a\":{value}}}")), Some(format!("{{\"a\":{value}}}")));
    }
    for value in ["-0", "-1", "1e5", "1.0", "\"1\"", "null", "[1]", "true"] {
        assert_eq!(project(&COUNT, format!("{{\"a\":{value}}}")), None, "{value}");
    }
}

#[test]
fn strings_are_utf8() {
    for bad in [&b"\xff"[..], b"\xc3", b"\xe2\x82", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3\\n"] {
        for around in [[&br#"{"d":{"a":[""#[..], br#""]}}"#], [br#"{"x":""#, br#"","d":{"a":[]}}"#]] {
            assert_eq!(project(&ONE, around.join(bad)), None, "{bad:x?}");
        }
    }
    let good = r#"{"d":{"a":["é€😀 é\n"]}}"#;
    assert!(project(&ONE, good).is_some());
}

#[test]
fn nothing_follows_and_nothing_stands_twice() {
    let whole = r#"{"d":{"a":[1]}}"#;
    assert!(project(&ONE, format!("{whole} \n")).is_some());
    for junk in ["x", "{}", "]", ",", "\0", "null"] {
        assert_eq!(project(&ONE, format!("{whole}{junk}")), None, "{junk}");
    }
    let twice = [
        r#"{"d":{"a":[1],"a":[2]}}"#,
        r#"{"d":{"a":[1]},"d":{}}"#,
        r#"{"d":{},"d":{"a":[1]}}"#,
        r#"{"d":1,"d":{"a":[]}}"#,
    ];
    for body in twice {
        assert_eq!(project(&ONE, body), None, "{body}");
    }
    for body in [r#"{"d":{"a":null,"a":"x"}}"#, r#"{"d":{"a":"x","a":null}}"#, r#"{"d":null,"d":{"a":"x"}}"#] {
        assert_eq!(project(&MAYBE, body), None, "{body}");
    }
    assert!(project(&ONE, r#"{"d":{"a":[{"a":1},{"a":2}],"x":{"a":1}},"a":[]}"#).is_some(), "names elsewhere");
}

#[test]
fn only_so_deep_and_only_an_object() {
    let nested = |depth: usize| format!(r#"{{"d":{{"a":{}{}}}}}"#, "[".repeat(depth - 2), "]".repeat(depth - 2));
    assert!(project(&ONE, nested(128)).is_some());
    assert_eq!(project(&ONE, nested(129)), None);
    for body in ["", " ", "[]", "1", "\"d\"", "null", r#"{"d":{"a":[}}"#, r#"{"d":{"a":[]]}"#, r#"{"d",1}"#, "{1:2}"] {
        assert_eq!(project(&ONE, body), None, "{body}");
    }
}

#[test]
fn names_that_no_path_may_hold_are_told_again() {
    for (keys, unreadable) in [
        (r#"["a","b/","a b","a…b","❤","100%"]"#, ""),
        (r#"["a","test%2Fx","b"]"#, r#"["test%2Fx"]"#),
        (r#"["❤️","x/","..","../","…/"]"#, r#"["❤️","..","../","…/"]"#),
        (r#"["a\\b","a\u0000b","\u002e\u002e","/",""," "]"#, r#"["a\\b","a\u0000b","\u002e\u002e","/",""," "]"#),
    ] {
        let told = if unreadable.is_empty() { String::new() } else { format!(",\"{UNREADABLE}\":{unreadable}") };
        let answer = project(&NAMES, format!(r#"{{"data":{{"keys":{keys}}}}}"#));
        assert_eq!(answer, Some(format!(r#"{{"keys":{keys}{told}}}"#)));
    }
    // Names elsewhere are nobody's concern.
    assert_eq!(project(&ONE, r#"{"d":{"a":["%2e"]}}"#), Some(r#"{"a":["%2e"]}"#.into()));
    assert_eq!(project(&NAMES, r#"{"x":["%2e"],"data":{"keys":[]}}"#), Some(r#"{"keys":[]}"#.into()));
}

#[test]
fn of_very_many_names_that_no_path_may_hold_the_number_is_told() {
    let name = |number: usize| format!("%41{}", "x".repeat(number % 300));
    let mut keys: Vec<String> = (0..2_000).map(name).collect();
    keys.push("y".repeat(200_000));
    let body = json!({"data": {"keys": keys}}).to_string();
    let answer: Value = serde_json::from_str(&project(&NAMES, &body).unwrap()).unwrap();
    let told = answer[UNREADABLE].as_array().unwrap();
    assert_eq!(answer["keys"].as_array().unwrap(), &keys.iter().map(|key| json!(key)).collect::<Vec<_>>());
    assert!(told.iter().zip(&keys).all(|(told, key)| told == key) && told.len() > 100, "{}", told.len());
    assert!(json!(told).to_string().len() <= 64 << 10);
    assert_eq!(answer[UNREADABLE_MORE], keys.len() - told.len());
}
