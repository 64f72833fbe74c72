//! Tokens that are bound to a key (DPoP, RFC 9449), at the running gate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::{Leaf, Signer};
use serde_json::{Value, json};
use tests::client::tls_config;
use tests::events::Events;
use tests::process::AGENTS;
use tests::servers::{REDIS_PASSWORD, Redis};
use tests::{API_KEY, Client, Gate, Plan, Response, wait_for};

use super::jwt::{bearer, claims, is_agent, whoami};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_bound_token_needs_a_proof_of_its_key_with_every_request", proven),
    ("a_stream_lasts_by_the_proof_that_opened_it", stream),
    ("a_proof_that_does_not_hold_is_401_and_says_nothing_else", hostile),
    ("a_bound_token_is_no_bearer_token_nor_the_other_way_round", downgrade),
    ("a_proof_is_accepted_once_and_charged_once", replay),
    ("gates_on_one_server_share_used_proofs", shared_replay),
    ("without_the_server_each_gate_knows_its_own", away),
    ("an_issuer_asks_for_what_its_tokens_are_bound_to", required),
    ("a_proof_is_of_the_url_that_the_gate_is_reached_by", public_url),
];

const SECRET: &str = "a-shared-secret-of-the-tests-that-is-long-enough";
const PLAIN: &str = "http://localhost";
const PROOF: &str = "invalid_dpop_proof";
const ALGS: &str = "DPoP algs=\"ES256 ES384 EdDSA Ed25519 RS256 RS384 RS512 PS256 PS384 PS512\"";

fn plan(more: &str) -> Plan {
    let family = "[[identity.families]]\njwt = \"svc:{name}\"\nagent = \"{name}\"\n";
    let many = "[limits]\nfailed_authentications = { requests = 100000, per = \"1s\" }\n";
    Plan {
        sections: format!("{family}{AGENTS}{many}{more}"),
        environment: vec![("JWT_HS256_SECRET", SECRET.to_owned())],
        ..Plan::default()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn token(changes: &Value) -> String {
    Signer::shared(SECRET.as_bytes()).token(&claims(changes)).expect("a token")
}

/// Who has a key, and a token that is bound to it.
struct Holder {
    key: Signer,
    token: String,
}

impl Holder {
    fn new(key: Signer) -> Self {
        Self { token: token(&json!({"cnf": {"jkt": key.thumbprint()}})), key }
    }

    /// A new proof, with these members instead.
    fn proof(&self, method: &str, url: &str, changes: &Value) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = format!("{}-{}", self.key.thumbprint(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut claims = json!({"jti": id, "htm": method, "htu": url, "iat": now()});
        for (name, value) in changes.as_object().expect("changes") {
            claims[name] = value.clone();
        }
        self.key.proof(&self.token, &json!({}), &claims).expect("a proof")
    }

    fn with(&self, client: Client, proof: &str) -> Client {
        client.with("Authorization", &format!("DPoP {}", self.token)).with("DPoP", proof)
    }

    /// A caller whose next request is this one.
    fn client(&self, client: Client, method: &str, url: &str) -> Client {
        self.with(client, &self.proof(method, url, &json!({})))
    }

    /// One who asks who it is.
    fn asks(&self, gate: &Gate) -> Client {
        self.client(gate.local(), "GET", &format!("{PLAIN}/whoami"))
    }
}

fn holder() -> Holder {
    Holder::new(Signer::p256("ec").expect("a key"))
}

/// Each challenge of a refusal.
fn challenges(response: &Response) -> Vec<&str> {
    let all = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    all.map(|(_, value)| value.as_str()).collect()
}

/// It is refused with this in the challenge of DPoP, and nothing else is told.
fn is_refused(response: &Response, error: &str, what: &str) {
    let hint = |path: &str| format!("resource_metadata=\"{PLAIN}/.well-known/oauth-protected-resource{path}\"");
    let [of_bearer, of_dpop] = challenges(response)[..] else { panic!("{what}: {response:?}") };
    let path = if of_dpop.ends_with(&hint("/mcp")) { "/mcp" } else { "" };
    assert_eq!(of_bearer, format!("Bearer realm=\"portcullis\", {}", hint(path)), "{what}");
    assert_eq!(of_dpop, format!("{ALGS}, error=\"{error}\", {}", hint(path)), "{what}");
    let mut told = response.json();
    told.as_object_mut().expect("an object").remove("request_id");
    let expected = match error {
        "invalid_token" => json!({"error": "unauthenticated", "detail": "A valid credential is required."}),
        _ => json!({"error": error, "detail": "A new DPoP proof of this very request is required."}),
    };
    assert_eq!((response.status, told), (401, expected), "{what}");
}

fn proven(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    for key in [Signer::p256("a"), Signer::p384("b"), Signer::ed25519("c"), Signer::rsa("d")] {
        let holder = Holder::new(key.expect("a key"));
        let path = format!("/secrets/dpop/{}", holder.key.algorithm());
        let client = |method: &str, path: &str| holder.client(gate.local(), method, &format!("{PLAIN}{path}"));
        is_agent(&client("GET", "/whoami"), "agent_mtls");
        assert_eq!(client("PUT", &path).put(&path, &json!({"data": {"v": 1}})).status, 200);
        let read = client("GET", &path).get(&format!("{path}?version=1"));
        assert_eq!(read.json()["data"]["v"], 1, "the query is not of the proof: {read:?}");
        let told = client("POST", "/mcp").call("kv.read", &json!({"path": path.trim_start_matches("/secrets/")}));
        assert_eq!(told.json()["result"]["structuredContent"]["data"]["v"], 1, "{told:?}");
        // By now the token is a known one; the proof is asked for all the same.
        is_refused(
            &gate.local().with("Authorization", &format!("DPoP {}", holder.token)).get("/whoami"),
            PROOF,
            "none",
        );
    }
    let holder = holder();
    is_agent(&holder.client(gate.stranger(), "GET", "https://localhost/whoami"), "agent_mtls");
    is_agent(&holder.client(gate.agent("agent_mtls"), "GET", "https://LOCALHOST:443/whoami"), "agent_mtls");
    over_http2(&gate, &holder);
}

fn stream(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan("[mcp]\nkeep_alive = \"1s\"\n"));
    let holder = holder();
    let url = format!("http://127.0.0.1:{}/events", gate.plain);
    let (token, proof) = (format!("DPoP {}", holder.token), holder.proof("GET", &url, &json!({})));
    let client = reqwest::blocking::Client::builder().timeout(None).build().expect("a client");
    let events = Events::open(&client, &url, &[("Authorization", &token), ("DPoP", &proof)]);
    events.is_kept_alive("it is judged again every second");
}

fn over_http2(gate: &Gate, holder: &Holder) {
    let mut config = tls_config(gate.authority(), None, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::blocking::Client::builder().tls_backend_preconfigured(config).http2_prior_knowledge();
    let client = client.timeout(Duration::from_secs(30)).build().expect("a client");
    let base = format!("https://localhost:{}", gate.tls);
    let status = |of: &str| {
        let proof = holder.proof("GET", of, &json!({}));
        let request = client.get(format!("{base}/whoami")).header("DPoP", proof);
        request.header("Authorization", format!("DPoP {}", holder.token)).send().expect("an answer").status().as_u16()
    };
    assert_eq!(status(&format!("{base}/whoami")), 200);
    assert_eq!(status("https://localhost/whoami"), 401, "another port");
}

/// Proofs of one request by what is wrong with them, and the error that is told.
fn bad_proofs(holder: &Holder, method: &str, url: &str) -> Vec<(&'static str, &'static str, String)> {
    let with = |changes: Value| holder.proof(method, url, &changes);
    let good = json!({"jti": "x", "htm": method, "htu": url, "iat": now()});
    let of = |key: &Signer, header: Value| key.proof(&holder.token, &header, &good).expect("a proof");
    let headed = |header: Value| of(&holder.key, header);
    let stranger = Signer::p256("ec").expect("a key");
    let mut private = holder.key.jwk();
    private["d"] = "AA".into();
    vec![
        ("another's key", "invalid_token", of(&stranger, json!({}))),
        ("another's signature", PROOF, of(&stranger, json!({"jwk": holder.key.jwk()}))),
        ("of another type", PROOF, headed(json!({"typ": "JWT"}))),
        ("alg none", PROOF, headed(json!({"alg": "none"}))),
        ("a shared secret", PROOF, headed(json!({"alg": "HS256"}))),
        ("crit", PROOF, headed(json!({"crit": ["jti"]}))),
        ("no key", PROOF, headed(json!({"jwk": null}))),
        ("a private key", PROOF, headed(json!({"jwk": private}))),
        ("another method", PROOF, with(json!({"htm": "DELETE"}))),
        ("another path", PROOF, with(json!({"htu": format!("{url}/x")}))),
        ("another host", PROOF, with(json!({"htu": url.replace("localhost", "evil.example")}))),
        ("another scheme", PROOF, with(json!({"htu": url.replace("http:", "https:")}))),
        ("too old", PROOF, with(json!({"iat": now() - 3600}))),
        ("not made yet", PROOF, with(json!({"iat": now() + 3600}))),
        ("without a time", PROOF, with(json!({"iat": null}))),
        ("without a name", PROOF, with(json!({"jti": null}))),
        ("a name without end", PROOF, with(json!({"jti": "a".repeat(300)}))),
        ("without a token", PROOF, with(json!({"ath": null}))),
        ("of another token", PROOF, with(json!({"ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"}))),
        ("no proof at all", PROOF, "opaque".to_owned()),
        ("two in one", PROOF, format!("{0}, {0}", with(json!({})))),
    ]
}

fn hostile(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    let holder = holder();
    let mut sent = vec![holder.token.clone()];
    for (what, error, proof) in bad_proofs(&holder, "GET", &format!("{PLAIN}/secrets/x")) {
        is_refused(&holder.with(gate.local(), &proof).get("/secrets/x"), error, what);
        sent.push(proof);
    }
    for (what, error, proof) in bad_proofs(&holder, "POST", &format!("{PLAIN}/mcp")) {
        is_refused(&holder.with(gate.local(), &proof).call("kv.read", &json!({"path": "x"})), error, what);
        sent.push(proof);
    }
    is_agent(&holder.asks(&gate), "agent_mtls");
    let written = gate.stderr() + &gate.log();
    assert!(sent.iter().all(|text| !written.contains(text)), "{written}");
    assert!(gate.metric("portcullis_failed_authentications_total") >= 42.0);
}

fn downgrade(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    let (holder, unbound) = (holder(), token(&json!({})));
    // As it was stolen, without a proof and with one beside it.
    let stolen = bearer(gate.local(), &holder.token);
    for thief in [stolen.clone(), stolen.with("DPoP", &holder.proof("GET", &format!("{PLAIN}/whoami"), &json!({})))] {
        let refused = thief.get("/whoami");
        assert_eq!((refused.status, refused.code().as_str()), (401, "unauthenticated"));
        let [of_bearer, of_dpop] = challenges(&refused)[..] else { panic!("{refused:?}") };
        assert!(of_bearer.starts_with("Bearer realm=\"portcullis\", error=\"invalid_token\", "), "{of_bearer}");
        assert!(of_dpop.starts_with(&format!("{ALGS}, resource_metadata=")), "{of_dpop}");
    }
    is_agent(&bearer(gate.local(), &unbound), "agent_mtls");
    let plain = Holder { key: Signer::p256("ec").expect("a key"), token: unbound };
    is_refused(&plain.asks(&gate).get("/whoami"), "invalid_token", "a token that is bound to no key");
    // Two credentials, or one twice.
    let other = holder.client(gate.agent("agent_api"), "GET", "https://localhost/whoami");
    assert_eq!(other.get("/whoami").status, 401);
    assert_eq!(holder.asks(&gate).with("X-API-Key", API_KEY).get("/whoami").status, 401);
    let url = format!("{PLAIN}/whoami");
    for (name, value) in [("DPoP", holder.proof("GET", &url, &json!({}))), ("Authorization", "DPoP x".to_owned())] {
        assert_eq!(holder.asks(&gate).with(name, &value).get("/whoami").status, 400, "{name}");
    }
    // Bound to a certificate as well.
    let own = gate.issue(&Leaf::agent("agent_mtls"));
    let cnf = json!({"jkt": holder.key.thumbprint(), "x5t#S256": own.thumbprint().expect("a thumbprint")});
    let both = Holder { token: token(&json!({ "cnf": cnf })), key: holder.key };
    let asks = |client: Client| both.client(client, "GET", "https://localhost/whoami").get("/whoami").status;
    assert_eq!((asks(gate.holder(&own)), asks(gate.agent("agent_mtls")), asks(gate.stranger())), (200, 401, 401));
    // A scope is asked for by the scheme that the token came with.
    let reader = token(&json!({"scope": "read", "cnf": {"jkt": both.key.thumbprint()}}));
    let reader = Holder { token: reader, key: both.key };
    let url = format!("{PLAIN}/secrets/x");
    let refused = reader.client(gate.local(), "PUT", &url).put("/secrets/x", &json!({"data": {}}));
    let [challenge] = challenges(&refused)[..] else { panic!("{refused:?}") };
    assert_eq!((refused.status, refused.code().as_str()), (403, "insufficient_scope"));
    assert!(challenge.starts_with(&format!("{ALGS}, error=\"insufficient_scope\", scope=\"write\"")), "{challenge}");
}

fn replay(shared: &Shared) {
    let limited = plan("[agents.agent_new]\nroles = [\"reader\"]\nrate = { requests = 3, per = \"1h\" }\n");
    let top =
        limited.top.replace("rate_limit_enabled = false", "rate_limit_enabled = true\nrate_limit_requests = 100000");
    let gate = Gate::start(shared.world(), &Plan { top, ..limited });
    let (one, other) = (holder(), holder());
    let again = one.asks(&gate);
    is_agent(&again, "agent_mtls");
    for _ in 0..3 {
        is_refused(&again.get("/whoami"), PROOF, "a second time");
    }
    // Whatever else it says, and for other requests, that name is used up; not that of another key.
    let named = |holder: &Holder, method: &str, path: &str| {
        let proof = holder.proof(method, &format!("{PLAIN}{path}"), &json!({"jti": "the same"}));
        holder.with(gate.local(), &proof)
    };
    is_agent(&named(&one, "GET", "/whoami"), "agent_mtls");
    is_refused(&named(&one, "POST", "/mcp").call("whoami", &json!({})), PROOF, "by another surface");
    is_agent(&named(&other, "GET", "/whoami"), "agent_mtls");
    // Of many at once one gets through.
    let racer = one.asks(&gate);
    let passed = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..16).map(|_| scope.spawn(|| racer.get("/whoami").status == 200)).collect();
        racers.into_iter().filter_map(|racer| racer.join().ok()).filter(|passed| *passed).count()
    });
    assert_eq!(passed, 1);
    // What is sent again is charged to nobody.
    let cnf = json!({"jkt": one.key.thumbprint()});
    let few = Holder { token: token(&json!({"sub": "svc:agent_new", "cnf": cnf})), key: one.key };
    let first = few.asks(&gate);
    let statuses = [0; 5].map(|_| first.get("/whoami").status);
    assert_eq!(statuses, [200, 401, 401, 401, 401]);
    let statuses = [0; 3].map(|_| few.asks(&gate).get("/whoami").status);
    assert_eq!(statuses, [200, 200, 429]);
}

/// A gate that shares what it counts.
fn sharing(shared: &Shared, redis: &Redis) -> Gate {
    let own = plan("[rate_limit]\nbackend = \"redis\"\ntimeout = \"2s\"\n");
    let more = vec![("REDIS_URL", redis.url()), ("REDIS_PASSWORD", REDIS_PASSWORD.to_owned())];
    let environment = own.environment.into_iter().chain(more).collect();
    let gate = Gate::start(shared.world(), &Plan { environment, ..own });
    wait_for("it is shared", 10, || is_shared(&gate));
    gate
}

fn is_shared(gate: &Gate) -> bool {
    gate.metric("portcullis_shared_limits_up") == 1.0
}

/// The same request to two gates.
fn at_both(holder: &Holder, gates: [&Gate; 2]) -> [u16; 2] {
    let proof = holder.proof("GET", &format!("{PLAIN}/whoami"), &json!({}));
    gates.map(|gate| holder.with(gate.local(), &proof).get("/whoami").status)
}

fn shared_replay(shared: &Shared) {
    let redis = Redis::start();
    let (one, other) = (sharing(shared, &redis), sharing(shared, &redis));
    let holder = holder();
    for gates in [[&one, &other], [&other, &one]] {
        assert_eq!(at_both(&holder, gates), [200, 401]);
    }
    let keys = redis.ask(&["KEYS", "{portcullis}:dpop:*"]).expect("an answer");
    assert!(keys.starts_with("*2\r\n"), "{keys}");
    let key = keys.lines().find(|line| line.starts_with('{')).expect("a key").to_owned();
    assert!(!keys.contains(&holder.key.thumbprint()), "digests only: {keys}");
    let ttl = redis.ask(&["TTL", &key]).expect("an answer");
    let ttl: u64 = ttl.trim().trim_start_matches(':').parse().expect("seconds");
    assert!((66..=126).contains(&ttl), "{ttl}");
    // What the server forgets, no gate does that has accepted it.
    let (ours, theirs) = (holder.asks(&one), holder.asks(&other));
    is_agent(&ours, "agent_mtls");
    is_agent(&theirs, "agent_mtls");
    assert_eq!(redis.ask(&["FLUSHALL"]).expect("an answer"), "+OK\r\n");
    assert_eq!((ours.get("/whoami").status, theirs.get("/whoami").status), (401, 401));
    assert_eq!(at_both(&holder, [&one, &other]), [200, 401]);
}

fn away(shared: &Shared) {
    let mut redis = Redis::start();
    let (one, other) = (sharing(shared, &redis), sharing(shared, &redis));
    let holder = holder();
    let used = holder.asks(&one);
    is_agent(&used, "agent_mtls");
    redis.stop();
    assert_eq!(at_both(&holder, [&one, &one]), [200, 401]);
    wait_for("both know", 10, || !is_shared(&one) && !is_shared(&other));
    assert_eq!(at_both(&holder, [&one, &one]), [200, 401]);
    assert_eq!(at_both(&holder, [&one, &other]), [200, 200], "each its own");
    assert_eq!(used.get("/whoami").status, 401, "nothing is forgotten");
    assert!(one.metric("portcullis_shared_limits_local_total") >= 2.0);
    redis.resume();
    wait_for("both are back", 10, || is_shared(&one) && is_shared(&other));
    assert_eq!(at_both(&holder, [&one, &other]), [200, 401]);
}

fn required(shared: &Shared) {
    let issuer = |name: &str, binding: &str| {
        format!(
            "[[identity.issuers]]\nname = \"{name}\"\naudiences = [\"a\"]\nhs256_secret = \"{SECRET}\"\nbinding = \"{binding}\"\n"
        )
    };
    let start = |issuers: &str| {
        let family = "[[identity.families]]\njwt = \"svc:{name}\"\nissuer = \"one\"\n";
        let sections = format!("{issuers}{family}{AGENTS}");
        Gate::start(shared.world(), &Plan { sections, ..Plan::default() })
    };
    let key = Signer::ed25519("ed").expect("a key");
    let of = |cnf: Value| token(&json!({"iss": "one", "aud": "a", "cnf": cnf}));
    let unbound = token(&json!({"iss": "one", "aud": "a"}));
    let to_key = Holder { token: of(json!({"jkt": key.thumbprint()})), key };
    for (binding, expected) in [
        ("optional", [200, 200, 200]),
        ("required", [401, 200, 200]),
        ("certificate", [401, 200, 401]),
        ("dpop", [401, 401, 200]),
    ] {
        let gate = start(&issuer("one", binding));
        let own = gate.issue(&Leaf::agent("agent_mtls"));
        let to_certificate = of(json!({"x5t#S256": own.thumbprint().expect("a thumbprint")}));
        let told = [
            whoami(&bearer(gate.local(), &unbound)).0,
            whoami(&bearer(gate.holder(&own), &to_certificate)).0,
            whoami(&to_key.asks(&gate)).0,
        ];
        assert_eq!(told, expected, "{binding}: unbound, to a certificate, to a key");
        let takes = binding != "certificate";
        assert_eq!(challenges(&gate.local().get("/whoami")).len(), if takes { 2 } else { 1 }, "{binding}");
        let metadata = gate.local().get("/.well-known/oauth-protected-resource").json();
        assert_eq!(
            metadata["dpop_bound_access_tokens_required"],
            match binding {
                "certificate" => Value::Null,
                binding => (binding == "dpop").into(),
            }
        );
        assert_eq!(metadata["dpop_signing_alg_values_supported"].is_array(), takes, "{binding}");
    }
    let gate = start(&(issuer("one", "dpop") + &issuer("other", "optional")));
    let metadata = gate.local().get("/.well-known/oauth-protected-resource").json();
    assert_eq!(metadata["dpop_bound_access_tokens_required"], false, "another issuer does not ask for it");
}

fn public_url(shared: &Shared) {
    let own = plan("");
    let gate = Gate::start(
        shared.world(),
        &Plan { top: format!("{}public_url = \"https://Gate.example:443/\"\n", own.top), ..own },
    );
    let holder = holder();
    let status = |url: &str| holder.client(gate.local(), "GET", url).get("/whoami").status;
    assert_eq!(status("https://gate.example/whoami"), 200);
    assert_eq!(status("https://gate.example:443/whoami?x=1#y"), 200);
    assert_eq!(status(&format!("{PLAIN}/whoami")), 401, "not what the caller says it is");
    assert_eq!(status("http://gate.example/whoami"), 401);
}
