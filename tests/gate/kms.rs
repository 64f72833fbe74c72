//! AWS KMS through the gate: keys by grant, and nothing of AWS's but answers.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::{Client, Gate, Plan, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("every_operation_does_what_aws_does_on_both_surfaces", every),
    ("a_key_is_used_by_grant_of_the_name_it_is_called_by", grants),
    ("without_a_key_the_configured_one_is_judged", default_key),
    ("what_aws_refuses_is_told_by_code", refused_by_aws),
    ("nothing_of_the_gates_own_way_to_aws_is_an_argument", arguments),
    ("where_it_is_not_enabled_nothing_is_served", disabled),
    ("where_aws_is_away_that_is_said", away),
    ("an_answer_of_awss_that_has_no_end_is_cut_off", endless),
    ("what_is_decrypted_can_be_wrapped", wrapped),
];

/// Each operation with its route.
const ROUTES: [(&str, &str); 5] = [
    ("kms.encrypt", "/kms/encrypt"),
    ("kms.decrypt", "/kms/decrypt"),
    ("kms.generate_data_key", "/kms/data-key"),
    ("kms.sign", "/kms/sign"),
    ("kms.verify", "/kms/verify"),
];

/// `secret words`, in base64.
const WORDS: &str = "c2VjcmV0IHdvcmRz";

/// A gate that asks `endpoint`; alice has the aliases that begin with `alice-`.
fn gate(shared: &Shared, endpoint: &str, more: &str) -> Gate {
    let top = format!(
        "rate_limit_enabled = false\naws_kms_enabled = true\naws_region = \"us-east-1\"\n\
         aws_kms_endpoint = \"{endpoint}\"\naws_access_key_id = \"tests\"\naws_secret_access_key = \"tests\"\n{more}"
    );
    Gate::start(shared.world(), &Plan { top, sections: sections(), ..Plan::default() })
}

fn sections() -> String {
    let own = "[roles.own]\nscopes = [\"read\", \"write\"]\nkms = [\"alias/alice-*\"]\n";
    let reader = "[roles.kms-reader]\nscopes = [\"read\"]\nkms = [\"*\"]\n";
    let agents = "[agents.alice]\nroles = [\"own\"]\n[agents.bob]\nroles = [\"kms-reader\"]\n";
    format!("{}\n{own}{reader}{agents}", tests::process::AGENTS)
}

/// Where a caller asks.
#[derive(Clone, Copy, Debug)]
enum Surface {
    Rest,
    Mcp,
}

const SURFACES: [Surface; 2] = [Surface::Rest, Surface::Mcp];

/// The answer, or the error's code and its pointer.
fn ask(surface: Surface, client: &Client, name: &str, arguments: &Value) -> Result<Value, String> {
    let told = match surface {
        Surface::Rest => {
            let (_, route) = ROUTES.iter().find(|(known, _)| *known == name).expect("a route");
            client.post(route, arguments).json()
        }
        Surface::Mcp => {
            let answer = client.call(name, arguments).json();
            // A missing scope is HTTP's and JSON-RPC's, without a result.
            let error = answer["error"]["data"].clone();
            if error.is_null() { answer["result"]["structuredContent"].clone() } else { error }
        }
    };
    match told["error"].as_str() {
        Some(code) => Err(format!("{code}{}", told["pointer"].as_str().unwrap_or_default())),
        None => Ok(told),
    }
}

/// Fails where an answer is not what the operation's description says.
fn fits(name: &str, answer: &Value) {
    let schema = filters::catalog::find(name).expect("an operation").output_schema();
    let judged = jsonschema::validate(&schema, answer);
    assert!(judged.is_ok(), "{name}: {answer}: {judged:?}");
}

fn every(shared: &Shared) {
    let kms = shared.kms();
    let (sealing, signing) =
        (kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"), kms.create_key("SIGN_VERIFY", "ECC_NIST_P256"));
    let gate = gate(shared, &kms.endpoint(), "");
    let client = gate.agent("agent_mtls");
    for surface in SURFACES {
        let ask = |name: &str, arguments: Value| {
            let answer = ask(surface, &client, name, &arguments);
            let answer = answer.unwrap_or_else(|error| panic!("{surface:?} {name} {arguments}: {error}"));
            fits(name, &answer);
            answer
        };
        let context = json!({"tenant": "a", "purpose": "tests"});
        let sealed = ask("kms.encrypt", json!({"key_id": sealing, "plaintext": WORDS, "encryption_context": context}));
        let (status, opened) =
            kms.ask("Decrypt", &json!({"CiphertextBlob": sealed["ciphertext"], "EncryptionContext": context}));
        assert_eq!((status, &opened["Plaintext"]), (200, &json!(WORDS)), "it was AWS that encrypted: {opened}");
        let open = json!({"key_id": sealing, "ciphertext": sealed["ciphertext"], "encryption_context": context});
        let opened = ask("kms.decrypt", open);
        assert_eq!(opened["plaintext"], WORDS);
        assert!(opened["key_id"].as_str().is_some_and(|key| key.ends_with(&sealing)), "{opened}");
        for (size, length) in [
            (json!({}), 44),
            (json!({"key_spec": "AES_256"}), 44),
            (json!({"key_spec": "AES_128"}), 24),
            (json!({"number_of_bytes": 7}), 12),
        ] {
            let mut arguments = size;
            arguments["key_id"] = json!(sealing);
            let made = ask("kms.generate_data_key", arguments);
            assert_eq!(made["plaintext"].as_str().map(str::len), Some(length), "{made}");
            let opened = ask("kms.decrypt", json!({"key_id": sealing, "ciphertext": made["ciphertext"]}));
            assert_eq!(opened["plaintext"], made["plaintext"]);
        }
        signatures(&signing, ask);
    }
}

fn signatures(key: &str, ask: impl Fn(&str, Value) -> Value) {
    let signed = ask("kms.sign", json!({"key_id": key, "message": WORDS, "signing_algorithm": "ECDSA_SHA_256"}));
    for (message, valid) in [(WORDS, true), ("b3RoZXI=", false)] {
        let verified = ask(
            "kms.verify",
            json!({"key_id": key, "message": message, "message_type": "RAW",
                   "signature": signed["signature"], "signing_algorithm": "ECDSA_SHA_256"}),
        );
        assert_eq!(verified, json!({"valid": valid}), "{message}");
    }
    let digest = tests::process::sha256("secret words");
    let digest: Vec<u8> =
        (0..digest.len()).step_by(2).map(|at| u8::from_str_radix(&digest[at..at + 2], 16).expect("hex")).collect();
    let digest = base64(&digest);
    let of_digest = json!({"key_id": key, "message_digest": digest, "signing_algorithm": "ECDSA_SHA_256", "message_type": "DIGEST"});
    let mut verify = of_digest.clone();
    verify["signature"] = ask("kms.sign", of_digest)["signature"].clone();
    assert_eq!(ask("kms.verify", verify.clone()), json!({"valid": true}));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|group| {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(*group.get(at).unwrap_or(&0)));
        let digit = |at: usize| if at > group.len() { '=' } else { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) };
        (0..4).map(digit).collect::<String>()
    });
    groups.collect()
}

/// Each operation with the least that it asks for beside the key.
fn least(name: &str) -> Value {
    match name {
        "kms.encrypt" => json!({"plaintext": WORDS}),
        "kms.decrypt" => json!({"ciphertext": WORDS}),
        "kms.generate_data_key" => json!({"key_spec": "AES_256"}),
        "kms.sign" => json!({"message": WORDS, "signing_algorithm": "ECDSA_SHA_256"}),
        _ => json!({"message": WORDS, "signature": WORDS, "signing_algorithm": "ECDSA_SHA_256"}),
    }
}

fn with_key(name: &str, key: &str) -> Value {
    let mut arguments = least(name);
    arguments["key_id"] = json!(key);
    arguments
}

fn grants(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    kms.create_alias("alias/alice-grants", &key);
    kms.create_alias("alias/other-grants", &key);
    let gate = gate(shared, &kms.endpoint(), "");
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    for surface in SURFACES {
        let mine = with_key("kms.encrypt", "alias/alice-grants");
        let sealed = ask(surface, &alice, "kms.encrypt", &mine).expect("by grant");
        for (name, _) in ROUTES {
            for key in ["alias/other-grants", &key, &format!("arn:aws:kms:us-east-1:123456789012:key/{key}")] {
                let refused = ask(surface, &alice, name, &with_key(name, key));
                assert_eq!(refused, Err("forbidden".to_owned()), "{surface:?} {name} {key}");
            }
            for key in ["", "alias/alice-*", "alias/alice-../x", "alice-grants/x"] {
                let refused = ask(surface, &alice, name, &with_key(name, key));
                assert_eq!(refused, Err("invalid_arguments/key_id".to_owned()), "{surface:?} {name} {key}");
            }
        }
        let open = json!({"key_id": key, "ciphertext": sealed["ciphertext"]});
        assert_eq!(ask(surface, &bob, "kms.decrypt", &open).expect("by grant")["plaintext"], WORDS);
        // A role of bob's has the key, and none the scope.
        assert!(ask(surface, &bob, "kms.encrypt", &with_key("kms.encrypt", &key)).is_err(), "{surface:?}");
    }
    let response = bob.post("/kms/encrypt", &with_key("kms.encrypt", &key));
    assert_eq!((response.status, response.code().as_str()), (403, "forbidden"));
}

fn default_key(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    kms.create_alias("alias/alice-default", &key);
    let hers = gate(shared, &kms.endpoint(), "aws_kms_default_key_id = \"alias/alice-default\"\n");
    let anothers = gate(shared, &kms.endpoint(), &format!("aws_kms_default_key_id = \"{key}\"\n"));
    let none = gate(shared, &kms.endpoint(), "");
    let state = |gate: &Gate| gate.admin_client().get("/readyz").json()["kms"].clone();
    for well in [&hers, &none] {
        wait_for("KMS was asked", 30, || state(well) == json!({"enabled": true, "ok": true, "problem": null}));
    }
    let wrong = gate(shared, &kms.endpoint(), "aws_kms_default_key_id = \"alias/alice-none\"\n");
    wait_for("the default key is missed", 30, || {
        state(&wrong)["problem"].as_str().is_some_and(|why| why.contains("AWS_KMS_DEFAULT_KEY_ID"))
    });
    for surface in SURFACES {
        let sealed = ask(surface, &hers.agent("alice"), "kms.encrypt", &least("kms.encrypt")).expect("by grant");
        assert!(sealed["key_id"].as_str().is_some_and(|used| used.ends_with(&key)), "{sealed}");
        let open = json!({"ciphertext": sealed["ciphertext"]});
        assert_eq!(ask(surface, &hers.agent("alice"), "kms.decrypt", &open).expect("by grant")["plaintext"], WORDS);
        for (name, _) in ROUTES {
            let refused = ask(surface, &anothers.agent("alice"), name, &least(name));
            assert_eq!(refused, Err("forbidden".to_owned()), "{surface:?} {name}");
            for agent in ["alice", "agent_mtls"] {
                let refused = ask(surface, &none.agent(agent), name, &least(name));
                assert_eq!(refused, Err("invalid_arguments/key_id".to_owned()), "{surface:?} {name} {agent}");
            }
        }
    }
}

fn refused_by_aws(shared: &Shared) {
    let kms = shared.kms();
    let (one, other) = (
        kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"),
        kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"),
    );
    let gate = gate(shared, &kms.endpoint(), "");
    let client = gate.agent("agent_mtls");
    let sealed = ask(
        Surface::Rest,
        &client,
        "kms.encrypt",
        &json!({"key_id": one, "plaintext": WORDS, "encryption_context": {"a": "1"}}),
    );
    let sealed = sealed.expect("a ciphertext")["ciphertext"].clone();
    let open = |key: &str, context: Value| json!({"key_id": key, "ciphertext": sealed, "encryption_context": context});
    for surface in SURFACES {
        for (name, arguments, code) in [
            ("kms.encrypt", with_key("kms.encrypt", "alias/nobody"), "not_found"),
            ("kms.decrypt", open(&one, json!({"a": "2"})), "rejected_by_kms"),
            ("kms.decrypt", open(&one, json!({})), "rejected_by_kms"),
            // To AWS itself it is the wrong key; to moto, one that is not to be used.
            ("kms.decrypt", open(&other, json!({"a": "1"})), "denied_by_kms"),
            ("kms.sign", with_key("kms.sign", &one), "rejected_by_kms"),
        ] {
            let refused = ask(surface, &client, name, &arguments);
            assert_eq!(refused, Err(code.to_owned()), "{surface:?} {name} {arguments}");
        }
    }
    let response = client.post("/kms/decrypt", &open(&one, json!({})));
    let told = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status, 400);
    assert!(!told.contains("Exception") && !told.contains(&one), "nothing of AWS's words: {told}");
}

fn arguments(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    let gate = gate(shared, &kms.endpoint(), "");
    let client = gate.agent("agent_mtls");
    for surface in SURFACES {
        for (name, _) in ROUTES {
            for more in ["endpoint", "endpoint_url", "region", "aws_access_key_id", "credentials", "dry_run"] {
                let mut arguments = with_key(name, &key);
                arguments[more] = json!("http://127.0.0.1:1");
                let refused = ask(surface, &client, name, &arguments);
                assert_eq!(refused, Err("invalid_arguments".to_owned()), "{surface:?} {name} {more}");
            }
        }
    }
    for surface in SURFACES {
        for (digest, algorithm) in
            [(&[0; 31][..], "ECDSA_SHA_256"), (&[0; 32], "ECDSA_SHA_384"), (&[0; 64], "ED25519_SHA_512")]
        {
            let sign = json!({"key_id": key, "message_digest": base64(digest), "signing_algorithm": algorithm});
            let refused = ask(surface, &client, "kms.sign", &sign);
            assert_eq!(refused, Err("invalid_arguments/message_digest".to_owned()), "{surface:?} {algorithm}");
        }
    }
    let response = client.post("/kms/encrypt", &json!({"key_id": key, "plaintext": "no base64"}));
    assert_eq!((response.status, response.code().as_str()), (422, "invalid_arguments"));
}

fn disabled(shared: &Shared) {
    let top = "rate_limit_enabled = false\naws_kms_default_key_id = \"alias/alice-1\"\n".to_owned();
    let gate = Gate::start(shared.world(), &Plan { top, sections: sections(), ..Plan::default() });
    // Whoever asks: it is a fact of the gate, not of a grant.
    for agent in ["alice", "bob", "agent_mtls", "agent_jwt"] {
        for (name, route) in ROUTES {
            let response = gate.agent(agent).post(route, &least(name));
            assert_eq!((response.status, response.code().as_str()), (503, "kms_disabled"), "{agent} {name}");
            let refused = ask(Surface::Mcp, &gate.agent(agent), name, &least(name));
            assert_eq!(refused, Err("kms_disabled".to_owned()), "{agent} {name}");
        }
    }
    assert_eq!(gate.admin_client().get("/readyz").json()["kms"], json!({"enabled": false}));
    let stranger = gate.stranger().post("/kms/encrypt", &least("kms.encrypt"));
    assert_eq!(stranger.status, 401);
}

fn away(shared: &Shared) {
    // Nobody listens there; and whoever listens here is no AWS.
    for endpoint in [format!("http://127.0.0.1:{}", free_port()), shared.world().vault_address()] {
        let gate = gate(shared, &endpoint, "");
        let operators = gate.admin_client();
        wait_for("it is told why", 30, || {
            let ready = operators.get("/readyz");
            let (status, kms) = (ready.status, ready.json()["kms"].clone());
            let why = kms["problem"].as_str().unwrap_or_default();
            status == 200 && kms["ok"] == false && !why.is_empty() && why != "not asked yet"
        });
        let client = gate.agent("agent_mtls");
        for (name, route) in ROUTES {
            let response = client.post(route, &with_key(name, "alias/alice-1"));
            assert_eq!((response.status, response.code().as_str()), (503, "kms_unavailable"), "{endpoint} {name}");
            assert!(response.header("Retry-After").is_some());
        }
        let told = ask(Surface::Mcp, &client, "kms.encrypt", &with_key("kms.encrypt", "alias/alice-1"));
        assert_eq!(told, Err("kms_unavailable".to_owned()));
        assert_eq!(client.get("/secrets/none").status, 404, "Vault is served all the while");
    }
}

/// Heads of answers that have no end, or one that is far away.
const ENDLESS: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 400000000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\n\r\n",
];

/// Writes such an answer for as long as somebody reads it.
fn pour(mut stream: TcpStream, head: &str, written: &AtomicUsize) -> io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request)?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"{\"CiphertextBlob\":\"")?;
    while written.load(Ordering::SeqCst) < 400_000_000 {
        stream.write_all(&[b'A'; 1 << 16])?;
        written.fetch_add(1 << 16, Ordering::SeqCst);
    }
    Ok(())
}

fn endless(shared: &Shared) {
    for head in ENDLESS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let written = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&written);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || pour(stream, head, &counted));
            }
        });
        let gate = gate(shared, &endpoint, "");
        let client = gate.agent("agent_mtls");
        let refused = client.post("/kms/encrypt", &with_key("kms.encrypt", "alias/alice-1"));
        assert_eq!((refused.status, refused.code().as_str()), (503, "kms_unavailable"), "{head}");
        // What two attempts have read, and what lies in sockets.
        let written = written.load(Ordering::SeqCst);
        assert!((1..40_000_000).contains(&written), "{head}: {written} bytes");
    }
}

fn wrapped(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    kms.create_alias("alias/alice-wrapped", &key);
    let gate = gate(shared, &kms.endpoint(), "aws_kms_default_key_id = \"alias/alice-wrapped\"\n");
    let (alice, other) = (gate.agent("alice"), gate.agent("agent_mtls"));
    let sealed = ask(Surface::Rest, &alice, "kms.encrypt", &least("kms.encrypt")).expect("a ciphertext");
    for surface in SURFACES {
        for (name, mut arguments) in [
            ("kms.decrypt", json!({"ciphertext": sealed["ciphertext"]})),
            ("kms.generate_data_key", json!({"key_spec": "AES_256"})),
        ] {
            arguments["wrap_ttl"] = json!("5m");
            let wrapped = ask(surface, &alice, name, &arguments).expect("a handle");
            fits(name, &wrapped);
            assert!(!wrapped.to_string().contains(WORDS) && wrapped["plaintext"].is_null(), "{wrapped}");
            assert_eq!(wrapped["wrapped"]["operation"], name);
            let handle = json!({"handle": wrapped["wrapped"]["handle"]});
            assert_eq!(other.post("/wrap/unwrap", &handle).status, 403);
            let unwrapped = alice.post("/wrap/unwrap", &handle).json();
            assert!(unwrapped["answer"]["plaintext"].is_string(), "{unwrapped}");
            assert_eq!(name == "kms.decrypt", unwrapped["answer"]["plaintext"] == WORDS);
            assert_eq!(alice.post("/wrap/unwrap", &handle).status, 404);
        }
        let mut sign = least("kms.sign");
        sign["wrap_ttl"] = json!(60);
        let refused = ask(surface, &alice, "kms.sign", &sign);
        assert_eq!(refused, Err("invalid_arguments".to_owned()), "a signature is no secret");
    }
}
