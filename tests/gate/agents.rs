//! The operators' page of agents: what became of whose requests.

use std::fs;

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[("operators_see_what_became_of_each_agents_requests", page)];

/// A gate with rate limits; `alice` has one of her own, `bob` is suspended, and `visitor` has no entry.
pub(super) fn plan() -> Plan {
    let sections = format!(
        "{AGENTS}\n[agents.alice]\nroles = [\"all\"]\nrate = {{ requests = 60, per = \"1h\", burst = 50 }}\n\
         [agents.bob]\nroles = [\"reader\", \"all\"]\nsuspended = true\n[identity]\nunknown_agents = \"own-namespace\"\n"
    );
    Plan { top: String::new(), sections, ..Plan::default() }
}

fn asked(gate: &Gate, query: &str) -> Value {
    let answer = gate.admin_client().get(&format!("/admin/agents{query}"));
    assert_eq!(answer.status, 200, "{query}");
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    let agents = page["agents"].as_array().expect("agents");
    agents.iter().map(|agent| agent["name"].as_str().expect("a name")).collect()
}

/// The one agent of that name.
fn agent(gate: &Gate, name: &str) -> Value {
    let page = asked(gate, &format!("?name={name}"));
    assert_eq!(names(&page), [name]);
    page["agents"][0].clone()
}

fn page(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let before = asked(&gate, "");
    assert_eq!(names(&before), ["agent_api", "agent_jwt", "agent_mtls", "alice", "bob"]);
    assert_eq!((&before["next"], &before["nobody"], &before["snapshot"]), (&json!(null), &json!([]), &json!(1)));
    let unseen = agent(&gate, "alice");
    assert_eq!((&unseen["last_seen"], &unseen["allowed"], &unseen["refused"]), (&json!(null), &json!(0), &json!({})));
    assert_eq!(unseen["rate_limit"], json!({"at_once": 50, "per_minute": 1.0, "left": 50}));

    let alice = gate.agent("alice");
    alice.put("/secrets/mine", &json!({"data": {"a": 1}}));
    (0..3).for_each(|_| drop(alice.get("/secrets/none")));
    let batch: Vec<Value> = ["mine", "none"]
        .map(|path| json!({"name": "kv.read", "arguments": {"path": path}}))
        .into_iter()
        .enumerate()
        .map(|(id, params)| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
        .collect();
    alice.mcp_with(&[("MCP-Protocol-Version", "2025-03-26")], &json!(batch));
    gate.agent("bob").get("/whoami");
    gate.agent("visitor").get("/whoami");
    gate.local().with("X-API-Key", "nobody's").get("/whoami");
    gate.local().get("/whoami");
    wait_for("all is counted", 10, || agent(&gate, "visitor")["allowed"] == 1);

    let told = agent(&gate, "alice");
    assert_eq!((&told["allowed"], &told["refused"]), (&json!(2), &json!({"not_found": 4})), "{told}");
    assert_eq!(told["rate_limit"]["left"], 44, "messages of a batch are charged each");
    assert!(told["took_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 60.0), "{told}");
    assert_eq!((&told["roles"], &told["credentials"]), (&json!(["all"]), &json!(["certificate"])));
    assert_eq!((&told["entry"], &told["suspended"], &told["streams"]), (&json!(true), &json!(false), &json!(0)));
    assert_eq!(told["turns"]["taken"], 0, "{told}");
    let bob = agent(&gate, "bob");
    assert_eq!((&bob["suspended"], &bob["refused"]), (&json!(true), &json!({"suspended": 1})));
    assert_eq!(bob["roles"], json!(["reader", "all"]));
    assert_eq!(agent(&gate, "visitor")["entry"], false);
    assert_eq!(agent(&gate, "agent_api")["credentials"], json!(["certificate", "api_key"]));

    let now = asked(&gate, "")["now"].as_str().expect("a time").to_owned();
    let nobody = asked(&gate, "")["nobody"].clone();
    let digest: String = tests::process::sha256("nobody's").chars().take(8).collect();
    assert_eq!((&nobody[0]["key"], &nobody[0]["credential"]), (&json!(digest), &json!("api_key")), "{nobody}");
    assert_eq!((&nobody[0]["refused"], &nobody[1]), (&json!(1), &json!(null)), "who shows nothing is nobody: {nobody}");

    let first = asked(&gate, "?limit=4");
    assert_eq!((names(&first).len(), &first["next"]), (4, &json!("alice")));
    let second = asked(&gate, "?limit=4&cursor=alice");
    assert_eq!((names(&second), &second["next"]), (vec!["bob", "visitor"], &json!(null)));
    assert_eq!(names(&asked(&gate, "?name=agent_m")), ["agent_mtls"]);
    let since = "?seen_since=2020-01-01T00:00:00Z";
    assert_eq!(names(&asked(&gate, since)), ["alice", "bob", "visitor"]);
    assert_eq!(names(&asked(&gate, "?seen_since=2999-01-01T00:00:00Z")), [""; 0], "{now}");
    for query in ["?limit=0", "?name=a%2Fb", "?else=1"] {
        let refused = gate.admin_client().get(&format!("/admin/agents{query}"));
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{query}");
    }
    assert_eq!(gate.operator().post("/admin/agents", &json!({})).status, 405);
    assert_eq!(gate.agent("alice").get("/admin/agents").status, 403, "operators see it, and nobody else");
    reloaded(&gate);
}

/// What was counted is known after a reload too, and the last reload's outcome is told.
fn reloaded(gate: &Gate) {
    let configuration = || gate.admin_client().get("/admin/config").json();
    assert_eq!(configuration()["last_reload"], json!(null));
    let file = gate.folder().join("config.toml");
    let good = fs::read_to_string(&file).expect("the configuration");
    let reload = |text: &str| {
        fs::write(&file, text).expect("the configuration");
        gate.operator().post("/admin/reload", &json!(null)).status
    };
    assert_eq!(reload(&format!("{good}\nnonsense = 1\n")), 422);
    let told = configuration()["last_reload"].clone();
    assert!(told["ok"] == false && told["problem"].as_str().is_some_and(|why| why.contains("unknown key")), "{told}");
    assert_eq!(reload(&good.replace("[agents.bob]", "[agents.bill]")), 200);
    let told = configuration();
    assert_eq!((&told["last_reload"]["ok"], &told["last_reload"]["problem"]), (&json!(true), &json!(null)));
    assert!(told["loaded"].as_str() <= told["last_reload"]["at"].as_str(), "{told}");
    assert_eq!(agent(gate, "alice")["refused"], json!({"forbidden": 1, "not_found": 4}), "it counts on");
    assert_eq!(names(&asked(gate, "?name=b")), ["bill"]);
}
