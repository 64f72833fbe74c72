//! The audit: a record of each decision in a chain that shows where it was tampered with.

use std::fs::{self, File, Permissions};
use std::io::BufReader;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::process::AGENTS;
use tests::provider::acceptor;
use tests::{Gate, Plan, free_port, wait_for};

use super::configuration::{run, said};
use super::suspension::command;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("each_decision_is_a_record_of_who_did_what_to_which_resource", records),
    ("a_killed_gate_loses_the_tail_and_the_next_one_follows", killed),
    ("a_gate_and_the_one_that_replaces_it_write_apart", replaced),
    ("what_is_required_and_cannot_be_recorded_is_refused_until_it_can", required),
    ("an_audit_that_is_not_required_costs_no_request", not_required),
    ("records_reach_a_syslog_server_once_it_is_there", syslog),
    ("a_key_that_is_none_starts_no_gate", keys),
];

const VALUE: &str = "cnry7xauditvalue";
const AGENT: &str = "\n[agents.audited]\nroles = [\"reader\"]\n";

/// A gate with these options of the audit.
fn plan(audit: &str) -> Plan {
    Plan { sections: format!("{AGENTS}{AGENT}\n[audit]\n{audit}\n"), ..Plan::default() }
}

/// Runs a verb in `folder`.
pub fn verb(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    said(&run(folder, arguments, &[]))
}

/// A folder with both keys, the key that verifies, and the options that name them.
pub fn keyed() -> (TempDir, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, told) = verb(folder.path(), &["audit", "key", "--names", "names.key"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let (code, verifier) = verb(folder.path(), &["audit", "key", "--checkpoints", "gate/audit", "notes.key"]);
    assert!(code == Some(0) && verifier.starts_with("gate/audit+"), "{verifier}");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let options = format!("name_key = \"{}\"\ncheckpoint_key = \"{}\"\n", at("names.key"), at("notes.key"));
    (folder, verifier.trim().to_owned(), options)
}

/// The whole records of a file.
pub fn read(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The records for which `fits` is true, once there are as many as that.
pub fn awaited(file: &Path, count: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    wait_for("the records are written", 20, || {
        found = read(file).into_iter().filter(|record| fits(record)).collect();
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

fn records(shared: &Shared) {
    let (keys, verifier, options) = keyed();
    let mut gate = Gate::start(
        shared.world(),
        &plan(&format!("file = \"audit.log\"\nrequired = true\nsync = \"each\"\n{options}")),
    );
    let file = gate.folder().join("audit.log");
    let (client, audited) = (gate.keyed(), gate.agent("audited"));
    let path = "cnry7x/audit/db";
    assert_eq!(client.put(&format!("/secrets/{path}"), &json!({"data": {"password": VALUE}})).status, 200);
    let joining = gate.keyed().with("X-Correlation-Id", "joined-1");
    assert_eq!(joining.get(&format!("/secrets/{path}?version=1")).status, 200);
    let refused = audited.get(&format!("/secrets/{path}"));
    assert_eq!(refused.status, 403);
    assert_eq!(gate.local().with("X-API-Key", "cnry7xnokey").get("/whoami").status, 401);
    assert_eq!(gate.local().get("/whoami").status, 401);
    let call = |id: u8, tool: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let batch = json!([
        call(1, "kv_read", json!({"path": path})),
        call(2, "kv_read", json!({"path": "../x"})),
        call(3, "whoami", json!({})),
    ]);
    assert_eq!(client.mcp_with(&[("MCP-Protocol-Version", "2025-03-26")], &batch).status, 200);
    let (code, told) = command(shared.world(), &gate, &["suspend", "audited"]);
    // Gates of other tests may have been killed, which do not confirm it.
    assert!(matches!(code, Some(0 | 3)) && told.starts_with("audited is suspended"), "{told}");
    let (_, told) = command(shared.world(), &gate, &["resume", "audited"]);
    assert!(told.starts_with("audited is no longer on the record"), "{told}");
    assert_eq!(gate.operator().post("/admin/reload", &Value::Null).status, 200);

    let ended = |record: &Value| record["unmapped"]["stage"] == "ended";
    let of_call = |operation: &'static str| {
        move |r: &Value| r["api"]["operation"] == operation && r["unmapped"]["message"].is_null()
    };
    let written = awaited(&file, 2, of_call("kv.write"));
    let [begun, done] = &written[..] else { panic!("{written:#?}") };
    assert_eq!((&begun["unmapped"]["stage"], &begun["status_id"]), (&json!("permitted"), &json!(0)));
    assert_eq!((&done["activity_id"], &done["http_response"]["code"]), (&json!(3), &json!(200)));
    assert_eq!(done["actor"]["user"]["name"], "agent_api");
    assert_eq!((&done["unmapped"]["role"], &done["unmapped"]["decision"]), (&json!("all"), &json!("allow")));
    let named = &done["resources"][0]["name"];
    assert!(named.as_str().is_some_and(|name| name.starts_with("hmac-sha256:")), "{done}");
    assert_eq!(done["resources"][0]["version"], "1", "Vault's answer tells it: {done}");
    assert_eq!((&begun["resources"][0]["name"], &begun["resources"][0]["version"]), (named, &Value::Null));
    let joined = awaited(&file, 2, |record| record["metadata"]["correlation_uid"] == "joined-1");
    assert!(joined.iter().all(|record| &record["resources"][0]["name"] == named), "{joined:#?}");
    assert_eq!(joined[1]["resources"][0]["version"], "1");
    let denied = awaited(&file, 1, |record| record["actor"]["user"]["name"] == "audited");
    assert_eq!((&denied[0]["status_id"], &denied[0]["unmapped"]["decision"]), (&json!(2), &json!("forbidden")));
    assert_eq!(&denied[0]["resources"][0]["name"], named, "a refusal names its resource too");
    let login = awaited(&file, 1, |record| record["class_uid"] == 3002);
    assert_eq!(
        (&login[0]["auth_protocol"], &login[0]["status_detail"]),
        (&json!("api_key"), &json!("the key is unknown, or has expired"))
    );
    let messages = awaited(&file, 3, |record| record["unmapped"]["message"].is_u64() && ended(record));
    let told: Vec<_> = messages.iter().map(|record| (&record["unmapped"]["message"], &record["status_id"])).collect();
    assert_eq!(json!(told), json!([[0, 1], [1, 2], [2, 1]]));
    for event in ["start", "suspend", "resume", "reload"] {
        awaited(&file, 1, |record| record["unmapped"]["event"] == event);
    }
    awaited(&file, 1, |record| {
        record["actor"]["user"]["type"] == "Operator" && record["api"]["operation"] == "/admin/reload"
    });

    assert_eq!(gate.terminate(), Some(0));
    assert!(read(&file).iter().all(|record| record["actor"]["user"]["type_id"] != 0), "strangers leave no record");
    let text = fs::read_to_string(&file).expect("the audit");
    assert!(!text.to_lowercase().contains("cnry7x"), "a value, a key or a path stands in the audit");
    searched(&file, keys.path(), path);
    verified(&file, &verifier);
    noted(&file, &verifier);
}

/// The verb `search` finds by names that are not in the file.
fn searched(file: &Path, keys: &Path, path: &str) {
    let (folder, file) = (file.parent().expect("a folder"), file.display().to_string());
    let key = keys.join("names.key").display().to_string();
    let search = |more: &[&str]| verb(folder, &[&["audit", "search", "--name-key", &key], more, &[&file]].concat());
    let (code, found) = search(&["--agent", "audited", "--path", path]);
    assert_eq!((code, found.lines().count()), (Some(0), 1), "{found}");
    assert_eq!(search(&["--agent", "audited", "--path", path, "--since", "1h"]).0, Some(0));
    let (code, told) = search(&["--path", "cnry7x/audit/other"]);
    assert!(code == Some(1) && told.contains("no record fits"), "{told}");
    assert_eq!(search(&["--since", "2999-01-01T00:00:00Z"]).0, Some(1));
}

/// The verb `verify` holds of the file, and not of one that was tampered with.
fn verified(file: &Path, verifier: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let verify = |lines: &[String], key: &str| {
        fs::write(folder.path().join("audit.log"), lines.concat()).expect("a file");
        verb(folder.path(), &["audit", "verify", "--key", key, "audit.log"])
    };
    let text = fs::read_to_string(file).expect("the audit");
    let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let (code, told) = verify(&lines, verifier);
    assert!(code == Some(0) && told.contains("says that the gate ended"), "{told}");
    assert!(told.contains(&format!("whole: {} records of 1 chains in 1 files", lines.len())), "{told}");
    assert!(
        told.contains("signed by the key") && told.contains(&format!("-{}, by the checkpoint", lines.len() - 1)),
        "{told}"
    );
    for (kind, place, tamper) in [
        ("changed", 3, (|lines| lines[2] = lines[2].replacen("\"time\":1", "\"time\":2", 1)) as fn(&mut Vec<String>)),
        ("removed", 3, |lines| drop(lines.remove(2))),
        ("reordered", 3, |lines| lines.swap(2, 3)),
        ("inserted", 5, |lines| lines.insert(4, lines[1].clone())),
    ] {
        let mut tampered = lines.clone();
        tamper(&mut tampered);
        let (code, told) = verify(&tampered, verifier);
        assert!(code == Some(1) && told.contains(&format!("audit.log:{place}: {kind}:")), "{kind}: {told}");
    }
    let (code, told) = verify(&lines[..lines.len() - 2], verifier);
    assert!(code == Some(0) && told.contains("no checkpoint") && told.contains("or the end was cut off"), "{told}");
    fs::write(folder.path().join("kept"), note(file)).expect("a file");
    fs::write(folder.path().join("audit.log"), lines[..lines.len() - 2].concat()).expect("a file");
    let (code, told) = verb(folder.path(), &["audit", "verify", "--checkpoint", "kept", "audit.log"]);
    assert!(code == Some(1) && told.contains("is not in the files"), "{told}");
    let (_, other) = verb(folder.path(), &["audit", "key", "--checkpoints", "gate/audit", "other.key"]);
    let (code, told) = verify(&lines, other.trim());
    assert!(code == Some(1) && told.contains(": checkpoint:"), "{told}");
}

/// The last checkpoint.
fn note(file: &Path) -> String {
    let last = read(file).pop().expect("a record");
    last["unmapped"]["checkpoint"].as_str().unwrap_or_else(|| panic!("{last}")).to_owned()
}

/// Go's own notes verify the checkpoint.
pub fn noted(file: &Path, verifier: &str) {
    const PROGRAM: &str = r#"package main

import (
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
)

func main() {
	text, _ := os.ReadFile("checkpoint")
	verifier, err := note.NewVerifier(os.Args[1])
	if err == nil {
		var opened *note.Note
		if opened, err = note.Open(text, note.VerifierList(verifier)); err == nil {
			fmt.Print(opened.Text)
			return
		}
	}
	fmt.Println(err)
	os.Exit(1)
}
"#;
    const MODULE: &str = "module note\n\ngo 1.24.0\n\nrequire golang.org/x/mod v0.28.0\n";
    const SUMS: &str = "golang.org/x/mod v0.28.0 h1:gQBtGhjxykdjY9YhZpSlZIsbnaE2+PgjfLWUQTnoZ1U=\n\
                        golang.org/x/mod v0.28.0/go.mod h1:yfB/L0NOf/kmEbXjzCPOx1iK1fRutOydrCMsqRhEBxI=\n";
    let folder = tempfile::tempdir().expect("a folder");
    let note = note(file);
    for (name, text) in [("main.go", PROGRAM), ("go.mod", MODULE), ("go.sum", SUMS), ("checkpoint", &note)] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let go = |verifier: &str| {
        let output = Command::new("go").args(["run", ".", verifier]).current_dir(folder.path()).output().expect("go");
        // On standard error it may tell what it downloads.
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = go(verifier);
    assert!(
        code == Some(0) && note.starts_with(&told) && told.starts_with(verifier.split('+').next().expect("a name")),
        "{told}"
    );
    fs::write(folder.path().join("checkpoint"), note.replacen('\n', "0\n", 1)).expect("a file");
    assert_eq!(go(verifier).0, Some(1), "a note that was changed");
}

fn killed(shared: &Shared) {
    let options = "file = \"audit.log\"\nnames = \"clear\"\nrotate_size = \"64KiB\"\n";
    let mut gate = Gate::start(shared.world(), &plan(options));
    let (folder, file) = (gate.folder().to_owned(), gate.folder().join("audit.log"));
    let client = gate.keyed();
    wait_for("the file is set aside", 30, || {
        // Some of them go to the file behind it.
        (0..40).for_each(|_| assert_eq!(client.get("/whoami").status, 200));
        folder.join("audit.log.1").exists() && !read_whole(&file).is_empty()
    });
    gate.signal("KILL");
    assert_eq!(gate.ended(), None);
    // What was under way when it was killed.
    let mut torn = fs::OpenOptions::new().append(true).open(&file).expect("the audit");
    std::io::Write::write_all(&mut torn, b"{\"metadata\":{\"version\":\"1.3").expect("written");
    let verify = || verb(&folder, &["audit", "verify", "audit.log"]);
    let (code, told) = verify();
    assert!(code == Some(0) && told.contains("lines that are not finished: 1"), "{told}");
    assert!(told.contains("2 files") && told.contains("was killed, or the end was cut off"), "{told}");
    let mut next = gate.start_again();
    wait_for("the next gate follows", 20, || {
        read_whole(&file).iter().any(|record| record["unmapped"]["follows"].is_string())
    });
    let (code, told) = verify();
    assert!(code == Some(0) && told.contains("of 2 chains") && told.contains("not finished: 1"), "{told}");
    // Before it serves, a signal ends it at once.
    wait_for("it serves", 20, || gate.admin_client().try_send("GET", "/healthz", &[], b"").is_ok());
    Command::new("kill").arg(next.id().to_string()).status().expect("kill");
    assert_eq!(next.ended(), Some(0));
    let text = fs::read_to_string(folder.join("audit.log.1")).expect("what was set aside");
    let cut = text.trim_end().rsplit_once('\n').map_or("", |(before, _)| before);
    fs::write(folder.join("audit.log.1"), format!("{cut}\n")).expect("written");
    let (code, told) = verify();
    assert!(code == Some(1) && told.contains("audit.log:1: truncated: records from"), "{told}");
}

fn replaced(shared: &Shared) {
    let meeting = tempfile::tempdir().expect("a folder");
    fs::set_permissions(meeting.path(), Permissions::from_mode(0o700)).expect("set");
    let Plan { sections, .. } = plan("file = \"audit.log\"\nnames = \"clear\"\nrequired = true\n");
    let sections = format!("upgrade_socket = \"{}\"\n{sections}", meeting.path().join("upgrade").display());
    let mut gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let folder = gate.folder().to_owned();
    assert_eq!(gate.keyed().get("/whoami").status, 200);
    let successor = gate.start_successor();
    wait_for("the successor is ready", 60, || gate.stderr().contains("ready to take over"));
    assert_eq!(gate.keyed().get("/secrets/none").status, 404);
    gate.signal("QUIT");
    assert_eq!(gate.replaced_by(successor), Some(0));
    assert_eq!(gate.keyed().get("/whoami").status, 200);
    assert_eq!(gate.terminate(), Some(0));
    let by_old = read(&folder.join("audit.log.1"));
    assert!(by_old.iter().any(|record| record["api"]["operation"] == "kv.read"), "it goes on: {by_old:#?}");
    let (code, told) = verb(&folder, &["audit", "verify", "audit.log"]);
    assert!(code == Some(0) && told.contains("of 2 chains in 2 files"), "{told}");
    assert!(told.contains("says that the gate ended") && !told.contains("not finished"), "{told}");
}

/// The records of a file that has a line that is none.
fn read_whole(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A pipe in a folder, which holds some records and no more until it is read.
fn pipe() -> (TempDir, File, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("audit.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()), "mkfifo");
    let reader = File::options().read(true).write(true).open(&pipe).expect("a pipe");
    let options = format!("file = \"{}\"\nnames = \"clear\"\n", pipe.display());
    (folder, reader, options)
}

/// Reads the pipe for as long as the process lasts, into a file.
fn drain(mut reader: File, into: &Path) {
    let mut file = File::create(into).expect("a file");
    thread::spawn(move || std::io::copy(&mut reader, &mut file));
}

fn required(shared: &Shared) {
    let (folder, reader, options) = pipe();
    let gate = Gate::start(shared.world(), &plan(&format!("{options}required = true\n")));
    let (client, operators) = (gate.keyed(), gate.admin_client());
    let mut refused = client.get("/whoami");
    wait_for("the pipe is full", 30, || {
        refused = client.get("/secrets/none");
        refused.status != 404
    });
    assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"));
    let ready = operators.get("/readyz");
    assert_eq!((ready.status, &ready.json()["audit"]["ok"]), (503, &json!(false)));
    assert_eq!(client.get("/whoami").code(), "audit_unavailable", "whatever it is");
    drain(reader, &folder.path().join("drained"));
    wait_for("it goes on", 10, || operators.get("/readyz").status == 200);
    assert_eq!(client.get("/secrets/none").status, 404);
}

fn not_required(shared: &Shared) {
    let (folder, reader, options) = pipe();
    let mut gate = Gate::start(shared.world(), &plan(&options));
    let client = gate.keyed();
    wait_for("it is told that the pipe is full", 30, || {
        (0..20).for_each(|_| assert_eq!(client.get("/whoami").status, 200));
        gate.stderr().contains("the audit cannot be written")
    });
    assert_eq!(client.get("/secrets/none").status, 404);
    assert_eq!(gate.admin_client().get("/readyz").status, 200);
    drain(reader, &folder.path().join("drained"));
    wait_for("the end of it is told", 10, || gate.stderr().contains("the audit is written again"));
    assert!(gate.metric("portcullis_audit_records_total{result=\"written\"}") > 20.0);
    assert_eq!(gate.metric("portcullis_audit_records_total{result=\"lost\"}"), 0.0);
    assert_eq!(gate.terminate(), Some(0));
    let verify = || verb(folder.path(), &["audit", "verify", "drained"]);
    wait_for("every record is there, whole", 10, || verify().1.contains("says that the gate ended"));
    let (code, told) = verify();
    assert!(code == Some(0) && told.contains("of 1 chains") && !told.contains("not finished"), "{told}");
}

/// A message with counted octets (RFC 6587).
fn message(stream: &mut impl std::io::BufRead) -> String {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).expect("a length");
    let length: usize = String::from_utf8(length).expect("text").trim().parse().expect("a number");
    let mut text = vec![0; length];
    stream.read_exact(&mut text).expect("a message");
    String::from_utf8(text).expect("text")
}

/// The record in a message of RFC 5424.
fn record(message: &str) -> Value {
    let parts: Vec<&str> = message.splitn(8, ' ').collect();
    let [priority, _, _, app, _, id, data, record] = parts[..] else { panic!("{message}") };
    assert_eq!((priority, app, id, data), ("<110>1", "portcullis", "audit", "-"));
    serde_json::from_str(record).expect("a record")
}

fn syslog(shared: &Shared) {
    let port = free_port();
    let options = |scheme: &str, port: u16| format!("syslog = \"{scheme}://127.0.0.1:{port}\"\nnames = \"clear\"\n");
    let gate = Gate::start(shared.world(), &plan(&options("tcp", port)));
    assert_eq!(gate.keyed().get("/secrets/none").status, 404, "nobody listens, and nobody notices");
    let server = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let (stream, _) = server.accept().expect("the gate");
    let mut stream = BufReader::new(stream);
    let mut records = Vec::new();
    while !records.iter().any(|record: &Value| record["api"]["operation"] == "kv.read") {
        records.push(record(&message(&mut stream)));
    }
    assert_eq!(records[0]["unmapped"]["event"], "start", "none is lost");
    drop(stream);
    assert_eq!(gate.keyed().get("/whoami").status, 200);
    let (stream, _) = server.accept().expect("the gate, again");
    assert_eq!(record(&message(&mut BufReader::new(stream)))["api"]["operation"], "whoami");

    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let identity = shared.world().authority.issue(&certs::Leaf::server()).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("ca.crt");
    fs::write(&authority, shared.world().authority.pem()).expect("a file");
    let port = server.local_addr().expect("an address").port();
    let with_ca = format!("{}syslog_ca = \"{}\"\n", options("tls", port), authority.display());
    let _in_tls = Gate::start(shared.world(), &plan(&with_ca));
    let connection = ServerConnection::new(acceptor(&identity)).expect("a connection");
    let stream = StreamOwned::new(connection, server.accept().expect("the gate").0);
    assert_eq!(record(&message(&mut BufReader::new(stream)))["unmapped"]["event"], "start");

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let _gate = Gate::start(shared.world(), &plan(&options("udp", port)));
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram).expect("a datagram");
    let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
    assert_eq!(record(&text)["unmapped"]["event"], "start");
}

fn keys(_: &Shared) {
    let (folder, _, options) = keyed();
    fs::write(folder.path().join("names.key"), "cnry7x").expect("a file");
    let config = format!("plain = true\n[audit]\nfile = \"audit.log\"\n{options}");
    fs::write(folder.path().join("config.toml"), config).expect("a file");
    let (code, told) = verb(folder.path(), &["check"]);
    assert!(
        code == Some(2) && told.contains("audit.name_key") && told.contains("portcullis audit key --names"),
        "{told}"
    );
    assert!(!told.contains("cnry7x"), "{told}");
    let config = "plain = true\n[audit]\nstdout = true\nnames = \"clear\"\n[agents.a]\nroles = []\n";
    fs::write(folder.path().join("config.toml"), config).expect("a file");
    let (code, told) = verb(folder.path(), &["stdio", "--vault", "--subject", "a", "--config", "config.toml"]);
    assert!(code != Some(0) && told.contains("audit.stdout"), "MCP's own output is no place for records: {told}");
    let (code, told) = verb(folder.path(), &["audit", "key", "--names", "names.key"]);
    assert!(code == Some(1) && told.contains("cannot be written"), "a key is not replaced: {told}");
    let mode = fs::metadata(folder.path().join("notes.key")).expect("a key").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
