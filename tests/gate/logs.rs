//! Logs that nobody can flood, and that lose nothing in silence.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::tls_config;
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_full_disk_loses_no_line_and_tears_none", full),
    ("a_disk_that_is_full_again_and_again_loses_what_is_counted", again_and_again),
    ("a_gate_that_cannot_write_its_server_log_goes_on", mute),
    ("nobody_floods_the_server_log_with_a_librarys_lines", flood),
];

/// A place for logs that has little room.
pub enum Disk {
    /// A file system of its own, and a file that takes most of it.
    Mounted(TempDir),
    /// A pipe, which takes no more than it holds, for machines on which none may be mounted.
    Pipe(TempDir, File),
}

impl Disk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if mount(folder.path(), "256k") {
            fs::write(folder.path().join("filler"), vec![0; 192 << 10]).expect("a file");
            return Self::Mounted(folder);
        }
        let pipe = folder.path().join("requests.log");
        assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()), "mkfifo");
        let reader = File::options().read(true).write(true).open(&pipe).expect("a pipe");
        Self::Pipe(folder, reader)
    }

    pub fn folder(&self) -> &Path {
        match self {
            Self::Mounted(folder) | Self::Pipe(folder, _) => folder.path(),
        }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut filler = File::create(self.folder().join("filler")).expect("a file");
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    /// Makes room.
    pub fn free(&self) {
        if let Self::Mounted(folder) = self {
            fs::remove_file(folder.path().join("filler")).expect("removed");
        }
    }

    /// Adds to `text` what was written since.
    fn read(&self, text: &mut Vec<u8>) {
        match self {
            Self::Mounted(folder) => *text = fs::read(folder.path().join("requests.log")).expect("the log"),
            Self::Pipe(_, pipe) => {
                let mut part = vec![0; 64 << 10];
                let count = (&*pipe).read(&mut part).expect("a part");
                text.extend_from_slice(&part[..count]);
            }
        }
    }
}

/// Mounts a file system of that size; false where that is not allowed.
fn mount(folder: &Path, size: &str) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder).stderr(Stdio::null());
    mount.status().is_ok_and(|status| status.success())
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            let _ = Command::new("umount").arg("--lazy").arg(folder.path()).status();
        }
    }
}

/// Asks that often on one connection.
fn ask(client: &Client, times: usize) {
    let mut stream = client.connect().expect("a connection");
    for _ in 0..times {
        assert_eq!(client.exchange(&mut stream, "GET", "/whoami", &[], b"").expect("an answer").status, 200);
    }
}

/// The ids of the requests for `/whoami`, each line being one.
fn ids(text: &[u8]) -> HashSet<String> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |line| {
        let line: Value =
            serde_json::from_slice(line).unwrap_or_else(|_| panic!("a torn line: {}", String::from_utf8_lossy(line)));
        (line["path"] == "/whoami").then(|| line["request_id"].as_str().expect("an id").to_owned())
    };
    lines.filter_map(read).collect()
}

fn full(shared: &Shared) {
    const FULL: &str = "requests.log cannot be written";
    let disk = Disk::new();
    let environment = vec![("LOG_DIR", disk.folder().display().to_string())];
    let sections = format!("{AGENTS}[logging]\nresponses = false\nserver = false\n");
    let mut gate = Gate::start(shared.world(), &Plan { environment, sections, ..Plan::default() });
    let (client, mut asked) = (gate.keyed(), 0);
    wait_for("the disk is full", 30, || {
        ask(&client, 100);
        asked += 100;
        gate.stderr().contains(FULL)
    });
    ask(&client, 200);
    asked += 200;
    assert_eq!(gate.metric("portcullis_log_dropped_total{log=\"requests\"}"), 0.0, "they wait");
    wait_for("it is told that they do", 10, || gate.metric("portcullis_log_waiting_bytes{log=\"requests\"}") > 0.0);
    disk.free();
    let mut text = Vec::new();
    wait_for("every line is written", 20, || {
        disk.read(&mut text);
        ids(&text).len() == asked
    });
    wait_for("the end of it is told", 10, || gate.stderr().contains("requests.log is written again"));
    assert_eq!(gate.metric("portcullis_log_dropped_total{log=\"requests\"}"), 0.0);
    assert_eq!(gate.metric("portcullis_log_waiting_bytes{log=\"requests\"}"), 0.0);
    assert!(gate.metric("portcullis_log_lines_total{log=\"requests\"}") >= asked as f64);
    assert!(matches!(disk, Disk::Pipe(..)) || gate.stderr().matches(FULL).count() == 1, "it is told once");
    assert_eq!(gate.terminate(), Some(0));
}

fn again_and_again(shared: &Shared) {
    const LOGS: [&str; 2] = ["requests", "responses"];
    let folder = tempfile::tempdir().expect("a folder");
    // Where none may be mounted, the test before stands for it.
    if !mount(folder.path(), "64m") {
        return;
    }
    let disk = Disk::Mounted(folder);
    let environment = vec![("LOG_DIR", disk.folder().display().to_string())];
    let sections = format!("{AGENTS}[limits]\nbatch = 1000\nconcurrent = 1000\n");
    let gate = Gate::start(shared.world(), &Plan { environment, sections, ..Plan::default() });
    let (client, stderr) = (gate.agent("agent_jwt"), |text: &str| gate.stderr().matches(text).count());
    let metric = |name: &str, log: &str| gate.metric(&format!("{name}{{log=\"{log}\"}}"));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kv_read", "arguments": {"path": "none"}}});
    let mut asked = 0;
    // Each message is refused before Vault is asked, and has a line in both logs.
    let mut ask = |messages: usize| {
        let batch = Value::Array(vec![call.clone(); messages]);
        assert_eq!(client.mcp_with(&[("MCP-Protocol-Version", "2025-03-26")], &batch).status, 200);
        asked += messages;
    };
    for turn in 1..=4 {
        disk.fill();
        // More than the last page of either file still takes.
        ask(100);
        for log in LOGS {
            wait_for("it is told", 10, || stderr(&format!("{log}.log cannot be written")) == turn);
        }
        if turn == 4 {
            // More than may wait.
            while LOGS.iter().any(|log| metric("portcullis_log_dropped_total", log) == 0.0) {
                ask(1000);
            }
        } else {
            ask(10);
        }
        disk.free();
        for log in LOGS {
            wait_for("the end of it is told", 10, || stderr(&format!("{log}.log is written again")) == turn);
        }
        ask(10);
        assert!(turn == 4 || gate.metric("portcullis_log_dropped_total") == 0.0, "they wait");
    }
    let text = || fs::read_to_string(disk.folder().join("responses.log")).expect("the log");
    let dropped = metric("portcullis_log_dropped_total", "responses");
    wait_for("what is not lost is written", 10, || text().lines().count() as f64 + dropped == asked as f64);
    let torn = |line: &str| serde_json::from_str::<Value>(line).is_err();
    assert!(!text().lines().any(torn), "a torn line");
    assert_eq!(metric("portcullis_log_lines_total", "responses"), text().lines().count() as f64);
    for log in LOGS {
        assert_eq!(stderr(&format!("{log}.log cannot be written")), 4, "each time once");
        wait_for("the loss is told", 10, || stderr(&format!("lines of {log}.log were lost")) == 1);
    }
}

fn mute(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan { stderr: Some("/dev/full"), ..Plan::default() });
    let lost = || gate.metric("portcullis_server_log_dropped_total");
    let before = lost();
    assert!(before > 0.0, "what it said at start is counted");
    assert_eq!(gate.operator().post("/admin/reload", &Value::Null).status, 200);
    assert!(lost() > before);
    assert_eq!(gate.keyed().get("/whoami").status, 200);
}

fn flood(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let mut config = tls_config(gate.authority(), None, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = Client::over(gate.tls, config).connect().expect("a connection");
    // RFC 9113: the preface, empty SETTINGS, and acknowledgements (flag 1) of PING frames (6) that nobody sent.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
    let acknowledgement = b"\0\0\x08\x06\x01\0\0\0\0unasked!";
    for _ in 0..20 {
        stream.write_all(&acknowledgement.repeat(1000)).and_then(|()| stream.flush()).expect("written");
    }
    wait_for("what is left out is told", 20, || gate.stderr().contains("more lines of h2 were left out"));
    let told = gate.stderr();
    assert!(told.matches("never sent").count() <= 100 && told.len() < 100_000, "{} bytes", told.len());
    assert!(!told.contains("a panic"), "{told}");
    assert_eq!(gate.keyed().get("/whoami").status, 200);
}
