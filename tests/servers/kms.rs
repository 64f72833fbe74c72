//! AWS KMS, as moto's server speaks it.

use std::fs::File;
use std::process::Stdio;

use local_vault::Guarded;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::root;
use crate::{Client, free_port, wait_for};

/// Names the service and the region; nobody checks the signature.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/kms/aws4_request, \
                             SignedHeaders=host;x-amz-date;x-amz-target, Signature=0";

/// A running server, without a key at first.
pub struct Kms {
    port: u16,
    _process: Guarded,
    _folder: TempDir,
}

impl Kms {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        let program = root().join("target/venv/bin/moto_server");
        assert!(program.is_file(), "{} is missing: `make servers` installs it", program.display());
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a file");
        let port = free_port();
        let mut command = std::process::Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = Guarded::spawn(&mut command, Some(folder.path())).expect("moto_server");
        let probe = Client::plain(port);
        wait_for("AWS KMS answers", 60, || {
            let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(!process.has_ended(), "moto_server ended: {}", log());
            send(&probe, "ListKeys", &json!({})).is_ok_and(|(status, _)| status == 200)
        });
        Self { port, _process: process, _folder: folder }
    }

    /// Where it is, for a client of AWS.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a key and gives its id; usage and spec are AWS's words, as
    /// `ENCRYPT_DECRYPT` and `SYMMETRIC_DEFAULT`.
    pub fn create_key(&self, usage: &str, spec: &str) -> String {
        let (status, answer) = self.ask("CreateKey", &json!({"KeyUsage": usage, "KeySpec": spec}));
        assert_eq!(status, 200, "{answer}");
        answer["KeyMetadata"]["KeyId"].as_str().expect("an id").to_owned()
    }

    /// Gives a key the name `alias/…`.
    pub fn create_alias(&self, alias: &str, key: &str) {
        let (status, answer) = self.ask("CreateAlias", &json!({"AliasName": alias, "TargetKeyId": key}));
        assert_eq!(status, 200, "{answer}");
    }

    /// Asks for one of AWS KMS's actions.
    pub fn ask(&self, action: &str, body: &Value) -> (u16, Value) {
        let sent = send(&Client::plain(self.port), action, body);
        sent.unwrap_or_else(|error| panic!("{action}: {error}"))
    }
}

fn send(client: &Client, action: &str, body: &Value) -> std::io::Result<(u16, Value)> {
    let target = format!("TrentService.{action}");
    let headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Date", "20260101T000000Z"),
        ("X-Amz-Target", target.as_str()),
        ("Authorization", AUTHORIZATION),
    ];
    let response = client.try_send("POST", "/", &headers, body.to_string().as_bytes())?;
    Ok((response.status, serde_json::from_slice(&response.body).unwrap_or_default()))
}
