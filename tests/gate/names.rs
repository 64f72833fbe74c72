//! Names that Vault has: those that look odd are read, and those that the gate
//! takes in no path are told apart, by the right word.

use filters::path::escape;
use serde_json::{Value, json};
use tests::mcp::{STATELESS, ask, fits, settled};
use tests::{Client, World};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("names_that_are_taken_in_no_path_are_told_apart_and_refused_by_the_right_word", refused),
    ("names_that_look_odd_are_read", odd),
    ("a_list_that_is_sent_as_it_arrives_tells_them_at_its_end", streamed),
];

/// Names that no path may hold, and what is said of each.
const REFUSED: [(&str, &str); 13] = [
    ("test%2Fx", "a percent sign followed by two hexadecimal digits"),
    ("%2e%2e", "a percent sign followed by two hexadecimal digits"),
    ("❤\u{fe0f}", "an invisible character"),
    ("👩\u{200d}💻", "an invisible character"),
    ("abc\u{202e}def", "an invisible character"),
    ("ㅤ", "an invisible character"),
    ("a\u{a0}b", "a space other than the plain one"),
    ("a\u{e000}b", "a character for private use"),
    ("a\u{fffd}b", "a character for private use, or one that stands for none"),
    ("…", "nothing but what looks like dots"),
    ("a\\b", "a backslash"),
    ("and⁄or", "looks like it or like a slash"),
    (" edge", "begins or ends with a space"),
];

/// Names that look odd, and are harmless.
const ODD: [&str; 7] = ["a…b", "v1․2", "❤", "🔑 key", "100%", "naïve", "%zz"];

fn escaped(path: &str) -> String {
    path.split('/').map(|segment| escape(segment).collect::<String>()).collect::<Vec<_>>().join("/")
}

/// Writes it into Vault itself, in the namespace of `agent_mtls`; whether Vault takes such a name.
fn planted(world: &World, path: &str) -> bool {
    let path = format!("secret/data/mcp/agent_mtls/{}", escaped(path));
    let (status, answer) = world.ask("POST", &path, &json!({"data": {"v": 1}}));
    assert!(matches!(status, 200 | 400), "{status} {answer}");
    status == 200
}

/// The answer of `kv.list` about a folder: the same on each surface, and as its schemas say.
fn listed(client: &Client, folder: &str) -> Value {
    let rest = client.get(&format!("/secrets?prefix={folder}")).json();
    let called = client.call("kv.list", &json!({"prefix": folder})).json()["result"].clone();
    assert_eq!((&called["structuredContent"], &called["isError"]), (&rest, &json!(false)));
    let text = called["content"][0]["text"].as_str().expect("text");
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), rest);
    fits(&filters::catalog::find("kv.list").expect("kv.list").output_schema(), &rest, "kv.list");
    let document = client.get("/openapi.json").json();
    let schema = &document["paths"]["/secrets"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    fits(schema, &rest, "GET /secrets");
    assert!(schema["properties"]["unreadable"].is_object(), "{schema}");
    let uri = format!("kv://agent_mtls/{folder}/");
    let resource = ask(client, STATELESS, "resources/read", &json!({"uri": uri})).json();
    let text = resource["result"]["contents"][0]["text"].as_str().expect("text");
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), rest);
    rest
}

fn refused(shared: &Shared) {
    let (world, client) = (shared.world(), shared.gate().agent("agent_mtls"));
    assert!(planted(world, "refused/plain") && planted(world, "refused/test%2Fx/below"));
    let taken: Vec<_> = REFUSED.iter().filter(|(name, _)| planted(world, &format!("refused/{name}"))).collect();
    assert!(taken.len() >= 3, "what Vault takes: {taken:?}");
    let told = listed(&client, "refused");
    let (keys, unreadable) = (told["keys"].as_array().expect("keys"), told["unreadable"].as_array().expect("a list"));
    assert_eq!(keys.len(), unreadable.len() + 1, "{told}");
    assert!(keys.contains(&json!("plain")) && !unreadable.contains(&json!("plain")), "{told}");
    for (name, _) in &taken {
        assert!(keys.contains(&json!(name)) && unreadable.contains(&json!(name)), "{name}: {told}");
    }
    assert!(unreadable.contains(&json!("test%2Fx/")), "a folder too: {told}");
    for (name, word) in REFUSED {
        let path = format!("refused/{name}");
        let rest = client.get(&format!("/secrets/{}", escaped(&path)));
        let told = rest.json()["detail"].to_string();
        assert_eq!((rest.status, rest.code().as_str()), (400, "invalid_path"), "{name}");
        assert!(told.contains(word), "{name}: {told}");
        let tool = client.call("kv.read", &json!({"path": path})).json()["result"].clone();
        let told = tool["content"][0]["text"].as_str().expect("text");
        assert!(told.contains(word) && tool["structuredContent"]["error"] == "invalid_path", "{name}: {tool}");
    }
    // Resources are what can be read.
    settled(&client);
    let page = ask(&client, STATELESS, "resources/list", &json!({})).json();
    let uris: Vec<_> = page["result"]["resources"].as_array().expect("resources").iter().map(|r| &r["uri"]).collect();
    assert!(uris.contains(&&json!("kv://agent_mtls/refused/plain")) || page["result"]["nextCursor"].is_string());
    assert!(!json!(uris).to_string().contains("%252F"), "{uris:?}");
}

fn odd(shared: &Shared) {
    let (world, client) = (shared.world(), shared.gate().agent("agent_mtls"));
    for name in ODD {
        let path = format!("odd/{name}");
        assert!(planted(world, &path), "{name}");
        let rest = client.get(&format!("/secrets/{}", escaped(&path)));
        assert_eq!((rest.status, &rest.json()["data"]), (200, &json!({"v": 1})), "{name}");
        let tool = client.call("kv.read", &json!({"path": path})).json();
        assert_eq!(tool["result"]["structuredContent"]["data"], json!({"v": 1}), "{name}: {tool}");
        let uri = format!("kv://agent_mtls/{}", escaped(&path));
        let resource = ask(&client, STATELESS, "resources/read", &json!({"uri": uri}));
        assert_eq!(resource.status, 200, "{name}: {resource:?}");
    }
    let told = listed(&client, "odd");
    assert_eq!(told["keys"].as_array().map(Vec::len), Some(ODD.len()), "{told}");
    assert!(told.get("unreadable").is_none(), "{told}");
}

fn streamed(shared: &Shared) {
    let (world, client) = (shared.world(), shared.gate().agent("agent_mtls"));
    let names: Vec<String> = (0..400).map(|number| format!("{number:03}{}", "n".repeat(200))).collect();
    for name in &names {
        assert!(planted(world, &format!("large/{name}")));
    }
    assert!(planted(world, "large/000%2Fx") && planted(world, "large/zzz%2Fx"));
    let mut stream = client.connect().expect("a connection");
    let answer = client.exchange(&mut stream, "GET", "/secrets?prefix=large", &[], b"").expect("an answer");
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")));
    let told = answer.json();
    assert_eq!(told["unreadable"], json!(["000%2Fx", "zzz%2Fx"]));
    assert_eq!(told["keys"].as_array().map(Vec::len), Some(names.len() + 2));
}
