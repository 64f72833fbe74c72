//! Vault's own command line, or OpenBao's.

use std::fs;
use std::process::{Command, Output};

use local_vault::binary;
use serde_json::Value;
use tests::Gate;
use tests::process::root;

/// Runs Vault's own command line, or OpenBao's, against the gate.
pub(in crate::gate) struct Cli<'a> {
    gate: &'a Gate,
    pub(in crate::gate) home: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl<'a> Cli<'a> {
    pub(in crate::gate) fn new(gate: &'a Gate) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("ca.crt"), gate.authority()).expect("a file");
        Self { gate, home, environment: Vec::new() }
    }

    /// With the certificate of an agent.
    pub(in crate::gate) fn of(gate: &'a Gate, agent: &str) -> Self {
        let mut cli = Self::new(gate);
        gate.issue(&certs::Leaf::agent(agent)).write(cli.home.path(), "agent").expect("files");
        for (name, file) in [("VAULT_CLIENT_CERT", "agent.crt"), ("VAULT_CLIENT_KEY", "agent.key")] {
            cli.environment.push((name, cli.home.path().join(file).display().to_string()));
        }
        cli
    }

    /// With this token.
    pub(in crate::gate) fn with(mut self, token: &str) -> Self {
        self.environment.push(("VAULT_TOKEN", token.to_owned()));
        self
    }

    pub(in crate::gate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary(&root()).expect("a Vault").path);
        command.env_clear().args(arguments).current_dir(self.home.path());
        command.env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin").env("NO_COLOR", "1");
        command.env("VAULT_ADDR", format!("https://localhost:{}", self.gate.tls));
        command.env("VAULT_CACERT", self.home.path().join("ca.crt")).env("VAULT_MAX_RETRIES", "0");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.output().expect("the command line runs")
    }

    /// What it prints, where it succeeds.
    pub(in crate::gate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{error}\n{}", self.gate.log());
        said.into_owned()
    }

    /// What it prints, whether it succeeds or not.
    pub(in crate::gate) fn json_of(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(arguments).stdout).unwrap_or_default()
    }

    pub(in crate::gate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(arguments)).expect("JSON")
    }

    /// What it says of why it fails.
    pub(in crate::gate) fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}
