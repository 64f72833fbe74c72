//! Roles that hold from some networks, at some hours, and for requests of some
//! size.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tests::{Gate, Plan, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_role_holds_from_its_sources_and_at_its_hours_only", places_and_hours),
    ("where_one_role_does_not_hold_another_may", another),
    ("a_body_is_as_large_as_the_role_allows", bodies),
    ("the_verbs_tell_conditions", verbs),
    ("who_is_behind_a_trusted_proxy_is_the_client", behind_a_proxy),
];

/// Hours that begin and end so many hours from now.
fn hours(from: u64, to: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() / 3600;
    let clock = |hours: u64| format!("\"{:02}:00\"", (now + hours) % 24);
    format!("{{ from = {}, to = {}, zone = \"UTC\" }}", clock(from), clock(to))
}

/// A gate with one agent, `agent_api`, who has an API key, and these roles.
fn gate(shared: &Shared, roles: &str, names: &str) -> Gate {
    let agent = format!("[agents.agent_api]\nroles = {names}\napi_keys = [{{ sha256 = \"KEY\" }}]\n");
    Gate::start(shared.world(), &Plan { sections: format!("{roles}{agent}"), ..Plan::default() })
}

fn role(name: &str, scope: &str, more: &str) -> String {
    format!("[roles.{name}]\nscopes = [\"{scope}\"]\nkv = [\"**\"]\n{more}\n")
}

fn places_and_hours(shared: &Shared) {
    // Twelve hours from the one that began last, or the twelve others: an hour
    // that begins meanwhile changes nothing.
    let (day, night) = (hours(23, 11), hours(11, 23));
    for (more, status) in [
        ("sources = [\"127.0.0.0/8\", \"10.0.0.0/8\"]".to_owned(), 404),
        ("sources = [\"10.0.0.0/8\", \"::/0\"]".to_owned(), 403),
        (format!("hours = {day}"), 404),
        (format!("hours = {night}"), 403),
        (format!("hours = {day}\nsources = [\"127.0.0.1\"]"), 404),
        (format!("hours = {night}\nsources = [\"127.0.0.1\"]"), 403),
        (format!("hours = {day}\nsources = [\"127.0.0.2\"]"), 403),
    ] {
        let gate = gate(shared, &role("r", "read", &more), "[\"r\"]");
        let answer = gate.keyed().get("/secrets/conditions/none");
        assert_eq!(answer.status, status, "{more}");
        let expected = if status == 403 { "forbidden" } else { "not_found" };
        assert_eq!(answer.code(), expected, "{more}");
        assert!(!answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("www-authenticate")), "{more}");
        let tool = gate.keyed().call("kv.read", &json!({"path": "conditions/none"})).json();
        assert_eq!(tool["result"]["structuredContent"]["error"], expected, "{more}: {tool}");
    }
}

fn another(shared: &Shared) {
    let elsewhere = role("elsewhere", "read", "sources = [\"192.0.2.0/24\"]\ndeny = [\"conditions/shut\"]");
    let gate = gate(shared, &(elsewhere + &role("anywhere", "read", "")), "[\"elsewhere\", \"anywhere\"]");
    let client = gate.keyed();
    assert_eq!(client.get("/secrets/conditions/none").status, 404, "by the other role");
    wait_for("the role that allowed is told", 20, || gate.log().contains("\"role\":\"anywhere\""));
    assert_eq!(client.get("/secrets/conditions/shut").status, 403, "what is denied is denied from everywhere");
}

fn bodies(shared: &Shared) {
    let roles = role("small", "write", "body = \"1KiB\"") + &role("reader", "read", "");
    let gate = gate(shared, &roles, "[\"small\", \"reader\"]");
    let client = gate.keyed();
    let data = |size: usize| json!({"data": {"v": "x".repeat(size)}});
    let rest = data(0).to_string().len();
    assert_eq!(client.put("/secrets/conditions/body", &data(1024 - rest)).status, 200);
    let refused = client.put("/secrets/conditions/body", &data(1025 - rest));
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
    let call = |size: usize| {
        let arguments = json!({"path": "conditions/body", "data": {"v": "x".repeat(size)}});
        client.call("kv.write", &arguments).json()["result"]["structuredContent"]["error"].clone()
    };
    assert_eq!((call(900), call(1024)), (json!(null), json!("body_too_large")));
    let kept = client.get("/secrets/conditions/body").json();
    assert_eq!(kept["data"]["v"].as_str().map(str::len), Some(900), "{kept}");
}

fn verbs(_: &Shared) {
    let text = role(
        "office",
        "read",
        "sources = [\"10.0.0.0/8\"]\nbody = \"4KiB\"\n\
         hours = { from = \"08:00\", to = \"18:00\", days = [\"mon\", \"tue\"], zone = \"Europe/Berlin\" }",
    );
    let text = format!("{text}[agents.ci]\nroles = [\"office\"]\n");
    let folder = folder_with("config.toml", &text);
    let ask = |more: &[&str]| {
        let line = ["explain", "--agent", "ci", "--operation", "kv.read", "--resource", "x"];
        said(&run(folder.path(), &[&line, more].concat(), &[]))
    };
    let (monday, sunday) = ("2026-07-13T06:00:00Z", "2026-07-12T06:00:00Z");
    for (more, code, words) in [
        (&["--source", "10.1.2.3", "--at", monday][..], 0, "it holds 08:00 to 18:00 Europe/Berlin on mon tue"),
        (&["--source", "10.1.2.3", "--at", sunday], 1, "at other times"),
        (&["--source", "192.0.2.1", "--at", monday], 1, "from other addresses (from 10.0.0.0/8; 08:00"),
        (&["--at", monday], 1, "name one with --source"),
        (&["--at", "noon"], 2, "2030-01-31T12:00:00Z"),
        (&["--source", "office"], 2, "--source"),
    ] {
        let (status, text) = ask(more);
        assert!(status == Some(code) && text.contains(words), "{more:?}: {status:?} {text}");
    }
    let (_, policy) = said(&run(folder.path(), &["policy", "ci"], &[]));
    for words in ["gate alone", "office: holds from 10.0.0.0/8 only", "office: holds 08:00 to 18:00", "4096 bytes"] {
        assert!(policy.contains(words), "{words}: {policy}");
    }
    std::fs::write(folder.path().join("new.toml"), text.replace("10.0.0.0/8", "10.0.0.0/9")).expect("a file");
    let (code, text) = said(&run(folder.path(), &["diff", "config.toml", "new.toml"], &[]));
    assert!(code == Some(1) && text.contains("10.0.0.0/8") && text.contains("10.0.0.0/9"), "{code:?} {text}");
}

fn behind_a_proxy(shared: &Shared) {
    let agent = "[agents.agent_api]\nroles = [\"r\"]\napi_keys = [{ sha256 = \"KEY\" }]\n";
    let sections = format!("{}{agent}", role("r", "read", "sources = [\"203.0.113.0/24\"]"));
    let start = |more: &str| {
        let base = Plan::default();
        Gate::start(shared.world(), &Plan { top: format!("{}{more}", base.top), sections: sections.clone(), ..base })
    };
    let from =
        |gate: &Gate, said: &str| gate.keyed().with("X-Forwarded-For", said).get("/secrets/conditions/none").status;
    let gate = start("forwarded_for = true\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n");
    for (said, status) in [
        ("203.0.113.7", 404),
        ("198.51.100.1, 203.0.113.7, 10.0.0.9", 404),
        ("203.0.113.7, 198.51.100.1", 403),
        ("203.0.113.7, nobody", 403),
        ("127.0.0.1", 403),
    ] {
        assert_eq!(from(&gate, said), status, "{said}");
    }
    wait_for("the log has the client's address", 10, || gate.log().contains("203.0.113.7"));
    for more in ["forwarded_for = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n", "trusted_proxies = [\"127.0.0.0/8\"]\n"]
    {
        assert_eq!(from(&start(more), "203.0.113.7"), 403, "nobody's word: {more}");
    }
}
