//! A call of every tool, in an order in which they succeed.

use serde_json::{Value, json};
use tests::servers::{Identity, Kms, csr};

/// The bytes that are encrypted and signed, in base64.
const WORDS: &str = "c2VjcmV0IHdvcmRz";

/// The subjects of the calls that are not in Vault.
pub struct Subjects {
    /// The id of a KMS key that encrypts.
    sealing: String,
    /// The id of a KMS key that signs.
    signing: String,
    /// A public key of OpenSSH.
    public_key: String,
    /// A request for a certificate, PEM.
    csr: String,
}

/// One call of a tool.
pub struct Call {
    pub tool: &'static str,
    /// An argument `{"from": [tool, member, ...]}` is that member of the tool's last answer.
    pub arguments: Value,
    /// Members of its answer; where `error` is one, the call is to fail.
    pub tells: Value,
}

impl Call {
    fn of(tool: &'static str, arguments: Value) -> Self {
        Self { tool, arguments, tells: json!({}) }
    }

    fn tells(self, tells: Value) -> Self {
        Self { tells, ..self }
    }
}

impl Subjects {
    /// Makes the keys.
    pub fn new(kms: &Kms) -> Self {
        Self {
            sealing: kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"),
            signing: kms.create_key("SIGN_VERIFY", "ECC_NIST_P256"),
            public_key: Identity::new().public_key(),
            csr: csr("signed.agents.internal"),
        }
    }

    /// The calls of an agent, which leave `data` in the secret at `path`.
    pub fn calls(&self, agent: &str, path: &str, data: &Value) -> Vec<Call> {
        let own =
            vec![Call::of("whoami", json!({})).tells(json!({"agent": agent})), Call::of("access_list", json!({}))];
        [kv(path, data), transit(), self.issued(), self.kms(), own].into_iter().flatten().collect()
    }

    fn issued(&self) -> Vec<Call> {
        let lease = from(&["db_issue_creds", "lease_id"]);
        let host = json!({"ip": "127.0.0.1", "username": "ops"});
        vec![
            Call::of("db_issue_creds", json!({"role": "readonly"})),
            Call::of("db_renew", json!({"lease_id": lease, "increment": "2h"})),
            Call::of("db_revoke", json!({"lease_id": lease})),
            Call::of("ssh_sign", json!({"role": "ops", "public_key": self.public_key, "valid_principals": "ops"})),
            Call::of("ssh_otp", with(&json!({"role": "otp"}), &host)).tells(host),
            Call::of("pki_issue", json!({"role": "service", "common_name": "issued.agents.internal"})),
            Call::of("pki_revoke", json!({"handle": from(&["pki_issue", "handle"])})),
            Call::of("pki_sign", json!({"role": "service", "csr": self.csr})),
        ]
    }

    fn kms(&self) -> Vec<Call> {
        let key = |more: Value| with(&json!({"key_id": self.sealing}), &more);
        let ciphertext = from(&["kms_encrypt", "ciphertext"]);
        let message = json!({"key_id": self.signing, "message": WORDS, "signing_algorithm": "ECDSA_SHA_256"});
        let signed = with(&message, &json!({"signature": from(&["kms_sign", "signature"])}));
        vec![
            Call::of("kms_encrypt", key(json!({"plaintext": WORDS}))),
            Call::of("kms_decrypt", key(json!({"ciphertext": ciphertext}))).tells(json!({"plaintext": WORDS})),
            Call::of("kms_generate_data_key", key(json!({"key_spec": "AES_256"}))),
            Call::of("kms_sign", message),
            Call::of("kms_verify", signed).tells(json!({"valid": true})),
        ]
    }
}

fn kv(path: &str, data: &Value) -> Vec<Call> {
    let more = json!({"more": [1, null, {"a": ""}]});
    let both = with(data, &more);
    let about = |more: Value| with(&json!({"path": path}), &more);
    vec![
        Call::of("kv_write", about(json!({"data": {}}))).tells(json!({"version": 1})),
        Call::of("kv_write", about(json!({"data": data, "cas": 1}))).tells(json!({"version": 2})),
        Call::of("kv_patch", about(json!({"data": more}))).tells(json!({"version": 3})),
        Call::of("kv_read", about(json!({}))).tells(json!({"data": both})),
        Call::of("kv_read", json!({"path": format!("{path}/missing")})).tells(json!({"error": "not_found"})),
        Call::of("kv_list", json!({"prefix": "clients"})),
        Call::of("kv_delete", about(json!({}))),
        Call::of("kv_undelete", about(json!({"versions": [3]}))),
        Call::of("kv_destroy", about(json!({"versions": [1, 3]}))),
        Call::of("kv_metadata", about(json!({}))).tells(json!({"current_version": 3})),
        Call::of("kv_write", about(json!({"data": data}))).tells(json!({"version": 4})),
    ]
}

fn transit() -> Vec<Call> {
    let key = |more: Value| with(&json!({"key": "agents-key"}), &more);
    let ciphertext = json!({"ciphertext": from(&["transit_encrypt", "ciphertext"])});
    let hmac = from(&["transit_hmac", "hmac"]);
    vec![
        Call::of("transit_encrypt", key(json!({"plaintext": WORDS}))),
        Call::of("transit_rewrap", key(ciphertext.clone())),
        Call::of("transit_decrypt", key(ciphertext)).tells(json!({"plaintext": WORDS})),
        Call::of("transit_generate_data_key", key(json!({"bits": 256}))),
        Call::of("transit_sign", json!({"key": "agents-signing-key", "input": WORDS})),
        Call::of("transit_hmac", key(json!({"input": WORDS}))),
        Call::of("transit_verify", key(json!({"input": WORDS, "hmac": hmac}))).tells(json!({"valid": true})),
        Call::of("transit_random", json!({"bytes": 8, "wrap_ttl": "60s"})),
        Call::of("wrap_lookup", json!({"handle": from(&["transit_random", "wrapped", "handle"])})),
    ]
}

fn from(member: &[&str]) -> Value {
    json!({"from": member})
}

/// The members of both objects.
pub fn with(one: &Value, other: &Value) -> Value {
    let mut all = one.as_object().expect("an object").clone();
    all.extend(other.as_object().expect("an object").clone());
    all.into()
}
