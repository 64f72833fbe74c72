//! Secrets in every wrong place, and a search for them in every report.

use super::kind::Kind;
use super::options::{Section, TOP};
use super::tests::{load_text, load_with};
use super::*;

const CANARY: &str = "C4N4RY-do-not-tell-it-to-anybody";
/// Short, and of the characters of a key.
const KEY_CANARY: &str = "canary_key";

/// Everything that is said of a configuration.
fn said(result: Result<Settings, Report>) -> String {
    match result {
        Ok(settings) => format!("{:?}", settings.warnings),
        Err(report) => format!("{report}{report:?}"),
    }
}

fn silent(text: &str) {
    let lower = text.to_lowercase();
    for canary in [CANARY, KEY_CANARY] {
        assert!(!lower.contains(&canary.to_lowercase()), "{text}");
    }
}

/// The path to a section, and the lines that it needs beside.
fn path(section: &Section) -> &'static [&'static str] {
    match section.label {
        "" => &[],
        "login.jwt" => &["login", "jwt"],
        "login.certificate" => &["login", "certificate"],
        "login.kubernetes" => &["login", "kubernetes"],
        "listeners.tls" => &["listeners", "tls"],
        "identity.families" => &["identity", "families"],
        "identity.issuers" => &["identity", "issuers"],
        "identity.issuers.roles" => &["identity", "issuers", "roles"],
        "roles.*" => &["roles", "r"],
        "roles.*.hours" => &["roles", "r", "hours"],
        "agents.*" => &["agents", "a"],
        "agents.*.certificate" => &["agents", "a", "certificate"],
        "agents.*.jwt" => &["agents", "a", "jwt"],
        "agents.*.api_keys" => &["agents", "a", "api_keys"],
        "rate" => &["agents", "a", "rate"],
        label => std::slice::from_ref(Table::of_gate().sections().map(|s| &s.label).find(|l| **l == label).unwrap()),
    }
}

fn nested(section: &Section, inner: serde_json::Value) -> String {
    let wrap = |inner, key: &&str| serde_json::json!({ (*key): inner });
    path(section).iter().rev().fold(inner, wrap).to_string()
}

#[test]
fn a_variable_never_shows_in_a_report() {
    for section in Table::of_gate().sections() {
        for option in section.options {
            let Some(name) = option.variable else { continue };
            for value in [
                CANARY.to_owned(),
                format!("{CANARY} x"),
                format!("{{\"{CANARY}\": 1}}"),
                format!("\n{CANARY}"),
                format!("https://{CANARY}@h"),
            ] {
                silent(&said(load_with(&Flags::default(), &[(name, &value)], &[])));
            }
        }
    }
}

#[test]
fn a_value_of_the_file_never_shows_in_a_report() {
    let text = serde_json::json!(CANARY);
    for section in Table::of_gate().sections() {
        for option in section.options {
            let values = [
                text.clone(),
                serde_json::json!([text]),
                serde_json::json!([[text]]),
                serde_json::json!({ (CANARY): CANARY }),
                serde_json::json!([{ (CANARY): CANARY }]),
                serde_json::json!({ (KEY_CANARY): { (KEY_CANARY): KEY_CANARY } }),
                serde_json::json!(format!("missing/{CANARY}")),
            ];
            for value in values {
                let text = nested(section, serde_json::json!({ (option.name): value }));
                silent(&said(load_text("c.json", &text, &[])));
                silent(&said(load_text("c.yaml", &text, &[])));
            }
        }
    }
}

#[test]
fn a_secret_in_the_place_of_a_key_never_shows_in_a_report() {
    for section in Table::of_gate().sections() {
        for key in [CANARY, KEY_CANARY] {
            silent(&said(load_text("c.json", &nested(section, serde_json::json!({ (key): 1 })), &[])));
        }
    }
    for text in [
        format!("{{\"api_keys_json\": {{\"{CANARY}\": \"No Agent\"}}}}"),
        format!("{{\"api_keys_json\": \"{{\\\"{CANARY}\\\": \\\"a\\\"}}\"}}"),
        format!("{{\"roles\": {{\"{CANARY} x\": {{}}}}, \"agents\": {{\"{CANARY}\": {{}}}}}}"),
    ] {
        silent(&said(load_text("c.json", &text, &[])));
    }
}

#[test]
fn a_file_that_does_not_parse_is_never_quoted() {
    for text in [
        format!("vault_token = {CANARY}\n"),
        format!("vault_token = \"{CANARY}\n"),
        format!("{CANARY}\n"),
        format!("[{CANARY}\n"),
        format!("{CANARY} = 1\n{CANARY} = 2\n"),
        format!("a.{CANARY} = 1\n[a.{CANARY}]\n[a]\n"),
        format!("vault_token: *{CANARY}\n"),
        format!("vault_token: !{CANARY} x\n"),
        format!("%{CANARY}\n--- x\n"),
        format!("vault_token: \"{CANARY}\\q\"\n"),
        format!("{{\"a\": {CANARY}}}"),
        format!("- {CANARY}\n"),
        CANARY.to_owned(),
    ] {
        for name in ["c.toml", "c.yaml", "c.json"] {
            let report = said(load_text(name, &text, &[]));
            silent(&report);
        }
    }
}

#[test]
fn secrets_do_not_show_in_settings_either() {
    let secrets = TOP.options.iter().filter(|option| matches!(option.kind, Kind::Secret));
    let mut variables: Vec<_> = secrets.filter_map(|option| option.variable).map(|name| (name, CANARY)).collect();
    let keys = format!("{{\"{CANARY}\": \"a\"}}");
    variables.extend([("VAULT_ROLE_ID", "role"), ("API_KEYS_JSON", keys.as_str())]);
    let settings = load_with(&Flags::default(), &variables, &[]).unwrap_or_else(|report| panic!("{report}"));
    silent(&format!("{settings:?}"));
}
