use std::path::Path;

use crate::gate::CONFIGURATION;
use crate::{CERTIFICATES, VAULT_AUDIT};

/// The agent whose certificate the printed commands use: `agent_mtls`, or the first one.
pub(crate) fn caller<'a>(agents: &[&'a str]) -> &'a str {
    let usual = "agent_mtls";
    match agents.contains(&usual) {
        true => usual,
        false => agents.first().copied().unwrap_or(usual),
    }
}

/// Prints commands that work when pasted, in any folder.
pub(crate) fn print(root: &Path, port: u16, agent: &str) {
    let certificates = root.join(CERTIFICATES);
    let folder = certificates.display();
    let root = root.display();
    let curl = format!(
        "curl -sS -w '\\n' --cacert '{folder}/ca.crt' --cert '{folder}/{agent}.crt' --key '{folder}/{agent}.key'"
    );
    println!(
        r#"
The gate is ready at https://localhost:{port}. As {agent}:

# write a secret
{curl} \
  -X PUT https://localhost:{port}/secrets/configs/demo \
  -H 'Content-Type: application/json' -d '{{"data":{{"foo":"bar"}}}}'

# read it back
{curl} \
  https://localhost:{port}/secrets/configs/demo

# read it over MCP
{curl} \
  -X POST https://localhost:{port}/mcp \
  -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
  -H 'MCP-Protocol-Version: 2025-06-18' \
  -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"kv.read","arguments":{{"path":"configs/demo"}}}}}}'

# put the gate's audit beside Vault's
cd '{root}' && target/debug/portcullis audit join --config {CONFIGURATION} --vault-log {VAULT_AUDIT} --missing

Ctrl-C ends everything.
"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_an_agent_that_has_a_certificate() {
        assert_eq!(caller(&["agent_api", "agent_mtls"]), "agent_mtls");
        assert_eq!(caller(&["x", "y"]), "x");
    }
}
