mod results;

use super::*;
use crate::path::PathProblem;
use crate::refusal::Refusal;
use serde_json::Value;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

fn headers<'a>(version: &'a str, method: &'a str, name: &'a str) -> Headers<'a> {
    let some = |text: &'a str| (!text.is_empty()).then_some(text);
    Headers { version: some(version), method: some(method), name: some(name), ..Headers::default() }
}

/// The outcome of one message in words: the request's, or the failure's code.
fn outcome(body: &str, headers: &Headers<'_>) -> (Revision, String) {
    let message = match read(body.as_bytes(), headers, 4) {
        Ok(Body::One(message)) => message,
        Ok(Body::Batch(messages)) => return (Revision::V2025_03_26, format!("batch of {}", messages.len())),
        Err(failure) => return (Revision::V2025_03_26, code(&failure)),
    };
    let (revision, understood) = understand::<Vault>(&message, headers);
    let text = match &understood {
        Ok(Understood::Call(Call { request: Request::CallTool { kind, arguments }, .. })) => {
            format!("{kind:?} {}", std::str::from_utf8(arguments).unwrap())
        }
        Ok(Understood::Call(call)) => format!("{:?} in {}", call.request, call.revision.name()),
        Ok(Understood::Notification) => "notification".into(),
        Ok(Understood::Cancelled(id)) => format!("{id} is cancelled"),
        Err(failure) => code(failure),
    };
    (revision, text)
}

fn code(failure: &Failure) -> String {
    let mut out = Vec::new();
    failure.write(None, Revision::V2026_07_28, &mut out);
    serde_json::from_slice::<Value>(&out).unwrap()["error"]["code"].to_string()
}

#[test]
fn the_revisions_with_a_handshake_are_understood() {
    for (version, body, expected) in [
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
            "Initialize in 2025-06-18",
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"1900-01-01"}}"#,
            "Initialize in 2025-11-25",
        ),
        ("", r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, "Initialize in 2025-11-25"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#, "Ping in 2025-06-18"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"shutdown"}"#, "Shutdown in 2025-06-18"),
        ("", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#, "ListTools in 2025-03-26"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"kv.read","arguments":{"path":"a"}}}"#,
            r#"kv.read {"path":"a"}"#,
        ),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"kv.list","_meta":{"progressToken":1}}}"#,
            "kv.list {}",
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"kv.nothing"}}"#, "-32602"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"kv.read","arguments":[]}}"#,
            "-32602",
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, "-32602"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#,
            "ListResources { cursor: None } in 2025-06-18",
        ),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/get","params":{"uri":"kv://a/b"}}"#,
            r#"ReadResource { uri: "kv://a/b" } in 2025-06-18"#,
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":1}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe"}"#, "-32602"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"kv://bob/a"}}"#,
            "Subscribe { uri: \"kv://bob/a\" } in 2025-06-18",
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#, "-32601"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"cursor":"x"}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"kv_read"}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, "-32601"),
        ("1900-01-01", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "-32022"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":null,"method":"initialize"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}"#, "-32600"),
        ("2024-11-05", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a","reason":"x"}}"#,
            "\"a\" is cancelled",
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#, "notification"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"requestId":1}}"#, "notification"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"notice"}}"#,
            "SetLevel(Notice) in 2025-06-18",
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"loud"}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel"}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete"}"#, "-32602"),
        ("2024-11-05", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, "ListTools in 2024-11-05"),
        ("2024-11-05", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "batch of 1"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#, "-32601"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":null}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":null,"id":1,"method":"ping"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, "Ping in 2025-06-18"),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null,"_meta":null}}"#,
            "ListTools in 2025-06-18",
        ),
        (
            "2025-06-18",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"kv.list","arguments":null,"_meta":null}}"#,
            "kv.list {}",
        ),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":null}}"#, "-32602"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":null}}"#, "-32602"),
        ("1900-01-01", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "-32022"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "-32600"),
        ("2025-06-18", r#"{"id":1,"method":"ping"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "-32600"),
        ("2025-06-18", r#"{"jsonrpc":"2.0","id":1,"#, "-32700"),
        ("2025-06-18", "", "-32700"),
        ("2025-06-18", "\u{0}", "-32700"),
        ("2025-06-18", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "-32600"),
        ("", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#, "batch of 2"),
        ("", "[]", "-32600"),
        (
            "",
            r#"[{"jsonrpc":"2.0"},{"jsonrpc":"2.0"},{"jsonrpc":"2.0"},{"jsonrpc":"2.0"},{"jsonrpc":"2.0"}]"#,
            "-32600",
        ),
    ] {
        assert_eq!(outcome(body, &headers(version, "", "")).1, expected, "{version} {body}");
    }
}

#[test]
fn a_stateless_request_must_say_the_same_in_header_and_body() {
    let request = |method: &str, rest: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{rest}{META}}}}}"#)
    };
    let call = request("tools/call", r#""name":"kv.list","arguments":{},"#);
    let read = request("resources/read", r#""uri":"kv://a/b","#);
    let prompt = request("prompts/get", r#""name":"kv_list","#);
    let old = META.replace("2026-07-28", "2025-06-18");
    for (version, method, name, body, expected) in [
        ("2026-07-28", "server/discover", "", request("server/discover", ""), "Discover in 2026-07-28"),
        ("2026-07-28", "tools/list", "", request("tools/list", ""), "ListTools in 2026-07-28"),
        ("2026-07-28", "tools/call", "kv.list", call.clone(), "kv.list {}"),
        ("2026-07-28", "tools/call", "=?base64?a3YubGlzdA==?=", call.clone(), "kv.list {}"),
        ("2026-07-28", "tools/call", "=?base64?!?=", call.clone(), "-32020"),
        ("2026-07-28", "tools/call", "kv.read", call.clone(), "-32020"),
        ("2026-07-28", "tools/call", "", call.clone(), "-32020"),
        ("2026-07-28", "tools/list", "kv.list", call.clone(), "-32020"),
        ("2026-07-28", "", "kv.list", call.clone(), "-32020"),
        ("", "tools/call", "kv.list", call.clone(), "-32020"),
        ("2025-06-18", "tools/call", "kv.list", call.clone(), "-32020"),
        ("2026-07-28", "resources/read", "kv://a/b", read.clone(), r#"ReadResource { uri: "kv://a/b" } in 2026-07-28"#),
        ("2026-07-28", "resources/read", "kv://a/c", read.clone(), "-32020"),
        ("2026-07-28", "resources/read", "", read.clone(), "-32020"),
        ("2026-07-28", "prompts/get", "kv_list", prompt.clone(), "-32602"),
        ("2026-07-28", "prompts/get", "kv_read", prompt.clone(), "-32020"),
        ("2026-07-28", "ping", "", request("ping", ""), "-32601"),
        ("2026-07-28", "logging/setLevel", "", request("logging/setLevel", r#""level":"info","#), "-32601"),
        ("2026-07-28", "initialize", "", request("initialize", ""), "-32601"),
        (
            "2026-07-28",
            "initialize",
            "",
            request("initialize", r#""protocolVersion":"2025-06-18","#),
            "Initialize in 2025-06-18",
        ),
        ("2026-07-28", "", "", r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#.into(), "-32600"),
        (
            "2026-07-28",
            "tools/list",
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}"#.into(),
            "-32602",
        ),
        (
            "2026-07-28",
            "tools/list",
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":null}}"#.into(),
            "-32602",
        ),
        ("2026-07-28", "tools/list", "", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.into(), "-32602"),
        (
            "2026-07-28",
            "tools/list",
            "",
            request("tools/list", "").replace(r#","io.modelcontextprotocol/clientCapabilities":{}"#, ""),
            "-32602",
        ),
        ("2025-06-18", "tools/list", "", request("tools/list", "").replace(META, &old), "ListTools in 2025-06-18"),
        ("2099-01-01", "tools/list", "", request("tools/list", "").replace("2026-07-28", "2099-01-01"), "-32022"),
    ] {
        assert_eq!(outcome(&body, &headers(version, method, name)).1, expected, "{version} {method} {name} {body}");
    }
}

#[test]
fn the_handshake_is_judged_by_its_body_alone() {
    let wanted = |version: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":{version}}}}}"#)
    };
    for header in ["", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "2099-01-01", "<script>"] {
        for (version, expected) in [
            (r#""2024-11-05""#, "Initialize in 2024-11-05"),
            (r#""2025-03-26""#, "Initialize in 2025-03-26"),
            (r#""2025-06-18""#, "Initialize in 2025-06-18"),
            (r#""2025-11-25""#, "Initialize in 2025-11-25"),
            (r#""2026-07-28""#, "Initialize in 2025-11-25"),
            (r#""1900-01-01""#, "Initialize in 2025-11-25"),
            (r#""""#, "Initialize in 2025-11-25"),
            ("null", "Initialize in 2025-11-25"),
            ("7", "-32602"),
        ] {
            assert_eq!(outcome(&wanted(version), &headers(header, "", "")).1, expected, "{header} {version}");
        }
        let other = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"protocolVersion":"2025-06-18"}}"#;
        let expected = if Revision::parse(header).is_some() || header.is_empty() { "" } else { "-32022" };
        let told = outcome(other, &headers(header, "ping", "")).1;
        assert!(expected.is_empty() == (told != "-32022"), "{header}: {told}");
    }
}

#[test]
fn an_error_without_an_id_is_as_the_revision_has_it() {
    for (revision, expected) in [
        (Revision::V2024_11_05, Some(&Value::Null)),
        (Revision::V2025_03_26, Some(&Value::Null)),
        (Revision::V2025_06_18, Some(&Value::Null)),
        (Revision::V2025_11_25, None),
        (Revision::V2026_07_28, None),
    ] {
        let mut out = Vec::new();
        Failure::Parse.write(None, revision, &mut out);
        let error: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(error.get("id"), expected, "{revision:?}");
    }
}

#[test]
fn a_failure_answers_with_the_status_its_revision_asks_for() {
    assert_eq!(Failure::UnknownMethod.status(Revision::V2026_07_28), 404);
    assert_eq!(Failure::UnknownMethod.status(Revision::V2025_06_18), 200);
    assert_eq!(Failure::HeaderMismatch("x").status(Revision::V2026_07_28), 400);
}

#[test]
fn a_revision_that_is_not_spoken_is_named_back_whatever_it_was() {
    let long = format!("{}é", "x".repeat(255));
    for (asked, told) in [
        ("1900-01-01", "1900-01-01"),
        ("", ""),
        ("2.0 \"x\"", "2.0 \"x\""),
        ("é\u{7}", "é\u{7}"),
        (&long, &long[..255]),
    ] {
        let failure = message::revision_of(Some(asked)).unwrap_err();
        let mut out = Vec::new();
        failure.write(None, Revision::V2026_07_28, &mut out);
        let error: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(error["error"]["data"]["requested"], told);
        assert_eq!(error["error"]["data"]["supported"][0], "2026-07-28");
        assert!(error.get("id").is_none());
    }
}

#[test]
fn a_resource_that_is_not_there_has_the_code_of_its_revision() {
    for (refusal, revision, expected, status) in [
        (Refusal::NotFound, Revision::V2025_03_26, "-32002", 200),
        (Refusal::NotFound, Revision::V2025_11_25, "-32002", 200),
        (Refusal::NotFound, Revision::V2026_07_28, "-32602", 400),
        (Refusal::Path(PathProblem::Dots), Revision::V2026_07_28, "-32602", 400),
        (Refusal::Malformed("x"), Revision::V2025_06_18, "-32602", 200),
        (Refusal::Forbidden, Revision::V2025_06_18, "-32000", 200),
        (Refusal::UpstreamUnavailable, Revision::V2025_06_18, "-32603", 200),
    ] {
        let id = serde_json::from_str("7").unwrap();
        let call = Call {
            id,
            revision,
            trace: None,
            progress: None,
            level: None,
            input: Input::default(),
            request: Request::ReadResource { uri: "kv://bob/a b".into() },
        };
        let failure = Failure::of(refusal.clone(), &call);
        assert_eq!((code(&failure).as_str(), failure.status(revision)), (expected, status), "{refusal:?}");
        let mut out = Vec::new();
        failure.write(None, revision, &mut out);
        let uri = serde_json::from_slice::<Value>(&out).unwrap()["error"]["data"]["uri"].take();
        let told = if refusal == Refusal::NotFound { Value::from("kv://bob/a b") } else { Value::Null };
        assert_eq!(uri, told, "{refusal:?}");
    }
}

#[test]
fn an_answer_carries_its_value_twice() {
    let body = br#"{"jsonrpc":"2.0","id":"a\"b","method":"tools/call","params":{"name":"kv.list"}}"#;
    let headers = headers("2025-06-18", "", "");
    let Ok(Body::One(message)) = read(body, &headers, 1) else { panic!() };
    let (_, Ok(Understood::Call(call))) = understand::<Vault>(&message, &headers) else { panic!() };
    let mut out = Vec::new();
    answer(&call, r#"{"keys":["a\"b","é"]}"#, &mut out);
    let reply: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(reply["id"], "a\"b");
    let text = reply["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), reply["result"]["structuredContent"]);
    assert_eq!(reply["result"]["isError"], false);
    let mut out = Vec::new();
    refused(&call, &crate::refusal::Refusal::Forbidden, "r-1", &mut out);
    let reply: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(reply["result"]["structuredContent"]["error"], "forbidden");
    assert_eq!(reply["result"]["isError"], true);
}
