//! What the command line does with `kv`.

use serde_json::json;

use super::Cli;

/// Everything that the command line does with secrets.
pub(super) fn uses_secrets(cli: &Cli<'_>, path: &str) {
    let secret = &format!("secret/{path}");
    cli.said(&["kv", "put", secret, "user=app", "password=one"]);
    let read = cli.json(&["kv", "get", "-format=json", secret]);
    assert_eq!(read["data"]["data"], json!({"user": "app", "password": "one"}));
    assert_eq!(cli.said(&["kv", "get", "-field=password", "-mount=secret", path]).trim(), "one");
    cli.said(&["kv", "patch", secret, "password=two"]);
    cli.said(&["kv", "put", "-cas=2", secret, "user=app", "password=three"]);
    let stale = cli.error(&["kv", "put", "-cas=2", secret, "user=app"]);
    assert!(stale.contains("current version"), "{stale}");
    assert_eq!(cli.said(&["kv", "get", "-version=2", "-field=password", secret]).trim(), "two");
    let (folder, name) = path.rsplit_once('/').expect("a folder");
    assert_eq!(cli.json(&["kv", "list", "-format=json", &format!("secret/{folder}")]), json!([name]));
    let metadata = cli.json(&["kv", "metadata", "get", "-format=json", secret]);
    assert_eq!(metadata["data"]["current_version"], 3);
    cli.said(&["kv", "delete", secret]);
    let deleted = cli.json_of(&["kv", "get", "-format=json", secret]);
    assert!(!deleted["data"]["metadata"]["deletion_time"].as_str().unwrap_or_default().is_empty(), "{deleted}");
    cli.said(&["kv", "undelete", "-versions=3", secret]);
    assert_eq!(cli.said(&["kv", "get", "-field=password", secret]).trim(), "three");
    cli.said(&["kv", "rollback", "-version=1", secret]);
    assert_eq!(cli.said(&["kv", "get", "-field=password", secret]).trim(), "one");
    cli.said(&["kv", "delete", "-versions=2,4", secret]);
    let deleted = cli.json_of(&["kv", "get", "-format=json", "-version=2", secret]);
    assert!(!deleted["data"]["metadata"]["deletion_time"].as_str().unwrap_or_default().is_empty(), "{deleted}");
    cli.said(&["kv", "undelete", "-versions=2,4", secret]);
    assert_eq!(cli.said(&["kv", "get", "-version=2", "-field=password", secret]).trim(), "two");
    cli.said(&["kv", "destroy", "-versions=1,2", secret]);
    let destroyed = cli.json_of(&["kv", "get", "-format=json", "-version=1", secret]);
    assert_eq!(destroyed["data"]["metadata"]["destroyed"], true);
    let none = cli.error(&["kv", "get", "secret/none/at/all"]);
    assert!(none.contains("No value found at"), "{none}");
}

/// Everything that the command line does with metadata.
pub(super) fn uses_metadata(cli: &Cli<'_>, path: &str) {
    let secret = &format!("secret/{path}");
    let told = || cli.json(&["kv", "metadata", "get", "-format=json", secret])["data"].clone();
    let [owner, team] = ["-custom-metadata=owner=a", "-custom-metadata=team=b"];
    let put = ["kv", "metadata", "put", "-max-versions=3", "-cas-required", "-delete-version-after=1h30m", owner, team];
    cli.said(&[&put[..], &[secret]].concat());
    let first = told();
    let settings = [&first["max_versions"], &first["cas_required"], &first["delete_version_after"]];
    assert_eq!(settings, [&json!(3), &json!(true), &json!("1h30m0s")], "{first}");
    assert_eq!(first["custom_metadata"], json!({"owner": "a", "team": "b"}));
    let stale = cli.error(&["kv", "put", secret, "a=b"]);
    assert!(stale.contains("Code: 400"), "{stale}");
    cli.said(&["kv", "put", "-cas=0", secret, "a=b"]);
    let patch = ["kv", "metadata", "patch", "-cas-required=false", "-custom-metadata=owner=c"];
    cli.said(&[&patch[..], &["-remove-custom-metadata=team", secret]].concat());
    let patched = told();
    assert_eq!(patched["custom_metadata"], json!({"owner": "c"}), "{patched}");
    assert_eq!((&patched["cas_required"], &patched["max_versions"]), (&json!(false), &json!(3)), "{patched}");
    cli.said(&["kv", "metadata", "put", "-delete-version-after=0s", "-custom-metadata=team=d", secret]);
    let whole = told();
    assert_eq!((&whole["custom_metadata"], &whole["max_versions"]), (&json!({"team": "d"}), &json!(3)), "{whole}");
    assert_eq!(whole["delete_version_after"], "0s", "{whole}");
    let none = cli.error(&["kv", "metadata", "patch", "-max-versions=3", "secret/none/at/all"]);
    assert!(none.contains("Code: 404"), "{none}");
}
