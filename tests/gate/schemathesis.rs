//! Schemathesis tries every route of the OpenAPI document with what fits its
//! schemas and what does not: no answer may be another than is written there.

use std::process::Command;

use serde_json::json;
use tests::process::root;
use tests::{Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[("every_answer_is_as_the_document_says", fuzz)];

/// Left out, because the design says otherwise: what fits a schema may still
/// be refused by grants (`positive_data_acceptance`), and so may something
/// that was just made (`ensure_resource_availability`); what is no argument
/// of a body may be of the path or query (`negative_data_rejection`); a route
/// that is not there is told to agents alone (`unsupported_method`, `ignored_auth`).
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// A 503 is expected where something is missing in Vault, such as an engine or the handles' key.
const EXPECTED: &str = "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", 503]\n";

/// May do everything in its own namespace, and nothing else.
const FUZZER: &str = r#"
[[identity.families]]
spiffe = "spiffe://portcullis.dev/agent/{name}"
agent = "{name}"

[roles.own]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]
transit = ["agents-key", "agents-signing-key"]

[agents.fuzzer]
roles = ["own"]
"#;

fn fuzz(shared: &Shared) {
    let world = shared.world();
    let policy = std::fs::read_to_string(root().join("local-vault/policies/agent.hcl")).expect("a policy");
    let policy = json!({"policy": policy.replace("@AGENT@", "fuzzer")});
    assert_eq!(world.ask("PUT", "sys/policies/acl/mcp-agent-fuzzer", &policy).0, 204);
    let gate = Gate::start(world, &Plan { sections: FUZZER.to_owned(), ..Plan::default() });
    let at = |name: &str| gate.folder().join(name);
    std::fs::write(at("server-ca.crt"), gate.authority()).expect("a file");
    gate.issue(&certs::Leaf::agent("fuzzer")).write(gate.folder(), "fuzzer").expect("files");
    std::fs::write(at("schemathesis.toml"), EXPECTED).expect("a file");
    let mut run = Command::new(root().join("target/venv/bin/python"));
    run.current_dir(gate.folder()).args(["-m", "schemathesis.cli", "run", "--no-color", "--checks", CHECKS]);
    run.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "40"]);
    // A made-up key beside the certificate is a credential that disagrees.
    run.args(["--generation-deterministic", "--generation-with-security-parameters", "false", "--continue-on-failure"]);
    // Streams have no end: one of a kind is enough to wait for.
    run.args(["--exclude-operation-id", "events", "--exclude-operation-id", "mcp.sse"]);
    run.args(["--request-timeout", "20", "--suppress-health-check", "all", "--warnings", "off"]);
    run.arg("--tls-verify").arg(at("server-ca.crt"));
    run.arg("--request-cert").arg(at("fuzzer.crt")).arg("--request-cert-key").arg(at("fuzzer.key"));
    let output = run.arg(format!("https://localhost:{}/openapi.json", gate.tls)).output().expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for operation in ["kv.write", "kv.list", "kv.delete", "transit.random", "whoami"] {
        let served = format!("portcullis_operations_total{{operation=\"{operation}\",outcome=\"served\"}}");
        assert!(gate.metric(&served) > 0.0, "{operation} was never served: {said}");
    }
}
