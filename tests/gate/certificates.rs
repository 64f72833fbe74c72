//! Client certificates: every bad one is refused in the handshake or with 401.

use tests::{Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("every_bad_certificate_is_refused", every_bad_one),
    ("required_means_that_no_certificate_is_no_connection", required),
    ("a_certificate_that_ends_during_a_connection_ends_its_authority", expiry),
    ("a_certificate_that_is_nobodys_leaves_one_line_that_says_why", nobodys),
    ("tls_12_and_13_and_http_2_carry_the_same_identity", versions),
];

fn every_bad_one(shared: &Shared) {
    // Names are mapped as freely as the configuration allows, so that only the
    // certificates themselves stand in the way.
    let sections = "[identity]\ncertificate = [\"cn\"]\nunknown_agents = \"own-namespace\"\n";
    let gate = Gate::start(shared.world(), &Plan { sections: sections.into(), ..Plan::default() });
    let hostile = certs::hostile(gate.agents()).expect("certificates");
    assert!(hostile.len() >= 15);
    for (name, issued) in &hostile {
        let client = gate.holder(issued);
        match client.try_send("GET", "/whoami", &[], b"") {
            Ok(response) if *name == "subject-lower" => assert_eq!(response.json()["agent"], "bob"),
            Ok(response) if *name == "no-eku" => assert_eq!(response.json()["agent"], "agent_mtls"),
            Ok(response) => {
                assert_eq!((response.status, response.code().as_str()), (401, "unauthenticated"), "{name}");
            }
            Err(_) => assert!(!["subject-lower", "no-eku"].contains(name), "{name}"),
        }
    }
}

fn nobodys(shared: &Shared) {
    use certs::{Leaf, Text, Usage};
    let gate = Gate::start(shared.world(), &Plan::default());
    let id = "spiffe://portcullis.dev/agent/agent_mtls";
    let two = Leaf { uris: vec![id.into(), "https://portcullis.dev/x".into()], ..Leaf::agent("x") };
    let cases = [
        ("it has another URI beside its SPIFFE ID", "", two),
        ("the agent of its name is none here", "spiffe://portcullis.dev/agent/x", Leaf::agent("x")),
    ];
    for (why, principal, leaf) in cases {
        let issued = gate.issue(&leaf);
        let client = gate.holder(&issued);
        let mut stream = client.connect().expect("a connection");
        for _ in 0..3 {
            let answer = client.exchange(&mut stream, "GET", "/whoami", &[], b"").expect("an answer");
            assert_eq!(answer.status, 401, "{why}");
        }
        let facts = facts(&issued);
        let told = |line: &&serde_json::Value| line["fingerprint"] == facts.fingerprint.to_hex().as_str();
        let mut lines = Vec::new();
        tests::wait_for("the line is written", 10, || {
            lines = gate.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            lines.iter().any(|line| told(&line))
        });
        let lines: Vec<_> = lines.iter().filter(told).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let fields = lines[0];
        assert_eq!((fields["why"].as_str(), fields["principal"].as_str()), (Some(why), Some(principal)), "{fields}");
        assert_eq!(fields["serial"], facts.serial.as_str());
    }
    // One in the handshake, too.
    assert!(
        gate.holder(&gate.issue(&Leaf { usage: Usage::Server, ..Leaf::agent("x") }))
            .try_send("GET", "/whoami", &[], b"")
            .is_err()
    );
    tests::wait_for("the line is written", 10, || gate.stderr().contains("refused in the handshake"));
    // Ordinary ones of old issuers: UTF-16 in the subject, and no extended key usage.
    let leaf = Leaf { text: Some(Text::Bmp("\0a\0g".into())), usage: Usage::None, ..Leaf::agent("agent_mtls") };
    assert_eq!(gate.holder(&gate.issue(&leaf)).get("/whoami").json()["agent"], "agent_mtls");
}

fn facts(issued: &certs::Issued) -> filters::certificate::PeerCertificate {
    let der = filters::pem::certificates(issued.certificate.as_bytes()).expect("a certificate").remove(0);
    filters::certificate::PeerCertificate::parse(&der).expect("a certificate")
}

fn required(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan { clients: "required", ..Plan::default() });
    assert!(gate.stranger().try_send("GET", "/healthz", &[], b"").is_err());
    assert_eq!(gate.agent("agent_mtls").get("/whoami").status, 200);
}

fn expiry(shared: &Shared) {
    let gate = shared.gate();
    let leaf = certs::Leaf { validity: certs::Validity::Seconds(3), ..certs::Leaf::agent("agent_mtls") };
    let client = gate.holder(&gate.issue(&leaf));
    let mut stream = client.connect().expect("a connection");
    let mut ask = || client.exchange(&mut stream, "GET", "/whoami", &[], b"").map(|response| response.status);
    assert_eq!(ask().expect("an answer"), 200);
    let mut last = 200;
    tests::wait_for("the certificate ends", 10, || {
        last = ask().expect("the connection stays");
        last != 200
    });
    assert_eq!(last, 401);
}

fn versions(shared: &Shared) {
    let gate = shared.gate();
    let issued = gate.issue(&certs::Leaf::agent("agent_mtls"));
    let identity = format!("{}{}", issued.certificate, issued.key);
    let root = reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("a certificate");
    for (tls, http2) in [
        (reqwest::tls::Version::TLS_1_2, false),
        (reqwest::tls::Version::TLS_1_2, true),
        (reqwest::tls::Version::TLS_1_3, false),
        (reqwest::tls::Version::TLS_1_3, true),
    ] {
        let builder = reqwest::blocking::Client::builder()
            .tls_certs_only([root.clone()])
            .identity(reqwest::Identity::from_pem(identity.as_bytes()).expect("an identity"))
            .tls_version_min(tls)
            .tls_version_max(tls)
            .timeout(std::time::Duration::from_secs(30));
        let builder = if http2 { builder } else { builder.http1_only() };
        let client = builder.build().expect("a client");
        let at = |path: &str| format!("https://localhost:{}{path}", gate.tls);
        let response = client.get(at("/whoami")).send().expect("an answer");
        let expected = if http2 { reqwest::Version::HTTP_2 } else { reqwest::Version::HTTP_11 };
        assert_eq!(response.version(), expected);
        assert!(response.text().expect("text").contains("\"agent\":\"agent_mtls\""));
        // A value of 900 KB, both ways.
        let value = "v".repeat(900_000);
        let body = format!("{{\"data\":{{\"v\":\"{value}\"}}}}");
        let put = client.put(at("/secrets/size/versions")).header("content-type", "application/json").body(body);
        assert_eq!(put.send().expect("an answer").status(), 200);
        let read = client.get(at("/secrets/size/versions")).send().expect("an answer");
        assert!(read.text().expect("text").contains(&value));
        let arguments = serde_json::json!({"path": "size/versions", "data": {"v": value}});
        let params = serde_json::json!({"name": "kv.write", "arguments": arguments});
        let message = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let post = |body: String| client.post(at("/mcp")).header("content-type", "application/json").body(body).send();
        let written = post(message.to_string()).expect("an answer").text().expect("text");
        assert!(written.contains("\"isError\":false"), "{written:.300}");
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"kv.read","arguments":{"path":"size/versions"}}}"#;
        let read = post(call.to_owned()).expect("an answer").text().expect("text");
        assert_eq!(read.matches(&value).count(), 2, "as text and as structured content");
        // Over the limit: 413, and the connection or stream is not left half-read.
        let body = format!("{{\"data\":{{\"v\":\"{}\"}}}}", "v".repeat(1_100_000));
        let put = client.put(at("/secrets/size/versions")).header("content-type", "application/json").body(body);
        // The gate may close before the client has written it all.
        if let Ok(response) = put.send() {
            assert_eq!(response.status(), 413);
        }
        assert_eq!(client.get(at("/healthz")).send().expect("an answer").status(), 200);
    }
}
