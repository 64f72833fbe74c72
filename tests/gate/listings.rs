//! Listings of MCP resources: what can be read, of the agent's own and of what agents share.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::mcp::{STATELESS, Schema, ask, settled};
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, wait_for};

use super::resources::{content, names, walk};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_deleted_secret_is_not_listed", deleted),
    ("a_page_asks_vault_for_no_more_than_it_may_hold", bounded),
    ("what_agents_share_is_listed_and_read_by_whom_it_is_granted", common),
    ("a_name_that_the_gate_cannot_take_is_counted_in_the_log", left_out),
];

/// Agents that no other module's tests write for.
const SHARING: &str = r#"
[roles.own]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]

[roles.sharer]
scopes = ["read", "list"]
shared = ["listings/open/**", "listings/some/*/config"]

[roles.everything]
scopes = ["read", "list"]
shared = ["**"]

[agents.lister]
roles = ["own"]

[agents.sharer]
roles = ["sharer"]

[agents.both]
roles = ["own", "everything"]
"#;

/// A gate whose agents may do at Vault what it may itself, which is everything.
fn gate(shared: &Shared, more: &str) -> Gate {
    let token = shared.world().vault.root_token().to_owned();
    let environment = [("VAULT_TOKEN", token), ("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let top = "child_token_enabled = false\nrate_limit_requests = 100000\n".to_owned();
    let sections = format!("{AGENTS}{SHARING}{more}");
    let plan = Plan { top, sections, environment: environment.into(), ..Plan::default() };
    let gate = Gate::start(shared.world(), &plan);
    settled(&gate.agent("lister"));
    gate
}

/// Writes a secret as an operator would.
fn plant(shared: &Shared, path: &str) {
    let (status, answer) = shared.world().ask("POST", &format!("secret/data/{path}"), &json!({"data": {"a": path}}));
    assert_eq!(status, 200, "{path}: {answer}");
}

/// The secrets that are listed, without the roots.
fn listed(client: &Client, schema: &Schema) -> Vec<String> {
    let all = names(&walk(client, schema).0);
    all.into_iter().filter(|name| !name.ends_with('/')).collect()
}

fn metadata_calls(gate: &Gate) -> f64 {
    ["served", "not_found"]
        .map(|outcome| format!("portcullis_operations_total{{operation=\"kv.metadata\",outcome=\"{outcome}\"}}"))
        .iter()
        .map(|name| gate.metric(name))
        .sum()
}

fn deleted(shared: &Shared) {
    let gate = gate(shared, "");
    let client = gate.agent("lister");
    let put = |path: &str| assert_eq!(client.put(&format!("/secrets/{path}"), &json!({"data": {"a": 1}})).status, 200);
    let metadata = |path: &str, body: Value| {
        let (status, answer) = shared.world().ask("POST", &format!("secret/metadata/mcp/lister/{path}"), &body);
        assert_eq!(status, 204, "{answer}");
    };
    metadata("gone/bare", json!({"max_versions": 3}));
    metadata("gone/planned", json!({"delete_version_after": "10h"}));
    for path in ["here", "gone/soft", "gone/destroyed", "gone/back", "gone/again", "gone/old", "gone/planned"] {
        put(path);
    }
    for path in ["gone/soft", "gone/back", "gone/again"] {
        assert_eq!(client.delete(&format!("/secrets/{path}")).status, 204);
    }
    put("gone/again");
    put("gone/old");
    for path in ["gone/destroyed", "gone/old"] {
        assert_eq!(client.post(&format!("/secrets/{path}:destroy"), &json!({"versions": [1]})).status, 200);
    }
    assert_eq!(client.post("/secrets/gone/back:undelete", &json!({"versions": [1]})).status, 200);
    for schema in Schema::all() {
        let before = metadata_calls(&gate);
        let found = listed(&client, &schema);
        assert_eq!(found, ["gone/again", "gone/back", "gone/old", "gone/planned", "here"]);
        assert_eq!(metadata_calls(&gate) - before, 8.0, "Vault is asked once for each");
        // A client that reads all that it is shown meets no error.
        for name in found {
            let uri = json!({"uri": format!("kv://lister/{name}")});
            let read = ask(&client, schema.revision, "resources/read", &uri);
            schema.result("ReadResourceResult", &read);
        }
    }
}

fn bounded(shared: &Shared) {
    let limit = "\n[roles.few]\nscopes = [\"read\", \"list\"]\nkv = [\"**\"]\nrate = { requests = 5, per = \"1h\" }\n\
                 [agents.many]\nroles = [\"few\"]\nrate = { requests = 100, per = \"1m\" }\n";
    let gate = gate(shared, limit);
    (0..130).for_each(|number| plant(shared, &format!("mcp/many/many/{number}")));
    let client = gate.agent("many");
    let before = metadata_calls(&gate);
    let page = ask(&client, STATELESS, "resources/list", &json!({}));
    let page = Schema::of(STATELESS).result("ListResourcesResult", &page);
    // The root is one of them.
    assert_eq!(page["resources"].as_array().map(Vec::len), Some(101));
    assert_eq!(metadata_calls(&gate) - before, 100.0);
    // Two folders were charged to the role, and nothing else.
    let next = ask(&client, STATELESS, "resources/list", &json!({"cursor": page["nextCursor"]}));
    let next = Schema::of(STATELESS).result("ListResourcesResult", &next);
    assert_eq!(next["resources"].as_array().map(Vec::len), Some(30));
    assert_eq!(metadata_calls(&gate) - before, 130.0);
}

fn common(shared: &Shared) {
    let open = ["a", "b c", "deep/er/d", "é"];
    for path in open.map(|path| path.replace(' ', "%20").replace('é', "%c3%a9")) {
        plant(shared, &format!("shared/listings/open/{path}"));
    }
    for path in ["x/config", "y/config", "x/other", "config"] {
        plant(shared, &format!("shared/listings/some/{path}"));
    }
    plant(shared, "shared/listings/closed/secret");
    let (status, _) = shared.world().ask("DELETE", "secret/data/shared/listings/open/deep/er/d", &Value::Null);
    assert_eq!(status, 204);
    let gate = gate(shared, "");
    let (sharer, both, lister) = (gate.agent("sharer"), gate.agent("both"), gate.agent("lister"));
    assert_eq!(both.put("/secrets/listings/open/a", &json!({"data": {"a": "own"}})).status, 200);
    for schema in Schema::all() {
        let expected = ["~shared/listings/open/a", "~shared/listings/open/b c", "~shared/listings/open/é"];
        let (found, _) = walk(&sharer, &schema);
        assert_eq!(names(&found), expected, "what may not be listed is not, nor the deleted one");
        assert_eq!(found[1]["uri"], "kv://~shared/listings/open/b%20c");
        // The agent's own come first, and one of the same path is another.
        let (all, _) = walk(&both, &schema);
        let roots: Vec<_> = all.iter().take(2).map(|one| &one["uri"]).collect();
        assert_eq!(json!(roots), json!(["kv://both/", "kv://~shared/"]));
        let all: BTreeSet<_> = names(&all).into_iter().collect();
        assert!(all.contains("listings/open/a") && expected.iter().all(|name| all.contains(*name)), "{all:?}");
        assert!(all.contains("~shared/listings/some/config") && all.contains("~shared/listings/closed/secret"));
        let read = |client: &Client, path: &str| {
            let uri = json!({"uri": format!("kv://{path}")});
            ask(client, schema.revision, "resources/read", &uri)
        };
        let value = |client: &Client, path: &str| {
            content(&schema.result("ReadResourceResult", &read(client, path)))["data"]["a"].clone()
        };
        assert_eq!(value(&sharer, "~shared/listings/open/b%20c"), "shared/listings/open/b%20c");
        assert_eq!(value(&sharer, "~shared/listings/some/y/config?version=1"), "shared/listings/some/y/config");
        assert_eq!(value(&both, "both/listings/open/a"), "own");
        assert_eq!(value(&both, "~shared/listings/open/a"), "shared/listings/open/a");
        let folder = content(&schema.result("ReadResourceResult", &read(&sharer, "~shared/listings/open/")));
        assert!(folder["keys"].as_array().is_some_and(|keys| keys.contains(&json!("deep/"))), "{folder}");
        for (client, path, error) in [
            (&sharer, "~shared/listings/closed/secret", "forbidden"),
            (&sharer, "~shared/listings/some/x/other", "forbidden"),
            (&sharer, "~shared/", "forbidden"),
            (&lister, "~shared/listings/open/a", "forbidden"),
            (&lister, "~shared/listings/open/none", "forbidden"),
            (&sharer, "~shared/listings/open/none", "not_found"),
            (&sharer, "~shared/listings/open/deep/er/d", "not_found"),
            (&sharer, "~SHARED/listings/open/a", "not_found"),
            (&sharer, "shared/listings/open/a", "not_found"),
        ] {
            assert_eq!(schema.error(&read(client, path))["data"]["error"], error, "{path}");
        }
        let templates = |client: &Client| {
            let response = ask(client, schema.revision, "resources/templates/list", &json!({}));
            let listed = schema.result("ListResourceTemplatesResult", &response);
            let templates = listed["resourceTemplates"].as_array().expect("templates").clone();
            templates.iter().map(|one| one["uriTemplate"].as_str().expect("a URI").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(templates(&lister), ["kv://lister/{+path}{?version}", "kv://lister/{+path}/"]);
        assert_eq!(templates(&sharer)[2..], ["kv://~shared/{+path}{?version}", "kv://~shared/{+path}/"]);
    }
    // Small pages go over from the one part to the other.
    assert!(listed(&lister, &Schema::of(STATELESS)).iter().all(|name| !name.starts_with("~shared")));
}

fn left_out(shared: &Shared) {
    let gate = gate(shared, "\n[agents.odd]\nroles = [\"own\"]\n");
    for name in ["plain", "zero%5cb", "two%5cc/x"] {
        plant(shared, &format!("mcp/odd/odd/{name}"));
    }
    let client = gate.agent("odd");
    assert_eq!(listed(&client, &Schema::of(STATELESS)), ["odd/plain"]);
    let told = || {
        let all = gate.stderr();
        let lines = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line.to_string().contains("are not listed")).collect::<Vec<_>>()
    };
    wait_for("the log tells of it", 10, || !told().is_empty());
    let told = told();
    assert_eq!(told.len(), 1, "once for the listing: {told:?}");
    assert!(["\"agent\":\"odd\"", "\"names\":2"].iter().all(|part| told[0].to_string().contains(part)), "{told:?}");
    assert!(!gate.stderr().contains("zero") && !gate.stderr().contains("two"), "{told:?}");
}
