//! Issuers whose keys are fetched, and several side by side, at the running gate.

use certs::{Authority, Leaf, Signer};
use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::provider::Provider;
use tests::{Gate, Plan, Response, wait_for};

use super::jwt::{bearer, claims, is_agent, whoami};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("keys_are_fetched_and_rotated_without_a_refused_request", rotation),
    ("known_keys_stay_while_their_server_is_away", away),
    ("a_gate_that_has_no_keys_yet_says_so", late),
    ("tokens_of_unknown_keys_do_not_flood_the_issuer", flood),
    ("a_providers_configuration_names_the_keys", discovery),
    ("each_issuer_has_its_own_subjects_and_rules", several),
    ("groups_give_roles_to_agents_without_an_entry", groups),
    ("verified_tokens_and_keys_outlive_a_reload", reload),
    ("metadata_and_challenges_lead_to_the_issuer", metadata),
];

fn signer(id: &str) -> Signer {
    Signer::p256(id).expect("a key")
}

/// A token of this key for `agent_mtls`, with these changes.
fn token(key: &Signer, changes: &Value) -> String {
    key.token(&claims(changes)).expect("a token")
}

/// One more issuer, in the file.
fn plan(issuers: &str) -> Plan {
    let families = "[[identity.families]]\njwt = \"svc:{name}\"\nagent = \"{name}\"\n";
    let many = "[limits]\nfailed_authentications = { requests = 100000, per = \"1s\" }\n";
    Plan { sections: format!("{issuers}{families}{AGENTS}{many}"), ..Plan::default() }
}

/// One issuer, whose name says where its keys are.
pub(super) fn discovered(issuer: &str) -> Plan {
    plan(&format!("[[identity.issuers]]\nname = \"{issuer}\"\naudiences = [\"mcp-agents\"]\ndiscovery = true\n"))
}

fn fetched(provider: &Provider, more: &str) -> Plan {
    plan(&format!(
        "[[identity.issuers]]\nname = \"corp\"\naudiences = [\"mcp-agents\"]\njwks_url = \"{}\"\n{more}\n",
        provider.keys_url()
    ))
}

fn status(gate: &Gate, token: &str) -> u16 {
    whoami(&bearer(gate.local(), token)).0
}

fn rotation(shared: &Shared) {
    let mut now = signer("first");
    let provider = Provider::start(&[&now], None);
    let gate = Gate::start(shared.world(), &fetched(&provider, "refresh = \"1s\""));
    let of = |key: &Signer| token(key, &json!({"iss": "corp"}));
    is_agent(&bearer(gate.local(), &of(&now)), "agent_mtls");
    for id in ["second", "third", "fourth"] {
        let next = signer(id);
        let (with_old, with_next) = (of(&now), of(&next));
        assert_eq!(status(&gate, &with_next), 401);
        // Both are published, then the old one is withdrawn: what is signed with a published key holds throughout.
        provider.publish(&[&now, &next]);
        wait_for("the new key is known", 10, || {
            assert_eq!(status(&gate, &with_old), 200);
            status(&gate, &with_next) == 200
        });
        provider.publish(&[&next]);
        wait_for("the old key is gone, and what was verified with it", 10, || {
            assert_eq!(status(&gate, &with_next), 200);
            status(&gate, &with_old) == 401
        });
        now = next;
    }
    assert!(gate.metric("portcullis_jwks_fetches_total{outcome=\"fetched\"}") >= 6.0);
}

fn away(shared: &Shared) {
    let (key, next) = (signer("one"), signer("next"));
    let provider = Provider::start(&[&key], None);
    let gate = Gate::start(shared.world(), &fetched(&provider, "refresh = \"1s\""));
    let known = token(&key, &json!({"iss": "corp"}));
    assert_eq!(status(&gate, &known), 200);
    provider.away(true);
    let failed = "portcullis_jwks_fetches_total{outcome=\"failed\"}";
    wait_for("fetches fail", 20, || gate.metric(failed) >= 2.0);
    for end in [600, 601, 602] {
        assert_eq!(
            status(&gate, &token(&key, &json!({"iss": "corp", "jti": end}))),
            200,
            "new tokens of known keys hold"
        );
    }
    assert!(gate.stderr().contains("the issuer's keys cannot be fetched"));
    // Whether a token of another key holds cannot be told: nobody failed, and nobody is locked out.
    let failures = || gate.metric("portcullis_failed_authentications_total");
    let (before, mut unnamed) = (failures(), claims(&json!({"iss": "corp"})).to_string());
    unnamed = next.token_of("{\"alg\":\"ES256\"}", &unnamed).expect("a token");
    for held in [&token(&next, &json!({"iss": "corp"})), &unnamed] {
        for _ in 0..3 {
            let refused = bearer(gate.local(), held).get("/whoami");
            assert_eq!((refused.status, refused.code().as_str()), (503, "issuer_unavailable"), "{refused:?}");
        }
    }
    assert!((failures() - before).abs() < f64::EPSILON, "{} failures", failures() - before);
    // One that a known key did not sign is a failure still.
    let mut forged = known.clone();
    forged.replace_range(
        known.rfind('.').expect("a signature") + 1..,
        next.token_of("{}", "{}").expect("a token").rsplit('.').next().expect("a signature"),
    );
    assert_eq!(status(&gate, &forged), 401);
    assert!((failures() - before - 1.0).abs() < f64::EPSILON);
    provider.publish(&[&key, &next]);
    provider.away(false);
    wait_for("it is back", 40, || status(&gate, &token(&next, &json!({"iss": "corp"}))) == 200);
}

fn late(shared: &Shared) {
    let key = signer("one");
    let provider = Provider::start(&[&key], None);
    provider.away(true);
    let gate = Gate::start(shared.world(), &fetched(&provider, ""));
    let client = bearer(gate.local(), &token(&key, &json!({"iss": "corp"})));
    let refused = client.get("/whoami");
    assert_eq!((refused.status, refused.code().as_str()), (503, "issuer_unavailable"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(gate.agent("agent_mtls").get("/whoami").status, 200, "others are served");
    let told = gate.admin_client().get("/readyz").json();
    assert_eq!(told["issuers"], json!([{"name": "corp", "keys": 0}]), "{told}");
    provider.away(false);
    wait_for("the keys are there", 20, || client.get("/whoami").status == 200);
    assert_eq!(gate.admin_client().get("/readyz").json()["issuers"][0]["keys"], 1);
}

fn flood(shared: &Shared) {
    let (key, next) = (signer("one"), signer("next"));
    let provider = Provider::start(&[&key], None);
    let gate = Gate::start(shared.world(), &fetched(&provider, ""));
    assert_eq!(status(&gate, &token(&key, &json!({"iss": "corp"}))), 200);
    let (before, begun) = (provider.requests(), std::time::Instant::now());
    for _ in 0..200 {
        assert_eq!(status(&gate, &token(&next, &json!({"iss": "corp"}))), 401);
    }
    let most = 2 + usize::try_from(begun.elapsed().as_secs()).expect("few");
    assert!(provider.requests() - before <= most, "{} in {:?}", provider.requests() - before, begun.elapsed());
    // A key that is published after all is asked for at once.
    provider.publish(&[&key, &next]);
    wait_for("the new key is known", 10, || status(&gate, &token(&next, &json!({"iss": "corp"}))) == 200);
}

fn discovery(shared: &Shared) {
    let authority = Authority::new("issuers").expect("an authority");
    let identity = authority.issue(&Leaf::server()).expect("a certificate");
    let key = signer("one");
    let provider = Provider::start(&[&key], Some(&identity));
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("a file");
    let issuer = provider.issuer();
    let table = format!("[[identity.issuers]]\nname = \"{issuer}\"\naudiences = [\"mcp-agents\"]\ndiscovery = true\n");
    let trusting = plan(&format!("{table}ca = \"{}\"\n", ca.display()));
    let gate = Gate::start(shared.world(), &trusting);
    let held = token(&key, &json!({"iss": issuer}));
    is_agent(&bearer(gate.local(), &held), "agent_mtls");
    // A server that nobody vouches for, and one that is another's.
    let gate = Gate::start(shared.world(), &plan(&table));
    assert_eq!(status(&gate, &held), 503);
    provider.impersonate("https://other.example");
    let gate = Gate::start(shared.world(), &trusting);
    assert_eq!(status(&gate, &held), 503);
    assert!(gate.stderr().contains("the provider's configuration is another issuer's"), "{}", gate.stderr());
}

fn several(shared: &Shared) {
    let (people, machines) = (signer("people"), signer("machines"));
    let providers = [Provider::start(&[&people], None), Provider::start(&[&machines], None)];
    let issuers = format!(
        "[[identity.issuers]]\nname = \"people\"\naudiences = [\"a\", \"b\"]\njwks_url = \"{}\"\n\
         default_scopes = [\"read\"]\nsubject_claim = \"email\"\n\
         [[identity.issuers]]\nname = \"machines\"\naudiences = [\"c\"]\njwks_url = \"{}\"\nbinding = \"required\"\n",
        providers[0].keys_url(),
        providers[1].keys_url()
    );
    let entry = "[agents.agent_jwt]\njwt = [{ subject = \"x\", issuer = \"people\" }, { subject = \"y\", issuer = \"machines\" }]\n";
    let sections = format!("{issuers}{}", AGENTS.replace("[agents.agent_jwt]\n", entry));
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let own = gate.issue(&Leaf::agent("agent_jwt"));
    let cnf = json!({"x5t#S256": own.thumbprint().expect("a thumbprint")});
    let person = |key: &Signer, audience: &str| {
        token(key, &json!({"iss": "people", "aud": audience, "email": "x", "scope": null}))
    };
    let machine = |changes: Value| {
        let mut all = json!({"iss": "machines", "aud": "c", "sub": "y"});
        changes.as_object().expect("changes").iter().for_each(|(name, value)| all[name] = value.clone());
        token(&machines, &all)
    };
    let client = bearer(gate.local(), &person(&people, "b"));
    is_agent(&client, "agent_jwt");
    assert_eq!(client.get("/secrets/public/absent").status, 404, "the issuer's default scope");
    assert_eq!(client.delete("/secrets/public/absent").code(), "insufficient_scope");
    is_agent(&bearer(gate.holder(&own), &machine(json!({"cnf": cnf}))), "agent_jwt");
    for (what, refused) in [
        ("another issuer's key", person(&machines, "a")),
        ("another issuer's audience", person(&people, "c")),
        ("another issuer's subject", machine(json!({"sub": "x", "cnf": cnf}))),
        ("a token that is not bound", machine(json!({}))),
        ("no issuer at all", token(&people, &json!({"iss": null, "aud": "a", "email": "x"}))),
        ("an issuer that is not there", token(&people, &json!({"iss": "mcp-auth", "aud": "a", "email": "x"}))),
    ] {
        assert_eq!(bearer(gate.holder(&own), &refused).get("/whoami").status, 401, "{what}");
    }
    assert_eq!(status(&gate, &machine(json!({"cnf": cnf}))), 401, "without its certificate");
}

fn groups(shared: &Shared) {
    let key = signer("one");
    let provider = Provider::start(&[&key], None);
    let rules = "roles_claim = \"/realm/groups\"\n\
                 [[identity.issuers.roles]]\nvalue = \"/deployers\"\nroles = [\"all\"]\n\
                 [[identity.issuers.roles]]\nvalue = \"/auditors\"\nroles = [\"reader\"]\n";
    let gate = Gate::start(shared.world(), &fetched(&provider, rules));
    let of = |subject: &str, groups: &[&str]| {
        let changes = json!({"iss": "corp", "sub": subject, "realm": {"groups": groups}});
        bearer(gate.local(), &token(&key, &changes))
    };
    let body = json!({"data": {"v": 1}});
    let deployer = of("svc:alice", &["/auditors", "/deployers"]);
    is_agent(&deployer, "alice");
    assert_eq!(deployer.put("/secrets/public/groups", &body).status, 200);
    let auditor = of("svc:alice", &["/auditors"]);
    assert_eq!(auditor.get("/secrets/public/groups").json()["data"]["v"], 1);
    assert_eq!(auditor.put("/secrets/public/groups", &body).code(), "forbidden");
    assert_eq!(of("svc:alice", &["/others"]).get("/whoami").status, 401, "no rule, no entry");
    // An entry has its own roles, whatever a token says.
    let entry = of("svc:agent_jwt", &["/deployers"]);
    is_agent(&entry, "agent_jwt");
    assert_eq!(entry.put("/secrets/public/groups", &body).code(), "forbidden");
}

fn reload(shared: &Shared) {
    let key = signer("one");
    let provider = Provider::start(&[&key], None);
    let gate = Gate::start(shared.world(), &fetched(&provider, "refresh = \"1h\""));
    let held = token(&key, &json!({"iss": "corp"}));
    assert_eq!(status(&gate, &held), 200);
    let (fetches, before) = (provider.requests(), gate.metric("portcullis_reloads_total"));
    provider.away(true);
    gate.signal("HUP");
    wait_for("it is reloaded", 10, || gate.metric("portcullis_reloads_total") > before);
    assert_eq!(status(&gate, &held), 200);
    assert_eq!(status(&gate, &token(&key, &json!({"iss": "corp", "jti": "2"}))), 200, "the keys are there still");
    assert_eq!(provider.requests(), fetches);
}

fn metadata(shared: &Shared) {
    let key = signer("one");
    let provider = Provider::start(&[&key], None);
    let issuer = provider.issuer();
    let gate = Gate::start(shared.world(), &discovered(&issuer));
    let base = "http://localhost";
    for path in ["", "/mcp"] {
        let told = gate.local().get(&format!("/.well-known/oauth-protected-resource{path}"));
        assert_eq!((told.status, told.header("cache-control")), (200, Some("no-store")));
        let expected = json!({
            "resource": format!("{base}{path}"),
            "authorization_servers": [issuer],
            "scopes_supported": ["read", "write", "delete", "list"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Portcullis",
            "tls_client_certificate_bound_access_tokens": true,
            "dpop_signing_alg_values_supported":
                ["ES256", "ES384", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            "dpop_bound_access_tokens_required": false,
        });
        assert_eq!(told.json(), expected);
    }
    assert_eq!(gate.local().post("/.well-known/oauth-protected-resource", &json!({})).status, 405);
    assert_eq!(gate.local().get("/.well-known/oauth-protected-resource/other").status, 401);
    let hint = |path: &str| format!("resource_metadata=\"{base}/.well-known/oauth-protected-resource{path}\"");
    let challenge = |response: Response| response.header("www-authenticate").unwrap_or_default().to_owned();
    assert_eq!(challenge(gate.local().get("/whoami")), format!("Bearer realm=\"portcullis\", {}", hint("")));
    let unknown = bearer(gate.local(), "a.b.c").call("kv.read", &json!({"path": "x"}));
    assert_eq!(challenge(unknown), format!("Bearer realm=\"portcullis\", error=\"invalid_token\", {}", hint("/mcp")));
    let reader = bearer(gate.local(), &token(&key, &json!({"iss": issuer, "scope": "read"})));
    let short = format!("Bearer realm=\"portcullis\", error=\"insufficient_scope\", scope=\"write\", {}", hint("/mcp"));
    assert_eq!(challenge(reader.call("kv.write", &json!({"path": "x", "data": {}}))), short);
    // The host is the caller's word; what stands around it is not.
    for host in ["evil\"x", "a b", "user@host", ""] {
        let told = gate.local().send("GET", "/whoami", &[("Host", host)], b"");
        let said = challenge(told);
        assert!(!said.contains("evil") && !said.contains("user"), "{said}");
    }
    let named = discovered(&issuer);
    let gate = Gate::start(
        shared.world(),
        &Plan { top: format!("{}public_url = \"https://gate.example/\"\n", named.top), ..named },
    );
    let told = gate.local().get("/.well-known/oauth-protected-resource/mcp").json();
    assert_eq!(told["resource"], "https://gate.example/mcp");
    for audience in ["https://gate.example", "https://gate.example/mcp", "mcp-agents"] {
        assert_eq!(status(&gate, &token(&key, &json!({"iss": issuer, "aud": audience}))), 200, "{audience}");
    }
    assert_eq!(status(&gate, &token(&key, &json!({"iss": issuer, "aud": "https://gate.example/other"}))), 401);
    let none = shared.gate().local();
    assert_eq!(none.get("/.well-known/oauth-protected-resource").status, 401);
    assert_eq!(challenge(none.get("/whoami")), "Bearer realm=\"portcullis\"");
}
