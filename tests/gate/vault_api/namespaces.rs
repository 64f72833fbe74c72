//! An agent's namespace, as clients of Vault's name it.

use serde_json::json;
use tests::{API_KEY, World};

use super::Cli;
use crate::Shared;
use crate::gate::namespaces::{has_namespaces, teams_of};

/// By header or path, as Vault's clients name it: the path goes on from the header's.
pub(super) fn named(_: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    let gate = teams_of(&world);
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    assert_eq!(alice.put("/secrets/x", &json!({"data": {"v": "alice"}})).status, 200);
    assert_eq!(bob.put("/secrets/x", &json!({"data": {"v": "bob"}})).status, 200);
    let key = json!({"role_id": "agent_api", "secret_id": API_KEY}).to_string();
    for (client, own, others) in
        [(&alice, "team-a", ["team-a/sub", "team-c"]), (&bob, "team-a/sub", ["team-a", "team-c"])]
    {
        let ask = |header: Option<&str>, path: &str| {
            let header: Vec<_> = header.into_iter().map(|namespace| ("X-Vault-Namespace", namespace)).collect();
            let read = client.send("GET", &format!("/v1/{path}secret/data/x"), &header, b"");
            let listed = client.send("LIST", &format!("/v1/{path}secret/metadata/"), &header, b"");
            let looked = client.send("GET", &format!("/v1/{path}auth/token/lookup-self"), &header, b"");
            assert_eq!([read.status, listed.status, looked.status], [read.status; 3], "{header:?} {path}");
            read.status
        };
        let slash = format!("{own}/");
        for (header, path) in
            [(None, ""), (Some(own), ""), (Some(&*slash), ""), (None, &*slash), (Some("root"), &*slash)]
        {
            assert_eq!(ask(header, path), 200, "{own}: {header:?} {path}");
        }
        for other in others {
            let path = format!("{other}/");
            for (header, path) in [(Some(other), ""), (None, &*path), (Some(own), &*path), (Some(other), &*slash)] {
                assert_eq!(ask(header, path), 403, "{own}: {header:?} {path}");
            }
        }
        for (header, path) in
            [(Some("root"), ""), (Some("/"), ""), (Some(own), &*slash), (None, "root/"), (None, "team-z/")]
        {
            assert_eq!(ask(header, path), 403, "{own}: {header:?} {path}");
        }
        let written = client.post(&format!("/v1/{own}/secret/data/y"), &json!({"data": {"v": own}}));
        assert_eq!(written.status, 200, "{written:?}");
        assert_eq!(client.get("/secrets/y").json()["data"]["v"], own);
    }
    let stranger = gate.stranger();
    for (path, status) in [("team-a/", 200), ("team-c/", 403)] {
        let answer = stranger.send("POST", &format!("/v1/{path}auth/approle/login"), &[], key.as_bytes());
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    let cli = Cli::of(&gate, "alice");
    for arguments in
        [["kv", "get", "-namespace=team-a"], ["kv", "get", "-namespace=root"], ["kv", "get", "-namespace=team-c"]]
    {
        let output = cli.run(&[&arguments[..], &["-field=v", "secret/x"]].concat());
        assert_eq!(output.status.success(), arguments[2].ends_with("team-a"), "{arguments:?}: {output:?}");
    }
    assert_eq!(cli.said(&["read", "-format=json", "team-a/secret/data/x"]).matches("alice").count(), 1);
    cli.error(&["read", "team-a/sub/secret/data/x"]);
}
