//! The verbs that show policy as data, or make it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use filters::names::AgentId;
use portcullis::cli::import::users::Users;
use proptest::collection;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tests::process::{AGENTS, root};
use tests::{Gate, Plan};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_is_explained_names_the_rule", explain),
    ("what_is_explained_is_what_the_gate_does", explained_and_done),
    ("questions_that_are_none_are_refused", unaskable),
    ("what_agents_gain_and_lose_is_told_without_a_secret", diff),
    ("readiness_is_told_beside_the_gate", ready),
    ("a_minted_token_is_taken_by_the_gate", tokens),
    ("no_token_is_minted_in_production", no_tokens),
    ("the_schema_takes_and_refuses_what_the_gate_does", schema),
    ("users_of_a_bridge_read_their_own_once_they_are_imported", import),
    ("what_is_not_imported_is_told_without_its_values", not_imported),
    ("no_two_subjects_become_one_agent", one_to_one),
];

/// Roles with something of everything.
const POLICY: &str = r#"
[roles.deployer]
scopes = ["read", "write"]
kv = ["builds/**", "apps/*/config"]
shared = ["team/**"]
transit = ["deploy-*"]
database = ["readonly"]
ssh = ["ops"]
ssh_principals = ["deploy"]
max_ttl = "1h"
wrap = "required"
deny = ["builds/signing/**"]

[roles.reader]
scopes = ["read", "list"]
kv = ["**"]

[agents.ci]
roles = ["deployer", "reader"]

[agents.nobody]
roles = []
"#;

/// Asks `portcullis explain`, by words.
fn ask(folder: &Path, line: &str) -> (Option<i32>, String) {
    let arguments: Vec<&str> = ["explain", "--config", "config.toml"].into_iter().chain(line.split(' ')).collect();
    said(&run(folder, &arguments, &[]))
}

fn ready(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &Plan::default());
    let folder = gate.folder().to_owned();
    let ask = || said(&run(&folder, &["ready", "--config", "config.toml"], &[]));
    let told = |(ended, text): (Option<i32>, String)| {
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (ended, told["ok"] == true, told["vault"]["ok"] == true)
    };
    assert_eq!(told(ask()), (Some(0), true, true));
    // A user who may not use the socket asks at the address.
    fs::remove_file(folder.join("admin.sock")).expect("no socket");
    assert_eq!(told(ask()), (Some(0), true, true));
    let environment = vec![("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let other = Gate::start_unready(shared.world(), &Plan { environment, ..Plan::default() });
    let answer = run(other.folder(), &["ready", "--config", "config.toml"], &[]);
    assert_eq!(told(said(&answer)), (Some(1), false, false), "it has no login");
    assert_eq!(gate.terminate(), Some(0));
    let (ended, told) = ask();
    assert!(ended == Some(1) && told.contains("cannot be asked"), "{told}");
    let without = folder_with("config.toml", "[admin]\naddress = \"off\"\n");
    let (ended, told) = said(&run(without.path(), &["ready", "--config", "config.toml"], &[]));
    assert!(ended == Some(1) && told.contains("no admin listener"), "{told}");
}

fn explain(_: &Shared) {
    let folder = folder_with("config.toml", POLICY);
    for (line, code, rules) in [
        ("kv.read --resource builds/1", 0, &["role `deployer`", "`kv = [\"builds/**\"]`", "wrapped"][..]),
        ("kv.read --resource other", 0, &["role `reader`", "scope `read`", "`kv = [\"**\"]`"]),
        ("kv.list", 0, &["role `reader`", "scope `list`"]),
        ("kv.write --resource team/x --shared", 0, &["`shared = [\"team/**\"]`"]),
        (
            "kv.write --resource other",
            1,
            &["403 forbidden", "`deployer` has nothing in `kv`", "`reader` has no scope `write`"],
        ),
        ("kv.delete --resource builds/1", 1, &["`deployer` has no scope `delete`", "`reader` has no scope `delete`"]),
        ("kv.read --resource builds/signing/key", 1, &["role `deployer`: `deny = [\"builds/signing/**\"]`"]),
        ("kv.list --resource builds/signing", 1, &["`deny = [\"builds/signing/**\"]`"]),
        ("kv.read --resource other --scopes write,list", 1, &["403 insufficient_scope", "does not carry scope `read`"]),
        ("transit.encrypt --resource deploy-1", 0, &["`transit = [\"deploy-*\"]`"]),
        ("transit.random", 0, &["role `deployer`: scope `read`\n"]),
        ("transit.hmac --resource portcullis-handles", 1, &["the gate's own"]),
        ("db.renew --resource readonly", 0, &["`database = [\"readonly\"]`"]),
        ("ssh.sign --resource ops --principal deploy --ttl 1h", 0, &["`ssh = [\"ops\"]`"]),
        ("ssh.sign --resource ops --principal deploy --ttl 61m", 1, &["3600 seconds at most"]),
        ("ssh.sign --resource ops --principal root", 1, &["other user names"]),
        ("whoami", 0, &["any agent may"]),
        ("access.list", 0, &["any agent may"]),
    ] {
        let (given, text) = ask(folder.path(), &format!("--agent ci --operation {line}"));
        assert_eq!(given, Some(code), "{line}: {text}");
        let verdict = if code == 0 { "allowed: ci may do" } else { "refused: ci may not do" };
        for rule in rules.iter().chain([&verdict]) {
            assert!(text.contains(rule), "{line} does not tell {rule}: {text}");
        }
    }
    let shown =
        folder_with("config.toml", &POLICY.replace("[roles.reader]\n", "[roles.reader]\ntools = [\"kv_read\"]\n"));
    for (line, hidden) in [
        ("kv.read --resource other", false),
        ("kv.list", true),
        ("kv.write --resource builds/1", false),
        ("whoami", false),
    ] {
        let (given, text) = ask(shown.path(), &format!("--agent ci --operation {line}"));
        assert!(given == Some(0) && text.contains("MCP does not show its tool") == hidden, "{line}: {text}");
    }
    for (agent, told) in [("nobody", "it has no role"), ("cj", "did you mean `ci`?"), ("else", "401 unauthenticated")] {
        let (code, text) = ask(folder.path(), &format!("--agent {agent} --operation kv.read --resource x"));
        assert!(code == Some(1) && text.contains(told), "{agent}: {code:?} {text}");
    }
    // The files of elsewhere need not be here.
    let listener = "[[listeners]]\naddress = \"0.0.0.0:1\"\ntls = { certificate = \"/no\", key = \"/no\" }\n";
    let elsewhere = folder_with("config.toml", &format!("{POLICY}\n{listener}"));
    assert_eq!(run(elsewhere.path(), &["check"], &[]).status.code(), Some(2));
    assert_eq!(ask(elsewhere.path(), "--agent ci --operation whoami").0, Some(0));
    for (line, told) in [
        (
            "whoami --json",
            json!({"allowed": true, "agent": "ci", "operation": "whoami", "resource": "", "rules": ["any agent may"]}),
        ),
        (
            "kv.read --resource x --scopes list --json",
            json!({"allowed": false, "agent": "ci", "operation": "kv.read", "resource": "x", "status": 403,
                "error": "insufficient_scope", "rules": ["the credential does not carry scope `read`"]}),
        ),
    ] {
        let (_, text) = ask(folder.path(), &format!("--agent ci --operation {line}"));
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), told);
    }
}

fn unaskable(_: &Shared) {
    let folder = folder_with("config.toml", POLICY);
    for (line, told) in [
        ("--agent ci --operation kv.reed --resource x", "did you mean `kv.read`?"),
        ("--agent ci --operation sing", "no such operation"),
        ("--agent CI --operation whoami", "no agent can have that name"),
        ("--agent ci --operation kv.read", "--resource is refused"),
        ("--agent ci --operation kv.read --resource a/../b", "--resource is refused"),
        ("--agent ci --operation transit.sign --resource a/b", "--resource is refused"),
        ("--agent ci --operation kms.sign", "there is no default"),
        ("--agent ci --operation wrap.unwrap", "ask about that one"),
        ("--agent ci --operation kv.read --resource x --ttl 1h", "for SSH and PKI only"),
        ("--agent ci --operation pki.issue --resource x --principal y", "for SSH only"),
        ("--agent ci --operation ssh.sign --resource ops --shared", "for secrets only"),
        ("--agent ci --operation kv.read --resource x --scopes sing", "each is one of read, write, delete, list"),
        ("--agent ci --operation pki.issue --resource x --ttl long", "a duration"),
        ("--operation whoami", "--agent"),
    ] {
        let (code, text) = ask(folder.path(), line);
        assert!(code == Some(2) && text.contains(told), "{line}: {code:?} {text}");
    }
    let broken = folder_with("config.toml", "[roles.a]\nscopes = [\"sing\"]\n");
    let (code, text) = ask(broken.path(), "--agent a --operation whoami");
    assert!(code == Some(2) && text.contains("config.toml:2"), "{code:?} {text}");
}

fn explained_and_done(shared: &Shared) {
    let gate = shared.gate();
    let reader = gate.agent("agent_jwt");
    for (operation, resource, status) in [
        ("kv.read", "public/none", reader.get("/secrets/public/none").status),
        ("kv.read", "private/none", reader.get("/secrets/private/none").status),
        ("kv.list", "public", reader.get("/secrets?prefix=public").status),
        ("kv.list", "private", reader.get("/secrets?prefix=private").status),
        ("kv.write", "public/none", reader.put("/secrets/public/none", &json!({"data": {}})).status),
        ("transit.random", "", reader.get("/transit/random").status),
    ] {
        let mut line = format!("--agent agent_jwt --operation {operation}");
        if !resource.is_empty() {
            line += &format!(" --resource {resource}");
        }
        let (code, text) = ask(gate.folder(), &line);
        let allowed = matches!(status, 200 | 404);
        assert!(allowed || status == 403, "{line}: {status}");
        assert_eq!(code, Some(i32::from(!allowed)), "{line}: the gate answers {status}; {text}");
    }
}

/// The exit code, and the difference of two configurations as it is printed.
fn difference(old: &str, new: &str) -> (Option<i32>, String) {
    let folder = folder_with("old.toml", old);
    fs::write(folder.path().join("new.toml"), new).expect("a file");
    said(&run(folder.path(), &["diff", "old.toml", "new.toml"], &[]))
}

fn diff(_: &Shared) {
    let key = "7e9f8fd111802be56c379d597842e29b2cebd35ff2133d431a49fa556a18704e";
    let old = format!(
        "{POLICY}\n[agents.gone]\nroles = [\"reader\"]\napi_keys = [{{ sha256 = \"{key}\", expires = \"2030-01-31T00:00:00Z\" }}]\n"
    );
    assert_eq!(difference(&old, &old), (Some(0), "no agent would gain or lose anything\n".to_owned()));
    let described = old
        .replace("[roles.deployer]", "[roles.deployer]\nabout = \"deploys\"")
        .replace("\"deploy-*\"", "{ name = \"deploy-*\", about = \"signs manifests\" }");
    let nothing = difference(&old, &described);
    assert_eq!(nothing, (Some(0), "no agent would gain or lose anything\n".to_owned()), "a description is no right");
    let new = POLICY
        .replace("scopes = [\"read\", \"write\"]", "scopes = [\"read\", \"delete\"]")
        .replace("transit = [\"deploy-*\"]", "transit = [\"deploy-*\", \"x\"]")
        .replace("max_ttl = \"1h\"", "max_ttl = \"2h\"")
        .replace("deny = [\"builds/signing/**\"]", "rate = { requests = 10, per = \"10s\" }");
    let new =
        format!("{new}\n[agents.come]\njwt = {{ subject = \"Come\" }}\n[[identity.families]]\ncn = \"x-{{name}}\"\n");
    let (code, text) = difference(&old, &new);
    assert_eq!(code, Some(1), "{text}");
    let told = |whose: &str| {
        let (_, after) =
            text.split_once(&format!("{whose}\n")).unwrap_or_else(|| panic!("{whose} is not told: {text}"));
        after.lines().take_while(|line| line.starts_with("  ")).map(|line| &line[2..]).collect::<Vec<_>>()
    };
    assert_eq!(told("every agent"), ["+ family cn = \"x-{name}\", agent = \"{name}\""]);
    assert_eq!(
        told("agent ci"),
        [
            "- database \"readonly\" (wrapped only): write",
            "- kv \"apps/*/config\" (wrapped only): write",
            "- kv \"builds/**\" (wrapped only): write",
            "- shared \"team/**\" (wrapped only): write",
            "- ssh \"ops\" (wrapped only, for 3600s at most, users [deploy]): read, write",
            "- transit \"deploy-*\" (wrapped only): write",
            "- denied: kv \"builds/signing/**\"",
            "- limit of all requests: 60 at once, then one each 1s",
            "+ database \"readonly\" (wrapped only): delete",
            "+ kv \"apps/*/config\" (wrapped only): delete",
            "+ kv \"builds/**\" (wrapped only): delete",
            "+ shared \"team/**\" (wrapped only): delete",
            "+ ssh \"ops\" (wrapped only, for 7200s at most, users [deploy]): read, delete",
            "+ transit \"deploy-*\" (wrapped only): delete",
            "+ transit \"x\" (wrapped only): read, delete",
            "+ limit of all requests: 10 at once, then one each 1s",
            "+ limit of role deployer: 10 at once, then one each 1s",
        ]
    );
    assert_eq!(
        told("agent gone (gone)"),
        [
            "- generation 1",
            "- roles, in this order: reader",
            "- kv \"**\": read, list",
            "- transit.random",
            "- api key sha256 7e9f8fd11180…, until 2030-01-31T00:00:00Z",
            "- limit of all requests: 60 at once, then one each 1s",
        ]
    );
    assert!(told("agent come (new)").contains(&"+ jwt subject \"Come\""), "{text}");
    assert!(!text.contains(&key[..16]) && !text.contains("agent nobody"), "{text}");
    let shown = |tools: &str| POLICY.replace("[roles.reader]\n", &format!("[roles.reader]\ntools = {tools}\n"));
    let (_, text) = difference(&shown("[\"kv_read\"]"), &shown("[\"kv.r*\", \"whoami\"]"));
    let lines =
        ["- tools that MCP shows by role reader: kv.read", "+ tools that MCP shows by role reader: kv.read, whoami"];
    assert_eq!(text, format!("agent ci\n  {}\n  {}\n", lines[0], lines[1]));
    let issuer = |more: &str| {
        let key = format!("hs256_secret = \"{SECRET}\"\n{more}");
        format!(
            "[[identity.issuers]]\nname = \"https://idp.example\"\naudiences = [\"gate\"]\n{key}\n\
             [agents.bound]\njwt = {{ subject = \"B\" }}\n"
        )
    };
    let (_, text) = difference(&issuer(""), &issuer("binding = \"dpop\""));
    assert_eq!(
        text.lines().filter(|line| line.contains("jwt")).collect::<Vec<_>>(),
        [
            "  - jwt subject \"B\" of \"https://idp.example\"",
            "  + jwt subject \"B\" of \"https://idp.example\", bound to a key",
        ],
        "{text}"
    );
    let narrower =
        old.replace("kv = [\"**\"]", "kv = [\"a/**\"]").replace("transit = [\"deploy-*\"]", "transit = [\"deploy-1\"]");
    for (one, other, lines) in [
        (&old, &narrower, ["- kv \"**\": read, list\n", "+ kv \"a/**\": read, list, covered by \"**\"\n"]),
        (&narrower, &old, ["- kv \"a/**\": read, list, covered by \"**\"\n", "+ kv \"**\": read, list\n"]),
        (
            &old,
            &narrower,
            [
                "- transit \"deploy-*\" (wrapped only)",
                "+ transit \"deploy-1\" (wrapped only): read, write, covered by \"deploy-*\"\n",
            ],
        ),
    ] {
        let (_, text) = difference(one, other);
        assert!(lines.iter().all(|line| text.contains(line)), "{lines:?}: {text}");
    }
    let (code, text) = difference(&old, "[roles.a]\nscopes = [\"sing\"]\n");
    assert!(code == Some(2) && text.contains("new.toml:2") && !text.contains("old.toml:"), "{code:?} {text}");
}

const SECRET: &str = "a-shared-secret-of-the-tests-that-is-long-enough";

/// A token that `portcullis jwt` prints in `folder`, and what it says of it.
fn mint(folder: &Path, line: &str, environment: &[(&str, &str)]) -> (String, String) {
    let arguments: Vec<&str> = ["jwt", "--config", "config.toml"].into_iter().chain(line.split(' ')).collect();
    let output = run(folder, &arguments, environment);
    let [token, said] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{line}: {said}");
    (token.trim_end().to_owned(), said)
}

fn tokens(shared: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let make = || said(&run(folder.path(), &["jwt", "keys", "--out", "in/keys", "--algorithm", "RS256"], &[]));
    assert_eq!(make(), (Some(0), String::new()));
    let (code, text) = make();
    assert!(code == Some(1) && text.contains("private.pem"), "nothing is overwritten: {code:?} {text}");
    let at = |name: &str| folder.path().join("in/keys").join(name);
    let mode = |path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(at("private.pem")), mode(folder.path().join("in/keys"))), (0o600, 0o700));
    let base = Plan::default();
    let plan = Plan {
        top: format!("{}environment = \"development\"\njwt_jwks_file = {:?}\n", base.top, at("jwks.json")),
        sections: AGENTS.replace("[agents.agent_jwt]\n", "[agents.agent_jwt]\njwt = { subject = \"reader@corp\" }\n"),
        environment: vec![("JWT_HS256_SECRET", SECRET.to_owned())],
        ..base
    };
    let gate = Gate::start(shared.world(), &plan);
    let shared_secret = [("JWT_HS256_SECRET", SECRET)];
    let keyed = format!("--key {}", at("private.pem").display());
    fs::write(gate.folder().join("secret"), format!("{SECRET}\n")).expect("a file");
    for (line, environment) in
        [("--ttl 5m", &shared_secret[..]), (keyed.as_str(), &[]), ("--hs256-secret-file secret", &shared_secret)]
    {
        let (token, said) =
            mint(gate.folder(), &format!("--subject reader@corp --scopes read,list {line}"), environment);
        assert_eq!(said, "", "{line}");
        let bearer = gate.local().with("Authorization", &format!("Bearer {token}"));
        let me = bearer.get("/whoami").json();
        assert_eq!(
            (&me["agent"], &me["proof"], &me["scopes"]),
            (&json!("agent_jwt"), &json!("jwt"), &json!(["read", "list"])),
            "{line}"
        );
        assert_eq!(bearer.get("/secrets?prefix=public").status, 200, "{line}");
    }
    // A key by its name, which an issuer of many needs.
    for (line, kid) in [("", None), ("--kid dev", Some("dev"))] {
        let line = format!("--subject reader@corp {line}");
        let (token, _) = mint(gate.folder(), line.trim_end(), &shared_secret);
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        assert_eq!(header["kid"].as_str(), kid, "{header}");
        let bearer = gate.local().with("Authorization", &format!("Bearer {token}"));
        assert_eq!(bearer.get("/whoami").json()["subject"], "agent_jwt");
    }
    // What the gate does not take is told, and not taken.
    for (line, told) in [
        ("--subject reader@corp --audience others", "another audience"),
        ("--subject reader@corp --issuer others", "another issuer"),
        ("--subject somebody", "no agent"),
    ] {
        let (token, said) = mint(gate.folder(), line, &shared_secret);
        assert!(said.contains(told), "{line}: {said}");
        assert_eq!(gate.local().with("Authorization", &format!("Bearer {token}")).get("/whoami").status, 401, "{line}");
    }
}

fn no_tokens(_: &Shared) {
    let folder = folder_with("config.toml", "");
    fs::write(folder.path().join("dev.toml"), "environment = \"development\"\n").expect("a file");
    fs::write(folder.path().join("short"), "short\n").expect("a file");
    fs::write(folder.path().join("empty"), "\n").expect("a file");
    let secret = [("JWT_HS256_SECRET", SECRET)];
    for (line, environment, told) in [
        ("--subject a", &secret[..], "for development only"),
        ("--subject a --hs256-secret-file short", &[], "for development only"),
        ("--subject a --config dev.toml", &[], "nothing to sign with"),
        ("--subject a --config dev.toml --hs256-secret-file empty", &[], "the shared secret is empty"),
        ("--subject a --config dev.toml --key short", &[], "no private key"),
        ("--subject a --config dev.toml --key missing", &[], "cannot be read"),
        ("--subject a --config dev.toml --scopes sing", &secret, "each is one of read, write, delete, list"),
        ("--config dev.toml", &secret, "--subject"),
    ] {
        let arguments: Vec<&str> = ["jwt"].into_iter().chain(line.split(' ')).collect();
        let output = run(folder.path(), &arguments, environment);
        let (code, text) = said(&output);
        assert!(code == Some(2) && text.contains(told) && output.stdout.is_empty(), "{line}: {code:?} {text}");
        assert!(!text.contains(SECRET), "{line}: {text}");
    }
    let (token, _) = mint(folder.path(), "--subject a", &[secret[0], ("APP_ENV", "development")]);
    assert_eq!(token.split('.').count(), 3, "the variable says so too");
}

fn schema(_: &Shared) {
    let output = run(&root(), &["schema"], &[]);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    jsonschema::meta::validate(&schema).expect("a schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let toml = |text: &str| toml::from_str::<Value>(text).expect("TOML");
    for name in ["dev.toml", "example.toml"] {
        let text = fs::read_to_string(root().join("config").join(name)).expect("text");
        let problems: Vec<_> = validator.iter_errors(&toml(&text)).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
    assert!(validator.is_valid(&toml(POLICY)));
    assert!(validator.is_valid(&toml("LOG_LEVEL = \"DEBUG\"\nadmin.address = \"off\"\n[limits]\nbody = 2048\n")));
    // What the schema refuses, the gate does too.
    for text in [
        "vualt_addr = \"http://localhost:8200\"",
        "port = 70000",
        "port = \"8089\"",
        "reload = \"true\"",
        "log_level = \"loud\"",
        "vault_token = \"a b\"",
        "child_token_ttl = \"soon\"",
        "[roles.a]\nscopes = [1]",
        "[roles.a]\nscopes = [\"read\"]\nkvs = [\"**\"]",
        "[roles.a]\nscopes = [\"read\"]\nrate = { request = 1 }",
        "[roles.a]\nscopes = [\"read\"]\ntransit = [{ nam = \"x\" }]",
        "[agents.a]\napi_keys = [{ sha = \"x\" }]",
        "[agents.a]\ncertificate = { cn = \"\" }",
        "[limits]\nfailed_authentications = { requests = 0 }",
        "[[listeners]]\naddress = \"127.0.0.1:1\"\ntls = { cert = \"x\" }",
    ] {
        assert!(!validator.is_valid(&toml(text)), "{text}");
        let folder = folder_with("config.toml", text);
        assert_eq!(run(folder.path(), &["check"], &[]).status.code(), Some(2), "{text}");
    }
}

const CANARY: &str = "cnry7x";

fn import(shared: &Shared) {
    let users = json!({"users": {
        "alice": {"jwt_created_at": CANARY, "jwt_expires_at": CANARY, "jwt_ttl_seconds": 60},
        "Bob": {"display_name": CANARY},
    }});
    let key = format!("{CANARY}-key");
    let folder = folder_with("users.json", &users.to_string());
    fs::write(folder.path().join("keys.json"), json!({&key: "Bob"}).to_string()).expect("a file");
    let output = run(folder.path(), &["import", "users.json", "--api-keys", "keys.json"], &[]);
    let [printed, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(0), "{told}");
    for words in
        ["users taken: 2; API keys taken: 1", "\"Bob\" becomes the agent `bob`", "the users' member `display_name`"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains(CANARY) && !told.contains("jwt_") && !printed.contains(CANARY), "{told}{printed}");
    fs::write(folder.path().join("config.toml"), &printed).expect("a file");
    let (code, text) = said(&run(folder.path(), &["check"], &[("JWT_HS256_SECRET", SECRET)]));
    assert!(code == Some(0) && !text.contains("principal"), "{text}");
    let base = Plan::default();
    let plan = Plan {
        top: format!("{}environment = \"development\"\n", base.top),
        sections: printed,
        environment: vec![("JWT_HS256_SECRET", SECRET.to_owned())],
        ..base
    };
    let gate = Gate::start(shared.world(), &plan);
    let bearer = |subject: &str| {
        let (token, said) = mint(
            gate.folder(),
            &format!("--subject {subject} --scopes read,write,list"),
            &[("JWT_HS256_SECRET", SECRET)],
        );
        (gate.local().with("Authorization", &format!("Bearer {token}")), said)
    };
    for (subject, agent) in [("alice", "alice"), ("Bob", "bob")] {
        let path = format!("secret/data/mcp/{agent}/imported");
        let (status, answer) = shared.world().ask("POST", &path, &json!({"data": {"of": subject}}));
        assert_eq!(status, 200, "{answer}");
        let (client, said) = bearer(subject);
        assert_eq!((said.as_str(), client.get("/whoami").json()["agent"].as_str()), ("", Some(agent)));
        assert_eq!(client.get("/secrets/imported").json()["data"]["of"], subject);
        assert_eq!(client.get("/secrets/imported?shared=true").status, 403);
    }
    let keyed = gate.local().with("X-API-Key", &key);
    assert_eq!(keyed.get("/secrets/imported").json()["data"]["of"], "Bob");
    for stranger in ["bob", "Alice", "eve"] {
        assert_eq!(bearer(stranger).0.get("/whoami").status, 401, "{stranger}");
    }
}

fn not_imported(_: &Shared) {
    let folder = folder_with("keys.json", &format!("{{\"{CANARY}\": \"alice\"}}"));
    let long = " ".repeat((16 << 20) + 1);
    for (users, code, told) in [
        (r#"{"alice": {}, "Alice": {}}"#, 2, "`alice`: [\"Alice\", \"alice\"]"),
        (&*format!("{{\"{CANARY}\": \"alice\"}}"), 2, "what is read is an object of subjects"),
        (&*format!("{{\"alice\": {{\"{CANARY}\": 1}}"), 2, "not JSON"),
        ("{}", 2, "nobody"),
        (&*long, 1, "larger than 16MiB"),
    ] {
        fs::write(folder.path().join("users.json"), users).expect("a file");
        let output = run(folder.path(), &["import", "users.json"], &[]);
        let (status, text) = said(&output);
        assert!(status == Some(code) && text.contains(told) && output.stdout.is_empty(), "{status:?} {text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    fs::write(folder.path().join("users.json"), r#"[{"subject": "alice"}]"#).expect("a file");
    for (line, code, told) in [
        ("missing.json", 1, "missing.json cannot be read"),
        ("users.json --api-keys missing.json", 1, "missing.json cannot be read"),
        ("users.json --api-keys users.json", 2, "users.json: it is no JSON map from API key to agent"),
        ("", 2, "<FILE>"),
    ] {
        let arguments: Vec<&str> =
            ["import"].into_iter().chain(line.split(' ').filter(|word| !word.is_empty())).collect();
        let (status, text) = said(&run(folder.path(), &arguments, &[]));
        assert!(status == Some(code) && text.contains(told), "{line}: {status:?} {text}");
    }
}

fn one_to_one(_: &Shared) {
    let subjects = collection::btree_set("[aA0._/ é\"\\\\-]{1,4}", 1..6);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    runner
        .run(&subjects, |subjects| {
            let list: Vec<Value> = subjects.iter().map(|subject| json!({"subject": subject})).collect();
            let text = serde_json::to_vec(&list).expect("JSON");
            let Ok(users) = Users::read(&text) else { return Ok(()) };
            let table: toml::Table = users.toml().parse().expect("TOML");
            let agents = table["agents"].as_table().expect("agents");
            let of_agents = agents.values().filter_map(|agent| agent["jwt"]["subject"].as_str());
            assert_eq!(of_agents.map(str::to_owned).collect::<BTreeSet<_>>(), subjects);
            assert!(agents.keys().all(|name| AgentId::parse(name).is_some()));
            // A name that somebody has is never given to another.
            assert!(
                agents
                    .iter()
                    .all(|(name, agent)| !subjects.contains(name) || agent["jwt"]["subject"].as_str() == Some(name))
            );
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
