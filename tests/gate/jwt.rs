//! Bearer tokens at the running gate.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, path::PathBuf};

use certs::{Leaf, Signer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, Response, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_token_of_each_algorithm_is_its_subjects_agent", algorithms),
    ("a_token_that_does_not_hold_is_401_and_says_nothing_else", hostile),
    ("a_scope_the_token_lacks_is_403_with_a_challenge", scopes),
    ("a_subject_becomes_an_agent_by_entry_or_family", subjects),
    ("a_token_and_a_certificate_name_the_same_agent", certificate),
    ("a_bound_token_needs_its_certificate", binding),
    ("the_file_of_keys_is_rotated_while_the_gate_runs", rotation),
    ("a_token_without_the_name_of_its_key_among_many_is_told_of", many_keys),
    ("tokens_that_do_not_hold_are_limited_by_source", failures),
    ("a_token_is_not_looked_at_where_it_is_switched_off", switches),
];

const SECRET: &str = "a-shared-secret-of-the-tests-that-is-long-enough";

/// An issuer: its keys, and the file of the public ones.
struct Issuer {
    folder: TempDir,
    keys: Vec<Signer>,
}

impl Issuer {
    fn new() -> Self {
        let keys = [Signer::p256("ec"), Signer::ed25519("ed"), Signer::p384("ec384"), Signer::rsa("rsa")];
        let keys = keys.map(|key| key.expect("a key"));
        let issuer = Self { folder: tempfile::tempdir().expect("a folder"), keys: keys.into() };
        issuer.publish(&issuer.keys.iter().collect::<Vec<_>>());
        issuer
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// Puts a new file in place of the old one, as Kubernetes does.
    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.write(&json!({ "keys": keys }).to_string());
    }

    fn write(&self, text: &str) {
        let beside = self.folder.path().join("jwks.json.new");
        fs::write(&beside, text).expect("a file");
        fs::rename(&beside, self.file()).expect("in its place");
    }

    /// A gate that believes it.
    fn plan(&self) -> Plan {
        let entry = "[agents.agent_jwt]\njwt = { subject = \"reader@corp\" }\n";
        let family = "[[identity.families]]\njwt = \"svc:{name}\"\nagent = \"{name}\"\n";
        let base = Plan::default();
        Plan {
            top: format!("{}jwt_jwks_file = \"{}\"\nreload = true\n", base.top, self.file().display()),
            sections: format!("{}{family}", AGENTS.replace("[agents.agent_jwt]\n", entry)),
            environment: vec![("JWT_HS256_SECRET", SECRET.to_owned())],
            ..base
        }
    }

    /// The first of its keys.
    fn key(&self) -> &Signer {
        &self.keys[0]
    }

    fn token(&self, changes: &Value) -> String {
        self.key().token(&claims(changes)).expect("a token")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A token of `agent_mtls` by its issuer, with these members instead;
/// `null` takes one away.
pub(super) fn claims(changes: &Value) -> Value {
    let mut claims = json!({"iss": "mcp-auth", "aud": "mcp-agents", "sub": "svc:agent_mtls", "exp": now() + 600,
        "scope": "read write delete list"});
    for (name, value) in changes.as_object().expect("changes") {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().expect("claims").remove(name);
        }
    }
    claims
}

pub(super) fn bearer(client: Client, token: &str) -> Client {
    client.with("Authorization", &format!("Bearer {token}"))
}

/// Who the gate says it is, by which proof.
pub(super) fn whoami(client: &Client) -> (u16, String, String) {
    let response = client.get("/whoami");
    let told = response.json();
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    (response.status, text("agent"), text("proof"))
}

pub(super) fn is_agent(client: &Client, agent: &str) {
    assert_eq!(whoami(client), (200, agent.to_owned(), "jwt".to_owned()));
}

fn is_nobody(response: &Response, what: &str) {
    let mut told = response.json();
    told.as_object_mut().expect("an object").remove("request_id");
    let expected = json!({"error": "unauthenticated", "detail": "A valid credential is required."});
    assert_eq!((response.status, &told), (401, &expected), "{what}");
    let challenge = response.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer realm=\"portcullis\", error=\"invalid_token\", "), "{what}: {challenge}");
}

fn algorithms(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &issuer.plan());
    let hmac = Signer::shared(SECRET.as_bytes());
    for key in issuer.keys.iter().chain([&hmac]) {
        let client = bearer(gate.local(), &key.token(&claims(&json!({}))).expect("a token"));
        is_agent(&client, "agent_mtls");
        let path = format!("/secrets/jwt/{}", key.algorithm());
        assert_eq!(client.put(&path, &json!({"data": {"v": 1}})).status, 200, "{key:?}");
        let read = client.call("kv.read", &json!({"path": path.trim_start_matches("/secrets/")})).json();
        assert_eq!(read["result"]["structuredContent"]["data"]["v"], 1, "{read}");
        assert_eq!(gate.agent("agent_mtls").get(&path).status, 200, "it is the agent's own namespace");
    }
}

fn many_keys(shared: &Shared) {
    let issuer = Issuer::new();
    let others: Vec<_> = (0..8).map(|n| Signer::p256(&format!("other{n}")).expect("a key")).collect();
    issuer.publish(&others.iter().chain([issuer.key()]).collect::<Vec<_>>());
    let gate = Gate::start(shared.world(), &issuer.plan());
    let header = json!({"alg": "ES256"}).to_string();
    let unnamed = issuer.key().token_of(&header, &claims(&json!({})).to_string()).expect("a token");
    assert_eq!(bearer(gate.local(), &unnamed).get("/whoami").status, 401);
    is_agent(&bearer(gate.local(), &issuer.token(&json!({}))), "agent_mtls");
    wait_for("the log tells", 10, || gate.stderr().contains("a token without `kid` is not tried with all keys"));
}

/// Tokens by what is wrong with them.
fn bad_tokens(issuer: &Issuer) -> Vec<(String, String)> {
    let header = json!({"alg": "ES256", "kid": "ec"});
    let good = claims(&json!({})).to_string();
    let signed = |changes: Value| issuer.token(&changes);
    let headed = |changes: Value| {
        let mut header = header.clone();
        changes.as_object().expect("changes").iter().for_each(|(name, value)| header[name] = value.clone());
        issuer.key().token_of(&header.to_string(), &good).expect("a token")
    };
    let stranger = Signer::p256("ec").expect("a key");
    let public = issuer.keys[3].jwk()["n"].as_str().expect("a modulus").to_owned();
    let confused = Signer::shared(public.as_bytes()).token(&claims(&json!({}))).expect("a token");
    let token = signed(json!({}));
    let (message, signature) = token.rsplit_once('.').expect("parts");
    let twice = good.replacen('{', "{\"sub\":\"svc:agent_api\",", 1);
    let list = [
        ("another's key", stranger.token(&claims(&json!({}))).expect("a token")),
        ("the public key as the secret", confused),
        ("alg none", headed(json!({"alg": "none"}))),
        ("no signature", format!("{message}.")),
        ("a cut signature", format!("{message}.{}", &signature[..40])),
        ("four parts", format!("{token}.{signature}")),
        ("padding", format!("{token}=")),
        ("an unknown kid", headed(json!({"kid": "gone"}))),
        ("crit", headed(json!({"crit": ["exp"]}))),
        ("its own key", headed(json!({"jwk": stranger.jwk()}))),
        ("a place of its keys", headed(json!({"jku": "http://127.0.0.1:1/jwks"}))),
        ("a place of its chain", headed(json!({"x5u": "http://127.0.0.1:1/chain"}))),
        ("a token of another kind", headed(json!({"typ": "logout+jwt"}))),
        ("a claim twice", issuer.key().token_of(&header.to_string(), &twice).expect("a token")),
        ("expired", signed(json!({"exp": now() - 3600}))),
        ("not valid yet", signed(json!({"nbf": now() + 3600}))),
        ("without an end", signed(json!({"exp": null}))),
        ("an end in words", signed(json!({"exp": "tomorrow"}))),
        ("without a subject", signed(json!({"sub": null}))),
        ("a subject in a list", signed(json!({"sub": ["svc:agent_mtls"]}))),
        ("an unknown subject", signed(json!({"sub": "somebody"}))),
        ("a subject that is a path", signed(json!({"sub": "svc:../agent_api"}))),
        ("another issuer", signed(json!({"iss": "evil"}))),
        ("no issuer", signed(json!({"iss": null}))),
        ("another audience", signed(json!({"aud": ["mcp-agent"]}))),
        ("no audience", signed(json!({"aud": null}))),
        ("bound to what is not checked", signed(json!({"cnf": {"jkt": "x"}}))),
        ("no token", "opaque".to_owned()),
    ];
    list.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
}

fn hostile(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &generous(issuer.plan()));
    is_agent(&bearer(gate.local(), &issuer.token(&json!({}))), "agent_mtls");
    let tokens = bad_tokens(&issuer);
    for (what, token) in &tokens {
        let client = bearer(gate.local(), token);
        is_nobody(&client.get("/secrets/x"), what);
        is_nobody(&client.call("kv.read", &json!({"path": "x"})), what);
        // Nor does a certificate help it.
        is_nobody(&bearer(gate.agent("agent_mtls"), token).get("/secrets/x"), what);
    }
    let large = issuer.token(&json!({"x": "a".repeat(14 << 10)}));
    assert!(matches!(bearer(gate.local(), &large).get("/whoami").status, 401 | 431));
    // A name that was proved is told, so that an operator can map it.
    let written = (gate.stderr() + &gate.log()).replace("\"principal\":\"svc:../agent_api\"", "");
    assert!(!written.contains("svc:") && tokens.iter().all(|(_, token)| !written.contains(token)), "{written}");
}

/// With room for many failures.
fn generous(plan: Plan) -> Plan {
    let more = "[limits]\nfailed_authentications = { requests = 100000, per = \"1s\" }\n";
    Plan { sections: format!("{}{more}", plan.sections), ..plan }
}

fn scopes(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &issuer.plan());
    let with = |changes: Value| bearer(gate.local(), &issuer.token(&changes));
    let reader = with(json!({"scope": "read"}));
    assert_eq!(reader.get("/secrets/absent").status, 404);
    let body = json!({"data": {"v": 1}});
    let challenge = "Bearer realm=\"portcullis\", error=\"insufficient_scope\", scope=\"write\"";
    for response in [
        reader.put("/secrets/x", &body),
        reader.call("kv.write", &json!({"path": "x", "data": {"v": 1}})),
        with(json!({"scope": null})).put("/secrets/x", &body),
        with(json!({"scope": null, "scopes": ["read", "list"]})).put("/secrets/x", &body),
    ] {
        assert_eq!((response.status, response.code().as_str()), (403, "insufficient_scope"));
        assert!(response.header("www-authenticate").is_some_and(|said| said.starts_with(challenge)));
    }
    assert_eq!(with(json!({"scope": null, "scopes": "write read"})).put("/secrets/x", &body).status, 200);
    // What the agent may not do no token brings.
    let narrow = with(json!({"sub": "reader@corp"}));
    let refused = narrow.put("/secrets/x", &body);
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    assert_eq!(refused.header("www-authenticate"), None);
}

fn subjects(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &issuer.plan());
    let of = |subject: &str| bearer(gate.local(), &issuer.token(&json!({"sub": subject})));
    is_agent(&of("reader@corp"), "agent_jwt");
    is_agent(&of("svc:agent_api"), "agent_api");
    for nobody in ["agent_jwt", "svc:agent_jwt", "agent_api", "svc:", "svc:nobody", "spiffe://portcullis.dev/agent/bob"]
    {
        assert_eq!(of(nobody).get("/whoami").status, 401, "{nobody}");
    }
    let open = Plan {
        sections: "[identity]\nunknown_agents = \"own-namespace\"\nunknown_source = \"jwt\"\n".into(),
        ..issuer.plan()
    };
    let gate = Gate::start(shared.world(), &open);
    let of = |subject: &str| bearer(gate.local(), &issuer.token(&json!({"sub": subject})));
    is_agent(&of("alice"), "alice");
    for nobody in ["Alice", "+", "*", "../alice", "a/b", "alice "] {
        assert_eq!(of(nobody).get("/whoami").status, 401, "{nobody}");
    }
}

fn certificate(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &issuer.plan());
    let token = issuer.token(&json!({"scope": "read"}));
    let same = bearer(gate.agent("agent_mtls"), &token);
    is_agent(&same, "agent_mtls");
    assert_eq!(same.put("/secrets/x", &json!({"data": {}})).status, 403, "the token's scopes count");
    for other in ["agent_api", "nobody-known"] {
        is_nobody(&bearer(gate.agent(other), &token).get("/whoami"), other);
    }
    let twice = bearer(gate.local(), &token).with("X-API-Key", tests::API_KEY);
    assert_eq!(twice.get("/whoami").status, 401);
}

fn binding(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &issuer.plan());
    let own = gate.issue(&Leaf::agent("agent_mtls"));
    let bound = issuer.token(&json!({"cnf": {"x5t#S256": own.thumbprint().expect("a thumbprint")}}));
    is_agent(&bearer(gate.holder(&own), &bound), "agent_mtls");
    for other in [gate.agent("agent_mtls"), gate.stranger(), gate.local()] {
        is_nobody(&bearer(other, &bound).get("/whoami"), "without its certificate");
    }
}

fn rotation(shared: &Shared) {
    let issuer = Issuer::new();
    let gate = Gate::start(shared.world(), &generous(issuer.plan()));
    let (old, next) = (issuer.key(), Signer::p256("next").expect("a key"));
    let of = |key: &Signer| bearer(gate.local(), &key.token(&claims(&json!({}))).expect("a token"));
    let (old_client, next_client) = (of(old), of(&next));
    is_agent(&old_client, "agent_mtls");
    assert_eq!(next_client.get("/whoami").status, 401);
    issuer.publish(&[old, &next]);
    wait_for("the new key is known", 20, || {
        assert_eq!(old_client.get("/whoami").status, 200, "the old one is known still");
        next_client.get("/whoami").status == 200
    });
    issuer.publish(&[&next]);
    wait_for("the old key is gone", 20, || {
        assert_eq!(next_client.get("/whoami").status, 200);
        old_client.get("/whoami").status == 401
    });
    // A file that is none changes nothing.
    let failures = gate.metric("portcullis_reload_failures_total");
    issuer.write("{\"keys\": []}");
    wait_for("it is refused", 20, || gate.metric("portcullis_reload_failures_total") > failures);
    is_agent(&next_client, "agent_mtls");
    assert!(gate.stderr().contains("`jwt_jwks_file` names a file that holds no key"), "{}", gate.stderr());
}

fn failures(shared: &Shared) {
    let issuer = Issuer::new();
    let more = "[limits]\nfailed_authentications = { requests = 3, per = \"1h\" }\n";
    let plan = issuer.plan();
    let gate = Gate::start(shared.world(), &Plan { sections: format!("{}{more}", plan.sections), ..plan });
    let bad = bearer(gate.local(), "a.b.c");
    for _ in 0..3 {
        assert_eq!(bad.get("/whoami").status, 401);
    }
    let refused = bad.get("/whoami");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_failures"));
    assert!(gate.metric("portcullis_failed_authentications_total") >= 3.0);
}

fn switches(shared: &Shared) {
    let issuer = Issuer::new();
    let status = |variables: &[(&'static str, &str)], changes: Value| {
        let mut plan = issuer.plan();
        plan.environment.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let gate = Gate::start(shared.world(), &plan);
        bearer(gate.local(), &issuer.token(&changes)).get("/whoami").status
    };
    assert_eq!(status(&[("AUTH_JWT_ENABLED", "false")], json!({})), 401);
    assert_eq!(
        status(&[("JWT_ISSUER", "else"), ("JWT_AUDIENCE", "x")], json!({"iss": "else", "aud": ["y", "x"]})),
        200
    );
    let off = [("JWT_VALIDATE_ISSUER", "false"), ("JWT_VALIDATE_AUDIENCE", "false")];
    assert_eq!(status(&off, json!({"iss": null, "aud": null})), 200);
    let anonymous = issuer.key().token_of("{\"alg\":\"ES256\"}", &claims(&json!({})).to_string()).expect("a token");
    let named = Plan { environment: vec![("JWT_REQUIRE_KID", "true".to_owned())], ..issuer.plan() };
    for (plan, expected) in [(issuer.plan(), 200), (named, 401)] {
        let gate = Gate::start(shared.world(), &plan);
        assert_eq!(bearer(gate.local(), &anonymous).get("/whoami").status, expected);
    }
}
