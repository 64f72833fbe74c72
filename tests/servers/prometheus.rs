//! Prometheus, which scrapes a gate and evaluates rules and queries, and `promtool`, which judges what it is given.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use local_vault::Guarded;
use serde_json::Value;
use tempfile::TempDir;

use super::program;
use crate::{Client, free_port, wait_for};

/// A server that scrapes one gate; ended when dropped.
pub struct Prometheus {
    port: u16,
    _process: Guarded,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes the gate at `port` each second and evaluates the rules of the file at
    /// `rules`, and waits until it has scraped.
    pub fn start(gate: u16, rules: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [\"{}\"]\nscrape_configs:\n\
             - job_name: portcullis\n  static_configs: [{{targets: [\"127.0.0.1:{gate}\"]}}]\n",
            rules.display()
        );
        let (file, log) = (folder.path().join("prometheus.yml"), folder.path().join("log"));
        std::fs::write(&file, configuration).expect("a file");
        let log = std::fs::File::create(log).expect("a file");
        let port = free_port();
        let mut command = Command::new(program("prometheus", "/usr/lib/prometheus"));
        command.arg("--enable-feature=exemplar-storage");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = Guarded::spawn(&mut command, Some(folder.path())).expect("prometheus");
        let server = Self { port, _process: process, _folder: folder };
        wait_for("Prometheus has scraped the gate", 30, || {
            let up = Client::plain(port).try_send("GET", "/api/v1/query?query=up", &[], b"");
            up.is_ok_and(|up| up.status == 200 && up.json()["data"]["result"][0]["value"][1] == "1")
        });
        server
    }

    /// The answer to an instant query: the series and their values.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = Client::plain(self.port).get(&format!("/api/v1/query?query={encoded}")).json();
        match answer["data"]["result"].as_array() {
            Some(series) if answer["status"] == "success" => Ok(series.clone()),
            _ => Err(answer.to_string()),
        }
    }

    /// The exemplars of these series that it has.
    pub fn exemplars(&self, query: &str) -> Vec<Value> {
        let answer = Client::plain(self.port).get(&format!("/api/v1/query_exemplars?query={query}&start=1&end=4e9"));
        let answer = answer.json();
        let series = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        series.iter().flat_map(|one| one["exemplars"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// The rules, each as the server tells it.
    pub fn rules(&self) -> Vec<Value> {
        let answer = Client::plain(self.port).get("/api/v1/rules").json();
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }
}

/// Runs `promtool` with these arguments in `folder`, and gives it `input`.
pub fn promtool(arguments: &[&str], folder: &Path, input: &[u8]) -> Output {
    let mut command = Command::new(program("promtool", "/usr/lib/prometheus"));
    command.args(arguments).current_dir(folder);
    let mut tool =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool");
    tool.stdin.take().expect("its input").write_all(input).expect("written");
    tool.wait_with_output().expect("its end")
}
