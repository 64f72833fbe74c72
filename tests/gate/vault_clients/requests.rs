//! The requests of clients that are too large to be run here, as their sources have them.

use serde_json::{Value, json};
use tests::{API_KEY, Client, Response};

use super::Served;
use crate::Shared;

/// Sends it, and gives what is answered with this status.
fn asks(client: &Client, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("X-Vault-Request", "true"), ("X-Vault-Inconsistent", "forward-active-node")];
    let answer: Response = client.send(method, &format!("/v1/{path}"), &headers, body.as_bytes());
    assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// The client with the token that a login has given.
fn logged_in(client: &Client, method: &str, body: &Value) -> Client {
    let auth = asks(client, "PUT", &format!("auth/{method}/login"), body, 200)["auth"].clone();
    client.clone().with("X-Vault-Token", auth["client_token"].as_str().unwrap_or_else(|| panic!("{auth}")))
}

/// `hashicorp/vault`, the provider: it looks its token up, makes one of it for the run, and asks for the version.
pub(super) fn terraform(shared: &Shared) {
    let served = Served::start(shared.world());
    let keyed = served.gate.stranger().with("X-Vault-Token", API_KEY);
    let look = asks(&keyed, "GET", "auth/token/lookup-self", &Value::Null, 200);
    assert!(look["data"]["policies"].is_array() && look["data"]["renewable"] == false, "{look}");
    let wanted = json!({"display_name": "terraform", "ttl": "1200s", "explicit_max_ttl": "1200s", "renewable": false});
    let auth = asks(&keyed, "POST", "auth/token/create", &wanted, 200)["auth"].clone();
    assert_eq!((&auth["lease_duration"], &auth["renewable"]), (&json!(1200), &json!(false)), "{auth}");
    let run = served.gate.stranger().with("X-Vault-Token", auth["client_token"].as_str().expect("a token"));
    let version = asks(&run, "GET", "sys/seal-status", &Value::Null, 200)["version"].clone();
    let parts: Vec<u64> =
        version.as_str().expect("a version").split('.').filter_map(|part| part.parse().ok()).collect();
    assert_eq!(parts.len(), 3, "{version}");
    // A resource: written, read back, and its metadata; then taken away.
    let secret = json!({"data": {"a": "b"}, "options": {"cas": 0}});
    asks(&run, "PUT", "secret/data/v1-terraform", &secret, 200);
    let read = asks(&run, "GET", "secret/data/v1-terraform", &Value::Null, 200);
    assert_eq!(read["data"]["data"], json!({"a": "b"}), "{read}");
    asks(&run, "GET", "secret/metadata/v1-terraform", &Value::Null, 200);
    asks(&run, "DELETE", "secret/data/v1-terraform", &Value::Null, 204);
    asks(&run, "POST", "sys/mounts/other", &json!({"type": "kv"}), 403);
}

/// External Secrets Operator, by each of its logins that the gate has.
pub(super) fn external_secrets(shared: &Shared) {
    let served = Served::start(shared.world());
    let jwt = json!({"role": "app", "jwt": served.token("agent_mtls")});
    let certificate = served.gate.holder(&served.issued);
    let stranger = served.gate.stranger();
    let key = json!({"role_id": "agent_api", "secret_id": API_KEY});
    for (client, method, body) in [
        (&certificate, "cert", &json!({"name": "app"})),
        (&stranger, "jwt", &jwt),
        (&stranger, "kubernetes", &jwt),
        (&stranger, "approle", &key),
    ] {
        let caller = logged_in(client, method, body);
        let look = asks(&caller, "GET", "auth/token/lookup-self", &Value::Null, 200)["data"].clone();
        // A token of another type or with less than a minute is logged in for again each time.
        assert_eq!(look["type"], "service", "{look}");
        assert!(look["ttl"].as_u64().is_some_and(|ttl| ttl > 60) && look["expire_time"].is_string(), "{look}");
        let path = format!("v1-external/{method}");
        for version in 1..=2 {
            asks(&caller, "PUT", &format!("secret/data/{path}"), &json!({"data": {"n": version}}), 200);
            let read = asks(&caller, "GET", &format!("secret/data/{path}"), &Value::Null, 200);
            assert_eq!(
                (&read["data"]["data"]["n"], &read["data"]["metadata"]["version"]),
                (&json!(version), &json!(version))
            );
        }
        let old = asks(&caller, "GET", &format!("secret/data/{path}?version=1"), &Value::Null, 200);
        assert_eq!(old["data"]["data"]["n"], 1, "{old}");
        let metadata = asks(&caller, "GET", &format!("secret/metadata/{path}"), &Value::Null, 200);
        assert_eq!(metadata["data"]["custom_metadata"], Value::Null, "{metadata}");
        let listed = asks(&caller, "GET", "secret/metadata/v1-external?list=true", &Value::Null, 200);
        assert!(listed["data"]["keys"].as_array().is_some_and(|keys| keys.contains(&json!(method))), "{listed}");
        // What is pushed is marked before it is written, and known by the mark later.
        let mark = json!({"custom_metadata": {"managed-by": "external-secrets"}});
        asks(&caller, "PUT", &format!("secret/metadata/{path}-pushed"), &mark, 204);
        asks(&caller, "PUT", &format!("secret/data/{path}-pushed"), &json!({"data": {"n": 1}}), 200);
        let pushed = asks(&caller, "GET", &format!("secret/metadata/{path}-pushed"), &Value::Null, 200);
        assert_eq!(pushed["data"]["custom_metadata"], mark["custom_metadata"], "{pushed}");
        asks(&caller, "GET", "secret/data/v1-external/none", &Value::Null, 404);
        asks(&caller, "GET", "cubbyhole/x", &Value::Null, 403);
        asks(&caller, "PUT", "auth/token/revoke-self", &Value::Null, 204);
        asks(&caller, "GET", &format!("secret/data/{path}"), &Value::Null, 403);
    }
}
