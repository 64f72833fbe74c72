//! The cost of decision and translation alone: from a tool's arguments to the request for Vault.
//!
//! Instructions and allocations are counted by valgrind as the difference between two runs that
//! differ only in the number of calls, so neither start-up nor a noisy machine shows.

use anyhow::{Context, Result, bail};
use clap::Args;
use filters::catalog;
use filters::decide::{DecisionContext, Permitted, decide};
use filters::grants::{Agent, Role};
use filters::handle::Keyring;
use filters::identity::{Identity, Proof};
use filters::names::{AgentId, Namespace};
use filters::pattern::PathPattern;
use filters::quota::Terms;
use filters::scope::{Scope, Scopes};
use filters::vault::Layout;
use serde::Serialize;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const ARGUMENTS: &[u8] = br#"{"path":"configs/demo"}"#;
/// From one agent to as many as the budget names, each with a role of its own.
pub(crate) const AMONG: [(&str, u32); 2] = [("decide-1", 1), ("decide-100000", 100_000)];
const CALLS: [u32; 2] = [1_000, 3_000];
const TIMED_CALLS: u32 = 2_000_000;
/// Steps through the agents in an order that no cache foresees; prime to their number.
const STRIDE: usize = 48_271;

#[derive(Args)]
pub(crate) struct Settings {
    #[arg(long)]
    agents: u32,
    #[arg(long)]
    calls: u32,
}

/// The cost of one `kv.read` among so many agents.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    pub(crate) agents: u32,
    pub(crate) nanoseconds: f64,
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

/// Decides `calls` times and prints the nanoseconds each has taken.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let layout = catalog::CATALOG.layout();
    let identities = (0..settings.agents).map(identity).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let mut at = 0;
    for _ in 0..settings.calls {
        at = (at + STRIDE) % identities.len();
        let identity = identities.get(at).context("identity")?;
        black_box(call(black_box(identity), black_box(ARGUMENTS), &layout)?);
    }
    println!("{}", started.elapsed().as_nanos() as f64 / f64::from(settings.calls));
    Ok(())
}

fn call(identity: &Identity, arguments: &[u8], layout: &Layout) -> Result<Permitted> {
    let kind = catalog::find("kv.read").context("kv.read")?;
    let operation = kind.parse(arguments).map_err(refused)?;
    let keyring = Keyring::default();
    let ground = DecisionContext { layout, keyring: &keyring, client: None, now: 0 };
    decide(identity, operation, ground)
        .and_then(|permit| permit.into_permitted(layout, 60))
        .map_err(|denied| refused(denied.refusal))
}

/// Each agent has a role of its own, as the worst case in memory.
fn identity(number: u32) -> Result<Identity> {
    let role = Role {
        name: format!("role-{number}").into(),
        scopes: Scope::ALL.into_iter().collect(),
        kv: vec![PathPattern::parse("**").map_err(refused)?],
        ..Role::default()
    };
    let agent = Agent {
        id: AgentId::parse(&format!("agent-{number}")).context("agent name")?,
        generation: 1,
        namespace: Namespace::default(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles: vec![(Arc::new(role), None)],
        limit: None,
        operations: Vec::new(),
        terms: Terms::default(),
    };
    Ok(Identity::new(Arc::new(agent), Scopes::ALL, Proof::Certificate))
}

fn refused(refusal: impl std::fmt::Debug) -> anyhow::Error {
    anyhow::anyhow!("{refusal:?}")
}

impl Cost {
    /// Counts and times one call among so many agents.
    pub(crate) fn of(name: &'static str, agents: u32) -> Result<Self> {
        let timed = child(&[], agents, TIMED_CALLS)?;
        let nanoseconds = timed.trim().parse().context("nanoseconds")?;
        let callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
        Ok(Self {
            name,
            agents,
            nanoseconds,
            instructions: per_call(&callgrind, agents, "Collected : ")?,
            allocations: per_call(&["valgrind", "--tool=memcheck"], agents, "total heap usage: ")?,
        })
    }
}

fn per_call(tool: &[&str], agents: u32, before_number: &str) -> Result<f64> {
    let [few, many] = CALLS;
    let counted = |calls| number_after(&child(tool, agents, calls)?, before_number);
    Ok((counted(many)? - counted(few)?) / f64::from(many - few))
}

fn number_after(text: &str, label: &str) -> Result<f64> {
    let (_, rest) = text.split_once(label).with_context(|| format!("no '{label}' in: {text}"))?;
    let digits = rest.split_whitespace().next().unwrap_or_default().replace(',', "");
    Ok(digits.parse()?)
}

/// Runs this program again, under `tool` if any; both outputs as one text.
fn child(tool: &[&str], agents: u32, calls: u32) -> Result<String> {
    let program = std::env::current_exe()?;
    let mut command = match tool.split_first() {
        Some((valgrind, options)) => {
            let mut command = Command::new(valgrind);
            command.args(options).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(["decide", "--agents", &agents.to_string(), "--calls", &calls.to_string()]);
    let output = command.output().with_context(|| format!("start {}", tool.join(" ")))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if !output.status.success() {
        bail!("{}: {text}", output.status);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_thousands() {
        let text = "==1==   total heap usage: 1,234,567 allocs, 12 frees";
        assert_eq!(number_after(text, "total heap usage: ").unwrap(), 1_234_567.0);
        assert!(number_after(text, "Collected : ").is_err());
    }
}
