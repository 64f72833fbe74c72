//! The time that `audit verify` takes for a large file.

use crate::gate;
use crate::report::{Verified, rounded};
use crate::turns::Plan;
use anyhow::{Context, Result, bail};
use filters::audit::{Activity, Chain, ChainId, Checkpoint, Naming, NoteSigner, Occurrence, Stage};
use filters::decide::Concern;
use filters::grants::{Resource, Space};
use filters::path::SecretPath;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

pub(crate) const NAME: &str = "audit-verify";

/// Records for each round of a plan: a million in all.
const EACH: u64 = 125_000;
/// Records between two checkpoints.
const CHECKPOINT: u64 = 10_000;

/// Writes a file and has it verified.
pub(crate) fn measure(plan: Plan) -> Result<Verified> {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
    let file = folder.path().join("audit.log");
    let records = EACH * plan.rounds as u64;
    eprintln!("{NAME}: {records} records");
    let signer = NoteSigner::of_seed("bench", &[1; 32]).context("a name of a key")?;
    write(&file, records, &signer)?;
    let verifier = signer.verifier().context("a public key")?.to_string();
    let mut command = Command::new(gate::find()?);
    command.args(["audit", "verify", "--key", &verifier]).arg(&file).env_clear();
    let begun = Instant::now();
    let output = command.output()?;
    let took = begun.elapsed();
    let told = String::from_utf8_lossy(&output.stdout);
    if !(output.status.success() && told.contains(&format!("whole: {records} records"))) {
        bail!("{}: {told}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let mib = file.metadata()?.len() as f64 / f64::from(1 << 20);
    Ok(Verified { records, mib: rounded(mib, 0), seconds: rounded(took.as_secs_f64(), 2) })
}

fn write(file: &Path, records: u64, signer: &NoteSigner) -> Result<()> {
    let naming = Naming::of_key(&"0b".repeat(Naming::KEY)).context("a key")?;
    let secret = SecretPath::parse("configs/demo").ok().map(|path| Resource::Secret(Space::Own, path));
    let concern = Concern { resource: secret, ..Concern::default() };
    let (mut chain, mut file) = (Chain::begin(ChainId::new(1), None), BufWriter::new(File::create(file)?));
    let (mut body, mut line) = (Vec::new(), Vec::new());
    for number in 1..=records {
        body.clear();
        line.clear();
        match chain.last().filter(|_| number % CHECKPOINT == 0) {
            Some(last) => {
                let note = signer.sign(&Checkpoint { last });
                Occurrence::Checkpoint { note: &note }.write(number, &mut body);
            }
            None => activity(number).write([&concern].into_iter(), &naming, &mut body),
        }
        chain.seal(&body, &mut line);
        file.write_all(&line)?;
    }
    Ok(file.flush()?)
}

const fn activity(time: u64) -> Activity<&'static str> {
    Activity {
        time,
        stage: Stage::Ended { status: 200, took: 1 },
        correlation_id: "6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b11",
        request_id: "6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b12",
        trace: None,
        message: None,
        client: None,
        asked: ("GET", "/secrets/{path}"),
        agent: "agent_mtls",
        namespace: "",
        proof: "certificate",
        operation: "kv.read",
        decision: "allow",
        role: "bench",
        observed: false,
        why: "",
        by_operator: false,
    }
}
