//! Absolute grants: Vault's own paths, of any engine, for clients of Vault's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use filters::catalog::absolute::asking;
use filters::condition::Circumstances;
use filters::grants::Access;
use filters::names::AgentId;
use filters::operation::Capability;
use filters::verdict::{About, Question};
use portcullis::cli::policy::vault_policy::{PolicyProblem, of_agent};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tests::front::Verdict;
use tests::{Front, Gate, Plan, World, wait_for};

use super::policy::{Own, identity, load};
use super::suspension::command;
use super::vault_api::cli::Cli;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("vault_allows_what_absolute_grants_allow_and_nothing_else", agreement),
    ("any_engine_is_used_by_its_own_paths_beside_the_own_view", engines),
    ("leases_of_any_engine_are_handles_counted_and_ended", leases),
    ("what_has_no_form_of_vaults_is_passed_on_as_it_is", bare),
    ("what_more_hangs_on_is_given_knowingly_and_the_gates_keys_never", dangerous),
    ("headers_that_ask_for_a_state_go_on_and_412_comes_back", state),
];

/// Patterns that overlap in every way.
fn pattern() -> impl Strategy<Value = String> {
    let segment = || select(vec!["a", "b", "ab", "+"]);
    let end = select(vec!["", "", "/", "/*", "*", "/a*", "/+"]);
    (prop::collection::vec(segment(), 0..3), end).prop_map(|(segments, end)| {
        let path = [vec!["x"], segments].concat().join("/");
        if path.ends_with('+') && end == "*" { path } else { path + end }
    })
}

/// Roles with such grants, as a configuration.
fn grants() -> impl Strategy<Value = String> {
    let all = vec!["create", "read", "update", "patch", "delete", "list"];
    let may = prop_oneof![6 => subsequence(all, 1..4), 1 => Just(vec!["deny"])];
    let scopes = prop_oneof![3 => Just(vec!["read", "write", "delete", "list"]), 1 => Just(vec!["read", "list"])];
    let kv = subsequence(vec!["a/*/b", "a/**", "*"], 0..2);
    let role = (scopes, kv, prop::collection::vec((pattern(), may), 0..4));
    prop::collection::vec(role, 1..4).prop_map(|roles| {
        let mut text = String::new();
        for (number, (scopes, kv, grants)) in roles.iter().enumerate() {
            let _ = writeln!(text, "[roles.r{number}]\nscopes = {scopes:?}\nkv = {kv:?}");
            for (path, may) in grants {
                let _ = writeln!(text, "[[roles.r{number}.vault]]\npath = {path:?}\ncapabilities = {may:?}");
            }
        }
        let roles: Vec<String> = (0..roles.len()).map(|number| format!("r{number}")).collect();
        text + &format!("[agents.bob]\nroles = {roles:?}\n")
    })
}

/// All paths of a few names.
fn universe() -> Vec<String> {
    let mut paths = vec!["x".to_owned()];
    let mut last = paths.clone();
    for _ in 0..3 {
        last = last.iter().flat_map(|path| ["a", "ab", "b", "c"].map(|name| format!("{path}/{name}"))).collect();
        paths.extend(last.iter().cloned());
    }
    paths
}

fn agreement(shared: &Shared) {
    let (world, universe) = (shared.world(), universe());
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let agree = |text: String| {
        let settings = load(&text);
        let hcl = match of_agent(&settings, &AgentId::parse("bob").expect("a name")) {
            Ok(hcl) => hcl,
            Err(PolicyProblem::Unprintable(..)) => return Err(TestCaseError::reject("no policy says that")),
            Err(problem) => panic!("{problem}"),
        };
        let held = capabilities(world, &hcl, &universe);
        let layout = settings.layout.clone();
        let bob = identity(settings.roles.into_iter().skip(1).collect());
        let circumstances = Circumstances { client: None, now: 0 };
        for (path, [plain, folder]) in universe.iter().zip(&held) {
            for may in Capability::ALL {
                let about = About { name: path, ..About::default() };
                let question = Question::new(asking(Access::by(may)), about, &layout).expect("a question");
                let allowed = question.answer(&bob, &layout, circumstances).is_ok();
                // The gate cannot tell if something is created or updated: Vault does.
                let names: &[&str] = match may {
                    Capability::Create | Capability::Update => &["create", "update"],
                    Capability::Patch | Capability::Read | Capability::Delete | Capability::List => &[may.name()],
                };
                let held = if may == Capability::List { folder } else { plain };
                let holds = names.iter().any(|name| held.contains(*name));
                prop_assert!(holds == allowed, "{path} {names:?}: the gate {allowed}, Vault {held:?}\n{text}\n{hcl}");
            }
        }
        Ok(())
    };
    // Where a listing's slash is content for one product and not for the other.
    for grants in [
        [("x/*", "list"), ("x/a/*", "deny")],
        [("x/*", "update"), ("x/a/+", "list")],
        [("x/+", "read"), ("x/a/*", "list")],
        [("x/+/", "list"), ("x/a", "read")],
        [("x/+/+", "list"), ("x/a*", "list")],
        [("x/a/+/", "list"), ("x*", "update")],
        [("x/a/*", "deny"), ("x/+/a*", "list")],
    ] {
        let grant = |(path, may)| format!("{{ path = \"{path}\", capabilities = [\"{may}\"] }}");
        let grants = grants.map(grant).join(", ");
        let text = format!(
            "[roles.r0]\nscopes = [\"read\", \"write\", \"list\"]\nvault = [{grants}]\n[agents.bob]\nroles = [\"r0\"]\n"
        );
        agree(text).unwrap_or_else(|error| panic!("{error}"));
    }
    let outcome = runner.run(&grants(), agree);
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// The capabilities that Vault gives a token of the policy `hcl` at each path, and where names are listed in it.
fn capabilities(world: &World, hcl: &str, universe: &[String]) -> Vec<[BTreeSet<String>; 2]> {
    let (status, answer) = world.ask("PUT", "sys/policies/acl/absolutely", &json!({"policy": hcl}));
    assert_eq!(status, 204, "{answer}\n{hcl}");
    let token = json!({"policies": ["absolutely"], "no_default_policy": true, "ttl": "60s"});
    let (_, made) = world.ask("POST", "auth/token/create", &token);
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let paths: Vec<String> = universe.iter().flat_map(|path| [path.clone(), format!("{path}/")]).collect();
    let (status, answer) = world.ask("POST", "sys/capabilities", &json!({"token": token, "paths": paths}));
    assert_eq!(status, 200, "{answer}");
    let held = |path: &str| {
        let held = answer["data"][path].as_array().expect("capabilities").iter();
        held.map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    universe.iter().map(|path| [held(path), held(&format!("{path}/"))]).collect()
}

const USED: &str = r#"
[roles.user]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]
vault = [
  { path = "abs/v1/+", capabilities = ["create", "read", "update", "delete"] },
  { path = "abs/v1", capabilities = ["list"] },
  { path = "abs-v2/+/apps/*", capabilities = ["create", "read", "update", "patch", "delete", "list"] },
  { path = "abs-v2/data/apps/closed/*", capabilities = ["deny"] },
  { path = "secret/data/abs-moved/*", capabilities = ["read"] },
  { path = "secret/metadata/abs-moved/*", capabilities = ["list"] },
]

[agents.agent_mtls]
roles = ["user"]

[agents.other]
roles = ["own-namespace"]
"#;

fn mounted(world: &World) {
    for (path, options) in [("abs/v1", json!({"version": "1"})), ("abs-v2", json!({"version": "2"}))] {
        let (status, answer) =
            world.ask("POST", &format!("sys/mounts/{path}"), &json!({"type": "kv", "options": options}));
        assert!(status == 204 || answer.to_string().contains("already in use"), "{answer}");
    }
    wait_for("the engine's upgrade", 20, || world.ask("POST", "abs-v2/config", &json!({"max_versions": 9})).0 == 204);
}

fn engines(shared: &Shared) {
    let world = shared.world();
    mounted(world);
    let (status, _) = world.ask("POST", "secret/data/abs-moved/db", &json!({"data": {"old": "1"}}));
    assert_eq!(status, 200);
    let own = Own::new(world, "absolute");
    let sections = own.sections("", USED);
    own.write(&sections);
    let (code, shown) = own.run(&["--sync", "--yes"]);
    assert_eq!(code, Some(0), "{shown}");
    let gate = own.gate(&sections);
    let cli = Cli::of(&gate, "agent_mtls");
    // Version 2, at a mount that the gate knows nothing of.
    cli.said(&["kv", "put", "abs-v2/apps/db", "user=app", "password=one"]);
    cli.said(&["kv", "patch", "abs-v2/apps/db", "password=two"]);
    assert_eq!(cli.said(&["kv", "get", "-field=password", "abs-v2/apps/db"]).trim(), "two");
    assert_eq!(cli.said(&["kv", "get", "-version=1", "-field=password", "abs-v2/apps/db"]).trim(), "one");
    assert_eq!(cli.json(&["kv", "list", "-format=json", "abs-v2/apps"]), json!(["db"]));
    cli.said(&["kv", "delete", "abs-v2/apps/db"]);
    let gone = cli.json_of(&["kv", "get", "-format=json", "abs-v2/apps/db"]);
    assert!(gone["data"]["metadata"]["deletion_time"].is_string(), "{gone}");
    cli.said(&["kv", "undelete", "-versions=2", "abs-v2/apps/db"]);
    // Version 1, and its listing.
    cli.said(&["kv", "put", "abs/v1/a", "k=v"]);
    assert_eq!(cli.json(&["read", "-format=json", "abs/v1/a"])["data"], json!({"k": "v"}));
    assert_eq!(cli.json(&["kv", "list", "-format=json", "abs/v1"]), json!(["a"]));
    cli.said(&["delete", "abs/v1/a"]);
    // Beside it the own view, in a mount of which a part is granted as it is.
    assert_eq!(cli.said(&["kv", "get", "-field=old", "secret/abs-moved/db"]).trim(), "1");
    let told = cli.error(&["kv", "put", "secret/abs-moved/db", "old=2"]);
    assert!(told.contains("permission denied"), "{told}");
    assert_eq!(cli.json(&["kv", "list", "-format=json", "secret/abs-moved"]), json!(["db"]));
    cli.said(&["kv", "put", "secret/mine", "x=1"]);
    assert_eq!(world.ask("GET", "secret/data/mcp/agent_mtls/mine", &Value::Null).0, 200);
    // What is not granted, what is denied, and whoever has none of it.
    let agent = gate.agent("agent_mtls");
    for path in
        ["abs-v2/data/other/x", "abs-v2/data/apps/closed/x", "abs/v1/a/b", "abs-v2/config", "abs-none/x", "sys/mounts"]
    {
        let answer = agent.get(&format!("/v1/{path}"));
        assert_eq!(answer.status, 403, "{path}: {:?}", answer.json());
        assert_eq!(answer.json()["errors"][0], "permission denied", "{path}");
    }
    for path in ["abs-v2/data/apps/%2e%2e/other/x", "abs-v2/data/apps//x", "abs-v2/data/apps/x/%252e%252e"] {
        assert_eq!(agent.get(&format!("/v1/{path}")).status, 400, "{path}");
    }
    assert_eq!(gate.agent("other").get("/v1/abs-v2/data/apps/db").status, 403);
    assert_eq!(agent.get("/v1/sys/internal/ui/mounts/abs-v2/apps").json()["data"]["options"]["version"], "2");
    assert_eq!(gate.agent("other").get("/v1/sys/internal/ui/mounts/abs-v2/apps").status, 403);
    let paths = ["abs-v2/data/apps/db", "abs-v2/data/apps/closed/x", "abs/v1/", "abs/v1/a"];
    let told = agent.post("/v1/sys/capabilities-self", &json!({ "paths": paths })).json();
    let expected = [
        json!(["create", "read", "update", "patch", "delete", "list"]),
        json!(["deny"]),
        json!(["list"]),
        json!(["create", "read", "update", "delete"]),
    ];
    assert_eq!(paths.map(|path| told["data"][path].clone()), expected, "{told}");
    let told = agent.get("/access").json();
    let absolute = told["grants"].as_array().expect("grants").iter().filter(|grant| grant["engine"] == "vault").count();
    assert_eq!(absolute, 6, "{told}");
}

fn leases(shared: &Shared) {
    // What is on the record of suspensions is so for every gate of its Vault.
    let world = World::start(false);
    shared.postgres().introduce(&world);
    let own = Own::new(&world, "absleases");
    let roles = "[roles.user]\nscopes = [\"read\"]\nvault = [{ path = \"database/creds/*\", capabilities = [\"read\"] }]\n\
                 [agents.alice]\nroles = [\"user\"]\n[agents.other]\nroles = [\"user\"]\n";
    let sections = own.sections("", roles).replace("[leases]\n", "[leases]\nper_agent = 2\n");
    own.write(&sections);
    let (code, shown) = own.run(&["--sync", "--yes"]);
    assert_eq!(code, Some(0), "{shown}");
    let front = Front::start(&world);
    let gate = own.gate_with(&sections, front.environment());
    let cli = Cli::of(&gate, "alice");
    let mut held = Vec::new();
    // Where leases are given out is learnt from the first.
    for asked in [2, 3] {
        let issued = cli.json(&["read", "-format=json", "database/creds/readonly"]);
        let lease = issued["lease_id"].as_str().expect("a lease").to_owned();
        assert!(lease.starts_with("pch1_") && issued["data"]["username"].is_string(), "{issued}");
        // It outlasts the agent's own token, which lives for 90 seconds.
        assert!(issued["lease_duration"].as_u64().is_some_and(|seconds| seconds > 90), "{issued}");
        let login = ["username", "password"].map(|name| issued["data"][name].as_str().expect("a login").to_owned());
        held.push((lease, login));
        assert_eq!(front.asked("GET /v1/database/creds/readonly "), asked);
    }
    let agent = gate.agent("alice");
    let third = agent.get("/v1/database/creds/readonly");
    assert_eq!(third.status, 429, "{:?}", third.json());
    let lives = || {
        let (_, listed) = world.ask("LIST", "sys/leases/lookup/database/creds/readonly", &Value::Null);
        listed["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    let [(first, _), (_, [user, password])] = held.as_slice() else { panic!("two leases") };
    let renewed = cli.json(&["lease", "renew", "-format=json", first]);
    assert_eq!(renewed["lease_id"].as_str(), Some(&**first), "{renewed}");
    for path in ["sys/leases/renew", "sys/leases/revoke"] {
        let answer = gate.agent("other").post(&format!("/v1/{path}"), &json!({"lease_id": first}));
        assert_eq!(answer.status, 403, "{path}: {:?}", answer.json());
    }
    cli.said(&["lease", "revoke", first]);
    assert_eq!(cli.json(&["read", "-format=json", "database/creds/readonly"])["renewable"], true);
    assert!(shared.postgres().can_log_in(user, password));
    let before = lives();
    let (code, told) = command(&world, &gate, &["suspend", "alice"]);
    assert_eq!(code, Some(0), "{told}");
    wait_for("the end of its leases", 20, || lives() + 2 <= before && !shared.postgres().can_log_in(user, password));
}

/// Answers that have no form of Vault's: a certificate, a list large enough to be sent on in parts, a bare object.
fn bare(shared: &Shared) {
    let world = shared.world();
    let (status, answer) = world.ask("POST", "sys/mounts/abs-pki", &json!({"type": "pki"}));
    assert!(status == 204 || answer.to_string().contains("already in use"), "{answer}");
    let made = json!({"common_name": "abs", "ttl": "1h"});
    assert_eq!(world.ask("POST", "abs-pki/root/generate/internal", &made).0, 200);
    let own = Own::new(world, "absbare");
    let roles = "[roles.user]\nscopes = [\"read\"]\nvault = [\n  \
                 { path = \"abs-pki/*\", capabilities = [\"read\"] },\n  \
                 { path = \"identity/oidc/.well-known/*\", capabilities = [\"read\"], dangerous = true },\n]\n\
                 [agents.agent_mtls]\nroles = [\"user\"]\n";
    let sections = own.sections("", roles);
    own.write(&sections);
    let (code, shown) = own.run(&["--sync", "--yes"]);
    assert_eq!(code, Some(0), "{shown}");
    let front = Front::start(world);
    let gate = own.gate_with(&sections, front.environment());
    let agent = gate.agent("agent_mtls");
    let pem = agent.get("/v1/abs-pki/ca/pem");
    assert_eq!((pem.status, pem.header("content-type")), (200, Some("application/pem-certificate-chain")), "{pem:?}");
    assert!(pem.body.starts_with(b"-----BEGIN CERTIFICATE-----"), "{pem:?}");
    let der = agent.get("/v1/abs-pki/ca");
    assert_eq!((der.status, der.header("content-type")), (200, Some("application/pkix-cert")), "{der:?}");
    let bare = agent.get("/v1/identity/oidc/.well-known/openid-configuration");
    assert_eq!((bare.status, bare.header("content-type")), (200, Some("application/json")), "{bare:?}");
    assert!(bare.json()["issuer"].is_string() && bare.json().get("lease_id").is_none(), "{bare:?}");
    // A form of Vault's is kept, and what is no JSON at all is none.
    assert_eq!(agent.get("/v1/abs-pki/cert/ca").json()["lease_id"], "");
    let large = "x".repeat(200_000);
    let answer = |media: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n");
        Verdict::Answer([head.as_bytes(), body.as_bytes()].concat())
    };
    front.treat("abs-pki/crl", answer("application/pkix-crl", &large));
    let crl = agent.get("/v1/abs-pki/crl");
    assert_eq!((crl.status, crl.header("content-type")), (200, Some("application/pkix-crl")));
    assert_eq!(crl.body, large.as_bytes());
    front.treat("abs-pki/crl", answer("application/json", "no JSON"));
    assert_eq!(agent.get("/v1/abs-pki/crl").status, 502);
    // An answer is wrapped in JSON.
    let wrapped = |path: &str| agent.send("GET", path, &[("X-Vault-Wrap-TTL", "60s")], b"");
    assert_eq!(wrapped("/v1/abs-pki/ca/pem").status, 502);
    let kept = wrapped("/v1/identity/oidc/.well-known/openid-configuration").json();
    let token = json!({"token": kept["wrap_info"]["token"]});
    let given = agent.post("/v1/sys/wrapping/unwrap", &token).json();
    assert_eq!(given["data"]["issuer"], bare.json()["issuer"], "{given}");
}

fn dangerous(shared: &Shared) {
    let own = Own::new(shared.world(), "absdanger");
    let role = |grants: &str| {
        format!(
            "[roles.user]\nscopes = [\"read\", \"write\"]\nvault = [{grants}]\n[agents.agent_mtls]\nroles = [\"user\"]\n"
        )
    };
    let grant =
        |path: &str, more: &str| format!("{{ path = \"{path}\", capabilities = [\"read\", \"update\"]{more} }}");
    for path in [
        "sys/mounts",
        "*",
        "+/config",
        "auth/*",
        "identity/entity",
        "secret/*",
        "secret/data/mcp/bob/*",
        "secret/+/portcullis/x",
    ] {
        own.write(&own.sections("", &role(&grant(path, ""))));
        let (code, shown) = own.run(&["agent_mtls"]);
        assert!(code == Some(2) && shown.contains("dangerous = true"), "{path}: {shown}");
    }
    let known = [
        ("sys/*", ", dangerous = true"),
        ("auth/*", ", dangerous = true"),
        ("team-b/*", ""),
        ("transit/*", ""),
        ("secret/data/shared/*", ""),
    ];
    let sections = own.sections("", &role(&known.map(|(path, more)| grant(path, more)).join(", ")));
    own.write(&sections);
    let (code, shown) = own.run(&["--sync", "--yes"]);
    assert_eq!(code, Some(0), "{shown}");
    let gate = own.gate(&sections);
    let agent = gate.agent("agent_mtls");
    assert_eq!(agent.get("/v1/sys/mounts").status, 200);
    assert!(gate.stderr().contains("gives `sys/*`, which reaches `sys/`"), "{}", gate.stderr());
    assert_eq!(agent.get("/v1/transit/keys/portcullis-handles").status, 403);
    let hmac = agent.post("/v1/transit/hmac/portcullis-handles", &json!({"input": ""}));
    assert_eq!(hmac.status, 403, "{:?}", hmac.json());
    assert_eq!(agent.get("/v1/transit/export/hmac-key/portcullis-handles/1").status, 403);
    assert_eq!(agent.post("/v1/transit/keys/abs-key", &json!({})).status, 200);
    let sealed = agent.post("/v1/transit/encrypt/abs-key", &json!({"plaintext": "eA=="})).json();
    assert!(sealed["data"]["ciphertext"].is_string(), "{sealed}");
    // The gate's own endpoints stay its own.
    let me = agent.get("/v1/auth/token/lookup-self").json();
    assert_eq!(me["data"]["display_name"], "agent_mtls", "{me}");
    let spelled = agent.get("/v1/auth/token/lookup%2Dself").json();
    assert_eq!(spelled["data"]["display_name"], "agent_mtls", "{spelled}");
    for path in
        ["team-b/auth/token/lookup-self", "team-b/sys/wrapping/lookup", "auth/token/lookup-self/x", "sys/leases/count"]
    {
        assert_eq!(agent.get(&format!("/v1/{path}")).status, 403, "{path}");
    }
}

fn state(shared: &Shared) {
    let front = Front::start(shared.world());
    front.rule(|head| {
        let head = head.to_ascii_lowercase();
        let asks =
            ["x-vault-index: v1:abc", "x-vault-inconsistent: forward-active-node", "x-vault-forward: active-node"];
        if head.contains("get /v1/abs-state/x ") && asks.iter().all(|header| head.contains(header)) {
            let body = r#"{"errors":["required index state not present"]}"#;
            return Verdict::Answer(
                format!("HTTP/1.1 412 Precondition Failed\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                    .into_bytes(),
            );
        }
        Verdict::Pass
    });
    let sections = format!(
        "{}\n[roles.abs]\nscopes = [\"read\"]\nvault = [{{ path = \"abs-state/*\", capabilities = [\"read\"] }}]\n",
        tests::process::AGENTS
            .replace("[agents.agent_mtls]\nroles = [\"all\"]", "[agents.agent_mtls]\nroles = [\"all\", \"abs\"]")
    );
    let gate = Gate::start(shared.world(), &Plan { sections, environment: front.environment(), ..Plan::default() });
    let agent = gate.agent("agent_mtls");
    let headers = [
        ("X-Vault-Index", "v1:abc"),
        ("X-Vault-Inconsistent", "forward-active-node"),
        ("X-Vault-Forward", "active-node"),
    ];
    let answer = agent.send("GET", "/v1/abs-state/x", &headers, b"");
    assert_eq!(answer.status, 412, "{:?}", answer.json());
    // Of the own view they say nothing.
    assert_eq!(agent.send("GET", "/v1/secret/data/abs-none", &headers, b"").status, 404);
}
