//! Databases, SSH and PKI against the real thing each drives.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::servers::{Identity, Postgres, csr};
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_database_login_works_until_it_is_revoked", database),
    ("a_lease_is_its_agents_alone_on_any_gate", foreign),
    ("a_lease_outlives_the_agents_token", outlives),
    ("a_lease_that_ends_by_itself_is_gone", brief),
    ("an_agent_has_so_many_live_leases_and_no_more", budget),
    ("what_is_refused_leaves_nothing_behind", nothing_left),
    ("a_name_given_to_somebody_else_inherits_no_lease", generation),
    ("a_signed_key_logs_in_until_it_ends", ssh_sign),
    ("a_role_bounds_who_logs_in_and_how_long", ssh_bounds),
    ("a_role_bounds_what_is_left_out", ssh_left_out),
    ("a_one_time_password_is_good_once", ssh_otp),
    ("a_certificate_verifies_and_is_revoked_by_its_agent", pki),
    ("a_request_for_a_certificate_is_signed", pki_sign),
];

/// Asks by a tool: its answer, or the stable code of its error.
fn tool(client: &Client, name: &str, arguments: &Value) -> Result<Value, String> {
    let reply = client.call(name, arguments).json();
    let content = reply["result"]["structuredContent"].clone();
    match reply["result"]["isError"].as_bool() {
        Some(false) => Ok(content),
        _ => Err(content["error"].as_str().map_or_else(|| reply.to_string(), str::to_owned)),
    }
}

/// Asks by REST: the answer, or status and stable code.
fn rest(client: &Client, target: &str, body: &Value) -> Result<Value, (u16, String)> {
    let response = client.post(target, body);
    if response.status == 200 { Ok(response.json()) } else { Err((response.status, response.code())) }
}

fn refused<T>(status: u16, code: &str) -> Result<T, (u16, String)> {
    Err((status, code.to_owned()))
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}"))
}

fn logs_in(server: &Postgres, login: &Value) -> bool {
    server.can_log_in(text(login, "username"), text(login, "password"))
}

fn lease(login: &Value) -> Value {
    json!({"lease_id": login["lease_id"]})
}

fn database(shared: &Shared) {
    let server = shared.postgres();
    let client = shared.gate().agent("agent_mtls");
    let login = rest(&client, "/db/creds/readonly", &json!({})).expect("a login");
    assert!(logs_in(server, &login));
    assert!(text(&login, "lease_id").starts_with("pch1_"), "{login}");
    assert_eq!((&login["lease_duration"], &login["renewable"]), (&json!(3600), &json!(true)));
    let renewed = rest(&client, "/db/renew", &json!({"lease_id": login["lease_id"], "increment": 7200}));
    let seconds = renewed.expect("renewed")["lease_duration"].as_u64().expect("seconds");
    assert!((7100..=7200).contains(&seconds), "{seconds}");
    let looked = rest(&client, "/db/lookup", &lease(&login)).expect("its times");
    assert!((7100..=7200).contains(&looked["lease_duration"].as_u64().expect("seconds")), "{looked}");
    assert!(looked["issue_time"].is_string() && looked["last_renewal"].is_string(), "{looked}");
    assert_eq!(rest(&client, "/db/revoke", &lease(&login)), Ok(json!({"ok": true})));
    assert!(!logs_in(server, &login));
    assert_eq!(rest(&client, "/db/renew", &lease(&login)), refused(404, "not_found"));
    assert_eq!(rest(&client, "/db/lookup", &lease(&login)), refused(404, "not_found"));
    assert_eq!(rest(&client, "/db/revoke", &lease(&login)), refused(404, "not_found"));

    let login = tool(&client, "db.issue_creds", &json!({"role": "readonly"})).expect("a login");
    assert!(logs_in(server, &login));
    assert!(tool(&client, "db.renew", &lease(&login)).is_ok());
    assert_eq!(tool(&client, "db.revoke", &lease(&login)), Ok(json!({"ok": true})));
    assert!(!logs_in(server, &login));
    // A body is optional where nothing must be in it.
    let bare = client.send("POST", "/db/creds/readonly", &[("Content-Type", "application/json")], b"");
    assert_eq!(bare.status, 200, "{bare:?}");
    assert_eq!(client.post("/db/revoke", &lease(&bare.json())).status, 200);
}

fn foreign(shared: &Shared) {
    let server = shared.postgres();
    let first = Gate::start(shared.world(), &Plan::default());
    let login = rest(&first.agent("agent_mtls"), "/db/creds/readonly", &json!({})).expect("a login");
    let second = Gate::start(shared.world(), &Plan::default());
    for gate in [&first, &second] {
        for target in ["/db/lookup", "/db/renew", "/db/revoke"] {
            assert_eq!(rest(&gate.keyed(), target, &lease(&login)), refused(403, "forbidden"), "{target}");
        }
        assert_eq!(tool(&gate.keyed(), "db.revoke", &lease(&login)), Err("forbidden".into()));
        // For another purpose it is not a handle at all.
        let handle = json!({"handle": login["lease_id"]});
        assert_eq!(rest(&gate.agent("agent_mtls"), "/pki/revoke", &handle), refused(403, "forbidden"));
        assert_eq!(rest(&gate.agent("agent_mtls"), "/wrap/unwrap", &handle), refused(403, "forbidden"));
    }
    assert!(logs_in(server, &login));
    assert!(rest(&second.agent("agent_mtls"), "/db/renew", &lease(&login)).is_ok());
    drop((first, second));
    let restarted = Gate::start(shared.world(), &Plan::default());
    assert_eq!(rest(&restarted.keyed(), "/db/revoke", &lease(&login)), refused(403, "forbidden"));
    assert!(logs_in(server, &login), "a lease lives on without its gate");
    assert!(rest(&restarted.agent("agent_mtls"), "/db/revoke", &lease(&login)).is_ok());
    assert!(!logs_in(server, &login));
}

/// The service tokens of an agent, made through a token role.
fn tokens(shared: &Shared, agent: &str, role: &str) -> usize {
    let world = shared.world();
    let listed = world.ask("LIST", "auth/token/accessors", &Value::Null).1;
    let keys = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
    let of_agent = |accessor: &&Value| {
        let found = world.ask("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor})).1;
        found["data"]["meta"]["agent"] == agent && found["data"]["role"] == role
    };
    keys.iter().filter(of_agent).count()
}

fn with(more: &str) -> Plan {
    Plan { sections: format!("{AGENTS}{more}"), ..Plan::default() }
}

/// Agents whose leases are counted: no other test has them suspended, which ends what they have in the same Vault.
const LODGER: &str = "\n[agents.lodger]\nroles = [\"all\"]\n";
const TENANT: &str = "\n[agents.tenant]\nroles = [\"all\"]\n";

fn outlives(shared: &Shared) {
    let server = shared.postgres();
    let mut plan = with(&format!("{LODGER}[child_tokens]\ntype = \"service\"\n"));
    plan.top.push_str("child_token_ttl = \"5s\"\n");
    let gate = Gate::start(shared.world(), &plan);
    let lodger = gate.agent("lodger");
    assert_eq!(lodger.get("/secrets/none").status, 404);
    assert_eq!(tokens(shared, "lodger", "portcullis"), 1);
    let login = rest(&lodger, "/db/creds/readonly", &json!({})).expect("a login");
    wait_for("the agent's token ends", 30, || tokens(shared, "lodger", "portcullis") == 0);
    assert!(logs_in(server, &login));
    assert!(rest(&lodger, "/db/renew", &lease(&login)).is_ok());
    assert!(rest(&lodger, "/db/revoke", &lease(&login)).is_ok());
}

fn brief(shared: &Shared) {
    let server = shared.postgres();
    let client = shared.gate().agent("agent_mtls");
    let login = rest(&client, "/db/creds/brief", &json!({})).expect("a login");
    assert_eq!(login["lease_duration"], 3);
    wait_for("the login ends", 30, || !logs_in(server, &login));
    wait_for("the lease ends", 30, || rest(&client, "/db/renew", &lease(&login)) == refused(404, "not_found"));
}

fn budget(shared: &Shared) {
    shared.postgres();
    let plan = with(&format!("{TENANT}[leases]\nper_agent = 3\n"));
    let gates = [Gate::start(shared.world(), &plan), Gate::start(shared.world(), &plan)];
    let clients = gates.each_ref().map(|gate| gate.agent("tenant"));
    let issued: Vec<_> = std::thread::scope(|scope| {
        let issue = |client| scope.spawn(move || rest(client, "/db/creds/readonly", &json!({})));
        let running: Vec<_> = clients.iter().cycle().take(8).map(issue).collect();
        running.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let (granted, over): (Vec<_>, Vec<_>) = issued.into_iter().partition(Result::is_ok);
    assert_eq!(granted.len(), 3, "{over:?}");
    for outcome in over {
        assert_eq!(outcome, refused(429, "lease_budget_exhausted"));
    }
    assert_eq!(tokens(shared, "tenant", "portcullis-leases"), 3, "nothing is left of what was refused");
    assert_eq!(tool(&clients[0], "db.issue_creds", &json!({"role": "readonly"})), Err("lease_budget_exhausted".into()));
    let held: Vec<Value> = granted.into_iter().map(|login| login.expect("a login")).collect();
    assert!(rest(&clients[1], "/db/revoke", &lease(&held[0])).is_ok());
    let again = rest(&clients[0], "/db/creds/readonly", &json!({})).expect("there is room again");
    for login in held.iter().skip(1).chain([&again]) {
        assert!(rest(&clients[0], "/db/revoke", &lease(login)).is_ok());
    }
    assert_eq!(tokens(shared, "tenant", "portcullis-leases"), 0);
}

fn nothing_left(shared: &Shared) {
    shared.postgres();
    let sections = "\n[[identity.families]]\nspiffe = \"spiffe://portcullis.dev/agent/{name}\"\n\
        [roles.narrow]\nscopes = [\"write\"]\ndatabase = [\"read*\", \"other\"]\n[agents.agent_jwt]\nroles = [\"narrow\"]\n";
    let gate = Gate::start(shared.world(), &Plan { sections: sections.to_owned(), ..Plan::default() });
    let client = gate.agent("agent_jwt");
    assert_eq!(rest(&client, "/db/creds/brief", &json!({})), refused(403, "forbidden"));
    assert_eq!(tool(&client, "db.issue_creds", &json!({"role": "brief"})), Err("forbidden".into()));
    // The gate allows it, Vault does not.
    assert_eq!(rest(&client, "/db/creds/other", &json!({})), refused(403, "denied_by_vault"));
    assert_eq!(rest(&client, "/ssh/sign", &json!({"role": "ops", "public_key": "x"})), refused(403, "forbidden"));
    assert_eq!(tokens(shared, "agent_jwt", "portcullis-leases"), 0);
    let (_, record) = shared.world().ask("GET", "secret/data/portcullis/leases/agent_jwt", &Value::Null);
    assert_eq!(record["data"]["data"]["leases"], json!({}), "{record}");
}

fn generation(shared: &Shared) {
    shared.postgres();
    let before = Gate::start(shared.world(), &with(LODGER));
    let login = rest(&before.agent("lodger"), "/db/creds/readonly", &json!({})).expect("a login");
    let after = Gate::start(shared.world(), &with(&format!("{LODGER}generation = 2\n")));
    assert_eq!(rest(&after.agent("lodger"), "/db/revoke", &lease(&login)), refused(403, "forbidden"));
    assert!(rest(&before.agent("lodger"), "/db/revoke", &lease(&login)).is_ok());
}

fn ssh_sign(shared: &Shared) {
    let server = shared.sshd();
    let client = shared.gate().agent("agent_mtls");
    let me = Identity::new();
    assert!(!server.lets_in(&me, None), "{}", server.log());
    let asked = json!({"role": "ops", "public_key": me.public_key()});
    let signed = rest(&client, "/ssh/sign", &asked).expect("a certificate");
    assert!(server.lets_in(&me, Some(text(&signed, "signed_key"))), "{}", server.log());
    let deploy = json!({"role": "ops", "public_key": me.public_key(), "valid_principals": "deploy"});
    let signed = tool(&client, "ssh.sign", &deploy).expect("a certificate");
    assert!(!server.lets_in(&me, Some(text(&signed, "signed_key"))), "the host lets ops in");
    let root = json!({"role": "ops", "public_key": me.public_key(), "valid_principals": "root"});
    assert_eq!(rest(&client, "/ssh/sign", &root), refused(400, "rejected_by_vault"));
    // Vault dates certificates back by half a minute.
    let brief = json!({"role": "ops", "public_key": me.public_key(), "ttl": "4s", "valid_principals": "ops"});
    let signed = tool(&client, "ssh.sign", &brief).expect("a certificate");
    assert!(server.lets_in(&me, Some(text(&signed, "signed_key"))), "{}", server.log());
    wait_for("the certificate ends", 30, || !server.lets_in(&me, Some(text(&signed, "signed_key"))));
}

fn ssh_bounds(shared: &Shared) {
    let server = shared.sshd();
    let sections = "\n[roles.bounded]\nscopes = [\"write\"]\nssh = [\"ops\", \"otp\"]\nssh_principals = [\"ops\"]\n\
        ssh_extensions = [\"permit-pty\"]\nmax_ttl = \"5m\"\n[agents.alice]\nroles = [\"bounded\"]\n";
    let gate = Gate::start(shared.world(), &with(sections));
    let alice = gate.agent("alice");
    let me = Identity::new();
    let sign = |more: Value| {
        let mut asked = json!({"role": "ops", "public_key": me.public_key(), "valid_principals": "ops"});
        asked.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        rest(&alice, "/ssh/sign", &asked)
    };
    let signed = sign(json!({})).expect("a certificate");
    assert!(server.lets_in(&me, Some(text(&signed, "signed_key"))), "{}", server.log());
    assert!(sign(json!({"extensions": {"permit-pty": ""}, "ttl": 300})).is_ok());
    for more in [
        json!({"valid_principals": "deploy"}),
        json!({"ttl": "6m"}),
        json!({"extensions": {"permit-port-forwarding": ""}}),
    ] {
        assert_eq!(sign(more.clone()), refused(403, "forbidden"), "{more}");
    }
    let deploy = json!({"role": "otp", "ip": "127.0.0.1", "username": "deploy"});
    assert_eq!(tool(&alice, "ssh.otp", &deploy), Err("forbidden".into()));
}

/// Where a request names nothing, Vault's role puts in `permit-pty` and half an hour.
fn ssh_left_out(shared: &Shared) {
    let role = |name: &str, extensions: &str| {
        format!(
            "[roles.{name}]\nscopes = [\"write\"]\nssh = [\"ops\"]\nssh_extensions = [{extensions}]\nmax_ttl = \"5m\"\n\
             [agents.{name}]\nroles = [\"{name}\"]\n"
        )
    };
    let sections = [
        role("alice", "\"permit-port-forwarding\""),
        role("bob", "\"permit-pty\", \"permit-port-forwarding\""),
        role("archive", "\"permit-p*\""),
        role("nobody", ""),
    ];
    let gate = Gate::start(shared.world(), &with(&format!("\n{}", sections.concat())));
    let me = Identity::new();
    let holds = |signed: &Value| {
        let key = text(signed, "signed_key").split_whitespace().nth(1).expect("a key").to_owned();
        let bytes = STANDARD.decode(key).expect("base64");
        ["permit-pty", "permit-port-forwarding"]
            .map(|name| bytes.windows(name.len()).any(|part| part == name.as_bytes()))
    };
    for left_out in [json!({}), json!({"extensions": {}}), json!({"extensions": null}), json!({"critical_options": {}})]
    {
        let mut asked = json!({"role": "ops", "public_key": me.public_key(), "valid_principals": "ops"});
        asked.as_object_mut().expect("an object").extend(left_out.as_object().expect("an object").clone());
        for (name, expected) in [("alice", [false, true]), ("bob", [true, true])] {
            let agent = gate.agent(name);
            for signed in [rest(&agent, "/ssh/sign", &asked).ok(), tool(&agent, "ssh.sign", &asked).ok()] {
                assert_eq!(holds(&signed.expect("a certificate")), expected, "{name}: {left_out}");
            }
        }
        for name in ["archive", "nobody"] {
            let agent = gate.agent(name);
            assert_eq!(rest(&agent, "/ssh/sign", &asked), refused(403, "forbidden"), "{name}: {left_out}");
            assert_eq!(tool(&agent, "ssh.sign", &asked), Err("forbidden".into()), "{name}: {left_out}");
        }
    }
    let named = json!({"role": "ops", "public_key": me.public_key(), "valid_principals": "ops",
        "extensions": {"permit-pty": ""}});
    assert_eq!(holds(&rest(&gate.agent("archive"), "/ssh/sign", &named).expect("a certificate")), [true, false]);
    assert_eq!(rest(&gate.agent("alice"), "/ssh/sign", &named), refused(403, "forbidden"));
}

fn ssh_otp(shared: &Shared) {
    let mut plan = Plan::default();
    plan.top.push_str("child_token_ttl = \"5s\"\n");
    let gate = Gate::start(shared.world(), &plan);
    let client = gate.keyed();
    let asked = json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"});
    let verify = |otp: &str| shared.world().ask("POST", "ssh/verify", &json!({"otp": otp}));
    let issued = rest(&client, "/ssh/otp", &asked).expect("a password");
    let (status, verified) = verify(text(&issued, "otp"));
    assert_eq!((status, &verified["data"]["username"]), (200, &json!("ops")), "{verified}");
    assert_eq!(verify(text(&issued, "otp")).0, 400, "it is good once");
    let issued = tool(&client, "ssh.otp", &asked).expect("a password");
    assert_eq!((&issued["ip"], &issued["username"]), (&json!("127.0.0.1"), &json!("ops")));
    assert_eq!(verify(text(&issued, "otp")).0, 200);
    let outside = json!({"role": "otp", "ip": "192.0.2.1", "username": "ops"});
    assert_eq!(rest(&client, "/ssh/otp", &outside), refused(400, "rejected_by_vault"));
    assert_eq!(tokens(shared, "agent_api", "portcullis-leases"), 2, "one for each password");
}

/// True where a server that shows `certificate` is `name` to whoever trusts `issuer`.
fn verifies(certificate: &str, issuer: &str, name: &str) -> bool {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(der(issuer)).expect("an authority");
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().expect("a verifier");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    verifier.verify_server_cert(&der(certificate), &[], &name, &[], UnixTime::now()).is_ok()
}

fn revoked(shared: &Shared, certificate: &Value) -> bool {
    let (status, found) =
        shared.world().ask("GET", &format!("pki/cert/{}", text(certificate, "serial_number")), &Value::Null);
    assert_eq!(status, 200, "{found}");
    found["data"]["revocation_time"].as_u64().expect("a time") > 0
}

fn pki(shared: &Shared) {
    let gate = shared.gate();
    let client = gate.agent("agent_mtls");
    let (_, authority) = shared.world().ask("GET", "pki/cert/ca", &Value::Null);
    let authority = text(&authority["data"], "certificate");
    let asked = json!({"role": "service", "common_name": "a.agents.internal", "ttl": "1h"});
    for issued in
        [rest(&client, "/pki/issue", &asked).map_err(|error| format!("{error:?}")), tool(&client, "pki.issue", &asked)]
    {
        let issued = issued.expect("a certificate");
        assert!(verifies(text(&issued, "certificate"), authority, "a.agents.internal"));
        assert!(text(&issued, "private_key").contains("PRIVATE KEY"));
        let handle = json!({"handle": issued["handle"]});
        assert_eq!(rest(&gate.keyed(), "/pki/revoke", &handle), refused(403, "forbidden"));
        assert_eq!(tool(&gate.keyed(), "pki.revoke", &handle), Err("forbidden".into()));
        assert!(!revoked(shared, &issued));
        let answer = rest(&client, "/pki/revoke", &handle).expect("revoked");
        assert!(answer["revocation_time"].as_u64().is_some_and(|time| time > 0), "{answer}");
        assert!(revoked(shared, &issued));
    }
    for names in [
        json!({"common_name": "a.example"}),
        json!({"common_name": "agents.internal"}),
        json!({"common_name": "*.agents.internal"}),
        json!({"common_name": "*.a.agents.internal"}),
        json!({"common_name": "a*.agents.internal"}),
        json!({"common_name": "localhost"}),
        json!({"common_name": "127.0.0.1"}),
        json!({"common_name": "root@a.agents.internal"}),
        json!({"common_name": "a.agents.internal", "alt_names": "*.agents.internal"}),
        json!({"common_name": "a.agents.internal", "alt_names": "localhost"}),
        json!({"common_name": "a.agents.internal", "ip_sans": "127.0.0.1"}),
        json!({"common_name": "a.agents.internal", "uri_sans": "spiffe://agents.internal/a"}),
    ] {
        let mut asked = names.clone();
        asked["role"] = json!("service");
        assert_eq!(rest(&client, "/pki/issue", &asked), refused(400, "rejected_by_vault"), "{names}");
    }
    let bounded = "\n[roles.bounded]\nscopes = [\"write\"]\npki = [\"service\"]\nmax_ttl = \"10m\"\n\
        [agents.alice]\nroles = [\"bounded\"]\n";
    let gate = Gate::start(shared.world(), &with(bounded));
    let alice = gate.agent("alice");
    assert_eq!(rest(&alice, "/pki/issue", &asked), refused(403, "forbidden"));
    let named = json!({"role": "service", "common_name": "b.agents.internal"});
    let issued = rest(&alice, "/pki/issue", &named).expect("a certificate");
    let lasts = issued["expiration"].as_u64().expect("a time") - UnixTime::now().as_secs();
    assert!(lasts <= 600, "{lasts}");
}

fn pki_sign(shared: &Shared) {
    let gate = shared.gate();
    let client = gate.keyed();
    let asked = json!({"role": "service", "csr": csr("c.agents.internal"), "common_name": "c.agents.internal"});
    for signed in
        [rest(&client, "/pki/sign", &asked).map_err(|error| format!("{error:?}")), tool(&client, "pki.sign", &asked)]
    {
        let signed = signed.expect("a certificate");
        assert!(verifies(text(&signed, "certificate"), text(&signed, "issuing_ca"), "c.agents.internal"));
        assert_eq!(signed["private_key"], Value::Null);
        let handle = json!({"handle": signed["handle"]});
        assert_eq!(tool(&gate.agent("agent_mtls"), "pki.revoke", &handle), Err("forbidden".into()));
        assert!(tool(&client, "pki.revoke", &handle).is_ok());
        assert!(revoked(shared, &signed));
    }
}
