//! Configuration files: whatever stands in one is accepted or refused, and
//! what is accepted makes a policy for each agent.

#![no_main]
#![allow(missing_docs)]

use std::io;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use portcullis::cli::policy::vault_policy;
use portcullis::config::{self, Environment, Flags};
use portcullis::snapshot::Snapshot;

fuzz_target!(|input: (u8, &str)| {
    let (kind, text) = input;
    let name = match kind % 3 {
        0 => "config.toml",
        1 => "config.yaml",
        _ => "config.json",
    };
    let flags = Flags { config: Some(PathBuf::from(name)), ..Flags::default() };
    let environment = Environment {
        variable: &|_| None,
        read: &|path, _| if path.ends_with(name) { Ok(text.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) },
        probe: &|_| Ok(()),
        list: &|_| Ok(Vec::new()),
        table: config::Table::of_gate(),
    };
    let Ok(settings) = config::load_from(&flags, &environment) else { return };
    for agent in &settings.agents {
        let _ = vault_policy::of_agent(&settings, &agent.id);
    }
    let agents: Vec<_> = settings.agents.iter().map(|agent| agent.id.clone()).collect();
    let snapshot = Snapshot::of_policy(settings);
    assert!(agents.iter().all(|agent| snapshot.agents.find(agent).is_some()));
});
