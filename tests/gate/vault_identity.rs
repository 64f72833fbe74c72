//! Vault is asked with what it gives for agents' own JWTs.

use std::fs;
use std::path::PathBuf;

use certs::Signer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::process::AGENTS;
use tests::{Audit, Client, Gate, Plan, World, wait_for};

use super::jwt::{bearer, claims};
use super::suspension::suspend_by_file;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("vault_is_asked_as_whom_the_token_is_about", person),
    ("a_token_is_exchanged_once_and_again_when_vault_forgets_it", once),
    ("a_caller_without_a_token_is_refused", without),
    ("a_token_that_vault_does_not_accept_is_403", refused),
    ("a_token_of_vaults_ends_with_the_callers", ends),
    ("a_token_of_vaults_that_makes_room_is_revoked", room),
    ("a_token_of_vaults_is_replaced_before_it_ends", replaced),
    ("a_suspended_agents_tokens_of_vaults_end", suspended),
    ("a_lease_has_a_token_of_the_persons_of_its_own", leases),
    ("each_issuers_tokens_go_to_the_mount_of_its_own", issuers),
];

/// The policy of everyone's role: less than the gate's grants.
const POLICY: &str = r#"
path "secret/data/mcp/+/open/*" { capabilities = ["create", "read", "update"] }
path "database/creds/readonly" { capabilities = ["read"] }
path "ssh/creds/otp" { capabilities = ["update"] }
"#;

/// An issuer, an auth method of Vault's that takes its tokens, and an audit of what Vault is asked.
struct House<'a> {
    world: &'a World,
    audit: Audit<'a>,
    folder: TempDir,
    key: Signer,
    /// Also the issuer's name.
    mount: &'static str,
}

impl<'a> House<'a> {
    /// `role` are further members of the auth method's role.
    fn new(world: &'a World, mount: &'static str, role: &Value) -> Self {
        let house = Self {
            world,
            audit: Audit::start(world, mount),
            folder: tempfile::tempdir().expect("a folder"),
            key: Signer::p256(mount).expect("a key"),
            mount,
        };
        let keys = json!({"keys": [house.key.jwk()]});
        fs::write(house.file("jwks.json"), keys.to_string()).expect("a file");
        house.set(&format!("sys/policies/acl/{mount}"), &json!({"policy": POLICY}));
        house.set(&format!("sys/auth/{mount}"), &json!({"type": "jwt"}));
        let config = json!({"jwt_validation_pubkeys": [house.key.pem().expect("a public key")], "bound_issuer": mount});
        house.set(&format!("auth/{mount}/config"), &config);
        house.role(role);
        house
    }

    fn role(&self, more: &Value) {
        let mut role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["mcp-agents"],
            "token_policies": [self.mount], "token_no_default_policy": true, "token_ttl": "1h"});
        more.as_object().expect("members").iter().for_each(|(name, value)| role[name] = value.clone());
        self.set(&format!("auth/{}/role/agents", self.mount), &role);
    }

    fn set(&self, path: &str, body: &Value) {
        let (status, answer) = self.world.ask("POST", path, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A gate that asks Vault with what it gives for this issuer's tokens.
    fn gate(&self) -> Gate {
        Gate::start(self.world, &self.plan(""))
    }

    fn plan(&self, vault: &str) -> Plan {
        let mount = self.mount;
        let vault =
            if vault.is_empty() { format!("mount = \"{mount}\"\nrole = \"agents\"\n") } else { vault.to_owned() };
        let family =
            format!("[[identity.families]]\njwt = \"{mount}:{{name}}\"\nissuer = \"{mount}\"\nagent = \"{{name}}\"\n");
        let vault = format!("[vault]\nidentity = \"jwt\"\n[vault.jwt]\n{vault}");
        let sections = format!("{AGENTS}\n{}{family}{vault}", self.issuer(""));
        // What would be told is told. The AppRole would win over the token.
        let environment =
            [("LOG_LEVEL", "trace"), ("RUST_LOG", "trace"), ("VAULT_ROLE_ID", ""), ("VAULT_SECRET_ID", "")];
        let environment = environment.map(|(name, value)| (name, value.to_owned())).into();
        let base = Plan::default();
        let top = format!("{}vault_token = \"{}\"\n", base.top, self.own_token());
        Plan { top, sections, environment, ..base }
    }

    /// A token of the gate's own, with which it makes none for anybody.
    fn own_token(&self) -> String {
        let path = |role: &str| format!("path \"auth/token/create/{role}\" {{ capabilities = [\"deny\"] }}\n");
        let denied = ["portcullis", "portcullis-templated", "portcullis-leases"].map(path).concat();
        self.set("sys/policies/acl/makes-no-tokens", &json!({"policy": denied}));
        let body = json!({"policies": ["portcullis-gate", "makes-no-tokens"], "no_default_policy": true, "ttl": "1h"});
        let (_, made) = self.world.ask("POST", "auth/token/create", &body);
        made["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    /// The issuer's table.
    fn issuer(&self, more: &str) -> String {
        let (name, file) = (self.mount, self.file("jwks.json"));
        format!(
            "[[identity.issuers]]
name = \"{name}\"
audiences = [\"mcp-agents\"]
leeway = \"0s\"
\
             jwks_file = \"{}\"
{more}",
            file.display()
        )
    }

    /// A token for `agent_mtls`, with these claims too.
    fn token(&self, changes: &Value) -> String {
        let iat = portcullis::vault::epoch_seconds();
        let mut all = json!({"iss": self.mount, "iat": iat, "sub": format!("{}:agent_mtls", self.mount)});
        changes.as_object().expect("claims").iter().for_each(|(name, value)| all[name] = value.clone());
        self.key.token(&claims(&all)).expect("a token")
    }

    fn caller(&self, gate: &Gate, changes: &Value) -> Client {
        bearer(gate.local(), &self.token(changes))
    }

    /// The tokens that Vault has given, in their order.
    fn given(&self) -> Vec<Given> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let logins = self.audit.answers(&format!("auth/{}/login", self.mount));
        let given = logins.iter().map(|line| &line["response"]["auth"]).filter(|auth| auth.is_object());
        given.map(|auth| Given { token: text(&auth["client_token"]), accessor: text(&auth["accessor"]) }).collect()
    }

    /// Nothing that the gate wrote has this JWT, or what Vault gave for any.
    fn unseen(&self, gate: &Gate, jwt: &str) {
        let log = gate.stderr() + &gate.log();
        let given = self.given();
        for token in given.iter().map(|given| given.token.as_str()).chain([jwt]) {
            assert!(!token.is_empty() && !log.contains(token), "{log}");
        }
    }
}

/// A token of Vault's.
struct Given {
    token: String,
    accessor: String,
}

fn is_live(world: &World, accessor: &str) -> bool {
    world.ask("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor})).0 == 200
}

fn write(client: &Client, path: &str) -> (u16, String) {
    let response = client.put(&format!("/secrets/{path}"), &json!({"data": {"a": 1}}));
    let code = if response.status < 300 { String::new() } else { response.code() };
    (response.status, code)
}

fn good() -> (u16, String) {
    (200, String::new())
}

fn denied(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

fn person(shared: &Shared) {
    let house = House::new(shared.world(), "people", &json!({}));
    let gate = house.gate();
    let token = house.token(&json!({}));
    let caller = bearer(gate.local(), &token);
    assert_eq!(write(&caller, "open/person"), good());
    let read = caller.call("kv.read", &json!({"path": "open/person"})).json();
    assert_eq!(read["result"]["structuredContent"]["data"]["a"], 1, "{read}");
    // Wrapped, it is opened for the agent with the wrapping token alone.
    let wrapped = bearer(gate.local(), &token).with("X-Vault-Wrap-TTL", "60s").get("/secrets/open/person").json();
    let opened = caller.post("/wrap/unwrap", &json!({"handle": wrapped["wrapped"]["handle"]}));
    assert_eq!(opened.json()["answer"]["data"]["a"], 1, "{wrapped} {opened:?}");
    // The gate's grants would allow it.
    assert_eq!(write(&caller, "closed/x"), denied("denied_by_vault"));

    let person = house.world.entity("people", "people:agent_mtls");
    let lines = house.audit.answers("secret/data/mcp/agent_mtls/open/person");
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(line["auth"]["entity_id"], json!(person), "{line}");
        assert_eq!(line["auth"]["display_name"], "people-people:agent_mtls");
        assert_eq!(line["auth"]["token_policies"], json!(["people"]));
    }
    // Another token of the same agent's is another of Vault's, of the same entity.
    assert_eq!(write(&house.caller(&gate, &json!({"jti": "2"})), "open/person-too"), good());
    let lines = house.audit.answers("secret/data/mcp/agent_mtls/open/person-too");
    assert_eq!(lines[0]["auth"]["entity_id"], json!(person));
    let given = house.given();
    assert!(given.len() == 2 && given[0].token != given[1].token);
    assert_eq!(gate.metric("portcullis_child_tokens_total{outcome=\"minted\"}"), 2.0);
    house.unseen(&gate, &token);
}

fn once(shared: &Shared) {
    let house = House::new(shared.world(), "once", &json!({}));
    let gate = house.gate();
    let caller = house.caller(&gate, &json!({}));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(caller.get("/secrets/open/none").status, 404));
        }
    });
    let [given] = &house.given()[..] else { panic!("{} logins", house.given().len()) };
    assert_eq!(gate.admin_client().get("/readyz").json()["vault"]["child_tokens"], 1);
    house.set("auth/token/revoke-accessor", &json!({"accessor": given.accessor}));
    assert_eq!(caller.get("/secrets/open/none").status, 404);
    assert_eq!(house.given().len(), 2, "one new token, one retry");
    assert_eq!(write(&caller, "closed/x"), denied("denied_by_vault"));
    assert_eq!(house.given().len(), 2, "a path that is denied is no reason for another");
}

fn without(shared: &Shared) {
    let house = House::new(shared.world(), "without", &json!({}));
    let gate = house.gate();
    let otp = json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"});
    for caller in [gate.agent("agent_mtls"), gate.keyed()] {
        assert_eq!(write(&caller, "open/x"), denied("token_required"));
        let listed = caller.call("kv.list", &json!({})).json();
        assert_eq!(listed["result"]["structuredContent"]["error"], "token_required", "{listed}");
        assert_eq!(caller.post("/db/creds/readonly", &json!({})).code(), "token_required");
        assert_eq!(caller.post("/ssh/otp", &otp).code(), "token_required");
        assert_eq!(caller.get("/whoami").status, 200, "what Vault is not asked for");
    }
    let outcome = |name: &str| gate.metric(&format!("portcullis_child_tokens_total{{outcome=\"{name}\"}}"));
    assert_eq!((outcome("minted"), outcome("failed")), (0.0, 0.0));
    // A certificate beside the token changes nothing.
    assert_eq!(write(&bearer(gate.agent("agent_mtls"), &house.token(&json!({}))), "open/x"), good());
}

fn refused(shared: &Shared) {
    let house = House::new(shared.world(), "picky", &json!({"bound_claims": {"team": "red"}}));
    let gate = house.gate();
    let token = house.token(&json!({}));
    let caller = bearer(gate.local(), &token);
    assert_eq!(write(&caller, "open/x"), denied("login_denied_by_vault"));
    let told = caller.call("kv.read", &json!({"path": "open/x"}));
    assert_eq!(told.json()["result"]["structuredContent"]["error"], "login_denied_by_vault");
    assert!(gate.stderr().contains("a claim is not what the role wants"), "{}", gate.stderr());
    let red = json!({"team": "red"});
    assert_eq!(write(&house.caller(&gate, &red), "open/x"), good());
    house.unseen(&gate, &token);
    for (login, status, code, why) in [
        ("mount = \"picky\"\nrole = \"nobody\"\n", 403, "login_denied_by_vault", "there is no such role"),
        ("mount = \"nowhere\"\n", 403, "login_denied_by_vault", "Vault does not accept the agent's JWT"),
    ] {
        let gate = Gate::start(house.world, &house.plan(login));
        assert_eq!(write(&house.caller(&gate, &red), "open/x"), (status, code.to_owned()));
        assert!(gate.stderr().contains(why), "{}", gate.stderr());
    }
    // From elsewhere than the role's addresses nobody logs in.
    house.role(&json!({"token_bound_cidrs": ["127.0.0.0/8"]}));
    assert_eq!(write(&house.caller(&gate, &red), "open/x"), good());
    house.role(&json!({"token_bound_cidrs": ["10.0.0.0/8"]}));
    assert_eq!(write(&house.caller(&gate, &red), "open/x"), denied("login_denied_by_vault"));
}

fn ends(shared: &Shared) {
    let house = House::new(shared.world(), "ending", &json!({}));
    let gate = house.gate();
    let end = portcullis::vault::epoch_seconds() + 5;
    let caller = house.caller(&gate, &json!({"exp": end}));
    assert_eq!(write(&caller, "open/x"), good());
    let [given] = &house.given()[..] else { panic!("one login") };
    wait_for("the caller's token ends", 20, || caller.get("/secrets/open/x").status == 401);
    wait_for("Vault's token is revoked", 20, || !is_live(house.world, &given.accessor));
}

fn room(shared: &Shared) {
    let house = House::new(shared.world(), "narrow", &json!({}));
    let plan = house.plan("");
    let sections = format!("{}[child_tokens]\ncapacity = 1\n", plan.sections);
    let gate = Gate::start(house.world, &Plan { sections, ..plan });
    let [first, second] = ["1", "2"].map(|id| house.caller(&gate, &json!({"jti": id})));
    assert_eq!(write(&first, "open/x"), good());
    assert_eq!(write(&second, "open/x"), good());
    let [old, new] = &house.given()[..] else { panic!("two logins") };
    wait_for("the old one is revoked", 20, || !is_live(house.world, &old.accessor));
    assert!(is_live(house.world, &new.accessor));
    assert_eq!(write(&first, "open/x"), good());
}

fn replaced(shared: &Shared) {
    let house = House::new(shared.world(), "brief", &json!({"token_ttl": "4s", "token_max_ttl": "4s"}));
    let gate = house.gate();
    let caller = house.caller(&gate, &json!({}));
    wait_for("the third login", 30, || {
        assert_eq!(write(&caller, "open/x"), good());
        house.given().len() >= 3
    });
    assert_eq!(gate.metric("portcullis_child_tokens_total{outcome=\"replaced\"}"), 0.0, "before Vault refuses it");
}

fn suspended(shared: &Shared) {
    let house = House::new(shared.world(), "kill", &json!({}));
    let mut gate = house.gate();
    let caller = house.caller(&gate, &json!({}));
    let other = house.caller(&gate, &json!({"sub": "kill:agent_api"}));
    assert_eq!(write(&caller, "open/x"), good());
    assert_eq!(write(&other, "open/x"), good());
    let [given, others] = &house.given()[..] else { panic!("two logins") };
    suspend_by_file(&gate, "agent_mtls", true);
    assert_eq!(write(&caller, "open/x"), denied("suspended"));
    wait_for("Vault's token is revoked", 20, || !is_live(house.world, &given.accessor));
    assert!(is_live(house.world, &others.accessor));
    assert_eq!(write(&other, "open/x"), good());
    assert_eq!(gate.terminate(), Some(0));
    assert!(!is_live(house.world, &others.accessor), "what is held is dropped at the end");
}

fn leases(shared: &Shared) {
    let server = shared.postgres();
    let house = House::new(shared.world(), "leasing", &json!({"token_ttl": "30m"}));
    let gate = house.gate();
    let caller = house.caller(&gate, &json!({}));
    let ask = || {
        let answer = caller.post("/db/creds/readonly", &json!({}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let [login, other] = [ask(), ask()];
    let logs_in = |login: &Value| {
        let text = |member: &str| login[member].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
        server.can_log_in(&text("username"), &text("password"))
    };
    assert!(logs_in(&login) && logs_in(&other));
    let lasts = login["lease_duration"].as_u64().expect("seconds");
    assert!((1700..=1800).contains(&lasts), "no longer than its token: {lasts}");
    let person = house.world.entity("leasing", "leasing:agent_mtls");
    // Others ask this Vault as well.
    let mut lines = house.audit.answers("database/creds/readonly");
    lines.retain(|line| line["auth"]["entity_id"] == json!(person));
    let given = house.given();
    let accessors: Vec<_> = lines.iter().map(|line| line["auth"]["accessor"].as_str()).collect();
    assert_eq!(accessors, [Some(given[0].accessor.as_str()), Some(given[1].accessor.as_str())]);

    // So has a one-time password.
    let otp = json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"});
    assert_eq!(caller.post("/ssh/otp", &otp).status, 200);
    assert_eq!(house.given().len(), 3);

    let lease = json!({"lease_id": login["lease_id"]});
    assert_eq!(caller.post("/db/renew", &lease).status, 200);
    assert_eq!(caller.post("/db/revoke", &lease).status, 200);
    assert!(!logs_in(&login) && logs_in(&other));
    assert!(!is_live(house.world, &given[0].accessor));
    suspend_by_file(&gate, "agent_mtls", true);
    wait_for("its lease has ended", 20, || !logs_in(&other));

    // With tokens that cannot be revoked there is no lease.
    house.role(&json!({"token_type": "batch"}));
    suspend_by_file(&gate, "agent_mtls", false);
    assert_eq!(caller.post("/db/creds/readonly", &json!({})).code(), "upstream_nonsense");
    assert!(gate.stderr().contains("Vault gives a batch token"), "{}", gate.stderr());
    assert_eq!(write(&caller, "open/x"), good());
}

fn issuers(shared: &Shared) {
    let [one, two] = ["first", "second"].map(|mount| House::new(shared.world(), mount, &json!({})));
    let second = two.issuer("vault_mount = \"second\"\nvault_role = \"agents\"\n");
    let bob = "[agents.bob]\nroles = [\"all\"]\njwt = { subject = \"second:bob\", issuer = \"second\" }\n";
    let plan = one.plan("");
    let gate = Gate::start(shared.world(), &Plan { sections: format!("{}{second}{bob}", plan.sections), ..plan });
    assert_eq!(write(&one.caller(&gate, &json!({})), "open/x"), good());
    assert_eq!((one.given().len(), two.given().len()), (1, 0));
    assert_eq!(write(&two.caller(&gate, &json!({"sub": "second:bob"})), "open/x"), good());
    assert_eq!((one.given().len(), two.given().len()), (1, 1));
}
