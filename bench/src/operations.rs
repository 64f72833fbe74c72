//! Each operation of the catalog as an agent calls it: as a tool, and over REST what gives a wrapped answer out.

use crate::load;
use crate::report::{Ratio, Report, Row};
use crate::requests::{self, Request};
use crate::servers::{Server, Servers};
use crate::turns::{Plan, take_turns};
use anyhow::{Context, Result, bail};
use filters::catalog::CATALOG;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

/// All of them, as a scenario's name.
pub(crate) const ALL: &str = "operations";

/// There are many of them, so each has shorter rounds.
const MEASURED: Duration = Duration::from_millis(500);

/// The one over REST only that is measured.
const UNWRAP: &str = "wrap.unwrap";

const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZWdQi1L6R7ZkGdXKFqpBJwGgR9nM3g3K8F8bFQq0aF bench";

/// A handle that an operation needs, and where it comes from.
struct Needs {
    argument: &'static str,
    from: &'static str,
    with: Value,
    /// Where in the tool's structured content.
    pointer: &'static str,
}

/// The operations that are tools, and the one that is not, by name in the catalog's order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let specs = CATALOG.iter().map(|kind| kind.spec);
    specs.filter(|spec| !spec.rest_only || spec.name == UNWRAP).map(|spec| spec.name)
}

/// Measures one operation.
pub(crate) async fn run(name: &'static str, servers: &Servers, plan: Plan, report: &mut Report) {
    let plan = Plan { rounds: plan.rounds.div_ceil(2), measured: MEASURED, first_warm_up: plan.warm_up, ..plan };
    report.add(name, measure(name, servers, plan).await);
}

async fn measure(name: &'static str, servers: &Servers, plan: Plan) -> Result<Row> {
    let Ok(gate) = &servers.gate else { bail!("there is no gate") };
    let request = Rc::new(request(name, gate).await?);
    let contenders = [servers.pingora.asked(&request), gate.asked(&request)];
    eprintln!("{name}: {} rounds, {} servers in turns", plan.rounds, contenders.len());
    let figures = take_turns(&contenders, plan).await?;
    let [pingora, own] = figures.as_slice() else { bail!("not two contenders") };
    Ok(own.row(name, Ratio { pingora: own.against(Some(pingora)), nginx: None }))
}

/// The request that is repeated, with a handle of the gate's where it needs one.
async fn request(name: &str, gate: &Server) -> Result<Request> {
    let mut arguments = arguments(name)?;
    if let Some(Needs { argument, from, with, pointer }) = needs(name) {
        let answer = load::ask(&gate.asked(&Rc::new(requests::tool(from, &with)))).await?;
        let handle = answer.pointer("/result/structuredContent").and_then(|content| content.pointer(pointer));
        let handle = handle.with_context(|| format!("no handle from {from}: {answer}"))?;
        arguments.as_object_mut().context("an object")?.insert(argument.to_owned(), handle.clone());
    }
    Ok(if name == UNWRAP { requests::post("/wrap/unwrap", &arguments) } else { requests::tool(name, &arguments) })
}

fn needs(name: &str) -> Option<Needs> {
    let (argument, from, with, pointer) = match name {
        "db.renew" | "db.revoke" => ("lease_id", "db.issue_creds", arguments("db.issue_creds").ok()?, "/lease_id"),
        "pki.revoke" => ("handle", "pki.issue", arguments("pki.issue").ok()?, "/handle"),
        "wrap.lookup" | UNWRAP => {
            ("handle", "kv.read", json!({"path": requests::PATH, "wrap_ttl": 300}), "/wrapped/handle")
        }
        _ => return None,
    };
    Some(Needs { argument, from, with, pointer })
}

/// The arguments of a typical call, but for a handle.
fn arguments(name: &str) -> Result<Value> {
    let path = requests::PATH;
    Ok(match name {
        "kv.read" | "kv.metadata" | "kv.delete" => json!({"path": path}),
        "kv.write" | "kv.patch" => json!({"path": path, "data": requests::secret()}),
        "kv.list" => json!({"prefix": "configs"}),
        "kv.undelete" | "kv.destroy" => json!({"path": path, "versions": [1]}),
        "transit.encrypt" => json!({"key": "bench", "plaintext": "YmVuY2g="}),
        "transit.decrypt" | "transit.rewrap" => json!({"key": "bench", "ciphertext": "vault:v1:YmVuY2g="}),
        "transit.generate_data_key" => json!({"key": "bench"}),
        "transit.sign" | "transit.hmac" => json!({"key": "bench", "input": "YmVuY2g="}),
        "transit.verify" => json!({"key": "bench", "input": "YmVuY2g=", "signature": "vault:v1:YmVuY2g="}),
        "db.issue_creds" => json!({"role": "bench"}),
        "ssh.sign" => json!({"role": "bench", "public_key": SSH_KEY}),
        "ssh.otp" => json!({"role": "bench", "ip": "127.0.0.1", "username": "bench"}),
        "pki.issue" => json!({"role": "bench", "common_name": "bench.example"}),
        "pki.sign" => json!({"role": "bench", "csr": "-----BEGIN CERTIFICATE REQUEST-----"}),
        "kms.encrypt" => json!({"key_id": "alias/bench", "plaintext": "YmVuY2g="}),
        "kms.decrypt" => json!({"key_id": "alias/bench", "ciphertext": "YmVuY2g="}),
        "kms.generate_data_key" => json!({"key_id": "alias/bench", "key_spec": "AES_256"}),
        "kms.sign" => json!({"key_id": "alias/bench", "message": "YmVuY2g=", "signing_algorithm": "ECDSA_SHA_256"}),
        "kms.verify" => json!({
            "key_id": "alias/bench",
            "message": "YmVuY2g=",
            "signature": "YmVuY2g=",
            "signing_algorithm": "ECDSA_SHA_256",
        }),
        "db.renew" | "db.revoke" | "pki.revoke" | "transit.random" | "wrap.lookup" | UNWRAP => json!({}),
        "whoami" | "access.list" => json!({}),
        _ => bail!("no call of {name} is known"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_call() {
        for name in names() {
            assert!(arguments(name).is_ok(), "{name}");
        }
    }
}
