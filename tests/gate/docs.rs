//! The OpenAPI document and the pages that show it: who sees them, that the
//! document is valid, and that the pages load nothing from elsewhere.

use std::path::Path;
use std::process::Command;

use tests::process::{AGENTS, root};
use tests::{Client, Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("agents_see_the_documentation_unless_it_is_public_or_off", modes),
    ("the_document_is_valid_openapi", valid),
    ("the_pages_load_whole_files_from_the_gate_alone", pages),
    ("without_rest_the_document_has_no_rest_routes", without_rest),
];

const PAGES: [&str; 3] = ["/openapi.json", "/docs", "/redoc"];

fn gate(shared: &Shared, docs: &str) -> Gate {
    let top = format!("rate_limit_enabled = false\n{docs}\n");
    Gate::start(shared.world(), &Plan { top, sections: AGENTS.to_owned(), ..Plan::default() })
}

fn modes(shared: &Shared) {
    for (option, known, unknown) in [("", 200, 401), ("docs = \"public\"", 200, 200), ("docs = \"off\"", 404, 401)] {
        let own;
        let gate = if option.is_empty() {
            shared.gate()
        } else {
            own = gate(shared, option);
            &own
        };
        let callers: [(Client, u16); 4] = [
            (gate.keyed(), known),
            (gate.agent("agent_mtls"), known),
            (gate.local(), unknown),
            (gate.stranger(), unknown),
        ];
        for path in PAGES.into_iter().chain(["/docs/swagger-ui.js", "/redoc/redoc.js"]) {
            for (caller, status) in &callers {
                assert_eq!(caller.get(path).status, *status, "{option} {path}");
            }
        }
        let foreign = gate.keyed().send("GET", "/openapi.json", &[("Origin", "https://evil.example")], b"");
        assert_eq!(foreign.status, 403, "{option}");
        assert_eq!(gate.admin_client().get("/docs").status, 404, "{option}");
    }
    let gate = shared.gate();
    assert_eq!(gate.keyed().send("DELETE", "/docs", &[], b"").header("allow"), Some("GET, HEAD"));
    let counted = gate.metric("http_requests_total{method=\"GET\",route=\"/openapi.json\",status=\"200\"}");
    assert!(counted >= 2.0, "{counted}");
}

fn valid(shared: &Shared) {
    let response = shared.gate().keyed().get("/openapi.json");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.json()["openapi"], "3.1.0");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, &response.body).expect("a file");
    let mut validator = Command::new(root().join("target/venv/bin/python"));
    validator.args(["-m", "openapi_spec_validator", "--schema", "3.1"]).arg(&file);
    let output = validator.output().expect("`make test` installs the validator");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The addresses that a page loads, by its attributes.
fn loaded(page: &str) -> Vec<&str> {
    let attributes = ["src=\"", "href=\""].into_iter().flat_map(|name| page.split(name).skip(1));
    attributes.map(|rest| rest.split('"').next().expect("its end")).collect()
}

fn pages(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["/docs", "/redoc"] {
        let page = client.get(path);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe-eval"), "{policy}");
        let text = String::from_utf8(page.body).expect("text");
        let loaded = loaded(&text);
        assert!(loaded.len() >= 2 && !text.contains("://"), "{text}");
        for target in loaded {
            assert!(target.starts_with('/') && !target.starts_with("//"), "{target}");
            let asset = client.get(target);
            assert_eq!(asset.status, 200, "{target}");
            assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
            assert!(asset.header("cache-control").is_some_and(|rule| rule.contains("max-age")), "{target}");
            whole(target, asset.header("content-type"), &asset.body, folder.path());
            let text = String::from_utf8(asset.body).expect("text");
            for elsewhere in ["src:\"http", "src=\"http", "src:\"//", "url(http", "url(\"http", "url(//", "@import"] {
                let found = text.find(elsewhere).map(|at| text[at..].chars().take(80).collect::<String>());
                assert_eq!(found, None, "{target} loads something from elsewhere");
            }
        }
    }
}

/// A script is parsed, a style looked at to its end.
fn whole(target: &str, media: Option<&str>, body: &[u8], folder: &Path) {
    if target.ends_with(".css") {
        assert_eq!(media, Some("text/css; charset=utf-8"));
        let text = std::str::from_utf8(body).expect("text");
        let (rules, _) = text.rsplit_once("/*# sourceMappingURL=").expect("its last line");
        assert!(rules.len() > 100_000 && rules.trim_end().ends_with('}'), "{target}");
        return;
    }
    assert_eq!(media, Some("text/javascript; charset=utf-8"));
    assert_eq!(body.len() > 500_000, !target.ends_with("/start.js"), "{target}");
    let file = folder.join("script.cjs");
    std::fs::write(&file, body).expect("a file");
    let output = Command::new("node").arg("--check").arg(&file).output().expect("node");
    assert!(output.status.success(), "{target}: {:.300}", String::from_utf8_lossy(&output.stderr));
}

fn without_rest(shared: &Shared) {
    let gate = gate(shared, "expose_rest_routes = false");
    let document = gate.keyed().get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/mcp") && !paths.contains_key("/whoami"), "{paths:?}");
}
