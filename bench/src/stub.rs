//! A static server in Vault's shape: what the measured servers have behind them.
//!
//! Every answer is rendered once, at start; a request costs a head to parse, one comparison of
//! its path and one write.

use crate::answers::{self, ACCESSOR};
use crate::wire;
use anyhow::Result;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const READ: &str = r#"{"request_id":"6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b11","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"password":"correct-horse-battery","username":"demo"},"metadata":{"created_time":"2026-01-01T00:00:00.000000001Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}"#;
const WRITTEN: &str = r#"{"request_id":"6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b12","lease_id":"","renewable":false,"lease_duration":0,"data":{"created_time":"2026-01-01T00:00:00.000000001Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":2},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}"#;
const LOGIN: &str = r#"{"request_id":"6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b13","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":{"client_token":"hvs.bench-login","accessor":"bench-login-accessor","policies":["portcullis"],"token_policies":["portcullis"],"metadata":{"role_name":"portcullis"},"lease_duration":3600,"renewable":true,"entity_id":"bench-entity","token_type":"service","orphan":true,"mfa_requirement":null,"num_uses":0},"mount_type":""}"#;
/// Less the accessor, which a batch token would not have.
const CHILD: &str = r#"{"request_id":"6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b14","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":{"client_token":"hvb.AAAAAQJbench-child-token-as-long-as-a-real-one-AAAAAQJbench-child-token-as-long-as-a-real-one","accessor":"ACCESSOR","policies":["mcp-agent-agent_mtls"],"token_policies":["mcp-agent-agent_mtls"],"metadata":{"agent":"agent_mtls"},"lease_duration":90,"renewable":false,"entity_id":"","token_type":"batch","orphan":true,"mfa_requirement":null,"num_uses":0},"mount_type":"token"}"#;
const LOOKUP: &str = r#"{"request_id":"6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b15","lease_id":"","renewable":false,"lease_duration":0,"data":{"accessor":"bench-login-accessor","creation_time":1767225600,"creation_ttl":3600,"display_name":"approle","entity_id":"bench-entity","expire_time":"2036-01-01T00:00:00Z","explicit_max_ttl":0,"id":"hvs.bench-login","issue_time":"2026-01-01T00:00:00Z","meta":{"role_name":"portcullis"},"num_uses":0,"orphan":true,"path":"auth/approle/login","policies":["portcullis"],"renewable":true,"ttl":3600,"type":"service"},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"token"}"#;
const HEALTH: &str = r#"{"initialized":true,"sealed":false,"standby":false,"performance_standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","server_time_utc":1767225600,"version":"1.21.0","enterprise":false,"cluster_name":"vault-cluster-bench","cluster_id":"6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b16","echo_duration_ms":0,"clock_skew_ms":0,"replication_primary_canary_age_ms":0}"#;
const MISSING: &str = r#"{"errors":[]}"#;

/// Where agents' secrets lie.
const AGENTS_DATA: &str = "secret/data/mcp/";

/// A request that is longer than this ends its connection.
const REQUEST_LIMIT: usize = 4 << 20;

struct Answers {
    read: Vec<u8>,
    written: Vec<u8>,
    login: Vec<u8>,
    child: Vec<u8>,
    lookup: Vec<u8>,
    health: Vec<u8>,
    kms: Vec<u8>,
    missing: Vec<u8>,
    /// By method and the beginning of the path.
    others: Vec<(&'static str, &'static str, Vec<u8>)>,
}

/// Serves until the process ends; the first line on standard output is the address.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let answers = Arc::new(Answers::render()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                // A client that goes away mid-request is the end of a round, not a fault.
                let _ = serve(stream, &answers).await;
            });
        }
    })
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    while buffer.len() < REQUEST_LIMIT {
        while let Some(request) = wire::request(&buffer)? {
            let end = request.end;
            stream.write_all(answers.to(request.method, request.path)).await?;
            buffer.drain(..end);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            break;
        }
    }
    Ok(())
}

impl Answers {
    fn render() -> Result<Self> {
        let others = answers::of_vault()?.into_iter();
        let others = others.map(|answer| (answer.method, answer.prefix, rendered_or_nothing(answer.body.as_deref())));
        Ok(Self {
            read: rendered("200 OK", READ),
            written: rendered("200 OK", WRITTEN),
            login: rendered("200 OK", LOGIN),
            child: rendered("200 OK", &CHILD.replace("ACCESSOR", ACCESSOR)),
            lookup: rendered("200 OK", LOOKUP),
            health: rendered("200 OK", HEALTH),
            kms: rendered("200 OK", &answers::of_kms()),
            missing: rendered("404 Not Found", MISSING),
            others: others.collect(),
        })
    }

    /// Vault's API below `/v1/` and KMS's at `/`; anything else is what a pass-through forwards
    /// from a client.
    fn to(&self, method: &str, target: &str) -> &[u8] {
        let path = target.split('?').next().unwrap_or(target);
        let Some(api) = path.strip_prefix("/v1/") else {
            return match (method, path) {
                ("POST", "/") => &self.kms,
                ("PUT", _) => &self.written,
                _ => &self.read,
            };
        };
        let other = || self.others.iter().find(|(known, prefix, _)| *known == method && api.starts_with(prefix));
        match (method, api) {
            ("POST", "auth/approle/login" | "auth/token/renew-self") => &self.login,
            ("POST", _) if api.starts_with("auth/token/create/") => &self.child,
            ("GET", "auth/token/lookup-self") => &self.lookup,
            ("GET", "sys/health") => &self.health,
            ("GET", _) if api.starts_with(AGENTS_DATA) => &self.read,
            ("POST" | "PATCH", _) if api.starts_with("secret/data/") => &self.written,
            _ => other().map_or(&self.missing, |(.., answer)| answer),
        }
    }
}

/// Nothing at all is HTTP's 204.
fn rendered_or_nothing(body: Option<&str>) -> Vec<u8> {
    match body {
        Some(body) => rendered("200 OK", body),
        None => b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n".to_vec(),
    }
}

fn rendered(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nCache-Control: no-store\r\nContent-Type: application/json\r\n\
         Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_a_whole_response_with_json() {
        let answers = Answers::render().unwrap();
        let cases = [
            ("GET", "/v1/secret/data/mcp/agent_mtls/configs/demo", "/data/data/username"),
            ("POST", "/v1/secret/data/mcp/agent_mtls/configs/demo", "/data/version"),
            ("POST", "/v1/auth/approle/login", "/auth/client_token"),
            ("POST", "/v1/auth/token/create/portcullis", "/auth/client_token"),
            ("GET", "/v1/auth/token/lookup-self", "/data/ttl"),
            ("POST", "/v1/auth/token/renew-self", "/auth/lease_duration"),
            ("GET", "/v1/sys/health?standbyok=true", "/initialized"),
            ("GET", "/v1/sys/mounts", "/errors"),
            ("POST", "/mcp", "/data/data"),
            ("POST", "/", "/KeyId"),
            ("LIST", "/v1/secret/metadata/mcp/agent_mtls/", "/data/keys/0"),
            ("GET", "/v1/secret/data/portcullis/leases/agent_mtls", "/data/data/leases"),
            ("POST", "/v1/transit/hmac/portcullis-handles/sha2-256", "/data/hmac"),
            ("GET", "/v1/database/creds/bench", "/lease_id"),
        ];
        for (method, path, member) in cases {
            let bytes = answers.to(method, path);
            let response = wire::response(bytes).unwrap().unwrap();
            assert_eq!(response.body.end, bytes.len());
            let json: serde_json::Value = serde_json::from_slice(&bytes[response.body]).unwrap();
            assert!(json.pointer(member).is_some(), "{method} {path}");
        }
    }
}
