//! Metrics, as Prometheus and its tools judge them.

use std::path::Path;

use serde_json::json;
use tests::servers::promtool;

use crate::{Case, Shared};

pub const CASES: &[Case] = &[("prometheus_finds_nothing_to_mend_in_the_metrics", checked)];

/// Asks a little of everything.
fn load(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    client.put("/secrets/metrics/x", &json!({"data": {"a": 1}}));
    client.call("kv.read", &json!({"path": "metrics/x"}));
    client.get("/secrets/metrics/none");
    shared.gate().agent("agent_jwt").get("/secrets/metrics/x");
    shared.gate().local().get("/whoami");
    shared.gate().local().with("X-API-Key", "nobody's").get("/whoami");
}

fn checked(shared: &Shared) {
    load(shared);
    let metrics = shared.gate().admin_client().get("/metrics").body;
    let judged = promtool(&["check", "metrics"], Path::new("."), &metrics);
    let told = [judged.stdout, judged.stderr].concat();
    assert!(judged.status.success() && told.is_empty(), "{}", String::from_utf8_lossy(&told));
}
