//! Vault's audit log, as far as tests read it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::World;

/// An audit device that writes raw values to a file; ended when dropped.
pub struct Audit<'a> {
    world: &'a World,
    name: &'static str,
    folder: TempDir,
}

impl<'a> Audit<'a> {
    /// A device of that name.
    pub fn start(world: &'a World, name: &'static str) -> Self {
        let audit = Self { world, name, folder: tempfile::tempdir().expect("a folder") };
        let options = json!({"file_path": audit.file().display().to_string(), "log_raw": "true"});
        let (status, answer) =
            world.ask("PUT", &format!("sys/audit/{name}"), &json!({"type": "file", "options": options}));
        assert_eq!(status, 204, "{answer}");
        // OpenBao writes down what it is told to.
        let header = json!({"hmac": false});
        world.ask("PUT", "sys/config/auditing/request-headers/X-Correlation-Id", &header);
        audit
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The lines of answers to requests for `path`, in their order.
    pub fn answers(&self, path: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["type"] == "response" && line["request"]["path"] == path).collect()
    }
}

impl Drop for Audit<'_> {
    /// Vault refuses what no device can write down.
    fn drop(&mut self) {
        self.world.ask("DELETE", &format!("sys/audit/{}", self.name), &Value::Null);
    }
}
