//! The policies that are printed and written: real Vault holds an agent's
//! token to what the gate allows, no less and no more.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Command, Output};
use std::sync::Arc;

use filters::catalog;
use filters::decide::{DecisionContext, Effect, decide};
use filters::grants::{Agent, Role};
use filters::handle::Keyring;
use filters::identity::{Identity, Proof};
use filters::names::{AgentId, Namespace};
use filters::operation::Entry;
use filters::pattern::{NamePattern, PathPattern};
use filters::quota::Terms;
use filters::refusal::Refusal;
use filters::scope::{Scope, Scopes};
use portcullis::cli::policy::vault_policy::of_agent;
use portcullis::config::{self, Flags, Settings};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tests::process::binary;
use tests::{Audit, Gate, Plan, World, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("vault_allows_what_the_gate_allows_and_nothing_else", agreement),
    ("policies_are_shown_written_and_removed", sync),
    ("policies_of_roles_stand_beside_the_templated_one", templated),
    ("child_tokens_are_of_agents_entities_where_that_is_wanted", entities),
    ("policies_follow_the_configuration", watch),
    ("what_cannot_be_printed_is_told", refusals),
];

/// Grants whose patterns overlap in every way, as a configuration.
fn grants() -> impl Strategy<Value = String> {
    let segment = || select(vec!["a", "b", "*"]);
    let path = (prop::collection::vec(segment(), 0..3), any::<bool>()).prop_map(|(mut segments, open)| {
        if open || segments.is_empty() {
            segments.push("**");
        }
        segments.join("/")
    });
    let paths = || prop::collection::vec(path.clone(), 0..4);
    let names = || subsequence(vec!["*", "dep*", "deploy-*", "deploy", "deploy-1", "portcullis-*"], 0..3);
    let scopes = subsequence(vec!["read", "write", "delete", "list"], 1..=4);
    let role = (scopes, paths(), paths(), names(), names());
    prop::collection::vec(role, 1..4).prop_map(|roles| {
        let mut text = String::new();
        for (number, (scopes, kv, shared, transit, ssh)) in roles.iter().enumerate() {
            let _ = writeln!(
                text,
                "[roles.r{number}]\nscopes = {scopes:?}\nkv = {kv:?}\nshared = {shared:?}\ntransit = {transit:?}\nssh = {ssh:?}"
            );
        }
        let roles: Vec<String> = (0..roles.len()).map(|number| format!("r{number}")).collect();
        text + &format!("[agents.bob]\nroles = {roles:?}\n")
    })
}

/// Every operation on every one of a few things.
fn universe() -> Vec<(&'static Entry, String)> {
    let mut paths = vec![String::new()];
    for depth in 1..=3 {
        let before: Vec<String> =
            paths.iter().filter(|path| path.split('/').count() == depth - 1 || depth == 1).cloned().collect();
        for path in before {
            paths.extend(
                ["a", "b", "c"].map(|name| if path.is_empty() { name.into() } else { format!("{path}/{name}") }),
            );
        }
    }
    let paths: BTreeSet<String> = paths.into_iter().collect();
    let mut asked = Vec::new();
    let mut ask = |name: &str, arguments: Value| asked.push((catalog::find(name).expect(name), arguments.to_string()));
    for shared in [false, true] {
        for path in &paths {
            ask("kv.list", json!({"prefix": path, "shared": shared}));
            if path.is_empty() {
                continue;
            }
            ask("kv.read", json!({"path": path, "shared": shared}));
            ask("kv.write", json!({"path": path, "shared": shared, "data": {}}));
            ask("kv.patch", json!({"path": path, "shared": shared, "data": {}}));
            ask("kv.metadata", json!({"path": path, "shared": shared}));
            ask("kv.write_metadata", json!({"path": path, "shared": shared}));
            ask("kv.patch_metadata", json!({"path": path, "shared": shared}));
            ask("kv.delete", json!({"path": path, "shared": shared}));
            ask("kv.delete_versions", json!({"path": path, "shared": shared, "versions": [1]}));
            ask("kv.undelete", json!({"path": path, "shared": shared, "versions": [1]}));
            ask("kv.destroy", json!({"path": path, "shared": shared, "versions": [1]}));
        }
    }
    for key in ["dep", "deploy", "deploy-1", "deploy-12", "x"].into_iter().chain(OWN_KEYS) {
        ask("transit.encrypt", json!({"key": key, "plaintext": ""}));
        ask("transit.decrypt", json!({"key": key, "ciphertext": "c"}));
        ask("transit.generate_data_key", json!({"key": key}));
        ask("transit.hmac", json!({"key": key, "input": ""}));
        ask("ssh.sign", json!({"role": key, "public_key": "k"}));
        ask("ssh.otp", json!({"role": key, "ip": "::1", "username": "u"}));
    }
    ask("transit.random", json!({}));
    asked
}

pub(super) fn load(text: &str) -> Settings {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).expect("a file");
    let flags = Flags { config: Some(file), ..Flags::default() };
    config::load(&flags, &|_| None).unwrap_or_else(|report| panic!("{report}\n{text}"))
}

pub(super) fn identity(roles: Vec<Role>) -> Identity {
    let roles = roles.into_iter().map(|role| (Arc::new(role), None)).collect();
    let id = AgentId::parse("bob").expect("a name");
    let agent = Agent {
        id,
        generation: 1,
        namespace: Namespace::default(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles,
        limit: None,
        operations: Vec::new(),
        terms: Terms::default(),
    };
    Identity::new(Arc::new(agent), Scopes::ALL, Proof::Certificate)
}

/// The path that is asked of Vault, without `/v1/`, where the gate allows it.
fn asked(identity: &Identity, settings: &Settings, kind: &'static Entry, arguments: &str) -> Option<String> {
    let operation = kind.parse(arguments.as_bytes()).expect("arguments");
    let keyring = Keyring::default();
    let ground = DecisionContext { layout: &settings.layout, keyring: &keyring, client: None, now: 0 };
    let permit = match decide(identity, operation, ground).map_err(Refusal::from) {
        Ok(permit) => permit,
        Err(Refusal::Forbidden) => return None,
        Err(other) => panic!("{other:?}"),
    };
    match permit.into_permitted(&settings.layout, 60).expect("an effect").effect {
        Effect::Vault(request) | Effect::Issue(_, _, request) => {
            let request = request.rendered();
            let path = request.path().strip_prefix("/v1/").expect("a path").to_owned();
            Some(if request.method().name() == "LIST" { format!("{path}/") } else { path })
        }
        other => panic!("{other:?}"),
    }
}

/// One who may do everything, to learn what would be asked.
fn anybody() -> Identity {
    let every = || vec![NamePattern::parse("*").expect("a pattern")];
    identity(vec![Role {
        scopes: Scope::ALL.into_iter().collect(),
        kv: vec![PathPattern::EVERYTHING],
        shared: vec![PathPattern::EVERYTHING],
        named: [(catalog::TRANSIT, every()), (catalog::SSH, every())].into(),
        ..Role::default()
    }])
}

/// Transit keys of the gate's own.
const OWN_KEYS: [&str; 2] = ["portcullis-handles", "portcullis-notes"];

fn agreement(shared: &Shared) {
    let world = shared.world();
    let universe = universe();
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let audit = format!("[audit]\nstdout = true\nnames = \"clear\"\ncheckpoint_transit_key = \"{}\"\n", OWN_KEYS[1]);
    let agree = |text: String| {
        let text = text + &audit;
        let settings = load(&text);
        let hcl = of_agent(&settings, &AgentId::parse("bob").expect("a name")).expect("a policy");
        let held = capabilities(world, &hcl, &settings, &universe);
        let bob = identity(settings.roles.into_iter().skip(1).collect());
        let settings = load(&text);
        for ((kind, arguments), (path, held)) in universe.iter().zip(held) {
            let wanted: Vec<&str> = kind.spec.reach.may.iter().map(|capability| capability.name()).collect();
            if asked(&bob, &settings, kind, arguments).is_some() {
                let all = wanted.iter().all(|capability| held.iter().any(|h| h == capability));
                prop_assert!(all, "{path}: Vault holds {held:?}, {kind:?} needs {wanted:?}\n{hcl}");
            } else {
                let none = wanted.iter().all(|capability| held.iter().all(|h| h != capability));
                prop_assert!(none, "{path}: Vault holds {held:?}, {kind:?} is refused\n{hcl}");
            }
        }
        Ok(())
    };
    // Where a listing's slash is content for one product and not for the other.
    for (list, read) in [("*/*", "**"), ("*/*", "a/**"), ("*/*/*", "*/b"), ("a/*/*", "*/**")] {
        let role = |name, scope, path| format!("[roles.{name}]\nscopes = [\"{scope}\"]\nkv = [\"{path}\"]\n");
        let text = role("r0", "list", list) + &role("r1", "read", read) + "[agents.bob]\nroles = [\"r0\", \"r1\"]\n";
        agree(text).unwrap_or_else(|error| panic!("{error}"));
    }
    let outcome = runner.run(&grants(), agree);
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// The capabilities that Vault gives a token of the policy `hcl`, path by path.
fn capabilities(
    world: &World,
    hcl: &str,
    settings: &Settings,
    universe: &[(&'static Entry, String)],
) -> Vec<(String, Vec<String>)> {
    let (status, answer) = world.ask("PUT", "sys/policies/acl/agreement", &json!({"policy": hcl}));
    assert_eq!(status, 204, "{answer}\n{hcl}");
    let token = json!({"policies": ["agreement"], "no_default_policy": true, "ttl": "60s"});
    let (_, made) = world.ask("POST", "auth/token/create", &token);
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let anybody = anybody();
    // The gate never asks for its own keys' names on behalf of an agent.
    let path = |(kind, arguments): &(&'static Entry, String)| {
        asked(&anybody, settings, kind, arguments).unwrap_or_else(|| {
            let own = OWN_KEYS.into_iter().find(|key| arguments.contains(key)).expect("a key of the gate's");
            let path = asked(&anybody, settings, kind, &arguments.replace(own, "x")).expect("a path");
            format!("{}/{own}", path.strip_suffix("/x").expect("the key"))
        })
    };
    let paths: Vec<String> = universe.iter().map(path).collect();
    let (status, answer) = world.ask("POST", "sys/capabilities", &json!({"token": token, "paths": paths}));
    assert_eq!(status, 200, "{answer}");
    let held = |path: String| {
        let held = answer["data"][path.as_str()].as_array().expect("capabilities").iter();
        let held = held.map(|name| name.as_str().expect("a name").to_owned()).collect();
        (path, held)
    };
    paths.into_iter().map(held).collect()
}

/// A configuration whose policies, token roles and agents are this test's own.
pub(super) struct Own<'a> {
    world: &'a World,
    folder: tempfile::TempDir,
    name: &'static str,
}

impl<'a> Own<'a> {
    pub(super) fn new(world: &'a World, name: &'static str) -> Self {
        Self { world, folder: tempfile::tempdir().expect("a folder"), name }
    }

    pub(super) fn sections(&self, child: &str, agents: &str) -> String {
        let name = self.name;
        format!("[child_tokens]\nrole = \"{name}\"\n{child}\n[leases]\nrole = \"{name}-leases\"\n{agents}")
    }

    fn top(&self) -> String {
        let (prefix, token) = (self.name, self.world.vault.root_token());
        format!("rate_limit_enabled = false\nchild_token_policy_prefix = \"{prefix}-\"\nvault_token = \"{token}\"\n")
    }

    pub(super) fn write(&self, sections: &str) {
        let text = format!("vault_addr = \"{}\"\n{}{sections}", self.world.vault_address(), self.top());
        std::fs::write(self.folder.path().join("config.toml"), text).expect("a file");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("policy").args(arguments).args(["--config", "config.toml"]).env_clear();
        command.current_dir(self.folder.path());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("the command");
        let text = [stdout, stderr].concat();
        (status.code(), String::from_utf8(text).expect("text"))
    }

    fn policy(&self, name: &str) -> Option<String> {
        let (status, answer) = self.world.ask("GET", &format!("sys/policies/acl/{name}"), &Value::Null);
        (status == 200).then(|| answer["data"]["policy"].as_str().expect("a policy").to_owned())
    }

    pub(super) fn gate(&self, sections: &str) -> Gate {
        self.gate_with(sections, Vec::new())
    }

    pub(super) fn gate_with(&self, sections: &str, mut environment: Vec<(&'static str, String)>) -> Gate {
        // The AppRole would win over the token.
        environment.extend([("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())]);
        let sections = format!("{FAMILY}{sections}");
        Gate::start(self.world, &Plan { top: self.top(), sections, environment, ..Plan::default() })
    }
}

const FAMILY: &str = "[[identity.families]]\nspiffe = \"spiffe://portcullis.dev/agent/{name}\"\nagent = \"{name}\"\n";
const TWO: &str = "[roles.team]\nscopes = [\"read\", \"write\"]\nkv = [\"**\"]\nshared = [\"team/**\"]\n\
    [agents.ann]\nroles = [\"team\"]\n[agents.ben]\nroles = [\"team\"]\n";
const ONE: &str = "[roles.team]\nscopes = [\"read\", \"write\"]\nkv = [\"**\"]\nshared = [\"team/**\"]\n\
    deny = [\"secret/**\"]\n[agents.ann]\nroles = [\"team\"]\n";

fn sync(shared: &Shared) {
    let own = Own::new(shared.world(), "synced");
    let stranger = "sys/policies/acl/synced-by-hand";
    shared.world().ask("PUT", stranger, &json!({"policy": "path \"x\" { capabilities = [\"read\"] }"}));
    own.write(&own.sections("", TWO));
    let (code, shown) = own.run(&["--sync"]);
    assert_eq!(code, Some(3), "{shown}");
    for line in ["+ policy synced-ann", "+ policy synced-ben", "~ token role synced", "~ token role synced-leases"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert_eq!(own.policy("synced-ann"), None, "nothing is written unasked");
    assert_eq!(own.run(&["--sync", "--yes"]).0, Some(0));
    assert_eq!(own.run(&["--sync"]), (Some(0), "Vault is as the configuration has it\n".to_owned()));
    let (code, printed) = own.run(&["ann"]);
    assert_eq!((code, Some(printed)), (Some(0), own.policy("synced-ann")));

    // An agent's token made so does what it is to do.
    let gate = own.gate(&own.sections("", TWO));
    let ann = gate.agent("ann");
    assert_eq!(ann.put("/secrets/x", &json!({"data": {"a": 1}})).status, 200);
    assert_eq!(ann.put("/secrets/team/x?shared=true", &json!({"data": {"a": 1}})).status, 200);
    assert_eq!(gate.agent("ben").get("/secrets/team/x?shared=true").status, 200);

    own.write(&own.sections("", ONE));
    let (code, shown) = own.run(&["--sync", "--yes"]);
    assert!(
        code == Some(0) && shown.contains("- policy synced-ben") && shown.contains("~ policy synced-ann"),
        "{shown}"
    );
    assert!(shown.contains("+#   team: denies secret/** of the own namespace"), "{shown}");
    assert_eq!(own.policy("synced-ben"), None);
    assert!(own.policy("synced-by-hand").is_some(), "what somebody else wrote stays");
}

fn templated(shared: &Shared) {
    let own = Own::new(shared.world(), "templ");
    let child = "policies = \"templated\"\ntemplated_policy = \"templ-own\"";
    own.write(&own.sections(child, TWO));
    let (code, shown) = own.run(&["--sync", "--yes"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(own.policy("portcullis-roles-team").is_some() && own.policy("templ-own").is_some(), "{shown}");
    let gate = own.gate(&own.sections(child, TWO));
    let (ann, ben) = (gate.agent("ann"), gate.agent("ben"));
    assert_eq!(ann.put("/secrets/t", &json!({"data": {"a": 1}})).status, 200);
    assert_eq!(ann.put("/secrets/team/t?shared=true", &json!({"data": {"a": 2}})).status, 200);
    assert_eq!(ben.get("/secrets/team/t?shared=true").json()["data"]["a"], 2);
    assert_eq!(ben.get("/secrets/t").status, 404);
}

fn entities(shared: &Shared) {
    let (world, own) = (shared.world(), Own::new(shared.world(), "entities"));
    let audit = Audit::start(world, "entities");
    let agents = "[roles.team]\nscopes = [\"read\", \"write\"]\nkv = [\"**\"]\nssh = [\"otp\"]\n\
                  [agents.ann]\nroles = [\"team\"]\n";
    let otp = json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"});
    for (child, entity) in [("", false), ("entity_alias = true", true)] {
        own.write(&own.sections(child, agents));
        let (code, shown) = own.run(&["--sync", "--yes"]);
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("~ token role entities\n"), "{shown}");
        let gate = own.gate(&own.sections(child, agents));
        let ann = gate.agent("ann");
        assert_eq!(ann.put("/secrets/e", &json!({"data": {"a": 1}})).status, 200);
        assert_eq!(ann.post("/ssh/otp", &otp).status, 200);
        let expected = if entity { json!(world.entity("token", "ann")) } else { Value::Null };
        for path in ["secret/data/mcp/ann/e", "ssh/creds/otp"] {
            // Others ask this Vault as well.
            let told = audit.answers(path).into_iter().rfind(|line| line["auth"]["display_name"] == "token-ann");
            assert_eq!(told.expect("a line")["auth"]["entity_id"], expected, "{path}");
        }
    }
}

fn watch(shared: &Shared) {
    let own = Own::new(shared.world(), "watched");
    own.write(&own.sections("", TWO));
    let mut child =
        own.command(&["--sync", "--yes", "--watch"]).stdout(std::process::Stdio::null()).spawn().expect("it");
    wait_for("the first sync", 20, || own.policy("watched-ben").is_some());
    // What changes before the watch begins is noticed as well.
    own.write(&own.sections("", ONE));
    wait_for("the second sync", 20, || own.policy("watched-ben").is_none());
    child.kill().expect("its end");
    child.wait().expect("its end");
}

fn refusals(shared: &Shared) {
    let own = Own::new(shared.world(), "refused");
    own.write(&own.sections("", ONE));
    let (code, text) = own.run(&["nobody"]);
    assert!(code == Some(2) && text.contains("no agent of that name"), "{text}");
    let text = format!("vault_addr = \"{}\"\nvault_token = \"hvs.wrong\"\n", shared.world().vault_address());
    std::fs::write(own.folder.path().join("config.toml"), text).expect("a file");
    let (code, text) = own.run(&["--sync"]);
    assert!(code == Some(1) && text.contains("has not accepted the credentials"), "{text}");
    assert!(!text.contains("hvs.wrong"), "{text}");
}
